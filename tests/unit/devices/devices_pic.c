/* 8259 pair: initialisation, priorities, the ways to end an interrupt, modes. */
#include "test.h"

#include "devices/pic.h"

static struct test_line intr;
static struct vmi_pic pic;

static void init_chip(unsigned chip, uint8_t base, uint8_t icw4)
{
    vmi_pic_write(&pic, chip, 0, 0x11);
    vmi_pic_write(&pic, chip, 1, base);
    vmi_pic_write(&pic, chip, 1, chip ? 2 : 4);
    vmi_pic_write(&pic, chip, 1, icw4);
    vmi_pic_write(&pic, chip, 1, 0);
}

static int setup(void **state)
{
    (void)state;
    memset(&intr, 0, sizeof intr);
    vmi_pic_init(&pic, TEST_LINE(&intr));
    init_chip(0, 0x20, 1);
    init_chip(1, 0x28, 1);
    return 0;
}

static void pulse(unsigned irq)
{
    vmi_pic_set(&pic, irq, true);
    vmi_pic_set(&pic, irq, false);
}

static void eoi(unsigned chip)
{
    vmi_pic_write(&pic, chip, 0, 0x20);
}

static void masked_at_power_on(void **state)
{
    (void)state;
    vmi_pic_init(&pic, TEST_LINE(&intr));
    vmi_pic_set(&pic, 0, true);
    assert_false(intr.level);
    assert_int_equal(vmi_pic_read(&pic, 0, 1), 0xff);
}

static void one_interrupt(void **state)
{
    (void)state;
    pulse(4);
    assert_true(intr.level);
    assert_int_equal(vmi_pic_read(&pic, 0, 0), 0x10);
    assert_int_equal(vmi_pic_ack(&pic), 0x24);
    assert_false(intr.level);
    vmi_pic_write(&pic, 0, 0, 0x0b);
    assert_int_equal(vmi_pic_read(&pic, 0, 0), 0x10); /* in service */
    pulse(4);
    assert_false(intr.level); /* not before its end */
    eoi(0);
    assert_true(intr.level);
}

static void priorities(void **state)
{
    (void)state;
    pulse(5);
    assert_int_equal(vmi_pic_ack(&pic), 0x25);
    pulse(6);
    assert_false(intr.level);
    pulse(1);
    assert_true(intr.level); /* a higher one nests */
    assert_int_equal(vmi_pic_ack(&pic), 0x21);
    eoi(0);
    assert_false(intr.level);
    eoi(0);
    assert_int_equal(vmi_pic_ack(&pic), 0x26);
}

static void cascade(void **state)
{
    (void)state;
    pulse(12);
    assert_true(intr.level);
    assert_int_equal(vmi_pic_ack(&pic), 0x2c);
    pulse(13);
    assert_false(intr.level);
    pulse(8); /* higher on the second chip, but the first has its input in service */
    assert_false(intr.level);
    eoi(0);
    assert_true(intr.level);
    assert_int_equal(vmi_pic_ack(&pic), 0x28);
    eoi(1);
    eoi(0);
    assert_false(intr.level); /* 12 is still in service on the second chip */
    eoi(1);
    assert_int_equal(vmi_pic_ack(&pic), 0x2d);
}

static void special_fully_nested(void **state)
{
    (void)state;
    init_chip(0, 0x20, 0x11);
    pulse(12);
    assert_int_equal(vmi_pic_ack(&pic), 0x2c);
    pulse(8);
    assert_true(intr.level);
    assert_int_equal(vmi_pic_ack(&pic), 0x28);
}

static void spurious(void **state)
{
    (void)state;
    assert_int_equal(vmi_pic_ack(&pic), 0x27);
    vmi_pic_write(&pic, 0, 0, 0x0b);
    assert_int_equal(vmi_pic_read(&pic, 0, 0), 0);
}

static void automatic_eoi_and_rotation(void **state)
{
    (void)state;
    init_chip(0, 0x20, 3);
    vmi_pic_write(&pic, 0, 0, 0x80); /* rotate in automatic EOI */
    pulse(3);
    assert_int_equal(vmi_pic_ack(&pic), 0x23);
    pulse(3);
    pulse(4);
    assert_int_equal(vmi_pic_ack(&pic), 0x24); /* 3 is the lowest now */
    assert_int_equal(vmi_pic_ack(&pic), 0x23);
}

static void specific_eoi_and_set_priority(void **state)
{
    (void)state;
    pulse(6);
    assert_int_equal(vmi_pic_ack(&pic), 0x26);
    pulse(2 + 1);
    assert_int_equal(vmi_pic_ack(&pic), 0x23);
    vmi_pic_write(&pic, 0, 0, 0x66); /* specific: 6 */
    vmi_pic_write(&pic, 0, 0, 0x0b);
    assert_int_equal(vmi_pic_read(&pic, 0, 0), 0x08);
    eoi(0);
    vmi_pic_write(&pic, 0, 0, 0xc4); /* 4 becomes the lowest, 5 the highest */
    pulse(4);
    pulse(5);
    assert_int_equal(vmi_pic_ack(&pic), 0x25);
}

static void special_mask(void **state)
{
    (void)state;
    pulse(1);
    assert_int_equal(vmi_pic_ack(&pic), 0x21);
    vmi_pic_write(&pic, 0, 1, 0x02);
    vmi_pic_write(&pic, 0, 0, 0x68);
    pulse(5);
    assert_true(intr.level); /* lower ones pass the masked one in service */
    assert_int_equal(vmi_pic_ack(&pic), 0x25);
}

static void poll_mode(void **state)
{
    (void)state;
    pulse(5);
    vmi_pic_write(&pic, 0, 0, 0x0c);
    assert_int_equal(vmi_pic_read(&pic, 0, 0), 0x85);
    assert_false(intr.level);
    eoi(0);
    vmi_pic_write(&pic, 0, 0, 0x0c);
    assert_int_equal(vmi_pic_read(&pic, 0, 0) & 0x80, 0);
}

static void level_triggered(void **state)
{
    (void)state;
    vmi_pic_elcr_write(&pic, 1, 0xff);
    assert_int_equal(vmi_pic_elcr_read(&pic, 1), 0xde);
    vmi_pic_elcr_write(&pic, 0, 0xff);
    assert_int_equal(vmi_pic_elcr_read(&pic, 0), 0xf8);
    vmi_pic_set(&pic, 10, true);
    assert_int_equal(vmi_pic_ack(&pic), 0x2a);
    eoi(1);
    eoi(0);
    assert_true(intr.level); /* still asserted: again */
    vmi_pic_set(&pic, 10, false);
    assert_false(intr.level);
}

/* Whatever is written in whatever order, the chips answer. */
static void any_writes(void **state)
{
    uint32_t seed = 1, n;

    (void)state;
    for (n = 0; n < 200000; n++) {
        seed = seed * 1103515245 + 12345;
        switch (seed >> 28 & 3) {
        case 0:
            vmi_pic_write(&pic, seed >> 16, seed >> 17, (uint8_t)(seed >> 8));
            break;
        case 1:
            vmi_pic_set(&pic, seed >> 16 & 15, seed >> 20 & 1);
            break;
        case 2:
            vmi_pic_ack(&pic);
            break;
        default:
            vmi_pic_read(&pic, seed >> 16, seed >> 17);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(masked_at_power_on, setup),
        cmocka_unit_test_setup(one_interrupt, setup),
        cmocka_unit_test_setup(priorities, setup),
        cmocka_unit_test_setup(cascade, setup),
        cmocka_unit_test_setup(special_fully_nested, setup),
        cmocka_unit_test_setup(spurious, setup),
        cmocka_unit_test_setup(automatic_eoi_and_rotation, setup),
        cmocka_unit_test_setup(specific_eoi_and_set_priority, setup),
        cmocka_unit_test_setup(special_mask, setup),
        cmocka_unit_test_setup(poll_mode, setup),
        cmocka_unit_test_setup(level_triggered, setup),
        cmocka_unit_test_setup(any_writes, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
