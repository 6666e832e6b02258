/* Running: limits, completion, state at an exit, single step, sleeping in HLT, injected failures.
 */
#include <pthread.h>
#include <time.h>

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

static struct vmlib_exit run_with(vmlib_vcpu *vcpu, uint32_t flags, uint64_t deadline,
                                  uint64_t budget)
{
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit exit = VMLIB_EXIT_INIT;
    args.flags = flags;
    args.deadline_ns = deadline;
    args.budget = budget;
    OK(vmlib_vcpu_run(vcpu, &args, &exit));
    return exit;
}

static void reads_wait_for_completion(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    struct vmlib_exit again = VMLIB_EXIT_INIT;
    struct vmlib_state s;
    uint8_t value = 0x77;
    push_pio(vcpu, 0x60, 0, 0);
    FAILS(VMLIB_E_STATE, "vcpu", vmlib_vcpu_complete(vcpu, &value, 1));
    struct vmlib_exit e = run_to(vcpu, VMLIB_EXIT_PIO);
    assert_int_equal(e.flags, VMLIB_EXIT_F_PENDING);
    assert_int_equal(e.rip, 0xfff0);
    assert_int_equal(e.instructions, 0);
    assert_int_equal(reg(vcpu, VMLIB_REG_RIP), 0xfff0);
    FAILS(VMLIB_E_STATE, "vcpu", vmlib_vcpu_run(vcpu, NULL, &again));
    FAILS(VMLIB_E_STATE, "vcpu", vmlib_vcpu_set_reg(vcpu, VMLIB_REG_RAX, 1));
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(vcpu, VMLIB_STATE_GPR, &s));
    FAILS(VMLIB_E_STATE, "vcpu", vmlib_vcpu_set_state(vcpu, VMLIB_STATE_GPR, &s));
    struct vmlib_event event = {.type = VMLIB_EVENT_NMI, .vector = 2};
    FAILS(VMLIB_E_STATE, "vcpu", vmlib_vcpu_inject(vcpu, &event));
    FAILS(VMLIB_E_INVAL, "bytes", vmlib_vcpu_complete(vcpu, &value, 2));
    FAILS(VMLIB_E_INVAL, "bytes", vmlib_vcpu_complete(vcpu, NULL, 0));
    FAILS(VMLIB_E_INVAL, "data", vmlib_vcpu_complete(vcpu, NULL, 1));
    OK(vmlib_vcpu_complete(vcpu, &value, 1));
    assert_int_equal(reg(vcpu, VMLIB_REG_RIP), 0xfff1);
    assert_int_equal(result_of(vcpu).exit.u.pio.value, 0x77);
    FAILS(VMLIB_E_STATE, "vcpu", vmlib_vcpu_complete(vcpu, &value, 1));
    e = run_to(vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(e.instructions, 1); /* the completed one is counted by the next run */
}

static void writes_are_done(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    push_pio(vcpu, 0x80, 1, 0x12);
    struct vmlib_exit e = run_to(vcpu, VMLIB_EXIT_PIO);
    assert_int_equal(e.flags, 0);
    assert_int_equal(e.u.pio.value, 0x12);
    assert_int_equal(e.rip, 0xfff0);
    assert_int_equal(e.instructions, 1);
    assert_int_equal(reg(vcpu, VMLIB_REG_RIP), 0xfff1);
    FAILS(VMLIB_E_STATE, "vcpu", vmlib_vcpu_complete(vcpu, NULL, 0));
    run_to(vcpu, VMLIB_EXIT_HLT);
}

