/* XCHG XADD CMPXCHG CMPXCHG8B CMPXCHG16B BSWAP. XCHG with memory is atomic without a LOCK prefix.
 */
#include "x86/alu.h"
#include "x86/forms.h"

/* --- XCHG --- */

#define XCHG_SIZE(bits, _)                                                                   \
    X86_INLINE uint##bits##_t xchg_calc_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                               uint##bits##_t old, const x86_cc *cc)         \
    {                                                                                        \
        (void)old;                                                                           \
        (void)cc;                                                                            \
        return X86_GET##bits(cpu, u->reg);                                                   \
    }                                                                                        \
    X86_INLINE void xchg_done_##bits(struct x86_cpu *cpu, const struct x86_uop *u,           \
                                     uint##bits##_t old)                                     \
    {                                                                                        \
        X86_PUT##bits(cpu, u->reg, old);                                                     \
    }                                                                                        \
    X86_RMW_REG(xchg_##bits, bits, xchg_calc_##bits, xchg_done_##bits)                       \
    X86_RMW_COLD(xchg_##bits, bits, xchg_calc_##bits, xchg_done_##bits, true)                \
    XCHG_FORM(base, bits)                                                                    \
    XCHG_FORM(flat, bits)                                                                    \
    XCHG_FORM(seg, bits)
#if defined(__x86_64__) || defined(__i386__)
#define XCHG_FORM(form, bits)                                                                      \
    static struct x86_uop *xchg_##bits##_##form(struct x86_cpu *cpu, struct x86_uop *u)            \
    {                                                                                              \
        uint64_t lin;                                                                              \
        uintptr_t p;                                                                               \
        if (!x86_fast_##form(cpu, u, bits / 8, true, &lin) || !x86_wr_hit(cpu, lin, bits / 8, &p)) \
            return xchg_##bits##_cold(cpu, u);                                                     \
        uint##bits##_t old = __atomic_exchange_n((uint##bits##_t *)p, X86_GET##bits(cpu, u->reg),  \
                                                 __ATOMIC_SEQ_CST);                                \
        X86_PUT##bits(cpu, u->reg, old);                                                           \
        X86_NEXT(cpu, u);                                                                          \
    }
#else /* misaligned atomics need the cold twin */
#define XCHG_FORM(form, bits)                                                           \
    static struct x86_uop *xchg_##bits##_##form(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                                   \
        return xchg_##bits##_cold(cpu, u);                                              \
    }
#endif
X86_FOR_SIZES(XCHG_SIZE, _)
x86_handler *const x86_t_XCHG_E_G[16] = X86_TABLE_FORMS(xchg_);

#define XCHG_Z(bits, _)                                                                 \
    static struct x86_uop *xchg_Z_##bits(struct x86_cpu *cpu, struct x86_uop *u)        \
    {                                                                                   \
        uint##bits##_t a = X86_GET##bits(cpu, X86_RAX), b = X86_GET##bits(cpu, u->reg); \
        X86_PUT##bits(cpu, X86_RAX, b);                                                 \
        X86_PUT##bits(cpu, u->reg, a);                                                  \
        X86_NEXT(cpu, u);                                                               \
    }                                                                                   \
    static struct x86_uop *xchg_90_##bits(struct x86_cpu *cpu, struct x86_uop *u)       \
    {                                                                                   \
        if (u->reg)                                                                     \
            return xchg_Z_##bits(cpu, u);                                               \
        X86_NEXT(cpu, u); /* NOP: not even the upper half of rAX is cleared */          \
    }
X86_FOR_SIZES_V(XCHG_Z, _)
x86_handler *const x86_t_XCHG_Z[4] = {NULL, xchg_Z_16, xchg_Z_32, xchg_Z_64};
x86_handler *const x86_t_XCHG_90[4] = {NULL, xchg_90_16, xchg_90_32, xchg_90_64};

/* --- XADD: sum to E, old E to G --- */

#define XADD_SIZE(bits, _)                                                                   \
    X86_INLINE uint##bits##_t xadd_calc_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                               uint##bits##_t old, x86_cc *cc)               \
    {                                                                                        \
        return x86_add##bits(old, X86_GET##bits(cpu, u->reg), cc);                           \
    }                                                                                        \
    X86_RMW_REG(xadd_##bits, bits, xadd_calc_##bits, xchg_done_##bits)                       \
    X86_RMWS_LEAN(xadd_##bits, bits, xadd_calc_##bits, xchg_done_##bits)
X86_FOR_SIZES(XADD_SIZE, _)
x86_handler *const x86_t_XADD[16] = X86_TABLE_LEAN(xadd_);

/* --- CMPXCHG: memory is written in either case (SDM Vol.2A). A register is not: its upper half
 * stays when 32 bits differ. --- */

#define CMPXCHG_SIZE(bits, _)                                                                   \
    X86_INLINE uint##bits##_t cmpxchg_calc_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                                  uint##bits##_t old, x86_cc *cc)               \
    {                                                                                           \
        uint##bits##_t a = X86_GET##bits(cpu, X86_RAX);                                         \
        x86_cmp##bits(a, old, cc);                                                              \
        return a == old ? X86_GET##bits(cpu, u->reg) : old;                                     \
    }                                                                                           \
    X86_INLINE void cmpxchg_done_##bits(struct x86_cpu *cpu, const struct x86_uop *u,           \
                                        uint##bits##_t old)                                     \
    {                                                                                           \
        (void)u;                                                                                \
        if (X86_GET##bits(cpu, X86_RAX) != old)                                                 \
            X86_PUT##bits(cpu, X86_RAX, old);                                                   \
    }                                                                                           \
    static struct x86_uop *cmpxchg_##bits##_reg(struct x86_cpu *cpu, struct x86_uop *u)         \
    {                                                                                           \
        uint##bits##_t old = X86_GET##bits(cpu, u->rm), a = X86_GET##bits(cpu, X86_RAX);        \
        x86_cc cc = cpu->cc;                                                                    \
        uint##bits##_t new = cmpxchg_calc_##bits(cpu, u, old, &cc);                             \
        cpu->cc = cc;                                                                           \
        if (a == old)                                                                           \
            X86_PUT##bits(cpu, u->rm, new);                                                     \
        else                                                                                    \
            X86_PUT##bits(cpu, X86_RAX, old);                                                   \
        X86_NEXT(cpu, u);                                                                       \
    }                                                                                           \
    X86_RMWS_LEAN(cmpxchg_##bits, bits, cmpxchg_calc_##bits, cmpxchg_done_##bits)
X86_FOR_SIZES(CMPXCHG_SIZE, _)
x86_handler *const x86_t_CMPXCHG[16] = X86_TABLE_LEAN(cmpxchg_);

/* --- BSWAP --- */

static struct x86_uop *bswap_16(struct x86_cpu *cpu, struct x86_uop *u)
{
    X86_PUT16(cpu, u->reg, 0); /* undefined; this is what processors do */
    X86_NEXT(cpu, u);
}
static struct x86_uop *bswap_32(struct x86_cpu *cpu, struct x86_uop *u)
{
    X86_PUT32(cpu, u->reg, __builtin_bswap32((uint32_t)cpu->r[u->reg]));
    X86_NEXT(cpu, u);
}
static struct x86_uop *bswap_64(struct x86_cpu *cpu, struct x86_uop *u)
{
    X86_PUT64(cpu, u->reg, __builtin_bswap64(cpu->r[u->reg]));
    X86_NEXT(cpu, u);
}
x86_handler *const x86_t_BSWAP[4] = {NULL, bswap_16, bswap_32, bswap_64};
