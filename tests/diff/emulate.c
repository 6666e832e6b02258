/* The same case through lib/x86: a CPU at CPL 3 in long mode whose page tables map the window as
 * the host does. */
#include <stdlib.h>
#include <string.h>

#include "diff.h"
#include "x86/flags.h"
#include "x86/handlers.h"
#include "x86/mem.h"
#include "x86/ops.h"
#include "x86/sys.h"

/* Guest-physical: four page tables, then the window's pages in order. */
#define PA_TABLES 0x0000u
#define PA_WINDOW 0x10000u
#define PA_SIZE   (PA_WINDOW + 0x8000u)
#define PTE_RW    UINT64_C(0x67) /* P W U A D */
#define PTE_RO    UINT64_C(0x65)
#define PTE_NX    (UINT64_C(1) << 63)

struct diff_emulator {
    struct x86_cpu cpu;
    uintptr_t stack,
        deepest; /* host stack at the end of a block: of an empty one, and the lowest seen */
    struct x86_tlb_entry tlb[X86_NBANKS * X86_TLB_SIZE];
    uint8_t mem[PA_SIZE] __attribute__((aligned(4096)));
};

static void op_page(struct x86_cpu *cpu, uint64_t gpa, enum x86_access acc, struct x86_page *out)
{
    struct diff_emulator *e = cpu->host;
    (void)acc;
    *out = (struct x86_page){0};
    if (gpa < PA_SIZE)
        *out = (struct x86_page){.host = e->mem + gpa, .writable = true, .exec = true};
}
static enum x86_result op_read_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, unsigned size)
{
    (void)gpa, (void)lin, (void)size;
    cpu->tmp = 0;
    return X86_OK;
}
static enum x86_result op_write_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin,
                                     uint64_t value, unsigned size)
{
    (void)cpu, (void)gpa, (void)lin, (void)value, (void)size;
    return X86_OK;
}
static void op_before_rmw(struct x86_cpu *cpu, uint64_t gpa, unsigned size)
{
    (void)cpu, (void)gpa, (void)size;
}
static uint64_t op_number(struct x86_cpu *cpu)
{
    (void)cpu;
    return 1;
}
static void op_nothing(struct x86_cpu *cpu)
{
    (void)cpu;
}
/* The rows that would need the other ops are not run. */
static const struct x86_ops ops = {
    .page = op_page,
    .read_phys = op_read_phys,
    .write_phys = op_write_phys,
    .before_rmw = op_before_rmw,
    .tsc = op_number,
    .random = op_number,
    .tlb_flushed = op_nothing,
    .split_lock = op_nothing,
    .split_unlock = op_nothing,
};

static void map(struct diff_emulator *e, uint32_t lin, uint64_t bits)
{
    uint64_t *pt = (uint64_t *)(void *)(e->mem + PA_TABLES + 0x3000);
    pt[lin >> 12 & 511] = (PA_WINDOW + (lin - DIFF_BASE)) | bits;
}

static void build_tables(struct diff_emulator *e)
{
    uint64_t *pml4 = (uint64_t *)(void *)(e->mem + PA_TABLES);
    pml4[0] = (PA_TABLES + 0x1000) | PTE_RW;
    pml4[512 + (DIFF_BASE >> 30)] = (PA_TABLES + 0x2000) | PTE_RW;
    pml4[1024 + (DIFF_BASE >> 21 & 511)] = (PA_TABLES + 0x3000) | PTE_RW;
    map(e, DIFF_DATA, PTE_RW | PTE_NX);
    map(e, DIFF_DATA + 0x1000, PTE_RW | PTE_NX);
    map(e, DIFF_RO, PTE_RO | PTE_NX);
    map(e, DIFF_CODE, PTE_RW);
    map(e, DIFF_CODE + 0x1000, PTE_RW);
}

struct diff_emulator *diff_emulator_new(void)
{
    struct diff_emulator *e = aligned_alloc(4096, (sizeof(*e) + 4095) & ~(size_t)4095);
    struct x86_cpuid_table table;
    uint64_t host[4];
    if (!e)
        return NULL;
    memset(e, 0, sizeof(*e));
    struct x86_cpu *cpu = &e->cpu;
    build_tables(e);
    memcpy(e->mem + PA_WINDOW + (DIFF_DATA - DIFF_BASE), diff_background, DIFF_DATA_SIZE + 0x1000);
    memset(e->mem + PA_WINDOW + (DIFF_CODE - DIFF_BASE), 0xcc, DIFF_CODE_SIZE);
    cpu->ops = &ops;
    cpu->host = e;
    cpu->tlb_banks = e->tlb;
    cpu->tlb = e->tlb;
    cpu->tlb_gen = 1;
    x86_host_features(host);
    x86_cpuid_default(
        &(struct x86_cpuid_config){
            .ncpus = 1, .tsc_khz = 1000000, .phys_bits = 40, .host_feat = host},
        &table);
    x86_reset(cpu, false);
    x86_cpuid_features(&table, cpu->feat);
    cpu->phys_mask = (UINT64_C(1) << 40) - 1;
    cpu->cr0 =
        X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_PG;
    cpu->cr3 = PA_TABLES;
    cpu->cr4 =
        X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE | X86_CR4_FSGSBASE;
    cpu->efer = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
    cpu->xcr0 = X86_XCR0_X87 | X86_XCR0_SSE | (x86_has(cpu, X86_FEAT_AVX) ? X86_XCR0_AVX : 0);
    return e;
}

const uint64_t *diff_emulator_features(struct diff_emulator *e)
{
    return e->cpu.feat;
}

