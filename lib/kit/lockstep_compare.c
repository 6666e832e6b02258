/*
 * Lockstep: what is compared in records and registers. Not compared (doc/lockstep.md has the
 * reasons): the time-stamp counter and its adjustment, RFLAGS.RF, hidden parts of unusable
 * segments, the x87 pointers, MXCSR_MASK and reserved parts of the XSAVE image.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "kit/lockstep.h"

#define RF (UINT64_C(1) << 16)

void vmi_ls_differ(struct vmlib_lockstep *l, uint32_t kind, uint32_t group, const char *name,
                   uint64_t a, uint64_t b)
{
    struct vmlib_lockstep_difference *d = &l->difference[l->differences];

    if (l->differences == VMI_LS_DIFFERENCES)
        return;
    memset(d, 0, sizeof(*d));
    d->size = sizeof(*d);
    d->kind = kind;
    d->group = group;
    d->value[0] = a;
    d->value[1] = b;
    snprintf(d->name, sizeof(d->name), "%s", name);
    l->differences++;
}

/* One value of at most 8 bytes in a struct. */
struct field {
    const char *name;
    uint32_t group; /* VMLIB_STATE_ bit, or exit reason + 1; 0: every record */
    uint16_t offset, bytes;
};

static uint64_t value_of(const void *s, const struct field *f)
{
    uint64_t v = 0;

    memcpy(&v, (const uint8_t *)s + f->offset, f->bytes);
    return v;
}

#define SIZE(type, member) sizeof(((struct type *)0)->member)

/* --- records --- */

#define REC(name, member)                                                                \
    {                                                                                    \
        "record." name, 0, offsetof(struct vmlib_exit, member), SIZE(vmlib_exit, member) \
    }
#define OF(reason, name, member)                                                        \
    {                                                                                   \
        "record." name, VMLIB_EXIT_##reason + 1, offsetof(struct vmlib_exit, u.member), \
            SIZE(vmlib_exit, u.member)                                                  \
    }

/* Answers (values of reads, CPUID registers) and what a backend keeps itself are not in here. */
static const struct field record_fields[] = {
    REC("reason", reason),
    REC("rip", rip),
    REC("mode", mode),
    REC("cpl", cpl),
    REC("length", insn_len),
    {"record.bytes", 0, offsetof(struct vmlib_exit, insn), 8},
    {"record.bytes+8", 0, offsetof(struct vmlib_exit, insn) + 8, 8},
    OF(PIO, "port", pio.port),
    OF(PIO, "width", pio.width),
    OF(PIO, "write", pio.write),
    OF(PIO, "string", pio.string),
    OF(PIO, "rep", pio.rep),
    OF(PIO, "count", pio.count),
    OF(MMIO, "gpa", mmio.gpa),
    OF(MMIO, "gva", mmio.gva),
    OF(MMIO, "width", mmio.width),
    OF(MMIO, "write", mmio.write),
    OF(MSR, "index", msr.index),
    OF(MSR, "write", msr.write),
    OF(CPUID, "leaf", cpuid.leaf),
    OF(CPUID, "subleaf", cpuid.subleaf),
    OF(HYPERCALL, "rax", hypercall.rax),
    OF(HYPERCALL, "rbx", hypercall.rbx),
    OF(HYPERCALL, "rcx", hypercall.rcx),
    OF(HYPERCALL, "rdx", hypercall.rdx),
    OF(HYPERCALL, "rsi", hypercall.rsi),
    OF(HYPERCALL, "rdi", hypercall.rdi),
    OF(EXCEPTION, "type", exception.event.type),
    OF(EXCEPTION, "vector", exception.event.vector),
    OF(EXCEPTION, "flags", exception.event.flags),
    OF(EXCEPTION, "error", exception.event.error_code),
    OF(EXCEPTION, "address", exception.event.address),
    OF(MEMORY_FAULT, "gpa", memory_fault.gpa),
    OF(MEMORY_FAULT, "gva", memory_fault.gva),
    OF(MEMORY_FAULT, "access", memory_fault.access),
    OF(MEMORY_FAULT, "mapped", memory_fault.mapped),
    OF(DEBUG, "cause", debug.cause),
    OF(DEBUG, "slots", debug.slots),
    OF(INTERRUPT_WINDOW, "requested", interrupt.requested),
};

