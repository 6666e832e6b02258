/* MSRs and interrupts: the same as on the software backend, and nothing lost when other threads
 * raise lines. */
#include <pthread.h>
#include <stdatomic.h>

#include "kvm_world.h"

/* RDMSR of ECX, then the port tells that it went through; #GP leads to the other port. */
GUEST(read_msr, "rdmsr\n"
                "out %al, $0x10\n"
                "hlt");
GUEST(write_msr, "wrmsr\n"
                 "rdmsr\n"
                 "out %al, $0x10\n"
                 "hlt");
GUEST(gp_handler, "out %al, $0x13\n"
                  "hlt");

static void create_on(struct world *w, uint32_t backend, uint32_t policy)
{
    struct vmlib_vm_config c = VMLIB_VM_CONFIG_INIT;
    void *host;
    memset(w, 0, sizeof(*w));
    c.backends[0] = backend;
    c.msr_policy = policy;
    OK(vmlib_vm_create(&c, &w->vm));
    w->ram = world_region(w, 0, DEVICE, 0, NULL);
    OK(vmlib_region_host(w->ram, &host));
    w->mem = host;
    OK(vmlib_vcpu_create(w->vm, NULL, &w->vcpu[0]));
    const uint8_t vector[4] = {0x00, 0x20, 0x00, 0x00};
    OK(vmlib_vm_write(w->vm, 13 * 4, vector, 4));
    OK(vmlib_vm_write(w->vm, 0x2000, gp_handler, (uint64_t)(gp_handler_end - gp_handler)));
}

static void set(struct world *w, uint32_t reg, uint64_t value)
{
    OK(vmlib_vcpu_set_reg(w->vcpu[0], reg, value));
}

/* What the guest sees: true with the value, or #GP. */
static bool guest_reads(struct world *w, uint32_t index, uint64_t *value)
{
    LOAD(w, read_msr);
    set(w, VMLIB_REG_RCX, index);
    struct vmlib_exit e = world_expect(w, VMLIB_EXIT_PIO);
    *value = (world_reg(w, VMLIB_REG_RAX) & UINT32_MAX) | world_reg(w, VMLIB_REG_RDX) << 32;
    return e.u.pio.port == 0x10;
}

static bool guest_writes(struct world *w, uint32_t index, uint64_t value, uint64_t *back)
{
    LOAD(w, write_msr);
    set(w, VMLIB_REG_RCX, index);
    set(w, VMLIB_REG_RAX, value & UINT32_MAX);
    set(w, VMLIB_REG_RDX, value >> 32);
    struct vmlib_exit e = world_expect(w, VMLIB_EXIT_PIO);
    *back = (world_reg(w, VMLIB_REG_RAX) & UINT32_MAX) | world_reg(w, VMLIB_REG_RDX) << 32;
    return e.u.pio.port == 0x10;
}

/* Known to KVM, to lib/x86, to both, to nobody; with and without a CPUID bit; x2APIC and
 * paravirtual ranges, which the kernel would like to answer itself. */
static const uint32_t indices[] = {
    0x0,        0x1,        0x11,       0x12,       0x17,       0x1b,       0x34,       0x3a,
    0x3b,       0x79,       0x8b,       0xc1,       0xce,       0xe7,       0xfe,       0x10a,
    0x122,      0x140,      0x174,      0x175,      0x176,      0x179,      0x17a,      0x186,
    0x198,      0x1a0,      0x1d9,      0x1db,      0x200,      0x207,      0x250,      0x26f,
    0x277,      0x2ff,      0x345,      0x38f,      0x400,      0x6e0,      0x802,      0x80b,
    0x83f,      0xda0,      0x40000000, 0x4b564d00, 0x4b564d01, 0x4b564d05, 0xc0000080, 0xc0000081,
    0xc0000082, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0010015, 0xc0010117, 0xc001011f,
    0x12345678};
#define NINDICES (sizeof(indices) / sizeof(indices[0]))

static void guests_see_the_same_msrs(void **state)
{
    (void)state;
    struct world k, s;
    create_on(&k, VMLIB_BACKEND_KVM, VMLIB_MSR_FAULT);
    create_on(&s, VMLIB_BACKEND_SOFT, VMLIB_MSR_FAULT);
    for (size_t i = 0; i < NINDICES; i++) {
        uint64_t a = 0, b = 0;
        bool on_kvm = guest_reads(&k, indices[i], &a), on_soft = guest_reads(&s, indices[i], &b);
        if (on_kvm != on_soft || (on_kvm && a != b))
            fail_msg("MSR %#x: KVM %s %#llx, soft %s %#llx", indices[i], on_kvm ? "reads" : "#GP",
                     (unsigned long long)a, on_soft ? "reads" : "#GP", (unsigned long long)b);
    }
    world_destroy(&k);
    world_destroy(&s);
}

