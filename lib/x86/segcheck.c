/* Segment limit and type checks of data accesses, where the inline check did not suffice (SDM
 * Vol.3A 5.3, 5.5). */
#include "x86/mem.h"

static bool type_allows(uint32_t ar, bool write)
{
    if (ar & X86_AR_UNUSABLE || !(ar & X86_AR_P) || !(ar & X86_AR_S))
        return false;
    if (ar & X86_AR_CODE)
        return !write && ar & X86_AR_WR; /* the bit means "readable" here */
    return !write || ar & X86_AR_WR;
}

static bool limit_allows(const struct x86_seg *s, uint64_t off, unsigned size)
{
    if ((s->ar & (X86_AR_CODE | X86_AR_EC)) == X86_AR_EC) { /* expand-down data */
        uint64_t top = s->ar & X86_AR_DB ? UINT32_MAX : UINT16_MAX;
        return off > s->limit && off <= top && size - 1 <= top - off;
    }
    return off <= s->limit && size - 1 <= s->limit - off;
}

bool x86_seg_check_slow(struct x86_cpu *cpu, unsigned seg, uint64_t off, unsigned size, bool write)
{
    const struct x86_seg *s = &cpu->seg[seg];
    /* Real-address and virtual-8086 mode know limits only: SDM Vol.3A 21.1.1, 21.2.1. */
    if ((!x86_protected(cpu) || type_allows(s->ar, write)) && limit_allows(s, off, size))
        return true;
    x86_fault_err(cpu, seg == X86_SS ? X86_STK : X86_GP, 0);
    return false;
}