/* The value of a write; its place depends on the reason. */
static bool written(const struct vmlib_exit *e, uint64_t *value)
{
    if (e->reason == VMLIB_EXIT_PIO && e->u.pio.write)
        *value = e->u.pio.value;
    else if (e->reason == VMLIB_EXIT_MMIO && e->u.mmio.write)
        *value = e->u.mmio.value;
    else if (e->reason == VMLIB_EXIT_MSR && e->u.msr.write)
        *value = e->u.msr.value;
    else
        return false;
    return true;
}

void vmi_ls_compare_records(struct vmlib_lockstep *l)
{
    const struct vmlib_exit *a = &l->side[0].exit, *b = &l->side[1].exit;
    uint64_t va, vb;

    for (size_t i = 0; i < sizeof(record_fields) / sizeof(record_fields[0]); i++) {
        const struct field *f = &record_fields[i];

        if (f->group && (a->reason + 1 != f->group || b->reason != a->reason))
            continue;
        va = value_of(a, f);
        vb = value_of(b, f);
        if (va != vb)
            vmi_ls_differ(l, VMLIB_LOCKSTEP_RECORD, 0, f->name, va, vb);
    }
    if (a->reason == b->reason && written(a, &va) && written(b, &vb) && va != vb)
        vmi_ls_differ(l, VMLIB_LOCKSTEP_RECORD, 0, "record.value", va, vb);
}

/* --- registers --- */

#define AT(group, name, member)                                                                    \
    {                                                                                              \
        name, VMLIB_STATE_##group, offsetof(struct vmlib_state, member), SIZE(vmlib_state, member) \
    }
#define GPR(name)         AT(GPR, #name, gpr.name)
#define CTL(name)         AT(CONTROL, #name, control.name)
#define MSR(name)         AT(MSRS, #name, msrs.name)
#define MSRN(name, n)     AT(MSRS, #name "." #n, msrs.name[n])
#define MTRR(n)           MSRN(mtrr_base, n), MSRN(mtrr_mask, n)
#define EVT(name, member) AT(EVENTS, name, events.member)

/* General registers first, in the hardware's order: masks count on it. */
static const struct field state_fields[] = {
    GPR(rax),
    GPR(rcx),
    GPR(rdx),
    GPR(rbx),
    GPR(rsp),
    GPR(rbp),
    GPR(rsi),
    GPR(rdi),
    GPR(r8),
    GPR(r9),
    GPR(r10),
    GPR(r11),
    GPR(r12),
    GPR(r13),
    GPR(r14),
    GPR(r15),
    GPR(rflags),
    GPR(rip),
    AT(SEGMENTS, "gdtr.base", segments.gdtr.base),
    AT(SEGMENTS, "gdtr.limit", segments.gdtr.limit),
    AT(SEGMENTS, "idtr.base", segments.idtr.base),
    AT(SEGMENTS, "idtr.limit", segments.idtr.limit),
    CTL(cr0),
    CTL(cr2),
    CTL(cr3),
    CTL(cr4),
    CTL(cr8),
    CTL(xcr0),
    CTL(efer),
    CTL(apic_base),
    AT(DEBUG, "dr0", debug.dr[0]),
    AT(DEBUG, "dr1", debug.dr[1]),
    AT(DEBUG, "dr2", debug.dr[2]),
    AT(DEBUG, "dr3", debug.dr[3]),
    AT(DEBUG, "dr6", debug.dr6),
    AT(DEBUG, "dr7", debug.dr7),
    MSR(star),
    MSR(lstar),
    MSR(cstar),
    MSR(fmask),
    MSR(kernel_gs_base),
    MSR(tsc_aux),
    MSR(sysenter_cs),
    MSR(sysenter_esp),
    MSR(sysenter_eip),
    MSR(feature_control),
    MSR(spec_ctrl),
    MSR(misc_enable),
    MSR(debugctl),
    MSR(pat),
    MSR(xss),
    MSR(mcg_status),
    MSR(mcg_ctl),
    MSR(mtrr_def_type),
    MSRN(mtrr_fixed, 0),
    MSRN(mtrr_fixed, 1),
    MSRN(mtrr_fixed, 2),
    MSRN(mtrr_fixed, 3),
    MSRN(mtrr_fixed, 4),
    MSRN(mtrr_fixed, 5),
    MSRN(mtrr_fixed, 6),
    MSRN(mtrr_fixed, 7),
    MSRN(mtrr_fixed, 8),
    MSRN(mtrr_fixed, 9),
    MSRN(mtrr_fixed, 10),
    MTRR(0),
    MTRR(1),
    MTRR(2),
    MTRR(3),
    MTRR(4),
    MTRR(5),
    MTRR(6),
    MTRR(7),
    EVT("events", flags),
    EVT("sipi_vector", sipi_vector),
    EVT("event.type", injected.type),
    EVT("event.vector", injected.vector),
    EVT("event.flags", injected.flags),
    EVT("event.error", injected.error_code),
    EVT("event.address", injected.address),
    EVT("pending_debug", pending_debug),
};
#define GPRS   16u
#define RFLAGS 16u

