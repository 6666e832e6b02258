/* x */
#include "kvm/kvm.h"

int kvm_mem_update(struct vmi_vm *vm, const struct vmi_slot *slots, uint32_t n)
{
    (void)vm;
    (void)slots;
    (void)n;
    return vmi_error(VMLIB_E_UNSUPPORTED, "not yet");
}
void kvm_dirty_sync(struct vmi_vm *vm, const struct vmi_slot *slot, uint64_t first, uint64_t n,
                    bool rearm)
{
    (void)vm;
    (void)slot;
    (void)first;
    (void)n;
    (void)rearm;
}
void kvm_host_wrote(struct vmi_vm *vm, uint64_t gpa, uint64_t bytes)
{
    (void)vm;
    (void)gpa;
    (void)bytes;
}
