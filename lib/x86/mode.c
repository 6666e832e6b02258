/* What follows from the architectural state: the mode word, masks, the TLB bank. */
#include "x86/sysint.h"

/* Base 0, 4 GiB, present and expand-up, and of this access kind. */
static bool is_flat(const struct x86_seg *s, bool write)
{
    return s->base == 0 && s->limit == UINT32_MAX && (write ? s->wr_fast : s->rd_fast);
}

static bool all_flat(const struct x86_cpu *cpu)
{
    return is_flat(&cpu->seg[X86_CS], false) && is_flat(&cpu->seg[X86_DS], true) &&
           is_flat(&cpu->seg[X86_ES], true) && is_flat(&cpu->seg[X86_SS], true);
}

static uint16_t mode_word(const struct x86_cpu *cpu)
{
    const struct x86_seg *cs = &cpu->seg[X86_CS];
    unsigned m = (unsigned)cpu->cpl << X86_MODE_CPL_SHIFT;

    if (cpu->long_mode) {
        if (cs->ar & X86_AR_L)
            return (uint16_t)(m | X86_MODE_WORD64);
        m |= X86_MODE_LM;
    }
    if (!(cpu->cr0 & X86_CR0_PE))
        m |= X86_MODE_REAL;
    else if (cpu->eflags & X86_FL_VM)
        m |= X86_MODE_V86;
    if (cs->ar & X86_AR_DB)
        m |= X86_MODE_32;
    if (cpu->seg[X86_SS].ar & X86_AR_DB)
        m |= X86_MODE_SS32;
    if (all_flat(cpu))
        m |= X86_MODE_FLAT;
    return (uint16_t)m;
}

void x86_mode_update(struct x86_cpu *cpu)
{
    cpu->mode = mode_word(cpu);
    cpu->lin_mask = cpu->mode & X86_MODE_64 ? ~UINT64_C(0) : UINT32_MAX;
}

void x86_enter_long64(struct x86_cpu *cpu, unsigned cpl)
{
    cpu->mode = (uint16_t)(X86_MODE_WORD64 | cpl << X86_MODE_CPL_SHIFT);
    cpu->lin_mask = ~UINT64_C(0);
    cpu->cpl = (uint8_t)cpl;
    x86_tlb_select_bank(cpu);
}

void x86_seg_refresh(struct x86_cpu *cpu, struct x86_seg *s)
{
    bool there = !(s->ar & X86_AR_UNUSABLE) && s->ar & X86_AR_P && s->ar & X86_AR_S;
    (void)cpu;
    if (s->ar & X86_AR_CODE) {
        s->rd_fast = there && s->ar & X86_AR_WR;
        s->wr_fast = false;
    } else {
        s->rd_fast = there && !(s->ar & X86_AR_EC);
        s->wr_fast = s->rd_fast && s->ar & X86_AR_WR;
    }
}

/* Which kinds of breakpoint are on, in one DR7: SDM Vol.3B 17.2.4 */
static void find_breakpoints(struct x86_cpu *cpu, uint64_t dr7)
{
    for (unsigned i = 0; i < 4; i++) {
        if (!(dr7 >> (2 * i) & 3))
            continue;
        if ((dr7 >> (16 + 4 * i) & 3) == 0)
            cpu->code_bp = true;
        else
            cpu->data_bp = true;
    }
}

void x86_mode_refresh(struct x86_cpu *cpu)
{
    cpu->paging = cpu->cr0 & X86_CR0_PG;
    cpu->pae = cpu->cr4 & X86_CR4_PAE;
    cpu->long_mode = cpu->efer & X86_EFER_LMA;
    if (!(cpu->cr0 & X86_CR0_PE))
        cpu->cpl = 0;
    else if (cpu->eflags & X86_FL_VM)
        cpu->cpl = 3;
    for (unsigned i = 0; i < X86_NSEG; i++)
        x86_seg_refresh(cpu, &cpu->seg[i]);
    x86_mode_update(cpu);

    bool had_data_bp = cpu->data_bp;
    cpu->data_bp = cpu->code_bp = false;
    find_breakpoints(cpu, cpu->dr7);
    find_breakpoints(cpu, cpu->host_dr7);
    if (cpu->data_bp || had_data_bp)
        x86_tlb_flush(cpu); /* pages with data breakpoints carry no tags */
    x86_tlb_select_bank(cpu);
}

void x86_set_cpl(struct x86_cpu *cpu, unsigned cpl)
{
    cpu->cpl = (uint8_t)cpl;
    x86_mode_update(cpu);
    x86_tlb_select_bank(cpu);
}
