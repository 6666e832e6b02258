/* Virtual machines: choice of the backend, creation, end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/internal.h"

#define DEFAULT_TSC_KHZ   1000000u
#define DEFAULT_PHYS_BITS 40u

uint64_t vmi_now_ns(void)
{
    return vmi_clock_ns();
}

static int check_config(const struct vmlib_vm_config *c)
{
    for (unsigned i = 0; i < VMLIB_VM_BACKENDS; i++) {
        if (c->backends[i] > VMLIB_BACKEND_LAST) {
            return vmi_error(VMLIB_E_INVAL, "config->backends[%u] is %u", i, c->backends[i]);
        }
    }
    if (c->time_mode > VMLIB_TIME_DETERMINISTIC) {
        return vmi_error(VMLIB_E_INVAL, "config->time_mode is %u", c->time_mode);
    }
    if (c->required >> VMLIB_FEATURE_COUNT != 0) {
        return vmi_error(VMLIB_E_INVAL, "config->required is 0x%llx",
                         (unsigned long long)c->required);
    }
    if (c->phys_bits != 0 && (c->phys_bits < 32 || c->phys_bits > 52)) {
        return vmi_error(VMLIB_E_INVAL, "config->phys_bits is %u", c->phys_bits);
    }
    if (c->msr_policy > VMLIB_MSR_EXIT) {
        return vmi_error(VMLIB_E_INVAL, "config->msr_policy is %u", c->msr_policy);
    }
    if (c->reserved != 0) {
        return vmi_error(VMLIB_E_INVAL, "config->reserved is not 0");
    }
    return 0;
}

/* What a backend lacks for this config; NULL: nothing. */
static const char *lacks(const struct vmi_backend *b, const struct vmlib_vm_config *c)
{
    uint64_t required = c->required;
    if (c->time_mode == VMLIB_TIME_DETERMINISTIC) {
        required |= UINT64_C(1) << VMLIB_FEATURE_DETERMINISTIC;
    }
    for (uint32_t f = 0; f < VMLIB_FEATURE_COUNT; f++) {
        if ((required >> f & 1) != 0 && b->feature(f) < VMLIB_SUPPORT_EMULATED) {
            return vmlib_feature_name(f);
        }
    }
    return c->phys_bits > b->phys_bits ? "phys_bits" : NULL;
}

/* On the way through the caller's list: why the ones before would not do. */
struct choice {
    unsigned next;
    int code;
    char text[200];
    size_t used;
};

static void rejected(struct choice *ch, uint32_t id, const struct vmi_backend *b,
                     const char *reason)
{
    int n = snprintf(ch->text + ch->used, sizeof(ch->text) - ch->used, "; backend %u (%s): %s", id,
                     b != NULL ? b->name : "?", reason);
    ch->used += (size_t)n;
    if (ch->used > sizeof(ch->text) - 1) {
        ch->used = sizeof(ch->text) - 1;
    }
}

/* The next backend of the list that can do it; the reasons of the others go into the error text. */
static int choose(const struct vmlib_vm_config *c, struct choice *ch,
                  const struct vmi_backend **out)
{
    static const uint32_t defaults[VMLIB_VM_BACKENDS] = {VMLIB_BACKEND_SOFT, 0, 0, 0};
    const uint32_t *list = c->backends[0] == VMLIB_BACKEND_NONE ? defaults : c->backends;
    while (ch->next < VMLIB_VM_BACKENDS && list[ch->next] != VMLIB_BACKEND_NONE) {
        uint32_t id = list[ch->next++];
        const struct vmi_backend *b = vmi_registry_find(id);
        char reason[96] = "not part of this build";
        if (b != NULL && (b->create_probes || b->probe(reason, sizeof(reason)) == 0)) {
            const char *missing = lacks(b, c);
            if (missing == NULL) {
                *out = b;
                return 0;
            }
            snprintf(reason, sizeof(reason), "lacks %s", missing);
            ch->code = VMLIB_E_UNSUPPORTED;
        }
        rejected(ch, id, b, reason);
    }
    return vmi_error(ch->code, "config->backends%s", ch->text);
}

static bool init_locks(struct vmlib_vm *vm)
{
    if (pthread_mutex_init(&vm->lock, NULL) != 0) {
        return false;
    }
    if (pthread_rwlock_init(&vm->map_lock, NULL) != 0) {
        pthread_mutex_destroy(&vm->lock);
        return false;
    }
    if (pthread_mutex_init(&vm->pause_lock, NULL) != 0) {
        pthread_rwlock_destroy(&vm->map_lock);
        pthread_mutex_destroy(&vm->lock);
        return false;
    }
    if (pthread_cond_init(&vm->pause_cond, NULL) != 0) {
        pthread_mutex_destroy(&vm->pause_lock);
        pthread_rwlock_destroy(&vm->map_lock);
        pthread_mutex_destroy(&vm->lock);
        return false;
    }
    return true;
}

static void destroy_locks(struct vmlib_vm *vm)
{
    pthread_cond_destroy(&vm->pause_cond);
    pthread_mutex_destroy(&vm->pause_lock);
    pthread_rwlock_destroy(&vm->map_lock);
    pthread_mutex_destroy(&vm->lock);
}

static void fill(struct vmlib_vm *vm, const struct vmlib_vm_config *c, const struct vmi_backend *b)
{
    atomic_init(&vm->refs, 1);
    vm->pid = getpid();
    vm->log = c->log;
    vm->log_opaque = c->log_opaque;
    vm->pub.backend = b;
    vm->pub.time_mode = c->time_mode;
    vm->pub.msr_policy = c->msr_policy;
    vm->pub.phys_bits = c->phys_bits != 0                  ? c->phys_bits
                        : b->phys_bits < DEFAULT_PHYS_BITS ? b->phys_bits
                                                           : DEFAULT_PHYS_BITS;
    vm->pub.tsc_khz = c->tsc_khz;
    vm->pub.seed = c->seed != 0                               ? c->seed
                   : c->time_mode == VMLIB_TIME_DETERMINISTIC ? 1
                                                              : vmi_clock_entropy();
    vm->pub.start_ns = vmi_clock_ns();
}

