/* The instruction table: all rows as one constant array (insn.h explains the columns). */
#include "x86/insn.h"
#include "x86/handlers.h"

/* Every handler table that a row names, declared; repeating a declaration is harmless. */
#define RM(id, map, opcode, pp, c, mnemonic, o1, o2, o3, o4, attr, feat, shape, tab) \
    extern x86_handler *const tab[];
#define RN(id, map, opcode, pp, c, mnemonic, o1, o2, o3, o4, attr, feat, shape, tab) \
    extern x86_handler *const tab[];
#include "x86/rows.h"
#undef RM
#undef RN

#define ANY     X86_C_ANY
#define REG(n)  X86_C_REG(n)
#define MOD_REG X86_C_MOD_REG
#define MOD_MEM X86_C_MOD_MEM
#define RMF(n)  X86_C_RMF(n)
#define W0      X86_C_W0
#define W1      X86_C_W1
#define L0      X86_C_L0
#define L1      X86_C_L1
#define ONLY64  X86_C_ONLY64
#define NO64    X86_C_NO64
#define PROT    X86_C_PROT

#define LOCK     X86_A_LOCK
#define D64      X86_A_D64
#define F64      X86_A_F64
#define END      X86_A_END
#define B        X86_A_B
#define VEC      X86_A_VEC
#define REP      X86_A_REP
#define USER     X86_A_USER
#define CC       X86_A_CC
#define LOCKM    X86_A_LOCKM
#define W32      X86_A_W32
#define NO66     X86_A_NO66
#define MXCSR    X86_A_MXCSR
#define ALIGN    X86_A_ALIGN
#define UNDEF_CF X86_A_UNDEF_CF
#define UNDEF_PF X86_A_UNDEF_PF
#define UNDEF_AF X86_A_UNDEF_AF
#define UNDEF_ZF X86_A_UNDEF_ZF
#define UNDEF_SF X86_A_UNDEF_SF
#define UNDEF_OF X86_A_UNDEF_OF

/* Written out twice: handing the columns on to a common macro would expand them before they are
 * pasted. */
#define RM(id_, map_, opcode_, pp_, constraint_, mnemonic_, o1, o2, o3, o4, attr_, feat_, shape_, \
           tab_)                                                                                  \
    [X86_I_##id_] = {                                                                             \
        .name = mnemonic_,                                                                        \
        .handlers = tab_,                                                                         \
        .constraint = constraint_,                                                                \
        .attr = (attr_) | X86_A_MODRM,                                                            \
        .map = X86_##map_,                                                                        \
        .opcode = opcode_,                                                                        \
        .pp = X86_PP_##pp_,                                                                       \
        .shape = X86_SHAPE_##shape_,                                                              \
        .op = {X86_O_##o1, X86_O_##o2, X86_O_##o3, X86_O_##o4},                                   \
        .feature = X86_FEAT_##feat_,                                                              \
    },
#define RN(id_, map_, opcode_, pp_, constraint_, mnemonic_, o1, o2, o3, o4, attr_, feat_, shape_, \
           tab_)                                                                                  \
    [X86_I_##id_] = {                                                                             \
        .name = mnemonic_,                                                                        \
        .handlers = tab_,                                                                         \
        .constraint = constraint_,                                                                \
        .attr = attr_,                                                                            \
        .map = X86_##map_,                                                                        \
        .opcode = opcode_,                                                                        \
        .pp = X86_PP_##pp_,                                                                       \
        .shape = X86_SHAPE_##shape_,                                                              \
        .op = {X86_O_##o1, X86_O_##o2, X86_O_##o3, X86_O_##o4},                                   \
        .feature = X86_FEAT_##feat_,                                                              \
    },

static x86_handler *const ud[1] = {x86_op_ud};

const struct x86_row x86_rows[X86_NROWS] = {
    [X86_I_NONE] = {.name = "(bad)", .handlers = ud, .attr = X86_A_END, .shape = X86_SHAPE_ONE},
#include "x86/rows.h"
};
