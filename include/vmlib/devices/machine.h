/** @file
 * A PC: chips, tables, disks and the run loop of its processors. Part of libvmlib-devices.
 */
#ifndef VMLIB_DEVICES_MACHINE_H
#define VMLIB_DEVICES_MACHINE_H

#include <vmlib/boot.h>

/** @defgroup machine The PC bundle
 * 16550 serial port (3f8, IRQ 4), 8259 pair, 8254, CMOS clock, local APICs, I/O APIC, HPET, ACPI
 * and MP tables, PM timer, reset and power-off, debug-exit port (f4), virtio-mmio disks, consoles
 * and random numbers. The order of calls is: create, RAM, devices, vCPUs, vmlib_machine_boot(),
 * then one thread per vCPU in vmlib_machine_run_vcpu().
 * @{ */

typedef struct vmlib_machine vmlib_machine;

/* vmlib_machine_config.flags */
#define VMLIB_MACHINE_NO_HPET 1u
/** Return accesses that no device claims as #VMLIB_MACHINE_EXIT instead of answering with ones. */
#define VMLIB_MACHINE_UNCLAIMED_EXITS 2u
#define VMLIB_MACHINE_DIRTY_LOG       4u /**< RAM with #VMLIB_REGION_DIRTY_LOG */

#define VMLIB_MACHINE_TIME_HOST UINT64_MAX

/** Receives what the guest writes to a serial port or console. On a vCPU's thread; must not call
 * the machine except vmlib_machine_stop(). It holds the lock of the devices: a machine whose
 * console waits, for a reader of a pipe for example, notices neither its timeout nor
 * vmlib_machine_stop(). */
typedef void (*vmlib_console_fn)(void *opaque, const void *data, size_t bytes);

/** What a machine is created from. */
struct vmlib_machine_config {
    uint32_t size;           /**< sizeof of this struct; set by #VMLIB_MACHINE_CONFIG_INIT */
    uint32_t flags;          /**< VMLIB_MACHINE_ bits */
    vmlib_console_fn serial; /**< output of the serial port; NULL: thrown away */
    void *serial_opaque;
    vmlib_console_fn
        debug; /**< output of the debug console, ports 402 and e9; NULL: no such ports */
    void *debug_opaque;
    /** Time of the CMOS clock at start, seconds since 1970 UTC; #VMLIB_MACHINE_TIME_HOST: the
     * host's time. */
    uint64_t rtc_seconds;
    uint64_t timeout_ns; /**< of the host's time, from the first run on; 0: none */
};
#define VMLIB_MACHINE_CONFIG_INIT                                                                  \
    {                                                                                              \
        sizeof(struct vmlib_machine_config), 0, NULL, NULL, NULL, NULL, VMLIB_MACHINE_TIME_HOST, 0 \
    }

/* vmlib_disk_config.flags */
#define VMLIB_DISK_READ_ONLY 1u
#define VMLIB_DISK_OVERLAY   2u /**< guest writes stay in memory and are lost with the machine */

/** A virtio disk. */
struct vmlib_disk_config {
    uint32_t size;    /**< sizeof of this struct; set by #VMLIB_DISK_CONFIG_INIT */
    uint32_t flags;   /**< VMLIB_DISK_ bits */
    const char *path; /**< regular file or block device; NULL: use fd */
    int32_t fd;       /**< duplicated */
    uint32_t reserved;
    const char *serial; /**< up to 20 characters; NULL: "" */
};
#define VMLIB_DISK_CONFIG_INIT                                 \
    {                                                          \
        sizeof(struct vmlib_disk_config), 0, NULL, -1, 0, NULL \
    }

/* vmlib_machine_result.end: why the machine stopped. The first cause counts, for all vCPUs. */
#define VMLIB_MACHINE_POWER_OFF  1u
#define VMLIB_MACHINE_RESET      2u /**< keyboard controller, port 92, port cf9, ACPI reset register */
#define VMLIB_MACHINE_DEBUG_EXIT 3u /**< `value` was written to port f4 */
#define VMLIB_MACHINE_SHUTDOWN   4u /**< triple fault */
#define VMLIB_MACHINE_TIMEOUT    5u
#define VMLIB_MACHINE_STOPPED    6u /**< vmlib_machine_stop() */
#define VMLIB_MACHINE_EXIT \
    7u /**< an exit that the machine cannot answer; see exit_reason and text */
#define VMLIB_MACHINE_ERROR 8u /**< a call of the library failed with `error` */

/** How a machine ended. */
struct vmlib_machine_result {
    uint32_t size;  /**< sizeof of this struct, set by the caller */
    uint32_t end;   /**< VMLIB_MACHINE_ constant */
    uint32_t value; /**< debug exit: what the guest wrote */
    uint32_t vcpu;  /**< index of the vCPU that caused it */
    int32_t error;
    uint32_t
        exit_reason; /**< VMLIB_EXIT_ constant: the guest event that ended it; NONE: the host did */
    uint64_t rip;    /**< of that vCPU */
    char text[128];  /**< one line for people */
};
#define VMLIB_MACHINE_RESULT_INIT                              \
    {                                                          \
        sizeof(struct vmlib_machine_result), 0, 0, 0, 0, 0, 0, \
        {                                                      \
            0                                                  \
        }                                                      \
    }

/** Counters since creation, summed over all vCPUs. */
struct vmlib_machine_stats {
    uint32_t size; /**< sizeof of this struct, set by the caller */
    uint32_t vcpus;
    uint64_t instructions;
    uint64_t exits[32]; /**< returns of vmlib_vcpu_run() by VMLIB_EXIT_ reason */
    uint64_t pio;       /**< accesses answered by device models, inside run */
    uint64_t mmio;
    uint64_t msr;
    uint64_t interrupts; /**< vectors given to the vCPUs */
    uint64_t unclaimed;  /**< accesses that no device claims */
};
#define VMLIB_MACHINE_STATS_INIT                                     \
    {                                                                \
        sizeof(struct vmlib_machine_stats), 0, 0, {0}, 0, 0, 0, 0, 0 \
    }

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Put the chips of a PC into a VM that has no memory and no vCPUs yet.
 * @param config NULL: all defaults.
 * @param[out] machine To be destroyed with vmlib_machine_destroy(). Holds the VM.
 * @retval VMLIB_E_INVAL an argument is NULL or config has unknown values.
 * @retval VMLIB_E_NOMEM out of memory.
 * @return Or what the library answered when handlers were added.
 * @thread{any}
 */
VMLIB_API int vmlib_machine_create(vmlib_vm *vm, const struct vmlib_machine_config *config,
                                   vmlib_machine **machine);

/**
 * Take the machine out of its VM and free it. NULL is allowed. No vCPU may be inside
 * vmlib_machine_run_vcpu().
 * @thread{any}
 */
VMLIB_API void vmlib_machine_destroy(vmlib_machine *machine);

/**
 * Give the guest RAM as a PC has it: from 0, with holes for the display adapter (a0000) and below 4
 * GiB (c0000000).
 * @param bytes At least 1 MiB, a multiple of the page size.
 * @retval VMLIB_E_INVAL machine is NULL or bytes is wrong.
 * @retval VMLIB_E_STATE there is RAM already.
 * @return Or what vmlib_region_create() answered.
 * @thread{any}
 */
VMLIB_API int vmlib_machine_add_ram(vmlib_machine *machine, uint64_t bytes);

/**
 * Get a region of the machine's RAM, in the VM where the machine is.
 * @param index From 0 on, in ascending order of addresses.
 * @param[out] region A new reference.
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_NOTFOUND there are fewer.
 * @thread{any}
 */
VMLIB_API int vmlib_machine_ram(vmlib_machine *machine, uint32_t index, vmlib_region **region);

/**
 * Create the next vCPU with its local APIC. The first one is the boot processor, the others wait
 * for a start-up IPI.
 * @param[out] vcpu A reference of the caller's; may be NULL.
 * @retval VMLIB_E_INVAL machine is NULL.
 * @retval VMLIB_E_STATE vmlib_machine_boot() has been called.
 * @return Or what vmlib_vcpu_create() answered.
 * @thread{any}
 */
VMLIB_API int vmlib_machine_add_vcpu(vmlib_machine *machine, vmlib_vcpu **vcpu);

/**
 * Add a disk. Its size is a multiple of 512 bytes; a shorter tail is not visible to the guest.
 * @retval VMLIB_E_INVAL an argument is NULL or config has unknown values.
 * @retval VMLIB_E_IO the file cannot be opened.
 * @retval VMLIB_E_LIMIT too many virtio devices.
 * @retval VMLIB_E_STATE vmlib_machine_boot() has been called.
 * @retval VMLIB_E_NOMEM out of memory.
 * @thread{any}
 */
VMLIB_API int vmlib_machine_add_disk(vmlib_machine *machine,
                                     const struct vmlib_disk_config *config);

/**
 * Add a virtio console (hvc0 in Linux).
 * @param write Receives the guest's output; NULL: thrown away.
 * @retval VMLIB_E_INVAL machine is NULL.
 * @retval VMLIB_E_EXISTS there is one.
 * @retval VMLIB_E_LIMIT too many virtio devices.
 * @retval VMLIB_E_STATE vmlib_machine_boot() has been called.
 * @thread{any}
 */
VMLIB_API int vmlib_machine_add_console(vmlib_machine *machine, vmlib_console_fn write,
                                        void *opaque);

/**
 * Add a virtio source of random numbers.
 * @param seed 0: numbers from the host; otherwise a reproducible sequence, for tests.
 * @retval VMLIB_E_INVAL machine is NULL.
 * @retval VMLIB_E_LIMIT too many virtio devices.
 * @retval VMLIB_E_STATE vmlib_machine_boot() has been called.
 * @thread{any}
 */
VMLIB_API int vmlib_machine_add_rng(vmlib_machine *machine, uint64_t seed);

