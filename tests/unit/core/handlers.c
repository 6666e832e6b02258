/* Handlers and doorbells: who is asked, in which order, and what each answer does. */
#include <unistd.h>

#include "fixture.h"

struct probe {
    int answer;
    unsigned calls;
    uint32_t value; /* PIO, MMIO and MSR reads */
    struct vmlib_event event;
    uint32_t reason;
    uint64_t rip;
    unsigned released;
    unsigned *order; /* counts all probes' calls */
    unsigned turn;   /* its value at the last call */
};

static int probe_fn(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct probe *p = opaque;
    p->calls++;
    p->reason = exit->reason;
    p->rip = reg(vcpu, VMLIB_REG_RIP);
    if (p->order != NULL) {
        p->turn = ++*p->order;
    }
    if (exit->reason == VMLIB_EXIT_PIO && !exit->u.pio.write) {
        exit->u.pio.value = p->value;
    } else if (exit->reason == VMLIB_EXIT_MMIO && !exit->u.mmio.write) {
        exit->u.mmio.value = p->value;
    } else if (exit->reason == VMLIB_EXIT_MSR && !exit->u.msr.write) {
        exit->u.msr.value = p->value;
    } else if (exit->reason == VMLIB_EXIT_INTERRUPT_WINDOW) {
        exit->u.interrupt.vector = p->value;
    }
    if (p->event.type != VMLIB_EVENT_NONE) {
        exit->inject = p->event;
    }
    return p->answer;
}

static void released(void *opaque)
{
    ((struct probe *)opaque)->released++;
}

static vmlib_handler *add(vmlib_vm *vm, uint32_t kind, uint64_t first, uint64_t last,
                          struct probe *p)
{
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    vmlib_handler *handler = NULL;
    config.kind = kind;
    config.first = first;
    config.last = last;
    config.fn = p != NULL ? probe_fn : NULL;
    config.opaque = p;
    config.release = p != NULL ? released : NULL;
    OK(vmlib_handler_add(vm, &config, &handler));
    return handler;
}

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

static void handled_read_completes(void **state)
{
    struct world *w = *state;
    struct probe p = {.answer = VMLIB_HANDLED, .value = 0x1a5};
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_PIO, 0x60, 0x64, &p));
    push_pio(w->vcpu, 0x64, 0, 0);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(p.calls, 1);
    assert_int_equal(p.rip, 0xfff0); /* before the instruction */
    struct vmlib_mock_result r = result_of(w->vcpu);
    assert_int_equal(r.outcome, VMLIB_MOCK_COMPLETED);
    assert_int_equal(r.exit.u.pio.value & 0xff, 0xa5);
    assert_int_equal(reg(w->vcpu, VMLIB_REG_RIP), 0xfff1);
}

static void edges_of_a_range(void **state)
{
    struct world *w = *state;
    struct probe p = {.answer = VMLIB_HANDLED};
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_PIO, 0x60, 0x64, &p));
    for (uint16_t port = 0x5f; port <= 0x65; port++) {
        push_pio(w->vcpu, port, 1, 0);
    }
    assert_int_equal(run_to(w->vcpu, VMLIB_EXIT_PIO).u.pio.port, 0x5f);
    assert_int_equal(run_to(w->vcpu, VMLIB_EXIT_PIO).u.pio.port, 0x65);
    assert_int_equal(p.calls, 5);
}

static void youngest_first_and_pass(void **state)
{
    struct world *w = *state;
    unsigned order = 0;
    struct probe old = {.answer = VMLIB_HANDLED, .order = &order, .value = 1};
    struct probe mid = {.answer = VMLIB_PASS, .order = &order, .value = 2};
    struct probe young = {.answer = VMLIB_PASS, .order = &order, .value = 3};
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_MMIO, 0, 0xffff, &old));
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_MMIO, 0x1000, 0x1fff, &mid));
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_MMIO, 0x1800, 0x2fff, &young));
    push_access(w->vcpu, 0x1900, 4, 0, 0);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(young.turn, 1);
    assert_int_equal(mid.turn, 2);
    assert_int_equal(old.turn, 3);
    assert_int_equal(result_of(w->vcpu).exit.u.mmio.value, 1);
    push_access(w->vcpu, 0x2900, 4, 0, 0); /* only young and old */
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(mid.calls, 1);
    assert_int_equal(young.calls, 2);
    assert_int_equal(old.calls, 2);
}

