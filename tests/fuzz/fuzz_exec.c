/*
 * Fuzz target: arbitrary bytes as code, stack, tables and state of a CPU in any mode, exceptions
 * delivered.
 *
 * The input's first bytes choose mode and registers, the rest is copied over guest memory again and
 * again. Whatever the guest does, nothing may crash, read outside its memory, or run on without
 * end.
 */
#include <stdlib.h>
#include <string.h>

#include "x86/flags.h"
#include "x86/mem.h"
#include "x86/ops.h"
#include "x86/sys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEM_SIZE 0x40000u
#define STEPS    400u

struct guest {
    struct x86_cpu cpu;
    struct x86_tlb_entry tlb[X86_NBANKS * X86_TLB_SIZE];
    struct x86_cpuid_table cpuid;
    uint8_t *mem;
    unsigned device_exits;
};

/* The top quarter of the 20-bit space is a device; pages above memory are holes, one page is ROM.
 */
static void op_page(struct x86_cpu *cpu, uint64_t gpa, enum x86_access acc, struct x86_page *out)
{
    struct guest *g = cpu->host;
    (void)acc;
    *out = (struct x86_page){0};
    if (gpa < MEM_SIZE)
        *out = (struct x86_page){.host = g->mem + gpa,
                                 .writable = gpa != 0x3f000,
                                 .write_slow = (gpa >> 12) % 8 == 7,
                                 .exec = true};
}
static enum x86_result op_read_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, unsigned size)
{
    struct guest *g = cpu->host;
    (void)lin;
    cpu->tmp = 0;
    if (gpa < MEM_SIZE && size <= MEM_SIZE - gpa)
        memcpy(&cpu->tmp, g->mem + gpa, size);
    else if (gpa % 64 == 5) {
        cpu->leave = X86_LEAVE_EXIT;
        return X86_EXIT;
    } else
        cpu->tmp = gpa * 0x0101010101010101;
    return X86_OK;
}
static enum x86_result op_write_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin,
                                     uint64_t value, unsigned size)
{
    struct guest *g = cpu->host;
    (void)lin;
    if (gpa < MEM_SIZE && size <= MEM_SIZE - gpa && gpa >> 12 != 0x3f)
        memcpy(g->mem + gpa, &value, size);
    return X86_OK;
}
static void op_before_rmw(struct x86_cpu *cpu, uint64_t gpa, unsigned size)
{
    (void)cpu, (void)gpa, (void)size;
}
static enum x86_result op_pio_read(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
    (void)size;
    cpu->tmp = port;
    return X86_OK;
}
static enum x86_result op_pio_write(struct x86_cpu *cpu, uint16_t port, uint32_t value,
                                    unsigned size)
{
    (void)cpu, (void)port, (void)value, (void)size;
    return X86_OK;
}
static enum x86_result op_rdmsr(struct x86_cpu *cpu, uint32_t index)
{
    (void)index;
    return x86_fault_err(cpu, X86_GP, 0);
}
static enum x86_result op_wrmsr(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
    (void)index, (void)value;
    return x86_fault_err(cpu, X86_GP, 0);
}
static enum x86_result op_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
    struct guest *g = cpu->host;
    uint32_t out[4];
    x86_cpuid_lookup(cpu, &g->cpuid, leaf, subleaf, out);
    for (unsigned i = 0; i < 4; i++)
        cpu->tmpq[i] = out[i];
    return X86_OK;
}
static enum x86_result op_hypercall(struct x86_cpu *cpu)
{
    (void)cpu;
    return X86_OK;
}
static uint64_t op_number(struct x86_cpu *cpu)
{
    return cpu->rip * 3;
}
static void op_nothing(struct x86_cpu *cpu)
{
    (void)cpu;
}
static enum x86_result op_exception(struct x86_cpu *cpu, const struct x86_event *ev)
{
    (void)cpu, (void)ev;
    return X86_OK;
}
static const struct x86_ops ops = {
    .page = op_page,
    .read_phys = op_read_phys,
    .write_phys = op_write_phys,
    .before_rmw = op_before_rmw,
    .pio_read = op_pio_read,
    .pio_write = op_pio_write,
    .rdmsr = op_rdmsr,
    .wrmsr = op_wrmsr,
    .cpuid = op_cpuid,
    .hypercall = op_hypercall,
    .tsc = op_number,
    .random = op_number,
    .tlb_flushed = op_nothing,
    .exception = op_exception,
    .split_lock = op_nothing,
    .split_unlock = op_nothing,
};

static void flat(struct x86_cpu *cpu, unsigned mode, unsigned cpl)
{
    uint32_t rights = X86_AR_P | X86_AR_S | X86_AR_A | X86_AR_WR | cpl << X86_AR_DPL_SHIFT;
    for (unsigned i = 0; i < X86_NSEG; i++)
        cpu->seg[i] = (struct x86_seg){.limit = UINT32_MAX,
                                       .ar = rights | X86_AR_G | X86_AR_DB,
                                       .sel = (uint16_t)(i * 8 + 8 + cpl)};
    cpu->seg[X86_CS].ar = rights | X86_AR_CODE | X86_AR_G |
                          (mode == 64   ? X86_AR_L
                           : mode == 32 ? X86_AR_DB
                                        : 0);
    cpu->cpl = (uint8_t)cpl;
}

/* Page tables at 0x10000: the first gigabyte, large pages and, for the first 2 MiB, small ones. */
static void tables(struct guest *g)
{
    uint64_t *t = (uint64_t *)(void *)(g->mem + 0x10000);
    memset(t, 0, 0x4000);
    t[0] = 0x11000 | 7;
    t[512] = 0x12000 | 7;
    t[1024] = 0x13000 | 7;
    for (unsigned i = 1; i < 512; i++)
        t[1024 + i] = (uint64_t)i << 21 | 0x87;
    for (unsigned i = 0; i < 512; i++)
        t[1536 + i] = (uint64_t)i << 12 | (i % 7 ? 7 : i % 2 ? 5 : 3);
}

static void choose_mode(struct guest *g, uint8_t kind)
{
    struct x86_cpu *cpu = &g->cpu;
    unsigned cpl = kind >> 4 & 3;
    switch (kind & 7) {
    case 0: /* real mode, as reset leaves it, but in memory */
        x86_load_seg(cpu, X86_CS, 0);
        cpu->seg[X86_CS] = (struct x86_seg){.limit = 0xffff, .ar = 0x9b};
        break;
    case 1:
    case 2:
        cpu->cr0 |= X86_CR0_PE;
        flat(cpu, kind & 1 ? 32 : 16, cpl);
        break;
    case 3: /* virtual-8086 */
        cpu->cr0 |= X86_CR0_PE;
        flat(cpu, 32, 3);
        cpu->eflags |= X86_FL_VM | (kind & 8 ? X86_FL_IOPL : 0);
        for (unsigned i = 0; i < X86_NSEG; i++)
            cpu->seg[i] = (struct x86_seg){.limit = 0xffff, .ar = 0xf3};
        break;
    default:
        tables(g);
        cpu->cr0 |= X86_CR0_PE | X86_CR0_PG | X86_CR0_WP | X86_CR0_NE;
        cpu->cr4 |= X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXSAVE | X86_CR4_OSXMMEXCPT;
        cpu->cr3 = 0x10000;
        cpu->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_SCE | X86_EFER_NXE;
        cpu->xcr0 = 7;
        flat(cpu, kind & 8 ? 32 : 64, cpl);
        break;
    }
    x86_mode_refresh(cpu);
}

/* Random tables end most guests in a triple fault at once. Then the CPU goes on elsewhere in the
 * input, in its first mode again, with the registers it has. */
static void revive(struct guest *g, uint8_t kind, uint64_t rip)
{
    struct x86_cpu *cpu = &g->cpu;
    cpu->shutdown = cpu->halted = cpu->nmi_blocked = false;
    cpu->cr0 = X86_CR0_ET;
    cpu->cr4 = 0;
    cpu->efer = 0;
    cpu->eflags = 0;
    cpu->gdtr = (struct x86_dtr){.base = 0x2000, .limit = 0xfff};
    cpu->idtr = (struct x86_dtr){.base = 0x3000, .limit = 0xfff};
    cpu->r[X86_RSP] = 0x8000 + (rip & 0xff);
    x86_tlb_flush(cpu);
    choose_mode(g, kind);
    cpu->rip = rip;
}

static void run(struct guest *g, const uint8_t *data, size_t size)
{
    struct x86_cpu *cpu = &g->cpu;
    for (unsigned i = 0; i < STEPS; i++) {
        bool alive = true;
        cpu->left = 1 << 20;
        cpu->poll = 1; /* REP comes back between chunks, as when somebody cancels the run */
        cpu->nanswers = cpu->next_answer = 0;
        x86_step(cpu);
        if (cpu->leave == X86_LEAVE_EXC) {
            struct x86_event ev = cpu->exc;
            alive = x86_deliver(cpu, &ev) == X86_OK;
        } else {
            alive = cpu->leave == X86_LEAVE_LOOKUP;
        }
        if (!alive || cpu->shutdown)
            revive(g, data[18], 0x400 + (i * 7 + data[i % size]) % size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct guest *g;
    if (size < 32)
        return 0;
    if (!g) {
        g = aligned_alloc(64, (sizeof(*g) + 63) & ~(size_t)63);
        if (!g)
            return 0;
        memset(g, 0, sizeof(*g));
        g->mem = aligned_alloc(4096, MEM_SIZE);
        if (!g->mem)
            return 0;
    }
    struct x86_cpu *cpu = &g->cpu;
    uint8_t *mem = g->mem;
    uint64_t host[4];
    memset(cpu, 0, sizeof(*cpu));
    for (size_t at = 0; at < MEM_SIZE; at += size)
        memcpy(mem + at, data, size < MEM_SIZE - at ? size : MEM_SIZE - at);
    cpu->ops = &ops;
    cpu->host = g;
    cpu->tlb_banks = cpu->tlb = g->tlb;
    cpu->tlb_gen = 1;
    memset(g->tlb, 0, sizeof(g->tlb));
    x86_host_features(host);
    x86_cpuid_default(
        &(struct x86_cpuid_config){.ncpus = 1, .tsc_khz = 1000, .phys_bits = 40, .host_feat = host},
        &g->cpuid);
    x86_reset(cpu, false);
    x86_cpuid_features(&g->cpuid, cpu->feat);
    cpu->phys_mask = (UINT64_C(1) << 40) - 1;
    cpu->gdtr = (struct x86_dtr){.base = 0x2000, .limit = 0xfff};
    cpu->idtr = (struct x86_dtr){.base = 0x3000, .limit = 0xfff};
    for (unsigned i = 0; i < 16; i++)
        cpu->r[i] = (uint64_t)data[i] << (data[i + 1] & 31) | data[i + 2];
    cpu->r[X86_RSP] = 0x8000 + data[19];
    x86_set_flags(cpu, X86_FL_ONE | (uint32_t)data[20] << 4);
    memcpy(cpu->v, data, 32);
    choose_mode(g, data[18]);
    cpu->rip = 0x400 + data[17] % size;
    run(g, data, size);
    return 0;
}
