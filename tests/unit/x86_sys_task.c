/* Task switches: by JMP, CALL, IRET and through task gates; busy bits, links, faults before and
 * after the switch. */
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

static void put_tss32(struct sworld *w)
{
    static const uint16_t sregs[6] = {G_DATA0, G_CODE0, G_DATA0, G_DATA0, 0, 0};
    uint32_t t = S_TSS2;
    memset(w->mem + t, 0, 0x68);
    s_put(w, t + 0x20, 0x5678, 4);
    s_put(w, t + 0x24, X86_FL_ONE | X86_FL_ZF, 4);
    for (unsigned i = 0; i < 8; i++)
        s_put(w, t + 0x28 + 4 * i, 0x1000 * (i + 1), 4);
    s_put(w, t + 0x28 + 4 * X86_RSP, 0x70000, 4);
    for (unsigned i = 0; i < 6; i++)
        s_put(w, t + 0x48 + 4 * i, sregs[i], 2);
    s_desc(w, G_TSS2, S_TSS2, 0x67, A_SYS(9, 0), 0);
    s_desc(w, G_TSS, S_TSS, 0x400, A_SYS(11, 0), 0);
    w->cpu.tr = (struct x86_seg){.sel = G_TSS, .base = S_TSS, .limit = 0x400, .ar = A_SYS(11, 0)};
}

static bool busy(const struct sworld *w, unsigned slot)
{
    return s_get(w, S_GDT + slot + 5, 1) & 2;
}

static enum x86_result go(struct sworld *w, enum x86_far kind)
{
    return x86_far_branch(&w->cpu, kind, G_TSS2, 0, 4, 0x12349);
}

static void jump(void **state)
{
    struct sworld *w = *state;
    put_tss32(w);
    w->cpu.r[X86_RBX] = 0xb0b;
    w->cpu.dr7 |= 3;
    assert_int_equal(go(w, X86_FAR_JMP), X86_OK);
    assert_false(w->cpu.injected.valid);
    assert_int_equal(w->cpu.rip, 0x5678);
    assert_int_equal(w->cpu.r[X86_RCX], 0x2000);
    assert_int_equal(w->cpu.r[X86_RSP], 0x70000);
    assert_int_equal(x86_get_flags(&w->cpu), X86_FL_ONE | X86_FL_ZF);
    assert_true(busy(w, G_TSS2));
    assert_false(busy(w, G_TSS));
    assert_int_equal(w->cpu.tr.sel, G_TSS2);
    assert_true(w->cpu.cr0 & X86_CR0_TS);
    assert_int_equal(w->cpu.dr7 & 3, 2);
    assert_int_equal(s_get(w, S_TSS + 0x20, 4), 0x12349);
    assert_int_equal(s_get(w, S_TSS + 0x34, 4), 0xb0b);
    assert_int_equal(s_get(w, S_TSS + 0x4c, 2), G_CODE0);
    /* back to itself: busy */
    assert_int_equal(go(w, X86_FAR_JMP), X86_EXC);
    assert_int_equal(w->cpu.exc.vector, X86_GP);
    assert_int_equal(w->cpu.exc.error, G_TSS2);
}

static void call_and_return(void **state)
{
    struct sworld *w = *state;
    put_tss32(w);
    uint64_t sp = w->cpu.r[X86_RSP];
    assert_int_equal(go(w, X86_FAR_CALL), X86_OK);
    assert_true(busy(w, G_TSS2) && busy(w, G_TSS));
    assert_true(w->cpu.eflags & X86_FL_NT);
    assert_int_equal(s_get(w, S_TSS2, 2), G_TSS);
    assert_int_equal(x86_iret(&w->cpu, 4, 0x9999), X86_OK);
    assert_int_equal(w->cpu.tr.sel, G_TSS);
    assert_int_equal(w->cpu.rip, 0x12349);
    assert_int_equal(w->cpu.r[X86_RSP], sp);
    assert_int_equal(w->cpu.eflags & X86_FL_NT, 0);
    assert_false(busy(w, G_TSS2));
    assert_true(busy(w, G_TSS));
    assert_int_equal(s_get(w, S_TSS2 + 0x20, 4), 0x9999);
    assert_int_equal(s_get(w, S_TSS2 + 0x24, 4) & X86_FL_NT, 0);
}

