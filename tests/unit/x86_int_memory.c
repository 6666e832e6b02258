/* Memory operands with a life of their own: bit strings, atomic operations across pages and on
 * devices, restarts. */
#include "x86_harness.h"

static void bit_strings(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    static const int64_t number[] = {0, 1, 31, 32, 63, 64, -1, -64, -65, 0x12345, -0x12345};
    for (unsigned i = 0; i < sizeof number / sizeof *number; i++) {
        int64_t n = number[i];
        uint32_t byte = (uint32_t)(H_DATA + (n >> 3)), bit = (unsigned)n & 7;
        cpu->r[X86_RBX] = H_DATA;
        cpu->r[X86_RAX] = (uint64_t)n;
        s_put(w, byte, 0, 1);
        cpu->cc = X86_CC_CF;
        H_OK(w, "\x48\x0f\xa3\x03"); /* bt [rbx], rax */
        assert_false(x86_cf(cpu));
        H_OK(w, "\xf0\x48\x0f\xab\x03"); /* lock bts */
        assert_false(x86_cf(cpu));
        assert_int_equal(s_get(w, byte, 1), 1u << bit);
        H_OK(w, "\x48\x0f\xbb\x03"); /* btc */
        assert_true(x86_cf(cpu));
        assert_int_equal(s_get(w, byte, 1), 0);
        s_put(w, byte, 0xff, 1);
        H_OK(w, "\x0f\xb3\x03"); /* btr [rbx], eax: 32-bit number */
        assert_true(x86_cf(cpu));
        assert_int_equal(s_get(w, byte, 1), 0xff & ~(1u << bit));
    }
    cpu->r[X86_RBX] = H_DATA;
    cpu->r[X86_RAX] = 0xffff8000; /* 16 bits: -32768, 4096 bytes down */
    s_put(w, H_DATA - 4096, 1, 1);
    H_OK(w, "\x66\x0f\xa3\x03");
    assert_true(x86_cf(cpu));
    s_put(w, H_DATA, 0x100, 2);
    H_OK(w, "\x0f\xba\x23\x28"); /* bt dword [rbx], 40: an immediate stays inside */
    assert_true(x86_cf(cpu));
}

static void compare_exchange_8(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    cpu->r[X86_RDI] = H_DATA + 4093; /* across pages too */
    s_put(w, H_DATA + 4093, UINT64_C(0x1122334455667788), 8);
    cpu->r[X86_RAX] = UINT64_C(0xffffffff55667788);
    cpu->r[X86_RDX] = UINT64_C(0xffffffff11223344);
    cpu->r[X86_RBX] = 0xbbbbbbbb;
    cpu->r[X86_RCX] = 0xcccccccc;
    H_OK(w, "\xf0\x0f\xc7\x0f");
    assert_true(cpu->cc & X86_CC_ZF);
    assert_int_equal(s_get(w, H_DATA + 4093, 8), UINT64_C(0xccccccccbbbbbbbb));
    assert_int_equal(h_device.locks, 101); /* locked and unlocked once */
    H_OK(w, "\x0f\xc7\x0f");
    assert_false(cpu->cc & X86_CC_ZF);
    assert_int_equal(cpu->r[X86_RAX], 0xbbbbbbbb);
    assert_int_equal(cpu->r[X86_RDX], 0xcccccccc);
}

static void compare_exchange_16(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    cpu->r[X86_RDI] = H_DATA + 8;
    assert_int_equal(H_RUN(w, "\xf0\x48\x0f\xc7\x0f"), X86_GP); /* must be aligned */
    cpu->r[X86_RDI] = H_DATA;
    s_put(w, H_DATA, 5, 8);
    s_put(w, H_DATA + 8, 6, 8);
    cpu->r[X86_RAX] = 5;
    cpu->r[X86_RDX] = 6;
    cpu->r[X86_RBX] = 7;
    cpu->r[X86_RCX] = 8;
    H_OK(w, "\xf0\x48\x0f\xc7\x0f");
    assert_true(cpu->cc & X86_CC_ZF);
    assert_int_equal(s_get(w, H_DATA, 8), 7);
    assert_int_equal(s_get(w, H_DATA + 8, 8), 8);
    H_OK(w, "\x48\x0f\xc7\x0f");
    assert_false(cpu->cc & X86_CC_ZF);
    assert_int_equal(cpu->r[X86_RAX], 7);
    assert_int_equal(cpu->r[X86_RDX], 8);
}

/* An access that the host must answer first leaves nothing behind, locks included. */
static void device_restart(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    cpu->r[X86_RBX] = H_DEVICE;
    cpu->r[X86_RAX] = 5;
    h_device.value = 10;
    for (unsigned i = 0; i < 2; i++) {
        uint16_t cc = cpu->cc;
        h_device.exits = 1;
        assert_int_equal(H_RUN(w, "\xf0\x0f\xc1\x03"), -1); /* lock xadd [rbx], eax */
        assert_int_equal(cpu->leave, X86_LEAVE_EXIT);
        assert_int_equal(cpu->rip, H_CODE);
        assert_int_equal(cpu->r[X86_RAX], 5);
        assert_int_equal(cpu->cc, cc);
        assert_int_equal(h_device.value, 10);
    }
    assert_int_equal(h_device.locks, 202);
    H_OK(w, "\xf0\x0f\xc1\x03");
    assert_int_equal(cpu->r[X86_RAX], 10);
    assert_int_equal(h_device.value, 15);
    H_OK(w, "\x87\x03"); /* xchg: implicitly locked */
    assert_int_equal(cpu->r[X86_RAX], 15);
    assert_int_equal(h_device.locks, 404);
}

static void rmw_faults(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    cpu->r[X86_RBX] = H_ABSENT - 2;
    h_device.value = 0;
    assert_int_equal(H_RUN(w, "\x83\x03\x01"), X86_PF); /* add: a write fault, on its second page */
    assert_int_equal(cpu->exc.error & X86_PF_W, X86_PF_W);
    assert_int_equal(cpu->exc.cr2, H_ABSENT);
    assert_int_equal(h_device.writes, 0);
    cpu->r[X86_RBX] = H_ABSENT;
    assert_int_equal(H_RUN(w, "\x83\x3b\x01"), X86_PF); /* cmp only reads */
    assert_int_equal(cpu->exc.error & X86_PF_W, 0);
    cpu->r[X86_RAX] = 3;
    assert_int_equal(H_RUN(w, "\x0f\xb1\x0b"), X86_PF); /* cmpxchg writes whatever it finds */
    assert_int_equal(cpu->exc.error & X86_PF_W, X86_PF_W);
    assert_int_equal(cpu->r[X86_RAX], 3);
}

static void lock_prefix(void **state)
{
    struct sworld *w = *state;
    h_long(w);
    w->cpu.r[X86_RBX] = H_DATA;
    assert_int_equal(H_RUN(w, "\xf0\x01\xc0"), X86_UD);     /* register */
    assert_int_equal(H_RUN(w, "\xf0\x03\x03"), X86_UD);     /* memory is the source */
    assert_int_equal(H_RUN(w, "\xf0\x39\x03"), X86_UD);     /* cmp */
    assert_int_equal(H_RUN(w, "\xf0\x0f\xa3\x03"), X86_UD); /* bt */
    assert_int_equal(H_RUN(w, "\xf0\x8b\x03"), X86_UD);     /* mov */
    H_OK(w, "\xf0\x01\x03");
}

static void high_bytes(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    cpu->r[X86_RAX] = 0x1122;
    cpu->r[X86_RBX] = 0x3344;
    H_OK(w, "\x88\xe3"); /* mov bl, ah */
    assert_int_equal(cpu->r[X86_RBX], 0x3311);
    H_OK(w, "\x00\xff"); /* add bh, bh */
    assert_int_equal(cpu->r[X86_RBX], 0x6611);
    cpu->r[X86_RSP] = 0x77;
    H_OK(w, "\x40\x88\xe3"); /* with REX: mov bl, spl */
    assert_int_equal(cpu->r[X86_RBX], 0x6677);
}

static void random_numbers(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = h_long(w);
    cpu->r[X86_RAX] = UINT64_MAX;
    H_OK(w, "\x66\x0f\xc7\xf0"); /* rdrand ax */
    assert_int_equal(cpu->r[X86_RAX], UINT64_C(0xffffffffffffcdef));
    assert_int_equal(cpu->cc, X86_CC_CF);
    H_OK(w, "\x0f\xc7\xf8"); /* rdseed eax */
    assert_int_equal(cpu->r[X86_RAX], 0x89abcdef);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, h_setup, h_teardown)
    const struct CMUnitTest tests[] = {
        T(bit_strings), T(compare_exchange_8), T(compare_exchange_16), T(device_restart),
        T(rmw_faults),  T(lock_prefix),        T(high_bytes),          T(random_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
