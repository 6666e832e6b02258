/* Records of the library as userdata with their members as fields; errors; numbers. */
#include "core.h"
#include "records.inc"

/* --- errors: objects with code, detail and meaning --- */

static int error_text(lua_State *L)
{
    lua_getfield(L, 1, "detail");
    lua_getfield(L, 1, "meaning");
    lua_pushfstring(L, "%s (%s)", lua_tostring(L, -2), lua_tostring(L, -1));
    return 1;
}

int core_error_text(lua_State *L, int code, const char *detail)
{
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, detail);
    lua_setfield(L, -2, "detail");
    lua_pushstring(L, vmlib_strerror(code));
    lua_setfield(L, -2, "meaning");
    luaL_setmetatable(L, "vmlib.Error");
    return lua_error(L);
}

int core_error(lua_State *L, int code)
{
    return core_error_text(L, code, vmlib_last_error());
}

int core_devices_error(lua_State *L, int code)
{
    return core_error_text(L, code, vmlib_devices_last_error());
}

int core_check(lua_State *L, int code)
{
    return code < 0 ? core_error(L, code) : 0;
}

int core_devices_check(lua_State *L, int code)
{
    return code < 0 ? core_devices_error(L, code) : 0;
}

void core_errors_init(lua_State *L)
{
    luaL_newmetatable(L, "vmlib.Error");
    lua_pushcfunction(L, error_text);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
}

/* --- numbers --- */

static uint64_t number_of(lua_State *L, int index, unsigned bits, const char *what)
{
    int exact;
    lua_Integer value = lua_tointegerx(L, index, &exact);

    if (!exact)
        luaL_error(L, "%s: expected an integer, not %s", what, luaL_typename(L, index));
    if (bits < 64 && (uint64_t)value >> bits)
        luaL_error(L, "%s: %I does not fit %d bits", what, value, (int)bits);
    return (uint64_t)value;
}

uint64_t core_number(lua_State *L, int index, unsigned bits)
{
    lua_Integer value = luaL_checkinteger(L, index);

    if (bits < 64 && (uint64_t)value >> bits)
        luaL_argerror(L, index, "out of range");
    return (uint64_t)value;
}

uint64_t core_option(lua_State *L, int index, const char *name, unsigned bits, uint64_t otherwise)
{
    uint64_t value = otherwise;

    if (lua_isnoneornil(L, index))
        return otherwise;
    luaL_checktype(L, index, LUA_TTABLE);
    if (lua_getfield(L, index, name) != LUA_TNIL)
        value = number_of(L, -1, bits, name);
    lua_pop(L, 1);
    return value;
}

