/* 8254: the six modes, latches, read-back, BCD, gates, port 61, deadlines. */
#include "test.h"

#include "devices/pit.h"

static struct test_line irq;
static struct vmi_pit pit;

/* The time at which `ticks` have passed. */
static uint64_t at(uint64_t ticks)
{
    return vmi_scale_up(ticks, VMI_NS, VMI_PIT_HZ);
}

static int setup(void **state)
{
    (void)state;
    memset(&irq, 0, sizeof irq);
    vmi_pit_init(&pit, TEST_LINE(&irq), 0);
    return 0;
}

static void program(unsigned channel, unsigned mode, unsigned count, uint64_t now)
{
    vmi_pit_write(&pit, 3, (uint8_t)(channel << 6 | 0x30 | mode << 1), now);
    vmi_pit_write(&pit, channel, (uint8_t)count, now);
    vmi_pit_write(&pit, channel, (uint8_t)(count >> 8), now);
}

static unsigned read_count(unsigned channel, uint64_t now)
{
    unsigned low;

    vmi_pit_write(&pit, 3, (uint8_t)(channel << 6), now);
    low = vmi_pit_read(&pit, channel, now + 1000000);
    return low | (unsigned)vmi_pit_read(&pit, channel, now + 2000000) << 8;
}

static bool out2(uint64_t now)
{
    return vmi_pit_port61_read(&pit, now) >> 5 & 1;
}

static void mode0(void **state)
{
    (void)state;
    program(0, 0, 1000, 0);
    assert_false(irq.level);
    assert_int_equal(read_count(0, at(0)), 1000);
    assert_int_equal(read_count(0, at(400)), 600);
    assert_int_equal(vmi_pit_deadline(&pit), at(1000));
    vmi_pit_tick(&pit, at(1000));
    assert_true(irq.level);
    assert_int_equal(irq.rises, 1);
    assert_int_equal(vmi_pit_deadline(&pit), VMI_NEVER);
    assert_int_equal(read_count(0, at(1001)), 0xffff); /* goes on below zero */
}

static void mode2_periods(void **state)
{
    unsigned n;

    (void)state;
    program(0, 2, 100, 0);
    for (n = 1; n <= 5; n++) {
        assert_int_equal(vmi_pit_deadline(&pit), at(100 * n));
        vmi_pit_tick(&pit, vmi_pit_deadline(&pit));
        assert_int_equal(irq.rises, n);
    }
    assert_int_equal(read_count(0, at(530)), 70);
    /* A new count is taken at the end of the period. */
    vmi_pit_write(&pit, 0, 50, at(540));
    vmi_pit_write(&pit, 0, 0, at(540));
    assert_int_equal(read_count(0, at(550)), 50);
    vmi_pit_tick(&pit, at(600));
    assert_in_range(vmi_pit_deadline(&pit), at(650), at(650) + 2); /* rounded up twice */
}

static void late_ticks_merge(void **state)
{
    (void)state;
    program(0, 2, 100, 0);
    vmi_pit_tick(&pit, at(1050));
    assert_int_equal(irq.rises, 1);
    assert_int_equal(vmi_pit_deadline(&pit), at(1100));
}

static void mode3_square(void **state)
{
    (void)state;
    program(2, 3, 100, 0);
    vmi_pit_port61_write(&pit, 1, 0);
    assert_true(out2(at(10)));
    assert_true(out2(at(49)));
    assert_false(out2(at(51)));
    assert_false(out2(at(99)));
    assert_true(out2(at(101)));
    assert_int_equal(read_count(2, at(10)), 80); /* counts by two */
    assert_int_equal(read_count(2, at(60)), 80);
}

static void mode1_one_shot(void **state)
{
    (void)state;
    program(2, 1, 100, 0);
    assert_true(out2(at(1000))); /* waits for its trigger */
    vmi_pit_port61_write(&pit, 1, at(1000));
    assert_false(out2(at(1050)));
    vmi_pit_port61_write(&pit, 0, at(1060));
    vmi_pit_port61_write(&pit, 1, at(1080)); /* triggers again */
    assert_false(out2(at(1150)));
    assert_true(out2(at(1181)));
}

static void mode4_and_5_strobe(void **state)
{
    (void)state;
    program(0, 4, 100, 0);
    vmi_pit_tick(&pit, at(100));
    assert_int_equal(irq.rises, 0);
    vmi_pit_tick(&pit, vmi_pit_deadline(&pit));
    assert_int_equal(irq.rises, 1);
    assert_int_equal(vmi_pit_deadline(&pit), VMI_NEVER);
    program(2, 5, 10, at(200));
    assert_true(out2(at(250)));
    vmi_pit_port61_write(&pit, 1, at(300));
    assert_false(out2(at(310)));
    assert_true(out2(at(312)));
}

/* The way kernels measure the processor: mode 0 on channel 2. */
static void gate_holds_the_count(void **state)
{
    (void)state;
    vmi_pit_port61_write(&pit, 0, 0);
    program(2, 0, 1000, 0);
    assert_int_equal(read_count(2, at(500)), 1000);
    vmi_pit_port61_write(&pit, 1, at(500));
    assert_false(out2(at(1499)));
    assert_true(out2(at(1501)));
    assert_int_equal(vmi_pit_port61_read(&pit, at(1501)) & 3, 1);
}

static void read_back(void **state)
{
    (void)state;
    program(0, 2, 500, 0);
    vmi_pit_write(&pit, 3, 0xc2, at(100)); /* status and count of channel 0 */
    assert_int_equal(vmi_pit_read(&pit, 0, at(200)), 0x80 | 0x34);
    assert_int_equal(vmi_pit_read(&pit, 0, at(200)), 400 & 255);
    assert_int_equal(vmi_pit_read(&pit, 0, at(200)), 400 >> 8);
    vmi_pit_write(&pit, 3, 0x30, at(200)); /* control word only: the count is missing */
    vmi_pit_write(&pit, 3, 0xe2, at(200));
    assert_int_equal(vmi_pit_read(&pit, 0, at(200)), 0x40 | 0x30);
}

static void access_modes_and_bcd(void **state)
{
    (void)state;
    vmi_pit_write(&pit, 3, 0x15, 0); /* channel 0, low byte, mode 2, BCD */
    vmi_pit_write(&pit, 0, 0x42, 0);
    assert_int_equal(vmi_pit_deadline(&pit), at(42));
    assert_int_equal(vmi_pit_read(&pit, 0, at(2)), 0x40);
    vmi_pit_write(&pit, 3, 0x25, at(100)); /* high byte */
    vmi_pit_write(&pit, 0, 0x12, at(100));
    assert_int_equal(vmi_pit_read(&pit, 0, at(100)), 0x12);
    assert_int_equal(vmi_pit_deadline(&pit), at(100) + at(1200));
}

static void any_writes(void **state)
{
    uint32_t seed = 7, n;
    uint64_t now = 0;

    (void)state;
    for (n = 0; n < 300000; n++) {
        seed = seed * 1103515245 + 12345;
        now += seed >> 12;
        switch (seed >> 29) {
        case 0:
        case 1:
        case 2:
            vmi_pit_write(&pit, seed >> 16, (uint8_t)(seed >> 8), now);
            break;
        case 3:
            vmi_pit_port61_write(&pit, (uint8_t)(seed >> 8), now);
            break;
        case 4:
            vmi_pit_port61_read(&pit, now);
            break;
        case 5:
            vmi_pit_tick(&pit, now);
            assert_true(vmi_pit_deadline(&pit) > now);
            break;
        default:
            vmi_pit_read(&pit, seed >> 16, now);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(mode0, setup),
        cmocka_unit_test_setup(mode2_periods, setup),
        cmocka_unit_test_setup(late_ticks_merge, setup),
        cmocka_unit_test_setup(mode3_square, setup),
        cmocka_unit_test_setup(mode1_one_shot, setup),
        cmocka_unit_test_setup(mode4_and_5_strobe, setup),
        cmocka_unit_test_setup(gate_holds_the_count, setup),
        cmocka_unit_test_setup(read_back, setup),
        cmocka_unit_test_setup(access_modes_and_bcd, setup),
        cmocka_unit_test_setup(any_writes, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
