/*
 * Event ring, guest calls, symbols and console with expectations. Arguments: the folder of the
 * guests, and that of the examples' guests.
 */
#include "check_kit.h"

#include <vmlib/call.h>
#include <vmlib/console.h>
#include <vmlib/ring.h>

#define SECOND 1000000000u

static const char *guests, *units;

static struct vmlib_boot_file open_file(const char *folder, const char *name)
{
    struct vmlib_boot_file file;
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    OK(vmlib_boot_file_open(path, &file));
    return file;
}

/* --- ring --- */

struct world {
    vmlib_vm *vm;
    vmlib_vcpu *vcpu;
    struct vmlib_exit exit;
};

/* 16-bit code at 0:1000. */
static struct world world(const char *code, size_t bytes)
{
    struct world w = {.exit = VMLIB_EXIT_INIT};
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *region;
    struct vmlib_segment cs;

    OK(vmlib_vm_create(NULL, &w.vm));
    ram.bytes = 0x10000;
    OK(vmlib_region_create(w.vm, &ram, &region));
    vmlib_region_unref(region);
    OK(vmlib_vm_write(w.vm, 0x1000, code, bytes));
    OK(vmlib_vcpu_create(w.vm, NULL, &w.vcpu));
    OK(vmlib_vcpu_get_reg_wide(w.vcpu, VMLIB_REG_CS, &cs, sizeof(cs)));
    cs.base = cs.selector = 0;
    OK(vmlib_vcpu_set_reg_wide(w.vcpu, VMLIB_REG_CS, &cs, sizeof(cs)));
    OK(vmlib_vcpu_set_reg(w.vcpu, VMLIB_REG_RIP, 0x1000));
    return w;
}

static void end(struct world *w)
{
    vmlib_vcpu_unref(w->vcpu);
    vmlib_vm_unref(w->vm);
}

static vmlib_ring *watch(struct world *w, uint32_t capacity, uint32_t ring_flags, uint32_t flags)
{
    struct vmlib_ring_config config = VMLIB_RING_CONFIG_INIT;
    struct vmlib_ring_watch ports = VMLIB_RING_WATCH_INIT;
    vmlib_ring *ring;

    config.capacity = capacity;
    config.flags = ring_flags;
    OK(vmlib_ring_create(w->vm, &config, &ring));
    ports.first = 0x10;
    ports.last = 0x1f;
    ports.answer = 0x1234;
    ports.flags = flags;
    OK(vmlib_ring_watch(ring, &ports));
    return ring;
}

/* in al, 0x10; out 0x11, al; out 0x12, ax; hlt */
static const char three[] = "\xe4\x10\xe6\x11\xe7\x12\xf4";

static void test_ring(void **state)
{
    struct world w = world(three, sizeof(three));
    vmlib_ring *ring = watch(&w, 2, 0, 0);
    const struct vmlib_ring_event *e;
    uint32_t count;

    (void)state;
    OK(vmlib_vcpu_run(w.vcpu, NULL, &w.exit));
    assert_int_equal(w.exit.reason, VMLIB_EXIT_STOPPED); /* two places, two events */
    OK(vmlib_ring_peek(ring, &e, &count));
    assert_int_equal(count, 2);
    assert_true(e[0].address == 0x10 && !e[0].write && e[0].width == 1 && e[0].value == 0x34);
    assert_true(e[1].address == 0x11 && e[1].write && e[1].value == 0x34 && e[1].kind == 0);
    /* Still full: the third one waits. */
    assert_int_equal(vmlib_vcpu_run(w.vcpu, NULL, &w.exit), VMLIB_E_LIMIT);
    OK(vmlib_ring_consume(ring, 1));
    assert_int_equal(vmlib_ring_consume(ring, 2), VMLIB_E_RANGE);
    OK(vmlib_vcpu_run(w.vcpu, NULL, &w.exit));
    assert_int_equal(w.exit.reason, VMLIB_EXIT_STOPPED);
    OK(vmlib_ring_peek(ring, &e, &count)); /* the memory ends in between */
    assert_true(count == 1 && e->address == 0x11);
    OK(vmlib_ring_consume(ring, 1));
    OK(vmlib_ring_peek(ring, &e, &count));
    assert_true(count == 1 && e->address == 0x12 && e->width == 2);
    OK(vmlib_ring_consume(ring, 1));
    OK(vmlib_vcpu_run(w.vcpu, NULL, &w.exit));
    assert_int_equal(w.exit.reason, VMLIB_EXIT_HLT);
    assert_int_equal(vmlib_ring_lost(ring), 0);
    end(&w); /* the ring holds its VM */
    vmlib_ring_destroy(ring);
}

