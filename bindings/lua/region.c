/* Guest memory: regions, and buffers of a script that regions may be made of. */
#include "core.h"
#include "records.inc"

struct lua_region {
    vmlib_region *region;
};

static struct lua_region *region_of(lua_State *L)
{
    return luaL_checkudata(L, 1, TYPE_REGION);
}

vmlib_region *core_region(lua_State *L, int index)
{
    return ((struct lua_region *)luaL_checkudata(L, index, TYPE_REGION))->region;
}

vmlib_region **core_region_new(lua_State *L, int vm)
{
    struct lua_region *self = lua_newuserdatauv(L, sizeof(*self), 1);

    self->region = NULL;
    luaL_setmetatable(L, TYPE_REGION);
    lua_pushvalue(L, vm);
    lua_setiuservalue(L, -2, 1);
    return &self->region;
}

/* A piece of memory of the script: inside of this userdata, which has no finalizer. */
struct lua_buffer {
    char *data; /* page aligned */
    uint64_t bytes;
};

/* vmlib.buffer(size) */
int core_buffer_create(lua_State *L)
{
    uint64_t bytes = core_number(L, 1, 40), start;
    struct lua_buffer *self =
        lua_newuserdatauv(L, (size_t)(sizeof(*self) + bytes + VMLIB_PAGE_SIZE), 0);

    start = ((uintptr_t)(self + 1) + VMLIB_PAGE_SIZE - 1) & ~(uint64_t)(VMLIB_PAGE_SIZE - 1);
    *self = (struct lua_buffer){(char *)(uintptr_t)start, bytes};
    memset(self->data, 0, bytes);
    luaL_setmetatable(L, TYPE_BUFFER);
    return 1;
}

/* What the region is made of: the value on top of the stack, which stays there. */
static void take_backing(lua_State *L, struct vmlib_region_config *config)
{
    struct lua_buffer *buffer = luaL_testudata(L, -1, TYPE_BUFFER);
    uint64_t offset = config->fd_offset;

    config->fd_offset = 0;
    if (!buffer) {
        config->backing = VMLIB_BACKING_ALIAS;
        config->alias = core_region(L, -1);
        config->alias_offset = offset;
        return;
    }
    if (offset > buffer->bytes || config->bytes > buffer->bytes - offset)
        core_error_text(L, VMLIB_E_RANGE, "host: offset + size is outside the buffer");
    config->backing = VMLIB_BACKING_HOST;
    config->host = buffer->data + offset;
    core_vm_keep(L, 1, lua_gettop(L));
}

/* vm:memory(gpa, size, {prot=, flags=, fd=, offset=, alias=, host=}) */
int core_region_create(lua_State *L)
{
    struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
    struct lua_vm *vm = core_vm(L, 1);
    vmlib_region **region;
    int rc;

    lua_settop(L, 4);
    config.gpa = core_number(L, 2, 64);
    config.bytes = core_number(L, 3, 64);
    config.prot = (uint32_t)core_option(L, 4, "prot", 32, config.prot);
    config.flags = (uint32_t)core_option(L, 4, "flags", 32, 0);
    config.fd = (int32_t)(uint32_t)core_option(L, 4, "fd", 31, UINT32_MAX);
    config.fd_offset = core_option(L, 4, "offset", 64, 0);
    region = core_region_new(L, 1); /* at 5 */
    if (config.fd >= 0)
        config.backing = VMLIB_BACKING_FD;
    else if (!lua_isnil(L, 4) &&
             (lua_getfield(L, 4, "alias") != LUA_TNIL || lua_getfield(L, 4, "host") != LUA_TNIL))
        take_backing(L, &config);
    rc = vmlib_region_create(vm->vm, &config, region);
    if (rc < 0 && config.backing == VMLIB_BACKING_HOST)
        core_vm_forget(L, 1);
    core_check(L, rc);
    lua_settop(L, 5);
    return 1;
}

static int region_gc(lua_State *L)
{
    struct lua_region *self = region_of(L);

    vmlib_region_unref(self->region);
    self->region = NULL;
    return 0;
}

/* The part of the region or buffer that [offset, offset + bytes) is; an error when it is not
 * inside. */
static char *part(lua_State *L, uint64_t offset, uint64_t bytes)
{
    const struct lua_buffer *buffer = luaL_testudata(L, 1, TYPE_BUFFER);
    uint64_t all = buffer ? buffer->bytes : 0;
    void *host = buffer ? buffer->data : NULL;

    if (!buffer) {
        struct lua_region *self = region_of(L);

        if (vmlib_region_range(self->region, NULL, &all) < 0 ||
            vmlib_region_host(self->region, &host) < 0)
            core_error(L, VMLIB_E_STATE);
    }
    if (offset > all || bytes > all - offset)
        core_error_text(L, VMLIB_E_RANGE, "offset + size is outside the memory");
    return (char *)host + offset;
}

static int region_read(lua_State *L)
{
    uint64_t bytes = core_number(L, 3, 63);
    const char *p = part(L, core_number(L, 2, 64), bytes);

    lua_pushlstring(L, p, bytes);
    return 1;
}

/* Buffers do not know their regions: that is for region:written(). */
static int written(lua_State *L, uint64_t offset, uint64_t bytes)
{
    if (!bytes || luaL_testudata(L, 1, TYPE_BUFFER))
        return 0;
    return core_check(L, vmlib_region_written(region_of(L)->region, offset, bytes));
}

static int region_written(lua_State *L)
{
    return core_check(L, vmlib_region_written(region_of(L)->region, core_number(L, 2, 64),
                                              core_number(L, 3, 64)));
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

    return core_check(L, rc);
}

static int region_remove(lua_State *L)
{
    int rc = vmlib_region_remove(region_of(L)->region);

    return core_check(L, rc);
}

static int region_length(lua_State *L)
{
    const struct lua_buffer *buffer = luaL_testudata(L, 1, TYPE_BUFFER);
    uint64_t bytes = buffer ? buffer->bytes : 0;

    if (!buffer)
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

/* The type on top of the stack: what regions and buffers have in common. Pops it. */
static void add_common(lua_State *L)
{
    static const struct {
        const char *name;
        int width;
    } numbers[] = {{"u8", 1}, {"u16", 2}, {"u32", 4}, {"u64", 8}};

    lua_pushcfunction(L, region_length);
    lua_setfield(L, -2, "__len");
    lua_getfield(L, -1, "__index");
    for (int i = 0; i < 4; i++) {
        lua_pushinteger(L, numbers[i].width);
        lua_pushcclosure(L, region_number, 1);
        lua_setfield(L, -2, numbers[i].name);
    }
    lua_pop(L, 2);
}

void core_region_init(lua_State *L)
{
    static const luaL_Reg methods[] = {{"read", region_read},        {"write", region_write},
                                       {"protect", region_protect},  {"remove", region_remove},
                                       {"gpa", region_gpa},          {"size", region_length},
                                       {"dirty", region_dirty},      {"written", region_written},
                                       {"share", core_region_share}, {NULL, NULL}};
    static const luaL_Reg buffer_methods[] = {
        {"read", region_read}, {"write", region_write}, {"size", region_length}, {NULL, NULL}};

    core_push_type(L, TYPE_REGION, methods, region_gc);
    add_common(L);
    core_push_type(L, TYPE_BUFFER, buffer_methods, NULL);
    add_common(L);
    (void)record_constants;
    (void)record_registers;
}
