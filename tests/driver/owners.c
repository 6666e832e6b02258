/*
 * VT-x has one owner at a time: this driver and KVM side by side. Needs the kernel's KVM.
 */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void run_once(struct machine *m)
{
    static const uint8_t code[] = {0xf4};

    machine_code(m, code, sizeof(code));
    CHECK(machine_run(m) == 0 && m->run->reason == 12);
}

int main(void)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;
    struct vmlib_vtx_info info;
    struct machine m;

    CHECK(kvm >= 0);
    vm = ioctl(kvm, KVM_CREATE_VM, 0);
    CHECK(vm >= 0);
    CHECK(machine_open(&m) == -EBUSY);
    CHECK(device_info(m.device, &info) == 0 && info.unavailable == VMLIB_VTX_OWNED);
    machine_close(&m);
    printf("ok KVM has it: refused\n");

    close(vm);
    CHECK(machine_open(&m) == 0);
    run_once(&m);
    printf("ok KVM has let it go: works\n");

    vm = ioctl(kvm, KVM_CREATE_VM, 0);
    CHECK(vm < 0);
    run_once(&m);
    printf("ok ours: KVM is refused, our guest runs on\n");

    machine_close(&m);
    vm = ioctl(kvm, KVM_CREATE_VM, 0);
    CHECK(vm >= 0);
    printf("ok given back: KVM works\n");
    close(vm);
    return 0;
}
