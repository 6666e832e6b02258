/* Decimal adjustments, outside 64-bit mode only (SDM Vol.2A: the pseudo code of each). Undefined
 * flags stay, but for those that come with SF ZF PF. */
#include "x86/alu.h"
#include "x86/forms.h"
#include "x86/handlers.h"

#define DEFINE_ONE(NAME, fn) x86_handler *const x86_t_##NAME[1] = {fn};

/* SF ZF PF of AL, AF and CF as said */
static void al_flags(struct x86_cpu *cpu, bool af, bool cf)
{
    x86_cc cc = 0;
    x86_test8((uint8_t)cpu->r[X86_RAX], 0xff, &cc);
    cc &= (x86_cc) ~(X86_CC_AF | X86_CC_CF | X86_CC_OF);
    cpu->cc = (x86_cc)(cc | (cpu->cc & X86_CC_OF) | (af ? X86_CC_AF : 0) | (cf ? X86_CC_CF : 0));
}

static struct x86_uop *decimal(struct x86_cpu *cpu, struct x86_uop *u, bool sub)
{
    uint8_t old = (uint8_t)cpu->r[X86_RAX], al = old;
    bool old_cf = cpu->cc & X86_CC_CF, af = (old & 15) > 9 || cpu->cc & X86_CC_AF, cf = false;
    if (af) {
        cf = old_cf || (sub ? old < 6 : old > 0xf9);
        al = (uint8_t)(sub ? al - 6 : al + 6);
    }
    if (old > 0x99 || old_cf) {
        al = (uint8_t)(sub ? al - 0x60 : al + 0x60);
        cf = true;
    } else if (!sub) {
        cf = false;
    }
    X86_PUT8(cpu, 0, al);
    al_flags(cpu, af, cf);
    X86_NEXT(cpu, u);
}
static struct x86_uop *daa(struct x86_cpu *cpu, struct x86_uop *u)
{
    return decimal(cpu, u, false);
}
static struct x86_uop *das(struct x86_cpu *cpu, struct x86_uop *u)
{
    return decimal(cpu, u, true);
}
DEFINE_ONE(DAA, daa)
DEFINE_ONE(DAS, das)

static struct x86_uop *ascii(struct x86_cpu *cpu, struct x86_uop *u, bool sub)
{
    bool adjust = (cpu->r[X86_RAX] & 15) > 9 || cpu->cc & X86_CC_AF;
    uint16_t ax = (uint16_t)cpu->r[X86_RAX];
    if (adjust)
        ax = (uint16_t)(sub ? ax - 0x106 : ax + 0x106);
    X86_PUT16(cpu, X86_RAX, ax & 0xff0f);
    al_flags(cpu, adjust, adjust);
    X86_NEXT(cpu, u);
}
static struct x86_uop *aaa(struct x86_cpu *cpu, struct x86_uop *u)
{
    return ascii(cpu, u, false);
}
static struct x86_uop *aas(struct x86_cpu *cpu, struct x86_uop *u)
{
    return ascii(cpu, u, true);
}
DEFINE_ONE(AAA, aaa)
DEFINE_ONE(AAS, aas)

static struct x86_uop *aam(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint8_t al = (uint8_t)cpu->r[X86_RAX], base = (uint8_t)u->imm;
    if (!base)
        return x86_raise(cpu, u, X86_DE);
    X86_PUT16(cpu, X86_RAX, al / base << 8 | al % base);
    al_flags(cpu, false, false);
    X86_NEXT(cpu, u);
}
static struct x86_uop *aad(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned ax = (uint16_t)cpu->r[X86_RAX];
    X86_PUT16(cpu, X86_RAX, (ax + (ax >> 8) * (uint8_t)u->imm) & 0xff);
    al_flags(cpu, false, false);
    X86_NEXT(cpu, u);
}
DEFINE_ONE(AAM, aam)
DEFINE_ONE(AAD, aad)
