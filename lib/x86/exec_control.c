/* Instructions on control, debug and model-specific registers, and those that only exist at level
 * 0. SDM Vol.2 MOV (control registers), MOV (debug registers), LMSW, CLTS, RDMSR, WRMSR, INVLPG ...
 */
#include "x86/sysint.h"

static bool privileged(const struct x86_cpu *cpu)
{
    return cpu->cpl == 0; /* virtual-8086 mode runs at 3, real mode at 0 */
}

static unsigned move_size(const struct x86_cpu *cpu)
{
    return x86_in_long64(cpu) ? 8 : 4;
}

/* --- control registers --- */

static bool has_cr(const struct x86_cpu *cpu, unsigned n)
{
    return n == 0 || n == 2 || n == 3 || n == 4 || (n == 8 && x86_in_long64(cpu));
}

static struct x86_uop *exec_mov_from_cr(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t v;
    if (!has_cr(cpu, u->reg))
        return x86_raise(cpu, u, X86_UD);
    if (!privileged(cpu))
        return x86_gp0(cpu, u);
    switch (u->reg) {
    case 0:
        v = cpu->cr0;
        break;
    case 2:
        v = cpu->cr2;
        break;
    case 3:
        v = cpu->cr3;
        break;
    case 4:
        v = cpu->cr4;
        break;
    default:
        v = cpu->cr8;
        break;
    }
    x86_write_gpr(cpu, u->rm, v, move_size(cpu));
    X86_NEXT(cpu, u);
}
X86_ROW_ONE(MOV_Ry_Cy, exec_mov_from_cr)

static enum x86_result write_cr(struct x86_cpu *cpu, unsigned n, uint64_t v)
{
    switch (n) {
    case 0:
        return x86_write_cr0(cpu, v);
    case 2:
        cpu->cr2 = v;
        return X86_OK;
    case 3:
        return x86_write_cr3(cpu, v);
    case 4:
        return x86_write_cr4(cpu, v);
    default:
        return x86_write_cr8(cpu, v);
    }
}

static struct x86_uop *exec_mov_to_cr(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!has_cr(cpu, u->reg))
        return x86_raise(cpu, u, X86_UD);
    if (!privileged(cpu))
        return x86_gp0(cpu, u);
    return x86_done_next(cpu, u, write_cr(cpu, u->reg, x86_read_gpr(cpu, u->rm, move_size(cpu))));
}
X86_ROW_ONE(MOV_Cy_Ry, exec_mov_to_cr)

static bool umip_refuses(const struct x86_cpu *cpu)
{
    return cpu->cr4 & X86_CR4_UMIP && cpu->cpl > 0;
}

static struct x86_uop *exec_smsw(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (umip_refuses(cpu))
        return x86_gp0(cpu, u);
    unsigned size = u->aux & X86_AUX_MEM ? 2 : x86_uop_bytes(u);
    if (!x86_write_E(cpu, u, cpu->cr0, size))
        return x86_leave(cpu, u);
    X86_NEXT(cpu, u);
}
X86_ROW_ONE(SMSW, exec_smsw)

static struct x86_uop *exec_lmsw(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!privileged(cpu))
        return x86_gp0(cpu, u);
    if (!x86_read_E(cpu, u, 2))
        return x86_leave(cpu, u);
    uint64_t v = cpu->tmp & 0xf, keep = cpu->cr0 & X86_CR0_PE; /* PE can be set but not cleared */
    return x86_done_next(cpu, u, x86_write_cr0(cpu, (cpu->cr0 & ~UINT64_C(0xf)) | v | keep));
}
X86_ROW_ONE(LMSW, exec_lmsw)

static struct x86_uop *exec_clts(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!privileged(cpu))
        return x86_gp0(cpu, u);
    cpu->cr0 &= ~(uint64_t)X86_CR0_TS;
    X86_NEXT(cpu, u);
}
X86_ROW_ONE(CLTS, exec_clts)

/* --- debug registers: SDM Vol.3B 17.2 --- */

/* Number with DR4 and DR5 aliased; false: a fault was recorded. */
static bool debug_register(struct x86_cpu *cpu, unsigned *n)
{
    if (*n > 7 || ((*n == 4 || *n == 5) && cpu->cr4 & X86_CR4_DE)) {
        x86_fault(cpu, X86_UD);
        return false;
    }
    if (!privileged(cpu)) {
        x86_fault_err(cpu, X86_GP, 0);
        return false;
    }
    if (cpu->dr7 & X86_DR7_GD) {
        x86_fault(cpu, X86_DB);
        cpu->exc.dr6 = X86_DR6_BD;
        return false;
    }
    if (*n == 4 || *n == 5)
        *n += 2;
    return true;
}

static struct x86_uop *exec_mov_from_dr(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned n = u->reg;
    if (!debug_register(cpu, &n))
        return x86_leave(cpu, u);
    uint64_t v = n < 4 ? cpu->dr[n] : n == 6 ? cpu->dr6 : cpu->dr7;
    x86_write_gpr(cpu, u->rm, v, move_size(cpu));
    X86_NEXT(cpu, u);
}
X86_ROW_ONE(MOV_Ry_Dy, exec_mov_from_dr)

static struct x86_uop *exec_mov_to_dr(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned n = u->reg;
    uint64_t v = x86_read_gpr(cpu, u->rm, move_size(cpu));
    if (!debug_register(cpu, &n))
        return x86_leave(cpu, u);
    if (n >= 6 && v >> 32)
        return x86_gp0(cpu, u);
    if (n < 4)
        cpu->dr[n] = v;
    else if (n == 6)
        cpu->dr6 = (v & 0xe00f) | X86_DR6_FIXED;
    else
        cpu->dr7 = (v & 0xffff23ff) | X86_DR7_FIXED;
    x86_mode_refresh(cpu);
    return x86_leave_next(cpu, u);
}
X86_ROW_ONE(MOV_Dy_Ry, exec_mov_to_dr)

/* --- MSRs, time, CPUID --- */

static void put_edx_eax(struct x86_cpu *cpu, uint64_t v)
{
    cpu->r[X86_RAX] = (uint32_t)v;
    cpu->r[X86_RDX] = v >> 32;
}
static uint64_t get_edx_eax(const struct x86_cpu *cpu)
{
    return (uint32_t)cpu->r[X86_RAX] | cpu->r[X86_RDX] << 32;
}

/* The host may want to see the access before anything else. X86_AGAIN: it does not answer. */
static enum x86_result msr_first(struct x86_cpu *cpu, uint32_t index, bool write, uint64_t value)
{
    if (X86_LIKELY(!cpu->msr_watch))
        return X86_AGAIN;
    return cpu->ops->msr_first(cpu, index, write, value);
}

static struct x86_uop *exec_rdmsr(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!privileged(cpu))
        return x86_gp0(cpu, u);
    uint32_t index = (uint32_t)cpu->r[X86_RCX];
    cpu->cur = u;
    enum x86_result r = msr_first(cpu, index, false, 0);
    if (r == X86_AGAIN)
        r = x86_rdmsr(cpu, index);
    if (r != X86_OK)
        return x86_leave(cpu, u);
    put_edx_eax(cpu, cpu->tmp);
    X86_NEXT_IO(cpu, u);
}
X86_ROW_ONE(RDMSR, exec_rdmsr)

static struct x86_uop *exec_wrmsr(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!privileged(cpu))
        return x86_gp0(cpu, u);
    uint32_t index = (uint32_t)cpu->r[X86_RCX];
    uint64_t value = get_edx_eax(cpu);
    cpu->cur = u;
    enum x86_result r = msr_first(cpu, index, true, value);
    if (r == X86_AGAIN)
        r = x86_wrmsr(cpu, index, value);
    return x86_done_next(cpu, u, r);
}
X86_ROW_ONE(WRMSR, exec_wrmsr)

static bool tsc_refused(const struct x86_cpu *cpu)
{
    return cpu->cr4 & X86_CR4_TSD && cpu->cpl > 0;
}

