/* Doorbells as eventfds in the kernel: KVM API 4.59, KVM_IOEVENTFD. */
#include "kvm/kvm.h"

int kvm_doorbell(struct vmi_vm *owner, const struct vmi_bell *bell, bool on)
{
    const struct kvm_machine *vm = kvm_machine_of(owner);
    struct kvm_ioeventfd e = {
        .datamatch = bell->value,
        .addr = bell->address,
        .len = bell->width,
        .fd = bell->fd,
        .flags = (bell->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0u) |
                 (bell->kind == VMLIB_DOORBELL_PIO ? KVM_IOEVENTFD_FLAG_PIO : 0u) |
                 (on ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };
    if (!vm->caps.ioeventfd || kvm_ioctl(vm->fd, KVM_IOEVENTFD, &e) < 0)
        return VMLIB_E_UNSUPPORTED; /* no eventfd, or no room: core rings it */
    return 0;
}
