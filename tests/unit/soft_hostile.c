/*
 * Hostile guests on the software backend: wild jumps, stacks and tables where there is no memory,
 * endless work without a single finished instruction. Always a record, and limits always act.
 */
#include "soft_world.h"

#define SOON 20000000u /* ns: far more than anything here needs before its limit is looked at */

static int setup(void **state)
{
    static struct world w;
    world_create(&w, 1, VMLIB_TIME_REAL);
    *state = &w;
    return 0;
}
static int teardown(void **state)
{
    world_destroy(*state);
    return 0;
}
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const uint64_t places[] = {
    0,
    0xffff,
    0xfffff,
    DEVICE,
    DEVICE - 1,
    DEVICE + 8,
    BEHIND + 4095,
    0x7fffffff,
    0xffffffff,
    0xfffffff0,
    0x40000000,
    1ull << 46,
    1ull << 47,
    (1ull << 47) - 1,
    0xffff800000000000,
    0xfffffffffffffff0,
    UINT64_MAX,
    0x8000000000000000,
};
#define NPLACES (sizeof(places) / sizeof(places[0]))

/* What ends well: any record, and the next runs as well. */
static void survive(struct world *w)
{
    for (unsigned i = 0; i < 4; i++) {
        struct vmlib_exit e = world_run(w, 0, SOON, 20000);
        assert_non_null(vmlib_exit_name(e.reason));
        assert_int_not_equal(e.reason, VMLIB_EXIT_INTERNAL);
        if (e.flags & VMLIB_EXIT_F_PENDING) {
            uint8_t ones[16];
            memset(ones, 0xff, sizeof(ones));
            OK(vmlib_vcpu_complete(w->vcpu[0], ones,
                                   e.reason == VMLIB_EXIT_MMIO  ? e.u.mmio.width
                                   : e.reason == VMLIB_EXIT_PIO ? e.u.pio.width
                                                                : 8));
        }
    }
}

GUEST(32, push_pop, "push %eax\n pop %ebx\n call 1f\n1: int $3\n ud2\n hlt");
GUEST(64, wide,
      "vmovups (%rax), %ymm0\n fxsave (%rax)\n cmpxchg16b (%rax)\n lock incq (%rax)\n"
      "rep movsb\n enter $16, $3\n push (%rax)\n hlt");

static void test_places(void **state)
{
    for (unsigned mode = 0; mode < WORLD_MODES; mode++)
        for (unsigned i = 0; i < NPLACES; i++) {
            LOAD(*state, mode, push_pop); /* code there */
            world_set(*state, VMLIB_REG_RIP, places[i]);
            survive(*state);
            LOAD(*state, mode, push_pop); /* the stack there */
            world_set(*state, VMLIB_REG_RSP, places[i]);
            survive(*state);
            world_put(*state, CODE, wide, wide_end);
            world_start(*state, 0, mode, CODE); /* data there */
            for (unsigned r = VMLIB_REG_RAX; r <= VMLIB_REG_RDI; r++)
                world_set(*state, r, places[i]);
            survive(*state);
        }
}

/* Descriptor tables and page tables in holes and devices. */
static void test_tables(void **state)
{
    struct world *w = *state;
    for (unsigned mode = 0; mode < WORLD_MODES; mode++)
        for (unsigned i = 0; i < NPLACES; i++) {
            struct vmlib_table t = {.base = places[i], .limit = 0xffff};
            LOAD(w, mode, push_pop);
            if (vmlib_vcpu_set_reg_wide(w->vcpu[0], VMLIB_REG_IDTR, &t, sizeof(t)) == 0 &&
                vmlib_vcpu_set_reg_wide(w->vcpu[0], VMLIB_REG_GDTR, &t, sizeof(t)) == 0)
                survive(w);
            LOAD(w, mode, push_pop);
            if (vmlib_vcpu_set_reg(w->vcpu[0], VMLIB_REG_CR3, places[i]) == 0)
                survive(w);
        }
}

static uint32_t random32(uint32_t *seed)
{
    return *seed = *seed * 1664525 + 1013904223;
}

/* Page tables that are code, and their own tables. */
static void test_table_garbage(void **state)
{
    struct world *w = *state;
    uint32_t seed = 12345;
    for (unsigned i = 0; i < 200; i++) {
        LOAD(w, PAGED32 + i % 3, push_pop);
        for (unsigned k = 0; k < 16; k++) {
            uint64_t at = TABLES + (random32(&seed) >> 12 & 0x4ff8);
            uint64_t value = (uint64_t)random32(&seed) << 20 ^ random32(&seed) >> 8;
            if (k < 3)
                value = (TABLES + (seed >> 24 & 7) * 0x1000) | 7, at = TABLES + k * 0x1000;
            OK(vmlib_vm_write(w->vm, at, &value, 8));
        }
        survive(w);
    }
}

