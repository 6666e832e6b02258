/*
 * The stubs that carry vector instructions out on an x86-64 host, assembled from the rows.
 *
 * Every stub is a function (x86_stub in simd.h) with fixed registers: vectors in xmm0
 * (destination), xmm1, xmm2 (ymm for VEX.256), general registers eax and edx. Immediates must be
 * part of the encoding: such a stub has a table of all values that make a difference, eight bytes
 * apart. SDM Vol.2A chapter 2 has the encodings.
 */
#include "x86/rows_columns.h"
#include "x86/simd.h"
#include "x86/simd_kinds.h"
#include "x86/sys.h"

/* clang-format off */
__asm__(
    ".macro x86_encode map, pp, op, w, l, v, modrm\n"
    ".if \\map >= 4\n" /* VEX */
    "  .byte 0xc4, 0xe0 | (\\map - 3)\n"
    "  .byte (\\w << 7) | ((15 - \\v) << 3) | (\\l << 2) | \\pp\n"
    "  .byte \\op, \\modrm\n"
    ".else\n"
    "  .if \\pp == 1\n    .byte 0x66\n  .endif\n"
    "  .if \\pp == 2\n    .byte 0xf3\n  .endif\n"
    "  .if \\pp == 3\n    .byte 0xf2\n  .endif\n"
    "  .if \\w\n    .byte 0x48\n  .endif\n"
    "  .byte 0x0f\n"
    "  .if \\map == 2\n    .byte 0x38\n  .endif\n"
    "  .if \\map == 3\n    .byte 0x3a\n  .endif\n"
    "  .byte \\op, \\modrm\n"
    ".endif\n"
    ".endm\n"

    ".macro x86_load reg, from, map, l\n"
    ".if \\map < 4\n"
    "  movups (%\\from), %xmm\\reg\n"
    ".elseif \\l\n"
    "  vmovdqu (%\\from), %ymm\\reg\n"
    ".else\n"
    "  vmovdqu (%\\from), %xmm\\reg\n"
    ".endif\n"
    ".endm\n"

    /* VEX.128 has cleared the upper half, which is stored, too */
    ".macro x86_store map\n"
    ".if \\map < 4\n"
    "  movups %xmm0, (%rdi)\n"
    ".else\n"
    "  vmovdqu %ymm0, (%rdi)\n"
    ".endif\n"
    ".endm\n"

    ".macro x86_op name, map, pp, op, w, l, v, modrm, nimm\n"
    ".if \\nimm\n"
    "  andl $\\nimm - 1, %ecx\n"
    "  leaq \\name\\()_imm(%rip), %r9\n"
    "  leaq (%r9,%rcx,8), %r9\n"
    "  call *%r9\n"
    ".else\n"
    "  x86_encode \\map, \\pp, \\op, \\w, \\l, \\v, \\modrm\n"
    ".endif\n"
    ".endm\n"

    ".macro x86_imm_table name, map, pp, op, w, l, v, modrm, nimm\n"
    ".if \\nimm\n"
    ".p2align 3\n"
    "\\name\\()_imm:\n"
    ".set x86_imm, 0\n"
    ".rept \\nimm\n"
    "  x86_encode \\map, \\pp, \\op, \\w, \\l, \\v, \\modrm\n"
    "  .byte x86_imm\n"
    "  ret\n"
    "  .p2align 3\n"
    "  .set x86_imm, x86_imm + 1\n"
    ".endr\n"
    ".endif\n"
    ".endm\n"

    ".macro x86_make name, kind, map, pp, op, w, l, v, nimm\n"
    ".p2align 4\n"
    "\\name:\n"
    ".set x86_modrm, 0xc2\n"
    ".if \\kind == 1 || \\kind == 8\n" /* V, SHIFT */
    "  .if \\map < 4 || (\\map == 5 && \\op >= 0x96 && \\op <= 0xbf)\n" /* FMA reads its destination */
    "    x86_load 0, rdi, \\map, \\l\n"
    "  .endif\n"
    "  .if \\v\n    x86_load 1, rsi, \\map, \\l\n  .endif\n"
    "  x86_load 2, rdx, \\map, \\l\n"
    "  x86_op \\name, \\map, \\pp, \\op, \\w, \\l, \\v, 0xc2, \\nimm\n"
    "  x86_store \\map\n"
    ".elseif \\kind == 2\n" /* G */
    "  x86_load 2, rdx, \\map, \\l\n"
    "  x86_op \\name, \\map, \\pp, \\op, \\w, \\l, \\v, 0xc2, \\nimm\n"
    ".elseif \\kind == 3\n" /* VG */
    "  .if \\v\n    x86_load 1, rsi, \\map, \\l\n  .else\n    x86_load 0, rdi, \\map, \\l\n  .endif\n"
    "  movq (%rdx), %rdx\n"
    "  x86_op \\name, \\map, \\pp, \\op, \\w, \\l, \\v, 0xc2, \\nimm\n"
    "  x86_store \\map\n"
    ".elseif \\kind == 4\n" /* F */
    "  x86_load 0, rdi, \\map, \\l\n"
    "  x86_load 2, rdx, \\map, \\l\n"
    "  x86_op \\name, \\map, \\pp, \\op, \\w, \\l, \\v, 0xc2, \\nimm\n"
    "  lahf\n"
    "  seto %al\n"
    ".elseif \\kind == 5\n" /* XMM0 */
    "  movups (%rdi), %xmm1\n"
    "  movups (%rdx), %xmm2\n"
    "  movups (%rcx), %xmm0\n"
    "  x86_encode \\map, \\pp, \\op, \\w, \\l, \\v, 0xca\n"
    "  movups %xmm1, (%rdi)\n"
    ".elseif \\kind == 6\n" /* STR: struct of simd_string.c at rdi */
    "  .set x86_modrm, 0xca\n"
    "  x86_load 1, rsi, \\map, \\l\n"
    "  x86_load 2, rdx, \\map, \\l\n"
    "  movq (%rdi), %rax\n"
    "  movq 8(%rdi), %rdx\n"
    "  x86_op \\name, \\map, \\pp, \\op, \\w, \\l, \\v, 0xca, \\nimm\n"
    "  movq %rcx, 16(%rdi)\n"
    "  movups %xmm0, 32(%rdi)\n"
    "  lahf\n"
    "  seto %al\n"
    ".elseif \\kind == 7\n" /* IS4: the register in the immediate is xmm3 */
    "  x86_load 1, rsi, \\map, \\l\n"
    "  x86_load 2, rdx, \\map, \\l\n"
    "  x86_load 3, rcx, \\map, \\l\n"
    "  x86_encode \\map, \\pp, \\op, \\w, \\l, \\v, 0xc2\n"
    "  .byte 0x30\n"
    "  x86_store \\map\n"
    ".elseif \\kind == 9\n" /* STORE */
    "  .set x86_modrm, 0xd0\n"
    "  x86_load 2, rdx, \\map, \\l\n"
    "  x86_op \\name, \\map, \\pp, \\op, \\w, \\l, \\v, 0xd0, \\nimm\n"
    "  x86_store \\map\n"
    ".elseif \\kind == 10 || \\kind == 14\n" /* P, PSHIFT */
    "  movq (%rdi), %mm0\n"
    "  movq (%rdx), %mm2\n"
    "  x86_op \\name, \\map, \\pp, \\op, \\w, \\l, \\v, 0xc2, \\nimm\n"
    "  movq %mm0, (%rdi)\n"
    "  emms\n"
    ".elseif \\kind == 11\n" /* PG */
    "  movq (%rdx), %mm2\n"
    "  x86_op \\name, \\map, \\pp, \\op, \\w, \\l, \\v, 0xc2, \\nimm\n"
    "  emms\n"
    ".elseif \\kind == 12\n" /* VP */
    "  movups (%rdi), %xmm0\n"
    "  movq (%rdx), %mm2\n"
    "  x86_op \\name, \\map, \\pp, \\op, \\w, \\l, \\v, 0xc2, \\nimm\n"
    "  movups %xmm0, (%rdi)\n"
    "  emms\n"
    ".elseif \\kind == 13\n" /* PV */
    "  movups (%rdx), %xmm2\n"
    "  x86_op \\name, \\map, \\pp, \\op, \\w, \\l, \\v, 0xc2, \\nimm\n"
    "  movq %mm0, (%rdi)\n"
    "  emms\n"
    ".endif\n"
    ".if \\l\n  vzeroupper\n.endif\n"
    "  ret\n"
    "  x86_imm_table \\name, \\map, \\pp, \\op, \\w, \\l, \\v, x86_modrm, \\nimm\n"
    ".endm\n"
    ".macro x86_row name, kind, map, pp, op, w, l, v, nimm\n"
    ".if \\kind\n"
    "  x86_make \\name, \\kind, \\map, \\pp, \\op, \\w, \\l, \\v, \\nimm\n"
    ".else\n"
    "  .set \\name, x86_stub_none\n"
    ".endif\n"
    ".endm\n");
