/* Lockstep: creation and end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/error.h"
#include "kit/lockstep.h"

#define FLAGS (VMLIB_LOCKSTEP_COPY | VMLIB_LOCKSTEP_OWN_DEVICES | VMLIB_LOCKSTEP_X87_POINTERS)

static uint32_t support(const struct vmi_ls_side *s, uint32_t feature)
{
    uint32_t answer = VMLIB_SUPPORT_REFUSED;

    vmlib_backend_feature(vmlib_vm_backend(s->vm), feature, &answer);
    return answer;
}

static int check(const struct vmlib_lockstep_config *c)
{
    if (c->size != sizeof(*c))
        return vmi_dev_error(VMLIB_E_INVAL,
                             "config: size is not that of struct vmlib_lockstep_config");
    if (c->grain > VMLIB_LOCKSTEP_INSN || (c->flags & ~FLAGS) || c->interval == 0 ||
        c->history == 0 || c->history > VMI_LS_HISTORY || c->regions > VMLIB_LOCKSTEP_REGIONS)
        return vmi_dev_error(VMLIB_E_INVAL, "config: unknown values");
    if (!c->vcpu[0] || !c->vcpu[1] || (c->regions && !c->region))
        return vmi_dev_error(VMLIB_E_INVAL, "config: vcpu or region is NULL");
    if (vmlib_vcpu_vm(c->vcpu[0]) == vmlib_vcpu_vm(c->vcpu[1]))
        return vmi_dev_error(VMLIB_E_INVAL, "config: both vCPUs are in one VM");
    if (c->run && !(c->flags & VMLIB_LOCKSTEP_OWN_DEVICES))
        return vmi_dev_error(VMLIB_E_INVAL, "config: run needs VMLIB_LOCKSTEP_OWN_DEVICES");
    return 0;
}

static void init_side(struct vmlib_lockstep *l, unsigned i)
{
    struct vmi_ls_side *s = &l->side[i];
    struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;

    s->vcpu = vmlib_vcpu_ref(l->config.vcpu[i]);
    s->vm = vmlib_vcpu_vm(s->vcpu);
    vmlib_backend_query(vmlib_vm_backend(s->vm), &info);
    snprintf(s->name, sizeof(s->name), "%s", info.name);
    s->steps = support(s, VMLIB_FEATURE_SINGLE_STEP) != VMLIB_SUPPORT_REFUSED;
    s->counts = support(s, VMLIB_FEATURE_INSN_COUNT) >= VMLIB_SUPPORT_EMULATED;
}

/* Have all events of a kind returned from run, whatever older handlers there are. */
static int take(struct vmi_ls_side *s, uint32_t kind, uint64_t last)
{
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    int error;

    config.kind = kind;
    config.last = last;
    error = vmlib_handler_add(s->vm, &config, &s->handler[s->handlers]);
    if (error == VMLIB_E_UNSUPPORTED && kind == VMLIB_HANDLER_HYPERCALL)
        return 0; /* the backend has none to return */
    if (error)
        return vmi_dev_error_lib(error, "lockstep: handler");
    s->handlers++;
    return 0;
}

static int take_all(struct vmi_ls_side *s)
{
    uint64_t index = vmlib_vcpu_index(s->vcpu);
    int error = take(s, VMLIB_HANDLER_PIO, UINT16_MAX);

    if (!error)
        error = take(s, VMLIB_HANDLER_MMIO, UINT32_MAX);
    if (!error)
        error = take(s, VMLIB_HANDLER_HYPERCALL, UINT32_MAX);
    if (!error)
        error = take(s, VMLIB_HANDLER_INTACK, index);
    return error;
}

