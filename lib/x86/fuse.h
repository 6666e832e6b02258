/* Pairs of instructions that are executed as one. */
#ifndef X86_FUSE_H
#define X86_FUSE_H

#include "x86/insn.h"

/* The handler that performs `first` (an instruction of row1) and the conditional jump that follows
 * it, or NULL. The jump's own uop stays behind it and holds its target. */
x86_handler *x86_fuse(const struct x86_uop *first, const struct x86_row *row1, unsigned cond);

#endif
