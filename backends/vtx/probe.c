/* Is there a driver that can run guests, and if not, why: each reason says what to do. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vtx/vtx.h"
#include "vtx/words.h"

int vtx_failed(const char *what)
{
    int error = errno;
    switch (error) {
    case ENOMEM:
        return vmi_error(VMLIB_E_NOMEM,
                         "%s: the kernel has no memory left, or RLIMIT_MEMLOCK does not allow as "
                         "much pinned memory as the guest has",
                         what);
    case EPERM:
        return vmi_error(VMLIB_E_FORK, "%s: this process did not create the VM", what);
    case EIO:
        return vmi_error(VMLIB_E_IO, "%s: VT-x has been switched off below us", what);
    case EBADF:
    case ENOTTY:
    case ENODEV:
        return vmi_error(VMLIB_E_IO, "%s: the descriptor of the VM has been closed or revoked: %s",
                         what, strerror(error));
    default:
        return vmi_error(VMLIB_E_IO, "%s: %s", what, strerror(error));
    }
}

void vtx_probe_reason(int error, const struct vmlib_vtx_info *info, char *reason, size_t bytes)
{
    reason[0] = '\0';
    if (error == ENOENT || error == ENXIO || error == ENODEV)
        snprintf(reason, bytes, "absent: no %s: the vmlib_vtx module is not loaded (doc/vtx.md)",
                 VMLIB_VTX_DEVICE);
    else if (error == EACCES || error == EPERM)
        snprintf(reason, bytes,
                 "permission: %s may not be opened: add this user to the group that owns it",
                 VMLIB_VTX_DEVICE);
    else if (error != 0)
        snprintf(reason, bytes, "%s: %s", VMLIB_VTX_DEVICE, strerror(error));
    else if (info->api != VMLIB_VTX_API)
        snprintf(reason, bytes,
                 "the driver speaks version %u, this library version %u: install "
                 "the driver that came with it",
                 info->api, VMLIB_VTX_API);
    else if (info->unavailable != VMLIB_VTX_OK)
        vtx_words_unavailable(info, reason, bytes);
}

int vtx_open_device(struct vmlib_vtx_info *info, char *reason, size_t bytes)
{
    int fd = open(VMLIB_VTX_DEVICE, O_RDWR | O_CLOEXEC);
    int error = fd < 0 ? errno : 0;
    memset(info, 0, sizeof(*info));
    info->size = sizeof(*info);
    if (fd >= 0 && ioctl(fd, VMLIB_VTX_INFO, info) != 0)
        error = errno;
    vtx_probe_reason(error, info, reason, bytes);
    if (fd >= 0 && reason[0] != '\0') {
        close(fd);
        fd = -1;
    }
    return fd;
}

int vtx_probe(char *reason, size_t bytes)
{
    struct vmlib_vtx_info info;
    int fd = vtx_open_device(&info, reason, bytes);
    if (fd < 0)
        return VMLIB_E_UNAVAILABLE;
    close(fd);
    return 0;
}
