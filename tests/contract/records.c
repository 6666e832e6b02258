/* doc/exit-contract.md: what holds between records. Counting, order of reasons, several handlers,
 * accesses that fault, registers that handlers change. */
#include "modes.h"

struct seen {
    int answer;
    unsigned calls;
    uint64_t value;
    bool changes; /* a register */
    uint32_t reg;
    uint64_t set;
    bool cancel;
};

static int handler(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct seen *s = opaque;
    s->calls++;
    if (exit->reason == VMLIB_EXIT_PIO && !exit->u.pio.write) {
        exit->u.pio.value = (uint32_t)s->value;
    } else if (exit->reason == VMLIB_EXIT_MMIO && !exit->u.mmio.write) {
        exit->u.mmio.value = s->value;
    }
    if (s->changes) {
        OK(vmlib_vcpu_set_reg(vcpu, s->reg, s->set));
    }
    if (s->cancel) {
        OK(vmlib_vcpu_cancel(vcpu));
    }
    return s->answer;
}

/* --- 1: records --- */

GUEST(g_in, "nop; inb $0x10, %al; nop; outb %al, $0x20; hlt");

static void s1_1_an_error_writes_no_record(void **state)
{
    struct world *w = *state;
    struct vmlib_exit e, before;
    struct seen s = {.answer = VMLIB_E_USER - 3};
    LOAD(w, g_in);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x10, handler, &s);
    memset(&e, 0x5a, sizeof(e));
    e.size = sizeof(e);
    before = e;
    assert_int_equal(vmlib_vcpu_run(w->vcpu, NULL, &e), VMLIB_E_USER - 3);
    assert_memory_equal(&e, &before, sizeof(e));
}

static void s1_3_the_numbers_add_up(void **state)
{
    struct world *w = *state;
    uint64_t sum = 0;
    uint8_t value = 3;
    world_need(VMLIB_FEATURE_INSN_COUNT);
    LOAD(w, g_in);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_PIO);
    assert_int_equal(e.instructions, 1);
    sum += e.instructions;
    OK(vmlib_vcpu_complete(w->vcpu, &value, 1));
    e = world_run(w, VMLIB_EXIT_PIO);
    assert_int_equal(e.instructions, 3); /* IN, finished by complete; NOP; OUT */
    sum += e.instructions;
    sum += world_run(w, VMLIB_EXIT_HLT).instructions;
    assert_int_equal(sum, 5);
}

static void s1_3_errors_lose_nothing(void **state)
{
    struct world *w = *state;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    struct seen s = {.answer = VMLIB_E_USER - 1};
    world_need(VMLIB_FEATURE_INSN_COUNT);
    LOAD(w, g_in);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x10, handler, &s);
    assert_int_equal(vmlib_vcpu_run(w->vcpu, NULL, &e), VMLIB_E_USER - 1);
    s.answer = VMLIB_HANDLED;
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).instructions, 4);
}

GUEST(g_two_writes, "movl $0xa0ffe, %ebx; addr32 movl %eax, (%ebx); nop; nop; hlt");

/* Guest events first, then cancel, then the limits; what was not reported stays. */
static void s1_5_records_before_cancel(void **state)
{
    struct world *w = *state;
    LOAD(w, g_two_writes);
    world_run(w, VMLIB_EXIT_MMIO);
    OK(vmlib_vcpu_cancel(w->vcpu));
    assert_int_equal(world_run(w, VMLIB_EXIT_MMIO).u.mmio.gpa, 0xa1000);
    world_run(w, VMLIB_EXIT_CANCELLED);
    world_run(w, VMLIB_EXIT_HLT);
}

