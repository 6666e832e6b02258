/*
 * Regions: creation, protection, removal, and the flat map that backends get.
 *
 * A region lives while it is mapped or while the host has a handle; handles hold the VM. Its memory
 * is a backing of its own, because aliases share it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/pages.h"
#include "core/memory.h"

static void backing_put(struct vmi_backing *b)
{
    if (vmi_ref_put(&b->refs)) {
        if (b->owned) {
            vmi_pages_free(b->host, b->bytes);
        }
        free(b);
    }
}

static void region_free(struct vmlib_region *r)
{
    backing_put(r->backing);
    free(r->dirty);
    free(r);
}

void vmi_memory_destroy_all(struct vmlib_vm *vm)
{
    for (uint32_t i = 0; i < vm->nregions; i++) {
        region_free(vm->regions[i]);
    }
    free(vm->regions);
    free(vm->slots);
}

/* --- checks --- */

#define LL(x) ((unsigned long long)(x))

static int check_file(const struct vmlib_region_config *c)
{
    if (c->fd < 0) {
        return vmi_error(VMLIB_E_INVAL, "config->fd is %d", c->fd);
    }
    if (c->fd_offset % VMLIB_PAGE_SIZE != 0) {
        return vmi_error(VMLIB_E_INVAL, "config->fd_offset 0x%llx is not page aligned",
                         LL(c->fd_offset));
    }
    int64_t size = vmi_pages_file_size(c->fd);
    if (size < 0) {
        return vmi_error(VMLIB_E_INVAL, "config->fd %d is not a regular file", c->fd);
    }
    if (!vmi_range_fits(c->fd_offset, c->bytes, (uint64_t)size)) {
        return vmi_error(VMLIB_E_RANGE,
                         "config->fd_offset + bytes is behind the end of the file (0x%llx)",
                         LL(size));
    }
    return 0;
}

static int check_alias(const struct vmlib_vm *vm, const struct vmlib_region_config *c)
{
    VMI_REQUIRE(c->alias);
    if (c->alias->vm != vm) {
        return vmi_error(VMLIB_E_INVAL, "config->alias belongs to another VM");
    }
    if (c->alias_offset % VMLIB_PAGE_SIZE != 0) {
        return vmi_error(VMLIB_E_INVAL, "config->alias_offset 0x%llx is not page aligned",
                         LL(c->alias_offset));
    }
    if (!vmi_range_fits(c->alias_offset, c->bytes, c->alias->bytes)) {
        return vmi_error(VMLIB_E_RANGE,
                         "config->alias_offset + bytes is behind the end of the region");
    }
    return 0;
}

static int check_backing(const struct vmlib_vm *vm, const struct vmlib_region_config *c)
{
    switch (c->backing) {
    case VMLIB_BACKING_ANON:
        return 0;
    case VMLIB_BACKING_HOST:
        VMI_REQUIRE(c->host);
        if ((uintptr_t)c->host % VMLIB_PAGE_SIZE != 0) {
            return vmi_error(VMLIB_E_INVAL, "config->host is not page aligned");
        }
        if (!vmi_range_fits((uintptr_t)c->host, c->bytes, UINTPTR_MAX)) {
            return vmi_error(VMLIB_E_RANGE, "config->host + bytes overflows");
        }
        return 0;
    case VMLIB_BACKING_FD:
        return check_file(c);
    case VMLIB_BACKING_ALIAS:
        return check_alias(vm, c);
    default:
        return vmi_error(VMLIB_E_INVAL, "config->backing is %u", c->backing);
    }
}

static int check_prot(const struct vmlib_vm *vm, uint32_t prot, const char *name)
{
    static const uint8_t feature[3] = {VMLIB_FEATURE_PROT_READ, VMLIB_FEATURE_PROT_WRITE,
                                       VMLIB_FEATURE_PROT_EXEC};
    if ((prot & ~VMLIB_PROT_RWX) != 0) {
        return vmi_error(VMLIB_E_INVAL, "%s is 0x%x", name, prot);
    }
    for (unsigned i = 0; i < 3; i++) {
        if ((prot >> i & 1) == 0 && vm->pub.backend->feature(feature[i]) == VMLIB_SUPPORT_REFUSED) {
            return vmi_error(VMLIB_E_UNSUPPORTED, "%s 0x%x: backend %s refuses %s", name, prot,
                             vm->pub.backend->name, vmlib_feature_name(feature[i]));
        }
    }
    return 0;
}

