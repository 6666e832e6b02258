/* Split virtqueues (virtio 1.1, 2.6). */
#include <stdatomic.h>

#include "devices/virtio.h"

#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u
#define DESC_BYTES    16u

struct descriptor {
    uint64_t gpa;
    uint32_t bytes;
    uint16_t flags, next;
};

static int load(struct vmi_virtio *d, uint64_t gpa, void *to, uint64_t bytes)
{
    if (gpa > UINT64_MAX - bytes)
        return -1;
    return d->memory.read(d->memory.opaque, gpa, to, bytes);
}

static bool load_descriptor(struct vmi_virtio *d, uint64_t table, unsigned index,
                            struct descriptor *to)
{
    uint8_t raw[DESC_BYTES];

    if (table > UINT64_MAX - (uint64_t)index * DESC_BYTES ||
        load(d, table + (uint64_t)index * DESC_BYTES, raw, sizeof raw))
        return false;
    to->gpa = vmi_get64(raw);
    to->bytes = vmi_get32(raw + 8);
    to->flags = vmi_get16(raw + 12);
    to->next = vmi_get16(raw + 14);
    return true;
}

static bool add_segment(struct vmi_request *r, const struct descriptor *e)
{
    bool write = e->flags & DESC_WRITE;

    if (r->count == VMI_VIRTIO_SEGMENTS || e->gpa > UINT64_MAX - e->bytes)
        return false;
    if (!write && r->count != r->readable)
        return false; /* 2.6.4.2: readable ones come first */
    r->seg[r->count++] = (struct vmi_segment){e->gpa, e->bytes, write};
    if (write) {
        r->write_bytes += e->bytes;
    } else {
        r->readable++;
        r->read_bytes += e->bytes;
    }
    return true;
}

/* Follow a chain in a table of n descriptors. The number of segments bounds loops. */
static bool follow(struct vmi_virtio *d, uint64_t table, unsigned n, unsigned index, bool indirect)
{
    struct descriptor e;
    unsigned steps;

    for (steps = 0; steps <= VMI_VIRTIO_SEGMENTS; steps++) {
        if (index >= n || !load_descriptor(d, table, index, &e))
            return false;
        if (e.flags & DESC_INDIRECT) {
            /* 2.6.5.3.1: not nested, not chained, whole descriptors. */
            if (indirect || (e.flags & DESC_NEXT) || !e.bytes || e.bytes % DESC_BYTES)
                return false;
            return follow(d, e.gpa, e.bytes / DESC_BYTES, 0, true);
        }
        if (!add_segment(&d->request, &e))
            return false;
        if (!(e.flags & DESC_NEXT))
            return true;
        index = e.next;
    }
    return false;
}

bool vmi_virtio_pop(struct vmi_virtio *d, unsigned queue)
{
    struct vmi_virtqueue *q = &d->queue[queue];
    uint8_t raw[2];
    uint16_t index;

    if (!vmi_virtio_running(d) || !q->ready)
        return false;
    if (q->avail > UINT64_MAX - 4096 || load(d, q->avail + 2, raw, 2))
        goto broken;
    index = vmi_get16(raw);
    if (index == q->next_avail)
        return false;
    if ((uint16_t)(index - q->next_avail) > q->size)
        goto broken;
    if (load(d, q->avail + 4 + 2 * (q->next_avail & (q->size - 1)), raw, 2))
        goto broken;
    d->request.head = vmi_get16(raw);
    d->request.count = d->request.readable = 0;
    d->request.read_bytes = d->request.write_bytes = 0;
    if (!follow(d, q->desc, q->size, d->request.head, false))
        goto broken;
    q->next_avail++;
    return true;
broken:
    vmi_virtio_broken(d);
    return false;
}

void vmi_virtio_push(struct vmi_virtio *d, unsigned queue, uint32_t written)
{
    struct vmi_virtqueue *q = &d->queue[queue];
    uint8_t raw[8];

    if (!vmi_virtio_running(d) || !q->ready)
        return;
    vmi_put32(raw, d->request.head);
    vmi_put32(raw + 4, written);
    if (q->used > UINT64_MAX - 4096 ||
        d->memory.write(d->memory.opaque, q->used + 4 + 8 * (q->next_used & (q->size - 1)), raw,
                        8)) {
        vmi_virtio_broken(d);
        return;
    }
    q->next_used++;
    /* The entry before the index: another vCPU may be looking. */
    atomic_thread_fence(memory_order_release);
    vmi_put16(raw, q->next_used);
    if (d->memory.write(d->memory.opaque, q->used + 2, raw, 2))
        vmi_virtio_broken(d);
}

/* Walk one half of the request; copy in the given direction. */
static uint64_t copy(struct vmi_virtio *d, bool to_guest, uint64_t offset, uint8_t *out,
                     const uint8_t *in, uint64_t bytes)
{
    const struct vmi_request *r = &d->request;
    unsigned n = to_guest ? r->readable : 0, end = to_guest ? r->count : r->readable;
    uint64_t done = 0;

    for (; n < end && done < bytes; n++) {
        const struct vmi_segment *s = &r->seg[n];
        uint64_t part;
        int error;

        if (offset >= s->bytes) {
            offset -= s->bytes;
            continue;
        }
        part = vmi_min(s->bytes - offset, bytes - done);
        if (to_guest)
            error = d->memory.write(d->memory.opaque, s->gpa + offset, in + done, part);
        else
            error = d->memory.read(d->memory.opaque, s->gpa + offset, out + done, part);
        if (error)
            break;
        done += part;
        offset = 0;
    }
    return done;
}

uint64_t vmi_virtio_copy_from(struct vmi_virtio *d, uint64_t offset, void *to, uint64_t bytes)
{
    return copy(d, false, offset, to, NULL, bytes);
}

uint64_t vmi_virtio_copy_to(struct vmi_virtio *d, uint64_t offset, const void *from, uint64_t bytes)
{
    return copy(d, true, offset, NULL, from, bytes);
}
