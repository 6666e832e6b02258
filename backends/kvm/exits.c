/* What KVM_RUN came back with: KVM API 5, struct kvm_run, exit_reason. */
#include <stdio.h>
#include <string.h>

#include "kvm/kvm.h"

enum vmi_verdict kvm_dispatch(struct kvm_cpu *v)
{
    v->dispatching = true;
    v->touched = 0;
    v->owner->exit.flags = 0;
    enum vmi_verdict verdict = vmi_exit_dispatch(v->owner);
    v->dispatching = false;
    return verdict;
}

/* --- what a verdict means for an access that the kernel waits for --- */

static bool event_instead(struct kvm_cpu *v)
{
    struct vmlib_event event = v->owner->exit.inject;
    int rc = kvm_undo(v);
    if (rc == 0)
        rc = kvm_inject(v->owner, &event);
    v->error = rc;
    return rc == 0;
}

/* The handler has put rip elsewhere: the instruction has no further effect. */
static bool go_elsewhere(struct kvm_cpu *v)
{
    v->error = kvm_undo(v);
    return v->error == 0;
}

/* A handler has changed registers during a read whose instruction the kernel has not finished. */
static bool moved_by_handler(struct kvm_cpu *v, uint64_t rip)
{
    return v->touched & VMLIB_STATE_GPR && v->regs.rip != rip;
}

/* KVM loses what an instruction writes to a register when registers are set in its middle. */
static bool go_on_in_x86(struct kvm_cpu *v)
{
    v->error = kvm_undo(v);
    if (v->error != 0)
        return false;
    v->emulate_next = true;
    return kvm_emulate_seed(v);
}

/* After a dispatch. The value, if any, is already where the kernel looks for it. */
static bool obey(struct kvm_cpu *v, enum vmi_verdict verdict, uint64_t rip)
{
    switch (verdict) {
    case VMI_GO_LEAVE:
        v->leave = true;
        /* fall through */
    case VMI_GO:
    case VMI_NONE:
        if (__builtin_expect(v->touched != 0, 0)) {
            if (moved_by_handler(v, rip))
                return go_elsewhere(v);
            if (v->open == KVM_OPEN_READ)
                return go_on_in_x86(v);
        }
        if (v->before)
            kvm_keep_write(v);
        if (v->open == KVM_OPEN_READ) {
            v->open = KVM_OPEN_WRITE; /* answered: nothing is left to hand over */
            v->after_read = true;
        }
        return true;
    case VMI_INJECT:
        return event_instead(v);
    default:
        if (v->owner->exit.flags & VMLIB_EXIT_F_PENDING)
            return false;      /* stays open for kvm_complete() */
        (void)go_elsewhere(v); /* a handler's error, or forbidden memory: as if it had not begun */
        return false;
    }
}

/* rip that a handler finds, if it looks. */
static uint64_t found_rip(const struct kvm_cpu *v)
{
    return v->before ? v->shown.rip : v->entry_rip;
}

/* A read: remember where it happened, when that costs nothing. */
static void begin_read(struct kvm_cpu *v)
{
    v->open = KVM_OPEN_READ;
    memmove(v->read + 1, v->read, sizeof(v->read) - sizeof(v->read[0]));
    v->read[0] = v->access;
    v->read_regs_valid = v->run->kvm_valid_regs & KVM_SYNC_X86_REGS && v->page_fresh;
    if (v->read_regs_valid) {
        v->read_regs = v->run->s.regs.regs;
        v->entry_rip = v->read_regs.rip;
    } else if (kvm_look(v, KVM_PART_REGS) == 0) {
        v->read_regs = v->regs;
        v->read_regs_valid = true;
        v->entry_rip = v->regs.rip;
    }
}

/* --- ports --- */

