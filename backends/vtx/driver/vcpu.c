// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The life of a VMCS: constant fields, what to read and do after an exit, events that an exit
 * interrupted, MSR bitmap.
 */
#include "core.h"

/* --- constant fields --- */

static void set_msr(u64 *bitmap, u32 index, u32 access);

/* Everything else is zero or written by the host side and the groups. */
static void write_constants(struct vtx_vcpu *v)
{
    vmx_write(VMCS_LINK, ~0ull);
    vmx_write(VMCS_GUEST_ACTIVITY, 0);
    vmx_write(VMCS_CR3_TARGETS, 0);
    vmx_write(VMCS_EXIT, v->caps->exit_controls);
    vmx_write(VMCS_ENTRY, v->caps->entry_controls);
    vmx_write(VMCS_EXIT_STORES, 0);
    vmx_write(VMCS_EXIT_LOADS, 0);
    vmx_write(VMCS_ENTRY_LOADS, 0);
    vmx_write(VMCS_ENTRY_EVENT, 0);
    vmx_write(VMCS_MSR_BITMAP, plat_phys(v->msr_bitmap));
    vmx_write(VMCS_EPTP, vtx_ept_pointer(&v->vm->ept));
    if (v->caps->features & VMLIB_VTX_F_TPR_SHADOW)
        vmx_write(VMCS_APIC_PAGE, plat_phys(v->apic_page));
    if (v->vpid)
        vmx_write(VMCS_VPID, v->vpid);
}

void vtx_vcpu_reset(struct vtx_vcpu *v)
{
    u32 i;

    for (i = 0; i < 512; i++)
        v->msr_bitmap[i] = ~0ull;
    write_constants(v);
    /* Fields that no group may leave undefined before the first entry. Zero is refused by the
     * processor where it is wrong, never harmful. */
    WRITE_ONCE(v->run->dirty, VMLIB_VTX_G_ALL & ~VMLIB_VTX_G_INJECT);
    (void)vtx_vcpu_load(v);
}

/* --- after an exit --- */

#define Q         1u   /* exit qualification */
#define L         2u   /* instruction length */
#define I         4u   /* instruction information */
#define E         8u   /* interruption information */
#define G         16u  /* guest-physical address */
#define A         32u  /* guest-linear address */
#define X         128u /* an instruction was to be executed: no event was being delivered */
#define ELSEWHERE (Q | L)

/* Which fields a reason defines (SDM Vol.3C 27.2). */
static const u8 reads[REASONS] = {
    [0] = Q | L | E,
    [3] = Q,
    [7] = 64,
    [8] = 64,
    [9] = Q | L | E,
    [10] = L | X,
    [12] = L | X,
    [13] = L | X,
    [14] = Q | L | X,
    [15] = L | X,
    [16] = L | X,
    [18] = L | X,
    [28] = Q | L | X,
    [29] = Q | L | X,
    [30] = Q | L | X,
    [31] = L | X,
    [32] = L | X,
    [43] = 64,
    [46] = Q | L | I | X,
    [47] = Q | L | I | X,
    [48] = Q | L | G | A,
    [49] = Q | G,
    [51] = L | X,
    [52] = 64,
    [54] = L | X,
    [55] = L | X,
    [57] = L | I | X,
    [58] = Q | L | I | X,
    [61] = L | I | X,
};

static u32 fields_of(u32 reason)
{
    return reason < REASONS && reads[reason] ? reads[reason] : ELSEWHERE;
}

/* INS and OUTS (SDM Vol.3C table 27-5). */
static bool string_access(u32 reason, u64 qualification)
{
    return reason == REASON_IO && qualification & 0x10;
}

static void read_fields(struct vmlib_vtx_run *run, u32 reason)
{
    u32 what = fields_of(reason);
    u64 qualification;

    if (what & Q) {
        qualification = vmx_read(VMCS_QUALIFICATION);
        WRITE_ONCE(run->qualification, qualification);
        if (string_access(reason, qualification))
            what |= I | A;
    }
    if (what & L)
        WRITE_ONCE(run->instruction_length, (u32)vmx_read(VMCS_EXIT_LENGTH));
    if (what & I)
        WRITE_ONCE(run->instruction_info, (u32)vmx_read(VMCS_EXIT_INFO));
    if (what & G)
        WRITE_ONCE(run->gpa, vmx_read(VMCS_GPA));
    if (what & A)
        WRITE_ONCE(run->gla, vmx_read(VMCS_GLA));
}

/* An exit that the driver handled itself interrupted the delivery of an event: deliver it again
 * (SDM Vol.3C 27.2.4, 31.7.1.2). */
static void deliver_again(void)
{
    u32 event = (u32)vmx_read(VMCS_VECTORING_EVENT);

    if (!(event & EVENT_VALID))
        return;
    vmx_write(VMCS_ENTRY_EVENT, event & ~0x1000u);
    if (event & EVENT_HAS_ERROR)
        vmx_write(VMCS_ENTRY_ERROR, vmx_read(VMCS_VECTORING_ERROR));
    switch (event & EVENT_TYPE) {
    case EVENT_SOFT_INT:
    case EVENT_PRIV_SOFT:
    case EVENT_SOFT_EXC:
        vmx_write(VMCS_ENTRY_LENGTH, vmx_read(VMCS_EXIT_LENGTH));
        break;
    case EVENT_NMI:
        vmx_write(VMCS_GUEST_INTERRUPTIBILITY,
                  vmx_read(VMCS_GUEST_INTERRUPTIBILITY) & ~(u64)BLOCKING_BY_NMI);
        break;
    default:
        break;
    }
}

