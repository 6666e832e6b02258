// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Register groups between the run page and the VMCS.
 *
 * Groups without danger for the host are copied as they are: the processor checks them at entry
 * (SDM Vol.3C 26.3). CONTROL, CONTROLS, MSRS and DEBUG are checked here, each value read once.
 */
#include "core.h"

/* --- FLOW, SEGMENTS, EVENTS --- */

static void load_flow(struct vtx_vcpu *v)
{
    vmx_write(VMCS_GUEST_RSP, READ_ONCE(v->run->gpr[4]));
    vmx_write(VMCS_GUEST_RFLAGS, READ_ONCE(v->run->rflags));
}

static void load_segments(struct vtx_vcpu *v)
{
    const struct vmlib_vtx_run *run = v->run;
    u32 i;

    for (i = 0; i < VMLIB_VTX_SEGMENTS; i++) {
        const struct vmlib_vtx_segment *s = &run->segments.s[i];

        vmx_write(VMCS_GUEST_ES + 2 * i, READ_ONCE(s->selector));
        vmx_write(VMCS_GUEST_ES_LIMIT + 2 * i, READ_ONCE(s->limit));
        vmx_write(VMCS_GUEST_ES_ACCESS + 2 * i, READ_ONCE(s->attributes));
        vmx_write(VMCS_GUEST_ES_BASE + 2 * i, READ_ONCE(s->base));
    }
    vmx_write(VMCS_GUEST_GDTR_BASE, READ_ONCE(run->segments.gdtr_base));
    vmx_write(VMCS_GUEST_IDTR_BASE, READ_ONCE(run->segments.idtr_base));
    vmx_write(VMCS_GUEST_GDTR_LIMIT, READ_ONCE(run->segments.gdtr_limit));
    vmx_write(VMCS_GUEST_IDTR_LIMIT, READ_ONCE(run->segments.idtr_limit));
}

static void fetch_segments(struct vtx_vcpu *v)
{
    struct vmlib_vtx_run *run = v->run;
    u32 i;

    for (i = 0; i < VMLIB_VTX_SEGMENTS; i++) {
        struct vmlib_vtx_segment *s = &run->segments.s[i];

        WRITE_ONCE(s->selector, (u16)vmx_read(VMCS_GUEST_ES + 2 * i));
        WRITE_ONCE(s->limit, (u32)vmx_read(VMCS_GUEST_ES_LIMIT + 2 * i));
        WRITE_ONCE(s->attributes, (u32)vmx_read(VMCS_GUEST_ES_ACCESS + 2 * i));
        WRITE_ONCE(s->base, vmx_read(VMCS_GUEST_ES_BASE + 2 * i));
    }
    WRITE_ONCE(run->segments.gdtr_base, vmx_read(VMCS_GUEST_GDTR_BASE));
    WRITE_ONCE(run->segments.idtr_base, vmx_read(VMCS_GUEST_IDTR_BASE));
    WRITE_ONCE(run->segments.gdtr_limit, (u32)vmx_read(VMCS_GUEST_GDTR_LIMIT));
    WRITE_ONCE(run->segments.idtr_limit, (u32)vmx_read(VMCS_GUEST_IDTR_LIMIT));
}

static void load_events(struct vtx_vcpu *v)
{
    vmx_write(VMCS_GUEST_INTERRUPTIBILITY, READ_ONCE(v->run->events.interruptibility));
    vmx_write(VMCS_GUEST_PENDING_DEBUG, READ_ONCE(v->run->events.pending_debug));
}

static void fetch_events(struct vtx_vcpu *v)
{
    WRITE_ONCE(v->run->events.interruptibility, (u32)vmx_read(VMCS_GUEST_INTERRUPTIBILITY));
    WRITE_ONCE(v->run->events.pending_debug, vmx_read(VMCS_GUEST_PENDING_DEBUG));
}

/* --- CONTROL --- */

static bool xcr0_ok(const struct vtx_caps *caps, u64 x)
{
    if (!x)
        return true;
    /* SDM Vol.1 13.3: x87 always, AVX needs SSE, the three parts of AVX-512 need AVX, together. */
    if (!(x & 1) || x & ~caps->xcr0)
        return false;
    if (x & 4 && !(x & 2))
        return false;
    return !(x & 0xe0) || ((x & 0xe0) == 0xe0 && x & 4);
}

/* The processor would refuse the entry (SDM Vol.3C 26.3.1.1); emulators have been seen to stop. */
static bool long_mode_ok(u64 cr0, u64 cr4, u64 efer)
{
    const u64 need = GUEST_CR0_PE | GUEST_CR0_PG;

    return !(efer & GUEST_EFER_LMA) ||
           ((cr0 & need) == need && cr4 & GUEST_CR4_PAE && efer & GUEST_EFER_LME);
}

