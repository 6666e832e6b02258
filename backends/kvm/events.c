/*
 * What stands between two instructions: reset, INIT, SIPI, injected events, NMI, interrupts, HLT.
 * Priorities: SDM Vol.3A table 6-2.
 *
 * An injected event goes to the kernel where KVM_SET_VCPU_EVENTS can express it (KVM API 4.32), and
 * is delivered by lib/x86 where it cannot: software interrupts (the kernel takes no instruction
 * length), external interrupts while IF = 0 and NMIs while blocked (VM entry would fail, SDM Vol.3C
 * 27.2.1.3). What the kernel has taken but not delivered is read back with the state.
 */
#include <string.h>

#include "kvm/kvm.h"
#include "state/state.h"
#include "x86/ops.h"
#include "x86/sys.h"

static bool report(struct kvm_cpu *v, uint32_t reason)
{
    v->owner->exit.reason = reason;
    kvm_dispatch(v);
    return false;
}

static bool fail(struct kvm_cpu *v, int error)
{
    v->error = error;
    return false;
}

static uint32_t take_pending(struct kvm_cpu *v, uint32_t bits)
{
    uint32_t p = atomic_load_explicit(&v->owner->pending, memory_order_relaxed);
    return p & bits ? atomic_fetch_and(&v->owner->pending, ~bits) & (bits | VMI_PEND_SIPI_MASK) : 0;
}

/* --- reset, INIT, SIPI: KVM has no local APIC that would do it --- */

/* Neither touches what the kernel keeps among the MSRs: a new vCPU has them at their reset values,
 * and INIT leaves them alone (SDM Vol.3A 9.1). */
int kvm_reset(struct kvm_cpu *v, bool init)
{
    struct vmlib_state s;
    uint32_t groups = VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL |
                      VMLIB_STATE_DEBUG | VMLIB_STATE_EVENTS;
    struct x86_cpu *cpu = kvm_shadow(v, init ? groups : VMLIB_STATE_CONTROL);
    if (!cpu)
        return v->error;
    x86_reset(cpu, init);
    if (!init)
        groups |= VMLIB_STATE_FPU;
    vmi_state_get(cpu, groups | VMLIB_STATE_MSRS, &s);
    if (!init)
        v->kept = s.msrs;
    return kvm_set_state(v->owner, groups, &s);
}

static int start_up(struct kvm_cpu *v, uint32_t vector)
{
    int r = kvm_look(v, KVM_PART_REGS | KVM_PART_SREGS);
    if (r)
        return r;
    v->wait_sipi = v->halted = false;
    v->sregs.cs.selector = (uint16_t)(vector << 8);
    v->sregs.cs.base = (uint64_t)vector << 12;
    v->regs.rip = 0;
    v->dirty |= KVM_PART_REGS | KVM_PART_SREGS;
    return 0;
}

static bool startup(struct kvm_cpu *v)
{
    int r = 0;
    if (take_pending(v, VMI_PEND_INIT)) {
        r = kvm_reset(v, true);
        v->wait_sipi = true;
    }
    uint32_t sipi = take_pending(v, VMI_PEND_SIPI);
    if (!r && v->wait_sipi && sipi)
        r = start_up(v, sipi >> VMI_PEND_SIPI_SHIFT & 0xff);
    if (r)
        return fail(v, r);
    if (v->wait_sipi)
        return report(v, VMLIB_EXIT_HLT);
    return !v->shutdown || report(v, VMLIB_EXIT_SHUTDOWN);
}

/* --- injected events --- */

/* Vectors whose exceptions have an error code in protected mode: SDM Vol.3A table 6-1. */
#define WITH_ERROR_CODE \
    (1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17 | 1u << 21)
/* Vectors that KVM takes for software exceptions, NMIs or reserved. */
#define NOT_HARDWARE (1u << 2 | 1u << 3 | 1u << 4)

static bool interrupts_on(const struct kvm_cpu *v)
{
    return v->regs.rflags & X86_FL_IF && !v->events.interrupt.shadow;
}

/* Can the kernel deliver it exactly? All parts have been looked at. */
static bool kernel_can(const struct kvm_cpu *v, const struct vmlib_event *e)
{
    bool has_error = e->flags & VMLIB_EVENT_HAS_ERROR;
    switch (e->type) {
    case VMLIB_EVENT_INTERRUPT:
        return interrupts_on(v);
    case VMLIB_EVENT_NMI:
        return !v->events.nmi.masked && !v->events.interrupt.shadow && e->vector == X86_NMI;
    case VMLIB_EVENT_EXCEPTION:
        return v->vm->caps.exception_payload && e->vector < 32 &&
               !(NOT_HARDWARE >> e->vector & 1) &&
               (!(v->sregs.cr0 & X86_CR0_PE) || has_error == (WITH_ERROR_CODE >> e->vector & 1));
    default:
        return false;
    }
}