static void compare_fields(struct vmlib_lockstep *l, const struct vmlib_lockstep_mask *mask)
{
    const struct vmlib_state *s[2] = {&l->side[0].state, &l->side[1].state};

    for (size_t i = 0; i < sizeof(state_fields) / sizeof(state_fields[0]); i++) {
        const struct field *f = &state_fields[i];
        uint64_t a = value_of(s[0], f), b = value_of(s[1], f);

        if (i < GPRS && mask && mask->gpr >> i & 1)
            continue;
        if (i == RFLAGS ? ((a ^ b) & ~RF & ~(mask ? mask->rflags : 0)) != 0 : a != b)
            vmi_ls_differ(l, VMLIB_LOCKSTEP_REGISTER, f->group, f->name, a, b);
    }
}

/* Loaded page-directory-pointer entries count with PAE paging only. */
static void compare_pdptes(struct vmlib_lockstep *l)
{
    const struct vmlib_control *a = &l->side[0].state.control, *b = &l->side[1].state.control;

    if (!(a->cr0 >> 31 & 1) || !(a->cr4 >> 5 & 1) || (a->efer >> 10 & 1))
        return;
    for (unsigned i = 0; i < 4; i++) {
        char name[24];

        snprintf(name, sizeof(name), "pdpte.%u", i);
        if (a->pdpte[i] != b->pdpte[i])
            vmi_ls_differ(l, VMLIB_LOCKSTEP_REGISTER, VMLIB_STATE_CONTROL, name, a->pdpte[i],
                          b->pdpte[i]);
    }
}

static void segment_field(struct vmlib_lockstep *l, const char *segment, const char *part,
                          uint64_t a, uint64_t b)
{
    char name[24];

    if (a == b)
        return;
    snprintf(name, sizeof(name), "%s.%s", segment, part);
    vmi_ls_differ(l, VMLIB_LOCKSTEP_REGISTER, VMLIB_STATE_SEGMENTS, name, a, b);
}

/* An unusable segment has a selector; FS and GS keep a base that 64-bit code uses. */
static void compare_segments(struct vmlib_lockstep *l)
{
    static const char *const name[8] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    const struct vmlib_segment *a = &l->side[0].state.segments.es;
    const struct vmlib_segment *b = &l->side[1].state.segments.es;

    for (unsigned i = 0; i < 8; i++, a++, b++) {
        bool unusable = a->attributes & b->attributes & VMLIB_SEGMENT_UNUSABLE;

        segment_field(l, name[i], "selector", a->selector, b->selector);
        if (!unusable || i == 4 || i == 5)
            segment_field(l, name[i], "base", a->base, b->base);
        if (unusable)
            continue;
        segment_field(l, name[i], "limit", a->limit, b->limit);
        segment_field(l, name[i], "attributes", a->attributes, b->attributes);
    }
}

/* --- vector registers: an XSAVE image in standard format (SDM Vol.1 13.4) --- */

#define FXSAVE_POINTERS 6u /* FOP, FIP, FDP with selectors: bytes 6 to 23 */
#define FXSAVE_MXCSR    24u
#define FXSAVE_ST       32u
#define FXSAVE_XMM      160u
#define XSAVE_YMM       576u
#define XSAVE_AVX_END   832u

/* A component that is not in the image has its initial value (SDM Vol.1 13.6). */
static void normalise(const struct vmlib_xsave *x, uint8_t image[VMLIB_XSAVE_MAX])
{
    memcpy(image, x->image, VMLIB_XSAVE_MAX);
    if (!(x->features & 1)) {
        memset(image, 0, FXSAVE_MXCSR);
        memset(image + FXSAVE_ST, 0, FXSAVE_XMM - FXSAVE_ST);
        image[0] = 0x7f;
        image[1] = 0x03;
    }
    if (!(x->features & 2))
        memset(image + FXSAVE_XMM, 0, 256);
    if (!(x->features & 4))
        memset(image + XSAVE_YMM, 0, XSAVE_AVX_END - XSAVE_YMM);
}

