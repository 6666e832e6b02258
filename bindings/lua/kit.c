/* Tools of libvmlib-devices: event rings, guest calls, symbols, consoles. */
#include <vmlib/call.h>
#include <vmlib/ring.h>

#include "core.h"
#include "records.inc"

#define TYPE_RING "vmlib.Ring"

/* --- rings --- */

struct lua_ring {
    vmlib_ring *ring; /* NULL: closed */
};

static vmlib_ring *ring_of(lua_State *L)
{
    struct lua_ring *self = luaL_checkudata(L, 1, TYPE_RING);

    if (!self->ring)
        core_error_text(L, VMLIB_E_STATE, "ring: it is closed");
    return self->ring;
}

/* vmlib.ring(vm, {capacity=, drop=}) */
int core_ring_create(lua_State *L)
{
    struct vmlib_ring_config config = VMLIB_RING_CONFIG_INIT;
    struct lua_vm *vm = core_vm(L, 1);
    struct lua_ring *self;

    lua_settop(L, 2);
    config.capacity = (uint32_t)core_option(L, 2, "capacity", 32, config.capacity);
    config.flags = core_option_flag(L, 2, "drop") ? VMLIB_RING_DROP : 0;
    self = lua_newuserdatauv(L, sizeof(*self), 1);
    self->ring = NULL;
    luaL_setmetatable(L, TYPE_RING);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    core_devices_check(L, vmlib_ring_create(vm->vm, &config, &self->ring));
    return 1;
}

static int ring_close(lua_State *L)
{
    struct lua_ring *self = luaL_checkudata(L, 1, TYPE_RING);

    vmlib_ring_destroy(self->ring);
    self->ring = NULL;
    return 0;
}

/* ring:watch(kind, first, last, {answer=, pass_on=}) */
static int ring_watch(lua_State *L)
{
    struct vmlib_ring_watch watch = VMLIB_RING_WATCH_INIT;

    watch.kind = (uint32_t)core_number(L, 2, 32);
    watch.first = core_number(L, 3, 64);
    watch.last = lua_isnoneornil(L, 4) ? watch.first : core_number(L, 4, 64);
    watch.answer = core_option(L, 5, "answer", 64, 0);
    watch.flags = core_option_flag(L, 5, "pass_on") ? VMLIB_WATCH_PASS : 0;
    return core_devices_check(L, vmlib_ring_watch(ring_of(L), &watch));
}

/* ring:take() -> string of 24-byte events, for string.unpack(vmlib.RING_FORMAT, s, position) */
static int ring_take(lua_State *L)
{
    const struct vmlib_ring_event *events;
    uint32_t count;

    for (int i = 0; i < 2; i++) { /* up to the end of its memory, and from its start */
        vmlib_ring_peek(ring_of(L), &events, &count);
        lua_pushlstring(L, (const char *)events, count * sizeof(*events));
        core_devices_check(L, vmlib_ring_consume(ring_of(L), count));
    }
    lua_concat(L, 2);
    return 1;
}

/* ring:each(function) -> number of events. The function gets address, value, write, width, kind,
 * vcpu. An event is gone when its call begins. */
static int ring_each(lua_State *L)
{
    lua_Integer n = 0;

    luaL_checktype(L, 2, LUA_TFUNCTION);
    for (;;) {
        const struct vmlib_ring_event *events;
        struct vmlib_ring_event e;
        uint32_t count;

        vmlib_ring_peek(ring_of(L), &events, &count); /* the function may have closed it */
        if (!count)
            break;
        e = *events;
        vmlib_ring_consume(ring_of(L), 1);
        lua_pushvalue(L, 2);
        lua_pushinteger(L, (lua_Integer)e.address);
        lua_pushinteger(L, (lua_Integer)e.value);
        lua_pushboolean(L, e.write);
        lua_pushinteger(L, e.width);
        lua_pushinteger(L, e.kind);
        lua_pushinteger(L, e.vcpu);
        lua_call(L, 6, 0);
        n++;
    }
    lua_pushinteger(L, n);
    return 1;
}

static int ring_lost(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)vmlib_ring_lost(ring_of(L)));
    return 1;
}

/* --- calls --- */

/* The argument at `index`: an integer, a float, or a string, which is copied to the guest's stack.
 */