static void completion_by_fault(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    push_access(vcpu, 0x5000, 8, 0, 0);
    run_to(vcpu, VMLIB_EXIT_MMIO);
    FAILS(VMLIB_E_INVAL, "vector", vmlib_vcpu_complete_fault(vcpu, 32, 0));
    OK(vmlib_vcpu_complete_fault(vcpu, 14, 2));
    assert_int_equal(reg(vcpu, VMLIB_REG_RIP), 0xfff0);
    run_to(vcpu, VMLIB_EXIT_HLT);
    struct vmlib_event e = result_of(vcpu).event;
    assert_int_equal(e.vector, 14);
    assert_int_equal(e.error_code, 2);
    assert_int_equal(e.flags, VMLIB_EVENT_HAS_ERROR);
    push_access(vcpu, 0x5000, 8, 0, 0);
    run_to(vcpu, VMLIB_EXIT_MMIO);
    OK(vmlib_vcpu_complete_fault(vcpu, 6, 99));
    run_to(vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(result_of(vcpu).event.flags, 0); /* #UD has no error code */
    FAILS(VMLIB_E_STATE, "vcpu", vmlib_vcpu_complete_fault(vcpu, 6, 0));
}

static void sizes_of_answers(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    uint8_t data[16] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (unsigned width = 1; width <= 8; width++) {
        push_access(vcpu, 0x5000, width, 0, 0);
        run_to(vcpu, VMLIB_EXIT_MMIO);
        for (unsigned n = 0; n <= 16; n++) {
            if (n != width) {
                FAILS(VMLIB_E_INVAL, "bytes", vmlib_vcpu_complete(vcpu, data, n));
            }
        }
        OK(vmlib_vcpu_complete(vcpu, data, width));
        uint64_t expected = 0x0807060504030201 & (UINT64_MAX >> (64 - 8 * width));
        assert_true(result_of(vcpu).exit.u.mmio.value == expected);
    }
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    config.kind = VMLIB_HANDLER_MSR;
    OK(vmlib_handler_add(vmlib_vcpu_vm(vcpu), &config, NULL));
    struct vmlib_mock_step step = exit_step(VMLIB_EXIT_MSR);
    step.exit.u.msr.write = 1;
    push(vcpu, &step);
    run_to(vcpu, VMLIB_EXIT_MSR);
    FAILS(VMLIB_E_INVAL, "bytes", vmlib_vcpu_complete(vcpu, data, 8));
    OK(vmlib_vcpu_complete(vcpu, NULL, 0));
}

static void budget_is_exact(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    push_action(vcpu, VMLIB_MOCK_RETIRE, 1000000);
    uint64_t total = 0;
    for (uint64_t n = 1; n < 100; n++) {
        struct vmlib_exit e = run_with(vcpu, 0, 0, n);
        assert_int_equal(e.reason, VMLIB_EXIT_BUDGET);
        assert_int_equal(e.instructions, n);
        assert_int_equal(e.flags, 0);
        total += n;
        assert_int_equal(reg(vcpu, VMLIB_REG_RIP), 0xfff0 + total);
    }
    assert_int_equal(run_to(vcpu, VMLIB_EXIT_HLT).instructions, 1000000 - total);
}

static void budget_counts_completions(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    uint8_t value = 0;
    push_pio(vcpu, 1, 0, 0);
    push_action(vcpu, VMLIB_MOCK_RETIRE, 10);
    assert_int_equal(run_with(vcpu, 0, 0, 5).instructions, 0);
    OK(vmlib_vcpu_complete(vcpu, &value, 1));
    struct vmlib_exit e = run_with(vcpu, 0, 0, 1);
    assert_int_equal(e.reason, VMLIB_EXIT_BUDGET);
    assert_int_equal(e.instructions, 1);
    assert_int_equal(reg(vcpu, VMLIB_REG_RIP), 0xfff1);
}

static void deadline_of_a_busy_guest(void **state)
{
    struct world *w = *state;
    uint64_t before, after;
    push_action(w->vcpu, VMLIB_MOCK_SPIN, 0);
    OK(vmlib_vm_clock(w->vm, &before));
    struct vmlib_exit e = run_with(w->vcpu, 0, 2000000, 0);
    OK(vmlib_vm_clock(w->vm, &after));
    assert_int_equal(e.reason, VMLIB_EXIT_DEADLINE);
    assert_true(after - before >= 2000000);
    assert_true(e.instructions > 0);
}

static void deadline_in_hlt(void **state)
{
    struct world *w = *state;
    uint64_t before, after;
    OK(vmlib_vm_clock(w->vm, &before));
    assert_int_equal(run_with(w->vcpu, VMLIB_RUN_WAIT_IN_HLT, 2000000, 0).reason,
                     VMLIB_EXIT_DEADLINE);
    OK(vmlib_vm_clock(w->vm, &after));
    assert_true(after - before >= 2000000);
    OK(vmlib_vcpu_cancel(w->vcpu)); /* a deadline beyond the end of time is none */
    assert_int_equal(run_with(w->vcpu, VMLIB_RUN_WAIT_IN_HLT, UINT64_MAX, 0).reason,
                     VMLIB_EXIT_CANCELLED);
}

static void deterministic_time(void **state)
{
    (void)state;
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    struct vmlib_vcpu_config second = VMLIB_VCPU_CONFIG_INIT;
    vmlib_vm *vm = NULL;
    vmlib_vcpu *other = NULL;
    uint64_t now = 0;
    config.backends[0] = VMLIB_BACKEND_MOCK;
    config.time_mode = VMLIB_TIME_DETERMINISTIC;
    OK(vmlib_vm_create(&config, &vm));
    OK(vmlib_vm_clock(vm, &now));
    assert_int_equal(now, 0);
    vmlib_vcpu *vcpu = mock_vcpu(vm, 0);
    push_action(vcpu, VMLIB_MOCK_RETIRE, 1000);
    struct vmlib_exit e = run_with(vcpu, 0, 300, 0);
    assert_int_equal(e.reason, VMLIB_EXIT_DEADLINE);
    assert_int_equal(e.instructions, 300);
    OK(vmlib_vm_clock(vm, &now));
    assert_int_equal(now, 300);
    e = run_with(vcpu, VMLIB_RUN_WAIT_IN_HLT, 1700, 0); /* 700 instructions, then asleep */
    assert_int_equal(e.reason, VMLIB_EXIT_DEADLINE);
    assert_int_equal(e.instructions, 700);
    OK(vmlib_vm_clock(vm, &now));
    assert_int_equal(now, 2000);
    second.index = 1;
    FAILS(VMLIB_E_UNSUPPORTED, "deterministic", vmlib_vcpu_create(vm, &second, &other));
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
}

static void single_step(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    push_pio(vcpu, 1, 1, 0);
    push_action(vcpu, VMLIB_MOCK_RETIRE, 1);
    /* The record of the write comes first, the step after it. */
    assert_int_equal(run_with(vcpu, VMLIB_RUN_SINGLE_STEP, 0, 0).reason, VMLIB_EXIT_PIO);
    struct vmlib_exit e = run_with(vcpu, VMLIB_RUN_SINGLE_STEP, 0, 0);
    assert_int_equal(e.reason, VMLIB_EXIT_DEBUG);
    assert_int_equal(e.u.debug.cause, VMLIB_DEBUG_STEP);
    assert_int_equal(reg(vcpu, VMLIB_REG_RIP), 0xfff2);
}

static void generations(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    assert_int_equal(vmlib_vcpu_generation(vcpu), 1);
    args.generation = 1;
    OK(vmlib_vcpu_run(vcpu, &args, &e));
    assert_int_equal(e.generation, 1);
    assert_int_equal(vmlib_vcpu_generation(vcpu), 2);
    FAILS(VMLIB_E_STATE, "generation", vmlib_vcpu_run(vcpu, &args, &e));
    assert_int_equal(vmlib_vcpu_generation(vcpu), 2); /* a refused run has no number */
    OK(vmlib_mock_fail(vmlib_vcpu_vm(vcpu), VMLIB_MOCK_CALL_RUN, 0, VMLIB_E_IO));
    FAILS(VMLIB_E_IO, "injected", vmlib_vcpu_run(vcpu, NULL, &e));
    assert_int_equal(vmlib_vcpu_generation(vcpu), 3); /* a failed one has */
}

static void injected_failures(void **state)
{
    struct world *w = *state;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    struct vmlib_mock_step step = VMLIB_MOCK_STEP_INIT;
    step.action = VMLIB_MOCK_FAIL;
    step.code = VMLIB_E_IO;
    push(w->vcpu, &step);
    e.reason = 12345;
    FAILS(VMLIB_E_IO, "script", vmlib_vcpu_run(w->vcpu, NULL, &e));
    assert_int_equal(e.reason, 12345); /* not written */
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    push_pio(w->vcpu, 1, 0, 0);
    run_to(w->vcpu, VMLIB_EXIT_PIO);
    uint8_t value = 1;
    OK(vmlib_mock_fail(w->vm, VMLIB_MOCK_CALL_COMPLETE, 0, VMLIB_E_IO));
    FAILS(VMLIB_E_IO, "injected", vmlib_vcpu_complete(w->vcpu, &value, 1));
}

static int run_again(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    (void)exit;
    *(int *)opaque = vmlib_vcpu_run(vcpu, NULL, &e);
    return vmlib_vcpu_complete(vcpu, NULL, 0) == VMLIB_E_BUSY ? VMLIB_HANDLED : VMLIB_E_USER;
}

static void no_run_in_a_handler(void **state)
{
    struct world *w = *state;
    int rc = 0;
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    config.fn = run_again;
    config.opaque = &rc;
    OK(vmlib_handler_add(w->vm, &config, NULL));
    push_pio(w->vcpu, 0, 1, 0);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(rc, VMLIB_E_BUSY);
}

static int drop_vcpu(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)exit;
    *(unsigned *)opaque += 1;
    vmlib_vcpu_unref(vcpu);
    return VMLIB_HANDLED;
}

