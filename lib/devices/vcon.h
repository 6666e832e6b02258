/* virtio console with one port (virtio 1.1, 5.3) and source of random numbers (5.4). */
#ifndef VMI_DEVICES_VCON_H
#define VMI_DEVICES_VCON_H

#include "devices/virtio.h"

#define VMI_VCON_QUEUE 4096u

struct vmi_vcon {
    struct vmi_virtio virtio;
    void (*write)(void *opaque, const void *data, size_t bytes); /* may be NULL */
    void *opaque;
    uint8_t queue[VMI_VCON_QUEUE]; /* input that waits for buffers of the driver */
    unsigned head, count;
};

void vmi_vcon_init(struct vmi_vcon *c, void (*write)(void *, const void *, size_t), void *opaque,
                   struct vmi_line irq, struct vmi_guest_memory memory);
size_t vmi_vcon_input(struct vmi_vcon *c, const void *data, size_t bytes);

struct vmi_vrng {
    struct vmi_virtio virtio;
    uint64_t seed; /* 0: the host's numbers */
};

void vmi_vrng_init(struct vmi_vrng *r, uint64_t seed, struct vmi_line irq,
                   struct vmi_guest_memory memory);

#endif
