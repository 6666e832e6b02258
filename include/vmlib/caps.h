/** @file
 * Backends and what they can do, before a VM exists.
 */
#ifndef VMLIB_CAPS_H
#define VMLIB_CAPS_H

#include <vmlib/error.h>

/** @defgroup caps Capabilities
 * @{ */

#define VMLIB_BACKEND_NONE 0u /**< ends a backend list */
#define VMLIB_BACKEND_SOFT 1u /**< software: needs nothing from the host */
#define VMLIB_BACKEND_MOCK \
    2u /**< scripted exits, for tests of host programs (mock.h); executes nothing */
#define VMLIB_BACKEND_KVM  3u /**< the kernel's /dev/kvm (Linux on x86-64 processors) */
#define VMLIB_BACKEND_VTX  4u /**< Intel VT-x through the driver that comes with the library */
#define VMLIB_BACKEND_LAST 4u

/* Features, for vmlib_backend_feature() and vmlib_vm_config.required (bit 1 << feature). */
#define VMLIB_FEATURE_GUEST_CODE      0u  /**< executes guest instructions */
#define VMLIB_FEATURE_REAL_MODE       1u  /**< real and virtual-8086 mode */
#define VMLIB_FEATURE_LONG_MODE       2u  /**< 64-bit mode */
#define VMLIB_FEATURE_AVX2            3u  /**< AVX2, FMA, F16C and BMI in the guest */
#define VMLIB_FEATURE_SMP             4u  /**< several vCPUs, each on its own thread */
#define VMLIB_FEATURE_DETERMINISTIC   5u  /**< #VMLIB_TIME_DETERMINISTIC */
#define VMLIB_FEATURE_BUDGET          6u  /**< instruction budget; native means exact */
#define VMLIB_FEATURE_INSN_COUNT      7u  /**< exits report the number of retired instructions */
#define VMLIB_FEATURE_SINGLE_STEP     8u  /**< #VMLIB_RUN_SINGLE_STEP */
#define VMLIB_FEATURE_BREAKPOINTS     9u  /**< vmlib_vcpu_set_breakpoint() */
#define VMLIB_FEATURE_EXCEPTION_EXITS 10u /**< vmlib_vcpu_set_exception_exits() */
#define VMLIB_FEATURE_MSR_HANDLERS    11u /**< handlers for any MSR, also those the backend keeps */
#define VMLIB_FEATURE_CPUID_HANDLERS  12u /**< handlers for CPUID leaves */
#define VMLIB_FEATURE_DIRTY_LOG       13u /**< #VMLIB_REGION_DIRTY_LOG */
#define VMLIB_FEATURE_PROT_READ       14u /**< regions without #VMLIB_PROT_R */
#define VMLIB_FEATURE_PROT_WRITE      15u /**< regions without #VMLIB_PROT_W */
#define VMLIB_FEATURE_PROT_EXEC       16u /**< regions without #VMLIB_PROT_X */
#define VMLIB_FEATURE_NMI             17u /**< vmlib_vcpu_nmi() */
#define VMLIB_FEATURE_SMM             18u /**< system management mode */
#define VMLIB_FEATURE_HYPERCALL_HANDLERS \
    19u /**< VMCALL and VMMCALL are returned from run, or go to handlers */
/** Descriptor tables, task-state segments and the stacks of event deliveries may lie in holes. */
#define VMLIB_FEATURE_DEVICE_TABLES 20u
#define VMLIB_FEATURE_COUNT         21u

/* How a backend provides a feature. */
#define VMLIB_SUPPORT_REFUSED     0u /**< not at all: using it is an error */
#define VMLIB_SUPPORT_APPROXIMATE 1u /**< works, with differences doc/exit-contract.md lists */
#define VMLIB_SUPPORT_EMULATED    2u /**< exact, but slower than the backend's own speed */
#define VMLIB_SUPPORT_NATIVE      3u /**< exact and at full speed */

/** Answer of vmlib_backend_query(). */
struct vmlib_backend_info {
    uint32_t size;      /**< sizeof of this struct, set by the caller */
    uint32_t backend;   /**< VMLIB_BACKEND_ constant */
    uint32_t available; /**< 1: a VM can be created now */
    uint32_t phys_bits; /**< widest guest-physical address in bits */
    uint32_t max_vcpus; /**< per VM */
    uint32_t reserved;
    char name[32];    /**< "soft" */
    char reason[224]; /**< why it is not available; "" when it is */
};
#define VMLIB_BACKEND_INFO_INIT                                \
    {                                                          \
        sizeof(struct vmlib_backend_info), 0, 0, 0, 0, 0, {0}, \
        {                                                      \
            0                                                  \
        }                                                      \
    }

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Tell whether a backend can be used on this machine, and why not.
 * @param backend VMLIB_BACKEND_ constant.
 * @param[in,out] info Caller sets `size`.
 * @retval VMLIB_E_INVAL backend is unknown or info is NULL or has a wrong size.
 * @retval VMLIB_E_NOTFOUND the backend is not part of this build.
 * @thread{any}
 */
VMLIB_API int vmlib_backend_query(uint32_t backend, struct vmlib_backend_info *info);

/**
 * Tell how a backend provides a feature.
 * @param backend VMLIB_BACKEND_ constant.
 * @param feature VMLIB_FEATURE_ constant.
 * @param[out] support VMLIB_SUPPORT_ constant.
 * @retval VMLIB_E_INVAL backend or feature is unknown or support is NULL.
 * @retval VMLIB_E_NOTFOUND the backend is not part of this build.
 * @thread{any}
 */
VMLIB_API int vmlib_backend_feature(uint32_t backend, uint32_t feature, uint32_t *support);

/**
 * Return the short name of a feature ("single-step"), or NULL for an unknown number.
 * @thread{any}
 */
VMLIB_API const char *vmlib_feature_name(uint32_t feature);

/**
 * Find a backend by name ("soft").
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_NOTFOUND no backend of this build has that name.
 * @thread{any}
 */
VMLIB_API int vmlib_backend_by_name(const char *name, uint32_t *backend);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
