// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * For the rig only: each CPU sends the others an NMI every `us` microseconds.
 *
 * Bochs 2.7 holds external interrupts back while a guest that was entered with RFLAGS.IF clear
 * runs; a processor does not. A virtual CPU that waits with interrupts off for another one would
 * wait for ever when that one needs this processor (for its VMCS, for a timer). An NMI is not held
 * back: the hypervisor leaves the guest, and takes what waits.
 */
#include <linux/cpumask.h>
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/smp.h>
#include <asm/apic.h>
#include <asm/nmi.h>

static unsigned int us = 2000;
module_param(us, uint, 0444);
static DEFINE_PER_CPU(struct hrtimer, timers);

static int take(unsigned int type, struct pt_regs *regs)
{
    return NMI_HANDLED;
}

static enum hrtimer_restart pulse(struct hrtimer *timer)
{
    unsigned int cpu;

    for_each_online_cpu(cpu)
    {
        if (cpu != smp_processor_id())
            apic->send_IPI(cpu, NMI_VECTOR);
    }
    hrtimer_forward_now(timer, ns_to_ktime(us * 1000ull));
    return HRTIMER_RESTART;
}

static void start(void *unused)
{
    struct hrtimer *timer = this_cpu_ptr(&timers);

    hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
    timer->function = pulse;
    hrtimer_start(timer, ns_to_ktime(us * 1000ull), HRTIMER_MODE_REL_PINNED_HARD);
}

static int __init pulse_init(void)
{
    int err = register_nmi_handler(NMI_LOCAL, take, 0, "rig_pulse");

    if (!err && us)
        on_each_cpu(start, NULL, 1);
    return err;
}

static void __exit pulse_exit(void)
{
    unsigned int cpu;

    for_each_online_cpu(cpu) hrtimer_cancel(per_cpu_ptr(&timers, cpu));
    unregister_nmi_handler(NMI_LOCAL, "rig_pulse");
}

module_init(pulse_init);
module_exit(pulse_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("NMIs at intervals, for guests with interrupts off in Bochs");
