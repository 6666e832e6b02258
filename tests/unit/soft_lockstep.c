/*
 * Random programs on the software backend, executed in four ways: in one run, step by step, with
 * budgets of random size, and under a storm of cancels and interrupt-line changes. Registers,
 * flags, memory and instruction counts must be the same in the end.
 */
#include <pthread.h>
#include <time.h>

#include "soft_world.h"

static struct world w;
static uint64_t seed;

static uint32_t below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 20) % n;
}

/* Instructions of one encoding in all modes, without far or privileged effects. Register bytes are
 * random; R: a ModRM with two registers but no stack pointer; b: a random byte. */
static const char *const templates[] = {
    "\x01R",
    "\x03R",
    "\x29R",
    "\x2bR",
    "\x11R",
    "\x19R",
    "\x21R",
    "\x09R",
    "\x31R",
    "\x39R",
    "\x85R",
    "\x89R",
    "\x87R",
    "\x00R",
    "\x38R",
    "\x28R",
    "\x04"
    "b",
    "\x2c"
    "b",
    "\x3c"
    "b",
    "\x14"
    "b",
    "\x34"
    "b",
    "\xa8"
    "b",
    "\xb0"
    "b",
    "\xb5"
    "b",
    "\xc1"
    "Gb",
    "\xd1G",
    "\xd3G",
    "\xc0"
    "Gb",
    "\x83"
    "Gb",
    "\x80"
    "Gb",
    "\xf7N",
    "\x0f\xafR",
    "\x0f\xb6R",
    "\x0f\xbfR",
    "\x0f\xa3R",
    "\x0f\xabR",
    "\x0f\xa5R",
    "\x0f\xc1R",
    "\x0f\xb1R",
    "\x0f\x92\xc0",
    "\x0f\x9f\xc2",
    "\x0f\x44R",
    "\x0f\x4cR",
    "\xf5",
    "\xf9",
    "\xfc",
    "\x9e",
    "\x9f",
    "\x98",
    "\x99",
    "\x90",
    "\x53\x58",
    "\x9c\x5a",
    "\x50\x5b",
    "\x66\x01R",
    "\x0f\x58R",
    "\x66\x0f\xfeR",
    "\x66\x0f\x6eR",
    "\x66\x0f\x7eR",
    "\x66\x0f\xefR",
    "\x39R\x74\x01\x90",
    "\x85R\x75\x02\x01R",
    "\x39R\x72\x02\x29R",
    "\x38R\x7f\x01\xf9",
    "\xe3\x02\x01R",
    "\xeb\x01\xf4",
    "\x0f\xbcR",
    "\xc5\xf8\x77",
    "\x0f\xa2" /* CPUID: ends a block */
};

/* Memory operands: DATA and SHARED areas by absolute address, per address size of the mode. */
static unsigned put_memory(uint8_t *p, enum world_mode mode, uint32_t at)
{
    static const uint8_t op[] = {0x01, 0x03, 0x29, 0x39, 0x3b, 0x89, 0x8b, 0x87, 0x31, 0x00, 0x38};
    unsigned n = 0, reg = below(4);
    bool lock = below(6) == 0;
    if (lock)
        p[n++] = 0xf0;
    p[n++] = lock ? (below(2) ? 0x01 : 0x87) : op[below(sizeof(op))]; /* ADD and XCHG take it */
    if (mode == REAL16) {
        p[n++] = (uint8_t)(reg << 3 | 6);
        memcpy(p + n, &at, 2);
        return n + 2;
    }
    p[n++] = (uint8_t)(reg << 3 | 4);
    p[n++] = 0x25;
    memcpy(p + n, &at, 4);
    return n + 4;
}

