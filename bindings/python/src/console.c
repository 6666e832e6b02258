/* Console with expectations. The machine's threads belong to the library; this object holds what
 * they use. */
#include "core.h"
#include "records.inc"

typedef struct {
    PyObject_HEAD vmlib_console *console; /* NULL: closed */
    PyObject *machine;                    /* both set by start() */
    PyObject *vcpus;
    const void *owner; /* the machine that writes to it, as a name; NULL: none */
    unsigned busy;     /* calls without the interpreter lock: it cannot be closed */
} Console;

#define SLICE_NS UINT64_C(50000000) /* how often a wait looks for signals */

vmlib_console *core_console(PyObject *object)
{
    if (!PyObject_TypeCheck(object, &Console_Type))
        return NULL;
    return ((Console *)object)->console;
}

bool core_console_claim(PyObject *object, const void *machine)
{
    Console *self = (Console *)object;

    if (self->owner && self->owner != machine) {
        core_error_text(VMLIB_E_STATE, "console: it belongs to another machine");
        return false;
    }
    self->owner = machine;
    return true;
}

void core_console_leave(PyObject *object, const void *machine)
{
    if (PyObject_TypeCheck(object, &Console_Type) && ((Console *)object)->owner == machine)
        ((Console *)object)->owner = NULL;
}

static vmlib_console *use(PyObject *object)
{
    Console *self = (Console *)object;

    if (!self->console)
        core_error_text(VMLIB_E_STATE, "console: it is closed");
    return self->console;
}

static PyObject *console_new(PyTypeObject *class, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("limit", "virtio");
    struct vmlib_console_config config = VMLIB_CONSOLE_CONFIG_INIT;
    int virtio = 0, rc;
    Console *self;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O&p", keywords, core_u64, &config.limit,
                                     &virtio))
        return NULL;
    config.flags = virtio ? VMLIB_CONSOLE_VIRTIO : 0;
    self = (Console *)class->tp_alloc(class, 0);
    if (!self)
        return NULL;
    rc = vmlib_console_create(&config, &self->console);
    if (rc < 0) {
        Py_DECREF(self);
        return core_devices_error(rc);
    }
    return (PyObject *)self;
}

/* The machine's threads have the vCPUs; handlers tell which thread it is. */
static void use_vcpus(Console *self, int change)
{
    for (Py_ssize_t i = 0; self->vcpus && i < PyTuple_GET_SIZE(self->vcpus); i++) {
        VCPU *vcpu = (VCPU *)PyTuple_GET_ITEM(self->vcpus, i);

        vcpu->inside += (unsigned)change;
        vcpu->owner = 0;
    }
}

/* Ends the machine's threads, so that the machine may go. */
static int console_clear(PyObject *object)
{
    Console *self = (Console *)object;
    vmlib_console *console = self->console;

    self->console = NULL;
    if (console) {
        VMLIB_UNLOCKED(vmlib_console_destroy(console));
        if (self->machine)
            core_machine_runs(self->machine, -1);
        use_vcpus(self, -1);
    }
    Py_CLEAR(self->vcpus);
    Py_CLEAR(self->machine);
    return 0;
}

static int console_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((Console *)object)->machine);
    Py_VISIT(((Console *)object)->vcpus);
    return 0;
}

static void console_dealloc(PyObject *object)
{
    PyObject_GC_UnTrack(object);
    console_clear(object);
    Py_TYPE(object)->tp_free(object);
}

/* Before it is started, the machine may still write to the console: it stays. */
static PyObject *console_close(PyObject *object, PyObject *args)
{
    Console *self = (Console *)object;

    (void)args;
    if (self->busy)
        return core_error_text(VMLIB_E_BUSY, "console: another thread waits for it");
    if (self->machine && self->console) {
        Py_INCREF(object);
        console_clear(object);
        Py_DECREF(object);
    }
    Py_RETURN_NONE;
}

static PyObject *console_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_INCREF(self);
    return self;
}