static void clear_kernel(struct kvm_vcpu_events *k)
{
    memset(&k->exception, 0, sizeof(k->exception));
    k->exception_has_payload = 0;
    k->exception_payload = 0;
    k->interrupt.injected = k->interrupt.soft = k->interrupt.nr = 0;
    k->nmi.injected = 0;
}

static void give_to_kernel(struct kvm_cpu *v, const struct vmlib_event *e)
{
    struct kvm_vcpu_events *k = &v->events;
    clear_kernel(k);
    switch (e->type) {
    case VMLIB_EVENT_INTERRUPT:
        k->interrupt.injected = 1;
        k->interrupt.nr = (uint8_t)e->vector;
        break;
    case VMLIB_EVENT_NMI:
        k->nmi.injected = 1;
        break;
    default:
        k->exception.pending = 1;
        k->exception.nr = (uint8_t)e->vector;
        k->exception.has_error_code = e->flags & VMLIB_EVENT_HAS_ERROR && v->sregs.cr0 & X86_CR0_PE;
        k->exception.error_code = e->error_code;
        if (e->vector == X86_PF || e->vector == X86_DB) {
            k->exception_has_payload = 1;
            k->exception_payload = e->flags & VMLIB_EVENT_HAS_ADDRESS ? e->address : 0;
        }
        break;
    }
    k->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
               (v->vm->caps.exception_payload ? KVM_VCPUEVENT_VALID_PAYLOAD : 0);
    v->dirty |= KVM_PART_EVENTS;
    v->run->ready_for_interrupt_injection = 0;
}

#define DELIVERY                                                                        \
    (VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL | VMLIB_STATE_DEBUG | \
     VMLIB_STATE_EVENTS)

/* lib/x86 enters the handler. False: return from run. */
static bool deliver(struct kvm_cpu *v, const struct x86_event *event)
{
    struct vmlib_state s;
    struct x86_cpu *cpu = kvm_shadow(v, DELIVERY);
    if (!cpu)
        return false;
    struct x86_event ev = *event;
    ev.seen = true;
    if (!v->delivering) /* accesses of a half-done instruction are not this delivery's */
        kvm_emulate_forget(v);
    v->delivering = true;
    cpu->next_answer = 0;
    cpu->injected.valid = false;
    cpu->leave = X86_LEAVE_LOOKUP;
    enum x86_result r = x86_deliver(cpu, &ev);
    bool shutdown = r == X86_EXIT && cpu->leave == X86_LEAVE_SHUTDOWN;
    vmi_state_get(cpu, DELIVERY, &s);
    int rc = kvm_set_state(v->owner, DELIVERY, &s);
    v->shutdown |= shutdown;
    if (rc)
        return fail(v, rc);
    if (r != X86_EXIT || shutdown) {
        v->delivering = false;
        kvm_emulate_forget(v);
        return true;
    }
    /* An access to a device on the way waits for the host, or a handler has refused it. */
    vmi_event_to_api(event, &v->injected);
    if (v->owner->exit.flags & VMLIB_EXIT_F_PENDING)
        v->open = KVM_OPEN_EMULATE;
    return false;
}

/* Debug traps of the instruction before come before everything else that is delivered. */
static bool debug_trap(struct kvm_cpu *v)
{
    int r = kvm_look(v, KVM_PART_ALL);
    if (r)
        return fail(v, r);
    if (v->events.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS) {
        v->emulate_next = true; /* held back for one instruction, which the kernel cannot do */
        return true;
    }
    struct x86_event ev = {
        .vector = X86_DB, .kind = X86_EV_TRAP, .dr6 = v->pending_debug, .valid = true};
    v->pending_debug = 0;
    return deliver(v, &ev);
}

static bool injected(struct kvm_cpu *v)
{
    struct vmlib_event e = v->injected;
    int r = kvm_look(v, KVM_PART_ALL);
    if (r)
        return fail(v, r);
    v->injected = (struct vmlib_event)VMLIB_EVENT_INIT;
    v->halted = false;
    if (!v->delivering && kernel_can(v, &e)) {
        give_to_kernel(v, &e);
        return true;
    }
    if (v->events.exception.injected || v->events.exception.pending ||
        v->events.interrupt.injected || v->events.nmi.injected) {
        clear_kernel(&v->events); /* this one replaces it */
        v->dirty |= KVM_PART_EVENTS;
    }
    struct x86_event ev;
    vmi_event_from_api(&e, &ev);
    return deliver(v, &ev);
}

