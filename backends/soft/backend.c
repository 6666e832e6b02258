/* The software backend's table: creation, memory, state and the small calls. */
#include <stdlib.h>
#include <string.h>

#include "soft/soft.h"
#include "state/state.h"

static int probe(char *reason, size_t bytes)
{
    (void)bytes;
    reason[0] = 0;
    return 0;
}

static uint32_t feature(uint32_t f)
{
    uint64_t host[4];
    switch (f) {
    case VMLIB_FEATURE_AVX2:
        x86_host_features(host);
        return host[X86_FEAT_AVX2 >> 6] >> (X86_FEAT_AVX2 & 63) & 1 ? VMLIB_SUPPORT_NATIVE
                                                                    : VMLIB_SUPPORT_REFUSED;
    case VMLIB_FEATURE_SMM:
        return VMLIB_SUPPORT_REFUSED;
    case VMLIB_FEATURE_SINGLE_STEP:
    case VMLIB_FEATURE_BREAKPOINTS:
        return VMLIB_SUPPORT_EMULATED;
    default:
        return VMLIB_SUPPORT_NATIVE;
    }
}

/* --- VM --- */

static int vm_create(struct vmi_vm *owner)
{
    struct soft_vm *vm = calloc(1, sizeof(*vm));
    if (!vm)
        return vmi_error(VMLIB_E_NOMEM, "no memory for the VM");
    vm->owner = owner;
    pthread_mutex_init(&vm->split_lock, NULL);
    pthread_rwlock_init(&vm->vcpus_lock, NULL);
    owner->impl = vm;
    return 0;
}

static void vm_destroy(struct vmi_vm *owner)
{
    struct soft_vm *vm = owner->impl;
    soft_mem_free(vm);
    pthread_mutex_destroy(&vm->split_lock);
    pthread_rwlock_destroy(&vm->vcpus_lock);
    free(vm);
}

static int mem_update(struct vmi_vm *owner, const struct vmi_slot *slots, uint32_t n)
{
    return soft_mem_update(owner->impl, slots, n);
}

static void dirty_sync(struct vmi_vm *owner, const struct vmi_slot *slot, uint64_t first,
                       uint64_t n, bool rearm)
{
    (void)slot;
    (void)first;
    (void)n;
    if (rearm)
        soft_request_all(owner->impl, SOFT_REQ_TLB); /* write tags must go */
}

static void host_wrote(struct vmi_vm *owner, uint64_t gpa, uint64_t bytes)
{
    soft_touched(owner->impl, NULL, gpa, bytes);
}

/* --- vCPU --- */

static void use_model(struct soft_vcpu *v, const struct vmlib_cpuid_leaf *model, uint32_t n)
{
    if (model) {
        vmi_model_from_api(model, n, &v->e.cpuid);
    } else {
        uint64_t host[4];
        x86_host_features(host);
        vmi_model_default(v->e.owner, host, &v->e.cpuid);
    }
    if (vmi_engine_use_model(&v->e))
        soft_cache_flush(v); /* decoding depends on them */
}

static int vcpu_create(struct vmi_vcpu *owner, bool wait_sipi, const struct vmlib_cpuid_leaf *model,
                       uint32_t n)
{
    struct soft_vm *vm = owner->vm->impl;
    struct soft_vcpu *v = calloc(1, sizeof(*v));
    if (!v || soft_cache_init(v)) {
        free(v);
        return vmi_error(VMLIB_E_NOMEM, "no memory for vCPU %u", owner->index);
    }
    v->vm = vm;
    vmi_engine_init(&v->e, owner, &soft_ops, &soft_hooks);
    pthread_mutex_init(&v->queue_lock, NULL);
    owner->impl = v;
    use_model(v, model, n);
    vmi_engine_reset(&v->e, wait_sipi);
    __atomic_store_n(&vm->vcpu[owner->index], v, __ATOMIC_RELEASE);
    unsigned seen = __atomic_load_n(&vm->nvcpus, __ATOMIC_ACQUIRE);
    if (seen <= owner->index)
        __atomic_store_n(&vm->nvcpus, owner->index + 1, __ATOMIC_RELEASE);
    return 0;
}

static void vcpu_destroy(struct vmi_vcpu *owner)
{
    struct soft_vcpu *v = owner->impl;
    pthread_rwlock_wrlock(&v->vm->vcpus_lock);
    __atomic_store_n(&v->vm->vcpu[owner->index], NULL, __ATOMIC_RELEASE);
    pthread_rwlock_unlock(&v->vm->vcpus_lock);
    soft_cache_free(v);
    pthread_mutex_destroy(&v->queue_lock);
    free(v);
}

static void kick(struct vmi_vcpu *owner)
{
    struct soft_vcpu *v = owner->impl;
    __atomic_store_n(&v->e.cpu.poll, 1, __ATOMIC_SEQ_CST);
}

/* --- looking at it --- */

static void describe(struct vmi_vcpu *owner)
{
    struct soft_vcpu *v = owner->impl;
    vmi_engine_sync_rip(&v->e);
    vmi_describe(&v->e.cpu, &owner->exit);
}

static uint64_t instructions(struct vmi_vcpu *owner)
{
    const struct soft_vcpu *v = owner->impl;
    return vmi_engine_instructions(&v->e);
}

static int get_state(struct vmi_vcpu *owner, uint32_t groups, struct vmlib_state *o)
{
    struct soft_vcpu *v = owner->impl;
    vmi_engine_sync_rip(&v->e);
    vmi_state_get(&v->e.cpu, groups, o);
    return 0;
}

static int set_state(struct vmi_vcpu *owner, uint32_t groups, const struct vmlib_state *o)
{
    struct soft_vcpu *v = owner->impl;
    return vmi_engine_set_state(&v->e, groups, o);
}

static int set_cpuid(struct vmi_vcpu *owner, const struct vmlib_cpuid_leaf *model, uint32_t n)
{
    use_model(owner->impl, model, n);
    return 0;
}

static void translate(struct vmi_vcpu *owner, uint64_t gva, uint32_t access, bool user,
                      struct vmlib_translation *t)
{
    struct soft_vcpu *v = owner->impl;
    vmi_translate(&v->e.cpu, gva, access, user, t);
}

static unsigned cpl(struct vmi_vcpu *owner)
{
    const struct soft_vcpu *v = owner->impl;
    return v->e.cpu.cpl;
}

const struct vmi_backend vmi_backend_soft = {
    .name = "soft",
    .id = VMLIB_BACKEND_SOFT,
    .max_vcpus = VMLIB_MAX_VCPUS,
    .phys_bits = 46,
    .slice = 50000,
    .probe = probe,
    .feature = feature,
    .vm_create = vm_create,
    .vm_destroy = vm_destroy,
    .mem_update = mem_update,
    .dirty_sync = dirty_sync,
    .host_wrote = host_wrote,
    .vcpu_create = vcpu_create,
    .vcpu_destroy = vcpu_destroy,
    .run = soft_run,
    .complete = soft_complete,
    .kick = kick,
    .describe = describe,
    .instructions = instructions,
    .get_state = get_state,
    .set_state = set_state,
    .get_reg = vmi_engine_get_reg,
    .set_reg = vmi_engine_set_reg,
    .inject = vmi_engine_inject,
    .set_exception_exits = vmi_engine_set_exception_exits,
    .set_breakpoints = vmi_engine_set_breakpoints,
    .set_cpuid = set_cpuid,
    .get_cpuid = vmi_engine_get_cpuid,
    .translate = translate,
    .cpl = cpl,
};
