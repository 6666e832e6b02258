/* The PC bundle: memory, processors, virtio devices, tables, boot. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "devices/machine.h"

#define LOW_END  0xa0000u /* display adapter */
#define HIGH     0xc0000u
#define BELOW_4G 0xc0000000u /* RAM ends here, chips live above */
#define EBDA     0x9fc00u
#define GIB4     0x100000000ull

static int add_region(struct vmlib_machine *m, unsigned n, uint64_t gpa, uint64_t bytes)
{
    struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
    int error;

    if (!bytes)
        return 0;
    config.gpa = gpa;
    config.bytes = bytes;
    config.flags = vmi_machine_ram_flags(m);
    error = vmlib_region_create(m->vm, &config, &m->home[0].ram[n]);
    return error ? vmi_dev_error_lib(error, "RAM") : 0;
}

static void drop_ram(struct vmlib_machine *m)
{
    unsigned n;

    for (n = 0; n < VMI_MACHINE_RAM; n++) {
        if (m->home[0].ram[n])
            vmlib_region_remove(m->home[0].ram[n]);
        vmlib_region_unref(m->home[0].ram[n]);
        m->home[0].ram[n] = NULL;
    }
}

int vmlib_machine_add_ram(vmlib_machine *machine, uint64_t bytes)
{
    struct vmlib_machine *m = machine;
    uint64_t below = vmi_min(bytes, BELOW_4G), above = bytes - below;
    int error;

    if (!m)
        return vmi_dev_error(VMLIB_E_INVAL, "machine is NULL");
    if (bytes < 1u << 20 || bytes % VMLIB_PAGE_SIZE || bytes > 1ull << 46)
        return vmi_dev_error(VMLIB_E_INVAL,
                             "bytes: below 1 MiB, above 64 TiB, or no multiple of the page size");
    if (m->ram_below)
        return vmi_dev_error(VMLIB_E_STATE, "machine: has RAM already");
    error = add_region(m, 0, 0, LOW_END);
    if (!error)
        error = add_region(m, 1, HIGH, below - HIGH);
    if (!error)
        error = add_region(m, 2, GIB4, above);
    if (error) {
        drop_ram(m);
        return error;
    }
    m->ram_below = below;
    m->ram_above = above;
    vmi_rtc_set_memory(&m->rtc, below, above);
    m->ports.memory = bytes;
    return 0;
}

int vmlib_machine_ram(vmlib_machine *machine, uint32_t index, vmlib_region **region)
{
    unsigned n;

    if (!machine || !region)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", machine ? "region" : "machine");
    for (n = 0; n < VMI_MACHINE_RAM; n++) {
        vmlib_region *ram = machine->home[machine->at].ram[n];

        if (!ram || index-- > 0)
            continue;
        *region = vmlib_region_ref(ram);
        return 0;
    }
    return vmi_dev_error(VMLIB_E_NOTFOUND, "index: there are fewer regions");
}

static unsigned memory_map(const struct vmlib_machine *m, struct vmlib_boot_memory map[5])
{
    unsigned n = 0;

    map[n++] = (struct vmlib_boot_memory){0, EBDA, VMLIB_MEMORY_RAM, 0};
    map[n++] = (struct vmlib_boot_memory){EBDA, LOW_END - EBDA, VMLIB_MEMORY_RESERVED, 0};
    map[n++] = (struct vmlib_boot_memory){VMI_TABLES_GPA, 0x100000 - VMI_TABLES_GPA,
                                          VMLIB_MEMORY_RESERVED, 0};
    if (m->ram_below > 0x100000)
        map[n++] =
            (struct vmlib_boot_memory){0x100000, m->ram_below - 0x100000, VMLIB_MEMORY_RAM, 0};
    if (m->ram_above)
        map[n++] = (struct vmlib_boot_memory){GIB4, m->ram_above, VMLIB_MEMORY_RAM, 0};
    return n;
}

int vmlib_machine_memory_map(vmlib_machine *machine, struct vmlib_boot_memory *map, uint32_t *count)
{
    struct vmlib_boot_memory full[5];
    unsigned n, room;

    if (!machine || !map || !count)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL",
                             !machine ? "machine"
                             : !map   ? "map"
                                      : "count");
    n = machine->ram_below ? memory_map(machine, full) : 0;
    room = *count;
    *count = n;
    if (room < n)
        return vmi_dev_error(VMLIB_E_LIMIT, "count: the map has %u ranges", n);
    memcpy(map, full, n * sizeof *map);
    return 0;
}

