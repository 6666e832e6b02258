/* A machine for tests of the system semantics: 1 MiB of memory, a GDT, an IDT whose handlers lie
 * where their vector says, a TSS with inner stacks; in protected mode without paging or in long
 * mode with an identity map. */
#ifndef X86_SYS_WORLD_H
#define X86_SYS_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "x86/sysint.h"

#define S_MEM   0x100000u
#define S_GDT   0x1000u
#define S_LDT   0x1800u
#define S_IDT   0x2000u
#define S_TSS   0x3000u
#define S_TSS2  0x3800u
#define S_PT    0x4000u  /* page tables: 16 KiB */
#define S_CODE  0x20000u /* handler of vector v: S_CODE + 16 * v */
#define S_STACK 0x80000u /* of level n, downwards from S_STACK + (n + 1) * 0x1000 */

/* GDT slots */
enum {
    G_CODE0 = 0x08,
    G_DATA0 = 0x10,
    G_CODE1 = 0x18,
    G_DATA1 = 0x20,
    G_CODE2 = 0x28,
    G_DATA2 = 0x30,
    G_CODE3 = 0x38,
    G_DATA3 = 0x40,
    G_TSS = 0x48,
    G_TSS2 = 0x58,
    G_LDT = 0x68,
    G_CODE64 = 0x78,
    G_TEST = 0x80, /* free for tests, two slots */
    G_GATE = 0x90,
    G_TASKGATE = 0xa0,
    G_CONF = 0xa8,
    G_CODE64U = 0xb0,
    G_LIMIT = 0xc0
};

/* Access bytes */
#define A_CODE(dpl)      (0x9bu | (dpl) << 5)
#define A_DATA(dpl)      (0x93u | (dpl) << 5)
#define A_SYS(type, dpl) (0x80u | (type) | (dpl) << 5)
#define F_32             0xcu /* G and D */
#define F_64             0xau /* G and L */

struct sworld {
    struct x86_cpu cpu;
    struct x86_tlb_entry *banks;
    uint8_t *mem;
    unsigned seen_exceptions;
    enum x86_result exception_answer;
};

struct sworld *s_new(void); /* 32-bit protected mode, level 0 */
void s_free(struct sworld *w);
void s_protected(struct sworld *w, unsigned cpl); /* 32-bit, flat segments of this level */
void s_long(struct sworld *w, unsigned cpl);
void s_real(struct sworld *w);
void s_v86(struct sworld *w, unsigned iopl);

void s_desc(struct sworld *w, unsigned slot, uint32_t base, uint32_t limit, unsigned access,
            unsigned flags);
void s_gate(struct sworld *w, unsigned vector, uint16_t sel, uint64_t offset, unsigned access,
            unsigned ist);
void s_put(struct sworld *w, uint32_t at, uint64_t v, unsigned size);
uint64_t s_get(const struct sworld *w, uint32_t at, unsigned size);

/* Which vector's handler does the CPU stand at? -1: none. */
int s_at(const struct sworld *w);
/* Value i of the stack top. */
uint64_t s_top(const struct sworld *w, unsigned i, unsigned size);
enum x86_result s_event(struct sworld *w, unsigned vector, enum x86_event_kind kind, int error);

#endif
