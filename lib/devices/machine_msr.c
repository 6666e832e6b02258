/* The PC bundle: MSRs of the local APIC. */
#include "devices/machine.h"

#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC       0x800u
#define REG_TPR          0x08u

static int fault(struct vmlib_exit *exit)
{
    exit->inject = (struct vmlib_event){
        .type = VMLIB_EVENT_EXCEPTION, .vector = 13, .flags = VMLIB_EVENT_HAS_ERROR};
    return VMLIB_INJECT;
}

static bool apic_base(struct vmi_machine_cpu *c, vmlib_vcpu *vcpu, struct vmlib_exit_msr *msr)
{
    uint64_t before = c->apic.base;

    if (!msr->write) {
        msr->value = c->apic.base;
        return true;
    }
    if (!vmi_lapic_set_base(&c->apic, msr->value, 40))
        return false;
    /* The vCPU's copy decides about the APIC bit of CPUID. */
    if (vmlib_vcpu_set_reg(vcpu, VMLIB_REG_APIC_BASE, msr->value)) {
        c->apic.base = before;
        return false;
    }
    return true;
}

static bool tsc_deadline(struct vmlib_machine *m, struct vmi_machine_cpu *c, vmlib_vcpu *vcpu,
                         struct vmlib_exit_msr *msr)
{
    uint64_t tsc = 0;

    if (!msr->write) {
        msr->value = c->apic.tsc_deadline;
        return true;
    }
    vmlib_vcpu_get_reg(vcpu, VMLIB_REG_TSC, &tsc);
    vmi_lapic_set_tsc_deadline(&c->apic, msr->value, tsc, vmi_machine_now(m));
    return true;
}

static bool x2apic(struct vmlib_machine *m, struct vmi_machine_cpu *c, vmlib_vcpu *vcpu,
                   struct vmlib_exit_msr *msr)
{
    unsigned reg = msr->index - MSR_X2APIC;
    uint64_t cr8 = 0;

    if (!vmi_lapic_x2(&c->apic))
        return false;
    if (msr->write) {
        if (!vmi_lapic_write(&c->apic, reg, vmi_machine_now(m), msr->value))
            return false;
        if (reg == REG_TPR)
            vmlib_vcpu_set_reg(vcpu, VMLIB_REG_CR8, c->apic.tpr >> 4);
        return true;
    }
    if (reg == REG_TPR && !vmlib_vcpu_get_reg(vcpu, VMLIB_REG_CR8, &cr8) && cr8 != c->apic.tpr >> 4)
        c->apic.tpr = (uint32_t)cr8 << 4 & 0xf0;
    return vmi_lapic_read(&c->apic, reg, vmi_machine_now(m), &msr->value);
}

int vmi_machine_msr(void *machine, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct vmlib_machine *m = machine;
    struct vmi_machine_cpu *c = &m->cpu[vmlib_vcpu_index(vcpu)];
    struct vmlib_exit_msr *msr = &exit->u.msr;
    int answer;
    bool good;

    vmi_machine_lock(m);
    vmi_count(&m->msr);
    if (msr->index == MSR_APIC_BASE)
        good = apic_base(c, vcpu, msr);
    else if (msr->index == MSR_TSC_DEADLINE)
        good = tsc_deadline(m, c, vcpu, msr);
    else
        good = x2apic(m, c, vcpu, msr);
    answer = good ? vmi_machine_answer(m, c) : fault(exit);
    vmi_machine_unlock(m);
    return answer;
}
