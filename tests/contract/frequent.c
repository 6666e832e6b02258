/*
 * Exits that come again and again, of kinds for which backends have short ways: values, traps,
 * shadows, injections and vector registers must be those of the long way. And the long way in
 * between.
 */
#include "world.h"

#define MSR    0x12345
#define ROUNDS 40u

struct counts {
    uint64_t reads, writes, last;
    int answer;
    bool skip;
};

/* Reads answer 1, 2, 3 ... */
static int count(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct counts *c = opaque;
    if (exit->reason == VMLIB_EXIT_MSR) {
        if (exit->u.msr.write)
            c->writes++, c->last = exit->u.msr.value;
        else
            exit->u.msr.value = UINT64_C(0xfffffffe00000000) + ++c->reads;
    } else if (exit->reason == VMLIB_EXIT_PIO) {
        if (exit->u.pio.write)
            c->writes++, c->last = exit->u.pio.value;
        else
            exit->u.pio.value = (uint32_t)++c->reads;
    } else if (exit->u.mmio.write) {
        c->writes++, c->last = exit->u.mmio.value;
    } else {
        exit->u.mmio.value = ++c->reads;
    }
    exit->inject = (struct vmlib_event){.type = VMLIB_EVENT_EXCEPTION, .vector = 6};
    if (c->skip)
        OK(vmlib_vcpu_set_reg(vcpu, VMLIB_REG_RIP, CODE + 0x20));
    return c->answer;
}

struct all {
    struct counts msr, port, device;
};

static void handlers(struct world *w, struct all *c)
{
    world_handler(w, VMLIB_HANDLER_MSR, MSR, MSR, count, &c->msr);
    world_handler(w, VMLIB_HANDLER_PIO, 0x10, 0x11, count, &c->port);
    world_handler(w, VMLIB_HANDLER_MMIO, HOLE, HOLE + 0xfff, count, &c->device);
}

/* EBX, ESI and EBP are what is read, added up; CX is saved in DI. */
GUEST(g_mix, "1: movw %cx, %di; movl $0x12345, %ecx; rdmsr; addl %eax, %ebx; subl $1, %edx; wrmsr; "
             "xorl %eax, %eax; pushl %ebx; cpuid; popl %ebx; "
             "xorl %eax, %eax; inb $0x10, %al; addl %eax, %esi; outw %ax, $0x11; "
             "addr32 movzbl 0xa0000, %eax; addl %eax, %ebp; addr32 incw 0xa0010; "
             "movw %di, %cx; decw %cx; jnz 1b; hlt");

static void a_mix(void **state)
{
    struct world *w = *state;
    struct all c = {
        {.answer = VMLIB_HANDLED}, {.answer = VMLIB_HANDLED}, {.answer = VMLIB_HANDLED}};
    uint64_t sum = ROUNDS * (ROUNDS + 1) / 2;
    world_need(VMLIB_FEATURE_MSR_HANDLERS);
    LOAD(w, g_mix);
    handlers(w, &c);
    world_set(w, VMLIB_REG_RCX, ROUNDS);
    world_set(w, VMLIB_REG_RBX, 0);
    world_set(w, VMLIB_REG_RSI, 0);
    world_set(w, VMLIB_REG_RBP, 0);
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(c.msr.reads, ROUNDS);
    assert_int_equal(c.msr.writes, ROUNDS);
    assert_true(c.msr.last == (UINT64_C(0xfffffffd00000000) | ROUNDS));
    assert_int_equal(world_reg(w, VMLIB_REG_RBX), sum);
    assert_int_equal(world_reg(w, VMLIB_REG_RSI), sum);
    assert_int_equal(c.port.writes, ROUNDS);
    assert_int_equal(c.port.last, ROUNDS);
    /* Devices answer 1 to the first read of a round, 2 to that of INCW, and so on. */
    assert_int_equal(world_reg(w, VMLIB_REG_RBP), ROUNDS * ROUNDS);
    assert_int_equal(c.device.last, 2 * ROUNDS + 1);
}

/* The same exits, alternately completed by the host and looked at. */
GUEST(g_returned, "1: inb $0x20, %al; outb %al, $0x20; movl $0x12346, %ecx; rdmsr; hlt; jmp 1b");

