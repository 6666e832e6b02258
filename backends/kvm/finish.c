/*
 * What happens with an instruction that KVM has left half done: settle it, find the state before
 * it, take it back, complete it.
 *
 * KVM finishes an access in the next KVM_RUN (KVM API 5, note at KVM_EXIT_MMIO). With
 * immediate_exit set that KVM_RUN finishes and does nothing else. While a read is open, the kernel
 * shows the state before the instruction. While a write is open, it depends on the path inside the
 * kernel: sometimes rip has moved on already. The contract wants records to describe the
 * instruction as it began, so when somebody looks, the write is settled and the state before is
 * found: it is the one that differs from the settled one, or else one from which lib/x86 makes
 * exactly this write and arrives at the settled state.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/kvm.h"
#include "state/state.h"

/* An instruction makes at most some dozen accesses; more than this is no progress. */
#define MAX_ACCESSES 256

int kvm_settle(struct kvm_cpu *v)
{
    int rc = v->dirty != 0 ? kvm_flush(v) : 0;
    if (rc != 0)
        return rc;
    v->open = KVM_OPEN_NONE;
    v->lazy = false;
    kvm_forget(v);
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    rc = ioctl(v->fd, KVM_RUN, 0ul);
    v->page_fresh = true;
    if (rc == 0) {
        uint32_t reason = v->run->exit_reason;
        v->unread = true;
        if (reason == KVM_EXIT_IO)
            v->open = v->run->io.direction == KVM_EXIT_IO_OUT ? KVM_OPEN_WRITE : KVM_OPEN_READ;
        else if (reason == KVM_EXIT_MMIO)
            v->open = v->run->mmio.is_write ? KVM_OPEN_WRITE : KVM_OPEN_READ;
        return 0;
    }
    v->after_read = false;
    if (errno == EINTR || errno == EAGAIN)
        return 0;
    v->page_fresh = false;
    return kvm_failed("KVM_RUN");
}

/* --- the state before a write --- */

/* One further write of the instruction: keep it for its own record. False: it is a read. */
static bool queue_write(struct kvm_cpu *v)
{
    const struct kvm_run *run = v->run;
    struct kvm_access a = {.exit = run->exit_reason, .write = true};
    if (v->open != KVM_OPEN_WRITE || v->queued == KVM_QUEUE)
        return false;
    if (a.exit == KVM_EXIT_MMIO) {
        a.addr = run->mmio.phys_addr;
        a.width = (uint8_t)(run->mmio.len < 8 ? run->mmio.len : 8);
        memcpy(&a.value, run->mmio.data, a.width);
    } else if (run->io.count == 1) {
        a.addr = run->io.port;
        a.width = run->io.size < 4 ? run->io.size : 4;
        memcpy(&a.value, (const uint8_t *)run + run->io.data_offset, a.width);
    } else {
        return false;
    }
    v->queue[v->queued++] = a;
    v->unread = false;
    return true;
}

static bool is_rex(const struct kvm_cpu *v, uint8_t byte)
{
    /* IN and OUT do without: there it is rather the end of the instruction before. */
    return v->access.exit == KVM_EXIT_MMIO && v->sregs.cs.l && (byte & 0xf0) == 0x40;
}

/* How stores move registers other than rip: index registers and the count of string instructions,
 * the stack pointer. */
struct move {
    int8_t rsi, rdi, rcx, rsp; /* in elements */
};
static const struct move moves[] = {
    {0, 0, 0, 0}, {0, 1, 0, 0}, {0, 1, 1, 0}, {1, 1, 0, 0},  {1, 1, 1, 0},
    {1, 0, 0, 0}, {1, 0, 1, 0}, {0, 0, 0, 1}, {0, 0, 0, -1},
};

