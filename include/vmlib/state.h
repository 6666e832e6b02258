/** @file
 * Architectural state of a vCPU.
 */
#ifndef VMLIB_STATE_H
#define VMLIB_STATE_H

#include <vmlib/exit.h>

/** @defgroup state vCPU state
 * Registers move in groups; a struct vmlib_state has one member per group and a mask says which
 * count.
 * @{ */

#define VMLIB_STATE_GPR      0x01u
#define VMLIB_STATE_SEGMENTS 0x02u
#define VMLIB_STATE_CONTROL  0x04u
#define VMLIB_STATE_DEBUG    0x08u
#define VMLIB_STATE_MSRS     0x10u
#define VMLIB_STATE_FPU      0x20u /**< x87 and SSE */
#define VMLIB_STATE_XSAVE    0x40u /**< all XSAVE components; includes what #VMLIB_STATE_FPU has */
#define VMLIB_STATE_EVENTS   0x80u
#define VMLIB_STATE_ALL      0xffu
/** Everything but the vector registers: cheap. */
#define VMLIB_STATE_CORE 0x9fu

/** General registers. */
struct vmlib_gpr {
    uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rip; /**< offset in CS */
    uint64_t rflags;
};

/** Segment register with its hidden part. */
struct vmlib_segment {
    uint64_t base;
    uint32_t limit; /**< in bytes */
    /** VMX access rights (SDM Vol.3C 24.4.1): type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G
     * 15, unusable 16. */
    uint32_t attributes;
    uint16_t selector;
    uint16_t reserved[3];
};
#define VMLIB_SEGMENT_UNUSABLE 0x10000u

/** GDTR or IDTR. */
struct vmlib_table {
    uint64_t base;
    uint16_t limit;
    uint16_t reserved[3];
};

/** Segment registers and descriptor tables. The CPL is the DPL of SS (SDM Vol.3C 24.4.1). */
struct vmlib_segments {
    struct vmlib_segment es, cs, ss, ds, fs, gs, ldtr, tr;
    struct vmlib_table gdtr, idtr;
};

/** Control registers. */
struct vmlib_control {
    uint64_t cr0, cr2, cr3, cr4, cr8;
    uint64_t xcr0;
    uint64_t efer;
    uint64_t apic_base;
    uint64_t
        pdpte[4]; /**< PAE paging: the loaded page-directory-pointer entries (SDM Vol.3A 4.4.1) */
};

/** Debug registers of the guest. */
struct vmlib_debug {
    uint64_t dr[4], dr6, dr7;
};

#define VMLIB_MTRR_VARIABLE 8u
/** Model-specific registers with state. */
struct vmlib_msrs {
    uint64_t star, lstar, cstar, fmask;               /**< 0xc0000081 to 0xc0000084 */
    uint64_t kernel_gs_base;                          /**< 0xc0000102 */
    uint64_t tsc_aux;                                 /**< 0xc0000103 */
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip; /**< 0x174 to 0x176 */
    uint64_t tsc;                                     /**< 0x10 */
    uint64_t tsc_adjust;                              /**< 0x3b */
    uint64_t feature_control;                         /**< 0x3a */
    uint64_t spec_ctrl;                               /**< 0x48 */
    uint64_t misc_enable;                             /**< 0x1a0 */
    uint64_t debugctl;                                /**< 0x1d9 */
    uint64_t pat;                                     /**< 0x277 */
    uint64_t xss;                                     /**< 0xda0 */
    uint64_t mcg_status, mcg_ctl;                     /**< 0x17a, 0x17b */
    uint64_t mtrr_def_type;                           /**< 0x2ff */
    uint64_t mtrr_fixed[11];                          /**< 0x250, 0x258, 0x259, 0x268 to 0x26f */
    uint64_t mtrr_base[VMLIB_MTRR_VARIABLE], mtrr_mask[VMLIB_MTRR_VARIABLE]; /**< 0x200 ... */
    uint64_t reserved[8];
};

/** x87 and SSE state: the image of FXSAVE64 (SDM Vol.1 10.5.1). */
struct vmlib_fpu {
    uint8_t image[512];
};

#define VMLIB_XSAVE_MAX 4096u
/** All vector state: an XSAVE image in standard format (SDM Vol.1 13.4). */
struct vmlib_xsave {
    uint32_t bytes; /**< used part of the image; 0 on set: all */
    uint32_t reserved;
    uint64_t features; /**< components in the image; on set, others take their initial value */
    uint8_t image[VMLIB_XSAVE_MAX];
};

/* vmlib_events.flags */
#define VMLIB_EVENTS_SHADOW_STI   0x001u /**< interrupts are held off by STI for one instruction */
#define VMLIB_EVENTS_SHADOW_MOVSS 0x002u /**< ... by a load of SS */
#define VMLIB_EVENTS_NMI_BLOCKED  0x004u /**< until IRET */
#define VMLIB_EVENTS_NMI_PENDING  0x008u
#define VMLIB_EVENTS_HALTED       0x010u /**< by HLT or MWAIT */
#define VMLIB_EVENTS_WAIT_SIPI    0x020u /**< waits for a start-up IPI */
#define VMLIB_EVENTS_SHUTDOWN     0x040u /**< after a triple fault */
#define VMLIB_EVENTS_SMM          0x080u
#define VMLIB_EVENTS_SMI_PENDING  0x100u
#define VMLIB_EVENTS_INIT_PENDING 0x200u
#define VMLIB_EVENTS_SIPI_PENDING 0x400u
#define VMLIB_EVENTS_INTR         0x800u /**< level of the INTR line */

/** What is on its way, and what is held off. */
struct vmlib_events {
    uint32_t flags; /**< VMLIB_EVENTS_ bits */
    uint32_t sipi_vector;
    struct vmlib_event
        injected; /**< delivered before the next instruction; type NONE when there is none */
    uint64_t pending_debug; /**< debug traps not yet delivered: bits for DR6 */
};

/** Groups of state. */
struct vmlib_state {
    uint32_t size; /**< sizeof of this struct, set by the caller */
    uint32_t reserved;
    struct vmlib_gpr gpr;
    struct vmlib_segments segments;
    struct vmlib_control control;
    struct vmlib_debug debug;
    struct vmlib_msrs msrs;
    struct vmlib_events events;
    struct vmlib_fpu fpu;
    struct vmlib_xsave xsave;
};

/* Single registers. Order and numbers are fixed: append only. */
#define VMLIB_REG_RAX            0u /**< RAX to R15 are 0 to 15 in the hardware's order */
#define VMLIB_REG_RCX            1u
#define VMLIB_REG_RDX            2u
#define VMLIB_REG_RBX            3u
#define VMLIB_REG_RSP            4u
#define VMLIB_REG_RBP            5u
#define VMLIB_REG_RSI            6u
#define VMLIB_REG_RDI            7u
#define VMLIB_REG_R8             8u
#define VMLIB_REG_R9             9u
#define VMLIB_REG_R10            10u
#define VMLIB_REG_R11            11u
#define VMLIB_REG_R12            12u
#define VMLIB_REG_R13            13u
#define VMLIB_REG_R14            14u
#define VMLIB_REG_R15            15u
#define VMLIB_REG_RIP            16u
#define VMLIB_REG_RFLAGS         17u
#define VMLIB_REG_CR0            18u
#define VMLIB_REG_CR2            19u
#define VMLIB_REG_CR3            20u
#define VMLIB_REG_CR4            21u
#define VMLIB_REG_CR8            22u
#define VMLIB_REG_XCR0           23u
#define VMLIB_REG_EFER           24u
#define VMLIB_REG_APIC_BASE      25u
#define VMLIB_REG_DR0            26u
#define VMLIB_REG_DR1            27u
#define VMLIB_REG_DR2            28u
#define VMLIB_REG_DR3            29u
#define VMLIB_REG_DR6            30u
#define VMLIB_REG_DR7            31u
#define VMLIB_REG_FS_BASE        32u
#define VMLIB_REG_GS_BASE        33u
#define VMLIB_REG_KERNEL_GS_BASE 34u
#define VMLIB_REG_TSC            35u
#define VMLIB_REG_COUNT          36u

/* Wide registers. Segments: struct vmlib_segment. Tables: struct vmlib_table. */
#define VMLIB_REG_ES   64u
#define VMLIB_REG_CS   65u
#define VMLIB_REG_SS   66u
#define VMLIB_REG_DS   67u
#define VMLIB_REG_FS   68u
#define VMLIB_REG_GS   69u
#define VMLIB_REG_LDTR 70u
#define VMLIB_REG_TR   71u
#define VMLIB_REG_GDTR 72u
#define VMLIB_REG_IDTR 73u
#define VMLIB_REG_XMM0 80u  /**< 16 bytes; XMM0 to XMM15 are consecutive */
#define VMLIB_REG_YMM0 96u  /**< 32 bytes; YMM0 to YMM15 are consecutive */
#define VMLIB_REG_ST0  112u /**< 10 bytes; ST(0) to ST(7) are consecutive */

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Read groups of state.
 * @param groups VMLIB_STATE_ bits.
 * @param[in,out] state Caller sets `size`; only the members of the groups are written.
 * @retval VMLIB_E_INVAL an argument is NULL, groups has unknown bits, or state has a wrong size.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_get_state(vmlib_vcpu *vcpu, uint32_t groups, struct vmlib_state *state);

/**
 * Replace groups of state. All groups are checked before the first is changed.
 * @param groups VMLIB_STATE_ bits. With #VMLIB_STATE_FPU and #VMLIB_STATE_XSAVE the latter counts.
 * @retval VMLIB_E_INVAL an argument is NULL, groups has unknown bits, state has a wrong size, or a
 * value that no CPU can hold (reserved bits of control registers, non-canonical bases, EFER.LMA
 * against CR0.PG, ...).
 * @retval VMLIB_E_UNSUPPORTED a state this backend cannot hold (SMM).
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @retval VMLIB_E_STATE an exit other than a hypercall waits for completion.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_set_state(vmlib_vcpu *vcpu, uint32_t groups,
                                   const struct vmlib_state *state);

/**
 * Read one register.
 * @param reg VMLIB_REG_ constant below #VMLIB_REG_COUNT.
 * @retval VMLIB_E_INVAL an argument is NULL or reg is unknown.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_get_reg(vmlib_vcpu *vcpu, uint32_t reg, uint64_t *value);

/**
 * Change one register; the same checks as vmlib_vcpu_set_state().
 * @retval VMLIB_E_INVAL an argument is NULL, reg is unknown or it cannot hold the value.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @retval VMLIB_E_STATE an exit other than a hypercall waits for completion.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_set_reg(vmlib_vcpu *vcpu, uint32_t reg, uint64_t value);

/**
 * Read a wide register.
 * @param reg #VMLIB_REG_ES to ST7.
 * @param[out] data Receives exactly `bytes`.
 * @param bytes The size of that register's struct, or its width.
 * @retval VMLIB_E_INVAL an argument is NULL, reg is unknown or bytes does not fit it.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_get_reg_wide(vmlib_vcpu *vcpu, uint32_t reg, void *data, uint32_t bytes);

/**
 * Change a wide register.
 * @retval VMLIB_E_INVAL an argument is NULL, reg is unknown, bytes does not fit it or it cannot
 * hold the value.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @retval VMLIB_E_STATE an exit other than a hypercall waits for completion.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_set_reg_wide(vmlib_vcpu *vcpu, uint32_t reg, const void *data,
                                      uint32_t bytes);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
