/* The PC bundle of libvmlib-devices. */
#include "core.h"
#include "records.inc"

/* Where output of the guest goes. */
struct sink {
    PyObject *function; /* NULL: nowhere */
    struct Machine *machine;
};

typedef struct Machine {
    PyObject_HEAD VM *vm;
    VM *at;                 /* where it is: vm, or one it has been moved to */
    PyObject *homes;        /* list of the others it knows; NULL: none */
    vmlib_machine *machine; /* NULL: closed */
    struct sink serial, debug, console;
    unsigned running; /* calls without the interpreter lock: it cannot be closed */
} Machine;

static vmlib_machine *use(PyObject *object)
{
    Machine *self = (Machine *)object;

    if (!self->machine)
        core_error_text(VMLIB_E_STATE, "machine: it is closed");
    return self->machine;
}

/* On a vCPU's thread. An exception ends the machine and comes out of run_vcpu(). */
static void on_output(void *opaque, const void *data, size_t bytes)
{
    struct sink *sink = opaque;
    struct core_gil gil = core_enter();
    PyObject *function = sink->function, *result;

    if (function) {
        Py_INCREF(function);
        result = PyObject_CallFunction(function, "y#", data, (Py_ssize_t)bytes);
        if (!result) {
            if (core_running)
                core_vcpu_keep_error(core_running);
            else
                PyErr_WriteUnraisable(function);
            vmlib_machine_stop(sink->machine->machine);
        }
        Py_XDECREF(result);
        Py_DECREF(function);
    }
    core_leave(gil);
}

/* Where the library writes to: the sink, or a console directly. */
static void route(const struct sink *sink, vmlib_console_fn *fn, void **opaque)
{
    vmlib_console *console = sink->function ? core_console(sink->function) : NULL;

    *fn = !sink->function ? NULL : console ? vmlib_console_output : on_output;
    *opaque = console ? (void *)console : (void *)(uintptr_t)sink;
}

static bool set_sink(Machine *self, struct sink *sink, PyObject *function)
{
    if (function != Py_None && !PyCallable_Check(function) && !core_console(function)) {
        PyErr_Format(PyExc_TypeError, "expected a function or an open Console, not %s",
                     Py_TYPE(function)->tp_name);
        return false;
    }
    if (function != Py_None && core_console(function) && !core_console_claim(function, self))
        return false;
    sink->machine = self;
    if (function != Py_None) {
        Py_INCREF(function);
        sink->function = function;
    }
    return true;
}

/* In each method the arguments come first: reading them may run Python code, which may close the
 * machine. */

/* A call of the library that leaves the interpreter: close() is refused meanwhile. */
#define BUSY(object, statement)           \
    do {                                  \
        ((Machine *)(object))->running++; \
        VMLIB_UNLOCKED(statement);        \
        ((Machine *)(object))->running--; \
    } while (0)

