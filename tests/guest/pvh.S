/*
 * A PVH kernel (ELF32 with the Xen note that names its 32-bit entry): prints what the loader passed and ends
 * with 0x13; 0x7f when the hand-over is wrong (Xen's documentation: x86/HVM direct boot ABI).
 */
.include "report.inc"

.section .note.pvh, "a", @note
.balign 4
    .long   4, 4, 18                    /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz  "Xen"
    .long   pvh_entry

.text
.code32
.globl _start
_start:                                 /* the plain ELF entry must not be taken */
    debug_exit 0x7e

pvh_entry:
    mov     $stack_top, %esp
    mov     %cr0, %eax
    and     $0x80000001, %eax
    cmp     $1, %eax
    jne     bad
    cmpl    $0x336ec578, (%ebx)         /* hvm_start_info: magic */
    jne     bad
    say     "pvh: command line "
    mov     24(%ebx), %esi              /* cmdline_paddr */
    call    print_text
    say     "\r\npvh: modules "
    mov     12(%ebx), %eax              /* nr_modules */
    call    print_hex
    say     "\r\n"
    cmpl    $1, 4(%ebx)                 /* version 1 has the memory map */
    jb      bad
    cmpl    $0, 48(%ebx)                /* memmap_entries */
    je      bad
    debug_exit 0x13
bad:
    say     "pvh: wrong hand-over\r\n"
    debug_exit 0x7f

.include "print32.inc"

.bss
.balign 16
    .skip   4096
stack_top:
