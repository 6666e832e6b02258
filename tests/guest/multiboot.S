/*
 * A multiboot 1 kernel (ELF32): prints what the loader passed and ends with 0x12; 0x7f when the hand-over
 * is not as the specification says (Multiboot Specification 0.6.96, section 3.2 and 3.3).
 */
.include "report.inc"
.set MAGIC, 0x1badb002
.set FLAGS, 0x3                         /* page-aligned modules, memory information */

.section .multiboot, "a"
.balign 4
    .long   MAGIC, FLAGS, -(MAGIC + FLAGS)

.text
.code32
.globl _start
_start:
    mov     $stack_top, %esp
    cmp     $0x2badb002, %eax
    jne     bad
    mov     %cr0, %eax
    and     $0x80000001, %eax           /* PG clear, PE set */
    cmp     $1, %eax
    jne     bad
    mov     (%ebx), %edi                /* flags */
    test    $1, %edi                    /* mem_lower, mem_upper */
    jz      bad
    test    $4, %edi                    /* cmdline */
    jz      bad
    test    $8, %edi                    /* mods_count, mods_addr */
    jz      bad
    test    $0x40, %edi                 /* mmap */
    jz      bad

    say     "multiboot: upper memory KiB "
    mov     8(%ebx), %eax
    call    print_hex
    say     "\r\nmultiboot: command line "
    mov     16(%ebx), %esi
    call    print_text
    say     "\r\n"
    mov     20(%ebx), %ecx
    mov     24(%ebx), %edx
    jecxz   no_modules
next_module:
    say     "multiboot: module "
    mov     8(%edx), %esi               /* its command line */
    call    print_text
    testl   $0xfff, (%edx)              /* flag 0 asked for page alignment */
    jnz     bad
    say     " bytes "
    mov     4(%edx), %eax
    sub     (%edx), %eax
    call    print_hex
    say     " first "
    mov     (%edx), %eax
    mov     (%eax), %eax
    call    print_hex
    say     "\r\n"
    add     $16, %edx
    dec     %ecx
    jnz     next_module
no_modules:
    debug_exit 0x12
bad:
    say     "multiboot: wrong hand-over\r\n"
    debug_exit 0x7f

.include "print32.inc"

.bss
.balign 16
    .skip   4096
stack_top:
