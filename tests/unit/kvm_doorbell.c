/* Doorbells that the kernel answers: the same meaning as those that the library rings. */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kvm_world.h"

/* Write EAX to the port in all widths, then to memory at EDI, then halt. */
GUEST(ring_all, "mov $0x40, %dx\n"
                "out %al, %dx\n"
                "out %ax, %dx\n"
                "out %eax, %dx\n"
                "mov %al, (%edi)\n"
                "mov %ax, (%edi)\n"
                "mov %eax, (%edi)\n"
                "hlt");

static uint64_t rung(int fd)
{
    uint64_t n = 0;
    return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static int counter(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static vmlib_doorbell *bell(struct world *w, uint32_t kind, uint32_t width, int fd)
{
    struct vmlib_doorbell_config c = VMLIB_DOORBELL_CONFIG_INIT;
    vmlib_doorbell *b = NULL;
    c.kind = kind;
    c.address = kind == VMLIB_DOORBELL_PIO ? 0x40 : DEVICE;
    c.width = width;
    c.fd = fd;
    OK(vmlib_doorbell_add(w->vm, &c, &b));
    return b;
}

/* Runs ring_all and returns which writes came out as records: bit = width, MMIO above 8. */
static uint32_t records(struct world *w, uint32_t eax)
{
    uint32_t seen = 0;
    LOAD(w, ring_all);
    OK(vmlib_vcpu_set_reg(w->vcpu[0], VMLIB_REG_RDI, DEVICE));
    OK(vmlib_vcpu_set_reg(w->vcpu[0], VMLIB_REG_RAX, eax));
    for (;;) {
        struct vmlib_exit e = world_run(w, 0, 20000000000u);
        if (e.reason == VMLIB_EXIT_HLT)
            return seen;
        if (e.reason == VMLIB_EXIT_PIO)
            seen |= e.u.pio.width;
        else if (e.reason == VMLIB_EXIT_MMIO)
            seen |= (uint32_t)e.u.mmio.width << 4;
        else
            fail_msg("exit %s", vmlib_exit_name(e.reason));
    }
}
#define ALL 0x77u

static void widths_are_exact(void **state)
{
    (void)state;
    static const uint32_t widths[] = {1, 2, 4};
    for (unsigned kind = 0; kind < 2; kind++)
        for (unsigned i = 0; i < 3; i++) {
            struct world w;
            int fd = counter();
            world_create(&w, 1);
            vmlib_doorbell *b = bell(&w, kind, widths[i], fd);
            assert_int_equal(records(&w, 1), ALL & ~(widths[i] << (kind ? 4 : 0)));
            assert_int_equal(rung(fd), 1);
            OK(vmlib_doorbell_remove(b));
            assert_int_equal(records(&w, 1), ALL);
            assert_int_equal(rung(fd), 0);
            vmlib_doorbell_unref(b);
            world_destroy(&w);
            close(fd);
        }
}

static void values_match(void **state)
{
    (void)state;
    struct world w;
    struct vmlib_doorbell_config c = VMLIB_DOORBELL_CONFIG_INIT;
    world_create(&w, 1);
    c.kind = VMLIB_DOORBELL_MMIO;
    c.address = DEVICE;
    c.width = 4;
    c.flags = VMLIB_DOORBELL_MATCH;
    c.value = 0x12345678;
    c.fd = counter();
    OK(vmlib_doorbell_add(w.vm, &c, NULL));
    assert_int_equal(records(&w, 0x12345679), ALL);
    assert_int_equal(rung(c.fd), 0);
    assert_int_equal(records(&w, 0x12345678), ALL & ~0x40u);
    assert_int_equal(rung(c.fd), 1);
    world_destroy(&w);
    close(c.fd);
}

/* Two at one address: the library chooses; alone again, the kernel answers. */
static void neighbours(void **state)
{
    (void)state;
    struct world w;
    int a = counter(), b = counter();
    world_create(&w, 1);
    vmlib_doorbell *first = bell(&w, VMLIB_DOORBELL_PIO, 1, a);
    vmlib_doorbell *second = bell(&w, VMLIB_DOORBELL_PIO, 2, b);
    assert_int_equal(records(&w, 1), ALL & ~3u);
    assert_int_equal(rung(a), 1);
    assert_int_equal(rung(b), 1);
    OK(vmlib_doorbell_remove(first));
    assert_int_equal(records(&w, 1), ALL & ~2u);
    assert_int_equal(rung(a), 0);
    assert_int_equal(rung(b), 1);
    vmlib_doorbell_unref(first);
    vmlib_doorbell_unref(second);
    world_destroy(&w);
    close(a);
    close(b);
}

/* The caller closes his descriptor too early: removing the doorbell still ends it. That it rings
 * until then shows that it is the kernel who does. */
static void closed_too_early(void **state)
{
    (void)state;
    struct world w;
    int fd = counter(), mine = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    world_create(&w, 1);
    vmlib_doorbell *b = bell(&w, VMLIB_DOORBELL_MMIO, 1, fd);
    close(fd);
    assert_int_equal(records(&w, 1), ALL & ~0x10u);
    assert_int_equal(rung(mine), 1);
    OK(vmlib_doorbell_remove(b));
    assert_int_equal(records(&w, 1), ALL);
    assert_int_equal(rung(mine), 0);
    vmlib_doorbell_unref(b);
    world_destroy(&w);
    close(mine);
}

/* What is no eventfd is rung by the library. */
static void pipes_work(void **state)
{
    (void)state;
    struct world w;
    int fd[2];
    uint64_t one = 0;
    assert_int_equal(pipe(fd), 0);
    world_create(&w, 1);
    vmlib_doorbell *b = bell(&w, VMLIB_DOORBELL_PIO, 4, fd[1]);
    assert_int_equal(records(&w, 1), ALL & ~4u);
    assert_int_equal(read(fd[0], &one, sizeof(one)), sizeof(one));
    assert_int_equal(one, 1);
    vmlib_doorbell_unref(b);
    world_destroy(&w);
    close(fd[0]);
    close(fd[1]);
}

static int never(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)vcpu, (void)exit;
    ++*(unsigned *)opaque;
    return VMLIB_HANDLED;
}

/* Doorbells come before handlers. */
static void before_handlers(void **state)
{
    (void)state;
    struct world w;
    unsigned calls = 0;
    int fd = counter();
    struct vmlib_handler_config c = VMLIB_HANDLER_CONFIG_INIT;
    world_create(&w, 1);
    c.first = c.last = 0x40;
    c.fn = never;
    c.opaque = &calls;
    OK(vmlib_handler_add(w.vm, &c, NULL));
    vmlib_doorbell *b = bell(&w, VMLIB_DOORBELL_PIO, 2, fd);
    assert_int_equal(records(&w, 1), ALL & ~7u);
    assert_int_equal(calls, 2); /* the other widths */
    assert_int_equal(rung(fd), 1);
    vmlib_doorbell_unref(b);
    world_destroy(&w);
    close(fd);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(widths_are_exact), cmocka_unit_test(values_match),
    cmocka_unit_test(neighbours),       cmocka_unit_test(closed_too_early),
    cmocka_unit_test(pipes_work),       cmocka_unit_test(before_handlers),
};
MAIN(tests)
