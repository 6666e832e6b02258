/* High precision event timer. */
#include "devices/hpet.h"

#define TICK_NS (VMI_HPET_PERIOD / 1000000u)

#define REG_ID      0x00
#define REG_CONFIG  0x10
#define REG_STATUS  0x20
#define REG_COUNTER 0xf0
#define REG_TIMER   0x100

#define CONFIG_ENABLE 1u
#define CONFIG_LEGACY 2u

#define TIMER_LEVEL        0x0002u
#define TIMER_ENABLE       0x0004u
#define TIMER_PERIODIC     0x0008u
#define TIMER_CAN_PERIODIC 0x0010u
#define TIMER_64           0x0020u
#define TIMER_SET_VALUE    0x0040u
#define TIMER_32           0x0100u
#define TIMER_ROUTE        0x3e00u
#define TIMER_WRITABLE \
    (TIMER_LEVEL | TIMER_ENABLE | TIMER_PERIODIC | TIMER_SET_VALUE | TIMER_32 | TIMER_ROUTE)
/* Inputs of the I/O APIC that a timer may use: 2, 8 and 16 to 23. */
#define ROUTES 0x00ff0104u

/* A guest must not be able to keep its host busy with ticks only. */
#define MIN_PERIOD_TICKS (10000u / TICK_NS)

static uint64_t counter(const struct vmi_hpet *h, uint64_t now)
{
    if (!(h->config & CONFIG_ENABLE))
        return h->counter;
    return h->counter + (now - h->base) / TICK_NS;
}

static unsigned route(const struct vmi_hpet *h, unsigned n)
{
    if ((h->config & CONFIG_LEGACY) && n < 2)
        return n ? 8 : 2; /* in place of the clock and of the 8254, whose IRQ 0 is input 2 */
    return h->timer[n].config >> 9 & 31;
}

static void arm(struct vmi_hpet *h, unsigned n, uint64_t now)
{
    struct vmi_hpet_timer *t = &h->timer[n];
    uint64_t left;

    t->deadline = VMI_NEVER;
    if (!(h->config & CONFIG_ENABLE) || !(t->config & TIMER_ENABLE))
        return;
    left = t->comparator - counter(h, now);
    if (t->config & TIMER_32)
        left &= 0xffffffffu;
    /* A comparator that is only just behind the counter has been missed: it matches after a wrap,
     * as in hardware. */
    if (left < VMI_NEVER / 2 / TICK_NS)
        t->deadline = vmi_later(now, (left ? left : 1) * TICK_NS);
}

static void arm_all(struct vmi_hpet *h, uint64_t now)
{
    unsigned n;

    for (n = 0; n < VMI_HPET_TIMERS; n++)
        arm(h, n, now);
}

static void drive(struct vmi_hpet *h, unsigned n, bool level)
{
    struct vmi_line line = h->irq;

    line.number += route(h, n);
    vmi_line_set(&line, level);
}

static void fire(struct vmi_hpet *h, unsigned n)
{
    if (h->timer[n].config & TIMER_LEVEL) {
        h->status |= 1u << n;
        drive(h, n, true);
    } else {
        drive(h, n, true);
        drive(h, n, false);
    }
}

void vmi_hpet_tick(struct vmi_hpet *h, uint64_t now)
{
    unsigned n;

    for (n = 0; n < VMI_HPET_TIMERS; n++) {
        struct vmi_hpet_timer *t = &h->timer[n];
        uint64_t at, behind;

        if (now < t->deadline)
            continue;
        t->deadline = VMI_NEVER;
        fire(h, n);
        if (!(t->config & TIMER_PERIODIC) || !t->period)
            continue;
        /* The next multiple of the period in the future; missed ones are one. */
        at = counter(h, now);
        behind = at - t->comparator;
        if (t->config & TIMER_32)
            behind &= 0xffffffffu;
        t->comparator += (behind / t->period + 1) * t->period;
        if (t->config & TIMER_32)
            t->comparator &= 0xffffffffu;
        arm(h, n, now);
        if (t->deadline < now + MIN_PERIOD_TICKS * TICK_NS && t->period < MIN_PERIOD_TICKS)
            t->deadline = now + MIN_PERIOD_TICKS * TICK_NS;
    }
}

uint64_t vmi_hpet_deadline(const struct vmi_hpet *h)
{
    uint64_t d = VMI_NEVER;
    unsigned n;

    for (n = 0; n < VMI_HPET_TIMERS; n++)
        d = vmi_min(d, h->timer[n].deadline);
    return d;
}

