/*
 * alu.h on x86-64 hosts: the host computes result and flags, LAHF and SETO leave them in AX just as
 * cpu->cc holds them. (Every x86-64 CPU but the very first has LAHF in 64-bit mode.)
 */
#ifndef X86_ALU_HOST_X86_64_H
#define X86_ALU_HOST_X86_64_H

#define X86_ASM_CAPTURE "\n\tlahf\n\tseto %%al"
#define X86_ASM_CARRY   "btl $8, %k[f]\n\t"           /* CF := guest's CF */
#define X86_ASM_RESTORE "addb $127, %%al\n\tsahf\n\t" /* all arithmetic flags := guest's */

/* Multiplications and shifts leave undefined flags as they were on some CPUs: not as the host's
 * last instruction left them, or the same guest would not always run the same way. */
#define X86_ASM_KNOWN(reg) "xorl %k[" reg "], %k[" reg "]\n\t"

/* a OP b, flags by the operands alone */
#define X86_HOST_BINARY(bits, m, name, insn) X86_HOST_BINARY_(bits, m, name, "", insn)
#define X86_HOST_BINARY_(bits, m, name, before, insn)                                          \
    X86_INLINE uint##bits##_t x86_##name##bits(uint##bits##_t a, uint##bits##_t b, x86_cc *cc) \
    {                                                                                          \
        uint32_t f;                                                                            \
        __asm__(before insn " %" m "[b], %" m "[a]" X86_ASM_CAPTURE                            \
                : [a] "+q"(a), [f] "=&a"(f)                                                    \
                : [b] "q"(b)                                                                   \
                : "cc");                                                                       \
        *cc = (x86_cc)f;                                                                       \
        return a;                                                                              \
    }
/* the same with carry in */
#define X86_HOST_CARRY(bits, m, name, insn)                                                    \
    X86_INLINE uint##bits##_t x86_##name##bits(uint##bits##_t a, uint##bits##_t b, x86_cc *cc) \
    {                                                                                          \
        uint32_t f = *cc;                                                                      \
        __asm__(X86_ASM_CARRY insn " %" m "[b], %" m "[a]" X86_ASM_CAPTURE                     \
                : [a] "+q"(a), [f] "+&a"(f)                                                    \
                : [b] "q"(b)                                                                   \
                : "cc");                                                                       \
        *cc = (x86_cc)f;                                                                       \
        return a;                                                                              \
    }
/* flags only */
#define X86_HOST_COMPARE(bits, m, name, insn)                                        \
    X86_INLINE void x86_##name##bits(uint##bits##_t a, uint##bits##_t b, x86_cc *cc) \
    {                                                                                \
        uint32_t f;                                                                  \
        __asm__(insn " %" m "[b], %" m "[a]" X86_ASM_CAPTURE                         \
                : [f] "=&a"(f)                                                       \
                : [a] "q"(a), [b] "q"(b)                                             \
                : "cc");                                                             \
        *cc = (x86_cc)f;                                                             \
    }
/* one operand; CF stays or is computed */
#define X86_HOST_UNARY(bits, m, name, insn)                                  \
    X86_INLINE uint##bits##_t x86_##name##bits(uint##bits##_t a, x86_cc *cc) \
    {                                                                        \
        uint32_t f = *cc;                                                    \
        __asm__(X86_ASM_CARRY insn " %" m "[a]" X86_ASM_CAPTURE              \
                : [a] "+q"(a), [f] "+&a"(f)                                  \
                :                                                            \
                : "cc");                                                     \
        *cc = (x86_cc)f;                                                     \
        return a;                                                            \
    }
/* Shifts and rotates: the host masks the count and leaves all flags alone for 0. */
#define X86_HOST_SHIFT(bits, m, name, insn)                                                  \
    X86_INLINE uint##bits##_t x86_##name##bits(uint##bits##_t a, unsigned count, x86_cc *cc) \
    {                                                                                        \
        uint32_t f = *cc;                                                                    \
        __asm__(X86_ASM_RESTORE insn " %%cl, %" m "[a]" X86_ASM_CAPTURE                      \
                : [a] "+q"(a), [f] "+&a"(f)                                                  \
                : "c"(count)                                                                 \
                : "cc");                                                                     \
        *cc = (x86_cc)f;                                                                     \
        return a;                                                                            \
    }
/* ... and for a count that the caller knows is not 0 after masking; not for rotates */
#define X86_HOST_SHIFT_NZ(bits, m, name, insn)                                                    \
    X86_INLINE uint##bits##_t x86_##name##_nz##bits(uint##bits##_t a, unsigned count, x86_cc *cc) \
    {                                                                                             \
        uint32_t f;                                                                               \
        __asm__(X86_ASM_KNOWN("f") insn " %%cl, %" m "[a]" X86_ASM_CAPTURE                        \
                : [a] "+q"(a), [f] "=&a"(f)                                                       \
                : "c"(count)                                                                      \
                : "cc");                                                                          \
        *cc = (x86_cc)f;                                                                          \
        return a;                                                                                 \
    }
