/* alu.h in plain C: for other hosts, and for comparison (-DX86_PORTABLE). */
#ifndef X86_ALU_PORTABLE_H
#define X86_ALU_PORTABLE_H

X86_INLINE x86_cc x86_flag_if(bool set, x86_cc flag)
{
    return set ? flag : 0;
}

/* SF ZF PF of a result */
X86_INLINE x86_cc x86_szp(uint64_t r, unsigned bits)
{
    uint8_t p = (uint8_t)r;
    p ^= p >> 4;
    p ^= p >> 2;
    p ^= p >> 1;
    return x86_flag_if(r >> (bits - 1) & 1, X86_CC_SF) | x86_flag_if(!r, X86_CC_ZF) |
           x86_flag_if(!(p & 1), X86_CC_PF);
}

X86_INLINE x86_cc x86_addsub_cc(uint64_t a, uint64_t b, uint64_t r, bool cf, bool sub,
                                unsigned bits)
{
    uint64_t over = sub ? (a ^ b) & (a ^ r) : (a ^ r) & (b ^ r);
    return x86_szp(r, bits) | x86_flag_if(cf, X86_CC_CF) |
           x86_flag_if((a ^ b ^ r) & 0x10, X86_CC_AF) | (x86_cc)(over >> (bits - 1) & 1);
}

