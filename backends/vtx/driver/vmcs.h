/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Names for VMCS fields (SDM Vol.3D appendix B), control bits (Vol.3C 24.6 to 24.8), basic exit
 * reasons (appendix C) and capability MSRs (appendix A). Only those that the driver uses.
 */
#ifndef VTX_VMCS_H
#define VTX_VMCS_H

enum vtx_field {
    VMCS_VPID = 0x0000,
    VMCS_GUEST_ES = 0x0800, /* selectors: ES CS SS DS FS GS LDTR TR, step 2 */
    VMCS_HOST_ES = 0x0c00,
    VMCS_HOST_CS = 0x0c02,
    VMCS_HOST_SS = 0x0c04,
    VMCS_HOST_DS = 0x0c06,
    VMCS_HOST_FS = 0x0c08,
    VMCS_HOST_GS = 0x0c0a,
    VMCS_HOST_TR = 0x0c0c,
    VMCS_MSR_BITMAP = 0x2004,
    VMCS_TSC_OFFSET = 0x2010,
    VMCS_APIC_PAGE = 0x2012,
    VMCS_EPTP = 0x201a,
    VMCS_GPA = 0x2400,
    VMCS_LINK = 0x2800,
    VMCS_GUEST_DEBUGCTL = 0x2802,
    VMCS_GUEST_PAT = 0x2804,
    VMCS_GUEST_EFER = 0x2806,
    VMCS_GUEST_PDPTE0 = 0x280a,
    VMCS_HOST_PAT = 0x2c00,
    VMCS_HOST_EFER = 0x2c02,
    VMCS_PIN = 0x4000,
    VMCS_PROC = 0x4002,
    VMCS_EXCEPTIONS = 0x4004,
    VMCS_PF_MASK = 0x4006,
    VMCS_PF_MATCH = 0x4008,
    VMCS_CR3_TARGETS = 0x400a,
    VMCS_EXIT = 0x400c,
    VMCS_EXIT_STORES = 0x400e,
    VMCS_EXIT_LOADS = 0x4010,
    VMCS_ENTRY = 0x4012,
    VMCS_ENTRY_LOADS = 0x4014,
    VMCS_ENTRY_EVENT = 0x4016,
    VMCS_ENTRY_ERROR = 0x4018,
    VMCS_ENTRY_LENGTH = 0x401a,
    VMCS_TPR_THRESHOLD = 0x401c,
    VMCS_PROC2 = 0x401e,
    VMCS_INSTRUCTION_ERROR = 0x4400,
    VMCS_REASON = 0x4402,
    VMCS_EXIT_EVENT = 0x4404,
    VMCS_EXIT_ERROR = 0x4406,
    VMCS_VECTORING_EVENT = 0x4408,
    VMCS_VECTORING_ERROR = 0x440a,
    VMCS_EXIT_LENGTH = 0x440c,
    VMCS_EXIT_INFO = 0x440e,
    VMCS_GUEST_ES_LIMIT = 0x4800,
    VMCS_GUEST_GDTR_LIMIT = 0x4810,
    VMCS_GUEST_IDTR_LIMIT = 0x4812,
    VMCS_GUEST_ES_ACCESS = 0x4814,
    VMCS_GUEST_INTERRUPTIBILITY = 0x4824,
    VMCS_GUEST_ACTIVITY = 0x4826,
    VMCS_GUEST_SYSENTER_CS = 0x482a,
    VMCS_GUEST_TIMER = 0x482e,
    VMCS_HOST_SYSENTER_CS = 0x4c00,
    VMCS_CR0_MASK = 0x6000,
    VMCS_CR4_MASK = 0x6002,
    VMCS_CR0_SHADOW = 0x6004,
    VMCS_CR4_SHADOW = 0x6006,
    VMCS_QUALIFICATION = 0x6400,
    VMCS_GLA = 0x640a,
    VMCS_GUEST_CR0 = 0x6800,
    VMCS_GUEST_CR3 = 0x6802,
    VMCS_GUEST_CR4 = 0x6804,
    VMCS_GUEST_ES_BASE = 0x6806,
    VMCS_GUEST_GDTR_BASE = 0x6816,
    VMCS_GUEST_IDTR_BASE = 0x6818,
    VMCS_GUEST_DR7 = 0x681a,
    VMCS_GUEST_RSP = 0x681c,
    VMCS_GUEST_RIP = 0x681e,
    VMCS_GUEST_RFLAGS = 0x6820,
    VMCS_GUEST_PENDING_DEBUG = 0x6822,
    VMCS_GUEST_SYSENTER_ESP = 0x6824,
    VMCS_GUEST_SYSENTER_EIP = 0x6826,
    VMCS_HOST_CR0 = 0x6c00,
    VMCS_HOST_CR3 = 0x6c02,
    VMCS_HOST_CR4 = 0x6c04,
    VMCS_HOST_FS_BASE = 0x6c06,
    VMCS_HOST_GS_BASE = 0x6c08,
    VMCS_HOST_TR_BASE = 0x6c0a,
    VMCS_HOST_GDTR_BASE = 0x6c0c,
    VMCS_HOST_IDTR_BASE = 0x6c0e,
    VMCS_HOST_SYSENTER_ESP = 0x6c10,
    VMCS_HOST_SYSENTER_EIP = 0x6c12,
    VMCS_HOST_RSP = 0x6c14,
    VMCS_HOST_RIP = 0x6c16
};

/* Pin-based controls. */
#define PIN_EXTERNAL_INTERRUPT 0x00000001u
#define PIN_NMI                0x00000008u
#define PIN_VIRTUAL_NMI        0x00000020u
#define PIN_TIMER              0x00000040u

