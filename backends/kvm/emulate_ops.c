/* What lib/x86 asks of its owner while it executes an instruction in KVM's place, as far as
 * lib/engine does not know it; and what the API shows meanwhile. */
#include <string.h>

#include "kvm/emulate.h"
#include "state/state.h"
#include "x86/flags.h"
#include "x86/mem.h"

/* --- around the host program's functions --- */

/* What the API shows meanwhile: registers as they stand, between elements of a string too. It also
 * keeps lib/x86's copy as it is when somebody has it loaded anew. */
static void show_registers(struct kvm_emulator *e)
{
    struct kvm_cpu *v = e->v;
    const uint64_t *r = e->e.cpu.r;
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
                           .rflags = (x86_get_flags(&e->e.cpu) & ~(uint64_t)X86_FL_RF) | kept};
    memcpy(&now.r8, &r[X86_R8], 8 * sizeof(uint64_t));
    if (memcmp(&now, &v->regs, sizeof(now)) != 0) {
        v->regs = now;
        v->dirty |= KVM_PART_REGS;
    }
}

static void outside(struct vmi_engine *engine)
{
    struct kvm_emulator *e = kvm_emulator_of(&engine->cpu);
    struct kvm_cpu *v = e->v;
    x86_fp_sync(&engine->cpu);
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
    uint64_t rip = e->e.cpu.rip;
    if (kvm_get_state(e->v->owner, groups, &state) != 0)
        return;
    vmi_state_set(&e->e.cpu, groups, &state);
    e->e.cpu.resync = true;
    e->e.cpu.rip_set |= e->e.cpu.rip != rip;
}

/* A string instruction goes on with the next element only when nobody wants the vCPU. */
static bool inside(struct vmi_engine *engine)
{
    struct kvm_emulator *e = kvm_emulator_of(&engine->cpu);
    e->v->dispatching = false;
    x86_tlb_flush(&engine->cpu); /* the map may have changed */
    if (e->v->touched != 0)
        take_over(e, e->v->touched);
    return atomic_load(&e->v->owner->poll) != 0;
}

const struct vmi_engine_hooks kvm_emulate_hooks = {.outside = outside, .inside = inside};

/* --- ops --- */

enum x86_result kvm_emulate_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
    uint32_t out[4];
    x86_cpuid_lookup(cpu, kvm_emulator_of(cpu)->v->cpuid, leaf, subleaf, out);
    for (unsigned i = 0; i < 4; i++)
        cpu->tmpq[i] = out[i];
    return X86_OK;
}

/* KVM keeps hypercalls for itself: VMCALL does nothing that this instruction could. */
enum x86_result kvm_emulate_hypercall(struct x86_cpu *cpu)
{
    return x86_fault(cpu, X86_UD);
}

/* The guest's counter stands in msr.tsc_offset, as read when the state was loaded. */
uint64_t kvm_emulate_tsc(struct x86_cpu *cpu)
{
    (void)cpu;
    return 0;
}

/* KVM shows exceptions when it delivers them. */
enum x86_result kvm_emulate_exception(struct x86_cpu *cpu, const struct x86_event *ev)
{
    (void)cpu;
    (void)ev;
    return X86_OK;
}

const struct x86_ops kvm_emulate_ops = {
    .page = vmi_engine_slot_page,
    .read_phys = vmi_engine_read_phys,
    .write_phys = vmi_engine_slot_write,
    .before_rmw = vmi_engine_slot_before_rmw,
    .pio_read = vmi_engine_pio_read,
    .pio_write = vmi_engine_pio_write,
    .rdmsr = vmi_engine_rdmsr,
    .wrmsr = vmi_engine_wrmsr,
    .msr_first = vmi_engine_msr_first,
    KVM_EMULATE_OPS,
};
