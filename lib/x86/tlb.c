/*
 * The software TLB: filling, dropping, and translating one access with all its consequences.
 *
 * A tag carries the generation, so dropping everything is one increment; banks are cleared only
 * when the generation wraps. No entry survives a change of address space: global pages and PCIDs
 * may be kept by a CPU, but need not be (SDM Vol.3A 4.10.2.4, 4.10.4.1).
 */
#include "x86/mmu.h"

#define GENERATIONS 4096u

void x86_tlb_flush(struct x86_cpu *cpu)
{
    if (++cpu->tlb_gen >= GENERATIONS) {
        memset(cpu->tlb_banks, 0, sizeof(*cpu->tlb_banks) * X86_TLB_SIZE * X86_NBANKS);
        memset(cpu->psc, 0, sizeof(cpu->psc));
        cpu->tlb_device = (struct x86_tlb_device){0};
        cpu->tlb_gen = 1;
    }
    memset(cpu->tlb_large, 0, sizeof(cpu->tlb_large));
    cpu->tlb_writable = false;
    if (cpu->ops && cpu->ops->tlb_flushed)
        cpu->ops->tlb_flushed(cpu);
}

void x86_tlb_flush_nonglobal(struct x86_cpu *cpu)
{
    x86_tlb_flush(cpu);
}

