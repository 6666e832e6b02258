/*
 * What lib/x86 asks of its owner: memory through the VM's slots, devices through core.
 *
 * Every device access of an instruction is remembered until the instruction retires. When a later
 * access of the same instruction has to wait for the host, the instruction is executed again from
 * its start and the remembered accesses are not repeated.
 */
#include <string.h>

#include "engine/engine.h"
#include "state/state.h"
#include "x86/mem.h"
#include "x86/sys.h"

/* --- memory --- */

static void op_page(struct x86_cpu *cpu, uint64_t gpa, enum x86_access acc, struct x86_page *out)
{
    const struct vmi_slot *s = vmi_memory_slot(vmi_engine_of(cpu)->owner->vm, gpa);
    (void)acc;
    *out = (struct x86_page){0};
    if (s == NULL || !(s->prot & (VMLIB_PROT_R | VMLIB_PROT_X)))
        return;
    out->host = s->prot & VMLIB_PROT_R || acc == X86_ACC_EXEC
                    ? s->host + ((gpa - s->gpa) & ~X86_PAGE_MASK)
                    : NULL;
    out->writable = s->prot & VMLIB_PROT_W;
    out->exec = s->prot & VMLIB_PROT_X;
    out->write_slow = s->dirty != NULL;
}

static void mark_dirty(const struct vmi_slot *s, uint64_t at)
{
    if (s->dirty != NULL)
        atomic_fetch_or_explicit(&s->dirty[at >> 18], UINT64_C(1) << (at >> 12 & 63),
                                 memory_order_relaxed);
}

static void raw_store(uint8_t *p, uint64_t value, unsigned size)
{
    uintptr_t at = (uintptr_t)p;
    if (size == 8)
        x86_raw_st64(at, value);
    else if (size == 4)
        x86_raw_st32(at, (uint32_t)value);
    else if (size == 2)
        x86_raw_st16(at, (uint16_t)value);
    else
        for (unsigned i = 0; i < size; i++)
            x86_raw_st8(at + i, (uint8_t)(value >> 8 * i));
}

static bool store(struct vmi_engine *e, uint64_t gpa, uint64_t value, unsigned size)
{
    const struct vmi_slot *s = vmi_memory_slot(e->owner->vm, gpa);
    if (s == NULL || !(s->prot & VMLIB_PROT_W))
        return false;
    raw_store(s->host + (gpa - s->gpa), value, size); /* slots and accesses end at pages */
    mark_dirty(s, gpa - s->gpa);
    return true;
}

static void op_before_rmw(struct x86_cpu *cpu, uint64_t gpa, unsigned size)
{
    const struct vmi_slot *s = vmi_memory_slot(vmi_engine_of(cpu)->owner->vm, gpa);
    (void)size;
    if (s != NULL)
        mark_dirty(s, gpa - s->gpa);
}

/* --- accesses of the instruction that have their answers --- */

/* An instruction is recognised by its position in the stream; elements of REP by rCX, too. */
static const struct x86_answer *replay(struct vmi_engine *e, unsigned kind, uint64_t addr,
                                       unsigned size)
{
    struct x86_cpu *cpu = &e->cpu;
    if (e->answer_serial != e->executed || e->answer_rcx != cpu->r[X86_RCX]) {
        e->answer_serial = e->executed;
        e->answer_rcx = cpu->r[X86_RCX];
        cpu->nanswers = cpu->next_answer = 0;
    }
    if (cpu->next_answer >= cpu->nanswers)
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
    cpu->answer[cpu->nanswers++] = (struct x86_answer){
        .addr = addr, .kind = (uint8_t)kind, .size = (uint8_t)size, .value = {value, nobody}};
    cpu->next_answer = cpu->nanswers;
}

void vmi_engine_record_answer(struct vmi_engine *e)
{
    const struct vmlib_exit *x = &e->owner->exit;
    struct x86_answer a = {.addr = e->wait_addr, .kind = e->wait_kind, .size = e->wait_size};
    switch (e->wait_kind) {
    case VMI_ANSWER_READ:
        a.value[0] = x->u.mmio.value;
        break;
    case VMI_ANSWER_IN:
        a.value[0] = x->u.pio.value;
        break;
    case VMI_ANSWER_RDMSR:
    case VMI_ANSWER_WRMSR:
        a.value[0] = x->u.msr.value;
        break;
    case VMI_ANSWER_CPUID:
        a.value[0] = x->u.cpuid.eax;
        a.value[1] = x->u.cpuid.ebx;
        a.value[2] = x->u.cpuid.ecx;
        a.value[3] = x->u.cpuid.edx;
        break;
    case VMI_ANSWER_CALL:
        a.value[0] = x->u.hypercall.result;
        break;
    default:
        break;
    }
    if (e->cpu.nanswers < X86_NANSWERS)
        e->cpu.answer[e->cpu.nanswers++] = a;
}

