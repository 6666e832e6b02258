/* Instructions that pick or place elements: insert, extract, broadcast, byte shifts of the whole
 * register. */
#include "x86/simd.h"

X86_INLINE bool off(const struct x86_cpu *cpu, bool vex)
{
    return X86_UNLIKELY(vex ? x86_avx_off(cpu) : x86_sse_off(cpu));
}

/* The low element of a vector register, general register or memory; in cpu->tmp. False:
 * x86_simd_miss(). */
X86_INLINE bool element(struct x86_cpu *cpu, struct x86_uop *u, unsigned form, unsigned size,
                        bool gpr)
{
    if (form == X86_FORM_REG) {
        cpu->tmp = gpr ? cpu->r[u->rm] : cpu->v[u->rm].q[0];
        return true;
    }
    const uint64_t *p = x86_simd_src(cpu, u, form, size, 32, 0);
    if (X86_UNLIKELY(!p))
        return false;
    cpu->tmp = *p;
    return true;
}

X86_INLINE void put(union x86_vec *v, unsigned index, unsigned size, uint64_t value)
{
    switch (size) {
    case 1:
        v->b[index & 15] = (uint8_t)value;
        break;
    case 2:
        v->w[index & 7] = (uint16_t)value;
        break;
    case 4:
        v->d[index & 3] = (uint32_t)value;
        break;
    default:
        v->q[index & 1] = value;
    }
}

X86_INLINE uint64_t get(const union x86_vec *v, unsigned index, unsigned size)
{
    switch (size) {
    case 1:
        return v->b[index & 15];
    case 2:
        return v->w[index & 7];
    case 4:
        return v->d[index & 3];
    default:
        return v->q[index & 1];
    }
}

X86_INLINE enum x86_simd_end op_pinsr(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                      unsigned size, bool vex)
{
    union x86_vec *dst = &cpu->v[u->reg];
    if (off(cpu, vex))
        return X86_SIMD_REFUSE;
    if (!element(cpu, u, form, size, true))
        return x86_simd_miss(form);
    if (vex) {
        const union x86_vec *a = &cpu->v[X86_VIMM_VVVV(u)];
        dst->q[0] = a->q[0];
        dst->q[1] = a->q[1];
        x86_vec_clear_upper(dst);
    }
    put(dst, X86_VIMM_IMM(u), size, cpu->tmp);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_pinsr1, op_pinsr, 1, false)
X86_SIMD_TABLE(x86_t_sse_pinsr2, op_pinsr, 2, false)
X86_SIMD_TABLE(x86_t_sse_pinsr4, op_pinsr, 4, false)
X86_SIMD_TABLE(x86_t_sse_pinsr8, op_pinsr, 8, false)
X86_SIMD_TABLE(x86_t_vex_pinsr1, op_pinsr, 1, true)
X86_SIMD_TABLE(x86_t_vex_pinsr2, op_pinsr, 2, true)
X86_SIMD_TABLE(x86_t_vex_pinsr4, op_pinsr, 4, true)
X86_SIMD_TABLE(x86_t_vex_pinsr8, op_pinsr, 8, true)

/* To r/m; a register gets the element zero-extended. */
X86_INLINE enum x86_simd_end op_pextr(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                      unsigned size, bool vex)
{
    if (off(cpu, vex))
        return X86_SIMD_REFUSE;
    cpu->vtmp[0].q[0] = get(&cpu->v[u->reg], X86_VIMM_IMM(u), size);
    if (form == X86_FORM_REG)
        cpu->r[u->rm] = cpu->vtmp[0].q[0];
    else if (!x86_simd_store_any(cpu, u, size, 0, &cpu->vtmp[0]))
        return X86_SIMD_LEAVE;
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_pextr1, op_pextr, 1, false)
X86_SIMD_TABLE(x86_t_sse_pextr2, op_pextr, 2, false)
X86_SIMD_TABLE(x86_t_sse_pextr4, op_pextr, 4, false)
X86_SIMD_TABLE(x86_t_sse_pextr8, op_pextr, 8, false)
X86_SIMD_TABLE(x86_t_vex_pextr1, op_pextr, 1, true)
X86_SIMD_TABLE(x86_t_vex_pextr2, op_pextr, 2, true)
X86_SIMD_TABLE(x86_t_vex_pextr4, op_pextr, 4, true)
X86_SIMD_TABLE(x86_t_vex_pextr8, op_pextr, 8, true)

/* PEXTRW of SSE2: destination in ModRM.reg */
X86_INLINE enum x86_simd_end op_pextrw(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                       bool vex)
{
    (void)form;
    if (off(cpu, vex))
        return X86_SIMD_REFUSE;
    cpu->r[u->reg] = cpu->v[u->rm].w[X86_VIMM_IMM(u) & 7];
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_pextrw, op_pextrw, false)
X86_SIMD_TABLE(x86_t_vex_pextrw, op_pextrw, true)

/* Immediate: 7:6 source element (registers only), 5:4 destination, 3:0 elements to clear. */
X86_INLINE enum x86_simd_end op_insertps(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                         bool vex)
{
    union x86_vec *dst = &cpu->v[u->reg];
    unsigned imm = X86_VIMM_IMM(u);
    uint32_t value;
    if (off(cpu, vex))
        return X86_SIMD_REFUSE;
    if (form == X86_FORM_REG) {
        value = cpu->v[u->rm].d[imm >> 6];
    } else {
        if (!element(cpu, u, form, 4, false))
            return x86_simd_miss(form);
        value = (uint32_t)cpu->tmp;
    }
    if (vex) {
        const union x86_vec *a = &cpu->v[X86_VIMM_VVVV(u)];
        dst->q[0] = a->q[0];
        dst->q[1] = a->q[1];
        x86_vec_clear_upper(dst);
    }
    dst->d[imm >> 4 & 3] = value;
    for (unsigned i = 0; i < 4; i++) {
        if (imm >> i & 1)
            dst->d[i] = 0;
    }
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_insertps, op_insertps, false)
X86_SIMD_TABLE(x86_t_vex_insertps, op_insertps, true)