int vmlib_vm_create(const struct vmlib_vm_config *config, vmlib_vm **out)
{
    vmlib_vm **vm = out;
    VMI_REQUIRE(vm);
    struct vmlib_vm_config c = VMLIB_VM_CONFIG_INIT;
    struct choice choice = {.code = VMLIB_E_UNAVAILABLE};
    const struct vmi_backend *b = NULL;
    int rc = config != NULL ? vmi_args_in(&c, sizeof(c), config, "config") : 0;
    if (rc == 0) {
        rc = check_config(&c);
    }
    if (rc == 0) {
        rc = choose(&c, &choice, &b);
    }
    if (rc != 0) {
        return rc;
    }
    struct vmlib_vm *v = calloc(1, sizeof(*v));
    if (v == NULL || !init_locks(v)) {
        free(v);
        return vmi_error(VMLIB_E_NOMEM, "no memory for a VM");
    }
    do {
        fill(v, &c, b);
        rc = b->vm_create(&v->pub);
        if (rc != VMLIB_E_UNAVAILABLE) {
            break;
        }
        rejected(&choice, b->id, b, vmlib_last_error());
        rc = choose(&c, &choice, &b);
    } while (rc == 0);
    if (rc != 0) {
        destroy_locks(v);
        free(v);
        return rc;
    }
    if (v->pub.tsc_khz == 0) { /* the backend has none of its own either */
        v->pub.tsc_khz = DEFAULT_TSC_KHZ;
    }
    vmi_log(&v->pub, VMLIB_LOG_INFO, "vm: the backend is %s%s", b->name, choice.text);
    *vm = v;
    return 0;
}

vmlib_vm *vmlib_vm_ref(vmlib_vm *vm)
{
    if (vm != NULL) {
        vmi_ref_get(&vm->refs);
    }
    return vm;
}

void vmlib_vm_unref(vmlib_vm *vm)
{
    if (vm == NULL || !vmi_ref_put(&vm->refs)) {
        return;
    }
    vmi_hook_destroy_all(vm);
    vm->pub.backend->vm_destroy(&vm->pub);
    vmi_memory_destroy_all(vm);
    free(vm->cpuid);
    destroy_locks(vm);
    free(vm);
}

int vmi_vm_check_fork(const struct vmlib_vm *vm)
{
    if (vm->pid != getpid()) {
        return vmi_error(VMLIB_E_FORK, "vm was created by process %ld, this is %ld", (long)vm->pid,
                         (long)getpid());
    }
    return 0;
}

uint32_t vmlib_vm_backend(const vmlib_vm *vm)
{
    return vm != NULL ? vm->pub.backend->id : VMLIB_BACKEND_NONE;
}

uint32_t vmlib_vm_tsc_khz(const vmlib_vm *vm)
{
    return vm != NULL ? vm->pub.tsc_khz : 0;
}

int vmlib_vm_clock(vmlib_vm *vm, uint64_t *ns)
{
    VMI_REQUIRE(vm);
    VMI_REQUIRE(ns);
    if (vm->pub.time_mode == VMLIB_TIME_REAL) {
        *ns = vmi_clock_ns() - vm->pub.start_ns;
        return 0;
    }
    /* There is at most one vCPU, and this is its thread. */
    uint64_t now = 0;
    pthread_mutex_lock(&vm->lock);
    for (uint32_t i = 0; i < VMLIB_MAX_VCPUS; i++) {
        if (vm->vcpus[i] != NULL) {
            now = vmi_vcpu_time_ns(&vm->vcpus[i]->pub);
        }
    }
    pthread_mutex_unlock(&vm->lock);
    *ns = now;
    return 0;
}

int vmlib_vm_set_cpuid(vmlib_vm *vm, const struct vmlib_cpuid_leaf *leaves, uint32_t count)
{
    VMI_REQUIRE(vm);
    int rc = vmi_args_cpuid(leaves, count);
    if (rc != 0) {
        return rc;
    }
    struct vmlib_cpuid_leaf *copy = malloc(count * sizeof(copy[0]));
    if (copy == NULL) {
        return vmi_error(VMLIB_E_NOMEM, "no memory for the CPUID model");
    }
    memcpy(copy, leaves, count * sizeof(copy[0]));
    pthread_mutex_lock(&vm->lock);
    struct vmlib_cpuid_leaf *old = vm->cpuid;
    vm->cpuid = copy;
    vm->ncpuid = count;
    pthread_mutex_unlock(&vm->lock);
    free(old);
    return 0;
}

int vmlib_vm_vcpu(vmlib_vm *vm, uint32_t index, vmlib_vcpu **vcpu)
{
    VMI_REQUIRE(vm);
    VMI_REQUIRE(vcpu);
    struct vmlib_vcpu *found = NULL;
    pthread_mutex_lock(&vm->lock);
    if (index < VMLIB_MAX_VCPUS && vm->vcpus[index] != NULL &&
        vmi_ref_get_alive(&vm->vcpus[index]->refs)) {
        found = vm->vcpus[index];
    }
    pthread_mutex_unlock(&vm->lock);
    if (found == NULL) {
        return vmi_error(VMLIB_E_NOTFOUND, "index: vm has no vCPU %u", index);
    }
    *vcpu = found;
    return 0;
}
