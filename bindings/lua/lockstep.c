/* Two vCPUs side by side. Its functions run inside vmlib_lockstep_run(). */
#include "core.h"
#include "records.inc"

#define TYPE_LOCKSTEP "vmlib.Lockstep"

/* User values: 1 and 2 the vCPUs, 3 the exit function, 4 the mask function, 5 and 6 the machines
 * that run the vCPUs, or nil. */
struct lua_lockstep {
    vmlib_lockstep *lockstep; /* NULL: closed */
    bool asking;              /* the exit function is being called */
    bool machines;
    struct lockstep_run *run; /* NULL: it does not run */
};

/* While it runs: places in the stack. */
struct lockstep_run {
    struct lua_run side[2];
    int self, exit, mask;
    vmlib_machine *machine[2];
    vmlib_vcpu *vcpu[2];
};

static struct lua_lockstep *lockstep_of(lua_State *L)
{
    struct lua_lockstep *self = luaL_checkudata(L, 1, TYPE_LOCKSTEP);

    if (!self->lockstep)
        core_error_text(L, VMLIB_E_STATE, "lockstep: it is closed");
    return self;
}

/* Not while it runs; from the exit function, if that is allowed. */
static vmlib_lockstep *idle(lua_State *L, bool from_exit)
{
    struct lua_lockstep *self = lockstep_of(L);

    if (self->run && !(from_exit && self->asking))
        core_error_text(L, VMLIB_E_BUSY, "lockstep: it is running");
    return self->lockstep;
}

/* --- calls from the library --- */

static int on_exit_record(void *opaque, vmlib_lockstep *lockstep, struct vmlib_exit *exit)
{
    struct lua_lockstep *self = opaque;
    struct lua_run *run = &self->run->side[0];
    bool ends = exit->reason == VMLIB_EXIT_HLT || exit->reason == VMLIB_EXIT_SHUTDOWN;
    int answer;

    (void)lockstep;
    if (!lua_checkstack(run->L, 12))
        return VMLIB_E_NOMEM;
    lua_pushvalue(run->L, self->run->exit);
    self->asking = true;
    answer = core_run_ask(run, self->run->self, ends ? VMLIB_PASS : VMLIB_HANDLED, exit);
    self->asking = false;
    return answer;
}

/* Under lua_pcall(): function, instruction, mask (pointers). */
static int call_mask(lua_State *L)
{
    const struct vmlib_lockstep_insn *insn = lua_touserdata(L, 2);
    struct vmlib_lockstep_mask *mask = lua_touserdata(L, 3);

    lua_settop(L, 3);
    core_record_copy(L, RECORD_LOCKSTEP_MASK, mask); /* at 4 */
    lua_pushvalue(L, 1);
    core_record_copy(L, RECORD_LOCKSTEP_INSN, insn);
    lua_pushvalue(L, 4);
    if (insn->before)
        core_record_copy(L, RECORD_STATE, insn->before);
    else
        lua_pushnil(L);
    lua_call(L, 3, 0);
    memcpy(mask, core_record_check(L, 4, RECORD_LOCKSTEP_MASK), sizeof(*mask));
    return 0;
}

/* Cannot answer: an error ends the run instead. */
static void on_mask(void *opaque, const struct vmlib_lockstep_insn *insn,
                    struct vmlib_lockstep_mask *mask)
{
    struct lua_lockstep *self = opaque;
    struct lua_run *run = &self->run->side[0];

    if (!lua_checkstack(run->L, 12))
        return;
    lua_pushcfunction(run->L, call_mask);
    lua_pushvalue(run->L, self->run->mask);
    lua_pushlightuserdata(run->L, (void *)(uintptr_t)insn);
    lua_pushlightuserdata(run->L, mask);
    if (lua_pcall(run->L, 3, 0, 0) != LUA_OK) {
        core_run_fail(run);
        vmlib_lockstep_stop(self->lockstep);
    }
}

/* The machines' own way to run a vCPU. */
static int on_run(void *opaque, unsigned side, const struct vmlib_run_args *args,
                  struct vmlib_exit *exit)
{
    struct lockstep_run *run = ((struct lua_lockstep *)opaque)->run;

    return vmlib_machine_step(run->machine[side], run->vcpu[side], args->budget, exit);
}

/* --- creation --- */

/* Option `regions`: pairs. They stay on the stack. */
static uint32_t take_regions(lua_State *L, struct vmlib_lockstep_region *regions)
{
    uint32_t count;
    int list;

    if (lua_getfield(L, 3, "regions") == LUA_TNIL)
        return 0;
    list = lua_gettop(L);
    luaL_checktype(L, list, LUA_TTABLE);
    luaL_argcheck(L, lua_rawlen(L, list) <= VMLIB_LOCKSTEP_REGIONS, 3, "regions: too many");
    luaL_checkstack(L, 4 * (int)VMLIB_LOCKSTEP_REGIONS, "regions");
    count = (uint32_t)lua_rawlen(L, list);
    for (uint32_t i = 0; i < count; i++) {
        lua_rawgeti(L, list, i + 1);
        luaL_argcheck(L, lua_istable(L, -1), 3, "regions: expected pairs of regions");
        lua_rawgeti(L, -1, 1);
        regions[i].region[0] = core_region(L, -1);
        lua_rawgeti(L, -2, 2);
        regions[i].region[1] = core_region(L, -1);
    }
    return count;
}