static void test_ring_drop_and_pass(void **state)
{
    struct world w = world(three, sizeof(three));
    vmlib_ring *ring = watch(&w, 1, VMLIB_RING_DROP, 0), *tap;

    (void)state;
    OK(vmlib_vcpu_run(w.vcpu, NULL, &w.exit));
    assert_int_equal(w.exit.reason, VMLIB_EXIT_HLT);
    assert_int_equal(vmlib_ring_lost(ring), 2);
    vmlib_ring_destroy(ring);
    end(&w);

    w = world(three, sizeof(three));
    ring = watch(&w, 4, 0, 0);
    tap = watch(&w, 2, 0, VMLIB_WATCH_PASS); /* sees the same before the other */
    assert_int_equal(vmlib_vcpu_run(w.vcpu, NULL, &w.exit), VMLIB_E_LIMIT);
    vmlib_ring_destroy(tap);
    OK(vmlib_vcpu_run(w.vcpu, NULL, &w.exit));
    assert_int_equal(w.exit.reason, VMLIB_EXIT_HLT);
    vmlib_ring_destroy(ring);
    end(&w);
}

static void test_ring_wrong(void **state)
{
    struct world w = world(three, sizeof(three));
    struct vmlib_ring_config config = VMLIB_RING_CONFIG_INIT;
    struct vmlib_ring_watch what = VMLIB_RING_WATCH_INIT;
    vmlib_ring *ring;

    (void)state;
    config.capacity = 3;
    assert_int_equal(vmlib_ring_create(w.vm, &config, &ring), VMLIB_E_INVAL);
    assert_int_equal(vmlib_ring_create(NULL, NULL, &ring), VMLIB_E_INVAL);
    OK(vmlib_ring_create(w.vm, NULL, &ring));
    what.kind = VMLIB_HANDLER_CPUID;
    assert_int_equal(vmlib_ring_watch(ring, &what), VMLIB_E_INVAL);
    what.kind = VMLIB_HANDLER_PIO;
    what.last = 0x10000;
    assert_int_equal(vmlib_ring_watch(ring, &what), VMLIB_E_RANGE);
    vmlib_ring_destroy(ring);
    vmlib_ring_destroy(NULL);
    end(&w);
}

/* --- calls --- */

struct program {
    struct world w;
    struct vmlib_boot_file file;
};

static struct program load(const char *name)
{
    struct program p = {.file = open_file(units, name)};
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;
    struct vmlib_boot_params params = VMLIB_BOOT_PARAMS_INIT;
    vmlib_region *region;

    OK(vmlib_vm_create(NULL, &p.w.vm));
    ram.bytes = 2 << 20;
    OK(vmlib_region_create(p.w.vm, &ram, &region));
    vmlib_region_unref(region);
    OK(vmlib_vcpu_create(p.w.vm, NULL, &p.w.vcpu));
    params.kernel = p.file.data;
    params.kernel_bytes = p.file.bytes;
    OK(vmlib_boot_load(p.w.vm, p.w.vcpu, &params, NULL));
    return p;
}

static void unload(struct program *p)
{
    end(&p->w);
    vmlib_boot_file_close(&p->file);
}

static struct vmlib_call_result call(struct program *p, const char *name,
                                     const struct vmlib_arg *args, uint32_t count)
{
    struct vmlib_call_config config = VMLIB_CALL_CONFIG_INIT;
    struct vmlib_call_result result = VMLIB_CALL_RESULT_INIT;
    uint64_t length;

    OK(vmlib_elf_symbol(p->file.data, p->file.bytes, name, &config.function, &length));
    assert_true(length > 0);
    config.args = args;
    config.arg_count = count;
    config.stack = 0x80000;
    OK(vmlib_call(p->w.vcpu, &config, &result));
    return result;
}

static void both_widths(struct program *p)
{
    char digits[] = "123456789", word[] = "drawer";
    struct vmlib_arg args[8] = {{.type = VMLIB_ARG_IN, .data = digits, .bytes = 9}, {.value = 9}};
    struct vmlib_call_result r = call(p, "crc32", args, 2);

    assert_int_equal(r.end, VMLIB_CALL_RETURNED);
    assert_int_equal((uint32_t)r.value, 0xcbf43926);
    args[0] = (struct vmlib_arg){.type = VMLIB_ARG_INOUT, .data = word, .bytes = 6};
    args[1].value = 6;
    r = call(p, "reverse", args, 2);
    assert_string_equal(word, "reward");
    for (uint64_t i = 0; i < 8; i++)
        args[i] = (struct vmlib_arg){.value = i + 1};
    assert_int_equal((uint32_t)call(p, "weigh", args, 8).value, 204);
    args[0].value = (uint64_t)-100;
    args[1].value = 7;
    assert_int_equal((int32_t)call(p, "divide", args, 2).value, -14);
    args[1].value = 0;
    r = call(p, "divide", args, 2);
    assert_int_equal(r.end, VMLIB_CALL_FAULT);
    assert_int_equal(r.exit.u.exception.event.vector, 0);
    r = call(p, "forever", NULL, 0);
    assert_int_equal(r.end, VMLIB_CALL_LIMIT);
    assert_int_equal(r.instructions, 1000000);
    r = call(p, "_start", NULL, 0); /* halts, but not where a function returns to */
    assert_int_equal(r.end, VMLIB_CALL_EXIT);
    args[1].value = 10; /* and the next call starts afresh */
    assert_int_equal((int32_t)call(p, "divide", args, 2).value, -10);
}

static void test_call_64(void **state)
{
    struct program p = load("units");
    const double a = 1.5, b = 4.5;
    double mean;
    struct vmlib_arg args[2] = {{.type = VMLIB_ARG_F64}, {.type = VMLIB_ARG_F64}};
    struct vmlib_call_result r;

    (void)state;
    both_widths(&p);
    memcpy(&args[0].value, &a, sizeof(a));
    memcpy(&args[1].value, &b, sizeof(b));
    r = call(&p, "average", args, 2);
    memcpy(&mean, &r.xmm0, sizeof(mean));
    assert_true(mean == 3.0);
    unload(&p);
}

static void test_call_32(void **state)
{
    struct program p = load("units32");

    (void)state;
    both_widths(&p);
    unload(&p);
}

static void test_call_wrong(void **state)
{
    struct program p = load("units");
    struct world w = world(three, sizeof(three));
    struct vmlib_call_config config = VMLIB_CALL_CONFIG_INIT;
    struct vmlib_call_result result = VMLIB_CALL_RESULT_INIT;
    struct vmlib_arg arg = {.type = VMLIB_ARG_IN, .data = NULL, .bytes = 5};

    (void)state;
    assert_int_equal(vmlib_call(w.vcpu, &config, &result), VMLIB_E_UNSUPPORTED); /* 16-bit */
    config.stack = 0x40000000;
    assert_int_equal(vmlib_call(p.w.vcpu, &config, &result), VMLIB_E_FAULT);
    config.arg_count = 1;
    assert_int_equal(vmlib_call(p.w.vcpu, &config, &result), VMLIB_E_INVAL);
    config.args = &arg;
    assert_int_equal(vmlib_call(p.w.vcpu, &config, &result), VMLIB_E_INVAL);
    assert_int_equal(vmlib_call(NULL, &config, &result), VMLIB_E_INVAL);
    end(&w);
    unload(&p);
}

/* Every file that differs in one byte, and every shorter one: an answer, and no access outside. */
static void test_symbols_of_damaged_files(void **state)
{
    struct vmlib_boot_file file = open_file(units, "units32");
    uint64_t address;

    (void)state;
    assert_int_equal(vmlib_elf_symbol(file.data, file.bytes, "crc", &address, NULL),
                     VMLIB_E_NOTFOUND);
    for (uint64_t bytes = 0; bytes < file.bytes; bytes += bytes < 128 ? 1 : 61) {
        uint8_t *copy = malloc(bytes + 1);

        memcpy(copy, file.data, bytes);
        assert_true(vmlib_elf_symbol(copy, bytes, "crc32", &address, NULL) < 0);
        free(copy);
    }
    for (uint64_t at = 0; at < file.bytes; at += at < 64 || at > file.bytes - 600 ? 1 : 97) {
        uint8_t *copy = malloc(file.bytes);

        memcpy(copy, file.data, file.bytes);
        copy[at] ^= 0xff;
        vmlib_elf_symbol(copy, file.bytes, "crc32", &address, NULL);
        free(copy);
    }
    vmlib_boot_file_close(&file);
}

/* --- console --- */

struct pc {
    vmlib_vm *vm;
    vmlib_machine *machine;
    vmlib_vcpu *vcpu;
    vmlib_console *console;
};

static struct pc open_pc(const char *guest)
{
    struct pc pc;
    struct vmlib_machine_config config = VMLIB_MACHINE_CONFIG_INIT;
    struct vmlib_boot_params params = VMLIB_BOOT_PARAMS_INIT;
    struct vmlib_boot_file file = open_file(guests, guest);

