/* lib/x86 in KVM's place: what emulate.c and emulate_ops.c share. */
#ifndef KVM_EMULATE_H
#define KVM_EMULATE_H

#include "kvm/kvm.h"
#include "x86/cpu.h"
#include "x86/ops.h"
#include "x86/sys.h"

enum kvm_answer_kind {
    KVM_ANSWER_READ = 1,
    KVM_ANSWER_WRITE,
    KVM_ANSWER_IN,
    KVM_ANSWER_OUT,
    KVM_ANSWER_RDMSR,
    KVM_ANSWER_WRMSR
};

struct kvm_emulator {
    struct x86_cpu cpu; /* first: ops get only this */
    struct kvm_cpu *v;
    bool trial;      /* nothing is stored, devices are not asked */
    bool matched;    /* trial: the expected write has been made */
    bool strange;    /* trial: an access that the kernel has not made */
    bool active;     /* trial: some access to a device */
    bool dispatched; /* the record of this exit is with core */
    uint64_t random;
    uint64_t answer_rip, answer_rcx; /* the instruction that cpu.answer[] belongs to */
    uint8_t wait_kind, wait_size;    /* an access that was returned to the host */
    uint64_t wait_addr;
    uint64_t lin;        /* trial: linear address of v->access, if it was made */
    struct x86_cpu base; /* trial: what each one begins with, and what comes back after it */
};

static inline struct kvm_emulator *kvm_emulator_of(struct x86_cpu *cpu)
{
    return (struct kvm_emulator *)cpu;
}

extern const struct x86_ops kvm_emulate_ops;

#define KVM_EMULATOR_STATE (VMLIB_STATE_ALL & ~VMLIB_STATE_FPU)
/* lib/x86's copy with these groups of the vCPU's state. NULL: v->error. */
struct kvm_emulator *kvm_emulator_load(struct kvm_cpu *v, uint32_t groups);

#endif
