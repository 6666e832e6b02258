/*
 * Templates for pairs: an instruction that sets flags and the Jcc behind it, in one handler.
 *
 * The handler sits on the first uop. It stores the flags as ever, decides by the operands (a
 * comparison the compiler turns into compare and branch), and takes target and link from the Jcc's
 * own uop u[1]. Where memory needs a slow path the first instruction is executed alone and the Jcc
 * follows as usual.
 */
#ifndef X86_FUSE_FORMS_H
#define X86_FUSE_FORMS_H

#include "x86/alu.h"
#include "x86/exec_branch.h"
#include "x86/forms.h"
#include "x86/fuse.h"

/* One handler per condition. */
struct x86_fused {
    x86_handler *const *plain; /* table of the first instruction's handlers, and which of them */
    unsigned index;
    x86_handler *const *fused; /* [16] */
};
extern const struct x86_fused x86_fused_compare[], x86_fused_memory[],
    x86_fused_result[]; /* end: plain NULL */

/* Execute the first of a pair alone (fuse.c). */
struct x86_uop *x86_fuse_apart(struct x86_cpu *cpu, struct x86_uop *u);

#define X86_FUSE_END(cpu, u, taken)        \
    do {                                   \
        if (taken)                         \
            return x86_take(cpu, (u) + 1); \
        X86_NEXT(cpu, (u) + 1);            \
    } while (0)

/* The conditions that compilers write behind such an instruction; other pairs stay two handlers. */
#define X86_FUSE_CONDS_CMP(M, ...) \
    M(2, __VA_ARGS__)              \
    M(3, __VA_ARGS__)              \
    M(4, __VA_ARGS__)              \
    M(5, __VA_ARGS__)              \
    M(6, __VA_ARGS__)              \
    M(7, __VA_ARGS__)              \
    M(8, __VA_ARGS__)              \
    M(9, __VA_ARGS__) M(12, __VA_ARGS__) M(13, __VA_ARGS__) M(14, __VA_ARGS__) M(15, __VA_ARGS__)
#define X86_FUSE_TABLE_CMP(id)                                            \
    static x86_handler *const id[16] = {                                  \
        NULL,   NULL,   id##_2, id##_3,         id##_4,  id##_5,  id##_6, \
        id##_7, id##_8, id##_9, [12] = id##_12, id##_13, id##_14, id##_15};
#define X86_FUSE_CONDS_TEST(M, ...) \
    M(4, __VA_ARGS__)               \
    M(5, __VA_ARGS__)               \
    M(8, __VA_ARGS__)               \
    M(9, __VA_ARGS__) M(12, __VA_ARGS__) M(13, __VA_ARGS__) M(14, __VA_ARGS__) M(15, __VA_ARGS__)
#define X86_FUSE_TABLE_TEST(id)          \
    static x86_handler *const id[16] = { \
        [4] = id##_4, id##_5, [8] = id##_8, id##_9, [12] = id##_12, id##_13, id##_14, id##_15};

#define X86_FUSE_CONDS_SUB    X86_FUSE_CONDS_CMP
#define X86_FUSE_TABLE_SUB    X86_FUSE_TABLE_CMP
#define X86_FUSE_CONDS_RESULT X86_FUSE_CONDS_CMP
#define X86_FUSE_TABLE_RESULT X86_FUSE_TABLE_CMP
#define X86_FUSE_CONDS_LOGIC  X86_FUSE_CONDS_TEST
#define X86_FUSE_TABLE_LOGIC  X86_FUSE_TABLE_TEST

/* Conditions after a - b, after a logical result r, after an increment or decrement to r, after r =
 * a + b. cond is a constant; what the operands do not tell directly comes from the flags. */
#define X86_FUSE_COND(bits)                                                               \
    X86_INLINE bool x86_cond_sub##bits(unsigned cond, uint##bits##_t a, uint##bits##_t b, \
                                       x86_cc cc)                                         \
    {                                                                                     \
        int##bits##_t sa = (int##bits##_t)a, sb = (int##bits##_t)b;                       \
        switch (cond) {                                                                   \
        case 2:                                                                           \
            return a < b;                                                                 \
        case 3:                                                                           \
            return a >= b;                                                                \
        case 4:                                                                           \
            return a == b;                                                                \
        case 5:                                                                           \
            return a != b;                                                                \
        case 6:                                                                           \
            return a <= b;                                                                \
        case 7:                                                                           \
            return a > b;                                                                 \
        case 8:                                                                           \
            return (int##bits##_t)(uint##bits##_t)(a - b) < 0;                            \
        case 9:                                                                           \
            return (int##bits##_t)(uint##bits##_t)(a - b) >= 0;                           \
        case 12:                                                                          \
            return sa < sb;                                                               \
        case 13:                                                                          \
            return sa >= sb;                                                              \
        case 14:                                                                          \
            return sa <= sb;                                                              \
        case 15:                                                                          \
            return sa > sb;                                                               \
        default:                                                                          \
            return x86_cond(cc, cond);                                                    \
        }                                                                                 \
    }                                                                                     \
    X86_INLINE bool x86_cond_logic##bits(unsigned cond, uint##bits##_t r, x86_cc cc)      \
    {                                                                                     \
        int##bits##_t s = (int##bits##_t)r;                                               \
        switch (cond) {                                                                   \
        case 4:                                                                           \
            return r == 0;                                                                \
        case 5:                                                                           \
            return r != 0;                                                                \
        case 8:                                                                           \
        case 12:                                                                          \
            return s < 0;                                                                 \
        case 9:                                                                           \
        case 13:                                                                          \
            return s >= 0;                                                                \
        case 14:                                                                          \
            return s <= 0;                                                                \
        case 15:                                                                          \
            return s > 0;                                                                 \
        default:                                                                          \
            return x86_cond(cc, cond);                                                    \
        }                                                                                 \
    }                                                                                     \
    X86_INLINE bool x86_cond_result##bits(unsigned cond, uint##bits##_t r, x86_cc cc)     \
    {                                                                                     \
        switch (cond) {                                                                   \
        case 4:                                                                           \
            return r == 0;                                                                \
        case 5:                                                                           \
            return r != 0;                                                                \
        case 8:                                                                           \
            return (int##bits##_t)r < 0;                                                  \
        case 9:                                                                           \
            return (int##bits##_t)r >= 0;                                                 \
        default:                                                                          \
            return x86_cond(cc, cond);                                                    \
        }                                                                                 \
    }
X86_FUSE_COND(8)
X86_FUSE_COND(16)
X86_FUSE_COND(32)
X86_FUSE_COND(64)

#define X86_FUSE_E(bits) X86_GET##bits(cpu, u->rm)
#define X86_FUSE_G(bits) X86_GET##bits(cpu, u->reg)
#define X86_FUSE_I(bits) ((uint##bits##_t)u->imm)

/* CMP and TEST of values at hand; `taken` may use a, b, cc */
#define X86_FUSE_CMP(cond, bits, a_, b_) \
    uint##bits##_t a = (a_), b = (b_);   \
    x86_cc cc;                           \
    x86_cmp##bits(a, b, &cc);            \
    cpu->cc = cc;                        \
    X86_FUSE_END(cpu, u, x86_cond_sub##bits(cond, a, b, cc))
#define X86_FUSE_TEST(cond, bits, a_, b_) \
    uint##bits##_t a = (a_), b = (b_);    \
    x86_cc cc;                            \
    x86_test##bits(a, b, &cc);            \
    cpu->cc = cc;                         \
    X86_FUSE_END(cpu, u, x86_cond_logic##bits(cond, (uint##bits##_t)(a & b), cc))

#endif
