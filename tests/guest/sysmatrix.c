/*
 * A kernel that tries what the manual forbids, 80,000 times: segment loads, far transfers, gates,
 * returns, privileged instructions, paging rights, virtual-8086 mode, task switches. What happened
 * goes into a hash, and with the command line "lines" to the serial port, one line per attempt.
 *
 * The same image runs under QEMU's TCG, an independent implementation: the texts must be equal.
 * Left out or masked is where TCG 7.2 is known to differ from the manual: no segment limits, RF not
 * set by faults, no accessed bit of code segments entered by far JMP or CALL, EXT missing in faults
 * met while delivering an exception, #GP and #NP instead of #NP and #SS for absent segments behind
 * gates and returns; calls through gates to conforming code change the level; faults in a new task
 * save the old instruction's address.
 *
 * Freestanding 32-bit code, multiboot 1.
 */
#include "matrix.h"

/* Outcome of an attempt, filled in by the exception stubs. */
struct outcome {
    uint32_t gs, fs, es, ds;
    uint32_t edi, esi, ebp, esp0, ebx, edx, ecx, eax;
    uint32_t vector, error, eip, cs, eflags, esp, ss;
};
extern struct outcome outcome;
struct start {
    uint32_t eax, ebx, ecx, edx, ds, eip, cs, eflags, esp, ss;
};
void attempt(const struct start *s);

extern const char land[], s_mov_ds[], s_mov_ss[], s_mov_fs[], s_ljmp[], s_lcall[], s_lar[], s_lsl[],
    s_verr[], s_verw[], s_int40[], s_ud2[], s_lret[], s_iret[], s_read[], s_write[], s_flags[],
    stubs[];
extern const char *const privileged[], *const privileged_end[];

__asm__(".section .rodata\n"
        ".subsection 1\n"
        ".balign 4\n"
        "privileged:\n"
        ".subsection 2\n"
        "privileged_end:\n"
        ".section .multiboot, \"a\"\n"
        ".balign 4\n"
        ".long 0x1badb002, 0, -0x1badb002\n"
        ".text\n"
        ".globl _start\n"
        "_start: mov $boot_stack_top, %esp\n"
        "  push %ebx\n"
        "  call main\n"
        "1: cli; hlt; jmp 1b\n"
        /* stubs: vector n at stubs + 16 * n */
        ".balign 16\n"
        "stubs:\n"
        ".set n, 0\n"
        ".rept 80\n"
        ".balign 16\n"
        ".if n == 8 || (n >= 10 && n <= 14) || n == 17\n"
        ".else\n"
        "  push $0x7777\n"
        ".endif\n"
        "  push $n\n"
        "  jmp common\n"
        ".set n, n + 1\n"
        ".endr\n"
        "common:\n"
        "  pusha\n"
        "  push %ds; push %es; push %fs; push %gs\n"
        "  mov $0x10, %eax\n"
        "  mov %eax, %ds; mov %eax, %es; mov %eax, %fs; mov %eax, %gs\n"
        "  cld\n"
        "  mov %esp, %esi\n"
        "  mov $outcome, %edi\n"
        "  mov $19, %ecx\n"
        "  rep movsl %ss:(%esi), (%edi)\n"
        "  mov %esp, %ebx\n"
        "  mov %ss, %ecx\n"
        "  mov $0x10, %eax\n"
        "  mov %eax, %ss\n"
        "  mov resume, %esp\n"
        "  popa\n"
        "  ret\n"
        /* attempt(start) */
        "attempt:\n"
        "  mov 4(%esp), %eax\n"
        "  pusha\n"
        "  mov %esp, resume\n"
        "  testl $0x20000, 28(%eax)\n"
        "  jz 2f\n"
        "  pushl $0x7003; pushl $0x7002; pushl $0x7001; pushl $0x7000\n"
        "2: pushl 36(%eax); pushl 32(%eax); pushl 28(%eax); pushl 24(%eax); pushl 20(%eax)\n"
        "  testl $3, 24(%eax)\n"
        "  jnz 1f\n"
        "  testl $0x20000, 28(%eax)\n"
        "  jnz 1f\n"
        /* same level: IRET takes no stack, so switch to the wanted one first */
        "  mov 32(%eax), %esp\n"
        "  pushl 28(%eax); pushl 24(%eax); pushl 20(%eax)\n"
        "1: mov 4(%eax), %ebx; mov 8(%eax), %ecx; mov 12(%eax), %edx\n"
        "  mov 16(%eax), %esi\n"
        "  mov (%eax), %eax\n"
        "  mov %esi, %ds; mov %esi, %es; mov %esi, %fs; mov %esi, %gs\n"
        "  iret\n"
        "s_mov_ds: mov %eax, %ds; int $0x30\n"
        "s_mov_ss: mov %eax, %ss; int $0x30\n"
        "s_mov_fs: mov %eax, %fs; int $0x30\n"
        "s_ljmp: ljmp *(%ebx)\n"
        "s_lcall: lcall *(%ebx)\n"
        "  int $0x30\n"
        "land: int $0x30\n"
        "s_lar: lar %eax, %ecx; int $0x30\n"
        "s_lsl: lsl %eax, %ecx; int $0x30\n"
        "s_verr: verr %ax; int $0x30\n"
        "s_verw: verw %ax; int $0x30\n"
        "s_int40: int $0x40\n"
        "s_ud2: ud2\n"
        "s_lret: lret\n"
        "s_iret: iret\n"
        "s_read: mov (%ebx), %eax; int $0x30\n"
        "s_write: mov %eax, (%ebx); int $0x30\n"
        "s_flags: pushf; pop %eax; int $0x30\n"
        ".macro try code:vararg\n"
        "9: \\code\n"
        "  int $0x30\n"
        "  .pushsection .rodata, 1; .long 9b; .popsection\n"
        ".endm\n"
        "try cli\n try sti\n try clts\n try lgdt gdtr\n try lidt idtr\n try sgdt scratch\n"
        "try mov %cr0, %eax\n try mov %cr2, %eax\n try smsw %eax\n try str %ax\n try sldt %ax\n"
        "try lldt %ax\n try invlpg 0\n try wbinvd\n try inb $0x61, %al\n try outb %al, $0x80\n"
        "try mov %dr7, %eax\n try mov %eax, %dr3\n try int3\n try into\n try pushf; popf\n"
        "try int $0x31\n try int $0x32\n try ud2\n try sysenter\n try inl $0x80, %eax\n\n"
        "try arpl %ax, %bx\n try mov %ax, %cs\n try hlt\n try bound %eax, bounds\n try aam $0\n "
        "try lret $4\n"
        ".data\n"
        ".balign 16\n"
        "bounds: .long 5, 6\n"
        "scratch: .skip 16\n"
        ".bss\n"
        ".balign 4096\n"
        "  .skip 4096\n"
        "boot_stack_top:\n"
        ".globl resume, outcome\n"
        "resume: .skip 4\n"
        ".balign 16\n"
        "outcome: .skip 128\n"
        ".text\n");

/* --- tables --- */

enum {
    CODE0 = 0x08,
    DATA0 = 0x10,
    CODE1 = 0x18,
    DATA1 = 0x20,
    CODE2 = 0x28,
    DATA2 = 0x30,
    CODE3 = 0x38,
    DATA3 = 0x40,
    TSS = 0x48,
    TEST = 0x50,
    GATE = 0x58,
    NGDT = 0x60
};
static uint64_t gdt[NGDT / 8] __attribute__((aligned(16)));
static uint64_t idt[80] __attribute__((aligned(16)));
static uint32_t tss[64] __attribute__((aligned(128)));
static uint32_t page_dir[1024] __attribute__((aligned(4096)));
static uint32_t page_table[1024] __attribute__((aligned(4096)));
static uint32_t test_page[1024] __attribute__((aligned(4096)));
static uint8_t stacks[4][4096] __attribute__((aligned(4096)));
struct table {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));
struct table gdtr, idtr;

