/*
 * Inside of the PC bundle. One lock guards all devices: vCPU threads take it in their handlers.
 * What a handler changes on the way to the vCPUs (interrupt lines, deadlines) takes effect before
 * it lets go of the lock.
 */
#ifndef VMI_DEVICES_MACHINE_H
#define VMI_DEVICES_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>

#include <vmlib/devices/machine.h>

#include "devices/disk.h"
#include "devices/error.h"
#include "devices/hpet.h"
#include "devices/lapic.h"
#include "devices/pic.h"
#include "devices/pit.h"
#include "devices/ports.h"
#include "devices/rtc.h"
#include "devices/tables.h"
#include "devices/uart.h"
#include "devices/vcon.h"

#define VMI_MACHINE_VIRTIO     VMI_TABLES_DEVICES
#define VMI_MACHINE_VIRTIO_GPA 0xd0000000u
#define VMI_MACHINE_HANDLERS   6u
#define VMI_MACHINE_RAM        3u
#define VMI_MACHINE_HOMES      4u

#define VMI_TABLES_GPA 0xe0000u /* ACPI; the MP table is 64 KiB above */
#define VMI_MP_GPA     0xf0000u

/* One virtio device. `owner` is a disk, console or rng. */
struct vmi_machine_virtio {
    struct vmi_virtio *virtio;
    void *owner;
    void (*destroy)(void *owner);
};

struct vmi_machine_cpu {
    _Atomic(vmlib_vcpu *) vcpu; /* in the VM where the machine is; NULL: there is none; read by
                                 * vmlib_machine_stop() without the lock */
    struct vmi_lapic apic;
    bool intr;                  /* level last given to the vCPU */
    bool tpr_blocked;           /* CR8 holds an interrupt back: look again soon */
    _Atomic uint64_t run_until; /* end of the run in progress; 0: not inside run */
    /* With a timeout: the last look at the host's clock, and the guest time from there to the next.
     */
    uint64_t polled_at, poll_ns;
};

/* A VM in which the machine can be. It owns what is in here. */
struct vmi_machine_home {
    vmlib_vm *vm;
    vmlib_handler *handler[VMI_MACHINE_HANDLERS];
    unsigned handlers;
    vmlib_vcpu *vcpu[VMLIB_MAX_VCPUS];
    vmlib_region *ram[VMI_MACHINE_RAM]; /* all homes: the memory of the first one's */
};

struct vmlib_machine {
    struct vmi_machine_home home[VMI_MACHINE_HOMES];
    unsigned homes, at; /* home[at] is where it is now */
    vmlib_vm *vm;       /* of home[at] */
    /* From that VM's clock to the machine's, which goes on when the machine moves. */
    _Atomic uint64_t clock_offset;
    pthread_mutex_t lock;
    struct vmlib_machine_config config;

    struct vmi_uart uart;
    struct vmi_pic pic;
    struct vmi_pit pit;
    struct vmi_rtc rtc;
    struct vmi_hpet hpet;
    struct vmi_ioapic ioapic;
    struct vmi_ports ports;
    struct vmi_machine_virtio virtio[VMI_MACHINE_VIRTIO];
    uint32_t virtios;
    struct vmi_vcon *console;
    bool hpet_legacy;
    uint32_t irq_pit, irq_hpet; /* levels behind inputs that devices share */

    struct vmi_machine_cpu cpu[VMLIB_MAX_VCPUS];
    uint32_t cpus;

    uint64_t ram_below, ram_above; /* bytes below and above 4 GiB */
    bool booted;

    /* Whose thread has the lock, and what brought it there: an end is put down to it. */
    struct vmi_machine_cpu *acting;
    uint32_t acting_reason;
    /* The end. `result` is valid once `ended` is set. */
    _Atomic bool stop, ended;
    struct vmlib_machine_result result;
    uint64_t timeout_at; /* host time; 0: none */

    _Atomic uint64_t instructions, exits[32], pio, mmio, msr, interrupts, unclaimed;
    uint8_t port_device[65536 / 8]; /* device behind each group of 8 ports */
};

