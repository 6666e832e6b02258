/* doc/exit-contract.md, sections 1 to 3: records, reads and writes, memory. */
#include "world.h"

GUEST(g_in, "inb $0x10, %al; hlt");

static void s1_2_header_of_a_read(void **state)
{
    struct world *w = *state;
    LOAD(w, g_in);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_PIO);
    assert_int_equal(e.rip, CODE);
    assert_int_equal(e.insn_len, 2);
    assert_int_equal(e.insn[0], 0xe4);
    assert_int_equal(e.insn[1], 0x10);
    assert_int_equal(e.insn[2], 0);
    assert_int_equal(e.mode, VMLIB_MODE_REAL);
    assert_int_equal(e.cpl, 0);
    assert_int_equal(e.u.pio.port, 0x10);
    assert_int_equal(e.u.pio.width, 1);
    assert_int_equal(e.u.pio.write, 0);
    assert_int_equal(e.u.pio.count, 1);
}

static void s2_1_read_before_then_after(void **state)
{
    struct world *w = *state;
    uint8_t value = 0x5a;
    LOAD(w, g_in);
    world_set(w, VMLIB_REG_RAX, 0x1122334455667788);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_PIO);
    assert_int_equal(e.flags & ~VMLIB_EXIT_F_INEXACT, VMLIB_EXIT_F_PENDING);
    world_counted(&e, 0);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE);
    OK(vmlib_vcpu_complete(w->vcpu, &value, 1));
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 2);
    assert_true(world_reg(w, VMLIB_REG_RAX) == 0x112233445566775a);
    e = world_run(w, VMLIB_EXIT_HLT);
    world_counted(&e, 2); /* 1.3: IN, finished by complete, and HLT */
}

static void s2_1_completion_by_fault(void **state)
{
    struct world *w = *state;
    LOAD(w, g_in);
    world_vector_to_port(w, 13, 0x77);
    world_run(w, VMLIB_EXIT_PIO);
    OK(vmlib_vcpu_complete_fault(w->vcpu, 13, 0));
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x77);
    assert_int_equal(world_word(w, STACK - 6, 2), CODE); /* pushed: the instruction */
}

static void s2_2_refused_until_completed(void **state)
{
    struct world *w = *state;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    uint8_t value = 0;
    LOAD(w, g_in);
    world_run(w, VMLIB_EXIT_PIO);
    assert_int_equal(vmlib_vcpu_run(w->vcpu, NULL, &e), VMLIB_E_STATE);
    assert_int_equal(vmlib_vcpu_set_reg(w->vcpu, VMLIB_REG_RAX, 1), VMLIB_E_STATE);
    world_reg(w, VMLIB_REG_RAX);
    OK(vmlib_vcpu_complete(w->vcpu, &value, 1));
    world_run(w, VMLIB_EXIT_HLT);
}

GUEST(g_out, "movw $0x1234, %ax; outw %ax, $0x20; hlt");

static void s2_3_write_is_done(void **state)
{
    struct world *w = *state;
    LOAD(w, g_out);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_PIO);
    assert_int_equal(e.flags & ~VMLIB_EXIT_F_INEXACT, 0);
    assert_int_equal(e.u.pio.value, 0x1234);
    assert_int_equal(e.u.pio.width, 2);
    assert_int_equal(e.rip, CODE + 3);
    world_counted(&e, 2);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 5);
}

GUEST(g_rmw, "addr32 addb $1, 0xa0000; hlt");

static void s2_4_read_modify_write(void **state)
{
    struct world *w = *state;
    uint8_t value = 0x7f;
    LOAD(w, g_rmw);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_MMIO);
    assert_int_equal(e.u.mmio.write, 0);
    assert_int_equal(e.u.mmio.gpa, HOLE);
    assert_int_equal(e.u.mmio.gva, HOLE);
    OK(vmlib_vcpu_complete(w->vcpu, &value, 1));
    e = world_run(w, VMLIB_EXIT_MMIO);
    assert_int_equal(e.u.mmio.write, 1);
    assert_int_equal(e.u.mmio.value, 0x80);
    assert_int_equal(e.flags & ~VMLIB_EXIT_F_INEXACT, 0);
    assert_int_equal(world_reg(w, VMLIB_REG_RFLAGS) & 0x800, 0x800); /* OF: executed once */
    world_run(w, VMLIB_EXIT_HLT);
}

GUEST(g_movs, "movl $0xa0010, %esi; movl $0xa0020, %edi; addr32 movsl; hlt");

static void s2_4_hole_to_hole(void **state)
{
    struct world *w = *state;
    uint32_t value = 0xdeadbeef;
    LOAD(w, g_movs);
    assert_int_equal(world_run(w, VMLIB_EXIT_MMIO).u.mmio.gpa, 0xa0010);
    OK(vmlib_vcpu_complete(w->vcpu, &value, 4));
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_MMIO);
    assert_int_equal(e.u.mmio.gpa, 0xa0020);
    assert_int_equal(e.u.mmio.value, 0xdeadbeef);
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_reg(w, VMLIB_REG_RSI), 0xa0014);
    assert_int_equal(world_reg(w, VMLIB_REG_RDI), 0xa0024);
}

GUEST(g_cross, "addr32 movl 0xa0ffe, %eax; addr32 movl %eax, 0xa1ffd; hlt");

static void s2_5_page_crossing(void **state)
{
    struct world *w = *state;
    uint16_t low = 0x2211, high = 0x4433;
    LOAD(w, g_cross);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_MMIO);
    assert_int_equal(e.u.mmio.gpa, 0xa0ffe);
    assert_int_equal(e.u.mmio.width, 2);
    OK(vmlib_vcpu_complete(w->vcpu, &low, 2));
    e = world_run(w, VMLIB_EXIT_MMIO);
    assert_int_equal(e.u.mmio.gpa, 0xa1000);
    assert_int_equal(e.flags & ~VMLIB_EXIT_F_INEXACT, VMLIB_EXIT_F_PENDING);
    OK(vmlib_vcpu_complete(w->vcpu, &high, 2));
    assert_int_equal(world_reg(w, VMLIB_REG_RAX) & UINT32_MAX, 0x44332211);
    e = world_run(w, VMLIB_EXIT_MMIO);
    assert_int_equal(e.u.mmio.gpa, 0xa1ffd);
    assert_int_equal(e.u.mmio.width, 3);
    assert_int_equal(e.u.mmio.value, 0x332211);
    e = world_run(w, VMLIB_EXIT_MMIO);
    assert_int_equal(e.u.mmio.gpa, 0xa2000);
    assert_int_equal(e.u.mmio.width, 1);
    assert_int_equal(e.u.mmio.value, 0x44);
    world_run(w, VMLIB_EXIT_HLT);
}

GUEST(g_wide, "fninit; fld1; addr32 fstpt 0xa0100; addr32 fldt 0xa0200; hlt");

static void s2_5_wider_than_8(void **state)
{
    struct world *w = *state;
    uint64_t mantissa = UINT64_C(1) << 63;
    uint16_t exponent = 0x4000;
    LOAD(w, g_wide);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_MMIO);
    assert_int_equal(e.u.mmio.gpa, 0xa0100);
    assert_int_equal(e.u.mmio.width, 8);
    assert_true(e.u.mmio.value == mantissa);
    e = world_run(w, VMLIB_EXIT_MMIO);
    assert_int_equal(e.u.mmio.gpa, 0xa0108);
    assert_int_equal(e.u.mmio.width, 2);
    assert_int_equal(e.u.mmio.value, 0x3fff);
    assert_int_equal(world_run(w, VMLIB_EXIT_MMIO).u.mmio.width, 8);
    OK(vmlib_vcpu_complete(w->vcpu, &mantissa, 8));
    assert_int_equal(world_run(w, VMLIB_EXIT_MMIO).u.mmio.width, 2);
    OK(vmlib_vcpu_complete(w->vcpu, &exponent, 2));
    world_run(w, VMLIB_EXIT_HLT);
    uint8_t st0[10];
    OK(vmlib_vcpu_get_reg_wide(w->vcpu, VMLIB_REG_ST0, st0, 10));
    assert_int_equal(st0[9], 0x40);
}

GUEST(g_outs, "movw $0x2000, %si; movw $3, %cx; movw $0x44, %dx; rep outsb; hlt");
GUEST(g_ins, "movw $0x3000, %di; movw $3, %cx; movw $0x44, %dx; rep insb; hlt");