static void image_field(struct vmlib_lockstep *l, uint8_t image[2][VMLIB_XSAVE_MAX],
                        unsigned offset, unsigned bytes, uint64_t ignore, const char *name)
{
    uint64_t v[2] = {0, 0};

    memcpy(&v[0], image[0] + offset, bytes);
    memcpy(&v[1], image[1] + offset, bytes);
    if ((v[0] ^ v[1]) & ~ignore)
        vmi_ls_differ(l, VMLIB_LOCKSTEP_REGISTER, VMLIB_STATE_XSAVE, name, v[0], v[1]);
}

static void image_array(struct vmlib_lockstep *l, uint8_t image[2][VMLIB_XSAVE_MAX],
                        unsigned offset, unsigned count, unsigned part, const char *format)
{
    for (unsigned i = 0; i < count; i++, offset += 16) {
        char name[24];

        if (memcmp(image[0] + offset, image[1] + offset, 16) == 0)
            continue;
        snprintf(name, sizeof(name), format, i, part);
        image_field(l, image, offset, 8, 0, name);
        snprintf(name, sizeof(name), format, i, part + 1);
        image_field(l, image, offset + 8, 8, 0, name);
    }
}

static void compare_vectors(struct vmlib_lockstep *l, const struct vmlib_lockstep_mask *mask)
{
    uint8_t image[2][VMLIB_XSAVE_MAX];

    normalise(&l->side[0].state.xsave, image[0]);
    normalise(&l->side[1].state.xsave, image[1]);
    image_field(l, image, 0, 2, 0, "fcw");
    image_field(l, image, 2, 2, mask ? mask->fpu_word : 0, "fsw");
    image_field(l, image, 4, 1, 0, "ftw");
    if (l->config.flags & VMLIB_LOCKSTEP_X87_POINTERS) {
        image_field(l, image, FXSAVE_POINTERS, 2, 0, "fop");
        image_field(l, image, 8, 8, 0, "fip");
        image_field(l, image, 16, 8, 0, "fdp");
    }
    image_field(l, image, FXSAVE_MXCSR, 4, 0, "mxcsr");
    image_array(l, image, FXSAVE_ST, 8, 0, "st%u.%u");
    image_array(l, image, FXSAVE_XMM, 16, 0, "xmm%u.%u");
    image_array(l, image, XSAVE_YMM, 16, 2, "ymm%u.%u");
}

void vmi_ls_compare_states(struct vmlib_lockstep *l, const struct vmlib_lockstep_mask *mask)
{
    const struct vmi_ls_side *s = l->side;

    compare_fields(l, mask);
    compare_pdptes(l);
    compare_segments(l);
    compare_vectors(l, mask);
    if (s[0].counts && s[1].counts && s[0].instructions != s[1].instructions)
        vmi_ls_differ(l, VMLIB_LOCKSTEP_REGISTER, 0, "instructions", s[0].instructions,
                      s[1].instructions);
}

/* --- excuses --- */

int vmi_ls_excuse(struct vmlib_lockstep *l, const struct vmlib_lockstep_mask *mask, bool *changed)
{
    const struct vmlib_state *a = &l->side[0].state;
    struct vmlib_state *b = &l->side[1].state;
    uint32_t groups = 0;

    for (unsigned i = 0; i < GPRS; i++) {
        if (!(mask->gpr >> i & 1) || value_of(a, &state_fields[i]) == value_of(b, &state_fields[i]))
            continue;
        memcpy((uint8_t *)b + state_fields[i].offset, (const uint8_t *)a + state_fields[i].offset,
               8);
        groups |= VMLIB_STATE_GPR;
    }
    if ((a->gpr.rflags ^ b->gpr.rflags) & mask->rflags) {
        b->gpr.rflags ^= (a->gpr.rflags ^ b->gpr.rflags) & mask->rflags;
        groups |= VMLIB_STATE_GPR;
    }
    uint16_t wa, wb;
    memcpy(&wa, a->xsave.image + 2, 2);
    memcpy(&wb, b->xsave.image + 2, 2);
    if ((wa ^ wb) & mask->fpu_word & (a->xsave.features & b->xsave.features & 1 ? 0xffff : 0)) {
        wb = (uint16_t)(wb ^ ((wa ^ wb) & mask->fpu_word));
        memcpy(b->xsave.image + 2, &wb, 2);
        groups |= VMLIB_STATE_XSAVE;
    }
    *changed = groups != 0;
    return groups ? vmlib_vcpu_set_state(l->side[1].vcpu, groups, b) : 0;
}
