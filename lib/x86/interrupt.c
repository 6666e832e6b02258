/*
 * Delivery of interrupts and exceptions: SDM Vol.3A chapter 6, 20.3 (virtual-8086), Vol.2 INT n.
 *
 * Faults met on the way are combined with the event being delivered as table 6-5 says; every
 * attempt leaves the state unchanged unless it succeeds.
 */
#include "x86/sysint.h"

/* Gate of an IDT entry. */
struct gate {
    uint16_t sel;
    uint64_t offset;
    unsigned type, ist;
    bool is_int; /* clears IF */
};

static bool is_soft(const struct x86_event *ev)
{
    return ev->kind == X86_EV_SOFT || ev->kind == X86_EV_SOFT_EXC;
}

/* Return address: behind the instruction for software interrupts and INT1. */
static uint64_t return_rip(const struct x86_cpu *cpu, const struct x86_event *ev)
{
    bool skip = is_soft(ev) || ev->kind == X86_EV_ICEBP;
    return (cpu->rip + (skip ? ev->insn_len : 0)) & x86_ip_mask(cpu);
}

/* The flags image; RF by SDM Vol.3B 17.3.1.1: set for faults so that the instruction can be
 * restarted past its breakpoint, kept for interrupts between iterations of a string instruction. */
uint32_t x86_event_flags(const struct x86_cpu *cpu, const struct x86_event *ev)
{
    uint32_t fl = x86_get_flags(cpu);
    if (ev->kind == X86_EV_FAULT)
        return ev->vector == X86_DB ? fl & ~X86_FL_RF : fl | X86_FL_RF;
    if (ev->kind == X86_EV_INTR || ev->kind == X86_EV_NMI)
        return fl;
    return fl & ~X86_FL_RF;
}

static void flags_entered(struct x86_cpu *cpu, bool is_int)
{
    cpu->eflags &= ~(X86_FL_TF | X86_FL_NT | X86_FL_RF | X86_FL_VM | (is_int ? X86_FL_IF : 0));
}

/* --- real mode, and virtual-8086 programs that handle their own interrupts --- */

static enum x86_result deliver_ivt(struct x86_cpu *cpu, const struct x86_event *ev, uint64_t table,
                                   uint32_t flags, uint32_t cleared)
{
    uint32_t entry;
    struct x86_stk s;
    enum x86_result r = x86_sys_ld32(cpu, table + ev->vector * 4u, &entry);
    if (r != X86_OK)
        return r;
    x86_stk_current(cpu, &s);
    uint64_t frame[3] = {flags, cpu->seg[X86_CS].sel, return_rip(cpu, ev)};
    r = x86_stk_push(cpu, &s, frame, 3, 2);
    if (r != X86_OK)
        return r;
    cpu->r[X86_RSP] = s.sp;
    cpu->eflags &= ~cleared;
    x86_put_seg_real(cpu, X86_CS, (uint16_t)(entry >> 16));
    cpu->rip = entry & 0xffff;
    x86_mode_update(cpu);
    return X86_OK;
}

static enum x86_result deliver_real(struct x86_cpu *cpu, const struct x86_event *ev)
{
    if (ev->vector * 4u + 3 > cpu->idtr.limit)
        return x86_fault_err(cpu, X86_GP, 0);
    return deliver_ivt(cpu, ev, cpu->idtr.base, x86_event_flags(cpu, ev),
                       X86_FL_IF | X86_FL_TF | X86_FL_AC | X86_FL_RF);
}

/* INT n in virtual-8086 mode: SDM Vol.3A 20.3, table 20-2. *done: the program's own handler was
 * entered. */
static enum x86_result soft_v86(struct x86_cpu *cpu, const struct x86_event *ev, bool *done)
{
    unsigned iopl = cpu->eflags >> 12 & 3;
    bool redirect = false;