static void returned_records(void **state)
{
    struct world *w = *state;
    world_need(VMLIB_FEATURE_MSR_HANDLERS);
    LOAD(w, g_returned);
    world_handler(w, VMLIB_HANDLER_MSR, MSR + 1, MSR + 1, NULL, NULL);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint8_t value = (uint8_t)i;
        uint64_t msr = UINT64_C(0x500000000) + i;
        struct vmlib_exit e = world_run(w, VMLIB_EXIT_PIO);
        assert_int_equal(e.rip, CODE);
        OK(vmlib_vcpu_complete(w->vcpu, &value, 1));
        e = world_run(w, VMLIB_EXIT_PIO);
        assert_int_equal(e.rip, CODE + 2);
        assert_int_equal(e.u.pio.value, value);
        if (i & 4)
            assert_int_equal(world_reg(w, VMLIB_REG_RIP), CODE + 4);
        world_run(w, VMLIB_EXIT_MSR);
        OK(vmlib_vcpu_complete(w->vcpu, &msr, 8));
        world_run(w, VMLIB_EXIT_HLT);
        assert_int_equal(world_reg(w, VMLIB_REG_RAX), i);
        assert_int_equal(world_reg(w, VMLIB_REG_RDX), 5);
        struct vmlib_state s = {.size = sizeof(s)}; /* out of the halt */
        OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    }
}

/* One instruction of each kind; a handler moves rip, or injects #UD. */
GUEST(g_in, "inb $0x10, %al; outb %al, $0x77; hlt");
GUEST(g_out, "outb %al, $0x10; outb %al, $0x77; hlt");
GUEST(g_rdmsr, "rdmsr; outb %al, $0x77; hlt");
GUEST(g_wrmsr, "wrmsr; outb %al, $0x77; hlt");
GUEST(g_load, "addr32 movb 0xa0000, %al; outb %al, $0x77; hlt");
GUEST(g_store, "addr32 movb %al, 0xa0000; outb %al, $0x77; hlt");

static void answers_other_than_values(void **state)
{
    static const uint8_t *const codes[] = {g_in, g_out, g_rdmsr, g_wrmsr, g_load, g_store};
    struct world *w = *state;
    struct all c;
    world_need(VMLIB_FEATURE_MSR_HANDLERS);
    memset(&c, 0, sizeof(c));
    handlers(w, &c);
    for (unsigned i = 0; i < 2 * sizeof(codes) / sizeof(codes[0]); i++) {
        bool inject = i & 1;
        if (inject && i > 3 && world_gap("inject_for_msr_or_device"))
            continue;
        world_load(w, codes[i / 2], codes[i / 2] + 16);
        world_vector_to_port(w, 6, 0x66);
        OK(vmlib_vm_write(w->vm, CODE + 0x20, "\xe6\x55\xf4", 3));
        c.msr.answer = c.port.answer = c.device.answer = inject ? VMLIB_INJECT : VMLIB_HANDLED;
        c.msr.skip = c.port.skip = c.device.skip = !inject;
        world_set(w, VMLIB_REG_RCX, MSR);
        struct vmlib_exit e = world_run(w, VMLIB_EXIT_PIO);
        assert_int_equal(e.u.pio.port, inject ? 0x66 : 0x55);
        if (inject)
            assert_int_equal(world_word(w, STACK - 6, 2), CODE);
    }
}

/* TF: one trap behind each instruction. */
GUEST(g_traps, "pushfw; popw %ax; orw $0x100, %ax; pushw %ax; popfw; "
               "inb $0x10, %al; movl $0x12345, %ecx; rdmsr; wrmsr; cpuid; outb %al, $0x11; "
               "addr32 movb %al, 0xa0000; nop; "
               "pushfw; popw %ax; andw $~0x100, %ax; pushw %ax; popfw; hlt");
GUEST(g_trap, "incw 0x7000; iretw");

static void traps(void **state)
{
    world_machine("long0_trap_flag");
    struct world *w = *state;
    struct all c = {
        {.answer = VMLIB_HANDLED}, {.answer = VMLIB_HANDLED}, {.answer = VMLIB_HANDLED}};
    world_need(VMLIB_FEATURE_MSR_HANDLERS);
    LOAD(w, g_traps);
    handlers(w, &c);
    world_vector(w, 1, 0x9000);
    OK(vmlib_vm_write(w->vm, 0x9000, g_trap, (size_t)(g_trap_end - g_trap)));
    world_run(w, VMLIB_EXIT_HLT);
    assert_int_equal(world_word(w, 0x7000, 2), 13);
    assert_int_equal(c.port.reads + c.port.writes + c.msr.reads + c.msr.writes, 4);
}

