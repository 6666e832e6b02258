/*
 * Cases: an encoding, then registers and memory such that the operands mean something. Addresses
 * are solved backwards: first where the operand shall be, then the registers that lead there.
 */
#include <string.h>

#include "diff.h"

struct gen {
    struct diff_rng r;
    struct diff_case *c;
    struct diff_encoding e;
    bool fp; /* fill memory with floating-point edges */
};

static bool row_is(const struct diff_case *c, const char *name)
{
    return strcmp(x86_rows[c->insn.row].name, name) == 0;
}
static bool row_starts(const struct diff_case *c, const char *name)
{
    return strncmp(x86_rows[c->insn.row].name, name, strlen(name)) == 0;
}

static uint64_t size_mask(unsigned log2_bytes)
{
    return log2_bytes >= 3 ? UINT64_MAX : (UINT64_C(1) << (8u << log2_bytes)) - 1;
}

/* --- memory contents --- */

static struct diff_patch *new_patch(struct gen *g, uint64_t lin)
{
    struct diff_case *c = g->c;
    if (lin < DIFF_DATA || lin >= DIFF_DATA + DIFF_DATA_SIZE || c->npatches == DIFF_NPATCHES)
        return NULL;
    if (lin > DIFF_DATA + DIFF_DATA_SIZE - DIFF_PATCH_BYTES)
        lin = DIFF_DATA + DIFF_DATA_SIZE - DIFF_PATCH_BYTES;
    struct diff_patch *p = &c->patch[c->npatches++];
    p->addr = (uint32_t)lin;
    diff_fill(&g->r, p->bytes, DIFF_PATCH_BYTES, g->fp);
    return p;
}

/* Change bytes of the initial memory, wherever they are patched. */
static void poke(struct gen *g, uint64_t lin, const void *bytes, unsigned n)
{
    struct diff_case *c = g->c;
    if (lin < DIFF_DATA || lin + n > DIFF_DATA + DIFF_DATA_SIZE)
        return;
    struct diff_patch *p = NULL;
    for (unsigned i = 0; i < c->npatches; i++) /* the last patch wins */
        if (lin >= c->patch[i].addr && lin + n <= c->patch[i].addr + DIFF_PATCH_BYTES)
            p = &c->patch[i];
    if (!p)
        p = new_patch(g, lin);
    if (p)
        memcpy(p->bytes + (lin - p->addr), bytes, n);
}

/* Initial contents, as poke() left them. */
static void peek(const struct diff_case *c, uint64_t lin, uint8_t *out, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t a = lin + i;
        out[i] =
            a >= DIFF_DATA && a < DIFF_DATA + DIFF_DATA_SIZE ? diff_background[a - DIFF_DATA] : 0;
        for (unsigned k = 0; k < c->npatches; k++)
            if (a >= c->patch[k].addr && a < c->patch[k].addr + DIFF_PATCH_BYTES)
                out[i] = c->patch[k].bytes[a - c->patch[k].addr];
    }
}

uint32_t diff_peek32(const struct diff_case *c, uint64_t lin)
{
    uint32_t v;
    peek(c, lin, (uint8_t *)&v, 4);
    return v;
}

/* --- addresses --- */

/* A linear address for an operand: mostly good, sometimes at a border, seldom wrong. */
static uint64_t pick_address(struct gen *g, bool aligned)
{
    static const uint32_t borders[] = {DIFF_DATA, DIFF_DATA + DIFF_DATA_SIZE, DIFF_HOLE,
                                       DIFF_BASE + 0x3000};
    uint64_t v = diff_next(&g->r);
    unsigned kind = v & 31;
    if (kind < 3)
        return borders[v >> 8 & 3] - (v >> 16 & 31);
    if (kind == 3)
        return DIFF_RO + (v >> 8 & 0xfc0);
    if (kind == 4 && g->c->mode == DIFF_64 && (v >> 8 & 7) == 0)
        return UINT64_C(0x0000800000000000) + (v >> 16 & 0xffff); /* not canonical */
    if (kind == 5)
        return DIFF_DATA + 0x1000 - (v >> 8 & 31); /* crosses a page */
    uint64_t a = DIFF_DATA + 0x40 + (v >> 8) % (DIFF_DATA_SIZE - 0x480);
    return aligned || v >> 40 & 1 ? a & ~UINT64_C(63) : a;
}

static void set_masked(struct gen *g, unsigned reg, uint64_t value, unsigned log2_bytes)
{
    uint64_t m = size_mask(log2_bytes), *p = &g->c->in.gpr[reg];
    *p = (value & m) | (diff_next(&g->r) & ~m);
    if (g->c->mode != DIFF_64)
        *p = (uint32_t)*p;
}

static void patch_disp(struct gen *g, int64_t disp)
{
    int32_t d = (int32_t)disp;
    memcpy(g->c->bytes + g->e.disp_at, &d, 4);
    g->c->insn.disp = d;
}

static uint64_t effective_offset(const struct diff_case *c)
{
    const struct x86_insn *in = &c->insn;
    uint64_t base = in->base == X86_RIPREL ? c->in.rip + in->length
                    : in->base < 16        ? c->in.gpr[in->base]
                                           : 0;
    uint64_t index = in->index < 16 ? c->in.gpr[in->index] << in->scale : 0;
    return (base + index + (uint64_t)in->disp) & size_mask(in->asize);
}

uint64_t diff_operand(const struct diff_case *c)
{
    return effective_offset(c) + diff_seg_base(c, c->insn.seg);
}

/* Registers (or displacement) so that the memory operand has this offset in its segment. */
static void solve(struct gen *g, uint64_t off, bool vsib)
{
    struct diff_case *c = g->c;
    struct x86_insn *in = &c->insn;
    uint64_t want = off - (uint64_t)in->disp;
    unsigned scale = in->scale;
    if (in->base == X86_RIPREL) {
        patch_disp(g, (int64_t)(off - c->in.rip - in->length));
    } else if (in->base < 16 && in->base == in->index && !vsib) {
        set_masked(g, in->base, (off - (uint64_t)in->disp) / (1u + (1u << scale)), in->asize);
    } else if (in->base < 16) {
        uint64_t index = in->index < 16 && !vsib ? c->in.gpr[in->index] << scale : 0;
        set_masked(g, in->base, want - index, in->asize);
    } else if (in->index < 16 && !vsib) {
        if (g->e.disp_at >= 0) {
            uint64_t r = diff_next(&g->r) >> (in->asize == 3 ? 36 : 48);
            set_masked(g, in->index, r, in->asize);
            patch_disp(g,
                       (int64_t)(off - ((c->in.gpr[in->index] & size_mask(in->asize)) << scale)));
        } else {
            set_masked(g, in->index, want >> scale, in->asize);
        }
    } else if (g->e.disp_at >= 0) {
        patch_disp(g, (int64_t)off);
    }
}

/* Gathers: indices around zero, so that every element lies in the window; masks by the sign bits.
 */
static void set_vsib(struct gen *g)
{
    struct diff_case *c = g->c;
    union x86_vec *v = &c->in.v[c->insn.index & 15];
    bool qword = c->insn.opcode & 1;
    for (unsigned i = 0; i < 8; i++) {
        int64_t x = (int64_t)diff_below(&g->r, 32) - 16;
        if (!qword)
            v->d[i] = (uint32_t)x;
        else if (i < 4)
            v->q[i] = (uint64_t)x;
    }
}

static void aim_memory(struct gen *g)
{
    struct diff_case *c = g->c;
    struct x86_insn *in = &c->insn;
    const struct x86_row *row = &x86_rows[in->row];
    bool vsib = row->map == X86_V38 && in->opcode >= 0x90 && in->opcode <= 0x93;
    bool aligned = (row->attr & (X86_A_VEC | X86_A_ALIGN) || in->lock || row->attr & X86_A_LOCKM) &&
                   diff_below(&g->r, 16);
    if (row_starts(c, "xsave") || row_starts(c, "xrstor") || row_starts(c, "fxsave") ||
        row_starts(c, "fxrstor"))
        aligned = diff_below(&g->r, 32) != 0;
    uint64_t lin = vsib ? DIFF_DATA + 0x1000 : pick_address(g, aligned);
    uint64_t off = lin - diff_seg_base(c, in->seg);
    if (vsib)
        set_vsib(g);
    if (in->has_modrm) {
        solve(g, off, vsib);
    } else { /* moffs: the address follows the opcode */
        unsigned bytes = 1u << in->asize;
        memcpy(c->bytes + in->length - bytes, &off, bytes);
        in->imm = off & size_mask(in->asize);
        in->disp = (int64_t)in->imm;
    }
    lin = effective_offset(c) + diff_seg_base(c, in->seg);
    struct diff_patch *p = new_patch(g, lin);
    if (p && row->op[0] != X86_O_Mt && row->op[1] == X86_O_Mt) {
        struct x86_f80 f = diff_f80(&g->r);
        memcpy(p->bytes, &f, 10);
    }
}

/* --- the state before --- */

static void random_x87(struct gen *g)
{
    struct diff_state *in = &g->c->in;
    uint64_t v = diff_next(&g->r);
    for (unsigned i = 0; i < 8; i++)
        in->st[i] = diff_f80(&g->r);
    in->cw = 0x37f;
    if (v & 1) /* rounding, precision, masks */
        in->cw = (uint16_t)(0x340u | (v >> 8 & 0x0c00) | (v >> 20 & 0x0300) |
                            (v & 2 ? 0x3f : v >> 32 & 0x3f));
    in->sw = (uint16_t)(v >> 40 & 0x7f00);
    if (v & 4)
        in->sw |= v >> 24 & 0x7f;
    if (in->sw & ~in->cw & 0x3f) { /* pending: only seldom, it keeps everything else from running */
        if (v & 0xf00000)
            in->sw &= (uint16_t)~0x7f;
        else
            in->sw |= 0x8080;
    }
    in->sw &= in->sw & 0x80 ? 0xffff : 0x7f7f;
    in->tag = v & 8 ? 0xff : v & 0x10 ? 0 : (uint8_t)(v >> 56);
}

static void random_state(struct gen *g)
{
    struct diff_case *c = g->c;
    struct diff_state *in = &c->in;
    const struct x86_row *row = &x86_rows[c->insn.row];
    uint64_t v = diff_next(&g->r);
    for (unsigned i = 0; i < 16; i++)
        in->gpr[i] = diff_integer(&g->r);
    in->flags = X86_FL_ONE | X86_FL_IF | (v & X86_FL_ARITH);
    if ((v >> 32 & 7) == 0)
        in->flags |= X86_FL_DF;
    if ((v >> 35 & 15) == 0)
        in->flags |= X86_FL_AC;
    in->fs_base = DIFF_DATA + (v >> 40 & 0x7f8);
    in->gs_base = DIFF_DATA - (v >> 48 & 0x7f8);
    in->mxcsr = 0x1f80 | (v >> 16 & 0x6000);
    if (v >> 60 & 1)
        in->mxcsr = (v >> 16 & 0xffff) | (v >> 61 ? 0x1f80 : 0);
    g->fp = row->attr & X86_A_MXCSR || diff_below(&g->r, 3) == 0;
    diff_fill(&g->r, in->v[0].b, sizeof(in->v), g->fp);
    random_x87(g);
}

/* Where a computed branch may go: no code, or INT3. Offset in CS. */
static uint64_t landing(struct gen *g)
{
    uint64_t v = diff_next(&g->r);
    uint32_t lin = v & 1 ? DIFF_HOLE + (v >> 8 & 0xfff) : DIFF_CODE + (v >> 8 & 0x7ff);
    if (g->c->mode == DIFF_64 && (v >> 1 & 3) == 0)
        return v >> 20 & 0x3fffffff000; /* nothing is mapped in the first 4 TiB but the window */
    return lin - diff_seg_base(g->c, X86_CS);
}

static void aim_stack(struct gen *g)
{
    struct diff_case *c = g->c;
    uint64_t lin = diff_one_in(&g->r, 12) ? pick_address(g, false)
                                          : DIFF_DATA + 0x800 + diff_below(&g->r, 0x1000);
    if (diff_below(&g->r, 4))
        lin &= ~UINT64_C(7);
    c->in.gpr[X86_RSP] = lin - diff_seg_base(c, X86_SS);
    if (c->mode != DIFF_64)
        c->in.gpr[X86_RSP] = (uint32_t)c->in.gpr[X86_RSP];
    if (row_starts(c, "ret")) {
        uint64_t target = landing(g);
        poke(g, lin, &target, 8);
    }
    if (row_starts(c, "popf")) { /* TF would trap one instruction later */
        uint64_t f = diff_next(&g->r) & 0xffffffffffdffeff;
        poke(g, lin, &f, 8);
    }
    if (row_is(c, "leave") || row_is(c, "enter")) {
        lin = DIFF_DATA + 0x400 + (diff_next(&g->r) & 0x17f8);
        c->in.gpr[X86_RBP] = lin - diff_seg_base(c, X86_SS);
    }
}

static bool has(const struct x86_row *row, uint8_t a, uint8_t b)
{
    for (unsigned i = 0; i < 4; i++)
        if (row->op[i] == a || row->op[i] == b)
            return true;
    return false;
}

static void aim_strings(struct gen *g)
{
    struct diff_case *c = g->c;
    const struct x86_row *row = &x86_rows[c->insn.row];
    bool src = has(row, X86_O_Xb, X86_O_Xv), dst = has(row, X86_O_Yb, X86_O_Yv);
    uint64_t s = pick_address(g, false), d = pick_address(g, false);
    if (diff_one_in(&g->r, 3)) /* overlap */
        d = s + diff_below(&g->r, 33) - 16;
    if (src) {
        set_masked(g, X86_RSI, s - diff_seg_base(c, c->insn.seg), c->insn.asize);
        new_patch(g, s);
    }
    if (dst) {
        set_masked(g, X86_RDI, d - diff_seg_base(c, X86_ES), c->insn.asize);
        if (diff_below(&g->r, 2))
            new_patch(g, d);
    }
    if (src && dst && diff_below(&g->r, 2)) { /* comparisons that go on for a while */
        uint8_t b[DIFF_PATCH_BYTES - 7];
        peek(c, s, b, sizeof(b));
        poke(g, d, b, sizeof(b));
    }
    if (dst && !src && diff_below(&g->r, 2)) {
        uint8_t b[DIFF_PATCH_BYTES - 7];
        for (unsigned i = 0; i < sizeof(b); i++)
            b[i] = (uint8_t)(c->in.gpr[X86_RAX] >> 8 * (i & ((1u << c->insn.size) - 1)));
        poke(g, d, b, sizeof(b));
    }
    if (src || dst)
        set_masked(g, X86_RCX,
                   diff_one_in(&g->r, 4) ? diff_below(&g->r, 600) : diff_below(&g->r, 20),
                   c->insn.asize);
}

/* Implicit address registers, and values without which an instruction would nearly always fault. */
static void hints_before(struct gen *g)
{
    struct diff_case *c = g->c;
    struct diff_state *in = &c->in;
    unsigned size = 8u << c->insn.size;
    if (row_starts(c, "xlat"))
        set_masked(g, X86_RBX, pick_address(g, false) - diff_seg_base(c, c->insn.seg),
                   c->insn.asize);
    if (row_starts(c, "maskmov") || row_starts(c, "vmaskmovdqu"))
        set_masked(g, X86_RDI, pick_address(g, false) - diff_seg_base(c, c->insn.seg),
                   c->insn.asize);
    if ((row_is(c, "div") || row_is(c, "idiv")) && diff_below(&g->r, 4)) {
        if (size == 8)
            in->gpr[X86_RAX] = (in->gpr[X86_RAX] & ~UINT64_C(0xff00)) | (diff_next(&g->r) & 0x100);
        else
            in->gpr[X86_RDX] = diff_next(&g->r) & 1
                                   ? 0
                                   : (uint64_t)((int64_t)(in->gpr[X86_RAX] << (64 - size)) >> 63);
    }
    if (row_starts(c, "loop") || row_starts(c, "j"))
        set_masked(g, X86_RCX, diff_below(&g->r, 3), c->insn.asize);
    if (row_starts(c, "xsave") || row_starts(c, "xrstor")) {
        in->gpr[X86_RAX] = diff_next(&g->r) & 7;
        in->gpr[X86_RDX] = 0;
    }
    if (row_starts(c, "wrfsbase") || row_starts(c, "wrgsbase"))
        in->gpr[c->insn.rm] = diff_next(&g->r) >> (17 + diff_below(&g->r, 2) * 20);
}