    *done = false;
    if (cpu->cr4 & X86_CR4_VME) {
        enum x86_result r = x86_tss_int_redirect(cpu, ev->vector, &redirect);
        if (r != X86_OK)
            return r;
    }
    if (redirect) {
        uint32_t fl = x86_event_flags(cpu, ev), cleared = X86_FL_TF | X86_FL_RF;
        *done = true;
        if (iopl == 3) {
            cleared |= X86_FL_IF;
        } else { /* the program sees VIF as IF and IOPL 3 */
            fl = (fl & ~X86_FL_IF) | X86_FL_IOPL | (fl & X86_FL_VIF ? X86_FL_IF : 0);
            cleared |= X86_FL_VIF;
        }
        return deliver_ivt(cpu, ev, 0, fl, cleared);
    }
    return iopl < 3 ? x86_fault_err(cpu, X86_GP, 0) : X86_OK;
}

/* --- gates --- */

static uint32_t idt_error(const struct x86_event *ev)
{
    return ev->vector * 8u + 2;
}

static enum x86_result check_gate(struct x86_cpu *cpu, const struct x86_event *ev, uint64_t raw,
                                  uint32_t good_types)
{
    unsigned type = raw >> 40 & 0x1f;
    if (!(good_types >> type & 1))
        return x86_fault_err(cpu, X86_GP, idt_error(ev));
    if (is_soft(ev) && (raw >> 45 & 3) < cpu->cpl)
        return x86_fault_err(cpu, X86_GP, idt_error(ev));
    if (!(raw >> 47 & 1))
        return x86_fault_err(cpu, X86_NP, idt_error(ev));
    return X86_OK;
}

static enum x86_result read_gate(struct x86_cpu *cpu, const struct x86_event *ev, struct gate *g)
{
    uint64_t lo, hi;
    enum x86_result r;

    if (cpu->long_mode) {
        if (ev->vector * 16u + 15 > cpu->idtr.limit)
            return x86_fault_err(cpu, X86_GP, idt_error(ev));
        uint64_t at = cpu->idtr.base + ev->vector * 16u;
        r = x86_sys_ld64(cpu, at, &lo);
        if (r == X86_OK)
            r = x86_sys_ld64(cpu, at + 8, &hi);
        if (r == X86_OK)
            r = check_gate(cpu, ev, lo, 1u << X86_ST_INT32 | 1u << X86_ST_TRAP32);
        if (r != X86_OK)
            return r;
        g->offset = (lo & 0xffff) | (lo >> 32 & 0xffff0000u) | hi << 32;
    } else {
        if (ev->vector * 8u + 7 > cpu->idtr.limit)
            return x86_fault_err(cpu, X86_GP, idt_error(ev));
        r = x86_sys_ld64(cpu, (uint32_t)(cpu->idtr.base + ev->vector * 8u), &lo);
        if (r == X86_OK)
            r = check_gate(cpu, ev, lo,
                           1u << X86_ST_TASK | 1u << X86_ST_INT16 | 1u << X86_ST_TRAP16 |
                               1u << X86_ST_INT32 | 1u << X86_ST_TRAP32);
        if (r != X86_OK)
            return r;
        g->offset = (lo & 0xffff) | (lo >> 43 & 1 ? lo >> 32 & 0xffff0000u : 0);
    }
    g->sel = (uint16_t)(lo >> 16);
    g->type = lo >> 40 & 0xf;
    g->ist = lo >> 32 & 7;
    g->is_int = !(g->type & 1);
    return X86_OK;
}

/* The handler's code segment; *cpl: the level it runs at. */
static enum x86_result read_handler(struct x86_cpu *cpu, const struct gate *g, struct x86_desc *d,
                                    unsigned *cpl)
{
    enum x86_result r;
    if (x86_sel_null(g->sel))
        return x86_fault_err(cpu, X86_GP, 0);
    r = x86_read_desc(cpu, g->sel, X86_GP, d);
    if (r != X86_OK)
        return r;
    if (!x86_ar_code(d->ar) || x86_ar_dpl(d->ar) > cpu->cpl)
        return x86_fault_sel(cpu, X86_GP, g->sel);
    if (cpu->long_mode && (d->ar & (X86_AR_L | X86_AR_DB)) != X86_AR_L)
        return x86_fault_sel(cpu, X86_GP, g->sel);
    if (!(d->ar & X86_AR_P))
        return x86_fault_sel(cpu, X86_NP, g->sel);
    *cpl = x86_ar_conforming(d->ar) ? cpu->cpl : x86_ar_dpl(d->ar);
    return X86_OK;
}

