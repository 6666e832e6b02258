/* Virtual CPUs: run, complete, cancel, events, registers. */
#include "core.h"
#include "records.inc"

#define REGISTERS (sizeof(record_registers) / sizeof(record_registers[0]))

vmlib_vcpu *core_vcpu_use(VCPU *self)
{
    if (self->inside && self->owner != PyThread_get_thread_ident()) {
        core_error_text(VMLIB_E_BUSY, "vcpu: it runs on another thread");
        return NULL;
    }
    return core_vcpu_any(self);
}

void core_vcpu_enter(VCPU *self)
{
    self->inside++;
    self->owner = PyThread_get_thread_ident();
    self->vm->running++;
}

void core_vcpu_leave(VCPU *self)
{
    self->vm->running--;
    self->inside--;
}

vmlib_vcpu *core_vcpu_any(VCPU *self)
{
    if (!self->vm || !self->vm->vm) {
        core_error_text(VMLIB_E_STATE, "vcpu: its VM is closed");
        return NULL;
    }
    return self->vcpu;
}

PyObject *core_vcpu_object(VM *vm, vmlib_vcpu *vcpu)
{
    uint32_t index = vmlib_vcpu_index(vcpu);
    VCPU *self = vm->vcpus[index];

    if (self && self->vcpu == vcpu) {
        Py_INCREF(self);
        return (PyObject *)self;
    }
    self = (VCPU *)VCPU_Type.tp_alloc(&VCPU_Type, 0);
    if (!self)
        return NULL;
    Py_INCREF(vm);
    self->vm = vm;
    self->vcpu = vmlib_vcpu_ref(vcpu);
    self->index = index;
    vm->vcpus[index] = self;
    return (PyObject *)self;
}

static int vcpu_traverse(PyObject *object, visitproc visit, void *arg)
{
    VCPU *self = (VCPU *)object;

    Py_VISIT(self->vm);
    for (int i = 0; i < 3; i++)
        Py_VISIT(self->error[i]);
    return 0;
}

static int vcpu_clear(PyObject *object)
{
    VCPU *self = (VCPU *)object;

    if (self->vm && self->vm->vcpus[self->index] == self)
        self->vm->vcpus[self->index] = NULL;
    for (int i = 0; i < 3; i++)
        Py_CLEAR(self->error[i]);
    Py_CLEAR(self->vm);
    return 0;
}

static void vcpu_dealloc(PyObject *object)
{
    VCPU *self = (VCPU *)object;
    vmlib_vcpu *vcpu = self->vcpu;

    PyObject_GC_UnTrack(object);
    if (self->weak)
        PyObject_ClearWeakRefs(object);
    if (vcpu)
        VMLIB_UNLOCKED(vmlib_vcpu_unref(vcpu));
    vcpu_clear(object);
    Py_TYPE(object)->tp_free(object);
}

/* --- run --- */

void core_vcpu_keep_error(VCPU *self)
{
    if (core_running)
        self = core_running;
    if (self->error[0])
        PyErr_WriteUnraisable((PyObject *)self); /* there can be only one */
    else
        PyErr_Fetch(&self->error[0], &self->error[1], &self->error[2]);
}

bool core_vcpu_raise_kept(VCPU *self)
{
    if (!self->error[0])
        return false;
    PyErr_Restore(self->error[0], self->error[1], self->error[2]);
    self->error[0] = self->error[1] = self->error[2] = NULL;
    return true;
}

static int run_once(VCPU *self, struct vmlib_run_args *args, struct vmlib_exit *exit,
                    struct core_target *before)
{
    struct core_target target = {self->vcpu, vmlib_vcpu_generation(self->vcpu), NULL, NULL};
    VCPU *outer = core_running;
    int rc;

    core_interrupt_begin(&target, before);
    core_vcpu_enter(self);
    core_running = self;
    VMLIB_UNLOCKED(rc = vmlib_vcpu_run(self->vcpu, args, exit));
    core_running = outer;
    core_vcpu_leave(self);
    core_vm_deliver_log(self->vm);
    return rc;
}

/* What is left of the limits after an interrupted piece of a run. False: nothing. */
static bool rest_of_limits(struct vmlib_run_args *args, uint64_t instructions, uint64_t elapsed)
{
    if (args->budget && args->budget <= instructions)
        return false;
    if (args->deadline_ns && args->deadline_ns <= elapsed)
        return false;
    args->budget -= args->budget ? instructions : 0;
    args->deadline_ns -= args->deadline_ns ? elapsed : 0;
    args->generation = 0;
    return true;
}

/* Runs until there is a record for the caller; a signal whose Python handler raises nothing does
 * not end it. */
static bool run(VCPU *self, struct vmlib_run_args *args, struct vmlib_exit *exit)
{
    unsigned long cancels = self->cancels;
    uint64_t done = 0;

    for (;;) {
        struct core_target before;
        uint64_t begin = 0, end = 0;
        bool interrupted;
        int rc;

        vmlib_vm_clock(self->vm->vm, &begin);
        rc = run_once(self, args, exit, &before);
        interrupted = core_interrupted();
        core_interrupt_end(&before);
        if (rc == 0)
            self->last = *exit;
        if (rc == VMLIB_E_USER || (rc == 0 && exit->reason == VMLIB_EXIT_CANCELLED)) {
            if (core_vcpu_raise_kept(self))
                return false;
        }
        if (interrupted && PyErr_CheckSignals() < 0)
            return false;
        if (rc < 0) {
            core_error(rc);
            return false;
        }
        exit->instructions += done;
        if (exit->reason != VMLIB_EXIT_CANCELLED || !interrupted || self->cancels != cancels)
            return true;
        vmlib_vm_clock(self->vm->vm, &end);
        if (!rest_of_limits(args, exit->instructions - done, end - begin))
            return true;
        done = exit->instructions;
    }
}

static PyObject *vcpu_run(PyObject *object, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("budget", "deadline_ns", "wait", "step", "generation");
    VCPU *self = (VCPU *)object;
    struct vmlib_run_args limits = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit exit = VMLIB_EXIT_INIT;
    int wait = 0, step = 0;
    bool good;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O&O&ppO&", keywords, core_u64, &limits.budget,
                                     core_u64, &limits.deadline_ns, &wait, &step, core_u64,
                                     &limits.generation) ||
        !core_vcpu_use(self))
        return NULL;
    limits.flags = (wait ? VMLIB_RUN_WAIT_IN_HLT : 0) | (step ? VMLIB_RUN_SINGLE_STEP : 0);
    Py_INCREF(self); /* callbacks may drop the caller's */
    good = run(self, &limits, &exit);
    Py_DECREF(self);
    return good ? core_record_copy(RECORD_EXIT, &exit) : NULL;
}

/* --- completion --- */

/* The answer as bytes: returns their number, or -1 with an exception. */
static int answer_bytes(const struct vmlib_exit *exit, PyObject *value, uint8_t data[16])
{
    uint64_t number;
    int width = exit->reason == VMLIB_EXIT_PIO    ? exit->u.pio.width
                : exit->reason == VMLIB_EXIT_MMIO ? exit->u.mmio.width
                                                  : 8;

    if (value == Py_None)
        return 0;
    if (exit->reason == VMLIB_EXIT_CPUID) {
        uint32_t *registers = (uint32_t *)(void *)data;

        if (!PyTuple_Check(value) || PyTuple_GET_SIZE(value) != 4) {
            PyErr_SetString(PyExc_TypeError, "the answer to CPUID is (eax, ebx, ecx, edx)");
            return -1;
        }
        for (int i = 0; i < 4; i++)
            if (!core_u32(PyTuple_GET_ITEM(value, i), &registers[i]))
                return -1;
        return 16;
    }
    if (!core_number(value, width < 8 ? (UINT64_C(1) << 8 * width) - 1 : UINT64_MAX, &number))
        return -1;
    memcpy(data, &number, 8);
    return width;
}

static PyObject *vcpu_complete(PyObject *object, PyObject *args)
{
    VCPU *self = (VCPU *)object;
    PyObject *value = Py_None;
    _Alignas(8) uint8_t data[16] = {0};
    VCPU *outer = core_running;
    bool raised;
    int bytes, rc;

    if (!PyArg_ParseTuple(args, "|O", &value) || !core_vcpu_use(self))
        return NULL;
    bytes = answer_bytes(&self->last, value, data);
    if (bytes < 0)
        return NULL;
    Py_INCREF(self); /* more accesses of the instruction may have handlers */
    core_vcpu_enter(self);
    core_running = self;
    VMLIB_UNLOCKED(rc = vmlib_vcpu_complete(self->vcpu, bytes ? data : NULL, (uint32_t)bytes));
    core_running = outer;
    core_vcpu_leave(self);
    raised = rc == VMLIB_E_USER && core_vcpu_raise_kept(self);
    Py_DECREF(self);
    return raised ? NULL : core_none(rc);
}

static PyObject *vcpu_fault(PyObject *object, PyObject *args)
{
    VCPU *self = (VCPU *)object;
    uint32_t vector, code = 0;

    if (!PyArg_ParseTuple(args, "O&|O&", core_u32, &vector, core_u32, &code) ||
        !core_vcpu_use(self))
        return NULL;
    return core_none(vmlib_vcpu_complete_fault(self->vcpu, vector, code));
}

/* --- from any thread --- */

static PyObject *vcpu_cancel(PyObject *object, PyObject *args)
{
    VCPU *self = (VCPU *)object;
    uint64_t generation = 0;

    if (!PyArg_ParseTuple(args, "|O&", core_u64, &generation) || !core_vcpu_any(self))
        return NULL;
    self->cancels++;
    return core_none(generation ? vmlib_vcpu_cancel_run(self->vcpu, generation)
                                : vmlib_vcpu_cancel(self->vcpu));
}

static PyObject *vcpu_nmi(PyObject *object, PyObject *unused)
{
    vmlib_vcpu *vcpu = core_vcpu_any((VCPU *)object);

    (void)unused;
    return vcpu ? core_none(vmlib_vcpu_nmi(vcpu)) : NULL;
}

static PyObject *vcpu_init(PyObject *object, PyObject *unused)
{
    vmlib_vcpu *vcpu = core_vcpu_any((VCPU *)object);

    (void)unused;
    return vcpu ? core_none(vmlib_vcpu_init(vcpu)) : NULL;
}

/* Calls with one number. */
#define NUMBER_METHOD(name, call, use)                        \
    static PyObject *name(PyObject *object, PyObject *number) \
    {                                                         \
        uint32_t value;                                       \
        vmlib_vcpu *vcpu = use((VCPU *)object);               \
                                                              \
        if (!vcpu || !core_u32(number, &value))               \
            return NULL;                                      \
        return core_none(call(vcpu, value));                  \
    }
NUMBER_METHOD(vcpu_set_intr, vmlib_vcpu_set_intr, core_vcpu_any)
NUMBER_METHOD(vcpu_sipi, vmlib_vcpu_sipi, core_vcpu_any)
NUMBER_METHOD(vcpu_window, vmlib_vcpu_request_interrupt_window, core_vcpu_use)
NUMBER_METHOD(vcpu_exceptions, vmlib_vcpu_set_exception_exits, core_vcpu_use)

/* --- events and debugging --- */

static PyObject *vcpu_inject(PyObject *object, PyObject *event)
{
    vmlib_vcpu *vcpu = core_vcpu_use((VCPU *)object);
    const void *data = vcpu ? core_record_data(event, RECORD_EVENT) : NULL;

    return data ? core_none(vmlib_vcpu_inject(vcpu, data)) : NULL;
}

static PyObject *vcpu_breakpoint(PyObject *object, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("slot", "address", "kind", "width");
    struct vmlib_breakpoint point = VMLIB_BREAKPOINT_INIT;
    PyObject *address = Py_None;
    uint32_t slot;

    point.kind = VMLIB_BREAKPOINT_EXEC;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&O|O&O&", keywords, core_u32, &slot, &address,
                                     core_u32, &point.kind, core_u32, &point.width) ||
        !core_vcpu_use((VCPU *)object))
        return NULL;
    if (address != Py_None && !core_number(address, UINT64_MAX, &point.address))
        return NULL;
    return core_none(vmlib_vcpu_set_breakpoint(((VCPU *)object)->vcpu, slot,
                                               address == Py_None ? NULL : &point));
}

static PyObject *vcpu_translate(PyObject *object, PyObject *args)
{
    struct vmlib_translation translation = VMLIB_TRANSLATION_INIT;
    uint32_t access = VMLIB_ACCESS_READ;
    uint64_t gva;
    int rc;

    if (!PyArg_ParseTuple(args, "O&|O&", core_u64, &gva, core_u32, &access) ||
        !core_vcpu_use((VCPU *)object))
        return NULL;
    rc = vmlib_vcpu_translate(((VCPU *)object)->vcpu, gva, access, &translation);
    return rc < 0 ? core_error(rc) : core_record_copy(RECORD_TRANSLATION, &translation);
}

static PyObject *vcpu_read(PyObject *object, PyObject *args)
{
    PyObject *result;
    Py_ssize_t bytes;
    uint64_t gva;
    int rc;

    if (!PyArg_ParseTuple(args, "O&n", core_u64, &gva, &bytes) || !core_vcpu_use((VCPU *)object))
        return NULL;
    if (bytes < 0) {
        PyErr_SetString(PyExc_ValueError, "size is negative");
        return NULL;
    }
    result = PyBytes_FromStringAndSize(NULL, bytes);
    if (!result)
        return NULL;
    rc = vmlib_vcpu_read_virt(((VCPU *)object)->vcpu, gva, PyBytes_AS_STRING(result),
                              (uint64_t)bytes);
    if (rc == 0)
        return result;
    Py_DECREF(result);
    return core_error(rc);
}

static PyObject *vcpu_write(PyObject *object, PyObject *args)
{
    Py_buffer data;
    uint64_t gva;
    int rc;

    if (!PyArg_ParseTuple(args, "O&y*", core_u64, &gva, &data))
        return NULL;
    if (!core_vcpu_use((VCPU *)object)) {
        PyBuffer_Release(&data);
        return NULL;
    }
    rc = vmlib_vcpu_write_virt(((VCPU *)object)->vcpu, gva, data.buf, (uint64_t)data.len);
    PyBuffer_Release(&data);
    return core_none(rc);
}

/* --- state --- */

static PyObject *vcpu_get_state(PyObject *object, PyObject *args)
{
    uint32_t groups = VMLIB_STATE_ALL;
    struct vmlib_state state = {.size = sizeof(state)};
    int rc;

    if (!PyArg_ParseTuple(args, "|O&", core_u32, &groups) || !core_vcpu_use((VCPU *)object))
        return NULL;
    rc = vmlib_vcpu_get_state(((VCPU *)object)->vcpu, groups, &state);
    return rc < 0 ? core_error(rc) : core_record_copy(RECORD_STATE, &state);
}

static PyObject *vcpu_set_state(PyObject *object, PyObject *args)
{
    uint32_t groups = VMLIB_STATE_ALL;
    PyObject *state;
    const void *data;

    if (!PyArg_ParseTuple(args, "O|O&", &state, core_u32, &groups) ||
        !core_vcpu_use((VCPU *)object))
        return NULL;
    data = core_record_data(state, RECORD_STATE);
    return data ? core_none(vmlib_vcpu_set_state(((VCPU *)object)->vcpu, groups, data)) : NULL;
}