static void load_state(struct x86_cpu *cpu, const struct diff_case *c)
{
    const struct diff_state *in = &c->in;
    const struct diff_segment *s = diff_segments(c->mode);
    for (unsigned i = 0; i < X86_NSEG; i++)
        cpu->seg[i] = (struct x86_seg){
            .base = diff_seg_base(c, i), .limit = s[i].limit, .ar = s[i].ar, .sel = s[i].sel};
    for (unsigned i = 0; i < 16; i++)
        cpu->r[i] = in->gpr[i];
    cpu->rip = in->rip;
    cpu->cpl = 3;
    x86_set_flags(cpu, in->flags);
    x86_mode_refresh(cpu);
    memcpy(cpu->v, in->v, sizeof(cpu->v));
    cpu->mxcsr = in->mxcsr;
    struct x86_fpu *f = &cpu->fpu;
    f->cw = in->cw;
    f->top = in->sw >> 11 & 7;
    f->sw = in->sw & ~0x3800;
    f->tagw = in->tag;
    for (unsigned i = 0; i < 8; i++)
        f->st[(f->top + i) & 7] = in->st[i];
    cpu->exc.valid = false;
    cpu->pending_dr6 = 0;
    cpu->shadow = 0;
    cpu->nanswers = cpu->next_answer = 0;
    cpu->poll = 0;
    cpu->left = 1 << 20;
}

static void save_state(const struct x86_cpu *cpu, struct diff_state *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < 16; i++)
        out->gpr[i] = cpu->r[i];
    out->rip = cpu->rip;
    out->flags = x86_get_flags(cpu);
    out->fs_base = cpu->seg[X86_FS].base;
    out->gs_base = cpu->seg[X86_GS].base;
    memcpy(out->v, cpu->v, sizeof(out->v));
    out->mxcsr = cpu->mxcsr;
    const struct x86_fpu *f = &cpu->fpu;
    out->cw = f->cw;
    out->sw = (uint16_t)((f->sw & ~0x3800) | f->top << 11);
    out->tag = (uint8_t)f->tagw;
    for (unsigned i = 0; i < 8; i++) {
        out->st[i].mant = f->st[(f->top + i) & 7].mant;
        out->st[i].se = f->st[(f->top + i) & 7].se;
    }
}

static void load_memory(struct diff_emulator *e, const struct diff_case *c)
{
    uint8_t *window = e->mem + PA_WINDOW, *code = window + (DIFF_CODE - DIFF_BASE);
    memcpy(window + (DIFF_DATA - DIFF_BASE), diff_background, DIFF_DATA_SIZE);
    for (unsigned i = 0; i < c->npatches; i++)
        memcpy(window + (c->patch[i].addr - DIFF_BASE), c->patch[i].bytes, DIFF_PATCH_BYTES);
    memset(code, 0xcc, DIFF_CODE_SIZE);
    memcpy(window + (c->in.rip + diff_seg_base(c, X86_CS) - DIFF_BASE), c->bytes, c->length);
}

/* End of a block that looks at the host's stack. Handlers end in jumps; one that calls its
 * successor would let a loop of the guest overflow the stack. */
static struct x86_uop *end_of_block(struct x86_cpu *cpu, struct x86_uop *u)
{
    struct diff_emulator *e = cpu->host;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    if (!e->stack)
        e->stack = here;
    if (!e->deepest || here < e->deepest)
        e->deepest = here;
    return x86_op_end(cpu, u);
}

/* As the block cache runs code: not at the start of its block, and with a successor. */
static __attribute__((noinline)) void run_block(struct diff_emulator *e, const struct diff_case *c)
{
    struct x86_cpu *cpu = &e->cpu;
    struct x86_uop u[3];
    const unsigned before = 16;
    cpu->leave = X86_LEAVE_LOOKUP;
    cpu->r[X86_RIPBASE] = c->in.rip - before;
    x86_lower(cpu, &c->insn, before, &u[0]);
    u[1] = (struct x86_uop){.fn = end_of_block, .ip = (uint16_t)(before + c->insn.length)};
    u[2] = u[1];
    if (!e->stack)
        x86_run_uops(cpu, &u[1]); /* the measure */
    cpu->rip = c->in.rip;
    cpu->leave = X86_LEAVE_LOOKUP;
    cpu->left -= 1;
    x86_run_uops(cpu, u);
    x86_fp_sync(cpu);
}

bool diff_emulator_stack_ok(struct diff_emulator *e)
{
    bool ok = !X86_THREADED || e->stack == e->deepest;
    e->deepest = e->stack;
    return ok;
}

void diff_emulate(struct diff_emulator *e, const struct diff_case *c, bool cold,
                  struct diff_result *r)
{
    struct x86_cpu *cpu = &e->cpu;
    load_memory(e, c);
    load_state(cpu, c);
    if (cold)
        x86_tlb_flush(cpu);
    for (unsigned i = 0; i < 100000; i++) { /* a REP string may come back several times */
        if (cold || c->insn.row == X86_I_NONE)
            x86_step(cpu);
        else
            run_block(e, c);
        if (cpu->leave != X86_LEAVE_LOOKUP || cpu->rip != c->in.rip)
            break;
    }
    save_state(cpu, &r->out);
    memcpy(r->data, e->mem + PA_WINDOW + (DIFF_DATA - DIFF_BASE), DIFF_DATA_SIZE);
    r->vector = DIFF_NO_FAULT;
    r->error = r->cr2 = 0;
    if (cpu->leave == X86_LEAVE_EXC) {
        r->vector = cpu->exc.vector;
        r->error = cpu->exc.has_error ? cpu->exc.error : 0;
        r->cr2 = cpu->exc.vector == X86_PF ? cpu->exc.cr2 : 0;
    } else if (cpu->leave != X86_LEAVE_LOOKUP) {
        r->vector = 100 + (int)cpu->leave; /* never right: user code cannot halt or exit */
    }
    r->done = true;
}