static void test_triple(void **state)
{
    struct world *w = *state;
    LOAD(w, LONG64, push_pop); /* IDT limit 0 */
    world_put(w, CODE, (const uint8_t *)"\x0f\x0b", (const uint8_t *)"\x0f\x0b" + 2);
    world_expect(w, VMLIB_EXIT_SHUTDOWN);
    world_expect(w, VMLIB_EXIT_SHUTDOWN);
    world_start(w, 0, LONG64, BEHIND + 0xffe); /* the second half of an instruction is a hole */
    OK(vmlib_vm_write(w->vm, BEHIND + 0xffe, "\x48\xb8", 2));
    world_expect(w, VMLIB_EXIT_MEMORY_FAULT);
    OK(vmlib_region_protect(w->behind, VMLIB_PROT_R | VMLIB_PROT_W));
    world_start(w, 0, LONG64, BEHIND);
    world_expect(w, VMLIB_EXIT_MEMORY_FAULT);
    world_expect(w, VMLIB_EXIT_MEMORY_FAULT);
    OK(vmlib_vm_write(w->vm, BEHIND, "\xf4", 1));
    OK(vmlib_region_protect(w->behind, VMLIB_PROT_RWX));
    world_expect(w, VMLIB_EXIT_HLT);
}

/* --- limits act although nothing retires --- */

GUEST(32, self_jump, "1: jmp 1b");
GUEST(16, fault_forever, "ud2");
GUEST(32, rep_forever, "rep lodsb\n hlt");
GUEST(32, rep_scas, "repne scasb\n hlt");
GUEST(32, rep_out, "rep outsb\n hlt");
GUEST(16, halted, "cli\n hlt");

static void test_self_jump(void **state)
{
    LOAD(*state, FLAT32, self_jump);
    assert_int_equal(world_run(*state, 0, 1000000, 0).reason, VMLIB_EXIT_DEADLINE);
}

static void test_fault_forever(void **state)
{
    struct world *w = *state;
    uint16_t vector[2] = {CODE, 0};
    OK(vmlib_vm_write(w->vm, 6 * 4, vector, 4));
    LOAD(w, REAL16, fault_forever);
    struct vmlib_segment stack = {.base = 0x20000, .limit = 0xffff, .attributes = 0x93};
    OK(vmlib_vcpu_set_reg_wide(w->vcpu[0], VMLIB_REG_SS, &stack, sizeof(stack)));
    assert_int_equal(world_run(w, 0, 1000000, 0).reason, VMLIB_EXIT_DEADLINE);
}

static int nothing(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *e)
{
    (void)vcpu, (void)e;
    ++*(uint64_t *)opaque;
    return VMLIB_HANDLED;
}

/* Elements that a repeated instruction still has after a deadline: it must not go on to the end. */
static void repeated(struct world *w, const uint8_t *code, const uint8_t *end)
{
    world_put(w, CODE, code, end);
    world_start(w, 0, FLAT32, CODE);
    world_set(w, VMLIB_REG_RSI, 0x200000);
    world_set(w, VMLIB_REG_RDI, 0x200000);
    world_set(w, VMLIB_REG_RAX, 0x55);
    world_set(w, VMLIB_REG_RCX, UINT32_MAX);
    struct vmlib_exit e = world_run(w, 0, 1000000, 0);
    assert_int_equal(e.reason, VMLIB_EXIT_DEADLINE);
    assert_int_equal(e.rip, CODE);
    assert_int_equal(e.instructions, 0);
    assert_true(world_reg(w, VMLIB_REG_RCX) > 0);
}

static void test_repeat(void **state)
{
    uint64_t n = 0;
    vmlib_handler_unref(
        world_handler(*state, VMLIB_HANDLER_MMIO, 0x200000, UINT32_MAX, nothing, &n));
    vmlib_handler_unref(world_handler(*state, VMLIB_HANDLER_PIO, 0, 0xffff, nothing, &n));
    repeated(*state, rep_forever, rep_forever_end);
    repeated(*state, rep_scas, rep_scas_end);
    repeated(*state, rep_out, rep_out_end);
}

static void test_halted(void **state)
{
    struct world *w = *state;
    struct vmlib_run_args a = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    LOAD(w, REAL16, halted);
    a.flags = VMLIB_RUN_WAIT_IN_HLT;
    a.deadline_ns = 1000000;
    OK(vmlib_vcpu_run(w->vcpu[0], &a, &e));
    assert_int_equal(e.reason, VMLIB_EXIT_DEADLINE);
    OK(vmlib_vcpu_cancel(w->vcpu[0]));
    a.deadline_ns = 0;
    OK(vmlib_vcpu_run(w->vcpu[0], &a, &e));
    assert_int_equal(e.reason, VMLIB_EXIT_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_places),    CASE(test_tables),        CASE(test_table_garbage), CASE(test_triple),
        CASE(test_self_jump), CASE(test_fault_forever), CASE(test_repeat),        CASE(test_halted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
