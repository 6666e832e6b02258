/** @file
 * Virtual CPUs: create, run, complete, cancel, interrupt, debug.
 */
#ifndef VMLIB_VCPU_H
#define VMLIB_VCPU_H

#include <vmlib/exit.h>

/** @defgroup vcpu Virtual CPUs
 * Calls marked *vcpu thread* belong to the thread that runs the vCPU: any one thread at a time
 * while it does not run, and handlers while it does.
 * @{ */

#define VMLIB_VCPU_RESET     0u /**< power-on state: real mode at ffff0000 + fff0 (SDM Vol.3A 9.1) */
#define VMLIB_VCPU_WAIT_SIPI 1u /**< waits for vmlib_vcpu_sipi() */

#define VMLIB_APIC_ID_INDEX UINT32_MAX /**< the APIC ID is the index */

/** What a vCPU is created from. */
struct vmlib_vcpu_config {
    uint32_t size;    /**< sizeof of this struct; set by #VMLIB_VCPU_CONFIG_INIT */
    uint32_t index;   /**< 0 to #VMLIB_MAX_VCPUS - 1, unique in the VM */
    uint32_t apic_id; /**< what CPUID reports; #VMLIB_APIC_ID_INDEX */
    uint32_t initial; /**< #VMLIB_VCPU_RESET or #VMLIB_VCPU_WAIT_SIPI */
};
#define VMLIB_VCPU_CONFIG_INIT                                                     \
    {                                                                              \
        sizeof(struct vmlib_vcpu_config), 0, VMLIB_APIC_ID_INDEX, VMLIB_VCPU_RESET \
    }

/* vmlib_run_args.flags */
#define VMLIB_RUN_WAIT_IN_HLT \
    1u /**< sleep inside run while the vCPU is halted or waits for a start-up IPI */
#define VMLIB_RUN_SINGLE_STEP 2u /**< return after one instruction (#VMLIB_EXIT_DEBUG) */

/** Limits of one run. */
struct vmlib_run_args {
    uint32_t size;        /**< sizeof of this struct; set by #VMLIB_RUN_ARGS_INIT */
    uint32_t flags;       /**< VMLIB_RUN_ bits */
    uint64_t deadline_ns; /**< from now, in the VM's clock; 0: none */
    uint64_t budget;      /**< instructions; 0: no limit */
    /** 0, or the number this run is expected to have (vmlib_vcpu_generation()); otherwise the run
     * is refused. */
    uint64_t generation;
};
#define VMLIB_RUN_ARGS_INIT                       \
    {                                             \
        sizeof(struct vmlib_run_args), 0, 0, 0, 0 \
    }

/* vmlib_breakpoint.kind */
#define VMLIB_BREAKPOINT_OFF    0u
#define VMLIB_BREAKPOINT_EXEC   1u
#define VMLIB_BREAKPOINT_WRITE  2u
#define VMLIB_BREAKPOINT_ACCESS 3u /**< read or write */
#define VMLIB_BREAKPOINTS       4u
/** Breakpoint of the host; the guest's debug registers are not touched. */
struct vmlib_breakpoint {
    uint32_t size; /**< sizeof of this struct; set by #VMLIB_BREAKPOINT_INIT */
    uint32_t kind; /**< VMLIB_BREAKPOINT_ constant */
    vmlib_gva address;
    uint32_t width; /**< bytes: 1, 2, 4, 8, address aligned to it; 1 for #VMLIB_BREAKPOINT_EXEC */
    uint32_t reserved;
};
#define VMLIB_BREAKPOINT_INIT                       \
    {                                               \
        sizeof(struct vmlib_breakpoint), 0, 0, 1, 0 \
    }

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Create a vCPU.
 * @param config NULL: index 0.
 * @param[out] vcpu One reference; the vCPU ends with the last one.
 * @retval VMLIB_E_INVAL an argument is NULL or config has unknown values.
 * @retval VMLIB_E_EXISTS the index or the APIC ID is in use.
 * @retval VMLIB_E_LIMIT more vCPUs than the backend can have.
 * @retval VMLIB_E_UNSUPPORTED a second vCPU in deterministic time mode.
 * @retval VMLIB_E_NOMEM out of memory.
 * @retval VMLIB_E_FORK see #VMLIB_E_FORK.
 * @thread{any}
 */
VMLIB_API int vmlib_vcpu_create(vmlib_vm *vm, const struct vmlib_vcpu_config *config,
                                vmlib_vcpu **vcpu);

/**
 * Take one more reference; returns vcpu.
 * @thread{any}
 */
VMLIB_API vmlib_vcpu *vmlib_vcpu_ref(vmlib_vcpu *vcpu);

/**
 * Drop a reference; NULL is allowed. A run in progress keeps the vCPU alive.
 * @thread{any}
 */
VMLIB_API void vmlib_vcpu_unref(vmlib_vcpu *vcpu);

/**
 * Return the vCPU's VM, borrowed; NULL when vcpu is NULL.
 * @thread{any}
 */
VMLIB_API vmlib_vm *vmlib_vcpu_vm(const vmlib_vcpu *vcpu);

/**
 * Return the vCPU's index; 0 when vcpu is NULL.
 * @thread{any}
 */
VMLIB_API uint32_t vmlib_vcpu_index(const vmlib_vcpu *vcpu);

/**
 * Run until a guest event that no handler takes, or a limit.
 *
 * The kvm backend blocks the signal SIGRTMAX - 3 on threads that call this, and leaves it blocked:
 * it is how other threads get the vCPU out of the kernel. No handler is installed, and when the
 * call returns, none of these signals is pending.
 * @param args NULL: no limits.
 * @param[in,out] exit Caller sets `size`. Written only on success.
 * @retval VMLIB_E_INVAL an argument is NULL or has unknown values or a wrong size.
 * @retval VMLIB_E_STATE an exit waits for completion, or args->generation is not the next.
 * @retval VMLIB_E_BUSY the vCPU is running, on another thread or around this handler.
 * @retval VMLIB_E_UNSUPPORTED the backend refuses a limit or flag.
 * @retval VMLIB_E_FORK see #VMLIB_E_FORK.
 * @return Another negative value: what a handler answered.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_run(vmlib_vcpu *vcpu, const struct vmlib_run_args *args,
                             struct vmlib_exit *exit);

/**
 * Answer a record that has #VMLIB_EXIT_F_PENDING, and finish its instruction. If the instruction
 * needs another access, its record is what the next run returns at once.
 * @param data The value, little endian; CPUID: eax, ebx, ecx, edx. May be NULL when bytes is 0.
 * @param bytes PIO and MMIO: the record's width; RDMSR: 8; WRMSR: 0; CPUID: 16; hypercall: 8 (RAX)
 * or 0.
 * @retval VMLIB_E_INVAL an argument is NULL or bytes is wrong.
 * @retval VMLIB_E_STATE nothing waits for completion.
 * @retval VMLIB_E_BUSY the vCPU is running.
 * @retval VMLIB_E_FORK see #VMLIB_E_FORK.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_complete(vmlib_vcpu *vcpu, const void *data, uint32_t bytes);

/**
 * Answer a record that has #VMLIB_EXIT_F_PENDING with an exception: the instruction has no effect,
 * the next run delivers it.
 * @param vector 0 to 31.
 * @param error_code Used when the vector has one (SDM Vol.3A table 6-1).
 * @retval VMLIB_E_INVAL vcpu is NULL or vector is no exception.
 * @retval VMLIB_E_STATE nothing waits for completion.
 * @retval VMLIB_E_BUSY the vCPU is running.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_complete_fault(vmlib_vcpu *vcpu, uint32_t vector, uint32_t error_code);

/**
 * End a run: the one in progress, or when there is none, the next. Each cancel is answered by
 * exactly one #VMLIB_EXIT_CANCELLED; cancels that come before the answer are merged.
 * @retval VMLIB_E_INVAL vcpu is NULL.
 * @thread{any, signal-safe}
 */
VMLIB_API int vmlib_vcpu_cancel(vmlib_vcpu *vcpu);

/**
 * End the run with this number, and no other. Without effect when that run has already returned.
 * @param generation From vmlib_vcpu_generation() or a record.
 * @retval VMLIB_E_INVAL vcpu is NULL or the generation lies after the next run.
 * @thread{any, signal-safe}
 */
VMLIB_API int vmlib_vcpu_cancel_run(vmlib_vcpu *vcpu, uint64_t generation);

/**
 * Return the number of the run in progress, or when there is none, of the next run. The first is 1;
 * 0 when vcpu is NULL.
 * @thread{any, signal-safe}
 */
VMLIB_API uint64_t vmlib_vcpu_generation(const vmlib_vcpu *vcpu);

/**
 * Have an event delivered before the next instruction, whatever RFLAGS.IF says. Replaces one that
 * has not been delivered yet.
 * @retval VMLIB_E_INVAL an argument is NULL or the event has unknown values.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @retval VMLIB_E_STATE an exit waits for completion.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_inject(vmlib_vcpu *vcpu, const struct vmlib_event *event);

/**
 * Set the level of the INTR line. While it is high and the guest can take an interrupt, the vCPU
 * asks the handlers of kind #VMLIB_HANDLER_INTACK for a vector, or without one returns
 * #VMLIB_EXIT_INTERRUPT_WINDOW. Wakes a halted vCPU.
 * @param level 0 or 1.
 * @retval VMLIB_E_INVAL vcpu is NULL or level is neither.
 * @thread{any, signal-safe}
 */
VMLIB_API int vmlib_vcpu_set_intr(vmlib_vcpu *vcpu, uint32_t level);

/**
 * Raise a non-maskable interrupt. One is remembered while another is in service.
 * @retval VMLIB_E_INVAL vcpu is NULL.
 * @retval VMLIB_E_UNSUPPORTED the backend cannot.
 * @thread{any, signal-safe}
 */
VMLIB_API int vmlib_vcpu_nmi(vmlib_vcpu *vcpu);

/**
 * Send INIT: the vCPU resets (SDM Vol.3A 9.1) and then waits for a start-up IPI.
 * @retval VMLIB_E_INVAL vcpu is NULL.
 * @thread{any, signal-safe}
 */
VMLIB_API int vmlib_vcpu_init(vmlib_vcpu *vcpu);

/**
 * Send a start-up IPI: a vCPU that waits for one starts in real mode at vector << 12; others ignore
 * it.
 * @param vector 0 to 255.
 * @retval VMLIB_E_INVAL vcpu is NULL or vector is above 255.
 * @thread{any, signal-safe}
 */
VMLIB_API int vmlib_vcpu_sipi(vmlib_vcpu *vcpu, uint32_t vector);

/**
 * Return #VMLIB_EXIT_INTERRUPT_WINDOW once, as soon as the guest can take an external interrupt.
 * @param on 1: ask; 0: withdraw.
 * @retval VMLIB_E_INVAL vcpu is NULL or on is neither.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_request_interrupt_window(vmlib_vcpu *vcpu, uint32_t on);

/**
 * Choose the exceptions that are shown to handlers of kind #VMLIB_HANDLER_EXCEPTION, or returned,
 * before they are delivered. Events from vmlib_vcpu_inject() are not shown.
 * @param mask Bit n: vector n.
 * @retval VMLIB_E_INVAL vcpu is NULL.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @retval VMLIB_E_UNSUPPORTED the backend cannot.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_set_exception_exits(vmlib_vcpu *vcpu, uint32_t mask);

/**
 * Set or clear a breakpoint of the host. A breakpoint at the instruction at which a run starts
 * after it was reported does not match again.
 * @param slot 0 to #VMLIB_BREAKPOINTS - 1.
 * @param breakpoint NULL or kind OFF: clear.
 * @retval VMLIB_E_INVAL vcpu is NULL, slot is too large, or breakpoint has unknown or unaligned
 * values.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @retval VMLIB_E_UNSUPPORTED the backend cannot.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_set_breakpoint(vmlib_vcpu *vcpu, uint32_t slot,
                                        const struct vmlib_breakpoint *breakpoint);

/**
 * Replace the CPUID model of this vCPU, before its first run; as vmlib_vm_set_cpuid().
 * @retval VMLIB_E_INVAL an argument is NULL, count is 0 or above #VMLIB_CPUID_MAX, or a leaf
 * appears twice.
 * @retval VMLIB_E_STATE the vCPU has already run.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_set_cpuid(vmlib_vcpu *vcpu, const struct vmlib_cpuid_leaf *leaves,
                                   uint32_t count);

/**
 * Read the CPUID model of this vCPU.
 * @param[out] leaves Room for `*count` entries; may be NULL when that is 0.
 * @param[in,out] count In: room. Out: number of leaves the model has (also on #VMLIB_E_LIMIT).
 * @retval VMLIB_E_INVAL vcpu or count is NULL.
 * @retval VMLIB_E_LIMIT there is not enough room.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_get_cpuid(vmlib_vcpu *vcpu, struct vmlib_cpuid_leaf *leaves,
                                   uint32_t *count);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
