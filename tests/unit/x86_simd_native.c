/*
 * Every vector row against the host: the instruction is encoded from the row's columns, executed by
 * the library and, in a frame that loads and saves all registers, by the CPU. Registers, flags,
 * MXCSR and memory must agree.
 */
#include "x86_simd_world.h"

#if defined(__x86_64__) && defined(__linux__)
#include <stdio.h>
#include <sys/mman.h>

struct state { /* offsets are known to the frame below */
    union x86_vec v[16];
    uint64_t mm[8];
    uint64_t r[8]; /* rax rcx rdx rbx - - rsi rdi */
    uint64_t flags;
    uint32_t mxcsr, host_mxcsr;
};
_Static_assert(offsetof(struct state, mm) == 512 && offsetof(struct state, r) == 576 &&
                   offsetof(struct state, flags) == 640,
               "the frame");

#define EACH16(f) \
    f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define EACH8(f)  f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7)
#define LOAD_Y(n) "vmovdqu 32*" #n "(%r15), %ymm" #n "\n"
#define SAVE_Y(n) "vmovdqu %ymm" #n ", 32*" #n "(%r15)\n"
#define LOAD_M(n) "movq 512+8*" #n "(%r15), %mm" #n "\n"
#define SAVE_M(n) "movq %mm" #n ", 512+8*" #n "(%r15)\n"

extern const uint8_t frame_start[], frame_slot[], frame_end[];
/* clang-format off */
__asm__(".pushsection .rodata\n"
        "frame_start:\n"
        "push %rbx\npush %rbp\npush %r15\n"
        "mov %rdi, %r15\n"
        EACH16(LOAD_Y) EACH8(LOAD_M)
        "stmxcsr 652(%r15)\nldmxcsr 648(%r15)\n"
        "mov 576(%r15), %rax\nmov 584(%r15), %rcx\nmov 592(%r15), %rdx\nmov 600(%r15), %rbx\n"
        "mov 624(%r15), %rsi\nmov 632(%r15), %rdi\n"
        "test %rsp, %rsp\n"
        "frame_slot:\n"
        ".skip 16, 0x90\n"
        "pushf\npopq 640(%r15)\n"
        "mov %rax, 576(%r15)\nmov %rcx, 584(%r15)\nmov %rdx, 592(%r15)\nmov %rbx, 600(%r15)\n"
        "mov %rsi, 624(%r15)\nmov %rdi, 632(%r15)\n"
        "stmxcsr 648(%r15)\nldmxcsr 652(%r15)\n"
        EACH16(SAVE_Y) EACH8(SAVE_M)
        "emms\nvzeroupper\n"
        "pop %r15\npop %rbp\npop %rbx\nret\n"
        "frame_end:\n"
        ".popsection\n");
/* clang-format on */

static uint64_t seed = 0x1234567;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * UINT64_C(0x2545f4914f6cdd1d);
}

/* Values that matter: special floats of both sizes, small integers, noise. */
static uint64_t value(void)
{
    static const uint64_t special[] = {0,
                                       UINT64_MAX,
                                       UINT64_C(0x8000000080000000),
                                       UINT64_C(0x7f8000007f800000),
                                       UINT64_C(0xff8000007fc00000),
                                       UINT64_C(0x7ff0000000000000),
                                       UINT64_C(0x7ff8000000000001),
                                       UINT64_C(0x7ff0000000000001),
                                       UINT64_C(0x3ff0000000000000),
                                       UINT64_C(0x3f8000003f800000),
                                       UINT64_C(0x0000000100000001),
                                       UINT64_C(0x0010000000000000),
                                       UINT64_C(0x7fefffffffffffff),
                                       UINT64_C(0x7f7fffff00800000),
                                       UINT64_C(0x41e0000000000000),
                                       UINT64_C(0xc3e0000000000000),
                                       UINT64_C(0x4effffff4f000000),
                                       UINT64_C(0x7fa00000ffa00001),
                                       UINT64_C(0x8000000000000001)};
    uint64_t v = rnd();
    switch (rnd() % 5) {
    case 0:
        return special[v % (sizeof(special) / sizeof(special[0]))];
    case 1:
        return v & UINT64_C(0x000f000f000f000f);
    case 2: /* doubles of middling size */
        return (v & UINT64_C(0x803fffffffffffff)) | UINT64_C(0x3fc0000000000000);
    case 3: /* singles of middling size */
        return (v & UINT64_C(0x81ffffff81ffffff)) | UINT64_C(0x3e0000003e000000);
    default:
        return v;
    }
}

static bool has(const struct x86_row *r, unsigned first, unsigned last)
{
    for (unsigned i = 0; i < 4; i++) {
        if (r->op[i] >= first && r->op[i] <= last)
            return true;
    }
    return false;
}

struct choice {
    bool mem, vsib, quad_index;
    unsigned reg, rm, vvvv, index;
};

