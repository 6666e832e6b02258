/* I/O APIC: turns the levels of its inputs into messages to the local APICs. */
#include "devices/ioapic.h"

/*
 * Redirection entry:
 *   63..56 destination | 16 mask | 15 level | 14 remote IRR (r/o) | 13 active low | 12 status (r/o)
 * | 11 logical | 10..8 delivery mode | 7..0 vector Inputs are given as "asserted", so that the
 * polarity has no effect here.
 */
#define ENTRY_MASK   0x10000u
#define ENTRY_LEVEL  0x8000u
#define ENTRY_REMOTE 0x4000u
#define ENTRY_RW     0xff0000000001afffull

#define REG_SELECT 0x00
#define REG_WINDOW 0x10
#define REG_EOI    0x40 /* version 20h only */

#define VERSION 0x20u

static void deliver(struct vmi_ioapic *io, unsigned pin)
{
    uint64_t e = io->entry[pin];
    struct vmi_apic_message m = {.dest = (uint32_t)(e >> 56),
                                 .vector = (uint8_t)e,
                                 .mode = e >> 8 & 7,
                                 .logical = e >> 11 & 1,
                                 .level = (e & ENTRY_LEVEL) != 0};

    if (m.level)
        io->entry[pin] |= ENTRY_REMOTE;
    io->send(io->opaque, &m);
}

/* A level-triggered input that is asserted and not in service sends. */
static void service_level(struct vmi_ioapic *io, unsigned pin)
{
    uint64_t e = io->entry[pin];

    if ((io->lines & 1u << pin) && (e & ENTRY_LEVEL) && !(e & (ENTRY_MASK | ENTRY_REMOTE)))
        deliver(io, pin);
}

void vmi_ioapic_set(struct vmi_ioapic *io, unsigned pin, bool level)
{
    uint32_t bit;
    bool rise;

    if (pin >= VMI_IOAPIC_PINS)
        return;
    bit = 1u << pin;
    rise = level && !(io->lines & bit);
    io->lines = level ? io->lines | bit : io->lines & ~bit;
    if (io->entry[pin] & ENTRY_LEVEL)
        service_level(io, pin);
    else if (rise && !(io->entry[pin] & ENTRY_MASK))
        deliver(io, pin);
}

void vmi_ioapic_eoi(struct vmi_ioapic *io, uint8_t vector)
{
    unsigned pin;

    for (pin = 0; pin < VMI_IOAPIC_PINS; pin++) {
        uint64_t e = io->entry[pin];

        if ((e & ENTRY_REMOTE) && (uint8_t)e == vector) {
            io->entry[pin] &= ~(uint64_t)ENTRY_REMOTE;
            service_level(io, pin);
        }
    }
}

static void write_entry(struct vmi_ioapic *io, unsigned pin, bool high, uint32_t value)
{
    uint64_t *e = &io->entry[pin], v;

    v = high ? (*e & 0xffffffffu) | (uint64_t)value << 32 : (*e & ~0xffffffffull) | value;
    *e = (v & ENTRY_RW) | (*e & ENTRY_REMOTE);
    if (!(*e & ENTRY_LEVEL))
        *e &=
            ~(uint64_t)
                ENTRY_REMOTE; /* changing to edge resets it; kernels use this to end an interrupt */
    service_level(io, pin);
}

uint32_t vmi_ioapic_read(struct vmi_ioapic *io, unsigned offset)
{
    unsigned reg = io->select;

    if (offset == REG_SELECT)
        return io->select;
    if (offset != REG_WINDOW)
        return 0;
    if (reg == 0 || reg == 2)
        return (uint32_t)io->id << 24;
    if (reg == 1)
        return VERSION | (VMI_IOAPIC_PINS - 1) << 16;
    reg -= 0x10;
    if (reg >= 2 * VMI_IOAPIC_PINS)
        return 0;
    return (uint32_t)(io->entry[reg / 2] >> (reg & 1 ? 32 : 0));
}

void vmi_ioapic_write(struct vmi_ioapic *io, unsigned offset, uint32_t value)
{
    unsigned reg = io->select;

    if (offset == REG_SELECT) {
        io->select = (uint8_t)value;
    } else if (offset == REG_EOI) {
        vmi_ioapic_eoi(io, (uint8_t)value);
    } else if (offset == REG_WINDOW) {
        if (reg == 0)
            io->id = value >> 24 & 15;
        else if (reg >= 0x10 && reg < 0x10 + 2 * VMI_IOAPIC_PINS)
            write_entry(io, (reg - 0x10) / 2, reg & 1, value);
    }
}

void vmi_ioapic_init(struct vmi_ioapic *io, void (*send)(void *, const struct vmi_apic_message *),
                     void *opaque)
{
    unsigned pin;

    *io = (struct vmi_ioapic){.send = send, .opaque = opaque};
    for (pin = 0; pin < VMI_IOAPIC_PINS; pin++)
        io->entry[pin] = ENTRY_MASK;
}
