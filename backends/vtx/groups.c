/*
 * Register groups between struct x86_cpu and the page that is shared with the driver.
 *
 * After an exit the general registers, RIP, RFLAGS and CR2 are in the page; other groups are
 * fetched when somebody needs them. Before an entry a group is written only if the x86_cpu holds it
 * and it differs from what the page has.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "state/state.h"
#include "vtx/vtx.h"
#include "x86/flags.h"
#include "x86/mem.h"

/* Groups that the guest cannot change without an exit, so that the x86_cpu always has them. */
#define OURS (VMLIB_VTX_G_DEBUG | VMLIB_VTX_G_CONTROLS)

/* Interruptibility state, SDM Vol.3C table 24-3. */
#define BLOCKING_STI   1u
#define BLOCKING_MOVSS 2u
#define BLOCKING_NMI   8u

/* --- out of the page --- */

static void get_segment(struct x86_seg *s, const struct vmlib_vtx_segment *from)
{
    s->base = from->base;
    s->limit = from->limit;
    s->ar = from->attributes;
    s->sel = from->selector;
}

static void agree_on_segments(struct vtx_cpu *v)
{
    const struct x86_cpu *cpu = &v->e.cpu;
    struct vtx_agreed *a = &v->agreed;
    memcpy(&a->page, &v->run->segments, sizeof(a->page));
    memcpy(a->seg, cpu->seg, sizeof(a->seg));
    a->ldtr = cpu->ldtr;
    a->tr = cpu->tr;
    a->gdtr = cpu->gdtr;
    a->idtr = cpu->idtr;
}

static void get_segments(struct vtx_cpu *v)
{
    struct x86_cpu *cpu = &v->e.cpu;
    const struct vmlib_vtx_run *run = v->run;
    if (memcmp(&v->agreed.page, &run->segments, sizeof(run->segments)) == 0)
        return;
    for (unsigned i = 0; i < X86_NSEG; i++)
        get_segment(&cpu->seg[i], &run->segments.s[i]);
    get_segment(&cpu->ldtr, &run->segments.s[VMLIB_VTX_LDTR]);
    get_segment(&cpu->tr, &run->segments.s[VMLIB_VTX_TR]);
    x86_seg_refresh(cpu, &cpu->ldtr);
    x86_seg_refresh(cpu, &cpu->tr);
    cpu->gdtr = (struct x86_dtr){run->segments.gdtr_base, (uint16_t)run->segments.gdtr_limit};
    cpu->idtr = (struct x86_dtr){run->segments.idtr_base, (uint16_t)run->segments.idtr_limit};
    cpu->cpl = run->segments.s[VMLIB_VTX_SS].attributes >> 5 & 3;
    agree_on_segments(v);
    v->mode_stale = true;
}
_Static_assert((int)X86_ES == VMLIB_VTX_ES && (int)X86_GS == VMLIB_VTX_GS, "the same order");

static void get_control(struct vtx_cpu *v)
{
    struct x86_cpu *cpu = &v->e.cpu;
    const struct vmlib_vtx_run *run = v->run;
    v->mode_stale |= cpu->cr0 != run->control.cr0 || cpu->cr4 != run->control.cr4 ||
                     cpu->efer != run->control.efer;
    cpu->cr0 = run->control.cr0;
    cpu->cr3 = run->control.cr3;
    cpu->cr4 = run->control.cr4;
    cpu->efer = run->control.efer;
    memcpy(cpu->pdpte, run->control.pdpte, sizeof(cpu->pdpte));
}

static void get_msrs(struct x86_cpu *cpu, const struct vmlib_vtx_run *run)
{
    struct x86_msrs *m = &cpu->msr;
    m->star = run->msrs.star;
    m->lstar = run->msrs.lstar;
    m->cstar = run->msrs.cstar;
    m->fmask = run->msrs.fmask;
    m->kernel_gs_base = run->msrs.kernel_gs_base;
    m->tsc_aux = run->msrs.tsc_aux;
    m->sysenter_cs = run->msrs.sysenter_cs;
    m->sysenter_esp = run->msrs.sysenter_esp;
    m->sysenter_eip = run->msrs.sysenter_eip;
    m->pat = run->msrs.pat;
}

static void get_events(struct x86_cpu *cpu, const struct vmlib_vtx_run *run)
{
    uint32_t i = run->events.interruptibility;
    cpu->shadow = (uint8_t)((i & BLOCKING_STI ? X86_SHADOW_STI : 0) |
                            (i & BLOCKING_MOVSS ? X86_SHADOW_MOVSS : 0));
    /* NMIs are delivered by lib/x86: the processor can only end their blocking, by IRET. */
    cpu->nmi_blocked = cpu->nmi_blocked && i & BLOCKING_NMI;
    cpu->pending_dr6 = run->events.pending_debug & 0x400f;
}

/* Interruption-information fields, SDM Vol.3C tables 24-14 to 24-16. */
struct x86_event vtx_event(uint32_t event, uint32_t error, uint32_t length)
{
    static const struct {
        uint8_t kind;
        bool has_length;
    } types[8] = {
        [0] = {X86_EV_INTR, false}, [2] = {X86_EV_NMI, false},  [3] = {X86_EV_FAULT, false},
        [4] = {X86_EV_SOFT, true},  [5] = {X86_EV_ICEBP, true}, [6] = {X86_EV_SOFT_EXC, true}};
    bool has_error = event >> 11 & 1;
    return (struct x86_event){.vector = (uint8_t)event,
                              .kind = types[event >> 8 & 7].kind,
                              .has_error = has_error,
                              .insn_len = types[event >> 8 & 7].has_length ? (uint8_t)length : 0,
                              .error = has_error ? error : 0,
                              .valid = true};
}

/* An event that the processor or the driver was about to deliver and has handed back. */
static void take_back(struct vtx_cpu *v)
{
    struct vmlib_vtx_run *run = v->run;
    uint32_t event = run->inject.event;
    if (!(event >> 31))
        return;
    run->inject.event = 0;
    v->e.cpu.injected = vtx_event(event, run->inject.error, run->inject.length);
    v->e.cpu.injected.cr2 = run->cr2;
    v->e.cpu.injected.seen = true;
}

static void get_groups(struct vtx_cpu *v, uint32_t groups)
{
    struct x86_cpu *cpu = &v->e.cpu;
    if (groups & VMLIB_VTX_G_SEGMENTS)
        get_segments(v);
    if (groups & VMLIB_VTX_G_CONTROL)
        get_control(v);
    if (groups & VMLIB_VTX_G_MSRS)
        get_msrs(cpu, v->run);
    if (groups & VMLIB_VTX_G_EVENTS)
        get_events(cpu, v->run);
}

void vtx_pulled(struct vtx_cpu *v, uint32_t groups)
{
    struct x86_cpu *cpu = &v->e.cpu;
    const struct vmlib_vtx_run *run = v->run;
    uint32_t flags = cpu->eflags;
    memcpy(cpu->r, run->gpr, sizeof(run->gpr));
    cpu->rip = run->rip;
    cpu->cr2 = run->cr2;
    x86_set_flags(cpu, (uint32_t)run->rflags);
    v->mode_stale |= ((flags ^ cpu->eflags) & (X86_FL_VM | X86_FL_AC)) != 0;
    v->tlb_stale = true;
    get_groups(v, groups);
    v->have = groups | OURS;
    v->have_fpu &= run->fpu_loaded == 0;
    v->asked = false;
    take_back(v);
}

/* What lib/x86 derives from the groups. */
static void settle(struct vtx_cpu *v)
{
    struct x86_cpu *cpu = &v->e.cpu;
    if (v->mode_stale)
        x86_mode_refresh(cpu);
    if (v->tlb_stale)
        x86_tlb_flush(cpu);
    v->mode_stale = v->tlb_stale = false;
}

int vtx_need(struct vtx_cpu *v, uint32_t groups)
{
    uint32_t missing = groups & ~v->have;
    v->asked = true;
    if (missing == 0) {
        settle(v);
        return 0;
    }
    struct vmlib_vtx_run *run = v->run;
    /* Only fields outside the missing groups may have been changed meanwhile: keep them. */
    uint32_t dirty = run->dirty; /* not yet taken: an entry that a deadline has prevented */
    run->flags = VMLIB_VTX_SYNC;
    run->dirty = 0;
    run->fetch = missing;
    int rc;
    uint64_t gpr[16], rip = run->rip, rflags = run->rflags, cr2 = run->cr2;
    memcpy(gpr, run->gpr, sizeof(gpr));
    do {
        rc = ioctl(v->fd, VMLIB_VTX_RUN, 0);
    } while (rc != 0 && errno == EINTR);
    run->flags = 0;
    run->dirty = dirty;
    memcpy(run->gpr, gpr, sizeof(gpr));
    run->rip = rip;
    run->rflags = rflags;
    run->cr2 = cr2;
    if (rc != 0) {
        v->error = vtx_failed("VMLIB_VTX_RUN");
        return v->error;
    }
    get_groups(v, missing);
    v->have |= missing;
    take_back(v);
    settle(v);
    return 0;
}

static void agree_on_fpu(struct vtx_cpu *v)
{
    const struct x86_cpu *cpu = &v->e.cpu;
    memcpy(v->agreed.v, cpu->v, sizeof(v->agreed.v));
    memcpy(&v->agreed.fpu, &cpu->fpu, sizeof(v->agreed.fpu));
    v->agreed.mxcsr = cpu->mxcsr;
}

static bool fpu_agreed(const struct vtx_cpu *v)
{
    const struct x86_cpu *cpu = &v->e.cpu;
    return v->agreed.mxcsr == cpu->mxcsr && memcmp(v->agreed.v, cpu->v, sizeof(v->agreed.v)) == 0 &&
           memcmp(&v->agreed.fpu, &cpu->fpu, sizeof(v->agreed.fpu)) == 0;
}

void vtx_need_fpu(struct vtx_cpu *v)
{
    struct vmlib_state s;
    v->asked_fpu = true;
    if (v->have_fpu)
        return;
    v->have_fpu = true;
    s.size = sizeof(s);
    s.xsave.bytes = 832;
    if (v->vm->info.features & VMLIB_VTX_F_XSAVE) {
        memcpy(s.xsave.image, v->fpu, 832);
        memcpy(&s.xsave.features, v->fpu + 512, 8);
        s.xsave.features &= 7;
    } else {
        memcpy(s.xsave.image, v->fpu, 512);
        s.xsave.features = 3;
    }
    vmi_state_set(&v->e.cpu, VMLIB_STATE_XSAVE, &s);
    agree_on_fpu(v);
}

/* --- into the page --- */

static void put(struct vtx_cpu *v, uint32_t group, void *to, const void *from, size_t bytes)
{
    if (!(v->have & group) || (!v->fresh && memcmp(to, from, bytes) == 0))
        return;
    memcpy(to, from, bytes);
    v->run->dirty |= group;
}

static struct vmlib_vtx_segment segment(const struct x86_seg *s)
{
    return (struct vmlib_vtx_segment){
        .base = s->base, .limit = s->limit, .attributes = s->ar, .selector = s->sel};
}

static bool segments_agreed(const struct vtx_cpu *v)
{
    const struct x86_cpu *cpu = &v->e.cpu;
    const struct vtx_agreed *a = &v->agreed;
    return memcmp(a->seg, cpu->seg, sizeof(a->seg)) == 0 &&
           memcmp(&a->ldtr, &cpu->ldtr, sizeof(a->ldtr)) == 0 &&
           memcmp(&a->tr, &cpu->tr, sizeof(a->tr)) == 0 && a->gdtr.base == cpu->gdtr.base &&
           a->gdtr.limit == cpu->gdtr.limit && a->idtr.base == cpu->idtr.base &&
           a->idtr.limit == cpu->idtr.limit;
}

static void put_segments(struct vtx_cpu *v)
{
    const struct x86_cpu *cpu = &v->e.cpu;
    if (!v->fresh && segments_agreed(v))
        return;
    __typeof__(v->run->segments) s;
    memset(&s, 0, sizeof(s));
    for (unsigned i = 0; i < X86_NSEG; i++)
        s.s[i] = segment(&cpu->seg[i]);
    s.s[VMLIB_VTX_LDTR] = segment(&cpu->ldtr);
    s.s[VMLIB_VTX_TR] = segment(&cpu->tr);
    s.gdtr_base = cpu->gdtr.base;
    s.gdtr_limit = cpu->gdtr.limit;
    s.idtr_base = cpu->idtr.base;
    s.idtr_limit = cpu->idtr.limit;
    put(v, VMLIB_VTX_G_SEGMENTS, &v->run->segments, &s, sizeof(s));
    agree_on_segments(v);
}

/* Changes of these bits are lib/x86's: they change the mode, or have rules. */
#define CR0_MASK (~(uint64_t)0xe) /* MP, EM and TS are the guest's (TS: the driver's) */
#define CR4_MASK (~(uint64_t)0)

