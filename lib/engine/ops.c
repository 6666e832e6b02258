/*
 * What lib/x86 asks of its owner: device accesses, MSRs, CPUID, hypercalls, chance.
 *
 * Every device access of an instruction is remembered in cpu.answer[] until the instruction
 * retires. When a later access of the same instruction has to wait for the host, the instruction is
 * executed again from its start and the remembered accesses are not repeated.
 */
#include <string.h>

#include "engine/engine.h"
#include "state/state.h"
#include "x86/flags.h"
#include "x86/handlers.h"

void vmi_engine_sync_rip(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    if (e->in_insn && !cpu->rip_set && cpu->cur)
        cpu->rip = x86_this_rip(cpu, cpu->cur) & x86_ip_mask(cpu);
}

/* --- accesses of the current instruction --- */

/* An instruction is recognised by its position in the instruction stream; elements of REP by rCX
 * too. */
static void open_answers(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    uint64_t count = vmi_engine_instructions(e), rcx = cpu->r[X86_RCX];
    if (e->answer_count == count && e->answer_rcx == rcx)
        return;
    e->answer_count = count;
    e->answer_rcx = rcx;
    cpu->nanswers = cpu->next_answer = 0;
}

static const struct x86_answer *replay(struct vmi_engine *e, unsigned kind, uint64_t addr,
                                       unsigned size)
{
    struct x86_cpu *cpu = &e->cpu;
    open_answers(e);
    if (X86_LIKELY(cpu->next_answer >= cpu->nanswers))
        return NULL;
    const struct x86_answer *a = &cpu->answer[cpu->next_answer];
    if (a->kind != kind || a->addr != addr || a->size != size) {
        cpu->nanswers = cpu->next_answer; /* the instruction took another way this time */
        return NULL;
    }
    cpu->next_answer++;
    return a;
}

static void remember(struct vmi_engine *e, unsigned kind, uint64_t addr, unsigned size,
                     uint64_t value, bool nobody)
{
    struct x86_cpu *cpu = &e->cpu;
    if (cpu->nanswers == X86_NANSWERS)
        return; /* more accesses than any instruction makes */
    struct x86_answer *a = &cpu->answer[cpu->nanswers++];
    a->kind = (uint8_t)kind;
    a->addr = addr;
    a->size = (uint8_t)size;
    a->value[0] = value;
    a->value[1] = nobody; /* of MSRs */
    cpu->next_answer = cpu->nanswers;
}

/* --- verdicts --- */

static enum x86_result leave_for_host(struct vmi_engine *e, unsigned kind, uint64_t addr,
                                      unsigned size)
{
    e->wait_kind = (uint8_t)kind;
    e->wait_addr = addr;
    e->wait_size = (uint8_t)size;
    e->dispatched = true;
    e->cpu.leave = X86_LEAVE_EXIT;
    return X86_EXIT;
}

/* The handler has moved rip: the instruction counts, but has no further effect (exit contract 5.7).
 */
static enum x86_result abandon(struct vmi_engine *e)
{
    e->dispatched = true; /* run() returns without a record, and core calls it again */
    e->cpu.nanswers = e->cpu.next_answer = 0;
    e->cpu.left--;
    e->cpu.leave = X86_LEAVE_EXIT;
    return X86_EXIT;
}

/* Nothing may be executed behind the instruction (or element of a string) in progress. Handlers
 * that called an op look at cpu.resync; for those that reached the device through memory, the next
 * uop of their block is replaced. */
static void end_here(struct vmi_engine *e)
{
    struct x86_cpu *cpu = &e->cpu;
    __atomic_store_n(&cpu->poll, 1, __ATOMIC_SEQ_CST);
    cpu->resync = true;
    if (cpu->cur && cpu->cur->rem > 1)
        cpu->cur[1].fn = x86_op_dead;
}

static enum x86_result take(struct vmi_engine *e, enum vmi_verdict verdict, unsigned kind,
                            uint64_t addr, unsigned size)
{
    struct x86_cpu *cpu = &e->cpu;
    bool stale = e->hooks->inside(e);
    if (X86_UNLIKELY(verdict == VMI_GO_LEAVE))
        e->leave_after = true;
    if (X86_UNLIKELY(cpu->resync || e->leave_after || stale))
        end_here(e);
    switch (verdict) {
    case VMI_INJECT:
        vmi_event_from_api(&e->owner->exit.inject, &cpu->exc);
        cpu->leave = X86_LEAVE_EXC;
        return X86_EXC;
    case VMI_EXIT:
        return leave_for_host(e, kind, addr, size);
    default:
        return X86_UNLIKELY(cpu->rip_set) ? abandon(e) : X86_OK;
    }
}

