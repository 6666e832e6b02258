/* The mock backend's objects. */
#ifndef VMI_MOCK_H
#define VMI_MOCK_H

#include <vmlib/mock.h>

#include "backend.h"

struct vmi_mock_vm {
    _Atomic uint32_t after[VMLIB_MOCK_CALLS];
    _Atomic int32_t code[VMLIB_MOCK_CALLS];
};

struct vmi_mock_vcpu {
    struct vmlib_state state; /* all groups */
    uint64_t instructions;
    bool ignored_kick; /* spurious interrupt: do not ask again in this run */
    struct vmlib_mock_step *script;
    uint32_t head, count, room;
    struct vmlib_mock_result result;
    struct vmlib_cpuid_leaf cpuid[VMLIB_CPUID_MAX];
    uint32_t ncpuid;
    uint32_t exception_mask;
    uint8_t insn_len; /* of the instruction in progress; 0: between instructions */
};

/* 0, or the failure that the host has asked for. */
int vmi_mock_injected_failure(struct vmi_vm *vm, uint32_t call);
int vmi_mock_run(struct vmi_vcpu *vcpu);
int vmi_mock_complete(struct vmi_vcpu *vcpu, bool fault);

#endif
