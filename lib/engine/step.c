/* One instruction: breakpoints before it, traps after it, completion of the record it left. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "state/state.h"
#include "x86/flags.h"
#include "x86/mem.h"

#define LEFT (INT64_MAX / 2)

/* --- creation --- */

int vmi_engine_init(struct vmi_engine *e, struct vmi_vcpu *owner, const struct x86_ops *ops,
                    bool wait_sipi)
{
    struct x86_cpu *cpu = &e->cpu;
    cpu->tlb_banks = calloc(X86_NBANKS * X86_TLB_SIZE, sizeof(cpu->tlb_banks[0]));
    if (cpu->tlb_banks == NULL)
        return vmi_error(VMLIB_E_NOMEM, "no memory for vCPU %u", owner->index);
    e->owner = owner;
    cpu->ops = ops;
    cpu->host = e;
    cpu->tlb_gen = 1;
    cpu->phys_mask = (UINT64_C(1) << owner->vm->phys_bits) - 1;
    e->random = owner->vm->seed + (uint64_t)owner->index * UINT64_C(0xd1342543de82ef95);
    e->answer_serial = UINT64_MAX;
    x86_reset(cpu, false);
    cpu->wait_sipi = wait_sipi;
    cpu->apic_base = 0xfee00800u | (owner->index == 0 ? 0x100u : 0);
    return 0;
}

void vmi_engine_free(struct vmi_engine *e)
{
    free(e->cpu.tlb_banks);
    e->cpu.tlb_banks = NULL;
}

void vmi_engine_model(struct vmi_engine *e, const struct vmlib_cpuid_leaf *model, uint32_t n)
{
    struct x86_cpuid_table *t = &e->cpuid;
    t->count = n < X86_CPUID_MAX_LEAVES ? n : X86_CPUID_MAX_LEAVES;
    for (uint32_t i = 0; i < t->count; i++) {
        bool sub = model[i].flags & VMLIB_CPUID_SUBLEAF;
        t->leaf[i] = (struct x86_cpuid_leaf){model[i].leaf, sub ? model[i].subleaf : UINT32_MAX,
                                             model[i].eax,  model[i].ebx,
                                             model[i].ecx,  model[i].edx};
    }
    x86_cpuid_features(t, e->cpu.feat);
}

void vmi_engine_breakpoints(struct vmi_engine *e,
                            const struct vmlib_breakpoint bp[VMLIB_BREAKPOINTS])
{
    static const uint8_t rw[4] = {0, 0, 1, 3};
    static const uint8_t len[9] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
    struct x86_cpu *cpu = &e->cpu;
    cpu->host_dr7 = 0;
    for (unsigned i = 0; i < VMLIB_BREAKPOINTS; i++) {
        cpu->host_dr[i] = bp[i].address;
        if (bp[i].kind == VMLIB_BREAKPOINT_OFF)
            continue;
        cpu->host_dr7 |= UINT64_C(1) << (2 * i) | (uint64_t)rw[bp[i].kind] << (16 + 4 * i) |
                         (uint64_t)len[bp[i].width & 15 ? bp[i].width : 1] << (18 + 4 * i);
    }
    x86_mode_refresh(cpu);
    x86_tlb_flush(cpu);
    cpu->resync |= e->busy;
}

int vmi_engine_set_state(struct vmi_engine *e, uint32_t groups, const struct vmlib_state *o)
{
    struct x86_cpu *cpu = &e->cpu;
    int rc = vmi_state_check(cpu->phys_mask, groups, o);
    if (rc != 0)
        return rc;
    if (!e->busy)
        cpu->nanswers = 0; /* whatever instruction is next, it has made no access yet */
    uint64_t rip = cpu->rip;
    vmi_state_set(cpu, groups, o);
    x86_tlb_flush(cpu);
    if (e->busy) { /* a handler: execution goes on where rip was put */
        cpu->resync = true;
        cpu->rip_set |= cpu->rip != rip;
    }
    return 0;
}

void vmi_engine_begin(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    e->leave_after = e->dispatched = e->spurious = false;
    cpu->next_answer = 0;
    cpu->work = 0;
    __atomic_store_n(&cpu->poll, 0, __ATOMIC_SEQ_CST);
    cpu->msr_watch = atomic_load_explicit(&e->owner->vm->nhandlers[VMLIB_HANDLER_MSR],
                                          memory_order_relaxed) != 0;
}

/* --- one instruction --- */

/* True: it has retired. */
static bool execute(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    cpu->left = LEFT;
    __atomic_store_n(&cpu->poll, 0, __ATOMIC_SEQ_CST);
    cpu->cur = NULL;
    cpu->next_answer = 0;
    e->busy = true;
    x86_step(cpu);
    x86_fp_sync(cpu);
    e->busy = false;
    cpu->cur = NULL;
    cpu->rip_set = cpu->resync = false;
    bool retired = cpu->left != LEFT;
    e->executed += retired;
    return retired;
}

void vmi_engine_retired(struct vmi_engine *e, uint64_t rip)
{
    struct x86_cpu *cpu = &e->cpu;
    cpu->rip = rip;
    cpu->shadow = 0;
    cpu->eflags &= ~X86_FL_RF;
    e->executed++;
    e->skip_exec_bp = false;
}

