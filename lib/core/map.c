/* Access of the host to guest memory, and the dirty log. */
#include <string.h>

#include "base/checked.h"
#include "base/pages.h"
#include "core/memory.h"

#define LL(x) ((unsigned long long)(x))

const struct vmi_slot *vmi_memory_slot(const struct vmi_vm *vm, uint64_t gpa)
{
    uint32_t lo = 0, hi = vm->nslots;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct vmi_slot *s = &vm->slots[mid];
        if (gpa < s->gpa) {
            hi = mid;
        } else if (gpa - s->gpa >= s->bytes) {
            lo = mid + 1;
        } else {
            return s;
        }
    }
    return NULL;
}

static void mark_dirty(const struct vmi_slot *s, uint64_t offset, uint64_t bytes)
{
    if (s->dirty == NULL || bytes == 0) {
        return;
    }
    uint64_t last = (offset + bytes - 1) / VMLIB_PAGE_SIZE;
    for (uint64_t page = offset / VMLIB_PAGE_SIZE; page <= last; page++) {
        atomic_fetch_or_explicit(&s->dirty[page / 64], UINT64_C(1) << page % 64,
                                 memory_order_relaxed);
    }
}

/* The host has written `bytes` at host address `at`: tell the backend under every name the memory
 * has. */
static void announce_aliases(struct vmlib_vm *vm, const uint8_t *at, uint64_t bytes)
{
    for (uint32_t i = 0; i < vm->pub.nslots; i++) {
        const struct vmi_slot *s = &vm->pub.slots[i];
        if (vmi_ranges_overlap((uintptr_t)at, bytes, (uintptr_t)s->host, s->bytes)) {
            uint64_t from = at > s->host ? (uint64_t)(at - s->host) : 0;
            uint64_t skipped = at < s->host ? (uint64_t)(s->host - at) : 0;
            uint64_t n = vmi_min64(bytes - skipped, s->bytes - from);
            vm->pub.backend->host_wrote(&vm->pub, s->gpa + from, n);
        }
    }
}

/* map_lock held for reading */
static void announce(struct vmlib_vm *vm, const struct vmi_slot *s, uint64_t offset, uint64_t bytes)
{
    mark_dirty(s, offset, bytes);
    if (atomic_load_explicit(&vm->naliases, memory_order_relaxed) != 0) {
        announce_aliases(vm, s->host + offset, bytes);
    } else {
        vm->pub.backend->host_wrote(&vm->pub, s->gpa + offset, bytes);
    }
}

/* Is all of it memory? */
static bool covered(const struct vmi_vm *vm, uint64_t gpa, uint64_t bytes, uint64_t *hole)
{
    while (bytes != 0) {
        const struct vmi_slot *s = vmi_memory_slot(vm, gpa);
        if (s == NULL) {
            *hole = gpa;
            return false;
        }
        uint64_t n = vmi_min64(bytes, s->gpa + s->bytes - gpa);
        gpa += n;
        bytes -= n;
    }
    return true;
}

int vmi_memory_copy(struct vmlib_vm *vm, uint64_t gpa, void *out, const void *in, uint64_t bytes)
{
    uint64_t hole;
    pthread_rwlock_rdlock(&vm->map_lock);
    if (!covered(&vm->pub, gpa, bytes, &hole)) {
        pthread_rwlock_unlock(&vm->map_lock);
        return vmi_error(VMLIB_E_FAULT, "gpa 0x%llx is not memory", LL(hole));
    }
    for (uint64_t done = 0; done < bytes;) {
        const struct vmi_slot *s = vmi_memory_slot(&vm->pub, gpa + done);
        uint64_t offset = gpa + done - s->gpa;
        uint64_t n = vmi_min64(bytes - done, s->bytes - offset);
        if (out != NULL) {
            vmi_pages_copy_out((uint8_t *)out + done, s->host + offset, (size_t)n);
        } else {
            vmi_pages_copy_in(s->host + offset, (const uint8_t *)in + done, (size_t)n);
            announce(vm, s, offset, n);
        }
        done += n;
    }
    pthread_rwlock_unlock(&vm->map_lock);
    return 0;
}

static int check_span(uint64_t gpa, const void *buffer, uint64_t bytes)
{
    VMI_REQUIRE(buffer);
    if (gpa + bytes < gpa || bytes > SIZE_MAX) {
        return vmi_error(VMLIB_E_RANGE, "gpa 0x%llx + bytes 0x%llx overflows", LL(gpa), LL(bytes));
    }
    return 0;
}

