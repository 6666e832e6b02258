/*
 * The Lua module: what its files share.
 *
 * Rules. No Lua error may cross a frame of the library, so callbacks run under lua_pcall() and
 * everything they need is created before the run begins. Functions of handlers live in a table that
 * belongs to the VM object, never in the registry, so that the collector sees every cycle.
 *
 * Whatever makes an object, and whatever reads a table of options, may run finalizers or
 * metamethods, and these may close anything: handles of the library are read after that, not
 * before. Memory that the library points into has no finalizer of its own: it stays as long as an
 * object whose turn has not come can reach it.
 */
#ifndef VMLIB_LUA_CORE_H
#define VMLIB_LUA_CORE_H

#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include <vmlib/boot.h>
#include <vmlib/console.h>
#include <vmlib/devices/machine.h>
#include <vmlib/handoff.h>
#include <vmlib/lockstep.h>
#include <vmlib/mock.h>
#include <vmlib/pick.h>
#include <vmlib/vmlib.h>

#define TYPE_VM      "vmlib.VM"
#define TYPE_VCPU    "vmlib.VCPU"
#define TYPE_REGION  "vmlib.Region"
#define TYPE_BUFFER  "vmlib.Buffer"
#define TYPE_HANDLER "vmlib.Handler"
#define TYPE_MACHINE "vmlib.Machine"
#define TYPE_CONSOLE "vmlib.Console"

struct record_type;

/* User values of a VM: 1 its functions by number, 2 its vCPU objects by index (weak), 3 a list of
 * the buffers and regions that its regions point into, 4 the log queue, whose user value 1 is the
 * function. */
struct lua_vm {
    vmlib_vm *vm;  /* NULL: closed */
    int functions; /* numbers given so far */
    unsigned running;
    struct log_queue *log; /* NULL: none */
};

/* User value 1 of everything else: its VM. */
struct lua_vcpu {
    vmlib_vcpu *vcpu;
    bool elsewhere; /* a console's thread runs it */
    struct vmlib_exit last;
};

/* A record: own memory behind it, or a look into somebody's (`data` of a callback's caller; of a
 * whole, user value 1, at `offset`). */
struct lua_record {
    const struct record_type *type;
    char *data;
    struct lua_record *whole;
    uint32_t offset;
};

/* User values: 1 its machine, 2 a table of its vCPUs. */
struct lua_console {
    vmlib_console *console; /* NULL: closed */
    const void *owner;      /* the machine that writes to it; NULL: none */
    bool started;
};

/* --- errors --- */

/* Raise an error object with the library's detail text. */
int core_error(lua_State *L, int code);
int core_devices_error(lua_State *L, int code);
/* 0, or the error. */
int core_check(lua_State *L, int code);
int core_devices_check(lua_State *L, int code);
int core_error_text(lua_State *L, int code, const char *detail);
void core_errors_init(lua_State *L);

/* --- record.c --- */

/* Push a record with memory of its own; returns that memory. */
void *core_record_new(lua_State *L, int id);
void core_record_copy(lua_State *L, int id, const void *data);
/* The struct of the record at `index`; raises an error for anything else. */
void *core_record_check(lua_State *L, int index, int id);
/* NULL for anything else. */
void *core_record_test(lua_State *L, int index, int id);
void core_records_init(lua_State *L);
void core_push_type(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc);
/* Assign each member of the table at `table` to the record on top. */
void core_record_fill(lua_State *L, int table);

/* --- numbers --- */

/* An integer that fits `bits` bits, unsigned; 64: any. */
uint64_t core_number(lua_State *L, int index, unsigned bits);
/* Member of the table of options at `index` (which may be absent), or the default. */
uint64_t core_option(lua_State *L, int index, const char *name, unsigned bits, uint64_t otherwise);
bool core_option_flag(lua_State *L, int index, const char *name);

/* --- objects --- */

struct lua_vm *core_vm(lua_State *L, int index); /* open ones only */
/* For calls of the vCPU's thread: not when a console runs it. The library looks for that, too, but
 * between its look and its work a run may begin, and some backends then wait for its end. */
struct lua_vcpu *core_vcpu(lua_State *L, int index);
struct lua_vcpu *core_vcpu_any(lua_State *L, int index); /* for calls of any thread */
/* Push a vCPU object of the VM at `vm` (an absolute index) without a vCPU; its handle is to be
 * filled. Objects come before what they hold: making one may fail. */
vmlib_vcpu **core_vcpu_new(lua_State *L, int vm);
/* The vCPU object on top may be one that the VM has an object for already: then it becomes that. */
void core_vcpu_known(lua_State *L, int vm);
/* The VM behind the object at `index`: pushes it. */
struct lua_vm *core_vm_of(lua_State *L, int index);
/* Give the script the messages that its VM has for it; whoever calls it reads handles after it. */
void core_log_deliver(lua_State *L, int vm);
/* Keep the function at `index` in the VM at `vm`; returns its number. */
int core_function_keep(lua_State *L, int vm, int index);
void core_function_drop(lua_State *L, int vm, int number);

