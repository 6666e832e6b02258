/* Streams of events: halts, faults on the way to a handler, interrupts, injection, stepping. */
#include "stream.h"

#define END "; outb %al, $0xfe"

GUEST(g_hlt, "sti; hlt; outb %al, $0x11; hlt");
GUEST(g_ud, "nop; ud2");
GUEST(g_nops, "nop; nop; outb %al, $0x10; hlt");
GUEST32(p_ud, "nop; ud2");
GUEST32(p_nops, "nop; nop; outb %al, $0x10; hlt");
GUEST64(l_ud, "nop; ud2");
GUEST64(l_int, "nop; int $0x42");
GUEST64(l_nops, "nop; nop; outb %al, $0x10; outb %al, $0xfe");

GUEST64(l_load, "movl $0x10, %eax; movw %ax, %fs; nop; hlt");
GUEST64(l_divide, "xorl %edx, %edx; divl 0xa0000");

GUEST(g_windows, "cli; nop; sti; nop; nop; movw %cx, %ss; nop; nop; hlt");
GUEST(g_sti, "sti; nop; nop; outb %al, $0x10; hlt");
GUEST64(l_sti0, "sti; nop; nop; outb %al, $0x10; hlt");
GUEST64(l_spin3, "nop; nop; outb %al, $0x10; outb %al, $0xfe");
GUEST(g_mix, "nop; inb $0x10, %al; pushw %ax; addr32 incb 0xa0000; movw $2, %cx; movw $0x44, %dx;"
             "rep outsb; popw %bx; hlt");
GUEST64(l_mix, "nop; inb $0x10, %al; pushq %rax; incb 0xa0000; movl $2, %ecx; movl $0x20000, %edi;"
               "rep stosb; popq %rbx; outb %al, $0xfe");
GUEST64(l_trap, "movb %al, 0x20000; pushfq; orl $0x100, (%rsp); popfq; nop; movl $2, %ecx; movl "
                "$0x20000, %edi; rep stosb;"
                "pushfq; andl $~0x100, (%rsp); popfq; outb %al, $0xfe");
GUEST64(l_trap_handler,
        "incl %ebx; movq (%rsp), %rdx; movq 16(%rsp), %rsi; outb %al, $0x11; iretq");
GUEST64(l_watch, "nop; nop; nop; movl %eax, 0x20000; movb 0x20008, %al; movl %eax, 0x20004;"
                 "movb %al, 0x20003; outb %al, $0xfe");
GUEST64(l_msr, "movl $0x174, %ecx; rdmsr; movl $0x176, %ecx; wrmsr; movl $0x12345, %ecx; rdmsr;"
               "wrmsr; movl $0x12346, %ecx; rdmsr; hlt");
GUEST64(l_cpuid, "movl $5, %eax; xorl %ecx, %ecx; cpuid; xorl %eax, %eax; cpuid; outb %al, $0xfe");
GUEST64(l_vmcall, "movl $7, %eax; movl $1, %ebx; movl $2, %ecx; movl $3, %edx; movl $4, %esi;"
                  "movl $5, %edi; vmcall; hlt");

static void run_again(struct stream *s)
{
    stream_all(s);
    stream_all(s);
    OK(vmlib_vcpu_nmi(s->w->vcpu));
    stream_note(s, "nmi");
    stream_all(s);
}

/* --- descriptor tables in a hole (2.8): the hole answers with what lies 1 page below it --- */

#define HOLE_TABLE 0xa8000u /* 0xa8000 + x answers with memory at the table's own place + x */

static uint64_t table_base;

static uint64_t table_answer(struct stream *s, const struct vmlib_exit *e)
{
    uint64_t value = 0;
    OK(vmlib_vm_read(s->w->vm, e->u.mmio.gpa - HOLE_TABLE + table_base, &value, e->u.mmio.width));
    return value;
}

static void move_table(struct stream *s, uint32_t reg, uint64_t base)
{
    struct vmlib_table t;
    OK(vmlib_vcpu_get_reg_wide(s->w->vcpu, reg, &t, sizeof(t)));
    t.base = HOLE_TABLE;
    OK(vmlib_vcpu_set_reg_wide(s->w->vcpu, reg, &t, sizeof(t)));
    table_base = base;
    s->answer = table_answer;
}

static void idt_in_hole(struct stream *s)
{
    move_table(s, VMLIB_REG_IDTR, s->mode == W_REAL ? 0 : IDT);
}

static void gdt_in_hole(struct stream *s)
{
    move_table(s, VMLIB_REG_GDTR, GDT);
}

static void tss_in_hole(struct stream *s)
{
    struct vmlib_segment t;
    OK(vmlib_vcpu_get_reg_wide(s->w->vcpu, VMLIB_REG_TR, &t, sizeof(t)));
    t.base = HOLE_TABLE;
    OK(vmlib_vcpu_set_reg_wide(s->w->vcpu, VMLIB_REG_TR, &t, sizeof(t)));
    table_base = TSS;
    s->answer = table_answer;
}

static void stack_in_hole(struct stream *s)
{
    uint64_t rsp0 = 0xa9000;
    OK(vmlib_vm_write(s->w->vm, TSS + 4, &rsp0, 8));
}

static void inject_interrupt(struct stream *s)
{
    struct vmlib_event e = {.type = VMLIB_EVENT_INTERRUPT, .vector = 0x50};
    idt_in_hole(s);
    OK(vmlib_vcpu_inject(s->w->vcpu, &e));
}

static void nmi_pending(struct stream *s)
{
    idt_in_hole(s);
    OK(vmlib_vcpu_nmi(s->w->vcpu));
}

/* --- exceptions shown to the host (4.2) --- */

static void show_all(struct stream *s)
{
    OK(vmlib_vcpu_set_exception_exits(s->w->vcpu, UINT32_MAX));
}

static uint64_t zero_answer(struct stream *s, const struct vmlib_exit *e)
{
    (void)s, (void)e;
    return 0;
}

static void show_all_and_answer_zero(struct stream *s)
{
    s->answer = zero_answer;
    show_all(s);
}

static void show_all_idt_in_hole(struct stream *s)
{
    idt_in_hole(s);
    show_all(s);
}

/* --- limits, steps and breakpoints --- */

static void by_budget(struct stream *s)
{
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e;
    unsigned records = 0;
    do {
        args.budget = records % 3 + 1;
        e = stream_run(s, &args);
    } while (++records < 40 && e.reason != VMLIB_EXIT_HLT &&
             !(e.reason == VMLIB_EXIT_PIO && e.u.pio.port == PORT_END));
}

static void by_steps(struct stream *s)
{
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e;
    unsigned records = 0;
    args.flags = VMLIB_RUN_SINGLE_STEP;
    do {
        e = stream_run(s, &args);
    } while (++records < 40 && e.reason != VMLIB_EXIT_HLT &&
             !(e.reason == VMLIB_EXIT_PIO && e.u.pio.port == PORT_END));
}

static void break_at(struct stream *s, uint32_t kind, uint64_t address, uint32_t width)
{
    struct vmlib_breakpoint b = VMLIB_BREAKPOINT_INIT;
    b.kind = kind;
    b.address = address;
    b.width = width;
    OK(vmlib_vcpu_set_breakpoint(s->w->vcpu, kind, &b));
}

static void some_breakpoints(struct stream *s)
{
    break_at(s, VMLIB_BREAKPOINT_EXEC, CODE + 2, 1);
    break_at(s, VMLIB_BREAKPOINT_WRITE, DATA, 4);
    break_at(s, VMLIB_BREAKPOINT_ACCESS, DATA + 8, 1);
}

/* --- interrupts --- */

static void request_window(struct stream *s)
{
    OK(vmlib_vcpu_request_interrupt_window(s->w->vcpu, 1));
}

static int acknowledge(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)opaque;
    exit->u.interrupt.vector = 0x40;
    OK(vmlib_vcpu_set_intr(vcpu, 0));
    return VMLIB_HANDLED;
}

static void raise_intr(struct stream *s)
{
    OK(vmlib_vcpu_set_intr(s->w->vcpu, 1));
}

static void raise_acknowledged(struct stream *s)
{
    world_handler(s->w, VMLIB_HANDLER_INTACK, 0, 0, acknowledge, NULL);
    raise_intr(s);
}

static void interrupts_on(struct stream *s)
{
    world_set(s->w, VMLIB_REG_RFLAGS, 0x202);
    raise_acknowledged(s);
}

/* Without a handler the host is told, injects by itself, and goes on. */
static void window_and_inject(struct stream *s)
{
    struct vmlib_event e = {.type = VMLIB_EVENT_INTERRUPT, .vector = 0x41};
    raise_intr(s);
    stream_run(s, NULL);
    OK(vmlib_vcpu_set_intr(s->w->vcpu, 0));
    OK(vmlib_vcpu_inject(s->w->vcpu, &e));
    stream_note(s, "inject");
    stream_all(s);
}

static void halt_and_wake(struct stream *s)
{
    stream_all(s);
    raise_acknowledged(s);
    stream_note(s, "intr");
    stream_all(s);
}

static void inject_page_fault(struct stream *s)
{
    struct vmlib_event e = {.type = VMLIB_EVENT_EXCEPTION,
                            .vector = 14,
                            .flags = VMLIB_EVENT_HAS_ERROR | VMLIB_EVENT_HAS_ADDRESS,
                            .error_code = 7,
                            .address = 0x12345678};
    OK(vmlib_vcpu_inject(s->w->vcpu, &e));
}

