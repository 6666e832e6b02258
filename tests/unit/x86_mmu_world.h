/* A machine that is nothing but an MMU: page tables in a small memory, data pages, a device,
 * records of what the ops were asked. For the x86_mmu_* tests. */
#ifndef X86_MMU_WORLD_H
#define X86_MMU_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "x86/features.h"
#include "x86/mmu.h"
#include "x86/sys.h"

#define W_TABLES 0x10000u          /* guest-physical 0..64 KiB: page tables */
#define W_DEVICE UINT64_C(0xdd000) /* one page that is no memory */
#define W_ROM    UINT64_C(0xee000)
#define W_CODE   UINT64_C(0xff000) /* memory whose stores must pass write_phys */
#define W_NOTES  64

struct w_note { /* one call of read_phys or write_phys */
    uint64_t gpa, lin, value;
    unsigned size;
    bool write;
};

struct world {
    struct x86_cpu cpu;
    struct x86_tlb_entry *banks;
    uint8_t *tables; /* W_TABLES bytes */
    uint8_t *data;   /* 16 pages; guest-physical page n lives in n % 16 */
    struct w_note note[W_NOTES];
    unsigned nnotes, rmw;
    uint64_t last_page;
    bool tables_are_device;
    enum x86_result device_result;
};

struct world *w_new(void);
void w_free(struct world *w);
/* Forget faults and notes. */
void w_clear(struct world *w);

static inline struct world *w_of(struct x86_cpu *cpu)
{
    return cpu->host;
}
static inline uint8_t *w_byte(struct world *w, uint64_t gpa)
{
    return gpa < W_TABLES ? w->tables + gpa : w->data + (gpa & 0xffff);
}
static inline void w_put64(struct world *w, uint64_t gpa, uint64_t v)
{
    memcpy(w_byte(w, gpa), &v, 8);
}
static inline uint64_t w_get64(struct world *w, uint64_t gpa)
{
    uint64_t v;
    memcpy(&v, w_byte(w, gpa), 8);
    return v;
}

#endif
