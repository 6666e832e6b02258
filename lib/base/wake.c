/*
 * One sleeper, many wakers.
 *
 * A POSIX semaphore, because sem_post() is the only wake-up that POSIX allows in signal handlers.
 * `sleeping` is handed over by exchange: whoever takes the 1 owes the semaphore exactly one post
 * (waker) or none (sleeper), so posts never pile up.
 */
#include "base/wake.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"

int vmi_wake_init(struct vmi_wake *w)
{
    atomic_init(&w->count, 0);
    atomic_init(&w->sleeping, 0);
    return sem_init(&w->sem, 0, 0);
}

void vmi_wake_destroy(struct vmi_wake *w)
{
    sem_destroy(&w->sem);
}

void vmi_wake_up(struct vmi_wake *w)
{
    atomic_fetch_add(&w->count, 1);
    if (atomic_exchange(&w->sleeping, 0) != 0) {
        sem_post(&w->sem);
    }
}

/* sem_timedwait() knows only the settable clock: sleep in short pieces and decide by the monotonic
 * one. */
static void wait_until(sem_t *sem, uint64_t deadline_ns, bool *posted)
{
    if (deadline_ns == UINT64_MAX) {
        *posted = sem_wait(sem) == 0;
        return;
    }
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 30)
    struct timespec at = {(time_t)(deadline_ns / 1000000000u), (long)(deadline_ns % 1000000000u)};
    *posted = sem_clockwait(sem, CLOCK_MONOTONIC, &at) == 0;
#else
    uint64_t now = vmi_clock_ns();
    uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    uint64_t ns = (uint64_t)at.tv_nsec + (left < 100000000u ? left : 100000000u);
    at.tv_sec += (time_t)(ns / 1000000000u);
    at.tv_nsec = (long)(ns % 1000000000u);
    *posted = sem_timedwait(sem, &at) == 0;
#endif
}

bool vmi_wake_sleep(struct vmi_wake *w, uint32_t count, uint64_t deadline_ns)
{
    for (;;) {
        bool posted = false;
        bool expired = deadline_ns != UINT64_MAX && vmi_clock_ns() >= deadline_ns;
        atomic_store(&w->sleeping, 1);
        bool woken = vmi_wake_count(w) != count;
        if (!woken && !expired) {
            wait_until(&w->sem, deadline_ns, &posted);
        }
        /* A waker took the 1: its post is here or will be in a moment. */
        while (!posted && atomic_exchange(&w->sleeping, 0) == 0) {
            posted = sem_wait(&w->sem) == 0;
        }
        if (woken || vmi_wake_count(w) != count) {
            return true;
        }
        if (expired) {
            return false;
        }
    }
}
