/*
 * The KVM backend: shared types.
 *
 *   probe.c    is there a usable /dev/kvm, and why not; capabilities
 *   vm.c       VM and vCPU: descriptors, mappings, creation, end
 *   memory.c   memory slots by difference, dirty log
 *   cache.c    regs, sregs and vcpu_events as the API shows them, written back before KVM_RUN
 *   run.c      the run loop; exits.c: what KVM_RUN came back with; finish.c: settle, undo, complete
 *   kick.c     cancel and deadline: getting out of KVM_RUN
 *   emulate.c  instructions that lib/x86 executes in KVM's place
 *   state.c    register groups from and to the API's form; msrs.c, cpuid.c, events.c, debug.c
 *   backend.c  the vtable
 *
 * "KVM API" in comments is Documentation/virt/kvm/api.rst of the Linux kernel.
 *
 * State. KVM finishes an access only in the next KVM_RUN, and whether the registers that it shows
 * meanwhile are those before or after the instruction depends on the access. The cache below holds
 * what the API shows: kvm_look() brings it into order and every function that reads or changes
 * state calls it first. Nothing else reads registers from the kernel.
 */
#ifndef KVM_BACKEND_H
#define KVM_BACKEND_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "backend.h"

struct x86_cpu;
struct x86_cpuid_table;

/* --- what this kernel offers --- */

struct kvm_caps {
    uint32_t run_bytes;   /* of the mapping of a vCPU descriptor */
    uint32_t xsave_bytes; /* of struct kvm_xsave for KVM_GET_XSAVE2; 0: KVM_GET_XSAVE */
    uint32_t slots, vcpus, phys_bits;
    uint32_t sync_regs; /* KVM_SYNC_X86_ bits */
    uint32_t msr_exits; /* KVM_MSR_EXIT_REASON_ bits */
    uint32_t debug;     /* KVM_GUESTDBG_ bits of KVM_CAP_SET_GUEST_DEBUG2 */
    bool readonly, msr_filter, emulation_exits, exception_payload, triple_fault, ioeventfd, irqfd,
        irqchip, split_irqchip, tsc_control, xcrs;
};

/* --- VM --- */

#define KVM_CPUID_WORDS 11 /* registers of CPUID leaves that say what a CPU can do: cpuid.c */

struct kvm_slot { /* a memory slot of the kernel; its number is its index */
    uint64_t gpa, bytes;
    uint8_t *host;
    uint32_t flags; /* KVM_MEM_ */
    bool used;
};

struct kvm_machine {
    struct vmi_vm *owner;
    int dev, fd;
    struct kvm_caps caps;
    bool host_tsc; /* the guest's clock is the host's */
    struct kvm_slot *slot;
    uint32_t nslots;                 /* entries of slot */
    uint32_t cpuid[KVM_CPUID_WORDS]; /* what KVM_GET_SUPPORTED_CPUID offers; cpuid.c */
    /* msrs.c: the filter in force belongs to this state of the handlers */
    pthread_mutex_t filter_lock;
    _Atomic uint32_t filter_epoch; /* of vmi_vm.handlers_epoch */
    bool filter_denies;            /* some MSR of the direct ones is watched */
};

/* --- vCPU --- */

/* Parts of the cache. */
#define KVM_PART_REGS   1u
#define KVM_PART_SREGS  2u
#define KVM_PART_EVENTS 4u
#define KVM_PART_ALL    7u

/* What the kernel (or lib/x86) has not finished yet. */
enum kvm_open {
    KVM_OPEN_NONE,
    KVM_OPEN_READ,   /* an exit that takes data: IN, MMIO read, RDMSR, WRMSR (its error) */
    KVM_OPEN_WRITE,  /* OUT, MMIO write: nothing to hand over, but not settled */
    KVM_OPEN_EMULATE /* the instruction waits in lib/x86 */
};

/* One access as KVM reported it; the mapping changes with the next KVM_RUN. */
struct kvm_access {
    uint64_t addr; /* gpa or port */
    uint64_t value;
    uint32_t exit; /* KVM_EXIT_ */
    uint8_t width;
    bool write;
};

#define KVM_QUEUE 16
#define KVM_READS 4

struct kvm_emulator; /* emulate.c */

struct kvm_cpu {
    struct vmi_vcpu *owner;
    struct kvm_machine *vm;
    int fd;
    struct kvm_run *run;

    /* Cache: valid parts are what the API shows, dirty ones go to the kernel before KVM_RUN. */
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_vcpu_events events;
    uint32_t valid, dirty;
    bool page_fresh; /* the registers in the mapping are those of the kernel */
    bool in_access;  /* the last exit was an access: RF in the kernel's flags is an artefact */
    uint32_t sregs_wanted; /* KVM_RUNs for which system registers come with the page */

    /* The exit being dealt with. */
    enum kvm_open open;
    struct kvm_access access;
    struct kvm_access
        queue[KVM_QUEUE]; /* further writes of the same instruction, already settled */
    uint32_t queued;
    bool unread;        /* the mapping holds an exit that has not been looked at */
    bool dispatching;   /* inside vmi_exit_dispatch() */
    bool asking_mmio;   /* ... with an access of which KVM has not told the linear address */
    bool leave;         /* return from run at the end of this instruction */
    uint64_t entry_rip; /* of the read being dealt with */
    int error;          /* return this from run */
    uint32_t touched;   /* VMLIB_STATE_ groups that the handler at work has set */

    /* A write that is looked at: the kernel has finished the instruction, the cache shows the state
     * before it (`shown`); `after` is what the kernel holds. */
    bool before;
    struct kvm_regs shown, after;
    bool after_dirty; /* ... or shall hold */
    bool lazy;        /* an OUT that has not been settled, and may wait for the next KVM_RUN */
    /* The last reads and the registers at the youngest: a write may be the second half of its
     * instruction. */
    struct kvm_access read[KVM_READS]; /* youngest first */
    struct kvm_regs read_regs;
    bool read_regs_valid;
    bool after_read; /* the next KVM_RUN begins with the rest of that instruction */

    bool emulate_next; /* the next instruction belongs to lib/x86 */
    bool delivering;   /* what waits in lib/x86 is the delivery of `injected` */
    struct kvm_emulator *emulator;

    /* States that KVM without its own interrupt controller does not have (events.c). */
    bool halted, wait_sipi, shutdown;
    bool spurious;               /* nobody had a vector: ignore INTR until kicked */
    struct vmlib_event injected; /* not yet handed to the kernel */
    uint64_t pending_debug;      /* debug traps not yet delivered: bits for DR6 */

    /* debug.c */
    struct vmlib_breakpoint breakpoint[VMLIB_BREAKPOINTS];
    bool breakpoints_on, stepping;
    uint32_t guest_debug; /* control word in force */
    bool skip_breakpoint; /* the breakpoint at skip_rip has been reported */
    uint64_t skip_rip;

    /* cpuid.c: the model, what it means for lib/x86, and the XCR0 bits that it allows */
    struct x86_cpuid_table *cpuid;
    uint64_t feat[4];
    uint64_t xcr0_mask;

    /* msrs.c, state.c: state without effect in KVM */
    uint32_t msrs_known; /* bits of msrs.c's table: the kernel has these */
    struct vmlib_msrs kept;
    uint64_t pdpte[4]; /* outside PAE paging */

    /* kick.c */
    _Atomic int tid;            /* thread inside run; 0: none */
    _Atomic uint32_t kickers;   /* threads between their look at tid and the signal */
    _Atomic uint32_t signalled; /* a signal is on its way: no second one is needed */
    _Atomic uint32_t sent;      /* some signal has been sent during this run */
    sigset_t mask;              /* as given to KVM_SET_SIGNAL_MASK */
    bool mask_set;
    timer_t timer;
    int timer_tid;     /* thread that the timer belongs to; 0: no timer */
    uint64_t timer_ns; /* when it is armed for; UINT64_MAX: not */
};

static inline struct kvm_cpu *kvm_cpu_of(const struct vmi_vcpu *vcpu)
{
    return vcpu->impl;
}

static inline struct kvm_machine *kvm_machine_of(const struct vmi_vm *vm)
{
    return vm->impl;
}

/* ioctl() that is repeated after EINTR. -1 with errno on failure. */
int kvm_ioctl(int fd, unsigned long request, const void *arg);
/* vmi_error() with errno in words: "KVM_SET_REGS: Bad file descriptor". EBADF, ENODEV and EIO say
 * that the descriptor is gone. */
int kvm_failed(const char *what);

/* --- probe.c --- */
int kvm_probe(char *reason, size_t bytes);
/* The reason in words for errno of open("/dev/kvm"); testable without such a machine. */
void kvm_probe_reason(int error, char *reason, size_t bytes);
int kvm_open_device(char *reason, size_t bytes); /* descriptor, or -1 with the reason */
/* Required ones by table. 0, or -1 with the reason. */
int kvm_read_caps(int dev, struct kvm_caps *caps, char *reason, size_t bytes);

/* --- vm.c --- */
int kvm_vm_create(struct vmi_vm *vm);
void kvm_vm_destroy(struct vmi_vm *vm);
int kvm_vcpu_create(struct vmi_vcpu *vcpu, bool wait_sipi, const struct vmlib_cpuid_leaf *model,
                    uint32_t n);
