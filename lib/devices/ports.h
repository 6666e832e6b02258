/*
 * The small things of a PC behind single ports: keyboard controller without keyboard, port 92,
 * reset control cf9, ACPI power management, debug exit, debug console, PCI without devices,
 * firmware configuration.
 */
#ifndef VMI_DEVICES_PORTS_H
#define VMI_DEVICES_PORTS_H

#include "devices/model.h"

/* What the guest asked for. */
enum vmi_ports_event { VMI_PORTS_RESET, VMI_PORTS_POWER_OFF, VMI_PORTS_DEBUG_EXIT };

struct vmi_ports {
    void (*event)(void *opaque, enum vmi_ports_event event, uint32_t value);
    void (*debug)(void *opaque, const void *data, size_t bytes); /* NULL: no debug console */
    void *opaque, *debug_opaque;
    uint32_t cpus;
    uint64_t memory;

    uint8_t kbd_command, kbd_data, kbd_config, output_port;
    bool kbd_full; /* kbd_data waits to be read */
    uint8_t reset_control;
    uint32_t pci_address;
    uint16_t pm_enable, pm_control;
    uint16_t fw_key;
    uint32_t fw_offset;
};

void vmi_ports_init(struct vmi_ports *p);
uint8_t vmi_kbd_read(struct vmi_ports *p, unsigned port);
void vmi_kbd_write(struct vmi_ports *p, unsigned port, uint8_t value);
/* Ports cf8 to cff: reset control and PCI configuration. */
uint32_t vmi_pci_read(struct vmi_ports *p, unsigned port, unsigned width);
void vmi_pci_write(struct vmi_ports *p, unsigned port, unsigned width, uint32_t value);
/* Power management block, offset from its base. */
uint32_t vmi_pm_read(struct vmi_ports *p, unsigned offset, unsigned width, uint64_t now);
void vmi_pm_write(struct vmi_ports *p, unsigned offset, unsigned width, uint32_t value);
uint8_t vmi_fw_cfg_read(struct vmi_ports *p);
void vmi_fw_cfg_select(struct vmi_ports *p, uint16_t key);

#endif
