/*
 * Vector instructions that one stub carries out: operands by form and size, then the stub of the
 * row.
 *
 * Tables are named after the instruction set, an x where MXCSR matters, what is written if not a
 * vector (g general register, f flags) and the size of the memory operand (a: it must be aligned).
 */
#include "x86/simd.h"
#include "x86/sys.h"

#define FP 2u /* under the guest's MXCSR; beside X86_ALIGNED */

/* Result of the stub in cpu->tmp. False: leave. */
X86_INLINE bool run(struct x86_cpu *cpu, struct x86_uop *u, unsigned flags, void *dst,
                    const void *a, const void *b, uintptr_t c)
{
    if (flags & FP)
        return x86_fp_run(cpu, u, dst, a, b, c);
    cpu->tmp = x86_stubs[u->row](dst, a, b, c);
    return true;
}

/* --- vector <- vector, immediate --- */
X86_INLINE enum x86_simd_end op_sse(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                    unsigned size, unsigned flags)
{
    if (X86_UNLIKELY(x86_sse_off(cpu)))
        return X86_SIMD_REFUSE;
    const void *src = x86_simd_src(cpu, u, form, size, 16, flags & X86_ALIGNED);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    if (!run(cpu, u, flags, &cpu->v[u->reg], NULL, src, X86_VIMM_IMM(u)))
        return X86_SIMD_LEAVE;
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_2, op_sse, 2, 0)
X86_SIMD_TABLE(x86_t_sse_4, op_sse, 4, 0)
X86_SIMD_TABLE(x86_t_sse_8, op_sse, 8, 0)
X86_SIMD_TABLE(x86_t_sse_16a, op_sse, 16, X86_ALIGNED)
X86_SIMD_TABLE(x86_t_sse_x4, op_sse, 4, FP)
X86_SIMD_TABLE(x86_t_sse_x8, op_sse, 8, FP)
X86_SIMD_TABLE(x86_t_sse_x16a, op_sse, 16, FP | X86_ALIGNED)

X86_INLINE enum x86_simd_end op_vex(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                    unsigned size, unsigned width, unsigned flags)
{
    if (X86_UNLIKELY(x86_avx_off(cpu)))
        return X86_SIMD_REFUSE;
    const void *src = x86_simd_src(cpu, u, form, size, width, 0);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    if (!run(cpu, u, flags, &cpu->v[u->reg], &cpu->v[X86_VIMM_VVVV(u)], src, X86_VIMM_IMM(u)))
        return X86_SIMD_LEAVE;
    return X86_SIMD_DONE;
}
/* Narrow sources serve both vector lengths: what the stub reads beyond them does not matter. */
X86_SIMD_TABLE(x86_t_vex_2, op_vex, 2, 32, 0)
X86_SIMD_TABLE(x86_t_vex_4, op_vex, 4, 32, 0)
X86_SIMD_TABLE(x86_t_vex_8, op_vex, 8, 32, 0)
X86_SIMD_TABLE(x86_t_vex_16, op_vex, 16, 16, 0)
X86_SIMD_TABLE(x86_t_vex_16s, op_vex, 16, 32, 0)
X86_SIMD_TABLE(x86_t_vex_32, op_vex, 32, 32, 0)
X86_SIMD_TABLE(x86_t_vex_x4, op_vex, 4, 32, FP)
X86_SIMD_TABLE(x86_t_vex_x8, op_vex, 8, 32, FP)
X86_SIMD_TABLE(x86_t_vex_x16, op_vex, 16, 16, FP)
X86_SIMD_TABLE(x86_t_vex_x16s, op_vex, 16, 32, FP)
X86_SIMD_TABLE(x86_t_vex_x32, op_vex, 32, 32, FP)

/* --- vector <- integer: CVTSI2SS and SD --- */
X86_INLINE const void *src_gpr(struct x86_cpu *cpu, struct x86_uop *u, unsigned form, unsigned size)
{
    return form == X86_FORM_REG ? &cpu->r[u->rm] : x86_simd_src(cpu, u, form, size, 32, 0);
}

X86_INLINE enum x86_simd_end op_sse_xg(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                       unsigned size)
{
    if (X86_UNLIKELY(x86_sse_off(cpu)))
        return X86_SIMD_REFUSE;
    const void *src = src_gpr(cpu, u, form, size);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    if (!x86_fp_run(cpu, u, &cpu->v[u->reg], NULL, src, 0))
        return X86_SIMD_LEAVE;
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_xg4, op_sse_xg, 4)
X86_SIMD_TABLE(x86_t_sse_xg8, op_sse_xg, 8)

X86_INLINE enum x86_simd_end op_vex_xg(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                       unsigned size)
{
    if (X86_UNLIKELY(x86_avx_off(cpu)))
        return X86_SIMD_REFUSE;
    const void *src = src_gpr(cpu, u, form, size);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    if (!x86_fp_run(cpu, u, &cpu->v[u->reg], &cpu->v[X86_VIMM_VVVV(u)], src, 0))
        return X86_SIMD_LEAVE;
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_vex_xg4, op_vex_xg, 4)
X86_SIMD_TABLE(x86_t_vex_xg8, op_vex_xg, 8)

/* --- general register <- vector; flags <- vectors --- */
#define AVX 4u

