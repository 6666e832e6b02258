/* INC DEC NOT NEG. */
#include "x86/alu.h"
#include "x86/forms.h"

#define UNARY_SIZE(bits, name)                                                                   \
    X86_INLINE uint##bits##_t name##_E_calc_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                                   uint##bits##_t old, x86_cc *cc)               \
    {                                                                                            \
        (void)cpu;                                                                               \
        (void)u;                                                                                 \
        return x86_##name##bits(old, cc);                                                        \
    }                                                                                            \
    X86_RMW_REG(name##_E_##bits, bits, name##_E_calc_##bits, X86_DONE_NOTHING)

#define UNARY_MEM(bits, name, RMWS) \
    RMWS(name##_E_##bits, bits, name##_E_calc_##bits, X86_DONE_NOTHING)
#define UNARY(name, NAME, RMWS, TABLE)   \
    X86_FOR_SIZES(UNARY_SIZE, name)      \
    X86_FOR_SIZES(UNARY_MEM, name, RMWS) \
    x86_handler *const x86_t_##NAME##_E[16] = TABLE(name##_E_);

UNARY(inc, INC, X86_RMWS, X86_TABLE_FORMS)
UNARY(dec, DEC, X86_RMWS, X86_TABLE_FORMS)
UNARY(neg, NEG, X86_RMWS_LEAN, X86_TABLE_LEAN)

#define NOT_SIZE(bits, _)                                                                     \
    X86_INLINE uint##bits##_t not_E_calc_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                                uint##bits##_t old, x86_cc *cc)               \
    {                                                                                         \
        (void)cpu;                                                                            \
        (void)u;                                                                              \
        (void)cc;                                                                             \
        return (uint##bits##_t) ~old;                                                         \
    }                                                                                         \
    X86_RMW_REG(not_E_##bits, bits, not_E_calc_##bits, X86_DONE_NOTHING)                      \
    X86_RMWS_LEAN(not_E_##bits, bits, not_E_calc_##bits, X86_DONE_NOTHING)
X86_FOR_SIZES(NOT_SIZE, _)
x86_handler *const x86_t_NOT_E[16] = X86_TABLE_LEAN(not_E_);

/* 40-4F outside 64-bit mode: the register is in the opcode */
#define OPCODE_REG(bits, name)                                                     \
    static struct x86_uop *name##_Z_##bits(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                              \
        x86_cc cc = cpu->cc;                                                       \
        uint##bits##_t r = x86_##name##bits(X86_GET##bits(cpu, u->reg), &cc);      \
        cpu->cc = cc;                                                              \
        X86_PUT##bits(cpu, u->reg, r);                                             \
        X86_NEXT(cpu, u);                                                          \
    }
OPCODE_REG(16, inc)
OPCODE_REG(32, inc)
OPCODE_REG(16, dec)
OPCODE_REG(32, dec)
x86_handler *const x86_t_INC_Z[4] = {NULL, inc_Z_16, inc_Z_32, NULL};
x86_handler *const x86_t_DEC_Z[4] = {NULL, dec_Z_16, dec_Z_32, NULL};
