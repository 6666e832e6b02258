/* See world.h. */
#include "world.h"

const struct maker plain = {vmlib_vm_create, vmlib_region_create, vmlib_vcpu_create};

void world_open(struct world *w, const struct maker *maker, uint32_t backend, void *host)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;

    config.backends[0] = backend;
    OK(maker->vm(&config, &w->vm));
    ram.bytes = MEMORY;
    ram.flags = VMLIB_REGION_DIRTY_LOG;
    ram.backing = host ? VMLIB_BACKING_HOST : VMLIB_BACKING_ANON;
    ram.host = host;
    OK(maker->region(w->vm, &ram, &w->ram));
    OK(maker->vcpu(w->vm, NULL, &w->vcpu));
}

void world_program(struct world *w, uint32_t rounds)
{
    struct vmlib_state s = {.size = sizeof(s)};
    struct vmlib_segment *data[] = {&s.segments.es, &s.segments.ss, &s.segments.ds, &s.segments.fs,
                                    &s.segments.gs};

    OK(vmlib_vm_write(w->vm, CODE, kit_program, (uint64_t)(kit_program_end - kit_program)));
    OK(vmlib_vm_write(w->vm, DATA, &rounds, sizeof(rounds)));
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_ALL, &s));
    for (unsigned i = 0; i < 5; i++)
        *data[i] = (struct vmlib_segment){.limit = UINT32_MAX, .attributes = 0xc093};
    s.segments.cs = (struct vmlib_segment){.limit = UINT32_MAX, .attributes = 0xc09b};
    s.control.cr0 |= 1;
    s.gpr.rip = CODE;
    s.gpr.rflags = 2;
    OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_ALL, &s));
}

static void page_tables(struct world *w)
{
    uint64_t pml4 = 0x21027, pdpt = 0x22027, pd[2] = {0xe7, 0x2000e7};

    OK(vmlib_vm_write(w->vm, 0x20000, &pml4, 8));
    OK(vmlib_vm_write(w->vm, 0x21000, &pdpt, 8));
    OK(vmlib_vm_write(w->vm, 0x22000, pd, 16));
}

void world_program3(struct world *w, uint32_t rounds)
{
    static const uint64_t gdt[8] = {0, 0, 0, 0, 0x00cff3000000ffff, 0x00affb000000ffff, 0, 0};
    struct vmlib_state s = {.size = sizeof(s)};
    struct vmlib_segment *data[] = {&s.segments.es, &s.segments.ss, &s.segments.ds, &s.segments.fs,
                                    &s.segments.gs};

    OK(vmlib_vm_write(w->vm, CODE, kit_program3, (uint64_t)(kit_program3_end - kit_program3)));
    OK(vmlib_vm_write(w->vm, DATA, &rounds, sizeof(rounds)));
    OK(vmlib_vm_write(w->vm, 0x23000, gdt, sizeof(gdt)));
    page_tables(w);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_ALL, &s));
    for (unsigned i = 0; i < 5; i++)
        *data[i] =
            (struct vmlib_segment){.limit = UINT32_MAX, .attributes = 0xc0f3, .selector = 0x23};
    s.segments.cs =
        (struct vmlib_segment){.limit = UINT32_MAX, .attributes = 0xa0fb, .selector = 0x2b};
    s.segments.tr = (struct vmlib_segment){
        .base = 0x24000, .limit = 0x67, .attributes = 0x8b, .selector = 0x30};
    s.segments.ldtr = (struct vmlib_segment){.attributes = VMLIB_SEGMENT_UNUSABLE};
    s.segments.gdtr = (struct vmlib_table){.base = 0x23000, .limit = sizeof(gdt) - 1};
    s.segments.idtr = (struct vmlib_table){.base = 0x25000, .limit = 0};
    s.control.cr0 = 0x80000033;
    s.control.cr3 = 0x20000;
    s.control.cr4 = 0x620;
    s.control.efer = 0xd01;
    s.gpr.rip = CODE;
    s.gpr.rsp = 0x30000;
    s.gpr.rflags = 0x3002;
    OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_ALL, &s));
}

void world_close(struct world *w)
{
    vmlib_vcpu_unref(w->vcpu);
    vmlib_region_unref(w->ram);
    vmlib_vm_unref(w->vm);
    memset(w, 0, sizeof(*w));
}

static void mix(struct device *d, uint64_t value)
{
    d->hash = (d->hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    d->hash ^= d->hash >> 29;
}

int device_answer(struct device *d, struct vmlib_exit *exit)
{
    d->records++;
    mix(d, exit->reason);
    switch (exit->reason) {
    case VMLIB_EXIT_PIO:
        mix(d, (uint64_t)exit->u.pio.port << 32 | exit->u.pio.width);
        mix(d, exit->u.pio.write ? exit->u.pio.value : 1);
        d->ended |= exit->u.pio.write && exit->u.pio.port == 0xf4;
        if (!exit->u.pio.write)
            exit->u.pio.value = (uint32_t)d->hash;
        return VMLIB_HANDLED;
    case VMLIB_EXIT_MMIO:
        mix(d, exit->u.mmio.gpa << 8 | exit->u.mmio.width);
        mix(d, exit->u.mmio.write ? exit->u.mmio.value : 1);
        if (!exit->u.mmio.write)
            exit->u.mmio.value = d->hash;
        return VMLIB_HANDLED;
    default:
        return VMLIB_PASS;
    }
}
