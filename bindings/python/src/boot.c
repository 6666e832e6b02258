/* Loaders: keyword arguments of boot functions become struct vmlib_boot_params. */
#include "core.h"
#include "records.inc"

/* A buffer that stays until core_boot_free(). */
static bool borrow(struct core_boot *boot, PyObject *object, const void **data, uint64_t *bytes)
{
    Py_buffer *buffer = &boot->buffers[boot->count];

    if (PyObject_GetBuffer(object, buffer, PyBUF_SIMPLE) < 0)
        return false;
    boot->count++;
    *data = buffer->buf;
    *bytes = (uint64_t)buffer->len;
    return true;
}

/* modules: a sequence of (data, command line). */
static bool take_modules(struct core_boot *boot, PyObject *tuple)
{
    Py_ssize_t count = PyTuple_GET_SIZE(tuple);

    boot->modules = PyMem_Calloc((size_t)count + 1, sizeof(*boot->modules));
    if (!boot->modules)
        return PyErr_NoMemory() != NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *data;

        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(tuple, i), "Os;a module is (data, command line)",
                              &data, &boot->modules[i].cmdline) ||
            !borrow(boot, data, &boot->modules[i].data, &boot->modules[i].bytes))
            return false;
    }
    boot->params.modules = boot->modules;
    boot->params.module_count = (uint32_t)count;
    return true;
}

/* memory: a sequence of BootMemory. */
static bool take_memory(struct core_boot *boot, PyObject *sequence)
{
    PyObject *tuple = sequence == Py_None ? PyTuple_New(0) : PySequence_Tuple(sequence);
    Py_ssize_t count = tuple ? PyTuple_GET_SIZE(tuple) : 0;
    bool good = tuple != NULL;

    if (good && count > VMLIB_BOOT_MEMORY_MAX) {
        PyErr_Format(PyExc_ValueError, "memory: at most %u ranges", VMLIB_BOOT_MEMORY_MAX);
        good = false;
    }
    for (Py_ssize_t i = 0; good && i < count; i++) {
        const void *range = core_record_data(PyTuple_GET_ITEM(tuple, i), RECORD_BOOT_MEMORY);

        good = range != NULL;
        if (good)
            memcpy(&boot->memory[i], range, sizeof(boot->memory[i]));
    }
    Py_XDECREF(tuple);
    boot->params.memory = count ? boot->memory : NULL;
    boot->params.memory_count = (uint32_t)count;
    return good;
}

static bool take(struct core_boot *boot, PyObject *kernel, PyObject *initrd, PyObject *modules)
{
    boot->buffers = PyMem_Calloc((size_t)PyTuple_GET_SIZE(modules) + 2, sizeof(*boot->buffers));
    if (!boot->buffers)
        return PyErr_NoMemory() != NULL;
    return borrow(boot, kernel, &boot->params.kernel, &boot->params.kernel_bytes) &&
           (initrd == Py_None ||
            borrow(boot, initrd, &boot->params.initrd, &boot->params.initrd_bytes)) &&
           take_modules(boot, modules);
}

bool core_boot_parse(struct core_boot *boot, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("kernel", "format", "initrd", "cmdline", "modules", "load_address",
                  "entry_offset", "entry_bits", "memory", "rsdp");
    PyObject *kernel, *initrd = Py_None, *modules = NULL, *memory = Py_None;
    struct vmlib_boot_params *params = &boot->params;
    bool good;

    *boot = (struct core_boot){.params = VMLIB_BOOT_PARAMS_INIT};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O&OzO!O&O&O&OO&", keywords, &kernel,
                                     core_u32, &params->format, &initrd, &params->cmdline,
                                     &PyTuple_Type, &modules, core_u64, &params->load_address,
                                     core_u64, &params->entry_offset, core_u32, &params->entry_bits,
                                     &memory, core_u64, &params->rsdp) ||
        !take_memory(boot, memory))
        return false;
    if (modules)
        Py_INCREF(modules);
    else if (!(modules = PyTuple_New(0)))
        return false;
    good = take(boot, kernel, initrd, modules);
    Py_DECREF(modules);
    if (!good)
        core_boot_free(boot);
    return good;
}

void core_boot_free(struct core_boot *boot)
{
    for (Py_ssize_t i = 0; i < boot->count; i++)
        PyBuffer_Release(&boot->buffers[i]);
    PyMem_Free(boot->buffers);
    PyMem_Free(boot->modules);
    *boot = (struct core_boot){.count = 0};
}

PyObject *core_boot_load(PyObject *module, PyObject *args, PyObject *kwargs)
{
    struct vmlib_boot_result result = VMLIB_BOOT_RESULT_INIT;
    struct core_boot boot;
    PyObject *first, *rest;
    vmlib_vm *vm;
    VCPU *vcpu;
    bool good;
    int rc;

    (void)module;
    if (PyTuple_GET_SIZE(args) < 1 || !PyObject_TypeCheck(PyTuple_GET_ITEM(args, 0), &VCPU_Type)) {
        PyErr_SetString(PyExc_TypeError,
                        "boot_load(vcpu, kernel, ...): the first argument is a VCPU");
        return NULL;
    }
    first = PyTuple_GET_ITEM(args, 0);
    vcpu = (VCPU *)first;
    if (!(rest = PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args))))
        return NULL;
    good = core_boot_parse(&boot, rest, kwargs);
    Py_DECREF(rest);
    if (!good)
        return NULL;
    if (!core_vcpu_use(vcpu)) {
        core_boot_free(&boot);
        return NULL;
    }
    vm = vmlib_vm_ref(vcpu->vm->vm);
    VMLIB_UNLOCKED(rc = vmlib_boot_load(vm, vcpu->vcpu, &boot.params, &result); vmlib_vm_unref(vm));
    core_boot_free(&boot);
    return rc < 0 ? core_devices_error(rc) : core_record_copy(RECORD_BOOT_RESULT, &result);
}
