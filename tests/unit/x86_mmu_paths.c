/* The slow paths one by one: crossings, devices, ROM, code pages, wrap-around, alignment,
 * breakpoints, caches. */
#include "x86_mmu_world.h"

#define T_PML4  0x1000u
#define T_PDPT  0x2000u
#define T_PD    0x3000u
#define T_PT    0x4000u
#define PRESENT (X86_PTE_P | X86_PTE_W | X86_PTE_U)

static struct x86_uop ds = {.seg = X86_DS}, ss = {.seg = X86_SS};

/* 4-level tables; page n of the first 2 MiB is mapped by map(n). */
static struct world *paged(void)
{
    struct world *w = w_new();
    struct x86_cpu *cpu = &w->cpu;
    cpu->paging = cpu->pae = cpu->long_mode = true;
    cpu->lin_mask = UINT64_MAX;
    cpu->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP;
    cpu->cr4 = X86_CR4_PAE;
    cpu->efer = X86_EFER_NXE | X86_EFER_LME | X86_EFER_LMA;
    cpu->cr3 = T_PML4;
    w_put64(w, T_PML4, T_PDPT | PRESENT);
    w_put64(w, T_PDPT, T_PD | PRESENT);
    w_put64(w, T_PD, T_PT | PRESENT);
    return w;
}

static void map(struct world *w, unsigned n, uint64_t gpa, uint64_t bits)
{
    w_put64(w, T_PT + n * 8, gpa | bits);
}
static uint64_t pte(struct world *w, unsigned n)
{
    return w_get64(w, T_PT + n * 8);
}

static void crossing_checks_both_pages(void **state)
{
    (void)state;
    struct world *w = paged();
    map(w, 1, 0x51000, PRESENT);
    map(w, 2, 0x52000, X86_PTE_P); /* read-only */
    memset(w_byte(w, 0x51ff8), 0x11, 8);
    memset(w_byte(w, 0x52000), 0x22, 8);
    assert_true(x86_ld_slow(&w->cpu, &ds, 0x1ffd, 8));
    assert_int_equal(w->cpu.tmp, UINT64_C(0x2222222222111111));
    w_clear(w);
    assert_false(x86_st_slow(&w->cpu, &ds, 0x1ffd, ~UINT64_C(0), 8));
    assert_int_equal(w->cpu.exc.vector, X86_PF);
    assert_int_equal(w->cpu.exc.cr2, 0x2000);
    assert_int_equal(w->cpu.exc.error, X86_PF_P | X86_PF_W);
    assert_int_equal(*w_byte(w, 0x51fff), 0x11);
    map(w, 2, 0x57000, PRESENT);
    x86_tlb_flush_page(&w->cpu, 0x2000);
    assert_true(x86_st_slow(&w->cpu, &ds, 0x1ffd, UINT64_C(0x0807060504030201), 8));
    assert_int_equal(*w_byte(w, 0x51fff), 3);
    assert_int_equal(*w_byte(w, 0x57000), 4);
    assert_true(pte(w, 1) & X86_PTE_D && pte(w, 2) & X86_PTE_D);
    /* fault in the first page wins; nothing is read of the second */
    map(w, 1, 0, 0);
    map(w, 2, 0x57000, PRESENT);
    x86_tlb_flush(&w->cpu);
    assert_false(x86_ld_slow(&w->cpu, &ds, 0x1ffd, 8));
    assert_int_equal(w->cpu.exc.cr2, 0x1ffd);
    assert_false(pte(w, 2) & X86_PTE_A);
    w_free(w);
}

static void devices_see_pieces_in_order(void **state)
{
    (void)state;
    struct world *w = paged();
    uint8_t buf[40];
    map(w, 1, W_DEVICE, PRESENT);
    map(w, 2, 0x52000, PRESENT);
    for (unsigned i = 0; i < 0x20; i++)
        *w_byte(w, W_DEVICE + 0xfe0 + i) = (uint8_t)i;
    assert_true(x86_read_bytes(&w->cpu, &ds, 0x1fe3, buf, 40));
    assert_int_equal(w->nnotes, 4);
    static const unsigned sizes[] = {8, 8, 8, 5};
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(w->note[i].size, sizes[i]);
        assert_int_equal(w->note[i].gpa, W_DEVICE + 0xfe3 + 8 * i);
        assert_int_equal(w->note[i].lin, 0x1fe3 + 8 * i);
    }
    assert_int_equal(buf[0], 3);
    assert_int_equal(buf[28], 0x1f);
    /* A store that the host must finish later has not changed memory yet. */
    w_clear(w);
    w->device_result = X86_EXIT;
    *w_byte(w, 0x52000) = 0x77;
    assert_false(x86_st_slow(&w->cpu, &ds, 0x1ffe, 0, 4));
    assert_int_equal(w->cpu.leave, X86_LEAVE_EXIT);
    assert_int_equal(*w_byte(w, 0x52000), 0x77);
    map(w, 0, 0x50000, PRESENT); /* memory first, then the device */
    *w_byte(w, 0x50fff) = 0x77;
    w_clear(w);
    assert_false(x86_st_slow(&w->cpu, &ds, 0xffe, 0, 4));
    assert_int_equal(w->nnotes, 1);
    assert_int_equal(*w_byte(w, 0x50fff), 0x77);
    w->device_result = X86_OK;
    assert_true(x86_st_slow(&w->cpu, &ds, 0xffe, 0, 4));
    assert_int_equal(*w_byte(w, 0x50fff), 0);
    w_free(w);
}

