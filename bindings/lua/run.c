/* Runs: callbacks into Lua, handlers, doorbells, Ctrl-C. */
#include <stdatomic.h>
#include <stdlib.h>

#include "core.h"
#include "interrupt.h"
#include "records.inc"

_Thread_local struct lua_run *core_run;

/* --- Ctrl-C --- */

static struct lua_run *volatile current; /* written and read on the main thread */

static void interrupt_now(void)
{
    struct lua_run *run = current;

    if (run && run->lockstep)
        vmlib_lockstep_stop(run->lockstep);
    else if (run && run->machine)
        vmlib_machine_stop(run->machine);
    else if (run)
        vmlib_vcpu_cancel_run(run->running, run->generation);
}

/* --- the frame of a run --- */

void core_run_prepare(lua_State *L, struct lua_run *run, int vcpu, vmlib_machine *machine)
{
    struct lua_vcpu *self = core_vcpu(L, vcpu);
    struct lua_vm *vm;

    luaL_checkstack(L, 24, "run");
    *run = (struct lua_run){.L = L, .running = self->vcpu, .machine = machine};
    vm = core_vm_of(L, vcpu);
    run->vm = run->home = vm;
    lua_getiuservalue(L, -1, 1);
    run->functions = run->outputs = lua_gettop(L);
    lua_pushvalue(L, vcpu);
    run->vcpu = lua_gettop(L);
    core_record_new(L, RECORD_EXIT);
    run->exit = lua_gettop(L);
    run->record = lua_touserdata(L, run->exit);
    lua_pushnil(L);
    run->error = lua_gettop(L);
}

/* Raises no error. */
void core_run_start(struct lua_run *run)
{
    ((struct lua_vm *)lua_touserdata(run->L, run->functions - 1))->running++;
    run->generation = vmlib_vcpu_generation(run->running);
    run->outer = core_run;
    core_run = run;
    if (interrupt_main_thread()) {
        interrupt_install();
        atomic_signal_fence(memory_order_release);
        current = run;
    }
}

void core_run_begin(lua_State *L, struct lua_run *run, int vcpu, vmlib_machine *machine)
{
    core_run_prepare(L, run, vcpu, machine);
    core_run_start(run);
}

void core_run_end(struct lua_run *run)
{
    if (interrupt_main_thread()) {
        current = run->outer;
        atomic_signal_fence(memory_order_release);
    }
    core_run = run->outer;
    ((struct lua_vm *)lua_touserdata(run->L, run->functions - 1))->running--;
    if (!core_run)
        core_log_deliver(run->L, run->functions - 1);
}

/* Under lua_pcall() failed: keep the error for run's caller. */
void core_run_fail(struct lua_run *run)
{
    if (run->failed) {
        lua_pop(run->L, 1); /* there can be only one */
        return;
    }
    lua_replace(run->L, run->error);
    run->failed = true;
}

/* --- answers --- */

static int answer_number(lua_State *L, struct vmlib_exit *exit)
{
    switch (exit->reason) {
    case VMLIB_EXIT_PIO:
        if (exit->u.pio.write)
            break;
        exit->u.pio.value = (uint32_t)core_number(L, -1, 8u * exit->u.pio.width);
        return VMLIB_HANDLED;
    case VMLIB_EXIT_MMIO:
        if (exit->u.mmio.write)
            break;
        exit->u.mmio.value = core_number(L, -1, 8u * exit->u.mmio.width);
        return VMLIB_HANDLED;
    case VMLIB_EXIT_MSR:
        if (exit->u.msr.write)
            break;
        exit->u.msr.value = core_number(L, -1, 64);
        return VMLIB_HANDLED;
    case VMLIB_EXIT_HYPERCALL:
        exit->u.hypercall.result = core_number(L, -1, 64);
        return VMLIB_HANDLED;
    case VMLIB_EXIT_INTERRUPT_WINDOW:
        exit->u.interrupt.vector = (uint32_t)core_number(L, -1, 8);
        return VMLIB_HANDLED;
    default:
        break;
    }
    return luaL_error(L, "this event has no value to answer: return nothing");
}

static int answer_table(lua_State *L, struct vmlib_exit *exit)
{
    uint32_t value[4];

    if (exit->reason != VMLIB_EXIT_CPUID || lua_rawlen(L, -1) != 4)
        return luaL_error(L, "a handler answers a table only to CPUID: {eax, ebx, ecx, edx}");
    for (int i = 0; i < 4; i++) {
        lua_rawgeti(L, -1, i + 1);
        value[i] = (uint32_t)core_number(L, -1, 32);
        lua_pop(L, 1);
    }
    exit->u.cpuid = (struct vmlib_exit_cpuid){
        exit->u.cpuid.leaf, exit->u.cpuid.subleaf, value[0], value[1], value[2], value[3]};
    return VMLIB_HANDLED;
}

