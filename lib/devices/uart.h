/* 16550A serial port (National Semiconductor PC16550D data sheet), registers 0 to 7. */
#ifndef VMI_DEVICES_UART_H
#define VMI_DEVICES_UART_H

#include "devices/model.h"

#define VMI_UART_FIFO  16u
#define VMI_UART_QUEUE 4096u /* input that waits for the FIFO */

struct vmi_uart {
    struct vmi_line irq;
    void (*write)(void *opaque, const void *data, size_t bytes); /* may be NULL */
    void *opaque;

    uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
    uint8_t lsr_errors; /* overrun: cleared by reading LSR */
    uint8_t msr_delta;
    bool thre_pending; /* "transmitter empty" has not been acknowledged */
    uint8_t fifo[VMI_UART_FIFO];
    unsigned fifo_head, fifo_count;
    uint8_t queue[VMI_UART_QUEUE];
    unsigned queue_head, queue_count;
};

void vmi_uart_init(struct vmi_uart *u, struct vmi_line irq,
                   void (*write)(void *opaque, const void *data, size_t bytes), void *opaque);
uint8_t vmi_uart_read(struct vmi_uart *u, unsigned reg);
void vmi_uart_write(struct vmi_uart *u, unsigned reg, uint8_t value);
/* Input from outside; returns how many bytes were taken. */
size_t vmi_uart_input(struct vmi_uart *u, const void *data, size_t bytes);

#endif
