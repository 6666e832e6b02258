/* vCPUs: creation and end, which thread they belong to, CPUID models, breakpoints. */
#include <stdlib.h>
#include <string.h>

#include "core/internal.h"

static int check_config(const struct vmlib_vcpu_config *c)
{
    if (c->index >= VMLIB_MAX_VCPUS) {
        return vmi_error(VMLIB_E_INVAL, "config->index is %u, at most %u", c->index,
                         VMLIB_MAX_VCPUS - 1);
    }
    if (c->initial > VMLIB_VCPU_WAIT_SIPI) {
        return vmi_error(VMLIB_E_INVAL, "config->initial is %u", c->initial);
    }
    return 0;
}

/* vm->lock held */
static int check_place(const struct vmlib_vm *vm, const struct vmlib_vcpu_config *c)
{
    for (uint32_t i = 0; i < VMLIB_MAX_VCPUS; i++) {
        const struct vmlib_vcpu *other = vm->vcpus[i];
        if (other != NULL && (i == c->index || other->pub.apic_id == c->apic_id)) {
            return vmi_error(VMLIB_E_EXISTS, "config->%s: vCPU %u has it",
                             i == c->index ? "index" : "apic_id", i);
        }
    }
    const struct vmi_backend *b = vm->pub.backend;
    if (vm->nvcpus >= 1 && vm->pub.time_mode == VMLIB_TIME_DETERMINISTIC) {
        return vmi_error(VMLIB_E_UNSUPPORTED, "vm: deterministic time allows one vCPU");
    }
    if (vm->nvcpus >= 1 && b->feature(VMLIB_FEATURE_SMP) == VMLIB_SUPPORT_REFUSED) {
        return vmi_error(VMLIB_E_UNSUPPORTED, "vm: backend %s refuses smp", b->name);
    }
    if (vm->nvcpus >= b->max_vcpus) {
        return vmi_error(VMLIB_E_LIMIT, "vm: backend %s allows %u vCPUs", b->name, b->max_vcpus);
    }
    return 0;
}

/* vm->lock held */
static int attach(struct vmlib_vm *vm, const struct vmlib_vcpu_config *c, struct vmlib_vcpu *vcpu)
{
    int rc = check_place(vm, c);
    if (rc != 0) {
        return rc;
    }
    rc = vm->pub.backend->vcpu_create(&vcpu->pub, c->initial == VMLIB_VCPU_WAIT_SIPI, vm->cpuid,
                                      vm->ncpuid);
    if (rc != 0) {
        return rc;
    }
    vm->vcpus[c->index] = vcpu;
    vm->nvcpus++;
    return 0;
}

static struct vmlib_vcpu *vcpu_new(struct vmlib_vm *vm, const struct vmlib_vcpu_config *c)
{
    struct vmlib_vcpu *vcpu = calloc(1, sizeof(*vcpu));
    if (vcpu == NULL) {
        return NULL;
    }
    if (vmi_wake_init(&vcpu->wake) != 0) {
        free(vcpu);
        return NULL;
    }
    atomic_init(&vcpu->refs, 1);
    atomic_init(&vcpu->generation, 1);
    vcpu->vm = vm;
    vcpu->pub.vm = &vm->pub;
    vcpu->pub.index = c->index;
    vcpu->pub.apic_id = c->apic_id;
    vcpu->pub.exit.size = sizeof(vcpu->pub.exit);
    return vcpu;
}

int vmlib_vcpu_create(vmlib_vm *vm, const struct vmlib_vcpu_config *config, vmlib_vcpu **vcpu)
{
    VMI_REQUIRE(vm);
    VMI_REQUIRE(vcpu);
    struct vmlib_vcpu_config c = VMLIB_VCPU_CONFIG_INIT;
    int rc = config != NULL ? vmi_args_in(&c, sizeof(c), config, "config") : 0;
    if (rc == 0) {
        rc = check_config(&c);
    }
    if (rc == 0) {
        rc = vmi_vm_check_fork(vm);
    }
    if (rc != 0) {
        return rc;
    }
    if (c.apic_id == VMLIB_APIC_ID_INDEX) {
        c.apic_id = c.index;
    }
    struct vmlib_vcpu *v = vcpu_new(vm, &c);
    if (v == NULL) {
        return vmi_error(VMLIB_E_NOMEM, "no memory for a vCPU");
    }
    pthread_mutex_lock(&vm->lock);
    rc = attach(vm, &c, v);
    pthread_mutex_unlock(&vm->lock);
    if (rc != 0) {
        vmi_wake_destroy(&v->wake);
        free(v);
        return rc;
    }
    vmlib_vm_ref(vm);
    *vcpu = v;
    return 0;
}

vmlib_vcpu *vmlib_vcpu_ref(vmlib_vcpu *vcpu)
{
    if (vcpu != NULL) {
        vmi_ref_get(&vcpu->refs);
    }
    return vcpu;
}

void vmlib_vcpu_unref(vmlib_vcpu *vcpu)
{
    if (vcpu == NULL || !vmi_ref_put(&vcpu->refs)) {
        return;
    }
    struct vmlib_vm *vm = vcpu->vm;
    pthread_mutex_lock(&vm->lock);
    vm->vcpus[vcpu->pub.index] = NULL;
    vm->nvcpus--;
    vmi_pause_begin(vm); /* other vCPUs may be about to tell this one something */
    vm->pub.backend->vcpu_destroy(&vcpu->pub);
    vmi_pause_end(vm);
    pthread_mutex_unlock(&vm->lock);
    vmi_wake_destroy(&vcpu->wake);
    free(vcpu->queue);
    free(vcpu);
    vmlib_vm_unref(vm);
}

