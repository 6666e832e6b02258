/*
 * What an exit costs: emulated instructions per round trip to user space and back, of this driver
 * and of the kernel's KVM, for the same guest in the same boot. Inside the rig the time-stamp
 * counter counts instructions.
 */
#include "machine.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROUNDS 2000u
#define LIVES  20u

static const uint8_t port_loop[] = {0xe6, 0x10, 0xeb, 0xfc};        /* out 10h,al; jmp */
static const uint8_t fault_loop[] = {0xa0, 0x00, 0x60, 0xeb, 0xfb}; /* mov al,[6000h]; jmp */

struct result {
    uint64_t port, fault, life, call;
};

static void vtx_once(struct machine *m, uint32_t reason)
{
    CHECK(machine_run(m) == 0 && m->run->status == VMLIB_VTX_EXITED && m->run->reason == reason);
    m->run->rip += m->run->instruction_length;
    m->run->dirty = VMLIB_VTX_G_RIP;
}

static uint64_t vtx_loop(struct machine *m, const uint8_t *code, size_t bytes, uint32_t reason)
{
    uint64_t start;
    unsigned i;

    machine_code(m, code, bytes);
    vtx_once(m, reason);
    start = ticks();
    for (i = 0; i < ROUNDS; i++)
        vtx_once(m, reason);
    return (ticks() - start) / ROUNDS;
}

static struct result measure_vtx(void)
{
    struct result r;
    struct machine m;
    uint64_t start;
    unsigned i;

    CHECK(machine_open(&m) == 0);
    r.port = vtx_loop(&m, port_loop, sizeof(port_loop), 30);
    r.fault = vtx_loop(&m, fault_loop, sizeof(fault_loop), 48);
    start = ticks();
    for (i = 0; i < ROUNDS; i++)
        CHECK(ioctl(m.vcpu, VMLIB_VTX_KICK, 0) == 0);
    r.call = (ticks() - start) / ROUNDS;
    machine_close(&m);
    start = ticks();
    for (i = 0; i < LIVES; i++) {
        CHECK(machine_open(&m) == 0);
        machine_code(&m, port_loop, sizeof(port_loop));
        vtx_once(&m, 30);
        machine_close(&m);
    }
    r.life = (ticks() - start) / LIVES;
    return r;
}

struct kvm {
    int device, vm, vcpu;
    struct kvm_run *run;
    uint8_t *memory;
};

static void kvm_open(struct kvm *k, const uint8_t *code, size_t bytes)
{
    struct kvm_userspace_memory_region region = {.memory_size = 0x5000};
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = CODE_GPA, .rsp = CODE_GPA, .rflags = 2};

    k->device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    k->vm = ioctl(k->device, KVM_CREATE_VM, 0);
    k->memory = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    region.userspace_addr = (uintptr_t)k->memory;
    CHECK(!ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &region));
    k->vcpu = ioctl(k->vm, KVM_CREATE_VCPU, 0);
    k->run = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, k->vcpu, 0);
    memcpy(k->memory + CODE_GPA, code, bytes);
    CHECK(!ioctl(k->vcpu, KVM_GET_SREGS, &sregs));
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    CHECK(!ioctl(k->vcpu, KVM_SET_SREGS, &sregs) && !ioctl(k->vcpu, KVM_SET_REGS, &regs));
}

static void kvm_close(struct kvm *k)
{
    munmap(k->run, 8192);
    munmap(k->memory, 0x10000);
    close(k->vcpu);
    close(k->vm);
    close(k->device);
}

static uint64_t kvm_loop(const uint8_t *code, size_t bytes, uint32_t reason)
{
    struct kvm k;
    uint64_t start, took;
    unsigned i;

    kvm_open(&k, code, bytes);
    CHECK(!ioctl(k.vcpu, KVM_RUN, 0) && k.run->exit_reason == reason);
    start = ticks();
    for (i = 0; i < ROUNDS; i++)
        CHECK(!ioctl(k.vcpu, KVM_RUN, 0) && k.run->exit_reason == reason);
    took = (ticks() - start) / ROUNDS;
    kvm_close(&k);
    return took;
}

static struct result measure_kvm(void)
{
    struct result r;
    struct kvm k;
    uint64_t start;
    unsigned i;

    r.port = kvm_loop(port_loop, sizeof(port_loop), KVM_EXIT_IO);
    r.fault = kvm_loop(fault_loop, sizeof(fault_loop), KVM_EXIT_MMIO);
    start = ticks();
    for (i = 0; i < LIVES; i++) {
        kvm_open(&k, port_loop, sizeof(port_loop));
        CHECK(!ioctl(k.vcpu, KVM_RUN, 0) && k.run->exit_reason == KVM_EXIT_IO);
        kvm_close(&k);
    }
    r.life = (ticks() - start) / LIVES;
    return r;
}

static void print(const char *name, uint64_t vtx, uint64_t kvm)
{
    printf("%-34s vtx %8llu", name, (unsigned long long)vtx);
    if (kvm)
        printf("  kvm %8llu  ratio %.2f", (unsigned long long)kvm, (double)vtx / (double)kvm);
    printf("\n");
}

/* Fails when a port exit costs more than the given share of KVM's, in percent. */
int main(int argc, char **argv)
{
    struct result vtx = measure_vtx(), kvm = {0};

    if (!access("/dev/kvm", R_OK | W_OK))
        kvm = measure_kvm();
    print("a call that does nothing, ticks", vtx.call, 0);
    print("port exit, ticks", vtx.port, kvm.port);
    print("memory fault exit, ticks", vtx.fault, kvm.fault);
    print("create, first exit, destroy, ticks", vtx.life, kvm.life);
    return argc > 1 && kvm.port && vtx.port * 100 > kvm.port * strtoul(argv[1], NULL, 10);
}
