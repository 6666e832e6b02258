/*
 * Hardware task switches: SDM Vol.3A 7.2, 7.3.
 *
 * Three steps: read and check the new TSS and see that the old one can be written (faults belong to
 * the old task); store and load; then check the new segments, where faults belong to the new task
 * already.
 */
#include "x86/sysint.h"

/* Where a TSS keeps things: the 32-bit and the 16-bit layout, figures 7-2 and 7-10. */
struct layout {
    uint8_t eip, eflags, gpr, sregs, ldt, cr3;
    uint8_t reg_step, sreg_step, reg_size, nsregs;
    uint8_t min_limit;
};
static const struct layout layout32 = {0x20, 0x24, 0x28, 0x48, 0x60, 0x1c, 4, 4, 4, 6, 0x67};
static const struct layout layout16 = {0x0e, 0x10, 0x12, 0x22, 0x2a, 0, 2, 2, 2, 4, 0x2b};
#define TSS_TRAP 0x64

/* Order of the segment registers in a TSS. */
static const uint8_t sreg_order[6] = {X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS};

struct task {
    uint32_t eip, eflags, gpr[8], cr3;
    uint16_t sreg[6], ldt;
    bool trap;
};

static const struct layout *layout_of(uint32_t ar)
{
    return ar & 8 ? &layout32 : &layout16;
}

static enum x86_result field(struct x86_cpu *cpu, uint64_t base, uint32_t off, unsigned size,
                             uint32_t *v)
{
    enum x86_result r = x86_sys_read(cpu, (uint32_t)(base + off), size);
    *v = (uint32_t)(size == 4 ? cpu->tmp : cpu->tmp & 0xffff);
    return r;
}

static enum x86_result read_task(struct x86_cpu *cpu, const struct x86_desc *d, struct task *t)
{
    const struct layout *l = layout_of(d->ar);
    uint32_t v;
    enum x86_result r = field(cpu, d->base, l->eip, l->reg_size, &t->eip);
    if (r == X86_OK)
        r = field(cpu, d->base, l->eflags, l->reg_size, &t->eflags);
    for (unsigned i = 0; i < 8 && r == X86_OK; i++)
        r = field(cpu, d->base, l->gpr + i * l->reg_step, l->reg_size, &t->gpr[i]);
    for (unsigned i = 0; i < l->nsregs && r == X86_OK; i++) {
        r = field(cpu, d->base, l->sregs + i * l->sreg_step, 2, &v);
        t->sreg[i] = (uint16_t)v;
    }
    if (r == X86_OK) {
        r = field(cpu, d->base, l->ldt, 2, &v);
        t->ldt = (uint16_t)v;
    }
    if (r == X86_OK && l->cr3) {
        r = field(cpu, d->base, l->cr3, 4, &t->cr3);
        if (r == X86_OK)
            r = field(cpu, d->base, TSS_TRAP, 2, &v);
        t->trap = v & 1;
    }
    return r;
}

static enum x86_result probe(struct x86_cpu *cpu, uint64_t lin)
{
    const struct x86_who who = x86_who_system(cpu);
    struct x86_spot spot;
    return x86_locate(cpu, lin & who.mask, X86_ACC_WRITE, &who, &spot);
}

/* Can the old task be stored, and the links of the switch be written? */
static enum x86_result probe_writes(struct x86_cpu *cpu, const struct x86_desc *d,
                                    enum x86_task_reason why)
{
    const struct layout *l = layout_of(cpu->tr.ar);
    uint32_t last = l->sregs + (l->nsregs - 1u) * l->sreg_step + 1;
    enum x86_result r;
    if (cpu->tr.ar & X86_AR_UNUSABLE || last > cpu->tr.limit)
        return x86_fault_sel(cpu, X86_TS, cpu->tr.sel);
    r = probe(cpu, cpu->tr.base + l->eip);
    if (r == X86_OK)
        r = probe(cpu, cpu->tr.base + last);
    if (r == X86_OK && why != X86_TASK_IRET)
        r = probe(cpu, d->addr + 5);
    if (r == X86_OK && (why == X86_TASK_CALL || why == X86_TASK_INT)) {
        r = probe(cpu, d->base);
        if (r == X86_OK)
            r = probe(cpu, d->base + 1);
    }
    return r;
}

static enum x86_result check_tss(struct x86_cpu *cpu, uint16_t sel, enum x86_task_reason why,
                                 struct x86_desc *d)
{
    bool back = why == X86_TASK_IRET;
    unsigned bad = back ? X86_TS : X86_GP;
    enum x86_result r;

    if (sel & 4 || x86_sel_null(sel))
        return x86_fault_sel(cpu, bad, sel);
    r = x86_read_desc(cpu, sel, bad, d);
    if (r != X86_OK)
        return r;
    unsigned type = x86_ar_systype(d->ar);
    bool ok = back ? type == X86_ST_TSS16_BUSY || type == X86_ST_TSS32_BUSY
                   : type == X86_ST_TSS16 || type == X86_ST_TSS32;
    if (!ok)
        return x86_fault_sel(cpu, bad, sel);
    if (!(d->ar & X86_AR_P))
        return x86_fault_sel(cpu, X86_NP, sel);
    if (d->limit < layout_of(d->ar)->min_limit)
        return x86_fault_sel(cpu, X86_TS, sel);
    return X86_OK;
}

/* --- storing the old task; everything has been probed --- */

static enum x86_result put(struct x86_cpu *cpu, uint32_t off, uint64_t v, unsigned size)
{
    return x86_sys_write(cpu, (uint32_t)(cpu->tr.base + off), v, size);
}

static enum x86_result store_task(struct x86_cpu *cpu, uint32_t eip, uint32_t eflags)
{
    const struct layout *l = layout_of(cpu->tr.ar);
    enum x86_result r = put(cpu, l->eip, eip, l->reg_size);
    if (r == X86_OK)
        r = put(cpu, l->eflags, eflags, l->reg_size);
    for (unsigned i = 0; i < 8 && r == X86_OK; i++)
        r = put(cpu, l->gpr + i * l->reg_step, cpu->r[i], l->reg_size);
    for (unsigned i = 0; i < l->nsregs && r == X86_OK; i++)
        r = put(cpu, l->sregs + i * l->sreg_step, cpu->seg[sreg_order[i]].sel, 2);
    return r;
}

/* Busy bits and the back link: table 7-2. */
static enum x86_result link_tasks(struct x86_cpu *cpu, const struct x86_desc *d,
                                  enum x86_task_reason why)
{
    enum x86_result r = X86_OK;
    if (why == X86_TASK_JMP || why == X86_TASK_IRET) {
        uint64_t old = (uint32_t)(cpu->gdtr.base + (cpu->tr.sel & 0xfff8u));
        r = x86_set_busy(cpu, old, false);
    } else {
        r = x86_sys_write(cpu, d->base, cpu->tr.sel, 2);
    }
    if (r == X86_OK && why != X86_TASK_IRET)
        r = x86_set_busy(cpu, d->addr, true);
    return r;
}

/* --- the new task --- */

static void load_registers(struct x86_cpu *cpu, const struct task *t)
{
    for (unsigned i = 0; i < 8; i++)
        cpu->r[i] = t->gpr[i];
    cpu->rip = t->eip;
    x86_set_flags(cpu, t->eflags);
    for (unsigned i = 0; i < 6; i++)
        x86_put_seg_null(cpu, sreg_order[i], t->sreg[i]);
    cpu->ldtr = (struct x86_seg){.sel = t->ldt, .ar = X86_AR_UNUSABLE};
    cpu->cpl = t->eflags & X86_FL_VM ? 3 : t->sreg[1] & 3;
    cpu->cr0 |= X86_CR0_TS;
    cpu->dr7 &= ~UINT64_C(0x155); /* local breakpoints and LE */
}

static enum x86_result load_ldt(struct x86_cpu *cpu, uint16_t sel)
{
    struct x86_desc d;
    enum x86_result r;
    if (x86_sel_null(sel))
        return X86_OK;
    if (sel & 4)
        return x86_fault_sel(cpu, X86_TS, sel);
    r = x86_read_desc(cpu, sel, X86_TS, &d);
    if (r != X86_OK)
        return r;
    if (x86_ar_systype(d.ar) != X86_ST_LDT || !(d.ar & X86_AR_P))
        return x86_fault_sel(cpu, X86_TS, sel);
    cpu->ldtr = (struct x86_seg){.base = d.base, .limit = d.limit, .ar = d.ar, .sel = sel};
    return X86_OK;
}

static bool segment_ok(const struct x86_cpu *cpu, unsigned seg, uint16_t sel,
                       const struct x86_desc *d)
{
    unsigned dpl = x86_ar_dpl(d->ar), rpl = sel & 3;
    bool code = x86_ar_code(d->ar), conforming = code && x86_ar_conforming(d->ar);
    if (seg == X86_CS)
        return code && (conforming ? dpl <= rpl : dpl == rpl);
    if (seg == X86_SS)
        return x86_ar_stack(d->ar) && rpl == cpu->cpl && dpl == cpu->cpl;
    if (!(d->ar & X86_AR_S) || (code && !(d->ar & X86_AR_WR)))
        return false;
    return conforming || (dpl >= rpl && dpl >= cpu->cpl);
}

