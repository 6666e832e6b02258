/*
 * CPUID: the default CPU model as a table of feature bits, used in both directions (features ->
 * leaves when the model is made, leaves -> features when a caller brings its own). SDM Vol.2A
 * CPUID.
 */
#include <string.h>

#include "x86/sysint.h"

enum reg { EAX, EBX, ECX, EDX };

struct cpuid_bit {
    uint32_t leaf;
    uint8_t subleaf, reg, bit;
    uint16_t feature;
};

static const struct cpuid_bit bits[] = {
    {1, 0, EDX, 0, X86_FEAT_FPU},
    {1, 0, EDX, 1, X86_FEAT_VME},
    {1, 0, EDX, 2, X86_FEAT_DE},
    {1, 0, EDX, 3, X86_FEAT_PSE},
    {1, 0, EDX, 4, X86_FEAT_TSC},
    {1, 0, EDX, 5, X86_FEAT_MSR},
    {1, 0, EDX, 6, X86_FEAT_PAE},
    {1, 0, EDX, 7, X86_FEAT_MCA}, /* MCE */
    {1, 0, EDX, 8, X86_FEAT_CX8},
    {1, 0, EDX, 9, X86_FEAT_APIC},
    {1, 0, EDX, 11, X86_FEAT_SEP},
    {1, 0, EDX, 12, X86_FEAT_MTRR},
    {1, 0, EDX, 13, X86_FEAT_PGE},
    {1, 0, EDX, 14, X86_FEAT_MCA},
    {1, 0, EDX, 15, X86_FEAT_CMOV},
    {1, 0, EDX, 16, X86_FEAT_PAT},
    {1, 0, EDX, 17, X86_FEAT_PSE36},
    {1, 0, EDX, 19, X86_FEAT_CLFLUSH},
    {1, 0, EDX, 23, X86_FEAT_MMX},
    {1, 0, EDX, 24, X86_FEAT_FXSR},
    {1, 0, EDX, 25, X86_FEAT_SSE},
    {1, 0, EDX, 26, X86_FEAT_SSE2},
    {1, 0, ECX, 0, X86_FEAT_SSE3},
    {1, 0, ECX, 1, X86_FEAT_PCLMUL},
    {1, 0, ECX, 3, X86_FEAT_MONITOR},
    {1, 0, ECX, 9, X86_FEAT_SSSE3},
    {1, 0, ECX, 12, X86_FEAT_FMA},
    {1, 0, ECX, 13, X86_FEAT_CX16},
    {1, 0, ECX, 17, X86_FEAT_PCID},
    {1, 0, ECX, 19, X86_FEAT_SSE41},
    {1, 0, ECX, 20, X86_FEAT_SSE42},
    {1, 0, ECX, 21, X86_FEAT_X2APIC},
    {1, 0, ECX, 22, X86_FEAT_MOVBE},
    {1, 0, ECX, 23, X86_FEAT_POPCNT},
    {1, 0, ECX, 24, X86_FEAT_TSC_DEADLINE},
    {1, 0, ECX, 25, X86_FEAT_AES},
    {1, 0, ECX, 26, X86_FEAT_XSAVE},
    {1, 0, ECX, 28, X86_FEAT_AVX},
    {1, 0, ECX, 29, X86_FEAT_F16C},
    {1, 0, ECX, 30, X86_FEAT_RDRAND},
    {7, 0, EBX, 0, X86_FEAT_FSGSBASE},
    {7, 0, EBX, 1, X86_FEAT_TSC_ADJUST},
    {7, 0, EBX, 3, X86_FEAT_BMI1},
    {7, 0, EBX, 5, X86_FEAT_AVX2},
    {7, 0, EBX, 7, X86_FEAT_SMEP},
    {7, 0, EBX, 8, X86_FEAT_BMI2},
    {7, 0, EBX, 9, X86_FEAT_ERMS},
    {7, 0, EBX, 10, X86_FEAT_INVPCID},
    {7, 0, EBX, 18, X86_FEAT_RDSEED},
    {7, 0, EBX, 19, X86_FEAT_ADX},
    {7, 0, EBX, 20, X86_FEAT_SMAP},
    {7, 0, EBX, 23, X86_FEAT_CLFLUSHOPT},
    {7, 0, EBX, 24, X86_FEAT_CLWB},
    {7, 0, EBX, 29, X86_FEAT_SHA},
    {7, 0, ECX, 2, X86_FEAT_UMIP},
    {7, 0, ECX, 8, X86_FEAT_GFNI},
    {7, 0, ECX, 9, X86_FEAT_VAES},
    {7, 0, ECX, 10, X86_FEAT_VPCLMUL},
    {7, 0, ECX, 22, X86_FEAT_RDPID},
    {7, 0, ECX, 27, X86_FEAT_MOVDIRI},
    {7, 0, EDX, 4, X86_FEAT_FSRM},
    {7, 0, EDX, 14, X86_FEAT_SERIALIZE},
    {0xd, 1, EAX, 0, X86_FEAT_XSAVEOPT},
    {0xd, 1, EAX, 1, X86_FEAT_XSAVEC},
    {0xd, 1, EAX, 2, X86_FEAT_XGETBV1},
    {0xd, 1, EAX, 3, X86_FEAT_XSAVES},
    {0x80000001, 0, ECX, 0, X86_FEAT_LAHF},
    {0x80000001, 0, ECX, 5, X86_FEAT_LZCNT},
    {0x80000001, 0, ECX, 6, X86_FEAT_SSE4A},
    {0x80000001, 0, ECX, 8, X86_FEAT_PREFETCHW},
    {0x80000001, 0, EDX, 11, X86_FEAT_SYSCALL},
    {0x80000001, 0, EDX, 20, X86_FEAT_NX},
    {0x80000001, 0, EDX, 26, X86_FEAT_1G},
    {0x80000001, 0, EDX, 27, X86_FEAT_RDTSCP},
    {0x80000001, 0, EDX, 29, X86_FEAT_LM},
    {0x80000008, 0, EBX, 0, X86_FEAT_CLZERO},
    {0x80000008, 0, EBX, 9, X86_FEAT_WBNOINVD},
};
#define NBITS (sizeof bits / sizeof *bits)

