/* Descriptors in the GDT and LDT: SDM Vol.3A 3.4.5, 3.5. */
#include "x86/sysint.h"

static void unpack(struct x86_desc *d)
{
    d->base = d->lo >> 16 | (d->hi & 0xff) << 16 | (d->hi & 0xff000000u);
    d->limit = (d->lo & 0xffff) | (d->hi & 0x000f0000);
    d->ar = d->hi >> 8 & 0xf0ff;
    if (d->ar & X86_AR_G)
        d->limit = d->limit << 12 | 0xfff;
}

/* Linear address of `bytes` bytes of descriptor, or the fault for a selector outside its table. */
static enum x86_result locate(struct x86_cpu *cpu, uint16_t sel, unsigned vector, unsigned bytes,
                              uint64_t *addr)
{
    uint32_t off = sel & 0xfff8u, limit = cpu->gdtr.limit;
    uint64_t base = cpu->gdtr.base;
    if (sel & 4) {
        if (cpu->ldtr.ar & X86_AR_UNUSABLE)
            return x86_fault_sel(cpu, vector, sel);
        base = cpu->ldtr.base;
        limit = cpu->ldtr.limit;
    }
    if (off + bytes - 1 > limit)
        return x86_fault_sel(cpu, vector, sel);
    *addr = base + off;
    if (!cpu->long_mode)
        *addr = (uint32_t)*addr;
    return X86_OK;
}

enum x86_result x86_read_desc(struct x86_cpu *cpu, uint16_t sel, unsigned vector,
                              struct x86_desc *d)
{
    uint64_t raw;
    enum x86_result r = locate(cpu, sel, vector, 8, &d->addr);
    if (r != X86_OK)
        return r;
    r = x86_sys_ld64(cpu, d->addr, &raw);
    if (r != X86_OK)
        return r;
    d->lo = (uint32_t)raw;
    d->hi = (uint32_t)(raw >> 32);
    unpack(d);
    return X86_OK;
}

enum x86_result x86_read_desc_upper(struct x86_cpu *cpu, uint16_t sel, unsigned vector,
                                    struct x86_desc *d, uint64_t *upper)
{
    uint64_t addr = 0;
    enum x86_result r = locate(cpu, sel, vector, 16, &addr);
    if (r != X86_OK)
        return r;
    r = x86_sys_ld64(cpu, addr + 8, upper);
    if (r == X86_OK)
        d->base = (uint32_t)d->base | *upper << 32;
    return r;
}

/* The access byte only: its neighbours may be changed by other CPUs meanwhile. */
enum x86_result x86_set_accessed(struct x86_cpu *cpu, struct x86_desc *d)
{
    if (X86_LIKELY(d->ar & X86_AR_A))
        return X86_OK;
    d->ar |= X86_AR_A;
    return x86_sys_write(cpu, d->addr + 5, (d->ar & 0xff), 1);
}

enum x86_result x86_set_busy(struct x86_cpu *cpu, uint64_t desc_addr, bool busy)
{
    uint8_t access;
    enum x86_result r = x86_sys_ld8(cpu, desc_addr + 5, &access);
    if (r != X86_OK)
        return r;
    access = (uint8_t)(busy ? access | X86_ST_BUSY : access & ~X86_ST_BUSY);
    return x86_sys_write(cpu, desc_addr + 5, access, 1);
}
