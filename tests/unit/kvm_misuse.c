/*
 * What a host program may do to itself: close the descriptors of a VM, unmap memory that a VM uses,
 * fork, run out of descriptors. Each has a clear error, nothing hangs, and other VMs go on.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvm_world.h"

GUEST(count_forever, "1: inc %ax\n"
                     "out %al, $0x10\n"
                     "jmp 1b");
GUEST(touch, "mov (%edi), %al\n"
             "hlt");
GUEST(store, "mov %al, (%edi)\n"
             "hlt");

/* Descriptors of this process that lead to KVM, by a part of their link's text. */
static unsigned find_fds(const char *what, int *fds, unsigned max)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        char target[256];
        ssize_t len = readlinkat(dirfd(dir), d->d_name, target, sizeof(target) - 1);
        if (len <= 0)
            continue;
        target[len] = 0;
        if (strstr(target, what) && n < max)
            fds[n++] = atoi(d->d_name);
    }
    closedir(dir);
    return n;
}

/* Every call has an answer, and it is no crash. */
static void poke(struct world *w)
{
    struct vmlib_state s;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    struct vmlib_translation t = VMLIB_TRANSLATION_INIT;
    struct vmlib_run_args a = VMLIB_RUN_ARGS_INIT;
    uint64_t value;
    s.size = sizeof(s);
    a.deadline_ns = 1000000;
    (void)vmlib_vcpu_get_state(w->vcpu[0], VMLIB_STATE_ALL, &s);
    (void)vmlib_vcpu_set_state(w->vcpu[0], VMLIB_STATE_ALL, &s);
    (void)vmlib_vcpu_get_reg(w->vcpu[0], VMLIB_REG_RAX, &value);
    (void)vmlib_vcpu_translate(w->vcpu[0], 0x1000, VMLIB_ACCESS_READ, &t);
    (void)vmlib_vcpu_nmi(w->vcpu[0]);
    (void)vmlib_vcpu_set_intr(w->vcpu[0], 1);
    (void)vmlib_vcpu_cancel(w->vcpu[0]);
    (void)vmlib_vcpu_run(w->vcpu[0], &a, &e);
    (void)vmlib_vcpu_run(w->vcpu[0], &a, &e);
}

static void closed(const char *what)
{
    struct world w, other;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    int fds[16];
    world_create(&w, 1);
    LOAD(&w, count_forever);
    world_expect(&w, VMLIB_EXIT_PIO);
    unsigned n = find_fds(what, fds, 16);
    assert_true(n > 0);
    for (unsigned i = 0; i < n; i++)
        close(fds[i]);
    int rc = vmlib_vcpu_run(w.vcpu[0], NULL, &e);
    if (strstr(what, "vcpu")) {
        assert_int_equal(rc, VMLIB_E_IO);
        assert_true(strlen(vmlib_last_error()) > 0);
    }
    poke(&w);
    /* memory of the library is still readable */
    uint8_t byte;
    OK(vmlib_vm_read(w.vm, CODE, &byte, 1));
    /* the numbers belong to nobody now; another VM may get and keep them */
    world_create(&other, 1);
    LOAD(&other, count_forever);
    world_expect(&other, VMLIB_EXIT_PIO);
    world_destroy(&other);
    world_destroy(&w);
}

static void vcpu_closed(void **state)
{
    (void)state;
    closed("kvm-vcpu");
}

static void vm_closed(void **state)
{
    (void)state;
    closed("kvm-vm");
}

static void device_closed(void **state)
{
    (void)state;
    closed("/dev/kvm");
}

static void region_on_a_closed_vm(void **state)
{
    (void)state;
    struct world w;
    struct vmlib_region_config c = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *r = NULL;
    int fds[16];
    world_create(&w, 1);
    unsigned n = find_fds("kvm-vm", fds, 16);
    for (unsigned i = 0; i < n; i++)
        close(fds[i]);
    c.gpa = DEVICE;
    c.bytes = 0x1000;
    assert_int_equal(vmlib_region_create(w.vm, &c, &r), VMLIB_E_IO);
    assert_true(strlen(vmlib_last_error()) > 0);
    assert_null(r);
    world_destroy(&w);
}

/* Memory of the caller goes away while the guest uses it. */
static void unmapped(bool write)
{
    struct world w;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    void *host = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(host, MAP_FAILED);
    world_create(&w, 1);
    vmlib_region *r = world_region(&w, DEVICE, 0x2000, 0, host);
    if (write)
        LOAD(&w, store);
    else
        LOAD(&w, touch);
    OK(vmlib_vcpu_set_reg(w.vcpu[0], VMLIB_REG_RDI, DEVICE + 0x1000));
    munmap(host, 0x2000);
    int rc = vmlib_vcpu_run(w.vcpu[0], NULL, &e);
    assert_int_equal(rc, VMLIB_E_FAULT);
    assert_non_null(strstr(vmlib_last_error(), "unmapped"));
    uint64_t rip;
    OK(vmlib_vcpu_get_reg(w.vcpu[0], VMLIB_REG_RIP, &rip));
    assert_int_equal(rip, CODE);
    /* with memory there, the instruction is repeated */
    OK(vmlib_region_remove(r));
    vmlib_region_unref(r);
    r = world_region(&w, DEVICE, 0x2000, 0, NULL);
    world_expect(&w, VMLIB_EXIT_HLT);
    vmlib_region_unref(r);
    world_destroy(&w);
}

static void memory_unmapped_read(void **state)
{
    (void)state;
    unmapped(false);
}

static void memory_unmapped_write(void **state)
{
    (void)state;
    unmapped(true);
}

static void forked(void **state)
{
    (void)state;
    struct world w;
    world_create(&w, 1);
    LOAD(&w, count_forever);
    world_expect(&w, VMLIB_EXIT_PIO);
    pid_t pid = fork();
    if (pid == 0) {
        struct vmlib_exit e = VMLIB_EXIT_INIT;
        int rc = vmlib_vcpu_run(w.vcpu[0], NULL, &e);
        vmlib_vcpu_unref(w.vcpu[0]); /* the end of its copies must not hurt the parent */
        vmlib_region_unref(w.ram);
        vmlib_vm_unref(w.vm);
        _exit(rc == VMLIB_E_FORK ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    for (unsigned i = 0; i < 10; i++)
        world_expect(&w, VMLIB_EXIT_PIO);
    world_destroy(&w);
}

static void out_of_descriptors(void **state)
{
    (void)state;
    struct rlimit old, none;
    struct vmlib_vm_config c = VMLIB_VM_CONFIG_INIT;
    vmlib_vm *vm = NULL;
    c.backends[0] = VMLIB_BACKEND_KVM;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int next = open("/dev/null", O_RDONLY);
    assert_true(next >= 0);
    close(next);
    for (unsigned more = 0; more < 3; more++) { /* for the device, the VM, the vCPU */
        none = old;
        none.rlim_cur = (rlim_t)next + more;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        int rc = vmlib_vm_create(&c, &vm);
        if (rc == 0) {
            vmlib_vcpu *vcpu = NULL;
            rc = vmlib_vcpu_create(vm, NULL, &vcpu);
            vmlib_vcpu_unref(vcpu);
            vmlib_vm_unref(vm);
        }
        assert_true(rc < 0);
        assert_true(strlen(vmlib_last_error()) > 0);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    OK(vmlib_vm_create(&c, &vm));
    vmlib_vm_unref(vm);
}

/* No descriptor stays behind. */
static void no_leaks(void **state)
{
    (void)state;
    int fds[64];
    unsigned before = find_fds("kvm", fds, 64);
    for (unsigned i = 0; i < 20; i++) {
        struct world w;
        world_create(&w, 2);
        world_destroy(&w);
    }
    assert_int_equal(find_fds("kvm", fds, 64), before);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(no_leaks),
    cmocka_unit_test(vcpu_closed),
    cmocka_unit_test(vm_closed),
    cmocka_unit_test(device_closed),
    cmocka_unit_test(region_on_a_closed_vm),
    cmocka_unit_test(memory_unmapped_read),
    cmocka_unit_test(memory_unmapped_write),
    cmocka_unit_test(forked),
    cmocka_unit_test(out_of_descriptors),
};
MAIN(tests)
