/*
 * Getting a vCPU out of KVM_RUN: cancel, kick, deadline.
 *
 * A kick stores immediate_exit, which ends the next KVM_RUN at once, and sends a realtime signal to
 * the thread that is inside one. The signal is blocked on every thread that runs vCPUs, and stays
 * so; only inside KVM_RUN it is not (KVM API 4.15, KVM_SET_SIGNAL_MASK). There it ends KVM_RUN with
 * EINTR without having been delivered, and the thread takes it from its queue before it leaves run.
 * So no handler is installed, nothing of the host program is interrupted, and the signal's default
 * action never happens. A deadline is a timer that sends the same signal.
 *
 * No kick is lost: a kicker first stores what it wants looked at, then immediate_exit; the vCPU
 * clears immediate_exit first, then looks. Signals never go to a thread that has left run: leaving
 * waits for kickers that have seen its number.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "kvm/kvm.h"

/* Near the upper end: debuggers and threading libraries use the lower ones. */
#define SIGNAL (SIGRTMAX - 3)

static int own_tid(void)
{
    static _Thread_local int tid;
    static _Thread_local int pid; /* after fork() the number is another */
    int now = getpid();
    if (tid == 0 || pid != now) {
        tid = (int)syscall(SYS_gettid);
        pid = now;
    }
    return tid;
}

void kvm_kick(struct vmi_vcpu *owner)
{
    struct kvm_cpu *v = owner->impl;
    int saved = errno; /* signal handlers call this */
    atomic_fetch_add(&v->kickers, 1);
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    int tid = atomic_load(&v->tid);
    if (tid != 0 && atomic_exchange(&v->signalled, 1) == 0) {
        atomic_store(&v->sent, 1);
        (void)syscall(SYS_tgkill, getpid(), tid, SIGNAL);
    }
    atomic_fetch_sub(&v->kickers, 1);
    errno = saved;
}

/* The kernel's sigset has 64 bits; struct kvm_signal_mask wants its length first. */
static int set_mask(struct kvm_cpu *v, const sigset_t *blocked)
{
    struct {
        uint32_t len;
        uint8_t bits[8];
    } __attribute__((packed)) mask = {.len = 8};
    sigset_t set = *blocked;
    sigdelset(&set, SIGNAL);
    if (v->mask_set && memcmp(&set, &v->mask, 8) == 0)
        return 0;
    memcpy(mask.bits, &set, 8);
    if (kvm_ioctl(v->fd, KVM_SET_SIGNAL_MASK, &mask) < 0)
        return kvm_failed("KVM_SET_SIGNAL_MASK");
    v->mask = set;
    v->mask_set = true;
    return 0;
}

/* --- deadline --- */

static void drop_timer(struct kvm_cpu *v)
{
    if (v->timer_tid != 0)
        timer_delete(v->timer);
    v->timer_tid = 0;
    v->timer_ns = UINT64_MAX;
}

static int make_timer(struct kvm_cpu *v, int tid)
{
    struct sigevent e;
    memset(&e, 0, sizeof(e));
    e.sigev_notify = SIGEV_THREAD_ID;
    e.sigev_signo = SIGNAL;
#ifdef sigev_notify_thread_id
    e.sigev_notify_thread_id = tid;
#else
    e._sigev_un._tid = tid;
#endif
    drop_timer(v);
    if (timer_create(CLOCK_MONOTONIC, &e, &v->timer) != 0)
        return kvm_failed("timer_create");
    v->timer_tid = tid;
    return 0;
}

static int set_timer(struct kvm_cpu *v, uint64_t when, struct itimerspec *old)
{
    struct itimerspec t = {.it_value = {.tv_sec = (time_t)(when / 1000000000u),
                                        .tv_nsec = (long)(when % 1000000000u)}};
    return timer_settime(v->timer, TIMER_ABSTIME, &t, old);
}

static int arm(struct kvm_cpu *v, int tid)
{
    uint64_t when = v->owner->deadline_ns;
    if (when == UINT64_MAX)
        return 0;
    if (v->timer_tid != tid) {
        int rc = make_timer(v, tid);
        if (rc != 0)
            return rc;
    }
    if (set_timer(v, when > 0 ? when : 1, NULL) != 0)
        return kvm_failed("timer_settime");
    v->timer_ns = when;
    return 0;
}

/* True: it has gone off, so that there may be a signal. */
static bool disarm(struct kvm_cpu *v)
{
    struct itimerspec old = {.it_value = {0, 0}};
    if (v->timer_ns == UINT64_MAX)
        return false;
    v->timer_ns = UINT64_MAX;
    return set_timer(v, 0, &old) != 0 || (old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0);
}

/* --- around run --- */

int kvm_kick_enter(struct kvm_cpu *v)
{
    sigset_t block, old;
    int tid = own_tid();
    sigemptyset(&block);
    sigaddset(&block, SIGNAL);
    pthread_sigmask(SIG_BLOCK, &block, &old);
    int rc = set_mask(v, &old);
    if (rc == 0)
        rc = arm(v, tid);
    if (rc == 0)
        atomic_store(&v->tid, tid);
    return rc;
}

void kvm_kick_drain(struct kvm_cpu *v)
{
    static const struct timespec at_once = {0, 0};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGNAL);
    atomic_store(&v->signalled, 0);
    while (sigtimedwait(&set, NULL, &at_once) >= 0 || errno == EINTR)
        continue;
}

/* Nothing may be left behind: a host program that sets the thread's mask back to what it was, as
 * siglongjmp() does, would be killed by it. */
void kvm_kick_leave(struct kvm_cpu *v)
{
    atomic_store(&v->tid, 0);
    for (unsigned attempt = 0; atomic_load(&v->kickers) != 0; attempt++)
        vmi_clock_relax(attempt);
    bool fired = disarm(v);
    if (atomic_exchange(&v->sent, 0) || fired)
        kvm_kick_drain(v);
}

void kvm_kick_destroy(struct kvm_cpu *v)
{
    drop_timer(v);
}
