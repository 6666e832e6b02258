/* virtio transport and queues through the source of random numbers and the console; hostile rings.
 */
#include "vdriver.h"

#include "devices/vcon.h"

static struct test_line irq;
static struct vmi_vrng rng;
static struct vmi_vcon con;
static char sent[4096];
static size_t sent_bytes;

static void on_write(void *opaque, const void *data, size_t bytes)
{
    (void)opaque;
    if (sent_bytes + bytes <= sizeof sent)
        memcpy(sent + sent_bytes, data, bytes);
    sent_bytes += bytes;
}

static int setup(void **state)
{
    (void)state;
    memset(&irq, 0, sizeof irq);
    sent_bytes = 0;
    vmi_vrng_init(&rng, 42, TEST_LINE(&irq), guest);
    vmi_vcon_init(&con, on_write, NULL, TEST_LINE(&irq), guest);
    return 0;
}

static void registers(void **state)
{
    struct vmi_virtio *d = &rng.virtio;

    (void)state;
    assert_int_equal(vmi_virtio_read(d, 0, 4), 0x74726976);
    assert_int_equal(vmi_virtio_read(d, 4, 4), 2);
    assert_int_equal(vmi_virtio_read(d, 8, 4), 4);
    assert_int_equal(vmi_virtio_read(d, 0, 1), 0);
    vmi_virtio_write(d, 0x14, 4, 1);
    assert_int_equal(vmi_virtio_read(d, 0x10, 4), 1);
    vmi_virtio_write(d, 0x14, 4, 77);
    assert_int_equal(vmi_virtio_read(d, 0x10, 4), 0);
    vmi_virtio_write(d, 0x30, 4, 1); /* there is only queue 0 */
    assert_int_equal(vmi_virtio_read(d, 0x34, 4), 0);
    vmi_virtio_write(d, 0x30, 4, UINT32_MAX);
    vmi_virtio_write(d, 0x38, 4, 8);
    assert_int_equal(vmi_virtio_read(d, 0x100, 4), 0);
}

static void negotiation(void **state)
{
    struct vmi_virtio *d = &rng.virtio;

    (void)state;
    vmi_virtio_write(d, V_STATUS, 4, 11);
    assert_int_equal(vmi_virtio_read(d, V_STATUS, 4), 3); /* without VERSION_1: refused */
    vmi_virtio_write(d, 0x24, 4, 1);
    vmi_virtio_write(d, 0x20, 4, 1 | 1 << 9); /* something that was not offered */
    vmi_virtio_write(d, V_STATUS, 4, 11);
    assert_int_equal(vmi_virtio_read(d, V_STATUS, 4), 3);
    vmi_virtio_write(d, 0x20, 4, 1);
    vmi_virtio_write(d, V_STATUS, 4, 11);
    assert_int_equal(vmi_virtio_read(d, V_STATUS, 4), 11);
    vmi_virtio_write(d, V_STATUS, 4, 0);
    assert_int_equal(vmi_virtio_read(d, V_STATUS, 4), 0);
}

static void random_numbers(void **state)
{
    struct vmi_virtio *d = &rng.virtio;
    unsigned n, zeros = 0;

    (void)state;
    start(d, 1);
    descriptor(DESC, 0, 0x8000, 300, 3, 1);
    descriptor(DESC, 1, 0x9000, 100, 2, 0);
    offer(d, 0, 0);
    assert_int_equal(used_index(0), 1);
    assert_int_equal(used_bytes(0, 0), 400);
    assert_true(irq.level);
    assert_int_equal(vmi_virtio_read(d, 0x60, 4), 1);
    vmi_virtio_write(d, 0x64, 4, 1);
    assert_false(irq.level);
    for (n = 0; n < 300; n++)
        zeros += !ram[0x8000 + n];
    assert_true(zeros < 20);
    ram[AVAIL] = 1; /* no interrupts, please */
    offer(d, 0, 0);
    assert_int_equal(used_index(0), 2);
    assert_false(irq.level);
}

static void nothing_before_driver_ok(void **state)
{
    struct vmi_virtio *d = &rng.virtio;

    (void)state;
    start(d, 1);
    descriptor(DESC, 0, 0x8000, 4, 2, 0);
    vmi_virtio_write(d, V_STATUS, 4, 0);
    offer(d, 0, 0);
    assert_int_equal(used_index(0), 0);
}

static void indirect(void **state)
{
    struct vmi_virtio *d = &rng.virtio;

    (void)state;
    start(d, 1);
    descriptor(DESC, 3, 0x4000, 32, 4, 0);
    descriptor(0x4000, 0, 0x8000, 10, 3, 1);
    descriptor(0x4000, 1, 0x9000, 20, 2, 0);
    offer(d, 0, 3);
    assert_int_equal(used_bytes(0, 0), 30);
    assert_false(needs_reset(d));
}

/* Each breaks one rule; the device stops until it is reset, and works then. */
static void hostile(void **state)
{
    struct vmi_virtio *d = &rng.virtio;
    unsigned n;

    (void)state;
    for (n = 0; n < 10; n++) {
        start(d, 1);
        descriptor(DESC, 0, 0x8000, 4, 2, 0);
        switch (n) {
        case 0: /* head outside the table */
            offer(d, 0, QUEUE);
            break;
        case 1: /* a loop */
            descriptor(DESC, 0, 0x8000, 4, 3, 0);
            offer(d, 0, 0);
            break;
        case 2: /* next outside the table */
            descriptor(DESC, 0, 0x8000, 4, 3, 500);
            offer(d, 0, 0);
            break;
        case 3: /* readable behind writable */
            descriptor(DESC, 0, 0x8000, 4, 3, 1);
            descriptor(DESC, 1, 0x8000, 4, 0, 0);
            offer(d, 0, 0);
            break;
        case 4: /* an indirect table in an indirect table */
            descriptor(DESC, 0, 0x4000, 16, 4, 0);
            descriptor(0x4000, 0, 0x4000, 16, 4, 0);
            offer(d, 0, 0);
            break;
        case 5: /* an indirect table of no whole descriptors */
            descriptor(DESC, 0, 0x4000, 17, 4, 0);
            offer(d, 0, 0);
            break;
        case 6: /* an indirect table outside memory */
            descriptor(DESC, 0, UINT64_MAX - 8, 64, 4, 0);
            offer(d, 0, 0);
            break;
        case 7: /* address and length overflow */
            descriptor(DESC, 0, UINT64_MAX - 2, 4, 2, 0);
            offer(d, 0, 0);
            break;
        case 8: /* more entries than the ring has */
            vmi_put16(ram + AVAIL + 2, QUEUE + 1);
            vmi_virtio_write(d, 0x50, 4, 0);
            break;
        default: /* rings outside memory */
            vmi_virtio_write(d, 0x44, 4, 0);
            vmi_virtio_write(d, 0x94, 4, UINT32_MAX);
            vmi_virtio_write(d, 0x44, 4, 1);
            vmi_virtio_write(d, 0x50, 4, 0);
            break;
        }
        assert_true(needs_reset(d));
        assert_int_equal(used_index(0), 0);
        vmi_virtio_write(d, 0x50, 4, 0);
        start(d, 1);
        descriptor(DESC, 0, 0x8000, 4, 2, 0);
        offer(d, 0, 0);
        assert_int_equal(used_bytes(0, 0), 4);
    }
}

/* A buffer outside memory is not written; the request comes back empty. */
static void buffer_outside_memory(void **state)
{
    struct vmi_virtio *d = &rng.virtio;

    (void)state;
    start(d, 1);
    descriptor(DESC, 0, 0x7fffffff0000, UINT32_MAX, 2, 0);
    offer(d, 0, 0);
    assert_int_equal(used_index(0), 1);
    assert_int_equal(used_bytes(0, 0), 0);
}

static void console(void **state)
{
    struct vmi_virtio *d = &con.virtio;

    (void)state;
    start(d, 2);
    memcpy(ram + 0x8000, "hello", 5);
    descriptor(0x10000 + DESC, 0, 0x8000, 3, 1, 1);
    descriptor(0x10000 + DESC, 1, 0x8003, 2, 0, 0);
    offer(d, 1, 0);
    assert_int_equal(sent_bytes, 5);
    assert_memory_equal(sent, "hello", 5);
    assert_int_equal(vmi_vcon_input(&con, "input", 5), 5); /* waits for a buffer */
    descriptor(DESC, 0, 0x9000, 3, 2, 0);
    offer(d, 0, 0);
    assert_memory_equal(ram + 0x9000, "inp", 3);
    offer(d, 0, 0);
    assert_int_equal(used_bytes(0, 1), 2);
    assert_memory_equal(ram + 0x9000, "ut", 2);
    descriptor(DESC, 0, 0x9000, 0, 2, 0); /* a buffer without room */
    vmi_vcon_input(&con, "x", 1);
    offer(d, 0, 0);
    assert_int_equal(used_index(0), 3);
}

static void console_output_is_bounded(void **state)
{
    struct vmi_virtio *d = &con.virtio;
    unsigned n;

    (void)state;
    start(d, 2);
    for (n = 0; n < QUEUE; n++)
        descriptor(0x10000 + DESC, n, 0, RAM, n + 1 < QUEUE, n + 1);
    offer(d, 1, 0);
    assert_int_equal(sent_bytes, 1u << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(registers, setup),
        cmocka_unit_test_setup(negotiation, setup),
        cmocka_unit_test_setup(random_numbers, setup),
        cmocka_unit_test_setup(nothing_before_driver_ok, setup),
        cmocka_unit_test_setup(indirect, setup),
        cmocka_unit_test_setup(hostile, setup),
        cmocka_unit_test_setup(buffer_outside_memory, setup),
        cmocka_unit_test_setup(console, setup),
        cmocka_unit_test_setup(console_output_is_bounded, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
