/* Virtual machines: creation, memory, clock. */
#include "core.h"
#include "log_queue.h"
#include "records.inc"

vmlib_vm *core_vm_use(VM *vm)
{
    if (vm)
        core_vm_deliver_log(vm);
    if (!vm || !vm->vm) {
        core_error_text(VMLIB_E_STATE, "vm: it is closed");
        return NULL;
    }
    return vmlib_vm_ref(vm->vm);
}

/* Messages are given to the script in its own calls: see log_queue.h. */
static void deliver(VM *vm)
{
    struct log_queue *queue = vm->queue;
    PyObject *log = vm->log, *kind, *value, *traceback, *result;
    struct log_message message;

    if (!queue || !log || queue->delivering)
        return;
    PyErr_Fetch(&kind, &value, &traceback);
    Py_INCREF(log);
    queue->delivering = true;
    while (log_queue_take(queue, &message)) {
        PyObject *level = core_enum("LogLevel", message.level);

        result = level ? PyObject_CallFunction(log, "Os", level, message.text) : NULL;
        if (!result)
            PyErr_WriteUnraisable(log);
        Py_XDECREF(result);
        Py_XDECREF(level);
    }
    queue->delivering = false;
    Py_DECREF(log);
    PyErr_Restore(kind, value, traceback);
}

void core_vm_deliver_log(VM *vm)
{
    if (vm->queue && vm->queue->count) /* read without its lock: what comes now comes later */
        deliver(vm);
}

/* --- creation --- */

static bool one_backend(PyObject *object, uint32_t *backend)
{
    const char *name;
    int rc;

    if (!PyUnicode_Check(object))
        return core_u32(object, backend);
    name = PyUnicode_AsUTF8(object);
    rc = name ? vmlib_backend_by_name(name, backend) : 0;
    if (rc < 0)
        core_error(rc);
    return name && rc == 0;
}

/* None, one backend, or a sequence of them; each a name or a number. */
static bool backends(PyObject *object, uint32_t list[VMLIB_VM_BACKENDS])
{
    PyObject *tuple;
    bool good = true;

    if (object == Py_None)
        return true;
    if (PyUnicode_Check(object) || PyIndex_Check(object))
        return one_backend(object, list);
    tuple = PySequence_Tuple(object);
    if (!tuple)
        return false;
    if (PyTuple_GET_SIZE(tuple) > VMLIB_VM_BACKENDS) {
        PyErr_Format(PyExc_ValueError, "at most %u backends", VMLIB_VM_BACKENDS);
        good = false;
    }
    for (Py_ssize_t i = 0; good && i < PyTuple_GET_SIZE(tuple); i++)
        good = one_backend(PyTuple_GET_ITEM(tuple, i), &list[i]);
    Py_DECREF(tuple);
    return good;
}

bool core_features(PyObject *object, uint64_t *bits)
{
    PyObject *tuple = PySequence_Tuple(object);
    bool good = tuple != NULL;
    uint64_t feature;

    for (Py_ssize_t i = 0; good && i < PyTuple_GET_SIZE(tuple); i++) {
        good = core_number(PyTuple_GET_ITEM(tuple, i), 63, &feature);
        if (good)
            *bits |= UINT64_C(1) << feature;
    }
    Py_XDECREF(tuple);
    return good;
}

