/*
 * Which kind of stub belongs to a handler table of rows_sse.def and rows_vex.def.
 *
 * The stub's code follows from the row's map, prefix, opcode, W, L and operands; the kind says
 * where its operands are.
 */
#ifndef X86_SIMD_KINDS_H
#define X86_SIMD_KINDS_H

#define X86_KIND_NONE 0 /* done in C */
#define X86_KIND_V    1 /* vector <- vectors */
#define X86_KIND_G    2 /* general register <- vector */
#define X86_KIND_VG   3 /* vector <- general register (or integer in memory) */
#define X86_KIND_F    4 /* flags <- vectors */
#define X86_KIND_XMM0 5 /* vector <- vectors, xmm0 */
#define X86_KIND_STR  6 /* PCMPxSTRx */
#define X86_KIND_IS4  7 /* register in the immediate */
#define X86_KIND_SHIFT \
    8 /* shift by immediate: through the form that takes the count from a register */
#define X86_KIND_STORE  9  /* destination in ModRM.rm */
#define X86_KIND_P      10 /* MMX <- MMX */
#define X86_KIND_PG     11 /* general register <- MMX */
#define X86_KIND_VP     12 /* vector <- MMX */
#define X86_KIND_PV     13 /* MMX <- vector */
#define X86_KIND_PSHIFT 14

#define X86_KIND_x86_t_sse_2        X86_KIND_V
#define X86_KIND_x86_t_sse_4        X86_KIND_V
#define X86_KIND_x86_t_sse_8        X86_KIND_V
#define X86_KIND_x86_t_sse_16a      X86_KIND_V
#define X86_KIND_x86_t_sse_x4       X86_KIND_V
#define X86_KIND_x86_t_sse_x8       X86_KIND_V
#define X86_KIND_x86_t_sse_x16a     X86_KIND_V
#define X86_KIND_x86_t_sse_xg4      X86_KIND_VG
#define X86_KIND_x86_t_sse_xg8      X86_KIND_VG
#define X86_KIND_x86_t_sse_gx4      X86_KIND_G
#define X86_KIND_x86_t_sse_gx8      X86_KIND_G
#define X86_KIND_x86_t_sse_g        X86_KIND_G
#define X86_KIND_x86_t_sse_fx4      X86_KIND_F
#define X86_KIND_x86_t_sse_fx8      X86_KIND_F
#define X86_KIND_x86_t_sse_f16a     X86_KIND_F
#define X86_KIND_x86_t_sse_xmm0     X86_KIND_XMM0
#define X86_KIND_x86_t_sse_stri     X86_KIND_STR
#define X86_KIND_x86_t_sse_strm     X86_KIND_STR
#define X86_KIND_x86_t_sse_shift    X86_KIND_SHIFT
#define X86_KIND_x86_t_sse_and      X86_KIND_NONE
#define X86_KIND_x86_t_sse_andn     X86_KIND_NONE
#define X86_KIND_x86_t_sse_or       X86_KIND_NONE
#define X86_KIND_x86_t_sse_xor      X86_KIND_NONE
#define X86_KIND_x86_t_sse_cmpeqb   X86_KIND_NONE
#define X86_KIND_x86_t_sse_ld16     X86_KIND_NONE
#define X86_KIND_x86_t_sse_ld16a    X86_KIND_NONE
#define X86_KIND_x86_t_sse_st16     X86_KIND_NONE
#define X86_KIND_x86_t_sse_st16a    X86_KIND_NONE
#define X86_KIND_x86_t_sse_ldss     X86_KIND_NONE
#define X86_KIND_x86_t_sse_ldsd     X86_KIND_NONE
#define X86_KIND_x86_t_sse_stss     X86_KIND_NONE
#define X86_KIND_x86_t_sse_stsd     X86_KIND_NONE
#define X86_KIND_x86_t_sse_ldlo     X86_KIND_NONE
#define X86_KIND_x86_t_sse_ldhi     X86_KIND_NONE
#define X86_KIND_x86_t_sse_stlo     X86_KIND_NONE
#define X86_KIND_x86_t_sse_sthi     X86_KIND_NONE
#define X86_KIND_x86_t_sse_ldq      X86_KIND_NONE
#define X86_KIND_x86_t_sse_stq      X86_KIND_NONE
#define X86_KIND_x86_t_sse_ldg4     X86_KIND_NONE
#define X86_KIND_x86_t_sse_ldg8     X86_KIND_NONE
#define X86_KIND_x86_t_sse_stg4     X86_KIND_NONE
#define X86_KIND_x86_t_sse_stg8     X86_KIND_NONE
#define X86_KIND_x86_t_sse_srldq    X86_KIND_NONE
#define X86_KIND_x86_t_sse_slldq    X86_KIND_NONE
#define X86_KIND_x86_t_sse_pinsr1   X86_KIND_NONE
#define X86_KIND_x86_t_sse_pinsr2   X86_KIND_NONE
#define X86_KIND_x86_t_sse_pinsr4   X86_KIND_NONE
#define X86_KIND_x86_t_sse_pinsr8   X86_KIND_NONE
#define X86_KIND_x86_t_sse_pextr1   X86_KIND_NONE
#define X86_KIND_x86_t_sse_pextr2   X86_KIND_NONE
#define X86_KIND_x86_t_sse_pextr4   X86_KIND_NONE
#define X86_KIND_x86_t_sse_pextr8   X86_KIND_NONE
#define X86_KIND_x86_t_sse_pextrw   X86_KIND_NONE
#define X86_KIND_x86_t_sse_insertps X86_KIND_NONE
#define X86_KIND_x86_t_sse_maskmov  X86_KIND_NONE

#define X86_KIND_x86_t_mmx_8       X86_KIND_P
#define X86_KIND_x86_t_mmx_4       X86_KIND_P
#define X86_KIND_x86_t_mmx_shift   X86_KIND_PSHIFT
#define X86_KIND_x86_t_mmx_g       X86_KIND_PG
#define X86_KIND_x86_t_mmx_v_q     X86_KIND_VP
#define X86_KIND_x86_t_mmx_p_w8    X86_KIND_PV
#define X86_KIND_x86_t_mmx_p_w16   X86_KIND_PV
#define X86_KIND_x86_t_mmx_ld      X86_KIND_NONE
#define X86_KIND_x86_t_mmx_st      X86_KIND_NONE
#define X86_KIND_x86_t_mmx_ldg4    X86_KIND_NONE
#define X86_KIND_x86_t_mmx_ldg8    X86_KIND_NONE
#define X86_KIND_x86_t_mmx_stg4    X86_KIND_NONE
#define X86_KIND_x86_t_mmx_stg8    X86_KIND_NONE
#define X86_KIND_x86_t_mmx_pinsrw  X86_KIND_NONE
#define X86_KIND_x86_t_mmx_pextrw  X86_KIND_NONE
#define X86_KIND_x86_t_mmx_movq2dq X86_KIND_NONE
#define X86_KIND_x86_t_mmx_movdq2q X86_KIND_NONE
#define X86_KIND_x86_t_mmx_maskmov X86_KIND_NONE
#define X86_KIND_x86_t_emms        X86_KIND_NONE

#define X86_KIND_x86_t_vex_2          X86_KIND_V
#define X86_KIND_x86_t_vex_4          X86_KIND_V
#define X86_KIND_x86_t_vex_8          X86_KIND_V
#define X86_KIND_x86_t_vex_16         X86_KIND_V
#define X86_KIND_x86_t_vex_16s        X86_KIND_V
#define X86_KIND_x86_t_vex_32         X86_KIND_V
#define X86_KIND_x86_t_vex_x4         X86_KIND_V
#define X86_KIND_x86_t_vex_x8         X86_KIND_V
#define X86_KIND_x86_t_vex_x16        X86_KIND_V
#define X86_KIND_x86_t_vex_x16s       X86_KIND_V
#define X86_KIND_x86_t_vex_x32        X86_KIND_V
#define X86_KIND_x86_t_vex_xg4        X86_KIND_VG
#define X86_KIND_x86_t_vex_xg8        X86_KIND_VG
#define X86_KIND_x86_t_vex_gx4        X86_KIND_G
#define X86_KIND_x86_t_vex_gx8        X86_KIND_G
#define X86_KIND_x86_t_vex_g          X86_KIND_G
#define X86_KIND_x86_t_vex_fx4        X86_KIND_F
#define X86_KIND_x86_t_vex_fx8        X86_KIND_F
#define X86_KIND_x86_t_vex_f16        X86_KIND_F
#define X86_KIND_x86_t_vex_f32        X86_KIND_F
#define X86_KIND_x86_t_vex_stri       X86_KIND_STR
#define X86_KIND_x86_t_vex_strm       X86_KIND_STR
#define X86_KIND_x86_t_vex_is4_16     X86_KIND_IS4
#define X86_KIND_x86_t_vex_is4_32     X86_KIND_IS4
#define X86_KIND_x86_t_vex_shift      X86_KIND_SHIFT
#define X86_KIND_x86_t_vex_ps2ph16    X86_KIND_STORE
#define X86_KIND_x86_t_vex_ps2ph32    X86_KIND_STORE
#define X86_KIND_x86_t_vex_ld16       X86_KIND_NONE
#define X86_KIND_x86_t_vex_ld32       X86_KIND_NONE
#define X86_KIND_x86_t_vex_lda16      X86_KIND_NONE
#define X86_KIND_x86_t_vex_lda32      X86_KIND_NONE
#define X86_KIND_x86_t_vex_st16       X86_KIND_NONE
#define X86_KIND_x86_t_vex_st32       X86_KIND_NONE
#define X86_KIND_x86_t_vex_sta16      X86_KIND_NONE
#define X86_KIND_x86_t_vex_sta32      X86_KIND_NONE
#define X86_KIND_x86_t_vex_and16      X86_KIND_NONE
#define X86_KIND_x86_t_vex_and32      X86_KIND_NONE
#define X86_KIND_x86_t_vex_andn16     X86_KIND_NONE
#define X86_KIND_x86_t_vex_andn32     X86_KIND_NONE
#define X86_KIND_x86_t_vex_or16       X86_KIND_NONE
#define X86_KIND_x86_t_vex_or32       X86_KIND_NONE
#define X86_KIND_x86_t_vex_xor16      X86_KIND_NONE
#define X86_KIND_x86_t_vex_xor32      X86_KIND_NONE
#define X86_KIND_x86_t_vex_cmpeqb16   X86_KIND_NONE
#define X86_KIND_x86_t_vex_cmpeqb32   X86_KIND_NONE
#define X86_KIND_x86_t_vex_ldss       X86_KIND_NONE
#define X86_KIND_x86_t_vex_ldsd       X86_KIND_NONE
#define X86_KIND_x86_t_vex_stss       X86_KIND_NONE
#define X86_KIND_x86_t_vex_stsd       X86_KIND_NONE
#define X86_KIND_x86_t_vex_ldlo       X86_KIND_NONE
#define X86_KIND_x86_t_vex_ldhi       X86_KIND_NONE
#define X86_KIND_x86_t_vex_stlo       X86_KIND_NONE
#define X86_KIND_x86_t_vex_sthi       X86_KIND_NONE
#define X86_KIND_x86_t_vex_ldq        X86_KIND_NONE
#define X86_KIND_x86_t_vex_stq        X86_KIND_NONE
#define X86_KIND_x86_t_vex_ldg4       X86_KIND_NONE
#define X86_KIND_x86_t_vex_ldg8       X86_KIND_NONE
#define X86_KIND_x86_t_vex_stg4       X86_KIND_NONE
#define X86_KIND_x86_t_vex_stg8       X86_KIND_NONE
#define X86_KIND_x86_t_vex_srldq      X86_KIND_NONE
#define X86_KIND_x86_t_vex_slldq      X86_KIND_NONE
#define X86_KIND_x86_t_vex_pinsr1     X86_KIND_NONE
#define X86_KIND_x86_t_vex_pinsr2     X86_KIND_NONE
#define X86_KIND_x86_t_vex_pinsr4     X86_KIND_NONE
#define X86_KIND_x86_t_vex_pinsr8     X86_KIND_NONE
#define X86_KIND_x86_t_vex_pextr1     X86_KIND_NONE
#define X86_KIND_x86_t_vex_pextr2     X86_KIND_NONE
#define X86_KIND_x86_t_vex_pextr4     X86_KIND_NONE
#define X86_KIND_x86_t_vex_pextr8     X86_KIND_NONE
#define X86_KIND_x86_t_vex_pextrw     X86_KIND_NONE
#define X86_KIND_x86_t_vex_insertps   X86_KIND_NONE
#define X86_KIND_x86_t_vex_insert16   X86_KIND_NONE
#define X86_KIND_x86_t_vex_extract16  X86_KIND_NONE
#define X86_KIND_x86_t_vex_bcast1     X86_KIND_NONE
#define X86_KIND_x86_t_vex_bcast2     X86_KIND_NONE
#define X86_KIND_x86_t_vex_bcast4     X86_KIND_NONE
#define X86_KIND_x86_t_vex_bcast8     X86_KIND_NONE
#define X86_KIND_x86_t_vex_bcast16    X86_KIND_NONE
#define X86_KIND_x86_t_vex_maskld4    X86_KIND_NONE
#define X86_KIND_x86_t_vex_maskld8    X86_KIND_NONE
#define X86_KIND_x86_t_vex_maskst4    X86_KIND_NONE
#define X86_KIND_x86_t_vex_maskst8    X86_KIND_NONE
#define X86_KIND_x86_t_vex_maskmovdqu X86_KIND_NONE
#define X86_KIND_x86_t_vex_gather44   X86_KIND_NONE
#define X86_KIND_x86_t_vex_gather48   X86_KIND_NONE
#define X86_KIND_x86_t_vex_gather84   X86_KIND_NONE
#define X86_KIND_x86_t_vex_gather88   X86_KIND_NONE
#define X86_KIND_x86_t_vzeroupper     X86_KIND_NONE
#define X86_KIND_x86_t_vzeroall       X86_KIND_NONE
#define X86_KIND_x86_t_vldmxcsr       X86_KIND_NONE
#define X86_KIND_x86_t_vstmxcsr       X86_KIND_NONE

#endif
