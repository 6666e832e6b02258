/* Operand access for handlers that are not worth a form each, and read-modify-write by the slow
 * paths. */
#include "x86/forms.h"

uint64_t x86_read_gpr(struct x86_cpu *cpu, unsigned reg, unsigned size)
{
    switch (size) {
    case 1:
        return X86_GET8(cpu, reg);
    case 2:
        return X86_GET16(cpu, reg);
    case 4:
        return X86_GET32(cpu, reg);
    default:
        return cpu->r[reg];
    }
}

void x86_write_gpr(struct x86_cpu *cpu, unsigned reg, uint64_t v, unsigned size)
{
    switch (size) {
    case 1:
        X86_PUT8(cpu, reg, v);
        break;
    case 2:
        X86_PUT16(cpu, reg, v);
        break;
    case 4:
        X86_PUT32(cpu, reg, v);
        break;
    default:
        cpu->r[reg] = v;
    }
}

static bool load(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size)
{
    uintptr_t p = x86_rd_fast(cpu, lin, size);
    if (!p)
        return x86_ld_slow(cpu, u, lin, size);
    switch (size) {
    case 1:
        cpu->tmp = x86_raw_ld8(p);
        break;
    case 2:
        cpu->tmp = x86_raw_ld16(p);
        break;
    case 4:
        cpu->tmp = x86_raw_ld32(p);
        break;
    default:
        cpu->tmp = x86_raw_ld64(p);
    }
    return true;
}

static bool store(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, uint64_t v, unsigned size)
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

bool x86_read_E(struct x86_cpu *cpu, struct x86_uop *u, unsigned size)
{
    uint64_t lin;
    if (u->aux & X86_AUX_MEM)
        return x86_ea_seg(cpu, u, size, false, &lin) && load(cpu, u, lin, size);
    cpu->tmp = x86_read_gpr(cpu, u->rm, size);
    return true;
}

bool x86_read_E_rmw(struct x86_cpu *cpu, struct x86_uop *u, unsigned size)
{
    uint64_t lin;
    if (!(u->aux & X86_AUX_MEM))
        return x86_read_E(cpu, u, size);
    if (!x86_ea_seg(cpu, u, size, true, &lin))
        return false;
    return x86_rmw_fast(cpu, lin, size) ? load(cpu, u, lin, size) : x86_ldw_slow(cpu, u, lin, size);
}

bool x86_write_E(struct x86_cpu *cpu, struct x86_uop *u, uint64_t v, unsigned size)
{
    uint64_t lin;
    if (!(u->aux & X86_AUX_MEM)) {
        x86_write_gpr(cpu, u->rm, v, size);
        return true;
    }
    return x86_ea_seg(cpu, u, size, true, &lin) && store(cpu, u, lin, v, size);
}

/* --- atomic read-modify-write --- */

#define ATOMIC_LOOP(bits)                                                            \
    static uint64_t atomic##bits(struct x86_cpu *cpu, struct x86_uop *u, void *p,    \
                                 x86_rmw_step *step)                                 \
    {                                                                                \
        uint##bits##_t *m = p, old = __atomic_load_n(m, __ATOMIC_RELAXED), new;      \
        x86_cc cc;                                                                   \
        do {                                                                         \
            cc = cpu->cc;                                                            \
            new = (uint##bits##_t)step(cpu, u, old, &cc);                            \
        } while (!__atomic_compare_exchange_n(m, &old, new, false, __ATOMIC_SEQ_CST, \
                                              __ATOMIC_SEQ_CST));                    \
        cpu->cc = cc;                                                                \
        return old;                                                                  \
    }
ATOMIC_LOOP(8)
ATOMIC_LOOP(16)
ATOMIC_LOOP(32)
ATOMIC_LOOP(64)

static uint64_t atomic_step(struct x86_cpu *cpu, struct x86_uop *u, void *p, unsigned size,
                            x86_rmw_step *step)
{
    switch (size) {
    case 1:
        return atomic8(cpu, u, p, step);
    case 2:
        return atomic16(cpu, u, p, step);
    case 4:
        return atomic32(cpu, u, p, step);
    default:
        return atomic64(cpu, u, p, step);
    }
}

/* x86 hosts make misaligned atomics work like the guest expects, also across cache lines. */
static bool host_can_do_atomic(const void *p, unsigned size)
{
#if defined(__x86_64__) || defined(__i386__)
    (void)p;
    (void)size;
    return true;
#else
    return !((uintptr_t)p & (size - 1));
#endif
}

static bool plain_step(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size,
                       x86_rmw_step *step, uint64_t *old)
{
    bool hit = x86_rmw_fast(cpu, lin, size);
    if (!(hit ? load(cpu, u, lin, size) : x86_ldw_slow(cpu, u, lin, size)))
        return false;
    x86_cc cc = cpu->cc;
    *old = cpu->tmp;
    uint64_t new = step(cpu, u, *old, &cc);
    if (!(hit ? store(cpu, u, lin, new, size) : x86_st_slow(cpu, u, lin, new, size)))
        return false;
    cpu->cc = cc;
    return true;
}

bool x86_rmw_cold_at(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size, bool lock,
                     x86_rmw_step *step, uint64_t *old)
{
    if (!lock && !(u->aux & X86_AUX_LOCK))
        return plain_step(cpu, u, lin, size, step, old);
    bool special = false;
    void *p = (void *)x86_rmw_fast(cpu, lin, size);
    if (!p)
        p = x86_rmw_slow(cpu, u, lin, size, &special);
    if (p && host_can_do_atomic(p, size)) {
        *old = atomic_step(cpu, u, p, size, step);
        return true;
    }
    if (!p && !special)
        return false;
    cpu->ops->split_lock(cpu);
    bool ok = plain_step(cpu, u, lin, size, step, old);
    cpu->ops->split_unlock(cpu);
    return ok;
}

bool x86_rmw_cold(struct x86_cpu *cpu, struct x86_uop *u, unsigned size, bool lock,
                  x86_rmw_step *step, uint64_t *old)
{
    uint64_t lin;
    return x86_ea_seg(cpu, u, size, true, &lin) &&
           x86_rmw_cold_at(cpu, u, lin, size, lock, step, old);
}
