/* x */
#include "kvm/kvm.h"

int kvm_complete(struct vmi_vcpu *vcpu, bool fault)
{
    (void)vcpu;
    (void)fault;
    return vmi_error(VMLIB_E_UNSUPPORTED, "not yet");
}
int kvm_settle(struct kvm_cpu *v)
{
    (void)v;
    return vmi_error(VMLIB_E_UNSUPPORTED, "not yet");
}
int kvm_undo(struct kvm_cpu *v)
{
    (void)v;
    return vmi_error(VMLIB_E_UNSUPPORTED, "not yet");
}
