/*
 * VM exits (SDM Vol.3C appendix C). Most are instructions that lib/x86 executes in the processor's
 * place; port accesses and events have what they need in the exit's fields.
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
    EXIT_IO = 30,
    EXIT_EPT_VIOLATION = 48,
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
    x86_mode_refresh(&v->e.cpu);
    x86_tlb_flush(&v->e.cpu);
    return true;
}

static bool execute(struct vtx_cpu *v)
{
    return ready(v) && vmi_engine_step(&v->e);
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
        return execute(v);
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
    return ready(v) && vmi_engine_deliver(&v->e, &ev, true);
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

/* --- port accesses --- */

static void put_result(struct x86_cpu *cpu, uint32_t value, unsigned size)
{
    uint64_t *rax = &cpu->r[X86_RAX];
    if (size == 4)
        *rax = value;
    else if (size == 2)
        *rax = (*rax & ~UINT64_C(0xffff)) | (uint16_t)value;
    else
        *rax = (*rax & ~UINT64_C(0xff)) | (uint8_t)value;
}

/* The processor has decoded an instruction, and it is done. */
static bool retired(struct vtx_cpu *v)
{
    struct x86_cpu *cpu = &v->e.cpu;
    cpu->rip += v->run->instruction_length;
    cpu->shadow = 0;
    cpu->eflags &= ~X86_FL_RF;
    cpu->left--;
    v->e.skip_exec_bp = false;
    return true;
}

/* SDM Vol.3C table 27-5. Privilege has been checked. */
static bool exit_io(struct vtx_cpu *v)
{
    const struct vmlib_vtx_run *run = v->run;
    struct vmi_engine *e = &v->e;
    struct x86_cpu *cpu = &e->cpu;
    uint64_t q = run->qualification;
    unsigned size = (unsigned)(q & 7) + 1;
    bool in = q >> 3 & 1;
    if (q & 0x30 || cpu->eflags & X86_FL_TF || run->debug.dr7 & 0xff)
        return execute(v); /* strings, traps after it */
    uint32_t mask = size == 4 ? UINT32_MAX : (1u << 8 * size) - 1;
    uint32_t value = in ? 0 : (uint32_t)cpu->r[X86_RAX] & mask;
    e->in_insn = true;
    enum x86_result r = vmi_engine_port(e, !in, (uint16_t)(q >> 16), size, &value);
    e->in_insn = false;
    cpu->rip_set = cpu->resync = false;
    if (r != X86_OK)
        return ready(v) && vmi_engine_after(e);
    if (in)
        put_result(cpu, value, size);
    return retired(v);
}

/* --- the table --- */

bool vtx_exit(struct vtx_cpu *v)
{
    static bool (*const table[EXIT_LAST])(struct vtx_cpu *) = {
        [EXIT_EVENT] = exit_event,
        [EXIT_TRIPLE_FAULT] = exit_triple_fault,
        [EXIT_INTERRUPT_WINDOW] = exit_window,
        [EXIT_NMI_WINDOW] = exit_window,
        [EXIT_IO] = exit_io,
        [EXIT_TIMER] = exit_window,
    };
    const struct vmlib_vtx_run *run = v->run;
    uint32_t reason = run->reason & 0xffff;
    if (run->vectoring_event >> 31)
        return deliver_interrupted(v);
    return reason < EXIT_LAST && table[reason] != NULL ? table[reason](v) : execute(v);
}
