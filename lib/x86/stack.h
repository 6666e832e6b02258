/* Pieces of stack operations: stores and loads at an offset in SS, and the pointer itself. */
#ifndef X86_STACK_H
#define X86_STACK_H

#include "x86/mem.h"

/* size 2, 4, 8; false: leave, nothing has changed. A loaded value is in cpu->tmp. */
bool x86_stack_st(struct x86_cpu *cpu, struct x86_uop *u, uint64_t off, uint64_t value,
                  unsigned size);
bool x86_stack_ld(struct x86_cpu *cpu, struct x86_uop *u, uint64_t off, unsigned size);

/* A 16-bit stack pointer leaves the rest of rSP alone. */
X86_INLINE void x86_set_sp(struct x86_cpu *cpu, uint64_t sp)
{
    if (cpu->mode & X86_MODE_64)
        cpu->r[X86_RSP] = sp;
    else if (cpu->mode & X86_MODE_SS32)
        cpu->r[X86_RSP] = (uint32_t)sp;
    else
        *(uint16_t *)&cpu->r[X86_RSP] = (uint16_t)sp;
}

#endif
