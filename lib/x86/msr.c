/* Model-specific registers that lib/x86 keeps: SDM Vol.4 table 2-2. All others are the owner's. */
#include "x86/sysint.h"

enum msr_kind {
    PLAIN,   /* 64 bits in struct x86_cpu; written bits must lie in `mask` */
    FIXED,   /* reads as `mask`, writes that change it are #GP */
    IGNORED, /* reads as `mask`, writes without effect */
    CANON    /* PLAIN, must be canonical */
};

struct msr {
    uint32_t index;
    uint16_t feature;
    uint8_t kind;
    uint32_t offset; /* in struct x86_cpu */
    uint64_t mask;
};

#define FIELD(f) offsetof(struct x86_cpu, f)
#define ALL      (~UINT64_C(0))

/* What an interpreter cannot suffer from: RDCL, L1TF at entry, SSB, MDS, page-size-change machine
 * check, TAA, SBDR/SSDP, FBSDP, PSDP, BHI, PBRSB, GDS, RFDS (IA32_ARCH_CAPABILITIES). */
#define ARCH_CAPABILITIES                                                                       \
    (UINT64_C(1) << 0 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 8 | 1u << 13 | 1u << 14 | \
     1u << 15 | 1u << 20 | 1u << 24 | 1u << 26 | 1u << 27)

/* Sorted by index. */
static const struct msr msrs[] = {
    {0x0000, X86_FEAT_BASE, IGNORED, 0, 0},                 /* P5_MC_ADDR */
    {0x0001, X86_FEAT_BASE, IGNORED, 0, 0},                 /* P5_MC_TYPE */
    {0x0017, X86_FEAT_BASE, FIXED, 0, 0},                   /* PLATFORM_ID */
    {0x003a, X86_FEAT_BASE, FIXED, 0, 1},                   /* FEATURE_CONTROL: locked */
    {0x0079, X86_FEAT_BASE, IGNORED, 0, 0},                 /* BIOS_UPDT_TRIG */
    {0x008b, X86_FEAT_BASE, IGNORED, 0, UINT64_C(1) << 32}, /* BIOS_SIGN_ID: an update revision */
    {0x00ce, X86_FEAT_BASE, FIXED, 0, 0},                   /* PLATFORM_INFO */
    {0x00fe, X86_FEAT_MTRR, FIXED, 0, X86_NMTRR_VAR | 1 << 8 | 1 << 10}, /* MTRRCAP: fixed, WC */
    {0x010a, X86_FEAT_BASE, FIXED, 0, ARCH_CAPABILITIES},
    {0x0174, X86_FEAT_SEP, PLAIN, FIELD(msr.sysenter_cs), UINT32_MAX},
    {0x0175, X86_FEAT_SEP, CANON, FIELD(msr.sysenter_esp), ALL},
    {0x0176, X86_FEAT_SEP, CANON, FIELD(msr.sysenter_eip), ALL},
    {0x0179, X86_FEAT_MCA, FIXED, 0, 0}, /* MCG_CAP: no banks */
    {0x017a, X86_FEAT_MCA, PLAIN, FIELD(msr.mcg_status), ALL},
    {0x0198, X86_FEAT_BASE, FIXED, 0, 0}, /* PERF_STATUS */
    {0x01a0, X86_FEAT_BASE, PLAIN, FIELD(msr.misc_enable), ALL},
    {0x01d9, X86_FEAT_BASE, PLAIN, FIELD(msr.debugctl), 1}, /* DEBUGCTL: LBR records nothing */
    {0x0da0, X86_FEAT_XSAVES, PLAIN, FIELD(msr.xss), 0},
    {0xc0000081, X86_FEAT_SYSCALL, PLAIN, FIELD(msr.star), ALL},
    {0xc0000082, X86_FEAT_LM, CANON, FIELD(msr.lstar), ALL},
    {0xc0000083, X86_FEAT_LM, CANON, FIELD(msr.cstar), ALL},
    {0xc0000084, X86_FEAT_SYSCALL, PLAIN, FIELD(msr.fmask), UINT32_MAX},
    {0xc0000100, X86_FEAT_LM, CANON, FIELD(seg[X86_FS].base), ALL},
    {0xc0000101, X86_FEAT_LM, CANON, FIELD(seg[X86_GS].base), ALL},
    {0xc0000102, X86_FEAT_LM, CANON, FIELD(msr.kernel_gs_base), ALL},
    {0xc0000103, X86_FEAT_RDTSCP, PLAIN, FIELD(msr.tsc_aux), UINT32_MAX},
};

static const struct msr *find(const struct x86_cpu *cpu, uint32_t index)
{
    unsigned lo = 0, hi = sizeof msrs / sizeof *msrs;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (msrs[mid].index < index)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == sizeof msrs / sizeof *msrs || msrs[lo].index != index)
        return NULL;
    const struct msr *m = &msrs[lo];
    return m->feature == X86_FEAT_BASE || x86_has(cpu, m->feature) ? m : NULL;
}

static uint64_t *field(struct x86_cpu *cpu, const struct msr *m)
{
    return (uint64_t *)(void *)((char *)cpu + m->offset);
}

static enum x86_result gp0(struct x86_cpu *cpu)
{
    return x86_fault_err(cpu, X86_GP, 0);
}

