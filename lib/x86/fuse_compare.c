/* CMP and TEST of registers and immediates, with Jcc. */
#include "x86/fuse_forms.h"

#define PAIR(cond, id, OP, bits, x, y)                                         \
    static struct x86_uop *id##_##cond(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                          \
        X86_FUSE_##OP(cond, bits, X86_FUSE_##x(bits), X86_FUSE_##y(bits));     \
    }
#define PAIRS(id, OP, bits, x, y) \
    X86_FUSE_CONDS_##OP(PAIR, id, OP, bits, x, y) X86_FUSE_TABLE_##OP(id)

PAIRS(cmp_E_G_8, CMP, 8, E, G)
PAIRS(cmp_E_G_32, CMP, 32, E, G)
PAIRS(cmp_E_G_64, CMP, 64, E, G)
PAIRS(cmp_G_E_32, CMP, 32, G, E)
PAIRS(cmp_G_E_64, CMP, 64, G, E)
PAIRS(cmp_E_I_8, CMP, 8, E, I)
PAIRS(cmp_E_I_16, CMP, 16, E, I)
PAIRS(cmp_E_I_32, CMP, 32, E, I)
PAIRS(cmp_E_I_64, CMP, 64, E, I)
PAIRS(test_E_G_8, TEST, 8, E, G)
PAIRS(test_E_G_32, TEST, 32, E, G)
PAIRS(test_E_G_64, TEST, 64, E, G)
PAIRS(test_E_I_8, TEST, 8, E, I)
PAIRS(test_E_I_32, TEST, 32, E, I)

extern x86_handler *const x86_t_CMP_E_G[], *const x86_t_CMP_G_E[], *const x86_t_CMP_E_I[];
extern x86_handler *const x86_t_TEST_E_G[], *const x86_t_TEST_E_I[];

const struct x86_fused x86_fused_compare[] = {
    {x86_t_CMP_E_I, 2, cmp_E_I_32},
    {x86_t_CMP_E_G, 3, cmp_E_G_64},
    {x86_t_TEST_E_G, 3, test_E_G_64},
    {x86_t_TEST_E_G, 2, test_E_G_32},
    {x86_t_CMP_E_G, 2, cmp_E_G_32},
    {x86_t_CMP_E_I, 3, cmp_E_I_64},
    {x86_t_CMP_E_I, 0, cmp_E_I_8},
    {x86_t_TEST_E_G, 0, test_E_G_8},
    {x86_t_TEST_E_I, 0, test_E_I_8},
    {x86_t_CMP_G_E, 2, cmp_G_E_32},
    {x86_t_CMP_G_E, 3, cmp_G_E_64},
    {x86_t_CMP_E_G, 0, cmp_E_G_8},
    {x86_t_CMP_E_I, 1, cmp_E_I_16},
    {x86_t_TEST_E_I, 2, test_E_I_32},
    {NULL, 0, NULL},
};
