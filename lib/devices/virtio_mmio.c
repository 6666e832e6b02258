/* virtio over MMIO: the register window (virtio 1.1, 4.2.2). Version 2 ("modern") only. */
#include "devices/virtio.h"

enum {
    MAGIC = 0x000,
    VERSION = 0x004,
    DEVICE_ID = 0x008,
    VENDOR_ID = 0x00c,
    DEVICE_FEATURES = 0x010,
    DEVICE_FEATURES_SEL = 0x014,
    DRIVER_FEATURES = 0x020,
    DRIVER_FEATURES_SEL = 0x024,
    QUEUE_SEL = 0x030,
    QUEUE_NUM_MAX = 0x034,
    QUEUE_NUM = 0x038,
    QUEUE_READY = 0x044,
    QUEUE_NOTIFY = 0x050,
    INTERRUPT_STATUS = 0x060,
    INTERRUPT_ACK = 0x064,
    STATUS = 0x070,
    QUEUE_DESC = 0x080,
    QUEUE_DRIVER = 0x090,
    QUEUE_DEVICE = 0x0a0,
    CONFIG_GENERATION = 0x0fc,
    CONFIG = 0x100
};

#define STATUS_DRIVER_OK   4u
#define STATUS_FEATURES_OK 8u
#define STATUS_NEEDS_RESET 0x40u

#define FEATURE_VERSION_1 (1ull << 32)
#define FEATURE_INDIRECT  (1ull << 28)

#define INTERRUPT_RING   1u
#define INTERRUPT_CONFIG 2u

static uint64_t offered(const struct vmi_virtio *d)
{
    return d->class->features | FEATURE_VERSION_1 | FEATURE_INDIRECT;
}

static struct vmi_virtqueue *selected(struct vmi_virtio *d)
{
    return d->queue_select < d->class->queues ? &d->queue[d->queue_select] : NULL;
}

static void update(struct vmi_virtio *d)
{
    vmi_line_set(&d->irq, d->interrupt != 0);
}

static void reset(struct vmi_virtio *d)
{
    d->status = d->interrupt = 0;
    d->features_select = d->driver_select = d->queue_select = 0;
    d->driver_features = 0;
    memset(d->queue, 0, sizeof d->queue);
    if (d->class->reset)
        d->class->reset(d);
    update(d);
}

bool vmi_virtio_running(const struct vmi_virtio *d)
{
    return (d->status & STATUS_DRIVER_OK) && !(d->status & STATUS_NEEDS_RESET);
}

void vmi_virtio_broken(struct vmi_virtio *d)
{
    d->status |= STATUS_NEEDS_RESET;
    if (d->status & STATUS_DRIVER_OK) {
        d->interrupt |= INTERRUPT_CONFIG;
        update(d);
    }
}

void vmi_virtio_signal(struct vmi_virtio *d, unsigned queue)
{
    uint8_t flags[2];

    if (!vmi_virtio_running(d) || d->memory.read(d->memory.opaque, d->queue[queue].avail, flags, 2))
        return;
    if (flags[0] & 1) /* VIRTQ_AVAIL_F_NO_INTERRUPT */
        return;
    d->interrupt |= INTERRUPT_RING;
    update(d);
}

static uint64_t read_config(struct vmi_virtio *d, unsigned offset, unsigned width)
{
    uint8_t bytes[8] = {0};

    if (!d->class->config_read || width > 8 || offset >= d->class->config_bytes ||
        width > d->class->config_bytes - offset)
        return 0;
    d->class->config_read(d, offset, bytes, width);
    return vmi_get64(bytes);
}

uint64_t vmi_virtio_read(struct vmi_virtio *d, unsigned offset, unsigned width)
{
    const struct vmi_virtqueue *q = selected(d);

    if (offset >= CONFIG)
        return read_config(d, offset - CONFIG, width);
    if (width != 4)
        return 0; /* 4.2.2.2: registers are 32 bits wide */
    switch (offset) {
    case MAGIC:
        return 0x74726976;
    case VERSION:
        return 2;
    case DEVICE_ID:
        return d->class->id;
    case VENDOR_ID:
        return 0x62696c76;
    case DEVICE_FEATURES:
        return d->features_select < 2 ? (uint32_t)(offered(d) >> 32 * d->features_select) : 0;
    case QUEUE_NUM_MAX:
        return q ? VMI_VIRTIO_QUEUE_MAX : 0;
    case QUEUE_READY:
        return q ? q->ready : 0;
    case INTERRUPT_STATUS:
        return d->interrupt;
    case STATUS:
        return d->status;
    default:
        return 0;
    }
}

