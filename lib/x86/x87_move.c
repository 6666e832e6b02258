/* x87 loads, stores, conversions, constants, exchanges and conditional moves. */
#include "x86/flags.h"
#include "x86/x87.h"

#define EXP_BIAS 16383

/* An operation that pushes: room on the stack? */
static bool push_result(struct x86_cpu *cpu, const struct x86_f80 *v)
{
    if (X86_UNLIKELY(!x87_empty(cpu, 7))) {
        if (x87_stack_fault(cpu, true))
            x87_push(cpu, &x87_indefinite);
        return true;
    }
    cpu->fpu.sw &= (uint16_t)~X87_C1;
    x87_push(cpu, v);
    return true;
}

X87_WORKER fld_float(struct x86_cpu *cpu, struct x86_uop *u, unsigned bytes)
{
    if (!x87_ready(cpu) || !x87_fetch(cpu, u, bytes))
        return false;
    x87_track(cpu, u);
    if (X86_UNLIKELY(!x87_empty(cpu, 7))) /* a stack fault comes before what the operand is */
        return push_result(cpu, &x87_indefinite);
    x86_x87_load *load = bytes == 4 ? x86_x87_fld32 : x86_x87_fld64;
    struct x86_f80 *top = x87_st(cpu, 7), tmp;
    bool direct = x87_all_masked(cpu);
    uint16_t sw = load(&cpu->tmp, direct ? top : &tmp, x87_env(cpu));
    /* A denormal is pushed even if DE is unmasked; it is exact. */
    if (X86_UNLIKELY(!x87_status(cpu, sw, 0)) && sw & X87_IE)
        return true;
    if (X86_UNLIKELY(!direct))
        *top = tmp;
    cpu->fpu.top = (cpu->fpu.top - 1) & 7;
    cpu->fpu.tagw |= (uint16_t)(1u << cpu->fpu.top);
    return true;
}

X87_WORKER fld80(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!x87_ready(cpu) || !x87_fetch(cpu, u, 10))
        return false;
    x87_track(cpu, u);
    struct x86_f80 v = {.mant = cpu->tmpq[0], .se = (uint16_t)cpu->tmpq[1]};
    return push_result(cpu, &v);
}

X87_WORKER fld_st(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    unsigned i = u->rm & 7;
    struct x86_f80 v = *x87_st(cpu, i);
    if (X86_UNLIKELY(x87_empty(cpu, i))) {
        if (!x87_stack_fault(cpu, false))
            return true;
        x87_push(cpu, &x87_indefinite);
        return true;
    }
    return push_result(cpu, &v);
}

X87_WORKER fild(struct x86_cpu *cpu, struct x86_uop *u, unsigned bytes)
{
    if (!x87_ready(cpu) || !x87_fetch(cpu, u, bytes))
        return false;
    x87_track(cpu, u);
    unsigned shift = 64 - 8 * bytes;
    int64_t i = (int64_t)(cpu->tmp << shift) >> shift;
    uint64_t mag = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    struct x86_f80 v = {0};
    if (mag) {
        unsigned lead = (unsigned)__builtin_clzll(mag);
        v.mant = mag << lead;
        v.se = (uint16_t)((i < 0 ? 0x8000 : 0) | (EXP_BIAS + 63 - lead));
    }
    return push_result(cpu, &v);
}

X87_WORKER fbld(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!x87_ready(cpu) || !x87_fetch(cpu, u, 10))
        return false;
    x87_track(cpu, u);
    struct x86_f80 v;
    x86_x87_fbld(cpu->tmpq, &v, x87_env(cpu)); /* raises nothing */
    return push_result(cpu, &v);
}

X87_WORKER constant(struct x86_cpu *cpu, struct x86_uop *u, x86_x87_load *load)
{
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    struct x86_f80 v;
    load(NULL, &v, x87_env(cpu)); /* inexact without saying so */
    return push_result(cpu, &v);
}

struct store {
    x86_x87_store *fn;
    uint8_t bytes;
    bool pop;
    bool real; /* a denormal or huge result is a matter of OE and UE, which may stop the store */
    uint8_t empty[10]; /* what an empty register is stored as */
};

static bool write_result(struct x86_cpu *cpu, struct x86_uop *u, const uint8_t *buf, unsigned bytes)
{
    uint64_t lin, v = 0;
    if (!x86_ea_seg(cpu, u, bytes, true, &lin))
        return false;
    if (bytes == 10)
        return x86_write_bytes(cpu, u, lin, buf, bytes);
    memcpy(&v, buf, bytes);
    return bytes == 8   ? x86_st64(cpu, u, lin, v)
           : bytes == 4 ? x86_st32(cpu, u, lin, (uint32_t)v)
                        : x86_st16(cpu, u, lin, (uint16_t)v);
}

