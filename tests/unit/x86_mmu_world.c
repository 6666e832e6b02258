/* See x86_mmu_world.h. Stands in for leave.c and debug.c, so that the MMU is tested alone. */
#include "x86_mmu_world.h"

enum x86_result x86_fault(struct x86_cpu *cpu, unsigned vector)
{
    cpu->exc = (struct x86_event){.vector = (uint8_t)vector, .kind = X86_EV_FAULT, .valid = true};
    cpu->leave = X86_LEAVE_EXC;
    return X86_EXC;
}

enum x86_result x86_fault_err(struct x86_cpu *cpu, unsigned vector, uint32_t error)
{
    x86_fault(cpu, vector);
    cpu->exc.has_error = true;
    cpu->exc.error = error;
    return X86_EXC;
}

void x86_bp_data(struct x86_cpu *cpu, uint64_t lin, unsigned size, bool write)
{
    (void)write;
    if (cpu->dr[0] >= lin && cpu->dr[0] < lin + size)
        cpu->pending_dr6 |= 1;
}

static void page(struct x86_cpu *cpu, uint64_t gpa, enum x86_access acc, struct x86_page *out)
{
    (void)acc;
    struct world *w = w_of(cpu);
    bool device = gpa == W_DEVICE || (w->tables_are_device && gpa < W_TABLES);
    w->last_page = gpa;
    *out = (struct x86_page){.host = device ? NULL : w_byte(w, gpa & ~X86_PAGE_MASK),
                             .writable = gpa != W_ROM,
                             .write_slow = gpa == W_CODE,
                             .exec = true};
}

static void take_note(struct world *w, uint64_t gpa, uint64_t lin, uint64_t v, unsigned size,
                      bool write)
{
    assert_in_range(size, 1, 8);
    assert_true((gpa & 0xfff) + size <= 0x1000);
    if (w->nnotes < W_NOTES)
        w->note[w->nnotes++] = (struct w_note){gpa, lin, v, size, write};
}

static enum x86_result read_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, unsigned size)
{
    struct world *w = w_of(cpu);
    uint64_t v = 0;
    memcpy(&v, w_byte(w, gpa), size);
    take_note(w, gpa, lin, v, size, false);
    cpu->tmp = v;
    if (w->device_result != X86_OK)
        cpu->leave = X86_LEAVE_EXIT;
    return w->device_result;
}

static enum x86_result write_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, uint64_t value,
                                  unsigned size)
{
    struct world *w = w_of(cpu);
    take_note(w, gpa, lin, value, size, true);
    uint64_t at = gpa & ~X86_PAGE_MASK;
    if (w->device_result != X86_OK && at != W_CODE) {
        cpu->leave = X86_LEAVE_EXIT;
        return w->device_result;
    }
    if (at != W_ROM)
        memcpy(w_byte(w, gpa), &value, size);
    return X86_OK;
}

static void before_rmw(struct x86_cpu *cpu, uint64_t gpa, unsigned size)
{
    (void)gpa, (void)size;
    w_of(cpu)->rmw++;
}

static const struct x86_ops ops = {
    .page = page,
    .read_phys = read_phys,
    .write_phys = write_phys,
    .before_rmw = before_rmw,
};

struct world *w_new(void)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->banks = calloc(X86_NBANKS * X86_TLB_SIZE, sizeof(*w->banks));
    w->tables = aligned_alloc(4096, W_TABLES);
    w->data = aligned_alloc(4096, 0x10000);
    assert_true(w->banks && w->tables && w->data);
    memset(w->tables, 0, W_TABLES);
    memset(w->data, 0, 0x10000);
    w->cpu.tlb_banks = w->banks;
    w->cpu.ops = &ops;
    w->cpu.host = w;
    w->cpu.phys_mask = (UINT64_C(1) << 40) - 1;
    w->cpu.lin_mask = UINT32_MAX;
    w->cpu.feat[0] = w->cpu.feat[1] = ~UINT64_C(0);
    x86_tlb_flush(&w->cpu);
    x86_tlb_select_bank(&w->cpu);
    return w;
}

void w_free(struct world *w)
{
    free(w->banks);
    free(w->tables);
    free(w->data);
    free(w);
}

void w_clear(struct world *w)
{
    w->cpu.exc = (struct x86_event){0};
    w->cpu.leave = X86_LEAVE_LOOKUP;
    w->cpu.pending_dr6 = 0;
    w->nnotes = w->rmw = 0;
}

struct x86_uop *x86_leave(struct x86_cpu *cpu, struct x86_uop *u)
{
    (void)cpu, (void)u;
    return NULL;
}

struct x86_uop *x86_leave_next(struct x86_cpu *cpu, struct x86_uop *u)
{
    (void)cpu, (void)u;
    return NULL;
}
