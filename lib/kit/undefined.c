/*
 * What an instruction leaves undefined, or what is random or the time, by its bytes (SDM Vol.2,
 * "Flags Affected" of each instruction; Vol.1 8.1.3 for the x87 condition codes). Not a decoder:
 * only opcodes with something undefined are looked at, and bytes that are no instruction may get
 * any answer.
 */
#include "kit/lockstep.h"

#define CF  0x001u
#define PF  0x004u
#define AF  0x010u
#define ZF  0x040u
#define SF  0x080u
#define OF  0x800u
#define ALL (CF | PF | AF | ZF | SF | OF)

#define C1   0x0200u
#define C023 0x4500u

#define RAX 0x1u
#define RDX 0x4u

/* The parts of an instruction. */
struct parts {
    const uint8_t *b, *end;
    const uint8_t *modrm;
    uint8_t opcode, map; /* 0: one byte; 1: 0F; 2: 0F 38; 3: 0F 3A */
    uint8_t repeat;      /* F2, F3 or 0 */
    uint8_t rex;
    bool vex, code64, code16, size16, address16;
};

static uint8_t at(const struct parts *p, const uint8_t *b)
{
    return b < p->end ? *b : 0;
}

static void legacy_prefixes(struct parts *p, bool *address)
{
    for (; p->b < p->end; p->b++) {
        switch (*p->b) {
        case 0x66:
            p->size16 = !p->code16;
            break;
        case 0x67:
            *address = true;
            break;
        case 0xf2:
        case 0xf3:
            p->repeat = *p->b;
            break;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
        case 0x64:
        case 0x65:
        case 0xf0:
            break;
        default:
            return;
        }
    }
}

static bool vex_prefix(struct parts *p)
{
    uint8_t b0 = at(p, p->b), b1 = at(p, p->b + 1), b2 = at(p, p->b + 2);
    static const uint8_t repeat[4] = {0, 0, 0xf3, 0xf2};

    if ((b0 != 0xc4 && b0 != 0xc5) || (!p->code64 && b1 < 0xc0))
        return false;
    p->vex = true;
    p->map = b0 == 0xc5 ? 1 : b1 & 3;
    p->rex = (uint8_t)((~b1 >> 7 & 1) << 2 | (b0 == 0xc4 ? ~b1 >> 5 & 1 : 0));
    p->repeat = repeat[(b0 == 0xc5 ? b1 : b2) & 3];
    p->b += b0 == 0xc5 ? 2 : 3;
    return true;
}

static void opcode_map(struct parts *p)
{
    if (at(p, p->b) != 0x0f)
        return;
    p->b++;
    p->map = 1;
    if (at(p, p->b) == 0x38 || at(p, p->b) == 0x3a)
        p->map = *p->b++ == 0x38 ? 2 : 3;
}

static struct parts split(const struct vmlib_lockstep_insn *insn)
{
    uint32_t length = insn->length < sizeof(insn->bytes) ? insn->length : sizeof(insn->bytes);
    struct parts p = {.b = insn->bytes, .end = insn->bytes + length};
    bool address = false;

    p.code64 = insn->mode == VMLIB_MODE_LONG64;
    p.code16 = insn->mode == VMLIB_MODE_REAL || insn->mode == VMLIB_MODE_V86 ||
               insn->mode == VMLIB_MODE_PROT16 || insn->mode == VMLIB_MODE_COMPAT16;
    p.size16 = p.code16;
    legacy_prefixes(&p, &address);
    p.address16 = p.code64 ? false : p.code16 != address;
    if (p.code64 && (at(&p, p.b) & 0xf0) == 0x40)
        p.rex = *p.b++ & 15;
    if (p.rex & 8)
        p.size16 = false;
    if (!vex_prefix(&p))
        opcode_map(&p);
    p.opcode = at(&p, p.b++);
    p.modrm = p.b;
    return p;
}

static unsigned reg_field(const struct parts *p)
{
    return at(p, p->modrm) >> 3 & 7;
}

static bool has_register(const struct parts *p)
{
    return at(p, p->modrm) >= 0xc0;
}

static uint32_t rm_bit(const struct parts *p)
{
    return has_register(p) ? 1u << ((at(p, p->modrm) & 7) | (p->rex & 1) << 3) : 0;
}

/* The immediate byte behind ModRM, SIB and displacement (SDM Vol.2A 2.1.5). */
static uint8_t immediate(const struct parts *p)
{
    uint8_t m = at(p, p->modrm), mod = m >> 6, rm = m & 7;
    const uint8_t *b = p->modrm + 1;

    if (p->address16)
        return at(p, b + (mod == 1 ? 1 : mod == 2 || (mod == 0 && rm == 6) ? 2 : 0));
    if (mod != 3 && rm == 4) {
        bool base = (at(p, b) & 7) != 5 || mod != 0;
        b += base ? 1 : 5;
    } else if (mod == 0 && rm == 5) {
        b += 4;
    }
    return at(p, b + (mod == 1 ? 1 : mod == 2 ? 4 : 0));
}

static void shift(const struct parts *p, unsigned count, struct vmlib_lockstep_mask *mask)
{
    bool byte = !(p->opcode & 1), rotate = reg_field(p) < 4;

    count &= p->rex & 8 ? 63 : 31;
    if (count == 0)
        return; /* no flag changes */
    mask->rflags |= (count != 1 ? OF : 0) | (rotate ? 0 : AF);
    if (!rotate && count >= (byte ? 8u : p->size16 ? 16u : 64u))
        mask->rflags |= CF;
}

static void double_shift(const struct parts *p, unsigned count, struct vmlib_lockstep_mask *mask)
{
    count &= p->rex & 8 ? 63 : 31;
    if (count == 0)
        return;
    mask->rflags |= AF | (count != 1 ? OF : 0);
    if (p->size16 && count > 16) {
        mask->rflags |= ALL;
        mask->gpr |= rm_bit(p);
    }
}

/* Flags of one-byte opcodes that need nothing but the opcode. */
static uint32_t plain_flags(uint8_t opcode)
{
    switch (opcode) {
    case 0x27: /* DAA, DAS */
    case 0x2f:
        return OF;
    case 0x37: /* AAA, AAS */
    case 0x3f:
        return OF | SF | ZF | PF;
    case 0xd4: /* AAM, AAD */
    case 0xd5:
        return OF | AF | CF;
    case 0x69: /* IMUL */
    case 0x6b:
        return SF | ZF | AF | PF;
    case 0x84: /* TEST */
    case 0x85:
    case 0xa8:
    case 0xa9:
        return AF;
    default: /* OR, AND, XOR: 08 to 0d, 20 to 25, 30 to 35 */
        return opcode < 0x40 && (opcode & 7) < 6 &&
                       (opcode >> 3 == 1 || opcode >> 3 == 4 || opcode >> 3 == 6)
                   ? AF
                   : 0;
    }
}

static uint32_t group_flags(const struct parts *p)
{
    static const uint32_t unary[8] = {AF, AF, 0, 0, SF | ZF | AF | PF, SF | ZF | AF | PF, ALL, ALL};
    unsigned reg = reg_field(p);

    if (p->opcode >= 0x80 && p->opcode <= 0x83)
        return reg == 1 || reg == 4 || reg == 6 ? AF : 0;
    return (p->opcode | 1) == 0xf7 ? unary[reg] : 0;
}

/* Condition codes, except where they are the result: comparisons, FXAM, FPREM, FPTAN..., restores.
 */
static uint32_t x87_word(const struct parts *p)
{
    uint8_t m = at(p, p->modrm), reg = m >> 3 & 7;
    bool memory = m < 0xc0;

    if (memory && (p->opcode == 0xd9 || p->opcode == 0xdd) && reg == 4)
        return 0;
    if ((p->opcode == 0xd9 && !memory && m >= 0xe0) || (p->opcode == 0xdd && (m & 0xf0) == 0xe0) ||
        (p->opcode == 0xda && m == 0xe9))
        return C1;
    if (p->opcode != 0xd9 && p->opcode != 0xdb && p->opcode != 0xdd && p->opcode != 0xdf &&
        (reg == 2 || reg == 3))
        return C1;
    return C1 | C023;
}

