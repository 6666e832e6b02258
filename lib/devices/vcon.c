/* virtio console. Queue 0 receives, queue 1 transmits. */
#include "devices/vcon.h"

enum { RX, TX };

#define MAX_OUTPUT (1u << 20) /* of one request: a descriptor may claim 4 GiB */

static void receive(struct vmi_vcon *c)
{
    struct vmi_virtio *d = &c->virtio;
    bool any = false;

    while (c->count && vmi_virtio_pop(d, RX)) {
        uint64_t done = 0, part, room = d->request.write_bytes;

        while (done < room && c->count) {
            part = vmi_min(vmi_min(c->count, VMI_VCON_QUEUE - c->head), room - done);
            if (vmi_virtio_copy_to(d, done, c->queue + c->head, part) != part)
                break;
            c->head = (unsigned)(c->head + part) % VMI_VCON_QUEUE;
            c->count -= (unsigned)part;
            done += part;
        }
        vmi_virtio_push(d, RX, (uint32_t)done);
        any = true;
        if (!done)
            break; /* a buffer without room: not forever */
    }
    if (any)
        vmi_virtio_signal(d, RX);
}

static void transmit(struct vmi_vcon *c)
{
    struct vmi_virtio *d = &c->virtio;
    uint8_t buffer[512];
    unsigned n;

    for (n = 0; n < VMI_VIRTIO_QUEUE_MAX && vmi_virtio_pop(d, TX); n++) {
        uint64_t done = 0, part, bytes = vmi_min(d->request.read_bytes, MAX_OUTPUT);

        while (done < bytes) {
            part = vmi_virtio_copy_from(d, done, buffer, vmi_min(bytes - done, sizeof buffer));
            if (!part)
                break;
            if (c->write)
                c->write(c->opaque, buffer, part);
            done += part;
        }
        vmi_virtio_push(d, TX, 0);
    }
    if (n)
        vmi_virtio_signal(d, TX);
}

static void notify(struct vmi_virtio *d, unsigned queue)
{
    if (queue == RX)
        receive(d->device);
    else
        transmit(d->device);
}

static const struct vmi_virtio_class console_class = {
    .id = VMI_VIRTIO_CONSOLE,
    .queues = 2,
    .notify = notify,
};

size_t vmi_vcon_input(struct vmi_vcon *c, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    size_t taken;

    for (taken = 0; taken < bytes && c->count < VMI_VCON_QUEUE; taken++)
        c->queue[(c->head + c->count++) % VMI_VCON_QUEUE] = from[taken];
    receive(c);
    return taken;
}

void vmi_vcon_init(struct vmi_vcon *c, void (*write)(void *, const void *, size_t), void *opaque,
                   struct vmi_line irq, struct vmi_guest_memory memory)
{
    c->write = write;
    c->opaque = opaque;
    c->head = c->count = 0;
    vmi_virtio_init(&c->virtio, &console_class, c, irq, memory);
}
