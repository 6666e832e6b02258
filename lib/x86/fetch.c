/* Instruction fetch for single instructions; blocks start from here too (their first instruction).
 */
#include "x86/fetch.h"

static enum x86_result code_page(struct x86_cpu *cpu, struct x86_fetched *f, unsigned i,
                                 uint64_t lin)
{
    enum x86_result r = x86_fetch_page(cpu, lin, &f->host[i], &f->gpa[i]);
    if (r == X86_OK && !f->host[i]) {
        cpu->tmp = f->gpa[i];
        cpu->leave = X86_LEAVE_EXIT;
        return X86_EXIT;
    }
    return r;
}

/* Bytes that may be fetched before CS's limit ends them (SDM Vol.3A 5.3); 64-bit mode has no limit.
 */
static unsigned limit_bytes(const struct x86_cpu *cpu)
{
    if (cpu->mode & X86_MODE_64)
        return 15;
    const struct x86_seg *cs = &cpu->seg[X86_CS];
    if (cpu->rip > cs->limit)
        return 0;
    uint64_t room = (uint64_t)cs->limit - cpu->rip + 1;
    return room < 15 ? (unsigned)room : 15;
}

enum x86_result x86_fetch(struct x86_cpu *cpu, struct x86_fetched *f)
{
    uint64_t base = cpu->mode & X86_MODE_64 ? 0 : cpu->seg[X86_CS].base;
    uint64_t lin = (base + cpu->rip) & cpu->lin_mask;
    unsigned limit = limit_bytes(cpu), first = 0x1000 - (unsigned)(lin & X86_PAGE_MASK);

    f->crosses = false;
    if (limit == 0)
        return x86_fault_err(cpu, X86_GP, 0);
    enum x86_result r = code_page(cpu, f, 0, lin);
    if (r != X86_OK)
        return r;
    if (first > limit)
        first = limit;
    for (unsigned i = 0; i < first; i++)
        f->bytes[i] = x86_raw_ld8((uintptr_t)f->host[0] + i);
    f->decode = x86_decode(f->bytes, first, cpu->mode, cpu->feat, &f->in);
    if (f->decode != X86_DECODE_MORE)
        return X86_OK;
    if (first == limit)
        return x86_fault_err(cpu, X86_GP, 0); /* the limit ends inside the instruction */
    r = code_page(cpu, f, 1, (lin + first) & cpu->lin_mask);
    if (r != X86_OK)
        return r;
    f->crosses = true;
    for (unsigned i = first; i < limit; i++)
        f->bytes[i] = x86_raw_ld8((uintptr_t)f->host[1] + i - first);
    f->decode = x86_decode(f->bytes, limit, cpu->mode, cpu->feat, &f->in);
    return f->decode == X86_DECODE_MORE ? x86_fault_err(cpu, X86_GP, 0) : X86_OK;
}
