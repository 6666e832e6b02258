/* Register groups, from and to the API's form. */
#include "kvm/kvm.h"

int kvm_get_state(struct vmi_vcpu *vcpu, uint32_t groups, struct vmlib_state *state)
{
    (void)vcpu;
    (void)groups;
    (void)state;
    return vmi_error(VMLIB_E_UNSUPPORTED, "not yet");
}

int kvm_set_state(struct vmi_vcpu *vcpu, uint32_t groups, const struct vmlib_state *state)
{
    (void)vcpu;
    (void)groups;
    (void)state;
    return vmi_error(VMLIB_E_UNSUPPORTED, "not yet");
}

int kvm_get_reg(struct vmi_vcpu *vcpu, uint32_t reg, uint64_t *value)
{
    (void)vcpu;
    (void)reg;
    (void)value;
    return VMLIB_E_UNSUPPORTED;
}

int kvm_set_reg(struct vmi_vcpu *vcpu, uint32_t reg, uint64_t value)
{
    (void)vcpu;
    (void)reg;
    (void)value;
    return VMLIB_E_UNSUPPORTED;
}

unsigned kvm_cpl(struct vmi_vcpu *vcpu)
{
    (void)vcpu;
    return 0;
}
