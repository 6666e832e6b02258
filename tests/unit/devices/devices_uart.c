/* 16550A: FIFO, interrupt sources and their priorities, loopback. */
#include "test.h"

#include "devices/uart.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static struct test_line irq;
static char sent[64];
static size_t sent_bytes;

static void on_write(void *opaque, const void *data, size_t bytes)
{
    (void)opaque;
    memcpy(sent + sent_bytes, data, bytes);
    sent_bytes += bytes;
}

static struct vmi_uart uart;

static int setup(void **state)
{
    (void)state;
    memset(&irq, 0, sizeof irq);
    sent_bytes = 0;
    vmi_uart_init(&uart, TEST_LINE(&irq), on_write, NULL);
    vmi_uart_write(&uart, MCR, 0x08); /* OUT2 lets interrupts through */
    return 0;
}

static void sends(void **state)
{
    (void)state;
    vmi_uart_write(&uart, DATA, 'o');
    vmi_uart_write(&uart, DATA, 'k');
    assert_int_equal(sent_bytes, 2);
    assert_memory_equal(sent, "ok", 2);
    assert_int_equal(vmi_uart_read(&uart, LSR), 0x60);
    assert_int_equal(vmi_uart_read(&uart, IIR) & 15, 1);
}

static void transmitter_interrupt(void **state)
{
    (void)state;
    vmi_uart_write(&uart, IER, 2);
    assert_true(irq.level); /* enabling it while empty */
    assert_int_equal(vmi_uart_read(&uart, IIR), 2);
    assert_false(irq.level); /* reading it acknowledges */
    assert_int_equal(vmi_uart_read(&uart, IIR), 1);
    vmi_uart_write(&uart, DATA, 'x');
    assert_true(irq.level);
    assert_int_equal(irq.rises, 2);
    vmi_uart_write(&uart, DATA, 'y'); /* a new edge although the line was high */
    assert_int_equal(irq.rises, 3);
    vmi_uart_write(&uart, MCR, 0);
    assert_false(irq.level); /* OUT2 gates the line */
}

static void receives_without_fifo(void **state)
{
    (void)state;
    assert_int_equal(vmi_uart_input(&uart, "ab", 2), 2);
    assert_false(irq.level);
    vmi_uart_write(&uart, IER, 1);
    assert_true(irq.level);
    assert_int_equal(vmi_uart_read(&uart, IIR), 4);
    assert_int_equal(vmi_uart_read(&uart, DATA), 'a');
    assert_int_equal(irq.rises, 2); /* each byte is an edge */
    assert_int_equal(vmi_uart_read(&uart, DATA), 'b');
    assert_false(irq.level);
    assert_int_equal(vmi_uart_read(&uart, LSR) & 1, 0);
}

static void fifo_trigger_and_timeout(void **state)
{
    unsigned n;

    (void)state;
    vmi_uart_write(&uart, 2, 0x81); /* FIFO, trigger at 8 */
    vmi_uart_write(&uart, IER, 1);
    assert_int_equal(vmi_uart_read(&uart, IIR), 0xc1);
    vmi_uart_input(&uart, "0123456", 7);
    assert_int_equal(vmi_uart_read(&uart, IIR), 0xcc); /* character time-out */
    vmi_uart_input(&uart, "7", 1);
    assert_int_equal(vmi_uart_read(&uart, IIR), 0xc4);
    for (n = 0; n < 8; n++)
        assert_int_equal(vmi_uart_read(&uart, DATA), '0' + n);
    assert_false(irq.level);
    assert_int_equal(vmi_uart_read(&uart, DATA), 0);
}

static void queue_is_bounded(void **state)
{
    static uint8_t much[2 * VMI_UART_QUEUE];
    size_t taken, n;

    (void)state;
    vmi_uart_write(&uart, 2, 1);
    for (n = 0; n < sizeof much; n++)
        much[n] = (uint8_t)(n * 7);
    taken = vmi_uart_input(&uart, much, sizeof much);
    assert_true(taken >= VMI_UART_QUEUE && taken < sizeof much);
    taken += vmi_uart_input(&uart, much + taken, sizeof much - taken);
    for (n = 0; n < taken; n++)
        assert_int_equal(vmi_uart_read(&uart, DATA), much[n]);
    assert_int_equal(vmi_uart_read(&uart, LSR) & 3, 0); /* neither data nor an overrun */
}

/* What drivers do to find the chip. */
static void loopback(void **state)
{
    (void)state;
    vmi_uart_write(&uart, MCR, 0x1a);
    assert_int_equal(vmi_uart_read(&uart, MSR) & 0xf0, 0x90);
    vmi_uart_write(&uart, DATA, 0x5a);
    assert_int_equal(sent_bytes, 0);
    assert_int_equal(vmi_uart_read(&uart, DATA), 0x5a);
    vmi_uart_write(&uart, DATA, 1);
    vmi_uart_write(&uart, DATA, 2);
    assert_int_equal(vmi_uart_read(&uart, LSR) & 3, 3); /* overrun */
    assert_int_equal(vmi_uart_read(&uart, LSR) & 3, 1); /* reported once */
}

static void modem_status_interrupt(void **state)
{
    (void)state;
    vmi_uart_write(&uart, MCR, 0x18);
    vmi_uart_read(&uart, MSR);
    vmi_uart_write(&uart, IER, 8);
    vmi_uart_write(&uart, MCR, 0x1a); /* RTS comes back as CTS */
    assert_int_equal(vmi_uart_read(&uart, IIR), 0);
    assert_int_equal(vmi_uart_read(&uart, MSR) & 0x0f, 1);
    assert_int_equal(vmi_uart_read(&uart, IIR), 1);
}

static void divisor_and_scratch(void **state)
{
    (void)state;
    vmi_uart_write(&uart, LCR, 0x83);
    vmi_uart_write(&uart, 0, 0x34);
    vmi_uart_write(&uart, 1, 0x12);
    assert_int_equal(vmi_uart_read(&uart, 0), 0x34);
    assert_int_equal(vmi_uart_read(&uart, 1), 0x12);
    vmi_uart_write(&uart, LCR, 3);
    assert_int_equal(vmi_uart_read(&uart, IER), 0);
    vmi_uart_write(&uart, SCR, 0xa5);
    assert_int_equal(vmi_uart_read(&uart, SCR), 0xa5);
    vmi_uart_write(&uart, LSR, 0xff);
    assert_int_equal(vmi_uart_read(&uart, LSR), 0x60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(sends, setup),
        cmocka_unit_test_setup(transmitter_interrupt, setup),
        cmocka_unit_test_setup(receives_without_fifo, setup),
        cmocka_unit_test_setup(fifo_trigger_and_timeout, setup),
        cmocka_unit_test_setup(queue_is_bounded, setup),
        cmocka_unit_test_setup(loopback, setup),
        cmocka_unit_test_setup(modem_status_interrupt, setup),
        cmocka_unit_test_setup(divisor_and_scratch, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
