/*
 * The contract between lib/core and a backend: one const table of functions, and what core offers
 * back.
 *
 * Division of work. Core checks every argument that a host program gives, keeps the memory map,
 * handlers, doorbells, references, run limits, cancel and sleeping in HLT, and owns the exit
 * records. A backend executes guest code, keeps the architectural state, and reports every guest
 * event by filling vcpu->exit and calling vmi_exit_dispatch().
 *
 * Preconditions for all functions unless their comment says otherwise:
 *  - pointers are valid, arguments have been checked against the public headers;
 *  - functions that take a vCPU are called on its thread, and not while its run() is in progress,
 * except from inside vmi_exit_dispatch() (a handler that looks at or changes the state of its own
 * vCPU);
 *  - functions that take a VM are serialised by core;
 *  - 0 or a VMLIB_E_ code is returned. vmi_error() (below) adds the detail text.
 */
#ifndef VMI_BACKEND_H
#define VMI_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmlib/vmlib.h>

struct vmi_backend;
struct vmi_vm;
struct vmi_vcpu;

/* One piece of the flat memory map: sorted by gpa, never overlapping, all page aligned. */
struct vmi_slot {
    uint64_t gpa;
    uint64_t bytes;
    uint8_t *host;
    uint32_t prot;  /* VMLIB_PROT_ bits; ROM is already taken out of W */
    uint32_t flags; /* VMLIB_REGION_DIRTY_LOG counts for backends */
    /* With dirty log: one bit per page from gpa on. A backend sets the bit of a page before or
     * right after a guest store to it, with a relaxed atomic or. */
    _Atomic uint64_t *dirty;
};

/* What core and backend share about a VM. Core's struct vmlib_vm starts with it. */
struct vmi_vm {
    const struct vmi_backend *backend;
    void *impl; /* the backend's own */
    /* Constant after creation. */
    uint32_t time_mode, msr_policy, phys_bits, tsc_khz;
    uint64_t seed;     /* never 0 */
    uint64_t start_ns; /* vmi_now_ns() at creation */
    /* The map in force. Only changes inside mem_update(); stable while a vCPU is inside run() or
     * dispatch. Inside a handler it may change: look again after vmi_exit_dispatch(). */
    const struct vmi_slot *slots;
    uint32_t nslots;
    /* Number of handlers per kind, so that backends can skip the question. May change like slots.
     */
    _Atomic uint32_t nhandlers[VMLIB_HANDLER_KINDS];
    _Atomic uint32_t handlers_epoch; /* counts their changes */
};

/* vmi_vcpu.poll: why core wants run() to return. */
#define VMI_POLL_CANCEL 1u
#define VMI_POLL_PAUSE  2u /* the memory map or the handlers are about to change */

/* vmi_vcpu.pending: latched by other threads, consumed by the backend at an instruction boundary.
 */
#define VMI_PEND_NMI        0x01u
#define VMI_PEND_INIT       0x02u
#define VMI_PEND_SIPI       0x04u /* vector in bits 15:8 */
#define VMI_PEND_WINDOW     0x10u /* the host asks for INTERRUPT_WINDOW */
#define VMI_PEND_SIPI_SHIFT 8
#define VMI_PEND_SIPI_MASK  0xff00u

/* What core and backend share about a vCPU. Core's struct vmlib_vcpu starts with it. */
struct vmi_vcpu {
    struct vmi_vm *vm;
    void *impl; /* the backend's own */
    uint32_t index, apic_id;

    /* Written by other threads, which then call kick(). */
    _Atomic uint32_t poll; /* VMI_POLL_ bits: nonzero -> return from run() at the next boundary */
    _Atomic uint32_t pending; /* VMI_PEND_ bits: clear with an atomic and when taken */
    _Atomic uint32_t intr;    /* level of the INTR line */

    /* Limits of the run() in progress, set by core. */
    uint64_t budget;    /* instructions this run() may retire; UINT64_MAX: no limit */
    uint32_t run_flags; /* VMLIB_RUN_SINGLE_STEP counts for backends */
    /* When this run() should end, on vmi_now_ns()'s clock; UINT64_MAX: never. For backends whose
     * slice is 0. */
    uint64_t deadline_ns;
    /* Set by the backend when run() or complete() returns: instructions retired by this call. */
    uint64_t retired;

    /* The record under construction. A backend sets `reason`, assigns its union member as a whole
     * (so that reserved fields are zero) and calls vmi_exit_dispatch(). */
    struct vmlib_exit exit;
};

/* A doorbell that a backend may answer itself. */
struct vmi_bell {
    uint32_t kind;  /* VMLIB_DOORBELL_ constant */
    uint32_t width; /* bytes, never 0 */
    uint64_t address, value;
    bool match; /* only writes of `value` */
    int fd;     /* an eventfd, perhaps; valid until the bell is off again */
};

