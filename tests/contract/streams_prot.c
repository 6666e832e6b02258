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

static void forbid_port_81(struct stream *s)
{
    uint8_t bits = 2;
    OK(vmlib_vm_write(s->w->vm, TSS + 0x68 + 0x81 / 8, &bits, 1));
}

const struct stream_case streams_prot[] = {
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
