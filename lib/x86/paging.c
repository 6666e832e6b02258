/*
 * Page tables: one walker over paging modes described as data (SDM Vol.3A chapter 4).
 *
 * Accessed and dirty bits are set only by an access that is allowed, with compare-exchange on the
 * host's word, and a walk that loses that race starts again. Tables in device memory are read and
 * written through ops and never cached, so that a restarted instruction repeats exactly the same
 * accesses.
 */
#include "x86/features.h"
#include "x86/mmu.h"

/* What bit 7 of an entry means at a level. */
enum ps_rule { PS_RESERVED, PS_PSE, PS_LARGE, PS_GIANT, PS_LEAF };

struct level {
    uint8_t shift;
    uint8_t index_bits;
    uint8_t ps; /* enum ps_rule */
};
struct paging_mode {
    uint8_t entry_bytes;
    uint8_t nlevels;
    struct level level[4]; /* root first; the last one is always the leaf */
};

#define MAX_LEVELS 4
#define ADDR_52    UINT64_C(0x000ffffffffff000)
/* Other CPUs may keep changing what we walk; nobody can make us try for ever. */
#define MAX_TRIES 64

enum { MODE_32, MODE_PAE, MODE_4LEVEL };
static const struct paging_mode modes[] = {
    [MODE_32] = {4, 2, {{22, 10, PS_PSE}, {12, 10, PS_LEAF}}},
    /* The four PDPTEs are registers; the walk starts below them. */
    [MODE_PAE] = {8, 2, {{21, 9, PS_LARGE}, {12, 9, PS_LEAF}}},
    [MODE_4LEVEL] =
        {8, 4, {{39, 9, PS_RESERVED}, {30, 9, PS_GIANT}, {21, 9, PS_LARGE}, {12, 9, PS_LEAF}}},
};

/* What struct x86_psc_entry.rights holds beside rights. */
#define PSC_LEAF       UINT64_C(1) /* table is the memory itself: a large page */
#define PSC_DIRTY      X86_PTE_D
#define PSC_GLOBAL     X86_PTE_G
#define PSC_BITS_SHIFT 16                  /* page_bits of a leaf */
#define PSC_SUSPECT    (UINT64_C(1) << 32) /* its last walk ended in a fault */

/* One entry on the way. */
struct step {
    uint64_t addr, value;
    uint8_t *host; /* NULL: in device memory */
    bool writable, write_slow;
};
struct path {
    struct step step[MAX_LEVELS];
    unsigned n;
};

static unsigned paging_mode(const struct x86_cpu *cpu)
{
    return cpu->long_mode ? MODE_4LEVEL : cpu->pae ? MODE_PAE : MODE_32;
}

/* Bits that must be zero in every entry of the mode: SDM Vol.3A tables 4-5, 4-6 (32-bit), 4-9 to
 * 4-11 (PAE), 4-15 to 4-20 (4-level). */
static uint64_t reserved_bits(const struct x86_cpu *cpu, unsigned mode)
{
    if (mode == MODE_32)
        return 0;
    uint64_t top = mode == MODE_PAE ? UINT64_C(0x7ffffffffffff000) : ADDR_52;
    uint64_t nx = cpu->efer & X86_EFER_NXE ? 0 : X86_PTE_NX;
    return (top & ~cpu->phys_mask) | nx;
}

static bool is_leaf(const struct x86_cpu *cpu, const struct level *l, uint64_t e)
{
    switch (l->ps) {
    case PS_LEAF:
        return true;
    case PS_PSE:
        return e & X86_PTE_PS && cpu->cr4 & X86_CR4_PSE;
    default:
        return e & X86_PTE_PS;
    }
}

/* Reserved bits that depend on level and kind of entry. */
static uint64_t level_reserved(const struct x86_cpu *cpu, const struct level *l, uint64_t e)
{
    if (!(e & X86_PTE_PS))
        return 0;
    switch (l->ps) {
    case PS_RESERVED:
        return X86_PTE_PS;
    case PS_GIANT:
        return x86_has(cpu, X86_FEAT_1G) ? UINT64_C(0x3fffe000) : X86_PTE_PS;
    case PS_LARGE:
        return UINT64_C(0x1fe000);
    case PS_PSE: /* bits 20:13 are address bits 39:32 as far as the CPU has them (PSE-36) */
        if (!(cpu->cr4 & X86_CR4_PSE))
            return 0;
        if (!x86_has(cpu, X86_FEAT_PSE36))
            return UINT64_C(0x3fe000);
        return UINT64_C(0x200000) | (~cpu->phys_mask >> 32 & 0xff) << 13;
    default:
        return 0;
    }
}

static uint64_t leaf_address(const struct x86_cpu *cpu, const struct level *l, unsigned mode,
                             uint64_t e)
{
    uint64_t offset = (UINT64_C(1) << l->shift) - 1;
    if (mode == MODE_32) {
        uint64_t high = l->shift == 22 ? (e >> 13 & 0xff) << 32 : 0;
        return (e & UINT32_MAX & ~offset) | high;
    }
    return e & ADDR_52 & cpu->phys_mask & ~offset;
}

static enum x86_result read_entry(struct x86_cpu *cpu, unsigned bytes, struct step *s)
{
    struct x86_page page;
    cpu->ops->page(cpu, s->addr & ~X86_PAGE_MASK, X86_ACC_READ, &page);
    s->writable = page.writable;
    s->write_slow = page.write_slow;
    s->host = page.host ? page.host + (s->addr & X86_PAGE_MASK) : NULL;
    if (!s->host) /* tables are never read from devices: nobody drives the bus */
        s->value = bytes == 4 ? UINT32_MAX : UINT64_MAX;
    else if (bytes == 4)
        s->value = __atomic_load_n((uint32_t *)(void *)s->host, __ATOMIC_RELAXED);
    else
        s->value = __atomic_load_n((uint64_t *)(void *)s->host, __ATOMIC_RELAXED);
    return X86_OK;
}