static enum x86_result deliver_long(struct x86_cpu *cpu, const struct x86_event *ev)
{
    struct gate g;
    struct x86_desc cs;
    struct x86_stk s;
    unsigned cpl;
    uint64_t sp = cpu->r[X86_RSP];
    enum x86_result r = read_gate(cpu, ev, &g);
    if (r == X86_OK)
        r = read_handler(cpu, &g, &cs, &cpl);
    if (r != X86_OK)
        return r;
    if (g.ist)
        r = x86_tss_stack64(cpu, 3 + g.ist, &sp);
    else if (cpl < cpu->cpl)
        r = x86_tss_stack64(cpu, cpl, &sp);
    if (r != X86_OK)
        return r;
    if (!x86_canonical(g.offset))
        return x86_fault_err(cpu, X86_GP, 0);

    uint64_t frame[6] = {cpu->seg[X86_SS].sel, cpu->r[X86_RSP],     x86_event_flags(cpu, ev),
                         cpu->seg[X86_CS].sel, return_rip(cpu, ev), ev->error};
    x86_stk_flat(cpu, &s, sp & ~UINT64_C(15), cpl);
    r = x86_stk_push(cpu, &s, frame, ev->has_error ? 6 : 5, 8);
    if (r == X86_OK)
        r = x86_set_accessed(cpu, &cs);
    if (r != X86_OK)
        return r;
    flags_entered(cpu, g.is_int);
    x86_put_seg(cpu, X86_CS, (uint16_t)((g.sel & 0xfffc) | cpl), &cs);
    bool inner = cpl < cpu->cpl;
    x86_enter_long64(cpu, cpl);
    if (inner)
        x86_put_seg_null(cpu, X86_SS, (uint16_t)cpl);
    cpu->r[X86_RSP] = s.sp;
    cpu->rip = g.offset;
    return X86_OK;
}

/* --- protected mode --- */

/* Pushed values, first one first; returns how many. */
static unsigned build_frame(const struct x86_cpu *cpu, const struct x86_event *ev, bool inner,
                            uint64_t *v)
{
    unsigned n = 0;
    if (cpu->eflags & X86_FL_VM) {
        v[n++] = cpu->seg[X86_GS].sel;
        v[n++] = cpu->seg[X86_FS].sel;
        v[n++] = cpu->seg[X86_DS].sel;
        v[n++] = cpu->seg[X86_ES].sel;
    }
    if (inner) {
        v[n++] = cpu->seg[X86_SS].sel;
        v[n++] = cpu->r[X86_RSP];
    }
    v[n++] = x86_event_flags(cpu, ev);
    v[n++] = cpu->seg[X86_CS].sel;
    v[n++] = return_rip(cpu, ev);
    if (ev->has_error)
        v[n++] = ev->error;
    return n;
}

static void enter_prot(struct x86_cpu *cpu, const struct gate *g, const struct x86_desc *cs,
                       unsigned cpl)
{
    static const uint8_t data[4] = {X86_ES, X86_DS, X86_FS, X86_GS};
    if (cpu->eflags & X86_FL_VM)
        for (unsigned i = 0; i < 4; i++)
            x86_put_seg_null(cpu, data[i], 0);
    flags_entered(cpu, g->is_int);
    x86_put_seg(cpu, X86_CS, (uint16_t)((g->sel & 0xfffc) | cpl), cs);
    cpu->rip = g->offset;
    x86_set_cpl(cpu, cpl);
}

static enum x86_result deliver_prot(struct x86_cpu *cpu, const struct x86_event *ev)
{
    struct gate g;
    struct x86_desc cs, ss;
    struct x86_stk s;
    unsigned cpl;
    uint16_t ss_sel = 0;
    uint64_t frame[10], sp;
    bool v86 = cpu->eflags & X86_FL_VM;
    enum x86_result r = read_gate(cpu, ev, &g);
    if (r != X86_OK)
        return r;
    if (g.type == X86_ST_TASK)
        return x86_task_switch(cpu, g.sel, X86_TASK_INT, ev, return_rip(cpu, ev));
    r = read_handler(cpu, &g, &cs, &cpl);
    if (r != X86_OK)
        return r;
    if (v86 && (x86_ar_conforming(cs.ar) || cpl != 0))
        return x86_fault_sel(cpu, X86_GP, g.sel);

