/* Delivery of events: gates, privilege levels, stacks, nested faults, virtual-8086 mode, long mode.
 */
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

/* --- protected mode --- */

static void same_level_frame(void **state)
{
    struct sworld *w = *state;
    uint64_t sp = w->cpu.r[X86_RSP];
    assert_int_equal(s_event(w, X86_GP, X86_EV_FAULT, 0x1234), X86_OK);
    assert_int_equal(s_at(w), X86_GP);
    assert_int_equal(w->cpu.r[X86_RSP], sp - 16);
    assert_int_equal(s_top(w, 0, 4), 0x1234);
    assert_int_equal(s_top(w, 1, 4), 0x12345);
    assert_int_equal(s_top(w, 2, 4), G_CODE0);
    assert_int_equal(s_top(w, 3, 4), X86_FL_IF | X86_FL_CF | X86_FL_ONE | X86_FL_RF);
    assert_int_equal(x86_get_flags(&w->cpu), X86_FL_CF | X86_FL_ONE); /* IF cleared */
}

static void inner_frame(void **state)
{
    struct sworld *w = *state;
    s_protected(w, 3);
    uint64_t sp = w->cpu.r[X86_RSP];
    assert_int_equal(s_event(w, 0x80, X86_EV_SOFT, -1), X86_OK);
    assert_int_equal(s_at(w), 0x80);
    assert_int_equal(w->cpu.cpl, 0);
    assert_int_equal(w->cpu.seg[X86_SS].sel, G_DATA0);
    assert_int_equal(w->cpu.r[X86_RSP], S_STACK + 0x1000 - 20);
    assert_int_equal(s_top(w, 0, 4), 0x12347); /* behind the instruction */
    assert_int_equal(s_top(w, 1, 4), G_CODE3 | 3);
    assert_int_equal(s_top(w, 2, 4) & X86_FL_RF, 0);
    assert_int_equal(s_top(w, 3, 4), sp);
    assert_int_equal(s_top(w, 4, 4), G_DATA3 | 3);
}

/* What delivery of vector 0x40 leads to, from the manual's pseudo-code (Vol.2 INT n), for every
 * gate type, gate DPL, level, target level and kind of event. */
static void expect(unsigned type, unsigned gate_dpl, bool present, unsigned cpl, unsigned dpl,
                   bool conforming, bool soft, int *vector, uint32_t *error)
{
    uint32_t ext = soft ? 0 : 1;
    bool good = type == 6 || type == 7 || type == 14 || type == 15;
    *error = 0x40 * 8 + 2 + ext;
    *vector = X86_GP;
    if (!good || (soft && gate_dpl < cpl))
        return;
    *vector = X86_NP;
    if (!present)
        return;
    *vector = X86_GP;
    *error = G_TEST + ext;
    if (dpl > cpl)
        return;
    (void)conforming;
    *vector = 0x40;
}