static bool pio(struct kvm_cpu *v)
{
    struct kvm_run *run = v->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    unsigned width = run->io.size;
    bool write = run->io.direction == KVM_EXIT_IO_OUT;
    uint32_t value = 0;
    v->access = (struct kvm_access){
        .addr = run->io.port, .exit = KVM_EXIT_IO, .width = (uint8_t)width, .write = write};
    if (width > 4 || run->io.count == 0)
        return kvm_internal(v, KVM_EXIT_IO, "KVM reported a port access of no known form");
    if (run->io.count != 1) {
        /* Several elements of a string at once: one record each, with the state between them. */
        v->open = write ? KVM_OPEN_WRITE : KVM_OPEN_READ;
        v->emulate_next = true;
        v->error = kvm_undo(v);
        return v->error == 0;
    }
    if (write) {
        memcpy(&value, data, width);
        v->access.value = value;
        v->open = KVM_OPEN_WRITE;
    } else {
        begin_read(v);
    }
    v->dispatching = true;
    v->touched = 0;
    v->owner->exit.flags = 0;
    enum vmi_verdict verdict =
        vmi_exit_pio(v->owner, (uint16_t)v->access.addr, width, write, &value);
    v->dispatching = false;
    if (!write) {
        memcpy(data, &value, width);
        v->read[0].value = value;
    }
    return obey(v, verdict, found_rip(v));
}

/* --- memory --- */

static enum vmi_verdict ask_mmio(struct kvm_cpu *v, uint64_t *value)
{
    v->dispatching = true;
    v->touched = 0;
    v->asking_mmio = true;
    v->owner->exit.flags = 0;
    enum vmi_verdict verdict =
        vmi_exit_mmio(v->owner, v->access.addr, 0, v->access.width, v->access.write, value);
    v->dispatching = v->asking_mmio = false;
    return verdict;
}

/* A piece without R but with W has no memory slot: its stores end here. */
static bool plain_store(struct kvm_cpu *v)
{
    const struct vmi_slot *s = vmi_memory_slot(v->owner->vm, v->access.addr);
    if (s == NULL || (s->prot & (VMLIB_PROT_R | VMLIB_PROT_W)) != VMLIB_PROT_W)
        return false;
    uint64_t at = v->access.addr - s->gpa;
    if (s->bytes - at < v->access.width)
        return false;
    memcpy(s->host + at, &v->access.value, v->access.width);
    if (s->dirty != NULL)
        atomic_fetch_or_explicit(&s->dirty[at >> 18], UINT64_C(1) << (at >> 12 & 63),
                                 memory_order_relaxed);
    return true;
}

/* An access to memory that should have had no exit: the kernel cannot reach the pages behind it. */
static bool lost_memory(struct kvm_cpu *v)
{
    const struct vmi_slot *s = vmi_memory_slot(v->owner->vm, v->access.addr);
    uint32_t needed = VMLIB_PROT_R | (v->access.write ? VMLIB_PROT_W : 0);
    if (s == NULL || (s->prot & needed) != needed)
        return false;
    int rc =
        vmi_error(VMLIB_E_FAULT,
                  "guest memory at %#llx has been unmapped or cannot be accessed by this process",
                  (unsigned long long)v->access.addr);
    (void)kvm_undo(v);
    v->error = rc;
    return true;
}

static bool mmio(struct kvm_cpu *v)
{
    struct kvm_run *run = v->run;
    uint64_t value = 0;
    unsigned width = run->mmio.len;
    bool write = run->mmio.is_write;
    v->access = (struct kvm_access){.addr = run->mmio.phys_addr,
                                    .exit = KVM_EXIT_MMIO,
                                    .width = (uint8_t)width,
                                    .write = write};
    if (width == 0 || width > 8)
        return kvm_internal(v, KVM_EXIT_MMIO, "KVM reported a memory access of no known form");
    if (write) {
        memcpy(&value, run->mmio.data, width);
        v->access.value = value;
        v->open = KVM_OPEN_WRITE;
        if (v->owner->vm->nslots != 0 && plain_store(v))
            return true;
    } else {
        begin_read(v);
    }
    if (__builtin_expect(lost_memory(v), 0))
        return false;
    enum vmi_verdict verdict = ask_mmio(v, &value);
    if (!write) {
        memcpy(run->mmio.data, &value, width);
        v->read[0].value = value;
    }
    return obey(v, verdict, found_rip(v));
}

