/*
 * One vCPU in struct x86_cpu, with what stands between lib/x86 and core: devices through
 * vmi_exit_dispatch(), memory through the VM's slots, events between instructions, completion of
 * records.
 *
 * For backends in which a processor executes most instructions and every one that it hands back is
 * finished here. The engine knows nothing of blocks or caches; its software TLB is empty whenever
 * the processor has run meanwhile (the owner flushes it).
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

struct vmi_engine {
    struct x86_cpu cpu; /* first: ops get only this */
    struct vmi_vcpu *owner;
    struct x86_cpuid_table cpuid;
    uint64_t random;
    uint64_t executed; /* instructions: tells them apart */

    bool busy;         /* an instruction is in progress: a handler's changes resynchronise it */
    bool leave_after;  /* a verdict says: return from run at the end of this instruction */
    bool dispatched;   /* the record of this exit is with core */
    bool spurious;     /* nobody had a vector: ignore INTR until kicked */
    bool skip_exec_bp; /* the breakpoint at skip_rip has been reported */
    uint64_t skip_rip;

    uint8_t wait_kind, wait_size; /* enum vmi_answer_kind */
    uint64_t wait_addr;
    uint64_t answer_serial, answer_rcx; /* the instruction that cpu.answer[] belongs to */
};

static inline struct vmi_engine *vmi_engine_of(struct x86_cpu *cpu)
{
    return (struct vmi_engine *)cpu;
}

/* ops.c. The owner copies the table and adds `tsc`. */
extern const struct x86_ops vmi_engine_ops;
void vmi_engine_record_answer(struct vmi_engine *e); /* owner->exit has it */
/* A port access whose operands the processor has decoded. X86_OK: *value is the answer. */
enum x86_result vmi_engine_port(struct vmi_engine *e, bool write, uint16_t number, unsigned size,
                                uint32_t *value);

/* step.c */
/* 0 or VMLIB_E_NOMEM. State: reset. */
int vmi_engine_init(struct vmi_engine *e, struct vmi_vcpu *owner, const struct x86_ops *ops,
                    bool wait_sipi);
void vmi_engine_free(struct vmi_engine *e);
void vmi_engine_model(struct vmi_engine *e, const struct vmlib_cpuid_leaf *model, uint32_t n);
void vmi_engine_begin(struct vmi_engine *e); /* of run() */
/* Execute the instruction at rip, breakpoints and traps included. False: return from run. */
bool vmi_engine_step(struct vmi_engine *e);
/* The processor has finished an instruction in our place. */
void vmi_engine_retired(struct vmi_engine *e, uint64_t rip);
/* An access of the instruction was answered by something else than a value: deal with cpu.leave.
 * False: return from run. */
bool vmi_engine_after(struct vmi_engine *e);
void vmi_engine_complete(struct vmi_engine *e, bool fault);
int vmi_engine_set_state(struct vmi_engine *e, uint32_t groups, const struct vmlib_state *o);
void vmi_engine_breakpoints(struct vmi_engine *e,
                            const struct vmlib_breakpoint bp[VMLIB_BREAKPOINTS]);

/* events.c */
enum vmi_verdict vmi_engine_dispatch(struct vmi_engine *e); /* at a boundary */
bool vmi_engine_deliver(struct vmi_engine *e, const struct x86_event *ev, bool show);
bool vmi_engine_events(struct vmi_engine *e); /* False: return from run */
bool vmi_engine_report_debug(struct vmi_engine *e, uint32_t cause, uint32_t slots,
                             uint64_t address);

#endif
