/* vmlib_backend_pick(): what it picks works, is named, and better ones that it leaves out have a
 * reason. */
#include <setjmp.h>
#include <stdarg.h>
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
        cmocka_unit_test(takes_requirements_seriously),
        cmocka_unit_test(wrong_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
