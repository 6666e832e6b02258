/*
 * Every x87 row against this machine's own x87: random register stacks, tags, control and status
 * words, special values and memory operands; the instruction runs natively between FRSTOR and
 * FNSAVE, and through its handler. Left out: last-instruction pointers (CPUs differ in when they
 * record them).
 */
#include <sys/mman.h>

#include "x86_mmu_world.h"

#include "x86/flags.h"
#include "x86/insn.h"
#include "x86/x87.h"

#ifndef X87_ROUNDS
#define X87_ROUNDS 5000
#endif

struct row {
    const char *id;
    uint8_t opcode;
    uint32_t constraint;
    x86_handler *const *handlers;
};
#define RM(id, map, op, pp, c, name, o1, o2, o3, o4, attr, feat, shape, tab) \
    extern x86_handler *const tab[1];
#define RN(id, map, op, pp, c, name, o1, o2, o3, o4, attr, feat, shape, tab) \
    extern x86_handler *const tab[1];
#include "x86/rows_x87.def"
#undef RM
#undef RN
#define REG(n)  X86_C_REG(n)
#define RMF(n)  X86_C_RMF(n)
#define MOD_REG X86_C_MOD_REG
#define MOD_MEM X86_C_MOD_MEM
static const struct row rows[] = {
#define RM(id, map, op, pp, c, name, o1, o2, o3, o4, attr, feat, shape, tab) {#id, op, c, tab},
#define RN(...)
#include "x86/rows_x87.def"
};
#define NROWS (sizeof(rows) / sizeof(rows[0]))

/* FNSAVE image, 32-bit protected-mode format */
struct image {
    uint32_t cw, sw, tag, ip, cs, dp, ds;
    uint8_t st[8][10];
};
struct native {
    struct image before, after;
    uint8_t mem[128];
    uint64_t flags, rax;
};

static uint64_t seed = 0x853c49e6748fea9b;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1d;
}

static void random_f80(uint8_t *p)
{
    static const uint64_t mants[] = {0,
                                     UINT64_C(1) << 63,
                                     UINT64_C(3) << 62,
                                     UINT64_C(0x8000000000000001),
                                     UINT64_MAX,
                                     1,
                                     UINT64_C(0xc000000000000001),
                                     UINT64_C(0xc90fdaa22168c235),
                                     INT64_MAX,
                                     UINT64_C(0xb504f333f9de6484)};
    static const uint16_t exps[] = {0,      0,      1,      0x7fff, 0x7ffe, 0x3fff, 0x3ffe,
                                    0x3ffd, 0x4000, 0x4001, 0x3f80, 0x407e, 0x3c00, 0x43fe,
                                    0x403e, 0x401e, 0x400e, 0x3fc0, 0x3fdd};
    uint64_t r = rnd();
    uint64_t mant = r & 1 ? rnd() | (r & 6 ? UINT64_C(1) << 63 : 0) : mants[(r >> 8) % 10];
    uint16_t exp = exps[(r >> 16) % 19];
    if ((r >> 24 & 3) == 0)
        exp = (uint16_t)(0x3fff + (int)(r >> 32 & 127) - 64);
    if ((r >> 24 & 31) == 1)
        exp = (uint16_t)(r >> 32 & 0x7fff);
    if (exp && (r >> 28 & 15))
        mant |= UINT64_C(1) << 63;
    if ((r >> 40 & 7) == 0) { /* a small integer */
        uint64_t v = rnd() % 1000;
        exp = 0;
        mant = 0;
        if (v) {
            mant = v << __builtin_clzll(v);
            exp = (uint16_t)(16383 + 63 - __builtin_clzll(v));
        }
    }
    memcpy(p, &mant, 8);
    exp |= (uint16_t)(r >> 63 << 15);
    memcpy(p + 8, &exp, 2);
}

