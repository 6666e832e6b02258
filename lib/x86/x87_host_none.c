/*
 * Hosts without x87. The CPU model offers no FPU there (x86_host_features), so no row leads here; a
 * thunk that is reached all the same answers "invalid operation".
 */
#include <string.h>

#include "x86/x87_host.h"

static uint16_t nothing(struct x86_f80 *out)
{
    if (out) {
        out->mant = UINT64_C(0xc000000000000000);
        out->se = 0xffff;
    }
    return 1; /* IE */
}

#define BINARY(name)                                                                         \
    uint16_t name(const struct x86_f80 *a, const void *b, struct x86_f80 *out, uint32_t env) \
    {                                                                                        \
        (void)a, (void)b, (void)env;                                                         \
        return nothing(out);                                                                 \
    }
#define UNARY(name)                                                           \
    uint16_t name(const struct x86_f80 *a, struct x86_f80 *out, uint32_t env) \
    {                                                                         \
        (void)a, (void)env;                                                   \
        return nothing(out);                                                  \
    }
#define LOAD(name)                                                    \
    uint16_t name(const void *mem, struct x86_f80 *out, uint32_t env) \
    {                                                                 \
        (void)mem, (void)env;                                         \
        return nothing(out);                                          \
    }
#define STORE(name, bytes)                                          \
    uint16_t name(const struct x86_f80 *a, void *mem, uint32_t env) \
    {                                                               \
        (void)a, (void)env;                                         \
        memset(mem, 0, bytes);                                      \
        return nothing(NULL);                                       \
    }

BINARY(x86_x87_fucom)
BINARY(x86_x87_fprem)
BINARY(x86_x87_fprem1)
BINARY(x86_x87_fscale)
BINARY(x86_x87_fpatan)
BINARY(x86_x87_fyl2x)
BINARY(x86_x87_fyl2xp1)
static BINARY(arith) UNARY(x86_x87_fsqrt) UNARY(x86_x87_frndint) UNARY(x86_x87_f2xm1)
    UNARY(x86_x87_fsin) UNARY(x86_x87_fcos) UNARY(x86_x87_fptan) UNARY(x86_x87_fsincos)
        UNARY(x86_x87_fxtract) UNARY(x86_x87_ftst) UNARY(x86_x87_fxam) LOAD(x86_x87_fld32)
            LOAD(x86_x87_fld64) LOAD(x86_x87_fbld) LOAD(x86_x87_fld1) LOAD(x86_x87_fldl2t)
                LOAD(x86_x87_fldl2e) LOAD(x86_x87_fldpi) LOAD(x86_x87_fldlg2) LOAD(x86_x87_fldln2)
                    LOAD(x86_x87_fldz) STORE(x86_x87_fst32, 4) STORE(x86_x87_fst64, 8)
                        STORE(x86_x87_fist16, 2) STORE(x86_x87_fist32, 4) STORE(x86_x87_fist64, 8)
                            STORE(x86_x87_fisttp16, 2) STORE(x86_x87_fisttp32, 4)
                                STORE(x86_x87_fisttp64, 8) STORE(x86_x87_fbstp, 10)

#define ALL                                                    \
    {                                                          \
        arith, arith, arith, arith, arith, arith, arith, arith \
    }
                                    x86_x87_binary *const x86_x87_arith[X87_NKINDS][X87_NOPS] = {
                                        ALL, ALL, ALL, ALL, ALL};