/* What lib/x86 implements in portable C, on every host. */
static const uint8_t portable[] = {
    X86_FEAT_CMOV,         X86_FEAT_CX8,        X86_FEAT_CX16,    X86_FEAT_BMI1,
    X86_FEAT_BMI2,         X86_FEAT_ADX,        X86_FEAT_LZCNT,   X86_FEAT_POPCNT,
    X86_FEAT_MOVBE,        X86_FEAT_RDRAND,     X86_FEAT_RDSEED,  X86_FEAT_FSGSBASE,
    X86_FEAT_RDTSCP,       X86_FEAT_RDPID,      X86_FEAT_SEP,     X86_FEAT_SYSCALL,
    X86_FEAT_LM,           X86_FEAT_LAHF,       X86_FEAT_CLFLUSH, X86_FEAT_CLFLUSHOPT,
    X86_FEAT_CLWB,         X86_FEAT_PREFETCHW,  X86_FEAT_INVPCID, X86_FEAT_PCID,
    X86_FEAT_SMEP,         X86_FEAT_SMAP,       X86_FEAT_UMIP,    X86_FEAT_NX,
    X86_FEAT_PGE,          X86_FEAT_PSE,        X86_FEAT_PSE36,   X86_FEAT_PAE,
    X86_FEAT_1G,           X86_FEAT_VME,        X86_FEAT_DE,      X86_FEAT_TSC,
    X86_FEAT_TSC_DEADLINE, X86_FEAT_TSC_ADJUST, X86_FEAT_MSR,     X86_FEAT_MTRR,
    X86_FEAT_PAT,          X86_FEAT_MCA,        X86_FEAT_APIC,    X86_FEAT_X2APIC,
    X86_FEAT_ERMS,         X86_FEAT_FSRM,
};

/* What needs the host's own unit: offered only where the host has it. */
static const uint8_t vector[] = {
    X86_FEAT_FPU,   X86_FEAT_MMX,    X86_FEAT_SSE, X86_FEAT_SSE2, X86_FEAT_SSE3,    X86_FEAT_SSSE3,
    X86_FEAT_SSE41, X86_FEAT_SSE42,  X86_FEAT_AVX, X86_FEAT_AVX2, X86_FEAT_FMA,     X86_FEAT_F16C,
    X86_FEAT_AES,   X86_FEAT_PCLMUL, X86_FEAT_SHA, X86_FEAT_VAES, X86_FEAT_VPCLMUL, X86_FEAT_GFNI,
};

/* State images, of no use without the state. */
static const uint8_t images[] = {X86_FEAT_FXSR, X86_FEAT_XSAVE, X86_FEAT_XSAVEOPT, X86_FEAT_XSAVEC,
                                 X86_FEAT_XGETBV1};

static void set_feature(uint64_t *feat, unsigned f)
{
    feat[f >> 6] |= UINT64_C(1) << (f & 63);
}
static bool has(const uint64_t *feat, unsigned f)
{
    return feat[f >> 6] >> (f & 63) & 1;
}

static struct x86_cpuid_leaf *add(struct x86_cpuid_table *t, uint32_t leaf, uint32_t subleaf,
                                  uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    if (t->count == X86_CPUID_MAX_LEAVES)
        return NULL;
    struct x86_cpuid_leaf *l = &t->leaf[t->count++];
    *l = (struct x86_cpuid_leaf){leaf, subleaf, eax, ebx, ecx, edx};
    return l;
}