static void random_case(struct native *n, const struct row *row)
{
    static const uint8_t precision[] = {0, 2, 3, 3, 3};
    uint64_t r = rnd();
    uint32_t masks = r & 3 ? 0x3f : (uint32_t)(r >> 8) & 0x3f;
    memset(n, 0, sizeof(*n));
    n->before.cw = 0xffff0040u | masks | (uint32_t)precision[(r >> 16) % 5] << 8 |
                   (uint32_t)(r >> 24 & 3) << 10;
    n->before.sw = 0xffff0000u | (masks & (uint32_t)(r >> 32)) | ((uint32_t)(r >> 40) & 0x7f00);
    n->before.tag = 0xffff0000u | (r >> 48 & 7 ? 0x0000u : (uint32_t)rnd() & 0xffff);
    if ((r >> 51 & 3) == 0) { /* room to push */
        unsigned top = n->before.sw >> 11 & 7;
        n->before.tag |= 3u << (2 * ((top - 1) & 7));
    }
    for (unsigned i = 0; i < 8; i++)
        random_f80(n->before.st[i]);
    for (unsigned i = 0; i < sizeof(n->mem); i += 8) {
        uint64_t v = rnd();
        memcpy(n->mem + i, &v, 8);
    }
    uint8_t reg = row->constraint & 7;
    if (row->opcode == 0xdb && reg == 5) {
        random_f80(n->mem);
    } else if ((row->opcode & 3) != 3 ||
               row->opcode == 0xdf) { /* floats with special exponents; BCD digits */
        uint64_t v = rnd();
        if (v & 1)
            memset(n->mem + (v >> 1 & 3), v & 8 ? 0 : 0xff, v >> 4 & 7);
        if (v >> 8 & 1)
            n->mem[3] = n->mem[7] = 0x7f;
        if (row->opcode == 0xdf && reg == 4)
            for (unsigned i = 0; i < 10; i++)
                n->mem[i] = i == 9 ? n->mem[i] & 0x80 : (n->mem[i] & 0x77);
    }
    n->flags = rnd() & X86_FL_ARITH;
    n->rax = rnd();
    /* Images: a consistent environment, nothing pending after loading. */
    if (!strcmp(row->id, "FLDENV") || !strcmp(row->id, "FRSTOR")) {
        struct image m = n->before;
        m.sw ^= 0x3800;
        m.tag = 0xffff0000u | ((uint32_t)rnd() & 0xffff);
        memcpy(n->mem, &m, sizeof(m));
    } else if (!strcmp(row->id, "FLDCW")) {
        n->mem[0] |= 0x3f;
    }
}

/* rdi: struct native. The operand is at (%rsi), flags and rax travel through the stack and rax. */
typedef void run_native(struct native *n, uint8_t *mem);

static unsigned assemble(uint8_t *code, uint8_t op, uint8_t modrm)
{
    static const uint8_t head[] = {
        0x53, 0x48, 0x89, 0xfb,             /* push rbx; mov rbx, rdi */
        0xdd, 0xa3, 0,    0,    0, 0,       /* frstor before(rbx) */
        0xff, 0xb3, 0,    0,    0, 0, 0x9d, /* push flags(rbx); popfq */
        0x48, 0x8b, 0x83, 0,    0, 0, 0,    /* mov rax, rax(rbx) */
    };
    static const uint8_t tail[] = {
        0xdd, 0xb3, 0,    0, 0, 0,    /* fnsave after(rbx) */
        0x48, 0x89, 0x83, 0, 0, 0, 0, /* mov rax(rbx), rax */
        0x9c, 0x8f, 0x83, 0, 0, 0, 0, /* pushfq; pop flags(rbx) */
        0x5b, 0xc3,                   /* pop rbx; ret */
    };
    const uint32_t after = offsetof(struct native, after), flags = offsetof(struct native, flags),
                   rax = offsetof(struct native, rax);
    uint8_t *p = code;
    memcpy(p, head, sizeof(head));
    memcpy(p + 12, &flags, 4);
    memcpy(p + 20, &rax, 4);
    p += sizeof(head);
    *p++ = op;
    *p++ = modrm;
    memcpy(p, tail, sizeof(tail));
    memcpy(p + 2, &after, 4);
    memcpy(p + 9, &rax, 4);
    memcpy(p + 16, &flags, 4);
    return (unsigned)(p - code + sizeof(tail));
}

