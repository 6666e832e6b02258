/*
 * Loads and stores that the inline TLB check could not finish: TLB misses, page crossings, devices,
 * pages whose stores must be seen, data breakpoints, alignment checks.
 *
 * An access is at most two ranges of bytes, one per page. All ranges are translated before the
 * first byte moves. Stores that may have to wait for the host (devices, ROM) go before those to
 * memory, so that an instruction that will be restarted has not changed memory yet.
 */
#include "x86/mmu.h"
#include "x86/sys.h"

struct range {
    uint64_t lin;
    unsigned size;
    struct x86_spot spot;
};
struct span {
    struct range range[2];
    unsigned n;
};

/* Both ends are checked before the first page is looked at. */
static bool end_canonical(const struct x86_who *who, uint64_t lin, unsigned size)
{
    return x86_canonical((lin + size - 1) & who->mask);
}

static enum x86_result locate_span(struct x86_cpu *cpu, uint64_t lin, unsigned size,
                                   enum x86_access acc, const struct x86_who *who, struct span *sp)
{
    unsigned first = 0x1000u - (unsigned)(lin & X86_PAGE_MASK);
    sp->n = size > first ? 2 : 1;
    sp->range[0].lin = lin;
    sp->range[0].size = size > first ? first : size;
    if (X86_UNLIKELY(!end_canonical(who, lin, size)))
        return x86_fault_err(cpu, X86_GP, 0);
    enum x86_result r = x86_locate(cpu, lin, acc, who, &sp->range[0].spot);
    if (r != X86_OK || sp->n == 1)
        return r;
    sp->range[1].lin = (lin + first) & who->mask;
    sp->range[1].size = size - first;
    return x86_locate(cpu, sp->range[1].lin, acc, who, &sp->range[1].spot);
}

/* The guest's other CPUs may be writing: copy with raw accesses, whole words where possible. */
static void copy_in(uint8_t *to, const uint8_t *from, unsigned n)
{
    for (; n >= 8; n -= 8, to += 8, from += 8) {
        uint64_t v = x86_raw_ld64((uintptr_t)from);
        memcpy(to, &v, 8);
    }
    for (; n; n--)
        *to++ = x86_raw_ld8((uintptr_t)from++);
}

static void copy_out(uint8_t *to, const uint8_t *from, unsigned n)
{
    for (; n >= 8; n -= 8, to += 8, from += 8) {
        uint64_t v;
        memcpy(&v, from, 8);
        x86_raw_st64((uintptr_t)to, v);
    }
    for (; n; n--)
        x86_raw_st8((uintptr_t)to++, *from++);
}

static enum x86_result read_range(struct x86_cpu *cpu, const struct range *g, uint8_t *buf)
{
    if (g->spot.direct) {
        copy_in(buf, g->spot.host, g->size);
        return X86_OK;
    }
    for (unsigned i = 0; i < g->size;) {
        unsigned n = g->size - i < 8 ? g->size - i : 8;
        enum x86_result r = cpu->ops->read_phys(cpu, g->spot.gpa + i, g->lin + i, n);
        if (r != X86_OK)
            return r;
        memcpy(buf + i, &cpu->tmp, n);
        i += n;
    }
    return X86_OK;
}

static enum x86_result write_range(struct x86_cpu *cpu, const struct range *g, const uint8_t *buf)
{
    if (g->spot.direct) {
        copy_out(g->spot.host, buf, g->size);
        return X86_OK;
    }
    for (unsigned i = 0; i < g->size;) {
        unsigned n = g->size - i < 8 ? g->size - i : 8;
        uint64_t v = 0;
        memcpy(&v, buf + i, n);
        enum x86_result r = cpu->ops->write_phys(cpu, g->spot.gpa + i, g->lin + i, v, n);
        if (r != X86_OK)
            return r;
        i += n;
    }
    return X86_OK;
}

/* The second range, when the first was a device: the host may have changed the memory map
 * meanwhile. */
static enum x86_result look_again(struct x86_cpu *cpu, struct range *g, enum x86_access acc,
                                  const struct x86_who *who)
{
    return x86_locate(cpu, g->lin, acc, who, &g->spot);
}

static enum x86_result read_span(struct x86_cpu *cpu, struct span *sp, uint8_t *buf,
                                 enum x86_access acc, const struct x86_who *who)
{
    for (unsigned i = 0; i < sp->n; i++) {
        enum x86_result r = X86_OK;
        if (i && !sp->range[0].spot.host)
            r = look_again(cpu, &sp->range[i], acc, who);
        sp->range[i].spot.direct = sp->range[i].spot.host; /* we only read, whatever we asked for */
        if (r == X86_OK)
            r = read_range(cpu, &sp->range[i], buf);
        if (r != X86_OK)
            return r;
        buf += sp->range[i].size;
    }
    return X86_OK;
}

static enum x86_result write_span(struct x86_cpu *cpu, struct span *sp, const uint8_t *buf,
                                  const struct x86_who *who)
{
    bool asked = false, done[2] = {false, false};
    for (unsigned memory = 0; memory < 2; memory++) {
        const uint8_t *p = buf;
        for (unsigned i = 0; i < sp->n; p += sp->range[i++].size) {
            enum x86_result r = X86_OK;
            if (done[i] || (!memory && sp->range[i].spot.writable))
                continue;
            if (memory && asked)
                r = look_again(cpu, &sp->range[i], X86_ACC_WRITE, who);
            if (r == X86_OK)
                r = write_range(cpu, &sp->range[i], p);
            asked |= !memory;
            done[i] = true;
            if (r != X86_OK)
                return r;
        }
    }
    return X86_OK;
}

/* One access of at most 8 bytes; memory in one page is read and written in one piece. */
static uint64_t raw_load(const uint8_t *host, unsigned size)
{
    uintptr_t p = (uintptr_t)host;
    switch (size) {
    case 1:
        return x86_raw_ld8(p);
    case 2:
        return x86_raw_ld16(p);
    case 4:
        return x86_raw_ld32(p);
    case 8:
        return x86_raw_ld64(p);
    default: {
        uint64_t v = 0;
        copy_in((uint8_t *)&v, host, size);
        return v;
    }
    }
}

void x86_raw_store(uint8_t *host, uint64_t v, unsigned size)
{
    uintptr_t p = (uintptr_t)host;
    switch (size) {
    case 1:
        x86_raw_st8(p, (uint8_t)v);
        break;
    case 2:
        x86_raw_st16(p, (uint16_t)v);
        break;
    case 4:
        x86_raw_st32(p, (uint32_t)v);
        break;
    case 8:
        x86_raw_st64(p, v);
        break;
    default:
        copy_out(host, (const uint8_t *)&v, size);
        break;
    }
}

static bool in_page(uint64_t lin, unsigned size)
{
    return (lin & X86_PAGE_MASK) + size <= 0x1000;
}

/* acc: rights to ask for; a read-modify-write loads with those of a store. */
static enum x86_result load(struct x86_cpu *cpu, uint64_t lin, unsigned size, enum x86_access acc,
                            const struct x86_who *who)
{
    enum x86_result r;
    if (in_page(lin, size)) {
        struct x86_spot s;
        r = x86_locate(cpu, lin, acc, who, &s);
        if (r != X86_OK)
            return r;
        if (!s.host)
            return cpu->ops->read_phys(cpu, s.gpa, lin, size);
        cpu->tmp = raw_load(s.host, size);
        return X86_OK;
    }
    struct span sp;
    r = locate_span(cpu, lin, size, acc, who, &sp);
    if (r != X86_OK)
        return r;
    uint64_t v = 0;
    r = read_span(cpu, &sp, (uint8_t *)&v, acc, who);
    cpu->tmp = v;
    return r;
}

static enum x86_result store(struct x86_cpu *cpu, uint64_t lin, uint64_t value, unsigned size,
                             const struct x86_who *who)
{
    enum x86_result r;
    if (in_page(lin, size)) {
        struct x86_spot s;
        r = x86_locate(cpu, lin, X86_ACC_WRITE, who, &s);
        if (r != X86_OK)
            return r;
        if (!s.direct)
            return cpu->ops->write_phys(cpu, s.gpa, lin, value, size);
        x86_raw_store(s.host, value, size);
        return X86_OK;
    }
    struct span sp;
    r = locate_span(cpu, lin, size, X86_ACC_WRITE, who, &sp);
    return r == X86_OK ? write_span(cpu, &sp, (const uint8_t *)&value, who) : r;
}

/* Natural alignment of a data type by its size: SDM Vol.3A table 6-7. Vector types have rules of
 * their own, blocks none. */
static unsigned alignment(unsigned size)
{
    switch (size) {
    case 2:
    case 4:
    case 8:
        return size;
    case 6:
        return 4;
    case 10:
        return 8;
    default:
        return 1;
    }
}

/* Non-canonical addresses are left to translation: #GP and #SS come first. */
static bool misaligned(struct x86_cpu *cpu, uint64_t lin, unsigned size)
{
    if (X86_LIKELY(!x86_checks_alignment(cpu)) || !(lin & (alignment(size) - 1)) ||
        !x86_canonical(lin))
        return false;
    x86_fault_err(cpu, X86_AC, 0);
    return true;
}

/* What a failed access of an instruction means; r is not X86_OK. */
static bool failed(struct x86_cpu *cpu, const struct x86_uop *u, enum x86_result r)
{
    if (r == X86_EXC && u && u->seg == X86_SS)
        x86_stack_failed(cpu);
    return false;
}

static bool finish(struct x86_cpu *cpu, const struct x86_uop *u, enum x86_result r, uint64_t lin,
                   unsigned size, bool write)
{
    if (X86_UNLIKELY(r != X86_OK))
        return failed(cpu, u, r);
    if (X86_UNLIKELY(cpu->data_bp))
        x86_bp_data(cpu, lin, size, write);
    return true;
}

bool x86_stack_failed(struct x86_cpu *cpu)
{
    if (cpu->leave == X86_LEAVE_EXC && cpu->exc.vector == X86_GP)
        cpu->exc.vector = X86_STK;
    return false;
}

