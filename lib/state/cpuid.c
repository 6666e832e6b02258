/* The CPU model, from and to the API's form. */
#include "backend.h"
#include "state/state.h"

void vmi_model_from_api(const struct vmlib_cpuid_leaf *model, uint32_t n, struct x86_cpuid_table *t)
{
    t->count = n < X86_CPUID_MAX_LEAVES ? n : X86_CPUID_MAX_LEAVES;
    for (uint32_t i = 0; i < t->count; i++) {
        bool sub = model[i].flags & VMLIB_CPUID_SUBLEAF;
        t->leaf[i] = (struct x86_cpuid_leaf){model[i].leaf, sub ? model[i].subleaf : UINT32_MAX,
                                             model[i].eax,  model[i].ebx,
                                             model[i].ecx,  model[i].edx};
    }
}

uint32_t vmi_model_to_api(const struct x86_cpuid_table *t, struct vmlib_cpuid_leaf *model)
{
    for (uint32_t i = 0; i < t->count; i++) {
        const struct x86_cpuid_leaf *l = &t->leaf[i];
        bool sub = l->subleaf != UINT32_MAX;
        model[i] = (struct vmlib_cpuid_leaf){.leaf = l->leaf,
                                             .subleaf = sub ? l->subleaf : 0,
                                             .flags = sub ? VMLIB_CPUID_SUBLEAF : 0,
                                             .eax = l->eax,
                                             .ebx = l->ebx,
                                             .ecx = l->ecx,
                                             .edx = l->edx};
    }
    return t->count;
}

void vmi_model_default(const struct vmi_vcpu *vcpu, const uint64_t host[4],
                       struct x86_cpuid_table *t)
{
    struct x86_cpuid_config cfg = {.apic_id = vcpu->apic_id,
                                   .ncpus = VMLIB_MAX_VCPUS,
                                   .tsc_khz = vcpu->vm->tsc_khz,
                                   .phys_bits = vcpu->vm->phys_bits,
                                   .host_feat = host};
    x86_cpuid_default(&cfg, t);
}
