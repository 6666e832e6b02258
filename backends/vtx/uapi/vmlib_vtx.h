/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The interface between the vtx backend and its driver (device /dev/vmlib-vtx).
 *
 * Three kinds of file descriptors, few calls:
 *   device   VMLIB_VTX_INFO, VMLIB_VTX_CREATE_VM
 *   VM       VMLIB_VTX_MAP, _UNMAP, _PROTECT, _DIRTY, _CREATE_VCPU
 *   vCPU     VMLIB_VTX_RUN, _KICK, _PASS_MSR; mmap of three pages
 * and a page per vCPU (struct vmlib_vtx_run) in which registers and exit information live: a round
 * trip copies nothing. Each call is described in doc/vtx.md with arguments and errors.
 *
 * The driver trusts nothing in the shared pages: values that matter to the host are read once and
 * checked; values that matter to the guest only are left to the processor's own checks.
 */
#ifndef VMLIB_VTX_UAPI_H
#define VMLIB_VTX_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Raised when a driver and a library of different age must not work together. */
#define VMLIB_VTX_API 1u

#define VMLIB_VTX_DEVICE    "/dev/vmlib-vtx"
#define VMLIB_VTX_MAX_VCPUS 64u

/* vmlib_vtx_info.unavailable: why no VM can be created */
#define VMLIB_VTX_OK           0u
#define VMLIB_VTX_NO_VMX       1u /* the processor has no VT-x, or a hypervisor hides it */
#define VMLIB_VTX_FIRMWARE_OFF 2u /* VT-x is switched off and locked by the firmware */
#define VMLIB_VTX_OWNED        3u /* CR4.VMXE is set already: another hypervisor owns VT-x */
#define VMLIB_VTX_MISSING_CONTROL                                                                  \
    4u                                /* a required VM-execution control is missing: see `missing` \
                                       */
#define VMLIB_VTX_NO_EPT           5u /* no EPT, or not with 4 levels and write-back */
#define VMLIB_VTX_VMXON_FAILED     6u /* VMXON failed on a processor */
#define VMLIB_VTX_NO_CPU_STATE     7u /* FXSAVE is missing */
#define VMLIB_VTX_SHUTTING_DOWN    8u /* the machine reboots */
#define VMLIB_VTX_HOST_FRED        9u /* the host's kernel uses FRED, which the driver does not switch */
#define VMLIB_VTX_UNAVAILABLE_LAST 9u

/* vmlib_vtx_info.features */
#define VMLIB_VTX_F_UNRESTRICTED 0x0001u /* real mode and unpaged protected mode run natively */
#define VMLIB_VTX_F_EPT_XONLY    0x0002u
#define VMLIB_VTX_F_EPT_AD       0x0004u /* VMLIB_VTX_DIRTY works */
#define VMLIB_VTX_F_EPT_2M       0x0008u
#define VMLIB_VTX_F_VPID         0x0010u
#define VMLIB_VTX_F_TIMER        0x0020u /* preemption timer */
#define VMLIB_VTX_F_TPR_SHADOW   0x0040u
#define VMLIB_VTX_F_MTF          0x0080u /* monitor trap flag offered (some emulators lie) */
#define VMLIB_VTX_F_XSAVE        0x0100u /* the second page has XSAVE format, else FXSAVE */
#define VMLIB_VTX_F_VNMI         0x0200u /* NMI window, virtual NMIs */

/* The control words of VMCS execution controls, in this order. */
#define VMLIB_VTX_PIN      0u
#define VMLIB_VTX_PROC     1u
#define VMLIB_VTX_PROC2    2u
#define VMLIB_VTX_CONTROLS 3u

/* VMLIB_VTX_INFO. In: size. Out: the rest, as far as size reaches. */
struct vmlib_vtx_info {
    __u32 size;
    __u32 api;
    __u32 unavailable; /* VMLIB_VTX_ constant */
    __u32 missing;     /* MISSING_CONTROL: word << 8 | bit */
    __u64 features;
    __u32 may[VMLIB_VTX_CONTROLS];  /* bits that run.controls may have set */
    __u32 must[VMLIB_VTX_CONTROLS]; /* bits that are set whatever run.controls says */
    __u32 timer_shift;              /* the preemption timer counts down each 2^timer_shift cycles */
    __u32 tsc_khz;                  /* of the host; 0: not known */
    __u32 phys_bits;                /* width of guest-physical addresses */
    __u32 cpus;                     /* processors on which VMX is on */
    __u64 cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1; /* SDM Vol.3D A.7, A.8 */
    __u64 cr0_owned, cr4_owned; /* bits that the guest can never change without an exit */
    __u64 cr4_may, efer_may;    /* bits that run.control may have set */
    __u64 xcr0_may;
    /* What exists now, over all processes: 0 when nobody uses the driver. */
    __u64 vms, vcpus, pinned_pages, table_pages;
    __u64 migrations;              /* how often a VMCS has come to a processor */
    __u64 vmx_basic, ept_vpid_cap; /* the MSRs, for reports */
};

