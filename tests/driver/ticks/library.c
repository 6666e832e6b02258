/* The same through the library: handlers where there can be handlers, records otherwise. */
#include "ticks.h"

#include <stdio.h>
#include <stdlib.h>
#include <vmlib/vmlib.h>

static vmlib_vm *vm;
static vmlib_region *ram_region, *rom_region;
static vmlib_vcpu *vcpu;
static void *memory;

static void lib(int rc, const char *what)
{
    if (rc >= 0)
        return;
    printf("%s: %s\n", what, vmlib_last_error());
    exit(1);
}

static int answer(void *opaque, vmlib_vcpu *of, struct vmlib_exit *exit)
{
    (void)opaque;
    (void)of;
    switch (exit->reason) {
    case VMLIB_EXIT_PIO:
        exit->u.pio.value = ANSWER;
        return exit->u.pio.port == END_PORT ? VMLIB_STOP : VMLIB_HANDLED;
    case VMLIB_EXIT_MMIO:
        exit->u.mmio.value = ANSWER;
        return VMLIB_HANDLED;
    default:
        exit->u.msr.value = ANSWER;
        return VMLIB_HANDLED;
    }
}

static void handler(uint32_t kind, uint64_t number)
{
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;

    config.kind = kind;
    config.first = config.last = number;
    config.fn = answer;
    lib(vmlib_handler_add(vm, &config, NULL), "handler");
}

static vmlib_region *region(uint64_t gpa, uint64_t bytes, uint32_t prot)
{
    struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *r;

    config.gpa = gpa;
    config.bytes = bytes;
    config.prot = prot;
    lib(vmlib_region_create(vm, &config, &r), "region");
    return r;
}

static void open_library(const struct op *op, uint32_t backend)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    struct vmlib_state s;
    uint8_t code[128];
    size_t bytes = guest_code(op, code);

    config.backends[0] = backend;
    lib(vmlib_vm_create(&config, &vm), "VM");
    ram_region = region(0, RAM_BYTES, VMLIB_PROT_RWX);
    rom_region = region(ROM, ROM_BYTES, VMLIB_PROT_R | VMLIB_PROT_X);
    lib(vmlib_vm_write(vm, CODE, code, bytes), "code");
    handler(VMLIB_HANDLER_PIO, PORT);
    handler(VMLIB_HANDLER_PIO, END_PORT);
    handler(VMLIB_HANDLER_MMIO, HOLE);
    if (op->msr == MSR_NOBODY)
        handler(VMLIB_HANDLER_MSR, MSR_NOBODY);
    lib(vmlib_vcpu_create(vm, NULL, &vcpu), "vCPU");
    s.size = sizeof(s);
    lib(vmlib_vcpu_get_state(vcpu, VMLIB_STATE_SEGMENTS | VMLIB_STATE_GPR, &s), "state");
    s.segments.cs.selector = 0;
    s.segments.cs.base = 0;
    s.gpr.rip = s.gpr.rsp = CODE;
    lib(vmlib_vcpu_set_state(vcpu, VMLIB_STATE_SEGMENTS | VMLIB_STATE_GPR, &s), "state");
}

/* Records that are returned: what a host program does to have the guest go on. */
static bool returned(const struct vmlib_exit *exit)
{
    static struct vmlib_state s;

    switch (exit->reason) {
    case VMLIB_EXIT_STOPPED:
        return false;
    case VMLIB_EXIT_MEMORY_FAULT:
        lib(vmlib_vcpu_set_reg(vcpu, VMLIB_REG_RIP, exit->rip + exit->insn_len), "rip");
        return true;
    default:
        must(exit->reason == VMLIB_EXIT_HLT, vmlib_exit_name(exit->reason));
        s.size = sizeof(s);
        s.events.flags = 0;
        lib(vmlib_vcpu_set_state(vcpu, VMLIB_STATE_EVENTS, &s), "events");
        return true;
    }
}

static void batch(void)
{
    struct vmlib_exit exit = {.size = sizeof(exit)};

    do {
        lib(vmlib_vcpu_run(vcpu, NULL, &exit), "run");
    } while (returned(&exit));
}

static uint8_t *ram(void)
{
    static uint8_t copy[RAM_BYTES];

    lib(vmlib_vm_read(vm, 0, copy, sizeof(copy)), "memory");
    memory = copy;
    return memory;
}

static void close_library(void)
{
    vmlib_vcpu_unref(vcpu);
    vmlib_region_unref(ram_region);
    vmlib_region_unref(rom_region);
    vmlib_vm_unref(vm);
}

static bool present_on(uint32_t backend)
{
    struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;

    return vmlib_backend_query(backend, &info) == 0 && info.available;
}

static bool present_vtx(void)
{
    return present_on(VMLIB_BACKEND_VTX);
}

static bool present_kvm(void)
{
    return present_on(VMLIB_BACKEND_KVM);
}

static void open_vtx(const struct op *op)
{
    open_library(op, VMLIB_BACKEND_VTX);
}

static void open_kvm(const struct op *op)
{
    open_library(op, VMLIB_BACKEND_KVM);
}

const struct level level_library_vtx = {"vtx", present_vtx, open_vtx, batch, ram, close_library};
const struct level level_library_kvm = {"kvm", present_kvm, open_kvm, batch, ram, close_library};
