/*
 * The long-mode sister of sysmatrix.c: segment loads, far transfers, call gates, interrupt gates
 * with IST, returns, faults met while delivering, privileged instructions, SYSCALL, paging rights,
 * canonical addresses, from 64-bit and from compatibility code, at each level. What happened goes
 * into a hash, and with "lines" on the command line to the serial port, one line per attempt.
 *
 * The same image runs under QEMU's TCG and under Bochs: the texts must be equal. Left out or masked
 * is where TCG 7.2 is known to differ from the manual; the word "strict" on the command line puts
 * it back (Bochs agrees with that, too).
 *
 * Freestanding 64-bit code behind a 32-bit entry, multiboot 1.
 */
#include "longmatrix_code.h"
#include "matrix.h"

/* --- tables --- */

/* Selectors of level l. */
#define CODE(l) (0x10u + 0x20u * (l)) /* 64-bit */
#define DATA(l) (0x18u + 0x20u * (l))
#define FLAT(l) (0x20u + 0x20u * (l)) /* code of compatibility mode */
enum { TSS = 0x90, TEST = 0xa0, GATE = 0xb0, NGDT = 0xc0 };
enum { F_DATA = 0xc, F_FLAT = 0xc, F_LONG = 0xa }; /* G, D, L */
#define IST_FAULTS 1u                              /* for tests */
#define IST_DOUBLE 7u
#define NO_ERROR   0x7777u

static uint64_t gdt[NGDT / 8] __attribute__((aligned(16)));
static struct idt_entry {
    uint64_t low, high;
} idt[80] __attribute__((aligned(16)));
static struct {
    uint32_t unused;
    uint64_t rsp[3], ist[8], unused2; /* ist[0] is reserved */
    uint32_t map;
} __attribute__((packed, aligned(128))) tss;
uint64_t page_dir[512] __attribute__((aligned(4096)));
static uint64_t test_dir[512] __attribute__((aligned(4096)));
static uint64_t test_table[512] __attribute__((aligned(4096)));
static uint8_t test_page[4096] __attribute__((aligned(4096)));
uint8_t stacks[6][4096] __attribute__((aligned(4096))); /* levels, IST_FAULTS, IST_DOUBLE */
extern uint64_t page_pdpt[512];
struct table {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));
struct table gdtr, idtr;

#define LOW          0x7000u /* where 16-bit code reaches: INT 30 */
#define UNMAPPED     0x0000007f7f000000ul
#define NONCANONICAL 0x0123456789abcde8ul

static bool strict; /* the other emulator is Bochs, not TCG */
static bool on_ist; /* TCG makes SS null on such a stack at the same level, too */

static uint64_t segment(unsigned access, unsigned flags)
{
    return 0x000f00000000ffffull | (uint64_t)access << 40 | (uint64_t)flags << 52;
}

static struct idt_entry gate(unsigned sel, uint64_t to, unsigned access, unsigned ist)
{
    return (struct idt_entry){(to & 0xffff) | (uint64_t)sel << 16 | (uint64_t)ist << 32 |
                                  (uint64_t)access << 40 | (to >> 16 & 0xffff) << 48,
                              to >> 32};
}

/* Where to land in code with these flags. */
static uint64_t landing(unsigned flags)
{
    return flags == 8 ? LOW : (uint64_t)land;
}

static uint64_t vector_entry(unsigned vector)
{
    return (uint64_t)vector_entries + 16 * vector;
}

static uint64_t stack_of(unsigned cpl)
{
    return (uint64_t)stacks[cpl] + 2048;
}

static void set_stacks(void)
{
    for (unsigned l = 0; l < 3; l++)
        tss.rsp[l] = (uint64_t)stacks[l] + 4096;
    tss.ist[IST_FAULTS] = (uint64_t)stacks[4] + 4096;
    tss.ist[IST_DOUBLE] = (uint64_t)stacks[5] + 4096;
}

static void load_idt(unsigned entries)
{
    idtr = (struct table){(uint16_t)(16 * entries - 1), (uint64_t)idt};
    __asm__ volatile("lidt idtr" ::: "memory");
}

