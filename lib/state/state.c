/* Architectural state of struct x86_cpu, from and to the API's form; what no CPU can hold. */
#include <string.h>

#include "backend.h"
#include "state/state.h"
#include "x86/features.h"
#include "x86/flags.h"
#include "x86/mem.h"
#include "x86/ops.h"
#include "x86/sys.h"

/* General registers stand in the same order in both forms, but the API's are rax, rcx, rdx, rbx ...
 * as named. */
static void get_gpr(const struct x86_cpu *cpu, struct vmlib_gpr *g)
{
    uint64_t regs[16];
    memcpy(regs, cpu->r, sizeof(regs));
    memcpy(g, regs, sizeof(regs));
    g->rip = cpu->rip;
    g->rflags = x86_get_flags(cpu);
}

static void set_gpr(struct x86_cpu *cpu, const struct vmlib_gpr *g)
{
    memcpy(cpu->r, g, 16 * sizeof(uint64_t));
    cpu->rip = g->rip;
    x86_set_flags(cpu, (uint32_t)g->rflags);
}
_Static_assert(offsetof(struct vmlib_gpr, rsp) == X86_RSP * 8 &&
                   offsetof(struct vmlib_gpr, r15) == X86_R15 * 8,
               "hardware order");

static void get_segment(const struct x86_seg *s, struct vmlib_segment *o)
{
    *o = (struct vmlib_segment){
        .base = s->base, .limit = s->limit, .attributes = s->ar, .selector = s->sel};
}

static void set_segment(struct x86_cpu *cpu, struct x86_seg *s, const struct vmlib_segment *o)
{
    s->base = o->base;
    s->limit = o->limit;
    s->ar = o->attributes;
    s->sel = o->selector;
    x86_seg_refresh(cpu, s);
}

static void get_segments(const struct x86_cpu *cpu, struct vmlib_segments *o)
{
    get_segment(&cpu->seg[X86_ES], &o->es);
    get_segment(&cpu->seg[X86_CS], &o->cs);
    get_segment(&cpu->seg[X86_SS], &o->ss);
    get_segment(&cpu->seg[X86_DS], &o->ds);
    get_segment(&cpu->seg[X86_FS], &o->fs);
    get_segment(&cpu->seg[X86_GS], &o->gs);
    get_segment(&cpu->ldtr, &o->ldtr);
    get_segment(&cpu->tr, &o->tr);
    o->gdtr = (struct vmlib_table){.base = cpu->gdtr.base, .limit = cpu->gdtr.limit};
    o->idtr = (struct vmlib_table){.base = cpu->idtr.base, .limit = cpu->idtr.limit};
}

static void set_segments(struct x86_cpu *cpu, const struct vmlib_segments *o)
{
    set_segment(cpu, &cpu->seg[X86_ES], &o->es);
    set_segment(cpu, &cpu->seg[X86_CS], &o->cs);
    set_segment(cpu, &cpu->seg[X86_SS], &o->ss);
    set_segment(cpu, &cpu->seg[X86_DS], &o->ds);
    set_segment(cpu, &cpu->seg[X86_FS], &o->fs);
    set_segment(cpu, &cpu->seg[X86_GS], &o->gs);
    set_segment(cpu, &cpu->ldtr, &o->ldtr);
    set_segment(cpu, &cpu->tr, &o->tr);
    cpu->gdtr = (struct x86_dtr){.base = o->gdtr.base, .limit = o->gdtr.limit};
    cpu->idtr = (struct x86_dtr){.base = o->idtr.base, .limit = o->idtr.limit};
    /* The CPL is the DPL of SS, SDM Vol.3C 25.4.1 */
    cpu->cpl = o->ss.attributes >> X86_AR_DPL_SHIFT & 3;
}

