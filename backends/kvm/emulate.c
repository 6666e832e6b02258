/*
 * Single instructions that lib/x86 executes: what KVM's emulator cannot do, strings of port
 * accesses, and trials that find out which instruction made a write.
 *
 * The vCPU's state is copied in, one instruction executed, and what has changed is written back.
 */
#include <stdlib.h>
#include <string.h>

#include "kvm/emulate.h"
#include "state/state.h"
#include "x86/flags.h"
#include "x86/mem.h"

/* --- the copy --- */

static struct kvm_emulator *emulator(struct kvm_cpu *v)
{
    struct kvm_emulator *e = v->emulator;
    if (e != NULL)
        return e;
    e = calloc(1, sizeof(*e));
    struct x86_tlb_entry *banks = calloc(X86_NBANKS * X86_TLB_SIZE, sizeof(banks[0]));
    if (e == NULL || banks == NULL) {
        free(e);
        free(banks);
        (void)vmi_error(VMLIB_E_NOMEM, "no memory for lib/x86's copy of vCPU %u", v->owner->index);
        return NULL;
    }
    e->v = v;
    e->e.cpu.tlb_banks = banks;
    vmi_engine_init(&e->e, v->owner, &kvm_emulate_ops, &kvm_emulate_hooks);
    vmi_engine_reset(&e->e, false);
    v->emulator = e;
    return e;
}

void kvm_emulate_destroy(struct kvm_cpu *v)
{
    if (v->emulator != NULL)
        free(v->emulator->e.cpu.tlb_banks);
    free(v->emulator);
    v->emulator = NULL;
}

void kvm_emulate_forget(struct kvm_cpu *v)
{
    if (v->emulator != NULL)
        v->emulator->e.cpu.nanswers = v->emulator->e.cpu.next_answer = 0;
}

struct kvm_emulator *kvm_emulator_load(struct kvm_cpu *v, uint32_t groups)
{
    struct vmlib_state state;
    state.size = sizeof(state);
    struct kvm_emulator *e = emulator(v);
    int rc = e == NULL            ? VMLIB_E_NOMEM
             : groups == 0        ? 0
             : groups == KVM_WALK ? kvm_get_walk(v, &state)
                                  : kvm_get_state(v->owner, groups, &state);
    if (rc != 0) {
        v->error = rc;
        return NULL;
    }
    memcpy(e->e.cpu.feat, v->feat, sizeof(e->e.cpu.feat));
    if (groups == KVM_WALK) /* which may come in the middle of an instruction that needs it */
        state.control.xcr0 = e->e.cpu.xcr0;
    vmi_state_set(&e->e.cpu, groups, &state);
    x86_tlb_flush(&e->e.cpu);
    return e;
}

struct x86_cpu *kvm_shadow(struct kvm_cpu *v, uint32_t groups)
{
    struct kvm_emulator *e = kvm_emulator_load(v, groups);
    return e != NULL ? &e->e.cpu : NULL;
}

/* --- one instruction for real --- */

/* The groups in which b differs from a. */
static uint32_t differences(const struct vmlib_state *a, const struct vmlib_state *b)
{
#define DIFF(group, member) (memcmp(&a->member, &b->member, sizeof(a->member)) ? (group) : 0u)
    return DIFF(VMLIB_STATE_GPR, gpr) | DIFF(VMLIB_STATE_SEGMENTS, segments) |
           DIFF(VMLIB_STATE_CONTROL, control) | DIFF(VMLIB_STATE_DEBUG, debug) |
           DIFF(VMLIB_STATE_MSRS, msrs) | DIFF(VMLIB_STATE_EVENTS, events) |
           (memcmp(a->xsave.image, b->xsave.image, sizeof(a->xsave.image)) ? VMLIB_STATE_XSAVE
                                                                           : 0u);
#undef DIFF
}

/* lib/x86 knows three components of the XSAVE image; what else the vCPU has stays as it is. */
static int put_vectors(struct kvm_cpu *v, const struct vmlib_state *now)
{
    struct vmlib_state all;
    all.size = sizeof(all);
    int rc = kvm_get_state(v->owner, VMLIB_STATE_XSAVE, &all);
    if (rc != 0)
        return rc;
    memcpy(all.xsave.image, now->xsave.image, 416);
    all.xsave.features |= 3;
    if (now->xsave.features & 4 && all.xsave.bytes >= 832) {
        memcpy(all.xsave.image + 576, now->xsave.image + 576, 256);
        all.xsave.features |= 4;
    }
    memcpy(all.xsave.image + 512, &all.xsave.features, 8);
    return kvm_set_state(v->owner, VMLIB_STATE_XSAVE, &all);
}

static int write_back(struct kvm_cpu *v, const struct vmlib_state *was)
{
    struct vmlib_state now;
    memset(&now, 0, sizeof(now));
    now.size = sizeof(now);
    vmi_state_get(&v->emulator->e.cpu, KVM_EMULATOR_STATE, &now);
    uint32_t groups = differences(was, &now);
    int rc = groups & VMLIB_STATE_XSAVE ? put_vectors(v, &now) : 0;
    groups &= ~(uint32_t)VMLIB_STATE_XSAVE;
    return rc == 0 && groups != 0 ? kvm_set_state(v->owner, groups, &now) : rc;
}