static void set_idt(void)
{
    for (unsigned v = 0; v < 80; v++) {
        bool program = v == 0x30 || (v >= 3 && v <= 5);
        idt[v] = gate(CODE(0), vector_entry(v), program ? 0xee : 0x8e, v == 8 ? IST_DOUBLE : 0);
    }
    idt[0x31] = gate(CODE(0), vector_entry(0x31), 0xae, 0); /* DPL 1 */
    load_idt(80);
}

static void set_up(void)
{
    uint64_t t = (uint64_t)&tss;
    for (unsigned l = 0; l < 4; l++) {
        gdt[CODE(l) / 8] = segment(0x9b | l << 5, F_LONG);
        gdt[DATA(l) / 8] = segment(0x93 | l << 5, F_DATA);
        gdt[FLAT(l) / 8] = segment(0x9b | l << 5, F_FLAT);
    }
    gdt[TSS / 8] = 0x67 | (t & 0xffffff) << 16 | 0x89ull << 40 | (t >> 24 & 0xff) << 56;
    tss.map = 0x68u << 16;
    set_stacks();
    gdtr = (struct table){sizeof gdt - 1, (uint64_t)gdt};
    __asm__ volatile("lgdt gdtr; push $0x10; push $1f; lretq; 1: mov $0x18, %%eax; mov %%eax, %%ds;"
                     "mov %%eax, %%es; mov %%eax, %%ss; mov %%eax, %%fs; mov %%eax, %%gs;"
                     "mov $0x90, %%eax; ltr %%ax"
                     :
                     :
                     : "eax", "memory");
    set_idt();
}

/* --- one attempt --- */

static struct start begin_at(const char *code, unsigned compat, unsigned cpl)
{
    return (struct start){.rcx = 0xcccc,
                          .ds = DATA(cpl) | cpl,
                          .rip = (uint64_t)code,
                          .cs = (compat ? FLAT(cpl) : CODE(cpl)) | cpl,
                          .rflags = 2,
                          .rsp = stack_of(cpl),
                          .ss = DATA(cpl) | cpl};
}

static void run(const char *code, unsigned compat, unsigned cpl, uint64_t rax, uint64_t rbx,
                uint64_t rflags)
{
    struct start s = begin_at(code, compat, cpl);
    s.rax = rax;
    s.rbx = rbx;
    s.rflags |= rflags;
    attempt(&s);
}

/* Addresses in the image as distances, which do not depend on what the compiler made. */
static void place(uint64_t address)
{
    uint64_t code = address - (uint64_t)s_mov_ds, stack = address - (uint64_t)stacks;
    hex(code < 0x800 ? code : stack <= sizeof stacks ? stack : address);
}

/* Without RF, VIF and VIP: TCG leaves them alone. */
#define SYSTEM_FLAGS (strict ? 0x00037700u : 0x00027700u)

static void say(uint64_t flags_mask)
{
    hex(outcome.vector);
    if (!strict && outcome.error != NO_ERROR && outcome.vector >= 10 && outcome.vector <= 13 &&
        outcome.error & 2)
        outcome.error = 2; /* TCG: twice the vector */
    hex(outcome.error);
    hex(outcome.cs);
    place(outcome.rip);
    hex(outcome.rflags & flags_mask);
    hex(strict || !on_ist ? outcome.ss : 0);
    place(outcome.rsp);
    hex(strict || !(on_ist || outcome.vector == 8) ? outcome.ss_now : 0);
    place(outcome.frame);
    put('\n');
}

/* --- groups --- */

static void loads(unsigned compat)
{
    static const char *const code[3] = {s_mov_ds, s_mov_ss, s_mov_fs};
    for (unsigned i = 0; i < 3; i++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned access = 0; access < 257; access++) /* 256: the null selector */
                for (unsigned rpl = 0; rpl < 4; rpl++) {
                    if (!strict && i == 1 && ((compat && (access & 0x1c) == 0x14) || access == 256))
                        continue; /* TCG checks no limits (expand-down), no RPL of a null SS */
                    gdt[TEST / 8] = segment(access, F_DATA);
                    title('L', compat << 8 | i << 4 | cpl, access, rpl);
                    run(code[i], compat, cpl, (access == 256 ? 0 : TEST) | rpl, 0, 0);
                    hex(outcome.ds);
                    hex(outcome.fs);
                    hex(gdt[TEST / 8] >> 40 & 0xff);
                    say(SYSTEM_FLAGS);
                }
}

