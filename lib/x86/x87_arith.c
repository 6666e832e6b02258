/* x87 arithmetic, comparisons and transcendental functions: stack discipline around the host's
 * thunks. */
#include "x86/flags.h"
#include "x86/x87.h"

/* What an instruction does with its operands and result. */
struct arith {
    uint8_t kind;  /* enum x86_x87_kind */
    uint8_t op;    /* enum x86_x87_op */
    bool dest_sti; /* result goes to ST(i), and ST(i) is the left operand */
    uint8_t pops;
};

static const uint8_t kind_bytes[X87_NKINDS] = {
    [X87_M32] = 4, [X87_M64] = 8, [X87_I16] = 2, [X87_I32] = 4};

static void pop_n(struct x86_cpu *cpu, unsigned n)
{
    while (n--)
        x87_pop(cpu);
}

/* FADD, FMUL, FSUB(R), FDIV(R) in all forms */
X87_WORKER arith(struct x86_cpu *cpu, struct x86_uop *u, const struct arith *k)
{
    unsigned sti = u->rm & 7, dest = k->dest_sti ? sti : 0;
    const void *b = &cpu->tmp;
    if (!x87_ready(cpu))
        return false;
    if (k->kind != X87_REG) {
        if (!x87_fetch(cpu, u, kind_bytes[k->kind]))
            return false;
    } else {
        b = x87_st(cpu, k->dest_sti ? 0 : sti);
    }
    x87_track(cpu, u);
    if (X86_UNLIKELY(x87_empty(cpu, 0) || (k->kind == X87_REG && x87_empty(cpu, sti)))) {
        if (x87_stack_fault(cpu, false)) {
            x87_set(cpu, dest, &x87_indefinite);
            pop_n(cpu, k->pops);
        }
        return true;
    }
    /* With all exceptions masked the result can go where it belongs at once. */
    uint32_t env = x87_env(cpu);
    struct x86_f80 *a = x87_st(cpu, dest), tmp;
    bool direct = x87_all_masked(cpu);
    uint16_t sw = x86_x87_arith[k->kind][k->op](a, b, direct ? a : &tmp, env);
    if (X86_LIKELY(x87_status(cpu, sw, 0))) {
        if (X86_UNLIKELY(!direct))
            x87_set(cpu, dest, &tmp);
        pop_n(cpu, k->pops);
    }
    return true;
}

struct compare {
    uint8_t kind;
    uint8_t pops;
    bool quiet;    /* FUCOM: no exception for quiet NaNs */
    bool to_flags; /* FCOMI: result to EFLAGS */
    bool st1;      /* FCOMPP: fixed operand */
};

static void compare_result(struct x86_cpu *cpu, const struct compare *k, uint16_t sw)
{
    if (k->to_flags) {
        cpu->cc = (x86_cc)((sw & X87_C3 ? X86_CC_ZF : 0) | (sw & X87_C2 ? X86_CC_PF : 0) |
                           (sw & X87_C0 ? X86_CC_CF : 0));
    } else {
        cpu->fpu.sw = (uint16_t)((cpu->fpu.sw & ~X87_CC) | (sw & (X87_C0 | X87_C2 | X87_C3)));
    }
    pop_n(cpu, k->pops);
}

/* FCOM, FUCOM, FICOM, FCOMI in all forms */
X87_WORKER compare(struct x86_cpu *cpu, struct x86_uop *u, const struct compare *k)
{
    unsigned sti = k->st1 ? 1 : u->rm & 7;
    const void *b = &cpu->tmp;
    if (!x87_ready(cpu))
        return false;
    if (k->kind == X87_REG)
        b = x87_st(cpu, sti);
    else if (!x87_fetch(cpu, u, kind_bytes[k->kind]))
        return false;
    x87_track(cpu, u);
    if (X86_UNLIKELY(x87_empty(cpu, 0) || (k->kind == X87_REG && x87_empty(cpu, sti)))) {
        if (x87_stack_fault(cpu, false))
            compare_result(cpu, k, X87_C0 | X87_C2 | X87_C3);
        return true;
    }
    x86_x87_binary *fn = k->quiet ? x86_x87_fucom : x86_x87_arith[k->kind][X87_COM];
    uint16_t sw = fn(x87_st(cpu, 0), b, NULL, x87_env(cpu));
    if (X86_LIKELY(x87_status(cpu, sw & ~X87_C1, 0)))
        compare_result(cpu, k, sw);
    return true;
}

X87_WORKER ftst(struct x86_cpu *cpu, struct x86_uop *u)
{
    static const struct compare k = {.kind = X87_REG};
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    if (x87_empty(cpu, 0)) {
        if (x87_stack_fault(cpu, false))
            compare_result(cpu, &k, X87_C0 | X87_C2 | X87_C3);
        return true;
    }
    uint16_t sw = x86_x87_ftst(x87_st(cpu, 0), NULL, x87_env(cpu));
    if (x87_status(cpu, sw & ~X87_C1, 0))
        compare_result(cpu, &k, sw);
    return true;
}

/* ST(0) = f(ST(0)); `cc`: condition codes the instruction defines beside C1, cleared whatever
 * happens */
X87_WORKER unary(struct x86_cpu *cpu, struct x86_uop *u, x86_x87_unary *fn, unsigned cc)
{
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    cpu->fpu.sw &= (uint16_t)~cc;
    if (X86_UNLIKELY(x87_empty(cpu, 0))) {
        if (x87_stack_fault(cpu, false))
            x87_set(cpu, 0, &x87_indefinite);
        return true;
    }
    struct x86_f80 out;
    uint16_t sw = fn(x87_st(cpu, 0), &out, x87_env(cpu));
    if (X86_LIKELY(x87_status(cpu, sw, cc)))
        x87_set(cpu, 0, &out);
    return true;
}

/* FPTAN, FSINCOS, FXTRACT: one operand, two results; C2 set: out of range, nothing happens */
X87_WORKER unary_two(struct x86_cpu *cpu, struct x86_uop *u, x86_x87_unary *fn, unsigned cc)
{
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    cpu->fpu.sw &= (uint16_t)~cc;
    if (X86_UNLIKELY(x87_empty(cpu, 0) || !x87_empty(cpu, 7))) {
        if (x87_stack_fault(cpu, !x87_empty(cpu, 0))) {
            x87_set(cpu, 0, &x87_indefinite);
            x87_push(cpu, &x87_indefinite);
        }
        return true;
    }
    struct x86_f80 out[2];
    uint16_t sw = fn(x87_st(cpu, 0), out, x87_env(cpu));
    if (X86_LIKELY(x87_status(cpu, sw, cc))) {
        x87_set(cpu, 0, &out[0]);
        if (!(cc & sw & X87_C2))
            x87_push(cpu, &out[1]);
    }
    return true;
}

/* FSCALE: ST(0) = f(ST(0), ST(1)). FPATAN, FYL2X, FYL2XP1: ST(1) = f(ST(1), ST(0)),
 * pop. */
X87_WORKER binary(struct x86_cpu *cpu, struct x86_uop *u, x86_x87_binary *fn, bool pop)
{
    unsigned dest = pop;
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    struct x86_f80 out = x87_indefinite;
    bool store;
    if (X86_UNLIKELY(x87_empty(cpu, 0) || x87_empty(cpu, 1)))
        store = x87_stack_fault(cpu, false);
    else
        store = x87_status(cpu, fn(x87_st(cpu, dest), x87_st(cpu, !dest), &out, x87_env(cpu)), 0);
    if (store) {
        x87_set(cpu, dest, &out);
        pop_n(cpu, pop);
    }
    return true;
}

/* FPREM, FPREM1: C0, C3 and C1 are bits of the quotient when there is one; C2 says "incomplete". */
X87_WORKER partial_remainder(struct x86_cpu *cpu, struct x86_uop *u, x86_x87_binary *fn)
{
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    cpu->fpu.sw &= (uint16_t)~X87_C2;
    struct x86_f80 out = x87_indefinite;
    bool store;
    if (X86_UNLIKELY(x87_empty(cpu, 0) || x87_empty(cpu, 1))) {
        store = x87_stack_fault(cpu, false);
    } else {
        uint16_t sw = fn(x87_st(cpu, 0), x87_st(cpu, 1), &out, x87_env(cpu));
        bool number = (out.se & 0x7fff) != 0x7fff;
        store = x87_status(cpu, number ? sw : sw & ~X87_CC, number ? X87_CC : 0);
    }
    if (store)
        x87_set(cpu, 0, &out);
    return true;
}

X87_WORKER sign(struct x86_cpu *cpu, struct x86_uop *u, bool change)
{
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    if (x87_empty(cpu, 0)) {
        if (x87_stack_fault(cpu, false))
            x87_set(cpu, 0, &x87_indefinite);
        return true;
    }
    struct x86_f80 *v = x87_st(cpu, 0);
    v->se = change ? v->se ^ 0x8000 : v->se & 0x7fff;
    cpu->fpu.sw &= (uint16_t)~X87_C1;
    return true;
}

X87_WORKER fxam(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    const struct x86_f80 *v = x87_st(cpu, 0);
    unsigned cc = X87_C3 | X87_C0 | (v->se & 0x8000 ? X87_C1 : 0); /* empty */
    if (!x87_empty(cpu, 0))
        cc = x86_x87_fxam(v, NULL, x87_env(cpu));
    cpu->fpu.sw = (uint16_t)((cpu->fpu.sw & ~X87_CC) | (cc & X87_CC));
    return true;
}

