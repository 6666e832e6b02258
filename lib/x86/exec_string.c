/*
 * String instructions: MOVS, STOS, LODS, CMPS, SCAS with and without repeat prefix (SDM Vol.2 REP).
 *
 * Registers are exact after every element, so a fault, an interrupt or a device that wants the host
 * simply restarts the instruction. Forward MOVS and STOS move whole runs inside plain pages at
 * once.
 */
#include "x86/flags.h"
#include "x86/handlers.h"
#include "x86/mem.h"
#include "x86/ops.h"

#define REPEATED (X86_AUX_REP | X86_AUX_REPNE)

static inline uint64_t address_mask(const struct x86_uop *u)
{
    static const uint64_t mask[4] = {UINT16_MAX, UINT32_MAX, UINT64_MAX, UINT64_MAX};
    return mask[u->aux >> 2 & 3];
}

/* rSI, rDI or rCX at the address size: 16-bit keeps the rest of the register, 32-bit clears the
 * upper half. */
static inline void put_index(struct x86_cpu *cpu, unsigned reg, uint64_t v, uint64_t mask)
{
    cpu->r[reg] = mask == UINT16_MAX ? (cpu->r[reg] & ~mask) | (v & mask) : v & mask;
}

static inline void advance(struct x86_cpu *cpu, unsigned reg, int64_t by, uint64_t mask)
{
    put_index(cpu, reg, cpu->r[reg] + (uint64_t)by, mask);
}

static inline int64_t stride(const struct x86_cpu *cpu, unsigned size)
{
    return cpu->eflags & X86_FL_DF ? -(int64_t)size : (int64_t)size;
}

static inline bool load(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size,
                        uint64_t *v)
{
    uint8_t b = 0;
    uint16_t w = 0;
    uint32_t d = 0;
    bool ok;
    switch (size) {
    case 1:
        ok = x86_ld8(cpu, u, lin, &b);
        *v = b;
        return ok;
    case 2:
        ok = x86_ld16(cpu, u, lin, &w);
        *v = w;
        return ok;
    case 4:
        ok = x86_ld32(cpu, u, lin, &d);
        *v = d;
        return ok;
    default:
        return x86_ld64(cpu, u, lin, v);
    }
}

static inline bool store(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size,
                         uint64_t v)
{
    switch (size) {
    case 1:
        return x86_st8(cpu, u, lin, (uint8_t)v);
    case 2:
        return x86_st16(cpu, u, lin, (uint16_t)v);
    case 4:
        return x86_st32(cpu, u, lin, (uint32_t)v);
    default:
        return x86_st64(cpu, u, lin, v);
    }
}

/* Linear address of the element at DS:rSI (or the override) or at ES:rDI. */
static inline bool source(struct x86_cpu *cpu, const struct x86_uop *u, unsigned size,
                          uint64_t *lin)
{
    return x86_seg_lin(cpu, u->seg, cpu->r[X86_RSI] & address_mask(u), size, false, lin);
}

static inline bool target(struct x86_cpu *cpu, const struct x86_uop *u, unsigned size, bool write,
                          uint64_t *lin)
{
    return x86_seg_lin(cpu, X86_ES, cpu->r[X86_RDI] & address_mask(u), size, write, lin);
}

/* --- one element each; false: leave, nothing has changed --- */

typedef bool element(struct x86_cpu *cpu, struct x86_uop *u, unsigned size);

static bool movs_one(struct x86_cpu *cpu, struct x86_uop *u, unsigned size)
{
    uint64_t from, to, v, mask = address_mask(u);
    if (!source(cpu, u, size, &from) || !target(cpu, u, size, true, &to) ||
        !load(cpu, u, from, size, &v) || !store(cpu, u, to, size, v))
        return false;
    advance(cpu, X86_RSI, stride(cpu, size), mask);
    advance(cpu, X86_RDI, stride(cpu, size), mask);
    return true;
}

static bool stos_one(struct x86_cpu *cpu, struct x86_uop *u, unsigned size)
{
    uint64_t to;
    if (!target(cpu, u, size, true, &to) || !store(cpu, u, to, size, cpu->r[X86_RAX]))
        return false;
    advance(cpu, X86_RDI, stride(cpu, size), address_mask(u));
    return true;
}

static bool lods_one(struct x86_cpu *cpu, struct x86_uop *u, unsigned size)
{
    uint64_t from, v;
    if (!source(cpu, u, size, &from) || !load(cpu, u, from, size, &v))
        return false;
    x86_write_gpr(cpu, X86_RAX, v, size); /* AL is byte offset 0 */
    advance(cpu, X86_RSI, stride(cpu, size), address_mask(u));
    return true;
}

/* Flags of a subtraction. */
static void compare(struct x86_cpu *cpu, uint64_t a, uint64_t b, unsigned size)
{
    unsigned bits = 8 * size;
    uint64_t mask = UINT64_MAX >> (64 - bits), r = (a - b) & mask, borrow = a ^ b ^ r;
    uint32_t fl = (a < b ? X86_FL_CF : 0) | (r ? 0 : X86_FL_ZF) |
                  (r >> (bits - 1) ? X86_FL_SF : 0) | (borrow & X86_FL_AF) |
                  (((a ^ b) & (a ^ r)) >> (bits - 1) & 1 ? X86_FL_OF : 0) |
                  (__builtin_parity((unsigned)r & 0xff) ? 0 : X86_FL_PF);
    cpu->cc = x86_flags_to_cc(fl);
}

static bool cmps_one(struct x86_cpu *cpu, struct x86_uop *u, unsigned size)
{
    uint64_t left, right, a, b, mask = address_mask(u);
    if (!source(cpu, u, size, &left) || !target(cpu, u, size, false, &right) ||
        !load(cpu, u, left, size, &a) || !load(cpu, u, right, size, &b))
        return false;
    compare(cpu, a, b, size);
    advance(cpu, X86_RSI, stride(cpu, size), mask);
    advance(cpu, X86_RDI, stride(cpu, size), mask);
    return true;
}

static bool scas_one(struct x86_cpu *cpu, struct x86_uop *u, unsigned size)
{
    uint64_t right, b;
    if (!target(cpu, u, size, false, &right) || !load(cpu, u, right, size, &b))
        return false;
    compare(cpu, cpu->r[X86_RAX] & (UINT64_MAX >> (64 - 8 * size)), b, size);
    advance(cpu, X86_RDI, stride(cpu, size), address_mask(u));
    return true;
}

/* --- runs inside plain pages --- */

X86_RAW void raw_copy(uintptr_t to, uintptr_t from, size_t n)
{
#if defined(__SANITIZE_THREAD__)
    for (size_t i = 0; i < n; i++)
        x86_raw_st8(to + i, x86_raw_ld8(from + i));
#else
    memmove((void *)to, (const void *)from, n);
#endif
}

/* n bytes of a pattern of 8 bytes, which repeats an element. */
X86_RAW void raw_fill(uintptr_t to, uint64_t pattern, size_t n)
{
    size_t i = 0;
#if !defined(__SANITIZE_THREAD__)
    const uint64_t line[8] = {pattern, pattern, pattern, pattern,
                              pattern, pattern, pattern, pattern};
    for (; i + sizeof(line) <= n; i += sizeof(line))
        memcpy((void *)(to + i), line, sizeof(line)); /* becomes vector stores */
#endif
    for (; i + 8 <= n; i += 8)
        x86_raw_st64(to + i, pattern);
    for (; i < n; i++)
        x86_raw_st8(to + i, (uint8_t)(pattern >> (8 * (i & 7))));
}

/* Bytes from offset off that stay in one page, in the address size, in the segment's limit; 0: go
 * element by element. */
static inline size_t room(const struct x86_cpu *cpu, unsigned seg, uint64_t off, uint64_t mask,
                          bool write, uint64_t *lin)
{
    const struct x86_seg *s = &cpu->seg[seg];
    bool long64 = cpu->mode & X86_MODE_64;
    *lin = (off + (!long64 || seg >= X86_FS ? s->base : 0)) & cpu->lin_mask;
    size_t n = 0x1000 - (size_t)(*lin & X86_PAGE_MASK);
    if (mask - off < n - 1)
        n = (size_t)(mask - off) + 1;
    if (long64)
        return n;
    if (!(write ? s->wr_fast : s->rd_fast) || off > s->limit)
        return 0;
    return s->limit - off < n - 1 ? (size_t)(s->limit - off) + 1 : n;
}

static inline uintptr_t plain(struct x86_cpu *cpu, uint64_t lin, bool write)
{
    const struct x86_tlb_entry *e = x86_tlb_slot(cpu, lin);
    return (write ? e->wr : e->rd) == x86_tlb_tag(cpu, lin, 1) ? e->addend + (uintptr_t)lin : 0;
}

typedef uint64_t bulk(struct x86_cpu *cpu, struct x86_uop *u, unsigned size, uint64_t count);

/* Elements moved at once, 0 when the next one must go alone. */
static uint64_t movs_bulk(struct x86_cpu *cpu, struct x86_uop *u, unsigned size, uint64_t count)
{
    uint64_t mask = address_mask(u), from, to;
    size_t n = room(cpu, u->seg, cpu->r[X86_RSI] & mask, mask, false, &from);
    size_t m = room(cpu, X86_ES, cpu->r[X86_RDI] & mask, mask, true, &to);
    uintptr_t src = plain(cpu, from, false), dst = plain(cpu, to, true);
    if (!src || !dst)
        return 0;
    if (m < n)
        n = m;
    if (dst > src && dst - src < n)
        n = dst - src; /* later elements read what earlier ones wrote */
    uint64_t elements = n / size < count ? n / size : count;
    if (!elements) /* not even the unused half of an address register may change before one succeeds
                    */
        return 0;
    raw_copy(dst, src, elements * size);
    advance(cpu, X86_RSI, (int64_t)(elements * size), mask);
    advance(cpu, X86_RDI, (int64_t)(elements * size), mask);
    return elements;
}