bool kvm_redeliver(struct kvm_cpu *v)
{
    return injected(v);
}

int kvm_inject(struct vmi_vcpu *vcpu, const struct vmlib_event *event)
{
    struct kvm_cpu *v = kvm_cpu_of(vcpu);
    v->delivering = false;
    v->injected = *event;
    return 0;
}

/* --- NMI and INTR --- */

/* The kernel remembers it while another is in service, and kvm_events_get() takes it back. */
static bool nmi(struct kvm_cpu *v)
{
    if (v->halted) { /* a masked NMI does not end the halt */
        int r = kvm_look(v, KVM_PART_EVENTS);
        if (r)
            return fail(v, r);
        if (v->events.nmi.masked)
            return true;
    }
    v->halted = false;
    take_pending(v, VMI_PEND_NMI);
    int r = kvm_flush(v);
    if (!r && kvm_ioctl(v->fd, KVM_NMI, NULL) < 0)
        r = kvm_failed("KVM_NMI");
    v->valid &= ~KVM_PART_EVENTS;
    return !r || fail(v, r);
}

/* The handler's vector goes in at once: KVM_INTERRUPT when the state is as the kernel left it. */
static bool interrupt(struct kvm_cpu *v, uint32_t vector)
{
    if (v->dirty || !v->run->ready_for_interrupt_injection) {
        v->injected = (struct vmlib_event){.type = VMLIB_EVENT_INTERRUPT, .vector = vector & 0xff};
        return injected(v);
    }
    struct kvm_interrupt irq = {.irq = vector & 0xff};
    if (kvm_ioctl(v->fd, KVM_INTERRUPT, &irq) < 0)
        return fail(v, kvm_failed("KVM_INTERRUPT"));
    v->run->ready_for_interrupt_injection = 0;
    v->valid &= ~KVM_PART_EVENTS;
    v->halted = false;
    return true;
}

static bool window(struct kvm_cpu *v, bool requested)
{
    struct vmlib_exit *e = &v->owner->exit;
    if (requested)
        take_pending(v, VMI_PEND_WINDOW);
    e->reason = VMLIB_EXIT_INTERRUPT_WINDOW;
    e->u.interrupt = (struct vmlib_exit_interrupt){.requested = requested};
    enum vmi_verdict verdict = kvm_dispatch(v);
    if (verdict == VMI_GO || verdict == VMI_GO_LEAVE)
        return interrupt(v, e->u.interrupt.vector) && verdict == VMI_GO;
    v->spurious = verdict == VMI_NONE;
    return verdict == VMI_NONE;
}

enum readiness { READY, LATER, FAILED };

/* Can the guest take an interrupt at this boundary? An unfinished access is finished by the next
 * KVM_RUN, which then tells by an exit. */
static enum readiness ready(struct kvm_cpu *v)
{
    if (v->open != KVM_OPEN_NONE)
        return LATER;
    if (!v->dirty && v->run->ready_for_interrupt_injection)
        return READY;
    int r = kvm_look(v, KVM_PART_REGS | KVM_PART_EVENTS);
    if (r) {
        fail(v, r);
        return FAILED;
    }
    const struct kvm_vcpu_events *k = &v->events;
    bool busy = k->exception.injected || k->exception.pending || k->interrupt.injected ||
                k->nmi.injected || (k->nmi.pending && !k->nmi.masked);
    return interrupts_on(v) && !busy ? READY : LATER;
}

static bool interrupts(struct kvm_cpu *v, uint32_t pending)
{
    bool requested = pending & VMI_PEND_WINDOW;
    bool intr = !v->spurious && atomic_load_explicit(&v->owner->intr, memory_order_relaxed);
    v->run->request_interrupt_window = 0;
    if (requested || intr) {
        switch (ready(v)) {
        case FAILED:
            return false;
        case READY:
            if (!window(v, requested))
                return false;
            break;
        case LATER:
            v->run->request_interrupt_window = 1;
            break;
        }
    }
    return !v->halted || report(v, VMLIB_EXIT_HLT);
}

