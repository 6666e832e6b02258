/* KVM by bare calls: the least that a program can do. */
#include "ticks.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int device, vm, vcpu;
static struct kvm_run *run;
static uint8_t *memory;
static size_t run_bytes;

static bool present(void)
{
    return access("/dev/kvm", R_OK | W_OK) == 0;
}

static void slot(uint32_t number, uint64_t gpa, uint64_t bytes, uint32_t flags)
{
    struct kvm_userspace_memory_region region = {.slot = number,
                                                 .flags = flags,
                                                 .guest_phys_addr = gpa,
                                                 .memory_size = bytes,
                                                 .userspace_addr = (uintptr_t)memory + gpa};

    must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == 0, "KVM_SET_USER_MEMORY_REGION");
}

static void open_kvm(const struct op *op)
{
    struct kvm_enable_cap cap = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
                                 .args = {KVM_MSR_EXIT_REASON_UNKNOWN}};
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = CODE, .rsp = CODE, .rflags = 2};

    device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    must(device >= 0, "/dev/kvm");
    vm = ioctl(device, KVM_CREATE_VM, 0);
    must(vm >= 0, "KVM_CREATE_VM");
    must(ioctl(vm, KVM_ENABLE_CAP, &cap) == 0, "KVM_CAP_X86_USER_SPACE_MSR");
    memory = mmap(NULL, HOLE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    slot(0, 0, RAM_BYTES, 0);
    slot(1, ROM, ROM_BYTES, KVM_MEM_READONLY);
    vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    must(vcpu >= 0, "KVM_CREATE_VCPU");
    run_bytes = (size_t)ioctl(device, KVM_GET_VCPU_MMAP_SIZE, 0);
    run = mmap(NULL, run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    guest_code(op, memory + CODE);
    must(ioctl(vcpu, KVM_GET_SREGS, &sregs) == 0, "KVM_GET_SREGS");
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    must(ioctl(vcpu, KVM_SET_SREGS, &sregs) == 0 && ioctl(vcpu, KVM_SET_REGS, &regs) == 0, "state");
}

static bool exit_kvm(void)
{
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        if (run->io.direction == KVM_EXIT_IO_IN)
            ((uint8_t *)run)[run->io.data_offset] = ANSWER;
        return run->io.port != END_PORT;
    case KVM_EXIT_MMIO:
        must(run->mmio.phys_addr == HOLE || run->mmio.phys_addr == ROM, "address");
        if (!run->mmio.is_write)
            run->mmio.data[0] = ANSWER;
        return true;
    case KVM_EXIT_X86_RDMSR:
        run->msr.data = ANSWER;
        run->msr.error = 0;
        return true;
    case KVM_EXIT_X86_WRMSR:
        run->msr.error = 0;
        return true;
    default:
        must(run->exit_reason == KVM_EXIT_HLT, "exit reason of KVM");
        return true;
    }
}

static void batch(void)
{
    do {
        must(ioctl(vcpu, KVM_RUN, 0) == 0, "KVM_RUN");
    } while (exit_kvm());
}

static uint8_t *ram(void)
{
    return memory;
}

static void close_kvm(void)
{
    munmap(run, run_bytes);
    close(vcpu);
    close(vm);
    close(device);
    munmap(memory, HOLE);
}

const struct level level_kvm = {"KVM", present, open_kvm, batch, ram, close_kvm};
