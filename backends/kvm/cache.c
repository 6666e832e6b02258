/* x */
#include "kvm/kvm.h"

int kvm_look(struct kvm_cpu *v, uint32_t parts)
{
    (void)v;
    (void)parts;
    return vmi_error(VMLIB_E_UNSUPPORTED, "not yet");
}
int kvm_flush(struct kvm_cpu *v)
{
    (void)v;
    return vmi_error(VMLIB_E_UNSUPPORTED, "not yet");
}
