/* Loaders without structure in the file: boot sector and flat image. Files are mapped here, too. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/load.h"

bool vmi_boot_is_sector(const struct vmi_boot *b)
{
    return b->bytes == 512 && b->file[510] == 0x55 && b->file[511] == 0xaa;
}

int vmi_boot_sector(struct vmi_boot *b)
{
    int error;

    if (b->bytes < 512 || b->file[510] != 0x55 || b->file[511] != 0xaa)
        return vmi_dev_error(VMLIB_E_INVAL, "boot sector: no signature 55 aa at offset 510");
    error = vmi_boot_place(b, 0x7c00, b->file, 512, 0, "boot sector");
    b->r.kernel_gpa = 0x7c00;
    b->r.kernel_bytes = 512;
    return error ? error : vmi_boot_enter_real(b, 0, 0x7c00);
}

int vmi_boot_flat(struct vmi_boot *b)
{
    const struct vmlib_boot_params *p = b->p;
    uint64_t entry;
    unsigned bits;
    int error;

    if (p->entry_offset >= b->bytes || p->load_address > UINT64_MAX - b->bytes)
        return vmi_dev_error(VMLIB_E_INVAL,
                             "flat: the entry lies outside the file, or the address overflows");
    entry = p->load_address + p->entry_offset;
    bits = p->entry_bits ? p->entry_bits : entry < 0x100000 ? 16 : 32;
    error = vmi_boot_place(b, p->load_address, b->file, b->bytes, 0, "flat image");
    if (error)
        return error;
    b->r.kernel_gpa = p->load_address;
    b->r.kernel_bytes = b->bytes;
    if (bits == 32)
        return vmi_boot_enter_flat32(b, &(struct vmi_boot_regs){.rip = entry, .rsp = 0x7000});
    if (entry >= 0x100000)
        return vmi_dev_error(VMLIB_E_RANGE, "flat: 16-bit entry %#llx is above 1 MiB",
                             (unsigned long long)entry);
    /* The segment is the image's when that is possible, so that its offsets begin at 0. */
    if (!(p->load_address & 15) && p->entry_offset < 0x10000)
        return vmi_boot_enter_real(b, (uint16_t)(p->load_address >> 4), (uint16_t)p->entry_offset);
    return vmi_boot_enter_real(b, (uint16_t)(entry >> 4 & 0xf000), (uint16_t)entry);
}

static int map_file(int fd, const char *path, struct vmlib_boot_file *file)
{
    struct stat st;
    void *data;

    if (fstat(fd, &st))
        return vmi_dev_error(VMLIB_E_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return vmi_dev_error(VMLIB_E_INVAL, "%s: empty or not a regular file", path);
    data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return vmi_dev_error(VMLIB_E_IO, "%s: %s", path, strerror(errno));
    file->data = data;
    file->bytes = (uint64_t)st.st_size;
    return 0;
}

int vmlib_boot_file_open(const char *path, struct vmlib_boot_file *file)
{
    int fd, error;

    if (!path || !file)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", path ? "file" : "path");
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return vmi_dev_error(VMLIB_E_IO, "%s: %s", path, strerror(errno));
    error = map_file(fd, path, file);
    close(fd);
    return error;
}

void vmlib_boot_file_close(struct vmlib_boot_file *file)
{
    void *data;

    if (!file || !file->data)
        return;
    memcpy(&data, &file->data, sizeof data);
    munmap(data, file->bytes);
    file->data = NULL;
    file->bytes = 0;
}
