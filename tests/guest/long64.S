/*
 * An ELF64 program: the loader enters it in long mode with the first 4 GiB mapped one to one. Checks that,
 * uses SSE2, prints, ends with 0x16; 0x7f when something is not so.
 */
.include "report.inc"
.code64
.globl _start
_start:
    lea     stack_top(%rip), %rsp
    mov     $0xc0000080, %ecx           /* IA32_EFER */
    rdmsr
    test    $0x400, %eax                /* LMA */
    jz      bad
    mov     %cr0, %rax
    and     $0xfffffffffffffffb, %rax   /* CR0.EM off, CR4.OSFXSR on: SSE may be used */
    mov     %rax, %cr0
    mov     %cr4, %rax
    or      $0x200, %rax
    mov     %rax, %cr4

    movabs  $0x123456789abcdef0, %rax
    mov     %rax, value(%rip)
    mov     value(%rip), %r15
    cmp     %rax, %r15
    jne     bad
    movq    %rax, %xmm15
    paddq   %xmm15, %xmm15
    movq    %xmm15, %rcx
    lea     (%rax,%rax), %rdx
    cmp     %rdx, %rcx
    jne     bad

    lea     message(%rip), %rsi
1:  lodsb
    test    %al, %al
    jz      2f
    put_char
    jmp     1b
2:  debug_exit 0x16
bad:
    debug_exit 0x7f

.section .rodata
message:
    .asciz  "long64: long mode\r\n"
.bss
.balign 16
value:
    .skip   16
    .skip   4096
stack_top:
