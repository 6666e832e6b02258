/* Shifts and rotates (SDM Vol.1 7.3.6), SHLD, SHRD. A masked count of 0 changes no flag. */
#include "x86/alu.h"
#include "x86/forms.h"

#define COUNT_I(cpu, u)  ((uint8_t)(u)->imm)
#define COUNT_CL(cpu, u) ((uint8_t)(cpu)->r[X86_RCX])
#define COUNT_1(cpu, u)  1u

#define SHIFT_BY(bits, name, how)                                                          \
    X86_INLINE uint##bits##_t name##_##how##_calc_##bits(                                  \
        struct x86_cpu *cpu, const struct x86_uop *u, uint##bits##_t old, x86_cc *cc)      \
    {                                                                                      \
        (void)cpu;                                                                         \
        (void)u;                                                                           \
        return x86_##name##bits(old, COUNT_##how(cpu, u), cc);                             \
    }                                                                                      \
    X86_RMW_REG(name##_##how##_##bits, bits, name##_##how##_calc_##bits, X86_DONE_NOTHING) \
    X86_RMWS_LEAN(name##_##how##_##bits, bits, name##_##how##_calc_##bits, X86_DONE_NOTHING)

#define SHIFT_SIZE(bits, name) \
    SHIFT_BY(bits, name, I)    \
    SHIFT_BY(bits, name, CL)   \
    SHIFT_BY(bits, name, 1)

#define SHIFT(name, NAME)                                                    \
    X86_FOR_SIZES(SHIFT_SIZE, name)                                          \
    x86_handler *const x86_t_##NAME##_E_I[16] = X86_TABLE_LEAN(name##_I_);   \
    x86_handler *const x86_t_##NAME##_E_CL[16] = X86_TABLE_LEAN(name##_CL_); \
    x86_handler *const x86_t_##NAME##_E_1[16] = X86_TABLE_LEAN(name##_1_);

SHIFT(rol, ROL)
SHIFT(ror, ROR)
SHIFT(rcl, RCL)
SHIFT(rcr, RCR)

/* Shifts by a constant are frequent and the constant is rarely 0: no need to bring the old flags
 * along. */
#define SHIFT_NZ(bits, name)                                                                     \
    X86_INLINE uint##bits##_t name##_I_calc_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                                   uint##bits##_t old, x86_cc *cc)               \
    {                                                                                            \
        unsigned count = u->imm & (bits == 64 ? 63 : 31);                                        \
        (void)cpu;                                                                               \
        return X86_LIKELY(count) ? x86_##name##_nz##bits(old, count, cc) : old;                  \
    }                                                                                            \
    X86_RMW_REG(name##_I_##bits, bits, name##_I_calc_##bits, X86_DONE_NOTHING)                   \
    X86_RMWS_LEAN(name##_I_##bits, bits, name##_I_calc_##bits, X86_DONE_NOTHING)                 \
    X86_INLINE uint##bits##_t name##_1_calc_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                                   uint##bits##_t old, x86_cc *cc)               \
    {                                                                                            \
        (void)cpu;                                                                               \
        (void)u;                                                                                 \
        return x86_##name##_nz##bits(old, 1, cc);                                                \
    }                                                                                            \
    X86_RMW_REG(name##_1_##bits, bits, name##_1_calc_##bits, X86_DONE_NOTHING)                   \
    X86_RMWS_LEAN(name##_1_##bits, bits, name##_1_calc_##bits, X86_DONE_NOTHING)                 \
    SHIFT_BY(bits, name, CL)

#define SHIFT_PLAIN(name, NAME)                                              \
    X86_FOR_SIZES(SHIFT_NZ, name)                                            \
    x86_handler *const x86_t_##NAME##_E_I[16] = X86_TABLE_LEAN(name##_I_);   \
    x86_handler *const x86_t_##NAME##_E_CL[16] = X86_TABLE_LEAN(name##_CL_); \
    x86_handler *const x86_t_##NAME##_E_1[16] = X86_TABLE_LEAN(name##_1_);

SHIFT_PLAIN(shl, SHL)
SHIFT_PLAIN(shr, SHR)
SHIFT_PLAIN(sar, SAR)

#define DOUBLE_BY(bits, name, how)                                                         \
    X86_INLINE uint##bits##_t name##_##how##_calc_##bits(                                  \
        struct x86_cpu *cpu, const struct x86_uop *u, uint##bits##_t old, x86_cc *cc)      \
    {                                                                                      \
        return x86_##name##bits(old, X86_GET##bits(cpu, u->reg), COUNT_##how(cpu, u), cc); \
    }                                                                                      \
    X86_RMW_REG(name##_##how##_##bits, bits, name##_##how##_calc_##bits, X86_DONE_NOTHING) \
    X86_RMWS_LEAN(name##_##how##_##bits, bits, name##_##how##_calc_##bits, X86_DONE_NOTHING)
#define DOUBLE_SIZE(bits, name) DOUBLE_BY(bits, name, I) DOUBLE_BY(bits, name, CL)

X86_FOR_SIZES_V(DOUBLE_SIZE, shld)
X86_FOR_SIZES_V(DOUBLE_SIZE, shrd)
x86_handler *const x86_t_SHLD_I[16] = X86_TABLE_LEAN_V(shld_I_);
x86_handler *const x86_t_SHLD_CL[16] = X86_TABLE_LEAN_V(shld_CL_);
x86_handler *const x86_t_SHRD_I[16] = X86_TABLE_LEAN_V(shrd_I_);
x86_handler *const x86_t_SHRD_CL[16] = X86_TABLE_LEAN_V(shrd_CL_);
