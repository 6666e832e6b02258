/* Names of bits and numbers, as the SDM has them. */
#ifndef X86_DEFS_H
#define X86_DEFS_H

#define X86_LIKELY(x)   __builtin_expect(!!(x), 1)
#define X86_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* RFLAGS, SDM Vol.1 3.4.3 */
#define X86_FL_CF    0x00000001u
#define X86_FL_ONE   0x00000002u
#define X86_FL_PF    0x00000004u
#define X86_FL_AF    0x00000010u
#define X86_FL_ZF    0x00000040u
#define X86_FL_SF    0x00000080u
#define X86_FL_TF    0x00000100u
#define X86_FL_IF    0x00000200u
#define X86_FL_DF    0x00000400u
#define X86_FL_OF    0x00000800u
#define X86_FL_IOPL  0x00003000u
#define X86_FL_NT    0x00004000u
#define X86_FL_RF    0x00010000u
#define X86_FL_VM    0x00020000u
#define X86_FL_AC    0x00040000u
#define X86_FL_VIF   0x00080000u
#define X86_FL_VIP   0x00100000u
#define X86_FL_ID    0x00200000u
#define X86_FL_ARITH (X86_FL_CF | X86_FL_PF | X86_FL_AF | X86_FL_ZF | X86_FL_SF | X86_FL_OF)
#define X86_FL_ALL   0x003f7fd7u

/* The same flags in struct x86_cpu.cc */
#define X86_CC_OF 0x0001u
#define X86_CC_CF 0x0100u
#define X86_CC_PF 0x0400u
#define X86_CC_AF 0x1000u
#define X86_CC_ZF 0x4000u
#define X86_CC_SF 0x8000u

/* CR0, CR4, EFER, XCR0: SDM Vol.3A 2.5, 2.6, 2.2.1 */
#define X86_CR0_PE 0x00000001u
#define X86_CR0_MP 0x00000002u
#define X86_CR0_EM 0x00000004u
#define X86_CR0_TS 0x00000008u
#define X86_CR0_ET 0x00000010u
#define X86_CR0_NE 0x00000020u
#define X86_CR0_WP 0x00010000u
#define X86_CR0_AM 0x00040000u
#define X86_CR0_NW 0x20000000u
#define X86_CR0_CD 0x40000000u
#define X86_CR0_PG 0x80000000u

#define X86_CR4_VME        0x00000001u
#define X86_CR4_PVI        0x00000002u
#define X86_CR4_TSD        0x00000004u
#define X86_CR4_DE         0x00000008u
#define X86_CR4_PSE        0x00000010u
#define X86_CR4_PAE        0x00000020u
#define X86_CR4_MCE        0x00000040u
#define X86_CR4_PGE        0x00000080u
#define X86_CR4_PCE        0x00000100u
#define X86_CR4_OSFXSR     0x00000200u
#define X86_CR4_OSXMMEXCPT 0x00000400u
#define X86_CR4_UMIP       0x00000800u
#define X86_CR4_LA57       0x00001000u
#define X86_CR4_VMXE       0x00002000u
#define X86_CR4_FSGSBASE   0x00010000u
#define X86_CR4_PCIDE      0x00020000u
#define X86_CR4_OSXSAVE    0x00040000u
#define X86_CR4_SMEP       0x00100000u
#define X86_CR4_SMAP       0x00200000u

#define X86_EFER_SCE   0x0001u
#define X86_EFER_LME   0x0100u
#define X86_EFER_LMA   0x0400u
#define X86_EFER_NXE   0x0800u
#define X86_EFER_FFXSR 0x4000u

#define X86_XCR0_X87 1u
#define X86_XCR0_SSE 2u
#define X86_XCR0_AVX 4u

/* Segment access rights (struct x86_seg.ar) */
#define X86_AR_TYPE      0x0000fu
#define X86_AR_A         0x00001u /* accessed */
#define X86_AR_WR        0x00002u /* data: writable; code: readable */
#define X86_AR_EC        0x00004u /* data: expand down; code: conforming */
#define X86_AR_CODE      0x00008u
#define X86_AR_S         0x00010u /* code or data, not a system segment */
#define X86_AR_DPL_SHIFT 5
#define X86_AR_DPL       0x00060u
#define X86_AR_P         0x00080u
#define X86_AR_AVL       0x01000u
#define X86_AR_L         0x02000u
#define X86_AR_DB        0x04000u
#define X86_AR_G         0x08000u
#define X86_AR_UNUSABLE  0x10000u

/* Vectors, SDM Vol.3A table 6-1 */
enum x86_vector {
    X86_DE = 0,
    X86_DB = 1,
    X86_NMI = 2,
    X86_BP = 3,
    X86_OF = 4,
    X86_BR = 5,
    X86_UD = 6,
    X86_NM = 7,
    X86_DF = 8,
    X86_TS = 10,
    X86_NP = 11,
    X86_STK = 12 /* #SS */,
    X86_GP = 13,
    X86_PF = 14,
    X86_MF = 16,
    X86_AC = 17,
    X86_MC = 18,
    X86_XM = 19
};

enum x86_event_kind {
    X86_EV_INTR, /* external interrupt */
    X86_EV_NMI,
    X86_EV_FAULT,    /* hardware exception; rip is the instruction */
    X86_EV_TRAP,     /* hardware exception reported after the instruction (#DB traps) */
    X86_EV_SOFT,     /* INT n */
    X86_EV_SOFT_EXC, /* INT3, INTO */
    X86_EV_ICEBP     /* INT1 */
};

/* Page-fault error code, SDM Vol.3A 4.7 */
#define X86_PF_P 0x01u
#define X86_PF_W 0x02u
#define X86_PF_U 0x04u
#define X86_PF_R 0x08u
#define X86_PF_I 0x10u

/* struct x86_cpu.mode: everything that decides how bytes become instructions and how those address
 * memory */
#define X86_MODE_SIZE      0x0003u
#define X86_MODE_16        0x0000u
#define X86_MODE_32        0x0001u
#define X86_MODE_64        0x0002u
#define X86_MODE_CPL_SHIFT 2
#define X86_MODE_CPL       0x000cu
#define X86_MODE_REAL      0x0010u
#define X86_MODE_V86       0x0020u
#define X86_MODE_SS32      0x0040u /* stack pointer is ESP (RSP in 64-bit mode), else SP */
#define X86_MODE_FLAT \
    0x0080u /* CS, DS, ES, SS: base 0, 4 GiB, writable where needed; always in 64-bit mode */
#define X86_MODE_LM 0x0100u /* EFER.LMA: 64-bit or compatibility mode */

/* struct x86_cpu.shadow */
#define X86_SHADOW_STI   1u
#define X86_SHADOW_MOVSS 2u

/* What slow paths and ops answer. Anything but X86_OK: the handler returns x86_leave(). */
enum x86_result {
    X86_OK = 0,
    X86_EXC,  /* cpu->exc has been set */
    X86_EXIT, /* the host must act first; the instruction has had no effect and will be restarted */
    X86_AGAIN /* restart the instruction (an interrupted REP, a changed mapping) */
};

/* struct x86_cpu.leave: what the run loop does next */
enum x86_leave_reason {
    X86_LEAVE_LOOKUP, /* find the block at cpu->rip and go on (after a look at pending events) */
    X86_LEAVE_EXC,    /* deliver cpu->exc */
    X86_LEAVE_EXIT,   /* return to the host */
    X86_LEAVE_HALT,   /* HLT or MWAIT retired */
    X86_LEAVE_SHUTDOWN
};

#endif
