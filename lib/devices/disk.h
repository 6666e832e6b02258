/* What a virtio disk stores its sectors in: a file, read-only or not, with an optional overlay in
 * memory. */
#ifndef VMI_DEVICES_DISK_H
#define VMI_DEVICES_DISK_H

#include "devices/virtio.h"

#define VMI_SECTOR  512u
#define VMI_CLUSTER 4096u /* granule of the overlay */

struct vmi_disk {
    struct vmi_virtio virtio;
    int fd;
    bool read_only;
    uint8_t *overlay;  /* as large as the file, sparse; NULL: none */
    uint64_t *present; /* one bit per cluster of the overlay */
    uint64_t sectors, map_bytes;
    char serial[20];
    uint8_t buffer[64 * 1024];
};

/* Takes over fd. flags: VMLIB_DISK_ bits. 0 or a VMLIB_E_ code with its text. */
int vmi_disk_open(struct vmi_disk *k, int fd, uint32_t flags, const char *serial,
                  struct vmi_line irq, struct vmi_guest_memory memory);
void vmi_disk_close(struct vmi_disk *k);

#endif
