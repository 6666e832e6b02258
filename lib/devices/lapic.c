/* Local APIC: registers. Delivery is in lapic_irq.c, the timer in lapic_timer.c. */
#include "devices/lapic.h"
#include "devices/lapic_internal.h"

#define VERSION 0x14u /* integrated APIC */
#define MAX_LVT 6u    /* number of local vectors - 1, with CMCI */

/* Writable bits of each local vector (SDM Vol.3A figure 10-8). */
static const uint32_t lvt_mask[VMI_LVTS] = {
    [VMI_LVT_CMCI] = 0x107ff,  [VMI_LVT_TIMER] = 0x700ff, [VMI_LVT_THERMAL] = 0x107ff,
    [VMI_LVT_PERF] = 0x107ff,  [VMI_LVT_LINT0] = 0x1a7ff, [VMI_LVT_LINT1] = 0x1a7ff,
    [VMI_LVT_ERROR] = 0x100ff,
};

/* Register number to local vector; VMI_LVTS: is none. */
static unsigned lvt_of(unsigned reg)
{
    static const uint8_t order[] = {VMI_LVT_TIMER, VMI_LVT_THERMAL, VMI_LVT_PERF,
                                    VMI_LVT_LINT0, VMI_LVT_LINT1,   VMI_LVT_ERROR};

    if (reg == REG_LVT_CMCI)
        return VMI_LVT_CMCI;
    if (reg >= REG_LVT && reg < REG_LVT + sizeof order)
        return order[reg - REG_LVT];
    return VMI_LVTS;
}

bool vmi_lapic_enabled(const struct vmi_lapic *l)
{
    return (l->base & VMI_APIC_BASE_ENABLE) && (l->svr & SVR_ENABLE);
}

bool vmi_lapic_read(struct vmi_lapic *l, unsigned reg, uint64_t now, uint64_t *value)
{
    unsigned lvt = lvt_of(reg);

    *value = 0;
    if (lvt < VMI_LVTS) {
        *value = l->lvt[lvt];
        return true;
    }
    switch (reg) {
    case REG_ID:
        *value = vmi_lapic_x2(l) ? l->id : l->xapic_id;
        return true;
    case REG_VERSION:
        *value = VERSION | MAX_LVT << 16;
        return true;
    case REG_TPR:
        *value = l->tpr;
        return true;
    case REG_PPR:
        *value = (uint32_t)vmi_lapic_ppr(l);
        return true;
    case REG_LDR:
        *value = vmi_lapic_ldr(l);
        return true;
    case REG_DFR:
        *value = l->dfr;
        return !vmi_lapic_x2(l);
    case REG_SVR:
        *value = l->svr;
        return true;
    case REG_ESR:
        *value = l->esr;
        return true;
    case REG_ICR:
        *value = vmi_lapic_x2(l) ? l->icr : (uint32_t)l->icr;
        return true;
    case REG_ICR2:
        *value = l->icr >> 32;
        return !vmi_lapic_x2(l);
    case REG_TIMER_INIT:
        *value = l->initial_count;
        return true;
    case REG_TIMER_NOW:
        *value = vmi_lapic_timer_count(l, now);
        return true;
    case REG_TIMER_DIV:
        *value = l->divide;
        return true;
    case REG_ARB:
        return !vmi_lapic_x2(l);
    default:
        break;
    }
    if (reg >= REG_ISR && reg < REG_ISR + 8)
        *value = l->isr[reg - REG_ISR];
    else if (reg >= REG_TMR && reg < REG_TMR + 8)
        *value = l->tmr[reg - REG_TMR];
    else if (reg >= REG_IRR && reg < REG_IRR + 8)
        *value = l->irr[reg - REG_IRR];
    else
        return false;
    return true;
}

static void write_lvt(struct vmi_lapic *l, unsigned n, uint32_t value, uint64_t now)
{
    uint32_t before = l->lvt[n];

    l->lvt[n] = value & lvt_mask[n];
    if (!(l->svr & SVR_ENABLE))
        l->lvt[n] |= LVT_MASKED; /* SDM Vol.3A 10.4.7.2 */
    if (n == VMI_LVT_TIMER && ((before ^ l->lvt[n]) & LVT_TIMER_MODE))
        vmi_lapic_timer_mode(l, before, now);
    l->ops->changed(l->opaque, l);
}

static void write_svr(struct vmi_lapic *l, uint32_t value)
{
    unsigned n;

    l->svr = value & 0x1ff;
    if (!(l->svr & SVR_ENABLE))
        for (n = 0; n < VMI_LVTS; n++)
            l->lvt[n] |= LVT_MASKED;
    l->ops->changed(l->opaque, l);
}

static void send_ipi(struct vmi_lapic *l)
{
    struct vmi_apic_message m = {
        .dest = vmi_lapic_x2(l) ? (uint32_t)(l->icr >> 32) : (uint32_t)(l->icr >> 56),
        .vector = (uint8_t)l->icr,
        .mode = l->icr >> 8 & 7,
        .logical = l->icr >> 11 & 1,
        .level = false,
    };
    unsigned shorthand = l->icr >> 18 & 3;

    /* INIT level de-assert only synchronised arbitration IDs (SDM Vol.3A 10.6.1). */
    if (m.mode == VMI_APIC_INIT && (l->icr & ICR_LEVEL) && !(l->icr & ICR_ASSERT))
        return;
    if (m.vector < 16 && (m.mode == VMI_APIC_FIXED || m.mode == VMI_APIC_LOWEST)) {
        vmi_lapic_error(l, ESR_SEND_VECTOR);
        return;
    }
    if (shorthand == 1) {
        m.mode = VMI_APIC_FIXED;
        vmi_lapic_accept(l, &m);
        return;
    }
    l->ops->send(l->opaque, l, &m, shorthand);
}

static bool write_icr(struct vmi_lapic *l, uint64_t value)
{
    if (vmi_lapic_x2(l))
        l->icr = value & 0xffffffff000ccfffull;
    else
        l->icr = (l->icr & ~0xffffffffull) | (value & 0xccfff);
    send_ipi(l);
    return true;
}

static bool write_self_ipi(struct vmi_lapic *l, uint64_t value)
{
    struct vmi_apic_message m = {.vector = (uint8_t)value};

    if (m.vector < 16)
        vmi_lapic_error(l, ESR_SEND_VECTOR);
    else
        vmi_lapic_accept(l, &m);
    return true;
}

/* Registers that exist in xAPIC mode only. */
static bool write_xapic(struct vmi_lapic *l, unsigned reg, uint32_t value)
{
    if (vmi_lapic_x2(l))
        return false;
    switch (reg) {
    case REG_ID:
        l->xapic_id = value & 0xff000000u;
        return true;
    case REG_LDR:
        l->ldr = value & 0xff000000u;
        return true;
    case REG_DFR:
        l->dfr = value | 0x0fffffffu;
        return true;
    case REG_ICR2:
        l->icr = (uint32_t)l->icr | (uint64_t)(value & 0xff000000u) << 32;
        return true;
    default:
        return false;
    }
}

/* Reserved bits of x2APIC registers fault (SDM Vol.3A 10.12.1.3). */
static bool reserved_bits(const struct vmi_lapic *l, unsigned reg, uint64_t value)
{
    if (!vmi_lapic_x2(l))
        return false;
    if (reg == REG_ICR)
        return value & 0xfff32000u;
    if (value >> 32)
        return true;
    switch (reg) {
    case REG_EOI:
    case REG_ESR:
        return value != 0;
    case REG_TPR:
    case REG_SELF_IPI:
        return value > 0xff;
    default:
        return false;
    }
}

