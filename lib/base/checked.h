/* Arithmetic that notices overflow. */
#ifndef VMI_BASE_CHECKED_H
#define VMI_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

/* Is [start, start + bytes) inside [0, limit]? */
static inline bool vmi_range_fits(uint64_t start, uint64_t bytes, uint64_t limit)
{
    return start <= limit && bytes <= limit - start;
}

static inline bool vmi_ranges_overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a < b ? b - a < a_bytes : a - b < b_bytes;
}

static inline uint64_t vmi_add_saturated(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static inline uint64_t vmi_min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
