/*
 * Lockstep: two equal sides stay equal, and an instruction that one side executes wrongly is named.
 * The second argument is a copy of the library whose instructions can be made wrong.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>

#include <vmlib/lockstep.h>

#include "world.h"

static const char *wrong_library;
static uint32_t backend = VMLIB_BACKEND_SOFT; /* of side 1 */
static bool user;                             /* program3.S */

struct pair {
    struct world side[2];
    struct device device;
    vmlib_lockstep *lockstep;
    void *library; /* of side 1 */
    atomic_bool done;
};

static int answer(void *opaque, vmlib_lockstep *l, struct vmlib_exit *exit)
{
    struct pair *p = opaque;
    int rc = device_answer(&p->device, exit);

    if (exit->reason == VMLIB_EXIT_HLT && !p->device.ended) {
        OK(vmlib_lockstep_intr(l, 1));
        return VMLIB_HANDLED;
    }
    if (exit->reason == VMLIB_EXIT_INTERRUPT_WINDOW) {
        exit->u.interrupt.vector = 0x20;
        OK(vmlib_lockstep_intr(l, 0));
        return VMLIB_HANDLED;
    }
    return user && p->device.ended ? VMLIB_STOP : rc;
}

static struct maker load(struct pair *p, int bug)
{
    struct maker m;
    int (*set)(int);

    p->library = dlopen(wrong_library, RTLD_NOW | RTLD_LOCAL);
    if (!p->library)
        fail_msg("%s", dlerror());
    *(void **)&set = dlsym(p->library, "vmlib_wrong_set");
    *(void **)&m.vm = dlsym(p->library, "vmlib_vm_create");
    *(void **)&m.region = dlsym(p->library, "vmlib_region_create");
    *(void **)&m.vcpu = dlsym(p->library, "vmlib_vcpu_create");
    assert_true(set && m.vm && m.region && m.vcpu);
    assert_int_equal(set(bug), 0);
    return m;
}

static struct vmlib_lockstep_config open_pair(struct pair *p, int bug, uint32_t rounds,
                                              struct vmlib_lockstep_region *region)
{
    struct vmlib_lockstep_config config = VMLIB_LOCKSTEP_CONFIG_INIT;
    struct maker second = plain;

    memset(p, 0, sizeof(*p));
    if (bug >= 0)
        second = load(p, bug);
    world_open(&p->side[0], &plain, VMLIB_BACKEND_SOFT, NULL);
    world_open(&p->side[1], &second, backend, NULL);
    if (user)
        world_program3(&p->side[0], rounds);
    else
        world_program(&p->side[0], rounds);
    config.flags = VMLIB_LOCKSTEP_COPY;
    for (unsigned i = 0; i < 2; i++) {
        config.vcpu[i] = p->side[i].vcpu;
        region->region[i] = p->side[i].ram;
    }
    config.regions = 1;
    config.region = region;
    config.exit = answer;
    config.opaque = p;
    return config;
}

static void close_pair(struct pair *p)
{
    vmlib_lockstep_destroy(p->lockstep);
    world_close(&p->side[0]);
    world_close(&p->side[1]);
    if (p->library)
        dlclose(p->library);
}

static char *report(vmlib_lockstep *l)
{
    static char text[65536];
    uint64_t bytes = 10;

    assert_int_equal(vmlib_lockstep_report(l, text, &bytes), VMLIB_E_LIMIT);
    assert_in_range(bytes, 11, sizeof(text));
    assert_int_equal(strlen(text), 9);
    OK(vmlib_lockstep_report(l, text, &bytes));
    assert_int_equal(strlen(text) + 1, bytes);
    return text;
}

static uint32_t word(struct world *w, uint32_t gpa)
{
    uint32_t value = 0;

    OK(vmlib_vm_read(w->vm, gpa, &value, sizeof(value)));
    return value;
}

/* --- equal sides --- */

static void run_equal(uint32_t grain, uint32_t interval, uint64_t slice, uint32_t rounds)
{
    struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
    struct vmlib_lockstep_region region;
    struct pair p;
    struct vmlib_lockstep_config config = open_pair(&p, -1, rounds, &region);

    config.grain = grain;
    config.interval = interval;
    config.slice = slice;
    OK(vmlib_lockstep_create(&config, &p.lockstep));
    OK(vmlib_lockstep_run(p.lockstep, 0, &r));
    if (r.differences)
        fail_msg("%s", report(p.lockstep));
    assert_int_equal(r.end, VMLIB_LOCKSTEP_HALTED);
    assert_true(p.device.ended);
    assert_int_equal(r.records, p.device.records);
    if (grain == VMLIB_LOCKSTEP_EXIT) /* some wait for the next record */
        assert_true(r.comparisons > r.records / interval / 2);
    else
        assert_true(r.comparisons >= r.instructions[0]);
    assert_int_equal(r.instructions[0], r.instructions[1]);
    assert_int_equal(word(&p.side[0], DATA + 0x80), 2 * rounds); /* faults */
    assert_int_equal(word(&p.side[1], DATA + 0x8c), rounds / 8); /* interrupts */
    close_pair(&p);
}

static void equal_exits(void **state)
{
    (void)state;
    run_equal(VMLIB_LOCKSTEP_EXIT, 1, 0, 40);
    run_equal(VMLIB_LOCKSTEP_EXIT, 16, 50, 40);
    run_equal(VMLIB_LOCKSTEP_EXIT, 1000, 100000, 200);
}

static void equal_instructions(void **state)
{
    (void)state;
    run_equal(VMLIB_LOCKSTEP_INSN, 16, 0, 16);
}

/* A limit returns in between; the next run goes on. */
static void limits(void **state)
{
    struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
    struct vmlib_lockstep_region region;
    struct pair p;
    struct vmlib_lockstep_config config = open_pair(&p, -1, 16, &region);
    uint64_t runs = 0;

    (void)state;
    OK(vmlib_lockstep_create(&config, &p.lockstep));
    do {
        OK(vmlib_lockstep_run(p.lockstep, 7, &r));
        runs++;
    } while (r.end == VMLIB_LOCKSTEP_LIMIT);
    assert_int_equal(r.end, VMLIB_LOCKSTEP_HALTED);
    assert_int_equal(r.records, p.device.records);
    assert_in_range(runs, r.records / 7, r.records / 7 + 1);
    close_pair(&p);
}

/* Stopped at every record and meanwhile, it loses nothing. */
static int answer_and_stop(void *opaque, vmlib_lockstep *l, struct vmlib_exit *exit)
{
    int rc = answer(opaque, l, exit);

    OK(vmlib_lockstep_stop(l));
    return rc;
}

static void *keep_stopping(void *opaque)
{
    struct pair *p = opaque;

    while (!atomic_load(&p->done))
        OK(vmlib_lockstep_stop(p->lockstep));
    return NULL;
}

static void run_stopped(uint32_t grain, uint64_t slice, bool thread)
{
    struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
    struct vmlib_lockstep_region region;
    struct pair p;
    struct vmlib_lockstep_config config = open_pair(&p, -1, 16, &region);
    uint64_t stops = 0;
    pthread_t other;

    config.grain = grain;
    config.slice = slice;
    config.exit = thread ? answer : answer_and_stop;
    OK(vmlib_lockstep_create(&config, &p.lockstep));
    OK(vmlib_lockstep_stop(p.lockstep));
    OK(vmlib_lockstep_run(p.lockstep, 0, &r));
    assert_int_equal(r.end, VMLIB_LOCKSTEP_STOPPED);
    assert_int_equal(r.records, 0);
    OK(vmlib_vcpu_cancel(p.side[0].vcpu)); /* says nothing about the guest */
    if (thread)
        assert_int_equal(pthread_create(&other, NULL, keep_stopping, &p), 0);
    do {
        OK(vmlib_lockstep_run(p.lockstep, 0, &r));
        stops += r.end == VMLIB_LOCKSTEP_STOPPED;
        if (thread && stops == 1000) {
            atomic_store(&p.done, true);
            pthread_join(other, NULL);
        }
    } while (r.end == VMLIB_LOCKSTEP_STOPPED);
    if (r.differences)
        fail_msg("%s", report(p.lockstep));
    assert_int_equal(r.end, VMLIB_LOCKSTEP_HALTED);
    assert_int_equal(r.records, p.device.records);
    assert_int_equal(r.instructions[0], r.instructions[1]);
    if (!thread)
        assert_in_range(stops, r.records - 1, r.records);
    if (thread && stops < 1000) {
        atomic_store(&p.done, true);
        pthread_join(other, NULL);
    }
    close_pair(&p);
}