static void inject_software(struct stream *s)
{
    struct vmlib_event e = {.type = VMLIB_EVENT_SOFTWARE_INT, .vector = 0x42, .insn_len = 2};
    OK(vmlib_vcpu_inject(s->w->vcpu, &e));
}

static void injected_before_nmi(struct stream *s)
{
    struct vmlib_event e = {.type = VMLIB_EVENT_INTERRUPT, .vector = 0x50};
    OK(vmlib_vcpu_inject(s->w->vcpu, &e));
    OK(vmlib_vcpu_nmi(s->w->vcpu));
}

static void init_and_sipi(struct stream *s)
{
    /* INIT leaves the processor's signature in EDX. */
    static const struct vmlib_cpuid_leaf model[] = {{.leaf = 0, .eax = 1},
                                                    {.leaf = 1, .eax = 0x306c3}};
    OK(vmlib_vcpu_set_cpuid(s->w->vcpu, model, 2));
    OK(vmlib_vcpu_init(s->w->vcpu));
    stream_all(s);
    OK(vmlib_vm_write(s->w->vm, 0x9000, "\xe6\x55\xf4", 3));
    OK(vmlib_vcpu_sipi(s->w->vcpu, 9));
    stream_note(s, "sipi");
    stream_all(s);
}

/* The guest's own single step: one trap after each element of the REP instruction. */
static void count_traps(struct stream *s)
{
    OK(vmlib_vm_write(s->w->vm, 0x2000, l_trap_handler,
                      (uint64_t)(l_trap_handler_end - l_trap_handler)));
    world_gate(s->w, s->mode, 1, 0x2000);
    world_set(s->w, VMLIB_REG_RFLAGS, 0x202); /* some hosts show IF as 1 to PUSHF at CPL 3 */
}

static void no_idt(struct stream *s)
{
    struct vmlib_table t = {.base = IDT, .limit = 0};
    OK(vmlib_vcpu_set_reg_wide(s->w->vcpu, VMLIB_REG_IDTR, &t, sizeof(t)));
}

static void twice(struct stream *s)
{
    stream_all(s);
    stream_all(s);
}

/* --- questions to the host --- */

static void msrs_to_host(struct stream *s)
{
    world_handler(s->w, VMLIB_HANDLER_MSR, 0x174, 0x176, NULL, NULL);
    world_handler(s->w, VMLIB_HANDLER_MSR, 0x12345, 0x12345, NULL, NULL);
}

static void cpuid_to_host(struct stream *s)
{
    static const struct vmlib_cpuid_leaf model[] = {
        {.leaf = 0, .eax = 7, .ebx = 1, .ecx = 2, .edx = 3},
        {.leaf = 5, .eax = 11, .ebx = 12, .ecx = 13, .edx = 14},
    };
    OK(vmlib_vcpu_set_cpuid(s->w->vcpu, model, 2));
    world_handler(s->w, VMLIB_HANDLER_CPUID, 5, 5, NULL, NULL);
}

static void no_gate(struct stream *s)
{
    uint64_t gate[2] = {0, 0};
    OK(vmlib_vm_write(s->w->vm, IDT + 6 * (s->mode >= W_LONG0 ? 16 : 8), gate,
                      s->mode >= W_LONG0 ? 16 : 8));
}

static void no_gate_shown(struct stream *s)
{
    no_gate(s);
    show_all(s);
}

