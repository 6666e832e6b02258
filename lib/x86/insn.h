/*
 * Instruction knowledge as data: one row per form, in the SDM's notation.
 *
 * The rows stand in rows_*.def. Decoder, dispatch, names and the test generators derive from them.
 *
 *   RM(id, map, opcode, pp, constraint, mnemonic, op1, op2, op3, op4, attributes, feature, shape,
 * handlers) RN(...)  the same for a form without ModRM byte
 *
 *   id          unique C name, e.g. ADD_Eb_Gb          (becomes X86_I_ADD_Eb_Gb)
 *   map         M1, M0F, M38, M3A, V0F, V38, V3A       (V..: VEX-encoded)
 *   pp          ANY (prefixes do not select), NP, P66, PF3, PF2
 *   constraint  ANY, or a sum of: REG(n) MOD_REG MOD_MEM RMF(n) W0 W1 L0 L1 ONLY64 NO64 PROT (not
 * real/v86) op1..4      operand letters below, __ for none attributes  0 or a sum of X86_A_*
 * without prefix: LOCK D64 F64 END PRIV ... feature     CPUID feature that must be offered, without
 * X86_FEAT_; BASE = always shape       how `handlers` is indexed (enum x86_shape) handlers    an
 * x86_handler * const array: ONE: [1]; SIZE: [4] by operand size (8,16,32,64); FORM: [3];
 * FORM_SIZE: [4][4] (forms: E is a register, E is flat memory, E is memory through the segment
 * check, and for FORM_SIZE alone: E is flat memory without an index register)
 *
 * Within a file, rows of one map and opcode stand together, the more special *last*: the decoder
 * looks from the last one upwards and takes the first that fits and whose feature the CPU model
 * offers. That is how TZCNT (last) decodes as BSF where BMI1 is not offered. No fit is #UD.
 */
#ifndef X86_INSN_H
#define X86_INSN_H

#include "x86/features.h"
#include "x86/uop.h"

enum x86_map { X86_M1, X86_M0F, X86_M38, X86_M3A, X86_V0F, X86_V38, X86_V3A, X86_NMAPS };
enum x86_pp { X86_PP_NP, X86_PP_P66, X86_PP_PF3, X86_PP_PF2, X86_PP_ANY };

/* Constraint word: bits 2:0 reg value, 3 reg matters, 4 mod must be memory, 5 mod must be register,
 * 8:6 rm value, 9 rm matters, 10 W must be 0, 11 W must be 1, 12 L 0, 13 L 1, 14 only in 64-bit
 * mode, 15 not in 64-bit mode, 16 only in protected mode */
#define X86_C_ANY     0u
#define X86_C_REG(n)  (8u | (n))
#define X86_C_MOD_MEM 0x10u
#define X86_C_MOD_REG 0x20u
#define X86_C_RMF(n)  (0x200u | (n) << 6)
#define X86_C_W0      0x400u
#define X86_C_W1      0x800u
#define X86_C_L0      0x1000u
#define X86_C_L1      0x2000u
#define X86_C_ONLY64  0x4000u
#define X86_C_NO64    0x8000u
#define X86_C_PROT    0x10000u

