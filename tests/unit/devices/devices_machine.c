/* The PC bundle: how machines end, time, input, memory map, and every function with wrong
 * arguments. */
#include <pthread.h>

#include "test.h"

#include <vmlib/devices/machine.h>

#include "devices/model.h"

static vmlib_vm *vm;
static vmlib_machine *machine;
static vmlib_vcpu *vcpu;
static struct vmlib_machine_config config;
static struct vmlib_machine_result result;
static char output[64];
static size_t output_bytes;

static void on_serial(void *opaque, const void *data, size_t bytes)
{
    (void)opaque;
    if (output_bytes + bytes < sizeof output)
        memcpy(output + output_bytes, data, bytes);
    output_bytes += bytes;
}

static void create(uint32_t time_mode, uint64_t ram)
{
    struct vmlib_vm_config v = VMLIB_VM_CONFIG_INIT;

    v.time_mode = time_mode;
    config.serial = on_serial;
    output_bytes = 0;
    assert_int_equal(vmlib_vm_create(&v, &vm), 0);
    assert_int_equal(vmlib_machine_create(vm, &config, &machine), 0);
    assert_int_equal(vmlib_machine_add_ram(machine, ram), 0);
    assert_int_equal(vmlib_machine_add_vcpu(machine, &vcpu), 0);
}

static int setup(void **state)
{
    (void)state;
    config = (struct vmlib_machine_config)VMLIB_MACHINE_CONFIG_INIT;
    config.rtc_seconds = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    vmlib_vm_unref(vm);
    vmlib_machine_destroy(machine);
    vmlib_vcpu_unref(vcpu);
    vm = NULL;
    machine = NULL;
    vcpu = NULL;
    return 0;
}

static int boot(const void *code, size_t bytes)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;

    p.kernel = code;
    p.kernel_bytes = bytes;
    p.format = VMLIB_BOOT_FLAT;
    p.load_address = 0x8000;
    return vmlib_machine_boot(machine, &p, NULL);
}

static uint32_t run(const void *code, size_t bytes)
{
    create(VMLIB_TIME_REAL, 2u << 20);
    assert_int_equal(boot(code, bytes), 0);
    result = (struct vmlib_machine_result)VMLIB_MACHINE_RESULT_INIT;
    assert_int_equal(vmlib_machine_run_vcpu(machine, vcpu, &result), 0);
    return result.end;
}

static void power_off(void **state)
{
    (void)state;
    /* mov dx, 604; mov ax, 3400; out dx, ax */
    assert_int_equal(run("\xba\x04\x06\xb8\x00\x34\xef\xf4", 8), VMLIB_MACHINE_POWER_OFF);
    assert_string_equal(vmlib_machine_end_name(result.end), "power-off");
}

static void debug_exit(void **state)
{
    (void)state;
    /* mov al, 2a; out f4, al */
    assert_int_equal(run("\xb0\x2a\xe6\xf4\xf4", 5), VMLIB_MACHINE_DEBUG_EXIT);
    assert_int_equal(result.value, 0x2a);
    assert_int_equal(result.exit_reason, VMLIB_EXIT_PIO);
    assert_int_equal(result.rip, 2);
    /* a second call returns the same at once */
    assert_int_equal(vmlib_machine_run_vcpu(machine, vcpu, &result), 0);
    assert_int_equal(result.value, 0x2a);
}

static void reset(void **state)
{
    (void)state;
    /* mov al, fe; out 64, al */
    assert_int_equal(run("\xb0\xfe\xe6\x64\xf4", 5), VMLIB_MACHINE_RESET);
}

static void triple_fault(void **state)
{
    (void)state;
    /* lidt cs:[6]; ud2; a descriptor table of length 0 */
    assert_int_equal(run("\x2e\x0f\x01\x1e\x08\x00\x0f\x0b\0\0\0\0\0\0", 14),
                     VMLIB_MACHINE_SHUTDOWN);
}

static void timeout(void **state)
{
    (void)state;
    config.timeout_ns = 20000000;
    assert_int_equal(run("\xeb\xfe", 2), VMLIB_MACHINE_TIMEOUT); /* jmp self */
}

static void timeout_while_halted(void **state)
{
    (void)state;
    config.timeout_ns = 20000000;
    assert_int_equal(run("\xfa\xf4", 2), VMLIB_MACHINE_TIMEOUT); /* cli; hlt */
}

static void *stopper(void *opaque)
{
    vmlib_machine_stop(opaque);
    return NULL;
}

static void stop(void **state)
{
    pthread_t thread;

    (void)state;
    create(VMLIB_TIME_REAL, 2u << 20);
    assert_int_equal(boot("\xfa\xf4", 2), 0);
    assert_int_equal(pthread_create(&thread, NULL, stopper, machine), 0);
    result = (struct vmlib_machine_result)VMLIB_MACHINE_RESULT_INIT;
    assert_int_equal(vmlib_machine_run_vcpu(machine, vcpu, &result), 0);
    pthread_join(thread, NULL);
    assert_int_equal(result.end, VMLIB_MACHINE_STOPPED);
}

static void unclaimed(void **state)
{
    (void)state;
    /* in al, 99; out f4, al */
    assert_int_equal(run("\xe4\x99\xe6\xf4", 4), VMLIB_MACHINE_DEBUG_EXIT);
    assert_int_equal(result.value, 0xff);
}

static void unclaimed_exits(void **state)
{
    (void)state;
    config.flags = VMLIB_MACHINE_UNCLAIMED_EXITS;
    assert_int_equal(run("\xe4\x99\xe6\xf4", 4), VMLIB_MACHINE_EXIT);
    assert_int_equal(result.exit_reason, VMLIB_EXIT_PIO);
    assert_non_null(strstr(result.text, "0x99"));
}

/* Twenty ticks of the 8254 at 1 kHz, served in HLT; then debug exit 21h. */
static const uint8_t ticks[] = {
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0x00, 0x70, 0xc7, 0x06, 0x20, 0x00, 0x35, 0x80, 0xa3,
    0x22, 0x00, 0xa3, 0x00, 0x05, 0xb0, 0xfe, 0xe6, 0x21, 0xb0, 0x34, 0xe6, 0x43, 0xb0, 0xa9, 0xe6,
    0x40, 0xb0, 0x04, 0xe6, 0x40, 0xfb, 0xf4, 0x83, 0x3e, 0x00, 0x05, 0x14, 0x72, 0xf7, 0xb0, 0x21,
    0xe6, 0xf4, 0xf4, 0xeb, 0xfd, 0xff, 0x06, 0x00, 0x05, 0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf};

static void timer(void **state)
{
    struct vmlib_machine_stats s = VMLIB_MACHINE_STATS_INIT;
    uint64_t ns = 0;

    (void)state;
    assert_int_equal(run(ticks, sizeof ticks), VMLIB_MACHINE_DEBUG_EXIT);
    assert_int_equal(result.value, 0x21);
    assert_int_equal(vmlib_machine_stats(machine, &s), 0);
    assert_int_equal(s.interrupts, 20);
    assert_int_equal(vmlib_vm_clock(vm, &ns), 0);
    assert_true(ns >= 19000000); /* not early */
}

/* In deterministic time the same run takes the same instructions and the same guest time. */
static void deterministic(void **state)
{
    struct vmlib_machine_stats s[2] = {VMLIB_MACHINE_STATS_INIT, VMLIB_MACHINE_STATS_INIT};
    uint64_t ns[2];
    unsigned n;

    for (n = 0; n < 2; n++) {
        create(VMLIB_TIME_DETERMINISTIC, 2u << 20);
        assert_int_equal(boot(ticks, sizeof ticks), 0);
        result = (struct vmlib_machine_result)VMLIB_MACHINE_RESULT_INIT;
        assert_int_equal(vmlib_machine_run_vcpu(machine, vcpu, &result), 0);
        assert_int_equal(result.value, 0x21);
        assert_int_equal(vmlib_machine_stats(machine, &s[n]), 0);
        assert_int_equal(vmlib_vm_clock(vm, &ns[n]), 0);
        teardown(state);
    }
    assert_int_equal(s[0].instructions, s[1].instructions);
    assert_int_equal(ns[0], ns[1]);
    assert_in_range(ns[0], 19990000, 21000000);
}

/* Echoes until 'q'. */
static const uint8_t echo[] = {0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf8, 0xba, 0xf8,
                               0x03, 0xec, 0xee, 0x3c, 0x71, 0x75, 0xef, 0xe6, 0xf4, 0xf4};

static void serial_input(void **state)
{
    size_t taken;

    (void)state;
    create(VMLIB_TIME_REAL, 2u << 20);
    assert_int_equal(boot(echo, sizeof echo), 0);
    assert_int_equal(vmlib_machine_serial_input(machine, "hello q", 7, &taken), 0);
    assert_int_equal(taken, 7);
    result = (struct vmlib_machine_result)VMLIB_MACHINE_RESULT_INIT;
    assert_int_equal(vmlib_machine_run_vcpu(machine, vcpu, &result), 0);
    assert_int_equal(result.value, 'q');
    assert_int_equal(output_bytes, 7);
    assert_memory_equal(output, "hello q", 7);
}

static void memory_map(void **state)
{
    struct vmlib_boot_memory map[8];
    uint32_t n = 8;
    char rsdp[8];

    (void)state;
    create(VMLIB_TIME_REAL, 5ull << 30);
    assert_int_equal(vmlib_machine_memory_map(machine, map, &n), 0);
    assert_int_equal(n, 5);
    assert_int_equal(map[3].gpa + map[3].bytes, 3ull << 30);
    assert_int_equal(map[4].gpa, 4ull << 30);
    assert_int_equal(map[4].bytes, 2ull << 30);
    n = 2;
    assert_int_equal(vmlib_machine_memory_map(machine, map, &n), VMLIB_E_LIMIT);
    assert_int_equal(n, 5);
    assert_int_equal(boot("\xf4", 1), 0);
    assert_int_equal(vmlib_vm_read(vm, 0xe0000, rsdp, 8), 0);
    assert_memory_equal(rsdp, "RSD PTR ", 8);
    assert_int_equal(vmlib_vm_read(vm, 0xf0000, rsdp, 4), 0);
    assert_memory_equal(rsdp, "_MP_", 4);
}

static void order(void **state)
{
    struct vmlib_disk_config disk = VMLIB_DISK_CONFIG_INIT;
    vmlib_vcpu *second;
    unsigned n;

    (void)state;
    assert_int_equal(vmlib_vm_create(NULL, &vm), 0);
    assert_int_equal(vmlib_machine_create(vm, NULL, &machine), 0);
    assert_int_equal(boot("\xf4", 1), VMLIB_E_STATE); /* no RAM */
    assert_int_equal(vmlib_machine_add_ram(machine, 100), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_add_ram(machine, 1u << 20), 0);
    assert_int_equal(vmlib_machine_add_ram(machine, 1u << 20), VMLIB_E_STATE);
    assert_int_equal(boot("\xf4", 1), VMLIB_E_STATE); /* no vCPU */
    assert_int_equal(vmlib_machine_add_vcpu(machine, &vcpu), 0);
    assert_int_equal(vmlib_machine_add_vcpu(machine, NULL), 0);
    assert_int_equal(vmlib_machine_add_console(machine, NULL, NULL), 0);
    assert_int_equal(vmlib_machine_add_console(machine, NULL, NULL), VMLIB_E_EXISTS);
    disk.path = "/nonexistent/disk";
    assert_int_equal(vmlib_machine_add_disk(machine, &disk), VMLIB_E_IO);
    assert_non_null(strstr(vmlib_devices_last_error(), "/nonexistent/disk"));
    disk.path = "/dev/null"; /* neither file nor block device */
    assert_int_equal(vmlib_machine_add_disk(machine, &disk), VMLIB_E_IO);
    for (n = 1; n < 8; n++)
        assert_int_equal(vmlib_machine_add_rng(machine, n), 0);
    assert_int_equal(vmlib_machine_add_rng(machine, n), VMLIB_E_LIMIT);
    assert_int_equal(boot("\xf4", 1), 0);
    assert_int_equal(boot("\xf4", 1), VMLIB_E_STATE);
    assert_int_equal(vmlib_machine_add_vcpu(machine, &second), VMLIB_E_STATE);
    assert_int_equal(vmlib_machine_add_rng(machine, 0), VMLIB_E_STATE);
}

static void misuse(void **state)
{
    struct vmlib_machine_stats s = VMLIB_MACHINE_STATS_INIT;
    struct vmlib_boot_memory map[8];
    uint32_t n = 8;
    size_t taken;

    (void)state;
    create(VMLIB_TIME_REAL, 1u << 20);
    assert_int_equal(vmlib_machine_create(NULL, NULL, &machine), VMLIB_E_INVAL);
    assert_non_null(strstr(vmlib_devices_last_error(), "vm"));
    assert_int_equal(vmlib_machine_create(vm, NULL, NULL), VMLIB_E_INVAL);
    config.flags = 0x80;
    assert_int_equal(vmlib_machine_create(vm, &config, &machine), VMLIB_E_INVAL);
    config.flags = 0;
    config.size--;
    assert_int_equal(vmlib_machine_create(vm, &config, &machine), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_add_ram(NULL, 1u << 20), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_add_vcpu(NULL, NULL), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_add_disk(machine, NULL), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_add_rng(NULL, 0), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_add_console(NULL, NULL, NULL), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_boot(machine, NULL, NULL), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_stop(NULL), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_serial_input(machine, NULL, 0, &taken), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_console_input(machine, "x", 1, &taken), VMLIB_E_NOTFOUND);
    assert_int_equal(vmlib_machine_memory_map(machine, NULL, &n), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_memory_map(NULL, map, &n), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_stats(machine, NULL), VMLIB_E_INVAL);
    s.size = 4;
    assert_int_equal(vmlib_machine_stats(machine, &s), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_run_vcpu(machine, vcpu, NULL), VMLIB_E_INVAL);
    result.size = 1;
    assert_int_equal(vmlib_machine_run_vcpu(machine, vcpu, &result), VMLIB_E_INVAL);
    assert_null(vmlib_machine_end_name(0));
    assert_null(vmlib_machine_end_name(99));
    vmlib_machine_destroy(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(power_off),    TEST(debug_exit),    TEST(reset),
        TEST(triple_fault), TEST(timeout),       TEST(timeout_while_halted),
        TEST(stop),         TEST(unclaimed),     TEST(unclaimed_exits),
        TEST(timer),        TEST(deterministic), TEST(serial_input),
        TEST(memory_map),   TEST(order),         TEST(misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
