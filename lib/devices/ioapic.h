/* I/O APIC (Intel 82093AA data sheet): 24 inputs, MMIO at fec00000. */
#ifndef VMI_DEVICES_IOAPIC_H
#define VMI_DEVICES_IOAPIC_H

#include "devices/model.h"

#define VMI_IOAPIC_PINS 24u

/* An interrupt message to local APICs. */
struct vmi_apic_message {
    uint32_t dest;
    uint8_t vector;
    uint8_t mode; /* delivery mode, 0 to 7 (SDM Vol.3A 10.6.1) */
    bool logical; /* destination mode */
    bool level;   /* trigger mode */
};

struct vmi_ioapic {
    void (*send)(void *opaque, const struct vmi_apic_message *m);
    void *opaque;
    uint8_t id, select;
    uint32_t lines; /* levels of the inputs */
    uint64_t entry[VMI_IOAPIC_PINS];
};

void vmi_ioapic_init(struct vmi_ioapic *io, void (*send)(void *, const struct vmi_apic_message *),
                     void *opaque);
void vmi_ioapic_set(struct vmi_ioapic *io, unsigned pin, bool level);
/* A local APIC has ended a level-triggered interrupt. */
void vmi_ioapic_eoi(struct vmi_ioapic *io, uint8_t vector);
uint32_t vmi_ioapic_read(struct vmi_ioapic *io, unsigned offset);
void vmi_ioapic_write(struct vmi_ioapic *io, unsigned offset, uint32_t value);

#endif