static void all_pass_returns_the_record(void **state)
{
    struct world *w = *state;
    struct probe p = {.answer = VMLIB_PASS};
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_PIO, 0, 0xffff, &p));
    push_pio(w->vcpu, 0x70, 0, 0);
    struct vmlib_exit exit = run_to(w->vcpu, VMLIB_EXIT_PIO);
    assert_int_equal(exit.flags & VMLIB_EXIT_F_PENDING, VMLIB_EXIT_F_PENDING);
    uint8_t value = 0x42;
    OK(vmlib_vcpu_complete(w->vcpu, &value, 1));
    assert_int_equal(result_of(w->vcpu).exit.u.pio.value, 0x42);
    assert_int_equal(p.calls, 1);
}

static void stop_ends_the_run_after_the_instruction(void **state)
{
    struct world *w = *state;
    struct probe p = {.answer = VMLIB_STOP, .value = 7};
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_PIO, 0x10, 0x10, &p));
    push_pio(w->vcpu, 0x10, 0, 0);
    push_pio(w->vcpu, 0x11, 1, 0);
    struct vmlib_exit exit = run_to(w->vcpu, VMLIB_EXIT_STOPPED);
    assert_int_equal(exit.instructions, 1);
    assert_int_equal(exit.rip, 0xfff1);
    assert_int_equal(result_of(w->vcpu).exit.u.pio.value, 7);
    run_to(w->vcpu, VMLIB_EXIT_PIO);
}

static void inject_replaces_the_instruction(void **state)
{
    struct world *w = *state;
    struct probe p = {.answer = VMLIB_INJECT,
                      .event = {.type = VMLIB_EVENT_EXCEPTION,
                                .vector = 13,
                                .flags = VMLIB_EVENT_HAS_ERROR,
                                .error_code = 8}};
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_MSR, 0x10, 0x20, &p));
    struct vmlib_mock_step step = exit_step(VMLIB_EXIT_MSR);
    step.exit.u.msr.index = 0x1b;
    step.exit.u.msr.write = 1;
    push(w->vcpu, &step);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    struct vmlib_mock_result r = result_of(w->vcpu);
    assert_int_equal(r.outcome, VMLIB_MOCK_FAULTED);
    assert_int_equal(r.event.vector, 13);
    assert_int_equal(r.event.error_code, 8);
}

static void wrong_answers_are_errors(void **state)
{
    struct world *w = *state;
    struct probe p = {.answer = VMLIB_INJECT};
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_PIO, 0, 0, &p));
    push_pio(w->vcpu, 0, 1, 0);
    struct vmlib_exit exit = VMLIB_EXIT_INIT;
    FAILS(VMLIB_E_INVAL, "exit->inject", vmlib_vcpu_run(w->vcpu, NULL, &exit));
    p.answer = 99;
    FAILS(VMLIB_E_INVAL, "handler", vmlib_vcpu_run(w->vcpu, NULL, &exit));
    p.answer = VMLIB_E_USER - 5;
    FAILS(VMLIB_E_USER - 5, "handler", vmlib_vcpu_run(w->vcpu, NULL, &exit));
    assert_int_equal(reg(w->vcpu, VMLIB_REG_RIP), 0xfff0); /* no effect so far */
    p.answer = VMLIB_HANDLED;
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(p.calls, 4);
}

static void msr_policy_and_known(void **state)
{
    struct world *w = *state;
    struct vmlib_mock_step step = exit_step(VMLIB_EXIT_MSR);
    step.exit.u.msr.index = 0x12345;
    push(w->vcpu, &step);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(result_of(w->vcpu).event.vector, 13);
    step.exit.u.msr.known = 1; /* the backend's own */
    step.exit.u.msr.value = 5;
    push(w->vcpu, &step);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(result_of(w->vcpu).outcome, VMLIB_MOCK_COMPLETED);
    vmlib_handler *trap = add(w->vm, VMLIB_HANDLER_MSR, 0, UINT32_MAX, NULL);
    push(w->vcpu, &step);
    struct vmlib_exit exit = run_to(w->vcpu, VMLIB_EXIT_MSR);
    assert_int_equal(exit.u.msr.known, 1);
    uint64_t value = 77;
    OK(vmlib_vcpu_complete(w->vcpu, &value, 8));
    assert_int_equal(result_of(w->vcpu).exit.u.msr.value, 77);
    OK(vmlib_handler_remove(trap));
    vmlib_handler_unref(trap);
}

