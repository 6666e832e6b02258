/* Event ring: a handler that writes down what the guest does, read in batches by the host. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include <vmlib/ring.h>

#include "devices/error.h"

/* What a handler needs; lives until the library releases it. */
struct watch {
    struct vmlib_ring *ring;
    uint64_t answer;
    bool pass;
    vmlib_handler *handler;
    struct watch *next; /* in the ring's list; only vmlib_ring_destroy() walks it */
};

struct vmlib_ring {
    vmlib_vm *vm;
    uint32_t refs; /* the owner's, and one for each watch the library may still call */
    uint32_t capacity;
    bool drop;
    pthread_mutex_t lock;
    uint64_t head, tail; /* events written and consumed so far */
    uint64_t lost;
    struct watch *watches;
    struct vmlib_ring_event *events;
};

static void ring_unref(struct vmlib_ring *ring)
{
    bool last;

    pthread_mutex_lock(&ring->lock);
    last = --ring->refs == 0;
    pthread_mutex_unlock(&ring->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&ring->lock);
    free(ring->events);
    free(ring);
}

static void release(void *opaque)
{
    struct watch *watch = opaque;

    ring_unref(watch->ring);
    free(watch);
}

/* --- recording --- */

enum outcome { RECORDED, LAST_PLACE, FULL };

static enum outcome record(struct vmlib_ring *ring, const struct vmlib_ring_event *event)
{
    enum outcome outcome = RECORDED;

    pthread_mutex_lock(&ring->lock);
    if (ring->head - ring->tail == ring->capacity) {
        outcome = FULL;
        ring->lost += ring->drop;
    } else {
        ring->events[ring->head & (ring->capacity - 1)] = *event;
        ring->head++;
        if (ring->head - ring->tail == ring->capacity)
            outcome = LAST_PLACE;
    }
    pthread_mutex_unlock(&ring->lock);
    return ring->drop ? RECORDED : outcome;
}

static uint64_t cut(uint64_t value, unsigned width)
{
    return width >= 8 ? value : value & ((UINT64_C(1) << 8 * width) - 1);
}

/* The event of a record; answers reads when `watch` says so. */
static struct vmlib_ring_event describe(const struct watch *watch, vmlib_vcpu *vcpu,
                                        struct vmlib_exit *exit)
{
    struct vmlib_ring_event e = {.vcpu = vmlib_vcpu_index(vcpu), .width = 8};
    uint64_t answer = watch->pass ? 0 : watch->answer;

    switch (exit->reason) {
    case VMLIB_EXIT_PIO:
        e.kind = VMLIB_HANDLER_PIO;
        e.width = exit->u.pio.width;
        e.address = exit->u.pio.port;
        e.write = exit->u.pio.write;
        e.value = e.write ? exit->u.pio.value : cut(answer, e.width);
        break;
    case VMLIB_EXIT_MMIO:
        e.kind = VMLIB_HANDLER_MMIO;
        e.width = exit->u.mmio.width;
        e.address = exit->u.mmio.gpa;
        e.write = exit->u.mmio.write;
        e.value = e.write ? exit->u.mmio.value : cut(answer, e.width);
        break;
    case VMLIB_EXIT_MSR:
        e.kind = VMLIB_HANDLER_MSR;
        e.address = exit->u.msr.index;
        e.write = exit->u.msr.write;
        e.value = e.write ? exit->u.msr.value : answer;
        break;
    default: /* hypercall */
        e.kind = VMLIB_HANDLER_HYPERCALL;
        e.address = (uint32_t)exit->u.hypercall.rax;
        e.value = exit->u.hypercall.rbx;
        e.write = 1;
    }
    return e;
}

static void answer(const struct watch *watch, const struct vmlib_ring_event *e,
                   struct vmlib_exit *exit)
{
    if (exit->reason == VMLIB_EXIT_HYPERCALL)
        exit->u.hypercall.result = watch->answer;
    else if (e->write)
        return;
    else if (exit->reason == VMLIB_EXIT_PIO)
        exit->u.pio.value = (uint32_t)e->value;
    else if (exit->reason == VMLIB_EXIT_MMIO)
        exit->u.mmio.value = e->value;
    else
        exit->u.msr.value = e->value;
}

static int on_event(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct watch *watch = opaque;
    struct vmlib_ring_event e = describe(watch, vcpu, exit);
    enum outcome outcome = record(watch->ring, &e);

    if (outcome == FULL)
        return vmi_dev_error(VMLIB_E_LIMIT, "ring: it is full");
    if (watch->pass)
        return VMLIB_PASS;
    answer(watch, &e, exit);
    return outcome == LAST_PLACE ? VMLIB_STOP : VMLIB_HANDLED;
}

/* --- the owner's side --- */

int vmlib_ring_create(vmlib_vm *vm, const struct vmlib_ring_config *config, vmlib_ring **out)
{
    const struct vmlib_ring_config defaults = VMLIB_RING_CONFIG_INIT,
                                   *c = config ? config : &defaults;
    struct vmlib_ring *ring;

    if (!vm || !out)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", vm ? "ring" : "vm");
    if (c->size != sizeof(*c) || (c->flags & ~VMLIB_RING_DROP) || c->reserved)
        return vmi_dev_error(VMLIB_E_INVAL, "config: unknown size or flags");
    if (!c->capacity || c->capacity > VMLIB_RING_CAPACITY_MAX || (c->capacity & (c->capacity - 1)))
        return vmi_dev_error(VMLIB_E_INVAL, "config->capacity %u is no power of two up to %u",
                             c->capacity, VMLIB_RING_CAPACITY_MAX);
    ring = calloc(1, sizeof(*ring));
    if (ring)
        ring->events = calloc(c->capacity, sizeof(*ring->events));
    if (!ring || !ring->events) {
        free(ring);
        return vmi_dev_error(VMLIB_E_NOMEM, "no memory for a ring");
    }
    pthread_mutex_init(&ring->lock, NULL);
    ring->vm = vmlib_vm_ref(vm);
    ring->refs = 1;
    ring->capacity = c->capacity;
    ring->drop = c->flags & VMLIB_RING_DROP;
    *out = ring;
    return 0;
}

void vmlib_ring_destroy(vmlib_ring *ring)
{
    struct watch *watch, *next;
    vmlib_vm *vm;

    if (!ring)
        return;
    vm = ring->vm;
    for (watch = ring->watches; watch; watch = next) {
        vmlib_handler *handler = watch->handler;

        next = watch->next; /* remove() may free it */
        vmlib_handler_remove(handler);
        vmlib_handler_unref(handler);
    }
    ring_unref(ring);
    vmlib_vm_unref(vm);
}

int vmlib_ring_watch(vmlib_ring *ring, const struct vmlib_ring_watch *w)
{
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    struct watch *watch;
    int error;

    if (!ring || !w)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", ring ? "watch" : "ring");
    if (w->size != sizeof(*w) || (w->flags & ~VMLIB_WATCH_PASS) || w->reserved)
        return vmi_dev_error(VMLIB_E_INVAL, "watch: unknown size or flags");
    if (w->kind != VMLIB_HANDLER_PIO && w->kind != VMLIB_HANDLER_MMIO &&
        w->kind != VMLIB_HANDLER_MSR && w->kind != VMLIB_HANDLER_HYPERCALL)
        return vmi_dev_error(VMLIB_E_INVAL, "watch->kind %u cannot be recorded", w->kind);
    watch = calloc(1, sizeof(*watch));
    if (!watch)
        return vmi_dev_error(VMLIB_E_NOMEM, "no memory for a watch");
    watch->ring = ring;
    watch->answer = w->answer;
    watch->pass = w->flags & VMLIB_WATCH_PASS;
    config.kind = w->kind;
    config.first = w->first;
    config.last = w->last;
    config.fn = on_event;
    config.opaque = watch;
    config.release = release;
    pthread_mutex_lock(&ring->lock);
    ring->refs++;
    pthread_mutex_unlock(&ring->lock);
    error = vmlib_handler_add(ring->vm, &config, &watch->handler);
    if (error < 0) {
        release(watch);
        return vmi_dev_error_lib(error, "ring: handler");
    }
    watch->next = ring->watches;
    ring->watches = watch;
    return 0;
}

int vmlib_ring_peek(vmlib_ring *ring, const struct vmlib_ring_event **events, uint32_t *count)
{
    uint64_t first, n;

    if (!ring || !events || !count)
        return vmi_dev_error(VMLIB_E_INVAL, "an argument is NULL");
    pthread_mutex_lock(&ring->lock);
    first = ring->tail & (ring->capacity - 1);
    n = ring->head - ring->tail;
    pthread_mutex_unlock(&ring->lock);
    if (n > ring->capacity - first)
        n = ring->capacity - first;
    *events = ring->events + first;
    *count = (uint32_t)n;
    return 0;
}

int vmlib_ring_consume(vmlib_ring *ring, uint32_t count)
{
    bool good;

    if (!ring)
        return vmi_dev_error(VMLIB_E_INVAL, "ring is NULL");
    pthread_mutex_lock(&ring->lock);
    good = count <= ring->head - ring->tail;
    ring->tail += good ? count : 0;
    pthread_mutex_unlock(&ring->lock);
    return good ? 0 : vmi_dev_error(VMLIB_E_RANGE, "count %u: there are fewer events", count);
}

uint64_t vmlib_ring_lost(vmlib_ring *ring)
{
    uint64_t lost;

    if (!ring)
        return 0;
    pthread_mutex_lock(&ring->lock);
    lost = ring->lost;
    pthread_mutex_unlock(&ring->lock);
    return lost;
}
