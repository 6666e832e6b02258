/* The instruction table: all rows as one constant array (insn.h explains the columns). */
#include "x86/insn.h"
#include "x86/handlers.h"
#include "x86/rows_columns.h"

/* Every handler table that a row names, declared; repeating a declaration is harmless. */
#define RM(id, map, opcode, pp, c, mnemonic, o1, o2, o3, o4, attr, feat, shape, tab) \
    extern x86_handler *const tab[];
#define RN(id, map, opcode, pp, c, mnemonic, o1, o2, o3, o4, attr, feat, shape, tab) \
    extern x86_handler *const tab[];
#include "x86/rows.h"
#undef RM
#undef RN

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
