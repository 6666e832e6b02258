/* What keeps vector instructions from running, SIMD floating-point exceptions, MXCSR. */
#include "x86/simd.h"
#include "x86/sys.h"

/* SDM Vol.3A table 13-1: #UD for EM or no OSFXSR comes before #NM. */
static struct x86_uop *sse_refuse(struct x86_cpu *cpu, struct x86_uop *u)
{
    bool ud = cpu->cr0 & X86_CR0_EM || !(cpu->cr4 & X86_CR4_OSFXSR);
    return x86_raise(cpu, u, ud ? X86_UD : X86_NM);
}

static struct x86_uop *avx_refuse(struct x86_cpu *cpu, struct x86_uop *u)
{
    bool ud = !(cpu->cr4 & X86_CR4_OSXSAVE) || (~cpu->xcr0 & (X86_XCR0_SSE | X86_XCR0_AVX));
    return x86_raise(cpu, u, ud ? X86_UD : X86_NM);
}

/* SDM Vol.3A table 12-1, and 12.5 for pending x87 exceptions */
static struct x86_uop *mmx_refuse(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (cpu->cr0 & X86_CR0_EM)
        return x86_raise(cpu, u, X86_UD);
    if (cpu->cr0 & X86_CR0_TS)
        return x86_raise(cpu, u, X86_NM);
    return x86_raise(cpu, u, X86_MF);
}

static bool uses(const struct x86_row *r, unsigned first, unsigned last)
{
    for (unsigned i = 0; i < 4; i++) {
        if (r->op[i] >= first && r->op[i] <= last)
            return true;
    }
    return false;
}

struct x86_uop *x86_simd_refuse(struct x86_cpu *cpu, struct x86_uop *u)
{
    const struct x86_row *r = &x86_rows[u->row];
    if (r->map >= X86_V0F)
        return avx_refuse(cpu, u);
    bool mmx = r->feature == X86_FEAT_MMX || uses(r, X86_O_Pq, X86_O_Qd);
    bool vector = uses(r, X86_O_Vx, X86_O_Lx) || !mmx;
    return vector && x86_sse_off(cpu) ? sse_refuse(cpu, u) : mmx_refuse(cpu, u);
}

enum element { NO_ELEMENT, HALF, SINGLE, DOUBLE };

/* Elements of the result, for operations whose result can be tiny. */
static enum element element_of(const struct x86_row *r)
{
    bool pd = r->pp == X86_PP_P66 || r->pp == X86_PP_PF2;
    if (r->map == X86_M0F || r->map == X86_V0F) {
        switch (r->opcode) {
        case 0x58:
        case 0x59:
        case 0x5c:
        case 0x5e:
            return pd ? DOUBLE : SINGLE;
        case 0x5a:
            return pd ? SINGLE : NO_ELEMENT;
        case 0x7c:
        case 0x7d:
        case 0xd0:
            return r->pp == X86_PP_P66 ? DOUBLE : SINGLE;
        default:
            return NO_ELEMENT;
        }
    }
    if (r->map == X86_V38 && r->opcode >= 0x96 && r->opcode <= 0xbf)
        return r->constraint & X86_C_W1 ? DOUBLE : SINGLE;
    if (r->map == X86_M3A || r->map == X86_V3A)
        return r->opcode == 0x40   ? SINGLE
               : r->opcode == 0x41 ? DOUBLE
               : r->opcode == 0x1d ? HALF
                                   : NO_ELEMENT;
    return NO_ELEMENT;
}

/* Bytes of the result that were computed. */
static unsigned computed(const struct x86_row *r, enum element e)
{
    bool scalar = r->op[2] == X86_O_Wd || r->op[2] == X86_O_Wq || r->op[1] == X86_O_Wd ||
                  r->op[1] == X86_O_Wq;
    if (scalar)
        return e == DOUBLE ? 8 : 4;
    return r->constraint & X86_C_L1 ? 32 : 16;
}

/* An unmasked underflow is raised for every tiny result, exact or not (SDM Vol.1 4.9.1.5); the
 * masked run has flagged the inexact ones only. */
static bool has_denormal(const struct x86_row *r, const union x86_vec *v)
{
    enum element e = element_of(r);
    if (e == NO_ELEMENT)
        return false;
    unsigned n = computed(r, e);
    for (unsigned i = 0; e == DOUBLE && i < n / 8; i++) {
        if (!(v->q[i] << 1 >> 53) && v->q[i] << 1)
            return true;
    }
    for (unsigned i = 0; e == SINGLE && i < n / 4; i++) {
        if (!(v->d[i] & 0x7f800000u) && v->d[i] << 1)
            return true;
    }
    for (unsigned i = 0; e == HALF && i < n / 4; i++) {
        if (!(v->w[i] & 0x7c00u) && v->w[i] & 0x3ffu)
            return true;
    }
    return false;
}

static bool fp_unmasked(struct x86_cpu *cpu, struct x86_uop *u, void *dst, const void *a,
                        const void *b, uintptr_t c)
{
    union x86_vec *result = &cpu->vtmp[3];
    uint32_t mxcsr = (cpu->mxcsr | X86_MXCSR_MASKS) & ~X86_MXCSR_FLAGS;
    if (!(cpu->mxcsr & X86_MXCSR_UM))
        mxcsr &= ~X86_MXCSR_FTZ; /* flushing is for masked underflow, SDM Vol.1 10.2.3.3 */
    if (dst)
        memcpy(result, dst, sizeof(*result));
    uint64_t value = x86_host_fp(x86_stubs[u->row], dst ? result : NULL, a, b, c, &mxcsr);

    uint32_t flags = mxcsr & X86_MXCSR_FLAGS;
    uint32_t unmasked = ~(cpu->mxcsr >> 7) & X86_MXCSR_FLAGS;
    if (dst && unmasked & X86_MXCSR_UE && has_denormal(&x86_rows[u->row], result))
        flags |= X86_MXCSR_UE;
    /* An unmasked exception found before the operation keeps it from being carried out. */
    if (flags & unmasked & X86_MXCSR_PRE)
        flags &= X86_MXCSR_PRE;
    cpu->mxcsr |= flags;
    if (flags & unmasked) {
        x86_fault(cpu, cpu->cr4 & X86_CR4_OSXMMEXCPT ? X86_XM : X86_UD);
        return false;
    }
    if (dst)
        memcpy(dst, result, sizeof(*result));
    cpu->tmp = value;
    return true;
}

bool x86_fp_general(struct x86_cpu *cpu, struct x86_uop *u, void *dst, const void *a, const void *b,
                    uintptr_t c)
{
    if ((cpu->mxcsr & X86_MXCSR_MASKS) != X86_MXCSR_MASKS)
        return fp_unmasked(cpu, u, dst, a, b, c);
    cpu->tmp = x86_host_fp(x86_stubs[u->row], dst, a, b, c, &cpu->mxcsr);
    return true;
}