static uint64_t stos_bulk(struct x86_cpu *cpu, struct x86_uop *u, unsigned size, uint64_t count)
{
    uint64_t mask = address_mask(u), to, v = cpu->r[X86_RAX];
    size_t n = room(cpu, X86_ES, cpu->r[X86_RDI] & mask, mask, true, &to);
    uintptr_t dst = plain(cpu, to, true);
    if (!dst)
        return 0;
    uint64_t elements = n / size < count ? n / size : count;
    if (!elements)
        return 0;
    /* Repeat the element over 8 bytes, so that all sizes are one loop. */
    if (size < 8)
        v = (v & (UINT64_MAX >> (64 - 8 * size))) * (UINT64_MAX / (UINT64_MAX >> (64 - 8 * size)));
    raw_fill(dst, v, elements * size);
    advance(cpu, X86_RDI, (int64_t)(elements * size), mask);
    return elements;
}

/* --- repetition --- */

static inline bool disturbed(const struct x86_cpu *cpu)
{
    return __atomic_load_n(&cpu->poll, __ATOMIC_RELAXED) || cpu->resync;
}

static inline void count_down(struct x86_cpu *cpu, uint64_t by, uint64_t mask)
{
    advance(cpu, X86_RCX, -(int64_t)by, mask);
}

/* MOVS, STOS, LODS: until rCX is 0. */
X86_INLINE struct x86_uop *repeat(struct x86_cpu *cpu, struct x86_uop *u, unsigned size,
                                  element *one, bulk *many)
{
    if (!(u->aux & REPEATED)) {
        if (!one(cpu, u, size))
            return x86_leave(cpu, u);
        X86_NEXT_IO(cpu, u);
    }
    uint64_t mask = address_mask(u);
    for (;;) {
        uint64_t count = cpu->r[X86_RCX] & mask, done = 0;
        if (!count)
            break;
        if (many && count > 1 && !(cpu->eflags & X86_FL_DF) && !cpu->resync)
            done = many(cpu, u, size, count);
        if (!done) {
            if (!one(cpu, u, size))
                return x86_leave(cpu, u);
            done = 1;
        }
        count_down(cpu, done, mask);
        x86_worked(cpu, done);
        if (disturbed(cpu) && done < count)
            return x86_op_dead(cpu, u); /* come back to this instruction */
    }
    X86_NEXT_IO(cpu, u);
}

/* CMPS, SCAS: until rCX is 0 or ZF differs from what the prefix asks for. */
X86_INLINE struct x86_uop *repeat_while(struct x86_cpu *cpu, struct x86_uop *u, unsigned size,
                                        element *one)
{
    if (!(u->aux & REPEATED)) {
        if (!one(cpu, u, size))
            return x86_leave(cpu, u);
        X86_NEXT_IO(cpu, u);
    }
    uint64_t mask = address_mask(u);
    bool want_zf = u->aux & X86_AUX_REP;
    for (unsigned n = 0; cpu->r[X86_RCX] & mask; n++) {
        if (!one(cpu, u, size))
            return x86_leave(cpu, u);
        count_down(cpu, 1, mask);
        x86_worked(cpu, 1);
        if (!(cpu->cc & X86_CC_ZF) == want_zf)
            break;
        if (disturbed(cpu) && cpu->r[X86_RCX] & mask)
            return x86_op_dead(cpu, u);
    }
    X86_NEXT_IO(cpu, u);
}

/* One handler per element size, so that the size is a constant inside. */
#define DEFINE(name, size, ...)                                                      \
    static struct x86_uop *exec_##name##size(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                                \
        return __VA_ARGS__;                                                          \
    }
#define TABLE(name)                                                                       \
    extern x86_handler *const x86_t_##name[4];                                            \
    x86_handler *const x86_t_##name[4] = {exec_##name##1, exec_##name##2, exec_##name##4, \
                                          exec_##name##8};
#define REPEAT(name, many)                               \
    DEFINE(name, 1, repeat(cpu, u, 1, name##_one, many)) \
    DEFINE(name, 2, repeat(cpu, u, 2, name##_one, many)) \
    DEFINE(name, 4, repeat(cpu, u, 4, name##_one, many)) \
    DEFINE(name, 8, repeat(cpu, u, 8, name##_one, many)) \
    TABLE(name)
#define REPEAT_WHILE(name)                               \
    DEFINE(name, 1, repeat_while(cpu, u, 1, name##_one)) \
    DEFINE(name, 2, repeat_while(cpu, u, 2, name##_one)) \
    DEFINE(name, 4, repeat_while(cpu, u, 4, name##_one)) \
    DEFINE(name, 8, repeat_while(cpu, u, 8, name##_one)) \
    TABLE(name)

REPEAT(movs, movs_bulk)
REPEAT(stos, stos_bulk)
REPEAT(lods, NULL)
REPEAT_WHILE(cmps)
REPEAT_WHILE(scas)