static void guests_write_the_same_msrs(void **state)
{
    (void)state;
    static const struct {
        uint32_t index;
        uint64_t value;
    } writes[] = {{0x2ff, 0xc06},
                  {0x2ff, 0xffff},
                  {0x200, 0x12340006},
                  {0x201, UINT64_MAX},
                  {0x250, UINT64_C(0x0606060606060606)},
                  {0x277, UINT64_C(0x0007040600070406)},
                  {0x277, 2},
                  {0x174, 0x10},
                  {0x175, UINT64_C(0xffff800000001234)},
                  {0x17a, 4},
                  {0x1d9, 0},
                  {0x3a, 5},
                  {0xc0000081, UINT64_C(0x0023001000000000)},
                  {0xc0000082, UINT64_C(0xffffffff81000000)},
                  {0xc0000100, 0x1000},
                  {0xc0000102, UINT64_C(0xffff888000000000)},
                  {0x8b, 0},
                  {0x1b, 0xfee00900},
                  {0x4b564d01, 0x3000}};
    struct world k, s;
    create_on(&k, VMLIB_BACKEND_KVM, VMLIB_MSR_FAULT);
    create_on(&s, VMLIB_BACKEND_SOFT, VMLIB_MSR_FAULT);
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        uint64_t a = 0, b = 0;
        bool on_kvm = guest_writes(&k, writes[i].index, writes[i].value, &a);
        bool on_soft = guest_writes(&s, writes[i].index, writes[i].value, &b);
        if (on_kvm != on_soft || (on_kvm && a != b))
            fail_msg("MSR %#x: KVM %s %#llx, soft %s %#llx", writes[i].index,
                     on_kvm ? "has" : "#GP", (unsigned long long)a, on_soft ? "has" : "#GP",
                     (unsigned long long)b);
    }
    world_destroy(&k);
    world_destroy(&s);
}

static int answer_msr(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)vcpu;
    ++*(unsigned *)opaque;
    if (exit->u.msr.write)
        return VMLIB_PASS;
    exit->u.msr.value = 0x1122334455667788;
    return VMLIB_HANDLED;
}

/* A handler for a register that KVM otherwise keeps without an exit, and its end. */
static void handlers_come_and_go(void **state)
{
    (void)state;
    struct world w;
    struct vmlib_handler_config c = VMLIB_HANDLER_CONFIG_INIT;
    vmlib_handler *h;
    unsigned calls = 0;
    uint64_t value = 0;
    create_on(&w, VMLIB_BACKEND_KVM, VMLIB_MSR_FAULT);
    c.kind = VMLIB_HANDLER_MSR;
    c.first = c.last = 0xc0000082;
    c.fn = answer_msr;
    c.opaque = &calls;
    for (unsigned round = 1; round <= 3; round++) {
        OK(vmlib_handler_add(w.vm, &c, &h));
        assert_true(guest_writes(&w, 0xc0000082, 0x1000 + round, &value));
        assert_true(value == 0x1122334455667788);
        assert_int_equal(calls, 2 * round);
        assert_true(guest_writes(&w, 0xc0000081, round, &value)); /* its neighbour is not watched */
        assert_int_equal(value, round);
        assert_int_equal(calls, 2 * round);
        OK(vmlib_handler_remove(h));
        vmlib_handler_unref(h);
        assert_true(guest_reads(&w, 0xc0000082, &value));
        assert_int_equal(value, 0x1000 + round); /* the write had passed */
    }
    world_destroy(&w);
}

static void unknown_msrs_exit(void **state)
{
    (void)state;
    struct world w;
    uint64_t value = 0x55;
    create_on(&w, VMLIB_BACKEND_KVM, VMLIB_MSR_EXIT);
    for (size_t i = 0; i < 3; i++) {
        static const uint32_t unknown[] = {0x12345678, 0x1b, 0x4b564d01};
        LOAD(&w, read_msr);
        set(&w, VMLIB_REG_RCX, unknown[i]);
        struct vmlib_exit e = world_expect(&w, VMLIB_EXIT_MSR);
        assert_int_equal(e.u.msr.index, unknown[i]);
        assert_int_equal(e.u.msr.known, 0);
        OK(vmlib_vcpu_complete(w.vcpu[0], &value, 8));
        assert_int_equal(world_expect(&w, VMLIB_EXIT_PIO).u.pio.port, 0x10);
        assert_int_equal(world_reg(&w, VMLIB_REG_RAX), 0x55);
    }
    world_destroy(&w);
}