static struct x86_uop *exec_rdtsc(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (tsc_refused(cpu))
        return x86_gp0(cpu, u);
    cpu->cur = u;
    put_edx_eax(cpu, cpu->ops->tsc(cpu) + (uint64_t)cpu->msr.tsc_offset);
    X86_NEXT(cpu, u);
}
X86_ROW_ONE(RDTSC, exec_rdtsc)

static struct x86_uop *exec_rdtscp(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (tsc_refused(cpu))
        return x86_gp0(cpu, u);
    cpu->cur = u;
    put_edx_eax(cpu, cpu->ops->tsc(cpu) + (uint64_t)cpu->msr.tsc_offset);
    cpu->r[X86_RCX] = (uint32_t)cpu->msr.tsc_aux;
    X86_NEXT(cpu, u);
}
X86_ROW_ONE(RDTSCP, exec_rdtscp)

static struct x86_uop *exec_rdpid(struct x86_cpu *cpu, struct x86_uop *u)
{
    x86_write_gpr(cpu, u->rm, (uint32_t)cpu->msr.tsc_aux, move_size(cpu));
    X86_NEXT(cpu, u);
}
X86_ROW_ONE(RDPID, exec_rdpid)

/* The CPU model has no performance counters: every index is invalid. */
static struct x86_uop *exec_rdpmc(struct x86_cpu *cpu, struct x86_uop *u)
{
    return x86_gp0(cpu, u);
}
X86_ROW_ONE(RDPMC, exec_rdpmc)

static struct x86_uop *exec_cpuid(struct x86_cpu *cpu, struct x86_uop *u)
{
    cpu->cur = u;
    if (cpu->ops->cpuid(cpu, (uint32_t)cpu->r[X86_RAX], (uint32_t)cpu->r[X86_RCX]) != X86_OK)
        return x86_leave(cpu, u);
    cpu->r[X86_RAX] = (uint32_t)cpu->tmpq[0];
    cpu->r[X86_RBX] = (uint32_t)cpu->tmpq[1];
    cpu->r[X86_RCX] = (uint32_t)cpu->tmpq[2];
    cpu->r[X86_RDX] = (uint32_t)cpu->tmpq[3];
    X86_NEXT_IO(cpu, u);
}
X86_ROW_ONE(CPUID, exec_cpuid)

static struct x86_uop *exec_xgetbv(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint32_t index = (uint32_t)cpu->r[X86_RCX];
    if (!(cpu->cr4 & X86_CR4_OSXSAVE))
        return x86_raise(cpu, u, X86_UD);
    if (index == 0 || (index == 1 && x86_has(cpu, X86_FEAT_XGETBV1)))
        put_edx_eax(cpu, cpu->xcr0); /* XINUSE: every enabled component counts as in use */
    else
        return x86_gp0(cpu, u);
    X86_NEXT(cpu, u);
}
X86_ROW_ONE(XGETBV, exec_xgetbv)

static struct x86_uop *exec_xsetbv(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!(cpu->cr4 & X86_CR4_OSXSAVE))
        return x86_raise(cpu, u, X86_UD);
    if (!privileged(cpu) || (uint32_t)cpu->r[X86_RCX] != 0)
        return x86_gp0(cpu, u);
    return x86_done_next(cpu, u, x86_write_xcr0(cpu, get_edx_eax(cpu)));
}
X86_ROW_ONE(XSETBV, exec_xsetbv)

/* --- caches and translations --- */

static struct x86_uop *exec_cache_flush(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!privileged(cpu))
        return x86_gp0(cpu, u);
    X86_NEXT(cpu, u); /* caches are invisible */
}
X86_ROW_ONE(INVD, exec_cache_flush)
X86_ROW_ONE(WBINVD, exec_cache_flush)

static struct x86_uop *exec_invlpg(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!privileged(cpu))
        return x86_gp0(cpu, u);
    /* No limit or type check, and a non-canonical address is ignored: INVLPG is no access. */
    uint64_t off = x86_ea_offset(cpu, u);
    if (!x86_in_long64(cpu) || u->seg >= X86_FS)
        off += cpu->seg[u->seg].base;
    x86_tlb_flush_page(cpu, off & cpu->lin_mask);
    return x86_leave_next(cpu, u);
}
X86_ROW_ONE(INVLPG, exec_invlpg)

