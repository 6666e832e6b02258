/* Segment registers: SDM Vol.3A 3.4, 5.5, Vol.2 MOV (to Sreg). */
#include "x86/sysint.h"

void x86_put_seg(struct x86_cpu *cpu, unsigned seg, uint16_t sel, const struct x86_desc *d)
{
    struct x86_seg *s = &cpu->seg[seg];
    s->sel = sel;
    s->base = d->base;
    s->limit = d->limit;
    s->ar = d->ar;
    x86_seg_refresh(cpu, s);
}

/* A load in real mode sets selector, base and a writable type; limit and sizes stay, which is what
 * "unreal" mode lives on. Virtual-8086 segments are 64 KiB at level 3 (SDM Vol.3A 20.1.1). */
void x86_put_seg_real(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
    struct x86_seg *s = &cpu->seg[seg];
    uint32_t ar = X86_AR_P | X86_AR_S | X86_AR_WR | X86_AR_A;
    s->sel = sel;
    s->base = (uint32_t)sel << 4;
    if (cpu->cr0 & X86_CR0_PE) {
        s->limit = 0xffff;
        s->ar = ar | X86_AR_DPL;
    } else {
        s->ar = (s->ar & (X86_AR_DB | X86_AR_G)) | ar;
    }
    x86_seg_refresh(cpu, s);
}

void x86_put_seg_null(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
    struct x86_seg *s = &cpu->seg[seg];
    *s = (struct x86_seg){.sel = sel, .ar = X86_AR_UNUSABLE};
    if (seg == X86_SS) /* SS keeps CPL in its DPL (SDM Vol.3C 25.4.1) */
        s->ar |= (uint32_t)cpu->cpl << X86_AR_DPL_SHIFT;
}

static enum x86_result check_stack(struct x86_cpu *cpu, uint16_t sel, const struct x86_desc *d)
{
    if ((sel & 3) != cpu->cpl || !x86_ar_stack(d->ar) || x86_ar_dpl(d->ar) != cpu->cpl)
        return x86_fault_sel(cpu, X86_GP, sel);
    if (!(d->ar & X86_AR_P))
        return x86_fault_sel(cpu, X86_STK, sel);
    return X86_OK;
}

static enum x86_result check_data(struct x86_cpu *cpu, uint16_t sel, const struct x86_desc *d)
{
    bool code = d->ar & X86_AR_CODE;
    unsigned dpl = x86_ar_dpl(d->ar), rpl = sel & 3;
    if (!(d->ar & X86_AR_S) || (code && !(d->ar & X86_AR_WR)))
        return x86_fault_sel(cpu, X86_GP, sel);
    if (!(code && x86_ar_conforming(d->ar)) && (rpl > dpl || cpu->cpl > dpl))
        return x86_fault_sel(cpu, X86_GP, sel);
    if (!(d->ar & X86_AR_P))
        return x86_fault_sel(cpu, X86_NP, sel);
    return X86_OK;
}

static enum x86_result load_null(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
    /* A null SS is allowed in 64-bit mode below level 3 only: MOV, 64-bit mode exceptions. */
    if (seg == X86_SS && !(x86_in_long64(cpu) && cpu->cpl < 3 && (sel & 3) == cpu->cpl))
        return x86_fault_err(cpu, X86_GP, 0);
    x86_put_seg_null(cpu, seg, sel);
    x86_mode_update(cpu);
    return X86_OK;
}

enum x86_result x86_load_seg(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
    struct x86_desc d;
    enum x86_result r;

    if (x86_in_real_or_v86(cpu)) {
        x86_put_seg_real(cpu, seg, sel);
        x86_mode_update(cpu);
        return X86_OK;
    }
    if (x86_sel_null(sel))
        return load_null(cpu, seg, sel);
    r = x86_read_desc(cpu, sel, X86_GP, &d);
    if (r != X86_OK)
        return r;
    r = seg == X86_SS ? check_stack(cpu, sel, &d) : check_data(cpu, sel, &d);
    if (r != X86_OK)
        return r;
    r = x86_set_accessed(cpu, &d);
    if (r != X86_OK)
        return r;
    x86_put_seg(cpu, seg, sel, &d);
    x86_mode_update(cpu);
    return X86_OK;
}

void x86_drop_inner_segs(struct x86_cpu *cpu)
{
    static const uint8_t regs[4] = {X86_ES, X86_FS, X86_GS, X86_DS};
    for (unsigned i = 0; i < 4; i++) {
        const struct x86_seg *s = &cpu->seg[regs[i]];
        bool conforming = x86_ar_code(s->ar) && x86_ar_conforming(s->ar);
        if (!(s->ar & X86_AR_UNUSABLE) && !conforming && x86_ar_dpl(s->ar) < cpu->cpl)
            x86_put_seg_null(cpu, regs[i], 0);
    }
}
