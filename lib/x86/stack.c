/* The stack as instructions use it: SS:rSP, pointer size by SS.B (SDM Vol.1 6.2.3). */
#include "x86/stack.h"

bool x86_push(struct x86_cpu *cpu, struct x86_uop *u, uint64_t value, unsigned size)
{
    uint64_t off = (cpu->r[X86_RSP] - size) & x86_sp_mask(cpu);
    if (!x86_stack_st(cpu, u, off, value, size))
        return false;
    x86_set_sp(cpu, off);
    return true;
}

bool x86_pop(struct x86_cpu *cpu, struct x86_uop *u, unsigned size)
{
    uint64_t off = cpu->r[X86_RSP] & x86_sp_mask(cpu);
    if (!x86_stack_ld(cpu, u, off, size))
        return false;
    x86_set_sp(cpu, off + size);
    return true;
}

bool x86_stack_st(struct x86_cpu *cpu, struct x86_uop *u, uint64_t off, uint64_t value,
                  unsigned size)
{
    uint64_t lin;
    bool ok;
    if (!x86_seg_lin(cpu, X86_SS, off & x86_sp_mask(cpu), size, true, &lin))
        return false;
    if (size == 8)
        ok = x86_st64(cpu, u, lin, value);
    else if (size == 4)
        ok = x86_st32(cpu, u, lin, (uint32_t)value);
    else
        ok = x86_st16(cpu, u, lin, (uint16_t)value);
    return ok || x86_stack_failed(cpu);
}

bool x86_stack_ld(struct x86_cpu *cpu, struct x86_uop *u, uint64_t off, unsigned size)
{
    uint64_t lin, v64 = 0;
    uint32_t v32 = 0;
    uint16_t v16 = 0;
    bool ok;
    if (!x86_seg_lin(cpu, X86_SS, off & x86_sp_mask(cpu), size, false, &lin))
        return false;
    if (size == 8)
        ok = x86_ld64(cpu, u, lin, &v64);
    else if (size == 4)
        ok = x86_ld32(cpu, u, lin, &v32);
    else
        ok = x86_ld16(cpu, u, lin, &v16);
    if (!ok)
        return x86_stack_failed(cpu);
    cpu->tmp = v64 | v32 | v16;
    return true;
}
