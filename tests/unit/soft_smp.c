/*
 * Several vCPUs on threads on the software backend: locked counters, x86-TSO, cross-modifying code,
 * page tables that change under their users, the dirty log, and a memory map, cancels, interrupt
 * lines and vCPUs that come and go meanwhile.
 */
#include <pthread.h>

#include "soft_world.h"

#define SHARED 0x20000u

static struct world w;

static int setup(void **state)
{
    (void)state;
    world_create(&w, VCPUS, VMLIB_TIME_REAL);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    world_destroy(&w);
    return 0;
}
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Threads must not fail assertions: they hand over how the run ended. */
struct job {
    unsigned vcpu;
    int bad;
    pthread_t thread;
};
static int stop; /* atomic: cancels mean the end */

static void *run(void *arg)
{
    struct job *j = arg;
    for (;;) {
        struct vmlib_run_args a = VMLIB_RUN_ARGS_INIT;
        struct vmlib_exit e = VMLIB_EXIT_INIT;
        a.deadline_ns = 60000000000u;
        int rc = vmlib_vcpu_run(w.vcpu[j->vcpu], &a, &e);
        if (rc == 0 && e.reason == VMLIB_EXIT_HLT)
            return NULL;
        if (rc == 0 && e.reason == VMLIB_EXIT_INTERRUPT_WINDOW)
            continue;
        if (rc == 0 && e.reason == VMLIB_EXIT_CANCELLED) {
            if (__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
                return NULL;
            continue;
        }
        j->bad = rc ? rc : (int)e.reason;
        return NULL;
    }
}

static void begin(struct job *jobs, unsigned n)
{
    __atomic_store_n(&stop, 0, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < n; i++) {
        jobs[i] = (struct job){.vcpu = i};
        assert_int_equal(pthread_create(&jobs[i].thread, NULL, run, &jobs[i]), 0);
    }
}

static void end(struct job *jobs, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        pthread_join(jobs[i].thread, NULL);
    for (unsigned i = 0; i < n; i++)
        if (jobs[i].bad)
            fail_msg("vCPU %u ended with %d", i, jobs[i].bad);
}

static void start(unsigned vcpu, enum world_mode mode, uint64_t at, const uint8_t *code,
                  const uint8_t *code_end)
{
    world_put(&w, at, code, code_end);
    world_start(&w, vcpu, mode, at);
    OK(vmlib_vcpu_set_reg(w.vcpu[vcpu], VMLIB_REG_RSP, STACK + 0x800 * vcpu));
    OK(vmlib_vcpu_set_reg(w.vcpu[vcpu], VMLIB_REG_RBX, SHARED));
}
#define START(vcpu, mode, at, name) start(vcpu, mode, at, name, name##_end)

static uint32_t word(uint64_t gpa)
{
    uint32_t v;
    OK(vmlib_vm_read(w.vm, gpa, &v, 4));
    return v;
}

#define ROUNDS 3000
GUEST(64, count,
      "mov $3000, %ecx\n"
      "1: lock incl (%rbx)\n mov $1, %eax\n lock xaddl %eax, 5(%rbx)\n" /* misaligned */
      "lock addl $1, 0xffe(%rbx)\n"                                     /* split */
      "mov 16(%rbx), %eax\n"
      "2: lea 1(%rax), %edx\n lock cmpxchgl %edx, 16(%rbx)\n jne 2b\n"
      "3: mov $1, %eax\n xchgl %eax, 24(%rbx)\n test %eax, %eax\n jne 3b\n"
      "incl 28(%rbx)\n movl $0, 24(%rbx)\n" /* under the lock */
      "dec %ecx\n jne 1b\n hlt");

static void test_counters(void **state)
{
    static const unsigned at[] = {0, 5, 0xffe, 16, 28};
    struct job jobs[VCPUS];
    (void)state;
    for (unsigned i = 0; i < VCPUS; i++)
        START(i, LONG64, CODE, count);
    begin(jobs, VCPUS);
    for (unsigned i = 0; i < 200; i++) { /* kicks of all kinds meanwhile */
        OK(vmlib_vcpu_cancel(w.vcpu[i % VCPUS]));
        OK(vmlib_vcpu_set_intr(w.vcpu[i % VCPUS], i & 1));
    }
    end(jobs, VCPUS);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(word(SHARED + at[i]), ROUNDS * VCPUS);
}

/* Message passing: data, then flag; never the flag without the data. CoRR: values never go back. */
GUEST(64, mp_write,
      "mov $20000, %ecx\n 1: inc %eax\n mov %eax, (%rbx)\n mov %eax, 0x1000(%rbx)\n"
      "dec %ecx\n jne 1b\n hlt");
GUEST(64, mp_read,
      "mov $20000, %ecx\n 1: mov 0x1000(%rbx), %eax\n mov (%rbx), %edx\n"
      "cmp %eax, %edx\n jb 2f\n cmp %esi, %eax\n jb 2f\n cmp %edi, %edx\n jb 2f\n"
      "mov %eax, %esi\n mov %edx, %edi\n dec %ecx\n jne 1b\n hlt\n"
      "2: incl 0x2000(%rbx)\n dec %ecx\n jne 1b\n hlt");

static void test_order(void **state)
{
    struct job jobs[2];
    (void)state;
    START(0, LONG64, CODE, mp_write);
    START(1, LONG64, CODE + 0x1000, mp_read);
    begin(jobs, 2);
    end(jobs, 2);
    assert_int_equal(word(SHARED + 0x2000), 0);
}

/* vCPU 0 patches the immediate of a function, raises a flag; vCPU 1 calls it: old or new, and after
 * flag and CPUID new. */
#define FUNCTION 0x6000u
GUEST(64, patcher,
      "mov $1500, %ecx\n 1: inc %eax\n movl %eax, 0x6001\n mov %eax, (%rbx)\n"
      "2: pause\n cmp %eax, 8(%rbx)\n jne 2b\n dec %ecx\n jne 1b\n hlt");
GUEST(64, caller,
      "mov $1500, %r8d\n 1: inc %r9d\n"
      "2: mov $0x6000, %edx\n call *%rdx\n mov %eax, %r10d\n cmp %r9d, (%rbx)\n jne 3f\n"
      "push %rbx\n xor %eax, %eax\n cpuid\n pop %rbx\n mov $0x6000, %edx\n call *%rdx\n"
      "cmp %r9d, %eax\n je 4f\n incl 16(%rbx)\n"
      "4: mov %r9d, 8(%rbx)\n dec %r8d\n jne 1b\n hlt\n"
      "3: cmp %r9d, %r10d\n je 2b\n inc %r10d\n cmp %r9d, %r10d\n je 2b\n"
      "incl 20(%rbx)\n jmp 2b");
static void test_cross_modifying(void **state)
{
    struct job jobs[2];
    (void)state;
    OK(vmlib_vm_write(w.vm, FUNCTION, "\xb8\0\0\0\0\xc3", 6)); /* mov $imm, %eax; ret */
    START(0, LONG64, CODE, patcher);
    START(1, LONG64, CODE + 0x1000, caller);
    begin(jobs, 2);
    end(jobs, 2);
    assert_int_equal(word(SHARED + 16), 0);
    assert_int_equal(word(SHARED + 20), 0);
}

/* The map changes while all run: BEHIND goes and comes, its protection too. vCPU 0 patches code,
 * and a vCPU that never runs comes and goes. */
GUEST(64, busy,
      "1: incl (%rbx)\n mov 0x6001, %eax\n inc %eax\n mov %eax, 0x6001\n"
      "mov $0x6000, %edx\n call *%rdx\n mov 0x102000, %eax\n jmp 1b");
static int ones(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *e)
{
    (void)opaque, (void)vcpu;
    e->u.mmio.value = UINT64_MAX;
    return VMLIB_HANDLED;
}
static void test_map_changes(void **state)
{
    struct job jobs[3];
    (void)state;
    vmlib_handler_unref(world_handler(&w, VMLIB_HANDLER_MMIO, BEHIND, BEHIND + 0xfff, ones, NULL));
    OK(vmlib_vm_write(w.vm, FUNCTION, "\xb8\0\0\0\0\xc3", 6));
    for (unsigned i = 0; i < 3; i++) {
        START(i, LONG64, CODE, busy);
        OK(vmlib_vcpu_set_reg(w.vcpu[i], VMLIB_REG_RBX, SHARED + 64 * i));
    }
    begin(jobs, 3);
    for (unsigned i = 0; i < 60; i++) {
        struct vmlib_region_config c = VMLIB_REGION_CONFIG_INIT;
        struct vmlib_vcpu_config vc = VMLIB_VCPU_CONFIG_INIT;
        OK(vmlib_region_remove(w.behind));
        vmlib_region_unref(w.behind);
        vmlib_vcpu_unref(w.vcpu[3]);
        c.gpa = BEHIND;
        c.bytes = 0x1000;
        OK(vmlib_region_create(w.vm, &c, &w.behind));
        OK(vmlib_region_protect(w.behind, i & 1 ? VMLIB_PROT_R : VMLIB_PROT_RWX));
        vc.index = 3;
        OK(vmlib_vcpu_create(w.vm, &vc, &w.vcpu[3]));
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < 3; i++)
        OK(vmlib_vcpu_cancel(w.vcpu[i]));
    end(jobs, 3);
}

/* Locked instructions on a device, one vCPU's at a time, while handlers and the host change the
 * map: who holds the lock may not be waited for by those who want all vCPUs out of the guest. */
GUEST(64, locked_device, "1: lock incl (%rbx)\n jmp 1b");
static unsigned map_changes; /* atomic */
static void change_map(uint64_t gpa)
{
    struct vmlib_region_config c = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *r;
    c.gpa = gpa;
    c.bytes = 0x1000;
    if (vmlib_region_create(w.vm, &c, &r) != 0)
        return;
    vmlib_region_remove(r);
    vmlib_region_unref(r);
    __atomic_fetch_add(&map_changes, 1, __ATOMIC_RELAXED);
}
static int counter(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *e)
{
    static unsigned calls;
    (void)opaque;
    e->u.mmio.value = 0;
    if (__atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED) % 64 == 0)
        change_map(0x600000u + 0x1000u * vmlib_vcpu_index(vcpu));
    return VMLIB_HANDLED;
}
static void test_locked_device(void **state)
{
    struct job jobs[3];
    (void)state;
    vmlib_handler_unref(world_handler(&w, VMLIB_HANDLER_MMIO, DEVICE, DEVICE + 3, counter, NULL));
    for (unsigned i = 0; i < 3; i++) {
        START(i, LONG64, CODE, locked_device);
        OK(vmlib_vcpu_set_reg(w.vcpu[i], VMLIB_REG_RBX, DEVICE));
    }
    begin(jobs, 3);
    while (__atomic_load_n(&map_changes, __ATOMIC_RELAXED) < 200)
        change_map(0x500000);
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < 3; i++)
        OK(vmlib_vcpu_cancel(w.vcpu[i]));
    end(jobs, 3);
}

/* Two vCPUs write pages one after the other while the host collects and clears: in the end each
 * page that holds another value than the host saw is reported. */
#define LOGGED 0x400000u
#define PAGES  64u
GUEST(64, writer,
      "mov $300, %ecx\n 1: mov $0x400000, %edx\n add %rsi, %rdx\n"
      "2: incl (%rdx)\n add $0x1000, %edx\n cmp $0x440000, %edx\n jb 2b\n"
      "dec %ecx\n jne 1b\n hlt");
static void test_dirty(void **state)
{
    struct vmlib_region_config c = VMLIB_REGION_CONFIG_INIT;
    static uint32_t seen[PAGES][2], now[PAGES][2];
    struct job jobs[2];
    uint64_t map[1];
    vmlib_region *r;
    (void)state;
    memset(seen, 0, sizeof(seen));
    c.gpa = LOGGED;
    c.bytes = PAGES * 4096;
    c.flags = VMLIB_REGION_DIRTY_LOG;
    OK(vmlib_region_create(w.vm, &c, &r));
    for (unsigned i = 0; i < 2; i++) {
        START(i, LONG64, CODE, writer);
        OK(vmlib_vcpu_set_reg(w.vcpu[i], VMLIB_REG_RSI, 4 * i));
    }
    begin(jobs, 2);
    for (unsigned turn = 0; turn <= 200; turn++) {
        if (turn == 200)
            end(jobs, 2);
        OK(vmlib_region_dirty(r, 0, c.bytes, map, VMLIB_DIRTY_CLEAR));
        for (unsigned p = 0; p < PAGES; p++) {
            if (map[0] >> p & 1)
                OK(vmlib_vm_read(w.vm, LOGGED + p * 4096, seen[p], 8));
            if (turn == 200)
                OK(vmlib_vm_read(w.vm, LOGGED + p * 4096, now[p], 8));
        }
    }
    assert_memory_equal(seen, now, sizeof(now));
    assert_int_equal(now[PAGES - 1][0], 300);
    OK(vmlib_region_dirty(r, 0, c.bytes, map, 0));
    assert_int_equal(map[0], 0);
    vmlib_region_unref(r);
}

/* vCPU 0 moves a page between two frames and takes its accessed and dirty bits away; the others
 * write through it after each load of CR3, which sets them again. No change of the entry may be
 * lost, and no write may go anywhere else. */
#define FRAME  0x30000u /* and the next one */
#define TABLE  0x60000u
#define ENTRY  (FRAME | 7) /* present, writable, user */
#define SWITCH 0x1200u     /* the frame, and a bit that is the program's */
GUEST(64, mapper,
      "mov $1501, %ecx\n mov $0x200000, %edx\n"
      "1: lock xorq $0x1200, 0x60000\n invlpg (%rdx)\n lock andq $-0x61, 0x60000\n"
      "lock incl (%rdx)\n dec %ecx\n jne 1b\n hlt");
GUEST(64, user,
      "mov $1500, %ecx\n lea 0x200000(%rsi), %rdx\n"
      "1: mov %cr3, %rax\n mov %rax, %cr3\n incl (%rdx)\n lock incl 0x100(%rdx)\n"
      "dec %ecx\n jne 1b\n hlt");
static void test_page_tables(void **state)
{
    static const uint64_t directory = TABLE | 7, entry = ENTRY;
    struct job jobs[VCPUS];
    uint64_t last;
    (void)state;
    START(0, LONG64, CODE, mapper);
    for (unsigned i = 1; i < VCPUS; i++) {
        START(i, LONG64, CODE + 0x1000, user);
        OK(vmlib_vcpu_set_reg(w.vcpu[i], VMLIB_REG_RSI, 4 * i));
    }
    OK(vmlib_vm_write(w.vm, TABLES + 0x2000 + 8, &directory, 8));
    OK(vmlib_vm_write(w.vm, TABLE, &entry, 8));
    begin(jobs, VCPUS);
    end(jobs, VCPUS);
    OK(vmlib_vm_read(w.vm, TABLE, &last, 8));
    assert_int_equal(last & ~UINT64_C(0x60), ENTRY ^ SWITCH);
    assert_int_equal(word(FRAME) + word(FRAME + 0x1000), 1501);
    for (unsigned i = 1; i < VCPUS; i++) {
        assert_int_equal(word(FRAME + 4 * i) + word(FRAME + 0x1000 + 4 * i), 1500);
        assert_int_equal(word(FRAME + 0x100 + 4 * i) + word(FRAME + 0x1100 + 4 * i), 1500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_counters),    CASE(test_order),         CASE(test_cross_modifying),
        CASE(test_map_changes), CASE(test_locked_device), CASE(test_dirty),
        CASE(test_page_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
