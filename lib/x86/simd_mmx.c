/*
 * MMX, and the instructions between MMX and vector registers.
 *
 * The stubs use the host's MMX registers and end in EMMS: between functions of C code these
 * registers hold nothing. In the guest an MMX register is the significand of the x87 register of
 * that physical number; writing it sets sign and exponent to ones (SDM Vol.1 9.2.2, 9.5.1).
 */
#include "x86/simd.h"

#define FP 2u

X86_INLINE void set_mmx(struct x86_cpu *cpu, unsigned reg)
{
    cpu->fpu.st[reg & 7].se = 0xffff;
}

/* Source operand in an MMX register or in memory; 8 bytes readable. */
X86_INLINE const void *src_mmx(struct x86_cpu *cpu, struct x86_uop *u, unsigned form, unsigned size)
{
    return form == X86_FORM_REG ? &cpu->fpu.st[u->rm & 7].mant
                                : x86_simd_src(cpu, u, form, size, 32, 0);
}

X86_INLINE enum x86_simd_end op_mmx(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                    unsigned size)
{
    if (X86_UNLIKELY(x86_mmx_off(cpu)))
        return X86_SIMD_REFUSE;
    const void *src = src_mmx(cpu, u, form, size);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    x86_stubs[u->row](&cpu->fpu.st[u->reg & 7].mant, NULL, src, X86_VIMM_IMM(u));
    set_mmx(cpu, u->reg);
    x86_mmx_enter(cpu);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_mmx_4, op_mmx, 4)
X86_SIMD_TABLE(x86_t_mmx_8, op_mmx, 8)

X86_INLINE enum x86_simd_end op_mmx_shift(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                          unsigned size)
{
    (void)form;
    (void)size;
    if (X86_UNLIKELY(x86_mmx_off(cpu)))
        return X86_SIMD_REFUSE;
    cpu->vtmp[0].q[0] = X86_VIMM_IMM(u);
    x86_stubs[u->row](&cpu->fpu.st[u->rm & 7].mant, NULL, &cpu->vtmp[0], 0);
    set_mmx(cpu, u->rm);
    x86_mmx_enter(cpu);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_mmx_shift, op_mmx_shift, 0)

/* PMOVMSKB */
X86_INLINE enum x86_simd_end op_mmx_g(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                      unsigned size)
{
    if (X86_UNLIKELY(x86_mmx_off(cpu)))
        return X86_SIMD_REFUSE;
    const void *src = src_mmx(cpu, u, form, size);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    cpu->r[u->reg] = x86_stubs[u->row](NULL, NULL, src, 0);
    x86_mmx_enter(cpu);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_mmx_g, op_mmx_g, 8)

/* --- moves --- */
X86_INLINE enum x86_simd_end op_mmx_load(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                         unsigned size, bool gpr)
{
    uint64_t value;
    if (X86_UNLIKELY(x86_mmx_off(cpu)))
        return X86_SIMD_REFUSE;
    if (form == X86_FORM_REG && gpr) {
        value = size == 8 ? cpu->r[u->rm] : (uint32_t)cpu->r[u->rm];
    } else {
        const uint64_t *src = src_mmx(cpu, u, form, size);
        if (X86_UNLIKELY(!src))
            return x86_simd_miss(form);
        value = *src;
    }
    cpu->fpu.st[u->reg & 7].mant = value;
    set_mmx(cpu, u->reg);
    x86_mmx_enter(cpu);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_mmx_ld, op_mmx_load, 8, false)
X86_SIMD_TABLE(x86_t_mmx_ldg4, op_mmx_load, 4, true)
X86_SIMD_TABLE(x86_t_mmx_ldg8, op_mmx_load, 8, true)

X86_INLINE enum x86_simd_end op_mmx_store(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                          unsigned size, bool gpr)
{
    if (X86_UNLIKELY(x86_mmx_off(cpu)))
        return X86_SIMD_REFUSE;
    const uint64_t *src = &cpu->fpu.st[u->reg & 7].mant;
    if (form != X86_FORM_REG) {
        if (!x86_simd_store(cpu, u, form, size, 0, src))
            return x86_simd_miss(form);
    } else if (gpr) {
        cpu->r[u->rm] = size == 8 ? *src : (uint32_t)*src;
    } else {
        cpu->fpu.st[u->rm & 7].mant = *src;
        set_mmx(cpu, u->rm);
    }
    x86_mmx_enter(cpu);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_mmx_st, op_mmx_store, 8, false)
X86_SIMD_TABLE(x86_t_mmx_stg4, op_mmx_store, 4, true)
X86_SIMD_TABLE(x86_t_mmx_stg8, op_mmx_store, 8, true)

