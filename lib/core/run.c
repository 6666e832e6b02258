/*
 * The run loop, its limits, and completion.
 *
 * Order in which a run ends, when several reasons hold at once: records of guest events, a
 * handler's error, cancel, stop, budget, deadline. What is not reported stays for the next run
 * (records, cancel, stop) or is counted anew (limits).
 */
#include <string.h>

#include "base/checked.h"
#include "core/internal.h"

struct run {
    struct vmlib_run_args args;
    uint64_t deadline; /* in the clock of the VM's time mode; UINT64_MAX: none */
};

static const struct vmi_backend *backend_of(const struct vmlib_vcpu *vcpu)
{
    return vcpu->vm->pub.backend;
}

static uint64_t clock_ns(struct vmlib_vcpu *vcpu)
{
    return vcpu->vm->pub.time_mode == VMLIB_TIME_REAL ? vmi_now_ns() : vmi_vcpu_time_ns(&vcpu->pub);
}

/* --- cancel --- */

static bool take_cancel(struct vmlib_vcpu *vcpu)
{
    /* Bit first, reasons second: cancellers write in the opposite order. */
    if (atomic_load_explicit(&vcpu->pub.poll, memory_order_relaxed) & VMI_POLL_CANCEL) {
        atomic_fetch_and(&vcpu->pub.poll, ~VMI_POLL_CANCEL);
    }
    bool mine = atomic_load(&vcpu->cancel_gen) ==
                atomic_load_explicit(&vcpu->generation, memory_order_relaxed);
    bool any = atomic_load(&vcpu->cancel_any) != 0 && atomic_exchange(&vcpu->cancel_any, 0) != 0;
    return mine || any;
}

/* --- records --- */

static bool pop(struct vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    if (vcpu->queue_count == 0) {
        return false;
    }
    *exit = vcpu->queue[vcpu->queue_head++];
    if (--vcpu->queue_count == 0) {
        vcpu->queue_head = 0;
    }
    if (exit->flags & VMLIB_EXIT_F_PENDING) {
        vcpu->waiting = true;
        vcpu->outstanding = *exit;
    }
    return true;
}

/* Limits and host requests have a record without an instruction. */
static void synthesize(struct vmlib_vcpu *vcpu, uint32_t reason, struct vmlib_exit *exit)
{
    struct vmlib_exit *e = &vcpu->pub.exit;
    vmi_guest_enter(vcpu);
    backend_of(vcpu)->describe(&vcpu->pub);
    vmi_guest_leave(vcpu);
    memset(exit, 0, sizeof(*exit));
    exit->size = sizeof(*exit);
    exit->reason = reason;
    exit->rip = e->rip;
    exit->mode = e->mode;
    exit->cpl = e->cpl;
}

/* --- one stretch in the guest --- */

static uint64_t stretch(struct vmlib_vcpu *vcpu, const struct run *r)
{
    uint64_t limit = r->args.budget != 0 ? r->args.budget - vcpu->done : UINT64_MAX;
    if (r->deadline == UINT64_MAX) {
        return limit;
    }
    if (vcpu->vm->pub.time_mode == VMLIB_TIME_DETERMINISTIC) {
        return vmi_min64(limit,
                         r->deadline - clock_ns(vcpu)); /* one instruction is one nanosecond */
    }
    uint32_t slice = backend_of(vcpu)->slice;
    return slice != 0 ? vmi_min64(limit, slice) : limit;
}

static int execute(struct vmlib_vcpu *vcpu, const struct run *r)
{
    if (atomic_load_explicit(&vcpu->pub.poll, memory_order_relaxed) & VMI_POLL_PAUSE) {
        atomic_fetch_and(&vcpu->pub.poll, ~VMI_POLL_PAUSE); /* entering looks at the real thing */
    }
    vcpu->pub.budget = stretch(vcpu, r);
    vcpu->pub.run_flags = r->args.flags;
    vcpu->pub.deadline_ns = r->deadline;
    vcpu->pub.retired = 0;
    vmi_guest_enter(vcpu);
    int rc = backend_of(vcpu)->run(&vcpu->pub);
    vmi_guest_leave(vcpu);
    vcpu->done += vcpu->pub.retired;
    return rc;
}