#define X86_PORTABLE_BASIC(bits)                                                            \
    X86_INLINE uint##bits##_t x86_adc_##bits(uint##bits##_t a, uint##bits##_t b, bool c,    \
                                             x86_cc *cc)                                    \
    {                                                                                       \
        uint##bits##_t r = (uint##bits##_t)(a + b + c);                                     \
        *cc = x86_addsub_cc(a, b, r, c ? r <= a : r < a, false, bits);                      \
        return r;                                                                           \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_sbb_##bits(uint##bits##_t a, uint##bits##_t b, bool c,    \
                                             x86_cc *cc)                                    \
    {                                                                                       \
        uint##bits##_t r = (uint##bits##_t)(a - b - c);                                     \
        *cc = x86_addsub_cc(a, b, r, c ? a <= b : a < b, true, bits);                       \
        return r;                                                                           \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_add##bits(uint##bits##_t a, uint##bits##_t b, x86_cc *cc) \
    {                                                                                       \
        return x86_adc_##bits(a, b, false, cc);                                             \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_adc##bits(uint##bits##_t a, uint##bits##_t b, x86_cc *cc) \
    {                                                                                       \
        return x86_adc_##bits(a, b, *cc & X86_CC_CF, cc);                                   \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_sub##bits(uint##bits##_t a, uint##bits##_t b, x86_cc *cc) \
    {                                                                                       \
        return x86_sbb_##bits(a, b, false, cc);                                             \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_sbb##bits(uint##bits##_t a, uint##bits##_t b, x86_cc *cc) \
    {                                                                                       \
        return x86_sbb_##bits(a, b, *cc & X86_CC_CF, cc);                                   \
    }                                                                                       \
    X86_INLINE void x86_cmp##bits(uint##bits##_t a, uint##bits##_t b, x86_cc *cc)           \
    {                                                                                       \
        x86_sbb_##bits(a, b, false, cc);                                                    \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_neg##bits(uint##bits##_t a, x86_cc *cc)                   \
    {                                                                                       \
        return x86_sbb_##bits(0, a, false, cc);                                             \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_inc##bits(uint##bits##_t a, x86_cc *cc)                   \
    {                                                                                       \
        x86_cc keep = *cc & X86_CC_CF;                                                      \
        uint##bits##_t r = x86_adc_##bits(a, 1, false, cc);                                 \
        *cc = (*cc & (x86_cc)~X86_CC_CF) | keep;                                            \
        return r;                                                                           \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_dec##bits(uint##bits##_t a, x86_cc *cc)                   \
    {                                                                                       \
        x86_cc keep = *cc & X86_CC_CF;                                                      \
        uint##bits##_t r = x86_sbb_##bits(a, 1, false, cc);                                 \
        *cc = (*cc & (x86_cc)~X86_CC_CF) | keep;                                            \
        return r;                                                                           \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_and##bits(uint##bits##_t a, uint##bits##_t b, x86_cc *cc) \
    {                                                                                       \
        a &= b;                                                                             \
        *cc = x86_szp(a, bits);                                                             \
        return a;                                                                           \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_or##bits(uint##bits##_t a, uint##bits##_t b, x86_cc *cc)  \
    {                                                                                       \
        a |= b;                                                                             \
        *cc = x86_szp(a, bits);                                                             \
        return a;                                                                           \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_xor##bits(uint##bits##_t a, uint##bits##_t b, x86_cc *cc) \
    {                                                                                       \
        a ^= b;                                                                             \
        *cc = x86_szp(a, bits);                                                             \
        return a;                                                                           \
    }                                                                                       \
    X86_INLINE void x86_test##bits(uint##bits##_t a, uint##bits##_t b, x86_cc *cc)          \
    {                                                                                       \
        *cc = x86_szp(a & b, bits);                                                         \
    }

/* --- shifts and rotates. Undefined flags: OF for counts above 1 as for 1, AF stays. --- */

X86_INLINE x86_cc x86_cf_of(x86_cc cc, bool cf, bool of)
{
    return (cc & (x86_cc) ~(X86_CC_CF | X86_CC_OF)) | x86_flag_if(cf, X86_CC_CF) | (x86_cc)of;
}
X86_INLINE x86_cc x86_shift_cc(x86_cc cc, uint64_t r, unsigned bits, bool cf, bool of)
{
    return (cc & X86_CC_AF) | x86_szp(r, bits) | x86_flag_if(cf, X86_CC_CF) | (x86_cc)of;
}

#define X86_PORTABLE_SHIFT(bits)                                                            \
    X86_INLINE uint##bits##_t x86_shl##bits(uint##bits##_t a, unsigned n, x86_cc *cc)       \
    {                                                                                       \
        n &= bits == 64 ? 63 : 31;                                                          \
        if (!n)                                                                             \
            return a;                                                                       \
        bool cf = n <= bits && a >> (bits - n) & 1;                                         \
        uint##bits##_t r = n < bits ? (uint##bits##_t)(a << n) : 0;                         \
        *cc = x86_shift_cc(*cc, r, bits, cf, (r >> (bits - 1) & 1) ^ cf);                   \
        return r;                                                                           \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_shr##bits(uint##bits##_t a, unsigned n, x86_cc *cc)       \
    {                                                                                       \
        n &= bits == 64 ? 63 : 31;                                                          \
        if (!n)                                                                             \
            return a;                                                                       \
        bool cf = n <= bits && a >> (n - 1) & 1;                                            \
        uint##bits##_t r = n < bits ? (uint##bits##_t)(a >> n) : 0;                         \
        *cc = x86_shift_cc(*cc, r, bits, cf, a >> (bits - 1) & 1);                          \
        return r;                                                                           \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_sar##bits(uint##bits##_t a, unsigned n, x86_cc *cc)       \
    {                                                                                       \
        n &= bits == 64 ? 63 : 31;                                                          \
        if (!n)                                                                             \
            return a;                                                                       \
        int64_t s = (int##bits##_t)a;                                                       \
        uint##bits##_t r = (uint##bits##_t)(s >> n);                                        \
        *cc = x86_shift_cc(*cc, r, bits, s >> (n - 1) & 1, false);                          \
        return r;                                                                           \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_shl_nz##bits(uint##bits##_t a, unsigned n, x86_cc *cc)    \
    {                                                                                       \
        return x86_shl##bits(a, n, cc);                                                     \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_shr_nz##bits(uint##bits##_t a, unsigned n, x86_cc *cc)    \
    {                                                                                       \
        return x86_shr##bits(a, n, cc);                                                     \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_sar_nz##bits(uint##bits##_t a, unsigned n, x86_cc *cc)    \
    {                                                                                       \
        return x86_sar##bits(a, n, cc);                                                     \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_rol##bits(uint##bits##_t a, unsigned n, x86_cc *cc)       \
    {                                                                                       \
        n &= bits == 64 ? 63 : 31;                                                          \
        if (!n)                                                                             \
            return a;                                                                       \
        n &= bits - 1;                                                                      \
        a = (uint##bits##_t)(n ? a << n | a >> (bits - n) : a);                             \
        *cc = x86_cf_of(*cc, a & 1, (a >> (bits - 1) ^ a) & 1);                             \
        return a;                                                                           \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_ror##bits(uint##bits##_t a, unsigned n, x86_cc *cc)       \
    {                                                                                       \
        n &= bits == 64 ? 63 : 31;                                                          \
        if (!n)                                                                             \
            return a;                                                                       \
        n &= bits - 1;                                                                      \
        a = (uint##bits##_t)(n ? a >> n | a << (bits - n) : a);                             \
        *cc = x86_cf_of(*cc, a >> (bits - 1) & 1, (a >> (bits - 1) ^ a >> (bits - 2)) & 1); \
        return a;                                                                           \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_rcl##bits(uint##bits##_t a, unsigned n, x86_cc *cc)       \
    {                                                                                       \
        bool c = *cc & X86_CC_CF;                                                           \
        n &= bits == 64 ? 63 : 31;                                                          \
        n %= bits + 1;                                                                      \
        if (!n)                                                                             \
            return a;                                                                       \
        for (; n; n--) {                                                                    \
            bool out = a >> (bits - 1) & 1;                                                 \
            a = (uint##bits##_t)(a << 1 | c);                                               \
            c = out;                                                                        \
        }                                                                                   \
        *cc = x86_cf_of(*cc, c, (a >> (bits - 1) & 1) ^ c);                                 \
        return a;                                                                           \
    }                                                                                       \
    X86_INLINE uint##bits##_t x86_rcr##bits(uint##bits##_t a, unsigned n, x86_cc *cc)       \
    {                                                                                       \
        bool c = *cc & X86_CC_CF;                                                           \
        n &= bits == 64 ? 63 : 31;                                                          \
        n %= bits + 1;                                                                      \
        if (!n)                                                                             \
            return a;                                                                       \
        for (; n; n--) {                                                                    \
            bool out = a & 1;                                                               \
            a = (uint##bits##_t)(a >> 1 | (uint##bits##_t)c << (bits - 1));                 \
            c = out;                                                                        \
        }                                                                                   \
        *cc = x86_cf_of(*cc, c, (a >> (bits - 1) ^ a >> (bits - 2)) & 1);                   \
        return a;                                                                           \
    }

/* Counts beyond the operand (16 bits only) are undefined: here they rotate through both operands.
 */
#define X86_PORTABLE_DOUBLE(bits)                                                            \
    X86_INLINE uint##bits##_t x86_shld##bits(uint##bits##_t a, uint##bits##_t b, unsigned n, \
                                             x86_cc *cc)                                     \
    {                                                                                        \
        uint##bits##_t first = a;                                                            \
        bool cf = false;                                                                     \
        n &= bits == 64 ? 63 : 31;                                                           \
        if (!n)                                                                              \
            return a;                                                                        \
        for (; n; n--) {                                                                     \
            cf = a >> (bits - 1) & 1;                                                        \
            a = (uint##bits##_t)(a << 1 | b >> (bits - 1));                                  \
            b = (uint##bits##_t)(b << 1 | cf);                                               \
        }                                                                                    \
        *cc = x86_shift_cc(*cc, a, bits, cf, (a ^ first) >> (bits - 1) & 1);                 \
        return a;                                                                            \
    }                                                                                        \
    X86_INLINE uint##bits##_t x86_shrd##bits(uint##bits##_t a, uint##bits##_t b, unsigned n, \
                                             x86_cc *cc)                                     \
    {                                                                                        \
        uint##bits##_t first = a;                                                            \
        bool cf = false;                                                                     \
        n &= bits == 64 ? 63 : 31;                                                           \
        if (!n)                                                                              \
            return a;                                                                        \
        for (; n; n--) {                                                                     \
            cf = a & 1;                                                                      \
            a = (uint##bits##_t)(a >> 1 | (b & 1) << (bits - 1));                            \
            b = (uint##bits##_t)(b >> 1 | (uint##bits##_t)cf << (bits - 1));                 \
        }                                                                                    \
        *cc = x86_shift_cc(*cc, a, bits, cf, (a ^ first) >> (bits - 1) & 1);                 \
        return a;                                                                            \
    }

/* --- multiplication; undefined: SF ZF PF as of the lower half, AF clear --- */

X86_INLINE x86_cc x86_mul_cc(uint64_t lo, unsigned bits, bool over)
{
    return x86_szp(lo, bits) | (over ? X86_CC_CF | X86_CC_OF : 0);
}

#define X86_PORTABLE_MULTIPLY(bits, wide)                                                      \
    X86_INLINE uint##bits##_t x86_mul##bits(uint##bits##_t a, uint##bits##_t b,                \
                                            uint##bits##_t *hi, x86_cc *cc)                    \
    {                                                                                          \
        uint##wide##_t p = (uint##wide##_t)((uint##wide##_t)a * b);                            \
        *hi = (uint##bits##_t)(p >> bits);                                                     \
        *cc = x86_mul_cc((uint##bits##_t)p, bits, *hi);                                        \
        return (uint##bits##_t)p;                                                              \
    }                                                                                          \
    X86_INLINE uint##bits##_t x86_imul##bits(uint##bits##_t a, uint##bits##_t b,               \
                                             uint##bits##_t *hi, x86_cc *cc)                   \
    {                                                                                          \
        int##wide##_t p = (int##wide##_t)((int##wide##_t)(int##bits##_t)a * (int##bits##_t)b); \
        *hi = (uint##bits##_t)(p >> bits);                                                     \
        *cc = x86_mul_cc((uint##bits##_t)p, bits, p != (int##bits##_t)p);                      \
        return (uint##bits##_t)p;                                                              \
    }

X86_INLINE uint64_t x86_mul64(uint64_t a, uint64_t b, uint64_t *hi, x86_cc *cc)
{
    uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
    uint64_t ll = al * bl, lh = al * bh, hl = ah * bl;
    uint64_t mid = (ll >> 32) + (uint32_t)lh + (uint32_t)hl;
    *hi = ah * bh + (lh >> 32) + (hl >> 32) + (mid >> 32);
    *cc = x86_mul_cc(a * b, 64, *hi);
    return a * b;
}
X86_INLINE uint64_t x86_imul64(uint64_t a, uint64_t b, uint64_t *hi, x86_cc *cc)
{
    uint64_t lo = x86_mul64(a, b, hi, cc);
    *hi -= (a >> 63 ? b : 0) + (b >> 63 ? a : 0);
    *cc = x86_mul_cc(lo, 64, *hi != 0 - (lo >> 63));
    return lo;
}

X86_PORTABLE_BASIC(8)
X86_PORTABLE_BASIC(16)
X86_PORTABLE_BASIC(32)
X86_PORTABLE_BASIC(64)
X86_PORTABLE_SHIFT(8)
X86_PORTABLE_SHIFT(16)
X86_PORTABLE_SHIFT(32)
X86_PORTABLE_SHIFT(64)
X86_PORTABLE_DOUBLE(16)
X86_PORTABLE_DOUBLE(32)
X86_PORTABLE_DOUBLE(64)
X86_PORTABLE_MULTIPLY(8, 16)
X86_PORTABLE_MULTIPLY(16, 32)
X86_PORTABLE_MULTIPLY(32, 64)

#define X86_PORTABLE_IMUL2(bits)                                                              \
    X86_INLINE uint##bits##_t x86_imul2##bits(uint##bits##_t a, uint##bits##_t b, x86_cc *cc) \
    {                                                                                         \
        uint##bits##_t hi;                                                                    \
        return x86_imul##bits(a, b, &hi, cc);                                                 \
    }
X86_PORTABLE_IMUL2(16)
X86_PORTABLE_IMUL2(32)
X86_PORTABLE_IMUL2(64)

#undef X86_PORTABLE_BASIC
#undef X86_PORTABLE_SHIFT
#undef X86_PORTABLE_DOUBLE
#undef X86_PORTABLE_MULTIPLY
#undef X86_PORTABLE_IMUL2

#endif
