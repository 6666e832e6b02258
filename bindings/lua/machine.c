/* The PC bundle and the loaders of libvmlib-devices. */
#include "core.h"
#include "records.inc"

/* User values: 1 its VM, 2 a list of the consoles and sinks it writes to, 3 a list of other VMs it
 * knows, 4 the VM where it is. */
struct lua_machine {
    vmlib_machine *machine;      /* NULL: closed */
    unsigned running;            /* or in use by a console or a lockstep */
    struct lua_console *console; /* started, and not closed */
};

static struct lua_machine *machine_of(lua_State *L)
{
    struct lua_machine *self = luaL_checkudata(L, 1, TYPE_MACHINE);

    if (!self->machine)
        core_error_text(L, VMLIB_E_STATE, "machine: it is closed");
    return self;
}

/* Where output goes: to the function or console on top of the stack, or nowhere. Pops it. A
 * console belongs to one machine, because closing it takes its memory away. */
static vmlib_console_fn take_output(lua_State *L, int machine, void **opaque)
{
    struct lua_console *console = luaL_testudata(L, -1, TYPE_CONSOLE);
    const void *self = lua_touserdata(L, machine);
    vmlib_console_fn fn = NULL;

    if (console) {
        *opaque = core_console(L, -1);
        if (console->owner && console->owner != self)
            core_error_text(L, VMLIB_E_STATE, "console: it belongs to another machine");
        console->owner = self;
        fn = vmlib_console_output;
    } else if (!lua_isnil(L, -1)) {
        struct lua_sink *sink;

        luaL_argcheck(L, lua_isfunction(L, -1), 2, "expected a function or a console");
        core_vm_of(L, machine);
        sink = lua_newuserdatauv(L, sizeof(*sink), 0);
        sink->home = lua_touserdata(L, -2);
        sink->function = core_function_keep(L, lua_absindex(L, -2), lua_absindex(L, -3));
        *opaque = sink;
        fn = core_output;
        lua_replace(L, -3); /* in the place of the function */
        lua_pop(L, 1);
    }
    lua_getiuservalue(L, machine, 2); /* as long as the machine, so long its outputs */
    lua_insert(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
    return fn;
}

/* The consoles may go to other machines. */
static void leave_consoles(lua_State *L, int machine)
{
    const void *self = lua_touserdata(L, machine);

    lua_getiuservalue(L, machine, 2);
    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, -1); i++) {
        struct lua_console *console;

        lua_rawgeti(L, -1, i);
        console = luaL_testudata(L, -1, TYPE_CONSOLE);
        if (console && console->owner == self)
            console->owner = NULL;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* vmlib.machine(vm, {serial=function, debug=function, flags=, rtc_seconds=, timeout_ns=}) */
int core_machine_create(lua_State *L)
{
    struct vmlib_machine_config config = VMLIB_MACHINE_CONFIG_INIT;
    struct lua_vm *vm = core_vm(L, 1);
    struct lua_machine *self;
    int rc;

    lua_settop(L, 2);
    config.flags = (uint32_t)core_option(L, 2, "flags", 32, 0);
    config.rtc_seconds = core_option(L, 2, "rtc_seconds", 64, config.rtc_seconds);
    config.timeout_ns = core_option(L, 2, "timeout_ns", 64, 0);
    lua_settop(L, 2);
    for (int i = 0; i < 2; i++) { /* at 3 and 4 */
        lua_pushnil(L);
        if (!lua_isnil(L, 2)) {
            lua_pop(L, 1);
            lua_getfield(L, 2, i ? "debug" : "serial");
        }
    }
    self = lua_newuserdatauv(L, sizeof(*self), 4); /* at 5 */
    *self = (struct lua_machine){NULL, 0, NULL};
    luaL_setmetatable(L, TYPE_MACHINE);
    for (int i = 1; i <= 4; i++) {
        if (i == 1 || i == 4)
            lua_pushvalue(L, 1);
        else
            lua_newtable(L);
        lua_setiuservalue(L, 5, i);
    }
    lua_pushvalue(L, 3);
    config.serial = take_output(L, 5, &config.serial_opaque);
    lua_pushvalue(L, 4);
    config.debug = take_output(L, 5, &config.debug_opaque);
    rc = vmlib_machine_create(vm->vm, &config, &self->machine);
    if (rc < 0)
        leave_consoles(L, 5);
    return rc < 0 ? core_devices_error(L, rc) : 1;
}

static int machine_gc(lua_State *L)
{
    struct lua_machine *self = luaL_checkudata(L, 1, TYPE_MACHINE);
    struct lua_console *console = self->console;

    if (console) { /* both are garbage, and this one's turn came first: end the threads */
        vmlib_console_destroy(console->console);
        console->console = NULL;
        core_machine_detach(L, 1);
    }
    vmlib_machine_destroy(self->machine);
    self->machine = NULL;
    leave_consoles(L, 1);
    return 0;
}

vmlib_machine *core_machine(lua_State *L, int index)
{
    struct lua_machine *self = luaL_checkudata(L, index, TYPE_MACHINE);

    if (!self->machine)
        core_error_text(L, VMLIB_E_STATE, "machine: it is closed");
    return self->machine;
}

/* Where the machine is. It does not move while it runs. */
struct lua_vm *core_machine_vm(lua_State *L, int machine)
{
    struct lua_vm *vm;

    lua_getiuservalue(L, machine, 4);
    vm = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return vm;
}

void core_machine_attach(lua_State *L, int machine, struct lua_console *console)
{
    struct lua_machine *self = lua_touserdata(L, machine);

    self->console = console;
    self->running++;
    core_machine_vm(L, machine)->running++;
}

void core_machine_detach(lua_State *L, int machine)
{
    struct lua_machine *self = lua_touserdata(L, machine);

    self->console = NULL;
    self->running--;
    core_machine_vm(L, machine)->running--;
}

void core_machine_use(lua_State *L, int machine, int change)
{
    ((struct lua_machine *)lua_touserdata(L, machine))->running += (unsigned)change;
}

static int machine_close(lua_State *L)
{
    struct lua_machine *self = luaL_checkudata(L, 1, TYPE_MACHINE);

    if (self->running)
        return core_error_text(L, VMLIB_E_BUSY,
                               "machine: it runs, or a console or lockstep has it");
    return machine_gc(L);
}

static int add_ram(lua_State *L)
{
    return core_devices_check(L,
                              vmlib_machine_add_ram(machine_of(L)->machine, core_number(L, 2, 64)));
}

static int add_vcpu(lua_State *L)
{
    struct lua_machine *self = machine_of(L);
    vmlib_vcpu **vcpu;
    int vm;

    core_vm_of(L, 1);
    vm = lua_gettop(L);
    vcpu = core_vcpu_new(L, vm);
    core_devices_check(L, vmlib_machine_add_vcpu(self->machine, vcpu));
    core_vcpu_known(L, vm);
    return 1;
}

/* machine:add_disk(path or nil, {flags=, serial=, fd=}) */
static int add_disk(lua_State *L)
{
    struct vmlib_disk_config config = VMLIB_DISK_CONFIG_INIT;
    struct lua_machine *self = machine_of(L);

    config.path = luaL_optstring(L, 2, NULL);
    config.fd = (int32_t)(uint32_t)core_option(L, 3, "fd", 31, UINT32_MAX);
    config.flags = (uint32_t)core_option(L, 3, "flags", 32, 0);
    if (lua_istable(L, 3)) {
        lua_getfield(L, 3, "serial");
        config.serial = lua_tostring(L, -1);
    }
    return core_devices_check(L, vmlib_machine_add_disk(self->machine, &config));
}

static int add_console(lua_State *L)
{
    struct lua_machine *self = machine_of(L);
    void *opaque = NULL;
    vmlib_console_fn fn;

    lua_settop(L, 2);
    fn = take_output(L, 1, &opaque);
    return core_devices_check(L, vmlib_machine_add_console(self->machine, fn, opaque));
}

static int add_rng(lua_State *L)
{
    uint64_t seed = lua_isnoneornil(L, 2) ? 0 : core_number(L, 2, 64);

    return core_devices_check(L, vmlib_machine_add_rng(machine_of(L)->machine, seed));
}

/* --- boot --- */

/* The string that is member `name` of the table; NULL: there is none. It stays on the stack: the
 * table may have it from a metamethod. */
static const char *string_option(lua_State *L, int table, const char *name, size_t *bytes)
{
    if (lua_isnoneornil(L, table) || lua_getfield(L, table, name) == LUA_TNIL)
        return NULL;
    luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, table, name);
    return lua_tolstring(L, -1, bytes);
}

static void take_modules(lua_State *L, int table, struct core_boot *boot)
{
    int list;

    if (lua_isnoneornil(L, table) || lua_getfield(L, table, "modules") == LUA_TNIL)
        return;
    list = lua_gettop(L);
    luaL_checktype(L, list, LUA_TTABLE);
    luaL_argcheck(L, lua_rawlen(L, list) <= VMLIB_BOOT_MODULES_MAX, table, "too many modules");
    luaL_checkstack(L, 3 * (int)VMLIB_BOOT_MODULES_MAX + 16, "modules");
    for (unsigned i = 0; i < VMLIB_BOOT_MODULES_MAX && i < lua_rawlen(L, list); i++) {
        size_t bytes = 0;
        int module;

        lua_rawgeti(L, list, (lua_Integer)i + 1);
        module = lua_gettop(L);
        luaL_checktype(L, module, LUA_TTABLE);
        boot->modules[i].data = string_option(L, module, "data", &bytes);
        boot->modules[i].bytes = bytes;
        boot->modules[i].cmdline = string_option(L, module, "cmdline", &bytes);
        boot->params.module_count = i + 1;
    }
    boot->params.modules = boot->modules;
}

/* The ranges of the memory map: a list of BootMemory. */
static void take_memory(lua_State *L, int table, struct core_boot *boot)
{
    int list;

    if (lua_isnoneornil(L, table) || lua_getfield(L, table, "memory") == LUA_TNIL)
        return;
    list = lua_gettop(L);
    luaL_checktype(L, list, LUA_TTABLE);
    luaL_argcheck(L, lua_rawlen(L, list) <= VMLIB_BOOT_MEMORY_MAX, table, "too many ranges");
    for (unsigned i = 0; i < VMLIB_BOOT_MEMORY_MAX && i < lua_rawlen(L, list); i++) {
        lua_rawgeti(L, list, (lua_Integer)i + 1);
        memcpy(&boot->memory[i], core_record_check(L, -1, RECORD_BOOT_MEMORY),
               sizeof(boot->memory[i]));
        boot->params.memory_count = i + 1;
        lua_pop(L, 1);
    }
    boot->params.memory = boot->memory;
}