/* Operand letters: SDM Vol.2D A.2. Lower-case letter: size. */
enum x86_operand {
    X86_O___, /* none */
    /* register or memory by ModRM.rm */
    X86_O_Eb,
    X86_O_Ew,
    X86_O_Ed,
    X86_O_Eq,
    X86_O_Ev,
    X86_O_Ey,
    /* general register by ModRM.reg */
    X86_O_Gb,
    X86_O_Gw,
    X86_O_Gd,
    X86_O_Gq,
    X86_O_Gv,
    X86_O_Gy,
    /* memory only: plain (no access), and by size */
    X86_O_M,
    X86_O_Mb,
    X86_O_Mw,
    X86_O_Md,
    X86_O_Mq,
    X86_O_Mt /* 80 bit */,
    X86_O_Mdq,
    X86_O_Mqq /* 256 */,
    X86_O_Mv,
    X86_O_My,
    X86_O_Mp /* far pointer */,
    X86_O_Ms /* 6/10-byte descriptor-table pointer */,
    X86_O_Ma /* BOUND pair */,
    X86_O_Mx /* 16 or 32 bytes by VEX.L */,
    /* general register by ModRM.rm */
    X86_O_Rd,
    X86_O_Rv,
    X86_O_Ry,
    /* segment, control, debug register by ModRM.reg */
    X86_O_Sw,
    X86_O_Cy,
    X86_O_Dy,
    /* register in the opcode's low bits (and REX.B) */
    X86_O_Zb,
    X86_O_Zv,
    X86_O_Zy,
    /* fixed registers */
    X86_O_AL,
    X86_O_AX,
    X86_O_rAX /* by operand size */,
    X86_O_CL,
    X86_O_DX,
    X86_O_ES,
    X86_O_CS,
    X86_O_SS,
    X86_O_DS,
    X86_O_FS,
    X86_O_GS,
    X86_O_1,
    /* immediates: by the name's size; sIb sign-extended byte; Iz 16/32 by operand size; Iv up to 64
     */
    X86_O_Ib,
    X86_O_sIb,
    X86_O_Iw,
    X86_O_Iz,
    X86_O_Iv,
    /* branch displacement, absolute offset, far immediate */
    X86_O_Jb,
    X86_O_Jz,
    X86_O_Ob,
    X86_O_Ov,
    X86_O_Ap,
    /* string source (segment:rSI) and destination (ES:rDI) */
    X86_O_Xb,
    X86_O_Xv,
    X86_O_Yb,
    X86_O_Yv,
    /* x87 */
    X86_O_ST0,
    X86_O_STi,
    /* MMX: P by reg, N by rm (register), Q by rm or memory */
    X86_O_Pq,
    X86_O_Nq,
    X86_O_Qq,
    X86_O_Qd,
    /* vector: V by reg, H by vvvv, U by rm (register), W by rm or memory, L by is4; x: 16 or 32
       bytes by VEX.L */
    X86_O_Vx,
    X86_O_Vdq,
    X86_O_Vqq,
    X86_O_Vss,
    X86_O_Vsd,
    X86_O_Hx,
    X86_O_Hdq,
    X86_O_Hqq,
    X86_O_Hss,
    X86_O_Hsd,
    X86_O_Ux,
    X86_O_Udq,
    X86_O_Uqq,
    X86_O_Wx,
    X86_O_Wdq,
    X86_O_Wqq,
    X86_O_Wb,
    X86_O_Ww,
    X86_O_Wd /* = ss */,
    X86_O_Wq /* = sd */,
    X86_O_Wh /* half of Vx */,
    X86_O_Wf /* quarter */,
    X86_O_We /* eighth */,
    X86_O_Lx,
    X86_O_By, /* general register by vvvv */
    X86_NOPERANDS
};

#define X86_A_MODRM 0x0001u /* set by RM() */
#define X86_A_LOCK  0x0002u /* LOCK allowed when the first operand is in memory */
#define X86_A_D64 \
    0x0004u /* operand size defaults to 64 in 64-bit mode (PUSH, near branches: no 32-bit form) */
#define X86_A_F64 0x0008u /* operand size is 64 in 64-bit mode, 66 ignored */
#define X86_A_END                                                                               \
    0x0010u             /* ends the block: changes rip, modes, mappings, or must look at events \
                         */
#define X86_A_B 0x0020u /* byte operands: operand size 8 */
#define X86_A_VEC \
    0x0040u /* vector row: uop.imm in the X86_VIMM_* layout; size is not used for indexing */