static void rom_and_code_pages(void **state)
{
    (void)state;
    struct world *w = paged();
    bool special;
    map(w, 1, W_ROM, PRESENT);
    map(w, 2, W_CODE, PRESENT);
    map(w, 3, 0x53000, PRESENT);
    *w_byte(w, W_ROM) = 9;
    assert_true(x86_ld_slow(&w->cpu, &ds, 0x1000, 1));
    assert_int_equal(w->cpu.tmp, 9);
    assert_true(x86_ldw_slow(&w->cpu, &ds, 0x1000, 1));
    assert_int_equal(w->nnotes, 0);
    for (unsigned i = 0; i < 3; i++) /* the second and third must not go round the ops */
        assert_true(x86_st_slow(&w->cpu, &ds, 0x1000, 5, 1) &&
                    x86_st_slow(&w->cpu, &ds, 0x2000, 5, 1));
    assert_int_equal(w->nnotes, 6);
    assert_int_equal(*w_byte(w, W_ROM), 9);
    assert_int_equal(*w_byte(w, W_CODE), 5);
    assert_ptr_equal(x86_rmw_slow(&w->cpu, &ds, 0x2008, 16, &special), w_byte(w, W_CODE + 8));
    assert_int_equal(w->rmw, 1);
    assert_ptr_equal(x86_rmw_slow(&w->cpu, &ds, 0x3008, 8, &special), w_byte(w, 0x53008));
    assert_int_equal(w->rmw, 1);
    assert_true(pte(w, 3) & X86_PTE_D);
    assert_null(x86_rmw_slow(&w->cpu, &ds, 0x1000, 4, &special));
    assert_true(special);
    assert_null(x86_rmw_slow(&w->cpu, &ds, 0x3ffe, 4, &special));
    assert_true(special);
    w_clear(w);
    assert_null(x86_rmw_slow(&w->cpu, &ds, 0x4000, 4, &special));
    assert_false(special);
    assert_int_equal(w->cpu.exc.error, X86_PF_W);
    /* the page becomes code after its write tag was given out */
    assert_true(x86_rmw_fast(&w->cpu, 0x3000, 8));
    x86_tlb_drop_write(&w->cpu, (uintptr_t)w_byte(w, 0x53000));
    assert_false(x86_rmw_fast(&w->cpu, 0x3000, 8));
    w_free(w);
}

static void addresses_wrap(void **state)
{
    (void)state;
    struct world *w = w_new(); /* no paging: page n of memory is n % 16 */
    memset(w_byte(w, 0xfffff000), 0x11, 4096);
    *w_byte(w, 0) = 0x42; /* lies in the tables' memory */
    assert_true(x86_ld_slow(&w->cpu, &ds, 0xfffffffd, 4));
    assert_int_equal(w->cpu.tmp, 0x42111111);
    w_free(w);

    w = paged();
    w_put64(w, T_PML4 + 511 * 8, T_PDPT | PRESENT);
    w_put64(w, T_PDPT + 511 * 8, T_PD | PRESENT);
    w_put64(w, T_PD + 511 * 8, T_PT | PRESENT);
    map(w, 511, 0x5f000, PRESENT);
    map(w, 0, 0x50000, PRESENT);
    *w_byte(w, 0x5ffff) = 0x33;
    *w_byte(w, 0x50000) = 0x44;
    assert_true(x86_ld_slow(&w->cpu, &ds, UINT64_MAX, 2));
    assert_int_equal(w->cpu.tmp, 0x4433);
    uint64_t v;
    uint16_t v16;
    assert_true(
        x86_ld16(&w->cpu, &ds, UINT64_MAX, &v16)); /* the inline check must not match either */
    assert_int_equal(v16, 0x4433);
    assert_true(x86_ld64(&w->cpu, &ds, 0, &v));
    w_free(w);
}

static void non_canonical(void **state)
{
    (void)state;
    struct world *w = paged();
    assert_false(x86_ld_slow(&w->cpu, &ds, UINT64_C(1) << 47, 1));
    assert_int_equal(w->cpu.exc.vector, X86_GP);
    assert_false(x86_st_slow(&w->cpu, &ss, UINT64_C(0xffff7fffffffffff), 0, 1));
    assert_int_equal(w->cpu.exc.vector, X86_STK);
    assert_true(w->cpu.exc.has_error);
    /* the last canonical page, crossing out of it */
    w_put64(w, T_PML4 + 255 * 8, T_PDPT | PRESENT);
    w_put64(w, T_PDPT + 511 * 8, T_PD | PRESENT);
    w_put64(w, T_PD + 511 * 8, T_PT | PRESENT);
    map(w, 511, 0x5f000, PRESENT);
    w_clear(w);
    assert_true(x86_st_slow(&w->cpu, &ds, UINT64_C(0x7fffffffffff), 0, 1));
    assert_false(x86_st_slow(&w->cpu, &ds, UINT64_C(0x7ffffffffffe), 1, 4));
    assert_int_equal(w->cpu.exc.vector, X86_GP);
    assert_false(x86_ld_slow(&w->cpu, &ds, UINT64_C(0x7fffffffffff), 2));
    assert_false(x86_probe_write(&w->cpu, &ds, UINT64_C(0x7fffffffffff), 2));
    const uint8_t *host;
    uint64_t gpa;
    assert_int_equal(x86_fetch_page(&w->cpu, UINT64_C(1) << 63, &host, &gpa), X86_EXC);
    assert_int_equal(w->cpu.exc.vector, X86_GP);
    w_free(w);
}

static void alignment_check(void **state)
{
    (void)state;
    struct world *w = paged();
    map(w, 1, 0x51000, PRESENT);
    w->cpu.cpl = 3;
    w->cpu.cr0 |= X86_CR0_AM;
    w->cpu.eflags = X86_FL_AC;
    x86_tlb_select_bank(&w->cpu);
    uint32_t v;
    for (unsigned i = 0; i < 8; i++) {
        w_clear(w);
        assert_int_equal(x86_ld32(&w->cpu, &ds, 0x1000 + i, &v), i % 4 == 0);
        if (i % 4)
            assert_int_equal(w->cpu.exc.vector, X86_AC);
        assert_int_equal(x86_st16(&w->cpu, &ds, 0x1000 + i, 7), i % 2 == 0);
    }
    assert_false(x86_ld_slow(&w->cpu, &ds, 0x9001, 2)); /* #AC comes before #PF */
    assert_int_equal(w->cpu.exc.vector, X86_AC);
    for (unsigned i = 0; i < X86_TLB_SIZE; i++) {
        const struct x86_tlb_entry *e = &w->banks[X86_BANK_NONE * X86_TLB_SIZE + i];
        assert_true(!e->rd && !e->wr && !e->ex);
    }
    w->cpu.cpl = 0;
    x86_tlb_select_bank(&w->cpu);
    assert_true(x86_ld32(&w->cpu, &ds, 0x1001, &v));
    w_free(w);
}

static void dirty_only_by_stores(void **state)
{
    (void)state;
    struct world *w = paged();
    map(w, 1, 0x51000, PRESENT);
    uint64_t v;
    assert_true(x86_probe_write(&w->cpu, &ds, 0x1000, 8));
    assert_int_equal(pte(w, 1), 0x51000 | PRESENT);
    assert_true(x86_ld64(&w->cpu, &ds, 0x1000, &v));
    assert_int_equal(pte(w, 1), 0x51000 | PRESENT | X86_PTE_A);
    assert_false(x86_rmw_fast(&w->cpu, 0x1000, 8));
    assert_true(x86_st64(&w->cpu, &ds, 0x1000, 1));
    assert_int_equal(pte(w, 1), 0x51000 | PRESENT | X86_PTE_A | X86_PTE_D);
    assert_true(x86_rmw_fast(&w->cpu, 0x1000, 8));
    /* after the guest has cleaned the page, the next store sets D again */
    map(w, 1, 0x51000, PRESENT);
    x86_tlb_flush_page(&w->cpu, 0x1234);
    assert_true(x86_st64(&w->cpu, &ds, 0x1000, 1));
    assert_int_equal(pte(w, 1), 0x51000 | PRESENT | X86_PTE_A | X86_PTE_D);
    w_free(w);
}

/* Rights that were raised need no INVLPG (SDM Vol.3A 4.10.4.3), at any level. */
static void raised_rights(void **state)
{
    (void)state;
    struct world *w = paged();
    uint64_t v;
    map(w, 1, 0x51000, PRESENT);
    w_put64(w, T_PD, T_PT | X86_PTE_P); /* read-only, supervisor */
    assert_true(x86_ld64(&w->cpu, &ds, 0x1000, &v));
    assert_false(x86_st64(&w->cpu, &ds, 0x1000, 1));
    w_put64(w, T_PD, T_PT | PRESENT);
    assert_true(x86_st64(&w->cpu, &ds, 0x1000, 1));
    assert_false(x86_ld64(&w->cpu, &ds, 0x2000, &v));
    map(w, 2, 0x52000, PRESENT);
    assert_true(x86_ld64(&w->cpu, &ds, 0x2000, &v));
    w_free(w);
}

/* A table exchanged without INVLPG may cost one needless fault, never an endless row of them. */
static void one_needless_fault_at_most(void **state)
{
    (void)state;
    struct world *w = paged();
    uint64_t v;
    map(w, 1, 0x51000, PRESENT);
    assert_true(x86_ld64(&w->cpu, &ds, 0x1000, &v));
    w_put64(w, 0x5000 + 2 * 8, 0x52000 | PRESENT); /* the other table */
    w_put64(w, T_PD, 0x5000 | PRESENT);
    bool first = x86_ld64(&w->cpu, &ds, 0x2000, &v);
    assert_true(first || x86_ld64(&w->cpu, &ds, 0x2000, &v));
    /* the same where each attempt also uses another page of the old table that is never tagged */
    x86_tlb_flush(&w->cpu);
    w_put64(w, T_PD, T_PT | PRESENT);
    map(w, 3, W_DEVICE, PRESENT);
    assert_true(x86_ld64(&w->cpu, &ds, 0x3000, &v));
    w_put64(w, 0x5000 + 3 * 8, W_DEVICE | PRESENT);
    w_put64(w, T_PD, 0x5000 | PRESENT);
    bool done = false;
    for (unsigned i = 0; i < 2 && !done; i++)
        done = x86_ld64(&w->cpu, &ds, 0x3000, &v) && x86_ld64(&w->cpu, &ds, 0x2000, &v);
    assert_true(done);
    w_free(w);
}

/* INVLPG of any address in a large page drops all of it. */
static void invlpg_large(void **state)
{
    (void)state;
    struct world *w = paged();
    uint64_t v;
    w_put64(w, T_PD + 8, UINT64_C(0x400000) | PRESENT | X86_PTE_PS);
    *w_byte(w, 0x13000) = 0xa1;
    for (unsigned n = 0; n < 8; n++)
        assert_true(x86_ld64(&w->cpu, &ds, 0x200000 + n * 0x1000, &v));
    w_put64(w, T_PD + 8, 0);
    x86_tlb_flush_page(&w->cpu, 0x3ff000);
    for (unsigned n = 0; n < 8; n++)
        assert_false(x86_ld64(&w->cpu, &ds, 0x200000 + n * 0x1000, &v));
    w_put64(w, T_PDPT + 8, UINT64_C(0x40000000) | PRESENT | X86_PTE_PS);
    assert_true(x86_ld64(&w->cpu, &ds, 0x40000000, &v));
    w_put64(w, T_PDPT + 8, 0);
    x86_tlb_flush_page(&w->cpu, 0x7ffff000);
    assert_false(x86_ld64(&w->cpu, &ds, 0x40000000, &v));
    w_free(w);
}

/* Old entries do not come back when the generation number wraps. */
static void generations_wrap(void **state)
{
    (void)state;
    struct world *w = paged();
    uint64_t v;
    for (unsigned i = 0; i < 3 * 4096; i++) {
        map(w, 1, i & 1 ? 0x51000 : 0x52000, PRESENT);
        x86_tlb_flush(&w->cpu);
        assert_in_range(w->cpu.tlb_gen, 1, 4095);
        if (i % 7 == 0) {
            assert_true(x86_ld64(&w->cpu, &ds, 0x1000, &v));
            continue;
        }
        w_put64(w, T_PD, 0);
        assert_false(x86_ld64(&w->cpu, &ds, 0x1000, &v));
        w_put64(w, T_PD, T_PT | PRESENT);
    }
    w_free(w);
}

static void breakpoints_are_seen(void **state)
{
    (void)state;
    struct world *w = paged();
    uint64_t v;
    map(w, 1, 0x51000, PRESENT);
    w->cpu.dr[0] = 0x1008;
    w->cpu.dr7 = 1 | 3u << 16 | 2u << 18;
    w->cpu.data_bp = true;
    for (unsigned i = 0; i < 3; i++) {
        w_clear(w);
        assert_true(x86_ld64(&w->cpu, &ds, 0x1000, &v));
        assert_false(w->cpu.pending_dr6);
        assert_true(x86_st64(&w->cpu, &ds, 0x1004, 0));
        assert_true(w->cpu.pending_dr6);
    }
    w_free(w);
}

/* Tables are never read from devices: where there is no memory, all bits are ones, the reserved
 * ones included. */
static void tables_in_device_memory(void **state)
{
    (void)state;
    struct world *w = paged();
    uint64_t v;
    map(w, 1, 0x51000, PRESENT);
    w->tables_are_device = true;
    w->device_result = X86_EXIT;
    assert_false(x86_ld64(&w->cpu, &ds, 0x1000, &v));
    assert_int_equal(w->nnotes, 0);
    assert_int_equal(w->cpu.leave, X86_LEAVE_EXC);
    assert_int_equal(w->cpu.exc.vector, X86_PF);
    assert_int_equal(w->cpu.exc.error, X86_PF_P | X86_PF_R);
    w_free(w);
}

struct seg_case {
    uint32_t ar, limit;
    bool real;
    unsigned seg;
    uint64_t off;
    unsigned size;
    bool write, ok;
};

static void segment_checks(void **state)
{
    (void)state;
    const uint32_t data = X86_AR_P | X86_AR_S, down = data | X86_AR_EC;
    static const uint32_t big = X86_AR_DB;
    const struct seg_case cases[] = {
        {data, 0xfff, false, X86_DS, 0xffc, 4, false, true},
        {data, 0xfff, false, X86_DS, 0xffd, 4, false, false},
        {data, 0xfff, false, X86_DS, 0, 1, true, false},
        {data | X86_AR_WR, 0xfff, false, X86_SS, 0x1000, 1, true, false},
        {down, 0xfff, false, X86_DS, 0xfff, 1, false, false},
        {down, 0xfff, false, X86_DS, 0x1000, 1, false, true},
        {down, 0xfff, false, X86_DS, 0xfffe, 4, false, false},
        {down | big, 0xfff, false, X86_DS, 0xfffe, 4, false, true},
        {down | big, 0xfff, false, X86_DS, 0xfffffffe, 4, false, false},
        {down | big, UINT32_MAX, false, X86_DS, 0x100, 1, false, false},
        {data | X86_AR_CODE, 0xfff, false, X86_CS, 0, 1, false, false},
        {data | X86_AR_CODE | X86_AR_WR, 0xfff, false, X86_CS, 0, 1, false, true},
        {data | X86_AR_CODE | X86_AR_WR, 0xfff, false, X86_CS, 0, 1, true, false},
        {data | X86_AR_UNUSABLE, UINT32_MAX, false, X86_ES, 0, 1, false, false},
        {data, 0xffff, true, X86_DS, 0xffff, 1, true, true},
        {data, 0xffff, true, X86_DS, 0xffff, 2, true, false},
        {data, 0xffff, true, X86_SS, 0xffff, 2, true, false},
        {data, 0, false, X86_DS, 0, 1, false, true},
        {data, 0, false, X86_DS, 0, 2, false, false},
    };
    struct world *w = w_new();
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct seg_case *c = &cases[i];
        w->cpu.mode = X86_MODE_32 | (c->real ? X86_MODE_REAL : 0);
        w->cpu.seg[c->seg] = (struct x86_seg){.ar = c->ar, .limit = c->limit, .sel = 8};
        w_clear(w);
        bool ok = x86_seg_check_slow(&w->cpu, c->seg, c->off, c->size, c->write);
        if (ok != c->ok)
            fail_msg("case %u", i);
        if (!ok)
            assert_int_equal(w->cpu.exc.vector, c->seg == X86_SS ? X86_STK : X86_GP);
    }
    w_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crossing_checks_both_pages),
        cmocka_unit_test(devices_see_pieces_in_order),
        cmocka_unit_test(rom_and_code_pages),
        cmocka_unit_test(addresses_wrap),
        cmocka_unit_test(non_canonical),
        cmocka_unit_test(alignment_check),
        cmocka_unit_test(dirty_only_by_stores),
        cmocka_unit_test(raised_rights),
        cmocka_unit_test(one_needless_fault_at_most),
        cmocka_unit_test(invlpg_large),
        cmocka_unit_test(generations_wrap),
        cmocka_unit_test(breakpoints_are_seen),
        cmocka_unit_test(tables_in_device_memory),
        cmocka_unit_test(segment_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