/* CPUID leaves may differ between backends: side 0 answers for both where both can be asked. */
static int take_cpuid(struct vmlib_lockstep *l)
{
    int error = 0;

    for (unsigned i = 0; i < 2; i++)
        if (support(&l->side[i], VMLIB_FEATURE_CPUID_HANDLERS) == VMLIB_SUPPORT_REFUSED)
            return 0;
    for (unsigned i = 0; i < 2 && !error; i++)
        error = take(&l->side[i], VMLIB_HANDLER_CPUID, UINT32_MAX);
    return error;
}

static int copy(struct vmlib_lockstep *l)
{
    int error;

    l->side[0].state.size = sizeof(l->side[0].state);
    error = vmlib_vcpu_get_state(l->side[0].vcpu, VMLIB_STATE_ALL, &l->side[0].state);
    if (!error)
        error = vmlib_vcpu_set_state(l->side[1].vcpu, VMLIB_STATE_ALL, &l->side[0].state);
    if (error)
        return vmi_dev_error_lib(error, "lockstep: copying state");
    return vmi_ls_memory_copy(l);
}

static int set_up(struct vmlib_lockstep *l)
{
    int error = 0;

    for (unsigned i = 0; i < 2; i++)
        init_side(l, i);
    l->budgets = l->config.slice &&
                 support(&l->side[0], VMLIB_FEATURE_BUDGET) >= VMLIB_SUPPORT_EMULATED &&
                 support(&l->side[1], VMLIB_FEATURE_BUDGET) >= VMLIB_SUPPORT_EMULATED;
    if (l->config.grain == VMLIB_LOCKSTEP_INSN && !(l->side[0].steps && l->side[1].steps))
        return vmi_dev_error(VMLIB_E_UNSUPPORTED, "config->grain: backend %s cannot single-step",
                             l->side[l->side[0].steps].name);
    for (uint32_t n = 0; n < l->config.regions && !error; n++)
        error = vmi_ls_memory_add(l, &l->config.region[n]);
    if (!error && l->config.flags & VMLIB_LOCKSTEP_COPY)
        error = copy(l);
    if (error || l->config.flags & VMLIB_LOCKSTEP_OWN_DEVICES)
        return error;
    for (unsigned i = 0; i < 2 && !error; i++)
        error = take_all(&l->side[i]);
    return error ? error : take_cpuid(l);
}

int vmlib_lockstep_create(const struct vmlib_lockstep_config *config, vmlib_lockstep **lockstep)
{
    struct vmlib_lockstep *l;
    int error;

    if (!config || !lockstep)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", config ? "lockstep" : "config");
    error = check(config);
    if (error)
        return error;
    l = calloc(1, sizeof(*l));
    if (!l)
        return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
    l->config = *config;
    error = set_up(l);
    l->config.region = NULL; /* the caller's */
    if (error) {
        vmlib_lockstep_destroy(l);
        return error;
    }
    *lockstep = l;
    return 0;
}

void vmlib_lockstep_destroy(vmlib_lockstep *lockstep)
{
    if (!lockstep)
        return;
    for (unsigned i = 0; i < 2; i++) {
        struct vmi_ls_side *s = &lockstep->side[i];

        for (unsigned n = 0; n < s->handlers; n++) {
            vmlib_handler_remove(s->handler[n]);
            vmlib_handler_unref(s->handler[n]);
        }
        vmlib_vcpu_unref(s->vcpu);
    }
    vmi_ls_log_clear(lockstep);
    free(lockstep->log);
    vmi_ls_memory_free(lockstep);
    free(lockstep);
}

int vmlib_lockstep_difference(vmlib_lockstep *lockstep, uint32_t index,
                              struct vmlib_lockstep_difference *difference)
{
    if (!lockstep || !difference || difference->size != sizeof(*difference))
        return vmi_dev_error(VMLIB_E_INVAL, "lockstep or difference is NULL or has a wrong size");
    if (index >= lockstep->differences)
        return vmi_dev_error(VMLIB_E_NOTFOUND, "index is %u of %u", index, lockstep->differences);
    *difference = lockstep->difference[index];
    return 0;
}