/* Answers of vmi_exit_dispatch(). */
enum vmi_verdict {
    /* Answered: finish the instruction with the values in the record, go on. */
    VMI_GO,
    /* As VMI_GO, then return 0 from run() at the end of the instruction (REP: of this element). */
    VMI_GO_LEAVE,
    /* Deliver the event in vcpu->exit.inject; the instruction has no (further) effect. */
    VMI_INJECT,
    /* Nobody claims it: only for MSR with known = 1 (do your own thing), CPUID (the registers in
     * the record are the answer), EXCEPTION (deliver it) and the INTACK question (spurious: ignore
     * INTR until the next kick or run). */
    VMI_NONE,
    /* Return 0 from run() with the state before this instruction; it has no effect. EXCEPTION: keep
     * the exception as the injected event, so that the next run delivers it unless the host
     * replaces it. */
    VMI_EXIT
};

/*
 * Report a guest event in vcpu->exit.
 *
 *   reason              when                             state as the API shows it      verdicts
 *   PIO, MMIO           each access                      before the instruction         GO GO_LEAVE
 * INJECT EXIT MSR, CPUID          each one                         before all HYPERCALL each one
 * before                         GO GO_LEAVE INJECT EXIT EXCEPTION           vector in the
 * exception mask     before delivery, CR2/DR6 old   GO (swallow) GO_LEAVE INJECT NONE EXIT
 *   INTERRUPT_WINDOW    INTR high or window requested,   boundary                       GO (deliver
 * vector) GO_LEAVE NONE EXIT IF = 1, no shadow MEMORY_FAULT        forbidden or no memory to fetch
 * before                         INJECT EXIT HLT, DEBUG,         they happened after (HLT: rip
 * behind it,     EXIT (= return from run now) SHUTDOWN, INTERNAL halted set)
 *
 * A write with nobody to take it answers GO_LEAVE: core keeps the record, the instruction
 * completes, run() returns. A store that a slot's protection forbids (ROM) is reported as MMIO;
 * core makes MEMORY_FAULT of it when no handler takes it (verdict EXIT). The same for loads from
 * slots without R. An MMIO record never crosses a page and has at most 8 bytes. REP string I/O: one
 * dispatch per element. After any verdict the handler may have changed registers, segments or rip
 * through set_state(): go on from there.
 */
enum vmi_verdict vmi_exit_dispatch(struct vmi_vcpu *vcpu);

/* The same for the frequent events. *value: in for writes, out for reads answered with GO or
 * GO_LEAVE. */
enum vmi_verdict vmi_exit_pio(struct vmi_vcpu *vcpu, uint16_t port, unsigned width, bool write,
                              uint32_t *value);
enum vmi_verdict vmi_exit_mmio(struct vmi_vcpu *vcpu, uint64_t gpa, uint64_t gva, unsigned width,
                               bool write, uint64_t *value);
enum vmi_verdict vmi_exit_msr(struct vmi_vcpu *vcpu, uint32_t index, bool write, bool known,
                              uint64_t *value);
/* regs: in the backend's own answer, out the one to use (also for VMI_NONE). */
enum vmi_verdict vmi_exit_cpuid(struct vmi_vcpu *vcpu, uint32_t leaf, uint32_t subleaf,
                                uint32_t regs[4]);

/* Register groups always travel as struct vmlib_state; `groups` has VMLIB_STATE_ bits. */
struct vmi_backend {
    const char *name;
    uint32_t id; /* VMLIB_BACKEND_ constant */
    uint32_t max_vcpus, phys_bits;
    /* With a deadline, core calls run() in slices of this many instructions and looks at the clock
     * in between; 0: run() comes back by itself soon after vcpu->deadline_ns. */
    uint32_t slice;
    /* vm_create() itself answers VMLIB_E_UNAVAILABLE with the reason: probe() need not come first.
     */
    bool create_probes;

    /* Any thread. May a VM be created here? 0, or VMLIB_E_UNAVAILABLE with the reason. */
    int (*probe)(char *reason, size_t bytes);
    /* Any thread. VMLIB_SUPPORT_ constant for a VMLIB_FEATURE_ constant. */
    uint32_t (*feature)(uint32_t feature);

    /* Sets vm->impl, and vm->tsc_khz where that is 0 and the backend has a rate of its own. */
    int (*vm_create)(struct vmi_vm *vm);
    void (*vm_destroy)(struct vmi_vm *vm); /* no vCPU is left */
    /* The map becomes slots[0..n-1]. No vCPU of the VM is inside guest code: each one is outside
     * run(), or inside vmi_exit_dispatch() (and will not return from it before this function has).
     * Drop everything derived from the old map. On failure the old map stays in force. `slots`
     * stays valid until the next call has returned. */
    int (*mem_update)(struct vmi_vm *vm, const struct vmi_slot *slots, uint32_t n);
    /* Under the same condition as mem_update: bring slot->dirty up to date for pages
     * first..first+n-1; with rearm the next store to each of these pages must set its bit again
     * (core clears the bits after this call). */
    void (*dirty_sync)(struct vmi_vm *vm, const struct vmi_slot *slot, uint64_t first, uint64_t n,
                       bool rearm);
    /* Any thread, vCPUs running: the host has written guest memory. Drop code derived from it,
     * soon. */
    void (*host_wrote)(struct vmi_vm *vm, uint64_t gpa, uint64_t bytes);