bool x86_ld_slow(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size)
{
    cpu->cur = u;
    if (misaligned(cpu, lin, size))
        return false;
    struct x86_who who = x86_who_runs(cpu);
    return finish(cpu, u, load(cpu, lin, size, X86_ACC_READ, &who), lin, size, false);
}

bool x86_ldw_slow(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size)
{
    cpu->cur = u;
    if (misaligned(cpu, lin, size))
        return false;
    struct x86_who who = x86_who_runs(cpu);
    return finish(cpu, u, load(cpu, lin, size, X86_ACC_WRITE, &who), lin, size, false);
}

bool x86_st_slow(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, uint64_t value,
                 unsigned size)
{
    cpu->cur = u;
    if (misaligned(cpu, lin, size))
        return false;
    struct x86_who who = x86_who_runs(cpu);
    return finish(cpu, u, store(cpu, lin, value, size, &who), lin, size, true);
}

bool x86_read_bytes(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, void *buf, unsigned size)
{
    cpu->cur = u;
    if (misaligned(cpu, lin, size))
        return false;
    struct x86_who who = x86_who_runs(cpu);
    struct span sp;
    enum x86_result r = locate_span(cpu, lin, size, X86_ACC_READ, &who, &sp);
    if (r == X86_OK)
        r = read_span(cpu, &sp, buf, X86_ACC_READ, &who);
    return finish(cpu, u, r, lin, size, false);
}

bool x86_write_bytes(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, const void *buf,
                     unsigned size)
{
    cpu->cur = u;
    if (misaligned(cpu, lin, size))
        return false;
    struct x86_who who = x86_who_runs(cpu);
    struct span sp;
    enum x86_result r = locate_span(cpu, lin, size, X86_ACC_WRITE, &who, &sp);
    if (r == X86_OK)
        r = write_span(cpu, &sp, buf, &who);
    return finish(cpu, u, r, lin, size, true);
}

/* Rights only: accessed and dirty bits belong to the access itself. */
static bool probe(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size,
                  enum x86_access acc)
{
    cpu->cur = u;
    if (misaligned(cpu, lin, size))
        return false;
    struct x86_who who = x86_who_runs(cpu);
    const struct x86_tlb_entry *bank = cpu->tlb_banks + who.bank * X86_TLB_SIZE;
    if (X86_UNLIKELY(!end_canonical(&who, lin, size))) {
        x86_fault_err(cpu, X86_GP, 0);
        return failed(cpu, u, X86_EXC);
    }
    for (uint64_t page = lin, left = size;;) {
        const struct x86_tlb_entry *e = &bank[page >> 12 & (X86_TLB_SIZE - 1)];
        uint64_t tag = (page & ~X86_PAGE_MASK) | cpu->tlb_gen;
        if ((acc == X86_ACC_WRITE ? e->wr : e->rd) != tag) {
            struct x86_walk w;
            enum x86_result r;
            if (!x86_canonical(page))
                r = x86_fault_err(cpu, X86_GP, 0);
            else if ((r = x86_walk(cpu, page, acc, &who, false, &w)) == X86_EXC)
                r = x86_page_fault(cpu, page, w.error);
            if (r != X86_OK)
                return failed(cpu, u, r);
        }
        uint64_t step = 0x1000 - (page & X86_PAGE_MASK);
        if (left <= step)
            return true;
        left -= step;
        page = (page + step) & who.mask;
    }
}

bool x86_probe_write(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size)
{
    return probe(cpu, u, lin, size, X86_ACC_WRITE);
}

bool x86_probe_read(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size)
{
    return probe(cpu, u, lin, size, X86_ACC_READ);
}

void *x86_rmw_slow(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin, unsigned size,
                   bool *special)
{
    cpu->cur = u;
    *special = false;
    if (misaligned(cpu, lin, size))
        return NULL;
    if (!in_page(lin, size)) {
        *special = true;
        return NULL;
    }
    struct x86_who who = x86_who_runs(cpu);
    struct x86_spot s;
    enum x86_result r = x86_locate(cpu, lin, X86_ACC_WRITE, &who, &s);
    if (r != X86_OK) {
        failed(cpu, u, r);
        return NULL;
    }
    if (!s.writable) {
        *special = true;
        return NULL;
    }
    if (!s.direct)
        cpu->ops->before_rmw(cpu, s.gpa, size);
    if (X86_UNLIKELY(cpu->data_bp))
        x86_bp_data(cpu, lin, size, true);
    return s.host;
}

enum x86_result x86_sys_read(struct x86_cpu *cpu, uint64_t lin, unsigned size)
{
    struct x86_who who = x86_who_system(cpu);
    return load(cpu, lin, size, X86_ACC_READ, &who);
}

enum x86_result x86_sys_write(struct x86_cpu *cpu, uint64_t lin, uint64_t value, unsigned size)
{
    struct x86_who who = x86_who_system(cpu);
    return store(cpu, lin, value, size, &who);
}