static uint64_t segment(unsigned access, unsigned flags)
{
    return 0x000f00000000ffffull | (uint64_t)access << 40 | (uint64_t)flags << 52;
}
static uint64_t gate(uint16_t sel, const char *to, unsigned access, unsigned params)
{
    uint32_t off = (uint32_t)to;
    return (off & 0xffff) | (uint64_t)sel << 16 | (uint64_t)params << 32 | (uint64_t)access << 40 |
           (uint64_t)(off & 0xffff0000) << 32;
}

static uint32_t stack_of(unsigned cpl)
{
    return (uint32_t)stacks[cpl] + 2048;
}

static void set_up(void)
{
    for (unsigned l = 0; l < 4; l++) {
        gdt[(CODE0 + 16 * l) / 8] = segment(0x9b | l << 5, 0xc);
        gdt[(DATA0 + 16 * l) / 8] = segment(0x93 | l << 5, 0xc);
        if (l < 3) {
            tss[1 + 2 * l] = (uint32_t)stacks[l] + 4096;
            tss[2 + 2 * l] = (DATA0 + 16 * l) | l;
        }
    }
    uint32_t t = (uint32_t)tss;
    gdt[TSS / 8] =
        0x67 | (uint64_t)(t & 0xffffff) << 16 | 0x89ull << 40 | (uint64_t)(t >> 24) << 56;
    tss[25] = 0x68u << 16;
    for (unsigned v = 0; v < 80; v++)
        idt[v] =
            gate(CODE0, stubs + 16 * v, v == 0x30 || v == 3 || v == 4 || v == 5 ? 0xee : 0x8e, 0);
    idt[0x31] = gate(CODE0, stubs + 16 * 0x31, 0xae, 0); /* DPL 1 */
    gdtr = (struct table){sizeof gdt - 1, (uint32_t)gdt};
    idtr = (struct table){sizeof idt - 1, (uint32_t)idt};
    __asm__ volatile("lgdt gdtr; lidt idtr; ljmp $8, $1f; 1: mov $0x10, %%eax; mov %%eax, %%ds;"
                     "mov %%eax, %%es; mov %%eax, %%ss; mov %%eax, %%fs; mov %%eax, %%gs;"
                     "mov $0x48, %%eax; ltr %%ax"
                     :
                     :
                     : "eax", "memory");
}

/* --- one attempt --- */

static void run(const char *code, unsigned cpl, uint32_t eax, uint32_t ebx, uint32_t eflags)
{
    const struct start s = {.eax = eax,
                            .ebx = ebx,
                            .ecx = 0xcccc,
                            .edx = 0xdddd,
                            .ds = (DATA0 + 16 * cpl) | cpl,
                            .eip = (uint32_t)code,
                            .cs = (CODE0 + 16 * cpl) | cpl,
                            .eflags = eflags | 2,
                            .esp = stack_of(cpl),
                            .ss = (DATA0 + 16 * cpl) | cpl};
    attempt(&s);
}

/* What is the same wherever it runs: vector, error, where, flags; arithmetic flags only when asked
 * for. */
static void say(uint32_t flags_mask)
{
    hex(outcome.vector);
    hex(outcome.error);
    hex(outcome.cs);
    hex(outcome.eip - (uint32_t)s_mov_ds);
    hex(outcome.eflags & flags_mask);
    if (outcome.cs & 3) { /* a stack switch: the interrupted stack is in the frame */
        hex(outcome.ss);
        hex(outcome.esp - stack_of(3));
    }
    put('\n');
}
/* Without RF, VIF and VIP: the other emulator leaves them alone. */
#define SYSTEM_FLAGS 0x00027700u

/* --- groups --- */