static void one_byte(const struct parts *p, const struct vmlib_lockstep_insn *insn,
                     struct vmlib_lockstep_mask *mask)
{
    unsigned cl = insn->before ? insn->before->gpr.rcx & 0xff : 0xff;

    mask->rflags |= plain_flags(p->opcode) | group_flags(p);
    if ((p->opcode | 1) == 0xc1)
        shift(p, immediate(p), mask);
    else if ((p->opcode | 1) == 0xd1)
        shift(p, 1, mask);
    else if ((p->opcode | 1) == 0xd3)
        shift(p, cl, mask);
    else if (p->opcode >= 0xd8 && p->opcode <= 0xdf)
        mask->fpu_word |= x87_word(p);
}

static void two_bytes(const struct parts *p, const struct vmlib_lockstep_insn *insn,
                      struct vmlib_lockstep_mask *mask)
{
    unsigned cl = insn->before ? insn->before->gpr.rcx & 0xff : 0xff;

    switch (p->opcode) {
    case 0x01: /* RDTSCP */
        mask->gpr |= at(p, p->modrm) == 0xf9 ? RAX | RDX : 0;
        break;
    case 0x32: /* RDMSR of the time-stamp counter */
        mask->gpr |= insn->before && (uint32_t)insn->before->gpr.rcx == 0x10 ? RAX | RDX : 0;
        break;
    case 0x31: /* RDTSC, RDPMC */
    case 0x33:
        mask->gpr |= RAX | RDX;
        break;
    case 0xa3: /* BT, BTS, BTR, BTC */
    case 0xab:
    case 0xb3:
    case 0xbb:
    case 0xba:
        mask->rflags |= OF | SF | AF | PF;
        break;
    case 0xa4: /* SHLD, SHRD */
    case 0xac:
        double_shift(p, immediate(p), mask);
        break;
    case 0xa5:
    case 0xad:
        double_shift(p, cl, mask);
        break;
    case 0xaf: /* IMUL */
        mask->rflags |= SF | ZF | AF | PF;
        break;
    case 0xbc: /* BSF, BSR; with F3 TZCNT, LZCNT */
    case 0xbd:
        mask->rflags |= OF | SF | AF | PF | (p->repeat == 0xf3 ? 0 : CF);
        break;
    case 0xc7: /* RDRAND, RDSEED */
        mask->gpr |= reg_field(p) >= 6 && !p->repeat ? rm_bit(p) : 0;
        break;
    default: /* BSWAP of 16 bits */
        if ((p->opcode & 0xf8) == 0xc8 && p->size16)
            mask->gpr |= 1u << ((p->opcode & 7) | (p->rex & 1) << 3);
        break;
    }
}

/* ANDN, BLSR and its group, BZHI, BEXTR */
static void vex(const struct parts *p, struct vmlib_lockstep_mask *mask)
{
    if (p->map != 2)
        return;
    if (p->opcode == 0xf2 || p->opcode == 0xf3 || (p->opcode == 0xf5 && !p->repeat))
        mask->rflags |= AF | PF;
    else if (p->opcode == 0xf7 && !p->repeat)
        mask->rflags |= AF | SF | PF;
}

void vmi_ls_undefined(const struct vmlib_lockstep_insn *insn, struct vmlib_lockstep_mask *mask)
{
    struct parts p = split(insn);

    *mask = (struct vmlib_lockstep_mask){0, 0, 0};
    if (insn->length == 0)
        return;
    if (p.vex)
        vex(&p, mask);
    else if (p.map == 0)
        one_byte(&p, insn, mask);
    else if (p.map == 1)
        two_bytes(&p, insn, mask);
}

bool vmi_ls_is_rep(const struct vmlib_lockstep_insn *insn)
{
    struct parts p = split(insn);

    /* INS, OUTS; MOVS, CMPS; STOS, LODS, SCAS */
    return p.repeat && p.map == 0 && !p.vex &&
           ((p.opcode & 0xfc) == 0x6c || (p.opcode & 0xfc) == 0xa4 ||
            (p.opcode >= 0xaa && p.opcode <= 0xaf));
}