bool vmi_lapic_write(struct vmi_lapic *l, unsigned reg, uint64_t now, uint64_t value)
{
    unsigned lvt = lvt_of(reg);

    if (reserved_bits(l, reg, value))
        return false;
    if (lvt < VMI_LVTS) {
        write_lvt(l, lvt, (uint32_t)value, now);
        return true;
    }
    switch (reg) {
    case REG_TPR:
        l->tpr = value & 0xff;
        l->ops->changed(l->opaque, l);
        return true;
    case REG_EOI:
        vmi_lapic_eoi(l);
        return true;
    case REG_SVR:
        write_svr(l, (uint32_t)value);
        return true;
    case REG_ESR:
        l->esr = l->esr_next;
        l->esr_next = 0;
        return true;
    case REG_ICR:
        return write_icr(l, value);
    case REG_TIMER_INIT:
        vmi_lapic_timer_start(l, (uint32_t)value, now);
        return true;
    case REG_TIMER_DIV:
        vmi_lapic_timer_divide(l, (uint32_t)value & 0x0b, now);
        return true;
    case REG_SELF_IPI:
        return vmi_lapic_x2(l) && write_self_ipi(l, value);
    default:
        return write_xapic(l, reg, (uint32_t)value);
    }
}

/* The transitions of SDM Vol.3A figure 10-27. */
bool vmi_lapic_set_base(struct vmi_lapic *l, uint64_t value, unsigned phys_bits)
{
    const uint64_t mode = VMI_APIC_BASE_ENABLE | VMI_APIC_BASE_X2;
    uint64_t allowed = ((1ull << phys_bits) - 1) & ~0xfffull;
    uint64_t from = l->base & mode, to = value & mode;

    if (value & ~(allowed | mode | VMI_APIC_BASE_BSP))
        return false;
    if (to == VMI_APIC_BASE_X2 || (from == mode && to == VMI_APIC_BASE_ENABLE) ||
        (from == 0 && to == mode))
        return false;
    l->base = value;
    if (!to && from)
        vmi_lapic_reset(l);
    if (to == mode && from != mode)
        l->icr &= 0xffffffffu;
    l->ops->changed(l->opaque, l);
    return true;
}

void vmi_lapic_reset(struct vmi_lapic *l)
{
    unsigned n;

    l->tpr = l->ldr = l->esr = l->esr_next = 0;
    l->dfr = 0xffffffffu;
    l->svr = 0xff;
    l->xapic_id = l->id << 24;
    l->icr = 0;
    memset(l->irr, 0, sizeof l->irr);
    memset(l->isr, 0, sizeof l->isr);
    memset(l->tmr, 0, sizeof l->tmr);
    l->highest_irr = l->highest_isr = -1;
    l->extint = false;
    for (n = 0; n < VMI_LVTS; n++)
        l->lvt[n] = LVT_MASKED;
    l->divide = l->initial_count = 0;
    l->timer_start = 0;
    l->timer_deadline = VMI_NEVER;
    l->tsc_deadline = 0;
}

void vmi_lapic_virtual_wire(struct vmi_lapic *l)
{
    l->svr |= SVR_ENABLE;
    l->lvt[VMI_LVT_LINT0] = VMI_APIC_EXTINT << 8;
    l->lvt[VMI_LVT_LINT1] = VMI_APIC_NMI << 8;
    l->ops->changed(l->opaque, l);
}

void vmi_lapic_init(struct vmi_lapic *l, const struct vmi_lapic_ops *ops, void *opaque,
                    uint32_t index, uint32_t khz)
{
    *l = (struct vmi_lapic){
        .ops = ops, .opaque = opaque, .index = index, .id = index, .khz = khz ? khz : 1000000};
    l->base = VMI_APIC_ADDRESS | VMI_APIC_BASE_ENABLE | (index ? 0 : VMI_APIC_BASE_BSP);
    vmi_lapic_reset(l);
}
