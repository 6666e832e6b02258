/* The short names that rows_*.def use in the constraint and attribute columns. Only for files that
 * include the rows: the names are short. */
#ifndef X86_ROWS_COLUMNS_H
#define X86_ROWS_COLUMNS_H

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

#endif