static int decode(lua_State *L, struct vmlib_exit *exit, int otherwise)
{
    static const char *const words[] = {"handled", "pass", "inject", "stop"};
    const struct vmlib_event *event;
    const char *word;

    switch (lua_type(L, -1)) {
    case LUA_TNIL:
        return otherwise;
    case LUA_TNUMBER:
        return answer_number(L, exit);
    case LUA_TTABLE:
        return answer_table(L, exit);
    case LUA_TSTRING:
        word = lua_tostring(L, -1);
        for (int i = 0; i < 4; i++)
            if (strcmp(word, words[i]) == 0)
                return i;
        return luaL_error(L, "a handler does not answer '%s'", word);
    default:
        break;
    }
    event = core_record_test(L, -1, RECORD_EVENT);
    if (!event)
        return luaL_error(L,
                          "a handler answers nothing, a number, 'pass', 'stop' or an Event; not %s",
                          luaL_typename(L, -1));
    exit->inject = *event;
    return VMLIB_INJECT;
}

/* Under lua_pcall(): answer for nothing, function, who, record -> answer. */
static int call_handler(lua_State *L)
{
    struct lua_record *record = lua_touserdata(L, 4);
    int otherwise = (int)lua_tointeger(L, 1);

    lua_call(L, 2, 1);
    lua_pushinteger(L, decode(L, (struct vmlib_exit *)(void *)record->data, otherwise));
    return 1;
}

int core_run_ask(struct lua_run *run, int who, int otherwise, struct vmlib_exit *exit)
{
    lua_State *L = run->L;
    int answer = VMLIB_E_USER;

    lua_pushcfunction(L, call_handler);
    lua_insert(L, -2);
    lua_pushinteger(L, otherwise);
    lua_insert(L, -2);
    lua_pushvalue(L, who);
    lua_pushvalue(L, run->exit);
    run->record->data = (char *)exit;
    if (lua_pcall(L, 4, 1, 0) != LUA_OK) {
        core_run_fail(run);
    } else {
        answer = (int)lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    /* Who kept the record sees its last values. */
    run->record->data = (char *)(run->record + 1);
    memcpy(run->record->data, exit, sizeof(*exit));
    return answer;
}

/* --- calls from the library --- */

struct hook {
    const void *vm; /* struct lua_vm, as a name */
    int function;   /* number in its table */
    atomic_bool removed;
};

/* Runs of one thread may be inside each other, and a lockstep has two at once. */
static struct lua_run *run_of_vm(const void *vm)
{
    struct lua_run *run = core_run;

    while (run && run->vm != vm)
        run = run->outer;
    return run;
}

static int on_exit_record(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct hook *hook = opaque;
    struct lua_run *run = core_run;

    while (run && run->running != vcpu)
        run = run->outer;
    if (!run || atomic_load(&hook->removed))
        return VMLIB_PASS;
    if (!lua_checkstack(run->L, 12))
        return VMLIB_E_NOMEM;
    if (lua_rawgeti(run->L, run->functions, hook->function) == LUA_TNIL) {
        lua_pop(run->L, 1);
        return VMLIB_PASS;
    }
    return core_run_ask(run, run->vcpu, VMLIB_HANDLED, exit);
}

/* A doorbell or an output cannot answer: an error ends the run instead. */
static void on_doorbell(void *opaque, uint64_t value)
{
    struct hook *hook = opaque;
    struct lua_run *run = run_of_vm(hook->vm);

    if (!run || atomic_load(&hook->removed) || !lua_checkstack(run->L, 8))
        return;
    lua_rawgeti(run->L, run->functions, hook->function);
    lua_pushinteger(run->L, (lua_Integer)value);
    if (lua_pcall(run->L, 1, 0, 0) != LUA_OK) {
        core_run_fail(run);
        vmlib_vcpu_cancel(run->running);
    }
}

/* Under lua_pcall(): function, address, length. Strings may fail to be made. */
static int call_output(lua_State *L)
{
    lua_pushlstring(L, lua_touserdata(L, 2), (size_t)lua_tointeger(L, 3));
    lua_replace(L, 2);
    lua_settop(L, 2);
    lua_call(L, 1, 0);
    return 0;
}

void core_output(void *opaque, const void *data, size_t bytes)
{
    const struct lua_sink *sink = opaque;
    struct lua_run *run = core_run;

    while (run && run->home != sink->home)
        run = run->outer;
    if (!run || !lua_checkstack(run->L, 8))
        return;
    lua_pushcfunction(run->L, call_output);
    if (lua_rawgeti(run->L, run->outputs, sink->function) == LUA_TNIL) {
        lua_pop(run->L, 2);
        return;
    }
    lua_pushlightuserdata(run->L, (void *)(uintptr_t)data);
    lua_pushinteger(run->L, (lua_Integer)bytes);
    if (lua_pcall(run->L, 3, 0, 0) != LUA_OK) {
        core_run_fail(run);
        if (run->machine)
            vmlib_machine_stop(run->machine);
    }
}

/* --- registration --- */

struct lua_handler {
    vmlib_handler *handler;
    vmlib_doorbell *doorbell;
    struct hook *hook; /* valid until the library releases it: not touched after remove() */
    int function;
};

/* Any thread, any time: no Lua here. */
static void release(void *opaque)
{
    free(opaque);
}

static struct lua_handler *new_handler(lua_State *L, int function)
{
    struct lua_handler *self = lua_newuserdatauv(L, sizeof(*self), 1);

    *self = (struct lua_handler){0};
    luaL_setmetatable(L, TYPE_HANDLER);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    if (function)
        self->function = core_function_keep(L, 1, function);
    self->hook = calloc(1, sizeof(*self->hook)); /* nothing after it raises an error */
    if (!self->hook) {
        core_function_drop(L, 1, self->function);
        luaL_error(L, "not enough memory");
    }
    self->hook->vm = lua_touserdata(L, 1);
    self->hook->function = self->function;
    atomic_init(&self->hook->removed, false);
    return self;
}

static int failed(lua_State *L, struct lua_handler *self, int code)
{
    free(self->hook);
    self->hook = NULL;
    core_function_drop(L, 1, self->function);
    return core_error(L, code);
}

/* vm:handler(kind, first, last, function, header) */
int core_handler_add(lua_State *L)
{
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    struct lua_vm *vm = core_vm(L, 1);
    struct lua_handler *self;
    int rc;

    config.kind = (uint32_t)core_number(L, 2, 32);
    config.first = core_number(L, 3, 64);
    config.last = lua_isnil(L, 4) ? config.first : core_number(L, 4, 64);
    if (!lua_isnoneornil(L, 5))
        luaL_checktype(L, 5, LUA_TFUNCTION);
    config.flags = lua_toboolean(L, 6) ? VMLIB_HANDLER_HEADER : 0;
    self = new_handler(L, lua_isnoneornil(L, 5) ? 0 : 5);
    config.fn = self->function ? on_exit_record : NULL;
    config.opaque = self->hook;
    config.release = release;
    rc = vmlib_handler_add(vm->vm, &config, &self->handler);
    return rc < 0 ? failed(L, self, rc) : 1;
}

/* vm:doorbell(kind, address, function, {width=, value=, fd=}) */
int core_doorbell_add(lua_State *L)
{
    struct vmlib_doorbell_config config = VMLIB_DOORBELL_CONFIG_INIT;
    struct lua_vm *vm = core_vm(L, 1);
    struct lua_handler *self;
    int rc;

    config.kind = (uint32_t)core_number(L, 2, 32);
    config.address = core_number(L, 3, 64);
    if (!lua_isnoneornil(L, 4))
        luaL_checktype(L, 4, LUA_TFUNCTION);
    config.width = (uint32_t)core_option(L, 5, "width", 32, 0);
    config.fd = (int32_t)(uint32_t)core_option(L, 5, "fd", 31, UINT32_MAX);
    if (lua_istable(L, 5) && lua_getfield(L, 5, "value") != LUA_TNIL) {
        config.flags = VMLIB_DOORBELL_MATCH;
        config.value = core_option(L, 5, "value", 64, 0);
    }
    self = new_handler(L, lua_isnoneornil(L, 4) ? 0 : 4);
    config.fn = self->function ? on_doorbell : NULL;
    config.opaque = self->hook;
    config.release = release;
    rc = vmlib_doorbell_add(vm->vm, &config, &self->doorbell);
    return rc < 0 ? failed(L, self, rc) : 1;
}

static int handler_remove(lua_State *L)
{
    struct lua_handler *self = luaL_checkudata(L, 1, TYPE_HANDLER);
    int rc;

    if (!self->handler && !self->doorbell)
        return core_error_text(L, VMLIB_E_STATE, "handler: it has been collected");
    rc =
        self->handler ? vmlib_handler_remove(self->handler) : vmlib_doorbell_remove(self->doorbell);
    if (rc < 0)
        return core_error(L, rc);
    lua_getiuservalue(L, 1, 1);
    core_function_drop(L, lua_gettop(L), self->function);
    self->function = 0;
    return 0;
}

static int handler_gc(lua_State *L)
{
    struct lua_handler *self = luaL_checkudata(L, 1, TYPE_HANDLER);

    vmlib_handler_unref(self->handler);
    vmlib_doorbell_unref(self->doorbell);
    self->handler = NULL;
    self->doorbell = NULL;
    return 0;
}

void core_handler_init(lua_State *L)
{
    static const luaL_Reg methods[] = {{"remove", handler_remove}, {NULL, NULL}};

    (void)record_constants;
    (void)record_registers;
    core_push_type(L, TYPE_HANDLER, methods, handler_gc);
    lua_pop(L, 1);
}