/* The vCPU is halted: sleep until something may have woken it. False: the deadline has passed. */
static bool sleep_in_hlt(struct vmlib_vcpu *vcpu, const struct run *r, uint32_t seen)
{
    if (vcpu->vm->pub.time_mode == VMLIB_TIME_DETERMINISTIC && r->deadline != UINT64_MAX) {
        if (vmi_wake_count(&vcpu->wake) != seen) {
            return true;
        }
        uint64_t now = clock_ns(vcpu);
        vcpu->skipped_ns += now < r->deadline ? r->deadline - now : 0;
        return false;
    }
    return vmi_wake_sleep(&vcpu->wake, seen, r->deadline);
}

static bool wants_sleep(const struct vmlib_vcpu *vcpu, const struct run *r)
{
    return (r->args.flags & VMLIB_RUN_WAIT_IN_HLT) && vcpu->queue_count == 1 &&
           vcpu->queue[vcpu->queue_head].reason == VMLIB_EXIT_HLT;
}

/* A limit or request that ends the run now, or VMLIB_EXIT_NONE. */
static uint32_t limit_reached(struct vmlib_vcpu *vcpu, const struct run *r)
{
    if (take_cancel(vcpu)) {
        return VMLIB_EXIT_CANCELLED;
    }
    if (vcpu->stopped) {
        vcpu->stopped = false;
        return VMLIB_EXIT_STOPPED;
    }
    if (r->args.budget != 0 && vcpu->done >= r->args.budget) {
        return VMLIB_EXIT_BUDGET;
    }
    if (r->deadline != UINT64_MAX && clock_ns(vcpu) >= r->deadline) {
        return VMLIB_EXIT_DEADLINE;
    }
    return VMLIB_EXIT_NONE;
}

static int loop(struct vmlib_vcpu *vcpu, const struct run *r, struct vmlib_exit *exit)
{
    for (;;) {
        uint32_t seen = vmi_wake_count(&vcpu->wake);
        if (pop(vcpu, exit)) {
            return 0;
        }
        uint32_t reason = limit_reached(vcpu, r);
        if (reason != VMLIB_EXIT_NONE) {
            synthesize(vcpu, reason, exit);
            return 0;
        }
        int rc = execute(vcpu, r);
        if (wants_sleep(vcpu, r) && vcpu->error == 0 && rc == 0) {
            vcpu->queue_head = vcpu->queue_count = 0;
            sleep_in_hlt(vcpu, r, seen);
        }
        if (vcpu->error != 0) {
            rc = vcpu->error;
            vcpu->error = 0;
        }
        if (rc != 0) {
            return rc;
        }
    }
}

/* --- run --- */

static int check_args(struct vmlib_vcpu *vcpu, const struct vmlib_run_args *a)
{
    if ((a->flags & ~(VMLIB_RUN_WAIT_IN_HLT | VMLIB_RUN_SINGLE_STEP)) != 0) {
        return vmi_error(VMLIB_E_INVAL, "args->flags is 0x%x", a->flags);
    }
    const struct vmi_backend *b = backend_of(vcpu);
    if ((a->flags & VMLIB_RUN_SINGLE_STEP) &&
        b->feature(VMLIB_FEATURE_SINGLE_STEP) == VMLIB_SUPPORT_REFUSED) {
        return vmi_error(VMLIB_E_UNSUPPORTED, "args->flags: backend %s refuses single-step",
                         b->name);
    }
    if (a->budget != 0 && b->feature(VMLIB_FEATURE_BUDGET) == VMLIB_SUPPORT_REFUSED) {
        return vmi_error(VMLIB_E_UNSUPPORTED, "args->budget: backend %s refuses budget", b->name);
    }
    return 0;
}

