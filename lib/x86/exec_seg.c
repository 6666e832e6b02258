/* Instructions on segment registers and descriptor tables: MOV/PUSH/POP Sreg, LDS..LGS, LGDT..STR,
 * LAR, LSL, VERR, VERW, ARPL. */
#include "x86/sysint.h"

/* --- segment registers --- */

static struct x86_uop *exec_mov_from_sreg(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (u->reg > X86_GS)
        return x86_raise(cpu, u, X86_UD);
    unsigned size = u->aux & X86_AUX_MEM ? 2 : x86_uop_bytes(u);
    if (!x86_write_E(cpu, u, cpu->seg[u->reg].sel, size))
        return x86_leave(cpu, u);
    X86_NEXT(cpu, u);
}
X86_ROW_ONE(MOV_Ev_Sw, exec_mov_from_sreg)

/* After a load of SS, interrupts and debug traps wait for one more instruction: SDM Vol.3A 6.8.3.
 */
static struct x86_uop *loaded(struct x86_cpu *cpu, struct x86_uop *u, unsigned seg)
{
    if (seg == X86_SS)
        cpu->shadow |= X86_SHADOW_MOVSS;
    return x86_leave_next(cpu, u);
}

static struct x86_uop *exec_mov_to_sreg(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned seg = u->reg;
    if (seg > X86_GS || seg == X86_CS)
        return x86_raise(cpu, u, X86_UD);
    cpu->cur = u; /* descriptors may lie in a device */
    if (!x86_read_E(cpu, u, 2))
        return x86_leave(cpu, u);
    if (x86_load_seg(cpu, seg, (uint16_t)cpu->tmp) != X86_OK)
        return x86_leave(cpu, u);
    return loaded(cpu, u, seg);
}
X86_ROW_ONE(MOV_Sw_Ew, exec_mov_to_sreg)

static struct x86_uop *push_sreg(struct x86_cpu *cpu, struct x86_uop *u, unsigned seg)
{
    if (!x86_push(cpu, u, cpu->seg[seg].sel, x86_uop_bytes(u)))
        return x86_leave(cpu, u);
    X86_NEXT(cpu, u);
}

/* rSP moves only when the segment register has been loaded; a 16-bit selector is all that is read.
 */
static struct x86_uop *pop_sreg(struct x86_cpu *cpu, struct x86_uop *u, unsigned seg)
{
    struct x86_stk s;
    uint64_t sel;
    cpu->cur = u;
    x86_stk_current(cpu, &s);
    if (x86_stk_peek(cpu, &s, &sel, 1, 2) != X86_OK)
        return x86_leave(cpu, u);
    if (x86_load_seg(cpu, seg, (uint16_t)sel) != X86_OK)
        return x86_leave(cpu, u);
    x86_stk_move(&s, x86_uop_bytes(u));
    cpu->r[X86_RSP] = s.sp;
    return loaded(cpu, u, seg);
}

