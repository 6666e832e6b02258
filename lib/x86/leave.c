/* The ways out of a block. Inside one, rip and the instruction count are implicit; here they become
 * explicit. */
#include "x86/handlers.h"
#include "x86/ops.h"

struct x86_uop *x86_leave(struct x86_cpu *cpu, struct x86_uop *u)
{
    /* A callback may have moved rip through the API: the instruction is over. */
    if (X86_LIKELY(!cpu->rip_set))
        cpu->rip = x86_this_rip(cpu, u) & x86_ip_mask(cpu);
    cpu->left += u->rem;
    return NULL;
}

struct x86_uop *x86_leave_next(struct x86_cpu *cpu, struct x86_uop *u)
{
    /* A callback may have moved rip through the API: that wins. */
    if (!cpu->rip_set)
        cpu->rip = x86_next_rip(cpu, u) & x86_ip_mask(cpu);
    return x86_leave_to(cpu, u);
}

struct x86_uop *x86_leave_to(struct x86_cpu *cpu, struct x86_uop *u)
{
    cpu->rip_set = false;
    cpu->resync = false;
    cpu->left += u->rem - 1;
    cpu->leave = X86_LEAVE_LOOKUP;
    return NULL;
}

struct x86_uop *x86_next_io(struct x86_cpu *cpu, struct x86_uop *u)
{
    X86_NEXT_IO(cpu, u);
}

enum x86_result x86_fault(struct x86_cpu *cpu, unsigned vector)
{
    cpu->exc = (struct x86_event){.vector = (uint8_t)vector, .kind = X86_EV_FAULT, .valid = true};
    cpu->leave = X86_LEAVE_EXC;
    return X86_EXC;
}

enum x86_result x86_fault_err(struct x86_cpu *cpu, unsigned vector, uint32_t error)
{
    x86_fault(cpu, vector);
    cpu->exc.has_error = true;
    cpu->exc.error = error;
    return X86_EXC;
}

struct x86_uop *x86_raise(struct x86_cpu *cpu, struct x86_uop *u, unsigned vector)
{
    x86_fault(cpu, vector);
    return x86_leave(cpu, u);
}

struct x86_uop *x86_raise_err(struct x86_cpu *cpu, struct x86_uop *u, unsigned vector,
                              uint32_t error)
{
    x86_fault_err(cpu, vector, error);
    return x86_leave(cpu, u);
}

struct x86_uop *x86_op_ud(struct x86_cpu *cpu, struct x86_uop *u)
{
    return x86_raise(cpu, u, X86_UD);
}

struct x86_uop *x86_op_too_long(struct x86_cpu *cpu, struct x86_uop *u)
{
    return x86_raise_err(cpu, u, X86_GP, 0);
}

struct x86_uop *x86_op_end(struct x86_cpu *cpu, struct x86_uop *u)
{
    cpu->leave = X86_LEAVE_LOOKUP;
    return x86_leave(cpu, u); /* u->rem is 0 */
}

struct x86_uop *x86_op_dead(struct x86_cpu *cpu, struct x86_uop *u)
{
    cpu->leave = X86_LEAVE_LOOKUP;
    x86_leave(cpu, u);
    cpu->rip_set = false;
    cpu->resync = false;
    return NULL;
}
