/*
 * What the manual leaves undefined, and what is not run natively: the only differences the test
 * accepts.
 *
 * Flags that depend on nothing but the row stand in the rows (X86_A_UNDEF_*); here is what depends
 * on operands.
 */
#include <string.h>

#include "diff.h"

bool diff_listed(const char *name, const char *list)
{
    size_t n = strlen(name);
    for (const char *p = list; (p = strstr(p, name)) != NULL; p += n)
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || p[n] == 0))
            return true;
    return false;
}

#define IMAGES "fldenv fnstenv frstor fnsave fxsave fxrstor xsave xsaveopt xsavec xrstor"

static uint32_t row_flags(uint32_t attr)
{
    static const uint32_t fl[6] = {X86_FL_CF, X86_FL_PF, X86_FL_AF,
                                   X86_FL_ZF, X86_FL_SF, X86_FL_OF};
    uint32_t m = 0;
    for (unsigned i = 0; i < 6; i++)
        if (attr >> (24 + i) & 1)
            m |= fl[i];
    return m;
}

/* Count of a shift or rotate: imm8, 1 or CL, by the row's last operand. */
static unsigned shift_count(const struct diff_case *c)
{
    const struct x86_row *row = &x86_rows[c->insn.row];
    unsigned last = 3;
    while (last && row->op[last] == X86_O___)
        last--;
    uint64_t n = row->op[last] == X86_O_CL  ? c->in.gpr[X86_RCX]
                 : row->op[last] == X86_O_1 ? 1
                                            : c->insn.imm;
    return (unsigned)n & (c->insn.size == 3 ? 63 : 31);
}

/* SDM Vol.2B RCL..ROR, SAL..SHR, SHLD, SHRD */
static void shifts(const struct diff_case *c, const char *name, struct diff_mask *m)
{
    unsigned n = shift_count(c), size = 8u << c->insn.size;
    bool dbl = diff_listed(name, "shld shrd"), rotate = diff_listed(name, "rol ror rcl rcr");
    uint32_t undef = 0;
    m->flags |= X86_FL_ARITH;
    if (n == 0)
        return; /* nothing changes */
    if (n != 1)
        undef |= X86_FL_OF;
    if (!rotate)
        undef |= X86_FL_AF;
    if ((dbl && n > size) || (diff_listed(name, "shl sal shr") && n >= size))
        undef |= X86_FL_CF;
    if (dbl && n > size) { /* 16-bit operand: the result too */
        undef |= X86_FL_ARITH;
        if (c->insn.mem)
            m->skip_data = true;
        else
            m->gpr[c->insn.rm] &= ~UINT64_C(0xffff);
    }
    m->flags &= ~undef;
}

/* BSF, BSR: "if the source is 0, the destination is undefined" and all flags but ZF */
static void bit_scan(const struct diff_case *c, const struct diff_result *native,
                     struct diff_mask *m)
{
    if (native->out.flags & X86_FL_ZF)
        m->gpr[c->insn.reg] = 0;
}

