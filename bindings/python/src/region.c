/* Regions: guest memory through the buffer protocol. */
#include "core.h"

PyObject *core_region_object(VM *vm, vmlib_region *region)
{
    Region *self = PyObject_GC_New(Region, &Region_Type);

    if (!self) {
        vmlib_region_unref(region);
        return NULL;
    }
    Py_INCREF(vm);
    self->vm = vm;
    self->region = region;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int region_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((Region *)object)->vm);
    return 0;
}

/* The region's handle stays until the end: buffers may look into it. */
static int region_clear(PyObject *object)
{
    Py_CLEAR(((Region *)object)->vm);
    return 0;
}

static void region_dealloc(PyObject *object)
{
    vmlib_region *region = ((Region *)object)->region;

    PyObject_GC_UnTrack(object);
    VMLIB_UNLOCKED(vmlib_region_unref(region));
    region_clear(object);
    PyObject_GC_Del(object);
}

static int region_buffer(PyObject *object, Py_buffer *view, int flags)
{
    Region *self = (Region *)object;
    uint64_t bytes = 0;
    void *host = NULL;

    if (vmlib_region_host(self->region, &host) < 0 ||
        vmlib_region_range(self->region, NULL, &bytes) < 0) {
        core_error(VMLIB_E_INTERNAL);
        view->obj = NULL;
        return -1;
    }
    return PyBuffer_FillInfo(view, object, host, (Py_ssize_t)bytes, 0, flags);
}

static Py_ssize_t region_length(PyObject *object)
{
    uint64_t bytes = 0;

    vmlib_region_range(((Region *)object)->region, NULL, &bytes);
    return (Py_ssize_t)bytes;
}

static PyObject *region_protect(PyObject *object, PyObject *args)
{
    uint32_t prot;
    int rc;

    if (!PyArg_ParseTuple(args, "O&", core_u32, &prot))
        return NULL;
    VMLIB_UNLOCKED(rc = vmlib_region_protect(((Region *)object)->region, prot));
    return core_none(rc);
}

static PyObject *region_remove(PyObject *object, PyObject *unused)
{
    int rc;

    (void)unused;
    VMLIB_UNLOCKED(rc = vmlib_region_remove(((Region *)object)->region));
    return core_none(rc);
}

static PyObject *region_written(PyObject *object, PyObject *args)
{
    uint64_t offset, bytes;
    int rc;

    if (!PyArg_ParseTuple(args, "O&O&", core_u64, &offset, core_u64, &bytes))
        return NULL;
    VMLIB_UNLOCKED(rc = vmlib_region_written(((Region *)object)->region, offset, bytes));
    return core_none(rc);
}

static PyObject *region_write(PyObject *object, PyObject *args)
{
    vmlib_region *region = ((Region *)object)->region;
    uint64_t offset, bytes = 0;
    void *host = NULL;
    Py_buffer data;
    int rc;

    if (!PyArg_ParseTuple(args, "O&y*", core_u64, &offset, &data))
        return NULL;
    vmlib_region_host(region, &host);
    vmlib_region_range(region, NULL, &bytes);
    if (offset > bytes || (uint64_t)data.len > bytes - offset) {
        PyBuffer_Release(&data);
        return core_error_text(VMLIB_E_RANGE, "offset + size is outside the region");
    }
    VMLIB_UNLOCKED(memmove((char *)host + offset, data.buf, (size_t)data.len);
                   rc = data.len ? vmlib_region_written(region, offset, (uint64_t)data.len) : 0);
    PyBuffer_Release(&data);
    return core_none(rc);
}

/* Numbers of the pages of the bitmap. */
static PyObject *page_list(const uint64_t *bitmap, uint64_t pages, uint64_t first)
{
    PyObject *list = PyList_New(0);

    for (uint64_t i = 0; list && i < pages; i++) {
        PyObject *number;

        if (!bitmap[i / 64]) {
            i |= 63; /* 64 clean pages at once */
            continue;
        }
        if (!(bitmap[i / 64] >> i % 64 & 1))
            continue;
        number = PyLong_FromUnsignedLongLong((first + i) * VMLIB_PAGE_SIZE);
        if (!number || PyList_Append(list, number) < 0)
            Py_CLEAR(list);
        Py_XDECREF(number);
    }
    return list;
}

static PyObject *region_dirty(PyObject *object, PyObject *args, PyObject *kwargs)
{
    CORE_KEYWORDS("clear", "offset", "size");
    vmlib_region *region = ((Region *)object)->region;
    uint64_t offset = 0, bytes = 0, all = 0, *bitmap;
    PyObject *result;
    int clear = 0, rc;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|pO&O&", keywords, &clear, core_u64, &offset,
                                     core_u64, &bytes))
        return NULL;
    vmlib_region_range(region, NULL, &all);
    if (bytes == 0 && offset < all)
        bytes = all - offset;
    if (bytes > all)
        return core_error_text(VMLIB_E_RANGE, "offset + size is outside the region");
    bitmap = PyMem_Calloc(bytes / VMLIB_PAGE_SIZE / 64 + 1, sizeof(*bitmap));
    if (!bitmap)
        return PyErr_NoMemory();
    VMLIB_UNLOCKED(
        rc = vmlib_region_dirty(region, offset, bytes, bitmap, clear ? VMLIB_DIRTY_CLEAR : 0));
    result = rc < 0 ? core_error(rc)
                    : page_list(bitmap, bytes / VMLIB_PAGE_SIZE, offset / VMLIB_PAGE_SIZE);
    PyMem_Free(bitmap);
    return result;
}

static PyObject *get_gpa(PyObject *object, void *closure)
{
    vmlib_gpa gpa = 0;

    (void)closure;
    vmlib_region_range(((Region *)object)->region, &gpa, NULL);
    return PyLong_FromUnsignedLongLong(gpa);
}

static PyObject *get_view(PyObject *object, void *closure)
{
    (void)closure;
    return PyMemoryView_FromObject(object);
}

static PyMethodDef methods[] = {
    {"protect", region_protect, METH_VARARGS,
     "protect(prot)\n\nChange the protection. When it returns, no vCPU uses the old one."},
    {"remove", region_remove, METH_NOARGS,
     "remove()\n\nTake the region out of the memory map. Buffers of it stay valid."},
    {"written", region_written, METH_VARARGS,
     "written(offset, size)\n\nTell the library that this part was written through a buffer: "
     "pages\n"
     "become dirty and code is read again."},
    {"write", region_write, METH_VARARGS, "write(offset, data)\n\nCopy, and tell the library."},
    {"share", CORE_WITH_KEYWORDS(core_region_share),
     "share(vm, prot=Prot.RWX, flags=0) -> Region\n\nPut the same bytes at the same place into "
     "another VM."},
    {"dirty", CORE_WITH_KEYWORDS(region_dirty),
     "dirty(clear=False, offset=0, size=0) -> list of offsets\n\nPages that have been written "
     "since\n"
     "creation or the last clear. Needs RegionFlag.DIRTY_LOG."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef members[] = {
    {"gpa", get_gpa, NULL, "guest-physical address of the first byte", NULL},
    {"view", get_view, NULL, "memoryview(region): the memory itself", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyBufferProcs buffer = {region_buffer, NULL};
static PySequenceMethods sequence = {.sq_length = region_length};

PyTypeObject Region_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "vmlib._core.Region",
    .tp_doc = "Memory of a guest; made by VM.memory(). memoryview(region) is the memory itself.",
    .tp_basicsize = sizeof(Region),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = region_dealloc,
    .tp_traverse = region_traverse,
    .tp_clear = region_clear,
    .tp_as_buffer = &buffer,
    .tp_as_sequence = &sequence,
    .tp_methods = methods,
    .tp_getset = members,
};
