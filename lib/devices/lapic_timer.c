/* Local APIC: the timer (SDM Vol.3A 10.5.4). Its input clock is that of the time-stamp counter. */
#include "devices/lapic_internal.h"

/* A guest must not be able to keep its host busy with ticks only. */
#define MIN_PERIOD_NS 10000u

/* Divide configuration: bits 3, 1, 0; 111 is one. */
static unsigned shift(const struct vmi_lapic *l)
{
    return (((l->divide >> 1 & 4) | (l->divide & 3)) + 1) & 7;
}

static uint64_t to_ns(const struct vmi_lapic *l, uint64_t clocks)
{
    return vmi_scale_up(clocks, 1000000, l->khz);
}

static uint64_t to_clocks(const struct vmi_lapic *l, uint64_t ns)
{
    return vmi_scale(ns, l->khz, 1000000);
}

static uint64_t period_ns(const struct vmi_lapic *l)
{
    return to_ns(l, (uint64_t)l->initial_count << shift(l));
}

static bool tsc_mode(const struct vmi_lapic *l)
{
    return (l->lvt[VMI_LVT_TIMER] & LVT_TIMER_MODE) == LVT_TIMER_TSC;
}

static bool periodic(const struct vmi_lapic *l)
{
    return l->lvt[VMI_LVT_TIMER] & LVT_TIMER_PERIODIC;
}

uint32_t vmi_lapic_timer_count(const struct vmi_lapic *l, uint64_t now)
{
    uint64_t done;

    if (!l->initial_count || tsc_mode(l))
        return 0;
    done = now > l->timer_start ? to_clocks(l, now - l->timer_start) >> shift(l) : 0;
    if (periodic(l))
        done %= l->initial_count;
    return done >= l->initial_count ? 0 : (uint32_t)(l->initial_count - done);
}

void vmi_lapic_timer_start(struct vmi_lapic *l, uint32_t count, uint64_t now)
{
    if (tsc_mode(l))
        return;
    l->initial_count = count;
    l->timer_start = now;
    l->timer_deadline = count ? vmi_later(now, period_ns(l)) : VMI_NEVER;
    l->ops->changed(l->opaque, l);
}

/* The count goes on from where it is, at the new pace. */
void vmi_lapic_timer_divide(struct vmi_lapic *l, uint32_t divide, uint64_t now)
{
    uint32_t left = vmi_lapic_timer_count(l, now);
    uint64_t done;

    l->divide = divide;
    if (l->timer_deadline == VMI_NEVER || tsc_mode(l))
        return;
    done = to_ns(l, (uint64_t)(l->initial_count - left) << shift(l));
    l->timer_start = now - vmi_min(now, done);
    l->timer_deadline = vmi_later(now, to_ns(l, (uint64_t)left << shift(l)));
    l->ops->changed(l->opaque, l);
}

void vmi_lapic_timer_mode(struct vmi_lapic *l, uint32_t before, uint64_t now)
{
    bool was_tsc = (before & LVT_TIMER_MODE) == LVT_TIMER_TSC;

    if (was_tsc != tsc_mode(l)) { /* either way disarms (SDM Vol.3A 10.5.4.1) */
        l->initial_count = 0;
        l->tsc_deadline = 0;
        l->timer_deadline = VMI_NEVER;
    } else if (periodic(l) && l->initial_count && l->timer_deadline == VMI_NEVER) {
        l->timer_start = now;
        l->timer_deadline = vmi_later(now, period_ns(l));
    }
}

void vmi_lapic_set_tsc_deadline(struct vmi_lapic *l, uint64_t value, uint64_t tsc, uint64_t now)
{
    if (!tsc_mode(l))
        return;
    l->tsc_deadline = value;
    if (!value)
        l->timer_deadline = VMI_NEVER;
    else
        l->timer_deadline =
            value > tsc ? vmi_later(now, to_ns(l, vmi_min(value - tsc, 1ull << 60))) : now;
    l->ops->changed(l->opaque, l);
}

uint64_t vmi_lapic_deadline(const struct vmi_lapic *l)
{
    return l->timer_deadline;
}

void vmi_lapic_tick(struct vmi_lapic *l, uint64_t now)
{
    uint64_t period;

    if (now < l->timer_deadline)
        return;
    if (!tsc_mode(l) && periodic(l)) {
        period = period_ns(l);
        period = period > MIN_PERIOD_NS ? period : MIN_PERIOD_NS;
        /* A late tick is one tick; the next keeps the phase. */
        l->timer_start += (now - l->timer_start) / period * period;
        l->timer_deadline = vmi_later(l->timer_start, period);
    } else {
        l->timer_deadline = VMI_NEVER;
        l->tsc_deadline = 0;
    }
    vmi_lapic_local(l, VMI_LVT_TIMER);
}
