/* Virtual CPUs: registers as fields, run, complete, events. */
#include "core.h"
#include "records.inc"

#define REGISTERS (sizeof(record_registers) / sizeof(record_registers[0]))

struct lua_vcpu *core_vcpu(lua_State *L, int index)
{
    struct lua_vcpu *self = core_vcpu_any(L, index);

    if (self->elsewhere)
        core_error_text(L, VMLIB_E_BUSY, "vcpu: a console runs it");
    return self;
}

struct lua_vcpu *core_vcpu_any(lua_State *L, int index)
{
    struct lua_vcpu *self = luaL_checkudata(L, index, TYPE_VCPU);
    struct lua_vm *vm = core_vm_of(L, index);

    lua_pop(L, 1);
    if (!self->vcpu || !vm || !vm->vm)
        core_error_text(L, VMLIB_E_STATE, "vcpu: its VM is closed");
    return self;
}

vmlib_vcpu **core_vcpu_new(lua_State *L, int vm)
{
    struct lua_vcpu *self;

    vm = lua_absindex(L, vm);
    self = lua_newuserdatauv(L, sizeof(*self), 1);
    memset(self, 0, sizeof(*self));
    luaL_setmetatable(L, TYPE_VCPU);
    lua_pushvalue(L, vm);
    lua_setiuservalue(L, -2, 1);
    return &self->vcpu;
}

void core_vcpu_known(lua_State *L, int vm)
{
    struct lua_vcpu *self = lua_touserdata(L, -1), *known;
    lua_Integer index = vmlib_vcpu_index(self->vcpu);

    lua_getiuservalue(L, vm, 2);
    lua_rawgeti(L, -1, index);
    known = lua_touserdata(L, -1);
    if (known && known->vcpu == self->vcpu) {
        lua_replace(L, -3); /* the collector drops the new one's reference */
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, index);
    lua_pop(L, 1);
}

static int vcpu_gc(lua_State *L)
{
    struct lua_vcpu *self = luaL_checkudata(L, 1, TYPE_VCPU);

    vmlib_vcpu_unref(self->vcpu);
    self->vcpu = NULL;
    return 0;
}

/* --- run --- */

/* vcpu:run{budget=, deadline_ns=, wait=, step=, generation=} -> Exit */
static int vcpu_run(lua_State *L)
{
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct lua_vcpu *self = core_vcpu(L, 1);
    struct vmlib_exit *exit;
    struct lua_run run;
    int rc;

    lua_settop(L, 2);
    args.budget = core_option(L, 2, "budget", 64, 0);
    args.deadline_ns = core_option(L, 2, "deadline_ns", 64, 0);
    args.generation = core_option(L, 2, "generation", 64, 0);
    args.flags = (core_option_flag(L, 2, "wait") ? VMLIB_RUN_WAIT_IN_HLT : 0) |
                 (core_option_flag(L, 2, "step") ? VMLIB_RUN_SINGLE_STEP : 0);
    exit = core_record_new(L, RECORD_EXIT); /* at 3 */
    core_run_begin(L, &run, 1, NULL);
    rc = vmlib_vcpu_run(self->vcpu, &args, exit);
    core_run_end(&run);
    if (run.failed && (rc == VMLIB_E_USER || rc == 0)) {
        lua_pushvalue(L, run.error);
        return lua_error(L);
    }
    if (rc < 0)
        return core_error(L, rc);
    self->last = *exit;
    lua_settop(L, 3);
    return 1;
}

/* The answer at 2 as bytes; returns their number. */
static uint32_t answer_bytes(lua_State *L, const struct vmlib_exit *exit, uint64_t data[2])
{
    unsigned width = exit->reason == VMLIB_EXIT_PIO    ? exit->u.pio.width
                     : exit->reason == VMLIB_EXIT_MMIO ? exit->u.mmio.width
                                                       : 8;

    if (lua_isnoneornil(L, 2))
        return 0;
    if (exit->reason != VMLIB_EXIT_CPUID) {
        data[0] = core_number(L, 2, 8 * width);
        return width;
    }
    luaL_argcheck(L, lua_istable(L, 2) && lua_rawlen(L, 2) == 4, 2,
                  "expected {eax, ebx, ecx, edx}");
    for (int i = 0; i < 4; i++) {
        lua_rawgeti(L, 2, i + 1);
        data[i / 2] |= core_number(L, -1, 32) << (i % 2 * 32);
        lua_pop(L, 1);
    }
    return 16;
}

