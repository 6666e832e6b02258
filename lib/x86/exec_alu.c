/* ADD OR ADC SBB AND SUB XOR CMP TEST in all forms (SDM Vol.1 7.3.2, 7.3.5). */
#include "x86/alu.h"
#include "x86/forms.h"

/* E := E op G, G := G op E, E := E op immediate; tables x86_t_NAME_E_G, _G_E, _E_I. The accumulator
 * forms use _E_I: without ModRM, rm names rAX. */
#define ALU_SIZE(bits, name, LOADS, RMWS)                                                    \
    X86_INLINE uint##bits##_t name##_EG_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                               uint##bits##_t old, x86_cc *cc)               \
    {                                                                                        \
        return x86_##name##bits(old, X86_GET##bits(cpu, u->reg), cc);                        \
    }                                                                                        \
    X86_INLINE uint##bits##_t name##_EI_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                               uint##bits##_t old, x86_cc *cc)               \
    {                                                                                        \
        (void)cpu;                                                                           \
        return x86_##name##bits(old, (uint##bits##_t)u->imm, cc);                            \
    }                                                                                        \
    X86_INLINE void name##_GE_##bits(struct x86_cpu *cpu, const struct x86_uop *u,           \
                                     uint##bits##_t v)                                       \
    {                                                                                        \
        x86_cc cc = cpu->cc;                                                                 \
        uint##bits##_t r = x86_##name##bits(X86_GET##bits(cpu, u->reg), v, &cc);             \
        cpu->cc = cc;                                                                        \
        X86_PUT##bits(cpu, u->reg, r);                                                       \
    }                                                                                        \
    X86_RMW_REG(name##_E_G_##bits, bits, name##_EG_##bits, X86_DONE_NOTHING)                 \
    RMWS(name##_E_G_##bits, bits, name##_EG_##bits, X86_DONE_NOTHING)                        \
    X86_RMW_REG(name##_E_I_##bits, bits, name##_EI_##bits, X86_DONE_NOTHING)                 \
    RMWS(name##_E_I_##bits, bits, name##_EI_##bits, X86_DONE_NOTHING)                        \
    X86_READS_REG(name##_G_E_##bits, bits, name##_GE_##bits)                                 \
    LOADS(name##_G_E_##bits, bits, name##_GE_##bits)

#define ALU_TABLES(name, NAME, TABLE)                               \
    x86_handler *const x86_t_##NAME##_E_G[16] = TABLE(name##_E_G_); \
    x86_handler *const x86_t_##NAME##_G_E[16] = TABLE(name##_G_E_); \
    x86_handler *const x86_t_##NAME##_E_I[16] = TABLE(name##_E_I_);
#define ALU(name, NAME)                                \
    X86_FOR_SIZES(ALU_SIZE, name, X86_LOADS, X86_RMWS) \
    ALU_TABLES(name, NAME, X86_TABLE_FORMS)
#define ALU_LEAN(name, NAME)                                     \
    X86_FOR_SIZES(ALU_SIZE, name, X86_LOADS_LEAN, X86_RMWS_LEAN) \
    ALU_TABLES(name, NAME, X86_TABLE_LEAN)

ALU(add, ADD)
ALU(or, OR)
ALU_LEAN(adc, ADC)
ALU_LEAN(sbb, SBB)
ALU(and, AND)
ALU(sub, SUB)
ALU(xor, XOR)

/* Comparisons only read E. */
#define COMPARE_SIZE(bits, name)                                                   \
    X86_INLINE void name##_EG_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                     uint##bits##_t v)                             \
    {                                                                              \
        x86_cc cc;                                                                 \
        x86_##name##bits(v, X86_GET##bits(cpu, u->reg), &cc);                      \
        cpu->cc = cc;                                                              \
    }                                                                              \
    X86_INLINE void name##_GE_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                     uint##bits##_t v)                             \
    {                                                                              \
        x86_cc cc;                                                                 \
        x86_##name##bits(X86_GET##bits(cpu, u->reg), v, &cc);                      \
        cpu->cc = cc;                                                              \
    }                                                                              \
    X86_INLINE void name##_EI_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                     uint##bits##_t v)                             \
    {                                                                              \
        x86_cc cc;                                                                 \
        x86_##name##bits(v, (uint##bits##_t)u->imm, &cc);                          \
        cpu->cc = cc;                                                              \
    }                                                                              \
    X86_READS_REG(name##_E_G_##bits, bits, name##_EG_##bits)                       \
    X86_LOADS(name##_E_G_##bits, bits, name##_EG_##bits)                           \
    X86_READS_REG(name##_G_E_##bits, bits, name##_GE_##bits)                       \
    X86_LOADS(name##_G_E_##bits, bits, name##_GE_##bits)                           \
    X86_READS_REG(name##_E_I_##bits, bits, name##_EI_##bits)                       \
    X86_LOADS(name##_E_I_##bits, bits, name##_EI_##bits)

X86_FOR_SIZES(COMPARE_SIZE, cmp)
x86_handler *const x86_t_CMP_E_G[16] = X86_TABLE_FORMS(cmp_E_G_);
x86_handler *const x86_t_CMP_G_E[16] = X86_TABLE_FORMS(cmp_G_E_);
x86_handler *const x86_t_CMP_E_I[16] = X86_TABLE_FORMS(cmp_E_I_);

X86_FOR_SIZES(COMPARE_SIZE, test)
x86_handler *const x86_t_TEST_E_G[16] = X86_TABLE_FORMS(test_E_G_);
x86_handler *const x86_t_TEST_G_E[16] = X86_TABLE_FORMS(test_G_E_);
x86_handler *const x86_t_TEST_E_I[16] = X86_TABLE_FORMS(test_E_I_);
