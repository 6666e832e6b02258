/* Far returns: RETF and IRET in all modes. SDM Vol.2 RET, IRET/IRETD/IRETQ; Vol.3A 5.8.6, 6.12.1.
 */
#include "x86/sysint.h"

/* Where a return goes. */
struct target {
    uint64_t rip, sp;
    uint16_t cs, ss;
    struct x86_desc cs_d, ss_d;
    bool pops_ss, ss_null;
};

static enum x86_result check_cs(struct x86_cpu *cpu, struct target *t)
{
    struct x86_desc *d = &t->cs_d;
    unsigned rpl = t->cs & 3;
    enum x86_result r;

    if (x86_sel_null(t->cs))
        return x86_fault_err(cpu, X86_GP, 0);
    r = x86_read_desc(cpu, t->cs, X86_GP, d);
    if (r != X86_OK)
        return r;
    unsigned dpl = x86_ar_dpl(d->ar);
    if (!x86_ar_code(d->ar) || rpl < cpu->cpl ||
        (x86_ar_conforming(d->ar) ? dpl > rpl : dpl != rpl))
        return x86_fault_sel(cpu, X86_GP, t->cs);
    if (cpu->long_mode && (d->ar & (X86_AR_L | X86_AR_DB)) == (X86_AR_L | X86_AR_DB))
        return x86_fault_sel(cpu, X86_GP, t->cs);
    if (!(d->ar & X86_AR_P))
        return x86_fault_sel(cpu, X86_NP, t->cs);
    return X86_OK;
}

static bool to_long64(const struct x86_cpu *cpu, const struct target *t)
{
    return cpu->long_mode && t->cs_d.ar & X86_AR_L;
}

static enum x86_result check_ss(struct x86_cpu *cpu, struct target *t)
{
    struct x86_desc *d = &t->ss_d;
    unsigned rpl = t->cs & 3;
    enum x86_result r;

    t->ss_null = x86_sel_null(t->ss);
    if (t->ss_null) /* only for 64-bit code above level 3 */
        return to_long64(cpu, t) && rpl != 3 ? X86_OK : x86_fault_err(cpu, X86_GP, 0);
    r = x86_read_desc(cpu, t->ss, X86_GP, d);
    if (r != X86_OK)
        return r;
    if ((t->ss & 3u) != rpl || !x86_ar_stack(d->ar) || x86_ar_dpl(d->ar) != rpl)
        return x86_fault_sel(cpu, X86_GP, t->ss);
    if (!(d->ar & X86_AR_P))
        return x86_fault_sel(cpu, X86_STK, t->ss);
    return x86_set_accessed(cpu, d);
}

static enum x86_result check_rip(struct x86_cpu *cpu, const struct target *t)
{
    bool ok = to_long64(cpu, t) ? x86_canonical(t->rip) : t->rip <= t->cs_d.limit;
    return ok ? X86_OK : x86_fault_err(cpu, X86_GP, 0);
}

static enum x86_result check_target(struct x86_cpu *cpu, struct target *t)
{
    enum x86_result r = X86_OK;
    if (t->pops_ss)
        r = check_ss(cpu, t);
    if (r == X86_OK)
        r = check_rip(cpu, t);
    return r == X86_OK ? x86_set_accessed(cpu, &t->cs_d) : r;
}

/* Nothing fails any more. Flags have been set by the caller. */
static void commit(struct x86_cpu *cpu, const struct target *t)
{
    unsigned rpl = t->cs & 3;
    bool outer = rpl > cpu->cpl;

    x86_put_seg(cpu, X86_CS, t->cs, &t->cs_d);
    cpu->cpl = (uint8_t)rpl;
    if (!t->pops_ss) {
        uint64_t mask = x86_sp_mask(cpu);
        cpu->r[X86_RSP] = (cpu->r[X86_RSP] & ~mask) | (t->sp & mask);
    } else if (t->ss_null) {
        x86_put_seg_null(cpu, X86_SS, t->ss);
        cpu->r[X86_RSP] = t->sp;
    } else {
        x86_put_seg(cpu, X86_SS, t->ss, &t->ss_d);
        if (to_long64(cpu, t) || t->ss_d.ar & X86_AR_DB)
            cpu->r[X86_RSP] = t->sp;
        else
            cpu->r[X86_RSP] = (cpu->r[X86_RSP] & ~UINT64_C(0xffff)) | (t->sp & 0xffff);
    }
    cpu->rip = t->rip;
    if (outer)
        x86_drop_inner_segs(cpu);
    if (to_long64(cpu, t))
        x86_enter_long64(cpu, rpl);
    else
        x86_set_cpl(cpu, rpl);
}

/* Flags that IRET may change at this level. */
static uint32_t iret_mask(const struct x86_cpu *cpu, unsigned size)
{
    uint32_t m = X86_FL_ARITH | X86_FL_TF | X86_FL_DF | X86_FL_NT;
    if (size > 2)
        m |= X86_FL_RF | X86_FL_AC | X86_FL_ID;
    if (cpu->cpl <= (cpu->eflags >> 12 & 3))
        m |= X86_FL_IF;
    if (cpu->cpl == 0)
        m |= X86_FL_IOPL | (size > 2 ? X86_FL_VIF | X86_FL_VIP : 0);
    return m;
}

static void change_flags(struct x86_cpu *cpu, uint32_t fl, uint32_t mask)
{
    x86_set_flags(cpu, (x86_get_flags(cpu) & ~mask) | (fl & mask));
}

/* --- real and virtual-8086 mode --- */

static enum x86_result pop_real(struct x86_cpu *cpu, uint64_t *v, unsigned n, unsigned size,
                                struct x86_stk *s)
{
    x86_stk_current(cpu, s);
    enum x86_result r = x86_stk_peek(cpu, s, v, n, size);
    if (r == X86_OK && v[0] > cpu->seg[X86_CS].limit)
        return x86_fault_err(cpu, X86_GP, 0);
    x86_stk_move(s, (uint64_t)n * size);
    return r;
}

static void land_real(struct x86_cpu *cpu, const uint64_t *v, const struct x86_stk *s)
{
    cpu->r[X86_RSP] = s->sp;
    x86_put_seg_real(cpu, X86_CS, (uint16_t)v[1]);
    cpu->rip = v[0];
    x86_set_cpl(cpu, cpu->cpl);
}

static enum x86_result iret_real(struct x86_cpu *cpu, unsigned size)
{
    struct x86_stk s;
    uint64_t v[3];
    enum x86_result r = pop_real(cpu, v, 3, size, &s);
    if (r != X86_OK)
        return r;
    change_flags(cpu, (uint32_t)v[2], size == 2 ? 0x7fd5u : 0x257fd5u);
    land_real(cpu, v, &s);
    return X86_OK;
}

static enum x86_result iret_v86(struct x86_cpu *cpu, unsigned size)
{
    struct x86_stk s;
    uint64_t v[3];
    uint32_t mask = X86_FL_ARITH | X86_FL_TF | X86_FL_DF | X86_FL_NT;
    bool virtual_if = (cpu->eflags & X86_FL_IOPL) != X86_FL_IOPL;

    if (virtual_if && !(cpu->cr4 & X86_CR4_VME && size == 2))
        return x86_fault_err(cpu, X86_GP, 0);
    enum x86_result r = pop_real(cpu, v, 3, size, &s);
    if (r != X86_OK)
        return r;
    uint32_t fl = (uint32_t)v[2];
    if (virtual_if) { /* SDM Vol.3A 20.3.3 and 20.4 */
        if (fl & X86_FL_TF || (fl & X86_FL_IF && cpu->eflags & X86_FL_VIP))
            return x86_fault_err(cpu, X86_GP, 0);
        mask |= X86_FL_VIF;
        fl = (fl & ~X86_FL_VIF) | (fl & X86_FL_IF ? X86_FL_VIF : 0);
    } else {
        mask |= X86_FL_IF | (size == 4 ? X86_FL_RF | X86_FL_AC | X86_FL_ID : 0);
    }
    change_flags(cpu, fl, mask);
    land_real(cpu, v, &s);
    return X86_OK;
}

/* --- protected and long mode --- */

/* To virtual-8086 mode: EIP CS EFLAGS ESP SS ES DS FS GS. */
static enum x86_result iret_to_v86(struct x86_cpu *cpu, struct x86_stk *s)
{
    static const uint8_t order[6] = {X86_CS, X86_SS, X86_ES, X86_DS, X86_FS, X86_GS};
    static const uint8_t slot[6] = {1, 4, 5, 6, 7, 8};
    uint64_t v[9];
    enum x86_result r = x86_stk_peek(cpu, s, v, 9, 4);
    if (r != X86_OK)
        return r;
    if (v[0] > 0xffff)
        return x86_fault_err(cpu, X86_GP, 0);
    x86_set_flags(cpu, (uint32_t)v[2]);
    for (unsigned i = 0; i < 6; i++)
        x86_put_seg_real(cpu, order[i], (uint16_t)v[slot[i]]);
    cpu->r[X86_RSP] = v[3];
    cpu->rip = v[0];
    x86_set_cpl(cpu, 3);
    return X86_OK;
}

