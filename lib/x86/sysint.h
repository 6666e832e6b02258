/*
 * What the sources of the system semantics share: descriptors, stacks of other levels, far
 * transfers. Nobody else includes this.
 *
 * The rule all of them follow: read and check everything that can fault, then commit.
 */
#ifndef X86_SYSINT_H
#define X86_SYSINT_H

#include "x86/features.h"
#include "x86/flags.h"
#include "x86/mem.h"
#include "x86/mmu.h"
#include "x86/ops.h"
#include "x86/sys.h"

/* Types of system descriptors and gates (access byte with S = 0), SDM Vol.3A table 3-2 */
enum x86_systype {
    X86_ST_TSS16 = 1,
    X86_ST_LDT = 2,
    X86_ST_TSS16_BUSY = 3,
    X86_ST_CALL16 = 4,
    X86_ST_TASK = 5,
    X86_ST_INT16 = 6,
    X86_ST_TRAP16 = 7,
    X86_ST_TSS32 = 9, /* 64-bit TSS in long mode */
    X86_ST_TSS32_BUSY = 11,
    X86_ST_CALL32 = 12,
    X86_ST_INT32 = 14,
    X86_ST_TRAP32 = 15
};
#define X86_ST_BUSY 2u

/* Bits that read as one: SDM Vol.3B 17.2 */
#define X86_DR6_FIXED 0xffff0ff0u
#define X86_DR7_FIXED 0x00000400u
#define X86_DR6_BD    0x2000u
#define X86_DR6_BS    0x4000u
#define X86_DR6_BT    0x8000u
#define X86_DR7_GD    0x2000u

#define X86_MODE_WORD64 (X86_MODE_64 | X86_MODE_SS32 | X86_MODE_FLAT | X86_MODE_LM)

static inline bool x86_sel_null(uint16_t sel)
{
    return !(sel & 0xfffc);
}
static inline unsigned x86_ar_dpl(uint32_t ar)
{
    return ar >> X86_AR_DPL_SHIFT & 3;
}
static inline bool x86_ar_code(uint32_t ar)
{
    return (ar & (X86_AR_S | X86_AR_CODE)) == (X86_AR_S | X86_AR_CODE);
}
static inline bool x86_ar_conforming(uint32_t ar)
{
    return ar & X86_AR_EC;
}
static inline bool x86_ar_stack(uint32_t ar) /* writable data segment */
{
    return (ar & (X86_AR_S | X86_AR_CODE | X86_AR_WR)) == (X86_AR_S | X86_AR_WR);
}
/* Type of a system descriptor; 0 (reserved) for code and data. */
static inline unsigned x86_ar_systype(uint32_t ar)
{
    return ar & X86_AR_S ? 0 : ar & X86_AR_TYPE;
}
static inline enum x86_result x86_fault_sel(struct x86_cpu *cpu, unsigned vector, uint16_t sel)
{
    return x86_fault_err(cpu, vector, sel & 0xfffcu);
}

/* --- system accesses, short way first --- */

/* Implicit supervisor accesses ignore EFLAGS.AC (SDM Vol.3A 4.6): the bank of x86_who_system(). */
X86_INLINE struct x86_tlb_entry *x86_sys_slot(struct x86_cpu *cpu, uint64_t lin)
{
    return &cpu->tlb_banks[X86_BANK_SUPER * X86_TLB_SIZE + (lin >> 12 & (X86_TLB_SIZE - 1))];
}

