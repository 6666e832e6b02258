/** @file
 * Virtual machines.
 */
#ifndef VMLIB_VM_H
#define VMLIB_VM_H

#include <vmlib/caps.h>
#include <vmlib/log.h>

/** @defgroup vm Virtual machines
 * @{ */

/** A virtual machine: memory regions, handlers and vCPUs. */
typedef struct vmlib_vm vmlib_vm;
/** A virtual CPU; see vcpu.h. */
typedef struct vmlib_vcpu vmlib_vcpu;

typedef uint64_t vmlib_gpa; /**< guest-physical address */
typedef uint64_t vmlib_gva; /**< guest-virtual (linear) address */

#define VMLIB_PAGE_SIZE 4096u
#define VMLIB_MAX_VCPUS 64u

#define VMLIB_TIME_REAL 0u /**< guest time follows the host's monotonic clock */
/** Guest time is made of retired instructions (one is one nanosecond) and of time skipped in HLT.
 * Same start state and same inputs give the same run. One vCPU only. */
#define VMLIB_TIME_DETERMINISTIC 1u

#define VMLIB_MSR_FAULT 0u /**< MSRs that nobody knows raise general protection */
#define VMLIB_MSR_EXIT  1u /**< ... are returned from run as #VMLIB_EXIT_MSR */

/** The entry counts for one subleaf (ECX) only, not for all. */
#define VMLIB_CPUID_SUBLEAF 1u
/** One CPUID leaf as the guest sees it. Bits that follow guest state (OSXSAVE, APIC, XSAVE sizes)
 * are set by the library. */
struct vmlib_cpuid_leaf {
    uint32_t leaf;
    uint32_t subleaf; /**< used with #VMLIB_CPUID_SUBLEAF, else 0 */
    uint32_t flags;   /**< #VMLIB_CPUID_SUBLEAF or 0 */
    uint32_t eax, ebx, ecx, edx;
    uint32_t reserved;
};
#define VMLIB_CPUID_MAX 64u /**< most leaves of one model */

#define VMLIB_VM_BACKENDS 4u

/** What a VM is created from. */
struct vmlib_vm_config {
    uint32_t size; /**< sizeof of this struct; set by #VMLIB_VM_CONFIG_INIT */
    /** Backends in order of preference, #VMLIB_BACKEND_NONE after the last. All NONE: soft only.
     * The first that is available and has all required features is taken. */
    uint32_t backends[VMLIB_VM_BACKENDS];
    uint32_t time_mode; /**< VMLIB_TIME_ constant */
    uint64_t required;  /**< features that must be native or emulated: bits 1 << VMLIB_FEATURE_ */
    uint64_t seed; /**< random numbers of the guest (RDRAND, RDSEED); 0 in real time mode: from the
                      host */
    uint32_t tsc_khz;    /**< frequency of the time-stamp counter; 0: 1 GHz */
    uint32_t phys_bits;  /**< width of guest-physical addresses, 32 to 52; 0: 40 or less if the
                            backend's limit is lower */
    uint32_t msr_policy; /**< VMLIB_MSR_ constant */
    uint32_t reserved;
    vmlib_log_fn log; /**< may be NULL; the first message says which backend was taken, and why
                         others were not */
    void *log_opaque; /**< must live as long as the VM */
};
#define VMLIB_VM_CONFIG_INIT                                                          \
    {                                                                                 \
        sizeof(struct vmlib_vm_config), {0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, NULL, NULL \
    }

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Create a virtual machine without memory and vCPUs.
 * @param config NULL: all defaults.
 * @param[out] vm One reference; drop it with vmlib_vm_unref().
 * @retval VMLIB_E_INVAL config has an unknown value, or vm is NULL.
 * @retval VMLIB_E_UNAVAILABLE no listed backend is available; the detail text has each one's
 * reason.
 * @retval VMLIB_E_UNSUPPORTED a backend is available but lacks a required feature.
 * @retval VMLIB_E_NOMEM out of memory.
 * @thread{any}
 */
VMLIB_API int vmlib_vm_create(const struct vmlib_vm_config *config, vmlib_vm **vm);

/**
 * Take one more reference; returns vm.
 * @thread{any}
 */
VMLIB_API vmlib_vm *vmlib_vm_ref(vmlib_vm *vm);

/**
 * Drop a reference. NULL is allowed. vCPU, region and handler handles hold their VM, so the order
 * in which a program drops its handles does not matter.
 * @thread{any}
 */
VMLIB_API void vmlib_vm_unref(vmlib_vm *vm);

/**
 * Return the backend in use (VMLIB_BACKEND_ constant); 0 when vm is NULL.
 * @thread{any}
 */
VMLIB_API uint32_t vmlib_vm_backend(const vmlib_vm *vm);

/**
 * Read the VM's clock: nanoseconds since creation in real time mode; nanoseconds of guest time
 * otherwise.
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @thread{any in real time mode, else the vcpu thread}
 */
VMLIB_API int vmlib_vm_clock(vmlib_vm *vm, uint64_t *ns);

/**
 * Return the frequency of the guest's time-stamp counter in kHz; 0 when vm is NULL.
 * @thread{any}
 */
VMLIB_API uint32_t vmlib_vm_tsc_khz(const vmlib_vm *vm);

/**
 * Replace the CPUID model of all vCPUs that are created later. Without it, guests see the backend's
 * default model. Leaves that are not listed read as zero.
 * @param leaves `count` entries, copied.
 * @retval VMLIB_E_INVAL an argument is NULL, count is 0 or above #VMLIB_CPUID_MAX, or a leaf
 * appears twice.
 * @thread{any}
 */
VMLIB_API int vmlib_vm_set_cpuid(vmlib_vm *vm, const struct vmlib_cpuid_leaf *leaves,
                                 uint32_t count);

/**
 * Find a vCPU of the VM by index.
 * @param[out] vcpu A new reference.
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_NOTFOUND there is none.
 * @thread{any}
 */
VMLIB_API int vmlib_vm_vcpu(vmlib_vm *vm, uint32_t index, vmlib_vcpu **vcpu);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