static PyObject *vm_new(PyTypeObject *class, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("backends", "time_mode", "required", "seed", "tsc_khz", "phys_bits", "msr_policy",
                  "log");
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    PyObject *list = Py_None, *required = NULL, *log = Py_None;
    int rc;
    VM *self;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$O&OO&O&O&O&O", keywords, &list, core_u32,
                                     &config.time_mode, &required, core_u64, &config.seed, core_u32,
                                     &config.tsc_khz, core_u32, &config.phys_bits, core_u32,
                                     &config.msr_policy, &log) ||
        !backends(list, config.backends) ||
        (required && !core_features(required, &config.required)))
        return NULL;
    if (log != Py_None && !PyCallable_Check(log)) {
        PyErr_SetString(PyExc_TypeError, "log: expected a function");
        return NULL;
    }
    self = (VM *)class->tp_alloc(class, 0);
    if (!self)
        return NULL;
    self->keep = PyList_New(0);
    if (log != Py_None) {
        Py_INCREF(log);
        self->log = log;
        self->queue = PyMem_RawMalloc(sizeof(*self->queue));
        if (!self->queue) {
            Py_DECREF(self);
            return PyErr_NoMemory();
        }
        log_queue_init(self->queue);
        config.log = log_queue_put;
        config.log_opaque = self->queue; /* children hold this object: it outlives the handle */
    }
    VMLIB_UNLOCKED(rc = self->keep ? vmlib_vm_create(&config, &self->vm) : VMLIB_E_NOMEM);
    if (rc < 0) {
        core_error(rc);
        Py_DECREF(self);
        return NULL;
    }
    core_vm_deliver_log(self);
    return (PyObject *)self;
}

static void drop_handle(VM *self)
{
    vmlib_vm *vm = self->vm;

    self->vm = NULL;
    if (vm)
        VMLIB_UNLOCKED(vmlib_vm_unref(vm));
}

static int vm_traverse(PyObject *object, visitproc visit, void *arg)
{
    VM *self = (VM *)object;

    Py_VISIT(self->keep);
    Py_VISIT(self->log);
    return core_hooks_traverse(self, visit, arg);
}

static int vm_clear(PyObject *object)
{
    VM *self = (VM *)object;

    core_hooks_clear(self);
    Py_CLEAR(self->log);
    return 0;
}

static void vm_dealloc(PyObject *object)
{
    VM *self = (VM *)object;

    PyObject_GC_UnTrack(object);
    if (self->weak)
        PyObject_ClearWeakRefs(object);
    vm_clear(object);
    drop_handle(self);
    Py_CLEAR(self->keep); /* after the memory map that points into it */
    PyMem_RawFree(self->queue);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *vm_close(PyObject *object, PyObject *unused)
{
    VM *self = (VM *)object;

    (void)unused;
    if (self->running)
        return core_error_text(VMLIB_E_BUSY, "vm: a vCPU is running");
    drop_handle(self);
    vm_clear(object);
    Py_RETURN_NONE;
}

static PyObject *vm_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_INCREF(self);
    return self;
}

static PyObject *vm_exit(PyObject *self, PyObject *args)
{
    (void)args;
    return vm_close(self, NULL);
}

/* --- memory --- */

bool core_vm_keep(VM *vm, PyObject *object)
{
    return PyList_Append(vm->keep, object) == 0;
}

void core_vm_forget(VM *vm, PyObject *object)
{
    Py_ssize_t i = PyList_GET_SIZE(vm->keep);

    while (i-- > 0 && PyList_GET_ITEM(vm->keep, i) != object)
        ;
    if (i >= 0 && PyList_SetSlice(vm->keep, i, i + 1, NULL) < 0)
        PyErr_Clear(); /* then it stays as long as the VM */
}

/* The view that the VM keeps, borrowed. */
static PyObject *host_buffer(VM *self, PyObject *host, struct vmlib_region_config *config)
{
    PyObject *view = PyMemoryView_GetContiguous(host, PyBUF_WRITE, 'C');
    Py_buffer *buffer;
    bool kept;

    if (!view)
        return NULL;
    buffer = PyMemoryView_GET_BUFFER(view);
    config->backing = VMLIB_BACKING_HOST;
    config->host = buffer->buf;
    if (config->bytes == 0)
        config->bytes = (uint64_t)buffer->len;
    if (config->bytes > (uint64_t)buffer->len) {
        PyErr_Format(PyExc_ValueError, "host: the buffer has only %zd bytes", buffer->len);
        Py_DECREF(view);
        return NULL;
    }
    /* The map keeps the region even without a handle, so the buffer stays as long as the VM. */
    kept = core_vm_keep(self, view);
    Py_DECREF(view);
    return kept ? view : NULL;
}

