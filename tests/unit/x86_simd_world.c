/* See x86_simd_world.h. */
#include "x86_simd_world.h"

/* Stand in for parts that these tests do not use, where the library does not have them. */
__attribute__((weak)) void x86_bp_data(struct x86_cpu *cpu, uint64_t lin, unsigned size, bool write)
{
    (void)cpu, (void)lin, (void)size, (void)write;
}

static struct simd_world *of(struct x86_cpu *cpu)
{
    return cpu->host;
}

static void page(struct x86_cpu *cpu, uint64_t gpa, enum x86_access acc, struct x86_page *out)
{
    (void)acc;
    uint64_t at = gpa & ~X86_PAGE_MASK;
    bool memory = at < S_SIZE && at != S_DEVICE;
    *out = (struct x86_page){
        .host = memory ? of(cpu)->mem + at : NULL, .writable = at != S_RO, .exec = true};
}

static enum x86_result read_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, unsigned size)
{
    (void)lin;
    cpu->tmp = 0;
    of(cpu)->device_reads++;
    if (of(cpu)->device_waits) {
        cpu->leave = X86_LEAVE_EXIT;
        return X86_EXIT;
    }
    if (gpa < S_SIZE)
        memcpy(&cpu->tmp, of(cpu)->mem + gpa, size);
    return X86_OK;
}

static enum x86_result write_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, uint64_t value,
                                  unsigned size)
{
    (void)lin;
    of(cpu)->device_writes++;
    if (of(cpu)->device_waits) {
        cpu->leave = X86_LEAVE_EXIT;
        return X86_EXIT;
    }
    if (gpa < S_SIZE)
        memcpy(of(cpu)->mem + gpa, &value, size);
    return X86_OK;
}

static void before_rmw(struct x86_cpu *cpu, uint64_t gpa, unsigned size)
{
    (void)cpu, (void)gpa, (void)size;
}

static void no_lock(struct x86_cpu *cpu)
{
    (void)cpu;
}

static const struct x86_ops ops = {
    .page = page,
    .read_phys = read_phys,
    .write_phys = write_phys,
    .before_rmw = before_rmw,
    .split_lock = no_lock,
    .split_unlock = no_lock,
};

struct simd_world *s_new(void)
{
    struct simd_world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    struct x86_cpu *cpu = &w->cpu;
    w->banks = calloc(X86_NBANKS * X86_TLB_SIZE, sizeof(*w->banks));
    w->mem = aligned_alloc(4096, S_SIZE);
    assert_true(w->banks && w->mem);
    memset(w->mem, 0, S_SIZE);
    cpu->tlb_banks = w->banks;
    cpu->ops = &ops;
    cpu->host = w;
    cpu->phys_mask = (UINT64_C(1) << 40) - 1;
    cpu->lin_mask = UINT64_MAX;
    cpu->mode = X86_MODE_64 | X86_MODE_FLAT | X86_MODE_LM | X86_MODE_SS32;
    cpu->long_mode = true;
    cpu->cr0 = X86_CR0_PE | X86_CR0_NE;
    cpu->cr4 = X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
    cpu->xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
    cpu->mxcsr = X86_MXCSR_INITIAL;
    x86_host_features(cpu->feat);
    static const uint8_t ours[] = {X86_FEAT_FXSR,   X86_FEAT_XSAVE,  X86_FEAT_XSAVEOPT,
                                   X86_FEAT_XSAVEC, X86_FEAT_XSAVES, X86_FEAT_CX8,
                                   X86_FEAT_CX16};
    for (unsigned i = 0; i < sizeof(ours); i++)
        cpu->feat[ours[i] >> 6] |= UINT64_C(1) << (ours[i] & 63);
    x86_fpu_reset(cpu);
    x86_tlb_flush(cpu);
    x86_tlb_select_bank(cpu);
    return w;
}

void s_free(struct simd_world *w)
{
    free(w->banks);
    free(w->mem);
    free(w);
}

void s_run(struct simd_world *w, const uint8_t *code, unsigned n)
{
    memcpy(w->mem + S_CODE, code, n);
    w->cpu.exc = (struct x86_event){0};
    w->cpu.rip = S_CODE;
    w->cpu.left = 100;
    x86_step(&w->cpu);
    if (w->cpu.leave == X86_LEAVE_LOOKUP && w->cpu.rip != S_CODE + n)
        fail_msg("rip is %#lx after %u bytes", (unsigned long)w->cpu.rip, n);
}

void s_ok(const struct simd_world *w)
{
    if (w->cpu.leave != X86_LEAVE_LOOKUP)
        fail_msg("left with %u, vector %u", w->cpu.leave, w->cpu.exc.vector);
}

void s_fault(const struct simd_world *w, unsigned vector)
{
    assert_int_equal(w->cpu.leave, X86_LEAVE_EXC);
    assert_int_equal(w->cpu.exc.vector, vector);
    assert_int_equal(w->cpu.rip, S_CODE);
}
