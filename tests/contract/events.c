/* doc/exit-contract.md, sections 4 and 7: events without access, interrupts. */
#include "modes.h"

#define IF 0x200u

GUEST(g_hlt, "nop; hlt; outb %al, $0x11; hlt");

static void s4_1_halt(void **state)
{
    struct world *w = *state;
    LOAD(w, g_hlt);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_HLT);
    world_counted(&e, 2);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 2);
    assert_int_equal(world_events(w).flags & VMLIB_EVENTS_HALTED, VMLIB_EVENTS_HALTED);
    e = world_run(w, VMLIB_EXIT_HLT); /* again, for nothing has changed */
    world_counted(&e, 0);
    OK(vmlib_vcpu_set_intr(w->vcpu, 1)); /* IF = 0: stays halted */
    world_run(w, VMLIB_EXIT_HLT);
    OK(vmlib_vcpu_set_intr(w->vcpu, 0));
}

static void s4_1_nmi_ends_the_halt(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_NMI);
    LOAD(w, g_hlt);
    world_vector_to_port(w, 2, 0x22);
    world_run(w, VMLIB_EXIT_HLT);
    OK(vmlib_vcpu_nmi(w->vcpu));
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x22);
    assert_int_equal(world_word(w, STACK - 6, 2), CODE + 2); /* behind HLT */
    assert_int_equal(world_events(w).flags & VMLIB_EVENTS_HALTED, 0);
    /* 7.4: one more is remembered, and held back until IRET. */
    assert_int_equal(world_events(w).flags & VMLIB_EVENTS_NMI_BLOCKED, VMLIB_EVENTS_NMI_BLOCKED);
    OK(vmlib_vcpu_nmi(w->vcpu));
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_events(w).flags & VMLIB_EVENTS_NMI_PENDING, VMLIB_EVENTS_NMI_PENDING);
}

static void s4_1_init_and_sipi(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_NMI);
    LOAD(w, g_hlt);
    OK(vmlib_vcpu_init(w->vcpu));
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_events(w).flags & VMLIB_EVENTS_WAIT_SIPI, VMLIB_EVENTS_WAIT_SIPI);
    OK(vmlib_vcpu_nmi(w->vcpu)); /* does not wake it */
    world_run(w, VMLIB_EXIT_HLT);
    OK(vmlib_vm_write(w->vm, 0x9000, "\xe6\x55\xf4", 3));
    OK(vmlib_vcpu_sipi(w->vcpu, 9));
    /* The NMI, which INIT has not dropped, may come first. */
    world_vector_to_port(w, 2, 0x22);
    world_run(w, VMLIB_EXIT_PIO);
    assert_int_equal(world_events(w).flags & VMLIB_EVENTS_WAIT_SIPI, 0);
}

GUEST(g_ud, "ud2; outb %al, $0x11; hlt");

static void s4_2_exception_exit(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_EXCEPTION_EXITS);
    LOAD(w, g_ud);
    world_vector_to_port(w, 6, 0x66);
    OK(vmlib_vcpu_set_exception_exits(w->vcpu, 1u << 6));
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_EXCEPTION);
    assert_int_equal(e.u.exception.event.vector, 6);
    assert_int_equal(e.u.exception.event.type, VMLIB_EVENT_EXCEPTION);
    assert_int_equal(e.flags & VMLIB_EXIT_F_PENDING, 0);
    assert_int_equal(e.rip, CODE);
    world_counted(&e, 0);
    assert_int_equal(world_reg(w, VMLIB_REG_RSP), STACK); /* nothing pushed yet */
    assert_int_equal(world_events(w).injected.vector, 6);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x66);
    assert_int_equal(world_word(w, STACK - 6, 2), CODE);
}

static void s4_2_host_removes_it(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_EXCEPTION_EXITS);
    struct vmlib_state s;
    LOAD(w, g_ud);
    OK(vmlib_vcpu_set_exception_exits(w->vcpu, 1u << 6));
    world_run(w, VMLIB_EXIT_EXCEPTION);
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    memset(&s.events.injected, 0, sizeof(s.events.injected));
    OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    world_set(w, VMLIB_REG_RIP, CODE + 2);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x11);
}

