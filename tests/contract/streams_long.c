/* Streams in long mode, at CPL 0 and CPL 3. */
#include "stream.h"

#define END "; outb %al, $0xfe"

#define ACCESSES                                                                              \
    "movl $0x12345678, %eax; outl %eax, $0x30; inw $0x22, %ax; movq 0xa0000, %rbx;"           \
    "movq %rbx, 0xa0008; movl 0xa0ffe, %ebx; movb %al, 0xa0008; incq 0xa0010;"                \
    "movabsq 0xa0018, %rax; movzbl 0xa0001, %r8d; movsbq 0xa0002, %r9; movslq 0xa0004, %r10;" \
    "movl $0xa0020, %esi; movl $0x20000, %edi; movsq; pushq 0xa0030; popq 0xa0040"
#define STRINGS                                                                      \
    "movl $2, %ecx; movl $0x20000, %esi; movw $0x44, %dx; rep outsb; movl $2, %ecx;" \
    "movl $0x20010, %edi; rep insl; movl $3, %ecx; movl $0xa0100, %edi; rep stosw"

GUEST64(g_access0, ACCESSES "; hlt");
GUEST64(g_access3, ACCESSES END);
GUEST64(g_strings0, STRINGS "; hlt");
GUEST64(g_strings3, STRINGS END);
GUEST64(g_locked3, "lock; addl $1, 0xa0000; movl $5, %ecx; lock; xaddq %rcx, 0xa0008;"
                   "lock; cmpxchgl %ecx, 0xa0010; xchgb %cl, 0xa0020" END);
GUEST64(g_sse3, "movq 0xa0000, %xmm0; movups 0xa0010, %xmm1; movups %xmm1, 0xa0ff8;"
                "movdqu %xmm1, 0x20000; movq 0x20000, %rax; movq 0x20008, %rbx" END);
GUEST64(g_hlt3, "hlt");
GUEST64(g_ud, "ud2");
GUEST64(g_int, "int $0x42");
GUEST64(g_int3, "int3");
GUEST64(g_cr, "movq %cr0, %rax");
GUEST64(g_divide, "xorl %ecx, %ecx; divl %ecx");
GUEST64(g_super, "movl 0x30004, %eax");
GUEST64(g_absent, "movl $1, %ebx; movl %ebx, 0x31008");
GUEST64(g_ronly, "movl 0x32000, %eax; incl 0x32010");
GUEST64(g_absent_hole, "movb 0xa0fff, %al; movl %eax, 0xa0ffe");
GUEST64(g_canonical, "movabsq $0x4000000000000000, %rax; movb (%rax), %cl");
GUEST64(g_fetch, "movl $0xa0010, %eax; jmp *%rax");
GUEST64(g_port, "movb $1, %al; outb %al, $0x80; inb $0x81, %al");
GUEST64(g_outs_fault, "movl $3, %ecx; movl $0x30ffe, %esi; subl $0x1000, %esi;"
                      "movw $0x44, %dx; rep outsb");
GUEST64(g_movs_fault, "movl $0xa0000, %esi; movl $0x31000, %edi; movsl");
GUEST64(g_compat, "pushq $0x2b; leaq 1f(%rip), %rax; pushq %rax; lretq;"
                  ".code32; 1: movl 0xa0000, %eax; outb %al, $0x10; outb %al, $0xfe");
GUEST64(g_exec_nx, "movl $0x33000, %eax; jmp *%rax");

GUEST64(g_fxsave, "fninit; movq %rsp, %xmm3; fxsave 0xa0000; outb %al, $0xfe");
GUEST64(g_fxrstor,
        "fxrstor 0xa0000; fstpl 0x20800; movq 0x20800, %rax; movq %xmm3, %rbx; outb %al, $0xfe");
GUEST64(g_xsave,
        "fninit; movq %rsp, %xmm3; movl $3, %eax; xorl %edx, %edx; xsave 0xa0000; outb %al, $0xfe");
GUEST64(g_xrstor,
        "movl $3, %eax; xorl %edx, %edx; xrstor 0xa0000; movq %xmm3, %rbx; outb %al, $0xfe");
GUEST64(g_cmpxchg16b,
        "movl $0x11223344, %ebx; movl $0x55667788, %ecx; movabsq $0x8877665544332211, %rax;"
        "movabsq $0x8978675645342312, %rdx; lock; cmpxchg16b 0xa0000; outb %al, $0xfe");
GUEST64(g_bts, "movl $0x10003, %eax; lock; btsl %eax, 0xa0000; movq $-1, %rax; btcq %rax, 0xa0100;"
               "outb %al, $0xfe");

/* The hole holds an image of FXSAVE with 1.0 in ST(0) and something in XMM3; the header of XSAVE
 * says that both are there. */
static uint64_t image_answer(struct stream *s, const struct vmlib_exit *e)
{
    (void)s;
    switch (e->u.mmio.gpa - HOLE) {
    case 0:
        return UINT64_C(0x037f) | UINT64_C(0x3800) << 16 | UINT64_C(0x80) << 32;
    case 24:
        return 0x1f80;
    case 32:
        return UINT64_C(1) << 63;
    case 40:
        return 0x3fff;
    case 160 + 3 * 16:
        return 0x123456789abcdef0;
    case 512:
        return 3;
    default:
        return 0;
    }
}

static void answer_image(struct stream *s)
{
    s->answer = image_answer;
}

static void answer_image_xsave(struct stream *s)
{
    s->answer = image_answer;
    world_set(s->w, VMLIB_REG_CR4, 0x40620); /* OSXSAVE */
    world_set(s->w, VMLIB_REG_XCR0, 3);
}

static void forbid_port_81(struct stream *s)
{
    uint8_t bits = 2;
    OK(vmlib_vm_write(s->w->vm, TSS + 0x68 + 0x81 / 8, &bits, 1));
}

/* The second page of the access is not there: nothing of it may be seen. */
static void half_absent(struct stream *s)
{
    world_pte(s->w, 0xa1000, 0);
}

static void no_execute(struct stream *s)
{
    world_pte(s->w, 0x33000, UINT64_C(0x8000000000000000) | 0x33067);
}

static void hole_fetch(struct stream *s)
{
    stream_run(s, NULL);
    stream_run(s, NULL);
}

const struct stream_case streams_long[] = {
    STREAM("long0_accesses", W_LONG0, g_access0, 0, NULL, NULL),
    STREAM("long3_accesses", W_LONG3, g_access3, 0, NULL, NULL),
    STREAM("long0_strings", W_LONG0, g_strings0, 0, NULL, NULL),
    STREAM("long3_strings", W_LONG3, g_strings3, 0, NULL, NULL),
    STREAM("s2_7_long3_locked", W_LONG3, g_locked3, 0, NULL, NULL),
    STREAM("s2_5_long3_sse", W_LONG3, g_sse3, 0, NULL, NULL),
    STREAM("s2_5_long3_fxsave", W_LONG3, g_fxsave, 0, NULL, NULL),
    STREAM("s2_5_long3_fxrstor", W_LONG3, g_fxrstor, 0, answer_image, NULL),
    STREAM("s2_5_long3_xsave", W_LONG3, g_xsave, 0, answer_image_xsave, NULL, lacks_xsave),
    STREAM("s2_5_long3_xrstor", W_LONG3, g_xrstor, 0, answer_image_xsave, NULL, lacks_xsave),
    STREAM("s2_7_long3_cmpxchg16b", W_LONG3, g_cmpxchg16b, 0, NULL, NULL),
    STREAM("s2_7_long3_bit_strings", W_LONG3, g_bts, 0, NULL, NULL),
    STREAM("long3_hlt", W_LONG3, g_hlt3, 0, NULL, NULL),
    STREAM("long0_invalid_opcode", W_LONG0, g_ud, 0, NULL, NULL),
    STREAM("long3_invalid_opcode", W_LONG3, g_ud, 0, NULL, NULL),
    STREAM("long3_software_interrupt", W_LONG3, g_int, 0, NULL, NULL),
    STREAM("long3_breakpoint", W_LONG3, g_int3, 0, NULL, NULL),
    STREAM("long3_privileged", W_LONG3, g_cr, 0, NULL, NULL),
    STREAM("long3_divide_error", W_LONG3, g_divide, 0, NULL, NULL),
    STREAM("s3_3_long3_supervisor_page", W_LONG3, g_super, 0, NULL, NULL),
    STREAM("s3_3_long3_absent_page", W_LONG3, g_absent, 0, NULL, NULL),
    STREAM("s3_3_long0_absent_page", W_LONG0, g_absent, 0, NULL, NULL),
    STREAM("s3_3_long3_read_only_page", W_LONG3, g_ronly, 0, NULL, NULL),
    STREAM("s3_3_long3_half_absent", W_LONG3, g_absent_hole, 0, half_absent, NULL),
    STREAM("s3_3_long3_not_canonical", W_LONG3, g_canonical, 0, NULL, NULL),
    STREAM("s3_3_long3_no_execute", W_LONG3, g_exec_nx, 0, no_execute, NULL),
    STREAM("s3_3_long3_io_bitmap", W_LONG3, g_port, 0, forbid_port_81, NULL),
    STREAM("s3_3_long3_string_reaches_fault", W_LONG3, g_outs_fault, 0, NULL, NULL),
    STREAM("s2_4_long3_read_then_fault", W_LONG3, g_movs_fault, 0, NULL, NULL),
    STREAM("s2_8_long3_fetch_from_a_hole", W_LONG3, g_fetch, 0, NULL, hole_fetch),
    STREAM("long3_compatibility", W_LONG3, g_compat, 0, NULL, NULL),
    {NULL, W_REAL, NULL, NULL, 0, NULL, NULL, NULL},
};
