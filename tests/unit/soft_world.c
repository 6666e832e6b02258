/* See soft_world.h. */
#include "soft_world.h"

static vmlib_region *region(vmlib_vm *vm, uint64_t gpa, uint64_t bytes)
{
    struct vmlib_region_config c = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *r = NULL;
    c.gpa = gpa;
    c.bytes = bytes;
    OK(vmlib_region_create(vm, &c, &r));
    return r;
}

void world_create(struct world *w, unsigned vcpus, uint32_t time_mode)
{
    struct vmlib_vm_config c = VMLIB_VM_CONFIG_INIT;
    void *host;
    memset(w, 0, sizeof(*w));
    c.backends[0] = VMLIB_BACKEND_SOFT;
    c.time_mode = time_mode;
    c.seed = 1;
    OK(vmlib_vm_create(&c, &w->vm));
    w->ram = region(w->vm, 0, DEVICE);
    w->behind = region(w->vm, BEHIND, 0x1000);
    OK(vmlib_region_host(w->ram, &host));
    w->mem = host;
    for (unsigned i = 0; i < vcpus; i++) {
        struct vmlib_vcpu_config vc = VMLIB_VCPU_CONFIG_INIT;
        vc.index = i;
        OK(vmlib_vcpu_create(w->vm, &vc, &w->vcpu[i]));
    }
}

void world_destroy(struct world *w)
{
    for (unsigned i = 0; i < VCPUS; i++)
        vmlib_vcpu_unref(w->vcpu[i]);
    vmlib_region_unref(w->ram);
    vmlib_region_unref(w->behind);
    vmlib_vm_unref(w->vm);
}

static void entry(struct world *w, uint32_t table, unsigned index, uint64_t value, unsigned bytes)
{
    OK(vmlib_vm_write(w->vm, table + index * bytes, &value, bytes));
}

/* 4-level at TABLES; PAE at TABLES + 0x4000, both with the directory at TABLES + 0x2000; 32-bit
 * at TABLES + 0x3000. Large pages, present, writable, user. */
static void tables(struct world *w)
{
    entry(w, TABLES, 0, (TABLES + 0x1000) | 7, 8);
    entry(w, TABLES + 0x1000, 0, (TABLES + 0x2000) | 7, 8);
    entry(w, TABLES + 0x4000, 0, (TABLES + 0x2000) | 1, 8);
    for (unsigned i = 0; i < 512; i++)
        entry(w, TABLES + 0x2000, i, (uint64_t)i << 21 | 0xe7, 8);
    for (unsigned i = 0; i < 256; i++)
        entry(w, TABLES + 0x3000, i, i << 22 | 0xe7, 4);
}

static struct vmlib_segment flat(uint32_t attributes, uint16_t selector)
{
    return (struct vmlib_segment){
        .limit = UINT32_MAX, .attributes = attributes, .selector = selector};
}

static void set_mode(struct vmlib_state *s, enum world_mode mode)
{
    static const uint32_t code[] = {0x9b, 0xc09b, 0xc09b, 0xc09b, 0xa09b};
    bool paged = mode >= PAGED32;
    s->control.cr0 = (mode == REAL16 ? 0x10u : 0x11u) | (paged ? 0x80010000u : 0);
    s->control.cr4 = 0x600u | (mode == PAGED32 ? 0x10u : mode >= PAE32 ? 0x20u : 0);
    s->control.efer = mode == LONG64 ? 0x500 : 0;
    s->control.cr3 = mode == PAGED32 ? TABLES + 0x3000 : mode == PAE32 ? TABLES + 0x4000 : TABLES;
    s->control.xcr0 = 7;
    s->control.cr4 |= 0x40000; /* OSXSAVE */
    memset(s->control.pdpte, 0, sizeof(s->control.pdpte));
    s->control.pdpte[0] = (TABLES + 0x2000) | 1;
    s->segments.cs = flat(code[mode], mode == REAL16 ? 0 : 8);
    if (mode == REAL16)
        s->segments.cs.limit = 0xffff;
    s->segments.ss = s->segments.ds = s->segments.es = s->segments.fs = s->segments.gs =
        flat(mode == REAL16 ? 0x8093 : 0xc093, mode == REAL16 ? 0 : 16);
}

void world_start(struct world *w, unsigned vcpu, enum world_mode mode, uint64_t rip)
{
    struct vmlib_state s;
    uint32_t groups = VMLIB_STATE_ALL & ~(VMLIB_STATE_MSRS | VMLIB_STATE_FPU);
    memset(&s, 0, sizeof(s));
    s.size = sizeof(s);
    tables(w);
    OK(vmlib_vcpu_get_state(w->vcpu[vcpu], VMLIB_STATE_ALL, &s));
    memset(&s.gpr, 0, sizeof(s.gpr));
    memset(&s.events, 0, sizeof(s.events));
    memset(&s.debug, 0, sizeof(s.debug));
    memset(&s.xsave, 0, sizeof(s.xsave)); /* initial */
    s.debug.dr6 = 0xffff0ff0;
    s.debug.dr7 = 0x400;
    s.gpr.rip = rip;
    s.gpr.rsp = STACK;
    s.gpr.rflags = 2;
    s.segments.idtr = (struct vmlib_table){.base = 0, .limit = mode == REAL16 ? 0x3ff : 0};
    set_mode(&s, mode);
    OK(vmlib_vcpu_set_state(w->vcpu[vcpu], groups, &s));
}

void world_put(struct world *w, uint64_t gpa, const uint8_t *code, const uint8_t *end)
{
    OK(vmlib_vm_write(w->vm, gpa, code, (uint64_t)(end - code)));
}

struct vmlib_exit world_run(struct world *w, unsigned vcpu, uint64_t deadline_ns, uint64_t budget)
{
    struct vmlib_run_args a = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    a.deadline_ns = deadline_ns;
    a.budget = budget;
    OK(vmlib_vcpu_run(w->vcpu[vcpu], &a, &e));
    return e;
}

/* A deadline turns a guest that runs away into a failure. */
void world_expect(struct world *w, uint32_t reason)
{
    struct vmlib_exit e = world_run(w, 0, 20000000000u, 0);
    if (e.reason != reason)
        fail_msg("exit %s at rip 0x%llx, expected %s", vmlib_exit_name(e.reason),
                 (unsigned long long)e.rip, vmlib_exit_name(reason));
}

uint64_t world_reg(struct world *w, uint32_t reg)
{
    uint64_t v = 0;
    OK(vmlib_vcpu_get_reg(w->vcpu[0], reg, &v));
    return v;
}

void world_set(struct world *w, uint32_t reg, uint64_t value)
{
    OK(vmlib_vcpu_set_reg(w->vcpu[0], reg, value));
}

vmlib_handler *world_handler(struct world *w, uint32_t kind, uint64_t first, uint64_t last,
                             world_fn fn, void *opaque)
{
    struct vmlib_handler_config c = VMLIB_HANDLER_CONFIG_INIT;
    vmlib_handler *h = NULL;
    c.kind = kind;
    c.first = first;
    c.last = last;
    c.fn = fn;
    c.opaque = opaque;
    OK(vmlib_handler_add(w->vm, &c, &h));
    return h;
}
