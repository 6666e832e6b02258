/** @file
 * Two vCPUs side by side: the first difference between two backends. Part of libvmlib-devices.
 */
#ifndef VMLIB_LOCKSTEP_H
#define VMLIB_LOCKSTEP_H

#include <vmlib/vmlib.h>

/** @defgroup lockstep Lockstep
 * Side 0 and side 1 are vCPUs of two VMs, on any two backends, with the same memory map. A lockstep
 * runs both from one exit record to the next, or instruction by instruction, answers the records of
 * both with one answer, and compares records, registers and memory. It stops at the first
 * difference, and where both sides can single-step it finds the instruction that made it. What is
 * not compared is listed in doc/lockstep.md.
 * @{ */

/** Two vCPUs in lockstep. */
typedef struct vmlib_lockstep vmlib_lockstep;

/* vmlib_lockstep_config.grain */
#define VMLIB_LOCKSTEP_EXIT 0u /**< compare at exit records; step only to locate a difference */
#define VMLIB_LOCKSTEP_INSN                                              \
    1u /**< compare after every instruction; both sides must single-step \
        */

/* vmlib_lockstep_config.flags */
#define VMLIB_LOCKSTEP_COPY 1u /**< first copy memory and state of side 0 to side 1 */
/** The handlers of the two VMs answer, each side its own: nothing is asked for both, and a
 * difference is located only with `slice` 1, for devices cannot go back. For deterministic
 * machines. */
#define VMLIB_LOCKSTEP_OWN_DEVICES  2u
#define VMLIB_LOCKSTEP_X87_POINTERS 4u /**< compare the x87 FOP, FIP and FDP, too */

/** Two regions of the same guest-physical range, one on each side. */
struct vmlib_lockstep_region {
    vmlib_region *region[2]; /**< with #VMLIB_REGION_DIRTY_LOG comparisons are quick */
};
#define VMLIB_LOCKSTEP_REGIONS 16u

/** An instruction that was executed, for vmlib_lockstep_mask_fn. */
struct vmlib_lockstep_insn {
    uint64_t rip;                     /**< offset in CS */
    uint8_t bytes[16];                /**< what memory holds there, zero-filled */
    uint32_t length;                  /**< readable bytes: at least as long as the instruction */
    uint32_t mode;                    /**< VMLIB_MODE_ constant */
    const struct vmlib_state *before; /**< side 0, all groups */
};

/** What an instruction leaves undefined. A set bit is not compared, and taken over from side 0. */
struct vmlib_lockstep_mask {
    uint64_t rflags;
    uint32_t gpr;      /**< bit n: general register n in the hardware's order */
    uint32_t fpu_word; /**< bits of the x87 status word */
};

/** Called at each comparison with what the library's own table says; may change it. In exit grain,
 * insn->length is 0: what it excuses then may be left by any instruction. */
typedef void (*vmlib_lockstep_mask_fn)(void *opaque, const struct vmlib_lockstep_insn *insn,
                                       struct vmlib_lockstep_mask *mask);

/**
 * Answers a record that both sides have returned. May call vmlib_lockstep_intr(), _nmi(),
 * _write(), _stop() and read the state of either side, nothing else.
 * @param exit The record of side 0; reads get their value in it. INTERRUPT_WINDOW: the vector.
 * @return #VMLIB_HANDLED; #VMLIB_PASS (reads answer ones, unknown MSRs and hypercalls fault, MSRs
 * and CPUID leaves that side 0 knows have its value; HLT and SHUTDOWN end the lockstep);
 * #VMLIB_INJECT (exit->inject, an exception, instead of finishing a read); #VMLIB_STOP (as HANDLED,
 * then vmlib_lockstep_run() returns); or a negative code, which it returns.
 */
typedef int (*vmlib_lockstep_exit_fn)(void *opaque, vmlib_lockstep *lockstep,
                                      struct vmlib_exit *exit);

/** Replaces vmlib_vcpu_run() for a side, with its rules; side is 0 or 1. */
typedef int (*vmlib_lockstep_run_fn)(void *opaque, unsigned side, const struct vmlib_run_args *args,
                                     struct vmlib_exit *exit);

