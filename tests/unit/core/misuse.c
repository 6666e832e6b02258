/*
 * Every public function with every bad argument: the exact code, and a text that names the
 * argument. What needs a certain state to go wrong is tested with that state (run.c, memory.c,
 * handlers.c, state.c).
 */
#include "fixture.h"

static vmlib_vm *vm;
static vmlib_vcpu *vcpu;
static vmlib_region *region;
static vmlib_handler *handler;
static vmlib_doorbell *doorbell;

static int nothing(void *opaque, vmlib_vcpu *v, struct vmlib_exit *exit)
{
    (void)opaque, (void)v, (void)exit;
    return VMLIB_HANDLED;
}

static void rung(void *opaque, uint64_t value)
{
    (void)opaque, (void)value;
}

static int setup(void **state)
{
    (void)state;
    struct vmlib_handler_config h = VMLIB_HANDLER_CONFIG_INIT;
    struct vmlib_doorbell_config d = VMLIB_DOORBELL_CONFIG_INIT;
    vm = mock_vm();
    vcpu = mock_vcpu(vm, 0);
    region = ram(vm, 0, 0x1000, VMLIB_PROT_RWX, VMLIB_REGION_DIRTY_LOG);
    h.fn = nothing;
    OK(vmlib_handler_add(vm, &h, &handler));
    d.fn = rung;
    OK(vmlib_doorbell_add(vm, &d, &doorbell));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    vmlib_doorbell_unref(doorbell);
    vmlib_handler_unref(handler);
    vmlib_region_unref(region);
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
    return 0;
}

#define NULL_ARG(name, call) FAILS(VMLIB_E_INVAL, name " is NULL", call)

static void null_pointers(void **state)
{
    (void)state;
    struct vmlib_region_config rc = VMLIB_REGION_CONFIG_INIT;
    struct vmlib_handler_config hc = VMLIB_HANDLER_CONFIG_INIT;
    struct vmlib_doorbell_config dc = VMLIB_DOORBELL_CONFIG_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    struct vmlib_event event = VMLIB_EVENT_INIT;
    struct vmlib_translation t = VMLIB_TRANSLATION_INIT;
    struct vmlib_cpuid_leaf leaf = {0, 0, 0, 0, 0, 0, 0, 0};
    struct vmlib_state s;
    struct vmlib_mock_step step = VMLIB_MOCK_STEP_INIT;
    struct vmlib_mock_result result = VMLIB_MOCK_RESULT_INIT;
    vmlib_region *r = NULL;
    vmlib_vcpu *v = NULL;
    uint64_t word = 0;
    uint32_t id = 0, n = 1;
    void *host = NULL;

    NULL_ARG("info", vmlib_backend_query(VMLIB_BACKEND_MOCK, NULL));
    NULL_ARG("support", vmlib_backend_feature(VMLIB_BACKEND_MOCK, 0, NULL));
    NULL_ARG("name", vmlib_backend_by_name(NULL, &id));
    NULL_ARG("backend", vmlib_backend_by_name("mock", NULL));
    NULL_ARG("vm", vmlib_vm_create(NULL, NULL));
    NULL_ARG("vm", vmlib_vm_clock(NULL, &word));
    NULL_ARG("ns", vmlib_vm_clock(vm, NULL));
    NULL_ARG("vm", vmlib_vm_set_cpuid(NULL, &leaf, 1));
    NULL_ARG("leaves", vmlib_vm_set_cpuid(vm, NULL, 1));
    NULL_ARG("vm", vmlib_vm_vcpu(NULL, 0, &v));
    NULL_ARG("vcpu", vmlib_vm_vcpu(vm, 0, NULL));
    NULL_ARG("vm", vmlib_vm_read(NULL, 0, &word, 8));
    NULL_ARG("buffer", vmlib_vm_read(vm, 0, NULL, 8));
    NULL_ARG("vm", vmlib_vm_write(NULL, 0, &word, 8));
    NULL_ARG("buffer", vmlib_vm_write(vm, 0, NULL, 8));
    NULL_ARG("vm", vmlib_region_create(NULL, &rc, &r));
    NULL_ARG("config", vmlib_region_create(vm, NULL, &r));
    NULL_ARG("region", vmlib_region_create(vm, &rc, NULL));
    NULL_ARG("region", vmlib_region_protect(NULL, 0));
    NULL_ARG("region", vmlib_region_remove(NULL));
    NULL_ARG("region", vmlib_region_host(NULL, &host));
    NULL_ARG("host", vmlib_region_host(region, NULL));
    NULL_ARG("region", vmlib_region_written(NULL, 0, 0));
    NULL_ARG("region", vmlib_region_range(NULL, &word, &word));
    OK(vmlib_region_range(region, NULL, NULL));
    NULL_ARG("region", vmlib_region_dirty(NULL, 0, 0x1000, &word, 0));
    NULL_ARG("bitmap", vmlib_region_dirty(region, 0, 0x1000, NULL, 0));
    NULL_ARG("vm", vmlib_handler_add(NULL, &hc, NULL));
    NULL_ARG("config", vmlib_handler_add(vm, NULL, NULL));
    NULL_ARG("handler", vmlib_handler_remove(NULL));
    NULL_ARG("vm", vmlib_doorbell_add(NULL, &dc, NULL));
    NULL_ARG("config", vmlib_doorbell_add(vm, NULL, NULL));
    NULL_ARG("doorbell", vmlib_doorbell_remove(NULL));
    NULL_ARG("vm", vmlib_vcpu_create(NULL, NULL, &v));
    NULL_ARG("vcpu", vmlib_vcpu_create(vm, NULL, NULL));
    NULL_ARG("vcpu", vmlib_vcpu_run(NULL, NULL, &e));
    NULL_ARG("exit", vmlib_vcpu_run(vcpu, NULL, NULL));
    NULL_ARG("vcpu", vmlib_vcpu_complete(NULL, &word, 8));
    NULL_ARG("vcpu", vmlib_vcpu_complete_fault(NULL, 6, 0));
    NULL_ARG("vcpu", vmlib_vcpu_cancel(NULL));
    NULL_ARG("vcpu", vmlib_vcpu_cancel_run(NULL, 1));
    NULL_ARG("vcpu", vmlib_vcpu_inject(NULL, &event));
    NULL_ARG("event", vmlib_vcpu_inject(vcpu, NULL));
    NULL_ARG("vcpu", vmlib_vcpu_set_intr(NULL, 1));
    NULL_ARG("vcpu", vmlib_vcpu_nmi(NULL));
    NULL_ARG("vcpu", vmlib_vcpu_init(NULL));
    NULL_ARG("vcpu", vmlib_vcpu_sipi(NULL, 1));
    NULL_ARG("vcpu", vmlib_vcpu_request_interrupt_window(NULL, 1));
    NULL_ARG("vcpu", vmlib_vcpu_set_exception_exits(NULL, 0));
    NULL_ARG("vcpu", vmlib_vcpu_set_breakpoint(NULL, 0, NULL));
    NULL_ARG("vcpu", vmlib_vcpu_set_cpuid(NULL, &leaf, 1));
    NULL_ARG("leaves", vmlib_vcpu_set_cpuid(vcpu, NULL, 1));
    NULL_ARG("vcpu", vmlib_vcpu_get_cpuid(NULL, &leaf, &n));
    NULL_ARG("leaves", vmlib_vcpu_get_cpuid(vcpu, NULL, &n));
    NULL_ARG("count", vmlib_vcpu_get_cpuid(vcpu, &leaf, NULL));
    NULL_ARG("vcpu", vmlib_vcpu_get_state(NULL, 0, &s));
    NULL_ARG("state", vmlib_vcpu_get_state(vcpu, 0, NULL));
    NULL_ARG("vcpu", vmlib_vcpu_set_state(NULL, 0, &s));
    NULL_ARG("state", vmlib_vcpu_set_state(vcpu, 0, NULL));
    NULL_ARG("vcpu", vmlib_vcpu_get_reg(NULL, 0, &word));
    NULL_ARG("value", vmlib_vcpu_get_reg(vcpu, 0, NULL));
    NULL_ARG("vcpu", vmlib_vcpu_set_reg(NULL, 0, 0));
    NULL_ARG("vcpu", vmlib_vcpu_get_reg_wide(NULL, VMLIB_REG_XMM0, &s, 16));
    NULL_ARG("data", vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_XMM0, NULL, 16));
    NULL_ARG("vcpu", vmlib_vcpu_set_reg_wide(NULL, VMLIB_REG_XMM0, &s, 16));
    NULL_ARG("data", vmlib_vcpu_set_reg_wide(vcpu, VMLIB_REG_XMM0, NULL, 16));
    NULL_ARG("vcpu", vmlib_vcpu_translate(NULL, 0, 0, &t));
    NULL_ARG("translation", vmlib_vcpu_translate(vcpu, 0, 0, NULL));
    NULL_ARG("vcpu", vmlib_vcpu_read_virt(NULL, 0, &word, 8));
    NULL_ARG("buffer", vmlib_vcpu_read_virt(vcpu, 0, NULL, 8));
    NULL_ARG("vcpu", vmlib_vcpu_write_virt(NULL, 0, &word, 8));
    NULL_ARG("buffer", vmlib_vcpu_write_virt(vcpu, 0, NULL, 8));
    NULL_ARG("vcpu", vmlib_mock_script(NULL, &step, 1));
    NULL_ARG("steps", vmlib_mock_script(vcpu, NULL, 1));
    NULL_ARG("vcpu", vmlib_mock_result(NULL, &result));
    NULL_ARG("result", vmlib_mock_result(vcpu, NULL));
    NULL_ARG("vm", vmlib_mock_fail(NULL, 0, 0, -1));
    assert_null(r);
    assert_null(v);
}

static void null_is_harmless(void **state)
{
    (void)state;
    assert_null(vmlib_vm_ref(NULL));
    assert_null(vmlib_vcpu_ref(NULL));
    assert_null(vmlib_region_ref(NULL));
    assert_null(vmlib_handler_ref(NULL));
    assert_null(vmlib_doorbell_ref(NULL));
    vmlib_vm_unref(NULL);
    vmlib_vcpu_unref(NULL);
    vmlib_region_unref(NULL);
    vmlib_handler_unref(NULL);
    vmlib_doorbell_unref(NULL);
    assert_int_equal(vmlib_vm_backend(NULL), 0);
    assert_int_equal(vmlib_vm_tsc_khz(NULL), 0);
    assert_null(vmlib_vcpu_vm(NULL));
    assert_int_equal(vmlib_vcpu_index(NULL), 0);
    assert_int_equal(vmlib_vcpu_generation(NULL), 0);
}

/* --- one bad field at a time in each config --- */

#define BAD_FIELD(type, init, field, value, code, word, call) \
    do {                                                      \
        struct type c = init;                                 \
        fill_##type(&c);                                      \
        c.field = value;                                      \
        FAILS(code, word, call);                              \
    } while (0)

static void fill_vmlib_vm_config(struct vmlib_vm_config *c)
{
    c->backends[0] = VMLIB_BACKEND_MOCK;
}

#define BAD_VM(field, value, word)                                                      \
    BAD_FIELD(vmlib_vm_config, VMLIB_VM_CONFIG_INIT, field, value, VMLIB_E_INVAL, word, \
              vmlib_vm_create(&c, &out))

static void vm_config(void **state)
{
    (void)state;
    vmlib_vm *out = NULL;
    BAD_VM(size, 0, "config->size");
    BAD_VM(size, 7, "config->size");
    BAD_VM(size, UINT32_MAX, "config->size");
    BAD_VM(backends[0], 99, "config->backends[0]");
    BAD_VM(backends[3], 99, "config->backends[3]");
    BAD_VM(time_mode, 2, "config->time_mode");
    BAD_VM(required, UINT64_C(1) << 63, "config->required");
    BAD_VM(phys_bits, 31, "config->phys_bits");
    BAD_VM(phys_bits, 53, "config->phys_bits");
    BAD_VM(msr_policy, 2, "config->msr_policy");
    BAD_VM(reserved, 1, "config->reserved");
    assert_null(out);
}

static void fill_vmlib_vcpu_config(struct vmlib_vcpu_config *c)
{
    c->index = 1;
}

#define BAD_VCPU(field, value, word)                                                        \
    BAD_FIELD(vmlib_vcpu_config, VMLIB_VCPU_CONFIG_INIT, field, value, VMLIB_E_INVAL, word, \
              vmlib_vcpu_create(vm, &c, &out))

static void vcpu_config(void **state)
{
    (void)state;
    vmlib_vcpu *out = NULL;
    BAD_VCPU(size, 1, "config->size");
    BAD_VCPU(index, VMLIB_MAX_VCPUS, "config->index");
    BAD_VCPU(initial, 2, "config->initial");
    assert_null(out);
}

static void fill_vmlib_region_config(struct vmlib_region_config *c)
{
    c->gpa = 0x100000;
    c->bytes = 0x1000;
}

#define BAD_REGION(field, value, word)                                                          \
    BAD_FIELD(vmlib_region_config, VMLIB_REGION_CONFIG_INIT, field, value, VMLIB_E_INVAL, word, \
              vmlib_region_create(vm, &c, &out))

static void region_config(void **state)
{
    (void)state;
    vmlib_region *out = NULL;
    BAD_REGION(size, 2, "config->size");
    BAD_REGION(backing, 4, "config->backing");
    BAD_REGION(gpa, 1, "config->gpa");
    BAD_REGION(bytes, 0, "config->bytes");
    BAD_REGION(bytes, 0x1001, "config->bytes");
    BAD_REGION(prot, 8, "config->prot");
    BAD_REGION(flags, 8, "config->flags");
    BAD_REGION(flags, VMLIB_REGION_SHARED, "config->flags");
    BAD_REGION(reserved, 1, "config->flags");
    assert_null(out);
}

static void fill_vmlib_handler_config(struct vmlib_handler_config *c)
{
    c->fn = nothing;
}

#define BAD_HANDLER(field, value, code, word)                                            \
    BAD_FIELD(vmlib_handler_config, VMLIB_HANDLER_CONFIG_INIT, field, value, code, word, \
              vmlib_handler_add(vm, &c, &out))

static void handler_config(void **state)
{
    (void)state;
    vmlib_handler *out = NULL;
    BAD_HANDLER(size, 3, VMLIB_E_INVAL, "config->size");
    BAD_HANDLER(kind, VMLIB_HANDLER_KINDS, VMLIB_E_INVAL, "config->kind");
    BAD_HANDLER(first, 1, VMLIB_E_INVAL, "config->first");
    BAD_HANDLER(last, 0x10000, VMLIB_E_RANGE, "config->last");
    BAD_HANDLER(flags, 2, VMLIB_E_INVAL, "config->flags");
    BAD_HANDLER(reserved, 2, VMLIB_E_INVAL, "config->flags");
    static const uint64_t limit[VMLIB_HANDLER_KINDS] = {
        0xffff, (UINT64_C(1) << 40) - 1, UINT32_MAX, UINT32_MAX, UINT32_MAX,
        31,     VMLIB_MAX_VCPUS - 1};
    for (uint32_t kind = 0; kind < VMLIB_HANDLER_KINDS; kind++) {
        struct vmlib_handler_config c = VMLIB_HANDLER_CONFIG_INIT;
        c.kind = kind;
        c.last = limit[kind] + 1;
        FAILS(VMLIB_E_RANGE, "config->last", vmlib_handler_add(vm, &c, &out));
        c.last--;
        OK(vmlib_handler_add(vm, &c, NULL));
    }
    assert_null(out);
}

static void fill_vmlib_doorbell_config(struct vmlib_doorbell_config *c)
{
    c->fn = rung;
    c->address = 0x10;
}

#define BAD_DOORBELL(field, value, code, word)                                             \
    BAD_FIELD(vmlib_doorbell_config, VMLIB_DOORBELL_CONFIG_INIT, field, value, code, word, \
              vmlib_doorbell_add(vm, &c, &out))

static void doorbell_config(void **state)
{
    (void)state;
    vmlib_doorbell *out = NULL;
    BAD_DOORBELL(size, 4, VMLIB_E_INVAL, "config->size");
    BAD_DOORBELL(kind, 2, VMLIB_E_INVAL, "config->kind");
    BAD_DOORBELL(address, 0x10000, VMLIB_E_RANGE, "config->address");
    BAD_DOORBELL(address, UINT64_MAX, VMLIB_E_RANGE, "config->address");
    BAD_DOORBELL(width, 3, VMLIB_E_INVAL, "config->width");
    BAD_DOORBELL(width, 8, VMLIB_E_INVAL, "config->width");
    BAD_DOORBELL(flags, 2, VMLIB_E_INVAL, "config->flags");
    BAD_DOORBELL(fd, 1, VMLIB_E_INVAL, "either fd or fn");
    BAD_DOORBELL(fn, NULL, VMLIB_E_INVAL, "either fd or fn");
    BAD_DOORBELL(reserved, 1, VMLIB_E_INVAL, "config->flags");
    assert_null(out);
}

static void fill_vmlib_run_args(struct vmlib_run_args *c)
{
    (void)c;
}

#define BAD_RUN(field, value, code, word)                                    \
    BAD_FIELD(vmlib_run_args, VMLIB_RUN_ARGS_INIT, field, value, code, word, \
              vmlib_vcpu_run(vcpu, &c, &e))

static void run_args(void **state)
{
    (void)state;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    BAD_RUN(size, 5, VMLIB_E_INVAL, "args->size");
    BAD_RUN(flags, 4, VMLIB_E_INVAL, "args->flags");
    BAD_RUN(generation, 7, VMLIB_E_STATE, "args->generation");
    e.size = sizeof(e) - 1;
    FAILS(VMLIB_E_INVAL, "exit->size", vmlib_vcpu_run(vcpu, NULL, &e));
    assert_int_equal(vmlib_vcpu_generation(vcpu), 1);
}

static void scalars(void **state)
{
    (void)state;
    struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;
    struct vmlib_translation t = VMLIB_TRANSLATION_INIT;
    struct vmlib_breakpoint b = VMLIB_BREAKPOINT_INIT;
    struct vmlib_mock_step step = VMLIB_MOCK_STEP_INIT;
    uint32_t support = 0;
    FAILS(VMLIB_E_INVAL, "backend", vmlib_backend_query(0, &info));
    FAILS(VMLIB_E_INVAL, "backend", vmlib_backend_query(VMLIB_BACKEND_LAST + 1, &info));
    FAILS(VMLIB_E_INVAL, "feature",
          vmlib_backend_feature(VMLIB_BACKEND_MOCK, VMLIB_FEATURE_COUNT, &support));
    info.size--;
    FAILS(VMLIB_E_INVAL, "info->size", vmlib_backend_query(VMLIB_BACKEND_MOCK, &info));
    FAILS(VMLIB_E_INVAL, "level", vmlib_vcpu_set_intr(vcpu, 2));
    FAILS(VMLIB_E_INVAL, "vector", vmlib_vcpu_sipi(vcpu, 256));
    FAILS(VMLIB_E_INVAL, "on is", vmlib_vcpu_request_interrupt_window(vcpu, 2));
    FAILS(VMLIB_E_INVAL, "access", vmlib_vcpu_translate(vcpu, 0, 3, &t));
    t.size = 4;
    FAILS(VMLIB_E_INVAL, "translation->size", vmlib_vcpu_translate(vcpu, 0, 0, &t));
    FAILS(VMLIB_E_INVAL, "slot", vmlib_vcpu_set_breakpoint(vcpu, VMLIB_BREAKPOINTS, &b));
    OK(vmlib_vcpu_set_breakpoint(vcpu, 0, &b));
    b.kind = 9;
    FAILS(VMLIB_E_INVAL, "breakpoint->kind", vmlib_vcpu_set_breakpoint(vcpu, 0, &b));
    b.kind = VMLIB_BREAKPOINT_EXEC;
    b.width = 2;
    FAILS(VMLIB_E_INVAL, "breakpoint->width", vmlib_vcpu_set_breakpoint(vcpu, 0, &b));
    b.width = 1;
    FAILS(VMLIB_E_UNSUPPORTED, "breakpoint", vmlib_vcpu_set_breakpoint(vcpu, 0, &b));
    b.kind = VMLIB_BREAKPOINT_WRITE;
    b.width = 4;
    b.address = 2;
    FAILS(VMLIB_E_INVAL, "breakpoint->width", vmlib_vcpu_set_breakpoint(vcpu, 0, &b));
    step.action = 99;
    FAILS(VMLIB_E_INVAL, "steps[0]", vmlib_mock_script(vcpu, &step, 1));
    FAILS(VMLIB_E_INVAL, "call", vmlib_mock_fail(vm, VMLIB_MOCK_CALLS, 0, -1));
    FAILS(VMLIB_E_INVAL, "code", vmlib_mock_fail(vm, 0, 0, 1));
}

static void texts(void **state)
{
    (void)state;
    for (int code = 0; code >= VMLIB_E_LAST; code--) {
        assert_non_null(vmlib_strerror(code));
        assert_string_not_equal(vmlib_strerror(code), "unknown error");
    }
    assert_string_equal(vmlib_strerror(1), "unknown error");
    assert_string_equal(vmlib_strerror(VMLIB_E_LAST - 1), "unknown error");
    assert_string_equal(vmlib_strerror(VMLIB_E_USER), "error of the host program");
    assert_string_equal(vmlib_strerror(INT32_MIN), "error of the host program");
    assert_int_equal(vmlib_version(), VMLIB_VERSION);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(null_pointers),   CASE(null_is_harmless), CASE(vm_config),
        CASE(vcpu_config),     CASE(region_config),    CASE(handler_config),
        CASE(doorbell_config), CASE(run_args),         CASE(scalars),
        CASE(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
