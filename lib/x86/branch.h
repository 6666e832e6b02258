/*
 * Ends of near-branch handlers. The instruction is complete but for rip: all checks have been made.
 *
 *   return x86_jump_direct(cpu, u)          static target held by the uop
 *   return x86_jump_indirect(cpu, u, rip)   computed target (RET, JMP/CALL through register or
 * memory)
 *
 * Where blocks are kept (the soft backend) both continue in the target block without leaving; a
 * single-stepped instruction has no links and leaves.
 */
#ifndef X86_BRANCH_H
#define X86_BRANCH_H

#include "x86/mem.h"
#include "x86/uop.h"

/* Target of a direct branch; `scale` holds what did not fit disp. */
static inline uint64_t x86_branch_target(const struct x86_cpu *cpu, const struct x86_uop *u)
{
    uint64_t carry = (uint64_t)(int64_t)(int8_t)u->scale << 32;
    return (cpu->r[X86_RIPBASE] + (uint64_t)(int64_t)u->disp + carry) & x86_ip_mask(cpu);
}

struct x86_uop *x86_jump_unlinked(struct x86_cpu *cpu, struct x86_uop *u);
struct x86_uop *x86_jump_lookup(struct x86_cpu *cpu, uint64_t rip);

X86_INLINE struct x86_uop *x86_jump_direct(struct x86_cpu *cpu, struct x86_uop *u)
{
    struct x86_uop *t = u->link;
    if (X86_UNLIKELY(!t))
        return x86_jump_unlinked(cpu, u);
    cpu->left += u->rem - 1;
    X86_JUMP(cpu, t);
}

X86_INLINE unsigned x86_jc_hash(uint64_t rip)
{
    return (unsigned)(rip ^ rip >> X86_JC_BITS) & (X86_JC_SIZE - 1);
}

X86_INLINE struct x86_uop *x86_jump_indirect(struct x86_cpu *cpu, struct x86_uop *u, uint64_t rip)
{
    cpu->left += u->rem - 1;
    if (X86_LIKELY(cpu->jc != NULL)) {
        struct x86_jump *j = &cpu->jc[x86_jc_hash(rip)];
        if (X86_LIKELY(j->key == X86_JC_KEY(rip) && j->head->row == cpu->mode))
            X86_JUMP(cpu, j->head);
    }
    return x86_jump_lookup(cpu, rip);
}

/* May rip be set to this value? 64-bit mode: canonical; elsewhere the CS limit (flat code has
 * none). The handler raises #GP(0) when not. */
X86_INLINE bool x86_target_ok(const struct x86_cpu *cpu, uint64_t rip)
{
    if (X86_LIKELY(cpu->mode & X86_MODE_64))
        return (uint64_t)((int64_t)(rip << 16) >> 16) == rip;
    return X86_LIKELY(cpu->mode & X86_MODE_FLAT) || rip <= cpu->seg[X86_CS].limit;
}

#endif