static PyObject *console_start(PyObject *object, PyObject *args)
{
    Console *self = (Console *)object;
    vmlib_console *console;
    vmlib_vcpu *vcpus[VMLIB_MAX_VCPUS];
    vmlib_machine *machine;
    PyObject *owner, *list, *tuple;
    Py_ssize_t count;
    int rc;

    if (!PyArg_ParseTuple(args, "O!O", &Machine_Type, &owner, &list) ||
        !(tuple = PySequence_Tuple(list)))
        return NULL;
    /* Making the tuple may have closed either. */
    if (!(console = use(object)) || !(machine = core_machine(owner))) {
        Py_DECREF(tuple);
        return NULL;
    }
    if (self->machine) {
        Py_DECREF(tuple);
        return core_error_text(VMLIB_E_STATE, "console: it has been started before");
    }
    if (!core_console_claim(object, owner)) {
        Py_DECREF(tuple);
        return NULL;
    }
    count = PyTuple_GET_SIZE(tuple);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *vcpu = PyTuple_GET_ITEM(tuple, i);

        if (i >= (Py_ssize_t)VMLIB_MAX_VCPUS || !PyObject_TypeCheck(vcpu, &VCPU_Type)) {
            PyErr_SetString(PyExc_TypeError, "vcpus: expected a list of VCPUs");
            Py_DECREF(tuple);
            return NULL;
        }
        if (!core_vcpu_use((VCPU *)vcpu)) {
            Py_DECREF(tuple);
            return NULL;
        }
        vcpus[i] = ((VCPU *)vcpu)->vcpu;
    }
    Py_INCREF(owner);
    self->machine = owner;
    self->vcpus = tuple;
    core_machine_runs(owner, 1);
    use_vcpus(self, 1);
    self->busy++;
    VMLIB_UNLOCKED(rc = vmlib_console_start(console, machine, vcpus, (uint32_t)count));
    self->busy--;
    if (rc == VMLIB_E_INVAL) {
        core_machine_runs(owner, -1);
        use_vcpus(self, -1);
        Py_CLEAR(self->machine);
        Py_CLEAR(self->vcpus);
    }
    return core_devices_none(rc);
}

/* --- waiting, in slices, so that signals are seen --- */

struct wait {
    vmlib_console *console;
    const char *const *texts;
    uint32_t count, index;
    const void *data;
    size_t bytes;
    struct vmlib_machine_result result;
};

static int wait_expect(struct wait *w, uint64_t ns)
{
    return vmlib_console_expect(w->console, w->texts, w->count, ns, &w->index);
}

static int wait_end(struct wait *w, uint64_t ns)
{
    return vmlib_console_wait(w->console, ns, &w->result);
}

/* False with an exception. */
static bool wait_for(PyObject *object, struct wait *w, double seconds,
                     int (*step)(struct wait *w, uint64_t ns))
{
    uint64_t left = seconds >= 1e9 ? UINT64_MAX : seconds > 0 ? (uint64_t)(seconds * 1e9) : 0;

    for (;;) {
        uint64_t slice = left < SLICE_NS ? left : SLICE_NS;
        int rc;

        ((Console *)object)->busy++;
        VMLIB_UNLOCKED(rc = step(w, slice));
        ((Console *)object)->busy--;
        if (rc == 0)
            return true;
        if (PyErr_CheckSignals() < 0)
            return false;
        if (!((Console *)object)->console) {
            core_error_text(VMLIB_E_STATE, "console: it has been closed");
            return false;
        }
        left -= slice;
        if (rc != VMLIB_E_LIMIT || !left) {
            core_devices_error(rc);
            return false;
        }
    }
}

/* What a handler has raised on one of the machine's threads. */
static bool raise_kept(Console *self)
{
    for (Py_ssize_t i = 0; self->vcpus && i < PyTuple_GET_SIZE(self->vcpus); i++)
        if (core_vcpu_raise_kept((VCPU *)PyTuple_GET_ITEM(self->vcpus, i)))
            return true;
    return false;
}

static bool timeout_option(PyObject *kwargs, double *seconds)
{
    CORE_KEYWORDS("timeout");
    PyObject *none = PyTuple_New(0);
    bool good = none && PyArg_ParseTupleAndKeywords(none, kwargs, "|$d", keywords, seconds);

    Py_XDECREF(none);
    return good;
}

static PyObject *console_expect(PyObject *object, PyObject *args, PyObject *kwargs)
{
    struct wait wait = {.console = NULL};
    const char *texts[32];
    double seconds = 10;

    if (!timeout_option(kwargs, &seconds) || !(wait.console = use(object)))
        return NULL;
    if (PyTuple_GET_SIZE(args) < 1 || PyTuple_GET_SIZE(args) > 32) {
        PyErr_SetString(PyExc_TypeError, "expect() takes 1 to 32 texts");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *text = PyTuple_GET_ITEM(args, i);

        texts[i] = PyBytes_Check(text) ? PyBytes_AS_STRING(text) : PyUnicode_AsUTF8(text);
        if (!texts[i])
            return NULL;
    }
    wait.texts = texts;
    wait.count = (uint32_t)PyTuple_GET_SIZE(args);
    if (!wait_for(object, &wait, seconds, wait_expect))
        return NULL;
    return PyLong_FromUnsignedLong(wait.index);
}

static PyObject *console_wait(PyObject *object, PyObject *args, PyObject *kwargs)
{
    struct wait wait = {.result = VMLIB_MACHINE_RESULT_INIT};
    double seconds = 10;

    if (!timeout_option(kwargs, &seconds) || !(wait.console = use(object)))
        return NULL;
    if (PyTuple_GET_SIZE(args)) {
        PyErr_SetString(PyExc_TypeError, "wait() takes timeout only");
        return NULL;
    }
    if (!wait_for(object, &wait, seconds, wait_end) || raise_kept((Console *)object))
        return NULL;
    return core_record_copy(RECORD_MACHINE_RESULT, &wait.result);
}

static PyObject *console_send(PyObject *object, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("data", "timeout");
    vmlib_console *console;
    double seconds = 10;
    Py_buffer data;
    int rc;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "s*|$d", keywords, &data, &seconds))
        return NULL;
    if (!(console = use(object))) {
        PyBuffer_Release(&data);
        return NULL;
    }
    ((Console *)object)->busy++;
    VMLIB_UNLOCKED(rc = vmlib_console_send(console, data.buf, (size_t)data.len,
                                           seconds > 0 ? (uint64_t)(seconds * 1e9) : 0));
    ((Console *)object)->busy--;
    PyBuffer_Release(&data);
    return core_devices_none(rc);
}

static PyObject *get_before(PyObject *object, void *closure)
{
    vmlib_console *console = use(object);
    PyObject *result;
    size_t bytes = 0;

    (void)closure;
    if (!console)
        return NULL;
    vmlib_console_before(console, NULL, &bytes);
    result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)bytes);
    if (result && vmlib_console_before(console, PyBytes_AS_STRING(result), &bytes) < 0)
        Py_CLEAR(result);
    return result ? result : core_devices_error(VMLIB_E_LIMIT);
}

static PyMethodDef methods[] = {
    {"start", console_start, METH_VARARGS,
     "start(machine, vcpus)\n\nRun the machine, each vCPU on a thread of its own."},
    {"expect", CORE_WITH_KEYWORDS(console_expect),
     "expect(*texts, timeout=10) -> int\n\n"
     "Wait until one of the texts appears behind the last one found; returns which. LimitError "
     "when\n"
     "the time is over, NotFoundError when the machine has ended without it."},
    {"send", CORE_WITH_KEYWORDS(console_send), "send(data, *, timeout=10)\n\nType a str or bytes."},
    {"wait", CORE_WITH_KEYWORDS(console_wait),
     "wait(*, timeout=10) -> MachineResult\n\nWait until the machine has ended."},
    {"close", console_close, METH_NOARGS, "close()\n\nStop the machine and wait for its threads."},
    {"__enter__", console_enter, METH_NOARGS, NULL},
    {"__exit__", console_close, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef members[] = {
    {"before", get_before, NULL, "output between the last text found and the one before it", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject Console_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "vmlib._core.Console",
    .tp_doc =
        "Console(*, limit=1 << 20, virtio=False)\n\n"
        "Output of a machine that can be waited for. Give it to Machine(vm, serial=console) or\n"
        "Machine.add_console(console). limit: bytes of output to remember. A context manager\n"
        "that stops the machine.",
    .tp_basicsize = sizeof(Console),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = console_new,
    .tp_dealloc = console_dealloc,
    .tp_traverse = console_traverse,
    .tp_clear = console_clear,
    .tp_methods = methods,
    .tp_getset = members,
};
