/* Shared by the parts of the local APIC: register numbers, bits, and what they call of each other.
 */
#ifndef VMI_DEVICES_LAPIC_INTERNAL_H
#define VMI_DEVICES_LAPIC_INTERNAL_H

#include "devices/lapic.h"

/* Register numbers (SDM Vol.3A tables 10-1 and 10-6). */
enum {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_ARB = 0x09,
    REG_PPR = 0x0a,
    REG_EOI = 0x0b,
    REG_LDR = 0x0d,
    REG_DFR = 0x0e,
    REG_SVR = 0x0f,
    REG_ISR = 0x10,
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_LVT_CMCI = 0x2f,
    REG_ICR = 0x30,
    REG_ICR2 = 0x31,
    REG_LVT = 0x32,
    REG_TIMER_INIT = 0x38,
    REG_TIMER_NOW = 0x39,
    REG_TIMER_DIV = 0x3e,
    REG_SELF_IPI = 0x3f
};

#define SVR_ENABLE 0x100u

#define LVT_MASKED         0x10000u
#define LVT_TIMER_MODE     0x60000u
#define LVT_TIMER_PERIODIC 0x20000u
#define LVT_TIMER_TSC      0x40000u

#define ICR_ASSERT 0x4000u
#define ICR_LEVEL  0x8000u

#define ESR_SEND_VECTOR    0x20u
#define ESR_RECEIVE_VECTOR 0x40u

bool vmi_lapic_enabled(const struct vmi_lapic *l);
int vmi_lapic_ppr(const struct vmi_lapic *l);
uint32_t vmi_lapic_ldr(const struct vmi_lapic *l);
void vmi_lapic_eoi(struct vmi_lapic *l);
void vmi_lapic_error(struct vmi_lapic *l, uint32_t bit);
/* Raise a local vector. */
void vmi_lapic_local(struct vmi_lapic *l, unsigned lvt);

uint32_t vmi_lapic_timer_count(const struct vmi_lapic *l, uint64_t now);
void vmi_lapic_timer_start(struct vmi_lapic *l, uint32_t count, uint64_t now);
void vmi_lapic_timer_divide(struct vmi_lapic *l, uint32_t divide, uint64_t now);
/* The mode in the local vector has changed; `before` is the old local vector. */
void vmi_lapic_timer_mode(struct vmi_lapic *l, uint32_t before, uint64_t now);

#endif