/* clang-format on */

/* How many values of the immediate make a difference, by (map, opcode, prefix, VEX). */
#define NIMM_0F(op, pp, vex) \
    ((op) == 0xc2 ? ((vex) ? 32 : 8) : (op) == 0xc6 && (pp) == X86_PP_P66 ? 16 : 256)
#define NIMM_3A(op)                       \
    ((op) == 0x05                   ? 16  \
     : (op) >= 0x08 && (op) <= 0x0b ? 16  \
     : (op) == 0x0d                 ? 16  \
     : (op) == 0x1d                 ? 8   \
     : (op) == 0x41 || (op) == 0x42 ? 64  \
     : (op) == 0x44                 ? 32  \
     : (op) >= 0x60 && (op) <= 0x63 ? 128 \
     : (op) == 0xcc                 ? 4   \
                                    : 256)
#define NIMM(map, op, pp) \
    ((map) == X86_M0F || (map) == X86_V0F ? NIMM_0F(op, pp, (map) >= X86_V0F) : NIMM_3A(op))
#define IS_SHIFT(kind) ((kind) == X86_KIND_SHIFT || (kind) == X86_KIND_PSHIFT)
#define HAS_IMM(kind, o2, o3, o4) \
    (!IS_SHIFT(kind) && ((o2) == X86_O_Ib || (o3) == X86_O_Ib || (o4) == X86_O_Ib))
/* Groups 71..73, /2 /4 /6: the form with the count in a register is D1.., E1.., F1.. */
#define OPCODE(kind, op, c)            \
    (!IS_SHIFT(kind) ? (op)            \
     : ((c)&7) == 2  ? 0xd0 + ((op)&3) \
     : ((c)&7) == 4  ? 0xe0 + ((op)&3) \
                     : 0xf0 + ((op)&3))
#define IS_H(o) ((o) >= X86_O_Hx && (o) <= X86_O_Hsd)

/* Never called: a place where assembly can be written with constants that the compiler works out.
 */
void x86_stubs_assemble(void);
__attribute__((noinline, used, cold)) void x86_stubs_assemble(void)
{
    __asm__ volatile(".pushsection .text.x86_stubs, \"ax\", @progbits\n"
                     "x86_stub_none: ud2\n"
                     ".popsection");
#define RM(id, map, op, pp, c, mn, o1, o2, o3, o4, attr, feat, shape, tab)                 \
    __asm__ volatile(".pushsection .text.x86_stubs, \"ax\", @progbits\n"                   \
                     "x86_row x86_stub_" #id ", %c0, %c1, %c2, %c3, %c4, %c5, %c6, %c7\n"  \
                     ".popsection" ::"i"(X86_KIND_##tab),                                  \
                     "i"(X86_##map), "i"(X86_PP_##pp), "i"(OPCODE(X86_KIND_##tab, op, c)), \
                     "i"((c)&X86_C_W1 ? 1 : 0), "i"((c)&X86_C_L1 ? 1 : 0),                 \
                     "i"(IS_H(X86_O_##o1) || IS_H(X86_O_##o2) ? 1 : 0),                    \
                     "i"(HAS_IMM(X86_KIND_##tab, X86_O_##o2, X86_O_##o3, X86_O_##o4)       \
                             ? NIMM(X86_##map, op, X86_PP_##pp)                            \
                             : 0));
#define RN(...)
#include "x86/rows_sse.def"
#include "x86/rows_vex.def"
#undef RM
#undef RN
}

#define RM(id, ...) extern x86_stub x86_stub_##id __attribute__((visibility("hidden")));
#define RN(id, ...)
#include "x86/rows_sse.def"
#include "x86/rows_vex.def"
#undef RM
#undef RN

x86_stub *const x86_stubs[X86_NROWS] = {
#define RM(id, ...) [X86_I_##id] = x86_stub_##id,
#define RN(id, ...)
#include "x86/rows_sse.def"
#include "x86/rows_vex.def"
#undef RM
#undef RN
};

uint64_t x86_host_fp(x86_stub *stub, void *dst, const void *a, const void *b, uintptr_t c,
                     uint32_t *mxcsr)
{
    uint32_t host, after;
    __asm__ volatile("stmxcsr %0" : "=m"(host));
    __asm__ volatile("ldmxcsr %0" ::"m"(*mxcsr));
    uint64_t r = stub(dst, a, b, c);
    __asm__ volatile("stmxcsr %0" : "=m"(after));
    *mxcsr = after & X86_MXCSR_VALID;
    __asm__ volatile("ldmxcsr %0" ::"m"(host));
    return r;
}

bool x86_fp_enter(struct x86_cpu *cpu)
{
    uint32_t guest = cpu->mxcsr & ~X86_MXCSR_FLAGS;
    if ((guest & X86_MXCSR_MASKS) != X86_MXCSR_MASKS)
        return false;
    __asm__ volatile("stmxcsr %0" : "=m"(cpu->host_mxcsr));
    __asm__ volatile("ldmxcsr %0" ::"m"(guest));
    cpu->fp_live = true;
    return true;
}

void x86_fp_sync_slow(struct x86_cpu *cpu)
{
    uint32_t now;
    __asm__ volatile("stmxcsr %0" : "=m"(now));
    cpu->mxcsr |= now & X86_MXCSR_FLAGS;
    __asm__ volatile("ldmxcsr %0" ::"m"(cpu->host_mxcsr));
    cpu->fp_live = false;
}