int vmlib_vm_read(vmlib_vm *vm, vmlib_gpa gpa, void *buffer, uint64_t bytes)
{
    VMI_REQUIRE(vm);
    int rc = check_span(gpa, buffer, bytes);
    return rc != 0 ? rc : vmi_memory_copy(vm, gpa, buffer, NULL, bytes);
}

int vmlib_vm_write(vmlib_vm *vm, vmlib_gpa gpa, const void *buffer, uint64_t bytes)
{
    VMI_REQUIRE(vm);
    int rc = check_span(gpa, buffer, bytes);
    return rc != 0 ? rc : vmi_memory_copy(vm, gpa, NULL, buffer, bytes);
}

int vmlib_region_written(vmlib_region *region, uint64_t offset, uint64_t bytes)
{
    VMI_REQUIRE(region);
    if (!vmi_range_fits(offset, bytes, region->bytes)) {
        return vmi_error(VMLIB_E_RANGE, "offset 0x%llx + bytes 0x%llx is outside the region",
                         LL(offset), LL(bytes));
    }
    struct vmlib_vm *vm = region->vm;
    pthread_rwlock_rdlock(&vm->map_lock);
    const struct vmi_slot *s = vmi_memory_slot(&vm->pub, region->gpa);
    /* A removed region may have a successor at its address. */
    if (bytes != 0 && s != NULL && s->host == region->backing->host + region->offset) {
        announce(vm, s, offset, bytes);
    }
    pthread_rwlock_unlock(&vm->map_lock);
    return 0;
}

/* --- dirty log --- */

static int check_dirty(const struct vmlib_region *region, uint64_t offset, uint64_t bytes,
                       const uint64_t *bitmap, uint32_t flags)
{
    VMI_REQUIRE(region);
    VMI_REQUIRE(bitmap);
    if (offset % VMLIB_PAGE_SIZE != 0 || bytes % VMLIB_PAGE_SIZE != 0 || bytes == 0) {
        return vmi_error(VMLIB_E_INVAL, "offset 0x%llx or bytes 0x%llx is not page aligned",
                         LL(offset), LL(bytes));
    }
    if ((flags & ~VMLIB_DIRTY_CLEAR) != 0) {
        return vmi_error(VMLIB_E_INVAL, "flags is 0x%x", flags);
    }
    if (!vmi_range_fits(offset, bytes, region->bytes)) {
        return vmi_error(VMLIB_E_RANGE, "offset 0x%llx + bytes 0x%llx is outside the region",
                         LL(offset), LL(bytes));
    }
    if (region->dirty == NULL) {
        return vmi_error(VMLIB_E_STATE, "region was created without DIRTY_LOG");
    }
    return 0;
}

static void collect(struct vmlib_region *r, uint64_t first, uint64_t pages, uint64_t *bitmap,
                    bool clear)
{
    memset(bitmap, 0, (size_t)((pages + 63) / 64 * sizeof(bitmap[0])));
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t page = first + i, bit = UINT64_C(1) << page % 64;
        if ((atomic_load_explicit(&r->dirty[page / 64], memory_order_relaxed) & bit) == 0) {
            continue;
        }
        bitmap[i / 64] |= UINT64_C(1) << i % 64;
        if (clear) {
            atomic_fetch_and_explicit(&r->dirty[page / 64], ~bit, memory_order_relaxed);
        }
    }
}

int vmlib_region_dirty(vmlib_region *region, uint64_t offset, uint64_t bytes, uint64_t *bitmap,
                       uint32_t flags)
{
    int rc = check_dirty(region, offset, bytes, bitmap, flags);
    if (rc != 0) {
        return rc;
    }
    struct vmlib_vm *vm = region->vm;
    uint64_t first = offset / VMLIB_PAGE_SIZE, pages = bytes / VMLIB_PAGE_SIZE;
    bool clear = flags & VMLIB_DIRTY_CLEAR;
    pthread_mutex_lock(&vm->lock);
    if (!region->mapped) {
        rc = vmi_error(VMLIB_E_NOTFOUND, "region has been removed");
    } else {
        /* No vCPU writes meanwhile: what it writes later shows up in the next report. */
        vmi_pause_begin(vm);
        const struct vmi_slot *s = vmi_memory_slot(&vm->pub, region->gpa);
        vm->pub.backend->dirty_sync(&vm->pub, s, first, pages, clear);
        collect(region, first, pages, bitmap, clear);
        vmi_pause_end(vm);
    }
    pthread_mutex_unlock(&vm->lock);
    return rc;
}
