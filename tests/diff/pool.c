/* Operand values: edges of all formats far more often than chance would bring them. */
#include <string.h>

#include "diff.h"

static const uint64_t edges[] = {
    0,
    1,
    2,
    UINT64_MAX,
    UINT64_MAX - 1,
    0x7f,
    0x80,
    0x81,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x10000,
    0x7fffffff,
    0x80000000,
    0x80000001,
    0xffffffff,
    0x100000000,
    0x7fffffffffffffff,
    0x8000000000000000,
    0x8000000000000001,
    0xffffff80,
    0xffff8000,
    0xffffffff80000000,
    0xffffffffffffff80,
    0x5555555555555555,
    0xaaaaaaaaaaaaaaaa,
    0x0f0f0f0f0f0f0f0f,
    0x9999999999999999,
    0x0123456789abcdef,
};
#define COUNT(a) ((unsigned)(sizeof(a) / sizeof((a)[0])))

uint64_t diff_integer(struct diff_rng *r)
{
    uint64_t v = diff_next(r);
    switch (v & 7) {
    case 0:
    case 1:
        return edges[diff_below(r, COUNT(edges))];
    case 2:
        return v >> 58; /* small: counts and indices */
    case 3:
        return v >> (v >> 3 & 63);
    case 4:
        return (uint64_t)((int64_t)v >> (v >> 3 & 63));
    default:
        return diff_next(r);
    }
}

static const uint32_t floats[] = {
    0,          0x80000000, 1,          0x80000001, 0x007fffff, 0x00800000, 0x00800001, 0x7f7fffff,
    0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0xffbfffff, 0x7fc12345,
    0x3f800000, 0xbf800000, 0x3f800001, 0x3f7fffff, 0x3f000000, 0xbf000000, 0x3fc00000, 0x40200000,
    0x4f000000, 0xcf000000, 0x4effffff, 0x5f000000, 0x42fe0000, 0x477fff00, 0x4b7fffff,
};
static const uint64_t doubles[] = {
    0,
    0x8000000000000000,
    1,
    0x8000000000000001,
    0x000fffffffffffff,
    0x0010000000000000,
    0x7fefffffffffffff,
    0xffefffffffffffff,
    0x7ff0000000000000,
    0xfff0000000000000,
    0x7ff8000000000000,
    0xfff8000000000000,
    0x7ff0000000000001,
    0xfff7ffffffffffff,
    0x3ff0000000000000,
    0xbff0000000000000,
    0x3fe0000000000000,
    0x3ff8000000000000,
    0x4004000000000000,
    0x41e0000000000000,
    0xc1e0000000000000,
    0xc1e0000000200000,
    0x41dfffffffc00000,
    0x43e0000000000000,
    0xc3e0000000000000,
    0x47efffffe0000000,
    0x47effffff0000000,
    0x3690000000000000,
    0x380fffffffffffff,
};

static uint32_t some_float(struct diff_rng *r)
{
    uint64_t v = diff_next(r);
    if (v & 1)
        return floats[diff_below(r, COUNT(floats))];
    if (v & 2) /* exponent near that of 1.0: sums and products that round */
        return (uint32_t)(v >> 32 & 0x807fffff) | (uint32_t)(117 + (v >> 8) % 21) << 23;
    return (uint32_t)(v >> 32);
}

static uint64_t some_double(struct diff_rng *r)
{
    uint64_t v = diff_next(r), w = diff_next(r);
    if (v & 1)
        return doubles[diff_below(r, COUNT(doubles))];
    if (v & 2)
        return (w & 0x800fffffffffffff) | (1013 + (v >> 8) % 21) << 52;
    return w;
}