/* Member `name` of the options becomes user value `value`. */
static bool take_function(lua_State *L, const char *name, int self, int value)
{
    bool found = lua_getfield(L, 3, name) != LUA_TNIL;

    luaL_argcheck(L, !found || lua_isfunction(L, -1), 3, name);
    lua_setiuservalue(L, self, value);
    return found;
}

static bool take_machines(lua_State *L, int self)
{
    if (lua_getfield(L, 3, "machines") == LUA_TNIL)
        return false;
    luaL_checktype(L, -1, LUA_TTABLE);
    for (int i = 1; i <= 2; i++) {
        lua_rawgeti(L, -1, i);
        core_machine(L, -1);
        lua_setiuservalue(L, self, 4 + i);
    }
    return true;
}

static void use_machines(lua_State *L, int self, int change)
{
    for (int i = 1; i <= 2; i++) {
        lua_getiuservalue(L, self, 4 + i);
        core_machine_use(L, -1, change);
        lua_pop(L, 1);
    }
}

/* vmlib.lockstep(a, b, {regions={{ra, rb}}, grain=, flags=, interval=, history=, slice=,
 * deadline_ns=, exit=function, mask=function, machines={ma, mb}}) */
int core_lockstep_create(lua_State *L)
{
    struct vmlib_lockstep_config config = VMLIB_LOCKSTEP_CONFIG_INIT;
    struct vmlib_lockstep_region regions[VMLIB_LOCKSTEP_REGIONS];
    struct lua_vcpu *a = core_vcpu(L, 1), *b = core_vcpu(L, 2);
    struct lua_lockstep *self;

    lua_settop(L, 3);
    if (lua_isnil(L, 3)) {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    luaL_checktype(L, 3, LUA_TTABLE);
    config.grain = (uint32_t)core_option(L, 3, "grain", 32, config.grain);
    config.flags = (uint32_t)core_option(L, 3, "flags", 32, 0);
    config.interval = (uint32_t)core_option(L, 3, "interval", 32, config.interval);
    config.history = (uint32_t)core_option(L, 3, "history", 32, config.history);
    config.slice = core_option(L, 3, "slice", 64, config.slice);
    config.deadline_ns = core_option(L, 3, "deadline_ns", 64, config.deadline_ns);
    self = lua_newuserdatauv(L, sizeof(*self), 6); /* at 4 */
    *self = (struct lua_lockstep){NULL, false, false, NULL};
    luaL_setmetatable(L, TYPE_LOCKSTEP);
    for (int i = 1; i <= 2; i++) {
        lua_pushvalue(L, i);
        lua_setiuservalue(L, 4, i);
    }
    config.exit = take_function(L, "exit", 4, 3) ? on_exit_record : NULL;
    config.mask = take_function(L, "mask", 4, 4) ? on_mask : NULL;
    config.regions = take_regions(L, regions);
    config.region = regions;
    config.opaque = self;
    config.vcpu[0] = a->vcpu;
    config.vcpu[1] = b->vcpu;
    if (take_machines(L, 4)) {
        config.run = on_run;
        config.flags |= VMLIB_LOCKSTEP_OWN_DEVICES;
    }
    core_devices_check(L, vmlib_lockstep_create(&config, &self->lockstep));
    self->machines = config.run != NULL;
    if (self->machines)
        use_machines(L, 4, 1);
    lua_settop(L, 4);
    return 1;
}

static int lockstep_gc(lua_State *L)
{
    struct lua_lockstep *self = luaL_checkudata(L, 1, TYPE_LOCKSTEP);
    vmlib_lockstep *lockstep = self->lockstep;

    self->lockstep = NULL;
    if (lockstep && self->machines)
        use_machines(L, 1, -1);
    vmlib_lockstep_destroy(lockstep);
    return 0;
}

static int lockstep_close(lua_State *L)
{
    struct lua_lockstep *self = luaL_checkudata(L, 1, TYPE_LOCKSTEP);

    if (self->run)
        return core_error_text(L, VMLIB_E_BUSY, "lockstep: it is running");
    return lockstep_gc(L);
}

/* --- run --- */

/* A machine's outputs are those of the VM it was made in. */
static void prepare_side(lua_State *L, struct lua_lockstep *self, struct lockstep_run *run, int i)
{
    struct lua_run *side = &run->side[i];
    int vcpu, machine;

    lua_getiuservalue(L, 1, 1 + i);
    vcpu = lua_gettop(L);
    run->vcpu[i] = core_vcpu(L, vcpu)->vcpu;
    lua_getiuservalue(L, 1, 5 + i);
    machine = lua_gettop(L);
    run->machine[i] = self->machines ? core_machine(L, machine) : NULL;
    if (self->machines && core_machine_vm(L, machine)->vm != vmlib_vcpu_vm(run->vcpu[i]))
        core_error_text(L, VMLIB_E_STATE, "lockstep: the machine is in another VM than the vCPU");
    core_run_prepare(L, side, vcpu, run->machine[i]);
    if (!self->machines)
        return;
    side->home = core_vm_of(L, machine);
    lua_getiuservalue(L, -1, 1);
    side->outputs = lua_gettop(L);
}

/* lockstep:run([limit]) -> LockstepResult */
static int lockstep_run(lua_State *L)
{
    uint64_t limit = lua_isnoneornil(L, 2) ? 0 : core_number(L, 2, 64);
    struct lua_lockstep *self = lockstep_of(L);
    struct vmlib_lockstep_result *result;
    struct lockstep_run run = {.self = 1};
    int rc;

    idle(L, false);
    luaL_checkstack(L, 64, "lockstep");
    lua_settop(L, 1);
    result = core_record_new(L, RECORD_LOCKSTEP_RESULT); /* at 2 */
    lua_getiuservalue(L, 1, 3);
    run.exit = lua_gettop(L);
    lua_getiuservalue(L, 1, 4);
    run.mask = lua_gettop(L);
    for (int i = 0; i < 2; i++)
        prepare_side(L, self, &run, i);
    if (!self->lockstep || self->run) /* making their records may have run anything */
        return core_error_text(L, VMLIB_E_STATE, "lockstep: it is closed or running");
    core_run_start(&run.side[0]);
    core_run_start(&run.side[1]);
    run.side[0].lockstep = run.side[1].lockstep = self->lockstep;
    self->run = &run;
    rc = vmlib_lockstep_run(self->lockstep, limit, result);
    self->run = NULL;
    core_run_end(&run.side[1]);
    core_run_end(&run.side[0]);
    for (int i = 0; i < 2; i++) {
        if (run.side[i].failed) {
            lua_pushvalue(L, run.side[i].error);
            return lua_error(L);
        }
    }
    core_devices_check(L, rc);
    lua_settop(L, 2);
    return 1;
}

static int lockstep_stop(lua_State *L)
{
    return core_devices_check(L, vmlib_lockstep_stop(lockstep_of(L)->lockstep));
}

static int lockstep_differences(lua_State *L)
{
    lua_settop(L, 1);
    lua_newtable(L);
    for (uint32_t i = 0;; i++) {
        struct vmlib_lockstep_difference *one = core_record_new(L, RECORD_LOCKSTEP_DIFFERENCE);

        if (vmlib_lockstep_difference(idle(L, false), i, one) < 0)
            break;
        lua_rawseti(L, 2, (lua_Integer)i + 1);
    }
    lua_settop(L, 2);
    return 1;
}

static int lockstep_report(lua_State *L)
{
    uint64_t bytes = 0;
    luaL_Buffer buffer;
    char *p, none;
    int rc = vmlib_lockstep_report(idle(L, false), &none, &bytes);

    if (rc < 0 && rc != VMLIB_E_LIMIT)
        return core_devices_error(L, rc);
    p = luaL_buffinitsize(L, &buffer, bytes + 1);
    core_devices_check(L, vmlib_lockstep_report(idle(L, false), p, &bytes));
    luaL_pushresultsize(&buffer, bytes - 1);
    return 1;
}

/* --- inputs of both sides --- */

static int lockstep_intr(lua_State *L)
{
    return core_devices_check(L,
                              vmlib_lockstep_intr(idle(L, true), (uint32_t)core_number(L, 2, 32)));
}

static int lockstep_nmi(lua_State *L)
{
    return core_devices_check(L, vmlib_lockstep_nmi(idle(L, true)));
}

static int lockstep_write(lua_State *L)
{
    size_t bytes;
    const char *data = luaL_checklstring(L, 3, &bytes);

    return core_devices_check(
        L, vmlib_lockstep_write(idle(L, true), core_number(L, 2, 64), data, bytes));
}

void core_lockstep_init(lua_State *L)
{
    static const luaL_Reg methods[] = {{"run", lockstep_run},
                                       {"stop", lockstep_stop},
                                       {"differences", lockstep_differences},
                                       {"report", lockstep_report},
                                       {"intr", lockstep_intr},
                                       {"nmi", lockstep_nmi},
                                       {"write", lockstep_write},
                                       {"close", lockstep_close},
                                       {NULL, NULL}};

    core_push_type(L, TYPE_LOCKSTEP, methods, lockstep_gc);
    lua_pushcfunction(L, lockstep_close);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
    (void)record_constants;
    (void)record_registers;
}
