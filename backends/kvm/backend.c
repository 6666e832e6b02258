/* The KVM backend's table. */
#include "kvm/kvm.h"

/* What KVM offers whatever the host, AVX2 excepted. Answers must not depend on a VM. */
static uint32_t feature(uint32_t f)
{
    static const uint8_t answers[VMLIB_FEATURE_COUNT] = {
        [VMLIB_FEATURE_GUEST_CODE] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_REAL_MODE] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_LONG_MODE] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_SMP] = VMLIB_SUPPORT_NATIVE,
        /* Pages that KVM maps writable when they are read or executed count as written. */
        [VMLIB_FEATURE_DIRTY_LOG] = VMLIB_SUPPORT_APPROXIMATE,
        [VMLIB_FEATURE_PROT_WRITE] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_NMI] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_MSR_HANDLERS] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_PROT_READ] = VMLIB_SUPPORT_EMULATED,
        [VMLIB_FEATURE_SINGLE_STEP] = VMLIB_SUPPORT_EMULATED,
        /* While one is set, breakpoints that the guest has set do not fire. */
        [VMLIB_FEATURE_BREAKPOINTS] = VMLIB_SUPPORT_APPROXIMATE,
    };
    if (f == VMLIB_FEATURE_AVX2)
        return kvm_cpuid_avx2() ? VMLIB_SUPPORT_NATIVE : VMLIB_SUPPORT_REFUSED;
    return f < VMLIB_FEATURE_COUNT ? answers[f] : VMLIB_SUPPORT_REFUSED;
}

/* KVM tells the guest-physical address only: the linear one is found when the header is. */
static void describe_address(struct kvm_cpu *v)
{
    struct vmlib_exit *e = &v->owner->exit;
    if (e->reason == VMLIB_EXIT_MMIO)
        e->u.mmio.gva = kvm_trial_gva(v);
    else if (e->reason == VMLIB_EXIT_MEMORY_FAULT)
        e->u.memory_fault.gva = kvm_trial_gva(v);
}

static void describe(struct vmi_vcpu *vcpu)
{
    struct kvm_cpu *v = vcpu->impl;
    if (kvm_look(v, KVM_PART_REGS) != 0)
        return;
    kvm_describe_at(v, v->regs.rip);
    if (v->asking_mmio)
        describe_address(v);
}

/* Whoever sets state decides what comes next: answers of a half-done instruction are void. */
static int set_state(struct vmi_vcpu *vcpu, uint32_t groups, const struct vmlib_state *state)
{
    struct kvm_cpu *v = vcpu->impl;
    int rc = kvm_set_state(vcpu, groups, state);
    if (rc == 0 && v->dispatching) {
        v->touched |= groups;
    } else if (rc == 0) {
        v->emulate_next = v->delivering = false;
        kvm_emulate_forget(v);
    }
    return rc;
}

static int set_reg(struct vmi_vcpu *vcpu, uint32_t reg, uint64_t value)
{
    struct kvm_cpu *v = vcpu->impl;
    int rc = kvm_set_reg(vcpu, reg, value);
    if (rc == 0 && v->dispatching)
        v->touched |= reg <= VMLIB_REG_RFLAGS ? VMLIB_STATE_GPR : VMLIB_STATE_CONTROL;
    return rc;
}

/* KVM does not count instructions. */
static uint64_t instructions(struct vmi_vcpu *vcpu)
{
    (void)vcpu;
    return 0;
}

static int set_exception_exits(struct vmi_vcpu *vcpu, uint32_t mask)
{
    (void)vcpu;
    return mask == 0 ? 0 : vmi_error(VMLIB_E_UNSUPPORTED, "mask: KVM has no exception exits");
}

const struct vmi_backend vmi_backend_kvm = {
    .name = "kvm",
    .id = VMLIB_BACKEND_KVM,
    .max_vcpus = VMLIB_MAX_VCPUS,
    .phys_bits = 52,
    .create_probes = true,
    .probe = kvm_probe,
    .feature = feature,
    .vm_create = kvm_vm_create,
    .vm_destroy = kvm_vm_destroy,
    .mem_update = kvm_mem_update,
    .dirty_sync = kvm_dirty_sync,
    .host_wrote = kvm_host_wrote,
    .doorbell = kvm_doorbell,
    .vcpu_create = kvm_vcpu_create,
    .vcpu_destroy = kvm_vcpu_destroy,
    .run = kvm_vcpu_run,
    .complete = kvm_complete,
    .kick = kvm_kick,
    .describe = describe,
    .instructions = instructions,
    .get_state = kvm_get_state,
    .set_state = set_state,
    .get_reg = kvm_get_reg,
    .set_reg = set_reg,
    .inject = kvm_inject,
    .set_exception_exits = set_exception_exits,
    .set_breakpoints = kvm_set_breakpoints,
    .set_cpuid = kvm_set_cpuid,
    .get_cpuid = kvm_get_cpuid,
    .translate = kvm_translate,
    .cpl = kvm_cpl,
};