vmlib_vm *vmlib_vcpu_vm(const vmlib_vcpu *vcpu)
{
    return vcpu != NULL ? vcpu->vm : NULL;
}

uint32_t vmlib_vcpu_index(const vmlib_vcpu *vcpu)
{
    return vcpu != NULL ? vcpu->pub.index : 0;
}

int vmi_vcpu_check_thread(struct vmlib_vcpu *vcpu)
{
    uintptr_t owner = atomic_load_explicit(&vcpu->owner, memory_order_relaxed);
    if (owner != 0 && owner != vmi_thread_token()) {
        return vmi_error(VMLIB_E_BUSY, "vcpu %u runs on another thread", vcpu->pub.index);
    }
    return 0;
}

uint64_t vmi_vcpu_time_ns(struct vmi_vcpu *pub)
{
    if (pub->vm->time_mode == VMLIB_TIME_REAL) {
        return vmi_now_ns() - pub->vm->start_ns;
    }
    return pub->vm->backend->instructions(pub) + ((struct vmlib_vcpu *)pub)->skipped_ns;
}

int vmlib_vcpu_set_cpuid(vmlib_vcpu *vcpu, const struct vmlib_cpuid_leaf *leaves, uint32_t count)
{
    VMI_REQUIRE(vcpu);
    int rc = vmi_args_cpuid(leaves, count);
    if (rc == 0) {
        rc = vmi_vcpu_check_thread(vcpu);
    }
    if (rc != 0) {
        return rc;
    }
    if (vcpu->has_run) {
        return vmi_error(VMLIB_E_STATE, "vcpu %u has run already", vcpu->pub.index);
    }
    return vcpu->vm->pub.backend->set_cpuid(&vcpu->pub, leaves, count);
}

int vmlib_vcpu_get_cpuid(vmlib_vcpu *vcpu, struct vmlib_cpuid_leaf *leaves, uint32_t *count)
{
    VMI_REQUIRE(vcpu);
    VMI_REQUIRE(count);
    if (*count != 0) {
        VMI_REQUIRE(leaves);
    }
    int rc = vmi_vcpu_check_thread(vcpu);
    if (rc != 0) {
        return rc;
    }
    struct vmlib_cpuid_leaf model[VMLIB_CPUID_MAX];
    uint32_t n = vcpu->vm->pub.backend->get_cpuid(&vcpu->pub, model);
    if (n > *count) {
        *count = n;
        return vmi_error(VMLIB_E_LIMIT, "count: the model has %u leaves", n);
    }
    if (n != 0) {
        memcpy(leaves, model, n * sizeof(model[0]));
    }
    *count = n;
    return 0;
}

int vmlib_vcpu_set_exception_exits(vmlib_vcpu *vcpu, uint32_t mask)
{
    VMI_REQUIRE(vcpu);
    const struct vmi_backend *b = vcpu->vm->pub.backend;
    if (mask != 0 && b->feature(VMLIB_FEATURE_EXCEPTION_EXITS) == VMLIB_SUPPORT_REFUSED) {
        return vmi_error(VMLIB_E_UNSUPPORTED, "mask: backend %s refuses exception-exits", b->name);
    }
    int rc = vmi_vcpu_check_thread(vcpu);
    return rc != 0 ? rc : b->set_exception_exits(&vcpu->pub, mask);
}

static int check_breakpoint(const struct vmlib_breakpoint *b)
{
    if (b->kind > VMLIB_BREAKPOINT_ACCESS) {
        return vmi_error(VMLIB_E_INVAL, "breakpoint->kind is %u", b->kind);
    }
    if ((b->width != 1 && b->width != 2 && b->width != 4 && b->width != 8) ||
        b->address % b->width != 0 || (b->kind == VMLIB_BREAKPOINT_EXEC && b->width != 1)) {
        return vmi_error(VMLIB_E_INVAL, "breakpoint->width is %u at address 0x%llx", b->width,
                         (unsigned long long)b->address);
    }
    return b->reserved == 0 ? 0 : vmi_error(VMLIB_E_INVAL, "breakpoint->reserved is not 0");
}

int vmlib_vcpu_set_breakpoint(vmlib_vcpu *vcpu, uint32_t slot,
                              const struct vmlib_breakpoint *breakpoint)
{
    VMI_REQUIRE(vcpu);
    struct vmlib_breakpoint c = VMLIB_BREAKPOINT_INIT;
    if (slot >= VMLIB_BREAKPOINTS) {
        return vmi_error(VMLIB_E_INVAL, "slot is %u", slot);
    }
    int rc = breakpoint != NULL ? vmi_args_in(&c, sizeof(c), breakpoint, "breakpoint") : 0;
    if (rc == 0) {
        rc = check_breakpoint(&c);
    }
    if (rc == 0) {
        rc = vmi_vcpu_check_thread(vcpu);
    }
    const struct vmi_backend *b = vcpu->vm->pub.backend;
    if (rc == 0 && c.kind != VMLIB_BREAKPOINT_OFF &&
        b->feature(VMLIB_FEATURE_BREAKPOINTS) == VMLIB_SUPPORT_REFUSED) {
        rc = vmi_error(VMLIB_E_UNSUPPORTED, "breakpoint: backend %s refuses breakpoints", b->name);
    }
    if (rc != 0) {
        return rc;
    }
    struct vmlib_breakpoint all[VMLIB_BREAKPOINTS];
    memcpy(all, vcpu->breakpoints, sizeof(all));
    all[slot] = c;
    rc = b->set_breakpoints(&vcpu->pub, all);
    if (rc == 0) {
        vcpu->breakpoints[slot] = c;
    }
    return rc;
}
