/*
 * What lib/x86 asks of its owner: device accesses, MSRs, CPUID, hypercalls, time.
 *
 * Every device access of an instruction is remembered in cpu.answer[] until the instruction
 * retires. When a later access of the same instruction has to wait for the host, the instruction is
 * executed again from its start and the remembered accesses are not repeated.
 */
#include <string.h>

#include "soft/soft.h"
#include "x86/handlers.h"

uint64_t soft_retired(const struct soft_vcpu *v)
{
    int64_t left = v->cpu.left + (v->in_block && v->cpu.cur ? v->cpu.cur->rem : 0);
    return v->retired + (uint64_t)(v->handed_out - left);
}

void soft_sync_rip(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->cpu;
    if (v->in_block && !cpu->rip_set && cpu->cur)
        cpu->rip = x86_this_rip(cpu, cpu->cur) & x86_ip_mask(cpu);
}

/* --- accesses of the current instruction --- */

/* An instruction is recognised by its position in the instruction stream; elements of REP by rCX
 * too. */
static void open_answers(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->cpu;
    uint64_t count = soft_retired(v), rcx = cpu->r[X86_RCX];
    if (v->answer_count == count && v->answer_rcx == rcx)
        return;
    v->answer_count = count;
    v->answer_rcx = rcx;
    cpu->nanswers = cpu->next_answer = 0;
}

static const struct x86_answer *replay(struct soft_vcpu *v, unsigned kind, uint64_t addr,
                                       unsigned size)
{
    struct x86_cpu *cpu = &v->cpu;
    open_answers(v);
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

static void remember(struct soft_vcpu *v, unsigned kind, uint64_t addr, unsigned size,
                     uint64_t value, bool refused)
{
    struct x86_cpu *cpu = &v->cpu;
    if (cpu->nanswers == X86_NANSWERS)
        return; /* more accesses than any instruction makes */
    struct x86_answer *a = &cpu->answer[cpu->nanswers++];
    a->kind = (uint8_t)kind;
    a->addr = addr;
    a->size = (uint8_t)size;
    a->value[0] = value;
    a->value[1] = refused; /* of MSRs */
    cpu->next_answer = cpu->nanswers;
}

/* --- verdicts --- */

static enum x86_result leave_for_host(struct soft_vcpu *v, unsigned kind, uint64_t addr,
                                      unsigned size)
{
    v->wait = (struct soft_wait){(uint8_t)kind, addr, size};
    v->dispatched_exit = true;
    v->cpu.leave = X86_LEAVE_EXIT;
    return X86_EXIT;
}

/* The handler has moved rip: the instruction counts, but has no further effect (exit contract 5.7).
 */
static enum x86_result abandon(struct soft_vcpu *v)
{
    v->dispatched_exit = true; /* run() returns without a record, and core calls it again */
    v->cpu.nanswers = v->cpu.next_answer = 0;
    v->cpu.left--;
    v->cpu.leave = X86_LEAVE_EXIT;
    return X86_EXIT;
}

/* The block must end right behind the instruction in progress. Handlers that called an op look at
 * cpu.resync; for those that reached the device through memory, the next uop is replaced. */
static void end_block_here(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->cpu;
    __atomic_store_n(&cpu->poll, 1, __ATOMIC_SEQ_CST);
    cpu->resync = true;
    if (cpu->cur && cpu->cur->rem > 1)
        cpu->cur[1].fn = x86_op_dead;
}

/* Around functions of the host program. The VM's lock is not held there: a handler may wait for all
 * vCPUs to leave the guest (by changing the map), and one that waits for the lock cannot. */
static void outside(struct soft_vcpu *v)
{
    if (X86_UNLIKELY(v->split_lock))
        pthread_mutex_unlock(&v->vm->split_lock);
    soft_outside(v);
}

static void inside(struct soft_vcpu *v)
{
    soft_enter(v);
    if (X86_UNLIKELY(v->split_lock))
        pthread_mutex_lock(&v->vm->split_lock);
}

static enum x86_result take(struct soft_vcpu *v, enum vmi_verdict verdict, unsigned kind,
                            uint64_t addr, unsigned size)
{
    struct x86_cpu *cpu = &v->cpu;
    /* The map or the code may have changed: the rest of the block is of the old ones. */
    bool changed = __atomic_load_n(&v->req, __ATOMIC_SEQ_CST) != 0;
    inside(v);
    if (X86_UNLIKELY(verdict == VMI_GO_LEAVE))
        v->leave_after = true;
    if (X86_UNLIKELY(cpu->resync || v->leave_after || changed))
        end_block_here(v);
    switch (verdict) {
    case VMI_INJECT:
        vmi_event_from_api(&v->owner->exit.inject, &cpu->exc);
        cpu->leave = X86_LEAVE_EXC;
        return X86_EXC;
    case VMI_EXIT:
        return leave_for_host(v, kind, addr, size);
    default:
        return X86_UNLIKELY(cpu->rip_set) ? abandon(v) : X86_OK;
    }
}

/* --- memory that is not plain --- */

static enum x86_result device(struct soft_vcpu *v, unsigned kind, uint64_t gpa, uint64_t lin,
                              unsigned size, uint64_t *value)
{
    const struct x86_answer *a = replay(v, kind, gpa, size);
    if (a) {
        *value = a->value[0];
        return X86_OK;
    }
    outside(v);
    enum vmi_verdict verdict = vmi_exit_mmio(v->owner, gpa, lin, size, kind == SOFT_WRITE, value);
    enum x86_result r = take(v, verdict, kind, gpa, size);
    if (r == X86_OK)
        remember(v, kind, gpa, size, *value, false);
    return r;
}

static enum x86_result op_read_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, unsigned size)
{
    uint64_t value = 0;
    enum x86_result r = device(soft_of(cpu), SOFT_READ, gpa, lin, size, &value);
    cpu->tmp = value;
    return r;
}

