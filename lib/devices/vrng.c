/* virtio source of random numbers. */
#include <sys/random.h>

#include "devices/vcon.h"

#define MAX_BYTES 65536u /* of one request; the driver asks again */

/* SplitMix64: reproducible, not secret. */
static uint64_t next(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static bool fill(struct vmi_vrng *r, uint8_t *to, size_t bytes)
{
    size_t n;

    if (!r->seed)
        return getrandom(to, bytes, 0) == (ssize_t)bytes; /* up to 256 bytes are never cut short */
    for (n = 0; n < bytes; n += 8)
        vmi_put64(to + n, next(&r->seed));
    return true;
}

static void notify(struct vmi_virtio *d, unsigned queue)
{
    struct vmi_vrng *r = d->device;
    uint8_t buffer[256];
    unsigned n;

    for (n = 0; n < VMI_VIRTIO_QUEUE_MAX && vmi_virtio_pop(d, queue); n++) {
        uint64_t done = 0, bytes = vmi_min(d->request.write_bytes, MAX_BYTES);

        while (done < bytes) {
            uint64_t part = vmi_min(bytes - done, sizeof buffer);

            if (!fill(r, buffer, sizeof buffer) ||
                vmi_virtio_copy_to(d, done, buffer, part) != part)
                break;
            done += part;
        }
        vmi_virtio_push(d, queue, (uint32_t)done);
    }
    if (n)
        vmi_virtio_signal(d, queue);
}

static const struct vmi_virtio_class rng_class = {
    .id = VMI_VIRTIO_RNG,
    .queues = 1,
    .notify = notify,
};

void vmi_vrng_init(struct vmi_vrng *r, uint64_t seed, struct vmi_line irq,
                   struct vmi_guest_memory memory)
{
    r->seed = seed;
    vmi_virtio_init(&r->virtio, &rng_class, r, irq, memory);
}
