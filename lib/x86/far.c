/* Far JMP and CALL: code segments, call gates, TSS and task gates. SDM Vol.2 CALL, JMP; Vol.3A 5.8.
 */
#include "x86/sysint.h"

static enum x86_result far_real(struct x86_cpu *cpu, enum x86_far kind, uint16_t sel,
                                uint64_t offset, unsigned size, uint64_t next)
{
    if (offset > cpu->seg[X86_CS].limit)
        return x86_fault_err(cpu, X86_GP, 0);
    if (kind == X86_FAR_CALL) {
        struct x86_stk s;
        uint64_t frame[2] = {cpu->seg[X86_CS].sel, next};
        x86_stk_current(cpu, &s);
        enum x86_result r = x86_stk_push(cpu, &s, frame, 2, size);
        if (r != X86_OK)
            return r;
        cpu->r[X86_RSP] = s.sp;
    }
    x86_put_seg_real(cpu, X86_CS, sel);
    cpu->rip = offset;
    x86_mode_update(cpu);
    return X86_OK;
}

static enum x86_result check_offset(struct x86_cpu *cpu, const struct x86_desc *cs, uint64_t offset)
{
    bool long64 = cpu->long_mode && cs->ar & X86_AR_L;
    bool ok = long64 ? x86_canonical(offset) : offset <= cs->limit;
    return ok ? X86_OK : x86_fault_err(cpu, X86_GP, 0);
}

static void enter_code(struct x86_cpu *cpu, uint16_t sel, const struct x86_desc *cs, unsigned cpl,
                       uint64_t offset)
{
    x86_put_seg(cpu, X86_CS, (uint16_t)((sel & 0xfffc) | cpl), cs);
    cpu->rip = offset;
    x86_set_cpl(cpu, cpl);
}

/* Return address onto the current stack, then to the new code at the same level. */
static enum x86_result same_level(struct x86_cpu *cpu, enum x86_far kind, uint16_t sel,
                                  struct x86_desc *cs, uint64_t offset, unsigned size,
                                  uint64_t next)
{
    struct x86_stk s;
    enum x86_result r = check_offset(cpu, cs, offset);
    if (r != X86_OK)
        return r;
    x86_stk_current(cpu, &s);
    if (kind == X86_FAR_CALL) {
        uint64_t frame[2] = {cpu->seg[X86_CS].sel, next};
        r = x86_stk_push(cpu, &s, frame, 2, size);
    }
    if (r == X86_OK)
        r = x86_set_accessed(cpu, cs);
    if (r != X86_OK)
        return r;
    cpu->r[X86_RSP] = s.sp;
    enter_code(cpu, sel, cs, cpu->cpl, offset);
    return X86_OK;
}

static enum x86_result to_code(struct x86_cpu *cpu, enum x86_far kind, uint16_t sel,
                               struct x86_desc *d, uint64_t offset, unsigned size, uint64_t next)
{
    unsigned dpl = x86_ar_dpl(d->ar);
    bool ok =
        x86_ar_conforming(d->ar) ? dpl <= cpu->cpl : dpl == cpu->cpl && (sel & 3u) <= cpu->cpl;
    if (cpu->long_mode && (d->ar & (X86_AR_L | X86_AR_DB)) == (X86_AR_L | X86_AR_DB))
        ok = false;
    if (!ok)
        return x86_fault_sel(cpu, X86_GP, sel);
    if (!(d->ar & X86_AR_P))
        return x86_fault_sel(cpu, X86_NP, sel);
    return same_level(cpu, kind, sel, d, offset, size, next);
}

/* --- call gates --- */

struct callgate {
    uint16_t sel;
    uint64_t offset;
    unsigned size, nparams;
};

static enum x86_result read_callgate(struct x86_cpu *cpu, uint16_t sel, struct x86_desc *d,
                                     struct callgate *g)
{
    bool big = x86_ar_systype(d->ar) == X86_ST_CALL32;
    uint64_t upper = 0;
    if (cpu->long_mode) {
        enum x86_result r = x86_read_desc_upper(cpu, sel, X86_GP, d, &upper);
        if (r != X86_OK)
            return r;
        if (upper >> 40 & 0x1f)
            return x86_fault_sel(cpu, X86_GP, sel);
    }
    if (!(d->ar & X86_AR_P))
        return x86_fault_sel(cpu, X86_NP, sel);
    g->sel = (uint16_t)(d->lo >> 16);
    g->offset = (d->lo & 0xffff) | (big ? d->hi & 0xffff0000u : 0) | upper << 32;
    g->nparams = cpu->long_mode ? 0 : d->hi & 0x1f;
    g->size = cpu->long_mode ? 8 : big ? 4 : 2;
    return X86_OK;
}

static enum x86_result gate_code(struct x86_cpu *cpu, const struct callgate *g, enum x86_far kind,
                                 struct x86_desc *cs)
{
    enum x86_result r;
    if (x86_sel_null(g->sel))
        return x86_fault_err(cpu, X86_GP, 0);
    r = x86_read_desc(cpu, g->sel, X86_GP, cs);
    if (r != X86_OK)
        return r;
    unsigned dpl = x86_ar_dpl(cs->ar);
    bool ok = x86_ar_code(cs->ar) && dpl <= cpu->cpl;
    if (kind == X86_FAR_JMP && !x86_ar_conforming(cs->ar) && dpl != cpu->cpl)
        ok = false;
    if (cpu->long_mode && (cs->ar & (X86_AR_L | X86_AR_DB)) != X86_AR_L)
        ok = false;
    if (!ok)
        return x86_fault_sel(cpu, X86_GP, g->sel);
    if (!(cs->ar & X86_AR_P))
        return x86_fault_sel(cpu, X86_NP, g->sel);
    return X86_OK;
}