static struct {
    uint32_t offset;
    uint16_t sel;
} __attribute__((packed)) far_pointer;
static struct {
    uint64_t offset;
    uint16_t sel;
} __attribute__((packed)) far_pointer64;

static void set_far(uint64_t offset, unsigned sel)
{
    far_pointer.offset = (uint32_t)offset;
    far_pointer64.offset = offset;
    far_pointer.sel = far_pointer64.sel = (uint16_t)sel;
}

/* By JMP, CALL and their forms with 64-bit offsets; how: 0 to 3. */
static void go_far(unsigned how, unsigned compat, unsigned cpl)
{
    static const char *const code[4] = {s_ljmp, s_lcall, s_ljmpq, s_lcallq};
    run(code[how], compat, cpl, 0, how < 2 ? (uint64_t)&far_pointer : (uint64_t)&far_pointer64, 0);
}

/* What a call has left on the stack where the program landed. */
static void pushed(unsigned n)
{
    uint64_t at = outcome.rsp - (uint64_t)stacks;
    if (outcome.vector != 0x30 || at > sizeof stacks - 8 * n)
        return;
    for (unsigned i = 0; i < n; i++) {
        uint64_t v = *(const uint64_t *)(outcome.rsp + 8 * i);
        place(n == 5 && i == 2 && !strict ? v & ~0x10000ull : v); /* RF */
    }
}

static void transfers(unsigned compat)
{
    for (unsigned how = 0; how < (compat ? 2 : 4); how++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned access = 0; access < 256; access++)
                for (unsigned rpl = 0; rpl < 4; rpl++)
                    for (unsigned flags = 8; flags < 16; flags += 2) {
                        bool gated = (access & 0x1f) == 12;
                        if (gated || ((access & 0x18) != 0x18 && flags != F_DATA))
                            continue; /* L and D mean something in code segments only */
                        if (!strict && (access & 0x18) == 0x18 && flags == 14)
                            continue; /* TCG does not refuse L with D */
                        gdt[TEST / 8] = segment(access, flags);
                        gdt[TEST / 8 + 1] = 0;
                        set_far(landing(flags), TEST | rpl);
                        title('T', compat << 8 | how << 4 | cpl, access, rpl << 4 | flags);
                        go_far(how, compat, cpl);
                        pushed(how & 1 ? 2 : 0);
                        hex(gdt[TEST / 8] >> 40 & (strict ? 0xff : 0xfe));
                        say(SYSTEM_FLAGS);
                    }
}

static void put_gate(unsigned sel, uint64_t to, unsigned access)
{
    struct idt_entry g = gate(sel, to, access, 0);
    gdt[GATE / 8] = g.low;
    gdt[GATE / 8 + 1] = g.high;
}

/* Through a gate of each level to code of each kind. */
static void callgates(unsigned compat)
{
    for (unsigned how = 0; how < 2; how++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned dpl = 0; dpl < 4; dpl++)
                for (unsigned target = 0; target < 256; target++)
                    for (unsigned flags = 8; flags < 16; flags += 2) {
                        unsigned level = target >> 5 & 3;
                        bool conforming = (target & 0x1c) == 0x1c && level < cpl;
                        bool middle = how && level && level < cpl;
                        if ((target & 0x18) != 0x18 && flags != F_DATA)
                            continue;
                        if (!strict && (flags == 14 || conforming || middle || !(target & 0x80)))
                            continue; /* TCG: see above; calls to conforming code change the level,
                                         to levels 1 and 2 do not; #GP instead of #NP */
                        gdt[TEST / 8] = segment(target, flags);
                        put_gate(TEST, (uint64_t)land, 0x8c | dpl << 5);
                        set_far(0, GATE | (target & 1 ? 3 : 0));
                        title('G', compat << 8 | how << 4 | cpl, dpl << 4 | flags, target);
                        go_far(how, compat, cpl);
                        pushed(how ? 4 : 0);
                        say(SYSTEM_FLAGS);
                    }
}