#define VMLIB_VTX_READ      1u
#define VMLIB_VTX_WRITE     2u
#define VMLIB_VTX_EXEC      4u
#define VMLIB_VTX_MAP_SMALL 1u /* vmlib_vtx_map.flags: 4 KiB entries only (dirty log) */

/* VMLIB_VTX_MAP: user memory becomes guest memory and is pinned until it is unmapped. */
struct vmlib_vtx_map {
    __u64 gpa, bytes, user; /* multiples of 4096 */
    __u32 prot, flags;
};

/* VMLIB_VTX_UNMAP (prot 0) and VMLIB_VTX_PROTECT. Parts of the range that are not mapped are
 * passed over. */
struct vmlib_vtx_range {
    __u64 gpa, bytes;
    __u32 prot, reserved;
};

/* VMLIB_VTX_DIRTY: or the pages written since the last rearm into a bitmap. */
#define VMLIB_VTX_REARM 1u
struct vmlib_vtx_dirty {
    __u64 gpa, bytes;
    __u64 bitmap; /* user address; (bytes / 4096 + 63) / 64 words */
    __u32 flags, reserved;
};

/* VMLIB_VTX_PASS_MSR: let the guest read or write this MSR without an exit. Only MSRs that are
 * switched with the guest: FS, GS and KERNEL_GS base, SYSENTER, PAT; TSC for reading. */
struct vmlib_vtx_msr {
    __u32 index;
    __u32 access; /* VMLIB_VTX_READ, _WRITE, 0: exits */
};

/* Register groups: bits of run.dirty (user space has changed them: write them before entry) and
 * run.fetch (read them after an exit). RIP, RSP, RFLAGS are always read; the
 * general registers and CR2 are always both.
 */
#define VMLIB_VTX_G_RIP      0x001u
#define VMLIB_VTX_G_FLOW     0x002u /* RSP, RFLAGS */
#define VMLIB_VTX_G_SEGMENTS 0x004u
#define VMLIB_VTX_G_CONTROL  0x008u
#define VMLIB_VTX_G_MSRS     0x010u
#define VMLIB_VTX_G_EVENTS   0x020u /* interruptibility, pending debug exceptions */
#define VMLIB_VTX_G_DEBUG    0x040u
#define VMLIB_VTX_G_CONTROLS 0x080u /* execution controls, bitmaps, offsets, thresholds */
#define VMLIB_VTX_G_INJECT   0x100u /* run.inject: deliver at this entry */
#define VMLIB_VTX_G_ALL      0x1ffu

/* run.flags */
#define VMLIB_VTX_SYNC 1u /* write dirty and read fetch groups, do not enter */

/* run.status: how RUN ended */
#define VMLIB_VTX_EXITED 0u /* a VM exit: `reason` is the basic exit reason */
#define VMLIB_VTX_KICKED 1u /* run.request was set; or a sync */
#define VMLIB_VTX_REFUSED \
    2u /* VM entry failed on guest state: reason has bit 31 (SDM Vol.3C 26.8) */
#define VMLIB_VTX_VMFAIL  3u /* VMLAUNCH/VMRESUME failed: `instruction_error` (SDM Vol.3C 30.4) */
#define VMLIB_VTX_INVALID 4u /* the driver refuses the state: `invalid` says which */

/* run.invalid */
#define VMLIB_VTX_BAD_CONTROLS 1u /* a control bit outside info.may */
#define VMLIB_VTX_BAD_CR0      2u
#define VMLIB_VTX_BAD_CR4      3u
#define VMLIB_VTX_BAD_EFER     4u
#define VMLIB_VTX_BAD_XCR0     5u
#define VMLIB_VTX_BAD_MSR      6u /* an address in an MSR is not canonical */
#define VMLIB_VTX_BAD_DEBUG    7u /* DEBUGCTL has more than BTF */
#define VMLIB_VTX_BAD_FPU      8u /* XRSTOR refuses the second page */

struct vmlib_vtx_segment {
    __u64 base;
    __u32 limit, attributes; /* SDM Vol.3C 24.4.1 */
    __u16 selector, reserved[3];
};

/* In the order of the VMCS encodings. */
enum {
    VMLIB_VTX_ES,
    VMLIB_VTX_CS,
    VMLIB_VTX_SS,
    VMLIB_VTX_DS,
    VMLIB_VTX_FS,
    VMLIB_VTX_GS,
    VMLIB_VTX_LDTR,
    VMLIB_VTX_TR,
    VMLIB_VTX_SEGMENTS
};

