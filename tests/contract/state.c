/* State through the API: what is set is what is read and what runs; what no CPU can hold is refused
 * and changes nothing. */
#include "world.h"

static struct vmlib_state everything(struct world *w)
{
    struct vmlib_state s;
    memset(&s, 0, sizeof(s));
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_ALL, &s));
    return s;
}

static void reset_state(void **state)
{
    struct world *w = *state;
    struct vmlib_state s = everything(w);
    /* SDM Vol.3A table 9-1 */
    assert_int_equal(s.gpr.rip, 0xfff0);
    assert_int_equal(s.gpr.rflags, 2);
    assert_int_equal(s.segments.cs.selector, 0xf000);
    assert_int_equal(s.segments.cs.base, 0xffff0000);
    assert_int_equal(s.segments.cs.limit, 0xffff);
    assert_int_equal(s.segments.ds.base, 0);
    assert_int_equal(s.segments.idtr.limit, 0xffff);
    assert_int_equal(s.control.cr0, 0x60000010);
    assert_int_equal(s.control.efer, 0);
    assert_int_equal(s.control.xcr0, 1);
    assert_int_equal(s.debug.dr6, 0xffff0ff0);
    assert_int_equal(s.debug.dr7, 0x400);
    assert_int_equal(s.msrs.pat, 0x0007040600070406);
    assert_int_equal(s.events.flags, 0);
}

static void round_trip(void **state)
{
    struct world *w = *state;
    struct vmlib_state a = everything(w);
    a.gpr.rax = 0x1111111111111111;
    a.gpr.r15 = 0xffffffffffffffff;
    a.gpr.rflags = 0x246;
    a.segments.fs.base = 0x12345000;
    a.segments.gdtr = (struct vmlib_table){.base = 0x5000, .limit = 0x7f};
    a.control.cr2 = 0xabc;
    a.debug.dr[2] = 0x777;
    a.msrs.lstar = 0xffff800000001234;
    a.msrs.kernel_gs_base = 0x9999;
    a.msrs.tsc_aux = 3;
    a.msrs.sysenter_eip = 0x4444;
    a.msrs.mtrr_fixed[10] = 0x0606060606060606;
    a.events.flags = VMLIB_EVENTS_SHADOW_STI | VMLIB_EVENTS_NMI_BLOCKED | VMLIB_EVENTS_NMI_PENDING;
    a.events.injected =
        (struct vmlib_event){.type = VMLIB_EVENT_EXCEPTION,
                             .vector = 14,
                             .flags = VMLIB_EVENT_HAS_ERROR | VMLIB_EVENT_HAS_ADDRESS,
                             .error_code = 2,
                             .address = 0x1000};
    OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_ALL, &a));
    struct vmlib_state b = everything(w);
    a.msrs.tsc = b.msrs.tsc; /* runs */
    assert_memory_equal(&a.gpr, &b.gpr, sizeof(a.gpr));
    assert_memory_equal(&a.segments, &b.segments, sizeof(a.segments));
    assert_memory_equal(&a.control, &b.control, sizeof(a.control));
    assert_memory_equal(&a.debug, &b.debug, sizeof(a.debug));
    assert_memory_equal(&a.msrs, &b.msrs, sizeof(a.msrs));
    assert_memory_equal(&a.fpu, &b.fpu, sizeof(a.fpu));
    assert_int_equal(a.events.flags, b.events.flags);
    assert_memory_equal(&a.events.injected, &b.events.injected, sizeof(a.events.injected));
}

static void vector_registers(void **state)
{
    struct world *w = *state;
    uint8_t in[16], out[16], st[10] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f};
    struct vmlib_state s;
    for (uint32_t r = 0; r < 16; r++) {
        memset(in, (int)(r + 1), sizeof(in));
        OK(vmlib_vcpu_set_reg_wide(w->vcpu, VMLIB_REG_XMM0 + r, in, 16));
    }
    for (uint32_t r = 0; r < 16; r++) {
        memset(in, (int)(r + 1), sizeof(in));
        OK(vmlib_vcpu_get_reg_wide(w->vcpu, VMLIB_REG_XMM0 + r, out, 16));
        assert_memory_equal(in, out, 16);
    }
    OK(vmlib_vcpu_set_reg_wide(w->vcpu, VMLIB_REG_ST0 + 2, st, 10));
    OK(vmlib_vcpu_get_reg_wide(w->vcpu, VMLIB_REG_ST0 + 2, out, 10));
    assert_memory_equal(st, out, 10);
    s.size = sizeof(s);
    OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_FPU, &s));
    assert_int_equal(s.fpu.image[160 + 16 * 5], 6); /* XMM5 */
}

/* One bad value at a time: VMLIB_E_INVAL, and nothing has changed. */
#define REFUSED(groups, field, value)                                                           \
    do {                                                                                        \
        struct vmlib_state bad = good;                                                          \
        bad.gpr.rcx = 0xdead;                                                                   \
        bad.field = value;                                                                      \
        if (vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_GPR | (groups), &bad) != VMLIB_E_INVAL) { \
            print_error("accepted: " #field " = " #value "\n");                                 \
            failures++;                                                                         \
        }                                                                                       \
        assert_int_equal(world_reg(w, VMLIB_REG_RCX), good.gpr.rcx);                            \
    } while (0)

static void impossible_values(void **state)
{
    struct world *w = *state;
    struct vmlib_state good = everything(w);
    int failures = 0;
    REFUSED(VMLIB_STATE_CONTROL, control.cr0, UINT64_C(1) << 32);
    REFUSED(VMLIB_STATE_CONTROL, control.cr0, 0x80000010); /* PG without PE */
    REFUSED(VMLIB_STATE_CONTROL, control.cr0, 0x20000010); /* NW without CD */
    REFUSED(VMLIB_STATE_CONTROL, control.cr4, UINT64_C(1) << 63);
    REFUSED(VMLIB_STATE_CONTROL, control.cr8, 16);
    REFUSED(VMLIB_STATE_CONTROL, control.efer, 0x400); /* LMA without paging */
    REFUSED(VMLIB_STATE_CONTROL, control.efer, UINT64_C(1) << 40);
    REFUSED(VMLIB_STATE_CONTROL, control.xcr0, 0);
    REFUSED(VMLIB_STATE_CONTROL, control.xcr0, 5); /* AVX without SSE */
    REFUSED(VMLIB_STATE_MSRS, msrs.lstar, UINT64_C(1) << 60);
    REFUSED(VMLIB_STATE_MSRS, msrs.kernel_gs_base, UINT64_C(1) << 60);
    REFUSED(VMLIB_STATE_MSRS, msrs.pat, 0x02);
    REFUSED(VMLIB_STATE_EVENTS, events.flags, 0x80000000);
    REFUSED(VMLIB_STATE_DEBUG, debug.dr6, UINT64_C(1) << 32);
    REFUSED(VMLIB_STATE_DEBUG, debug.dr7, UINT64_C(1) << 32);
    REFUSED(VMLIB_STATE_SEGMENTS, segments.fs.base, UINT64_C(1) << 60);
    assert_int_equal(failures, 0);
}

/* What holds events back is kept, one bit at a time. */
static void blocked_events(void **state)
{
    static const uint32_t bits[] = {VMLIB_EVENTS_SHADOW_STI, VMLIB_EVENTS_SHADOW_MOVSS,
                                    VMLIB_EVENTS_NMI_BLOCKED, VMLIB_EVENTS_HALTED};
    struct world *w = *state;
    struct vmlib_state s = everything(w);
    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        s.events.flags = bits[i];
        OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
        assert_int_equal(world_events(w).flags, bits[i]);
    }
}

/* Outside 64-bit mode linear addresses have 32 bits. */
static void translation_wraps(void **state)
{
    struct world *w = *state;
    struct vmlib_translation t = VMLIB_TRANSLATION_INIT;
    OK(vmlib_vcpu_translate(w->vcpu, UINT64_C(1) << 32 | CODE, VMLIB_ACCESS_READ, &t));
    assert_int_equal(t.fault, VMLIB_TRANSLATE_OK);
    assert_int_equal(t.gpa, CODE);
}

/* --- 64-bit mode through the state API --- */

