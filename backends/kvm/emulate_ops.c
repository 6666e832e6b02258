/*
 * What lib/x86 asks of its owner while it executes an instruction in KVM's place: memory through
 * the library's map, devices through core.
 *
 * Accesses that have been answered are remembered until the instruction is done, so that it can be
 * executed again from its start when a later one has to wait for the host.
 */
#include <string.h>

#include "kvm/emulate.h"
#include "state/state.h"
#include "x86/flags.h"
#include "x86/mem.h"
#include "x86/sys.h"

/* --- memory --- */

static void op_page(struct x86_cpu *cpu, uint64_t gpa, enum x86_access acc, struct x86_page *out)
{
    struct kvm_emulator *e = kvm_emulator_of(cpu);
    const struct vmi_slot *s = vmi_memory_slot(e->v->owner->vm, gpa);
    (void)acc;
    *out = (struct x86_page){0};
    if (s == NULL)
        return;
    out->host = s->prot & VMLIB_PROT_R ? s->host + ((gpa - s->gpa) & ~X86_PAGE_MASK) : NULL;
    out->writable = s->prot & VMLIB_PROT_W && !e->trial;
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

static bool store(struct kvm_emulator *e, uint64_t gpa, uint64_t value, unsigned size)
{
    const struct vmi_slot *s = vmi_memory_slot(e->v->owner->vm, gpa);
    if (s == NULL || !(s->prot & VMLIB_PROT_W))
        return false;
    raw_store(s->host + (gpa - s->gpa), value, size); /* slots and accesses end at pages */
    mark_dirty(s, gpa - s->gpa);
    return true;
}

static void op_before_rmw(struct x86_cpu *cpu, uint64_t gpa, unsigned size)
{
    const struct vmi_slot *s = vmi_memory_slot(kvm_emulator_of(cpu)->v->owner->vm, gpa);
    (void)size;
    if (s != NULL)
        mark_dirty(s, gpa - s->gpa);
}

/* --- accesses of the instruction that have their answers --- */

static const struct x86_answer *replay(struct kvm_emulator *e, unsigned kind, uint64_t addr,
                                       unsigned size)
{
    struct x86_cpu *cpu = &e->cpu;
    if (e->answer_rip != cpu->rip || e->answer_rcx != cpu->r[X86_RCX]) {
        e->answer_rip = cpu->rip;
        e->answer_rcx = cpu->r[X86_RCX];
        cpu->nanswers = cpu->next_answer = 0;
    }
    if (cpu->next_answer >= cpu->nanswers)
        return NULL;
    const struct x86_answer *a = &cpu->answer[cpu->next_answer];
    if (a->kind != kind || a->addr != addr || a->size != size) {
        cpu->nanswers = cpu->next_answer;
        return NULL;
    }
    cpu->next_answer++;
    return a;
}

static void remember(struct kvm_emulator *e, unsigned kind, uint64_t addr, unsigned size,
                     uint64_t value, bool nobody)
{
    struct x86_cpu *cpu = &e->cpu;
    if (cpu->nanswers == X86_NANSWERS)
        return;
    cpu->answer[cpu->nanswers++] = (struct x86_answer){
        .addr = addr, .kind = (uint8_t)kind, .size = (uint8_t)size, .value = {value, nobody}};
    cpu->next_answer = cpu->nanswers;
}

/* --- around the host program's functions --- */

/* What the API shows meanwhile: registers as they stand, between elements of a string too. It also
 * keeps lib/x86's copy as it is when somebody has it loaded anew. */
static void show_registers(struct kvm_emulator *e)
{
    struct kvm_cpu *v = e->v;
    const uint64_t *r = e->cpu.r;
    if (kvm_look(v, KVM_PART_REGS) != 0)
        return;
    const uint64_t kept = v->regs.rflags & X86_FL_RF;
    struct kvm_regs now = {.rax = r[X86_RAX],
                           .rbx = r[X86_RBX],
                           .rcx = r[X86_RCX],
                           .rdx = r[X86_RDX],
                           .rsi = r[X86_RSI],
                           .rdi = r[X86_RDI],
                           .rsp = r[X86_RSP],
                           .rbp = r[X86_RBP],
                           .rip = v->regs.rip,
                           .rflags = (x86_get_flags(&e->cpu) & ~(uint64_t)X86_FL_RF) | kept};
    memcpy(&now.r8, &r[X86_R8], 8 * sizeof(uint64_t));
    if (memcmp(&now, &v->regs, sizeof(now)) != 0) {
        v->regs = now;
        v->dirty |= KVM_PART_REGS;
    }
}

static void begin_dispatch(struct kvm_emulator *e)
{
    struct kvm_cpu *v = e->v;
    x86_fp_sync(&e->cpu);
    show_registers(e);
    v->dispatching = true;
    v->touched = 0;
    v->owner->exit.flags = 0;
}

/* A handler has set state: it is in force, and the instruction ends here if it has moved rip. */
static void take_over(struct kvm_emulator *e, uint32_t groups)
{
    struct vmlib_state state;
    state.size = sizeof(state);
    uint64_t rip = e->cpu.rip;
    if (kvm_get_state(e->v->owner, groups, &state) != 0)
        return;
    vmi_state_set(&e->cpu, groups, &state);
    e->cpu.resync = true;
    e->cpu.rip_set |= e->cpu.rip != rip;
}

static enum x86_result end_dispatch(struct kvm_emulator *e, enum vmi_verdict verdict, unsigned kind,
                                    uint64_t addr, unsigned size)
{
    struct kvm_cpu *v = e->v;
    v->dispatching = false;
    x86_tlb_flush(&e->cpu); /* the map may have changed */
    if (v->touched != 0)
        take_over(e, v->touched);
    /* A string instruction goes on with the next element only when nobody wants the vCPU. */
    if (verdict == VMI_GO_LEAVE || atomic_load(&v->owner->poll) != 0)
        e->cpu.poll = 1;
    switch (verdict) {
    case VMI_GO_LEAVE:
        v->leave = true;
        return X86_OK;
    case VMI_INJECT:
        vmi_event_from_api(&v->owner->exit.inject, &e->cpu.exc);
        e->cpu.leave = X86_LEAVE_EXC;
        return X86_EXC;
    case VMI_EXIT:
        e->wait_kind = (uint8_t)kind;
        e->wait_addr = addr;
        e->wait_size = (uint8_t)size;
        e->dispatched = true;
        e->cpu.leave = X86_LEAVE_EXIT;
        return X86_EXIT;
    default:
        return X86_OK;
    }
}

/* --- trials --- */

static void note_address(struct kvm_emulator *e, uint64_t gpa, uint64_t lin, unsigned size)
{
    const struct kvm_access *a = &e->v->access;
    if (a->exit == KVM_EXIT_MMIO && a->addr - gpa < size && e->lin == 0)
        e->lin = lin + (a->addr - gpa);
}

static enum x86_result trial_write(struct kvm_emulator *e, uint32_t exit, uint64_t addr,
                                   uint64_t value, unsigned size)
{
    const struct kvm_access *a = &e->v->access;
    e->active = true;
    if (a->exit == exit && a->addr == addr && a->width == size && a->value == value)
        e->matched = true;
    return X86_OK;
}

/* Reads get the answers that the kernel's instruction got. */
static enum x86_result trial_read(struct kvm_emulator *e, uint32_t exit, uint64_t addr,
                                  unsigned size)
{
    e->active = true;
    e->cpu.tmp = 0;
    for (unsigned i = 0; i < KVM_READS; i++) {
        const struct kvm_access *a = &e->v->read[i];
        if (a->exit == exit && a->addr == addr && a->width == size) {
            e->cpu.tmp = a->value;
            return X86_OK;
        }
    }
    e->strange = true;
    return X86_OK;
}

/* --- devices --- */

static enum x86_result device(struct kvm_emulator *e, unsigned kind, uint64_t gpa, uint64_t lin,
                              unsigned size, uint64_t *value)
{
    const struct x86_answer *a = replay(e, kind, gpa, size);
    if (a != NULL) {
        *value = a->value[0];
        return X86_OK;
    }
    begin_dispatch(e);
    enum vmi_verdict verdict =
        vmi_exit_mmio(e->v->owner, gpa, lin, size, kind == KVM_ANSWER_WRITE, value);
    enum x86_result r = end_dispatch(e, verdict, kind, gpa, size);
    if (r == X86_OK)
        remember(e, kind, gpa, size, *value, false);
    return r;
}

static enum x86_result op_read_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, unsigned size)
{
    struct kvm_emulator *e = kvm_emulator_of(cpu);
    uint64_t value = 0;
    if (e->trial) {
        note_address(e, gpa, lin, size);
        return trial_read(e, KVM_EXIT_MMIO, gpa, size);
    }
    enum x86_result r = device(e, KVM_ANSWER_READ, gpa, lin, size, &value);
    cpu->tmp = value;
    return r;
}

