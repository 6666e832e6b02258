/*
 * The CPU model: lib/x86's default without what this processor or the driver does not let a guest
 * use. Instructions run on the processor itself, so the model must not promise what control
 * register bits, execution controls or XSAVE components cannot keep.
 */
#include <cpuid.h>
#include <string.h>

#include "state/state.h"
#include "vtx/vtx.h"
#include "x86/features.h"

enum reg { EAX, EBX, ECX, EDX };

/* A CPUID bit and the CR4 bit that a guest sets to use it. */
static const struct {
    uint32_t leaf;
    uint8_t reg, bit, cr4;
} by_cr4[] = {
    {1, ECX, 17, 17}, /* PCID */
    {7, EBX, 0, 16},  /* FSGSBASE */
    {7, EBX, 7, 20},  /* SMEP */
    {7, EBX, 20, 21}, /* SMAP */
    {7, ECX, 2, 11},  /* UMIP */
};
/* ... and the bit of the secondary controls without which it raises #UD. */
static const struct {
    uint32_t leaf;
    uint8_t reg, bit, control;
} by_control[] = {
    {0x80000001, EDX, 27, 3}, /* RDTSCP */
    {7, EBX, 10, 12},         /* INVPCID */
};

/* Words of feature bits that the processor must have itself, and the bits in them that are MSRs or
 * words of ours: hypervisor, TSC deadline and x2APIC; TSC_ADJUST. */
static const struct {
    uint32_t leaf;
    uint8_t subleaf, reg;
    uint32_t ours;
} by_host[] = {
    {1, 0, ECX, 1u << 31 | 1u << 24 | 1u << 21},
    {1, 0, EDX, 0},
    {7, 0, EBX, 1u << 1},
    {7, 0, ECX, 0},
    {7, 0, EDX, 0},
    {0xd, 1, EAX, 0}, /* XSAVEOPT, XSAVEC */
    {0x80000001, 0, ECX, 0},
    {0x80000001, 0, EDX, 0},
};

static uint32_t *word(struct x86_cpuid_leaf *l, unsigned reg)
{
    uint32_t *words[4] = {&l->eax, &l->ebx, &l->ecx, &l->edx};
    return words[reg];
}

static bool is(const struct x86_cpuid_leaf *l, uint32_t leaf, uint32_t subleaf)
{
    return l->leaf == leaf && (l->subleaf == subleaf || l->subleaf == UINT32_MAX);
}

static void keep_native(struct x86_cpuid_table *t)
{
    for (size_t i = 0; i < sizeof(by_host) / sizeof(by_host[0]); i++) {
        struct x86_cpuid_leaf h = {0};
        if (__get_cpuid_count(by_host[i].leaf, by_host[i].subleaf, &h.eax, &h.ebx, &h.ecx,
                              &h.edx) == 0)
            memset(&h, 0, sizeof(h));
        for (uint32_t k = 0; k < t->count; k++)
            if (is(&t->leaf[k], by_host[i].leaf, by_host[i].subleaf))
                *word(&t->leaf[k], by_host[i].reg) &= *word(&h, by_host[i].reg) | by_host[i].ours;
    }
}

static void take_away(struct x86_cpuid_table *t, uint32_t leaf, unsigned reg, unsigned bit)
{
    for (uint32_t i = 0; i < t->count; i++) {
        struct x86_cpuid_leaf *l = &t->leaf[i];
        if (is(l, leaf, 0))
            *word(l, reg) &= ~(1u << bit);
    }
}

void vtx_cpuid_default(const struct vtx_cpu *v, struct x86_cpuid_table *t)
{
    const struct vmlib_vtx_info *info = &v->vm->info;
    uint64_t host[4];
    x86_host_features(host);
    if (!(info->cr4_may >> 18 & 1) || (info->xcr0_may & 7) != 7) {
        static const uint16_t needs_xsave[] = {X86_FEAT_XSAVE, X86_FEAT_AVX, X86_FEAT_AVX2,
                                               X86_FEAT_FMA, X86_FEAT_F16C};
        for (size_t i = 0; i < sizeof(needs_xsave) / sizeof(needs_xsave[0]); i++)
            host[needs_xsave[i] >> 6] &= ~(UINT64_C(1) << (needs_xsave[i] & 63));
    }
    vmi_model_default(v->e.owner, host, t);
    keep_native(t);
    for (size_t i = 0; i < sizeof(by_cr4) / sizeof(by_cr4[0]); i++)
        if (!(info->cr4_may >> by_cr4[i].cr4 & 1))
            take_away(t, by_cr4[i].leaf, by_cr4[i].reg, by_cr4[i].bit);
    for (size_t i = 0; i < sizeof(by_control) / sizeof(by_control[0]); i++)
        if (!(info->may[VMLIB_VTX_PROC2] >> by_control[i].control & 1))
            take_away(t, by_control[i].leaf, by_control[i].reg, by_control[i].bit);
    if (!(info->efer_may >> 11 & 1))
        take_away(t, 0x80000001, EDX, 20); /* NX */
}
