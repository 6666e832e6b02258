/*
 * Templates: one handler per instruction form, from the operation alone.
 *
 * Every form is straight code for its fast case and hands all else over, as a jump, to a cold twin
 * that starts the instruction again by the slow paths. The fast functions therefore call nothing
 * and need no stack frame.
 *
 *   X86_LOADS(id, bits, FIN)        E in memory is read:      FIN(cpu, u, value)
 *   X86_STORES(id, bits, VALUE)     E in memory is written:   VALUE(cpu, u)
 *   X86_RMWS(id, bits, CALC, DONE)  E in memory is changed:   new = CALC(cpu, u, old, &cc),
 * DONE(cpu, u, old) X86_READS_REG, X86_RMW_REG      the same operations on a register E
 *
 * Each X86_...S defines id_flat, id_base and id_seg (insn.h: FORM_FLAT, FORM_BASE, FORM_SEG), the
 * _REG ones id_reg. Instructions that are not worth so much code use the ..._LEAN ones, which
 * define id_flat alone, and X86_TABLE_LEAN.
 */
#ifndef X86_FORMS_H
#define X86_FORMS_H

#include "x86/flags.h"
#include "x86/mem.h"
#include "x86/ops.h"

#define X86_COLD   static __attribute__((noinline, cold))
#define X86_UNUSED __attribute__((unused))

/* --- registers by operand width; 8-bit registers are named by byte offset --- */
#define X86_GET8(cpu, n)     (*x86_r8(cpu, n))
#define X86_GET16(cpu, n)    ((uint16_t)(cpu)->r[n])
#define X86_GET32(cpu, n)    ((uint32_t)(cpu)->r[n])
#define X86_GET64(cpu, n)    ((cpu)->r[n])
#define X86_PUT8(cpu, n, v)  ((void)(*x86_r8(cpu, n) = (uint8_t)(v)))
#define X86_PUT16(cpu, n, v) ((void)(*(uint16_t *)&(cpu)->r[n] = (uint16_t)(v)))
#define X86_PUT32(cpu, n, v) ((void)((cpu)->r[n] = (uint32_t)(v)))
#define X86_PUT64(cpu, n, v) ((void)((cpu)->r[n] = (v)))

/* --- addresses without a call; false: take the cold twin --- */
X86_INLINE bool x86_fast_flat(const struct x86_cpu *cpu, const struct x86_uop *u, unsigned size,
                              bool write, uint64_t *lin)
{
    (void)size;
    (void)write;
    *lin = x86_ea_flat(cpu, u);
    return true;
}
X86_INLINE bool x86_fast_base(const struct x86_cpu *cpu, const struct x86_uop *u, unsigned size,
                              bool write, uint64_t *lin)
{
    (void)size;
    (void)write;
    *lin = cpu->r[u->base] + (uint64_t)(int64_t)u->disp;
    return true;
}
X86_INLINE bool x86_fast_lin(const struct x86_cpu *cpu, unsigned seg, uint64_t off, unsigned size,
                             bool write, uint64_t *lin)
{
    const struct x86_seg *s = &cpu->seg[seg];
    if (cpu->mode & X86_MODE_64) {
        *lin = off + (seg >= X86_FS ? s->base : 0);
        return true;
    }
    *lin = (uint32_t)(s->base + off);
    return X86_LIKELY((write ? s->wr_fast : s->rd_fast) && off <= s->limit &&
                      size - 1 <= s->limit - off);
}
X86_INLINE bool x86_fast_seg(const struct x86_cpu *cpu, const struct x86_uop *u, unsigned size,
                             bool write, uint64_t *lin)
{
    return x86_fast_lin(cpu, u->seg, x86_ea_offset(cpu, u), size, write, lin);
}
/* Host address of a load, 0: take the cold twin. */
X86_INLINE uintptr_t x86_rd_fast(struct x86_cpu *cpu, uint64_t lin, unsigned size)
{
    struct x86_tlb_entry *e = x86_tlb_slot(cpu, lin);
    return X86_LIKELY(e->rd == x86_tlb_tag(cpu, lin, size)) ? e->addend + (uintptr_t)lin : 0;
}
/* The same as a condition, which costs no comparison with 0. */
X86_INLINE bool x86_rd_hit(struct x86_cpu *cpu, uint64_t lin, unsigned size, uintptr_t *p)
{
    struct x86_tlb_entry *e = x86_tlb_slot(cpu, lin);
    *p = e->addend + (uintptr_t)lin;
    return X86_LIKELY(e->rd == x86_tlb_tag(cpu, lin, size));
}
X86_INLINE bool x86_wr_hit(struct x86_cpu *cpu, uint64_t lin, unsigned size, uintptr_t *p)
{
    struct x86_tlb_entry *e = x86_tlb_slot(cpu, lin);
    *p = e->addend + (uintptr_t)lin;
    return X86_LIKELY(e->wr == x86_tlb_tag(cpu, lin, size));
}

