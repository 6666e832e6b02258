/*
 * Two processors: the first wakes the others with INIT and start-up IPIs through its local APIC (SDM Vol.3A
 * 8.4.4.1); each increments a counter with LOCK until both have done their share. Ends with 0x15.
 */
.include "report.inc"
.include "multiboot.inc"
.set APIC, 0xfee00000
.set TRAMPOLINE, 0x8000
.set ROUNDS, 20000

.code32
.globl _start
_start:
    mov     $stack_top, %esp
    cld
    mov     $trampoline, %esi
    mov     $TRAMPOLINE, %edi
    mov     $(trampoline_end - trampoline), %ecx
    rep movsb

    orl     $0x100, APIC + 0xf0         /* spurious vector register: software enable */
    movl    $0, APIC + 0x310
    movl    $0x000c4500, APIC + 0x300   /* INIT, all but self */
    call    wait_delivery
    movl    $(0x000c4600 + (TRAMPOLINE >> 12)), APIC + 0x300
    call    wait_delivery
    movl    $(0x000c4600 + (TRAMPOLINE >> 12)), APIC + 0x300
    call    wait_delivery

    mov     $ROUNDS, %ecx
1:  lock incl counter
    pause
    loop    1b
2:  pause
    cmpl    $1, finished
    jb      2b
    say     "smp: counter "
    mov     counter, %eax
    call    print_hex
    say     "\r\n"
    cmp     $(2 * ROUNDS), %eax
    jne     bad
    debug_exit 0x15
bad:
    debug_exit 0x7f

wait_delivery:                          /* bit 12: delivery status */
    pause
    testl   $0x1000, APIC + 0x300
    jnz     wait_delivery
    ret

/* Copied below 1 MiB: real mode at TRAMPOLINE:0 to flat protected mode. */
.code16
trampoline:
    cli
    movw    %cs, %ax
    movw    %ax, %ds
    lgdtl   gdt_pointer - trampoline
    movl    %cr0, %eax
    orb     $1, %al
    movl    %eax, %cr0
    ljmpl   $8, $second
gdt_pointer:
    .word   23
    .long   gdt
trampoline_end:

.code32
second:
    mov     $16, %eax
    mov     %eax, %ds
    mov     $ROUNDS, %ecx
1:  lock incl counter
    pause
    loop    1b
    lock incl finished
2:  hlt
    jmp     2b

.include "print32.inc"

.section .rodata
.balign 8
gdt:
    .quad   0, 0x00cf9b000000ffff, 0x00cf93000000ffff

.bss
.balign 64
counter:
    .skip   64
finished:
    .skip   64
    .skip   4096
stack_top:
