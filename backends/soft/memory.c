/*
 * Guest-physical memory of the software backend: pages, slow stores, and the rendezvous between
 * vCPU threads.
 *
 * Stores normally go straight to memory through a write tag of the software TLB. A page that holds
 * decoded code or is dirty-logged and clean has no write tag; its stores come here.
 *
 * Two orders matter between threads, both by sequentially consistent atomics:
 *   decoding: mark the granules, make every other vCPU drop its write tags, then read the bytes;
 *   storing:  write the bytes, then look at the marks, then tell every vCPU that may have decoded
 * them.
 */
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "soft/soft.h"

/* Index of the slot that covers gpa, or -1. */
static int find(const struct vmi_vm *vm, uint64_t gpa)
{
    uint32_t lo = 0, hi = vm->nslots;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        const struct vmi_slot *s = &vm->slots[mid];
        if (gpa < s->gpa)
            hi = mid;
        else if (gpa - s->gpa < s->bytes)
            return (int)mid;
        else
            lo = mid + 1;
    }
    return -1;
}

static bool is_clean(const struct vmi_slot *s, uint64_t page)
{
    return s->dirty && !(atomic_load(&s->dirty[page / 64]) >> (page % 64) & 1);
}

/* Visit every slot that maps this page of host memory: usually just the one it was found through.
 */
struct alias {
    uint32_t slot;
    uint64_t page; /* in the slot */
};
static bool next_alias(const struct soft_vm *vm, uint32_t first, const uint8_t *host,
                       struct alias *a)
{
    const struct vmi_slot *slots = vm->owner->slots;
    if (!vm->aliases) {
        if (a->slot != UINT32_MAX)
            return false;
        *a = (struct alias){first, (uint64_t)(host - slots[first].host) >> 12};
        return true;
    }
    for (uint32_t i = a->slot + 1; i < vm->owner->nslots; i++) {
        uint64_t off = (uint64_t)((uintptr_t)host - (uintptr_t)slots[i].host);
        if (off < slots[i].bytes) {
            *a = (struct alias){i, off >> 12};
            return true;
        }
    }
    return false;
}
#define ALIAS_BEGIN   \
    {                 \
        UINT32_MAX, 0 \
    }

void soft_page(struct x86_cpu *cpu, uint64_t gpa, enum x86_access acc, struct x86_page *out)
{
    struct soft_vcpu *v = soft_of(cpu);
    struct soft_vm *vm = v->vm;
    const struct vmi_slot *s = &vm->owner->slots[v->last_slot]; /* most pages are in the same one */
    int i = (int)v->last_slot;
    (void)acc;
    *out = (struct x86_page){0};
    if (X86_UNLIKELY(v->last_slot >= vm->owner->nslots || gpa - s->gpa >= s->bytes)) {
        i = find(vm->owner, gpa);
        if (i < 0)
            return;
        v->last_slot = (uint32_t)i;
        s = &vm->owner->slots[i];
    }
    uint8_t *host = s->host + ((gpa - s->gpa) & ~X86_PAGE_MASK);
    out->host = s->prot & VMLIB_PROT_R ? host : NULL;
    out->writable = s->prot & VMLIB_PROT_W;
    out->exec = s->prot & VMLIB_PROT_X;
    for (struct alias a = ALIAS_BEGIN; next_alias(vm, (uint32_t)i, host, &a);)
        out->write_slow |= __atomic_load_n(&vm->code[a.slot].bits[a.page], __ATOMIC_SEQ_CST) != 0 ||
                           is_clean(&vm->owner->slots[a.slot], a.page);
}

/* Granules that size bytes at gpa touch, all on one page. */
static uint64_t granules(uint64_t gpa, unsigned size)
{
    unsigned first = (unsigned)(gpa & 0xfff) >> 6, last = (unsigned)((gpa & 0xfff) + size - 1) >> 6;
    return (UINT64_MAX >> (63 - (last > 63 ? 63 : last))) & (UINT64_MAX << first);
}

/* --- overwritten code --- */