static void write_status(struct vmi_virtio *d, uint32_t value)
{
    if (!value) {
        reset(d);
        return;
    }
    value = (value & 0x8f) | d->status; /* bits are only taken back by a reset */
    if ((value & STATUS_FEATURES_OK) &&
        ((d->driver_features & ~offered(d)) || !(d->driver_features & FEATURE_VERSION_1)))
        value &= ~STATUS_FEATURES_OK; /* 2.2.2: not acceptable */
    d->status = value;
}

static void write_features(struct vmi_virtio *d, uint32_t value)
{
    unsigned shift = 32 * d->driver_select;

    if (d->driver_select >= 2 || (d->status & STATUS_FEATURES_OK))
        return;
    d->driver_features = (d->driver_features & ~(0xffffffffull << shift)) | (uint64_t)value
                                                                                << shift;
}

static void write_ready(struct vmi_virtqueue *q, bool ready)
{
    if (!ready) {
        q->ready = false;
    } else if (!q->ready && q->size) {
        q->ready = true;
        q->next_avail = q->next_used = 0;
    }
}

static void write_address(struct vmi_virtqueue *q, unsigned offset, uint32_t value)
{
    uint64_t *address = (offset & ~7u) == QUEUE_DESC     ? &q->desc
                        : (offset & ~7u) == QUEUE_DRIVER ? &q->avail
                                                         : &q->used;

    if (q->ready)
        return; /* 4.2.2.2: only while the queue is not ready */
    if (offset & 4)
        *address = (uint32_t)*address | (uint64_t)value << 32;
    else
        *address = (*address & ~0xffffffffull) | value;
}

static void write_queue(struct vmi_virtio *d, unsigned offset, uint32_t value)
{
    struct vmi_virtqueue *q = selected(d);

    if (!q)
        return;
    switch (offset) {
    case QUEUE_NUM:
        if (!q->ready && value <= VMI_VIRTIO_QUEUE_MAX && !(value & (value - 1)))
            q->size = (uint16_t)value;
        break;
    case QUEUE_READY:
        write_ready(q, value & 1);
        break;
    case QUEUE_DESC:
    case QUEUE_DESC + 4:
    case QUEUE_DRIVER:
    case QUEUE_DRIVER + 4:
    case QUEUE_DEVICE:
    case QUEUE_DEVICE + 4:
        write_address(q, offset, value);
        break;
    default:
        break;
    }
}

void vmi_virtio_write(struct vmi_virtio *d, unsigned offset, unsigned width, uint64_t value)
{
    uint32_t v = (uint32_t)value;

    if (width != 4 || offset >= CONFIG)
        return; /* no device here has writable configuration */
    switch (offset) {
    case DEVICE_FEATURES_SEL:
        d->features_select = v;
        break;
    case DRIVER_FEATURES_SEL:
        d->driver_select = v;
        break;
    case DRIVER_FEATURES:
        write_features(d, v);
        break;
    case QUEUE_SEL:
        d->queue_select = v;
        break;
    case QUEUE_NOTIFY:
        if (v < d->class->queues && vmi_virtio_running(d))
            d->class->notify(d, v);
        break;
    case INTERRUPT_ACK:
        d->interrupt &= ~v;
        update(d);
        break;
    case STATUS:
        write_status(d, v);
        break;
    default:
        write_queue(d, offset, v);
        break;
    }
}

void vmi_virtio_init(struct vmi_virtio *d, const struct vmi_virtio_class *class, void *device,
                     struct vmi_line irq, struct vmi_guest_memory memory)
{
    *d = (struct vmi_virtio){.class = class, .device = device, .irq = irq, .memory = memory};
}
