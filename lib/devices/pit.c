/*
 * 8254 interval timer. Nothing counts: counter and output are computed from the time since the
 * count was loaded. The clock edge on which the chip loads a count is left out; a count begins when
 * it is written.
 */
#include "devices/pit.h"

static uint64_t to_ticks(uint64_t ns)
{
    return vmi_scale(ns, VMI_PIT_HZ, VMI_NS);
}

static uint64_t to_ns(uint64_t ticks)
{
    return vmi_scale_up(ticks, VMI_NS, VMI_PIT_HZ);
}

static bool periodic(const struct vmi_pit_channel *c)
{
    return c->mode == 2 || c->mode == 3;
}

static bool triggered(const struct vmi_pit_channel *c)
{
    return c->mode == 1 || c->mode == 5;
}

static uint64_t elapsed(const struct vmi_pit_channel *c, uint64_t now)
{
    if (c->held != VMI_NEVER)
        return c->held;
    return now > c->start ? to_ticks(now - c->start) : 0;
}

/* Modes 2 and 3: begin periods with a count that was written during an earlier one. */
static void settle(struct vmi_pit_channel *c, uint64_t now)
{
    if (periodic(c) && c->running && c->next != c->count && elapsed(c, now) >= c->count) {
        c->start += to_ns(c->count);
        c->count = c->next;
    }
}

static bool output(const struct vmi_pit_channel *c, uint64_t now)
{
    uint64_t t;

    if (!c->running)
        return c->mode != 0;
    t = elapsed(c, now);
    switch (c->mode) {
    case 0:
    case 1:
        return t >= c->count;
    case 2:
        return c->held != VMI_NEVER || t % c->count != c->count - 1;
    case 3:
        return c->held != VMI_NEVER || t % c->count < (c->count + 1) / 2;
    default: /* 4, 5: low for the one tick after the count has run out */
        return t != c->count;
    }
}

static uint32_t from_bcd(uint32_t v)
{
    return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 + (v >> 12 & 15) * 1000;
}

static uint32_t to_bcd(uint32_t v)
{
    return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12;
}

static uint16_t counter(const struct vmi_pit_channel *c, uint64_t now)
{
    uint64_t t, modulus = c->bcd ? 10000 : 0x10000, value;

    if (!c->running) {
        value = c->count;
    } else {
        t = elapsed(c, now);
        if (c->mode == 2)
            value = c->count - t % c->count;
        else if (c->mode == 3) /* counts by two, once for each half */
            value = (c->count & ~1u) -
                    t % ((c->count + 1) / 2) * 2 % (c->count & ~1u ? c->count & ~1u : 1);
        else
            value = (c->count + modulus - t % modulus) % modulus;
    }
    value %= modulus;
    return (uint16_t)(c->bcd ? to_bcd((uint32_t)value) : value);
}

/* When output 0 next rises after now. */
static uint64_t next_edge(const struct vmi_pit_channel *c, uint64_t now)
{
    uint64_t t = elapsed(c, now), at;

    if (!c->running || c->held != VMI_NEVER)
        return VMI_NEVER;
    if (periodic(c))
        at = (t / c->count + 1) * c->count;
    else
        at = c->count + (c->mode >= 4 ? 1 : 0);
    return at > t ? c->start + to_ns(at) : VMI_NEVER;
}

static void update(struct vmi_pit *p, uint64_t now)
{
    bool level = output(&p->ch[0], now);

    if (level != p->irq_level) {
        p->irq_level = level;
        vmi_line_set(&p->irq, level);
    }
    p->edge = next_edge(&p->ch[0], now);
}

static void start(struct vmi_pit_channel *c, uint64_t now)
{
    c->running = true;
    c->start = now;
    c->held = c->gate || triggered(c) ? VMI_NEVER : 0;
}

static void load(struct vmi_pit_channel *c, uint16_t value, uint64_t now)
{
    uint32_t count = c->bcd ? from_bcd(value) : value;

    if (!count)
        count = c->bcd ? 10000 : 0x10000;
    if (count == 1 && periodic(c))
        count = 2; /* illegal in modes 2 and 3 (data sheet, table of maximum and minimum counts) */
    c->loaded = true;
    c->next = count;
    if (periodic(c) && c->running) {
        settle(c, now);
        return; /* taken at the end of the period */
    }
    c->count = count;
    if (!triggered(c))
        start(c, now);
}

static void set_gate(struct vmi_pit_channel *c, bool gate, uint64_t now)
{
    bool rise = gate && !c->gate;

    if (gate == c->gate)
        return;
    settle(c, now);
    if (!gate) {
        if (c->running && !triggered(c))
            c->held = elapsed(c, now);
    } else if (triggered(c)) {
        c->count = c->next;
        if (rise && c->loaded)
            start(c, now);
    } else if (c->running && periodic(c)) {
        c->count = c->next;
        c->start = now;
        c->held = VMI_NEVER;
    } else if (c->running) {
        c->start = now - vmi_min(now, to_ns(c->held));
        c->held = VMI_NEVER;
    }
    c->gate = gate;
}

