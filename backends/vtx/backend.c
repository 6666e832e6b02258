/* The VT-x backend's table. */
#include <unistd.h>

#include "state/state.h"
#include "vtx/vtx.h"
#include "x86/mem.h"

#define EVERYTHING (VTX_LOOKED_AT | VMLIB_VTX_G_DEBUG)

static uint32_t feature(uint32_t f)
{
    static const uint8_t answers[VMLIB_FEATURE_COUNT] = {
        [VMLIB_FEATURE_GUEST_CODE] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_REAL_MODE] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_LONG_MODE] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_SMP] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_BUDGET] = VMLIB_SUPPORT_EMULATED,
        [VMLIB_FEATURE_SINGLE_STEP] = VMLIB_SUPPORT_EMULATED,
        [VMLIB_FEATURE_BREAKPOINTS] = VMLIB_SUPPORT_EMULATED,
        [VMLIB_FEATURE_EXCEPTION_EXITS] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_MSR_HANDLERS] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_CPUID_HANDLERS] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_HYPERCALL_HANDLERS] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_DIRTY_LOG] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_PROT_READ] = VMLIB_SUPPORT_EMULATED,
        [VMLIB_FEATURE_PROT_WRITE] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_PROT_EXEC] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_NMI] = VMLIB_SUPPORT_NATIVE,
        [VMLIB_FEATURE_DEVICE_TABLES] = VMLIB_SUPPORT_EMULATED,
    };
    if (f == VMLIB_FEATURE_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
                   ? VMLIB_SUPPORT_NATIVE
                   : VMLIB_SUPPORT_REFUSED;
    return f < VMLIB_FEATURE_COUNT ? answers[f] : VMLIB_SUPPORT_REFUSED;
}

static void describe(struct vmi_vcpu *owner)
{
    struct vtx_cpu *v = owner->impl;
    if (vtx_need_all(v))
        vmi_describe(&v->e.cpu, &owner->exit);
}

/* The processor does not count instructions for us. */
static uint64_t instructions(struct vmi_vcpu *owner)
{
    (void)owner;
    return 0;
}

static int get_state(struct vmi_vcpu *owner, uint32_t groups, struct vmlib_state *o)
{
    struct vtx_cpu *v = owner->impl;
    int rc = vtx_need(v, EVERYTHING);
    if (rc != 0)
        return rc;
    if (groups & (VMLIB_STATE_FPU | VMLIB_STATE_XSAVE))
        vtx_need_fpu(v);
    vmi_state_get(&v->e.cpu, groups, o);
    return 0;
}

static int set_state(struct vmi_vcpu *owner, uint32_t groups, const struct vmlib_state *o)
{
    struct vtx_cpu *v = owner->impl;
    int rc = vtx_need(v, EVERYTHING);
    if (rc != 0)
        return rc;
    if (groups & VMLIB_STATE_CONTROL && o->control.cr4 & ~v->vm->info.cr4_may)
        return vmi_error(VMLIB_E_INVAL, "control.cr4 is 0x%llx, the processor can only have 0x%llx",
                         (unsigned long long)o->control.cr4,
                         (unsigned long long)v->vm->info.cr4_may);
    if (groups & (VMLIB_STATE_FPU | VMLIB_STATE_XSAVE))
        vtx_need_fpu(v);
    return vmi_engine_set_state(&v->e, groups, o);
}

static int set_cpuid(struct vmi_vcpu *owner, const struct vmlib_cpuid_leaf *model, uint32_t n)
{
    struct vtx_cpu *v = owner->impl;
    vmi_model_from_api(model, n, &v->e.cpuid);
    (void)vmi_engine_use_model(&v->e);
    return 0;
}

static void translate(struct vmi_vcpu *owner, uint64_t gva, uint32_t access, bool user,
                      struct vmlib_translation *t)
{
    struct vtx_cpu *v = owner->impl;
    if (!vtx_need_all(v))
        return;
    x86_tlb_flush(&v->e.cpu);
    vmi_translate(&v->e.cpu, gva, access, user, t);
}

static unsigned cpl(struct vmi_vcpu *owner)
{
    struct vtx_cpu *v = owner->impl;
    return vtx_need_all(v) ? v->e.cpu.cpl : 0;
}

const struct vmi_backend vmi_backend_vtx = {
    .name = "vtx",
    .id = VMLIB_BACKEND_VTX,
    .max_vcpus = VMLIB_MAX_VCPUS,
    .phys_bits = 46,
    .probe = vtx_probe,
    .feature = feature,
    .vm_create = vtx_vm_create,
    .vm_destroy = vtx_vm_destroy,
    .mem_update = vtx_mem_update,
    .dirty_sync = vtx_dirty_sync,
    .host_wrote = vtx_host_wrote,
    .vcpu_create = vtx_vcpu_create,
    .vcpu_destroy = vtx_vcpu_destroy,
    .run = vtx_run,
    .complete = vtx_complete,
    .kick = vtx_kick,
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
