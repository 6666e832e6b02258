/*
 * Every combination of entry bits at two levels, rights of the code and kind of access, in every
 * paging mode and page size, against a model written from SDM Vol.3A 4.3 to 4.7 that shares nothing
 * with the walker.
 */
#include "x86_mmu_world.h"

/* Guest-physical addresses of the tables. */
#define T_ROOT 0x1000u
#define T_PDPT 0x2000u
#define T_PD   0x3000u
#define T_PT   0x4000u
#define RSVD   (UINT64_C(1) << 45) /* above phys_mask */

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80 };

struct shape {
    const char *name;
    bool pae, lm, has_nx;
    unsigned entry, levels; /* bytes per entry; entries in tables on the way */
    unsigned page_bits;
    uint64_t at[4];    /* addresses of the entries, root first */
    uint64_t next[4];  /* what they point to */
    uint64_t rsvd[4];  /* a reserved bit of each entry, 0: none exists */
    uint64_t fixed[4]; /* PS */
};

#define LIN     UINT64_C(0x40605123)
#define I4(n)   ((LIN >> (n)&0x1ff) * 8)
#define BIGPAGE UINT64_C(0x80000000)

static const struct shape shapes[] = {
    {"32-bit 4K",
     0,
     0,
     0,
     4,
     2,
     12,
     {T_PD + (LIN >> 22) * 4, T_PT + (LIN >> 12 & 0x3ff) * 4},
     {T_PT, 0x54000},
     {0, 0},
     {0}},
    {"32-bit 4M", 0, 0, 0, 4, 1, 22, {T_PD + (LIN >> 22) * 4}, {BIGPAGE}, {0x200000}, {PS}},
    {"PAE 4K",
     1,
     0,
     1,
     8,
     2,
     12,
     {T_PD + I4(21), T_PT + I4(12)},
     {T_PT, 0x54000},
     {RSVD, RSVD},
     {0}},
    {"PAE 2M", 1, 0, 1, 8, 1, 21, {T_PD + I4(21)}, {BIGPAGE}, {0x2000}, {PS}},
    {"4-level 4K",
     1,
     1,
     1,
     8,
     4,
     12,
     {T_ROOT + I4(39), T_PDPT + I4(30), T_PD + I4(21), T_PT + I4(12)},
     {T_PDPT, T_PD, T_PT, 0x54000},
     {PS, RSVD, RSVD, RSVD},
     {0}},
    {"4-level 2M",
     1,
     1,
     1,
     8,
     3,
     21,
     {T_ROOT + I4(39), T_PDPT + I4(30), T_PD + I4(21)},
     {T_PDPT, T_PD, BIGPAGE},
     {RSVD, RSVD, 0x100000},
     {0, 0, PS}},
    {"4-level 1G",
     1,
     1,
     1,
     8,
     2,
     30,
     {T_ROOT + I4(39), T_PDPT + I4(30)},
     {T_PDPT, BIGPAGE},
     {PS, 0x20000000},
     {0, PS}},
};

struct context {
    bool cpl3, wp, smep, smap, ac, nxe;
};
enum { BIT_P = 1, BIT_W = 2, BIT_U = 4, BIT_NX = 8, BIT_RSVD = 16, NBITS = 32 };

static uint64_t entry_value(const struct shape *s, unsigned level, unsigned bits)
{
    uint64_t e = s->next[level] | s->fixed[level];
    e |= bits & BIT_P ? P : 0;
    e |= bits & BIT_W ? W : 0;
    e |= bits & BIT_U ? U : 0;
    e |= bits & BIT_NX ? UINT64_C(1) << 63 : 0;
    e |= bits & BIT_RSVD ? s->rsvd[level] : 0;
    return e;
}

/* The manual's words: 4.6.1 for rights, 4.7 for the error code. Returns -1 when the access goes
 * through. */