#define X86_A_REP   0x0080u /* F3/F2 repeat it (string instructions) */
#define X86_A_USER  0x0100u /* the host-CPU differential test may run it natively at CPL 3 */
#define X86_A_CC    0x0200u /* may set arithmetic flags */
#define X86_A_LOCKM 0x0400u /* implicitly locked with memory (XCHG) */
#define X86_A_W32   0x0800u /* operand size 32 even with 66 (outside REX.W) */
#define X86_A_NO66  0x1000u /* 66 is #UD */
#define X86_A_MXCSR 0x2000u /* uses rounding or reports SIMD floating-point exceptions */
#define X86_A_ALIGN 0x4000u /* legacy SSE: 16-byte memory operand must be aligned */
/* bits 24..31: arithmetic flags the manual leaves undefined, as cc bits' order CF PF AF ZF SF OF */
#define X86_A_UNDEF_CF (1u << 24)
#define X86_A_UNDEF_PF (1u << 25)
#define X86_A_UNDEF_AF (1u << 26)
#define X86_A_UNDEF_ZF (1u << 27)
#define X86_A_UNDEF_SF (1u << 28)
#define X86_A_UNDEF_OF (1u << 29)

enum x86_shape { X86_SHAPE_ONE, X86_SHAPE_SIZE, X86_SHAPE_FORM, X86_SHAPE_FORM_SIZE };
#define X86_FORM_REG  0 /* E is a register */
#define X86_FORM_FLAT 1 /* E is memory: 64-bit addressing without FS/GS, no segment arithmetic */
#define X86_FORM_SEG  2 /* E is memory: any other addressing */
#define X86_FORM_BASE 3 /* FORM_SIZE tables: as FORM_FLAT, and there is no index */

struct x86_row {
    const char *name; /* lower-case mnemonic */
    x86_handler *const *handlers;
    uint32_t constraint;
    uint32_t attr;
    uint8_t map, opcode, pp, shape;
    uint8_t op[4];
    uint16_t feature;
};

enum x86_row_id {
    X86_I_NONE, /* #UD */
#define RM(id, ...) X86_I_##id,
#define RN(id, ...) X86_I_##id,
#include "x86/rows.h"
#undef RM
#undef RN
    X86_NROWS
};
extern const struct x86_row x86_rows[]; /* X86_NROWS of them */

/* One decoded instruction. */
struct x86_insn {
    uint16_t row;
    uint8_t length;
    uint8_t opcode, modrm, rex;
    bool has_modrm, has_sib, mem, lock, vex;
    uint8_t rep; /* 0, F2 or F3 (the last one given) */
    uint8_t pp;  /* enum x86_pp */
    bool p66;
    uint8_t size;               /* operand size, log2 of bytes */
    uint8_t asize;              /* address size: 1 16-bit, 2 32-bit, 3 64-bit (log2 of bytes) */
    uint8_t seg;                /* effective segment of the memory operand */
    uint8_t reg, rm;            /* with REX; plain register numbers */
    uint8_t base, index, scale; /* X86_NOREG, X86_RIPREL */
    uint8_t vvvv, l, w;
    int64_t disp;
    uint64_t imm;  /* sign-extended */
    uint16_t imm2; /* ENTER's second, far pointer's selector */
};

enum x86_decode_result {
    X86_DECODE_OK,
    X86_DECODE_UD,      /* no such instruction here; length covers what was looked at */
    X86_DECODE_MORE,    /* ran out of bytes */
    X86_DECODE_TOO_LONG /* more than 15 bytes: #GP(0) */
};
/* Decode at most n bytes for the given mode word and CPU features (bit set of enum x86_feature). */
enum x86_decode_result x86_decode(const uint8_t *bytes, unsigned n, unsigned mode,
                                  const uint64_t *features, struct x86_insn *out);

/*
 * Build the uop of an instruction that starts `offset` bytes into its block. Beyond the plain
 * fields: near branches (Jb, Jz)  disp (+ carry in scale, see branch.h) is target - RIPBASE, link
 * is NULL moffs (Ob, Ov)          imm is the offset, X86_AUX_MEM set, seg the segment far pointer
 * (Ap)        imm is the offset, disp the selector ENTER                   imm is the frame size,
 * disp the nesting level VSIB rows               index is the number of a vector register (4 is
 * xmm4, not "none") opcode registers (Z)    reg
 */
void x86_lower(const struct x86_cpu *cpu, const struct x86_insn *in, unsigned offset,
               struct x86_uop *u);

#endif
