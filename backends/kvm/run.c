/* x */
#include "kvm/kvm.h"

int kvm_vcpu_run(struct vmi_vcpu *vcpu)
{
    (void)vcpu;
    return vmi_error(VMLIB_E_UNSUPPORTED, "not yet");
}
