/* Two vCPUs side by side. The functions of a lockstep run on the thread that runs it. */
#include "core.h"
#include "records.inc"

typedef struct {
    PyObject_HEAD vmlib_lockstep *lockstep; /* NULL: closed */
    VCPU *vcpu[2];
    PyObject *machine[2]; /* both, or none */
    PyObject *exit, *mask;
    bool running, asking; /* asking: the exit function is being called */
    unsigned long thread; /* that runs it */
} Lockstep;

static vmlib_lockstep *use(Lockstep *self)
{
    if (!self->lockstep)
        core_error_text(VMLIB_E_STATE, "lockstep: it is closed");
    else if (core_vcpu_any(self->vcpu[0]) && core_vcpu_any(self->vcpu[1]))
        return self->lockstep;
    return NULL;
}

/* Not while it runs; from the exit function, if that is allowed. */
static vmlib_lockstep *use_idle(Lockstep *self, bool from_exit)
{
    if (self->running &&
        !(from_exit && self->asking && self->thread == PyThread_get_thread_ident())) {
        core_error_text(VMLIB_E_BUSY, "lockstep: it is running");
        return NULL;
    }
    return use(self);
}

/* --- calls from the library --- */

static int ask(Lockstep *self, struct vmlib_exit *exit)
{
    PyObject *record = core_record_borrow(RECORD_EXIT, exit), *result = NULL;
    bool ends = exit->reason == VMLIB_EXIT_HLT || exit->reason == VMLIB_EXIT_SHUTDOWN;
    int answer;

    if (record) {
        PyObject *args[2] = {(PyObject *)self, record};

        result = PyObject_Vectorcall(self->exit, args, 2, NULL);
    }
    answer = !result                     ? VMLIB_E_USER
             : result == Py_None && ends ? VMLIB_PASS
                                         : core_decode(result, exit);
    Py_XDECREF(result);
    if (record)
        core_record_leave(record);
    return answer;
}

static int on_exit_record(void *opaque, vmlib_lockstep *lockstep, struct vmlib_exit *exit)
{
    Lockstep *self = opaque;
    struct core_gil gil = core_enter();
    int answer;

    (void)lockstep;
    self->asking = true;
    answer = ask(self, exit);
    self->asking = false;
    if (answer < 0)
        core_vcpu_keep_error(self->vcpu[0]);
    core_leave(gil);
    return answer;
}

/* Cannot answer: an exception ends the run instead. */
static void on_mask(void *opaque, const struct vmlib_lockstep_insn *insn,
                    struct vmlib_lockstep_mask *mask)
{
    Lockstep *self = opaque;
    struct core_gil gil = core_enter();
    PyObject *record = core_record_copy(RECORD_LOCKSTEP_INSN, insn);
    PyObject *bits = core_record_borrow(RECORD_LOCKSTEP_MASK, mask), *before = Py_None, *result;

    if (insn->before)
        before = core_record_copy(RECORD_STATE, insn->before);
    else
        Py_INCREF(before);
    result = record && bits && before
                 ? PyObject_CallFunctionObjArgs(self->mask, record, bits, before, NULL)
                 : NULL;
    if (!result) {
        core_vcpu_keep_error(self->vcpu[0]);
        vmlib_lockstep_stop(self->lockstep);
    }
    Py_XDECREF(result);
    Py_XDECREF(before);
    if (bits)
        core_record_leave(bits);
    Py_XDECREF(record);
    core_leave(gil);
}

/* The machines' own way to run a vCPU. Machines that a lockstep has cannot be closed. */
static int on_run(void *opaque, unsigned side, const struct vmlib_run_args *args,
                  struct vmlib_exit *exit)
{
    Lockstep *self = opaque;

    return vmlib_machine_step(core_machine_handle(self->machine[side]), self->vcpu[side]->vcpu,
                              args->budget, exit);
}

/* --- creation --- */

