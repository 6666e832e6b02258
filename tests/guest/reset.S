/* A boot sector that asks the keyboard controller to reset the machine. */
.code16
.globl _start
_start:
    movb    $0xfe, %al
    outb    %al, $0x64
1:  hlt
    jmp     1b
    .org    510
    .word   0xaa55
