/* Virtual machines and their memory. */
#include <stdlib.h>

#include "core.h"
#include "log_queue.h"
#include "records.inc"

struct lua_vm *core_vm(lua_State *L, int index)
{
    struct lua_vm *self = luaL_checkudata(L, index, TYPE_VM);

    core_log_deliver(L, index);
    if (!self->vm)
        core_error_text(L, VMLIB_E_STATE, "vm: it is closed");
    return self;
}

struct lua_vm *core_vm_of(lua_State *L, int index)
{
    lua_getiuservalue(L, index, 1);
    return lua_touserdata(L, -1);
}

int core_function_keep(lua_State *L, int vm, int index)
{
    struct lua_vm *self = lua_touserdata(L, vm);

    lua_getiuservalue(L, vm, 1);
    lua_pushvalue(L, index);
    lua_rawseti(L, -2, ++self->functions);
    lua_pop(L, 1);
    return self->functions;
}

void core_function_drop(lua_State *L, int vm, int number)
{
    lua_getiuservalue(L, vm, 1);
    lua_pushnil(L);
    lua_rawseti(L, -2, number);
    lua_pop(L, 1);
}

void core_vm_keep(lua_State *L, int vm, int index)
{
    lua_getiuservalue(L, vm, 3);
    lua_pushvalue(L, index);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
}

void core_vm_forget(lua_State *L, int vm)
{
    lua_getiuservalue(L, vm, 3);
    lua_pushnil(L);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2));
    lua_pop(L, 1);
}

/* --- messages --- */

/* An error of the function is a warning, as in finalizers. */
void core_log_deliver(lua_State *L, int vm)
{
    struct lua_vm *self = lua_touserdata(L, vm);
    struct log_queue *queue = self->log;
    struct log_message message;

    if (!queue || queue->delivering)
        return;
    luaL_checkstack(L, 8, "log");
    vm = lua_absindex(L, vm);
    queue->delivering = true;
    while (log_queue_take(queue, &message)) {
        lua_getiuservalue(L, vm, 4);
        lua_getiuservalue(L, -1, 1);
        lua_pushinteger(L, message.level);
        lua_pushstring(L, message.text);
        if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
            lua_warning(L, "error in the log function of a VM: ", 1);
            lua_warning(L, luaL_tolstring(L, -1, NULL), 0);
            lua_pop(L, 2);
        }
        lua_pop(L, 1);
    }
    queue->delivering = false;
}

/* The function on top of the stack gets the messages of the VM at `vm`. Pops it. */
static void make_log(lua_State *L, int vm, struct vmlib_vm_config *config)
{
    struct lua_vm *self = lua_touserdata(L, vm);

    luaL_argcheck(L, lua_isfunction(L, -1), 1, "log: expected a function");
    self->log = lua_newuserdatauv(L, sizeof(*self->log), 1);
    log_queue_init(self->log);
    lua_insert(L, -2);
    lua_setiuservalue(L, -2, 1);
    lua_setiuservalue(L, vm, 4);
    config->log = log_queue_put;
    config->log_opaque = self->log;
}

/* --- creation --- */

static void take_backend(lua_State *L, int index, uint32_t *backend)
{
    int rc = 0;

    if (lua_type(L, index) == LUA_TSTRING)
        rc = vmlib_backend_by_name(lua_tostring(L, index), backend);
    else if (lua_isinteger(L, index))
        *backend = (uint32_t)lua_tointeger(L, index);
    else
        luaL_error(L, "backends: expected names or numbers, not %s", luaL_typename(L, index));
    if (rc < 0)
        core_error(L, rc);
}

static void take_backends(lua_State *L, uint32_t list[VMLIB_VM_BACKENDS])
{
    switch (lua_getfield(L, 1, "backends")) {
    case LUA_TNIL:
        break;
    case LUA_TTABLE:
        luaL_argcheck(L, lua_rawlen(L, -1) <= VMLIB_VM_BACKENDS, 1, "backends: too many");
        for (int i = 0; i < (int)lua_rawlen(L, -1); i++) {
            lua_rawgeti(L, -1, i + 1);
            take_backend(L, -1, &list[i]);
            lua_pop(L, 1);
        }
        break;
    default:
        take_backend(L, -1, list);
    }
    lua_pop(L, 1);
}

uint64_t core_features(lua_State *L, int index)
{
    uint64_t bits = 0;

    if (lua_isnoneornil(L, index))
        return 0;
    luaL_checktype(L, index, LUA_TTABLE);
    index = lua_absindex(L, index);
    for (int i = 1; i <= (int)lua_rawlen(L, index); i++) {
        lua_rawgeti(L, index, i);
        bits |= UINT64_C(1) << core_number(L, -1, 6);
        lua_pop(L, 1);
    }
    return bits;
}

/* vmlib.vm{backends=, time_mode=, log=, ...} */
int core_vm_create(lua_State *L)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    struct lua_vm *self;
    int rc;

    lua_settop(L, 1);
    if (!lua_isnil(L, 1)) {
        luaL_checktype(L, 1, LUA_TTABLE);
        take_backends(L, config.backends);
        lua_getfield(L, 1, "required");
        config.required = core_features(L, -1);
        lua_pop(L, 1);
        config.time_mode = (uint32_t)core_option(L, 1, "time_mode", 32, config.time_mode);
        config.seed = core_option(L, 1, "seed", 64, 0);
        config.tsc_khz = (uint32_t)core_option(L, 1, "tsc_khz", 32, 0);
        config.phys_bits = (uint32_t)core_option(L, 1, "phys_bits", 32, 0);
        config.msr_policy = (uint32_t)core_option(L, 1, "msr_policy", 32, 0);
    }
    self = lua_newuserdatauv(L, sizeof(*self), 4); /* at 2 */
    *self = (struct lua_vm){NULL, 0, 0, NULL};
    luaL_setmetatable(L, TYPE_VM);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_setiuservalue(L, -2, 2);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 3);
    if (!lua_isnil(L, 1) && lua_getfield(L, 1, "log") != LUA_TNIL)
        make_log(L, 2, &config);
    lua_settop(L, 2);
    rc = vmlib_vm_create(&config, &self->vm);
    core_log_deliver(L, 2);
    return rc < 0 ? core_error(L, rc) : 1;
}

static int vm_gc(lua_State *L)
{
    struct lua_vm *self = luaL_checkudata(L, 1, TYPE_VM);

    vmlib_vm_unref(self->vm);
    self->vm = NULL;
    return 0;
}

static int vm_close(lua_State *L)
{
    struct lua_vm *self = luaL_checkudata(L, 1, TYPE_VM);

    if (self->running)
        return core_error_text(L, VMLIB_E_BUSY, "vm: a vCPU is running");
    vm_gc(L);
    lua_newtable(L);
    lua_setiuservalue(L, 1, 1); /* handlers' functions may go */
    return 0;
}

/* --- what it does --- */

static int vm_read(lua_State *L)
{
    struct lua_vm *vm = core_vm(L, 1);
    uint64_t gpa = core_number(L, 2, 64), bytes = core_number(L, 3, 40);
    luaL_Buffer buffer;
    char *p = luaL_buffinitsize(L, &buffer, bytes);
    int rc = vmlib_vm_read(vm->vm, gpa, p, bytes);

    if (rc < 0)
        return core_error(L, rc);
    luaL_pushresultsize(&buffer, bytes);
    return 1;
}

static int vm_write(lua_State *L)
{
    struct lua_vm *vm = core_vm(L, 1);
    uint64_t gpa = core_number(L, 2, 64);
    size_t bytes;
    const char *data = luaL_checklstring(L, 3, &bytes);
    int rc = vmlib_vm_write(vm->vm, gpa, data, bytes);

    return core_check(L, rc);
}

/* vm:vcpu(index, {apic_id=, initial=}) */
static int vm_vcpu(lua_State *L)
{
    struct vmlib_vcpu_config config = VMLIB_VCPU_CONFIG_INIT;
    struct lua_vm *vm = core_vm(L, 1);
    vmlib_vcpu **vcpu;

    config.index = lua_isnoneornil(L, 2) ? 0 : (uint32_t)core_number(L, 2, 32);
    config.apic_id = (uint32_t)core_option(L, 3, "apic_id", 32, config.apic_id);
    config.initial = (uint32_t)core_option(L, 3, "initial", 32, config.initial);
    vcpu = core_vcpu_new(L, 1);
    core_check(L, vmlib_vcpu_create(vm->vm, &config, vcpu));
    core_vcpu_known(L, 1);
    return 1;
}

static int vm_find_vcpu(lua_State *L)
{
    struct lua_vm *vm = core_vm(L, 1);
    uint32_t index = (uint32_t)core_number(L, 2, 32);
    vmlib_vcpu **vcpu = core_vcpu_new(L, 1);

    core_check(L, vmlib_vm_vcpu(vm->vm, index, vcpu));
    core_vcpu_known(L, 1);
    return 1;
}

