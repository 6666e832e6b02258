/*
 * Hand-off: a guest that hops between two VMs ends with the memory, the device accesses and the
 * number of instructions of one that stays. Arguments: the two backends, by default soft and soft.
 */
#include <vmlib/handoff.h>

#include "world.h"

static uint32_t backends[2] = {VMLIB_BACKEND_SOFT, VMLIB_BACKEND_SOFT};

/* What both can. `all`: also the guest in ring 0, which a KVM without hardware does not execute. */
static bool all = true, counting = true, budgets = true;

enum when {
    EVERY,   /* n-th record */
    RANDOM,  /* record, 1 to n apart */
    BUDGETS, /* after 1 to n instructions, too */
    CANCELS  /* at a cancel, too */
};

struct plan {
    enum when when;
    unsigned n;
    bool shared;   /* memory */
    bool handlers; /* answer inside run; every fifth answer is STOP */
    bool user;     /* program3.S; true for all where a side is not exact in ring 0 */
    bool repeat;   /* give records up that wait for completion, where it is their first access */
};

struct trip {
    struct world side[2];
    unsigned at;
    struct plan plan;
    struct device device;
    uint64_t instructions, hops, repeats, answers, random;
    uint64_t last_rip; /* of the last access */
    bool level, ended;
};

static uint64_t draw(struct trip *t, uint64_t n)
{
    t->random = t->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (t->random >> 33) % n;
}

static uint64_t memory_hash(struct world *w)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    void *host = NULL;

    OK(vmlib_region_host(w->ram, &host));
    for (uint32_t i = 0; i < MEMORY; i += 8) {
        uint64_t v;

        memcpy(&v, (uint8_t *)host + i, 8);
        hash = (hash ^ v) * UINT64_C(0x100000001b3);
        hash ^= hash >> 31;
    }
    return hash;
}

static int in_run(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct trip *t = opaque;

    assert_ptr_equal(vcpu, t->side[t->at].vcpu);
    device_answer(&t->device, exit);
    if (t->plan.user && t->device.ended)
        return VMLIB_STOP;
    return ++t->answers % 5 == 0 ? VMLIB_STOP : VMLIB_HANDLED;
}

static void add_handlers(struct trip *t, struct world *w)
{
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;

    config.fn = in_run;
    config.opaque = t;
    config.kind = VMLIB_HANDLER_PIO;
    config.last = UINT16_MAX;
    OK(vmlib_handler_add(w->vm, &config, NULL));
    config.kind = VMLIB_HANDLER_MMIO;
    config.last = UINT32_MAX;
    OK(vmlib_handler_add(w->vm, &config, NULL));
}

static void interrupt(struct trip *t, const struct vmlib_exit *e)
{
    vmlib_vcpu *vcpu = t->side[t->at].vcpu;
    struct vmlib_event event = {.type = VMLIB_EVENT_INTERRUPT, .vector = 0x20};

    if (e->reason == VMLIB_EXIT_INTERRUPT_WINDOW) {
        OK(vmlib_vcpu_set_intr(vcpu, 0));
        OK(vmlib_vcpu_inject(vcpu, &event));
        t->level = false;
    } else if (t->device.ended) {
        t->ended = true;
    } else {
        OK(vmlib_vcpu_set_intr(vcpu, 1));
        t->level = true;
    }
}

static void complete(struct trip *t, struct vmlib_exit *e)
{
    vmlib_vcpu *vcpu = t->side[t->at].vcpu;

    device_answer(&t->device, e);
    t->ended |= t->plan.user && t->device.ended;
    if (!(e->flags & VMLIB_EXIT_F_PENDING))
        return;
    if (e->reason == VMLIB_EXIT_PIO)
        OK(vmlib_vcpu_complete(vcpu, &e->u.pio.value, e->u.pio.width));
    else
        OK(vmlib_vcpu_complete(vcpu, &e->u.mmio.value, e->u.mmio.width));
}

static void deal_with(struct trip *t, struct vmlib_exit *e)
{
    switch (e->reason) {
    case VMLIB_EXIT_PIO:
    case VMLIB_EXIT_MMIO:
        t->last_rip = e->rip;
        complete(t, e);
        break;
    case VMLIB_EXIT_HLT:
    case VMLIB_EXIT_INTERRUPT_WINDOW:
        interrupt(t, e);
        break;
    case VMLIB_EXIT_BUDGET:
    case VMLIB_EXIT_CANCELLED:
    case VMLIB_EXIT_STOPPED:
        t->ended |= t->plan.user && t->device.ended;
        break;
    default:
        fail_msg("exit %s at %#llx", vmlib_exit_name(e->reason), (unsigned long long)e->rip);
    }
}

/* Move the guest; its last records come first. */
static void hop(struct trip *t, uint32_t flags)
{
    struct world *from = &t->side[t->at], *to = &t->side[!t->at];
    struct vmlib_exit e = VMLIB_EXIT_INIT;

    for (;;) {
        OK(vmlib_handoff_vcpu(from->vcpu, to->vcpu, flags, &e));
        t->instructions += e.instructions;
        if (e.reason == VMLIB_EXIT_STOPPED)
            deal_with(t, &e);
        if (e.reason == VMLIB_EXIT_NONE || e.reason == VMLIB_EXIT_STOPPED)
            break;
        deal_with(t, &e);
    }
    OK(vmlib_handoff_memory(from->ram, to->ram));
    t->at = !t->at;
    t->hops++;
}

static void run_one(struct trip *t, struct vmlib_exit *e)
{
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;

    args.deadline_ns = UINT64_C(20000000000);
    if (t->plan.when == BUDGETS)
        args.budget = 1 + draw(t, t->plan.n);
    if (t->plan.when == CANCELS && draw(t, 3) == 0)
        OK(vmlib_vcpu_cancel(t->side[t->at].vcpu));
    OK(vmlib_vcpu_run(t->side[t->at].vcpu, &args, e));
    t->instructions += e->instructions;
}

/* A record that waits is given up and has to come again, the same one. */
static void repeat(struct trip *t, struct vmlib_exit *e)
{
    struct vmlib_exit again = VMLIB_EXIT_INIT;

    hop(t, VMLIB_HANDOFF_REPEAT);
    do {
        run_one(t, &again);
    } while (again.reason == VMLIB_EXIT_CANCELLED);
    assert_int_equal(again.reason, e->reason);
    assert_int_equal(again.flags & VMLIB_EXIT_F_PENDING, VMLIB_EXIT_F_PENDING);
    assert_int_equal(again.rip, e->rip);
    assert_true(!counting || again.instructions == 0);
    assert_int_equal(again.insn_len, e->insn_len);
    assert_memory_equal(again.insn, e->insn, 16);
    if (e->reason == VMLIB_EXIT_PIO)
        assert_memory_equal(&again.u.pio, &e->u.pio, sizeof(e->u.pio));
    else
        assert_memory_equal(&again.u.mmio, &e->u.mmio, sizeof(e->u.mmio));
    t->repeats++;
    *e = again;
}

static void travel(struct trip *t)
{
    uint64_t left = t->plan.n;

    while (!t->ended) {
        struct vmlib_exit e = VMLIB_EXIT_INIT;
        bool now;

        run_one(t, &e);
        now = t->plan.n && --left == 0;
        if (now && t->plan.repeat && e.flags & VMLIB_EXIT_F_PENDING && e.rip != t->last_rip)
            repeat(t, &e);
        deal_with(t, &e);
        if (now)
            hop(t, 0);
        if (now)
            left = t->plan.when == EVERY ? t->plan.n : 1 + draw(t, t->plan.n);
    }
}

static void start(struct trip *t, struct plan plan, uint32_t rounds)
{
    void *host = NULL;

    memset(t, 0, sizeof(*t));
    t->plan = plan;
    t->random = plan.n + 1;
    world_open(&t->side[0], &plain, backends[0], NULL);
    if (plan.shared)
        OK(vmlib_region_host(t->side[0].ram, &host));
    world_open(&t->side[1], &plain, backends[1], host);
    if (plan.handlers)
        for (unsigned i = 0; i < 2; i++)
            add_handlers(t, &t->side[i]);
    if (plan.user)
        world_program3(&t->side[0], rounds);
    else
        world_program(&t->side[0], rounds);
}

