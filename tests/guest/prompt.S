/*
 * A boot sector that talks: asks for a name on the serial port, greets it, and ends with 0x12. What it reads may
 * have any length and end with a newline or a carriage return.
 */
.include "report.inc"
.code16
.globl _start
_start:
    xorw    %ax, %ax
    movw    %ax, %ds
    movw    %ax, %ss
    movw    $0x7000, %sp
    movw    $(0x7c00 + question - _start), %si
    call    print
    movw    $(0x7c00 + greeting - _start), %si
    call    print
next:
    movw    $(SERIAL + 5), %dx
    inb     %dx, %al
    testb   $1, %al                     /* LSR.DR */
    jz      next
    movw    $SERIAL, %dx
    inb     %dx, %al
    cmpb    $'\r', %al
    je      done
    cmpb    $'\n', %al
    je      done
    put_char
    jmp     next
done:
    movw    $(0x7c00 + ending - _start), %si
    call    print
    debug_exit 0x12

print:
    lodsb
    testb   %al, %al
    jz      1f
    put_char
    jmp     print
1:  ret

question:
    .asciz  "name? "
greeting:
    .asciz  "hello, "
ending:
    .asciz  "!\r\n"
    .org    510
    .word   0xaa55
