/*
 * A guest that does a bit of everything: 32-bit code with paging at ORIGIN, handlers for faults and
 * interrupts, port and memory-mapped accesses of all kinds, strings, x87, SSE. What it computes
 * ends in memory at 0x40000; ROUNDS rounds, then OUT 0xf4 and HLT. Linked nowhere: addresses are
 * differences of labels.
 */
#define ORIGIN 0x10000
#define AT(label) (label - kit_program + ORIGIN)
#define PD   0x20000
#define PT   0x21000
#define IDT  0x22000
#define DATA 0x40000
#define HOLE 0x200000
#define AWAY 0x3ff000

        .section .note.GNU-stack,"",@progbits
        .section .rodata
        .globl kit_program, kit_program_end, kit_program_handler
        .code32
        .balign 4096
kit_program:
        cld
        lgdt    AT(gdtr)
        ljmp    $8, $AT(1f)
1:      mov     $16, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $0x30000, %esp
        /* 4 MiB one to one, without the last page */
        mov     $PT, %edi
        mov     $3, %eax
        mov     $1023, %ecx
2:      stosl
        add     $0x1000, %eax
        loop    2b
        movl    $0, (%edi)
        movl    $PT + 3, PD
        mov     $PD, %eax
        mov     %eax, %cr3
        /* handlers: vector number and address */
        mov     $AT(handlers), %esi
3:      lodsl
        cmp     $-1, %eax
        je      4f
        mov     %eax, %edi
        lodsl
        mov     %ax, IDT(, %edi, 8)
        movw    $8, IDT + 2(, %edi, 8)
        movw    $0x8e00, IDT + 4(, %edi, 8)
        shr     $16, %eax
        mov     %ax, IDT + 6(, %edi, 8)
        jmp     3b
4:      lidt    AT(idtr)
        mov     %cr4, %eax
        or      $0x600, %eax
        mov     %eax, %cr4
        mov     %cr0, %eax
        or      $0x80010022, %eax
        mov     %eax, %cr0
        jmp     5f
5:      fninit
        mov     DATA, %ebp              /* number of rounds, from the host */
        mov     $0x12345678, %ebx

round:  /* integers and flags */
        mov     %ebx, %eax
        shl     $13, %eax
        xor     %eax, %ebx
        mov     %ebx, %eax
        shr     $17, %eax
        xor     %eax, %ebx
        mov     %ebx, %eax
        shl     $5, %eax
        xor     %eax, %ebx
        stc
        adc     %ebx, DATA + 4
        sbb     $0x1234, %eax
        rol     $7, %eax
        mov     %ebx, %ecx
        shld    $3, %ecx, %eax
        bt      $5, %ebx
        rcr     $1, %eax
        mov     %eax, DATA + 8
        mov     %ebx, %eax
        mull    DATA + 4
        add     %edx, DATA + 12
        imul    $77, %eax, %ecx
        sar     $2, %ecx
        mov     %ecx, DATA + 16
        pushf
        popl    %eax
        and     $0xc1, %eax             /* CF, ZF, SF: the others may be undefined */
        add     %eax, DATA + 20
        movbe   %ebx, DATA + 24
        lock xadd %ecx, DATA + 28
        mov     %ebp, %eax
        and     $63, %eax
        mov     %ebx, DATA + 0x100(, %eax, 4)

        /* ports */
        mov     %ebx, %eax
        out     %al, $0x41
        in      $0x40, %al
        add     %al, DATA + 32
        mov     $0x42, %edx
        in      (%dx), %eax
        xor     %eax, DATA + 36
        mov     $DATA + 0x200, %edi
        mov     $4, %ecx
        rep insb
        mov     $DATA + 0x200, %esi
        mov     $3, %ecx
        rep outsb

        /* memory-mapped */
        mov     HOLE, %eax
        add     %eax, DATA + 40
        mov     %ebx, HOLE + 0x10
        add     %eax, HOLE + 0x20
        pushl   HOLE + 4
        popl    DATA + 44
        mov     HOLE + 0xffd, %eax      /* two pages */
        add     %eax, DATA + 48
        mov     %eax, HOLE + 0x1ffe
        mov     $HOLE + 0x40, %esi
        mov     $DATA + 0x300, %edi
        mov     $5, %ecx
        rep movsl
        movsl
        mov     $HOLE + 0x80, %edi
        mov     $HOLE + 0xc0, %esi
        movsl                           /* from device to device */
        movq    HOLE + 0x100, %xmm3
        movdqu  %xmm3, HOLE + 0x200     /* 16 bytes */

        /* exceptions and software interrupts */
        int     $0x80
        ud2
        xor     %edx, %edx
        mov     $5, %eax
        mov     $0, %ecx
        div     %ecx
        mov     %ebx, AWAY + 8          /* page fault: the handler maps it */
        mov     AWAY + 8, %eax
        add     %eax, DATA + 52
        movl    $0, PT + 4 * 1023
        invlpg  AWAY

        /* x87 and SSE */
        fildl   DATA + 4
        fabs
        fsqrt
        fistpl  DATA + 56
        movd    %ebx, %xmm0
        pshufd  $0, %xmm0, %xmm0
        paddd   AT(constant), %xmm0
        cvtdq2ps %xmm0, %xmm1
        mulps   %xmm1, %xmm1
        pxor    %xmm1, %xmm3
        movaps  %xmm3, DATA + 64

        /* sometimes wait for an interrupt */
        test    $7, %ebp
        jnz     6f
        sti
        hlt
        cli
6:      dec     %ebp
        jnz     round
        out     %al, $0xf4
        cli
7:      hlt
        jmp     7b

on_divide:
on_undefined:
        addl    $2, (%esp)
        incl    DATA + 0x80
        iretl
on_page_fault:
        push    %eax
        mov     %cr2, %eax
        add     %eax, DATA + 0x84
        movl    $0x50003, PT + 4 * 1023
        pop     %eax
        add     $4, %esp
        iretl
on_software:
        push    %eax
        mov     8(%esp), %eax           /* CS */
        add     %eax, DATA + 0x88
        pop     %eax
        iretl
on_timer:
        incl    DATA + 0x8c
        push    %eax
        mov     $0x20, %al
        out     %al, $0x20
        pop     %eax
        iretl

        .balign 16
constant:
        .long   3, 5, 7, 11
gdt:    .quad   0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   .word   23
        .long   AT(gdt)
idtr:   .word   0x7ff
        .long   IDT
        .balign 4
handlers:
        .long   0, AT(on_divide), 6, AT(on_undefined), 14, AT(on_page_fault)
        .long   0x20, AT(on_timer), 0x80, AT(on_software), -1
kit_program_end:
