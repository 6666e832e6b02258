/* Tools of libvmlib-devices: event rings, guest calls, symbols. */
#include <vmlib/call.h>
#include <vmlib/ring.h>

#include "core.h"
#include "records.inc"

/* --- rings --- */

typedef struct {
    PyObject_HEAD VM *vm;
    vmlib_ring *ring; /* NULL: closed */
    unsigned exports; /* buffers that look into it */
    unsigned busy;    /* calls without the interpreter lock */
} Ring;

static vmlib_ring *use(PyObject *object)
{
    Ring *self = (Ring *)object;

    if (!self->ring)
        core_error_text(VMLIB_E_STATE, "ring: it is closed");
    return self->ring;
}

static PyObject *ring_new(PyTypeObject *class, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("vm", "capacity", "drop");
    struct vmlib_ring_config config = VMLIB_RING_CONFIG_INIT;
    vmlib_vm *handle;
    int drop = 0, rc;
    PyObject *vm;
    Ring *self;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|O&p", keywords, &VM_Type, &vm, core_u32,
                                     &config.capacity, &drop) ||
        !(handle = core_vm_use((VM *)vm)))
        return NULL;
    config.flags = drop ? VMLIB_RING_DROP : 0;
    self = (Ring *)class->tp_alloc(class, 0);
    rc = self ? vmlib_ring_create(handle, &config, &self->ring) : 0;
    vmlib_vm_unref(handle);
    if (rc < 0) {
        core_devices_error(rc);
        Py_CLEAR(self);
    }
    if (self) {
        Py_INCREF(vm);
        self->vm = (VM *)vm;
    }
    return (PyObject *)self;
}

static void destroy(Ring *self)
{
    vmlib_ring *ring = self->ring;

    self->ring = NULL;
    if (ring)
        VMLIB_UNLOCKED(vmlib_ring_destroy(ring));
}

static int ring_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((Ring *)object)->vm);
    return 0;
}

static void ring_dealloc(PyObject *object)
{
    PyObject_GC_UnTrack(object);
    destroy((Ring *)object);
    Py_CLEAR(((Ring *)object)->vm);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *ring_close(PyObject *object, PyObject *args)
{
    (void)args;
    if (((Ring *)object)->exports) {
        PyErr_SetString(PyExc_BufferError, "a buffer looks into the ring");
        return NULL;
    }
    if (((Ring *)object)->busy)
        return core_error_text(VMLIB_E_BUSY, "ring: another thread uses it");
    destroy((Ring *)object);
    Py_RETURN_NONE;
}

static PyObject *ring_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_INCREF(self);
    return self;
}

static PyObject *ring_watch(PyObject *object, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("kind", "first", "last", "answer", "pass_on");
    struct vmlib_ring_watch watch = VMLIB_RING_WATCH_INIT;
    PyObject *last = Py_None;
    int pass_on = 0, rc;
    vmlib_ring *ring;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&O&|OO&p", keywords, core_u32, &watch.kind,
                                     core_u64, &watch.first, &last, core_u64, &watch.answer,
                                     &pass_on))
        return NULL;
    watch.last = watch.first;
    if (last != Py_None && !core_number(last, UINT64_MAX, &watch.last))
        return NULL;
    if (!(ring = use(object))) /* reading the arguments may have closed it */
        return NULL;
    watch.flags = pass_on ? VMLIB_WATCH_PASS : 0;
    ((Ring *)object)->busy++;
    VMLIB_UNLOCKED(rc = vmlib_ring_watch(ring, &watch));
    ((Ring *)object)->busy--;
    return core_devices_none(rc);
}

static PyObject *ring_consume(PyObject *object, PyObject *number)
{
    vmlib_ring *ring;
    uint32_t count;
    int rc;

    if (!core_u32(number, &count) || !(ring = use(object)))
        return NULL;
    if (((Ring *)object)->exports) {
        PyErr_SetString(PyExc_BufferError, "a buffer looks into the ring");
        return NULL;
    }
    rc = vmlib_ring_consume(ring, count);
    return core_devices_none(rc);
}

/* All events there are, copied. At most two parts: up to the end of the ring's memory, and from
 * its start. */
