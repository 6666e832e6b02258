// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Processors: VMX on while a VM exists and off otherwise, through hotplug, sleep and reboot; which
 * VMCS is loaded where. VMX that somebody else has switched on is never touched.
 */
#include "host.h"

#include <linux/bitmap.h>
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <linux/syscore_ops.h>
#include <asm/fpu/xcr.h>
#include <asm/processor.h>
#include <asm/tlbflush.h>

struct vtx_cpu {
    void *vmxon;
    bool on;
    struct host_vcpu *current_vcpu;
    u64 last_vm; /* its id */
    struct list_head loaded;
};

static DEFINE_PER_CPU(struct vtx_cpu, cpus);
static DEFINE_MUTEX(users_lock);
static unsigned int users;
static bool going_down; /* reboot: no entries any more */
static u32 refusal;     /* why the last attempt to switch VMX on failed */
static enum cpuhp_state hotplug_state;

struct vtx_caps vtx_caps;
u64 vtx_host_xcr0;

/* --- VMX instructions; 0, or 1 when they fail or fault --- */

static int vmx_on(u64 phys)
{
    u8 failed = 1;

    asm volatile("1: vmxon %1\n setna %0\n2:\n" _ASM_EXTABLE(1b, 2b)
                 : "+qm"(failed)
                 : "m"(phys)
                 : "cc", "memory");
    return failed;
}

static void vmx_off(void)
{
    asm volatile("1: vmxoff\n2:\n" _ASM_EXTABLE(1b, 2b) : : : "cc", "memory");
}

static int vmx_clear(u64 phys)
{
    u8 failed = 1;

    asm volatile("1: vmclear %1\n setna %0\n2:\n" _ASM_EXTABLE(1b, 2b)
                 : "+qm"(failed)
                 : "m"(phys)
                 : "cc", "memory");
    return failed;
}

static int vmx_load(u64 phys)
{
    u8 failed = 1;

    asm volatile("1: vmptrld %1\n setna %0\n2:\n" _ASM_EXTABLE(1b, 2b)
                 : "+qm"(failed)
                 : "m"(phys)
                 : "cc", "memory");
    return failed;
}

/* --- one processor; interrupts off --- */

static bool allow_vmx(void)
{
    u64 control = plat_rdmsr(IA32_FEATURE_CONTROL);

    /* Firmware left the choice to us (SDM Vol.3C 23.7). */
    if (!(control & 1))
        wrmsrl_safe(IA32_FEATURE_CONTROL, control | 5);
    return (plat_rdmsr(IA32_FEATURE_CONTROL) & 5) == 5;
}

static u32 switch_on(void)
{
    struct vtx_cpu *c = this_cpu_ptr(&cpus);

    if (c->on)
        return VMLIB_VTX_OK;
    if (cr4_read_shadow() & X86_CR4_VMXE)
        return VMLIB_VTX_OWNED;
    if (!allow_vmx())
        return VMLIB_VTX_FIRMWARE_OFF;
    intel_pt_handle_vmx(1); /* some processors do not trace while VMX is on */
    cr4_set_bits_irqsoff(X86_CR4_VMXE);
    *(u32 *)c->vmxon = (u32)vtx_caps.basic & 0x7fffffff;
    if (vmx_on(plat_phys(c->vmxon))) {
        cr4_clear_bits_irqsoff(X86_CR4_VMXE);
        intel_pt_handle_vmx(0);
        return VMLIB_VTX_VMXON_FAILED;
    }
    c->on = true;
    c->current_vcpu = NULL;
    c->last_vm = 0;
    return VMLIB_VTX_OK;
}

static void clear_here(struct host_vcpu *v)
{
    struct vtx_cpu *c = this_cpu_ptr(&cpus);

    if (READ_ONCE(v->cpu) != smp_processor_id())
        return;
    vmx_clear(plat_phys(v->vmcs));
    list_del(&v->of_cpu);
    v->launched = 0;
    if (c->current_vcpu == v)
        c->current_vcpu = NULL;
    smp_store_release(&v->cpu, -1);
}

static void switch_off(void)
{
    struct vtx_cpu *c = this_cpu_ptr(&cpus);
    struct host_vcpu *v, *next;

    if (!c->on)
        return;
    list_for_each_entry_safe(v, next, &c->loaded, of_cpu) clear_here(v);
    vmx_off();
    cr4_clear_bits_irqsoff(X86_CR4_VMXE);
    intel_pt_handle_vmx(0);
    c->on = false;
}

