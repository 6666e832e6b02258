/* Looking at the guest without running it: lib/x86 walks a copy of the state. */
#include "kvm/kvm.h"
#include "state/state.h"

/* Not KVM_TRANSLATE: that one does not say why there is no translation. */
void kvm_translate(struct vmi_vcpu *vcpu, uint64_t gva, uint32_t access, bool user,
                   struct vmlib_translation *t)
{
    struct x86_cpu *cpu = kvm_shadow(kvm_cpu_of(vcpu), KVM_WALK);
    if (cpu)
        vmi_translate(cpu, gva, access, user, t);
    else
        t->fault = VMLIB_TRANSLATE_TABLE;
}

void kvm_describe_at(struct kvm_cpu *v, uint64_t rip)
{
    struct x86_cpu *cpu = kvm_shadow(v, KVM_WALK);
    if (!cpu)
        return;
    uint64_t now = cpu->rip;
    cpu->rip = rip;
    vmi_describe(cpu, &v->owner->exit);
    cpu->rip = now;
}