static unsigned put_one(uint8_t *p, enum world_mode mode, uint32_t here)
{
    uint32_t kind = below(16);
    if (kind < 4)
        return put_memory(p, mode, 0xd000 + below(0x400)); /* also across 0xd3ff .. */
    if (kind == 4)
        return put_memory(p, mode, 0xdffd + below(4)); /* a page end */
    if (kind == 5 && below(3) == 0) { /* an immediate a little further on: mov $b, %al */
        unsigned n = 0;
        uint32_t at = here + (mode == REAL16 ? 6u : 9u);
        p[n++] = 0x88; /* mov %cl, (at) */
        p[n++] = mode == REAL16 ? 0x0e : 0x0c;
        if (mode != REAL16)
            p[n++] = 0x25;
        memcpy(p + n, &at, mode == REAL16 ? 2 : 4);
        n += mode == REAL16 ? 2 : 4;
        p[n++] = 0x90;
        p[n++] = 0xb0;
        p[n++] = 0x11;
        return n;
    }
    const char *t = templates[below(sizeof(templates) / sizeof(templates[0]))];
    unsigned n = 0;
    for (; *t; t++) {
        if (*t == 'R')
            p[n++] = (uint8_t)(0xc0 | below(4) << 3 | below(4));
        else if (*t == 'G') /* group 1 or shifts: /6 is an alias there */
            p[n++] = (uint8_t)(0xc0 | below(8) << 3 | below(4));
        else if (*t == 'N') /* NOT, NEG, MUL, IMUL */
            p[n++] = (uint8_t)(0xd0 | below(4) << 3 | below(4));
        else
            p[n++] = *t == 'b' ? (uint8_t)below(256) : (uint8_t)*t;
    }
    return n;
}

/* A loop around a random body; the counter is in memory so that nothing disturbs it. */
static unsigned make(uint8_t *p, enum world_mode mode)
{
    unsigned n = 0, size = 20 + below(60);
    while (size--) {
        n += put_one(p + n, mode, CODE + n);
    }
    static const uint8_t dec16[] = {0xff, 0x0e, 0x00, 0xdf}; /* decw 0xdf00 */
    static const uint8_t dec32[] = {0xff, 0x0c, 0x25, 0x00, 0xdf, 0, 0};
    unsigned k = mode == REAL16 ? sizeof(dec16) : sizeof(dec32);
    memcpy(p + n, mode == REAL16 ? dec16 : dec32, k);
    n += k;
    p[n++] = 0x0f; /* jne CODE */
    p[n++] = 0x85;
    int32_t back = -(int32_t)(n + (mode == REAL16 ? 2 : 4));
    memcpy(p + n, &back, 4);
    n += mode == REAL16 ? 2 : 4;
    p[n++] = 0xf4;
    return n;
}

struct outcome {
    struct vmlib_state s;
    uint64_t instructions;
    uint8_t data[0x3000]; /* CODE page and what lies from 0xc000 */
};

