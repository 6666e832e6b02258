/*
 * Guest memory by difference to the library's flat map, and the dirty log.
 *
 * What differs is unmapped, then what is new is mapped; when the driver refuses something in the
 * middle, everything is taken back. Pieces without R are not mapped: every access to them exits and
 * is decided by the library.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vtx/vtx.h"

#define PAGE 4096u

static bool wanted(const struct vmi_slot *s)
{
    return s->prot & VMLIB_PROT_R;
}

static bool same(const struct vmi_slot *a, const struct vmi_slot *b)
{
    return a->gpa == b->gpa && a->bytes == b->bytes && a->host == b->host && a->prot == b->prot &&
           (a->dirty != NULL) == (b->dirty != NULL);
}

static bool contains(const struct vmi_slot *table, uint32_t n, const struct vmi_slot *s)
{
    for (uint32_t i = 0; i < n; i++)
        if (same(&table[i], s))
            return true;
    return false;
}

static int map(struct vtx_vm *vm, const struct vmi_slot *s)
{
    struct vmlib_vtx_map m = {.gpa = s->gpa,
                              .bytes = s->bytes,
                              .user = (uintptr_t)s->host,
                              .prot = s->prot & VMLIB_PROT_RWX,
                              .flags = s->dirty != NULL ? VMLIB_VTX_MAP_SMALL : 0};
    int rc;
    do {
        rc = ioctl(vm->fd, VMLIB_VTX_MAP, &m);
    } while (rc != 0 && errno == EINTR);
    return rc;
}

static void unmap(struct vtx_vm *vm, const struct vmi_slot *s)
{
    struct vmlib_vtx_range r = {.gpa = s->gpa, .bytes = s->bytes};
    (void)ioctl(vm->fd, VMLIB_VTX_UNMAP, &r);
}

/* --- the dirty log --- */

static void all_dirty(const struct vmi_slot *s)
{
    for (uint64_t page = 0; page < s->bytes / PAGE; page++)
        atomic_fetch_or_explicit(&s->dirty[page / 64], UINT64_C(1) << (page % 64),
                                 memory_order_relaxed);
}

static void fetch_dirty(struct vtx_vm *vm, const struct vmi_slot *s, bool rearm)
{
    uint64_t words = (s->bytes / PAGE + 63) / 64;
    uint64_t *bits = calloc((size_t)words, 8);
    struct vmlib_vtx_dirty d = {.gpa = s->gpa,
                                .bytes = s->bytes,
                                .bitmap = (uintptr_t)bits,
                                .flags = rearm ? VMLIB_VTX_REARM : 0};
    if (bits != NULL && ioctl(vm->fd, VMLIB_VTX_DIRTY, &d) == 0) {
        for (uint64_t i = 0; i < words; i++)
            if (bits[i] != 0)
                atomic_fetch_or_explicit(&s->dirty[i], bits[i], memory_order_relaxed);
    } else {
        all_dirty(s); /* nothing may be lost */
    }
    free(bits);
}

void vtx_dirty_sync(struct vmi_vm *owner, const struct vmi_slot *slot, uint64_t first, uint64_t n,
                    bool rearm)
{
    (void)first;
    (void)n;
    /* Bits cover the whole slot; what is rearmed beyond the asked-for part is in slot->dirty. */
    if (slot->dirty != NULL && wanted(slot))
        fetch_dirty(owner->impl, slot, rearm);
}

/* --- the map --- */

static int refused(const struct vmi_slot *s)
{
    if (errno == EFAULT)
        return vmi_error(VMLIB_E_FAULT,
                         "the memory of the region at 0x%llx is not mapped in this process",
                         (unsigned long long)s->gpa);
    if (errno == EACCES)
        return vmi_error(VMLIB_E_FAULT, "the memory of the region at 0x%llx is read-only",
                         (unsigned long long)s->gpa);
    return vtx_failed("VMLIB_VTX_MAP");
}

int vtx_mem_update(struct vmi_vm *owner, const struct vmi_slot *slots, uint32_t n)
{
    struct vtx_vm *vm = owner->impl;
    const struct vmi_slot *old = owner->slots;
    uint32_t nold = owner->nslots;
    for (uint32_t i = 0; i < nold; i++) {
        if (!wanted(&old[i]) || contains(slots, n, &old[i]))
            continue;
        if (old[i].dirty != NULL)
            fetch_dirty(vm, &old[i], false);
        unmap(vm, &old[i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!wanted(&slots[i]) || contains(old, nold, &slots[i]) || map(vm, &slots[i]) == 0)
            continue;
        int rc = refused(&slots[i]);
        for (uint32_t k = 0; k < i; k++)
            if (wanted(&slots[k]) && !contains(old, nold, &slots[k]))
                unmap(vm, &slots[k]);
        for (uint32_t k = 0; k < nold; k++)
            if (wanted(&old[k]) && !contains(slots, n, &old[k]))
                (void)map(vm, &old[k]); /* it was mapped a moment ago */
        return rc;
    }
    return 0;
}

/* Nothing is derived from guest memory. */
void vtx_host_wrote(struct vmi_vm *owner, uint64_t gpa, uint64_t bytes)
{
    (void)owner;
    (void)gpa;
    (void)bytes;
}
