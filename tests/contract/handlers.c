/* doc/exit-contract.md, section 5: handlers inside run. */
#include "world.h"

struct seen {
    int answer;
    unsigned calls;
    uint64_t rip, rax;
    uint32_t value;
    uint64_t set_rip, set_rax;
    struct vmlib_event inject;
};

static int handler(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct seen *s = opaque;
    s->calls++;
    OK(vmlib_vcpu_get_reg(vcpu, VMLIB_REG_RIP, &s->rip));
    OK(vmlib_vcpu_get_reg(vcpu, VMLIB_REG_RAX, &s->rax));
    if (exit->reason == VMLIB_EXIT_PIO && !exit->u.pio.write) {
        exit->u.pio.value = s->value;
    } else if (exit->reason == VMLIB_EXIT_MMIO && !exit->u.mmio.write) {
        exit->u.mmio.value = s->value;
    } else if (exit->reason == VMLIB_EXIT_MSR && !exit->u.msr.write) {
        exit->u.msr.value = s->value;
    } else if (exit->reason == VMLIB_EXIT_CPUID) {
        exit->u.cpuid.ebx = s->value;
    }
    if (s->set_rax != 0) {
        OK(vmlib_vcpu_set_reg(vcpu, VMLIB_REG_RAX, s->set_rax));
    }
    if (s->set_rip != 0) {
        OK(vmlib_vcpu_set_reg(vcpu, VMLIB_REG_RIP, s->set_rip));
    }
    if (s->inject.type != VMLIB_EVENT_NONE) {
        exit->inject = s->inject;
    }
    return s->answer;
}

GUEST(g_io, "movw $0x1111, %ax; inb $0x10, %al; outw %ax, $0x20; nop; hlt");

static void s5_1_state_before(void **state)
{
    struct world *w = *state;
    struct seen in = {.answer = VMLIB_HANDLED, .value = 0x1ff}, out = {.answer = VMLIB_HANDLED};
    LOAD(w, g_io);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x10, handler, &in);
    world_handler(w, VMLIB_HANDLER_PIO, 0x20, 0x20, handler, &out);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_HLT);
    world_counted(&e, 5);
    assert_int_equal(in.rip, CODE + 3);
    assert_int_equal(in.rax, 0x1111);
    assert_int_equal(out.rip, CODE + 5);
    assert_int_equal(out.rax, 0x11ff); /* 5.3: only AL, only 8 bits */
    assert_int_equal(in.calls + out.calls, 2);
}

static void s5_4_inject(void **state)
{
    struct world *w = *state;
    struct seen s = {
        .answer = VMLIB_INJECT,
        .inject = {.type = VMLIB_EVENT_EXCEPTION, .vector = 13, .flags = VMLIB_EVENT_HAS_ERROR}};
    LOAD(w, g_io);
    world_vector_to_port(w, 13, 0x77);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x10, handler, &s);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x77);
    assert_int_equal(world_word(w, STACK - 6, 2), CODE + 3);
    assert_int_equal(world_reg(w, VMLIB_REG_RAX), 0x1111);
}

static void s5_5_stop(void **state)
{
    struct world *w = *state;
    struct seen s = {.answer = VMLIB_STOP, .value = 0x22};
    LOAD(w, g_io);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x20, handler, &s);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_STOPPED);
    assert_int_equal(e.rip, CODE + 5);
    world_counted(&e, 2);
    assert_int_equal(world_reg(w, VMLIB_REG_RAX), 0x1122);
    e = world_run(w, VMLIB_EXIT_STOPPED); /* OUT */
    assert_int_equal(e.rip, CODE + 7);
    world_run(w, VMLIB_EXIT_HLT);
}

static void s5_6_error_and_repeat(void **state)
{
    struct world *w = *state;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    struct seen s = {.answer = VMLIB_E_USER - 1, .value = 3};
    LOAD(w, g_io);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x20, handler, &s);
    assert_int_equal(vmlib_vcpu_run(w->vcpu, NULL, &e), VMLIB_E_USER - 1);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 3);
    s.answer = VMLIB_HANDLED;
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(s.calls, 3);
    assert_int_equal(world_reg(w, VMLIB_REG_RAX), 0x1103);
}

static void s5_7_registers(void **state)
{
    struct world *w = *state;
    struct seen in = {.answer = VMLIB_HANDLED, .value = 0x33, .set_rax = 0xaaaa};
    LOAD(w, g_io);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x10, handler, &in);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.value,
                     0xaa33); /* IN writes AL afterwards */
}

GUEST(g_skip, "outb %al, $0x10; outb %al, $0x66; outb %al, $0x67; hlt");

static void s5_7_rip(void **state)
{
    struct world *w = *state;
    struct seen s = {.answer = VMLIB_HANDLED, .set_rip = CODE + 4};
    LOAD(w, g_skip);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x10, handler, &s);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x67);
}

GUEST(g_mmio, "addr32 movl 0xa0008, %eax; addr32 addl $2, 0xa0008; hlt");

static void mmio_handler(void **state)
{
    struct world *w = *state;
    struct seen s = {.answer = VMLIB_HANDLED, .value = 40};
    LOAD(w, g_mmio);
    world_handler(w, VMLIB_HANDLER_MMIO, 0xa0000, 0xa0fff, handler, &s);
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(s.calls, 3); /* 5.1: once per access */
    assert_int_equal(world_reg(w, VMLIB_REG_RAX), 40);
}