static u32 load_control(struct vtx_vcpu *v)
{
    const struct vtx_caps *caps = v->caps;
    const struct vmlib_vtx_run *run = v->run;
    u64 cr0 = READ_ONCE(run->control.cr0), cr4 = READ_ONCE(run->control.cr4);
    u64 efer = READ_ONCE(run->control.efer), xcr0 = READ_ONCE(run->control.xcr0);
    u64 fixed0 = caps->cr0_fixed0, real;
    u32 i;

    if (v->proc2 & PROC2_UNRESTRICTED)
        fixed0 &= ~(GUEST_CR0_PE | GUEST_CR0_PG);
    real = (cr0 | fixed0) & ~(GUEST_CR0_CD | GUEST_CR0_NW);
    if (cr0 >> 32 || real & ~caps->cr0_fixed1)
        return VMLIB_VTX_BAD_CR0;
    if (cr4 & ~caps->cr4_may)
        return VMLIB_VTX_BAD_CR4;
    if (efer & ~caps->efer_may || !long_mode_ok(real, cr4, efer))
        return VMLIB_VTX_BAD_EFER;
    if (!xcr0_ok(caps, xcr0))
        return VMLIB_VTX_BAD_XCR0;

    v->efer = efer;
    v->xcr0 = xcr0 ? xcr0 : caps->xcr0;
    v->osxsave = (cr4 & GUEST_CR4_OSXSAVE) != 0;
    if (!v->fpu_loaded)
        real |= GUEST_CR0_TS;
    vmx_write(VMCS_GUEST_CR0, real);
    vmx_write(VMCS_CR0_SHADOW, cr0);
    vmx_write(VMCS_CR0_MASK, READ_ONCE(run->control.cr0_mask) | caps->cr0_owned | fixed0);
    vmx_write(VMCS_GUEST_CR4,
              cr4 | caps->cr4_fixed0 | GUEST_CR4_VMXE | (caps->cr4_fixed1 & GUEST_CR4_MCE));
    vmx_write(VMCS_CR4_SHADOW, cr4);
    vmx_write(VMCS_CR4_MASK, READ_ONCE(run->control.cr4_mask) | caps->cr4_owned);
    vmx_write(VMCS_GUEST_CR3, READ_ONCE(run->control.cr3));
    for (i = 0; i < 4; i++)
        vmx_write(VMCS_GUEST_PDPTE0 + 2 * i, READ_ONCE(run->control.pdpte[i]));
    vmx_write(VMCS_GUEST_EFER, efer);
    vmx_write(VMCS_ENTRY, caps->entry_controls | (efer & GUEST_EFER_LMA ? ENTRY_GUEST_64 : 0));
    v->flush_vpid = true;
    return 0;
}

/* What the guest would read: owned bits from the shadow (SDM Vol.3C 25.3). */
static u64 visible(u32 real, u32 mask, u32 shadow)
{
    u64 m = vmx_read(mask);

    return (vmx_read(real) & ~m) | (vmx_read(shadow) & m);
}

static void fetch_control(struct vtx_vcpu *v)
{
    struct vmlib_vtx_run *run = v->run;
    u32 i;

    WRITE_ONCE(run->control.cr0, visible(VMCS_GUEST_CR0, VMCS_CR0_MASK, VMCS_CR0_SHADOW));
    WRITE_ONCE(run->control.cr4, visible(VMCS_GUEST_CR4, VMCS_CR4_MASK, VMCS_CR4_SHADOW));
    WRITE_ONCE(run->control.cr3, vmx_read(VMCS_GUEST_CR3));
    WRITE_ONCE(run->control.efer, vmx_read(VMCS_GUEST_EFER));
    WRITE_ONCE(run->control.xcr0, v->xcr0);
    for (i = 0; i < 4; i++)
        WRITE_ONCE(run->control.pdpte[i], vmx_read(VMCS_GUEST_PDPTE0 + 2 * i));
}

/* --- CONTROLS --- */

/* Exceptions that always exit: a guest could deliver #DB or #AC for ever without reaching an
 * instruction boundary, and with it keep the processor. */
static u32 exceptions(const struct vtx_vcpu *v)
{
    return v->exceptions | 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC |
           (v->fpu_loaded ? 0 : 1u << VECTOR_NM);
}

