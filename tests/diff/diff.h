/*
 * Differential test: every user-level instruction row runs on the host's CPU and in lib/x86, from
 * the same state, and everything that the manual defines must come out equal.
 *
 * A case is one instruction with the complete state before it. It is a function of (seed, row,
 * index), so any failure can be repeated alone.
 */
#ifndef DIFF_H
#define DIFF_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "x86/cpu.h"
#include "x86/insn.h"

/*
 * The linear addresses that a case may touch, the same ones on both sides. All lie in one 64 KiB
 * window so that 16-bit segments reach them too.
 *
 *   base + 0x0000  not mapped
 *          0x1000  data, 2 pages
 *          0x3000  data, read-only
 *          0x4000  not mapped
 *          0x6000  code, 2 pages of INT3; the instruction ends where the pages end, or sits between
 * them 0x8000  not mapped: the fault on fetching the next instruction ends the case
 */
#define DIFF_BASE      0x10000000u
#define DIFF_DATA      (DIFF_BASE + 0x1000)
#define DIFF_DATA_SIZE 0x2000u
#define DIFF_RO        (DIFF_BASE + 0x3000)
#define DIFF_HOLE      (DIFF_BASE + 0x4000)
#define DIFF_CODE      (DIFF_BASE + 0x6000)
#define DIFF_CODE_SIZE 0x2000u
#define DIFF_CODE_END  (DIFF_CODE + DIFF_CODE_SIZE)

enum diff_mode {
    DIFF_64,    /* 64-bit mode */
    DIFF_32,    /* compatibility mode, flat 32-bit segments */
    DIFF_32SEG, /* compatibility mode, 32-bit segments with base and limit */
    DIFF_16,    /* compatibility mode, 16-bit segments with base and limit */
    DIFF_NMODES
};

/* User-visible state in a form of neither side. */
struct diff_state {
    uint64_t gpr[16];
    uint64_t rip;
    uint32_t flags, mxcsr;
    uint64_t fs_base, gs_base; /* 64-bit mode */
    union x86_vec v[16];
    struct x86_f80 st[8]; /* ST(0)..ST(7) */
    uint16_t cw, sw;      /* sw with TOP */
    uint8_t tag;          /* abridged, by physical register */
};

#define DIFF_PATCH_BYTES 64
struct diff_patch {
    uint32_t addr;
    uint8_t bytes[DIFF_PATCH_BYTES];
};

#define DIFF_NPATCHES 4
struct diff_case {
    uint32_t row, index;
    uint8_t mode, length, npatches;
    bool crosses; /* instruction lies on both code pages */
    uint8_t bytes[16];
    struct x86_insn insn; /* as lib/x86 decodes it (its row may differ from `row`) */
    struct diff_state in;
    struct diff_patch patch[DIFF_NPATCHES]; /* memory that differs from the background pattern */
};

#define DIFF_NO_FAULT (-1)
struct diff_result {
    bool done;
    int32_t vector; /* DIFF_NO_FAULT: the instruction completed */
    uint64_t error, cr2;
    struct diff_state out;
    uint8_t data[DIFF_DATA_SIZE];
};