/* Set bits in an entry as the walk saw it. X86_AGAIN: somebody changed it meanwhile. */
static enum x86_result set_bits(struct x86_cpu *cpu, unsigned bytes, struct step *s, uint64_t bits)
{
    uint64_t want = s->value | bits;
    if (want == s->value)
        return X86_OK;
    if (!s->host || !s->writable) { /* no memory, or ROM: the store is lost, as on a board */
        s->value = want;
        return X86_OK;
    }
    if (s->write_slow)
        cpu->ops->before_rmw(cpu, s->addr, bytes);
    bool done;
    if (bytes == 4) {
        uint32_t old = (uint32_t)s->value;
        done = __atomic_compare_exchange_n((uint32_t *)(void *)s->host, &old, (uint32_t)want, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    } else {
        uint64_t old = s->value;
        done = __atomic_compare_exchange_n((uint64_t *)(void *)s->host, &old, want, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    }
    if (!done)
        return X86_AGAIN;
    s->value = want;
    return X86_OK;
}

/* Error code of an access as such, without P and RSVD: SDM Vol.3A 4.7 */
static uint32_t error_base(const struct x86_cpu *cpu, enum x86_access acc, bool user)
{
    uint32_t e = user ? X86_PF_U : 0;
    if (acc == X86_ACC_WRITE)
        e |= X86_PF_W;
    if (acc == X86_ACC_EXEC &&
        (cpu->cr4 & X86_CR4_SMEP || (cpu->cr4 & X86_CR4_PAE && cpu->efer & X86_EFER_NXE)))
        e |= X86_PF_I;
    return e;
}

static void set_leaf(struct x86_walk *w, uint64_t base, unsigned bits, uint64_t lin, uint64_t e)
{
    w->gpa = base | (lin & ((UINT64_C(1) << bits) - 1));
    w->page_bits = (uint8_t)bits;
    w->dirty = e & X86_PTE_D;
    w->global = e & X86_PTE_G;
}

/* Follow the tables from `table` at level `first`; collects rights and the entries used. */
static enum x86_result descend(struct x86_cpu *cpu, uint64_t lin, uint64_t table, unsigned first,
                               struct path *path, struct x86_walk *w)
{
    unsigned m = paging_mode(cpu);
    const struct paging_mode *mode = &modes[m];
    uint64_t reserved = reserved_bits(cpu, m);
    path->n = 0;
    for (unsigned i = first; i < mode->nlevels; i++) {
        const struct level *l = &mode->level[i];
        struct step *s = &path->step[path->n++];
        uint64_t index = lin >> l->shift & ((1u << l->index_bits) - 1);
        s->addr = table + index * mode->entry_bytes;
        enum x86_result r = read_entry(cpu, mode->entry_bytes, s);
        if (r != X86_OK)
            return r;
        w->uncached |= !s->host;
        if (!(s->value & X86_PTE_P))
            return X86_EXC;
        if (s->value & (reserved | level_reserved(cpu, l, s->value))) {
            w->error |= X86_PF_P | X86_PF_R;
            return X86_EXC;
        }
        w->rights &= s->value ^ X86_PTE_NX;
        if (is_leaf(cpu, l, s->value)) {
            set_leaf(w, leaf_address(cpu, l, m, s->value), l->shift, lin, s->value);
            return X86_OK;
        }
        table = s->value & ADDR_52 & (m == MODE_32 ? UINT32_MAX : cpu->phys_mask);
    }
    return X86_EXC; /* not reached: the last level is a leaf */
}

static enum x86_result check_and_mark(struct x86_cpu *cpu, enum x86_access acc,
                                      const struct x86_who *who, bool set_ad, struct path *path,
                                      struct x86_walk *w)
{
    if (!x86_rights_allow(cpu, w->rights, acc, who)) {
        w->error |= X86_PF_P;
        return X86_EXC;
    }
    if (!set_ad)
        return X86_OK;
    unsigned bytes = modes[paging_mode(cpu)].entry_bytes;
    for (unsigned i = 0; i < path->n; i++) {
        bool leaf = i == path->n - 1;
        uint64_t bits = X86_PTE_A | (leaf && acc == X86_ACC_WRITE ? X86_PTE_D : 0);
        enum x86_result r = set_bits(cpu, bytes, &path->step[i], bits);
        if (r != X86_OK)
            return r;
    }
    w->dirty |= acc == X86_ACC_WRITE;
    return X86_OK;
}

static struct x86_psc_entry *psc_slot(struct x86_cpu *cpu, uint64_t lin)
{
    return &cpu->psc[lin >> 21 & (X86_PSC_SIZE - 1)];
}
static uint64_t psc_tag(const struct x86_cpu *cpu, uint64_t lin)
{
    return (lin >> 21) | cpu->tlb_gen << 52;
}

static uint64_t leaf_entry(const struct x86_psc_entry *c, unsigned mode, uint64_t lin)
{
    if (mode == MODE_32)
        return __atomic_load_n((const uint32_t *)(const void *)c->host + (lin >> 12 & 0x3ff),
                               __ATOMIC_RELAXED);
    return __atomic_load_n((const uint64_t *)(const void *)c->host + (lin >> 12 & 0x1ff),
                           __ATOMIC_RELAXED);
}

/* The case that matters after a change of CR3: a last-level entry in memory that needs no marking.
 * False: look closer. */
static bool take_leaf(const struct x86_cpu *cpu, unsigned m, uint64_t e, uint64_t lin,
                      enum x86_access acc, const struct x86_who *who, struct x86_walk *w)
{
    uint64_t marks = X86_PTE_P | X86_PTE_A | (acc == X86_ACC_WRITE ? X86_PTE_D : 0);
    if ((e & marks) != marks || e & reserved_bits(cpu, m))
        return false;
    w->rights &= e ^ X86_PTE_NX;
    set_leaf(w, m == MODE_32 ? e & 0xfffff000 : e & ADDR_52, 12, lin, e);
    return x86_rights_allow(cpu, w->rights, acc, who);
}

/* Try to answer from the paging-structure cache. X86_AGAIN: walk from the root, which also has the
 * last word on every refusal (rights may have been raised without INVLPG, SDM Vol.3A 4.10.4.3). */
static enum x86_result walk_cached(struct x86_cpu *cpu, uint64_t lin, enum x86_access acc,
                                   const struct x86_who *who, struct x86_walk *w)
{
    struct x86_psc_entry *c = psc_slot(cpu, lin);
    if (c->tag != psc_tag(cpu, lin))
        return X86_AGAIN;
    w->rights = c->rights & X86_RIGHTS_ALL;
    if (c->rights & PSC_LEAF) {
        if (acc == X86_ACC_WRITE && !(c->rights & PSC_DIRTY))
            return X86_AGAIN;
        set_leaf(w, c->table, 21, lin, c->rights);
        w->page_bits = (uint8_t)(c->rights >> PSC_BITS_SHIFT);
        return x86_rights_allow(cpu, w->rights, acc, who) ? X86_OK : X86_AGAIN;
    }
    unsigned m = paging_mode(cpu);
    uint64_t e = leaf_entry(c, m, lin);
    if (!(e & X86_PTE_P)) {
        /* A demand fault. Should the table be out of date, the same access asks the root next time:
         * a fault too many is allowed where the guest did not invalidate. */
        bool again = c->rights & PSC_SUSPECT;
        c->rights |= PSC_SUSPECT;
        return again ? X86_AGAIN : X86_EXC;
    }
    if (X86_LIKELY(take_leaf(cpu, m, e, lin, acc, who, w)))
        return X86_OK;
    w->rights = c->rights & X86_RIGHTS_ALL;
    struct path path;
    enum x86_result r = descend(cpu, lin, c->table, modes[m].nlevels - 1u, &path, w);
    if (r == X86_OK)
        r = check_and_mark(cpu, acc, who, true, &path, w);
    return r == X86_EXC ? X86_AGAIN : r;
}

static void remember_table(struct x86_cpu *cpu, uint64_t lin, const struct path *path)
{
    const struct step *leaf = &path->step[path->n - 1];
    uint64_t rights = X86_RIGHTS_ALL;
    for (unsigned i = 0; i + 1 < path->n; i++) {
        rights &= path->step[i].value ^ X86_PTE_NX;
        if (!(path->step[i].value & X86_PTE_A))
            return; /* only what has been used may be kept: SDM Vol.3A 4.10.3.1 */
    }
    *psc_slot(cpu, lin) = (struct x86_psc_entry){psc_tag(cpu, lin), leaf->addr & ~X86_PAGE_MASK,
                                                 rights, leaf->host - (leaf->addr & X86_PAGE_MASK)};
}

static void remember_large(struct x86_cpu *cpu, uint64_t lin, const struct path *path,
                           const struct x86_walk *w)
{
    uint64_t rights = PSC_LEAF | (w->rights & X86_RIGHTS_ALL) |
                      (path->step[path->n - 1].value & (PSC_DIRTY | PSC_GLOBAL)) |
                      (uint64_t)w->page_bits << PSC_BITS_SHIFT;
    *psc_slot(cpu, lin) =
        (struct x86_psc_entry){psc_tag(cpu, lin), w->gpa & ~UINT64_C(0x1fffff), rights, NULL};
}

static enum x86_result walk_full(struct x86_cpu *cpu, uint64_t lin, enum x86_access acc,
                                 const struct x86_who *who, bool set_ad, struct x86_walk *w)
{
    uint64_t root = cpu->cr3 & ~X86_PAGE_MASK;
    if (cpu->long_mode) {
        root &= cpu->phys_mask;
    } else if (cpu->pae) {
        root = cpu->pdpte[lin >> 30 & 3];
        if (!(root & X86_PTE_P))
            return X86_EXC;
        root &= ADDR_52 & cpu->phys_mask;
    } else {
        root &= UINT32_MAX;
    }
    struct path path;
    enum x86_result r = descend(cpu, lin, root, 0, &path, w);
    if (r == X86_OK)
        r = check_and_mark(cpu, acc, who, set_ad, &path, w);
    if (!set_ad || w->uncached || r == X86_AGAIN || r == X86_EXIT)
        return r;
    if (r == X86_OK && w->page_bits > 12)
        remember_large(cpu, lin, &path, w);
    else if (path.n == modes[paging_mode(cpu)].nlevels) /* even if the page itself is not there */
        remember_table(cpu, lin, &path);
    return r;
}

enum x86_result x86_walk(struct x86_cpu *cpu, uint64_t lin, enum x86_access acc,
                         const struct x86_who *who, bool set_ad, struct x86_walk *w)
{
    if (!cpu->paging) {
        *w =
            (struct x86_walk){.gpa = lin, .rights = X86_RIGHTS_ALL, .page_bits = 12, .dirty = true};
        return X86_OK;
    }
    const struct x86_walk start = {.rights = X86_RIGHTS_ALL,
                                   .error = error_base(cpu, acc, who->user)};
    enum x86_result r = X86_AGAIN;
    if (set_ad) {
        *w = start;
        r = walk_cached(cpu, lin, acc, who, w);
    }
    for (unsigned i = 0; r == X86_AGAIN && i < MAX_TRIES; i++) {
        *w = start;
        r = walk_full(cpu, lin, acc, who, set_ad, w);
    }
    if (r == X86_AGAIN)
        cpu->leave = X86_LEAVE_LOOKUP;
    return r;
}

enum x86_result x86_translate(struct x86_cpu *cpu, uint64_t lin, unsigned acc, bool user,
                              bool set_ad, struct x86_translation *out)
{
    *out = (struct x86_translation){.error = UINT32_MAX};
    if (!x86_canonical(lin))
        return X86_EXC;
    struct x86_who who = {user ? X86_BANK_USER : X86_BANK_SUPER_USER, user, false, UINT64_MAX};
    struct x86_walk w;
    enum x86_result r = x86_walk(cpu, lin, (enum x86_access)acc, &who, set_ad, &w);
    out->error = w.error;
    if (r == X86_EXC && w.uncached)
        return X86_EXIT; /* what was refused did not come from memory */
    if (r != X86_OK)
        return r;
    out->gpa = w.gpa;
    out->page_bits = w.page_bits;
    out->writable = w.rights & X86_RIGHT_W;
    out->user = w.rights & X86_RIGHT_U;
    out->exec = w.rights & X86_RIGHT_X;
    out->dirty = w.dirty;
    out->global = w.global;
    return X86_OK;
}