static int expected_error(const struct shape *s, const struct context *c, const unsigned bits[4],
                          enum x86_access acc)
{
    int code = (acc == X86_ACC_WRITE ? 2 : 0) | (c->cpl3 ? 4 : 0);
    if (acc == X86_ACC_EXEC && (c->smep || (s->pae && c->nxe)))
        code |= 16;
    bool writable = true, user_page = true, no_exec = false;
    for (unsigned i = 0; i < s->levels; i++) {
        if (!(bits[i] & BIT_P))
            return code;
        if ((bits[i] & BIT_RSVD && s->rsvd[i]) || (bits[i] & BIT_NX && s->has_nx && !c->nxe))
            return code | 8 | 1;
        writable = writable && bits[i] & BIT_W;
        user_page = user_page && bits[i] & BIT_U;
        no_exec = no_exec || (bits[i] & BIT_NX && s->has_nx);
    }
    bool ok;
    if (c->cpl3) {
        ok = user_page && (acc != X86_ACC_WRITE || writable) && (acc != X86_ACC_EXEC || !no_exec);
    } else if (acc == X86_ACC_EXEC) {
        ok = !no_exec && !(user_page && c->smep);
    } else {
        ok = !(user_page && c->smap && !c->ac);
        if (acc == X86_ACC_WRITE && !writable && c->wp)
            ok = false;
    }
    return ok ? -1 : code | 1;
}

static void set_context(struct world *w, const struct shape *s, const struct context *c)
{
    struct x86_cpu *cpu = &w->cpu;
    cpu->paging = true;
    cpu->pae = s->pae;
    cpu->long_mode = s->lm;
    cpu->lin_mask = s->lm ? UINT64_MAX : UINT32_MAX;
    cpu->cr0 = X86_CR0_PE | X86_CR0_PG | (c->wp ? X86_CR0_WP : 0);
    cpu->cr3 = s->lm ? T_ROOT : s->pae ? T_PDPT : T_PD;
    cpu->cr4 = X86_CR4_PSE | (s->pae ? X86_CR4_PAE : 0) | (c->smep ? X86_CR4_SMEP : 0) |
               (c->smap ? X86_CR4_SMAP : 0);
    cpu->efer = (c->nxe ? X86_EFER_NXE : 0) | (s->lm ? X86_EFER_LME | X86_EFER_LMA : 0);
    cpu->eflags = c->ac ? X86_FL_AC : 0;
    cpu->cpl = c->cpl3 ? 3 : 0;
    for (unsigned i = 0; i < 4; i++)
        cpu->pdpte[i] = i == LIN >> 30 ? T_PD | P : 0;
    x86_tlb_flush(cpu);
    x86_tlb_select_bank(cpu);
}

static uint64_t get_entry(struct world *w, const struct shape *s, unsigned level)
{
    uint64_t v = w_get64(w, s->at[level]);
    return s->entry == 4 ? (uint32_t)v : v;
}

static void set_entries(struct world *w, const struct shape *s, const unsigned bits[4],
                        uint64_t set[4])
{
    for (unsigned i = 0; i < s->levels; i++) {
        set[i] = entry_value(s, i, bits[i]);
        if (s->entry == 4) {
            uint32_t v = (uint32_t)set[i];
            memcpy(w_byte(w, s->at[i]), &v, 4);
            set[i] = v;
        } else {
            w_put64(w, s->at[i], set[i]);
        }
    }
}

static bool do_access(struct world *w, enum x86_access acc)
{
    struct x86_uop u = {.seg = X86_DS};
    const uint8_t *host;
    uint64_t gpa;
    switch (acc) {
    case X86_ACC_READ:
        return x86_ld_slow(&w->cpu, &u, LIN, 1);
    case X86_ACC_WRITE:
        return x86_st_slow(&w->cpu, &u, LIN, 0x5a, 1);
    default:
        return x86_fetch_page(&w->cpu, LIN, &host, &gpa) == X86_OK;
    }
}

/* Entries after the access: accessed everywhere and dirty in the leaf when it went through, else
 * untouched. */
static void check_entries(struct world *w, const struct shape *s, const uint64_t set[4], bool ok,
                          enum x86_access acc)
{
    for (unsigned i = 0; i < s->levels; i++) {
        uint64_t want = set[i];
        if (ok)
            want |= A | (acc == X86_ACC_WRITE && i == s->levels - 1 ? D : 0);
        if (get_entry(w, s, i) != want)
            fail_msg("%s: level %u is %llx, not %llx", s->name, i,
                     (unsigned long long)get_entry(w, s, i), (unsigned long long)want);
    }
}

static void check_one(struct world *w, const struct shape *s, const struct context *c,
                      const unsigned bits[4], enum x86_access acc)
{
    uint64_t set[4];
    set_entries(w, s, bits, set);
    x86_tlb_flush(&w->cpu);
    w_clear(w);
    int want = expected_error(s, c, bits, acc);
    bool ok = do_access(w, acc);
    int got = ok ? -1 : (int)w->cpu.exc.error;
    if (got != want || (!ok && (w->cpu.exc.vector != X86_PF || w->cpu.exc.cr2 != LIN)))
        fail_msg("%s bits %x %x %x %x acc %d cpl3 %d wp %d smep %d smap %d ac %d nxe %d: "
                 "got %d (vector %u), expected %d",
                 s->name, bits[0], bits[1], bits[2], bits[3], acc, c->cpl3, c->wp, c->smep, c->smap,
                 c->ac, c->nxe, got, w->cpu.exc.vector, want);
    check_entries(w, s, set, ok, acc);
    if (!ok)
        return;
    uint64_t offset = LIN & ((UINT64_C(1) << s->page_bits) - 1);
    assert_int_equal(w->last_page, (s->next[s->levels - 1] + offset) & ~UINT64_C(0xfff));
    /* Again, through whatever has been cached now. */
    assert_true(do_access(w, acc));
    /* What is cached allows exactly what the tables allow, for the other kinds, too. */
    for (unsigned other = X86_ACC_READ; other <= X86_ACC_EXEC; other++)
        assert_int_equal(do_access(w, other), expected_error(s, c, bits, other) < 0);
}

static void check_shape(struct world *w, const struct shape *s, const struct context *c)
{
    set_context(w, s, c);
    for (unsigned upper = 0; upper < s->levels; upper++) {
        for (unsigned x = 0; x < NBITS * NBITS; x++) {
            unsigned bits[4] = {7, 7, 7, 7};
            bits[upper] = x / NBITS;
            bits[s->levels - 1] = x % NBITS;
            for (unsigned acc = X86_ACC_READ; acc <= X86_ACC_EXEC; acc++)
                check_one(w, s, c, bits, acc);
        }
    }
}

static void matrix(void **state)
{
    (void)state;
    struct world *w = w_new();
    for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        for (unsigned x = 0; x < 64; x++) {
            struct context c = {x & 1, x & 2, x & 4, x & 8, x & 16, x & 32};
            check_shape(w, &shapes[i], &c);
        }
    }
    w_free(w);
}

/* Implicit supervisor accesses of CPL-3 code have supervisor rights, and SMAP refuses user pages
 * whatever AC says. */
static void system_access(void **state)
{
    (void)state;
    struct world *w = w_new();
    const struct shape *s = &shapes[4];
    for (unsigned x = 0; x < 32; x++) {
        struct context c = {x & 1, true, false, x & 2, x & 4, true};
        bool user_page = x & 8, writable = x & 16;
        unsigned leaf = BIT_P | (user_page ? BIT_U : 0) | (writable ? BIT_W : 0);
        const unsigned bits[4] = {7, 7, 7, leaf};
        uint64_t set[4];
        set_context(w, s, &c);
        set_entries(w, s, bits, set);
        w_clear(w);
        bool may = !(user_page && c.smap);
        assert_int_equal(x86_sys_read(&w->cpu, LIN, 4), may ? X86_OK : X86_EXC);
        if (!may)
            assert_int_equal(w->cpu.exc.error, X86_PF_P);
        assert_int_equal(x86_sys_write(&w->cpu, LIN, 1, 4), may && writable ? X86_OK : X86_EXC);
        if (!(may && writable))
            assert_int_equal(w->cpu.exc.error, X86_PF_P | X86_PF_W);
    }
    w_free(w);
}

