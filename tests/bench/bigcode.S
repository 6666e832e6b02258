/* 10,000 functions that differ in constants and registers, 46 instructions each, and one that calls them all. */
    .section .rodata
    .balign 4
3:
    .text
    .balign 16
bigcode_first:
    .set i, 0
    .rept 10000
    .balign 16
1:
    .pushsection .rodata
    .long 1b - bigcode_first
    .popsection
    .set c, (i * 40503 + 12345) & 0x7fff
    lea c(%rax, %rcx), %rdx
    xor $(c ^ 0x1234), %edx
    add %rdx, %rax
    .if i & 1
    rol $5, %rax
    imul $(c | 1), %rcx, %rcx
    .else
    ror $7, %rcx
    sub $c, %rax
    .endif
    .rept 8
    add $(c & 0xff), %ecx
    xor %rax, %rcx
    lea (%rcx, %rdx, 4), %rdx
    cmp %ecx, %edx
    adc $3, %rax
    .endr
    .if i & 2
    test %eax, %eax
    .else
    cmp $c, %edx
    .endif
    js 2f
    add $c, %rax
2:
    ret
    .set i, i + 1
    .endr

    .globl bench_bigcode
    .balign 16
bench_bigcode:
    mov %rdi, %rax
    mov %rdi, %rcx
    xor %edx, %edx
    lea 3b(%rip), %rsi
    mov $10000, %edi
4:
    movslq (%rsi), %r8
    lea bigcode_first(%rip), %r9
    add %r9, %r8
    call *%r8
    add $4, %rsi
    dec %edi
    jnz 4b
    ret
    .section .note.GNU-stack, "", @progbits
