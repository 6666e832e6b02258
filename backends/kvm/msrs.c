/* MSRs: lists, filter, policy. */
#include "kvm/kvm.h"

int kvm_msrs_vm(struct kvm_machine *vm)
{
    (void)vm;
    return 0;
}

void kvm_msrs_vm_destroy(struct kvm_machine *vm)
{
    (void)vm;
}

int kvm_msrs_enter(struct kvm_cpu *v)
{
    (void)v;
    return 0;
}

bool kvm_msr_known(struct kvm_cpu *v, uint32_t index)
{
    (void)v;
    (void)index;
    return false;
}

int kvm_msr_read(struct kvm_cpu *v, uint32_t index, uint64_t *value)
{
    (void)v;
    (void)index;
    (void)value;
    return -1;
}

int kvm_msr_write(struct kvm_cpu *v, uint32_t index, uint64_t value)
{
    (void)v;
    (void)index;
    (void)value;
    return -1;
}

int kvm_get_msrs(struct kvm_cpu *v, struct vmlib_msrs *m)
{
    (void)v;
    (void)m;
    return 0;
}

int kvm_set_msrs(struct kvm_cpu *v, const struct vmlib_msrs *m)
{
    (void)v;
    (void)m;
    return 0;
}
