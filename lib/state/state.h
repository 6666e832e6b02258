/*
 * Between struct x86_cpu (lib/x86) and the public API's structs: what every backend needs that
 * executes with lib/x86, be it whole guests or single instructions.
 */
#ifndef VMI_STATE_H
#define VMI_STATE_H

#include <vmlib/vmlib.h>

#include "x86/cpu.h"
#include "x86/sys.h"

/* --- state.c --- */
/* Values that no CPU can hold: VMLIB_E_INVAL, or _UNSUPPORTED for system management mode.
 * phys_mask: bits of a guest-physical address. */
int vmi_state_check(uint64_t phys_mask, uint32_t groups, const struct vmlib_state *o);
/* Only the members of the groups. MSRs need ops->tsc. */
void vmi_state_get(struct x86_cpu *cpu, uint32_t groups, struct vmlib_state *o);
void vmi_state_set(struct x86_cpu *cpu, uint32_t groups, const struct vmlib_state *o);
void vmi_event_from_api(const struct vmlib_event *e, struct x86_event *o);
void vmi_event_to_api(const struct x86_event *e, struct vmlib_event *o);

/* --- cpuid.c --- */
void vmi_model_from_api(const struct vmlib_cpuid_leaf *model, uint32_t n,
                        struct x86_cpuid_table *t);
uint32_t vmi_model_to_api(const struct x86_cpuid_table *t, struct vmlib_cpuid_leaf *model);
struct vmi_vcpu;
/* The default model of a vCPU. host: the features that it may have (x86_host_features()). */
void vmi_model_default(const struct vmi_vcpu *vcpu, const uint64_t host[4],
                       struct x86_cpuid_table *t);

/* --- look.c --- without side effects; guest memory is reached through ops->page */
uint32_t vmi_mode(const struct x86_cpu *cpu); /* VMLIB_MODE_ constant */
/* Bytes at an offset in CS; returns how many there are. */
unsigned vmi_code_at(struct x86_cpu *cpu, uint64_t rip, uint8_t *buf, unsigned n);
/* Fills rip, insn, insn_len, mode, cpl for the instruction at cpu->rip. */
void vmi_describe(struct x86_cpu *cpu, struct vmlib_exit *e);
/* Fills everything but size and flags. */
void vmi_translate(struct x86_cpu *cpu, uint64_t gva, uint32_t access, bool user,
                   struct vmlib_translation *t);

#endif
