/* See world.h. */
#include "world.h"

uint32_t backend_under_test;
bool world_any_backend;

static vmlib_region *region(vmlib_vm *vm, uint64_t gpa, uint64_t bytes, uint32_t flags)
{
    struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *r = NULL;
    config.gpa = gpa;
    config.bytes = bytes;
    config.flags = flags;
    OK(vmlib_region_create(vm, &config, &r));
    return r;
}

struct world *world_create(const struct vmlib_vm_config *config)
{
    struct world *w = calloc(1, sizeof(*w));
    struct vmlib_vm_config c = *config;
    assert_non_null(w);
    c.backends[0] = backend_under_test;
    OK(vmlib_vm_create(&c, &w->vm));
    w->ram = region(w->vm, 0, HOLE, VMLIB_REGION_DIRTY_LOG);
    w->rom = region(w->vm, ROM, 0x10000, VMLIB_REGION_ROM);
    OK(vmlib_vcpu_create(w->vm, NULL, &w->vcpu));
    return w;
}

void world_destroy(struct world *w)
{
    vmlib_vcpu_unref(w->vcpu);
    vmlib_region_unref(w->ram);
    vmlib_region_unref(w->rom);
    vmlib_vm_unref(w->vm);
    free(w);
}

int world_setup(void **state)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    *state = world_create(&config);
    return 0;
}

int world_teardown(void **state)
{
    world_destroy(*state);
    return 0;
}

void world_load(struct world *w, const uint8_t *code, const uint8_t *end)
{
    struct vmlib_state s;
    s.size = sizeof(s);
    OK(vmlib_vm_write(w->vm, CODE, code, (uint64_t)(end - code)));
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS, &s));
    struct vmlib_segment *data[] = {&s.segments.es, &s.segments.ss, &s.segments.ds, &s.segments.fs,
                                    &s.segments.gs};
    for (unsigned i = 0; i < 5; i++) {
        *data[i] = (struct vmlib_segment){.limit = UINT32_MAX, .attributes = 0x8093};
    }
    s.segments.cs = (struct vmlib_segment){.limit = 0xffff, .attributes = 0x9b};
    s.gpr.rip = CODE;
    s.gpr.rsp = STACK;
    s.gpr.rflags = 2;
    OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS, &s));
}

void world_vector(struct world *w, unsigned vector, uint16_t offset)
{
    uint16_t entry[2] = {offset, 0};
    OK(vmlib_vm_write(w->vm, vector * 4, entry, 4));
}

void world_vector_to_port(struct world *w, unsigned vector, uint8_t port)
{
    uint8_t code[] = {0xe6, port, 0xf4};
    uint16_t at = (uint16_t)(0x600 + vector * 4);
    OK(vmlib_vm_write(w->vm, at, code, sizeof(code)));
    world_vector(w, vector, at);
}

struct vmlib_exit world_run_with(struct world *w, uint32_t flags, uint64_t deadline_ns,
                                 uint64_t budget)
{
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    args.flags = flags;
    args.deadline_ns = deadline_ns;
    args.budget = budget;
    OK(vmlib_vcpu_run(w->vcpu, &args, &e));
    return e;
}

/* A deadline turns a guest that runs away into a failure. */
struct vmlib_exit world_run(struct world *w, uint32_t reason)
{
    struct vmlib_exit e = world_run_with(w, 0, 20000000000u, 0);
    if (e.reason != reason) {
        fail_msg("exit %s at rip 0x%llx, expected %s", vmlib_exit_name(e.reason),
                 (unsigned long long)e.rip, vmlib_exit_name(reason));
    }
    return e;
}

uint64_t world_reg(struct world *w, uint32_t reg)
{
    uint64_t value = 0;
    OK(vmlib_vcpu_get_reg(w->vcpu, reg, &value));
    return value;
}

void world_set(struct world *w, uint32_t reg, uint64_t value)
{
    OK(vmlib_vcpu_set_reg(w->vcpu, reg, value));
}

struct vmlib_events world_events(struct world *w)
{
    struct vmlib_state s;
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    return s.events;
}

uint32_t world_word(struct world *w, uint64_t gpa, unsigned bytes)
{
    uint32_t value = 0;
    OK(vmlib_vm_read(w->vm, gpa, &value, bytes));
    return value;
}

void world_handler(struct world *w, uint32_t kind, uint64_t first, uint64_t last, world_fn fn,
                   void *opaque)
{
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    config.kind = kind;
    config.first = first;
    config.last = last;
    config.fn = fn;
    config.opaque = opaque;
    OK(vmlib_handler_add(w->vm, &config, NULL));
}

uint32_t world_support(uint32_t feature)
{
    uint32_t support = VMLIB_SUPPORT_REFUSED;
    OK(vmlib_backend_feature(backend_under_test, feature, &support));
    return support;
}

static unsigned skipped, gaps;

void world_need(uint32_t feature)
{
    if (world_support(feature) == VMLIB_SUPPORT_REFUSED) {
        print_message("SKIP: this backend refuses %s\n", vmlib_feature_name(feature));
        skipped++;
        skip();
    }
}

void world_machine(const char *name)
{
    const char *why = world_gap(name);
    if (why != NULL) {
        print_message("SKIP: on this machine %s\n", why);
        gaps++;
        skip();
    }
}

void world_counted(const struct vmlib_exit *e, uint64_t instructions)
{
    if (world_support(VMLIB_FEATURE_INSN_COUNT) >= VMLIB_SUPPORT_EMULATED) {
        assert_int_equal(e->instructions, instructions);
        assert_int_equal(e->flags & VMLIB_EXIT_F_INEXACT, 0);
    } else {
        assert_int_equal(e->flags & VMLIB_EXIT_F_INEXACT, VMLIB_EXIT_F_INEXACT);
    }
}

int world_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count)
{
    struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;
    const char *name = argc > 1 ? argv[1] : "soft";
    if (vmlib_backend_by_name(name, &backend_under_test) != 0) {
        printf("SKIP: backend %s is not part of this build\n", name);
        return 77;
    }
    OK(vmlib_backend_query(backend_under_test, &info));
    bool guests = world_support(VMLIB_FEATURE_GUEST_CODE) != VMLIB_SUPPORT_REFUSED;
    if (!info.available || (!guests && !world_any_backend)) {
        printf("SKIP: backend %s: %s\n", name,
               info.available ? "executes no guest code" : info.reason);
        return 77;
    }
    int rc = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    printf("backend %s: %zu cases, %u skipped for refused features, %u for this machine\n", name,
           count, skipped, gaps);
    return rc;
}