/* --- verdicts --- */

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

static enum x86_result take(struct vmi_engine *e, enum vmi_verdict verdict, unsigned kind,
                            uint64_t addr, unsigned size)
{
    struct x86_cpu *cpu = &e->cpu;
    x86_tlb_flush(cpu); /* the map may have changed */
    switch (verdict) {
    case VMI_INJECT:
        vmi_event_from_api(&e->owner->exit.inject, &cpu->exc);
        cpu->leave = X86_LEAVE_EXC;
        return X86_EXC;
    case VMI_EXIT:
        e->wait_kind = (uint8_t)kind;
        e->wait_addr = addr;
        e->wait_size = (uint8_t)size;
        e->dispatched = true;
        cpu->leave = X86_LEAVE_EXIT;
        return X86_EXIT;
    case VMI_GO_LEAVE:
        e->leave_after = true;
        break;
    default:
        break;
    }
    if (cpu->resync || e->leave_after) { /* a string instruction ends with this element */
        cpu->resync = true;
        __atomic_store_n(&cpu->poll, 1, __ATOMIC_SEQ_CST);
    }
    return cpu->rip_set ? abandon(e) : X86_OK;
}

/* --- devices --- */

static enum x86_result device(struct vmi_engine *e, unsigned kind, uint64_t gpa, uint64_t lin,
                              unsigned size, uint64_t *value)
{
    const struct x86_answer *a = replay(e, kind, gpa, size);
    if (a != NULL) {
        *value = a->value[0];
        return X86_OK;
    }
    x86_fp_sync(&e->cpu);
    enum vmi_verdict verdict =
        vmi_exit_mmio(e->owner, gpa, lin, size, kind == VMI_ANSWER_WRITE, value);
    enum x86_result r = take(e, verdict, kind, gpa, size);
    if (r == X86_OK)
        remember(e, kind, gpa, size, *value, false);
    return r;
}

static enum x86_result op_read_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, unsigned size)
{
    uint64_t value = 0;
    enum x86_result r = device(vmi_engine_of(cpu), VMI_ANSWER_READ, gpa, lin, size, &value);
    cpu->tmp = value;
    return r;
}

static enum x86_result op_write_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin,
                                     uint64_t value, unsigned size)
{
    struct vmi_engine *e = vmi_engine_of(cpu);
    if (size < 8)
        value &= (UINT64_C(1) << (8 * size)) - 1;
    return store(e, gpa, value, size) ? X86_OK
                                      : device(e, VMI_ANSWER_WRITE, gpa, lin, size, &value);
}

enum x86_result vmi_engine_port(struct vmi_engine *e, bool write, uint16_t number, unsigned size,
                                uint32_t *value)
{
    unsigned kind = write ? VMI_ANSWER_OUT : VMI_ANSWER_IN;
    const struct x86_answer *a = replay(e, kind, number, size);
    if (a != NULL) {
        *value = (uint32_t)a->value[0];
        return X86_OK;
    }
    x86_fp_sync(&e->cpu);
    enum vmi_verdict verdict = vmi_exit_pio(e->owner, number, size, write, value);
    enum x86_result r = take(e, verdict, kind, number, size);
    if (r == X86_OK)
        remember(e, kind, number, size, *value, false);
    return r;
}

static enum x86_result op_pio_read(struct x86_cpu *cpu, uint16_t number, unsigned size)
{
    uint32_t value = 0;
    enum x86_result r = vmi_engine_port(vmi_engine_of(cpu), false, number, size, &value);
    cpu->tmp = value;
    return r;
}

static enum x86_result op_pio_write(struct x86_cpu *cpu, uint16_t number, uint32_t value,
                                    unsigned size)
{
    if (size < 4)
        value &= (1u << (8 * size)) - 1;
    return vmi_engine_port(vmi_engine_of(cpu), true, number, size, &value);
}

/* --- MSRs --- */

static enum x86_result msr(struct vmi_engine *e, bool write, uint32_t index, bool known,
                           uint64_t *value)
{
    unsigned kind = write ? VMI_ANSWER_WRMSR : VMI_ANSWER_RDMSR;
    const struct x86_answer *a = replay(e, kind, index, 8);
    if (a != NULL) {
        *value = a->value[0];
        return a->value[1] ? X86_AGAIN : X86_OK;
    }
    enum vmi_verdict verdict = vmi_exit_msr(e->owner, index, write, known, value);
    enum x86_result r = take(e, verdict, kind, index, 8);
    if (r != X86_OK)
        return r;
    remember(e, kind, index, 8, *value, verdict == VMI_NONE);
    return verdict == VMI_NONE ? X86_AGAIN : X86_OK;
}