static void s1_5_cancel_before_stop_before_budget(void **state)
{
    struct world *w = *state;
    struct seen s = {.answer = VMLIB_STOP, .cancel = true};
    world_need(VMLIB_FEATURE_BUDGET);
    LOAD(w, g_in);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x10, handler, &s);
    assert_int_equal(world_run_with(w, 0, 0, 2).reason, VMLIB_EXIT_CANCELLED);
    assert_int_equal(world_run_with(w, 0, 0, 2).reason, VMLIB_EXIT_STOPPED); /* has stayed */
    assert_int_equal(world_run_with(w, 0, 0, 1).reason, VMLIB_EXIT_BUDGET);
}

static void s1_5_cancel_before_stop(void **state)
{
    struct world *w = *state;
    struct seen s = {.answer = VMLIB_STOP, .cancel = true};
    LOAD(w, g_in);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x10, handler, &s);
    world_run(w, VMLIB_EXIT_CANCELLED);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 3); /* IN has completed */
    world_run(w, VMLIB_EXIT_STOPPED);
    assert_int_equal(s.calls, 1);
    world_run(w, VMLIB_EXIT_PIO);
}

static void s1_5_stop_before_budget(void **state)
{
    struct world *w = *state;
    struct seen s = {.answer = VMLIB_STOP};
    world_need(VMLIB_FEATURE_BUDGET);
    LOAD(w, g_in);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x10, handler, &s);
    assert_int_equal(world_run_with(w, 0, 0, 2).reason, VMLIB_EXIT_STOPPED);
    assert_int_equal(world_run_with(w, 0, 0, 1).reason, VMLIB_EXIT_BUDGET);
}

static void s1_5_budget_before_deadline(void **state)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    (void)state;
    world_need(VMLIB_FEATURE_BUDGET);
    world_need(VMLIB_FEATURE_DETERMINISTIC); /* where the two can be reached at once */
    config.time_mode = VMLIB_TIME_DETERMINISTIC;
    struct world *w = world_create(&config);
    LOAD(w, g_two_writes);
    assert_int_equal(world_run_with(w, 0, 1, 1).reason, VMLIB_EXIT_BUDGET);
    assert_int_equal(world_run_with(w, 0, 1, 9).reason, VMLIB_EXIT_MMIO); /* ... before both */
    world_destroy(w);
}

/* --- 3: memory --- */

GUEST(g_edges, "addr32 movb 0x9ffff, %al; addr32 movb 0xbffff, %bl; addr32 movb 0xc0000, %cl;"
               "addr32 movb 0x200000, %dl; hlt");

static void s3_1_holes(void **state)
{
    struct world *w = *state;
    uint8_t value = 9;
    LOAD(w, g_edges);
    OK(vmlib_vm_write(w->vm, HOLE - 1, "\x71", 1));
    OK(vmlib_vm_write(w->vm, ROM, "\x72", 1));
    assert_int_equal(world_run(w, VMLIB_EXIT_MMIO).u.mmio.gpa, ROM - 1);
    OK(vmlib_vcpu_complete(w->vcpu, &value, 1));
    assert_int_equal(world_run(w, VMLIB_EXIT_MMIO).u.mmio.gpa, 0x200000);
    OK(vmlib_vcpu_complete(w->vcpu, &value, 1));
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_reg(w, VMLIB_REG_RAX) & 0xff, 0x71);
    assert_int_equal(world_reg(w, VMLIB_REG_RBX) & 0xff, 9);
    assert_int_equal(world_reg(w, VMLIB_REG_RCX) & 0xff, 0x72);
}

GUEST64(l_fault, "movl $0xa0000, %esi; movl $0x31000, %edi; movb %al, 0x30000; movsb");

/* The access that faults is not shown to handlers either. */
static void s3_3_no_handler_for_a_fault(void **state)
{
    struct world *w = *state;
    struct seen s = {.answer = VMLIB_HANDLED};
    world_mode(w, W_LONG3, l_fault, l_fault_end);
    world_pte(w, SUPER, 0xa3063); /* ring 0's page is a hole */
    world_handler(w, VMLIB_HANDLER_MMIO, HOLE, ROM - 1, handler, &s);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_PIO);
    assert_int_equal(e.u.pio.port, PORT_VECTOR);
    assert_int_equal(e.u.pio.value, 14);
    assert_int_equal(s.calls, 0);
    assert_int_equal(world_reg(w, VMLIB_REG_CR2), SUPER);
}