/* --- memory that is not plain --- */

static enum x86_result device(struct vmi_engine *e, unsigned kind, uint64_t gpa, uint64_t lin,
                              unsigned size, uint64_t *value)
{
    const struct x86_answer *a = replay(e, kind, gpa, size);
    if (a) {
        *value = a->value[0];
        return X86_OK;
    }
    e->hooks->outside(e);
    enum vmi_verdict verdict =
        vmi_exit_mmio(e->owner, gpa, lin, size, kind == VMI_ANSWER_WRITE, value);
    enum x86_result r = take(e, verdict, kind, gpa, size);
    if (r == X86_OK)
        remember(e, kind, gpa, size, *value, false);
    return r;
}

enum x86_result vmi_engine_read_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, unsigned size)
{
    uint64_t value = 0;
    enum x86_result r = device(vmi_engine_of(cpu), VMI_ANSWER_READ, gpa, lin, size, &value);
    cpu->tmp = value;
    return r;
}

enum x86_result vmi_engine_write_device(struct vmi_engine *e, uint64_t gpa, uint64_t lin,
                                        uint64_t value, unsigned size)
{
    if (size < 8)
        value &= (UINT64_C(1) << (8 * size)) - 1;
    return device(e, VMI_ANSWER_WRITE, gpa, lin, size, &value);
}

/* --- ports --- */

enum x86_result vmi_engine_port(struct vmi_engine *e, bool write, uint16_t number, unsigned size,
                                uint32_t *value)
{
    unsigned kind = write ? VMI_ANSWER_OUT : VMI_ANSWER_IN;
    const struct x86_answer *a = replay(e, kind, number, size);
    if (a) {
        *value = (uint32_t)a->value[0];
        return X86_OK;
    }
    e->hooks->outside(e);
    enum vmi_verdict verdict = vmi_exit_pio(e->owner, number, size, write, value);
    enum x86_result r = take(e, verdict, kind, number, size);
    if (r == X86_OK)
        remember(e, kind, number, size, *value, false);
    return r;
}

enum x86_result vmi_engine_pio_read(struct x86_cpu *cpu, uint16_t number, unsigned size)
{
    uint32_t value = 0;
    enum x86_result r = vmi_engine_port(vmi_engine_of(cpu), false, number, size, &value);
    cpu->tmp = value;
    return r;
}

enum x86_result vmi_engine_pio_write(struct x86_cpu *cpu, uint16_t number, uint32_t value,
                                     unsigned size)
{
    if (size < 4)
        value &= (1u << (8 * size)) - 1;
    return vmi_engine_port(vmi_engine_of(cpu), true, number, size, &value);
}

/* --- MSRs --- */

static enum x86_result msr(struct x86_cpu *cpu, bool write, uint32_t index, bool known,
                           uint64_t *value)
{
    struct vmi_engine *e = vmi_engine_of(cpu);
    unsigned kind = write ? VMI_ANSWER_WRMSR : VMI_ANSWER_RDMSR;
    const struct x86_answer *a = replay(e, kind, index, 8);
    if (a) {
        *value = a->value[0];
        return a->value[1] ? X86_AGAIN : X86_OK;
    }
    e->hooks->outside(e);
    enum vmi_verdict verdict = vmi_exit_msr(e->owner, index, write, known, value);
    enum x86_result r = take(e, verdict, kind, index, 8);
    if (r != X86_OK)
        return r;
    remember(e, kind, index, 8, *value, verdict == VMI_NONE);
    return verdict == VMI_NONE ? X86_AGAIN : X86_OK;
}

static enum x86_result unknown_msr(struct x86_cpu *cpu, bool write, uint32_t index, uint64_t *value)
{
    enum x86_result r = msr(cpu, write, index, false, value);
    return r == X86_AGAIN ? x86_fault_err(cpu, X86_GP, 0) : r;
}

enum x86_result vmi_engine_rdmsr(struct x86_cpu *cpu, uint32_t index)
{
    uint64_t value = 0;
    enum x86_result r = unknown_msr(cpu, false, index, &value);
    cpu->tmp = value;
    return r;
}