static void loads(void)
{
    static const char *const code[3] = {s_mov_ds, s_mov_ss, s_mov_fs};
    for (unsigned i = 0; i < 3; i++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned access = 0; access < 256; access++)
                for (unsigned rpl = 0; rpl < 4; rpl++) {
                    if (i == 1 && (access & 0x1c) == 0x14)
                        continue; /* expand-down stacks: the other emulator checks no limits */
                    gdt[TEST / 8] = segment(access, 0xc);
                    title('L', i << 4 | cpl, access, rpl);
                    run(code[i], cpl, TEST | rpl, 0, 0);
                    hex(outcome.ds);
                    hex(outcome.fs);
                    hex((uint32_t)(gdt[TEST / 8] >> 40) & 0xff);
                    say(SYSTEM_FLAGS);
                }
}

static uint32_t far_pointer[2];

static void transfers(void)
{
    for (unsigned call = 0; call < 2; call++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned access = 0; access < 256; access++)
                for (unsigned rpl = 0; rpl < 4; rpl++) {
                    unsigned type = access & 0x1f;
                    if (type == 1 || type == 9 || type == 5 || type == 4)
                        continue; /* task switches; 16-bit gates cannot reach this code */
                    gdt[TEST / 8] = segment(access, 0xc);
                    if (type == 12)
                        gdt[TEST / 8] = gate(CODE0, land, access, 0);
                    far_pointer[0] = (uint32_t)land;
                    far_pointer[1] = TEST | rpl;
                    title('T', call << 4 | cpl, access, rpl);
                    run(call ? s_lcall : s_ljmp, cpl, 0, (uint32_t)far_pointer, 0);
                    say(SYSTEM_FLAGS);
                }
}

static void callgates(void)
{
    for (unsigned call = 0; call < 2; call++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned dpl = 0; dpl < 4; dpl++)
                for (unsigned target = 0; target < 256; target++) {
                    bool conforming = (target & 0x1c) == 0x1c && (target >> 5 & 3) < cpl;
                    if (call ? conforming : !(target & 0x80))
                        continue;
                    gdt[TEST / 8] = segment(target, 0xc);
                    gdt[GATE / 8] = gate(TEST, land, 0x8c | dpl << 5, 3);
                    far_pointer[0] = 0;
                    far_pointer[1] = GATE | 3;
                    uint32_t *p = (uint32_t *)stack_of(cpl);
                    p[0] = 0x11, p[1] = 0x22, p[2] = 0x33;
                    title('G', call << 4 | cpl, dpl, target);
                    run(call ? s_lcall : s_ljmp, cpl, 0, (uint32_t)far_pointer, 0);
                    if (outcome.vector == 0x30 && outcome.cs & 3) {
                        const uint32_t *q = (const uint32_t *)outcome.esp;
                        for (unsigned i = 0; i < 4; i++)
                            hex(i ? q[i] : q[i] - (uint32_t)s_mov_ds);
                    }
                    say(SYSTEM_FLAGS);
                }
}

static void questions(void)
{
    static const char *const code[4] = {s_lar, s_lsl, s_verr, s_verw};
    for (unsigned i = 0; i < 4; i++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned access = 0; access < 256; access++)
                for (unsigned rpl = 0; rpl < 4; rpl++) {
                    gdt[TEST / 8] = segment(access, 0xc);
                    title('Q', i << 4 | cpl, access, rpl);
                    run(code[i], cpl, TEST | rpl, 0, 0);
                    hex(outcome.ecx);
                    say(SYSTEM_FLAGS | 0x40);
                }
}

