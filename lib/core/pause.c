/*
 * Holding all vCPUs outside the guest while the memory map or the hook table changes.
 *
 * A vCPU counts as outside while it is not in run, sleeps in HLT, or executes a function of the
 * host program. So a handler may change the VM, and may wait for a lock that another vCPU's handler
 * holds, without a deadlock.
 */
#include "base/clock.h"
#include "core/internal.h"

void vmi_pause_begin(struct vmlib_vm *vm)
{
    atomic_fetch_or(&vm->attention, VMI_ATTN_PAUSE);
    for (uint32_t i = 0; i < VMLIB_MAX_VCPUS; i++) {
        struct vmlib_vcpu *vcpu = vm->vcpus[i];
        if (vcpu == NULL || atomic_load(&vcpu->in_guest) == 0) {
            continue;
        }
        atomic_fetch_or(&vcpu->pub.poll, VMI_POLL_PAUSE);
        vm->pub.backend->kick(&vcpu->pub);
        for (unsigned attempt = 0; atomic_load(&vcpu->in_guest) != 0; attempt++) {
            vmi_clock_relax(attempt);
        }
    }
}

void vmi_pause_end(struct vmlib_vm *vm)
{
    pthread_mutex_lock(&vm->pause_lock);
    atomic_fetch_and(&vm->attention, ~VMI_ATTN_PAUSE);
    pthread_cond_broadcast(&vm->pause_cond);
    pthread_mutex_unlock(&vm->pause_lock);
}

/* vcpu->in_guest is set, and attention was not zero when we looked. */
void vmi_guest_enter_slow(struct vmlib_vcpu *vcpu)
{
    struct vmlib_vm *vm = vcpu->vm;
    for (;;) {
        uint32_t attention = atomic_load(&vm->attention);
        if ((attention & VMI_ATTN_PAUSE) == 0 && (attention & VMI_ATTN_ZOMBIES) == 0) {
            return;
        }
        vmi_guest_leave(vcpu);
        if (attention & VMI_ATTN_ZOMBIES) {
            vmi_hook_reap(vm);
        }
        pthread_mutex_lock(&vm->pause_lock);
        while (atomic_load(&vm->attention) & VMI_ATTN_PAUSE) {
            pthread_cond_wait(&vm->pause_cond, &vm->pause_lock);
        }
        pthread_mutex_unlock(&vm->pause_lock);
        atomic_fetch_and(&vcpu->pub.poll, ~VMI_POLL_PAUSE);
        atomic_store(&vcpu->in_guest, 1);
        if ((atomic_load(&vm->attention) & VMI_ATTN_PAUSE) == 0) {
            return;
        }
    }
}