#define PML4 0x10000u
#define PDPT 0x11000u
#define PD   0x12000u
#define PT   0x13000u
#define HIGH  \
    UINT64_C( \
        0xffff800000000000) /* its first 2 MiB are mapped like the first 2 MiB, by 4 KiB pages */

static void write64(struct world *w, uint64_t gpa, uint64_t value)
{
    OK(vmlib_vm_write(w->vm, gpa, &value, 8));
}

/* code: at linear and physical CODE */
static void enter_long_mode(struct world *w, const void *code, uint64_t bytes)
{
    write64(w, PML4, PDPT | 3);
    write64(w, PML4 + 8 * 256, PDPT | 3);
    write64(w, PDPT, PD | 3);
    write64(w, PD, PT | 3);
    for (uint64_t i = 0; i < 160; i++) {
        write64(w, PT + 8 * i, i << 12 | 3);
    }
    write64(w, PT + 8 * 100, 100u << 12 | 1);                     /* read only */
    write64(w, PT + 8 * 101, UINT64_C(1) << 63 | 101u << 12 | 3); /* no execute */
    write64(w, PT + 8 * 102, 0);                                  /* not present */
    write64(w, PT + 8 * 103, UINT64_C(1) << 51 | 103u << 12 | 3); /* reserved bit */
    struct vmlib_state s = everything(w);
    struct vmlib_segment data = {.limit = UINT32_MAX, .attributes = 0xc093, .selector = 0x10};
    s.segments.es = s.segments.ss = s.segments.ds = s.segments.fs = s.segments.gs = data;
    s.segments.cs =
        (struct vmlib_segment){.limit = UINT32_MAX, .attributes = 0xa09b, .selector = 8};
    s.segments.tr.attributes = 0x8b;
    s.control.cr0 = 0x80010031;
    s.control.cr3 = PML4;
    s.control.cr4 = 0x20;
    s.control.efer = 0xd00;
    s.gpr.rip = CODE;
    s.gpr.rsp = STACK;
    s.gpr.rflags = 2;
    OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_CORE, &s));
    OK(vmlib_vm_write(w->vm, CODE, code, bytes));
}

static void long_mode(void **state)
{
    struct world *w = *state;
    /* movabs $0xffff800000005000, %rax; mov %rax, (%rax); out %al, $0x10; hlt */
    static const uint8_t code[] = {0x48, 0xb8, 0,    0x50, 0, 0,    0,    0x80,
                                   0xff, 0xff, 0x48, 0x89, 0, 0xe6, 0x10, 0xf4};
    enter_long_mode(w, code, sizeof(code));
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_PIO);
    assert_int_equal(e.mode, VMLIB_MODE_LONG64);
    assert_int_equal(e.rip, CODE + 13);
    uint64_t value = 0;
    OK(vmlib_vm_read(w->vm, 0x5000, &value, 8));
    assert_true(value == (HIGH | 0x5000));
    OK(vmlib_vcpu_read_virt(w->vcpu, HIGH + 0x5000, &value, 8));
    assert_true(value == (HIGH | 0x5000));
}

static struct vmlib_translation translate(struct world *w, uint64_t gva, uint32_t access)
{
    struct vmlib_translation t = VMLIB_TRANSLATION_INIT;
    OK(vmlib_vcpu_translate(w->vcpu, gva, access, &t));
    return t;
}

