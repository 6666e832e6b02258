/* Segment registers, far transfers and returns: each a matrix of descriptor type x levels against
 * the manual's rules written down once more. */
#include "x86_sys_world.h"

static int setup(void **state)
{
    *state = s_new();
    return 0;
}
static int teardown(void **state)
{
    s_free(*state);
    return 0;
}

static int fault_vector(const struct sworld *w, enum x86_result r)
{
    assert_true(r == X86_OK || r == X86_EXC);
    return r == X86_OK ? -1 : w->cpu.exc.vector;
}

#define FOR(v, n) for (unsigned v = 0; v < (n); v++)

/* --- loading data segment registers: Vol.2 MOV, protected mode exceptions --- */

static int load_model(unsigned seg, unsigned type, unsigned s, unsigned dpl, unsigned p,
                      unsigned cpl, unsigned rpl)
{
    bool code = s && type & 8, data = s && !(type & 8), rw = type & 2;
    if (seg == X86_SS) {
        if (rpl != cpl || !data || !rw || dpl != cpl)
            return X86_GP;
        return p ? -1 : X86_STK;
    }
    if (!data && !(code && rw))
        return X86_GP;
    if (!(code && type & 4) && (rpl > dpl || cpl > dpl))
        return X86_GP;
    return p ? -1 : X86_NP;
}

static void load_matrix(void **state)
{
    static const uint8_t segs[] = {X86_SS, X86_DS, X86_GS};
    struct sworld *w = *state;
    FOR(cpl, 4)
    {
        s_protected(w, cpl);
        FOR(i, 3) FOR(access, 256) FOR(rpl, 4)
        {
            unsigned seg = segs[i], type = access & 15, dpl = access >> 5 & 3;
            s_desc(w, G_TEST, 0x5000, 0x1234, access, 4);
            int want = load_model(seg, type, access >> 4 & 1, dpl, access >> 7, cpl, rpl);
            int got = fault_vector(w, x86_load_seg(&w->cpu, seg, (uint16_t)(G_TEST | rpl)));
            if (got != want)
                fail_msg("seg %u access %02x cpl %u rpl %u: %d, want %d", seg, access, cpl, rpl,
                         got, want);
            if (want >= 0) {
                assert_int_equal(w->cpu.exc.error, G_TEST);
                continue;
            }
            assert_int_equal(w->cpu.seg[seg].base, 0x5000);
            assert_int_equal(w->cpu.seg[seg].limit, 0x1234);
            assert_int_equal(s_get(w, S_GDT + G_TEST + 5, 1), access | 1); /* accessed */
            if (seg == X86_SS)
                s_protected(w, cpl);
        }
    }
}

static void load_null(void **state)
{
    struct sworld *w = *state;
    FOR(cpl, 4) FOR(rpl, 4)
    {
        s_protected(w, cpl);
        assert_int_equal(x86_load_seg(&w->cpu, X86_SS, (uint16_t)rpl), X86_EXC);
        assert_int_equal(w->cpu.exc.error, 0);
        assert_int_equal(x86_load_seg(&w->cpu, X86_DS, (uint16_t)rpl), X86_OK);
        assert_true(w->cpu.seg[X86_DS].ar & X86_AR_UNUSABLE);
        assert_false(w->cpu.mode & X86_MODE_FLAT);
        s_long(w, cpl ? 3 : 0); /* 64-bit mode: at its own level below 3 */
        unsigned level = cpl ? 3 : 0;
        bool ok = level < 3 && rpl == level;
        assert_int_equal(x86_load_seg(&w->cpu, X86_SS, (uint16_t)rpl), ok ? X86_OK : X86_EXC);
    }
}

static void load_limits(void **state)
{
    struct sworld *w = *state;
    assert_int_equal(x86_load_seg(&w->cpu, X86_DS, G_LIMIT), X86_EXC);
    assert_int_equal(w->cpu.exc.error, G_LIMIT);
    assert_int_equal(x86_load_seg(&w->cpu, X86_DS, 0xc), X86_EXC); /* no LDT */
    assert_int_equal(w->cpu.exc.error, 0xc);
    w->cpu.ldtr = (struct x86_seg){.base = S_GDT, .limit = 0x17, .ar = A_SYS(2, 0), .sel = G_LDT};
    assert_int_equal(x86_load_seg(&w->cpu, X86_DS, 0x14), X86_OK);
    assert_int_equal(x86_load_seg(&w->cpu, X86_DS, 0x1c), X86_EXC);
}

static void unreal_mode(void **state)
{
    struct sworld *w = *state;
    assert_int_equal(x86_write_cr0(&w->cpu, X86_CR0_ET), X86_OK);
    assert_true(w->cpu.mode & X86_MODE_REAL);
    assert_int_equal(x86_load_seg(&w->cpu, X86_DS, 0x1234), X86_OK);
    assert_int_equal(w->cpu.seg[X86_DS].base, 0x12340);
    assert_int_equal(w->cpu.seg[X86_DS].limit, UINT32_MAX); /* big real mode */
    assert_true(w->cpu.seg[X86_DS].wr_fast);
}

/* --- far JMP and CALL to code: Vol.2 CALL --- */

static int far_model(unsigned type, unsigned s, unsigned dpl, unsigned p, unsigned cpl,
                     unsigned rpl)
{
    if (!s || !(type & 8))
        return X86_GP;
    if (type & 4 ? dpl > cpl : rpl > cpl || dpl != cpl)
        return X86_GP;
    return p ? -1 : X86_NP;
}

static void far_matrix(void **state)
{
    struct sworld *w = *state;
    FOR(cpl, 4) FOR(access, 256) FOR(rpl, 4) FOR(call, 2)
    {
        unsigned type = access & 15, dpl = access >> 5 & 3;
        if (!(access & 0x10) && (type == 4 || type == 5 || type == 12 || type == 1 || type == 9))
            continue; /* gates and tasks: below */
        s_protected(w, cpl);
        s_desc(w, G_TEST, 0, 0xfffff, access, 4);
        uint64_t sp = w->cpu.r[X86_RSP];
        int want = far_model(type, access >> 4 & 1, dpl, access >> 7, cpl, rpl);
        int got = fault_vector(w, x86_far_branch(&w->cpu, call ? X86_FAR_CALL : X86_FAR_JMP,
                                                 (uint16_t)(G_TEST | rpl), 0x777, 4, 0x12349));
        if (got != want)
            fail_msg("access %02x cpl %u rpl %u: %d, want %d", access, cpl, rpl, got, want);
        if (want >= 0) {
            assert_int_equal(w->cpu.exc.error, G_TEST);
            assert_int_equal(w->cpu.r[X86_RSP], sp);
            continue;
        }
        assert_int_equal(w->cpu.rip, 0x777);
        assert_int_equal(w->cpu.seg[X86_CS].sel, G_TEST | cpl);
        assert_int_equal(w->cpu.r[X86_RSP], call ? sp - 8 : sp);
        if (call) {
            assert_int_equal(s_top(w, 0, 4), 0x12349);
            assert_int_equal(s_top(w, 1, 4), (G_CODE0 + 0x10 * cpl) | cpl);
            assert_int_equal(x86_far_return(&w->cpu, 4, 0), X86_OK);
            assert_int_equal(w->cpu.rip, 0x12349);
            assert_int_equal(w->cpu.r[X86_RSP], sp);
        }
    }
}

static void far_limit(void **state)
{
    struct sworld *w = *state;
    s_desc(w, G_TEST, 0, 0xfff, A_CODE(0), 4);
    assert_int_equal(x86_far_branch(&w->cpu, X86_FAR_JMP, G_TEST, 0x1000, 4, 0), X86_EXC);
    assert_int_equal(w->cpu.exc.vector, X86_GP);
    assert_int_equal(w->cpu.exc.error, 0);
    assert_int_equal(x86_far_branch(&w->cpu, X86_FAR_JMP, 3, 0, 4, 0), X86_EXC);
    assert_int_equal(w->cpu.exc.error, 0);
}

/* --- call gates --- */

static void put_callgate(struct sworld *w, uint16_t sel, uint32_t offset, unsigned access,
                         unsigned params)
{
    s_put(w, S_GDT + G_GATE,
          (offset & 0xffff) | (uint64_t)sel << 16 | (uint64_t)params << 32 |
              (uint64_t)access << 40 | (uint64_t)(offset & 0xffff0000) << 32,
          8);
    s_put(w, S_GDT + G_GATE + 8, 0, 8);
}

static void callgate_matrix(void **state)
{
    struct sworld *w = *state;
    FOR(cpl, 4) FOR(gdpl, 4) FOR(rpl, 4) FOR(dpl, 4) FOR(conf, 2) FOR(call, 2) FOR(p, 2)
    {
        s_protected(w, cpl);
        s_desc(w, G_TEST, 0, UINT32_MAX, A_CODE(dpl) | (conf ? 4 : 0), F_32);
        put_callgate(w, G_TEST | 3, 0x20400, 12 | gdpl << 5 | (p ? 0x80 : 0), 2);
        uint64_t sp = w->cpu.r[X86_RSP];
        s_put(w, (uint32_t)sp, 0x2222222211111111, 8); /* two parameters */
        int want = -1;
        uint32_t error = G_GATE;
        if (gdpl < cpl || gdpl < rpl)
            want = X86_GP;
        else if (!p)
            want = X86_NP;
        else if (dpl > cpl || (!call && !conf && dpl != cpl))
            want = X86_GP, error = G_TEST;
        int got = fault_vector(w, x86_far_branch(&w->cpu, call ? X86_FAR_CALL : X86_FAR_JMP,
                                                 (uint16_t)(G_GATE | rpl), 0xdead, 4, 0x12349));
        if (got != want)
            fail_msg("cpl %u gdpl %u rpl %u dpl %u conf %u call %u p %u: %d, want %d", cpl, gdpl,
                     rpl, dpl, conf, call, p, got, want);
        if (want >= 0) {
            assert_int_equal(w->cpu.exc.error, error);
            assert_int_equal(w->cpu.r[X86_RSP], sp);
            continue;
        }
        bool inner = call && !conf && dpl < cpl;
        assert_int_equal(w->cpu.rip, 0x20400);
        assert_int_equal(w->cpu.cpl, inner ? dpl : cpl);
        if (!inner)
            continue;
        assert_int_equal(w->cpu.r[X86_RSP], S_STACK + 0x1000 * (dpl + 1) - 24);
        assert_int_equal(s_top(w, 0, 4), 0x12349);
        assert_int_equal(s_top(w, 2, 4), 0x11111111);
        assert_int_equal(s_top(w, 3, 4), 0x22222222);
        assert_int_equal(s_top(w, 4, 4), sp);
        assert_int_equal(x86_far_return(&w->cpu, 4, 8), X86_OK); /* RETF 8 */
        assert_int_equal(w->cpu.r[X86_RSP], sp + 8);
        assert_int_equal(w->cpu.cpl, cpl);
        assert_int_equal(w->cpu.seg[X86_SS].sel, (G_DATA0 + 0x10 * cpl) | cpl);
    }
}

static void callgate64(void **state)
{
    struct sworld *w = *state;
    s_long(w, 3);
    uint64_t sp = w->cpu.r[X86_RSP];
    put_callgate(w, G_CODE64, 0x20400, 12 | 0xe0, 0);
    assert_int_equal(x86_far_branch(&w->cpu, X86_FAR_CALL, G_GATE | 3, 0, 4, 0x12349), X86_OK);
    assert_int_equal(w->cpu.cpl, 0);
    assert_int_equal(w->cpu.r[X86_RSP], S_STACK + 0x1000 - 32);
    assert_int_equal(s_top(w, 0, 8), 0x12349);
    assert_int_equal(s_top(w, 2, 8), sp);
    assert_int_equal(w->cpu.seg[X86_SS].sel, 0);
    assert_int_equal(x86_far_return(&w->cpu, 8, 0), X86_OK);
    assert_int_equal(w->cpu.cpl, 3);
    assert_int_equal(w->cpu.r[X86_RSP], sp);
    s_put(w, S_GDT + G_GATE + 12, 0x100, 4); /* type field of the upper half */
    assert_int_equal(x86_far_branch(&w->cpu, X86_FAR_CALL, G_GATE | 3, 0, 4, 0), X86_EXC);
    assert_int_equal(w->cpu.exc.error, G_GATE);
    put_callgate(w, G_CODE3, 0x20400, 12 | 0xe0, 0); /* not 64-bit code */
    assert_int_equal(x86_far_branch(&w->cpu, X86_FAR_CALL, G_GATE | 3, 0, 4, 0), X86_EXC);
    assert_int_equal(w->cpu.exc.error, G_CODE3);
}

/* --- IRET in protected mode --- */

static int iret_model(unsigned access, unsigned rpl, unsigned cpl)
{
    unsigned type = access & 15, dpl = access >> 5 & 3;
    if (!(access & 0x10) || !(type & 8) || rpl < cpl)
        return X86_GP;
    if (type & 4 ? dpl > rpl : dpl != rpl)
        return X86_GP;
    return access & 0x80 ? -1 : X86_NP;
}

static void iret_matrix(void **state)
{
    struct sworld *w = *state;
    FOR(cpl, 4) FOR(access, 256) FOR(rpl, 4)
    {
        s_protected(w, cpl);
        s_desc(w, G_TEST, 0, UINT32_MAX, access, F_32);
        uint32_t sp = (uint32_t)w->cpu.r[X86_RSP];
        uint32_t frame[5] = {0x4321, G_TEST | rpl, X86_FL_ONE | X86_FL_IF | X86_FL_IOPL, 0x70000,
                             (G_DATA0 + 0x10 * rpl) | rpl};
        memcpy(w->mem + sp, frame, sizeof frame);
        w->cpu.eflags &= ~X86_FL_IF;
        int want = iret_model(access, rpl, cpl);
        int got = fault_vector(w, x86_iret(&w->cpu, 4, 0));
        if (got != want)
            fail_msg("access %02x cpl %u rpl %u: %d, want %d", access, cpl, rpl, got, want);
        if (want >= 0) {
            assert_int_equal(w->cpu.exc.error, G_TEST);
            assert_int_equal(w->cpu.r[X86_RSP], sp);
            assert_int_equal(w->cpu.eflags & X86_FL_IF, 0);
            continue;
        }
        assert_int_equal(w->cpu.rip, 0x4321);
        assert_int_equal(w->cpu.cpl, rpl);
        assert_int_equal(w->cpu.r[X86_RSP], rpl > cpl ? 0x70000 : sp + 12);
        assert_int_equal(!!(w->cpu.eflags & X86_FL_IF), cpl == 0); /* IOPL was 0 */
        assert_int_equal(!!(w->cpu.eflags & X86_FL_IOPL), cpl == 0);
        if (rpl > cpl && cpl == 0) /* DS of level 0 is gone */
            assert_int_equal(w->cpu.seg[X86_DS].sel, 0);
    }
}

static void iret_outer_ss(void **state)
{
    struct sworld *w = *state;
    FOR(access, 256) FOR(ss_rpl, 4)
    {
        s_protected(w, 0);
        s_desc(w, G_TEST, 0, UINT32_MAX, access, F_32);
        uint32_t frame[5] = {0x4321, G_CODE3 | 3, X86_FL_ONE, 0x70000, G_TEST | ss_rpl};
        memcpy(w->mem + w->cpu.r[X86_RSP], frame, sizeof frame);
        bool data = (access & 0x1a) == 0x12;
        int want = ss_rpl != 3 || !data || (access >> 5 & 3) != 3 ? X86_GP
                   : access & 0x80                                ? -1
                                                                  : X86_STK;
        assert_int_equal(fault_vector(w, x86_iret(&w->cpu, 4, 0)), want);
        if (want >= 0)
            assert_int_equal(w->cpu.exc.error, G_TEST);
    }
    s_protected(w, 0); /* null SS */
    uint32_t frame[5] = {0x4321, G_CODE3 | 3, X86_FL_ONE, 0x70000, 3};
    memcpy(w->mem + w->cpu.r[X86_RSP], frame, sizeof frame);
    assert_int_equal(x86_iret(&w->cpu, 4, 0), X86_EXC);
    assert_int_equal(w->cpu.exc.error, 0);
}

static void iret_long(void **state)
{
    struct sworld *w = *state;
    struct {
        uint16_t cs, ss;
        uint64_t rip;
        int vector;
        uint32_t error;
    } t[] = {
        {G_CODE64, 0, 0x1000, -1, 0}, /* null SS at level 0 */
        {G_CODE64, G_DATA0, 0x1000, -1, 0},
        {G_CODE64U | 3, G_DATA3 | 3, 0x1000, -1, 0},
        {G_CODE64U | 3, 3, 0x1000, X86_GP, 0}, /* null SS at level 3 */
        {G_CODE64U | 3, G_DATA0, 0x1000, X86_GP, G_DATA0},
        {G_CODE3 | 3, G_DATA3 | 3, 0x1000, -1, 0}, /* compatibility mode */
        {G_CODE3 | 3, G_DATA3 | 3, UINT64_C(0x100000000), X86_GP, 0},
        {G_CODE0, 0, 0x1000, X86_GP, 0}, /* null SS only for 64-bit code */
        {G_CODE64, G_DATA0, UINT64_C(0x800000000000), X86_GP, 0},
        {0, G_DATA0, 0x1000, X86_GP, 0},
        {G_DATA0, G_DATA0, 0x1000, X86_GP, G_DATA0},
    };
    FOR(i, sizeof t / sizeof *t)
    {
        s_long(w, 0);
        uint64_t frame[5] = {t[i].rip, t[i].cs, X86_FL_ONE | X86_FL_RF, 0x70000, t[i].ss};
        memcpy(w->mem + w->cpu.r[X86_RSP], frame, sizeof frame);
        int got = fault_vector(w, x86_iret(&w->cpu, 8, 0));
        if (got != t[i].vector)
            fail_msg("case %u: %d, want %d", i, got, t[i].vector);
        if (got >= 0) {
            assert_int_equal(w->cpu.exc.error, t[i].error);
            continue;
        }
        assert_int_equal(w->cpu.rip, t[i].rip);
        assert_int_equal(w->cpu.r[X86_RSP], 0x70000);
        assert_int_equal(w->cpu.cpl, t[i].cs & 3);
        assert_int_equal(!(w->cpu.mode & X86_MODE_64), t[i].cs == (G_CODE3 | 3));
    }
    s_long(w, 0);
    w->cpu.eflags |= X86_FL_NT;
    assert_int_equal(x86_iret(&w->cpu, 8, 0), X86_EXC);
    assert_int_equal(w->cpu.exc.error, 0);
}

static void iret_real_and_v86(void **state)
{
    struct sworld *w = *state;
    s_real(w);
    uint16_t frame[3] = {0x100, 0x2000, 0x7fff};
    memcpy(w->mem + w->cpu.seg[X86_SS].base + 0x1000, frame, sizeof frame);
    assert_int_equal(x86_iret(&w->cpu, 2, 0), X86_OK);
    assert_int_equal(w->cpu.seg[X86_CS].base, 0x20000);
    assert_int_equal(x86_get_flags(&w->cpu), 0x7fd7);
    assert_int_equal(w->cpu.r[X86_RSP], 0x1006);

    FOR(iopl, 4) FOR(vme, 2) FOR(vip, 2) FOR(fl, 4)
    {
        s_v86(w, iopl);
        w->cpu.cr4 = vme ? X86_CR4_VME : 0;
        w->cpu.eflags |= vip ? X86_FL_VIP : 0;
        uint16_t f16[3] = {0x100, 0x2000,
                           (uint16_t)((fl & 1 ? X86_FL_IF : 0) | (fl & 2 ? X86_FL_TF : 0))};
        memcpy(w->mem + w->cpu.seg[X86_SS].base + 0x1000, f16, sizeof f16);
        bool bad = iopl < 3 && (!vme || fl & 2 || (fl & 1 && vip));
        assert_int_equal(fault_vector(w, x86_iret(&w->cpu, 2, 0)), bad ? X86_GP : -1);
        if (bad)
            continue;
        assert_int_equal(w->cpu.eflags >> 12 & 3, iopl);
        assert_int_equal(!!(w->cpu.eflags & (iopl == 3 ? X86_FL_IF : X86_FL_VIF)), fl & 1);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(load_matrix), T(load_null),     T(load_limits),     T(unreal_mode),
        T(far_matrix),  T(far_limit),     T(callgate_matrix), T(callgate64),
        T(iret_matrix), T(iret_outer_ss), T(iret_long),       T(iret_real_and_v86),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
