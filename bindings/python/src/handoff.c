/* Hand-off between VMs, and choosing a backend. */
#include "core.h"
#include "records.inc"

static PyObject *backend_pick(PyObject *module, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("required");
    PyObject *required = NULL;
    uint64_t features = 0;
    uint32_t backend = 0;
    char why[512] = "";
    int rc;

    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", keywords, &required) ||
        (required && !core_features(required, &features)))
        return NULL;
    VMLIB_UNLOCKED(rc = vmlib_backend_pick(features, &backend, why, sizeof(why)));
    if (rc < 0)
        return rc == VMLIB_E_UNAVAILABLE ? core_error_text(rc, why) : core_devices_error(rc);
    return Py_BuildValue("Ns", core_enum("Backend", backend), why);
}

static PyObject *handoff_cpuid(PyObject *module, PyObject *args)
{
    struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX];
    uint32_t count = VMLIB_CPUID_MAX;
    VCPU *a, *b;
    int rc;

    (void)module;
    if (!PyArg_ParseTuple(args, "O!O!", &VCPU_Type, &a, &VCPU_Type, &b) || !core_vcpu_use(a) ||
        !core_vcpu_use(b))
        return NULL;
    rc = vmlib_handoff_cpuid(a->vcpu, b->vcpu, leaves, &count);
    return rc < 0 ? core_devices_error(rc) : core_leaf_list(leaves, count);
}

static PyObject *handoff_memory(PyObject *module, PyObject *args)
{
    Region *from, *to;
    int rc;

    (void)module;
    if (!PyArg_ParseTuple(args, "O!O!", &Region_Type, &from, &Region_Type, &to))
        return NULL;
    VMLIB_UNLOCKED(rc = vmlib_handoff_memory(from->region, to->region));
    return core_devices_none(rc);
}

/* Records that are still to come may have handlers: as in a run. */
static PyObject *handoff_vcpu(PyObject *module, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("source", "target", "repeat");
    struct vmlib_exit exit = VMLIB_EXIT_INIT;
    VCPU *from, *to, *outer = core_running;
    int repeat = 0, rc;

    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!|p", keywords, &VCPU_Type, &from,
                                     &VCPU_Type, &to, &repeat) ||
        !core_vcpu_use(from) || !core_vcpu_use(to))
        return NULL;
    core_vcpu_enter(from);
    core_vcpu_enter(to);
    core_running = from;
    VMLIB_UNLOCKED(
        rc = vmlib_handoff_vcpu(from->vcpu, to->vcpu, repeat ? VMLIB_HANDOFF_REPEAT : 0, &exit));
    core_running = outer;
    core_vcpu_leave(to);
    core_vcpu_leave(from);
    if (core_vcpu_raise_kept(from))
        return NULL;
    if (rc < 0)
        return core_devices_error(rc);
    from->last = exit;
    return core_record_copy(RECORD_EXIT, &exit);
}

PyObject *core_region_share(PyObject *object, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("vm", "prot", "flags");
    uint32_t prot = VMLIB_PROT_RWX, flags = 0;
    vmlib_region *shared;
    vmlib_vm *handle;
    VM *vm;
    int rc;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|O&O&", keywords, &VM_Type, &vm, core_u32,
                                     &prot, core_u32, &flags) ||
        !(handle = core_vm_use(vm)))
        return NULL;
    /* The memory is this region's for as long as the other VM's map may have it. */
    if (!core_vm_keep(vm, object)) {
        vmlib_vm_unref(handle);
        return NULL;
    }
    VMLIB_UNLOCKED(
        rc = vmlib_handoff_share(((Region *)object)->region, handle, prot, flags, &shared);
        vmlib_vm_unref(handle));
    if (rc < 0)
        core_vm_forget(vm, object);
    return rc < 0 ? core_devices_error(rc) : core_region_object(vm, shared);
}

PyMethodDef core_handoff_functions[] = {
    {"backend_pick", CORE_WITH_KEYWORDS(backend_pick),
     "backend_pick(required=()) -> (Backend, why)\n\n"
     "The fastest backend that has these features on this machine, and a line that says why."},
    {"handoff_cpuid", handoff_cpuid, METH_VARARGS,
     "handoff_cpuid(a, b) -> list of CpuidLeaf\n\nThe CPUID model that both vCPUs can have."},
    {"handoff_memory", handoff_memory, METH_VARARGS,
     "handoff_memory(source, target)\n\nRegion target becomes what region source is."},
    {"handoff_vcpu", CORE_WITH_KEYWORDS(handoff_vcpu),
     "handoff_vcpu(source, target, repeat=False) -> Exit\n\n"
     "Move a vCPU's state. Reason.NONE: moved; STOPPED: moved, and a handler's STOP had not been\n"
     "reported; any other: deal with it, then call again. repeat: begin a half-done instruction\n"
     "again."},
    {NULL, NULL, 0, NULL},
};
