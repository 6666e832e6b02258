/* The pair of 8259A interrupt controllers. The second is cascaded into input 2 of the first. */
#include "devices/pic.h"

#define CASCADE 2

/* Priority of an input: 0 is the highest. */
static unsigned priority(const struct vmi_pic_chip *c, unsigned input)
{
    return (input - c->lowest - 1) & 7;
}

/* The input with the highest priority in a mask; 8 when the mask is empty. */
static unsigned highest(const struct vmi_pic_chip *c, uint8_t mask)
{
    unsigned n;

    for (n = 0; n < 8; n++) {
        unsigned input = (c->lowest + 1 + n) & 7;

        if (mask & 1u << input)
            return input;
    }
    return 8;
}

/* The input that asks for service and may have it; 8: none. */
static unsigned pending(const struct vmi_pic_chip *c, bool first)
{
    unsigned request = highest(c, c->irr & (uint8_t)~c->imr);
    uint8_t in_service = c->isr;
    unsigned served;

    if (request == 8)
        return 8;
    if (c->special_mask)
        in_service &= (uint8_t)~c->imr;
    /* Special fully nested mode: the cascade input may interrupt itself. */
    if (first && c->special_nested && request == CASCADE)
        in_service &= (uint8_t) ~(1u << CASCADE);
    served = highest(c, in_service);
    if (served != 8 && priority(c, served) <= priority(c, request)) {
        if (!c->special_mask || served == request)
            return 8;
        /* Special mask mode lets every input through that is not itself in service. */
        if (c->isr & 1u << request)
            return 8;
    }
    return request;
}

static void set_input(struct vmi_pic_chip *c, unsigned input, bool level)
{
    uint8_t bit = (uint8_t)(1u << input);

    if (c->level_mode || (c->elcr & bit)) {
        c->irr = level ? c->irr | bit : c->irr & (uint8_t)~bit;
    } else if (level && !(c->lines & bit)) {
        c->irr |= bit; /* remembered even if the line falls: the chip would call it spurious, a late
                          vCPU must not */
    }
    c->lines = level ? c->lines | bit : c->lines & (uint8_t)~bit;
}

static void update(struct vmi_pic *p)
{
    bool second = pending(&p->chip[1], false) != 8, level;

    set_input(&p->chip[0], CASCADE, second);
    if (!second)
        p->chip[0].irr &= (uint8_t) ~(1u << CASCADE); /* what the second chip asked for is gone */
    level = pending(&p->chip[0], true) != 8;
    if (level != p->level) {
        p->level = level;
        vmi_line_set(&p->intr, level);
    }
}

void vmi_pic_set(struct vmi_pic *p, unsigned irq, bool level)
{
    if (irq >= 16 || irq == CASCADE)
        return;
    set_input(&p->chip[irq >> 3], irq & 7, level);
    update(p);
}

static void serve(struct vmi_pic_chip *c, unsigned input)
{
    uint8_t bit = (uint8_t)(1u << input);

    if (c->auto_eoi) {
        if (c->rotate_auto)
            c->lowest = (uint8_t)input;
    } else {
        c->isr |= bit;
    }
    if (!(c->level_mode || (c->elcr & bit)))
        c->irr &= (uint8_t)~bit;
}

uint8_t vmi_pic_ack(struct vmi_pic *p)
{
    unsigned input = pending(&p->chip[0], true);
    uint8_t vector;

    if (input == 8) {
        vector = p->chip[0].base + 7;
    } else if (input != CASCADE) {
        serve(&p->chip[0], input);
        vector = (uint8_t)(p->chip[0].base + input);
    } else {
        unsigned second = pending(&p->chip[1], false);

        serve(&p->chip[0], CASCADE);
        /* The request to the first chip goes away and comes back while the second has more. */
        p->chip[0].lines &= (uint8_t) ~(1u << CASCADE);
        if (second == 8) {
            vector = p->chip[1].base + 7;
        } else {
            serve(&p->chip[1], second);
            vector = (uint8_t)(p->chip[1].base + second);
        }
    }
    update(p);
    return vector;
}

static uint8_t poll_chip(struct vmi_pic *p, unsigned chip)
{
    struct vmi_pic_chip *c = &p->chip[chip];
    unsigned input = pending(c, chip == 0);

    c->poll = false;
    if (input == 8)
        return 7; /* bit 7 clear: nothing */
    serve(c, input);
    update(p);
    return (uint8_t)(0x80 | input);
}

uint8_t vmi_pic_read(struct vmi_pic *p, unsigned chip, unsigned offset)
{
    struct vmi_pic_chip *c = &p->chip[chip & 1];

    if (c->poll)
        return poll_chip(p, chip & 1);
    if (offset & 1)
        return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

static void icw1(struct vmi_pic_chip *c, uint8_t value)
{
    uint8_t elcr = c->elcr, lines = c->lines;

    *c = (struct vmi_pic_chip){.elcr = elcr, .lines = lines, .lowest = 7, .icw_step = 2};
    c->icw4_needed = value & 1;
    c->single = value & 2;
    c->level_mode = value & 8;
    c->irr = c->level_mode ? lines : lines & elcr; /* the edge sense is reset */
}

static void ocw2(struct vmi_pic_chip *c, uint8_t value)
{
    unsigned input = value & 7, served;

    switch (value >> 5) {
    case 0: /* rotate in automatic EOI: clear, set */
    case 4:
        c->rotate_auto = value & 0x80;
        break;
    case 1: /* EOI, EOI with rotation: whatever has the highest priority (masked inputs stay in
               special mask mode) */
    case 5:
        served = highest(c, c->special_mask ? c->isr & (uint8_t)~c->imr : c->isr);
        if (served == 8)
            break;
        c->isr &= (uint8_t) ~(1u << served);
        if (value & 0x80)
            c->lowest = (uint8_t)served;
        break;
    case 3: /* specific EOI, with rotation */
    case 7:
        c->isr &= (uint8_t) ~(1u << input);
        if (value & 0x80)
            c->lowest = (uint8_t)input;
        break;
    case 6: /* set priority */
        c->lowest = (uint8_t)input;
        break;
    default: /* no operation */
        break;
    }
}

static void ocw3(struct vmi_pic_chip *c, uint8_t value)
{
    if (value & 4)
        c->poll = true;
    if (value & 2)
        c->read_isr = value & 1;
    if (value & 0x40)
        c->special_mask = value & 0x20;
}

static void write_data(struct vmi_pic_chip *c, uint8_t value)
{
    switch (c->icw_step) {
    case 2:
        c->base = value & 0xf8;
        c->icw_step = !c->single ? 3 : c->icw4_needed ? 4 : 0;
        break;
    case 3:
        c->icw_step = c->icw4_needed ? 4 : 0;
        break;
    case 4:
        c->auto_eoi = value & 2;
        c->special_nested = value & 0x10;
        c->icw_step = 0;
        break;
    default:
        c->imr = value;
        break;
    }
}

void vmi_pic_write(struct vmi_pic *p, unsigned chip, unsigned offset, uint8_t value)
{
    struct vmi_pic_chip *c = &p->chip[chip & 1];

    if (offset & 1)
        write_data(c, value);
    else if (value & 0x10)
        icw1(c, value);
    else if (value & 0x08)
        ocw3(c, value);
    else
        ocw2(c, value);
    update(p);
}

uint8_t vmi_pic_elcr_read(const struct vmi_pic *p, unsigned chip)
{
    return p->chip[chip & 1].elcr;
}

void vmi_pic_elcr_write(struct vmi_pic *p, unsigned chip, uint8_t value)
{
    struct vmi_pic_chip *c = &p->chip[chip & 1];

    c->elcr =
        value & (chip & 1 ? 0xde : 0xf8); /* timer, keyboard, cascade, clock, FPU: always edge */
    c->irr |= c->lines & c->elcr;
    update(p);
}

void vmi_pic_init(struct vmi_pic *p, struct vmi_line intr)
{
    *p = (struct vmi_pic){.intr = intr};
    p->chip[0].lowest = p->chip[1].lowest = 7;
    /* As firmware leaves them: initialised at 8 and 70, everything masked. */
    p->chip[0].base = 0x08;
    p->chip[1].base = 0x70;
    p->chip[0].imr = p->chip[1].imr = 0xff;
}