static enum x86_result op_write_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin,
                                     uint64_t value, unsigned size)
{
    struct soft_vcpu *v = soft_of(cpu);
    if (X86_LIKELY(soft_store(v, gpa, value, size)))
        return X86_OK;
    if (size < 8)
        value &= (UINT64_C(1) << (8 * size)) - 1;
    return device(v, SOFT_WRITE, gpa, lin, size, &value);
}

/* The update happens after this call: announce it now, so that this vCPU's own blocks are gone, and
 * once more when it is done, for other vCPUs that decode in between. */
static void op_before_rmw(struct x86_cpu *cpu, uint64_t gpa, unsigned size)
{
    struct soft_vcpu *v = soft_of(cpu);
    if (soft_has_code(v->vm, gpa, size)) {
        v->rmw_gpa = gpa;
        v->rmw_size = size;
        soft_request(v, SOFT_REQ_CODE);
    }
    soft_touched(v->vm, v, gpa, size);
}

/* --- ports --- */

static enum x86_result port(struct soft_vcpu *v, unsigned kind, uint16_t number, unsigned size,
                            uint32_t *value)
{
    const struct x86_answer *a = replay(v, kind, number, size);
    if (a) {
        *value = (uint32_t)a->value[0];
        return X86_OK;
    }
    outside(v);
    enum vmi_verdict verdict = vmi_exit_pio(v->owner, number, size, kind == SOFT_OUT, value);
    enum x86_result r = take(v, verdict, kind, number, size);
    if (r == X86_OK)
        remember(v, kind, number, size, *value, false);
    return r;
}

static enum x86_result op_pio_read(struct x86_cpu *cpu, uint16_t number, unsigned size)
{
    uint32_t value = 0;
    enum x86_result r = port(soft_of(cpu), SOFT_IN, number, size, &value);
    cpu->tmp = value;
    return r;
}

static enum x86_result op_pio_write(struct x86_cpu *cpu, uint16_t number, uint32_t value,
                                    unsigned size)
{
    if (size < 4)
        value &= (1u << (8 * size)) - 1;
    return port(soft_of(cpu), SOFT_OUT, number, size, &value);
}

/* --- MSRs, CPUID, hypercalls --- */

static enum x86_result msr(struct x86_cpu *cpu, unsigned kind, uint32_t index, bool known,
                           uint64_t *value)
{
    struct soft_vcpu *v = soft_of(cpu);
    const struct x86_answer *a = replay(v, kind, index, 8);
    if (a) {
        *value = a->value[0];
        return a->value[1] ? X86_AGAIN : X86_OK;
    }
    outside(v);
    enum vmi_verdict verdict = vmi_exit_msr(v->owner, index, kind == SOFT_WRMSR, known, value);
    enum x86_result r = take(v, verdict, kind, index, 8);
    if (r != X86_OK)
        return r;
    remember(v, kind, index, 8, *value, verdict == VMI_NONE);
    return verdict == VMI_NONE ? X86_AGAIN : X86_OK;
}

static enum x86_result unknown_msr(struct x86_cpu *cpu, unsigned kind, uint32_t index,
                                   uint64_t *value)
{
    enum x86_result r = msr(cpu, kind, index, false, value);
    return r == X86_AGAIN ? x86_fault_err(cpu, X86_GP, 0) : r;
}

static enum x86_result op_rdmsr(struct x86_cpu *cpu, uint32_t index)
{
    uint64_t value = 0;
    enum x86_result r = unknown_msr(cpu, SOFT_RDMSR, index, &value);
    cpu->tmp = value;
    return r;
}

static enum x86_result op_wrmsr(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
    return unknown_msr(cpu, SOFT_WRMSR, index, &value);
}