static unsigned region_hash(uint64_t lin)
{
    return (unsigned)((lin >> 22) * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

static void note_large(struct x86_cpu *cpu, uint64_t lin, unsigned page_bits)
{
    unsigned h = region_hash(lin);
    if (page_bits > 22)
        cpu->tlb_large[4] |= UINT64_C(1) << (lin >> 30 & 63);
    else
        cpu->tlb_large[h >> 6] |= UINT64_C(1) << (h & 63);
}

static bool perhaps_large(const struct x86_cpu *cpu, uint64_t lin)
{
    unsigned h = region_hash(lin);
    return (cpu->tlb_large[h >> 6] >> (h & 63) & 1) || (cpu->tlb_large[4] >> (lin >> 30 & 63) & 1);
}

void x86_tlb_flush_page(struct x86_cpu *cpu, uint64_t lin)
{
    if (perhaps_large(cpu, lin)) {
        x86_tlb_flush(cpu);
        return;
    }
    uint64_t tag = (lin & ~X86_PAGE_MASK) | cpu->tlb_gen;
    for (unsigned bank = 0; bank < X86_NBANKS; bank++) {
        struct x86_tlb_entry *e =
            &cpu->tlb_banks[bank * X86_TLB_SIZE + (lin >> 12 & (X86_TLB_SIZE - 1))];
        if (e->rd == tag || e->wr == tag || e->ex == tag)
            e->rd = e->wr = e->ex = 0;
    }
    cpu->tlb_device.rd = cpu->tlb_device.wr = 0;
    /* INVLPG drops the paging-structure caches whatever they are for: SDM Vol.3A 4.10.4.1 */
    for (unsigned i = 0; i < X86_PSC_SIZE; i++)
        cpu->psc[i].tag = 0;
    if (cpu->ops && cpu->ops->tlb_flushed)
        cpu->ops->tlb_flushed(cpu);
}

void x86_tlb_drop_write(struct x86_cpu *cpu, uintptr_t host_page)
{
    if (!cpu->tlb_writable)
        return; /* no store has gone by since the last flush */
    for (unsigned i = 0; i < X86_BANK_NONE * X86_TLB_SIZE; i++) { /* the last bank is empty */
        struct x86_tlb_entry *e = &cpu->tlb_banks[i];
        if (e->wr && e->addend + (uintptr_t)(e->wr & ~X86_PAGE_MASK) == host_page)
            e->wr = 0;
    }
}

void x86_tlb_select_bank(struct x86_cpu *cpu)
{
    unsigned bank = x86_checks_alignment(cpu) ? X86_BANK_NONE : x86_who_runs(cpu).bank;
    cpu->tlb = cpu->tlb_banks + bank * X86_TLB_SIZE;
}

static bool breakpoint_in(uint64_t page, const uint64_t dr[4], uint64_t dr7)
{
    for (unsigned i = 0; i < 4; i++) {
        bool enabled = dr7 >> (2 * i) & 3;
        bool data = dr7 >> (16 + 4 * i) & 1; /* R/W field 01 or 11 */
        if (enabled && data && (dr[i] & ~X86_PAGE_MASK) == page)
            return true;
    }
    return false;
}

static bool watched(const struct x86_cpu *cpu, uint64_t page)
{
    return cpu->data_bp && (breakpoint_in(page, cpu->dr, cpu->dr7) ||
                            breakpoint_in(page, cpu->host_dr, cpu->host_dr7));
}

/* Write tags appear only with the D bit set, so that the first store of each page comes by here. */
static void fill(struct x86_cpu *cpu, uint64_t lin, const struct x86_who *who,
                 const struct x86_walk *w, const struct x86_page *page)
{
    uint64_t base = lin & ~X86_PAGE_MASK;
    uint64_t tag = base | cpu->tlb_gen;
    bool data = !watched(cpu, base);
    struct x86_tlb_entry *e =
        &cpu->tlb_banks[who->bank * X86_TLB_SIZE + (lin >> 12 & (X86_TLB_SIZE - 1))];
    e->addend = (uintptr_t)page->host - (uintptr_t)base;
    e->rd = data && x86_rights_allow(cpu, w->rights, X86_ACC_READ, who) ? tag : 0;
    e->wr = data && w->dirty && page->writable && !page->write_slow &&
                    x86_rights_allow(cpu, w->rights, X86_ACC_WRITE, who)
                ? tag
                : 0;
    cpu->tlb_writable |= e->wr != 0;
    e->ex = page->exec && x86_rights_allow(cpu, w->rights, X86_ACC_EXEC, who) ? tag : 0;
    if (w->page_bits > 12)
        note_large(cpu, lin, w->page_bits);
}

enum x86_result x86_page_fault(struct x86_cpu *cpu, uint64_t lin, uint32_t error)
{
    enum x86_result r = x86_fault_err(cpu, X86_PF, error);
    cpu->exc.cr2 = lin;
    return r;
}

static bool hit(const struct x86_cpu *cpu, uint64_t lin, enum x86_access acc,
                const struct x86_who *who, struct x86_spot *s)
{
    const struct x86_tlb_entry *e =
        &cpu->tlb_banks[who->bank * X86_TLB_SIZE + (lin >> 12 & (X86_TLB_SIZE - 1))];
    uint64_t tag = acc == X86_ACC_WRITE ? e->wr : e->rd;
    if (tag != ((lin & ~X86_PAGE_MASK) | cpu->tlb_gen))
        return false;
    *s = (struct x86_spot){(uint8_t *)(e->addend + (uintptr_t)lin), 0, true, acc == X86_ACC_WRITE};
    return true;
}

/* A device page: no entry serves it, but the walk need not be repeated. */
static void note_device(struct x86_cpu *cpu, uint64_t lin, enum x86_access acc,
                        const struct x86_who *who, uint64_t gpa, unsigned page_bits)
{
    struct x86_tlb_device *d = &cpu->tlb_device;
    uint64_t tag = (lin & ~X86_PAGE_MASK) | cpu->tlb_gen, page = gpa & ~X86_PAGE_MASK;
    if (d->bank != who->bank || d->page != page)
        *d = (struct x86_tlb_device){.page = page, .bank = who->bank};
    *(acc == X86_ACC_WRITE ? &d->wr : &d->rd) = tag;
    if (page_bits > 12)
        note_large(cpu, lin, page_bits);
}

static bool hit_device(const struct x86_cpu *cpu, uint64_t lin, enum x86_access acc,
                       const struct x86_who *who, struct x86_spot *s)
{
    const struct x86_tlb_device *d = &cpu->tlb_device;
    uint64_t tag = (lin & ~X86_PAGE_MASK) | cpu->tlb_gen;
    if ((acc == X86_ACC_WRITE ? d->wr : d->rd) != tag || d->bank != who->bank)
        return false;
    *s = (struct x86_spot){.gpa = d->page | (lin & X86_PAGE_MASK)};
    return true;
}

static enum x86_result locate_walk(struct x86_cpu *cpu, uint64_t lin, enum x86_access acc,
                                   const struct x86_who *who, struct x86_spot *s)
{
    if (!x86_canonical(lin))
        return x86_fault_err(cpu, X86_GP, 0);
    struct x86_walk w;
    enum x86_result r = x86_walk(cpu, lin, acc, who, true, &w);
    if (r != X86_OK)
        return r == X86_EXC ? x86_page_fault(cpu, lin, w.error) : r;
    struct x86_page page;
    cpu->ops->page(cpu, w.gpa & ~X86_PAGE_MASK, acc, &page);
    s->gpa = w.gpa;
    s->host = page.host ? page.host + (lin & X86_PAGE_MASK) : NULL;
    s->writable = page.host && page.writable;
    s->direct = page.host && (acc != X86_ACC_WRITE || (page.writable && !page.write_slow));
    if (acc == X86_ACC_EXEC && !page.exec)
        s->host = NULL;
    if (w.uncached)
        return X86_OK;
    if (page.host)
        fill(cpu, lin, who, &w, &page);
    else if (acc != X86_ACC_EXEC)
        note_device(cpu, lin, acc, who, w.gpa, w.page_bits);
    return X86_OK;
}

enum x86_result x86_locate(struct x86_cpu *cpu, uint64_t lin, enum x86_access acc,
                           const struct x86_who *who, struct x86_spot *s)
{
    if (hit(cpu, lin, acc, who, s) || hit_device(cpu, lin, acc, who, s))
        return X86_OK;
    return locate_walk(cpu, lin, acc, who, s);
}

enum x86_result x86_fetch_page(struct x86_cpu *cpu, uint64_t lin, const uint8_t **host,
                               uint64_t *gpa)
{
    struct x86_who who = x86_who_runs(cpu);
    struct x86_spot s = {0};
    enum x86_result r = locate_walk(cpu, lin, X86_ACC_EXEC, &who, &s);
    if (r != X86_OK)
        return r;
    *host = s.host;
    *gpa = s.gpa;
    return X86_OK;
}
