/* The PC bundle and the loaders of libvmlib-devices. */
#include "core.h"
#include "records.inc"

/* User values: 1 its VM, 2 a table of the consoles it writes to. */
struct lua_machine {
    vmlib_machine *machine; /* NULL: closed */
    unsigned running;
    struct lua_console *console; /* started, and not closed */
};

static struct lua_machine *machine_of(lua_State *L)
{
    struct lua_machine *self = luaL_checkudata(L, 1, TYPE_MACHINE);

    if (!self->machine)
        core_error_text(L, VMLIB_E_STATE, "machine: it is closed");
    return self;
}

static int check(lua_State *L, int code)
{
    return code < 0 ? core_devices_error(L, code) : 0;
}

/* Where output goes: to the function or console on top of the stack, or nowhere. Pops it. */
static vmlib_console_fn take_output(lua_State *L, int machine, void **opaque)
{
    vmlib_console_fn fn = NULL;

    if (luaL_testudata(L, -1, TYPE_CONSOLE)) {
        *opaque = core_console(L, -1);
        fn = vmlib_console_output;
        lua_getiuservalue(L, machine, 2); /* as long as the machine, so long the console */
        lua_pushvalue(L, -2);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        lua_pop(L, 1);
    } else if (!lua_isnil(L, -1)) {
        luaL_argcheck(L, lua_isfunction(L, -1), 2, "expected a function or a console");
        core_vm_of(L, machine);
        *opaque = (void *)(intptr_t)core_function_keep(L, lua_gettop(L), lua_gettop(L) - 1);
        fn = core_output;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return fn;
}

static vmlib_console_fn output_option(lua_State *L, const char *name, int machine, void **opaque)
{
    if (lua_isnoneornil(L, 2))
        return NULL;
    lua_getfield(L, 2, name);
    return take_output(L, machine, opaque);
}

/* vmlib.machine(vm, {serial=function, debug=function, flags=, rtc_seconds=, timeout_ns=}) */
int core_machine_create(lua_State *L)
{
    struct vmlib_machine_config config = VMLIB_MACHINE_CONFIG_INIT;
    struct lua_vm *vm = core_vm(L, 1);
    struct lua_machine *self;

    lua_settop(L, 2);
    config.flags = (uint32_t)core_option(L, 2, "flags", 32, 0);
    config.rtc_seconds = core_option(L, 2, "rtc_seconds", 64, config.rtc_seconds);
    config.timeout_ns = core_option(L, 2, "timeout_ns", 64, 0);
    self = lua_newuserdatauv(L, sizeof(*self), 2); /* at 3 */
    *self = (struct lua_machine){NULL, 0, NULL};
    luaL_setmetatable(L, TYPE_MACHINE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 2);
    config.serial = output_option(L, "serial", 3, &config.serial_opaque);
    config.debug = output_option(L, "debug", 3, &config.debug_opaque);
    check(L, vmlib_machine_create(vm->vm, &config, &self->machine));
    return 1;
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
    return 0;
}

vmlib_machine *core_machine(lua_State *L, int index)
{
    struct lua_machine *self = luaL_checkudata(L, index, TYPE_MACHINE);

    if (!self->machine)
        core_error_text(L, VMLIB_E_STATE, "machine: it is closed");
    return self->machine;
}

void core_machine_attach(lua_State *L, int machine, struct lua_console *console)
{
    struct lua_machine *self = lua_touserdata(L, machine);

    self->console = console;
    self->running++;
    core_vm_of(L, machine)->running++;
    lua_pop(L, 1);
}

void core_machine_detach(lua_State *L, int machine)
{
    struct lua_machine *self = lua_touserdata(L, machine);

    self->console = NULL;
    self->running--;
    core_vm_of(L, machine)->running--;
    lua_pop(L, 1);
}

static int machine_close(lua_State *L)
{
    struct lua_machine *self = luaL_checkudata(L, 1, TYPE_MACHINE);

    if (self->running)
        return core_error_text(L, VMLIB_E_BUSY, "machine: a vCPU is running");
    return machine_gc(L);
}

static int add_ram(lua_State *L)
{
    return check(L, vmlib_machine_add_ram(machine_of(L)->machine, core_number(L, 2, 64)));
}

static int add_vcpu(lua_State *L)
{
    struct lua_machine *self = machine_of(L);
    vmlib_vcpu *vcpu;

    check(L, vmlib_machine_add_vcpu(self->machine, &vcpu));
    core_vm_of(L, 1);
    core_vcpu_push(L, -1, vcpu);
    vmlib_vcpu_unref(vcpu);
    return 1;
}

/* machine:add_disk(path, {flags=, serial=}) */
static int add_disk(lua_State *L)
{
    struct vmlib_disk_config config = VMLIB_DISK_CONFIG_INIT;
    struct lua_machine *self = machine_of(L);

    config.path = luaL_checkstring(L, 2);
    config.flags = (uint32_t)core_option(L, 3, "flags", 32, 0);
    if (lua_istable(L, 3)) {
        lua_getfield(L, 3, "serial");
        config.serial = lua_tostring(L, -1);
    }
    return check(L, vmlib_machine_add_disk(self->machine, &config));
}

static int add_console(lua_State *L)
{
    struct lua_machine *self = machine_of(L);
    void *opaque = NULL;
    vmlib_console_fn fn;

    lua_settop(L, 2);
    fn = take_output(L, 1, &opaque);
    return check(L, vmlib_machine_add_console(self->machine, fn, opaque));
}

static int add_rng(lua_State *L)
{
    uint64_t seed = lua_isnoneornil(L, 2) ? 0 : core_number(L, 2, 64);

    return check(L, vmlib_machine_add_rng(machine_of(L)->machine, seed));
}

/* --- boot --- */

/* The string that is member `name` of the table; NULL: there is none. */
static const char *string_option(lua_State *L, int table, const char *name, size_t *bytes)
{
    const char *text = NULL;

    if (lua_isnoneornil(L, table))
        return NULL;
    if (lua_getfield(L, table, name) != LUA_TNIL) {
        luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, table, name);
        text = lua_tolstring(L, -1, bytes);
    }
    lua_pop(L, 1); /* the table has it */
    return text;
}