/** What a lockstep is created from. */
struct vmlib_lockstep_config {
    uint32_t size;       /**< sizeof of this struct; set by #VMLIB_LOCKSTEP_CONFIG_INIT */
    uint32_t grain;      /**< VMLIB_LOCKSTEP_EXIT or _INSN */
    uint32_t flags;      /**< VMLIB_LOCKSTEP_ flags */
    uint32_t interval;   /**< exit grain: records from one comparison of state to the next */
    uint32_t history;    /**< records remembered for the report, at most 256 */
    uint32_t regions;    /**< entries of `region`, at most #VMLIB_LOCKSTEP_REGIONS */
    vmlib_vcpu *vcpu[2]; /**< not running, nothing outstanding; a reference is taken */
    const struct vmlib_lockstep_region *region; /**< memory to compare; references are taken */
    /** Exit grain: compare at least after so many instructions, where both sides have exact
     * budgets; 0: never. */
    uint64_t slice;
    /** A side that gives no record for so long is stuck; a slice or a step that ends counts. */
    uint64_t deadline_ns;
    vmlib_lockstep_exit_fn exit; /**< NULL: as if it answered #VMLIB_PASS */
    vmlib_lockstep_mask_fn mask; /**< NULL: only the library's table */
    vmlib_lockstep_run_fn run;   /**< NULL: vmlib_vcpu_run(); else needs OWN_DEVICES */
    void *opaque;                /**< for the functions */
};
#define VMLIB_LOCKSTEP_CONFIG_INIT                                                         \
    {                                                                                      \
        sizeof(struct vmlib_lockstep_config), 0, 0, 16, 16, 0, {NULL, NULL}, NULL, 100000, \
            10000000000u, NULL, NULL, NULL, NULL                                           \
    }

/* vmlib_lockstep_result.end */
#define VMLIB_LOCKSTEP_LIMIT      1u /**< as many records (instruction grain: steps) as asked for */
#define VMLIB_LOCKSTEP_DIFFERENCE 2u
#define VMLIB_LOCKSTEP_HALTED     3u /**< HLT, and the exit function did not go on */
#define VMLIB_LOCKSTEP_SHUTDOWN   4u /**< triple fault on both sides */
#define VMLIB_LOCKSTEP_STOPPED    5u /**< the exit function answered #VMLIB_STOP, or _stop() */
#define VMLIB_LOCKSTEP_STUCK      6u /**< a side gave no record within the deadline */

/** How a run in lockstep ended. */
struct vmlib_lockstep_result {
    uint32_t size;            /**< sizeof of this struct, set by the caller */
    uint32_t end;             /**< VMLIB_LOCKSTEP_ constant */
    uint32_t located;         /**< difference: 1 if `insn` is the instruction that made it */
    uint32_t differences;     /**< for vmlib_lockstep_difference() */
    uint64_t records;         /**< compared so far */
    uint64_t comparisons;     /**< of state and memory, so far */
    uint64_t excused;         /**< instructions whose undefined results differed, so far */
    uint64_t instructions[2]; /**< of each side so far, where the backend counts them */
    uint64_t equal_at; /**< instructions of side 0 at the last comparison without difference */
    struct vmlib_lockstep_insn insn; /**< the instruction, if located; `before` is NULL */
};
#define VMLIB_LOCKSTEP_RESULT_INIT                                         \
    {                                                                      \
        sizeof(struct vmlib_lockstep_result), 0, 0, 0, 0, 0, 0, {0, 0}, 0, \
        {                                                                  \
            0, {0}, 0, 0, NULL                                             \
        }                                                                  \
    }

/* vmlib_lockstep_difference.kind */
#define VMLIB_LOCKSTEP_RECORD   1u /**< a field of the exit record */
#define VMLIB_LOCKSTEP_REGISTER 2u
#define VMLIB_LOCKSTEP_MEMORY   3u /**< eight bytes from `gpa` on; one entry for each page */

/** One difference. */
struct vmlib_lockstep_difference {
    uint32_t size;     /**< sizeof of this struct, set by the caller */
    uint32_t kind;     /**< VMLIB_LOCKSTEP_ constant */
    uint32_t group;    /**< register: VMLIB_STATE_ bit */
    uint32_t bytes;    /**< memory: number of bytes of the page that differ */
    vmlib_gpa gpa;     /**< memory: the first of them */
    uint64_t value[2]; /**< register of at most 8 bytes, or memory, on each side */
    char name[24];     /**< "rax", "ymm3.1" (second quarter of YMM3), "record.rip" */
};
#define VMLIB_LOCKSTEP_DIFFERENCE_INIT                                \
    {                                                                 \
        sizeof(struct vmlib_lockstep_difference), 0, 0, 0, 0, {0, 0}, \
        {                                                             \
            0                                                         \
        }                                                             \
    }

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Put two vCPUs into lockstep. Takes over all port, memory-mapped, hypercall and, where the backend
 * can, CPUID events of both VMs until vmlib_lockstep_destroy(), unless OWN_DEVICES is given.
 * @param[out] lockstep To be destroyed with vmlib_lockstep_destroy().
 * @retval VMLIB_E_INVAL an argument is NULL, or config has unknown values, the same VM twice, or
 * regions that do not match.
 * @retval VMLIB_E_UNSUPPORTED grain INSN, and a side refuses single-step.
 * @retval VMLIB_E_NOMEM out of memory.
 * @return Or what the library answered when it copied state or added handlers.
 * @thread{vcpu thread of both}
 */
