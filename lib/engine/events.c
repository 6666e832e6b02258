/* What happens between two instructions: INIT, SIPI, traps, NMI, interrupts, HLT. Priorities: SDM
 * Vol.3A table 6-2. */
#include "engine/engine.h"
#include "x86/flags.h"

/* Hand the record in owner->exit to core, standing between two instructions. */
enum vmi_verdict vmi_engine_dispatch(struct vmi_engine *e)
{
    bool in_insn = e->in_insn;
    vmi_engine_sync_rip(e);
    x86_fp_sync(&e->cpu);
    e->in_insn = false; /* a handler sees and changes rip itself */
    e->hooks->outside(e);
    enum vmi_verdict verdict = vmi_exit_dispatch(e->owner);
    (void)e->hooks->inside(e);
    e->in_insn = in_insn;
    e->cpu.rip_set = e->cpu.resync = false;
    return verdict;
}

/* Deliver to the guest. show: the host may have asked to see it first. */
bool vmi_engine_deliver(struct vmi_engine *e, const struct x86_event *ev, bool show)
{
    struct x86_cpu *cpu = &e->cpu;
    struct x86_event event = *ev;
    event.seen = !show;
    event.fresh = false;
    if (!event.retry) /* whatever an unfinished instruction has asked, the next one asks anew */
        cpu->nanswers = cpu->next_answer = 0;
    cpu->leave = X86_LEAVE_LOOKUP;
    x86_worked(cpu, 64); /* faults may follow each other for ever */
    enum x86_result r = x86_deliver(cpu, &event);
    if (r == X86_EXIT && cpu->leave == X86_LEAVE_SHUTDOWN)
        cpu->shutdown = true;
    else if (r == X86_EXIT)
        return false;
    if (r == X86_OK) /* the handler's first instruction asks anew */
        cpu->nanswers = cpu->next_answer = 0;
    return true;
}

static uint32_t take_pending(struct vmi_engine *e, uint32_t bits)
{
    uint32_t p = atomic_load_explicit(&e->owner->pending, memory_order_relaxed);
    return p & bits ? atomic_fetch_and(&e->owner->pending, ~bits) & (bits | VMI_PEND_SIPI_MASK) : 0;
}

static bool report(struct vmi_engine *e, uint32_t reason)
{
    e->owner->exit.reason = reason;
    vmi_engine_dispatch(e);
    return false;
}

/* INIT and start-up IPIs. False: nothing to execute, return from run. */
static bool startup(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    if (take_pending(e, VMI_PEND_INIT)) {
        x86_reset(cpu, true);
        cpu->injected.valid = false;
        cpu->halted = cpu->shutdown = false;
        cpu->wait_sipi = true;
    }
    uint32_t sipi = take_pending(e, VMI_PEND_SIPI);
    if (cpu->wait_sipi && sipi) {
        cpu->wait_sipi = false;
        x86_sipi(cpu, (uint8_t)(sipi >> VMI_PEND_SIPI_SHIFT));
    }
    if (cpu->wait_sipi)
        return report(e, VMLIB_EXIT_HLT);
    return !cpu->shutdown || report(e, VMLIB_EXIT_SHUTDOWN);
}

static bool debug_trap(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    struct x86_event ev = {
        .vector = X86_DB, .kind = X86_EV_TRAP, .dr6 = cpu->pending_dr6, .valid = true};
    cpu->pending_dr6 = 0;
    return vmi_engine_deliver(e, &ev, true);
}

static bool watchpoint(struct vmi_engine *e)
{
    struct vmlib_exit *exit = &e->owner->exit;
    struct x86_cpu *cpu = &e->cpu;
    uint32_t slots = cpu->host_dr6;
    unsigned first = (unsigned)__builtin_ctz(slots);
    cpu->host_dr6 = 0;
    exit->reason = VMLIB_EXIT_DEBUG;
    exit->u.debug = (struct vmlib_exit_debug){
        .cause = VMLIB_DEBUG_WATCHPOINT, .slots = slots, .address = cpu->host_dr[first & 3]};
    vmi_engine_dispatch(e);
    return false;
}

static bool injected(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    struct x86_event ev = cpu->injected;
    cpu->injected.valid = false;
    cpu->halted = false;
    return vmi_engine_deliver(e, &ev, ev.fresh);
}

static bool nmi(struct vmi_engine *e)
{
    struct x86_event ev = {.vector = X86_NMI, .kind = X86_EV_NMI, .valid = true};
    take_pending(e, VMI_PEND_NMI);
    e->cpu.halted = false;
    e->cpu.nmi_blocked = true;
    return vmi_engine_deliver(e, &ev, false);
}

/* The guest can take an external interrupt now and somebody cares. */
static bool window(struct vmi_engine *e, bool requested)
{
    struct vmlib_exit *exit = &e->owner->exit;
    if (requested)
        take_pending(e, VMI_PEND_WINDOW);
    exit->reason = VMLIB_EXIT_INTERRUPT_WINDOW;
    exit->u.interrupt = (struct vmlib_exit_interrupt){.requested = requested};
    enum vmi_verdict verdict = vmi_engine_dispatch(e);
    if (verdict == VMI_GO || verdict == VMI_GO_LEAVE) {
        struct x86_event ev = {
            .vector = (uint8_t)exit->u.interrupt.vector, .kind = X86_EV_INTR, .valid = true};
        e->cpu.halted = false;
        return vmi_engine_deliver(e, &ev, false) && verdict == VMI_GO;
    }
    e->spurious = verdict == VMI_NONE;
    return verdict == VMI_NONE;
}

static bool interrupts(struct vmi_engine *e, uint32_t pending)
{
    struct x86_cpu *cpu = &e->cpu;
    if (pending & VMI_PEND_NMI && !cpu->nmi_blocked && !cpu->shadow)
        return nmi(e);
    if (cpu->eflags & X86_FL_IF && !cpu->shadow) {
        if (pending & VMI_PEND_WINDOW)
            return window(e, true);
        if (!e->spurious && atomic_load_explicit(&e->owner->intr, memory_order_relaxed))
            return window(e, false);
    }
    return !cpu->halted || report(e, VMLIB_EXIT_HLT);
}

bool vmi_engine_events(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    uint32_t pending = atomic_load_explicit(&e->owner->pending, memory_order_relaxed);
    if (pending & (VMI_PEND_INIT | VMI_PEND_SIPI) || cpu->wait_sipi || cpu->shutdown) {
        if (!startup(e))
            return false;
    }
    if (cpu->host_dr6)
        return watchpoint(e);
    if (cpu->pending_dr6 && !(cpu->shadow & X86_SHADOW_MOVSS) && !debug_trap(e))
        return false;
    if (cpu->injected.valid && !injected(e))
        return false;
    return interrupts(e, pending);
}
