/* The PC bundle: ports and memory-mapped registers. */
#include "devices/machine.h"

/* Each model behind a group of 8 ports; the models get single bytes unless they are marked wide. */
struct port_device {
    uint16_t first, last; /* ports, rounded to groups */
    bool wide;
    uint32_t (*read)(struct vmlib_machine *m, unsigned port, unsigned width);
    void (*write)(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value);
};

#define NOTHING UINT32_MAX

static uint32_t pic_read(struct vmlib_machine *m, unsigned port, unsigned width)
{
    (void)width;
    return (port & 6) ? NOTHING : vmi_pic_read(&m->pic, port >> 7 & 1, port & 1);
}

static void pic_write(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value)
{
    (void)width;
    if (!(port & 6))
        vmi_pic_write(&m->pic, port >> 7 & 1, port & 1, (uint8_t)value);
}

static uint32_t elcr_read(struct vmlib_machine *m, unsigned port, unsigned width)
{
    (void)width;
    return (port & 6) ? NOTHING : vmi_pic_elcr_read(&m->pic, port & 1);
}

static void elcr_write(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value)
{
    (void)width;
    if (!(port & 6))
        vmi_pic_elcr_write(&m->pic, port & 1, (uint8_t)value);
}

static uint32_t pit_read(struct vmlib_machine *m, unsigned port, unsigned width)
{
    (void)width;
    return (port & 4) ? NOTHING : vmi_pit_read(&m->pit, port & 3, vmi_machine_now(m));
}

static void pit_write(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value)
{
    (void)width;
    if (!(port & 4))
        vmi_pit_write(&m->pit, port & 3, (uint8_t)value, vmi_machine_now(m));
}

static uint32_t kbd_read(struct vmlib_machine *m, unsigned port, unsigned width)
{
    (void)width;
    if (port == 0x61)
        return vmi_pit_port61_read(&m->pit, vmi_machine_now(m));
    return port == 0x60 || port == 0x64 ? vmi_kbd_read(&m->ports, port) : NOTHING;
}

static void kbd_write(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value)
{
    (void)width;
    if (port == 0x61)
        vmi_pit_port61_write(&m->pit, (uint8_t)value, vmi_machine_now(m));
    else if (port == 0x60 || port == 0x64)
        vmi_kbd_write(&m->ports, port, (uint8_t)value);
}

static uint32_t rtc_read(struct vmlib_machine *m, unsigned port, unsigned width)
{
    (void)width;
    return (port & 6) ? NOTHING : vmi_rtc_read(&m->rtc, port & 1, vmi_machine_now(m));
}

static void rtc_write(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value)
{
    (void)width;
    if (!(port & 6))
        vmi_rtc_write(&m->rtc, port & 1, (uint8_t)value, vmi_machine_now(m));
}

static uint32_t port92_read(struct vmlib_machine *m, unsigned port, unsigned width)
{
    (void)m;
    (void)width;
    return port == 0x92 ? 2 : NOTHING; /* address line 20 is on */
}

static void port92_write(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value)
{
    (void)width;
    if (port == 0x92 && (value & 1))
        vmi_machine_end(m, VMLIB_MACHINE_RESET, 0, "port 92");
}

static uint32_t uart_read(struct vmlib_machine *m, unsigned port, unsigned width)
{
    (void)width;
    return vmi_uart_read(&m->uart, port & 7);
}

static void uart_write(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value)
{
    (void)width;
    vmi_uart_write(&m->uart, port & 7, (uint8_t)value);
}

/* f0 and f1 are the coprocessor's; nothing happens there. */
static void debug_exit_write(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value)
{
    (void)width;
    if (port == 0xf4)
        vmi_machine_end(m, VMLIB_MACHINE_DEBUG_EXIT, value, "debug exit");
}

static uint32_t nothing_read(struct vmlib_machine *m, unsigned port, unsigned width)
{
    (void)m;
    (void)port;
    (void)width;
    return NOTHING;
}

static void nothing_write(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value)
{
    (void)m;
    (void)port;
    (void)width;
    (void)value;
}

/* Ports e9 and 402; both read as e9 so that guests can tell that they are there. */
static uint32_t debug_read(struct vmlib_machine *m, unsigned port, unsigned width)
{
    (void)m;
    (void)width;
    return port == 0xe9 || port == 0x402 ? 0xe9 : NOTHING;
}

static void debug_write(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value)
{
    uint8_t byte = (uint8_t)value;

    (void)width;
    if ((port == 0xe9 || port == 0x402) && m->config.debug)
        m->config.debug(m->config.debug_opaque, &byte, 1);
}

