/* The PC bundle: what CPUID says about local APIC, topology and clock. Everything else is the
 * backend's model. */
#include "devices/machine.h"

#define LEAF1_X2APIC       (1u << 21) /* ECX */
#define LEAF1_TSC_DEADLINE (1u << 24)
#define LEAF1_APIC         (1u << 9) /* EDX */
#define LEAF1_HTT          (1u << 28)

struct model {
    struct vmlib_cpuid_leaf leaf[VMLIB_CPUID_MAX];
    uint32_t count;
};

static struct vmlib_cpuid_leaf *find(struct model *m, uint32_t leaf, uint32_t subleaf)
{
    uint32_t n;

    for (n = 0; n < m->count; n++) {
        struct vmlib_cpuid_leaf *l = &m->leaf[n];

        if (l->leaf == leaf && (!(l->flags & VMLIB_CPUID_SUBLEAF) || l->subleaf == subleaf))
            return l;
    }
    return NULL;
}

/* The entry, new and zero when there is none; NULL when there is no room. */
static struct vmlib_cpuid_leaf *get(struct model *m, uint32_t leaf, uint32_t subleaf,
                                    uint32_t flags)
{
    struct vmlib_cpuid_leaf *l = find(m, leaf, subleaf);

    if (l || m->count == VMLIB_CPUID_MAX)
        return l;
    l = &m->leaf[m->count++];
    *l = (struct vmlib_cpuid_leaf){.leaf = leaf, .subleaf = subleaf, .flags = flags};
    return l;
}

static void remove_leaf(struct model *m, uint32_t leaf)
{
    uint32_t n, kept = 0;

    for (n = 0; n < m->count; n++)
        if (m->leaf[n].leaf != leaf)
            m->leaf[kept++] = m->leaf[n];
    m->count = kept;
}

/* Extended topology (SDM Vol.2A, CPUID leaf 0bh): one thread per core, one package. */
static void topology(struct model *m, uint32_t id, uint32_t cpus, uint32_t bits)
{
    struct vmlib_cpuid_leaf *l;

    remove_leaf(m, 0xb);
    l = get(m, 0xb, 0, VMLIB_CPUID_SUBLEAF);
    if (l) {
        l->ebx = 1;
        l->ecx = 1u << 8;
        l->edx = id;
    }
    l = get(m, 0xb, 1, VMLIB_CPUID_SUBLEAF);
    if (l) {
        l->eax = bits;
        l->ebx = cpus;
        l->ecx = 2u << 8 | 1;
        l->edx = id;
    }
}

/* The crystal clock is the time-stamp counter's, so that the APIC timer, which has the same input,
 * is known as well. */
static void clock_leaf(struct model *m, uint32_t khz)
{
    struct vmlib_cpuid_leaf *l;

    if (!khz || khz > UINT32_MAX / 1000)
        return;
    remove_leaf(m, 0x15);
    l = get(m, 0x15, 0, 0);
    if (l) {
        l->eax = l->ebx = 1;
        l->ecx = khz * 1000;
    }
}

static void adapt(struct model *m, uint32_t id, uint32_t cpus, uint32_t khz)
{
    struct vmlib_cpuid_leaf *l;
    uint32_t bits = 0;

    while (1u << bits < cpus)
        bits++;
    l = get(m, 1, 0, 0);
    if (l) {
        l->ebx = (l->ebx & 0x0000ffffu) | cpus << 16 | id << 24;
        l->ecx |= LEAF1_X2APIC | LEAF1_TSC_DEADLINE;
        l->edx |= LEAF1_APIC;
        l->edx = cpus > 1 ? l->edx | LEAF1_HTT : l->edx & ~LEAF1_HTT;
    }
    l = find(m, 4, 0); /* cores per package: a field of each cache's subleaf */
    for (; l && l < m->leaf + m->count; l++)
        if (l->leaf == 4 && (l->eax & 31))
            l->eax = (l->eax & 0x03ffffffu) | ((1u << bits) - 1) << 26;
    topology(m, id, cpus, bits);
    clock_leaf(m, khz);
    l = get(m, 6, 0, 0);
    if (l)
        l->eax |= 4; /* the APIC timer runs in every idle state */
    l = find(m, 0x80000007u, 0);
    if (l)
        l->edx |= 1u << 8; /* so does the time-stamp counter */
    l = find(m, 0x40000010u, 0);
    if (l)
        l->ebx = khz; /* of the APIC timer */
    l = find(m, 0, 0);
    if (l && l->eax < 0x15)
        l->eax = 0x15;
}

int vmi_machine_cpuid(struct vmlib_machine *m)
{
    struct model model;
    uint32_t n;
    int error;

    for (n = 0; n < m->cpus; n++) {
        vmlib_vcpu *vcpu = vmi_machine_vcpu(&m->cpu[n]);

        model.count = VMLIB_CPUID_MAX;
        error = vmlib_vcpu_get_cpuid(vcpu, model.leaf, &model.count);
        if (error == VMLIB_E_UNSUPPORTED)
            return 0; /* a backend without processor, for tests of host programs */
        if (!error) {
            adapt(&model, m->cpu[n].apic.id, m->cpus, vmlib_vm_tsc_khz(m->vm));
            error = vmlib_vcpu_set_cpuid(vcpu, model.leaf, model.count);
        }
        if (error)
            return vmi_dev_error_lib(error, "CPUID of the machine");
    }
    return 0;
}
