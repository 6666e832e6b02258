/* Handlers that are not reached through a row: block heads and ends, invalid instructions. */
#ifndef X86_HANDLERS_H
#define X86_HANDLERS_H

#include "x86/uop.h"

x86_handler x86_op_ud;       /* #UD */
x86_handler x86_op_too_long; /* #GP(0): more than 15 bytes */
x86_handler x86_op_end;      /* end of a block that was cut off: go on at this rip */
x86_handler x86_op_dead;     /* replaces every uop of a block whose code was overwritten */

#endif
