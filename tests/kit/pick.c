/* vmlib_backend_pick(): what it picks works, is named, and better ones that it leaves out have a
 * reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <vmlib/pick.h>

static void picks_one_that_works(void **state)
{
    uint32_t backend = 0;
    char why[512];
    (void)state;
    assert_int_equal(vmlib_backend_pick(0, &backend, why, sizeof(why)), 0);
    print_message("%s\n", why);
    struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;
    assert_int_equal(vmlib_backend_query(backend, &info), 0);
    assert_int_equal(info.available, 1);
    assert_int_equal(strncmp(why, info.name, strlen(info.name)), 0);
    static const uint32_t better[] = {VMLIB_BACKEND_VTX, VMLIB_BACKEND_KVM};
    for (size_t i = 0; i < 2 && better[i] != backend; i++) {
        if (vmlib_backend_query(better[i], &info) != 0)
            continue;
        char text[40];
        snprintf(text, sizeof(text), "; %s ", info.name);
        assert_non_null(strstr(why, text));
    }
}

/* A KVM that emulates ring 0 does not look at the limit of the interrupt table: UD2 with an IDT of
 * no bytes is a triple fault on every CPU (tests/contract/host.c). */
static bool kvm_emulates(void)
{
    static const uint8_t code[] = {0x0f, 0x01, 0x1e, 0x00, 0x20, 0x0f, 0x0b, 0xf4}; /* LIDT, UD2 */
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit exit = VMLIB_EXIT_INIT;
    struct vmlib_segment cs;
    vmlib_vm *vm = NULL;
    vmlib_vcpu *vcpu = NULL;
    vmlib_region *region = NULL;
    config.backends[0] = VMLIB_BACKEND_KVM;
    if (vmlib_vm_create(&config, &vm) != 0)
        return false;
    ram.bytes = 0x10000;
    args.deadline_ns = 100000000;
    assert_int_equal(vmlib_region_create(vm, &ram, &region), 0);
    assert_int_equal(vmlib_vm_write(vm, 0x1000, code, sizeof(code)), 0);
    assert_int_equal(vmlib_vcpu_create(vm, NULL, &vcpu), 0);
    assert_int_equal(vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_CS, &cs, sizeof(cs)), 0);
    cs.base = cs.selector = 0;
    assert_int_equal(vmlib_vcpu_set_reg_wide(vcpu, VMLIB_REG_CS, &cs, sizeof(cs)), 0);
    assert_int_equal(vmlib_vcpu_set_reg(vcpu, VMLIB_REG_RIP, 0x1000), 0);
    assert_int_equal(vmlib_vcpu_run(vcpu, &args, &exit), 0);
    vmlib_vcpu_unref(vcpu);
    vmlib_region_unref(region);
    vmlib_vm_unref(vm);
    return exit.reason != VMLIB_EXIT_SHUTDOWN;
}

/* It would be hundreds of times slower than software in a kernel. */
static void picks_no_emulator(void **state)
{
    uint32_t backend = 0;
    char why[512];
    (void)state;
    if (!kvm_emulates()) {
        print_message("SKIP: no KVM here, or one that executes ring 0\n");
        skip();
    }
    assert_int_equal(vmlib_backend_pick(0, &backend, why, sizeof(why)), 0);
    assert_int_not_equal(backend, VMLIB_BACKEND_KVM);
}

static void takes_requirements_seriously(void **state)
{
    uint32_t backend = 0;
    char why[512];
    (void)state;
    assert_int_equal(
        vmlib_backend_pick(UINT64_C(1) << VMLIB_FEATURE_DETERMINISTIC, &backend, why, sizeof(why)),
        0);
    assert_int_equal(backend, VMLIB_BACKEND_SOFT);
    backend = 77;
    assert_int_equal(
        vmlib_backend_pick(UINT64_C(1) << VMLIB_FEATURE_SMM, &backend, why, sizeof(why)),
        VMLIB_E_UNAVAILABLE);
    assert_int_equal(backend, 77);
    assert_non_null(strstr(why, "soft has no smm"));
}

/* "Approximate" is not enough for who requires a feature. */
static void features_are_whole(void **state)
{
    (void)state;
    for (uint32_t f = 0; f < VMLIB_FEATURE_COUNT; f++) {
        uint32_t backend = 0, support = VMLIB_SUPPORT_REFUSED;
        if (vmlib_backend_pick(UINT64_C(1) << f, &backend, NULL, 0) != 0)
            continue;
        assert_int_equal(vmlib_backend_feature(backend, f, &support), 0);
        assert_true(support >= VMLIB_SUPPORT_EMULATED);
    }
}

static void wrong_use(void **state)
{
    uint32_t backend = 0;
    char small[4];
    (void)state;
    assert_int_equal(vmlib_backend_pick(0, NULL, NULL, 0), VMLIB_E_INVAL);
    assert_int_equal(vmlib_backend_pick(0, &backend, NULL, 5), VMLIB_E_INVAL);
    assert_int_equal(vmlib_backend_pick(0, &backend, NULL, 0), 0);
    assert_int_equal(vmlib_backend_pick(0, &backend, small, sizeof(small)), 0);
    assert_int_equal(strlen(small), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_one_that_works),
        cmocka_unit_test(picks_no_emulator),
        cmocka_unit_test(takes_requirements_seriously),
        cmocka_unit_test(features_are_whole),
        cmocka_unit_test(wrong_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
