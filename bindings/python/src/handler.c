/* Handlers and doorbells: Python functions that the library calls during a run. */
#include "core.h"
#include "records.inc"

/* Belongs to the library's handler until its release function is called; the function belongs to
 * the VM object. */
struct hook {
    VM *vm;             /* borrowed; NULL: the VM object is gone */
    PyObject *function; /* NULL: removed */
    struct hook *next;  /* in the VM object's list */
};

typedef struct {
    PyObject_HEAD VM *vm;
    vmlib_handler *handler; /* or */
    vmlib_doorbell *doorbell;
    PyObject *function;
} Handler;

_Thread_local VCPU *core_running;

int core_hooks_traverse(VM *vm, visitproc visit, void *arg)
{
    for (struct hook *hook = vm->hooks; hook; hook = hook->next)
        Py_VISIT(hook->function);
    return 0;
}

void core_hooks_clear(VM *vm)
{
    struct hook *hook = vm->hooks;

    vm->hooks = NULL;
    for (struct hook *h = hook; h; h = h->next)
        h->vm = NULL;
    while (hook) { /* dropping a function may run any code: the list is already detached */
        struct hook *next = hook->next;

        hook->next = NULL;
        Py_CLEAR(hook->function);
        hook = next;
    }
}

/* The library no longer uses the hook. Any thread, with or without the interpreter lock. */
static void release(void *opaque)
{
    struct hook *hook = opaque;
    struct core_gil gil = core_enter();

    if (hook->vm) {
        struct hook **link = &hook->vm->hooks;

        while (*link && *link != hook)
            link = &(*link)->next;
        if (*link)
            *link = hook->next;
    }
    Py_CLEAR(hook->function);
    PyMem_RawFree(hook);
    core_leave(gil);
}

/* --- answers --- */

static int wrong_answer(PyObject *result, const char *what)
{
    PyErr_Format(PyExc_TypeError, "a handler answers None, an Answer, an Event%s; not %s", what,
                 Py_TYPE(result)->tp_name);
    return VMLIB_E_USER;
}

static int answer_cpuid(PyObject *result, struct vmlib_exit_cpuid *cpuid)
{
    uint64_t value[4];

    if (PyTuple_GET_SIZE(result) != 4) {
        PyErr_SetString(PyExc_ValueError, "the answer to CPUID is (eax, ebx, ecx, edx)");
        return VMLIB_E_USER;
    }
    for (int i = 0; i < 4; i++)
        if (!core_number(PyTuple_GET_ITEM(result, i), UINT32_MAX, &value[i]))
            return VMLIB_E_USER;
    cpuid->eax = (uint32_t)value[0];
    cpuid->ebx = (uint32_t)value[1];
    cpuid->ecx = (uint32_t)value[2];
    cpuid->edx = (uint32_t)value[3];
    return VMLIB_HANDLED;
}

static int answer_number(PyObject *result, struct vmlib_exit *exit)
{
    uint64_t value, most = UINT64_MAX;

    if (exit->reason == VMLIB_EXIT_PIO || exit->reason == VMLIB_EXIT_MMIO) {
        unsigned width = exit->reason == VMLIB_EXIT_PIO ? exit->u.pio.width : exit->u.mmio.width;

        if (width < 8)
            most = (UINT64_C(1) << 8 * width) - 1;
    } else if (exit->reason == VMLIB_EXIT_INTERRUPT_WINDOW) {
        most = 255;
    }
    if (!core_number(result, most, &value))
        return VMLIB_E_USER;
    switch (exit->reason) {
    case VMLIB_EXIT_PIO:
        if (exit->u.pio.write)
            break;
        exit->u.pio.value = (uint32_t)value;
        return VMLIB_HANDLED;
    case VMLIB_EXIT_MMIO:
        if (exit->u.mmio.write)
            break;
        exit->u.mmio.value = value;
        return VMLIB_HANDLED;
    case VMLIB_EXIT_MSR:
        if (exit->u.msr.write)
            break;
        exit->u.msr.value = value;
        return VMLIB_HANDLED;
    case VMLIB_EXIT_HYPERCALL:
        exit->u.hypercall.result = value;
        return VMLIB_HANDLED;
    case VMLIB_EXIT_INTERRUPT_WINDOW:
        exit->u.interrupt.vector = (uint32_t)value;
        return VMLIB_HANDLED;
    default:
        break;
    }
    PyErr_SetString(PyExc_TypeError, "this event has no value to answer: return None");
    return VMLIB_E_USER;
}

int core_decode(PyObject *result, struct vmlib_exit *exit)
{
    if (result == Py_None)
        return VMLIB_HANDLED;
    if ((PyObject *)Py_TYPE(result) == core_answer_class())
        return (int)PyLong_AsLong(result);
    if (PyLong_CheckExact(result))
        return answer_number(result, exit);
    if (core_record_is(result, RECORD_EVENT)) {
        memcpy(&exit->inject, core_record_data(result, RECORD_EVENT), sizeof(exit->inject));
        return VMLIB_INJECT;
    }
    if (PyTuple_Check(result) && exit->reason == VMLIB_EXIT_CPUID)
        return answer_cpuid(result, &exit->u.cpuid);
    return wrong_answer(result,
                        exit->reason == VMLIB_EXIT_CPUID ? " or four registers" : " or a number");
}

/* --- calls from the library --- */

static int on_exit_record(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct hook *hook = opaque;
    struct core_gil gil = core_enter();
    PyObject *function = hook->function, *who, *record, *result = NULL;
    int answer = VMLIB_PASS;

    if (!function || !hook->vm) { /* removed while this call waited for the lock */
        core_leave(gil);
        return VMLIB_PASS;
    }
    Py_INCREF(function);
    who = core_vcpu_object(hook->vm, vcpu);
    record = core_record_borrow(RECORD_EXIT, exit);
    if (who && !core_running)
        ((VCPU *)who)->owner = PyThread_get_thread_ident(); /* a thread of a console */
    if (who && record) {
        PyObject *args[2] = {who, record};

        result = PyObject_Vectorcall(function, args, 2, NULL);
    }
    answer = result ? core_decode(result, exit) : VMLIB_E_USER;
    Py_XDECREF(result);
    if (answer < 0) {
        if (who)
            core_vcpu_keep_error((VCPU *)who);
        else
            PyErr_WriteUnraisable(function);
    }
    if (record)
        core_record_leave(record);
    Py_XDECREF(who);
    Py_DECREF(function);
    core_leave(gil);
    return answer;
}

/* A doorbell cannot answer: an exception ends the run instead. */
static void on_doorbell(void *opaque, uint64_t value)
{
    struct hook *hook = opaque;
    struct core_gil gil = core_enter();
    PyObject *function = hook->function, *result;

    if (function) {
        Py_INCREF(function);
        result = PyObject_CallFunction(function, "K", (unsigned long long)value);
        if (!result && core_running) {
            core_vcpu_keep_error(core_running);
            vmlib_vcpu_cancel(core_running->vcpu);
        } else if (!result) {
            PyErr_WriteUnraisable(function);
        }
        Py_XDECREF(result);
        Py_DECREF(function);
    }
    core_leave(gil);
}

/* --- registration --- */

static struct hook *new_hook(VM *vm, PyObject *function)
{
    struct hook *hook = PyMem_RawMalloc(sizeof(*hook));

    if (!hook) {
        PyErr_NoMemory();
        return NULL;
    }
    Py_XINCREF(function);
    *hook = (struct hook){vm, function, vm->hooks};
    vm->hooks = hook;
    return hook;
}

static Handler *new_handler(VM *vm, PyObject *function)
{
    Handler *self = PyObject_GC_New(Handler, &Handler_Type);

    if (self) {
        Py_INCREF(vm);
        self->vm = vm;
        self->handler = NULL;
        self->doorbell = NULL;
        Py_INCREF(function);
        self->function = function;
        PyObject_GC_Track(self);
    }
    return self;
}

static bool wrong_function(PyObject *function)
{
    if (function == Py_None || PyCallable_Check(function))
        return false;
    PyErr_Format(PyExc_TypeError, "expected a function, not %s", Py_TYPE(function)->tp_name);
    return true;
}

PyObject *core_handler(VM *vm, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("kind", "first", "last", "function", "header");
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    PyObject *function;
    int header = 0, rc;
    Handler *self;
    struct hook *hook;
    vmlib_vm *handle;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&O&O&O|p", keywords, core_u32, &config.kind,
                                     core_u64, &config.first, core_u64, &config.last, &function,
                                     &header) ||
        wrong_function(function) || !(handle = core_vm_use(vm)))
        return NULL;
    self = new_handler(vm, function);
    hook = self ? new_hook(vm, function == Py_None ? NULL : function) : NULL;
    if (!hook) {
        Py_XDECREF(self);
        vmlib_vm_unref(handle);
        return NULL;
    }
    config.flags = header ? VMLIB_HANDLER_HEADER : 0;
    config.fn = function == Py_None ? NULL : on_exit_record;
    config.opaque = hook;
    config.release = release;
    VMLIB_UNLOCKED(rc = vmlib_handler_add(handle, &config, &self->handler); vmlib_vm_unref(handle));
    if (rc < 0) {
        core_error(rc);
        release(hook);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

PyObject *core_doorbell(VM *vm, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("kind", "address", "function", "fd", "width", "value");
    struct vmlib_doorbell_config config = VMLIB_DOORBELL_CONFIG_INIT;
    PyObject *function = Py_None, *value = Py_None;
    int rc;
    Handler *self;
    struct hook *hook;
    vmlib_vm *handle;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&O&|OiO&O", keywords, core_u32, &config.kind,
                                     core_u64, &config.address, &function, &config.fd, core_u32,
                                     &config.width, &value) ||
        wrong_function(function))
        return NULL;
    if (value != Py_None) {
        config.flags = VMLIB_DOORBELL_MATCH;
        if (!core_number(value, UINT64_MAX, &config.value))
            return NULL;
    }
    if (!(handle = core_vm_use(vm)))
        return NULL;
    self = new_handler(vm, function);
    hook = self ? new_hook(vm, function == Py_None ? NULL : function) : NULL;
    if (!hook) {
        Py_XDECREF(self);
        vmlib_vm_unref(handle);
        return NULL;
    }
    config.fn = function == Py_None ? NULL : on_doorbell;
    config.opaque = hook;
    config.release = release;
    VMLIB_UNLOCKED(rc = vmlib_doorbell_add(handle, &config, &self->doorbell);
                   vmlib_vm_unref(handle));
    if (rc < 0) {
        core_error(rc);
        release(hook);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* --- the object --- */

static PyObject *handler_remove(PyObject *object, PyObject *unused)
{
    Handler *self = (Handler *)object;
    int rc;

    (void)unused;
    if (self->handler)
        VMLIB_UNLOCKED(rc = vmlib_handler_remove(self->handler));
    else if (self->doorbell)
        VMLIB_UNLOCKED(rc = vmlib_doorbell_remove(self->doorbell));
    else
        return core_error_text(VMLIB_E_STATE, "handler: its VM is closed");
    return core_none(rc);
}

static PyObject *handler_call(PyObject *object, PyObject *args, PyObject *kwargs)
{
    return PyObject_Call(((Handler *)object)->function, args, kwargs);
}

static int handler_traverse(PyObject *object, visitproc visit, void *arg)
{
    Handler *self = (Handler *)object;

    Py_VISIT(self->vm);
    Py_VISIT(self->function);
    return 0;
}

static int handler_clear(PyObject *object)
{
    Handler *self = (Handler *)object;
    vmlib_handler *handler = self->handler;
    vmlib_doorbell *doorbell = self->doorbell;

    self->handler = NULL;
    self->doorbell = NULL;
    vmlib_handler_unref(handler);
    vmlib_doorbell_unref(doorbell);
    Py_CLEAR(self->vm);
    Py_CLEAR(self->function);
    return 0;
}

static void handler_dealloc(PyObject *object)
{
    PyObject_GC_UnTrack(object);
    handler_clear(object);
    PyObject_GC_Del(object);
}

static PyObject *get_function(PyObject *object, void *closure)
{
    PyObject *function = ((Handler *)object)->function;

    (void)closure;
    if (!function)
        Py_RETURN_NONE;
    Py_INCREF(function);
    return function;
}

static PyMethodDef methods[] = {
    {"remove", handler_remove, METH_NOARGS,
     "remove()\n\nTake it out of service. No call begins after this returns."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef members[] = {
    {"function", get_function, NULL, "the function that is called, or None", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject Handler_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "vmlib._core.Handler",
    .tp_doc = "A registered handler or doorbell. Calling it calls its function.",
    .tp_basicsize = sizeof(Handler),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = handler_dealloc,
    .tp_traverse = handler_traverse,
    .tp_clear = handler_clear,
    .tp_call = handler_call,
    .tp_methods = methods,
    .tp_getset = members,
};