static int storming; /* atomic */
static void *storm(void *arg)
{
    (void)arg;
    for (unsigned i = 0; __atomic_load_n(&storming, __ATOMIC_SEQ_CST); i++) {
        struct timespec pause = {0, 20000};
        if (i & 1)
            vmlib_vcpu_cancel(w.vcpu[0]);
        else
            vmlib_vcpu_set_intr(w.vcpu[0], i >> 1 & 1);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

enum way { ONCE, STEPS, BUDGETS, STORM, WAYS };

static void execute(enum way way, const uint8_t *code, unsigned n, enum world_mode mode,
                    struct outcome *o)
{
    memset(o, 0, sizeof(*o));
    memset(w.mem + CODE, 0, 0x1000);
    memset(w.mem + 0xc000, 0x3c, 0x3000);
    memset(w.mem + STACK - 64, 0, 64);
    OK(vmlib_region_written(w.ram, 0, DEVICE));
    uint32_t counter = n & 1 ? 300 : 40;
    OK(vmlib_vm_write(w.vm, 0xdf00, &counter, 4));
    OK(vmlib_vm_write(w.vm, CODE, code, n));
    for (unsigned i = 0; i < 256; i++) /* real mode: every exception ends at a HLT */
        memcpy(w.mem + 4 * i, "\x00\x70\0", 4);
    w.mem[0x7000] = 0xf4;
    world_start(&w, 0, mode, CODE);
    for (unsigned r = 0; r < 4; r++)
        world_set(&w, r, 0x0123456789abcdefu * (r + 1));
    for (;;) {
        struct vmlib_run_args a = VMLIB_RUN_ARGS_INIT;
        struct vmlib_exit e = VMLIB_EXIT_INIT;
        a.deadline_ns = way == STEPS ? 0 : 30000000000u;
        a.flags = way == STEPS ? VMLIB_RUN_SINGLE_STEP : 0;
        a.budget = way == BUDGETS ? 1 + below(below(4) ? 20 : 200) : 0;
        OK(vmlib_vcpu_run(w.vcpu[0], &a, &e));
        o->instructions += e.instructions;
        if (e.reason == VMLIB_EXIT_HLT || e.reason == VMLIB_EXIT_SHUTDOWN)
            break;
        if ((way == STEPS && e.reason == VMLIB_EXIT_DEBUG) ||
            (way == BUDGETS && e.reason == VMLIB_EXIT_BUDGET) ||
            (way == STORM && e.reason == VMLIB_EXIT_CANCELLED))
            continue;
        fail_msg("way %d, mode %d: exit %s at 0x%llx", way, mode, vmlib_exit_name(e.reason),
                 (unsigned long long)e.rip);
    }
    o->s.size = sizeof(o->s);
    OK(vmlib_vcpu_get_state(w.vcpu[0], VMLIB_STATE_ALL & ~(VMLIB_STATE_MSRS | VMLIB_STATE_EVENTS),
                            &o->s));
    memcpy(o->data, w.mem + CODE, 0x1000);
    memcpy(o->data + 0x1000, w.mem + 0xd000, 0x2000);
}

static void test_lockstep(void **state)
{
    static struct outcome ref, other;
    uint8_t code[2048];
    struct timespec t0, t;
    unsigned programs = 0;
    uint64_t total = 0;
    (void)state;
    seed = 0x9e3779b97f4a7c15;
    printf("seed 0x%llx\n", (unsigned long long)seed);
    clock_gettime(CLOCK_MONOTONIC, &t0);
    do { /* at most some seconds; at least some programs */
        uint64_t at = seed;
        enum world_mode mode = programs % WORLD_MODES;
        unsigned n = make(code, mode);
        execute(ONCE, code, n, mode, &ref);
        for (unsigned way = STEPS; way < WAYS; way++) {
            pthread_t thread;
            if (way == STORM) {
                __atomic_store_n(&storming, 1, __ATOMIC_SEQ_CST);
                assert_int_equal(pthread_create(&thread, NULL, storm, NULL), 0);
            }
            execute(way, code, n, mode, &other);
            if (way == STORM) {
                __atomic_store_n(&storming, 0, __ATOMIC_SEQ_CST);
                pthread_join(thread, NULL);
                OK(vmlib_vcpu_set_intr(w.vcpu[0], 0));
                OK(vmlib_vcpu_cancel(w.vcpu[0])); /* merged with one that came too late */
                world_start(&w, 0, mode, CODE);
                assert_int_equal(world_run(&w, 0, 0, 0).reason, VMLIB_EXIT_CANCELLED);
            }
            if (ref.instructions != other.instructions || memcmp(&ref.s, &other.s, sizeof(ref.s)) ||
                memcmp(ref.data, other.data, sizeof(ref.data)))
                fail_msg("program %u (seed 0x%llx), way %u, mode %d: %llu instructions, expected "
                         "%llu; rip 0x%llx, 0x%llx; flags 0x%llx, 0x%llx; memory %d",
                         programs, (unsigned long long)at, way, mode,
                         (unsigned long long)other.instructions,
                         (unsigned long long)ref.instructions, (unsigned long long)other.s.gpr.rip,
                         (unsigned long long)ref.s.gpr.rip, (unsigned long long)other.s.gpr.rflags,
                         (unsigned long long)ref.s.gpr.rflags,
                         memcmp(ref.data, other.data, sizeof(ref.data)));
        }
        programs++;
        total += ref.instructions;
        clock_gettime(CLOCK_MONOTONIC, &t);
    } while (programs < 50 || (t.tv_sec - t0.tv_sec < 3 && programs < 2000));
    printf("%u programs, %llu instructions\n", programs, (unsigned long long)total);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lockstep)};
    world_create(&w, 1, VMLIB_TIME_REAL);
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    world_destroy(&w);
    return r;
}