static void finish(struct trip *t)
{
    world_close(&t->side[1]); /* may use the memory of the other */
    world_close(&t->side[0]);
}

static void compare(struct plan plan, uint32_t rounds)
{
    struct plan stay = {EVERY, 0, false, plan.handlers, plan.user, false};
    struct trip a, b;

    start(&a, stay, rounds);
    travel(&a);
    start(&b, plan, rounds);
    travel(&b);
    assert_int_equal(a.hops, 0);
    assert_true(b.hops > rounds / 2);
    assert_true(!plan.repeat || b.repeats > 3);
    assert_int_equal(b.device.records, a.device.records);
    assert_true(b.device.hash == a.device.hash);
    assert_true(memory_hash(&b.side[b.at]) == memory_hash(&a.side[0]));
    if (counting)
        assert_int_equal(b.instructions, a.instructions);
    finish(&a);
    finish(&b);
}

static void every(void **state)
{
    static const unsigned n[] = {1, 2, 3, 5, 11, 31};

    (void)state;
    for (unsigned i = 0; i < sizeof(n) / sizeof(n[0]); i++) {
        compare((struct plan){EVERY, n[i], true, false, false, false}, 40);
        compare((struct plan){EVERY, n[i], false, false, false, false}, 40);
    }
}

static void at_random(void **state)
{
    (void)state;
    for (unsigned n = 2; n < 12; n++)
        compare((struct plan){RANDOM, n, n & 1, false, false, n & 2}, 40);
}

static void at_reads(void **state)
{
    (void)state;
    compare((struct plan){EVERY, 1, true, false, false, true}, 40);
    compare((struct plan){EVERY, 2, false, false, false, true}, 40);
}

static void at_budgets(void **state)
{
    (void)state;
    if (!budgets)
        skip();
    compare((struct plan){BUDGETS, 1, true, false, false, false}, 4);
    compare((struct plan){BUDGETS, 20, true, false, false, true}, 24);
    compare((struct plan){BUDGETS, 50, false, true, false, false}, 24);
}

static void at_cancels(void **state)
{
    (void)state;
    compare((struct plan){CANCELS, 3, true, false, false, true}, 40);
    compare((struct plan){CANCELS, 2, true, true, false, false}, 40);
}

/* User code: what every host's engine executes. */
static void user_code(void **state)
{
    (void)state;
    compare((struct plan){EVERY, 1, true, false, true, false}, 30);
    compare((struct plan){EVERY, 2, false, false, true, true}, 60);
    compare((struct plan){RANDOM, 5, true, false, true, true}, 120);
    compare((struct plan){CANCELS, 2, false, false, true, true}, 40);
    compare((struct plan){CANCELS, 1, true, true, true, false}, 40);
    compare((struct plan){RANDOM, 3, true, true, true, false}, 60);
    if (budgets)
        compare((struct plan){BUDGETS, 40, true, false, true, true}, 20);
}

static void with_handlers(void **state)
{
    (void)state;
    compare((struct plan){EVERY, 1, true, true, false, false}, 40);
    compare((struct plan){RANDOM, 4, false, true, false, false}, 40);
}

/* --- single states --- */

static struct vmlib_state read_state(vmlib_vcpu *vcpu)
{
    struct vmlib_state s;

    memset(&s, 0, sizeof(s));
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(vcpu, VMLIB_STATE_ALL, &s));
    return s;
}

