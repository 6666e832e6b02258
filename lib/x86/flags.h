/* The arithmetic flags: from and to RFLAGS, conditions, and capture of the host's flags. */
#ifndef X86_FLAGS_H
#define X86_FLAGS_H

#include "x86/cpu.h"

/* cc holds AH of LAHF in its high and OF in its low byte. */
static inline uint32_t x86_cc_to_flags(x86_cc cc)
{
    return (cc >> 8 & 0xd5u) | (cc & 1u) << 11;
}
static inline x86_cc x86_flags_to_cc(uint32_t fl)
{
    return (x86_cc)((fl & 0xd5u) << 8 | (fl >> 11 & 1u));
}
/* The whole RFLAGS register. */
static inline uint32_t x86_get_flags(const struct x86_cpu *cpu)
{
    return cpu->eflags | x86_cc_to_flags(cpu->cc) | X86_FL_ONE;
}
static inline void x86_set_flags(struct x86_cpu *cpu, uint32_t fl)
{
    cpu->cc = x86_flags_to_cc(fl);
    cpu->eflags = fl & X86_FL_ALL & ~(X86_FL_ARITH | X86_FL_ONE);
}

static inline bool x86_cf(const struct x86_cpu *cpu)
{
    return cpu->cc & X86_CC_CF;
}

/* Condition codes of Jcc/SETcc/CMOVcc, SDM Vol.1 B.1. cond is a constant wherever speed matters. */
static inline bool x86_cond(x86_cc cc, unsigned cond)
{
    bool r;
    switch (cond >> 1) {
    case 0:
        r = cc & X86_CC_OF;
        break;
    case 1:
        r = cc & X86_CC_CF;
        break;
    case 2:
        r = cc & X86_CC_ZF;
        break;
    case 3:
        r = cc & (X86_CC_CF | X86_CC_ZF);
        break;
    case 4:
        r = cc & X86_CC_SF;
        break;
    case 5:
        r = cc & X86_CC_PF;
        break;
    case 6:
        r = (cc >> 15 ^ cc) & 1;
        break;
    default:
        r = ((cc >> 15 ^ cc) & 1) | (cc & X86_CC_ZF);
        break;
    }
    return r ^ (cond & 1);
}

#endif
