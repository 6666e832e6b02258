/*
 * A machine that moves between VMs: in deterministic time it makes the same instructions, output
 * and interrupts as one that stays. Argument: the folder of the guests.
 */
#include "check_kit.h"

#include <vmlib/devices/machine.h>
#include <vmlib/handoff.h>

#define HOMES 3u

static const char *folder;
static uint32_t second; /* backend to move to */

struct pc {
    vmlib_vm *vm[HOMES];
    vmlib_machine *machine;
    vmlib_vcpu *vcpu;
    char output[4096];
    size_t bytes;
    struct vmlib_machine_result result;
    struct vmlib_machine_stats stats;
};

static void serial(void *opaque, const void *data, size_t bytes)
{
    struct pc *pc = opaque;

    assert_true(pc->bytes + bytes < sizeof(pc->output));
    memcpy(pc->output + pc->bytes, data, bytes);
    pc->bytes += bytes;
}

static vmlib_vm *make_vm(void)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    vmlib_vm *vm = NULL;

    config.backends[0] = VMLIB_BACKEND_SOFT;
    config.time_mode = VMLIB_TIME_DETERMINISTIC;
    config.seed = 5;
    OK(vmlib_vm_create(&config, &vm));
    return vm;
}

static void open_pc(struct pc *pc, const void *code, uint64_t bytes, bool flat)
{
    struct vmlib_machine_config config = VMLIB_MACHINE_CONFIG_INIT;
    struct vmlib_boot_params params = VMLIB_BOOT_PARAMS_INIT;

    memset(pc, 0, sizeof(*pc));
    for (unsigned i = 0; i < HOMES; i++)
        pc->vm[i] = make_vm();
    config.serial = serial;
    config.serial_opaque = pc;
    config.rtc_seconds = 1000000000;
    OK(vmlib_machine_create(pc->vm[0], &config, &pc->machine));
    OK(vmlib_machine_add_ram(pc->machine, 16 << 20));
    OK(vmlib_machine_add_rng(pc->machine, 3));
    OK(vmlib_machine_add_vcpu(pc->machine, &pc->vcpu));
    assert_int_equal(vmlib_machine_attach(pc->machine, pc->vm[1]), VMLIB_E_STATE);
    params.kernel = code;
    params.kernel_bytes = bytes;
    if (flat) {
        params.format = VMLIB_BOOT_FLAT;
        params.load_address = 0x10000;
        params.entry_bits = 32;
    }
    OK(vmlib_machine_boot(pc->machine, &params, NULL));
    for (unsigned i = 1; i < HOMES; i++)
        OK(vmlib_machine_attach(pc->machine, pc->vm[i]));
}

static void close_pc(struct pc *pc)
{
    vmlib_machine_destroy(pc->machine);
    vmlib_vcpu_unref(pc->vcpu);
    for (unsigned i = 0; i < HOMES; i++)
        vmlib_vm_unref(pc->vm[i]);
}

/* Steps of at most `budget` instructions; after each, move if `hop`. */
static void run(struct pc *pc, uint64_t budget, bool hop)
{
    struct vmlib_exit e = VMLIB_EXIT_INIT;

    for (unsigned n = 1;; n++) {
        OK(vmlib_machine_step(pc->machine, pc->vcpu, budget, &e));
        if (e.reason == VMLIB_EXIT_NONE)
            break;
        if (hop)
            OK(vmlib_machine_move(pc->machine, pc->vm[n % HOMES]));
    }
    pc->result = (struct vmlib_machine_result)VMLIB_MACHINE_RESULT_INIT;
    pc->stats = (struct vmlib_machine_stats)VMLIB_MACHINE_STATS_INIT;
    OK(vmlib_machine_run_vcpu(pc->machine, pc->vcpu, &pc->result));
    OK(vmlib_machine_stats(pc->machine, &pc->stats));
}

static void compare(const char *guest, uint64_t budget, uint32_t value)
{
    struct vmlib_boot_file file;
    struct pc stay, hop;
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", folder, guest);
    OK(vmlib_boot_file_open(path, &file));
    open_pc(&stay, file.data, file.bytes, false);
    run(&stay, budget, false);
    open_pc(&hop, file.data, file.bytes, false);
    run(&hop, budget, true);
    assert_int_equal(stay.result.end, VMLIB_MACHINE_DEBUG_EXIT);
    assert_int_equal(stay.result.value, value);
    assert_int_equal(hop.result.end, stay.result.end);
    assert_int_equal(hop.result.value, stay.result.value);
    assert_int_equal(hop.result.rip, stay.result.rip);
    assert_string_equal(hop.output, stay.output);
    assert_int_equal(hop.stats.instructions, stay.stats.instructions);
    assert_int_equal(hop.stats.interrupts, stay.stats.interrupts);
    assert_int_equal(hop.stats.pio, stay.stats.pio);
    assert_int_equal(hop.stats.mmio, stay.stats.mmio);
    close_pc(&stay);
    close_pc(&hop);
    vmlib_boot_file_close(&file);
}

static void timers(void **state)
{
    (void)state;
    compare("timer", 0, 20);
    compare("timer", 1, 20);
    compare("timer", 97, 20);
}

static void kernels(void **state)
{
    (void)state;
    compare("bootsector", 1, 17);
    compare("multiboot", 13, 18);
    compare("long64", 5, 22);
    compare("sysmatrix", 1000000, 23);
}

/* 32-bit code that turns PAE paging on, copies a word from nowhere above 4 GiB to the I/O APIC's
 * index register, reads it back and reports it. */
extern const uint8_t copier[], copier_end[];
__asm__(".pushsection .rodata\n.code32\ncopier:\n"
        "mov $0x20000, %edi\n"
        "movl $0x21001, (%edi)\n"
        "mov %edi, %cr3\n"
        "add $0x1000, %edi\n"
        "movl $0x83, (%edi)\n"
        "movl $0x83, 8(%edi)\n"
        "movl $2, 12(%edi)\n"          /* 2 MiB from 200000000 */
        "movl $0xfec00083, 16(%edi)\n" /* I/O APIC */
        "mov %cr4, %eax\n"
        "or $0x20, %eax\n"
        "mov %eax, %cr4\n"
        "mov %cr0, %eax\n"
        "or $0x80000000, %eax\n"
        "mov %eax, %cr0\n"
        "mov $0x200000, %esi\n"
        "mov $0x400000, %edi\n"
        "movsl\n"
        "mov 0x400000, %eax\n"
        "out %eax, $0xf4\n"
        "1: jmp 1b\n"
        "copier_end:\n.code64\n.popsection");

/* The second access of an instruction whose first nobody claims comes to a device. */
static void unclaimed_then_device(void **state)
{
    (void)state;
    for (unsigned hop = 0; hop < 2; hop++) {
        struct pc pc;

        open_pc(&pc, copier, (uint64_t)(copier_end - copier), true);
        run(&pc, hop ? 1 : 0, hop);
        assert_int_equal(pc.result.end, VMLIB_MACHINE_DEBUG_EXIT);
        assert_int_equal(pc.result.value & 0xff, 0xff);
        close_pc(&pc);
    }
}

static void refused(void **state)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT, wrong = VMLIB_EXIT_INIT;
    vmlib_vm *other = make_vm(), *fast = NULL;
    struct pc pc;

    (void)state;
    config.tsc_khz = 3000000;
    config.backends[0] = VMLIB_BACKEND_SOFT;
    OK(vmlib_vm_create(&config, &fast));
    open_pc(&pc, copier, (uint64_t)(copier_end - copier), true);
    assert_int_equal(vmlib_machine_attach(NULL, other), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_attach(pc.machine, NULL), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_attach(pc.machine, fast), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_attach(pc.machine, pc.vm[0]), VMLIB_E_EXISTS);
    assert_int_equal(vmlib_machine_attach(pc.machine, pc.vm[1]), VMLIB_E_EXISTS);
    assert_int_equal(vmlib_machine_move(NULL, other), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_move(pc.machine, other), VMLIB_E_NOTFOUND);
    OK(vmlib_machine_move(pc.machine, pc.vm[0]));
    wrong.size = 4;
    assert_int_equal(vmlib_machine_step(NULL, pc.vcpu, 0, &e), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_step(pc.machine, NULL, 0, &e), VMLIB_E_INVAL);
    assert_int_equal(vmlib_machine_step(pc.machine, pc.vcpu, 0, &wrong), VMLIB_E_INVAL);
    OK(vmlib_machine_attach(pc.machine, other));
    assert_int_equal(vmlib_machine_attach(pc.machine, fast), VMLIB_E_LIMIT);
    OK(vmlib_machine_move(pc.machine, other));
    run(&pc, 3, true);
    assert_int_equal(pc.result.end, VMLIB_MACHINE_DEBUG_EXIT);
    close_pc(&pc);
    vmlib_vm_unref(other);
    vmlib_vm_unref(fast);
}

/* Two processors take turns, and both move after each round; the second one at first while it
 * waits for its start-up IPI. (A timeout makes waiting processors come back.) */
static void processors(void **state)
{
    struct vmlib_machine_config config = VMLIB_MACHINE_CONFIG_INIT;
    struct vmlib_boot_params params = VMLIB_BOOT_PARAMS_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    struct vmlib_boot_file file;
    struct vmlib_vm_config real = VMLIB_VM_CONFIG_INIT;
    vmlib_vcpu *cpu[2] = {NULL, NULL};
    struct pc pc;
    char path[512];
    unsigned moves = 0;

    (void)state;
    memset(&pc, 0, sizeof(pc));
    snprintf(path, sizeof(path), "%s/smp", folder);
    OK(vmlib_boot_file_open(path, &file));
    real.backends[0] = VMLIB_BACKEND_SOFT;
    for (unsigned i = 0; i < HOMES; i++)
        OK(vmlib_vm_create(&real, &pc.vm[i]));
    config.serial = serial;
    config.serial_opaque = &pc;
    config.timeout_ns = UINT64_C(60000000000);
    OK(vmlib_machine_create(pc.vm[0], &config, &pc.machine));
    OK(vmlib_machine_add_ram(pc.machine, 16 << 20));
    for (unsigned i = 0; i < 2; i++)
        OK(vmlib_machine_add_vcpu(pc.machine, &cpu[i]));
    params.kernel = file.data;
    params.kernel_bytes = file.bytes;
    OK(vmlib_machine_boot(pc.machine, &params, NULL));
    for (unsigned i = 1; i < HOMES; i++)
        OK(vmlib_machine_attach(pc.machine, pc.vm[i]));
    do {
        for (unsigned i = 0; i < 2; i++)
            OK(vmlib_machine_step(pc.machine, cpu[i], 3000, &e));
        OK(vmlib_machine_move(pc.machine, pc.vm[++moves % HOMES]));
    } while (e.reason != VMLIB_EXIT_NONE);
    pc.result = (struct vmlib_machine_result)VMLIB_MACHINE_RESULT_INIT;
    OK(vmlib_machine_run_vcpu(pc.machine, cpu[0], &pc.result));
    assert_int_equal(pc.result.end, VMLIB_MACHINE_DEBUG_EXIT);
    assert_int_equal(pc.result.value, 21);
    assert_non_null(strstr(pc.output, "smp: counter 00009c40"));
    assert_true(moves > 10);
    vmlib_machine_destroy(pc.machine);
    for (unsigned i = 0; i < 2; i++)
        vmlib_vcpu_unref(cpu[i]);
    for (unsigned i = 0; i < HOMES; i++)
        vmlib_vm_unref(pc.vm[i]);
    vmlib_boot_file_close(&file);
}

/* --- another backend, in real time --- */

static vmlib_vm *plain_vm(uint32_t backend, uint32_t khz)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    vmlib_vm *vm = NULL;

    config.backends[0] = backend;
    config.tsc_khz = khz;
    OK(vmlib_vm_create(&config, &vm));
    return vm;
}

static vmlib_vcpu *plain_vcpu(uint32_t backend)
{
    vmlib_vm *vm = plain_vm(backend, 0);
    vmlib_vcpu *vcpu = NULL;

    OK(vmlib_vcpu_create(vm, NULL, &vcpu));
    vmlib_vm_unref(vm);
    return vcpu;
}

