/* HPET: identity, counter, one-shot and periodic comparators, level-triggered status, legacy
 * replacement. */
#include "test.h"

#include "devices/hpet.h"

static struct test_line irq;
static struct vmi_hpet hpet;
static bool legacy;

static void on_legacy(void *opaque, bool on)
{
    (void)opaque;
    legacy = on;
}

static int setup(void **state)
{
    (void)state;
    memset(&irq, 0, sizeof irq);
    vmi_hpet_init(&hpet, TEST_LINE(&irq), on_legacy);
    return 0;
}

static void identity_and_counter(void **state)
{
    (void)state;
    assert_int_equal(vmi_hpet_read(&hpet, 4, 4, 0), 10000000);
    assert_int_equal(vmi_hpet_read(&hpet, 0, 4, 0) >> 8 & 31, 2); /* three timers */
    assert_int_equal(vmi_hpet_read(&hpet, 0xf0, 8, 5000), 0);     /* stopped */
    vmi_hpet_write(&hpet, 0x10, 4, 1, 1000);
    assert_int_equal(vmi_hpet_read(&hpet, 0xf0, 8, 2000), 100);
    vmi_hpet_write(&hpet, 0xf4, 4, 7, 2000);
    assert_int_equal(vmi_hpet_read(&hpet, 0xf0, 8, 2010), 7ull << 32 | 101);
    vmi_hpet_write(&hpet, 0x10, 4, 0, 3000);
    assert_int_equal(vmi_hpet_read(&hpet, 0xf0, 4, 9000), 200);
}

static void one_shot(void **state)
{
    (void)state;
    vmi_hpet_write(&hpet, 0x10, 4, 1, 0);
    vmi_hpet_write(&hpet, 0x120, 4, 0x4 | 16 << 9, 0);
    vmi_hpet_write(&hpet, 0x128, 4, 50, 0);
    vmi_hpet_write(&hpet, 0x12c, 4, 0, 0);
    assert_int_equal(vmi_hpet_deadline(&hpet), 500);
    vmi_hpet_tick(&hpet, 500);
    assert_int_equal(irq.rises, 1);
    assert_int_equal(irq.number, 16);
    assert_int_equal(vmi_hpet_deadline(&hpet), VMI_NEVER);
}

static void periodic_with_legacy(void **state)
{
    unsigned n;

    (void)state;
    vmi_hpet_write(&hpet, 0x10, 4, 3, 0);
    assert_true(legacy);
    vmi_hpet_write(&hpet, 0x100, 4, 0x4c, 0); /* periodic, enabled, set the accumulator */
    vmi_hpet_write(&hpet, 0x108, 8, 10000, 0);
    vmi_hpet_write(&hpet, 0x108, 8, 10000, 0);
    for (n = 1; n <= 4; n++) {
        assert_int_equal(vmi_hpet_deadline(&hpet), 100000 * n);
        vmi_hpet_tick(&hpet, 100000 * n + 30);
        assert_int_equal(irq.rises, n);
        assert_int_equal(irq.number, 2);
    }
    vmi_hpet_write(&hpet, 0x10, 4, 1, 0);
    assert_false(legacy);
}

static void level_status(void **state)
{
    (void)state;
    vmi_hpet_write(&hpet, 0x10, 4, 1, 0);
    vmi_hpet_write(&hpet, 0x140, 4, 0x106 | 17 << 9, 0); /* 32 bits, level */
    vmi_hpet_write(&hpet, 0x148, 4, 10, 0);
    vmi_hpet_tick(&hpet, 100);
    assert_true(irq.level);
    assert_int_equal(vmi_hpet_read(&hpet, 0x20, 4, 100), 4);
    vmi_hpet_write(&hpet, 0x20, 4, 4, 100);
    assert_false(irq.level);
}

static void any_writes(void **state)
{
    uint32_t seed = 11, n;
    uint64_t now = 0;

    (void)state;
    for (n = 0; n < 300000; n++) {
        unsigned width = seed >> 31 ? 8 : 4;

        seed = seed * 1103515245 + 12345;
        now += seed >> 14;
        vmi_hpet_write(&hpet, (seed >> 20 & 0x1ff) & ~(width - 1), width, (uint64_t)seed * seed,
                       now);
        vmi_hpet_read(&hpet, (seed >> 10 & 0x3ff) & ~(width - 1), width, now);
        vmi_hpet_tick(&hpet, now);
        assert_true(vmi_hpet_deadline(&hpet) > now);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(identity_and_counter, setup),
        cmocka_unit_test_setup(one_shot, setup),
        cmocka_unit_test_setup(periodic_with_legacy, setup),
        cmocka_unit_test_setup(level_status, setup),
        cmocka_unit_test_setup(any_writes, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
