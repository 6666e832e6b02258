/* SYSCALL, SYSRET, SYSENTER, SYSEXIT: state after each, and when they fault. */
#include "x86_sys_world.h"

extern x86_handler *const x86_t_SYSCALL[1], *const x86_t_SYSRET[1], *const x86_t_SYSENTER[1],
                                                                        *const x86_t_SYSEXIT[1];

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

/* Executes the two-byte instruction at 0x5000; -1 or the vector it raised. */
static int execute(struct sworld *w, x86_handler *const *handler, unsigned size)
{
    struct x86_uop u = {
        .ip = 2 << 12, .rem = 1, .aux = size == 8 ? 3 : 2, .base = X86_NOREG, .index = X86_NOREG};
    w->cpu.r[X86_RIPBASE] = 0x5000;
    w->cpu.leave = X86_LEAVE_LOOKUP;
    assert_null(handler[0](&w->cpu, &u));
    return w->cpu.leave == X86_LEAVE_EXC ? w->cpu.exc.vector : -1;
}

static void system_call(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    s_long(w, 3);
    cpu->msr.star = (uint64_t)0x23 << 48 | (uint64_t)0x10 << 32;
    cpu->msr.lstar = UINT64_C(0xffff800000001000);
    cpu->msr.fmask = X86_FL_IF | X86_FL_TF;
    cpu->eflags |= X86_FL_RF | X86_FL_AC;
    uint64_t sp = cpu->r[X86_RSP];
    assert_int_equal(execute(w, x86_t_SYSCALL, 4), -1);
    assert_int_equal(cpu->cpl, 0);
    assert_int_equal(cpu->rip, UINT64_C(0xffff800000001000));
    assert_int_equal(cpu->r[X86_RCX], 0x5002);
    assert_int_equal(cpu->r[X86_R11], X86_FL_IF | X86_FL_CF | X86_FL_ONE | X86_FL_AC);
    assert_int_equal(x86_get_flags(cpu), X86_FL_CF | X86_FL_ONE | X86_FL_AC);
    assert_int_equal(cpu->r[X86_RSP], sp);
    assert_int_equal(cpu->seg[X86_CS].sel, 0x10);
    assert_int_equal(cpu->seg[X86_SS].sel, 0x18);
    uint16_t mode = cpu->mode;
    x86_mode_refresh(cpu); /* the short way and the full computation agree */
    assert_int_equal(cpu->mode, mode);
    assert_int_equal(cpu->seg[X86_CS].ar, 0xa09b);
    assert_int_equal(cpu->seg[X86_SS].ar, 0xc093);

    assert_int_equal(execute(w, x86_t_SYSRET, 8), -1);
    assert_int_equal(cpu->cpl, 3);
    assert_int_equal(cpu->rip, 0x5002);
    assert_int_equal(x86_get_flags(cpu), X86_FL_IF | X86_FL_CF | X86_FL_ONE | X86_FL_AC);
    assert_int_equal(cpu->seg[X86_CS].sel, 0x33);
    assert_int_equal(cpu->seg[X86_SS].sel, 0x2b);
    assert_true(cpu->mode & X86_MODE_64);
    mode = cpu->mode;
    x86_mode_refresh(cpu);
    assert_int_equal(cpu->mode, mode);
    assert_int_equal(execute(w, x86_t_SYSRET, 8), X86_GP); /* level 3 */
}

static void sysret_to_compatibility(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    s_long(w, 0);
    cpu->msr.star = (uint64_t)0x23 << 48;
    cpu->r[X86_RCX] = UINT64_C(0x123456789);
    cpu->r[X86_R11] = X86_FL_ONE;
    assert_int_equal(execute(w, x86_t_SYSRET, 4), -1);
    assert_int_equal(cpu->rip, 0x23456789);
    assert_int_equal(cpu->seg[X86_CS].sel, 0x23);
    assert_int_equal(cpu->mode & (X86_MODE_SIZE | X86_MODE_LM), X86_MODE_32 | X86_MODE_LM);
    assert_int_equal(execute(w, x86_t_SYSCALL, 4), X86_UD); /* compatibility mode */
    s_long(w, 0);
    cpu->r[X86_RCX] = UINT64_C(0x800000000000);
    assert_int_equal(execute(w, x86_t_SYSRET, 8), X86_GP);
    cpu->efer &= ~(uint64_t)X86_EFER_SCE;
    assert_int_equal(execute(w, x86_t_SYSCALL, 8), X86_UD);
    assert_int_equal(execute(w, x86_t_SYSRET, 8), X86_UD);
}

static void system_enter(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    for (unsigned long_mode = 0; long_mode < 2; long_mode++) {
        if (long_mode)
            s_long(w, 3);
        else
            s_protected(w, 3);
        cpu->msr.sysenter_cs = 0;
        assert_int_equal(execute(w, x86_t_SYSENTER, 4), X86_GP);
        cpu->msr.sysenter_cs = 0x13;
        cpu->msr.sysenter_eip = UINT64_C(0xffff800000001000);
        cpu->msr.sysenter_esp = UINT64_C(0xffff800000002000);
        assert_int_equal(execute(w, x86_t_SYSENTER, 4), -1);
        assert_int_equal(cpu->cpl, 0);
        assert_int_equal(cpu->seg[X86_CS].sel, 0x10);
        assert_int_equal(cpu->seg[X86_SS].sel, 0x18);
        assert_int_equal(cpu->eflags & X86_FL_IF, 0);
        assert_int_equal(cpu->rip, long_mode ? cpu->msr.sysenter_eip : 0x1000);
        assert_int_equal(cpu->r[X86_RSP], long_mode ? cpu->msr.sysenter_esp : 0x2000);
        assert_int_equal(!(cpu->mode & X86_MODE_64), !long_mode);

        cpu->r[X86_RDX] = 0x7000;
        cpu->r[X86_RCX] = 0x8000;
        assert_int_equal(execute(w, x86_t_SYSEXIT, long_mode ? 8 : 4), -1);
        assert_int_equal(cpu->cpl, 3);
        assert_int_equal(cpu->rip, 0x7000);
        assert_int_equal(cpu->r[X86_RSP], 0x8000);
        assert_int_equal(cpu->seg[X86_CS].sel, long_mode ? 0x33 : 0x23);
        assert_int_equal(cpu->seg[X86_SS].sel, long_mode ? 0x3b : 0x2b);
        assert_int_equal(execute(w, x86_t_SYSEXIT, 4), X86_GP);
    }
    s_real(w);
    assert_int_equal(execute(w, x86_t_SYSENTER, 4), X86_GP);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(system_call),
        T(sysret_to_compatibility),
        T(system_enter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