/* on_port and so on: (first, [last,] function, header). Upvalue 1: the kind. */
static int vm_on(lua_State *L)
{
    if (lua_isfunction(L, 3)) {
        lua_pushvalue(L, 2);
        lua_insert(L, 3); /* last = first */
    }
    luaL_checktype(L, 4, LUA_TFUNCTION);
    lua_settop(L, 5);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 2);
    return core_handler_add(L);
}

static int vm_clock(lua_State *L)
{
    uint64_t ns;
    int rc = vmlib_vm_clock(core_vm(L, 1)->vm, &ns);

    lua_pushinteger(L, rc < 0 ? 0 : (lua_Integer)ns);
    return rc < 0 ? core_error(L, rc) : 1;
}

static int vm_backend(lua_State *L)
{
    lua_pushinteger(L, vmlib_vm_backend(core_vm(L, 1)->vm));
    return 1;
}

static int vm_tsc_khz(lua_State *L)
{
    lua_pushinteger(L, vmlib_vm_tsc_khz(core_vm(L, 1)->vm));
    return 1;
}

uint32_t core_take_leaves(lua_State *L, int index, struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX])
{
    uint32_t count;

    luaL_checktype(L, index, LUA_TTABLE);
    luaL_argcheck(L, lua_rawlen(L, index) <= VMLIB_CPUID_MAX, index, "too many leaves");
    count = (uint32_t)lua_rawlen(L, index);
    for (uint32_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, i + 1);
        memcpy(&leaves[i], core_record_check(L, -1, RECORD_CPUID_LEAF), sizeof(leaves[i]));
        lua_pop(L, 1);
    }
    return count;
}

void core_push_leaves(lua_State *L, const struct vmlib_cpuid_leaf *leaves, uint32_t count)
{
    lua_createtable(L, (int)count, 0);
    for (uint32_t i = 0; i < count; i++) {
        core_record_copy(L, RECORD_CPUID_LEAF, &leaves[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

static int vm_set_cpuid(lua_State *L)
{
    struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX];
    struct lua_vm *vm = core_vm(L, 1);
    uint32_t count = core_take_leaves(L, 2, leaves);

    return core_check(L, vmlib_vm_set_cpuid(vm->vm, leaves, count));
}

static int vm_mock_fail(lua_State *L)
{
    int rc = vmlib_mock_fail(core_vm(L, 1)->vm, (uint32_t)core_number(L, 2, 32),
                             (uint32_t)core_number(L, 3, 32), (int32_t)luaL_checkinteger(L, 4));

    return core_check(L, rc);
}

static int vm_text(lua_State *L)
{
    struct lua_vm *self = luaL_checkudata(L, 1, TYPE_VM);

    lua_pushfstring(L, self->vm ? "vmlib.VM: %p" : "vmlib.VM (closed)", (void *)self->vm);
    return 1;
}

/* --- the type --- */

void core_vm_init(lua_State *L)
{
    static const luaL_Reg methods[] = {{"memory", core_region_create},
                                       {"vcpu", vm_vcpu},
                                       {"find_vcpu", vm_find_vcpu},
                                       {"read", vm_read},
                                       {"write", vm_write},
                                       {"handler", core_handler_add},
                                       {"doorbell", core_doorbell_add},
                                       {"clock", vm_clock},
                                       {"backend", vm_backend},
                                       {"tsc_khz", vm_tsc_khz},
                                       {"set_cpuid", vm_set_cpuid},
                                       {"mock_fail", vm_mock_fail},
                                       {"close", vm_close},
                                       {NULL, NULL}};
    static const struct {
        const char *name;
        int kind;
    } kinds[] = {{"on_port", VMLIB_HANDLER_PIO},
                 {"on_mmio", VMLIB_HANDLER_MMIO},
                 {"on_msr", VMLIB_HANDLER_MSR},
                 {"on_cpuid", VMLIB_HANDLER_CPUID},
                 {"on_hypercall", VMLIB_HANDLER_HYPERCALL},
                 {"on_exception", VMLIB_HANDLER_EXCEPTION},
                 {"on_intack", VMLIB_HANDLER_INTACK}};

    core_push_type(L, TYPE_VM, methods, vm_gc);
    lua_pushcfunction(L, vm_close);
    lua_setfield(L, -2, "__close");
    lua_pushcfunction(L, vm_text);
    lua_setfield(L, -2, "__tostring");
    lua_getfield(L, -1, "__index");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        lua_pushinteger(L, kinds[i].kind);
        lua_pushcclosure(L, vm_on, 1);
        lua_setfield(L, -2, kinds[i].name);
    }
    lua_pop(L, 2);
}
