/** @file
 * Console with expectations: run a machine on threads, wait for what it prints, answer. Part of
 * libvmlib-devices.
 */
#ifndef VMLIB_CONSOLE_H
#define VMLIB_CONSOLE_H

#include <vmlib/devices/machine.h>

/** @defgroup console Console with expectations
 * The order of calls: vmlib_console_create(), vmlib_machine_create() with vmlib_console_output() as
 * `serial` and the console as `serial_opaque`, the machine's devices and vCPUs,
 * vmlib_machine_boot(), vmlib_console_start(), then vmlib_console_expect() and
 * vmlib_console_send().
 * @{ */

typedef struct vmlib_console vmlib_console;

/* vmlib_console_config.flags */
#define VMLIB_CONSOLE_VIRTIO 1u /**< input goes to the virtio console, not to the serial port */

/** What a console is created from. */
struct vmlib_console_config {
    uint32_t size; /**< sizeof of this struct; set by #VMLIB_CONSOLE_CONFIG_INIT */
    uint32_t flags;
    /** Bytes of output to remember; the older half is forgotten when it is full. At least 4096. */
    uint64_t limit;
    vmlib_console_fn copy; /**< also receives the output; may be NULL */
    void *copy_opaque;
};
#define VMLIB_CONSOLE_CONFIG_INIT                                    \
    {                                                                \
        sizeof(struct vmlib_console_config), 0, 1u << 20, NULL, NULL \
    }

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Create a console.
 * @param config NULL: all defaults.
 * @param[out] console To be destroyed with vmlib_console_destroy(), after which the machine may be.
 * @retval VMLIB_E_INVAL console is NULL or config has unknown values.
 * @retval VMLIB_E_NOMEM out of memory.
 * @thread{any}
 */
VMLIB_API int vmlib_console_create(const struct vmlib_console_config *config,
                                   vmlib_console **console);

/**
 * Stop the machine if it runs, wait for its threads, and free the console. NULL is allowed.
 * @thread{any but those of the vCPUs}
 */
VMLIB_API void vmlib_console_destroy(vmlib_console *console);

/**
 * Take output: a #vmlib_console_fn whose opaque pointer is the console.
 * @thread{any}
 */
VMLIB_API void vmlib_console_output(void *console, const void *data, size_t bytes);

/**
 * Run a machine that is ready: each of its vCPUs on a thread of its own.
 * @param machine Must live until vmlib_console_destroy().
 * @param vcpus All that vmlib_machine_add_vcpu() made.
 * @retval VMLIB_E_INVAL an argument is NULL or count is 0 or above #VMLIB_MAX_VCPUS.
 * @retval VMLIB_E_STATE it has been started before.
 * @retval VMLIB_E_NOMEM no thread can be created.
 * @thread{any}
 */
VMLIB_API int vmlib_console_start(vmlib_console *console, vmlib_machine *machine,
                                  vmlib_vcpu *const *vcpus, uint32_t count);

/**
 * Wait until one of some texts appears in the output behind the last one found.
 * @param texts Plain texts. The one that appears first counts.
 * @param timeout_ns Of the host's time.
 * @param[out] index Which; may be NULL.
 * @retval VMLIB_E_INVAL an argument is NULL or empty.
 * @retval VMLIB_E_LIMIT the time is over; the detail text has the end of the output.
 * @retval VMLIB_E_NOTFOUND the machine has ended without it.
 * @thread{any one at a time}
 */
VMLIB_API int vmlib_console_expect(vmlib_console *console, const char *const *texts, uint32_t count,
                                   uint64_t timeout_ns, uint32_t *index);

/**
 * Get the output between the last text found and the one before it.
 * @param[out] data Room for *bytes; may be NULL when that is 0.
 * @param[in,out] bytes In: room. Out: length (also on #VMLIB_E_LIMIT).
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_LIMIT there is not enough room.
 * @thread{as vmlib_console_expect()}
 */
VMLIB_API int vmlib_console_before(vmlib_console *console, void *data, size_t *bytes);

/**
 * Type something.
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_STATE the machine has not been started.
 * @retval VMLIB_E_LIMIT the guest has not taken all of it in time.
 * @retval VMLIB_E_NOTFOUND the machine has ended, or there is no such input.
 * @thread{any}
 */
VMLIB_API int vmlib_console_send(vmlib_console *console, const void *data, size_t bytes,
                                 uint64_t timeout_ns);

/**
 * Wait until the machine has ended.
 * @param[in,out] result Caller sets `size`.
 * @retval VMLIB_E_INVAL an argument is NULL or has a wrong size.
 * @retval VMLIB_E_STATE the machine has not been started.
 * @retval VMLIB_E_LIMIT the time is over.
 * @return Or what vmlib_machine_run_vcpu() answered.
 * @thread{any}
 */
VMLIB_API int vmlib_console_wait(vmlib_console *console, uint64_t timeout_ns,
                                 struct vmlib_machine_result *result);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
