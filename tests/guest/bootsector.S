/*
 * A boot sector: real mode at 0000:7c00. Checks the registers that a BIOS promises, prints, ends with 0x11.
 */
.include "report.inc"
.code16
.globl _start
_start:
    movw    %cs, %ax
    testw   %ax, %ax                    /* ours asks for the canonical 0000:7c00 */
    jnz     bad
    call    here
here:
    popw    %ax
    cmpw    $(0x7c00 + here - _start), %ax
    jne     bad
    smsw    %ax
    testw   $1, %ax                     /* CR0.PE */
    jnz     bad
    xorw    %ax, %ax
    movw    %ax, %ds
    movw    %ax, %ss
    movw    $0x7000, %sp
    movw    $(0x7c00 + message - _start), %si
    call    print
    debug_exit 0x11
bad:
    debug_exit 0x7f

print:
    lodsb
    testb   %al, %al
    jz      1f
    put_char
    jmp     print
1:  ret

message:
    .asciz  "boot sector: real mode at 0000:7c00\r\n"
    .org    510
    .word   0xaa55
