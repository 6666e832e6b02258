/*
 * Instructions with several device accesses on the software backend: the same accesses in the same
 * order, each exactly once, and the same final state, whether handlers answer, the host completes
 * records, or both in turns. And handlers that change the world in the middle of an instruction.
 */
#include "soft_world.h"

#define MAX_LOG 2048
struct access {
    uint64_t gpa, value;
    uint8_t width, kind; /* 0 read, 1 write, 2 in, 3 out */
};
struct log {
    struct access a[MAX_LOG];
    unsigned n, reads;
    unsigned mixed; /* every n-th access is passed on to the host; 0: none */
};

struct result {
    struct vmlib_state s;
    uint8_t mem[0x1000];
    uint8_t edge[64], behind[64];
    uint64_t instructions;
};

static struct world w;
static const char *running = "";

static uint64_t answer(struct log *l, const struct vmlib_exit *e)
{
    struct access *a = &l->a[l->n < MAX_LOG - 1 ? l->n++ : l->n];
    memset(a, 0, sizeof(*a));
    uint64_t v = 0;
    if (e->reason == VMLIB_EXIT_MMIO) {
        *a = (struct access){e->u.mmio.gpa, e->u.mmio.value, e->u.mmio.width, e->u.mmio.write};
        if (!e->u.mmio.write)
            v = 0x0101010101010101u * (++l->reads & 0x7f) + e->u.mmio.gpa * 0x10001;
        v &= e->u.mmio.width < 8 ? (1ull << (8 * e->u.mmio.width)) - 1 : UINT64_MAX;
    } else {
        *a = (struct access){e->u.pio.port, e->u.pio.value, e->u.pio.width, 2u + e->u.pio.write};
        if (!e->u.pio.write)
            v = (0x01010101u * (++l->reads & 0x7f)) &
                (e->u.pio.width < 4 ? (1u << (8 * e->u.pio.width)) - 1 : UINT32_MAX);
    }
    if (a->kind == 0 || a->kind == 2)
        a->value = v;
    return v;
}

static int device(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *e)
{
    struct log *l = opaque;
    (void)vcpu;
    if (l->mixed && (l->n * 7 + 3) % l->mixed == 0)
        return VMLIB_PASS;
    uint64_t v = answer(l, e);
    if (e->reason == VMLIB_EXIT_MMIO && !e->u.mmio.write)
        e->u.mmio.value = v;
    if (e->reason == VMLIB_EXIT_PIO && !e->u.pio.write)
        e->u.pio.value = (uint32_t)v;
    return VMLIB_HANDLED;
}

static void prepare(const uint8_t *code, const uint8_t *end, enum world_mode mode)
{
    for (unsigned i = 0; i < 0x1000; i++)
        w.mem[DATA + i] = (uint8_t)(i * 7 + 1);
    for (unsigned i = 0; i < 64; i++)
        w.mem[DEVICE - 64 + i] = (uint8_t)(i ^ 0x5a);
    static const uint8_t zero[64];
    OK(vmlib_vm_write(w.vm, BEHIND, zero, 64));
    world_put(&w, CODE, code, end);
    world_start(&w, 0, mode, CODE);
    world_set(&w, VMLIB_REG_RSI, DEVICE + 0x100);
    world_set(&w, VMLIB_REG_RDI, DEVICE + 0x200);
    world_set(&w, VMLIB_REG_RBX, DEVICE + 0x300);
    world_set(&w, VMLIB_REG_RBP, DATA + 0x800);
    world_set(&w, VMLIB_REG_RCX, 5);
    world_set(&w, VMLIB_REG_RDX, 0x70);
    world_set(&w, VMLIB_REG_RAX, 0x1122334455667788);
}

/* Run to HLT, completing what is returned. */
static void finish(struct log *l, struct result *r)
{
    memset(r, 0, sizeof(*r));
    for (unsigned turns = 0;; turns++) {
        struct vmlib_exit e = world_run(&w, 0, 20000000000u, 0);
        r->instructions += e.instructions;
        if (e.reason == VMLIB_EXIT_HLT)
            break;
        if (e.reason != VMLIB_EXIT_MMIO && e.reason != VMLIB_EXIT_PIO)
            fail_msg("exit %s at 0x%llx in program %s", vmlib_exit_name(e.reason),
                     (unsigned long long)e.rip, running);
        assert_true(turns < MAX_LOG);
        uint64_t v = answer(l, &e);
        if (e.flags & VMLIB_EXIT_F_PENDING)
            OK(vmlib_vcpu_complete(w.vcpu[0], &v,
                                   e.reason == VMLIB_EXIT_MMIO ? e.u.mmio.width : e.u.pio.width));
    }
    r->s.size = sizeof(r->s);
    OK(vmlib_vcpu_get_state(w.vcpu[0], VMLIB_STATE_ALL & ~VMLIB_STATE_MSRS, &r->s));
    memcpy(r->mem, w.mem + DATA, sizeof(r->mem));
    memcpy(r->edge, w.mem + DEVICE - 64, 64);
    OK(vmlib_vm_read(w.vm, BEHIND, r->behind, 64));
}

#define LIST(X)                                                                                  \
    X(movs, "movsl\n movsb\n movsw")                                                             \
    X(rep_movs, "rep movsl")                                                                     \
    X(rep_movs_in, "mov $0x10010, %edi\n rep movsb\n mov $3, %ecx\n mov $0x10000, %esi\n"        \
                   "mov $0x100800, %edi\n rep movsw")                                            \
    X(rep_stos, "rep stosl\n mov $9, %ecx\n mov $0xffffc, %edi\n rep stosw")                     \
    X(cmps, "repe cmpsl\n cmpsb\n scasl\n lodsb\n lodsl")                                        \
    X(rmw, "addl %eax, (%ebx)\n lock addl %eax, 4(%ebx)\n incw 8(%ebx)\n lock incb 9(%ebx)\n"    \
           "notl 12(%ebx)\n lock xaddl %eax, 16(%ebx)\n sarl $3, 20(%ebx)\n btsl $5, 24(%ebx)")  \
    X(xchg, "xchgl %eax, (%ebx)\n cmpxchgl %ecx, 8(%ebx)\n lock cmpxchgl %eax, 8(%ebx)\n"        \
            "cmpxchg8b (%ebx)\n lock cmpxchg8b 16(%ebx)")                                        \
    X(crossing, "movl 0xffffe, %eax\n movl %eax, 0xffffd\n addl %ecx, 0xfffff\n"                 \
                "movl 0x101ffe, %edx\n movl %edx, 0x101ffd\n lock addl %edx, 0x101fff\n"         \
                "movl 0x100ffe, %ecx\n movl %ecx, 0x100ffd\n xchgl %ecx, 0xffffe")               \
    X(stack, "mov $0x100400, %esp\n push %eax\n push (%ebx)\n pop 8(%ebx)\n pop %ecx\n"          \
             "pushf\n  call 1f\n1: pusha\n popa\n mov $0x10400, %esp\n push (%ebx)\n"            \
             "pop (%ebx)")                                                                       \
    X(enter, "mov $0x100800, %esp\n mov $0x100900, %ebp\n enter $16, $4\n leave")                \
    X(fxsave, "fxsave (%ebx)\n fxsave 0xfff00\n fxrstor 0xfff00\n fldl (%ebx)\n fstpt 4(%ebx)\n" \
              "fnstenv 32(%ebx)\n fnsave 64(%ebx)")                                              \
    X(vector, "movups (%ebx), %xmm1\n movups %xmm1, 0xffff8\n movups 0x101ff8, %xmm2\n"          \
              "movaps %xmm2, 0x100500\n paddb (%ebx), %xmm2\n movhps (%ebx), %xmm2\n"            \
              "movq %xmm2, 0x100ffc\n maskmovdqu %xmm1, %xmm2")                                  \
    X(port, "in %dx, %al\n out %eax, %dx\n insl\n outsb\n rep outsw\n mov $3, %ecx\n rep insb\n" \
            "mov $3, %ecx\n mov $0x10000, %edi\n rep insl\n outsl")                              \
    X(bits, "btl %eax, (%ebx)\n btcl %ecx, (%ebx)\n shldl $3, %eax, (%ebx)\n nop")               \
    X(compare, "cmpl $1, (%ebx)\n jne 1f\n nop\n1: testb $1, 1(%ebx)\n je 2f\n inc %edx\n2:"     \
               "cmpl %eax, (%ebx)\n jb 3f\n inc %edx\n3: setc 3(%ebx)\n cmovcl (%ebx), %esi")
#define DEFINE(name, text) GUEST(32, p_##name, text "\n hlt");
LIST(DEFINE)
GUEST(64, p_wide,
      "lock cmpxchg16b (%rbx)\n xchg %rax, 0xffffc\n push (%rbx)\n pop 16(%rbx)\n"
      "movq 0x101ffa, %r8\n movq %r8, 0x100ffb\n rep movsq\n call *16(%rbp)\n hlt");
GUEST(64, p_avx,
      "vmovups (%rbx), %ymm0\n vmovups %ymm0, 0xffff0\n vmovups %ymm0, 0x101ff0\n"
      "vpaddb 0xffff1, %ymm0, %ymm1\n vpmaskmovd %ymm1, %ymm0, 0x100ff0\n"
      "vmovups 0x100ff0, %ymm3\n mov $7, %eax\n xor %edx, %edx\n xsave (%rbx)\n hlt");

struct program {
    const char *name;
    const uint8_t *code, *end;
    enum world_mode mode;
};
static const struct program programs[] = {
#define ROW(name, text) {#name, p_##name, p_##name##_end, FLAT32},
    LIST(ROW){"wide", p_wide, p_wide_end, LONG64},
};

static int group_setup(void **state)
{
    (void)state;
    world_create(&w, 1, VMLIB_TIME_DETERMINISTIC);
    return 0;
}
static int group_teardown(void **state)
{
    (void)state;
    world_destroy(&w);
    return 0;
}

static void compare(const struct program *p, const char *how, const struct log *a,
                    const struct result *ra, const struct log *b, const struct result *rb)
{
    for (unsigned i = 0; i < a->n && i < b->n; i++)
        if (memcmp(&a->a[i], &b->a[i], sizeof(a->a[i])))
            fail_msg("%s, %s: access %u: kind %u 0x%llx/%u = 0x%llx, expected kind %u 0x%llx/%u = "
                     "0x%llx",
                     p->name, how, i, b->a[i].kind, (unsigned long long)b->a[i].gpa, b->a[i].width,
                     (unsigned long long)b->a[i].value, a->a[i].kind,
                     (unsigned long long)a->a[i].gpa, a->a[i].width,
                     (unsigned long long)a->a[i].value);
    if (a->n != b->n || ra->instructions != rb->instructions)
        fail_msg("%s, %s: %u accesses and %u instructions, expected %u and %u", p->name, how, b->n,
                 (unsigned)rb->instructions, a->n, (unsigned)ra->instructions);
    if (memcmp(&ra->s, &rb->s, sizeof(ra->s)) || memcmp(ra->mem, rb->mem, sizeof(ra->mem)) ||
        memcmp(ra->edge, rb->edge, 64) || memcmp(ra->behind, rb->behind, 64))
        fail_msg("%s, %s: other final state", p->name, how);
}

/* Handlers, records, and mixtures. */
static void test_ways(void **state)
{
    static struct log ref, log;
    static struct result ref_result, result;
    (void)state;
    uint32_t avx = VMLIB_SUPPORT_REFUSED;
    OK(vmlib_backend_feature(VMLIB_BACKEND_SOFT, VMLIB_FEATURE_AVX2, &avx));
    size_t count = sizeof(programs) / sizeof(programs[0]) - (avx == VMLIB_SUPPORT_REFUSED);
    for (size_t i = 0; i < count; i++)
        for (unsigned way = 0; way < 6; way++) {
            const struct program *p = &programs[i];
            struct log *l = way ? &log : &ref;
            running = p->name;
            vmlib_handler *h[2] = {NULL, NULL};
            char how[16];
            memset(l, 0, sizeof(*l));
            l->mixed = way > 1 ? way : 0;
            if (way != 1) {
                h[0] = world_handler(&w, VMLIB_HANDLER_MMIO, DEVICE, DEVICE + 0x1fff, device, l);
                h[1] = world_handler(&w, VMLIB_HANDLER_PIO, 0, 0xffff, device, l);
            }
            prepare(p->code, p->end, p->mode);
            uint64_t hlt = CODE + (uint64_t)(p->end - p->code) - 1; /* CALL goes to the HLT */
            memcpy(w.mem + DATA + 0x810, &hlt, 8);
            finish(l, way ? &result : &ref_result);
            for (unsigned k = 0; k < 2 && h[k]; k++) {
                OK(vmlib_handler_remove(h[k]));
                vmlib_handler_unref(h[k]);
            }
            snprintf(how, sizeof(how), way == 1 ? "records" : "mixed %u", way);
            if (way)
                compare(p, how, &ref, &ref_result, &log, &result);
        }
}

/* --- handlers that change things --- */

struct act {
    void (*fn)(struct vmlib_exit *e);
    int verdict;
    unsigned calls;
};

static int acting(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *e)
{
    struct act *a = opaque;
    (void)vcpu;
    if (!e->u.mmio.write)
        e->u.mmio.value = 0x42;
    if (!a->calls++ && a->fn)
        a->fn(e);
    return a->verdict;
}

static uint64_t with_handler(const uint8_t *code, const uint8_t *end, struct act *a,
                             uint32_t reason)
{
    prepare(code, end, FLAT32);
    vmlib_handler *h = world_handler(&w, VMLIB_HANDLER_MMIO, DEVICE, DEVICE + 0x1fff, acting, a);
    struct vmlib_exit e = world_run(&w, 0, 20000000000u, 0);
    OK(vmlib_handler_remove(h));
    vmlib_handler_unref(h);
    if (e.reason != reason)
        fail_msg("exit %s at 0x%llx", vmlib_exit_name(e.reason), (unsigned long long)e.rip);
    return e.instructions;
}

/* The first half goes to the device, whose handler takes the memory of the second half away. */
GUEST(32, cross_out, "movl %eax, 0x101ffe\n hlt");
GUEST(32, cross_in, "movl 0x101ffe, %eax\n hlt");
static void remove_behind(struct vmlib_exit *e)
{
    (void)e;
    OK(vmlib_region_remove(w.behind));
    vmlib_region_unref(w.behind);
    w.behind = NULL;
}
static void restore_behind(void)
{
    struct vmlib_region_config c = VMLIB_REGION_CONFIG_INIT;
    c.gpa = BEHIND;
    c.bytes = 0x1000;
    OK(vmlib_region_create(w.vm, &c, &w.behind));
}
static void test_remove(void **state)
{
    struct act a = {remove_behind, VMLIB_HANDLED, 0};
    (void)state;
    with_handler(cross_out, cross_out_end, &a, VMLIB_EXIT_MMIO);
    restore_behind();
    a.calls = 0;
    with_handler(cross_in, cross_in_end, &a, VMLIB_EXIT_MMIO);
    uint16_t v = 0x1234;
    OK(vmlib_vcpu_complete(w.vcpu[0], &v, 2));
    assert_int_equal(world_reg(&w, VMLIB_REG_RAX), 0x12340042);
    restore_behind();
}

/* The handler patches code behind the instruction, and takes away the region it is in. */
GUEST(32, load_then, "movl (%ebx), %eax\n inc %edx\n inc %edx\n hlt");
static void patch(struct vmlib_exit *e)
{
    (void)e;
    OK(vmlib_vm_write(w.vm, CODE + 2, "\xf4", 1));
}
static void no_exec(struct vmlib_exit *e)
{
    (void)e;
    OK(vmlib_region_protect(w.ram, VMLIB_PROT_R | VMLIB_PROT_W));
}
static void test_code_changes(void **state)
{
    struct act a = {patch, VMLIB_HANDLED, 0};
    (void)state;
    with_handler(load_then, load_then_end, &a, VMLIB_EXIT_HLT);
    assert_int_equal(world_reg(&w, VMLIB_REG_RDX), 0x70);
    a = (struct act){no_exec, VMLIB_HANDLED, 0};
    assert_int_equal(with_handler(load_then, load_then_end, &a, VMLIB_EXIT_MEMORY_FAULT), 1);
    assert_int_equal(world_reg(&w, VMLIB_REG_RDX), 0x70);
    OK(vmlib_region_protect(w.ram, VMLIB_PROT_RWX));
}