static PyObject *machine_new(PyTypeObject *class, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("vm", "serial", "debug", "flags", "rtc_seconds", "timeout_ns");
    struct vmlib_machine_config config = VMLIB_MACHINE_CONFIG_INIT;
    PyObject *vm, *serial = Py_None, *debug = Py_None;
    vmlib_vm *handle;
    Machine *self;
    int rc;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|$OOO&O&O&", keywords, &VM_Type, &vm, &serial,
                                     &debug, core_u32, &config.flags, core_u64, &config.rtc_seconds,
                                     core_u64, &config.timeout_ns) ||
        !(handle = core_vm_use((VM *)vm)))
        return NULL;
    self = (Machine *)class->tp_alloc(class, 0);
    if (!self || !set_sink(self, &self->serial, serial) || !set_sink(self, &self->debug, debug)) {
        Py_XDECREF(self);
        vmlib_vm_unref(handle);
        return NULL;
    }
    Py_INCREF(vm);
    self->vm = (VM *)vm;
    Py_INCREF(vm);
    self->at = (VM *)vm;
    route(&self->serial, &config.serial, &config.serial_opaque);
    route(&self->debug, &config.debug, &config.debug_opaque);
    VMLIB_UNLOCKED(rc = vmlib_machine_create(handle, &config, &self->machine);
                   vmlib_vm_unref(handle));
    if (rc < 0) {
        core_devices_error(rc);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int machine_traverse(PyObject *object, visitproc visit, void *arg)
{
    Machine *self = (Machine *)object;

    Py_VISIT(self->vm);
    Py_VISIT(self->at);
    Py_VISIT(self->homes);
    Py_VISIT(self->serial.function);
    Py_VISIT(self->debug.function);
    Py_VISIT(self->console.function);
    return 0;
}

static void drop_sink(Machine *self, struct sink *sink)
{
    if (sink->function)
        core_console_leave(sink->function, self);
    Py_CLEAR(sink->function);
}

static int machine_clear(PyObject *object)
{
    Machine *self = (Machine *)object;

    drop_sink(self, &self->serial);
    drop_sink(self, &self->debug);
    drop_sink(self, &self->console);
    return 0;
}

static void destroy(Machine *self)
{
    vmlib_machine *machine = self->machine;

    self->machine = NULL;
    if (machine)
        VMLIB_UNLOCKED(vmlib_machine_destroy(machine));
}

static void machine_dealloc(PyObject *object)
{
    Machine *self = (Machine *)object;

    PyObject_GC_UnTrack(object);
    destroy(self);
    machine_clear(object);
    Py_CLEAR(self->homes);
    Py_CLEAR(self->at);
    Py_CLEAR(self->vm);
    Py_TYPE(object)->tp_free(object);
}

vmlib_machine *core_machine(PyObject *object)
{
    return use(object);
}

vmlib_machine *core_machine_handle(PyObject *object)
{
    return ((Machine *)object)->machine;
}

void core_machine_runs(PyObject *object, int change)
{
    Machine *self = (Machine *)object;

    self->running += (unsigned)change;
    self->vm->running += (unsigned)change;
}

static PyObject *machine_close(PyObject *object, PyObject *args)
{
    Machine *self = (Machine *)object;

    (void)args;
    if (self->running)
        return core_error_text(VMLIB_E_BUSY, "machine: it runs, or another thread uses it");
    destroy(self);
    machine_clear(object);
    Py_RETURN_NONE;
}

static PyObject *machine_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_INCREF(self);
    return self;
}

static PyObject *add_ram(PyObject *object, PyObject *number)
{
    vmlib_machine *machine;
    uint64_t bytes;
    int rc;

    if (!core_number(number, UINT64_MAX, &bytes) || !(machine = use(object)))
        return NULL;
    BUSY(object, rc = vmlib_machine_add_ram(machine, bytes));
    return core_devices_none(rc);
}

static PyObject *add_vcpu(PyObject *object, PyObject *unused)
{
    vmlib_machine *machine = use(object);
    vmlib_vcpu *vcpu;
    PyObject *result;
    int rc;

    (void)unused;
    if (!machine)
        return NULL;
    BUSY(object, rc = vmlib_machine_add_vcpu(machine, &vcpu));
    if (rc < 0)
        return core_devices_error(rc);
    result = core_vcpu_object(((Machine *)object)->vm, vcpu);
    vmlib_vcpu_unref(vcpu);
    return result;
}

static PyObject *add_disk(PyObject *object, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("path", "flags", "serial", "fd");
    struct vmlib_disk_config config = VMLIB_DISK_CONFIG_INIT;
    vmlib_machine *machine;
    PyObject *path = Py_None, *name = NULL;
    int rc;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$O&zi", keywords, &path, core_u32,
                                     &config.flags, &config.serial, &config.fd))
        return NULL;
    if (path != Py_None && !PyUnicode_FSConverter(path, &name))
        return NULL;
    config.path = name ? PyBytes_AS_STRING(name) : NULL;
    if (!(machine = use(object))) {
        Py_XDECREF(name);
        return NULL;
    }
    BUSY(object, rc = vmlib_machine_add_disk(machine, &config));
    Py_XDECREF(name);
    return core_devices_none(rc);
}

static PyObject *add_console(PyObject *object, PyObject *function)
{
    Machine *self = (Machine *)object;
    vmlib_machine *machine = use(object);
    vmlib_console_fn write;
    void *opaque;
    int rc;

    if (!machine)
        return NULL;
    if (self->console.function)
        return core_error_text(VMLIB_E_EXISTS, "machine: it has a console");
    if (!set_sink(self, &self->console, function))
        return NULL;
    route(&self->console, &write, &opaque);
    BUSY(object, rc = vmlib_machine_add_console(machine, write, opaque));
    if (rc < 0)
        Py_CLEAR(self->console.function);
    return core_devices_none(rc);
}