static void s2_6_rep_outs(void **state)
{
    struct world *w = *state;
    LOAD(w, g_outs);
    OK(vmlib_vm_write(w->vm, 0x2000, "abc", 3));
    for (unsigned i = 0; i < 3; i++) {
        struct vmlib_exit e = world_run(w, VMLIB_EXIT_PIO);
        assert_int_equal(e.u.pio.value, "abc"[i]);
        assert_int_equal(e.u.pio.string, 1);
        assert_int_equal(e.u.pio.rep, 1);
        assert_int_equal(e.u.pio.count, 3 - i);
        assert_int_equal(e.rip, CODE + 9);
        assert_int_equal(world_reg(w, VMLIB_REG_RCX), 2 - i);
        assert_int_equal(world_reg(w, VMLIB_REG_RSI), 0x2001 + i);
    }
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(e.rip, CODE + 12); /* 1.2: a boundary */
    assert_int_equal(e.insn_len, 0);
}

static void s2_6_rep_ins(void **state)
{
    struct world *w = *state;
    LOAD(w, g_ins);
    for (unsigned i = 0; i < 3; i++) {
        struct vmlib_exit e = world_run(w, VMLIB_EXIT_PIO);
        assert_int_equal(e.u.pio.count, 3 - i);
        assert_int_equal(world_reg(w, VMLIB_REG_RCX), 3 - i);
        OK(vmlib_vcpu_complete(w->vcpu, &"xyz"[i], 1));
        assert_int_equal(world_reg(w, VMLIB_REG_RCX), 2 - i);
        assert_int_equal(world_reg(w, VMLIB_REG_RIP), i < 2 ? CODE + 9 : CODE + 11);
    }
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_word(w, 0x3000, 3), 'x' | 'y' << 8 | 'z' << 16);
}

GUEST(g_stos, "movw $0x3000, %di; movw $5, %cx; movb $1, %al; rep stosb; hlt");

static void s1_4_rep_counts_once(void **state)
{
    struct world *w = *state;
    LOAD(w, g_stos);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_HLT);
    world_counted(&e, 5);
    assert_int_equal(world_reg(w, VMLIB_REG_RCX), 0);
}

GUEST(g_jump_hole, "ljmp $0xa000, $0x10");

static void s2_8_fetch_from_a_hole(void **state)
{
    struct world *w = *state;
    LOAD(w, g_jump_hole);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_MEMORY_FAULT);
    assert_int_equal(e.u.memory_fault.access, VMLIB_ACCESS_EXEC);
    assert_int_equal(e.u.memory_fault.gpa, HOLE + 0x10);
    assert_int_equal(e.u.memory_fault.mapped, 0);
    assert_int_equal(e.flags & VMLIB_EXIT_F_PENDING, 0);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), 0x10);
}

GUEST(g_rom, "movb $1, %bl; addr32 movb %bl, 0xc0010; addr32 movb 0xc0010, %cl; hlt");

static void s3_2_rom_write(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_PROT_WRITE);
    LOAD(w, g_rom);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_MEMORY_FAULT);
    assert_int_equal(e.u.memory_fault.gpa, 0xc0010);
    assert_int_equal(e.u.memory_fault.access, VMLIB_ACCESS_WRITE);
    assert_int_equal(e.u.memory_fault.mapped, 1);
    assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 2);
    world_run(w, VMLIB_EXIT_MEMORY_FAULT);           /* the next run repeats it */
    world_set(w, VMLIB_REG_RIP, e.rip + e.insn_len); /* the host skips it */
    OK(vmlib_vm_write(w->vm, 0xc0010, "\x33", 1));
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_reg(w, VMLIB_REG_RCX) & 0xff, 0x33);
}

static int take_write(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)vcpu;
    *(uint64_t *)opaque = exit->u.mmio.value;
    return VMLIB_HANDLED;
}

static void s3_2_rom_write_handler(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_PROT_WRITE);
    uint64_t seen = 0;
    LOAD(w, g_rom);
    world_handler(w, VMLIB_HANDLER_MMIO, ROM, ROM + 0xffff, take_write, &seen);
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(seen, 1);
    assert_int_equal(world_reg(w, VMLIB_REG_RCX) & 0xff, 0);
}

GUEST(g_protect, "movw $1, 0x9000; incw 0x9000; hlt");

static vmlib_region *split_page(struct world *w, uint64_t gpa, uint32_t prot)
{
    struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *r = NULL;
    config.gpa = gpa;
    config.bytes = VMLIB_PAGE_SIZE;
    config.prot = prot;
    OK(vmlib_region_create(w->vm, &config, &r));
    return r;
}