static PyObject *ring_take(PyObject *object, PyObject *unused)
{
    const struct vmlib_ring_event *events;
    vmlib_ring *ring = use(object);
    PyObject *all = NULL, *part;
    uint32_t count;

    (void)unused;
    if (!ring)
        return NULL;
    if (((Ring *)object)->exports) {
        PyErr_SetString(PyExc_BufferError, "a buffer looks into the ring");
        return NULL;
    }
    for (int i = 0; i < 2; i++) {
        vmlib_ring_peek(ring, &events, &count);
        part =
            PyBytes_FromStringAndSize((const char *)events, (Py_ssize_t)(count * sizeof(*events)));
        if (!part) {
            Py_XDECREF(all);
            return NULL;
        }
        vmlib_ring_consume(ring, count);
        if (!all)
            all = part;
        else
            PyBytes_ConcatAndDel(&all, part);
        if (!all || !count)
            break;
    }
    return all;
}

static int ring_buffer(PyObject *object, Py_buffer *view, int flags)
{
    const struct vmlib_ring_event *events;
    vmlib_ring *ring = use(object);
    uint32_t count;

    view->obj = NULL;
    if (!ring)
        return -1;
    vmlib_ring_peek(ring, &events, &count);
    if (PyBuffer_FillInfo(view, object, (void *)(uintptr_t)events,
                          (Py_ssize_t)(count * sizeof(*events)), 1, flags) < 0)
        return -1;
    ((Ring *)object)->exports++;
    return 0;
}

static void ring_release_buffer(PyObject *object, Py_buffer *view)
{
    (void)view;
    ((Ring *)object)->exports--;
}

static PyObject *get_lost(PyObject *object, void *closure)
{
    vmlib_ring *ring = use(object);

    (void)closure;
    return ring ? PyLong_FromUnsignedLongLong(vmlib_ring_lost(ring)) : NULL;
}