static unsigned encode(const struct x86_row *r, const struct choice *c, uint8_t imm, uint8_t *p)
{
    static const uint8_t prefix[] = {0, 0x66, 0xf3, 0xf2};
    uint8_t *start = p;
    bool w = r->constraint & X86_C_W1, l = r->constraint & X86_C_L1;
    unsigned rm = c->vsib ? 4 : c->mem ? 6 : c->rm, b = c->mem ? 0 : c->rm >> 3, x = c->index >> 3;
    if (r->map >= X86_V0F) {
        *p++ = 0xc4;
        *p++ = (uint8_t)((c->reg >> 3 ? 0 : 0x80) | (x ? 0 : 0x40) | (b ? 0 : 0x20) |
                         (r->map - X86_V0F + 1));
        *p++ = (uint8_t)(w << 7 | (~c->vvvv & 15) << 3 | l << 2 | r->pp);
    } else {
        if (r->pp != X86_PP_NP)
            *p++ = prefix[r->pp];
        uint8_t rex = (uint8_t)(0x40 | w << 3 | (c->reg >> 3) << 2 | b);
        if (rex != 0x40)
            *p++ = rex;
        *p++ = 0x0f;
        if (r->map != X86_M0F)
            *p++ = r->map == X86_M38 ? 0x38 : 0x3a;
    }
    *p++ = r->opcode;
    if (r->attr & X86_A_MODRM)
        *p++ = (uint8_t)((c->mem ? 0 : 0xc0) | (c->reg & 7) << 3 | (rm & 7));
    if (c->vsib)
        *p++ = (uint8_t)((c->index & 7) << 3 | 6);
    if (has(r, X86_O_Ib, X86_O_Ib) || has(r, X86_O_Lx, X86_O_Lx))
        *p++ = imm;
    return (unsigned)(p - start);
}

static bool is_gather(const struct x86_row *r)
{
    return r->map == X86_V38 && (r->opcode & 0xfc) == 0x90;
}

static void choose(const struct x86_row *r, struct choice *c)
{
    uint32_t k = r->constraint;
    bool mmx_reg = has(r, X86_O_Pq, X86_O_Pq), mmx_rm = has(r, X86_O_Nq, X86_O_Qd);
    bool gpr_reg = has(r, X86_O_Gb, X86_O_Gy), gpr_rm = has(r, X86_O_Eb, X86_O_Ey);
    *c = (struct choice){.mem = k & X86_C_MOD_MEM || (!(k & X86_C_MOD_REG) && rnd() & 1)};
    if (!(r->attr & X86_A_MODRM))
        c->mem = false;
    c->reg = (unsigned)rnd() % (gpr_reg ? 4 : mmx_reg ? 8 : 16);
    c->rm = (unsigned)rnd() % (gpr_rm ? 4 : mmx_rm ? 8 : 16);
    if (k & 8)
        c->reg = k & 7;
    if (has(r, X86_O_Hx, X86_O_Hsd))
        c->vvvv = (unsigned)rnd() % 16;
    if (is_gather(r)) {
        c->vsib = true;
        c->quad_index = r->opcode & 1;
        c->reg = (unsigned)rnd() % 14;
        c->vvvv = c->reg + 1;
        c->index = c->reg + 2;
    }
}

static void fill(struct state *s, uint8_t *data, const struct choice *c)
{
    for (unsigned i = 0; i < 16; i++) {
        for (unsigned j = 0; j < 4; j++)
            s->v[i].q[j] = value();
    }
    if (c->vsib) { /* indices stay within the data */
        for (unsigned j = 0; j < 8; j++)
            s->v[c->index].d[j] = j & 1 && c->quad_index ? 0 : (uint32_t)rnd() & 31;
    }
    for (unsigned i = 0; i < 8; i++)
        s->mm[i] = value();
    for (unsigned i = 0; i < 4; i++)
        s->r[i] = rnd() & 1 ? value() : rnd() & 31;
    for (unsigned i = 0; i < 256; i += 8) {
        uint64_t v = value();
        memcpy(data + i, &v, 8);
    }
    s->mxcsr = X86_MXCSR_INITIAL | (uint32_t)(rnd() & 3) << 13 | (rnd() & 7 ? 0 : 0x8040) |
               (uint32_t)(rnd() & 1 ? rnd() & 0x3f : 0);
}

static void to_guest(struct simd_world *w, const struct state *s)
{
    struct x86_cpu *cpu = &w->cpu;
    memcpy(cpu->v, s->v, sizeof(s->v));
    for (unsigned i = 0; i < 8; i++)
        cpu->fpu.st[i].mant = s->mm[i];
    for (unsigned i = 0; i < 4; i++)
        cpu->r[i] = s->r[i];
    cpu->r[X86_RSI] = cpu->r[X86_RDI] = S_DATA + 64;
    cpu->mxcsr = s->mxcsr;
}

static unsigned compare(const struct simd_world *w, const struct state *s, const uint8_t *data,
                        const struct x86_row *r)
{
    const struct x86_cpu *cpu = &w->cpu;
    unsigned bad = 0;
    bad |= memcmp(cpu->v, s->v, sizeof(s->v)) ? 1 : 0;
    for (unsigned i = 0; i < 8; i++)
        bad |= cpu->fpu.st[i].mant != s->mm[i] ? 2 : 0;
    for (unsigned i = 0; i < 4; i++)
        bad |= cpu->r[i] != s->r[i] ? 4 : 0;
    bad |= memcmp(w->mem + S_DATA, data, 256) ? 8 : 0;
    bad |= cpu->mxcsr != (s->mxcsr & 0xffff) ? 16 : 0;
    if (r->attr & X86_A_CC)
        bad |= ((cpu->cc >> 8 & 0xd5u) | (cpu->cc & 1u) << 11) != (s->flags & 0x8d5) ? 32 : 0;
    return bad;
}

#define TRIALS 200

/* Returns false at the first difference. */
static bool test_row(struct simd_world *w, uint8_t *frame, uint8_t *arena, const struct x86_row *r,
                     unsigned id)
{
    uint8_t *slot = frame + (frame_slot - frame_start), *data = arena + 0x800;
    static struct state s;
    for (unsigned t = 0; t < TRIALS; t++) {
        struct choice c;
        uint8_t code[16], imm = (uint8_t)rnd();
        choose(r, &c);
        fill(&s, data, &c);
        memset(code, 0x90, sizeof(code));
        unsigned n = encode(r, &c, imm, code);
        to_guest(w, &s);
        memcpy(w->mem + S_DATA, data, 256);
        s.r[6] = s.r[7] = (uint64_t)(uintptr_t)data + 64;
        memcpy(slot, code, sizeof(code));
        union {
            uint8_t *code;
            void (*run)(struct state *);
        } f = {frame};
        struct state before = s;
        if (rnd() & 1)
            x86_tlb_flush(&w->cpu);
        s_run(w, code, n);
        f.run(&s);
        /* Intel and AMD agree on all of these, but reciprocals are approximate: same CPU, same
         * result. */
        unsigned bad = w->cpu.leave == X86_LEAVE_LOOKUP ? compare(w, &s, data, r) : 64;
        if (bad) {
            printf("row %u %s (reg %u rm %u vvvv %u mem %d imm %02x): differs in %#x, vector %u\n",
                   id, r->name, c.reg, c.rm, c.vvvv, c.mem, imm, bad, w->cpu.exc.vector);
            printf("  was %016lx%016lx  host %016lx%016lx  ours %016lx%016lx mxcsr %x %x %x\n",
                   (long)before.v[c.reg].q[1], (long)before.v[c.reg].q[0], (long)s.v[c.reg].q[1],
                   (long)s.v[c.reg].q[0], (long)w->cpu.v[c.reg].q[1], (long)w->cpu.v[c.reg].q[0],
                   before.mxcsr, s.mxcsr, w->cpu.mxcsr);
            return false;
        }
    }
    return true;
}

static void every_row(void **state)
{
    (void)state;
    struct simd_world *w = s_new();
    if (!x86_has(&w->cpu, X86_FEAT_AVX)) {
        s_free(w);
        print_message("the host has no AVX\n");
        skip();
    }
    size_t size = (size_t)(frame_end - frame_start);
    uint8_t *frame =
        mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (frame == MAP_FAILED) {
        s_free(w);
        print_message("no executable memory here\n");
        skip();
    }
    memcpy(frame, frame_start, size);
    unsigned tested = 0, missing = 0, different = 0;
    for (unsigned i = 1; i < X86_NROWS; i++) {
        const struct x86_row *r = &x86_rows[i];
        if (!(r->attr & X86_A_VEC) || !(r->attr & X86_A_USER))
            continue;
        if (!x86_has(&w->cpu, r->feature)) {
            missing++;
            continue;
        }
        if (r->op[0] == X86_O_Md && r->opcode == 0xae)
            continue; /* LDMXCSR, STMXCSR: x86_simd_state.c */
        tested++;
        different += !test_row(w, frame, frame + 4096, r, i);
    }
    print_message("%u rows, %u of features the host has not\n", tested, missing);
    munmap(frame, 8192);
    s_free(w);
    assert_int_equal(different, 0);
}
#else
static void every_row(void **state)
{
    (void)state;
    print_message("needs an x86-64 Linux host\n");
    skip();
}
#endif

/* The decoder relies on it (insn.h). */
static void rows_of_one_opcode_stand_together(void **state)
{
    (void)state;
    for (unsigned i = 1; i < X86_NROWS; i++) {
        const struct x86_row *r = &x86_rows[i];
        for (unsigned j = i + 1; j < X86_NROWS; j++) {
            const struct x86_row *q = &x86_rows[j], *before = &x86_rows[j - 1];
            if (q->map == r->map && q->opcode == r->opcode &&
                (before->map != r->map || before->opcode != r->opcode))
                fail_msg("rows %u (%s) and %u (%s) are apart", i, r->name, j, q->name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_one_opcode_stand_together),
        cmocka_unit_test(every_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