static void unmove(struct kvm_regs *r, const struct move *m, unsigned width)
{
    uint64_t step = r->rflags & 0x400 ? -(uint64_t)width : width;
    r->rsi -= m->rsi ? step : 0;
    r->rdi -= m->rdi ? step : 0;
    r->rcx += m->rcx ? 1 : 0;
    r->rsp += m->rsp > 0 ? width : m->rsp < 0 ? -(uint64_t)width : 0;
}

/* The instruction that ends at after->rip and makes this write. Shorter ones are right, unless one
 * more byte in front is a REX prefix or the REP of a string instruction. */
static bool search(struct kvm_cpu *v, const struct kvm_regs *after, struct kvm_regs *found)
{
    bool any = false;
    for (unsigned m = 0; m < sizeof(moves) / sizeof(moves[0]) && !any; m++) {
        for (unsigned len = moves[m].rcx ? 0 : 1; len <= 15; len++) {
            struct kvm_regs r = *after;
            unmove(&r, &moves[m], v->access.width);
            r.rip -= len;
            struct kvm_trial t;
            if (!kvm_trial(v, &r, after, &t))
                continue;
            if (any && !is_rex(v, t.first) && !(t.rep && (t.first & 0xfe) == 0xf2))
                continue;
            *found = r;
            any = true;
            if (len == 0)
                break;
        }
    }
    return any;
}

/* Could an OUT or OUTS end at rip? Its last bytes are the opcode, or the opcode and a port. Without
 * this, each OUT that the CPU leaves before it has moved on would cost a search that finds nothing.
 */
static bool may_end_here(struct kvm_cpu *v, uint64_t rip)
{
    uint8_t b[2];
    struct x86_cpu *cpu = kvm_shadow(v, KVM_WALK);
    if (cpu == NULL || vmi_code_at(cpu, rip - 2, b, 2) != 2)
        return true;
    return (b[1] & 0xfe) == 0xee || (b[1] & 0xfe) == 0x6e || (b[0] & 0xfe) == 0xe6;
}

/* OUT writes no register, so one look tells where it is: at rip, or just before it. When both or
 * none make this write, the kernel has to be asked to finish it. */
static bool find_out(struct kvm_cpu *v, const struct kvm_regs *now)
{
    struct kvm_regs found;
    struct kvm_trial t;
    if (v->access.exit != KVM_EXIT_IO || kvm_look(v, KVM_PART_SREGS) != 0 ||
        kvm_trial_begin(v, false) != 0)
        return false;
    bool here = kvm_trial(v, now, NULL, &t);
    bool behind = (!here || may_end_here(v, now->rip)) && search(v, now, &found);
    if (here == behind || (behind && found.rip == now->rip))
        return false;
    v->regs = v->shown = here ? *now : found;
    v->dirty &= ~KVM_PART_REGS;
    v->lazy = v->before = true;
    return true;
}

int kvm_find_before(struct kvm_cpu *v)
{
    struct kvm_regs first, found;
    bool ended = false;
    v->open = KVM_OPEN_NONE; /* for the nested looks: plain state of the kernel */
    int rc = kvm_look(v, KVM_PART_REGS);
    if (rc != 0)
        return rc;
    first = v->regs;
    bool found_out = find_out(v, &first);
    v->open = KVM_OPEN_WRITE;
    if (found_out)
        return 0;
    do {
        rc = kvm_settle(v);
    } while (rc == 0 && v->unread && queue_write(v));
    if (rc == 0)
        rc = kvm_look(v, KVM_PART_REGS | KVM_PART_SREGS);
    if (rc != 0)
        return rc;
    found = first;
    v->after = v->regs;
    if (first.rip == v->regs.rip) {
        bool there = false;
        for (unsigned vectors = 0; rc == 0 && !there && vectors < 2; vectors++) {
            struct kvm_trial t;
            rc = kvm_trial_begin(v, vectors != 0);
            if (rc == 0 && v->read_regs_valid && kvm_trial(v, &v->read_regs, &v->after, &t)) {
                found = v->read_regs;
                there = true;
            } else if (rc == 0) {
                there = search(v, &v->after, &found);
            }
        }
        if (rc != 0)
            return rc;
        if (found.rip == v->after.rip) {
            rc = kvm_trial_end_rep(v);
            if (rc != 0)
                return rc;
            v->after = v->regs;
            ended = v->dirty & KVM_PART_REGS;
        }
    }
    v->dirty &= ~KVM_PART_REGS; /* of what a handler sets from here on */
    v->after_dirty = ended;
    v->regs = v->shown = found;
    v->before = true;
    return 0;
}

