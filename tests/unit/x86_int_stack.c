/* Stack instructions: rSP as operand and base, ENTER's levels, PUSHA/POPA, POPF by privilege, stack
 * faults. */
#include "x86_harness.h"

static void push_pop_rsp(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    uint64_t sp = cpu->r[X86_RSP];
    H_OK(w, "\x54"); /* push rsp: the old value */
    assert_int_equal(s_get(w, (uint32_t)sp - 8, 8), sp);
    assert_int_equal(cpu->r[X86_RSP], sp - 8);
    s_put(w, (uint32_t)sp - 8, 0x71230, 8);
    H_OK(w, "\x5c"); /* pop rsp: the value read */
    assert_int_equal(cpu->r[X86_RSP], 0x71230);
    s_put(w, 0x71230, 0xabcd, 8);
    H_OK(w, "\x8f\x44\x24\x08"); /* pop [rsp+8]: the incremented rsp */
    assert_int_equal(cpu->r[X86_RSP], 0x71238);
    assert_int_equal(s_get(w, 0x71240, 8), 0xabcd);
    cpu->r[X86_RSP] = 0x71230;
    cpu->r[X86_RBX] = H_ABSENT;
    assert_int_equal(H_RUN(w, "\x8f\x03"), X86_PF); /* pop [rbx]: rsp is back */
    assert_int_equal(cpu->r[X86_RSP], 0x71230);
}

static void push_sizes(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    cpu->r[X86_RSP] = 0x70000;
    H_OK(w, "\x66\x6a\xff"); /* push word -1 */
    assert_int_equal(cpu->r[X86_RSP], 0x6fffe);
    cpu->r[X86_RSP] = 0x70000;
    H_OK(w, "\x68\x00\x00\x00\x80"); /* push sign-extended */
    assert_int_equal(s_get(w, 0x6fff8, 8), 0xffffffff80000000);
    s_real(w);
    cpu->r[X86_RSP] = 0xffff00000002;
    assert_int_equal(H_RUN(w, "\x66\x50"), X86_STK); /* offsets fffe to 10001 */
}

static void stack_wrap_16(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    s_real(w);
    cpu->r[X86_RSP] = 0x12340000;
    cpu->r[X86_RAX] = 0xbeef;
    H_OK(w, "\x50"); /* SP wraps, the rest of ESP stays */
    assert_int_equal(cpu->r[X86_RSP], 0x1234fffe);
    assert_int_equal(s_get(w, (uint32_t)cpu->seg[X86_SS].base + 0xfffe, 2), 0xbeef);
    cpu->r[X86_RSP] = 1;
    assert_int_equal(H_RUN(w, "\x50"), X86_STK); /* across the limit */
    assert_int_equal(cpu->r[X86_RSP], 1);
}

static void non_canonical_stack(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    cpu->r[X86_RSP] = UINT64_C(0x8000000000000000);
    assert_int_equal(H_RUN(w, "\x50"), X86_STK);
    assert_int_equal(H_RUN(w, "\x58"), X86_STK);
    assert_int_equal(H_RUN(w, "\xe8\x00\x00\x00\x00"), X86_STK);
    assert_int_equal(H_RUN(w, "\xc3"), X86_STK);
    assert_int_equal(H_RUN(w, "\xc8\x00\x00\x00"), X86_STK);
    assert_int_equal(cpu->r[X86_RSP], UINT64_C(0x8000000000000000));
}

/* ENTER with every level: frame pointers of the outer levels are copied, then the new one. */
static void enter_levels(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    for (unsigned level = 0; level < 40; level++) {
        unsigned copies = level % 32;
        char code[] = "\xc8\x30\x01\x00"; /* 0x130 bytes */
        code[3] = (char)level;
        cpu->r[X86_RSP] = 0x70000;
        cpu->r[X86_RBP] = 0x60000;
        for (unsigned i = 1; i < 32; i++)
            s_put(w, 0x60000 - 8 * i, 0x1000 + i, 8);
        assert_int_equal(h_run(w, code, 4), -1);
        assert_int_equal(s_get(w, 0x6fff8, 8), 0x60000);
        for (unsigned i = 1; i < copies; i++)
            assert_int_equal(s_get(w, 0x6fff8 - 8 * i, 8), 0x1000 + i);
        if (copies)
            assert_int_equal(s_get(w, 0x6fff8 - 8 * copies, 8), 0x6fff8);
        assert_int_equal(cpu->r[X86_RBP], 0x6fff8);
        assert_int_equal(cpu->r[X86_RSP], 0x6fff8 - 8 * copies - 0x130);
    }
    H_OK(w, "\xc9");
    assert_int_equal(cpu->r[X86_RSP], 0x70000);
    assert_int_equal(cpu->r[X86_RBP], 0x60000);
}

static void enter_faults(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    cpu->r[X86_RSP] = 0x70000;
    cpu->r[X86_RBP] = H_ABSENT + 0x1000; /* the copy of an outer frame pointer fails */
    assert_int_equal(H_RUN(w, "\xc8\x00\x00\x02"), X86_PF);
    assert_int_equal(cpu->r[X86_RSP], 0x70000);
    assert_int_equal(cpu->r[X86_RBP], H_ABSENT + 0x1000);
    s_real(w);
    cpu->r[X86_RSP] = 0x12340100;
    cpu->r[X86_RBP] = 0x56780300;
    H_OK(w, "\xc8\x10\x00\x00"); /* 16 bits: the upper halves stay */
    assert_int_equal(cpu->r[X86_RSP], 0x123400ee);
    assert_int_equal(cpu->r[X86_RBP], 0x567800fe);
}

static void pusha_popa(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    for (unsigned i = 0; i < 8; i++)
        cpu->r[i] = 0x11110000 + i;
    cpu->r[X86_RSP] = 0x70000;
    H_OK(w, "\x60");
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(s_get(w, 0x6fffc - 4 * i, 4), i == X86_RSP ? 0x70000 : 0x11110000 + i);
    for (unsigned i = 0; i < 8; i++)
        s_put(w, 0x6fffc - 4 * i, 0x22220000 + i, 4);
    H_OK(w, "\x61");
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(cpu->r[i], i == X86_RSP ? 0x70000 : 0x22220000 + i);
}

/* Which flags POPF changes: SDM Vol.2B table 4-16 and Vol.3A 21.2.3. */
static uint32_t popf_changes(struct sworld *w, unsigned size, uint32_t from, uint32_t to)
{
    struct x86_cpu *cpu = &w->cpu;
    uint64_t base = cpu->seg[X86_SS].base;
    unsigned native = (cpu->mode & X86_MODE_SIZE) == X86_MODE_16 ? 2 : 4;
    x86_set_flags(cpu, from);
    cpu->r[X86_RSP] = 0x800;
    s_put(w, (uint32_t)base + 0x800, to, 8);
    int v = size == native ? H_RUN(w, "\x9d") : H_RUN(w, "\x66\x9d");
    return v < 0 ? x86_get_flags(cpu) ^ from : UINT32_MAX;
}

#define PLAIN (X86_FL_ARITH | X86_FL_TF | X86_FL_DF | X86_FL_NT)

static void popf_protected(void **state)
{
    struct sworld *w = *state;
    for (unsigned cpl = 0; cpl < 4; cpl++) {
        for (unsigned iopl = 0; iopl < 4; iopl++) {
            uint32_t from = X86_FL_ONE | iopl << 12, want = PLAIN;
            s_protected(w, cpl);
            w->cpu.seg[X86_SS].base = 0; /* flat */
            if (cpl <= iopl)
                want |= X86_FL_IF;
            uint32_t iopl_change = cpl ? 0 : X86_FL_IOPL & ~from;
            assert_int_equal(popf_changes(w, 2, from, UINT32_MAX), want | iopl_change);
            assert_int_equal(popf_changes(w, 4, from, UINT32_MAX),
                             want | iopl_change | X86_FL_AC | X86_FL_ID);
        }
    }
}

static void popf_v86(void **state)
{
    struct sworld *w = *state;
    for (unsigned iopl = 0; iopl < 4; iopl++) {
        for (unsigned vme = 0; vme < 2; vme++) {
            uint32_t from = X86_FL_ONE | X86_FL_VM | iopl << 12, to = ~(uint32_t)X86_FL_TF;
            s_v86(w, iopl);
            w->cpu.cr4 = vme ? X86_CR4_VME : 0;
            uint32_t want = PLAIN & ~X86_FL_TF;
            want = iopl == 3 ? want | X86_FL_IF : vme ? want | X86_FL_VIF : UINT32_MAX;
            assert_int_equal(popf_changes(w, 2, from, to), want);
            want =
                iopl == 3 ? (PLAIN & ~X86_FL_TF) | X86_FL_IF | X86_FL_AC | X86_FL_ID : UINT32_MAX;
            assert_int_equal(popf_changes(w, 4, from, to), want);
            if (iopl < 3 &&
                vme) { /* #GP rather than single-step or enable with an interrupt pending */
                assert_int_equal(popf_changes(w, 2, from, X86_FL_TF), UINT32_MAX);
                assert_int_equal(popf_changes(w, 2, from | X86_FL_VIP, X86_FL_IF), UINT32_MAX);
            }
        }
    }
}

static void pushf_v86(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    s_v86(w, 0);
    assert_int_equal(H_RUN(w, "\x9c"), X86_GP);
    cpu->cr4 = X86_CR4_VME;
    cpu->eflags |= X86_FL_VIF;
    cpu->eflags &= ~X86_FL_IF;
    H_OK(w, "\x9c"); /* IF shows VIF, IOPL reads as 3 */
    uint64_t fl = s_top(w, 0, 2);
    assert_int_equal(fl & (X86_FL_IF | X86_FL_IOPL), X86_FL_IF | X86_FL_IOPL);
    assert_int_equal(H_RUN(w, "\x66\x9c"), X86_GP);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, h_setup, h_teardown)
    const struct CMUnitTest tests[] = {
        T(push_pop_rsp), T(push_sizes),   T(stack_wrap_16), T(non_canonical_stack),
        T(enter_levels), T(enter_faults), T(pusha_popa),    T(popf_protected),
        T(popf_v86),     T(pushf_v86),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