static void translations(void **state)
{
    struct world *w = *state;
    uint8_t hlt = 0xf4, byte = 0;
    enter_long_mode(w, &hlt, 1);
    struct vmlib_translation t = translate(w, HIGH + 0x5123, VMLIB_ACCESS_WRITE);
    assert_int_equal(t.fault, VMLIB_TRANSLATE_OK);
    assert_int_equal(t.gpa, 0x5123);
    assert_int_equal(t.page_bits, 12);
    assert_int_equal(t.flags, VMLIB_TRANSLATION_MEMORY);
    assert_int_equal(t.prot, VMLIB_PROT_RWX);
    t = translate(w, 100 << 12, VMLIB_ACCESS_WRITE);
    assert_int_equal(t.fault, VMLIB_TRANSLATE_PROTECTION);
    assert_int_equal(t.error_code, 3);
    assert_int_equal(translate(w, 100 << 12, VMLIB_ACCESS_READ).fault, VMLIB_TRANSLATE_OK);
    t = translate(w, 101 << 12, VMLIB_ACCESS_EXEC);
    assert_int_equal(t.fault, VMLIB_TRANSLATE_PROTECTION);
    assert_int_equal(t.error_code, 0x11);
    t = translate(w, 102 << 12, VMLIB_ACCESS_READ);
    assert_int_equal(t.fault, VMLIB_TRANSLATE_NOT_PRESENT);
    assert_int_equal(t.error_code, 0);
    assert_int_equal(translate(w, 103 << 12, VMLIB_ACCESS_READ).fault,
                     VMLIB_TRANSLATE_RESERVED_BIT);
    assert_int_equal(translate(w, UINT64_C(1) << 47, VMLIB_ACCESS_READ).fault,
                     VMLIB_TRANSLATE_NON_CANONICAL);
    uint64_t pte = 0;
    OK(vmlib_vm_read(w->vm, PT + 8 * 5, &pte, 8));
    assert_int_equal(pte & 0x60, 0); /* no accessed and dirty bits by asking */
    OK(vmlib_vcpu_write_virt(w->vcpu, 100 << 12, "x", 1)); /* past the write protection */
    OK(vmlib_vcpu_read_virt(w->vcpu, HIGH + (100 << 12), &byte, 1));
    assert_int_equal(byte, 'x');
    assert_int_equal(vmlib_vcpu_read_virt(w->vcpu, (102 << 12) - 1, &pte, 2), VMLIB_E_FAULT);
    write64(w, PD + 8, UINT64_C(0x3f00000000) | 3); /* a page table where there is no memory */
    assert_int_equal(translate(w, 0x200000, VMLIB_ACCESS_READ).fault, VMLIB_TRANSLATE_TABLE);
}

/* A page fault seen before delivery: CR2 still old (4.2). */
static void s4_2_page_fault(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_EXCEPTION_EXITS);
    static const uint8_t code[] = {0xa2, 0, 0x60, 0x06, 0,
                                   0,    0, 0,    0,    0xf4}; /* movabs %al, 0x66000; hlt */
    enter_long_mode(w, code, sizeof(code));
    OK(vmlib_vcpu_set_exception_exits(w->vcpu, 1u << 14));
    struct vmlib_event e = world_run(w, VMLIB_EXIT_EXCEPTION).u.exception.event;
    assert_int_equal(e.vector, 14);
    assert_int_equal(e.address, 0x66000);
    assert_int_equal(e.error_code, 2);
    assert_int_equal(world_reg(w, VMLIB_REG_CR2), 0);
    /* The host maps the page, drops the fault and repeats the instruction. */
    write64(w, PT + 8 * 102, 102u << 12 | 3);
    struct vmlib_state s = everything(w);
    memset(&s.events.injected, 0, sizeof(s.events.injected));
    OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    world_run(w, VMLIB_EXIT_HLT);
}

/* Entries that no memory answers for read as all ones: reserved bits are set. */
static void s2_8_page_table_in_a_hole(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_EXCEPTION_EXITS);
    static const uint8_t code[] = {0xa0, 0, 0, 0x20, 0,
                                   0,    0, 0, 0,    0xf4}; /* movabs 0x200000, %al; hlt */
    enter_long_mode(w, code, sizeof(code));
    write64(w, PD + 8, HOLE | 3);
    OK(vmlib_vcpu_set_exception_exits(w->vcpu, 1u << 14));
    struct vmlib_event e = world_run(w, VMLIB_EXIT_EXCEPTION).u.exception.event;
    assert_int_equal(e.vector, 14);
    assert_int_equal(e.error_code, 9);
    assert_int_equal(e.address, 0x200000);
}

static const struct CMUnitTest tests[] = {
    CASE(reset_state),      CASE(round_trip),
    CASE(vector_registers), CASE(impossible_values),
    CASE(blocked_events),   CASE(translation_wraps),
    CASE(long_mode),        CASE(translations),
    CASE(s4_2_page_fault),  CASE(s2_8_page_table_in_a_hole),
};
MAIN(tests)