/* Pairs of regions. Returns their number, or -1 with an exception. */
static int take_regions(PyObject *sequence, struct vmlib_lockstep_region *regions)
{
    PyObject *tuple = PySequence_Tuple(sequence);
    Py_ssize_t count = tuple ? PyTuple_GET_SIZE(tuple) : -1;

    if (count > VMLIB_LOCKSTEP_REGIONS) {
        PyErr_Format(PyExc_ValueError, "at most %u pairs of regions", VMLIB_LOCKSTEP_REGIONS);
        count = -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *pair = PyTuple_GET_ITEM(tuple, i);
        Region *a, *b;

        if (!PyTuple_Check(pair)) {
            PyErr_SetString(PyExc_TypeError, "regions: expected pairs of regions");
            count = -1;
        } else if (!PyArg_ParseTuple(pair, "O!O!;regions: expected pairs of regions", &Region_Type,
                                     &a, &Region_Type, &b)) {
            count = -1;
        } else {
            regions[i] = (struct vmlib_lockstep_region){{a->region, b->region}};
        }
    }
    Py_XDECREF(tuple); /* the caller's sequence has them */
    return (int)count;
}

static bool take_machines(Lockstep *self, PyObject *machines)
{
    PyObject *a, *b;

    if (machines == Py_None)
        return true;
    if (!PyTuple_Check(machines)) {
        PyErr_SetString(PyExc_TypeError, "machines: expected two machines");
        return false;
    }
    if (!PyArg_ParseTuple(machines, "O!O!;machines: expected two machines", &Machine_Type, &a,
                          &Machine_Type, &b) ||
        !core_machine(a) || !core_machine(b))
        return false;
    Py_INCREF(a);
    Py_INCREF(b);
    self->machine[0] = a;
    self->machine[1] = b;
    core_machine_runs(a, 1);
    core_machine_runs(b, 1);
    return true;
}

static bool take_function(PyObject **to, PyObject *function, const char *name)
{
    if (function == Py_None)
        return true;
    if (!PyCallable_Check(function)) {
        PyErr_Format(PyExc_TypeError, "%s: expected a function", name);
        return false;
    }
    Py_INCREF(function);
    *to = function;
    return true;
}