static void get_control(const struct x86_cpu *cpu, struct vmlib_control *o)
{
    *o = (struct vmlib_control){.cr0 = cpu->cr0,
                                .cr2 = cpu->cr2,
                                .cr3 = cpu->cr3,
                                .cr4 = cpu->cr4,
                                .cr8 = cpu->cr8,
                                .xcr0 = cpu->xcr0,
                                .efer = cpu->efer,
                                .apic_base = cpu->apic_base};
    memcpy(o->pdpte, cpu->pdpte, sizeof(o->pdpte));
}

static void set_control(struct x86_cpu *cpu, const struct vmlib_control *o)
{
    cpu->cr0 = o->cr0;
    cpu->cr2 = o->cr2;
    cpu->cr3 = o->cr3;
    cpu->cr4 = o->cr4;
    cpu->cr8 = o->cr8;
    cpu->xcr0 = o->xcr0;
    cpu->efer = o->efer;
    cpu->apic_base = o->apic_base;
    memcpy(cpu->pdpte, o->pdpte, sizeof(o->pdpte));
}

/* MSRs that are plain values in both forms. */
#define MSR_FIELDS(X)  \
    X(star)            \
    X(lstar)           \
    X(cstar)           \
    X(fmask)           \
    X(kernel_gs_base)  \
    X(tsc_aux)         \
    X(sysenter_cs)     \
    X(sysenter_esp)    \
    X(sysenter_eip)    \
    X(tsc_adjust)      \
    X(feature_control) \
    X(spec_ctrl) X(misc_enable) X(debugctl) X(pat) X(xss) X(mcg_status) X(mcg_ctl)

static void get_msrs(struct x86_cpu *cpu, struct vmlib_msrs *o)
{
    const struct x86_msrs *m = &cpu->msr;
    memset(o, 0, sizeof(*o));
#define X(name) o->name = m->name;
    MSR_FIELDS(X)
#undef X
    o->tsc = cpu->ops->tsc(cpu) + (uint64_t)m->tsc_offset;
    o->mtrr_def_type = m->mtrr.def_type;
    memcpy(o->mtrr_fixed, m->mtrr.fixed, sizeof(o->mtrr_fixed));
    memcpy(o->mtrr_base, m->mtrr.base, sizeof(o->mtrr_base));
    memcpy(o->mtrr_mask, m->mtrr.mask, sizeof(o->mtrr_mask));
}

static void set_msrs(struct x86_cpu *cpu, const struct vmlib_msrs *o)
{
    struct x86_msrs *m = &cpu->msr;
#define X(name) m->name = o->name;
    MSR_FIELDS(X)
#undef X
    m->tsc_offset = (int64_t)(o->tsc - cpu->ops->tsc(cpu));
    m->mtrr.def_type = o->mtrr_def_type;
    memcpy(m->mtrr.fixed, o->mtrr_fixed, sizeof(o->mtrr_fixed));
    memcpy(m->mtrr.base, o->mtrr_base, sizeof(o->mtrr_base));
    memcpy(m->mtrr.mask, o->mtrr_mask, sizeof(o->mtrr_mask));
}

/* XSAVE image in standard format: legacy region, header, YMM halves (SDM Vol.1 13.4). */
#define XSAVE_HEADER 512
#define XSAVE_YMM    576
#define XSAVE_BYTES  832

static void get_xsave(const struct x86_cpu *cpu, struct vmlib_xsave *o)
{
    memset(o, 0, sizeof(*o));
    o->bytes = XSAVE_BYTES;
    o->features = X86_XCR0_X87 | X86_XCR0_SSE | (x86_has(cpu, X86_FEAT_AVX) ? X86_XCR0_AVX : 0);
    x86_fxsave_image(cpu, o->image);
    memcpy(o->image + XSAVE_HEADER, &o->features, 8);
    for (unsigned i = 0; i < 16; i++)
        memcpy(o->image + XSAVE_YMM + 16 * i, &cpu->v[i].q[2], 16);
}

static void set_xsave(struct x86_cpu *cpu, const struct vmlib_xsave *o)
{
    uint8_t initial[512];
    const uint8_t *image = o->image;
    if (!(o->features & X86_XCR0_X87) || !(o->features & X86_XCR0_SSE)) {
        /* Compose: parts that are left out take their initial value. */
        struct x86_cpu *blank = cpu;
        x86_fxsave_image(blank, initial);
        memcpy(initial + 24, o->image + 24, 8); /* MXCSR and its mask */
        if (o->features & X86_XCR0_X87) {
            memcpy(initial, o->image, 24);
            memcpy(initial + 32, o->image + 32, 128);
        } else {
            memset(initial, 0, 24);
            initial[0] = 0x7f;
            initial[1] = 0x03;
            memset(initial + 32, 0, 128);
        }
        if (o->features & X86_XCR0_SSE)
            memcpy(initial + 160, o->image + 160, 256);
        else
            memset(initial + 160, 0, 256);
        image = initial;
    }
    x86_fxrstor_image(cpu, image);
    for (unsigned i = 0; i < 16; i++) {
        cpu->v[i].q[2] = cpu->v[i].q[3] = 0;
        if (o->features & X86_XCR0_AVX)
            memcpy(&cpu->v[i].q[2], o->image + XSAVE_YMM + 16 * i, 16);
    }
}

/* --- events --- */

struct kind_map {
    uint8_t type, kind;
};
static const struct kind_map kinds[] = {
    {VMLIB_EVENT_INTERRUPT, X86_EV_INTR},        {VMLIB_EVENT_NMI, X86_EV_NMI},
    {VMLIB_EVENT_EXCEPTION, X86_EV_FAULT},       {VMLIB_EVENT_SOFTWARE_INT, X86_EV_SOFT},
    {VMLIB_EVENT_SOFTWARE_EXC, X86_EV_SOFT_EXC}, {VMLIB_EVENT_PRIVILEGED_SW, X86_EV_ICEBP},
    {VMLIB_EVENT_EXCEPTION, X86_EV_TRAP},
};

void vmi_event_from_api(const struct vmlib_event *e, struct x86_event *o)
{
    *o = (struct x86_event){.vector = (uint8_t)e->vector,
                            .has_error = e->flags & VMLIB_EVENT_HAS_ERROR,
                            .error = e->error_code,
                            .insn_len = (uint8_t)e->insn_len,
                            .valid = e->type != VMLIB_EVENT_NONE};
    for (size_t i = sizeof(kinds) / sizeof(kinds[0]); i--;)
        if (kinds[i].type == e->type)
            o->kind = kinds[i].kind;
    if (e->type == VMLIB_EVENT_EXCEPTION)
        o->kind = e->vector == X86_DB ? X86_EV_TRAP : X86_EV_FAULT;
    if (e->flags & VMLIB_EVENT_HAS_ADDRESS && e->vector == X86_PF)
        o->cr2 = e->address;
    if (e->flags & VMLIB_EVENT_HAS_ADDRESS && e->vector == X86_DB)
        o->dr6 = e->address;
}

void vmi_event_to_api(const struct x86_event *e, struct vmlib_event *o)
{
    *o = (struct vmlib_event)VMLIB_EVENT_INIT;
    if (!e->valid)
        return;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].kind == e->kind)
            o->type = kinds[i].type;
    o->vector = e->vector;
    o->flags = e->has_error ? VMLIB_EVENT_HAS_ERROR : 0;
    o->error_code = e->error;
    o->insn_len = e->insn_len;
    if (e->kind <= X86_EV_TRAP && (e->vector == X86_PF || e->vector == X86_DB)) {
        o->flags |= VMLIB_EVENT_HAS_ADDRESS;
        o->address = e->vector == X86_PF ? e->cr2 : e->dr6;
    }
}