static void gate_matrix(void **state)
{
    struct sworld *w = *state;
    unsigned n = 0;
    for (unsigned type = 0; type < 16; type++)
        for (unsigned gdpl = 0; gdpl < 4; gdpl++)
            for (unsigned present = 0; present < 2; present++)
                for (unsigned cpl = 0; cpl < 4; cpl++)
                    for (unsigned dpl = 0; dpl < 4; dpl++)
                        for (unsigned conf = 0; conf < 2; conf++)
                            for (unsigned soft = 0; soft < 2; soft++) {
                                int vector;
                                uint32_t error;
                                if (type == 5)
                                    continue; /* task gates have their own test */
                                s_protected(w, cpl);
                                s_desc(w, G_TEST, 0, UINT32_MAX, A_CODE(dpl) | (conf ? 4 : 0),
                                       F_32);
                                bool big = type & 8;
                                if (!big) /* 16-bit gates reach 64 KiB only */
                                    s_desc(w, G_TEST, S_CODE, 0xffff, A_CODE(dpl) | (conf ? 4 : 0),
                                           4);
                                s_gate(w, 0x40, G_TEST | 3, big ? S_CODE + 0x400 : 0x400,
                                       type | gdpl << 5 | (present ? 0x80 : 0), 0);
                                expect(type, gdpl, present, cpl, dpl, conf, soft, &vector, &error);
                                enum x86_result r =
                                    s_event(w, 0x40, soft ? X86_EV_SOFT : X86_EV_INTR, -1);
                                assert_int_equal(r, X86_OK);
                                if (s_at(w) != vector)
                                    fail_msg("type %u gdpl %u p %u cpl %u dpl %u conf %u soft %u: "
                                             "at %d, want %d",
                                             type, gdpl, present, cpl, dpl, conf, soft, s_at(w),
                                             vector);
                                if (vector != 0x40) {
                                    assert_int_equal(s_top(w, 0, 4), error);
                                } else {
                                    assert_int_equal(w->cpu.cpl, conf ? cpl : dpl);
                                    assert_int_equal(w->cpu.seg[X86_CS].sel & 3, w->cpu.cpl);
                                    assert_int_equal(!!(w->cpu.eflags & X86_FL_IF), type & 1);
                                    assert_int_equal(s_top(w, 1, big ? 4 : 2),
                                                     (G_CODE0 + 0x10 * cpl) | cpl);
                                }
                                n++;
                            }
    assert_int_equal(n, 15 * 4 * 2 * 4 * 4 * 2 * 2);
}

static void bad_inner_stack(void **state)
{
    struct sworld *w = *state;
    /* SS0 null: #TS(EXT); #TS itself then fails the same way: contributory twice, #DF, shutdown */
    s_protected(w, 3);
    s_put(w, S_TSS + 8, 0, 2);
    assert_int_equal(s_event(w, 0x40, X86_EV_INTR, -1), X86_EXIT);
    assert_true(w->cpu.shutdown);
    /* the same with a #TS handler that needs no new stack */
    s_protected(w, 3);
    s_desc(w, G_TEST, 0, UINT32_MAX, 0x9f, F_32);
    s_gate(w, X86_TS, G_TEST, S_CODE + 16 * X86_TS, A_SYS(14, 0), 0);
    assert_int_equal(s_event(w, 0x40, X86_EV_INTR, -1), X86_OK);
    assert_int_equal(s_at(w), X86_TS);
    assert_int_equal(s_top(w, 0, 4), 1);
    assert_int_equal(w->cpu.cpl, 3);
    /* SS0 of the wrong level: #TS(selector) */
    s_protected(w, 3);
    s_gate(w, X86_TS, G_TEST, S_CODE + 16 * X86_TS, A_SYS(14, 0), 0);
    s_put(w, S_TSS + 8, G_DATA1, 2);
    assert_int_equal(s_event(w, 0x40, X86_EV_SOFT, -1), X86_OK);
    assert_int_equal(s_at(w), X86_TS);
    assert_int_equal(s_top(w, 0, 4), G_DATA1);
}

static void tss_too_small(void **state)
{
    struct sworld *w = *state;
    s_protected(w, 3);
    s_desc(w, G_TEST, 0, UINT32_MAX, 0x9f, F_32);
    s_gate(w, X86_TS, G_TEST, S_CODE + 16 * X86_TS, A_SYS(14, 0), 0);
    w->cpu.tr.limit = 8;
    assert_int_equal(s_event(w, 0x40, X86_EV_INTR, -1), X86_OK);
    assert_int_equal(s_at(w), X86_TS);
    assert_int_equal(s_top(w, 0, 4), G_TSS | 1);
    w->cpu.tr.limit = 0x400;
}

/* --- double faults: SDM Vol.3A table 6-5 --- */

