/* The module vmlib._core: functions without an object, and initialization. */
#include "core.h"
#include "records.inc"

static PyObject *backend_query(PyObject *module, PyObject *number)
{
    struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;
    uint32_t backend;
    int rc;

    (void)module;
    if (!core_u32(number, &backend))
        return NULL;
    rc = vmlib_backend_query(backend, &info);
    return rc < 0 ? core_error(rc) : core_record_copy(RECORD_BACKEND_INFO, &info);
}

static PyObject *backend_feature(PyObject *module, PyObject *args)
{
    uint32_t backend, feature, support;
    int rc;

    (void)module;
    if (!PyArg_ParseTuple(args, "O&O&", core_u32, &backend, core_u32, &feature))
        return NULL;
    rc = vmlib_backend_feature(backend, feature, &support);
    return rc < 0 ? core_error(rc) : core_enum("Support", support);
}

static PyObject *backend_by_name(PyObject *module, PyObject *args)
{
    const char *name;
    uint32_t backend;
    int rc;

    (void)module;
    if (!PyArg_ParseTuple(args, "s", &name))
        return NULL;
    rc = vmlib_backend_by_name(name, &backend);
    return rc < 0 ? core_error(rc) : core_enum("Backend", backend);
}

static PyObject *boot_detect(PyObject *module, PyObject *args)
{
    uint32_t format;
    Py_buffer data;
    int rc;

    (void)module;
    if (!PyArg_ParseTuple(args, "y*", &data))
        return NULL;
    rc = vmlib_boot_detect(data.buf, (uint64_t)data.len, &format);
    PyBuffer_Release(&data);
    return rc < 0 ? core_devices_error(rc) : core_enum("BootFormat", format);
}

static PyObject *version(PyObject *module, PyObject *unused)
{
    uint32_t number = vmlib_version();

    (void)module, (void)unused;
    return Py_BuildValue("(III)", number / 1000000, number / 1000 % 1000, number % 1000);
}

/* Short names; None for numbers that this version does not know. */
#define NAME_FUNCTION(function)                                   \
    static PyObject *function(PyObject *module, PyObject *number) \
    {                                                             \
        uint32_t value;                                           \
                                                                  \
        (void)module;                                             \
        if (!core_u32(number, &value))                            \
            return NULL;                                          \
        return Py_BuildValue("z", vmlib_##function(value));       \
    }
NAME_FUNCTION(exit_name)
NAME_FUNCTION(feature_name)
NAME_FUNCTION(boot_format_name)
NAME_FUNCTION(machine_end_name)

static PyMethodDef functions[] = {
    {"backend_query", backend_query, METH_O,
     "backend_query(backend) -> BackendInfo\n\nTell whether a backend can be used, and why not."},
    {"backend_feature", backend_feature, METH_VARARGS,
     "backend_feature(backend, feature) -> Support"},
    {"backend_by_name", backend_by_name, METH_VARARGS, "backend_by_name(name) -> Backend"},
    {"boot_load", CORE_WITH_KEYWORDS(core_boot_load),
     "boot_load(vcpu, kernel, *, format=0, initrd=None, cmdline=None, modules=(), load_address=0,\n"
     "          entry_offset=0, entry_bits=0, memory=None, rsdp=0) -> BootResult\n\n"
     "Put a kernel into memory and the vCPU at its entry."},
    {"boot_detect", boot_detect, METH_VARARGS, "boot_detect(kernel) -> BootFormat"},
    {"elf_symbol", core_elf_symbol, METH_VARARGS,
     "elf_symbol(elf, name) -> (address, length)\n\nFind a symbol of an ELF file."},
    {"exit_name", exit_name, METH_O, "exit_name(reason) -> short name, or None"},
    {"feature_name", feature_name, METH_O, "feature_name(feature) -> short name, or None"},
    {"boot_format_name", boot_format_name, METH_O,
     "boot_format_name(format) -> short name, or None"},
    {"machine_end_name", machine_end_name, METH_O, "machine_end_name(end) -> short name, or None"},
    {"version", version, METH_NOARGS, "version() -> (major, minor, patch) of the library in use"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "vmlib._core",
    .m_doc = "The compiled part of vmlib; use the package instead.",
    .m_size = -1,
    .m_methods = functions,
};

static int add_types(PyObject *module)
{
    PyTypeObject *const types[] = {&VM_Type,      &VCPU_Type,    &Region_Type,
                                   &Handler_Type, &Record_Type,  &Machine_Type,
                                   &Ring_Type,    &Console_Type, &Lockstep_Type};

    core_vcpu_type_init();
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (PyModule_AddType(module, types[i]) < 0)
            return -1;
    return 0;
}

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC PyInit__core(void)
{
    PyObject *module = PyModule_Create(&definition);

    if (!module)
        return NULL;
    if (PyModule_AddFunctions(module, core_handoff_functions) < 0 || core_errors_init(module) < 0 ||
        add_types(module) < 0 || core_records_init(module) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    (void)record_registers;
    return module;
}
