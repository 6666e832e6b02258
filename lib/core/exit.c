/*
 * Dispatch: what happens with a guest event that a backend reports.
 *
 * Doorbells first, then handlers from the youngest to the oldest, then the record goes into the
 * vCPU's queue and run returns it. Reads are then completed by vmlib_vcpu_complete(); writes have
 * been carried out by the time run returns.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/internal.h"

#define UNLIKELY(x) __builtin_expect(!!(x), 0)

static struct vmlib_vcpu *core_vcpu(struct vmi_vcpu *pub)
{
    return (struct vmlib_vcpu *)pub;
}

struct vmlib_exit *vmi_exit_queue(struct vmlib_vcpu *vcpu)
{
    if (vcpu->queue_head + vcpu->queue_count == vcpu->queue_room) {
        uint32_t room = vcpu->queue_room == 0 ? 4 : vcpu->queue_room * 2;
        struct vmlib_exit *queue = NULL;
        if (room <= VMI_QUEUE_MAX) {
            queue = realloc(vcpu->queue, room * sizeof(queue[0]));
        }
        if (queue == NULL) {
            vcpu->error = vmi_error(room <= VMI_QUEUE_MAX ? VMLIB_E_NOMEM : VMLIB_E_LIMIT,
                                    "no room for another exit record of one instruction");
            return NULL;
        }
        vcpu->queue = queue;
        vcpu->queue_room = room;
    }
    return &vcpu->queue[vcpu->queue_head + vcpu->queue_count++];
}

/* Have run return the present record. */
static enum vmi_verdict return_record(struct vmi_vcpu *pub, uint32_t flags,
                                      enum vmi_verdict verdict)
{
    struct vmlib_vcpu *vcpu = core_vcpu(pub);
    struct vmlib_exit *record = vmi_exit_queue(vcpu);
    if (record == NULL) {
        return VMI_EXIT;
    }
    vmi_exit_describe(pub);
    pub->exit.size = sizeof(pub->exit);
    pub->exit.flags = flags;
    *record = pub->exit;
    return verdict;
}

/* Call a function of the host program: the vCPU is not in the guest meanwhile. */
static int call_handler(struct vmlib_vcpu *vcpu, struct vmi_hook *hook)
{
    if (hook->flags & VMLIB_HANDLER_HEADER) {
        vmi_exit_describe(&vcpu->pub);
    }
    vmlib_handler_fn fn = hook->fn;
    void *opaque = hook->opaque;
    atomic_store_explicit(&vcpu->active, hook, memory_order_relaxed);
    vmi_guest_leave(vcpu);
    int answer = fn(opaque, vcpu, &vcpu->pub.exit);
    atomic_store_explicit(&vcpu->active, NULL, memory_order_release);
    vmi_guest_enter(vcpu);
    return answer;
}

static enum vmi_verdict check_inject(struct vmlib_vcpu *vcpu)
{
    int rc = vmi_args_event(&vcpu->pub.exit.inject, "exit->inject");
    if (rc != 0) {
        vcpu->error = rc;
        return VMI_EXIT;
    }
    return VMI_INJECT;
}

enum asked {
    NOBODY,   /* no handler is registered for it */
    PASSED,   /* all handlers passed */
    RETURN,   /* the host wants it returned from run */
    ANSWERED, /* *verdict is the answer */
};

static enum asked failed(struct vmlib_vcpu *vcpu, int answer, enum vmi_verdict *verdict)
{
    vcpu->error = vmi_error(answer < 0 ? answer : VMLIB_E_INVAL, "a handler answered %d", answer);
    *verdict = VMI_EXIT;
    return ANSWERED;
}