/* --- random numbers: splitmix64 --- */
struct diff_rng {
    uint64_t s;
};
static inline uint64_t diff_next(struct diff_rng *r)
{
    uint64_t z = r->s += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static inline unsigned diff_below(struct diff_rng *r, unsigned n)
{
    return (unsigned)((diff_next(r) >> 32) * n >> 32);
}
static inline bool diff_one_in(struct diff_rng *r, unsigned n)
{
    return diff_below(r, n) == 0;
}

/* --- pool.c: interesting values --- */
uint64_t diff_integer(struct diff_rng *r);
void diff_fill(struct diff_rng *r, uint8_t *p, unsigned n, bool fp); /* n: multiple of 16 */
struct x86_f80 diff_f80(struct diff_rng *r);

/* --- encode.c: bytes for a row --- */
struct diff_encoding {
    uint8_t b[40]; /* instruction, then random bytes (the immediates among them) */
    unsigned n;
    int disp_at; /* where a 32-bit displacement can be changed freely, or -1 */
};
void diff_encode(struct diff_rng *r, const struct x86_row *row, unsigned mode,
                 struct diff_encoding *e);

/* --- generate.c --- */
/* false: this draw gave nothing that may run natively */
bool diff_generate(uint64_t seed, uint32_t row, uint32_t index, const uint64_t *features,
                   unsigned modes, struct diff_case *c);

/* --- world.c: segments, the same on both sides --- */
struct diff_segment {
    uint16_t sel;
    uint32_t base, limit, ar;
};
const struct diff_segment *diff_segments(unsigned mode); /* X86_NSEG of them */
unsigned diff_code_size(unsigned mode);                  /* 64, 32, 16 */
unsigned diff_mode_word(unsigned mode);                  /* X86_MODE_* that decoding needs */
uint64_t diff_seg_base(const struct diff_case *c, unsigned seg);
extern const uint8_t
    *const diff_background; /* initial data, DIFF_DATA_SIZE bytes, then the RO page */
void diff_world_init(void);
/* Set the LDT up for the segmented modes; returns the set of modes (bits) that can run natively
 * here. */
unsigned diff_native_modes(void);

/* --- native.c --- */
/* Run cases on the host's CPU in a child process; results in order. false: it could not be started.
 */
bool diff_native(const struct diff_case *c, struct diff_result *r, unsigned n);
void *diff_shared(size_t size); /* memory that the child shares */

/* --- emulate.c --- */
struct diff_emulator;
struct diff_emulator *diff_emulator_new(void);
const uint64_t *diff_emulator_features(struct diff_emulator *e);
/* `cold`: by x86_step() with an empty TLB; otherwise inside a block, and by the fast paths. */
void diff_emulate(struct diff_emulator *e, const struct diff_case *c, bool cold,
                  struct diff_result *r);

/* Since the last look, no handler has called its successor instead of jumping to it. */
bool diff_emulator_stack_ok(struct diff_emulator *e);

/* --- hostfeat.c: feature bits the host's CPU has --- */
void diff_host_features(uint64_t feat[4]);

/* --- undefined.c: what the manual leaves open --- */
struct diff_mask {
    uint32_t flags;   /* RFLAGS bits compared */
    uint64_t gpr[16]; /* register bits compared */
    uint16_t sw;      /* x87 status bits compared */
    uint32_t mxcsr;
    uint64_t cr2;     /* bits of the fault address compared */
    uint64_t skip_at; /* linear address of memory not compared */
    uint32_t skip_size;
    uint64_t mask_at; /* linear address of an MXCSR_MASK, or 0 */
    bool skip_data, skip_all;
    bool x87_regs;
};
/* Is the word in the list (separated by blanks)? */
bool diff_listed(const char *word, const char *list);
void diff_defined_x87(const struct diff_case *c, const struct diff_result *native,
                      struct diff_mask *m);
void diff_defined(const struct diff_case *c, const struct diff_result *native, struct diff_mask *m);
bool diff_fault_order_open(const struct diff_case *c, const struct diff_result *native,
                           const struct diff_result *emulated);
/* Why a row is not run natively, NULL: it must be covered. */
const char *diff_excluded(const struct x86_row *row);

uint64_t
diff_operand(const struct diff_case *c); /* linear address of the memory operand (generate.c) */

uint32_t diff_peek32(const struct diff_case *c, uint64_t lin); /* initial memory */

/* --- compare.c --- */
/* 0: equal; else prints what differs to f (f may be NULL) */
unsigned diff_compare(const struct diff_case *c, const struct diff_result *native,
                      const struct diff_result *emulated, FILE *f);
void diff_print_case(FILE *f, const struct diff_case *c);

#endif
