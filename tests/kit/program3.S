/*
 * The guest of program.S for hosts that execute only user code well: 64-bit code at CPL 3 with
 * IOPL 3, page tables and segments made by the host. Rounds of integers, strings, x87, SSE, port
 * and memory-mapped accesses; then OUT 0xf4.
 */
#define DATA 0x40000
#define HOLE 0x200000

        .section .note.GNU-stack,"",@progbits
        .section .rodata
        .globl kit_program3, kit_program3_end
        .code64
        .balign 4096
kit_program3:
        cld
        mov     DATA, %ebp              /* number of rounds, from the host */
        movabs  $0x123456789abcdef1, %rbx
        fninit
round:
        mov     %rbx, %rax
        shl     $13, %rax
        xor     %rax, %rbx
        mov     %rbx, %rax
        shr     $7, %rax
        xor     %rax, %rbx
        mov     %rbx, %rax
        shl     $17, %rax
        xor     %rax, %rbx
        stc
        adc     %rbx, DATA + 8
        rol     $7, %eax
        mov     %rbx, %rcx
        shld    $3, %rcx, %rax
        mov     %rax, DATA + 16
        mov     %rbx, %rax
        mulq    DATA + 8
        add     %rdx, DATA + 24
        imul    $77, %rax, %rcx
        sar     $2, %rcx
        mov     %rcx, DATA + 32
        lahf
        movzbl  %ah, %eax
        and     $0xc1, %eax             /* CF, ZF, SF: the others may be undefined */
        add     %rax, DATA + 40
        lock xadd %rcx, DATA + 48
        mov     %ebp, %eax
        and     $63, %eax
        mov     %rbx, DATA + 0x100(, %rax, 8)

        mov     %ebx, %eax
        out     %al, $0x41
        in      $0x40, %al
        add     %al, DATA + 56
        mov     $0x42, %edx
        in      (%dx), %eax
        xor     %eax, DATA + 60

        mov     HOLE, %eax
        add     %rax, DATA + 64
        mov     %rbx, HOLE + 0x10
        mov     HOLE + 0x20, %rcx
        add     %rcx, DATA + 72
        movzbl  HOLE + 0x31, %ecx
        add     %rcx, DATA + 80

        mov     $DATA + 0x100, %esi     /* memory to memory */
        mov     $DATA + 0x800, %edi
        mov     $64, %ecx
        rep movsq
        mov     $DATA + 0xc00, %edi
        mov     %rbx, %rax
        mov     $17, %ecx
        rep stosl

        fildq   DATA + 8
        fabs
        fsqrt
        fistpq  DATA + 88
        movq    %rbx, %xmm0
        pshufd  $0x44, %xmm0, %xmm0
        paddd   %xmm0, %xmm5
        cvtdq2ps %xmm5, %xmm1
        mulps   %xmm1, %xmm1
        pxor    %xmm1, %xmm3
        movups  %xmm3, DATA + 96

        dec     %ebp
        jnz     round
        out     %al, $0xf4
1:      jmp     1b
kit_program3_end:
