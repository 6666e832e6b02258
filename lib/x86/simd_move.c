/* Vector moves and the bitwise operations that kernels and libc live on: in C, with the inline TLB
 * path. */
#include "x86/simd.h"

#define AVX 4u /* beside X86_ALIGNED: VEX-encoded */

X86_INLINE bool off(const struct x86_cpu *cpu, unsigned flags)
{
    return X86_UNLIKELY(flags & AVX ? x86_avx_off(cpu) : x86_sse_off(cpu));
}
X86_INLINE void copy(union x86_vec *to, const void *from, unsigned size, unsigned flags)
{
    x86_raw_copy16(to, from);
    if (size == 32)
        x86_raw_copy16(&to->q[2], (const uint8_t *)from + 16);
    else if (flags & AVX)
        x86_vec_clear_upper(to);
}

/* --- whole vectors --- */
X86_INLINE enum x86_simd_end op_load(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                     unsigned size, unsigned flags)
{
    if (off(cpu, flags))
        return X86_SIMD_REFUSE;
    const void *src = x86_simd_src(cpu, u, form, size, size, flags & X86_ALIGNED);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    copy(&cpu->v[u->reg], src, size, flags);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_ld16, op_load, 16, 0)
X86_SIMD_TABLE(x86_t_sse_ld16a, op_load, 16, X86_ALIGNED)
X86_SIMD_TABLE(x86_t_vex_ld16, op_load, 16, AVX)
X86_SIMD_TABLE(x86_t_vex_ld32, op_load, 32, AVX)
X86_SIMD_TABLE(x86_t_vex_lda16, op_load, 16, AVX | X86_ALIGNED)
X86_SIMD_TABLE(x86_t_vex_lda32, op_load, 32, AVX | X86_ALIGNED)

X86_INLINE enum x86_simd_end op_store(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                      unsigned size, unsigned flags)
{
    if (off(cpu, flags))
        return X86_SIMD_REFUSE;
    if (form == X86_FORM_REG)
        copy(&cpu->v[u->rm], &cpu->v[u->reg], size, flags);
    else if (!x86_simd_store(cpu, u, form, size, flags & X86_ALIGNED, &cpu->v[u->reg]))
        return x86_simd_miss(form);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_st16, op_store, 16, 0)
X86_SIMD_TABLE(x86_t_sse_st16a, op_store, 16, X86_ALIGNED)
X86_SIMD_TABLE(x86_t_vex_st16, op_store, 16, AVX)
X86_SIMD_TABLE(x86_t_vex_st32, op_store, 32, AVX)
X86_SIMD_TABLE(x86_t_vex_sta16, op_store, 16, AVX | X86_ALIGNED)
X86_SIMD_TABLE(x86_t_vex_sta32, op_store, 32, AVX | X86_ALIGNED)

/* --- scalars: from memory the rest is cleared, between registers it is merged --- */
X86_INLINE enum x86_simd_end op_load_scalar(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                            unsigned size, unsigned flags)
{
    union x86_vec *dst = &cpu->v[u->reg];
    if (off(cpu, flags))
        return X86_SIMD_REFUSE;
    const union x86_vec *src = x86_simd_src(cpu, u, form, size, 16, 0);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    if (form == X86_FORM_REG) {
        const union x86_vec *rest = flags & AVX ? &cpu->v[X86_VIMM_VVVV(u)] : dst;
        uint64_t low = size == 8 ? src->q[0] : (rest->q[0] & ~UINT64_C(0xffffffff)) | src->d[0];
        dst->q[1] = rest->q[1];
        dst->q[0] = low;
    } else {
        dst->q[0] = src->q[0];
        dst->q[1] = 0;
    }
    if (flags & AVX)
        x86_vec_clear_upper(dst);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_ldss, op_load_scalar, 4, 0)
X86_SIMD_TABLE(x86_t_sse_ldsd, op_load_scalar, 8, 0)
X86_SIMD_TABLE(x86_t_vex_ldss, op_load_scalar, 4, AVX)
X86_SIMD_TABLE(x86_t_vex_ldsd, op_load_scalar, 8, AVX)

X86_INLINE enum x86_simd_end op_store_scalar(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                             unsigned size, unsigned flags)
{
    if (off(cpu, flags))
        return X86_SIMD_REFUSE;
    if (form == X86_FORM_REG) {
        union x86_vec *dst = &cpu->v[u->rm];
        const union x86_vec *rest = flags & AVX ? &cpu->v[X86_VIMM_VVVV(u)] : dst;
        const union x86_vec *src = &cpu->v[u->reg];
        uint64_t low = size == 8 ? src->q[0] : (rest->q[0] & ~UINT64_C(0xffffffff)) | src->d[0];
        dst->q[1] = rest->q[1];
        dst->q[0] = low;
        if (flags & AVX)
            x86_vec_clear_upper(dst);
    } else if (!x86_simd_store(cpu, u, form, size, 0, &cpu->v[u->reg])) {
        return x86_simd_miss(form);
    }
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_stss, op_store_scalar, 4, 0)
X86_SIMD_TABLE(x86_t_sse_stsd, op_store_scalar, 8, 0)
X86_SIMD_TABLE(x86_t_vex_stss, op_store_scalar, 4, AVX)
X86_SIMD_TABLE(x86_t_vex_stsd, op_store_scalar, 8, AVX)

/* MOVQ: the rest is always cleared. */
X86_INLINE enum x86_simd_end op_load_q(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                       unsigned flags)
{
    union x86_vec *dst = &cpu->v[u->reg];
    if (off(cpu, flags))
        return X86_SIMD_REFUSE;
    const union x86_vec *src = x86_simd_src(cpu, u, form, 8, 16, 0);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    dst->q[0] = src->q[0];
    dst->q[1] = 0;
    if (flags & AVX)
        x86_vec_clear_upper(dst);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_ldq, op_load_q, 0)
X86_SIMD_TABLE(x86_t_vex_ldq, op_load_q, AVX)

X86_INLINE enum x86_simd_end op_store_q(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                        unsigned flags)
{
    if (off(cpu, flags))
        return X86_SIMD_REFUSE;
    if (form == X86_FORM_REG) {
        union x86_vec *dst = &cpu->v[u->rm];
        dst->q[0] = cpu->v[u->reg].q[0];
        dst->q[1] = 0;
        if (flags & AVX)
            x86_vec_clear_upper(dst);
    } else if (!x86_simd_store(cpu, u, form, 8, 0, &cpu->v[u->reg])) {
        return x86_simd_miss(form);
    }
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_stq, op_store_q, 0)
X86_SIMD_TABLE(x86_t_vex_stq, op_store_q, AVX)

/* --- halves. From a register: MOVHLPS takes the high half as low one, MOVLHPS the low half as high
 * one --- */
X86_INLINE enum x86_simd_end op_load_half(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                          unsigned half, unsigned flags)
{
    union x86_vec *dst = &cpu->v[u->reg];
    if (off(cpu, flags))
        return X86_SIMD_REFUSE;
    const union x86_vec *src = x86_simd_src(cpu, u, form, 8, 16, 0);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    const union x86_vec *rest = flags & AVX ? &cpu->v[X86_VIMM_VVVV(u)] : dst;
    uint64_t value = src->q[form == X86_FORM_REG ? !half : 0], other = rest->q[!half];
    dst->q[half] = value;
    dst->q[!half] = other;
    if (flags & AVX)
        x86_vec_clear_upper(dst);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_ldlo, op_load_half, 0, 0)
X86_SIMD_TABLE(x86_t_sse_ldhi, op_load_half, 1, 0)
X86_SIMD_TABLE(x86_t_vex_ldlo, op_load_half, 0, AVX)
X86_SIMD_TABLE(x86_t_vex_ldhi, op_load_half, 1, AVX)

X86_INLINE enum x86_simd_end op_store_half(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                           unsigned half, unsigned flags)
{
    if (off(cpu, flags))
        return X86_SIMD_REFUSE;
    if (!x86_simd_store(cpu, u, form, 8, 0, &cpu->v[u->reg].q[half]))
        return x86_simd_miss(form);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_stlo, op_store_half, 0, 0)
X86_SIMD_TABLE(x86_t_sse_sthi, op_store_half, 1, 0)
X86_SIMD_TABLE(x86_t_vex_stlo, op_store_half, 0, AVX)
X86_SIMD_TABLE(x86_t_vex_sthi, op_store_half, 1, AVX)

/* --- general registers --- */
X86_INLINE enum x86_simd_end op_load_gpr(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                         unsigned size, unsigned flags)
{
    union x86_vec *dst = &cpu->v[u->reg];
    uint64_t value;
    if (off(cpu, flags))
        return X86_SIMD_REFUSE;
    if (form == X86_FORM_REG) {
        value = size == 8 ? cpu->r[u->rm] : (uint32_t)cpu->r[u->rm];
    } else {
        const union x86_vec *src = x86_simd_src(cpu, u, form, size, 16, 0);
        if (X86_UNLIKELY(!src))
            return x86_simd_miss(form);
        value = src->q[0];
    }
    dst->q[0] = value;
    dst->q[1] = 0;
    if (flags & AVX)
        x86_vec_clear_upper(dst);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_ldg4, op_load_gpr, 4, 0)
X86_SIMD_TABLE(x86_t_sse_ldg8, op_load_gpr, 8, 0)
X86_SIMD_TABLE(x86_t_vex_ldg4, op_load_gpr, 4, AVX)
X86_SIMD_TABLE(x86_t_vex_ldg8, op_load_gpr, 8, AVX)

X86_INLINE enum x86_simd_end op_store_gpr(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                          unsigned size, unsigned flags)
{
    const union x86_vec *src = &cpu->v[u->reg];
    if (off(cpu, flags))
        return X86_SIMD_REFUSE;
    if (form == X86_FORM_REG)
        cpu->r[u->rm] = size == 8 ? src->q[0] : src->d[0];
    else if (!x86_simd_store(cpu, u, form, size, 0, src))
        return x86_simd_miss(form);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_stg4, op_store_gpr, 4, 0)
X86_SIMD_TABLE(x86_t_sse_stg8, op_store_gpr, 8, 0)
X86_SIMD_TABLE(x86_t_vex_stg4, op_store_gpr, 4, AVX)
X86_SIMD_TABLE(x86_t_vex_stg8, op_store_gpr, 8, AVX)

/* --- bitwise operations, PCMPEQB --- */
typedef uint8_t v16b __attribute__((vector_size(16), may_alias, aligned(1)));

X86_INLINE v16b logic_and(v16b a, v16b b)
{
    return a & b;
}
X86_INLINE v16b logic_andn(v16b a, v16b b)
{
    return ~a & b;
}
X86_INLINE v16b logic_or(v16b a, v16b b)
{
    return a | b;
}
X86_INLINE v16b logic_xor(v16b a, v16b b)
{
    return a ^ b;
}
X86_INLINE v16b logic_cmpeqb(v16b a, v16b b)
{
    return (v16b)(a == b);
}

#define LOGIC(name)                                                                               \
    X86_INLINE enum x86_simd_end op_##name(struct x86_cpu *cpu, struct x86_uop *u, unsigned form, \
                                           unsigned size, unsigned flags)                         \
    {                                                                                             \
        if (off(cpu, flags))                                                                      \
            return X86_SIMD_REFUSE;                                                               \
        const v16b *src = x86_simd_src(cpu, u, form, size, size, flags & X86_ALIGNED);            \
        if (X86_UNLIKELY(!src))                                                                   \
            return x86_simd_miss(form);                                                           \
        v16b *dst = (v16b *)&cpu->v[u->reg];                                                      \
        const v16b *a = flags & AVX ? (const v16b *)&cpu->v[X86_VIMM_VVVV(u)] : dst;              \
        v16b lo = logic_##name(a[0], src[0]);                                                     \
        if (size == 32)                                                                           \
            dst[1] = logic_##name(a[1], src[1]);                                                  \
        else if (flags & AVX)                                                                     \
            x86_vec_clear_upper(&cpu->v[u->reg]);                                                 \
        dst[0] = lo;                                                                              \
        return X86_SIMD_DONE;                                                                     \
    }                                                                                             \
    X86_SIMD_TABLE(x86_t_sse_##name, op_##name, 16, X86_ALIGNED)                                  \
    X86_SIMD_TABLE(x86_t_vex_##name##16, op_##name, 16, AVX)                                      \
    X86_SIMD_TABLE(x86_t_vex_##name##32, op_##name, 32, AVX)
LOGIC(and)
LOGIC(andn)
LOGIC(or)
LOGIC(xor)
LOGIC(cmpeqb)
