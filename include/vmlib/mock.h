/** @file
 * The mock backend: scripted guest events and injected failures, to test host programs without a
 * guest.
 */
#ifndef VMLIB_MOCK_H
#define VMLIB_MOCK_H

#include <vmlib/exit.h>

/** @defgroup mock Mock backend
 * A vCPU of this backend executes a script. Its steps go through the same handlers, records and
 * limits as instructions of a real guest; addresses are not translated. At the end of the script
 * the vCPU is halted.
 * @{ */

/* vmlib_mock_step.action */
#define VMLIB_MOCK_EXIT                                                                           \
    0u /**< report `exit`: PIO, MMIO, MSR, CPUID, hypercall, HLT, exception, ...; one instruction \
        */
#define VMLIB_MOCK_ACCESS \
    1u /**< access guest memory as `exit.u.mmio` says; a hole becomes MMIO; one instruction */
#define VMLIB_MOCK_RETIRE 2u /**< retire `count` instructions */
#define VMLIB_MOCK_SPIN   3u /**< retire instructions until something ends the run or interrupts */
#define VMLIB_MOCK_FAIL   4u /**< the backend fails: run returns `code` */

/** One step of a script. */
struct vmlib_mock_step {
    uint32_t size; /**< sizeof of this struct; set by #VMLIB_MOCK_STEP_INIT */
    uint32_t action;
    uint64_t count;
    int32_t code; /**< negative */
    uint32_t reserved;
    struct vmlib_exit exit; /**< reason, insn_len (0: 1 byte) and union member count */
};
#define VMLIB_MOCK_STEP_INIT                                        \
    {                                                               \
        sizeof(struct vmlib_mock_step), 0, 0, 0, 0, VMLIB_EXIT_INIT \
    }

/* How a step of action EXIT or ACCESS ended: vmlib_mock_result.outcome */
#define VMLIB_MOCK_NOTHING   0u /**< none has ended yet */
#define VMLIB_MOCK_COMPLETED 1u /**< the instruction completed with the values in `exit` */
#define VMLIB_MOCK_FAULTED   2u /**< `event` was raised instead */

/** What the script's last finished step got for an answer, and what was delivered. */
struct vmlib_mock_result {
    uint32_t size; /**< sizeof of this struct, set by the caller */
    uint32_t outcome;
    uint64_t steps;           /**< finished so far */
    uint64_t delivered;       /**< interrupts and exceptions delivered so far */
    struct vmlib_event event; /**< the last one delivered */
    struct vmlib_exit exit;
};
#define VMLIB_MOCK_RESULT_INIT                                                       \
    {                                                                                \
        sizeof(struct vmlib_mock_result), 0, 0, 0, VMLIB_EVENT_INIT, VMLIB_EXIT_INIT \
    }

/* Calls of the backend that can be made to fail. */
#define VMLIB_MOCK_CALL_MEM_UPDATE  0u
#define VMLIB_MOCK_CALL_VCPU_CREATE 1u
#define VMLIB_MOCK_CALL_RUN         2u
#define VMLIB_MOCK_CALL_COMPLETE    3u
#define VMLIB_MOCK_CALL_GET_STATE   4u
#define VMLIB_MOCK_CALL_SET_STATE   5u
#define VMLIB_MOCK_CALL_INJECT      6u
#define VMLIB_MOCK_CALLS            7u

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Append steps to a vCPU's script.
 * @param steps Array of structs with the size that the first one says.
 * @retval VMLIB_E_INVAL an argument is NULL, a step is unknown, or the backend is not the mock.
 * @retval VMLIB_E_NOMEM out of memory.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_mock_script(vmlib_vcpu *vcpu, const struct vmlib_mock_step *steps,
                                uint32_t count);

/**
 * Read how the last step ended.
 * @param[in,out] result Caller sets `size`.
 * @retval VMLIB_E_INVAL an argument is NULL or has a wrong size, or the backend is not the mock.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_mock_result(vmlib_vcpu *vcpu, struct vmlib_mock_result *result);

/**
 * Let a later call of the backend fail once.
 * @param call VMLIB_MOCK_CALL_ constant.
 * @param after Number of calls that still succeed.
 * @param code What it then returns; 0 cancels an earlier request.
 * @retval VMLIB_E_INVAL vm is NULL, call is unknown, code is positive, or the backend is not the
 * mock.
 * @thread{any}
 */
VMLIB_API int vmlib_mock_fail(vmlib_vm *vm, uint32_t call, uint32_t after, int32_t code);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
