/* A flat binary below 1 MiB: real mode, offsets begin at 0 in the image's segment. Ends with 0x17. */
.include "report.inc"
.code16
.globl _start
_start:
    movw    %cs, %ax
    movw    %ax, %ds
    movw    $(message - _start), %si
1:  lodsb
    testb   %al, %al
    jz      2f
    put_char
    jmp     1b
2:  debug_exit 0x17
message:
    .asciz  "flat: 16 bits\r\n"
