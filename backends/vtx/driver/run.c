// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * RUN: the host's state around the guest's, and the loop over exits that are the host's own affair.
 *
 * What a VM exit does to the host (SDM Vol.3C 27.5) and what puts it right:
 *   limits of GDT and IDT become ffff    reloaded at once
 *   limit of TR becomes 67               Linux reloads it for the next user of the I/O bitmap
 *   LDTR, DS, ES, FS, GS become null     reloaded when they were not
 *   DR7, DEBUGCTL are reset              rewritten when they were in use
 * The rest (syscall MSRs, KERNEL_GS_BASE, TSC_AUX, XCR0, CR2, debug addresses, vector registers) is
 * the guest's until we write it back.
 */
#include "host.h"

#include <linux/preempt.h>
#include <linux/sched.h>
#include <asm/cpu_entry_area.h>
#include <asm/debugreg.h>
#include <asm/fpu/api.h>
#include <asm/fpu/xcr.h>
#include <asm/fsgsbase.h>
#include <asm/tlbflush.h>

#define EAGER_FPU 16

/* --- host state in the VMCS --- */

static void invept(struct host_vcpu *v)
{
    struct {
        u64 eptp, reserved;
    } what = {vtx_ept_pointer(&v->vm->core.ept), 0};
    u64 type = vtx_caps.ept_vpid & EPTCAP_INVEPT_SINGLE ? 1 : 2;

    asm volatile("1: invept %0, %1\n2:\n" _ASM_EXTABLE(1b, 2b)
                 :
                 : "m"(what), "r"(type)
                 : "cc", "memory");
}

static void invvpid(struct host_vcpu *v)
{
    struct {
        u64 vpid, address;
    } what = {v->core.vpid, 0};

    if (v->core.vpid)
        asm volatile("1: invvpid %0, %1\n2:\n" _ASM_EXTABLE(1b, 2b)
                     :
                     : "m"(what), "r"(1ul)
                     : "cc", "memory");
}

/* Values that belong to the processor; written when the VMCS has come here. */
static void write_cpu_state(struct host_vcpu *v)
{
    u64 value;

    vmx_write(VMCS_HOST_CR0, read_cr0());
    vmx_write(VMCS_HOST_CS, __KERNEL_CS);
    vmx_write(VMCS_HOST_SS, __KERNEL_DS);
    vmx_write(VMCS_HOST_DS, 0);
    vmx_write(VMCS_HOST_ES, 0);
    vmx_write(VMCS_HOST_FS, 0);
    vmx_write(VMCS_HOST_GS, 0);
    vmx_write(VMCS_HOST_TR, GDT_ENTRY_TSS * 8);
    vmx_write(VMCS_HOST_TR_BASE,
              (unsigned long)&get_cpu_entry_area(smp_processor_id())->tss.x86_tss);
    vmx_write(VMCS_HOST_GDTR_BASE, (unsigned long)get_cpu_gdt_ro(smp_processor_id()));
    store_idt(&v->idt);
    native_store_gdt(&v->gdt);
    vmx_write(VMCS_HOST_IDTR_BASE, v->idt.address);
    rdmsrl(MSR_IA32_SYSENTER_CS, value);
    vmx_write(VMCS_HOST_SYSENTER_CS, value);
    rdmsrl(MSR_IA32_SYSENTER_ESP, value);
    vmx_write(VMCS_HOST_SYSENTER_ESP, value);
    rdmsrl(MSR_IA32_SYSENTER_EIP, value);
    vmx_write(VMCS_HOST_SYSENTER_EIP, value);
    rdmsrl(MSR_IA32_CR_PAT, value);
    vmx_write(VMCS_HOST_PAT, value);
    rdmsrl(MSR_EFER, value);
    vmx_write(VMCS_HOST_EFER, value);
    rdmsrl(MSR_GS_BASE, v->gs_base);
    vmx_write(VMCS_HOST_GS_BASE, v->gs_base);
    vmx_write(VMCS_HOST_RIP, (unsigned long)vtx_exit_point);
    v->host_rsp = v->cr3 = v->cr4 = v->fs_base = ~0ull;
    rdmsrl(MSR_STAR, v->star);
    rdmsrl(MSR_LSTAR, v->lstar);
    rdmsrl(MSR_CSTAR, v->cstar);
    rdmsrl(MSR_SYSCALL_MASK, v->fmask);
}

