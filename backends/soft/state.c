/* Architectural state, from and to the API's form. */
#include "soft/soft.h"

int soft_get_state(struct vmi_vcpu *vcpu, uint32_t groups, struct vmlib_state *o)
{
    struct soft_vcpu *v = vcpu->impl;
    soft_sync_rip(v);
    vmi_state_get(&v->cpu, groups, o);
    return 0;
}

int soft_set_state(struct vmi_vcpu *vcpu, uint32_t groups, const struct vmlib_state *o)
{
    struct soft_vcpu *v = vcpu->impl;
    struct x86_cpu *cpu = &v->cpu;
    int r = vmi_state_check(cpu->phys_mask, groups, o);
    if (r)
        return r;
    soft_sync_rip(v);
    if (!v->in_block)
        cpu->nanswers = 0; /* whatever instruction is next, it has made no access yet */
    uint64_t rip = cpu->rip;
    vmi_state_set(cpu, groups, o);
    if (v->in_block) { /* a handler: the block ends with this instruction, and continues where rip
                          was put */
        cpu->resync = true;
        cpu->rip_set |= cpu->rip != rip;
    }
    return 0;
}