X86_INLINE enum x86_simd_end op_g(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                  unsigned size, unsigned flags)
{
    if (X86_UNLIKELY(flags & AVX ? x86_avx_off(cpu) : x86_sse_off(cpu)))
        return X86_SIMD_REFUSE;
    const void *src = x86_simd_src(cpu, u, form, size, 32, 0);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    if (!run(cpu, u, flags, NULL, NULL, src, 0))
        return X86_SIMD_LEAVE;
    cpu->r[u->reg] = cpu->tmp;
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_g, op_g, 8, 0)
X86_SIMD_TABLE(x86_t_sse_gx4, op_g, 4, FP)
X86_SIMD_TABLE(x86_t_sse_gx8, op_g, 8, FP)
X86_SIMD_TABLE(x86_t_vex_g, op_g, 8, AVX)
X86_SIMD_TABLE(x86_t_vex_gx4, op_g, 4, AVX | FP)
X86_SIMD_TABLE(x86_t_vex_gx8, op_g, 8, AVX | FP)

X86_INLINE enum x86_simd_end op_f(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                  unsigned size, unsigned width, unsigned flags)
{
    if (X86_UNLIKELY(flags & AVX ? x86_avx_off(cpu) : x86_sse_off(cpu)))
        return X86_SIMD_REFUSE;
    const void *src = x86_simd_src(cpu, u, form, size, width, flags & X86_ALIGNED);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    /* The stub loads its first operand through dst and does not store. */
    if (!run(cpu, u, flags, &cpu->v[u->reg], NULL, src, 0))
        return X86_SIMD_LEAVE;
    cpu->cc = (x86_cc)cpu->tmp;
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_fx4, op_f, 4, 32, FP)
X86_SIMD_TABLE(x86_t_sse_fx8, op_f, 8, 32, FP)
X86_SIMD_TABLE(x86_t_sse_f16a, op_f, 16, 16, X86_ALIGNED)
X86_SIMD_TABLE(x86_t_vex_fx4, op_f, 4, 32, AVX | FP)
X86_SIMD_TABLE(x86_t_vex_fx8, op_f, 8, 32, AVX | FP)
X86_SIMD_TABLE(x86_t_vex_f16, op_f, 16, 16, AVX)
X86_SIMD_TABLE(x86_t_vex_f32, op_f, 32, 32, AVX)

/* --- a third source: xmm0 (BLENDV, SHA256RNDS2) or the register in the immediate --- */
X86_INLINE enum x86_simd_end op_xmm0(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                     unsigned size)
{
    if (X86_UNLIKELY(x86_sse_off(cpu)))
        return X86_SIMD_REFUSE;
    const void *src = x86_simd_src(cpu, u, form, size, 16, X86_ALIGNED);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    x86_stubs[u->row](&cpu->v[u->reg], NULL, src, (uintptr_t)&cpu->v[0]);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_xmm0, op_xmm0, 16)

X86_INLINE enum x86_simd_end op_is4(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                    unsigned size)
{
    if (X86_UNLIKELY(x86_avx_off(cpu)))
        return X86_SIMD_REFUSE;
    const void *src = x86_simd_src(cpu, u, form, size, size, 0);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    unsigned third = X86_VIMM_IMM(u) >> 4 & (x86_in_long64(cpu) ? 15 : 7);
    x86_stubs[u->row](&cpu->v[u->reg], &cpu->v[X86_VIMM_VVVV(u)], src, (uintptr_t)&cpu->v[third]);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_vex_is4_16, op_is4, 16)
X86_SIMD_TABLE(x86_t_vex_is4_32, op_is4, 32)

/* --- shifts by an immediate: the stub takes the count from a register --- */
X86_INLINE enum x86_simd_end op_shift(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                      bool vex)
{
    (void)form;
    if (X86_UNLIKELY(vex ? x86_avx_off(cpu) : x86_sse_off(cpu)))
        return X86_SIMD_REFUSE;
    cpu->vtmp[0].q[0] = X86_VIMM_IMM(u);
    cpu->vtmp[0].q[1] = 0;
    union x86_vec *dst = &cpu->v[vex ? X86_VIMM_VVVV(u) : u->rm];
    x86_stubs[u->row](dst, &cpu->v[u->rm], &cpu->vtmp[0], 0);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_shift, op_shift, false)
X86_SIMD_TABLE(x86_t_vex_shift, op_shift, true)

/* --- VCVTPS2PH: destination in ModRM.rm, half the size of the source --- */
X86_INLINE enum x86_simd_end op_ps2ph(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                      unsigned width)
{
    if (X86_UNLIKELY(x86_avx_off(cpu)))
        return X86_SIMD_REFUSE;
    union x86_vec *dst = form == X86_FORM_REG ? &cpu->v[u->rm] : &cpu->vtmp[0];
    x86_fp_sync(cpu); /* the store may fail: the flags must be here to be put back */
    uint32_t mxcsr = cpu->mxcsr;
    /* Page faults come before floating-point exceptions (SDM Vol.3A 6.9). */
    if (form != X86_FORM_REG && !x86_simd_probe_write(cpu, u, width / 2))
        return X86_SIMD_LEAVE;
    if (!x86_fp_general(cpu, u, dst, NULL, &cpu->v[u->reg], X86_VIMM_IMM(u)))
        return X86_SIMD_LEAVE;
    if (form != X86_FORM_REG && !x86_simd_store_any(cpu, u, width / 2, 0, dst)) {
        cpu->mxcsr = mxcsr;
        return X86_SIMD_LEAVE;
    }
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_vex_ps2ph16, op_ps2ph, 16)
X86_SIMD_TABLE(x86_t_vex_ps2ph32, op_ps2ph, 32)