X86_INLINE enum x86_simd_end op_pinsrw(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                       unsigned size)
{
    uint64_t value;
    if (X86_UNLIKELY(x86_mmx_off(cpu)))
        return X86_SIMD_REFUSE;
    if (form == X86_FORM_REG) {
        value = cpu->r[u->rm];
    } else {
        const uint64_t *src = x86_simd_src(cpu, u, form, size, 32, 0);
        if (X86_UNLIKELY(!src))
            return x86_simd_miss(form);
        value = *src;
    }
    unsigned shift = (X86_VIMM_IMM(u) & 3) * 16;
    uint64_t *dst = &cpu->fpu.st[u->reg & 7].mant;
    *dst = (*dst & ~(UINT64_C(0xffff) << shift)) | (value & 0xffff) << shift;
    set_mmx(cpu, u->reg);
    x86_mmx_enter(cpu);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_mmx_pinsrw, op_pinsrw, 2)

X86_INLINE enum x86_simd_end op_pextrw(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                       unsigned size)
{
    (void)form;
    (void)size;
    if (X86_UNLIKELY(x86_mmx_off(cpu)))
        return X86_SIMD_REFUSE;
    cpu->r[u->reg] = cpu->fpu.st[u->rm & 7].mant >> (X86_VIMM_IMM(u) & 3) * 16 & 0xffff;
    x86_mmx_enter(cpu);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_mmx_pextrw, op_pextrw, 2)

/* --- between MMX and vector registers: the conditions of both apply --- */
X86_INLINE enum x86_simd_end op_v_q(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                    unsigned size)
{
    if (X86_UNLIKELY(x86_sse_off(cpu)))
        return X86_SIMD_REFUSE;
    /* CVTPI2PD from memory does not touch the x87 state (SDM Vol.2A CVTPI2PD). */
    bool mmx = form == X86_FORM_REG || x86_rows[u->row].pp != X86_PP_P66;
    if (X86_UNLIKELY(mmx && x86_mmx_off(cpu)))
        return X86_SIMD_REFUSE;
    const void *src = src_mmx(cpu, u, form, size);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    if (!x86_fp_run(cpu, u, &cpu->v[u->reg], NULL, src, 0))
        return X86_SIMD_LEAVE;
    if (mmx)
        x86_mmx_enter(cpu);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_mmx_v_q, op_v_q, 8)

X86_INLINE enum x86_simd_end op_p_w(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                    unsigned size, unsigned flags)
{
    if (X86_UNLIKELY(x86_sse_off(cpu)))
        return X86_SIMD_REFUSE;
    if (X86_UNLIKELY(x86_mmx_off(cpu)))
        return X86_SIMD_REFUSE;
    const void *src = x86_simd_src(cpu, u, form, size, 16, flags);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    cpu->vtmp[1].q[0] = 0;
    if (!x86_fp_run(cpu, u, &cpu->vtmp[1], NULL, src, 0))
        return X86_SIMD_LEAVE;
    cpu->fpu.st[u->reg & 7].mant = cpu->vtmp[1].q[0];
    set_mmx(cpu, u->reg);
    x86_mmx_enter(cpu);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_mmx_p_w8, op_p_w, 8, 0)
X86_SIMD_TABLE(x86_t_mmx_p_w16, op_p_w, 16, X86_ALIGNED)

X86_INLINE enum x86_simd_end op_movq2dq(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                        bool to_mmx)
{
    (void)form;
    if (X86_UNLIKELY(x86_sse_off(cpu)))
        return X86_SIMD_REFUSE;
    if (X86_UNLIKELY(x86_mmx_off(cpu)))
        return X86_SIMD_REFUSE;
    if (to_mmx) {
        cpu->fpu.st[u->reg & 7].mant = cpu->v[u->rm].q[0];
        set_mmx(cpu, u->reg);
    } else {
        cpu->v[u->reg].q[0] = cpu->fpu.st[u->rm & 7].mant;
        cpu->v[u->reg].q[1] = 0;
    }
    x86_mmx_enter(cpu);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_mmx_movq2dq, op_movq2dq, false)
X86_SIMD_TABLE(x86_t_mmx_movdq2q, op_movq2dq, true)

static struct x86_uop *exec_emms(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (X86_UNLIKELY(x86_mmx_off(cpu)))
        return x86_simd_refuse(cpu, u);
    cpu->fpu.top = 0;
    cpu->fpu.tagw = 0;
    X86_NEXT(cpu, u);
}
extern x86_handler *const x86_t_emms[1];
x86_handler *const x86_t_emms[1] = {exec_emms};
