/* Limits: division, BOUND, decimal instructions, branch targets outside CS or not canonical. */
#include "x86_harness.h"

static int divide(struct sworld *w, const char *code, unsigned n, uint64_t dx, uint64_t ax,
                  uint64_t by)
{
    w->cpu.r[X86_RDX] = dx;
    w->cpu.r[X86_RAX] = ax;
    w->cpu.r[X86_RCX] = by;
    return h_run(w, code, n);
}
#define DIVIDE(code, dx, ax, by) divide(w, code, sizeof(code) - 1, dx, ax, by)

static void division(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    const uint64_t min64 = UINT64_C(0x8000000000000000);
    assert_int_equal(DIVIDE("\x48\xf7\xf1", 0, 1, 0), X86_DE);
    assert_int_equal(DIVIDE("\x48\xf7\xf1", 5, 1, 5), X86_DE); /* quotient 2^64 */
    assert_int_equal(DIVIDE("\x48\xf7\xf1", 4, UINT64_MAX, 5), -1);
    assert_int_equal(cpu->r[X86_RAX], UINT64_MAX);
    assert_int_equal(cpu->r[X86_RDX], 4);
    assert_int_equal(DIVIDE("\x48\xf7\xf9", UINT64_MAX, min64, UINT64_MAX), X86_DE); /* -min / -1 */
    assert_int_equal(DIVIDE("\x48\xf7\xf9", UINT64_MAX, min64, 1), -1);
    assert_int_equal(cpu->r[X86_RAX], min64);
    assert_int_equal(DIVIDE("\x48\xf7\xf9", 0, min64, UINT64_MAX), -1); /* 2^63 / -1 fits */
    assert_int_equal(cpu->r[X86_RAX], min64);
    assert_int_equal(DIVIDE("\x48\xf7\xf9", 0, min64, 1), X86_DE);
    assert_int_equal(DIVIDE("\x48\xf7\xf9", min64, 0, UINT64_MAX), X86_DE);
    assert_int_equal(DIVIDE("\x48\xf7\xf9", UINT64_MAX, (uint64_t)-7, 2), -1); /* truncates to 0 */
    assert_int_equal(cpu->r[X86_RAX], -3);
    assert_int_equal(cpu->r[X86_RDX], -1);
    assert_int_equal(DIVIDE("\xf7\xf9", 0xffffffff, 0x80000000, 0xffffffff), X86_DE);
    assert_int_equal(DIVIDE("\xf7\xf9", 0x80000000, 0, 0xffffffff), X86_DE);
    assert_int_equal(DIVIDE("\x66\xf7\xf9", 0x8000, 0, 0xffff), X86_DE);
    assert_int_equal(DIVIDE("\xf6\xf9", 0, 0xff80, 0xff), X86_DE); /* -128 / -1 */
    assert_int_equal(DIVIDE("\xf6\xf9", 0, 0xff80, 1), -1);
    assert_int_equal(cpu->r[X86_RAX], 0x80);
    assert_int_equal(DIVIDE("\xf6\xf1", 0, 0xff, 0), X86_DE);
    assert_int_equal(DIVIDE("\xf6\xf1", 0, 0x1ff, 2), -1);
    assert_int_equal(cpu->r[X86_RAX], 0x1ff);
    assert_int_equal(DIVIDE("\xf6\xf1", 0, 0x200, 2), X86_DE);
    assert_int_equal(cpu->r[X86_RAX], 0x200);
}

static void bounds(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    s_put(w, H_DATA, (uint32_t)-5, 4);
    s_put(w, H_DATA + 4, 7, 4);
    cpu->r[X86_RBX] = H_DATA;
    static const int32_t inside[] = {-5, 0, 7}, outside[] = {-6, 8, INT32_MIN, INT32_MAX};
    for (unsigned i = 0; i < 3; i++) {
        cpu->r[X86_RAX] = (uint32_t)inside[i];
        H_OK(w, "\x62\x03");
    }
    for (unsigned i = 0; i < 4; i++) {
        cpu->r[X86_RAX] = (uint32_t)outside[i];
        assert_int_equal(H_RUN(w, "\x62\x03"), X86_BR);
    }
    assert_int_equal(H_RUN(w, "\x62\xc3"), X86_UD);
}

static void decimal(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    assert_int_equal(H_RUN(w, "\xd4\x00"), X86_DE);
    cpu->r[X86_RAX] = 0x79;
    cpu->r[X86_RBX] = 0x35;
    H_OK(w, "\x00\xd8"); /* 79 + 35 = 114 */
    H_OK(w, "\x27");
    assert_int_equal(cpu->r[X86_RAX], 0x14);
    assert_true(x86_cf(cpu));
    H_OK(w, "\x28\xd8"); /* 14 - 35 = -21 */
    H_OK(w, "\x2f");
    assert_int_equal(cpu->r[X86_RAX], 0x79);
    assert_true(x86_cf(cpu));
    h_long(w);
    assert_int_equal(H_RUN(w, "\x27"), X86_UD);
    assert_int_equal(H_RUN(w, "\xd4\x0a"), X86_UD);
}

static void targets_64(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    uint64_t sp = cpu->r[X86_RSP];
    cpu->r[X86_RAX] = UINT64_C(0x0000800000000000);
    assert_int_equal(H_RUN(w, "\xff\xe0"), X86_GP);
    assert_int_equal(H_RUN(w, "\xff\xd0"), X86_GP);
    s_put(w, (uint32_t)sp, cpu->r[X86_RAX], 8);
    assert_int_equal(H_RUN(w, "\xc3"), X86_GP);
    assert_int_equal(cpu->r[X86_RSP], sp);
    cpu->r[X86_RAX] = UINT64_C(0xffff800000000000);
    assert_int_equal(H_RUN(w, "\xff\xd0"), -1);
    assert_int_equal(cpu->rip, cpu->r[X86_RAX]);
    assert_int_equal(s_top(w, 0, 8), H_CODE + 2);
    assert_int_equal(H_RUN(w, "\xc2\x08\x00"), -1);
    assert_int_equal(cpu->rip, H_CODE + 2);
    assert_int_equal(cpu->r[X86_RSP], sp + 8);
    assert_int_equal(H_RUN(w, "\x66\xeb\x10"), -1); /* 66 is ignored: rip is not cut to 16 bits */
    assert_int_equal(cpu->rip, H_CODE + 0x13);
}

static void targets_limit(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    cpu->seg[X86_CS].limit = 0x8fff;
    x86_seg_refresh(cpu, &cpu->seg[X86_CS]);
    x86_mode_refresh(cpu);
    uint64_t sp = cpu->r[X86_RSP];
    assert_int_equal(H_RUN(w, "\xe9\xfa\x0f\x00\x00"), -1); /* 8fff */
    assert_int_equal(H_RUN(w, "\xe9\xfb\x0f\x00\x00"), X86_GP);
    assert_int_equal(H_RUN(w, "\xe8\xfb\x0f\x00\x00"), X86_GP);
    assert_int_equal(cpu->r[X86_RSP], sp);
    cpu->cc = X86_CC_ZF;
    assert_int_equal(H_RUN(w, "\x0f\x84\xfa\x0f\x00\x00"), X86_GP);
    assert_int_equal(H_RUN(w, "\x0f\x85\xfa\x0f\x00\x00"), -1); /* not taken: no check */
    cpu->r[X86_RCX] = 2;
    assert_int_equal(H_RUN(w, "\xe2\x80"), -1);
    assert_int_equal(cpu->r[X86_RCX], 1);
    assert_int_equal(cpu->rip, H_CODE + 2 - 0x80);
    assert_int_equal(H_RUN(w, "\x66\xe9\x00\x90"), -1); /* IP is cut to 16 bits */
    assert_int_equal(cpu->rip, 0x1004);
}

static void counters(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    cpu->r[X86_RCX] = UINT64_C(0x100000001);
    assert_int_equal(H_RUN(w, "\x67\xe2\x10"),
                     -1); /* ECX counts; zero: not taken, upper half cleared */
    assert_int_equal(cpu->rip, H_CODE + 3);
    assert_int_equal(cpu->r[X86_RCX], 0);
    assert_int_equal(H_RUN(w, "\xe2\x10"), -1); /* wraps */
    assert_int_equal(cpu->rip, H_CODE + 0x12);
    assert_int_equal(cpu->r[X86_RCX], UINT64_MAX);
    cpu->r[X86_RCX] = UINT64_C(0x100000000);
    assert_int_equal(H_RUN(w, "\x67\xe3\x10"), -1); /* jecxz */
    assert_int_equal(cpu->rip, H_CODE + 0x13);
    assert_int_equal(H_RUN(w, "\xe3\x10"), -1);
    assert_int_equal(cpu->rip, H_CODE + 2);
    cpu->cc = X86_CC_ZF;
    assert_int_equal(H_RUN(w, "\xe0\x10"), -1); /* loopne with ZF */
    assert_int_equal(cpu->rip, H_CODE + 2);
    assert_int_equal(H_RUN(w, "\xe1\x10"), -1);
    assert_int_equal(cpu->rip, H_CODE + 0x12);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, h_setup, h_teardown)
    const struct CMUnitTest tests[] = {
        T(division), T(bounds), T(decimal), T(targets_64), T(targets_limit), T(counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
