/** @file
 * Moving a running guest from one VM to another, on any two backends. Part of libvmlib-devices.
 */
#ifndef VMLIB_HANDOFF_H
#define VMLIB_HANDOFF_H

#include <vmlib/vmlib.h>

/** @defgroup handoff Hand-off
 * The destination VM has regions at the same guest-physical addresses, the same handlers and a vCPU
 * for each of the source's. To move: have all vCPUs of the source outside of run, move each vCPU
 * (vmlib_handoff_vcpu()), then bring the memory over (vmlib_handoff_memory()). The way back is the
 * same.
 * doc/handoff.md says what is guaranteed at each kind of record.
 * @{ */

/* vmlib_handoff_vcpu() */
/** A record that waits for completion is given up; the destination begins its instruction again. */
#define VMLIB_HANDOFF_REPEAT 1u

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Give a region's memory to another VM as well: create a region over the same bytes at the same
 * place. Nothing is copied when the guest moves. The caller keeps a reference to `region` for as
 * long as the new one exists.
 * @param prot,flags VMLIB_PROT_ bits, #VMLIB_REGION_DIRTY_LOG and #VMLIB_REGION_ROM of the new
 * region.
 * @param[out] shared One reference.
 * @retval VMLIB_E_INVAL an argument is NULL or has unknown bits.
 * @return Or what vmlib_region_create() answered.
 * @thread{any}
 */
VMLIB_API int vmlib_handoff_share(vmlib_region *region, vmlib_vm *vm, uint32_t prot, uint32_t flags,
                                  vmlib_region **shared);

/**
 * Make the CPUID model that both vCPUs can have: that of `a`, with the features of both only. A
 * guest that is to move gets it from the start (vmlib_vm_set_cpuid(), vmlib_vcpu_set_cpuid()).
 * @param a,b vCPUs with their backends' own models.
 * @param[out] leaves Room for `*count` entries; may be NULL when that is 0.
 * @param[in,out] count In: room. Out: number of leaves (also on #VMLIB_E_LIMIT).
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_LIMIT there is not enough room.
 * @retval VMLIB_E_BUSY a vCPU runs on another thread.
 * @thread{vcpu thread of both}
 */
VMLIB_API int vmlib_handoff_cpuid(vmlib_vcpu *a, vmlib_vcpu *b, struct vmlib_cpuid_leaf *leaves,
                                  uint32_t *count);

/**
 * Bring memory over: `to` becomes what `from` is. Regions over the same bytes only have their code
 * read again; others are copied. With #VMLIB_REGION_DIRTY_LOG on `from` only the pages written
 * since the last call are looked at (the two must have been equal then, or both new and zero), and
 * the log starts over. No vCPU of either VM runs.
 * @retval VMLIB_E_INVAL an argument is NULL, or the two have different ranges.
 * @retval VMLIB_E_NOMEM out of memory.
 * @return Or what vmlib_region_dirty() or vmlib_region_written() answered.
 * @thread{vm stopped}
 */
VMLIB_API int vmlib_handoff_memory(vmlib_region *from, vmlib_region *to);

/**
 * Move the complete architectural state of a vCPU: all register groups with vector state and MSRs,
 * the event on its way, interrupt shadow and blocking, pending NMI, INIT and start-up IPI, the
 * level of INTR, a requested interrupt window, halt and shutdown. `from` is left halted, and holds
 * nothing of the guest any more. Not moved, for the host set it: CPUID model, exception exits,
 * breakpoints. On errors nothing has moved, and `from` goes on where it was. A cancel of `from`
 * that is not answered yet is answered by this call; other threads send nothing to either vCPU
 * meanwhile.
 * @param from Outside of run. If a record waits for completion, complete it first, or give
 * #VMLIB_HANDOFF_REPEAT.
 * @param to Outside of run, nothing outstanding.
 * @param flags #VMLIB_HANDOFF_REPEAT or 0.
 * @param[in,out] exit Caller sets `size`. Reason NONE: moved; `instructions` has those that no
 * record of `from` has reported. STOPPED: moved, and a handler's #VMLIB_STOP had not been reported.
 * Any other: nothing has moved; `from` had another record of an instruction that is already
 * executed. Deal with it as with one from vmlib_vcpu_run(), then call again.
 * @retval VMLIB_E_INVAL an argument is NULL or has unknown bits or a wrong size, or `to` cannot
 * hold the state.
 * @retval VMLIB_E_STATE an exit waits for completion.
 * @retval VMLIB_E_UNSUPPORTED a state that the backend of `to` cannot hold.
 * @retval VMLIB_E_BUSY a vCPU runs on another thread.
 * @thread{vcpu thread of both}
 */
VMLIB_API int vmlib_handoff_vcpu(vmlib_vcpu *from, vmlib_vcpu *to, uint32_t flags,
                                 struct vmlib_exit *exit);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