GUEST(g_protected, "addr32 movb $5, 0xa0000; addr32 movb 0xa0000, %al; addr32 incb 0xa0000; hlt");

static void s3_2_protection_and_repeat(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_PROT_EXEC);
    world_need(VMLIB_FEATURE_PROT_READ);
    world_need(VMLIB_FEATURE_PROT_WRITE);
    LOAD(w, g_protected);
    vmlib_region *r = split_page(w, HOLE, 0);
    assert_int_equal(world_run(w, VMLIB_EXIT_MEMORY_FAULT).u.memory_fault.prot, 0);
    OK(vmlib_region_protect(r, VMLIB_PROT_W));
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_MEMORY_FAULT);
    assert_int_equal(e.u.memory_fault.access, VMLIB_ACCESS_READ);
    assert_int_equal(world_word(w, HOLE, 1), 5);
    OK(vmlib_region_protect(r, VMLIB_PROT_R));
    e = world_run(w, VMLIB_EXIT_MEMORY_FAULT); /* the increment */
    assert_int_equal(e.u.memory_fault.access, VMLIB_ACCESS_WRITE);
    assert_int_equal(world_reg(w, VMLIB_REG_RAX) & 0xff, 5);
    OK(vmlib_region_protect(r, VMLIB_PROT_RWX));
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_word(w, HOLE, 1), 6);
    vmlib_region_unref(r);
}

static void s3_2_no_execute(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_PROT_EXEC);
    LOAD(w, g_protect);
    OK(vmlib_region_protect(w->ram, VMLIB_PROT_R | VMLIB_PROT_W));
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_MEMORY_FAULT);
    assert_int_equal(e.u.memory_fault.access, VMLIB_ACCESS_EXEC);
    assert_int_equal(e.u.memory_fault.mapped, 1);
    OK(vmlib_region_protect(w->ram, VMLIB_PROT_RWX));
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_word(w, 0x9000, 2), 2);
}

GUEST(g_remove, "addr32 movb 0xa0000, %al; outb %al, $0x10; addr32 movb 0xa0000, %bl; hlt");

static int remove_region(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)vcpu, (void)exit;
    OK(vmlib_region_remove(opaque));
    return VMLIB_HANDLED;
}

static void s3_4_removed_by_a_handler(void **state)
{
    struct world *w = *state;
    LOAD(w, g_remove);
    vmlib_region *r = split_page(w, HOLE, VMLIB_PROT_RWX);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x10, remove_region, r);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_MMIO);
    assert_int_equal(e.u.mmio.gpa, HOLE);
    assert_int_equal(e.rip, CODE + 8);
    vmlib_region_unref(r);
}

static void host_and_guest_write_code(void **state)
{
    struct world *w = *state;
    LOAD(w, g_in);
    world_run(w, VMLIB_EXIT_PIO);
    uint8_t value = 0;
    OK(vmlib_vcpu_complete(w->vcpu, &value, 1));
    OK(vmlib_vm_write(w->vm, CODE, "\xe6\x99",
                      2)); /* the host replaces code that has run: out %al, $0x99 */
    world_set(w, VMLIB_REG_RIP, CODE);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x99);
    void *host = NULL;
    OK(vmlib_region_host(w->ram, &host));
    ((uint8_t *)host)[CODE + 1] = 0x55;
    OK(vmlib_region_written(w->ram, CODE + 1, 1));
    world_set(w, VMLIB_REG_RIP, CODE);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x55);
}

GUEST(g_dirty, "movb $1, 0x5000; movb 0x6000, %al; movb $1, 0x7fff; hlt");

static void dirty_log(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_DIRTY_LOG);
    uint64_t map[3] = {0};
    bool exact = world_support(VMLIB_FEATURE_DIRTY_LOG) >= VMLIB_SUPPORT_EMULATED;
    uint64_t written = 1u << 5 | 1u << 7;
    LOAD(w, g_dirty);
    OK(vmlib_region_dirty(w->ram, 0, HOLE, map, VMLIB_DIRTY_CLEAR));
    for (unsigned round = 0; round < 3; round++) {
        world_set(w, VMLIB_REG_RIP, CODE);
        world_run(w, VMLIB_EXIT_HLT);
        struct vmlib_state s;
        s.size = sizeof(s);
        OK(vmlib_vcpu_get_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
        s.events.flags &= ~VMLIB_EVENTS_HALTED;
        OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
        OK(vmlib_region_dirty(w->ram, 0, HOLE, map, VMLIB_DIRTY_CLEAR));
        assert_int_equal(exact ? map[0] : map[0] & written, written);
    }
}