/* STOP and a moved rip end right behind the instruction, also in front of a fused branch. */
GUEST(32, cmp_jcc, "cmpl $0x42, (%ebx)\n je 1f\n nop\n1: hlt");
GUEST(32, stores, "movl %eax, (%ebx)\n inc %edx\n hlt");
GUEST(32, push_dev, "push (%ebx)\n inc %edx\n hlt");
GUEST(32, rmw_dev, "lock incl (%ebx)\n inc %edx\n hlt");
static void to_halt(struct vmlib_exit *e)
{
    (void)e;
    world_set(&w, VMLIB_REG_RIP, CODE + 0x100);
    w.mem[CODE + 0x100] = 0xf4;
}
static void test_stop_and_move(void **state)
{
    static const struct {
        const uint8_t *code, *end;
    } list[] = {{cmp_jcc, cmp_jcc_end},
                {stores, stores_end},
                {load_then, load_then_end},
                {push_dev, push_dev_end},
                {rmw_dev, rmw_dev_end}};
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct act a = {NULL, VMLIB_STOP, 0};
        if (with_handler(list[i].code, list[i].end, &a, VMLIB_EXIT_STOPPED) != 1)
            fail_msg("STOP, %u: rip 0x%x", i, (unsigned)world_reg(&w, VMLIB_REG_RIP));
        a = (struct act){to_halt, VMLIB_HANDLED, 0};
        assert_int_equal(with_handler(list[i].code, list[i].end, &a, VMLIB_EXIT_HLT), 2);
        assert_int_equal(world_reg(&w, VMLIB_REG_RIP), CODE + 0x101);
    }
}

/* An access is answered, then the instruction faults; the guest's handler asks the same device
 * register first thing. Its answer must be a new one. */
GUEST(32, fault_half, "movsl\n hlt");
GUEST(32, in_fault, "movl 0x100100, %eax\n hlt");
static void test_fault_between(void **state)
{
    struct vmlib_table idt = {.base = 0x3000, .limit = 0x7ff}, gdt = {.base = 0x4000, .limit = 23};
    static const uint64_t descriptors[3] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff};
    uint64_t gate = 0x0000ee0000080000 | (CODE + 0x200), zero = 0;
    (void)state;
    prepare(fault_half, fault_half_end, PAGED32);
    world_put(&w, CODE + 0x200, in_fault, in_fault_end);
    OK(vmlib_vm_write(w.vm, 0x3000 + 14 * 8, &gate, 8));
    OK(vmlib_vm_write(w.vm, 0x4000, descriptors, sizeof(descriptors)));
    OK(vmlib_vcpu_set_reg_wide(w.vcpu[0], VMLIB_REG_IDTR, &idt, sizeof(idt)));
    OK(vmlib_vcpu_set_reg_wide(w.vcpu[0], VMLIB_REG_GDTR, &gdt, sizeof(gdt)));
    OK(vmlib_vm_write(w.vm, TABLES + 0x3000 + 4 * 4, &zero, 4)); /* 16 MiB is not present */
    world_set(&w, VMLIB_REG_RDI, 0x1000000);
    for (uint32_t n = 1; n < 3; n++) {
        uint32_t v = n * 111;
        struct vmlib_exit e = world_run(&w, 0, 20000000000u, 0);
        assert_int_equal(e.reason, VMLIB_EXIT_MMIO);
        assert_int_equal(e.u.mmio.gpa, DEVICE + 0x100);
        OK(vmlib_vcpu_complete(w.vcpu[0], &v, 4));
    }
    world_expect(&w, VMLIB_EXIT_HLT);
    assert_int_equal(world_reg(&w, VMLIB_REG_RAX), 222);
}

/* complete_fault at each access in turn: nothing of the instruction remains but its accesses. */
static void test_complete_fault(void **state)
{
    static struct log l;
    (void)state;
    memset(&l, 0, sizeof(l));
    prepare(p_movs, p_movs_end, REAL16);
    OK(vmlib_vm_write(w.vm, 13 * 4, "\0\x20\0\0", 4));
    OK(vmlib_vm_write(w.vm, 0x2000, "\xf4", 1));
    world_put(&w, CODE, (const uint8_t *)"\x67\x66\xf7\x13",
              (const uint8_t *)"\x67\x66\xf7\x13" + 4);
    struct vmlib_exit e = world_run(&w, 0, 20000000000u, 0); /* notl (%ebx) */
    assert_int_equal(e.reason, VMLIB_EXIT_MMIO);
    OK(vmlib_vcpu_complete_fault(w.vcpu[0], 13, 0));
    world_expect(&w, VMLIB_EXIT_HLT);
    assert_int_equal(world_reg(&w, VMLIB_REG_RIP), 0x2001);
    assert_int_equal(w.mem[STACK - 6] | w.mem[STACK - 5] << 8, CODE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways),          cmocka_unit_test(test_remove),
        cmocka_unit_test(test_code_changes),  cmocka_unit_test(test_stop_and_move),
        cmocka_unit_test(test_fault_between), cmocka_unit_test(test_complete_fault),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
