/* What happens between two instructions: INIT, SIPI, traps, NMI, interrupts, HLT. Priorities: SDM
 * Vol.3A table 6-2. */
#include "soft/soft.h"

/* Hand the record in owner->exit to core, standing between two instructions. */
enum vmi_verdict soft_dispatch(struct soft_vcpu *v)
{
    bool in_block = v->in_block;
    soft_sync_rip(v);
    x86_fp_sync(&v->cpu);
    v->in_block = false; /* a handler sees and changes rip itself */
    soft_outside(v);
    enum vmi_verdict verdict = vmi_exit_dispatch(v->owner);
    soft_enter(v);
    v->in_block = in_block;
    v->cpu.rip_set = v->cpu.resync = false;
    return verdict;
}

/* Deliver to the guest. show: the host may have asked to see it first. */
bool soft_deliver(struct soft_vcpu *v, const struct x86_event *ev, bool show)
{
    struct x86_cpu *cpu = &v->cpu;
    struct x86_event e = *ev;
    e.seen = !show;
    e.fresh = false;
    if (!e.retry) /* whatever an unfinished instruction has asked, the next one asks anew */
        cpu->nanswers = cpu->next_answer = 0;
    cpu->leave = X86_LEAVE_LOOKUP;
    x86_worked(cpu, 64); /* faults may follow each other for ever */
    enum x86_result r = x86_deliver(cpu, &e);
    if (r == X86_EXIT && cpu->leave == X86_LEAVE_SHUTDOWN)
        cpu->shutdown = true;
    else if (r == X86_EXIT)
        return false;
    if (r == X86_OK) /* the handler's first instruction asks anew */
        cpu->nanswers = cpu->next_answer = 0;
    return true;
}

static uint32_t take_pending(struct soft_vcpu *v, uint32_t bits)
{
    uint32_t p = atomic_load_explicit(&v->owner->pending, memory_order_relaxed);
    return p & bits ? atomic_fetch_and(&v->owner->pending, ~bits) & (bits | VMI_PEND_SIPI_MASK) : 0;
}

static bool report(struct soft_vcpu *v, uint32_t reason)
{
    v->owner->exit.reason = reason;
    soft_dispatch(v);
    return false;
}

/* INIT and start-up IPIs. False: nothing to execute, return from run. */
static bool startup(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->cpu;
    if (take_pending(v, VMI_PEND_INIT)) {
        x86_reset(cpu, true);
        cpu->injected.valid = false;
        cpu->halted = cpu->shutdown = false;
        cpu->wait_sipi = true;
    }
    uint32_t sipi = take_pending(v, VMI_PEND_SIPI);
    if (cpu->wait_sipi && sipi) {
        cpu->wait_sipi = false;
        x86_sipi(cpu, (uint8_t)(sipi >> VMI_PEND_SIPI_SHIFT));
    }
    if (cpu->wait_sipi)
        return report(v, VMLIB_EXIT_HLT);
    return !cpu->shutdown || report(v, VMLIB_EXIT_SHUTDOWN);
}

static bool debug_trap(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->cpu;
    struct x86_event ev = {
        .vector = X86_DB, .kind = X86_EV_TRAP, .dr6 = cpu->pending_dr6, .valid = true};
    cpu->pending_dr6 = 0;
    return soft_deliver(v, &ev, true);
}

static bool watchpoint(struct soft_vcpu *v)
{
    struct vmlib_exit *e = &v->owner->exit;
    struct x86_cpu *cpu = &v->cpu;
    uint32_t slots = cpu->host_dr6;
    unsigned first = (unsigned)__builtin_ctz(slots);
    cpu->host_dr6 = 0;
    e->reason = VMLIB_EXIT_DEBUG;
    e->u.debug = (struct vmlib_exit_debug){
        .cause = VMLIB_DEBUG_WATCHPOINT, .slots = slots, .address = cpu->host_dr[first & 3]};
    soft_dispatch(v);
    return false;
}

static bool injected(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->cpu;
    struct x86_event ev = cpu->injected;
    cpu->injected.valid = false;
    cpu->halted = false;
    return soft_deliver(v, &ev, ev.fresh);
}

static bool nmi(struct soft_vcpu *v)
{
    struct x86_event ev = {.vector = X86_NMI, .kind = X86_EV_NMI, .valid = true};
    take_pending(v, VMI_PEND_NMI);
    v->cpu.halted = false;
    v->cpu.nmi_blocked = true;
    return soft_deliver(v, &ev, false);
}

/* The guest can take an external interrupt now and somebody cares. */
static bool window(struct soft_vcpu *v, bool requested)
{
    struct vmlib_exit *e = &v->owner->exit;
    if (requested)
        take_pending(v, VMI_PEND_WINDOW);
    e->reason = VMLIB_EXIT_INTERRUPT_WINDOW;
    e->u.interrupt = (struct vmlib_exit_interrupt){.requested = requested};
    enum vmi_verdict verdict = soft_dispatch(v);
    if (verdict == VMI_GO || verdict == VMI_GO_LEAVE) {
        struct x86_event ev = {
            .vector = (uint8_t)e->u.interrupt.vector, .kind = X86_EV_INTR, .valid = true};
        v->cpu.halted = false;
        return soft_deliver(v, &ev, false) && verdict == VMI_GO;
    }
    v->spurious = verdict == VMI_NONE;
    return verdict == VMI_NONE;
}

static bool interrupts(struct soft_vcpu *v, uint32_t pending)
{
    struct x86_cpu *cpu = &v->cpu;
    if (pending & VMI_PEND_NMI && !cpu->nmi_blocked && !cpu->shadow)
        return nmi(v);
    if (cpu->eflags & X86_FL_IF && !cpu->shadow) {
        if (pending & VMI_PEND_WINDOW)
            return window(v, true);
        if (!v->spurious && atomic_load_explicit(&v->owner->intr, memory_order_relaxed))
            return window(v, false);
    }
    return !cpu->halted || report(v, VMLIB_EXIT_HLT);
}

bool soft_events(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->cpu;
    uint32_t pending = atomic_load_explicit(&v->owner->pending, memory_order_relaxed);
    if (pending & (VMI_PEND_INIT | VMI_PEND_SIPI) || cpu->wait_sipi || cpu->shutdown) {
        if (!startup(v))
            return false;
    }
    if (cpu->host_dr6)
        return watchpoint(v);
    if (cpu->pending_dr6 && !(cpu->shadow & X86_SHADOW_MOVSS) && !debug_trap(v))
        return false;
    if (cpu->injected.valid && !injected(v))
        return false;
    return interrupts(v, pending);
}