    OK(vmlib_vm_create(NULL, &pc.vm));
    OK(vmlib_console_create(NULL, &pc.console));
    config.serial = vmlib_console_output;
    config.serial_opaque = pc.console;
    OK(vmlib_machine_create(pc.vm, &config, &pc.machine));
    OK(vmlib_machine_add_ram(pc.machine, 1 << 20));
    OK(vmlib_machine_add_vcpu(pc.machine, &pc.vcpu));
    params.kernel = file.data;
    params.kernel_bytes = file.bytes;
    OK(vmlib_machine_boot(pc.machine, &params, NULL));
    vmlib_boot_file_close(&file);
    return pc;
}

static void close_pc(struct pc *pc)
{
    vmlib_console_destroy(pc->console);
    vmlib_machine_destroy(pc->machine);
    vmlib_vcpu_unref(pc->vcpu);
    vmlib_vm_unref(pc->vm);
}

static void test_console(void **state)
{
    static const char *const wanted[] = {"password", "name? "}, *const ending[] = {"!"};
    struct vmlib_machine_result result = VMLIB_MACHINE_RESULT_INIT;
    struct pc pc = open_pc("prompt");
    char before[64];
    size_t bytes = sizeof(before);
    uint32_t index;

    (void)state;
    assert_int_equal(vmlib_console_send(pc.console, "x", 1, 0), VMLIB_E_STATE);
    assert_int_equal(vmlib_console_wait(pc.console, 0, &result), VMLIB_E_STATE);
    OK(vmlib_console_start(pc.console, pc.machine, &pc.vcpu, 1));
    assert_int_equal(vmlib_console_start(pc.console, pc.machine, &pc.vcpu, 1), VMLIB_E_STATE);
    OK(vmlib_console_expect(pc.console, wanted, 2, 60ull * SECOND, &index));
    assert_int_equal(index, 1);
    assert_int_equal(vmlib_console_expect(pc.console, wanted, 1, 1, &index), VMLIB_E_LIMIT);
    assert_int_equal(vmlib_console_wait(pc.console, 1, &result), VMLIB_E_LIMIT);
    OK(vmlib_console_send(pc.console, "a name that is longer than the FIFO of a 16550\n", 47,
                          60ull * SECOND));
    OK(vmlib_console_expect(pc.console, ending, 1, 60ull * SECOND, NULL));
    OK(vmlib_console_before(pc.console, before, &bytes));
    assert_int_equal(bytes, 53);
    assert_memory_equal(before, "hello, a name that is longer than the FIFO of a 16550", 53);
    bytes = 3;
    assert_int_equal(vmlib_console_before(pc.console, before, &bytes), VMLIB_E_LIMIT);
    assert_int_equal(bytes, 53);
    OK(vmlib_console_wait(pc.console, 60ull * SECOND, &result));
    assert_true(result.end == VMLIB_MACHINE_DEBUG_EXIT && result.value == 0x12);
    assert_int_equal(vmlib_console_expect(pc.console, ending, 1, SECOND, NULL), VMLIB_E_NOTFOUND);
    close_pc(&pc);
}

static void test_console_destroy_while_running(void **state)
{
    struct pc pc = open_pc("prompt");

    (void)state;
    OK(vmlib_console_start(pc.console, pc.machine, &pc.vcpu, 1));
    close_pc(&pc);
}

/* Much more output than is remembered: bounded, and the end of it is found. */
static void test_console_limit(void **state)
{
    static const char *const last[] = {"the end"};
    struct vmlib_console_config config = VMLIB_CONSOLE_CONFIG_INIT;
    char block[10000];
    vmlib_console *console;
    size_t bytes = 0;

    (void)state;
    config.limit = 100;
    assert_int_equal(vmlib_console_create(&config, &console), VMLIB_E_INVAL);
    config.limit = 4096;
    OK(vmlib_console_create(&config, &console));
    memset(block, '.', sizeof(block));
    for (int i = 0; i < 10; i++)
        vmlib_console_output(console, block, sizeof(block));
    vmlib_console_output(console, "the end", 7);
    OK(vmlib_console_expect(console, last, 1, 0, NULL));
    vmlib_console_before(console, NULL, &bytes);
    assert_in_range(bytes, 1, 4096);
    vmlib_console_destroy(console);
    vmlib_console_destroy(NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_ring_drop_and_pass),
        cmocka_unit_test(test_ring_wrong),
        cmocka_unit_test(test_call_64),
        cmocka_unit_test(test_call_32),
        cmocka_unit_test(test_call_wrong),
        cmocka_unit_test(test_symbols_of_damaged_files),
        cmocka_unit_test(test_console),
        cmocka_unit_test(test_console_destroy_while_running),
        cmocka_unit_test(test_console_limit),
    };

    if (argc != 3)
        return 2;
    guests = argv[1];
    units = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
