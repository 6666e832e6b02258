/*
 * Four virtual CPUs, each on its own thread: they wait for a start-up interrupt, as the processors
 * of a PC do, and then count together in shared memory with a LOCK prefix.
 */
#include <err.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmlib/vmlib.h>

#define CPUS       4
#define ROUNDS     100000
#define START_PAGE 1 /* a start-up interrupt names a page: address 0x1000 */
#define COUNTER    0x2000

static const uint8_t code[] = {
    0x66, 0xb9, 0xa0, 0x86, 0x01, 0x00, /*       mov ecx, 100000         */
    0x31, 0xc0,                         /*       xor ax, ax              */
    0x8e, 0xd8,                         /*       mov ds, ax              */
    0xf0, 0x66, 0xff, 0x06, 0x00, 0x20, /* next: lock inc dword [0x2000] */
    0x66, 0x49,                         /*       dec ecx                 */
    0x75, 0xf6,                         /*       jnz next                */
    0xe6, 0x10,                         /*       out 0x10, al            */
};

static void check(int error)
{
    if (error < 0)
        errx(1, "%s", vmlib_last_error());
}

/* No handler owns port 0x10, so the guest's OUT ends the run. */
static void *run(void *opaque)
{
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit exit = {.size = sizeof(exit)};

    args.flags = VMLIB_RUN_WAIT_IN_HLT; /* sleep in run until the start-up interrupt comes */
    check(vmlib_vcpu_run(opaque, &args, &exit));
    return exit.reason == VMLIB_EXIT_PIO && exit.u.pio.port == 0x10 ? opaque : NULL;
}

int main(void)
{
    vmlib_vm *vm;
    vmlib_region *memory;
    vmlib_vcpu *vcpu[CPUS];
    pthread_t thread[CPUS];
    void *done;
    uint32_t counter = 0;
    int finished = 0;
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;
    struct vmlib_vcpu_config cpu = VMLIB_VCPU_CONFIG_INIT;

    if (getenv("VMLIB_BACKEND"))
        check(vmlib_backend_by_name(getenv("VMLIB_BACKEND"), &config.backends[0]));
    config.required = 1u << VMLIB_FEATURE_SMP;
    check(vmlib_vm_create(&config, &vm));
    ram.bytes = 0x10000;
    check(vmlib_region_create(vm, &ram, &memory));
    check(vmlib_vm_write(vm, START_PAGE << 12, code, sizeof(code)));

    for (uint32_t i = 0; i < CPUS; i++) {
        cpu.index = i;
        cpu.initial = VMLIB_VCPU_WAIT_SIPI;
        check(vmlib_vcpu_create(vm, &cpu, &vcpu[i]));
        if (pthread_create(&thread[i], NULL, run, vcpu[i]) != 0)
            return 1;
    }
    for (int i = 0; i < CPUS; i++)
        check(vmlib_vcpu_sipi(vcpu[i], START_PAGE));
    for (int i = 0; i < CPUS; i++) {
        pthread_join(thread[i], &done);
        finished += done == vcpu[i];
        vmlib_vcpu_unref(vcpu[i]);
    }

    check(vmlib_vm_read(vm, COUNTER, &counter, sizeof(counter)));
    printf("%d vCPUs counted to %" PRIu32 "\n", finished, counter);
    vmlib_region_unref(memory);
    vmlib_vm_unref(vm);
    return finished == CPUS && counter == CPUS * ROUNDS ? 0 : 1;
}
