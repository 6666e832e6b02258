/* The run loop: find the block, execute it, deal with why it ended. */
#include "soft/soft.h"
#include "x86/branch.h"

/* Executed with rip implicit: ops and the API recover it through cpu.cur. */
static void execute(struct soft_vcpu *v, struct soft_block *b)
{
    struct x86_cpu *cpu = &v->cpu;
    cpu->leave = X86_LEAVE_LOOKUP;
    cpu->r[X86_RIPBASE] = cpu->rip;
    cpu->cur = NULL;
    v->in_block = true;
    x86_run_uops(cpu, &b->u[1]);
    x86_fp_sync(cpu);
    v->in_block = false;
    cpu->cur = NULL;
    cpu->rip_set = cpu->resync = false;
}

static void execute_one(struct soft_vcpu *v)
{
    v->cpu.cur = NULL;
    v->in_block = true;
    x86_step(&v->cpu);
    v->in_block = false;
    v->cpu.cur = NULL;
    v->cpu.rip_set = v->cpu.resync = false;
}

/* --- between blocks --- */

static void remember_target(struct soft_vcpu *v, struct soft_block *b, struct x86_uop *from)
{
    struct x86_cpu *cpu = &v->cpu;
    if (!(cpu->mode & X86_MODE_FLAT))
        return;
    if (from && v->link_generation == v->cache.generation && v->link_rip == cpu->rip &&
        v->link_mode == cpu->mode) {
        bool near = (cpu->r[X86_RIPBASE] ^ b->u[1].imm) < 0x1000 && !b->crosses;
        from->link = &b->u[near ? 1 : 0];
    }
    cpu->jc[x86_jc_hash(cpu->rip)] = (struct x86_jump){X86_JC_KEY(cpu->rip), &b->u[0]};
}

static bool fits_limits(const struct x86_cpu *cpu, const struct soft_block *b)
{
    if (cpu->left < b->u[1].disp)
        return false; /* the budget ends inside: instruction by instruction */
    const struct x86_seg *cs = &cpu->seg[X86_CS];
    return cpu->mode & X86_MODE_FLAT ||
           (cpu->rip <= cs->limit && b->bytes - 1u <= cs->limit - cpu->rip);
}

static bool code_is_elsewhere(struct soft_vcpu *v)
{
    struct vmlib_exit *e = &v->owner->exit;
    const struct x86_cpu *cpu = &v->cpu;
    const struct vmi_slot *s = vmi_memory_slot(v->vm->owner, cpu->tmp);
    uint64_t base = cpu->mode & X86_MODE_64 ? 0 : cpu->seg[X86_CS].base;
    e->reason = VMLIB_EXIT_MEMORY_FAULT;
    e->u.memory_fault = (struct vmlib_exit_memory_fault){.gpa = cpu->tmp,
                                                         .gva = (base + cpu->rip) & cpu->lin_mask,
                                                         .access = VMLIB_ACCESS_EXEC,
                                                         .mapped = s != NULL,
                                                         .prot = s ? s->prot : 0};
    if (soft_dispatch(v) != VMI_INJECT)
        return false;
    struct x86_event ev;
    vmi_event_from_api(&e->inject, &ev);
    return soft_deliver(v, &ev, false);
}

