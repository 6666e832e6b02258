/*
 * VT-x has one owner at a time: this driver and KVM side by side, in both orders. Needs the
 * kernel's KVM. Usage: owners [COMMAND]   COMMAND loads kvm_intel again (modprobe kvm_intel)
 */
#include "machine.h"
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void run_once(struct machine *m)
{
    static const uint8_t code[] = {0xf4};

    machine_code(m, code, sizeof(code));
    CHECK(machine_run(m) == 0 && m->run->reason == 12);
}

static int open_kvm(void)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;

    if (kvm < 0)
        return -1;
    vm = ioctl(kvm, KVM_CREATE_VM, 0);
    close(kvm); /* the VM keeps the module */
    return vm;
}

/* The words that a user of the library reads say what to do. */
static void says_what_to_do(const struct vmlib_vtx_info *info)
{
    char text[256];

    vtx_words_unavailable(info, text, sizeof(text));
    printf("   \"%s\"\n", text);
    CHECK(strstr(text, "stop its virtual machines") && strstr(text, "modprobe -r kvm_intel"));
}

/* KVM's module comes while we have VT-x, and when we do not. */
static void loaded_late(const char *command)
{
    struct machine m;
    int vm;

    /* NOLINTBEGIN(cert-env33-c): the command is the tester's */
    CHECK(system("rmmod kvm_intel") == 0);
    CHECK(machine_open(&m) == 0);
    run_once(&m);
    printf("ok KVM's module removed: works\n");
    vm = WEXITSTATUS(system(command)) ? -1 : open_kvm();
    CHECK(vm < 0);
    run_once(&m);
    machine_close(&m);
    printf("ok ours first, KVM's module loaded after it: refused\n");
    system("rmmod kvm_intel 2>/dev/null");
    CHECK(system(command) == 0);
    /* NOLINTEND(cert-env33-c) */
    vm = open_kvm();
    CHECK(vm >= 0);
    close(vm);
    printf("ok given back: KVM's module works\n");
}

int main(int argc, char **argv)
{
    int vm = open_kvm();
    struct vmlib_vtx_info info;
    struct machine m;

    CHECK(vm >= 0);
    CHECK(machine_open(&m) == -EBUSY);
    CHECK(device_info(m.device, &info) == 0 && info.unavailable == VMLIB_VTX_OWNED);
    machine_close(&m);
    says_what_to_do(&info);
    printf("ok KVM has it: refused\n");

    close(vm);
    CHECK(machine_open(&m) == 0);
    run_once(&m);
    printf("ok KVM has let it go: works\n");

    vm = open_kvm();
    CHECK(vm < 0);
    run_once(&m);
    printf("ok ours: KVM is refused, our guest runs on\n");

    machine_close(&m);
    vm = open_kvm();
    CHECK(vm >= 0);
    printf("ok given back: KVM works\n");
    close(vm);
    if (argc > 1)
        loaded_late(argv[1]);
    return 0;
}