VMLIB_API int vmlib_lockstep_create(const struct vmlib_lockstep_config *config,
                                    vmlib_lockstep **lockstep);

/**
 * Give the VMs back. NULL is allowed.
 * @thread{vcpu thread of both}
 */
VMLIB_API void vmlib_lockstep_destroy(vmlib_lockstep *lockstep);

/**
 * Run both sides until they differ, the guest ends, or a limit.
 * @param limit Records (instruction grain: steps and records); 0: none.
 * @param[in,out] result Caller sets `size`.
 * @retval VMLIB_E_INVAL an argument is NULL or result has a wrong size.
 * @retval VMLIB_E_STATE they have differed in an earlier call.
 * @retval VMLIB_E_NOMEM out of memory.
 * @return Or what the exit function or a call of the library answered.
 * @thread{vcpu thread of both}
 */
VMLIB_API int vmlib_lockstep_run(vmlib_lockstep *lockstep, uint64_t limit,
                                 struct vmlib_lockstep_result *result);

/**
 * End the vmlib_lockstep_run() in progress, or when there is none, the next, with
 * #VMLIB_LOCKSTEP_STOPPED. A later run goes on where it was. A cancel of one of the vCPUs alone
 * does not end it.
 * @retval VMLIB_E_INVAL lockstep is NULL.
 * @thread{any, signal-safe}
 */
VMLIB_API int vmlib_lockstep_stop(vmlib_lockstep *lockstep);

/**
 * Read one difference.
 * @param index Below vmlib_lockstep_result.differences.
 * @param[in,out] difference Caller sets `size`.
 * @retval VMLIB_E_INVAL an argument is NULL or difference has a wrong size.
 * @retval VMLIB_E_NOTFOUND index is too large.
 * @thread{vcpu thread of both}
 */
VMLIB_API int vmlib_lockstep_difference(vmlib_lockstep *lockstep, uint32_t index,
                                        struct vmlib_lockstep_difference *difference);

/**
 * Describe the present situation for people: where both sides are, what differs, the instruction,
 * the last records of both.
 * @param[out] text Receives lines of text with a final 0.
 * @param[in,out] bytes In: room. Out: bytes that the text needs (also on #VMLIB_E_LIMIT).
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_LIMIT there is not enough room.
 * @thread{vcpu thread of both}
 */
VMLIB_API int vmlib_lockstep_report(vmlib_lockstep *lockstep, char *text, uint64_t *bytes);

/**
 * Set the INTR line of both sides. From the exit function or between runs.
 * @retval VMLIB_E_INVAL lockstep is NULL or level is neither 0 nor 1.
 * @retval VMLIB_E_NOMEM out of memory.
 * @thread{vcpu thread of both}
 */
VMLIB_API int vmlib_lockstep_intr(vmlib_lockstep *lockstep, uint32_t level);

/**
 * Raise a non-maskable interrupt on both sides; as vmlib_lockstep_intr().
 * @retval VMLIB_E_INVAL lockstep is NULL.
 * @retval VMLIB_E_NOMEM out of memory.
 * @return Or what vmlib_vcpu_nmi() answered.
 * @thread{vcpu thread of both}
 */
VMLIB_API int vmlib_lockstep_nmi(vmlib_lockstep *lockstep);

/**
 * Write memory of both sides, as a device does; as vmlib_lockstep_intr().
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_NOMEM out of memory.
 * @return Or what vmlib_vm_write() answered.
 * @thread{vcpu thread of both}
 */
VMLIB_API int vmlib_lockstep_write(vmlib_lockstep *lockstep, vmlib_gpa gpa, const void *data,
                                   uint64_t bytes);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