static void take_argument(lua_State *L, int index, struct vmlib_arg *arg)
{
    size_t bytes;

    *arg = (struct vmlib_arg){.type = VMLIB_ARG_INT};
    if (lua_isinteger(L, index)) {
        arg->value = (uint64_t)lua_tointeger(L, index);
    } else if (lua_type(L, index) == LUA_TNUMBER) {
        double value = lua_tonumber(L, index);

        arg->type = VMLIB_ARG_F64;
        memcpy(&arg->value, &value, sizeof(value));
    } else if (lua_type(L, index) == LUA_TSTRING) {
        arg->type = VMLIB_ARG_INOUT;
        arg->data = (void *)(uintptr_t)lua_tolstring(L, index, &bytes);
        arg->bytes = bytes;
    } else {
        luaL_argerror(L, index, "expected an integer, a float or a string");
    }
}

/* Strings never change: the function writes to copies, which become results. */
static int copy_buffers(lua_State *L, struct vmlib_arg *args, uint32_t count)
{
    int copies = 0;

    for (uint32_t i = 0; i < count; i++) {
        void *copy;

        if (args[i].type != VMLIB_ARG_INOUT)
            continue;
        copy = lua_newuserdatauv(L, args[i].bytes + 1, 0);
        memcpy(copy, args[i].data, args[i].bytes);
        args[i].data = copy;
        copies++;
    }
    return copies;
}

/* vcpu:call(function, {stack=, budget=, ...} or nil, arguments...) -> CallResult, and what has
 * become of each string */
int core_call(lua_State *L)
{
    struct vmlib_call_config config = VMLIB_CALL_CONFIG_INIT;
    struct vmlib_arg args[VMLIB_ARGS_MAX];
    struct lua_vcpu *self = core_vcpu(L, 1);
    int top = lua_gettop(L), rc, place;
    struct vmlib_call_result *result;
    struct lua_run run;

    config.function = core_number(L, 2, 64);
    config.stack = core_option(L, 3, "stack", 64, 0);
    config.budget = core_option(L, 3, "budget", 64, config.budget);
    config.deadline_ns = core_option(L, 3, "deadline_ns", 64, 0);
    config.exceptions = (uint32_t)core_option(L, 3, "exceptions", 32, config.exceptions);
    luaL_argcheck(L, top <= 3 + (int)VMLIB_ARGS_MAX, top, "too many arguments");
    config.arg_count = top > 3 ? (uint32_t)top - 3 : 0;
    config.args = args;
    for (uint32_t i = 0; i < config.arg_count; i++)
        take_argument(L, (int)i + 4, &args[i]);
    luaL_checkstack(L, 2 * (int)VMLIB_ARGS_MAX + 32, "call");
    copy_buffers(L, args, config.arg_count);
    result = core_record_new(L, RECORD_CALL_RESULT);
    place = lua_gettop(L);
    core_run_begin(L, &run, 1, NULL);
    rc = vmlib_call(self->vcpu, &config, result);
    core_run_end(&run);
    if (run.failed && (rc == VMLIB_E_USER || rc == 0)) {
        lua_pushvalue(L, run.error);
        return lua_error(L);
    }
    core_devices_check(L, rc);
    self->last = result->exit;
    lua_settop(L, place);
    for (uint32_t i = 0; i < config.arg_count; i++)
        if (args[i].type == VMLIB_ARG_INOUT)
            lua_pushlstring(L, args[i].data, args[i].bytes);
    return lua_gettop(L) - place + 1;
}

int core_elf_symbol(lua_State *L)
{
    uint64_t address = 0, length = 0;
    size_t bytes;
    const char *elf = luaL_checklstring(L, 1, &bytes);

    core_devices_check(L, vmlib_elf_symbol(elf, bytes, luaL_checkstring(L, 2), &address, &length));
    lua_pushinteger(L, (lua_Integer)address);
    lua_pushinteger(L, (lua_Integer)length);
    return 2;
}

/* vmlib.double(bits) -> float */
int core_double(lua_State *L)
{
    uint64_t bits = core_number(L, 1, 64);
    double value;

    memcpy(&value, &bits, sizeof(value));
    lua_pushnumber(L, value);
    return 1;
}

void core_kit_init(lua_State *L)
{
    static const luaL_Reg ring_methods[] = {{"watch", ring_watch}, {"take", ring_take},
                                            {"each", ring_each},   {"lost", ring_lost},
                                            {"close", ring_close}, {NULL, NULL}};

    core_push_type(L, TYPE_RING, ring_methods, ring_close);
    lua_pushcfunction(L, ring_close);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
    (void)record_constants;
    (void)record_registers;
}
