/* Local APIC (SDM Vol.3A chapter 10): xAPIC registers at fee00000, x2APIC as MSRs 800 to 83f,
 * IA32_APIC_BASE. */
#ifndef VMI_DEVICES_LAPIC_H
#define VMI_DEVICES_LAPIC_H

#include "devices/ioapic.h"

#define VMI_APIC_BASE_BSP    0x100u
#define VMI_APIC_BASE_X2     0x400u
#define VMI_APIC_BASE_ENABLE 0x800u
#define VMI_APIC_ADDRESS     0xfee00000u

/* Delivery modes. */
enum {
    VMI_APIC_FIXED,
    VMI_APIC_LOWEST,
    VMI_APIC_SMI,
    VMI_APIC_NMI = 4,
    VMI_APIC_INIT,
    VMI_APIC_SIPI,
    VMI_APIC_EXTINT
};

struct vmi_lapic;

/* What a local APIC asks of its surroundings. */
struct vmi_lapic_ops {
    /* Send to other local APICs, self included when the message says so. shorthand: 0 none, 2 all,
     * 3 all but self. */
    void (*send)(void *opaque, struct vmi_lapic *from, const struct vmi_apic_message *m,
                 unsigned shorthand);
    void (*eoi)(void *opaque, uint8_t vector); /* broadcast of a level-triggered EOI */
    void (*nmi)(void *opaque, struct vmi_lapic *l);
    void (*init)(void *opaque, struct vmi_lapic *l);
    void (*sipi)(void *opaque, struct vmi_lapic *l, uint8_t vector);
    /* What the interrupt output depends on may have changed. */
    void (*changed)(void *opaque, struct vmi_lapic *l);
};

enum {
    VMI_LVT_CMCI,
    VMI_LVT_TIMER,
    VMI_LVT_THERMAL,
    VMI_LVT_PERF,
    VMI_LVT_LINT0,
    VMI_LVT_LINT1,
    VMI_LVT_ERROR,
    VMI_LVTS
};

struct vmi_lapic {
    const struct vmi_lapic_ops *ops;
    void *opaque;
    uint32_t index, id; /* of the vCPU; initial APIC ID */
    uint32_t khz;       /* of the timer's input clock, which is the time-stamp counter's */
    uint64_t base;      /* IA32_APIC_BASE */
    uint32_t tpr, ldr, dfr, svr, esr, esr_next;
    uint32_t xapic_id; /* writable copy in xAPIC mode, bits 31:24 */
    uint64_t icr;
    uint32_t irr[8], isr[8], tmr[8];
    int highest_irr, highest_isr; /* vectors, -1: none */
    uint32_t lvt[VMI_LVTS];
    bool extint; /* an external (8259) interrupt was sent as a message and waits */
    uint32_t divide, initial_count;
    uint64_t timer_start;    /* when the count began */
    uint64_t timer_deadline; /* VMI_NEVER: not armed */
    uint64_t tsc_deadline;
};

void vmi_lapic_init(struct vmi_lapic *l, const struct vmi_lapic_ops *ops, void *opaque,
                    uint32_t index, uint32_t khz);
/* INIT: everything but the APIC base (SDM Vol.3A 10.4.7.3). */
void vmi_lapic_reset(struct vmi_lapic *l);

/* As firmware leaves the boot processor's: enabled, LINT0 takes the 8259, LINT1 is NMI
 * (MultiProcessor Specification 3.6.2). */
void vmi_lapic_virtual_wire(struct vmi_lapic *l);

/* Registers by number: xAPIC offset / 16 = x2APIC MSR - 800. false: there is no such register. */
bool vmi_lapic_read(struct vmi_lapic *l, unsigned reg, uint64_t now, uint64_t *value);
bool vmi_lapic_write(struct vmi_lapic *l, unsigned reg, uint64_t now, uint64_t value);
/* WRMSR IA32_APIC_BASE. false: general protection. phys_bits: width of addresses. */
bool vmi_lapic_set_base(struct vmi_lapic *l, uint64_t value, unsigned phys_bits);
/* WRMSR IA32_TSC_DEADLINE; tsc is the counter's value now. */
void vmi_lapic_set_tsc_deadline(struct vmi_lapic *l, uint64_t value, uint64_t tsc, uint64_t now);

static inline bool vmi_lapic_x2(const struct vmi_lapic *l)
{
    return l->base & VMI_APIC_BASE_X2;
}

/* Does the message's destination mean this APIC? */
bool vmi_lapic_matches(const struct vmi_lapic *l, uint32_t dest, bool logical);
/* Lower is chosen first for lowest-priority delivery; negative: cannot take it. */
int vmi_lapic_arbitration(const struct vmi_lapic *l);
void vmi_lapic_accept(struct vmi_lapic *l, const struct vmi_apic_message *m);
void vmi_lapic_lint(struct vmi_lapic *l, unsigned pin, bool level); /* LINT1 as a pulse of NMI */

/* The vector that the processor should take, -1: none. Does not look at the 8259. */
int vmi_lapic_pending(const struct vmi_lapic *l);
/* Does the 8259 reach this processor? (APIC disabled, or LINT0 unmasked as ExtINT) */
bool vmi_lapic_takes_pic(const struct vmi_lapic *l);
/* Interrupt acknowledge of vmi_lapic_pending(). */
void vmi_lapic_ack(struct vmi_lapic *l, int vector);

uint64_t vmi_lapic_deadline(const struct vmi_lapic *l);
void vmi_lapic_tick(struct vmi_lapic *l, uint64_t now);

#endif
