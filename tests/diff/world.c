/* The segments of each mode, the background pattern in memory, and the LDT that makes them real on
 * the host. */
#include <asm/ldt.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "diff.h"

#define AR_CODE (X86_AR_P | X86_AR_DPL | X86_AR_S | X86_AR_CODE | X86_AR_WR | X86_AR_A)
#define AR_DATA (X86_AR_P | X86_AR_DPL | X86_AR_S | X86_AR_WR | X86_AR_A)
#define AR_RO   (X86_AR_P | X86_AR_DPL | X86_AR_S | X86_AR_A)
#define FLAT    UINT32_MAX

#define LDT(n) ((n) << 3 | 7)

/* 64-bit and flat segments are Linux's (selectors 23, 2B, 33); the rest stands in the LDT. */
#define SEG_NULL                 \
    {                            \
        0, 0, 0, X86_AR_UNUSABLE \
    }
#define SEG_FS                                         \
    {                                                  \
        LDT(4), DIFF_BASE, 0x2fff, AR_DATA | X86_AR_DB \
    } /* ends behind the first data page */
#define SEG_GS                                               \
    {                                                        \
        LDT(5), DIFF_DATA + 0x800, 0xffff, AR_RO | X86_AR_DB \
    } /* read-only */
#define SEG_FLAT                                      \
    {                                                 \
        0x2b, 0, FLAT, AR_DATA | X86_AR_DB | X86_AR_G \
    }
#define SEG_D32                                        \
    {                                                  \
        LDT(3), DIFF_BASE, 0xffff, AR_DATA | X86_AR_DB \
    }
#define SEG_D16                            \
    {                                      \
        LDT(1), DIFF_BASE, 0xffff, AR_DATA \
    }

static const struct diff_segment segments[DIFF_NMODES][X86_NSEG] = {
    /* ES, CS, SS, DS, FS, GS */
    [DIFF_64] = {SEG_NULL,
                 {0x33, 0, FLAT, AR_CODE | X86_AR_L | X86_AR_G},
                 SEG_FLAT,
                 SEG_NULL,
                 SEG_NULL,
                 SEG_NULL},
    [DIFF_32] = {SEG_FLAT,
                 {0x23, 0, FLAT, AR_CODE | X86_AR_DB | X86_AR_G},
                 SEG_FLAT,
                 SEG_FLAT,
                 SEG_FS,
                 SEG_GS},
    [DIFF_32SEG] = {SEG_D32,
                    {LDT(2), DIFF_BASE, 0xffff, AR_CODE | X86_AR_DB},
                    SEG_D32,
                    SEG_D32,
                    SEG_FS,
                    SEG_GS},
    [DIFF_16] = {SEG_D16, {LDT(0), DIFF_BASE, 0xffff, AR_CODE}, SEG_D16, SEG_D16, SEG_FS, SEG_GS},
};

const struct diff_segment *diff_segments(unsigned mode)
{
    return segments[mode];
}

unsigned diff_code_size(unsigned mode)
{
    return mode == DIFF_64 ? 64 : mode == DIFF_16 ? 16 : 32;
}

unsigned diff_mode_word(unsigned mode)
{
    return (mode == DIFF_64   ? X86_MODE_64
            : mode == DIFF_16 ? X86_MODE_16
                              : X86_MODE_32) |
           3u << X86_MODE_CPL_SHIFT | X86_MODE_LM;
}

uint64_t diff_seg_base(const struct diff_case *c, unsigned seg)
{
    if (c->mode == DIFF_64)
        return seg == X86_FS ? c->in.fs_base : seg == X86_GS ? c->in.gs_base : 0;
    return segments[c->mode][seg].base;
}

static uint8_t background[DIFF_DATA_SIZE + 0x1000];
const uint8_t *const diff_background = background;

void diff_world_init(void)
{
    struct diff_rng r = {42};
    for (unsigned i = 0; i < sizeof(background); i += 16)
        diff_fill(&r, background + i, 16, i & 16);
}

static bool set_ldt(const struct diff_segment *s)
{
    struct user_desc d = {
        .entry_number = s->sel >> 3,
        .base_addr = s->base,
        .limit = s->limit,
        .seg_32bit = (s->ar & X86_AR_DB) != 0,
        .contents = s->ar & X86_AR_CODE ? 2 : 0,
        .read_exec_only = !(s->ar & X86_AR_WR),
    };
    return syscall(SYS_modify_ldt, 0x11, &d, sizeof(d)) == 0;
}

unsigned diff_native_modes(void)
{
    bool ldt = true;
    for (unsigned m = 0; m < DIFF_NMODES; m++)
        for (unsigned i = 0; i < X86_NSEG; i++)
            if (segments[m][i].sel & 4)
                ldt = ldt && set_ldt(&segments[m][i]);
    return ldt ? (1u << DIFF_NMODES) - 1 : 1u << DIFF_64;
}