#define X86_HOST_SHIFT_DOUBLE(bits, m, name, insn)                                                 \
    X86_INLINE uint##bits##_t x86_##name##bits(uint##bits##_t a, uint##bits##_t b, unsigned count, \
                                               x86_cc *cc)                                         \
    {                                                                                              \
        uint32_t f = *cc;                                                                          \
        __asm__(X86_ASM_RESTORE insn " %%cl, %" m "[b], %" m "[a]" X86_ASM_CAPTURE                 \
                : [a] "+r"(a), [f] "+&a"(f)                                                        \
                : "c"(count), [b] "r"(b)                                                           \
                : "cc");                                                                           \
        *cc = (x86_cc)f;                                                                           \
        return a;                                                                                  \
    }
/* rDX:rAX := a * b; *hi gets the upper half */
#define X86_HOST_MULTIPLY(bits, m, name, insn)                                            \
    X86_INLINE uint##bits##_t x86_##name##bits(uint##bits##_t a, uint##bits##_t b,        \
                                               uint##bits##_t *hi, x86_cc *cc)            \
    {                                                                                     \
        uint64_t rax = a, rdx, lo;                                                        \
        __asm__(X86_ASM_KNOWN("lo") insn " %" m "[b]\n\tmov %%rax, %[lo]" X86_ASM_CAPTURE \
                : "+&a"(rax), "=&d"(rdx), [lo] "=&r"(lo)                                  \
                : [b] "r"(b)                                                              \
                : "cc");                                                                  \
        *cc = (x86_cc)rax;                                                                \
        *hi = (uint##bits##_t)rdx;                                                        \
        return (uint##bits##_t)lo;                                                        \
    }
/* 8 bits: the product is AX */
#define X86_HOST_MULTIPLY8(name, insn)                                                  \
    X86_INLINE uint8_t x86_##name##8(uint8_t a, uint8_t b, uint8_t * hi, x86_cc * cc)   \
    {                                                                                   \
        uint32_t eax = a, ax;                                                           \
        __asm__(X86_ASM_KNOWN("ax") insn " %b[b]\n\tmovzwl %%ax, %[ax]" X86_ASM_CAPTURE \
                : "+&a"(eax), [ax] "=&r"(ax)                                            \
                : [b] "q"(b)                                                            \
                : "cc");                                                                \
        *cc = (x86_cc)eax;                                                              \
        *hi = (uint8_t)(ax >> 8);                                                       \
        return (uint8_t)ax;                                                             \
    }

#define X86_HOST_ALL(bits, m)               \
    X86_HOST_BINARY(bits, m, add, "add")    \
    X86_HOST_BINARY(bits, m, or, "or")      \
    X86_HOST_CARRY(bits, m, adc, "adc")     \
    X86_HOST_CARRY(bits, m, sbb, "sbb")     \
    X86_HOST_BINARY(bits, m, and, "and")    \
    X86_HOST_BINARY(bits, m, sub, "sub")    \
    X86_HOST_BINARY(bits, m, xor, "xor")    \
    X86_HOST_COMPARE(bits, m, cmp, "cmp")   \
    X86_HOST_COMPARE(bits, m, test, "test") \
    X86_HOST_UNARY(bits, m, inc, "inc")     \
    X86_HOST_UNARY(bits, m, dec, "dec")     \
    X86_HOST_UNARY(bits, m, neg, "neg")     \
    X86_HOST_SHIFT(bits, m, rol, "rol")     \
    X86_HOST_SHIFT(bits, m, ror, "ror")     \
    X86_HOST_SHIFT(bits, m, rcl, "rcl")     \
    X86_HOST_SHIFT(bits, m, rcr, "rcr")     \
    X86_HOST_SHIFT(bits, m, shl, "shl")     \
    X86_HOST_SHIFT(bits, m, shr, "shr")     \
    X86_HOST_SHIFT(bits, m, sar, "sar")     \
    X86_HOST_SHIFT_NZ(bits, m, shl, "shl")  \
    X86_HOST_SHIFT_NZ(bits, m, shr, "shr")  \
    X86_HOST_SHIFT_NZ(bits, m, sar, "sar")
#define X86_HOST_WIDE(bits, m)                                   \
    X86_HOST_SHIFT_DOUBLE(bits, m, shld, "shld")                 \
    X86_HOST_SHIFT_DOUBLE(bits, m, shrd, "shrd")                 \
    X86_HOST_BINARY_(bits, m, imul2, X86_ASM_KNOWN("f"), "imul") \
    X86_HOST_MULTIPLY(bits, m, mul, "mul")                       \
    X86_HOST_MULTIPLY(bits, m, imul, "imul")

X86_HOST_ALL(8, "b")
X86_HOST_ALL(16, "w")
X86_HOST_ALL(32, "k")
X86_HOST_ALL(64, "q")
X86_HOST_WIDE(16, "w")
X86_HOST_WIDE(32, "k")
X86_HOST_WIDE(64, "q")
X86_HOST_MULTIPLY8(mul, "mul")
X86_HOST_MULTIPLY8(imul, "imul")

#undef X86_HOST_ALL
#undef X86_HOST_WIDE
#undef X86_HOST_BINARY
#undef X86_HOST_CARRY
#undef X86_HOST_COMPARE
#undef X86_HOST_UNARY
#undef X86_HOST_SHIFT
#undef X86_HOST_SHIFT_NZ
#undef X86_HOST_SHIFT_DOUBLE
#undef X86_HOST_MULTIPLY
#undef X86_HOST_MULTIPLY8

#endif
