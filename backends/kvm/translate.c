/* Walks and descriptions. */
#include "kvm/kvm.h"

void kvm_translate(struct vmi_vcpu *vcpu, uint64_t gva, uint32_t access, bool user,
                   struct vmlib_translation *t)
{
    (void)vcpu;
    (void)gva;
    (void)access;
    (void)user;
    t->fault = VMLIB_TRANSLATE_TABLE;
}

void kvm_describe_at(struct kvm_cpu *v, uint64_t rip)
{
    v->owner->exit.rip = rip;
}