static enum x86_result op_write_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin,
                                     uint64_t value, unsigned size)
{
    struct kvm_emulator *e = kvm_emulator_of(cpu);
    if (size < 8)
        value &= (UINT64_C(1) << (8 * size)) - 1;
    if (e->trial) { /* also memory: the kernel may be unable to reach what is behind a slot */
        note_address(e, gpa, lin, size);
        return trial_write(e, KVM_EXIT_MMIO, gpa, value, size);
    }
    if (store(e, gpa, value, size))
        return X86_OK;
    return device(e, KVM_ANSWER_WRITE, gpa, lin, size, &value);
}

static enum x86_result port(struct kvm_emulator *e, unsigned kind, uint16_t number, unsigned size,
                            uint32_t *value)
{
    const struct x86_answer *a = replay(e, kind, number, size);
    if (a != NULL) {
        *value = (uint32_t)a->value[0];
        return X86_OK;
    }
    begin_dispatch(e);
    enum vmi_verdict verdict =
        vmi_exit_pio(e->v->owner, number, size, kind == KVM_ANSWER_OUT, value);
    enum x86_result r = end_dispatch(e, verdict, kind, number, size);
    if (r == X86_OK)
        remember(e, kind, number, size, *value, false);
    return r;
}

static enum x86_result op_pio_read(struct x86_cpu *cpu, uint16_t number, unsigned size)
{
    struct kvm_emulator *e = kvm_emulator_of(cpu);
    uint32_t value = 0;
    if (e->trial)
        return trial_read(e, KVM_EXIT_IO, number, size);
    enum x86_result r = port(e, KVM_ANSWER_IN, number, size, &value);
    cpu->tmp = value;
    return r;
}

static enum x86_result op_pio_write(struct x86_cpu *cpu, uint16_t number, uint32_t value,
                                    unsigned size)
{
    struct kvm_emulator *e = kvm_emulator_of(cpu);
    if (size < 4)
        value &= (1u << (8 * size)) - 1;
    return e->trial ? trial_write(e, KVM_EXIT_IO, number, value, size)
                    : port(e, KVM_ANSWER_OUT, number, size, &value);
}

/* --- MSRs --- */

static enum x86_result msr(struct x86_cpu *cpu, bool write, uint32_t index, bool known,
                           uint64_t *value)
{
    struct kvm_emulator *e = kvm_emulator_of(cpu);
    unsigned kind = write ? KVM_ANSWER_WRMSR : KVM_ANSWER_RDMSR;
    if (e->trial) {
        e->strange = true;
        return X86_OK;
    }
    const struct x86_answer *a = replay(e, kind, index, 8);
    if (a != NULL) {
        *value = a->value[0];
        return a->value[1] ? X86_AGAIN : X86_OK;
    }
    begin_dispatch(e);
    enum vmi_verdict verdict = vmi_exit_msr(e->v->owner, index, write, known, value);
    enum x86_result r = end_dispatch(e, verdict, kind, index, 8);
    if (r != X86_OK)
        return r;
    remember(e, kind, index, 8, *value, verdict == VMI_NONE);
    return verdict == VMI_NONE ? X86_AGAIN : X86_OK;
}

static enum x86_result op_rdmsr(struct x86_cpu *cpu, uint32_t index)
{
    uint64_t value = 0;
    enum x86_result r = msr(cpu, false, index, false, &value);
    cpu->tmp = value;
    return r == X86_AGAIN ? x86_fault_err(cpu, X86_GP, 0) : r;
}

static enum x86_result op_wrmsr(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
    enum x86_result r = msr(cpu, true, index, false, &value);
    return r == X86_AGAIN ? x86_fault_err(cpu, X86_GP, 0) : r;
}

static enum x86_result op_msr_first(struct x86_cpu *cpu, uint32_t index, bool write, uint64_t value)
{
    if (!x86_msr_known(cpu, index))
        return X86_AGAIN; /* asked once: by rdmsr and wrmsr above */
    enum x86_result r = msr(cpu, write, index, true, &value);
    cpu->tmp = value;
    return r;
}

/* --- the rest --- */

static enum x86_result op_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
    uint32_t out[4];
    x86_cpuid_lookup(cpu, kvm_emulator_of(cpu)->v->cpuid, leaf, subleaf, out);
    for (unsigned i = 0; i < 4; i++)
        cpu->tmpq[i] = out[i];
    return X86_OK;
}

/* KVM keeps hypercalls for itself: VMCALL does nothing that this instruction could. */
static enum x86_result op_hypercall(struct x86_cpu *cpu)
{
    return x86_fault(cpu, X86_UD);
}

/* The guest's counter stands in msr.tsc_offset, as read when the state was loaded. */
static uint64_t op_tsc(struct x86_cpu *cpu)
{
    (void)cpu;
    return 0;
}

static uint64_t op_random(struct x86_cpu *cpu)
{
    struct kvm_emulator *e = kvm_emulator_of(cpu);
    uint64_t x = e->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static enum x86_result op_exception(struct x86_cpu *cpu, const struct x86_event *ev)
{
    (void)cpu;
    (void)ev;
    return X86_OK;
}

/* Other vCPUs execute on the CPU: there is no lock that would hold them off. */
static void op_no_lock(struct x86_cpu *cpu)
{
    (void)cpu;
}

const struct x86_ops kvm_emulate_ops = {
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
    .tsc = op_tsc,
    .random = op_random,
    .exception = op_exception,
    .split_lock = op_no_lock,
    .split_unlock = op_no_lock,
};
