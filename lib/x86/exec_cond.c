/* SETcc and CMOVcc. */
#include "x86/forms.h"
#include "x86/insn.h"

#define SETCC(cond)                                                                         \
    X86_INLINE uint8_t set_value_##cond(const struct x86_cpu *cpu, const struct x86_uop *u) \
    {                                                                                       \
        (void)u;                                                                            \
        return x86_cond(cpu->cc, cond);                                                     \
    }                                                                                       \
    static struct x86_uop *set_##cond##_reg(struct x86_cpu *cpu, struct x86_uop *u)         \
    {                                                                                       \
        X86_PUT8(cpu, u->rm, set_value_##cond(cpu, u));                                     \
        X86_NEXT(cpu, u);                                                                   \
    }                                                                                       \
    X86_STORES_LEAN(set_##cond, 8, set_value_##cond)                                        \
    x86_handler *const x86_t_SET_##cond[16] = {[X86_FORM_REG * 4] = set_##cond##_reg,       \
                                               [X86_FORM_FLAT * 4] = set_##cond##_flat,     \
                                               [X86_FORM_SEG * 4] = set_##cond##_cold,      \
                                               [X86_FORM_BASE * 4] = set_##cond##_flat};

/* Memory is read whatever the condition; a 32-bit destination loses its upper half in any case. */
#define CMOV_SIZE(bits, cond)                                                              \
    X86_INLINE void cmov_fin_##cond##_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                             uint##bits##_t v)                             \
    {                                                                                      \
        uint##bits##_t old = X86_GET##bits(cpu, u->reg);                                   \
        X86_PUT##bits(cpu, u->reg, x86_cond(cpu->cc, cond) ? v : old);                     \
    }                                                                                      \
    X86_READS_REG(cmov_##cond##_##bits, bits, cmov_fin_##cond##_##bits)                    \
    X86_LOADS_LEAN(cmov_##cond##_##bits, bits, cmov_fin_##cond##_##bits)
#define CMOV(cond)                   \
    X86_FOR_SIZES_V(CMOV_SIZE, cond) \
    x86_handler *const x86_t_CMOV_##cond[16] = X86_TABLE_LEAN_V(cmov_##cond##_);

#define BOTH(cond) SETCC(cond) CMOV(cond)
BOTH(0)
BOTH(1)
BOTH(2)
BOTH(3)
BOTH(4)
BOTH(5)
BOTH(6)
BOTH(7)
BOTH(8)
BOTH(9)
BOTH(10)
BOTH(11)
BOTH(12)
BOTH(13)
BOTH(14)
BOTH(15)