static void update(u32 field, u64 *cached, u64 value)
{
    if (likely(*cached == value))
        return;
    *cached = value;
    vmx_write(field, value);
}

/* Each entry loads the preemption timer anew, also those after exits that user space does not see;
 * the host's own interrupts must not put its deadline off. */
static void update_timer(struct host_vcpu *v)
{
    u64 now = rdtsc(), left = 0;

    if (v->core.timer_new) {
        v->timer_end = now + ((u64)v->core.timer << vtx_caps.timer_shift);
        v->core.timer_new = false;
        return;
    }
    if (now < v->timer_end)
        left = (v->timer_end - now) >> vtx_caps.timer_shift;
    vmx_write(VMCS_GUEST_TIMER, min_t(u64, left, v->core.timer));
}

/* Interrupts off, the last thing before the entry. */
static void update_host_state(struct host_vcpu *v)
{
    u64 gen = READ_ONCE(v->vm->core.flush_gen);

    if (unlikely(v->fresh)) {
        write_cpu_state(v);
        v->fresh = false;
        v->flush_gen = gen - 1;
        v->core.flush_vpid = true;
    }
    update(VMCS_HOST_CR3, &v->cr3, __read_cr3());
    update(VMCS_HOST_CR4, &v->cr4, cr4_read_shadow());
    update(VMCS_HOST_FS_BASE, &v->fs_base, x86_fsbase_read_cpu());
    if (unlikely(v->flush_gen != gen)) {
        invept(v);
        v->flush_gen = gen;
    }
    if (unlikely(v->core.flush_vpid)) {
        invvpid(v);
        v->core.flush_vpid = false;
    }
    if (v->core.timer)
        update_timer(v);
}

/* --- registers that no VMCS field switches --- */

static void save_selectors(struct host_vcpu *v)
{
    savesegment(ds, v->ds);
    savesegment(es, v->es);
    savesegment(fs, v->fs);
    savesegment(gs, v->gs);
    asm volatile("sldt %0" : "=m"(v->ldt));
}

/* Null in a 64-bit process without old-style thread storage. */
static void restore_selectors(struct host_vcpu *v)
{
    if (likely(!(v->ds | v->es | v->fs | v->gs | v->ldt)))
        return;
    if (v->ldt)
        asm volatile("lldt %0" : : "m"(v->ldt));
    loadsegment(ds, v->ds);
    loadsegment(es, v->es);
    if (v->fs) {
        loadsegment(fs, v->fs);
        wrmsrl(MSR_FS_BASE, v->fs_base);
    }
    if (v->gs) {
        u64 base;

        rdmsrl(MSR_KERNEL_GS_BASE, base);
        load_gs_index(v->gs);
        wrmsrl(MSR_KERNEL_GS_BASE, base);
    }
}

static bool switches_kernel_gs(const struct host_vcpu *v)
{
    return v->core.efer & GUEST_EFER_LME || v->core.kgs_passed;
}

/* Syscall MSRs count only where the guest can execute SYSCALL, and so on: EFER, CR4.OSXSAVE and
 * the secondary controls cannot change without an exit. */
static void load_guest_msrs(struct host_vcpu *v)
{
    struct vtx_vcpu *g = &v->core;

    if (g->efer & GUEST_EFER_SCE) {
        wrmsrl(MSR_STAR, g->star);
        wrmsrl(MSR_LSTAR, g->lstar);
        wrmsrl(MSR_CSTAR, g->cstar);
        wrmsrl(MSR_SYSCALL_MASK, g->fmask);
    }
    if (switches_kernel_gs(v)) {
        rdmsrl(MSR_KERNEL_GS_BASE, v->kernel_gs_base);
        wrmsrl(MSR_KERNEL_GS_BASE, g->kernel_gs_base);
    }
    if (g->proc2 & PROC2_RDTSCP) {
        rdmsrl(MSR_TSC_AUX, v->tsc_aux);
        wrmsrl(MSR_TSC_AUX, g->tsc_aux);
    }
    if (g->osxsave && g->xcr0 != vtx_host_xcr0)
        xsetbv(0, g->xcr0);
    if (g->dr7 & DR_GLOBAL_ENABLE_MASK || g->dr7 & DR_LOCAL_ENABLE_MASK) {
        if (hw_breakpoint_active())
            set_debugreg(0UL, 7); /* the host's do not match the guest's addresses */
        set_debugreg(g->dr[0], 0);
        set_debugreg(g->dr[1], 1);
        set_debugreg(g->dr[2], 2);
        set_debugreg(g->dr[3], 3);
    }
}

