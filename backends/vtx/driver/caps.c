// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * What the processor's VMX can do, and whether it suffices: every requirement of the driver is a
 * row here, checked before anything is touched.
 *
 * Controls (SDM Vol.3C 31.5.1, appendix A.3): a bit is set when the processor insists (allowed
 * 0-setting is 1), when the driver insists (must), or when user space asks for it and may.
 */
#include "core.h"

#define ALL_PROC_EXITS                                                                     \
    (PROC_INTERRUPT_WINDOW | PROC_TSC_OFFSET | PROC_INVLPG | PROC_RDTSC | PROC_CR3_LOAD |  \
     PROC_CR3_STORE | PROC_CR8_LOAD | PROC_CR8_STORE | PROC_TPR_SHADOW | PROC_NMI_WINDOW | \
     PROC_MTF | PROC_PAUSE)

/* must: without them a guest could hold, slow down or reach into the host. want: set where they
 * exist. may: user space decides. clear: CR3 exits are 1 by default where the true MSRs allow 0. */
static const struct {
    u32 msr, must, want, may;
} words[VMLIB_VTX_CONTROLS] = {
    [VMLIB_VTX_PIN] = {IA32_VMX_TRUE_PIN, PIN_EXTERNAL_INTERRUPT | PIN_NMI, PIN_VIRTUAL_NMI,
                       PIN_TIMER},
    [VMLIB_VTX_PROC] = {IA32_VMX_TRUE_PROC,
                        PROC_HLT | PROC_MWAIT | PROC_RDPMC | PROC_MOV_DR | PROC_IO |
                            PROC_MSR_BITMAP | PROC_MONITOR | PROC_SECONDARY,
                        0, ALL_PROC_EXITS},
    [VMLIB_VTX_PROC2] = {IA32_VMX_PROC2, PROC2_EPT, PROC2_VPID | PROC2_WBINVD,
                         PROC2_DESCRIPTOR | PROC2_RDTSCP | PROC2_UNRESTRICTED | PROC2_RDRAND |
                             PROC2_INVPCID | PROC2_RDSEED},
};

static u32 lowest_bit(u32 bits)
{
    u32 n = 0;

    while (!(bits >> n & 1))
        n++;
    return n;
}

static void require(struct vtx_caps *c, u32 word, u32 bits)
{
    if (!bits || c->unavailable)
        return;
    c->unavailable = VMLIB_VTX_MISSING_CONTROL;
    c->missing = word << 8 | lowest_bit(bits);
}

static void read_words(struct vtx_caps *c)
{
    u32 i;

    for (i = 0; i < VMLIB_VTX_CONTROLS; i++) {
        u64 allowed = plat_rdmsr(words[i].msr);

        c->low[i] = (u32)allowed;
        c->high[i] = (u32)(allowed >> 32);
        require(c, i, words[i].must & ~c->high[i]);
        /* What the processor insists on must be something that we know how to live with: all
         * default-1 bits have no effect or are exits that user space handles. */
        c->must[i] = c->low[i] | words[i].must | (words[i].want & c->high[i]);
        c->may[i] = (words[i].may & c->high[i]) | c->must[i];
    }
}

static u32 choose(struct vtx_caps *c, u32 msr, u32 word, u32 must)
{
    u64 allowed = plat_rdmsr(msr);

    require(c, word, must & ~(u32)(allowed >> 32));
    return must | (u32)allowed;
}

static void read_ept(struct vtx_caps *c)
{
    const u64 need = EPTCAP_WALK4 | EPTCAP_WB | EPTCAP_INVEPT;

    if (!(c->high[VMLIB_VTX_PROC2] & PROC2_EPT)) {
        c->unavailable = VMLIB_VTX_NO_EPT;
        return;
    }
    c->ept_vpid = plat_rdmsr(IA32_VMX_EPT_VPID);
    if ((c->ept_vpid & need) != need || !(c->ept_vpid & (EPTCAP_INVEPT_SINGLE | EPTCAP_INVEPT_ALL)))
        c->unavailable = VMLIB_VTX_NO_EPT;
    if (!(c->ept_vpid & EPTCAP_INVVPID) || !(c->ept_vpid & EPTCAP_INVVPID_SINGLE))
        c->must[VMLIB_VTX_PROC2] &= ~PROC2_VPID;
}

static void collect_features(struct vtx_caps *c, const struct vtx_cpu_facts *cpu)
{
    const u32 *high = c->high;
    const struct {
        u64 feature;
        bool there;
    } rows[] = {
        {VMLIB_VTX_F_UNRESTRICTED, (high[VMLIB_VTX_PROC2] & PROC2_UNRESTRICTED) != 0},
        {VMLIB_VTX_F_EPT_XONLY, (c->ept_vpid & EPTCAP_XONLY) != 0},
        {VMLIB_VTX_F_EPT_AD, (c->ept_vpid & EPTCAP_AD) != 0},
        {VMLIB_VTX_F_EPT_2M, (c->ept_vpid & EPTCAP_2M) != 0},
        {VMLIB_VTX_F_VPID, (c->must[VMLIB_VTX_PROC2] & PROC2_VPID) != 0},
        {VMLIB_VTX_F_TIMER, (high[VMLIB_VTX_PIN] & PIN_TIMER) != 0},
        {VMLIB_VTX_F_TPR_SHADOW, (high[VMLIB_VTX_PROC] & PROC_TPR_SHADOW) != 0},
        {VMLIB_VTX_F_MTF, (high[VMLIB_VTX_PROC] & PROC_MTF) != 0},
        {VMLIB_VTX_F_XSAVE, cpu->xsave},
        {VMLIB_VTX_F_VNMI, (high[VMLIB_VTX_PIN] & PIN_VIRTUAL_NMI) != 0},
    };
    u32 i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        c->features |= rows[i].there ? rows[i].feature : 0;
}

