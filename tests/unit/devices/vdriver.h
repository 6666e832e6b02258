/* The other side of a virtqueue for tests: guest memory of 1 MiB and a driver that may break every
 * rule. */
#ifndef TEST_VDRIVER_H
#define TEST_VDRIVER_H

#include "test.h"

#include "devices/virtio.h"

#define RAM   0x100000u
#define DESC  0x1000u
#define AVAIL 0x2000u
#define USED  0x3000u
#define QUEUE 16u

static uint8_t ram[RAM];

static int ram_read(void *o, uint64_t gpa, void *buffer, uint64_t bytes)
{
    (void)o;
    if (gpa > RAM || bytes > RAM - gpa)
        return -1;
    memcpy(buffer, ram + gpa, bytes);
    return 0;
}

static int ram_write(void *o, uint64_t gpa, const void *buffer, uint64_t bytes)
{
    (void)o;
    if (gpa > RAM || bytes > RAM - gpa)
        return -1;
    memcpy(ram + gpa, buffer, bytes);
    return 0;
}

static const struct vmi_guest_memory guest = {ram_read, ram_write, NULL};

enum { V_STATUS = 0x70 };

static void set_queue(struct vmi_virtio *d, unsigned n, unsigned size)
{
    uint32_t base = n * 0x10000;

    vmi_virtio_write(d, 0x30, 4, n);
    vmi_virtio_write(d, 0x38, 4, size);
    vmi_virtio_write(d, 0x80, 4, base + DESC);
    vmi_virtio_write(d, 0x84, 4, 0);
    vmi_virtio_write(d, 0x90, 4, base + AVAIL);
    vmi_virtio_write(d, 0x94, 4, 0);
    vmi_virtio_write(d, 0xa0, 4, base + USED);
    vmi_virtio_write(d, 0xa4, 4, 0);
    vmi_virtio_write(d, 0x44, 4, 1);
}

/* Reset, negotiate, set up queues, go. */
static void start(struct vmi_virtio *d, unsigned queues)
{
    unsigned n;

    memset(ram, 0, sizeof ram);
    vmi_virtio_write(d, V_STATUS, 4, 0);
    vmi_virtio_write(d, V_STATUS, 4, 3);
    vmi_virtio_write(d, 0x24, 4, 1);
    vmi_virtio_write(d, 0x20, 4, 1); /* VERSION_1 */
    vmi_virtio_write(d, V_STATUS, 4, 11);
    for (n = 0; n < queues; n++)
        set_queue(d, n, QUEUE);
    vmi_virtio_write(d, V_STATUS, 4, 15);
}

static void descriptor(uint64_t table, unsigned n, uint64_t gpa, uint32_t bytes, unsigned flags,
                       unsigned next)
{
    uint8_t *p = ram + table + 16 * n;

    vmi_put64(p, gpa);
    vmi_put32(p + 8, bytes);
    vmi_put16(p + 12, (uint16_t)flags);
    vmi_put16(p + 14, (uint16_t)next);
}

/* Make a chain available and ring. */
static void offer(struct vmi_virtio *d, unsigned queue, unsigned head)
{
    uint8_t *avail = ram + queue * 0x10000 + AVAIL;
    uint16_t index = vmi_get16(avail + 2);

    vmi_put16(avail + 4 + 2 * (index % QUEUE), (uint16_t)head);
    vmi_put16(avail + 2, (uint16_t)(index + 1));
    vmi_virtio_write(d, 0x50, 4, queue);
}

static inline unsigned used_index(unsigned queue)
{
    return vmi_get16(ram + queue * 0x10000 + USED + 2);
}

static inline uint32_t used_bytes(unsigned queue, unsigned n)
{
    return vmi_get32(ram + queue * 0x10000 + USED + 4 + 8 * (n % QUEUE) + 4);
}

static bool needs_reset(struct vmi_virtio *d)
{
    return vmi_virtio_read(d, V_STATUS, 4) & 0x40;
}

#endif