static void double_fault_matrix(void **state)
{
    static const uint8_t first[] = {X86_DE,  X86_DB, X86_BP, X86_UD, X86_TS, X86_NP,
                                    X86_STK, X86_GP, X86_PF, X86_AC, X86_XM};
    struct sworld *w = *state;
    for (unsigned i = 0; i < sizeof first; i++)
        for (unsigned second = 0; second < 2; second++) { /* #NP, #PF while delivering */
            unsigned v = first[i];
            bool contributory = v == X86_DE || (v >= X86_TS && v <= X86_GP);
            bool pf = v == X86_PF;
            if (second == 1) {
                s_long(w, 0);
                s_gate(w, v, 0x8000 /* beyond the GDT's limit */, 0, A_SYS(14, 0), 0);
                w->cpu.gdtr.limit = 0xffff;
                w->cpu.gdtr.base = 0x40000000; /* not mapped: reading the descriptor is a #PF */
                int64_t want = pf ? X86_DF : X86_PF;
                /* #DF and #PF need the GDT, too: everything ends in shutdown */
                (void)want;
                assert_int_equal(s_event(w, v, X86_EV_FAULT, 0), X86_EXIT);
                assert_true(w->cpu.shutdown);
                w->cpu.gdtr.base = S_GDT;
                w->cpu.gdtr.limit = G_LIMIT - 1;
                continue;
            }
            s_protected(w, 0);
            s_gate(w, v, G_CODE0, S_CODE, 0x0e, 0); /* not present */
            enum x86_result r = s_event(w, v, X86_EV_FAULT, 0);
            bool shutdown = v == X86_NP; /* #NP's own gate is the bad one: #NP, #DF */
            (void)shutdown;
            assert_int_equal(r, X86_OK);
            assert_int_equal(s_at(w), contributory || pf ? X86_DF : X86_NP);
            assert_int_equal(s_top(w, 0, 4), contributory || pf ? 0u : v * 8u + 2 + 1);
        }
}

static void triple_fault(void **state)
{
    struct sworld *w = *state;
    s_gate(w, X86_DF, G_CODE0, S_CODE, 0x0e, 0);
    s_gate(w, X86_GP, G_CODE0, S_CODE, 0x0e, 0);
    assert_int_equal(s_event(w, X86_GP, X86_EV_FAULT, 0), X86_EXIT);
    assert_true(w->cpu.shutdown);
    assert_int_equal(w->cpu.leave, X86_LEAVE_SHUTDOWN);
}

static void fault_leaves_state(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu before;
    s_protected(w, 3);
    w->cpu.idtr.limit = 0; /* nothing can be delivered */
    before = w->cpu;
    assert_int_equal(s_event(w, 0x40, X86_EV_INTR, -1), X86_EXIT);
    assert_memory_equal(before.r, w->cpu.r, sizeof before.r);
    assert_memory_equal(before.seg, w->cpu.seg, sizeof before.seg);
    assert_int_equal(before.rip, w->cpu.rip);
    assert_int_equal(before.eflags, w->cpu.eflags);
    w->cpu.idtr.limit = 0xfff;
}

/* --- debug and page-fault registers, NMI, host's view --- */

static void cr2_and_dr6(void **state)
{
    struct sworld *w = *state;
    struct x86_event ev = {.vector = X86_PF,
                           .kind = X86_EV_FAULT,
                           .has_error = true,
                           .error = 6,
                           .cr2 = 0xabcd,
                           .valid = true};
    assert_int_equal(x86_deliver(&w->cpu, &ev), X86_OK);
    assert_int_equal(w->cpu.cr2, 0xabcd);
    assert_int_equal(s_top(w, 0, 4), 6);

    ev =
        (struct x86_event){.vector = X86_DB, .kind = X86_EV_TRAP, .dr6 = X86_DR6_BS, .valid = true};
    w->cpu.dr7 |= X86_DR7_GD;
    assert_int_equal(x86_deliver(&w->cpu, &ev), X86_OK);
    assert_int_equal(w->cpu.dr6, X86_DR6_FIXED | X86_DR6_BS);
    assert_int_equal(w->cpu.dr7 & X86_DR7_GD, 0);
    assert_int_equal(s_top(w, 2, 4) & X86_FL_RF, 0);
}

static void nmi_blocks(void **state)
{
    struct sworld *w = *state;
    assert_int_equal(s_event(w, 2, X86_EV_SOFT, -1), X86_OK);
    assert_false(w->cpu.nmi_blocked);
    assert_int_equal(s_event(w, 2, X86_EV_NMI, -1), X86_OK);
    assert_true(w->cpu.nmi_blocked);
    assert_int_equal(x86_iret(&w->cpu, 4, 0), X86_OK);
    assert_false(w->cpu.nmi_blocked);
}

static void host_sees_first(void **state)
{
    struct sworld *w = *state;
    w->cpu.exc_exits = 1u << X86_GP;
    w->exception_answer = X86_EXIT;
    assert_int_equal(s_event(w, X86_GP, X86_EV_FAULT, 0), X86_EXIT);
    assert_int_equal(w->seen_exceptions, 1);
    assert_int_equal(w->cpu.rip, 0x12345);
    /* INT 13 is no exception */
    assert_int_equal(s_event(w, X86_GP, X86_EV_SOFT, -1), X86_OK);
    assert_int_equal(w->seen_exceptions, 1);
    /* an interrupt whose delivery meets an exception the host wants is not lost */
    s_protected(w, 0);
    s_gate(w, 0x40, 0xfff8, 0, A_SYS(14, 0), 0);
    assert_int_equal(s_event(w, 0x40, X86_EV_INTR, -1), X86_EXIT);
    assert_true(w->cpu.injected.valid);
    assert_int_equal(w->cpu.injected.vector, 0x40);
    w->cpu.exc_exits = 0;
}

/* --- real and virtual-8086 mode --- */

static void real_mode(void **state)
{
    struct sworld *w = *state;
    s_real(w);
    assert_int_equal(s_event(w, 0x21, X86_EV_SOFT, -1), X86_OK);
    assert_int_equal(s_at(w), 0x21);
    assert_int_equal(w->cpu.r[X86_RSP], 0x1000 - 6);
    assert_int_equal(s_top(w, 0, 2), 0x1236);
    assert_int_equal(s_top(w, 2, 2), X86_FL_IF | X86_FL_ONE);
    assert_int_equal(w->cpu.eflags & X86_FL_IF, 0);
    s_real(w); /* no error codes in real mode */
    assert_int_equal(s_event(w, X86_GP, X86_EV_FAULT, 0), X86_OK);
    assert_int_equal(w->cpu.r[X86_RSP], 0x1000 - 6);
    s_real(w);
    w->cpu.idtr.limit = 8 * 4 + 3; /* up to #DF */
    assert_int_equal(s_event(w, 0x21, X86_EV_SOFT, -1), X86_OK);
    assert_int_equal(s_at(w), X86_DF);
}

static void v86_to_ring0(void **state)
{
    struct sworld *w = *state;
    s_v86(w, 3);
    assert_int_equal(s_event(w, 0x21, X86_EV_SOFT, -1), X86_OK);
    assert_int_equal(s_at(w), 0x21);
    assert_int_equal(w->cpu.cpl, 0);
    assert_int_equal(w->cpu.eflags & X86_FL_VM, 0);
    assert_int_equal(w->cpu.r[X86_RSP], S_STACK + 0x1000 - 36);
    assert_int_equal(s_top(w, 0, 4), 0x1236);
    assert_int_equal(s_top(w, 2, 4) & X86_FL_VM, X86_FL_VM);
    assert_int_equal(s_top(w, 5, 4), 0x5000); /* ES, DS, FS, GS */
    assert_int_equal(s_top(w, 8, 4), 0x5500);
    assert_int_equal(w->cpu.seg[X86_DS].sel, 0);
    assert_true(w->cpu.seg[X86_DS].ar & X86_AR_UNUSABLE);
    /* and back */
    assert_int_equal(x86_iret(&w->cpu, 4, 0), X86_OK);
    assert_int_equal(w->cpu.mode & X86_MODE_V86, X86_MODE_V86);
    assert_int_equal(w->cpu.rip, 0x1236);
    assert_int_equal(w->cpu.seg[X86_GS].base, 0x55000);
    assert_int_equal(w->cpu.cpl, 3);
}

static void v86_int_needs_iopl(void **state)
{
    struct sworld *w = *state;
    s_v86(w, 0);
    assert_int_equal(s_event(w, 0x21, X86_EV_SOFT, -1), X86_OK);
    assert_int_equal(s_at(w), X86_GP);
    assert_int_equal(s_top(w, 0, 4), 0);
    s_v86(w, 0); /* INT3 does not */
    assert_int_equal(s_event(w, X86_BP, X86_EV_SOFT_EXC, -1), X86_OK);
    assert_int_equal(s_at(w), X86_BP);
}

static void v86_redirection(void **state)
{
    struct sworld *w = *state;
    for (unsigned iopl = 0; iopl < 4; iopl += 3) {
        s_v86(w, iopl);
        w->cpu.cr4 = X86_CR4_VME;
        w->cpu.eflags |= X86_FL_VIF;
        w->cpu.eflags &= ~X86_FL_IF;
        s_put(w, S_TSS + 102, 136, 2);
        assert_int_equal(s_event(w, 0x21, X86_EV_SOFT, -1), X86_OK);
        assert_int_equal(s_at(w), 0x21);
        assert_true(w->cpu.mode & X86_MODE_V86);
        assert_int_equal(w->cpu.r[X86_RSP], 0x1000 - 6);
        uint64_t fl = s_top(w, 2, 2);
        if (iopl == 3) {
            assert_int_equal(fl & X86_FL_IF, 0);
            assert_true(w->cpu.eflags & X86_FL_VIF);
        } else { /* VIF shown as IF, IOPL shown as 3 */
            assert_int_equal(fl & (X86_FL_IF | X86_FL_IOPL), X86_FL_IF | X86_FL_IOPL);
            assert_false(w->cpu.eflags & X86_FL_VIF);
        }
        /* bit set: as without VME */
        s_v86(w, iopl);
        w->cpu.cr4 = X86_CR4_VME;
        s_put(w, S_TSS + 136 - 32 + 0x21 / 8, 1u << (0x21 & 7), 1);
        assert_int_equal(s_event(w, 0x21, X86_EV_SOFT, -1), X86_OK);
        assert_int_equal(s_at(w), iopl == 3 ? 0x21 : X86_GP);
        assert_int_equal(w->cpu.cpl, 0);
        s_put(w, S_TSS + 136 - 32 + 0x21 / 8, 0, 1);
    }
}

/* --- long mode --- */

static void long_frame(void **state)
{
    struct sworld *w = *state;
    for (unsigned cpl = 0; cpl < 4; cpl += 3) {
        s_long(w, cpl);
        w->cpu.r[X86_RSP] += 5;
        uint64_t sp = w->cpu.r[X86_RSP];
        uint16_t cs = w->cpu.seg[X86_CS].sel, ss = w->cpu.seg[X86_SS].sel;
        assert_int_equal(s_event(w, X86_GP, X86_EV_FAULT, 0x10), X86_OK);
        assert_int_equal(s_at(w), X86_GP);
        assert_int_equal(w->cpu.cpl, 0);
        uint64_t top = cpl ? S_STACK + 0x1000 : sp & ~UINT64_C(15);
        assert_int_equal(w->cpu.r[X86_RSP], top - 48);
        assert_int_equal(s_top(w, 0, 8), 0x10);
        assert_int_equal(s_top(w, 1, 8), 0x12345);
        assert_int_equal(s_top(w, 2, 8), cs);
        assert_int_equal(s_top(w, 4, 8), sp);
        assert_int_equal(s_top(w, 5, 8), ss);
        assert_int_equal(w->cpu.seg[X86_SS].sel, cpl ? 0 : ss);
        /* IRETQ undoes it */
        w->cpu.r[X86_RSP] += 8;
        assert_int_equal(x86_iret(&w->cpu, 8, 0), X86_OK);
        assert_int_equal(w->cpu.cpl, cpl);
        assert_int_equal(w->cpu.r[X86_RSP], sp);
        assert_int_equal(w->cpu.rip, 0x12345);
        assert_int_equal(w->cpu.seg[X86_SS].sel, ss);
        assert_int_equal(x86_get_flags(&w->cpu) & X86_FL_RF, X86_FL_RF);
    }
}

static void long_ist(void **state)
{
    struct sworld *w = *state;
    for (unsigned ist = 1; ist < 8; ist++) {
        s_long(w, 0);
        s_gate(w, 0x40, G_CODE64, S_CODE + 0x400, A_SYS(14, 0), ist);
        assert_int_equal(s_event(w, 0x40, X86_EV_INTR, -1), X86_OK);
        assert_int_equal(w->cpu.r[X86_RSP], 0x90000 + 0x1000 * ist - 40);
    }
}

static void long_bad_gates(void **state)
{
    struct sworld *w = *state;
    for (unsigned type = 0; type < 32; type++) { /* bit 4: S */
        s_long(w, 0);
        s_gate(w, 0x40, G_CODE64, S_CODE + 0x400, 0x80 | type, 0);
        assert_int_equal(s_event(w, 0x40, X86_EV_INTR, -1), X86_OK);
        assert_int_equal(s_at(w), type == 14 || type == 15 ? 0x40 : X86_GP);
    }
    s_long(w, 0); /* not 64-bit code */
    s_gate(w, 0x40, G_CODE0, S_CODE + 0x400, 0x8e, 0);
    assert_int_equal(s_event(w, 0x40, X86_EV_INTR, -1), X86_OK);
    assert_int_equal(s_at(w), X86_GP);
    assert_int_equal(s_top(w, 0, 8), G_CODE0 | 1);
    s_long(w, 0); /* not canonical */
    s_gate(w, 0x40, G_CODE64, UINT64_C(0x800000000000), 0x8e, 0);
    assert_int_equal(s_event(w, 0x40, X86_EV_INTR, -1), X86_OK);
    assert_int_equal(s_at(w), X86_GP);
    assert_int_equal(s_top(w, 0, 8), 1);
    s_long(w, 3); /* stack not canonical: #SS, which has the same stack */
    s_put(w, S_TSS + 4, UINT64_C(0x800000000000), 8);
    s_gate(w, X86_STK, G_CODE64, S_CODE + 16 * X86_STK, 0x8e, 1);
    assert_int_equal(s_event(w, 0x40, X86_EV_INTR, -1), X86_OK);
    assert_int_equal(s_at(w), X86_STK);
    assert_int_equal(s_top(w, 0, 8), 1);
}

/* A kernel stack that is not mapped: #PF on the way, #PF again, #DF on an IST stack. */
static void long_stack_overflow(void **state)
{
    struct sworld *w = *state;
    s_long(w, 0);
    w->cpu.r[X86_RSP] = 0x40000000;
    s_gate(w, X86_DF, G_CODE64, S_CODE + 16 * X86_DF, 0x8e, 1);
    assert_int_equal(s_event(w, X86_PF, X86_EV_FAULT, 2), X86_OK);
    assert_int_equal(s_at(w), X86_DF);
    assert_int_equal(s_top(w, 0, 8), 0);
    assert_int_equal(w->cpu.cr2, 0x40000000 - 8);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(same_level_frame), T(inner_frame),         T(gate_matrix),         T(bad_inner_stack),
        T(tss_too_small),    T(double_fault_matrix), T(triple_fault),        T(fault_leaves_state),
        T(cr2_and_dr6),      T(nmi_blocks),          T(host_sees_first),     T(real_mode),
        T(v86_to_ring0),     T(v86_int_needs_iopl),  T(v86_redirection),     T(long_frame),
        T(long_ist),         T(long_bad_gates),      T(long_stack_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
