/* Pairs of instructions that are executed as one. */
#include "x86/fuse.h"

x86_handler *x86_fuse(const struct x86_uop *first, const struct x86_row *row1, unsigned cond)
{
    (void)first;
    (void)row1;
    (void)cond;
    return NULL; /* none yet: every instruction runs on its own */
}
