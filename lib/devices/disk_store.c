/* virtio disk: opening, and the copy-on-write overlay. */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/fs.h>
#endif

#include <vmlib/devices/machine.h>

#include "devices/disk.h"
#include "devices/disk_store.h"
#include "devices/error.h"

static int file_bytes(int fd, uint64_t *bytes)
{
    struct stat st;

    if (fstat(fd, &st))
        return -1;
    *bytes = (uint64_t)st.st_size;
#ifdef BLKGETSIZE64
    if (S_ISBLK(st.st_mode))
        return ioctl(fd, BLKGETSIZE64, bytes);
#endif
    return S_ISREG(st.st_mode) ? 0 : -1;
}

static int open_overlay(struct vmi_disk *k)
{
    uint64_t clusters = (k->sectors * VMI_SECTOR + VMI_CLUSTER - 1) / VMI_CLUSTER;
    void *map;

    k->map_bytes = clusters * VMI_CLUSTER;
    if (!clusters)
        return 0;
    map = mmap(NULL, k->map_bytes, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return vmi_dev_error(VMLIB_E_NOMEM, "disk: no address space for an overlay of %llu bytes",
                             (unsigned long long)k->map_bytes);
    k->overlay = map;
    k->present = calloc((clusters + 63) / 64, sizeof *k->present);
    if (!k->present)
        return vmi_dev_error(VMLIB_E_NOMEM, "disk: out of memory");
    return 0;
}

int vmi_disk_store_open(struct vmi_disk *k, bool overlay)
{
    uint64_t bytes;

    if (file_bytes(k->fd, &bytes))
        return vmi_dev_error(VMLIB_E_IO, "disk: neither a regular file nor a block device");
    k->sectors = bytes / VMI_SECTOR;
    return overlay ? open_overlay(k) : 0;
}

void vmi_disk_close(struct vmi_disk *k)
{
    if (k->overlay)
        munmap(k->overlay, k->map_bytes);
    free(k->present);
    if (k->fd >= 0)
        close(k->fd);
    k->fd = -1;
    k->overlay = NULL;
    k->present = NULL;
}

static bool file_read(int fd, uint8_t *to, uint64_t bytes, uint64_t at)
{
    while (bytes) {
        ssize_t n = pread(fd, to, bytes, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        to += n;
        at += (uint64_t)n;
        bytes -= (uint64_t)n;
    }
    return true;
}

static bool file_write(int fd, const uint8_t *from, uint64_t bytes, uint64_t at)
{
    while (bytes) {
        ssize_t n = pwrite(fd, from, bytes, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        from += n;
        at += (uint64_t)n;
        bytes -= (uint64_t)n;
    }
    return true;
}

static bool is_present(const struct vmi_disk *k, uint64_t cluster)
{
    return k->present[cluster / 64] >> (cluster % 64) & 1;
}

bool vmi_disk_read(struct vmi_disk *k, void *to, uint64_t bytes, uint64_t at)
{
    uint8_t *out = to;

    if (!k->overlay)
        return file_read(k->fd, out, bytes, at);
    while (bytes) {
        uint64_t cluster = at / VMI_CLUSTER, part = vmi_min(bytes, VMI_CLUSTER - at % VMI_CLUSTER);

        if (is_present(k, cluster))
            memcpy(out, k->overlay + at, part);
        else if (!file_read(k->fd, out, part, at))
            return false;
        out += part;
        at += part;
        bytes -= part;
    }
    return true;
}

bool vmi_disk_write(struct vmi_disk *k, const void *from, uint64_t bytes, uint64_t at)
{
    const uint8_t *in = from;

    if (!k->overlay)
        return file_write(k->fd, in, bytes, at);
    while (bytes) {
        uint64_t cluster = at / VMI_CLUSTER, part = vmi_min(bytes, VMI_CLUSTER - at % VMI_CLUSTER);

        if (!is_present(k, cluster)) {
            uint64_t start = cluster * VMI_CLUSTER,
                     have = vmi_min(VMI_CLUSTER, k->sectors * VMI_SECTOR - start);

            if (part < have && !file_read(k->fd, k->overlay + start, have, start))
                return false;
            k->present[cluster / 64] |= 1ull << (cluster % 64);
        }
        memcpy(k->overlay + at, in, part);
        in += part;
        at += part;
        bytes -= part;
    }
    return true;
}

bool vmi_disk_flush(struct vmi_disk *k)
{
    return k->overlay || k->read_only || fdatasync(k->fd) == 0;
}