void kvm_vcpu_destroy(struct vmi_vcpu *vcpu);

/* --- memory.c --- */
int kvm_mem_update(struct vmi_vm *vm, const struct vmi_slot *slots, uint32_t n);
void kvm_dirty_sync(struct vmi_vm *vm, const struct vmi_slot *slot, uint64_t first, uint64_t n,
                    bool rearm);
void kvm_host_wrote(struct vmi_vm *vm, uint64_t gpa, uint64_t bytes);

/* --- doorbell.c --- */
int kvm_doorbell(struct vmi_vm *vm, const struct vmi_bell *bell, bool on);

/* --- cache.c --- */
/* Make the parts valid: settles what is open, finds the state that the API has to show. 0 or a
 * VMLIB_E_ code. After it v->regs, v->sregs, v->events may be read; after changing one, set its
 * bit in v->dirty. */
int kvm_look(struct kvm_cpu *v, uint32_t parts);
/* What KVM_RUN shall fill in. */
void kvm_choose_page(struct kvm_cpu *v);
/* Write dirty parts to the kernel. */
int kvm_flush(struct kvm_cpu *v);
/* The kernel's state has moved on: nothing of the cache is valid. */
static inline void kvm_forget(struct kvm_cpu *v)
{
    v->valid = 0;
}

/* --- run.c, exits.c, finish.c --- */
int kvm_vcpu_run(struct vmi_vcpu *vcpu);
int kvm_complete(struct vmi_vcpu *vcpu, bool fault);
/* vmi_exit_dispatch() with the marks that kvm_look() needs around it. */
enum vmi_verdict kvm_dispatch(struct kvm_cpu *v);
/* Deal with what KVM_RUN has put into the mapping. False: return from run. */
bool kvm_exit(struct kvm_cpu *v);
/* Finish the instruction in progress, with all its accesses. */
void kvm_finish(struct kvm_cpu *v);
/* Dispatch `queue`. False: return from run. */
bool kvm_serve_queue(struct kvm_cpu *v);
/* KVM_RUN with immediate_exit: finish what is open. Sets v->unread when that leads to one more
 * access of the instruction. */
int kvm_settle(struct kvm_cpu *v);
/* A write is settled and looked at: find the state before it. */
int kvm_find_before(struct kvm_cpu *v);
/* ... and it stays as it is: back to the state after it, with what a handler has changed. */
void kvm_keep_write(struct kvm_cpu *v);
/* The record in vcpu->exit has its answer: put it where the kernel looks for it. */
void kvm_answer(struct kvm_cpu *v);
/* The instruction in progress shall have had no effect: its state before is the state. */
int kvm_undo(struct kvm_cpu *v);
/* Report INTERNAL with this text; false. */
bool kvm_internal(struct kvm_cpu *v, uint32_t code, const char *text);

/* --- kick.c --- */
void kvm_kick(struct vmi_vcpu *vcpu);
int kvm_kick_enter(struct kvm_cpu *v); /* this thread is about to run the vCPU */
void kvm_kick_leave(struct kvm_cpu *v);
void kvm_kick_drain(struct kvm_cpu *v); /* KVM_RUN came back with EINTR */
void kvm_kick_destroy(struct kvm_cpu *v);

/* --- emulate.c --- */
/* lib/x86's copy of the vCPU, with these VMLIB_STATE_ groups brought up to date; its ops reach
 * memory through vm->slots. NULL: error recorded. For walks and decoding; not written back. */
struct x86_cpu *kvm_shadow(struct kvm_cpu *v, uint32_t groups);
/* Execute one instruction in lib/x86 and write the state back. False: return from run. */
bool kvm_emulate(struct kvm_cpu *v);
int kvm_emulate_complete(struct kvm_cpu *v, bool fault);
void kvm_emulate_destroy(struct kvm_cpu *v);
/* The read in v->access has its answer already, when lib/x86 executes its instruction. */
bool kvm_emulate_seed(struct kvm_cpu *v);
/* Whatever instruction is next, it has made no access yet. */
void kvm_emulate_forget(struct kvm_cpu *v);

/* --- trial.c --- */
struct kvm_trial {
    uint64_t next; /* address behind the instruction */
    uint8_t first; /* its first byte */
    bool rep;      /* a string instruction with REP */
};
/* Before a series of kvm_trial(). vectors: with vector registers, which cost more. */
int kvm_trial_begin(struct kvm_cpu *v, bool vectors);
/* Does the instruction at regs->rip, executed from regs, make the write in v->access and end with
 * `after`? REP: one element. after NULL: wherever it ends, no REP. */
