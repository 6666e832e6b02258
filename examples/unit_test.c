/*
 * Unit tests of bare-metal code, from outside: loads an ELF program, calls its functions with
 * arguments and a limit, and gets results or faults. Usage: unit_test PROGRAM
 * (examples/guest/units.c)
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <vmlib/boot.h>
#include <vmlib/call.h>

#define STACK 0x80000 /* below the program, which is at 1 MiB */

static struct vmlib_boot_file program;
static vmlib_vcpu *vcpu;

static void check(int error)
{
    const char *detail = vmlib_devices_last_error();

    if (error < 0)
        errx(1, "%s", *detail ? detail : vmlib_last_error());
}

static void load(const char *path)
{
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;
    struct vmlib_boot_params params = VMLIB_BOOT_PARAMS_INIT;
    vmlib_vm *vm;
    vmlib_region *region;

    check(vmlib_boot_file_open(path, &program));
    check(vmlib_vm_create(NULL, &vm));
    ram.bytes = 2 << 20;
    check(vmlib_region_create(vm, &ram, &region));
    vmlib_region_unref(region);
    check(vmlib_vcpu_create(vm, NULL, &vcpu));
    params.kernel = program.data;
    params.kernel_bytes = program.bytes;
    check(vmlib_boot_load(vm, vcpu, &params, NULL));
    vmlib_vm_unref(vm); /* the vCPU holds it */
}

static struct vmlib_call_result call(const char *name, const struct vmlib_arg *args, uint32_t count)
{
    struct vmlib_call_config config = VMLIB_CALL_CONFIG_INIT;
    struct vmlib_call_result result = VMLIB_CALL_RESULT_INIT;

    check(vmlib_elf_symbol(program.data, program.bytes, name, &config.function, NULL));
    config.stack = STACK;
    config.budget = 100000;
    config.args = args;
    config.arg_count = count;
    check(vmlib_call(vcpu, &config, &result));
    return result;
}

int main(int argc, char **argv)
{
    char digits[] = "123456789", word[] = "drawer";
    struct vmlib_arg args[2] = {{.type = VMLIB_ARG_IN, .data = digits, .bytes = 9}, {.value = 9}};
    struct vmlib_call_result r;

    if (argc != 2)
        errx(2, "usage: unit_test PROGRAM");
    load(argv[1]);

    r = call("crc32", args, 2);
    printf("crc32(\"123456789\") = %08" PRIx32 "\n", (uint32_t)r.value);

    args[0] = (struct vmlib_arg){.type = VMLIB_ARG_INOUT, .data = word, .bytes = 6};
    args[1] = (struct vmlib_arg){.value = 6};
    call("reverse", args, 2);
    printf("reverse(\"drawer\") = %s\n", word);

    args[0] = (struct vmlib_arg){.value = (uint64_t)-100};
    args[1] = (struct vmlib_arg){.value = 7};
    r = call("divide", args, 2);
    printf("divide(-100, 7) = %" PRId32 "\n", (int32_t)r.value);

    args[1].value = 0;
    r = call("divide", args, 2);
    if (r.end == VMLIB_CALL_FAULT)
        printf("divide(-100, 0): exception %" PRIu32 "\n", r.exit.u.exception.event.vector);

    r = call("forever", NULL, 0);
    if (r.end == VMLIB_CALL_LIMIT)
        printf("forever(): stopped after %" PRIu64 " instructions\n", r.instructions);
    vmlib_vcpu_unref(vcpu);
    vmlib_boot_file_close(&program);
    return 0;
}