/* NMIs and machine checks are the host's; the first vector instruction makes the driver load the
 * guest's registers, unless the guest itself has CR0.TS set. */
static enum vtx_next sort_event(struct vtx_vcpu *v, u32 event)
{
    if ((event & EVENT_TYPE) == EVENT_NMI)
        return VTX_HOST_NMI;
    if ((event & EVENT_TYPE) != EVENT_HARD)
        return VTX_USER;
    if ((event & 0xff) == VECTOR_MC)
        return VTX_HOST_MC;
    if ((event & 0xff) == VECTOR_NM && !v->fpu_loaded &&
        !(vmx_read(VMCS_CR0_SHADOW) & GUEST_CR0_TS))
        return VTX_LOAD_FPU;
    return VTX_USER;
}

enum vtx_next vtx_vcpu_exit(struct vtx_vcpu *v)
{
    struct vmlib_vtx_run *run = v->run;
    u32 reason = (u32)vmx_read(VMCS_REASON), event, vectoring;
    enum vtx_next next = VTX_USER;

    if (reason == REASON_INTERRUPT) {
        deliver_again();
        return VTX_AGAIN;
    }
    if (reason & REASON_ENTRY_FAILED) {
        WRITE_ONCE(run->status, VMLIB_VTX_REFUSED);
        WRITE_ONCE(run->reason, reason);
        WRITE_ONCE(run->qualification, vmx_read(VMCS_QUALIFICATION));
        if ((reason & 0xffff) == REASON_MC_ENTRY)
            return VTX_HOST_MC;
        vtx_vcpu_withdraw(v);
        return VTX_USER;
    }
    if (reason == REASON_EVENT) {
        event = (u32)vmx_read(VMCS_EXIT_EVENT);
        next = sort_event(v, event);
        if (next != VTX_USER) {
            deliver_again();
            return next;
        }
        WRITE_ONCE(run->exit_event, event);
        if (event & EVENT_HAS_ERROR)
            WRITE_ONCE(run->exit_error, (u32)vmx_read(VMCS_EXIT_ERROR));
    }
    /* SDM Vol.3C 27.2.4 */
    vectoring = fields_of(reason & 0xffff) & X ? 0 : (u32)vmx_read(VMCS_VECTORING_EVENT);
    WRITE_ONCE(run->vectoring_event, vectoring);
    if (vectoring & EVENT_VALID) {
        WRITE_ONCE(run->vectoring_error, (u32)vmx_read(VMCS_VECTORING_ERROR));
        WRITE_ONCE(run->instruction_length, (u32)vmx_read(VMCS_EXIT_LENGTH));
    }
    WRITE_ONCE(run->status, VMLIB_VTX_EXITED);
    WRITE_ONCE(run->reason, reason);
    read_fields(run, reason & 0xffff);
    return next;
}

void vtx_vcpu_withdraw(struct vtx_vcpu *v)
{
    struct vmlib_vtx_run *run = v->run;
    u32 event = (u32)vmx_read(VMCS_ENTRY_EVENT);

    if (!(event & EVENT_VALID))
        return;
    WRITE_ONCE(run->inject.event, event);
    WRITE_ONCE(run->inject.error, (u32)vmx_read(VMCS_ENTRY_ERROR));
    WRITE_ONCE(run->inject.length, (u32)vmx_read(VMCS_ENTRY_LENGTH));
    vmx_write(VMCS_ENTRY_EVENT, 0);
}

/* --- MSR bitmap (SDM Vol.3C 24.6.9): four times 1 KiB: read low, read high, write low, high --- */

static const struct {
    u32 index, access;
} passable[] = {
    {0x010, VMLIB_VTX_READ}, /* TSC, with the offset */
    {0x174, VMLIB_VTX_READ | VMLIB_VTX_WRITE},
    {0x175, VMLIB_VTX_READ | VMLIB_VTX_WRITE},
    {0x176, VMLIB_VTX_READ | VMLIB_VTX_WRITE},
    {0x277, VMLIB_VTX_READ}, /* PAT: writes are checked in user space */
    {0xc0000100, VMLIB_VTX_READ | VMLIB_VTX_WRITE},
    {0xc0000101, VMLIB_VTX_READ | VMLIB_VTX_WRITE},
    {0xc0000102, VMLIB_VTX_READ | VMLIB_VTX_WRITE},
};

static void set_bit_to(u64 *bitmap, u32 bit, bool exits)
{
    if (exits)
        bitmap[bit >> 6] |= 1ull << (bit & 63);
    else
        bitmap[bit >> 6] &= ~(1ull << (bit & 63));
}

static void set_msr(u64 *bitmap, u32 index, u32 access)
{
    u32 bit = (index & 0x1fff) + (index >> 31 ? 8192 : 0);

    set_bit_to(bitmap, bit, !(access & VMLIB_VTX_READ));
    set_bit_to(bitmap, bit + 16384, !(access & VMLIB_VTX_WRITE));
}

int vtx_vcpu_pass_msr(struct vtx_vcpu *v, u32 index, u32 access)
{
    size_t i;

    for (i = 0; i < sizeof(passable) / sizeof(passable[0]); i++)
        if (passable[i].index == index) {
            if (access & ~passable[i].access)
                return -EINVAL;
            set_msr(v->msr_bitmap, index, access);
            if (index == 0xc0000102)
                v->kgs_passed = access != 0;
            return 0;
        }
    return -EINVAL;
}