/* Without its REX prefix the instruction would store the same value: the record still has it. */
GUEST64(l_rex, "movl $0xa0000, %ebx; movl $7, %eax; movl $7, %r8d; movl %r8d, (%rbx); nop");

static void s1_2_the_prefix_belongs_to_it(void **state)
{
    struct world *w = *state;
    world_mode(w, W_LONG3, l_rex, l_rex_end);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_MMIO);
    assert_int_equal(e.u.mmio.value, 7);
    assert_int_equal(e.insn_len, 3);
    assert_memory_equal(e.insn, "\x44\x89\x03", 3);
    assert_int_equal(e.rip, CODE + (uint64_t)(l_rex_end - l_rex) - 4);
}

/* --- 5: handlers --- */

static void s5_2_the_youngest_first(void **state)
{
    struct world *w = *state;
    struct seen old = {.answer = VMLIB_HANDLED, .value = 1},
                young = {.answer = VMLIB_PASS, .value = 2};
    LOAD(w, g_in);
    world_handler(w, VMLIB_HANDLER_PIO, 0, 0x1f, handler, &old);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x30, handler, &young);
    world_run(w, VMLIB_EXIT_PIO); /* OUT: only the young one covers it, and it passes */
    assert_int_equal(young.calls, 2);
    assert_int_equal(old.calls, 1);
    assert_int_equal(world_reg(w, VMLIB_REG_RAX) & 0xff, 1);
    LOAD(w, g_in);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x10, NULL, NULL); /* returned, whoever is below */
    world_run(w, VMLIB_EXIT_PIO);
    assert_int_equal(old.calls + young.calls, 3);
}

GUEST(g_wide, "inw $0x1f, %ax; hlt");

static void s5_2_by_the_first_address(void **state)
{
    struct world *w = *state;
    struct seen low = {.answer = VMLIB_HANDLED, .value = 0x1234}, high = low;
    LOAD(w, g_wide);
    world_handler(w, VMLIB_HANDLER_PIO, 0x1f, 0x1f, handler, &low);
    world_handler(w, VMLIB_HANDLER_PIO, 0x20, 0x20, handler, &high);
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(low.calls, 1);
    assert_int_equal(high.calls, 0);
    assert_int_equal(world_reg(w, VMLIB_REG_RAX), 0x1234);
}

GUEST(g_all, "inb $0x10, %al; addr32 addw %ax, 0xa0000; movl $0xa0010, %esi; movl $0x3000, %edi;"
             "movl $2, %ecx; addr32 rep movsb; addr32 xchgl %ebx, 0xa0020; movw $0x44, %dx;"
             "movw $2, %cx; rep insb; hlt");

static struct vmlib_gpr end_with_records(struct world *w, uint64_t value)
{
    struct vmlib_state s;
    struct vmlib_exit e;
    s.size = sizeof(s);
    do {
        e = world_run_with(w, 0, 20000000000u, 0);
        if (e.flags & VMLIB_EXIT_F_PENDING) {
            uint32_t bytes = e.reason == VMLIB_EXIT_PIO ? e.u.pio.width : e.u.mmio.width;
            OK(vmlib_vcpu_complete(w->vcpu, &value, bytes));
        }
    } while (e.reason != VMLIB_EXIT_HLT);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_GPR, &s));
    return s.gpr;
}

