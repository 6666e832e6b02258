/*
 * What vmlib_backend_feature() answers is true: a feature that is refused is an error when it is
 * used, every other one works. Also for backends without guest code, as far as their calls go.
 */
#include "modes.h"

static bool runs_guests(void)
{
    return world_support(VMLIB_FEATURE_GUEST_CODE) != VMLIB_SUPPORT_REFUSED;
}

/* The call that uses the feature: refused or accepted as the answer says. True when it is to work,
 * and a guest can show it. */
static bool use(uint32_t feature, int rc)
{
    if (world_support(feature) == VMLIB_SUPPORT_REFUSED) {
        if (rc != VMLIB_E_UNSUPPORTED) {
            fail_msg("%s is refused, but using it gave %d", vmlib_feature_name(feature), rc);
        }
        return false;
    }
    if (rc != 0) {
        fail_msg("%s: %d, %s", vmlib_feature_name(feature), rc, vmlib_last_error());
    }
    return runs_guests();
}

/* --- creation --- */

static void required(void **state)
{
    (void)state;
    for (uint32_t f = 0; f < VMLIB_FEATURE_COUNT; f++) {
        struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
        vmlib_vm *vm = NULL;
        config.backends[0] = backend_under_test;
        config.required = UINT64_C(1) << f;
        int rc = vmlib_vm_create(&config, &vm);
        bool exact = world_support(f) >= VMLIB_SUPPORT_EMULATED;
        if (rc != (exact ? 0 : VMLIB_E_UNSUPPORTED)) {
            fail_msg("required %s: %d", vmlib_feature_name(f), rc);
        }
        vmlib_vm_unref(vm);
    }
}

static void deterministic(void **state)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    vmlib_vm *vm = NULL;
    (void)state;
    config.backends[0] = backend_under_test;
    config.time_mode = VMLIB_TIME_DETERMINISTIC;
    use(VMLIB_FEATURE_DETERMINISTIC, vmlib_vm_create(&config, &vm));
    vmlib_vm_unref(vm);
}

GUEST(g_time, "rdtsc; movl %eax, %esi; nop; nop; rdtsc; subl %esi, %eax; movl %eax, %ebx; rdtsc;"
              "hlt");

static void deterministic_time(void **state)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    uint64_t first[3] = {0};
    (void)state;
    world_need(VMLIB_FEATURE_DETERMINISTIC);
    world_need(VMLIB_FEATURE_GUEST_CODE);
    config.time_mode = VMLIB_TIME_DETERMINISTIC;
    config.seed = 7;
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = world_create(&config);
        world_mode(w, W_REAL, g_time, g_time_end);
        world_run(w, VMLIB_EXIT_HLT);
        uint64_t now[3] = {world_reg(w, VMLIB_REG_RSI), world_reg(w, VMLIB_REG_RBX),
                           world_reg(w, VMLIB_REG_RAX)};
        if (i > 0) {
            assert_memory_equal(first, now, sizeof(now));
        }
        memcpy(first, now, sizeof(now));
        assert_int_equal(now[1], 4); /* instructions from one RDTSC to the other; 1 GHz */
        world_destroy(w);
    }
}

static void smp(void **state)
{
    struct world *w = *state;
    struct vmlib_vcpu_config config = VMLIB_VCPU_CONFIG_INIT;
    vmlib_vcpu *second = NULL;
    config.index = 1;
    use(VMLIB_FEATURE_SMP, vmlib_vcpu_create(w->vm, &config, &second));
    vmlib_vcpu_unref(second);
}

/* --- modes and instructions --- */

GUEST(g_mode, "inb $0x10, %al; hlt");
GUEST64(l_mode, "movq $-1, %rax; shlq $35, %rax; outb %al, $0x10");

static void real_mode(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_REAL_MODE);
    LOAD(w, g_mode);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).mode, VMLIB_MODE_REAL);
}

static void long_mode(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_LONG_MODE);
    world_mode(w, W_LONG3, l_mode, l_mode_end);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).mode, VMLIB_MODE_LONG64);
    assert_true(world_reg(w, VMLIB_REG_RAX) == UINT64_MAX << 35);
}

GUEST64(l_avx2,
        "vpcmpeqd %ymm0, %ymm0, %ymm0; vpsrld $31, %ymm0, %ymm0; vpaddd %ymm0, %ymm0, %ymm1;"
        "vmovdqu %ymm1, 0x20000; movl 0x2001c, %eax; andn %rax, %rax, %rbx; outb %al, $0x10");

static void avx2(void **state)
{
    struct world *w = *state;
    struct vmlib_state s;
    bool has = world_support(VMLIB_FEATURE_AVX2) != VMLIB_SUPPORT_REFUSED;
    world_need(VMLIB_FEATURE_LONG_MODE);
    world_mode(w, W_LONG3, l_avx2, l_avx2_end);
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_CONTROL, &s));
    s.control.cr4 |= 0x40000; /* OSXSAVE */
    s.control.xcr0 = 7;
    int rc = vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_CONTROL, &s);
    if (!has && rc == VMLIB_E_INVAL) {
        return; /* not even the state */
    }
    OK(rc);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_PIO);
    if (has) {
        assert_int_equal(e.u.pio.port, 0x10);
        assert_int_equal(world_reg(w, VMLIB_REG_RAX), 2);
    } else {
        assert_int_equal(e.u.pio.value, 6); /* #UD */
    }
}

/* --- runs --- */

GUEST(g_count, "movw $3, %cx; 1: loop 1b; nop; hlt");

static void budget(void **state)
{
    struct world *w = *state;
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    args.budget = 3;
    if (runs_guests()) {
        LOAD(w, g_count);
    }
    if (use(VMLIB_FEATURE_BUDGET, vmlib_vcpu_run(w->vcpu, &args, &e))) {
        assert_int_equal(e.reason, VMLIB_EXIT_BUDGET);
        if (world_support(VMLIB_FEATURE_BUDGET) >= VMLIB_SUPPORT_EMULATED) {
            world_counted(&e, 3);
            assert_int_equal(e.flags & VMLIB_EXIT_F_OVERSHOT, 0);
            assert_int_equal(world_reg(w, VMLIB_REG_RCX) & 0xffff, 1);
        }
    }
}

static void insn_count(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_GUEST_CODE);
    LOAD(w, g_count);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_HLT);
    world_counted(&e, 6);
}

static void single_step(void **state)
{
    struct world *w = *state;
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    args.flags = VMLIB_RUN_SINGLE_STEP;
    if (runs_guests()) {
        LOAD(w, g_count);
    }
    if (use(VMLIB_FEATURE_SINGLE_STEP, vmlib_vcpu_run(w->vcpu, &args, &e))) {
        assert_int_equal(e.reason, VMLIB_EXIT_DEBUG);
        assert_int_equal(e.u.debug.cause, VMLIB_DEBUG_STEP);
        assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 3);
    }
}

static void breakpoints(void **state)
{
    struct world *w = *state;
    struct vmlib_breakpoint b = VMLIB_BREAKPOINT_INIT;
    b.kind = VMLIB_BREAKPOINT_EXEC;
    b.address = CODE + 5;
    if (use(VMLIB_FEATURE_BREAKPOINTS, vmlib_vcpu_set_breakpoint(w->vcpu, 0, &b))) {
        LOAD(w, g_count);
        world_run(w, VMLIB_EXIT_DEBUG);
        assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 5);
    }
}

/* --- events --- */

GUEST(g_ud, "ud2");

static void exception_exits(void **state)
{
    struct world *w = *state;
    if (use(VMLIB_FEATURE_EXCEPTION_EXITS, vmlib_vcpu_set_exception_exits(w->vcpu, 1u << 6))) {
        LOAD(w, g_ud);
        assert_int_equal(world_run(w, VMLIB_EXIT_EXCEPTION).u.exception.event.vector, 6);
    }
}

GUEST(g_nops, "nop; nop; hlt");

static void nmi(void **state)
{
    struct world *w = *state;
    if (use(VMLIB_FEATURE_NMI, vmlib_vcpu_nmi(w->vcpu))) {
        LOAD(w, g_nops);
        world_vector_to_port(w, 2, 0x22);
        assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x22);
    }
}

