/* The CPU model. */
#include "kvm/kvm.h"

int kvm_cpuid_vm(struct kvm_machine *vm)
{
    (void)vm;
    return 0;
}

void kvm_cpuid_vm_destroy(struct kvm_machine *vm)
{
    (void)vm;
}

int kvm_cpuid_init(struct kvm_cpu *v, const struct vmlib_cpuid_leaf *model, uint32_t n)
{
    (void)v;
    (void)model;
    (void)n;
    return 0;
}

void kvm_cpuid_destroy(struct kvm_cpu *v)
{
    (void)v;
}

int kvm_set_cpuid(struct vmi_vcpu *vcpu, const struct vmlib_cpuid_leaf *model, uint32_t n)
{
    (void)vcpu;
    (void)model;
    (void)n;
    return 0;
}

uint32_t kvm_get_cpuid(struct vmi_vcpu *vcpu, struct vmlib_cpuid_leaf *model)
{
    (void)vcpu;
    (void)model;
    return 0;
}
