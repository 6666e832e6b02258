/* Loaders: the first byte chooses format and extras, the rest is the kernel file. */
#include <stdlib.h>

#include <vmlib/boot.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static vmlib_vm *vm;
static vmlib_vcpu *vcpu;

static void create(void)
{
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *region;

    ram.bytes = 16u << 20;
    if (vmlib_vm_create(NULL, &vm) || vmlib_region_create(vm, &ram, &region) ||
        vmlib_vcpu_create(vm, NULL, &vcpu))
        abort();
    vmlib_region_unref(region);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;
    struct vmlib_boot_result r = VMLIB_BOOT_RESULT_INIT;
    struct vmlib_boot_module m = {data, bytes, "module"};
    int error;

    if (!vm)
        create();
    if (bytes < 2)
        return 0;
    p.format = data[0] & 15;
    p.kernel = data + 1;
    p.kernel_bytes = bytes - 1;
    p.cmdline = "command line";
    if (data[0] & 0x10) {
        p.initrd = data;
        p.initrd_bytes = bytes;
    }
    if (data[0] & 0x20) {
        p.modules = &m;
        p.module_count = 1;
    }
    error = vmlib_boot_load(vm, vcpu, &p, &r);
    if (error > 0 || error < VMLIB_E_LAST)
        abort();
    return 0;
}