/* One CPU model and one frequency for both. */
static void make_pair(vmlib_vm *vm[2])
{
    struct vmlib_cpuid_leaf leaf[VMLIB_CPUID_MAX];
    vmlib_vcpu *a = plain_vcpu(VMLIB_BACKEND_SOFT), *b = plain_vcpu(second);
    uint32_t count = 0, khz = vmlib_vm_tsc_khz(vmlib_vcpu_vm(b));

    assert_int_equal(vmlib_handoff_cpuid(NULL, b, leaf, &count), VMLIB_E_INVAL);
    assert_int_equal(vmlib_handoff_cpuid(a, b, leaf, &count), VMLIB_E_LIMIT);
    assert_in_range(count, 1, VMLIB_CPUID_MAX);
    OK(vmlib_handoff_cpuid(a, b, leaf, &count));
    vmlib_vcpu_unref(a);
    vmlib_vcpu_unref(b);
    vm[0] = plain_vm(VMLIB_BACKEND_SOFT, khz);
    vm[1] = plain_vm(second, khz);
    OK(vmlib_vm_set_cpuid(vm[0], leaf, count));
}

static void other_backend(void **state)
{
    struct vmlib_machine_config config = VMLIB_MACHINE_CONFIG_INIT;
    struct vmlib_boot_params params = VMLIB_BOOT_PARAMS_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    struct vmlib_boot_file file;
    struct pc pc;
    char path[512];
    unsigned moves = 0;

    (void)state;
    memset(&pc, 0, sizeof(pc));
    snprintf(path, sizeof(path), "%s/timer", folder);
    OK(vmlib_boot_file_open(path, &file));
    make_pair(pc.vm);
    config.serial = serial;
    config.serial_opaque = &pc;
    config.flags = VMLIB_MACHINE_DIRTY_LOG;
    config.timeout_ns = UINT64_C(60000000000);
    OK(vmlib_machine_create(pc.vm[0], &config, &pc.machine));
    OK(vmlib_machine_add_ram(pc.machine, 16 << 20));
    OK(vmlib_machine_add_vcpu(pc.machine, &pc.vcpu));
    params.kernel = file.data;
    params.kernel_bytes = file.bytes;
    OK(vmlib_machine_boot(pc.machine, &params, NULL));
    OK(vmlib_machine_attach(pc.machine, pc.vm[1]));
    for (;;) {
        OK(vmlib_machine_step(pc.machine, pc.vcpu, 0, &e));
        if (e.reason == VMLIB_EXIT_NONE)
            break;
        OK(vmlib_machine_move(pc.machine, pc.vm[++moves & 1]));
    }
    pc.result = (struct vmlib_machine_result)VMLIB_MACHINE_RESULT_INIT;
    OK(vmlib_machine_run_vcpu(pc.machine, pc.vcpu, &pc.result));
    if (pc.result.end != VMLIB_MACHINE_DEBUG_EXIT)
        fail_msg("%s: %s", vmlib_machine_end_name(pc.result.end), pc.result.text);
    assert_int_equal(pc.result.value, 20);
    assert_non_null(strstr(pc.output, "timer: ticks 0000000a"));
    assert_true(moves >= 10);
    close_pc(&pc);
    vmlib_boot_file_close(&file);
}

static int run_other(const char *name)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(other_backend)};
    struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;

    if (vmlib_backend_by_name(name, &second) != 0) {
        printf("SKIP: backend %s is not part of this build\n", name);
        return 77;
    }
    OK(vmlib_backend_query(second, &info));
    if (!info.available) {
        printf("SKIP: backend %s: %s\n", name, info.reason);
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers),
        cmocka_unit_test(kernels),
        cmocka_unit_test(unclaimed_then_device),
        cmocka_unit_test(processors),
        cmocka_unit_test(refused),
    };

    if (argc < 2) {
        printf("SKIP: no guests\n");
        return 77;
    }
    folder = argv[1];
    if (argc > 2)
        return run_other(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