/* Why did it end? False: return from run. */
static bool after(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->cpu;
    struct x86_event ev;
    switch (cpu->leave) {
    case X86_LEAVE_EXC:
        ev = cpu->exc;
        return soft_deliver(v, &ev, true);
    case X86_LEAVE_EXIT:
        return !v->dispatched_exit && code_is_elsewhere(v);
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

static bool report_debug(struct soft_vcpu *v, uint32_t cause, uint32_t slots, uint64_t address)
{
    struct vmlib_exit *e = &v->owner->exit;
    e->reason = VMLIB_EXIT_DEBUG;
    e->u.debug = (struct vmlib_exit_debug){.cause = cause, .slots = slots, .address = address};
    soft_dispatch(v);
    return false;
}

/* Instruction breakpoints of the host, then of the guest. Sets *done when something else has
 * happened. */
static bool exec_breakpoints(struct soft_vcpu *v, bool *done)
{
    struct x86_cpu *cpu = &v->cpu;
    uint64_t base = cpu->mode & X86_MODE_64 ? 0 : cpu->seg[X86_CS].base;
    uint64_t lin = (base + cpu->rip) & cpu->lin_mask;
    uint32_t host = 0;
    for (unsigned i = 0; i < 4; i++)
        if (cpu->host_dr7 >> (2 * i) & 3 && !(cpu->host_dr7 >> (16 + 4 * i) & 3) &&
            cpu->host_dr[i] == lin)
            host |= 1u << i;
    if (host && !(v->skip_exec_bp && v->skip_rip == cpu->rip)) {
        v->skip_exec_bp = true;
        v->skip_rip = cpu->rip;
        *done = true;
        return report_debug(v, VMLIB_DEBUG_BREAKPOINT, host, lin);
    }
    uint64_t dr6 = cpu->eflags & X86_FL_RF ? 0 : x86_bp_exec(cpu, lin);
    if (!dr6)
        return true;
    struct x86_event ev = {.vector = X86_DB, .kind = X86_EV_FAULT, .dr6 = dr6, .valid = true};
    *done = true;
    return soft_deliver(v, &ev, true);
}

static bool step(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->cpu;
    bool tf = cpu->eflags & X86_FL_TF, done = false, go = true;
    uint64_t left = (uint64_t)cpu->left;

    if (cpu->code_bp)
        go = exec_breakpoints(v, &done);
    if (done)
        return go;
    uint8_t shadow = cpu->shadow;
    uint32_t rf = cpu->eflags & X86_FL_RF;
    cpu->shadow = 0;
    cpu->eflags &= ~X86_FL_RF; /* before the instruction, which may be the IRET that sets it */
    cpu->no_trap = false;
    /* Traps and steps follow each element of a repeated string instruction. */
    cpu->resync = tf || v->owner->run_flags & VMLIB_RUN_SINGLE_STEP;
    execute_one(v);
    bool retired = (uint64_t)cpu->left != left;
    if (retired) {
        v->skip_exec_bp = false;
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
    go = after(v);
    if (go && v->owner->run_flags & VMLIB_RUN_SINGLE_STEP)
        return report_debug(v, VMLIB_DEBUG_STEP, 0, cpu->rip);
    return go;
}

static bool needs_step(const struct soft_vcpu *v)
{
    const struct x86_cpu *cpu = &v->cpu;
    return (cpu->eflags & (X86_FL_TF | X86_FL_RF)) || cpu->shadow || cpu->code_bp ||
           v->owner->run_flags & VMLIB_RUN_SINGLE_STEP;
}

/* --- the loop --- */

/* Somebody wants attention. False: return from run. */
static bool polled(struct soft_vcpu *v)
{
    if (!__atomic_exchange_n(&v->cpu.poll, 0, __ATOMIC_SEQ_CST))
        return true;
    v->spurious = false;
    if (__atomic_load_n(&v->req, __ATOMIC_SEQ_CST))
        soft_serve(v);
    if (v->cpu.work >=
        X86_WORK_MAX) { /* a look at the clock: the guest may never retire anything */
        v->cpu.work = 0;
        return false;
    }
    return !atomic_load(&v->owner->poll);
}

static bool once(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->cpu;
    struct x86_uop *from = v->pending_link;

    v->pending_link = NULL;
    if (!polled(v) || v->leave_after || !soft_events(v))
        return false;
    if (cpu->left <= 0)
        return false;
    if (needs_step(v))
        return step(v);
    struct soft_block *b = soft_block_get(v);
    if (!b)
        return after(v);
    if (!fits_limits(cpu, b)) {
        execute_one(v);
        return after(v);
    }
    remember_target(v, b, from);
    execute(v, b);
    return cpu->leave == X86_LEAVE_LOOKUP || after(v);
}

static void begin(struct soft_vcpu *v, uint64_t budget)
{
    struct x86_cpu *cpu = &v->cpu;
    cpu->left = v->handed_out = budget < (uint64_t)INT64_MAX / 2 ? (int64_t)budget : INT64_MAX / 2;
    v->leave_after = v->dispatched_exit = v->spurious = false;
    v->pending_link = NULL;
    cpu->next_answer = 0;
    cpu->msr_watch = atomic_load_explicit(&v->vm->owner->nhandlers[VMLIB_HANDLER_MSR],
                                          memory_order_relaxed) != 0;
    __atomic_store_n(&cpu->poll, 1, __ATOMIC_SEQ_CST); /* look at everything first */
    soft_enter(v);
}

static int end(struct soft_vcpu *v)
{
    soft_outside(v);
    v->owner->retired = (uint64_t)(v->handed_out - v->cpu.left);
    v->retired += v->owner->retired;
    v->handed_out = v->cpu.left = 0;
    return v->error;
}

int soft_run(struct vmi_vcpu *vcpu)
{
    struct soft_vcpu *v = vcpu->impl;
    v->error = 0;
    begin(v, vcpu->budget);
    while (once(v))
        continue;
    return end(v);
}

/* --- completion of a record that was returned --- */

static void record_answer(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->cpu;
    const struct vmlib_exit *e = &v->owner->exit;
    struct x86_answer a = {
        .addr = v->wait.addr, .kind = v->wait.kind, .size = (uint8_t)v->wait.size};
    switch (v->wait.kind) {
    case SOFT_READ:
        a.value[0] = e->u.mmio.value;
        break;
    case SOFT_IN:
        a.value[0] = e->u.pio.value;
        break;
    case SOFT_RDMSR:
    case SOFT_WRMSR:
        a.value[0] = e->u.msr.value;
        break;
    case SOFT_CPUID:
        a.value[0] = e->u.cpuid.eax;
        a.value[1] = e->u.cpuid.ebx;
        a.value[2] = e->u.cpuid.ecx;
        a.value[3] = e->u.cpuid.edx;
        break;
    case SOFT_CALL:
        a.value[0] = e->u.hypercall.result;
        break;
    default:
        break;
    }
    if (cpu->nanswers < X86_NANSWERS)
        cpu->answer[cpu->nanswers++] = a;
}

static void complete_instruction(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->cpu;
    uint8_t shadow = cpu->shadow;
    bool tf = cpu->eflags & X86_FL_TF;
    int64_t left = cpu->left;
    cpu->shadow = 0;
    cpu->no_trap = false;
    cpu->leave = X86_LEAVE_LOOKUP;
    execute_one(v);
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

int soft_complete(struct vmi_vcpu *vcpu, bool fault)
{
    struct soft_vcpu *v = vcpu->impl;
    struct x86_cpu *cpu = &v->cpu;

    v->error = 0;
    if (fault) {
        vmi_event_from_api(&vcpu->exit.inject, &cpu->injected);
        cpu->nanswers = 0; /* the instruction is abandoned */
        vcpu->retired = 0;
        return 0;
    }
    if (v->wait.kind)
        record_answer(v);
    begin(v, INT64_MAX);
    if (cpu->injected.valid && cpu->injected.retry) {
        struct x86_event ev = cpu->injected;
        cpu->injected.valid = false;
        soft_deliver(v, &ev, false);
    } else {
        complete_instruction(v);
    }
    return end(v);
}
