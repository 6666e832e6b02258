/* See kvm_world.h. */
#include "kvm_world.h"

vmlib_region *world_region(struct world *w, uint64_t gpa, uint64_t bytes, uint32_t flags,
                           void *host)
{
    struct vmlib_region_config c = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *r = NULL;
    c.gpa = gpa;
    c.bytes = bytes;
    c.flags = flags;
    c.host = host;
    c.backing = host ? VMLIB_BACKING_HOST : VMLIB_BACKING_ANON;
    OK(vmlib_region_create(w->vm, &c, &r));
    return r;
}

void world_create(struct world *w, unsigned vcpus)
{
    struct vmlib_vm_config c = VMLIB_VM_CONFIG_INIT;
    void *host;
    memset(w, 0, sizeof(*w));
    c.backends[0] = VMLIB_BACKEND_KVM;
    OK(vmlib_vm_create(&c, &w->vm));
    w->ram = world_region(w, 0, DEVICE, 0, NULL);
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
    vmlib_vm_unref(w->vm);
}

void world_start(struct world *w, unsigned vcpu, uint64_t rip)
{
    struct vmlib_state s;
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(w->vcpu[vcpu], VMLIB_STATE_SEGMENTS, &s));
    struct vmlib_segment *data[] = {&s.segments.es, &s.segments.ss, &s.segments.ds, &s.segments.fs,
                                    &s.segments.gs};
    for (unsigned i = 0; i < 5; i++)
        *data[i] = (struct vmlib_segment){.limit = UINT32_MAX, .attributes = 0x8093};
    s.segments.cs = (struct vmlib_segment){.limit = 0xffff, .attributes = 0x9b};
    s.gpr = (struct vmlib_gpr){.rip = rip, .rsp = STACK, .rflags = 2};
    memset(&s.events, 0, sizeof(s.events)); /* not halted any more */
    OK(vmlib_vcpu_set_state(w->vcpu[vcpu],
                            VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS | VMLIB_STATE_EVENTS, &s));
}

struct vmlib_exit world_run(struct world *w, unsigned vcpu, uint64_t deadline_ns)
{
    struct vmlib_run_args a = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    a.deadline_ns = deadline_ns;
    OK(vmlib_vcpu_run(w->vcpu[vcpu], &a, &e));
    return e;
}

/* A deadline turns a guest that runs away into a failure. */
struct vmlib_exit world_expect(struct world *w, uint32_t reason)
{
    struct vmlib_exit e = world_run(w, 0, 20000000000u);
    if (e.reason != reason)
        fail_msg("exit %s at rip 0x%llx (%s), expected %s", vmlib_exit_name(e.reason),
                 (unsigned long long)e.rip,
                 e.reason == VMLIB_EXIT_INTERNAL ? e.u.internal.text : "", vmlib_exit_name(reason));
    return e;
}

uint64_t world_reg(struct world *w, uint32_t reg)
{
    uint64_t v = 0;
    OK(vmlib_vcpu_get_reg(w->vcpu[0], reg, &v));
    return v;
}

int world_main(const struct CMUnitTest *tests, size_t count)
{
    struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;
    if (vmlib_backend_query(VMLIB_BACKEND_KVM, &info) != 0 || !info.available) {
        printf("SKIP: %zu cases: %s\n", count,
               info.reason[0] ? info.reason : "the KVM backend is not part of this build");
        return 77;
    }
    return _cmocka_run_group_tests("kvm", tests, count, NULL, NULL);
}