/* --- memory types: state without effect, but with the checks --- */

static bool memory_type_ok(uint8_t t, bool pat)
{
    return t < 8 && (pat ? 0xf3 : 0x73) >> t & 1;
}

static bool types_ok(uint64_t v, bool pat)
{
    for (unsigned i = 0; i < 64; i += 8)
        if (!memory_type_ok((uint8_t)(v >> i), pat))
            return false;
    return true;
}

/* Where an MTRR is kept, or NULL. */
static uint64_t *mtrr(struct x86_cpu *cpu, uint32_t index)
{
    struct x86_mtrr *m = &cpu->msr.mtrr;
    if (!x86_has(cpu, X86_FEAT_MTRR))
        return NULL;
    if (index >= 0x200 && index < 0x200 + 2 * X86_NMTRR_VAR)
        return index & 1 ? &m->mask[(index - 0x200) / 2] : &m->base[(index - 0x200) / 2];
    if (index == 0x250)
        return &m->fixed[0];
    if (index == 0x258 || index == 0x259)
        return &m->fixed[1 + index - 0x258];
    if (index >= 0x268 && index <= 0x26f)
        return &m->fixed[3 + index - 0x268];
    return index == 0x2ff ? &m->def_type : NULL;
}

static bool mtrr_ok(const struct x86_cpu *cpu, uint32_t index, uint64_t v)
{
    if (index == 0x2ff)
        return !(v & ~UINT64_C(0xcff)) && memory_type_ok((uint8_t)v, false);
    if (index >= 0x250)
        return types_ok(v, false);
    if (v & ~cpu->phys_mask)
        return false;
    return index & 1 ? !(v & 0x7ff) : !(v & 0xf00) && memory_type_ok((uint8_t)v, false);
}

/* --- time --- */

static uint64_t guest_tsc(struct x86_cpu *cpu)
{
    return cpu->ops->tsc(cpu) + (uint64_t)cpu->msr.tsc_offset;
}

/* SDM Vol.3B 17.17.3: writing either register moves both. */
static void shift_tsc(struct x86_cpu *cpu, uint64_t by)
{
    cpu->msr.tsc_offset = (int64_t)((uint64_t)cpu->msr.tsc_offset + by);
    cpu->msr.tsc_adjust += by;
}

/* --- */

bool x86_msr_known(struct x86_cpu *cpu, uint32_t index)
{
    return find(cpu, index) || index == 0x10 ||
           (index == 0x3b && x86_has(cpu, X86_FEAT_TSC_ADJUST)) ||
           (index == 0x277 && x86_has(cpu, X86_FEAT_PAT)) || index == 0xc0000080 ||
           mtrr(cpu, index);
}

enum x86_result x86_rdmsr(struct x86_cpu *cpu, uint32_t index)
{
    const struct msr *m = find(cpu, index);
    uint64_t *p;
    if (m) {
        cpu->tmp = m->kind == PLAIN || m->kind == CANON ? *field(cpu, m) : m->mask;
        return X86_OK;
    }
    if (index == 0x10)
        cpu->tmp = guest_tsc(cpu);
    else if (index == 0x3b && x86_has(cpu, X86_FEAT_TSC_ADJUST))
        cpu->tmp = cpu->msr.tsc_adjust;
    else if (index == 0x277 && x86_has(cpu, X86_FEAT_PAT))
        cpu->tmp = cpu->msr.pat;
    else if (index == 0xc0000080)
        cpu->tmp = cpu->efer;
    else if ((p = mtrr(cpu, index)) != NULL)
        cpu->tmp = *p;
    else
        return cpu->ops->rdmsr(cpu, index);
    return X86_OK;
}

static enum x86_result write_listed(struct x86_cpu *cpu, const struct msr *m, uint64_t v)
{
    switch (m->kind) {
    case IGNORED:
        return X86_OK;
    case FIXED:
        return v == m->mask ? X86_OK : gp0(cpu);
    case CANON:
        if (!x86_canonical(v))
            return gp0(cpu);
        break;
    default:
        if (v & ~m->mask)
            return gp0(cpu);
        break;
    }
    *field(cpu, m) = v;
    return X86_OK;
}

enum x86_result x86_wrmsr(struct x86_cpu *cpu, uint32_t index, uint64_t v)
{
    const struct msr *m = find(cpu, index);
    uint64_t *p;
    if (m)
        return write_listed(cpu, m, v);
    if (index == 0x10) {
        shift_tsc(cpu, v - guest_tsc(cpu));
    } else if (index == 0x3b && x86_has(cpu, X86_FEAT_TSC_ADJUST)) {
        shift_tsc(cpu, v - cpu->msr.tsc_adjust);
    } else if (index == 0x277 && x86_has(cpu, X86_FEAT_PAT)) {
        if (!types_ok(v, true))
            return gp0(cpu);
        cpu->msr.pat = v;
    } else if (index == 0xc0000080) {
        return x86_write_efer(cpu, v);
    } else if ((p = mtrr(cpu, index)) != NULL) {
        if (!mtrr_ok(cpu, index, v))
            return gp0(cpu);
        *p = v;
    } else {
        return cpu->ops->wrmsr(cpu, index, v);
    }
    return X86_OK;
}
