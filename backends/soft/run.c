/* The run loop: find the block, execute it, deal with why it ended. */
#include "soft/soft.h"
#include "x86/branch.h"

/* Executed with rip implicit: ops and the API recover it through cpu.cur. */
static void execute(struct soft_vcpu *v, struct soft_block *b)
{
    struct x86_cpu *cpu = &v->e.cpu;
    cpu->leave = X86_LEAVE_LOOKUP;
    cpu->r[X86_RIPBASE] = cpu->rip;
    cpu->cur = NULL;
    v->e.in_insn = true;
    x86_run_uops(cpu, &b->u[1]);
    x86_fp_sync(cpu);
    v->e.in_insn = false;
    cpu->cur = NULL;
    cpu->rip_set = cpu->resync = false;
}

/* --- between blocks --- */

static void remember_target(struct soft_vcpu *v, struct soft_block *b, struct x86_uop *from)
{
    struct x86_cpu *cpu = &v->e.cpu;
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

/* --- the loop --- */

/* Somebody wants attention. False: return from run. */
static bool polled(struct soft_vcpu *v)
{
    if (!__atomic_exchange_n(&v->e.cpu.poll, 0, __ATOMIC_SEQ_CST))
        return true;
    v->e.spurious = false;
    if (__atomic_load_n(&v->req, __ATOMIC_SEQ_CST))
        soft_serve(v);
    if (v->e.cpu.work >=
        X86_WORK_MAX) { /* a look at the clock: the guest may never retire anything */
        v->e.cpu.work = 0;
        return false;
    }
    return !atomic_load(&v->e.owner->poll);
}

static bool once(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->e.cpu;
    struct x86_uop *from = v->pending_link;

    v->pending_link = NULL;
    if (!polled(v) || v->e.leave_after || !vmi_engine_events(&v->e))
        return false;
    if (cpu->left <= 0)
        return false;
    if (vmi_engine_needs_step(&v->e))
        return vmi_engine_step(&v->e);
    struct soft_block *b = soft_block_get(v);
    if (!b)
        return vmi_engine_after(&v->e);
    if (!fits_limits(cpu, b)) {
        vmi_engine_execute_one(&v->e);
        return vmi_engine_after(&v->e);
    }
    remember_target(v, b, from);
    execute(v, b);
    return cpu->leave == X86_LEAVE_LOOKUP || vmi_engine_after(&v->e);
}

static void begin(struct soft_vcpu *v, uint64_t budget)
{
    v->pending_link = NULL;
    vmi_engine_begin(&v->e, budget);
    soft_enter(v);
}

static void end(struct soft_vcpu *v)
{
    soft_outside(v);
    vmi_engine_end(&v->e);
}

int soft_run(struct vmi_vcpu *vcpu)
{
    struct soft_vcpu *v = vcpu->impl;
    begin(v, vcpu->budget);
    while (once(v))
        continue;
    end(v);
    return 0;
}

int soft_complete(struct vmi_vcpu *vcpu, bool fault)
{
    struct soft_vcpu *v = vcpu->impl;
    if (fault) {
        vmi_engine_complete_fault(&v->e);
        return 0;
    }
    begin(v, INT64_MAX);
    vmi_engine_complete(&v->e);
    end(v);
    return 0;
}