static void announce(struct soft_vcpu *to, uintptr_t page, uint64_t mask)
{
    pthread_mutex_lock(&to->queue_lock);
    unsigned n = to->nqueue;
    if (n && n <= SOFT_CODE_QUEUE && to->queue[n - 1].page == page)
        to->queue[n - 1].granules |= mask;
    else if (n < SOFT_CODE_QUEUE)
        to->queue[to->nqueue++] = (struct soft_code_write){page, mask};
    else
        to->nqueue = SOFT_CODE_QUEUE + 1; /* too many: everything is dropped */
    pthread_mutex_unlock(&to->queue_lock);
    soft_request(to, SOFT_REQ_CODE);
}

static void code_written(struct soft_vm *vm, struct soft_vcpu *self, uintptr_t page, uint64_t mask)
{
    if (self)
        soft_cache_overwritten(self, page, mask);
    unsigned n = __atomic_load_n(&vm->nvcpus, __ATOMIC_ACQUIRE);
    pthread_rwlock_rdlock(&vm->vcpus_lock);
    for (unsigned i = 0; i < n; i++) {
        struct soft_vcpu *o = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);
        if (o && o != self)
            announce(o, page, mask);
    }
    pthread_rwlock_unlock(&vm->vcpus_lock);
}

/* Which marks of a page a store takes away: those it has hit, but the last ones of the page stay
 * for a while. */
static uint64_t outdated(struct soft_code *code, uint64_t page, uint64_t marks, uint64_t mask)
{
    uint8_t *cooling = &code->cooling[page], n = __atomic_load_n(cooling, __ATOMIC_RELAXED);
    if (!n && marks & ~mask)
        return marks & mask;
    bool keep = n < SOFT_COOLING;
    __atomic_store_n(cooling, keep ? n + 1 : 0, __ATOMIC_RELAXED);
    return keep ? 0 : marks;
}

/* After a store inside one page: dirty log, and whoever decoded these bytes. Marks go when they are
 * hit, so that a page reused for data becomes fast again: a vCPU that still holds a block of them
 * has the request to drop it. */
static void touched_page(struct soft_vm *vm, struct soft_vcpu *self, uint32_t slot, uint64_t gpa,
                         unsigned size)
{
    const struct vmi_slot *slots = vm->owner->slots;
    uint8_t *host = slots[slot].host + ((gpa - slots[slot].gpa) & ~X86_PAGE_MASK);
    uint64_t mask = granules(gpa, size), hit = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (struct alias a = ALIAS_BEGIN; next_alias(vm, slot, host, &a);) {
        if (slots[a.slot].dirty)
            atomic_fetch_or(&slots[a.slot].dirty[a.page / 64], UINT64_C(1) << (a.page % 64));
        uint64_t *code = &vm->code[a.slot].bits[a.page];
        uint64_t marks = __atomic_load_n(code, __ATOMIC_SEQ_CST), gone;
        if (X86_LIKELY(!marks))
            continue;
        hit |= marks & mask;
        gone = outdated(&vm->code[a.slot], a.page, marks, mask);
        if (gone)
            hit |= __atomic_fetch_and(code, ~gone, __ATOMIC_SEQ_CST) & gone;
    }
    if (hit)
        code_written(vm, self, (uintptr_t)host, hit);
}

void soft_touched(struct soft_vm *vm, struct soft_vcpu *self, uint64_t gpa, uint64_t size)
{
    while (size) {
        int slot = find(vm->owner, gpa);
        unsigned n = 0x1000 - (unsigned)(gpa & 0xfff);
        if (n > size)
            n = (unsigned)size;
        if (slot >= 0)
            touched_page(vm, self, (uint32_t)slot, gpa, n);
        gpa += n;
        size -= n;
    }
}

bool soft_has_code(struct soft_vm *vm, uint64_t gpa, unsigned size)
{
    int slot = find(vm->owner, gpa);
    if (slot < 0)
        return false;
    uint64_t page = (gpa - vm->owner->slots[slot].gpa) >> 12;
    return __atomic_load_n(&vm->code[slot].bits[page], __ATOMIC_SEQ_CST) & granules(gpa, size);
}