static enum x86_result load_segment(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
    struct x86_desc d;
    enum x86_result r;
    if (x86_sel_null(sel))
        return seg == X86_CS || seg == X86_SS ? x86_fault_err(cpu, X86_TS, 0) : X86_OK;
    r = x86_read_desc(cpu, sel, X86_TS, &d);
    if (r != X86_OK)
        return r;
    if (!segment_ok(cpu, seg, sel, &d))
        return x86_fault_sel(cpu, X86_TS, sel);
    if (!(d.ar & X86_AR_P))
        return x86_fault_sel(cpu, seg == X86_SS ? X86_STK : X86_NP, sel);
    r = x86_set_accessed(cpu, &d);
    if (r == X86_OK)
        x86_put_seg(cpu, seg, sel, &d);
    return r;
}

static enum x86_result load_segments(struct x86_cpu *cpu, const struct task *t)
{
    static const uint8_t slots[6] = {1, 2, 0, 3, 4, 5}; /* CS and SS first */
    enum x86_result r = load_ldt(cpu, t->ldt);
    for (unsigned i = 0; i < 6 && r == X86_OK; i++) {
        unsigned seg = sreg_order[slots[i]];
        if (t->eflags & X86_FL_VM)
            x86_put_seg_real(cpu, seg, t->sreg[slots[i]]);
        else
            r = load_segment(cpu, seg, t->sreg[slots[i]]);
    }
    return r;
}

/* Everything after the point of no return. */
static enum x86_result enter_task(struct x86_cpu *cpu, const struct task *t, bool is32,
                                  const struct x86_event *ev)
{
    enum x86_result r = X86_OK;
    if (cpu->paging && is32)
        r = x86_write_cr3(cpu, t->cr3);
    if (r == X86_OK)
        r = load_segments(cpu, t);
    x86_mode_refresh(cpu);
    if (r == X86_OK && t->eip > cpu->seg[X86_CS].limit)
        r = x86_fault_err(cpu, X86_GP, 0);
    if (r == X86_OK && ev && ev->has_error) {
        struct x86_stk s;
        uint64_t v = ev->error;
        x86_stk_current(cpu, &s);
        r = x86_stk_push(cpu, &s, &v, 1, is32 ? 4 : 2);
        if (r == X86_OK)
            cpu->r[X86_RSP] = s.sp;
    }
    if (t->trap)
        cpu->pending_dr6 |= X86_DR6_BT;
    return r;
}

static uint32_t old_flags(const struct x86_cpu *cpu, enum x86_task_reason why,
                          const struct x86_event *ev)
{
    uint32_t fl = ev ? x86_event_flags(cpu, ev) : x86_get_flags(cpu);
    return why == X86_TASK_IRET ? fl & ~X86_FL_NT : fl;
}

enum x86_result x86_task_switch(struct x86_cpu *cpu, uint16_t sel, enum x86_task_reason why,
                                const struct x86_event *ev, uint64_t next)
{
    struct x86_desc d;
    struct task t = {0};
    enum x86_result r = check_tss(cpu, sel, why, &d);
    if (r == X86_OK)
        r = read_task(cpu, &d, &t);
    if (r == X86_OK)
        r = probe_writes(cpu, &d, why);
    if (r == X86_OK)
        r = store_task(cpu, (uint32_t)next, old_flags(cpu, why, ev));
    if (r == X86_OK)
        r = link_tasks(cpu, &d, why);
    if (r != X86_OK)
        return r;

    if (why == X86_TASK_CALL || why == X86_TASK_INT)
        t.eflags |= X86_FL_NT;
    cpu->tr = (struct x86_seg){
        .base = d.base, .limit = d.limit, .ar = d.ar | X86_ST_BUSY, .sel = sel & 0xfffc};
    load_registers(cpu, &t);
    r = enter_task(cpu, &t, d.ar & 8, ev);
    if (r != X86_OK) { /* belongs to the new task: delivered before its first instruction */
        cpu->injected = cpu->exc;
        bool external = ev && ev->kind != X86_EV_SOFT && ev->kind != X86_EV_SOFT_EXC;
        if (external && cpu->exc.vector >= X86_TS && cpu->exc.vector <= X86_GP)
            cpu->injected.error |= 1;
    }
    return X86_OK;
}
