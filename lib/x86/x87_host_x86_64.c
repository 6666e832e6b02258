/* x87 thunks on the real registers of an x86-64 host. See x87_host.h.
 *
 * An unmasked overflow or underflow leaves an exception pending in the host's x87, which would hit
 * the next waiting instruction: the status is read and cleared (both without waiting) before
 * anything else. */
#include "x86/x87_host.h"

#define CLOBBERS "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory"
/* ax = status; nothing pending any more */
#define STATUS "fnstsw %%ax\n\ttestb $0x80, %%al\n\tjz 1f\n\tfnclex\n1:\n\t"

static inline uint16_t enter(uint32_t env)
{
    uint16_t host, status, cw = (uint16_t)env;
    __asm__ volatile("fnstcw %0\n\tfnstsw %1" : "=m"(host), "=a"(status));
    if (X86_UNLIKELY(status & 0xbf & ~(env >> 16)))
        __asm__ volatile("fnclex");
    if (X86_UNLIKELY(host != cw))
        __asm__ volatile("fldcw %0" : : "m"(cw));
    return host;
}

static inline void leave(uint32_t env, uint16_t host)
{
    if (X86_UNLIKELY(host != (uint16_t)env))
        __asm__ volatile("fldcw %0" : : "m"(host));
}

/* The condition codes of the host persist between instructions; callers take what the instruction
 * defines. */
#define THUNK(signature, body, ...)                                 \
    signature                                                       \
    {                                                               \
        uint16_t host = enter(env), sw;                             \
        __asm__ volatile(body : "=a"(sw) : __VA_ARGS__ : CLOBBERS); \
        leave(env, host);                                           \
        return sw;                                                  \
    }

#define BINARY(linkage, name, body)                                                          \
    THUNK(linkage uint16_t name(const struct x86_f80 *a, const void *b, struct x86_f80 *out, \
                                uint32_t env),                                               \
          body, [a] "r"(a), [b] "r"(b), [out] "r"(out))
#define UNARY(name, body)                                                            \
    THUNK(uint16_t name(const struct x86_f80 *a, struct x86_f80 *out, uint32_t env), \
          body, [a] "r"(a), [out] "r"(out))
#define LOAD(name, insn)                                                     \
    THUNK(uint16_t name(const void *mem, struct x86_f80 *out, uint32_t env), \
          insn "\n\t" STATUS "fstpt (%[out])\n\t", [mem] "r"(mem), [out] "r"(out))
#define STORE(name, insn)                                                  \
    THUNK(uint16_t name(const struct x86_f80 *a, void *mem, uint32_t env), \
          "fldt (%[a])\n\t" insn "\n\t" STATUS, [mem] "r"(mem), [a] "r"(a))

/* ST(0) = a, ST(1) = b */
#define BOTH "fldt (%[b])\n\tfldt (%[a])\n\t"
#define TWO(linkage, name, insn) \
    BINARY(linkage, name, BOTH insn "\n\t" STATUS "fstpt (%[out])\n\tfstp %%st(0)\n\t")
#define TWO_CMP(linkage, name, insn) \
    BINARY(linkage, name, BOTH insn "\n\t" STATUS "fstp %%st(0)\n\tfstp %%st(0)\n\t")
/* FPATAN, FYL2X: ST(1) = ST(1) op ST(0), pop; here a is ST(1) */
#define TWO_POP(name, insn) \
    BINARY(, name, "fldt (%[a])\n\tfldt (%[b])\n\t" insn "\n\t" STATUS "fstpt (%[out])\n\t")
#define MEM(name, insn) \
    BINARY(static, name, "fldt (%[a])\n\t" insn " (%[b])\n\t" STATUS "fstpt (%[out])\n\t")
#define MEM_CMP(name, insn) \
    BINARY(static, name, "fldt (%[a])\n\t" insn " (%[b])\n\t" STATUS "fstp %%st(0)\n\t")
#define ONE(name, insn)     UNARY(name, "fldt (%[a])\n\t" insn "\n\t" STATUS "fstpt (%[out])\n\t")
#define ONE_CMP(name, insn) UNARY(name, "fldt (%[a])\n\t" insn "\n\t" STATUS "fstp %%st(0)\n\t")
/* Two results: the second one is on top, unless C2 says that the operand was out of range. FTST of
 * zero clears C2 first, so that an old one cannot be mistaken for it. */
#define ONE_TWO(name, insn)                                                          \
    UNARY(name, "fldz\n\tftst\n\tfstp %%st(0)\n\tfldt (%[a])\n\t" insn "\n\t" STATUS \
                "testb $4, %%ah\n\tjnz 2f\n\tfstpt 16(%[out])\n2:\n\tfstpt (%[out])\n\t")

