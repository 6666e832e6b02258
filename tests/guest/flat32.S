/* A flat binary at 2 MiB: 32-bit protected mode with flat segments. Ends with 0x18. */
.include "report.inc"
.code32
.globl _start
_start:
    call    here
here:
    pop     %esi
    cmp     $(0x200000 + here - _start), %esi
    jne     bad
    add     $(message - here), %esi
1:  lodsb
    testb   %al, %al
    jz      2f
    put_char
    jmp     1b
2:  debug_exit 0x18
bad:
    debug_exit 0x7f
message:
    .asciz  "flat: 32 bits\r\n"
