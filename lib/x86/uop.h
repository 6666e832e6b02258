/*
 * The decoded, executable form of one instruction, and how handlers hand over to each other.
 *
 * A block is an array of uops. Each handler does its work and ends in X86_NEXT: with optimisation
 * that is a jump to the next handler (threaded code, one function per instruction form); without,
 * it returns the next uop to the loop in x86_run_uops(). Both come from the same source.
 */
#ifndef X86_UOP_H
#define X86_UOP_H

#include "x86/cpu.h"

/* Returns the next uop, or NULL to leave to the run loop (cpu->rip and cpu->leave then say why). */
typedef struct x86_uop *x86_handler(struct x86_cpu *cpu, struct x86_uop *u);

struct x86_uop {
    x86_handler *fn;
    union {
        uint64_t imm; /* immediate, sign-extended to 64 bits; vector rows: enum X86_VIMM_* below */
        struct x86_uop *link; /* direct branches: head of the target block, or NULL */
    };
    int32_t disp; /* of the memory operand; direct branches: target - RIPBASE */
    uint16_t ip;  /* offset of the instruction in its block (11:0) and its length (15:12) */
    uint16_t row; /* enum x86_row_id; block heads: mode */
    uint8_t rem;  /* instructions of the block not yet retired, this one included */
    uint8_t
        reg;    /* ModRM.reg or opcode register: number; for 8-bit operands byte offset in cpu->r */
    uint8_t rm; /* ModRM.rm when it is a register, same form */
    uint8_t base, index, scale; /* memory operand: r[base] + (r[index] << scale) + disp */
    uint8_t seg; /* effective segment (enum x86_segreg) of the memory operand or string source */
    uint8_t aux; /* X86_AUX_* */
};
_Static_assert(sizeof(struct x86_uop) == 32, "two uops to a cache line");

#define X86_AUX_SIZE  0x03u /* operand size: log2 of bytes */
#define X86_AUX_ASIZE 0x0cu /* address size: 0 16-bit, 4 32-bit, 8 64-bit */
#define X86_AUX_A16   0x00u
#define X86_AUX_A32   0x04u
#define X86_AUX_A64   0x08u
#define X86_AUX_REP   0x10u /* F3 */
#define X86_AUX_REPNE 0x20u /* F2 */
#define X86_AUX_LOCK  0x40u
#define X86_AUX_MEM   0x80u /* the E/W/M operand is in memory */

/* Rows of the vector maps keep more in imm: byte 0 imm8 (or is4), byte 1 VEX.vvvv, byte 2 VEX.L,
 * byte 3 VEX.W or REX.W. */
#define X86_VIMM_IMM(u)  ((uint8_t)(u)->imm)
#define X86_VIMM_VVVV(u) ((uint8_t)((u)->imm >> 8))
#define X86_VIMM_L(u)    ((uint8_t)((u)->imm >> 16))
#define X86_VIMM_W(u)    ((uint8_t)((u)->imm >> 24))

static inline unsigned x86_uop_off(const struct x86_uop *u)
{
    return u->ip & 0xfff;
}
static inline unsigned x86_uop_len(const struct x86_uop *u)
{
    return u->ip >> 12;
}
static inline unsigned x86_uop_bytes(const struct x86_uop *u) /* operand size in bytes */
{
    return 1u << (u->aux & X86_AUX_SIZE);
}

/* --- hand-over ---
 * X86_THREADED: the compiler turns `return f(cpu, u)` into a jump. GCC and clang do from -O2 on,
 * except under sanitizers. (clang's musttail cannot say so: it refuses inlined helpers that take
 * more arguments.) Handlers must not let addresses of locals escape, or the jump becomes a call and
 * the stack grows. */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(X86_NO_THREADED)
#define X86_THREADED 1
#else
#define X86_THREADED 0
#endif

#if X86_THREADED
#define X86_JUMP(cpu, u) return (u)->fn((cpu), (u))
#else
#define X86_JUMP(cpu, u) return (void)(cpu), (u)
#endif

/* Have a value in a register now: GCC would otherwise address u + 1 from u and move the pointer as
 * well. */
#if defined(__GNUC__)
#define X86_SETTLE(v) __asm__("" : "+r"(v))
#else
#define X86_SETTLE(v) ((void)0)
#endif

#define X86_NEXT(cpu, u)                     \
    do {                                     \
        struct x86_uop *x86_next_ = (u) + 1; \
        X86_SETTLE(x86_next_);               \
        X86_JUMP(cpu, x86_next_);            \
    } while (0)

static inline void x86_run_uops(struct x86_cpu *cpu, struct x86_uop *u)
{
    while (u)
        u = u->fn(cpu, u);
}

/* --- ways to leave a block; each returns NULL (leave.c) --- */

/* A slow path failed (result other than X86_OK): the instruction had no effect, cpu->rip is its
 * address. cpu->leave has been set by whoever failed. */
struct x86_uop *x86_leave(struct x86_cpu *cpu, struct x86_uop *u);
/* The instruction is complete; go on at the next one after a look at modes and events. */
struct x86_uop *x86_leave_next(struct x86_cpu *cpu, struct x86_uop *u);
/* The instruction is complete and has set cpu->rip itself (far transfers, IRET, SYSCALL ...). */
struct x86_uop *x86_leave_to(struct x86_cpu *cpu, struct x86_uop *u);
/* Raise a fault at this instruction. */
struct x86_uop *x86_raise(struct x86_cpu *cpu, struct x86_uop *u,
                          unsigned vector); /* no error code */
struct x86_uop *x86_raise_err(struct x86_cpu *cpu, struct x86_uop *u, unsigned vector,
                              uint32_t error);

/* For slow paths: record a fault / say why, to be followed by X86_EXC and x86_leave(). */
enum x86_result x86_fault(struct x86_cpu *cpu, unsigned vector);
enum x86_result x86_fault_err(struct x86_cpu *cpu, unsigned vector, uint32_t error);

/* rip of this and of the next instruction; valid inside a block. RIPBASE holds an offset in CS (the
 * value of the rip register), which is the linear address only where CS.base is 0. Outside 64-bit
 * mode the next rip may have to be masked to the code size (x86_ip_mask). */
static inline uint64_t x86_this_rip(const struct x86_cpu *cpu, const struct x86_uop *u)
{
    return cpu->r[X86_RIPBASE] + x86_uop_off(u);
}
static inline uint64_t x86_next_rip(const struct x86_cpu *cpu, const struct x86_uop *u)
{
    return cpu->r[X86_RIPBASE] + x86_uop_off(u) + x86_uop_len(u);
}
static inline uint64_t x86_ip_mask(const struct x86_cpu *cpu)
{
    unsigned size = cpu->mode & X86_MODE_SIZE;
    return size == X86_MODE_64 ? ~UINT64_C(0) : size == X86_MODE_32 ? UINT32_MAX : UINT16_MAX;
}

#endif