static void cpuid_handlers_edit_the_answer(void **state)
{
    struct world *w = *state;
    struct probe p = {.answer = VMLIB_HANDLED};
    struct vmlib_mock_step step = exit_step(VMLIB_EXIT_CPUID);
    step.exit.u.cpuid = (struct vmlib_exit_cpuid){1, 0, 10, 20, 30, 40};
    push(w->vcpu, &step); /* nobody asks for it */
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(result_of(w->vcpu).exit.u.cpuid.ecx, 30);
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_CPUID, 1, 1, &p));
    push(w->vcpu, &step);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(p.calls, 1);
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_CPUID, 0, 5, NULL));
    push(w->vcpu, &step);
    struct vmlib_exit exit = run_to(w->vcpu, VMLIB_EXIT_CPUID);
    assert_int_equal(exit.u.cpuid.edx, 40);
    uint32_t regs[4] = {1, 2, 3, 4};
    OK(vmlib_vcpu_complete(w->vcpu, regs, sizeof(regs)));
    assert_int_equal(result_of(w->vcpu).exit.u.cpuid.edx, 4);
}

static void exceptions_by_mask(void **state)
{
    struct world *w = *state;
    struct probe p = {.answer = VMLIB_HANDLED};
    struct vmlib_mock_step step = exit_step(VMLIB_EXIT_EXCEPTION);
    step.exit.u.exception.event = (struct vmlib_event){.type = VMLIB_EVENT_EXCEPTION, .vector = 6};
    push(w->vcpu, &step); /* not in the mask: delivered */
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(result_of(w->vcpu).delivered, 1);
    OK(vmlib_vcpu_set_exception_exits(w->vcpu, 1u << 6));
    push(w->vcpu, &step); /* no handler: returned, and the next run delivers it */
    struct vmlib_exit exit = run_to(w->vcpu, VMLIB_EXIT_EXCEPTION);
    assert_int_equal(exit.flags & VMLIB_EXIT_F_PENDING, 0);
    assert_int_equal(exit.u.exception.event.vector, 6);
    assert_int_equal(result_of(w->vcpu).delivered, 1);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(result_of(w->vcpu).delivered, 2);
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_EXCEPTION, 6, 6, &p));
    push(w->vcpu, &step); /* swallowed */
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(p.calls, 1);
    assert_int_equal(result_of(w->vcpu).delivered, 2);
    p.answer = VMLIB_INJECT; /* unchanged: deliver it */
    push(w->vcpu, &step);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(result_of(w->vcpu).event.vector, 6);
    assert_int_equal(result_of(w->vcpu).delivered, 3);
}

static void set_if(vmlib_vcpu *vcpu, int on)
{
    OK(vmlib_vcpu_set_reg(vcpu, VMLIB_REG_RFLAGS, on ? 0x202 : 2));
}

static void interrupt_acknowledge(void **state)
{
    struct world *w = *state;
    struct probe p = {.answer = VMLIB_HANDLED, .value = 0x31};
    OK(vmlib_vcpu_set_intr(w->vcpu, 1));
    push_action(w->vcpu, VMLIB_MOCK_RETIRE, 5);
    run_to(w->vcpu, VMLIB_EXIT_HLT); /* IF = 0 */
    set_if(w->vcpu, 1);
    struct vmlib_exit exit = run_to(w->vcpu, VMLIB_EXIT_INTERRUPT_WINDOW);
    assert_int_equal(exit.u.interrupt.requested, 0);
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_INTACK, 0, 0, &p));
    push_action(w->vcpu, VMLIB_MOCK_RETIRE, 5);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(p.calls, 1);
    assert_int_equal(result_of(w->vcpu).event.vector, 0x31);
    assert_int_equal(result_of(w->vcpu).event.type, VMLIB_EVENT_INTERRUPT);
    set_if(w->vcpu, 1);
    p.answer = VMLIB_PASS; /* spurious */
    push_action(w->vcpu, VMLIB_MOCK_RETIRE, 5);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(result_of(w->vcpu).delivered, 1);
    p.answer = VMLIB_HANDLED;
    p.value = 256;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    FAILS(VMLIB_E_INVAL, "vector", vmlib_vcpu_run(w->vcpu, NULL, &e));
    OK(vmlib_vcpu_set_intr(w->vcpu, 0));
    run_to(w->vcpu, VMLIB_EXIT_HLT);
}

