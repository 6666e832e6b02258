/* MUL IMUL DIV IDIV. */
#include "x86/alu.h"
#include "x86/forms.h"

/* rDX:rAX := rAX * E */
#define MUL_SIZE(bits, name)                                                                \
    X86_INLINE void name##_fin_##bits(struct x86_cpu *cpu, const struct x86_uop *u,         \
                                      uint##bits##_t v)                                     \
    {                                                                                       \
        x86_cc cc;                                                                          \
        uint##bits##_t hi, lo = x86_##name##bits(X86_GET##bits(cpu, X86_RAX), v, &hi, &cc); \
        (void)u;                                                                            \
        cpu->cc = cc;                                                                       \
        X86_PUT##bits(cpu, X86_RAX, lo);                                                    \
        X86_PUT##bits(cpu, X86_RDX, hi);                                                    \
    }                                                                                       \
    X86_READS_REG(name##_E_##bits, bits, name##_fin_##bits)                                 \
    X86_LOADS_LEAN(name##_E_##bits, bits, name##_fin_##bits)
/* AX := AL * E */
#define MUL_8(name)                                                                       \
    X86_INLINE void name##_fin_8(struct x86_cpu *cpu, const struct x86_uop *u, uint8_t v) \
    {                                                                                     \
        x86_cc cc;                                                                        \
        uint8_t hi, lo = x86_##name##8((uint8_t)cpu->r[X86_RAX], v, &hi, &cc);            \
        (void)u;                                                                          \
        cpu->cc = cc;                                                                     \
        X86_PUT16(cpu, X86_RAX, lo | hi << 8);                                            \
    }                                                                                     \
    X86_READS_REG(name##_E_8, 8, name##_fin_8)                                            \
    X86_LOADS_LEAN(name##_E_8, 8, name##_fin_8)

MUL_8(mul)
MUL_8(imul)
X86_FOR_SIZES_V(MUL_SIZE, mul)
X86_FOR_SIZES_V(MUL_SIZE, imul)
x86_handler *const x86_t_MUL_E[16] = X86_TABLE_LEAN(mul_E_);
x86_handler *const x86_t_IMUL_E[16] = X86_TABLE_LEAN(imul_E_);

/* IMUL with two and three operands */
#define IMUL_SIZE(bits, _)                                                         \
    X86_INLINE void imul2_fin_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                     uint##bits##_t v)                             \
    {                                                                              \
        x86_cc cc;                                                                 \
        uint##bits##_t r = x86_imul2##bits(X86_GET##bits(cpu, u->reg), v, &cc);    \
        cpu->cc = cc;                                                              \
        X86_PUT##bits(cpu, u->reg, r);                                             \
    }                                                                              \
    X86_INLINE void imul3_fin_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                     uint##bits##_t v)                             \
    {                                                                              \
        x86_cc cc;                                                                 \
        uint##bits##_t r = x86_imul2##bits(v, (uint##bits##_t)u->imm, &cc);        \
        cpu->cc = cc;                                                              \
        X86_PUT##bits(cpu, u->reg, r);                                             \
    }                                                                              \
    X86_READS_REG(imul_G_E_##bits, bits, imul2_fin_##bits)                         \
    X86_LOADS_LEAN(imul_G_E_##bits, bits, imul2_fin_##bits)                        \
    X86_READS_REG(imul_G_E_I_##bits, bits, imul3_fin_##bits)                       \
    X86_LOADS_LEAN(imul_G_E_I_##bits, bits, imul3_fin_##bits)
X86_FOR_SIZES_V(IMUL_SIZE, _)
x86_handler *const x86_t_IMUL_G_E[16] = X86_TABLE_LEAN_V(imul_G_E_);
x86_handler *const x86_t_IMUL_G_E_I[16] = X86_TABLE_LEAN_V(imul_G_E_I_);

/*
 * Division. Flags are undefined after it and stay as they were. #DE when the divisor is 0 or the
 * quotient does not fit (SDM Vol.2A DIV, IDIV). divide_N return false for #DE.
 */
static bool divide_8(struct x86_cpu *cpu, uint8_t d)
{
    unsigned n = X86_GET16(cpu, X86_RAX);
    if (!d || n / d > UINT8_MAX)
        return false;
    X86_PUT16(cpu, X86_RAX, n / d | (n % d) << 8);
    return true;
}

static bool divide_signed_8(struct x86_cpu *cpu, uint8_t v)
{
    int n = (int16_t)X86_GET16(cpu, X86_RAX), d = (int8_t)v;
    if (!d || n / d != (int8_t)(n / d))
        return false;
    X86_PUT16(cpu, X86_RAX, (uint8_t)(n / d) | (uint8_t)(n % d) << 8);
    return true;
}

#define DIVIDE(bits, wide)                                                                     \
    static bool divide_##bits(struct x86_cpu *cpu, uint##bits##_t d)                           \
    {                                                                                          \
        uint##bits##_t hi = X86_GET##bits(cpu, X86_RDX), lo = X86_GET##bits(cpu, X86_RAX);     \
        if (hi >= d) /* also for d = 0 */                                                      \
            return false;                                                                      \
        uint##wide##_t n = (uint##wide##_t)hi << bits | lo;                                    \
        X86_PUT##bits(cpu, X86_RAX, (uint##bits##_t)(n / d));                                  \
        X86_PUT##bits(cpu, X86_RDX, (uint##bits##_t)(n % d));                                  \
        return true;                                                                           \
    }                                                                                          \
    static bool divide_signed_##bits(struct x86_cpu *cpu, uint##bits##_t v)                    \
    {                                                                                          \
        uint##wide##_t un =                                                                    \
            (uint##wide##_t)X86_GET##bits(cpu, X86_RDX) << bits | X86_GET##bits(cpu, X86_RAX); \
        int##wide##_t n = (int##wide##_t)un, d = (int##bits##_t)v;                             \
        if (!d || (d == -1 && un == (uint##wide##_t)1 << (wide - 1)))                          \
            return false;                                                                      \
        int##wide##_t q = n / d;                                                               \
        if (q != (int##bits##_t)q)                                                             \
            return false;                                                                      \
        X86_PUT##bits(cpu, X86_RAX, (uint##bits##_t)q);                                        \
        X86_PUT##bits(cpu, X86_RDX, (uint##bits##_t)(n % d));                                  \
        return true;                                                                           \
    }
DIVIDE(16, 32)
DIVIDE(32, 64)

/* 128 by 64 bits: the compiler's own type where it has one, else shift and subtract. hi < d, so it
 * fits. */
static uint64_t divide_128(uint64_t hi, uint64_t lo, uint64_t d, uint64_t *rest)
{
#if defined(__x86_64__) && defined(__GNUC__) && !defined(X86_PORTABLE)
    __asm__("divq %[d]" : "+a"(lo), "+d"(hi) : [d] "r"(d) : "cc");
    *rest = hi;
    return lo;
#else
    for (unsigned i = 0; i < 64; i++) {
        bool carry = hi >> 63;
        hi = hi << 1 | lo >> 63;
        lo <<= 1;
        if (carry || hi >= d) {
            hi -= d;
            lo |= 1;
        }
    }
    *rest = hi;
    return lo;
#endif
}

static bool divide_64(struct x86_cpu *cpu, uint64_t d)
{
    uint64_t hi = cpu->r[X86_RDX], rest;
    if (hi >= d)
        return false;
    cpu->r[X86_RAX] = divide_128(hi, cpu->r[X86_RAX], d, &rest);
    cpu->r[X86_RDX] = rest;
    return true;
}

static bool divide_signed_64(struct x86_cpu *cpu, uint64_t v)
{
    uint64_t hi = cpu->r[X86_RDX], lo = cpu->r[X86_RAX], d = v, rest;
    bool negative = hi >> 63, negative_d = v >> 63;
    if (negative) { /* -(hi:lo) */
        lo = 0 - lo;
        hi = ~hi + !lo;
    }
    if (negative_d)
        d = 0 - d;
    if (hi >= d)
        return false;
    uint64_t q = divide_128(hi, lo, d, &rest);
    bool negative_q = negative != negative_d;
    if (q > (uint64_t)INT64_MAX + negative_q)
        return false;
    cpu->r[X86_RAX] = negative_q ? 0 - q : q;
    cpu->r[X86_RDX] = negative ? 0 - rest : rest;
    return true;
}

#define DIV_HANDLER(bits, _)                                                     \
    static struct x86_uop *div_E_##bits(struct x86_cpu *cpu, struct x86_uop *u)  \
    {                                                                            \
        if (!x86_read_E(cpu, u, bits / 8))                                       \
            return x86_leave(cpu, u);                                            \
        if (!divide_##bits(cpu, (uint##bits##_t)cpu->tmp))                       \
            return x86_raise(cpu, u, X86_DE);                                    \
        X86_NEXT_IO(cpu, u);                                                     \
    }                                                                            \
    static struct x86_uop *idiv_E_##bits(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                            \
        if (!x86_read_E(cpu, u, bits / 8))                                       \
            return x86_leave(cpu, u);                                            \
        if (!divide_signed_##bits(cpu, (uint##bits##_t)cpu->tmp))                \
            return x86_raise(cpu, u, X86_DE);                                    \
        X86_NEXT_IO(cpu, u);                                                     \
    }
X86_FOR_SIZES(DIV_HANDLER, _)
x86_handler *const x86_t_DIV_E[4] = {div_E_8, div_E_16, div_E_32, div_E_64};
x86_handler *const x86_t_IDIV_E[4] = {idiv_E_8, idiv_E_16, idiv_E_32, idiv_E_64};
