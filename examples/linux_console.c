/*
 * A dialogue with Linux: boots it, waits for its shell, types commands, reads the answers.
 * Usage: linux_console KERNEL INITRD    (the initrd ends in a shell: scripts/make-initramfs)
 */
#include <err.h>
#include <stdio.h>
#include <string.h>

#include <vmlib/console.h>

#define SECOND UINT64_C(1000000000)

static vmlib_console *console;

static void check(int error)
{
    const char *detail = vmlib_devices_last_error();

    if (error < 0)
        errx(1, "%s", *detail ? detail : vmlib_last_error());
}

static void expect(const char *text)
{
    check(vmlib_console_expect(console, &text, 1, 600 * SECOND, NULL));
}

/* The shell repeats what is typed; its answer is the line after that. */
static void ask(const char *command)
{
    char answer[256];
    size_t bytes = sizeof(answer) - 1;

    expect("# ");
    check(vmlib_console_send(console, command, strlen(command), 10 * SECOND));
    check(vmlib_console_send(console, "\n", 1, 10 * SECOND));
    expect("\r\n");
    expect("\r\n");
    check(vmlib_console_before(console, answer, &bytes));
    printf("%s: %.*s\n", command, (int)bytes, answer);
}

static void boot(vmlib_machine *machine, const char *kernel_path, const char *initrd_path)
{
    struct vmlib_boot_params params = VMLIB_BOOT_PARAMS_INIT;
    struct vmlib_boot_file kernel, initrd;

    check(vmlib_boot_file_open(kernel_path, &kernel));
    check(vmlib_boot_file_open(initrd_path, &initrd));
    params.kernel = kernel.data;
    params.kernel_bytes = kernel.bytes;
    params.initrd = initrd.data;
    params.initrd_bytes = initrd.bytes;
    params.cmdline = "console=ttyS0 panic=-1 quiet guest=shell";
    check(vmlib_machine_boot(machine, &params, NULL));
    vmlib_boot_file_close(&kernel);
    vmlib_boot_file_close(&initrd);
}

int main(int argc, char **argv)
{
    struct vmlib_machine_config config = VMLIB_MACHINE_CONFIG_INIT;
    struct vmlib_machine_result result = VMLIB_MACHINE_RESULT_INIT;
    vmlib_vm *vm;
    vmlib_machine *machine;
    vmlib_vcpu *vcpu;

    if (argc != 3)
        errx(2, "usage: linux_console KERNEL INITRD");
    check(vmlib_vm_create(NULL, &vm));
    check(vmlib_console_create(NULL, &console));
    config.serial = vmlib_console_output;
    config.serial_opaque = console;
    check(vmlib_machine_create(vm, &config, &machine));
    check(vmlib_machine_add_ram(machine, 256 << 20));
    check(vmlib_machine_add_rng(machine, 0));
    check(vmlib_machine_add_vcpu(machine, &vcpu));
    boot(machine, argv[1], argv[2]);

    check(vmlib_console_start(console, machine, &vcpu, 1));
    expect("guest: shell");
    ask("uname -s");
    ask("echo $((6 * 7))");
    expect("# ");
    check(vmlib_console_send(console, "poweroff -f\n", 12, 10 * SECOND));
    check(vmlib_console_wait(console, 60 * SECOND, &result));
    printf("The machine ended with: %s\n", vmlib_machine_end_name(result.end));

    vmlib_console_destroy(console);
    vmlib_machine_destroy(machine);
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
    return result.end == VMLIB_MACHINE_POWER_OFF ? 0 : 1;
}
