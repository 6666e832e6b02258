/* One instruction: what single-stepping, exact budgets and the hardware backends' emulation use. */
#include "x86/fetch.h"
#include "x86/handlers.h"
#include "x86/sys.h"

void x86_step(struct x86_cpu *cpu)
{
    struct x86_fetched f;
    struct x86_uop u[3];

    cpu->leave = X86_LEAVE_LOOKUP;
    if (x86_fetch(cpu, &f) != X86_OK)
        return;
    cpu->r[X86_RIPBASE] = cpu->rip;
    x86_lower(cpu, &f.in, 0, &u[0]);
    if (f.decode == X86_DECODE_UD)
        u[0].fn = x86_op_ud;
    else if (f.decode == X86_DECODE_TOO_LONG)
        u[0].fn = x86_op_too_long;
    u[1] = (struct x86_uop){.fn = x86_op_end, .ip = (uint16_t)f.in.length};

    /* A kept block could be linked to this throw-away uop, or it to a block: neither may happen. */
    struct x86_uop *(*link)(struct x86_cpu *, struct x86_uop *) = cpu->link;
    struct x86_jump *jc = cpu->jc;
    cpu->link = NULL;
    cpu->jc = NULL;
    cpu->left -= 1;
    x86_run_uops(cpu, u);
    x86_fp_sync(cpu);
    cpu->link = link;
    cpu->jc = jc;
}
