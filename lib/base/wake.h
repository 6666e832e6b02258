/* One sleeper, many wakers. Waking is allowed in signal handlers. */
#ifndef VMI_BASE_WAKE_H
#define VMI_BASE_WAKE_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct vmi_wake {
    _Atomic uint32_t count;    /* wake-ups so far */
    _Atomic uint32_t sleeping; /* 1: a waker has to post */
    sem_t sem;
};

int vmi_wake_init(struct vmi_wake *w); /* 0 or -1 */
void vmi_wake_destroy(struct vmi_wake *w);

/* Take the count, look at the world, then sleep until the count differs. */
static inline uint32_t vmi_wake_count(const struct vmi_wake *w)
{
    return atomic_load_explicit(&w->count, memory_order_seq_cst);
}
/* True: woken; false: the clock has passed deadline_ns (UINT64_MAX: never). */
bool vmi_wake_sleep(struct vmi_wake *w, uint32_t count, uint64_t deadline_ns);
/* Any thread, signal-safe. What it announces must have been stored before. */
void vmi_wake_up(struct vmi_wake *w);

#endif