static void load_host_msrs(struct host_vcpu *v)
{
    struct vtx_vcpu *g = &v->core;

    if (g->efer & GUEST_EFER_SCE) {
        wrmsrl(MSR_STAR, v->star);
        wrmsrl(MSR_LSTAR, v->lstar);
        wrmsrl(MSR_CSTAR, v->cstar);
        wrmsrl(MSR_SYSCALL_MASK, v->fmask);
    }
    if (switches_kernel_gs(v)) {
        rdmsrl(MSR_KERNEL_GS_BASE, g->kernel_gs_base); /* SWAPGS changes it */
        wrmsrl(MSR_KERNEL_GS_BASE, v->kernel_gs_base);
    }
    if (g->proc2 & PROC2_RDTSCP)
        wrmsrl(MSR_TSC_AUX, v->tsc_aux);
    if (g->osxsave && g->xcr0 != vtx_host_xcr0)
        xsetbv(0, vtx_host_xcr0);
    if (hw_breakpoint_active())
        hw_breakpoint_restore();
}

/* --- vector registers --- */

/* The page is user space's: a format that the processor refuses is no reason to crash. */
static int restore_page(const void *page, u64 mask)
{
    int bad = 1;

    if (mask)
        asm volatile("1: xrstor64 (%2)\n xor %0, %0\n2:\n" _ASM_EXTABLE(1b, 2b)
                     : "+r"(bad)
                     : "a"((u32)mask), "r"(page), "d"((u32)(mask >> 32))
                     : "cc", "memory");
    else
        asm volatile("1: fxrstor64 (%1)\n xor %0, %0\n2:\n" _ASM_EXTABLE(1b, 2b)
                     : "+r"(bad)
                     : "r"(page)
                     : "cc", "memory");
    return bad;
}

static int load_fpu(struct host_vcpu *v)
{
    kernel_fpu_begin();
    if (restore_page(page_address(v->pages[VMLIB_VTX_PAGE_FPU]), vtx_caps.xcr0)) {
        kernel_fpu_end();
        return -EINVAL;
    }
    vtx_vcpu_fpu(&v->core, true);
    return 0;
}

static void store_fpu(struct host_vcpu *v)
{
    void *page = page_address(v->pages[VMLIB_VTX_PAGE_FPU]);

    if (!v->core.fpu_loaded)
        return;
    if (vtx_caps.xcr0)
        asm volatile("xsave64 (%1)"
                     :
                     : "a"((u32)vtx_caps.xcr0), "r"(page), "d"((u32)(vtx_caps.xcr0 >> 32))
                     : "memory");
    else
        asm volatile("fxsave64 (%0)" : : "r"(page) : "memory");
    kernel_fpu_end();
    vtx_vcpu_fpu(&v->core, false);
}

/* --- one entry --- */

static noinline int enter(struct host_vcpu *v)
{
    struct vmlib_vtx_run *run = v->core.run;
    u64 debugctl = native_read_msr(MSR_IA32_DEBUGCTLMSR), cr2 = READ_ONCE(run->cr2);
    struct perf_guest_switch_msr *counters;
    int failed, n;

    save_selectors(v);
    counters = compat_perf_guest(&n);
    compat_clear_buffers();
    load_guest_msrs(v);
    if (cr2 != native_read_cr2())
        native_write_cr2(cr2);

    failed = vtx_enter(run->gpr, v->launched, &v->host_rsp);

    native_load_gdt(&v->gdt);
    native_load_idt(&v->idt);
    invalidate_tss_limit();
    WRITE_ONCE(run->cr2, native_read_cr2());
    load_host_msrs(v);
    restore_selectors(v);
    if (debugctl)
        update_debugctlmsr(debugctl);
    compat_perf_host(counters, n);
    compat_guest_ran();
    return failed;
}

/* Work that the kernel has for this thread: most of it is done on the way to user space. The last:
 * KVM's last guest has left its MSRs on this processor; ours must not take them for the host's. */
#define WORK                                                                         \
    (_TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL | _TIF_NOTIFY_RESUME | _TIF_NEED_RESCHED | \
     COMPAT_USER_RETURN)

static bool must_leave(struct host_vcpu *v)
{
    return READ_ONCE(v->core.run->request) || read_thread_flags() & WORK;
}

/* VMLAUNCH or VMRESUME refused. */
static enum vtx_next not_entered(struct host_vcpu *v, int failed)
{
    struct vmlib_vtx_run *run = v->core.run;