/* --- rows --- */

#define ARITH(name, kind_, op_, sti_, pops_)                        \
    static const struct arith k_##name = {                          \
        .kind = kind_, .op = op_, .dest_sti = sti_, .pops = pops_}; \
    X87_HANDLER(name, arith(cpu, u, &k_##name))
/* memory forms, ST0,STi, STi,ST0 and the popping one */
#define ARITH_ALL(name, op)                  \
    ARITH(name##_m32, X87_M32, op, false, 0) \
    ARITH(name##_m64, X87_M64, op, false, 0) \
    ARITH(name##_i16, X87_I16, op, false, 0) \
    ARITH(name##_i32, X87_I32, op, false, 0) \
    ARITH(name##_st0, X87_REG, op, false, 0) \
    ARITH(name##_sti, X87_REG, op, true, 0)  \
    ARITH(name##_pop, X87_REG, op, true, 1)
ARITH_ALL(fadd, X87_ADD)
ARITH_ALL(fmul, X87_MUL)
ARITH_ALL(fsub, X87_SUB)
ARITH_ALL(fsubr, X87_SUBR)
ARITH_ALL(fdiv, X87_DIV)
ARITH_ALL(fdivr, X87_DIVR)

#define COMPARE(name, ...)                                \
    static const struct compare k_##name = {__VA_ARGS__}; \
    X87_HANDLER(name, compare(cpu, u, &k_##name))
COMPARE(fcom_m32, .kind = X87_M32)
COMPARE(fcom_m64, .kind = X87_M64)
COMPARE(fcom_i16, .kind = X87_I16)
COMPARE(fcom_i32, .kind = X87_I32)
COMPARE(fcom_st, .kind = X87_REG)
COMPARE(fcomp_m32, .kind = X87_M32, .pops = 1)
COMPARE(fcomp_m64, .kind = X87_M64, .pops = 1)
COMPARE(fcomp_i16, .kind = X87_I16, .pops = 1)
COMPARE(fcomp_i32, .kind = X87_I32, .pops = 1)
COMPARE(fcomp_st, .kind = X87_REG, .pops = 1)
COMPARE(fcompp, .kind = X87_REG, .pops = 2, .st1 = true)
COMPARE(fucom, .kind = X87_REG, .quiet = true)
COMPARE(fucomp, .kind = X87_REG, .pops = 1, .quiet = true)
COMPARE(fucompp, .kind = X87_REG, .pops = 2, .quiet = true, .st1 = true)
COMPARE(fcomi, .kind = X87_REG, .to_flags = true)
COMPARE(fcomip, .kind = X87_REG, .pops = 1, .to_flags = true)
COMPARE(fucomi, .kind = X87_REG, .quiet = true, .to_flags = true)
COMPARE(fucomip, .kind = X87_REG, .pops = 1, .quiet = true, .to_flags = true)

X87_HANDLER(ftst, ftst(cpu, u))
X87_HANDLER(fxam, fxam(cpu, u))
X87_HANDLER(fchs, sign(cpu, u, true))
X87_HANDLER(fabs, sign(cpu, u, false))
X87_HANDLER(fsqrt, unary(cpu, u, x86_x87_fsqrt, 0))
X87_HANDLER(frndint, unary(cpu, u, x86_x87_frndint, 0))
X87_HANDLER(f2xm1, unary(cpu, u, x86_x87_f2xm1, 0))
X87_HANDLER(fsin, unary(cpu, u, x86_x87_fsin, X87_C2))
X87_HANDLER(fcos, unary(cpu, u, x86_x87_fcos, X87_C2))
X87_HANDLER(fptan, unary_two(cpu, u, x86_x87_fptan, X87_C2))
X87_HANDLER(fsincos, unary_two(cpu, u, x86_x87_fsincos, X87_C2))
X87_HANDLER(fxtract, unary_two(cpu, u, x86_x87_fxtract, 0))
X87_HANDLER(fprem, partial_remainder(cpu, u, x86_x87_fprem))
X87_HANDLER(fprem1, partial_remainder(cpu, u, x86_x87_fprem1))
X87_HANDLER(fscale, binary(cpu, u, x86_x87_fscale, false))
X87_HANDLER(fpatan, binary(cpu, u, x86_x87_fpatan, true))
X87_HANDLER(fyl2x, binary(cpu, u, x86_x87_fyl2x, true))
X87_HANDLER(fyl2xp1, binary(cpu, u, x86_x87_fyl2xp1, true))
