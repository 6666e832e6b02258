/*
 * Doorbells that the backend answers itself, so that ringing them takes no exit.
 *
 * Only those that mean exactly what an eventfd in the kernel can do: a descriptor, one width, and
 * no other doorbell at the address, between which core would have to choose. The descriptor is the
 * caller's, who may close it too early: the backend gets a copy, without which it could not be told
 * to stop.
 */
#include <fcntl.h>
#include <unistd.h>

#include "core/internal.h"

static int tell(struct vmlib_vm *vm, const struct vmi_hook *h, bool on)
{
    const struct vmi_bell bell = {
        .kind = h->kind,
        .width = h->width,
        .address = h->first,
        .value = h->value,
        .match = (h->flags & VMLIB_DOORBELL_MATCH) != 0,
        .fd = h->backend_fd,
    };
    return vm->pub.backend->doorbell(&vm->pub, &bell, on);
}

static void give_back(struct vmlib_vm *vm, struct vmi_hook *h)
{
    if (h->backend_fd >= 0) {
        (void)tell(vm, h, false);
        close(h->backend_fd);
        h->backend_fd = -1;
    }
}

static void hand_over(struct vmlib_vm *vm, struct vmi_hook *h)
{
    if (h->backend_fd >= 0 || h->backend_declines) {
        return;
    }
    h->backend_fd = fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
    if (h->backend_fd >= 0 && tell(vm, h, true) != 0) {
        close(h->backend_fd);
        h->backend_fd = -1;
    }
    h->backend_declines = h->backend_fd < 0;
}

static bool alone(const struct vmlib_vm *vm, const struct vmi_hook *h)
{
    for (const struct vmi_hook *o = vm->hooks; o != NULL; o = o->next) {
        if (o != h && o->doorbell && o->kind == h->kind && o->first == h->first) {
            return false;
        }
    }
    return true;
}

void vmi_bells_update(struct vmlib_vm *vm, struct vmi_hook *gone)
{
    if (vm->pub.backend->doorbell == NULL) {
        return;
    }
    if (gone != NULL && gone->doorbell) {
        give_back(vm, gone);
    }
    /* First all that end: another may take the address. */
    for (struct vmi_hook *h = vm->hooks; h != NULL; h = h->next) {
        if (h->doorbell && !alone(vm, h)) {
            give_back(vm, h);
        }
    }
    for (struct vmi_hook *h = vm->hooks; h != NULL; h = h->next) {
        if (h->doorbell && h->fd >= 0 && h->width != 0 && alone(vm, h)) {
            hand_over(vm, h);
        }
    }
}