    bool inner = cpl < cpu->cpl;
    if (inner) {
        r = x86_tss_stack(cpu, cpl, &ss_sel, &sp, &ss);
        if (r != X86_OK)
            return r;
        x86_stk_desc(cpu, &s, &ss, ss_sel, sp, cpl);
    } else {
        x86_stk_current(cpu, &s);
    }
    unsigned n = build_frame(cpu, ev, inner, frame);
    if (g.offset > cs.limit)
        return x86_fault_err(cpu, X86_GP, 0);
    r = x86_stk_push(cpu, &s, frame, n, g.type & 8 ? 4 : 2);
    if (r == X86_OK && inner)
        r = x86_set_accessed(cpu, &ss);
    if (r == X86_OK)
        r = x86_set_accessed(cpu, &cs);
    if (r != X86_OK)
        return r;
    if (inner)
        x86_put_seg(cpu, X86_SS, ss_sel, &ss);
    cpu->r[X86_RSP] = s.sp;
    enter_prot(cpu, &g, &cs, cpl);
    return X86_OK;
}

/* --- one attempt, and what to do when it fails --- */

/* State an exception changes even if its delivery then fails. */
static void note_event(struct x86_cpu *cpu, const struct x86_event *ev)
{
    if (is_soft(ev) || ev->kind == X86_EV_INTR)
        return;
    if (ev->vector == X86_PF)
        cpu->cr2 = ev->cr2;
    if (ev->vector == X86_DB && ev->kind != X86_EV_NMI) {
        if (ev->kind != X86_EV_ICEBP)
            cpu->dr6 = (cpu->dr6 & ~UINT64_C(0xf)) | ev->dr6;
        cpu->dr7 &= ~(uint64_t)X86_DR7_GD;
    }
}

static enum x86_result attempt(struct x86_cpu *cpu, struct x86_event *ev)
{
    if (cpu->mode & X86_MODE_REAL) {
        return deliver_real(cpu, ev);
    }
    if (cpu->mode & X86_MODE_V86 && ev->kind == X86_EV_SOFT) {
        bool done;
        enum x86_result r = soft_v86(cpu, ev, &done);
        if (r != X86_OK || done)
            return r;
    }
    return cpu->long_mode ? deliver_long(cpu, ev) : deliver_prot(cpu, ev);
}

enum fault_class { BENIGN, CONTRIBUTORY, PAGE, DOUBLE };

static enum fault_class class_of(const struct x86_event *ev)
{
    static const uint8_t classes[32] = {
        [X86_DE] = CONTRIBUTORY, [X86_DF] = DOUBLE,        [X86_TS] = CONTRIBUTORY,
        [X86_NP] = CONTRIBUTORY, [X86_STK] = CONTRIBUTORY, [X86_GP] = CONTRIBUTORY,
        [X86_PF] = PAGE,
    };
    bool exception = ev->kind == X86_EV_FAULT || ev->kind == X86_EV_TRAP;
    return exception && ev->vector < 32 ? (enum fault_class)classes[ev->vector] : BENIGN;
}

/* SDM Vol.3A table 6-5: replaces *ev by what is to be delivered after `second` happened on its way.
 * False: shutdown. */
static bool combine(struct x86_cpu *cpu, struct x86_event *ev, const struct x86_event *second)
{
    enum fault_class a = class_of(ev), b = class_of(second);
    if (b == PAGE && (a == DOUBLE || a == PAGE))
        cpu->cr2 = second->cr2; /* it happened, though nobody will be told as a page fault */
    if (a == DOUBLE && b != BENIGN)
        return false;
    if ((a == CONTRIBUTORY && b == CONTRIBUTORY) || (a == PAGE && b != BENIGN)) {
        *ev = (struct x86_event){
            .vector = X86_DF, .kind = X86_EV_FAULT, .has_error = true, .valid = true};
        return true;
    }
    *ev = *second;
    return true;
}

