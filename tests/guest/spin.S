/* A boot sector that never ends: for timeouts. */
.code16
.globl _start
_start:
    jmp     _start
    .org    510
    .word   0xaa55
