/** @file
 * Handlers: guest events that are answered inside run. Doorbells: writes that only notify.
 */
#ifndef VMLIB_IO_H
#define VMLIB_IO_H

#include <vmlib/exit.h>

/** @defgroup io Handlers and doorbells
 * @{ */

/** A registered handler. Stays registered until vmlib_handler_remove() or the end of the VM. */
typedef struct vmlib_handler vmlib_handler;
/** A registered doorbell. */
typedef struct vmlib_doorbell vmlib_doorbell;

/* vmlib_handler_config.kind; first and last are ... */
#define VMLIB_HANDLER_PIO 0u /**< port numbers. Chosen by the first port of the access */
#define VMLIB_HANDLER_MMIO \
    1u /**< guest-physical addresses: holes, and writes that ROM or protection forbids */
#define VMLIB_HANDLER_MSR                                                   \
    2u /**< MSR indices; comes before the backend's own handling of the MSR \
        */
#define VMLIB_HANDLER_CPUID \
    3u /**< CPUID leaves; the record holds the backend's own answer to change */
#define VMLIB_HANDLER_HYPERCALL 4u /**< values of EAX at VMCALL or VMMCALL */
#define VMLIB_HANDLER_EXCEPTION 5u /**< vectors 0 to 31; needs vmlib_vcpu_set_exception_exits() */
#define VMLIB_HANDLER_INTACK \
    6u /**< indices of vCPUs: supplies the vector when the INTR line is served */
#define VMLIB_HANDLER_KINDS 7u

/* What a handler answers. */
#define VMLIB_HANDLED 0 /**< done: reads and questions have their answer in the record */
#define VMLIB_PASS    1 /**< ask the next handler; the last one's PASS returns the record from run */
#define VMLIB_INJECT  2 /**< raise vmlib_exit.inject instead of finishing the instruction */
#define VMLIB_STOP \
    3 /**< as #VMLIB_HANDLED; then run returns #VMLIB_EXIT_STOPPED after the instruction */

/**
 * Answers one guest event.
 *
 * Runs on the vCPU's thread inside vmlib_vcpu_run(). The vCPU's state is that before the
 * instruction (rip at it); the handler may read and change it through the API. If it changes rip,
 * execution goes on there, and the instruction has no further effect; other registers that it
 * changes are subject to what the instruction still does (IN writes AL, AX or EAX). It may call
 * everything marked *any* or *vcpu thread* except vmlib_vcpu_run() and vmlib_vcpu_complete() for
 * its own vCPU. Several vCPUs may call one handler at once.
 *
 * @param opaque From the config.
 * @param vcpu Who. Borrowed.
 * @param exit The record. `rip`, `insn`, `mode` and `cpl` are only filled with
 * #VMLIB_HANDLER_HEADER.
 * @return #VMLIB_HANDLED, #VMLIB_PASS, #VMLIB_INJECT, #VMLIB_STOP, or a negative code, which run
 * then returns; the instruction has then had no effect and the next run repeats it.
 */
typedef int (*vmlib_handler_fn)(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit);

/** Called when a handler or doorbell is no longer in use by any thread; may free `opaque`. */
typedef void (*vmlib_release_fn)(void *opaque);

#define VMLIB_HANDLER_HEADER                                             \
    1u /**< fill the record's header before each call (costs some 10 ns) \
        */

/** What a handler is created from. */
struct vmlib_handler_config {
    uint32_t size;        /**< sizeof of this struct; set by #VMLIB_HANDLER_CONFIG_INIT */
    uint32_t kind;        /**< VMLIB_HANDLER_ constant */
    uint64_t first, last; /**< inclusive range; its meaning depends on kind */
    uint32_t flags;       /**< #VMLIB_HANDLER_HEADER or 0 */
    uint32_t reserved;
    vmlib_handler_fn fn; /**< NULL: return these events from run */
    void *opaque;
    vmlib_release_fn release; /**< may be NULL */
};
#define VMLIB_HANDLER_CONFIG_INIT                                            \
    {                                                                        \
        sizeof(struct vmlib_handler_config), 0, 0, 0, 0, 0, NULL, NULL, NULL \
    }

/* vmlib_doorbell_config.kind */
#define VMLIB_DOORBELL_PIO  0u
#define VMLIB_DOORBELL_MMIO 1u

#define VMLIB_DOORBELL_MATCH 1u /**< only writes of `value`; others go on to handlers */

/** What a doorbell is created from. Give `fd` or `fn`. */
struct vmlib_doorbell_config {
    uint32_t size; /**< sizeof of this struct; set by #VMLIB_DOORBELL_CONFIG_INIT */
    uint32_t kind; /**< VMLIB_DOORBELL_ constant */
    uint64_t address;
    uint32_t width; /**< bytes: 1, 2, 4, 8 (8: MMIO only), or 0 for any */
    uint32_t flags; /**< #VMLIB_DOORBELL_MATCH or 0 */
    uint64_t value;
    int32_t fd; /**< eventfd or pipe: a uint64_t 1 is written to it; -1: none. Stays the caller's */
    uint32_t reserved;
    void (*fn)(void *opaque,
               uint64_t value); /**< on the vCPU's thread, with the rules of handlers */
    void *opaque;
    vmlib_release_fn release; /**< may be NULL */
};
#define VMLIB_DOORBELL_CONFIG_INIT                                                   \
    {                                                                                \
        sizeof(struct vmlib_doorbell_config), 0, 0, 0, 0, 0, -1, 0, NULL, NULL, NULL \
    }

#define VMLIB_MAX_HANDLERS 1024u

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Register a handler. Of several handlers for one event the youngest is asked first. vCPUs may be
 * running; those that are see it from their next event on.
 * @param[out] handler One reference; may be NULL. The VM holds its own.
 * @retval VMLIB_E_INVAL an argument is NULL, first > last, or config has unknown values.
 * @retval VMLIB_E_RANGE the range leaves the address space of this kind.
 * @retval VMLIB_E_UNSUPPORTED the backend refuses this kind.
 * @retval VMLIB_E_LIMIT #VMLIB_MAX_HANDLERS handlers exist.
 * @retval VMLIB_E_NOMEM out of memory.
 * @retval VMLIB_E_FORK see #VMLIB_E_FORK.
 * @thread{any}
 */
VMLIB_API int vmlib_handler_add(vmlib_vm *vm, const struct vmlib_handler_config *config,
                                vmlib_handler **handler);

/**
 * Take a handler out of service. No call begins after this returns. Calls on other threads may
 * still be in progress: the release function tells when the last one has ended.
 * @retval VMLIB_E_INVAL handler is NULL.
 * @retval VMLIB_E_NOTFOUND it has already been removed.
 * @retval VMLIB_E_NOMEM out of memory; it is still registered.
 * @thread{any}
 */
VMLIB_API int vmlib_handler_remove(vmlib_handler *handler);

/**
 * Take one more reference; returns handler.
 * @thread{any}
 */
VMLIB_API vmlib_handler *vmlib_handler_ref(vmlib_handler *handler);

/**
 * Drop a reference; NULL is allowed. Does not unregister.
 * @thread{any}
 */
VMLIB_API void vmlib_handler_unref(vmlib_handler *handler);

/**
 * Register a doorbell: guest writes to one address notify the host without anything else happening.
 * Doorbells come before handlers. Reads are not concerned.
 * @param[out] doorbell One reference; may be NULL. The VM holds its own.
 * @retval VMLIB_E_INVAL an argument is NULL or config has unknown values.
 * @retval VMLIB_E_RANGE the address leaves the address space of this kind.
 * @retval VMLIB_E_EXISTS a doorbell with the same address, width and value exists.
 * @retval VMLIB_E_LIMIT #VMLIB_MAX_HANDLERS doorbells exist.
 * @retval VMLIB_E_NOMEM out of memory.
 * @retval VMLIB_E_FORK see #VMLIB_E_FORK.
 * @thread{any}
 */
VMLIB_API int vmlib_doorbell_add(vmlib_vm *vm, const struct vmlib_doorbell_config *config,
                                 vmlib_doorbell **doorbell);

/**
 * Take a doorbell out of service; as vmlib_handler_remove().
 * @retval VMLIB_E_INVAL doorbell is NULL.
 * @retval VMLIB_E_NOTFOUND it has already been removed.
 * @retval VMLIB_E_NOMEM out of memory; it is still registered.
 * @thread{any}
 */
VMLIB_API int vmlib_doorbell_remove(vmlib_doorbell *doorbell);

/**
 * Take one more reference; returns doorbell.
 * @thread{any}
 */
VMLIB_API vmlib_doorbell *vmlib_doorbell_ref(vmlib_doorbell *doorbell);

/**
 * Drop a reference; NULL is allowed. Does not unregister.
 * @thread{any}
 */
VMLIB_API void vmlib_doorbell_unref(vmlib_doorbell *doorbell);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
