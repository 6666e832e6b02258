/*
 * The block cache of the software backend, through the public API: self-modifying code is exact,
 * budgets stop at every single instruction, the host stack does not grow with the guest's work, and
 * pages come back from being code.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <vmlib/vmlib.h>

#define CODE 0x1000u
#define RAM  0x20000u

struct world {
    vmlib_vm *vm;
    vmlib_vcpu *vcpu;
    vmlib_region *ram;
    uint8_t *mem;
};

static struct vmlib_segment flat(uint32_t attributes, uint16_t selector)
{
    return (struct vmlib_segment){
        .limit = UINT32_MAX, .attributes = attributes, .selector = selector};
}

/* 32-bit protected mode, flat, no paging, at CODE. */
static void start(struct world *w)
{
    static struct vmlib_state s;
    memset(&s, 0, sizeof(s));
    s.size = sizeof(s);
    assert_int_equal(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_ALL, &s), 0);
    memset(&s.gpr, 0, sizeof(s.gpr));
    s.gpr.rip = CODE;
    s.gpr.rsp = RAM;
    s.gpr.rflags = 2;
    s.control.cr0 |= 1;
    s.segments.cs = flat(0xc09b, 8);
    s.segments.ss = s.segments.ds = s.segments.es = s.segments.fs = s.segments.gs =
        flat(0xc093, 16);
    memset(&s.events, 0, sizeof(s.events)); /* no longer halted */
    assert_int_equal(vmlib_vcpu_set_state(w->vcpu,
                                          VMLIB_STATE_GPR | VMLIB_STATE_CONTROL |
                                              VMLIB_STATE_SEGMENTS | VMLIB_STATE_EVENTS,
                                          &s),
                     0);
}

static int setup(void **state)
{
    static struct world w;
    struct vmlib_vm_config vc = VMLIB_VM_CONFIG_INIT;
    struct vmlib_region_config rc = VMLIB_REGION_CONFIG_INIT;
    void *host;
    vc.backends[0] = VMLIB_BACKEND_SOFT;
    rc.bytes = RAM;
    assert_int_equal(vmlib_vm_create(&vc, &w.vm), 0);
    assert_int_equal(vmlib_region_create(w.vm, &rc, &w.ram), 0);
    assert_int_equal(vmlib_region_host(w.ram, &host), 0);
    assert_int_equal(vmlib_vcpu_create(w.vm, NULL, &w.vcpu), 0);
    w.mem = host;
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    vmlib_vcpu_unref(w->vcpu);
    vmlib_region_unref(w->ram);
    vmlib_vm_unref(w->vm);
    return 0;
}

static void load(struct world *w, const void *code, size_t n)
{
    assert_int_equal(vmlib_vm_write(w->vm, CODE, code, n), 0);
    start(w);
}

static void run_to_halt(struct world *w)
{
    struct vmlib_exit e = {.size = sizeof(e)};
    assert_int_equal(vmlib_vcpu_run(w->vcpu, NULL, &e), 0);
    assert_int_equal(e.reason, VMLIB_EXIT_HLT);
}

static uint64_t reg(struct world *w, uint32_t r)
{
    uint64_t v;
    assert_int_equal(vmlib_vcpu_get_reg(w->vcpu, r, &v), 0);
    return v;
}

/* A store to the very next instruction takes effect at once. */
static void test_next_instruction(void **state)
{
    static const uint8_t code[] = {
        0xb8, 1,    0,    0,    0, /* 1000 mov eax, 1 */
        0xc7, 0x05, 0x10, 0x10, 0,
        0,    2,    0,    0,    0, /* 1005 mov dword [0x1010], 2: the next immediate */
        0xb8, 7,    0,    0,    0, /* 100f mov eax, 7 */
        0xf4,
    };
    load(*state, code, sizeof(code));
    run_to_halt(*state);
    assert_int_equal(reg(*state, VMLIB_REG_RAX), 2);
}

/* Patch an immediate and call it, again and again. */
static void test_patch_and_call(void **state)
{
    static const uint8_t code[] = {
        0xb9, 0xe8, 3,    0,    0,    /* 1000 mov ecx, 1000 */
        0x31, 0xdb,                   /* 1005 xor ebx, ebx */
        0x89, 0x0d, 0x01, 0x11, 0, 0, /* 1007 mov [0x1101], ecx */
        0xe8, 0xee, 0,    0,    0,    /* 100d call 0x1100 */
        0x01, 0xc3,                   /* 1012 add ebx, eax */
        0xe2, 0xf1,                   /* 1014 loop 0x1007 */
        0xf4,
    };
    static const uint8_t function[] = {0xb8, 0, 0, 0, 0, 0xc3}; /* mov eax, imm; ret */
    struct world *w = *state;
    assert_int_equal(vmlib_vm_write(w->vm, 0x1100, function, sizeof(function)), 0);
    load(w, code, sizeof(code));
    run_to_halt(w);
    assert_int_equal(reg(w, VMLIB_REG_RBX), 1000 * 1001 / 2);
}

/* Patched and called in turn, with more and more data stored to the same page in between: it goes
 * back and forth between code and data. */
static void test_page_of_code_and_data(void **state)
{
    static const uint8_t code[] = {
        0xb9, 40,   0,    0,    0,       /* 1000 mov ecx, 40 */
        0x31, 0xdb,                      /* 1005 xor ebx, ebx */
        0x89, 0xca,                      /* 1007 mov edx, ecx */
        0x89, 0x0d, 0x01, 0x30, 0,    0, /* 1009 mov [0x3001], ecx */
        0x89, 0x14, 0x95, 0,    0x38, 0, /* 100f mov [0x3800 + edx * 4], edx */
        0,    0x4a,                      /* 1016 dec edx */
        0x75, 0xf6,                      /* 1017 jnz 0x100f */
        0xe8, 0xe2, 0x1f, 0,    0,       /* 1019 call 0x3000 */
        0x01, 0xc3,                      /* 101e add ebx, eax */
        0xff, 0x05, 0x01, 0x30, 0,    0, /* 1020 inc dword [0x3001] */
        0xe8, 0xd5, 0x1f, 0,    0,       /* 1026 call 0x3000 */
        0x01, 0xc3,                      /* 102b add ebx, eax */
        0x49,                            /* 102d dec ecx */
        0x75, 0xd7,                      /* 102e jnz 0x1007 */
        0xf4,
    };
    static const uint8_t function[] = {0xb8, 0, 0, 0, 0, 0xc3}; /* mov eax, imm; ret */
    struct world *w = *state;
    assert_int_equal(vmlib_vm_write(w->vm, 0x3000, function, sizeof(function)), 0);
    load(w, code, sizeof(code));
    run_to_halt(w);
    assert_int_equal(reg(w, VMLIB_REG_RBX), 40 * 41 + 40);
    for (unsigned i = 1; i <= 40; i++)
        assert_int_equal(w->mem[0x3800 + 4 * i], i);
}

/* REP STOSB over its own block: the instruction completes, then the new bytes run. */
static void test_fill_over_itself(void **state)
{
    static const uint8_t code[] = {
        0xbf, 0x0c, 0x10, 0,    0, /* mov edi, 0x100c */
        0xb9, 4,    0,    0,    0, /* mov ecx, 4 */
        0xf3, 0xaa,                /* rep stosb: al = f4 */
        0x90, 0x90, 0x90, 0x90, 0x90, 0x0f, 0x0b,
    };
    struct world *w = *state;
    load(w, code, sizeof(code));
    assert_int_equal(vmlib_vcpu_set_reg(w->vcpu, VMLIB_REG_RAX, 0xf4), 0);
    run_to_halt(w);
    assert_int_equal(reg(w, VMLIB_REG_RIP), CODE + 0xd);
}

/* The host writes code: seen by the next run. */
static void test_host_writes_code(void **state)
{
    static const uint8_t one[] = {0xb8, 1, 0, 0, 0, 0xf4}, two[] = {0xb8, 2, 0, 0, 0, 0xf4};
    load(*state, one, sizeof(one));
    run_to_halt(*state);
    assert_int_equal(reg(*state, VMLIB_REG_RAX), 1);
    load(*state, two, sizeof(two));
    run_to_halt(*state);
    assert_int_equal(reg(*state, VMLIB_REG_RAX), 2);
}

/* Code reached and changed through two guest addresses of one memory. */
static void test_alias(void **state)
{
    static const uint8_t code[] = {
        0xb8, 1,    0,    0,    0,                   /* 1000 mov eax, 1 */
        0xc7, 0x05, 0x10, 0x10, 0x10, 0, 5, 0, 0, 0, /* 1005 mov dword [0x101010], 5 */
        0xb8, 7,    0,    0,    0,                   /* 100f mov eax, 7 */
        0xf4,
    };
    struct world *w = *state;
    struct vmlib_region_config rc = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *alias;
    rc.backing = VMLIB_BACKING_ALIAS;
    rc.alias = w->ram;
    rc.gpa = 0x100000;
    rc.bytes = RAM;
    assert_int_equal(vmlib_region_create(w->vm, &rc, &alias), 0);
    load(w, code, sizeof(code));
    run_to_halt(w);
    assert_int_equal(reg(w, VMLIB_REG_RAX), 5);
    vmlib_region_unref(alias);
}

/* A loop of blocks, stopped after every number of instructions: rip and counters move by exactly
 * one. */
static void test_budget_is_exact(void **state)
{
    static const uint8_t code[] = {
        0xb9, 3,    0, 0, 0, /* 1000 mov ecx, 3 */
        0x40,                /* 1005 inc eax */
        0xe8, 0x03, 0, 0, 0, /* 1006 call 100e */
        0xe2, 0xf8,          /* 100b loop 1005 */
        0xf4,                /* 100d hlt */
        0x83, 0xf8, 2,       /* 100e cmp eax, 2 */
        0x75, 0x01,          /* 1011 jne 1014 */
        0x43,                /* 1013 inc ebx */
        0xc3,                /* 1014 ret */
    };
    static const uint32_t path[] = {0x1000, 0x1005, 0x1006, 0x100e, 0x1011, 0x1014, 0x100b,
                                    0x1005, 0x1006, 0x100e, 0x1011, 0x1013, 0x1014, 0x100b,
                                    0x1005, 0x1006, 0x100e, 0x1011, 0x1014, 0x100b, 0x100d};
    struct world *w = *state;
    for (unsigned n = 1; n < sizeof(path) / sizeof(path[0]); n++) {
        struct vmlib_run_args a = VMLIB_RUN_ARGS_INIT;
        struct vmlib_exit e = {.size = sizeof(e)};
        load(w, code, sizeof(code));
        a.budget = n;
        assert_int_equal(vmlib_vcpu_run(w->vcpu, &a, &e), 0);
        assert_int_equal(e.reason, VMLIB_EXIT_BUDGET);
        assert_int_equal(e.instructions, n);
        assert_int_equal(reg(w, VMLIB_REG_RIP), path[n]);
    }
}

/* Handlers jump to each other: a long run must not use up the host's stack. */
static void *long_run(void *arg)
{
    struct world *w = arg;
    struct vmlib_run_args a = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e = {.size = sizeof(e)};
    a.budget = 3000000;
    return vmlib_vcpu_run(w->vcpu, &a, &e) == 0 && e.reason == VMLIB_EXIT_BUDGET ? w : NULL;
}

static void test_stack_depth(void **state)
{
    static const uint8_t code[] = {
        0x40, 0x01, 0xc3, 0x89, 0x1d, 0, 0x80, 0, 0, /* inc eax; add ebx, eax; mov [0x8000], ebx */
        0x03, 0x0d, 0, 0x80, 0, 0,                   /* add ecx, [0x8000] */
        0x50, 0x5a, 0x85, 0xc0, 0x74, 0x00,          /* push eax; pop edx; test eax, eax; jz +0 */
        /* handlers with slow ends */
        0xf0, 0xff, 0x05, 0x10, 0x80, 0, 0,             /* lock inc [0x8010] */
        0xf0, 0x0f, 0xba, 0x2d, 0x10, 0x80, 0, 0, 0x03, /* lock bts [0x8010], 3 */
        0x87, 0x15, 0x14, 0x80, 0, 0,                   /* xchg [0x8014], edx */
        0xf0, 0x0f, 0xc7, 0x0d, 0x18, 0x80, 0, 0,       /* lock cmpxchg8b [0x8018] */
        0x9c, 0x5a,                                     /* pushf; pop edx */
        0xc8, 0x08, 0, 0x01, 0xc9,                      /* enter 8, 1; leave */
        0xd9, 0xe8, 0xdb, 0x3d, 0x30, 0x80, 0, 0,       /* fld1; fstp [0x8030] */
        0x0f, 0x31,                                     /* rdtsc */
        0xe9, 0xb7, 0xff, 0xff, 0xff,                   /* jmp 0x1000 */
    };
    pthread_attr_t attr;
    pthread_t t;
    void *ok = NULL;
    load(*state, code, sizeof(code));
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 512 * 1024); /* sanitizers need some */
    assert_int_equal(pthread_create(&t, &attr, long_run, *state), 0);
    pthread_join(t, &ok);
    pthread_attr_destroy(&attr);
    assert_non_null(ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_next_instruction, setup, teardown),
        cmocka_unit_test_setup_teardown(test_patch_and_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_page_of_code_and_data, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fill_over_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_host_writes_code, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alias, setup, teardown),
        cmocka_unit_test_setup_teardown(test_budget_is_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stack_depth, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
