/* From a decoded instruction to its executable form: picks the handler and packs the operands. */
#include "x86/insn.h"
#include "x86/handlers.h"

/* Register number -> byte offset in cpu->r of an 8-bit register: AH..BH without any REX prefix. */
static uint8_t byte_reg(const struct x86_insn *in, uint8_t reg)
{
    bool high = !in->rex && reg >= 4 && reg < 8;
    return high ? (uint8_t)((reg - 4) * 8 + 1) : (uint8_t)(reg * 8);
}

static void pack_registers(const struct x86_insn *in, const struct x86_row *r, struct x86_uop *u)
{
    u->reg = in->reg;
    u->rm = in->rm;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t o = r->op[i];
        if (o == X86_O_Gb || o == X86_O_Zb)
            u->reg = byte_reg(in, in->reg);
        else if (o == X86_O_Eb && !in->mem)
            u->rm = byte_reg(in, in->rm);
    }
}

static bool fits32(int64_t v)
{
    return v == (int32_t)v;
}

static bool is_branch(const struct x86_row *r)
{
    return r->op[0] == X86_O_Jb || r->op[0] == X86_O_Jz;
}

/* Is the memory operand plain 64-bit addressing, and can its displacement be held relative to
 * RIPBASE? */
static unsigned pack_memory(const struct x86_insn *in, unsigned offset, struct x86_uop *u)
{
    int64_t disp = in->disp;
    u->base = in->base;
    u->index = in->index;
    u->scale = in->scale;
    if (in->base == X86_RIPREL && fits32(disp + offset + in->length)) {
        u->base = X86_RIPBASE;
        disp += offset + in->length;
    }
    u->disp = (int32_t)disp;
    bool flat = in->asize == 3 && in->seg < X86_FS && u->base != X86_RIPREL;
    return flat ? X86_FORM_FLAT : X86_FORM_SEG;
}

static x86_handler *pick(const struct x86_row *r, unsigned form, unsigned size, bool no_index)
{
    switch (r->shape) {
    case X86_SHAPE_SIZE:
        return r->handlers[size];
    case X86_SHAPE_FORM:
        return r->handlers[form];
    case X86_SHAPE_FORM_SIZE:
        if (form == X86_FORM_FLAT && no_index)
            form = X86_FORM_BASE;
        return r->handlers[form * 4 + size];
    default:
        return r->handlers[0];
    }
}

void x86_lower(const struct x86_cpu *cpu, const struct x86_insn *in, unsigned offset,
               struct x86_uop *u)
{
    const struct x86_row *r = &x86_rows[in->row];
    unsigned form = X86_FORM_REG;

    (void)cpu;
    *u = (struct x86_uop){
        .imm = in->imm,
        .ip = (uint16_t)(offset | (unsigned)in->length << 12),
        .row = in->row,
        .rem = 1,
        .base = X86_NOREG,
        .index = X86_NOREG,
        .seg = in->seg,
        .aux = (uint8_t)(in->size | (in->asize - 1) << 2 | (in->rep == 0xf3 ? X86_AUX_REP : 0) |
                         (in->rep == 0xf2 ? X86_AUX_REPNE : 0) | (in->lock ? X86_AUX_LOCK : 0) |
                         (in->mem ? X86_AUX_MEM : 0)),
    };
    pack_registers(in, r, u);
    if (in->has_modrm && in->mem)
        form = pack_memory(in, offset, u);
    if (r->attr & X86_A_VEC)
        u->imm = (in->imm & 0xff) | (uint64_t)in->vvvv << 8 | (uint64_t)in->l << 16 |
                 (uint64_t)in->w << 24;
    if (r->map == X86_M1 && (r->opcode & 0xf8) == 0xd8)
        u->imm = (uint64_t)(r->opcode & 7) << 8 | in->modrm; /* the x87 opcode register's form */
    if (is_branch(r)) { /* the target; beyond 32 bits the carry goes to scale (branch.h) */
        int64_t target = (int64_t)in->imm + offset + in->length;
        u->disp = (int32_t)target;
        u->scale = (uint8_t)((target - (int32_t)target) >> 32);
        u->link = NULL;
    } else if (r->op[0] == X86_O_Ap || r->op[1] == X86_O_Ib) {
        if (!in->has_modrm)
            u->disp = in->imm2; /* far pointer's selector, ENTER's nesting level */
    }
    u->fn = pick(r, form, in->size, u->index == X86_NOREG);
    if (!u->fn)
        u->fn = x86_op_ud;
}
