/** @file
 * Event ring: guest accesses recorded in batches, without a call of the host program for each. Part
 * of libvmlib-devices.
 */
#ifndef VMLIB_RING_H
#define VMLIB_RING_H

#include <vmlib/vmlib.h>

/** @defgroup ring Event ring
 * A handler that only writes down what the guest does costs nanoseconds; the host program reads the
 * records later, many at a time. Made for languages in which a callback is expensive. When the ring
 * is full, the run ends, so that nothing is lost.
 * @{ */

typedef struct vmlib_ring vmlib_ring;

/** One guest event. 24 bytes without padding: other languages read it as it is. */
struct vmlib_ring_event {
    uint64_t address; /**< port, guest-physical address, MSR index, or EAX of a hypercall */
    uint64_t value;   /**< write: what the guest wrote; read: the answer; hypercall: RBX */
    uint32_t vcpu;    /**< index */
    uint8_t kind;     /**< VMLIB_HANDLER_ constant */
    uint8_t width;    /**< bytes; MSR and hypercall: 8 */
    uint8_t write;
    uint8_t reserved;
};

/* vmlib_ring_config.flags */
/** When the ring is full, forget new events and count them, instead of ending the run. */
#define VMLIB_RING_DROP 1u

#define VMLIB_RING_CAPACITY_MAX 0x1000000u

/** What a ring is created from. */
struct vmlib_ring_config {
    uint32_t size;     /**< sizeof of this struct; set by #VMLIB_RING_CONFIG_INIT */
    uint32_t capacity; /**< events, a power of two up to #VMLIB_RING_CAPACITY_MAX */
    uint32_t flags;    /**< VMLIB_RING_ bits */
    uint32_t reserved;
};
#define VMLIB_RING_CONFIG_INIT                           \
    {                                                    \
        sizeof(struct vmlib_ring_config), 0x10000u, 0, 0 \
    }

/* vmlib_ring_watch.flags */
/** Leave the event to older handlers after it was recorded; reads are recorded with value 0. */
#define VMLIB_WATCH_PASS 1u

/** Which events go into the ring. */
struct vmlib_ring_watch {
    uint32_t size;        /**< sizeof of this struct; set by #VMLIB_RING_WATCH_INIT */
    uint32_t kind;        /**< #VMLIB_HANDLER_PIO, #VMLIB_HANDLER_MMIO, #VMLIB_HANDLER_MSR or
                             #VMLIB_HANDLER_HYPERCALL */
    uint64_t first, last; /**< as in struct vmlib_handler_config */
    uint64_t answer; /**< what reads return, and hypercalls in RAX; cut to the access's width */
    uint32_t flags;  /**< VMLIB_WATCH_ bits */
    uint32_t reserved;
};
#define VMLIB_RING_WATCH_INIT                             \
    {                                                     \
        sizeof(struct vmlib_ring_watch), 0, 0, 0, 0, 0, 0 \
    }

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Create a ring for the events of a VM.
 * @param config NULL: all defaults.
 * @param[out] ring To be destroyed with vmlib_ring_destroy(). Holds the VM.
 * @retval VMLIB_E_INVAL an argument is NULL or config has unknown values.
 * @retval VMLIB_E_NOMEM out of memory.
 * @thread{any}
 */
VMLIB_API int vmlib_ring_create(vmlib_vm *vm, const struct vmlib_ring_config *config,
                                vmlib_ring **ring);

/**
 * Take the ring's handlers out of service and free it; NULL is allowed. Runs in progress finish
 * with it first.
 * @thread{any}
 */
VMLIB_API void vmlib_ring_destroy(vmlib_ring *ring);

/**
 * Record events of a range from now on. The event that fills the ring makes its run end with
 * #VMLIB_EXIT_STOPPED after the instruction (not with #VMLIB_WATCH_PASS). A vCPU that meets a full
 * ring returns #VMLIB_E_LIMIT from run, and repeats the instruction in the next run.
 * @retval VMLIB_E_INVAL an argument is NULL or watch has unknown values.
 * @return Or what vmlib_handler_add() answered.
 * @thread{any}
 */
VMLIB_API int vmlib_ring_watch(vmlib_ring *ring, const struct vmlib_ring_watch *watch);

/**
 * Look at the oldest events, without a copy. They stay in place until vmlib_ring_consume().
 * @param[out] events The first one; the others follow.
 * @param[out] count May be less than there are: the ring's memory ends in between.
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @thread{any one at a time; vCPUs may be running}
 */
VMLIB_API int vmlib_ring_peek(vmlib_ring *ring, const struct vmlib_ring_event **events,
                              uint32_t *count);

/**
 * Give the place of the oldest events back.
 * @param count At most what vmlib_ring_peek() said.
 * @retval VMLIB_E_INVAL ring is NULL.
 * @retval VMLIB_E_RANGE there are not so many.
 * @thread{as vmlib_ring_peek()}
 */
VMLIB_API int vmlib_ring_consume(vmlib_ring *ring, uint32_t count);

/**
 * Return how many events were forgotten because the ring was full (#VMLIB_RING_DROP); 0 when ring
 * is NULL.
 * @thread{any}
 */
VMLIB_API uint64_t vmlib_ring_lost(vmlib_ring *ring);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