#define SREG(name)                                                                  \
    static struct x86_uop *exec_push_##name(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                               \
        return push_sreg(cpu, u, X86_##name);                                       \
    }                                                                               \
    static struct x86_uop *exec_pop_##name(struct x86_cpu *cpu, struct x86_uop *u)  \
    {                                                                               \
        return pop_sreg(cpu, u, X86_##name);                                        \
    }                                                                               \
    X86_ROW_ONE(PUSH_##name, exec_push_##name)                                      \
    X86_ROW_ONE(POP_##name, exec_pop_##name)
SREG(ES)
SREG(SS)
SREG(DS)
SREG(FS)
SREG(GS)

static struct x86_uop *exec_push_CS(struct x86_cpu *cpu, struct x86_uop *u)
{
    return push_sreg(cpu, u, X86_CS);
}
X86_ROW_ONE(PUSH_CS, exec_push_CS)

/* LDS, LES, LSS, LFS, LGS: offset, then selector. */
static struct x86_uop *load_far(struct x86_cpu *cpu, struct x86_uop *u, unsigned seg)
{
    unsigned size = x86_uop_bytes(u);
    uint64_t raw[2] = {0, 0};
    if (!x86_mem_lin(cpu, u, size + 2, false) || !x86_read_bytes(cpu, u, cpu->tmp, raw, size + 2))
        return x86_leave(cpu, u);
    uint64_t offset = size == 8 ? raw[0] : raw[0] & ((UINT64_C(1) << 8 * size) - 1);
    uint16_t sel = (uint16_t)(size == 8 ? raw[1] : raw[0] >> 8 * size);
    if (x86_load_seg(cpu, seg, sel) != X86_OK)
        return x86_leave(cpu, u);
    x86_write_gpr(cpu, u->reg, offset, size);
    return x86_leave_next(cpu, u);
}
#define LOAD_FAR(name, seg)                                                    \
    static struct x86_uop *exec_##name(struct x86_cpu *cpu, struct x86_uop *u) \
    {                                                                          \
        return load_far(cpu, u, seg);                                          \
    }                                                                          \
    X86_ROW_ONE(name, exec_##name)
LOAD_FAR(LES, X86_ES)
LOAD_FAR(LDS, X86_DS)
LOAD_FAR(LSS, X86_SS)
LOAD_FAR(LFS, X86_FS)
LOAD_FAR(LGS, X86_GS)

/* --- descriptor-table registers --- */

static bool umip_refuses(const struct x86_cpu *cpu)
{
    return cpu->cr4 & X86_CR4_UMIP && cpu->cpl > 0;
}

static struct x86_uop *store_dtr(struct x86_cpu *cpu, struct x86_uop *u, const struct x86_dtr *t)
{
    uint8_t img[10];
    unsigned size = x86_in_long64(cpu) ? 10 : 6;
    if (umip_refuses(cpu))
        return x86_gp0(cpu, u);
    memcpy(img, &t->limit, 2);
    memcpy(img + 2, &t->base, 8);
    if (!x86_mem_lin(cpu, u, size, true) || !x86_write_bytes(cpu, u, cpu->tmp, img, size))
        return x86_leave(cpu, u);
    return x86_leave_next(cpu, u); /* not X86_NEXT: addresses of locals were handed on (uop.h) */
}

static struct x86_uop *load_dtr(struct x86_cpu *cpu, struct x86_uop *u, struct x86_dtr *t)
{
    uint8_t img[10] = {0};
    bool long64 = x86_in_long64(cpu);
    unsigned size = long64 ? 10 : 6;
    uint64_t base;
    if (cpu->cpl > 0)
        return x86_gp0(cpu, u);
    if (!x86_mem_lin(cpu, u, size, false) || !x86_read_bytes(cpu, u, cpu->tmp, img, size))
        return x86_leave(cpu, u);
    memcpy(&base, img + 2, 8);
    if (!x86_canonical(base))
        return x86_gp0(cpu, u);
    if (!long64 && x86_uop_bytes(u) == 2)
        base &= 0xffffff; /* 16-bit operand size: 24 bits */
    memcpy(&t->limit, img, 2);
    t->base = base;
    return x86_leave_next(cpu, u);
}

static struct x86_uop *exec_sgdt(struct x86_cpu *cpu, struct x86_uop *u)
{
    return store_dtr(cpu, u, &cpu->gdtr);
}
static struct x86_uop *exec_sidt(struct x86_cpu *cpu, struct x86_uop *u)
{
    return store_dtr(cpu, u, &cpu->idtr);
}
static struct x86_uop *exec_lgdt(struct x86_cpu *cpu, struct x86_uop *u)
{
    return load_dtr(cpu, u, &cpu->gdtr);
}
static struct x86_uop *exec_lidt(struct x86_cpu *cpu, struct x86_uop *u)
{
    return load_dtr(cpu, u, &cpu->idtr);
}
X86_ROW_ONE(SGDT, exec_sgdt)
X86_ROW_ONE(SIDT, exec_sidt)
X86_ROW_ONE(LGDT, exec_lgdt)
X86_ROW_ONE(LIDT, exec_lidt)

static struct x86_uop *store_sel(struct x86_cpu *cpu, struct x86_uop *u, uint16_t sel)
{
    if (umip_refuses(cpu))
        return x86_gp0(cpu, u);
    if (!x86_write_E(cpu, u, sel, u->aux & X86_AUX_MEM ? 2 : x86_uop_bytes(u)))
        return x86_leave(cpu, u);
    X86_NEXT(cpu, u);
}
static struct x86_uop *exec_sldt(struct x86_cpu *cpu, struct x86_uop *u)
{
    return store_sel(cpu, u, cpu->ldtr.sel);
}
static struct x86_uop *exec_str(struct x86_cpu *cpu, struct x86_uop *u)
{
    return store_sel(cpu, u, cpu->tr.sel);
}
X86_ROW_ONE(SLDT, exec_sldt)
X86_ROW_ONE(STR, exec_str)

/* Descriptor of an LDT or TSS that LLDT or LTR names. */
static enum x86_result system_desc(struct x86_cpu *cpu, uint16_t sel, uint32_t good_types,
                                   struct x86_desc *d)
{
    enum x86_result r;
    if (sel & 4)
        return x86_fault_sel(cpu, X86_GP, sel);
    r = x86_read_desc(cpu, sel, X86_GP, d);
    if (r != X86_OK)
        return r;
    if (!(good_types >> x86_ar_systype(d->ar) & 1))
        return x86_fault_sel(cpu, X86_GP, sel);
    if (!(d->ar & X86_AR_P))
        return x86_fault_sel(cpu, X86_NP, sel);
    if (cpu->long_mode) {
        uint64_t upper;
        r = x86_read_desc_upper(cpu, sel, X86_GP, d, &upper);
        if (r == X86_OK && (upper >> 40 & 0x1f || !x86_canonical(d->base)))
            return x86_fault_sel(cpu, X86_GP, sel);
    }
    return r;
}

static void put_system(struct x86_seg *s, uint16_t sel, const struct x86_desc *d)
{
    *s = (struct x86_seg){.base = d->base, .limit = d->limit, .ar = d->ar, .sel = sel};
}

static struct x86_uop *exec_lldt(struct x86_cpu *cpu, struct x86_uop *u)
{
    struct x86_desc d;
    if (cpu->cpl > 0)
        return x86_gp0(cpu, u);
    cpu->cur = u;
    if (!x86_read_E(cpu, u, 2))
        return x86_leave(cpu, u);
    uint16_t sel = (uint16_t)cpu->tmp;
    if (x86_sel_null(sel)) {
        cpu->ldtr = (struct x86_seg){.sel = sel, .ar = X86_AR_UNUSABLE};
        return x86_leave_next(cpu, u);
    }
    if (system_desc(cpu, sel, 1u << X86_ST_LDT, &d) != X86_OK)
        return x86_leave(cpu, u);
    put_system(&cpu->ldtr, sel, &d);
    return x86_leave_next(cpu, u);
}
X86_ROW_ONE(LLDT, exec_lldt)

static struct x86_uop *exec_ltr(struct x86_cpu *cpu, struct x86_uop *u)
{
    struct x86_desc d;
    uint32_t good = 1u << X86_ST_TSS32 | (cpu->long_mode ? 0 : 1u << X86_ST_TSS16);
    if (cpu->cpl > 0)
        return x86_gp0(cpu, u);
    cpu->cur = u;
    if (!x86_read_E(cpu, u, 2))
        return x86_leave(cpu, u);
    uint16_t sel = (uint16_t)cpu->tmp;
    if (x86_sel_null(sel))
        return x86_gp0(cpu, u);
    if (system_desc(cpu, sel, good, &d) != X86_OK || x86_set_busy(cpu, d.addr, true) != X86_OK)
        return x86_leave(cpu, u);
    d.ar |= X86_ST_BUSY;
    put_system(&cpu->tr, sel, &d);
    return x86_leave_next(cpu, u);
}
X86_ROW_ONE(LTR, exec_ltr)

/* --- asking about descriptors: no fault, the answer is ZF --- */

/* Reads the descriptor; *ok false where the selector names none. Page faults still are faults. */
static enum x86_result probe_desc(struct x86_cpu *cpu, uint16_t sel, struct x86_desc *d, bool *ok)
{
    *ok = false;
    if (x86_sel_null(sel))
        return X86_OK;
    enum x86_result r = x86_read_desc(cpu, sel, X86_GP, d);
    if (r == X86_EXC && cpu->exc.vector == X86_GP)
        return X86_OK;
    *ok = r == X86_OK;
    return r;
}

static bool visible(const struct x86_cpu *cpu, uint16_t sel, const struct x86_desc *d)
{
    unsigned dpl = x86_ar_dpl(d->ar);
    if (x86_ar_code(d->ar) && x86_ar_conforming(d->ar))
        return true;
    return dpl >= cpu->cpl && dpl >= (sel & 3u);
}

static void set_zf(struct x86_cpu *cpu, bool z)
{
    cpu->cc = (x86_cc)((cpu->cc & ~X86_CC_ZF) | (z ? X86_CC_ZF : 0));
}

/* Types that LAR and LSL accept, S = 0: SDM Vol.2 LAR table 3-52, LSL table 3-54. */
#define LAR_TYPES                                                                            \
    (1u << X86_ST_TSS16 | 1u << X86_ST_LDT | 1u << X86_ST_TSS16_BUSY | 1u << X86_ST_CALL16 | \
     1u << X86_ST_TASK | 1u << X86_ST_TSS32 | 1u << X86_ST_TSS32_BUSY | 1u << X86_ST_CALL32)
#define LAR_TYPES64 \
    (1u << X86_ST_LDT | 1u << X86_ST_TSS32 | 1u << X86_ST_TSS32_BUSY | 1u << X86_ST_CALL32)
#define GATES (1u << X86_ST_CALL16 | 1u << X86_ST_TASK | 1u << X86_ST_CALL32)

static bool type_allowed(const struct x86_cpu *cpu, const struct x86_desc *d, bool gates)
{
    uint32_t good = cpu->long_mode ? LAR_TYPES64 : LAR_TYPES;
    if (d->ar & X86_AR_S)
        return true;
    return (gates ? good : good & ~GATES) >> (d->ar & X86_AR_TYPE) & 1;
}

static struct x86_uop *ask(struct x86_cpu *cpu, struct x86_uop *u, bool lsl)
{
    struct x86_desc d;
    bool ok;
    cpu->cur = u;
    if (!x86_read_E(cpu, u, 2))
        return x86_leave(cpu, u);
    uint16_t sel = (uint16_t)cpu->tmp;
    if (probe_desc(cpu, sel, &d, &ok) != X86_OK)
        return x86_leave(cpu, u);
    ok = ok && type_allowed(cpu, &d, !lsl) && visible(cpu, sel, &d);
    if (ok)
        x86_write_gpr(cpu, u->reg, lsl ? d.limit : d.hi & 0x00f0ff00, x86_uop_bytes(u));
    set_zf(cpu, ok);
    return x86_leave_next(cpu, u); /* not X86_NEXT: addresses of locals were handed on (uop.h) */
}
static struct x86_uop *exec_lar(struct x86_cpu *cpu, struct x86_uop *u)
{
    return ask(cpu, u, false);
}
static struct x86_uop *exec_lsl(struct x86_cpu *cpu, struct x86_uop *u)
{
    return ask(cpu, u, true);
}
X86_ROW_ONE(LAR, exec_lar)
X86_ROW_ONE(LSL, exec_lsl)

static struct x86_uop *verify(struct x86_cpu *cpu, struct x86_uop *u, bool write)
{
    struct x86_desc d;
    bool ok;
    cpu->cur = u;
    if (!x86_read_E(cpu, u, 2))
        return x86_leave(cpu, u);
    uint16_t sel = (uint16_t)cpu->tmp;
    if (probe_desc(cpu, sel, &d, &ok) != X86_OK)
        return x86_leave(cpu, u);
    if (ok) {
        bool code = d.ar & X86_AR_CODE, rw = d.ar & X86_AR_WR;
        ok = d.ar & X86_AR_S && visible(cpu, sel, &d) && (write ? !code && rw : !code || rw);
    }
    set_zf(cpu, ok);
    return x86_leave_next(cpu, u); /* not X86_NEXT: addresses of locals were handed on (uop.h) */
}
static struct x86_uop *exec_verr(struct x86_cpu *cpu, struct x86_uop *u)
{
    return verify(cpu, u, false);
}
static struct x86_uop *exec_verw(struct x86_cpu *cpu, struct x86_uop *u)
{
    return verify(cpu, u, true);
}
X86_ROW_ONE(VERR, exec_verr)
X86_ROW_ONE(VERW, exec_verw)

static struct x86_uop *exec_arpl(struct x86_cpu *cpu, struct x86_uop *u)
{
    unsigned rpl = cpu->r[u->reg] & 3;
    if (!x86_read_E_rmw(cpu, u, 2))
        return x86_leave(cpu, u);
    uint64_t v = cpu->tmp;
    bool raise = (v & 3) < rpl;
    if (raise && !x86_write_E(cpu, u, (v & ~UINT64_C(3)) | rpl, 2))
        return x86_leave(cpu, u);
    set_zf(cpu, raise);
    X86_NEXT(cpu, u);
}
X86_ROW_ONE(ARPL, exec_arpl)