static uint32_t fw_cfg_read(struct vmlib_machine *m, unsigned port, unsigned width)
{
    (void)width;
    return port == 0x511 ? vmi_fw_cfg_read(&m->ports) : NOTHING;
}

static void fw_cfg_write(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value)
{
    if (port == 0x510 && width == 2)
        vmi_fw_cfg_select(&m->ports, (uint16_t)value);
}

static uint32_t fw_cfg_read_wide(struct vmlib_machine *m, unsigned port, unsigned width)
{
    return width == 1 ? fw_cfg_read(m, port, 1) : NOTHING;
}

static uint32_t pm_read(struct vmlib_machine *m, unsigned port, unsigned width)
{
    return vmi_pm_read(&m->ports, port - VMI_PM_BASE, width, vmi_machine_now(m));
}

static void pm_write(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value)
{
    vmi_pm_write(&m->ports, port - VMI_PM_BASE, width, value);
}

static uint32_t pci_read(struct vmlib_machine *m, unsigned port, unsigned width)
{
    return vmi_pci_read(&m->ports, port, width);
}

static void pci_write(struct vmlib_machine *m, unsigned port, unsigned width, uint32_t value)
{
    vmi_pci_write(&m->ports, port, width, value);
}

static const struct port_device port_devices[] = {
    {0, 0, false, NULL, NULL}, /* index 0: nobody */
    {0x20, 0x21, false, pic_read, pic_write},
    {0xa0, 0xa1, false, pic_read, pic_write},
    {0x40, 0x43, false, pit_read, pit_write},
    {0x60, 0x64, false, kbd_read, kbd_write},
    {0x70, 0x71, false, rtc_read, rtc_write},
    {0x80, 0x8f, false, nothing_read, nothing_write}, /* power-on codes and delays */
    {0x90, 0x97, false, port92_read, port92_write},
    {0xe8, 0xef, false, debug_read, debug_write},
    {0xf0, 0xf7, true, nothing_read, debug_exit_write},
    {0x3f8, 0x3ff, false, uart_read, uart_write},
    {0x400, 0x407, false, debug_read, debug_write},
    {0x4d0, 0x4d1, false, elcr_read, elcr_write},
    {0x510, 0x511, true, fw_cfg_read_wide, fw_cfg_write},
    {VMI_PM_BASE, VMI_PM_BASE + 15, true, pm_read, pm_write},
    {0xcf8, 0xcff, true, pci_read, pci_write},
};

void vmi_machine_map_ports(struct vmlib_machine *m)
{
    unsigned n, group;

    for (n = 1; n < sizeof port_devices / sizeof *port_devices; n++) {
        const struct port_device *d = &port_devices[n];

        if (d->read == debug_read && !m->config.debug)
            continue;
        for (group = d->first / 8; group <= d->last / 8u; group++)
            m->port_device[group] = (uint8_t)n;
    }
}

static uint32_t device_read(struct vmlib_machine *m, const struct port_device *d, unsigned port,
                            unsigned width)
{
    uint32_t value = 0;
    unsigned n;

    if (d->wide || width == 1)
        return d->read(m, port, width);
    for (n = 0; n < width; n++)
        value |= (d->read(m, port + n, 1) & 0xff) << 8 * n;
    return value;
}

static void device_write(struct vmlib_machine *m, const struct port_device *d, unsigned port,
                         unsigned width, uint32_t value)
{
    unsigned n;

    if (d->wide || width == 1) {
        d->write(m, port, width, value);
        return;
    }
    for (n = 0; n < width; n++)
        d->write(m, port + n, 1, value >> 8 * n & 0xff);
}

/* Nobody claims it: ones, or the host program's business. */
static int unclaimed(struct vmlib_machine *m)
{
    vmi_count(&m->unclaimed);
    return m->config.flags & VMLIB_MACHINE_UNCLAIMED_EXITS ? VMLIB_PASS : VMLIB_HANDLED;
}

int vmi_machine_pio(void *machine, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct vmlib_machine *m = machine;
    struct vmlib_exit_pio *pio = &exit->u.pio;
    const struct port_device *d = &port_devices[m->port_device[pio->port / 8]];
    int answer;

    vmi_machine_lock(m);
    m->acting = &m->cpu[vmlib_vcpu_index(vcpu)];
    m->acting_reason = VMLIB_EXIT_PIO;
    if (!d->read) {
        answer = unclaimed(m);
        if (!pio->write)
            pio->value = NOTHING;
    } else {
        vmi_count(&m->pio);
        if (pio->write)
            device_write(m, d, pio->port, pio->width, pio->value);
        else
            pio->value = device_read(m, d, pio->port, pio->width);
        answer = vmi_machine_answer(m, &m->cpu[vmlib_vcpu_index(vcpu)]);
    }
    if (pio->width < 4)
        pio->value &= (1u << 8 * pio->width) - 1;
    vmi_machine_unlock(m);
    return answer;
}