static void iret_to_idle_task(void **state)
{
    struct sworld *w = *state;
    put_tss32(w);
    s_put(w, S_TSS, G_TSS2, 2); /* link to a task that is not busy */
    w->cpu.eflags |= X86_FL_NT;
    assert_int_equal(x86_iret(&w->cpu, 4, 0), X86_EXC);
    assert_int_equal(w->cpu.exc.vector, X86_TS);
    assert_int_equal(w->cpu.exc.error, G_TSS2);
}

static void task_gate_interrupt(void **state)
{
    struct sworld *w = *state;
    for (unsigned with_error = 0; with_error < 2; with_error++) {
        s_protected(w, 3);
        put_tss32(w);
        s_gate(w, 0x40, G_TSS2, 0, A_SYS(5, 0), 0);
        assert_int_equal(
            s_event(w, 0x40, with_error ? X86_EV_FAULT : X86_EV_INTR, with_error ? 0x77 : -1),
            X86_OK);
        assert_int_equal(w->cpu.tr.sel, G_TSS2);
        assert_int_equal(w->cpu.cpl, 0);
        assert_int_equal(w->cpu.r[X86_RSP], with_error ? 0x70000 - 4 : 0x70000);
        if (with_error)
            assert_int_equal(s_top(w, 0, 4), 0x77);
        assert_true(w->cpu.eflags & X86_FL_NT);
        assert_int_equal(x86_iret(&w->cpu, 4, 0), X86_OK);
        assert_int_equal(w->cpu.cpl, 3);
        assert_int_equal(w->cpu.rip, 0x12345);
        assert_int_equal(!!(w->cpu.eflags & X86_FL_RF), with_error);
    }
    /* soft interrupts look at the gate's level */
    s_protected(w, 3);
    put_tss32(w);
    s_gate(w, 0x40, G_TSS2, 0, A_SYS(5, 0), 0);
    assert_int_equal(s_event(w, 0x40, X86_EV_SOFT, -1), X86_OK);
    assert_int_equal(s_at(w), X86_GP);
    assert_int_equal(s_top(w, 0, 4), 0x40 * 8 + 2);
}

/* Faults that belong to the old task: nothing has changed. */
static void refused(void **state)
{
    struct sworld *w = *state;
    struct {
        unsigned access, limit;
        int vector;
    } t[] = {
        {A_SYS(11, 0), 0x67, X86_GP}, {A_SYS(2, 0), 0x67, X86_GP}, {0x09, 0x67, X86_NP},
        {A_SYS(9, 0), 0x66, X86_TS},  {A_SYS(1, 0), 0x2a, X86_TS},
    };
    for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
        s_protected(w, 0);
        put_tss32(w);
        s_desc(w, G_TSS2, S_TSS2, t[i].limit, t[i].access, 0);
        assert_int_equal(go(w, X86_FAR_JMP), X86_EXC);
        assert_int_equal(w->cpu.exc.vector, t[i].vector);
        assert_int_equal(w->cpu.exc.error, G_TSS2);
        assert_int_equal(w->cpu.rip, 0x12345);
        assert_int_equal(w->cpu.tr.sel, G_TSS);
        assert_true(busy(w, G_TSS));
    }
    s_protected(w, 3); /* level */
    put_tss32(w);
    assert_int_equal(go(w, X86_FAR_JMP), X86_EXC);
    assert_int_equal(w->cpu.exc.vector, X86_GP);
}

/* Faults in the new task: the switch has happened, the fault waits at its first instruction. */
static void new_task_faults(void **state)
{
    struct sworld *w = *state;
    struct {
        uint32_t off;
        uint16_t sel;
        int vector;
        uint32_t error;
    } t[] = {
        {0x4c, G_DATA0, X86_TS, G_DATA0},
        {0x4c, 0, X86_TS, 0},
        {0x50, G_CODE0, X86_TS, G_CODE0},
        {0x50, G_DATA3 | 3, X86_TS, G_DATA3},
        {0x54, 0xfff8, X86_TS, 0xfff8},
        {0x60, G_DATA0, X86_TS, G_DATA0},
        {0x60, 4, X86_TS, 4},
    };
    for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
        s_protected(w, 0);
        put_tss32(w);
        s_put(w, S_TSS2 + t[i].off, t[i].sel, 2);
        assert_int_equal(go(w, X86_FAR_JMP), X86_OK);
        assert_true(w->cpu.injected.valid);
        assert_int_equal(w->cpu.injected.vector, t[i].vector);
        assert_int_equal(w->cpu.injected.error, t[i].error);
        assert_int_equal(w->cpu.rip, 0x5678);
        assert_int_equal(w->cpu.tr.sel, G_TSS2);
    }
}

static void to_v86_and_trap(void **state)
{
    struct sworld *w = *state;
    put_tss32(w);
    s_put(w, S_TSS2 + 0x24, X86_FL_ONE | X86_FL_VM, 4);
    s_put(w, S_TSS2 + 0x4c, 0x1234, 2);
    s_put(w, S_TSS2 + 0x64, 1, 2);
    assert_int_equal(go(w, X86_FAR_JMP), X86_OK);
    assert_false(w->cpu.injected.valid);
    assert_int_equal(w->cpu.cpl, 3);
    assert_true(w->cpu.mode & X86_MODE_V86);
    assert_int_equal(w->cpu.seg[X86_CS].base, 0x12340);
    assert_int_equal(w->cpu.pending_dr6, X86_DR6_BT);
}

static void tss16(void **state)
{
    static const uint16_t sregs[4] = {G_DATA0, G_CODE0, G_DATA0, G_DATA0};
    struct sworld *w = *state;
    put_tss32(w);
    s_desc(w, G_TSS2, S_TSS2, 0x2b, A_SYS(1, 0), 0);
    memset(w->mem + S_TSS2, 0, 0x2c);
    s_put(w, S_TSS2 + 0x0e, 0x5678, 2);
    s_put(w, S_TSS2 + 0x10, X86_FL_ONE, 2);
    s_put(w, S_TSS2 + 0x12 + 2 * X86_RDI, 0xd1d1, 2);
    for (unsigned i = 0; i < 4; i++)
        s_put(w, S_TSS2 + 0x22 + 2 * i, sregs[i], 2);
    assert_int_equal(go(w, X86_FAR_CALL), X86_OK);
    assert_false(w->cpu.injected.valid);
    assert_int_equal(w->cpu.rip, 0x5678);
    assert_int_equal(w->cpu.r[X86_RDI] & 0xffff, 0xd1d1);
    assert_int_equal(w->cpu.seg[X86_FS].sel, 0);
    assert_int_equal(x86_iret(&w->cpu, 4, 0x77), X86_OK);
    assert_int_equal(w->cpu.rip, 0x12349);
    assert_int_equal(s_get(w, S_TSS2 + 0x0e, 2), 0x77);
}

static void io_bitmap(void **state)
{
    struct sworld *w = *state;
    s_protected(w, 3);
    s_put(w, S_TSS + 102, 0x100, 2);
    memset(w->mem + S_TSS + 0x100, 0xff, 0x100);
    s_put(w, S_TSS + 0x100 + 0x60 / 8, 0xf0, 1);
    w->cpu.tr.limit = 0x100 + 0x60 / 8 + 1;
    for (unsigned port = 0x60; port < 0x68; port++)
        for (unsigned size = 1; size <= 4; size *= 2)
            assert_int_equal(x86_tss_io_check(&w->cpu, (uint16_t)port, size),
                             port + size <= 0x64 ? X86_OK : X86_EXC);
    assert_int_equal(x86_tss_io_check(&w->cpu, 0x68, 1),
                     X86_EXC); /* second byte beyond the limit */
    s_put(w, S_TSS + 0x100 + 0x68 / 8, 0, 1);
    assert_int_equal(x86_tss_io_check(&w->cpu, 0x68, 1), X86_EXC);
    w->cpu.tr.limit++;
    assert_int_equal(x86_tss_io_check(&w->cpu, 0x68, 1), X86_OK);
    w->cpu.tr.ar = A_SYS(3, 0); /* a 16-bit TSS has no bitmap */
    assert_int_equal(x86_tss_io_check(&w->cpu, 0x60, 1), X86_EXC);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(jump),      T(call_and_return), T(iret_to_idle_task), T(task_gate_interrupt),
        T(refused),   T(new_task_faults), T(to_v86_and_trap),   T(tss16),
        T(io_bitmap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