static u32 load_controls(struct vtx_vcpu *v)
{
    static const u32 fields[VMLIB_VTX_CONTROLS] = {VMCS_PIN, VMCS_PROC, VMCS_PROC2};
    const struct vmlib_vtx_run *run = v->run;
    u32 word[VMLIB_VTX_CONTROLS], i;

    for (i = 0; i < VMLIB_VTX_CONTROLS; i++) {
        word[i] = READ_ONCE(run->controls.word[i]);
        if (word[i] & ~v->caps->may[i])
            return VMLIB_VTX_BAD_CONTROLS;
        word[i] |= v->caps->must[i];
    }
    if (!v->vpid)
        word[VMLIB_VTX_PROC2] &= ~PROC2_VPID;
    for (i = 0; i < VMLIB_VTX_CONTROLS; i++)
        vmx_write(fields[i], word[i]);
    v->proc2 = word[VMLIB_VTX_PROC2];
    v->exceptions = READ_ONCE(run->controls.exceptions);
    vmx_write(VMCS_EXCEPTIONS, exceptions(v));
    vmx_write(VMCS_PF_MASK, READ_ONCE(run->controls.page_fault_mask));
    vmx_write(VMCS_PF_MATCH, READ_ONCE(run->controls.page_fault_match));
    if (v->caps->features & VMLIB_VTX_F_TPR_SHADOW)
        vmx_write(VMCS_TPR_THRESHOLD, READ_ONCE(run->controls.tpr_threshold) & 15);
    v->timer = word[VMLIB_VTX_PIN] & PIN_TIMER ? READ_ONCE(run->controls.timer) : 0;
    v->timer_new = true;
    if (v->caps->features & VMLIB_VTX_F_TIMER)
        vmx_write(VMCS_GUEST_TIMER, v->timer);
    vmx_write(VMCS_TSC_OFFSET, READ_ONCE(run->controls.tsc_offset));
    return 0;
}

/* --- MSRS, DEBUG --- */

static bool canonical(u64 address)
{
    u64 top = address >> 47;

    return top == 0 || top == 0x1ffff;
}

static u32 load_msrs(struct vtx_vcpu *v)
{
    const struct vmlib_vtx_run *run = v->run;
    u64 lstar = READ_ONCE(run->msrs.lstar), cstar = READ_ONCE(run->msrs.cstar);
    u64 base = READ_ONCE(run->msrs.kernel_gs_base);
    u64 fmask = READ_ONCE(run->msrs.fmask), aux = READ_ONCE(run->msrs.tsc_aux);

    if (!canonical(lstar) || !canonical(cstar) || !canonical(base) || fmask >> 32 || aux >> 32)
        return VMLIB_VTX_BAD_MSR;
    v->star = READ_ONCE(run->msrs.star);
    v->lstar = lstar;
    v->cstar = cstar;
    v->fmask = fmask;
    v->kernel_gs_base = base;
    v->tsc_aux = aux;
    vmx_write(VMCS_GUEST_SYSENTER_CS, READ_ONCE(run->msrs.sysenter_cs));
    vmx_write(VMCS_GUEST_SYSENTER_ESP, READ_ONCE(run->msrs.sysenter_esp));
    vmx_write(VMCS_GUEST_SYSENTER_EIP, READ_ONCE(run->msrs.sysenter_eip));
    vmx_write(VMCS_GUEST_PAT, READ_ONCE(run->msrs.pat));
    return 0;
}

static void fetch_msrs(struct vtx_vcpu *v)
{
    struct vmlib_vtx_run *run = v->run;

    WRITE_ONCE(run->msrs.star, v->star);
    WRITE_ONCE(run->msrs.lstar, v->lstar);
    WRITE_ONCE(run->msrs.cstar, v->cstar);
    WRITE_ONCE(run->msrs.fmask, v->fmask);
    WRITE_ONCE(run->msrs.kernel_gs_base, v->kernel_gs_base);
    WRITE_ONCE(run->msrs.tsc_aux, v->tsc_aux);
    WRITE_ONCE(run->msrs.sysenter_cs, vmx_read(VMCS_GUEST_SYSENTER_CS));
    WRITE_ONCE(run->msrs.sysenter_esp, vmx_read(VMCS_GUEST_SYSENTER_ESP));
    WRITE_ONCE(run->msrs.sysenter_eip, vmx_read(VMCS_GUEST_SYSENTER_EIP));
    WRITE_ONCE(run->msrs.pat, vmx_read(VMCS_GUEST_PAT));
}

static u32 load_debug(struct vtx_vcpu *v)
{
    const struct vmlib_vtx_run *run = v->run;
    u64 debugctl = READ_ONCE(run->debug.debugctl), dr7 = READ_ONCE(run->debug.dr7);
    u32 i;

    if (debugctl & ~GUEST_DEBUGCTL_BTF)
        return VMLIB_VTX_BAD_DEBUG;
    for (i = 0; i < 4; i++)
        v->dr[i] = READ_ONCE(run->debug.dr[i]);
    v->dr7 = dr7;
    vmx_write(VMCS_GUEST_DR7, dr7);
    vmx_write(VMCS_GUEST_DEBUGCTL, debugctl);
    return 0;
}

