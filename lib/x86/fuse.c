/* Which instructions are fused with a following Jcc; the handlers stand in fuse_*.c. */
#include "x86/fuse_forms.h"

struct x86_uop *x86_fuse_apart(struct x86_cpu *cpu, struct x86_uop *u)
{
    const struct x86_row *row = &x86_rows[u->row];
    unsigned form =
        u->aux & X86_AUX_MEM ? X86_FORM_SEG : X86_FORM_REG; /* SEG does FLAT's work too */
    return row->handlers[form * 4 + (u->aux & X86_AUX_SIZE)](cpu, u);
}

static x86_handler *find(const struct x86_fused *f, x86_handler *fn, unsigned cond)
{
    for (; f->plain; f++) {
        if (f->plain[f->index] == fn)
            return f->fused[cond];
    }
    return NULL;
}

x86_handler *x86_fuse(const struct x86_uop *first, const struct x86_row *row1, unsigned cond)
{
    if (!(row1->attr & X86_A_CC))
        return NULL;
    if (first->aux & X86_AUX_MEM)
        return find(x86_fused_memory, first->fn, cond);
    x86_handler *h = find(x86_fused_compare, first->fn, cond);
    return h ? h : find(x86_fused_result, first->fn, cond);
}