static struct world *flat_world(void)
{
    struct world *w = w_new();
    w->cpu.mode = X86_MODE_64 | X86_MODE_FLAT | X86_MODE_LM;
    w->cpu.cr0 = X86_CR0_PE | X86_CR0_NE | X86_CR0_MP;
    w->cpu.lin_mask = UINT64_MAX;
    return w;
}

static struct x86_uop *stop(struct x86_cpu *cpu, struct x86_uop *u)
{
    (void)cpu, (void)u;
    return NULL;
}

#define OPERAND 0x20100u

static bool run_handler(struct world *w, x86_handler *fn, uint8_t op, uint8_t modrm)
{
    struct x86_uop u[2] = {{.fn = fn,
                            .imm = (uint64_t)(op & 7) << 8 | modrm,
                            .disp = OPERAND,
                            .ip = 2 << 12,
                            .rem = 1,
                            .base = X86_NOREG,
                            .index = X86_NOREG,
                            .seg = X86_DS,
                            .rm = modrm & 7,
                            .aux = 2 | X86_AUX_A64 | (modrm < 0xc0 ? X86_AUX_MEM : 0)},
                           {.fn = stop}};
    w->cpu.leave = X86_LEAVE_HALT;
    x86_run_uops(&w->cpu, u);
    return w->cpu.leave == X86_LEAVE_HALT;
}

static void run_ours(struct world *w, const struct native *n, struct native *out, x86_handler *fn,
                     uint8_t op, uint8_t modrm)
{
    uint8_t *mem = w_byte(w, OPERAND);
    memcpy(mem, &n->before, sizeof(n->before));
    assert_true(run_handler(w, x86_t_frstor[0], 0xdd, 0x24));
    memcpy(mem, n->mem, sizeof(n->mem));
    x86_set_flags(&w->cpu, (uint32_t)n->flags);
    w->cpu.r[X86_RAX] = n->rax;
    assert_true(run_handler(w, fn, op, modrm));
    memcpy(out->mem, mem, sizeof(out->mem));
    out->flags = x86_get_flags(&w->cpu);
    out->rax = w->cpu.r[X86_RAX];
    assert_true(run_handler(w, x86_t_fnsave[0], 0xdd, 0x34));
    memcpy(&out->after, mem, sizeof(out->after));
}

/* FNSTENV and FNSAVE write pointers into memory, too. */
static void forget_pointers(struct image *m)
{
    m->ip = m->cs = m->dp = 0;
    m->ds = 0;
}

static bool is(const struct row *row, const char *prefix)
{
    return !strncmp(row->id, prefix, strlen(prefix));
}

/* Condition codes that the manual defines for a row; CPUs differ in what they do to the others. */
static unsigned defined_cc(const struct row *row)
{
    if (is(row, "FCOMI") || is(row, "FUCOMI") || is(row, "FFREE") || is(row, "FNCLEX") ||
        is(row, "FCMOV"))
        return 0;
    if (is(row, "FCOM") || is(row, "FUCOM") || is(row, "FICOM") || is(row, "FTST"))
        return X87_C0 | X87_C1 | X87_C2 | X87_C3;
    if (is(row, "FPREM") || is(row, "FXAM") || is(row, "FNINIT") || is(row, "FLDENV") ||
        is(row, "FRSTOR"))
        return X87_CC;
    if (is(row, "FSIN") || is(row, "FCOS") || is(row, "FPTAN"))
        return X87_C1 | X87_C2;
    return X87_C1;
}

/* Condition codes (EFLAGS for the I forms) are open, too, when an unmasked exception stopped the
 * instruction, there was a stack fault, or a remainder is no number. */
