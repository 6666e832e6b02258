/* x */
#include "kvm/kvm.h"

enum vmi_verdict kvm_dispatch(struct kvm_cpu *v)
{
    return vmi_exit_dispatch(v->owner);
}
bool kvm_exit(struct kvm_cpu *v)
{
    (void)v;
    return false;
}
bool kvm_internal(struct kvm_cpu *v, uint32_t code, const char *text)
{
    (void)v;
    (void)code;
    (void)text;
    return false;
}
