/* Local APIC: acceptance, priorities, acknowledge and end of interrupts (SDM Vol.3A 10.6 to 10.8).
 */
#include "devices/lapic_internal.h"

static void set_bit(uint32_t *map, unsigned vector)
{
    map[vector >> 5] |= 1u << (vector & 31);
}

static void clear_bit(uint32_t *map, unsigned vector)
{
    map[vector >> 5] &= ~(1u << (vector & 31));
}

static bool test_bit(const uint32_t *map, unsigned vector)
{
    return map[vector >> 5] >> (vector & 31) & 1;
}

static int find_highest(const uint32_t *map)
{
    int word, bit;

    for (word = 7; word >= 0; word--) {
        if (!map[word])
            continue;
        for (bit = 31; !(map[word] >> bit & 1); bit--)
            ;
        return word * 32 + bit;
    }
    return -1;
}

/* SDM Vol.3A 10.8.3.1 */
int vmi_lapic_ppr(const struct vmi_lapic *l)
{
    int served = l->highest_isr < 0 ? 0 : l->highest_isr & 0xf0;

    return (int)(l->tpr & 0xf0) >= served ? (int)l->tpr : served;
}

/* In x2APIC mode the logical ID follows from the ID (SDM Vol.3A 10.12.10.2). */
uint32_t vmi_lapic_ldr(const struct vmi_lapic *l)
{
    return vmi_lapic_x2(l) ? l->id >> 4 << 16 | 1u << (l->id & 15) : l->ldr;
}

bool vmi_lapic_matches(const struct vmi_lapic *l, uint32_t dest, bool logical)
{
    uint32_t ldr;

    if (!(l->base & VMI_APIC_BASE_ENABLE))
        return false;
    if (!logical) {
        if (vmi_lapic_x2(l))
            return dest == 0xffffffffu || dest == 0xff || dest == l->id;
        return dest == 0xff || dest == 0xffffffffu || dest == l->xapic_id >> 24;
    }
    if (vmi_lapic_x2(l)) {
        if (dest == 0xffffffffu)
            return true;
        ldr = vmi_lapic_ldr(l);
        return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff);
    }
    ldr = l->ldr >> 24;
    if (l->dfr >> 28 == 0xf) /* flat model */
        return (dest & ldr & 0xff) != 0;
    if (dest == 0xff)
        return true;
    return (dest >> 4 & 15) == ldr >> 4 && (dest & ldr & 15); /* cluster model */
}

int vmi_lapic_arbitration(const struct vmi_lapic *l)
{
    return vmi_lapic_enabled(l) ? vmi_lapic_ppr(l) : -1;
}

void vmi_lapic_error(struct vmi_lapic *l, uint32_t bit)
{
    if (l->esr_next & bit)
        return;
    l->esr_next |= bit;
    vmi_lapic_local(l, VMI_LVT_ERROR);
}

static void fixed(struct vmi_lapic *l, uint8_t vector, bool level)
{
    if (!vmi_lapic_enabled(l))
        return;
    if (vector < 16) {
        if (!(l->esr_next & ESR_RECEIVE_VECTOR)) {
            l->esr_next |= ESR_RECEIVE_VECTOR;
            if ((l->lvt[VMI_LVT_ERROR] & 0xff) >= 16) /* else it would report itself for ever */
                vmi_lapic_local(l, VMI_LVT_ERROR);
        }
        return;
    }
    set_bit(l->irr, vector);
    if (level)
        set_bit(l->tmr, vector);
    else
        clear_bit(l->tmr, vector);
    if (vector > l->highest_irr)
        l->highest_irr = vector;
    l->ops->changed(l->opaque, l);
}

void vmi_lapic_accept(struct vmi_lapic *l, const struct vmi_apic_message *m)
{
    switch (m->mode) {
    case VMI_APIC_FIXED:
    case VMI_APIC_LOWEST:
        fixed(l, m->vector, m->level);
        break;
    case VMI_APIC_NMI:
        l->ops->nmi(l->opaque, l);
        break;
    case VMI_APIC_INIT:
        l->ops->init(l->opaque, l);
        break;
    case VMI_APIC_SIPI:
        l->ops->sipi(l->opaque, l, m->vector);
        break;
    case VMI_APIC_EXTINT:
        l->extint = true;
        l->ops->changed(l->opaque, l);
        break;
    default: /* SMI: there is no system management mode; 3 is reserved */
        break;
    }
}

void vmi_lapic_local(struct vmi_lapic *l, unsigned lvt)
{
    uint32_t entry = l->lvt[lvt];
    /* Timer and error have no delivery mode. */
    unsigned mode = lvt == VMI_LVT_TIMER || lvt == VMI_LVT_ERROR ? VMI_APIC_FIXED : entry >> 8 & 7;

    if (!(l->base & VMI_APIC_BASE_ENABLE) || (entry & LVT_MASKED))
        return;
    if (mode == VMI_APIC_FIXED)
        fixed(l, (uint8_t)entry, false);
    else if (mode == VMI_APIC_NMI)
        l->ops->nmi(l->opaque, l);
}

void vmi_lapic_lint(struct vmi_lapic *l, unsigned pin, bool level)
{
    if (!level)
        return;
    if (!(l->base & VMI_APIC_BASE_ENABLE)) {
        if (pin == 1)
            l->ops->nmi(l->opaque,
                        l); /* LINT1 is the NMI pin while the APIC is off (SDM Vol.3A 10.1) */
        return;
    }
    vmi_lapic_local(l, pin ? VMI_LVT_LINT1 : VMI_LVT_LINT0);
}

int vmi_lapic_pending(const struct vmi_lapic *l)
{
    if (l->highest_irr < 0 || !vmi_lapic_enabled(l))
        return -1;
    return (l->highest_irr & 0xf0) > (vmi_lapic_ppr(l) & 0xf0) ? l->highest_irr : -1;
}

bool vmi_lapic_takes_pic(const struct vmi_lapic *l)
{
    uint32_t lint0 = l->lvt[VMI_LVT_LINT0];

    if (!(l->base & VMI_APIC_BASE_ENABLE))
        return l->index == 0;
    return l->extint || (!(lint0 & LVT_MASKED) && (lint0 >> 8 & 7) == VMI_APIC_EXTINT);
}

void vmi_lapic_ack(struct vmi_lapic *l, int vector)
{
    if (vector < 0)
        return;
    clear_bit(l->irr, (unsigned)vector);
    set_bit(l->isr, (unsigned)vector);
    l->highest_isr = vector;
    l->highest_irr = find_highest(l->irr);
}

void vmi_lapic_eoi(struct vmi_lapic *l)
{
    int vector = l->highest_isr;

    if (vector < 0)
        return;
    clear_bit(l->isr, (unsigned)vector);
    l->highest_isr = find_highest(l->isr);
    if (test_bit(l->tmr, (unsigned)vector))
        l->ops->eoi(l->opaque, (uint8_t)vector);
    l->ops->changed(l->opaque, l);
}