static void forget_undefined(const struct row *row, const struct native *n, struct native *a)
{
    unsigned cc = defined_cc(row), sw = a->after.sw;
    bool stopped = sw & ~a->after.cw & 0x3f, stack_fault = sw & X87_SF & ~n->before.sw;
    if (is(row, "FPREM") && ((a->after.st[0][9] & 0x7f) == 0x7f))
        cc &= ~(unsigned)(X87_C0 | X87_C3);
    if (stopped || stack_fault)
        cc &= X87_C1;
    if (stopped && (is(row, "FCOMI") || is(row, "FUCOMI")))
        a->flags = 0;
    a->after.sw = sw & ~(X87_CC & ~cc);
}

static void forget_in_memory(const struct row *row, uint8_t *mem)
{
    if (!strcmp(row->id, "FNSTENV") || !strcmp(row->id, "FNSAVE"))
        memset(mem + 12, 0, 16);
}

static void print_image(const char *what, const struct native *n)
{
    print_message("%s cw %04x sw %04x tag %04x flags %04x rax %llx\n", what, n->after.cw & 0xffff,
                  n->after.sw & 0xffff, n->after.tag & 0xffff, (unsigned)n->flags & X86_FL_ARITH,
                  (unsigned long long)n->rax);
    for (unsigned i = 0; i < 8; i++) {
        uint64_t mant;
        uint16_t se;
        memcpy(&mant, n->after.st[i], 8);
        memcpy(&se, n->after.st[i] + 8, 2);
        print_message("   st%u %04x %016llx\n", i, se, (unsigned long long)mant);
    }
    for (unsigned i = 0; i < 16; i++)
        print_message(" %02x", n->mem[i]);
    print_message("\n");
}

static void check_row(struct world *w, uint8_t *code, const struct row *row)
{
    for (unsigned round = 0; round < X87_ROUNDS; round++) {
        struct native n, o = {0};
        random_case(&n, row);
        if (is(row, "FSTP1")) /* what it does to an empty register is CPU folklore */
            n.before.tag = 0xffff0000u;
        if (is(row, "FLD_M")) /* CPUs push a denormal that raises #D, the manual says they do not */
            n.before.cw |= X87_DE;
        uint8_t modrm = (uint8_t)((row->constraint & 7) << 3);
        if (row->constraint & X86_C_MOD_REG) {
            modrm |= 0xc0 | (row->constraint & 0x200 ? row->constraint >> 6 & 7 : rnd() & 7);
        } else {
            modrm |= 6;
        }
        struct native host = n;
        assemble(code, row->opcode, modrm);
        ((run_native *)(uintptr_t)code)(&host, host.mem);
        run_ours(w, &n, &o, row->handlers[0], row->opcode, modrm);
        forget_pointers(&host.after);
        forget_pointers(&o.after);
        forget_undefined(row, &n, &host);
        forget_undefined(row, &n, &o);
        forget_in_memory(row, host.mem);
        forget_in_memory(row, o.mem);
        host.flags &= X86_FL_ARITH;
        o.flags &= X86_FL_ARITH;
        bool same = !memcmp(&host.after, &o.after, sizeof(o.after)) && host.flags == o.flags &&
                    host.rax == o.rax && !memcmp(host.mem, o.mem, sizeof(o.mem));
        if (!same) {
            struct native before = n;
            before.after = n.before;
            print_message("%s: %02x %02x round %u\n", row->id, row->opcode, modrm, round);
            print_image("before", &before);
            print_image("host", &host);
            print_image("ours", &o);
            fail();
        }
    }
}

static void rows_as_the_host(void **state)
{
    (void)state;
#if defined(__x86_64__)
    uint8_t *code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) {
        print_message("no executable memory: skipped\n");
        skip();
    }
    struct world *w = flat_world();
    const char *only = getenv("X87_ROW");
    for (unsigned i = 0; i < NROWS; i++) {
        if (!only || !strcmp(only, rows[i].id))
            check_row(w, code, &rows[i]);
    }
    w_free(w);
    munmap(code, 4096);
#else
    print_message("not an x86-64 host: skipped\n");
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_as_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
