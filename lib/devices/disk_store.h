/* Sectors of a virtio disk; at + bytes has been checked against its size. */
#ifndef VMI_DEVICES_DISK_STORE_H
#define VMI_DEVICES_DISK_STORE_H

#include "devices/disk.h"

int vmi_disk_store_open(struct vmi_disk *k, bool overlay);
bool vmi_disk_read(struct vmi_disk *k, void *to, uint64_t bytes, uint64_t at);
bool vmi_disk_write(struct vmi_disk *k, const void *from, uint64_t bytes, uint64_t at);
bool vmi_disk_flush(struct vmi_disk *k);

#endif