bool kvm_trial(struct kvm_cpu *v, const struct kvm_regs *regs, const struct kvm_regs *after,
               struct kvm_trial *t);
/* The linear address of v->access, which the instruction at rip makes; 0: not found. */
uint64_t kvm_trial_gva(struct kvm_cpu *v);
/* Is the instruction at rip a string instruction with REP? */
bool kvm_at_rep(struct kvm_cpu *v);
/* If the vCPU stands at a string instruction whose last element is done: go behind it. */
int kvm_trial_end_rep(struct kvm_cpu *v);

/* --- state.c --- */
int kvm_get_state(struct vmi_vcpu *vcpu, uint32_t groups, struct vmlib_state *state);
int kvm_set_state(struct vmi_vcpu *vcpu, uint32_t groups, const struct vmlib_state *state);
/* Groups KVM_WALK without XCR0: cheap. */
#define KVM_WALK (VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL)
int kvm_get_walk(struct kvm_cpu *v, struct vmlib_state *state);
int kvm_get_reg(struct vmi_vcpu *vcpu, uint32_t reg, uint64_t *value);
int kvm_set_reg(struct vmi_vcpu *vcpu, uint32_t reg, uint64_t value);
unsigned kvm_cpl(struct vmi_vcpu *vcpu);

/* --- msrs.c --- */
int kvm_msrs_vm(struct kvm_machine *vm); /* lists, user exits, filter */
void kvm_msrs_vm_destroy(struct kvm_machine *vm);
/* Called at the start of each run: MSR handlers may have come or gone since. */
int kvm_msrs_enter(struct kvm_cpu *v);
/* Is this an MSR that the kernel keeps for the guest (a record's `known`)? If so *value is read, or
 * written, when nobody else takes the access. -1: the access faults. */
bool kvm_msr_known(struct kvm_cpu *v, uint32_t index);
int kvm_msr_read(struct kvm_cpu *v, uint32_t index, uint64_t *value);
int kvm_msr_write(struct kvm_cpu *v, uint32_t index, uint64_t value);
int kvm_get_msrs(struct kvm_cpu *v, struct vmlib_msrs *m);
int kvm_set_msrs(struct kvm_cpu *v, const struct vmlib_msrs *m);

/* --- cpuid.c --- */
int kvm_cpuid_vm(struct kvm_machine *vm);
bool kvm_cpuid_avx2(void); /* can guests have VMLIB_FEATURE_AVX2 here? */
int kvm_cpuid_init(struct kvm_cpu *v, const struct vmlib_cpuid_leaf *model, uint32_t n);
void kvm_cpuid_destroy(struct kvm_cpu *v);
int kvm_set_cpuid(struct vmi_vcpu *vcpu, const struct vmlib_cpuid_leaf *model, uint32_t n);
uint32_t kvm_get_cpuid(struct vmi_vcpu *vcpu, struct vmlib_cpuid_leaf *model);

/* --- events.c --- */
/* Reset state of a new vCPU, or after INIT. */
int kvm_reset(struct kvm_cpu *v, bool init);
/* Before KVM_RUN, with immediate_exit already cleared: INIT, SIPI, injected event, NMI, INTR and
 * windows, in that order; asks for an interrupt window where somebody waits for one; reports HLT
 * and SHUTDOWN. False: return from run (a record has been dispatched, or v->error is set). */
bool kvm_events_enter(struct kvm_cpu *v);
/* The delivery that waited for the host goes on. False: return from run. */
bool kvm_redeliver(struct kvm_cpu *v);
int kvm_inject(struct vmi_vcpu *vcpu, const struct vmlib_event *event);
/* Events of the kernel and ours as the API shows them (part EVENTS has been looked at). */
void kvm_events_get(struct kvm_cpu *v, struct vmlib_events *o);
int kvm_events_set(struct kvm_cpu *v, const struct vmlib_events *e);

/* --- debug.c --- */
int kvm_set_breakpoints(struct vmi_vcpu *vcpu, const struct vmlib_breakpoint bp[VMLIB_BREAKPOINTS]);
/* Before KVM_RUN: single step and breakpoints as wanted now. False: return from run. */
bool kvm_debug_enter(struct kvm_cpu *v);
bool kvm_debug_exit(struct kvm_cpu *v); /* KVM_EXIT_DEBUG. False: return from run */

/* --- translate.c --- */
void kvm_translate(struct vmi_vcpu *vcpu, uint64_t gva, uint32_t access, bool user,
                   struct vmlib_translation *t);
/* Header of vcpu->exit (insn, insn_len, mode, cpl) for the instruction at `rip`. */
void kvm_describe_at(struct kvm_cpu *v, uint64_t rip);

#endif