static void stops(void **state)
{
    (void)state;
    run_stopped(VMLIB_LOCKSTEP_EXIT, 50, false);
    run_stopped(VMLIB_LOCKSTEP_EXIT, 0, true);
    run_stopped(VMLIB_LOCKSTEP_EXIT, 50, true);
    run_stopped(VMLIB_LOCKSTEP_INSN, 50, true);
}

/* --- wrong instructions --- */

static const struct {
    const char *what, *text;
    uint8_t length, bytes[4];
    uint32_t kind;
    const char *name;
} bugs[] = {
    {"adc without carry",
     "memory at gpa 0x40004",
     2,
     {0x11, 0x1d},
     VMLIB_LOCKSTEP_MEMORY,
     "memory"},
    {"sar like shr", "gpr      rcx", 3, {0xc1, 0xf9, 0x02}, VMLIB_LOCKSTEP_REGISTER, "rcx"},
    {"stc like clc", "gpr      rflags", 1, {0xf9}, VMLIB_LOCKSTEP_REGISTER, "rflags"},
    {"movbe like mov",
     "memory at gpa 0x40018",
     3,
     {0x0f, 0x38, 0xf1},
     VMLIB_LOCKSTEP_MEMORY,
     "memory"},
    {"page fault's error code",
     "memory at gpa 0x2ff",
     2,
     {0x89, 0x1d},
     VMLIB_LOCKSTEP_MEMORY,
     "memory"},
};

static void find(int bug, uint32_t grain, uint32_t interval, uint64_t slice)
{
    struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
    struct vmlib_lockstep_difference d = VMLIB_LOCKSTEP_DIFFERENCE_INIT;
    struct vmlib_lockstep_region region;
    struct pair p;
    struct vmlib_lockstep_config config = open_pair(&p, bug, 16, &region);
    char *text;

    config.grain = grain;
    config.interval = interval;
    config.slice = slice;
    OK(vmlib_lockstep_create(&config, &p.lockstep));
    OK(vmlib_lockstep_run(p.lockstep, 0, &r));
    text = report(p.lockstep);
    printf("--- %s\n%s", bugs[bug - 1].what, text);
    assert_int_equal(r.end, VMLIB_LOCKSTEP_DIFFERENCE);
    assert_int_equal(r.located, 1);
    assert_true(r.insn.length >= bugs[bug - 1].length);
    assert_memory_equal(r.insn.bytes, bugs[bug - 1].bytes, bugs[bug - 1].length);
    OK(vmlib_lockstep_difference(p.lockstep, 0, &d));
    assert_int_equal(d.kind, bugs[bug - 1].kind);
    assert_string_equal(d.name, bugs[bug - 1].name);
    assert_non_null(strstr(text, bugs[bug - 1].text));
    assert_int_equal(vmlib_lockstep_difference(p.lockstep, r.differences, &d), VMLIB_E_NOTFOUND);
    assert_int_equal(vmlib_lockstep_run(p.lockstep, 0, &r), VMLIB_E_STATE);
    close_pair(&p);
}

static void find_each(void **state)
{
    (void)state;
    for (int bug = 1; bug <= 5; bug++) {
        find(bug, VMLIB_LOCKSTEP_EXIT, 16, 100000);
        find(bug, VMLIB_LOCKSTEP_EXIT, 1, 0);
        find(bug, VMLIB_LOCKSTEP_EXIT, 1000, 30);
        find(bug, VMLIB_LOCKSTEP_INSN, 16, 0);
    }
}

/* The copy without a bug is equal. */
static void sound_copy(void **state)
{
    struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
    struct vmlib_lockstep_region region;
    struct pair p;
    struct vmlib_lockstep_config config;

    (void)state;
    memset(&p, 0, sizeof(p));
    p.library = dlopen(wrong_library, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(p.library);
    dlclose(p.library);
    config = open_pair(&p, -1, 8, &region);
    OK(vmlib_lockstep_create(&config, &p.lockstep));
    OK(vmlib_lockstep_run(p.lockstep, 0, &r));
    assert_int_equal(r.end, VMLIB_LOCKSTEP_HALTED);
    close_pair(&p);
}

/* --- sides with devices of their own --- */

static int own(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)vcpu;
    return device_answer(opaque, exit);
}

static void own_devices(struct pair *p, struct device device[2])
{
    for (unsigned i = 0; i < 2; i++) {
        struct vmlib_handler_config h = VMLIB_HANDLER_CONFIG_INIT;

        memset(&device[i], 0, sizeof(device[i]));
        h.fn = own;
        h.opaque = &device[i];
        h.last = UINT16_MAX;
        OK(vmlib_handler_add(p->side[i].vm, &h, NULL));
        h.kind = VMLIB_HANDLER_MMIO;
        h.last = UINT32_MAX;
        OK(vmlib_handler_add(p->side[i].vm, &h, NULL));
    }
}

static void find_with_own_devices(void **state)
{
    (void)state;
    for (int bug = 1; bug <= 5; bug++)
        for (uint64_t slice = 1; slice <= 100; slice *= 100) {
            struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
            struct vmlib_lockstep_region region;
            struct device device[2];
            struct pair p;
            struct vmlib_lockstep_config config = open_pair(&p, bug, 15, &region);

            own_devices(&p, device);
            config.flags |= VMLIB_LOCKSTEP_OWN_DEVICES;
            config.slice = slice;
            OK(vmlib_lockstep_create(&config, &p.lockstep));
            OK(vmlib_lockstep_run(p.lockstep, 0, &r));
            assert_int_equal(r.end, VMLIB_LOCKSTEP_DIFFERENCE);
            assert_int_equal(r.located, slice == 1);
            if (slice == 1)
                assert_memory_equal(r.insn.bytes, bugs[bug - 1].bytes, bugs[bug - 1].length);
            else
                assert_non_null(strstr(report(p.lockstep), "devices cannot go back"));
            assert_in_range(r.instructions[0] - r.equal_at, 1, slice);
            close_pair(&p);
        }
}

/* --- excuses --- */

static void carry_of_stc(void *opaque, const struct vmlib_lockstep_insn *insn,
                         struct vmlib_lockstep_mask *mask)
{
    (void)opaque;
    assert_true(insn->before || insn->length == 0);
    if (insn->bytes[0] == 0xf9)
        mask->rflags |= 1;
}

/* What is excused is taken over from side 0: nothing follows from it. */
static void excused(void **state)
{
    (void)state;
    for (uint32_t grain = VMLIB_LOCKSTEP_EXIT; grain <= VMLIB_LOCKSTEP_INSN; grain++) {
        struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
        struct vmlib_lockstep_region region;
        struct pair p;
        struct vmlib_lockstep_config config = open_pair(&p, 3, 8, &region);

        config.grain = grain;
        config.mask = carry_of_stc;
        OK(vmlib_lockstep_create(&config, &p.lockstep));
        OK(vmlib_lockstep_run(p.lockstep, 0, &r));
        if (r.differences)
            fail_msg("%s", report(p.lockstep));
        assert_int_equal(r.end, VMLIB_LOCKSTEP_HALTED);
        assert_int_equal(r.excused, 8);
        assert_int_equal(word(&p.side[0], DATA + 0x8c), word(&p.side[1], DATA + 0x8c));
        close_pair(&p);
    }
}

/* --- differences that no instruction made --- */

static void meddled(void **state)
{
    struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
    struct vmlib_lockstep_difference d = VMLIB_LOCKSTEP_DIFFERENCE_INIT;
    struct vmlib_lockstep_region region;
    struct pair p;
    struct vmlib_lockstep_config config = open_pair(&p, -1, 16, &region);
    uint8_t byte = 0x5a;

    (void)state;
    OK(vmlib_lockstep_create(&config, &p.lockstep));
    OK(vmlib_lockstep_run(p.lockstep, 40, &r));
    assert_int_equal(r.end, VMLIB_LOCKSTEP_LIMIT);
    OK(vmlib_vm_write(p.side[1].vm, 0x77123, &byte, 1));
    OK(vmlib_lockstep_run(p.lockstep, 0, &r));
    assert_int_equal(r.end, VMLIB_LOCKSTEP_DIFFERENCE);
    assert_int_equal(r.located, 0);
    OK(vmlib_lockstep_difference(p.lockstep, 0, &d));
    assert_int_equal(d.kind, VMLIB_LOCKSTEP_MEMORY);
    assert_int_equal(d.gpa, 0x77123);
    assert_int_equal(d.bytes, 1);
    assert_int_equal(d.value[1], 0x5a);
    assert_non_null(strstr(report(p.lockstep), "does not appear in single steps"));
    close_pair(&p);
}