/* Make this thread the vCPU's. */
static int acquire(struct vmlib_vcpu *vcpu)
{
    uintptr_t nobody = 0;
    if (!atomic_compare_exchange_strong(&vcpu->owner, &nobody, vmi_thread_token())) {
        return vmi_error(VMLIB_E_BUSY, "vcpu %u is running", vcpu->pub.index);
    }
    return 0;
}

static void release(struct vmlib_vcpu *vcpu)
{
    atomic_store_explicit(&vcpu->owner, 0, memory_order_release);
}

static void finish(struct vmlib_vcpu *vcpu, const struct run *r, struct vmlib_exit *exit)
{
    bool counts = backend_of(vcpu)->feature(VMLIB_FEATURE_INSN_COUNT) >= VMLIB_SUPPORT_EMULATED;
    exit->instructions = counts || r->args.budget != 0 ? vcpu->done : 0;
    exit->generation = atomic_load_explicit(&vcpu->generation, memory_order_relaxed);
    if (!counts) {
        exit->flags |= VMLIB_EXIT_F_INEXACT;
    }
    if (r->args.budget != 0 && vcpu->done > r->args.budget) {
        exit->flags |= VMLIB_EXIT_F_OVERSHOT;
    }
}

/* A record as long as the caller's struct: what this version does not know is zero. */
static void hand_over(const struct vmlib_exit *record, struct vmlib_exit *exit)
{
    uint32_t size = exit->size;
    *exit = *record;
    exit->size = size;
    if (size > sizeof(*exit)) {
        memset((uint8_t *)exit + sizeof(*exit), 0, size - sizeof(*exit));
    }
}

/* The vCPU belongs to this thread. */
static int run_owned(struct vmlib_vcpu *vcpu, struct run *r, struct vmlib_exit *exit)
{
    if (vcpu->waiting) {
        return vmi_error(VMLIB_E_STATE, "vcpu %u: the last exit waits for completion",
                         vcpu->pub.index);
    }
    uint64_t generation = atomic_load_explicit(&vcpu->generation, memory_order_relaxed);
    if (r->args.generation != 0 && r->args.generation != generation) {
        return vmi_error(VMLIB_E_STATE, "args->generation is %llu, the next run is %llu",
                         (unsigned long long)r->args.generation, (unsigned long long)generation);
    }
    struct vmlib_exit record;
    vcpu->has_run = true;
    r->deadline = r->args.deadline_ns != 0 ? vmi_add_saturated(clock_ns(vcpu), r->args.deadline_ns)
                                           : UINT64_MAX;
    int rc = loop(vcpu, r, &record);
    if (rc == 0) {
        finish(vcpu, r, &record);
        hand_over(&record, exit);
        vcpu->done = 0;
    }
    atomic_store(&vcpu->generation, generation + 1);
    return rc;
}

int vmlib_vcpu_run(vmlib_vcpu *vcpu, const struct vmlib_run_args *args, struct vmlib_exit *exit)
{
    VMI_REQUIRE(vcpu);
    VMI_REQUIRE(exit);
    struct run r = {.args = VMLIB_RUN_ARGS_INIT};
    int rc = vmi_args_out(exit, sizeof(*exit), "exit");
    if (rc == 0 && args != NULL) {
        rc = vmi_args_in(&r.args, sizeof(r.args), args, "args");
    }
    if (rc == 0) {
        rc = check_args(vcpu, &r.args);
    }
    if (rc == 0) {
        rc = vmi_vm_check_fork(vcpu->vm);
    }
    if (rc == 0) {
        rc = acquire(vcpu);
    }
    if (rc != 0) {
        return rc;
    }
    vmlib_vcpu_ref(vcpu); /* a handler may drop the host's last reference */
    rc = run_owned(vcpu, &r, exit);
    release(vcpu);
    vmlib_vcpu_unref(vcpu);
    return rc;
}

/* --- completion --- */

/* Bytes that answer a record. Two sizes may be right: the hypercall's result is optional. */
static bool answer_fits(const struct vmlib_exit *e, uint32_t bytes)
{
    switch (e->reason) {
    case VMLIB_EXIT_PIO:
        return bytes == e->u.pio.width;
    case VMLIB_EXIT_MMIO:
        return bytes == e->u.mmio.width;
    case VMLIB_EXIT_MSR:
        return bytes == (e->u.msr.write ? 0u : 8u);
    case VMLIB_EXIT_CPUID:
        return bytes == 16;
    default:
        return bytes == 0 || bytes == 8;
    }
}

