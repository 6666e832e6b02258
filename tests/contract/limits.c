/* doc/exit-contract.md, section 6: budget, deadline, cancel. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "world.h"

/* Loops, memory, stack, a call, a string instruction. */
GUEST(g_mix,
      "movw $3, %bx; 1: movw $0x3000, %di; movw $4, %cx; rep stosb; pushw %di; call 2f; popw %di;"
      "decw %bx; jnz 1b; hlt; 2: incw 0x4000; ret");

static void s6_1_every_budget(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_BUDGET);
    uint64_t rip[64];
    unsigned total = 0;
    LOAD(w, g_mix);
    for (; total < 64; total++) { /* step by step: rip after n instructions */
        rip[total] = world_reg(w, VMLIB_REG_RIP);
        struct vmlib_exit e = world_run_with(w, 0, 0, 1);
        if (e.reason == VMLIB_EXIT_HLT) {
            break;
        }
        assert_int_equal(e.reason, VMLIB_EXIT_BUDGET);
        world_counted(&e, 1);
    }
    assert_true(total > 20 && total < 64);
    for (unsigned n = 1; n <= total; n++) {
        struct vmlib_state s;
        s.size = sizeof(s);
        LOAD(w, g_mix);
        OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
        s.events.flags = 0;
        OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
        struct vmlib_exit e = world_run_with(w, 0, 0, n);
        assert_int_equal(e.reason, VMLIB_EXIT_BUDGET);
        world_counted(&e, n);
        assert_int_equal(e.flags & VMLIB_EXIT_F_OVERSHOT, 0);
        assert_int_equal(e.rip, rip[n]);
        assert_int_equal(world_reg(w, VMLIB_REG_RIP), rip[n]);
    }
}

/* With interrupts on: Bochs (tests/rig) lets no external interrupt end a guest that holds them off.
 */
GUEST(g_spin, "sti; 1: incl %eax; jmp 1b");

static void s6_2_deadline(void **state)
{
    struct world *w = *state;
    uint64_t before, after;
    LOAD(w, g_spin);
    OK(vmlib_vm_clock(w->vm, &before));
    struct vmlib_exit e = world_run_with(w, 0, 3000000, 0);
    OK(vmlib_vm_clock(w->vm, &after));
    assert_int_equal(e.reason, VMLIB_EXIT_DEADLINE);
    assert_true(after - before >= 3000000);
    if (world_support(VMLIB_FEATURE_INSN_COUNT) >= VMLIB_SUPPORT_EMULATED) {
        assert_true(e.instructions > 1000);
    }
}

static void s6_2_deterministic_deadline(void **state)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    (void)state;
    world_need(VMLIB_FEATURE_DETERMINISTIC);
    config.time_mode = VMLIB_TIME_DETERMINISTIC;
    struct world *d = world_create(&config);
    LOAD(d, g_spin);
    uint64_t now = 0;
    for (uint64_t n = 1; n < 5000; n = n * 3 + 1) {
        struct vmlib_exit e = world_run_with(d, 0, n, 0);
        assert_int_equal(e.reason, VMLIB_EXIT_DEADLINE);
        world_counted(&e, n);
        now += n;
        uint64_t clock = 0;
        OK(vmlib_vm_clock(d->vm, &clock));
        assert_int_equal(clock, now);
    }
    world_destroy(d);
}

static void s6_3_sticky(void **state)
{
    struct world *w = *state;
    LOAD(w, g_spin);
    OK(vmlib_vcpu_cancel(w->vcpu));
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_CANCELLED);
    world_counted(&e, 0);
    assert_int_equal(world_run_with(w, 0, 1000000, 0).reason, VMLIB_EXIT_DEADLINE);
}

struct race {
    vmlib_vcpu *vcpu;
    unsigned rounds;
    _Atomic unsigned answered;
};

static void *canceller(void *arg)
{
    struct race *r = arg;
    for (unsigned i = 0; i < r->rounds; i++) {
        vmlib_vcpu_cancel(r->vcpu);
        while (atomic_load(&r->answered) <= i) {
            sched_yield();
        }
    }
    return NULL;
}

/* A lost cancel hangs (the test's time limit ends it), a double answer shows at the end. */
static void s6_3_race(void **state)
{
    struct world *w = *state;
    struct race r = {.vcpu = w->vcpu, .rounds = 5000};
    pthread_t thread;
    LOAD(w, g_spin);
    assert_int_equal(pthread_create(&thread, NULL, canceller, &r), 0);
    while (atomic_load(&r.answered) < r.rounds) {
        struct vmlib_exit e = world_run_with(w, 0, 0, 0);
        assert_int_equal(e.reason, VMLIB_EXIT_CANCELLED);
        atomic_fetch_add(&r.answered, 1);
    }
    pthread_join(thread, NULL);
    assert_int_equal(world_run_with(w, 0, 1000000, 0).reason, VMLIB_EXIT_DEADLINE);
}

/* The map changes under a running guest. */
GUEST(g_touch, "sti; 1: addr32 movb %al, 0xa0000; addr32 movb 0xa0001, %bl; jmp 1b");

static int device(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)vcpu, (void)exit;
    atomic_fetch_add((_Atomic unsigned long *)opaque, 1);
    return VMLIB_HANDLED;
}

static void *runner(void *arg)
{
    struct world *w = arg;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    int rc = vmlib_vcpu_run(w->vcpu, NULL, &e);
    return rc == 0 && e.reason == VMLIB_EXIT_CANCELLED ? NULL : w;
}

static void s3_4_map_changes_under_the_guest(void **state)
{
    struct world *w = *state;
    _Atomic unsigned long calls = 0;
    pthread_t thread;
    void *failed = NULL;
    LOAD(w, g_touch);
    world_handler(w, VMLIB_HANDLER_MMIO, HOLE, HOLE + 0xfff, device, &calls);
    assert_int_equal(pthread_create(&thread, NULL, runner, w), 0);
    while (atomic_load(&calls) == 0) {
        sched_yield();
    }
    for (unsigned i = 0; i < 500; i++) {
        struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
        vmlib_region *r = NULL;
        config.gpa = HOLE;
        config.bytes = VMLIB_PAGE_SIZE;
        OK(vmlib_region_create(w->vm, &config, &r));
        unsigned long before = atomic_load(&calls);
        sched_yield();
        /* It is memory now; a handler that had been called before may still be at work. */
        assert_true(atomic_load(&calls) - before <= 1);
        OK(vmlib_region_remove(r));
        vmlib_region_unref(r); /* unmapped: an access now would crash */
        before = atomic_load(&calls);
        while (atomic_load(&calls) == before) {
            sched_yield();
        }
    }
    OK(vmlib_vcpu_cancel(w->vcpu));
    pthread_join(thread, &failed);
    assert_null(failed);
}

static void sleep_in_hlt_until_the_deadline(void **state)
{
    struct world *w = *state;
    uint8_t hlt = 0xf4;
    world_load(w, &hlt, &hlt + 1);
    struct vmlib_exit e = world_run_with(w, VMLIB_RUN_WAIT_IN_HLT, 1000000, 0);
    assert_int_equal(e.reason, VMLIB_EXIT_DEADLINE);
    world_counted(&e, 1);
}

static const struct CMUnitTest tests[] = {
    CASE(s6_1_every_budget),
    CASE(s6_2_deadline),
    CASE(s6_2_deterministic_deadline),
    CASE(s6_3_sticky),
    CASE(s6_3_race),
    CASE(s3_4_map_changes_under_the_guest),
    CASE(sleep_in_hlt_until_the_deadline),
};
MAIN(tests)
