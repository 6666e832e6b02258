/* One instruction: breakpoints before it, traps after it, completion of the record it left. */
#include "engine/engine.h"
#include "state/state.h"
#include "x86/flags.h"

/* --- around run() and complete() --- */

void vmi_engine_begin(struct vmi_engine *e, uint64_t budget)
{
    struct x86_cpu *cpu = &e->cpu;
    cpu->left = e->handed_out = budget < (uint64_t)INT64_MAX / 2 ? (int64_t)budget : INT64_MAX / 2;
    e->leave_after = e->dispatched = e->spurious = false;
    cpu->next_answer = 0;
    cpu->msr_watch = atomic_load_explicit(&e->owner->vm->nhandlers[VMLIB_HANDLER_MSR],
                                          memory_order_relaxed) != 0;
    __atomic_store_n(&cpu->poll, 1, __ATOMIC_SEQ_CST); /* look at everything first */
}

void vmi_engine_end(struct vmi_engine *e)
{
    e->owner->retired = (uint64_t)(e->handed_out - e->cpu.left);
    e->retired += e->owner->retired;
    e->handed_out = e->cpu.left = 0;
}

/* --- how execution ended --- */

void vmi_engine_fetch_fault(const struct vmi_engine *e)
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
                                         .prot = s ? s->prot : 0};
}

/* False: return from run. */
static bool code_is_elsewhere(struct vmi_engine *e)
{
    struct x86_event ev;
    vmi_engine_fetch_fault(e);
    if (vmi_engine_dispatch(e) != VMI_INJECT)
        return false;
    vmi_event_from_api(&e->owner->exit.inject, &ev);
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

/* --- instruction by instruction: TF, RF, breakpoints, interrupt shadows, single step --- */

void vmi_engine_execute_one(struct vmi_engine *e)
{
    e->cpu.cur = NULL;
    e->in_insn = true;
    x86_step(&e->cpu);
    e->in_insn = false;
    e->cpu.cur = NULL;
    e->cpu.rip_set = e->cpu.resync = false;
}

static bool report_debug(struct vmi_engine *e, uint32_t cause, uint32_t slots, uint64_t address)
{
    struct vmlib_exit *exit = &e->owner->exit;
    exit->reason = VMLIB_EXIT_DEBUG;
    exit->u.debug = (struct vmlib_exit_debug){.cause = cause, .slots = slots, .address = address};
    vmi_engine_dispatch(e);
    return false;
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
        return report_debug(e, VMLIB_DEBUG_BREAKPOINT, host, lin);
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
    int64_t left = cpu->left;

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
    vmi_engine_execute_one(e);
    if (cpu->left != left) {
        e->skip_exec_bp = false;
        if (tf && !cpu->no_trap)
            cpu->pending_dr6 |= 1u << 14; /* BS */
    } else if (cpu->leave == X86_LEAVE_EXIT) {
        cpu->shadow = shadow; /* it will be executed again */
        cpu->eflags |= rf;
    } else if (cpu->leave == X86_LEAVE_LOOKUP && !cpu->no_trap) {
        cpu->eflags |= X86_FL_RF; /* between iterations of a string instruction */
        if (tf)
            cpu->pending_dr6 |= 1u << 14;
    }
    go = vmi_engine_after(e);
    if (go && e->owner->run_flags & VMLIB_RUN_SINGLE_STEP)
        return report_debug(e, VMLIB_DEBUG_STEP, 0, cpu->rip);
    return go;
}

bool vmi_engine_needs_step(const struct vmi_engine *e)
{
    const struct x86_cpu *cpu = &e->cpu;
    return (cpu->eflags & (X86_FL_TF | X86_FL_RF)) || cpu->shadow || cpu->code_bp ||
           e->owner->run_flags & VMLIB_RUN_SINGLE_STEP;
}

/* --- completion of a record that was returned --- */

void vmi_engine_record_answer(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    const struct vmlib_exit *x = &e->owner->exit;
    struct x86_answer a = {.addr = e->wait_addr, .kind = e->wait_kind, .size = e->wait_size};
    switch (e->wait_kind) {
    case VMI_ANSWER_READ:
        a.value[0] = x->u.mmio.value;
        break;
    case VMI_ANSWER_IN:
        a.value[0] = x->u.pio.value;
        break;
    case VMI_ANSWER_RDMSR:
    case VMI_ANSWER_WRMSR:
        a.value[0] = x->u.msr.value;
        break;
    case VMI_ANSWER_CPUID:
        a.value[0] = x->u.cpuid.eax;
        a.value[1] = x->u.cpuid.ebx;
        a.value[2] = x->u.cpuid.ecx;
        a.value[3] = x->u.cpuid.edx;
        break;
    case VMI_ANSWER_CALL:
        a.value[0] = x->u.hypercall.result;
        break;
    default:
        break;
    }
    if (cpu->nanswers < X86_NANSWERS)
        cpu->answer[cpu->nanswers++] = a;
    e->wait_kind = VMI_ANSWER_NONE;
}

static void complete_instruction(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    uint8_t shadow = cpu->shadow;
    bool tf = cpu->eflags & X86_FL_TF;
    int64_t left = cpu->left;
    cpu->shadow = 0;
    cpu->no_trap = false;
    cpu->leave = X86_LEAVE_LOOKUP;
    vmi_engine_execute_one(e);
    if (cpu->left != left) {
        cpu->eflags &= ~X86_FL_RF;
        if (tf)
            cpu->pending_dr6 |= 1u << 14;
    } else if (!cpu->no_trap) {
        cpu->shadow = shadow;
    }
    if (cpu->leave == X86_LEAVE_EXC) { /* shown and delivered by the next run */
        cpu->injected = cpu->exc;
        cpu->injected.fresh = true;
    } else if (cpu->leave == X86_LEAVE_HALT) {
        cpu->halted = true;
    }
}

void vmi_engine_complete(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    if (e->wait_kind != VMI_ANSWER_NONE)
        vmi_engine_record_answer(e);
    if (cpu->injected.valid && cpu->injected.retry) {
        struct x86_event ev = cpu->injected;
        cpu->injected.valid = false;
        vmi_engine_deliver(e, &ev, false);
    } else {
        complete_instruction(e);
    }
}

void vmi_engine_complete_fault(struct vmi_engine *e)
{
    vmi_event_from_api(&e->owner->exit.inject, &e->cpu.injected);
    e->cpu.nanswers = 0; /* the instruction is abandoned */
    e->owner->retired = 0;
}
