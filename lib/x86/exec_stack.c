/* PUSH and POP of registers, memory and immediates; PUSHA POPA ENTER LEAVE. PUSHF and POPF stand in
 * exec_flags.c. */
#include "x86/forms.h"
#include "x86/stack.h"

/* --- 64-bit mode: no segmentation, 8 bytes --- */

X86_COLD struct x86_uop *push_cold(struct x86_cpu *cpu, struct x86_uop *u, uint64_t value)
{
    if (!x86_push(cpu, u, value, x86_uop_bytes(u)))
        return x86_leave(cpu, u);
    X86_NEXT_IO(cpu, u);
}

X86_INLINE struct x86_uop *push64(struct x86_cpu *cpu, struct x86_uop *u, uint64_t value)
{
    uint64_t lin = cpu->r[X86_RSP] - 8;
    uintptr_t p;
    if (!x86_wr_hit(cpu, lin, 8, &p))
        return push_cold(cpu, u, value);
    x86_raw_st64(p, value);
    cpu->r[X86_RSP] = lin;
    X86_NEXT(cpu, u);
}
static struct x86_uop *push_Z_64(struct x86_cpu *cpu, struct x86_uop *u)
{
    return push64(cpu, u, cpu->r[u->reg]);
}
static struct x86_uop *push_I_64(struct x86_cpu *cpu, struct x86_uop *u)
{
    return push64(cpu, u, u->imm);
}

X86_COLD struct x86_uop *pop_Z_cold(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned size = x86_uop_bytes(u);
    if (!x86_pop(cpu, u, size))
        return x86_leave(cpu, u);
    x86_write_gpr(cpu, u->reg, cpu->tmp, size); /* POP rSP: the popped value stays */
    X86_NEXT_IO(cpu, u);
}
static struct x86_uop *pop_Z_64(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t lin = cpu->r[X86_RSP];
    uintptr_t p;
    if (!x86_rd_hit(cpu, lin, 8, &p))
        return pop_Z_cold(cpu, u);
    cpu->r[X86_RSP] = lin + 8;
    cpu->r[u->reg] = x86_raw_ld64(p);
    X86_NEXT(cpu, u);
}

/* --- 16 and 32 bits --- */

static struct x86_uop *push_Z_16(struct x86_cpu *cpu, struct x86_uop *u)
{
    return push_cold(cpu, u, cpu->r[u->reg]);
}
static struct x86_uop *push_I_16(struct x86_cpu *cpu, struct x86_uop *u)
{
    return push_cold(cpu, u, u->imm);
}
static struct x86_uop *push_Z_32(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t off = (cpu->r[X86_RSP] - 4) & x86_sp_mask(cpu), lin;
    uintptr_t p;
    if (!x86_fast_lin(cpu, X86_SS, off, 4, true, &lin) || !x86_wr_hit(cpu, lin, 4, &p))
        return push_cold(cpu, u, cpu->r[u->reg]);
    x86_raw_st32(p, (uint32_t)cpu->r[u->reg]);
    x86_set_sp(cpu, off);
    X86_NEXT(cpu, u);
}
static struct x86_uop *pop_Z_32(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t off = cpu->r[X86_RSP] & x86_sp_mask(cpu), lin;
    uintptr_t p;
    if (!x86_fast_lin(cpu, X86_SS, off, 4, false, &lin) || !x86_rd_hit(cpu, lin, 4, &p))
        return pop_Z_cold(cpu, u);
    x86_set_sp(cpu, off + 4);
    cpu->r[u->reg] = x86_raw_ld32(p);
    X86_NEXT(cpu, u);
}

x86_handler *const x86_t_PUSH_Z[4] = {NULL, push_Z_16, push_Z_32, push_Z_64};
x86_handler *const x86_t_PUSH_I[4] = {NULL, push_I_16, push_I_16, push_I_64};
x86_handler *const x86_t_POP_Z[4] = {NULL, pop_Z_cold, pop_Z_32, pop_Z_64};

/* --- memory operands --- */

static struct x86_uop *push_E(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned size = x86_uop_bytes(u);
    if (!x86_read_E(cpu, u, size) || !x86_push(cpu, u, cpu->tmp, size))
        return x86_leave(cpu, u);
    X86_NEXT_IO(cpu, u);
}

/* rSP as a base of the destination is the incremented one (SDM Vol.2B POP). */
static struct x86_uop *pop_E(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned size = x86_uop_bytes(u);
    uint64_t sp = cpu->r[X86_RSP];
    if (!x86_pop(cpu, u, size))
        return x86_leave(cpu, u);
    if (!x86_write_E(cpu, u, cpu->tmp, size)) {
        cpu->r[X86_RSP] = sp;
        return x86_leave(cpu, u);
    }
    X86_NEXT_IO(cpu, u);
}
x86_handler *const x86_t_PUSH_E[1] = {push_E};
x86_handler *const x86_t_POP_E[1] = {pop_E};