/* An OUT that has been looked at but not settled. Nothing has been set: the next KVM_RUN does it.
 */
static void settle_out(struct kvm_cpu *v)
{
    bool changed = v->dirty & KVM_PART_REGS;
    struct kvm_regs now = v->regs;
    if (!changed) {
        v->valid &= ~KVM_PART_REGS;
        return;
    }
    v->dirty &= ~KVM_PART_REGS;
    v->before = false;
    int rc = kvm_settle(v);
    if (rc == 0)
        rc = kvm_look(v, KVM_PART_REGS);
    v->error = rc;
    v->after = v->regs;
    v->after_dirty = false;
    v->regs = now;
    v->valid |= KVM_PART_REGS;
    v->dirty |= KVM_PART_REGS;
}

void kvm_keep_write(struct kvm_cpu *v)
{
    if (v->lazy) {
        settle_out(v);
        if (v->lazy) {
            v->before = false;
            return;
        }
    }
    v->before = false;
    if (v->queued != 0) { /* the next record of the instruction shows the same */
        v->before = true;
        return;
    }
    bool changed = v->dirty & KVM_PART_REGS;
    uint64_t *now = (uint64_t *)&v->regs;
    const uint64_t *shown = (const uint64_t *)&v->shown, *after = (const uint64_t *)&v->after;
    /* What the handler has set is in force; what the instruction adds comes on top. */
    for (size_t i = 0; i < sizeof(v->regs) / sizeof(uint64_t); i++) {
        bool its = changed && now[i] != shown[i];
        now[i] = its ? now[i] + (after[i] - shown[i]) : after[i];
    }
    if (v->after_dirty)
        v->dirty |= KVM_PART_REGS;
}

/* --- taking it back --- */

/* A read that the kernel insists on finishing: with an address space in which nothing can be
 * written, so that the instruction's own store ends in a page fault, which is dropped. */
static int abandon_read(struct kvm_cpu *v)
{
    const enum kvm_open open = v->open;
    int rc = kvm_look(v, KVM_PART_ALL);
    if (rc != 0)
        return rc;
    struct kvm_regs regs = v->regs;
    struct kvm_sregs sregs = v->sregs;
    struct kvm_vcpu_events events = v->events;
    v->dirty = 0;
    if (v->access.exit == KVM_EXIT_MMIO || v->run->io.count != 1) {
        v->sregs.cr0 |= 0x80000001u;
        v->sregs.cr3 = (UINT64_C(1) << v->owner->vm->phys_bits) - 4096;
        if (!(v->sregs.efer & 0x400)) {
            v->sregs.efer &= ~UINT64_C(0x100);
            v->sregs.cr4 &= ~UINT64_C(0x20020);
        }
        v->dirty = KVM_PART_SREGS;
    } else if (v->access.exit == KVM_EXIT_X86_RDMSR || v->access.exit == KVM_EXIT_X86_WRMSR) {
        v->run->msr.error = 1;
    }
    v->open = open;
    unsigned n = 0;
    do {
        v->unread = false;
        rc = kvm_settle(v);
    } while (rc == 0 && v->unread && ++n < MAX_ACCESSES);
    v->unread = false;
    v->open = KVM_OPEN_NONE;
    v->regs = regs;
    v->sregs = sregs;
    v->events = events;
    v->valid = v->dirty = KVM_PART_ALL;
    return rc;
}