void core_boot_parse(lua_State *L, int kernel, int table, struct core_boot *boot)
{
    struct vmlib_boot_params *params = &boot->params;
    size_t bytes = 0;

    *boot = (struct core_boot){.params = VMLIB_BOOT_PARAMS_INIT};
    params->kernel = luaL_checklstring(L, kernel, &bytes);
    params->kernel_bytes = bytes;
    bytes = 0;
    params->initrd = string_option(L, table, "initrd", &bytes);
    params->initrd_bytes = bytes;
    params->cmdline = string_option(L, table, "cmdline", &bytes);
    params->format = (uint32_t)core_option(L, table, "format", 32, 0);
    params->load_address = core_option(L, table, "load_address", 64, 0);
    params->entry_offset = core_option(L, table, "entry_offset", 64, 0);
    params->entry_bits = (uint32_t)core_option(L, table, "entry_bits", 32, 0);
    params->rsdp = core_option(L, table, "rsdp", 64, 0);
    take_memory(L, table, boot);
    take_modules(L, table, boot);
}

/* vmlib.boot_load(vcpu, kernel, {initrd=, cmdline=, ...}) -> BootResult */
int core_boot_load(lua_State *L)
{
    struct vmlib_boot_result result = VMLIB_BOOT_RESULT_INIT;
    struct lua_vcpu *vcpu = core_vcpu(L, 1);
    struct core_boot boot;

    lua_settop(L, 3);
    core_boot_parse(L, 2, 3, &boot);
    core_devices_check(
        L, vmlib_boot_load(vmlib_vcpu_vm(vcpu->vcpu), vcpu->vcpu, &boot.params, &result));
    core_record_copy(L, RECORD_BOOT_RESULT, &result);
    return 1;
}

static int machine_boot(lua_State *L)
{
    struct vmlib_boot_result result = VMLIB_BOOT_RESULT_INIT;
    struct lua_machine *self = machine_of(L);
    struct core_boot boot;

    lua_settop(L, 3);
    core_boot_parse(L, 2, 3, &boot);
    core_devices_check(L, vmlib_machine_boot(self->machine, &boot.params, &result));
    core_record_copy(L, RECORD_BOOT_RESULT, &result);
    return 1;
}

/* --- run --- */

/* Begin a run of the vCPU at 2, wherever the machine is: handlers are those of the VM there, and
 * get its vCPU; outputs are those of the VM it was made in. */
static void begin(lua_State *L, struct lua_machine *self, struct lua_run *run)
{
    struct lua_vcpu *vcpu = core_vcpu(L, 2);
    struct lua_vm *home = core_vm_of(L, 1), *at;
    int outputs, where, place = 2;

    lua_getiuservalue(L, -1, 1);
    outputs = lua_gettop(L);
    lua_getiuservalue(L, 1, 4);
    where = lua_gettop(L);
    at = lua_touserdata(L, where);
    if (at->vm && at->vm != vmlib_vcpu_vm(vcpu->vcpu)) {
        vmlib_vcpu **there = core_vcpu_new(L, where);

        core_check(L, vmlib_vm_vcpu(at->vm, vmlib_vcpu_index(vcpu->vcpu), there));
        core_vcpu_known(L, where);
        place = lua_gettop(L);
    }
    core_run_begin(L, run, place, self->machine);
    run->home = home;
    run->outputs = outputs;
    self->running++;
}

static int end(lua_State *L, struct lua_machine *self, struct lua_run *run, int rc)
{
    self->running--;
    core_run_end(run);
    if (run->failed) {
        lua_pushvalue(L, run->error);
        return lua_error(L);
    }
    core_devices_check(L, rc);
    lua_settop(L, 3); /* the record */
    return 1;
}

static int run_vcpu(lua_State *L)
{
    struct vmlib_machine_result *result;
    struct lua_machine *self = machine_of(L);
    struct lua_vcpu *vcpu = core_vcpu(L, 2);
    struct lua_run run;

    lua_settop(L, 2);
    result = core_record_new(L, RECORD_MACHINE_RESULT);
    begin(L, self, &run);
    return end(L, self, &run, vmlib_machine_run_vcpu(self->machine, vcpu->vcpu, result));
}

/* machine:step(vcpu, [budget]) -> Exit */
static int machine_step(lua_State *L)
{
    uint64_t budget = lua_isnoneornil(L, 3) ? 0 : core_number(L, 3, 64);
    struct lua_machine *self = machine_of(L);
    struct lua_vcpu *vcpu = core_vcpu(L, 2);
    struct vmlib_exit *exit;
    struct lua_run run;

    lua_settop(L, 2);
    exit = core_record_new(L, RECORD_EXIT);
    begin(L, self, &run);
    return end(L, self, &run, vmlib_machine_step(self->machine, vcpu->vcpu, budget, exit));
}