struct x86_f80 diff_f80(struct diff_rng *r)
{
    static const struct x86_f80 special[] = {
        {0, 0, {0}},
        {0, 0x8000, {0}},
        {1, 0, {0}},
        {0x7fffffffffffffff, 0x8000, {0}},
        {0x8000000000000000, 0, {0}},
        {0x8000000000000000, 1, {0}},
        {0xffffffffffffffff, 0x7ffe, {0}},
        {0x8000000000000000, 0x7fff, {0}},
        {0x8000000000000000, 0xffff, {0}},
        {0xc000000000000000, 0x7fff, {0}},
        {0xc000000000000000, 0xffff, {0}},
        {0x8000000000000001, 0x7fff, {0}},
        {0xa000000000000000, 0xffff, {0}},
        {0x8000000000000000, 0x3fff, {0}},
        {0x8000000000000000, 0xbfff, {0}},
        {0x8000000000000000, 0x3ffe, {0}},
        {0xc000000000000000, 0x3fff, {0}},
        {0xa000000000000000, 0x4000, {0}},
        {0x8000000000000000, 0x401e, {0}},
        {0x8000000000000000, 0xc01e, {0}},
        {0x8000000000000000, 0x403e, {0}},
        {0x8000000000000000, 0xc03e, {0}},
        {0xde0b6b3a763ffff0, 0x403a, {0}},
        {0xffffffffffffffff, 0x3ffe, {0}},
        /* unsupported: unnormal, pseudo-infinity, pseudo-NaN (SDM Vol.1 8.2.2) */
        {0x4000000000000000, 0x3fff, {0}},
        {0, 0x7fff, {0}},
        {0x4000000000000000, 0x7fff, {0}},
    };
    uint64_t v = diff_next(r), m = diff_next(r) | UINT64_C(1) << 63;
    switch (v & 7) {
    case 0:
    case 1:
    case 2:
        return special[diff_below(r, COUNT(special))];
    case 3:
        return (struct x86_f80){m & (UINT64_MAX << (v >> 8 & 63)),
                                (uint16_t)((v >> 40 & 0x8000) | (0x3ff0 + (v >> 16 & 31))),
                                {0}};
    case 4: /* integers */
        return (struct x86_f80){m & (UINT64_MAX << (v >> 8 & 63)),
                                (uint16_t)((v >> 40 & 0x8000) | (0x3fff + (v >> 16 & 63))),
                                {0}};
    case 5: /* what a float or double load gives */
        return (struct x86_f80){m & (v & 256 ? 0xffffff0000000000 : 0xfffffffffffff800),
                                (uint16_t)((v >> 40 & 0x8000) | (0x3f80 + (v >> 16 & 255))),
                                {0}};
    case 6:
        return (struct x86_f80){m, (uint16_t)(v >> 32), {0}};
    default:
        return (struct x86_f80){m, (uint16_t)((v >> 40 & 0x8000) | (0x3fff - (v >> 16 & 3))), {0}};
    }
}

/* 16 bytes as elements of one random width. */
static void fill16(struct diff_rng *r, uint8_t *p, bool fp)
{
    uint64_t v[2];
    unsigned kind = diff_below(r, 8);
    if (fp && kind < 6) {
        for (unsigned i = 0; i < 2; i++)
            v[i] = kind & 1 ? some_double(r) : some_float(r) | (uint64_t)some_float(r) << 32;
    } else if (kind == 7) { /* 80-bit operand of x87 loads */
        struct x86_f80 f = diff_f80(r);
        v[0] = f.mant;
        v[1] = f.se;
    } else if (kind >= 4) {
        v[0] = diff_next(r);
        v[1] = diff_next(r);
    } else {
        unsigned bits = 8u << kind; /* 8, 16, 32, 64 */
        uint64_t m = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
        v[0] = v[1] = 0;
        for (unsigned i = 0; i < 128; i += bits)
            v[i / 64] |= (diff_integer(r) & m) << (i % 64);
    }
    memcpy(p, v, 16);
}

void diff_fill(struct diff_rng *r, uint8_t *p, unsigned n, bool fp)
{
    for (unsigned i = 0; i < n; i += 16)
        fill16(r, p + i, fp);
}