static void collect_registers(struct vtx_caps *c, const struct vtx_cpu_facts *cpu)
{
    c->cr0_fixed0 = plat_rdmsr(IA32_VMX_CR0_FIXED0);
    c->cr0_fixed1 = plat_rdmsr(IA32_VMX_CR0_FIXED0 + 1);
    c->cr4_fixed0 = plat_rdmsr(IA32_VMX_CR0_FIXED0 + 2);
    c->cr4_fixed1 = plat_rdmsr(IA32_VMX_CR0_FIXED0 + 3);
    c->cr0_owned = GUEST_CR0_TS | GUEST_CR0_NE | GUEST_CR0_NW | GUEST_CR0_CD;
    /* A machine check with CR4.MCE clear shuts the processor down, also in a guest. */
    c->cr4_owned =
        c->cr4_fixed0 | GUEST_CR4_VMXE | GUEST_CR4_MCE | GUEST_CR4_OSXSAVE | ~(u64)GUEST_CR4_MAY;
    c->cr4_may = c->cr4_fixed1 & GUEST_CR4_MAY;
    c->efer_may = GUEST_EFER_SCE | GUEST_EFER_LME | GUEST_EFER_LMA | (cpu->nx ? GUEST_EFER_NX : 0);
    c->xcr0 = cpu->xsave ? cpu->xcr0 & 0xe7u : 0; /* x87 to AVX-512; MPX, PKRU, AMX: never */
    /* Four levels of EPT translate 48 bits. */
    c->gpa_limit = 1ull << (cpu->phys_bits < 48 ? cpu->phys_bits : 48);
    c->timer_shift = (u32)plat_rdmsr(IA32_VMX_MISC) & 31;
}

void vtx_caps_read(struct vtx_caps *c, const struct vtx_cpu_facts *cpu)
{
    static const struct vtx_caps none;
    u64 control;

    *c = none;
    if (!cpu->vmx) {
        c->unavailable = VMLIB_VTX_NO_VMX;
        return;
    }
    if (cpu->fred) {
        c->unavailable = VMLIB_VTX_HOST_FRED;
        return;
    }
    /* SDM Vol.3C 23.7: locked without "VMX outside SMX". Unlocked is ours to set. */
    control = plat_rdmsr(IA32_FEATURE_CONTROL);
    if ((control & 5) == 1) {
        c->unavailable = VMLIB_VTX_FIRMWARE_OFF;
        return;
    }
    c->basic = plat_rdmsr(IA32_VMX_BASIC);
    if (!cpu->fxsr)
        c->unavailable = VMLIB_VTX_NO_CPU_STATE;
    if (!(c->basic >> 55 & 1)) /* true controls: CR3 exits can be off (A.2) */
        require(c, VMLIB_VTX_PROC, PROC_CR3_LOAD);
    if (!(plat_rdmsr(IA32_VMX_TRUE_PROC) >> 32 & PROC_SECONDARY)) {
        c->unavailable = VMLIB_VTX_NO_EPT;
        return;
    }
    read_words(c);
    read_ept(c);
    c->exit_controls = choose(c, IA32_VMX_TRUE_EXIT, VMLIB_VTX_CONTROLS,
                              EXIT_HOST_64 | EXIT_SAVE_PAT | EXIT_LOAD_PAT | EXIT_SAVE_EFER |
                                  EXIT_LOAD_EFER | EXIT_SAVE_DEBUG);
    c->entry_controls =
        choose(c, IA32_VMX_TRUE_ENTRY, VMLIB_VTX_CONTROLS + 1,
               ENTRY_LOAD_DEBUG | ENTRY_LOAD_PAT | ENTRY_LOAD_EFER | ENTRY_GUEST_64) &
        ~ENTRY_GUEST_64; /* follows EFER.LMA */
    collect_registers(c, cpu);
    collect_features(c, cpu);
}

void vtx_caps_info(const struct vtx_caps *c, struct vmlib_vtx_info *info)
{
    u32 i;

    info->api = VMLIB_VTX_API;
    info->unavailable = c->unavailable;
    info->missing = c->missing;
    info->features = c->features;
    for (i = 0; i < VMLIB_VTX_CONTROLS; i++) {
        info->may[i] = c->may[i];
        info->must[i] = c->must[i];
    }
    info->timer_shift = c->timer_shift;
    info->phys_bits = 0;
    while (c->gpa_limit >> info->phys_bits > 1)
        info->phys_bits++;
    info->cr0_fixed0 = c->cr0_fixed0;
    info->cr0_fixed1 = c->cr0_fixed1;
    info->cr4_fixed0 = c->cr4_fixed0;
    info->cr4_fixed1 = c->cr4_fixed1;
    info->cr0_owned = c->cr0_owned;
    info->cr4_owned = c->cr4_owned;
    info->cr4_may = c->cr4_may;
    info->efer_may = c->efer_may;
    info->xcr0_may = c->xcr0;
    info->vmx_basic = c->basic;
    info->ept_vpid_cap = c->ept_vpid;
}