GUEST(g_int3, "int3; int $0x30; hlt");

static void s4_2_software_interrupts(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_EXCEPTION_EXITS);
    LOAD(w, g_int3);
    world_vector(w, 3, CODE + 1);
    world_vector_to_port(w, 0x30, 0x31);
    OK(vmlib_vcpu_set_exception_exits(w->vcpu, UINT32_MAX));
    struct vmlib_event e = world_run(w, VMLIB_EXIT_EXCEPTION).u.exception.event;
    assert_int_equal(e.vector, 3);
    assert_int_equal(e.type, VMLIB_EVENT_SOFTWARE_EXC);
    assert_int_equal(e.insn_len, 1);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x31); /* INT n is not shown */
    assert_int_equal(world_word(w, STACK - 6, 2), CODE + 1);
}

static void s4_3_shutdown(void **state)
{
    struct world *w = *state;
    struct vmlib_table idt = {.base = IDT, .limit = 0};
    world_mode(w, W_PROT0, g_ud, g_ud_end); /* KVM's emulation of real mode has no limit */
    OK(vmlib_vcpu_set_reg_wide(w->vcpu, VMLIB_REG_IDTR, &idt, sizeof(idt)));
    world_run(w, VMLIB_EXIT_SHUTDOWN);
    assert_int_equal(world_events(w).flags & VMLIB_EVENTS_SHUTDOWN, VMLIB_EVENTS_SHUTDOWN);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_SHUTDOWN);
    world_counted(&e, 0);
    OK(vmlib_vcpu_init(w->vcpu));
    world_run(w, VMLIB_EXIT_HLT); /* waits for a start-up IPI */
}

GUEST(g_sti, "cli; nop; sti; nop; nop; hlt");

static void s4_4_window_and_shadow(void **state)
{
    world_machine("s4_4_window_and_shadow");
    struct world *w = *state;
    LOAD(w, g_sti);
    OK(vmlib_vcpu_request_interrupt_window(w->vcpu, 1));
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_INTERRUPT_WINDOW);
    assert_int_equal(e.u.interrupt.requested, 1);
    assert_int_equal(e.insn_len, 0);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 4); /* one instruction after STI */
    assert_int_equal(e.rip, CODE + 4);
    world_run(w, VMLIB_EXIT_HLT); /* once */
}

GUEST(g_movss, "sti; movw %cx, %ss; nop; nop; hlt");

static void s4_4_shadow_of_mov_ss(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_BUDGET); /* to stop behind STI */
    LOAD(w, g_movss);
    world_run_with(w, 0, 0, 1);
    OK(vmlib_vcpu_request_interrupt_window(w->vcpu, 1));
    world_set(w, VMLIB_REG_RIP, CODE + 1);
    struct vmlib_state s;
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    assert_int_equal(s.events.flags & VMLIB_EVENTS_SHADOW_STI, VMLIB_EVENTS_SHADOW_STI);
    world_run(w, VMLIB_EXIT_INTERRUPT_WINDOW);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 4); /* MOV SS and the NOP behind it */
}

static int acknowledge(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    int *answer = opaque;
    exit->u.interrupt.vector = 0x40;
    if (*answer == VMLIB_HANDLED) {
        OK(vmlib_vcpu_set_intr(vcpu, 0));
    }
    return *answer;
}

GUEST(g_wait, "sti; nop; nop; nop; hlt; outb %al, $0x12; hlt");

static void s7_3_interrupt(void **state)
{
    world_machine("s7_3_interrupt");
    struct world *w = *state;
    int answer = VMLIB_HANDLED;
    LOAD(w, g_wait);
    world_vector_to_port(w, 0x40, 0x44);
    OK(vmlib_vcpu_set_intr(w->vcpu, 1));
    /* Without a handler the host is told. */
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_INTERRUPT_WINDOW);
    assert_int_equal(e.u.interrupt.requested, 0);
    world_handler(w, VMLIB_HANDLER_INTACK, 0, 0, acknowledge, &answer);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x44);
    assert_int_equal(world_word(w, STACK - 6, 2), CODE + 2);
    assert_int_equal(world_reg(w, VMLIB_REG_RFLAGS) & IF, 0);
}

static void s7_3_interrupt_ends_the_halt(void **state)
{
    struct world *w = *state;
    int answer = VMLIB_HANDLED;
    LOAD(w, g_wait);
    world_vector_to_port(w, 0x40, 0x44);
    world_handler(w, VMLIB_HANDLER_INTACK, 0, 0, acknowledge, &answer);
    world_run(w, VMLIB_EXIT_HLT);
    OK(vmlib_vcpu_set_intr(w->vcpu, 1));
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x44);
    assert_int_equal(world_word(w, STACK - 6, 2), CODE + 5);
}

static void s7_3_spurious(void **state)
{
    struct world *w = *state;
    int answer = VMLIB_PASS;
    LOAD(w, g_wait);
    world_handler(w, VMLIB_HANDLER_INTACK, 0, 0, acknowledge, &answer);
    OK(vmlib_vcpu_set_intr(w->vcpu, 1));
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_reg(w, VMLIB_REG_RSP), STACK);
    OK(vmlib_vcpu_set_intr(w->vcpu, 0));
}

GUEST(g_nops, "nop; nop; hlt");

static void s7_2_injection(void **state)
{
    struct world *w = *state;
    struct vmlib_event event = {.type = VMLIB_EVENT_INTERRUPT, .vector = 0x50};
    LOAD(w, g_nops);
    world_vector_to_port(w, 0x50, 0x51);
    OK(vmlib_vcpu_inject(w->vcpu, &event)); /* IF is 0 */
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x51);
    assert_int_equal(world_word(w, STACK - 6, 2), CODE);
    LOAD(w, g_nops);
    event = (struct vmlib_event){.type = VMLIB_EVENT_SOFTWARE_INT, .vector = 0x50, .insn_len = 2};
    OK(vmlib_vcpu_inject(w->vcpu, &event));
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x51);
    assert_int_equal(world_word(w, STACK - 6, 2), CODE + 2);
}

static void s7_2_injected_is_not_shown(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_EXCEPTION_EXITS);
    struct vmlib_event event = {.type = VMLIB_EVENT_EXCEPTION, .vector = 6};
    LOAD(w, g_nops);
    world_vector_to_port(w, 6, 0x66);
    OK(vmlib_vcpu_set_exception_exits(w->vcpu, UINT32_MAX));
    OK(vmlib_vcpu_inject(w->vcpu, &event));
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x66);
}

static void s7_1_injected_before_nmi(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_NMI);
    struct vmlib_event event = {.type = VMLIB_EVENT_INTERRUPT, .vector = 0x50};
    LOAD(w, g_nops);
    world_vector_to_port(w, 0x50, 0x51);
    world_vector_to_port(w, 2, 0x22);
    OK(vmlib_vcpu_inject(w->vcpu, &event));
    OK(vmlib_vcpu_nmi(w->vcpu));
    /* The NMI interrupts the first instruction of the injected event's handler. */
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x22);
    assert_int_equal(world_word(w, STACK - 6, 2), CODE);
    assert_int_equal(world_word(w, STACK - 12, 2), 0x600 + 4 * 0x50);
}

/* --- debug --- */

GUEST(g_steps, "nop; incw %ax; outb %al, $0x10; pushw %ax; hlt");