/* Ask the handlers, youngest first. */
static enum asked ask(struct vmlib_vcpu *vcpu, uint32_t kind, uint64_t addr,
                      enum vmi_verdict *verdict)
{
    uint64_t below = UINT64_MAX;
    for (;;) {
        /* The table may be another one after each call. */
        struct vmi_hook *hook =
            vmi_table_find(vcpu->vm->table, kind, addr, below, &vcpu->hint[kind]);
        if (hook == NULL) {
            return below == UINT64_MAX ? NOBODY : PASSED;
        }
        if (hook->fn == NULL) {
            return RETURN;
        }
        below = hook->seq;
        int answer = call_handler(vcpu, hook);
        switch (answer) {
        case VMLIB_HANDLED:
            *verdict = VMI_GO;
            return ANSWERED;
        case VMLIB_PASS:
            continue;
        case VMLIB_INJECT:
            *verdict = check_inject(vcpu);
            return ANSWERED;
        case VMLIB_STOP:
            vcpu->stopped = true;
            *verdict = VMI_GO_LEAVE;
            return ANSWERED;
        default:
            return failed(vcpu, answer, verdict);
        }
    }
}

static bool ring(struct vmlib_vcpu *vcpu, uint32_t kind, uint64_t addr, unsigned width,
                 uint64_t value)
{
    struct vmi_hook *hook = vmi_table_doorbell(vcpu->vm->table, kind, addr, width, value);
    if (hook == NULL) {
        return false;
    }
    if (hook->fd >= 0) {
        /* A full pipe or counter has notified already. */
        const uint64_t one = 1;
        ssize_t n;
        do {
            n = write(hook->fd, &one, sizeof(one));
        } while (n < 0 && errno == EINTR);
        return true;
    }
    void (*fn)(void *, uint64_t) = hook->ring;
    void *opaque = hook->opaque;
    atomic_store_explicit(&vcpu->active, hook, memory_order_relaxed);
    vmi_guest_leave(vcpu);
    fn(opaque, value);
    atomic_store_explicit(&vcpu->active, NULL, memory_order_release);
    vmi_guest_enter(vcpu);
    return true;
}

/* A record of a read waits for its completion; one of a write tells what has been done. */
static enum vmi_verdict unclaimed_access(struct vmi_vcpu *pub, bool write)
{
    return write ? return_record(pub, 0, VMI_GO_LEAVE)
                 : return_record(pub, VMLIB_EXIT_F_PENDING, VMI_EXIT);
}

static enum vmi_verdict dispatch_pio(struct vmi_vcpu *pub)
{
    struct vmlib_vcpu *vcpu = core_vcpu(pub);
    struct vmlib_exit_pio *pio = &pub->exit.u.pio;
    enum vmi_verdict verdict;
    if (pio->write && ring(vcpu, VMLIB_DOORBELL_PIO, pio->port, pio->width, pio->value)) {
        return VMI_GO;
    }
    if (ask(vcpu, VMLIB_HANDLER_PIO, pio->port, &verdict) == ANSWERED) {
        return verdict;
    }
    return unclaimed_access(pub, pio->write);
}

/* An access to a region whose protection does not allow it. */
static enum vmi_verdict memory_fault(struct vmi_vcpu *pub, const struct vmi_slot *slot)
{
    struct vmlib_exit_mmio mmio = pub->exit.u.mmio;
    pub->exit.reason = VMLIB_EXIT_MEMORY_FAULT;
    pub->exit.u.memory_fault = (struct vmlib_exit_memory_fault){
        .gpa = mmio.gpa,
        .gva = mmio.gva,
        .access = mmio.write ? VMLIB_ACCESS_WRITE : VMLIB_ACCESS_READ,
        .width = mmio.width,
        .mapped = 1,
        .prot = slot->prot,
    };
    return return_record(pub, 0, VMI_EXIT);
}

static enum vmi_verdict dispatch_mmio(struct vmi_vcpu *pub)
{
    struct vmlib_vcpu *vcpu = core_vcpu(pub);
    struct vmlib_exit_mmio *mmio = &pub->exit.u.mmio;
    enum vmi_verdict verdict;
    if (mmio->write && ring(vcpu, VMLIB_DOORBELL_MMIO, mmio->gpa, mmio->width, mmio->value)) {
        return VMI_GO;
    }
    if (ask(vcpu, VMLIB_HANDLER_MMIO, mmio->gpa, &verdict) == ANSWERED) {
        return verdict;
    }
    const struct vmi_slot *slot = vmi_memory_slot(pub->vm, mmio->gpa);
    return slot != NULL ? memory_fault(pub, slot) : unclaimed_access(pub, mmio->write);
}