static PyObject *add_rng(PyObject *object, PyObject *args)
{
    vmlib_machine *machine;
    uint64_t seed = 0;
    int rc;

    if (!PyArg_ParseTuple(args, "|O&", core_u64, &seed) || !(machine = use(object)))
        return NULL;
    BUSY(object, rc = vmlib_machine_add_rng(machine, seed));
    return core_devices_none(rc);
}

static PyObject *machine_boot(PyObject *object, PyObject *args, PyObject *kwargs)
{
    struct vmlib_boot_result result = VMLIB_BOOT_RESULT_INIT;
    vmlib_machine *machine;
    struct core_boot boot;
    int rc;

    if (!core_boot_parse(&boot, args, kwargs))
        return NULL;
    machine = use(object);
    if (machine)
        BUSY(object, rc = vmlib_machine_boot(machine, &boot.params, &result));
    core_boot_free(&boot);
    if (!machine)
        return NULL;
    return rc < 0 ? core_devices_error(rc) : core_record_copy(RECORD_BOOT_RESULT, &result);
}

/* Run with everything that callbacks and signals need; `result` or `exit` is filled. */
static int run_piece(Machine *self, VCPU *vcpu, struct vmlib_machine_result *result,
                     uint64_t budget, struct vmlib_exit *exit)
{
    struct core_target target = {.machine = self->machine}, before;
    VCPU *outer = core_running;
    VM *at = self->at;
    VCPU *there = at->vcpus[vcpu->index]; /* the one that runs: of the VM where the machine is */
    bool interrupted;
    int rc;

    there = there ? there : vcpu;
    if (!core_vcpu_use(there))
        return 1;
    Py_INCREF(there);
    core_interrupt_begin(&target, &before);
    self->running++;
    core_vcpu_enter(vcpu);
    core_vcpu_enter(there);
    core_running = vcpu;
    VMLIB_UNLOCKED(rc = result ? vmlib_machine_run_vcpu(self->machine, vcpu->vcpu, result)
                               : vmlib_machine_step(self->machine, vcpu->vcpu, budget, exit));
    core_running = outer;
    core_vcpu_leave(there);
    core_vcpu_leave(vcpu);
    self->running--;
    Py_DECREF(there);
    interrupted = core_interrupted();
    core_interrupt_end(&before);
    if (core_vcpu_raise_kept(vcpu) || (interrupted && PyErr_CheckSignals() < 0))
        return 1;
    if (rc < 0)
        core_devices_error(rc);
    return rc;
}

static PyObject *run_vcpu(PyObject *object, PyObject *args)
{
    struct vmlib_machine_result result = VMLIB_MACHINE_RESULT_INIT;
    VCPU *vcpu;
    int rc;

    if (!PyArg_ParseTuple(args, "O!", &VCPU_Type, &vcpu) || !core_vcpu_use(vcpu) || !use(object))
        return NULL;
    Py_INCREF(vcpu);
    Py_INCREF(object);
    rc = run_piece((Machine *)object, vcpu, &result, 0, NULL);
    Py_DECREF(object);
    Py_DECREF(vcpu);
    return rc ? NULL : core_record_copy(RECORD_MACHINE_RESULT, &result);
}

static PyObject *machine_step(PyObject *object, PyObject *args)
{
    struct vmlib_exit exit = VMLIB_EXIT_INIT;
    uint64_t budget = 0;
    VCPU *vcpu;
    int rc;

    if (!PyArg_ParseTuple(args, "O!|O&", &VCPU_Type, &vcpu, core_u64, &budget) ||
        !core_vcpu_use(vcpu) || !use(object))
        return NULL;
    Py_INCREF(vcpu);
    Py_INCREF(object);
    rc = run_piece((Machine *)object, vcpu, NULL, budget, &exit);
    Py_DECREF(object);
    Py_DECREF(vcpu);
    return rc ? NULL : core_record_copy(RECORD_EXIT, &exit);
}

/* --- other VMs --- */

/* The VM's objects of vCPUs and handlers are in use from now on: it stays with the machine. */
static PyObject *machine_attach(PyObject *object, PyObject *args)
{
    Machine *self = (Machine *)object;
    vmlib_machine *machine;
    vmlib_vm *handle;
    VM *vm;
    int rc;

    if (!PyArg_ParseTuple(args, "O!", &VM_Type, &vm) || !(machine = use(object)) ||
        !(handle = core_vm_use(vm)))
        return NULL;
    if (!self->homes)
        self->homes = PyList_New(0);
    if (!self->homes || PyList_Append(self->homes, (PyObject *)vm) < 0) {
        vmlib_vm_unref(handle);
        return NULL;
    }
    BUSY(object, rc = vmlib_machine_attach(machine, handle); vmlib_vm_unref(handle));
    return core_devices_none(rc);
}

static PyObject *machine_move(PyObject *object, PyObject *args)
{
    Machine *self = (Machine *)object;
    vmlib_machine *machine;
    vmlib_vm *handle;
    VM *vm, *outer;
    int rc;

    if (!PyArg_ParseTuple(args, "O!", &VM_Type, &vm) || !(machine = use(object)) ||
        !(handle = core_vm_use(vm)))
        return NULL;
    if (self->running) {
        vmlib_vm_unref(handle);
        return core_error_text(VMLIB_E_BUSY, "machine: it runs, or another thread uses it");
    }
    outer = self->at;
    outer->running++;
    BUSY(object, rc = vmlib_machine_move(machine, handle); vmlib_vm_unref(handle));
    outer->running--;
    if (rc == 0) {
        Py_INCREF(vm);
        self->at = vm;
        Py_DECREF(outer);
    }
    return core_devices_none(rc);
}

static PyObject *machine_ram(PyObject *object, PyObject *unused)
{
    Machine *self = (Machine *)object;
    PyObject *list = PyList_New(0);
    vmlib_machine *machine = list ? use(object) : NULL;
    vmlib_region *region;

    (void)unused;
    if (!machine)
        Py_CLEAR(list);
    self->running++; /* making objects may collect others, whose finalizers may do anything */
    for (uint32_t i = 0; list && vmlib_machine_ram(machine, i, &region) == 0; i++) {
        PyObject *one = core_region_object(self->at, region);

        if (!one || PyList_Append(list, one) < 0)
            Py_CLEAR(list);
        Py_XDECREF(one);
    }
    self->running--;
    return list;
}

static PyObject *machine_memory_map(PyObject *object, PyObject *unused)
{
    struct vmlib_boot_memory map[VMLIB_BOOT_MEMORY_MAX];
    uint32_t count = VMLIB_BOOT_MEMORY_MAX;
    vmlib_machine *machine = use(object);
    PyObject *list;
    int rc;

    (void)unused;
    if (!machine)
        return NULL;
    rc = vmlib_machine_memory_map(machine, map, &count);
    if (rc < 0)
        return core_devices_error(rc);
    list = PyList_New(count);
    for (uint32_t i = 0; list && i < count; i++) {
        PyObject *one = core_record_copy(RECORD_BOOT_MEMORY, &map[i]);

        if (!one)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, one);
    }
    return list;
}

/* --- from any thread --- */

static PyObject *machine_stop(PyObject *object, PyObject *unused)
{
    vmlib_machine *machine = use(object);

    (void)unused;
    return machine ? core_devices_none(vmlib_machine_stop(machine)) : NULL;
}

static PyObject *input(PyObject *object, PyObject *args, bool serial)
{
    vmlib_machine *machine;
    size_t taken = 0;
    Py_buffer data;
    int rc;

    if (!PyArg_ParseTuple(args, "y*", &data))
        return NULL;
    if (!(machine = use(object))) {
        PyBuffer_Release(&data);
        return NULL;
    }
    BUSY(object,
         rc = serial ? vmlib_machine_serial_input(machine, data.buf, (size_t)data.len, &taken)
                     : vmlib_machine_console_input(machine, data.buf, (size_t)data.len, &taken));
    PyBuffer_Release(&data);
    return rc < 0 ? core_devices_error(rc) : PyLong_FromSize_t(taken);
}

static PyObject *serial_input(PyObject *object, PyObject *args)
{
    return input(object, args, true);
}

