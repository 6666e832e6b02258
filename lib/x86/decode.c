/*
 * The decoder: bytes -> struct x86_insn, driven by the rows (insn.h).
 *
 * Order of events as in SDM Vol.2A chapter 2: legacy prefixes, REX or VEX, opcode map, ModRM, SIB,
 * displacement, then the row is chosen (it may depend on ModRM, prefixes, mode and CPU features)
 * and says which immediates follow.
 */
#include "x86/insn.h"

/* A later designator overrides an earlier one, so an entry ends up as the *last* row of its opcode.
 */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Winitializer-overrides"
#elif defined(__GNUC__)
#pragma GCC diagnostic ignored "-Woverride-init"
#endif
static const uint16_t last_row[X86_NMAPS * 256] = {
#define RM(id, map, opcode, ...) [X86_##map * 256 + (opcode)] = X86_I_##id,
#define RN(id, map, opcode, ...) [X86_##map * 256 + (opcode)] = X86_I_##id,
#include "x86/rows.h"
#undef RM
#undef RN
};

struct cursor {
    const uint8_t *p;
    unsigned pos, n;
    enum x86_decode_result err;
};

static uint8_t next_byte(struct cursor *c)
{
    if (c->pos < c->n && c->pos < 15)
        return c->p[c->pos++];
    if (c->err == X86_DECODE_OK)
        c->err = c->pos >= 15 ? X86_DECODE_TOO_LONG : X86_DECODE_MORE;
    return 0;
}

static uint64_t next_le(struct cursor *c, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)next_byte(c) << (8 * i);
    return v;
}

static int64_t next_signed(struct cursor *c, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (int64_t)(next_le(c, bytes) << shift) >> shift;
}

enum prefix { P_NONE, P_SEG, P_66, P_67, P_LOCK, P_REP };
static const uint8_t prefix_kind[256] = {
    [0x26] = P_SEG, [0x2e] = P_SEG, [0x36] = P_SEG,  [0x3e] = P_SEG, [0x64] = P_SEG, [0x65] = P_SEG,
    [0x66] = P_66,  [0x67] = P_67,  [0xf0] = P_LOCK, [0xf2] = P_REP, [0xf3] = P_REP,
};

/* What the prefixes said; the rest goes to struct x86_insn at once. */
struct prefixes {
    int seg; /* -1: none */
    bool p67;
    uint8_t rex; /* R, X, B bits come from here, for VEX too */
    bool rex_seen;
};

static void take_segment(struct prefixes *p, uint8_t b, bool long64)
{
    int seg = b >= 0x64 ? X86_FS + (b - 0x64) : (b - 0x26) >> 3;
    if (long64 && seg < X86_FS)
        return; /* ignored in 64-bit mode, SDM Vol.1 3.3.7 */
    p->seg = seg;
}

static uint8_t read_prefixes(struct cursor *c, struct x86_insn *in, struct prefixes *p, bool long64)
{
    for (;;) {
        uint8_t b = next_byte(c);
        switch (prefix_kind[b]) {
        case P_SEG:
            take_segment(p, b, long64);
            break;
        case P_66:
            in->p66 = true;
            break;
        case P_67:
            p->p67 = true;
            break;
        case P_LOCK:
            in->lock = true;
            break;
        case P_REP:
            in->rep = b;
            break;
        default:
            if (long64 && (b & 0xf0) == 0x40) {
                p->rex = b;
                p->rex_seen = true;
                continue;
            }
            return b;
        }
        if (c->err)
            return 0;
        p->rex = 0; /* a REX that is not the last prefix is ignored, SDM Vol.2A 2.2.1 */
        p->rex_seen = false;
    }
}

/* VEX prefix, SDM Vol.2A 2.3.5; returns the map or -1 for #UD. */
static int read_vex(struct cursor *c, uint8_t first, struct x86_insn *in, struct prefixes *p,
                    bool long64)
{
    unsigned map = 1;
    uint8_t b = next_byte(c);
    if (in->lock || in->p66 || in->rep || p->rex_seen)
        return -1;
    p->rex = 0;
    if (!(b & 0x80))
        p->rex |= 4;
    if (first == 0xc4) {
        map = b & 0x1f;
        p->rex |= (b & 0x40 ? 0 : 2) | (b & 0x20 ? 0 : 1);
        b = next_byte(c);
        in->w = b >> 7;
    }
    if (!long64)
        p->rex = 0;
    in->vvvv = ~(b >> 3) & 15; /* outside 64-bit mode bit 3 does not select, but see uses_vvvv() */
    in->l = b >> 2 & 1;
    in->pp = b & 3;
    in->vex = true;
    return map >= 1 && map <= 3 ? X86_V0F + (int)map - 1 : -1;
}

static int read_opcode(struct cursor *c, uint8_t b, unsigned mode, struct x86_insn *in,
                       struct prefixes *p)
{
    bool long64 = mode & X86_MODE_64;
    if ((b & 0xfe) == 0xc4) {
        bool vex = long64 || (c->pos < c->n && c->p[c->pos] >= 0xc0);
        if (vex) {
            int map = mode & (X86_MODE_REAL | X86_MODE_V86) ? -1 : read_vex(c, b, in, p, long64);
            in->opcode = next_byte(c);
            return map;
        }
        if (c->pos >= c->n)
            next_byte(c); /* cannot tell yet: sets the error */
    }
    int map = X86_M1;
    if (b == 0x0f) {
        map = X86_M0F;
        b = next_byte(c);
        if (b == 0x38 || b == 0x3a) {
            map = b == 0x38 ? X86_M38 : X86_M3A;
            b = next_byte(c);
        }
    }
    in->opcode = b;
    in->pp = in->rep == 0xf3   ? X86_PP_PF3
             : in->rep == 0xf2 ? X86_PP_PF2
             : in->p66         ? X86_PP_P66
                               : X86_PP_NP;
    in->rex = p->rex;
    in->w = p->rex >> 3 & 1;
    return map;
}

/* 16-bit addressing forms, SDM Vol.2A table 2-1 */
static const uint8_t base16[8] = {X86_RBX, X86_RBX, X86_RBP, X86_RBP,
                                  X86_RSI, X86_RDI, X86_RBP, X86_RBX};
static const uint8_t index16[8] = {X86_RSI,   X86_RDI,   X86_RSI,   X86_RDI,
                                   X86_NOREG, X86_NOREG, X86_NOREG, X86_NOREG};

static void read_mem16(struct cursor *c, struct x86_insn *in)
{
    unsigned mod = in->modrm >> 6, rm = in->modrm & 7;
    in->base = base16[rm];
    in->index = index16[rm];
    if (mod == 0 && rm == 6) {
        in->base = X86_NOREG;
        in->disp = next_signed(c, 2);
    } else if (mod) {
        in->disp = next_signed(c, mod);
    }
}

static bool is_vsib(int map, uint8_t opcode)
{
    return map == X86_V38 && opcode >= 0x90 && opcode <= 0x93;
}

static void read_mem32(struct cursor *c, struct x86_insn *in, uint8_t rex, int map, bool long64)
{
    unsigned mod = in->modrm >> 6, rm = in->modrm & 7;
    bool disp_only = false;
    in->base = rm | (rex & 1) << 3;
    if (rm == 4) {
        uint8_t sib = next_byte(c);
        in->has_sib = true;
        in->scale = sib >> 6;
        in->index = (sib >> 3 & 7) | (rex & 2) << 2;
        if (in->index == 4 && !is_vsib(map, in->opcode))
            in->index = X86_NOREG;
        in->base = (sib & 7) | (rex & 1) << 3;
        disp_only = mod == 0 && (sib & 7) == 5;
        if (disp_only)
            in->base = X86_NOREG;
    } else if (mod == 0 && rm == 5) {
        disp_only = true;
        in->base = long64 ? X86_RIPREL : X86_NOREG;
    }
    if (mod == 2 || disp_only)
        in->disp = next_signed(c, 4);
    else if (mod == 1)
        in->disp = next_signed(c, 1);
}