static bool same_prefix(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static void vector_faults(const struct diff_case *c, const struct diff_result *native,
                          struct diff_mask *m)
{
    const struct x86_row *row = &x86_rows[c->insn.row];
    uint32_t raised = native->out.mxcsr & ~c->in.mxcsr, masks = c->in.mxcsr >> 7;
    /* The SDM gives no order between the #GP of a misaligned operand and the #SS of its segment */
    if (row->attr & X86_A_ALIGN && native->vector == X86_GP && c->insn.seg == X86_SS)
        m->skip_all = true;
    /* The sums of products come in steps, each of which may stop the instruction */
    if (native->vector == X86_XM && diff_listed(row->name, "dpps dppd vdpps vdppd"))
        m->skip_all = true;
    /* With a fault, entering MMX state before or after it */
    if (native->vector == X86_XM &&
        diff_listed(row->name, "cvtps2pi cvtpd2pi cvttps2pi cvttpd2pi cvtpi2ps")) {
        m->sw = 0;
        m->x87_regs = false;
    }
    /* Whether the result that is not delivered would have been inexact: vendors differ */
    if (native->vector == X86_XM && (raised | native->out.mxcsr) & ~masks & 0x18)
        m->mxcsr &= ~0x20u;
}

/* Differences between vendors where the host may not follow the SDM, which the guest's CPU model
 * does. */
static bool vendor_differs(const struct diff_case *c)
{
    const struct x86_row *row = &x86_rows[c->insn.row];
    /* SHA with a misaligned operand: #GP (exceptions of type 4); AMD processors execute it */
    if (same_prefix(row->name, "sha") && row->attr & X86_A_ALIGN && c->insn.mem &&
        diff_operand(c) & 15)
        return true;
    /* VEX.W1 outside 64-bit mode: ignored (note in Vol.2B PINSRD, PEXTRD); AMD processors raise #UD
     */
    if (diff_listed(row->name, "vpextrd vpinsrd") && c->mode != DIFF_64 && c->insn.w)
        return true;
    /* PREFETCHW with a register: a NOP with ModRM, as all of 0F 0D; AMD processors raise #UD */
    if (row->map == X86_M0F && row->opcode == 0x0d && !c->insn.mem)
        return true;
    /* MOVSXD with 16-bit operands reads 16 bits; AMD processors read 32 */
    if (diff_listed(row->name, "movsxd") && c->insn.size == 1 && c->insn.mem)
        return true;
    /* ARPL that changes nothing: whether the operand must be writable is not said */
    if (diff_listed(row->name, "arpl") && c->insn.mem &&
        (c->insn.seg == X86_GS || diff_operand(c) - DIFF_DATA > DIFF_DATA_SIZE - 2))
        return true;
    /* F2 and F3 with LOOPcc: "reserved, unpredictable" (SDM Vol.2A 2.1.1); AMD processors take them
     * as the condition */
    if (c->insn.rep && diff_listed(row->name, "loope loopne"))
        return true;
    /* MXCSR bit 17 exists on AMD processors */
    if (diff_listed(row->name, "ldmxcsr vldmxcsr") && diff_peek32(c, diff_operand(c)) & 0x20000)
        return true;
    /* CVTPI2PS from memory: enters MMX state or not, the SDM says it only for CVTPI2PD */
    if (diff_listed(row->name, "fxrstor xrstor") && diff_peek32(c, diff_operand(c) + 24) & 0x20000)
        return true;
    return diff_listed(row->name, "cvtpi2ps") && c->insn.mem;
}

/* An instruction with several accesses may find any of its faults first. */
static void faults(const struct diff_case *c, const struct diff_result *native, struct diff_mask *m)
{
    const struct x86_row *row = &x86_rows[c->insn.row];
    const char *name = row->name;
    bool image = diff_listed(name, IMAGES);
    if (diff_listed(name, "cmps"))
        m->skip_all = true;
    /* POPA: registers popped before the fault may have changed; it can be restarted since rSP has
     * not */
    if (diff_listed(name, "popa"))
        for (unsigned i = 0; i < 8; i++)
            m->gpr[i] = i == X86_RSP ? m->gpr[i] : 0;
    /* Operands above 8 bytes: "#AC may or may not be generated, depending on the implementation"
     * (SDM Vol.3A 6.15, MOVUPS in Vol.2B) */
    if (native->vector == X86_AC && (row->attr & X86_A_VEC || image))
        m->skip_all = true;
    if (image)
        m->cr2 = ~UINT64_C(0xfff);
    /* Faults of bytes that are not selected: "implementation dependent" (SDM Vol.2B MASKMOVDQU) */
    if (diff_listed(name, "maskmovq maskmovdqu vmaskmovdqu"))
        m->skip_all = true;
    vector_faults(c, native, m);
}

/* Two faults at once, of classes between which the SDM gives no order for this instruction (Vol.3A
 * table 6-2 leaves it to the implementation within "faults from executing an instruction"). */
bool diff_fault_order_open(const struct diff_case *c, const struct diff_result *native,
                           const struct diff_result *emulated)
{
    const char *name = x86_rows[c->insn.row].name;
    if (emulated->vector != X86_GP)
        return false;
    if (native->vector == X86_AC) /* alignment against limit */
        return true;
    /* an image has several accesses: one behind the limit, another on a page that faults */
    if (native->vector == X86_PF && diff_listed(name, IMAGES))
        return true;
    /* the target's #GP and the fault of the push */
    return (native->vector == X86_PF || native->vector == X86_STK) && diff_listed(name, "call");
}

void diff_defined(const struct diff_case *c, const struct diff_result *native, struct diff_mask *m)
{
    const struct x86_row *row = &x86_rows[c->insn.row];
    const char *name = row->name;
    memset(m, 0, sizeof(*m));
    for (unsigned i = 0; i < 16; i++)
        m->gpr[i] = c->mode == DIFF_64 ? UINT64_MAX : i < 8 ? UINT32_MAX : 0;
    if (c->mode == DIFF_16) /* Linux returns to a 16-bit stack with foreign bits in 31:16 of ESP */
        m->gpr[X86_RSP] = 0xffff;
    /* RF depends on the kind of fault and is not part of the instruction's result. */
    m->flags = X86_FL_ALL & ~X86_FL_RF;
    m->sw = 0xffff;
    m->x87_regs = true;
    m->cr2 = UINT64_MAX;
    m->mxcsr = UINT32_MAX;
    m->skip_all = vendor_differs(c);
    if (native->vector != DIFF_NO_FAULT) {
        faults(c, native, m);
        return;
    }
    m->flags &= ~row_flags(row->attr);
    if (diff_listed(name, "rol ror rcl rcr shl sal shr sar shld shrd"))
        shifts(c, name, m);
    else if (diff_listed(name, "bsf bsr"))
        bit_scan(c, native, m);
    else if (diff_listed(name, "bswap") && c->insn.size == 1) /* "undefined" */
        m->gpr[c->insn.reg] &= ~UINT64_C(0xffff);
    if (diff_listed(name, "fxsave xsave xsaveopt xsavec")) {
        /* FOP, FIP, FDP and their selectors as for FNSTENV; MXCSR_MASK has bit 17 on AMD processors
         */
        m->skip_at = diff_operand(c) + 6;
        m->skip_size = 18;
        m->mask_at = diff_operand(c) + 28;
    } else if (name[0] == 'f')
        diff_defined_x87(c, native, m);
}

static const struct {
    const char *names, *why;
} excluded[] = {
    {"rdtsc rdtscp", "the result is the time"},
    {"rdrand rdseed", "the result is random"},
    {"cpuid rdpid rdpmc xgetbv", "the result belongs to the CPU model"},
    {"int int3 int1 into", "needs an IDT"},
    {"les lds lss lfs lgs verr verw lar lsl retf iret", "needs descriptor tables"},
    {"sldt str lldt ltr sgdt sidt lgdt lidt smsw lmsw invlpg clac stac xsetbv swapgs clts invd "
     "wbinvd "
     "wrmsr rdmsr invpcid hlt cli sti ins outs in out xrstors xsaves",
     "privileged, or reports system state"},
    {"syscall sysret sysenter sysexit vmcall vmmcall monitor mwait", "calls the host's system"},
    /* Open: run, they differ from the host, and which differences are the implementation's choice
     * (XINUSE, XSAVEOPT's tracking, ARPL's need for a writable operand) has not been settled. */
    {"fxsave fxrstor xsave xsaveopt xsavec xrstor arpl", "OPEN: differences not settled"},
};

/* Forms of names that also have user-level forms: segment, control and debug registers; far. */
static bool system_operand(const struct x86_row *row)
{
    for (unsigned i = 0; i < 4; i++) {
        uint8_t o = row->op[i];
        if (o == X86_O_Sw || o == X86_O_Cy || o == X86_O_Dy || o == X86_O_Ap || o == X86_O_Mp ||
            (o >= X86_O_ES && o <= X86_O_GS && o != X86_O_1))
            return true;
    }
    return false;
}

const char *diff_excluded(const struct x86_row *row)
{
    if (row->attr & X86_A_USER)
        return NULL;
    for (unsigned i = 0; i < sizeof(excluded) / sizeof(excluded[0]); i++)
        if (diff_listed(row->name, excluded[i].names))
            return excluded[i].why;
    return system_operand(row) ? "segment, control or debug register, or far" : NULL;
}