/* --- interrupts from another thread --- */

/* Count interrupts at 0x3000 while the rest of the guest spins. */
GUEST(spin_open, "sti\n"
                 "1: inc %eax\n"
                 "jmp 1b");
GUEST(count_handler, "incl %cs:0x3000\n"
                     "iretw");

struct line {
    struct world *w;
    _Atomic unsigned raised, taken;
    unsigned total;
};

static int acknowledge(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct line *l = opaque;
    OK(vmlib_vcpu_set_intr(vcpu, 0));
    atomic_fetch_add(&l->taken, 1);
    exit->u.interrupt.vector = 0x40;
    return VMLIB_HANDLED;
}

static void *raise_lines(void *opaque)
{
    struct line *l = opaque;
    for (unsigned i = 0; i < l->total; i++) {
        while (atomic_load(&l->taken) != i)
            ;
        vmlib_vcpu_set_intr(l->w->vcpu[0], 1);
    }
    while (atomic_load(&l->taken) != l->total)
        ;
    vmlib_vcpu_cancel(l->w->vcpu[0]);
    return NULL;
}

static void no_interrupt_is_lost(void **state)
{
    (void)state;
    struct world w;
    struct line l = {.w = &w, .total = 500};
    struct vmlib_handler_config c = VMLIB_HANDLER_CONFIG_INIT;
    pthread_t t;
    uint32_t counted = 0;
    world_create(&w, 1);
    const uint8_t vector[4] = {0x00, 0x20, 0x00, 0x00};
    OK(vmlib_vm_write(w.vm, 0x40 * 4, vector, 4));
    OK(vmlib_vm_write(w.vm, 0x2000, count_handler, (uint64_t)(count_handler_end - count_handler)));
    c.kind = VMLIB_HANDLER_INTACK;
    c.fn = acknowledge;
    c.opaque = &l;
    OK(vmlib_handler_add(w.vm, &c, NULL));
    LOAD(&w, spin_open);
    assert_int_equal(pthread_create(&t, NULL, raise_lines, &l), 0);
    assert_int_equal(world_run(&w, 0, 0).reason, VMLIB_EXIT_CANCELLED);
    pthread_join(t, NULL);
    /* the last one may still be on its way to the guest */
    assert_int_equal(world_run(&w, 0, 5000000).reason, VMLIB_EXIT_DEADLINE);
    OK(vmlib_vm_read(w.vm, 0x3000, &counted, 4));
    assert_int_equal(counted, l.total);
    world_destroy(&w);
}

/* An event that has been taken from core but not delivered is still part of the state. */
static void state_has_what_is_on_its_way(void **state)
{
    (void)state;
    struct world w;
    struct vmlib_state s;
    world_create(&w, 1);
    LOAD(&w, spin_open);
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(w.vcpu[0], VMLIB_STATE_EVENTS, &s));
    s.events.flags |= VMLIB_EVENTS_NMI_BLOCKED;
    OK(vmlib_vcpu_set_state(w.vcpu[0], VMLIB_STATE_EVENTS, &s));
    OK(vmlib_vcpu_nmi(w.vcpu[0]));
    for (unsigned i = 0; i < 3; i++) { /* KVM has it, the guest cannot take it */
        assert_int_equal(world_run(&w, 0, 1000000).reason, VMLIB_EXIT_DEADLINE);
        OK(vmlib_vcpu_get_state(w.vcpu[0], VMLIB_STATE_EVENTS, &s));
        assert_int_equal(s.events.flags & VMLIB_EVENTS_NMI_PENDING, VMLIB_EVENTS_NMI_PENDING);
        assert_int_equal(s.events.flags & VMLIB_EVENTS_NMI_BLOCKED, VMLIB_EVENTS_NMI_BLOCKED);
    }
    world_destroy(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(guests_see_the_same_msrs), cmocka_unit_test(guests_write_the_same_msrs),
    cmocka_unit_test(handlers_come_and_go),     cmocka_unit_test(unknown_msrs_exit),
    cmocka_unit_test(no_interrupt_is_lost),     cmocka_unit_test(state_has_what_is_on_its_way),
};
MAIN(tests)
