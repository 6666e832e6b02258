/* The smallest virtual machine: 16-bit code that prints through a port. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmlib/vmlib.h>

static const char code[] = "\xbe\x0f\x10" /*       mov si, message      */
                           "\xba\xe9\x00" /*       mov dx, 0xe9         */
                           "\xac\x84\xc0" /* next: lodsb; test al, al   */
                           "\x74\x03\xee" /*       jz done; out dx, al  */
                           "\xeb\xf8\xf4" /*       jmp next; done: hlt  */
                           "Hello from a virtual machine!\n";

static void check(int error)
{
    if (error < 0)
        errx(1, "%s", vmlib_last_error());
}

static int print(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)opaque, (void)vcpu;
    putchar((int)exit->u.pio.value);
    return VMLIB_HANDLED;
}

int main(void)
{
    vmlib_vm *vm;
    vmlib_region *memory;
    vmlib_vcpu *vcpu;
    struct vmlib_segment cs;
    struct vmlib_exit exit = {.size = sizeof(exit)};
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;
    struct vmlib_handler_config port = VMLIB_HANDLER_CONFIG_INIT;

    if (getenv("VMLIB_BACKEND"))
        check(vmlib_backend_by_name(getenv("VMLIB_BACKEND"), &config.backends[0]));
    check(vmlib_vm_create(&config, &vm));
    ram.bytes = 0x10000;
    check(vmlib_region_create(vm, &ram, &memory));
    check(vmlib_vm_write(vm, 0x1000, code, sizeof(code)));
    port.kind = VMLIB_HANDLER_PIO;
    port.first = port.last = 0xe9;
    port.fn = print;
    check(vmlib_handler_add(vm, &port, NULL));
    check(vmlib_vcpu_create(vm, NULL, &vcpu));
    check(vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_CS, &cs, sizeof(cs)));
    cs.selector = 0, cs.base = 0;
    check(vmlib_vcpu_set_reg_wide(vcpu, VMLIB_REG_CS, &cs, sizeof(cs)));
    check(vmlib_vcpu_set_reg(vcpu, VMLIB_REG_RIP, 0x1000));
    check(vmlib_vcpu_run(vcpu, NULL, &exit));
    printf("The guest ended with: %s\n", vmlib_exit_name(exit.reason));
    vmlib_vcpu_unref(vcpu);
    vmlib_region_unref(memory);
    vmlib_vm_unref(vm);
    return exit.reason == VMLIB_EXIT_HLT ? 0 : 1;
}