static void same_state(const struct vmlib_state *a, const struct vmlib_state *b)
{
    struct vmlib_msrs ma = a->msrs, mb = b->msrs;

    assert_memory_equal(&a->gpr, &b->gpr, sizeof(a->gpr));
    assert_memory_equal(&a->segments, &b->segments, sizeof(a->segments));
    assert_memory_equal(&a->control, &b->control, sizeof(a->control));
    assert_memory_equal(&a->debug, &b->debug, sizeof(a->debug));
    ma.tsc = mb.tsc = ma.tsc_adjust = mb.tsc_adjust = 0;
    assert_memory_equal(&ma, &mb, sizeof(ma));
    assert_memory_equal(&a->events, &b->events, sizeof(a->events));
    assert_memory_equal(a->xsave.image, b->xsave.image, 512);
    assert_memory_equal(a->xsave.image + 576, b->xsave.image + 576, 256);
}

/* Does the CPU model have AVX (CPUID.1:ECX bit 28)? */
static bool has_avx(vmlib_vcpu *vcpu)
{
    struct vmlib_cpuid_leaf leaf[VMLIB_CPUID_MAX];
    uint32_t count = VMLIB_CPUID_MAX;
    bool yes = false;

    OK(vmlib_vcpu_get_cpuid(vcpu, leaf, &count));
    for (uint32_t n = 0; n < count; n++)
        yes |= leaf[n].leaf == 1 && leaf[n].ecx >> 28 & 1;
    return yes;
}

static struct vmlib_state fancy_state(struct trip *t)
{
    struct vmlib_state s = read_state(t->side[0].vcpu);
    bool avx = has_avx(t->side[0].vcpu) && has_avx(t->side[1].vcpu);
    uint64_t *gpr = &s.gpr.rax;

    for (unsigned i = 0; i < 16; i++)
        gpr[i] = UINT64_C(0x0101010101010101) * (i + 1);
    s.control.cr4 |= 0x40600; /* OSXSAVE, so that XCR0 has all components */
    s.control.xcr0 = avx ? 7 : 3;
    s.msrs.star = UINT64_C(0x0010000800000000);
    s.msrs.lstar = 0x12345;
    s.msrs.sysenter_eip = 0x777;
    s.msrs.kernel_gs_base = 0x1000;
    s.msrs.pat = UINT64_C(0x0007040600070406);
    s.debug.dr[0] = 0x4000;
    s.xsave.features = s.control.xcr0;
    s.xsave.image[0] = 0x7f;
    s.xsave.image[1] = 0x02;
    for (unsigned i = 160; i < 416; i++)
        s.xsave.image[i] = (uint8_t)i;
    for (unsigned i = 576; avx && i < 832; i++)
        s.xsave.image[i] = (uint8_t)(3 * i);
    return s;
}

static void events(void **state)
{
    static const uint32_t flags[] = {
        0,
        VMLIB_EVENTS_SHADOW_STI,
        VMLIB_EVENTS_SHADOW_MOVSS,
        VMLIB_EVENTS_NMI_BLOCKED,
        VMLIB_EVENTS_NMI_PENDING,
        VMLIB_EVENTS_NMI_PENDING | VMLIB_EVENTS_NMI_BLOCKED,
        VMLIB_EVENTS_HALTED,
        VMLIB_EVENTS_WAIT_SIPI,
        VMLIB_EVENTS_WAIT_SIPI | VMLIB_EVENTS_SIPI_PENDING,
        VMLIB_EVENTS_SHUTDOWN,
        VMLIB_EVENTS_INIT_PENDING,
        VMLIB_EVENTS_INTR,
        VMLIB_EVENTS_INTR | VMLIB_EVENTS_HALTED,
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        struct vmlib_exit e = VMLIB_EXIT_INIT;
        struct vmlib_state before, after, left;
        struct trip t;

        start(&t, (struct plan){EVERY, 0, true, false, false, false}, 1);
        before = fancy_state(&t);
        before.events.flags = flags[i];
        before.events.sipi_vector = flags[i] & VMLIB_EVENTS_SIPI_PENDING ? 0x9f : 0;
        if (flags[i] == 0 || flags[i] == VMLIB_EVENTS_HALTED) {
            before.events.injected.type = VMLIB_EVENT_EXCEPTION;
            before.events.injected.vector = 13;
            before.events.injected.flags = VMLIB_EVENT_HAS_ERROR;
            before.events.injected.error_code = 0x18;
        }
        OK(vmlib_vcpu_set_state(t.side[0].vcpu, VMLIB_STATE_ALL, &before));
        before = read_state(t.side[0].vcpu);
        OK(vmlib_handoff_vcpu(t.side[0].vcpu, t.side[1].vcpu, 0, &e));
        assert_int_equal(e.reason, VMLIB_EXIT_NONE);
        after = read_state(t.side[1].vcpu);
        same_state(&before, &after);
        left = read_state(t.side[0].vcpu);
        assert_int_equal(left.events.flags, VMLIB_EVENTS_HALTED);
        assert_int_equal(left.events.injected.type, VMLIB_EVENT_NONE);
        OK(vmlib_handoff_vcpu(t.side[1].vcpu, t.side[0].vcpu, 0, &e));
        after = read_state(t.side[0].vcpu);
        same_state(&before, &after);
        finish(&t);
    }
}

