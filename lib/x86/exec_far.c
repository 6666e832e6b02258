/* Instructions that transfer far: JMP/CALL/RET far, IRET, INT n, INT3, INTO, INT1. */
#include "x86/sysint.h"

static uint64_t next_ip(const struct x86_cpu *cpu, const struct x86_uop *u)
{
    return x86_next_rip(cpu, u) & x86_ip_mask(cpu);
}

static uint64_t offset_of(uint64_t v, unsigned size)
{
    return size == 8 ? v : v & (size == 4 ? UINT32_MAX : UINT16_MAX);
}

static struct x86_uop *far_imm(struct x86_cpu *cpu, struct x86_uop *u, enum x86_far kind)
{
    unsigned size = x86_uop_bytes(u);
    cpu->cur = u; /* descriptors, tables and stacks may lie in a device */
    return x86_done_to(cpu, u,
                       x86_far_branch(cpu, kind, (uint16_t)u->disp, offset_of(u->imm, size), size,
                                      next_ip(cpu, u)));
}
static struct x86_uop *far_mem(struct x86_cpu *cpu, struct x86_uop *u, enum x86_far kind)
{
    unsigned size = x86_uop_bytes(u);
    uint64_t raw[2] = {0, 0};
    if (!x86_mem_lin(cpu, u, size + 2, false) || !x86_read_bytes(cpu, u, cpu->tmp, raw, size + 2))
        return x86_leave(cpu, u);
    uint16_t sel = (uint16_t)(size == 8 ? raw[1] : raw[0] >> 8 * size);
    return x86_done_to(
        cpu, u, x86_far_branch(cpu, kind, sel, offset_of(raw[0], size), size, next_ip(cpu, u)));
}

static struct x86_uop *exec_jmp_Ap(struct x86_cpu *cpu, struct x86_uop *u)
{
    return far_imm(cpu, u, X86_FAR_JMP);
}
static struct x86_uop *exec_call_Ap(struct x86_cpu *cpu, struct x86_uop *u)
{
    return far_imm(cpu, u, X86_FAR_CALL);
}
static struct x86_uop *exec_jmp_Mp(struct x86_cpu *cpu, struct x86_uop *u)
{
    return far_mem(cpu, u, X86_FAR_JMP);
}
static struct x86_uop *exec_call_Mp(struct x86_cpu *cpu, struct x86_uop *u)
{
    return far_mem(cpu, u, X86_FAR_CALL);
}
X86_ROW_ONE(JMP_Ap, exec_jmp_Ap)
X86_ROW_ONE(CALL_Ap, exec_call_Ap)
X86_ROW_ONE(JMP_Mp, exec_jmp_Mp)
X86_ROW_ONE(CALL_Mp, exec_call_Mp)

static struct x86_uop *exec_retf(struct x86_cpu *cpu, struct x86_uop *u)
{
    cpu->cur = u;
    return x86_done_to(cpu, u, x86_far_return(cpu, x86_uop_bytes(u), (uint16_t)u->imm));
}
X86_ROW_ONE(RETF, exec_retf)

static struct x86_uop *exec_iret(struct x86_cpu *cpu, struct x86_uop *u)
{
    cpu->cur = u;
    return x86_done_to(cpu, u, x86_iret(cpu, x86_uop_bytes(u), next_ip(cpu, u)));
}
X86_ROW_ONE(IRET, exec_iret)

/* Software interrupts are delivered at once; rip stays at the instruction until that worked. */
static struct x86_uop *interrupt(struct x86_cpu *cpu, struct x86_uop *u, unsigned vector,
                                 enum x86_event_kind kind)
{
    const struct x86_event ev = {.vector = (uint8_t)vector,
                                 .kind = (uint8_t)kind,
                                 .insn_len = (uint8_t)x86_uop_len(u),
                                 .valid = true};
    cpu->cur = u;
    cpu->rip = x86_this_rip(cpu, u) & x86_ip_mask(cpu);
    enum x86_result r = x86_deliver(cpu, &ev);
    if (r == X86_OK && !cpu->diverted)
        return x86_leave_to(cpu, u);
    /* A faulting INT n does not count. rip and leave are as delivery left them. */
    cpu->left += u->rem;
    return NULL;
}

static struct x86_uop *exec_int(struct x86_cpu *cpu, struct x86_uop *u)
{
    return interrupt(cpu, u, (uint8_t)u->imm, X86_EV_SOFT);
}
static struct x86_uop *exec_int3(struct x86_cpu *cpu, struct x86_uop *u)
{
    return interrupt(cpu, u, X86_BP, X86_EV_SOFT_EXC);
}
static struct x86_uop *exec_int1(struct x86_cpu *cpu, struct x86_uop *u)
{
    return interrupt(cpu, u, X86_DB, X86_EV_ICEBP);
}
static struct x86_uop *exec_into(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (cpu->cc & X86_CC_OF)
        return interrupt(cpu, u, X86_OF, X86_EV_SOFT_EXC);
    return x86_leave_next(cpu, u);
}
X86_ROW_ONE(INT_Ib, exec_int)
X86_ROW_ONE(INT3, exec_int3)
X86_ROW_ONE(INT1, exec_int1)
X86_ROW_ONE(INTO, exec_into)