static struct x86_uop *exec_invpcid(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t type = x86_read_gpr(cpu, u->reg, move_size(cpu)), d[2];
    if (!privileged(cpu))
        return x86_gp0(cpu, u);
    if (!x86_mem_lin(cpu, u, 16, false) || !x86_read_bytes(cpu, u, cpu->tmp, d, 16))
        return x86_leave(cpu, u);
    bool pcide = cpu->cr4 & X86_CR4_PCIDE;
    if (type > 3 || (type < 2 && (d[0] >> 12 || (!pcide && d[0]))) ||
        (type == 0 && !x86_canonical(d[1])))
        return x86_gp0(cpu, u);
    x86_tlb_flush(cpu); /* more than asked for is allowed: SDM Vol.3A 4.10.4.1 */
    return x86_leave_next(cpu, u);
}
X86_ROW_ONE(INVPCID, exec_invpcid)

/* --- waiting --- */

static struct x86_uop *halt(struct x86_cpu *cpu, struct x86_uop *u)
{
    x86_leave_next(cpu, u);
    cpu->halted = true;
    cpu->leave = X86_LEAVE_HALT;
    return NULL;
}

static struct x86_uop *exec_hlt(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!privileged(cpu))
        return x86_gp0(cpu, u);
    return halt(cpu, u);
}
X86_ROW_ONE(HLT, exec_hlt)

static struct x86_uop *exec_monitor(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!privileged(cpu))
        return x86_raise(cpu, u, X86_UD);
    if ((uint32_t)cpu->r[X86_RCX] != 0)
        return x86_gp0(cpu, u);
    unsigned asize = 2u << (u->aux >> 2 & 3);
    uint64_t off = x86_read_gpr(cpu, X86_RAX, asize), lin;
    uint8_t byte;
    if (!x86_seg_lin(cpu, u->seg, off, 1, false, &lin) || !x86_ld8(cpu, u, lin, &byte))
        return x86_leave(cpu, u);
    X86_NEXT(cpu, u);
}
X86_ROW_ONE(MONITOR, exec_monitor)

/* The monitored line is not watched: MWAIT may end at any time, so it ends at once (a look at
 * events comes with it). SDM Vol.2 MWAIT: implementation-dependent wake-ups are allowed. */
static struct x86_uop *exec_mwait(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!privileged(cpu))
        return x86_raise(cpu, u, X86_UD);
    if ((uint32_t)cpu->r[X86_RCX] & ~1u)
        return x86_gp0(cpu, u);
    return x86_leave_next(cpu, u);
}
X86_ROW_ONE(MWAIT, exec_mwait)

/* --- FS, GS bases and flags --- */

static struct x86_uop *exec_swapgs(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!privileged(cpu))
        return x86_gp0(cpu, u);
    uint64_t gs = cpu->seg[X86_GS].base;
    cpu->seg[X86_GS].base = cpu->msr.kernel_gs_base;
    cpu->msr.kernel_gs_base = gs;
    X86_NEXT(cpu, u);
}
X86_ROW_ONE(SWAPGS, exec_swapgs)