/* The first page of a vCPU's mapping. The second is its XSAVE (or FXSAVE) area, the third its
 * virtual-APIC page (only the TPR at offset 128 counts). */
struct vmlib_vtx_run {
    /* Set by any thread, then VMLIB_VTX_KICK: RUN returns (KICKED) while it is not 0. */
    __u32 request;
    __u32 flags;
    __u32 dirty; /* cleared by the driver when the groups are in the VMCS */
    __u32 fetch;

    /* The exit. Fields that the reason does not define are left as they were. */
    __u32 status;
    __u32 reason; /* all 32 bits */
    __u32 instruction_length, instruction_info;
    __u64 qualification, gpa, gla;
    __u32 exit_event, exit_error;           /* VM-exit interruption information */
    __u32 vectoring_event, vectoring_error; /* IDT-vectoring information */
    __u32 instruction_error, invalid;
    __u32 cpu;        /* where it ran */
    __u32 fpu_loaded; /* set when the guest's vector registers were in use; user space clears it */
    __u64 also_for; /* basic exit reasons, one bit each, after which `also` is read like `fetch` */
    __u32 also, reserved;

    __u64 gpr[16]; /* rax rcx rdx rbx rsp rbp rsi rdi r8-r15 */
    __u64 rip, rflags, cr2;

    struct { /* G_INJECT; the driver clears event */
        __u32 event, error, length, reserved;
    } inject;

    struct { /* G_SEGMENTS */
        struct vmlib_vtx_segment s[VMLIB_VTX_SEGMENTS];
        __u64 gdtr_base, idtr_base;
        __u32 gdtr_limit, idtr_limit;
    } segments;

    struct { /* G_CONTROL. cr0 and cr4 as the guest sees them: forced bits are the driver's affair
              */
        __u64 cr0, cr3, cr4, efer;
        __u64 xcr0; /* 0: the host's */
        __u64 pdpte[4];
        __u64 cr0_mask, cr4_mask; /* bits whose change exits, beside the owned ones */
    } control;

    struct { /* G_MSRS */
        __u64 star, lstar, cstar, fmask, kernel_gs_base, tsc_aux;
        __u64 sysenter_cs, sysenter_esp, sysenter_eip, pat;
    } msrs;

    struct { /* G_EVENTS */
        __u32 interruptibility, reserved;
        __u64 pending_debug;
    } events;

    struct { /* G_DEBUG. DR6 never reaches the processor: #DB always exits */
        __u64 dr[4], dr7, debugctl;
    } debug;

    struct { /* G_CONTROLS */
        __u32 word[VMLIB_VTX_CONTROLS];
        __u32 exceptions; /* bitmap; #DB, #NM, #AC and #MC exit whatever it says */
        __u32 page_fault_mask, page_fault_match;
        __u32 tpr_threshold;
        __u32 timer; /* preemption timer, with its pin control */
        __u64 tsc_offset;
    } controls;
};

#define VMLIB_VTX_IOC         0xb7
#define VMLIB_VTX_INFO        _IOWR(VMLIB_VTX_IOC, 0x00, struct vmlib_vtx_info)
#define VMLIB_VTX_CREATE_VM   _IO(VMLIB_VTX_IOC, 0x01)
#define VMLIB_VTX_MAP         _IOW(VMLIB_VTX_IOC, 0x10, struct vmlib_vtx_map)
#define VMLIB_VTX_UNMAP       _IOW(VMLIB_VTX_IOC, 0x11, struct vmlib_vtx_range)
#define VMLIB_VTX_PROTECT     _IOW(VMLIB_VTX_IOC, 0x12, struct vmlib_vtx_range)
#define VMLIB_VTX_DIRTY       _IOW(VMLIB_VTX_IOC, 0x13, struct vmlib_vtx_dirty)
#define VMLIB_VTX_CREATE_VCPU _IO(VMLIB_VTX_IOC, 0x14)
/* fdatasync() on a vCPU is RUN, too, with fewer instructions in the kernel on the way. */
#define VMLIB_VTX_RUN      _IO(VMLIB_VTX_IOC, 0x20)
#define VMLIB_VTX_KICK     _IO(VMLIB_VTX_IOC, 0x21)
#define VMLIB_VTX_PASS_MSR _IOW(VMLIB_VTX_IOC, 0x22, struct vmlib_vtx_msr)

#define VMLIB_VTX_PAGE_RUN  0u
#define VMLIB_VTX_PAGE_FPU  1u
#define VMLIB_VTX_PAGE_APIC 2u
#define VMLIB_VTX_PAGES     3u

#endif