int kvm_undo(struct kvm_cpu *v)
{
    if (v->open == KVM_OPEN_READ)
        return abandon_read(v);
    if (v->open == KVM_OPEN_WRITE) {
        bool dispatching = v->dispatching;
        v->dispatching = true;
        int rc = kvm_look(v, KVM_PART_REGS);
        v->dispatching = dispatching;
        if (rc != 0)
            return rc;
    }
    if (v->before) {
        struct kvm_regs regs = v->regs;
        v->before = false;
        if (v->lazy) {
            v->dirty &= ~KVM_PART_REGS;
            int rc = kvm_settle(v);
            if (rc != 0)
                return rc;
            v->regs = regs;
            v->valid |= KVM_PART_REGS;
        }
        v->dirty |= KVM_PART_REGS;
    }
    if (v->unread && v->open == KVM_OPEN_READ)
        return abandon_read(v);
    v->queued = 0;
    v->unread = false;
    return 0;
}

/* --- to the end --- */

/* Every access of the instruction in progress, then its end. */
void kvm_finish(struct kvm_cpu *v)
{
    for (unsigned n = 0; n < MAX_ACCESSES && v->error == 0; n++) {
        if (v->queued != 0) {
            (void)kvm_serve_queue(v);
        } else if (v->unread) {
            (void)kvm_exit(v);
        } else if (v->open == KVM_OPEN_WRITE && !v->lazy) {
            int rc = kvm_settle(v);
            if (rc != 0)
                v->error = rc;
        } else {
            return;
        }
    }
}

void kvm_answer(struct kvm_cpu *v)
{
    const struct vmlib_exit *e = &v->owner->exit;
    struct kvm_run *run = v->run;
    switch (v->access.exit) {
    case KVM_EXIT_IO:
        memcpy((uint8_t *)run + run->io.data_offset, &e->u.pio.value, v->access.width);
        v->read[0].value = e->u.pio.value;
        break;
    case KVM_EXIT_MMIO:
        memcpy(run->mmio.data, &e->u.mmio.value, v->access.width);
        v->read[0].value = e->u.mmio.value;
        break;
    default:
        run->msr.data = e->u.msr.value;
        run->msr.error = 0;
        break;
    }
    v->after_read = true;
    v->open = KVM_OPEN_WRITE;
}

/* KVM writes the flags of REP CMPS and SCAS only at the end of all elements, and stays at a REP
 * whose count has run out: strings of memory reads go to lib/x86. */
static int complete(struct kvm_cpu *v)
{
    bool string = v->access.exit == KVM_EXIT_MMIO && kvm_at_rep(v);
    kvm_answer(v);
    if (string) {
        v->open = KVM_OPEN_READ;
        int rc = kvm_undo(v);
        if (rc != 0)
            return rc;
        if (kvm_emulate_seed(v))
            (void)kvm_emulate(v);
        return v->error;
    }
    kvm_finish(v);
    if (v->emulate_next && v->error == 0)
        (void)kvm_emulate(v); /* KVM has given up after the reads */
    int rc = v->error;
    if (rc == 0 && v->open == KVM_OPEN_NONE && (rc = kvm_look(v, KVM_PART_REGS)) == 0 &&
        v->regs.rip == v->entry_rip)
        rc = kvm_trial_end_rep(v);
    return rc;
}

int kvm_complete(struct vmi_vcpu *owner, bool fault)
{
    struct kvm_cpu *v = owner->impl;
    owner->retired = 0;
    v->error = 0;
    v->leave = true;
    if (v->open == KVM_OPEN_EMULATE)
        return kvm_emulate_complete(v, fault);
    int rc = kvm_kick_enter(v); /* the settling KVM_RUN must not meet an unblocked signal */
    if (rc != 0)
        return rc;
    if (fault) {
        struct vmlib_event event = owner->exit.inject;
        rc = kvm_undo(v);
        if (rc == 0)
            rc = kvm_inject(owner, &event);
    } else {
        rc = complete(v);
    }
    kvm_kick_leave(v);
    return rc;
}
