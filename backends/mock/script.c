/*
 * Execution of a script: each step behaves like an instruction towards lib/core.
 *
 * rip advances by the step's length when the step completes, so that tests can tell "before" from
 * "after".
 */
#include "mock/mock.h"

#include <stdlib.h>
#include <string.h>

#define RFLAGS_IF 0x200u

/* What a step did to the run. */
enum outcome {
    NEXT,  /* completed: go on */
    LEAVE, /* return from run */
};

static struct vmi_mock_vcpu *mock_of(struct vmi_vcpu *vcpu)
{
    return vcpu->impl;
}

static void retire(struct vmi_vcpu *vcpu, uint64_t n)
{
    vcpu->retired += n;
    mock_of(vcpu)->instructions += n;
}

static uint8_t length(const struct vmlib_mock_step *s)
{
    return s->exit.insn_len != 0 ? s->exit.insn_len : 1;
}

static void deliver(struct vmi_vcpu *vcpu, const struct vmlib_event *event)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    m->result.event = *event;
    m->result.delivered++;
    m->state.events.flags &= ~VMLIB_EVENTS_HALTED;
    if (event->type == VMLIB_EVENT_INTERRUPT || event->type == VMLIB_EVENT_NMI) {
        m->state.gpr.rflags &= ~(uint64_t)RFLAGS_IF; /* as an interrupt gate does */
    }
}

/* The present step is over. */
static void end_step(struct vmi_vcpu *vcpu, uint32_t outcome)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    const struct vmlib_mock_step *s = &m->script[m->head];
    m->result.outcome = outcome;
    m->result.steps++;
    m->result.exit = vcpu->exit;
    if (outcome == VMLIB_MOCK_COMPLETED) {
        if (m->insn_len != 0) {
            m->state.gpr.rip += length(s);
        }
        retire(vcpu, 1);
    } else {
        deliver(vcpu, &vcpu->exit.inject);
    }
    m->head++;
    m->insn_len = 0;
}

/* A plain memory access by the slot that covers it; false: none, or not allowed. */
static bool access_memory(struct vmi_vcpu *vcpu, struct vmlib_exit_mmio *a)
{
    const struct vmi_slot *s = vmi_memory_slot(vcpu->vm, a->gpa);
    uint32_t prot = a->write ? VMLIB_PROT_W : VMLIB_PROT_R;
    if (s == NULL || (s->prot & prot) == 0 || a->width > s->bytes - (a->gpa - s->gpa)) {
        return false;
    }
    uint64_t offset = a->gpa - s->gpa;
    for (unsigned i = 0; i < a->width; i++) {
        _Atomic uint8_t *byte = (_Atomic uint8_t *)(s->host + offset + i);
        if (a->write) {
            atomic_store_explicit(byte, (uint8_t)(a->value >> 8 * i), memory_order_relaxed);
        } else {
            uint64_t b = atomic_load_explicit(byte, memory_order_relaxed);
            a->value = (i == 0 ? 0 : a->value) | b << 8 * i;
        }
        if (a->write && s->dirty != NULL) {
            uint64_t page = (offset + i) / VMLIB_PAGE_SIZE;
            atomic_fetch_or_explicit(&s->dirty[page / 64], UINT64_C(1) << page % 64,
                                     memory_order_relaxed);
        }
    }
    return true;
}

static enum outcome obey(struct vmi_vcpu *vcpu, enum vmi_verdict verdict)
{
    switch (verdict) {
    case VMI_GO:
    case VMI_NONE:
        end_step(vcpu, VMLIB_MOCK_COMPLETED);
        return NEXT;
    case VMI_GO_LEAVE:
        end_step(vcpu, VMLIB_MOCK_COMPLETED);
        return LEAVE;
    case VMI_INJECT:
        end_step(vcpu, VMLIB_MOCK_FAULTED);
        return NEXT;
    default:
        mock_of(vcpu)->insn_len = 0;
        return LEAVE; /* the step will be repeated or completed */
    }
}

/* Reasons whose record tells of something that has happened: the step is over when it is reported.
 */
static bool is_after(uint32_t reason)
{
    return reason == VMLIB_EXIT_HLT || reason == VMLIB_EXIT_DEBUG ||
           reason == VMLIB_EXIT_SHUTDOWN || reason == VMLIB_EXIT_INTERNAL;
}

static enum outcome report_after(struct vmi_vcpu *vcpu)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    if (vcpu->exit.reason == VMLIB_EXIT_HLT) {
        m->state.events.flags |= VMLIB_EVENTS_HALTED;
    }
    vmi_exit_dispatch(vcpu);
    end_step(vcpu, VMLIB_MOCK_COMPLETED);
    return LEAVE;
}

/* An exception that is not in the mask is delivered without asking. */
static enum outcome report_exception(struct vmi_vcpu *vcpu)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    struct vmlib_event event = vcpu->exit.u.exception.event;
    if ((m->exception_mask >> (event.vector & 31) & 1) == 0) {
        vcpu->exit.inject = event;
        end_step(vcpu, VMLIB_MOCK_FAULTED);
        return NEXT;
    }
    enum vmi_verdict verdict = vmi_exit_dispatch(vcpu);
    if (verdict == VMI_NONE) {
        vcpu->exit.inject = event;
        verdict = VMI_INJECT;
    }
    if (verdict == VMI_EXIT) { /* the next run delivers it, unless the host says otherwise */
        m->state.events.injected = event;
        m->head++;
        m->insn_len = 0;
        return LEAVE;
    }
    return obey(vcpu, verdict);
}

static enum outcome do_exit(struct vmi_vcpu *vcpu, const struct vmlib_mock_step *s)
{
    vcpu->exit.reason = s->exit.reason;
    vcpu->exit.u = s->exit.u;
    mock_of(vcpu)->insn_len = length(s);
    if (is_after(s->exit.reason)) {
        return report_after(vcpu);
    }
    if (s->exit.reason == VMLIB_EXIT_EXCEPTION) {
        return report_exception(vcpu);
    }
    return obey(vcpu, vmi_exit_dispatch(vcpu));
}

static enum outcome do_access(struct vmi_vcpu *vcpu, const struct vmlib_mock_step *s)
{
    vcpu->exit.reason = VMLIB_EXIT_MMIO;
    vcpu->exit.u = s->exit.u;
    mock_of(vcpu)->insn_len = length(s);
    if (access_memory(vcpu, &vcpu->exit.u.mmio)) {
        end_step(vcpu, VMLIB_MOCK_COMPLETED);
        return NEXT;
    }
    return obey(vcpu, vmi_exit_dispatch(vcpu));
}

static enum outcome do_retire(struct vmi_vcpu *vcpu, struct vmlib_mock_step *s)
{
    uint64_t left = vcpu->budget - vcpu->retired;
    uint64_t n = s->count < left ? s->count : left;
    retire(vcpu, n);
    mock_of(vcpu)->state.gpr.rip += n;
    s->count -= n;
    if (s->count == 0) {
        mock_of(vcpu)->head++;
        mock_of(vcpu)->result.steps++;
    }
    return NEXT;
}

static bool event_waits(struct vmi_vcpu *vcpu)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    if (atomic_load_explicit(&vcpu->pending, memory_order_relaxed) != 0) {
        return true;
    }
    return atomic_load_explicit(&vcpu->intr, memory_order_relaxed) != 0 && !m->ignored_kick &&
           (m->state.gpr.rflags & RFLAGS_IF) != 0;
}

static enum outcome do_spin(struct vmi_vcpu *vcpu)
{
    while (atomic_load_explicit(&vcpu->poll, memory_order_relaxed) == 0 &&
           vcpu->retired < vcpu->budget && !event_waits(vcpu)) {
        retire(vcpu, 1);
    }
    return NEXT; /* the loop in run looks at what it was */
}

static enum outcome step(struct vmi_vcpu *vcpu, int *rc)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    struct vmlib_mock_step *s = &m->script[m->head];
    switch (s->action) {
    case VMLIB_MOCK_EXIT:
        return do_exit(vcpu, s);
    case VMLIB_MOCK_ACCESS:
        return do_access(vcpu, s);
    case VMLIB_MOCK_RETIRE:
        return do_retire(vcpu, s);
    case VMLIB_MOCK_SPIN:
        return do_spin(vcpu);
    default:
        *rc = vmi_error(s->code, "the script says so");
        m->head++;
        return LEAVE;
    }
}

/* --- events, in the order of SDM Vol.3A table 6-2 --- */

static bool take(struct vmi_vcpu *vcpu, uint32_t bit)
{
    return (atomic_load(&vcpu->pending) & bit) != 0 &&
           (atomic_fetch_and(&vcpu->pending, ~bit) & bit) != 0;
}

static void take_init(struct vmi_vcpu *vcpu)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    if (take(vcpu, VMI_PEND_INIT)) {
        m->state.gpr.rip = 0xfff0;
        m->state.events.flags = VMLIB_EVENTS_WAIT_SIPI;
    }
    uint32_t pending = atomic_load(&vcpu->pending);
    if (take(vcpu, VMI_PEND_SIPI) && (m->state.events.flags & VMLIB_EVENTS_WAIT_SIPI)) {
        m->state.events.flags &= ~VMLIB_EVENTS_WAIT_SIPI;
        m->state.segments.cs.base =
            (uint64_t)((pending & VMI_PEND_SIPI_MASK) >> VMI_PEND_SIPI_SHIFT) << 12;
        m->state.gpr.rip = 0;
    }
}