/* Nothing can be fetched at rip. False: return from run. */
static bool code_is_elsewhere(struct vmi_engine *e)
{
    struct vmlib_exit *exit = &e->owner->exit;
    const struct x86_cpu *cpu = &e->cpu;
    const struct vmi_slot *s = vmi_memory_slot(e->owner->vm, cpu->tmp);
    uint64_t base = cpu->mode & X86_MODE_64 ? 0 : cpu->seg[X86_CS].base;
    exit->reason = VMLIB_EXIT_MEMORY_FAULT;
    exit->u.memory_fault =
        (struct vmlib_exit_memory_fault){.gpa = cpu->tmp,
                                         .gva = (base + cpu->rip) & cpu->lin_mask,
                                         .access = VMLIB_ACCESS_EXEC,
                                         .mapped = s != NULL,
                                         .prot = s != NULL ? s->prot : 0};
    if (vmi_engine_dispatch(e) != VMI_INJECT)
        return false;
    struct x86_event ev;
    vmi_event_from_api(&exit->inject, &ev);
    return vmi_engine_deliver(e, &ev, false);
}

bool vmi_engine_after(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    struct x86_event ev;
    switch (cpu->leave) {
    case X86_LEAVE_EXC:
        ev = cpu->exc;
        return vmi_engine_deliver(e, &ev, true);
    case X86_LEAVE_EXIT:
        return !e->dispatched && code_is_elsewhere(e);
    case X86_LEAVE_HALT:
        cpu->halted = true;
        return true;
    case X86_LEAVE_SHUTDOWN:
        cpu->shutdown = true;
        return true;
    default:
        return true;
    }
}

/* Instruction breakpoints of the host, then of the guest. Sets *done when something else has
 * happened. */
static bool exec_breakpoints(struct vmi_engine *e, bool *done)
{
    struct x86_cpu *cpu = &e->cpu;
    uint64_t base = cpu->mode & X86_MODE_64 ? 0 : cpu->seg[X86_CS].base;
    uint64_t lin = (base + cpu->rip) & cpu->lin_mask;
    uint32_t host = 0;
    for (unsigned i = 0; i < 4; i++)
        if (cpu->host_dr7 >> (2 * i) & 3 && !(cpu->host_dr7 >> (16 + 4 * i) & 3) &&
            cpu->host_dr[i] == lin)
            host |= 1u << i;
    if (host && !(e->skip_exec_bp && e->skip_rip == cpu->rip)) {
        e->skip_exec_bp = true;
        e->skip_rip = cpu->rip;
        *done = true;
        return vmi_engine_report_debug(e, VMLIB_DEBUG_BREAKPOINT, host, lin);
    }
    uint64_t dr6 = cpu->eflags & X86_FL_RF ? 0 : x86_bp_exec(cpu, lin);
    if (!dr6)
        return true;
    struct x86_event ev = {.vector = X86_DB, .kind = X86_EV_FAULT, .dr6 = dr6, .valid = true};
    *done = true;
    return vmi_engine_deliver(e, &ev, true);
}

bool vmi_engine_step(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    bool tf = cpu->eflags & X86_FL_TF, done = false, go = true;
    if (cpu->code_bp)
        go = exec_breakpoints(e, &done);
    if (done)
        return go;
    uint8_t shadow = cpu->shadow;
    uint32_t rf = cpu->eflags & X86_FL_RF;
    cpu->shadow = 0;
    cpu->eflags &= ~X86_FL_RF; /* before the instruction, which may be the IRET that sets it */
    cpu->no_trap = false;
    /* Traps and steps follow each element of a repeated string instruction. */
    cpu->resync = tf || e->owner->run_flags & VMLIB_RUN_SINGLE_STEP;
    if (execute(e)) {
        e->skip_exec_bp = false;
        if (tf && !cpu->no_trap)
            cpu->pending_dr6 |= 1u << 14; /* BS */
    } else if (cpu->leave == X86_LEAVE_EXIT) {
        cpu->shadow = shadow; /* it will be executed again */
        cpu->eflags |= rf;
    } else if (cpu->leave == X86_LEAVE_LOOKUP) {
        cpu->eflags |= X86_FL_RF; /* between iterations of a string instruction */
        if (tf)
            cpu->pending_dr6 |= 1u << 14;
    }
    go = vmi_engine_after(e);
    if (go && e->owner->run_flags & VMLIB_RUN_SINGLE_STEP)
        return vmi_engine_report_debug(e, VMLIB_DEBUG_STEP, 0, cpu->rip);
    return go;
}

/* --- completion of a record that was returned --- */

static void complete_instruction(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    uint8_t shadow = cpu->shadow;
    bool tf = cpu->eflags & X86_FL_TF;
    cpu->shadow = 0;
    cpu->leave = X86_LEAVE_LOOKUP;
    if (execute(e)) {
        cpu->eflags &= ~X86_FL_RF;
        if (tf)
            cpu->pending_dr6 |= 1u << 14;
    } else {
        cpu->shadow = shadow;
    }
    if (cpu->leave == X86_LEAVE_EXC) { /* shown and delivered by the next run */
        cpu->injected = cpu->exc;
        cpu->injected.fresh = true;
    } else if (cpu->leave == X86_LEAVE_HALT) {
        cpu->halted = true;
    }
}

void vmi_engine_complete(struct vmi_engine *e, bool fault)
{
    struct x86_cpu *cpu = &e->cpu;
    if (fault) {
        vmi_event_from_api(&e->owner->exit.inject, &cpu->injected);
        cpu->nanswers = 0; /* the instruction is abandoned */
        return;
    }
    if (e->wait_kind != VMI_ANSWER_NONE)
        vmi_engine_record_answer(e);
    vmi_engine_begin(e);
    if (cpu->injected.valid && cpu->injected.retry) {
        struct x86_event ev = cpu->injected;
        cpu->injected.valid = false;
        vmi_engine_deliver(e, &ev, false);
    } else {
        complete_instruction(e);
    }
}
