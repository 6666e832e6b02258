/* 8254 interval timer (Intel 8254 data sheet), ports 40 to 43, and port 61. */
#ifndef VMI_DEVICES_PIT_H
#define VMI_DEVICES_PIT_H

#include "devices/model.h"

#define VMI_PIT_HZ 1193182u

struct vmi_pit_channel {
    uint8_t mode;   /* 0 to 5 */
    uint8_t access; /* 1: low byte, 2: high byte, 3: both */
    bool bcd, gate;
    bool loaded;                /* a count has been written since the control word */
    bool running;               /* modes 1 and 5: triggered; others: loaded */
    bool write_high, read_high; /* second byte of access 3 is next */
    uint8_t write_low;
    uint32_t count; /* of the period in progress: 1 to 10000h */
    uint32_t next;  /* modes 2 and 3: count of the periods after it */
    uint64_t start; /* time at which it began */
    uint64_t held;  /* ticks done when the gate went low; VMI_NEVER: not held */
    uint16_t latch;
    uint8_t latch_left; /* bytes of the latched count still to be read */
    uint8_t status;
    bool status_latched;
};

struct vmi_pit {
    struct vmi_line irq; /* output of channel 0 */
    struct vmi_pit_channel ch[3];
    bool irq_level;
    uint64_t edge;  /* next time at which output 0 rises */
    uint8_t port61; /* bits 0 and 1 */
};

void vmi_pit_init(struct vmi_pit *p, struct vmi_line irq, uint64_t now);
uint8_t vmi_pit_read(struct vmi_pit *p, unsigned reg, uint64_t now);
void vmi_pit_write(struct vmi_pit *p, unsigned reg, uint8_t value, uint64_t now);
uint8_t vmi_pit_port61_read(struct vmi_pit *p, uint64_t now);
void vmi_pit_port61_write(struct vmi_pit *p, uint8_t value, uint64_t now);
uint64_t vmi_pit_deadline(const struct vmi_pit *p);
void vmi_pit_tick(struct vmi_pit *p, uint64_t now);

#endif
