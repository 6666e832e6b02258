/*
 * Instruction bytes for a row: prefixes, opcode, ModRM and SIB at random within what the row's
 * columns allow. Displacement and immediates are simply the random bytes that follow; the decoder
 * says how many belong to the instruction.
 */
#include <string.h>

#include "diff.h"

static void put(struct diff_encoding *e, unsigned b)
{
    e->b[e->n++] = (uint8_t)b;
}

static bool is_any(uint8_t op, const uint8_t *set, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (op == set[i])
            return true;
    return false;
}
#define HAS(row, ...) \
    has_operand(row, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
static bool has_operand(const struct x86_row *row, const uint8_t *set, unsigned n)
{
    for (unsigned i = 0; i < 4; i++)
        if (is_any(row->op[i], set, n))
            return true;
    return false;
}

static bool memory_only(const struct x86_row *row)
{
    return row->constraint & X86_C_MOD_MEM ||
           HAS(row, X86_O_M, X86_O_Mb, X86_O_Mw, X86_O_Md, X86_O_Mq, X86_O_Mt, X86_O_Mdq, X86_O_Mqq,
               X86_O_Mv, X86_O_My, X86_O_Mp, X86_O_Ms, X86_O_Ma, X86_O_Mx);
}
static bool register_only(const struct x86_row *row)
{
    return row->constraint & X86_C_MOD_REG || HAS(row, X86_O_Rd, X86_O_Rv, X86_O_Ry, X86_O_Nq,
                                                  X86_O_Ux, X86_O_Udq, X86_O_Uqq, X86_O_STi);
}
static bool uses_vvvv(const struct x86_row *row)
{
    return HAS(row, X86_O_Hx, X86_O_Hdq, X86_O_Hqq, X86_O_Hss, X86_O_Hsd, X86_O_By);
}

/* What the encoding has decided before the first byte is written. */
struct plan {
    bool mem, vsib, vex, long64;
    uint8_t mod, reg, rm, sib;
    bool sib_present;
    uint8_t rex;           /* W R X B in bits 3..0 */
    unsigned address_size; /* 16, 32, 64 */
    bool p67;
};

static void plan_modrm(struct diff_rng *r, const struct x86_row *row, struct plan *p)
{
    uint32_t k = row->constraint;
    p->mem = memory_only(row) || (!register_only(row) && !(k & 0x200) && diff_below(r, 8) < 4);
    p->vsib = row->map == X86_V38 && row->opcode >= 0x90 && row->opcode <= 0x93;
    p->reg = k & 8 ? k & 7 : (uint8_t)diff_below(r, 8);
    p->rm = k & 0x200 ? k >> 6 & 7 : (uint8_t)diff_below(r, 8);
    p->mod = 3;
    if (HAS(row, X86_O_Sw)) { /* CS cannot be loaded; 6 and 7 do not exist */
        static const uint8_t segs[5] = {X86_ES, X86_SS, X86_DS, X86_FS, X86_GS};
        p->reg = segs[diff_below(r, 5)];
    }
    if (!p->mem)
        return;
    p->mod = (uint8_t)diff_below(r, 3);
    if (p->vsib || (p->address_size != 16 && diff_one_in(r, 3)))
        p->rm = 4;
    p->sib = (uint8_t)diff_next(r);
    p->sib_present = p->rm == 4 && p->address_size != 16;
}

static void plan_prefixes(struct diff_rng *r, const struct x86_row *row, unsigned mode,
                          struct plan *p)
{
    unsigned code = diff_code_size(mode);
    p->long64 = code == 64;
    p->vex = row->map >= X86_V0F;
    p->p67 = diff_one_in(r, 6);
    p->address_size = code == 64 ? (p->p67 ? 32 : 64) : (code == 32) != p->p67 ? 32 : 16;
    p->rex = p->long64 && diff_below(r, 4) ? (uint8_t)diff_below(r, 16) : 0;
    if (row->constraint & X86_C_W1)
        p->rex |= 8;
    if (row->constraint & X86_C_W0)
        p->rex &= 7;
}

static void put_legacy(struct diff_rng *r, const struct x86_row *row, const struct plan *p,
                       struct diff_encoding *e)
{
    static const uint8_t seg[8] = {0x64, 0x65, 0x64, 0x65, 0x26, 0x2e, 0x36, 0x3e};
    if (diff_one_in(r, 5))
        put(e, seg[diff_below(r, 8)]);
    if (p->p67)
        put(e, 0x67);
    if (p->vex) { /* anything more is #UD (SDM Vol.2A 2.3): seldom */
        if (diff_one_in(r, 200))
            put(e, "\x66\xf2\xf3\xf0"[diff_below(r, 4)]);
        return;
    }
    if (row->pp == X86_PP_P66)
        put(e, 0x66);
    else if (row->pp != X86_PP_NP && !(row->attr & X86_A_NO66) && diff_one_in(r, 4))
        put(e, 0x66);
    if (row->pp == X86_PP_PF3 || row->pp == X86_PP_PF2)
        put(e, row->pp == X86_PP_PF3 ? 0xf3 : 0xf2);
    else if (row->pp == X86_PP_ANY && diff_one_in(r, row->attr & X86_A_REP ? 2 : 16))
        put(e, diff_below(r, 2) ? 0xf3 : 0xf2);
    bool lockable = row->attr & X86_A_LOCK && p->mem;
    if (diff_one_in(r, lockable ? 3 : 300))
        put(e, 0xf0);
    if (p->rex || (p->long64 && diff_one_in(r, 8)))
        put(e, 0x40u | p->rex);
}

static void put_vex(struct diff_rng *r, const struct x86_row *row, const struct plan *p,
                    struct diff_encoding *e)
{
    unsigned vvvv = diff_below(r, p->long64 ? 16 : 8), l = diff_below(r, 2), w = diff_below(r, 2),
             rex = p->rex;
    if (!uses_vvvv(row) && !diff_one_in(r, 100))
        vvvv = 0;
    if (row->constraint & (X86_C_L0 | X86_C_L1) && !diff_one_in(r, 100))
        l = (row->constraint & X86_C_L1) != 0;
    if (row->constraint & (X86_C_W0 | X86_C_W1))
        w = (row->constraint & X86_C_W1) != 0;
    if (!p->long64)
        rex = 0; /* else the bytes would mean LES or LDS */
    unsigned pp = row->pp == X86_PP_ANY ? diff_below(r, 4) : row->pp,
             last = (~vvvv & 15) << 3 | l << 2 | pp;
    bool shortable =
        row->map == X86_V0F && !(rex & 3) && !(row->constraint & (X86_C_W0 | X86_C_W1));
    if (shortable && diff_below(r, 2)) {
        put(e, 0xc5);
        put(e, (rex & 4 ? 0 : 0x80u) | last);
        return;
    }
    put(e, 0xc4);
    put(e, (~rex & 7) << 5 | (row->map - X86_V0F + 1u));
    put(e, w << 7 | last);
}

static void put_opcode(const struct x86_row *row, struct diff_encoding *e)
{
    if (row->map >= X86_M0F && row->map <= X86_M3A)
        put(e, 0x0f);
    if (row->map == X86_M38 || row->map == X86_M3A)
        put(e, row->map == X86_M38 ? 0x38 : 0x3a);
    put(e, row->opcode);
}

void diff_encode(struct diff_rng *r, const struct x86_row *row, unsigned mode,
                 struct diff_encoding *e)
{
    struct plan p = {0};
    e->n = 0;
    e->disp_at = -1;
    plan_prefixes(r, row, mode, &p);
    plan_modrm(r, row, &p);
    put_legacy(r, row, &p, e);
    if (p.vex)
        put_vex(r, row, &p, e);
    put_opcode(row, e);
    if (row->attr & X86_A_MODRM) {
        put(e, (unsigned)p.mod << 6 | (unsigned)p.reg << 3 | p.rm);
        if (p.sib_present)
            put(e, p.sib);
        bool disp32 =
            p.address_size != 16 &&
            (p.mod == 2 || (p.mod == 0 && (p.rm == 5 || (p.sib_present && (p.sib & 7) == 5))));
        if (p.mem && disp32)
            e->disp_at = (int)e->n;
    }
    for (unsigned i = 0; i < 16; i += 8) {
        uint64_t v = diff_integer(r);
        memcpy(e->b + e->n + i, &v, 8);
    }
    if (e->disp_at >= 0 ||
        diff_below(r, 2)) { /* an immediate behind a displacement, or behind imm8 */
        uint64_t v = diff_integer(r);
        memcpy(e->b + e->n + 4, &v, 8);
    }
    e->n += 16;
}
