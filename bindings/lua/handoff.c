/* Hand-off between VMs, and choosing a backend. */
#include "core.h"
#include "records.inc"

/* vmlib.backend_pick({feature, ...}) -> backend, why */
int core_backend_pick(lua_State *L)
{
    uint32_t backend = 0;
    char why[512] = "";
    int rc = vmlib_backend_pick(core_features(L, 1), &backend, why, sizeof(why));

    if (rc < 0)
        return core_error_text(L, rc, rc == VMLIB_E_UNAVAILABLE ? why : vmlib_devices_last_error());
    lua_pushinteger(L, backend);
    lua_pushstring(L, why);
    return 2;
}

/* vmlib.handoff_cpuid(a, b) -> list of CpuidLeaf */
int core_handoff_cpuid(lua_State *L)
{
    struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX];
    uint32_t count = VMLIB_CPUID_MAX;

    core_devices_check(
        L, vmlib_handoff_cpuid(core_vcpu(L, 1)->vcpu, core_vcpu(L, 2)->vcpu, leaves, &count));
    core_push_leaves(L, leaves, count);
    return 1;
}

/* vmlib.handoff_memory(source, target) */
int core_handoff_memory(lua_State *L)
{
    return core_devices_check(L, vmlib_handoff_memory(core_region(L, 1), core_region(L, 2)));
}

/* vmlib.handoff_vcpu(source, target, [repeat]) -> Exit. Records that are still to come may have
 * handlers: as in a run. */
int core_handoff_vcpu(lua_State *L)
{
    struct lua_vcpu *from = core_vcpu(L, 1), *to = core_vcpu(L, 2);
    uint32_t flags = lua_toboolean(L, 3) ? VMLIB_HANDOFF_REPEAT : 0;
    struct vmlib_exit *exit;
    struct lua_run run;
    int rc;

    lua_settop(L, 2);
    exit = core_record_new(L, RECORD_EXIT); /* at 3 */
    core_run_begin(L, &run, 1, NULL);
    rc = vmlib_handoff_vcpu(from->vcpu, to->vcpu, flags, exit);
    core_run_end(&run);
    if (run.failed) {
        lua_pushvalue(L, run.error);
        return lua_error(L);
    }
    core_devices_check(L, rc);
    from->last = *exit;
    lua_settop(L, 3);
    return 1;
}

/* region:share(vm, [prot], [flags]) -> region of the other VM over the same bytes */
int core_region_share(lua_State *L)
{
    vmlib_region *region = core_region(L, 1), **shared;
    struct lua_vm *vm = core_vm(L, 2);
    uint32_t prot = lua_isnoneornil(L, 3) ? VMLIB_PROT_RWX : (uint32_t)core_number(L, 3, 32);
    uint32_t flags = lua_isnoneornil(L, 4) ? 0 : (uint32_t)core_number(L, 4, 32);
    int rc;

    /* The memory is this region's for as long as the other VM's map may have it. */
    shared = core_region_new(L, 2);
    core_vm_keep(L, 2, 1);
    rc = vmlib_handoff_share(region, vm->vm, prot, flags, shared);
    if (rc < 0)
        core_vm_forget(L, 2);
    return core_devices_check(L, rc) + 1;
}