static void last_reference_dropped_in_a_handler(void **state)
{
    (void)state;
    unsigned calls = 0;
    vmlib_vm *vm = mock_vm();
    vmlib_vcpu *vcpu = mock_vcpu(vm, 0), *found = NULL;
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    config.fn = drop_vcpu;
    config.opaque = &calls;
    OK(vmlib_handler_add(vm, &config, NULL));
    push_pio(vcpu, 0, 1, 0);
    run_to(vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(calls, 1);
    FAILS(VMLIB_E_NOTFOUND, "index", vmlib_vm_vcpu(vm, 0, &found));
    vmlib_vm_unref(vm);
}

/* --- other threads --- */

struct waker {
    vmlib_vcpu *vcpu;
    int (*wake)(vmlib_vcpu *vcpu);
};

static int wake_intr(vmlib_vcpu *vcpu)
{
    return vmlib_vcpu_set_intr(vcpu, 1);
}

static int wake_sipi(vmlib_vcpu *vcpu)
{
    return vmlib_vcpu_sipi(vcpu, 0x9a);
}

static void *wake_thread(void *arg)
{
    struct waker *w = arg;
    struct timespec ts = {0, 1000000};
    nanosleep(&ts, NULL); /* most runs: the vCPU sleeps by now; the test holds either way */
    w->wake(w->vcpu);
    return NULL;
}

static int ack(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)opaque;
    vmlib_vcpu_set_intr(vcpu, 0);
    exit->u.interrupt.vector = 0x40;
    return VMLIB_STOP;
}

