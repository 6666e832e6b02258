/*
 * The kernels: one object file, linked into a bare guest and into a native program. Freestanding,
 * deterministic; each returns a checksum that must not depend on where it runs.
 */
#include "kernels.h"

static uint32_t rnd(uint64_t *s)
{
    *s = *s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*s >> 32);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h ^= v;
    return (h << 5 | h >> 59) * UINT64_C(0x9e3779b97f4a7c15);
}

/* --- core: list, matrix, state machine, CRC --- */
struct node {
    uint32_t next, value;
};

static uint64_t core(uint8_t *arena, uint64_t n)
{
    struct node *list = (struct node *)(void *)arena;
    int16_t *a = (int16_t *)(void *)(arena + 0x4000), *b = a + 256, *c = b + 256;
    uint64_t s = 1, h = 0;
    for (uint32_t i = 0; i < 256; i++) {
        list[i] = (struct node){(i * 97 + 1) & 255, rnd(&s)};
        a[i] = (int16_t)rnd(&s);
        b[i] = (int16_t)rnd(&s);
    }
    for (uint64_t k = 0; k < n; k++) {
        uint32_t at = (uint32_t)k & 255, crc = 0, state = 0, sum = 0;
        for (unsigned i = 0; i < 256; i++) {
            sum += list[at].value;
            list[at].value ^= sum;
            at = list[at].next;
        }
        for (unsigned i = 0; i < 16; i++)
            for (unsigned j = 0; j < 16; j++) {
                int32_t t = 0;
                for (unsigned l = 0; l < 16; l++)
                    t += a[i * 16 + l] * b[l * 16 + j];
                c[i * 16 + j] = (int16_t)(t >> 4);
            }
        for (unsigned i = 0; i < 256; i++) {
            unsigned ch = (uint16_t)c[i] & 15;
            if (ch < 4)
                state = state == 0 ? 1 : 2;
            else if (ch < 9)
                state = state == 2 ? 3 : state + 1;
            else
                state = 0;
            crc ^= (uint8_t)(state + ch);
            for (unsigned bit = 0; bit < 8; bit++)
                crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
        h = mix(h, crc + sum);
    }
    return h;
}

/* --- sha256 --- */
static uint32_t ror(uint32_t v, unsigned n)
{
    return v >> n | v << (32 - n);
}

static void sha_block(uint32_t st[8], const uint32_t *data)
{
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
        0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
        0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
        0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
        0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
        0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
        0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
        0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
        0xc67178f2};
    uint32_t w[64], v[8];
    for (unsigned i = 0; i < 16; i++)
        w[i] = __builtin_bswap32(data[i]);
    for (unsigned i = 16; i < 64; i++)
        w[i] = w[i - 16] + (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
               (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (unsigned i = 0; i < 8; i++)
        v[i] = st[i];
    for (unsigned i = 0; i < 64; i++) {
        uint32_t t1 = v[7] + (ror(v[4], 6) ^ ror(v[4], 11) ^ ror(v[4], 25)) +
                      ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
        uint32_t t2 = (ror(v[0], 2) ^ ror(v[0], 13) ^ ror(v[0], 22)) +
                      ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        v[7] = v[6], v[6] = v[5], v[5] = v[4], v[4] = v[3] + t1;
        v[3] = v[2], v[2] = v[1], v[1] = v[0], v[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++)
        st[i] += v[i];
}

static uint64_t sha256(uint8_t *arena, uint64_t n)
{
    uint32_t st[8] = {1, 2, 3, 4, 5, 6, 7, 8}, *data = (uint32_t *)(void *)arena;
    for (unsigned i = 0; i < 1024; i++)
        data[i] = i * 0x01010101;
    for (uint64_t i = 0; i < n; i++)
        sha_block(st, data + (i & 63) * 16);
    return (uint64_t)st[0] << 32 | st[7];
}

/* --- bignum: 1024-bit products --- */
static uint64_t bignum(uint8_t *arena, uint64_t n)
{
    uint64_t *a = (uint64_t *)(void *)arena, *b = a + 16, *c = b + 16, s = 7;
    for (unsigned i = 0; i < 32; i++)
        a[i] = (uint64_t)rnd(&s) << 32 | rnd(&s);
    for (uint64_t k = 0; k < n; k++) {
        for (unsigned i = 0; i < 32; i++)
            c[i] = 0;
        for (unsigned i = 0; i < 16; i++) {
            unsigned __int128 t = 0;
            for (unsigned j = 0; j < 16; j++) {
                t += (unsigned __int128)a[i] * b[j] + c[i + j];
                c[i + j] = (uint64_t)t;
                t >>= 64;
            }
            c[i + 16] = (uint64_t)t;
        }
        for (unsigned i = 0; i < 16; i++)
            a[i] ^= c[i + 8];
    }
    return mix(a[0], a[15]);
}

/* --- qsort --- */
static void sort(uint32_t *a, int64_t lo, int64_t hi)
{
    while (lo < hi) {
        uint32_t p = a[(lo + hi) >> 1];
        int64_t i = lo, j = hi;
        while (i <= j) {
            while (a[i] < p)
                i++;
            while (a[j] > p)
                j--;
            if (i <= j) {
                uint32_t t = a[i];
                a[i++] = a[j];
                a[j--] = t;
            }
        }
        if (j - lo < hi - i) {
            sort(a, lo, j);
            lo = i;
        } else {
            sort(a, i, hi);
            hi = j;
        }
    }
}

static uint64_t quicksort(uint8_t *arena, uint64_t n)
{
    uint32_t *a = (uint32_t *)(void *)arena;
    uint64_t s = 3, h = 0;
    for (uint64_t i = 0; i < n; i++)
        a[i] = rnd(&s);
    sort(a, 0, (int64_t)n - 1);
    for (uint64_t i = 0; i < n; i += 97)
        h = mix(h, a[i]);
    return h;
}

/* --- lz: compress and expand 64 KiB --- */
static uint32_t lz_pack(const uint8_t *in, uint32_t n, uint8_t *out, uint32_t *table)
{
    uint32_t o = 0, i = 0;
    for (unsigned k = 0; k < 4096; k++)
        table[k] = 0;
    while (i + 4 < n) {
        uint32_t v = in[i] | (uint32_t)in[i + 1] << 8 | (uint32_t)in[i + 2] << 16;
        uint32_t *t = &table[v * 2654435761u >> 20], at = *t, len = 0;
        *t = i;
        while (at < i && i - at < 65536 && len < 255 && i + len < n && in[at + len] == in[i + len])
            len++;
        if (len >= 4) {
            out[o++] = 1;
            out[o++] = (uint8_t)len;
            out[o++] = (uint8_t)(i - at);
            out[o++] = (uint8_t)((i - at) >> 8);
            i += len;
        } else {
            out[o++] = 0;
            out[o++] = in[i++];
        }
    }
    while (i < n) {
        out[o++] = 0;
        out[o++] = in[i++];
    }
    return o;
}

static uint64_t lz(uint8_t *arena, uint64_t n)
{
    uint8_t *in = arena, *packed = arena + 0x10000, *out = arena + 0x40000;
    uint64_t s = 5, h = 0;
    for (unsigned i = 0; i < 0x10000; i++)
        in[i] = (uint8_t)(rnd(&s) % 7 ? i >> 3 & 31 : rnd(&s) & 15);
    for (uint64_t k = 0; k < n; k++) {
        uint32_t len = lz_pack(in, 0x10000, packed, (uint32_t *)(void *)(arena + 0x60000)), o = 0;
        for (uint32_t i = 0; i < len;) {
            if (packed[i]) {
                uint32_t back = packed[i + 2] | (uint32_t)packed[i + 3] << 8;
                for (uint32_t m = packed[i + 1]; m; m--, o++)
                    out[o] = out[o - back];
                i += 4;
            } else {
                out[o++] = packed[i + 1];
                i += 2;
            }
        }
        h = mix(h, len + out[k & 0xffff] + o);
        in[k * 61 & 0xffff] ^= 1;
    }
    return h;
}

/* --- bytecode: a switch interpreter --- */
static uint64_t bytecode(uint8_t *arena, uint64_t n)
{
    static const uint8_t program[] = {0, 1, 2, 5, 3, 1, 6, 4, 2, 7, 0, 3, 5, 1, 8};
    uint64_t r[4] = {1, 2, 3, 4}, pc = 0, left = n;
    (void)arena;
    while (left) {
        switch (program[pc++]) {
        case 0:
            r[0] += r[1];
            break;
        case 1:
            r[1] ^= r[2] << 3;
            break;
        case 2:
            r[2] += r[3] >> 2;
            break;
        case 3:
            r[3] = r[3] * 5 + 1;
            break;
        case 4:
            r[0] ^= r[3];
            break;
        case 5:
            r[1] -= r[0];
            break;
        case 6:
            if (r[0] & 1)
                r[2]++;
            break;
        case 7:
            r[3] ^= r[1] >> 7;
            break;
        default:
            pc = 0;
            left--;
            break;
        }
    }
    return mix(r[0] ^ r[1], r[2] ^ r[3]);
}

/* --- fnptr: indirect calls --- */
#define FN(k, e)                                                 \
    static __attribute__((noinline)) uint64_t fn_##k(uint64_t v) \
    {                                                            \
        return e;                                                \
    }
FN(0, v + 7)
FN(1, v ^ 0x5555)
FN(2, v * 3)
FN(3, v >> 1)
FN(4, v - 11)
FN(5, ~v)
FN(6, v << 1 | v >> 63)
FN(7, v + (v >> 9))

static uint64_t fnptr(uint8_t *arena, uint64_t n)
{
    static uint64_t (*const table[8])(uint64_t) = {fn_0, fn_1, fn_2, fn_3, fn_4, fn_5, fn_6, fn_7};
    uint64_t v = 1;
    (void)arena;
    for (uint64_t i = 0; i < n; i++)
        v = table[(v ^ i) & 7](v);
    return v;
}

static __attribute__((noinline)) uint64_t fib_of(uint64_t n)
{
    return n < 2 ? n : fib_of(n - 1) + fib_of(n - 2);
}
static uint64_t fib(uint8_t *arena, uint64_t n)
{
    uint64_t h = 0;
    (void)arena;
    for (uint64_t i = 0; i < n; i++)
        h = mix(h, fib_of(18 + (i & 1)));
    return h;
}

/* --- memory --- */
static uint64_t chase(uint8_t *arena, uint64_t n, uint32_t count)
{
    uint32_t *next = (uint32_t *)(void *)arena, at = 0; /* one entry per 64 bytes */
    uint32_t step = count / 2 + count / 8 + 1;
    for (uint32_t i = 0, k = 0; i < count; i++, k = (k + step) & (count - 1))
        next[k * 16u] = ((k + step) & (count - 1)) * 16u;
    for (uint64_t i = 0; i < n; i++)
        at = next[at];
    return at;
}
static uint64_t chase256k(uint8_t *arena, uint64_t n)
{
    return chase(arena, n, 4096);
}
static uint64_t chase64m(uint8_t *arena, uint64_t n)
{
    return chase(arena, n, 1u << 20);
}

typedef uint64_t v2 __attribute__((vector_size(16)));
static uint64_t copy(uint8_t *arena, uint64_t n)
{
    v2 *a = (v2 *)(void *)arena, *b = (v2 *)(void *)(arena + BENCH_ARENA_SIZE / 2);
    uint64_t words = n * 64 < (BENCH_ARENA_SIZE / 32) ? n * 64 : BENCH_ARENA_SIZE / 32;
    for (uint64_t i = 0; i < words; i++)
        a[i] = (v2){i, ~i};
    for (uint64_t i = 0; i < words; i++)
        b[i] = a[i];
    return b[words - 1][0] + b[words / 2][1];
}
static uint64_t sum(uint8_t *arena, uint64_t n)
{
    const uint64_t *a = (const uint64_t *)(const void *)arena;
    uint64_t words = n * 128 < (BENCH_ARENA_SIZE / 8) ? n * 128 : BENCH_ARENA_SIZE / 8, s = 0;
    for (uint64_t i = 0; i < words; i++) {
        s += a[i];
        __asm__("" : "+r"(s)); /* stays scalar */
    }
    return s;
}

/* --- floating point --- */
static uint64_t bits(double v)
{
    union {
        double d;
        uint64_t u;
    } c = {.d = v};
    return c.u;
}

static double root(double v)
{
    __asm__("sqrtsd %0, %0" : "+x"(v));
    return v;
}

static uint64_t nbody(uint8_t *arena, uint64_t n)
{
    double p[5][3], v[5][3], m[5];
    (void)arena;
    for (unsigned i = 0; i < 5; i++) {
        m[i] = 1.0 / (1 + i);
        for (unsigned k = 0; k < 3; k++) {
            p[i][k] = (double)(i * 3 + k) * 0.7 - 3;
            v[i][k] = (double)(k + 1) * 0.01 - (double)i * 0.003;
        }
    }
    for (uint64_t t = 0; t < n; t++) {
        for (unsigned i = 0; i < 5; i++)
            for (unsigned j = i + 1; j < 5; j++) {
                double d[3], r2 = 0.01;
                for (unsigned k = 0; k < 3; k++) {
                    d[k] = p[i][k] - p[j][k];
                    r2 += d[k] * d[k];
                }
                double f = 0.001 / (r2 * root(r2));
                for (unsigned k = 0; k < 3; k++) {
                    v[i][k] -= d[k] * m[j] * f;
                    v[j][k] += d[k] * m[i] * f;
                }
            }
        for (unsigned i = 0; i < 5; i++)
            for (unsigned k = 0; k < 3; k++)
                p[i][k] += 0.001 * v[i][k];
    }
    return mix(bits(p[0][0]), bits(p[4][2]));
}

typedef float v4 __attribute__((vector_size(16)));
static uint64_t ssefloat(uint8_t *arena, uint64_t n)
{
    v4 *a = (v4 *)(void *)arena, s = {0};
    for (unsigned i = 0; i < 1024; i++)
        a[i] = (v4){(float)i, (float)(i ^ 5), 1.5f, (float)(i & 7)};
    for (uint64_t k = 0; k < n; k++)
        for (unsigned i = 0; i < 1024; i++) {
            a[i] = a[i] * 0.999f + 0.25f;
            s = s + a[i];
        }
    return mix(bits(s[0] + s[1]), bits(s[2] + s[3]));
}

static uint64_t x87(uint8_t *arena, uint64_t n)
{
    volatile long double x = 0.5L;
    (void)arena;
    for (uint64_t i = 0; i < n; i++)
        x = x * 1.000001L + 0.001L;
    return (uint64_t)(x * 1000000.0L);
}

/* --- strings, atomics --- */
static uint64_t rep_movs(uint8_t *arena, uint64_t n)
{
    uint64_t total = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t count = UINT64_C(64) << (i & 7);
        uint8_t *to = arena + 0x10000 + (i & 31), *from = arena + (i & 15);
        from[0] = (uint8_t)i;
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
        total += arena[0x10000 + (i & 31)];
    }
    return total;
}
static uint64_t rep_stos(uint8_t *arena, uint64_t n)
{
    uint64_t total = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t count = UINT64_C(8) << (i & 7), value = i * 0x0101;
        uint8_t *to = arena + (i & 7) * 8;
        __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(value) : "memory");
        total += arena[64];
    }
    return total;
}
static uint64_t atomic(uint8_t *arena, uint64_t n)
{
    uint64_t *p = (uint64_t *)(void *)arena;
    *p = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t old = __atomic_fetch_add(p, i, __ATOMIC_SEQ_CST);
        __atomic_compare_exchange_n(p, &old, old ^ 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    return *p;
}

static uint64_t bigcode(uint8_t *arena, uint64_t n)
{
    uint64_t h = 0;
    (void)arena;
    for (uint64_t i = 0; i < n; i++)
        h = mix(h, bench_bigcode(i));
    return h;
}

const struct bench_kernel bench_kernels[] = {
    {"core", "iteration", core, 1000, 3, GROUP_INTEGER},
    {"sha256", "block", sha256, 80000, 50, GROUP_INTEGER},
    {"bignum", "product", bignum, 60000, 20, GROUP_INTEGER},
    {"qsort", "element", quicksort, 300000, 3000, GROUP_INTEGER},
    {"lz", "64 KiB", lz, 40, 1, GROUP_INTEGER},
    {"bytecode", "iteration", bytecode, 600000, 500, GROUP_INTEGER},
    {"fnptr", "call", fnptr, 3000000, 3000, GROUP_INTEGER},
    {"fib", "fib(18)", fib, 800, 1, GROUP_INTEGER},
    {"chase256k", "load", chase256k, 3000000, 5000, GROUP_MEMORY},
    {"chase64m", "load", chase64m, 400000, 5000, GROUP_MEMORY},
    {"copy", "KiB", copy, 32768, 16, GROUP_MEMORY},
    {"sum", "KiB", sum, 131072, 64, GROUP_MEMORY},
    {"nbody", "step", nbody, 100000, 50, GROUP_FP},
    {"ssefloat", "4096 floats", ssefloat, 20000, 5, GROUP_FP},
    {"x87", "step", x87, 2000000, 2000, GROUP_FP},
    {"rep movsb", "64 B..8 KiB", rep_movs, 100000, 64, GROUP_OTHER},
    {"rep stosq", "64 B..8 KiB", rep_stos, 100000, 64, GROUP_OTHER},
    {"atomic", "pair", atomic, 1000000, 1000, GROUP_OTHER},
    {"bigcode x1", "pass", bigcode, 1, 1, GROUP_CODE},
    {"bigcode x10", "pass", bigcode, 10, 2, GROUP_CODE},
    {"bigcode x100", "pass", bigcode, 100, 3, GROUP_CODE},
};
const unsigned bench_nkernels = sizeof(bench_kernels) / sizeof(bench_kernels[0]);