static void hints_bits(struct gen *g)
{
    struct diff_case *c = g->c;
    if (!c->insn.mem || x86_rows[c->insn.row].op[1] != X86_O_Gv ||
        !(c->insn.opcode == 0xa3 || c->insn.opcode == 0xab || c->insn.opcode == 0xb3 ||
          c->insn.opcode == 0xbb))
        return;
    if (c->insn.reg != c->insn.base && c->insn.reg != c->insn.index)
        set_masked(g, c->insn.reg, (uint64_t)((int64_t)diff_below(&g->r, 8192) - 4096),
                   c->insn.size);
}

static void hints_cmpxchg(struct gen *g)
{
    struct diff_case *c = g->c;
    uint64_t v[2] = {0};
    bool pair = row_is(c, "cmpxchg8b") || row_is(c, "cmpxchg16b");
    if (!(pair || row_is(c, "cmpxchg")) || diff_below(&g->r, 2) || c->insn.base == X86_RAX ||
        c->insn.index == X86_RAX)
        return;
    if (c->insn.mem)
        peek(c, effective_offset(c) + diff_seg_base(c, c->insn.seg), (uint8_t *)v, 16);
    else
        v[0] = c->in.gpr[c->insn.rm];
    if (pair && (c->insn.base == X86_RDX || c->insn.index == X86_RDX))
        return;
    if (row_is(c, "cmpxchg8b"))
        v[1] = v[0] >> 32;
    c->in.gpr[X86_RAX] = c->mode == DIFF_64 ? v[0] : (uint32_t)v[0];
    if (pair)
        c->in.gpr[X86_RDX] = c->mode == DIFF_64 ? v[1] : (uint32_t)v[1];
}

static void hints_branch(struct gen *g)
{
    struct diff_case *c = g->c;
    uint64_t target = landing(g);
    if (!(row_is(c, "jmp") || row_is(c, "call")) || !c->insn.has_modrm)
        return;
    if (c->insn.mem)
        poke(g, effective_offset(c) + diff_seg_base(c, c->insn.seg), &target, 8);
    else
        c->in.gpr[c->insn.rm] = target;
}

/* Images with fields that must be right. */
static void hints_image(struct gen *g)
{
    struct diff_case *c = g->c;
    uint64_t lin = effective_offset(c) + diff_seg_base(c, c->insn.seg);
    uint32_t mxcsr = (uint32_t)diff_next(&g->r) & 0xffff;
    if (!c->insn.mem || diff_one_in(&g->r, 16))
        return;
    if (row_starts(c, "ldmxcsr") || row_starts(c, "vldmxcsr"))
        poke(g, lin, &mxcsr, 4);
    if (row_starts(c, "fxrstor") || row_starts(c, "xrstor"))
        poke(g, lin + 24, &mxcsr, 4);
    if (row_starts(c, "xrstor")) {
        uint64_t header[8] = {diff_next(&g->r) & 7};
        poke(g, lin + 512, header, sizeof(header));
    }
    if (row_starts(c, "fbld")) {
        uint8_t d[10];
        for (unsigned i = 0; i < 10; i++)
            d[i] = (uint8_t)(diff_below(&g->r, 10) << 4 | diff_below(&g->r, 10));
        d[9] = diff_next(&g->r) & 0x80;
        poke(g, lin, d, 10);
    }
}

/* --- where the instruction stands --- */

static bool is_direct_branch(const struct diff_case *c)
{
    uint8_t o = x86_rows[c->insn.row].op[0];
    return o == X86_O_Jb || o == X86_O_Jz;
}

static void place(struct gen *g)
{
    struct diff_case *c = g->c;
    uint64_t lin = DIFF_CODE_END - c->length;
    c->crosses = c->length > 1 && !is_direct_branch(c) && diff_one_in(&g->r, 8);
    if (c->crosses)
        lin = DIFF_CODE + 0x1000 - 1 - diff_below(&g->r, c->length - 1u);
    c->in.rip = lin - diff_seg_base(c, X86_CS);
}

/* A branch into its own bytes would execute them again. */
static bool branches_into_itself(const struct diff_case *c)
{
    int64_t rel = (int64_t)c->insn.imm;
    return is_direct_branch(c) && rel < 0 && -rel <= c->length + 16;
}

static unsigned pick_mode(struct diff_rng *r, const struct x86_row *row, unsigned modes)
{
    unsigned m = diff_below(r, 8);
    if (row->constraint & X86_C_ONLY64)
        return DIFF_64;
    if (row->constraint & X86_C_NO64)
        return modes & ~1u ? 1 + m % 3 : DIFF_64;
    return m < 4 || !(modes & 1u << (m - 4)) ? DIFF_64 : m - 4;
}

/* #UD is expensive on the host, and much alike; and the host may have features that are not offered
 * to guests. */
static bool host_may_know(const struct diff_encoding *e, unsigned mode)
{
    static const uint64_t all[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    struct x86_insn in;
    return x86_decode(e->b, e->n, diff_mode_word(mode), all, &in) != X86_DECODE_UD;
}

bool diff_generate(uint64_t seed, uint32_t row, uint32_t index, const uint64_t *features,
                   unsigned modes, struct diff_case *c)
{
    struct gen g = {
        .r = {seed ^ (uint64_t)row * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)index << 40}, .c = c};
    diff_next(&g.r);
    memset(c, 0, sizeof(*c));
    c->row = row;
    c->index = index;
    c->mode = (uint8_t)pick_mode(&g.r, &x86_rows[row], modes);
    diff_encode(&g.r, &x86_rows[row], c->mode, &g.e);
    enum x86_decode_result d =
        x86_decode(g.e.b, g.e.n, diff_mode_word(c->mode), features, &c->insn);
    if (d != X86_DECODE_OK && d != X86_DECODE_UD)
        return false;
    if (d == X86_DECODE_OK && !(x86_rows[c->insn.row].attr & X86_A_USER))
        return false;
    /* Ignored by the SDM (F64 in its opcode maps); AMD processors take a 16-bit operand, and
     * another length, after which the rest of the bytes would be executed. */
    if (d == X86_DECODE_OK && x86_rows[c->insn.row].attr & X86_A_F64 && c->mode == DIFF_64 &&
        c->insn.p66)
        return false;
    if (d == X86_DECODE_UD && (diff_below(&g.r, 8) || host_may_know(&g.e, c->mode)))
        return false;
    c->length = d == X86_DECODE_UD ? 15 : c->insn.length;
    memcpy(c->bytes, g.e.b, c->length);
    place(&g);
    random_state(&g);
    hints_before(&g);
    if (d == X86_DECODE_OK) {
        aim_stack(&g);
        aim_strings(&g);
        hints_bits(&g);
        if (c->insn.mem)
            aim_memory(&g);
        hints_cmpxchg(&g);
        hints_branch(&g);
        hints_image(&g);
    }
    if (c->mode != DIFF_64)
        for (unsigned i = 0; i < 16; i++)
            c->in.gpr[i] = i < 8 ? (uint32_t)c->in.gpr[i] : 0;
    return !branches_into_itself(c);
}
