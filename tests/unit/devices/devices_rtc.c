/* Clock: the calendar, formats, SET, UIP, the three interrupts. */
#include "test.h"

#include "devices/rtc.h"

static struct test_line irq;
static struct vmi_rtc rtc;

#define S VMI_NS

static int setup(void **state)
{
    (void)state;
    memset(&irq, 0, sizeof irq);
    /* 2024-02-28 23:59:58, a Wednesday before a leap day */
    vmi_rtc_init(&rtc, TEST_LINE(&irq), 1709164798, 0);
    return 0;
}

static uint8_t get(unsigned reg, uint64_t now)
{
    vmi_rtc_write(&rtc, 0, (uint8_t)reg, now);
    return vmi_rtc_read(&rtc, 1, now);
}

static void put(unsigned reg, uint8_t value, uint64_t now)
{
    vmi_rtc_write(&rtc, 0, (uint8_t)reg, now);
    vmi_rtc_write(&rtc, 1, value, now);
}

static void check_time(uint64_t now, unsigned h, unsigned m, unsigned s, unsigned day,
                       unsigned month, unsigned year)
{
    assert_int_equal(get(4, now), h);
    assert_int_equal(get(2, now), m);
    assert_int_equal(get(0, now), s);
    assert_int_equal(get(7, now), day);
    assert_int_equal(get(8, now), month);
    assert_int_equal(get(9, now), year);
}

static void calendar(void **state)
{
    (void)state;
    check_time(0, 0x23, 0x59, 0x58, 0x28, 2, 0x24);
    assert_int_equal(get(6, 0), 4);
    assert_int_equal(get(0x32, 0), 0x20);
    check_time(2 * S, 0, 0, 0, 0x29, 2, 0x24);
    check_time((2 + 86400) * S, 0, 0, 0, 1, 3, 0x24);
}

static void formats(void **state)
{
    (void)state;
    put(0x0b, 6, 0); /* binary, 24 hours */
    check_time(0, 23, 59, 58, 28, 2, 24);
    put(0x0b, 0, 0); /* BCD, 12 hours */
    assert_int_equal(get(4, 0), 0x91);
    assert_int_equal(get(4, 2 * S), 0x12);
}

static void set_the_time(void **state)
{
    (void)state;
    put(0x0b, 0x82, 0);
    put(4, 0x10, 0);
    put(2, 0x20, 0);
    put(0, 0x30, 0);
    assert_int_equal(get(0, 5 * S), 0x30); /* stands still */
    put(0x0b, 0x02, 10 * S);
    check_time(15 * S, 0x10, 0x20, 0x35, 0x28, 2, 0x24);
    put(8, 0x99, 15 * S); /* no month: ignored */
    check_time(15 * S, 0x10, 0x20, 0x35, 0x28, 2, 0x24);
}

static void update_in_progress(void **state)
{
    (void)state;
    assert_int_equal(get(0x0a, S / 2) & 0x80, 0);
    assert_int_equal(get(0x0a, S - 1000000) & 0x80, 0x80);
    assert_int_equal(get(0x0a, S) & 0x80, 0);
    assert_int_equal(get(0x0d, 0), 0x80);
}

static void periodic_interrupt(void **state)
{
    unsigned n;

    (void)state;
    assert_int_equal(vmi_rtc_deadline(&rtc), VMI_NEVER);
    put(0x0a, 0x26, 0);
    put(0x0b, 0x42, 0);
    for (n = 1; n <= 3; n++) {
        assert_int_equal(vmi_rtc_deadline(&rtc), n * (S * 32 / 32768));
        vmi_rtc_tick(&rtc, vmi_rtc_deadline(&rtc));
        assert_true(irq.level);
        assert_int_equal(get(0x0c, S), 0xc0);
        assert_false(irq.level);
        assert_int_equal(get(0x0c, S), 0);
    }
    put(0x0b, 0x02, 0);
    assert_int_equal(vmi_rtc_deadline(&rtc), VMI_NEVER);
}

static void update_and_alarm(void **state)
{
    (void)state;
    put(1, 0x00, 0);
    put(3, 0xff, 0); /* any */
    put(5, 0xff, 0);
    put(0x0b, 0x32, S / 4);
    assert_int_equal(vmi_rtc_deadline(&rtc), S);
    vmi_rtc_tick(&rtc, S);
    assert_int_equal(get(0x0c, S), 0x90);
    vmi_rtc_tick(&rtc, 2 * S); /* 00:00:00 */
    assert_int_equal(get(0x0c, 2 * S), 0xb0);
}

static void memory_cells(void **state)
{
    (void)state;
    vmi_rtc_set_memory(&rtc, 256u << 20, 1ull << 30);
    assert_int_equal(get(0x34, 0) | get(0x35, 0) << 8, 240 * 16);
    assert_int_equal(get(0x5b, 0) | get(0x5c, 0) << 8 | get(0x5d, 0) << 16, 1 << 14);
    assert_int_equal(get(0x15, 0) | get(0x16, 0) << 8, 640);
}

static void any_writes(void **state)
{
    uint32_t seed = 3, n;
    uint64_t now = 0;

    (void)state;
    for (n = 0; n < 200000; n++) {
        seed = seed * 1103515245 + 12345;
        now += (uint64_t)(seed >> 8) * 20;
        if (seed >> 31)
            put(seed >> 16 & 0x7f, (uint8_t)(seed >> 8), now);
        else
            get(seed >> 16 & 0x7f, now);
        if (now >= vmi_rtc_deadline(&rtc)) {
            vmi_rtc_tick(&rtc, now);
            assert_true(vmi_rtc_deadline(&rtc) > now);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(calendar, setup),
        cmocka_unit_test_setup(formats, setup),
        cmocka_unit_test_setup(set_the_time, setup),
        cmocka_unit_test_setup(update_in_progress, setup),
        cmocka_unit_test_setup(periodic_interrupt, setup),
        cmocka_unit_test_setup(update_and_alarm, setup),
        cmocka_unit_test_setup(memory_cells, setup),
        cmocka_unit_test_setup(any_writes, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
