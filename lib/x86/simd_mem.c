/* Memory operands of vector instructions in full generality: see simd.h. */
#include "x86/simd.h"

static bool simd_lin(struct x86_cpu *cpu, struct x86_uop *u, unsigned size, unsigned flags,
                     bool write, uint64_t *lin)
{
    if (!x86_ea_seg(cpu, u, size, write, lin))
        return false;
    if (flags & X86_ALIGNED && *lin & (size - 1)) {
        x86_fault_err(cpu, X86_GP, 0);
        return false;
    }
    return true;
}

const void *x86_simd_src_any(struct x86_cpu *cpu, struct x86_uop *u, unsigned size, unsigned width,
                             unsigned flags)
{
    uint64_t lin;
    if (!simd_lin(cpu, u, size, flags, false, &lin))
        return NULL;
    struct x86_tlb_entry *e = x86_tlb_slot(cpu, lin);
    if (size == width && X86_LIKELY(e->rd == x86_tlb_tag(cpu, lin, size)))
        return (const void *)(e->addend + (uintptr_t)lin);
    if (size < 8) {
        if (!x86_ld_slow(cpu, u, lin, size))
            return NULL;
        cpu->vtmp[0].q[0] = cpu->tmp;
    } else if (!x86_read_bytes(cpu, u, lin, &cpu->vtmp[0], size)) {
        return NULL;
    }
    if (size < 16)
        cpu->vtmp[0].q[1] = 0;
    return &cpu->vtmp[0];
}

bool x86_simd_store_any(struct x86_cpu *cpu, struct x86_uop *u, unsigned size, unsigned flags,
                        const void *from)
{
    uint64_t lin;
    if (!simd_lin(cpu, u, size, flags, true, &lin))
        return false;
    if (size == 1)
        return x86_st8(cpu, u, lin, *(const uint8_t *)from);
    if (size == 2)
        return x86_st16(cpu, u, lin, *(const uint16_t *)from);
    if (size == 4)
        return x86_st32(cpu, u, lin, *(const uint32_t *)from);
    if (size == 8)
        return x86_st64(cpu, u, lin, *(const uint64_t *)from);
    struct x86_tlb_entry *e = x86_tlb_slot(cpu, lin);
    if (X86_UNLIKELY(e->wr != x86_tlb_tag(cpu, lin, size)))
        return x86_write_bytes(cpu, u, lin, from, size);
    for (unsigned i = 0; i < size; i += 16)
        x86_raw_copy16((uint8_t *)(e->addend + (uintptr_t)lin) + i, (const uint8_t *)from + i);
    return true;
}

bool x86_simd_probe_write(struct x86_cpu *cpu, struct x86_uop *u, unsigned size)
{
    uint64_t lin;
    return simd_lin(cpu, u, size, 0, true, &lin) && x86_probe_write(cpu, u, lin, size);
}

struct x86_uop *x86_simd_again(struct x86_cpu *cpu, struct x86_uop *u)
{
    return x86_rows[u->row].handlers[X86_FORM_SEG](cpu, u);
}