static void put_control(struct vtx_cpu *v)
{
    const struct x86_cpu *cpu = &v->e.cpu;
    __typeof__(v->run->control) c;
    memset(&c, 0, sizeof(c));
    c.cr0 = cpu->cr0;
    c.cr3 = cpu->cr3;
    c.cr4 = cpu->cr4;
    c.efer = cpu->efer;
    c.xcr0 = v->vm->info.features & VMLIB_VTX_F_XSAVE ? cpu->xcr0 : 0;
    memcpy(c.pdpte, cpu->pdpte, sizeof(c.pdpte));
    c.cr0_mask = CR0_MASK;
    c.cr4_mask = CR4_MASK;
    put(v, VMLIB_VTX_G_CONTROL, &v->run->control, &c, sizeof(c));
}

static void put_msrs(struct vtx_cpu *v)
{
    const struct x86_msrs *m = &v->e.cpu.msr;
    __typeof__(v->run->msrs) o = {.star = m->star,
                                  .lstar = m->lstar,
                                  .cstar = m->cstar,
                                  .fmask = m->fmask,
                                  .kernel_gs_base = m->kernel_gs_base,
                                  .tsc_aux = m->tsc_aux,
                                  .sysenter_cs = m->sysenter_cs,
                                  .sysenter_esp = m->sysenter_esp,
                                  .sysenter_eip = m->sysenter_eip,
                                  .pat = m->pat};
    put(v, VMLIB_VTX_G_MSRS, &v->run->msrs, &o, sizeof(o));
}

/* Pending debug traps are delivered by the engine before the entry. */
static void put_events(struct vtx_cpu *v)
{
    const struct x86_cpu *cpu = &v->e.cpu;
    __typeof__(v->run->events) e;
    memset(&e, 0, sizeof(e));
    e.interruptibility = (cpu->shadow & X86_SHADOW_STI ? BLOCKING_STI : 0) |
                         (cpu->shadow & X86_SHADOW_MOVSS ? BLOCKING_MOVSS : 0) |
                         (cpu->nmi_blocked ? BLOCKING_NMI : 0);
    /* With TF set and a shadow in force the processor insists on a pending single-step trap
     * (SDM Vol.3C 26.3.1.5). */
    if (cpu->shadow && cpu->eflags & X86_FL_TF)
        e.pending_debug = 1u << 14;
    put(v, VMLIB_VTX_G_EVENTS, &v->run->events, &e, sizeof(e));
}

static void put_debug(struct vtx_cpu *v)
{
    const struct x86_cpu *cpu = &v->e.cpu;
    __typeof__(v->run->debug) d;
    memset(&d, 0, sizeof(d));
    memcpy(d.dr, cpu->dr, sizeof(d.dr));
    d.dr7 = (cpu->dr7 & 0xffff2fff) | 0x400;
    put(v, VMLIB_VTX_G_DEBUG, &v->run->debug, &d, sizeof(d));
}

static void put_fpu(struct vtx_cpu *v)
{
    struct vmlib_state s;
    if (!v->fresh && (!v->asked_fpu || fpu_agreed(v)))
        return;
    agree_on_fpu(v);
    s.size = sizeof(s);
    vmi_state_get(&v->e.cpu, VMLIB_STATE_XSAVE, &s);
    memcpy(v->fpu, s.xsave.image, 416); /* the rest of the legacy region is the processor's */
    if (!(v->vm->info.features & VMLIB_VTX_F_XSAVE))
        return;
    uint64_t features;
    memcpy(&features, v->fpu + 512, 8);
    features |= s.xsave.features & v->vm->info.xcr0_may;
    memcpy(v->fpu + 512, &features, 8);
    memset(v->fpu + 520, 0, 8); /* standard format */
    if (features & 4)
        memcpy(v->fpu + 576, s.xsave.image + 576, 256);
}

void vtx_push(struct vtx_cpu *v)
{
    const struct x86_cpu *cpu = &v->e.cpu;
    struct vmlib_vtx_run *run = v->run;
    uint64_t rflags = x86_get_flags(cpu);
    if (v->fresh || run->rip != cpu->rip)
        run->dirty |= VMLIB_VTX_G_RIP;
    if (v->fresh || run->rflags != rflags || run->gpr[4] != cpu->r[X86_RSP])
        run->dirty |= VMLIB_VTX_G_FLOW;
    memcpy(run->gpr, cpu->r, sizeof(run->gpr));
    run->rip = cpu->rip;
    run->rflags = rflags;
    run->cr2 = cpu->cr2;
    put_events(v);
    if (v->asked || v->fresh) {
        if (v->have & VMLIB_VTX_G_SEGMENTS)
            put_segments(v);
        put_control(v);
        put_msrs(v);
        put_debug(v);
    }
    put_fpu(v);
    v->asked_fpu = false;
    v->fresh = false;
}
