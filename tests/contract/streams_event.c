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
    STREAM("s2_8_real_idt_in_a_hole", W_REAL, g_ud, 0, idt_in_hole, NULL),
    STREAM("s2_8_real_idt_injected", W_REAL, g_nops, 0, inject_interrupt, NULL),
    STREAM("s2_8_prot0_idt_in_a_hole", W_PROT0, p_ud, 0, idt_in_hole, NULL),
    STREAM("s2_8_prot0_idt_nmi", W_PROT0, p_nops, F(NMI), nmi_pending, NULL),
    STREAM("s2_8_prot0_idt_injected", W_PROT0, p_nops, 0, inject_interrupt, NULL),
    STREAM("s2_8_long3_idt_in_a_hole", W_LONG3, l_ud, 0, idt_in_hole, NULL),
    STREAM("s2_8_long3_idt_software", W_LONG3, l_int, 0, idt_in_hole, NULL),
    STREAM("s2_8_long3_idt_injected", W_LONG3, l_nops, 0, inject_interrupt, NULL),
    STREAM("s2_8_long3_gdt_in_a_hole", W_LONG3, l_ud, 0, gdt_in_hole, NULL),
    STREAM("s2_8_long3_tss_in_a_hole", W_LONG3, l_ud, 0, tss_in_hole, NULL),
    STREAM("s2_8_long3_tss_port", W_LONG3, l_nops, 0, tss_in_hole, NULL),
    STREAM("s2_8_long3_stack_in_a_hole", W_LONG3, l_ud, 0, stack_in_hole, NULL),
    STREAM("s2_8_long0_gdt_segment_load", W_LONG0, l_load, 0, gdt_in_hole, NULL),
    STREAM("s4_2_long3_shown", W_LONG3, l_ud, F(EXCEPTION_EXITS), show_all, NULL),
    STREAM("s4_2_long3_after_a_read", W_LONG3, l_divide, F(EXCEPTION_EXITS),
           show_all_and_answer_zero, NULL),
    STREAM("s4_2_long3_idt_in_a_hole", W_LONG3, l_ud, F(EXCEPTION_EXITS), show_all_idt_in_hole,
           NULL),
    STREAM("s4_2_long3_fault_on_the_way", W_LONG3, l_ud, F(EXCEPTION_EXITS), no_gate_shown, NULL),
    STREAM("s4_2_prot0_fault_on_the_way", W_PROT0, p_ud, F(EXCEPTION_EXITS), no_gate_shown, NULL),
    STREAM("long3_fault_on_the_way", W_LONG3, l_ud, 0, no_gate, NULL),
    {NULL, W_REAL, NULL, NULL, 0, NULL, NULL},
};