#define X86_LOAD_FORM(id, form, bits, FIN)                                     \
    static struct x86_uop *id##_##form(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                          \
        uint64_t lin;                                                          \
        uintptr_t p;                                                           \
        if (!x86_fast_##form(cpu, u, bits / 8, false, &lin) ||                 \
            !x86_rd_hit(cpu, lin, bits / 8, &p))                               \
            return id##_cold(cpu, u);                                          \
        FIN(cpu, u, x86_raw_ld##bits(p));                                      \
        X86_NEXT(cpu, u);                                                      \
    }
#define X86_LOADS_LEAN(id, bits, FIN)                                          \
    X86_COLD struct x86_uop *id##_cold(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                          \
        if (!x86_read_E(cpu, u, bits / 8))                                     \
            return x86_leave(cpu, u);                                          \
        FIN(cpu, u, (uint##bits##_t)cpu->tmp);                                 \
        return x86_next_io(cpu, u);                                            \
    }                                                                          \
    X86_LOAD_FORM(id, flat, bits, FIN)
#define X86_LOADS(id, bits, FIN)       \
    X86_LOADS_LEAN(id, bits, FIN)      \
    X86_LOAD_FORM(id, base, bits, FIN) \
    X86_LOAD_FORM(id, seg, bits, FIN)

#define X86_READS_REG(id, bits, FIN)                                        \
    static struct x86_uop *id##_reg(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                       \
        FIN(cpu, u, X86_GET##bits(cpu, u->rm));                             \
        X86_NEXT(cpu, u);                                                   \
    }

#define X86_STORE_FORM(id, form, bits, VALUE)                                                      \
    static struct x86_uop *id##_##form(struct x86_cpu *cpu, struct x86_uop *u)                     \
    {                                                                                              \
        uint64_t lin;                                                                              \
        uintptr_t p;                                                                               \
        if (!x86_fast_##form(cpu, u, bits / 8, true, &lin) || !x86_wr_hit(cpu, lin, bits / 8, &p)) \
            return id##_cold(cpu, u);                                                              \
        x86_raw_st##bits(p, VALUE(cpu, u));                                                        \
        X86_NEXT(cpu, u);                                                                          \
    }
#define X86_STORES_LEAN(id, bits, VALUE)                                       \
    X86_COLD struct x86_uop *id##_cold(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                          \
        if (!x86_write_E(cpu, u, VALUE(cpu, u), bits / 8))                     \
            return x86_leave(cpu, u);                                          \
        return x86_next_io(cpu, u);                                            \
    }                                                                          \
    X86_STORE_FORM(id, flat, bits, VALUE)
#define X86_STORES(id, bits, VALUE)       \
    X86_STORES_LEAN(id, bits, VALUE)      \
    X86_STORE_FORM(id, base, bits, VALUE) \
    X86_STORE_FORM(id, seg, bits, VALUE)

/* --- read-modify-write --- (operand.c)
 * The whole operation by the slow paths, atomically where `lock` says so or the LOCK prefix is
 * there. Sets cpu->cc; *old is what memory held. False: leave. */
typedef uint64_t x86_rmw_step(struct x86_cpu *cpu, struct x86_uop *u, uint64_t old, x86_cc *cc);
bool x86_rmw_cold(struct x86_cpu *cpu, struct x86_uop *u, unsigned size, bool lock,
                  x86_rmw_step *step, uint64_t *old);
/* The same at a linear address that has been checked against its segment. */
bool x86_rmw_cold_at(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size, bool lock,
                     x86_rmw_step *step, uint64_t *old);

#define X86_DONE_NOTHING(cpu, u, old) ((void)(old))

#define X86_RMW_FORM(id, form, bits, CALC, DONE)                                                   \
    static struct x86_uop *id##_##form(struct x86_cpu *cpu, struct x86_uop *u)                     \
    {                                                                                              \
        uint64_t lin;                                                                              \
        uintptr_t p;                                                                               \
        x86_cc cc = cpu->cc;                                                                       \
        if (X86_UNLIKELY(u->aux & X86_AUX_LOCK) ||                                                 \
            !x86_fast_##form(cpu, u, bits / 8, true, &lin) || !x86_wr_hit(cpu, lin, bits / 8, &p)) \
            return id##_cold(cpu, u);                                                              \
        uint##bits##_t old = x86_raw_ld##bits(p);                                                  \
        uint##bits##_t new = CALC(cpu, u, old, &cc);                                               \
        cpu->cc = cc;                                                                              \
        x86_raw_st##bits(p, new);                                                                  \
        DONE(cpu, u, old);                                                                         \
        X86_NEXT(cpu, u);                                                                          \
    }
#define X86_RMW_COLD(id, bits, CALC, DONE, lock)                                                  \
    X86_COLD uint64_t id##_step(struct x86_cpu *cpu, struct x86_uop *u, uint64_t old, x86_cc *cc) \
    {                                                                                             \
        return CALC(cpu, u, (uint##bits##_t)old, cc);                                             \
    }                                                                                             \
    X86_COLD struct x86_uop *id##_cold(struct x86_cpu *cpu, struct x86_uop *u)                    \
    {                                                                                             \
        if (!x86_rmw_cold(cpu, u, bits / 8, lock, id##_step, &cpu->rmw_old))                      \
            return x86_leave(cpu, u);                                                             \
        DONE(cpu, u, (uint##bits##_t)cpu->rmw_old);                                               \
        return x86_next_io(cpu, u);                                                               \
    }
#define X86_RMWS_LEAN(id, bits, CALC, DONE)   \
    X86_RMW_COLD(id, bits, CALC, DONE, false) \
    X86_RMW_FORM(id, flat, bits, CALC, DONE)
#define X86_RMWS(id, bits, CALC, DONE)       \
    X86_RMWS_LEAN(id, bits, CALC, DONE)      \
    X86_RMW_FORM(id, base, bits, CALC, DONE) \
    X86_RMW_FORM(id, seg, bits, CALC, DONE)

/* DONE comes first: it may look at registers that the result replaces (CMPXCHG), and the result
 * wins where both name one register (XADD). */
#define X86_RMW_REG(id, bits, CALC, DONE)                                   \
    static struct x86_uop *id##_reg(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                       \
        x86_cc cc = cpu->cc;                                                \
        uint##bits##_t old = X86_GET##bits(cpu, u->rm);                     \
        uint##bits##_t new = CALC(cpu, u, old, &cc);                        \
        cpu->cc = cc;                                                       \
        DONE(cpu, u, old);                                                  \
        X86_PUT##bits(cpu, u->rm, new);                                     \
        X86_NEXT(cpu, u);                                                   \
    }

/* --- handler tables --- */
#define X86_TABLE_FORMS(id)                                                                      \
    {                                                                                            \
        id##8_reg, id##16_reg, id##32_reg, id##64_reg, id##8_flat, id##16_flat, id##32_flat,     \
            id##64_flat, id##8_seg, id##16_seg, id##32_seg, id##64_seg, id##8_base, id##16_base, \
            id##32_base, id##64_base                                                             \
    }
/* For instructions that seldom have a memory operand: the cold twin serves all segments. */
#define X86_TABLE_LEAN(id)                                                                   \
    {                                                                                        \
        id##8_reg, id##16_reg, id##32_reg, id##64_reg, id##8_flat, id##16_flat, id##32_flat, \
            id##64_flat, id##8_cold, id##16_cold, id##32_cold, id##64_cold, id##8_flat,      \
            id##16_flat, id##32_flat, id##64_flat                                            \
    }
/* Without an 8-bit form. */
#define X86_TABLE_FORMS_V(id)                                                                     \
    {                                                                                             \
        NULL, id##16_reg, id##32_reg, id##64_reg, NULL, id##16_flat, id##32_flat, id##64_flat,    \
            NULL, id##16_seg, id##32_seg, id##64_seg, NULL, id##16_base, id##32_base, id##64_base \
    }
#define X86_TABLE_LEAN_V(id)                                                                   \
    {                                                                                          \
        NULL, id##16_reg, id##32_reg, id##64_reg, NULL, id##16_flat, id##32_flat, id##64_flat, \
            NULL, id##16_cold, id##32_cold, id##64_cold, NULL, id##16_flat, id##32_flat,       \
            id##64_flat                                                                        \
    }
#define X86_FOR_SIZES(M, ...) \
    M(8, __VA_ARGS__) M(16, __VA_ARGS__) M(32, __VA_ARGS__) M(64, __VA_ARGS__)
#define X86_FOR_SIZES_V(M, ...) M(16, __VA_ARGS__) M(32, __VA_ARGS__) M(64, __VA_ARGS__)

#endif