/* Nothing is stored, but the destination's faults come first: the exception itself waits for the
 * next instruction. */
static bool probe_result(struct x86_cpu *cpu, struct x86_uop *u, unsigned bytes)
{
    uint64_t lin;
    return x86_ea_seg(cpu, u, bytes, true, &lin) && x86_probe_write(cpu, u, lin, bytes);
}

static bool put_result(struct x86_cpu *cpu, struct x86_uop *u, bool store, const uint8_t *buf,
                       unsigned bytes)
{
    return store ? write_result(cpu, u, buf, bytes) : probe_result(cpu, u, bytes);
}

/* FST, FIST, FISTTP, FBSTP: convert, write, only then touch status and stack. */
X87_WORKER store(struct x86_cpu *cpu, struct x86_uop *u, const struct store *k)
{
    if (!x87_ready(cpu))
        return false;
    uint8_t buf[16];
    if (X86_UNLIKELY(x87_empty(cpu, 0))) {
        if (!put_result(cpu, u, cpu->fpu.cw & X87_IE, k->empty, k->bytes))
            return false;
        x87_track(cpu, u);
        if (x87_stack_fault(cpu, false) && k->pop)
            x87_pop(cpu);
        return true;
    }
    uint16_t sw = k->fn(x87_st(cpu, 0), buf, x87_env(cpu));
    unsigned stop = sw & ~cpu->fpu.cw & (k->real ? X87_BEFORE | X87_OE | X87_UE : X87_BEFORE);
    if (!put_result(cpu, u, !stop, buf, k->bytes))
        return false;
    x87_track(cpu, u);
    x87_status(cpu, sw, 0);
    if (k->pop && !stop) /* stopped, destination and ST(0) stay: SDM Vol.1 8.5.4, 8.5.5 */
        x87_pop(cpu);
    return true;
}

X87_WORKER fstp80(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!x87_ready(cpu))
        return false;
    bool empty = x87_empty(cpu, 0);
    const struct x86_f80 *v = empty ? &x87_indefinite : x87_st(cpu, 0);
    bool stop = empty && !(cpu->fpu.cw & X87_IE);
    uint8_t buf[10];
    memcpy(buf, &v->mant, 8);
    memcpy(buf + 8, &v->se, 2);
    if (!put_result(cpu, u, !stop, buf, sizeof(buf)))
        return false;
    x87_track(cpu, u);
    if (empty)
        x87_stack_fault(cpu, false);
    else
        cpu->fpu.sw &= (uint16_t)~X87_C1;
    if (!stop)
        x87_pop(cpu);
    return true;
}

X87_WORKER fst_st(struct x86_cpu *cpu, struct x86_uop *u, bool pop)
{
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    struct x86_f80 v = *x87_st(cpu, 0);
    if (X86_UNLIKELY(x87_empty(cpu, 0))) {
        if (!x87_stack_fault(cpu, false))
            return true;
        v = x87_indefinite;
    } else {
        cpu->fpu.sw &= (uint16_t)~X87_C1;
    }
    x87_set(cpu, u->rm & 7, &v);
    if (pop)
        x87_pop(cpu);
    return true;
}

/* FSTP1: no stack underflow; an empty register is not stored. */
X87_WORKER fstp1(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!x87_ready(cpu) || !x87_empty(cpu, 0))
        return fst_st(cpu, u, true);
    x87_track(cpu, u);
    cpu->fpu.sw &= (uint16_t)~X87_C1;
    x87_pop(cpu);
    return true;
}

X87_WORKER fxch(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    unsigned i = u->rm & 7;
    bool empty0 = x87_empty(cpu, 0), empty_i = x87_empty(cpu, i);
    if (X86_UNLIKELY(empty0 || empty_i)) {
        if (!x87_stack_fault(cpu, false))
            return true;
        if (empty0)
            x87_set(cpu, 0, &x87_indefinite);
        if (empty_i)
            x87_set(cpu, i, &x87_indefinite);
    } else {
        cpu->fpu.sw &= (uint16_t)~X87_C1;
    }
    struct x86_f80 a = *x87_st(cpu, 0), b = *x87_st(cpu, i);
    x87_set(cpu, 0, &b);
    x87_set(cpu, i, &a);
    return true;
}

/* cond: as in Jcc */
X87_WORKER fcmov(struct x86_cpu *cpu, struct x86_uop *u, unsigned cond)
{
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    unsigned i = u->rm & 7;
    if (X86_UNLIKELY(x87_empty(cpu, 0) || x87_empty(cpu, i))) {
        if (x87_stack_fault(cpu, false))
            x87_set(cpu, 0, &x87_indefinite);
        return true;
    }
    if (x86_cond(cpu->cc, cond)) {
        struct x86_f80 v = *x87_st(cpu, i);
        x87_set(cpu, 0, &v);
    }
    return true;
}