const struct stream_case streams_event[] = {
    STREAM("s4_1_halt_and_nmi", W_REAL, g_hlt, F(NMI), NULL, run_again),
    STREAM("s2_8_real_idt_in_a_hole", W_REAL, g_ud, F(DEVICE_TABLES), idt_in_hole, NULL),
    STREAM("s2_8_real_idt_injected", W_REAL, g_nops, F(DEVICE_TABLES), inject_interrupt, NULL),
    STREAM("s2_8_prot0_idt_in_a_hole", W_PROT0, p_ud, F(DEVICE_TABLES), idt_in_hole, NULL),
    STREAM("s2_8_prot0_idt_nmi", W_PROT0, p_nops, F(NMI) | F(DEVICE_TABLES), nmi_pending, NULL),
    STREAM("s2_8_prot0_idt_injected", W_PROT0, p_nops, F(DEVICE_TABLES), inject_interrupt, NULL),
    STREAM("s2_8_long3_idt_in_a_hole", W_LONG3, l_ud, F(DEVICE_TABLES), idt_in_hole, NULL),
    STREAM("s2_8_long3_idt_software", W_LONG3, l_int, F(DEVICE_TABLES), idt_in_hole, NULL),
    STREAM("s2_8_long3_idt_injected", W_LONG3, l_nops, F(DEVICE_TABLES), inject_interrupt, NULL),
    STREAM("s2_8_long3_gdt_in_a_hole", W_LONG3, l_ud, F(DEVICE_TABLES), gdt_in_hole, NULL),
    STREAM("s2_8_long3_tss_in_a_hole", W_LONG3, l_ud, F(DEVICE_TABLES), tss_in_hole, NULL),
    STREAM("s2_8_long3_tss_port", W_LONG3, l_nops, F(DEVICE_TABLES), tss_in_hole, NULL),
    STREAM("s2_8_long3_stack_in_a_hole", W_LONG3, l_ud, F(DEVICE_TABLES), stack_in_hole, NULL),
    STREAM("s2_8_long0_gdt_segment_load", W_LONG0, l_load, F(DEVICE_TABLES), gdt_in_hole, NULL),
    STREAM("s4_2_long3_shown", W_LONG3, l_ud, F(EXCEPTION_EXITS), show_all, NULL),
    STREAM("s4_2_long3_after_a_read", W_LONG3, l_divide, F(EXCEPTION_EXITS),
           show_all_and_answer_zero, NULL),
    STREAM("s4_2_long3_idt_in_a_hole", W_LONG3, l_ud, F(EXCEPTION_EXITS) | F(DEVICE_TABLES),
           show_all_idt_in_hole, NULL),
    STREAM("s4_2_long3_fault_on_the_way", W_LONG3, l_ud, F(EXCEPTION_EXITS), no_gate_shown, NULL),
    STREAM("s4_2_prot0_fault_on_the_way", W_PROT0, p_ud, F(EXCEPTION_EXITS), no_gate_shown, NULL),
    STREAM("s6_1_real_budgets", W_REAL, g_mix, F(BUDGET), NULL, by_budget),
    STREAM("s6_1_long3_budgets", W_LONG3, l_mix, F(BUDGET), NULL, by_budget),
    STREAM("s4_5_real_steps", W_REAL, g_mix, F(SINGLE_STEP), NULL, by_steps),
    STREAM("s4_5_long3_steps", W_LONG3, l_mix, F(SINGLE_STEP), NULL, by_steps),
    STREAM("long3_trap_flag", W_LONG3, l_trap, 0, count_traps, NULL),
    STREAM("s4_5_long3_breakpoints", W_LONG3, l_watch, F(BREAKPOINTS), some_breakpoints, NULL),
    STREAM("s4_4_windows", W_REAL, g_windows, 0, request_window, NULL),
    STREAM("s4_4_window_of_intr", W_REAL, g_sti, 0, NULL, window_and_inject),
    STREAM("s7_3_real_interrupt", W_REAL, g_sti, 0, raise_acknowledged, NULL),
    STREAM("s7_3_long0_interrupt", W_LONG0, l_sti0, 0, raise_acknowledged, NULL),
    STREAM("s7_3_long3_interrupt", W_LONG3, l_spin3, 0, interrupts_on, NULL),
    STREAM("s4_1_interrupt_ends_the_halt", W_REAL, g_hlt, 0, NULL, halt_and_wake),
    STREAM("s4_1_init_and_sipi", W_REAL, g_hlt, 0, NULL, init_and_sipi),
    STREAM("s7_2_long3_page_fault", W_LONG3, l_nops, 0, inject_page_fault, NULL),
    STREAM("s7_2_long3_software", W_LONG3, l_nops, 0, inject_software, NULL),
    STREAM("s7_2_real_software", W_REAL, g_nops, 0, inject_software, NULL),
    STREAM("s7_1_real_injected_before_nmi", W_REAL, g_nops, F(NMI), injected_before_nmi, NULL),
    STREAM("s7_1_long3_injected_before_nmi", W_LONG3, l_nops, F(NMI), injected_before_nmi, NULL),
    STREAM("s4_3_long3_shutdown", W_LONG3, l_ud, 0, no_idt, twice),
    STREAM("s5_8_long0_msrs", W_LONG0, l_msr, F(MSR_HANDLERS), msrs_to_host, NULL),
    STREAM("s2_1_long3_cpuid", W_LONG3, l_cpuid, F(CPUID_HANDLERS), cpuid_to_host, NULL),
    STREAM("s2_1_long0_hypercall", W_LONG0, l_vmcall, F(HYPERCALL_HANDLERS), NULL, NULL),
    STREAM("long3_fault_on_the_way", W_LONG3, l_ud, 0, no_gate, NULL),
    {NULL, W_REAL, NULL, NULL, 0, NULL, NULL, NULL},
};