bool kvm_serve_queue(struct kvm_cpu *v)
{
    v->access = v->queue[0];
    memmove(v->queue, v->queue + 1, --v->queued * sizeof(v->queue[0]));
    uint64_t value = v->access.value;
    if (v->access.exit == KVM_EXIT_IO) {
        uint32_t small = (uint32_t)value;
        v->dispatching = true;
        v->touched = 0;
        v->owner->exit.flags = 0;
        enum vmi_verdict verdict =
            vmi_exit_pio(v->owner, (uint16_t)v->access.addr, v->access.width, true, &small);
        v->dispatching = false;
        return obey(v, verdict, found_rip(v));
    }
    if (plain_store(v))
        return true;
    enum vmi_verdict verdict = ask_mmio(v, &value);
    return obey(v, verdict, found_rip(v));
}

/* --- MSRs --- */

/* #GP(0) is what the kernel raises itself when told that the access failed. */
static bool refuse_msr(struct kvm_cpu *v)
{
    v->run->msr.error = 1;
    v->open = KVM_OPEN_WRITE;
    return true;
}

static bool is_gp0(const struct vmlib_event *e)
{
    return e->type == VMLIB_EVENT_EXCEPTION && e->vector == 13 && e->error_code == 0;
}

static bool msr(struct kvm_cpu *v)
{
    struct kvm_run *run = v->run;
    bool write = run->exit_reason == KVM_EXIT_X86_WRMSR;
    uint32_t index = run->msr.index;
    uint64_t value = write ? run->msr.data : 0;
    v->access = (struct kvm_access){
        .addr = index, .value = value, .exit = run->exit_reason, .width = 8, .write = write};
    begin_read(v);
    run->msr.error = 0;
    bool known = kvm_msr_known(v, index);
    v->dispatching = true;
    v->touched = 0;
    v->owner->exit.flags = 0;
    enum vmi_verdict verdict = vmi_exit_msr(v->owner, index, write, known, &value);
    v->dispatching = false;
    if (verdict == VMI_NONE) {
        int rc = write ? kvm_msr_write(v, index, value) : kvm_msr_read(v, index, &value);
        if (rc != 0)
            return refuse_msr(v);
    }
    if (verdict == VMI_INJECT && is_gp0(&v->owner->exit.inject) && v->touched == 0)
        return refuse_msr(v);
    run->msr.data = value;
    return obey(v, verdict, found_rip(v));
}

/* --- the rest --- */

static bool report(struct kvm_cpu *v, uint32_t reason)
{
    v->owner->exit.reason = reason;
    kvm_dispatch(v);
    return false;
}

bool kvm_internal(struct kvm_cpu *v, uint32_t code, const char *text)
{
    struct vmlib_exit_internal *i = &v->owner->exit.u.internal;
    *i = (struct vmlib_exit_internal){.code = code};
    snprintf(i->text, sizeof(i->text), "%s", text);
    return report(v, VMLIB_EXIT_INTERNAL);
}

static bool failed_entry(struct kvm_cpu *v)
{
    struct vmlib_exit_internal *i = &v->owner->exit.u.internal;
    *i = (struct vmlib_exit_internal){.code = v->run->exit_reason,
                                      .data = {v->run->fail_entry.hardware_entry_failure_reason,
                                               v->run->hw.hardware_exit_reason}};
    snprintf(i->text, sizeof(i->text), "the CPU refused to enter the guest (reason %#llx)",
             (unsigned long long)v->run->fail_entry.hardware_entry_failure_reason);
    return report(v, VMLIB_EXIT_INTERNAL);
}