/* --- other VMs --- */

static int machine_attach(lua_State *L)
{
    struct lua_machine *self = machine_of(L);
    struct lua_vm *vm = core_vm(L, 2);

    lua_getiuservalue(L, 1, 3);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    return core_devices_check(L, vmlib_machine_attach(self->machine, vm->vm));
}

static int machine_move(lua_State *L)
{
    struct lua_machine *self = machine_of(L);
    struct lua_vm *vm = core_vm(L, 2);

    if (self->running)
        return core_error_text(L, VMLIB_E_BUSY,
                               "machine: it runs, or a console or lockstep has it");
    core_devices_check(L, vmlib_machine_move(self->machine, vm->vm));
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, 1, 4);
    return 0;
}

static int machine_ram(lua_State *L)
{
    struct lua_machine *self = machine_of(L);

    lua_settop(L, 1);
    lua_getiuservalue(L, 1, 4);
    lua_newtable(L);
    for (uint32_t i = 0;; i++) {
        vmlib_region **region = core_region_new(L, 2);

        if (vmlib_machine_ram(self->machine, i, region) < 0)
            break;
        lua_rawseti(L, 3, (lua_Integer)i + 1);
    }
    lua_settop(L, 3);
    return 1;
}

static int machine_memory_map(lua_State *L)
{
    struct vmlib_boot_memory map[VMLIB_BOOT_MEMORY_MAX];
    uint32_t count = VMLIB_BOOT_MEMORY_MAX;

    core_devices_check(L, vmlib_machine_memory_map(machine_of(L)->machine, map, &count));
    lua_createtable(L, (int)count, 0);
    for (uint32_t i = 0; i < count; i++) {
        core_record_copy(L, RECORD_BOOT_MEMORY, &map[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* --- from any thread --- */

static int machine_stop(lua_State *L)
{
    return core_devices_check(L, vmlib_machine_stop(machine_of(L)->machine));
}

static int serial_input(lua_State *L)
{
    size_t bytes, taken = 0;
    const char *data = luaL_checklstring(L, 2, &bytes);

    core_devices_check(L, vmlib_machine_serial_input(machine_of(L)->machine, data, bytes, &taken));
    lua_pushinteger(L, (lua_Integer)taken);
    return 1;
}

static int console_input(lua_State *L)
{
    size_t bytes, taken = 0;
    const char *data = luaL_checklstring(L, 2, &bytes);

    core_devices_check(L, vmlib_machine_console_input(machine_of(L)->machine, data, bytes, &taken));
    lua_pushinteger(L, (lua_Integer)taken);
    return 1;
}

static int machine_stats(lua_State *L)
{
    struct lua_machine *self = machine_of(L);

    core_devices_check(
        L, vmlib_machine_stats(self->machine, core_record_new(L, RECORD_MACHINE_STATS)));
    return 1;
}

void core_machine_init(lua_State *L)
{
    static const luaL_Reg methods[] = {{"add_ram", add_ram},
                                       {"add_vcpu", add_vcpu},
                                       {"add_disk", add_disk},
                                       {"add_console", add_console},
                                       {"add_rng", add_rng},
                                       {"boot", machine_boot},
                                       {"run_vcpu", run_vcpu},
                                       {"step", machine_step},
                                       {"attach", machine_attach},
                                       {"move", machine_move},
                                       {"ram", machine_ram},
                                       {"memory_map", machine_memory_map},
                                       {"stop", machine_stop},
                                       {"serial_input", serial_input},
                                       {"console_input", console_input},
                                       {"stats", machine_stats},
                                       {"close", machine_close},
                                       {NULL, NULL}};

    core_push_type(L, TYPE_MACHINE, methods, machine_gc);
    lua_pushcfunction(L, machine_close);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
    (void)record_constants;
    (void)record_registers;
}