/* A value that differs shows in its record, long before state and memory are compared. */
static void written_values(void **state)
{
    static const uint8_t code[] = {0xa0, 0, 0, 4, 0, 0xe6, 0x10, 0xeb, 0xf7}; /* DATA to port 10 */
    struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
    struct vmlib_lockstep_difference d = VMLIB_LOCKSTEP_DIFFERENCE_INIT;
    struct vmlib_lockstep_region region;
    struct pair p;
    struct vmlib_lockstep_config config = open_pair(&p, -1, 0x11, &region);
    uint8_t byte = 0x5a;

    (void)state;
    OK(vmlib_vm_write(p.side[0].vm, CODE, code, sizeof(code)));
    config.interval = 1000;
    config.slice = 0;
    OK(vmlib_lockstep_create(&config, &p.lockstep));
    OK(vmlib_lockstep_run(p.lockstep, 4, &r));
    OK(vmlib_vm_write(p.side[1].vm, DATA, &byte, 1));
    OK(vmlib_lockstep_run(p.lockstep, 1, &r));
    assert_int_equal(r.end, VMLIB_LOCKSTEP_DIFFERENCE);
    OK(vmlib_lockstep_difference(p.lockstep, 0, &d));
    assert_int_equal(d.kind, VMLIB_LOCKSTEP_RECORD);
    assert_string_equal(d.name, "record.value");
    assert_int_equal(d.value[0], 0x11);
    assert_int_equal(d.value[1], 0x5a);
    close_pair(&p);
}

/* Inputs between runs belong to both sides, also when a stretch is repeated. */
static void inputs(void **state)
{
    struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
    struct vmlib_lockstep_region region;
    struct pair p;
    struct vmlib_lockstep_config config = open_pair(&p, 2, 16, &region);
    uint32_t value = 0x12345678;

    (void)state;
    OK(vmlib_lockstep_create(&config, &p.lockstep));
    OK(vmlib_lockstep_write(p.lockstep, DATA + 0x500, &value, sizeof(value)));
    OK(vmlib_lockstep_run(p.lockstep, 0, &r));
    assert_int_equal(r.located, 1);
    assert_int_equal(word(&p.side[0], DATA + 0x500), value);
    assert_int_equal(word(&p.side[1], DATA + 0x500), value);
    close_pair(&p);
}

static void wrong_use(void **state)
{
    struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
    struct vmlib_lockstep_region region;
    struct pair p;
    struct vmlib_lockstep_config config = open_pair(&p, -1, 1, &region), c;
    vmlib_lockstep *l = NULL;
    uint64_t bytes = 0;

    (void)state;
    assert_int_equal(vmlib_lockstep_create(NULL, &l), VMLIB_E_INVAL);
    assert_int_equal(vmlib_lockstep_create(&config, NULL), VMLIB_E_INVAL);
#define BAD(member, value) \
    c = config;            \
    c.member = value;      \
    assert_int_equal(vmlib_lockstep_create(&c, &l), VMLIB_E_INVAL)
    BAD(size, 8);
    BAD(grain, 2);
    BAD(flags, 0x80);
    BAD(interval, 0);
    BAD(history, 257);
    BAD(regions, VMLIB_LOCKSTEP_REGIONS + 1);
    BAD(region, NULL);
    BAD(vcpu[1], NULL);
    BAD(vcpu[1], config.vcpu[0]);
    region.region[1] = NULL;
    assert_int_equal(vmlib_lockstep_create(&config, &l), VMLIB_E_INVAL);
    assert_null(l);
    assert_int_equal(vmlib_lockstep_run(NULL, 0, &r), VMLIB_E_INVAL);
    assert_int_equal(vmlib_lockstep_report(NULL, NULL, &bytes), VMLIB_E_INVAL);
    assert_int_equal(vmlib_lockstep_intr(NULL, 0), VMLIB_E_INVAL);
    assert_int_equal(vmlib_lockstep_nmi(NULL), VMLIB_E_INVAL);
    assert_int_equal(vmlib_lockstep_write(NULL, 0, &r, 1), VMLIB_E_INVAL);
    vmlib_lockstep_destroy(NULL);
    close_pair(&p);
}