static int vcpu_complete(lua_State *L)
{
    struct lua_vcpu *self = core_vcpu(L, 1);
    uint64_t data[2] = {0, 0};
    uint32_t bytes = answer_bytes(L, &self->last, data);
    struct lua_run run;
    int rc;

    lua_settop(L, 2);
    core_run_begin(L, &run, 1, NULL); /* more accesses of the instruction may have handlers */
    rc = vmlib_vcpu_complete(self->vcpu, bytes ? data : NULL, bytes);
    core_run_end(&run);
    if (run.failed) {
        lua_pushvalue(L, run.error);
        return lua_error(L);
    }
    return core_check(L, rc);
}

static int vcpu_fault(lua_State *L)
{
    uint32_t code = lua_isnoneornil(L, 3) ? 0 : (uint32_t)core_number(L, 3, 32);

    return core_check(
        L, vmlib_vcpu_complete_fault(core_vcpu(L, 1)->vcpu, (uint32_t)core_number(L, 2, 32), code));
}

/* --- from any thread --- */

static int vcpu_cancel(lua_State *L)
{
    struct lua_vcpu *self = core_vcpu_any(L, 1);

    return core_check(L, lua_isnoneornil(L, 2)
                             ? vmlib_vcpu_cancel(self->vcpu)
                             : vmlib_vcpu_cancel_run(self->vcpu, core_number(L, 2, 64)));
}

static int vcpu_generation(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)vmlib_vcpu_generation(core_vcpu_any(L, 1)->vcpu));
    return 1;
}

static int vcpu_set_intr(lua_State *L)
{
    return core_check(
        L, vmlib_vcpu_set_intr(core_vcpu_any(L, 1)->vcpu, (uint32_t)core_number(L, 2, 32)));
}

static int vcpu_nmi(lua_State *L)
{
    return core_check(L, vmlib_vcpu_nmi(core_vcpu_any(L, 1)->vcpu));
}

static int vcpu_init(lua_State *L)
{
    return core_check(L, vmlib_vcpu_init(core_vcpu_any(L, 1)->vcpu));
}

static int vcpu_sipi(lua_State *L)
{
    return core_check(L,
                      vmlib_vcpu_sipi(core_vcpu_any(L, 1)->vcpu, (uint32_t)core_number(L, 2, 32)));
}

/* --- events, debugging --- */

static int vcpu_window(lua_State *L)
{
    return core_check(L, vmlib_vcpu_request_interrupt_window(core_vcpu(L, 1)->vcpu,
                                                             (uint32_t)core_number(L, 2, 32)));
}

static int vcpu_exceptions(lua_State *L)
{
    return core_check(
        L, vmlib_vcpu_set_exception_exits(core_vcpu(L, 1)->vcpu, (uint32_t)core_number(L, 2, 32)));
}

/* An Event, or a table of its members. */
static int vcpu_inject(lua_State *L)
{
    struct lua_vcpu *self = core_vcpu(L, 1);

    lua_settop(L, 2);
    if (lua_istable(L, 2)) {
        core_record_new(L, RECORD_EVENT);
        core_record_fill(L, 2);
    }
    return core_check(L, vmlib_vcpu_inject(self->vcpu, core_record_check(L, -1, RECORD_EVENT)));
}

/* vcpu:set_breakpoint(slot, address, kind, width); address nil: clear */
static int vcpu_breakpoint(lua_State *L)
{
    struct vmlib_breakpoint point = VMLIB_BREAKPOINT_INIT;
    struct lua_vcpu *self = core_vcpu(L, 1);
    uint32_t slot = (uint32_t)core_number(L, 2, 32);

    point.kind = lua_isnoneornil(L, 4) ? VMLIB_BREAKPOINT_EXEC : (uint32_t)core_number(L, 4, 32);
    point.width = lua_isnoneornil(L, 5) ? 1 : (uint32_t)core_number(L, 5, 32);
    if (!lua_isnoneornil(L, 3))
        point.address = core_number(L, 3, 64);
    return core_check(
        L, vmlib_vcpu_set_breakpoint(self->vcpu, slot, lua_isnoneornil(L, 3) ? NULL : &point));
}

static int vcpu_translate(lua_State *L)
{
    struct vmlib_translation translation = VMLIB_TRANSLATION_INIT;
    uint32_t access = lua_isnoneornil(L, 3) ? VMLIB_ACCESS_READ : (uint32_t)core_number(L, 3, 32);

    core_check(L, vmlib_vcpu_translate(core_vcpu(L, 1)->vcpu, core_number(L, 2, 64), access,
                                       &translation));
    core_record_copy(L, RECORD_TRANSLATION, &translation);
    return 1;
}

static int vcpu_read(lua_State *L)
{
    struct lua_vcpu *self = core_vcpu(L, 1);
    uint64_t gva = core_number(L, 2, 64), bytes = core_number(L, 3, 40);
    luaL_Buffer buffer;
    char *p = luaL_buffinitsize(L, &buffer, bytes);

    core_check(L, vmlib_vcpu_read_virt(self->vcpu, gva, p, bytes));
    luaL_pushresultsize(&buffer, bytes);
    return 1;
}

static int vcpu_write(lua_State *L)
{
    struct lua_vcpu *self = core_vcpu(L, 1);
    size_t bytes;
    const char *data = luaL_checklstring(L, 3, &bytes);

    return core_check(L, vmlib_vcpu_write_virt(self->vcpu, core_number(L, 2, 64), data, bytes));
}

/* --- state --- */

static uint32_t groups_at(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) ? VMLIB_STATE_ALL : (uint32_t)core_number(L, index, 32);
}

static int vcpu_get_state(lua_State *L)
{
    struct lua_vcpu *self = core_vcpu(L, 1);
    uint32_t groups = groups_at(L, 2);
    struct vmlib_state *state = core_record_new(L, RECORD_STATE);

    core_check(L, vmlib_vcpu_get_state(self->vcpu, groups, state));
    return 1;
}

static int vcpu_set_state(lua_State *L)
{
    struct lua_vcpu *self = core_vcpu(L, 1);
    const struct vmlib_state *state = core_record_check(L, 2, RECORD_STATE);

    return core_check(L, vmlib_vcpu_set_state(self->vcpu, groups_at(L, 3), state));
}

static int push_register(lua_State *L, vmlib_vcpu *vcpu, const struct record_register *reg)
{
    _Alignas(8) char data[64];
    uint64_t value = 0;

    if (!reg->bytes) {
        core_check(L, vmlib_vcpu_get_reg(vcpu, reg->reg, &value));
        lua_pushinteger(L, (lua_Integer)value);
        return 1;
    }
    core_check(L, vmlib_vcpu_get_reg_wide(vcpu, reg->reg, data, reg->bytes));
    if (reg->type)
        core_record_copy(L, (int)(reg->type - record_types), data);
    else
        lua_pushlstring(L, data, reg->bytes);
    return 1;
}

static int set_register(lua_State *L, vmlib_vcpu *vcpu, const struct record_register *reg,
                        int index)
{
    size_t bytes = reg->bytes;
    const void *data;

    if (!reg->bytes)
        return core_check(L, vmlib_vcpu_set_reg(vcpu, reg->reg, core_number(L, index, 64)));
    data = reg->type ? core_record_check(L, index, (int)(reg->type - record_types))
                     : luaL_checklstring(L, index, &bytes);
    return core_check(L, vmlib_vcpu_set_reg_wide(vcpu, reg->reg, data, (uint32_t)bytes));
}

static int vcpu_registers(lua_State *L)
{
    struct lua_vcpu *self = core_vcpu(L, 1);

    lua_newtable(L);
    for (unsigned i = 0; i < REGISTERS && !record_registers[i].bytes; i++) {
        push_register(L, self->vcpu, &record_registers[i]);
        lua_setfield(L, -2, record_registers[i].name);
    }
    return 1;
}

/* vcpu:set{rax=1, rip=0x1000} */
static int vcpu_set(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_pushvalue(L, 1);
    core_record_fill(L, 2);
    return 0;
}

static int vcpu_cpuid(lua_State *L)
{
    struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX];
    uint32_t count = VMLIB_CPUID_MAX;

    core_check(L, vmlib_vcpu_get_cpuid(core_vcpu(L, 1)->vcpu, leaves, &count));
    core_push_leaves(L, leaves, count);
    return 1;
}