/* Error codes of faults met while delivering anything but a software interrupt carry EXT: SDM
 * Vol.3A 6.13. */
static void mark_ext(struct x86_event *second, const struct x86_event *first)
{
    bool selector_code = second->vector >= X86_TS && second->vector <= X86_GP;
    if (!is_soft(first) && second->has_error && selector_code)
        second->error |= 1;
}

/* Does the host want to see this exception before the guest does? */
static bool host_wants(const struct x86_cpu *cpu, const struct x86_event *ev)
{
    bool exception = ev->kind != X86_EV_INTR && ev->kind != X86_EV_NMI && ev->kind != X86_EV_SOFT;
    return exception && ev->vector < 32 && cpu->exc_exits >> ev->vector & 1 && !ev->seen;
}

/* Keep the event for the next attempt. */
static void keep(struct x86_cpu *cpu, const struct x86_event *ev)
{
    cpu->injected = *ev;
    cpu->injected.retry = true;
}

/* Would executing the instruction once more bring the event back? */
static bool comes_back(const struct x86_event *ev)
{
    return ev->kind != X86_EV_INTR && ev->kind != X86_EV_NMI && ev->kind != X86_EV_TRAP &&
           !ev->seen;
}

/* The delivery waits for the host. Software interrupts belong to their instruction, which is
 * executed once more; for faults, the instruction has had its accesses. */
static void suspend(struct x86_cpu *cpu, const struct x86_event *ev)
{
    bool instruction = is_soft(ev) || ev->kind == X86_EV_ICEBP;
    if (!instruction || ev->seen)
        keep(cpu, ev);
}

static void entered(struct x86_cpu *cpu, const struct x86_event *ev)
{
    cpu->shadow = 0;
    cpu->halted = false;
    cpu->mwait = false;
    cpu->no_trap = true;
    if (ev->kind == X86_EV_NMI)
        cpu->nmi_blocked = true;
    cpu->leave = X86_LEAVE_LOOKUP;
}

static enum x86_result shut_down(struct x86_cpu *cpu)
{
    cpu->shutdown = true;
    cpu->leave = X86_LEAVE_SHUTDOWN;
    return X86_EXIT;
}

enum x86_result x86_deliver(struct x86_cpu *cpu, const struct x86_event *event)
{
    const struct x86_event first = *event;
    struct x86_event ev = first;

    if (event == &cpu->injected)
        cpu->injected.valid = false;
    for (unsigned tries = 0;; tries++) {
        if (X86_UNLIKELY(cpu->exc_exits && !first.retry && host_wants(cpu, &ev))) {
            enum x86_result r = cpu->ops->exception(cpu, &ev);
            if (r != X86_OK) {
                /* Met on the way: the host may have repaired the cause, so try again. */
                if (tries && r == X86_EXIT)
                    suspend(cpu, &first);
                else if (tries && !cpu->injected.valid && !comes_back(&first))
                    keep(cpu, &first);
                cpu->leave = r == X86_EXIT ? X86_LEAVE_EXIT : X86_LEAVE_LOOKUP;
                return r;
            }
        }
        if (cpu->mode & X86_MODE_REAL)
            ev.has_error = false;
        note_event(cpu, &ev);
        enum x86_result r = attempt(cpu, &ev);
        if (X86_LIKELY(r == X86_OK)) {
            cpu->diverted = tries > 0;
            entered(cpu, &ev);
            return X86_OK;
        }
        if (r != X86_EXC) {
            suspend(cpu, &first);
            return r;
        }
        struct x86_event second = cpu->exc;
        mark_ext(&second, &ev);
        if (!combine(cpu, &ev, &second))
            return shut_down(cpu);
        if (tries ==
            4) { /* benign faults can follow each other for ever: let the run loop breathe */
            cpu->injected = ev;
            cpu->diverted = true;
            cpu->leave = X86_LEAVE_LOOKUP;
            return X86_OK;
        }
    }
}