bool core_option_flag(lua_State *L, int index, const char *name)
{
    bool value;

    if (lua_isnoneornil(L, index))
        return false;
    luaL_checktype(L, index, LUA_TTABLE);
    lua_getfield(L, index, name);
    value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

/* --- records --- */

static void type_name(char name[64], const struct record_type *type)
{
    snprintf(name, 64, "vmlib.%s", type->name);
}

static char *data_of(struct lua_record *r)
{
    uint32_t offset = 0;

    for (; r->whole; r = r->whole)
        offset += r->offset;
    return r->data + offset;
}

static struct lua_record *push_record(lua_State *L, const struct record_type *type, size_t bytes,
                                      int values)
{
    struct lua_record *r = lua_newuserdatauv(L, sizeof(*r) + bytes, values);

    *r = (struct lua_record){type, NULL, NULL, 0};
    lua_rawgetp(L, LUA_REGISTRYINDEX, type); /* its metatable */
    lua_setmetatable(L, -2);
    return r;
}

void *core_record_new(lua_State *L, int id)
{
    const struct record_type *type = &record_types[id];
    struct lua_record *r = push_record(L, type, type->bytes, 0);

    r->data = (char *)(r + 1);
    memset(r->data, 0, type->bytes);
    if (type->sized)
        memcpy(r->data, &type->bytes, sizeof(type->bytes));
    return r->data;
}

void core_record_copy(lua_State *L, int id, const void *data)
{
    memcpy(core_record_new(L, id), data, record_types[id].bytes);
}

static struct lua_record *test_record(lua_State *L, int index, const struct record_type *type)
{
    struct lua_record *r = lua_touserdata(L, index);
    bool same;

    if (!r || !lua_getmetatable(L, index))
        return NULL;
    lua_rawgetp(L, LUA_REGISTRYINDEX, type);
    same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same ? r : NULL;
}

void *core_record_test(lua_State *L, int index, int id)
{
    struct lua_record *r = test_record(L, index, &record_types[id]);

    return r ? data_of(r) : NULL;
}

void *core_record_check(lua_State *L, int index, int id)
{
    void *data = core_record_test(L, index, id);

    if (!data) {
        luaL_error(L, "expected a %s, not %s", record_types[id].name, luaL_typename(L, index));
        return NULL; /* not reached */
    }
    return data;
}

/* --- members --- */

static unsigned width_of(unsigned kind)
{
    static const uint8_t width[] = {
        [RECORD_U8] = 1, [RECORD_U16] = 2, [RECORD_U32] = 4, [RECORD_U64] = 8, [RECORD_I32] = 4};
    return width[kind];
}

static lua_Integer load(const char *p, unsigned kind)
{
    switch (kind) {
    case RECORD_U8:
        return *(const uint8_t *)p;
    case RECORD_U16:
        return *(const uint16_t *)p;
    case RECORD_U32:
        return *(const uint32_t *)p;
    case RECORD_I32:
        return *(const int32_t *)p;
    default:
        return (lua_Integer) * (const uint64_t *)p;
    }
}

static void store(lua_State *L, int index, char *p, const struct record_field *field)
{
    lua_Integer value = (lua_Integer)number_of(L, index, 64, field->name);
    unsigned width = width_of(field->kind);
    bool fits = field->kind == RECORD_I32 ? value >= INT32_MIN && value <= INT32_MAX
                                          : width == 8 || !((uint64_t)value >> 8 * width);

    if (!fits)
        luaL_error(L, "%s: %I does not fit %d bits", field->name, value, 8 * (int)width);
    memcpy(p, &value, width);
}

static int push_member(lua_State *L, int index, struct lua_record *r,
                       const struct record_field *field)
{
    const char *p = data_of(r) + field->offset;
    struct lua_record *part;

    switch (field->kind) {
    case RECORD_STRUCT:
        part = push_record(L, field->type, 0, 1);
        part->whole = r;
        part->offset = field->offset;
        lua_pushvalue(L, index);
        lua_setiuservalue(L, -2, 1);
        return 1;
    case RECORD_TEXT:
        lua_pushlstring(L, p, strnlen(p, field->count));
        return 1;
    case RECORD_BYTES:
        lua_pushlstring(L, p, field->count);
        return 1;
    default:
        break;
    }
    if (!field->count) {
        lua_pushinteger(L, load(p, field->kind));
        return 1;
    }
    lua_createtable(L, field->count, 0);
    for (unsigned i = 0; i < field->count; i++) {
        lua_pushinteger(L, load(p + i * width_of(field->kind), field->kind));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* Is it one of `exit.port` and so on? Pushes it and says 1. */
static int push_shortcut(lua_State *L, const struct vmlib_exit *exit, const char *name)
{
    if (strcmp(name, "name") == 0) {
        lua_pushstring(L, vmlib_exit_name(exit->reason));
        return 1;
    }
    if (exit->reason == VMLIB_EXIT_PIO || exit->reason == VMLIB_EXIT_MMIO) {
        bool pio = exit->reason == VMLIB_EXIT_PIO;

        if (strcmp(name, "value") == 0)
            lua_pushinteger(L, pio ? exit->u.pio.value : (lua_Integer)exit->u.mmio.value);
        else if (strcmp(name, "write") == 0)
            lua_pushboolean(L, pio ? exit->u.pio.write : exit->u.mmio.write);
        else if (strcmp(name, "width") == 0)
            lua_pushinteger(L, pio ? exit->u.pio.width : exit->u.mmio.width);
        else if (strcmp(name, "address") == 0 || (pio && strcmp(name, "port") == 0))
            lua_pushinteger(L, pio ? exit->u.pio.port : (lua_Integer)exit->u.mmio.gpa);
        else
            return 0;
        return 1;
    }
    if (exit->reason == VMLIB_EXIT_MSR && strcmp(name, "value") == 0)
        lua_pushinteger(L, (lua_Integer)exit->u.msr.value);
    else if (exit->reason == VMLIB_EXIT_MSR && strcmp(name, "write") == 0)
        lua_pushboolean(L, exit->u.msr.write);
    else
        return 0;
    return 1;
}

/* Upvalue 1: name -> number of the field, or a method. */
static int record_index(lua_State *L)
{
    struct lua_record *r = lua_touserdata(L, 1);
    const char *name;

    lua_pushvalue(L, 2);
    switch (lua_rawget(L, lua_upvalueindex(1))) {
    case LUA_TNUMBER:
        return push_member(L, 1, r, &r->type->fields[lua_tointeger(L, -1)]);
    case LUA_TFUNCTION:
        return 1;
    default:
        break;
    }
    name = lua_tostring(L, 2);
    if (name && r->type == &record_types[RECORD_EXIT] &&
        push_shortcut(L, (const struct vmlib_exit *)(const void *)data_of(r), name))
        return 1;
    return luaL_error(L, "%s has no member '%s'", r->type->name, name ? name : luaL_typename(L, 2));
}

static int set_array(lua_State *L, char *p, const struct record_field *field)
{
    uint64_t buffer[64];

    luaL_checktype(L, 3, LUA_TTABLE);
    if (lua_rawlen(L, 3) != field->count)
        return luaL_error(L, "%s takes %d values", field->name, field->count);
    for (unsigned i = 0; i < field->count; i++) {
        lua_rawgeti(L, 3, (lua_Integer)i + 1);
        store(L, -1, (char *)buffer + i * width_of(field->kind), field);
        lua_pop(L, 1);
    }
    memcpy(p, buffer, (size_t)field->count * width_of(field->kind));
    return 0;
}

static int set_member(lua_State *L, struct lua_record *r, const struct record_field *field)
{
    char *p = data_of(r) + field->offset;
    struct lua_record *other;
    const char *bytes;
    size_t length;

    switch (field->kind) {
    case RECORD_STRUCT:
        other = test_record(L, 3, field->type);
        if (!other)
            return luaL_error(L, "%s: expected a %s, not %s", field->name, field->type->name,
                              luaL_typename(L, 3));
        memmove(p, data_of(other), field->type->bytes);
        return 0;
    case RECORD_TEXT:
        return luaL_error(L, "%s is read only", field->name);
    case RECORD_BYTES:
        bytes = luaL_checklstring(L, 3, &length);
        if (length != field->count)
            return luaL_error(L, "%s takes %d bytes, not %I", field->name, field->count,
                              (lua_Integer)length);
        memcpy(p, bytes, length);
        return 0;
    default:
        break;
    }
    if (field->count)
        return set_array(L, p, field);
    store(L, 3, p, field);
    return 0;
}

static int set_value(lua_State *L, struct vmlib_exit *exit)
{
    if (exit->reason == VMLIB_EXIT_PIO)
        exit->u.pio.value = (uint32_t)core_number(L, 3, 32);
    else if (exit->reason == VMLIB_EXIT_MMIO)
        exit->u.mmio.value = core_number(L, 3, 64);
    else if (exit->reason == VMLIB_EXIT_MSR)
        exit->u.msr.value = core_number(L, 3, 64);
    else
        return luaL_error(L, "%s exits have no value", vmlib_exit_name(exit->reason));
    return 0;
}

static int record_newindex(lua_State *L)
{
    struct lua_record *r = lua_touserdata(L, 1);
    const char *name;

    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TNUMBER)
        return set_member(L, r, &r->type->fields[lua_tointeger(L, -1)]);
    name = lua_tostring(L, 2);
    if (name && r->type == &record_types[RECORD_EXIT] && strcmp(name, "value") == 0)
        return set_value(L, (struct vmlib_exit *)(void *)data_of(r));
    return luaL_error(L, "%s has no member '%s'", r->type->name, name ? name : luaL_typename(L, 2));
}

/* --- methods --- */

static struct lua_record *check_any(lua_State *L)
{
    struct lua_record *r = lua_touserdata(L, 1);

    for (int id = 0; r && id < RECORD_TYPES; id++)
        if (test_record(L, 1, &record_types[id]))
            return r;
    luaL_argerror(L, 1, "expected a record");
    return NULL;
}

static int record_copy(lua_State *L)
{
    struct lua_record *r = check_any(L);

    core_record_copy(L, (int)(r->type - record_types), data_of(r));
    return 1;
}

static int record_raw(lua_State *L)
{
    struct lua_record *r = check_any(L);

    lua_pushlstring(L, data_of(r), r->type->bytes);
    return 1;
}

static int record_text(lua_State *L)
{
    struct lua_record *r = check_any(L);
    luaL_Buffer buffer;

    luaL_buffinit(L, &buffer);
    luaL_addstring(&buffer, r->type->name);
    luaL_addstring(&buffer, "{");
    for (unsigned i = 0; i < r->type->count; i++) {
        const struct record_field *field = &r->type->fields[i];
        const char *p = data_of(r) + field->offset;
        char text[320];

        if (field->kind == RECORD_TEXT)
            snprintf(text, sizeof(text), "%s = '%.*s', ", field->name, field->count, p);
        else if (field->count || field->kind == RECORD_STRUCT)
            continue;
        else
            snprintf(text, sizeof(text), "%s = 0x%llx, ", field->name,
                     (unsigned long long)load(p, field->kind));
        luaL_addstring(&buffer, text);
    }
    luaL_addstring(&buffer, "}");
    luaL_pushresult(&buffer);
    return 1;
}

static int record_equal(lua_State *L)
{
    struct lua_record *a = check_any(L), *b = test_record(L, 2, a->type);

    lua_pushboolean(L, b && memcmp(data_of(a), data_of(b), a->type->bytes) == 0);
    return 1;
}

void core_record_fill(lua_State *L, int table)
{
    luaL_checktype(L, table, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pushvalue(L, -2); /* record key value key */
        lua_insert(L, -2);
        lua_settable(L, -4); /* record key */
    }
}

/* The inverse of raw(): the string at 1. */
static int from_raw(lua_State *L, int id)
{
    const struct record_type *type = &record_types[id];
    size_t bytes, skip = type->sized ? sizeof(type->bytes) : 0; /* its size is its own */
    const char *data = lua_tolstring(L, 1, &bytes);

    luaL_argcheck(L, bytes == type->bytes, 1, "the length is not that of this record");
    memcpy((char *)core_record_new(L, id) + skip, data + skip, bytes - skip);
    return 1;
}

static int record_construct(lua_State *L)
{
    int id = (int)lua_tointeger(L, lua_upvalueindex(1));

    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TSTRING)
        return from_raw(L, id);
    core_record_new(L, id);
    if (!lua_isnil(L, 1))
        core_record_fill(L, 1);
    return 1;
}

static void make_type(lua_State *L, int id)
{
    static const luaL_Reg methods[] = {{"copy", record_copy}, {"raw", record_raw}, {NULL, NULL}};
    const struct record_type *type = &record_types[id];
    char name[64];

    type_name(name, type);
    luaL_newmetatable(L, name);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, type);
    luaL_newlib(L, methods);
    for (unsigned i = 0; i < type->count; i++) {
        lua_pushinteger(L, i);
        lua_setfield(L, -2, type->fields[i].name);
    }
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, record_index, 1);
    lua_setfield(L, -3, "__index");
    lua_pushcclosure(L, record_newindex, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, record_text);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, record_equal);
    lua_setfield(L, -2, "__eq");
    lua_pop(L, 1);
}

void core_records_init(lua_State *L)
{
    for (int id = 0; id < RECORD_TYPES; id++) {
        make_type(L, id);
        lua_pushinteger(L, id);
        lua_pushcclosure(L, record_construct, 1);
        lua_setfield(L, -2, record_types[id].name);
    }
    for (size_t i = 0; i < sizeof(record_constants) / sizeof(record_constants[0]); i++) {
        lua_pushinteger(L, record_constants[i].value);
        lua_setfield(L, -2, record_constants[i].name);
    }
    for (size_t i = 0; i < sizeof(record_registers) / sizeof(record_registers[0]); i++) {
        char name[32] = "REG_";

        for (size_t k = 0; k + 5 < sizeof(name) && record_registers[i].name[k]; k++) {
            char c = record_registers[i].name[k];

            name[4 + k] = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        }
        lua_pushinteger(L, record_registers[i].reg);
        lua_setfield(L, -2, name);
    }
}

/* --- types of objects --- */

void core_push_type(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
    luaL_newmetatable(L, name);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    if (gc) {
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__metatable"); /* scripts cannot take the finalizer */
}
