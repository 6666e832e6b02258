/* Between the parts of the MMU (paging.c, tlb.c, mem.c): a page walk, and where one page's bytes
 * are. */
#ifndef X86_MMU_H
#define X86_MMU_H

#include "x86/mem.h"
#include "x86/ops.h"

/* Combined rights of a walk, at the places the entries have them. NX is inverted. */
#define X86_PTE_P      UINT64_C(0x001)
#define X86_PTE_W      UINT64_C(0x002)
#define X86_PTE_U      UINT64_C(0x004)
#define X86_PTE_A      UINT64_C(0x020)
#define X86_PTE_D      UINT64_C(0x040)
#define X86_PTE_PS     UINT64_C(0x080)
#define X86_PTE_G      UINT64_C(0x100)
#define X86_PTE_NX     (UINT64_C(1) << 63)
#define X86_RIGHT_W    X86_PTE_W
#define X86_RIGHT_U    X86_PTE_U
#define X86_RIGHT_X    X86_PTE_NX
#define X86_RIGHTS_ALL (X86_RIGHT_W | X86_RIGHT_U | X86_RIGHT_X)

/* Who accesses: decides rights and TLB bank together. */
struct x86_who {
    enum x86_tlb_bank bank;
    bool user;     /* CPL 3 */
    bool smap;     /* refuse data accesses to user pages */
    uint64_t mask; /* of linear addresses: where an access wraps */
};

struct x86_walk {
    uint64_t gpa;
    uint64_t rights;
    uint32_t error; /* page-fault error code when the walk says X86_EXC */
    uint8_t page_bits;
    bool dirty; /* the mapping's D bit is set now (or it has none to set) */
    bool global;
    bool uncached; /* tables outside memory: every access must walk again */
};

/* Walk for one access. X86_EXC: w->error. Only canonical addresses. */
enum x86_result x86_walk(struct x86_cpu *cpu, uint64_t lin, enum x86_access acc,
                         const struct x86_who *who, bool set_ad, struct x86_walk *w);
/* May this access use a mapping with these rights? SDM Vol.3A 4.6.1 */
X86_INLINE bool x86_rights_allow(const struct x86_cpu *cpu, uint64_t rights, enum x86_access acc,
                                 const struct x86_who *who)
{
    bool user_page = rights & X86_RIGHT_U;
    if (who->user && !user_page)
        return false;
    switch (acc) {
    case X86_ACC_EXEC:
        return rights & X86_RIGHT_X && !(!who->user && user_page && cpu->cr4 & X86_CR4_SMEP);
    case X86_ACC_WRITE:
        if (!(rights & X86_RIGHT_W) && (who->user || cpu->cr0 & X86_CR0_WP))
            return false;
        break;
    default:
        break;
    }
    return !(who->smap && user_page);
}

/* Where the bytes from lin to the end of its page are. host NULL: not memory. */
struct x86_spot {
    uint8_t *host;
    uint64_t gpa;  /* valid unless the store or load can go to host directly */
    bool direct;   /* this access may use host with no further ado */
    bool writable; /* memory, stores allowed (through before_rmw unless direct) */
};

/* Translate for one access with all checks; fills the TLB. The fault is recorded when X86_EXC;
 * non-canonical addresses give #GP(0). */
enum x86_result x86_locate(struct x86_cpu *cpu, uint64_t lin, enum x86_access acc,
                           const struct x86_who *who, struct x86_spot *s);
enum x86_result x86_page_fault(struct x86_cpu *cpu, uint64_t lin, uint32_t error);

X86_INLINE bool x86_canonical(uint64_t lin)
{
    return (uint64_t)((int64_t)(lin << 16) >> 16) == lin;
}

/* The rights of the running code, and of implicit accesses to system structures (SDM Vol.3A 4.6).
 */
X86_INLINE struct x86_who x86_who_runs(const struct x86_cpu *cpu)
{
    bool smap = cpu->cr4 & X86_CR4_SMAP;
    if (cpu->cpl == 3)
        return (struct x86_who){X86_BANK_USER, true, false, cpu->lin_mask};
    if (smap && cpu->eflags & X86_FL_AC)
        return (struct x86_who){X86_BANK_SUPER_USER, false, false, cpu->lin_mask};
    return (struct x86_who){X86_BANK_SUPER, false, smap, cpu->lin_mask};
}
X86_INLINE struct x86_who x86_who_system(const struct x86_cpu *cpu)
{
    /* Descriptor tables and the TSS have 64-bit addresses in compatibility mode, too. */
    uint64_t mask = cpu->long_mode ? UINT64_MAX : UINT32_MAX;
    return (struct x86_who){X86_BANK_SUPER, false, (cpu->cr4 & X86_CR4_SMAP) != 0, mask};
}

/* CR0.AM and EFLAGS.AC at CPL 3: SDM Vol.3A 6.15, #AC */
X86_INLINE bool x86_checks_alignment(const struct x86_cpu *cpu)
{
    return cpu->cpl == 3 && cpu->cr0 & X86_CR0_AM && cpu->eflags & X86_FL_AC;
}

#endif