/* SS, ESP, parameters, CS, EIP; first pushed first. Returns their number in *n. */
static enum x86_result gate_frame(struct x86_cpu *cpu, const struct callgate *g, uint64_t next,
                                  uint64_t *v, unsigned *n)
{
    struct x86_stk old;
    uint64_t params[31];
    unsigned k = 0;

    x86_stk_current(cpu, &old);
    enum x86_result r = x86_stk_peek(cpu, &old, params, g->nparams, g->size);
    if (r != X86_OK)
        return r;
    v[k++] = cpu->seg[X86_SS].sel;
    v[k++] = cpu->r[X86_RSP];
    for (unsigned i = g->nparams; i--;)
        v[k++] = params[i];
    v[k++] = cpu->seg[X86_CS].sel;
    v[k++] = next;
    *n = k;
    return X86_OK;
}

static enum x86_result to_inner(struct x86_cpu *cpu, const struct callgate *g, struct x86_desc *cs,
                                uint64_t next)
{
    struct x86_desc ss;
    struct x86_stk s;
    uint64_t v[36], sp;
    uint16_t ss_sel;
    unsigned n, cpl = x86_ar_dpl(cs->ar);
    enum x86_result r;

    if (cpu->long_mode) {
        ss_sel = (uint16_t)cpl;
        r = x86_tss_stack64(cpu, cpl, &sp);
        x86_stk_flat(cpu, &s, sp, cpl);
    } else {
        r = x86_tss_stack(cpu, cpl, &ss_sel, &sp, &ss);
        x86_stk_desc(cpu, &s, &ss, ss_sel, sp, cpl);
    }
    if (r == X86_OK)
        r = check_offset(cpu, cs, g->offset);
    if (r == X86_OK)
        r = gate_frame(cpu, g, next, v, &n);
    if (r == X86_OK)
        r = x86_stk_push(cpu, &s, v, n, g->size);
    if (r == X86_OK && !cpu->long_mode)
        r = x86_set_accessed(cpu, &ss);
    if (r == X86_OK)
        r = x86_set_accessed(cpu, cs);
    if (r != X86_OK)
        return r;
    cpu->cpl = (uint8_t)cpl;
    if (cpu->long_mode)
        x86_put_seg_null(cpu, X86_SS, ss_sel);
    else
        x86_put_seg(cpu, X86_SS, ss_sel, &ss);
    cpu->r[X86_RSP] = s.sp;
    enter_code(cpu, g->sel, cs, cpl, g->offset);
    return X86_OK;
}

static enum x86_result via_callgate(struct x86_cpu *cpu, enum x86_far kind, uint16_t sel,
                                    struct x86_desc *d, uint64_t next)
{
    struct callgate g = {0};
    struct x86_desc cs;
    enum x86_result r = read_callgate(cpu, sel, d, &g);
    if (r == X86_OK)
        r = gate_code(cpu, &g, kind, &cs);
    if (r != X86_OK)
        return r;
    if (kind == X86_FAR_CALL && !x86_ar_conforming(cs.ar) && x86_ar_dpl(cs.ar) < cpu->cpl)
        return to_inner(cpu, &g, &cs, next);
    return same_level(cpu, kind, g.sel, &cs, g.offset, g.size, next);
}

static enum x86_result via_system(struct x86_cpu *cpu, enum x86_far kind, uint16_t sel,
                                  struct x86_desc *d, uint64_t next)
{
    enum x86_task_reason why = kind == X86_FAR_JMP ? X86_TASK_JMP : X86_TASK_CALL;
    unsigned type = x86_ar_systype(d->ar), dpl = x86_ar_dpl(d->ar);
    uint32_t good = 1u << X86_ST_CALL32;
    if (!cpu->long_mode)
        good |= 1u << X86_ST_CALL16 | 1u << X86_ST_TASK | 1u << X86_ST_TSS16 | 1u << X86_ST_TSS32;
    if (!(good >> type & 1) || dpl < cpu->cpl || dpl < (sel & 3u))
        return x86_fault_sel(cpu, X86_GP, sel);
    switch (type) {
    case X86_ST_CALL16:
    case X86_ST_CALL32:
        return via_callgate(cpu, kind, sel, d, next);
    case X86_ST_TASK:
        if (!(d->ar & X86_AR_P))
            return x86_fault_sel(cpu, X86_NP, sel);
        return x86_task_switch(cpu, (uint16_t)(d->lo >> 16), why, NULL, next);
    default:
        return x86_task_switch(cpu, sel, why, NULL, next);
    }
}

enum x86_result x86_far_branch(struct x86_cpu *cpu, enum x86_far kind, uint16_t sel,
                               uint64_t offset, unsigned size, uint64_t next)
{
    struct x86_desc d;
    enum x86_result r;

    if (x86_in_real_or_v86(cpu))
        return far_real(cpu, kind, sel, offset, size, next);
    if (x86_sel_null(sel))
        return x86_fault_err(cpu, X86_GP, 0);
    r = x86_read_desc(cpu, sel, X86_GP, &d);
    if (r != X86_OK)
        return r;
    if (!(d.ar & X86_AR_S))
        return via_system(cpu, kind, sel, &d, next);
    if (!x86_ar_code(d.ar))
        return x86_fault_sel(cpu, X86_GP, sel);
    return to_code(cpu, kind, sel, &d, offset, size, next);
}
