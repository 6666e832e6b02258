// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Guest memory of a VM: user pages pinned and entered into the EPT, removed, protected, asked for
 * dirty bits. All arguments come from user space.
 *
 * Order of removal: clear the entry, make every vCPU leave the guest and flush before it enters
 * again, then unpin.
 */
#include "core.h"

#define PAGE_BYTES  4096u
#define CHUNK_PAGES VTX_BATCH

/* Work items in vm->batch. */
#define ITEM_DIRTY (1ull << 63)

int vtx_vm_init(struct vtx_vm *vm, const struct vtx_caps *caps)
{
    int err;

    vm->caps = caps;
    vm->flush_gen = 1;
    vm->batch = plat_page_alloc();
    if (!vm->batch)
        return -ENOMEM;
    err = vtx_ept_init(&vm->ept, caps);
    if (err)
        plat_page_free(vm->batch);
    return err;
}

static void flush(struct vtx_vm *vm)
{
    WRITE_ONCE(vm->flush_gen, vm->flush_gen + 1);
    plat_flush(vm);
}

static int check_range(const struct vtx_vm *vm, u64 gpa, u64 bytes)
{
    if ((gpa | bytes) & (PAGE_BYTES - 1) || !bytes)
        return -EINVAL;
    if (gpa >= vm->caps->gpa_limit || bytes > vm->caps->gpa_limit - gpa)
        return -ERANGE;
    return 0;
}

static int check_prot(const struct vtx_vm *vm, u32 prot)
{
    if (prot & ~(u32)EPT_RIGHTS || (prot & EPT_WRITE && !(prot & EPT_READ)))
        return -EINVAL; /* W without R is a misconfiguration (SDM Vol.3C 28.3.3.1) */
    if (prot == EPT_EXEC && !(vm->caps->features & VMLIB_VTX_F_EPT_XONLY))
        return -EOPNOTSUPP;
    return 0;
}

static u64 after(u64 gpa, unsigned shift)
{
    return ((gpa >> shift) + 1) << shift;
}

static bool is_free(const struct vtx_vm *vm, u64 gpa, u64 end)
{
    unsigned shift;

    for (; gpa < end; gpa = after(gpa, shift))
        if (vtx_ept_leaf(&vm->ept, gpa, &shift))
            return false;
    return true;
}

static void unpin_batch(struct vtx_vm *vm, unsigned n)
{
    unsigned i = 0;

    flush(vm);
    while (i < n) {
        bool dirty = (vm->batch[i] & ITEM_DIRTY) != 0;
        unsigned first = i;

        for (; i < n && !(vm->batch[i] & ITEM_DIRTY) == !dirty; i++)
            vm->batch[i] &= ~ITEM_DIRTY;
        plat_unpin(vm, vm->batch + first, i - first, dirty);
    }
}

/* Remember the pages of a leaf that has been cleared. */
static unsigned collect(struct vtx_vm *vm, unsigned n, u64 old, unsigned shift)
{
    /* Without D bits every page that could be written counts as written. */
    bool dirty = (old & EPT_PIN_W) && (!vm->ept.ad || (old & EPT_DIRTY));
    u64 item = (old & EPT_FRAME) >> 12 | (dirty ? ITEM_DIRTY : 0);
    unsigned i, pages = 1u << (shift - 12);

    for (i = 0; i < pages; i++)
        vm->batch[n + i] = item + i;
    vm->ept.pages -= pages;
    return n + pages;
}

/* Interruptions do not matter here: what was begun is finished. */
static int remove_pages(struct vtx_vm *vm, u64 first, u64 end)
{
    unsigned shift, n = 0;
    int err = 0;
    u64 gpa;

    for (gpa = first; gpa < end && !err; gpa = after(gpa, shift)) {
        u64 *leaf = vtx_ept_leaf(&vm->ept, gpa, &shift);

        if (!leaf)
            continue;
        err = vtx_ept_split(&vm->ept, gpa, first, end);
        if (err)
            break;
        leaf = vtx_ept_leaf(&vm->ept, gpa, &shift);
        if (n + (1u << (shift - 12)) > CHUNK_PAGES) {
            unpin_batch(vm, n);
            n = 0;
            plat_pause();
        }
        n = collect(vm, n, plat_xchg(leaf, 0), shift);
    }
    if (n)
        unpin_batch(vm, n);
    if (!vm->ept.pages && vm->ept.tables > 1) {
        u64 *list = vtx_ept_detach(&vm->ept);

        flush(vm);
        vtx_ept_drop(&vm->ept, list);
    }
    return err;
}

void vtx_vm_free(struct vtx_vm *vm)
{
    remove_pages(vm, 0, vm->caps->gpa_limit);
    vtx_ept_free(&vm->ept);
    plat_page_free(vm->batch);
}

/* Pin and enter up to the next 2 MiB boundary, so that large leaves are found. */
static int map_chunk(struct vtx_vm *vm, u64 gpa, u64 user, unsigned n, u32 prot, bool small)
{
    u64 bits = prot | EPT_PIN_W;
    int err = plat_pin(vm, user, n, true, vm->batch);

    if (err == -EFAULT) { /* read-only user memory */
        err = plat_pin(vm, user, n, false, vm->batch);
        if (!err && prot & EPT_WRITE) {
            plat_unpin(vm, vm->batch, n, false);
            err = -EACCES;
        }
        bits = prot;
    }
    if (err)
        return err;
    err = vtx_ept_map(&vm->ept, gpa, vm->batch, n, bits, small);
    if (err)
        plat_unpin(vm, vm->batch, n, false);
    return err;
}

int vtx_vm_map(struct vtx_vm *vm, const struct vmlib_vtx_map *m)
{
    u64 end = m->gpa + m->bytes, gpa = m->gpa;
    int err = check_range(vm, m->gpa, m->bytes);

    if (!err)
        err = check_prot(vm, m->prot);
    if (err)
        return err;
    if (m->user & (PAGE_BYTES - 1) || m->user + m->bytes < m->user ||
        m->flags & ~VMLIB_VTX_MAP_SMALL)
        return -EINVAL;
    if (!is_free(vm, gpa, end))
        return -EEXIST;
    while (gpa < end) {
        u64 stop = after(gpa, 21) < end ? after(gpa, 21) : end;

        err = plat_pause();
        if (!err)
            err = map_chunk(vm, gpa, m->user + (gpa - m->gpa), (unsigned)((stop - gpa) >> 12),
                            m->prot, (m->flags & VMLIB_VTX_MAP_SMALL) != 0);
        if (err)
            break;
        gpa = stop;
    }
    if (err)
        remove_pages(vm, m->gpa, gpa);
    return err;
}

int vtx_vm_unmap(struct vtx_vm *vm, const struct vmlib_vtx_range *r)
{
    int err = check_range(vm, r->gpa, r->bytes);

    if (err)
        return err;
    if (r->prot || r->reserved)
        return -EINVAL;
    return remove_pages(vm, r->gpa, r->gpa + r->bytes);
}

/* One step: no vCPU sees a state in between, no A or D bit of the processor is lost. */
static void change(u64 *leaf, u64 clear, u64 set)
{
    u64 old;

    do {
        old = READ_ONCE(*leaf);
    } while (!plat_cmpxchg(leaf, old, (old & ~clear) | set));
}

/* Nothing is changed unless everything can be. */
static int may_protect(struct vtx_vm *vm, u64 first, u64 end, u32 prot)
{
    unsigned shift;
    u64 gpa;
    int err;

    for (gpa = first; gpa < end; gpa = after(gpa, shift)) {
        u64 *leaf = vtx_ept_leaf(&vm->ept, gpa, &shift);

        if (!leaf)
            continue;
        if (prot & EPT_WRITE && !(READ_ONCE(*leaf) & EPT_PIN_W))
            return -EACCES;
        err = vtx_ept_split(&vm->ept, gpa, first, end);
        if (err)
            return err;
    }
    return 0;
}

int vtx_vm_protect(struct vtx_vm *vm, const struct vmlib_vtx_range *r)
{
    u64 gpa, end = r->gpa + r->bytes;
    bool changed = false;
    unsigned shift;
    int err = check_range(vm, r->gpa, r->bytes);

    if (!err)
        err = check_prot(vm, r->prot);
    if (!err && r->reserved)
        err = -EINVAL;
    if (!err)
        err = may_protect(vm, r->gpa, end, r->prot);
    if (err)
        return err;
    for (gpa = r->gpa; gpa < end; gpa = after(gpa, shift)) {
        u64 *leaf = vtx_ept_leaf(&vm->ept, gpa, &shift);

        if (!leaf || (READ_ONCE(*leaf) & EPT_RIGHTS) == r->prot)
            continue;
        change(leaf, EPT_RIGHTS, r->prot);
        changed = true;
        if (!(gpa & 0x1fffff))
            plat_pause();
    }
    if (changed)
        flush(vm);
    return 0;
}

static bool harvest(struct vtx_vm *vm, u64 *words, u64 gpa, u64 end, bool rearm)
{
    u64 first = gpa, page;
    bool changed = false;
    unsigned shift;

    for (; gpa < end; gpa = after(gpa, shift)) {
        u64 *leaf = vtx_ept_leaf(&vm->ept, gpa, &shift);
        u64 stop;

        if (!leaf || !(READ_ONCE(*leaf) & EPT_DIRTY))
            continue;
        stop = after(gpa, shift) < end ? after(gpa, shift) : end;
        /* A large leaf that reaches into the next piece is cleared there. */
        if (rearm && stop == after(gpa, shift)) {
            change(leaf, EPT_DIRTY, 0);
            changed = true;
        }
        for (page = (gpa - first) >> 12; page < (stop - first) >> 12; page++)
            words[page >> 6] |= 1ull << (page & 63);
    }
    return changed;
}

int vtx_vm_dirty(struct vtx_vm *vm, const struct vmlib_vtx_dirty *d)
{
    u64 gpa, end = d->gpa + d->bytes, user = d->bitmap;
    bool rearm = (d->flags & VMLIB_VTX_REARM) != 0, changed = false;
    unsigned shift;
    int err = check_range(vm, d->gpa, d->bytes);

    if (err)
        return err;
    if (d->flags & ~VMLIB_VTX_REARM || d->reserved)
        return -EINVAL;
    if (!vm->ept.ad)
        return -EOPNOTSUPP;
    for (gpa = d->gpa; rearm && !err && gpa < end; gpa = after(gpa, shift)) {
        vtx_ept_leaf(&vm->ept, gpa, &shift);
        err = vtx_ept_split(&vm->ept, gpa, d->gpa, end);
    }
    for (gpa = d->gpa; gpa < end && !err;) {
        u64 pages = (end - gpa) >> 12 < 32768 ? (end - gpa) >> 12 : 32768;
        u32 bytes = (u32)((pages + 63) / 64 * 8);

        err = plat_user_read(vm->batch, user, bytes);
        if (!err)
            err = plat_user_write(user, vm->batch, bytes);
        if (err)
            break;
        changed |= harvest(vm, vm->batch, gpa, gpa + (pages << 12), rearm);
        err = plat_user_write(user, vm->batch, bytes);
        user += bytes;
        gpa += pages << 12;
        if (!err)
            err = plat_pause(); /* only a dying process loses bits here */
    }
    if (changed)
        flush(vm);
    return err;
}
