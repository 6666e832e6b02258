/*
 * A boot sector that shuts the CPU down: an exception with an IDT of limit 0 cannot be delivered, nor can the
 * double fault that follows (SDM Vol.3A 6.15, "Interrupt 8").
 */
.code16
.globl _start
_start:
    cli
    lidtl   %cs:(0x7c00 + idt - _start)
    ud2
1:  jmp     1b
idt:
    .word   0
    .long   0
    .org    510
    .word   0xaa55