TWO(static, add_reg, "fadd %%st(1), %%st")
TWO(static, mul_reg, "fmul %%st(1), %%st")
TWO_CMP(static, com_reg, "fcom %%st(1)")
TWO(static, sub_reg, "fsub %%st(1), %%st")
TWO(static, subr_reg, "fsubr %%st(1), %%st")
TWO(static, div_reg, "fdiv %%st(1), %%st")
TWO(static, divr_reg, "fdivr %%st(1), %%st")

#define MEM_ALL(kind, add, mul, com, sub, subr, div, divr) \
    MEM(add_##kind, add)                                   \
    MEM(mul_##kind, mul)                                   \
    MEM_CMP(com_##kind, com)                               \
    MEM(sub_##kind, sub)                                   \
    MEM(subr_##kind, subr)                                 \
    MEM(div_##kind, div)                                   \
    MEM(divr_##kind, divr)
MEM_ALL(m32, "fadds", "fmuls", "fcoms", "fsubs", "fsubrs", "fdivs", "fdivrs")
MEM_ALL(m64, "faddl", "fmull", "fcoml", "fsubl", "fsubrl", "fdivl", "fdivrl")
MEM_ALL(i16, "fiadds", "fimuls", "ficoms", "fisubs", "fisubrs", "fidivs", "fidivrs")
MEM_ALL(i32, "fiaddl", "fimull", "ficoml", "fisubl", "fisubrl", "fidivl", "fidivrl")

#define KIND(k)                                                                  \
    {                                                                            \
        add_##k, mul_##k, com_##k, com_##k, sub_##k, subr_##k, div_##k, divr_##k \
    }
x86_x87_binary *const x86_x87_arith[X87_NKINDS][X87_NOPS] = {
    [X87_REG] = KIND(reg), [X87_M32] = KIND(m32), [X87_M64] = KIND(m64),
    [X87_I16] = KIND(i16), [X87_I32] = KIND(i32),
};

TWO_CMP(, x86_x87_fucom, "fucom %%st(1)")
TWO(, x86_x87_fprem, "fprem")
TWO(, x86_x87_fprem1, "fprem1")
TWO(, x86_x87_fscale, "fscale")
TWO_POP(x86_x87_fpatan, "fpatan")
TWO_POP(x86_x87_fyl2x, "fyl2x")
TWO_POP(x86_x87_fyl2xp1, "fyl2xp1")

ONE(x86_x87_fsqrt, "fsqrt")
ONE(x86_x87_frndint, "frndint")
ONE(x86_x87_f2xm1, "f2xm1")
ONE(x86_x87_fsin, "fsin")
ONE(x86_x87_fcos, "fcos")
ONE_TWO(x86_x87_fptan, "fptan")
ONE_TWO(x86_x87_fsincos, "fsincos")
/* FXTRACT does not define C2: never take it for a sign of a missing result. */
UNARY(x86_x87_fxtract, "fldt (%[a])\n\tfxtract\n\t" STATUS "fstpt 16(%[out])\n\tfstpt (%[out])\n\t")
ONE_CMP(x86_x87_ftst, "ftst")
ONE_CMP(x86_x87_fxam, "fxam")

LOAD(x86_x87_fld32, "flds (%[mem])")
LOAD(x86_x87_fld64, "fldl (%[mem])")
LOAD(x86_x87_fbld, "fbld (%[mem])")
LOAD(x86_x87_fld1, "fld1")
LOAD(x86_x87_fldl2t, "fldl2t")
LOAD(x86_x87_fldl2e, "fldl2e")
LOAD(x86_x87_fldpi, "fldpi")
LOAD(x86_x87_fldlg2, "fldlg2")
LOAD(x86_x87_fldln2, "fldln2")
LOAD(x86_x87_fldz, "fldz")

/* Not the popping forms: they neither store nor pop on an unmasked overflow or underflow. */
THUNK(uint16_t x86_x87_fst32(const struct x86_f80 *a, void *mem, uint32_t env),
      "fldt (%[a])\n\tfsts (%[mem])\n\t" STATUS "fstp %%st(0)\n\t", [mem] "r"(mem), [a] "r"(a))
THUNK(uint16_t x86_x87_fst64(const struct x86_f80 *a, void *mem, uint32_t env),
      "fldt (%[a])\n\tfstl (%[mem])\n\t" STATUS "fstp %%st(0)\n\t", [mem] "r"(mem), [a] "r"(a))
STORE(x86_x87_fist16, "fistps (%[mem])")
STORE(x86_x87_fist32, "fistpl (%[mem])")
STORE(x86_x87_fist64, "fistpll (%[mem])")
STORE(x86_x87_fisttp16, "fisttps (%[mem])")
STORE(x86_x87_fisttp32, "fisttpl (%[mem])")
STORE(x86_x87_fisttp64, "fisttpll (%[mem])")
STORE(x86_x87_fbstp, "fbstp (%[mem])")