static int check_flags(const struct vmlib_vm *vm, const struct vmlib_region_config *c)
{
    const uint32_t known = VMLIB_REGION_DIRTY_LOG | VMLIB_REGION_ROM | VMLIB_REGION_SHARED;
    if ((c->flags & ~known) != 0 || c->reserved != 0) {
        return vmi_error(VMLIB_E_INVAL, "config->flags is 0x%x", c->flags);
    }
    if ((c->flags & VMLIB_REGION_SHARED) && c->backing != VMLIB_BACKING_FD) {
        return vmi_error(VMLIB_E_INVAL, "config->flags: SHARED needs a file");
    }
    if ((c->flags & VMLIB_REGION_DIRTY_LOG) &&
        vm->pub.backend->feature(VMLIB_FEATURE_DIRTY_LOG) == VMLIB_SUPPORT_REFUSED) {
        return vmi_error(VMLIB_E_UNSUPPORTED, "config->flags: backend %s refuses dirty-log",
                         vm->pub.backend->name);
    }
    return 0;
}

static int check_config(const struct vmlib_vm *vm, const struct vmlib_region_config *c)
{
    if (c->gpa % VMLIB_PAGE_SIZE != 0) {
        return vmi_error(VMLIB_E_INVAL, "config->gpa 0x%llx is not page aligned", LL(c->gpa));
    }
    if (c->bytes == 0 || c->bytes % VMLIB_PAGE_SIZE != 0) {
        return vmi_error(VMLIB_E_INVAL,
                         "config->bytes 0x%llx is not a positive multiple of the page size",
                         LL(c->bytes));
    }
    if (!vmi_range_fits(c->gpa, c->bytes, UINT64_C(1) << vm->pub.phys_bits)) {
        return vmi_error(VMLIB_E_RANGE, "config->gpa + bytes leaves the %u-bit address space",
                         vm->pub.phys_bits);
    }
    int rc = check_prot(vm, c->prot, "config->prot");
    if (rc == 0) {
        rc = check_flags(vm, c);
    }
    return rc != 0 ? rc : check_backing(vm, c);
}

/* --- backings --- */

static int backing_map(struct vmi_backing *b, const struct vmlib_region_config *c)
{
    if (c->backing == VMLIB_BACKING_HOST) {
        b->host = c->host;
        return 0;
    }
    bool shared = c->flags & VMLIB_REGION_SHARED;
    b->owned = true;
    b->host = c->backing == VMLIB_BACKING_ANON
                  ? vmi_pages_anon(c->bytes)
                  : vmi_pages_file(c->fd, c->fd_offset, c->bytes, shared, true);
    if (b->host != NULL) {
        return 0;
    }
    if (c->backing == VMLIB_BACKING_ANON || errno == ENOMEM) {
        return vmi_error(VMLIB_E_NOMEM, "config->bytes: no address space for 0x%llx bytes",
                         LL(c->bytes));
    }
    return vmi_error(VMLIB_E_IO, "config->fd cannot be mapped: error %d of the host", errno);
}

static int backing_create(const struct vmlib_region_config *c, struct vmi_backing **out)
{
    struct vmi_backing *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        return vmi_error(VMLIB_E_NOMEM, "no memory for a region");
    }
    atomic_init(&b->refs, 1);
    b->bytes = c->bytes;
    int rc = backing_map(b, c);
    if (rc != 0) {
        free(b);
        return rc;
    }
    *out = b;
    return 0;
}