static PyObject *get_register(PyObject *object, void *closure)
{
    const struct record_register *reg = closure;
    vmlib_vcpu *vcpu = core_vcpu_use((VCPU *)object);
    _Alignas(8) char data[64];
    uint64_t value;
    int rc;

    if (!vcpu)
        return NULL;
    if (!reg->bytes) {
        rc = vmlib_vcpu_get_reg(vcpu, reg->reg, &value);
        return rc < 0 ? core_error(rc) : PyLong_FromUnsignedLongLong(value);
    }
    rc = vmlib_vcpu_get_reg_wide(vcpu, reg->reg, data, reg->bytes);
    if (rc < 0)
        return core_error(rc);
    return reg->type ? core_record_copy((int)(reg->type - record_types), data)
                     : PyBytes_FromStringAndSize(data, reg->bytes);
}

static int set_wide(vmlib_vcpu *vcpu, const struct record_register *reg, PyObject *value)
{
    Py_buffer buffer;
    const void *data;
    int rc;

    if (reg->type) {
        data = core_record_data(value, (int)(reg->type - record_types));
        return data ? vmlib_vcpu_set_reg_wide(vcpu, reg->reg, data, reg->bytes) : 1;
    }
    if (PyObject_GetBuffer(value, &buffer, PyBUF_SIMPLE) < 0)
        return 1;
    rc = vmlib_vcpu_set_reg_wide(vcpu, reg->reg, buffer.buf, (uint32_t)buffer.len);
    PyBuffer_Release(&buffer);
    return rc;
}

static int set_register(PyObject *object, PyObject *value, void *closure)
{
    const struct record_register *reg = closure;
    uint64_t number = 0;
    vmlib_vcpu *vcpu;
    int rc;

    if (!value) {
        PyErr_SetString(PyExc_TypeError, "registers cannot be deleted");
        return -1;
    }
    if (!reg->bytes && !core_number(value, UINT64_MAX, &number))
        return -1;
    vcpu = core_vcpu_use((VCPU *)object);
    if (!vcpu)
        return -1;
    rc = reg->bytes ? set_wide(vcpu, reg, value) : vmlib_vcpu_set_reg(vcpu, reg->reg, number);
    if (rc < 0)
        core_error(rc);
    return rc == 0 ? 0 : -1; /* 1: an exception is set */
}

