/* State into KVM and back, and beside the software backend: the same values, group by group. */
#include "kvm_world.h"

static uint64_t random64(void)
{
    static uint64_t x = 7;
    x += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t canonical(void)
{
    return (uint64_t)((int64_t)(random64() << 17) >> 17);
}

static vmlib_vcpu *cpu_on(uint32_t backend, vmlib_vm **vm)
{
    struct vmlib_vm_config c = VMLIB_VM_CONFIG_INIT;
    vmlib_vcpu *vcpu;
    c.backends[0] = backend;
    OK(vmlib_vm_create(&c, vm));
    OK(vmlib_vcpu_create(*vm, NULL, &vcpu));
    return vcpu;
}

static void get(vmlib_vcpu *vcpu, uint32_t groups, struct vmlib_state *s)
{
    memset(s, 0, sizeof(*s));
    s->size = sizeof(*s);
    OK(vmlib_vcpu_get_state(vcpu, groups, s));
}

#define SAME(group, a, b)                                                                   \
    do {                                                                                    \
        const uint8_t *a_ = (const uint8_t *)&(a).group, *b_ = (const uint8_t *)&(b).group; \
        for (size_t i_ = 0; i_ < sizeof((a).group); i_++)                                   \
            if (a_[i_] != b_[i_])                                                           \
                fail_msg(#group " differs at byte %zu: %#x and %#x", i_, a_[i_], b_[i_]);   \
    } while (0)

/* A new vCPU is the same CPU on both. */
static void reset_state_is_the_same(void **state)
{
    (void)state;
    static struct vmlib_state k, s;
    vmlib_vm *kvm, *soft;
    vmlib_vcpu *a = cpu_on(VMLIB_BACKEND_KVM, &kvm), *b = cpu_on(VMLIB_BACKEND_SOFT, &soft);
    get(a, VMLIB_STATE_ALL, &k);
    get(b, VMLIB_STATE_ALL, &s);
    s.msrs.tsc = k.msrs.tsc;
    SAME(gpr, k, s);
    SAME(segments, k, s);
    SAME(control, k, s);
    SAME(debug, k, s);
    SAME(msrs, k, s);
    SAME(events, k, s);
    SAME(fpu, k, s);
    vmlib_vcpu_unref(a);
    vmlib_vcpu_unref(b);
    vmlib_vm_unref(kvm);
    vmlib_vm_unref(soft);
}

/* --- random legal states --- */

static struct vmlib_segment data_segment(void)
{
    uint32_t pages = (uint32_t)random64() & 0xfffff;
    bool big = random64() & 1;
    return (struct vmlib_segment){.base = (uint32_t)random64(),
                                  .limit = big ? pages << 12 | 0xfff : pages,
                                  .attributes = 0x93u | (big ? 0xc000u : 0x4000u) |
                                                (random64() & 1 ? 0x1000u : 0),
                                  .selector = (uint16_t)(random64() & 0xfff8)};
}

/* 32-bit protected mode, ring 0, or 64-bit mode. */
static void random_mode(struct vmlib_state *s)
{
    bool long64 = random64() & 1;
    s->control.cr0 = long64 ? 0x80010031 : 0x11 | (random64() & 0xe);
    s->control.cr2 = random64();
    s->control.cr3 = random64() & 0x7ffffff000;
    s->control.cr4 = long64 ? 0x620 : random64() & 0x600;
    s->control.efer = long64 ? 0xd00 | (random64() & 1) : 0;
    s->control.cr8 = random64() & 15;
    struct vmlib_segment *data[] = {&s->segments.es, &s->segments.ss, &s->segments.ds,
                                    &s->segments.fs, &s->segments.gs};
    for (unsigned i = 0; i < 5; i++)
        *data[i] = data_segment();
    s->segments.cs = (struct vmlib_segment){
        .limit = UINT32_MAX, .attributes = long64 ? 0xa09b : 0xc09b, .selector = 8};
    if (long64) {
        s->segments.fs.base = canonical();
        s->segments.gs.base = canonical();
    }
    s->segments.tr = (struct vmlib_segment){
        .base = (uint32_t)random64(), .limit = 0x67, .attributes = 0x8b, .selector = 0x18};
    s->segments.ldtr = (struct vmlib_segment){.base = (uint32_t)random64(),
                                              .limit = (uint16_t)random64(),
                                              .attributes = 0x82,
                                              .selector = 0x20};
    s->segments.gdtr = (struct vmlib_table){.base = canonical(), .limit = (uint16_t)random64()};
    s->segments.idtr = (struct vmlib_table){.base = canonical(), .limit = (uint16_t)random64()};
}

static void random_vectors(struct vmlib_state *s)
{
    uint32_t mxcsr = (uint32_t)random64() & 0xffff, mask = 0xffff;
    uint16_t fcw = (uint16_t)(0x40 | (random64() & 0xf3f)), fsw = (uint16_t)(random64() & 0x3800);
    memset(s->xsave.image, 0, sizeof(s->xsave.image));
    memcpy(s->xsave.image, &fcw, 2);
    memcpy(s->xsave.image + 2, &fsw, 2);
    s->xsave.image[4] = 0xff;
    memcpy(s->xsave.image + 24, &mxcsr, 4);
    memcpy(s->xsave.image + 28, &mask, 4);
    for (unsigned r = 0; r < 8; r++)
        for (unsigned i = 0; i < 10; i++)
            s->xsave.image[32 + 16 * r + i] = (uint8_t)random64();
    for (unsigned i = 160; i < 416; i++)
        s->xsave.image[i] = (uint8_t)random64();
    for (unsigned i = 576; s->xsave.features & 4 && i < 832; i++)
        s->xsave.image[i] = (uint8_t)random64();
    s->xsave.image[512] = (uint8_t)s->xsave.features;
    memcpy(s->fpu.image, s->xsave.image, 416);
}

static void random_msrs(struct vmlib_msrs *m)
{
    m->star = random64();
    m->lstar = canonical();
    m->cstar = canonical();
    m->fmask = (uint32_t)random64();
    m->kernel_gs_base = canonical();
    m->tsc_aux = (uint32_t)random64();
    m->sysenter_cs = (uint16_t)random64();
    m->sysenter_esp = canonical();
    m->sysenter_eip = canonical();
    m->pat = UINT64_C(0x0007040600070406) ^ (random64() & UINT64_C(0x0000000200000002));
    m->mtrr_def_type = 0xc06;
    m->mtrr_base[3] = 0x12340006;
    m->mtrr_mask[3] = 0x7ffff00800;
    m->mtrr_fixed[5] = UINT64_C(0x0606060606060606);
    m->mcg_status = random64() & 7;
}

static struct vmlib_event random_event(void)
{
    struct vmlib_event e = VMLIB_EVENT_INIT;
    switch (random64() % 6) {
    case 0:
        e.type = VMLIB_EVENT_INTERRUPT;
        e.vector = 32 + random64() % 200;
        break;
    case 1:
        e.type = VMLIB_EVENT_EXCEPTION;
        e.vector = 14;
        e.flags = VMLIB_EVENT_HAS_ERROR | VMLIB_EVENT_HAS_ADDRESS;
        e.error_code = 2;
        e.address = canonical();
        break;
    case 2:
        e.type = VMLIB_EVENT_SOFTWARE_INT;
        e.vector = (uint8_t)random64();
        e.insn_len = 2;
        break;
    case 3:
        e.type = VMLIB_EVENT_EXCEPTION;
        e.vector = 6;
        break;
    case 4:
        e.type = VMLIB_EVENT_NMI;
        e.vector = 2;
        break;
    default:
        break;
    }
    return e;
}

static void random_state(struct vmlib_state *s)
{
    for (unsigned i = 0; i < 16; i++)
        (&s->gpr.rax)[i] = random64();
    s->gpr.rip = (uint32_t)random64();
    s->gpr.rflags = 2 | (random64() & 0x40ed5);
    random_mode(s);
    for (unsigned i = 0; i < 4; i++)
        s->debug.dr[i] = canonical();
    s->debug.dr6 = 0xffff0ff0 | (random64() & 0xe00f);
    s->debug.dr7 = 0x400 | (random64() & 0x3ff);
    random_msrs(&s->msrs);
    random_vectors(s);
    memset(&s->events, 0, sizeof(s->events));
    s->events.flags = random64() & (VMLIB_EVENTS_NMI_BLOCKED | VMLIB_EVENTS_HALTED);
    s->events.flags |= random64() & 1   ? VMLIB_EVENTS_SHADOW_STI
                       : random64() & 1 ? VMLIB_EVENTS_SHADOW_MOVSS
                                        : 0;
    s->events.injected = random_event();
}

static void same(const struct vmlib_state *a, struct vmlib_state *b)
{
    b->msrs.tsc = a->msrs.tsc; /* goes on */
    SAME(gpr, *a, *b);
    SAME(segments, *a, *b);
    SAME(control, *a, *b);
    SAME(debug, *a, *b);
    SAME(msrs, *a, *b);
    SAME(events, *a, *b);
    SAME(fpu, *a, *b);
    SAME(xsave, *a, *b);
}

static void random_states_survive(void **state)
{
    (void)state;
    static struct vmlib_state in, out;
    vmlib_vm *vm;
    vmlib_vcpu *vcpu = cpu_on(VMLIB_BACKEND_KVM, &vm);
    get(vcpu, VMLIB_STATE_ALL, &in);
    for (unsigned n = 0; n < 100; n++) {
        random_state(&in);
        OK(vmlib_vcpu_set_state(vcpu, VMLIB_STATE_ALL, &in));
        get(vcpu, VMLIB_STATE_ALL, &out);
        same(&in, &out);
    }
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
}

/* Each group alone leaves the others as they are. */
static void groups_are_independent(void **state)
{
    (void)state;
    static struct vmlib_state in, other, out;
    vmlib_vm *vm;
    vmlib_vcpu *vcpu = cpu_on(VMLIB_BACKEND_KVM, &vm);
    get(vcpu, VMLIB_STATE_ALL, &in);
    get(vcpu, VMLIB_STATE_ALL, &other);
    random_state(&in);
    OK(vmlib_vcpu_set_state(vcpu, VMLIB_STATE_ALL, &in));
    for (unsigned n = 0; n < 50; n++) {
        random_state(&other);
        OK(vmlib_vcpu_set_state(vcpu, VMLIB_STATE_GPR, &other));
        in.gpr = other.gpr;
        OK(vmlib_vcpu_set_state(vcpu, VMLIB_STATE_DEBUG, &other));
        in.debug = other.debug;
        OK(vmlib_vcpu_set_state(vcpu, VMLIB_STATE_EVENTS, &other));
        in.events = other.events;
        OK(vmlib_vcpu_set_state(vcpu, VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL, &other));
        in.segments = other.segments;
        in.control = other.control;
        OK(vmlib_vcpu_set_state(vcpu, VMLIB_STATE_FPU, &other));
        memcpy(in.xsave.image, other.fpu.image, 416);
        in.fpu = other.fpu;
        get(vcpu, VMLIB_STATE_ALL, &out);
        same(&in, &out);
    }
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
}

/* A value that is refused changes nothing at all. */
static void refusals_change_nothing(void **state)
{
    (void)state;
    static struct vmlib_state in, bad, out;
    vmlib_vm *vm;
    vmlib_vcpu *vcpu = cpu_on(VMLIB_BACKEND_KVM, &vm);
    get(vcpu, VMLIB_STATE_ALL, &in);
    random_state(&in);
    OK(vmlib_vcpu_set_state(vcpu, VMLIB_STATE_ALL, &in));
    for (unsigned n = 0; n < 6; n++) {
        bad = in;
        random_state(&bad);
        switch (n) {
        case 0:
            bad.control.cr0 = 0x80000000; /* PG without PE */
            break;
        case 1:
            bad.control.cr4 |= 0x2000; /* VMXE */
            break;
        case 2:
            bad.msrs.lstar = UINT64_C(0x8000000000000000);
            break;
        case 3:
            bad.msrs.pat = 2;
            break;
        case 4:
            bad.debug.dr7 = UINT64_C(1) << 40;
            break;
        default:
            bad.control.xcr0 = 4;
            break;
        }
        assert_int_equal(vmlib_vcpu_set_state(vcpu, VMLIB_STATE_ALL, &bad), VMLIB_E_INVAL);
        assert_true(strlen(vmlib_last_error()) > 0);
        get(vcpu, VMLIB_STATE_ALL, &out);
        same(&in, &out);
    }
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
}

/* The model that KVM answers is the one that was set, and can be set again. */
static void cpuid_model_survives(void **state)
{
    (void)state;
    struct vmlib_cpuid_leaf a[VMLIB_CPUID_MAX], b[VMLIB_CPUID_MAX];
    uint32_t n = VMLIB_CPUID_MAX, m = VMLIB_CPUID_MAX;
    vmlib_vm *vm;
    vmlib_vcpu *vcpu = cpu_on(VMLIB_BACKEND_KVM, &vm);
    OK(vmlib_vcpu_get_cpuid(vcpu, a, &n));
    assert_true(n > 10);
    OK(vmlib_vcpu_set_cpuid(vcpu, a, n));
    OK(vmlib_vcpu_get_cpuid(vcpu, b, &m));
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n * sizeof(a[0]));
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
}

/* Instructions that KVM cannot offer are refused, not promised. */
static void cpuid_model_is_checked(void **state)
{
    (void)state;
    struct vmlib_cpuid_leaf a[VMLIB_CPUID_MAX];
    uint32_t n = VMLIB_CPUID_MAX;
    vmlib_vm *vm;
    vmlib_vcpu *vcpu = cpu_on(VMLIB_BACKEND_KVM, &vm);
    OK(vmlib_vcpu_get_cpuid(vcpu, a, &n));
    for (uint32_t i = 0; i < n; i++)
        if (a[i].leaf == 1)
            a[i].ecx |= 1u << 5; /* VMX: no nested guests here */
        else if (a[i].leaf == 7 && a[i].subleaf == 0)
            a[i].ebx |= 1u << 11; /* RTM */
    assert_int_equal(vmlib_vcpu_set_cpuid(vcpu, a, n), VMLIB_E_UNSUPPORTED);
    assert_non_null(strstr(vmlib_last_error(), "leaf"));
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(reset_state_is_the_same), cmocka_unit_test(random_states_survive),
    cmocka_unit_test(groups_are_independent),  cmocka_unit_test(refusals_change_nothing),
    cmocka_unit_test(cpuid_model_survives),    cmocka_unit_test(cpuid_model_is_checked),
};
MAIN(tests)
