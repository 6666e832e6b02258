/* The run loop: what wants attention, KVM_RUN, what it came back with. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/kvm.h"

static int fail(struct kvm_cpu *v, int rc)
{
    v->error = rc;
    return 0;
}

/* A limit or a request: return from run at this boundary. */
static bool interrupted(struct kvm_cpu *v)
{
    const struct vmi_vcpu *o = v->owner;
    if (atomic_load(&o->poll) != 0)
        return true;
    return o->deadline_ns != UINT64_MAX && vmi_now_ns() >= o->deadline_ns;
}

/* KVM_RUN itself failed. False: return from run. */
static bool run_failed(struct kvm_cpu *v, int error)
{
    switch (error) {
    case EINTR:
    case EAGAIN: /* KVM_RUN of a vCPU that the kernel holds back; looked at like a kick */
        v->spurious = false;
        kvm_kick_drain(v);
        return true;
    case EFAULT:
        return fail(v, vmi_error(VMLIB_E_FAULT,
                                 "KVM_RUN: memory of a region has been unmapped or cannot be "
                                 "accessed by this process"));
    default:
        errno = error;
        return fail(v, kvm_failed("KVM_RUN"));
    }
}

static bool enter(struct kvm_cpu *v)
{
    int rc = v->dirty != 0 ? kvm_flush(v) : 0;
    if (rc != 0)
        return fail(v, rc);
    /* If the kernel refuses before it has run anything, the exit in the mapping is an old one. */
    enum kvm_open open = v->open;
    v->open = KVM_OPEN_NONE;
    v->in_access = false;
    kvm_forget(v);
    if (v->sregs_wanted != 0 || v->run->kvm_valid_regs & KVM_SYNC_X86_SREGS)
        kvm_choose_page(v);
    rc = ioctl(v->fd, KVM_RUN, 0ul);
    v->page_fresh = true;
    if (rc == 0)
        return kvm_exit(v);
    int error = errno;
    v->after_read = false;
    if (error != EINTR && error != EAGAIN && error != EFAULT) {
        v->open = open;
        v->page_fresh = false;
    }
    return run_failed(v, error);
}

static bool once(struct kvm_cpu *v)
{
    if (__builtin_expect(v->queued != 0 || v->unread, 0))
        return v->queued != 0 ? kvm_serve_queue(v) : kvm_exit(v);
    /* Kickers store what they want first and this last: see kick.c. */
    if (__builtin_expect(atomic_load_explicit(&v->signalled, memory_order_relaxed) != 0, 0))
        atomic_store(&v->signalled, 0); /* another vCPU on this thread may have taken the signal */
    __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    if (__builtin_expect(interrupted(v) || v->leave, 0))
        return false;
    if (!kvm_events_enter(v))
        return false;
    if (!kvm_debug_enter(v))
        return false;
    return v->emulate_next ? kvm_emulate(v) : enter(v);
}

int kvm_vcpu_run(struct vmi_vcpu *owner)
{
    struct kvm_cpu *v = owner->impl;
    owner->retired = 0;
    v->leave = v->spurious = false;
    int rc = kvm_kick_enter(v);
    if (rc != 0)
        return rc;
    v->error = kvm_msrs_enter(v);
    if (v->error == 0) {
        while (once(v))
            continue;
        kvm_finish(v);
    }
    kvm_kick_leave(v);
    return v->error;
}