int vmlib_machine_add_vcpu(vmlib_machine *machine, vmlib_vcpu **vcpu)
{
    struct vmlib_machine *m = machine;
    struct vmlib_vcpu_config config = VMLIB_VCPU_CONFIG_INIT;
    struct vmi_machine_cpu *c;
    vmlib_vcpu *made;
    int error;

    if (!m)
        return vmi_dev_error(VMLIB_E_INVAL, "machine is NULL");
    if (m->booted)
        return vmi_dev_error(VMLIB_E_STATE, "machine: has been booted");
    if (m->cpus == VMLIB_MAX_VCPUS)
        return vmi_dev_error(VMLIB_E_LIMIT, "machine: has %u vCPUs", VMLIB_MAX_VCPUS);
    config.index = m->cpus;
    config.initial = m->cpus ? VMLIB_VCPU_WAIT_SIPI : VMLIB_VCPU_RESET;
    error = vmlib_vcpu_create(m->vm, &config, &made);
    if (error)
        return vmi_dev_error_lib(error, "vCPU");
    c = &m->cpu[m->cpus];
    vmi_lapic_init(&c->apic, &vmi_machine_lapic_ops, m, m->cpus, vmlib_vm_tsc_khz(m->vm));
    vmlib_vcpu_set_reg(made, VMLIB_REG_APIC_BASE, c->apic.base);
    m->home[0].vcpu[m->cpus] = made;
    atomic_store_explicit(&c->vcpu, made, memory_order_release);
    m->cpus++;
    m->ports.cpus = m->cpus;
    if (vcpu)
        *vcpu = vmlib_vcpu_ref(made);
    return 0;
}

/* --- virtio devices --- */

static int memory_read(void *opaque, uint64_t gpa, void *buffer, uint64_t bytes)
{
    struct vmlib_machine *m = opaque;

    return vmlib_vm_read(m->vm, gpa, buffer, bytes);
}

static int memory_write(void *opaque, uint64_t gpa, const void *buffer, uint64_t bytes)
{
    struct vmlib_machine *m = opaque;

    return vmlib_vm_write(m->vm, gpa, buffer, bytes);
}

/* Interrupts that no legacy device of this PC uses, so that they work through the 8259, too. */
static const uint8_t virtio_irq[VMI_MACHINE_VIRTIO] = {5, 6, 7, 10, 11, 12, 14, 15};

static int next_virtio(const struct vmlib_machine *m)
{
    if (m->booted)
        return vmi_dev_error(VMLIB_E_STATE, "machine: has been booted");
    if (m->virtios == VMI_MACHINE_VIRTIO)
        return vmi_dev_error(VMLIB_E_LIMIT, "machine: has %u virtio devices", VMI_MACHINE_VIRTIO);
    return 0;
}

static struct vmi_line virtio_line(struct vmlib_machine *m)
{
    return (struct vmi_line){vmi_machine_irq, m, virtio_irq[m->virtios]};
}

static struct vmi_guest_memory guest_memory(struct vmlib_machine *m)
{
    return (struct vmi_guest_memory){memory_read, memory_write, m};
}

static void add_virtio(struct vmlib_machine *m, struct vmi_virtio *virtio, void *owner,
                       void (*destroy)(void *))
{
    m->virtio[m->virtios++] = (struct vmi_machine_virtio){virtio, owner, destroy};
}

static void destroy_disk(void *owner)
{
    vmi_disk_close(owner);
    free(owner);
}