static void smm(void **state)
{
    struct world *w = *state;
    struct vmlib_state s;
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    s.events.flags |= VMLIB_EVENTS_SMM;
    use(VMLIB_FEATURE_SMM, vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
}

/* --- handlers --- */

static int try_handler(struct world *w, uint32_t kind, uint64_t number)
{
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    config.kind = kind;
    config.first = config.last = number;
    return vmlib_handler_add(w->vm, &config, NULL);
}

GUEST(g_msr, "movl $0x174, %ecx; rdmsr; hlt");
GUEST(g_cpuid, "movl $1, %eax; cpuid; hlt");
GUEST(g_call, "movl $7, %eax; vmcall; hlt");

static void msr_handlers(void **state)
{
    struct world *w = *state;
    uint64_t value = 0x1234;
    if (use(VMLIB_FEATURE_MSR_HANDLERS, try_handler(w, VMLIB_HANDLER_MSR, 0x174))) {
        LOAD(w, g_msr); /* an MSR that the backend keeps itself */
        assert_int_equal(world_run(w, VMLIB_EXIT_MSR).u.msr.known, 1);
        OK(vmlib_vcpu_complete(w->vcpu, &value, 8));
        assert_int_equal(world_reg(w, VMLIB_REG_RAX), 0x1234);
    }
}

static void cpuid_handlers(void **state)
{
    struct world *w = *state;
    if (use(VMLIB_FEATURE_CPUID_HANDLERS, try_handler(w, VMLIB_HANDLER_CPUID, 1))) {
        LOAD(w, g_cpuid);
        assert_int_equal(world_run(w, VMLIB_EXIT_CPUID).u.cpuid.leaf, 1);
    }
}

static void hypercall_handlers(void **state)
{
    struct world *w = *state;
    if (use(VMLIB_FEATURE_HYPERCALL_HANDLERS, try_handler(w, VMLIB_HANDLER_HYPERCALL, 7))) {
        LOAD(w, g_call);
        assert_int_equal(world_run(w, VMLIB_EXIT_HYPERCALL).u.hypercall.rax, 7);
    }
}

/* --- memory --- */

static int try_region(struct world *w, uint32_t prot, uint32_t flags, vmlib_region **r)
{
    struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
    config.gpa = HOLE;
    config.bytes = VMLIB_PAGE_SIZE;
    config.prot = prot;
    config.flags = flags;
    return vmlib_region_create(w->vm, &config, r);
}

GUEST(g_write, "addr32 movb $1, 0xa0000; hlt");
GUEST(g_read, "addr32 movb 0xa0000, %al; hlt");
GUEST(g_jump, "ljmp $0xa000, $0");

static void dirty_log(void **state)
{
    struct world *w = *state;
    vmlib_region *r = NULL;
    uint64_t map = 0;
    if (use(VMLIB_FEATURE_DIRTY_LOG, try_region(w, VMLIB_PROT_RWX, VMLIB_REGION_DIRTY_LOG, &r))) {
        LOAD(w, g_write);
        OK(vmlib_region_dirty(r, 0, VMLIB_PAGE_SIZE, &map, VMLIB_DIRTY_CLEAR));
        world_run(w, VMLIB_EXIT_HLT);
        OK(vmlib_region_dirty(r, 0, VMLIB_PAGE_SIZE, &map, 0));
        assert_int_equal(map, 1);
    }
    vmlib_region_unref(r);
}

static void protection(struct world *w, uint32_t feature, uint32_t prot, const uint8_t *code,
                       const uint8_t *end, uint32_t access)
{
    vmlib_region *r = NULL;
    if (use(feature, try_region(w, prot, 0, &r))) {
        world_load(w, code, end);
        struct vmlib_exit e = world_run(w, VMLIB_EXIT_MEMORY_FAULT);
        assert_int_equal(e.u.memory_fault.access, access);
        assert_int_equal(e.u.memory_fault.mapped, 1);
        assert_int_equal(e.u.memory_fault.prot, prot);
    }
    vmlib_region_unref(r);
}

static void prot_read(void **state)
{
    protection(*state, VMLIB_FEATURE_PROT_READ, VMLIB_PROT_W | VMLIB_PROT_X, g_read, g_read_end,
               VMLIB_ACCESS_READ);
}

static void prot_write(void **state)
{
    protection(*state, VMLIB_FEATURE_PROT_WRITE, VMLIB_PROT_R | VMLIB_PROT_X, g_write, g_write_end,
               VMLIB_ACCESS_WRITE);
}

static void prot_exec(void **state)
{
    protection(*state, VMLIB_FEATURE_PROT_EXEC, VMLIB_PROT_R | VMLIB_PROT_W, g_jump, g_jump_end,
               VMLIB_ACCESS_EXEC);
}

GUEST32(p_ud, "ud2");

static void device_tables(void **state)
{
    struct world *w = *state;
    struct vmlib_table idt = {.base = HOLE, .limit = 0xfff};
    world_need(VMLIB_FEATURE_DEVICE_TABLES);
    world_mode(w, W_PROT0, p_ud, p_ud_end);
    OK(vmlib_vcpu_set_reg_wide(w->vcpu, VMLIB_REG_IDTR, &idt, sizeof(idt)));
    assert_int_equal(world_run(w, VMLIB_EXIT_MMIO).u.mmio.gpa, HOLE + 6 * 8);
}

static const struct CMUnitTest tests[] = {
    CASE(required),
    CASE(deterministic),
    CASE(deterministic_time),
    CASE(smp),
    CASE(real_mode),
    CASE(long_mode),
    CASE(avx2),
    CASE(budget),
    CASE(insn_count),
    CASE(single_step),
    CASE(breakpoints),
    CASE(exception_exits),
    CASE(nmi),
    CASE(smm),
    CASE(msr_handlers),
    CASE(cpuid_handlers),
    CASE(hypercall_handlers),
    CASE(dirty_log),
    CASE(prot_read),
    CASE(prot_write),
    CASE(prot_exec),
    CASE(device_tables),
};

int main(int argc, char **argv)
{
    world_any_backend = true;
    return world_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
