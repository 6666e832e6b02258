/*
 * Records of the library as Python objects: one type per struct, attributes from the generated
 * table. A part of a record (exit.pio) looks into its whole and holds it.
 */
#include "core.h"
#include "records.inc"

typedef struct {
    PyObject_HEAD const struct record_type *type;
    PyObject *whole; /* the record this is a part of, or NULL */
    char *data;      /* of a whole: own memory, or borrowed from a callback's caller */
    uint32_t offset; /* of a part */
    bool own;
} Record;

static PyTypeObject *types[RECORD_TYPES];

static char *data_of(Record *self)
{
    uint32_t offset = 0;

    for (; self->whole; self = (Record *)self->whole)
        offset += self->offset;
    return self->data + offset;
}

static Record *alloc_record(const struct record_type *type)
{
    PyTypeObject *class = types[type - record_types];
    Record *self = PyObject_New(Record, class);

    if (self) {
        self->type = type;
        self->whole = NULL;
        self->data = NULL;
        self->offset = 0;
        self->own = false;
    }
    return self;
}

static Record *own_record(const struct record_type *type)
{
    Record *self = alloc_record(type);

    if (!self)
        return NULL;
    self->data = PyMem_Calloc(1, type->bytes);
    self->own = true;
    if (!self->data) {
        Py_DECREF(self);
        PyErr_NoMemory();
        return NULL;
    }
    if (type->sized)
        memcpy(self->data, &type->bytes, sizeof(type->bytes));
    return self;
}

static void record_dealloc(PyObject *object)
{
    Record *self = (Record *)object;
    PyTypeObject *class = Py_TYPE(object);

    if (self->own)
        PyMem_Free(self->data);
    Py_XDECREF(self->whole);
    PyObject_Free(object);
    Py_DECREF(class);
}

PyObject *core_record_copy(int id, const void *data)
{
    Record *self = own_record(&record_types[id]);

    if (self)
        memcpy(self->data, data, self->type->bytes);
    return (PyObject *)self;
}

PyObject *core_record_borrow(int id, void *data)
{
    Record *self = alloc_record(&record_types[id]);

    if (self)
        self->data = data;
    return (PyObject *)self;
}

void core_record_leave(PyObject *object)
{
    Record *self = (Record *)object;

    if (Py_REFCNT(object) > 1) {
        char *copy = PyMem_Malloc(self->type->bytes);

        if (!copy)
            Py_FatalError("vmlib: no memory for a record that a callback has kept");
        memcpy(copy, self->data, self->type->bytes);
        self->data = copy;
        self->own = true;
    }
    Py_DECREF(object);
}

bool core_record_is(PyObject *object, int id)
{
    return Py_TYPE(object) == types[id];
}

void *core_record_data(PyObject *object, int id)
{
    if (!core_record_is(object, id)) {
        PyErr_Format(PyExc_TypeError, "expected a %s, not %s", record_types[id].name,
                     Py_TYPE(object)->tp_name);
        return NULL;
    }
    return data_of((Record *)object);
}

/* --- attributes --- */

static uint64_t load(const char *p, unsigned kind)
{
    switch (kind) {
    case RECORD_U8:
        return *(const uint8_t *)p;
    case RECORD_U16:
        return *(const uint16_t *)p;
    case RECORD_U32:
        return *(const uint32_t *)p;
    default:
        return *(const uint64_t *)p;
    }
}

static bool store(char *p, unsigned kind, PyObject *value)
{
    static const uint64_t most[] = {[RECORD_U8] = UINT8_MAX,
                                    [RECORD_U16] = UINT16_MAX,
                                    [RECORD_U32] = UINT32_MAX,
                                    [RECORD_U64] = UINT64_MAX};
    uint64_t number;

    if (kind == RECORD_I32) {
        long n = PyLong_AsLong(value);

        if (n == -1 && PyErr_Occurred())
            return false;
        if (n < INT32_MIN || n > INT32_MAX) {
            PyErr_Format(PyExc_OverflowError, "%ld has more than 32 bits", n);
            return false;
        }
        *(int32_t *)p = (int32_t)n;
        return true;
    }
    if (!core_number(value, most[kind], &number))
        return false;
    switch (kind) {
    case RECORD_U8:
        *(uint8_t *)p = (uint8_t)number;
        break;
    case RECORD_U16:
        *(uint16_t *)p = (uint16_t)number;
        break;
    case RECORD_U32:
        *(uint32_t *)p = (uint32_t)number;
        break;
    default:
        *(uint64_t *)p = number;
    }
    return true;
}