static PyObject *vm_memory(PyObject *object, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("gpa", "size", "prot", "flags", "host", "fd", "offset", "alias");
    VM *self = (VM *)object;
    struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
    PyObject *host = Py_None, *alias = Py_None, *view = NULL;
    uint64_t offset = 0;
    vmlib_region *region;
    vmlib_vm *vm;
    int rc;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&O&|$O&O&OiO&O", keywords, core_u64,
                                     &config.gpa, core_u64, &config.bytes, core_u32, &config.prot,
                                     core_u32, &config.flags, &host, &config.fd, core_u64, &offset,
                                     &alias))
        return NULL;
    if ((host != Py_None) + (alias != Py_None) + (config.fd != -1) > 1) {
        PyErr_SetString(PyExc_TypeError, "give one of host, fd and alias");
        return NULL;
    }
    if (alias != Py_None) {
        if (!PyObject_TypeCheck(alias, &Region_Type)) {
            PyErr_SetString(PyExc_TypeError, "alias: expected a Region");
            return NULL;
        }
        config.backing = VMLIB_BACKING_ALIAS;
        config.alias = ((Region *)alias)->region;
        config.alias_offset = offset;
    } else if (config.fd != -1) {
        config.backing = VMLIB_BACKING_FD;
        config.fd_offset = offset;
    }
    if (!(vm = core_vm_use(self)))
        return NULL;
    if (host != Py_None && !(view = host_buffer(self, host, &config))) {
        vmlib_vm_unref(vm);
        return NULL;
    }
    VMLIB_UNLOCKED(rc = vmlib_region_create(vm, &config, &region); vmlib_vm_unref(vm));
    if (rc < 0 && view)
        core_vm_forget(self, view);
    return rc < 0 ? core_error(rc) : core_region_object(self, region);
}

static PyObject *vm_read(PyObject *object, PyObject *args)
{
    uint64_t gpa;
    Py_ssize_t bytes;
    PyObject *result;
    vmlib_vm *vm;
    int rc;

    if (!PyArg_ParseTuple(args, "O&n", core_u64, &gpa, &bytes))
        return NULL;
    if (bytes < 0) {
        PyErr_SetString(PyExc_ValueError, "size is negative");
        return NULL;
    }
    result = PyBytes_FromStringAndSize(NULL, bytes);
    if (!result || !(vm = core_vm_use((VM *)object))) {
        Py_XDECREF(result);
        return NULL;
    }
    VMLIB_UNLOCKED(rc = vmlib_vm_read(vm, gpa, PyBytes_AS_STRING(result), (uint64_t)bytes);
                   vmlib_vm_unref(vm));
    if (rc < 0) {
        Py_DECREF(result);
        return core_error(rc);
    }
    return result;
}

static PyObject *vm_write(PyObject *object, PyObject *args)
{
    uint64_t gpa;
    Py_buffer data;
    vmlib_vm *vm;
    int rc;

    if (!PyArg_ParseTuple(args, "O&y*", core_u64, &gpa, &data))
        return NULL;
    vm = core_vm_use((VM *)object);
    if (vm)
        VMLIB_UNLOCKED(rc = vmlib_vm_write(vm, gpa, data.buf, (uint64_t)data.len);
                       vmlib_vm_unref(vm));
    PyBuffer_Release(&data);
    return vm ? core_none(rc) : NULL;
}

/* --- vCPUs, handlers, CPUID --- */

static PyObject *vm_vcpu(PyObject *object, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("index", "apic_id", "initial");
    struct vmlib_vcpu_config config = VMLIB_VCPU_CONFIG_INIT;
    vmlib_vcpu *vcpu;
    PyObject *result;
    vmlib_vm *vm;
    int rc;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O&O&O&", keywords, core_u32, &config.index,
                                     core_u32, &config.apic_id, core_u32, &config.initial) ||
        !(vm = core_vm_use((VM *)object)))
        return NULL;
    VMLIB_UNLOCKED(rc = vmlib_vcpu_create(vm, &config, &vcpu); vmlib_vm_unref(vm));
    if (rc < 0)
        return core_error(rc);
    result = core_vcpu_object((VM *)object, vcpu);
    vmlib_vcpu_unref(vcpu);
    return result;
}

static PyObject *vm_find_vcpu(PyObject *object, PyObject *number)
{
    vmlib_vcpu *vcpu;
    PyObject *result;
    uint32_t index;
    vmlib_vm *vm;
    int rc;

    if (!core_u32(number, &index) || !(vm = core_vm_use((VM *)object)))
        return NULL;
    rc = vmlib_vm_vcpu(vm, index, &vcpu);
    vmlib_vm_unref(vm);
    if (rc < 0)
        return core_error(rc);
    result = core_vcpu_object((VM *)object, vcpu);
    vmlib_vcpu_unref(vcpu);
    return result;
}

int core_take_leaves(PyObject *sequence, struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX])
{
    PyObject *tuple = PySequence_Tuple(sequence);
    Py_ssize_t count = tuple ? PyTuple_GET_SIZE(tuple) : -1;

    if (count > VMLIB_CPUID_MAX) {
        core_error_text(VMLIB_E_INVAL, "leaves: too many");
        count = -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        const void *leaf = core_record_data(PyTuple_GET_ITEM(tuple, i), RECORD_CPUID_LEAF);

        if (leaf)
            memcpy(&leaves[i], leaf, sizeof(leaves[i]));
        else
            count = -1;
    }
    Py_XDECREF(tuple);
    return (int)count;
}

PyObject *core_leaf_list(const struct vmlib_cpuid_leaf *leaves, uint32_t count)
{
    PyObject *list = PyList_New(count);

    for (uint32_t i = 0; list && i < count; i++) {
        PyObject *leaf = core_record_copy(RECORD_CPUID_LEAF, &leaves[i]);

        if (!leaf)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, leaf);
    }
    return list;
}

static PyObject *vm_set_cpuid(PyObject *object, PyObject *sequence)
{
    struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX];
    int count = core_take_leaves(sequence, leaves), rc;
    vmlib_vm *vm;

    if (count < 0 || !(vm = core_vm_use((VM *)object)))
        return NULL;
    VMLIB_UNLOCKED(rc = vmlib_vm_set_cpuid(vm, leaves, (uint32_t)count); vmlib_vm_unref(vm));
    return core_none(rc);
}

static PyObject *vm_handler(PyObject *object, PyObject *args, PyObject *kwargs)
{
    return core_handler((VM *)object, args, kwargs);
}

static PyObject *vm_doorbell(PyObject *object, PyObject *args, PyObject *kwargs)
{
    return core_doorbell((VM *)object, args, kwargs);
}

static PyObject *vm_mock_fail(PyObject *object, PyObject *args)
{
    unsigned call, after;
    int code, rc;
    vmlib_vm *vm;

    if (!PyArg_ParseTuple(args, "IIi", &call, &after, &code) || !(vm = core_vm_use((VM *)object)))
        return NULL;
    rc = vmlib_mock_fail(vm, call, after, code);
    vmlib_vm_unref(vm);
    return core_none(rc);
}

/* --- attributes --- */

static PyObject *get_backend(PyObject *object, void *closure)
{
    vmlib_vm *vm = core_vm_use((VM *)object);
    PyObject *result = vm ? core_enum("Backend", vmlib_vm_backend(vm)) : NULL;

    (void)closure;
    vmlib_vm_unref(vm);
    return result;
}

