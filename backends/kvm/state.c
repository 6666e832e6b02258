/* Register groups from and to the API's form. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/convert.h"
#include "kvm/kvm.h"
#include "state/state.h"
#include "x86/defs.h"

/* --- what the cache does not hold: one call each --- */

static int get_xcr0(struct kvm_cpu *v, uint64_t *xcr0)
{
    struct kvm_xcrs x = {.nr_xcrs = 0};
    *xcr0 = X86_XCR0_X87;
    if (!v->vm->caps.xcrs)
        return 0;
    if (kvm_ioctl(v->fd, KVM_GET_XCRS, &x) < 0)
        return kvm_failed("KVM_GET_XCRS");
    for (uint32_t i = 0; i < x.nr_xcrs && i < KVM_MAX_XCRS; i++)
        if (x.xcrs[i].xcr == 0)
            *xcr0 = x.xcrs[i].value;
    return 0;
}

/* What is in force already need not be set: without XSAVE in the CPU model, KVM refuses even that.
 */
static int set_xcr0(struct kvm_cpu *v, uint64_t xcr0)
{
    uint64_t old;
    int r = get_xcr0(v, &old);
    if (r || old == xcr0)
        return r;
    if (xcr0 & ~v->xcr0_mask)
        return vmi_error(VMLIB_E_INVAL, "state->control.xcr0: this CPU model has no %#llx",
                         (unsigned long long)(xcr0 & ~v->xcr0_mask));
    struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = xcr0}}};
    if (kvm_ioctl(v->fd, KVM_SET_XCRS, &x) == 0)
        return 0;
    if (errno != EINVAL)
        return kvm_failed("KVM_SET_XCRS");
    return vmi_error(VMLIB_E_INVAL, "state->control.xcr0: this CPU model cannot hold %#llx",
                     (unsigned long long)xcr0);
}

/* The loaded PDPTEs, where the kernel tells them apart from what memory holds (KVM API 4.135,
 * KVM_GET_SREGS2). */
static void get_pdptes(struct kvm_cpu *v, uint64_t pdpte[4])
{
    struct kvm_sregs2 s = {.flags = 0};
    memcpy(pdpte, v->pdpte, sizeof(v->pdpte));
    if (!kvm_sregs_pae(&v->sregs) || kvm_flush(v) || kvm_ioctl(v->fd, KVM_GET_SREGS2, &s) < 0 ||
        !(s.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID))
        return;
    memcpy(pdpte, s.pdptrs, sizeof(s.pdptrs));
}

static int set_pdptes(struct kvm_cpu *v, const uint64_t pdpte[4])
{
    struct kvm_sregs2 s = {.flags = 0};
    memcpy(v->pdpte, pdpte, sizeof(v->pdpte));
    if (!kvm_sregs_pae(&v->sregs))
        return 0;
    int r = kvm_flush(v);
    if (r || kvm_ioctl(v->fd, KVM_GET_SREGS2, &s) < 0)
        return r; /* an older kernel has loaded them from memory */
    memcpy(s.pdptrs, pdpte, sizeof(s.pdptrs));
    s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
    return kvm_ioctl(v->fd, KVM_SET_SREGS2, &s) < 0 ? kvm_failed("KVM_SET_SREGS2") : 0;
}

static int get_debug(struct kvm_cpu *v, struct vmlib_debug *o)
{
    struct kvm_debugregs d = {.flags = 0};
    if (kvm_ioctl(v->fd, KVM_GET_DEBUGREGS, &d) < 0)
        return kvm_failed("KVM_GET_DEBUGREGS");
    memcpy(o->dr, d.db, sizeof(o->dr));
    o->dr6 = d.dr6;
    o->dr7 = d.dr7;
    return 0;
}

static int set_debug(struct kvm_cpu *v, const struct vmlib_debug *o)
{
    struct kvm_debugregs d = {.dr6 = o->dr6, .dr7 = o->dr7};
    memcpy(d.db, o->dr, sizeof(d.db));
    return kvm_ioctl(v->fd, KVM_SET_DEBUGREGS, &d) < 0 ? kvm_failed("KVM_SET_DEBUGREGS") : 0;
}

static int read_xsave(struct kvm_cpu *v, struct kvm_xsave *x)
{
    return kvm_ioctl(v->fd, KVM_GET_XSAVE, x) < 0 ? kvm_failed("KVM_GET_XSAVE") : 0;
}

