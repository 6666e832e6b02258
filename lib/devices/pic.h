/* The pair of 8259A interrupt controllers of a PC (Intel 8259A data sheet), ports 20/21, a0/a1,
 * ELCR 4d0/4d1. */
#ifndef VMI_DEVICES_PIC_H
#define VMI_DEVICES_PIC_H

#include "devices/model.h"

struct vmi_pic_chip {
    uint8_t irr, imr, isr;
    uint8_t lines;                        /* levels of the inputs */
    uint8_t elcr;                         /* level-triggered inputs */
    uint8_t base;                         /* ICW2 */
    uint8_t icw_step;                     /* 0: ready, else the ICW expected next */
    bool icw4_needed, single, level_mode; /* ICW1 */
    bool auto_eoi, special_nested;        /* ICW4 */
    bool rotate_auto, special_mask, poll, read_isr;
    uint8_t lowest; /* input with the lowest priority */
};

struct vmi_pic {
    struct vmi_line intr; /* to the processor or local APIC */
    struct vmi_pic_chip chip[2];
    bool level; /* of intr, as last told */
};

void vmi_pic_init(struct vmi_pic *p, struct vmi_line intr);
/* Change an input, 0 to 15. */
void vmi_pic_set(struct vmi_pic *p, unsigned irq, bool level);
/* Interrupt acknowledge: the vector; a spurious one when nothing is pending. */
uint8_t vmi_pic_ack(struct vmi_pic *p);
/* chip 0: ports 20/21, 1: a0/a1; offset 0 or 1. */
uint8_t vmi_pic_read(struct vmi_pic *p, unsigned chip, unsigned offset);
void vmi_pic_write(struct vmi_pic *p, unsigned chip, unsigned offset, uint8_t value);
uint8_t vmi_pic_elcr_read(const struct vmi_pic *p, unsigned chip);
void vmi_pic_elcr_write(struct vmi_pic *p, unsigned chip, uint8_t value);

#endif