static uint64_t read64(struct vmi_hpet *h, unsigned offset, uint64_t now)
{
    const struct vmi_hpet_timer *t;

    switch (offset) {
    case REG_ID:
        return (uint64_t)VMI_HPET_PERIOD << 32 | VMI_HPET_ID;
    case REG_CONFIG:
        return h->config;
    case REG_STATUS:
        return h->status;
    case REG_COUNTER:
        return counter(h, now);
    default:
        break;
    }
    if (offset < REG_TIMER || (offset - REG_TIMER) / 0x20 >= VMI_HPET_TIMERS)
        return 0;
    t = &h->timer[(offset - REG_TIMER) / 0x20];
    switch (offset & 0x18) {
    case 0x00:
        return (uint64_t)ROUTES << 32 | TIMER_CAN_PERIODIC | TIMER_64 | t->config;
    case 0x08:
        return t->comparator;
    default:
        return 0;
    }
}

uint64_t vmi_hpet_read(struct vmi_hpet *h, unsigned offset, unsigned width, uint64_t now)
{
    uint64_t value = read64(h, offset & ~7u & 0x3ff, now);

    if (offset & 4)
        value >>= 32;
    return width == 8 ? value : (uint32_t)value;
}

static void write_config(struct vmi_hpet *h, uint64_t value, uint64_t now)
{
    uint64_t changed = (h->config ^ value) & (CONFIG_ENABLE | CONFIG_LEGACY);

    if (changed & CONFIG_ENABLE) {
        h->counter = counter(h, now);
        h->base = now;
    }
    h->config = value & (CONFIG_ENABLE | CONFIG_LEGACY);
    if ((changed & CONFIG_LEGACY) && h->legacy)
        h->legacy(h->irq.opaque, h->config & CONFIG_LEGACY);
    arm_all(h, now);
}

static void write_comparator(struct vmi_hpet *h, unsigned n, uint64_t value, uint64_t now)
{
    struct vmi_hpet_timer *t = &h->timer[n];

    if (t->config & TIMER_32)
        value = (uint32_t)value;
    if (!(t->config & TIMER_PERIODIC) || (t->config & TIMER_SET_VALUE))
        t->comparator = value;
    if (t->config & TIMER_PERIODIC)
        t->period = value;
    t->config &= ~(uint64_t)TIMER_SET_VALUE;
    arm(h, n, now);
}

static void write_timer_config(struct vmi_hpet *h, unsigned n, uint64_t value, uint64_t now)
{
    if (!(ROUTES >> (value >> 9 & 31) & 1))
        value &= ~(uint64_t)TIMER_ROUTE;
    if ((h->timer[n].config & TIMER_LEVEL) && (h->status & 1u << n))
        drive(h, n, false);
    h->timer[n].config = value & TIMER_WRITABLE;
    if (value & TIMER_32)
        h->timer[n].comparator = (uint32_t)h->timer[n].comparator;
    arm(h, n, now);
}

void vmi_hpet_write(struct vmi_hpet *h, unsigned offset, unsigned width, uint64_t value,
                    uint64_t now)
{
    unsigned reg = offset & ~7u & 0x3ff, n;
    uint64_t old;

    if (width != 8) { /* half of a register: keep the other */
        old = read64(h, reg, now);
        value = offset & 4 ? (uint32_t)old | value << 32 : (old & ~0xffffffffull) | (uint32_t)value;
    }
    switch (reg) {
    case REG_CONFIG:
        write_config(h, value, now);
        return;
    case REG_STATUS:
        if (width != 8 && (offset & 4))
            return;
        for (n = 0; n < VMI_HPET_TIMERS; n++)
            if (h->status & value & 1u << n)
                drive(h, n, false);
        h->status &= ~value;
        return;
    case REG_COUNTER:
        h->counter = value;
        h->base = now;
        arm_all(h, now);
        return;
    default:
        break;
    }
    if (reg < REG_TIMER || (reg - REG_TIMER) / 0x20 >= VMI_HPET_TIMERS)
        return;
    n = (reg - REG_TIMER) / 0x20;
    if ((reg & 0x18) == 0)
        write_timer_config(h, n, value, now);
    else if ((reg & 0x18) == 8)
        write_comparator(h, n, value, now);
}

void vmi_hpet_init(struct vmi_hpet *h, struct vmi_line irq, void (*legacy)(void *, bool))
{
    unsigned n;

    *h = (struct vmi_hpet){.irq = irq, .legacy = legacy};
    for (n = 0; n < VMI_HPET_TIMERS; n++) {
        h->timer[n].comparator = VMI_NEVER;
        h->timer[n].deadline = VMI_NEVER;
    }
}