static enum x86_result iret_protected(struct x86_cpu *cpu, unsigned size)
{
    struct target t;
    struct x86_stk s;
    uint64_t v[5];
    bool long64 = x86_in_long64(cpu);

    x86_stk_current(cpu, &s);
    bool all = size == 8 && X86_LIKELY(x86_stk_peek_fast(cpu, &s, v, 5));
    enum x86_result r = all ? X86_OK : x86_stk_peek(cpu, &s, v, 3, size);
    if (r != X86_OK)
        return r;
    if (v[2] & X86_FL_VM && size == 4 && cpu->cpl == 0 && !cpu->long_mode)
        return iret_to_v86(cpu, &s);
    t.rip = v[0];
    t.cs = (uint16_t)v[1];
    r = check_cs(cpu, &t);
    if (r != X86_OK)
        return r;
    x86_stk_move(&s, 3 * (uint64_t)size);
    t.sp = s.sp;
    t.pops_ss = long64 || (t.cs & 3) > cpu->cpl;
    if (t.pops_ss) {
        r = all ? X86_OK : x86_stk_peek(cpu, &s, v + 3, 2, size);
        if (r != X86_OK)
            return r;
        t.sp = v[3];
        t.ss = (uint16_t)v[4];
    }
    r = check_target(cpu, &t);
    if (r != X86_OK)
        return r;
    change_flags(cpu, (uint32_t)v[2], iret_mask(cpu, size));
    commit(cpu, &t);
    return X86_OK;
}

static enum x86_result iret_task(struct x86_cpu *cpu, uint64_t next)
{
    uint16_t link;
    if (cpu->long_mode)
        return x86_fault_err(cpu, X86_GP, 0);
    enum x86_result r = x86_sys_ld16(cpu, (uint32_t)cpu->tr.base, &link);
    return r == X86_OK ? x86_task_switch(cpu, link, X86_TASK_IRET, NULL, next) : r;
}

enum x86_result x86_iret(struct x86_cpu *cpu, unsigned size, uint64_t next)
{
    enum x86_result r;
    if (cpu->mode & X86_MODE_REAL)
        r = iret_real(cpu, size);
    else if (cpu->mode & X86_MODE_V86)
        r = iret_v86(cpu, size);
    else if (cpu->eflags & X86_FL_NT)
        r = iret_task(cpu, next);
    else
        r = iret_protected(cpu, size);
    if (r == X86_OK || r == X86_EXC) /* a faulting IRET unblocks NMIs too: SDM Vol.3A 6.7.1 */
        cpu->nmi_blocked = false;
    return r;
}

/* --- RETF --- */

static enum x86_result retf_real(struct x86_cpu *cpu, unsigned size, uint16_t release)
{
    struct x86_stk s;
    uint64_t v[2];
    enum x86_result r = pop_real(cpu, v, 2, size, &s);
    if (r != X86_OK)
        return r;
    x86_stk_move(&s, release);
    land_real(cpu, v, &s);
    return X86_OK;
}

enum x86_result x86_far_return(struct x86_cpu *cpu, unsigned size, uint16_t release)
{
    struct target t;
    struct x86_stk s;
    uint64_t v[4];
    enum x86_result r;

    if (x86_in_real_or_v86(cpu))
        return retf_real(cpu, size, release);
    x86_stk_current(cpu, &s);
    r = x86_stk_peek(cpu, &s, v, 2, size);
    if (r != X86_OK)
        return r;
    t.rip = v[0];
    t.cs = (uint16_t)v[1];
    r = check_cs(cpu, &t);
    if (r != X86_OK)
        return r;
    x86_stk_move(&s, 2 * (uint64_t)size + release);
    t.sp = s.sp;
    t.pops_ss = (t.cs & 3) > cpu->cpl;
    if (t.pops_ss) {
        r = x86_stk_peek(cpu, &s, v + 2, 2, size);
        if (r != X86_OK)
            return r;
        t.sp = v[2] + release; /* parameters are released on both stacks */
        if (size < 8)
            t.sp &= size == 4 ? UINT32_MAX : UINT16_MAX;
        t.ss = (uint16_t)v[3];
    }
    r = check_target(cpu, &t);
    if (r != X86_OK)
        return r;
    commit(cpu, &t);
    return X86_OK;
}
