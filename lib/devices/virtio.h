/*
 * virtio over MMIO (virtio 1.1, chapter 4.2) and split virtqueues (2.6). Descriptors, rings and
 * headers are written by the guest: everything that is read from them is checked or bounded.
 */
#ifndef VMI_DEVICES_VIRTIO_H
#define VMI_DEVICES_VIRTIO_H

#include "devices/model.h"

#define VMI_VIRTIO_QUEUES    2u
#define VMI_VIRTIO_QUEUE_MAX 256u  /* largest queue size */
#define VMI_VIRTIO_SEGMENTS  256u  /* most buffers of one request */
#define VMI_VIRTIO_BYTES     0x200 /* of the register window */

#define VMI_VIRTIO_BLOCK   2u
#define VMI_VIRTIO_CONSOLE 3u
#define VMI_VIRTIO_RNG     4u

/* Guest memory. Both return 0, or anything else when a part is not there. */
struct vmi_guest_memory {
    int (*read)(void *opaque, uint64_t gpa, void *buffer, uint64_t bytes);
    int (*write)(void *opaque, uint64_t gpa, const void *buffer, uint64_t bytes);
    void *opaque;
};

struct vmi_segment {
    uint64_t gpa;
    uint32_t bytes;
    bool write; /* the device writes, the guest reads */
};

struct vmi_virtqueue {
    uint16_t size; /* chosen by the driver, a power of two */
    bool ready;
    uint64_t desc, avail, used;
    uint16_t next_avail, next_used;
};

/* A request taken from a queue: its buffers, readable ones first (2.6.4.2). */
struct vmi_request {
    uint16_t head;
    unsigned count;    /* segments */
    unsigned readable; /* of them */
    uint64_t read_bytes, write_bytes;
    struct vmi_segment seg[VMI_VIRTIO_SEGMENTS];
};

struct vmi_virtio;

struct vmi_virtio_class {
    uint32_t id; /* device type */
    unsigned queues;
    uint64_t features; /* besides the transport's own */
    void (*notify)(struct vmi_virtio *d, unsigned queue);
    void (*reset)(struct vmi_virtio *d); /* may be NULL */
    /* Configuration space; may be NULL. offset + width is within `config_bytes`. */
    uint32_t config_bytes;
    void (*config_read)(struct vmi_virtio *d, unsigned offset, void *to, unsigned width);
};

struct vmi_virtio {
    const struct vmi_virtio_class *class;
    void *device; /* the device's own */
    struct vmi_line irq;
    struct vmi_guest_memory memory;
    uint32_t status, interrupt;
    uint32_t features_select, driver_select, queue_select;
    uint64_t driver_features;
    struct vmi_virtqueue queue[VMI_VIRTIO_QUEUES];
    struct vmi_request request; /* the one being worked on */
};

void vmi_virtio_init(struct vmi_virtio *d, const struct vmi_virtio_class *class, void *device,
                     struct vmi_line irq, struct vmi_guest_memory memory);
uint64_t vmi_virtio_read(struct vmi_virtio *d, unsigned offset, unsigned width);
void vmi_virtio_write(struct vmi_virtio *d, unsigned offset, unsigned width, uint64_t value);

/* --- for the devices --- */

/* Take the next request of a queue into d->request. false: none, or the queue is broken. */
bool vmi_virtio_pop(struct vmi_virtio *d, unsigned queue);
/* Give d->request back with the number of bytes written, */
void vmi_virtio_push(struct vmi_virtio *d, unsigned queue, uint32_t written);
/* ... and tell the driver after the last one of a batch. */
void vmi_virtio_signal(struct vmi_virtio *d, unsigned queue);
/* The driver broke the rules: stop until it resets the device (2.1.1, DEVICE_NEEDS_RESET). */
void vmi_virtio_broken(struct vmi_virtio *d);
bool vmi_virtio_running(const struct vmi_virtio *d);
/* Copy from the readable or to the writable part of d->request, from an offset into that part on.
 * Returns bytes copied. */
uint64_t vmi_virtio_copy_from(struct vmi_virtio *d, uint64_t offset, void *to, uint64_t bytes);
uint64_t vmi_virtio_copy_to(struct vmi_virtio *d, uint64_t offset, const void *from,
                            uint64_t bytes);

#endif