static enum x86_result unknown_msr(struct x86_cpu *cpu, bool write, uint32_t index, uint64_t *value)
{
    enum x86_result r = msr(vmi_engine_of(cpu), write, index, false, value);
    return r == X86_AGAIN ? x86_fault_err(cpu, X86_GP, 0) : r;
}

static enum x86_result op_rdmsr(struct x86_cpu *cpu, uint32_t index)
{
    uint64_t value = 0;
    enum x86_result r = unknown_msr(cpu, false, index, &value);
    cpu->tmp = value;
    return r;
}

static enum x86_result op_wrmsr(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
    return unknown_msr(cpu, true, index, &value);
}

static enum x86_result op_msr_first(struct x86_cpu *cpu, uint32_t index, bool write, uint64_t value)
{
    if (!x86_msr_known(cpu, index))
        return X86_AGAIN; /* asked once: by rdmsr and wrmsr above */
    enum x86_result r = msr(vmi_engine_of(cpu), write, index, true, &value);
    cpu->tmp = value;
    return r;
}

/* --- questions --- */

static enum x86_result op_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
    struct vmi_engine *e = vmi_engine_of(cpu);
    uint64_t key = (uint64_t)leaf << 32 | subleaf;
    uint32_t out[4];
    const struct x86_answer *a = NULL;
    x86_cpuid_lookup(cpu, &e->cpuid, leaf, subleaf, out);
    if (atomic_load_explicit(&e->owner->vm->nhandlers[VMLIB_HANDLER_CPUID], memory_order_relaxed) !=
            0 &&
        (a = replay(e, VMI_ANSWER_CPUID, key, 16)) == NULL) {
        enum vmi_verdict verdict = vmi_exit_cpuid(e->owner, leaf, subleaf, out);
        enum x86_result r = take(e, verdict, VMI_ANSWER_CPUID, key, 16);
        if (r != X86_OK)
            return r;
    }
    for (unsigned i = 0; i < 4; i++)
        cpu->tmpq[i] = a != NULL ? a->value[i] : out[i];
    return X86_OK;
}

static enum x86_result op_hypercall(struct x86_cpu *cpu)
{
    struct vmi_engine *e = vmi_engine_of(cpu);
    struct vmlib_exit *exit = &e->owner->exit;
    const struct x86_answer *a = replay(e, VMI_ANSWER_CALL, 0, 8);
    const uint64_t *r = cpu->r, mask = x86_in_long64(cpu) ? UINT64_MAX : UINT32_MAX;
    uint64_t result = a != NULL ? a->value[0] : 0;
    if (a == NULL) {
        exit->reason = VMLIB_EXIT_HYPERCALL;
        exit->u.hypercall = (struct vmlib_exit_hypercall){.rax = r[X86_RAX] & mask,
                                                          .rbx = r[X86_RBX] & mask,
                                                          .rcx = r[X86_RCX] & mask,
                                                          .rdx = r[X86_RDX] & mask,
                                                          .rsi = r[X86_RSI] & mask,
                                                          .rdi = r[X86_RDI] & mask,
                                                          .result = r[X86_RAX] & mask};
        enum vmi_verdict verdict = vmi_exit_dispatch(e->owner);
        enum x86_result res = take(e, verdict, VMI_ANSWER_CALL, 0, 8);
        if (res != X86_OK)
            return res;
        result = exit->u.hypercall.result;
    }
    cpu->r[X86_RAX] = x86_in_long64(cpu) ? result : (uint32_t)result;
    return X86_OK;
}

static uint64_t op_random(struct x86_cpu *cpu)
{
    struct vmi_engine *e = vmi_engine_of(cpu);
    uint64_t x = e->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static enum x86_result op_exception(struct x86_cpu *cpu, const struct x86_event *ev)
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

/* Other vCPUs execute on the processor: there is no lock that would hold them off. */
static void op_no_lock(struct x86_cpu *cpu)
{
    (void)cpu;
}

const struct x86_ops vmi_engine_ops = {
    .page = op_page,
    .read_phys = op_read_phys,
    .write_phys = op_write_phys,
    .before_rmw = op_before_rmw,
    .pio_read = op_pio_read,
    .pio_write = op_pio_write,
    .rdmsr = op_rdmsr,
    .wrmsr = op_wrmsr,
    .msr_first = op_msr_first,
    .cpuid = op_cpuid,
    .hypercall = op_hypercall,
    .random = op_random,
    .exception = op_exception,
    .split_lock = op_no_lock,
    .split_unlock = op_no_lock,
};