/**
 * Write ACPI and MP tables, then load a kernel for the first vCPU. `memory` and `rsdp` of the
 * parameters are the machine's when they are not given.
 * @param[in,out] result As vmlib_boot_load(); may be NULL.
 * @retval VMLIB_E_INVAL machine or params is NULL.
 * @retval VMLIB_E_STATE there is no RAM or no vCPU, or it has been called before.
 * @return Or what vmlib_boot_load() answered.
 * @thread{vcpu thread of the first vCPU}
 */
VMLIB_API int vmlib_machine_boot(vmlib_machine *machine, const struct vmlib_boot_params *params,
                                 struct vmlib_boot_result *result);

/**
 * Run one vCPU until the machine ends. Every vCPU needs a thread of its own in this call; when the
 * machine ends, all return the same result. A call after the end returns at once.
 * @param vcpu One that vmlib_machine_add_vcpu() made.
 * @param[in,out] result Caller sets `size`.
 * @retval VMLIB_E_INVAL an argument is NULL, has a wrong size, or the vCPU is not the machine's.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_machine_run_vcpu(vmlib_machine *machine, vmlib_vcpu *vcpu,
                                     struct vmlib_machine_result *result);

/**
 * Run one vCPU until its next record, and deal with it; vmlib_machine_run_vcpu() is a loop of such
 * steps.
 * @param budget Instructions; 0: no limit.
 * @param[in,out] exit Caller sets `size`. The record, for information: it has been answered. Reason
 * NONE: the machine has ended, vmlib_machine_run_vcpu() tells how.
 * @retval VMLIB_E_INVAL an argument is NULL, has a wrong size, or the vCPU is not the machine's.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_machine_step(vmlib_machine *machine, vmlib_vcpu *vcpu, uint64_t budget,
                                 struct vmlib_exit *exit);

/**
 * Prepare another VM, on any backend, for vmlib_machine_move(): it gets the machine's memory (the
 * same bytes), vCPUs with the same CPUID model, and handlers that lead to the same devices. The VM
 * the machine was created in has to live, and be known, as long as the machine.
 * @param vm Without memory and vCPUs; the same time mode and TSC frequency.
 * @retval VMLIB_E_INVAL an argument is NULL, or the TSC frequencies differ.
 * @retval VMLIB_E_STATE vmlib_machine_boot() has not been called.
 * @retval VMLIB_E_EXISTS the VM is attached already.
 * @retval VMLIB_E_LIMIT four VMs are known.
 * @return Or what the library answered when it made regions, vCPUs and handlers.
 * @thread{vm stopped}
 */
VMLIB_API int vmlib_machine_attach(vmlib_machine *machine, vmlib_vm *vm);

/**
 * Move the machine to another VM: vCPUs with all their state, memory, interrupt lines and timers.
 * No vCPU of the machine is inside a call that runs it. All vCPU handles, of any of its VMs, name
 * the machine's vCPUs from then on.
 * @param vm From vmlib_machine_attach(), or the one of vmlib_machine_create(). Where the machine is
 * already, nothing happens.
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_NOTFOUND the VM has not been attached.
 * @return Or what vmlib_handoff_vcpu() answered; the machine then stays where it is.
 * @thread{vm stopped}
 */
VMLIB_API int vmlib_machine_move(vmlib_machine *machine, vmlib_vm *vm);

/**
 * End the machine with #VMLIB_MACHINE_STOPPED.
 * @retval VMLIB_E_INVAL machine is NULL.
 * @thread{any, signal-safe}
 */
VMLIB_API int vmlib_machine_stop(vmlib_machine *machine);

/**
 * Hand input to the serial port.
 * @param[out] taken Bytes that were taken; the rest did not fit and is to be offered again later.
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @thread{any}
 */
VMLIB_API int vmlib_machine_serial_input(vmlib_machine *machine, const void *data, size_t bytes,
                                         size_t *taken);

/**
 * Hand input to the virtio console; as vmlib_machine_serial_input().
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_NOTFOUND there is no virtio console.
 * @thread{any}
 */
VMLIB_API int vmlib_machine_console_input(vmlib_machine *machine, const void *data, size_t bytes,
                                          size_t *taken);

/**
 * Get the memory map that the guest is told.
 * @param[out] map Room for `*count` entries.
 * @param[in,out] count In: room. Out: entries of the map (also on #VMLIB_E_LIMIT).
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_LIMIT there is not enough room.
 * @thread{any}
 */
VMLIB_API int vmlib_machine_memory_map(vmlib_machine *machine, struct vmlib_boot_memory *map,
                                       uint32_t *count);

/**
 * Read the counters.
 * @param[in,out] stats Caller sets `size`.
 * @retval VMLIB_E_INVAL an argument is NULL or stats has a wrong size.
 * @thread{any}
 */
VMLIB_API int vmlib_machine_stats(vmlib_machine *machine, struct vmlib_machine_stats *stats);

/**
 * Return the short name of an end ("power-off"), or NULL for an unknown number.
 * @thread{any}
 */
VMLIB_API const char *vmlib_machine_end_name(uint32_t end);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
