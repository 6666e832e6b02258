/*
 * Near transfers: Jcc JMP CALL RET LOOP JCXZ.
 *
 * A direct branch whose link is set needs no look at its target: only targets that have passed the
 * checks in a flat mode are ever linked, and the mode is part of a block's identity. All else goes
 * through x86_take_unlinked().
 */
#include "x86/exec_branch.h"
#include "x86/forms.h"
#include "x86/stack.h"

/* The next rip truncates to the operand size, not to the mode (SDM Vol.2A JMP). */
static uint64_t truncate_ip(uint64_t ip, const struct x86_uop *u)
{
    unsigned size = u->aux & X86_AUX_SIZE;
    return size == 1 ? (uint16_t)ip : size == 2 ? (uint32_t)ip : ip;
}

static uint64_t direct_target(const struct x86_cpu *cpu, const struct x86_uop *u)
{
    uint64_t carry = (uint64_t)(int64_t)(int8_t)u->scale << 32;
    return truncate_ip(cpu->r[X86_RIPBASE] + (uint64_t)(int64_t)u->disp + carry, u);
}

/* The instruction is complete but for rip; a callback may have asked to leave. */
static struct x86_uop *go(struct x86_cpu *cpu, struct x86_uop *u, uint64_t target)
{
    if (X86_UNLIKELY(cpu->resync)) {
        if (!cpu->rip_set)
            cpu->rip = target;
        return x86_leave_to(cpu, u);
    }
    return x86_jump_indirect(cpu, u, target);
}

static struct x86_uop *go_direct(struct x86_cpu *cpu, struct x86_uop *u, uint64_t target)
{
    static const uint8_t native[4] = {1, 2, 3, 3};
    bool linkable =
        cpu->mode & X86_MODE_FLAT && (u->aux & X86_AUX_SIZE) == native[cpu->mode & X86_MODE_SIZE];
    if (linkable && !cpu->resync)
        return x86_jump_direct(cpu, u);
    return go(cpu, u, target);
}

struct x86_uop *x86_take_unlinked(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t target = direct_target(cpu, u);
    if (!x86_target_ok(cpu, target))
        return x86_raise_err(cpu, u, X86_GP, 0);
    return go_direct(cpu, u, target);
}

#define JCC(cond)                                                             \
    static struct x86_uop *jcc_##cond(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                         \
        if (x86_cond(cpu->cc, cond))                                          \
            return x86_take(cpu, u);                                          \
        X86_NEXT(cpu, u);                                                     \
    }                                                                         \
    x86_handler *const x86_t_JCC_##cond[1] = {jcc_##cond};
JCC(0)
JCC(1)
JCC(2)
JCC(3)
JCC(4)
JCC(5)
JCC(6)
JCC(7)
JCC(8)
JCC(9)
JCC(10)
JCC(11)
JCC(12)
JCC(13)
JCC(14)
JCC(15)

static struct x86_uop *jmp_J(struct x86_cpu *cpu, struct x86_uop *u)
{
    return x86_take(cpu, u);
}
x86_handler *const x86_t_JMP_J[1] = {jmp_J};

/* --- LOOPNE LOOPE LOOP JrCXZ: the counter has address size --- */

static uint64_t counter(const struct x86_cpu *cpu, const struct x86_uop *u)
{
    unsigned a = u->aux & X86_AUX_ASIZE;
    return a == X86_AUX_A16   ? (uint16_t)cpu->r[X86_RCX]
           : a == X86_AUX_A32 ? (uint32_t)cpu->r[X86_RCX]
                              : cpu->r[X86_RCX];
}

/* want: 0 LOOPNE, 1 LOOPE, 2 LOOP. The target is checked before rCX changes. */
static struct x86_uop *loop(struct x86_cpu *cpu, struct x86_uop *u, unsigned want)
{
    uint64_t n = counter(cpu, u) - 1;
    unsigned a = u->aux & X86_AUX_ASIZE;
    bool zf = cpu->cc & X86_CC_ZF;
    if (a == X86_AUX_A16)
        n = (uint16_t)n;
    else if (a == X86_AUX_A32)
        n = (uint32_t)n;
    bool taken = n && (want == 2 || zf == want);
    if (taken && !u->link && !x86_target_ok(cpu, direct_target(cpu, u)))
        return x86_raise_err(cpu, u, X86_GP, 0);
    x86_write_gpr(cpu, X86_RCX, n, a == X86_AUX_A16 ? 2 : a == X86_AUX_A32 ? 4 : 8);
    if (taken)
        return x86_take(cpu, u);
    X86_NEXT(cpu, u);
}
static struct x86_uop *loopne(struct x86_cpu *cpu, struct x86_uop *u)
{
    return loop(cpu, u, 0);
}
static struct x86_uop *loope(struct x86_cpu *cpu, struct x86_uop *u)
{
    return loop(cpu, u, 1);
}
static struct x86_uop *loop_always(struct x86_cpu *cpu, struct x86_uop *u)
{
    return loop(cpu, u, 2);
}
static struct x86_uop *jcxz(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!counter(cpu, u))
        return x86_take(cpu, u);
    X86_NEXT(cpu, u);
}
x86_handler *const x86_t_LOOPNE[1] = {loopne};
x86_handler *const x86_t_LOOPE[1] = {loope};
x86_handler *const x86_t_LOOP[1] = {loop_always};
x86_handler *const x86_t_JCXZ[1] = {jcxz};

/* --- CALL --- */

static struct x86_uop *call_J(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t target = direct_target(cpu, u);
    if (!x86_target_ok(cpu, target))
        return x86_raise_err(cpu, u, X86_GP, 0);
    if (!x86_push(cpu, u, x86_next_rip(cpu, u), x86_uop_bytes(u)))
        return x86_leave(cpu, u);
    return go_direct(cpu, u, target);
}
static struct x86_uop *call_J_64(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t lin = cpu->r[X86_RSP] - 8;
    uintptr_t p;
    if (X86_UNLIKELY(!u->link) || !x86_wr_hit(cpu, lin, 8, &p))
        return call_J(cpu, u);
    x86_raw_st64(p, x86_next_rip(cpu, u));
    cpu->r[X86_RSP] = lin;
    return x86_jump_direct(cpu, u);
}
x86_handler *const x86_t_CALL_J[4] = {NULL, call_J, call_J, call_J_64};

static struct x86_uop *call_E(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned size = x86_uop_bytes(u);
    if (!x86_read_E(cpu, u, size))
        return x86_leave(cpu, u);
    uint64_t target = cpu->tmp;
    if (!x86_target_ok(cpu, target))
        return x86_raise_err(cpu, u, X86_GP, 0);
    if (!x86_push(cpu, u, x86_next_rip(cpu, u), size))
        return x86_leave(cpu, u);
    return go(cpu, u, target);
}

X86_INLINE struct x86_uop *call_64(struct x86_cpu *cpu, struct x86_uop *u, uint64_t target)
{
    uint64_t lin = cpu->r[X86_RSP] - 8;
    uintptr_t p;
    if (X86_UNLIKELY(!x86_target_ok(cpu, target)) || !x86_wr_hit(cpu, lin, 8, &p))
        return call_E(cpu, u);
    x86_raw_st64(p, x86_next_rip(cpu, u));
    cpu->r[X86_RSP] = lin;
    return x86_jump_indirect(cpu, u, target);
}
static struct x86_uop *call_E_64_reg(struct x86_cpu *cpu, struct x86_uop *u)
{
    return call_64(cpu, u, cpu->r[u->rm]);
}
static struct x86_uop *call_E_64_flat(struct x86_cpu *cpu, struct x86_uop *u)
{
    uintptr_t p = x86_rd_fast(cpu, x86_ea_flat(cpu, u), 8);
    return p ? call_64(cpu, u, x86_raw_ld64(p)) : call_E(cpu, u);
}
x86_handler *const x86_t_CALL_E[16] = {
    NULL, call_E, call_E, call_E_64_reg, NULL, call_E, call_E, call_E_64_flat,
    NULL, call_E, call_E, call_E,        NULL, call_E, call_E, call_E_64_flat,
};

/* --- JMP through register or memory --- */

static struct x86_uop *jmp_E(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!x86_read_E(cpu, u, x86_uop_bytes(u)))
        return x86_leave(cpu, u);
    uint64_t target = cpu->tmp;
    if (!x86_target_ok(cpu, target))
        return x86_raise_err(cpu, u, X86_GP, 0);
    return go(cpu, u, target);
}
static struct x86_uop *jmp_E_64_reg(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t target = cpu->r[u->rm];
    if (X86_UNLIKELY(!x86_target_ok(cpu, target)))
        return jmp_E(cpu, u);
    return x86_jump_indirect(cpu, u, target);
}
static struct x86_uop *jmp_E_64_flat(struct x86_cpu *cpu, struct x86_uop *u)
{
    uintptr_t p;
    if (!x86_rd_hit(cpu, x86_ea_flat(cpu, u), 8, &p))
        return jmp_E(cpu, u);
    uint64_t target = x86_raw_ld64(p);
    if (X86_UNLIKELY(!x86_target_ok(cpu, target)))
        return jmp_E(cpu, u);
    return x86_jump_indirect(cpu, u, target);
}
x86_handler *const x86_t_JMP_E[16] = {
    NULL, jmp_E, jmp_E, jmp_E_64_reg, NULL, jmp_E, jmp_E, jmp_E_64_flat,
    NULL, jmp_E, jmp_E, jmp_E,        NULL, jmp_E, jmp_E, jmp_E_64_flat,
};

/* --- RET, RET imm16 (imm is 0 for the former) --- */

static struct x86_uop *ret(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned size = x86_uop_bytes(u);
    uint64_t sp = cpu->r[X86_RSP];
    if (!x86_stack_ld(cpu, u, sp, size))
        return x86_leave(cpu, u);
    uint64_t target = cpu->tmp;
    if (!x86_target_ok(cpu, target))
        return x86_raise_err(cpu, u, X86_GP, 0);
    x86_set_sp(cpu, sp + size + u->imm);
    return go(cpu, u, target);
}
static struct x86_uop *ret_64(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t sp = cpu->r[X86_RSP];
    uintptr_t p;
    if (!x86_rd_hit(cpu, sp, 8, &p))
        return ret(cpu, u);
    uint64_t target = x86_raw_ld64(p);
    if (X86_UNLIKELY(!x86_target_ok(cpu, target)))
        return ret(cpu, u);
    cpu->r[X86_RSP] = sp + 8 + u->imm;
    return x86_jump_indirect(cpu, u, target);
}
x86_handler *const x86_t_RET[4] = {NULL, ret, ret, ret_64};
