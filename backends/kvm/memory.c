/*
 * Memory slots of the kernel by difference to the library's flat map, and the dirty log.
 *
 * A slot of the kernel cannot change its size or backing (KVM API 4.35): what differs is deleted,
 * then what is new is added. When the kernel refuses something in the middle, everything is taken
 * back, so that the old map stays in force. Pieces without R have no slot: every access to them
 * comes back as MMIO and is decided by the library.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvm/kvm.h"

#define PAGE 4096u

static int set_slot(struct kvm_machine *vm, uint32_t number, const struct kvm_slot *s)
{
    struct kvm_userspace_memory_region r = {.slot = number,
                                            .flags = s->used ? s->flags : 0,
                                            .guest_phys_addr = s->gpa,
                                            .memory_size = s->used ? s->bytes : 0,
                                            .userspace_addr = (uintptr_t)s->host};
    return kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r);
}

static bool wanted(const struct vmi_slot *s)
{
    return s->prot & VMLIB_PROT_R;
}

static struct kvm_slot as_kernel_slot(const struct vmi_slot *s)
{
    return (struct kvm_slot){.gpa = s->gpa,
                             .bytes = s->bytes,
                             .host = s->host,
                             .flags = (s->prot & VMLIB_PROT_W ? 0u : KVM_MEM_READONLY) |
                                      (s->dirty != NULL ? KVM_MEM_LOG_DIRTY_PAGES : 0u),
                             .used = true};
}

static bool same(const struct kvm_slot *a, const struct kvm_slot *b)
{
    return a->gpa == b->gpa && a->bytes == b->bytes && a->host == b->host && a->flags == b->flags;
}

/* --- the dirty log --- */

static void merge(const struct kvm_slot *k, const struct vmi_slot *s, const uint64_t *bits)
{
    uint64_t shift = (k->gpa - s->gpa) / PAGE; /* the kernel's slot is the library's: 0 */
    for (uint64_t page = 0; page < k->bytes / PAGE; page += 64) {
        uint64_t word = bits[page / 64];
        while (word != 0) {
            uint64_t n = page + (unsigned)__builtin_ctzll(word) + shift;
            word &= word - 1;
            atomic_fetch_or_explicit(&s->dirty[n / 64], UINT64_C(1) << (n % 64),
                                     memory_order_relaxed);
        }
    }
}

/* KVM_GET_DIRTY_LOG also arms the pages anew (KVM API 4.8). */
static void fetch_dirty(struct kvm_machine *vm, uint32_t number, const struct vmi_slot *s)
{
    const struct kvm_slot *k = &vm->slot[number];
    size_t bytes = (size_t)((k->bytes / PAGE + 63) / 64 * 8);
    uint64_t *bits = calloc(1, bytes);
    struct kvm_dirty_log log = {.slot = number, .dirty_bitmap = bits};
    if (bits != NULL && kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) == 0) {
        merge(k, s, bits);
    } else {
        /* Nothing may be lost: all of it may be dirty. */
        for (uint64_t page = 0; page < k->bytes / PAGE; page++)
            atomic_fetch_or_explicit(&s->dirty[page / 64], UINT64_C(1) << (page % 64),
                                     memory_order_relaxed);
    }
    free(bits);
}

static int find(const struct kvm_machine *vm, uint64_t gpa)
{
    for (uint32_t i = 0; i < vm->nslots; i++)
        if (vm->slot[i].used && gpa - vm->slot[i].gpa < vm->slot[i].bytes)
            return (int)i;
    return -1;
}

void kvm_dirty_sync(struct vmi_vm *owner, const struct vmi_slot *slot, uint64_t first, uint64_t n,
                    bool rearm)
{
    struct kvm_machine *vm = owner->impl;
    (void)first;
    (void)n;
    (void)rearm;
    int number = find(vm, slot->gpa);
    if (number >= 0 && slot->dirty != NULL)
        fetch_dirty(vm, (uint32_t)number, slot);
}

/* The old map's slots that go away take their log with them: fetch it first. */
static void save_log(struct kvm_machine *vm, uint32_t number)
{
    const struct kvm_slot *k = &vm->slot[number];
    const struct vmi_vm *owner = vm->owner;
    if (!(k->flags & KVM_MEM_LOG_DIRTY_PAGES))
        return;
    for (uint32_t i = 0; i < owner->nslots; i++)
        if (owner->slots[i].gpa == k->gpa && owner->slots[i].dirty != NULL)
            fetch_dirty(vm, number, &owner->slots[i]);
}

/* --- the map --- */

/* The plan: which kernel slots stay, which pieces are new. */
struct plan {
    struct kvm_slot *next; /* the table after the change */
    uint32_t count;
};

static int room(struct kvm_machine *vm, struct plan *p, uint32_t n)
{
    uint32_t count = vm->nslots > n ? vm->nslots : n;
    if (n > vm->caps.slots)
        return vmi_error(VMLIB_E_LIMIT, "the memory map has %u pieces; this kernel's KVM takes %u",
                         n, vm->caps.slots);
    struct kvm_slot *table = realloc(vm->slot, (count + 1) * sizeof(table[0]));
    if (table == NULL)
        return vmi_error(VMLIB_E_NOMEM, "no memory for the memory map");
    memset(table + vm->nslots, 0, (count + 1 - vm->nslots) * sizeof(table[0]));
    vm->slot = table;
    vm->nslots = count;
    p->next = calloc(count + 1, sizeof(p->next[0]));
    p->count = count;
    return p->next != NULL ? 0 : vmi_error(VMLIB_E_NOMEM, "no memory for the memory map");
}

static void make_plan(const struct kvm_machine *vm, struct plan *p, const struct vmi_slot *slots,
                      uint32_t n)
{
    /* Both tables are short; what stays keeps its number. */
    for (uint32_t i = 0; i < n; i++) {
        struct kvm_slot want = as_kernel_slot(&slots[i]);
        int at = wanted(&slots[i]) ? find(vm, want.gpa) : -1;
        if (at >= 0 && same(&vm->slot[at], &want))
            p->next[at] = want;
    }
    uint32_t free_at = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct kvm_slot want = as_kernel_slot(&slots[i]);
        int at = wanted(&slots[i]) ? find(vm, want.gpa) : -1;
        if (!wanted(&slots[i]) || (at >= 0 && same(&vm->slot[at], &want)))
            continue;
        while (p->next[free_at].used)
            free_at++;
        p->next[free_at] = want;
    }
}

/* From `from` to `to`, both `count` long. What could not be changed is left as in `from`. */
static int change(struct kvm_machine *vm, const struct kvm_slot *from, const struct kvm_slot *to,
                  struct kvm_slot *now, uint32_t count)
{
    const struct kvm_slot none = {0};
    for (uint32_t i = 0; i < count; i++) {
        if (from[i].used && !(to[i].used && same(&from[i], &to[i]))) {
            if (set_slot(vm, i, &none) < 0)
                return -1;
            now[i] = none;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (to[i].used && !now[i].used) {
            if (set_slot(vm, i, &to[i]) < 0)
                return -1;
            now[i] = to[i];
        }
    }
    return 0;
}

static int apply(struct kvm_machine *vm, const struct plan *p)
{
    size_t bytes = p->count * sizeof(vm->slot[0]);
    struct kvm_slot *old = malloc(bytes + 1), *mid = malloc(bytes + 1);
    int rc = 0;
    if (old == NULL || mid == NULL) {
        rc = vmi_error(VMLIB_E_NOMEM, "no memory for the memory map");
    } else {
        memcpy(old, vm->slot, bytes);
        if (change(vm, old, p->next, vm->slot, p->count) < 0) {
            rc = errno == ENOSPC || errno == EINVAL
                     ? vmi_error(VMLIB_E_LIMIT, "KVM_SET_USER_MEMORY_REGION: %s", strerror(errno))
                     : kvm_failed("KVM_SET_USER_MEMORY_REGION");
            memcpy(mid, vm->slot, bytes);
            if (change(vm, mid, old, vm->slot, p->count) < 0)
                vmi_log(vm->owner, VMLIB_LOG_ERROR,
                        "kvm: the old memory map could not be restored: %s", strerror(errno));
        }
    }
    free(old);
    free(mid);
    return rc;
}

int kvm_mem_update(struct vmi_vm *owner, const struct vmi_slot *slots, uint32_t n)
{
    struct kvm_machine *vm = owner->impl;
    struct plan p = {0};
    int rc = room(vm, &p, n);
    if (rc != 0)
        return rc;
    make_plan(vm, &p, slots, n);
    for (uint32_t i = 0; i < p.count; i++)
        if (vm->slot[i].used && !(p.next[i].used && same(&vm->slot[i], &p.next[i])))
            save_log(vm, i);
    rc = apply(vm, &p);
    free(p.next);
    return rc;
}

/* The guest executes from the same memory: nothing is derived from it here. */
void kvm_host_wrote(struct vmi_vm *owner, uint64_t gpa, uint64_t bytes)
{
    (void)owner;
    (void)gpa;
    (void)bytes;
}