GUEST(g_own, "movl $0x174, %ecx; rdmsr; movl %eax, %esi; movl $0x55, %eax; wrmsr; "
             "movl $1, %eax; cpuid; hlt");

static void s5_8_own_msrs_and_cpuid(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_MSR_HANDLERS);
    world_need(VMLIB_FEATURE_CPUID_HANDLERS);
    struct seen msr = {.answer = VMLIB_HANDLED, .value = 0x1234},
                leaf = {.answer = VMLIB_HANDLED, .value = 0x77};
    struct vmlib_state s;
    LOAD(w, g_own);
    world_handler(w, VMLIB_HANDLER_MSR, 0x174, 0x174, handler, &msr);
    world_handler(w, VMLIB_HANDLER_CPUID, 1, 1, handler, &leaf);
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_reg(w, VMLIB_REG_RSI), 0x1234);
    assert_int_equal(world_reg(w, VMLIB_REG_RBX), 0x77);
    assert_int_equal(msr.calls, 2);
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_MSRS, &s));
    assert_int_equal(s.msrs.sysenter_cs, 0); /* the handler took the write */
}

static void s5_8_pass_goes_to_the_backend(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_MSR_HANDLERS);
    struct seen msr = {.answer = VMLIB_PASS};
    struct vmlib_state s;
    LOAD(w, g_own);
    world_handler(w, VMLIB_HANDLER_MSR, 0x174, 0x174, handler, &msr);
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(msr.calls, 2);
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_MSRS, &s));
    assert_int_equal(s.msrs.sysenter_cs, 0x55);
}

GUEST(g_ud, "ud2; outb %al, $0x11; hlt");

static void exception_handler(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_EXCEPTION_EXITS);
    struct seen s = {.answer = VMLIB_HANDLED, .set_rip = CODE + 2};
    LOAD(w, g_ud);
    world_vector_to_port(w, 6, 0x66);
    OK(vmlib_vcpu_set_exception_exits(w->vcpu, 1u << 6));
    world_handler(w, VMLIB_HANDLER_EXCEPTION, 6, 6, handler, &s);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x11); /* swallowed */
    assert_int_equal(s.rip, CODE);
    LOAD(w, g_ud);
    s = (struct seen){.answer = VMLIB_INJECT}; /* unchanged: the exception itself */
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x66);
    LOAD(w, g_ud);
    s = (struct seen){.answer = VMLIB_PASS}; /* all pass: returned */
    world_run(w, VMLIB_EXIT_EXCEPTION);
}

GUEST(g_vmcall, "movl $7, %eax; vmcall; hlt");

static int hypercall(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)opaque, (void)vcpu;
    exit->u.hypercall.result = exit->u.hypercall.rax + 1;
    return VMLIB_HANDLED;
}

static void hypercall_handler(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_HYPERCALL_HANDLERS);
    LOAD(w, g_vmcall);
    world_handler(w, VMLIB_HANDLER_HYPERCALL, 7, 7, hypercall, NULL);
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_reg(w, VMLIB_REG_RAX), 8);
}

static void rung(void *opaque, uint64_t value)
{
    *(uint64_t *)opaque = value;
}

GUEST(g_ring, "movw $0x1234, %ax; outw %ax, $0x50; addr32 movl %eax, 0xa0000; hlt");

static void s5_9_doorbells(void **state)
{
    struct world *w = *state;
    uint64_t port = 0, memory = 0;
    struct vmlib_doorbell_config config = VMLIB_DOORBELL_CONFIG_INIT;
    LOAD(w, g_ring);
    config.address = 0x50;
    config.fn = rung;
    config.opaque = &port;
    OK(vmlib_doorbell_add(w->vm, &config, NULL));
    config.kind = VMLIB_DOORBELL_MMIO;
    config.address = HOLE;
    config.opaque = &memory;
    OK(vmlib_doorbell_add(w->vm, &config, NULL));
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(port, 0x1234);
    assert_int_equal(memory, 0x1234);
}

GUEST(g_rep, "movw $0x2000, %si; movw $4, %cx; movw $0x44, %dx; rep outsb; hlt");

static void s5_5_stop_in_rep(void **state)
{
    struct world *w = *state;
    struct seen s = {.answer = VMLIB_STOP};
    LOAD(w, g_rep);
    world_handler(w, VMLIB_HANDLER_PIO, 0x44, 0x44, handler, &s);
    for (unsigned i = 1; i <= 4; i++) {
        world_run(w, VMLIB_EXIT_STOPPED);
        assert_int_equal(s.calls, i);
        assert_int_equal(world_reg(w, VMLIB_REG_RCX), 4 - i);
    }
    world_run(w, VMLIB_EXIT_HLT);
}

static const struct CMUnitTest tests[] = {
    CASE(s5_1_state_before),
    CASE(s5_4_inject),
    CASE(s5_5_stop),
    CASE(s5_6_error_and_repeat),
    CASE(s5_7_registers),
    CASE(s5_7_rip),
    CASE(mmio_handler),
    CASE(s5_8_own_msrs_and_cpuid),
    CASE(s5_8_pass_goes_to_the_backend),
    CASE(exception_handler),
    CASE(hypercall_handler),
    CASE(s5_9_doorbells),
    CASE(s5_5_stop_in_rep),
};
MAIN(tests)
