/* Entry of the guest, and what cannot be said in C: privilege changes, faults, devices. All: rdi = how often. */
#include "guest.h"

    .section .start, "ax", @progbits
    .globl _start
_start:
    call guest_main
    hlt

    .text
/* --- ring 3 and back --- */
    .macro user_loop name, insn
\name:
    push %rbx
    mov %rsp, saved_rsp
    push $0x23
    push $GUEST_USTACK
    push $0x202
    push $0x2b
    push $1f
    iretq
1:  \insn
    dec %rdi
    jnz 1b
    int $0x81
    .endm

    user_loop op_int80, "int $0x80"
    user_loop op_syscall, syscall

handle_int80:
    iretq
handle_int81:
    mov saved_rsp, %rsp
    pop %rbx
    xor %eax, %eax
    ret
    .globl guest_syscall
guest_syscall:
    sysretq

/* --- faults --- */
op_ud2:
1:  ud2
    dec %rdi
    jnz 1b
    xor %eax, %eax
    ret
handle_ud:
    addq $2, (%rsp)
    iretq

#define PTE (GUEST_TABLES + 0x3000)
op_pfault:
    movq $0, PTE
    invlpg GUEST_WINDOW
1:  mov GUEST_WINDOW, %eax
    movq $0, PTE
    invlpg GUEST_WINDOW
    dec %rdi
    jnz 1b
    movq $(GUEST_WINDOW_PA | 7), PTE
    ret
handle_pf:
    movq $(GUEST_WINDOW_PA | 7), PTE
    add $8, %rsp
    iretq

/* --- address spaces --- */
    .macro cr3_loop name, pages
\name:
    mov %cr3, %rdx
1:  mov %rdx, %cr3
    mov $GUEST_WINDOW, %esi
    mov $\pages, %ecx
2:  mov (%rsi), %eax
    add $4096, %rsi
    dec %ecx
    jnz 2b
    dec %rdi
    jnz 1b
    ret
    .endm
    cr3_loop op_cr3_16, 16
    cr3_loop op_cr3_128, 128

/* --- self-modifying code: patch an immediate, call it --- */
op_smc:
1:  mov %edi, patched + 1
    call patched
    dec %rdi
    jnz 1b
    ret
    .balign 64
patched:
    mov $0, %eax
    ret
    .balign 64

/* --- devices --- */
op_out:
1:  out %al, $GUEST_PORT
    dec %rdi
    jnz 1b
    ret
op_in:
1:  in $GUEST_PORT, %al
    dec %rdi
    jnz 1b
    ret
op_mmio_write:
1:  mov %edi, GUEST_MMIO
    dec %rdi
    jnz 1b
    ret
op_mmio_read:
1:  mov GUEST_MMIO, %eax
    dec %rdi
    jnz 1b
    ret
op_cpuid:
    push %rbx
1:  mov $1, %eax
    xor %ecx, %ecx
    cpuid
    dec %rdi
    jnz 1b
    pop %rbx
    ret
op_rdtsc:
1:  rdtsc
    dec %rdi
    jnz 1b
    ret

    .section .rodata
    .balign 8
    .globl guest_ops
guest_ops:
    .quad op_int80, op_syscall, op_ud2, op_pfault, op_cr3_16, op_cr3_128, op_smc
    .quad op_out, op_in, op_mmio_write, op_mmio_read, op_cpuid, op_rdtsc
    .globl guest_vectors
guest_vectors:
    .quad 6, handle_ud, 14, handle_pf, 0x80, handle_int80, 0x81, handle_int81, 0, 0

    .bss
    .balign 8
saved_rsp:
    .quad 0
    .section .note.GNU-stack, "", @progbits