/* A requested interrupt window goes along. */
static void window(void **state)
{
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    struct trip t;

    (void)state;
    start(&t, (struct plan){EVERY, 0, true, false, false, false}, 8);
    OK(vmlib_vcpu_request_interrupt_window(t.side[0].vcpu, 1));
    OK(vmlib_handoff_vcpu(t.side[0].vcpu, t.side[1].vcpu, 0, &e));
    assert_int_equal(e.reason, VMLIB_EXIT_NONE);
    t.at = 1;
    for (bool seen = false; !t.ended;) {
        run_one(&t, &e);
        if (e.reason == VMLIB_EXIT_INTERRUPT_WINDOW && e.u.interrupt.requested) {
            assert_false(seen);
            seen = true;
            continue;
        }
        deal_with(&t, &e);
        assert_true(seen || !t.ended);
    }
    finish(&t);
}

static void refused(void **state)
{
    struct vmlib_exit e = VMLIB_EXIT_INIT, wrong = VMLIB_EXIT_INIT;
    struct trip t;

    (void)state;
    start(&t, (struct plan){EVERY, 0, false, false, !all, false}, 1);
    wrong.size = 8;
    assert_int_equal(vmlib_handoff_vcpu(NULL, t.side[1].vcpu, 0, &e), VMLIB_E_INVAL);
    assert_int_equal(vmlib_handoff_vcpu(t.side[0].vcpu, NULL, 0, &e), VMLIB_E_INVAL);
    assert_int_equal(vmlib_handoff_vcpu(t.side[0].vcpu, t.side[1].vcpu, 0, NULL), VMLIB_E_INVAL);
    assert_int_equal(vmlib_handoff_vcpu(t.side[0].vcpu, t.side[1].vcpu, 2, &e), VMLIB_E_INVAL);
    assert_int_equal(vmlib_handoff_vcpu(t.side[0].vcpu, t.side[1].vcpu, 0, &wrong), VMLIB_E_INVAL);
    assert_int_equal(vmlib_handoff_vcpu(t.side[0].vcpu, t.side[0].vcpu, 0, &e), VMLIB_E_INVAL);
    assert_int_equal(vmlib_handoff_memory(t.side[0].ram, NULL), VMLIB_E_INVAL);
    assert_int_equal(vmlib_handoff_share(t.side[0].ram, t.side[1].vm, 7, 0, NULL), VMLIB_E_INVAL);
    do {
        OK(vmlib_vcpu_run(t.side[0].vcpu, NULL, &e));
    } while (!(e.flags & VMLIB_EXIT_F_PENDING));
    /* Completed first, or given up; neither changes what the source does otherwise. */
    assert_int_equal(vmlib_handoff_vcpu(t.side[0].vcpu, t.side[1].vcpu, 0, &wrong), VMLIB_E_INVAL);
    assert_int_equal(vmlib_handoff_vcpu(t.side[0].vcpu, t.side[1].vcpu, 0, &e), VMLIB_E_STATE);
    assert_int_equal(vmlib_handoff_vcpu(t.side[1].vcpu, t.side[0].vcpu, 0, &e), VMLIB_E_STATE);
    deal_with(&t, &e);
    travel(&t);
    finish(&t);
}

