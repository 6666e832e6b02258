/* Instructions on flags alone, and no-operations. PUSHF and POPF: SDM Vol.2B, Vol.3A 21.2.3 for
 * VME. */
#include "x86/forms.h"
#include "x86/sys.h"

static struct x86_uop *nop(struct x86_cpu *cpu, struct x86_uop *u)
{
    X86_NEXT(cpu, u);
}
x86_handler *const x86_t_NOP[1] = {nop};

#define FLAG_OP(name, NAME, statement)                                  \
    static struct x86_uop *name(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                   \
        statement;                                                      \
        X86_NEXT(cpu, u);                                               \
    }                                                                   \
    x86_handler *const x86_t_##NAME[1] = {name};

FLAG_OP(clc, CLC, cpu->cc &= (x86_cc)~X86_CC_CF)
FLAG_OP(stc, STC, cpu->cc |= X86_CC_CF)
FLAG_OP(cmc, CMC, cpu->cc ^= X86_CC_CF)
FLAG_OP(cld, CLD, cpu->eflags &= ~X86_FL_DF)
FLAG_OP(std, STD, cpu->eflags |= X86_FL_DF)
FLAG_OP(lahf, LAHF, X86_PUT8(cpu, 1, x86_get_flags(cpu)))
FLAG_OP(sahf, SAHF, cpu->cc = (x86_cc)((cpu->r[X86_RAX] & 0xd500) | (cpu->cc & X86_CC_OF)))
FLAG_OP(salc, SALC, X86_PUT8(cpu, 0, x86_cf(cpu) ? 0xff : 0))

/* --- PUSHF --- */

static bool v86_below_iopl3(const struct x86_cpu *cpu)
{
    return cpu->mode & X86_MODE_V86 && (cpu->eflags & X86_FL_IOPL) != X86_FL_IOPL;
}

/* VME shows the virtual interrupt flag where the real one would be, and IOPL 3. */
static uint32_t with_virtual_if(uint32_t fl)
{
    fl = (fl & ~X86_FL_IF) | X86_FL_IOPL;
    return fl & X86_FL_VIF ? fl | X86_FL_IF : fl;
}

static struct x86_uop *pushf(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned size = x86_uop_bytes(u);
    uint32_t fl = x86_get_flags(cpu);
    if (v86_below_iopl3(cpu)) {
        if (size != 2 || !(cpu->cr4 & X86_CR4_VME))
            return x86_raise_err(cpu, u, X86_GP, 0);
        fl = with_virtual_if(fl);
    }
    if (!x86_push(cpu, u, fl & ~(X86_FL_VM | X86_FL_RF), size))
        return x86_leave(cpu, u);
    X86_NEXT_IO(cpu, u);
}
x86_handler *const x86_t_PUSHF[1] = {pushf};

/* --- POPF --- */

/* Flags that POPF may write at this privilege. */
static uint32_t popf_mask(const struct x86_cpu *cpu, unsigned size)
{
    uint32_t m = X86_FL_ARITH | X86_FL_TF | X86_FL_DF | X86_FL_NT;
    unsigned iopl = cpu->eflags >> 12 & 3;
    if (size > 2)
        m |= X86_FL_AC | X86_FL_ID;
    if (cpu->cpl == 0)
        m |= X86_FL_IOPL;
    if (cpu->cpl <= iopl)
        m |= X86_FL_IF;
    return m;
}

/* V86 mode with VME and IOPL < 3, 16-bit operand: IF goes to VIF. False: #GP. */
static bool popf_vme(const struct x86_cpu *cpu, uint32_t v, uint32_t *out)
{
    uint32_t fl = x86_get_flags(cpu);
    if (v & X86_FL_TF || (fl & X86_FL_VIP && v & X86_FL_IF))
        return false;
    uint32_t m = X86_FL_ARITH | X86_FL_DF | X86_FL_NT;
    fl = (fl & ~(m | X86_FL_VIF)) | (v & m);
    *out = v & X86_FL_IF ? fl | X86_FL_VIF : fl;
    return true;
}

static struct x86_uop *popf(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned size = x86_uop_bytes(u);
    bool vme = v86_below_iopl3(cpu);
    uint64_t sp = cpu->r[X86_RSP];
    uint32_t fl = x86_get_flags(cpu), new;

    if (vme && (size != 2 || !(cpu->cr4 & X86_CR4_VME)))
        return x86_raise_err(cpu, u, X86_GP, 0);
    if (!x86_pop(cpu, u, size))
        return x86_leave(cpu, u);
    if (!vme) {
        uint32_t m = popf_mask(cpu, size);
        new = (fl & ~(m | X86_FL_RF)) | ((uint32_t)cpu->tmp & m);
    } else if (!popf_vme(cpu, (uint32_t)cpu->tmp, &new)) {
        cpu->r[X86_RSP] = sp;
        return x86_raise_err(cpu, u, X86_GP, 0);
    }
    x86_set_flags(cpu, new);
    if ((fl ^ new) & X86_FL_AC)
        x86_tlb_select_bank(cpu); /* SMAP override, alignment checks */
    if ((fl ^ new) & (X86_FL_AC | X86_FL_IF | X86_FL_TF | X86_FL_VIF))
        return x86_leave_next(cpu, u);
    X86_NEXT_IO(cpu, u);
}
x86_handler *const x86_t_POPF[1] = {popf};
