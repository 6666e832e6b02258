// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * EPT paging structures (SDM Vol.3C 28.3): the only record of what is mapped. A leaf holds the
 * pinned page, its rights, and in ignored bits that it is mapped at all and pinned for writing.
 *
 * Table pages stay linked until nothing is mapped any more: the processor may cache them.
 */
#include "core.h"

#define LEVELS      4u
#define INDEX_BITS  9u
#define ENTRIES     512u
#define LARGE_SHIFT 21u

static unsigned level_shift(unsigned level)
{
    return 12 + INDEX_BITS * level;
}

static u64 *entry(u64 *table, u64 gpa, unsigned level)
{
    return &table[gpa >> level_shift(level) & (ENTRIES - 1)];
}

static u64 *next_table(u64 e)
{
    return plat_virt(e & EPT_FRAME);
}

static u64 *new_table(struct vtx_ept *ept)
{
    u64 *table;

    if (ept->tables >= EPT_MAX_TABLES)
        return NULL;
    table = plat_page_alloc();
    if (table)
        ept->tables++;
    return table;
}

int vtx_ept_init(struct vtx_ept *ept, const struct vtx_caps *caps)
{
    ept->tables = 0;
    ept->pages = 0;
    ept->ad = (caps->features & VMLIB_VTX_F_EPT_AD) != 0;
    ept->large = (caps->features & VMLIB_VTX_F_EPT_2M) != 0;
    ept->root = new_table(ept);
    return ept->root ? 0 : -ENOMEM;
}

/* SDM Vol.3C 24.6.11: write-back, 4 levels, A/D bits. */
u64 vtx_ept_pointer(const struct vtx_ept *ept)
{
    return plat_phys(ept->root) | 6 | 3u << 3 | (ept->ad ? 1u << 6 : 0);
}

u64 *vtx_ept_leaf(const struct vtx_ept *ept, u64 gpa, unsigned *shift)
{
    u64 *table = ept->root;
    unsigned level;

    for (level = LEVELS - 1;; level--) {
        u64 *e = entry(table, gpa, level);

        *shift = level_shift(level);
        if (level == 0 || (READ_ONCE(*e) & EPT_LARGE))
            return READ_ONCE(*e) & EPT_MAPPED ? e : NULL;
        if (!READ_ONCE(*e))
            return NULL;
        table = next_table(READ_ONCE(*e));
    }
}

/* The table of the given level above gpa, created as needed. */
static u64 *make_table(struct vtx_ept *ept, u64 gpa, unsigned wanted)
{
    u64 *table = ept->root;
    unsigned level;

    for (level = LEVELS - 1; level > wanted; level--) {
        u64 *e = entry(table, gpa, level);

        if (!READ_ONCE(*e)) {
            u64 *fresh = new_table(ept);

            if (!fresh)
                return NULL;
            WRITE_ONCE(*e, plat_phys(fresh) | EPT_RIGHTS);
        }
        table = next_table(READ_ONCE(*e));
    }
    return table;
}

static bool contiguous(const u64 *pfns)
{
    unsigned i;

    if (pfns[0] & (ENTRIES - 1))
        return false;
    for (i = 1; i < ENTRIES; i++)
        if (pfns[i] != pfns[0] + i)
            return false;
    return true;
}

int vtx_ept_map(struct vtx_ept *ept, u64 gpa, const u64 *pfns, unsigned n, u64 bits, bool small)
{
    u64 *table;
    unsigned i;

    bits |= EPT_MAPPED | EPT_WB_IPAT;
    if (n == ENTRIES && ept->large && !small && contiguous(pfns)) {
        u64 *e;

        table = make_table(ept, gpa, 1);
        if (!table)
            return -ENOMEM;
        e = entry(table, gpa, 1);
        if (!READ_ONCE(*e)) {
            WRITE_ONCE(*e, pfns[0] << 12 | bits | EPT_LARGE);
            ept->pages += ENTRIES;
            return 0;
        }
    }
    table = make_table(ept, gpa, 0);
    if (!table)
        return -ENOMEM;
    for (i = 0; i < n; i++)
        WRITE_ONCE(*entry(table, gpa + ((u64)i << 12), 0), pfns[i] << 12 | bits);
    ept->pages += n;
    return 0;
}

int vtx_ept_split(struct vtx_ept *ept, u64 gpa, u64 first, u64 end)
{
    unsigned shift, i;
    u64 *leaf = vtx_ept_leaf(ept, gpa, &shift);
    u64 *table, start, old;

    if (!leaf || shift != LARGE_SHIFT)
        return 0;
    start = gpa >> LARGE_SHIFT << LARGE_SHIFT;
    if (start >= first && end - start >= 1ull << LARGE_SHIFT)
        return 0;
    table = new_table(ept);
    if (!table)
        return -ENOMEM;
    /* A dirty bit set by the processor after this read is kept: the exchange below tells. */
    old = READ_ONCE(*leaf);
    for (i = 0; i < ENTRIES; i++)
        table[i] = (old & ~EPT_LARGE) + ((u64)i << 12);
    old = plat_xchg(leaf, plat_phys(table) | EPT_RIGHTS);
    if (old & EPT_DIRTY)
        for (i = 0; i < ENTRIES; i++)
            table[i] |= EPT_DIRTY;
    return 0;
}

/* Chain the tables below and including `table` into a list through their first words. */
static u64 *chain(u64 *table, unsigned level, u64 *list)
{
    unsigned i;

    for (i = 0; level > 0 && i < ENTRIES; i++)
        if (table[i])
            list = chain(next_table(table[i]), level - 1, list);
    table[0] = list ? plat_phys(list) : 0;
    return table;
}

u64 *vtx_ept_detach(struct vtx_ept *ept)
{
    u64 *list = NULL;
    unsigned i;

    for (i = 0; i < ENTRIES; i++) {
        u64 e = plat_xchg(&ept->root[i], 0);

        if (e)
            list = chain(next_table(e), LEVELS - 2, list);
    }
    return list;
}

void vtx_ept_drop(struct vtx_ept *ept, u64 *list)
{
    while (list) {
        u64 next = list[0];

        plat_page_free(list);
        ept->tables--;
        list = next ? plat_virt(next) : NULL;
    }
}

void vtx_ept_free(struct vtx_ept *ept)
{
    if (!ept->root)
        return;
    vtx_ept_drop(ept, vtx_ept_detach(ept));
    plat_page_free(ept->root);
    ept->root = NULL;
    ept->tables = 0;
}