bool kvm_events_enter(struct kvm_cpu *v)
{
    uint32_t pending = atomic_load_explicit(&v->owner->pending, memory_order_relaxed);
    if ((pending & (VMI_PEND_INIT | VMI_PEND_SIPI) || v->wait_sipi || v->shutdown) && !startup(v))
        return false;
    if (v->pending_debug && !debug_trap(v))
        return false;
    if (v->injected.type != VMLIB_EVENT_NONE && !injected(v))
        return false;
    if (v->shutdown)
        return report(v, VMLIB_EXIT_SHUTDOWN);
    if (pending & VMI_PEND_NMI && !nmi(v))
        return false;
    return interrupts(v, pending);
}

/* --- as the API shows them --- */

static struct vmlib_event kernel_event(const struct kvm_cpu *v)
{
    const struct kvm_vcpu_events *k = &v->events;
    struct vmlib_event e = VMLIB_EVENT_INIT;
    if (k->exception.injected || k->exception.pending) {
        bool soft = k->exception.nr == X86_BP || k->exception.nr == X86_OF;
        e.type = soft ? VMLIB_EVENT_SOFTWARE_EXC : VMLIB_EVENT_EXCEPTION;
        e.vector = k->exception.nr;
        e.flags = k->exception.has_error_code ? VMLIB_EVENT_HAS_ERROR : 0;
        e.error_code = k->exception.has_error_code ? k->exception.error_code : 0;
        e.insn_len = soft;
        if (k->exception_has_payload || e.vector == X86_PF) {
            e.flags |= VMLIB_EVENT_HAS_ADDRESS;
            e.address = k->exception_has_payload ? k->exception_payload : v->sregs.cr2;
        }
    } else if (k->interrupt.injected) {
        e.type = k->interrupt.soft ? VMLIB_EVENT_SOFTWARE_INT : VMLIB_EVENT_INTERRUPT;
        e.vector = k->interrupt.nr;
        e.insn_len = k->interrupt.soft ? 2 : 0; /* CD ib */
    } else if (k->nmi.injected) {
        e.type = VMLIB_EVENT_NMI;
        e.vector = X86_NMI;
    }
    return e;
}

void kvm_events_get(struct kvm_cpu *v, struct vmlib_events *o)
{
    struct kvm_vcpu_events *k = &v->events;
    memset(o, 0, sizeof(*o));
    o->flags = (k->interrupt.shadow & KVM_X86_SHADOW_INT_STI ? VMLIB_EVENTS_SHADOW_STI : 0) |
               (k->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? VMLIB_EVENTS_SHADOW_MOVSS : 0) |
               (k->nmi.masked ? VMLIB_EVENTS_NMI_BLOCKED : 0) |
               (v->halted ? VMLIB_EVENTS_HALTED : 0) | (v->wait_sipi ? VMLIB_EVENTS_WAIT_SIPI : 0) |
               (v->shutdown ? VMLIB_EVENTS_SHUTDOWN : 0);
    o->pending_debug = v->pending_debug;
    o->injected = v->injected;
    if (v->injected.type == VMLIB_EVENT_NONE && kvm_look(v, KVM_PART_SREGS | KVM_PART_EVENTS) == 0)
        o->injected = kernel_event(v);
    if (k->nmi.pending) { /* back to core, which shows it and gives it to the next run */
        k->nmi.pending = 0;
        k->flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
        v->dirty |= KVM_PART_EVENTS;
        atomic_fetch_or(&v->owner->pending, VMI_PEND_NMI);
    }
}

int kvm_events_set(struct kvm_cpu *v, const struct vmlib_events *o)
{
    struct kvm_vcpu_events *k = &v->events;
    clear_kernel(k);
    k->interrupt.shadow =
        (uint8_t)((o->flags & VMLIB_EVENTS_SHADOW_STI ? KVM_X86_SHADOW_INT_STI : 0) |
                  (o->flags & VMLIB_EVENTS_SHADOW_MOVSS ? KVM_X86_SHADOW_INT_MOV_SS : 0));
    k->nmi.masked = (o->flags & VMLIB_EVENTS_NMI_BLOCKED) != 0;
    k->nmi.pending = 0;
    k->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
               (v->vm->caps.exception_payload ? KVM_VCPUEVENT_VALID_PAYLOAD : 0);
    if (v->vm->caps.triple_fault)
        k->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
    k->triple_fault.pending = 0;
    v->dirty |= KVM_PART_EVENTS;
    v->halted = o->flags & VMLIB_EVENTS_HALTED;
    v->wait_sipi = o->flags & VMLIB_EVENTS_WAIT_SIPI;
    v->shutdown = o->flags & VMLIB_EVENTS_SHUTDOWN;
    v->injected = o->injected;
    v->pending_debug = o->pending_debug;
    v->run->ready_for_interrupt_injection = 0;
    return 0;
}
