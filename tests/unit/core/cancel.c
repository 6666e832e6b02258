/*
 * Cancel: every request is answered by exactly one CANCELLED exit, requests for a finished run by
 * none, and no request is lost in any race.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

#include "fixture.h"

struct world {
    vmlib_vm *vm;
    vmlib_vcpu *vcpu;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    w->vm = mock_vm();
    w->vcpu = mock_vcpu(w->vm, 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    vmlib_vcpu_unref(w->vcpu);
    vmlib_vm_unref(w->vm);
    free(w);
    return 0;
}

static void before_run_is_sticky(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    OK(vmlib_vcpu_cancel(vcpu));
    OK(vmlib_vcpu_cancel(vcpu)); /* merged */
    struct vmlib_exit e = run_to(vcpu, VMLIB_EXIT_CANCELLED);
    assert_int_equal(e.instructions, 0);
    run_to(vcpu, VMLIB_EXIT_HLT);
}

static void of_a_numbered_run(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    uint64_t next = vmlib_vcpu_generation(vcpu);
    FAILS(VMLIB_E_INVAL, "generation", vmlib_vcpu_cancel_run(vcpu, next + 1));
    OK(vmlib_vcpu_cancel_run(vcpu, next)); /* the next run, before it starts */
    assert_int_equal(run_to(vcpu, VMLIB_EXIT_CANCELLED).generation, next);
    OK(vmlib_vcpu_cancel_run(vcpu, next)); /* too late: no effect on others */
    run_to(vcpu, VMLIB_EXIT_HLT);
    OK(vmlib_vcpu_cancel_run(vcpu, 0));
    run_to(vcpu, VMLIB_EXIT_HLT);
    next = vmlib_vcpu_generation(vcpu);
    OK(vmlib_vcpu_cancel_run(vcpu, next));
    OK(vmlib_vcpu_cancel(vcpu)); /* both hit the same run: one answer */
    run_to(vcpu, VMLIB_EXIT_CANCELLED);
    run_to(vcpu, VMLIB_EXIT_HLT);
}

static int cancel_inside(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)opaque, (void)exit;
    OK(vmlib_vcpu_cancel(vcpu));
    return VMLIB_HANDLED;
}

static void inside_a_handler(void **state)
{
    struct world *w = *state;
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    config.fn = cancel_inside;
    OK(vmlib_handler_add(w->vm, &config, NULL));
    push_pio(w->vcpu, 0, 1, 0);
    push_action(w->vcpu, VMLIB_MOCK_SPIN, 0);
    struct vmlib_exit e = run_to(w->vcpu, VMLIB_EXIT_CANCELLED);
    assert_int_equal(e.instructions, 1);
    assert_int_equal(e.rip, 0xfff1);
}

static void records_come_first(void **state)
{
    struct world *w = *state;
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    config.fn = cancel_inside;
    OK(vmlib_handler_add(w->vm, &config, NULL));
    push_pio(w->vcpu, 0, 1, 0);
    push_pio(w->vcpu, 9, 1, 0);
    run_to(w->vcpu, VMLIB_EXIT_CANCELLED);
    OK(vmlib_vcpu_cancel(w->vcpu));
    run_to(w->vcpu, VMLIB_EXIT_CANCELLED);
    run_to(w->vcpu, VMLIB_EXIT_PIO); /* nothing was lost */
}

static vmlib_vcpu *signal_vcpu;

static void on_alarm(int number)
{
    (void)number;
    vmlib_vcpu_cancel(signal_vcpu);
}

static void from_a_signal_handler(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    struct sigaction action = {.sa_handler = on_alarm}, old;
    struct itimerval timer = {{0, 0}, {0, 2000}};
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    signal_vcpu = vcpu;
    sigaction(SIGALRM, &action, &old);
    push_action(vcpu, VMLIB_MOCK_SPIN, 0);
    setitimer(ITIMER_REAL, &timer, NULL);
    run_to(vcpu, VMLIB_EXIT_CANCELLED); /* of a busy guest */
    vmlib_vcpu *halted = mock_vcpu(((struct world *)*state)->vm, 1);
    signal_vcpu = halted;
    setitimer(ITIMER_REAL, &timer, NULL);
    args.flags = VMLIB_RUN_WAIT_IN_HLT;
    OK(vmlib_vcpu_run(halted, &args, &e)); /* of a sleeping one */
    assert_int_equal(e.reason, VMLIB_EXIT_CANCELLED);
    sigaction(SIGALRM, &old, NULL);
    vmlib_vcpu_unref(halted);
}

/* --- stress --- */

