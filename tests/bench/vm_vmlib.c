/* The guest in libvmlib. */
#include <stdlib.h>
#include <string.h>
#include <vmlib/vmlib.h>

#include "guest.h"
#include "vm.h"

struct machine {
    vmlib_vm *vm;
    vmlib_region *ram;
    vmlib_vcpu *vcpu;
    struct vmlib_state start;
};

static int answer(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)opaque, (void)vcpu;
    if (exit->reason == VMLIB_EXIT_PIO)
        exit->u.pio.value = 1;
    else
        exit->u.mmio.value = 1;
    return VMLIB_HANDLED;
}

static struct vmlib_segment segment(uint16_t selector, uint32_t attributes)
{
    return (struct vmlib_segment){
        .limit = UINT32_MAX, .attributes = attributes, .selector = selector};
}

static void start_state(struct vmlib_state *s)
{
    s->segments.cs = segment(0x08, 0xa09b);
    s->segments.ss = s->segments.ds = s->segments.es = segment(0x10, 0xc093);
    s->segments.fs = s->segments.gs = s->segments.ds;
    s->control.cr0 = 0x80010033;
    s->control.cr3 = GUEST_TABLES;
    s->control.cr4 = 0x620; /* PAE OSFXSR OSXMMEXCPT */
    s->control.efer = 0xd01;
    s->gpr.rflags = 2;
}

static bool build(struct machine *m, const struct bench_image *image)
{
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;
    struct vmlib_handler_config port = VMLIB_HANDLER_CONFIG_INIT, mmio = VMLIB_HANDLER_CONFIG_INIT;
    uint64_t tables[4 * 512];
    ram.bytes = GUEST_RAM;
    port.kind = VMLIB_HANDLER_PIO;
    port.first = port.last = GUEST_PORT;
    mmio.kind = VMLIB_HANDLER_MMIO;
    mmio.first = GUEST_MMIO;
    mmio.last = GUEST_MMIO + 0xfff;
    port.fn = mmio.fn = answer;
    bench_tables(tables);
    m->start.size = sizeof(m->start);
    if (vmlib_vm_create(NULL, &m->vm) < 0 || vmlib_region_create(m->vm, &ram, &m->ram) < 0 ||
        vmlib_handler_add(m->vm, &port, NULL) < 0 || vmlib_handler_add(m->vm, &mmio, NULL) < 0 ||
        vmlib_vm_write(m->vm, GUEST_TABLES, tables, sizeof(tables)) < 0 ||
        vmlib_vm_write(m->vm, GUEST_CODE, image->bytes, image->size) < 0 ||
        vmlib_vcpu_create(m->vm, NULL, &m->vcpu) < 0 ||
        vmlib_vcpu_get_state(m->vcpu, VMLIB_STATE_ALL, &m->start) < 0)
        return false;
    start_state(&m->start);
    return true;
}

static void close_vmlib(void *engine)
{
    struct machine *m = engine;
    vmlib_vcpu_unref(m->vcpu);
    vmlib_region_unref(m->ram);
    vmlib_vm_unref(m->vm);
    free(m);
}

static void *open_vmlib(const struct bench_image *image, const char **why)
{
    struct machine *m = calloc(1, sizeof(*m));
    if (m && build(m, image))
        return m;
    *why = vmlib_last_error();
    if (m)
        close_vmlib(m);
    return NULL;
}

static bool run_vmlib(void *engine, uint64_t which, uint64_t n, struct bench_result *r)
{
    struct machine *m = engine;
    struct vmlib_exit exit = {.size = sizeof(exit)};
    m->start.gpr.rip = GUEST_CODE;
    m->start.gpr.rsp = GUEST_STACK;
    m->start.gpr.rdi = which;
    m->start.gpr.rsi = n;
    m->start.events.flags = 0;
    if (vmlib_vcpu_set_state(m->vcpu,
                             VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL |
                                 VMLIB_STATE_EVENTS,
                             &m->start) < 0)
        return false;
    double t = bench_now();
    int err = vmlib_vcpu_run(m->vcpu, NULL, &exit);
    r->ns = bench_now() - t;
    r->instructions = exit.instructions;
    return err == 0 && exit.reason == VMLIB_EXIT_HLT &&
           vmlib_vcpu_get_reg(m->vcpu, VMLIB_REG_RAX, &r->value) == 0;
}

const struct bench_engine bench_vmlib = {"vmlib", open_vmlib, run_vmlib, close_vmlib};
