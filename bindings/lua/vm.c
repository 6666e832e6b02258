/* Virtual machines and their memory. */
#include <stdlib.h>

#include "core.h"
#include "records.inc"

struct lua_vm *core_vm(lua_State *L, int index)
{
    struct lua_vm *self = luaL_checkudata(L, index, TYPE_VM);

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

static uint64_t take_features(lua_State *L)
{
    uint64_t bits = 0;

    if (lua_getfield(L, 1, "required") != LUA_TNIL) {
        luaL_checktype(L, -1, LUA_TTABLE);
        for (int i = 1; i <= (int)lua_rawlen(L, -1); i++) {
            lua_rawgeti(L, -1, i);
            bits |= UINT64_C(1) << core_number(L, -1, 6);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    return bits;
}

/* vmlib.vm{backends=, time_mode=, ...} */
int core_vm_create(lua_State *L)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    struct lua_vm *self;
    int rc;

    lua_settop(L, 1);
    if (!lua_isnil(L, 1)) {
        luaL_checktype(L, 1, LUA_TTABLE);
        take_backends(L, config.backends);
        config.required = take_features(L);
        config.time_mode = (uint32_t)core_option(L, 1, "time_mode", 32, config.time_mode);
        config.seed = core_option(L, 1, "seed", 64, 0);
        config.tsc_khz = (uint32_t)core_option(L, 1, "tsc_khz", 32, 0);
        config.phys_bits = (uint32_t)core_option(L, 1, "phys_bits", 32, 0);
        config.msr_policy = (uint32_t)core_option(L, 1, "msr_policy", 32, 0);
    }
    self = lua_newuserdatauv(L, sizeof(*self), 2);
    *self = (struct lua_vm){NULL, 0, 0};
    luaL_setmetatable(L, TYPE_VM);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_setiuservalue(L, -2, 2);
    rc = vmlib_vm_create(&config, &self->vm);
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

    return rc < 0 ? core_error(L, rc) : 0;
}

/* vm:vcpu(index, {apic_id=, initial=}) */
static int vm_vcpu(lua_State *L)
{
    struct vmlib_vcpu_config config = VMLIB_VCPU_CONFIG_INIT;
    struct lua_vm *vm = core_vm(L, 1);
    vmlib_vcpu *vcpu;
    int rc;

    config.index = lua_isnoneornil(L, 2) ? 0 : (uint32_t)core_number(L, 2, 32);
    config.apic_id = (uint32_t)core_option(L, 3, "apic_id", 32, config.apic_id);
    config.initial = (uint32_t)core_option(L, 3, "initial", 32, config.initial);
    rc = vmlib_vcpu_create(vm->vm, &config, &vcpu);
    if (rc < 0)
        return core_error(L, rc);
    core_vcpu_push(L, 1, vcpu);
    vmlib_vcpu_unref(vcpu);
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

static int vm_set_cpuid(lua_State *L)
{
    struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX];
    struct lua_vm *vm = core_vm(L, 1);
    uint32_t count;
    int rc;

    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_argcheck(L, lua_rawlen(L, 2) <= VMLIB_CPUID_MAX, 2, "too many leaves");
    count = (uint32_t)lua_rawlen(L, 2);
    for (uint32_t i = 0; i < count; i++) {
        lua_rawgeti(L, 2, i + 1);
        memcpy(&leaves[i], core_record_check(L, -1, RECORD_CPUID_LEAF), sizeof(leaves[i]));
        lua_pop(L, 1);
    }
    rc = vmlib_vm_set_cpuid(vm->vm, leaves, count);
    return rc < 0 ? core_error(L, rc) : 0;
}

static int vm_mock_fail(lua_State *L)
{
    int rc = vmlib_mock_fail(core_vm(L, 1)->vm, (uint32_t)core_number(L, 2, 32),
                             (uint32_t)core_number(L, 3, 32), (int32_t)luaL_checkinteger(L, 4));

    return rc < 0 ? core_error(L, rc) : 0;
}

static int vm_text(lua_State *L)
{
    struct lua_vm *self = luaL_checkudata(L, 1, TYPE_VM);

    lua_pushfstring(L, self->vm ? "vmlib.VM: %p" : "vmlib.VM (closed)", (void *)self->vm);
    return 1;
}

/* --- regions --- */

struct lua_region {
    vmlib_region *region;
};

static struct lua_region *region_of(lua_State *L)
{
    return luaL_checkudata(L, 1, TYPE_REGION);
}

/* vm:memory(gpa, size, {prot=, flags=, fd=, offset=, alias=}) */
int core_region_create(lua_State *L)
{
    struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
    struct lua_vm *vm = core_vm(L, 1);
    struct lua_region *self;
    int rc;

    lua_settop(L, 4);
    config.gpa = core_number(L, 2, 64);
    config.bytes = core_number(L, 3, 64);
    config.prot = (uint32_t)core_option(L, 4, "prot", 32, config.prot);
    config.flags = (uint32_t)core_option(L, 4, "flags", 32, 0);
    config.fd = (int32_t)(uint32_t)core_option(L, 4, "fd", 31, UINT32_MAX);
    config.fd_offset = core_option(L, 4, "offset", 64, 0);
    if (config.fd >= 0)
        config.backing = VMLIB_BACKING_FD;
    if (!lua_isnil(L, 4) && lua_getfield(L, 4, "alias") != LUA_TNIL) {
        struct lua_region *alias = luaL_checkudata(L, -1, TYPE_REGION);

        config.backing = VMLIB_BACKING_ALIAS;
        config.alias = alias->region;
        config.alias_offset = config.fd_offset;
        config.fd_offset = 0;
    }
    self = lua_newuserdatauv(L, sizeof(*self), 1);
    self->region = NULL;
    luaL_setmetatable(L, TYPE_REGION);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    rc = vmlib_region_create(vm->vm, &config, &self->region);
    return rc < 0 ? core_error(L, rc) : 1;
}

static int region_gc(lua_State *L)
{
    struct lua_region *self = region_of(L);

    vmlib_region_unref(self->region);
    self->region = NULL;
    return 0;
}

/* The part of the region that [offset, offset + bytes) is; an error when it is not inside. */
static char *part(lua_State *L, uint64_t offset, uint64_t bytes)
{
    struct lua_region *self = region_of(L);
    uint64_t all = 0;
    void *host = NULL;

    if (vmlib_region_range(self->region, NULL, &all) < 0 ||
        vmlib_region_host(self->region, &host) < 0)
        core_error(L, VMLIB_E_STATE);
    if (offset > all || bytes > all - offset)
        core_error_text(L, VMLIB_E_RANGE, "offset + size is outside the region");
    return (char *)host + offset;
}

static int region_read(lua_State *L)
{
    uint64_t bytes = core_number(L, 3, 63);
    const char *p = part(L, core_number(L, 2, 64), bytes);

    lua_pushlstring(L, p, bytes);
    return 1;
}

static int written(lua_State *L, uint64_t offset, uint64_t bytes)
{
    int rc = bytes ? vmlib_region_written(region_of(L)->region, offset, bytes) : 0;

    return rc < 0 ? core_error(L, rc) : 0;
}

static int region_write(lua_State *L)
{
    uint64_t offset = core_number(L, 2, 64);
    size_t bytes;
    const char *data = luaL_checklstring(L, 3, &bytes);

    memcpy(part(L, offset, bytes), data, bytes);
    return written(L, offset, bytes);
}

/* region:u32(offset) reads, region:u32(offset, value) writes. Upvalue 1: the width. */
static int region_number(lua_State *L)
{
    unsigned width = (unsigned)lua_tointeger(L, lua_upvalueindex(1));
    uint64_t offset = core_number(L, 2, 64), value = 0;
    char *p = part(L, offset, width);

    if (lua_isnone(L, 3)) {
        memcpy(&value, p, width);
        lua_pushinteger(L, (lua_Integer)value);
        return 1;
    }
    value = core_number(L, 3, 8 * width);
    memcpy(p, &value, width);
    return written(L, offset, width);
}

static int region_protect(lua_State *L)
{
    int rc = vmlib_region_protect(region_of(L)->region, (uint32_t)core_number(L, 2, 32));

    return rc < 0 ? core_error(L, rc) : 0;
}

static int region_remove(lua_State *L)
{
    int rc = vmlib_region_remove(region_of(L)->region);

    return rc < 0 ? core_error(L, rc) : 0;
}

static int region_length(lua_State *L)
{
    uint64_t bytes = 0;

    vmlib_region_range(region_of(L)->region, NULL, &bytes);
    lua_pushinteger(L, (lua_Integer)bytes);
    return 1;
}

static int region_gpa(lua_State *L)
{
    vmlib_gpa gpa = 0;

    vmlib_region_range(region_of(L)->region, &gpa, NULL);
    lua_pushinteger(L, (lua_Integer)gpa);
    return 1;
}

/* region:dirty(clear, offset, size) -> list of offsets of pages */
static int region_dirty(lua_State *L)
{
    uint64_t all = 0, offset = lua_isnoneornil(L, 3) ? 0 : core_number(L, 3, 64), bytes, *bitmap;
    uint32_t flags = lua_toboolean(L, 2) ? VMLIB_DIRTY_CLEAR : 0;
    lua_Integer n = 0;
    int rc;

    vmlib_region_range(region_of(L)->region, NULL, &all);
    bytes = lua_isnoneornil(L, 4) ? (offset < all ? all - offset : 0) : core_number(L, 4, 64);
    if (bytes > all)
        return core_error_text(L, VMLIB_E_RANGE, "offset + size is outside the region");
    bitmap = lua_newuserdatauv(L, (bytes / VMLIB_PAGE_SIZE / 64 + 1) * sizeof(*bitmap), 0);
    rc = vmlib_region_dirty(region_of(L)->region, offset, bytes, bitmap, flags);
    if (rc < 0)
        return core_error(L, rc);
    lua_newtable(L);
    for (uint64_t i = 0; i < bytes / VMLIB_PAGE_SIZE; i++) {
        if (bitmap[i / 64] >> i % 64 & 1) {
            lua_pushinteger(L, (lua_Integer)(offset + i * VMLIB_PAGE_SIZE));
            lua_rawseti(L, -2, ++n);
        }
    }
    return 1;
}

/* --- the types --- */

void core_region_init(lua_State *L)
{
    static const luaL_Reg methods[] = {{"read", region_read},       {"write", region_write},
                                       {"protect", region_protect}, {"remove", region_remove},
                                       {"gpa", region_gpa},         {"size", region_length},
                                       {"dirty", region_dirty},     {NULL, NULL}};
    static const struct {
        const char *name;
        int width;
    } numbers[] = {{"u8", 1}, {"u16", 2}, {"u32", 4}, {"u64", 8}};

    core_push_type(L, TYPE_REGION, methods, region_gc);
    lua_pushcfunction(L, region_length);
    lua_setfield(L, -2, "__len");
    lua_getfield(L, -1, "__index");
    for (int i = 0; i < 4; i++) {
        lua_pushinteger(L, numbers[i].width);
        lua_pushcclosure(L, region_number, 1);
        lua_setfield(L, -2, numbers[i].name);
    }
    lua_pop(L, 2);
    (void)record_constants;
    (void)record_registers;
}

void core_vm_init(lua_State *L)
{
    static const luaL_Reg methods[] = {{"memory", core_region_create},
                                       {"vcpu", vm_vcpu},
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