static int region_new(struct vmlib_vm *vm, const struct vmlib_region_config *c,
                      struct vmlib_region **out)
{
    struct vmlib_region *r = calloc(1, sizeof(*r));
    uint64_t pages = c->bytes / VMLIB_PAGE_SIZE;
    if (r != NULL && (c->flags & VMLIB_REGION_DIRTY_LOG)) {
        r->dirty = calloc((size_t)((pages + 63) / 64), sizeof(r->dirty[0]));
    }
    if (r == NULL || ((c->flags & VMLIB_REGION_DIRTY_LOG) && r->dirty == NULL)) {
        free(r);
        return vmi_error(VMLIB_E_NOMEM, "no memory for a region");
    }
    if (c->backing == VMLIB_BACKING_ALIAS) {
        r->backing = c->alias->backing;
        r->offset = c->alias->offset + c->alias_offset;
        r->alias = true;
        vmi_ref_get(&r->backing->refs);
    } else {
        int rc = backing_create(c, &r->backing);
        if (rc != 0) {
            free(r->dirty);
            free(r);
            return rc;
        }
    }
    r->vm = vm;
    r->refs = 1;
    r->gpa = c->gpa;
    r->bytes = c->bytes;
    r->prot = c->prot;
    r->flags = c->flags;
    *out = r;
    return 0;
}

/* --- the flat map --- */

static void slot_of(const struct vmlib_region *r, struct vmi_slot *s)
{
    *s = (struct vmi_slot){
        .gpa = r->gpa,
        .bytes = r->bytes,
        .host = r->backing->host + r->offset,
        .prot = r->prot & ~((r->flags & VMLIB_REGION_ROM) ? VMLIB_PROT_W : 0u),
        .flags = r->flags,
        .dirty = r->dirty,
    };
}

/* vm->lock held: hand the present list of regions to the backend. On failure the old map is in
 * force. */
static int publish(struct vmlib_vm *vm)
{
    struct vmi_slot *slots = calloc(vm->nregions + 1, sizeof(slots[0]));
    if (slots == NULL) {
        return vmi_error(VMLIB_E_NOMEM, "no memory for the memory map");
    }
    for (uint32_t i = 0; i < vm->nregions; i++) {
        slot_of(vm->regions[i], &slots[i]);
    }
    struct vmi_slot *old = vm->slots;
    vmi_pause_begin(vm);
    pthread_rwlock_wrlock(&vm->map_lock);
    int rc = vm->pub.backend->mem_update(&vm->pub, slots, vm->nregions);
    if (rc == 0) {
        vm->slots = slots;
        vm->pub.slots = slots;
        vm->pub.nslots = vm->nregions;
    }
    pthread_rwlock_unlock(&vm->map_lock);
    vmi_pause_end(vm);
    free(rc == 0 ? old : slots);
    return rc;
}