static void read_modrm(struct cursor *c, struct x86_insn *in, const struct prefixes *p, int map,
                       bool long64)
{
    uint8_t rex = p->rex;
    in->modrm = next_byte(c);
    in->has_modrm = true;
    in->reg = (in->modrm >> 3 & 7) | (rex & 4) << 1;
    in->rm = (in->modrm & 7) | (rex & 1) << 3;
    /* MOV to and from CR and DR: mod is ignored, always registers (SDM Vol.2B MOV) */
    if (in->modrm >= 0xc0 || (map == X86_M0F && (in->opcode & 0xfc) == 0x20))
        return;
    in->mem = true;
    if (in->asize == 1)
        read_mem16(c, in);
    else
        read_mem32(c, in, rex, map, long64);
    if (p->seg >= 0)
        in->seg = (uint8_t)p->seg;
    else if (in->base == X86_RSP || in->base == X86_RBP)
        in->seg = X86_SS;
}

static bool row_fits(const struct x86_row *r, const struct x86_insn *in, unsigned mode)
{
    uint32_t k = r->constraint;
    if (r->pp != X86_PP_ANY && r->pp != in->pp)
        return false;
    if (!k)
        return true;
    unsigned reg = in->modrm >> 3 & 7, rm = in->modrm & 7;
    bool long64 = mode & X86_MODE_64;
    return !((k & 8 && (k & 7) != reg) || (k & X86_C_MOD_MEM && !in->mem) ||
             (k & X86_C_MOD_REG && in->mem) || (k & 0x200 && (k >> 6 & 7) != rm) ||
             (k & X86_C_W0 && in->w) || (k & X86_C_W1 && !in->w) || (k & X86_C_L0 && in->l) ||
             (k & X86_C_L1 && !in->l) || (k & X86_C_ONLY64 && !long64) ||
             (k & X86_C_NO64 && long64) ||
             (k & X86_C_PROT && mode & (X86_MODE_REAL | X86_MODE_V86)));
}

static unsigned choose_row(const struct x86_insn *in, int map, unsigned mode, const uint64_t *feat)
{
    unsigned i = last_row[map * 256 + in->opcode];
    for (; i; i--) {
        const struct x86_row *r = &x86_rows[i];
        if (r->map != map || r->opcode != in->opcode)
            return X86_I_NONE;
        if (r->feature != X86_FEAT_BASE && !(feat[r->feature >> 6] >> (r->feature & 63) & 1))
            continue;
        if (row_fits(r, in, mode))
            return i;
    }
    return X86_I_NONE;
}

static uint8_t operand_size(const struct x86_insn *in, uint32_t attr, unsigned mode)
{
    if (attr & X86_A_B)
        return 0;
    if (mode & X86_MODE_64) {
        if (in->w || attr & X86_A_F64)
            return 3;
        if (attr & X86_A_W32)
            return 2;
        return in->p66 ? 1 : attr & X86_A_D64 ? 3 : 2;
    }
    if (attr & X86_A_W32)
        return 2;
    return (mode & X86_MODE_SIZE) == X86_MODE_32 ? 2 - in->p66 : 1 + in->p66;
}

static void read_immediate(struct cursor *c, struct x86_insn *in, uint8_t operand)
{
    unsigned z = in->size == 1 ? 2 : 4;
    switch (operand) {
    case X86_O_Ib:
        if (in->opcode == 0xc8 && !in->has_modrm) /* ENTER: the second immediate */
            in->imm2 = next_byte(c);
        else
            in->imm = next_byte(c);
        break;
    case X86_O_Lx:
        in->imm = next_byte(c);
        break;
    case X86_O_sIb:
    case X86_O_Jb:
        in->imm = (uint64_t)next_signed(c, 1);
        break;
    case X86_O_Iw:
        in->imm = next_le(c, 2);
        break;
    case X86_O_Iz:
    case X86_O_Jz:
        in->imm = (uint64_t)next_signed(c, z);
        break;
    case X86_O_Iv:
        in->imm = (uint64_t)next_signed(c, 1u << in->size);
        break;
    case X86_O_Ob:
    case X86_O_Ov:
        in->imm = next_le(c, 1u << in->asize);
        in->mem = true;
        break;
    case X86_O_Ap:
        in->imm = next_le(c, z);
        in->imm2 = (uint16_t)next_le(c, 2);
        break;
    default:
        break;
    }
}

/* VEX.vvvv must be 1111b where no operand uses it (SDM Vol.2A 2.3.5.6). */
static bool uses_vvvv(const struct x86_row *r)
{
    for (unsigned i = 0; i < 4; i++) {
        if ((r->op[i] >= X86_O_Hx && r->op[i] <= X86_O_Hsd) || r->op[i] == X86_O_By)
            return true;
    }
    return false;
}

static enum x86_decode_result finish(struct cursor *c, struct x86_insn *in,
                                     enum x86_decode_result r)
{
    in->length = (uint8_t)c->pos;
    if (c->err != X86_DECODE_OK)
        r = c->err;
    if (r != X86_DECODE_OK)
        in->row = X86_I_NONE;
    return r;
}

enum x86_decode_result x86_decode(const uint8_t *bytes, unsigned n, unsigned mode,
                                  const uint64_t *features, struct x86_insn *in)
{
    struct cursor c = {.p = bytes, .n = n};
    struct prefixes p = {.seg = -1};
    bool long64 = mode & X86_MODE_64;

    *in = (struct x86_insn){.seg = X86_DS, .base = X86_NOREG, .index = X86_NOREG};
    uint8_t b = read_prefixes(&c, in, &p, long64);
    if (p.seg >= 0)
        in->seg = (uint8_t)p.seg; /* string sources, moffs */
    if ((mode & X86_MODE_SIZE) == X86_MODE_64)
        in->asize = 3 - p.p67;
    else
        in->asize = (mode & X86_MODE_SIZE) == X86_MODE_32 ? 2 - p.p67 : 1 + p.p67;
    int map = read_opcode(&c, b, mode, in, &p);
    if (c.err)
        return finish(&c, in, c.err);
    if (map < 0)
        return finish(&c, in, X86_DECODE_UD);
    in->rex = p.rex_seen ? p.rex : 0;
    if (!last_row[map * 256 + in->opcode])
        return finish(&c, in, X86_DECODE_UD);
    if (x86_rows[last_row[map * 256 + in->opcode]].attr & X86_A_MODRM)
        read_modrm(&c, in, &p, map, long64);
    else
        in->reg = (in->opcode & 7) | (p.rex & 1) << 3; /* Z operands */
    if (c.err)
        return finish(&c, in, c.err);

    in->row = (uint16_t)choose_row(in, map, mode, features);
    const struct x86_row *r = &x86_rows[in->row];
    if (in->row == X86_I_NONE)
        return finish(&c, in, X86_DECODE_UD);
    in->size = operand_size(in, r->attr, mode);
    for (unsigned i = 0; i < 4; i++)
        read_immediate(&c, in, r->op[i]);
    if (in->vex && in->vvvv && !uses_vvvv(r))
        return finish(&c, in, X86_DECODE_UD);
    if (!long64)
        in->vvvv &= 7;
    bool bad_lock = in->lock && !(r->attr & X86_A_LOCK && in->mem);
    if (bad_lock || (r->attr & X86_A_NO66 && in->p66))
        return finish(&c, in, X86_DECODE_UD);
    return finish(&c, in, X86_DECODE_OK);
}
