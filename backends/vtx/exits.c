/*
 * VM exits (SDM Vol.3C appendix C). Most are instructions that lib/x86 executes in the processor's
 * place; events, and the frequent instructions of quick.c, have what they need in the exit's
 * fields.
 */
#include <stdio.h>
#include <string.h>

#include "vtx/vtx.h"
#include "x86/flags.h"
#include "x86/mem.h"

enum reason {
    EXIT_EVENT = 0,
    EXIT_TRIPLE_FAULT = 2,
    EXIT_INTERRUPT_WINDOW = 7,
    EXIT_NMI_WINDOW = 8,
    EXIT_CPUID = 10,
    EXIT_HLT = 12,
    EXIT_IO = 30,
    EXIT_RDMSR = 31,
    EXIT_WRMSR = 32,
    EXIT_TIMER = 52,
    EXIT_LAST = 64
};

bool vtx_internal(struct vtx_cpu *v, uint32_t code, const char *text)
{
    struct vmlib_exit *exit = &v->e.owner->exit;
    const struct vmlib_vtx_run *run = v->run;
    exit->reason = VMLIB_EXIT_INTERNAL;
    exit->u.internal = (struct vmlib_exit_internal){
        .code = code, .data = {run->reason, run->qualification, run->gpa, run->status}};
    snprintf(exit->u.internal.text, sizeof(exit->u.internal.text), "%s", text);
    vmi_engine_dispatch(&v->e);
    return false;
}

/* Everything that lib/x86 may touch is current. */
static bool ready(struct vtx_cpu *v)
{
    if (!vtx_need_all(v))
        return false;
    vtx_need_fpu(v);
    return true;
}

bool vtx_execute(struct vtx_cpu *v)
{
    return ready(v) && vmi_engine_step(&v->e);
}

bool vtx_after(struct vtx_cpu *v)
{
    return ready(v) && vmi_engine_after(&v->e);
}

/* --- events --- */

/* The exit came in the middle of a delivery: do all of it again, in software. */
static bool deliver_interrupted(struct vtx_cpu *v)
{
    struct vmlib_vtx_run *run = v->run;
    struct x86_event ev =
        vtx_event(run->vectoring_event, run->vectoring_error, run->instruction_length);
    ev.cr2 = run->cr2; /* has been written */
    run->vectoring_event = 0;
    if (ev.insn_len != 0) /* INT n, INT3, INTO, INT1: nothing has happened yet */
        return vtx_execute(v);
    if (ev.kind == X86_EV_NMI)
        v->e.cpu.nmi_blocked = true;
    return ready(v) && vmi_engine_deliver(&v->e, &ev, false);
}

/* Which breakpoints are on instructions makes #DB a fault (SDM Vol.3B 17.3.1). */
static uint8_t debug_kind(const struct x86_cpu *cpu, uint64_t dr6)
{
    for (unsigned i = 0; i < 4; i++)
        if (dr6 >> i & 1 && !(cpu->dr7 >> (16 + 4 * i) & 3))
            return X86_EV_FAULT;
    return dr6 & 1u << 13 ? X86_EV_FAULT : X86_EV_TRAP;
}

/* #AC although the guest has not switched it on: a locked access across cache lines, on a host that
 * detects those (SDM Vol.3A 9.1.2.3). The guest knows nothing of it. */
static bool of_the_host(const struct x86_cpu *cpu, const struct x86_event *ev)
{
    return ev->vector == X86_AC && ev->kind == X86_EV_FAULT &&
           !(cpu->cpl == 3 && cpu->cr0 & X86_CR0_AM && cpu->eflags & X86_FL_AC);
}

static bool exit_event(struct vtx_cpu *v)
{
    const struct vmlib_vtx_run *run = v->run;
    struct x86_event ev = vtx_event(run->exit_event, run->exit_error, run->instruction_length);
    if (ev.vector == X86_PF && ev.kind == X86_EV_FAULT)
        ev.cr2 = run->qualification;
    if (ev.vector == X86_DB && ev.kind == X86_EV_FAULT) {
        ev.dr6 = run->qualification & 0x600f;
        ev.kind = debug_kind(&v->e.cpu, ev.dr6);
    }
    if (!ready(v))
        return false;
    return of_the_host(&v->e.cpu, &ev) ? vtx_execute(v) : vmi_engine_deliver(&v->e, &ev, true);
}

static bool exit_triple_fault(struct vtx_cpu *v)
{
    v->e.cpu.shutdown = true;
    return true;
}

/* The loop looks at everything anyway. */
static bool exit_window(struct vtx_cpu *v)
{
    (void)v;
    return true;
}

/* --- the table --- */

bool vtx_exit(struct vtx_cpu *v)
{
    static bool (*const table[EXIT_LAST])(struct vtx_cpu *) = {
        [EXIT_EVENT] = exit_event,
        [EXIT_TRIPLE_FAULT] = exit_triple_fault,
        [EXIT_INTERRUPT_WINDOW] = exit_window,
        [EXIT_NMI_WINDOW] = exit_window,
        [EXIT_CPUID] = vtx_quick_cpuid,
        [EXIT_HLT] = vtx_quick_hlt,
        [EXIT_IO] = vtx_quick_io,
        [EXIT_RDMSR] = vtx_quick_rdmsr,
        [EXIT_WRMSR] = vtx_quick_wrmsr,
        [EXIT_TIMER] = exit_window,
    };
    const struct vmlib_vtx_run *run = v->run;
    uint32_t reason = run->reason & 0xffff;
    v->last = reason < EXIT_LAST ? UINT64_C(1) << reason : 0;
    if (run->vectoring_event >> 31)
        return deliver_interrupted(v);
    return reason < EXIT_LAST && table[reason] != NULL ? table[reason](v) : vtx_execute(v);
}
