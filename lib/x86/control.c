/* Control registers and what follows from them: SDM Vol.3A 2.5, 4.1, 4.10.4, 9.8. */
#include "x86/sysint.h"

static enum x86_result gp0(struct x86_cpu *cpu)
{
    return x86_fault_err(cpu, X86_GP, 0);
}

/* --- CR0 --- */

/* Turning paging on with EFER.LME set activates long mode: SDM Vol.3A 9.8.5. */
static bool may_enter_long(const struct x86_cpu *cpu)
{
    unsigned tss = x86_ar_systype(cpu->tr.ar);
    return cpu->cr4 & X86_CR4_PAE && !(cpu->seg[X86_CS].ar & X86_AR_L) &&
           tss != X86_ST_TSS16_BUSY && tss != X86_ST_TSS16;
}

static enum x86_result check_cr0(struct x86_cpu *cpu, uint64_t v)
{
    uint64_t change = v ^ cpu->cr0;
    if (v >> 32 || (v & X86_CR0_PG && !(v & X86_CR0_PE)) || (v & X86_CR0_NW && !(v & X86_CR0_CD)))
        return gp0(cpu);
    if (!(change & X86_CR0_PG))
        return X86_OK;
    if (v & X86_CR0_PG)
        return cpu->efer & X86_EFER_LME && !may_enter_long(cpu) ? gp0(cpu) : X86_OK;
    return x86_in_long64(cpu) || cpu->cr4 & X86_CR4_PCIDE ? gp0(cpu) : X86_OK;
}

enum x86_result x86_write_cr0(struct x86_cpu *cpu, uint64_t v)
{
    const uint64_t kept = X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_NE |
                          X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG;
    enum x86_result r = check_cr0(cpu, v);
    if (r != X86_OK)
        return r;
    v = (v & kept) | X86_CR0_ET;
    uint64_t change = v ^ cpu->cr0;
    if (v & X86_CR0_PG && change & (X86_CR0_CD | X86_CR0_NW | X86_CR0_PG) &&
        cpu->cr4 & X86_CR4_PAE && !(cpu->efer & X86_EFER_LME)) {
        r = x86_load_pdptes(cpu, cpu->cr3);
        if (r != X86_OK)
            return r;
    }
    cpu->cr0 = v;
    if (change & X86_CR0_PG)
        cpu->efer = (cpu->efer & ~(uint64_t)X86_EFER_LMA) |
                    (v & X86_CR0_PG && cpu->efer & X86_EFER_LME ? X86_EFER_LMA : 0);
    if (change & ~(uint64_t)(X86_CR0_TS | X86_CR0_MP | X86_CR0_EM | X86_CR0_NE))
        x86_mode_refresh(cpu);
    if (change & (X86_CR0_PG | X86_CR0_WP | X86_CR0_PE))
        x86_tlb_flush(cpu);
    return X86_OK;
}

/* --- CR3 --- */

/* Where there is no memory, nobody drives the bus: devices are never asked. */
static uint64_t read_pdpte(struct x86_cpu *cpu, uint64_t gpa)
{
    struct x86_page page;
    cpu->ops->page(cpu, gpa & ~X86_PAGE_MASK, X86_ACC_READ, &page);
    return page.host ? x86_raw_ld64((uintptr_t)page.host + (gpa & X86_PAGE_MASK)) : UINT64_MAX;
}

enum x86_result x86_load_pdptes(struct x86_cpu *cpu, uint64_t cr3)
{
    const uint64_t reserved = ~cpu->phys_mask | 0x1e6; /* SDM Vol.3A table 4-8 */
    uint64_t e[4];
    for (unsigned i = 0; i < 4; i++) {
        e[i] = read_pdpte(cpu, (cr3 & 0xffffffe0u) + 8 * i);
        if (e[i] & 1 && e[i] & reserved)
            return gp0(cpu);
    }
    for (unsigned i = 0; i < 4; i++)
        cpu->pdpte[i] = e[i];
    return X86_OK;
}

enum x86_result x86_write_cr3(struct x86_cpu *cpu, uint64_t v)
{
    bool keep = false;
    if (cpu->cr4 & X86_CR4_PCIDE) {
        keep = v >> 63;
        v &= ~(UINT64_C(1) << 63);
    }
    if (cpu->long_mode && v & ~cpu->phys_mask)
        return gp0(cpu);
    if (cpu->paging && cpu->pae && !cpu->long_mode) {
        enum x86_result r = x86_load_pdptes(cpu, v);
        if (r != X86_OK)
            return r;
    }
    /* TLB entries carry no PCID, so "keep" can only be honoured for the same address space. */
    keep = keep && v == cpu->cr3;
    cpu->cr3 = v;
    if (!keep)
        x86_tlb_flush_nonglobal(cpu);
    return X86_OK;
}