bool soft_store(struct soft_vcpu *v, uint64_t gpa, uint64_t value, unsigned size)
{
    int slot = find(v->vm->owner, gpa);
    if (slot < 0 || !(v->vm->owner->slots[slot].prot & VMLIB_PROT_W))
        return false;
    const struct vmi_slot *s = &v->vm->owner->slots[slot];
    x86_raw_store(s->host + (gpa - s->gpa), value, size);
    touched_page(v->vm, v, (uint32_t)slot, gpa, size);
    return true;
}

/* --- the map --- */

#define CODE_BYTES (sizeof(uint64_t) + 1) /* per page: marks, cooling */

static void free_code(struct soft_code *code, uint32_t n)
{
    for (uint32_t i = 0; code && i < n; i++)
        munmap(code[i].bits, code[i].pages * CODE_BYTES);
    free(code);
}

/* Untouched pages of these maps cost nothing. */
static struct soft_code *make_code(const struct vmi_slot *slots, uint32_t n)
{
    struct soft_code *code = calloc(n ? n : 1, sizeof(*code));
    for (uint32_t i = 0; code && i < n; i++) {
        size_t pages = slots[i].bytes >> 12;
        uint64_t *p = mmap(NULL, pages * CODE_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) {
            free_code(code, i);
            return NULL;
        }
        code[i] = (struct soft_code){p, (uint8_t *)(p + pages), pages};
    }
    return code;
}

static bool any_alias(const struct vmi_slot *slots, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < i; j++)
            if (slots[i].host < slots[j].host + slots[j].bytes &&
                slots[j].host < slots[i].host + slots[i].bytes)
                return true;
    return false;
}

int soft_mem_update(struct soft_vm *vm, const struct vmi_slot *slots, uint32_t n)
{
    struct soft_code *code = make_code(slots, n);
    if (!code)
        return vmi_error(VMLIB_E_NOMEM, "no memory for the code map of %u slots", n);
    free_code(vm->code, vm->nslots);
    vm->code = code;
    vm->nslots = n;
    vm->aliases = any_alias(slots, n);
    soft_request_all(vm, SOFT_REQ_FLUSH);
    return 0;
}

void soft_mem_free(struct soft_vm *vm)
{
    free_code(vm->code, vm->nslots);
    vm->code = NULL;
    vm->nslots = 0;
}

/* --- rendezvous --- */

void soft_request(struct soft_vcpu *v, uint32_t bits)
{
    __atomic_fetch_or(&v->req, bits, __ATOMIC_SEQ_CST);
    __atomic_store_n(&v->e.cpu.poll, 1, __ATOMIC_SEQ_CST);
}

void soft_serve(struct soft_vcpu *v)
{
    __atomic_store_n(&v->serving, 1, __ATOMIC_SEQ_CST);
    uint32_t req = __atomic_exchange_n(&v->req, 0, __ATOMIC_SEQ_CST);
    if (req & SOFT_REQ_FLUSH)
        soft_cache_flush(v);
    if (req & (SOFT_REQ_FLUSH | SOFT_REQ_TLB))
        x86_tlb_flush(&v->e.cpu);
    if (req & SOFT_REQ_CODE) {
        pthread_mutex_lock(&v->queue_lock);
        if (v->nqueue > SOFT_CODE_QUEUE)
            soft_cache_flush(v);
        else
            for (unsigned i = 0; i < v->nqueue; i++)
                soft_cache_overwritten(v, v->queue[i].page, v->queue[i].granules);
        v->nqueue = 0;
        pthread_mutex_unlock(&v->queue_lock);
    }
    if (v->rmw_size) { /* the atomic update that was announced before it happened is done now */
        unsigned size = v->rmw_size;
        v->rmw_size = 0;
        soft_touched(v->vm, v, v->rmw_gpa, size);
    }
    v->served++;
    __atomic_store_n(&v->serving, 0, __ATOMIC_SEQ_CST);
}

void soft_enter(struct soft_vcpu *v)
{
    __atomic_store_n(&v->inside, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&v->req, __ATOMIC_SEQ_CST))
        soft_serve(v);
}

void soft_outside(struct soft_vcpu *v)
{
    __atomic_store_n(&v->inside, 0, __ATOMIC_SEQ_CST);
}

static bool still_busy(struct soft_vcpu *v, uint32_t bits)
{
    if (!__atomic_load_n(&v->inside, __ATOMIC_SEQ_CST))
        return false;
    return __atomic_load_n(&v->req, __ATOMIC_SEQ_CST) & bits ||
           __atomic_load_n(&v->serving, __ATOMIC_SEQ_CST);
}

void soft_request_all(struct soft_vm *vm, uint32_t bits)
{
    unsigned n = __atomic_load_n(&vm->nvcpus, __ATOMIC_ACQUIRE);
    pthread_rwlock_rdlock(&vm->vcpus_lock);
    for (unsigned i = 0; i < n; i++) {
        struct soft_vcpu *o = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);
        if (o)
            soft_request(o, bits);
    }
    pthread_rwlock_unlock(&vm->vcpus_lock);
}

/* Every other vCPU has served the request, or will before it touches guest memory again. */
static void rendezvous(struct soft_vm *vm, struct soft_vcpu *self, uint32_t bits)
{
    unsigned n = __atomic_load_n(&vm->nvcpus, __ATOMIC_ACQUIRE);
    if (n < 2)
        return;
    pthread_rwlock_rdlock(&vm->vcpus_lock);
    for (unsigned i = 0; i < n; i++) {
        struct soft_vcpu *o = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);
        if (o && o != self)
            soft_request(o, bits);
    }
    for (unsigned i = 0; i < n; i++) {
        struct soft_vcpu *o = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);
        for (unsigned spins = 0; o && o != self && still_busy(o, bits); spins++) {
            if (__atomic_load_n(&self->req, __ATOMIC_SEQ_CST))
                soft_serve(self); /* it may be waiting for us */
            if (spins > 64)
                sched_yield();
        }
    }
    pthread_rwlock_unlock(&vm->vcpus_lock);
}

bool soft_cover_code(struct soft_vcpu *v, uint64_t gpa, unsigned bytes)
{
    struct soft_vm *vm = v->vm;
    int slot = find(vm->owner, gpa);
    if (slot < 0)
        return true;
    const struct vmi_slot *s = &vm->owner->slots[slot];
    uint8_t *host = s->host + ((gpa - s->gpa) & ~X86_PAGE_MASK);
    uint64_t mask = granules(gpa, bytes), served = v->served;
    uint64_t page = (gpa - s->gpa) >> 12;
    uint64_t old = __atomic_load_n(&vm->code[slot].bits[page], __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&vm->code[slot].cooling[page], __ATOMIC_RELAXED))
        __atomic_store_n(&vm->code[slot].cooling[page], 0, __ATOMIC_RELAXED);
    if ((old & mask) != mask) {
        __atomic_fetch_add(&vm->covering, 1, __ATOMIC_SEQ_CST);
        for (struct alias a = ALIAS_BEGIN; next_alias(vm, (uint32_t)slot, host, &a);)
            old &= __atomic_fetch_or(&vm->code[a.slot].bits[a.page], mask, __ATOMIC_SEQ_CST);
        if (!old) { /* stores to this page were fast until now */
            x86_tlb_drop_write(&v->e.cpu, (uintptr_t)host);
            rendezvous(vm, v, SOFT_REQ_TLB);
        }
        __atomic_fetch_sub(&vm->covering, 1, __ATOMIC_SEQ_CST);
    }
    /* Somebody else may have marked the page but still be waiting for a third vCPU to let go of it.
     */
    while (X86_UNLIKELY(__atomic_load_n(&vm->covering, __ATOMIC_SEQ_CST))) {
        if (__atomic_load_n(&v->req, __ATOMIC_SEQ_CST))
            soft_serve(v);
        sched_yield();
    }
    return v->served == served;
}
