/* Register arithmetic whose result decides the Jcc behind it: DEC INC SUB ADD AND. */
#include "x86/fuse_forms.h"

/* E := E op y */
#define PAIR(cond, id, op, bits, y, TAKEN)                                     \
    static struct x86_uop *id##_##cond(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                          \
        uint##bits##_t a = X86_FUSE_E(bits), b = y(bits);                      \
        x86_cc cc = cpu->cc;                                                   \
        uint##bits##_t r = x86_##op##bits(a, b, &cc);                          \
        cpu->cc = cc;                                                          \
        X86_PUT##bits(cpu, u->rm, r);                                          \
        X86_FUSE_END(cpu, u, TAKEN(cond, bits));                               \
    }
#define BY_SUB(cond, bits)    x86_cond_sub##bits(cond, a, b, cc)
#define BY_LOGIC(cond, bits)  x86_cond_logic##bits(cond, r, cc)
#define BY_RESULT(cond, bits) x86_cond_result##bits(cond, r, cc)
#define PAIRS(id, op, bits, y, KIND) \
    X86_FUSE_CONDS_##KIND(PAIR, id, op, bits, y, BY_##KIND) X86_FUSE_TABLE_##KIND(id)

PAIRS(sub_E_G_32, sub, 32, X86_FUSE_G, SUB)
PAIRS(sub_E_G_64, sub, 64, X86_FUSE_G, SUB)
PAIRS(sub_E_I_32, sub, 32, X86_FUSE_I, SUB)
PAIRS(sub_E_I_64, sub, 64, X86_FUSE_I, SUB)
PAIRS(and_E_I_32, and, 32, X86_FUSE_I, LOGIC)
PAIRS(and_E_I_64, and, 64, X86_FUSE_I, LOGIC)
PAIRS(and_E_G_32, and, 32, X86_FUSE_G, LOGIC)
PAIRS(and_E_G_64, and, 64, X86_FUSE_G, LOGIC)
PAIRS(add_E_I_32, add, 32, X86_FUSE_I, RESULT)
PAIRS(add_E_I_64, add, 64, X86_FUSE_I, RESULT)
PAIRS(add_E_G_32, add, 32, X86_FUSE_G, RESULT)
PAIRS(add_E_G_64, add, 64, X86_FUSE_G, RESULT)

/* E := E + 1, E - 1; the register is u->rm, or u->reg for the one-byte opcodes */
#define PAIR_1(cond, id, op, bits, field)                                      \
    static struct x86_uop *id##_##cond(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                          \
        x86_cc cc = cpu->cc;                                                   \
        uint##bits##_t r = x86_##op##bits(X86_GET##bits(cpu, u->field), &cc);  \
        cpu->cc = cc;                                                          \
        X86_PUT##bits(cpu, u->field, r);                                       \
        X86_FUSE_END(cpu, u, BY_RESULT(cond, bits));                           \
    }
#define PAIRS_1(id, op, bits, field)                   \
    X86_FUSE_CONDS_RESULT(PAIR_1, id, op, bits, field) \
    X86_FUSE_TABLE_RESULT(id)

PAIRS_1(dec_E_32, dec, 32, rm)
PAIRS_1(dec_E_64, dec, 64, rm)
PAIRS_1(inc_E_32, inc, 32, rm)
PAIRS_1(inc_E_64, inc, 64, rm)
PAIRS_1(dec_Z_32, dec, 32, reg)
PAIRS_1(inc_Z_32, inc, 32, reg)

extern x86_handler *const x86_t_SUB_E_G[], *const x86_t_SUB_E_I[], *const x86_t_AND_E_G[];
extern x86_handler *const x86_t_AND_E_I[], *const x86_t_ADD_E_G[], *const x86_t_ADD_E_I[];
extern x86_handler *const x86_t_DEC_E[], *const x86_t_INC_E[], *const x86_t_DEC_Z[];
extern x86_handler *const x86_t_INC_Z[];

const struct x86_fused x86_fused_result[] = {
    {x86_t_SUB_E_I, 3, sub_E_I_64},
    {x86_t_SUB_E_I, 2, sub_E_I_32},
    {x86_t_DEC_E, 2, dec_E_32},
    {x86_t_DEC_E, 3, dec_E_64},
    {x86_t_ADD_E_I, 3, add_E_I_64},
    {x86_t_ADD_E_I, 2, add_E_I_32},
    {x86_t_AND_E_I, 2, and_E_I_32},
    {x86_t_AND_E_G, 2, and_E_G_32},
    {x86_t_AND_E_G, 3, and_E_G_64},
    {x86_t_AND_E_I, 3, and_E_I_64},
    {x86_t_SUB_E_G, 3, sub_E_G_64},
    {x86_t_SUB_E_G, 2, sub_E_G_32},
    {x86_t_ADD_E_G, 3, add_E_G_64},
    {x86_t_ADD_E_G, 2, add_E_G_32},
    {x86_t_INC_E, 2, inc_E_32},
    {x86_t_INC_E, 3, inc_E_64},
    {x86_t_DEC_Z, 2, dec_Z_32},
    {x86_t_INC_Z, 2, inc_Z_32},
    {NULL, 0, NULL},
};
