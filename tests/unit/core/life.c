/* Life cycles: order of destruction, 10,000 repetitions without growth, fork. */
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

static unsigned open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;
    if (dir == NULL) {
        return 0;
    }
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n;
}

static unsigned long resident_pages(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%lu %lu", &size, &resident) != 2) {
        resident = 0;
    }
    if (f != NULL) {
        fclose(f);
    }
    return resident;
}

static int nothing(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)opaque, (void)vcpu, (void)exit;
    return VMLIB_HANDLED;
}

/* Everything once, dropped in an order that depends on `order`. */
static void one_life(unsigned order)
{
    vmlib_vm *vm = mock_vm();
    vmlib_vcpu *vcpu = mock_vcpu(vm, order % VMLIB_MAX_VCPUS);
    vmlib_region *region = ram(vm, 0x1000, 0x4000, VMLIB_PROT_RWX, VMLIB_REGION_DIRTY_LOG);
    vmlib_region *gone = ram(vm, 0x100000, 0x1000, VMLIB_PROT_RWX, 0);
    vmlib_handler *handler = NULL;
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    config.last = 0xff;
    config.fn = nothing;
    OK(vmlib_handler_add(vm, &config, &handler));
    OK(vmlib_region_remove(gone));
    push_pio(vcpu, 5, 1, 1);
    push_pio(vcpu, 0x500, 0, 1);
    push_access(vcpu, 0x1000, 4, 1, order);
    run_to(vcpu, VMLIB_EXIT_PIO); /* and never completed */
    if (order & 1) {
        vmlib_vm_unref(vm);
    }
    if (order & 2) {
        vmlib_handler_unref(handler);
        vmlib_region_unref(gone);
    }
    if (order & 4) {
        vmlib_vcpu_unref(vcpu);
    }
    vmlib_region_unref(region);
    if (!(order & 4)) {
        vmlib_vcpu_unref(vcpu);
    }
    if (!(order & 2)) {
        vmlib_region_unref(gone);
        vmlib_handler_unref(handler);
    }
    if (!(order & 1)) {
        vmlib_vm_unref(vm);
    }
}

static void any_order(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 8; order++) {
        one_life(order);
    }
}

static void no_growth(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        one_life(i);
    }
    unsigned files = open_files();
    unsigned long pages = resident_pages();
    for (unsigned long i = 0; i < scaled(10000); i++) {
        one_life((unsigned)i);
    }
    assert_int_equal(open_files(), files);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)pages; /* the sanitizer keeps freed memory on purpose */
#else
    assert_true(resident_pages() <= pages + 64);
#endif
}

static void children_hold_the_vm(void **state)
{
    (void)state;
    vmlib_vm *vm = mock_vm();
    vmlib_vcpu *vcpu = mock_vcpu(vm, 3), *again = NULL;
    vmlib_vm_unref(vm);
    assert_ptr_equal(vmlib_vcpu_vm(vcpu), vm);
    assert_int_equal(vmlib_vcpu_index(vcpu), 3);
    OK(vmlib_vm_vcpu(vm, 3, &again));
    assert_ptr_equal(again, vcpu);
    vmlib_vcpu_unref(again);
    run_to(vcpu, VMLIB_EXIT_HLT);
    vmlib_vcpu_unref(vcpu);
}

static void places_of_vcpus(void **state)
{
    (void)state;
    vmlib_vm *vm = mock_vm();
    vmlib_vcpu *vcpu = mock_vcpu(vm, 0), *other = NULL;
    struct vmlib_vcpu_config config = VMLIB_VCPU_CONFIG_INIT;
    FAILS(VMLIB_E_EXISTS, "index", vmlib_vcpu_create(vm, &config, &other));
    config.index = 1;
    config.apic_id = 0;
    FAILS(VMLIB_E_EXISTS, "apic_id", vmlib_vcpu_create(vm, &config, &other));
    config.apic_id = 200;
    OK(vmlib_vcpu_create(vm, &config, &other));
    vmlib_vcpu_unref(other);
    OK(vmlib_vcpu_create(vm, &config, &other)); /* the place is free again */
    vmlib_vcpu_unref(other);
    OK(vmlib_mock_fail(vm, VMLIB_MOCK_CALL_VCPU_CREATE, 0, VMLIB_E_NOMEM));
    other = NULL;
    FAILS(VMLIB_E_NOMEM, "injected", vmlib_vcpu_create(vm, &config, &other));
    assert_null(other);
    OK(vmlib_vcpu_create(vm, &config, &other));
    vmlib_vcpu_unref(other);
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
}

/* In the child: everything that makes or runs something is refused, destruction works. */
static int in_child(vmlib_vm *vm, vmlib_vcpu *vcpu, vmlib_region *region)
{
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    struct vmlib_region_config rc = VMLIB_REGION_CONFIG_INIT;
    struct vmlib_vcpu_config vc = VMLIB_VCPU_CONFIG_INIT;
    struct vmlib_handler_config hc = VMLIB_HANDLER_CONFIG_INIT;
    vmlib_region *r = NULL;
    vmlib_vcpu *v = NULL;
    int bad = 0;
    rc.gpa = 0x100000;
    rc.bytes = 0x1000;
    vc.index = 1;
    bad |= vmlib_vcpu_run(vcpu, NULL, &e) != VMLIB_E_FORK;
    bad |= strstr(vmlib_last_error(), "process") == NULL;
    bad |= vmlib_region_create(vm, &rc, &r) != VMLIB_E_FORK;
    bad |= vmlib_vcpu_create(vm, &vc, &v) != VMLIB_E_FORK;
    bad |= vmlib_handler_add(vm, &hc, NULL) != VMLIB_E_FORK;
    bad |= vmlib_vcpu_complete(vcpu, NULL, 0) != VMLIB_E_FORK;
    vmlib_region_unref(region);
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
    vm = mock_vm(); /* its own VM is fine */
    vcpu = mock_vcpu(vm, 0);
    bad |= vmlib_vcpu_run(vcpu, NULL, &e) != 0;
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
    return bad;
}

static void forked(void **state)
{
    (void)state;
    int status = 0;
    vmlib_vm *vm = mock_vm();
    vmlib_vcpu *vcpu = mock_vcpu(vm, 0);
    vmlib_region *region = ram(vm, 0, 0x1000, VMLIB_PROT_RWX, 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(in_child(vm, vcpu, region));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    run_to(vcpu, VMLIB_EXIT_HLT); /* the parent's is untouched */
    vmlib_region_unref(region);
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order),
        cmocka_unit_test(no_growth),
        cmocka_unit_test(children_hold_the_vm),
        cmocka_unit_test(places_of_vcpus),
        cmocka_unit_test(forked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
