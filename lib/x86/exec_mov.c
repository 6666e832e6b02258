/* MOV LEA MOVZX MOVSX MOVSXD MOVBE MOVNTI XLAT and the sign extensions of the accumulator. */
#include "x86/forms.h"

#define MOV_SIZE(bits, _)                                                                       \
    X86_INLINE uint##bits##_t value_G_##bits(struct x86_cpu *cpu, const struct x86_uop *u)      \
    {                                                                                           \
        return X86_GET##bits(cpu, u->reg);                                                      \
    }                                                                                           \
    X86_INLINE uint##bits##_t value_I_##bits(struct x86_cpu *cpu, const struct x86_uop *u)      \
    {                                                                                           \
        (void)cpu;                                                                              \
        return (uint##bits##_t)u->imm;                                                          \
    }                                                                                           \
    X86_INLINE void to_G_##bits(struct x86_cpu *cpu, const struct x86_uop *u, uint##bits##_t v) \
    {                                                                                           \
        X86_PUT##bits(cpu, u->reg, v);                                                          \
    }                                                                                           \
    static struct x86_uop *mov_E_G_##bits##_reg(struct x86_cpu *cpu, struct x86_uop *u)         \
    {                                                                                           \
        X86_PUT##bits(cpu, u->rm, X86_GET##bits(cpu, u->reg));                                  \
        X86_NEXT(cpu, u);                                                                       \
    }                                                                                           \
    static struct x86_uop *mov_E_I_##bits##_reg(struct x86_cpu *cpu, struct x86_uop *u)         \
    {                                                                                           \
        X86_PUT##bits(cpu, u->rm, (uint##bits##_t)u->imm);                                      \
        X86_NEXT(cpu, u);                                                                       \
    }                                                                                           \
    static struct x86_uop *mov_Z_I_##bits(struct x86_cpu *cpu, struct x86_uop *u)               \
    {                                                                                           \
        X86_PUT##bits(cpu, u->reg, (uint##bits##_t)u->imm);                                     \
        X86_NEXT(cpu, u);                                                                       \
    }                                                                                           \
    static struct x86_uop *mov_A_O_##bits(struct x86_cpu *cpu, struct x86_uop *u)               \
    {                                                                                           \
        uint64_t lin;                                                                           \
        uint##bits##_t v;                                                                       \
        if (!x86_seg_lin(cpu, u->seg, u->imm, bits / 8, false, &lin) ||                         \
            !x86_ld##bits(cpu, u, lin, &v))                                                     \
            return x86_leave(cpu, u);                                                           \
        X86_PUT##bits(cpu, X86_RAX, v);                                                         \
        X86_NEXT_IO(cpu, u);                                                                    \
    }                                                                                           \
    static struct x86_uop *mov_O_A_##bits(struct x86_cpu *cpu, struct x86_uop *u)               \
    {                                                                                           \
        uint64_t lin;                                                                           \
        if (!x86_seg_lin(cpu, u->seg, u->imm, bits / 8, true, &lin) ||                          \
            !x86_st##bits(cpu, u, lin, X86_GET##bits(cpu, X86_RAX)))                            \
            return x86_leave(cpu, u);                                                           \
        X86_NEXT_IO(cpu, u);                                                                    \
    }                                                                                           \
    X86_STORES(mov_E_G_##bits, bits, value_G_##bits)                                            \
    X86_STORES(mov_E_I_##bits, bits, value_I_##bits)                                            \
    X86_READS_REG(mov_G_E_##bits, bits, to_G_##bits)                                            \
    X86_LOADS(mov_G_E_##bits, bits, to_G_##bits)

X86_FOR_SIZES(MOV_SIZE, _)
x86_handler *const x86_t_MOV_E_G[16] = X86_TABLE_FORMS(mov_E_G_);
x86_handler *const x86_t_MOV_G_E[16] = X86_TABLE_FORMS(mov_G_E_);
x86_handler *const x86_t_MOV_E_I[16] = X86_TABLE_FORMS(mov_E_I_);
x86_handler *const x86_t_MOV_Z_I[4] = {mov_Z_I_8, mov_Z_I_16, mov_Z_I_32, mov_Z_I_64};
x86_handler *const x86_t_MOV_A_O[4] = {mov_A_O_8, mov_A_O_16, mov_A_O_32, mov_A_O_64};
x86_handler *const x86_t_MOV_O_A[4] = {mov_O_A_8, mov_O_A_16, mov_O_A_32, mov_O_A_64};

/* --- LEA: the offset, truncated to address size, then to operand size --- */
static struct x86_uop *lea_16(struct x86_cpu *cpu, struct x86_uop *u)
{
    X86_PUT16(cpu, u->reg, x86_ea_offset(cpu, u));
    X86_NEXT(cpu, u);
}
static struct x86_uop *lea_32(struct x86_cpu *cpu, struct x86_uop *u)
{
    X86_PUT32(cpu, u->reg, x86_ea_offset(cpu, u));
    X86_NEXT(cpu, u);
}
static struct x86_uop *lea_64(struct x86_cpu *cpu, struct x86_uop *u)
{
    X86_PUT64(cpu, u->reg, x86_ea_offset(cpu, u));
    X86_NEXT(cpu, u);
}
static struct x86_uop *lea_32_flat(struct x86_cpu *cpu, struct x86_uop *u)
{
    X86_PUT32(cpu, u->reg, x86_ea_flat(cpu, u));
    X86_NEXT(cpu, u);
}
static struct x86_uop *lea_64_flat(struct x86_cpu *cpu, struct x86_uop *u)
{
    X86_PUT64(cpu, u->reg, x86_ea_flat(cpu, u));
    X86_NEXT(cpu, u);
}
static struct x86_uop *lea_32_base(struct x86_cpu *cpu, struct x86_uop *u)
{
    X86_PUT32(cpu, u->reg, cpu->r[u->base] + (uint64_t)(int64_t)u->disp);
    X86_NEXT(cpu, u);
}
static struct x86_uop *lea_64_base(struct x86_cpu *cpu, struct x86_uop *u)
{
    X86_PUT64(cpu, u->reg, cpu->r[u->base] + (uint64_t)(int64_t)u->disp);
    X86_NEXT(cpu, u);
}
x86_handler *const x86_t_LEA[16] = {
    NULL, NULL,   NULL,   NULL,   NULL, lea_16, lea_32_flat, lea_64_flat,
    NULL, lea_16, lea_32, lea_64, NULL, lea_16, lea_32_base, lea_64_base,
};

/* --- extensions: G := zero- or sign-extended E of 8, 16, 32 bits --- */
#define EXTEND(bits, name, from, type)                                              \
    X86_INLINE void name##_fin_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                      uint##from##_t v)                             \
    {                                                                               \
        X86_PUT##bits(cpu, u->reg, (uint##bits##_t)(type)v);                        \
    }                                                                               \
    X86_READS_REG(name##_##bits, from, name##_fin_##bits)                           \
    X86_LOADS(name##_##bits, from, name##_fin_##bits)

X86_FOR_SIZES_V(EXTEND, movzx8, 8, uint8_t)
X86_FOR_SIZES_V(EXTEND, movzx16, 16, uint16_t)
X86_FOR_SIZES_V(EXTEND, movsx8, 8, int8_t)
X86_FOR_SIZES_V(EXTEND, movsx16, 16, int16_t)
x86_handler *const x86_t_MOVZX_Gv_Eb[16] = X86_TABLE_FORMS_V(movzx8_);
x86_handler *const x86_t_MOVZX_Gv_Ew[16] = X86_TABLE_FORMS_V(movzx16_);
x86_handler *const x86_t_MOVSX_Gv_Eb[16] = X86_TABLE_FORMS_V(movsx8_);
x86_handler *const x86_t_MOVSX_Gv_Ew[16] = X86_TABLE_FORMS_V(movsx16_);

/* MOVSXD without REX.W is a plain MOV. */
EXTEND(64, movsxd, 32, int32_t)
x86_handler *const x86_t_MOVSXD[16] = {
    NULL, mov_G_E_16_reg,  mov_G_E_32_reg,  movsxd_64_reg,
    NULL, mov_G_E_16_flat, mov_G_E_32_flat, movsxd_64_flat,
    NULL, mov_G_E_16_seg,  mov_G_E_32_seg,  movsxd_64_seg,
    NULL, mov_G_E_16_base, mov_G_E_32_base, movsxd_64_base,
};

/* --- CBW CWDE CDQE, CWD CDQ CQO --- */
#define WIDEN(bits, half, type_half, type)                                                  \
    static struct x86_uop *widen_a_##bits(struct x86_cpu *cpu, struct x86_uop *u)           \
    {                                                                                       \
        X86_PUT##bits(cpu, X86_RAX, (uint##bits##_t)(type)(type_half)cpu->r[X86_RAX]);      \
        X86_NEXT(cpu, u);                                                                   \
    }                                                                                       \
    static struct x86_uop *widen_d_##bits(struct x86_cpu *cpu, struct x86_uop *u)           \
    {                                                                                       \
        X86_PUT##bits(cpu, X86_RDX, (uint##bits##_t)((type)cpu->r[X86_RAX] >> (bits - 1))); \
        X86_NEXT(cpu, u);                                                                   \
    }
WIDEN(16, 8, int8_t, int16_t)
WIDEN(32, 16, int16_t, int32_t)
WIDEN(64, 32, int32_t, int64_t)
x86_handler *const x86_t_CBW[4] = {NULL, widen_a_16, widen_a_32, widen_a_64};
x86_handler *const x86_t_CWD[4] = {NULL, widen_d_16, widen_d_32, widen_d_64};

/* --- MOVBE --- */
#define MOVBE_SIZE(bits, _)                                                                  \
    X86_INLINE uint##bits##_t swapped_G_##bits(struct x86_cpu *cpu, const struct x86_uop *u) \
    {                                                                                        \
        return __builtin_bswap##bits(X86_GET##bits(cpu, u->reg));                            \
    }                                                                                        \
    X86_INLINE void swapped_to_G_##bits(struct x86_cpu *cpu, const struct x86_uop *u,        \
                                        uint##bits##_t v)                                    \
    {                                                                                        \
        X86_PUT##bits(cpu, u->reg, __builtin_bswap##bits(v));                                \
    }                                                                                        \
    X86_STORES_LEAN(movbe_M_G_##bits, bits, swapped_G_##bits)                                \
    X86_LOADS_LEAN(movbe_G_M_##bits, bits, swapped_to_G_##bits)
X86_FOR_SIZES_V(MOVBE_SIZE, _)
x86_handler *const x86_t_MOVBE_G_M[16] = {
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    movbe_G_M_16_flat,
    movbe_G_M_32_flat,
    movbe_G_M_64_flat,
    NULL,
    movbe_G_M_16_cold,
    movbe_G_M_32_cold,
    movbe_G_M_64_cold,
    NULL,
    movbe_G_M_16_flat,
    movbe_G_M_32_flat,
    movbe_G_M_64_flat,
};
x86_handler *const x86_t_MOVBE_M_G[16] = {
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    movbe_M_G_16_flat,
    movbe_M_G_32_flat,
    movbe_M_G_64_flat,
    NULL,
    movbe_M_G_16_cold,
    movbe_M_G_32_cold,
    movbe_M_G_64_cold,
    NULL,
    movbe_M_G_16_flat,
    movbe_M_G_32_flat,
    movbe_M_G_64_flat,
};

/* XLAT: AL := [rBX + AL] */
static struct x86_uop *xlat(struct x86_cpu *cpu, struct x86_uop *u)
{
    static const uint64_t mask[4] = {UINT16_MAX, UINT32_MAX, UINT64_MAX, UINT64_MAX};
    uint64_t lin, off = (cpu->r[X86_RBX] + (uint8_t)cpu->r[X86_RAX]) & mask[u->aux >> 2 & 3];
    uint8_t v;
    if (!x86_seg_lin(cpu, u->seg, off, 1, false, &lin) || !x86_ld8(cpu, u, lin, &v))
        return x86_leave(cpu, u);
    X86_PUT8(cpu, X86_RAX, v);
    X86_NEXT_IO(cpu, u);
}
x86_handler *const x86_t_XLAT[1] = {xlat};