static void gates(void)
{
    uint64_t old = idt[6];
    for (unsigned hard = 0; hard < 2; hard++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned access = 0; access < 256; access++)
                for (unsigned target = 0; target < 16; target++) { /* DPL, conforming, P */
                    unsigned type = access & 0x1f;
                    if (type == 5 || type == 6 || type == 7)
                        continue;
                    gdt[TEST / 8] =
                        segment(0x1b | (target & 3) << 5 | (target & 4) | (target & 8) << 4, 0xc);
                    idt[hard ? 6 : 0x40] = gate(TEST, land, access, 0);
                    title('I', hard << 4 | cpl, access, target);
                    run(hard ? s_ud2 : s_int40, cpl, 0, 0, 0x200);
                    outcome.error &= ~hard;
                    say(SYSTEM_FLAGS);
                    idt[6] = old;
                }
}

static void returns(void)
{
    for (unsigned iret = 0; iret < 2; iret++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned access = 0; access < 256; access++)
                for (unsigned rpl = 0; rpl < 4; rpl++) {
                    uint32_t *p = (uint32_t *)stack_of(cpl);
                    gdt[TEST / 8] = segment(access, 0xc);
                    *p++ = (uint32_t)land;
                    *p++ = TEST | rpl;
                    if (iret)
                        *p++ = 0x3202;
                    *p++ = stack_of(3);
                    *p++ = (DATA0 + 16 * rpl) | rpl;
                    title('R', iret << 4 | cpl, access, rpl);
                    run(iret ? s_iret : s_lret, cpl, 0, 0, 0);
                    hex(outcome.ds);
                    say(SYSTEM_FLAGS);
                }
    for (unsigned iret = 0; iret < 2; iret++) /* SS of an outer level */
        for (unsigned access = 0; access < 256; access++)
            for (unsigned rpl = 0; rpl < 4; rpl++) {
                uint32_t *p = (uint32_t *)stack_of(0);
                if (!(access & 0x80))
                    continue;
                gdt[TEST / 8] = segment(access, 0xc);
                *p++ = (uint32_t)land;
                *p++ = CODE3 | 3;
                if (iret)
                    *p++ = 0x202;
                *p++ = stack_of(3);
                *p++ = TEST | rpl;
                title('S', iret, access, rpl);
                run(iret ? s_iret : s_lret, 0, 0, 0, 0);
                say(SYSTEM_FLAGS);
            }
}

static void iret_flags(void)
{
    static const uint32_t images[] = {
        0x0, 0x200, 0x3200, 0x4000, 0x40000, 0x80000, 0x100000, 0x200000, 0xffffffff & ~0x34100u};
    for (unsigned cpl = 0; cpl < 4; cpl++)
        for (unsigned iopl = 0; iopl < 4; iopl++)
            for (unsigned i = 0; i < sizeof images / sizeof *images; i++) {
                uint32_t *p = (uint32_t *)stack_of(cpl);
                p[0] = (uint32_t)s_flags;
                p[1] = (CODE0 + 16 * cpl) | cpl;
                p[2] = images[i] & ~0x4000u;
                title('F', cpl, iopl, i);
                run(s_iret, cpl, 0, 0, iopl << 12);
                hex(outcome.eax & 0x267fd5);
                say(0x267fd5);
            }
}

static void privileges(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned iopl = 0; iopl < 4; iopl += 3) {
                if (!cpl && *(const uint8_t *)privileged[i] == 0xf4)
                    continue; /* HLT works there */
                title('P', i, cpl, iopl);
                run(privileged[i], cpl, 0, 0, iopl << 12);
                say(SYSTEM_FLAGS);
            }
}