static PyObject *console_input(PyObject *object, PyObject *args)
{
    return input(object, args, false);
}

static PyObject *machine_stats(PyObject *object, PyObject *unused)
{
    struct vmlib_machine_stats stats = VMLIB_MACHINE_STATS_INIT;
    vmlib_machine *machine = use(object);
    int rc;

    (void)unused;
    if (!machine)
        return NULL;
    rc = vmlib_machine_stats(machine, &stats);
    return rc < 0 ? core_devices_error(rc) : core_record_copy(RECORD_MACHINE_STATS, &stats);
}

static PyObject *get_vm(PyObject *object, void *closure)
{
    (void)closure;
    Py_INCREF(((Machine *)object)->vm);
    return (PyObject *)((Machine *)object)->vm;
}

static PyMethodDef methods[] = {
    {"add_ram", add_ram, METH_O, "add_ram(size)\n\nGive the guest RAM as a PC has it."},
    {"add_vcpu", add_vcpu, METH_NOARGS, "add_vcpu() -> VCPU\n\nCreate the next vCPU."},
    {"add_disk", CORE_WITH_KEYWORDS(add_disk),
     "add_disk(path=None, *, flags=0, serial=None, fd=-1)\n\nAdd a virtio disk."},
    {"add_console", add_console, METH_O,
     "add_console(function)\n\nAdd a virtio console; function receives bytes, or is None."},
    {"add_rng", add_rng, METH_VARARGS, "add_rng(seed=0)\n\nAdd a virtio source of random numbers."},
    {"boot", CORE_WITH_KEYWORDS(machine_boot),
     "boot(kernel, *, format=0, initrd=None, cmdline=None, modules=(), load_address=0,\n"
     "     entry_offset=0, entry_bits=0, memory=None, rsdp=0) -> BootResult\n\n"
     "Load a kernel for the first vCPU. Files are bytes or buffers (mmap)."},
    {"run_vcpu", run_vcpu, METH_VARARGS,
     "run_vcpu(vcpu) -> MachineResult\n\nRun one vCPU until the machine ends; each needs a "
     "thread."},
    {"step", machine_step, METH_VARARGS,
     "step(vcpu, budget=0) -> Exit\n\n"
     "Run one vCPU until its next record, and deal with it. Reason.NONE: the machine has ended."},
    {"attach", machine_attach, METH_VARARGS,
     "attach(vm)\n\nPrepare another VM, without memory and vCPUs, for move()."},
    {"move", machine_move, METH_VARARGS,
     "move(vm)\n\nMove the machine to another VM. No vCPU may be running."},
    {"ram", machine_ram, METH_NOARGS,
     "ram() -> list of Regions\n\nThe RAM, in the VM where the machine is."},
    {"memory_map", machine_memory_map, METH_NOARGS,
     "memory_map() -> list of BootMemory\n\nWhat the guest is told."},
    {"stop", machine_stop, METH_NOARGS, "stop()\n\nEnd the machine. From any thread."},
    {"serial_input", serial_input, METH_VARARGS,
     "serial_input(data) -> int\n\nHand input to the serial port; returns how many bytes it took."},
    {"console_input", console_input, METH_VARARGS,
     "console_input(data) -> int\n\nHand input to the virtio console."},
    {"stats", machine_stats, METH_NOARGS, "stats() -> MachineStats"},
    {"close", machine_close, METH_NOARGS, "close()\n\nTake the machine out of its VM."},
    {"__enter__", machine_enter, METH_NOARGS, NULL},
    {"__exit__", machine_close, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef members[] = {
    {"vm", get_vm, NULL, "the VM", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject Machine_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "vmlib._core.Machine",
    .tp_doc = "Machine(vm, *, serial=None, debug=None, flags=0, rtc_seconds=MACHINE_TIME_HOST,\n"
              "        timeout_ns=0)\n\nThe chips of a PC in a VM that has no memory and no vCPUs\n"
              "yet. serial and debug are functions that receive bytes.",
    .tp_basicsize = sizeof(Machine),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .tp_new = machine_new,
    .tp_dealloc = machine_dealloc,
    .tp_traverse = machine_traverse,
    .tp_clear = machine_clear,
    .tp_methods = methods,
    .tp_getset = members,
};
