/* x */
#include "kvm/kvm.h"

struct x86_cpu *kvm_shadow(struct kvm_cpu *v, uint32_t groups)
{
    (void)v;
    (void)groups;
    return NULL;
}

bool kvm_emulate(struct kvm_cpu *v)
{
    return kvm_internal(v, 0, "cannot emulate");
}