/* Damaged gates, targets and stacks. */
static void bad_callgates(unsigned compat)
{
    for (unsigned how = 0; how < 2; how++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned to = 0; to < 4; to++)
                for (unsigned bad = 0; bad < 12; bad++) {
                    static const uint64_t where[] = {NONCANONICAL, UNMAPPED, 8, 0xfffffffffffffff8};
                    uint64_t offset = bad == 5 ? NONCANONICAL : (uint64_t)land;
                    if (!strict && (bad == 5 || bad == 6 || bad == 8 || bad == 11))
                        continue; /* TCG: no canonical checks but those of pages */
                    put_gate(bad == 1   ? 0
                             : bad == 2 ? 3
                             : bad == 3 ? 0xfff8
                             : bad == 4 ? TSS
                                        : CODE(to),
                             offset, bad == 0 ? 0x6c : 0xec);
                    if (bad == 6)
                        gdt[GATE / 8 + 1] |= 0x0c00ull << 32; /* type of the upper half */
                    if (bad >= 8)
                        tss.rsp[0] = tss.rsp[1] = tss.rsp[2] = where[bad - 8];
                    set_far(0, bad == 7 ? GATE + 8 : GATE);
                    title('B', compat << 8 | how << 4 | cpl, to, bad);
                    go_far(how, compat, cpl);
                    pushed(how ? 4 : 0);
                    say(SYSTEM_FLAGS);
                    set_stacks();
                }
}

static void questions(unsigned compat)
{
    static const char *const code[4] = {s_lar, s_lsl, s_verr, s_verw};
    for (unsigned i = 0; i < 4; i++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned access = 0; access < 256; access++)
                for (unsigned rpl = 0; rpl < 4; rpl++) {
                    if (!strict && !(access & 0x18))
                        continue; /* TCG knows the types of 32-bit mode */
                    gdt[TEST / 8] = segment(access, 0xe);
                    gdt[TEST / 8 + 1] = 0;
                    title('Q', compat << 8 | i << 4 | cpl, access, rpl);
                    run(code[i], compat, cpl, TEST | rpl, 0, 0);
                    hex(outcome.rcx & (i ? ~0ul : ~0xf0000ul)); /* undefined bits of LAR */
                    say(SYSTEM_FLAGS | 0x40);
                }
}

/* INT 40 and UD2 through each kind of gate to each kind of code; then with IST. */
static void gates(unsigned compat)
{
    const struct idt_entry old = idt[6];
    for (unsigned hard = 0; hard < 2; hard++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned access = 0; access < 256; access++)
                for (unsigned target = 0; target < 64; target++) { /* DPL, conforming, P, L, D */
                    unsigned type = access & 0x1f, flags = 8 | (target >> 3 & 6);
                    bool ist = access & 0x10; /* instead of the bit S */
                    if ((type != 14 && type != 15 && !ist && target != 0x18) ||
                        (ist && type != 0x1e) || (!strict && (flags == 14 || !(target & 8))))
                        continue;
                    gdt[TEST / 8] =
                        segment(0x1b | (target & 3) << 5 | (target & 4) | (target & 8) << 4, flags);
                    idt[hard ? 6 : 0x40] =
                        gate(TEST, (uint64_t)land, access & ~0x10u, ist ? IST_FAULTS : 0);
                    title('I', compat << 8 | hard << 4 | cpl, access, target);
                    run(hard ? s_ud2 : s_int40, compat, cpl, 0, 0, 0x4200);
                    if (!strict && hard && outcome.error != NO_ERROR)
                        outcome.error &= ~1ull;
                    pushed(5);
                    on_ist = ist;
                    say(SYSTEM_FLAGS);
                    on_ist = false;
                    idt[6] = old;
                }
}

/* Frames are aligned: from each address of the interrupted stack. */
static void alignment(unsigned compat)
{
    for (unsigned cpl = 0; cpl < 4; cpl++)
        for (unsigned low = 0; low < 17; low++)
            for (unsigned ist = 0; ist < 2; ist++) {
                struct start s = begin_at(s_int40, compat, cpl);
                s.rsp -= low;
                tss.ist[IST_FAULTS] -= low;
                tss.rsp[0] -= low;
                idt[0x40] = gate(CODE(0), vector_entry(0x40), 0xee, ist);
                title('A', compat << 4 | cpl, low, ist);
                attempt(&s);
                on_ist = ist;
                say(SYSTEM_FLAGS);
                on_ist = false;
                set_stacks();
            }
}

/* A frame for a return, its words of 4 or 8 bytes. */
static void put_frame(unsigned cpl, unsigned size, const uint64_t *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint8_t *at = (uint8_t *)stack_of(cpl) + size * i;
        *(uint32_t *)at = (uint32_t)v[i];
        if (size == 8)
            *(uint64_t *)at = v[i];
    }
}

/* how: RETF, IRET, and with REX.W */
static void go_back(unsigned how, unsigned compat, unsigned cpl, uint64_t rip, unsigned cs,
                    uint64_t rsp, unsigned ss, uint64_t rflags)
{
    static const char *const code[4] = {s_lret, s_iret, s_lretq, s_iretq};
    uint64_t v[5] = {rip, cs};
    unsigned n = 2;
    if (how & 1)
        v[n++] = 0x3202;
    v[n++] = rsp;
    v[n++] = ss;
    put_frame(cpl, how & 2 ? 8 : 4, v, n);
    run(code[how], compat, cpl, 0, 0, rflags);
    hex(outcome.ds);
    say(SYSTEM_FLAGS);
}

/* IRET with 32-bit operands in 64-bit mode takes RSP and SS at the same level, too (SDM Vol.3A
 * 6.14.3): TCG does, Bochs does not. */
static bool bochs_iret(unsigned how, unsigned compat)
{
    return strict && how == 1 && !compat;
}

static void returns(unsigned compat)
{
    for (unsigned how = 0; how < (compat ? 2 : 4); how++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned access = 0; access < 256; access++)
                for (unsigned rpl = 0; rpl < 4; rpl++)
                    for (unsigned flags = 8; flags < 16; flags += 2) {
                        bool absent = !(access & 0x80);
                        if (((access & 0x18) != 0x18 || absent) && flags != F_DATA)
                            continue;
                        if (strict ? bochs_iret(how, compat) : flags == 14)
                            continue;
                        gdt[TEST / 8] = segment(access, flags);
                        title('R', compat << 8 | how << 4 | cpl, access, rpl << 4 | flags);
                        go_back(how, compat, cpl, landing(flags), TEST | rpl, stack_of(3),
                                DATA(rpl) | rpl, 0);
                    }
}

/* SS of the frame, to 64-bit and compatibility code; 256: null. */
static void return_stacks(unsigned compat)
{
    for (unsigned how = 0; how < (compat ? 2 : 4); how++)
        for (unsigned to = 0; to < 8; to++) /* level, compatibility */
            for (unsigned access = 0; access < 257; access++)
                for (unsigned rpl = 0; rpl < 4; rpl++) {
                    unsigned level = to & 3;
                    if (bochs_iret(how, compat) || (!(access & 0x80) && (!strict || how & 1)))
                        continue; /* #NP instead of #SS: TCG, Bochs for IRET; TCG: null SS for
                                     compatibility code */
                    gdt[TEST / 8] = segment(access, F_DATA);
                    title('S', compat << 8 | how << 4 | to, access, rpl);
                    go_back(how, compat, 0, (uint64_t)land,
                            (to & 4 ? FLAT(level) : CODE(level)) | level, stack_of(3) + 5,
                            (access == 256 ? 0 : TEST) | rpl, 0);
                }
}

static void return_places(unsigned compat)
{
    static const uint64_t places[] = {NONCANONICAL,       0x00007fffffffffff, 0x000080007f000000,
                                      0xffff7fff7f000000, 0xffff80007f000000, UNMAPPED};
    for (unsigned how = 0; how < (compat ? 2 : 4); how++)
        for (unsigned cpl = 0; cpl < 4; cpl += 3)
            for (unsigned i = 0; i < sizeof places / sizeof *places; i++)
                for (unsigned flags = 0; flags < 2; flags++) { /* NT */
                    if (strict ? bochs_iret(how, compat) : how & 2 || i == 1)
                        continue;
                    title('N', compat << 8 | how << 4 | cpl, i, flags);
                    go_back(how, compat, cpl, places[i], CODE(3) | 3, stack_of(3), DATA(3) | 3,
                            flags << 14);
                }
}

