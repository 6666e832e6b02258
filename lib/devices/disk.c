/* virtio disk: the request protocol (virtio 1.1, 5.2). */
#include <vmlib/devices/machine.h>

#include "devices/disk.h"
#include "devices/disk_store.h"

#define FEATURE_SEG_MAX  (1ull << 2)
#define FEATURE_RO       (1ull << 5)
#define FEATURE_BLK_SIZE (1ull << 6)
#define FEATURE_FLUSH    (1ull << 9)

enum { REQ_IN = 0, REQ_OUT = 1, REQ_FLUSH = 4, REQ_GET_ID = 8 };
enum { ST_OK = 0, ST_IOERR = 1, ST_UNSUPPORTED = 2 };

#define HEADER       16u
#define CONFIG_BYTES 24u

static bool in_range(const struct vmi_disk *k, uint64_t sector, uint64_t bytes)
{
    uint64_t n = bytes / VMI_SECTOR;

    return bytes % VMI_SECTOR == 0 && n <= k->sectors && sector <= k->sectors - n;
}

/* Device to guest. *done: bytes written to the guest. */
static uint8_t do_read(struct vmi_disk *k, uint64_t sector, uint64_t bytes, uint64_t *done)
{
    if (!in_range(k, sector, bytes))
        return ST_IOERR;
    while (*done < bytes) {
        uint64_t part = vmi_min(bytes - *done, sizeof k->buffer);

        if (!vmi_disk_read(k, k->buffer, part, sector * VMI_SECTOR + *done) ||
            vmi_virtio_copy_to(&k->virtio, *done, k->buffer, part) != part)
            return ST_IOERR;
        *done += part;
    }
    return ST_OK;
}

static uint8_t do_write(struct vmi_disk *k, uint64_t sector, uint64_t bytes)
{
    uint64_t done, part;

    if (k->read_only || !in_range(k, sector, bytes))
        return ST_IOERR;
    for (done = 0; done < bytes; done += part) {
        part = vmi_min(bytes - done, sizeof k->buffer);
        if (vmi_virtio_copy_from(&k->virtio, HEADER + done, k->buffer, part) != part ||
            !vmi_disk_write(k, k->buffer, part, sector * VMI_SECTOR + done))
            return ST_IOERR;
    }
    return ST_OK;
}

/* The last writable byte is the status; data lies before it. */
static void serve(struct vmi_disk *k)
{
    struct vmi_virtio *d = &k->virtio;
    uint8_t header[HEADER], status;
    uint64_t done = 0, room, sector;

    if (d->request.write_bytes < 1 || vmi_virtio_copy_from(d, 0, header, HEADER) != HEADER) {
        vmi_virtio_broken(d);
        return;
    }
    room = d->request.write_bytes - 1;
    sector = vmi_get64(header + 8);
    switch (vmi_get32(header)) {
    case REQ_IN:
        status = do_read(k, sector, room, &done);
        break;
    case REQ_OUT:
        status = do_write(k, sector, d->request.read_bytes - HEADER);
        break;
    case REQ_FLUSH:
        status = vmi_disk_flush(k) ? ST_OK : ST_IOERR;
        break;
    case REQ_GET_ID:
        done = vmi_virtio_copy_to(d, 0, k->serial, vmi_min(room, sizeof k->serial));
        status = ST_OK;
        break;
    default:
        status = ST_UNSUPPORTED;
        break;
    }
    vmi_virtio_copy_to(d, room, &status, 1);
    /* 2.6.8.2: only what has been written from the start counts, so an incomplete read does not
     * include its status. */
    vmi_virtio_push(d, 0, (uint32_t)vmi_min(done == room ? done + 1 : done, UINT32_MAX));
}

static void notify(struct vmi_virtio *d, unsigned queue)
{
    struct vmi_disk *k = d->device;
    unsigned n;

    /* One notification serves at most one ring: a second vCPU that keeps filling it must not hold
     * this one for ever. */
    for (n = 0; n < VMI_VIRTIO_QUEUE_MAX && vmi_virtio_pop(d, queue); n++)
        serve(k);
    if (n)
        vmi_virtio_signal(d, queue);
}

static void config_read(struct vmi_virtio *d, unsigned offset, void *to, unsigned width)
{
    const struct vmi_disk *k = d->device;
    uint8_t config[CONFIG_BYTES] = {0};

    vmi_put64(config, k->sectors);
    vmi_put32(config + 12, VMI_VIRTIO_SEGMENTS - 2); /* seg_max: without header and status */
    vmi_put32(config + 20, VMI_SECTOR);
    memcpy(to, config + offset, width);
}

static const struct vmi_virtio_class disk_class = {
    .id = VMI_VIRTIO_BLOCK,
    .queues = 1,
    .features = FEATURE_SEG_MAX | FEATURE_BLK_SIZE | FEATURE_FLUSH,
    .notify = notify,
    .config_bytes = CONFIG_BYTES,
    .config_read = config_read,
};

static const struct vmi_virtio_class disk_class_ro = {
    .id = VMI_VIRTIO_BLOCK,
    .queues = 1,
    .features = FEATURE_SEG_MAX | FEATURE_BLK_SIZE | FEATURE_FLUSH | FEATURE_RO,
    .notify = notify,
    .config_bytes = CONFIG_BYTES,
    .config_read = config_read,
};

int vmi_disk_open(struct vmi_disk *k, int fd, uint32_t flags, const char *serial,
                  struct vmi_line irq, struct vmi_guest_memory memory)
{
    bool overlay = (flags & VMLIB_DISK_OVERLAY) && !(flags & VMLIB_DISK_READ_ONLY);
    size_t n;
    int error;

    memset(k, 0, sizeof *k);
    k->fd = fd;
    k->read_only = flags & VMLIB_DISK_READ_ONLY;
    n = serial ? strlen(serial) : 0;
    if (n)
        memcpy(k->serial, serial, n < sizeof k->serial ? n : sizeof k->serial);
    vmi_virtio_init(&k->virtio, k->read_only ? &disk_class_ro : &disk_class, k, irq, memory);
    error = vmi_disk_store_open(k, overlay);
    if (error)
        vmi_disk_close(k);
    return error;
}
