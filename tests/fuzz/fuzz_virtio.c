/*
 * virtio devices and a driver gone mad. Input: a byte that chooses the device, then commands. Guest
 * memory is 64 KiB; commands write it, write registers, and ring.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <vmlib/devices/machine.h>

#include "devices/disk.h"
#include "devices/vcon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define RAM 65536u

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

static void out(void *o, const void *data, size_t bytes)
{
    uint64_t *sum = o;
    size_t n;

    for (n = 0; n < bytes; n++)
        *sum += ((const uint8_t *)data)[n];
}

/* Rings at fixed places, so that few bytes of input reach deep. */
static void begin(struct vmi_virtio *d)
{
    static const uint32_t script[][2] = {
        {0x70, 0}, {0x70, 3},      {0x24, 1},      {0x20, 1},      {0x70, 11}, {0x30, 0},
        {0x38, 8}, {0x80, 0x1000}, {0x90, 0x2000}, {0xa0, 0x3000}, {0x44, 1},  {0x30, 1},
        {0x38, 8}, {0x80, 0x4000}, {0x90, 0x5000}, {0xa0, 0x6000}, {0x44, 1},  {0x70, 15},
    };
    unsigned n;

    for (n = 0; n < sizeof script / sizeof *script; n++)
        vmi_virtio_write(d, script[n][0], 4, script[n][1]);
}

static void commands(struct vmi_virtio *d, const uint8_t *p, size_t left)
{
    size_t n;

    while (left >= 4) {
        unsigned where = p[1] | p[2] << 8;

        n = vmi_min(p[3] & 31, left - 4);
        switch (p[0] & 3) {
        case 0: /* memory */
            if (where <= RAM - n)
                memcpy(ram + where, p + 4, n);
            break;
        case 1: /* register */
            vmi_virtio_write(d, where & 0x1ff, 4, n >= 4 ? vmi_get32(p + 4) : p[3]);
            break;
        case 2: /* ring */
            vmi_virtio_write(d, 0x50, 4, where & 1);
            break;
        default:
            vmi_virtio_read(d, where & 0x1ff, 1u << (p[3] & 3));
            break;
        }
        p += 4 + n;
        left -= 4 + n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct vmi_guest_memory guest = {ram_read, ram_write, NULL};
    static struct vmi_disk disk;
    static struct vmi_vcon con;
    static struct vmi_vrng rng;
    struct vmi_virtio *d = &rng.virtio;
    uint64_t sum = 0;
    FILE *file = NULL;

    if (!bytes)
        return 0;
    memset(ram, 0, sizeof ram);
    if (data[0] % 3 == 0) {
        file = tmpfile();
        if (!file || ftruncate(fileno(file), 20000) ||
            vmi_disk_open(&disk, dup(fileno(file)), data[0] & 8 ? VMLIB_DISK_OVERLAY : 0, NULL,
                          (struct vmi_line){0}, guest))
            abort();
        d = &disk.virtio;
    } else if (data[0] % 3 == 1) {
        vmi_vcon_init(&con, out, &sum, (struct vmi_line){0}, guest);
        d = &con.virtio;
    } else {
        vmi_vrng_init(&rng, 1, (struct vmi_line){0}, guest);
    }
    begin(d);
    if (d == &con.virtio)
        vmi_vcon_input(&con, data, bytes);
    commands(d, data + 1, bytes - 1);
    if (file) {
        vmi_disk_close(&disk);
        fclose(file);
    }
    return 0;
}