static void on_ipi(void *worst)
{
    u32 why = switch_on();

    if (why)
        atomic_set((atomic_t *)worst, (int)why);
}

static void off_ipi(void *unused)
{
    switch_off();
}

static void clear_ipi(void *v)
{
    clear_here(v);
}

/* --- all processors --- */

static int alloc_pages_per_cpu(void)
{
    unsigned int cpu;

    for_each_possible_cpu(cpu)
    {
        struct vtx_cpu *c = per_cpu_ptr(&cpus, cpu);

        INIT_LIST_HEAD(&c->loaded);
        c->vmxon = (void *)get_zeroed_page(GFP_KERNEL);
        if (!c->vmxon)
            return -ENOMEM;
    }
    return 0;
}

static void free_pages_per_cpu(void)
{
    unsigned int cpu;

    for_each_possible_cpu(cpu) free_page((unsigned long)per_cpu_ptr(&cpus, cpu)->vmxon);
}

/* Lock order: CPU hotplug, then users_lock; the hotplug callbacks come in that order. */
int vtx_cpu_get(void)
{
    atomic_t why = ATOMIC_INIT(0);
    int err = 0;

    if (vtx_caps.unavailable)
        return -ENODEV;
    cpus_read_lock();
    mutex_lock(&users_lock);
    if (going_down) {
        err = -ENODEV;
    } else if (!users) {
        on_each_cpu(on_ipi, &why, 1);
        refusal = (u32)atomic_read(&why);
        if (refusal) {
            on_each_cpu(off_ipi, NULL, 1);
            err = refusal == VMLIB_VTX_OWNED ? -EBUSY : -ENODEV;
        }
    }
    if (!err)
        users++;
    mutex_unlock(&users_lock);
    cpus_read_unlock();
    return err;
}

void vtx_cpu_put(void)
{
    cpus_read_lock();
    mutex_lock(&users_lock);
    if (!--users)
        on_each_cpu(off_ipi, NULL, 1);
    mutex_unlock(&users_lock);
    cpus_read_unlock();
}

/* A moment's truth: somebody else may switch VMX on or off at any time. */
u32 vtx_cpu_unavailable(void)
{
    u32 why = vtx_caps.unavailable;

    if (why)
        return why;
    if (READ_ONCE(going_down))
        return VMLIB_VTX_SHUTTING_DOWN;
    mutex_lock(&users_lock);
    preempt_disable();
    if (!users && cr4_read_shadow() & X86_CR4_VMXE)
        why = VMLIB_VTX_OWNED;
    else if (!users && refusal != VMLIB_VTX_OWNED)
        why = refusal;
    preempt_enable();
    mutex_unlock(&users_lock);
    return why;
}

u32 vtx_cpu_count(void)
{
    unsigned int cpu;
    u32 n = 0;

    for_each_online_cpu(cpu) n += READ_ONCE(per_cpu_ptr(&cpus, cpu)->on);
    return n;
}

static int comes_online(unsigned int cpu)
{
    u32 why = 0;

    mutex_lock(&users_lock);
    local_irq_disable();
    if (users && !going_down)
        why = switch_on();
    local_irq_enable();
    mutex_unlock(&users_lock);
    /* A processor without VMX would make entries on it fail: keep it offline. */
    return why ? -EIO : 0;
}

static int goes_offline(unsigned int cpu)
{
    mutex_lock(&users_lock);
    local_irq_disable();
    switch_off();
    local_irq_enable();
    mutex_unlock(&users_lock);
    return 0;
}

/* Sleep: the other processors are offline already, interrupts are off. */
static int vtx_suspend(COMPAT_SYSCORE_ARG)
{
    switch_off();
    return 0;
}

static void vtx_resume(COMPAT_SYSCORE_ARG)
{
    if (users && switch_on())
        pr_err("vmlib_vtx: VMX could not be switched on after sleep\n");
}

COMPAT_SYSCORE(syscore, vtx_suspend, vtx_resume);

/* INIT is blocked while VMX is on (SDM Vol.3C 25.2): a reboot would hang. */
static int vtx_reboot(struct notifier_block *nb, unsigned long action, void *data)
{
    mutex_lock(&users_lock);
    WRITE_ONCE(going_down, true);
    on_each_cpu(off_ipi, NULL, 1);
    mutex_unlock(&users_lock);
    return NOTIFY_OK;
}