static unsigned width_of(unsigned kind)
{
    static const uint8_t width[] = {
        [RECORD_U8] = 1, [RECORD_U16] = 2, [RECORD_U32] = 4, [RECORD_U64] = 8, [RECORD_I32] = 4};
    return width[kind];
}

static PyObject *load_array(const char *p, const struct record_field *field)
{
    PyObject *tuple = PyTuple_New(field->count);

    for (unsigned i = 0; tuple && i < field->count; i++) {
        PyObject *item =
            PyLong_FromUnsignedLongLong(load(p + i * width_of(field->kind), field->kind));

        if (!item)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, item);
    }
    return tuple;
}

static PyObject *get_field(PyObject *object, void *closure)
{
    Record *self = (Record *)object;
    const struct record_field *field = closure;
    const char *p = data_of(self) + field->offset;

    if (field->kind == RECORD_STRUCT) {
        Record *part = alloc_record(field->type);

        if (part) {
            Py_INCREF(self);
            part->whole = object;
            part->offset = field->offset;
        }
        return (PyObject *)part;
    }
    if (field->kind == RECORD_TEXT)
        return PyUnicode_DecodeUTF8(p, (Py_ssize_t)strnlen(p, field->count), "replace");
    if (field->kind == RECORD_BYTES)
        return PyBytes_FromStringAndSize(p, field->count);
    if (field->count)
        return load_array(p, field);
    if (field->kind == RECORD_I32)
        return PyLong_FromLong(*(const int32_t *)p);
    if (field->values)
        return core_enum(field->values, load(p, field->kind));
    return PyLong_FromUnsignedLongLong(load(p, field->kind));
}

/* Bytes of exactly this length. */
static int set_bytes(char *p, const struct record_field *field, PyObject *value)
{
    Py_buffer buffer;

    if (PyObject_GetBuffer(value, &buffer, PyBUF_SIMPLE) < 0)
        return -1;
    if (buffer.len != field->count) {
        PyErr_Format(PyExc_ValueError, "%s takes %u bytes, not %zd", field->name, field->count,
                     buffer.len);
        PyBuffer_Release(&buffer);
        return -1;
    }
    memcpy(p, buffer.buf, field->count);
    PyBuffer_Release(&buffer);
    return 0;
}

static int set_array(Record *self, const struct record_field *field, PyObject *value)
{
    PyObject *list = PySequence_Tuple(value); /* may run Python code: addresses come after it */
    uint64_t buffer[64];
    char *p = (char *)buffer;

    if (!list)
        return -1;
    if (PyTuple_GET_SIZE(list) != field->count) {
        PyErr_Format(PyExc_ValueError, "%s takes %u values, not %zd", field->name, field->count,
                     PyTuple_GET_SIZE(list));
        Py_DECREF(list);
        return -1;
    }
    for (unsigned i = 0; i < field->count; i++) {
        if (!store(p + i * width_of(field->kind), field->kind, PyTuple_GET_ITEM(list, i))) {
            Py_DECREF(list);
            return -1;
        }
    }
    Py_DECREF(list);
    memcpy(data_of(self) + field->offset, p, (size_t)field->count * width_of(field->kind));
    return 0;
}

static int set_field(PyObject *object, PyObject *value, void *closure)
{
    Record *self = (Record *)object;
    const struct record_field *field = closure;
    const void *other;
    uint64_t scalar;

    if (!value) {
        PyErr_SetString(PyExc_TypeError, "members of records cannot be deleted");
        return -1;
    }
    if (field->kind == RECORD_STRUCT) {
        other = core_record_data(value, (int)(field->type - record_types));
        if (!other)
            return -1;
        memmove(data_of(self) + field->offset, other, field->type->bytes);
        return 0;
    }
    if (field->kind == RECORD_TEXT) {
        PyErr_Format(PyExc_AttributeError, "%s is read only", field->name);
        return -1;
    }
    if (field->kind == RECORD_BYTES)
        return set_bytes(data_of(self) + field->offset, field, value);
    if (field->count)
        return set_array(self, field, value);
    if (!store((char *)&scalar, field->kind, value))
        return -1;
    memcpy(data_of(self) + field->offset, &scalar, width_of(field->kind));
    return 0;
}

/* --- short cuts of exit records --- */

/* Member of the union that counts for a reason. */
static const struct record_field *member_of_reason(uint32_t reason)
{
    static const char *const name[VMLIB_EXIT_COUNT] = {
        [VMLIB_EXIT_PIO] = "pio",
        [VMLIB_EXIT_MMIO] = "mmio",
        [VMLIB_EXIT_MSR] = "msr",
        [VMLIB_EXIT_CPUID] = "cpuid",
        [VMLIB_EXIT_HYPERCALL] = "hypercall",
        [VMLIB_EXIT_EXCEPTION] = "exception",
        [VMLIB_EXIT_MEMORY_FAULT] = "memory_fault",
        [VMLIB_EXIT_DEBUG] = "debug",
        [VMLIB_EXIT_INTERRUPT_WINDOW] = "interrupt",
        [VMLIB_EXIT_INTERNAL] = "internal",
    };
    const struct record_type *type = &record_types[RECORD_EXIT];

    for (unsigned i = 0; i < type->count && reason < VMLIB_EXIT_COUNT && name[reason]; i++)
        if (strcmp(type->fields[i].name, name[reason]) == 0)
            return &type->fields[i];
    return NULL;
}

static PyObject *get_data(PyObject *object, void *closure)
{
    struct vmlib_exit *exit = (struct vmlib_exit *)data_of((Record *)object);
    const struct record_field *field = member_of_reason(exit->reason);

    (void)closure;
    if (!field)
        Py_RETURN_NONE;
    return get_field(object, (void *)(uintptr_t)field);
}

enum shortcut { PORT, ADDRESS, WIDTH, WRITE, VALUE };

static PyObject *no_shortcut(const struct vmlib_exit *exit, const char *name)
{
    const char *reason = vmlib_exit_name(exit->reason);

    PyErr_Format(PyExc_AttributeError, "%s exits have no %s", reason ? reason : "unknown", name);
    return NULL;
}

static PyObject *get_shortcut(PyObject *object, void *closure)
{
    static const char *const names[] = {"port", "address", "width", "write", "value"};
    struct vmlib_exit *exit = (struct vmlib_exit *)data_of((Record *)object);
    enum shortcut which = (enum shortcut)(uintptr_t)closure;

    if (exit->reason == VMLIB_EXIT_PIO) {
        const struct vmlib_exit_pio *pio = &exit->u.pio;

        return which == WRITE ? PyBool_FromLong(pio->write)
                              : PyLong_FromUnsignedLong(which == WIDTH   ? pio->width
                                                        : which == VALUE ? pio->value
                                                                         : pio->port);
    }
    if (exit->reason == VMLIB_EXIT_MMIO && which != PORT) {
        const struct vmlib_exit_mmio *mmio = &exit->u.mmio;

        return which == WRITE ? PyBool_FromLong(mmio->write)
                              : PyLong_FromUnsignedLongLong(which == WIDTH   ? mmio->width
                                                            : which == VALUE ? mmio->value
                                                                             : mmio->gpa);
    }
    if (exit->reason == VMLIB_EXIT_MSR && which == WRITE)
        return PyBool_FromLong(exit->u.msr.write);
    if (exit->reason == VMLIB_EXIT_MSR && which == VALUE)
        return PyLong_FromUnsignedLongLong(exit->u.msr.value);
    return no_shortcut(exit, names[which]);
}

static int set_value(PyObject *object, PyObject *value, void *closure)
{
    struct vmlib_exit *exit;
    uint64_t number;

    (void)closure;
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "members of records cannot be deleted");
        return -1;
    }
    if (!core_number(value, UINT64_MAX, &number))
        return -1;
    exit = (struct vmlib_exit *)data_of((Record *)object);
    if (exit->reason == VMLIB_EXIT_PIO && number <= UINT32_MAX) {
        exit->u.pio.value = (uint32_t)number;
    } else if (exit->reason == VMLIB_EXIT_MMIO) {
        exit->u.mmio.value = number;
    } else if (exit->reason == VMLIB_EXIT_MSR) {
        exit->u.msr.value = number;
    } else if (exit->reason == VMLIB_EXIT_PIO) {
        PyErr_SetString(PyExc_OverflowError, "a port's value has at most 32 bits");
        return -1;
    } else {
        no_shortcut(exit, "value");
        return -1;
    }
    return 0;
}

static const PyGetSetDef exit_extra[] = {
    {"port", get_shortcut, NULL, "port of a PIO exit", (void *)PORT},
    {"address", get_shortcut, NULL, "port or guest-physical address", (void *)ADDRESS},
    {"width", get_shortcut, NULL, "bytes of a PIO or MMIO access", (void *)WIDTH},
    {"write", get_shortcut, NULL, "True: the guest writes", (void *)WRITE},
    {"value", get_shortcut, set_value, "what the guest writes; the answer to a read",
     (void *)VALUE},
    {"data", get_data, NULL, "the part that belongs to the reason, or None", NULL},
};

/* --- the types --- */

static int type_index(PyTypeObject *class)
{
    for (int i = 0; i < RECORD_TYPES; i++)
        if (types[i] == class)
            return i;
    return -1;
}

static PyObject *record_new(PyTypeObject *class, PyObject *args, PyObject *kwargs)
{
    int id = type_index(class);
    PyObject *self, *key, *value;
    Py_ssize_t at = 0;

    if (id < 0) {
        PyErr_SetString(PyExc_TypeError, "Record has no instances of its own");
        return NULL;
    }
    if (PyTuple_GET_SIZE(args)) {
        PyErr_Format(PyExc_TypeError, "%s takes keyword arguments only", record_types[id].name);
        return NULL;
    }
    self = (PyObject *)own_record(&record_types[id]);
    while (self && kwargs && PyDict_Next(kwargs, &at, &key, &value))
        if (PyObject_SetAttr(self, key, value) < 0)
            Py_CLEAR(self);
    return self;
}