static int open_disk(const struct vmlib_disk_config *config, int *fd)
{
    bool writes = !(config->flags & (VMLIB_DISK_READ_ONLY | VMLIB_DISK_OVERLAY));

    if (config->path)
        *fd = open(config->path, (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    else
        *fd = fcntl(config->fd, F_DUPFD_CLOEXEC, 3);
    if (*fd < 0)
        return vmi_dev_error(VMLIB_E_IO, "disk %s: %s", config->path ? config->path : "descriptor",
                             strerror(errno));
    return 0;
}

int vmlib_machine_add_disk(vmlib_machine *machine, const struct vmlib_disk_config *config)
{
    struct vmlib_machine *m = machine;
    struct vmi_disk *k;
    int error, fd;

    if (!m || !config)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", m ? "config" : "machine");
    if (config->size != sizeof *config ||
        (config->flags & ~(VMLIB_DISK_READ_ONLY | VMLIB_DISK_OVERLAY)))
        return vmi_dev_error(VMLIB_E_INVAL, "config: wrong size or unknown flags");
    if (config->serial && strlen(config->serial) > sizeof k->serial)
        return vmi_dev_error(VMLIB_E_INVAL, "config: serial has more than %zu characters",
                             sizeof k->serial);
    error = next_virtio(m);
    if (!error)
        error = open_disk(config, &fd);
    if (error)
        return error;
    k = malloc(sizeof *k);
    if (!k) {
        close(fd);
        return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
    }
    error = vmi_disk_open(k, fd, config->flags, config->serial, virtio_line(m), guest_memory(m));
    if (error) {
        free(k);
        return error;
    }
    add_virtio(m, &k->virtio, k, destroy_disk);
    return 0;
}

int vmlib_machine_add_console(vmlib_machine *machine, vmlib_console_fn write, void *opaque)
{
    struct vmlib_machine *m = machine;
    int error;

    if (!m)
        return vmi_dev_error(VMLIB_E_INVAL, "machine is NULL");
    if (m->console)
        return vmi_dev_error(VMLIB_E_EXISTS, "machine: has a virtio console");
    error = next_virtio(m);
    if (error)
        return error;
    m->console = malloc(sizeof *m->console);
    if (!m->console)
        return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
    vmi_vcon_init(m->console, write, opaque, virtio_line(m), guest_memory(m));
    add_virtio(m, &m->console->virtio, m->console, free);
    return 0;
}

int vmlib_machine_add_rng(vmlib_machine *machine, uint64_t seed)
{
    struct vmlib_machine *m = machine;
    struct vmi_vrng *r;
    int error;

    if (!m)
        return vmi_dev_error(VMLIB_E_INVAL, "machine is NULL");
    error = next_virtio(m);
    if (error)
        return error;
    r = malloc(sizeof *r);
    if (!r)
        return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
    vmi_vrng_init(r, seed, virtio_line(m), guest_memory(m));
    add_virtio(m, &r->virtio, r, free);
    return 0;
}

/* --- boot --- */

static int write_blob(struct vmlib_machine *m,
                      void (*build)(struct vmi_blob *, const struct vmi_tables *),
                      const struct vmi_tables *t, uint64_t gpa)
{
    struct vmi_blob b = {.room = 0x10000, .gpa = gpa};
    int error;

    b.data = calloc(1, b.room);
    if (!b.data)
        return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
    build(&b, t);
    if (b.overflow)
        error = vmi_dev_error(VMLIB_E_INTERNAL, "firmware tables do not fit");
    else if ((error = vmlib_vm_write(m->vm, gpa, b.data, b.used)))
        error = vmi_dev_error_lib(error, "firmware tables");
    free(b.data);
    return error;
}

static int write_tables(struct vmlib_machine *m)
{
    struct vmi_tables t = {
        .cpus = m->cpus, .hpet = !(m->config.flags & VMLIB_MACHINE_NO_HPET), .devices = m->virtios};
    uint32_t n;
    int error;

    for (n = 0; n < m->virtios; n++) {
        t.device[n].base = VMI_MACHINE_VIRTIO_GPA + n * VMI_VIRTIO_BYTES;
        t.device[n].bytes = VMI_VIRTIO_BYTES;
        t.device[n].gsi = virtio_irq[n];
    }
    m->ioapic.id = (uint8_t)(m->cpus & 15);
    error = write_blob(m, vmi_acpi_build, &t, VMI_TABLES_GPA);
    return error ? error : write_blob(m, vmi_mp_build, &t, VMI_MP_GPA);
}

int vmlib_machine_boot(vmlib_machine *machine, const struct vmlib_boot_params *params,
                       struct vmlib_boot_result *result)
{
    struct vmlib_machine *m = machine;
    struct vmlib_boot_memory map[5];
    struct vmlib_boot_params p;
    int error;

    if (!m || !params)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", m ? "params" : "machine");
    if (params->size != sizeof *params)
        return vmi_dev_error(VMLIB_E_INVAL, "params: size is not that of struct vmlib_boot_params");
    if (m->booted || !m->ram_below || !m->cpus)
        return vmi_dev_error(VMLIB_E_STATE, "machine: %s",
                             m->booted ? "has been booted"
                             : m->cpus ? "has no RAM"
                                       : "has no vCPU");
    error = write_tables(m);
    if (!error)
        error = vmi_machine_cpuid(m);
    if (error)
        return error;
    p = *params;
    if (!p.memory) {
        p.memory = map;
        p.memory_count = memory_map(m, map);
    }
    if (!p.rsdp)
        p.rsdp = VMI_TABLES_GPA;
    error = vmlib_boot_load(m->vm, vmi_machine_vcpu(&m->cpu[0]), &p, result);
    m->booted = !error;
    if (!error)
        vmi_lapic_virtual_wire(&m->cpu[0].apic);
    return error;
}