static struct x86_uop *read_base(struct x86_cpu *cpu, struct x86_uop *u, unsigned seg)
{
    if (!(cpu->cr4 & X86_CR4_FSGSBASE))
        return x86_raise(cpu, u, X86_UD);
    x86_write_gpr(cpu, u->rm, cpu->seg[seg].base, x86_uop_bytes(u) == 8 ? 8 : 4);
    X86_NEXT(cpu, u);
}
static struct x86_uop *write_base(struct x86_cpu *cpu, struct x86_uop *u, unsigned seg)
{
    uint64_t v = x86_read_gpr(cpu, u->rm, x86_uop_bytes(u) == 8 ? 8 : 4);
    if (!(cpu->cr4 & X86_CR4_FSGSBASE))
        return x86_raise(cpu, u, X86_UD);
    if (!x86_canonical(v))
        return x86_gp0(cpu, u);
    cpu->seg[seg].base = v;
    X86_NEXT(cpu, u);
}
static struct x86_uop *exec_rdfsbase(struct x86_cpu *cpu, struct x86_uop *u)
{
    return read_base(cpu, u, X86_FS);
}
static struct x86_uop *exec_rdgsbase(struct x86_cpu *cpu, struct x86_uop *u)
{
    return read_base(cpu, u, X86_GS);
}
static struct x86_uop *exec_wrfsbase(struct x86_cpu *cpu, struct x86_uop *u)
{
    return write_base(cpu, u, X86_FS);
}
static struct x86_uop *exec_wrgsbase(struct x86_cpu *cpu, struct x86_uop *u)
{
    return write_base(cpu, u, X86_GS);
}
X86_ROW_ONE(RDFSBASE, exec_rdfsbase)
X86_ROW_ONE(RDGSBASE, exec_rdgsbase)
X86_ROW_ONE(WRFSBASE, exec_wrfsbase)
X86_ROW_ONE(WRGSBASE, exec_wrgsbase)

/* STAC and CLAC choose between two TLB banks and need no new block. */
static struct x86_uop *set_ac(struct x86_cpu *cpu, struct x86_uop *u, uint32_t ac)
{
    if (cpu->cpl != 0)
        return x86_raise(cpu, u, X86_UD);
    cpu->eflags = (cpu->eflags & ~X86_FL_AC) | ac;
    x86_tlb_select_bank(cpu);
    X86_NEXT(cpu, u);
}
static struct x86_uop *exec_stac(struct x86_cpu *cpu, struct x86_uop *u)
{
    return set_ac(cpu, u, X86_FL_AC);
}
static struct x86_uop *exec_clac(struct x86_cpu *cpu, struct x86_uop *u)
{
    return set_ac(cpu, u, 0);
}
X86_ROW_ONE(STAC, exec_stac)
X86_ROW_ONE(CLAC, exec_clac)

/* CLI and STI: IF, or VIF where CR4.VME or CR4.PVI virtualises it (SDM Vol.2 STI, table 4-20). */
static bool uses_vif(const struct x86_cpu *cpu)
{
    if (cpu->mode & X86_MODE_V86)
        return cpu->cr4 & X86_CR4_VME;
    return cpu->cr4 & X86_CR4_PVI && cpu->cpl == 3 && !(cpu->mode & X86_MODE_REAL);
}
static bool owns_if(const struct x86_cpu *cpu)
{
    return cpu->cpl <= (cpu->eflags >> 12 & 3) || cpu->mode & X86_MODE_REAL;
}

static struct x86_uop *exec_cli(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (X86_LIKELY(owns_if(cpu)))
        cpu->eflags &= ~X86_FL_IF;
    else if (uses_vif(cpu))
        cpu->eflags &= ~X86_FL_VIF;
    else
        return x86_gp0(cpu, u);
    X86_NEXT(cpu, u);
}
X86_ROW_ONE(CLI, exec_cli)

static struct x86_uop *exec_sti(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (X86_LIKELY(owns_if(cpu))) {
        if (!(cpu->eflags & X86_FL_IF))
            cpu->shadow |= X86_SHADOW_STI;
        cpu->eflags |= X86_FL_IF;
    } else if (uses_vif(cpu) && !(cpu->eflags & X86_FL_VIP)) {
        cpu->eflags |= X86_FL_VIF;
    } else {
        return x86_gp0(cpu, u);
    }
    return x86_leave_next(cpu, u);
}
X86_ROW_ONE(STI, exec_sti)

static struct x86_uop *exec_vmcall(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!cpu->ops->hypercall)
        return x86_raise(cpu, u, X86_UD);
    cpu->cur = u;
    enum x86_result r = cpu->ops->hypercall(cpu);
    return x86_done_next(cpu, u, r);
}
X86_ROW_ONE(VMCALL, exec_vmcall)
