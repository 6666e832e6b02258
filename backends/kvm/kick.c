/* x */
#include "kvm/kvm.h"

void kvm_kick(struct vmi_vcpu *vcpu)
{
    (void)vcpu;
}
