/* lib/x86 in KVM's place: what emulate.c, emulate_ops.c and trial.c share. */
#ifndef KVM_EMULATE_H
#define KVM_EMULATE_H

#include "engine/engine.h"
#include "kvm/kvm.h"

struct kvm_emulator {
    struct vmi_engine e; /* first */
    struct kvm_cpu *v;
    uint64_t answer_rip; /* of the instruction that cpu.answer[] belongs to: KVM executes others */

    /* Trials: nothing is stored, devices are not asked. */
    bool matched;        /* the expected write has been made */
    bool strange;        /* an access that the kernel has not made */
    bool active;         /* some access to a device */
    uint64_t lin;        /* linear address of v->access, if it was made */
    struct x86_cpu base; /* what each one begins with, and what comes back after it */
};

static inline struct kvm_emulator *kvm_emulator_of(struct x86_cpu *cpu)
{
    return (struct kvm_emulator *)cpu;
}

/* Rows that instructions in earnest and trials share. */
#define KVM_EMULATE_OPS                                                                     \
    .cpuid = kvm_emulate_cpuid, .hypercall = kvm_emulate_hypercall, .tsc = kvm_emulate_tsc, \
    .random = vmi_engine_random, .exception = kvm_emulate_exception,                        \
    .split_lock = vmi_engine_no_lock, .split_unlock = vmi_engine_no_lock
enum x86_result kvm_emulate_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf);
enum x86_result kvm_emulate_hypercall(struct x86_cpu *cpu);
enum x86_result kvm_emulate_exception(struct x86_cpu *cpu, const struct x86_event *ev);
uint64_t kvm_emulate_tsc(struct x86_cpu *cpu);
extern const struct x86_ops kvm_emulate_ops;
extern const struct vmi_engine_hooks kvm_emulate_hooks;

#define KVM_EMULATOR_STATE (VMLIB_STATE_ALL & ~VMLIB_STATE_FPU)
/* lib/x86's copy with these groups of the vCPU's state. NULL: v->error. */
struct kvm_emulator *kvm_emulator_load(struct kvm_cpu *v, uint32_t groups);

#endif