static void interrupt_window_once(void **state)
{
    struct world *w = *state;
    OK(vmlib_vcpu_request_interrupt_window(w->vcpu, 1));
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    set_if(w->vcpu, 1);
    assert_int_equal(run_to(w->vcpu, VMLIB_EXIT_INTERRUPT_WINDOW).u.interrupt.requested, 1);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    OK(vmlib_vcpu_request_interrupt_window(w->vcpu, 1));
    OK(vmlib_vcpu_request_interrupt_window(w->vcpu, 0));
    run_to(w->vcpu, VMLIB_EXIT_HLT);
}

static void hypercalls(void **state)
{
    struct world *w = *state;
    struct vmlib_mock_step step = exit_step(VMLIB_EXIT_HYPERCALL);
    step.exit.u.hypercall.rax = 5;
    push(w->vcpu, &step);
    struct vmlib_exit exit = run_to(w->vcpu, VMLIB_EXIT_HYPERCALL);
    assert_int_equal(exit.u.hypercall.rax, 5);
    /* Registers may be set before the answer, for this reason only. */
    OK(vmlib_vcpu_set_reg(w->vcpu, VMLIB_REG_RBX, 1));
    OK(vmlib_vcpu_complete(w->vcpu, NULL, 0));
    assert_int_equal(result_of(w->vcpu).exit.u.hypercall.result, 5);
    struct probe p = {.answer = VMLIB_HANDLED};
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_HYPERCALL, 5, 5, &p));
    push(w->vcpu, &step);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(p.calls, 1);
}

static void removal_and_release(void **state)
{
    struct world *w = *state;
    struct probe p = {.answer = VMLIB_HANDLED};
    vmlib_handler *h = add(w->vm, VMLIB_HANDLER_PIO, 1, 1, &p);
    OK(vmlib_handler_remove(h));
    assert_int_equal(p.released, 1);
    FAILS(VMLIB_E_NOTFOUND, "handler", vmlib_handler_remove(h));
    vmlib_handler_unref(h);
    assert_int_equal(p.released, 1);
    push_pio(w->vcpu, 1, 1, 0);
    run_to(w->vcpu, VMLIB_EXIT_PIO);
    assert_int_equal(p.calls, 0);
}

/* A handler removes itself: it is released when it has returned. */
struct self {
    vmlib_handler *handler;
    unsigned released, released_inside;
};

static void self_released(void *opaque)
{
    ((struct self *)opaque)->released++;
}

static int remove_self(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct self *s = opaque;
    (void)vcpu, (void)exit;
    OK(vmlib_handler_remove(s->handler));
    s->released_inside = s->released;
    return VMLIB_HANDLED;
}

static void removal_from_inside(void **state)
{
    struct world *w = *state;
    struct self s = {NULL, 0, 0};
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    config.last = 10;
    config.fn = remove_self;
    config.opaque = &s;
    config.release = self_released;
    OK(vmlib_handler_add(w->vm, &config, &s.handler));
    push_pio(w->vcpu, 3, 1, 0);
    push_pio(w->vcpu, 3, 1, 0);
    run_to(w->vcpu, VMLIB_EXIT_PIO);
    assert_int_equal(s.released_inside, 0);
    assert_int_equal(s.released, 1);
    vmlib_handler_unref(s.handler);
}

static void end_of_vm_releases(void **state)
{
    (void)state;
    struct probe p = {.answer = VMLIB_HANDLED};
    vmlib_vm *vm = mock_vm();
    vmlib_handler *h = add(vm, VMLIB_HANDLER_PIO, 1, 1, &p);
    vmlib_vm_unref(vm);
    assert_int_equal(p.released, 0); /* the handle holds the VM */
    vmlib_handler_unref(h);
    assert_int_equal(p.released, 1);
}

struct bell {
    unsigned rings, released;
    uint64_t value;
};

static void ring(void *opaque, uint64_t value)
{
    struct bell *b = opaque;
    b->rings++;
    b->value = value;
}

static void bell_released(void *opaque)
{
    ((struct bell *)opaque)->released++;
}