static int write_xsave(struct kvm_cpu *v, const struct kvm_xsave *x)
{
    return kvm_ioctl(v->fd, KVM_SET_XSAVE, x) < 0 ? kvm_failed("KVM_SET_XSAVE") : 0;
}

static int get_vectors(struct kvm_cpu *v, uint32_t groups, struct vmlib_state *o)
{
    struct kvm_xsave x;
    memset(&x, 0, sizeof(x));
    int r = read_xsave(v, &x);
    if (r)
        return r;
    if (groups & VMLIB_STATE_FPU)
        kvm_fpu_to_api(&x, &o->fpu);
    if (groups & VMLIB_STATE_XSAVE)
        kvm_xsave_to_api(&x, v->xcr0_mask, &o->xsave);
    return 0;
}

static int set_vectors(struct kvm_cpu *v, uint32_t groups, const struct vmlib_state *o)
{
    struct kvm_xsave x;
    memset(&x, 0, sizeof(x));
    int r = read_xsave(v, &x); /* components that the API does not show stay as they are */
    if (r)
        return r;
    if (groups & VMLIB_STATE_XSAVE)
        kvm_xsave_from_api(&o->xsave, v->xcr0_mask, &x);
    else
        kvm_fpu_from_api(&o->fpu, &x);
    return write_xsave(v, &x);
}

/* --- groups --- */

static uint32_t parts_of(uint32_t groups)
{
    return (groups & VMLIB_STATE_GPR ? KVM_PART_REGS : 0) |
           (groups & (VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL) ? KVM_PART_SREGS : 0) |
           (groups & VMLIB_STATE_EVENTS ? KVM_PART_EVENTS : 0);
}

/* What a walk through the guest's tables and a decoder need, from the cache and nothing else. */
int kvm_get_walk(struct kvm_cpu *v, struct vmlib_state *o)
{
    int r = kvm_look(v, KVM_PART_REGS | KVM_PART_SREGS);
    if (r)
        return r;
    kvm_gpr_to_api(&v->regs, &o->gpr);
    kvm_segments_to_api(&v->sregs, &o->segments);
    kvm_control_to_api(&v->sregs, &o->control);
    get_pdptes(v, o->control.pdpte);
    o->control.xcr0 = X86_XCR0_X87;
    return 0;
}

int kvm_get_state(struct vmi_vcpu *vcpu, uint32_t groups, struct vmlib_state *o)
{
    struct kvm_cpu *v = kvm_cpu_of(vcpu);
    int r = kvm_look(v, parts_of(groups));
    if (!r && groups & VMLIB_STATE_GPR)
        kvm_gpr_to_api(&v->regs, &o->gpr);
    if (!r && groups & VMLIB_STATE_SEGMENTS)
        kvm_segments_to_api(&v->sregs, &o->segments);
    if (!r && groups & VMLIB_STATE_CONTROL) {
        kvm_control_to_api(&v->sregs, &o->control);
        get_pdptes(v, o->control.pdpte);
        r = get_xcr0(v, &o->control.xcr0);
    }
    if (!r && groups & VMLIB_STATE_DEBUG)
        r = get_debug(v, &o->debug);
    if (!r && groups & VMLIB_STATE_MSRS)
        r = kvm_get_msrs(v, &o->msrs);
    if (!r && groups & (VMLIB_STATE_FPU | VMLIB_STATE_XSAVE))
        r = get_vectors(v, groups, o);
    if (!r && groups & VMLIB_STATE_EVENTS)
        kvm_events_get(v, &o->events);
    return r;
}

/* KVM checks special registers as a whole. They are written at once, so that a refusal comes
 * before anything else has changed. */
static int set_sregs(struct kvm_cpu *v, uint32_t groups, const struct vmlib_state *o)
{
    struct kvm_sregs old = v->sregs;
    if (groups & VMLIB_STATE_CONTROL)
        kvm_control_from_api(&o->control, &v->sregs);
    if (groups & VMLIB_STATE_SEGMENTS)
        kvm_segments_from_api(&o->segments, &v->sregs);
    int r = 0;
    if (memcmp(&old, &v->sregs, sizeof(old)) != 0) {
        v->dirty |= KVM_PART_SREGS;
        r = kvm_flush(v);
    }
    v->run->cr8 = v->sregs.cr8; /* in force with the next KVM_RUN (KVM API 5) */
    if (r && errno == EINVAL)
        r = vmi_error(VMLIB_E_INVAL, "state->%s: KVM refuses it with this CPU model",
                      groups & VMLIB_STATE_CONTROL ? "control" : "segments");
    if (!r && groups & VMLIB_STATE_CONTROL) {
        uint64_t xcr0;
        r = get_xcr0(v, &xcr0);
        if (!r)
            r = set_xcr0(v, o->control.xcr0);
        if (!r)
            r = set_pdptes(v, o->control.pdpte);
    }
    if (r) { /* as it was: KVM has accepted that before */
        v->sregs = old;
        v->dirty |= KVM_PART_SREGS;
    }
    return r;
}