/* PUSHA, POPA. The order of accesses is that of single pushes; nothing counts before the last one
 * succeeded. */
static struct x86_uop *pusha(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned size = x86_uop_bytes(u);
    uint64_t sp = cpu->r[X86_RSP];
    uint64_t low = (sp - 8 * size) & x86_sp_mask(cpu), lin;
    /* Rights of both ends first: then only devices can still interrupt us, and those replay. */
    for (unsigned i = 0; i < 2; i++) {
        uint64_t end = i ? low : (sp - size) & x86_sp_mask(cpu);
        if (!x86_seg_lin(cpu, X86_SS, end, size, true, &lin) || !x86_probe_write(cpu, u, lin, size))
            return x86_leave(cpu, u);
    }
    for (unsigned i = 0; i < 8; i++) {
        sp -= size;
        if (!x86_stack_st(cpu, u, sp, cpu->r[i], size))
            return x86_leave(cpu, u);
    }
    x86_set_sp(cpu, low);
    X86_NEXT_IO(cpu, u);
}

static struct x86_uop *popa(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned size = x86_uop_bytes(u);
    uint64_t sp = cpu->r[X86_RSP], v[8];
    for (unsigned i = 0; i < 8; i++) {
        if (i == 3) /* rSP's image is skipped, not read */
            continue;
        if (!x86_stack_ld(cpu, u, sp + i * size, size))
            return x86_leave(cpu, u);
        v[7 - i] = cpu->tmp;
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i != X86_RSP)
            x86_write_gpr(cpu, i, v[i], size);
    }
    x86_set_sp(cpu, sp + 8 * size);
    X86_NEXT_IO(cpu, u);
}
x86_handler *const x86_t_PUSHA[1] = {pusha};
x86_handler *const x86_t_POPA[1] = {popa};

/* ENTER: imm is the frame size, disp the nesting level (SDM Vol.2A). */
static struct x86_uop *enter(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned size = x86_uop_bytes(u), level = (unsigned)u->disp & 31;
    uint64_t mask = x86_sp_mask(cpu), sp = cpu->r[X86_RSP] - size;
    uint64_t bp = cpu->r[X86_RBP], frame = sp, lin;

    if (!x86_stack_st(cpu, u, sp, bp, size))
        return x86_leave(cpu, u);
    for (unsigned i = 1; i < level; i++) {
        bp -= size;
        sp -= size;
        if (!x86_stack_ld(cpu, u, bp, size) || !x86_stack_st(cpu, u, sp, cpu->tmp, size))
            return x86_leave(cpu, u);
    }
    if (level) {
        sp -= size;
        if (!x86_stack_st(cpu, u, sp, frame, size))
            return x86_leave(cpu, u);
    }
    sp = (sp - u->imm) & mask;
    /* A write to the new top of the stack must be possible. */
    if (!x86_seg_lin(cpu, X86_SS, sp, size, true, &lin))
        return x86_leave(cpu, u);
    if (!x86_probe_write(cpu, u, lin, size)) {
        x86_stack_failed(cpu);
        return x86_leave(cpu, u);
    }
    x86_write_gpr(cpu, X86_RBP, frame, size);
    x86_set_sp(cpu, sp);
    X86_NEXT_IO(cpu, u);
}

/* rSP is taken from all of rBP that the stack size covers; the value popped has operand size. */
static struct x86_uop *leave(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned size = x86_uop_bytes(u);
    uint64_t bp = cpu->r[X86_RBP] & x86_sp_mask(cpu);
    if (!x86_stack_ld(cpu, u, bp, size))
        return x86_leave(cpu, u);
    x86_set_sp(cpu, bp + size);
    x86_write_gpr(cpu, X86_RBP, cpu->tmp, size);
    X86_NEXT_IO(cpu, u);
}
static struct x86_uop *leave_64(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t bp = cpu->r[X86_RBP];
    uintptr_t p;
    if (!x86_rd_hit(cpu, bp, 8, &p))
        return leave(cpu, u);
    cpu->r[X86_RSP] = bp + 8;
    cpu->r[X86_RBP] = x86_raw_ld64(p);
    X86_NEXT(cpu, u);
}
x86_handler *const x86_t_ENTER[1] = {enter};
x86_handler *const x86_t_LEAVE[4] = {NULL, leave, leave, leave_64};
