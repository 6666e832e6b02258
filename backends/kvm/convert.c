/* The kernel's register structs from and to the API's. No ioctls here. */
#include <string.h>

#include "kvm/convert.h"
#include "x86/defs.h"

/* --- general registers: the kernel has its own order --- */

#define GPR_FIELDS(X) \
    X(rax)            \
    X(rbx)            \
    X(rcx)            \
    X(rdx) X(rsi) X(rdi) X(rsp) X(rbp) X(r8) X(r9) X(r10) X(r11) X(r12) X(r13) X(r14) X(r15) X(rip)

void kvm_gpr_to_api(const struct kvm_regs *r, struct vmlib_gpr *o)
{
#define X(name) o->name = r->name;
    GPR_FIELDS(X)
#undef X
    o->rflags = r->rflags;
}

void kvm_gpr_from_api(const struct vmlib_gpr *g, struct kvm_regs *r)
{
#define X(name) r->name = g->name;
    GPR_FIELDS(X)
#undef X
    r->rflags = (g->rflags & X86_FL_ALL) | X86_FL_ONE;
}

/* --- segments --- */

static struct vmlib_segment segment_to_api(const struct kvm_segment *s)
{
    uint32_t attributes =
        (uint32_t)((s->type & 15) | (s->s & 1) << 4 | (s->dpl & 3) << 5 | (s->present & 1) << 7 |
                   (s->avl & 1) << 12 | (s->l & 1) << 13 | (s->db & 1) << 14 | (s->g & 1) << 15);
    /* Some paths of KVM leave a null segment without the mark. */
    bool null = attributes == 0 && s->selector < 4 && s->base == 0 && s->limit == 0;
    bool unusable = s->unusable & 1 || null;
    return (struct vmlib_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .attributes = attributes | (unusable ? VMLIB_SEGMENT_UNUSABLE : 0),
    };
}

/* The granularity bit must agree with the limit (SDM Vol.3C 27.3.1.2): a limit that cannot be
 * written in pages has G = 0, one above 1 MiB has G = 1. Descriptors always agree; state that a
 * host program made up (4 GiB segments in real mode) may not. */
static unsigned granularity(const struct vmlib_segment *o)
{
    if (o->limit > 0xfffff)
        return 1;
    if ((o->limit & 0xfff) != 0xfff)
        return 0;
    return o->attributes >> 15 & 1;
}

static struct kvm_segment segment_from_api(const struct vmlib_segment *o)
{
    uint32_t a = o->attributes;
    return (struct kvm_segment){
        .base = o->base,
        .limit = o->limit,
        .selector = o->selector,
        .type = a & 15,
        .s = a >> 4 & 1,
        .dpl = a >> 5 & 3,
        .present = a >> 7 & 1,
        .avl = a >> 12 & 1,
        .l = a >> 13 & 1,
        .db = a >> 14 & 1,
        .g = (uint8_t)granularity(o),
        .unusable = a >> 16 & 1,
    };
}

static struct vmlib_table table_to_api(const struct kvm_dtable *t)
{
    return (struct vmlib_table){.base = t->base, .limit = t->limit};
}

static struct kvm_dtable table_from_api(const struct vmlib_table *t)
{
    return (struct kvm_dtable){.base = t->base, .limit = t->limit};
}

#define SEG_FIELDS(X) \
    X(es, es) X(cs, cs) X(ss, ss) X(ds, ds) X(fs, fs) X(gs, gs) X(ldt, ldtr) X(tr, tr)

void kvm_segments_to_api(const struct kvm_sregs *s, struct vmlib_segments *o)
{
#define X(theirs, ours) o->ours = segment_to_api(&s->theirs);
    SEG_FIELDS(X)
#undef X
    o->gdtr = table_to_api(&s->gdt);
    o->idtr = table_to_api(&s->idt);
}

void kvm_segments_from_api(const struct vmlib_segments *o, struct kvm_sregs *s)
{
#define X(theirs, ours) s->theirs = segment_from_api(&o->ours);
    SEG_FIELDS(X)
#undef X
    s->gdt = table_from_api(&o->gdtr);
    s->idt = table_from_api(&o->idtr);
}

/* --- control registers; XCR0 and the PDPTEs travel apart --- */

