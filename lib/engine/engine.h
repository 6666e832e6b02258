/*
 * One vCPU in struct x86_cpu, with what stands between lib/x86 and core: accesses of devices
 * through vmi_exit_dispatch() and their answers, events between instructions, single instructions,
 * completion of records, state.
 *
 *   ops.c    what lib/x86 asks: devices, MSRs, CPUID, hypercalls, chance
 *   slots.c  guest memory straight from the VM's slots, for backends whose processor does the rest
 *   events.c what happens between two instructions
 *   step.c   one instruction, and the end of one that has waited for the host
 *   vcpu.c   creation, CPU model, registers, breakpoints
 *
 * A backend embeds struct vmi_engine as the first member of its vCPU, executes instructions as it
 * likes (blocks, a processor), and comes here for everything else. So records, results and
 * priorities are the same on all of them.
 */
#ifndef VMI_ENGINE_H
#define VMI_ENGINE_H

#include "backend.h"
#include "x86/cpu.h"
#include "x86/ops.h"
#include "x86/sys.h"

/* A device access that was returned to the host and waits for its answer. */
enum vmi_answer_kind {
    VMI_ANSWER_NONE,
    VMI_ANSWER_READ,
    VMI_ANSWER_WRITE,
    VMI_ANSWER_IN,
    VMI_ANSWER_OUT,
    VMI_ANSWER_RDMSR,
    VMI_ANSWER_WRMSR,
    VMI_ANSWER_CPUID,
    VMI_ANSWER_CALL
};

struct vmi_engine;

/* What a backend does around functions of the host program. */
struct vmi_engine_hooks {
    void (*outside)(struct vmi_engine *e); /* one is about to be called */
    /* It has returned, and may have changed the memory map or the vCPU. True: what is being
     * executed was decoded from another map or code; it must end behind this instruction. */
    bool (*inside)(struct vmi_engine *e);
};

struct vmi_engine {
    struct x86_cpu cpu; /* first: ops get only this */
    struct vmi_vcpu *owner;
    const struct vmi_engine_hooks *hooks;
    struct x86_cpuid_table cpuid;
    uint64_t random;
    uint64_t retired;   /* before the run in progress */
    int64_t handed_out; /* cpu.left at the start of the run in progress */

    bool in_insn;      /* an instruction is in progress; rip may be implicit: RIPBASE and cpu.cur */
    bool leave_after;  /* a verdict says: return from run at the end of this instruction */
    bool dispatched;   /* the record of this exit is already with core */
    bool spurious;     /* nobody had a vector: ignore INTR until kicked */
    bool skip_exec_bp; /* the breakpoint at skip_rip has been reported */
    uint64_t skip_rip;

    uint8_t wait_kind, wait_size; /* enum vmi_answer_kind */
    uint64_t wait_addr;
    uint64_t answer_count, answer_rcx; /* the instruction that cpu.answer[] belongs to */
};

static inline struct vmi_engine *vmi_engine_of(struct x86_cpu *cpu)
{
    return (struct vmi_engine *)cpu;
}

/* Instructions retired since creation, exact at any time on the vCPU's thread. */
static inline uint64_t vmi_engine_instructions(const struct vmi_engine *e)
{
    int64_t left = e->cpu.left + (e->in_insn && e->cpu.cur ? e->cpu.cur->rem : 0);
    return e->retired + (uint64_t)(e->handed_out - left);
}

/* --- ops.c --- members of struct x86_ops; a backend's table adds memory, `tsc` and locks */
#define VMI_ENGINE_OPS                                                                       \
    .read_phys = vmi_engine_read_phys, .pio_read = vmi_engine_pio_read,                      \
    .pio_write = vmi_engine_pio_write, .rdmsr = vmi_engine_rdmsr, .wrmsr = vmi_engine_wrmsr, \
    .msr_first = vmi_engine_msr_first, .cpuid = vmi_engine_cpuid,                            \
    .hypercall = vmi_engine_hypercall, .random = vmi_engine_random,                          \
    .exception = vmi_engine_exception
enum x86_result vmi_engine_read_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin,
                                     unsigned size);
enum x86_result vmi_engine_pio_read(struct x86_cpu *cpu, uint16_t number, unsigned size);
enum x86_result vmi_engine_pio_write(struct x86_cpu *cpu, uint16_t number, uint32_t value,
                                     unsigned size);
enum x86_result vmi_engine_rdmsr(struct x86_cpu *cpu, uint32_t index);
enum x86_result vmi_engine_wrmsr(struct x86_cpu *cpu, uint32_t index, uint64_t value);
enum x86_result vmi_engine_msr_first(struct x86_cpu *cpu, uint32_t index, bool write,
                                     uint64_t value);
enum x86_result vmi_engine_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf);
enum x86_result vmi_engine_hypercall(struct x86_cpu *cpu);
uint64_t vmi_engine_random(struct x86_cpu *cpu);
enum x86_result vmi_engine_exception(struct x86_cpu *cpu, const struct x86_event *ev);

/* Make cpu.rip explicit while an instruction is in progress. */
void vmi_engine_sync_rip(struct vmi_engine *e);
/* A port access whose operands the processor has decoded. X86_OK: *value is the answer. */
enum x86_result vmi_engine_port(struct vmi_engine *e, bool write, uint16_t number, unsigned size,
                                uint32_t *value);
/* A store that no memory takes. */
enum x86_result vmi_engine_write_device(struct vmi_engine *e, uint64_t gpa, uint64_t lin,
                                        uint64_t value, unsigned size);

/* --- slots.c --- the memory ops for backends without a software MMU of their own */
void vmi_engine_slot_page(struct x86_cpu *cpu, uint64_t gpa, enum x86_access acc,
                          struct x86_page *out);
enum x86_result vmi_engine_slot_write(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin,
                                      uint64_t value, unsigned size);
void vmi_engine_slot_before_rmw(struct x86_cpu *cpu, uint64_t gpa, unsigned size);
void vmi_engine_no_lock(struct x86_cpu *cpu); /* for split_lock and split_unlock */

/* --- events.c --- */
/* Hand the record in owner->exit to core, standing between two instructions. */
enum vmi_verdict vmi_engine_dispatch(struct vmi_engine *e);
/* Deliver to the guest. show: the host may have asked to see it first. False: return from run. */
bool vmi_engine_deliver(struct vmi_engine *e, const struct x86_event *ev, bool show);
/* What stands between two instructions. False: return from run. */
bool vmi_engine_events(struct vmi_engine *e);

/* --- step.c --- */
void vmi_engine_begin(struct vmi_engine *e, uint64_t budget); /* of run() or complete() */
void vmi_engine_end(struct vmi_engine *e);                    /* sets owner->retired */
void vmi_engine_execute_one(struct vmi_engine *e);            /* without a look at what it led to */
/* Deal with why execution ended (cpu.leave). False: return from run. */
bool vmi_engine_after(struct vmi_engine *e);
/* Fill the record of an instruction that cannot be fetched: cpu.tmp is where. */
void vmi_engine_fetch_fault(const struct vmi_engine *e);
/* Must the next instruction go through vmi_engine_step()? */
bool vmi_engine_needs_step(const struct vmi_engine *e);
/* The instruction at rip, with breakpoints before and traps after it. False: return from run. */
bool vmi_engine_step(struct vmi_engine *e);
/* owner->exit has the answer to the access that has waited. */
void vmi_engine_record_answer(struct vmi_engine *e);
/* Finish the instruction or delivery that has waited; owner->exit has its answer. Between
 * vmi_engine_begin() and _end(). */
void vmi_engine_complete(struct vmi_engine *e);
/* ... or raise owner->exit.inject in its place. */
void vmi_engine_complete_fault(struct vmi_engine *e);

/* --- vcpu.c --- */
/* State: reset, or waiting for SIPI. cpu.tlb_banks is the caller's affair. */
void vmi_engine_init(struct vmi_engine *e, struct vmi_vcpu *owner, const struct x86_ops *ops,
                     const struct vmi_engine_hooks *hooks);
void vmi_engine_reset(struct vmi_engine *e, bool wait_sipi);
/* e->cpuid has been written. True: features have changed. */
bool vmi_engine_use_model(struct vmi_engine *e);
int vmi_engine_set_state(struct vmi_engine *e, uint32_t groups, const struct vmlib_state *o);
/* Rows of a backend's table: the vCPU's impl begins with its engine. */
int vmi_engine_get_reg(struct vmi_vcpu *owner, uint32_t reg, uint64_t *value);
int vmi_engine_set_reg(struct vmi_vcpu *owner, uint32_t reg, uint64_t value);
int vmi_engine_inject(struct vmi_vcpu *owner, const struct vmlib_event *event);
int vmi_engine_set_exception_exits(struct vmi_vcpu *owner, uint32_t mask);
int vmi_engine_set_breakpoints(struct vmi_vcpu *owner,
                               const struct vmlib_breakpoint bp[VMLIB_BREAKPOINTS]);
uint32_t vmi_engine_get_cpuid(struct vmi_vcpu *owner, struct vmlib_cpuid_leaf *model);

#endif
