/*
 * x87 arithmetic, as the host's own x87 carries it out: one thunk per instruction, exact by
 * construction.
 *
 * A thunk gets the control word to run under (IM, DM, ZM and PM masked; OM and UM the guest's,
 * since they decide the result) and returns the status word: exception flags of this operation and
 * the condition codes it set. It leaves the host's control word as it was and its register stack
 * empty.
 */
#ifndef X86_X87_HOST_H
#define X86_X87_HOST_H

#include "x86/cpu.h"

/* Binary: out = a OP b. b is a register, or bytes in memory of the kind's type. Comparisons write
 * no out. */
typedef uint16_t x86_x87_binary(const struct x86_f80 *a, const void *b, struct x86_f80 *out,
                                uint32_t env);
/* Unary. out[1] is written by instructions with two results: out[0] goes to the old ST(0), out[1]
 * is pushed. */
typedef uint16_t x86_x87_unary(const struct x86_f80 *a, struct x86_f80 *out, uint32_t env);
/* Load from memory (not NULL for constants); store to memory of at most 10 bytes, written only when
 * the instruction would. */
typedef uint16_t x86_x87_load(const void *mem, struct x86_f80 *out, uint32_t env);
typedef uint16_t x86_x87_store(const struct x86_f80 *a, void *mem, uint32_t env);

/* Second operand of the eight basic operations. */
enum x86_x87_kind { X87_REG, X87_M32, X87_M64, X87_I16, X87_I32, X87_NKINDS };
/* The operations, as ModRM.reg numbers them. */
enum x86_x87_op {
    X87_ADD,
    X87_MUL,
    X87_COM,
    X87_COMP,
    X87_SUB,
    X87_SUBR,
    X87_DIV,
    X87_DIVR,
    X87_NOPS
};
extern x86_x87_binary *const x86_x87_arith[X87_NKINDS][X87_NOPS];

extern x86_x87_binary x86_x87_fucom, x86_x87_fprem, x86_x87_fprem1, x86_x87_fscale, x86_x87_fpatan,
    x86_x87_fyl2x, x86_x87_fyl2xp1;
extern x86_x87_unary x86_x87_fsqrt, x86_x87_frndint, x86_x87_f2xm1, x86_x87_fsin, x86_x87_fcos,
    x86_x87_fptan, x86_x87_fsincos, x86_x87_fxtract, x86_x87_ftst, x86_x87_fxam;
extern x86_x87_load x86_x87_fld32, x86_x87_fld64, x86_x87_fbld, x86_x87_fld1, x86_x87_fldl2t,
    x86_x87_fldl2e, x86_x87_fldpi, x86_x87_fldlg2, x86_x87_fldln2, x86_x87_fldz;
extern x86_x87_store x86_x87_fst32, x86_x87_fst64, x86_x87_fist16, x86_x87_fist32, x86_x87_fist64,
    x86_x87_fisttp16, x86_x87_fisttp32, x86_x87_fisttp64, x86_x87_fbstp;

#endif
