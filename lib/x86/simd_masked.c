/*
 * Vector memory accesses by element: PCMPxSTRx, VMASKMOV, VPMASKMOV, MASKMOVDQU, gathers.
 *
 * Only selected elements are accessed and can fault. Stores check all selected elements before the
 * first one is written. A gather may be interrupted by a fault between elements: what has been
 * loaded stays, with its mask bits cleared (SDM Vol.2C VGATHERDPS).
 */
#include "x86/ops.h"
#include "x86/simd.h"

/* --- PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM --- */
struct string_regs { /* known to the stub */
    uint64_t rax, rdx, rcx, pad;
    uint64_t xmm0[2];
    uint64_t rest[2];
};
_Static_assert(sizeof(struct string_regs) == 2 * sizeof(union x86_vec), "lives in vtmp[1..2]");

X86_INLINE enum x86_simd_end op_string(struct x86_cpu *cpu, struct x86_uop *u, unsigned form,
                                       bool mask, bool vex)
{
    struct string_regs *s = (struct string_regs *)(void *)&cpu->vtmp[1];
    if (X86_UNLIKELY(vex ? x86_avx_off(cpu) : x86_sse_off(cpu)))
        return X86_SIMD_REFUSE;
    const void *src = x86_simd_src(cpu, u, form, 16, 16, 0);
    if (X86_UNLIKELY(!src))
        return x86_simd_miss(form);
    s->rax = cpu->r[X86_RAX];
    s->rdx = cpu->r[X86_RDX];
    cpu->cc = (x86_cc)x86_stubs[u->row](s, &cpu->v[u->reg], src, X86_VIMM_IMM(u));
    if (mask) {
        cpu->v[0].q[0] = s->xmm0[0];
        cpu->v[0].q[1] = s->xmm0[1];
        if (vex)
            x86_vec_clear_upper(&cpu->v[0]);
    } else {
        cpu->r[X86_RCX] = (uint32_t)s->rcx;
    }
    return X86_SIMD_DONE;
}
X86_SIMD_TABLE(x86_t_sse_stri, op_string, false, false)
X86_SIMD_TABLE(x86_t_sse_strm, op_string, true, false)
X86_SIMD_TABLE(x86_t_vex_stri, op_string, false, true)
X86_SIMD_TABLE(x86_t_vex_strm, op_string, true, true)

/* --- elements --- */
/* Masked moves and gathers never raise #AC (SDM Vol.2C VMASKMOV, VGATHERDPS). Returns the flag for
 * ac_back(). */
static uint32_t ac_off(struct x86_cpu *cpu)
{
    /* below CPL 3 the flag does not check alignment but suspends SMAP */
    uint32_t ac = cpu->cpl == 3 ? cpu->eflags & X86_FL_AC : 0;
    cpu->eflags &= ~ac;
    return ac;
}
static void ac_back(struct x86_cpu *cpu, uint32_t ac)
{
    cpu->eflags |= ac;
}

/* Linear address of the element at this offset, truncated to the address size. */
static bool element_lin(struct x86_cpu *cpu, struct x86_uop *u, uint64_t off, unsigned size,
                        bool write, uint64_t *lin)
{
    static const uint64_t mask[4] = {UINT16_MAX, UINT32_MAX, UINT64_MAX, UINT64_MAX};
    return x86_seg_lin(cpu, u->seg, off & mask[u->aux >> 2 & 3], size, write, lin);
}

static bool selected(const union x86_vec *mask, unsigned i, unsigned size)
{
    return mask->b[(i + 1) * size - 1] & 0x80;
}

/* Selected elements of `from`; all checked first. Byte elements for MASKMOVx. */
static bool store_selected(struct x86_cpu *cpu, struct x86_uop *u, uint64_t off, unsigned size,
                           unsigned n, const union x86_vec *mask, const union x86_vec *from)
{
    uint64_t lin;
    for (unsigned i = 0; i < n; i++) {
        if (selected(mask, i, size) && (!element_lin(cpu, u, off + i * size, size, true, &lin) ||
                                        !x86_probe_write(cpu, u, lin, size)))
            return false;
    }
    for (unsigned i = 0; i < n; i++) {
        bool ok;
        if (!selected(mask, i, size))
            continue;
        if (!element_lin(cpu, u, off + i * size, size, true, &lin))
            return false;
        if (size == 1)
            ok = x86_st8(cpu, u, lin, from->b[i]);
        else if (size == 4)
            ok = x86_st32(cpu, u, lin, from->d[i]);
        else
            ok = x86_st64(cpu, u, lin, from->q[i]);
        if (!ok)
            return false;
    }
    return true;
}

/* --- VMASKMOVPS/PD, VPMASKMOVD/Q --- */
static __attribute__((noinline)) enum x86_simd_end mask_load(struct x86_cpu *cpu, struct x86_uop *u,
                                                             unsigned size)
{
    const union x86_vec *mask = &cpu->v[X86_VIMM_VVVV(u)];
    union x86_vec *t = &cpu->vtmp[1];
    unsigned n = (X86_VIMM_L(u) ? 32 : 16) / size;
    if (x86_avx_off(cpu))
        return X86_SIMD_REFUSE;
    uint64_t off = x86_ea_offset(cpu, u), lin;
    memset(t, 0, sizeof(*t));
    uint32_t ac = ac_off(cpu);
    bool ok = true;
    for (unsigned i = 0; ok && i < n; i++) {
        if (selected(mask, i, size))
            ok = element_lin(cpu, u, off + i * size, size, false, &lin) &&
                 (size == 4 ? x86_ld32(cpu, u, lin, &t->d[i]) : x86_ld64(cpu, u, lin, &t->q[i]));
    }
    ac_back(cpu, ac);
    if (!ok)
        return X86_SIMD_LEAVE;
    cpu->v[u->reg] = *t;
    return X86_SIMD_DONE;
}

static enum x86_simd_end mask_store(struct x86_cpu *cpu, struct x86_uop *u, unsigned size)
{
    unsigned n = (X86_VIMM_L(u) ? 32 : 16) / size;
    if (x86_avx_off(cpu))
        return X86_SIMD_REFUSE;
    uint32_t ac = ac_off(cpu);
    bool ok = store_selected(cpu, u, x86_ea_offset(cpu, u), size, n, &cpu->v[X86_VIMM_VVVV(u)],
                             &cpu->v[u->reg]);
    ac_back(cpu, ac);
    return ok ? X86_SIMD_DONE : X86_SIMD_LEAVE;
}

/* --- MASKMOVDQU, MASKMOVQ: to segment:rDI --- */
static enum x86_simd_end maskmovdqu(struct x86_cpu *cpu, struct x86_uop *u)
{
    bool vex = x86_rows[u->row].map == X86_V0F;
    if (vex ? x86_avx_off(cpu) : x86_sse_off(cpu))
        return X86_SIMD_REFUSE;
    bool ok = store_selected(cpu, u, cpu->r[X86_RDI], 1, 16, &cpu->v[u->rm], &cpu->v[u->reg]);
    return ok ? X86_SIMD_DONE : X86_SIMD_LEAVE;
}

static enum x86_simd_end maskmovq(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (x86_mmx_off(cpu))
        return X86_SIMD_REFUSE;
    cpu->vtmp[0].q[0] = cpu->fpu.st[u->rm & 7].mant;
    cpu->vtmp[1].q[0] = cpu->fpu.st[u->reg & 7].mant;
    if (!store_selected(cpu, u, cpu->r[X86_RDI], 1, 8, &cpu->vtmp[0], &cpu->vtmp[1]))
        return X86_SIMD_LEAVE;
    x86_mmx_enter(cpu);
    return X86_SIMD_DONE;
}

