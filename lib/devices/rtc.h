/* Real-time clock and CMOS memory (Motorola MC146818A data sheet), ports 70 and 71. */
#ifndef VMI_DEVICES_RTC_H
#define VMI_DEVICES_RTC_H

#include "devices/model.h"

struct vmi_rtc {
    struct vmi_line irq;
    uint8_t index; /* bit 7 of port 70 (NMI mask) included */
    uint8_t cell[128];
    int64_t seconds; /* wall time at `base`, seconds since 1970 */
    uint64_t base;
    uint64_t next_periodic; /* next edge of the periodic interrupt, or VMI_NEVER */
    uint64_t next_second;   /* next update cycle that may raise an interrupt, or VMI_NEVER */
};

void vmi_rtc_init(struct vmi_rtc *r, struct vmi_line irq, int64_t seconds, uint64_t now);
/* Tell the guest how much memory there is below 4 GiB and above. */
void vmi_rtc_set_memory(struct vmi_rtc *r, uint64_t below, uint64_t above);
uint8_t vmi_rtc_read(struct vmi_rtc *r, unsigned offset, uint64_t now);
void vmi_rtc_write(struct vmi_rtc *r, unsigned offset, uint8_t value, uint64_t now);
uint64_t vmi_rtc_deadline(const struct vmi_rtc *r);
void vmi_rtc_tick(struct vmi_rtc *r, uint64_t now);

#endif
