/* High precision event timer (IA-PC HPET specification 1.0a): 3 comparators, MMIO at fed00000. */
#ifndef VMI_DEVICES_HPET_H
#define VMI_DEVICES_HPET_H

#include "devices/model.h"

#define VMI_HPET_TIMERS 3u
#define VMI_HPET_ID     0x8086a201u /* revision 1, 3 timers, 64 bit, legacy replacement */
#define VMI_HPET_PERIOD 10000000u   /* of the main counter in fs: 100 MHz */

struct vmi_hpet_timer {
    uint64_t config, comparator, period;
    uint64_t deadline; /* ns, VMI_NEVER: not armed */
};

struct vmi_hpet {
    struct vmi_line irq; /* .number is added to the number of the I/O APIC input */
    void (*legacy)(void *opaque, bool on); /* 8254 and clock lose or get back their inputs */
    uint64_t config, status;
    uint64_t counter; /* at `base`, or while stopped */
    uint64_t base;
    struct vmi_hpet_timer timer[VMI_HPET_TIMERS];
};

void vmi_hpet_init(struct vmi_hpet *h, struct vmi_line irq, void (*legacy)(void *, bool));
/* offset: aligned to width; width 4 or 8. */
uint64_t vmi_hpet_read(struct vmi_hpet *h, unsigned offset, unsigned width, uint64_t now);
void vmi_hpet_write(struct vmi_hpet *h, unsigned offset, unsigned width, uint64_t value,
                    uint64_t now);
uint64_t vmi_hpet_deadline(const struct vmi_hpet *h);
void vmi_hpet_tick(struct vmi_hpet *h, uint64_t now);

#endif
