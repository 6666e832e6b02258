/* The x87 register stack, status and exceptions (SDM Vol.1 chapter 8), shared by the x87_*.c files.
 */
#ifndef X86_X87_H
#define X86_X87_H

#include "x86/mem.h"
#include "x86/ops.h"
#include "x86/uop.h"
#include "x86/x87_host.h"

/* Status word; exceptions 5:0 have their masks at the same places of the control word. */
#define X87_IE         0x0001u
#define X87_DE         0x0002u
#define X87_ZE         0x0004u
#define X87_OE         0x0008u
#define X87_UE         0x0010u
#define X87_PE         0x0020u
#define X87_EXCEPTIONS 0x003fu
#define X87_SF         0x0040u
#define X87_ES         0x0080u
#define X87_C0         0x0100u
#define X87_C1         0x0200u
#define X87_C2         0x0400u
#define X87_C3         0x4000u
#define X87_CC         (X87_C0 | X87_C1 | X87_C2 | X87_C3)
#define X87_B          0x8000u
#define X87_SW_TOP     0x3800u /* not kept in struct x86_fpu.sw */
/* Exceptions found before an operation is carried out: unmasked, they leave the operands as they
 * are. */
#define X87_BEFORE (X87_IE | X87_DE | X87_ZE)

#define X87_CW_VALID 0x1f3fu
#define X87_CW_ONE   0x0040u /* reads as one */

X86_INLINE struct x86_f80 *x87_st(struct x86_cpu *cpu, unsigned i)
{
    return &cpu->fpu.st[(cpu->fpu.top + i) & 7];
}
X86_INLINE bool x87_empty(const struct x86_cpu *cpu, unsigned i)
{
    return !(cpu->fpu.tagw >> ((cpu->fpu.top + i) & 7) & 1);
}
X86_INLINE void x87_set(struct x86_cpu *cpu, unsigned i, const struct x86_f80 *v)
{
    unsigned n = (cpu->fpu.top + i) & 7;
    cpu->fpu.st[n].mant = v->mant;
    cpu->fpu.st[n].se = v->se;
    cpu->fpu.tagw |= (uint16_t)(1u << n);
}
X86_INLINE void x87_free(struct x86_cpu *cpu, unsigned i)
{
    cpu->fpu.tagw &= (uint16_t) ~(1u << ((cpu->fpu.top + i) & 7));
}
X86_INLINE void x87_pop(struct x86_cpu *cpu)
{
    x87_free(cpu, 0);
    cpu->fpu.top = (cpu->fpu.top + 1) & 7;
}
X86_INLINE void x87_push(struct x86_cpu *cpu, const struct x86_f80 *v)
{
    cpu->fpu.top = (cpu->fpu.top - 1) & 7;
    x87_set(cpu, 0, v);
}

/* ES and B mirror "an unmasked exception is flagged". */
X86_INLINE void x87_update_es(struct x86_cpu *cpu)
{
    bool es = cpu->fpu.sw & ~cpu->fpu.cw & X87_EXCEPTIONS;
    cpu->fpu.sw = (uint16_t)((cpu->fpu.sw & ~(X87_ES | X87_B)) | (es ? X87_ES | X87_B : 0));
}

X86_INLINE bool x87_all_masked(const struct x86_cpu *cpu)
{
    return (cpu->fpu.cw & X87_EXCEPTIONS) == X87_EXCEPTIONS;
}

/* What a thunk runs under. Flags the guest has already are no news, unless some exception is
 * unmasked. */
X86_INLINE uint32_t x87_env(const struct x86_cpu *cpu)
{
    uint32_t cw = (cpu->fpu.cw & X87_CW_VALID) | X87_CW_ONE | X87_IE | X87_DE | X87_ZE | X87_PE;
    return cw | (x87_all_masked(cpu) ? (uint32_t)(cpu->fpu.sw & X87_EXCEPTIONS) << 16 : 0);
}

/* The checks every instruction starts with. False: a fault has been recorded.
 *
 * With CR0.NE clear a PC reports errors by an interrupt line from the FERR# pin (SDM Vol.1 D.2).
 * There is no such line here; the CPU behaves as with IGNNE# asserted: it goes on. */
X86_INLINE bool x87_available(struct x86_cpu *cpu)
{
    if (X86_LIKELY(!(cpu->cr0 & (X86_CR0_EM | X86_CR0_TS))))
        return true;
    x86_fault(cpu, X86_NM);
    return false;
}
X86_INLINE bool x87_nothing_pending(struct x86_cpu *cpu)
{
    if (X86_LIKELY(!(cpu->fpu.sw & X87_ES)) || !(cpu->cr0 & X86_CR0_NE))
        return true;
    x86_fault(cpu, X86_MF);
    return false;
}
X86_INLINE bool x87_ready(struct x86_cpu *cpu)
{
    return x87_available(cpu) && x87_nothing_pending(cpu);
}

/* x87_core.c */
extern const struct x86_f80 x87_indefinite;
/* Remember the instruction (and its memory operand) for FSTENV: all but control instructions. */
void x87_track(struct x86_cpu *cpu, const struct x86_uop *u);
/* Take over a thunk's status: exceptions, C1, and the condition codes in `cc`. False: an unmasked
 * exception stopped the operation, nothing may be stored. */
bool x87_status(struct x86_cpu *cpu, uint16_t sw, unsigned cc);
/* Stack underflow (C1 = 0) or overflow (C1 = 1). True: masked, the result is the indefinite value.
 */
bool x87_stack_fault(struct x86_cpu *cpu, bool overflow);
/* Load an operand of 2, 4, 8 or 10 bytes into cpu->tmpq. */
bool x87_fetch(struct x86_cpu *cpu, struct x86_uop *u, unsigned size);

/* A row's handler around a worker that may fail: thunks need addresses of locals, which must not
 * escape here. Workers return false when the instruction must be left. */
#define X87_HANDLER(name, call)                                                \
    static struct x86_uop *exec_##name(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                          \
        if (X86_UNLIKELY(!(call)))                                             \
            return x86_leave(cpu, u);                                          \
        X86_NEXT_IO(cpu, u);                                                   \
    }                                                                          \
    x86_handler *const x86_t_##name[1] = {exec_##name};
#define X87_WORKER static __attribute__((noinline)) bool

#endif
