/* What the task-state segment says besides task state: inner stacks, I/O and interrupt-redirection
 * bitmaps. SDM Vol.3A 7.2, 7.7, Vol.1 19.5.2. */
#include "x86/sysint.h"

static bool tss_is_32(const struct x86_cpu *cpu)
{
    return cpu->tr.ar & 8;
}

static uint64_t tss_lin(const struct x86_cpu *cpu, uint32_t off)
{
    uint64_t a = cpu->tr.base + off;
    return cpu->long_mode ? a : (uint32_t)a;
}

static enum x86_result read_stack_slot(struct x86_cpu *cpu, unsigned cpl, uint16_t *ss,
                                       uint64_t *sp)
{
    bool is32 = tss_is_32(cpu);
    uint32_t off = is32 ? 4 + 8 * cpl : 2 + 4 * cpl, last = off + (is32 ? 5 : 3);
    enum x86_result r;

    if (cpu->tr.ar & X86_AR_UNUSABLE || last > cpu->tr.limit)
        return x86_fault_sel(cpu, X86_TS, cpu->tr.sel);
    if (is32) {
        uint32_t esp = 0;
        r = x86_sys_ld32(cpu, tss_lin(cpu, off), &esp);
        *sp = esp;
    } else {
        uint16_t sp16 = 0;
        r = x86_sys_ld16(cpu, tss_lin(cpu, off), &sp16);
        *sp = sp16;
    }
    return r == X86_OK ? x86_sys_ld16(cpu, tss_lin(cpu, off + (is32 ? 4 : 2)), ss) : r;
}

enum x86_result x86_tss_stack(struct x86_cpu *cpu, unsigned cpl, uint16_t *ss, uint64_t *sp,
                              struct x86_desc *d)
{
    enum x86_result r = read_stack_slot(cpu, cpl, ss, sp);
    if (r != X86_OK)
        return r;
    if (x86_sel_null(*ss))
        return x86_fault_err(cpu, X86_TS, 0);
    r = x86_read_desc(cpu, *ss, X86_TS, d);
    if (r != X86_OK)
        return r;
    if ((*ss & 3u) != cpl || x86_ar_dpl(d->ar) != cpl || !x86_ar_stack(d->ar))
        return x86_fault_sel(cpu, X86_TS, *ss);
    if (!(d->ar & X86_AR_P))
        return x86_fault_sel(cpu, X86_STK, *ss);
    return X86_OK;
}

enum x86_result x86_tss_stack64(struct x86_cpu *cpu, unsigned slot, uint64_t *sp)
{
    uint32_t off = 4 + 8 * slot;
    if (cpu->tr.ar & X86_AR_UNUSABLE || off + 7 > cpu->tr.limit)
        return x86_fault_sel(cpu, X86_TS, cpu->tr.sel);
    enum x86_result r = x86_sys_ld64(cpu, tss_lin(cpu, off), sp);
    if (r == X86_OK && !x86_canonical(*sp))
        return x86_fault_err(cpu, X86_STK, 0);
    return r;
}

enum x86_result x86_tss_io_check(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
    uint16_t map = 0, bits = 0;
    enum x86_result r;

    if (cpu->tr.ar & X86_AR_UNUSABLE || !tss_is_32(cpu) || cpu->tr.limit < 103)
        return x86_fault_err(cpu, X86_GP, 0);
    r = x86_sys_ld16(cpu, tss_lin(cpu, 102), &map);
    if (r != X86_OK)
        return r;
    /* Two bytes are always read, so both must lie inside the limit: SDM Vol.1 19.5.2. */
    uint32_t off = (uint32_t)map + port / 8;
    if (off + 1 > cpu->tr.limit)
        return x86_fault_err(cpu, X86_GP, 0);
    r = x86_sys_ld16(cpu, tss_lin(cpu, off), &bits);
    if (r != X86_OK)
        return r;
    unsigned mask = ((1u << size) - 1) << (port & 7);
    return bits & mask ? x86_fault_err(cpu, X86_GP, 0) : X86_OK;
}

enum x86_result x86_tss_int_redirect(struct x86_cpu *cpu, uint8_t vector, bool *redirect)
{
    uint16_t map = 0;
    uint8_t bits = 0;
    enum x86_result r;

    if (cpu->tr.ar & X86_AR_UNUSABLE || !tss_is_32(cpu) || cpu->tr.limit < 103)
        return x86_fault_err(cpu, X86_GP, 0);
    r = x86_sys_ld16(cpu, tss_lin(cpu, 102), &map);
    if (r != X86_OK)
        return r;
    /* The 32 bytes below the I/O bitmap: SDM Vol.3A 20.3.3. */
    if (map < 32 || map > cpu->tr.limit)
        return x86_fault_err(cpu, X86_GP, 0);
    r = x86_sys_ld8(cpu, tss_lin(cpu, map - 32u + vector / 8), &bits);
    *redirect = !(bits >> (vector & 7) & 1);
    return r;
}