static struct notifier_block reboot_notifier = {.notifier_call = vtx_reboot};

int vtx_cpu_init(void)
{
    struct vtx_cpu_facts facts = {
        .phys_bits = boot_cpu_data.x86_phys_bits,
        .vmx = cpuid_ecx(1) >> 5 & 1,
        .fxsr = boot_cpu_has(X86_FEATURE_FXSR),
        .xsave = boot_cpu_has(X86_FEATURE_OSXSAVE),
        .nx = boot_cpu_has(X86_FEATURE_NX),
        .fred = compat_fred(),
    };
    int err;

    if (facts.xsave)
        facts.xcr0 = vtx_host_xcr0 = xgetbv(0);
    vtx_caps_read(&vtx_caps, &facts);
    err = alloc_pages_per_cpu();
    if (err)
        goto fail;
    err = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "vmlib/vtx:online", comes_online, goes_offline);
    if (err < 0)
        goto fail;
    hotplug_state = err;
    compat_register_syscore(&syscore);
    register_reboot_notifier(&reboot_notifier);
    return 0;
fail:
    free_pages_per_cpu();
    return err;
}

void vtx_cpu_exit(void)
{
    unregister_reboot_notifier(&reboot_notifier);
    compat_unregister_syscore(&syscore);
    cpuhp_remove_state(hotplug_state);
    free_pages_per_cpu();
}

/* --- VMCS --- */

/* Preemption off, interrupts on: waits for another processor. */
void vtx_cpu_clear(struct host_vcpu *v)
{
    int cpu = smp_load_acquire(&v->cpu);

    /* When that processor has gone offline meanwhile, its callback has cleared the VMCS. */
    if (cpu >= 0)
        smp_call_function_single(cpu, clear_ipi, v, 1);
}

int vtx_cpu_load(struct host_vcpu *v)
{
    struct vtx_cpu *c = this_cpu_ptr(&cpus);
    unsigned long flags;
    int err = 0;

    if (likely(c->current_vcpu == v))
        return 0;
    if (READ_ONCE(v->cpu) >= 0 && READ_ONCE(v->cpu) != smp_processor_id())
        vtx_cpu_clear(v);
    local_irq_save(flags);
    if (!c->on || READ_ONCE(going_down)) {
        err = -EIO;
    } else if (vmx_load(plat_phys(v->vmcs))) {
        err = -EIO;
    } else {
        if (v->cpu < 0) {
            list_add(&v->of_cpu, &c->loaded);
            v->cpu = smp_processor_id();
            v->fresh = true;
            atomic64_inc(&vtx_counters.migrations);
        }
        c->current_vcpu = v;
        if (c->last_vm != v->vm->id)
            compat_guest_switch();
        c->last_vm = v->vm->id;
    }
    local_irq_restore(flags);
    return err;
}

/* A VMCS that has been nowhere: revision, cleared. */
int vtx_vmcs_prepare(struct host_vcpu *v)
{
    int err;

    *(u32 *)v->vmcs = (u32)vtx_caps.basic & 0x7fffffff;
    v->cpu = -1;
    preempt_disable();
    err = vmx_clear(plat_phys(v->vmcs)) ? -EIO : vtx_cpu_load(v);
    if (!err)
        vtx_vcpu_reset(&v->core);
    preempt_enable();
    return err;
}

/* --- VPIDs: 0 is the host's --- */

#define VPIDS 4096

static DECLARE_BITMAP(vpids, VPIDS);
static DEFINE_MUTEX(vpid_lock);

u32 vtx_vpid_get(void)
{
    u32 vpid;

    if (!(vtx_caps.features & VMLIB_VTX_F_VPID))
        return 0;
    mutex_lock(&vpid_lock);
    vpid = (u32)find_next_zero_bit(vpids, VPIDS, 1);
    if (vpid < VPIDS)
        __set_bit(vpid, vpids);
    else
        vpid = 0;
    mutex_unlock(&vpid_lock);
    return vpid;
}

void vtx_vpid_put(u32 vpid)
{
    if (!vpid)
        return;
    mutex_lock(&vpid_lock);
    __clear_bit(vpid, vpids);
    mutex_unlock(&vpid_lock);
}
