/** @file
 * Call a function of the guest as if it were one of the host program. Part of libvmlib-devices.
 */
#ifndef VMLIB_CALL_H
#define VMLIB_CALL_H

#include <vmlib/vmlib.h>

/** @defgroup call Guest calls
 * For tests of bare-metal code: load an ELF program (boot.h), look a symbol up, call it with
 * arguments and a limit, and get its result or its fault. 64-bit code is called by the System V
 * ABI, 32-bit code by cdecl.
 * @{ */

/* vmlib_arg.type */
#define VMLIB_ARG_INT   0u /**< integer or guest address in `value` */
#define VMLIB_ARG_F64   1u /**< double: its bits in `value` */
#define VMLIB_ARG_IN    2u /**< pointer to a copy of `data` on the guest's stack */
#define VMLIB_ARG_OUT   3u /**< pointer to zeros; copied to `data` when the function has returned */
#define VMLIB_ARG_INOUT 4u /**< both */

/** One argument. */
struct vmlib_arg {
    uint32_t type; /**< VMLIB_ARG_ constant */
    uint32_t reserved;
    uint64_t value;
    void *data;
    uint64_t bytes;
};
#define VMLIB_ARGS_MAX 16u

/* vmlib_call_result.end */
#define VMLIB_CALL_RETURNED 0u
#define VMLIB_CALL_FAULT \
    1u /**< exception, shutdown, or access that memory forbids: see the record */
#define VMLIB_CALL_LIMIT   2u /**< budget or deadline */
#define VMLIB_CALL_STOPPED 3u /**< a handler, or vmlib_vcpu_cancel() */
#define VMLIB_CALL_EXIT \
    4u /**< something that no handler takes; a read waits for vmlib_vcpu_complete() */

/** What to call. */
struct vmlib_call_config {
    uint32_t size;        /**< sizeof of this struct; set by #VMLIB_CALL_CONFIG_INIT */
    uint32_t exceptions;  /**< vectors that end the call: for vmlib_vcpu_set_exception_exits() */
    vmlib_gva function;   /**< linear address of the first instruction */
    vmlib_gva stack;      /**< top of the stack to use; 0: where RSP points */
    uint64_t budget;      /**< instructions; 0: no limit */
    uint64_t deadline_ns; /**< in the VM's clock; 0: none */
    const struct vmlib_arg *args;
    uint32_t arg_count;
    uint32_t reserved;
};
#define VMLIB_CALL_CONFIG_INIT                                                      \
    {                                                                               \
        sizeof(struct vmlib_call_config), 0xffffffffu, 0, 0, 1000000, 0, NULL, 0, 0 \
    }

/** How it ended. */
struct vmlib_call_result {
    uint32_t size;          /**< sizeof of this struct, set by the caller */
    uint32_t end;           /**< VMLIB_CALL_ constant */
    uint64_t value;         /**< RAX; 32-bit code: EDX:EAX */
    uint64_t xmm0;          /**< 64-bit code: low half of XMM0, the bits of a double */
    uint64_t instructions;  /**< retired by the call */
    struct vmlib_exit exit; /**< the record that ended it */
};
#define VMLIB_CALL_RESULT_INIT                                        \
    {                                                                 \
        sizeof(struct vmlib_call_result), 0, 0, 0, 0, VMLIB_EXIT_INIT \
    }

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Call a guest function and run until it returns or something ends it. The vCPU must be in
 * protected or long mode with a flat code segment; SSE is switched on. Interrupts are off during
 * the call. A fault of the function is not an error.
 * @param[in,out] result Caller sets `size`.
 * @retval VMLIB_E_INVAL an argument is NULL or has unknown values.
 * @retval VMLIB_E_UNSUPPORTED the vCPU is in a 16-bit mode.
 * @retval VMLIB_E_FAULT the stack is not in memory.
 * @return Or what the library answered when registers were set or the vCPU was run.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_call(vmlib_vcpu *vcpu, const struct vmlib_call_config *config,
                         struct vmlib_call_result *result);

/**
 * Find a symbol of an ELF file by name.
 * @param[out] address May be NULL.
 * @param[out] length Size of the function or object, 0 when the file does not say; may be NULL.
 * @retval VMLIB_E_INVAL an argument is NULL or the file is damaged.
 * @retval VMLIB_E_NOTFOUND it has no such symbol, or no symbols.
 * @thread{any}
 */
VMLIB_API int vmlib_elf_symbol(const void *elf, uint64_t bytes, const char *name, uint64_t *address,
                               uint64_t *length);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
