/* x87: exception flags, stack faults, last-instruction pointers, operands in memory. */
#include "x86/x87.h"

const struct x86_f80 x87_indefinite = {.mant = UINT64_C(0xc000000000000000), .se = 0xffff};

void x87_track(struct x86_cpu *cpu, const struct x86_uop *u)
{
    struct x86_fpu *f = &cpu->fpu;
    f->fip = x86_this_rip(cpu, u) & x86_ip_mask(cpu);
    f->fcs = cpu->seg[X86_CS].sel;
    f->fop = (uint16_t)(u->imm & 0x7ff);
    if (u->aux & X86_AUX_MEM) {
        f->fdp = x86_ea_offset(cpu, u);
        f->fds = cpu->seg[u->seg].sel;
    }
}

bool x87_status(struct x86_cpu *cpu, uint16_t sw, unsigned cc)
{
    unsigned flags = sw & X87_EXCEPTIONS;
    bool stopped = flags & X87_BEFORE & ~cpu->fpu.cw;
    if (X86_UNLIKELY(stopped)) {
        cpu->fpu.sw = (uint16_t)((cpu->fpu.sw & ~X87_C1) | (flags & X87_BEFORE));
        x87_update_es(cpu);
        return false;
    }
    cc |= X87_C1;
    cpu->fpu.sw = (uint16_t)((cpu->fpu.sw & ~cc) | (sw & cc) | flags);
    if (X86_UNLIKELY(flags & ~cpu->fpu.cw))
        x87_update_es(cpu);
    return true;
}

bool x87_stack_fault(struct x86_cpu *cpu, bool overflow)
{
    cpu->fpu.sw = (uint16_t)((cpu->fpu.sw & ~X87_C1) | X87_IE | X87_SF | (overflow ? X87_C1 : 0));
    x87_update_es(cpu);
    return cpu->fpu.cw & X87_IE;
}

bool x87_fetch(struct x86_cpu *cpu, struct x86_uop *u, unsigned size)
{
    uint64_t lin;
    uint16_t v16;
    uint32_t v32;
    if (!x86_ea_seg(cpu, u, size, false, &lin))
        return false;
    switch (size) {
    case 2:
        if (!x86_ld16(cpu, u, lin, &v16))
            return false;
        cpu->tmp = v16;
        return true;
    case 4:
        if (!x86_ld32(cpu, u, lin, &v32))
            return false;
        cpu->tmp = v32;
        return true;
    case 8:
        return x86_ld64(cpu, u, lin, &cpu->tmp);
    default: {
        uint64_t v[2] = {0, 0};
        if (!x86_read_bytes(cpu, u, lin, v, size))
            return false;
        cpu->tmpq[0] = v[0];
        cpu->tmpq[1] = v[1];
        return true;
    }
    }
}
