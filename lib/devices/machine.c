/* The PC bundle: creation, destruction, input, counters. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "devices/machine.h"

static void ports_event(void *opaque, enum vmi_ports_event event, uint32_t value)
{
    struct vmlib_machine *m = opaque;

    if (event == VMI_PORTS_POWER_OFF)
        vmi_machine_end(m, VMLIB_MACHINE_POWER_OFF, value, "power-off");
    else
        vmi_machine_end(m, VMLIB_MACHINE_RESET, value, "reset");
}

static struct vmi_line line(struct vmlib_machine *m, void (*set)(void *, unsigned, bool),
                            unsigned number)
{
    return (struct vmi_line){.set = set, .opaque = m, .number = number};
}

static void init_chips(struct vmlib_machine *m)
{
    uint64_t now = vmi_machine_now(m);
    uint64_t seconds = m->config.rtc_seconds;

    if (seconds == VMLIB_MACHINE_TIME_HOST)
        seconds = (uint64_t)time(NULL);
    vmi_uart_init(&m->uart, line(m, vmi_machine_irq, 4), m->config.serial, m->config.serial_opaque);
    vmi_pic_init(&m->pic, line(m, vmi_machine_pic_intr, 0));
    vmi_pit_init(&m->pit, line(m, vmi_machine_pit_irq, 0), now);
    vmi_rtc_init(&m->rtc, line(m, vmi_machine_rtc_irq, 8), (int64_t)seconds, now);
    vmi_ioapic_init(&m->ioapic, vmi_machine_ioapic_send, m);
    vmi_hpet_init(&m->hpet, line(m, vmi_machine_hpet_irq, 0), vmi_machine_hpet_legacy);
    vmi_ports_init(&m->ports);
    m->ports.event = ports_event;
    m->ports.opaque = m;
    vmi_machine_map_ports(m);
}

static int add_handler(struct vmlib_machine *m, struct vmi_machine_home *home, uint32_t kind,
                       uint64_t first, uint64_t last, vmlib_handler_fn fn)
{
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    int error;

    config.kind = kind;
    config.first = first;
    config.last = last;
    config.fn = fn;
    config.opaque = m;
    error = vmlib_handler_add(home->vm, &config, &home->handler[home->handlers]);
    if (error)
        return vmi_dev_error_lib(error, "handler of the machine");
    home->handlers++;
    return 0;
}

int vmi_machine_add_handlers(struct vmlib_machine *m, struct vmi_machine_home *home)
{
    int error = add_handler(m, home, VMLIB_HANDLER_PIO, 0, 0xffff, vmi_machine_pio);

    if (!error)
        error = add_handler(m, home, VMLIB_HANDLER_MMIO, 0, 0xffffffffu, vmi_machine_mmio);
    if (!error)
        error = add_handler(m, home, VMLIB_HANDLER_MSR, 0x1b, 0x1b, vmi_machine_msr);
    if (!error)
        error = add_handler(m, home, VMLIB_HANDLER_MSR, 0x6e0, 0x6e0, vmi_machine_msr);
    if (!error)
        error = add_handler(m, home, VMLIB_HANDLER_MSR, 0x800, 0x83f, vmi_machine_msr);
    if (!error)
        error =
            add_handler(m, home, VMLIB_HANDLER_INTACK, 0, VMLIB_MAX_VCPUS - 1, vmi_machine_intack);
    return error;
}

int vmlib_machine_create(vmlib_vm *vm, const struct vmlib_machine_config *config,
                         vmlib_machine **machine)
{
    static const struct vmlib_machine_config defaults = VMLIB_MACHINE_CONFIG_INIT;
    struct vmlib_machine *m;
    int error;

    if (!vm || !machine)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", vm ? "machine" : "vm");
    config = config ? config : &defaults;
    if (config->size != sizeof *config)
        return vmi_dev_error(VMLIB_E_INVAL,
                             "config: size is not that of struct vmlib_machine_config");
    if (config->flags &
        ~(VMLIB_MACHINE_NO_HPET | VMLIB_MACHINE_UNCLAIMED_EXITS | VMLIB_MACHINE_DIRTY_LOG))
        return vmi_dev_error(VMLIB_E_INVAL, "config: unknown flags %#x", config->flags);
    m = calloc(1, sizeof *m);
    if (!m)
        return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
    m->vm = m->home[0].vm = vmlib_vm_ref(vm);
    m->homes = 1;
    m->config = *config;
    pthread_mutex_init(&m->lock, NULL);
    init_chips(m);
    error = vmi_machine_add_handlers(m, &m->home[0]);
    if (error) {
        vmlib_machine_destroy(m);
        return error;
    }
    *machine = m;
    return 0;
}

/* Regions go with their VM; those that borrow the first home's memory leave the map here. */
void vmi_machine_drop_home(struct vmlib_machine *m, struct vmi_machine_home *home)
{
    unsigned n;

    for (n = 0; n < home->handlers; n++) {
        vmlib_handler_remove(home->handler[n]);
        vmlib_handler_unref(home->handler[n]);
    }
    for (n = 0; n < VMLIB_MAX_VCPUS; n++)
        vmlib_vcpu_unref(home->vcpu[n]);
    for (n = 0; n < VMI_MACHINE_RAM; n++) {
        if (home != &m->home[0] && home->ram[n])
            vmlib_region_remove(home->ram[n]);
        vmlib_region_unref(home->ram[n]);
    }
    vmlib_vm_unref(home->vm);
    memset(home, 0, sizeof *home);
}

void vmlib_machine_destroy(vmlib_machine *machine)
{
    struct vmlib_machine *m = machine;
    unsigned n;

    if (!m)
        return;
    for (n = m->homes; n-- > 1;)
        vmi_machine_drop_home(m, &m->home[n]);
    for (n = 0; n < m->virtios; n++)
        m->virtio[n].destroy(m->virtio[n].owner);
    vmi_machine_drop_home(m, &m->home[0]);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

int vmlib_machine_serial_input(vmlib_machine *machine, const void *data, size_t bytes,
                               size_t *taken)
{
    if (!machine || !data || !taken)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL",
                             !machine ? "machine"
                             : !data  ? "data"
                                      : "taken");
    vmi_machine_lock(machine);
    *taken = vmi_uart_input(&machine->uart, data, bytes);
    vmi_machine_unlock(machine);
    return 0;
}

int vmlib_machine_console_input(vmlib_machine *machine, const void *data, size_t bytes,
                                size_t *taken)
{
    if (!machine || !data || !taken)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL",
                             !machine ? "machine"
                             : !data  ? "data"
                                      : "taken");
    if (!machine->console)
        return vmi_dev_error(VMLIB_E_NOTFOUND, "machine: has no virtio console");
    vmi_machine_lock(machine);
    *taken = vmi_vcon_input(machine->console, data, bytes);
    vmi_machine_unlock(machine);
    return 0;
}

int vmlib_machine_stats(vmlib_machine *machine, struct vmlib_machine_stats *stats)
{
    unsigned n;

    if (!machine || !stats)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", machine ? "stats" : "machine");
    if (stats->size != sizeof *stats)
        return vmi_dev_error(VMLIB_E_INVAL,
                             "stats: size is not that of struct vmlib_machine_stats");
    stats->vcpus = machine->cpus;
    stats->instructions = machine->instructions;
    for (n = 0; n < 32; n++)
        stats->exits[n] = machine->exits[n];
    stats->pio = machine->pio;
    stats->mmio = machine->mmio;
    stats->msr = machine->msr;
    stats->interrupts = machine->interrupts;
    stats->unclaimed = machine->unclaimed;
    return 0;
}