static void s5_3_as_with_records(void **state)
{
    struct world *w = *state;
    struct seen s = {.answer = VMLIB_HANDLED, .value = 0x11111111};
    world_mode(w, W_REAL, g_all, g_all_end);
    struct vmlib_gpr records = end_with_records(w, s.value);
    uint32_t stored = world_word(w, 0x3000, 4);
    world_handler(w, VMLIB_HANDLER_PIO, 0, 0xffff, handler, &s);
    world_handler(w, VMLIB_HANDLER_MMIO, HOLE, ROM - 1, handler, &s);
    uint32_t zero = 0;
    OK(vmlib_vm_write(w->vm, 0x3000, &zero, 4));
    struct vmlib_state state0;
    state0.size = sizeof(state0);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_EVENTS, &state0));
    state0.events.flags = 0;
    OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &state0));
    world_mode(w, W_REAL, g_all, g_all_end);
    struct vmlib_gpr handlers = end_with_records(w, 0);
    assert_memory_equal(&records, &handlers, sizeof(records));
    assert_int_equal(world_word(w, 0x3000, 4), stored);
    assert_true(s.calls > 5);
}

/* A handler that fails at the write; the read before it may be asked again. */
static int fails_at_write(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct seen *s = opaque;
    (void)vcpu;
    s->calls++;
    if (!exit->u.mmio.write) {
        exit->u.mmio.value = 6;
        return VMLIB_HANDLED;
    }
    s->value = exit->u.mmio.value;
    return s->answer;
}

GUEST(g_add, "addr32 addb $1, 0xa0000; hlt");

static void s5_6_failure_in_the_middle(void **state)
{
    struct world *w = *state;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    struct seen s = {.answer = VMLIB_E_USER - 2};
    LOAD(w, g_add);
    world_handler(w, VMLIB_HANDLER_MMIO, HOLE, ROM - 1, fails_at_write, &s);
    assert_int_equal(vmlib_vcpu_run(w->vcpu, NULL, &e), VMLIB_E_USER - 2);
    assert_int_equal(s.calls, 2);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE); /* no effect */
    s.answer = VMLIB_HANDLED;
    world_run(w, VMLIB_EXIT_HLT);
    assert_true(s.calls == 3 || s.calls == 4);
    assert_int_equal(s.value, 7);
}

static void s2_2_everything_waits(void **state)
{
    struct world *w = *state;
    struct vmlib_event event = {.type = VMLIB_EVENT_INTERRUPT, .vector = 0x50};
    struct vmlib_state st;
    uint8_t value = 1;
    LOAD(w, g_in);
    world_run(w, VMLIB_EXIT_PIO);
    st.size = sizeof(st);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_ALL, &st));
    assert_int_equal(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_GPR, &st), VMLIB_E_STATE);
    assert_int_equal(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &st), VMLIB_E_STATE);
    assert_int_equal(vmlib_vcpu_inject(w->vcpu, &event), VMLIB_E_STATE);
    assert_int_equal(vmlib_vcpu_complete(w->vcpu, &value, 2), VMLIB_E_INVAL);
    OK(vmlib_vcpu_complete(w->vcpu, &value, 1));
    assert_int_equal(vmlib_vcpu_complete(w->vcpu, &value, 1), VMLIB_E_STATE);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_GPR, &st));
    OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_GPR, &st));
}

GUEST(g_load, "addr32 movl 0xa0000, %eax; movl %eax, %ebx; hlt");

static void s5_7_address_register(void **state)
{
    struct world *w = *state;
    struct seen s = {
        .answer = VMLIB_HANDLED, .value = 5, .changes = true, .reg = VMLIB_REG_RBX, .set = 77};
    LOAD(w, g_two_writes);
    world_handler(w, VMLIB_HANDLER_MMIO, HOLE, ROM - 1, handler, &s);
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_reg(w, VMLIB_REG_RBX), 77); /* in force afterwards */
    LOAD(w, g_load);
    s.reg = VMLIB_REG_RAX;
    world_set(w, VMLIB_REG_RBX, 0);
    struct vmlib_state st;
    st.size = sizeof(st);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_EVENTS, &st));
    st.events.flags = 0;
    OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &st));
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_reg(w, VMLIB_REG_RBX), 5); /* the load writes RAX after it */
}

/* A handler that takes the guest out of long mode: the instruction has no further effect. */
GUEST64(l_mode, "movl $1, %eax; movl 0xa0000, %eax; movl $2, %ebx; outb %al, $0x33");
GUEST(g_after, "outb %al, $0x44; hlt");

static int to_real_mode(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct world *w = opaque;
    (void)vcpu, (void)exit;
    struct vmlib_state s;
    s.size = sizeof(s);
    const uint32_t groups = VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL;
    OK(vmlib_vcpu_get_state(w->vcpu, groups, &s));
    s.control.cr0 = 0x10;
    s.control.cr4 = 0;
    s.control.efer = 0;
    struct vmlib_segment *data[] = {&s.segments.es, &s.segments.ss, &s.segments.ds, &s.segments.fs,
                                    &s.segments.gs};
    for (unsigned i = 0; i < 5; i++) {
        *data[i] = (struct vmlib_segment){.limit = 0xffff, .attributes = 0x93};
    }
    s.segments.cs = (struct vmlib_segment){.limit = 0xffff, .attributes = 0x93};
    s.gpr.rip = 0x2000;
    OK(vmlib_vcpu_set_state(w->vcpu, groups, &s));
    exit->u.mmio.value = 0xffffffff;
    return VMLIB_HANDLED;
}

static void s5_7_mode(void **state)
{
    struct world *w = *state;
    world_mode(w, W_LONG3, l_mode, l_mode_end);
    OK(vmlib_vm_write(w->vm, 0x2000, g_after, (uint64_t)(g_after_end - g_after)));
    world_handler(w, VMLIB_HANDLER_MMIO, HOLE, ROM - 1, to_real_mode, w);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_PIO);
    assert_int_equal(e.u.pio.port, 0x44);
    assert_int_equal(e.u.pio.value, 1); /* RAX as it was */
    assert_int_equal(e.mode, VMLIB_MODE_REAL);
    assert_int_equal(world_reg(w, VMLIB_REG_RBX), 0);
}

/* --- 6: limits --- */

static void s6_4_rep_is_split_at_elements(void **state)
{
    struct world *w = *state;
    struct seen s = {.answer = VMLIB_HANDLED, .cancel = true};
    static const uint8_t code[] = {0xbf, 0, 0x30, 0xb9, 5, 0, 0xba, 0x44, 0, 0xf3, 0x6c, 0xf4};
    world_load(w, code,
               code + sizeof(code)); /* mov $0x3000,%di; mov $5,%cx; mov $0x44,%dx; rep insb */
    world_handler(w, VMLIB_HANDLER_PIO, 0x44, 0x44, handler, &s);
    for (unsigned i = 1; i <= 5; i++) { /* each element's handler cancels the run */
        struct vmlib_exit e = world_run(w, VMLIB_EXIT_CANCELLED);
        assert_int_equal(s.calls, i);
        assert_int_equal(world_reg(w, VMLIB_REG_RCX), 5 - i);
        assert_int_equal(world_reg(w, VMLIB_REG_RDI), 0x3000 + i);
        assert_int_equal(e.rip, i < 5 ? CODE + 9 : CODE + 11);
    }
    world_run(w, VMLIB_EXIT_HLT);
}

static void s6_4_read_modify_write_is_not_split(void **state)
{
    struct world *w = *state;
    struct seen s = {.answer = VMLIB_HANDLED, .cancel = true, .value = 6};
    static const uint8_t code[] = {0x67, 0x80, 0x05, 0, 0, 0x0a, 0, 1, 0xf4}; /* addb $1, 0xa0000 */
    world_load(w, code, code + sizeof(code));
    world_handler(w, VMLIB_HANDLER_MMIO, HOLE, ROM - 1, handler, &s);
    world_run(w, VMLIB_EXIT_CANCELLED);
    assert_int_equal(s.calls, 2); /* the read and the write */
    assert_true(world_reg(w, VMLIB_REG_RIP) >= CODE + 8);
}

/* --- 7: interrupts --- */

GUEST(g_nmi, "nop; outb %al, $0x10; hlt");
GUEST(g_nmi_handler, "outb %al, $0x22; iret");

static void s7_4_one_nmi_is_remembered(void **state)
{
    world_machine("s7_4_one_nmi_is_remembered");
    struct world *w = *state;
    world_need(VMLIB_FEATURE_NMI);
    LOAD(w, g_nmi);
    OK(vmlib_vm_write(w->vm, 0x600, g_nmi_handler, (uint64_t)(g_nmi_handler_end - g_nmi_handler)));
    world_vector(w, 2, 0x600);
    OK(vmlib_vcpu_nmi(w->vcpu));
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x22);
    for (unsigned i = 0; i < 3; i++) { /* three while it is in service: one is remembered */
        OK(vmlib_vcpu_nmi(w->vcpu));
    }
    assert_int_equal(world_events(w).flags & VMLIB_EVENTS_NMI_PENDING, VMLIB_EVENTS_NMI_PENDING);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x22); /* right after IRET */
    assert_int_equal(world_events(w).flags & VMLIB_EVENTS_NMI_PENDING, 0);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x10);
    assert_int_equal(world_events(w).flags & VMLIB_EVENTS_NMI_BLOCKED, 0);
}

/* Lowering CR8 makes no record, and the interrupt that it held back is taken. */
GUEST64(l_tpr, "movq %rax, %cr8; nop; outb %al, $0x10; hlt");

static void s7_3_cr8_is_the_hosts_business(void **state)
{
    struct world *w = *state;
    world_mode(w, W_LONG0, l_tpr, l_tpr_end);
    world_set(w, VMLIB_REG_CR8, 15);
    world_set(w, VMLIB_REG_RFLAGS, 0x202);
    OK(vmlib_vcpu_set_intr(w->vcpu, 1));
    /* INTR is what the chips' owner says it is: CR8 does not hide it. */
    assert_int_equal(world_run(w, VMLIB_EXIT_INTERRUPT_WINDOW).u.interrupt.requested, 0);
    OK(vmlib_vcpu_set_intr(w->vcpu, 0));
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_PIO); /* MOV to CR8 alone gives no record */
    assert_int_equal(e.u.pio.port, 0x10);
    assert_int_equal(world_reg(w, VMLIB_REG_CR8), 0);
    world_run(w, VMLIB_EXIT_HLT);
}

static const struct CMUnitTest tests[] = {
    CASE(s1_1_an_error_writes_no_record),
    CASE(s1_3_the_numbers_add_up),
    CASE(s1_3_errors_lose_nothing),
    CASE(s1_5_records_before_cancel),
    CASE(s1_5_cancel_before_stop),
    CASE(s1_5_cancel_before_stop_before_budget),
    CASE(s1_5_stop_before_budget),
    CASE(s1_5_budget_before_deadline),
    CASE(s3_1_holes),
    CASE(s3_3_no_handler_for_a_fault),
    CASE(s1_2_the_prefix_belongs_to_it),
    CASE(s5_2_the_youngest_first),
    CASE(s5_2_by_the_first_address),
    CASE(s5_3_as_with_records),
    CASE(s5_6_failure_in_the_middle),
    CASE(s2_2_everything_waits),
    CASE(s5_7_address_register),
    CASE(s5_7_mode),
    CASE(s6_4_rep_is_split_at_elements),
    CASE(s6_4_read_modify_write_is_not_split),
    CASE(s7_4_one_nmi_is_remembered),
    CASE(s7_3_cr8_is_the_hosts_business),
};
MAIN(tests)