static uint32_t *reg_of(struct x86_cpuid_leaf *l, unsigned reg)
{
    return reg == EAX ? &l->eax : reg == EBX ? &l->ebx : reg == ECX ? &l->ecx : &l->edx;
}

static const struct x86_cpuid_leaf *find(const struct x86_cpuid_table *t, uint32_t leaf,
                                         uint32_t subleaf)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->leaf[i].leaf == leaf && (t->leaf[i].subleaf == subleaf || t->leaf[i].subleaf == ~0u))
            return &t->leaf[i];
    return NULL;
}

static void fill_bits(const uint64_t *feat, struct x86_cpuid_table *t)
{
    for (unsigned i = 0; i < t->count; i++)
        for (unsigned b = 0; b < NBITS; b++) {
            struct x86_cpuid_leaf *l = &t->leaf[i];
            bool here = bits[b].leaf == l->leaf &&
                        (l->subleaf == ~0u ? bits[b].subleaf == 0 : bits[b].subleaf == l->subleaf);
            if (here && has(feat, bits[b].feature))
                *reg_of(l, bits[b].reg) |= 1u << bits[b].bit;
        }
}

static void add_text(struct x86_cpuid_table *t, uint32_t leaf, const char *text16)
{
    uint32_t r[4];
    memcpy(r, text16, sizeof r);
    add(t, leaf, ~0u, r[0], r[1], r[2], r[3]);
}

static unsigned bits_for(uint32_t n) /* log2, rounded up */
{
    unsigned b = 0;
    while (b < 31 && (1u << b) < n)
        b++;
    return b;
}

/* One package, one thread per core. */
static void add_topology(const struct x86_cpuid_config *cfg, struct x86_cpuid_table *t)
{
    uint32_t n = cfg->ncpus ? cfg->ncpus : 1, cores = n > 64 ? 63 : n - 1;
    uint32_t l1 = cores << 26, id = cfg->apic_id;

    add(t, 4, 0, l1 | 0x121, 0x01c0003f, 63, 0);   /* L1D 32 KiB, 8 ways */
    add(t, 4, 1, l1 | 0x122, 0x01c0003f, 63, 0);   /* L1I */
    add(t, 4, 2, l1 | 0x143, 0x01c0003f, 1023, 0); /* L2 512 KiB */
    add(t, 4, 3, l1 | 0x163 | (n - 1 < 4095 ? n - 1 : 4095) << 14, 0x03c0003f, 8191,
        4); /* L3 8 MiB */
    add(t, 4, ~0u, 0, 0, 0, 0);
    add(t, 0xb, 0, 0, 1, 0x100, id);
    add(t, 0xb, 1, bits_for(n), n, 0x201, id);
    add(t, 0xb, ~0u, 0, 0, 2, id);
}

static void add_xsave(const uint64_t *feat, struct x86_cpuid_table *t)
{
    bool avx = has(feat, X86_FEAT_AVX);
    if (!has(feat, X86_FEAT_XSAVE))
        return;
    add(t, 0xd, 0, avx ? 7 : 3, 576, avx ? 832 : 576, 0);
    add(t, 0xd, 1, 0, 0, 0, 0);
    if (avx)
        add(t, 0xd, 2, 256, 576, 0, 0);
    add(t, 0xd, ~0u, 0, 0, 0, 0);
}

static void choose_features(const uint64_t *host, uint64_t feat[4])
{
    memset(feat, 0, 4 * sizeof *feat);
    set_feature(feat, X86_FEAT_BASE);
    for (unsigned i = 0; i < sizeof portable; i++)
        set_feature(feat, portable[i]);
    for (unsigned i = 0; host && i < sizeof vector; i++)
        if (has(host, vector[i]))
            set_feature(feat, vector[i]);
    for (unsigned i = 0; has(feat, X86_FEAT_SSE2) && i < sizeof images; i++)
        set_feature(feat, images[i]);
}