static void others_wake_a_halted_vcpu(void **state)
{
    struct world *w = *state;
    static int (*const wakes[])(vmlib_vcpu *) = {wake_intr, vmlib_vcpu_nmi, vmlib_vcpu_cancel};
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    config.kind = VMLIB_HANDLER_INTACK;
    config.fn = ack;
    OK(vmlib_handler_add(w->vm, &config, NULL));
    for (unsigned i = 0; i < 3; i++) {
        struct waker waker = {w->vcpu, wakes[i]};
        struct vmlib_mock_step halt = exit_step(VMLIB_EXIT_HLT);
        pthread_t thread;
        OK(vmlib_vcpu_set_reg(w->vcpu, VMLIB_REG_RFLAGS, 0x202));
        push(w->vcpu, &halt);
        if (i == 1) {
            push_pio(w->vcpu, 0x99, 1, 0); /* reached once the NMI has ended HLT */
        }
        assert_int_equal(pthread_create(&thread, NULL, wake_thread, &waker), 0);
        struct vmlib_exit e = run_with(w->vcpu, VMLIB_RUN_WAIT_IN_HLT, 0, 0);
        static const uint32_t expected[] = {VMLIB_EXIT_STOPPED, VMLIB_EXIT_PIO,
                                            VMLIB_EXIT_CANCELLED};
        assert_int_equal(e.reason, expected[i]);
        pthread_join(thread, NULL);
    }
    assert_int_equal(result_of(w->vcpu).delivered, 2);
}