struct race {
    vmlib_vcpu *vcpu;
    unsigned long rounds;
    uint32_t flags;
    _Atomic unsigned long asked;    /* cancels begun */
    _Atomic unsigned long answered; /* CANCELLED exits seen */
    _Atomic int done;
    unsigned long others;
};

/*
 * Requests come in bursts; after each burst the canceller waits until the last one has been
 * answered. A lost request hangs the test, an answer without a request makes the counts differ.
 */
static void *canceller(void *arg)
{
    struct race *r = arg;
    uint32_t random = 1;
    unsigned long sent = 0;
    while (sent < r->rounds) {
        random = random * 1664525 + 1013904223;
        unsigned burst = 1 + (random >> 26);
        unsigned long before = 0;
        for (unsigned i = 0; i < burst; i++) {
            before = atomic_load(&r->answered);
            atomic_store(&r->asked, ++sent);
            vmlib_vcpu_cancel(r->vcpu);
        }
        for (unsigned spins = 0; atomic_load(&r->answered) <= before; spins++) {
            if (spins > 100) {
                sched_yield();
            }
        }
    }
    atomic_store(&r->done, 1);
    atomic_store(&r->asked, sent + 1);
    vmlib_vcpu_cancel(r->vcpu); /* the vCPU may be running again */
    return NULL;
}

static void race(struct race *r, uint64_t budget)
{
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    pthread_t thread;
    args.flags = r->flags;
    args.budget = budget;
    assert_int_equal(pthread_create(&thread, NULL, canceller, r), 0);
    do {
        OK(vmlib_vcpu_run(r->vcpu, &args, &e));
        if (e.reason == VMLIB_EXIT_CANCELLED) {
            unsigned long answered = atomic_fetch_add(&r->answered, 1) + 1;
            assert_true(answered <= atomic_load(&r->asked));
        } else {
            r->others++;
        }
    } while (!atomic_load(&r->done));
    pthread_join(thread, NULL);
    /* The last request may have come between two runs: at most one is left. */
    args.flags = 0;
    args.budget = 1;
    OK(vmlib_vcpu_run(r->vcpu, &args, &e));
    OK(vmlib_vcpu_run(r->vcpu, &args, &e));
    assert_int_not_equal(e.reason, VMLIB_EXIT_CANCELLED);
}

static void stress_busy_guest(void **state)
{
    struct race r = {.vcpu = ((struct world *)*state)->vcpu, .rounds = scaled(400000)};
    push_action(r.vcpu, VMLIB_MOCK_SPIN, 0);
    race(&r, 0);
    assert_int_equal(r.others, 0);
}

static void stress_short_runs(void **state)
{
    struct race r = {.vcpu = ((struct world *)*state)->vcpu, .rounds = scaled(400000)};
    push_action(r.vcpu, VMLIB_MOCK_SPIN, 0);
    race(&r, 3); /* the run often ends for its budget at the same moment */
}

static void stress_halted(void **state)
{
    struct race r = {.vcpu = ((struct world *)*state)->vcpu,
                     .rounds = scaled(200000),
                     .flags = VMLIB_RUN_WAIT_IN_HLT};
    race(&r, 0);
    assert_int_equal(r.others, 0);
}

/* Cancels of numbered runs: never answered by another run. */
static void *numbered_canceller(void *arg)
{
    struct race *r = arg;
    while (!atomic_load(&r->done)) {
        vmlib_vcpu_cancel_run(r->vcpu, atomic_load(&r->asked));
    }
    return NULL;
}

static void stress_numbered(void **state)
{
    struct race r = {.vcpu = ((struct world *)*state)->vcpu, .rounds = scaled(20000)};
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    pthread_t thread;
    args.budget = 20;
    push_action(r.vcpu, VMLIB_MOCK_SPIN, 0);
    assert_int_equal(pthread_create(&thread, NULL, numbered_canceller, &r), 0);
    for (unsigned long i = 0; i < r.rounds; i++) {
        int target = i % 2 == 0;
        if (target) {
            atomic_store(&r.asked, vmlib_vcpu_generation(r.vcpu));
            args.budget = 0; /* only the cancel ends it */
        } else {
            args.budget = 20; /* a late cancel of the run before may come now */
        }
        OK(vmlib_vcpu_run(r.vcpu, &args, &e));
        assert_int_equal(e.reason, target ? VMLIB_EXIT_CANCELLED : VMLIB_EXIT_BUDGET);
    }
    atomic_store(&r.done, 1);
    pthread_join(thread, NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(before_run_is_sticky), CASE(of_a_numbered_run),     CASE(inside_a_handler),
        CASE(records_come_first),   CASE(from_a_signal_handler), CASE(stress_busy_guest),
        CASE(stress_short_runs),    CASE(stress_halted),         CASE(stress_numbered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
