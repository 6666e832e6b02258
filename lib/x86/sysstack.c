/*
 * Stacks as the system operations use them: of the current level, or of another one whose SS is not
 * loaded yet. A frame is checked as a whole, in the order of the pushes, before its first byte is
 * written.
 */
#include "x86/sysint.h"

void x86_stk_current(const struct x86_cpu *cpu, struct x86_stk *s)
{
    const struct x86_seg *ss = &cpu->seg[X86_SS];
    bool long64 = x86_in_long64(cpu);
    *s = (struct x86_stk){.base = long64 ? 0 : ss->base,
                          .sp = cpu->r[X86_RSP],
                          .mask = x86_sp_mask(cpu),
                          .limit = ss->limit,
                          .ar = ss->ar,
                          .check = !long64};
}

void x86_stk_desc(const struct x86_cpu *cpu, struct x86_stk *s, const struct x86_desc *d,
                  uint16_t sel, uint64_t sp, unsigned cpl)
{
    *s = (struct x86_stk){.base = d->base,
                          .sp = sp,
                          .mask = d->ar & X86_AR_DB ? UINT32_MAX : UINT16_MAX,
                          .limit = d->limit,
                          .ar = d->ar,
                          .err = sel & 0xfffcu,
                          .check = true,
                          .inner = cpu->cpl == 3 && cpl < 3};
}

void x86_stk_flat(const struct x86_cpu *cpu, struct x86_stk *s, uint64_t sp, unsigned cpl)
{
    *s = (struct x86_stk){.sp = sp, .mask = ~UINT64_C(0), .inner = cpu->cpl == 3 && cpl < 3};
}

/* Offset inside the segment's limit? SDM Vol.3A 5.3 */
static bool in_limit(const struct x86_stk *s, uint64_t off, unsigned size)
{
    if (s->ar & X86_AR_UNUSABLE)
        return false;
    if (s->ar & X86_AR_EC && !(s->ar & X86_AR_CODE)) { /* expand-down */
        uint64_t top = s->ar & X86_AR_DB ? UINT32_MAX : UINT16_MAX;
        return off > s->limit && off + size - 1 <= top;
    }
    return off + size - 1 <= s->limit;
}

static enum x86_result linear(struct x86_cpu *cpu, const struct x86_stk *s, uint64_t sp,
                              unsigned size, uint64_t *lin)
{
    uint64_t off = sp & s->mask;
    if (s->check) {
        if (X86_UNLIKELY(!in_limit(s, off, size)))
            return x86_fault_err(cpu, X86_STK, s->err);
        *lin = (uint32_t)(s->base + off);
    } else {
        if (X86_UNLIKELY(!x86_canonical(off) || !x86_canonical(off + size - 1)))
            return x86_fault_err(cpu, X86_STK, s->err);
        *lin = off;
    }
    return X86_OK;
}

/* The slow paths keep cpu->cur: the instruction in progress, or NULL between two. */
static __attribute__((noinline)) enum x86_result
slow_probe(struct x86_cpu *cpu, const struct x86_stk *s, uint64_t lin, unsigned size)
{
    if (!s->inner) {
        bool ok = x86_probe_write(cpu, cpu->cur, lin, size) || x86_stack_failed(cpu);
        return ok ? X86_OK : x86_why(cpu);
    }
    const struct x86_who who = x86_who_system(cpu);
    for (unsigned i = 0; i < size; i += size - 1) { /* first and last byte: both pages */
        struct x86_spot spot;
        enum x86_result r = x86_locate(cpu, (lin + i) & who.mask, X86_ACC_WRITE, &who, &spot);
        if (r != X86_OK)
            return r;
    }
    return X86_OK;
}

static __attribute__((noinline)) enum x86_result
slow_store(struct x86_cpu *cpu, const struct x86_stk *s, uint64_t lin, uint64_t v, unsigned size)
{
    if (s->inner)
        return x86_sys_write(cpu, lin, v, size);
    bool ok = x86_st_slow(cpu, cpu->cur, lin, v, size) || x86_stack_failed(cpu);
    return ok ? X86_OK : x86_why(cpu);
}

static __attribute__((noinline)) enum x86_result
slow_load(struct x86_cpu *cpu, const struct x86_stk *s, uint64_t lin, unsigned size)
{
    if (s->inner)
        return x86_sys_read(cpu, lin, size);
    bool ok = x86_ld_slow(cpu, cpu->cur, lin, size) || x86_stack_failed(cpu);
    return ok ? X86_OK : x86_why(cpu);
}

