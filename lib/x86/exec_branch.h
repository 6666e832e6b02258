/* Taking a direct branch, for its own handler and for pairs fused with it. */
#ifndef X86_EXEC_BRANCH_H
#define X86_EXEC_BRANCH_H

#include "x86/branch.h"

/* Check the target, then go there; links the branch where blocks are kept. */
struct x86_uop *x86_take_unlinked(struct x86_cpu *cpu, struct x86_uop *u);

X86_INLINE struct x86_uop *x86_take(struct x86_cpu *cpu, struct x86_uop *u)
{
    struct x86_uop *t = u->link;
    if (X86_UNLIKELY(!t))
        return x86_take_unlinked(cpu, u);
    cpu->left += u->rem - 1;
    X86_JUMP(cpu, t);
}

#endif
