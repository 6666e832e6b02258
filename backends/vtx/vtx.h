/*
 * The VT-x backend: shared types.
 *
 *   probe.c    is there a usable driver, and why not
 *   vm.c       VM and vCPU: descriptors, mappings, creation, end
 *   memory.c   guest memory by difference, dirty log
 *   groups.c   struct x86_cpu from and to the page that is shared with the driver
 *   run.c      the run loop: events, controls, entry, deadline
 *   exits.c    VM exits
 *   quick.c    those that need no more than the general registers
 *   cpuid.c    the CPU model that this processor and driver can carry
 *   backend.c  the vtable
 *
 * The vCPU's state is a struct x86_cpu (lib/engine), as in the software backend; the processor is
 * used for stretches of instructions. What exits is executed by lib/x86, so records and results are
 * those of every other backend. Register groups travel only when somebody looks: `have` says which
 * are current in the x86_cpu.
 */
#ifndef VTX_BACKEND_H
#define VTX_BACKEND_H

#include "engine/engine.h"
#include "vtx/uapi/vmlib_vtx.h"

struct vtx_vm {
    struct vmi_vm *owner;
    int dev, fd;
    uint64_t tsc_start; /* of the host, when the VM came into being */
    struct vmlib_vtx_info info;
};

/* What was in the page and in the x86_cpu when they agreed last: most exits change neither. */
struct vtx_agreed {
    __typeof__(((struct vmlib_vtx_run *)0)->segments) page;
    struct x86_seg seg[X86_NSEG], ldtr, tr;
    struct x86_dtr gdtr, idtr;
    union x86_vec v[16];
    struct x86_fpu fpu;
    uint32_t mxcsr;
};

struct vtx_cpu {
    struct vmi_engine e; /* first */
    struct vtx_vm *vm;
    int fd;
    struct vmlib_vtx_run *run;
    uint8_t *fpu;    /* XSAVE image, standard format (or FXSAVE) */
    uint32_t have;   /* VMLIB_VTX_G_ groups that the x86_cpu holds as they are */
    bool have_fpu;   /* ... and its vector registers */
    bool fresh;      /* never entered: every group has to be written */
    bool asked;      /* somebody has looked at, and perhaps changed, groups since the last exit */
    bool asked_fpu;  /* ... at the vector registers since the last entry */
    bool mode_stale; /* x86_mode_refresh() is due */
    bool tlb_stale;  /* the guest has run since lib/x86 looked at its page tables */
    uint32_t soft;   /* instructions that lib/x86 executes before the processor is tried again */
    uint32_t tries;  /* entries refused in a row */
    uint64_t last;   /* the basic reason of the last exit, as a bit */
    int error;
    struct vtx_agreed agreed;
};

static inline struct vtx_cpu *vtx_cpu_of(const struct vmi_vcpu *vcpu)
{
    return vcpu->impl;
}

/* --- probe.c --- */
int vtx_probe(char *reason, size_t bytes);
/* The reason in words; testable without a driver. error: errno of open(), 0: see info. */
void vtx_probe_reason(int error, const struct vmlib_vtx_info *info, char *reason, size_t bytes);
/* Descriptor, or -1 with the reason. */
int vtx_open_device(struct vmlib_vtx_info *info, char *reason, size_t bytes);
int vtx_failed(const char *what); /* vmi_error() with errno in words */

/* --- vm.c --- */
int vtx_vm_create(struct vmi_vm *vm);
void vtx_vm_destroy(struct vmi_vm *vm);
int vtx_vcpu_create(struct vmi_vcpu *vcpu, bool wait_sipi, const struct vmlib_cpuid_leaf *model,
                    uint32_t n);
void vtx_vcpu_destroy(struct vmi_vcpu *vcpu);

/* --- memory.c --- */
int vtx_mem_update(struct vmi_vm *vm, const struct vmi_slot *slots, uint32_t n);
void vtx_dirty_sync(struct vmi_vm *vm, const struct vmi_slot *slot, uint64_t first, uint64_t n,
                    bool rearm);
void vtx_host_wrote(struct vmi_vm *vm, uint64_t gpa, uint64_t bytes);

/* --- groups.c --- */
#define VTX_LOOKED_AT \
    (VMLIB_VTX_G_SEGMENTS | VMLIB_VTX_G_CONTROL | VMLIB_VTX_G_MSRS | VMLIB_VTX_G_EVENTS)
/* Make the groups of the x86_cpu current (SEGMENTS and CONTROL together, if at all), and what
 * lib/x86 derives from them. 0, or a code (v->error has it, too). */
int vtx_need(struct vtx_cpu *v, uint32_t groups);
void vtx_need_fpu(struct vtx_cpu *v);
/* RUN has come back: general registers are current, and the groups that were fetched. */
void vtx_pulled(struct vtx_cpu *v, uint32_t groups);
struct x86_event vtx_event(uint32_t event, uint32_t error, uint32_t length);
/* Before RUN: what has changed goes to the page. */
void vtx_push(struct vtx_cpu *v);

/* --- run.c, exits.c --- */
int vtx_run(struct vmi_vcpu *vcpu);
int vtx_complete(struct vmi_vcpu *vcpu, bool fault);
void vtx_kick(struct vmi_vcpu *vcpu);
/* Everything that lib/x86 may touch. */
bool vtx_need_all(struct vtx_cpu *v);
bool vtx_exit(struct vtx_cpu *v); /* False: return from run */
bool vtx_internal(struct vtx_cpu *v, uint32_t code, const char *text);
bool vtx_execute(struct vtx_cpu *v); /* the instruction at rip, by lib/x86 */
bool vtx_after(struct vtx_cpu *v);   /* an access of it had another answer than a value */

/* --- quick.c --- VM exits by instructions whose operands are in registers */
bool vtx_quick_io(struct vtx_cpu *v);
bool vtx_quick_cpuid(struct vtx_cpu *v);
bool vtx_quick_hlt(struct vtx_cpu *v);
bool vtx_quick_rdmsr(struct vtx_cpu *v);
bool vtx_quick_wrmsr(struct vtx_cpu *v);

/* --- cpuid.c --- */
void vtx_cpuid_default(const struct vtx_cpu *v, struct x86_cpuid_table *t);

#endif
