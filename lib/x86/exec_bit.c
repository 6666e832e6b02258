/* BT BTS BTR BTC, BSF BSR, TZCNT LZCNT POPCNT (SDM Vol.1 7.3.7). */
#include "x86/alu.h"
#include "x86/forms.h"

/* BTx sets CF from the selected bit; the other flags are undefined (ZF unchanged) and stay. */
#define BIT_OP_bt(v, m)  (v)
#define BIT_OP_bts(v, m) ((v) | (m))
#define BIT_OP_btr(v, m) ((v) & ~(m))
#define BIT_OP_btc(v, m) ((v) ^ (m))

X86_INLINE x86_cc with_cf(x86_cc cc, bool cf)
{
    return (x86_cc)((cc & ~X86_CC_CF) | (cf ? X86_CC_CF : 0));
}

#define BIT_CALC(bits, name, how, number)                                             \
    X86_INLINE uint##bits##_t name##_##how##_calc_##bits(                             \
        struct x86_cpu *cpu, const struct x86_uop *u, uint##bits##_t old, x86_cc *cc) \
    {                                                                                 \
        unsigned n = (number) & (bits - 1);                                           \
        uint##bits##_t m = (uint##bits##_t)((uint##bits##_t)1 << n);                  \
        (void)cpu;                                                                    \
        *cc = with_cf(*cc, old & m);                                                  \
        return (uint##bits##_t)(BIT_OP_##name(old, m));                               \
    }

/* A bit number in a register reaches beyond the operand in memory: it is signed and addresses any
 * bit string element (SDM Vol.2A BT). */
static bool bit_address(struct x86_cpu *cpu, const struct x86_uop *u, unsigned log2, bool write,
                        uint64_t *lin)
{
    static const uint64_t mask[4] = {UINT16_MAX, UINT32_MAX, UINT64_MAX, UINT64_MAX};
    uint64_t reg = cpu->r[u->reg];
    int64_t n = log2 == 1 ? (int16_t)reg : log2 == 2 ? (int32_t)reg : (int64_t)reg;
    uint64_t delta = (uint64_t)(n >> (log2 + 3)) << log2;
    uint64_t off = (x86_ea_offset(cpu, u) + delta) & mask[u->aux >> 2 & 3];
    return x86_seg_lin(cpu, u->seg, off, 1u << log2, write, lin);
}

#define BT_SIZE(bits, log2)                                                            \
    BIT_CALC(bits, bt, E_G, (unsigned)cpu->r[u->reg])                                  \
    BIT_CALC(bits, bt, E_I, (unsigned)u->imm)                                          \
    X86_INLINE void bt_E_G_fin_##bits(struct x86_cpu *cpu, const struct x86_uop *u,    \
                                      uint##bits##_t v)                                \
    {                                                                                  \
        x86_cc cc = cpu->cc;                                                           \
        bt_E_G_calc_##bits(cpu, u, v, &cc);                                            \
        cpu->cc = cc;                                                                  \
    }                                                                                  \
    X86_INLINE void bt_E_I_fin_##bits(struct x86_cpu *cpu, const struct x86_uop *u,    \
                                      uint##bits##_t v)                                \
    {                                                                                  \
        x86_cc cc = cpu->cc;                                                           \
        bt_E_I_calc_##bits(cpu, u, v, &cc);                                            \
        cpu->cc = cc;                                                                  \
    }                                                                                  \
    X86_READS_REG(bt_E_G_##bits, bits, bt_E_G_fin_##bits)                              \
    X86_READS_REG(bt_E_I_##bits, bits, bt_E_I_fin_##bits)                              \
    X86_LOADS_LEAN(bt_E_I_##bits, bits, bt_E_I_fin_##bits)                             \
    static struct x86_uop *bt_E_G_##bits##_mem(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                                  \
        uint64_t lin;                                                                  \
        uint##bits##_t v;                                                              \
        if (!bit_address(cpu, u, log2, false, &lin) || !x86_ld##bits(cpu, u, lin, &v)) \
            return x86_leave(cpu, u);                                                  \
        bt_E_G_fin_##bits(cpu, u, v);                                                  \
        X86_NEXT_IO(cpu, u);                                                           \
    }
BT_SIZE(16, 1)
BT_SIZE(32, 2)
BT_SIZE(64, 3)

#define CHANGE_SIZE(bits, log2, name)                                                              \
    BIT_CALC(bits, name, E_G, (unsigned)cpu->r[u->reg])                                            \
    BIT_CALC(bits, name, E_I, (unsigned)u->imm)                                                    \
    X86_RMW_REG(name##_E_G_##bits, bits, name##_E_G_calc_##bits, X86_DONE_NOTHING)                 \
    X86_RMW_REG(name##_E_I_##bits, bits, name##_E_I_calc_##bits, X86_DONE_NOTHING)                 \
    X86_RMWS_LEAN(name##_E_I_##bits, bits, name##_E_I_calc_##bits, X86_DONE_NOTHING)               \
    X86_COLD uint64_t name##_E_G_step_##bits(struct x86_cpu *cpu, struct x86_uop *u, uint64_t old, \
                                             x86_cc *cc)                                           \
    {                                                                                              \
        return name##_E_G_calc_##bits(cpu, u, (uint##bits##_t)old, cc);                            \
    }                                                                                              \
    static struct x86_uop *name##_E_G_##bits##_mem(struct x86_cpu *cpu, struct x86_uop *u)         \
    {                                                                                              \
        uint64_t lin;                                                                              \
        if (!bit_address(cpu, u, log2, true, &lin) ||                                              \
            !x86_rmw_cold_at(cpu, u, lin, bits / 8, false, name##_E_G_step_##bits, &cpu->rmw_old)) \
            return x86_leave(cpu, u);                                                              \
        X86_NEXT_IO(cpu, u);                                                                       \
    }
#define CHANGE(name) CHANGE_SIZE(16, 1, name) CHANGE_SIZE(32, 2, name) CHANGE_SIZE(64, 3, name)
CHANGE(bts)
CHANGE(btr)
CHANGE(btc)

#define BIT_TABLES(name, NAME)                                          \
    x86_handler *const x86_t_##NAME##_E_G[16] = {                       \
        NULL, name##_E_G_16_reg, name##_E_G_32_reg, name##_E_G_64_reg,  \
        NULL, name##_E_G_16_mem, name##_E_G_32_mem, name##_E_G_64_mem,  \
        NULL, name##_E_G_16_mem, name##_E_G_32_mem, name##_E_G_64_mem,  \
        NULL, name##_E_G_16_mem, name##_E_G_32_mem, name##_E_G_64_mem}; \
    x86_handler *const x86_t_##NAME##_E_I[16] = X86_TABLE_LEAN_V(name##_E_I_);
BIT_TABLES(bt, BT)
BIT_TABLES(bts, BTS)
BIT_TABLES(btr, BTR)
BIT_TABLES(btc, BTC)

/* --- scans and counts --- */

#define CTZ16(v) ((unsigned)__builtin_ctz(v))
#define CTZ32(v) ((unsigned)__builtin_ctz(v))
#define CTZ64(v) ((unsigned)__builtin_ctzll(v))
#define CLZ16(v) ((unsigned)__builtin_clz(v) - 16)
#define CLZ32(v) ((unsigned)__builtin_clz(v))
#define CLZ64(v) ((unsigned)__builtin_clzll(v))

/* BSF, BSR of 0: ZF set, the destination keeps all its bits. The flags other than ZF are undefined
 * and stay. */
#define SCAN_SIZE(bits, _)                                                                         \
    X86_INLINE void scan_##bits(struct x86_cpu *cpu, const struct x86_uop *u, uint##bits##_t v,    \
                                unsigned position)                                                 \
    {                                                                                              \
        cpu->cc = (x86_cc)((cpu->cc & ~X86_CC_ZF) | (v ? 0 : X86_CC_ZF));                          \
        if (v)                                                                                     \
            X86_PUT##bits(cpu, u->reg, position);                                                  \
    }                                                                                              \
    X86_INLINE void bsf_fin_##bits(struct x86_cpu *cpu, const struct x86_uop *u, uint##bits##_t v) \
    {                                                                                              \
        scan_##bits(cpu, u, v, v ? CTZ##bits(v) : 0);                                              \
    }                                                                                              \
    X86_INLINE void bsr_fin_##bits(struct x86_cpu *cpu, const struct x86_uop *u, uint##bits##_t v) \
    {                                                                                              \
        scan_##bits(cpu, u, v, v ? bits - 1 - CLZ##bits(v) : 0);                                   \
    }                                                                                              \
    X86_READS_REG(bsf_##bits, bits, bsf_fin_##bits)                                                \
    X86_LOADS_LEAN(bsf_##bits, bits, bsf_fin_##bits)                                               \
    X86_READS_REG(bsr_##bits, bits, bsr_fin_##bits)                                                \
    X86_LOADS_LEAN(bsr_##bits, bits, bsr_fin_##bits)
X86_FOR_SIZES_V(SCAN_SIZE, _)
x86_handler *const x86_t_BSF[16] = X86_TABLE_LEAN_V(bsf_);
x86_handler *const x86_t_BSR[16] = X86_TABLE_LEAN_V(bsr_);

/* TZCNT, LZCNT: CF for a source of 0, ZF for a result of 0; POPCNT: ZF alone, the others cleared.
 */
X86_INLINE x86_cc count_cc(x86_cc cc, bool cf, bool zf)
{
    return (x86_cc)((cc & ~(X86_CC_CF | X86_CC_ZF)) | (cf ? X86_CC_CF : 0) | (zf ? X86_CC_ZF : 0));
}
#define COUNT_SIZE(bits, _)                                                         \
    X86_INLINE void tzcnt_fin_##bits(struct x86_cpu *cpu, const struct x86_uop *u,  \
                                     uint##bits##_t v)                              \
    {                                                                               \
        unsigned n = v ? CTZ##bits(v) : bits;                                       \
        cpu->cc = count_cc(cpu->cc, !v, !n);                                        \
        X86_PUT##bits(cpu, u->reg, n);                                              \
    }                                                                               \
    X86_INLINE void lzcnt_fin_##bits(struct x86_cpu *cpu, const struct x86_uop *u,  \
                                     uint##bits##_t v)                              \
    {                                                                               \
        unsigned n = v ? CLZ##bits(v) : bits;                                       \
        cpu->cc = count_cc(cpu->cc, !v, !n);                                        \
        X86_PUT##bits(cpu, u->reg, n);                                              \
    }                                                                               \
    X86_INLINE void popcnt_fin_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                      uint##bits##_t v)                             \
    {                                                                               \
        cpu->cc = v ? 0 : X86_CC_ZF;                                                \
        X86_PUT##bits(cpu, u->reg, (unsigned)__builtin_popcountll(v));              \
    }                                                                               \
    X86_READS_REG(tzcnt_##bits, bits, tzcnt_fin_##bits)                             \
    X86_LOADS_LEAN(tzcnt_##bits, bits, tzcnt_fin_##bits)                            \
    X86_READS_REG(lzcnt_##bits, bits, lzcnt_fin_##bits)                             \
    X86_LOADS_LEAN(lzcnt_##bits, bits, lzcnt_fin_##bits)                            \
    X86_READS_REG(popcnt_##bits, bits, popcnt_fin_##bits)                           \
    X86_LOADS_LEAN(popcnt_##bits, bits, popcnt_fin_##bits)
X86_FOR_SIZES_V(COUNT_SIZE, _)
x86_handler *const x86_t_TZCNT[16] = X86_TABLE_LEAN_V(tzcnt_);
x86_handler *const x86_t_LZCNT[16] = X86_TABLE_LEAN_V(lzcnt_);
x86_handler *const x86_t_POPCNT[16] = X86_TABLE_LEAN_V(popcnt_);