/* --- VBROADCASTx, VPBROADCASTx: one element everywhere --- */
X86_INLINE enum x86_simd_end op_bcast(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                      unsigned size)
{
    union x86_vec *dst = &cpu->v[u->reg];
    if (off(cpu, true))
        return X86_SIMD_REFUSE;
    if (!element(cpu, u, form, size, false))
        return x86_simd_miss(form);
    uint64_t v = cpu->tmp;
    if (size == 1)
        v = (v & 0xff) * UINT64_C(0x0101010101010101);
    else if (size == 2)
        v = (v & 0xffff) * UINT64_C(0x0001000100010001);
    else if (size == 4)
        v = (v & 0xffffffff) * UINT64_C(0x0000000100000001);
    dst->q[0] = v;
    dst->q[1] = v;
    dst->q[2] = X86_VIMM_L(u) ? v : 0;
    dst->q[3] = X86_VIMM_L(u) ? v : 0;
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_vex_bcast1, op_bcast, 1)
X86_SIMD_TABLE(x86_t_vex_bcast2, op_bcast, 2)
X86_SIMD_TABLE(x86_t_vex_bcast4, op_bcast, 4)
X86_SIMD_TABLE(x86_t_vex_bcast8, op_bcast, 8)

/* --- 128-bit halves --- */
X86_INLINE enum x86_simd_end op_bcast16(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                        unsigned size)
{
    union x86_vec *dst = &cpu->v[u->reg];
    if (off(cpu, true))
        return X86_SIMD_REFUSE;
    const void *src = x86_simd_src(cpu, u, form, size, size, 0);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    x86_raw_copy16(dst, src);
    dst->q[2] = dst->q[0];
    dst->q[3] = dst->q[1];
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_vex_bcast16, op_bcast16, 16)

X86_INLINE enum x86_simd_end op_insert16(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                         unsigned size)
{
    union x86_vec *dst = &cpu->v[u->reg];
    const union x86_vec *a = &cpu->v[X86_VIMM_VVVV(u)];
    unsigned half = X86_VIMM_IMM(u) & 1;
    if (off(cpu, true))
        return X86_SIMD_REFUSE;
    const void *src = x86_simd_src(cpu, u, form, size, size, 0);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    x86_raw_copy16(&cpu->vtmp[1].q[2 * half], src);
    x86_raw_copy16(&cpu->vtmp[1].q[2 * !half], &a->q[2 * !half]);
    *dst = cpu->vtmp[1];
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_vex_insert16, op_insert16, 16)

X86_INLINE enum x86_simd_end op_extract16(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                          unsigned size)
{
    const uint64_t *src = &cpu->v[u->reg].q[2 * (X86_VIMM_IMM(u) & 1)];
    if (off(cpu, true))
        return X86_SIMD_REFUSE;
    if (form == X86_FORM_REG) {
        x86_raw_copy16(&cpu->v[u->rm], src);
        x86_vec_clear_upper(&cpu->v[u->rm]);
    } else if (!x86_simd_store(cpu, u, form, size, 0, src)) {
        return x86_simd_miss(form);
    }
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_vex_extract16, op_extract16, 16)

/* --- PSRLDQ, PSLLDQ: bytes within each half --- */
static void shift_half(uint8_t *to, const uint8_t *from, unsigned count, bool left)
{
    uint8_t t[16];
    for (unsigned i = 0; i < 16; i++) {
        unsigned j = left ? i - count : i + count; /* wraps to a large number when below 0 */
        t[i] = j < 16 ? from[j] : 0;
    }
    memcpy(to, t, 16);
}

X86_INLINE enum x86_simd_end op_shift_bytes(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                            bool left, bool vex)
{
    const union x86_vec *src = &cpu->v[u->rm];
    union x86_vec *dst = &cpu->v[vex ? X86_VIMM_VVVV(u) : u->rm];
    unsigned count = X86_VIMM_IMM(u);
    (void)form;
    if (off(cpu, vex))
        return X86_SIMD_REFUSE;
    shift_half(dst->b, src->b, count, left);
    if (vex && X86_VIMM_L(u))
        shift_half(dst->b + 16, src->b + 16, count, left);
    else if (vex)
        x86_vec_clear_upper(dst);
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_srldq, op_shift_bytes, false, false)
X86_SIMD_TABLE(x86_t_sse_slldq, op_shift_bytes, true, false)
X86_SIMD_TABLE(x86_t_vex_srldq, op_shift_bytes, false, true)
X86_SIMD_TABLE(x86_t_vex_slldq, op_shift_bytes, true, true)

/* --- VZEROUPPER, VZEROALL: eight registers outside 64-bit mode --- */
static struct x86_uop *exec_vzero(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned n = x86_in_long64(cpu) ? 16 : 8;
    if (off(cpu, true))
        return x86_simd_refuse(cpu, u);
    for (unsigned i = 0; i < n; i++) {
        x86_vec_clear_upper(&cpu->v[i]);
        if (X86_VIMM_L(u))
            cpu->v[i].q[0] = cpu->v[i].q[1] = 0;
    }
    X86_NEXT(cpu, u);
}
extern x86_handler *const x86_t_vzeroupper[1], *const x86_t_vzeroall[1];
x86_handler *const x86_t_vzeroupper[1] = {exec_vzero};
x86_handler *const x86_t_vzeroall[1] = {exec_vzero};
