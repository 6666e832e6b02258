/* Branches whose target block is not known yet. */
#include "x86/branch.h"

struct x86_uop *x86_jump_unlinked(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (cpu->link)
        return cpu->link(cpu, u);
    cpu->left += u->rem - 1;
    return x86_jump_lookup(cpu, x86_branch_target(cpu, u));
}

struct x86_uop *x86_jump_lookup(struct x86_cpu *cpu, uint64_t rip)
{
    cpu->rip = rip;
    cpu->leave = X86_LEAVE_LOOKUP;
    return NULL;
}
