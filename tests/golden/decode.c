/*
 * Written decode cases: decode.txt holds the bytes, and what they mean behind the bar.
 *
 *   decode_golden FILE            compare
 *   decode_golden rebase FILE     write the file again with what the decoder says now (then read
 * the difference)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "x86/insn.h"

static const char *const gpr_names[4][16] = {
    {"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", "r8b", "r9b", "r10b", "r11b", "r12b",
     "r13b", "r14b", "r15b"},
    {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8w", "r9w", "r10w", "r11w", "r12w", "r13w",
     "r14w", "r15w"},
    {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d", "r11d", "r12d",
     "r13d", "r14d", "r15d"},
    {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
     "r14", "r15"},
};
static const char *const seg_names[8] = {"es", "cs", "ss", "ds", "fs", "gs", "seg6", "seg7"};

static const char *gpr(const struct x86_insn *in, unsigned reg, unsigned size)
{
    static const char *const high[4] = {"ah", "ch", "dh", "bh"};
    if (size == 0 && !in->rex && !in->vex && reg >= 4 && reg < 8)
        return high[reg - 4];
    return gpr_names[size & 3][reg & 15];
}

static void memory(FILE *f, const struct x86_insn *in)
{
    const char *plus = "";
    fprintf(f, "%s:[", seg_names[in->seg]);
    if (in->base < 16 || in->base == X86_RIPREL) {
        fprintf(f, "%s", in->base == X86_RIPREL ? "rip" : gpr_names[in->asize][in->base]);
        plus = "+";
    }
    if (in->index < 16) {
        fprintf(f, "%s%s*%u", plus, gpr_names[in->asize][in->index], 1u << in->scale);
        plus = "+";
    }
    if (in->disp || !*plus)
        fprintf(f, "%s%s%" PRIx64, in->disp < 0 ? "-" : plus, "",
                (uint64_t)(in->disp < 0 ? -in->disp : in->disp));
    fprintf(f, "]");
}

/* Size in bits of a fixed-size operand letter, 0: the operand size. */
static unsigned letter_size(uint8_t o, const struct x86_insn *in)
{
    switch (o) {
    case X86_O_Eb:
    case X86_O_Gb:
    case X86_O_Zb:
    case X86_O_AL:
    case X86_O_CL:
        return 0;
    case X86_O_Ew:
    case X86_O_Gw:
    case X86_O_AX:
    case X86_O_DX:
        return 1;
    case X86_O_Ed:
    case X86_O_Gd:
    case X86_O_Rd:
        return 2;
    case X86_O_Eq:
    case X86_O_Gq:
        return 3;
    case X86_O_Ey:
    case X86_O_Gy:
    case X86_O_Ry:
    case X86_O_Zy:
    case X86_O_By:
        return in->w ? 3 : 2;
    default:
        return in->size;
    }
}

enum {
    KIND_NONE,
    KIND_MODRM,
    KIND_REG,
    KIND_LOW,
    KIND_FIXED,
    KIND_IMM,
    KIND_VREG,
    KIND_VVVV,
    KIND_OTHER
};

static unsigned kind_of(uint8_t o)
{
    if (o == X86_O___)
        return KIND_NONE;
    if (o <= X86_O_Ey || (o >= X86_O_M && o <= X86_O_Mx) || (o >= X86_O_Rd && o <= X86_O_Ry))
        return KIND_MODRM;
    if (o >= X86_O_Gb && o <= X86_O_Gy)
        return KIND_REG;
    if (o >= X86_O_Zb && o <= X86_O_Zy)
        return KIND_LOW;
    if (o >= X86_O_Ib && o <= X86_O_Ap)
        return KIND_IMM;
    if ((o >= X86_O_Vx && o <= X86_O_Vsd) || o == X86_O_Pq)
        return KIND_VREG;
    if (o >= X86_O_Hx && o <= X86_O_Hsd)
        return KIND_VVVV;
    if ((o >= X86_O_Ux && o <= X86_O_We) || (o >= X86_O_Nq && o <= X86_O_Qd))
        return KIND_OTHER; /* vector register or memory by rm */
    return KIND_FIXED;
}

static void fixed(FILE *f, const struct x86_insn *in, uint8_t o)
{
    if (o == X86_O_AL || o == X86_O_AX || o == X86_O_rAX)
        fprintf(f, "%s", gpr_names[letter_size(o, in)][0]);
    else if (o == X86_O_CL || o == X86_O_DX)
        fprintf(f, "%s", o == X86_O_CL ? "cl" : "dx");
    else if (o == X86_O_1)
        fprintf(f, "1");
    else if (o == X86_O_By)
        fprintf(f, "%s", gpr_names[letter_size(o, in)][in->vvvv]);
    else if (o == X86_O_Sw)
        fprintf(f, "%s", seg_names[in->reg & 7]);
    else if (o >= X86_O_ES && o <= X86_O_GS)
        fprintf(f, "%s", seg_names[o - X86_O_ES]);
    else if (o == X86_O_STi || o == X86_O_ST0)
        fprintf(f, "st%u", o == X86_O_ST0 ? 0 : in->rm & 7);
    else if (o == X86_O_Xb || o == X86_O_Xv)
        fprintf(f, "%s:[%s]", seg_names[in->seg], gpr_names[in->asize][X86_RSI]);
    else if (o == X86_O_Yb || o == X86_O_Yv)
        fprintf(f, "es:[%s]", gpr_names[in->asize][X86_RDI]);
    else if (o == X86_O_Cy || o == X86_O_Dy)
        fprintf(f, "%s%u", o == X86_O_Cy ? "cr" : "dr", in->reg);
    else if (o == X86_O_Lx)
        fprintf(f, "%s%u", in->l ? "ymm" : "xmm", (unsigned)in->imm >> 4);
    else
        fprintf(f, "operand %u", o);
}

static void operand(FILE *f, const struct x86_insn *in, uint8_t o)
{
    const char *bank = o == X86_O_Pq || (o >= X86_O_Nq && o <= X86_O_Qd) ? "mm"
                       : in->l                                           ? "ymm"
                                                                         : "xmm";
    switch (kind_of(o)) {
    case KIND_MODRM:
        if (in->mem)
            memory(f, in);
        else
            fprintf(f, "%s", gpr(in, in->rm, letter_size(o, in)));
        break;
    case KIND_REG:
    case KIND_LOW:
        fprintf(f, "%s", gpr(in, in->reg, letter_size(o, in)));
        break;
    case KIND_IMM:
        if (o == X86_O_Ob || o == X86_O_Ov)
            fprintf(f, "%s:[%" PRIx64 "]", seg_names[in->seg], in->imm);
        else
            fprintf(f, "%" PRIx64, in->imm);
        if (o == X86_O_Ap)
            fprintf(f, ":%x", in->imm2);
        break;
    case KIND_VREG:
        fprintf(f, "%s%u", bank, in->reg);
        break;
    case KIND_VVVV:
        fprintf(f, "%s%u", bank, in->vvvv);
        break;
    case KIND_OTHER:
        if (in->mem)
            memory(f, in);
        else
            fprintf(f, "%s%u", bank, in->rm);
        break;
    default:
        fixed(f, in, o);
    }
}

static void describe(FILE *f, unsigned mode, const uint8_t *b, unsigned n)
{
    static const uint64_t all[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    static const char *const failures[] = {"", "(bad)", "(more bytes)", "(too long)"};
    struct x86_insn in;
    enum x86_decode_result r = x86_decode(b, n, mode, all, &in);
    if (r != X86_DECODE_OK) {
        fprintf(f, "%s", failures[r]);
        return;
    }
    const struct x86_row *row = &x86_rows[in.row];
    fprintf(f, "%u %s%s%s", in.length, in.lock ? "lock " : "",
            row->attr & X86_A_REP && in.rep ? (in.rep == 0xf3 ? "rep " : "repne ") : "", row->name);
    if (!row->op[0])
        fprintf(f, " %u", 8u << in.size);
    for (unsigned i = 0; i < 4 && row->op[i]; i++) {
        fprintf(f, "%s", i ? ", " : " ");
        operand(f, &in, row->op[i]);
    }
}

/* "MODE hex bytes" -> mode word and bytes; false: a comment or an empty line */
static bool parse(const char *line, unsigned *mode, uint8_t *b, unsigned *n)
{
    char *p;
    long bits = strtol(line, &p, 10);
    if (bits != 16 && bits != 32 && bits != 64)
        return false;
    *mode = bits == 64 ? X86_MODE_64 | X86_MODE_LM : bits == 32 ? X86_MODE_32 : X86_MODE_16;
    for (*n = 0; *n < 16; ++*n) {
        char *end;
        unsigned long v = strtoul(p, &end, 16);
        if (end == p)
            break;
        b[*n] = (uint8_t)v;
        p = end;
    }
    return true;
}

static int run(FILE *in, FILE *out, unsigned *failed, unsigned *cases)
{
    char line[256], now[256];
    uint8_t b[16];
    unsigned mode, n;
    while (fgets(line, sizeof(line), in)) {
        line[strcspn(line, "\n")] = 0;
        if (!parse(line, &mode, b, &n)) {
            if (out)
                fprintf(out, "%s\n", line);
            continue;
        }
        FILE *m = fmemopen(now, sizeof(now), "w");
        if (!m)
            return 1;
        describe(m, mode, b, n);
        fclose(m);
        char *bar = strchr(line, '|');
        if (bar) {
            *bar++ = 0;
            bar += strspn(bar, " ");
        }
        ++*cases;
        size_t end = strlen(line);
        while (end && line[end - 1] == ' ')
            line[--end] = 0;
        if (out)
            fprintf(out, "%-36s | %s\n", line, now);
        else if (!bar || strcmp(bar, now) != 0) {
            printf("%s: expected \"%s\", decoded \"%s\"\n", line, bar ? bar : "", now);
            ++*failed;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    bool rebase = argc == 3 && strcmp(argv[1], "rebase") == 0;
    unsigned failed = 0, cases = 0;
    char *text = NULL;
    size_t size = 0;
    FILE *in = argc > 1 ? fopen(argv[argc - 1], "r") : NULL;
    if (!in) {
        fprintf(stderr, "usage: decode_golden [rebase] FILE\n");
        return 2;
    }
    FILE *out = rebase ? open_memstream(&text, &size) : NULL;
    int err = run(in, out, &failed, &cases);
    fclose(in);
    if (out) {
        fclose(out);
        out = fopen(argv[2], "w");
        if (!out || fwrite(text, 1, size, out) != size)
            err = 1;
        if (out)
            fclose(out);
    }
    free(text);
    printf("%u cases, %u differ\n", cases, failed);
    return err || failed;
}