/* Both sides run away in the same way: nobody differs, and the call ends. */
static void stuck(void **state)
{
    struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
    struct vmlib_lockstep_region region;
    struct pair p;
    struct vmlib_lockstep_config config = open_pair(&p, -1, 1, &region);

    (void)state;
    OK(vmlib_vm_write(p.side[0].vm, CODE, "\xeb\xfe", 2)); /* JMP to itself */
    config.deadline_ns = 20000000;
    config.slice = 0;
    OK(vmlib_lockstep_create(&config, &p.lockstep));
    OK(vmlib_lockstep_run(p.lockstep, 0, &r));
    assert_int_equal(r.end, VMLIB_LOCKSTEP_STUCK);
    assert_int_equal(r.differences, 0);
    close_pair(&p);
}

/* --- user code, on two kinds of engine --- */

/* A KVM without hardware support shows IOPL 0 to user code. */
static void without_iopl(void *opaque, const struct vmlib_lockstep_insn *insn,
                         struct vmlib_lockstep_mask *mask)
{
    (void)opaque;
    (void)insn;
    mask->rflags |= 0x3000;
}

static void user_code(void **state)
{
    (void)state;
    for (uint32_t grain = VMLIB_LOCKSTEP_EXIT; grain <= VMLIB_LOCKSTEP_INSN; grain++) {
        struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
        struct vmlib_lockstep_region region;
        struct pair p;
        struct vmlib_lockstep_config config = open_pair(&p, -1, 30, &region);

        config.grain = grain;
        config.mask = without_iopl;
        OK(vmlib_lockstep_create(&config, &p.lockstep));
        OK(vmlib_lockstep_run(p.lockstep, 0, &r));
        if (r.differences)
            fail_msg("%s", report(p.lockstep));
        assert_int_equal(r.end, VMLIB_LOCKSTEP_STOPPED);
        assert_true(p.device.ended);
        assert_int_equal(r.records, 7 * 30 + 1);
        close_pair(&p);
    }
}

/* The other engine has the bug found out: here it is side 0 that is wrong. */
static void user_bug(void **state)
{
    static const uint8_t adc[] = {0x48, 0x11, 0x1c, 0x25};
    struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
    struct vmlib_lockstep_region region;
    struct vmlib_lockstep_config config;
    struct maker wrong;
    struct pair p;

    (void)state;
    config = open_pair(&p, -1, 30, &region);
    world_close(&p.side[0]);
    wrong = load(&p, 1);
    world_open(&p.side[0], &wrong, VMLIB_BACKEND_SOFT, NULL);
    world_program3(&p.side[0], 30);
    config.vcpu[0] = p.side[0].vcpu;
    region.region[0] = p.side[0].ram;
    config.mask = without_iopl;
    OK(vmlib_lockstep_create(&config, &p.lockstep));
    OK(vmlib_lockstep_run(p.lockstep, 0, &r));
    printf("%s", report(p.lockstep));
    assert_int_equal(r.end, VMLIB_LOCKSTEP_DIFFERENCE);
    assert_int_equal(r.located, 1);
    assert_memory_equal(r.insn.bytes, adc, sizeof(adc));
    close_pair(&p);
}

static int run_user(const char *name)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(user_code), cmocka_unit_test(user_bug)};
    struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;

    if (vmlib_backend_by_name(name, &backend) != 0) {
        printf("SKIP: backend %s is not part of this build\n", name);
        return 77;
    }
    OK(vmlib_backend_query(backend, &info));
    if (!info.available) {
        printf("SKIP: backend %s: %s\n", name, info.reason);
        return 77;
    }
    user = true;
    return _cmocka_run_group_tests(name, tests, sizeof(tests) / sizeof(tests[0]), NULL, NULL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_exits),    cmocka_unit_test(equal_instructions),
        cmocka_unit_test(limits),         cmocka_unit_test(stuck),
        cmocka_unit_test(stops),          cmocka_unit_test(find_with_own_devices),
        cmocka_unit_test(find_each),      cmocka_unit_test(sound_copy),
        cmocka_unit_test(excused),        cmocka_unit_test(meddled),
        cmocka_unit_test(written_values), cmocka_unit_test(inputs),
        cmocka_unit_test(wrong_use),
    };

    if (argc < 2) {
        printf("SKIP: no library to compare with\n");
        return 77;
    }
    wrong_library = argv[1];
    if (argc > 2)
        return run_user(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