/* --- rows --- */

X87_HANDLER(fld_m32, fld_float(cpu, u, 4))
X87_HANDLER(fld_m64, fld_float(cpu, u, 8))
X87_HANDLER(fld_m80, fld80(cpu, u))
X87_HANDLER(fld_st, fld_st(cpu, u))
X87_HANDLER(fild_m16, fild(cpu, u, 2))
X87_HANDLER(fild_m32, fild(cpu, u, 4))
X87_HANDLER(fild_m64, fild(cpu, u, 8))
X87_HANDLER(fbld, fbld(cpu, u))
X87_HANDLER(fld1, constant(cpu, u, x86_x87_fld1))
X87_HANDLER(fldl2t, constant(cpu, u, x86_x87_fldl2t))
X87_HANDLER(fldl2e, constant(cpu, u, x86_x87_fldl2e))
X87_HANDLER(fldpi, constant(cpu, u, x86_x87_fldpi))
X87_HANDLER(fldlg2, constant(cpu, u, x86_x87_fldlg2))
X87_HANDLER(fldln2, constant(cpu, u, x86_x87_fldln2))
X87_HANDLER(fldz, constant(cpu, u, x86_x87_fldz))

#define EMPTY_F32        \
    {                    \
        0, 0, 0xc0, 0xff \
    }
#define EMPTY_F64                    \
    {                                \
        0, 0, 0, 0, 0, 0, 0xf8, 0xff \
    }
#define EMPTY_I16 \
    {             \
        0, 0x80   \
    }
#define EMPTY_I32     \
    {                 \
        0, 0, 0, 0x80 \
    }
#define EMPTY_I64                 \
    {                             \
        0, 0, 0, 0, 0, 0, 0, 0x80 \
    }
#define EMPTY_BCD                             \
    {                                         \
        0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff \
    }
#define STORE(name, fn_, bytes_, pop_, real_, empty_)                             \
    static const struct store k_##name = {                                        \
        .fn = fn_, .bytes = bytes_, .pop = pop_, .real = real_, .empty = empty_}; \
    X87_HANDLER(name, store(cpu, u, &k_##name))
STORE(fst_m32, x86_x87_fst32, 4, false, true, EMPTY_F32)
STORE(fstp_m32, x86_x87_fst32, 4, true, true, EMPTY_F32)
STORE(fst_m64, x86_x87_fst64, 8, false, true, EMPTY_F64)
STORE(fstp_m64, x86_x87_fst64, 8, true, true, EMPTY_F64)
STORE(fist_m16, x86_x87_fist16, 2, false, false, EMPTY_I16)
STORE(fistp_m16, x86_x87_fist16, 2, true, false, EMPTY_I16)
STORE(fist_m32, x86_x87_fist32, 4, false, false, EMPTY_I32)
STORE(fistp_m32, x86_x87_fist32, 4, true, false, EMPTY_I32)
STORE(fistp_m64, x86_x87_fist64, 8, true, false, EMPTY_I64)
STORE(fisttp_m16, x86_x87_fisttp16, 2, true, false, EMPTY_I16)
STORE(fisttp_m32, x86_x87_fisttp32, 4, true, false, EMPTY_I32)
STORE(fisttp_m64, x86_x87_fisttp64, 8, true, false, EMPTY_I64)
STORE(fbstp, x86_x87_fbstp, 10, true, false, EMPTY_BCD)
X87_HANDLER(fstp_m80, fstp80(cpu, u))
X87_HANDLER(fst_st, fst_st(cpu, u, false))
X87_HANDLER(fstp_st, fst_st(cpu, u, true))
X87_HANDLER(fstp1, fstp1(cpu, u))
X87_HANDLER(fxch, fxch(cpu, u))

/* Conditions of Jcc: B 2, E 4, BE 6, U (parity) 10; odd ones are negated. */
X87_HANDLER(fcmovb, fcmov(cpu, u, 2))
X87_HANDLER(fcmove, fcmov(cpu, u, 4))
X87_HANDLER(fcmovbe, fcmov(cpu, u, 6))
X87_HANDLER(fcmovu, fcmov(cpu, u, 10))
X87_HANDLER(fcmovnb, fcmov(cpu, u, 3))
X87_HANDLER(fcmovne, fcmov(cpu, u, 5))
X87_HANDLER(fcmovnbe, fcmov(cpu, u, 7))
X87_HANDLER(fcmovnu, fcmov(cpu, u, 11))