#define X86_DEFINE_SYS_LD(bits)                                                    \
    X86_INLINE enum x86_result x86_sys_ld##bits(struct x86_cpu *cpu, uint64_t lin, \
                                                uint##bits##_t *v)                 \
    {                                                                              \
        struct x86_tlb_entry *e = x86_sys_slot(cpu, lin);                          \
        if (X86_LIKELY(e->rd == x86_tlb_tag(cpu, lin, bits / 8))) {                \
            *v = x86_raw_ld##bits(e->addend + (uintptr_t)lin);                     \
            return X86_OK;                                                         \
        }                                                                          \
        enum x86_result r = x86_sys_read(cpu, lin, bits / 8);                      \
        if (r == X86_OK)                                                           \
            *v = (uint##bits##_t)cpu->tmp;                                         \
        return r;                                                                  \
    }
X86_DEFINE_SYS_LD(8)
X86_DEFINE_SYS_LD(16)
X86_DEFINE_SYS_LD(32)
X86_DEFINE_SYS_LD(64)

/* --- desc.c --- */
/* Descriptor of 16 bytes (TSS, LDT and call gates in long mode): completes d->base; *upper: the
 * third and fourth doubleword. */
enum x86_result x86_read_desc_upper(struct x86_cpu *cpu, uint16_t sel, unsigned vector,
                                    struct x86_desc *d, uint64_t *upper);
/* Set the accessed bit in memory unless it is set. Before any commit: the write may fault. */
enum x86_result x86_set_accessed(struct x86_cpu *cpu, struct x86_desc *d);
enum x86_result x86_set_busy(struct x86_cpu *cpu, uint64_t desc_addr, bool busy);

/* --- seg.c --- */
void x86_put_seg(struct x86_cpu *cpu, unsigned seg, uint16_t sel, const struct x86_desc *d);
void x86_put_seg_real(struct x86_cpu *cpu, unsigned seg, uint16_t sel); /* real or V86 mode */
void x86_put_seg_null(struct x86_cpu *cpu, unsigned seg, uint16_t sel);
/* Null selectors in data segment registers that CPL may not use, after a return to an outer level.
 */
void x86_drop_inner_segs(struct x86_cpu *cpu);

/* --- mode.c --- */
void x86_mode_update(struct x86_cpu *cpu); /* only segments or CPL changed */
/* Go to 64-bit code at this level: what x86_mode_refresh() would find, without looking. */
void x86_enter_long64(struct x86_cpu *cpu, unsigned cpl);

/* --- sysstack.c: stacks, of the current or of another level --- */
struct x86_stk {
    uint64_t base, sp, mask;
    uint32_t limit, ar;
    uint32_t err; /* error code of #SS */
    bool check;   /* limits apply: not in 64-bit mode */
    bool inner;   /* supervisor access while CPL is still 3 */
};
void x86_stk_current(const struct x86_cpu *cpu, struct x86_stk *s);
/* Stack described by a descriptor just loaded, for code at level cpl. */
void x86_stk_desc(const struct x86_cpu *cpu, struct x86_stk *s, const struct x86_desc *d,
                  uint16_t sel, uint64_t sp, unsigned cpl);
/* 64-bit stack for code at level cpl. */
void x86_stk_flat(const struct x86_cpu *cpu, struct x86_stk *s, uint64_t sp, unsigned cpl);
/* Push n values, the first one highest; all or nothing. s->sp moves. */
enum x86_result x86_stk_push(struct x86_cpu *cpu, struct x86_stk *s, const uint64_t *v, unsigned n,
                             unsigned size);
/* Load without moving: n values from the top upwards. */
enum x86_result x86_stk_peek(struct x86_cpu *cpu, struct x86_stk *s, uint64_t *v, unsigned n,
                             unsigned size);
/* 64-bit values that lie in one page which the TLB holds; false: ask x86_stk_peek(). */
bool x86_stk_peek_fast(struct x86_cpu *cpu, const struct x86_stk *s, uint64_t *v, unsigned n);
static inline void x86_stk_move(struct x86_stk *s, uint64_t bytes)
{
    s->sp = (s->sp & ~s->mask) | ((s->sp + bytes) & s->mask);
}
/* Say X86_EXC, X86_EXIT or X86_AGAIN from cpu->leave, for calls that answer false. */
static inline enum x86_result x86_why(const struct x86_cpu *cpu)
{
    return cpu->leave == X86_LEAVE_EXC    ? X86_EXC
           : cpu->leave == X86_LEAVE_EXIT ? X86_EXIT
                                          : X86_AGAIN;
}

/* --- stacks named by the TSS (tss.c) --- */
/* Protected mode: SS:ESP of level cpl, checked as SDM Vol.3A 6.12.1 wants (#TS, #SS with the
 * selector). */
enum x86_result x86_tss_stack(struct x86_cpu *cpu, unsigned cpl, uint16_t *ss, uint64_t *sp,
                              struct x86_desc *d);
/* Long mode: RSP0..2 (slot 0..2) or IST1..7 (slot 4..10). */
enum x86_result x86_tss_stack64(struct x86_cpu *cpu, unsigned slot, uint64_t *sp);
/* May this I/O access pass the permission bitmap? X86_OK or #GP(0). */
enum x86_result x86_tss_io_check(struct x86_cpu *cpu, uint16_t port, unsigned size);
/* VME: is INT n redirected to the virtual-8086 program's own table? */
enum x86_result x86_tss_int_redirect(struct x86_cpu *cpu, uint8_t vector, bool *redirect);

/* --- far.c --- */
enum x86_far { X86_FAR_JMP, X86_FAR_CALL };
/* Far JMP or CALL. next: the return address. On X86_OK cpu->rip is the target. */
enum x86_result x86_far_branch(struct x86_cpu *cpu, enum x86_far kind, uint16_t sel,
                               uint64_t offset, unsigned size, uint64_t next);

/* --- interrupt.c --- The flags image that delivery of ev saves. */
uint32_t x86_event_flags(const struct x86_cpu *cpu, const struct x86_event *ev);

/* --- iret.c --- On X86_OK cpu->rip is the target. next: rip saved when the return is a task
 * switch. */
enum x86_result x86_far_return(struct x86_cpu *cpu, unsigned size, uint16_t release);
enum x86_result x86_iret(struct x86_cpu *cpu, unsigned size, uint64_t next);

/* --- task.c --- */
enum x86_task_reason { X86_TASK_JMP, X86_TASK_CALL, X86_TASK_IRET, X86_TASK_INT };
/* next: rip saved in the old task. ev: the event delivered through a task gate, or NULL. Once the
 * new task's state is in, a fault belongs to the new task: it becomes cpu->injected and the answer
 * is X86_OK. */
enum x86_result x86_task_switch(struct x86_cpu *cpu, uint16_t sel, enum x86_task_reason why,
                                const struct x86_event *ev, uint64_t next);

/* --- exec_io.c --- */
/* IN, OUT, INS, OUTS: may this level use the port? X86_OK or #GP(0). */
enum x86_result x86_io_check(struct x86_cpu *cpu, uint16_t port, unsigned size);

/* --- handlers --- */
/* Linear address of the memory operand with its segment's check; false: leave. */
static inline bool x86_mem_lin(struct x86_cpu *cpu, struct x86_uop *u, unsigned size, bool write)
{
    return x86_ea_seg(cpu, u, size, write, &cpu->tmp);
}
/* Rows refer to tables; these handlers have one form. */
#define X86_ROW_ONE(name, fn)                  \
    extern x86_handler *const x86_t_##name[1]; \
    x86_handler *const x86_t_##name[1] = {fn};

/* The result of an operation that, when it worked, has set cpu->rip. */
static inline struct x86_uop *x86_done_to(struct x86_cpu *cpu, struct x86_uop *u, enum x86_result r)
{
    return r == X86_OK ? x86_leave_to(cpu, u) : x86_leave(cpu, u);
}
static inline struct x86_uop *x86_done_next(struct x86_cpu *cpu, struct x86_uop *u,
                                            enum x86_result r)
{
    return r == X86_OK ? x86_leave_next(cpu, u) : x86_leave(cpu, u);
}
static inline struct x86_uop *x86_gp0(struct x86_cpu *cpu, struct x86_uop *u)
{
    return x86_raise_err(cpu, u, X86_GP, 0);
}

#endif
