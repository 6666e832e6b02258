/* Reference counts. */
#ifndef VMI_BASE_REF_H
#define VMI_BASE_REF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint32_t vmi_ref;

static inline void vmi_ref_get(vmi_ref *ref)
{
    atomic_fetch_add_explicit(ref, 1, memory_order_relaxed);
}

/* For tables that hold weak pointers: false when the object is already on its way out. */
static inline bool vmi_ref_get_alive(vmi_ref *ref)
{
    uint32_t n = atomic_load_explicit(ref, memory_order_relaxed);
    while (n != 0) {
        if (atomic_compare_exchange_weak_explicit(ref, &n, n + 1, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* True: that was the last one. */
static inline bool vmi_ref_put(vmi_ref *ref)
{
    return atomic_fetch_sub_explicit(ref, 1, memory_order_acq_rel) == 1;
}

#endif