static void start_up_ipi(void **state)
{
    struct world *w = *state;
    struct vmlib_vcpu_config config = VMLIB_VCPU_CONFIG_INIT;
    vmlib_vcpu *vcpu = NULL;
    config.index = 1;
    config.initial = VMLIB_VCPU_WAIT_SIPI;
    OK(vmlib_vcpu_create(w->vm, &config, &vcpu));
    struct waker waker = {vcpu, wake_sipi};
    pthread_t thread;
    push_pio(vcpu, 0x80, 1, 1);
    assert_int_equal(pthread_create(&thread, NULL, wake_thread, &waker), 0);
    assert_int_equal(run_with(vcpu, VMLIB_RUN_WAIT_IN_HLT, 0, 0).reason, VMLIB_EXIT_PIO);
    pthread_join(thread, NULL);
    struct vmlib_segment cs;
    OK(vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_CS, &cs, sizeof(cs)));
    assert_int_equal(cs.base, 0x9a000);
    OK(vmlib_vcpu_init(vcpu));
    run_to(vcpu, VMLIB_EXIT_HLT);
    struct vmlib_state s;
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(vcpu, VMLIB_STATE_EVENTS, &s));
    assert_int_equal(s.events.flags, VMLIB_EVENTS_WAIT_SIPI);
    vmlib_vcpu_unref(vcpu);
}

static void longer_structs(void **state)
{
    vmlib_vcpu *vcpu = ((struct world *)*state)->vcpu;
    struct {
        struct vmlib_exit exit;
        uint8_t more[32];
    } out = {VMLIB_EXIT_INIT, {0}};
    struct {
        struct vmlib_run_args args;
        uint8_t more[32];
    } in = {VMLIB_RUN_ARGS_INIT, {0}};
    memset(out.more, 0xee, sizeof(out.more));
    out.exit.size = sizeof(out);
    in.args.size = sizeof(in);
    OK(vmlib_vcpu_run(vcpu, &in.args, &out.exit));
    assert_int_equal(out.exit.size, sizeof(out));
    assert_int_equal(out.more[0] | out.more[31], 0);
    in.more[31] = 1;
    FAILS(VMLIB_E_INVAL, "args->size", vmlib_vcpu_run(vcpu, &in.args, &out.exit));
    in.args.size = 8; /* an older caller: the rest has its default */
    OK(vmlib_vcpu_run(vcpu, &in.args, &out.exit));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(reads_wait_for_completion),
        CASE(writes_are_done),
        CASE(completion_by_fault),
        CASE(sizes_of_answers),
        CASE(budget_is_exact),
        CASE(budget_counts_completions),
        CASE(deadline_of_a_busy_guest),
        CASE(deadline_in_hlt),
        cmocka_unit_test(deterministic_time),
        CASE(single_step),
        CASE(generations),
        CASE(injected_failures),
        CASE(no_run_in_a_handler),
        cmocka_unit_test(last_reference_dropped_in_a_handler),
        CASE(others_wake_a_halted_vcpu),
        CASE(start_up_ipi),
        CASE(longer_structs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
