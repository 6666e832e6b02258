/*
 * Two processors throw a ball to each other: an interrupt from one local APIC to the other, which sleeps in HLT until
 * it comes. An interrupt lost is a guest that never ends. Each throw has a time stamp, and the catcher's own must not be
 * earlier. Both have paging on: a processor without unrestricted guest runs it, too. Ends with 0x19; 0x7f when an
 * interrupt came that nobody sent, or time went back.
 */
.include "report.inc"
.include "multiboot.inc"
.set APIC, 0xfee00000
.set TRAMPOLINE, 0x8000
.set ROUNDS, 200
.set BALL, 0x40
.set OTHERS, 0x000c4000                 /* ICR: all but self, assert; delivery mode and vector are added */

.code32
.globl _start
_start:
    cld
    mov     $trampoline, %esi
    mov     $TRAMPOLINE, %edi
    mov     $(trampoline_end - trampoline), %ecx
    rep movsb
    lgdt    gdt_pointer
    ljmp    $8, $1f
1:  mov     $16, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    mov     $stack_top, %esp

    mov     $idt, %edi                  /* every vector leads to `unexpected`, BALL to `catch` */
    mov     $256, %ecx
    mov     $unexpected, %eax
2:  call    set_gate
    add     $8, %edi
    loop    2b
    mov     $(idt + BALL * 8), %edi
    mov     $catch, %eax
    call    set_gate

    mov     $pages, %edi                /* linear is physical, by 4 MiB */
    mov     $0x83, %eax                 /* present, writable, large */
2:  stosl
    add     $0x400000, %eax
    jnc     2b

    xor     %ebp, %ebp                  /* who this is */
    call    enable
    movl    $(OTHERS + 0x500), APIC + 0x300
    call    wait_delivery
    movl    $(OTHERS + 0x600 + (TRAMPOLINE >> 12)), APIC + 0x300
    call    wait_delivery
    sti
3:  pause
    cmpl    $0, ready
    je      3b
    cli

    mov     $ROUNDS, %esi
4:  call    throw
    call    wait_for_ball
    dec     %esi
    jnz     4b
    say     "pingpong: hits "
    mov     hits, %eax
    call    print_hex
    say     " and "
    mov     hits + 4, %eax
    call    print_hex
    say     "\r\n"
    cmpl    $0, backwards
    jne     bad
    cmpl    $ROUNDS, hits
    jne     bad
    cmpl    $ROUNDS, hits + 4
    jne     bad
    debug_exit 0x19
bad:
    say     "pingpong: wrong\r\n"
    debug_exit 0x7f

enable:
    mov     $pages, %eax
    mov     %eax, %cr3
    mov     %cr4, %eax
    or      $0x10, %eax                 /* large pages */
    mov     %eax, %cr4
    mov     %cr0, %eax
    or      $0x80000000, %eax
    mov     %eax, %cr0
    lidt    idt_pointer
    orl     $0x100, APIC + 0xf0         /* spurious vector register: software enable */
    ret

throw:
    rdtsc
    mov     %eax, stamp
    mov     %edx, stamp + 4
    movl    $(OTHERS + BALL), APIC + 0x300
wait_delivery:                          /* bit 12: delivery status */
    testl   $0x1000, APIC + 0x300
    jz      1f
    pause
    jmp     wait_delivery
1:  ret

wait_for_ball:
    mov     hits(,%ebp,4), %ebx
    cmp     seen(,%ebp,4), %ebx
    jne     1f
    sti
    hlt                                 /* STI holds interrupts off until HLT has begun */
    cli
    jmp     wait_for_ball
1:  mov     %ebx, seen(,%ebp,4)
    ret

catch:
    push    %eax
    push    %edx
    rdtsc
    sub     stamp, %eax
    sbb     stamp + 4, %edx
    jnc     1f
    lock incl backwards
1:  incl    hits(,%ebp,4)
    movl    $0, APIC + 0xb0             /* end of interrupt */
    pop     %edx
    pop     %eax
    iret

/* edi: gate; eax: handler */
set_gate:
    mov     %ax, (%edi)
    movw    $8, 2(%edi)
    movw    $0x8e00, 4(%edi)            /* present, 32-bit interrupt gate */
    rol     $16, %eax
    mov     %ax, 6(%edi)
    rol     $16, %eax
    ret

unexpected:
    say     "pingpong: unexpected interrupt\r\n"
    debug_exit 0x7f

/* Copied below 1 MiB: real mode at TRAMPOLINE:0 to flat protected mode. */
.code16
trampoline:
    cli
    movw    %cs, %ax
    movw    %ax, %ds
    lgdtl   trampoline_gdt - trampoline
    movl    %cr0, %eax
    orb     $1, %al
    movl    %eax, %cr0
    ljmpl   $8, $second
trampoline_gdt:
    .word   23
    .long   gdt
trampoline_end:

.code32
second:
    mov     $16, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    mov     $second_stack_top, %esp
    mov     $1, %ebp
    call    enable
    movl    $1, ready
5:  call    wait_for_ball
    call    throw
    jmp     5b

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
.balign 4096
pages:
    .skip   4096
idt:
    .skip   256 * 8
hits:
    .skip   8
seen:
    .skip   8
stamp:
    .skip   8
ready:
    .skip   4
backwards:
    .skip   4
    .skip   4096
stack_top:
    .skip   4096
second_stack_top:
