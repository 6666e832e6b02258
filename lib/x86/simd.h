/*
 * Vector instructions, shared parts: availability, operands, host stubs.
 *
 * On x86-64 hosts a vector instruction is carried out by a stub: a function assembled when the
 * library is built that loads fixed host registers from memory, executes the same operation and
 * stores the result. No code is generated at run time. Elsewhere there are no stubs,
 * x86_host_features() is empty, and the rows are not offered.
 */
#ifndef X86_SIMD_H
#define X86_SIMD_H

#include "x86/insn.h"
#include "x86/mem.h"

#define X86_MXCSR_FLAGS   0x003fu
#define X86_MXCSR_PRE     0x0007u /* IE, DE, ZE: found before the operation is carried out */
#define X86_MXCSR_UE      0x0010u
#define X86_MXCSR_MASKS   0x1f80u
#define X86_MXCSR_UM      0x0800u
#define X86_MXCSR_FTZ     0x8000u
#define X86_MXCSR_VALID   0xffffu
#define X86_MXCSR_INITIAL 0x1f80u

/*
 * dst: vector, MMX register, or NULL; a: second source of VEX forms; b: last source, readable to
 * the full width of the operation (general registers: 8 bytes); c: immediate, or the address of a
 * further source. The value returned goes to a general register, or is x86_cc for comparisons.
 */
typedef uint64_t x86_stub(void *dst, const void *a, const void *b, uintptr_t c);
extern x86_stub *const x86_stubs[] __attribute__((visibility("hidden"))); /* by row */

/* Run a stub under the guest's MXCSR with all exceptions masked; flags are added to *mxcsr. */
uint64_t x86_host_fp(x86_stub *stub, void *dst, const void *a, const void *b, uintptr_t c,
                     uint32_t *mxcsr);

/* --- may the instruction run? --- */
/* Legacy SSE: SDM Vol.3A table 13-1; VEX: SDM Vol.2A 2.4.3; MMX: table 12-1 */
X86_INLINE bool x86_sse_off(const struct x86_cpu *cpu)
{
    return ((cpu->cr0 & (X86_CR0_EM | X86_CR0_TS)) | (cpu->cr4 & X86_CR4_OSFXSR)) != X86_CR4_OSFXSR;
}
X86_INLINE bool x86_avx_off(const struct x86_cpu *cpu)
{
    return ((cpu->cr0 & X86_CR0_TS) | (cpu->cr4 & X86_CR4_OSXSAVE)) != X86_CR4_OSXSAVE ||
           (~cpu->xcr0 & (X86_XCR0_SSE | X86_XCR0_AVX));
}
X86_INLINE bool x86_mmx_off(const struct x86_cpu *cpu)
{
    return (cpu->cr0 & (X86_CR0_EM | X86_CR0_TS)) || (cpu->fpu.sw & 0x80); /* ES: pending #MF */
}

/*
 * How the common part of a handler ends. Handlers proper are made by X86_SIMD_TABLE; the common
 * parts are inlined into them, so that this is no branch at run time.
 */
enum x86_simd_end {
    X86_SIMD_DONE,
    X86_SIMD_LEAVE,  /* a fault has been recorded, or the host must act */
    X86_SIMD_AGAIN,  /* in the segment form, see below */
    X86_SIMD_REFUSE, /* the state of the CPU does not allow the instruction */
};
struct x86_uop *x86_simd_again(struct x86_cpu *cpu, struct x86_uop *u);
struct x86_uop *x86_simd_refuse(struct x86_cpu *cpu, struct x86_uop *u); /* raise #UD, #NM, #MF */

/* While cpu->fp_live the host runs under the guest's control bits and collects the guest's flags.
 * Only with all exceptions masked; false: they are not. */
bool x86_fp_enter(struct x86_cpu *cpu);
/* The stub under any other guest MXCSR. False: an unmasked exception; #XM or #UD has been recorded,
 * dst is unchanged. Result in cpu->tmp. */
bool x86_fp_general(struct x86_cpu *cpu, struct x86_uop *u, void *dst, const void *a, const void *b,
                    uintptr_t c);

/* Result of the stub (general register, flags) in cpu->tmp. */
X86_INLINE bool x86_fp_run(struct x86_cpu *cpu, struct x86_uop *u, void *dst, const void *a,
                           const void *b, uintptr_t c)
{
    if (X86_UNLIKELY(!cpu->fp_live) && !x86_fp_enter(cpu))
        return x86_fp_general(cpu, u, dst, a, b, c);
    cpu->tmp = x86_stubs[u->row](dst, a, b, c);
    return true;
}

/* --- memory operands --- */
#define X86_ALIGNED 1u

/* Vectors of 16 bytes in guest memory: one access each, as hardware does. */
typedef uint64_t x86_v16 __attribute__((vector_size(16), may_alias, aligned(1)));
#if defined(__SANITIZE_THREAD__)
#define X86_RAW16 static __attribute__((noinline, no_sanitize("thread"), unused))
#else
#define X86_RAW16 X86_INLINE
#endif
X86_RAW16 void x86_raw_copy16(void *to, const void *from)
{
    *(volatile x86_v16 *)to = *(const volatile x86_v16 *)from;
}

/*
 * The inline forms of operand access serve flat addressing and a TLB hit, nothing else. When they
 * fail, nothing has happened yet, and x86_simd_miss() starts over in the row's segment form, which
 * can do everything (any addressing, page crossing, devices, faults) out of line. So the hot forms
 * need no stack frame.
 */
const void *x86_simd_src_any(struct x86_cpu *cpu, struct x86_uop *u, unsigned size, unsigned width,
                             unsigned flags);
bool x86_simd_store_any(struct x86_cpu *cpu, struct x86_uop *u, unsigned size, unsigned flags,
                        const void *from);
/* Can this much be written to the memory operand? False: leave. */
bool x86_simd_probe_write(struct x86_cpu *cpu, struct x86_uop *u, unsigned size);
X86_INLINE enum x86_simd_end x86_simd_miss(unsigned form)
{
    return form == X86_FORM_FLAT ? X86_SIMD_AGAIN : X86_SIMD_LEAVE;
}

/* Source operand of `size` bytes, readable to `width`; narrow ones go through cpu->vtmp. NULL:
 * x86_simd_miss(). */
X86_INLINE const void *x86_simd_src(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                    unsigned size, unsigned width, unsigned flags)
{
    if (form == X86_FORM_REG)
        return &cpu->v[u->rm];
    if (form == X86_FORM_SEG)
        return x86_simd_src_any(cpu, u, size, width, flags);
    uint64_t lin = x86_ea_flat(cpu, u);
    struct x86_tlb_entry *e = x86_tlb_slot(cpu, lin);
    if (X86_UNLIKELY(e->rd != x86_tlb_tag(cpu, lin, size)) ||
        (flags & X86_ALIGNED && X86_UNLIKELY(lin & (size - 1))))
        return NULL;
    uintptr_t p = e->addend + (uintptr_t)lin;
    if (size == width)
        return (const void *)p;
    cpu->vtmp[0].q[0] = size == 1   ? x86_raw_ld8(p)
                        : size == 2 ? x86_raw_ld16(p)
                        : size == 4 ? x86_raw_ld32(p)
                                    : x86_raw_ld64(p);
    cpu->vtmp[0].q[1] = size == 16 ? x86_raw_ld64(p + 8) : 0;
    return &cpu->vtmp[0];
}

/* Store 4, 8, 16 or 32 bytes; false: x86_simd_miss(). */
X86_INLINE bool x86_simd_store(struct x86_cpu *cpu, struct x86_uop *u, unsigned form, unsigned size,
                               unsigned flags, const void *from)
{
    if (form == X86_FORM_SEG)
        return x86_simd_store_any(cpu, u, size, flags, from);
    uint64_t lin = x86_ea_flat(cpu, u);
    struct x86_tlb_entry *e = x86_tlb_slot(cpu, lin);
    if (X86_UNLIKELY(e->wr != x86_tlb_tag(cpu, lin, size)) ||
        (flags & X86_ALIGNED && X86_UNLIKELY(lin & (size - 1))))
        return false;
    uintptr_t p = e->addend + (uintptr_t)lin;
    if (size == 4)
        x86_raw_st32(p, *(const uint32_t *)from);
    else if (size == 8)
        x86_raw_st64(p, *(const uint64_t *)from);
    else
        x86_raw_copy16((void *)p, from);
    if (size == 32)
        x86_raw_copy16((void *)(p + 16), (const uint8_t *)from + 16);
    return true;
}

/* VEX.128 results clear bits 255:128. */
X86_INLINE void x86_vec_clear_upper(union x86_vec *v)
{
    v->q[2] = 0;
    v->q[3] = 0;
}

/* A handler table with the three forms made from one inline function op(cpu, u, form, extra...). */
#define X86_SIMD_HANDLER(name, call)                                    \
    static struct x86_uop *name(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                   \
        switch (call) {                                                 \
        case X86_SIMD_DONE:                                             \
            X86_NEXT(cpu, u);                                           \
        case X86_SIMD_AGAIN:                                            \
            return x86_simd_again(cpu, u);                              \
        case X86_SIMD_REFUSE:                                           \
            return x86_simd_refuse(cpu, u);                             \
        default:                                                        \
            return x86_leave(cpu, u);                                   \
        }                                                               \
    }
#define X86_SIMD_TABLE(table, op, ...)                                  \
    X86_SIMD_HANDLER(table##_r, op(cpu, u, X86_FORM_REG, __VA_ARGS__))  \
    X86_SIMD_HANDLER(table##_m, op(cpu, u, X86_FORM_FLAT, __VA_ARGS__)) \
    X86_SIMD_HANDLER(table##_s, op(cpu, u, X86_FORM_SEG, __VA_ARGS__))  \
    extern x86_handler *const table[3];                                 \
    x86_handler *const table[3] = {table##_r, table##_m, table##_s};

/* Set by MMX instructions but EMMS: all registers in use, TOP 0 (SDM Vol.1 9.5.1). */
static inline void x86_mmx_enter(struct x86_cpu *cpu)
{
    cpu->fpu.top = 0;
    cpu->fpu.tagw = 0xff;
}

#endif