/* --- runs: what callbacks on this thread need --- */

struct lua_run {
    lua_State *L;
    int functions, outputs, vcpu, exit, error; /* places in the stack */
    const void *vm, *home;     /* whose functions and outputs these are: struct lua_vm, as a name */
    struct lua_record *record; /* the one at `exit` */
    vmlib_vcpu *running;
    vmlib_machine *machine; /* NULL: a plain vCPU */
    vmlib_lockstep *lockstep;
    bool failed; /* the error is in its place */
    struct lua_run *outer;
    /* Ctrl-C */
    uint64_t generation;
};
extern _Thread_local struct lua_run *core_run;

/* Prepare; `vcpu` is the object's index, its VM is pushed. */
void core_run_begin(lua_State *L, struct lua_run *run, int vcpu, vmlib_machine *machine);
/* The two halves of it: only the first one may raise an error. */
void core_run_prepare(lua_State *L, struct lua_run *run, int vcpu, vmlib_machine *machine);
void core_run_start(struct lua_run *run);
void core_run_end(struct lua_run *run);
/* Call the function on top of the stack for a record; `who` is the place of its first argument,
 * `otherwise` the answer when it returns nothing. Pops the function. */
int core_run_ask(struct lua_run *run, int who, int otherwise, struct vmlib_exit *exit);
/* The error on top becomes that of the run. */
void core_run_fail(struct lua_run *run);
int core_handler_add(lua_State *L);
int core_doorbell_add(lua_State *L);

/* An output's function: number `function` of the VM whose struct lua_vm is `home`. */
struct lua_sink {
    const void *home;
    int function;
};
void core_output(void *opaque, const void *data, size_t bytes);

void core_vm_init(lua_State *L);
void core_vcpu_init(lua_State *L);
void core_region_init(lua_State *L);
void core_handler_init(lua_State *L);
void core_machine_init(lua_State *L);
int core_region_create(lua_State *L);
int core_buffer_create(lua_State *L);
vmlib_region *core_region(lua_State *L, int index);
vmlib_region **core_region_new(lua_State *L, int vm); /* as core_vcpu_new() */
/* Keep the object at `index` as long as the VM at `vm`. */
void core_vm_keep(lua_State *L, int vm, int index);
void core_vm_forget(lua_State *L, int vm); /* the last one: it was for something that failed */
/* A CPUID model: from the list at `index`, and as a list. */
uint32_t core_take_leaves(lua_State *L, int index, struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX]);
void core_push_leaves(lua_State *L, const struct vmlib_cpuid_leaf *leaves, uint32_t count);
/* Bits of the list of features at `index`, or 0. */
uint64_t core_features(lua_State *L, int index);

/* What a boot function's table says. Its strings are on the stack. */
struct core_boot {
    struct vmlib_boot_params params;
    struct vmlib_boot_module modules[VMLIB_BOOT_MODULES_MAX];
    struct vmlib_boot_memory memory[VMLIB_BOOT_MEMORY_MAX];
};
void core_boot_parse(lua_State *L, int kernel, int table, struct core_boot *boot);
int core_boot_load(lua_State *L);
int core_vm_create(lua_State *L);
int core_machine_create(lua_State *L);

/* kit.c */
void core_kit_init(lua_State *L);
int core_ring_create(lua_State *L);
int core_call(lua_State *L);
int core_elf_symbol(lua_State *L);
int core_double(lua_State *L);

/* console.c and machine.c know each other: a console's threads keep a machine busy, and whichever
 * the collector ends first ends the threads. */
void core_console_init(lua_State *L);
int core_console_create(lua_State *L);
vmlib_console *core_console(lua_State *L, int index);
vmlib_machine *core_machine(lua_State *L, int index);
void core_machine_attach(lua_State *L, int machine, struct lua_console *console);
void core_machine_detach(lua_State *L, int machine);
/* The VM where it is. */
struct lua_vm *core_machine_vm(lua_State *L, int machine);
/* A lockstep has the machine: it cannot be closed. */
void core_machine_use(lua_State *L, int machine, int change);

/* handoff.c, lockstep.c */
int core_backend_pick(lua_State *L);
int core_handoff_cpuid(lua_State *L);
int core_handoff_memory(lua_State *L);
int core_handoff_vcpu(lua_State *L);
int core_region_share(lua_State *L);
void core_lockstep_init(lua_State *L);
int core_lockstep_create(lua_State *L);

#endif