static void translate_leaves_no_trace(void **state)
{
    (void)state;
    struct world *w = w_new();
    for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        const struct shape *s = &shapes[i];
        const struct context c = {true, true, true, true, false, true};
        const unsigned bits[4] = {7, 7, 7, 7};
        uint64_t set[4];
        struct x86_translation t;
        set_context(w, s, &c);
        set_entries(w, s, bits, set);
        assert_int_equal(x86_translate(&w->cpu, LIN, X86_ACC_WRITE, false, false, &t), X86_OK);
        check_entries(w, s, set, false, X86_ACC_WRITE);
        uint64_t offset = LIN & ((UINT64_C(1) << s->page_bits) - 1);
        assert_int_equal(t.gpa, s->next[s->levels - 1] + offset);
        assert_int_equal(t.page_bits, s->page_bits);
        assert_true(t.writable && t.user && t.exec && !t.dirty && !t.global);
        assert_int_equal(x86_translate(&w->cpu, LIN, X86_ACC_WRITE, true, true, &t), X86_OK);
        check_entries(w, s, set, true, X86_ACC_WRITE);
        assert_true(t.dirty);
    }
    struct x86_translation t;
    assert_int_equal(x86_translate(&w->cpu, UINT64_C(1) << 47, X86_ACC_READ, false, false, &t),
                     X86_EXC);
    assert_int_equal(t.error, UINT32_MAX);
    w_free(w);
}

/* Table 4-4: page-size extension off, 36-bit addresses, missing features. */
static void page_size_rules(void **state)
{
    (void)state;
    struct world *w = w_new();
    struct context c = {false, true, false, false, false, false};
    struct x86_translation t;
    set_context(w, &shapes[1], &c);
    uint32_t pde = 0x80000000u | PS | U | W | P | 0xabu << 13;
    memcpy(w_byte(w, shapes[1].at[0]), &pde, 4);
    assert_int_equal(x86_translate(&w->cpu, LIN, X86_ACC_READ, false, false, &t), X86_OK);
    assert_int_equal(t.gpa, (UINT64_C(0xab) << 32) + 0x80000000u + (LIN & 0x3fffff));
    w->cpu.phys_mask = (UINT64_C(1) << 36) - 1; /* bits 20:17 are reserved now */
    assert_int_equal(x86_translate(&w->cpu, LIN, X86_ACC_READ, false, false, &t), X86_EXC);
    assert_int_equal(t.error, X86_PF_P | X86_PF_R);
    w->cpu.feat[X86_FEAT_PSE36 >> 6] &= ~(UINT64_C(1) << (X86_FEAT_PSE36 & 63));
    pde = 0x80000000u | PS | U | W | P | 1u << 13;
    memcpy(w_byte(w, shapes[1].at[0]), &pde, 4);
    assert_int_equal(x86_translate(&w->cpu, LIN, X86_ACC_READ, false, false, &t), X86_EXC);
    w->cpu.cr4 = 0; /* the PDE points to a table in spite of its PS bit */
    pde = T_PT | PS | U | W | P;
    memcpy(w_byte(w, shapes[1].at[0]), &pde, 4);
    uint32_t pte = 0x54000 | W | P;
    memcpy(w_byte(w, shapes[0].at[1]), &pte, 4);
    assert_int_equal(x86_translate(&w->cpu, LIN, X86_ACC_READ, false, false, &t), X86_OK);
    assert_int_equal(t.gpa, 0x54000 + (LIN & 0xfff));

    uint64_t set[4];
    const unsigned bits[4] = {7, 7, 7, 7};
    set_context(w, &shapes[6], &c);
    set_entries(w, &shapes[6], bits, set);
    w->cpu.feat[X86_FEAT_1G >> 6] &= ~(UINT64_C(1) << (X86_FEAT_1G & 63));
    assert_int_equal(x86_translate(&w->cpu, LIN, X86_ACC_READ, false, false, &t), X86_EXC);
    assert_int_equal(t.error, X86_PF_P | X86_PF_R);
    set_context(w, &shapes[2], &c);
    w->cpu.pdpte[LIN >> 30] = T_PD; /* not present */
    assert_int_equal(x86_translate(&w->cpu, LIN, X86_ACC_READ, false, false, &t), X86_EXC);
    assert_int_equal(t.error, 0);
    w_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrix),
        cmocka_unit_test(system_access),
        cmocka_unit_test(translate_leaves_no_trace),
        cmocka_unit_test(page_size_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