static void paging(void)
{
    volatile uint32_t *const page = (volatile uint32_t *)0x40000000;
    for (unsigned i = 0; i < 8; i++)
        page_dir[i] = i << 22 | 0xe7; /* one to one, user, 4 MiB */
    __asm__ volatile("mov %%cr4, %%eax; or $0x10, %%eax; mov %%eax, %%cr4; mov %0, %%cr3;"
                     "mov %%cr0, %%eax; or $0x80000000, %%eax; mov %%eax, %%cr0"
                     :
                     : "r"(page_dir)
                     : "eax", "memory");
    for (unsigned wp = 0; wp < 2; wp++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned bits = 0; bits < 128; bits++) { /* PDE PWU, PTE PWU, write */
                page_dir[256] = (uint32_t)page_table | (bits & 7);
                page_table[0] = (uint32_t)test_page | (bits >> 3 & 7);
                __asm__ volatile("mov %%cr0, %%eax; and $0xfffeffff, %%eax; or %0, %%eax;"
                                 "mov %%eax, %%cr0; mov %%cr3, %%eax; mov %%eax, %%cr3"
                                 :
                                 : "r"(wp << 16)
                                 : "eax", "memory");
                title('M', wp << 4 | cpl, bits & 63, bits >> 6);
                run(bits >> 6 ? s_write : s_read, cpl, 0x55, (uint32_t)page + 0x44, 0);
                uint32_t cr2;
                __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
                hex(cr2);
                /* used in a walk that failed: the accessed flag may be set or not */
                hex(page_dir[256] & (outcome.vector == 14 ? 0xfdf : 0xfff));
                hex(page_table[0] & 0xfff);
                say(SYSTEM_FLAGS);
            }
    __asm__ volatile("mov %%cr0, %%eax; and $0x7fffffff, %%eax; mov %%eax, %%cr0"
                     :
                     :
                     : "eax", "memory");
}

/* --- virtual-8086 mode: one instruction at 6000:0000, then INT3 --- */

static void v86(void)
{
    static const uint8_t code[][6] = {
        {1, 0xfa},                   /* cli */
        {1, 0xfb},                   /* sti */
        {1, 0x9c},                   /* pushf */
        {1, 0x9d},                   /* popf */
        {2, 0x66, 0x9c},             /* pushfd */
        {2, 0x66, 0x9d},             /* popfd */
        {2, 0xcd, 0x31},             /* int 31 */
        {2, 0xcd, 0x40},             /* int 40: a gate of level 3 */
        {1, 0xce},                   /* into */
        {1, 0xcf},                   /* iret */
        {2, 0x66, 0xcf},             /* iretd */
        {1, 0xf4},                   /* hlt */
        {2, 0xe4, 0x61},             /* in al, 61 */
        {2, 0xe6, 0x80},             /* out 80, al */
        {3, 0x0f, 0x20, 0xc0},       /* mov eax, cr0 */
        {3, 0x0f, 0x01, 0xe0},       /* smsw ax */
        {3, 0x0f, 0x00, 0xc0},       /* sldt ax */
        {3, 0x0f, 0x02, 0xc0},       /* lar ax, ax */
        {2, 0x63, 0xc0},             /* arpl ax, ax */
        {2, 0x8e, 0xd8},             /* mov ds, ax */
        {2, 0x0f, 0x06},             /* clts */
        {5, 0xea, 0x05, 0, 0, 0x60}, /* jmp 6000:5 */
        {5, 0x9a, 0x05, 0, 0, 0x60}, /* call 6000:5 */
        {1, 0xcb},                   /* retf */
    };
    uint8_t *const at = (uint8_t *)0x60000;
    uint16_t *const stack = (uint16_t *)0x70100;
    idt[0x40] = gate(CODE0, stubs + 16 * 0x40, 0xee, 0);
    for (unsigned i = 0; i < sizeof code / sizeof *code; i++)
        for (unsigned iopl = 0; iopl < 4; iopl++)
            for (unsigned frame = 0; frame < 4; frame++) {
                for (unsigned k = 0; k < 64; k++)
                    at[k] = 0xcc;
                for (unsigned k = 0; k < code[i][0]; k++)
                    at[k] = code[i][1 + k];
                bool wide = at[0] == 0x66;
                for (unsigned k = 0; k < 8; k++)
                    stack[k] = 0;
                stack[0] =
                    at[wide] == 0x9d && frame & 1 ? 0x3202 : 0x20; /* flags for POPF, or IP */
                stack[wide ? 2 : 1] = 0x6000;
                stack[wide ? 4 : 2] = frame & 2 ? 0x3ad7 : 0x2;
                const struct start s = {.eax = 0x1234,
                                        .eip = 0,
                                        .cs = 0x6000,
                                        .eflags = 0x20002 | iopl << 12 | (frame & 1) << 11,
                                        .esp = 0x100,
                                        .ss = 0x7000,
                                        .ds = DATA0};
                title('V', i, iopl, frame);
                attempt(&s);
                hex(outcome.ss);
                hex(outcome.esp);
                hex(stack[-1]);
                hex(outcome.eax & 0xffff);
                hex(outcome.eflags & 0x267fd5);
                say(SYSTEM_FLAGS);
            }
}

/* --- task switches; faults in the new task while CS and SS are good --- */

static uint32_t other_tss[64] __attribute__((aligned(128)));

static void put_tasks(uint64_t mine)
{
    uint32_t t = (uint32_t)other_tss;
    for (unsigned i = 0; i < 26; i++)
        other_tss[i] = 0;
    other_tss[7] = (uint32_t)page_dir;
    other_tss[8] = (uint32_t)land;
    other_tss[9] = 0x2 | 0x800;
    other_tss[14] = stack_of(1);
    other_tss[18] = DATA0;
    other_tss[19] = CODE0;
    other_tss[20] = DATA0;
    other_tss[21] = DATA0;
    gdt[GATE / 8] =
        0x67 | (uint64_t)(t & 0xffffff) << 16 | 0x89ull << 40 | (uint64_t)(t >> 24) << 56;
    gdt[TSS / 8] = mine;
    __asm__ volatile("ltr %w0" : : "r"(TSS) : "memory");
}

static void tasks(void)
{
    static const uint16_t sels[] = {0,         DATA0, DATA0 | 3, DATA3 | 3, CODE0,
                                    CODE3 | 3, TSS,   TEST,      TEST | 3,  0x60,
                                    0xfff8,    4,     DATA1 | 1, DATA3 | 0, CODE1};
    static const uint8_t slots[] = {18, 21, 22, 23}; /* ES, DS, FS, GS */
    const uint64_t mine = gdt[TSS / 8] & ~(2ull << 40);
    idt[0x40] = (uint64_t)GATE << 16 | 0xe5ull << 40;
    gdt[TEST / 8] = segment(0x13, 0xc); /* data, not present */
    far_pointer[0] = 0;
    far_pointer[1] = GATE;
    for (unsigned how = 0; how < 3; how++)
        for (unsigned slot = 0; slot < sizeof slots; slot++)
            for (unsigned i = 0; i < sizeof sels / sizeof *sels; i++) {
                put_tasks(mine);
                other_tss[slots[slot]] = sels[i];
                title('X', how, slot, sels[i]);
                run(how == 0   ? s_ljmp
                    : how == 1 ? s_lcall
                               : s_int40,
                    0, 0, (uint32_t)far_pointer, 0);
                uint32_t cr0;
                __asm__ volatile("mov %%cr0, %0; clts" : "=r"(cr0));
                hex(cr0 >> 3 & 1);
                hex((uint32_t)(gdt[TSS / 8] >> 40) & 0xff);
                hex((uint32_t)(gdt[GATE / 8] >> 40) & 0xff);
                hex(other_tss[0] & 0xffff);
                hex(tss[8] - (uint32_t)s_mov_ds);
                if (outcome.vector != 0x30)
                    outcome.eip = (uint32_t)s_mov_ds;
                say(0x67fd5);
            }
    put_tasks(mine);
}

int main(const struct multiboot *info)
{
    begin(info);
    set_up();
    loads();
    transfers();
    callgates();
    questions();
    gates();
    returns();
    iret_flags();
    privileges((unsigned)(privileged_end - privileged));
    v86();
    tasks();
    paging();
    verdict("sysmatrix");
    return 0;
}