static void iret_flags(unsigned compat)
{
    static const uint32_t images[] = {
        0x0, 0x200, 0x3200, 0x4000, 0x40000, 0x80000, 0x100000, 0x200000, 0xffffffff & ~0x30100u};
    for (unsigned wide = 0; wide < (compat ? 1 : 2); wide++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned iopl = 0; iopl < 4; iopl++)
                for (unsigned i = 0; i < sizeof images / sizeof *images; i++) {
                    if (bochs_iret(wide ? 3 : 1, compat))
                        continue;
                    unsigned cs = (compat ? FLAT(cpl) : CODE(cpl)) | cpl;
                    uint64_t v[5] = {(uint64_t)s_flags, cs, images[i], stack_of(cpl),
                                     DATA(cpl) | cpl};
                    put_frame(cpl, wide ? 8 : 4, v, 5);
                    title('F', compat << 8 | wide << 4 | cpl, iopl, i);
                    run(wide ? s_iretq : s_iret, compat, cpl, 0, 0, iopl << 12);
                    hex(outcome.rax & 0x267fd5);
                    say(0x267fd5);
                }
}

static void privileges(unsigned compat)
{
    unsigned count = (unsigned)(privileged_end - privileged);
    for (unsigned i = 0; i < count; i++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned iopl = 0; iopl < 4; iopl += 3) {
                const uint8_t first = *(const uint8_t *)privileged[i];
                if ((!cpl && first == 0xf4) || (!strict && first == 0xf1))
                    continue; /* HLT works there; INT1 is a fault for TCG */
                title('P', compat << 8 | i, cpl, iopl);
                run(privileged[i], compat, cpl, 0, (uint64_t)&far_pointer, iopl << 12);
                say(SYSTEM_FLAGS);
            }
}

/* --- faults on the way to a handler: SDM Vol.3A table 6-5 --- */

static const struct event {
    const char *code;
    uint8_t vector;
    bool soft;
    uint64_t rax, rbx;
} events[] = {
    {s_int40, 0x40, true, 0, 0},    {s_int3, 3, true, 0, 0},
    {s_ud2, 6, false, 0, 0},        {s_div, 0, false, 0, 0},
    {s_mov_ds, 11, false, TEST, 0}, {s_mov_ss, 12, false, TEST, 0},
    {s_mov_ds, 13, false, TSS, 0},  {s_read, 14, false, 0, 0x7f000000},
};
#define KINDS (sizeof events / sizeof *events)

enum {
    WELL,
    ABSENT_GATE,
    NO_GATE,
    ABSENT,
    NULL_CODE,
    NO_CODE,
    COMPAT,
    BEYOND,
    OUTER,
    IST_HOLE,
    IST_WILD,
    RSP_HOLE,
    RSP_WILD,
    WILD,
    BREAKAGES
};

static void break_gate(unsigned how, unsigned vector)
{
    static const uint16_t sel[BREAKAGES] = {
        [NULL_CODE] = 0,   [NO_CODE] = DATA(0),   [COMPAT] = FLAT(0),
        [BEYOND] = 0xfff8, [OUTER] = CODE(3) | 3, [ABSENT] = GATE};
    unsigned code = how >= ABSENT && how <= OUTER ? sel[how] : CODE(0);
    unsigned access = how == ABSENT_GATE ? 0x6e : how == NO_GATE ? 0xec : 0xee;
    unsigned ist = how == IST_HOLE || how == IST_WILD ? IST_FAULTS : 0;
    idt[vector] = gate(code, how == WILD ? NONCANONICAL : vector_entry(vector), access, ist);
    gdt[GATE / 8] = segment(0x1b, F_LONG);
    tss.ist[IST_FAULTS] = how == IST_HOLE ? UNMAPPED : NONCANONICAL;
    if (how == RSP_HOLE || how == RSP_WILD)
        tss.rsp[0] = how == RSP_HOLE ? UNMAPPED : NONCANONICAL;
}

static void deliveries(unsigned compat)
{
    /* second: the gate of what comes of it is absent, too */
    static const uint8_t second[] = {0, 10, 11, 12, 13, 14};
    for (unsigned i = 0; i < KINDS; i++)
        for (unsigned how = 0; how < BREAKAGES; how++)
            for (unsigned k = 0; k < sizeof second; k++)
                for (unsigned cpl = 0; cpl < 4; cpl += 3) {
                    const struct event *e = &events[i];
                    bool wild = how == WILD || how == IST_WILD || how == RSP_WILD;
                    if (k && second[k] == e->vector)
                        continue;
                    if ((!strict && wild) || (cpl && how == OUTER))
                        continue; /* the entry needs level 0 */
                    gdt[TEST / 8] = segment(0x13 | cpl << 5, F_DATA);
                    if (k)
                        idt[second[k]] = gate(CODE(0), 0, 0x6e, 0);
                    break_gate(how, e->vector);
                    __asm__ volatile("mov %0, %%cr2" : : "r"(0ul));
                    title('D', compat << 8 | i << 4 | cpl, how, second[k]);
                    run(e->code, compat, cpl, e->rax ? e->rax | cpl : 0, e->rbx, 0);
                    uint64_t cr2;
                    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
                    hex(cr2);
                    if (strict && how == IST_WILD && outcome.vector == 12)
                        outcome.error &= 1; /* Bochs: the old SS */
                    if (!strict && !e->soft && outcome.vector >= 10 && outcome.vector <= 13)
                        outcome.error &= ~1ull;
                    say(SYSTEM_FLAGS);
                    set_idt();
                    set_stacks();
                }
    load_idt(0x40); /* INT 40 is outside, the breakpoint behind it inside */
    for (unsigned cpl = 0; cpl < 4; cpl++) {
        title('D', compat << 8 | cpl, BREAKAGES, 0);
        run(s_int40, compat, cpl, 0, 0, 0);
        say(SYSTEM_FLAGS);
    }
    load_idt(80);
}

/* --- SYSCALL and SYSRET --- */

static void wrmsr(uint32_t msr, uint64_t v)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

static void syscalls(void)
{
    static const uint64_t targets[] = {0, NONCANONICAL, 0x000080007f000000, 0xffff80007f000000};
    static const uint32_t flags[] = {0x2, 0x3202, 0x4002, 0x10002, 0x20002, 0x40002, 0x200ed7};
    wrmsr(0xc0000081, 0x0103001000000000 | (uint32_t)(uintptr_t)land);
    wrmsr(0xc0000082, (uint64_t)land);
    wrmsr(0xc0000084, 0x4700);
    for (unsigned cpl = 0; cpl < 4; cpl++)
        for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
            title('C', cpl, i, 0);
            run(s_syscall, 0, cpl, 0, 0, flags[i] & ~0x30000u);
            place(outcome.rcx);
            hex(outcome.r11 & 0x267fd5);
            say(strict ? 0x267fd5 : 0x267700); /* TCG forgets the arithmetic flags */
        }
    for (unsigned wide = 0; wide < 2; wide++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++)
                for (unsigned k = 0; k < sizeof targets / sizeof *targets; k++) {
                    struct start s = begin_at(wide ? s_sysretq : s_sysret, 0, cpl);
                    if (!strict && (k || flags[i] & 0x20000))
                        continue; /* TCG faults at the target, as AMD's processors do; loads VM */
                    s.rcx = k ? targets[k] : (uint64_t)land;
                    s.r11 = flags[i];
                    title('Y', wide << 4 | cpl, i, k);
                    attempt(&s);
                    say(0x267fd5);
                }
}

/* --- memory --- */

static void reload(void)
{
    __asm__ volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" : : : "rax", "memory");
}

static void set_control(uint64_t cr0, uint64_t cr4)
{
    uint64_t v;
    __asm__ volatile("mov %%cr0, %0" : "=r"(v));
    __asm__ volatile("mov %0, %%cr0" : : "r"((v & ~0x10000ull) | cr0));
    __asm__ volatile("mov %%cr4, %0" : "=r"(v));
    __asm__ volatile("mov %0, %%cr4" : : "r"((v & ~0x300000ull) | cr4) : "memory");
}

/* Bits of PDE and PTE: P, W, U, NX. */
static uint64_t entry(const void *to, unsigned bits)
{
    return (uint64_t)to | (bits & 7) | (uint64_t)(bits >> 3 & 1) << 63;
}

/* Rights of each kind of page; kind: WP clear, WP, SMEP, SMAP, SMAP with AC (level 0 alone, whose
 * own pages are supervisor pages then). */
static void rights(unsigned kind)
{
    static const char *const code[3] = {s_read, s_write, s_jump};
    const uint64_t at = 0x40000044;
    bool supervisor = kind >= 2;
    for (unsigned i = 0; i < 512; i++)
        page_dir[i] = (page_dir[i] & ~4ull) | (supervisor ? 0 : 4);
    reload();
    set_control(kind ? 0x10000 : 0, kind == 2 ? 0x100000 : kind > 2 ? 0x200000 : 0);
    for (unsigned how = 0; how < 3; how++)
        for (unsigned cpl = 0; cpl < (supervisor ? 1 : 4); cpl++)
            for (unsigned bits = 0; bits < 256; bits++) {
                page_pdpt[1] = (uint64_t)test_dir | 7;
                test_dir[0] = entry(test_table, bits & 15);
                test_table[0] = entry(test_page, bits >> 4);
                reload();
                title('M', kind << 8 | how << 4 | cpl, bits, 0);
                run(code[how], 0, cpl, 0x30cd, at, kind == 4 ? 0x40000 : 0);
                uint64_t cr2;
                __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
                hex(cr2);
                /* used in a walk that failed: the accessed flag may be set or not */
                hex(test_dir[0] & (outcome.vector == 14 ? 0xfdf : 0xfff));
                hex(test_table[0] & 0xfff);
                say(SYSTEM_FLAGS);
            }
}

static void paging(void)
{
    *(uint32_t *)(test_page + 0x44) = 0x30cd; /* INT 30 */
    for (unsigned kind = 0; kind < 5; kind++)
        rights(kind);
    for (unsigned i = 0; i < 512; i++)
        page_dir[i] |= 4;
    reload();
    set_control(0x10000, 0);
    for (unsigned cpl = 0; strict && cpl < 4; cpl += 3)
        for (unsigned i = 0; i < 4; i++) { /* reserved bits; TCG forgets P in the error code */
            test_dir[0] = i < 2 ? entry(test_table, 7) : (i == 2 ? 0x2000ull : 1ull << 51) | 0x87;
            test_table[0] = entry(test_page, 7) | (i ? 1ull << 51 : 0);
            reload();
            title('M', 0x500 | cpl, i, 0);
            run(s_read, 0, cpl, 0, 0x40000044, 0);
            say(SYSTEM_FLAGS);
        }
}

static void canonical(void)
{
    static const char *const code[] = {s_read, s_write, s_stack, s_push,
                                       s_pop,  s_jump,  s_call,  s_ret};
    static const uint64_t places[] = {NONCANONICAL,       0x00007ffffffffffd, 0x0000800000000000,
                                      0xffff7fffffffffff, 0xffff800000000004, 0x8000000000000000};
    for (unsigned i = 0; i < sizeof code / sizeof *code; i++)
        for (unsigned k = 0; k < sizeof places / sizeof *places; k++)
            for (unsigned cpl = 0; cpl < 4; cpl += 3) {
                if (!strict && (i > 1 || k == 1))
                    continue; /* TCG: #GP for stacks, too, and branches end at their target */
                title('W', i, k, cpl);
                run(code[i], 0, cpl, 0, places[k], 0);
                say(SYSTEM_FLAGS);
            }
}

int main(const struct multiboot *info)
{
    begin(info);
    strict = asked(info, "strict");
    set_up();
    *(volatile uint16_t *)LOW = 0x30cd;
    for (unsigned compat = 0; compat < 2; compat++) {
        loads(compat);
        transfers(compat);
        callgates(compat);
        bad_callgates(compat);
        questions(compat);
        gates(compat);
        alignment(compat);
        returns(compat);
        return_stacks(compat);
        return_places(compat);
        iret_flags(compat);
        privileges(compat);
        deliveries(compat);
    }
    syscalls();
    paging();
    canonical();
    verdict("longmatrix");
    return 0;
}
