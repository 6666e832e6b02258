/*
 * The Python module vmlib._core: what its files share.
 *
 * Rules. A call of the library that may wait for a vCPU is made without the interpreter lock
 * (VMLIB_UNLOCKED), and with a reference of its own, because another thread may close the object
 * meanwhile. Objects hold their VM object; the VM object owns the functions of handlers, so that
 * the garbage collector sees every cycle that goes through the library.
 */
#ifndef VMLIB_PYTHON_CORE_H
#define VMLIB_PYTHON_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

#include <vmlib/boot.h>
#include <vmlib/console.h>
#include <vmlib/devices/machine.h>
#include <vmlib/handoff.h>
#include <vmlib/lockstep.h>
#include <vmlib/mock.h>
#include <vmlib/pick.h>
#include <vmlib/vmlib.h>

struct hook;
struct record_type;

typedef struct VCPU VCPU;

typedef struct {
    PyObject_HEAD vmlib_vm *vm; /* NULL: closed */
    struct hook *hooks;
    PyObject *keep; /* list of buffers and regions that regions point into */
    PyObject *log;
    struct log_queue *queue; /* NULL: no log */
    PyObject *weak;
    unsigned running;             /* vCPUs inside run */
    VCPU *vcpus[VMLIB_MAX_VCPUS]; /* borrowed; those that Python has an object for */
} VM;

struct VCPU {
    PyObject_HEAD VM *vm;
    vmlib_vcpu *vcpu;
    uint32_t index;
    unsigned inside;        /* runs, and what else uses it with the interpreter lock given up */
    unsigned long owner;    /* thread that does; 0: one of a console's that has not called yet */
    unsigned long cancels;  /* calls of cancel() */
    struct vmlib_exit last; /* record that may wait for completion */
    PyObject *error[3];     /* exception of a callback, on its way to run's caller */
    PyObject *weak;
};

typedef struct {
    PyObject_HEAD VM *vm;
    vmlib_region *region;
} Region;

extern PyTypeObject VM_Type, VCPU_Type, Region_Type, Handler_Type, Record_Type, Machine_Type,
    Ring_Type, Console_Type, Lockstep_Type;

/* --- errors (error.c) --- */

/* Raise vmlib.Error with the library's detail text, or that of libvmlib-devices; returns NULL. */
PyObject *core_error(int code);
PyObject *core_devices_error(int code);
PyObject *core_error_text(int code, const char *detail);
/* None, or the error. */
PyObject *core_none(int code);
PyObject *core_devices_none(int code);
int core_errors_init(PyObject *module);
/* A member of an enumeration of vmlib.enums; plain int for values it does not have. */
PyObject *core_enum(const char *name, uint64_t value);
/* The class of handlers' answers. Borrowed. */
PyObject *core_answer_class(void);

/* --- records (record.c) --- */

int core_records_init(PyObject *module);
/* A new record with a copy of the struct. `id`: enum record_id. */
PyObject *core_record_copy(int id, const void *data);
/* A record that looks at the caller's struct until core_record_leave(). */
PyObject *core_record_borrow(int id, void *data);
/* Drops it; if somebody kept it, it gets a copy of its own. */
void core_record_leave(PyObject *record);
/* The struct of a record of this type, or NULL with TypeError. */
void *core_record_data(PyObject *object, int id);
bool core_record_is(PyObject *object, int id);

/* --- numbers --- */

/* An integer from 0 to `most`. False with an exception otherwise. */
bool core_number(PyObject *object, uint64_t most, uint64_t *value);
int core_u32(PyObject *object, void *value); /* converters for PyArg_Parse "O&" */
int core_u64(PyObject *object, void *value);

/* --- threads and signals (thread.c) --- */

/* Give the interpreter lock up and take it back; callbacks in between use core_enter(). */
void core_unlock(void);
void core_lock(void);
#define VMLIB_UNLOCKED(statement) \
    do {                          \
        core_unlock();            \
        statement;                \
        core_lock();              \
    } while (0)
/* Take the interpreter lock in a callback, whatever thread it is on. */
struct core_gil {
    PyThreadState *thread;
    PyGILState_STATE state;
};
struct core_gil core_enter(void);
void core_leave(struct core_gil gil);

/* SIGINT ends this run (or machine, or lockstep) as long as it is in progress. Main thread only,
 * else a no-op. */
struct core_target {
    vmlib_vcpu *vcpu;
    uint64_t generation;
    vmlib_machine *machine;
    vmlib_lockstep *lockstep;
};
void core_interrupt_begin(const struct core_target *target, struct core_target *before);
void core_interrupt_end(const struct core_target *before);
/* Since begin, a signal has come. */
bool core_interrupted(void);

/* --- objects --- */

/* Keep an object as long as the VM; false with an exception. The other one is for what failed. */
bool core_vm_keep(VM *vm, PyObject *object);
void core_vm_forget(VM *vm, PyObject *object);
/* Give the VM's messages to its log function. Runs Python code. */
void core_vm_deliver_log(VM *vm);

/* The VM's handle for a call; NULL with an exception when it is closed. Holds a reference of its
 * own. */
vmlib_vm *core_vm_use(VM *vm);
/* The vCPU's handle, borrowed (the caller holds the object); NULL with an exception when its VM is
 * closed. For calls of the vCPU's thread only, also when it runs on another thread: the library
 * looks for that, too, but between its look and its work the other thread may have begun, and some
 * backends then wait for the whole run. Here the interpreter lock is in between. */
vmlib_vcpu *core_vcpu_use(VCPU *vcpu);
vmlib_vcpu *core_vcpu_any(VCPU *vcpu); /* for calls of any thread */
/* Around what runs it. */
void core_vcpu_enter(VCPU *vcpu);
void core_vcpu_leave(VCPU *vcpu);
/* The object of a vCPU of the library. New reference. */
PyObject *core_vcpu_object(VM *vm, vmlib_vcpu *vcpu);
/* Keep the exception that is set for the caller of run: that of core_running, if there is one. */
void core_vcpu_keep_error(VCPU *vcpu);
/* Raise what was kept. False: nothing was. */
bool core_vcpu_raise_kept(VCPU *vcpu);
PyObject *core_region_object(VM *vm, vmlib_region *region);

/* handler.c */
int core_hooks_traverse(VM *vm, visitproc visit, void *arg);
void core_hooks_clear(VM *vm);
PyObject *core_handler(VM *vm, PyObject *args, PyObject *kwargs);
PyObject *core_doorbell(VM *vm, PyObject *args, PyObject *kwargs);
/* What a callback returned becomes its answer; negative with an exception. */
int core_decode(PyObject *result, struct vmlib_exit *exit);
/* vCPU that runs on this thread, for callbacks that do not say. Borrowed, may be NULL. */
extern _Thread_local VCPU *core_running;

/* The attributes of registers; before the type is made ready. */
void core_vcpu_type_init(void);

/* A CPUID model: from a sequence of leaves (-1 with an exception), and as a list. */
int core_take_leaves(PyObject *sequence, struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX]);
PyObject *core_leaf_list(const struct vmlib_cpuid_leaf *leaves, uint32_t count);
/* A sequence of features, as bits. */
bool core_features(PyObject *object, uint64_t *bits);

/* boot.c: keyword arguments of boot functions */
struct core_boot {
    struct vmlib_boot_params params;
    struct vmlib_boot_module *modules;
    struct vmlib_boot_memory memory[VMLIB_BOOT_MEMORY_MAX];
    Py_buffer *buffers;
    Py_ssize_t count;
};
bool core_boot_parse(struct core_boot *boot, PyObject *args, PyObject *kwargs);
void core_boot_free(struct core_boot *boot);
PyObject *core_boot_load(PyObject *self, PyObject *args, PyObject *kwargs);

/* kit.c */
PyObject *core_call(PyObject *object, PyObject *args, PyObject *kwargs);
PyObject *core_elf_symbol(PyObject *module, PyObject *args);

/* handoff.c */
extern PyMethodDef core_handoff_functions[];
PyObject *core_region_share(PyObject *object, PyObject *args, PyObject *kwargs);

/* machine.c and console.c know each other: a console's threads keep a machine busy. */
vmlib_machine *core_machine(PyObject *object);        /* NULL with an exception when it is closed */
vmlib_machine *core_machine_handle(PyObject *object); /* for threads without the interpreter lock */
void core_machine_runs(PyObject *object, int change);
vmlib_console *core_console(PyObject *object); /* NULL: no console, or closed */
/* A console belongs to one machine, because closing it takes its memory away. False with an
 * exception: it has another one. */
bool core_console_claim(PyObject *console, const void *machine);
void core_console_leave(PyObject *object, const void *machine); /* any object */

/* Of a PyMethodDef. */
#define CORE_WITH_KEYWORDS(function) \
    (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS
#define CORE_KEYWORDS(...) static char *keywords[] = {__VA_ARGS__, NULL}

#endif
