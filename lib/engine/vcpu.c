/* A vCPU's creation and what the API reads and changes in it. */
#include <string.h>

#include "engine/engine.h"
#include "state/state.h"
#include "x86/flags.h"
#include "x86/mem.h"

/* --- creation --- */

void vmi_engine_init(struct vmi_engine *e, struct vmi_vcpu *owner, const struct x86_ops *ops,
                     const struct vmi_engine_hooks *hooks)
{
    struct x86_cpu *cpu = &e->cpu;
    e->owner = owner;
    e->hooks = hooks;
    e->random = owner->vm->seed + (uint64_t)owner->index * UINT64_C(0xd1342543de82ef95);
    e->answer_count = UINT64_MAX;
    cpu->ops = ops;
    cpu->host = e;
    cpu->tlb_gen = 1;
    cpu->phys_mask = (UINT64_C(1) << owner->vm->phys_bits) - 1;
}

void vmi_engine_reset(struct vmi_engine *e, bool wait_sipi)
{
    x86_reset(&e->cpu, false);
    e->cpu.msr.tsc_offset = 0; /* whenever it was created: the VM's processors count alike */
    e->cpu.wait_sipi = wait_sipi;
    e->cpu.apic_base = 0xfee00800u | (e->owner->index == 0 ? 0x100u : 0);
}

bool vmi_engine_use_model(struct vmi_engine *e)
{
    uint64_t old[4];
    memcpy(old, e->cpu.feat, sizeof(old));
    x86_cpuid_features(&e->cpuid, e->cpu.feat);
    return memcmp(old, e->cpu.feat, sizeof(old)) != 0;
}

/* --- state --- */

int vmi_engine_set_state(struct vmi_engine *e, uint32_t groups, const struct vmlib_state *o)
{
    struct x86_cpu *cpu = &e->cpu;
    int rc = vmi_state_check(cpu->phys_mask, groups, o);
    if (rc != 0)
        return rc;
    vmi_engine_sync_rip(e);
    if (!e->in_insn)
        cpu->nanswers = 0; /* whatever instruction is next, it has made no access yet */
    uint64_t rip = cpu->rip;
    vmi_state_set(cpu, groups, o);
    if (e->in_insn) { /* a handler: execution goes on where rip was put */
        cpu->resync = true;
        cpu->rip_set |= cpu->rip != rip;
    }
    return 0;
}

/* --- rows of a backend's table --- */

static struct vmi_engine *engine(const struct vmi_vcpu *owner)
{
    return owner->impl;
}

int vmi_engine_get_reg(struct vmi_vcpu *owner, uint32_t reg, uint64_t *value)
{
    struct vmi_engine *e = engine(owner);
    struct x86_cpu *cpu = &e->cpu;
    vmi_engine_sync_rip(e);
    if (reg <= VMLIB_REG_R15) {
        *value = cpu->r[reg];
        return 0;
    }
    switch (reg) {
    case VMLIB_REG_RIP:
        *value = cpu->rip;
        return 0;
    case VMLIB_REG_RFLAGS:
        *value = x86_get_flags(cpu);
        return 0;
    case VMLIB_REG_CR8:
        *value = cpu->cr8;
        return 0;
    case VMLIB_REG_TSC:
        *value = cpu->ops->tsc(cpu) + (uint64_t)cpu->msr.tsc_offset;
        return 0;
    default:
        return VMLIB_E_UNSUPPORTED; /* through its group */
    }
}

int vmi_engine_set_reg(struct vmi_vcpu *owner, uint32_t reg, uint64_t value)
{
    struct x86_cpu *cpu = &engine(owner)->cpu;
    if (reg <= VMLIB_REG_R15)
        cpu->r[reg] = value;
    else if (reg == VMLIB_REG_CR8 && value < 16)
        cpu->cr8 = value;
    else
        return VMLIB_E_UNSUPPORTED; /* through its group */
    return 0;
}

int vmi_engine_inject(struct vmi_vcpu *owner, const struct vmlib_event *event)
{
    struct vmi_engine *e = engine(owner);
    vmi_event_from_api(event, &e->cpu.injected);
    if (e->in_insn)
        e->cpu.resync = true;
    __atomic_store_n(&e->cpu.poll, 1, __ATOMIC_SEQ_CST);
    return 0;
}

int vmi_engine_set_exception_exits(struct vmi_vcpu *owner, uint32_t mask)
{
    engine(owner)->cpu.exc_exits = mask;
    return 0;
}

int vmi_engine_set_breakpoints(struct vmi_vcpu *owner,
                               const struct vmlib_breakpoint bp[VMLIB_BREAKPOINTS])
{
    static const uint8_t rw[4] = {0, 0, 1, 3};
    static const uint8_t len[9] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
    struct vmi_engine *e = engine(owner);
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
    if (e->in_insn)
        cpu->resync = true;
    return 0;
}

uint32_t vmi_engine_get_cpuid(struct vmi_vcpu *owner, struct vmlib_cpuid_leaf *model)
{
    return vmi_model_to_api(&engine(owner)->cpuid, model);
}