static void take_answer(struct vmlib_exit *e, const uint8_t *data, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes && i < 8; i++) {
        value |= (uint64_t)data[i] << 8 * i;
    }
    switch (e->reason) {
    case VMLIB_EXIT_PIO:
        e->u.pio.value = (uint32_t)value;
        break;
    case VMLIB_EXIT_MMIO:
        e->u.mmio.value = value;
        break;
    case VMLIB_EXIT_MSR:
        e->u.msr.value = bytes != 0 ? value : e->u.msr.value;
        break;
    case VMLIB_EXIT_CPUID:
        memcpy(&e->u.cpuid.eax, data, 16);
        break;
    default:
        e->u.hypercall.result = bytes != 0 ? value : e->u.hypercall.rax;
        break;
    }
}

/* The vCPU belongs to this thread, and vcpu->outstanding has its answer. */
static int finish_instruction(struct vmlib_vcpu *vcpu, bool fault)
{
    vcpu->waiting = false;
    vcpu->pub.exit = vcpu->outstanding;
    vcpu->pub.retired = 0;
    vcpu->pub.budget = 1;
    vcpu->pub.run_flags = 0;
    vcpu->pub.deadline_ns = UINT64_MAX;
    vmi_guest_enter(vcpu);
    int rc = backend_of(vcpu)->complete(&vcpu->pub, fault);
    vmi_guest_leave(vcpu);
    vcpu->done += vcpu->pub.retired;
    if (vcpu->error != 0) {
        rc = vcpu->error;
        vcpu->error = 0;
    }
    return rc;
}

static int enter_completion(struct vmlib_vcpu *vcpu)
{
    int rc = vmi_vm_check_fork(vcpu->vm);
    if (rc == 0) {
        rc = acquire(vcpu);
    }
    if (rc == 0 && !vcpu->waiting) {
        rc = vmi_error(VMLIB_E_STATE, "vcpu %u: no exit waits for completion", vcpu->pub.index);
        release(vcpu);
    }
    return rc;
}

int vmlib_vcpu_complete(vmlib_vcpu *vcpu, const void *data, uint32_t bytes)
{
    VMI_REQUIRE(vcpu);
    if (bytes != 0) {
        VMI_REQUIRE(data);
    }
    int rc = enter_completion(vcpu);
    if (rc != 0) {
        return rc;
    }
    if (!answer_fits(&vcpu->outstanding, bytes)) {
        rc = vmi_error(VMLIB_E_INVAL, "bytes is %u, which does not answer a %s exit", bytes,
                       vmlib_exit_name(vcpu->outstanding.reason));
    } else {
        take_answer(&vcpu->outstanding, data, bytes);
        rc = finish_instruction(vcpu, false);
    }
    release(vcpu);
    return rc;
}

/* Exceptions that push an error code: SDM Vol.3A table 6-1. */
#define WITH_ERROR_CODE \
    (1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17 | 1u << 21)

int vmlib_vcpu_complete_fault(vmlib_vcpu *vcpu, uint32_t vector, uint32_t error_code)
{
    VMI_REQUIRE(vcpu);
    if (vector > 31) {
        return vmi_error(VMLIB_E_INVAL, "vector is %u", vector);
    }
    int rc = enter_completion(vcpu);
    if (rc != 0) {
        return rc;
    }
    bool has_error = WITH_ERROR_CODE >> vector & 1;
    vcpu->outstanding.inject = (struct vmlib_event){
        .type = VMLIB_EVENT_EXCEPTION,
        .vector = vector,
        .flags = has_error ? VMLIB_EVENT_HAS_ERROR : 0,
        .error_code = has_error ? error_code : 0,
    };
    rc = finish_instruction(vcpu, true);
    release(vcpu);
    return rc;
}
