/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The part of the driver that is a Linux module: objects behind the descriptors, processors.
 */
#ifndef VTX_HOST_H
#define VTX_HOST_H

#include "core.h"
#include "compat.h"

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>

struct host_vm {
    struct vtx_vm core;
    u64 id;           /* unlike its address never used again */
    struct kref refs; /* the VM's file and those of its vCPUs */
    struct mutex lock;
    struct mm_struct *mm;
    struct page **pages; /* work space of plat_pin */
    struct list_head vcpus;
    unsigned int nvcpus;
};

enum { OUTSIDE, IN_GUEST };

struct host_vcpu {
    struct vtx_vcpu core;
    struct host_vm *vm;
    struct list_head of_vm;
    atomic_t busy; /* one RUN at a time */
    void *vmcs;
    struct page *pages[VMLIB_VTX_PAGES];

    /* Which processor has the VMCS; -1 none. Changed on that processor only. */
    int cpu;
    struct list_head of_cpu;
    unsigned long launched;

    int mode; /* IN_GUEST: a kick needs an IPI */
    u64 flush_gen;
    u64 timer_end; /* time stamp at which the preemption timer is due */
    bool fresh;    /* new on this processor: host state, INVEPT, INVVPID */
    u8 fpu_eager;  /* entries left for which the vector registers are loaded at once */
    u32 invalid;

    /* Host state as it is in the VMCS, so that it is written only when it changes. */
    u64 host_rsp, cr3, cr4, fs_base, gs_base;
    /* Host values to put back. */
    u64 star, lstar, cstar, fmask, kernel_gs_base, tsc_aux;
    u16 fs, gs, ds, es, ldt;
    struct desc_ptr gdt, idt;
};

/* cpu.c */
extern struct vtx_caps vtx_caps;
extern u64 vtx_host_xcr0;
int vtx_cpu_init(void);
void vtx_cpu_exit(void);
/* The first get switches VMX on everywhere, the last put off. */
int vtx_cpu_get(void);
void vtx_cpu_put(void);
u32 vtx_cpu_unavailable(void);
u32 vtx_cpu_count(void);
/* Preemption off: make the vCPU's VMCS current here. */
int vtx_cpu_load(struct host_vcpu *v);
void vtx_cpu_clear(struct host_vcpu *v); /* VMCLEAR wherever it is */
int vtx_vmcs_prepare(struct host_vcpu *v);

/* run.c, entry.S */
long vtx_run(struct host_vcpu *v);
int vtx_enter(u64 *gpr, unsigned long launched, u64 *host_rsp);
extern const char vtx_exit_point[];

/* cpu.c; 0: none left, the vCPU runs without */
u32 vtx_vpid_get(void);
void vtx_vpid_put(u32 vpid);

struct vtx_counters {
    atomic64_t vms, vcpus, pinned, tables, migrations;
};
extern struct vtx_counters vtx_counters;

#endif