/* The shadow of STI ends with the instruction that exits. */
GUEST(g_sti_in, "sti; inb $0x10, %al; hlt; hlt");
GUEST(g_sti_cpuid, "sti; cpuid; hlt; hlt");
GUEST(g_sti_rdmsr, "sti; rdmsr; hlt; hlt");
GUEST(g_sti_hlt, "sti; hlt; hlt");
GUEST(g_sti_load, "sti; addr32 movb 0xa0000, %al; hlt; hlt");

static int acknowledge(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)opaque;
    OK(vmlib_vcpu_set_intr(vcpu, 0));
    exit->u.interrupt.vector = 0x40;
    return VMLIB_HANDLED;
}

static void shadows(void **state)
{
    static const struct {
        const uint8_t *code;
        unsigned length;
    } codes[] = {
        {g_sti_in, 3}, {g_sti_cpuid, 3}, {g_sti_rdmsr, 3}, {g_sti_hlt, 2}, {g_sti_load, 7}};
    world_machine("s7_3_interrupt");
    struct world *w = *state;
    struct all c = {
        {.answer = VMLIB_HANDLED}, {.answer = VMLIB_HANDLED}, {.answer = VMLIB_HANDLED}};
    world_need(VMLIB_FEATURE_MSR_HANDLERS);
    handlers(w, &c);
    world_handler(w, VMLIB_HANDLER_INTACK, 0, 0, acknowledge, NULL);
    for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        world_load(w, codes[i].code, codes[i].code + 12);
        world_vector_to_port(w, 0x40, 0x44);
        world_set(w, VMLIB_REG_RCX, MSR);
        OK(vmlib_vcpu_set_intr(w->vcpu, 1));
        assert_int_equal(world_run(w, VMLIB_EXIT_PIO).u.pio.port, 0x44);
        assert_int_equal(world_word(w, STACK - 6, 2), CODE + codes[i].length);
    }
}

/* Vector registers that the guest changes, leaves alone for a while, changes again and stores to a
 * device; the host changes them meanwhile. */
GUEST(g_vectors, "movl $0x200, %eax; movl %eax, %cr4; movups 0x3000, %xmm0; movups 0x3010, %xmm1; "
                 "movw $40, %cx; 1: outb %al, $0x11; paddd %xmm1, %xmm0; addr32 movb %al, 0xa0000; "
                 "loop 1b; "
                 "movw $40, %cx; 2: outb %al, $0x11; addr32 movb %al, 0xa0000; loop 2b; "
                 "addr32 movups %xmm0, 0xa0010; hlt; "
                 "movw $40, %cx; 3: addr32 movb %al, 0xa0000; loop 3b; "
                 "paddd %xmm1, %xmm0; addr32 movups %xmm0, 0xa0010; hlt");

static void vector_registers(void **state)
{
    struct world *w = *state;
    struct all c = {
        {.answer = VMLIB_HANDLED}, {.answer = VMLIB_HANDLED}, {.answer = VMLIB_HANDLED}};
    const uint32_t data[8] = {1, 2, 3, 4, 10, 20, 30, 40};
    uint8_t xmm[16];
    LOAD(w, g_vectors);
    handlers(w, &c);
    OK(vmlib_vm_write(w->vm, 0x3000, data, sizeof(data)));
    world_run(w, VMLIB_EXIT_HLT);
    assert_true(c.device.last == ((uint64_t)(4 + 40 * 40) << 32) + 3 + 40 * 30);
    OK(vmlib_vcpu_get_reg_wide(w->vcpu, VMLIB_REG_XMM0, xmm, sizeof(xmm)));
    assert_int_equal(xmm[0] + 256 * xmm[1], 1 + 40 * 10);
    memcpy(xmm, data, sizeof(xmm));
    OK(vmlib_vcpu_set_reg_wide(w->vcpu, VMLIB_REG_XMM0, xmm, sizeof(xmm)));
    struct vmlib_state s = {.size = sizeof(s)};
    OK(vmlib_vcpu_set_state(w->vcpu, VMLIB_STATE_EVENTS, &s));
    world_run(w, VMLIB_EXIT_HLT);
    assert_true(c.device.last == ((uint64_t)44 << 32) + 33);
}

static const struct CMUnitTest tests[] = {
    CASE(a_mix), CASE(returned_records), CASE(answers_other_than_values),
    CASE(traps), CASE(shadows),          CASE(vector_registers),
};
MAIN(tests)
