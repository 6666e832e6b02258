/* Port I/O: IN, OUT, INS, OUTS. SDM Vol.1 chapter 19. */
#include "x86/sysint.h"

enum x86_result x86_io_check(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
    bool by_bitmap = cpu->mode & X86_MODE_V86 ||
                     (!(cpu->mode & X86_MODE_REAL) && cpu->cpl > (cpu->eflags >> 12 & 3));
    return by_bitmap ? x86_tss_io_check(cpu, port, size) : X86_OK;
}

/* Value in cpu->tmp. */
static enum x86_result port_in(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
    enum x86_result r = cpu->ops->pio_read(cpu, port, size);
    if (r == X86_OK && cpu->data_bp)
        x86_bp_io(cpu, port, size);
    return r;
}

static enum x86_result port_out(struct x86_cpu *cpu, uint16_t port, uint64_t value, unsigned size)
{
    enum x86_result r = cpu->ops->pio_write(cpu, port, (uint32_t)value, size);
    if (r == X86_OK && cpu->data_bp)
        x86_bp_io(cpu, port, size);
    return r;
}

static unsigned io_size(const struct x86_uop *u)
{
    unsigned size = x86_uop_bytes(u);
    return size == 8 ? 4 : size;
}

static struct x86_uop *in(struct x86_cpu *cpu, struct x86_uop *u, uint16_t port)
{
    unsigned size = io_size(u);
    cpu->cur = u; /* the permission bitmap may lie in a device, too */
    if (x86_io_check(cpu, port, size) != X86_OK || port_in(cpu, port, size) != X86_OK)
        return x86_leave(cpu, u);
    if (size == 1)
        cpu->r[X86_RAX] = (cpu->r[X86_RAX] & ~UINT64_C(0xff)) | (cpu->tmp & 0xff);
    else
        x86_write_gpr(cpu, X86_RAX, cpu->tmp, size);
    X86_NEXT_IO(cpu, u);
}

static struct x86_uop *out(struct x86_cpu *cpu, struct x86_uop *u, uint16_t port)
{
    static const uint32_t mask[5] = {0, 0xff, 0xffff, 0, 0xffffffff};
    unsigned size = io_size(u);
    cpu->cur = u; /* the permission bitmap may lie in a device, too */
    if (x86_io_check(cpu, port, size) != X86_OK ||
        port_out(cpu, port, cpu->r[X86_RAX] & mask[size], size) != X86_OK)
        return x86_leave(cpu, u);
    X86_NEXT_IO(cpu, u);
}

static struct x86_uop *exec_in_imm(struct x86_cpu *cpu, struct x86_uop *u)
{
    return in(cpu, u, (uint8_t)u->imm);
}
static struct x86_uop *exec_in_dx(struct x86_cpu *cpu, struct x86_uop *u)
{
    return in(cpu, u, (uint16_t)cpu->r[X86_RDX]);
}
static struct x86_uop *exec_out_imm(struct x86_cpu *cpu, struct x86_uop *u)
{
    return out(cpu, u, (uint8_t)u->imm);
}
static struct x86_uop *exec_out_dx(struct x86_cpu *cpu, struct x86_uop *u)
{
    return out(cpu, u, (uint16_t)cpu->r[X86_RDX]);
}
X86_ROW_ONE(IN_Ib, exec_in_imm)
X86_ROW_ONE(IN_DX, exec_in_dx)
X86_ROW_ONE(OUT_Ib, exec_out_imm)
X86_ROW_ONE(OUT_DX, exec_out_dx)

/* --- strings: one element per access, each complete in itself --- */

static unsigned address_bytes(const struct x86_uop *u)
{
    return 2u << (u->aux >> 2 & 3);
}

static void step_index(struct x86_cpu *cpu, const struct x86_uop *u, unsigned reg, unsigned size)
{
    unsigned asize = address_bytes(u);
    uint64_t v = x86_read_gpr(cpu, reg, asize);
    x86_write_gpr(cpu, reg, cpu->eflags & X86_FL_DF ? v - size : v + size, asize);
}

/* The destination is checked before the port is read: what a device gave must not be lost. */
static enum x86_result ins_one(struct x86_cpu *cpu, struct x86_uop *u, uint16_t port, unsigned size)
{
    uint64_t off = x86_read_gpr(cpu, X86_RDI, address_bytes(u)), lin;
    if (!x86_seg_lin(cpu, X86_ES, off, size, true, &lin) || !x86_probe_write(cpu, u, lin, size))
        return x86_why(cpu);
    enum x86_result r = port_in(cpu, port, size);
    if (r != X86_OK)
        return r;
    uint64_t v = cpu->tmp;
    bool ok = size == 1   ? x86_st8(cpu, u, lin, (uint8_t)v)
              : size == 2 ? x86_st16(cpu, u, lin, (uint16_t)v)
                          : x86_st32(cpu, u, lin, (uint32_t)v);
    if (!ok)
        return x86_why(cpu);
    step_index(cpu, u, X86_RDI, size);
    return X86_OK;
}

static enum x86_result outs_one(struct x86_cpu *cpu, struct x86_uop *u, uint16_t port,
                                unsigned size)
{
    uint64_t off = x86_read_gpr(cpu, X86_RSI, address_bytes(u)), lin;
    uint32_t v = 0;
    if (!x86_seg_lin(cpu, u->seg, off, size, false, &lin) || !x86_read_bytes(cpu, u, lin, &v, size))
        return x86_why(cpu);
    enum x86_result r = port_out(cpu, port, v, size);
    if (r == X86_OK)
        step_index(cpu, u, X86_RSI, size);
    return r;
}

static struct x86_uop *string_io(struct x86_cpu *cpu, struct x86_uop *u,
                                 enum x86_result (*one)(struct x86_cpu *, struct x86_uop *,
                                                        uint16_t, unsigned))
{
    bool rep = u->aux & (X86_AUX_REP | X86_AUX_REPNE);
    unsigned size = io_size(u), asize = address_bytes(u);
    uint16_t port = (uint16_t)cpu->r[X86_RDX];

    if (rep && x86_read_gpr(cpu, X86_RCX, asize) == 0)
        X86_NEXT(cpu, u);
    cpu->cur = u;
    if (x86_io_check(cpu, port, size) != X86_OK)
        return x86_leave(cpu, u);
    for (;;) {
        if (one(cpu, u, port, size) != X86_OK)
            return x86_leave(cpu, u);
        if (!rep)
            return x86_leave_next(cpu, u);
        uint64_t left = x86_read_gpr(cpu, X86_RCX, asize) - 1;
        x86_write_gpr(cpu, X86_RCX, left, asize);
        if (left == 0)
            return x86_leave_next(cpu, u);
        x86_worked(cpu, 1);
        cpu->nanswers = cpu->next_answer = 0; /* answers belong to one element */
        if (cpu->resync || cpu->eflags & X86_FL_TF || __atomic_load_n(&cpu->poll, __ATOMIC_RELAXED))
            break;
    }
    cpu->leave = X86_LEAVE_LOOKUP; /* interrupted between iterations: restart */
    return x86_leave(cpu, u);
}

static struct x86_uop *exec_ins(struct x86_cpu *cpu, struct x86_uop *u)
{
    return string_io(cpu, u, ins_one);
}
static struct x86_uop *exec_outs(struct x86_cpu *cpu, struct x86_uop *u)
{
    return string_io(cpu, u, outs_one);
}
X86_ROW_ONE(INS, exec_ins)
X86_ROW_ONE(OUTS, exec_outs)
