/*
 * Single step and breakpoints of the host program.
 *
 * Steps are executed by lib/x86: KVM's own single step borrows the guest's trap flag and counts
 * neither event deliveries nor REP elements as the contract does. Breakpoints use the CPU's debug
 * registers through KVM_SET_GUEST_DEBUG (KVM API 4.87); while one is set, those that the guest has
 * set do not fire.
 */
#include <string.h>

#include "kvm/kvm.h"
#include "x86/ops.h"
#include "x86/sys.h"

static bool report(struct kvm_cpu *v, uint32_t cause, uint32_t slots, uint64_t address)
{
    struct vmlib_exit *e = &v->owner->exit;
    e->reason = VMLIB_EXIT_DEBUG;
    e->u.debug = (struct vmlib_exit_debug){.cause = cause, .slots = slots, .address = address};
    kvm_dispatch(v);
    return false;
}

/* DR7 for the slots: SDM Vol.3B 17.2.4 */
static uint64_t control_word(const struct vmlib_breakpoint *bp)
{
    static const uint8_t rw[4] = {0, 0, 1, 3};
    static const uint8_t len[9] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
    uint64_t dr7 = 0;
    for (unsigned i = 0; i < VMLIB_BREAKPOINTS; i++) {
        if (bp[i].kind == VMLIB_BREAKPOINT_OFF)
            continue;
        unsigned width = bp[i].width > 8 || bp[i].width == 0 ? 1 : bp[i].width;
        dr7 |= UINT64_C(1) << (2 * i) | (uint64_t)rw[bp[i].kind & 3] << (16 + 4 * i) |
               (uint64_t)len[width] << (18 + 4 * i);
    }
    return dr7;
}

/* Also for the instructions that lib/x86 executes. */
int kvm_set_breakpoints(struct vmi_vcpu *vcpu, const struct vmlib_breakpoint bp[VMLIB_BREAKPOINTS])
{
    struct kvm_cpu *v = kvm_cpu_of(vcpu);
    struct x86_cpu *cpu = kvm_shadow(v, 0);
    struct kvm_guest_debug debug;
    uint64_t dr7 = control_word(bp);
    if (!cpu)
        return v->error;
    memset(&debug, 0, sizeof(debug));
    if (dr7) {
        debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
        debug.arch.debugreg[7] = dr7 | 0x400;
        for (unsigned i = 0; i < VMLIB_BREAKPOINTS; i++)
            debug.arch.debugreg[i] = bp[i].address;
    }
    if ((dr7 || v->breakpoints_on) && kvm_ioctl(v->fd, KVM_SET_GUEST_DEBUG, &debug) < 0)
        return kvm_failed("KVM_SET_GUEST_DEBUG");
    v->breakpoints_on = dr7 != 0;
    memcpy(v->breakpoint, bp, sizeof(v->breakpoint));
    cpu->host_dr7 = dr7;
    for (unsigned i = 0; i < VMLIB_BREAKPOINTS; i++)
        cpu->host_dr[i] = bp[i].address;
    x86_mode_refresh(cpu);
    return 0;
}

/* Breakpoints on the instruction at rip, as a bit set. */
static uint32_t exec_matches(const struct kvm_cpu *v)
{
    bool long64 = v->sregs.efer & X86_EFER_LMA && v->sregs.cs.l;
    uint64_t lin = long64 ? v->regs.rip : (uint32_t)(v->sregs.cs.base + v->regs.rip);
    uint32_t slots = 0;
    for (unsigned i = 0; i < VMLIB_BREAKPOINTS; i++)
        if (v->breakpoint[i].kind == VMLIB_BREAKPOINT_EXEC && v->breakpoint[i].address == lin)
            slots |= 1u << i;
    return slots;
}

static uint64_t address_of(const struct kvm_cpu *v, uint32_t slots)
{
    return v->breakpoint[__builtin_ctz(slots) & 3].address;
}

static bool breakpoint(struct kvm_cpu *v, uint32_t slots)
{
    v->skip_breakpoint = true;
    v->skip_rip = v->regs.rip;
    return report(v, VMLIB_DEBUG_BREAKPOINT, slots, address_of(v, slots));
}

/* An instruction that lib/x86 executes, with its watchpoints. False: return from run. */
static bool step(struct kvm_cpu *v)
{
    struct x86_cpu *cpu = kvm_shadow(v, 0);
    if (!cpu)
        return false;
    cpu->host_dr6 = 0;
    v->skip_breakpoint = false;
    bool go = kvm_emulate(v);
    uint32_t slots = cpu->host_dr6 & 15;
    cpu->host_dr6 = 0;
    if (slots && v->error == 0)
        return report(v, VMLIB_DEBUG_WATCHPOINT, slots, address_of(v, slots));
    return go;
}

bool kvm_debug_enter(struct kvm_cpu *v)
{
    bool single = v->owner->run_flags & VMLIB_RUN_SINGLE_STEP;
    if (!single && !v->skip_breakpoint)
        return true;
    int r = kvm_look(v, KVM_PART_ALL);
    if (r) {
        v->error = r;
        return false;
    }
    bool skip = v->skip_breakpoint && v->skip_rip == v->regs.rip;
    uint32_t slots = exec_matches(v);
    if (!skip && single && slots)
        return breakpoint(v, slots);
    v->skip_breakpoint = false;
    if (!single && !(skip && slots))
        return true;
    if (!step(v))
        return false;
    if (single && kvm_look(v, KVM_PART_REGS) == 0)
        return report(v, VMLIB_DEBUG_STEP, 0, v->regs.rip);
    return !single;
}

/* Instruction breakpoints are faults, data breakpoints traps (SDM Vol.3B 17.2): never both in one
 * exit. */
bool kvm_debug_exit(struct kvm_cpu *v)
{
    const struct kvm_debug_exit_arch *arch = &v->run->debug.arch;
    uint32_t slots = arch->dr6 & 15, exec = 0;
    for (unsigned i = 0; i < VMLIB_BREAKPOINTS; i++) {
        if (v->breakpoint[i].kind == VMLIB_BREAKPOINT_OFF)
            slots &= ~(1u << i);
        else if (v->breakpoint[i].kind == VMLIB_BREAKPOINT_EXEC)
            exec |= 1u << i;
    }
    int r = kvm_look(v, KVM_PART_REGS | KVM_PART_SREGS);
    if (r) {
        v->error = r;
        return false;
    }
    if (slots & ~exec)
        return report(v, VMLIB_DEBUG_WATCHPOINT, slots & ~exec, address_of(v, slots & ~exec));
    if (slots)
        return breakpoint(v, slots);
    return true; /* not one of ours */
}
