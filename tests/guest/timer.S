/*
 * Interrupts of a PC: remaps the 8259 pair, lets the 8254 tick, and sleeps in HLT until ten ticks have been
 * served through the IDT. Ends with 0x14; 0x7f after an interrupt that nobody asked for.
 */
.include "report.inc"
.include "multiboot.inc"
.set TICKS, 10
.set DIVISOR, 11932                     /* 1193182 Hz / 100 */

.code32
.globl _start
_start:
    mov     $stack_top, %esp
    lgdt    gdt_pointer
    ljmp    $8, $1f
1:  mov     $16, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss

    mov     $idt, %edi                  /* every vector leads to `unexpected`, 0x20 to `tick` */
    mov     $256, %ecx
    mov     $unexpected, %eax
2:  call    set_gate
    add     $8, %edi
    loop    2b
    mov     $(idt + 0x20 * 8), %edi
    mov     $tick, %eax
    call    set_gate
    lidt    idt_pointer

    mov     $0x11, %al                  /* ICW1: edge triggered, cascade, ICW4 */
    outb    %al, $0x20
    outb    %al, $0xa0
    mov     $0x20, %al                  /* ICW2: vectors 20 and 28 */
    outb    %al, $0x21
    mov     $0x28, %al
    outb    %al, $0xa1
    mov     $4, %al                     /* ICW3 */
    outb    %al, $0x21
    mov     $2, %al
    outb    %al, $0xa1
    mov     $1, %al                     /* ICW4: 8086 mode */
    outb    %al, $0x21
    outb    %al, $0xa1
    mov     $0xfe, %al                  /* only IRQ 0 */
    outb    %al, $0x21
    mov     $0xff, %al
    outb    %al, $0xa1

    mov     $0x34, %al                  /* channel 0, both bytes, mode 2 */
    outb    %al, $0x43
    mov     $(DIVISOR & 0xff), %al
    outb    %al, $0x40
    mov     $(DIVISOR >> 8), %al
    outb    %al, $0x40

3:  sti
    hlt                                 /* STI holds interrupts off until HLT has begun */
    cli
    cmpl    $TICKS, count
    jb      3b
    say     "timer: ticks "
    mov     count, %eax
    call    print_hex
    say     "\r\n"
    debug_exit 0x14

/* edi: gate; eax: handler */
set_gate:
    mov     %ax, (%edi)
    movw    $8, 2(%edi)
    movw    $0x8e00, 4(%edi)            /* present, 32-bit interrupt gate */
    rol     $16, %eax
    mov     %ax, 6(%edi)
    rol     $16, %eax
    ret

tick:
    push    %eax
    incl    count
    mov     $0x20, %al                  /* end of interrupt */
    outb    %al, $0x20
    pop     %eax
    iret

unexpected:
    say     "timer: unexpected interrupt\r\n"
    debug_exit 0x7f

.include "print32.inc"

.section .rodata
.balign 8
gdt:
    .quad   0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    .word   23
    .long   gdt
idt_pointer:
    .word   256 * 8 - 1
    .long   idt

.bss
.balign 16
idt:
    .skip   256 * 8
count:
    .skip   16
    .skip   4096
stack_top:
