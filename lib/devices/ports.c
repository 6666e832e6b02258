/* The small things of a PC behind single ports. */
#include "devices/ports.h"
#include "devices/tables.h"

#define KBD_FULL   0x01u
#define KBD_SYSTEM 0x04u
#define KBD_UNLOCK 0x10u

static void answer(struct vmi_ports *p, uint8_t value)
{
    p->kbd_data = value;
    p->kbd_full = true;
}

uint8_t vmi_kbd_read(struct vmi_ports *p, unsigned port)
{
    if (port & 4)
        return (uint8_t)(KBD_SYSTEM | KBD_UNLOCK | (p->kbd_full ? KBD_FULL : 0));
    p->kbd_full = false;
    return p->kbd_data;
}

static void kbd_command(struct vmi_ports *p, uint8_t command)
{
    p->kbd_command = 0;
    switch (command) {
    case 0x20:
        answer(p, p->kbd_config);
        break;
    case 0x60: /* these take a byte at port 60 */
    case 0xd1:
        p->kbd_command = command;
        break;
    case 0xaa: /* self test */
        answer(p, 0x55);
        break;
    case 0xab: /* keyboard interface test */
        answer(p, 0x00);
        break;
    case 0xd0:
        answer(p, p->output_port);
        break;
    default:
        if (command >= 0xf0 && !(command & 1)) /* pulses output bit 0, the reset line */
            p->event(p->opaque, VMI_PORTS_RESET, 0);
        break;
    }
}

void vmi_kbd_write(struct vmi_ports *p, unsigned port, uint8_t value)
{
    if (port & 4) {
        kbd_command(p, value);
        return;
    }
    if (p->kbd_command == 0x60)
        p->kbd_config = value;
    if (p->kbd_command == 0xd1) {
        p->output_port = value | 2; /* address line 20 cannot be switched off */
        if (!(value & 1))
            p->event(p->opaque, VMI_PORTS_RESET, 0);
    }
    p->kbd_command = 0; /* without a command: for the keyboard, which is not there */
}

uint32_t vmi_pci_read(struct vmi_ports *p, unsigned port, unsigned width)
{
    if (port == 0xcf9 && width == 1)
        return p->reset_control;
    if (port == 0xcf8 && width == 4)
        return p->pci_address;
    return UINT32_MAX; /* no device anywhere */
}

void vmi_pci_write(struct vmi_ports *p, unsigned port, unsigned width, uint32_t value)
{
    if (port == 0xcf8 && width == 4)
        p->pci_address = value & 0x80fffffcu;
    if (port != 0xcf9 || width != 1)
        return;
    /* Bit 2 going from 0 to 1 resets; bit 1 says how thoroughly. */
    if ((value & 4) && !(p->reset_control & 4))
        p->event(p->opaque, VMI_PORTS_RESET, 0);
    p->reset_control = (uint8_t)value;
}

uint32_t vmi_pm_read(struct vmi_ports *p, unsigned offset, unsigned width, uint64_t now)
{
    uint32_t block[3], value;

    block[0] = (uint32_t)p->pm_enable << 16; /* no event ever happens: status is 0 */
    block[1] = p->pm_control | 1u;           /* SCI_EN */
    block[2] = (uint32_t)vmi_scale(now, VMI_PM_TIMER_HZ, VMI_NS);
    if (offset >= 12)
        return UINT32_MAX;
    value = block[offset / 4] >> 8 * (offset & 3);
    return width == 4 ? value : value & ((1u << 8 * width) - 1);
}

void vmi_pm_write(struct vmi_ports *p, unsigned offset, unsigned width, uint32_t value)
{
    if (offset == 0 && width == 4)
        p->pm_enable = (uint16_t)(value >> 16);
    else if (offset == 2)
        p->pm_enable = (uint16_t)value;
    else if (offset == 4 && width >= 2) {
        p->pm_control = value & 0x1c07; /* SLP_EN reads as 0 */
        if ((value & 0x2000) && (value >> 10 & 7) == VMI_S5_TYPE)
            p->event(p->opaque, VMI_PORTS_POWER_OFF, 0);
    }
}

/* Items of the firmware configuration device that test guests read: little-endian numbers. */
uint8_t vmi_fw_cfg_read(struct vmi_ports *p)
{
    uint8_t item[8] = {0};
    uint32_t bytes = 0;

    switch (p->fw_key) {
    case 0x00: /* signature */
        memcpy(item, "QEMU", 4);
        bytes = 4;
        break;
    case 0x01: /* interface: the traditional one only */
        vmi_put32(item, 1);
        bytes = 4;
        break;
    case 0x03: /* bytes of RAM */
        vmi_put64(item, p->memory);
        bytes = 8;
        break;
    case 0x05: /* processors, and the most there can be */
    case 0x0f:
        vmi_put16(item, (uint16_t)p->cpus);
        bytes = 2;
        break;
    case 0x19: /* number of named files: none */
        bytes = 4;
        break;
    default:
        break;
    }
    return p->fw_offset < bytes ? item[p->fw_offset++] : 0;
}

void vmi_fw_cfg_select(struct vmi_ports *p, uint16_t key)
{
    p->fw_key = key;
    p->fw_offset = 0;
}

void vmi_ports_init(struct vmi_ports *p)
{
    *p = (struct vmi_ports){.output_port = 3};
}