static void raw_store(uintptr_t p, uint64_t v, unsigned size)
{
    if (size == 8)
        x86_raw_st64(p, v);
    else if (size == 4)
        x86_raw_st32(p, (uint32_t)v);
    else
        x86_raw_st16(p, (uint16_t)v);
}

static uint64_t raw_load(uintptr_t p, unsigned size)
{
    return size == 8 ? x86_raw_ld64(p) : size == 4 ? x86_raw_ld32(p) : x86_raw_ld16(p);
}

static struct x86_tlb_entry *slot(struct x86_cpu *cpu, const struct x86_stk *s, uint64_t lin)
{
    return s->inner ? x86_sys_slot(cpu, lin) : x86_tlb_slot(cpu, lin);
}

/* 64-bit frame inside one page that the TLB holds: the usual case of interrupts. */
static bool push_fast(struct x86_cpu *cpu, struct x86_stk *s, const uint64_t *v, unsigned n)
{
    uint64_t low = s->sp - 8 * n;
    if (s->check || (low ^ (s->sp - 1)) & ~X86_PAGE_MASK)
        return false;
    struct x86_tlb_entry *e = slot(cpu, s, low);
    if (e->wr != ((low & ~X86_PAGE_MASK) | cpu->tlb_gen))
        return false;
    uintptr_t p = e->addend + (uintptr_t)s->sp;
    for (unsigned i = 0; i < n; i++)
        x86_raw_st64(p -= 8, v[i]);
    s->sp = low;
    return true;
}

enum x86_result x86_stk_push(struct x86_cpu *cpu, struct x86_stk *s, const uint64_t *v, unsigned n,
                             unsigned size)
{
    uint64_t lin, sp = s->sp;
    enum x86_result r;

    if (X86_LIKELY(size == 8) && X86_LIKELY(push_fast(cpu, s, v, n)))
        return X86_OK;
    for (unsigned i = 0; i < n; i++) {
        sp -= size;
        r = linear(cpu, s, sp, size, &lin);
        if (r == X86_OK && slot(cpu, s, lin)->wr != x86_tlb_tag(cpu, lin, size))
            r = slow_probe(cpu, s, lin, size);
        if (r != X86_OK)
            return r;
    }
    for (unsigned i = 0; i < n; i++) {
        x86_stk_move(s, 0 - (uint64_t)size);
        r = linear(cpu, s, s->sp, size, &lin);
        struct x86_tlb_entry *e = slot(cpu, s, lin);
        if (r == X86_OK && e->wr == x86_tlb_tag(cpu, lin, size))
            raw_store(e->addend + (uintptr_t)lin, v[i], size);
        else if (r == X86_OK)
            r = slow_store(cpu, s, lin, v[i], size);
        if (r != X86_OK)
            return r;
    }
    return X86_OK;
}

bool x86_stk_peek_fast(struct x86_cpu *cpu, const struct x86_stk *s, uint64_t *v, unsigned n)
{
    if (s->check || (s->sp ^ (s->sp + 8 * n - 1)) & ~X86_PAGE_MASK)
        return false;
    struct x86_tlb_entry *e = slot(cpu, s, s->sp);
    if (e->rd != ((s->sp & ~X86_PAGE_MASK) | cpu->tlb_gen))
        return false;
    uintptr_t p = e->addend + (uintptr_t)s->sp;
    for (unsigned i = 0; i < n; i++)
        v[i] = x86_raw_ld64(p + 8 * i);
    return true;
}

enum x86_result x86_stk_peek(struct x86_cpu *cpu, struct x86_stk *s, uint64_t *v, unsigned n,
                             unsigned size)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t lin;
        enum x86_result r = linear(cpu, s, s->sp + (uint64_t)i * size, size, &lin);
        if (r != X86_OK)
            return r;
        struct x86_tlb_entry *e = slot(cpu, s, lin);
        if (X86_LIKELY(e->rd == x86_tlb_tag(cpu, lin, size))) {
            v[i] = raw_load(e->addend + (uintptr_t)lin, size);
            continue;
        }
        r = slow_load(cpu, s, lin, size);
        if (r != X86_OK)
            return r;
        v[i] = cpu->tmp & (size == 8 ? ~UINT64_C(0) : (UINT64_C(1) << 8 * size) - 1);
    }
    return X86_OK;
}