static void get_events(const struct x86_cpu *cpu, struct vmlib_events *o)
{
    memset(o, 0, sizeof(*o));
    o->flags = (cpu->shadow & X86_SHADOW_STI ? VMLIB_EVENTS_SHADOW_STI : 0) |
               (cpu->shadow & X86_SHADOW_MOVSS ? VMLIB_EVENTS_SHADOW_MOVSS : 0) |
               (cpu->nmi_blocked ? VMLIB_EVENTS_NMI_BLOCKED : 0) |
               (cpu->halted ? VMLIB_EVENTS_HALTED : 0) |
               (cpu->wait_sipi ? VMLIB_EVENTS_WAIT_SIPI : 0) |
               (cpu->shutdown ? VMLIB_EVENTS_SHUTDOWN : 0);
    vmi_event_to_api(&cpu->injected, &o->injected);
    o->pending_debug = cpu->pending_dr6;
}

static void set_events(struct x86_cpu *cpu, const struct vmlib_events *o)
{
    cpu->shadow = (o->flags & VMLIB_EVENTS_SHADOW_STI ? X86_SHADOW_STI : 0) |
                  (o->flags & VMLIB_EVENTS_SHADOW_MOVSS ? X86_SHADOW_MOVSS : 0);
    cpu->nmi_blocked = o->flags & VMLIB_EVENTS_NMI_BLOCKED;
    cpu->halted = o->flags & VMLIB_EVENTS_HALTED;
    cpu->wait_sipi = o->flags & VMLIB_EVENTS_WAIT_SIPI;
    cpu->shutdown = o->flags & VMLIB_EVENTS_SHUTDOWN;
    vmi_event_from_api(&o->injected, &cpu->injected);
    cpu->pending_dr6 = o->pending_debug;
}

/* --- checks: values that no CPU can hold --- */