static enum vmi_verdict dispatch_msr(struct vmi_vcpu *pub)
{
    enum vmi_verdict verdict;
    enum asked asked = ask(core_vcpu(pub), VMLIB_HANDLER_MSR, pub->exit.u.msr.index, &verdict);
    if (asked == ANSWERED) {
        return verdict;
    }
    if (asked == RETURN || (!pub->exit.u.msr.known && pub->vm->msr_policy == VMLIB_MSR_EXIT)) {
        return return_record(pub, VMLIB_EXIT_F_PENDING, VMI_EXIT);
    }
    if (pub->exit.u.msr.known) {
        return VMI_NONE;
    }
    pub->exit.inject = (struct vmlib_event){
        .type = VMLIB_EVENT_EXCEPTION, .vector = 13, .flags = VMLIB_EVENT_HAS_ERROR};
    return VMI_INJECT;
}

static enum vmi_verdict dispatch_cpuid(struct vmi_vcpu *pub)
{
    enum vmi_verdict verdict;
    switch (ask(core_vcpu(pub), VMLIB_HANDLER_CPUID, pub->exit.u.cpuid.leaf, &verdict)) {
    case ANSWERED:
        return verdict;
    case RETURN:
        return return_record(pub, VMLIB_EXIT_F_PENDING, VMI_EXIT);
    default:
        return VMI_NONE;
    }
}

static enum vmi_verdict dispatch_hypercall(struct vmi_vcpu *pub)
{
    enum vmi_verdict verdict;
    struct vmlib_exit_hypercall *call = &pub->exit.u.hypercall;
    call->result = call->rax;
    if (ask(core_vcpu(pub), VMLIB_HANDLER_HYPERCALL, (uint32_t)call->rax, &verdict) == ANSWERED) {
        return verdict;
    }
    return return_record(pub, VMLIB_EXIT_F_PENDING, VMI_EXIT);
}

/* Nothing is outstanding after an exception record: the exception waits as the injected event. */
static enum vmi_verdict dispatch_exception(struct vmi_vcpu *pub)
{
    enum vmi_verdict verdict;
    pub->exit.inject = pub->exit.u.exception.event; /* INJECT without a change delivers it */
    if (ask(core_vcpu(pub), VMLIB_HANDLER_EXCEPTION, pub->exit.inject.vector, &verdict) ==
        ANSWERED) {
        return verdict;
    }
    return return_record(pub, 0, VMI_EXIT);
}

static enum vmi_verdict dispatch_interrupt(struct vmi_vcpu *pub)
{
    struct vmlib_vcpu *vcpu = core_vcpu(pub);
    if (pub->exit.u.interrupt.requested) {
        return return_record(pub, 0, VMI_EXIT);
    }
    enum vmi_verdict verdict;
    switch (ask(vcpu, VMLIB_HANDLER_INTACK, pub->index, &verdict)) {
    case PASSED:
        return VMI_NONE; /* spurious */
    case ANSWERED:
        if (verdict <= VMI_GO_LEAVE && pub->exit.u.interrupt.vector > 255) {
            vcpu->error = vmi_error(VMLIB_E_INVAL, "exit->u.interrupt.vector is %u",
                                    pub->exit.u.interrupt.vector);
            return VMI_EXIT;
        }
        return verdict;
    default:
        return return_record(pub, 0, VMI_EXIT);
    }
}

static enum vmi_verdict dispatch_plain(struct vmi_vcpu *pub)
{
    return return_record(pub, 0, VMI_EXIT);
}

static enum vmi_verdict dispatch_unknown(struct vmi_vcpu *pub)
{
    core_vcpu(pub)->error =
        vmi_error(VMLIB_E_INTERNAL, "backend reported an exit with reason %u", pub->exit.reason);
    return VMI_EXIT;
}