bool kvm_sregs_pae(const struct kvm_sregs *s)
{
    return s->cr0 & X86_CR0_PG && s->cr4 & X86_CR4_PAE && !(s->efer & X86_EFER_LMA);
}

void kvm_control_to_api(const struct kvm_sregs *s, struct vmlib_control *o)
{
    o->cr0 = s->cr0;
    o->cr2 = s->cr2;
    o->cr3 = s->cr3;
    o->cr4 = s->cr4;
    o->cr8 = s->cr8;
    o->efer = s->efer;
    o->apic_base = s->apic_base;
}

void kvm_control_from_api(const struct vmlib_control *o, struct kvm_sregs *s)
{
    s->cr0 = o->cr0;
    s->cr2 = o->cr2;
    s->cr3 = o->cr3;
    s->cr4 = o->cr4;
    s->cr8 = o->cr8;
    s->efer = o->efer;
    s->apic_base = o->apic_base;
}

/* --- vector state: KVM's image is in standard format, too (SDM Vol.1 13.4) --- */

#define XSAVE_LEGACY 512u
#define XSAVE_HEADER 64u
#define XSAVE_AVX    576u
#define XSAVE_BYTES  832u
#define MXCSR_MASK   0xffffu

/* Bits that differ between hosts, or are left to software, read as the software backend has them.
 */
static void legacy_to_api(const uint8_t *image, uint8_t *o)
{
    const uint32_t mask = MXCSR_MASK;
    memcpy(o, image, 416);
    memcpy(o + 28, &mask, sizeof(mask));
    memset(o + 416, 0, XSAVE_LEGACY - 416);
}

void kvm_fpu_to_api(const struct kvm_xsave *x, struct vmlib_fpu *o)
{
    legacy_to_api((const uint8_t *)x->region, o->image);
}

void kvm_xsave_to_api(const struct kvm_xsave *x, uint64_t features, struct vmlib_xsave *o)
{
    const uint8_t *image = (const uint8_t *)x->region;
    memset(o, 0, sizeof(*o));
    o->bytes = XSAVE_BYTES;
    o->features = features;
    legacy_to_api(image, o->image);
    memcpy(o->image + XSAVE_LEGACY, &features, sizeof(features));
    if (features & X86_XCR0_AVX)
        memcpy(o->image + XSAVE_AVX, image + XSAVE_AVX, XSAVE_BYTES - XSAVE_AVX);
}

static void set_header(uint8_t *image, uint64_t features)
{
    memset(image + XSAVE_LEGACY, 0, XSAVE_HEADER);
    memcpy(image + XSAVE_LEGACY, &features, sizeof(features));
}

static void set_mxcsr(uint8_t *image)
{
    uint32_t mxcsr;
    memcpy(&mxcsr, image + 24, sizeof(mxcsr));
    mxcsr &= MXCSR_MASK; /* reserved bits: KVM would refuse all of the image */
    memcpy(image + 24, &mxcsr, sizeof(mxcsr));
}

void kvm_fpu_from_api(const struct vmlib_fpu *o, struct kvm_xsave *x)
{
    uint8_t *image = (uint8_t *)x->region;
    uint64_t features;
    memcpy(&features, image + XSAVE_LEGACY, sizeof(features));
    memcpy(image, o->image, 416);
    set_mxcsr(image);
    set_header(image, features | X86_XCR0_X87 | X86_XCR0_SSE);
}

void kvm_xsave_from_api(const struct vmlib_xsave *o, uint64_t features, struct kvm_xsave *x)
{
    uint8_t *image = (uint8_t *)x->region;
    memset(x, 0, sizeof(*x));
    memcpy(image + 24, o->image + 24, 8); /* MXCSR belongs to no component alone */
    if (o->features & X86_XCR0_X87) {
        memcpy(image, o->image, 24);
        memcpy(image + 32, o->image + 32, 128);
    } else {
        image[0] = 0x7f;
        image[1] = 0x03;
    }
    if (o->features & X86_XCR0_SSE)
        memcpy(image + 160, o->image + 160, 256);
    if (o->features & features & X86_XCR0_AVX)
        memcpy(image + XSAVE_AVX, o->image + XSAVE_AVX, XSAVE_BYTES - XSAVE_AVX);
    set_mxcsr(image);
    set_header(image, X86_XCR0_X87 | X86_XCR0_SSE | (features & X86_XCR0_AVX));
}
