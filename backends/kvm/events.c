/* What stands between two instructions. */
#include "kvm/kvm.h"

int kvm_reset(struct kvm_cpu *v, bool init)
{
    (void)v;
    (void)init;
    return 0;
}

bool kvm_events_enter(struct kvm_cpu *v)
{
    if (!v->halted)
        return true;
    v->owner->exit.reason = VMLIB_EXIT_HLT;
    kvm_dispatch(v);
    return false;
}

int kvm_inject(struct vmi_vcpu *vcpu, const struct vmlib_event *event)
{
    (void)vcpu;
    (void)event;
    return vmi_error(VMLIB_E_UNSUPPORTED, "not yet");
}

void kvm_events_get(struct kvm_cpu *v, struct vmlib_events *o)
{
    (void)v;
    (void)o;
}

int kvm_events_set(struct kvm_cpu *v, const struct vmlib_events *e)
{
    (void)v;
    (void)e;
    return 0;
}
