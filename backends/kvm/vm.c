/* x */
#include "kvm/kvm.h"

int kvm_vm_create(struct vmi_vm *vm)
{
    (void)vm;
    return vmi_error(VMLIB_E_UNSUPPORTED, "not yet");
}
void kvm_vm_destroy(struct vmi_vm *vm)
{
    (void)vm;
}
int kvm_vcpu_create(struct vmi_vcpu *vcpu, bool wait_sipi, const struct vmlib_cpuid_leaf *model,
                    uint32_t n)
{
    (void)vcpu;
    (void)wait_sipi;
    (void)model;
    (void)n;
    return vmi_error(VMLIB_E_UNSUPPORTED, "not yet");
}
void kvm_vcpu_destroy(struct vmi_vcpu *vcpu)
{
    (void)vcpu;
}
