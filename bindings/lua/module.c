/* The Lua module vmlib: functions without an object, and initialization. */
#include "core.h"
#include "records.inc"

static int backend_query(lua_State *L)
{
    uint32_t backend = (uint32_t)core_number(L, 1, 32);
    struct vmlib_backend_info *info = core_record_new(L, RECORD_BACKEND_INFO);
    int rc = vmlib_backend_query(backend, info);

    return rc < 0 ? core_error(L, rc) : 1;
}

static int backend_feature(lua_State *L)
{
    uint32_t support = 0;
    int rc = vmlib_backend_feature((uint32_t)core_number(L, 1, 32), (uint32_t)core_number(L, 2, 32),
                                   &support);

    lua_pushinteger(L, support);
    return rc < 0 ? core_error(L, rc) : 1;
}

static int backend_by_name(lua_State *L)
{
    uint32_t backend = 0;
    int rc = vmlib_backend_by_name(luaL_checkstring(L, 1), &backend);

    lua_pushinteger(L, backend);
    return rc < 0 ? core_error(L, rc) : 1;
}

static int boot_detect(lua_State *L)
{
    size_t bytes;
    const char *data = luaL_checklstring(L, 1, &bytes);
    uint32_t format = 0;
    int rc = vmlib_boot_detect(data, bytes, &format);

    lua_pushinteger(L, format);
    return rc < 0 ? core_devices_error(L, rc) : 1;
}

/* Short names; nil for numbers that this version does not know. */
#define NAME_FUNCTION(function)                                               \
    static int function(lua_State *L)                                         \
    {                                                                         \
        lua_pushstring(L, vmlib_##function((uint32_t)core_number(L, 1, 32))); \
        return 1;                                                             \
    }
NAME_FUNCTION(exit_name)
NAME_FUNCTION(feature_name)
NAME_FUNCTION(boot_format_name)
NAME_FUNCTION(machine_end_name)

static int version(lua_State *L)
{
    uint32_t number = vmlib_version();

    lua_pushfstring(L, "%d.%d.%d", (int)(number / 1000000), (int)(number / 1000 % 1000),
                    (int)(number % 1000));
    return 1;
}

__attribute__((visibility("default"))) int luaopen_vmlib(lua_State *L);

int luaopen_vmlib(lua_State *L)
{
    static const luaL_Reg functions[] = {{"vm", core_vm_create},
                                         {"machine", core_machine_create},
                                         {"ring", core_ring_create},
                                         {"console", core_console_create},
                                         {"elf_symbol", core_elf_symbol},
                                         {"double", core_double},
                                         {"boot_load", core_boot_load},
                                         {"boot_detect", boot_detect},
                                         {"backend_query", backend_query},
                                         {"backend_feature", backend_feature},
                                         {"backend_by_name", backend_by_name},
                                         {"exit_name", exit_name},
                                         {"feature_name", feature_name},
                                         {"boot_format_name", boot_format_name},
                                         {"machine_end_name", machine_end_name},
                                         {"backend_pick", core_backend_pick},
                                         {"buffer", core_buffer_create},
                                         {"handoff_cpuid", core_handoff_cpuid},
                                         {"handoff_memory", core_handoff_memory},
                                         {"handoff_vcpu", core_handoff_vcpu},
                                         {"lockstep", core_lockstep_create},
                                         {"version", version},
                                         {NULL, NULL}};

    core_errors_init(L);
    core_vm_init(L);
    core_vcpu_init(L);
    core_region_init(L);
    core_handler_init(L);
    core_machine_init(L);
    core_kit_init(L);
    core_console_init(L);
    core_lockstep_init(L);
    luaL_newlib(L, functions);
    core_records_init(L);
    lua_pushliteral(L, "<I8I8I4BBBx"); /* of one event in ring:take() */
    lua_setfield(L, -2, "RING_FORMAT");
    (void)record_constants;
    (void)record_registers;
    return 1;
}