/* Index of the first region that ends behind gpa. */
static uint32_t lower_bound(const struct vmlib_vm *vm, uint64_t gpa)
{
    uint32_t lo = 0, hi = vm->nregions;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct vmlib_region *r = vm->regions[mid];
        if (r->gpa + r->bytes <= gpa) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static void list_remove(struct vmlib_vm *vm, uint32_t at)
{
    vm->nregions--;
    memmove(&vm->regions[at], &vm->regions[at + 1], (vm->nregions - at) * sizeof(vm->regions[0]));
}

static void list_insert(struct vmlib_vm *vm, uint32_t at, struct vmlib_region *r)
{
    memmove(&vm->regions[at + 1], &vm->regions[at], (vm->nregions - at) * sizeof(vm->regions[0]));
    vm->regions[at] = r;
    vm->nregions++;
}

/* vm->lock held */
static int map_region(struct vmlib_vm *vm, struct vmlib_region *r)
{
    if (vm->nregions >= VMLIB_MAX_REGIONS) {
        return vmi_error(VMLIB_E_LIMIT, "vm has %u regions already", vm->nregions);
    }
    uint32_t at = lower_bound(vm, r->gpa);
    if (at < vm->nregions &&
        vmi_ranges_overlap(r->gpa, r->bytes, vm->regions[at]->gpa, vm->regions[at]->bytes)) {
        return vmi_error(VMLIB_E_EXISTS, "config->gpa: overlaps the region at 0x%llx",
                         LL(vm->regions[at]->gpa));
    }
    struct vmlib_region **list = realloc(vm->regions, (vm->nregions + 1) * sizeof(list[0]));
    if (list == NULL) {
        return vmi_error(VMLIB_E_NOMEM, "no memory for the list of regions");
    }
    vm->regions = list;
    list_insert(vm, at, r);
    atomic_fetch_add(&vm->naliases, r->alias);
    int rc = publish(vm);
    if (rc != 0) {
        atomic_fetch_sub(&vm->naliases, r->alias);
        list_remove(vm, at);
        return rc;
    }
    r->mapped = true;
    return 0;
}

int vmlib_region_create(vmlib_vm *vm, const struct vmlib_region_config *config,
                        vmlib_region **region)
{
    VMI_REQUIRE(vm);
    VMI_REQUIRE(config);
    VMI_REQUIRE(region);
    struct vmlib_region_config c = VMLIB_REGION_CONFIG_INIT;
    int rc = vmi_args_in(&c, sizeof(c), config, "config");
    if (rc == 0) {
        rc = check_config(vm, &c);
    }
    if (rc == 0) {
        rc = vmi_vm_check_fork(vm);
    }
    struct vmlib_region *r = NULL;
    if (rc == 0) {
        rc = region_new(vm, &c, &r);
    }
    if (rc != 0) {
        return rc;
    }
    pthread_mutex_lock(&vm->lock);
    rc = map_region(vm, r);
    pthread_mutex_unlock(&vm->lock);
    if (rc != 0) {
        region_free(r);
        return rc;
    }
    vmlib_vm_ref(vm);
    *region = r;
    return 0;
}

int vmlib_region_protect(vmlib_region *region, uint32_t prot)
{
    VMI_REQUIRE(region);
    struct vmlib_vm *vm = region->vm;
    int rc = check_prot(vm, prot, "prot");
    if (rc != 0) {
        return rc;
    }
    pthread_mutex_lock(&vm->lock);
    if (!region->mapped) {
        rc = vmi_error(VMLIB_E_NOTFOUND, "region has been removed");
    } else {
        uint32_t old = region->prot;
        region->prot = prot;
        rc = publish(vm);
        if (rc != 0) {
            region->prot = old;
        }
    }
    pthread_mutex_unlock(&vm->lock);
    return rc;
}

int vmlib_region_remove(vmlib_region *region)
{
    VMI_REQUIRE(region);
    struct vmlib_vm *vm = region->vm;
    int rc;
    pthread_mutex_lock(&vm->lock);
    if (!region->mapped) {
        rc = vmi_error(VMLIB_E_NOTFOUND, "region has been removed already");
    } else {
        uint32_t at = lower_bound(vm, region->gpa);
        list_remove(vm, at);
        rc = publish(vm);
        if (rc != 0) {
            list_insert(vm, at, region);
        } else {
            region->mapped = false;
            atomic_fetch_sub(&vm->naliases, region->alias);
        }
    }
    pthread_mutex_unlock(&vm->lock);
    return rc;
}

vmlib_region *vmlib_region_ref(vmlib_region *region)
{
    if (region != NULL) {
        pthread_mutex_lock(&region->vm->lock);
        region->refs++;
        pthread_mutex_unlock(&region->vm->lock);
    }
    return region;
}

void vmlib_region_unref(vmlib_region *region)
{
    if (region == NULL) {
        return;
    }
    struct vmlib_vm *vm = region->vm;
    pthread_mutex_lock(&vm->lock);
    bool last = --region->refs == 0;
    bool gone = last && !region->mapped;
    pthread_mutex_unlock(&vm->lock);
    if (gone) {
        region_free(region);
    }
    if (last) {
        vmlib_vm_unref(vm);
    }
}

int vmlib_region_host(vmlib_region *region, void **host)
{
    VMI_REQUIRE(region);
    VMI_REQUIRE(host);
    *host = region->backing->host + region->offset;
    return 0;
}

int vmlib_region_range(const vmlib_region *region, vmlib_gpa *gpa, uint64_t *bytes)
{
    VMI_REQUIRE(region);
    if (gpa != NULL) {
        *gpa = region->gpa;
    }
    if (bytes != NULL) {
        *bytes = region->bytes;
    }
    return 0;
}