GUEST(g_msr, "movl $0x12345, %ecx; rdmsr; wrmsr; hlt");

static void s2_1_msr_records(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_MSR_HANDLERS);
    uint64_t value = 0x1111222233334444;
    LOAD(w, g_msr);
    world_handler(w, VMLIB_HANDLER_MSR, 0x12345, 0x12345, NULL, NULL);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_MSR);
    assert_int_equal(e.u.msr.index, 0x12345);
    assert_int_equal(e.u.msr.write, 0);
    OK(vmlib_vcpu_complete(w->vcpu, &value, 8));
    e = world_run(w, VMLIB_EXIT_MSR);
    assert_int_equal(e.flags & ~VMLIB_EXIT_F_INEXACT, VMLIB_EXIT_F_PENDING);
    assert_int_equal(e.u.msr.write, 1);
    assert_true(e.u.msr.value == value);
    OK(vmlib_vcpu_complete(w->vcpu, NULL, 0));
    world_run(w, VMLIB_EXIT_HLT);
}

static void unknown_msr_faults(void **state)
{
    struct world *w = *state;
    LOAD(w, g_msr);
    world_vector_to_port(w, 13, 0x13);
    assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x13);
    assert_int_equal(world_word(w, STACK - 6, 2), CODE + 6);
}

GUEST(g_cpuid, "movl $1, %eax; xorl %ecx, %ecx; cpuid; hlt");

static void s2_1_cpuid_record(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_CPUID_HANDLERS);
    uint32_t regs[4] = {1, 2, 3, 4};
    LOAD(w, g_cpuid);
    world_handler(w, VMLIB_HANDLER_CPUID, 1, 1, NULL, NULL);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_CPUID);
    assert_int_equal(e.u.cpuid.leaf, 1);
    assert_int_not_equal(e.u.cpuid.edx, 0); /* the backend's own answer */
    OK(vmlib_vcpu_complete(w->vcpu, regs, 16));
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_reg(w, VMLIB_REG_RBX), 2);
    assert_int_equal(world_reg(w, VMLIB_REG_RDX), 4);
}

GUEST(g_vmcall, "movl $7, %eax; vmcall; hlt");

static void s2_1_hypercall(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_HYPERCALL_HANDLERS);
    uint64_t result = 0x99;
    LOAD(w, g_vmcall);
    struct vmlib_exit e = world_run(w, VMLIB_EXIT_HYPERCALL);
    assert_int_equal(e.u.hypercall.rax, 7);
    world_set(w, VMLIB_REG_RBX, 0x55); /* 2.2: allowed here */
    OK(vmlib_vcpu_complete(w->vcpu, &result, 8));
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_reg(w, VMLIB_REG_RAX), 0x99);
    assert_int_equal(world_reg(w, VMLIB_REG_RBX), 0x55);
}

static const struct CMUnitTest tests[] = {
    CASE(s1_2_header_of_a_read),
    CASE(s2_1_read_before_then_after),
    CASE(s2_1_completion_by_fault),
    CASE(s2_2_refused_until_completed),
    CASE(s2_3_write_is_done),
    CASE(s2_4_read_modify_write),
    CASE(s2_4_hole_to_hole),
    CASE(s2_5_page_crossing),
    CASE(s2_5_wider_than_8),
    CASE(s2_6_rep_outs),
    CASE(s2_6_rep_ins),
    CASE(s1_4_rep_counts_once),
    CASE(s2_8_fetch_from_a_hole),
    CASE(s3_2_rom_write),
    CASE(s3_2_rom_write_handler),
    CASE(s3_2_protection_and_repeat),
    CASE(s3_2_no_execute),
    CASE(s3_4_removed_by_a_handler),
    CASE(host_and_guest_write_code),
    CASE(dirty_log),
    CASE(s2_1_msr_records),
    CASE(unknown_msr_faults),
    CASE(s2_1_cpuid_record),
    CASE(s2_1_hypercall),
};
MAIN(tests)
