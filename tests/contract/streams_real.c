/* Streams in real mode: accesses, strings, faults. */
#include "stream.h"

GUEST(g_pio, "movl $0x12345678, %eax; outb %al, $0x10; outw %ax, $0x20; outl %eax, $0x30;"
             "inb $0x11, %al; inw $0x22, %ax; inl $0x34, %eax;"
             "movw $0x1234, %dx; inb %dx, %al; outl %eax, %dx; hlt");
GUEST(g_mmio, "addr32 movb 0xa0000, %al; addr32 movw 0xa0002, %bx; addr32 movl 0xa0004, %ecx;"
              "addr32 movb %al, 0xa0008; addr32 movw %bx, 0xa000a; addr32 movl %ecx, 0xa000c;"
              "addr32 movl $0x12345678, 0xa0010; hlt");
GUEST(g_rmw, "addr32 addb $1, 0xa0000; addr32 incw 0xa0002; addr32 xorl %eax, 0xa0004;"
             "addr32 notl 0xa0008; addr32 xchgl %ebx, 0xa000c; addr32 btsl $3, 0xa0010; hlt");
GUEST(g_locked, "lock; addr32 addl $1, 0xa0000; movl $5, %ecx; lock; addr32 xaddl %ecx, 0xa0004;"
                "movl $0x44332213, %eax; lock; addr32 cmpxchgl %ecx, 0xa0008; hlt");
GUEST(g_cross,
      "addr32 movl 0xa0ffe, %eax; addr32 movl %eax, 0xa1ffd; addr32 addw $1, 0xa2fff; hlt");
GUEST(g_two, "movl $0xa0010, %esi; movl $0xa0020, %edi; addr32 movsl; addr32 cmpsb;"
             "addr32 pushw 0xa0030; addr32 popw 0xa0040; hlt");
GUEST(g_edge, "addr32 movl 0x9fffe, %eax; addr32 movl %eax, 0x9ffff; hlt");
GUEST(g_outs, "movw $0x2000, %si; movw $3, %cx; movw $0x44, %dx; rep outsb; outsw;"
              "movw $0x3000, %di; movw $2, %cx; rep insw; insl; std; movw $2, %cx; rep outsb; hlt");
GUEST(g_rep_mmio, "movl $0xa0000, %edi; movl $3, %ecx; movb $7, %al; addr32 rep stosb;"
                  "movl $0xa0010, %esi; movl $0x3000, %edi; movl $3, %ecx; addr32 rep movsb;"
                  "movl $0xa0020, %edi; movl $4, %ecx; movb $0x1d, %al; addr32 repne scasb; hlt");
GUEST(g_rep_counts, "movw $0x3000, %di; movw $5, %cx; movb $1, %al; rep stosb;"
                    "movw $0, %cx; rep stosb; outb %al, $0x10; hlt");
GUEST(g_rom, "movb $1, %bl; addr32 movb 0xc0010, %cl; addr32 movb %bl, 0xc0010; hlt");
GUEST(g_fetch, "ljmp $0xa000, $0x10");
GUEST(g_faults, "xorw %cx, %cx; divw %cx; hlt");
GUEST(g_ud, "ud2");
GUEST(g_int, "int $0x42");
GUEST(g_int3, "int3");
GUEST(g_into, "movb $0x7f, %al; addb $1, %al; into");
GUEST(g_div_hole, "movl $1, %edx; addr32 divl 0xa0000; hlt");

static void rom_write(struct stream *s)
{
    for (unsigned i = 0; i < 2; i++) {
        stream_run(s, NULL);
    }
    stream_note(s, "skip it");
    world_set(s->w, VMLIB_REG_RIP, world_reg(s->w, VMLIB_REG_RIP) + 5);
    stream_all(s);
}

static void text_at_2000(struct stream *s)
{
    OK(vmlib_vm_write(s->w->vm, 0x2000, "abcdefgh", 8));
}

static void hole_fetch(struct stream *s)
{
    stream_run(s, NULL);
    stream_run(s, NULL);
}

static uint64_t zero_answer(struct stream *s, const struct vmlib_exit *e)
{
    (void)s, (void)e;
    return 0;
}

static void answer_zero(struct stream *s)
{
    s->answer = zero_answer;
}

static void completion_by_fault(struct stream *s)
{
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    for (unsigned i = 0; i < 3; i++) {
        stream_run(s, NULL);
    }
    OK(vmlib_vcpu_run(s->w->vcpu, NULL, &e));
    stream_record(s, &e);
    OK(vmlib_vcpu_complete_fault(s->w->vcpu, 13, 0));
    stream_note(s, "complete with a fault");
    stream_all(s);
}

const struct stream_case streams_real[] = {
    STREAM("s1_2_pio", W_REAL, g_pio, 0, NULL, NULL),
    STREAM("s2_1_mmio", W_REAL, g_mmio, 0, NULL, NULL),
    STREAM("s2_1_completion_by_fault", W_REAL, g_pio, 0, NULL, completion_by_fault),
    STREAM("s2_4_read_modify_write", W_REAL, g_rmw, 0, NULL, NULL),
    STREAM("s2_7_locked", W_REAL, g_locked, 0, NULL, NULL),
    STREAM("s2_5_page_crossing", W_REAL, g_cross, 0, NULL, NULL),
    STREAM("s2_4_two_operands", W_REAL, g_two, 0, NULL, NULL),
    STREAM("s2_5_memory_and_hole", W_REAL, g_edge, 0, NULL, NULL),
    STREAM("s2_6_strings", W_REAL, g_outs, 0, text_at_2000, NULL),
    STREAM("s2_6_rep_mmio", W_REAL, g_rep_mmio, 0, NULL, NULL),
    STREAM("s1_4_rep_counts_once", W_REAL, g_rep_counts, 0, NULL, NULL),
    STREAM("s3_2_rom", W_REAL, g_rom, F(PROT_WRITE), NULL, rom_write),
    STREAM("s2_8_fetch_from_a_hole", W_REAL, g_fetch, 0, NULL, hole_fetch),
    STREAM("real_divide_error", W_REAL, g_faults, 0, NULL, NULL),
    STREAM("real_invalid_opcode", W_REAL, g_ud, 0, NULL, NULL),
    STREAM("real_software_interrupt", W_REAL, g_int, 0, NULL, NULL),
    STREAM("real_breakpoint", W_REAL, g_int3, 0, NULL, NULL),
    STREAM("real_overflow", W_REAL, g_into, 0, NULL, NULL),
    STREAM("s2_1_fault_after_a_read", W_REAL, g_div_hole, 0, answer_zero, NULL),
    {NULL, W_REAL, NULL, NULL, 0, NULL, NULL, NULL},
};