static enum x86_result op_msr_first(struct x86_cpu *cpu, uint32_t index, bool write, uint64_t value)
{
    if (!x86_msr_known(cpu, index))
        return X86_AGAIN; /* asked once: by rdmsr and wrmsr above */
    enum x86_result r = msr(cpu, write ? SOFT_WRMSR : SOFT_RDMSR, index, true, &value);
    cpu->tmp = value;
    return r;
}

static enum x86_result op_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
    struct soft_vcpu *v = soft_of(cpu);
    uint32_t out[4];
    uint64_t all[4];
    x86_cpuid_lookup(cpu, &v->cpuid, leaf, subleaf, out);
    const struct x86_answer *a = NULL;
    if (X86_UNLIKELY(atomic_load_explicit(&v->vm->owner->nhandlers[VMLIB_HANDLER_CPUID],
                                          memory_order_relaxed)) &&
        !(a = replay(v, SOFT_CPUID, (uint64_t)leaf << 32 | subleaf, 16))) {
        outside(v);
        enum vmi_verdict verdict = vmi_exit_cpuid(v->owner, leaf, subleaf, out);
        enum x86_result r = take(v, verdict, SOFT_CPUID, (uint64_t)leaf << 32 | subleaf, 16);
        if (r != X86_OK)
            return r;
    }
    for (unsigned i = 0; i < 4; i++)
        all[i] = a ? a->value[i] : out[i];
    memcpy(cpu->tmpq, all, sizeof(all));
    return X86_OK;
}

static enum x86_result op_hypercall(struct x86_cpu *cpu)
{
    struct soft_vcpu *v = soft_of(cpu);
    struct vmlib_exit *e = &v->owner->exit;
    const struct x86_answer *a = replay(v, SOFT_CALL, 0, 8);
    uint64_t result;
    if (a) {
        result = a->value[0];
    } else {
        const uint64_t *r = cpu->r;
        uint64_t mask = x86_in_long64(cpu) ? UINT64_MAX : UINT32_MAX;
        e->reason = VMLIB_EXIT_HYPERCALL;
        e->u.hypercall = (struct vmlib_exit_hypercall){.rax = r[X86_RAX] & mask,
                                                       .rbx = r[X86_RBX] & mask,
                                                       .rcx = r[X86_RCX] & mask,
                                                       .rdx = r[X86_RDX] & mask,
                                                       .rsi = r[X86_RSI] & mask,
                                                       .rdi = r[X86_RDI] & mask,
                                                       .result = r[X86_RAX] & mask};
        outside(v);
        enum vmi_verdict verdict = vmi_exit_dispatch(v->owner);
        enum x86_result res = take(v, verdict, SOFT_CALL, 0, 8);
        if (res != X86_OK)
            return res;
        result = e->u.hypercall.result;
    }
    cpu->r[X86_RAX] = x86_in_long64(cpu) ? result : (uint32_t)result;
    return X86_OK;
}

/* --- time and chance --- */

static uint64_t op_tsc(struct x86_cpu *cpu)
{
    struct soft_vcpu *v = soft_of(cpu);
    unsigned __int128 ns = vmi_vcpu_time_ns(v->owner);
    return (uint64_t)(ns * v->vm->owner->tsc_khz / 1000000);
}

static uint64_t op_random(struct x86_cpu *cpu)
{
    struct soft_vcpu *v = soft_of(cpu);
    uint64_t x = v->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static void op_split_lock(struct x86_cpu *cpu)
{
    struct soft_vcpu *v = soft_of(cpu);
    pthread_mutex_lock(&v->vm->split_lock);
    v->split_lock = true;
}

static void op_split_unlock(struct x86_cpu *cpu)
{
    struct soft_vcpu *v = soft_of(cpu);
    v->split_lock = false;
    pthread_mutex_unlock(&v->vm->split_lock);
}

static enum x86_result op_exception(struct x86_cpu *cpu, const struct x86_event *ev)
{
    struct soft_vcpu *v = soft_of(cpu);
    struct vmlib_exit *e = &v->owner->exit;
    e->reason = VMLIB_EXIT_EXCEPTION;
    vmi_event_to_api(ev, &e->u.exception.event);
    switch (soft_dispatch(v)) {
    case VMI_NONE:
        return X86_OK;
    case VMI_INJECT:
        vmi_event_from_api(&e->inject, &cpu->injected);
        return X86_AGAIN;
    case VMI_EXIT: /* the next run delivers it, unless the host replaces it */
        cpu->injected = *ev;
        v->dispatched_exit = true;
        cpu->leave = X86_LEAVE_EXIT;
        return X86_EXIT;
    case VMI_GO_LEAVE:
        v->leave_after = true;
        return X86_AGAIN;
    default:
        return X86_AGAIN; /* swallowed */
    }
}

const struct x86_ops soft_ops = {
    .page = soft_page,
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
    .tsc = op_tsc,
    .random = op_random,
    .exception = op_exception,
    .split_lock = op_split_lock,
    .split_unlock = op_split_unlock,
};