/* Counters tolerate a lost increment less than a locked instruction in the hot path: the lock is
 * held where they change. */
static inline void vmi_count(_Atomic uint64_t *c)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static inline void vmi_machine_lock(struct vmlib_machine *m)
{
    pthread_mutex_lock(&m->lock);
}

static inline void vmi_machine_unlock(struct vmlib_machine *m)
{
    pthread_mutex_unlock(&m->lock);
}

static inline uint64_t vmi_machine_now(struct vmlib_machine *m)
{
    uint64_t ns = 0;

    vmlib_vm_clock(m->vm, &ns);
    return ns + atomic_load_explicit(&m->clock_offset, memory_order_relaxed);
}

static inline vmlib_vcpu *vmi_machine_vcpu(struct vmi_machine_cpu *c)
{
    return atomic_load_explicit(&c->vcpu, memory_order_acquire);
}

/* machine_irq.c; all with the lock held, except the handler */
extern const struct vmi_lapic_ops vmi_machine_lapic_ops;
void vmi_machine_irq(void *machine, unsigned irq,
                     bool level); /* ISA interrupt 0 to 15, or input 16 to 23 */
void vmi_machine_hpet_irq(void *machine, unsigned input, bool level);
void vmi_machine_pit_irq(void *machine, unsigned irq, bool level);
void vmi_machine_rtc_irq(void *machine, unsigned irq, bool level);
void vmi_machine_pic_intr(void *machine, unsigned number, bool level);
void vmi_machine_ioapic_send(void *machine, const struct vmi_apic_message *message);
void vmi_machine_hpet_legacy(void *machine, bool on);
int vmi_machine_intack(void *machine, vmlib_vcpu *vcpu, struct vmlib_exit *exit);
/* The level of a vCPU's INTR line follows its local APIC and the 8259. */
void vmi_machine_update_intr(struct vmlib_machine *m, struct vmi_machine_cpu *c);

/* machine_io.c: handlers */
int vmi_machine_pio(void *machine, vmlib_vcpu *vcpu, struct vmlib_exit *exit);
int vmi_machine_mmio(void *machine, vmlib_vcpu *vcpu, struct vmlib_exit *exit);
void vmi_machine_map_ports(struct vmlib_machine *m);

/* machine_msr.c: handler */
int vmi_machine_msr(void *machine, vmlib_vcpu *vcpu, struct vmlib_exit *exit);

/* machine_run.c */
/* The machine has ended; the first call counts. Lock held. */
void vmi_machine_end(struct vmlib_machine *m, uint32_t end, uint32_t value, const char *text);
/* When the first vCPU has to look after the timers; every vCPU after its own. */
uint64_t vmi_machine_deadline(const struct vmlib_machine *m, const struct vmi_machine_cpu *c);
/* The answer of a handler: VMLIB_STOP when the run in progress would end too late for a timer, or
 * the machine has ended. */
int vmi_machine_answer(struct vmlib_machine *m, struct vmi_machine_cpu *c);

/* Deal with what a run returned with; takes the lock. error: of that run. */
void vmi_machine_account(struct vmlib_machine *m, struct vmi_machine_cpu *c,
                         const struct vmlib_exit *e, int error);
/* The vCPU's place in the machine, whichever home the handle belongs to; NULL: not the machine's.
 */
struct vmi_machine_cpu *vmi_machine_cpu_of(struct vmlib_machine *m, vmlib_vcpu *vcpu);

/* machine.c: have the machine's handlers called by a VM. */
int vmi_machine_add_handlers(struct vmlib_machine *m, struct vmi_machine_home *home);
void vmi_machine_drop_home(struct vmlib_machine *m, struct vmi_machine_home *home);

static inline uint32_t vmi_machine_ram_flags(const struct vmlib_machine *m)
{
    return m->config.flags & VMLIB_MACHINE_DIRTY_LOG ? VMLIB_REGION_DIRTY_LOG : 0;
}

/* machine_setup.c */
int vmi_machine_cpuid(struct vmlib_machine *m);

#endif