int kvm_set_state(struct vmi_vcpu *vcpu, uint32_t groups, const struct vmlib_state *o)
{
    struct kvm_cpu *v = kvm_cpu_of(vcpu);
    int r = vmi_state_check((UINT64_C(1) << vcpu->vm->phys_bits) - 1, groups, o);
    if (!r)
        r = kvm_look(v, parts_of(groups));
    if (r)
        return r;
    if (groups & (VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL))
        r = set_sregs(v, groups, o);
    if (!r && groups & VMLIB_STATE_MSRS)
        r = kvm_set_msrs(v, &o->msrs);
    if (!r && groups & VMLIB_STATE_DEBUG)
        r = set_debug(v, &o->debug);
    if (!r && groups & (VMLIB_STATE_FPU | VMLIB_STATE_XSAVE))
        r = set_vectors(v, groups, o);
    if (!r && groups & VMLIB_STATE_EVENTS)
        r = kvm_events_set(v, &o->events);
    if (!r && groups & VMLIB_STATE_GPR) {
        kvm_gpr_from_api(&o->gpr, &v->regs);
        v->dirty |= KVM_PART_REGS;
        v->run->ready_for_interrupt_injection = 0; /* RFLAGS.IF */
    }
    return r;
}

/* --- single registers --- */

/* Where KVM has the general registers, in the hardware's order. */
static uint64_t *gpr(struct kvm_regs *r, uint32_t reg)
{
    static const uint8_t at[16] = {
#define AT(name) (uint8_t)(offsetof(struct kvm_regs, name) / 8)
        AT(rax), AT(rcx), AT(rdx), AT(rbx), AT(rsp), AT(rbp), AT(rsi), AT(rdi),
        AT(r8),  AT(r9),  AT(r10), AT(r11), AT(r12), AT(r13), AT(r14), AT(r15),
#undef AT
    };
    return (uint64_t *)(void *)r + at[reg];
}

int kvm_get_reg(struct vmi_vcpu *vcpu, uint32_t reg, uint64_t *value)
{
    struct kvm_cpu *v = kvm_cpu_of(vcpu);
    if (reg > VMLIB_REG_RFLAGS)
        return VMLIB_E_UNSUPPORTED; /* through its group */
    int r = kvm_look(v, KVM_PART_REGS);
    if (!r)
        *value = reg == VMLIB_REG_RIP      ? v->regs.rip
                 : reg == VMLIB_REG_RFLAGS ? v->regs.rflags
                                           : *gpr(&v->regs, reg);
    return r;
}

int kvm_set_reg(struct vmi_vcpu *vcpu, uint32_t reg, uint64_t value)
{
    struct kvm_cpu *v = kvm_cpu_of(vcpu);
    if (reg > VMLIB_REG_RIP)
        return VMLIB_E_UNSUPPORTED;
    int r = kvm_look(v, KVM_PART_REGS);
    if (r)
        return r;
    if (reg == VMLIB_REG_RIP)
        v->regs.rip = value;
    else
        *gpr(&v->regs, reg) = value;
    v->dirty |= KVM_PART_REGS;
    return 0;
}

/* In long mode and protected mode the CPL is the DPL of SS (SDM Vol.3C 25.4.1); real mode has none,
 * and virtual-8086 mode is CPL 3 whatever SS says. */
unsigned kvm_cpl(struct vmi_vcpu *vcpu)
{
    struct kvm_cpu *v = kvm_cpu_of(vcpu);
    if (kvm_look(v, KVM_PART_SREGS | KVM_PART_REGS) || !(v->sregs.cr0 & X86_CR0_PE))
        return 0;
    return v->regs.rflags & X86_FL_VM ? 3 : v->sregs.ss.dpl;
}
