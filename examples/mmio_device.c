/*
 * A memory-mapped device, answered in both ways: by a handler that runs inside vmlib_vcpu_run(),
 * and by records that vmlib_vcpu_run() returns. The guest multiplies two numbers on the device.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmlib/vmlib.h>

#define LOAD_ADDRESS 0x1000
#define DEVICE       0xd0000 /* +0, +4: factors; +8: product (read only) */
#define MAILBOX      0xd1000 /* no handler. +0: write a result; +4: read the verdict */

static const uint8_t code[] = {
    0xb8, 0x00, 0xd0,                /* mov ax, 0xd000     */
    0x8e, 0xc0,                      /* mov es, ax         */
    0x66, 0xb8, 0x06, 0,    0,    0, /* mov eax, 6         */
    0x26, 0x66, 0xa3, 0x00, 0x00,    /* mov [es:0], eax    */
    0x66, 0xb8, 0x07, 0,    0,    0, /* mov eax, 7         */
    0x26, 0x66, 0xa3, 0x04, 0x00,    /* mov [es:4], eax    */
    0x26, 0x66, 0xa1, 0x08, 0x00,    /* mov eax, [es:8]    */
    0xbb, 0x00, 0xd1,                /* mov bx, 0xd100     */
    0x8e, 0xc3,                      /* mov es, bx         */
    0x26, 0x66, 0xa3, 0x00, 0x00,    /* mov [es:0], eax    */
    0x26, 0x66, 0xa1, 0x04, 0x00,    /* mov eax, [es:4]    */
    0xf4,                            /* hlt                */
};

struct multiplier {
    uint32_t factor[2];
    unsigned accesses;
};

static void check(int error)
{
    if (error < 0)
        errx(1, "%s", vmlib_last_error());
}

/* Guests choose width and offset: what the device does not have reads as zero and ignores writes.
 */
static int multiplier_access(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct multiplier *device = opaque;
    struct vmlib_exit_mmio *mmio = &exit->u.mmio;
    uint64_t offset = mmio->gpa - DEVICE;

    (void)vcpu;
    device->accesses++;
    if (mmio->write) {
        if (mmio->width == 4 && (offset == 0 || offset == 4))
            device->factor[offset / 4] = (uint32_t)mmio->value;
        return VMLIB_HANDLED;
    }
    mmio->value = 0;
    if (mmio->width == 4 && offset == 8)
        mmio->value = device->factor[0] * device->factor[1];
    return VMLIB_HANDLED;
}

/* What no handler claims comes back from run; a read waits for its value. */
static int mailbox_access(vmlib_vcpu *vcpu, const struct vmlib_exit *exit)
{
    const struct vmlib_exit_mmio *mmio = &exit->u.mmio;
    static const uint32_t verdict = 0x6b6f; /* "ok" */

    if (mmio->write) {
        printf("guest writes %" PRIu64 " to mailbox +%" PRIu64 "\n", mmio->value,
               mmio->gpa - MAILBOX);
        return 0;
    }
    printf("guest reads mailbox +%" PRIu64 "\n", mmio->gpa - MAILBOX);
    return vmlib_vcpu_complete(vcpu, &verdict, mmio->width);
}

static vmlib_vcpu *start_at(vmlib_vm *vm, uint64_t address)
{
    vmlib_vcpu *vcpu;
    struct vmlib_segment cs;

    check(vmlib_vcpu_create(vm, NULL, &vcpu));
    check(vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_CS, &cs, sizeof(cs)));
    cs.selector = 0;
    cs.base = 0;
    check(vmlib_vcpu_set_reg_wide(vcpu, VMLIB_REG_CS, &cs, sizeof(cs)));
    check(vmlib_vcpu_set_reg(vcpu, VMLIB_REG_RIP, address));
    return vcpu;
}

int main(void)
{
    vmlib_vm *vm;
    vmlib_region *memory;
    vmlib_vcpu *vcpu;
    uint64_t rax;
    struct multiplier multiplier = {{0, 0}, 0};
    struct vmlib_exit exit = {.size = sizeof(exit)};
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;
    struct vmlib_handler_config device = VMLIB_HANDLER_CONFIG_INIT;

    if (getenv("VMLIB_BACKEND"))
        check(vmlib_backend_by_name(getenv("VMLIB_BACKEND"), &config.backends[0]));
    check(vmlib_vm_create(&config, &vm));
    ram.bytes = 0x10000;
    check(vmlib_region_create(vm, &ram, &memory));
    check(vmlib_vm_write(vm, LOAD_ADDRESS, code, sizeof(code)));

    device.kind = VMLIB_HANDLER_MMIO;
    device.first = DEVICE;
    device.last = DEVICE + 0xfff;
    device.fn = multiplier_access;
    device.opaque = &multiplier;
    check(vmlib_handler_add(vm, &device, NULL));

    vcpu = start_at(vm, LOAD_ADDRESS);
    for (;;) {
        check(vmlib_vcpu_run(vcpu, NULL, &exit));
        if (exit.reason != VMLIB_EXIT_MMIO)
            break;
        check(mailbox_access(vcpu, &exit));
    }
    check(vmlib_vcpu_get_reg(vcpu, VMLIB_REG_RAX, &rax));
    printf("device accesses handled inside run: %u\n", multiplier.accesses);
    printf("ended with %s, eax %#" PRIx64 "\n", vmlib_exit_name(exit.reason), rax);
    vmlib_vcpu_unref(vcpu);
    vmlib_region_unref(memory);
    vmlib_vm_unref(vm);
    return exit.reason == VMLIB_EXIT_HLT ? 0 : 1;
}
