/*
 * 16550A serial port. Bytes take no time: a written byte has been sent when the write returns, and
 * the character time-out of the receiver is immediate.
 */
#include "devices/uart.h"

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR };

#define IER_RX   0x01
#define IER_THRE 0x02
#define IER_LINE 0x04
#define IER_MSR  0x08

#define LCR_DLAB 0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08 /* on a PC it gates the interrupt line */
#define MCR_LOOP 0x10

#define LSR_DR   0x01
#define LSR_OE   0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define IIR_NONE    0x01
#define IIR_MSR     0x00
#define IIR_THRE    0x02
#define IIR_RX      0x04
#define IIR_TIMEOUT 0x0c
#define IIR_LINE    0x06
#define IIR_FIFO    0xc0

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02

/* The modem lines: from the modem (always ready) or, in loopback, from our own outputs. */
static uint8_t modem_lines(const struct vmi_uart *u)
{
    uint8_t m = u->mcr;

    if (!(m & MCR_LOOP))
        return 0xb0; /* CTS, DSR, DCD */
    return (uint8_t)((m & MCR_RTS ? 0x10 : 0) | (m & MCR_DTR ? 0x20 : 0) |
                     (m & MCR_OUT1 ? 0x40 : 0) | (m & MCR_OUT2 ? 0x80 : 0));
}

static unsigned trigger_level(const struct vmi_uart *u)
{
    static const uint8_t level[4] = {1, 4, 8, 14};

    return u->fcr & FCR_ENABLE ? level[u->fcr >> 6] : 1;
}

/* The pending source with the highest priority. */
static uint8_t cause(const struct vmi_uart *u)
{
    if ((u->ier & IER_LINE) && u->lsr_errors)
        return IIR_LINE;
    if ((u->ier & IER_RX) && u->fifo_count >= trigger_level(u))
        return IIR_RX;
    if ((u->ier & IER_RX) && u->fifo_count)
        return IIR_TIMEOUT;
    if ((u->ier & IER_THRE) && u->thre_pending)
        return IIR_THRE;
    if ((u->ier & IER_MSR) && u->msr_delta)
        return IIR_MSR;
    return IIR_NONE;
}

static void update(struct vmi_uart *u)
{
    bool gate = (u->mcr & MCR_OUT2) && !(u->mcr & MCR_LOOP);

    vmi_line_set(&u->irq, gate && cause(u) != IIR_NONE);
}

static void receive(struct vmi_uart *u, uint8_t byte)
{
    unsigned room = u->fcr & FCR_ENABLE ? VMI_UART_FIFO : 1;

    if (u->fifo_count >= room) {
        u->lsr_errors |= LSR_OE;
        return;
    }
    u->fifo[(u->fifo_head + u->fifo_count++) % VMI_UART_FIFO] = byte;
}

/* Move waiting input into the FIFO: input never overruns, only loopback can. */
static void refill(struct vmi_uart *u)
{
    unsigned room = u->fcr & FCR_ENABLE ? VMI_UART_FIFO : 1;

    if (u->mcr & MCR_LOOP)
        return;
    while (u->queue_count && u->fifo_count < room) {
        receive(u, u->queue[u->queue_head]);
        u->queue_head = (u->queue_head + 1) % VMI_UART_QUEUE;
        u->queue_count--;
    }
}

static uint8_t read_rbr(struct vmi_uart *u)
{
    uint8_t byte = 0;

    if (u->fifo_count) {
        byte = u->fifo[u->fifo_head];
        u->fifo_head = (u->fifo_head + 1) % VMI_UART_FIFO;
        u->fifo_count--;
    }
    if (!u->fifo_count)
        update(u); /* an edge between two batches of input */
    refill(u);
    update(u);
    return byte;
}

static uint8_t read_iir(struct vmi_uart *u)
{
    uint8_t value = cause(u);

    if (value == IIR_THRE) {
        u->thre_pending = false;
        update(u);
    }
    return (uint8_t)(value | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0));
}

static uint8_t read_lsr(struct vmi_uart *u)
{
    uint8_t value = LSR_THRE | LSR_TEMT;

    if (u->fifo_count)
        value |= LSR_DR;
    if (u->lsr_errors) {
        value |= u->lsr_errors;
        u->lsr_errors = 0;
        update(u);
    }
    return value;
}

uint8_t vmi_uart_read(struct vmi_uart *u, unsigned reg)
{
    uint8_t value;

    switch (reg & 7) {
    case RBR:
        return u->lcr & LCR_DLAB ? u->dll : read_rbr(u);
    case IER:
        return u->lcr & LCR_DLAB ? u->dlm : u->ier;
    case IIR:
        return read_iir(u);
    case LCR:
        return u->lcr;
    case MCR:
        return u->mcr;
    case LSR:
        return read_lsr(u);
    case MSR:
        value = modem_lines(u) | u->msr_delta;
        u->msr_delta = 0;
        update(u);
        return value;
    default:
        return u->scr;
    }
}

static void transmit(struct vmi_uart *u, uint8_t byte)
{
    u->thre_pending = false;
    update(u);
    if (u->mcr & MCR_LOOP)
        receive(u, byte);
    else if (u->write)
        u->write(u->opaque, &byte, 1);
    u->thre_pending = true;
    update(u);
}

static void write_ier(struct vmi_uart *u, uint8_t value)
{
    /* Enabling the source while the transmitter is empty raises the interrupt (data sheet 8.6.5).
     */
    if ((value & IER_THRE) && !(u->ier & IER_THRE))
        u->thre_pending = true;
    u->ier = value & 0x0f;
    update(u);
}

static void write_fcr(struct vmi_uart *u, uint8_t value)
{
    if ((value & FCR_CLEAR_RX) || ((value ^ u->fcr) & FCR_ENABLE))
        u->fifo_count = 0;
    u->fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
    refill(u);
    update(u);
}

static void write_mcr(struct vmi_uart *u, uint8_t value)
{
    uint8_t before = modem_lines(u), after, changed;

    u->mcr = value & 0x1f;
    after = modem_lines(u);
    changed = before ^ after;
    u->msr_delta |= (uint8_t)(changed >> 4 & 0x0b);
    if ((before & 0x40) && !(after & 0x40))
        u->msr_delta |= 0x04; /* trailing edge of RI */
    refill(u);
    update(u);
}

void vmi_uart_write(struct vmi_uart *u, unsigned reg, uint8_t value)
{
    switch (reg & 7) {
    case RBR:
        if (u->lcr & LCR_DLAB)
            u->dll = value;
        else
            transmit(u, value);
        break;
    case IER:
        if (u->lcr & LCR_DLAB)
            u->dlm = value;
        else
            write_ier(u, value);
        break;
    case IIR:
        write_fcr(u, value);
        break;
    case LCR:
        u->lcr = value;
        break;
    case MCR:
        write_mcr(u, value);
        break;
    case SCR:
        u->scr = value;
        break;
    default: /* LSR and MSR are read only */
        break;
    }
}

size_t vmi_uart_input(struct vmi_uart *u, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    size_t taken;

    for (taken = 0; taken < bytes && u->queue_count < VMI_UART_QUEUE; taken++)
        u->queue[(u->queue_head + u->queue_count++) % VMI_UART_QUEUE] = from[taken];
    refill(u);
    update(u);
    return taken;
}

void vmi_uart_init(struct vmi_uart *u, struct vmi_line irq,
                   void (*write)(void *opaque, const void *data, size_t bytes), void *opaque)
{
    *u = (struct vmi_uart){
        .irq = irq, .write = write, .opaque = opaque, .dll = 1, .thre_pending = true};
}