static bool canonical(uint64_t a)
{
    return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

static int check_control(uint64_t phys_mask, const struct vmlib_control *c)
{
    bool pg = c->cr0 & X86_CR0_PG, lme = c->efer & X86_EFER_LME;
    if (c->cr0 >> 32 || (pg && !(c->cr0 & X86_CR0_PE)) ||
        (c->cr0 & (X86_CR0_NW | X86_CR0_CD)) == X86_CR0_NW)
        return vmi_error(VMLIB_E_INVAL, "state->control.cr0: no CPU can hold %#llx",
                         (unsigned long long)c->cr0);
    if (c->cr4 & ~UINT64_C(0x370fff) || (c->cr4 & X86_CR4_PCIDE && !lme))
        return vmi_error(VMLIB_E_INVAL, "state->control.cr4: no CPU of this model can hold %#llx",
                         (unsigned long long)c->cr4);
    if (c->efer & ~(uint64_t)(X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE) ||
        !(c->efer & X86_EFER_LMA) != !(lme && pg) || (lme && pg && !(c->cr4 & X86_CR4_PAE)))
        return vmi_error(VMLIB_E_INVAL,
                         "state->control.efer: %#llx does not fit CR0.PG and CR4.PAE",
                         (unsigned long long)c->efer);
    if (c->cr3 & ~(phys_mask | 0xfff) || c->cr8 > 15)
        return vmi_error(VMLIB_E_INVAL, "state->control.%s: reserved bits are set",
                         c->cr8 > 15 ? "cr8" : "cr3");
    if (!(c->xcr0 & X86_XCR0_X87) || c->xcr0 & ~UINT64_C(7) || (c->xcr0 & 6) == X86_XCR0_AVX)
        return vmi_error(VMLIB_E_INVAL, "state->control.xcr0: %#llx is no legal combination",
                         (unsigned long long)c->xcr0);
    return 0;
}

/* Memory types of the PAT: SDM Vol.3A table 11-10. 2 and 3 are reserved. */
static bool pat_ok(uint64_t pat)
{
    for (; pat != 0; pat >>= 8)
        if ((pat & 0xff) > 7 || (pat & 0xfe) == 2)
            return false;
    return true;
}

int vmi_state_check(uint64_t phys_mask, uint32_t groups, const struct vmlib_state *o)
{
    if (groups & VMLIB_STATE_CONTROL) {
        int r = check_control(phys_mask, &o->control);
        if (r)
            return r;
    }
    if (groups & VMLIB_STATE_SEGMENTS &&
        !(canonical(o->segments.fs.base) && canonical(o->segments.gs.base) &&
          canonical(o->segments.tr.base) && canonical(o->segments.ldtr.base)))
        return vmi_error(VMLIB_E_INVAL, "state->segments: a base is not canonical");
    if (groups & VMLIB_STATE_DEBUG && (o->debug.dr6 >> 32 || o->debug.dr7 >> 32))
        return vmi_error(VMLIB_E_INVAL, "state->debug: upper halves of dr6 and dr7 must be zero");
    if (groups & VMLIB_STATE_MSRS && !(canonical(o->msrs.lstar) && canonical(o->msrs.cstar) &&
                                       canonical(o->msrs.kernel_gs_base)))
        return vmi_error(VMLIB_E_INVAL, "state->msrs: an address is not canonical");
    if (groups & VMLIB_STATE_MSRS && !pat_ok(o->msrs.pat))
        return vmi_error(VMLIB_E_INVAL, "state->msrs.pat has a reserved memory type");
    if (groups & VMLIB_STATE_EVENTS &&
        o->events.flags & (VMLIB_EVENTS_SMM | VMLIB_EVENTS_SMI_PENDING))
        return vmi_error(VMLIB_E_UNSUPPORTED, "state->events.flags: no system management mode");
    return 0;
}

/* --- groups --- */

void vmi_state_get(struct x86_cpu *cpu, uint32_t groups, struct vmlib_state *o)
{
    if (groups & VMLIB_STATE_GPR)
        get_gpr(cpu, &o->gpr);
    if (groups & VMLIB_STATE_SEGMENTS)
        get_segments(cpu, &o->segments);
    if (groups & VMLIB_STATE_CONTROL)
        get_control(cpu, &o->control);
    if (groups & VMLIB_STATE_DEBUG) {
        memcpy(o->debug.dr, cpu->dr, sizeof(cpu->dr));
        o->debug.dr6 = cpu->dr6;
        o->debug.dr7 = cpu->dr7;
    }
    if (groups & VMLIB_STATE_MSRS)
        get_msrs(cpu, &o->msrs);
    if (groups & VMLIB_STATE_FPU)
        x86_fxsave_image(cpu, o->fpu.image);
    if (groups & VMLIB_STATE_XSAVE)
        get_xsave(cpu, &o->xsave);
    if (groups & VMLIB_STATE_EVENTS)
        get_events(cpu, &o->events);
}

#define AFFECTS_MODE \
    (VMLIB_STATE_CONTROL | VMLIB_STATE_SEGMENTS | VMLIB_STATE_DEBUG | VMLIB_STATE_GPR)

void vmi_state_set(struct x86_cpu *cpu, uint32_t groups, const struct vmlib_state *o)
{
    if (groups & VMLIB_STATE_GPR)
        set_gpr(cpu, &o->gpr);
    if (groups & VMLIB_STATE_CONTROL)
        set_control(cpu, &o->control);
    if (groups & VMLIB_STATE_SEGMENTS)
        set_segments(cpu, &o->segments);
    if (groups & VMLIB_STATE_DEBUG) {
        memcpy(cpu->dr, o->debug.dr, sizeof(cpu->dr));
        cpu->dr6 = o->debug.dr6;
        cpu->dr7 = o->debug.dr7;
    }
    if (groups & VMLIB_STATE_MSRS)
        set_msrs(cpu, &o->msrs);
    if (groups & VMLIB_STATE_FPU)
        x86_fxrstor_image(cpu, o->fpu.image);
    if (groups & VMLIB_STATE_XSAVE)
        set_xsave(cpu, &o->xsave);
    if (groups & VMLIB_STATE_EVENTS)
        set_events(cpu, &o->events);
    if (groups & AFFECTS_MODE)
        x86_mode_refresh(cpu);
    if (groups & VMLIB_STATE_CONTROL)
        x86_tlb_flush(cpu);
}