/* --- CR4 --- */

struct cr4_bit {
    uint32_t bit;
    uint16_t feature;
};
static const struct cr4_bit cr4_bits[] = {
    {X86_CR4_VME | X86_CR4_PVI, X86_FEAT_VME},
    {X86_CR4_TSD, X86_FEAT_TSC},
    {X86_CR4_DE, X86_FEAT_DE},
    {X86_CR4_PSE, X86_FEAT_PSE},
    {X86_CR4_PAE, X86_FEAT_PAE},
    {X86_CR4_MCE, X86_FEAT_MCA},
    {X86_CR4_PGE, X86_FEAT_PGE},
    {X86_CR4_PCE, X86_FEAT_BASE},
    {X86_CR4_OSFXSR, X86_FEAT_FXSR},
    {X86_CR4_OSXMMEXCPT, X86_FEAT_SSE},
    {X86_CR4_UMIP, X86_FEAT_UMIP},
    {X86_CR4_FSGSBASE, X86_FEAT_FSGSBASE},
    {X86_CR4_PCIDE, X86_FEAT_PCID},
    {X86_CR4_OSXSAVE, X86_FEAT_XSAVE},
    {X86_CR4_SMEP, X86_FEAT_SMEP},
    {X86_CR4_SMAP, X86_FEAT_SMAP},
};

static uint64_t cr4_offered(const struct x86_cpu *cpu)
{
    uint64_t m = 0;
    for (unsigned i = 0; i < sizeof cr4_bits / sizeof *cr4_bits; i++)
        if (cr4_bits[i].feature == X86_FEAT_BASE || x86_has(cpu, cr4_bits[i].feature))
            m |= cr4_bits[i].bit;
    return m;
}

enum x86_result x86_write_cr4(struct x86_cpu *cpu, uint64_t v)
{
    uint64_t change = v ^ cpu->cr4, on = v & ~cpu->cr4;
    if (v & ~cr4_offered(cpu))
        return gp0(cpu);
    if (cpu->long_mode && !(v & X86_CR4_PAE))
        return gp0(cpu);
    if (on & X86_CR4_PCIDE && (!cpu->long_mode || cpu->cr3 & 0xfff))
        return gp0(cpu);
    if (cpu->paging && v & X86_CR4_PAE && !cpu->long_mode &&
        change & (X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE | X86_CR4_SMEP)) {
        enum x86_result r = x86_load_pdptes(cpu, cpu->cr3);
        if (r != X86_OK)
            return r;
    }
    cpu->cr4 = v;
    x86_mode_refresh(cpu);
    if (change &
        (X86_CR4_PGE | X86_CR4_PAE | X86_CR4_PSE | X86_CR4_PCIDE | X86_CR4_SMEP | X86_CR4_SMAP))
        x86_tlb_flush(cpu);
    return X86_OK;
}

/* --- CR8, EFER, XCR0 --- */

enum x86_result x86_write_cr8(struct x86_cpu *cpu, uint64_t v)
{
    if (v & ~UINT64_C(0xf))
        return gp0(cpu);
    cpu->cr8 = v;
    return X86_OK;
}

enum x86_result x86_write_efer(struct x86_cpu *cpu, uint64_t v)
{
    uint64_t offered = X86_EFER_LMA, change;
    if (x86_has(cpu, X86_FEAT_SYSCALL))
        offered |= X86_EFER_SCE;
    if (x86_has(cpu, X86_FEAT_LM))
        offered |= X86_EFER_LME;
    if (x86_has(cpu, X86_FEAT_NX))
        offered |= X86_EFER_NXE;
    if (v & ~offered)
        return gp0(cpu);
    v = (v & ~(uint64_t)X86_EFER_LMA) | (cpu->efer & X86_EFER_LMA); /* LMA is read-only */
    change = v ^ cpu->efer;
    if (change & X86_EFER_LME && cpu->paging)
        return gp0(cpu);
    cpu->efer = v;
    if (change & X86_EFER_NXE)
        x86_tlb_flush(cpu);
    return X86_OK;
}

enum x86_result x86_write_xcr0(struct x86_cpu *cpu, uint64_t v)
{
    uint64_t offered = X86_XCR0_X87 | X86_XCR0_SSE;
    if (x86_has(cpu, X86_FEAT_AVX))
        offered |= X86_XCR0_AVX;
    if (v & ~offered || !(v & X86_XCR0_X87) || (v & X86_XCR0_AVX && !(v & X86_XCR0_SSE)))
        return gp0(cpu);
    cpu->xcr0 = v;
    return X86_OK;
}