/* Without a log any page may have been written: all go over, each time. */
static void without_log(void **state)
{
    struct vmlib_region_config c = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *r[2];
    struct world w[2];

    (void)state;
    c.gpa = 0x1000000;
    c.bytes = 0x5000;
    for (unsigned i = 0; i < 2; i++) {
        world_open(&w[i], &plain, VMLIB_BACKEND_SOFT, NULL);
        OK(vmlib_region_create(w[i].vm, &c, &r[i]));
    }
    for (uint32_t round = 1; round < 3; round++) {
        uint32_t value = 0x1111 * round;

        OK(vmlib_vm_write(w[0].vm, c.gpa + 0x4ffc, &value, 4));
        OK(vmlib_handoff_memory(r[0], r[1]));
        value = 0;
        OK(vmlib_vm_read(w[1].vm, c.gpa + 0x4ffc, &value, 4));
        assert_int_equal(value, 0x1111 * round);
    }
    for (unsigned i = 0; i < 2; i++) {
        vmlib_region_unref(r[i]);
        world_close(&w[i]);
    }
}

/* A shared region, by the call that makes one. */
static void share(void **state)
{
    struct world a, b;
    vmlib_region *shared = NULL;
    uint32_t value = 0;

    (void)state;
    world_open(&a, &plain, backends[0], NULL);
    world_program(&a, 77);
    world_open(&b, &plain, backends[1], NULL);
    assert_int_equal(vmlib_handoff_share(a.ram, b.vm, 7, 0, &shared), VMLIB_E_EXISTS);
    OK(vmlib_region_remove(b.ram));
    OK(vmlib_handoff_share(a.ram, b.vm, VMLIB_PROT_RWX, VMLIB_REGION_DIRTY_LOG, &shared));
    OK(vmlib_vm_read(b.vm, DATA, &value, sizeof(value)));
    assert_int_equal(value, 77);
    vmlib_region_unref(shared);
    world_close(&b);
    world_close(&a);
}

static bool usable(int argc, char **argv)
{
    for (int i = 1; i < argc && i < 3; i++) {
        struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;

        if (vmlib_backend_by_name(argv[i], &backends[i - 1]) != 0) {
            printf("SKIP: backend %s is not part of this build\n", argv[i]);
            return false;
        }
        OK(vmlib_backend_query(backends[i - 1], &info));
        if (!info.available) {
            printf("SKIP: backend %s: %s\n", argv[i], info.reason);
            return false;
        }
    }
    all = (backends[0] == VMLIB_BACKEND_SOFT && backends[1] == VMLIB_BACKEND_SOFT) ||
          (argc > 3 && strcmp(argv[3], "all") == 0);
    for (unsigned i = 0; i < 2; i++) {
        uint32_t support = VMLIB_SUPPORT_REFUSED;

        OK(vmlib_backend_feature(backends[i], VMLIB_FEATURE_INSN_COUNT, &support));
        counting &= support >= VMLIB_SUPPORT_EMULATED;
        OK(vmlib_backend_feature(backends[i], VMLIB_FEATURE_BUDGET, &support));
        budgets &= support >= VMLIB_SUPPORT_EMULATED;
    }
    return true;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest anywhere[] = {
        cmocka_unit_test(user_code), cmocka_unit_test(events),      cmocka_unit_test(refused),
        cmocka_unit_test(share),     cmocka_unit_test(without_log),
    };
    const struct CMUnitTest ring0[] = {
        cmocka_unit_test(every),         cmocka_unit_test(at_random), cmocka_unit_test(at_reads),
        cmocka_unit_test(at_cancels),    cmocka_unit_test(window),    cmocka_unit_test(at_budgets),
        cmocka_unit_test(with_handlers),
    };
    int failed;

    if (!usable(argc, argv))
        return 77;
    failed = cmocka_run_group_tests(anywhere, NULL, NULL);
    if (all)
        failed += cmocka_run_group_tests(ring0, NULL, NULL);
    return failed;
}