static void s4_5_single_step(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_SINGLE_STEP);
    static const uint16_t at[] = {1, 2, 4, 5};
    LOAD(w, g_steps);
    for (unsigned i = 0; i < 4; i++) {
        struct vmlib_exit e = world_run_with(w, VMLIB_RUN_SINGLE_STEP, 0, 0);
        if (i == 2) {
            assert_int_equal(e.reason, VMLIB_EXIT_PIO); /* the access comes before the step */
            assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 4);
            e = world_run_with(w, VMLIB_RUN_SINGLE_STEP, 0, 0);
        }
        assert_int_equal(e.reason, VMLIB_EXIT_DEBUG);
        assert_int_equal(e.u.debug.cause, VMLIB_DEBUG_STEP);
        assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + at[i]);
        assert_int_equal(world_reg(w, VMLIB_REG_RFLAGS) & 0x100, 0);
    }
}

static void breakpoint(struct world *w, uint32_t slot, uint32_t kind, uint64_t address,
                       uint32_t width)
{
    struct vmlib_breakpoint b = VMLIB_BREAKPOINT_INIT;
    b.kind = kind;
    b.address = address;
    b.width = width;
    OK(vmlib_vcpu_set_breakpoint(w->vcpu, slot, &b));
}

static void s4_5_breakpoint(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_BREAKPOINTS);
    LOAD(w, g_steps);
    breakpoint(w, 1, VMLIB_BREAKPOINT_EXEC, CODE + 1, 1);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_DEBUG);
    assert_int_equal(e.u.debug.cause, VMLIB_DEBUG_BREAKPOINT);
    assert_int_equal(e.u.debug.slots, 2);
    assert_int_equal(e.u.debug.address, CODE + 1);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 1);
    assert_int_equal(world_reg(w, VMLIB_REG_RAX) & 0xffff, 0);
    assert_int_equal(world_reg(w, VMLIB_REG_DR7) & 0xff, 0);
    world_run(w, VMLIB_EXIT_PIO); /* not again */
    world_set(w, VMLIB_REG_RIP, CODE);
    world_run(w, VMLIB_EXIT_DEBUG);
    OK(vmlib_vcpu_set_breakpoint(w->vcpu, 1, NULL));
    world_set(w, VMLIB_REG_RIP, CODE);
    world_run(w, VMLIB_EXIT_PIO);
}

GUEST(g_watch, "movb 0x5000, %al; movb %al, 0x5001; movb %al, 0x5002; hlt");

static void s4_5_watchpoint(void **state)
{
    world_machine("s4_5_watchpoint");
    struct world *w = *state;
    world_need(VMLIB_FEATURE_BREAKPOINTS);
    LOAD(w, g_watch);
    breakpoint(w, 0, VMLIB_BREAKPOINT_WRITE, 0x5000, 2);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_DEBUG);
    assert_int_equal(e.u.debug.cause, VMLIB_DEBUG_WATCHPOINT);
    assert_int_equal(e.u.debug.slots, 1);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 6); /* after the store to 0x5001 */
    world_run(w, VMLIB_EXIT_HLT);
    breakpoint(w, 0, VMLIB_BREAKPOINT_ACCESS, 0x5000, 1);
    LOAD(w, g_watch);
    struct vmlib_state s;
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    s.events.flags = 0;
    OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    world_run(w, VMLIB_EXIT_DEBUG);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 3);
}

static const struct CMUnitTest tests[] = {
    CASE(s4_1_halt),
    CASE(s4_1_nmi_ends_the_halt),
    CASE(s4_1_init_and_sipi),
    CASE(s4_2_exception_exit),
    CASE(s4_2_host_removes_it),
    CASE(s4_2_software_interrupts),
    CASE(s4_3_shutdown),
    CASE(s4_4_window_and_shadow),
    CASE(s4_4_shadow_of_mov_ss),
    CASE(s7_3_interrupt),
    CASE(s7_3_interrupt_ends_the_halt),
    CASE(s7_3_spurious),
    CASE(s7_2_injection),
    CASE(s7_2_injected_is_not_shown),
    CASE(s7_1_injected_before_nmi),
    CASE(s4_5_single_step),
    CASE(s4_5_breakpoint),
    CASE(s4_5_watchpoint),
};
MAIN(tests)
