/*
 * Registration of handlers and doorbells.
 *
 * A hook lives while it is registered, while the host has a handle, or while a vCPU is inside its
 * function (zombie). The host's handles hold the VM.
 */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "core/internal.h"

static bool in_use(struct vmlib_vm *vm, const struct vmi_hook *hook)
{
    for (uint32_t i = 0; i < VMLIB_MAX_VCPUS; i++) {
        if (vm->vcpus[i] != NULL && atomic_load(&vm->vcpus[i]->active) == hook) {
            return true;
        }
    }
    return false;
}

static void free_if_unused(struct vmi_hook *hook)
{
    if (!hook->registered && !hook->zombie && hook->refs == 0) {
        free(hook);
    }
}

/* vm->lock held. Takes the zombies that have ended off the list. */
static struct vmi_hook *take_ended(struct vmlib_vm *vm)
{
    struct vmi_hook *ended = NULL, **link = &vm->zombies;
    while (*link != NULL) {
        struct vmi_hook *hook = *link;
        if (in_use(vm, hook)) {
            link = &hook->next;
            continue;
        }
        *link = hook->next;
        hook->next = ended;
        ended = hook;
    }
    if (vm->zombies == NULL) {
        atomic_fetch_and(&vm->attention, ~VMI_ATTN_ZOMBIES);
    }
    return ended;
}

void vmi_hook_reap(struct vmlib_vm *vm)
{
    pthread_mutex_lock(&vm->lock);
    struct vmi_hook *ended = take_ended(vm);
    pthread_mutex_unlock(&vm->lock);
    while (ended != NULL) {
        struct vmi_hook *hook = ended;
        ended = hook->next;
        if (hook->release != NULL) {
            hook->release(hook->opaque);
        }
        pthread_mutex_lock(&vm->lock);
        hook->zombie = false;
        free_if_unused(hook);
        pthread_mutex_unlock(&vm->lock);
    }
}

void vmi_hook_destroy_all(struct vmlib_vm *vm)
{
    while (vm->hooks != NULL) {
        struct vmi_hook *hook = vm->hooks;
        vm->hooks = hook->next;
        if (hook->release != NULL) {
            hook->release(hook->opaque);
        }
        free(hook);
    }
    vmi_table_free(vm->table);
}