static void take_modules(lua_State *L, int table, struct core_boot *boot)
{
    if (lua_isnoneornil(L, table))
        return;
    if (lua_getfield(L, table, "modules") != LUA_TNIL) {
        luaL_checktype(L, -1, LUA_TTABLE);
        luaL_argcheck(L, lua_rawlen(L, -1) <= VMLIB_BOOT_MODULES_MAX, table, "too many modules");
        for (unsigned i = 0; i < lua_rawlen(L, -1); i++) {
            size_t bytes = 0;

            lua_rawgeti(L, -1, (lua_Integer)i + 1);
            luaL_checktype(L, -1, LUA_TTABLE);
            boot->modules[i].data = string_option(L, lua_gettop(L), "data", &bytes);
            boot->modules[i].bytes = bytes;
            boot->modules[i].cmdline = string_option(L, lua_gettop(L), "cmdline", &bytes);
            boot->params.module_count = i + 1;
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    boot->params.modules = boot->modules;
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
    check(L, vmlib_boot_load(vmlib_vcpu_vm(vcpu->vcpu), vcpu->vcpu, &boot.params, &result));
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
    check(L, vmlib_machine_boot(self->machine, &boot.params, &result));
    core_record_copy(L, RECORD_BOOT_RESULT, &result);
    return 1;
}

/* --- run --- */

static int run_vcpu(lua_State *L)
{
    struct vmlib_machine_result *result;
    struct lua_machine *self = machine_of(L);
    struct lua_vcpu *vcpu = core_vcpu(L, 2);
    struct lua_run run;
    int rc;

    lua_settop(L, 2);
    result = core_record_new(L, RECORD_MACHINE_RESULT);
    core_run_begin(L, &run, 2, self->machine);
    self->running++;
    rc = vmlib_machine_run_vcpu(self->machine, vcpu->vcpu, result);
    self->running--;
    core_run_end(&run);
    if (run.failed) {
        lua_pushvalue(L, run.error);
        return lua_error(L);
    }
    check(L, rc);
    lua_settop(L, 3);
    return 1;
}

static int machine_stop(lua_State *L)
{
    return check(L, vmlib_machine_stop(machine_of(L)->machine));
}

static int serial_input(lua_State *L)
{
    size_t bytes, taken = 0;
    const char *data = luaL_checklstring(L, 2, &bytes);

    check(L, vmlib_machine_serial_input(machine_of(L)->machine, data, bytes, &taken));
    lua_pushinteger(L, (lua_Integer)taken);
    return 1;
}

static int console_input(lua_State *L)
{
    size_t bytes, taken = 0;
    const char *data = luaL_checklstring(L, 2, &bytes);

    check(L, vmlib_machine_console_input(machine_of(L)->machine, data, bytes, &taken));
    lua_pushinteger(L, (lua_Integer)taken);
    return 1;
}

static int machine_stats(lua_State *L)
{
    struct lua_machine *self = machine_of(L);

    check(L, vmlib_machine_stats(self->machine, core_record_new(L, RECORD_MACHINE_STATS)));
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
