/*
 * BMI1, BMI2, ADX, CRC32. Operands have 32 or 64 bits (CRC32: 8 to 64). VEX rows keep vvvv and the
 * immediate in uop.imm (uop.h).
 */
#include "x86/alu.h"
#include "x86/forms.h"

#define BOTH_SIZES(M) M(32) M(64)

/* tables without 8- and 16-bit forms */
#define TABLE_Y(id)                                                                           \
    {                                                                                         \
        NULL, NULL, id##32_reg, id##64_reg, NULL, NULL, id##32_flat, id##64_flat, NULL, NULL, \
            id##32_cold, id##64_cold, NULL, NULL, id##32_flat, id##64_flat                    \
    }
#define HANDLERS(name, NAME)                     \
    X86_READS_REG(name##_32, 32, name##_fin_32)  \
    X86_LOADS_LEAN(name##_32, 32, name##_fin_32) \
    X86_READS_REG(name##_64, 64, name##_fin_64)  \
    X86_LOADS_LEAN(name##_64, 64, name##_fin_64) \
    x86_handler *const x86_t_##NAME[16] = TABLE_Y(name##_);

/* fin(cpu, u, E) with `b` the register in vvvv */
#define FIN(bits, name)                                                             \
    X86_INLINE void name##_fin_##bits(struct x86_cpu *cpu, const struct x86_uop *u, \
                                      uint##bits##_t e)

X86_INLINE x86_cc logic_cc(bool sf, bool zf, bool cf)
{
    return (x86_cc)((sf ? X86_CC_SF : 0) | (zf ? X86_CC_ZF : 0) | (cf ? X86_CC_CF : 0));
}

/* SF and ZF of a result; CF as said, OF clear; AF and PF, undefined, clear */
#define SET_FLAGS(bits, r, cf) (cpu->cc = logic_cc((r) >> (bits - 1) & 1, !(r), cf))
#define VVVV(bits)             X86_GET##bits(cpu, X86_VIMM_VVVV(u))

#define BMI1(bits)                                                              \
    FIN(bits, andn)                                                             \
    {                                                                           \
        uint##bits##_t r = ~VVVV(bits) & e;                                     \
        SET_FLAGS(bits, r, false);                                              \
        X86_PUT##bits(cpu, u->reg, r);                                          \
    }                                                                           \
    FIN(bits, blsr)                                                             \
    {                                                                           \
        uint##bits##_t r = e & (e - 1);                                         \
        SET_FLAGS(bits, r, !e);                                                 \
        X86_PUT##bits(cpu, X86_VIMM_VVVV(u), r);                                \
    }                                                                           \
    FIN(bits, blsmsk)                                                           \
    {                                                                           \
        uint##bits##_t r = e ^ (e - 1);                                         \
        cpu->cc = logic_cc(r >> (bits - 1) & 1, false, !e);                     \
        X86_PUT##bits(cpu, X86_VIMM_VVVV(u), r);                                \
    }                                                                           \
    FIN(bits, blsi)                                                             \
    {                                                                           \
        uint##bits##_t r = e & (0 - e);                                         \
        SET_FLAGS(bits, r, e != 0);                                             \
        X86_PUT##bits(cpu, X86_VIMM_VVVV(u), r);                                \
    }                                                                           \
    FIN(bits, bextr)                                                            \
    {                                                                           \
        unsigned start = (uint8_t)VVVV(bits), len = (uint8_t)(VVVV(bits) >> 8); \
        uint##bits##_t r = start < bits ? e >> start : 0;                       \
        if (len < bits)                                                         \
            r &= ((uint##bits##_t)1 << len) - 1;                                \
        cpu->cc = logic_cc(false, !r, false);                                   \
        X86_PUT##bits(cpu, u->reg, r);                                          \
    }
BOTH_SIZES(BMI1)
HANDLERS(andn, ANDN)
HANDLERS(blsr, BLSR)
HANDLERS(blsmsk, BLSMSK)
HANDLERS(blsi, BLSI)
HANDLERS(bextr, BEXTR)

#define BMI2(bits)                                                                           \
    FIN(bits, bzhi)                                                                          \
    {                                                                                        \
        unsigned n = (uint8_t)VVVV(bits);                                                    \
        uint##bits##_t r = n < bits ? e & (((uint##bits##_t)1 << n) - 1) : e;                \
        SET_FLAGS(bits, r, n > bits - 1);                                                    \
        X86_PUT##bits(cpu, u->reg, r);                                                       \
    }                                                                                        \
    FIN(bits, pdep)                                                                          \
    {                                                                                        \
        uint##bits##_t from = VVVV(bits), r = 0;                                             \
        for (; e; e &= e - 1, from >>= 1)                                                    \
            r |= from & 1 ? e & (0 - e) : 0;                                                 \
        X86_PUT##bits(cpu, u->reg, r);                                                       \
    }                                                                                        \
    FIN(bits, pext)                                                                          \
    {                                                                                        \
        uint##bits##_t from = VVVV(bits), r = 0;                                             \
        for (uint##bits##_t to = 1; e; e &= e - 1, to <<= 1)                                 \
            r |= from & e & (0 - e) ? to : 0;                                                \
        X86_PUT##bits(cpu, u->reg, r);                                                       \
    }                                                                                        \
    FIN(bits, mulx)                                                                          \
    {                                                                                        \
        x86_cc unused = 0;                                                                   \
        uint##bits##_t hi, lo = x86_mul##bits(X86_GET##bits(cpu, X86_RDX), e, &hi, &unused); \
        X86_PUT##bits(cpu, X86_VIMM_VVVV(u), lo);                                            \
        X86_PUT##bits(cpu, u->reg, hi); /* wins where both are one register */               \
    }                                                                                        \
    FIN(bits, shlx)                                                                          \
    {                                                                                        \
        X86_PUT##bits(cpu, u->reg, e << (VVVV(bits) & (bits - 1)));                          \
    }                                                                                        \
    FIN(bits, shrx)                                                                          \
    {                                                                                        \
        X86_PUT##bits(cpu, u->reg, e >> (VVVV(bits) & (bits - 1)));                          \
    }                                                                                        \
    FIN(bits, sarx)                                                                          \
    {                                                                                        \
        X86_PUT##bits(cpu, u->reg,                                                           \
                      (uint##bits##_t)((int##bits##_t)e >> (VVVV(bits) & (bits - 1))));      \
    }                                                                                        \
    FIN(bits, rorx)                                                                          \
    {                                                                                        \
        unsigned n = X86_VIMM_IMM(u) & (bits - 1);                                           \
        X86_PUT##bits(cpu, u->reg, n ? e >> n | e << (bits - n) : e);                        \
    }
BOTH_SIZES(BMI2)
HANDLERS(bzhi, BZHI)
HANDLERS(pdep, PDEP)
HANDLERS(pext, PEXT)
HANDLERS(mulx, MULX)
HANDLERS(shlx, SHLX)
HANDLERS(shrx, SHRX)
HANDLERS(sarx, SARX)
HANDLERS(rorx, RORX)

/* ADCX, ADOX: the carry chain in CF or OF alone */
#define ADX(bits)                                                                          \
    X86_INLINE uint##bits##_t add_carry_##bits(uint##bits##_t a, uint##bits##_t b, bool c, \
                                               bool *out)                                  \
    {                                                                                      \
        uint##bits##_t r = a + b + c;                                                      \
        *out = c ? r <= a : r < a;                                                         \
        return r;                                                                          \
    }                                                                                      \
    FIN(bits, adcx)                                                                        \
    {                                                                                      \
        bool c;                                                                            \
        uint##bits##_t r =                                                                 \
            add_carry_##bits(X86_GET##bits(cpu, u->reg), e, cpu->cc & X86_CC_CF, &c);      \
        cpu->cc = (x86_cc)((cpu->cc & ~X86_CC_CF) | (c ? X86_CC_CF : 0));                  \
        X86_PUT##bits(cpu, u->reg, r);                                                     \
    }                                                                                      \
    FIN(bits, adox)                                                                        \
    {                                                                                      \
        bool c;                                                                            \
        uint##bits##_t r =                                                                 \
            add_carry_##bits(X86_GET##bits(cpu, u->reg), e, cpu->cc & X86_CC_OF, &c);      \
        cpu->cc = (x86_cc)((cpu->cc & ~X86_CC_OF) | (c ? X86_CC_OF : 0));                  \
        X86_PUT##bits(cpu, u->reg, r);                                                     \
    }
BOTH_SIZES(ADX)
HANDLERS(adcx, ADCX)
HANDLERS(adox, ADOX)

/* CRC32: polynomial 11EDC6F41H, reflected; the destination has 32 bits whatever the source has. */
static uint32_t crc32c(uint32_t crc, uint64_t v, unsigned bytes)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    for (; bytes; bytes--, v >>= 8) {
        crc ^= (uint8_t)v;
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return crc;
}
#define CRC_SIZE(bits, _)                                                      \
    FIN(bits, crc32)                                                           \
    {                                                                          \
        X86_PUT32(cpu, u->reg, crc32c((uint32_t)cpu->r[u->reg], e, bits / 8)); \
    }                                                                          \
    X86_READS_REG(crc32_##bits, bits, crc32_fin_##bits)                        \
    X86_LOADS_LEAN(crc32_##bits, bits, crc32_fin_##bits)
X86_FOR_SIZES(CRC_SIZE, _)
x86_handler *const x86_t_CRC32[16] = X86_TABLE_LEAN(crc32_);
