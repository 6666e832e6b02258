/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * All differences between kernel versions (6.1 and later), and mitigations whose kernel interfaces
 * change often.
 */
#ifndef VTX_COMPAT_H
#define VTX_COMPAT_H

#include <linux/mm.h>
#include <linux/perf_event.h>
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

/* The tracing version needs a tracepoint of its own. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define compat_reschedule(cpu) arch_smp_send_reschedule(cpu)
#else
#define compat_reschedule(cpu) smp_send_reschedule(cpu)
#endif

/* Sleep: stable kernels have taken the newer interface over, too, so Kbuild looks into the header.
 */
#ifdef COMPAT_SYSCORE_DATA
#define COMPAT_SYSCORE_ARG void *data
#define COMPAT_SYSCORE(name, on_suspend, on_resume)                                            \
    static const struct syscore_ops name##_ops = {.suspend = on_suspend, .resume = on_resume}; \
    static struct syscore name = {.ops = &name##_ops}
#define compat_register_syscore   register_syscore
#define compat_unregister_syscore unregister_syscore
#else
#define COMPAT_SYSCORE_ARG void
#define COMPAT_SYSCORE(name, on_suspend, on_resume) \
    static struct syscore_ops name = {.suspend = on_suspend, .resume = on_resume}
#define compat_register_syscore   register_syscore_ops
#define compat_unregister_syscore unregister_syscore_ops
#endif

#ifdef _TIF_USER_RETURN_NOTIFY
#define COMPAT_USER_RETURN _TIF_USER_RETURN_NOTIFY
#else
#define COMPAT_USER_RETURN 0
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

/* After a guest: what it has taught the branch predictor does not reach user space either. */
static inline void compat_guest_ran(void)
{
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
    if (static_cpu_has(X86_FEATURE_IBPB_EXIT_TO_USER))
        this_cpu_write(x86_ibpb_exit_to_user, true);
#endif
}

/* Debug store areas are at addresses of the host: its sampling counters (PEBS) stop in the guest,
 * as do events that exclude guests. Interrupts off. */
static inline struct perf_guest_switch_msr *compat_perf_guest(int *n)
{
    struct perf_guest_switch_msr *msrs;
    int i;

    *n = 0;
    msrs = perf_guest_get_msrs(n, NULL);
    for (i = 0; i < *n; i++)
        if (msrs[i].host != msrs[i].guest)
            wrmsrl(msrs[i].msr, msrs[i].guest);
    return msrs;
}

static inline void compat_perf_host(const struct perf_guest_switch_msr *msrs, int n)
{
    int i;

    for (i = 0; i < n; i++)
        if (msrs[i].host != msrs[i].guest)
            wrmsrl(msrs[i].msr, msrs[i].host);
}

/* Event delivery by FRED: the host state of a VMCS has more then. */
static inline bool compat_fred(void)
{
    return (u64)__read_cr4() >> 32 & 1;
}

/* Between guests of different VMs on one processor. */
static inline void compat_guest_switch(void)
{
    indirect_branch_prediction_barrier();
}

#endif
