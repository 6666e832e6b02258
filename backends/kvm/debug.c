/* Single step and breakpoints. */
#include "kvm/kvm.h"

int kvm_set_breakpoints(struct vmi_vcpu *vcpu, const struct vmlib_breakpoint bp[VMLIB_BREAKPOINTS])
{
    (void)vcpu;
    (void)bp;
    return 0;
}

bool kvm_debug_enter(struct kvm_cpu *v)
{
    (void)v;
    return true;
}

bool kvm_debug_exit(struct kvm_cpu *v)
{
    return kvm_internal(v, KVM_EXIT_DEBUG, "unexpected debug exit");
}