static PyObject *as_dict(PyObject *self, PyObject *unused)
{
    const struct record_type *type = ((Record *)self)->type;
    PyObject *dict = PyDict_New();

    (void)unused;
    for (unsigned i = 0; dict && i < type->count; i++) {
        PyObject *value = get_field(self, (void *)(uintptr_t)&type->fields[i]);

        if (value && type->fields[i].kind == RECORD_STRUCT)
            Py_SETREF(value, as_dict(value, NULL));
        if (!value || PyDict_SetItemString(dict, type->fields[i].name, value) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *record_copy(PyObject *self, PyObject *unused)
{
    (void)unused;
    return core_record_copy((int)(((Record *)self)->type - record_types), data_of((Record *)self));
}

static PyObject *record_raw(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyBytes_FromStringAndSize(data_of((Record *)self), ((Record *)self)->type->bytes);
}

/* The inverse of raw(). */
static PyObject *record_from_raw(PyObject *class, PyObject *bytes)
{
    int id = type_index((PyTypeObject *)class);
    Py_buffer buffer;
    Record *self;

    if (id < 0) {
        PyErr_SetString(PyExc_TypeError, "Record has no instances of its own");
        return NULL;
    }
    if (PyObject_GetBuffer(bytes, &buffer, PyBUF_SIMPLE) < 0)
        return NULL;
    if (buffer.len != (Py_ssize_t)record_types[id].bytes) {
        PyErr_Format(PyExc_ValueError, "%s has %u bytes, not %zd", record_types[id].name,
                     (unsigned)record_types[id].bytes, buffer.len);
        PyBuffer_Release(&buffer);
        return NULL;
    }
    self = own_record(&record_types[id]);
    if (self) {
        size_t skip = self->type->sized ? sizeof(self->type->bytes) : 0; /* its size is its own */

        memcpy(self->data + skip, (const char *)buffer.buf + skip, self->type->bytes - skip);
    }
    PyBuffer_Release(&buffer);
    return (PyObject *)self;
}

static PyObject *record_reduce(PyObject *self, PyObject *unused)
{
    PyObject *make = PyObject_GetAttrString((PyObject *)Py_TYPE(self), "from_raw");

    (void)unused;
    return make ? Py_BuildValue("N(N)", make, record_raw(self, NULL)) : NULL;
}

static PyObject *record_repr(PyObject *self)
{
    const struct record_type *type = ((Record *)self)->type;
    PyObject *parts = PyList_New(0), *comma, *joined = NULL, *text;

    for (unsigned i = 0; parts && i < type->count; i++) {
        const struct record_field *field = &type->fields[i];
        PyObject *value, *part;

        if (field->kind == RECORD_STRUCT || (field->kind != RECORD_TEXT && field->count > 16))
            continue;
        value = get_field(self, (void *)(uintptr_t)field);
        if (value && field->kind == RECORD_U64 && !field->count)
            Py_SETREF(value, PyNumber_ToBase(value, 16));
        part = value ? PyUnicode_FromFormat(
                           PyUnicode_Check(value) && field->kind == RECORD_U64 ? "%s=%S" : "%s=%R",
                           field->name, value)
                     : NULL;
        if (!part || PyList_Append(parts, part) < 0)
            Py_CLEAR(parts);
        Py_XDECREF(part);
        Py_XDECREF(value);
    }
    comma = PyUnicode_FromString(", ");
    if (parts && comma)
        joined = PyUnicode_Join(comma, parts);
    text = joined ? PyUnicode_FromFormat("%s(%U)", type->name, joined) : NULL;
    Py_XDECREF(parts);
    Py_XDECREF(comma);
    Py_XDECREF(joined);
    return text;
}

static PyObject *record_compare(PyObject *a, PyObject *b, int op)
{
    bool same;

    if ((op != Py_EQ && op != Py_NE) || Py_TYPE(a) != Py_TYPE(b))
        Py_RETURN_NOTIMPLEMENTED;
    same = memcmp(data_of((Record *)a), data_of((Record *)b), ((Record *)a)->type->bytes) == 0;
    return PyBool_FromLong(same == (op == Py_EQ));
}

static PyMethodDef record_methods[] = {
    {"asdict", as_dict, METH_NOARGS, "asdict() -> dict of all members, nested"},
    {"copy", record_copy, METH_NOARGS, "copy() -> a record of its own with the same values"},
    {"raw", record_raw, METH_NOARGS, "raw() -> the bytes of the C struct"},
    {"from_raw", record_from_raw, METH_O | METH_CLASS,
     "from_raw(bytes) -> a record with these bytes, from raw() of the same version"},
    {"__copy__", record_copy, METH_NOARGS, NULL},
    {"__reduce__", record_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyTypeObject Record_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "vmlib._core.Record",
    .tp_doc = "A struct of the library with its members as attributes.",
    .tp_basicsize = sizeof(Record),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_dealloc = record_dealloc,
    .tp_new = record_new,
    .tp_repr = record_repr,
    .tp_hash = PyObject_HashNotImplemented,
    .tp_richcompare = record_compare,
    .tp_methods = record_methods,
};

static PyTypeObject *make_type(int id)
{
    const struct record_type *type = &record_types[id];
    const unsigned extra = id == RECORD_EXIT ? sizeof(exit_extra) / sizeof(exit_extra[0]) : 0;
    /* Both live as long as the type: until the process ends. */
    PyGetSetDef *members = PyMem_Calloc(type->count + extra + 1, sizeof(*members));
    char *name = PyMem_Malloc(64);
    PyType_Slot slots[] = {{Py_tp_getset, members},
                           {Py_tp_dealloc, (void *)record_dealloc},
                           {Py_tp_new, (void *)record_new},
                           {0, NULL}};
    PyType_Spec spec = {name, sizeof(Record), 0, Py_TPFLAGS_DEFAULT, slots};
    PyObject *bases, *class;

    if (!members || !name)
        return (PyTypeObject *)PyErr_NoMemory();
    snprintf(name, 64, "vmlib._core.%s", type->name);
    for (unsigned i = 0; i < type->count; i++)
        members[i] = (PyGetSetDef){type->fields[i].name, get_field, set_field, NULL,
                                   (void *)(uintptr_t)&type->fields[i]};
    if (extra)
        memcpy(members + type->count, exit_extra, sizeof(exit_extra));
    bases = PyTuple_Pack(1, &Record_Type);
    class = bases ? PyType_FromSpecWithBases(&spec, bases) : NULL;
    Py_XDECREF(bases);
    return (PyTypeObject *)class;
}

int core_records_init(PyObject *module)
{
    PyObject *constants;

    if (PyType_Ready(&Record_Type) < 0)
        return -1;
    for (int i = 0; i < RECORD_TYPES; i++) {
        types[i] = make_type(i);
        if (!types[i] ||
            PyModule_AddObjectRef(module, record_types[i].name, (PyObject *)types[i]) < 0)
            return -1;
    }
    /* For the test that the generated numbers are those of the compiler. */
    constants = PyDict_New();
    for (size_t i = 0; constants && i < sizeof(record_constants) / sizeof(record_constants[0]);
         i++) {
        PyObject *pair =
            Py_BuildValue("Ls", (long long)record_constants[i].value, record_constants[i].kind);

        if (!pair || PyDict_SetItemString(constants, record_constants[i].name, pair) < 0)
            Py_CLEAR(constants);
        Py_XDECREF(pair);
    }
    if (!constants || PyModule_AddObject(module, "_constants", constants) < 0) {
        Py_XDECREF(constants);
        return -1;
    }
    (void)record_registers;
    return 0;
}