/* Primary processor-based controls. */
#define PROC_INTERRUPT_WINDOW 0x00000004u
#define PROC_TSC_OFFSET       0x00000008u
#define PROC_HLT              0x00000080u
#define PROC_INVLPG           0x00000200u
#define PROC_MWAIT            0x00000400u
#define PROC_RDPMC            0x00000800u
#define PROC_RDTSC            0x00001000u
#define PROC_CR3_LOAD         0x00008000u
#define PROC_CR3_STORE        0x00010000u
#define PROC_CR8_LOAD         0x00080000u
#define PROC_CR8_STORE        0x00100000u
#define PROC_TPR_SHADOW       0x00200000u
#define PROC_NMI_WINDOW       0x00400000u
#define PROC_MOV_DR           0x00800000u
#define PROC_IO               0x01000000u
#define PROC_MTF              0x08000000u
#define PROC_MSR_BITMAP       0x10000000u
#define PROC_MONITOR          0x20000000u
#define PROC_PAUSE            0x40000000u
#define PROC_SECONDARY        0x80000000u

/* Secondary controls. */
#define PROC2_EPT          0x00000002u
#define PROC2_DESCRIPTOR   0x00000004u
#define PROC2_RDTSCP       0x00000008u
#define PROC2_VPID         0x00000020u
#define PROC2_WBINVD       0x00000040u
#define PROC2_UNRESTRICTED 0x00000080u
#define PROC2_RDRAND       0x00000800u
#define PROC2_INVPCID      0x00001000u
#define PROC2_RDSEED       0x00010000u

#define EXIT_SAVE_DEBUG  0x00000004u
#define EXIT_HOST_64     0x00000200u
#define EXIT_SAVE_PAT    0x00040000u
#define EXIT_LOAD_PAT    0x00080000u
#define EXIT_SAVE_EFER   0x00100000u
#define EXIT_LOAD_EFER   0x00200000u
#define ENTRY_LOAD_DEBUG 0x00000004u
#define ENTRY_GUEST_64   0x00000200u
#define ENTRY_LOAD_PAT   0x00004000u
#define ENTRY_LOAD_EFER  0x00008000u

/* Interruption information: one format on entry, exit and in IDT vectoring (SDM Vol.3C 24.8.3). */
#define EVENT_VALID     0x80000000u
#define EVENT_HAS_ERROR 0x00000800u
#define EVENT_TYPE      0x00000700u
#define EVENT_NMI       0x00000200u
#define EVENT_HARD      0x00000300u
#define EVENT_SOFT_INT  0x00000400u
#define EVENT_PRIV_SOFT 0x00000500u
#define EVENT_SOFT_EXC  0x00000600u
#define BLOCKING_BY_NMI 0x00000008u

#define REASON_EVENT        0u
#define REASON_INTERRUPT    1u
#define REASON_IO           30u
#define REASON_MC_ENTRY     41u
#define REASONS             70u
#define REASON_ENTRY_FAILED 0x80000000u

#define VECTOR_DB 1u
#define VECTOR_NM 7u
#define VECTOR_AC 17u
#define VECTOR_MC 18u

#define IA32_FEATURE_CONTROL 0x03au
#define IA32_VMX_BASIC       0x480u
#define IA32_VMX_MISC        0x485u
#define IA32_VMX_CR0_FIXED0  0x486u
#define IA32_VMX_PROC2       0x48bu
#define IA32_VMX_EPT_VPID    0x48cu
#define IA32_VMX_TRUE_PIN    0x48du
#define IA32_VMX_TRUE_PROC   0x48eu
#define IA32_VMX_TRUE_EXIT   0x48fu
#define IA32_VMX_TRUE_ENTRY  0x490u

/* IA32_VMX_EPT_VPID_CAP (A.10) */
#define EPTCAP_XONLY          0x0000000000000001ull
#define EPTCAP_WALK4          0x0000000000000040ull
#define EPTCAP_WB             0x0000000000004000ull
#define EPTCAP_2M             0x0000000000010000ull
#define EPTCAP_INVEPT         0x0000000000100000ull
#define EPTCAP_AD             0x0000000000200000ull
#define EPTCAP_INVEPT_SINGLE  0x0000000002000000ull
#define EPTCAP_INVEPT_ALL     0x0000000004000000ull
#define EPTCAP_INVVPID        0x0000000100000000ull
#define EPTCAP_INVVPID_SINGLE 0x0000020000000000ull

/* Control register bits with a role here. */
#define GUEST_CR0_PE      0x00000001ull
#define GUEST_CR0_TS      0x00000008ull
#define GUEST_CR0_NE      0x00000020ull
#define GUEST_CR0_NW      0x20000000ull
#define GUEST_CR0_CD      0x40000000ull
#define GUEST_CR0_PG      0x80000000ull
#define GUEST_CR4_PAE     0x00020ull
#define GUEST_CR4_MCE     0x00040ull
#define GUEST_CR4_VMXE    0x02000ull
#define GUEST_CR4_OSXSAVE 0x40000ull
/* VME to UMIP, LA57, FSGSBASE to SMAP without VMXE, SMXE: what a guest may own. Absent on purpose:
 * PKE, CET, PKS, UINTR, LAM have state that the driver does not switch. */
#define GUEST_CR4_MAY      0x371fffull
#define GUEST_EFER_SCE     0x001ull
#define GUEST_EFER_LME     0x100ull
#define GUEST_EFER_LMA     0x400ull
#define GUEST_EFER_NX      0x800ull
#define GUEST_DEBUGCTL_BTF 0x2ull

#endif
