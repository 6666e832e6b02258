/* Fast system calls: SYSCALL/SYSRET and SYSENTER/SYSEXIT. Segments come from constants, not from
 * tables, so the whole transition is a handful of stores. SDM Vol.2 SYSCALL, SYSRET, SYSENTER,
 * SYSEXIT. */
#include "x86/sysint.h"

#define FLAT_CODE (X86_AR_P | X86_AR_S | X86_AR_CODE | X86_AR_WR | X86_AR_A | X86_AR_G)
#define FLAT_DATA (X86_AR_P | X86_AR_S | X86_AR_WR | X86_AR_A | X86_AR_G | X86_AR_DB)

static void put_flat(struct x86_seg *s, uint16_t sel, uint32_t ar, bool data)
{
    s->sel = sel;
    s->base = 0;
    s->limit = UINT32_MAX;
    s->ar = ar | (sel & 3u) << X86_AR_DPL_SHIFT;
    s->rd_fast = true;
    s->wr_fast = data;
}

/* Flat CS and SS of the RPL that the selectors carry. */
static void put_code_stack(struct x86_cpu *cpu, uint16_t cs, uint16_t ss, bool long64)
{
    put_flat(&cpu->seg[X86_CS], cs, FLAT_CODE | (long64 ? X86_AR_L : X86_AR_DB), false);
    put_flat(&cpu->seg[X86_SS], ss, FLAT_DATA, true);
}

static struct x86_uop *exec_syscall(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!(cpu->efer & X86_EFER_SCE) || !x86_in_long64(cpu))
        return x86_raise(cpu, u, X86_UD);
    uint16_t cs = (cpu->msr.star >> 32) & 0xfffc;
    uint32_t fl = x86_get_flags(cpu);

    cpu->r[X86_RCX] = x86_next_rip(cpu, u);
    cpu->r[X86_R11] = fl & ~X86_FL_RF;
    x86_set_flags(cpu, fl & ~((uint32_t)cpu->msr.fmask | X86_FL_RF));
    put_code_stack(cpu, cs, (uint16_t)(cs + 8), true);
    cpu->rip = cpu->msr.lstar;
    cpu->no_trap = !(cpu->eflags & X86_FL_TF);
    x86_enter_long64(cpu, 0);
    return x86_leave_to(cpu, u);
}
X86_ROW_ONE(SYSCALL, exec_syscall)

static struct x86_uop *exec_sysret(struct x86_cpu *cpu, struct x86_uop *u)
{
    bool long64 = x86_uop_bytes(u) == 8;
    if (!(cpu->efer & X86_EFER_SCE) || !x86_in_long64(cpu))
        return x86_raise(cpu, u, X86_UD);
    if (cpu->cpl != 0 || (long64 && !x86_canonical(cpu->r[X86_RCX])))
        return x86_gp0(cpu, u);
    uint16_t base = (uint16_t)(cpu->msr.star >> 48);

    x86_set_flags(cpu, (uint32_t)cpu->r[X86_R11] & ~(X86_FL_RF | X86_FL_VM));
    put_code_stack(cpu, (uint16_t)((base + (long64 ? 16 : 0)) | 3), (uint16_t)((base + 8) | 3),
                   long64);
    cpu->rip = long64 ? cpu->r[X86_RCX] : (uint32_t)cpu->r[X86_RCX];
    if (long64)
        x86_enter_long64(cpu, 3);
    else
        x86_set_cpl(cpu, 3);
    return x86_leave_to(cpu, u);
}
X86_ROW_ONE(SYSRET, exec_sysret)

static struct x86_uop *exec_sysenter(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint16_t cs = cpu->msr.sysenter_cs & 0xfffc;
    if (cpu->mode & X86_MODE_REAL || !cs)
        return x86_gp0(cpu, u);
    cpu->eflags &= ~(X86_FL_VM | X86_FL_IF | X86_FL_RF);
    put_code_stack(cpu, cs, (uint16_t)(cs + 8), cpu->long_mode);
    cpu->rip = cpu->msr.sysenter_eip;
    cpu->r[X86_RSP] = cpu->msr.sysenter_esp;
    if (cpu->long_mode) {
        x86_enter_long64(cpu, 0);
    } else {
        cpu->rip = (uint32_t)cpu->rip;
        cpu->r[X86_RSP] = (uint32_t)cpu->r[X86_RSP];
        x86_set_cpl(cpu, 0);
    }
    return x86_leave_to(cpu, u);
}
X86_ROW_ONE(SYSENTER, exec_sysenter)

static struct x86_uop *exec_sysexit(struct x86_cpu *cpu, struct x86_uop *u)
{
    bool long64 = x86_uop_bytes(u) == 8;
    uint16_t cs = cpu->msr.sysenter_cs & 0xfffc;
    if (cpu->mode & X86_MODE_REAL || !cs || cpu->cpl != 0)
        return x86_gp0(cpu, u);
    if (long64 && !(x86_canonical(cpu->r[X86_RCX]) && x86_canonical(cpu->r[X86_RDX])))
        return x86_gp0(cpu, u);
    cs = (uint16_t)(cs + (long64 ? 32 : 16));
    put_code_stack(cpu, cs | 3, (uint16_t)(cs + 8) | 3, long64);
    cpu->r[X86_RSP] = long64 ? cpu->r[X86_RCX] : (uint32_t)cpu->r[X86_RCX];
    cpu->rip = long64 ? cpu->r[X86_RDX] : (uint32_t)cpu->r[X86_RDX];
    x86_set_cpl(cpu, 3);
    return x86_leave_to(cpu, u);
}
X86_ROW_ONE(SYSEXIT, exec_sysexit)
