/* Streams in 32-bit protected mode, at CPL 0 and CPL 3. */
#include "stream.h"

#define END "; outb %al, $0xfe"

#define ACCESSES                                                                        \
    "movl $0x12345678, %eax; outl %eax, $0x30; inw $0x22, %ax; movl 0xa0ffe, %ebx;"     \
    "movb %al, 0xa0008; incl 0xa0010; movl $0xa0020, %esi; movl $0x20000, %edi; movsl;" \
    "pushl 0xa0030; popl 0xa0040; movl $2, %ecx; movl $0x20000, %esi; movw $0x44, %dx;" \
    "rep outsb; movl $2, %ecx; rep insb"

GUEST32(g_access0, ACCESSES "; hlt");
GUEST32(g_access3, ACCESSES END);
GUEST32(g_hlt3, "hlt");
GUEST32(g_ud, "ud2");
GUEST32(g_int, "int $0x42");
GUEST32(g_int3, "int3");
GUEST32(g_cr3, "movl %cr0, %eax");
GUEST32(g_limit, "movw $0x1b, %ax; movw %ax, %fs; movl %fs:0xa0000, %eax; movl $0x13, %eax;"
                 "movw %ax, %fs");
GUEST32(g_port3, "movb $1, %al; outb %al, $0x80; outb %al, $0x81");

/* 16-bit code, and virtual-8086 mode */
#define ACCESSES16                                                                      \
    "movw $0x1234, %ax; outw %ax, $0x30; inb $0x22, %al; movw $0xa000, %bx;"            \
    "movw %bx, %es; movw %es:0xffe, %cx; movb %al, %es:8; incw %es:0x10; movw $2, %cx;" \
    "movw $0x2000, %si; movw $0x44, %dx; rep outsb; pushw %es:0x30; popw %es:0x40"
GUEST(g_v86, ACCESSES16 "; outb %al, $0xfe");
GUEST(g_v86_int, "nop; int $0x42");
GUEST(g_v86_hlt, "nop; hlt");
GUEST(g_v86_cli, "nop; cli");
GUEST(g_v86_port, "outb %al, $0x80; outb %al, $0x81");
GUEST(g_prot16, "movw $0x1234, %ax; outw %ax, $0x30; inb $0x22, %al; addr32 movw 0xa0ffe, %cx;"
                "addr32 movl %ecx, 0xa1ffe; pushw %cx; popw %bx; movw $2, %cx; movw $0x2000, %si;"
                "movw $0x44, %dx; rep outsb; hlt");
GUEST(g_prot16_ud, "nop; ud2");

static void code16(struct stream *s)
{
    struct vmlib_segment cs = {.limit = 0xffff, .attributes = 0x9b, .selector = SEL_CODE0};
    OK(vmlib_vcpu_set_reg_wide(s->w->vcpu, VMLIB_REG_CS, &cs, sizeof(cs)));
}

static void v86(struct stream *s)
{
    struct vmlib_state state;
    state.size = sizeof(state);
    OK(vmlib_vcpu_get_state(s->w->vcpu, VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS, &state));
    state.gpr.rflags = 0x20002;
    struct vmlib_segment *all[] = {&state.segments.es, &state.segments.cs, &state.segments.ss,
                                   &state.segments.ds, &state.segments.fs, &state.segments.gs};
    for (unsigned i = 0; i < 6; i++) {
        *all[i] = (struct vmlib_segment){.limit = 0xffff, .attributes = 0xf3};
    }
    OK(vmlib_vcpu_set_state(s->w->vcpu, VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS, &state));
}

static void forbid_port_81(struct stream *s)
{
    uint8_t bits = 2;
    OK(vmlib_vm_write(s->w->vm, TSS + 0x68 + 0x81 / 8, &bits, 1));
}

static void v86_without_port_81(struct stream *s)
{
    v86(s);
    forbid_port_81(s);
}

const struct stream_case streams_prot[] = {
    STREAM("prot16_accesses", W_PROT0, g_prot16, 0, code16, NULL),
    STREAM("prot16_invalid_opcode", W_PROT0, g_prot16_ud, 0, code16, NULL),
    STREAM("v86_accesses", W_PROT0, g_v86, F(REAL_MODE), v86, NULL),
    STREAM("v86_software_interrupt", W_PROT0, g_v86_int, F(REAL_MODE), v86, NULL),
    STREAM("v86_hlt", W_PROT0, g_v86_hlt, F(REAL_MODE), v86, NULL),
    STREAM("v86_cli", W_PROT0, g_v86_cli, F(REAL_MODE), v86, NULL),
    STREAM("s3_3_v86_io_bitmap", W_PROT0, g_v86_port, F(REAL_MODE), v86_without_port_81, NULL),
    STREAM("prot0_accesses", W_PROT0, g_access0, 0, NULL, NULL),
    STREAM("prot3_accesses", W_PROT3, g_access3, 0, NULL, NULL),
    STREAM("prot3_hlt", W_PROT3, g_hlt3, 0, NULL, NULL),
    STREAM("prot0_invalid_opcode", W_PROT0, g_ud, 0, NULL, NULL),
    STREAM("prot3_invalid_opcode", W_PROT3, g_ud, 0, NULL, NULL),
    STREAM("prot3_software_interrupt", W_PROT3, g_int, 0, NULL, NULL),
    STREAM("prot3_breakpoint", W_PROT3, g_int3, 0, NULL, NULL),
    STREAM("prot3_privileged", W_PROT3, g_cr3, 0, NULL, NULL),
    STREAM("s3_3_prot3_segment_load", W_PROT3, g_limit, 0, NULL, NULL),
    STREAM("s3_3_prot3_io_bitmap", W_PROT3, g_port3, 0, forbid_port_81, NULL),
    {NULL, W_REAL, NULL, NULL, 0, NULL, NULL, NULL},
};
