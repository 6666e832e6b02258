/*
 * Worlds beside the real mode of world.h: 32-bit protected mode and long mode, each with a small
 * ring 0 (GDT, IDT, TSS, handlers) and guest code at CPL 0 or CPL 3.
 *
 * Memory is identity-mapped. The first 2 MiB have 4 KiB pages that everybody may use; the rest is
 * not present. Accessed, dirty and busy bits are set from the beginning, so that memory does not
 * depend on when a processor sets them (doc/exit-contract.md, section 8).
 */
#ifndef MODES_H
#define MODES_H

#include "world.h"

enum world_mode { W_REAL, W_PROT0, W_PROT3, W_LONG0, W_LONG3, W_MODES };
extern const char *const world_mode_name[W_MODES];

/* As GUEST() of world.h, for the other code sizes. */
#define GUEST32(name, text)                                               \
    extern const uint8_t name[], name##_end[];                            \
    __asm__(".pushsection .rodata\n.code32\n" #name ":\n" text "\n" #name \
            "_end:\n.code64\n.popsection")
#define GUEST64(name, text)                    \
    extern const uint8_t name[], name##_end[]; \
    __asm__(".pushsection .rodata\n.code64\n" #name ":\n" text "\n" #name "_end:\n.popsection")

#define KSTACK 0xf000u  /* ring 0's, from the TSS */
#define GDT    0x10000u /* null, and the selectors below */
#define IDT    0x11000u /* 256 gates to the stubs, DPL 3 */
#define TSS    0x12000u /* all ports allowed */
#define STUBS  0x15000u /* per vector: mov $vector, %al; out %al, $PORT_VECTOR; hlt */
#define TABLES 0x18000u /* PML4, PDPT, PD, PT */
#define DATA   0x20000u
#define SUPER  0x30000u /* long mode: a page of ring 0 */
#define ABSENT 0x31000u /* long mode: not present */
#define RONLY  0x32000u /* long mode: read-only (CR0.WP is set) */

#define PORT_VECTOR 0xee /* a handler stub says which vector it is */
#define PORT_END    0xfe /* guest code at CPL 3 says that it has ended */

#define SEL_CODE0   0x08u
#define SEL_DATA0   0x10u
#define SEL_DATA3   0x1bu
#define SEL_CODE3   0x23u
#define SEL_CODE32  0x2bu /* long mode: compatibility code of CPL 3 */
#define SEL_TSS     0x30u
#define SEL_TSS_TOP 0x40u /* limit of the GDT: a TSS descriptor of long mode has 16 bytes */

/* Bring the vCPU into the mode, at CODE, with all general registers but RSP zero. */
void world_mode(struct world *w, enum world_mode mode, const uint8_t *code, const uint8_t *end);
/* Point a vector at guest code in ring 0. */
void world_gate(struct world *w, enum world_mode mode, unsigned vector, uint64_t at);
/* Replace the page-table entry of a page below 2 MiB (long mode). */
void world_pte(struct world *w, uint64_t page, uint64_t entry);

/* What a host lacks for a case, as a reason to skip it; NULL: nothing. */
const char *lacks_xsave(enum world_mode mode);

#endif
