/*
 * Registers, system registers and events: what the API shows, and what goes back to the kernel.
 *
 * With KVM_CAP_SYNC_REGS the general registers travel in the page that KVM_RUN shares anyway (KVM
 * API 5, kvm_valid_regs); system registers and events cost a call and are fetched when somebody
 * looks.
 */
#include <string.h>

#include "kvm/kvm.h"

static bool synced(const struct kvm_cpu *v, uint32_t what)
{
    return v->run->kvm_valid_regs & what && v->page_fresh;
}

/* Filling system registers in costs KVM something at every exit: it is asked to while somebody has
 * looked at them lately. */
#define SREGS_RUNS 16

static int fetch_sregs(struct kvm_cpu *v)
{
    v->sregs_wanted = SREGS_RUNS;
    if (synced(v, KVM_SYNC_X86_SREGS))
        v->sregs = v->run->s.regs.sregs;
    else if (kvm_ioctl(v->fd, KVM_GET_SREGS, &v->sregs) < 0)
        return kvm_failed("KVM_GET_SREGS");
    return 0;
}

void kvm_choose_page(struct kvm_cpu *v)
{
    uint32_t wanted = KVM_SYNC_X86_REGS;
    if (v->sregs_wanted != 0) {
        v->sregs_wanted--;
        wanted |= KVM_SYNC_X86_SREGS;
    }
    v->run->kvm_valid_regs = wanted & v->vm->caps.sync_regs;
}

static int fetch(struct kvm_cpu *v, uint32_t parts)
{
    if (parts & KVM_PART_REGS) {
        if (synced(v, KVM_SYNC_X86_REGS))
            v->regs = v->run->s.regs.regs;
        else if (kvm_ioctl(v->fd, KVM_GET_REGS, &v->regs) < 0)
            return kvm_failed("KVM_GET_REGS");
        /* The CPU sets RF where it left an instruction to be repeated (SDM Vol.3C 28.3.3): that is
         * nothing the guest has done. */
        if (v->in_access)
            v->regs.rflags &= ~UINT64_C(0x10000);
    }
    if (parts & KVM_PART_SREGS) {
        int rc = fetch_sregs(v);
        if (rc != 0)
            return rc;
    }
    if (parts & KVM_PART_EVENTS && kvm_ioctl(v->fd, KVM_GET_VCPU_EVENTS, &v->events) < 0)
        return kvm_failed("KVM_GET_VCPU_EVENTS");
    v->valid |= parts;
    return 0;
}

int kvm_look(struct kvm_cpu *v, uint32_t parts)
{
    int rc = 0;
    if (v->open == KVM_OPEN_WRITE && !v->before) {
        rc = v->dispatching ? kvm_find_before(v) : kvm_settle(v);
        if (rc != 0)
            return rc;
    }
    uint32_t missing = parts & ~v->valid;
    return missing != 0 ? fetch(v, missing) : 0;
}

/* An interrupt on its way travels with the events; here it would be queued a second time. */
static int put_sregs(struct kvm_cpu *v)
{
    memset(v->sregs.interrupt_bitmap, 0, sizeof(v->sregs.interrupt_bitmap));
    v->page_fresh = false;
    return kvm_ioctl(v->fd, KVM_SET_SREGS, &v->sregs) < 0 ? kvm_failed("KVM_SET_SREGS") : 0;
}

/* KVM_SET_REGS drops an exception that is pending: events go after it, and registers by a call of
 * their own when events follow. */
static int put_regs(struct kvm_cpu *v)
{
    if (v->run->kvm_valid_regs & KVM_SYNC_X86_REGS && !(v->dirty & KVM_PART_EVENTS)) {
        v->run->s.regs.regs = v->regs;
        v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
        return 0;
    }
    v->page_fresh = false;
    v->run->kvm_dirty_regs = 0; /* an earlier flush may have left older values there */
    return kvm_ioctl(v->fd, KVM_SET_REGS, &v->regs) < 0 ? kvm_failed("KVM_SET_REGS") : 0;
}

int kvm_flush(struct kvm_cpu *v)
{
    int rc = 0;
    if (v->dirty & KVM_PART_SREGS)
        rc = put_sregs(v);
    if (rc == 0 && v->dirty & KVM_PART_REGS)
        rc = put_regs(v);
    if (rc == 0 && v->dirty & KVM_PART_EVENTS &&
        kvm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &v->events) < 0)
        rc = kvm_failed("KVM_SET_VCPU_EVENTS");
    if (rc == 0)
        v->dirty = 0;
    return rc;
}
