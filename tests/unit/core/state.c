/* Registers by group and by number, events, CPUID models. */
#include "fixture.h"

struct world {
    vmlib_vm *vm;
    vmlib_vcpu *vcpu;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    w->vm = mock_vm();
    w->vcpu = mock_vcpu(w->vm, 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    vmlib_vcpu_unref(w->vcpu);
    vmlib_vm_unref(w->vm);
    free(w);
    return 0;
}

static void only_the_groups_move(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    struct vmlib_state a, b;
    memset(&a, 0x5a, sizeof(a));
    a.size = sizeof(a);
    OK(vmlib_vcpu_get_state(vcpu, VMLIB_STATE_CONTROL | VMLIB_STATE_DEBUG, &a));
    assert_int_equal(a.gpr.rax, 0x5a5a5a5a5a5a5a5a);
    assert_int_equal(a.control.cr0, 0x60000010);
    a.gpr.rbx = 77;
    a.gpr.rflags = 2;
    OK(vmlib_vcpu_set_state(vcpu, VMLIB_STATE_GPR, &a));
    a.control.cr3 = 0x1000;
    b.size = sizeof(b);
    OK(vmlib_vcpu_get_state(vcpu, VMLIB_STATE_ALL, &b));
    assert_int_equal(b.gpr.rbx, 77);
    assert_int_equal(b.control.cr3, 0);
}

static void size_must_cover_the_groups(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    struct vmlib_state s;
    s.size = offsetof(struct vmlib_state, segments);
    OK(vmlib_vcpu_get_state(vcpu, VMLIB_STATE_GPR, &s));
    FAILS(VMLIB_E_INVAL, "state->size", vmlib_vcpu_get_state(vcpu, VMLIB_STATE_SEGMENTS, &s));
    FAILS(VMLIB_E_INVAL, "state->size", vmlib_vcpu_set_state(vcpu, VMLIB_STATE_XSAVE, &s));
    FAILS(VMLIB_E_INVAL, "groups", vmlib_vcpu_get_state(vcpu, 0x100, &s));
}

static void checked_before_changed(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    struct vmlib_state s;
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(vcpu, VMLIB_STATE_ALL, &s));
    s.gpr.rax = 1;
    s.control.cr0 |= UINT64_C(1) << 40;
    FAILS(VMLIB_E_INVAL, "cr0", vmlib_vcpu_set_state(vcpu, VMLIB_STATE_ALL, &s));
    assert_int_equal(reg(vcpu, VMLIB_REG_RAX), 0);
}

static void single_registers(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    for (uint32_t r = 0; r < VMLIB_REG_COUNT; r++) {
        OK(vmlib_vcpu_set_reg(vcpu, r, r * 16 + 2));
    }
    for (uint32_t r = 0; r < VMLIB_REG_COUNT; r++) {
        assert_int_equal(reg(vcpu, r), r * 16 + 2);
    }
    struct vmlib_state s;
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(vcpu, VMLIB_STATE_ALL, &s));
    assert_int_equal(s.gpr.rdi, VMLIB_REG_RDI * 16 + 2);
    assert_int_equal(s.gpr.rsp, VMLIB_REG_RSP * 16 + 2);
    assert_int_equal(s.gpr.r15, VMLIB_REG_R15 * 16 + 2);
    assert_int_equal(s.control.apic_base, VMLIB_REG_APIC_BASE * 16 + 2);
    assert_int_equal(s.debug.dr7, VMLIB_REG_DR7 * 16 + 2);
    assert_int_equal(s.segments.gs.base, VMLIB_REG_GS_BASE * 16 + 2);
    assert_int_equal(s.msrs.tsc, VMLIB_REG_TSC * 16 + 2);
    uint64_t value;
    FAILS(VMLIB_E_INVAL, "reg", vmlib_vcpu_get_reg(vcpu, VMLIB_REG_COUNT, &value));
    FAILS(VMLIB_E_INVAL, "reg", vmlib_vcpu_set_reg(vcpu, VMLIB_REG_CS, 1));
}

static void wide_registers(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    struct vmlib_segment seg = {.base = 0x1000,
                                .limit = 0xffff,
                                .attributes = 0x93,
                                .selector = 0x10},
                         got;
    for (uint32_t r = VMLIB_REG_ES; r <= VMLIB_REG_TR; r++) {
        seg.base = r << 12;
        OK(vmlib_vcpu_set_reg_wide(vcpu, r, &seg, sizeof(seg)));
    }
    OK(vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_SS, &got, sizeof(got)));
    assert_int_equal(got.base, VMLIB_REG_SS << 12);
    assert_int_equal(got.attributes, 0x93);
    struct vmlib_table table = {.base = 5, .limit = 6};
    OK(vmlib_vcpu_set_reg_wide(vcpu, VMLIB_REG_IDTR, &table, sizeof(table)));
    uint8_t ymm[32], xmm[16], st[10], out[32];
    for (unsigned i = 0; i < 32; i++) {
        ymm[i] = (uint8_t)(i + 1);
    }
    for (uint32_t r = 0; r < 16; r++) {
        ymm[0] = (uint8_t)r;
        OK(vmlib_vcpu_set_reg_wide(vcpu, VMLIB_REG_YMM0 + r, ymm, 32));
    }
    OK(vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_YMM0 + 7, out, 32));
    assert_int_equal(out[0], 7);
    assert_int_equal(out[31], 32);
    OK(vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_XMM0 + 15, xmm, 16));
    assert_int_equal(xmm[0], 15);
    assert_int_equal(xmm[15], 16);
    memset(st, 9, sizeof(st));
    OK(vmlib_vcpu_set_reg_wide(vcpu, VMLIB_REG_ST0 + 3, st, 10));
    OK(vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_ST0 + 3, out, 10));
    assert_memory_equal(st, out, 10);
    struct vmlib_state s;
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(vcpu, VMLIB_STATE_XSAVE, &s));
    assert_int_equal(s.xsave.features, 7);
    FAILS(VMLIB_E_INVAL, "bytes", vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_XMM0, out, 32));
    FAILS(VMLIB_E_INVAL, "reg", vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_IDTR + 1, out, 16));
    FAILS(VMLIB_E_INVAL, "reg", vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_ST0 + 8, out, 10));
    FAILS(VMLIB_E_INVAL, "reg", vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_RAX, out, 8));
}

static void latched_events_are_state(void **state)
{
    struct world *w = *state;
    struct vmlib_state s;
    s.size = sizeof(s);
    OK(vmlib_vcpu_nmi(w->vcpu));
    OK(vmlib_vcpu_sipi(w->vcpu, 0x55));
    OK(vmlib_vcpu_set_intr(w->vcpu, 1));
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    assert_int_equal(s.events.flags,
                     VMLIB_EVENTS_NMI_PENDING | VMLIB_EVENTS_SIPI_PENDING | VMLIB_EVENTS_INTR);
    assert_int_equal(s.events.sipi_vector, 0x55);
    /* The same state on another vCPU. */
    vmlib_vcpu *other = mock_vcpu(w->vm, 1);
    OK(vmlib_vcpu_set_state(other, VMLIB_STATE_EVENTS, &s));
    struct vmlib_state t;
    t.size = sizeof(t);
    OK(vmlib_vcpu_get_state(other, VMLIB_STATE_EVENTS, &t));
    assert_memory_equal(&s.events, &t.events, sizeof(s.events));
    run_to(other, VMLIB_EXIT_HLT);
    assert_int_equal(result_of(other).event.type, VMLIB_EVENT_NMI);
    memset(&s.events, 0, sizeof(s.events));
    OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(result_of(w->vcpu).delivered, 0);
    s.events.flags = 0x1000;
    FAILS(VMLIB_E_INVAL, "events.flags", vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    s.events.flags = VMLIB_EVENTS_SMM;
    FAILS(VMLIB_E_UNSUPPORTED, "events.flags",
          vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    s.events.flags = 0;
    s.events.injected.type = 99;
    FAILS(VMLIB_E_INVAL, "events.injected", vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    vmlib_vcpu_unref(other);
}

static void events_are_checked(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    static const struct vmlib_event bad[] = {
        {.type = VMLIB_EVENT_NONE},
        {.type = 7},
        {.type = VMLIB_EVENT_EXCEPTION, .vector = 32},
        {.type = VMLIB_EVENT_INTERRUPT, .vector = 256},
        {.type = VMLIB_EVENT_NMI, .vector = 3},
        {.type = VMLIB_EVENT_INTERRUPT, .vector = 3, .flags = VMLIB_EVENT_HAS_ERROR},
        {.type = VMLIB_EVENT_EXCEPTION, .vector = 3, .flags = 4},
        {.type = VMLIB_EVENT_SOFTWARE_INT, .vector = 3},
        {.type = VMLIB_EVENT_SOFTWARE_INT, .vector = 3, .insn_len = 16},
        {.type = VMLIB_EVENT_EXCEPTION, .vector = 3, .reserved = 1},
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        FAILS(VMLIB_E_INVAL, "event", vmlib_vcpu_inject(vcpu, &bad[i]));
    }
    struct vmlib_event good = {.type = VMLIB_EVENT_SOFTWARE_INT, .vector = 0x80, .insn_len = 2};
    OK(vmlib_vcpu_inject(vcpu, &good));
    run_to(vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(result_of(vcpu).event.vector, 0x80);
}

static void cpuid_models(void **state)
{
    struct world *w = *state;
    struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX + 1] = {{0}};
    struct vmlib_cpuid_leaf two[2] = {{.leaf = 1, .eax = 5},
                                      {.leaf = 7, .flags = VMLIB_CPUID_SUBLEAF}};
    uint32_t n = 0;
    FAILS(VMLIB_E_LIMIT, "count", vmlib_vcpu_get_cpuid(w->vcpu, NULL, &n));
    assert_int_equal(n, 1);
    OK(vmlib_vcpu_get_cpuid(w->vcpu, leaves, &n));
    OK(vmlib_vcpu_set_cpuid(w->vcpu, two, 2));
    n = VMLIB_CPUID_MAX;
    OK(vmlib_vcpu_get_cpuid(w->vcpu, leaves, &n));
    assert_int_equal(n, 2);
    assert_int_equal(leaves[0].eax, 5);
    FAILS(VMLIB_E_INVAL, "count", vmlib_vcpu_set_cpuid(w->vcpu, leaves, VMLIB_CPUID_MAX + 1));
    FAILS(VMLIB_E_INVAL, "count", vmlib_vm_set_cpuid(w->vm, leaves, 0));
    two[1].leaf = 1;
    two[1].flags = 0;
    FAILS(VMLIB_E_INVAL, "leaves[1]", vmlib_vm_set_cpuid(w->vm, two, 2));
    two[1].flags = 8;
    FAILS(VMLIB_E_INVAL, "leaves[1]", vmlib_vm_set_cpuid(w->vm, two, 2));
    two[1] = (struct vmlib_cpuid_leaf){.leaf = 2, .ebx = 9};
    OK(vmlib_vm_set_cpuid(w->vm, two, 2));
    vmlib_vcpu *other = mock_vcpu(w->vm, 1);
    n = VMLIB_CPUID_MAX;
    OK(vmlib_vcpu_get_cpuid(other, leaves, &n));
    assert_int_equal(leaves[1].ebx, 9);
    run_to(other, VMLIB_EXIT_HLT);
    FAILS(VMLIB_E_STATE, "vcpu", vmlib_vcpu_set_cpuid(other, two, 2));
    vmlib_vcpu_unref(other);
}

/* A backend that this build leaves out, or NONE. */
static uint32_t not_built(void)
{
    for (uint32_t id = 1; id <= VMLIB_BACKEND_LAST; id++) {
        struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;
        if (vmlib_backend_query(id, &info) == VMLIB_E_NOTFOUND) {
            return id;
        }
    }
    return VMLIB_BACKEND_NONE;
}

static void capabilities(void **state)
{
    (void)state;
    struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;
    uint32_t support = 99, id = 0;
    OK(vmlib_backend_query(VMLIB_BACKEND_MOCK, &info));
    assert_string_equal(info.name, "mock");
    assert_int_equal(info.available, 1);
    assert_string_equal(info.reason, "");
    OK(vmlib_backend_feature(VMLIB_BACKEND_MOCK, VMLIB_FEATURE_BUDGET, &support));
    assert_int_equal(support, VMLIB_SUPPORT_NATIVE);
    OK(vmlib_backend_feature(VMLIB_BACKEND_MOCK, VMLIB_FEATURE_GUEST_CODE, &support));
    assert_int_equal(support, VMLIB_SUPPORT_REFUSED);
    uint32_t absent = not_built();
    if (absent != VMLIB_BACKEND_NONE) {
        FAILS(VMLIB_E_NOTFOUND, "backend", vmlib_backend_feature(absent, 0, &support));
        FAILS(VMLIB_E_NOTFOUND, "backend", vmlib_backend_query(absent, &info));
    }
    FAILS(VMLIB_E_INVAL, "backend", vmlib_backend_query(VMLIB_BACKEND_LAST + 1, &info));
    OK(vmlib_backend_by_name("mock", &id));
    assert_int_equal(id, VMLIB_BACKEND_MOCK);
    FAILS(VMLIB_E_NOTFOUND, "nonsense", vmlib_backend_by_name("nonsense", &id));
    for (uint32_t f = 0; f < VMLIB_FEATURE_COUNT; f++) {
        assert_non_null(vmlib_feature_name(f));
    }
    assert_null(vmlib_feature_name(VMLIB_FEATURE_COUNT));
    for (uint32_t r = 0; r < VMLIB_EXIT_COUNT; r++) {
        assert_non_null(vmlib_exit_name(r));
    }
    assert_null(vmlib_exit_name(VMLIB_EXIT_COUNT));
}

static void choice_of_the_backend(void **state)
{
    (void)state;
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    vmlib_vm *vm = NULL;
    config.backends[0] = not_built();
    if (config.backends[0] != VMLIB_BACKEND_NONE) {
        FAILS(VMLIB_E_UNAVAILABLE, "not part of this build", vmlib_vm_create(&config, &vm));
    }
    struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;
    OK(vmlib_backend_query(VMLIB_BACKEND_VTX, &info));
    if (!info.available) { /* all reasons are in the text */
        config.backends[0] = VMLIB_BACKEND_VTX;
        FAILS(VMLIB_E_UNAVAILABLE, info.reason, vmlib_vm_create(&config, &vm));
    }
    config.backends[0] =
        config.backends[0] != VMLIB_BACKEND_NONE ? config.backends[0] : VMLIB_BACKEND_MOCK;
    config.backends[1] = VMLIB_BACKEND_MOCK;
    OK(vmlib_vm_create(&config, &vm));
    assert_int_equal(vmlib_vm_backend(vm), VMLIB_BACKEND_MOCK);
    assert_int_equal(vmlib_vm_tsc_khz(vm), 1000000);
    vmlib_vm_unref(vm);
    vm = NULL;
    config.required = UINT64_C(1) << VMLIB_FEATURE_GUEST_CODE;
    FAILS(VMLIB_E_UNSUPPORTED, "lacks guest-code", vmlib_vm_create(&config, &vm));
    assert_null(vm);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(only_the_groups_move),     CASE(size_must_cover_the_groups),
        CASE(checked_before_changed),   CASE(single_registers),
        CASE(wide_registers),           CASE(latched_events_are_state),
        CASE(events_are_checked),       CASE(cpuid_models),
        cmocka_unit_test(capabilities), cmocka_unit_test(choice_of_the_backend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