    /* Any thread, vCPUs running; serialised; may be NULL. on: from now on answer writes that match
     * by adding one to the eventfd, with no other effect. Anything but 0: core rings it. No other
     * doorbell has the same kind and address meanwhile. */
    int (*doorbell)(struct vmi_vm *vm, const struct vmi_bell *bell, bool on);

    /* Sets vcpu->impl. State: reset, or waiting for SIPI. model: n CPUID leaves, NULL = the default
     * model. */
    int (*vcpu_create)(struct vmi_vcpu *vcpu, bool wait_sipi, const struct vmlib_cpuid_leaf *model,
                       uint32_t n);
    void (*vcpu_destroy)(struct vmi_vcpu *vcpu);

    /* Execute until vcpu->poll is nonzero, the budget is used up, or a verdict says leave. Before
     * the first instruction: INIT, SIPI, injected event, NMI, INTR in the order of SDM Vol.3A table
     * 6-2. A vCPU that is halted or waits for a SIPI and has nothing to wake it dispatches HLT at
     * once. 0, or a negative code when the backend itself failed. Single step: after one
     * instruction (or event delivery) dispatch DEBUG with cause STEP. */
    int (*run)(struct vmi_vcpu *vcpu);
    /* Finish the instruction of the record that was left with VMI_EXIT; vcpu->exit is that record,
     * answered. fault: deliver vcpu->exit.inject instead. Further events of the same instruction
     * are dispatched from here. */
    int (*complete)(struct vmi_vcpu *vcpu, bool fault);
    /* Any thread and signal handlers: atomics only. poll, pending or intr has been changed: look at
     * them at the next boundary. The effect may not be lost when the vCPU is about to enter run().
     */
    void (*kick)(struct vmi_vcpu *vcpu);

    /* Fill rip, insn, insn_len, mode, cpl of vcpu->exit for the instruction in progress (from
     * inside dispatch); outside run: for the next instruction, with insn_len 0. */
    void (*describe)(struct vmi_vcpu *vcpu);
    /* Instructions retired since creation, exact, also from inside dispatch. */
    uint64_t (*instructions)(struct vmi_vcpu *vcpu);

    /* Only the members of the groups are touched. set checks all groups before it changes anything.
     * Members of events that core keeps (NMI_PENDING, INIT_PENDING, SIPI_PENDING, INTR) are ignored
     * by set and reported as 0 by get. */
    int (*get_state)(struct vmi_vcpu *vcpu, uint32_t groups, struct vmlib_state *state);
    int (*set_state)(struct vmi_vcpu *vcpu, uint32_t groups, const struct vmlib_state *state);
    /* VMLIB_REG_ below COUNT, without going through a whole group; the same checks. May be NULL, or
     * answer VMLIB_E_UNSUPPORTED without detail for registers that are better reached through their
     * group. */
    int (*get_reg)(struct vmi_vcpu *vcpu, uint32_t reg, uint64_t *value);
    int (*set_reg)(struct vmi_vcpu *vcpu, uint32_t reg, uint64_t value);

    int (*inject)(struct vmi_vcpu *vcpu, const struct vmlib_event *event);
    int (*set_exception_exits)(struct vmi_vcpu *vcpu, uint32_t mask);
    /* All four slots, kind OFF where unused. */
    int (*set_breakpoints)(struct vmi_vcpu *vcpu,
                           const struct vmlib_breakpoint bp[VMLIB_BREAKPOINTS]);
    int (*set_cpuid)(struct vmi_vcpu *vcpu, const struct vmlib_cpuid_leaf *model, uint32_t n);
    /* At most VMLIB_CPUID_MAX leaves. */
    uint32_t (*get_cpuid)(struct vmi_vcpu *vcpu, struct vmlib_cpuid_leaf *model);
    /* Walk without side effects. user: with the rights of CPL 3. Fills everything but size and
     * flags. */
    void (*translate)(struct vmi_vcpu *vcpu, uint64_t gva, uint32_t access, bool user,
                      struct vmlib_translation *t);
    /* Current privilege level. */
    unsigned (*cpl)(struct vmi_vcpu *vcpu);
};

/* --- services of core for backends --- */

/* Record the detail text of an error on this thread; returns code, so that `return vmi_error(...)`
 * reads well. */
int vmi_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Send a message to the VM's log callback. */
void vmi_log(struct vmi_vm *vm, uint32_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The host's monotonic clock. */
uint64_t vmi_now_ns(void);
/* The slot that covers gpa in vm->slots, or NULL. Same condition as vm->slots. */
const struct vmi_slot *vmi_memory_slot(const struct vmi_vm *vm, uint64_t gpa);
/* Does a handler of this kind (VMLIB_HANDLER_) cover `value`? Same condition as vm->slots. */
bool vmi_handler_covers(const struct vmi_vm *vm, uint32_t kind, uint64_t value);
/* Guest time of this vCPU in ns (VMLIB_TIME_ mode of the VM), for time-stamp counters. vCPU thread.
 */
uint64_t vmi_vcpu_time_ns(struct vmi_vcpu *vcpu);

#endif