static PyMethodDef ring_methods[] = {
    {"watch", CORE_WITH_KEYWORDS(ring_watch),
     "watch(kind, first, last=None, answer=0, pass_on=False)\n\n"
     "Record events of a range from now on; reads get the answer. pass_on: leave the event to "
     "older\n"
     "handlers."},
    {"take", ring_take, METH_NOARGS,
     "take() -> bytes\n\nCopy all events and make room for others."},
    {"consume", ring_consume, METH_O,
     "consume(count)\n\nGive the place of the oldest events back, after a look through "
     "memoryview()."},
    {"close", ring_close, METH_NOARGS, "close()\n\nTake its handlers out of service."},
    {"__enter__", ring_enter, METH_NOARGS, NULL},
    {"__exit__", ring_close, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef ring_members[] = {
    {"lost", get_lost, NULL, "events that were forgotten because the ring was full", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyBufferProcs ring_procs = {ring_buffer, ring_release_buffer};

PyTypeObject Ring_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "vmlib._core.BaseRing",
    .tp_doc =
        "Ring(vm, capacity=65536, drop=False)\n\n"
        "Guest accesses recorded without a call for each. The run ends when it is full (drop:\n"
        "new events are forgotten instead). A buffer of 24-byte events.",
    .tp_basicsize = sizeof(Ring),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .tp_new = ring_new,
    .tp_dealloc = ring_dealloc,
    .tp_traverse = ring_traverse,
    .tp_as_buffer = &ring_procs,
    .tp_methods = ring_methods,
    .tp_getset = ring_members,
};

/* --- guest calls --- */

struct arguments {
    struct vmlib_arg arg[VMLIB_ARGS_MAX];
    Py_buffer buffer[VMLIB_ARGS_MAX];
    bool held[VMLIB_ARGS_MAX];
};

static void free_arguments(struct arguments *a)
{
    for (unsigned i = 0; i < VMLIB_ARGS_MAX; i++)
        if (a->held[i])
            PyBuffer_Release(&a->buffer[i]);
}

/* int: two's complement; float: double; other buffers are copied to the stack, and back when they
 * can be written. */
static bool take_argument(struct arguments *a, unsigned i, PyObject *object)
{
    struct vmlib_arg *arg = &a->arg[i];

    if (PyFloat_Check(object)) {
        double value = PyFloat_AS_DOUBLE(object);

        arg->type = VMLIB_ARG_F64;
        memcpy(&arg->value, &value, sizeof(value));
        return true;
    }
    if (PyIndex_Check(object)) {
        PyObject *index = PyNumber_Index(object);

        arg->value = index ? PyLong_AsUnsignedLongLongMask(index) : 0;
        Py_XDECREF(index);
        return !PyErr_Occurred();
    }
    if (PyObject_GetBuffer(object, &a->buffer[i], PyBUF_SIMPLE) < 0)
        return false;
    a->held[i] = true;
    arg->type = a->buffer[i].readonly ? VMLIB_ARG_IN : VMLIB_ARG_INOUT;
    arg->data = a->buffer[i].buf;
    arg->bytes = (uint64_t)a->buffer[i].len;
    return true;
}

static PyObject *run_call(VCPU *vcpu, const struct vmlib_call_config *config)
{
    struct vmlib_call_result result = VMLIB_CALL_RESULT_INIT;
    struct core_target target = {vcpu->vcpu, vmlib_vcpu_generation(vcpu->vcpu), NULL, NULL}, before;
    VCPU *outer = core_running;
    bool interrupted;
    int rc;

    core_interrupt_begin(&target, &before);
    core_vcpu_enter(vcpu);
    core_running = vcpu;
    VMLIB_UNLOCKED(rc = vmlib_call(vcpu->vcpu, config, &result));
    core_running = outer;
    core_vcpu_leave(vcpu);
    interrupted = core_interrupted();
    core_interrupt_end(&before);
    if (rc == 0)
        vcpu->last = result.exit;
    if ((rc == VMLIB_E_USER || (rc == 0 && result.end == VMLIB_CALL_STOPPED)) &&
        core_vcpu_raise_kept(vcpu))
        return NULL;
    if (interrupted && PyErr_CheckSignals() < 0)
        return NULL;
    return rc < 0 ? core_devices_error(rc) : core_record_copy(RECORD_CALL_RESULT, &result);
}

PyObject *core_call(PyObject *object, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("stack", "budget", "deadline_ns", "exceptions");
    struct vmlib_call_config config = VMLIB_CALL_CONFIG_INIT;
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    struct arguments a = {0};
    PyObject *none, *result = NULL;
    int good;

    if (count < 1 || count > (Py_ssize_t)VMLIB_ARGS_MAX + 1) {
        PyErr_Format(PyExc_TypeError, "call() takes a function's address and up to %u arguments",
                     VMLIB_ARGS_MAX);
        return NULL;
    }
    none = PyTuple_New(0);
    good = none && PyArg_ParseTupleAndKeywords(none, kwargs, "|$O&O&O&O&", keywords, core_u64,
                                               &config.stack, core_u64, &config.budget, core_u64,
                                               &config.deadline_ns, core_u32, &config.exceptions);
    Py_XDECREF(none);
    if (!good || !core_u64(PyTuple_GET_ITEM(args, 0), &config.function))
        return NULL;
    for (Py_ssize_t i = 1; good && i < count; i++)
        good = take_argument(&a, (unsigned)i - 1, PyTuple_GET_ITEM(args, i));
    good = good && core_vcpu_use((VCPU *)object);
    config.args = a.arg;
    config.arg_count = (uint32_t)count - 1;
    if (good) {
        Py_INCREF(object);
        result = run_call((VCPU *)object, &config);
        Py_DECREF(object);
    }
    free_arguments(&a);
    return result;
}

PyObject *core_elf_symbol(PyObject *module, PyObject *args)
{
    uint64_t address, length;
    const char *name;
    Py_buffer data;
    int rc;

    (void)module;
    if (!PyArg_ParseTuple(args, "y*s", &data, &name))
        return NULL;
    rc = vmlib_elf_symbol(data.buf, (uint64_t)data.len, name, &address, &length);
    PyBuffer_Release(&data);
    return rc < 0 ? core_devices_error(rc)
                  : Py_BuildValue("KK", (unsigned long long)address, (unsigned long long)length);
}
