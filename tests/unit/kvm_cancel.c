/* Getting a vCPU out of KVM_RUN: cancels from threads and signal handlers, deadlines, nothing lost
 * and nothing left behind. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>

#include "kvm_world.h"

/* With interrupts on: Bochs (tests/rig) lets no external interrupt end a guest that holds them off.
 */
GUEST(spin, "sti\n"
            "1: jmp 1b");
GUEST(out_forever, "1: out %al, $0x10\n"
                   "jmp 1b");

/* --- one cancel, one answer --- */

struct storm {
    vmlib_vcpu *vcpu;
    _Atomic uint64_t answers; /* records seen by the runner */
    _Atomic bool stop;
};

/* Cancel, wait for the answer, again. */
static void *one_by_one(void *opaque)
{
    struct storm *s = opaque;
    for (unsigned i = 0; i < 300; i++) {
        uint64_t seen = atomic_load(&s->answers);
        vmlib_vcpu_cancel(s->vcpu);
        while (atomic_load(&s->answers) == seen)
            ;
    }
    atomic_store(&s->stop, true);
    vmlib_vcpu_cancel(s->vcpu);
    return NULL;
}

static void each_cancel_is_answered(void **state)
{
    (void)state;
    struct world w;
    struct storm s = {.stop = false};
    pthread_t t;
    world_create(&w, 1);
    LOAD(&w, spin);
    s.vcpu = w.vcpu[0];
    assert_int_equal(pthread_create(&t, NULL, one_by_one, &s), 0);
    while (!atomic_load(&s.stop)) {
        struct vmlib_exit e = VMLIB_EXIT_INIT;
        OK(vmlib_vcpu_run(w.vcpu[0], NULL, &e));
        assert_int_equal(e.reason, VMLIB_EXIT_CANCELLED);
        atomic_fetch_add(&s.answers, 1);
    }
    pthread_join(t, NULL);
    assert_in_range(atomic_load(&s.answers), 300, 301);
    world_destroy(&w);
}

/* --- storms --- */

static void *hammer(void *opaque)
{
    struct storm *s = opaque;
    while (!atomic_load(&s->stop)) {
        vmlib_vcpu_cancel(s->vcpu);
        vmlib_vcpu_cancel_run(s->vcpu, vmlib_vcpu_generation(s->vcpu));
    }
    return NULL;
}

static int handled(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)vcpu, (void)exit;
    ++*(uint64_t *)opaque;
    return VMLIB_HANDLED;
}

static void storm_of_threads(void **state)
{
    (void)state;
    enum { THREADS = 3 };
    struct world w;
    struct storm s = {.stop = false};
    pthread_t t[THREADS];
    uint64_t handled_count = 0;
    struct vmlib_handler_config c = VMLIB_HANDLER_CONFIG_INIT;
    world_create(&w, 1);
    c.first = c.last = 0x10;
    c.fn = handled;
    c.opaque = &handled_count;
    OK(vmlib_handler_add(w.vm, &c, NULL));
    LOAD(&w, out_forever);
    s.vcpu = w.vcpu[0];
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hammer, &s), 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(world_run(&w, 0, 0).reason, VMLIB_EXIT_CANCELLED);
    atomic_store(&s.stop, true);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    while (world_run(&w, 0, 1000000).reason == VMLIB_EXIT_CANCELLED)
        ; /* the last one may have come between runs */
    /* and the next run is not disturbed any more */
    assert_int_equal(world_run(&w, 0, 20000000).reason, VMLIB_EXIT_DEADLINE);
    assert_true(handled_count > 0);
    world_destroy(&w);
}

/* --- signal handlers --- */

static vmlib_vcpu *volatile target;
static volatile sig_atomic_t alarms;

static void on_alarm(int number)
{
    (void)number;
    alarms++;
    vmlib_vcpu_cancel(target);
}

static void storm_of_signals(void **state)
{
    (void)state;
    struct world w;
    struct sigaction sa, old;
    struct itimerval every = {{0, 500}, {0, 500}}, off = {{0, 0}, {0, 0}};
    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = on_alarm;
    world_create(&w, 1);
    LOAD(&w, spin);
    target = w.vcpu[0];
    alarms = 0;
    sigaction(SIGALRM, &sa, &old);
    setitimer(ITIMER_REAL, &every, NULL);
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(world_run(&w, 0, 0).reason, VMLIB_EXIT_CANCELLED);
    setitimer(ITIMER_REAL, &off, NULL);
    sigaction(SIGALRM, &old, NULL);
    assert_true(alarms >= 199);
    world_destroy(&w);
}

/* A signal that has nothing to do with the library runs its handler, and the guest goes on. */
static void on_usr(int number)
{
    (void)number;
    alarms++;
}

static void foreign_signals_do_no_harm(void **state)
{
    (void)state;
    struct world w;
    struct sigaction sa, old;
    struct itimerval every = {{0, 1000}, {0, 1000}}, off = {{0, 0}, {0, 0}};
    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = on_usr;
    world_create(&w, 1);
    LOAD(&w, spin);
    alarms = 0;
    sigaction(SIGALRM, &sa, &old);
    setitimer(ITIMER_REAL, &every, NULL);
    while (alarms < 20)
        assert_int_equal(world_run(&w, 0, 5000000).reason, VMLIB_EXIT_DEADLINE);
    setitimer(ITIMER_REAL, &off, NULL);
    sigaction(SIGALRM, &old, NULL);
    world_destroy(&w);
}

/* --- deadlines --- */

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Never early; how late is the machine's business. */
static void deadlines_are_not_early(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {1, 1000, 100000, 3000000, 50000, 10000000, 2000};
    struct world w;
    world_create(&w, 1);
    LOAD(&w, spin);
    for (unsigned round = 0; round < 5; round++)
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
            uint64_t start = now();
            assert_int_equal(world_run(&w, 0, lengths[i]).reason, VMLIB_EXIT_DEADLINE);
            assert_true(now() - start >= lengths[i]);
        }
    world_destroy(&w);
}

/* A vCPU moves from thread to thread; its timer and its kicks follow. */
static void *run_some(void *opaque)
{
    struct world *w = opaque;
    for (unsigned i = 0; i < 3; i++) {
        struct vmlib_run_args a = VMLIB_RUN_ARGS_INIT;
        struct vmlib_exit e = VMLIB_EXIT_INIT;
        a.deadline_ns = 300000;
        if (vmlib_vcpu_run(w->vcpu[0], &a, &e) != 0 || e.reason != VMLIB_EXIT_DEADLINE)
            return "no deadline";
        vmlib_vcpu_cancel(w->vcpu[0]);
        if (vmlib_vcpu_run(w->vcpu[0], NULL, &e) != 0 || e.reason != VMLIB_EXIT_CANCELLED)
            return "no cancel";
    }
    return NULL;
}

static void threads_take_turns(void **state)
{
    (void)state;
    struct world w;
    world_create(&w, 1);
    LOAD(&w, spin);
    for (unsigned i = 0; i < 40; i++) {
        pthread_t t;
        void *result;
        assert_int_equal(pthread_create(&t, NULL, run_some, &w), 0);
        pthread_join(t, &result);
        if (result)
            fail_msg("%s", (const char *)result);
    }
    assert_null(run_some(&w));
    world_destroy(&w);
}

/* The thread ends right after run, while others still kick: nothing reaches a thread that is gone.
 */
static void kicks_at_the_end_of_a_thread(void **state)
{
    (void)state;
    struct world w;
    struct storm s = {.stop = false};
    pthread_t kicker;
    world_create(&w, 1);
    LOAD(&w, spin);
    s.vcpu = w.vcpu[0];
    assert_int_equal(pthread_create(&kicker, NULL, hammer, &s), 0);
    for (unsigned i = 0; i < 100; i++) {
        pthread_t t;
        void *result;
        assert_int_equal(pthread_create(&t, NULL, (void *(*)(void *))run_some, &w), 0);
        pthread_join(t, &result); /* what it saw does not matter here */
    }
    atomic_store(&s.stop, true);
    pthread_join(kicker, NULL);
    world_destroy(&w);
}

/* No signal stays pending on the thread, and the mask has only the library's bit more. */
static void nothing_stays_pending(void **state)
{
    (void)state;
    struct world w;
    sigset_t before, after, pending;
    unsigned more = 0;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    world_create(&w, 1);
    LOAD(&w, spin);
    for (unsigned i = 0; i < 20; i++) {
        vmlib_vcpu_cancel(w.vcpu[0]);
        assert_int_equal(world_run(&w, 0, 100000).reason, VMLIB_EXIT_CANCELLED);
        assert_int_equal(world_run(&w, 0, 100000).reason, VMLIB_EXIT_DEADLINE);
    }
    world_destroy(&w);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    sigpending(&pending);
    for (int n = 1; n <= SIGRTMAX; n++) {
        more += sigismember(&after, n) == 1 && sigismember(&before, n) != 1;
        assert_true(sigismember(&pending, n) != 1);
        assert_true(sigismember(&before, n) != 1 || sigismember(&after, n) == 1);
    }
    assert_true(more <= 1);
}

/* Waits for the signal of the deadline, which is blocked outside of the kernel. */
static int outlasts(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    sigset_t pending;
    (void)vcpu, (void)exit;
    for (unsigned i = 0; i < 100000000 && !*(bool *)opaque; i++) {
        sigpending(&pending);
        for (int n = SIGRTMIN; n <= SIGRTMAX; n++)
            *(bool *)opaque |= sigismember(&pending, n) == 1;
    }
    return VMLIB_STOP;
}

/* The deadline passes in a handler that ends the run: nobody else would take its signal away. */
static void no_signal_of_a_deadline_in_a_handler(void **state)
{
    struct vmlib_handler_config c = VMLIB_HANDLER_CONFIG_INIT;
    bool seen = false;
    sigset_t pending;
    struct world w;
    (void)state;
    world_create(&w, 1);
    c.first = c.last = 0x10;
    c.fn = outlasts;
    c.opaque = &seen;
    OK(vmlib_handler_add(w.vm, &c, NULL));
    LOAD(&w, out_forever);
    for (unsigned i = 0; i < 100 && !seen; i++) /* until it is not the guest that outlasts it */
        world_run(&w, 0, 20000000);
    assert_true(seen);
    sigpending(&pending);
    for (int n = SIGRTMIN; n <= SIGRTMAX; n++)
        assert_true(sigismember(&pending, n) != 1);
    world_destroy(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_cancel_is_answered),
    cmocka_unit_test(storm_of_threads),
    cmocka_unit_test(storm_of_signals),
    cmocka_unit_test(foreign_signals_do_no_harm),
    cmocka_unit_test(deadlines_are_not_early),
    cmocka_unit_test(threads_take_turns),
    cmocka_unit_test(kicks_at_the_end_of_a_thread),
    cmocka_unit_test(nothing_stays_pending),
    cmocka_unit_test(no_signal_of_a_deadline_in_a_handler),
};
MAIN(tests)