static void latch_count(struct vmi_pit_channel *c, uint64_t now)
{
    if (c->latch_left)
        return;
    c->latch = counter(c, now);
    c->latch_left = c->access == 3 ? 2 : 1;
}

static void latch_status(struct vmi_pit_channel *c, uint64_t now)
{
    if (c->status_latched)
        return;
    c->status =
        (uint8_t)(output(c, now) << 7 | !c->loaded << 6 | c->access << 4 | c->mode << 1 | c->bcd);
    c->status_latched = true;
}

static void control(struct vmi_pit *p, uint8_t value, uint64_t now)
{
    unsigned select = value >> 6, n;
    struct vmi_pit_channel *c;

    if (select == 3) { /* read-back */
        for (n = 0; n < 3; n++) {
            if (!(value & 2u << n))
                continue;
            if (!(value & 0x20))
                latch_count(&p->ch[n], now);
            if (!(value & 0x10))
                latch_status(&p->ch[n], now);
        }
        return;
    }
    c = &p->ch[select];
    if (!(value & 0x30)) {
        latch_count(c, now);
        return;
    }
    c->access = value >> 4 & 3;
    c->mode = value >> 1 & 7;
    if (c->mode > 5)
        c->mode -= 4;
    c->bcd = value & 1;
    c->loaded = c->running = false;
    c->write_high = c->read_high = c->status_latched = false;
    c->latch_left = 0;
    c->held = VMI_NEVER;
}

void vmi_pit_write(struct vmi_pit *p, unsigned reg, uint8_t value, uint64_t now)
{
    struct vmi_pit_channel *c;

    reg &= 3;
    if (reg == 3) {
        settle(&p->ch[0], now);
        control(p, value, now);
        update(p, now);
        return;
    }
    c = &p->ch[reg];
    settle(c, now);
    if (c->access == 1) {
        load(c, value, now);
    } else if (c->access == 2) {
        load(c, (uint16_t)(value << 8), now);
    } else if (!c->write_high) {
        c->write_low = value;
        c->write_high = true;
        if (c->mode == 0)
            c->running = false; /* the first byte stops the count */
    } else {
        c->write_high = false;
        load(c, (uint16_t)(value << 8 | c->write_low), now);
    }
    if (reg == 0)
        update(p, now);
}

uint8_t vmi_pit_read(struct vmi_pit *p, unsigned reg, uint64_t now)
{
    struct vmi_pit_channel *c;
    uint16_t value;

    reg &= 3;
    if (reg == 3)
        return 0xff;
    c = &p->ch[reg];
    settle(c, now);
    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    if (c->latch_left) {
        bool high = c->access == 2 || (c->access == 3 && c->latch_left == 1);

        c->latch_left--;
        return (uint8_t)(high ? c->latch >> 8 : c->latch);
    }
    value = counter(c, now);
    if (c->access == 1)
        return (uint8_t)value;
    if (c->access == 2)
        return (uint8_t)(value >> 8);
    c->read_high = !c->read_high;
    return (uint8_t)(c->read_high ? value : value >> 8);
}

/* Bit 4 toggles with the refresh of memory, every 15 us. */
uint8_t vmi_pit_port61_read(struct vmi_pit *p, uint64_t now)
{
    settle(&p->ch[2], now);
    return (uint8_t)(p->port61 | (now / 15085 & 1) << 4 | output(&p->ch[2], now) << 5);
}

void vmi_pit_port61_write(struct vmi_pit *p, uint8_t value, uint64_t now)
{
    p->port61 = value & 3;
    set_gate(&p->ch[2], value & 1, now);
}

uint64_t vmi_pit_deadline(const struct vmi_pit *p)
{
    return p->edge;
}

void vmi_pit_tick(struct vmi_pit *p, uint64_t now)
{
    if (now < p->edge)
        return;
    /* The low part of the wave may lie between two calls: show the edge. Edges that were missed are
     * one. */
    if (p->irq_level)
        vmi_line_set(&p->irq, false);
    p->irq_level = false;
    settle(&p->ch[0], now);
    update(p, now);
    if (!p->irq_level) {
        vmi_line_set(&p->irq, true);
        vmi_line_set(&p->irq, false);
    }
}

void vmi_pit_init(struct vmi_pit *p, struct vmi_line irq, uint64_t now)
{
    unsigned n;

    *p = (struct vmi_pit){.irq = irq};
    for (n = 0; n < 3; n++)
        p->ch[n] = (struct vmi_pit_channel){.mode = 3,
                                            .access = 3,
                                            .gate = n != 2,
                                            .held = VMI_NEVER,
                                            .count = 0x10000,
                                            .next = 0x10000};
    p->irq_level = true;
    p->edge = VMI_NEVER;
    (void)now;
}