/* xAPIC registers are 32 bits wide at multiples of 16 (SDM Vol.3A 10.4.1). */
static void lapic_mmio(struct vmlib_machine *m, struct vmi_machine_cpu *c,
                       struct vmlib_exit_mmio *io)
{
    unsigned offset = io->gpa & 0xfff;
    uint64_t value = 0;

    if (io->write) {
        if (!(offset & 15) && io->width == 4)
            vmi_lapic_write(&c->apic, offset >> 4, vmi_machine_now(m), io->value);
        if (offset == 0x80)
            vmlib_vcpu_set_reg(vmi_machine_vcpu(c), VMLIB_REG_CR8, c->apic.tpr >> 4);
        return;
    }
    if (offset == 0x80 && !vmlib_vcpu_get_reg(vmi_machine_vcpu(c), VMLIB_REG_CR8, &value) &&
        value != c->apic.tpr >> 4)
        c->apic.tpr = (uint32_t)value << 4 & 0xf0;
    value = 0;
    vmi_lapic_read(&c->apic, offset >> 4, vmi_machine_now(m), &value);
    io->value = (uint32_t)value >> 8 * (offset & 3);
    if (offset & 12)
        io->value = 0;
}

static void ioapic_mmio(struct vmlib_machine *m, struct vmlib_exit_mmio *io)
{
    unsigned offset = io->gpa & 0xfff;

    if (io->write)
        vmi_ioapic_write(&m->ioapic, offset, (uint32_t)io->value);
    else
        io->value = vmi_ioapic_read(&m->ioapic, offset);
}

static void hpet_mmio(struct vmlib_machine *m, struct vmlib_exit_mmio *io)
{
    unsigned offset = io->gpa & 0x3ff;
    bool good = (io->width == 4 && !(offset & 3)) || (io->width == 8 && !(offset & 7));

    if (!good)
        io->value = io->write ? io->value : 0;
    else if (io->write)
        vmi_hpet_write(&m->hpet, offset, io->width, io->value, vmi_machine_now(m));
    else
        io->value = vmi_hpet_read(&m->hpet, offset, io->width, vmi_machine_now(m));
}

static void virtio_mmio(struct vmlib_machine *m, struct vmlib_exit_mmio *io)
{
    unsigned n = (unsigned)(io->gpa - VMI_MACHINE_VIRTIO_GPA) / VMI_VIRTIO_BYTES;
    unsigned offset = io->gpa % VMI_VIRTIO_BYTES;
    bool inside = offset + io->width <= VMI_VIRTIO_BYTES;

    if (io->write) {
        if (inside)
            vmi_virtio_write(m->virtio[n].virtio, offset, io->width, io->value);
    } else {
        io->value = inside ? vmi_virtio_read(m->virtio[n].virtio, offset, io->width) : 0;
    }
}

/* false: no device there. */
static bool dispatch(struct vmlib_machine *m, struct vmi_machine_cpu *c, struct vmlib_exit_mmio *io)
{
    uint64_t page = io->gpa & ~0xfffull;

    /* Each processor sees its own APIC, where and while IA32_APIC_BASE says so. */
    if (page == (c->apic.base & ~0xfffull) && (c->apic.base & VMI_APIC_BASE_ENABLE) &&
        !vmi_lapic_x2(&c->apic))
        lapic_mmio(m, c, io);
    else if (page == VMI_IOAPIC_ADDRESS)
        ioapic_mmio(m, io);
    else if (page == VMI_HPET_ADDRESS && !(m->config.flags & VMLIB_MACHINE_NO_HPET))
        hpet_mmio(m, io);
    else if (io->gpa - VMI_MACHINE_VIRTIO_GPA < (uint64_t)m->virtios * VMI_VIRTIO_BYTES)
        virtio_mmio(m, io);
    else
        return false;
    return true;
}

int vmi_machine_mmio(void *machine, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct vmlib_machine *m = machine;
    struct vmi_machine_cpu *c = &m->cpu[vmlib_vcpu_index(vcpu)];
    struct vmlib_exit_mmio *io = &exit->u.mmio;
    int answer;

    vmi_machine_lock(m);
    if (dispatch(m, c, io)) {
        vmi_count(&m->mmio);
        answer = vmi_machine_answer(m, c);
    } else {
        answer = unclaimed(m);
        if (!io->write)
            io->value = UINT64_MAX;
    }
    if (!io->write && io->width < 8)
        io->value &= (1ull << 8 * io->width) - 1;
    vmi_machine_unlock(m);
    return answer;
}
