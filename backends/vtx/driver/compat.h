/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * All differences between kernel versions (6.1 and later), and mitigations whose kernel interfaces
 * change often.
 */
#ifndef VTX_COMPAT_H
#define VTX_COMPAT_H

#include <linux/mm.h>
#include <linux/smp.h>
#include <linux/version.h>
#include <asm/cpufeature.h>
#include <asm/desc.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
#define compat_vma_flags(vma, flags) vm_flags_set(vma, flags)
#else
#define compat_vma_flags(vma, flags) ((vma)->vm_flags |= (flags))
#endif

/* Before a guest runs after user space did: nothing of the host is left in buffers of the
 * processor (SDM's VERW and IA32_FLUSH_CMD; only on processors that need them). */
static inline void compat_clear_buffers(void)
{
    if (static_cpu_has(X86_FEATURE_MD_CLEAR)) {
        static const u16 ds = __KERNEL_DS;

        asm volatile("verw %0" : : "m"(ds) : "cc");
    }
    if (static_cpu_has(X86_FEATURE_FLUSH_L1D) && boot_cpu_has_bug(X86_BUG_L1TF))
        wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
}

/* Between guests of different VMs on one processor. */
static inline void compat_guest_switch(void)
{
    indirect_branch_prediction_barrier();
}

#endif