/* The tables or the stack of a delivery are not memory: lib/x86 delivers the event. */
static bool deliver_in_x86(struct kvm_cpu *v)
{
    struct vmlib_events events;
    v->error = kvm_look(v, KVM_PART_ALL);
    if (v->error != 0)
        return false;
    kvm_events_get(v, &events);
    if (events.injected.type == VMLIB_EVENT_NONE)
        return kvm_internal(v, KVM_INTERNAL_ERROR_DELIVERY_EV,
                            "exit while the CPU delivered an event");
    kvm_emulate_forget(v);
    v->injected = events.injected;
    v->delivering = true;
    return true;
}

/* lib/x86 executes what KVM's emulator cannot; other failures are final. */
static bool internal_error(struct kvm_cpu *v)
{
    const struct kvm_run *run = v->run;
    if (run->internal.suberror == KVM_INTERNAL_ERROR_DELIVERY_EV)
        return deliver_in_x86(v);
    if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
        v->emulate_next = true;
        v->error = kvm_look(v, KVM_PART_REGS);
        if (v->error != 0)
            return false;
        /* KVM may give up after the reads: they are not made twice. */
        return !v->after_read || v->regs.rip != v->read_regs.rip || kvm_emulate_seed(v);
    }
    static const char *const names[] = {
        [KVM_INTERNAL_ERROR_SIMUL_EX] = "exception while the CPU delivered another event",
        [KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "exit for a reason KVM does not know",
    };
    uint32_t code = run->internal.suberror;
    struct vmlib_exit_internal *i = &v->owner->exit.u.internal;
    *i = (struct vmlib_exit_internal){.code = code};
    for (uint32_t n = 0; n < run->internal.ndata && n < 4; n++)
        i->data[n] = run->internal.data[n];
    bool named = code < sizeof(names) / sizeof(names[0]) && names[code] != NULL;
    snprintf(i->text, sizeof(i->text), "%s", named ? names[code] : "KVM gave up");
    return report(v, VMLIB_EXIT_INTERNAL);
}

static bool halt(struct kvm_cpu *v)
{
    v->halted = true;
    return true; /* the look at events says whether anything wakes it */
}

static bool shut_down(struct kvm_cpu *v)
{
    v->shutdown = true;
    return true;
}

static bool go_on(struct kvm_cpu *v)
{
    (void)v;
    return true;
}

static bool interrupted(struct kvm_cpu *v)
{
    v->spurious = false;
    kvm_kick_drain(v);
    return true;
}

bool kvm_exit(struct kvm_cpu *v)
{
    static bool (*const table[])(struct kvm_cpu *) = {
        [KVM_EXIT_UNKNOWN] = failed_entry,
        [KVM_EXIT_IO] = pio,
        [KVM_EXIT_DEBUG] = kvm_debug_exit,
        [KVM_EXIT_HLT] = halt,
        [KVM_EXIT_MMIO] = mmio,
        [KVM_EXIT_IRQ_WINDOW_OPEN] = go_on,
        [KVM_EXIT_SHUTDOWN] = shut_down,
        [KVM_EXIT_FAIL_ENTRY] = failed_entry,
        [KVM_EXIT_INTR] = interrupted,
        [KVM_EXIT_SET_TPR] = go_on,
        [KVM_EXIT_INTERNAL_ERROR] = internal_error,
        [KVM_EXIT_X86_RDMSR] = msr,
        [KVM_EXIT_X86_WRMSR] = msr,
    };
    uint32_t reason = v->run->exit_reason;
    v->unread = v->lazy = false;
    if (reason != KVM_EXIT_INTERNAL_ERROR)
        v->after_read = false;
    v->in_access = reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO ||
                   reason == KVM_EXIT_X86_RDMSR || reason == KVM_EXIT_X86_WRMSR;
    if (reason < sizeof(table) / sizeof(table[0]) && table[reason] != NULL)
        return table[reason](v);
    return kvm_internal(v, reason, "exit of a kind that was not asked for");
}