/* True: it has retired. */
static bool step(struct kvm_emulator *e)
{
    struct x86_cpu *cpu = &e->e.cpu;
    if (e->answer_rip != cpu->rip)
        cpu->nanswers = 0;
    e->answer_rip = cpu->rip;
    vmi_engine_begin(&e->e, UINT64_MAX);
    cpu->work = 0;
    cpu->poll = 0;
    cpu->shadow = 0;
    /* Traps and steps follow each element of a repeated string instruction. */
    cpu->resync = cpu->eflags & X86_FL_TF || e->v->owner->run_flags & VMLIB_RUN_SINGLE_STEP;
    cpu->eflags &= ~X86_FL_RF;
    e->v->open = KVM_OPEN_NONE;
    vmi_engine_execute_one(&e->e);
    vmi_engine_end(&e->e);
    bool retired = e->v->owner->retired != 0;
    e->v->owner->retired = 0; /* KVM does not count: neither do we */
    e->v->leave |= e->e.leave_after;
    return retired;
}

/* Instructions from where nothing can be fetched. False: return from run. */
static bool code_is_elsewhere(struct kvm_cpu *v)
{
    struct vmlib_exit *exit = &v->owner->exit;
    vmi_engine_fetch_fault(&v->emulator->e);
    if (kvm_dispatch(v) != VMI_INJECT)
        return false;
    struct vmlib_event event = exit->inject;
    v->error = kvm_inject(v->owner, &event);
    return v->error == 0;
}

/* How it ended. False: return from run. */
static bool ended(struct kvm_cpu *v, bool retired)
{
    struct kvm_emulator *e = v->emulator;
    struct x86_cpu *cpu = &e->e.cpu;
    struct vmlib_event event;
    if (retired)
        cpu->nanswers = cpu->next_answer = 0;
    switch (cpu->leave) {
    case X86_LEAVE_EXC:
        cpu->nanswers = cpu->next_answer = 0;
        vmi_event_to_api(&cpu->exc, &event);
        v->error = kvm_inject(v->owner, &event);
        return v->error == 0;
    case X86_LEAVE_EXIT:
        v->emulate_next = false;
        if (!e->e.dispatched)
            return code_is_elsewhere(v);
        if (retired) /* abandoned: a handler has moved rip */
            return false;
        v->emulate_next = true; /* completed or repeated: by lib/x86 */
        if (v->owner->exit.flags & VMLIB_EXIT_F_PENDING)
            v->open = KVM_OPEN_EMULATE;
        return false;
    case X86_LEAVE_HALT:
        v->halted = true;
        return true;
    case X86_LEAVE_SHUTDOWN:
        v->shutdown = true;
        return true;
    default:
        v->emulate_next = !retired; /* a string instruction goes on */
        return true;
    }
}

bool kvm_emulate(struct kvm_cpu *v)
{
    struct vmlib_state was;
    struct kvm_emulator *e = kvm_emulator_load(v, KVM_EMULATOR_STATE);
    v->emulate_next = false;
    if (e == NULL)
        return false;
    memset(&was, 0, sizeof(was));
    was.size = sizeof(was);
    vmi_state_get(&e->e.cpu, KVM_EMULATOR_STATE, &was);
    bool trap = e->e.cpu.eflags & X86_FL_TF;
    bool retired = step(e);
    bool element = !retired && e->e.cpu.leave == X86_LEAVE_LOOKUP;
    if (trap && ((retired && !e->e.cpu.no_trap) || element))
        e->e.cpu.pending_dr6 |= 1u << 14;
    uint64_t debug = e->e.cpu.pending_dr6;
    e->e.cpu.pending_dr6 = 0;
    v->error = write_back(v, &was);
    if (v->error != 0)
        return false;
    bool go = ended(v, retired);
    if (retired || element)
        v->pending_debug |= debug;
    return go && v->error == 0;
}

static uint8_t kind_of(const struct kvm_access *a)
{
    if (a->exit == KVM_EXIT_IO)
        return VMI_ANSWER_IN;
    if (a->exit == KVM_EXIT_MMIO)
        return VMI_ANSWER_READ;
    return a->write ? VMI_ANSWER_WRMSR : VMI_ANSWER_RDMSR;
}

bool kvm_emulate_seed(struct kvm_cpu *v)
{
    struct kvm_emulator *e = kvm_emulator_load(v, VMLIB_STATE_GPR);
    if (e == NULL)
        return false;
    /* The parts of one wide read stand in ascending order; older reads are of other instructions.
     */
    unsigned n = 1;
    while (n < KVM_READS && v->read[n].exit == KVM_EXIT_MMIO &&
           v->read[n - 1].exit == KVM_EXIT_MMIO &&
           v->read[n].addr + v->read[n].width == v->read[n - 1].addr)
        n++;
    e->answer_rip = e->e.cpu.rip;
    e->e.answer_count = vmi_engine_instructions(&e->e);
    e->e.answer_rcx = e->e.cpu.r[X86_RCX];
    e->e.cpu.nanswers = (uint16_t)n;
    for (unsigned i = 0; i < n; i++) {
        const struct kvm_access *a = &v->read[n - 1 - i];
        e->e.cpu.answer[i] = (struct x86_answer){
            .addr = a->addr, .kind = kind_of(a), .size = a->width, .value = {a->value, 0}};
    }
    return true;
}

/* --- completion --- */

int kvm_emulate_complete(struct kvm_cpu *v, bool fault)
{
    v->open = KVM_OPEN_NONE;
    if (fault) {
        struct vmlib_event event = v->owner->exit.inject;
        v->emulate_next = v->delivering = false;
        kvm_emulate_forget(v);
        return kvm_inject(v->owner, &event);
    }
    vmi_engine_record_answer(&v->emulator->e);
    if (v->delivering)
        (void)kvm_redeliver(v);
    else
        (void)kvm_emulate(v);
    return v->error;
}
