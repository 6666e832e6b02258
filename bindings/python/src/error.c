/* Exceptions, enumerations and number conversion for the Python module. */
#include "core.h"

static PyObject *make_error;  /* vmlib.errors.make */
static PyObject *enum_module; /* vmlib.enums */
static PyObject *enum_cache;  /* name -> {value: member} */
static PyObject *answer;

int core_errors_init(PyObject *module)
{
    PyObject *errors = PyImport_ImportModule("vmlib.errors");

    if (!errors)
        return -1;
    make_error = PyObject_GetAttrString(errors, "make");
    enum_module = PyImport_ImportModule("vmlib.enums");
    enum_cache = PyDict_New();
    if (make_error && enum_module && enum_cache)
        answer = PyObject_GetAttrString(enum_module, "Answer");
    (void)module;
    Py_DECREF(errors);
    return answer ? 0 : -1;
}

PyObject *core_answer_class(void)
{
    return answer;
}

PyObject *core_error_text(int code, const char *detail)
{
    PyObject *error = PyObject_CallFunction(make_error, "iss", code, vmlib_strerror(code), detail);

    if (error) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

PyObject *core_error(int code)
{
    return core_error_text(code, vmlib_last_error());
}

PyObject *core_devices_error(int code)
{
    return core_error_text(code, vmlib_devices_last_error());
}

PyObject *core_none(int code)
{
    if (code < 0)
        return core_error(code);
    Py_RETURN_NONE;
}

PyObject *core_devices_none(int code)
{
    if (code < 0)
        return core_devices_error(code);
    Py_RETURN_NONE;
}

static PyObject *members_of(const char *name)
{
    PyObject *cache = PyDict_GetItemString(enum_cache, name);

    if (cache)
        return cache;
    cache = PyDict_New();
    if (cache && PyDict_SetItemString(enum_cache, name, cache) < 0)
        Py_CLEAR(cache);
    Py_XDECREF(cache); /* the dictionary has it */
    return cache;
}

PyObject *core_enum(const char *name, uint64_t value)
{
    PyObject *cache = members_of(name), *key = PyLong_FromUnsignedLongLong(value), *member, *class;

    if (!cache || !key) {
        Py_XDECREF(key);
        return NULL;
    }
    member = PyDict_GetItemWithError(cache, key);
    if (member || PyErr_Occurred()) {
        Py_DECREF(key);
        Py_XINCREF(member);
        return member;
    }
    class = PyObject_GetAttrString(enum_module, name);
    member = class ? PyObject_CallOneArg(class, key) : NULL;
    Py_XDECREF(class);
    if (!member) {
        PyErr_Clear(); /* a value this version does not know */
        return key;
    }
    if (PyDict_GET_SIZE(cache) < 64 && PyDict_SetItem(cache, key, member) < 0)
        PyErr_Clear(); /* it is only a cache */
    Py_DECREF(key);
    return member;
}

bool core_number(PyObject *object, uint64_t most, uint64_t *value)
{
    PyObject *index;
    unsigned long long number;

    if (PyLong_CheckExact(object)) {
        Py_INCREF(object);
        index = object;
    } else {
        index = PyNumber_Index(object);
        if (!index)
            return false;
    }
    number = PyLong_AsUnsignedLongLong(index);
    Py_DECREF(index);
    if (number == (unsigned long long)-1 && PyErr_Occurred())
        return false;
    if (number > most) {
        PyErr_Format(PyExc_OverflowError, "%llu is too large: at most %llu", number,
                     (unsigned long long)most);
        return false;
    }
    *value = number;
    return true;
}

int core_u32(PyObject *object, void *value)
{
    uint64_t number;

    if (!core_number(object, UINT32_MAX, &number))
        return 0;
    *(uint32_t *)value = (uint32_t)number;
    return 1;
}

int core_u64(PyObject *object, void *value)
{
    return core_number(object, UINT64_MAX, value);
}