static PyObject *lockstep_new(PyTypeObject *class, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("a", "b", "regions", "grain", "flags", "interval", "history", "slice",
                  "deadline_ns", "exit", "mask", "machines");
    struct vmlib_lockstep_config config = VMLIB_LOCKSTEP_CONFIG_INIT;
    struct vmlib_lockstep_region regions[VMLIB_LOCKSTEP_REGIONS];
    PyObject *pairs = NULL, *exit = Py_None, *mask = Py_None, *machines = Py_None;
    VCPU *a, *b;
    Lockstep *self;
    int count = 0, rc;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!|$OO&O&O&O&O&O&OOO", keywords, &VCPU_Type,
                                     &a, &VCPU_Type, &b, &pairs, core_u32, &config.grain, core_u32,
                                     &config.flags, core_u32, &config.interval, core_u32,
                                     &config.history, core_u64, &config.slice, core_u64,
                                     &config.deadline_ns, &exit, &mask, &machines) ||
        !core_vcpu_use(a) || !core_vcpu_use(b) ||
        (pairs && (count = take_regions(pairs, regions)) < 0))
        return NULL;
    self = (Lockstep *)class->tp_alloc(class, 0);
    if (!self)
        return NULL;
    Py_INCREF(a);
    Py_INCREF(b);
    self->vcpu[0] = a;
    self->vcpu[1] = b;
    if (!take_function(&self->exit, exit, "exit") || !take_function(&self->mask, mask, "mask") ||
        !take_machines(self, machines)) {
        Py_DECREF(self);
        return NULL;
    }
    config.vcpu[0] = a->vcpu;
    config.vcpu[1] = b->vcpu;
    config.region = regions;
    config.regions = (uint32_t)count;
    config.opaque = self;
    config.exit = self->exit ? on_exit_record : NULL;
    config.mask = self->mask ? on_mask : NULL;
    if (self->machine[0]) {
        config.run = on_run;
        config.flags |= VMLIB_LOCKSTEP_OWN_DEVICES;
    }
    VMLIB_UNLOCKED(rc = vmlib_lockstep_create(&config, &self->lockstep));
    if (rc < 0) {
        core_devices_error(rc);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int lockstep_traverse(PyObject *object, visitproc visit, void *arg)
{
    Lockstep *self = (Lockstep *)object;

    for (unsigned i = 0; i < 2; i++) {
        Py_VISIT(self->vcpu[i]);
        Py_VISIT(self->machine[i]);
    }
    Py_VISIT(self->exit);
    Py_VISIT(self->mask);
    return 0;
}

static int lockstep_clear(PyObject *object)
{
    Lockstep *self = (Lockstep *)object;
    vmlib_lockstep *lockstep = self->lockstep;

    self->lockstep = NULL;
    if (lockstep)
        VMLIB_UNLOCKED(vmlib_lockstep_destroy(lockstep));
    for (unsigned i = 0; i < 2; i++) {
        PyObject *machine = self->machine[i];

        self->machine[i] = NULL;
        if (machine)
            core_machine_runs(machine, -1);
        Py_XDECREF(machine);
        Py_CLEAR(self->vcpu[i]);
    }
    Py_CLEAR(self->exit);
    Py_CLEAR(self->mask);
    return 0;
}

static void lockstep_dealloc(PyObject *object)
{
    PyObject_GC_UnTrack(object);
    lockstep_clear(object);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *lockstep_close(PyObject *object, PyObject *args)
{
    (void)args;
    if (((Lockstep *)object)->running)
        return core_error_text(VMLIB_E_BUSY, "lockstep: it is running");
    lockstep_clear(object);
    Py_RETURN_NONE;
}

static PyObject *lockstep_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_INCREF(self);
    return self;
}

/* --- run --- */

static int run_once(Lockstep *self, uint64_t limit, struct vmlib_lockstep_result *result,
                    bool *interrupted)
{
    struct core_target target = {.lockstep = self->lockstep}, before;
    VCPU *outer = core_running;
    int rc;

    core_interrupt_begin(&target, &before);
    for (unsigned i = 0; i < 2; i++)
        core_vcpu_enter(self->vcpu[i]);
    self->running = true;
    self->thread = PyThread_get_thread_ident();
    core_running = self->vcpu[0];
    VMLIB_UNLOCKED(rc = vmlib_lockstep_run(self->lockstep, limit, result));
    core_running = outer;
    self->running = false;
    for (unsigned i = 0; i < 2; i++)
        core_vcpu_leave(self->vcpu[i]);
    *interrupted = core_interrupted();
    core_interrupt_end(&before);
    return rc;
}

static PyObject *lockstep_run(PyObject *object, PyObject *args)
{
    struct vmlib_lockstep_result result = VMLIB_LOCKSTEP_RESULT_INIT;
    Lockstep *self = (Lockstep *)object;
    bool interrupted, failed;
    uint64_t limit = 0;
    int rc;

    if (!PyArg_ParseTuple(args, "|O&", core_u64, &limit) || !use_idle(self, false) ||
        !core_vcpu_use(self->vcpu[0]) || !core_vcpu_use(self->vcpu[1]))
        return NULL;
    Py_INCREF(self); /* callbacks may drop the caller's */
    do {             /* a signal whose Python handler raises nothing does not end it */
        rc = run_once(self, limit, &result, &interrupted);
        failed = core_vcpu_raise_kept(self->vcpu[0]) || (interrupted && PyErr_CheckSignals() < 0);
    } while (!failed && rc == 0 && interrupted && !limit && result.end == VMLIB_LOCKSTEP_STOPPED &&
             use_idle(self, false) && core_vcpu_use(self->vcpu[0]) && core_vcpu_use(self->vcpu[1]));
    failed = failed || PyErr_Occurred();
    Py_DECREF(self);
    if (failed)
        return NULL;
    return rc < 0 ? core_devices_error(rc) : core_record_copy(RECORD_LOCKSTEP_RESULT, &result);
}

static PyObject *lockstep_stop(PyObject *object, PyObject *unused)
{
    vmlib_lockstep *lockstep = use((Lockstep *)object);

    (void)unused;
    return lockstep ? core_devices_none(vmlib_lockstep_stop(lockstep)) : NULL;
}

static PyObject *lockstep_differences(PyObject *object, PyObject *unused)
{
    struct vmlib_lockstep_difference one = VMLIB_LOCKSTEP_DIFFERENCE_INIT;
    PyObject *list = PyList_New(0);

    (void)unused;
    for (uint32_t i = 0; list; i++) {
        /* Making objects may collect others, whose finalizers may do anything. */
        vmlib_lockstep *lockstep = use_idle((Lockstep *)object, false);
        PyObject *record;

        if (lockstep && vmlib_lockstep_difference(lockstep, i, &one) < 0)
            break;
        record = lockstep ? core_record_copy(RECORD_LOCKSTEP_DIFFERENCE, &one) : NULL;

        if (!record || PyList_Append(list, record) < 0)
            Py_CLEAR(list);
        Py_XDECREF(record);
    }
    return list;
}

static PyObject *lockstep_report(PyObject *object, PyObject *unused)
{
    vmlib_lockstep *lockstep = use_idle((Lockstep *)object, false);
    uint64_t bytes = 0;
    PyObject *text;
    char *buffer, none;
    int rc;

    (void)unused;
    if (!lockstep)
        return NULL;
    rc = vmlib_lockstep_report(lockstep, &none, &bytes);
    if (rc < 0 && rc != VMLIB_E_LIMIT)
        return core_devices_error(rc);
    buffer = PyMem_Malloc(bytes + 1);
    if (!buffer)
        return PyErr_NoMemory();
    rc = vmlib_lockstep_report(lockstep, buffer, &bytes);
    text = rc < 0 ? core_devices_error(rc)
                  : PyUnicode_DecodeUTF8(buffer, (Py_ssize_t)bytes - 1, "replace");
    PyMem_Free(buffer);
    return text;
}

/* --- inputs of both sides --- */

static PyObject *lockstep_intr(PyObject *object, PyObject *number)
{
    vmlib_lockstep *lockstep;
    uint32_t level;

    if (!core_u32(number, &level) || !(lockstep = use_idle((Lockstep *)object, true)))
        return NULL;
    return core_devices_none(vmlib_lockstep_intr(lockstep, level));
}

static PyObject *lockstep_nmi(PyObject *object, PyObject *unused)
{
    vmlib_lockstep *lockstep = use_idle((Lockstep *)object, true);

    (void)unused;
    return lockstep ? core_devices_none(vmlib_lockstep_nmi(lockstep)) : NULL;
}

static PyObject *lockstep_write(PyObject *object, PyObject *args)
{
    vmlib_lockstep *lockstep;
    PyObject *result = NULL;
    Py_buffer data;
    uint64_t gpa;

    if (!PyArg_ParseTuple(args, "O&y*", core_u64, &gpa, &data))
        return NULL;
    lockstep = use_idle((Lockstep *)object, true);
    if (lockstep)
        result =
            core_devices_none(vmlib_lockstep_write(lockstep, gpa, data.buf, (uint64_t)data.len));
    PyBuffer_Release(&data);
    return result;
}

static PyMethodDef methods[] = {
    {"run", lockstep_run, METH_VARARGS,
     "run(limit=0) -> LockstepResult\n\n"
     "Run both sides until they differ, the guest ends, or so many records (steps)."},
    {"stop", lockstep_stop, METH_NOARGS, "stop()\n\nEnd the run. From any thread."},
    {"differences", lockstep_differences, METH_NOARGS,
     "differences() -> list of LockstepDifference"},
    {"report", lockstep_report, METH_NOARGS, "report() -> str\n\nThe situation, for people."},
    {"intr", lockstep_intr, METH_O, "intr(level)\n\nSet the INTR line of both sides."},
    {"nmi", lockstep_nmi, METH_NOARGS, "nmi()\n\nRaise a non-maskable interrupt on both sides."},
    {"write", lockstep_write, METH_VARARGS,
     "write(gpa, data)\n\nWrite memory of both sides, as a device does."},
    {"close", lockstep_close, METH_NOARGS, "close()\n\nGive the VMs back."},
    {"__enter__", lockstep_enter, METH_NOARGS, NULL},
    {"__exit__", lockstep_close, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject Lockstep_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "vmlib._core.Lockstep",
    .tp_doc =
        "Lockstep(a, b, *, regions=(), grain=LockstepGrain.EXIT, flags=0, interval=16, "
        "history=16,\n"
        "         slice=100000, deadline_ns=10000000000, exit=None, mask=None, machines=None)\n\n"
        "Run the vCPUs a and b of two VMs side by side up to the first difference. regions: pairs\n"
        "to compare. exit(lockstep, exit) answers for both sides, as a handler does; None for HLT\n"
        "and SHUTDOWN ends the run. mask(insn, mask, before) may change what an instruction "
        "leaves\n"
        "undefined. machines: two Machines that run the vCPUs, with their own devices.",
    .tp_basicsize = sizeof(Lockstep),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = lockstep_new,
    .tp_dealloc = lockstep_dealloc,
    .tp_traverse = lockstep_traverse,
    .tp_clear = lockstep_clear,
    .tp_methods = methods,
};