/* --- gathers --- */
/* A fault keeps what has been loaded. When the host must act first, the instruction starts over and
 * finds the answers to its accesses: then nothing may have changed. */
static __attribute__((noinline)) enum x86_simd_end gather(struct x86_cpu *cpu, struct x86_uop *u,
                                                          unsigned isize, unsigned size)
{
    unsigned vmask = X86_VIMM_VVVV(u), bytes = X86_VIMM_L(u) ? 32 : 16;
    unsigned n = bytes / (isize > size ? isize : size), i;
    union x86_vec *dst = &cpu->vtmp[1], *mask = &cpu->vtmp[2];

    /* No SIB byte (16-bit addressing has none), or registers that are not distinct */
    if (u->index >= X86_NOREG || u->reg == u->index || u->reg == vmask || u->index == vmask) {
        x86_fault(cpu, X86_UD);
        return X86_SIMD_LEAVE;
    }
    if (x86_avx_off(cpu))
        return X86_SIMD_REFUSE;
    const union x86_vec *idx = &cpu->v[u->index];
    uint64_t base = cpu->r[u->base] + (uint64_t)(int64_t)u->disp, lin;
    *dst = cpu->v[u->reg];
    *mask = cpu->v[vmask];
    uint32_t ac = ac_off(cpu);
    for (i = 0; i < n; i++) {
        if (selected(mask, i, size)) {
            uint64_t at = isize == 4 ? (uint64_t)(int64_t)(int32_t)idx->d[i] : idx->q[i];
            if (!element_lin(cpu, u, base + (at << u->scale), size, false, &lin) ||
                !(size == 4 ? x86_ld32(cpu, u, lin, &dst->d[i])
                            : x86_ld64(cpu, u, lin, &dst->q[i])))
                break;
        }
        memset(&mask->b[i * size], 0, size);
    }
    ac_back(cpu, ac);
    if (i == n) { /* complete: all of the mask is clear, and what lies above the result */
        memset(mask, 0, sizeof(*mask));
        memset(&dst->b[n * size], 0, 32 - n * size);
    } else if (cpu->leave != X86_LEAVE_EXC) {
        return X86_SIMD_LEAVE;
    }
    cpu->v[u->reg] = *dst;
    cpu->v[vmask] = *mask;
    return i < n ? X86_SIMD_LEAVE : X86_SIMD_DONE;
}

/* They are not worth a form each. An access may have run code of the host program: X86_NEXT_IO. */
#define TABLE(name, call)                                                     \
    static struct x86_uop *name##_any(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                         \
        enum x86_simd_end end = call;                                         \
        if (end == X86_SIMD_REFUSE)                                           \
            return x86_simd_refuse(cpu, u);                                   \
        if (end != X86_SIMD_DONE)                                             \
            return x86_leave(cpu, u);                                         \
        X86_NEXT_IO(cpu, u);                                                  \
    }                                                                         \
    extern x86_handler *const name[3];                                        \
    x86_handler *const name[3] = {name##_any, name##_any, name##_any};
TABLE(x86_t_vex_maskld4, mask_load(cpu, u, 4))
TABLE(x86_t_vex_maskld8, mask_load(cpu, u, 8))
TABLE(x86_t_vex_maskst4, mask_store(cpu, u, 4))
TABLE(x86_t_vex_maskst8, mask_store(cpu, u, 8))
TABLE(x86_t_sse_maskmov, maskmovdqu(cpu, u))
TABLE(x86_t_vex_maskmovdqu, maskmovdqu(cpu, u))
TABLE(x86_t_mmx_maskmov, maskmovq(cpu, u))
TABLE(x86_t_vex_gather44, gather(cpu, u, 4, 4))
TABLE(x86_t_vex_gather48, gather(cpu, u, 4, 8))
TABLE(x86_t_vex_gather84, gather(cpu, u, 8, 4))
TABLE(x86_t_vex_gather88, gather(cpu, u, 8, 8))