enum x86_result vmi_engine_wrmsr(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
    return unknown_msr(cpu, true, index, &value);
}

enum x86_result vmi_engine_msr_first(struct x86_cpu *cpu, uint32_t index, bool write,
                                     uint64_t value)
{
    if (!x86_msr_known(cpu, index))
        return X86_AGAIN; /* asked once: by rdmsr and wrmsr above */
    enum x86_result r = msr(cpu, write, index, true, &value);
    cpu->tmp = value;
    return r;
}

/* --- CPUID, hypercalls, exceptions --- */

enum x86_result vmi_engine_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
    struct vmi_engine *e = vmi_engine_of(cpu);
    uint64_t key = (uint64_t)leaf << 32 | subleaf;
    uint32_t out[4];
    const struct x86_answer *a = NULL;
    x86_cpuid_lookup(cpu, &e->cpuid, leaf, subleaf, out);
    if (X86_UNLIKELY(atomic_load_explicit(&e->owner->vm->nhandlers[VMLIB_HANDLER_CPUID],
                                          memory_order_relaxed)) &&
        !(a = replay(e, VMI_ANSWER_CPUID, key, 16))) {
        e->hooks->outside(e);
        enum vmi_verdict verdict = vmi_exit_cpuid(e->owner, leaf, subleaf, out);
        enum x86_result r = take(e, verdict, VMI_ANSWER_CPUID, key, 16);
        if (r != X86_OK)
            return r;
    }
    for (unsigned i = 0; i < 4; i++)
        cpu->tmpq[i] = a ? a->value[i] : out[i];
    return X86_OK;
}

enum x86_result vmi_engine_hypercall(struct x86_cpu *cpu)
{
    struct vmi_engine *e = vmi_engine_of(cpu);
    struct vmlib_exit *exit = &e->owner->exit;
    const struct x86_answer *a = replay(e, VMI_ANSWER_CALL, 0, 8);
    const uint64_t *r = cpu->r, mask = x86_in_long64(cpu) ? UINT64_MAX : UINT32_MAX;
    uint64_t result = a ? a->value[0] : 0;
    if (!a) {
        exit->reason = VMLIB_EXIT_HYPERCALL;
        exit->u.hypercall = (struct vmlib_exit_hypercall){.rax = r[X86_RAX] & mask,
                                                          .rbx = r[X86_RBX] & mask,
                                                          .rcx = r[X86_RCX] & mask,
                                                          .rdx = r[X86_RDX] & mask,
                                                          .rsi = r[X86_RSI] & mask,
                                                          .rdi = r[X86_RDI] & mask,
                                                          .result = r[X86_RAX] & mask};
        e->hooks->outside(e);
        enum vmi_verdict verdict = vmi_exit_dispatch(e->owner);
        enum x86_result res = take(e, verdict, VMI_ANSWER_CALL, 0, 8);
        if (res != X86_OK)
            return res;
        result = exit->u.hypercall.result;
    }
    cpu->r[X86_RAX] = x86_in_long64(cpu) ? result : (uint32_t)result;
    return X86_OK;
}

enum x86_result vmi_engine_exception(struct x86_cpu *cpu, const struct x86_event *ev)
{
    struct vmi_engine *e = vmi_engine_of(cpu);
    struct vmlib_exit *exit = &e->owner->exit;
    exit->reason = VMLIB_EXIT_EXCEPTION;
    vmi_event_to_api(ev, &exit->u.exception.event);
    switch (vmi_engine_dispatch(e)) {
    case VMI_NONE:
        return X86_OK;
    case VMI_INJECT:
        vmi_event_from_api(&exit->inject, &cpu->injected);
        return X86_AGAIN;
    case VMI_EXIT: /* the next run delivers it, unless the host replaces it */
        cpu->injected = *ev;
        e->dispatched = true;
        cpu->leave = X86_LEAVE_EXIT;
        return X86_EXIT;
    case VMI_GO_LEAVE:
        e->leave_after = true;
        return X86_AGAIN;
    default:
        return X86_AGAIN; /* swallowed */
    }
}

/* --- chance --- */

uint64_t vmi_engine_random(struct x86_cpu *cpu)
{
    struct vmi_engine *e = vmi_engine_of(cpu);
    uint64_t x = e->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}
