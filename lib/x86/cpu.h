/*
 * The architectural state of one x86 CPU, as the shared instruction semantics see it.
 *
 * Everything in lib/x86 works on a struct x86_cpu and reaches memory and devices only through
 * struct x86_ops (ops.h). No malloc, no operating system, no globals: the soft backend runs whole
 * guests with it, the hardware backends complete single instructions with it.
 */
#ifndef X86_CPU_H
#define X86_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "x86/defs.h"

struct x86_ops;
struct x86_uop;

/* General registers. Two slots follow that no instruction can name: see struct x86_cpu.r. */
enum x86_gpr {
    X86_RAX,
    X86_RCX,
    X86_RDX,
    X86_RBX,
    X86_RSP,
    X86_RBP,
    X86_RSI,
    X86_RDI,
    X86_R8,
    X86_R9,
    X86_R10,
    X86_R11,
    X86_R12,
    X86_R13,
    X86_R14,
    X86_R15,
    X86_NOREG,   /* always zero: "no base" and "no index" need no branch */
    X86_RIPBASE, /* rip (offset in CS) of the running block: RIP-relative operands need no branch */
    X86_NGPR,
    X86_RIPREL = X86_NGPR /* uop.base only, in general addressing: next RIP */
};

enum x86_segreg { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_NSEG };

/* Segment register with its descriptor cache. ar has the VMX access-rights layout (SDM
 * Vol.3C 25.4.1): type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16. limit is in
 * bytes. */
struct x86_seg {
    uint64_t base;
    uint32_t limit;
    uint32_t ar;
    uint16_t sel;
    /* Derived by x86_seg_refresh(): a plain expand-up segment may be accessed up to `limit`
     * without a look at its type. False sends the access to the full check. */
    bool rd_fast;
    bool wr_fast;
};

struct x86_dtr { /* GDTR, IDTR */
    uint64_t base;
    uint16_t limit;
};

/*
 * Arithmetic flags are kept in the form that LAHF and SETO produce: on an x86-64 host they are
 * captured in two instructions, elsewhere computed. `cc` bits: 15 SF, 14 ZF, 12 AF, 10 PF, 8 CF, 0
 * OF. All other RFLAGS bits live in `eflags` (whose arithmetic bits are zero). Use x86_get_flags()
 * and x86_set_flags() (flags.h) for the combined register.
 */
typedef uint16_t x86_cc;

/* Software TLB. A tag is the linear page address | tlb_gen (1..4095); it is present only if an
 * access of that kind needs no slow path at all. host address = addend + linear address. */
#define X86_TLB_BITS 10
#define X86_TLB_SIZE (1u << X86_TLB_BITS)
struct x86_tlb_entry {
    uint64_t rd;
    uint64_t wr;
    uint64_t ex;
    uintptr_t addend;
};
/* The device page used last, which has no entry: tags as above. */
struct x86_tlb_device {
    uint64_t rd, wr;
    uint64_t page; /* guest-physical */
    uint32_t bank;
};
/* One bank per kind of access right; tlb points to the one in force. */
enum x86_tlb_bank {
    X86_BANK_SUPER, /* CPL < 3 and implicit supervisor accesses; user pages refused if CR4.SMAP */
    X86_BANK_SUPER_USER, /* CPL < 3 with CR4.SMAP and EFLAGS.AC: user pages allowed */
    X86_BANK_USER,       /* CPL 3 */
    X86_BANK_NONE, /* always empty: CPL 3 with alignment checks, which only the slow path makes */
    X86_NBANKS
};

/* Paging-structure cache: the page table, or the part of a large page, that maps a 2 MiB range. */
#define X86_PSC_SIZE 32
struct x86_psc_entry {
    uint64_t tag;    /* linear address >> 21 | generation << 52, 0 = empty */
    uint64_t table;  /* guest-physical address of the last-level table, or of the memory itself */
    uint64_t rights; /* combined rights of the levels walked, and what `table` is (paging.c) */
    const uint8_t *host; /* the table in host memory: valid as long as the TLB's entries are */
};

/* Regions with TLB entries that come from large pages, hashed: words 0..3 one bit per 4 MiB, word 4
 * one bit per 1 GiB. INVLPG must drop all of a large page (SDM Vol.3A 4.10.4.1). */
#define X86_TLB_LARGE_WORDS 5

/* Exception or interrupt on its way to delivery. */
struct x86_event {
    uint8_t vector;
    uint8_t kind; /* enum x86_event_kind */
    bool has_error;
    uint8_t insn_len; /* software interrupts: bytes to add to rip */
    uint32_t error;
    uint64_t cr2; /* #PF */
    uint64_t dr6; /* #DB: bits to set */
    bool valid;
    bool seen;  /* the host has seen it (and wants it delivered): not shown again */
    bool fresh; /* raised outside a run: the host has not seen it yet */
    bool retry; /* delivery was interrupted: faults on its way are no news to the host either */
};

/* The 80-bit register as bytes: significand, then sign and exponent. */
struct x86_f80 {
    uint64_t mant;
    uint16_t se;
    uint16_t pad[3];
};

struct x86_fpu {
    uint16_t cw, sw, tagw; /* sw without TOP; tagw: the abridged form, bit set = register in use */
    uint8_t top;
    uint16_t fop;
    uint64_t fip, fdp;
    uint16_t fcs, fds;
    struct x86_f80 st[8]; /* physical registers R0..R7 (MM0..MM7 are their significands) */
};

union x86_vec {
    uint8_t b[32];
    uint16_t w[16];
    uint32_t d[8];
    uint64_t q[4];
};

/* MTRRs are state without effect. */
#define X86_NMTRR_VAR 8
struct x86_mtrr {
    uint64_t def_type;
    uint64_t fixed[11]; /* 250, 258, 259, 268..26F */
    uint64_t base[X86_NMTRR_VAR];
    uint64_t mask[X86_NMTRR_VAR];
};

struct x86_msrs {
    uint64_t star, lstar, cstar, fmask;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t kernel_gs_base;
    uint64_t pat, tsc_aux, tsc_adjust, misc_enable, feature_control;
    uint64_t spec_ctrl, mcg_status, mcg_ctl, debugctl, xss, bios_sign;
    int64_t tsc_offset; /* guest TSC = ops->tsc() + tsc_offset */
    struct x86_mtrr mtrr;
};

/* An access of the current instruction that the host has answered; see x86/io.h. */
struct x86_answer {
    uint64_t addr;
    uint64_t value[4];
    uint8_t kind, size;
};
#define X86_NANSWERS 136 /* XSAVE to a device page: 832 bytes in pieces of 8, and some */

/* Where computed branches look their target up: rip -> head uop of its block (of any mode). */
#define X86_JC_BITS 12
#define X86_JC_SIZE (1u << X86_JC_BITS)
struct x86_jump {
    uint64_t key; /* X86_JC_KEY(rip); 0: empty */
    struct x86_uop *head;
};

/* No branch leads to 2^63, which is not canonical: zeroed entries match nothing. */
#define X86_JC_KEY(rip) ((rip) ^ UINT64_C(1) << 63)

/* Elements of string instructions, and so on: what may be done without retiring an instruction
 * until the run loop wants control, which it gets through `poll`. */
#define X86_WORK_MAX 65536u

struct x86_cpu {
    /* --- touched by nearly every instruction --- */
    uint64_t r[X86_NGPR];
    struct x86_tlb_entry *tlb; /* bank in force */
    uint64_t tlb_gen;
    int64_t left; /* instructions until the run loop wants control; head of a block subtracts */
    x86_cc cc;
    uint16_t mode; /* X86_MODE_*: what decoding and block lookup depend on */
    uint32_t work; /* done so: x86_worked() */
    uint32_t
        poll; /* nonzero: leave at the next block head. Written by other threads: use atomics */
    struct x86_jump *jc; /* X86_JC_SIZE entries; NULL where blocks are not kept */
    uint32_t eflags;
    uint8_t cpl;
    bool resync; /* a callback changed state through the API: leave the block after this instruction
                  */
    bool rip_set;        /* ... and it changed rip */
    uint64_t rip;        /* exact only between blocks; inside, RIPBASE + uop offset */
    struct x86_uop *cur; /* instruction that entered a slow path */
    uint64_t
        rmw_old; /* what memory held before a read-modify-write by the slow paths: a local of the
                  * handler whose address is handed on would turn its last jump into a call */
    union {
        uint64_t tmp; /* value handed over by slow paths */
        uint64_t tmpq[4];
    };
    const struct x86_ops *ops;
    void *host; /* owner's pointer, for ops */
    /* Link a direct branch to its target's block; returns what to execute next or NULL to leave.
     * NULL: blocks are not kept. */
    struct x86_uop *(*link)(struct x86_cpu *cpu, struct x86_uop *branch);

    /* --- why the last block ended (enum x86_leave) --- */
    uint32_t leave;
    struct x86_event exc; /* X86_LEAVE_EXC: to be delivered */

    /* --- system state --- */
    struct x86_seg seg[X86_NSEG];
    struct x86_seg ldtr, tr;
    struct x86_dtr gdtr, idtr;
    uint64_t cr0, cr2, cr3, cr4, cr8, efer, xcr0, apic_base;
    uint64_t dr[4], dr6, dr7;
    uint64_t pdpte[4]; /* PAE: loaded by MOV to CR3 (SDM Vol.3A 4.4.1) */
    struct x86_msrs msr;

    /* --- vector and x87 state --- */
    union x86_vec v[16];
    union x86_vec vtmp[4]; /* operands and results of vector instructions on their way */
    uint32_t mxcsr;        /* while fp_live, flags may be in the host's MXCSR only: x86_fp_sync() */
    uint32_t host_mxcsr;
    bool fp_live;
    struct x86_fpu fpu;

    /* --- events --- */
    struct x86_event injected; /* delivered before the next instruction */
    uint8_t shadow;            /* X86_SHADOW_*: interrupts held off for one instruction */
    bool nmi_blocked, in_smm, halted, wait_sipi, shutdown;
    bool mwait;
    bool no_trap;  /* set by instructions that clear TF before it is looked at: INT n, SYSCALL */
    bool diverted; /* the last delivery ended in another event's handler */
    uint64_t pending_dr6; /* #DB traps of the last instruction */

    /* --- derived, by x86_mode_refresh() --- */
    uint64_t lin_mask;           /* 2^32-1 outside 64-bit mode, else all ones */
    uint64_t phys_mask;          /* valid bits of a guest-physical address */
    bool paging, pae, long_mode; /* long_mode: EFER.LMA */
    bool data_bp, code_bp;       /* enabled breakpoints in DR7 (guest or host) */
    uint32_t exc_exits;          /* vectors whose delivery the host wants to see first */
    /* Breakpoints of the host program, unseen by the guest; host_dr6: data breakpoints hit, bits
     * 3:0 */
    uint64_t host_dr[4], host_dr7;
    uint32_t host_dr6;
    bool msr_watch; /* ask ops->msr_first before every MSR access */

    /* --- CPU model --- */
    uint64_t feat[4]; /* bit set of enum x86_feature */

    /* --- caches --- */
    struct x86_tlb_entry *tlb_banks; /* X86_NBANKS * X86_TLB_SIZE entries, owner's memory */
    struct x86_psc_entry psc[X86_PSC_SIZE];
    uint64_t tlb_large[X86_TLB_LARGE_WORDS];
    struct x86_tlb_device tlb_device;
    bool tlb_writable; /* some entry has had a write tag since the last flush */

    /* --- device accesses of the current instruction already answered by the host --- */
    uint16_t nanswers, next_answer;
    struct x86_answer answer[X86_NANSWERS];
};

static inline bool x86_has(const struct x86_cpu *cpu, unsigned feature)
{
    return cpu->feat[feature >> 6] >> (feature & 63) & 1;
}

static inline void x86_worked(struct x86_cpu *cpu, uint64_t n)
{
    cpu->work += (uint32_t)n;
    if (__builtin_expect(cpu->work >= X86_WORK_MAX, 0))
        __atomic_store_n(&cpu->poll, 1, __ATOMIC_SEQ_CST);
}

static inline bool x86_in_long64(const struct x86_cpu *cpu)
{
    return (cpu->mode & X86_MODE_SIZE) == X86_MODE_64;
}

/* Real-address mode or virtual-8086: segment loads are paragraph shifts. */
static inline bool x86_in_real_or_v86(const struct x86_cpu *cpu)
{
    return cpu->mode & (X86_MODE_REAL | X86_MODE_V86);
}

static inline bool x86_protected(const struct x86_cpu *cpu)
{
    return !x86_in_real_or_v86(cpu);
}

#endif
