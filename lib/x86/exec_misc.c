/* BOUND, RDRAND, RDSEED, fences, cache-line hints, CMPXCHG8B and CMPXCHG16B, undefined opcodes. */
#include "x86/forms.h"
#include "x86/handlers.h"

#define DEFINE_ONE(NAME, fn) x86_handler *const x86_t_##NAME[1] = {fn};

DEFINE_ONE(UD, x86_op_ud)

/* BOUND: both limits are read before the comparison, signed. */
static struct x86_uop *bound(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned size = x86_uop_bytes(u);
    uint64_t lin;
    int32_t pair[2] = {0, 0}, i = (int32_t)cpu->r[u->reg];
    if (!x86_ea_seg(cpu, u, 2 * size, false, &lin))
        return x86_leave(cpu, u);
    for (unsigned k = 0; k < 2; k++) /* two accesses: each has its own alignment */
        if (!x86_read_bytes(cpu, u, (lin + k * size) & cpu->lin_mask, &pair[k], size))
            return x86_leave(cpu, u);
    int32_t low = pair[0], high = pair[1];
    if (size == 2) {
        i = (int16_t)i;
        high = (int16_t)high;
        low = (int16_t)low;
    }
    if (i < low || i > high)
        return x86_raise(cpu, u, X86_BR);
    return x86_leave_next(
        cpu, u); /* X86_NEXT would be a call here: addresses of locals were handed on */
}
DEFINE_ONE(BOUND, bound)

/* RDRAND and RDSEED always succeed: CF set, the other flags clear. */
static struct x86_uop *random_reg(struct x86_cpu *cpu, struct x86_uop *u)
{
    cpu->cur = u;
    x86_write_gpr(cpu, u->rm, cpu->ops->random(cpu), x86_uop_bytes(u));
    cpu->cc = X86_CC_CF;
    X86_NEXT_IO(cpu, u);
}
DEFINE_ONE(RANDOM, random_reg)

static struct x86_uop *fence(struct x86_cpu *cpu, struct x86_uop *u)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    X86_NEXT(cpu, u);
}
DEFINE_ONE(FENCE, fence)

/* CLFLUSH and friends: faults of a load, no effect (there is no cache to see). */
static struct x86_uop *flush_line(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t lin;
    if (!x86_ea_seg(cpu, u, 1, false, &lin) || !x86_probe_read(cpu, u, lin, 1))
        return x86_leave(cpu, u);
    X86_NEXT(cpu, u);
}
DEFINE_ONE(FLUSH_LINE, flush_line)

/* --- CMPXCHG8B --- */

X86_INLINE uint64_t pair32(const struct x86_cpu *cpu, unsigned hi, unsigned lo)
{
    return cpu->r[hi] << 32 | (uint32_t)cpu->r[lo];
}
static uint64_t cmpxchg8b_step(struct x86_cpu *cpu, struct x86_uop *u, uint64_t old, x86_cc *cc)
{
    (void)u;
    bool equal = old == pair32(cpu, X86_RDX, X86_RAX);
    *cc = (x86_cc)((*cc & ~X86_CC_ZF) | (equal ? X86_CC_ZF : 0));
    return equal ? pair32(cpu, X86_RCX, X86_RBX) : old;
}
static struct x86_uop *cmpxchg8b(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!x86_rmw_cold(cpu, u, 8, false, cmpxchg8b_step, &cpu->rmw_old))
        return x86_leave(cpu, u);
    uint64_t old = cpu->rmw_old;
    if (!(cpu->cc & X86_CC_ZF)) {
        X86_PUT32(cpu, X86_RAX, old);
        X86_PUT32(cpu, X86_RDX, old >> 32);
    }
    X86_NEXT_IO(cpu, u);
}
DEFINE_ONE(CMPXCHG8B, cmpxchg8b)

/* --- CMPXCHG16B --- */

/* Compare-and-swap of 16 aligned bytes; old[] goes in as expected and comes out as found. */
static bool swap_16(struct x86_cpu *cpu, void *p, uint64_t old[2], const uint64_t new[2])
{
#if defined(__x86_64__) && defined(__GNUC__) && !defined(X86_PORTABLE)
    bool equal;
    (void)cpu;
    __asm__ volatile("lock cmpxchg16b %[m]"
                     : [m] "+m"(*(unsigned __int128 *)p), "+a"(old[0]), "+d"(old[1]), "=@ccz"(equal)
                     : "b"(new[0]), "c"(new[1])
                     : "memory");
    return equal;
#else
    uintptr_t m = (uintptr_t)p;
    cpu->ops->split_lock(cpu);
    uint64_t lo = x86_raw_ld64(m), hi = x86_raw_ld64(m + 8);
    bool equal = lo == old[0] && hi == old[1];
    if (equal) {
        x86_raw_st64(m, new[0]);
        x86_raw_st64(m + 8, new[1]);
    }
    cpu->ops->split_unlock(cpu);
    old[0] = lo;
    old[1] = hi;
    return equal;
#endif
}

/* Not plain memory: two reads, one write, under the lock. False: leave. */
static bool swap_16_slow(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, uint64_t old[2],
                         const uint64_t new[2], bool *equal)
{
    uint64_t found[2], put[2];
    if (!x86_probe_write(cpu, u, lin, 16) || !x86_read_bytes(cpu, u, lin, found, 16))
        return false;
    *equal = found[0] == old[0] && found[1] == old[1];
    memcpy(put, *equal ? new : found, 16);
    if (!x86_write_bytes(cpu, u, lin, put, 16))
        return false;
    memcpy(old, found, 16);
    return true;
}

/* Its own function because addresses of its locals are handed on (uop.h). False: leave. */
static __attribute__((noinline)) bool swap_pair(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t lin, old[2] = {cpu->r[X86_RAX], cpu->r[X86_RDX]};
    const uint64_t new[2] = {cpu->r[X86_RBX], cpu->r[X86_RCX]};
    bool equal, special = false;
    if (!x86_ea_seg(cpu, u, 16, true, &lin))
        return false;
    if (lin & 15)
        return x86_fault_err(cpu, X86_GP, 0) == X86_OK;
    void *p = (void *)x86_rmw_fast(cpu, lin, 16);
    if (!p)
        p = x86_rmw_slow(cpu, u, lin, 16, &special);
    if (p) {
        equal = swap_16(cpu, p, old, new);
    } else {
        if (!special)
            return false;
        cpu->ops->split_lock(cpu);
        bool ok = swap_16_slow(cpu, u, lin, old, new, &equal);
        cpu->ops->split_unlock(cpu);
        if (!ok)
            return false;
    }
    cpu->cc = (x86_cc)((cpu->cc & ~X86_CC_ZF) | (equal ? X86_CC_ZF : 0));
    if (!equal) {
        cpu->r[X86_RAX] = old[0];
        cpu->r[X86_RDX] = old[1];
    }
    return true;
}
static struct x86_uop *cmpxchg16b(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!swap_pair(cpu, u))
        return x86_leave(cpu, u);
    X86_NEXT_IO(cpu, u);
}
DEFINE_ONE(CMPXCHG16B, cmpxchg16b)