static int vcpu_set_cpuid(lua_State *L)
{
    struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX];
    struct lua_vcpu *self = core_vcpu(L, 1);
    uint32_t count = core_take_leaves(L, 2, leaves);

    return core_check(L, vmlib_vcpu_set_cpuid(self->vcpu, leaves, count));
}

static int vcpu_index_number(lua_State *L)
{
    lua_pushinteger(L, vmlib_vcpu_index(core_vcpu_any(L, 1)->vcpu));
    return 1;
}

static int vcpu_vm(lua_State *L)
{
    luaL_checkudata(L, 1, TYPE_VCPU);
    core_vm_of(L, 1);
    return 1;
}

static int vcpu_mock_script(lua_State *L)
{
    struct lua_vcpu *self = core_vcpu(L, 1);

    luaL_checktype(L, 2, LUA_TTABLE);
    for (int i = 1; i <= (int)lua_rawlen(L, 2); i++) {
        lua_rawgeti(L, 2, i);
        core_check(L, vmlib_mock_script(self->vcpu, core_record_check(L, -1, RECORD_MOCK_STEP), 1));
        lua_pop(L, 1);
    }
    return 0;
}

static int vcpu_mock_result(lua_State *L)
{
    struct lua_vcpu *self = core_vcpu(L, 1);

    core_check(L, vmlib_mock_result(self->vcpu, core_record_new(L, RECORD_MOCK_RESULT)));
    return 1;
}

/* --- fields: upvalue 1 has the methods, and registers by number --- */

static int vcpu_index(lua_State *L)
{
    lua_pushvalue(L, 2);
    switch (lua_rawget(L, lua_upvalueindex(1))) {
    case LUA_TFUNCTION:
        return 1;
    case LUA_TNUMBER:
        return push_register(L, core_vcpu(L, 1)->vcpu, &record_registers[lua_tointeger(L, -1)]);
    default:
        return luaL_error(L, "a vCPU has no register or method '%s'", luaL_tolstring(L, 2, NULL));
    }
}

static int vcpu_newindex(lua_State *L)
{
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNUMBER)
        return luaL_error(L, "a vCPU has no register '%s'", luaL_tolstring(L, 2, NULL));
    return set_register(L, core_vcpu(L, 1)->vcpu, &record_registers[lua_tointeger(L, -1)], 3);
}

void core_vcpu_init(lua_State *L)
{
    static const luaL_Reg methods[] = {{"run", vcpu_run},
                                       {"call", core_call},
                                       {"complete", vcpu_complete},
                                       {"fault", vcpu_fault},
                                       {"cancel", vcpu_cancel},
                                       {"generation", vcpu_generation},
                                       {"set_intr", vcpu_set_intr},
                                       {"nmi", vcpu_nmi},
                                       {"init", vcpu_init},
                                       {"sipi", vcpu_sipi},
                                       {"request_interrupt_window", vcpu_window},
                                       {"set_exception_exits", vcpu_exceptions},
                                       {"inject", vcpu_inject},
                                       {"set_breakpoint", vcpu_breakpoint},
                                       {"translate", vcpu_translate},
                                       {"read", vcpu_read},
                                       {"write", vcpu_write},
                                       {"get_state", vcpu_get_state},
                                       {"set_state", vcpu_set_state},
                                       {"registers", vcpu_registers},
                                       {"set", vcpu_set},
                                       {"cpuid", vcpu_cpuid},
                                       {"set_cpuid", vcpu_set_cpuid},
                                       {"index", vcpu_index_number},
                                       {"vm", vcpu_vm},
                                       {"mock_script", vcpu_mock_script},
                                       {"mock_result", vcpu_mock_result},
                                       {NULL, NULL}};

    core_push_type(L, TYPE_VCPU, methods, vcpu_gc);
    lua_getfield(L, -1, "__index"); /* the table of methods */
    for (unsigned i = 0; i < REGISTERS; i++) {
        lua_pushinteger(L, i);
        lua_setfield(L, -2, record_registers[i].name);
    }
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, vcpu_index, 1);
    lua_setfield(L, -3, "__index");
    lua_pushcclosure(L, vcpu_newindex, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pop(L, 1);
    (void)record_constants;
}
