/*
 * Trials: lib/x86 executes an instruction without any effect, to find out whether it is the one
 * that has made the access that KVM reports, and with which linear address.
 */
#include <stddef.h>
#include <string.h>

#include "kvm/emulate.h"
#include "state/state.h"
#include "x86/flags.h"
#include "x86/mem.h"

/* --- ops: devices answer as they have answered KVM --- */

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
    e->e.cpu.tmp = 0;
    for (unsigned i = 0; i < KVM_READS; i++) {
        const struct kvm_access *a = &e->v->read[i];
        if (a->exit == exit && a->addr == addr && a->width == size) {
            e->e.cpu.tmp = a->value;
            return X86_OK;
        }
    }
    e->strange = true;
    return X86_OK;
}

static void op_page(struct x86_cpu *cpu, uint64_t gpa, enum x86_access acc, struct x86_page *out)
{
    vmi_engine_slot_page(cpu, gpa, acc, out);
    out->writable = false;
}

static enum x86_result op_read_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, unsigned size)
{
    struct kvm_emulator *e = kvm_emulator_of(cpu);
    note_address(e, gpa, lin, size);
    return trial_read(e, KVM_EXIT_MMIO, gpa, size);
}

/* Also memory: the kernel may be unable to reach what is behind a slot. */
static enum x86_result op_write_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin,
                                     uint64_t value, unsigned size)
{
    struct kvm_emulator *e = kvm_emulator_of(cpu);
    if (size < 8)
        value &= (UINT64_C(1) << (8 * size)) - 1;
    note_address(e, gpa, lin, size);
    return trial_write(e, KVM_EXIT_MMIO, gpa, value, size);
}

/* Not reached: no page is writable. */
static void op_before_rmw(struct x86_cpu *cpu, uint64_t gpa, unsigned size)
{
    (void)gpa;
    (void)size;
    kvm_emulator_of(cpu)->strange = true;
}

static enum x86_result op_pio_read(struct x86_cpu *cpu, uint16_t number, unsigned size)
{
    return trial_read(kvm_emulator_of(cpu), KVM_EXIT_IO, number, size);
}

static enum x86_result op_pio_write(struct x86_cpu *cpu, uint16_t number, uint32_t value,
                                    unsigned size)
{
    if (size < 4)
        value &= (1u << (8 * size)) - 1;
    return trial_write(kvm_emulator_of(cpu), KVM_EXIT_IO, number, value, size);
}

static enum x86_result op_rdmsr(struct x86_cpu *cpu, uint32_t index)
{
    (void)index;
    kvm_emulator_of(cpu)->strange = true;
    return X86_OK;
}

static enum x86_result op_wrmsr(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
    (void)value;
    return op_rdmsr(cpu, index);
}

/* msr_watch is off, so nobody is asked first. */
static const struct x86_ops trial_ops = {
    .page = op_page,
    .read_phys = op_read_phys,
    .write_phys = op_write_phys,
    .before_rmw = op_before_rmw,
    .pio_read = op_pio_read,
    .pio_write = op_pio_write,
    .rdmsr = op_rdmsr,
    .wrmsr = op_wrmsr,
    KVM_EMULATE_OPS,
};

/* --- one instruction without effect --- */

static void put_regs(struct x86_cpu *cpu, const struct kvm_regs *r)
{
    const uint64_t regs[16] = {r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
                               r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15};
    memcpy(cpu->r, regs, sizeof(regs));
    cpu->rip = r->rip;
    x86_set_flags(cpu, (uint32_t)r->rflags);
    x86_mode_refresh(cpu);
}

static bool arrived(const struct x86_cpu *cpu, const struct kvm_regs *r)
{
    const uint64_t regs[16] = {r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
                               r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15};
    return memcmp(cpu->r, regs, sizeof(regs)) == 0;
}

/* A string instruction (A4 to AF, 6C to 6F) with REP among its prefixes. */
static bool is_rep(const struct vmlib_exit *e)
{
    static const uint8_t others[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0};
    bool rep = false;
    unsigned i = 0;
    for (; i < e->insn_len; i++) {
        bool is = (e->insn[i] & 0xfe) == 0xf2;
        bool rex = e->mode == VMLIB_MODE_LONG64 && (e->insn[i] & 0xf0) == 0x40;
        if (!is && !rex && memchr(others, e->insn[i], sizeof(others)) == NULL)
            break;
        rep |= is;
    }
    return rep && i < e->insn_len &&
           ((e->insn[i] & 0xfc) == 0x6c || (e->insn[i] >= 0xa4 && e->insn[i] <= 0xaf));
}

/* All but the remembered accesses, two thirds of it, which no trial touches. */
static void copy_cpu(struct x86_cpu *to, const struct x86_cpu *from)
{
    memcpy(to, from, offsetof(struct x86_cpu, answer));
}
_Static_assert(offsetof(struct x86_cpu, answer) + sizeof(((struct x86_cpu *)0)->answer) ==
                   sizeof(struct x86_cpu),
               "what follows would not be copied");

/* Back to the state that was loaded. No translation of a trial may come back to life. */
static void restore(struct kvm_emulator *e)
{
    uint64_t gen = e->e.cpu.tlb_gen;
    copy_cpu(&e->e.cpu, &e->base);
    e->e.cpu.tlb_gen = gen;
    x86_tlb_flush(&e->e.cpu);
}

static void step(struct kvm_emulator *e)
{
    struct x86_cpu *cpu = &e->e.cpu;
    cpu->ops = &trial_ops;
    e->matched = e->strange = e->active = false;
    e->lin = 0;
    cpu->nanswers = cpu->next_answer = 0;
    cpu->msr_watch = false;
    cpu->shadow = 0;
    x86_step(cpu);
    x86_fp_sync(cpu);
    cpu->ops = &kvm_emulate_ops;
}

int kvm_trial_begin(struct kvm_cpu *v, bool vectors)
{
    struct kvm_emulator *e =
        kvm_emulator_load(v, vectors ? KVM_EMULATOR_STATE & ~VMLIB_STATE_MSRS : KVM_WALK);
    if (e == NULL)
        return v->error;
    copy_cpu(&e->base, &e->e.cpu);
    return 0;
}

bool kvm_trial(struct kvm_cpu *v, const struct kvm_regs *regs, const struct kvm_regs *after,
               struct kvm_trial *t)
{
    struct kvm_emulator *e = v->emulator;
    struct x86_cpu *cpu = &e->e.cpu;
    struct vmlib_exit header;
    cpu->rip = regs->rip;
    vmi_describe(cpu, &header);
    *t = (struct kvm_trial){
        .next = regs->rip + header.insn_len, .first = header.insn[0], .rep = is_rep(&header)};
    bool element = t->rep && after != NULL && regs->rip == after->rip;
    if (header.insn_len == 0 || (after == NULL ? t->rep : t->next != after->rip && !element))
        return false;
    put_regs(cpu, regs);
    /* One element of a string at a time: what follows it is no business of this trial. */
    uint64_t rcx = cpu->r[X86_RCX];
    if (t->rep)
        cpu->r[X86_RCX] = 1;
    step(e);
    if (t->rep)
        cpu->r[X86_RCX] += rcx - 1;
    if (element)
        cpu->rip = regs->rip;
    bool found = cpu->leave == X86_LEAVE_LOOKUP && e->matched && !e->strange &&
                 (after == NULL || (cpu->rip == after->rip && arrived(cpu, after)));
    restore(e);
    return found;
}

static uint64_t find_gva(struct kvm_cpu *v, bool vectors)
{
    struct vmlib_exit header;
    if (kvm_trial_begin(v, vectors) != 0)
        return 0;
    struct kvm_emulator *e = v->emulator;
    vmi_describe(&e->e.cpu, &header);
    if (is_rep(&header) && e->e.cpu.r[X86_RCX] != 0)
        e->e.cpu.r[X86_RCX] = 1;
    step(e);
    restore(e);
    return e->lin;
}

/* Vector registers are only asked for when an instruction turns out to need them. */
uint64_t kvm_trial_gva(struct kvm_cpu *v)
{
    uint64_t lin = find_gva(v, false);
    return lin != 0 ? lin : find_gva(v, true);
}

bool kvm_at_rep(struct kvm_cpu *v)
{
    struct vmlib_exit header;
    if (kvm_trial_begin(v, false) != 0)
        return false;
    vmi_describe(&v->emulator->e.cpu, &header);
    return is_rep(&header);
}

/* KVM stays at a string instruction whose count has run out. */
int kvm_trial_end_rep(struct kvm_cpu *v)
{
    struct vmlib_exit header;
    int rc = kvm_trial_begin(v, false);
    if (rc != 0)
        return rc;
    struct kvm_emulator *e = v->emulator;
    vmi_describe(&e->e.cpu, &header);
    if (!is_rep(&header))
        return 0;
    step(e);
    uint64_t next = e->e.cpu.rip;
    bool idle = !e->active && e->e.cpu.leave == X86_LEAVE_LOOKUP &&
                next == v->regs.rip + header.insn_len && arrived(&e->e.cpu, &v->regs);
    restore(e);
    if (!idle)
        return 0;
    v->regs.rip = next;
    v->dirty |= KVM_PART_REGS;
    return 0;
}
