/*
 * A mock of VMX for the driver's core: capability MSRs, one VMCS, user memory with pin counts, a
 * TLB that remembers what a flush should have dropped.
 *
 * mock_enter() judges each entry as a hostile reviewer would: is there anything in this VMCS with
 * which the guest could reach, hold or disturb the host? What it finds is a failed assertion.
 */
#ifndef VTX_MOCK_H
#define VTX_MOCK_H

#include "core.h"

/* Models of processors. */
enum mock_model { MOCK_FULL, MOCK_OLD /* no unrestricted guest, A/D, timer, VPID */, MOCK_NO_EPT };

/* User memory: MOCK_USER_PAGES pages from here on; the last quarter is read-only. */
#define MOCK_USER       0x100000000ull
#define MOCK_USER_PAGES 4096u
#define MOCK_READ_ONLY  (MOCK_USER_PAGES * 3 / 4)

void mock_reset(enum mock_model model);
extern u64 mock_feature_control;
/* Fail the n-th allocation from now on; 0: none. */
void mock_fail_allocation(unsigned n);
u64 mock_pages(void);  /* allocated */
u64 mock_pinned(void); /* pins on user pages */
void mock_caps(struct vtx_caps *caps);

void mock_new_vmcs(void);
void mock_set(u32 field, u64 value); /* as the processor writes, read-only fields too */
u64 mock_get(u32 field);
/* One entry, as run.c makes it. The guest touches gpa. Returns the reason mock_enter chose: an EPT
 * violation, a refused entry or `reason`. */
u32 mock_enter(struct vtx_vcpu *v, u64 *flush_gen, u64 gpa, u32 access, u32 reason);

struct mock_vcpu {
    struct vtx_vcpu core;
    struct vmlib_vtx_run *run;
    u64 flush_gen;
};
int mock_vcpu_open(struct mock_vcpu *v, struct vtx_vm *vm, const struct vtx_caps *caps);
void mock_vcpu_close(struct mock_vcpu *v);

#define MOCK_ASSERT(c) mock_insist((c), #c, __FILE__, __LINE__)
void mock_insist(bool ok, const char *text, const char *file, int line);

#endif