enum vmi_verdict vmi_exit_dispatch(struct vmi_vcpu *pub)
{
    static enum vmi_verdict (*const table[VMLIB_EXIT_COUNT])(struct vmi_vcpu *) = {
        [VMLIB_EXIT_PIO] = dispatch_pio,
        [VMLIB_EXIT_MMIO] = dispatch_mmio,
        [VMLIB_EXIT_MSR] = dispatch_msr,
        [VMLIB_EXIT_CPUID] = dispatch_cpuid,
        [VMLIB_EXIT_HYPERCALL] = dispatch_hypercall,
        [VMLIB_EXIT_HLT] = dispatch_plain,
        [VMLIB_EXIT_EXCEPTION] = dispatch_exception,
        [VMLIB_EXIT_MEMORY_FAULT] = dispatch_plain,
        [VMLIB_EXIT_DEBUG] = dispatch_plain,
        [VMLIB_EXIT_INTERRUPT_WINDOW] = dispatch_interrupt,
        [VMLIB_EXIT_SHUTDOWN] = dispatch_plain,
        [VMLIB_EXIT_INTERNAL] = dispatch_plain,
    };
    uint32_t reason = pub->exit.reason;
    if (UNLIKELY(reason >= VMLIB_EXIT_COUNT || table[reason] == NULL)) {
        return dispatch_unknown(pub);
    }
    return table[reason](pub);
}

static uint64_t width_mask(unsigned width)
{
    return width >= 8 ? UINT64_MAX : (UINT64_C(1) << width * 8) - 1;
}

enum vmi_verdict vmi_exit_pio(struct vmi_vcpu *pub, uint16_t port, unsigned width, bool write,
                              uint32_t *value)
{
    pub->exit.reason = VMLIB_EXIT_PIO;
    pub->exit.u.pio = (struct vmlib_exit_pio){.port = port,
                                              .width = (uint8_t)width,
                                              .write = write,
                                              .value = write ? *value : 0,
                                              .count = 1};
    enum vmi_verdict verdict = dispatch_pio(pub);
    if (!write) {
        *value = pub->exit.u.pio.value & (uint32_t)width_mask(width);
    }
    return verdict;
}

enum vmi_verdict vmi_exit_mmio(struct vmi_vcpu *pub, uint64_t gpa, uint64_t gva, unsigned width,
                               bool write, uint64_t *value)
{
    pub->exit.reason = VMLIB_EXIT_MMIO;
    pub->exit.u.mmio = (struct vmlib_exit_mmio){.gpa = gpa,
                                                .gva = gva,
                                                .width = (uint8_t)width,
                                                .write = write,
                                                .value = write ? *value : 0};
    enum vmi_verdict verdict = dispatch_mmio(pub);
    if (!write) {
        *value = pub->exit.u.mmio.value & width_mask(width);
    }
    return verdict;
}

enum vmi_verdict vmi_exit_msr(struct vmi_vcpu *pub, uint32_t index, bool write, bool known,
                              uint64_t *value)
{
    pub->exit.reason = VMLIB_EXIT_MSR;
    pub->exit.u.msr =
        (struct vmlib_exit_msr){.index = index, .write = write, .known = known, .value = *value};
    enum vmi_verdict verdict = dispatch_msr(pub);
    if (!write) {
        *value = pub->exit.u.msr.value;
    }
    return verdict;
}

enum vmi_verdict vmi_exit_cpuid(struct vmi_vcpu *pub, uint32_t leaf, uint32_t subleaf,
                                uint32_t regs[4])
{
    pub->exit.reason = VMLIB_EXIT_CPUID;
    pub->exit.u.cpuid =
        (struct vmlib_exit_cpuid){leaf, subleaf, regs[0], regs[1], regs[2], regs[3]};
    enum vmi_verdict verdict = dispatch_cpuid(pub);
    const struct vmlib_exit_cpuid *c = &pub->exit.u.cpuid;
    regs[0] = c->eax;
    regs[1] = c->ebx;
    regs[2] = c->ecx;
    regs[3] = c->edx;
    return verdict;
}