    WRITE_ONCE(run->status, VMLIB_VTX_VMFAIL);
    WRITE_ONCE(run->reason, 0);
    WRITE_ONCE(run->instruction_error, failed == 2 ? 0 : (u32)vmx_read(VMCS_INSTRUCTION_ERROR));
    vtx_vcpu_withdraw(&v->core);
    return VTX_USER;
}

/* Enter until something is not ours. Preemption off, the VMCS current. 1: somebody else wants the
 * processor, or RUN must return. */
static int enter_until_user(struct host_vcpu *v)
{
    enum vtx_next next = VTX_AGAIN;
    int failed;

    while (next != VTX_USER) {
        local_irq_disable();
        WRITE_ONCE(v->mode, IN_GUEST);
        smp_mb(); /* with vtx_kick() and plat_flush(): they see IN_GUEST, or we see their request */
        if (must_leave(v)) {
            WRITE_ONCE(v->mode, OUTSIDE);
            local_irq_enable();
            return 1;
        }
        update_host_state(v);
        failed = enter(v);
        smp_store_release(&v->mode, OUTSIDE);
        if (unlikely(failed)) {
            next = not_entered(v, failed);
        } else {
            /* An entry that fails on guest state leaves the VMCS clear (SDM Vol.3C 26.8). */
            if (!v->launched)
                v->launched = !(vmx_read(VMCS_REASON) & REASON_ENTRY_FAILED);
            next = vtx_vcpu_exit(&v->core);
            if (next == VTX_HOST_NMI)
                asm volatile("int $2"); /* its IRET ends the blocking of NMIs */
            else if (next == VTX_HOST_MC)
                asm volatile("int $18");
        }
        /* An interrupt that caused the exit is taken here: not in the shadow of STI. */
        local_irq_enable();
        asm volatile("nop");
        if (next == VTX_LOAD_FPU) {
            v->fpu_eager = EAGER_FPU;
            if (load_fpu(v)) {
                v->invalid = VMLIB_VTX_BAD_FPU;
                return 1;
            }
        }
    }
    return 0;
}

static void refuse(struct host_vcpu *v, u32 why)
{
    WRITE_ONCE(v->core.run->status, VMLIB_VTX_INVALID);
    WRITE_ONCE(v->core.run->invalid, why);
}

/* One stay on a processor. Negative: RUN fails; 0: RUN returns; 1: come again. */
static int visit(struct host_vcpu *v)
{
    struct vmlib_vtx_run *run = v->core.run;
    int left, err = vtx_cpu_load(v);

    if (err)
        return err;
    v->invalid = vtx_vcpu_load(&v->core);
    if (v->invalid) {
        refuse(v, v->invalid);
        return 0;
    }
    WRITE_ONCE(run->cpu, smp_processor_id());
    left = 1;
    if (!(READ_ONCE(run->flags) & VMLIB_VTX_SYNC)) {
        if (v->fpu_eager) {
            v->fpu_eager--;
            if (load_fpu(v))
                v->invalid = VMLIB_VTX_BAD_FPU;
        }
        if (!v->invalid)
            left = enter_until_user(v);
        if (v->core.fpu_loaded)
            WRITE_ONCE(run->fpu_loaded, 1);
        store_fpu(v);
    } else {
        WRITE_ONCE(run->status, VMLIB_VTX_KICKED);
        vtx_vcpu_fetch(&v->core, READ_ONCE(run->fetch));
        vtx_vcpu_withdraw(&v->core);
        return 0;
    }
    if (!left) {
        vtx_vcpu_fetch(&v->core, vtx_vcpu_wanted(&v->core));
        return 0;
    }
    if (!v->invalid && !READ_ONCE(run->request) &&
        !(read_thread_flags() & WORK & ~_TIF_NEED_RESCHED))
        return 1;
    vtx_vcpu_withdraw(&v->core);
    vtx_vcpu_fetch(&v->core, READ_ONCE(run->fetch));
    if (v->invalid)
        refuse(v, v->invalid);
    else
        WRITE_ONCE(run->status, VMLIB_VTX_KICKED);
    return READ_ONCE(run->request) || v->invalid ? 0 : -EINTR;
}

long vtx_run(struct host_vcpu *v)
{
    int more;

    do {
        preempt_disable();
        more = visit(v);
        preempt_enable();
        if (more > 0)
            cond_resched();
    } while (more > 0);
    return more;
}