/* vm->lock held: put a table for the present list in force. */
static int publish(struct vmlib_vm *vm)
{
    struct vmi_table *table = vmi_table_build(vm->hooks);
    if (table == NULL) {
        return vmi_error(VMLIB_E_NOMEM, "no memory for the table of handlers");
    }
    uint32_t n[VMLIB_HANDLER_KINDS] = {0};
    for (struct vmi_hook *h = vm->hooks; h != NULL; h = h->next) {
        if (!h->doorbell) {
            n[h->kind]++;
        }
    }
    vmi_pause_begin(vm);
    struct vmi_table *old = vm->table;
    vm->table = table;
    for (uint32_t kind = 0; kind < VMLIB_HANDLER_KINDS; kind++) {
        atomic_store_explicit(&vm->pub.nhandlers[kind], n[kind], memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&vm->pub.handlers_epoch, 1, memory_order_relaxed);
    vmi_pause_end(vm);
    vmi_table_free(old);
    return 0;
}

static bool duplicate_bell(const struct vmlib_vm *vm, const struct vmi_hook *hook)
{
    for (struct vmi_hook *h = vm->hooks; h != NULL; h = h->next) {
        if (h->doorbell && h->kind == hook->kind && h->first == hook->first &&
            h->width == hook->width && h->flags == hook->flags && h->value == hook->value) {
            return true;
        }
    }
    return false;
}

/* vm->lock held */
static int insert(struct vmlib_vm *vm, struct vmi_hook *hook)
{
    uint32_t *count = hook->doorbell ? &vm->ndoorbells : &vm->nhandlers;
    if (*count >= VMLIB_MAX_HANDLERS) {
        return vmi_error(VMLIB_E_LIMIT, "vm has %u %s already", *count,
                         hook->doorbell ? "doorbells" : "handlers");
    }
    if (hook->doorbell && duplicate_bell(vm, hook)) {
        return vmi_error(VMLIB_E_EXISTS, "config: a doorbell like this exists");
    }
    hook->seq = ++vm->next_seq;
    hook->next = vm->hooks;
    vm->hooks = hook;
    int rc = publish(vm);
    if (rc != 0) {
        vm->hooks = hook->next;
        return rc;
    }
    hook->registered = true;
    ++*count;
    vmi_bells_update(vm, NULL);
    return 0;
}

/* Register a copy of *model. */
static int add(struct vmlib_vm *vm, const struct vmi_hook *model, bool want_handle,
               struct vmi_hook **out)
{
    int rc = vmi_vm_check_fork(vm);
    if (rc != 0) {
        return rc;
    }
    struct vmi_hook *hook = malloc(sizeof(struct vmlib_handler));
    if (hook == NULL) {
        return vmi_error(VMLIB_E_NOMEM, "no memory for a handler");
    }
    *hook = *model;
    hook->backend_fd = -1;
    hook->vm = vm;
    hook->refs = want_handle ? 1 : 0;
    pthread_mutex_lock(&vm->lock);
    rc = insert(vm, hook);
    pthread_mutex_unlock(&vm->lock);
    if (rc != 0) {
        free(hook);
        return rc;
    }
    if (want_handle) {
        vmlib_vm_ref(vm);
        *out = hook;
    }
    return 0;
}

/* vm->lock held. The place in the list is the hook's age, so a failure must put it back where it
 * was. */
static int take_out(struct vmlib_vm *vm, struct vmi_hook *hook)
{
    if (!hook->registered) {
        return vmi_error(VMLIB_E_NOTFOUND, "%s has been removed already",
                         hook->doorbell ? "doorbell" : "handler");
    }
    struct vmi_hook **link = &vm->hooks;
    while (*link != hook) {
        link = &(*link)->next;
    }
    *link = hook->next;
    int rc = publish(vm);
    if (rc != 0) {
        *link = hook;
        return rc;
    }
    vmi_bells_update(vm, hook);
    --*(hook->doorbell ? &vm->ndoorbells : &vm->nhandlers);
    hook->registered = false;
    hook->zombie = true; /* until reaped: nobody but the reaper calls release */
    hook->next = vm->zombies;
    vm->zombies = hook;
    atomic_fetch_or(&vm->attention, VMI_ATTN_ZOMBIES);
    return 0;
}

static int remove_hook(struct vmi_hook *hook)
{
    struct vmlib_vm *vm = hook->vm;
    pthread_mutex_lock(&vm->lock);
    int rc = take_out(vm, hook);
    pthread_mutex_unlock(&vm->lock);
    if (rc == 0) {
        vmi_hook_reap(vm);
    }
    return rc;
}

static void hook_ref(struct vmi_hook *hook)
{
    pthread_mutex_lock(&hook->vm->lock);
    hook->refs++;
    pthread_mutex_unlock(&hook->vm->lock);
}

static void hook_unref(struct vmi_hook *hook)
{
    struct vmlib_vm *vm = hook->vm;
    pthread_mutex_lock(&vm->lock);
    bool last = --hook->refs == 0;
    if (last) {
        free_if_unused(hook);
    }
    pthread_mutex_unlock(&vm->lock);
    if (last) {
        vmlib_vm_unref(vm);
    }
}

/* --- handlers --- */

/* Largest value of first and last per kind. MMIO depends on the VM. */
static uint64_t kind_limit(const struct vmlib_vm *vm, uint32_t kind)
{
    static const uint64_t limit[VMLIB_HANDLER_KINDS] = {
        [VMLIB_HANDLER_PIO] = 0xffff,       [VMLIB_HANDLER_MSR] = UINT32_MAX,
        [VMLIB_HANDLER_CPUID] = UINT32_MAX, [VMLIB_HANDLER_HYPERCALL] = UINT32_MAX,
        [VMLIB_HANDLER_EXCEPTION] = 31,     [VMLIB_HANDLER_INTACK] = VMLIB_MAX_VCPUS - 1,
    };
    return kind == VMLIB_HANDLER_MMIO ? (UINT64_C(1) << vm->pub.phys_bits) - 1 : limit[kind];
}

static int check_feature(const struct vmlib_vm *vm, uint32_t kind)
{
    static const uint8_t needs[VMLIB_HANDLER_KINDS] = {
        [VMLIB_HANDLER_MSR] = VMLIB_FEATURE_MSR_HANDLERS,
        [VMLIB_HANDLER_CPUID] = VMLIB_FEATURE_CPUID_HANDLERS,
        [VMLIB_HANDLER_HYPERCALL] = VMLIB_FEATURE_HYPERCALL_HANDLERS,
        [VMLIB_HANDLER_EXCEPTION] = VMLIB_FEATURE_EXCEPTION_EXITS,
    };
    if (needs[kind] != 0 && vm->pub.backend->feature(needs[kind]) == VMLIB_SUPPORT_REFUSED) {
        return vmi_error(VMLIB_E_UNSUPPORTED, "config->kind: backend %s refuses %s",
                         vm->pub.backend->name, vmlib_feature_name(needs[kind]));
    }
    return 0;
}

int vmlib_handler_add(vmlib_vm *vm, const struct vmlib_handler_config *config,
                      vmlib_handler **handler)
{
    VMI_REQUIRE(vm);
    VMI_REQUIRE(config);
    struct vmlib_handler_config c = VMLIB_HANDLER_CONFIG_INIT;
    int rc = vmi_args_in(&c, sizeof(c), config, "config");
    if (rc != 0) {
        return rc;
    }
    if (c.kind >= VMLIB_HANDLER_KINDS) {
        return vmi_error(VMLIB_E_INVAL, "config->kind is %u", c.kind);
    }
    if ((c.flags & ~VMLIB_HANDLER_HEADER) != 0 || c.reserved != 0) {
        return vmi_error(VMLIB_E_INVAL, "config->flags is 0x%x", c.flags);
    }
    if (c.first > c.last) {
        return vmi_error(VMLIB_E_INVAL, "config->first 0x%llx is above config->last 0x%llx",
                         (unsigned long long)c.first, (unsigned long long)c.last);
    }
    if (c.last > kind_limit(vm, c.kind)) {
        return vmi_error(VMLIB_E_RANGE, "config->last is 0x%llx, at most 0x%llx",
                         (unsigned long long)c.last, (unsigned long long)kind_limit(vm, c.kind));
    }
    rc = check_feature(vm, c.kind);
    if (rc != 0) {
        return rc;
    }
    struct vmi_hook model = {.kind = c.kind,
                             .flags = c.flags,
                             .first = c.first,
                             .last = c.last,
                             .fn = c.fn,
                             .opaque = c.opaque,
                             .release = c.release,
                             .fd = -1};
    struct vmi_hook *hook = NULL;
    rc = add(vm, &model, handler != NULL, &hook);
    if (rc == 0 && handler != NULL) {
        *handler = (struct vmlib_handler *)hook;
    }
    return rc;
}

int vmlib_handler_remove(vmlib_handler *handler)
{
    VMI_REQUIRE(handler);
    return remove_hook(&handler->hook);
}

vmlib_handler *vmlib_handler_ref(vmlib_handler *handler)
{
    if (handler != NULL) {
        hook_ref(&handler->hook);
    }
    return handler;
}

void vmlib_handler_unref(vmlib_handler *handler)
{
    if (handler != NULL) {
        hook_unref(&handler->hook);
    }
}

/* --- doorbells --- */

static int check_doorbell(const struct vmlib_vm *vm, const struct vmlib_doorbell_config *c)
{
    if (c->kind > VMLIB_DOORBELL_MMIO) {
        return vmi_error(VMLIB_E_INVAL, "config->kind is %u", c->kind);
    }
    bool mmio = c->kind == VMLIB_DOORBELL_MMIO;
    if (c->width != 0 && c->width != 1 && c->width != 2 && c->width != 4 &&
        !(c->width == 8 && mmio)) {
        return vmi_error(VMLIB_E_INVAL, "config->width is %u", c->width);
    }
    if ((c->flags & ~VMLIB_DOORBELL_MATCH) != 0 || c->reserved != 0) {
        return vmi_error(VMLIB_E_INVAL, "config->flags is 0x%x", c->flags);
    }
    if ((c->fd < 0) == (c->fn == NULL)) {
        return vmi_error(VMLIB_E_INVAL, "config: give either fd or fn");
    }
    uint64_t limit = kind_limit(vm, mmio ? VMLIB_HANDLER_MMIO : VMLIB_HANDLER_PIO);
    if (!vmi_range_fits(c->address, c->width == 0 ? 1 : c->width, limit + 1)) {
        return vmi_error(VMLIB_E_RANGE, "config->address is 0x%llx",
                         (unsigned long long)c->address);
    }
    return 0;
}

int vmlib_doorbell_add(vmlib_vm *vm, const struct vmlib_doorbell_config *config,
                       vmlib_doorbell **doorbell)
{
    VMI_REQUIRE(vm);
    VMI_REQUIRE(config);
    struct vmlib_doorbell_config c = VMLIB_DOORBELL_CONFIG_INIT;
    int rc = vmi_args_in(&c, sizeof(c), config, "config");
    if (rc == 0) {
        rc = check_doorbell(vm, &c);
    }
    if (rc != 0) {
        return rc;
    }
    struct vmi_hook model = {.kind = c.kind,
                             .flags = c.flags,
                             .first = c.address,
                             .last = c.address,
                             .opaque = c.opaque,
                             .release = c.release,
                             .doorbell = true,
                             .width = c.width,
                             .value = c.value,
                             .fd = c.fd,
                             .ring = c.fn};
    struct vmi_hook *hook = NULL;
    rc = add(vm, &model, doorbell != NULL, &hook);
    if (rc == 0 && doorbell != NULL) {
        *doorbell = (struct vmlib_doorbell *)hook;
    }
    return rc;
}

int vmlib_doorbell_remove(vmlib_doorbell *doorbell)
{
    VMI_REQUIRE(doorbell);
    return remove_hook(&doorbell->hook);
}

vmlib_doorbell *vmlib_doorbell_ref(vmlib_doorbell *doorbell)
{
    if (doorbell != NULL) {
        hook_ref(&doorbell->hook);
    }
    return doorbell;
}

void vmlib_doorbell_unref(vmlib_doorbell *doorbell)
{
    if (doorbell != NULL) {
        hook_unref(&doorbell->hook);
    }
}
