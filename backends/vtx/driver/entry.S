/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * VM entry and exit.
 *
 * int vtx_enter(u64 *gpr, unsigned long launched, u64 *host_rsp)
 *
 * Loads the general registers from gpr (in the order of their numbers; RSP is in the VMCS), enters
 * the guest and stores them after the exit. *host_rsp is what HOST_RSP holds. Returns 0 after an
 * exit, 1 when VMLAUNCH or VMRESUME failed, 2 when the instruction itself faulted (VMX is off).
 */
#include <linux/linkage.h>
#include <asm/alternative.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/nospec-branch.h>
#include <asm/unwind_hints.h>

#define HOST_RSP_FIELD 0x6c14

    .text

SYM_FUNC_START(vtx_enter)
    push    %rbp
    push    %rbx
    push    %r12
    push    %r13
    push    %r14
    push    %r15
    push    %rdi
    cmp     %rsp, (%rdx)
    je      1f
    mov     %rsp, (%rdx)
    mov     $HOST_RSP_FIELD, %ecx
8:  vmwrite %rsp, %rcx
1:
    test    %rsi, %rsi              /* the flags last until the jump: MOV keeps them */
    mov     0x00(%rdi), %rax
    mov     0x08(%rdi), %rcx
    mov     0x10(%rdi), %rdx
    mov     0x18(%rdi), %rbx
    mov     0x28(%rdi), %rbp
    mov     0x30(%rdi), %rsi
    mov     0x40(%rdi), %r8
    mov     0x48(%rdi), %r9
    mov     0x50(%rdi), %r10
    mov     0x58(%rdi), %r11
    mov     0x60(%rdi), %r12
    mov     0x68(%rdi), %r13
    mov     0x70(%rdi), %r14
    mov     0x78(%rdi), %r15
    mov     0x38(%rdi), %rdi
    UNWIND_HINT_SAVE
    jz      3f
2:  vmresume
    jmp     5f
3:  vmlaunch
    jmp     5f
4:  mov     $2, %eax                /* faulted */
    jmp     6f
5:  mov     $1, %eax
6:  add     $8, %rsp
    jmp     7f
    _ASM_EXTABLE(2b, 4b)
    _ASM_EXTABLE(3b, 4b)
    _ASM_EXTABLE(8b, 4b)

    /* HOST_RIP. The stack is as it was before the entry. */
SYM_INNER_LABEL(vtx_exit_point, SYM_L_GLOBAL)
    UNWIND_HINT_RESTORE
    ANNOTATE_NOENDBR                /* a VM exit is no branch */
    push    %rax
    mov     8(%rsp), %rax
    mov     %rcx, 0x08(%rax)
    pop     %rcx
    mov     %rcx, 0x00(%rax)
    mov     %rdx, 0x10(%rax)
    mov     %rbx, 0x18(%rax)
    mov     %rbp, 0x28(%rax)
    mov     %rsi, 0x30(%rax)
    mov     %rdi, 0x38(%rax)
    mov     %r8,  0x40(%rax)
    mov     %r9,  0x48(%rax)
    mov     %r10, 0x50(%rax)
    mov     %r11, 0x58(%rax)
    mov     %r12, 0x60(%rax)
    mov     %r13, 0x68(%rax)
    mov     %r14, 0x70(%rax)
    mov     %r15, 0x78(%rax)
    add     $8, %rsp
    /* No prediction that the guest has trained is left for the host's returns. */
    FILL_RETURN_BUFFER %rcx, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, X86_FEATURE_RSB_VMEXIT_LITE
#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
    ALTERNATIVE "", "call clear_bhb_loop", X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
#endif
    xor     %eax, %eax
7:  /* Nor guest values in registers that the host's code does not write soon. */
    xor     %ecx, %ecx
    xor     %edx, %edx
    xor     %esi, %esi
    xor     %edi, %edi
    xor     %r8d, %r8d
    xor     %r9d, %r9d
    xor     %r10d, %r10d
    xor     %r11d, %r11d
    pop     %r15
    pop     %r14
    pop     %r13
    pop     %r12
    pop     %rbx
    pop     %rbp
    RET
SYM_FUNC_END(vtx_enter)

    .section .note.GNU-stack, "", @progbits
