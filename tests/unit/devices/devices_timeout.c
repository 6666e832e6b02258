/*
 * A machine ends when its time is over, whatever its vCPUs do at that moment: each program here
 * runs on two of them (on one in deterministic time), and its timeout falls anywhere.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <vmlib/boot.h>
#include <vmlib/devices/machine.h>

#define LOAD_ADDRESS 0x9000u
#define ROUNDS       4u

/* 16-bit code; the segments are 0. */
static const struct {
    const char *what;
    uint8_t code[16];
} programs[] = {
    {"spins", {0xeb, 0xfe}},
    {"halts with interrupts off", {0xfa, 0xf4, 0xeb, 0xfd}},
    {"fills memory with REP", {0xb9, 0xff, 0xff, 0xf3, 0xaa, 0xeb, 0xf9}},
    {"locks memory", {0xf0, 0xff, 0x06, 0, 0x20, 0xeb, 0xf9}},
    {"locks a hole",
     {0xb8, 0, 0xa0, 0x8e, 0xd8, 0xf0, 0xff, 0x06, 0, 0, 0xeb, 0xf9}}, /* ds = 0xa000 */
    {"modifies code that both execute",
     {0xfe, 0x06, 0x05, 0x90, 0xb0, 0, 0xeb, 0xf8}}, /* incb of the immediate of mov $0, %al */
    {"uses a port", {0xe4, 0x80, 0xe6, 0x80, 0xeb, 0xfa}},
    {"floods itself with timer requests",
     {0xb0, 0x34, 0xe6, 0x43, 0xb0, 1, 0xe6, 0x40, 0x30, 0xc0, 0xe6, 0x40, 0xeb, 0xfe}},
    {"drops its translations", {0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0xeb, 0xf8}}, /* cr3 */
};

struct cpu {
    vmlib_machine *machine;
    vmlib_vcpu *vcpu;
    pthread_t thread;
    int error;
    struct vmlib_machine_result result;
};

static void *run(void *arg)
{
    struct cpu *c = arg;
    c->error = vmlib_machine_run_vcpu(c->machine, c->vcpu, &c->result);
    return NULL;
}

/* The second vCPU does not wait for a start-up IPI: it is where the first one is. */
static void start(struct cpu cpu[2], unsigned n, const uint8_t *code, size_t bytes)
{
    const uint32_t groups =
        VMLIB_STATE_GPR | VMLIB_STATE_CONTROL | VMLIB_STATE_SEGMENTS | VMLIB_STATE_EVENTS;
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;
    static struct vmlib_state s;
    p.format = VMLIB_BOOT_FLAT;
    p.kernel = code;
    p.kernel_bytes = bytes;
    p.load_address = LOAD_ADDRESS;
    assert_int_equal(vmlib_machine_boot(cpu[0].machine, &p, NULL), 0);
    memset(&s, 0, sizeof(s));
    s.size = sizeof(s);
    assert_int_equal(vmlib_vcpu_get_state(cpu[0].vcpu, groups, &s), 0);
    if (n > 1)
        assert_int_equal(vmlib_vcpu_set_state(cpu[1].vcpu, groups, &s), 0);
}

static void one(uint32_t time_mode, const uint8_t *code, size_t bytes, uint64_t timeout_ns)
{
    struct vmlib_vm_config vc = VMLIB_VM_CONFIG_INIT;
    struct vmlib_machine_config mc = VMLIB_MACHINE_CONFIG_INIT;
    const unsigned n = time_mode == VMLIB_TIME_DETERMINISTIC ? 1 : 2;
    struct cpu cpu[2];
    vmlib_machine *machine;
    vmlib_vm *vm;

    vc.backends[0] = VMLIB_BACKEND_SOFT;
    vc.time_mode = time_mode;
    mc.timeout_ns = timeout_ns;
    assert_int_equal(vmlib_vm_create(&vc, &vm), 0);
    assert_int_equal(vmlib_machine_create(vm, &mc, &machine), 0);
    assert_int_equal(vmlib_machine_add_ram(machine, 1 << 20), 0);
    for (unsigned i = 0; i < n; i++) {
        cpu[i] = (struct cpu){.machine = machine, .result = VMLIB_MACHINE_RESULT_INIT};
        assert_int_equal(vmlib_machine_add_vcpu(machine, &cpu[i].vcpu), 0);
    }
    start(cpu, n, code, bytes);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(pthread_create(&cpu[i].thread, NULL, run, &cpu[i]), 0);
    for (unsigned i = 0; i < n; i++)
        pthread_join(cpu[i].thread, NULL);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(cpu[i].error, 0);
        assert_int_equal(cpu[i].result.end, VMLIB_MACHINE_TIMEOUT);
    }
    vmlib_machine_destroy(machine);
    for (unsigned i = 0; i < n; i++)
        vmlib_vcpu_unref(cpu[i].vcpu);
    vmlib_vm_unref(vm);
}

static void in_mode(uint32_t time_mode)
{
    for (unsigned i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        print_message("  %s\n", programs[i].what);
        for (unsigned round = 0; round < ROUNDS; round++)
            one(time_mode, programs[i].code, sizeof(programs[i].code),
                1 + UINT64_C(1300007) * round);
    }
}

static void test_real_time(void **state)
{
    (void)state;
    in_mode(VMLIB_TIME_REAL);
}
static void test_deterministic_time(void **state)
{
    (void)state;
    in_mode(VMLIB_TIME_DETERMINISTIC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_time),
        cmocka_unit_test(test_deterministic_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