static PyObject *get_clock(PyObject *object, void *closure)
{
    vmlib_vm *vm = core_vm_use((VM *)object);
    uint64_t ns;
    int rc;

    (void)closure;
    if (!vm)
        return NULL;
    rc = vmlib_vm_clock(vm, &ns);
    vmlib_vm_unref(vm);
    return rc < 0 ? core_error(rc) : PyLong_FromUnsignedLongLong(ns);
}

static PyObject *get_tsc_khz(PyObject *object, void *closure)
{
    vmlib_vm *vm = core_vm_use((VM *)object);
    PyObject *result = vm ? PyLong_FromUnsignedLong(vmlib_vm_tsc_khz(vm)) : NULL;

    (void)closure;
    vmlib_vm_unref(vm);
    return result;
}

static PyObject *get_closed(PyObject *object, void *closure)
{
    (void)closure;
    return PyBool_FromLong(((VM *)object)->vm == NULL);
}

static PyMethodDef methods[] = {
    {"memory", CORE_WITH_KEYWORDS(vm_memory),
     "memory(gpa, size, *, prot=Prot.RWX, flags=0, host=None, fd=-1, offset=0, alias=None) -> "
     "Region\n\n"
     "Put memory into the guest: zeroed, or of a writable buffer (host), a file (fd) or another\n"
     "region (alias)."},
    {"vcpu", CORE_WITH_KEYWORDS(vm_vcpu),
     "vcpu(index=0, apic_id=APIC_ID_INDEX, initial=Initial.RESET) -> VCPU\n\nCreate a virtual "
     "CPU."},
    {"find_vcpu", vm_find_vcpu, METH_O,
     "find_vcpu(index) -> VCPU\n\nThe vCPU with this index; NotFoundError: there is none."},
    {"_handler", CORE_WITH_KEYWORDS(vm_handler),
     "_handler(kind, first, last, function, header=False) -> Handler"},
    {"_doorbell", CORE_WITH_KEYWORDS(vm_doorbell),
     "_doorbell(kind, address, function=None, fd=-1, width=0, value=None) -> Handler"},
    {"read", vm_read, METH_VARARGS, "read(gpa, size) -> bytes\n\nCopy guest-physical memory."},
    {"write", vm_write, METH_VARARGS,
     "write(gpa, data)\n\nCopy to guest-physical memory; ROM is written too."},
    {"set_cpuid", vm_set_cpuid, METH_O,
     "set_cpuid(leaves)\n\nReplace the CPUID model of vCPUs that are created later."},
    {"mock_fail", vm_mock_fail, METH_VARARGS,
     "mock_fail(call, after, code)\n\nMock backend: let a later call fail once."},
    {"close", vm_close, METH_NOARGS,
     "close()\n\nDrop the VM and its handlers. Later uses raise Error. Error BUSY while a vCPU "
     "runs."},
    {"__enter__", vm_enter, METH_NOARGS, NULL},
    {"__exit__", vm_exit, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef members[] = {
    {"backend", get_backend, NULL, "Backend in use", NULL},
    {"clock", get_clock, NULL, "the VM's clock in nanoseconds", NULL},
    {"tsc_khz", get_tsc_khz, NULL, "frequency of the guest's time-stamp counter", NULL},
    {"closed", get_closed, NULL, "True after close()", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject VM_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "vmlib._core.BaseVM",
    .tp_doc = "VM(backends=None, *, time_mode=TimeMode.REAL, required=(), seed=0, tsc_khz=0,\n"
              "   phys_bits=0, msr_policy=MsrPolicy.FAULT, log=None)\n\n"
              "A virtual machine without memory and vCPUs. backends: a name, a Backend, or a list\n"
              "of them in order of preference. A context manager that closes it.",
    .tp_basicsize = sizeof(VM),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .tp_new = vm_new,
    .tp_dealloc = vm_dealloc,
    .tp_traverse = vm_traverse,
    .tp_clear = vm_clear,
    .tp_weaklistoffset = offsetof(VM, weak),
    .tp_methods = methods,
    .tp_getset = members,
};