static bool interrupts_on(const struct vmi_mock_vcpu *m)
{
    return (m->state.gpr.rflags & RFLAGS_IF) != 0 &&
           (m->state.events.flags & (VMLIB_EVENTS_SHADOW_STI | VMLIB_EVENTS_SHADOW_MOVSS)) == 0;
}

static enum outcome ask_interrupt(struct vmi_vcpu *vcpu, bool requested)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    vcpu->exit.reason = VMLIB_EXIT_INTERRUPT_WINDOW;
    vcpu->exit.u.interrupt = (struct vmlib_exit_interrupt){.requested = requested};
    enum vmi_verdict verdict = vmi_exit_dispatch(vcpu);
    if (verdict == VMI_GO || verdict == VMI_GO_LEAVE) {
        struct vmlib_event event = {.type = VMLIB_EVENT_INTERRUPT,
                                    .vector = vcpu->exit.u.interrupt.vector};
        deliver(vcpu, &event);
    } else if (verdict == VMI_NONE) {
        m->ignored_kick = true;
    } else if (verdict == VMI_INJECT) {
        deliver(vcpu, &vcpu->exit.inject);
    }
    return verdict == VMI_GO_LEAVE || verdict == VMI_EXIT ? LEAVE : NEXT;
}

static enum outcome take_events(struct vmi_vcpu *vcpu)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    take_init(vcpu);
    if (m->state.events.flags & VMLIB_EVENTS_WAIT_SIPI) {
        return NEXT;
    }
    if (m->state.events.injected.type != VMLIB_EVENT_NONE) {
        struct vmlib_event event = m->state.events.injected;
        m->state.events.injected = (struct vmlib_event)VMLIB_EVENT_INIT;
        deliver(vcpu, &event);
    }
    if ((m->state.events.flags & VMLIB_EVENTS_NMI_BLOCKED) == 0 && take(vcpu, VMI_PEND_NMI)) {
        m->state.events.flags |= VMLIB_EVENTS_NMI_BLOCKED;
        deliver(vcpu, &(struct vmlib_event){.type = VMLIB_EVENT_NMI, .vector = 2});
    }
    if (!interrupts_on(m)) {
        return NEXT;
    }
    if (take(vcpu, VMI_PEND_WINDOW)) {
        return ask_interrupt(vcpu, true);
    }
    return atomic_load(&vcpu->intr) != 0 && !m->ignored_kick ? ask_interrupt(vcpu, false) : NEXT;
}

static bool halted(const struct vmi_mock_vcpu *m)
{
    return m->head == m->count ||
           (m->state.events.flags & (VMLIB_EVENTS_HALTED | VMLIB_EVENTS_WAIT_SIPI)) != 0;
}

static void report_step(struct vmi_vcpu *vcpu)
{
    vcpu->exit.reason = VMLIB_EXIT_DEBUG;
    vcpu->exit.u.debug = (struct vmlib_exit_debug){.cause = VMLIB_DEBUG_STEP};
    vmi_exit_dispatch(vcpu);
}

int vmi_mock_run(struct vmi_vcpu *vcpu)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    int rc = vmi_mock_injected_failure(vcpu->vm, VMLIB_MOCK_CALL_RUN);
    m->ignored_kick = false;
    while (rc == 0 && atomic_load(&vcpu->poll) == 0 && vcpu->retired < vcpu->budget) {
        if (take_events(vcpu) == LEAVE) {
            break;
        }
        if (halted(m)) {
            vcpu->exit.reason = VMLIB_EXIT_HLT;
            memset(&vcpu->exit.u, 0, sizeof(vcpu->exit.u));
            vmi_exit_dispatch(vcpu);
            break;
        }
        if (step(vcpu, &rc) == LEAVE) {
            break;
        }
        if (vcpu->run_flags & VMLIB_RUN_SINGLE_STEP) {
            report_step(vcpu);
            break;
        }
    }
    return rc;
}

int vmi_mock_complete(struct vmi_vcpu *vcpu, bool fault)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    int rc = vmi_mock_injected_failure(vcpu->vm, VMLIB_MOCK_CALL_COMPLETE);
    if (rc != 0) {
        return rc;
    }
    m->insn_len = length(&m->script[m->head]);
    if (fault) {
        m->state.events.injected = vcpu->exit.inject;
        m->result.outcome = VMLIB_MOCK_FAULTED;
        m->result.steps++;
        m->result.exit = vcpu->exit;
        m->head++;
        m->insn_len = 0;
    } else {
        end_step(vcpu, VMLIB_MOCK_COMPLETED);
    }
    return 0;
}
