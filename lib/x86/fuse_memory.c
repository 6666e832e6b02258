/* CMP and TEST with memory, with Jcc. */
#include "x86/fuse_forms.h"

#define PAIR(cond, id, OP, bits, form, x, y)                                   \
    static struct x86_uop *id##_##cond(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                          \
        uint64_t lin;                                                          \
        uintptr_t p;                                                           \
        if (!x86_fast_##form(cpu, u, bits / 8, false, &lin) ||                 \
            !x86_rd_hit(cpu, lin, bits / 8, &p))                               \
            return x86_fuse_apart(cpu, u);                                     \
        uint##bits##_t m = x86_raw_ld##bits(p);                                \
        X86_FUSE_##OP(cond, bits, x(bits), y(bits));                           \
    }
#define MEM(bits) m
#define PAIRS(id, OP, bits, form, x, y) \
    X86_FUSE_CONDS_##OP(PAIR, id, OP, bits, form, x, y) X86_FUSE_TABLE_##OP(id)

PAIRS(cmp_E_G_8_flat, CMP, 8, flat, MEM, X86_FUSE_G)
PAIRS(cmp_E_G_32_flat, CMP, 32, flat, MEM, X86_FUSE_G)
PAIRS(cmp_E_G_64_flat, CMP, 64, flat, MEM, X86_FUSE_G)
PAIRS(cmp_G_E_8_flat, CMP, 8, flat, X86_FUSE_G, MEM)
PAIRS(cmp_G_E_32_flat, CMP, 32, flat, X86_FUSE_G, MEM)
PAIRS(cmp_G_E_64_flat, CMP, 64, flat, X86_FUSE_G, MEM)
PAIRS(cmp_E_I_8_flat, CMP, 8, flat, MEM, X86_FUSE_I)
PAIRS(cmp_E_I_16_flat, CMP, 16, flat, MEM, X86_FUSE_I)
PAIRS(cmp_E_I_32_flat, CMP, 32, flat, MEM, X86_FUSE_I)
PAIRS(cmp_E_I_64_flat, CMP, 64, flat, MEM, X86_FUSE_I)
PAIRS(test_E_I_8_flat, TEST, 8, flat, MEM, X86_FUSE_I)
PAIRS(test_E_I_32_flat, TEST, 32, flat, MEM, X86_FUSE_I)
PAIRS(cmp_E_G_32_base, CMP, 32, base, MEM, X86_FUSE_G)
PAIRS(cmp_E_G_64_base, CMP, 64, base, MEM, X86_FUSE_G)
PAIRS(cmp_G_E_32_base, CMP, 32, base, X86_FUSE_G, MEM)
PAIRS(cmp_G_E_64_base, CMP, 64, base, X86_FUSE_G, MEM)
PAIRS(cmp_E_I_8_base, CMP, 8, base, MEM, X86_FUSE_I)
PAIRS(cmp_E_I_32_base, CMP, 32, base, MEM, X86_FUSE_I)
PAIRS(cmp_E_I_64_base, CMP, 64, base, MEM, X86_FUSE_I)
PAIRS(test_E_I_8_base, TEST, 8, base, MEM, X86_FUSE_I)
PAIRS(cmp_E_G_8_seg, CMP, 8, seg, MEM, X86_FUSE_G)
PAIRS(cmp_E_G_32_seg, CMP, 32, seg, MEM, X86_FUSE_G)
PAIRS(cmp_G_E_32_seg, CMP, 32, seg, X86_FUSE_G, MEM)
PAIRS(cmp_E_I_8_seg, CMP, 8, seg, MEM, X86_FUSE_I)
PAIRS(cmp_E_I_32_seg, CMP, 32, seg, MEM, X86_FUSE_I)
PAIRS(test_E_I_8_seg, TEST, 8, seg, MEM, X86_FUSE_I)

extern x86_handler *const x86_t_CMP_E_G[], *const x86_t_CMP_G_E[], *const x86_t_CMP_E_I[];
extern x86_handler *const x86_t_TEST_E_I[];

#define FLAT(size) (X86_FORM_FLAT * 4 + (size))
#define BASE(size) (X86_FORM_BASE * 4 + (size))
#define SEG(size)  (X86_FORM_SEG * 4 + (size))

const struct x86_fused x86_fused_memory[] = {
    {x86_t_CMP_E_I, BASE(0), cmp_E_I_8_base},
    {x86_t_CMP_E_I, BASE(2), cmp_E_I_32_base},
    {x86_t_CMP_E_I, BASE(3), cmp_E_I_64_base},
    {x86_t_TEST_E_I, BASE(0), test_E_I_8_base},
    {x86_t_CMP_G_E, BASE(3), cmp_G_E_64_base},
    {x86_t_CMP_G_E, BASE(2), cmp_G_E_32_base},
    {x86_t_CMP_E_G, BASE(2), cmp_E_G_32_base},
    {x86_t_CMP_E_G, BASE(3), cmp_E_G_64_base},
    {x86_t_CMP_E_I, FLAT(0), cmp_E_I_8_flat},
    {x86_t_CMP_E_I, FLAT(2), cmp_E_I_32_flat},
    {x86_t_CMP_E_I, FLAT(3), cmp_E_I_64_flat},
    {x86_t_TEST_E_I, FLAT(0), test_E_I_8_flat},
    {x86_t_CMP_G_E, FLAT(3), cmp_G_E_64_flat},
    {x86_t_CMP_G_E, FLAT(2), cmp_G_E_32_flat},
    {x86_t_CMP_E_G, FLAT(2), cmp_E_G_32_flat},
    {x86_t_CMP_E_G, FLAT(3), cmp_E_G_64_flat},
    {x86_t_CMP_E_G, FLAT(0), cmp_E_G_8_flat},
    {x86_t_CMP_G_E, FLAT(0), cmp_G_E_8_flat},
    {x86_t_CMP_E_I, FLAT(1), cmp_E_I_16_flat},
    {x86_t_TEST_E_I, FLAT(2), test_E_I_32_flat},
    {x86_t_CMP_E_I, SEG(0), cmp_E_I_8_seg},
    {x86_t_CMP_E_I, SEG(2), cmp_E_I_32_seg},
    {x86_t_CMP_E_G, SEG(2), cmp_E_G_32_seg},
    {x86_t_CMP_G_E, SEG(2), cmp_G_E_32_seg},
    {x86_t_CMP_E_G, SEG(0), cmp_E_G_8_seg},
    {x86_t_TEST_E_I, SEG(0), test_E_I_8_seg},
    {NULL, 0, NULL},
};