static void fetch_debug(struct vtx_vcpu *v)
{
    u32 i;

    for (i = 0; i < 4; i++)
        WRITE_ONCE(v->run->debug.dr[i], v->dr[i]);
    WRITE_ONCE(v->run->debug.dr7, vmx_read(VMCS_GUEST_DR7));
    WRITE_ONCE(v->run->debug.debugctl, vmx_read(VMCS_GUEST_DEBUGCTL));
}

/* --- all groups --- */

u32 vtx_vcpu_load(struct vtx_vcpu *v)
{
    struct vmlib_vtx_run *run = v->run;
    u32 dirty = READ_ONCE(run->dirty), bad = 0;

    /* The common case: the instruction was completed, RIP moved on. */
    if (dirty & VMLIB_VTX_G_RIP)
        vmx_write(VMCS_GUEST_RIP, READ_ONCE(run->rip));
    if (!(dirty & ~VMLIB_VTX_G_RIP)) {
        WRITE_ONCE(run->dirty, 0);
        return 0;
    }
    /* CONTROLS first: unrestricted guest changes what CONTROL accepts. */
    if (dirty & VMLIB_VTX_G_CONTROLS)
        bad = load_controls(v);
    if (!bad && dirty & VMLIB_VTX_G_CONTROL)
        bad = load_control(v);
    if (!bad && dirty & VMLIB_VTX_G_MSRS)
        bad = load_msrs(v);
    if (!bad && dirty & VMLIB_VTX_G_DEBUG)
        bad = load_debug(v);
    if (bad)
        return bad;
    if (dirty & VMLIB_VTX_G_FLOW)
        load_flow(v);
    if (dirty & VMLIB_VTX_G_SEGMENTS)
        load_segments(v);
    if (dirty & VMLIB_VTX_G_EVENTS)
        load_events(v);
    if (dirty & VMLIB_VTX_G_INJECT) {
        vmx_write(VMCS_ENTRY_EVENT, READ_ONCE(run->inject.event));
        vmx_write(VMCS_ENTRY_ERROR, READ_ONCE(run->inject.error));
        vmx_write(VMCS_ENTRY_LENGTH, READ_ONCE(run->inject.length));
        WRITE_ONCE(run->inject.event, 0);
    }
    WRITE_ONCE(run->dirty, 0);
    return 0;
}

u32 vtx_vcpu_wanted(const struct vtx_vcpu *v)
{
    const struct vmlib_vtx_run *run = v->run;
    u32 reason = READ_ONCE(run->reason), groups = READ_ONCE(run->fetch);

    if (reason < 64 && READ_ONCE(run->also_for) >> reason & 1)
        groups |= READ_ONCE(run->also);
    return groups;
}

void vtx_vcpu_fetch(struct vtx_vcpu *v, u32 groups)
{
    struct vmlib_vtx_run *run = v->run;

    WRITE_ONCE(run->rip, vmx_read(VMCS_GUEST_RIP));
    WRITE_ONCE(run->gpr[4], vmx_read(VMCS_GUEST_RSP));
    WRITE_ONCE(run->rflags, vmx_read(VMCS_GUEST_RFLAGS));
    if (!groups)
        return;
    if (groups & VMLIB_VTX_G_EVENTS)
        fetch_events(v);
    if (groups & VMLIB_VTX_G_SEGMENTS)
        fetch_segments(v);
    if (groups & VMLIB_VTX_G_CONTROL)
        fetch_control(v);
    if (groups & VMLIB_VTX_G_MSRS)
        fetch_msrs(v);
    if (groups & VMLIB_VTX_G_DEBUG)
        fetch_debug(v);
    if (groups & VMLIB_VTX_G_CONTROLS && v->caps->features & VMLIB_VTX_F_TIMER)
        WRITE_ONCE(run->controls.timer, (u32)vmx_read(VMCS_GUEST_TIMER));
}

void vtx_vcpu_fpu(struct vtx_vcpu *v, bool loaded)
{
    u64 real, shadow;

    if (v->fpu_loaded == loaded)
        return;
    v->fpu_loaded = loaded;
    real = vmx_read(VMCS_GUEST_CR0);
    shadow = vmx_read(VMCS_CR0_SHADOW);
    if (loaded && !(shadow & GUEST_CR0_TS))
        real &= ~GUEST_CR0_TS;
    else
        real |= GUEST_CR0_TS;
    vmx_write(VMCS_GUEST_CR0, real);
    vmx_write(VMCS_EXCEPTIONS, exceptions(v));
}
