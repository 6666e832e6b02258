/*
 * What all device models share. A model is a plain state machine: registers are read and written
 * with the time as an argument, interrupt outputs are a callback, and a model with timers tells
 * when it next has something to do. No model locks or sleeps: its owner does.
 */
#ifndef VMI_DEVICES_MODEL_H
#define VMI_DEVICES_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VMI_NEVER UINT64_MAX /* a deadline that never comes */
#define VMI_NS    1000000000ull

/* An output line. set == NULL: not connected. */
struct vmi_line {
    void (*set)(void *opaque, unsigned number, bool level);
    void *opaque;
    unsigned number;
};

static inline void vmi_line_set(const struct vmi_line *line, bool level)
{
    if (line->set)
        line->set(line->opaque, line->number, level);
}

/* a * b / c without overflow for b, c < 2^32 and a result below 2^64. */
static inline uint64_t vmi_scale(uint64_t a, uint64_t b, uint64_t c)
{
    return a / c * b + a % c * b / c;
}

/* As vmi_scale(), rounded up. */
static inline uint64_t vmi_scale_up(uint64_t a, uint64_t b, uint64_t c)
{
    return a / c * b + (a % c * b + c - 1) / c;
}

/* a + b, at most VMI_NEVER. */
static inline uint64_t vmi_later(uint64_t a, uint64_t b)
{
    return a > VMI_NEVER - b ? VMI_NEVER : a + b;
}

static inline uint64_t vmi_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint16_t vmi_get16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t vmi_get32(const void *p)
{
    const uint8_t *b = p;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t vmi_get64(const void *p)
{
    return vmi_get32(p) | (uint64_t)vmi_get32((const uint8_t *)p + 4) << 32;
}

static inline void vmi_put16(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}

static inline void vmi_put32(void *p, uint32_t v)
{
    vmi_put16(p, (uint16_t)v);
    vmi_put16((uint8_t *)p + 2, (uint16_t)(v >> 16));
}

static inline void vmi_put64(void *p, uint64_t v)
{
    vmi_put32(p, (uint32_t)v);
    vmi_put32((uint8_t *)p + 4, (uint32_t)(v >> 32));
}

#endif
