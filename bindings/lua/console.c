/*
 * Console with expectations. The machine's threads must not enter Lua: start() refuses machines
 * whose VM has Lua handlers or outputs.
 */
#include "core.h"
#include "records.inc"

vmlib_console *core_console(lua_State *L, int index)
{
    struct lua_console *self = luaL_checkudata(L, index, TYPE_CONSOLE);

    if (!self->console)
        core_error_text(L, VMLIB_E_STATE, "console: it is closed");
    return self->console;
}

/* vmlib.console{limit=, virtio=} */
int core_console_create(lua_State *L)
{
    struct vmlib_console_config config = VMLIB_CONSOLE_CONFIG_INIT;
    struct lua_console *self;

    lua_settop(L, 1);
    config.limit = core_option(L, 1, "limit", 64, config.limit);
    config.flags = core_option_flag(L, 1, "virtio") ? VMLIB_CONSOLE_VIRTIO : 0;
    self = lua_newuserdatauv(L, sizeof(*self), 2);
    *self = (struct lua_console){NULL, NULL, false};
    luaL_setmetatable(L, TYPE_CONSOLE);
    core_devices_check(L, vmlib_console_create(&config, &self->console));
    return 1;
}

/* The vCPUs of the console at `index`. */
static void mark_vcpus(lua_State *L, int index, bool elsewhere)
{
    lua_getiuservalue(L, index, 2);
    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, -1); i++) {
        struct lua_vcpu *vcpu;

        lua_rawgeti(L, -1, i);
        vcpu = luaL_testudata(L, -1, TYPE_VCPU);
        if (vcpu)
            vcpu->elsewhere = elsewhere;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static int console_gc(lua_State *L)
{
    struct lua_console *self = luaL_checkudata(L, 1, TYPE_CONSOLE);
    vmlib_console *console = self->console;

    self->console = NULL;
    if (!console)
        return 0;
    vmlib_console_destroy(console);
    if (self->started) {
        mark_vcpus(L, 1, false);
        lua_getiuservalue(L, 1, 1);
        core_machine_detach(L, -1);
    }
    return 0;
}

/* Before it is started, the machine may still write to the console: it stays. */
static int console_close(lua_State *L)
{
    struct lua_console *self = luaL_checkudata(L, 1, TYPE_CONSOLE);

    return self->started ? console_gc(L) : 0;
}

/* console:start(machine, {vcpu, ...}) */
static int console_start(lua_State *L)
{
    struct lua_console *self;
    vmlib_console *console;
    vmlib_vcpu *vcpus[VMLIB_MAX_VCPUS];
    vmlib_machine *machine;
    uint32_t count;

    lua_settop(L, 3);
    core_console(L, 1);
    self = lua_touserdata(L, 1);
    core_machine(L, 2);
    if (self->started)
        return core_error_text(L, VMLIB_E_STATE, "console: it has been started before");
    luaL_checktype(L, 3, LUA_TTABLE);
    luaL_argcheck(L, lua_rawlen(L, 3) <= VMLIB_MAX_VCPUS, 3, "too many vCPUs");
    count = (uint32_t)lua_rawlen(L, 3);
    lua_createtable(L, (int)count, 0); /* at 4: a list of our own, the caller's may change */
    for (uint32_t i = 0; i < count; i++) {
        lua_rawgeti(L, 3, (lua_Integer)i + 1);
        vcpus[i] = core_vcpu(L, -1)->vcpu;
        lua_rawseti(L, 4, (lua_Integer)i + 1);
    }
    console = core_console(L, 1);
    machine = core_machine(L, 2);
    if (core_vm_of(L, 2)->functions)
        return core_error_text(L, VMLIB_E_UNSUPPORTED,
                               "console: its threads cannot call the Lua functions of this VM");
    if (self->owner && self->owner != lua_touserdata(L, 2))
        return core_error_text(L, VMLIB_E_STATE, "console: it belongs to another machine");
    core_devices_check(L, vmlib_console_start(console, machine, vcpus, count));
    self->started = true;
    self->owner = lua_touserdata(L, 2);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, 1, 1);
    lua_pushvalue(L, 4);
    lua_setiuservalue(L, 1, 2);
    core_machine_attach(L, 2, self);
    mark_vcpus(L, 1, true);
    return 0;
}

static uint64_t seconds(lua_State *L, int index)
{
    double value = luaL_optnumber(L, index, 10);

    return value >= 1e9 ? UINT64_MAX : value > 0 ? (uint64_t)(value * 1e9) : 0;
}

/* console:expect(text or list of texts, [seconds]) -> number of the text, output before it */
static int console_expect(lua_State *L)
{
    vmlib_console *console = core_console(L, 1);
    const char *texts[32];
    uint32_t count = 1, index = 0;
    size_t bytes = 0;
    luaL_Buffer buffer;
    char *p;

    lua_settop(L, 3);
    if (lua_istable(L, 2)) {
        count = (uint32_t)lua_rawlen(L, 2);
        luaL_argcheck(L, count >= 1 && count <= 32, 2, "expected 1 to 32 texts");
        luaL_checkstack(L, 40, "expect");
        for (uint32_t i = 0; i < count; i++) {
            lua_rawgeti(L, 2, (lua_Integer)i + 1);
            texts[i] = luaL_checkstring(L, -1); /* stays on the stack */
        }
    } else {
        texts[0] = luaL_checkstring(L, 2);
    }
    core_devices_check(L, vmlib_console_expect(console, texts, count, seconds(L, 3), &index));
    lua_pushinteger(L, (lua_Integer)index + 1);
    vmlib_console_before(console, NULL, &bytes);
    p = luaL_buffinitsize(L, &buffer, bytes + 1);
    core_devices_check(L, vmlib_console_before(console, p, &bytes));
    luaL_pushresultsize(&buffer, bytes);
    return 2;
}

static int console_send(lua_State *L)
{
    vmlib_console *console = core_console(L, 1);
    size_t bytes;
    const char *data = luaL_checklstring(L, 2, &bytes);

    return core_devices_check(L, vmlib_console_send(console, data, bytes, seconds(L, 3)));
}

static int console_wait(lua_State *L)
{
    vmlib_console *console = core_console(L, 1);
    uint64_t ns = seconds(L, 2);

    core_devices_check(L,
                       vmlib_console_wait(console, ns, core_record_new(L, RECORD_MACHINE_RESULT)));
    return 1;
}

void core_console_init(lua_State *L)
{
    static const luaL_Reg methods[] = {{"start", console_start}, {"expect", console_expect},
                                       {"send", console_send},   {"wait", console_wait},
                                       {"close", console_close}, {NULL, NULL}};

    core_push_type(L, TYPE_CONSOLE, methods, console_gc);
    lua_pushcfunction(L, console_close);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
    (void)record_constants;
    (void)record_registers;
}
