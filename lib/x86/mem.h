/*
 * Guest memory as instructions see it: effective address, segmentation, software TLB.
 *
 * The inline fast path is one tag compare; everything else (page walk, page crossing, devices, code
 * pages, breakpoints, faults) is behind x86_*_slow(). Loads return false (stores too) when the
 * instruction must be left: the handler then does `return x86_leave(cpu, u)` and must not have
 * changed any state yet.
 *
 * Addresses: `lin` is a linear address already truncated to the mode (cpu->lin_mask).
 */
#ifndef X86_MEM_H
#define X86_MEM_H

#include <string.h>

#include "x86/cpu.h"
#include "x86/uop.h"

#define X86_PAGE_MASK UINT64_C(0xfff)
#define X86_INLINE    static inline __attribute__((always_inline))

/* Guest memory is shared with other vCPU threads and the host on purpose; ThreadSanitizer must not
 * see it. */
#if defined(__SANITIZE_THREAD__)
#define X86_RAW static __attribute__((noinline, no_sanitize("thread")))
#else
#define X86_RAW X86_INLINE
#endif

#define X86_DEFINE_RAW(bits)                                               \
    X86_RAW uint##bits##_t x86_raw_ld##bits(uintptr_t p)                   \
    {                                                                      \
        typedef uint##bits##_t __attribute__((may_alias, aligned(1))) any; \
        return *(const volatile any *)p;                                   \
    }                                                                      \
    X86_RAW void x86_raw_st##bits(uintptr_t p, uint##bits##_t v)           \
    {                                                                      \
        typedef uint##bits##_t __attribute__((may_alias, aligned(1))) any; \
        *(volatile any *)p = v;                                            \
    }
X86_DEFINE_RAW(8)
X86_DEFINE_RAW(16)
X86_DEFINE_RAW(32)
X86_DEFINE_RAW(64)

X86_INLINE struct x86_tlb_entry *x86_tlb_slot(struct x86_cpu *cpu, uint64_t lin)
{
    return &cpu->tlb[lin >> 12 & (X86_TLB_SIZE - 1)];
}
/* The tag that an access of `size` bytes at lin must find: that of its last byte's page, so that a
 * page crossing never matches. */
X86_INLINE uint64_t x86_tlb_tag(const struct x86_cpu *cpu, uint64_t lin, unsigned size)
{
    return ((lin + (size - 1)) & ~X86_PAGE_MASK) | cpu->tlb_gen;
}

/* --- slow paths (mem.c). Value in cpu->tmp. size: 1, 2, 4, 8. --- */
/* A store into host memory inside one page, of 1..8 bytes; powers of two in one piece. */
void x86_raw_store(uint8_t *host, uint64_t value, unsigned size);
bool x86_ld_slow(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size);
bool x86_st_slow(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, uint64_t value,
                 unsigned size);
/* Load for a read-modify-write: faults are those of a write. */
bool x86_ldw_slow(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size);
/* The slow paths report a non-canonical address as #GP(0), or #SS(0) when the uop's segment is SS.
 * Stack accesses by other instructions (PUSH, CALL ...) turn their failure into #SS with this;
 * returns false. */
bool x86_stack_failed(struct x86_cpu *cpu);
/* Any number of bytes (1..4096) through a bounce buffer; all pages are checked before the first
 * byte moves (stores), devices in pieces of at most 8 bytes. False: leave. */
bool x86_read_bytes(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, void *buf, unsigned size);
bool x86_write_bytes(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, const void *buf,
                     unsigned size);
/* Is a write of size bytes allowed (page rights, present)? Sets the fault if not. Nothing is
 * written. */
bool x86_probe_write(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size);
bool x86_probe_read(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size);
/* Host pointer for an atomic read-modify-write of size bytes (up to 16) that stays in one page of
 * plain memory, after all checks, dirty and code-page bookkeeping. NULL with cpu->leave set: leave.
 * NULL with *special set: not plain memory in one page; the caller uses x86_ldw_slow and
 * x86_st_slow under ops->split_lock. */
void *x86_rmw_slow(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size,
                   bool *special);

/* System accesses with supervisor rights whatever CPL is (descriptor tables, TSS, stacks of inner
 * levels): X86_OK with the value in cpu->tmp. No uop needed. */
enum x86_result x86_sys_read(struct x86_cpu *cpu, uint64_t lin, unsigned size);
enum x86_result x86_sys_write(struct x86_cpu *cpu, uint64_t lin, uint64_t value, unsigned size);

#define X86_DEFINE_LDST(bits)                                                          \
    X86_INLINE bool x86_ld##bits(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, \
                                 uint##bits##_t *v)                                    \
    {                                                                                  \
        struct x86_tlb_entry *e = x86_tlb_slot(cpu, lin);                              \
        if (X86_LIKELY(e->rd == x86_tlb_tag(cpu, lin, bits / 8))) {                    \
            *v = x86_raw_ld##bits(e->addend + (uintptr_t)lin);                         \
            return true;                                                               \
        }                                                                              \
        if (!x86_ld_slow(cpu, u, lin, bits / 8))                                       \
            return false;                                                              \
        *v = (uint##bits##_t)cpu->tmp;                                                 \
        return true;                                                                   \
    }                                                                                  \
    X86_INLINE bool x86_st##bits(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, \
                                 uint##bits##_t v)                                     \
    {                                                                                  \
        struct x86_tlb_entry *e = x86_tlb_slot(cpu, lin);                              \
        if (X86_LIKELY(e->wr == x86_tlb_tag(cpu, lin, bits / 8))) {                    \
            x86_raw_st##bits(e->addend + (uintptr_t)lin, v);                           \
            return true;                                                               \
        }                                                                              \
        return x86_st_slow(cpu, u, lin, v, bits / 8);                                  \
    }
X86_DEFINE_LDST(8)
X86_DEFINE_LDST(16)
X86_DEFINE_LDST(32)
X86_DEFINE_LDST(64)

/* Host pointer when a read-modify-write can go to memory directly, else 0 (then use the slow
 * calls). */
X86_INLINE uintptr_t x86_rmw_fast(struct x86_cpu *cpu, uint64_t lin, unsigned size)
{
    struct x86_tlb_entry *e = x86_tlb_slot(cpu, lin);
    return X86_LIKELY(e->wr == x86_tlb_tag(cpu, lin, size)) ? e->addend + (uintptr_t)lin : 0;
}

/* --- effective address --- */

/* FORM_FLAT: 64-bit address size, no FS/GS. The result is the linear address. */
X86_INLINE uint64_t x86_ea_flat(const struct x86_cpu *cpu, const struct x86_uop *u)
{
    return cpu->r[u->base] + (cpu->r[u->index] << u->scale) + (uint64_t)(int64_t)u->disp;
}

/* Offset in the segment, truncated to the address size (LEA wants just this). */
X86_INLINE uint64_t x86_ea_offset(const struct x86_cpu *cpu, const struct x86_uop *u)
{
    static const uint64_t mask[4] = {UINT16_MAX, UINT32_MAX, UINT64_MAX, UINT64_MAX};
    uint64_t base = u->base == X86_RIPREL ? x86_next_rip(cpu, u) : cpu->r[u->base];
    uint64_t off = base + (cpu->r[u->index] << u->scale) + (uint64_t)(int64_t)u->disp;
    return off & mask[u->aux >> 2 & 3];
}

/* Segmentation: offset -> linear, for an access of size bytes. False: #GP or #SS recorded, leave.
 * In 64-bit mode only FS/GS bases are added; canonical checks happen on the TLB's slow path. */
bool x86_seg_check_slow(struct x86_cpu *cpu, unsigned seg, uint64_t off, unsigned size, bool write);

X86_INLINE bool x86_seg_lin(struct x86_cpu *cpu, unsigned seg, uint64_t off, unsigned size,
                            bool write, uint64_t *lin)
{
    const struct x86_seg *s = &cpu->seg[seg];
    if (cpu->mode & X86_MODE_64) {
        *lin = off + (seg >= X86_FS ? s->base : 0);
        return true;
    }
    if (X86_UNLIKELY(!(write ? s->wr_fast : s->rd_fast) || off > s->limit ||
                     size - 1 > s->limit - off)) {
        if (!x86_seg_check_slow(cpu, seg, off, size, write))
            return false;
    }
    *lin = (uint32_t)(s->base + off);
    return true;
}

/* FORM_SEG: linear address of the uop's memory operand. */
X86_INLINE bool x86_ea_seg(struct x86_cpu *cpu, const struct x86_uop *u, unsigned size, bool write,
                           uint64_t *lin)
{
    return x86_seg_lin(cpu, u->seg, x86_ea_offset(cpu, u), size, write, lin);
}

/* --- registers of an operand --- */
X86_INLINE uint8_t *x86_r8(struct x86_cpu *cpu, unsigned byte_offset)
{
    return (uint8_t *)cpu->r + byte_offset; /* little-endian hosts */
}

/* --- stack (SS:rSP), stack.c --- size 2, 4, 8. Pop: value in cpu->tmp, rSP not yet moved when it
 * fails. */
bool x86_push(struct x86_cpu *cpu, struct x86_uop *u, uint64_t value, unsigned size);
bool x86_pop(struct x86_cpu *cpu, struct x86_uop *u, unsigned size);
X86_INLINE uint64_t x86_sp_mask(const struct x86_cpu *cpu)
{
    return cpu->mode & X86_MODE_64     ? UINT64_MAX
           : cpu->mode & X86_MODE_SS32 ? UINT32_MAX
                                       : UINT16_MAX;
}

/* --- generic operand access for handlers that are not worth a form each --- (operand.c)
 * E operand by the uop (register or memory, operand size from aux). rmw: the load of a
 * read-modify-write. read: value in cpu->tmp. 32-bit register writes clear the upper half. */
bool x86_read_E(struct x86_cpu *cpu, struct x86_uop *u, unsigned size_bytes);
bool x86_read_E_rmw(struct x86_cpu *cpu, struct x86_uop *u, unsigned size_bytes);
bool x86_write_E(struct x86_cpu *cpu, struct x86_uop *u, uint64_t value, unsigned size_bytes);
uint64_t x86_read_gpr(struct x86_cpu *cpu, unsigned reg,
                      unsigned size_bytes); /* 8-bit: byte offset */
void x86_write_gpr(struct x86_cpu *cpu, unsigned reg, uint64_t value, unsigned size_bytes);

/* --- TLB management (tlb.c) --- */
void x86_tlb_flush(struct x86_cpu *cpu);                    /* everything */
void x86_tlb_flush_page(struct x86_cpu *cpu, uint64_t lin); /* INVLPG */
void x86_tlb_flush_nonglobal(struct x86_cpu *cpu);
void x86_tlb_drop_write(struct x86_cpu *cpu,
                        uintptr_t host_page);  /* write tags that lead to this host page */
void x86_tlb_select_bank(struct x86_cpu *cpu); /* after CPL, AC or CR4.SMAP changes */

/* --- translation (paging.c) --- */
struct x86_translation {
    uint64_t gpa;
    uint32_t error;    /* page-fault error code when X86_EXC */
    uint8_t page_bits; /* 12, 21, 22, 30; size of the mapping */
    bool writable, user, exec, dirty, global;
};
/* Walk the tables for one access. set_ad: set accessed and dirty bits as the access would. user:
 * rights of CPL 3; otherwise those of a supervisor to whom SMAP does not apply (a host program that
 * looks at memory). Does not touch cpu->exc; X86_EXC with out->error says why (non-canonical: error
 * = UINT32_MAX); X86_EXIT: refused by tables that lie outside memory. */
enum x86_result x86_translate(struct x86_cpu *cpu, uint64_t lin, unsigned acc /* enum x86_access */,
                              bool user, bool set_ad, struct x86_translation *out);

/* Instruction fetch at lin: *host points to its byte (valid to the end of the page), *gpa is its
 * address. Checks execute rights, sets the accessed bit, fills the exec tag. X86_EXC: fault
 * recorded. Code outside memory: X86_OK with *host = NULL. */
enum x86_result x86_fetch_page(struct x86_cpu *cpu, uint64_t lin, const uint8_t **host,
                               uint64_t *gpa);

#endif
