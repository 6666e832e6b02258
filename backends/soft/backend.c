/* The software backend's table: creation, memory, state and the small calls. */
#include <stdlib.h>
#include <string.h>

#include "soft/soft.h"

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
    struct x86_cpuid_table *t = &v->cpuid;
    const struct vmi_vcpu *o = v->owner;
    if (model) {
        t->count = n < X86_CPUID_MAX_LEAVES ? n : X86_CPUID_MAX_LEAVES;
        for (uint32_t i = 0; i < t->count; i++) {
            bool sub = model[i].flags & VMLIB_CPUID_SUBLEAF;
            t->leaf[i] = (struct x86_cpuid_leaf){model[i].leaf, sub ? model[i].subleaf : UINT32_MAX,
                                                 model[i].eax,  model[i].ebx,
                                                 model[i].ecx,  model[i].edx};
        }
    } else {
        uint64_t host[4];
        x86_host_features(host);
        struct x86_cpuid_config cfg = {.apic_id = o->apic_id,
                                       .ncpus = VMLIB_MAX_VCPUS,
                                       .tsc_khz = o->vm->tsc_khz,
                                       .phys_bits = o->vm->phys_bits,
                                       .host_feat = host};
        x86_cpuid_default(&cfg, t);
    }
    uint64_t old[4];
    memcpy(old, v->cpu.feat, sizeof(old));
    x86_cpuid_features(t, v->cpu.feat);
    if (memcmp(old, v->cpu.feat, sizeof(old)))
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
    v->owner = owner;
    v->vm = vm;
    v->cpu.ops = &soft_ops;
    v->cpu.host = v;
    v->cpu.tlb_gen = 1;
    v->cpu.phys_mask = (UINT64_C(1) << owner->vm->phys_bits) - 1;
    v->random = owner->vm->seed + (uint64_t)owner->index * UINT64_C(0xd1342543de82ef95);
    v->answer_count = UINT64_MAX;
    pthread_mutex_init(&v->queue_lock, NULL);
    owner->impl = v;
    use_model(v, model, n);
    x86_reset(&v->cpu, false);
    v->cpu.wait_sipi = wait_sipi;
    v->cpu.apic_base = 0xfee00800u | (owner->index == 0 ? 0x100u : 0);
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
    __atomic_store_n(&v->cpu.poll, 1, __ATOMIC_SEQ_CST);
}

/* --- looking at it --- */

static void describe(struct vmi_vcpu *owner)
{
    struct soft_vcpu *v = owner->impl;
    soft_sync_rip(v);
    vmi_describe(&v->cpu, &owner->exit);
}

static uint64_t instructions(struct vmi_vcpu *owner)
{
    return soft_retired(owner->impl);
}

static int get_reg(struct vmi_vcpu *owner, uint32_t reg, uint64_t *value)
{
    struct soft_vcpu *v = owner->impl;
    struct x86_cpu *cpu = &v->cpu;
    soft_sync_rip(v);
    if (reg <= VMLIB_REG_R15) {
        *value = cpu->r[reg];
        return 0;
    }
    switch (reg) {
    case VMLIB_REG_RIP:
        *value = cpu->rip;
        return 0;
    case VMLIB_REG_RFLAGS:
        *value = x86_get_flags(cpu);
        return 0;
    case VMLIB_REG_CR8:
        *value = cpu->cr8;
        return 0;
    case VMLIB_REG_TSC:
        *value = cpu->ops->tsc(cpu) + (uint64_t)cpu->msr.tsc_offset;
        return 0;
    default:
        return VMLIB_E_UNSUPPORTED; /* through its group */
    }
}

static int set_reg(struct vmi_vcpu *owner, uint32_t reg, uint64_t value)
{
    struct soft_vcpu *v = owner->impl;
    struct x86_cpu *cpu = &v->cpu;
    if (reg <= VMLIB_REG_R15)
        cpu->r[reg] = value;
    else if (reg == VMLIB_REG_CR8 && value < 16)
        cpu->cr8 = value;
    else
        return VMLIB_E_UNSUPPORTED;
    return 0;
}

static int inject(struct vmi_vcpu *owner, const struct vmlib_event *event)
{
    struct soft_vcpu *v = owner->impl;
    vmi_event_from_api(event, &v->cpu.injected);
    if (v->in_block)
        v->cpu.resync = true;
    __atomic_store_n(&v->cpu.poll, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static int set_exception_exits(struct vmi_vcpu *owner, uint32_t mask)
{
    struct soft_vcpu *v = owner->impl;
    v->cpu.exc_exits = mask;
    return 0;
}

static int set_breakpoints(struct vmi_vcpu *owner,
                           const struct vmlib_breakpoint bp[VMLIB_BREAKPOINTS])
{
    static const uint8_t rw[4] = {0, 0, 1, 3};
    static const uint8_t len[9] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
    struct soft_vcpu *v = owner->impl;
    struct x86_cpu *cpu = &v->cpu;
    cpu->host_dr7 = 0;
    for (unsigned i = 0; i < VMLIB_BREAKPOINTS; i++) {
        cpu->host_dr[i] = bp[i].address;
        if (bp[i].kind == VMLIB_BREAKPOINT_OFF)
            continue;
        cpu->host_dr7 |= UINT64_C(1) << (2 * i) | (uint64_t)rw[bp[i].kind] << (16 + 4 * i) |
                         (uint64_t)len[bp[i].width & 15 ? bp[i].width : 1] << (18 + 4 * i);
    }
    x86_mode_refresh(cpu);
    x86_tlb_flush(cpu);
    if (v->in_block)
        cpu->resync = true;
    return 0;
}

static int set_cpuid(struct vmi_vcpu *owner, const struct vmlib_cpuid_leaf *model, uint32_t n)
{
    use_model(owner->impl, model, n);
    return 0;
}

static uint32_t get_cpuid(struct vmi_vcpu *owner, struct vmlib_cpuid_leaf *model)
{
    const struct soft_vcpu *v = owner->impl;
    for (uint32_t i = 0; i < v->cpuid.count; i++) {
        const struct x86_cpuid_leaf *l = &v->cpuid.leaf[i];
        bool sub = l->subleaf != UINT32_MAX;
        model[i] = (struct vmlib_cpuid_leaf){.leaf = l->leaf,
                                             .subleaf = sub ? l->subleaf : 0,
                                             .flags = sub ? VMLIB_CPUID_SUBLEAF : 0,
                                             .eax = l->eax,
                                             .ebx = l->ebx,
                                             .ecx = l->ecx,
                                             .edx = l->edx};
    }
    return v->cpuid.count;
}

static void translate(struct vmi_vcpu *owner, uint64_t gva, uint32_t access, bool user,
                      struct vmlib_translation *t)
{
    struct soft_vcpu *v = owner->impl;
    vmi_translate(&v->cpu, gva, access, user, t);
}

static unsigned cpl(struct vmi_vcpu *owner)
{
    const struct soft_vcpu *v = owner->impl;
    return v->cpu.cpl;
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
    .get_state = soft_get_state,
    .set_state = soft_set_state,
    .get_reg = get_reg,
    .set_reg = set_reg,
    .inject = inject,
    .set_exception_exits = set_exception_exits,
    .set_breakpoints = set_breakpoints,
    .set_cpuid = set_cpuid,
    .get_cpuid = get_cpuid,
    .translate = translate,
    .cpl = cpl,
};