static void doorbells(void **state)
{
    struct world *w = *state;
    struct probe p = {.answer = VMLIB_HANDLED};
    struct bell b = {0, 0, 0};
    struct vmlib_doorbell_config config = VMLIB_DOORBELL_CONFIG_INIT;
    vmlib_doorbell *bell = NULL, *other = NULL;
    vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_MMIO, 0, 0xfff, &p));
    config.kind = VMLIB_DOORBELL_MMIO;
    config.address = 0x50;
    config.width = 4;
    config.flags = VMLIB_DOORBELL_MATCH;
    config.value = 2;
    config.fn = ring;
    config.opaque = &b;
    config.release = bell_released;
    OK(vmlib_doorbell_add(w->vm, &config, &bell));
    FAILS(VMLIB_E_EXISTS, "doorbell", vmlib_doorbell_add(w->vm, &config, &other));
    push_access(w->vcpu, 0x50, 4, 1, 2);
    push_access(w->vcpu, 0x50, 4, 1, 3); /* other value */
    push_access(w->vcpu, 0x50, 2, 1, 2); /* other width */
    push_access(w->vcpu, 0x50, 4, 0, 0); /* read */
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(b.rings, 1);
    assert_int_equal(b.value, 2);
    assert_int_equal(p.calls, 3);
    OK(vmlib_doorbell_remove(bell));
    assert_int_equal(b.released, 1);
    vmlib_doorbell_unref(vmlib_doorbell_ref(bell));
    vmlib_doorbell_unref(bell);
    push_access(w->vcpu, 0x50, 4, 1, 2);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(b.rings, 1);
}

static void doorbell_to_a_descriptor(void **state)
{
    struct world *w = *state;
    int fds[2];
    uint64_t word = 0;
    struct vmlib_doorbell_config config = VMLIB_DOORBELL_CONFIG_INIT;
    assert_int_equal(pipe(fds), 0);
    config.address = 0x500;
    config.fd = fds[1];
    OK(vmlib_doorbell_add(w->vm, &config, NULL));
    push_pio(w->vcpu, 0x500, 1, 9);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(read(fds[0], &word, sizeof(word)), sizeof(word));
    assert_int_equal(word, 1);
    close(fds[0]);
    close(fds[1]);
}

static int read_header(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)vcpu;
    *(struct vmlib_exit *)opaque = *exit;
    return VMLIB_HANDLED;
}

static void header_on_request(void **state)
{
    struct world *w = *state;
    struct vmlib_exit seen = VMLIB_EXIT_INIT;
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    config.last = 0xffff;
    config.flags = VMLIB_HANDLER_HEADER;
    config.fn = read_header;
    config.opaque = &seen;
    OK(vmlib_handler_add(w->vm, &config, NULL));
    struct vmlib_mock_step step = exit_step(VMLIB_EXIT_PIO);
    step.exit.u.pio.width = 2;
    step.exit.u.pio.write = 1;
    step.exit.insn_len = 3;
    push(w->vcpu, &step);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(seen.rip, 0xfff0);
    assert_int_equal(seen.insn_len, 3);
    assert_int_equal(seen.insn[2], 0x90);
    assert_int_equal(seen.insn[3], 0);
}

static void many_overlapping_ranges(void **state)
{
    struct world *w = *state;
    static struct probe p[64];
    for (unsigned i = 0; i < 64; i++) {
        p[i] = (struct probe){.answer = VMLIB_HANDLED};
        vmlib_handler_unref(add(w->vm, VMLIB_HANDLER_PIO, i * 7 % 64, 64 + i, &p[i]));
    }
    for (uint16_t port = 0; port < 130; port++) {
        int expected = -1;
        for (int i = 63; i >= 0 && expected < 0; i--) {
            expected = port >= i * 7 % 64 && port <= 64 + i ? i : -1;
        }
        unsigned before = expected >= 0 ? p[expected].calls : 0;
        push_pio(w->vcpu, port, 1, 0);
        run_to(w->vcpu, expected >= 0 ? VMLIB_EXIT_HLT : VMLIB_EXIT_PIO);
        if (expected >= 0) {
            assert_int_equal(p[expected].calls, before + 1);
        }
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(handled_read_completes),
        CASE(edges_of_a_range),
        CASE(youngest_first_and_pass),
        CASE(all_pass_returns_the_record),
        CASE(stop_ends_the_run_after_the_instruction),
        CASE(inject_replaces_the_instruction),
        CASE(wrong_answers_are_errors),
        CASE(msr_policy_and_known),
        CASE(cpuid_handlers_edit_the_answer),
        CASE(exceptions_by_mask),
        CASE(interrupt_acknowledge),
        CASE(interrupt_window_once),
        CASE(hypercalls),
        CASE(removal_and_release),
        CASE(removal_from_inside),
        cmocka_unit_test(end_of_vm_releases),
        CASE(doorbells),
        CASE(doorbell_to_a_descriptor),
        CASE(header_on_request),
        CASE(many_overlapping_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