static PyObject *vcpu_registers(PyObject *object, PyObject *unused)
{
    PyObject *dict = PyDict_New();

    (void)unused;
    for (unsigned i = 0; dict && i < REGISTERS && !record_registers[i].bytes; i++) {
        PyObject *value = get_register(object, (void *)(uintptr_t)&record_registers[i]);

        if (!value || PyDict_SetItemString(dict, record_registers[i].name, value) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *vcpu_set(PyObject *object, PyObject *args, PyObject *kwargs)
{
    PyObject *key, *value;
    Py_ssize_t at = 0;

    if (PyTuple_GET_SIZE(args)) {
        PyErr_SetString(PyExc_TypeError, "set() takes registers by name: set(rax=1, rip=0x1000)");
        return NULL;
    }
    while (kwargs && PyDict_Next(kwargs, &at, &key, &value)) {
        const char *name = PyUnicode_AsUTF8(key);
        unsigned i = 0;

        while (name && i < REGISTERS && strcmp(record_registers[i].name, name) != 0)
            i++;
        if (!name || i == REGISTERS) {
            PyErr_Format(PyExc_TypeError, "there is no register '%U'", key);
            return NULL;
        }
        if (set_register(object, value, (void *)(uintptr_t)&record_registers[i]) < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *vcpu_cpuid(PyObject *object, PyObject *unused)
{
    struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX];
    uint32_t count = VMLIB_CPUID_MAX;
    vmlib_vcpu *vcpu = core_vcpu_use((VCPU *)object);
    int rc;

    (void)unused;
    if (!vcpu)
        return NULL;
    rc = vmlib_vcpu_get_cpuid(vcpu, leaves, &count);
    return rc < 0 ? core_error(rc) : core_leaf_list(leaves, count);
}

static PyObject *vcpu_set_cpuid(PyObject *object, PyObject *sequence)
{
    struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX];
    int count = core_take_leaves(sequence, leaves);
    vmlib_vcpu *vcpu = count < 0 ? NULL : core_vcpu_use((VCPU *)object);

    return vcpu ? core_none(vmlib_vcpu_set_cpuid(vcpu, leaves, (uint32_t)count)) : NULL;
}

/* --- mock backend --- */

static PyObject *vcpu_mock_script(PyObject *object, PyObject *sequence)
{
    vmlib_vcpu *vcpu = core_vcpu_use((VCPU *)object);
    PyObject *tuple = vcpu ? PySequence_Tuple(sequence) : NULL;
    int rc = 0;

    if (!tuple)
        return NULL;
    for (Py_ssize_t i = 0; rc == 0 && i < PyTuple_GET_SIZE(tuple); i++) {
        const void *step = core_record_data(PyTuple_GET_ITEM(tuple, i), RECORD_MOCK_STEP);

        if (!step) {
            Py_DECREF(tuple);
            return NULL;
        }
        rc = vmlib_mock_script(vcpu, step, 1);
    }
    Py_DECREF(tuple);
    return core_none(rc);
}

static PyObject *vcpu_mock_result(PyObject *object, PyObject *unused)
{
    struct vmlib_mock_result result = VMLIB_MOCK_RESULT_INIT;
    vmlib_vcpu *vcpu = core_vcpu_use((VCPU *)object);
    int rc;

    (void)unused;
    if (!vcpu)
        return NULL;
    rc = vmlib_mock_result(vcpu, &result);
    return rc < 0 ? core_error(rc) : core_record_copy(RECORD_MOCK_RESULT, &result);
}

/* --- attributes --- */

static PyObject *get_index(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLong(((VCPU *)object)->index);
}

static PyObject *get_vm(PyObject *object, void *closure)
{
    PyObject *vm = (PyObject *)((VCPU *)object)->vm;

    (void)closure;
    Py_XINCREF(vm);
    return vm;
}

static PyObject *get_generation(PyObject *object, void *closure)
{
    vmlib_vcpu *vcpu = core_vcpu_any((VCPU *)object);

    (void)closure;
    return vcpu ? PyLong_FromUnsignedLongLong(vmlib_vcpu_generation(vcpu)) : NULL;
}

static PyMethodDef methods[] = {
    {"run", CORE_WITH_KEYWORDS(vcpu_run),
     "run(*, budget=0, deadline_ns=0, wait=False, step=False, generation=0) -> Exit\n\n"
     "Run until a guest event that no handler takes, or a limit: budget in instructions, deadline\n"
     "in nanoseconds of the VM's clock. wait: sleep in HLT. Exceptions of handlers come out here."},
    {"call", CORE_WITH_KEYWORDS(core_call),
     "call(function, *args, stack=0, budget=1000000, deadline_ns=0, exceptions=0xffffffff) -> "
     "CallResult\n\n"
     "Call a guest function in protected or long mode. Arguments: int, float, bytes (a pointer to "
     "a\n"
     "copy on the guest's stack), bytearray (copied back, too)."},
    {"complete", vcpu_complete, METH_VARARGS,
     "complete(value=None)\n\nAnswer the pending record: a number; four registers for CPUID; None\n"
     "for WRMSR and for a hypercall whose RAX is to stay."},
    {"fault", vcpu_fault, METH_VARARGS,
     "fault(vector, error_code=0)\n\nAnswer the pending record with an exception."},
    {"cancel", vcpu_cancel, METH_VARARGS,
     "cancel(generation=0)\n\nEnd the run in progress, or the next; or the one with this number "
     "and\n"
     "no other. From any thread."},
    {"set_intr", vcpu_set_intr, METH_O, "set_intr(level)\n\nSet the level of the INTR line."},
    {"nmi", vcpu_nmi, METH_NOARGS, "nmi()\n\nRaise a non-maskable interrupt."},
    {"init", vcpu_init, METH_NOARGS, "init()\n\nSend INIT."},
    {"sipi", vcpu_sipi, METH_O, "sipi(vector)\n\nSend a start-up IPI."},
    {"request_interrupt_window", vcpu_window, METH_O,
     "request_interrupt_window(on)\n\nReturn Reason.INTERRUPT_WINDOW once the guest can take an "
     "interrupt."},
    {"set_exception_exits", vcpu_exceptions, METH_O,
     "set_exception_exits(mask)\n\nBit n: exception n is shown to handlers, or returned, before "
     "delivery."},
    {"inject", vcpu_inject, METH_O,
     "inject(event)\n\nHave an event delivered before the next instruction."},
    {"set_breakpoint", CORE_WITH_KEYWORDS(vcpu_breakpoint),
     "set_breakpoint(slot, address, kind=BreakpointKind.EXEC, width=1)\n\nAddress None: clear."},
    {"translate", vcpu_translate, METH_VARARGS,
     "translate(gva, access=Access.READ) -> Translation"},
    {"read", vcpu_read, METH_VARARGS, "read(gva, size) -> bytes\n\nCopy guest-virtual memory."},
    {"write", vcpu_write, METH_VARARGS, "write(gva, data)\n\nCopy to guest-virtual memory."},
    {"get_state", vcpu_get_state, METH_VARARGS,
     "get_state(groups=StateGroup.ALL) -> State\n\nRead groups of registers at once."},
    {"set_state", vcpu_set_state, METH_VARARGS,
     "set_state(state, groups=StateGroup.ALL)\n\nReplace groups of registers at once."},
    {"registers", vcpu_registers, METH_NOARGS, "registers() -> dict of all 64-bit registers"},
    {"set", CORE_WITH_KEYWORDS(vcpu_set), "set(**registers)\n\nset(rax=1, rip=0x1000)"},
    {"cpuid", vcpu_cpuid, METH_NOARGS, "cpuid() -> list of CpuidLeaf"},
    {"set_cpuid", vcpu_set_cpuid, METH_O,
     "set_cpuid(leaves)\n\nReplace the CPUID model, before the first run."},
    {"mock_script", vcpu_mock_script, METH_O,
     "mock_script(steps)\n\nMock backend: append MockSteps to the script."},
    {"mock_result", vcpu_mock_result, METH_NOARGS,
     "mock_result() -> MockResult\n\nMock backend: how the last step ended."},
    {NULL, NULL, 0, NULL},
};

static const PyGetSetDef own_members[] = {
    {"index", get_index, NULL, "index in the VM", NULL},
    {"vm", get_vm, NULL, "the VM", NULL},
    {"generation", get_generation, NULL, "number of the run in progress, or of the next", NULL},
};
#define OWN (sizeof(own_members) / sizeof(own_members[0]))

/* One attribute for each register. */
static PyGetSetDef members[OWN + REGISTERS + 1];

void core_vcpu_type_init(void)
{
    memcpy(members, own_members, sizeof(own_members));
    for (unsigned i = 0; i < REGISTERS; i++)
        members[OWN + i] = (PyGetSetDef){record_registers[i].name, get_register, set_register, NULL,
                                         (void *)(uintptr_t)&record_registers[i]};
}

PyTypeObject VCPU_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "vmlib._core.VCPU",
    .tp_doc =
        "A virtual CPU; made by VM.vcpu(). Registers are attributes. One thread at a time uses\n"
        "it, except for cancel(), set_intr(), nmi(), init() and sipi().",
    .tp_basicsize = sizeof(VCPU),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = vcpu_dealloc,
    .tp_traverse = vcpu_traverse,
    .tp_clear = vcpu_clear,
    .tp_weaklistoffset = offsetof(VCPU, weak),
    .tp_methods = methods,
    .tp_getset = members,
};