void x86_cpuid_default(const struct x86_cpuid_config *cfg, struct x86_cpuid_table *t)
{
    uint64_t feat[4];
    uint32_t n = cfg->ncpus ? cfg->ncpus : 1, threads = n > 255 ? 255 : n;
    uint32_t mhz = cfg->tsc_khz / 1000;
    unsigned phys = cfg->phys_bits ? cfg->phys_bits : X86_PHYS_BITS_DEFAULT;

    choose_features(cfg->host_feat, feat);
    t->count = 0;
    add(t, 0, ~0u, 0x16, 0x756e6547, 0x6c65746e, 0x49656e69); /* GenuineIntel */
    add(t, 1, ~0u, X86_CPUID_SIGNATURE, cfg->apic_id << 24 | threads << 16 | 8 << 8,
        1u << 31 /* hypervisor */, n > 1 ? 1u << 28 : 0);
    add(t, 2, ~0u, 0x00feff01, 0, 0, 0); /* see leaf 4; no TLB information */
    add_topology(cfg, t);
    add(t, 5, ~0u, 0, 0, 0, 0);
    add(t, 6, ~0u, 4 /* APIC timer always runs */, 0, 0, 0);
    add(t, 7, 0, 0, 1u << 13 /* FCS and FDS are zero */, 0, 1u << 29 /* ARCH_CAPABILITIES */);
    add(t, 0xa, ~0u, 0, 0, 0, 0);
    add_xsave(feat, t);
    /* TSC = crystal * EBX / EAX; a TSC that is no multiple of 25 MHz is its own crystal. */
    bool whole = cfg->tsc_khz % 25000 == 0;
    add(t, 0x15, ~0u, cfg->tsc_khz != 0, whole ? cfg->tsc_khz / 25000 : 1,
        whole ? 25000000 : cfg->tsc_khz * 1000, 0);
    add(t, 0x16, ~0u, mhz, mhz, 100, 0);
    add_text(t, 0x40000000, "\x10\0\0\x40libvmlib\0\0\0");
    add(t, 0x40000001, ~0u, 0, 0, 0, 0);
    add(t, 0x40000010, ~0u, cfg->tsc_khz, 1000000 /* local APIC timer, kHz */, 0, 0);
    add(t, 0x80000000, ~0u, 0x80000008, 0, 0, 0);
    add(t, 0x80000001, ~0u, 0, 0, 0, 0);
    add_text(t, 0x80000002, "libvmlib virtual");
    add_text(t, 0x80000003, " CPU\0\0\0\0\0\0\0\0\0\0\0");
    add_text(t, 0x80000004, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    add(t, 0x80000006, ~0u, 0, 0, 512u << 16 | 6 << 12 | 64, 0);
    add(t, 0x80000007, ~0u, 0, 0, 0, 1u << 8 /* invariant TSC */);
    add(t, 0x80000008, ~0u, 48u << 8 | phys, 0, 0, 0);
    fill_bits(feat, t);
}

void x86_cpuid_features(const struct x86_cpuid_table *t, uint64_t feat[4])
{
    memset(feat, 0, 4 * sizeof *feat);
    set_feature(feat, X86_FEAT_BASE);
    for (unsigned b = 0; b < NBITS; b++) {
        const struct x86_cpuid_leaf *l = find(t, bits[b].leaf, bits[b].subleaf);
        if (!l)
            continue;
        uint32_t v = bits[b].reg == EAX   ? l->eax
                     : bits[b].reg == EBX ? l->ebx
                     : bits[b].reg == ECX ? l->ecx
                                          : l->edx;
        if (v >> bits[b].bit & 1)
            set_feature(feat, bits[b].feature);
    }
}

/* Bits that follow the state of the asking CPU. */
static void follow_state(const struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf,
                         uint32_t out[4])
{
    if (leaf == 1) {
        out[ECX] &= ~(1u << 27);
        if (cpu->cr4 & X86_CR4_OSXSAVE)
            out[ECX] |= 1u << 27;
        if (!(cpu->apic_base & 0x800))
            out[EDX] &= ~(1u << 9);
    } else if (leaf == 0xd && subleaf <= 1 && x86_has(cpu, X86_FEAT_XSAVE)) {
        out[EBX] = cpu->xcr0 & X86_XCR0_AVX ? 832 : 576; /* size of the enabled components */
    } else if (leaf == 0x80000001 && !x86_in_long64(cpu)) {
        out[EDX] &= ~(1u << 11); /* SYSCALL exists in 64-bit mode only */
    }
}

void x86_cpuid_lookup(const struct x86_cpu *cpu, const struct x86_cpuid_table *t, uint32_t leaf,
                      uint32_t subleaf, uint32_t out[4])
{
    const struct x86_cpuid_leaf *l = find(t, leaf, subleaf);
    bool hyper = leaf >> 16 == 0x4000, known = l != NULL;

    out[EAX] = out[EBX] = out[ECX] = out[EDX] = 0;
    if (!l && !hyper) { /* beyond the highest leaf: the data of the highest basic one */
        const struct x86_cpuid_leaf *top = find(t, leaf & 0x80000000u, 0), *basic = find(t, 0, 0);
        if (basic && (!top || leaf > top->eax)) {
            l = find(t, basic->eax, subleaf);
            leaf = basic->eax;
        }
    }
    if (!l)
        return;
    out[EAX] = l->eax;
    out[EBX] = l->ebx;
    out[ECX] = l->ecx;
    out[EDX] = l->edx;
    if ((leaf == 4 || leaf == 0xb) && l->subleaf == ~0u)
        out[ECX] |= subleaf & 0xff;
    if (known)
        follow_state(cpu, leaf, subleaf, out);
}
