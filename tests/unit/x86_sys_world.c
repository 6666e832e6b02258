/* See x86_sys_world.h. */
#include "x86_sys_world.h"

static void page(struct x86_cpu *cpu, uint64_t gpa, enum x86_access acc, struct x86_page *out)
{
    struct sworld *w = cpu->host;
    (void)acc;
    *out = (struct x86_page){
        .host = gpa < S_MEM ? w->mem + gpa : NULL, .writable = true, .exec = true};
}
static enum x86_result read_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, unsigned size)
{
    (void)gpa, (void)lin, (void)size;
    cpu->tmp = ~UINT64_C(0);
    return X86_OK;
}
static enum x86_result write_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, uint64_t value,
                                  unsigned size)
{
    (void)cpu, (void)gpa, (void)lin, (void)value, (void)size;
    return X86_OK;
}
static enum x86_result no_msr_r(struct x86_cpu *cpu, uint32_t index)
{
    (void)index;
    return x86_fault_err(cpu, X86_GP, 0);
}
static enum x86_result no_msr_w(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
    (void)index, (void)value;
    return x86_fault_err(cpu, X86_GP, 0);
}
static uint64_t tsc(struct x86_cpu *cpu)
{
    (void)cpu;
    return 1000000;
}
static enum x86_result exception(struct x86_cpu *cpu, const struct x86_event *ev)
{
    struct sworld *w = cpu->host;
    (void)ev;
    w->seen_exceptions++;
    return w->exception_answer;
}
static const struct x86_ops ops = {
    .page = page,
    .read_phys = read_phys,
    .write_phys = write_phys,
    .rdmsr = no_msr_r,
    .wrmsr = no_msr_w,
    .tsc = tsc,
    .exception = exception,
};

void s_put(struct sworld *w, uint32_t at, uint64_t v, unsigned size)
{
    memcpy(w->mem + at, &v, size);
}
uint64_t s_get(const struct sworld *w, uint32_t at, unsigned size)
{
    uint64_t v = 0;
    memcpy(&v, w->mem + at, size);
    return v;
}

void s_desc(struct sworld *w, unsigned slot, uint32_t base, uint32_t limit, unsigned access,
            unsigned flags)
{
    uint32_t units = flags & 8 ? limit >> 12 : limit;
    uint64_t d = (units & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
                 (uint64_t)(units >> 16 & 0xf) << 48 | (uint64_t)flags << 52 |
                 (uint64_t)(base >> 24) << 56;
    s_put(w, S_GDT + slot, d, 8);
}

void s_gate(struct sworld *w, unsigned vector, uint16_t sel, uint64_t offset, unsigned access,
            unsigned ist)
{
    uint64_t d = (offset & 0xffff) | (uint64_t)sel << 16 | (uint64_t)ist << 32 |
                 (uint64_t)access << 40 | (offset & 0xffff0000) << 32;
    if (!w->cpu.long_mode) {
        s_put(w, S_IDT + 8 * vector, d, 8);
        return;
    }
    s_put(w, S_IDT + 16 * vector, d, 8);
    s_put(w, S_IDT + 16 * vector + 8, offset >> 32, 8);
}

static void build_gdt(struct sworld *w)
{
    for (unsigned l = 0; l < 4; l++) {
        s_desc(w, G_CODE0 + 0x10 * l, 0, UINT32_MAX, A_CODE(l), F_32);
        s_desc(w, G_DATA0 + 0x10 * l, 0, UINT32_MAX, A_DATA(l), F_32);
    }
    s_desc(w, G_TSS, S_TSS, 0x400, A_SYS(11, 0), 0);
    s_desc(w, G_TSS2, S_TSS2, 0x400, A_SYS(9, 0), 0);
    s_desc(w, G_LDT, S_LDT, 0xff, A_SYS(2, 0), 0);
    s_desc(w, G_CODE64, 0, UINT32_MAX, A_CODE(0), F_64);
    s_desc(w, G_CODE64U, 0, UINT32_MAX, A_CODE(3), F_64);
    s_desc(w, G_CONF, 0, UINT32_MAX, 0x9f, F_32);
    for (unsigned l = 0; l < 3; l++) {
        s_put(w, S_TSS + 4 + 8 * l, S_STACK + 0x1000 * (l + 1), 4);
        s_put(w, S_TSS + 8 + 8 * l, (G_DATA0 + 0x10 * l) | l, 4);
    }
}

static void build_idt(struct sworld *w)
{
    uint16_t sel = w->cpu.long_mode ? G_CODE64 : G_CODE0;
    for (unsigned v = 0; v < 256; v++)
        s_gate(w, v, sel, S_CODE + 16 * v, A_SYS(14, 3), 0);
}

struct sworld *s_new(void)
{
    struct sworld *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->banks = calloc(X86_NBANKS * X86_TLB_SIZE, sizeof *w->banks);
    w->mem = aligned_alloc(4096, S_MEM);
    assert_true(w->banks && w->mem);
    memset(w->mem, 0, S_MEM);
    w->cpu.tlb_banks = w->banks;
    w->cpu.ops = &ops;
    w->cpu.host = w;
    memset(w->cpu.feat, 0xff, sizeof w->cpu.feat);
    x86_reset(&w->cpu, false);
    w->cpu.gdtr = (struct x86_dtr){.base = S_GDT, .limit = G_LIMIT - 1};
    w->cpu.idtr = (struct x86_dtr){.base = S_IDT, .limit = 0xfff};
    w->cpu.ldtr = (struct x86_seg){.ar = X86_AR_UNUSABLE};
    w->cpu.tr = (struct x86_seg){.sel = G_TSS, .base = S_TSS, .limit = 0x400, .ar = A_SYS(11, 0)};
    w->exception_answer = X86_OK;
    build_gdt(w);
    s_protected(w, 0);
    return w;
}

void s_free(struct sworld *w)
{
    free(w->banks);
    free(w->mem);
    free(w);
}

static void put(struct sworld *w, unsigned seg, uint16_t sel)
{
    struct x86_desc d;
    assert_int_equal(x86_read_desc(&w->cpu, sel, X86_GP, &d), X86_OK);
    x86_put_seg(&w->cpu, seg, sel, &d);
}

static void common(struct sworld *w, unsigned cpl)
{
    struct x86_cpu *cpu = &w->cpu;
    cpu->cpl = (uint8_t)cpl;
    cpu->rip = 0x12345;
    cpu->r[X86_RSP] = S_STACK + 0x1000 * (cpl + 1) - 0x100;
    cpu->injected.valid = false;
    cpu->shutdown = false;
    x86_set_flags(cpu, X86_FL_IF | X86_FL_CF);
    x86_mode_refresh(cpu);
    x86_tlb_flush(cpu);
}

void s_protected(struct sworld *w, unsigned cpl)
{
    struct x86_cpu *cpu = &w->cpu;
    cpu->cr0 = X86_CR0_PE | X86_CR0_ET;
    cpu->cr4 = 0;
    cpu->efer = 0;
    x86_set_flags(cpu, 0);
    x86_mode_refresh(cpu);
    x86_tlb_flush(cpu);
    put(w, X86_CS, (uint16_t)((G_CODE0 + 0x10 * cpl) | cpl));
    for (unsigned s = 0; s < X86_NSEG; s++)
        if (s != X86_CS)
            put(w, s, (uint16_t)((G_DATA0 + 0x10 * cpl) | cpl));
    common(w, cpl);
    build_idt(w);
}

void s_long(struct sworld *w, unsigned cpl)
{
    struct x86_cpu *cpu = &w->cpu;
    s_protected(w, cpl);
    s_put(w, S_PT, (S_PT + 0x1000) | 7, 8);
    s_put(w, S_PT + 0x1000, (S_PT + 0x2000) | 7, 8);
    s_put(w, S_PT + 0x2000, 0x87 | 0x60, 8);
    cpu->cr3 = S_PT;
    cpu->cr4 = X86_CR4_PAE;
    cpu->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_SCE;
    cpu->cr0 |= X86_CR0_PG;
    cpu->long_mode = true;
    if (cpl == 0)
        put(w, X86_CS, G_CODE64);
    else
        put(w, X86_CS, G_CODE64U | 3);
    common(w, cpl);
    build_idt(w);
    for (unsigned i = 0; i < 3; i++)
        s_put(w, S_TSS + 4 + 8 * i, S_STACK + 0x1000 * (i + 1), 8);
    for (unsigned i = 0; i < 7; i++)
        s_put(w, S_TSS + 0x24 + 8 * i, 0x90000 + 0x1000 * (i + 1) + 8, 8); /* not aligned */
}

void s_real(struct sworld *w)
{
    struct x86_cpu *cpu = &w->cpu;
    x86_reset(cpu, false);
    x86_set_flags(cpu, X86_FL_IF);
    for (unsigned s = 0; s < X86_NSEG; s++)
        x86_put_seg_real(cpu, s, (uint16_t)(0x1000 + 0x100 * s));
    cpu->idtr = (struct x86_dtr){.base = 0, .limit = 0x3ff};
    cpu->rip = 0x1234;
    cpu->r[X86_RSP] = 0x1000;
    x86_mode_refresh(cpu);
    for (unsigned v = 0; v < 256; v++)
        s_put(w, 4 * v, (uint32_t)(S_CODE >> 4) << 16 | 16 * v, 4);
}

void s_v86(struct sworld *w, unsigned iopl)
{
    struct x86_cpu *cpu = &w->cpu;
    s_protected(w, 0);
    x86_set_flags(cpu, X86_FL_VM | X86_FL_IF | iopl << 12);
    for (unsigned s = 0; s < X86_NSEG; s++)
        x86_put_seg_real(cpu, s, (uint16_t)(0x5000 + 0x100 * s));
    cpu->cpl = 3;
    cpu->rip = 0x1234;
    cpu->r[X86_RSP] = 0x1000;
    x86_mode_refresh(cpu);
    for (unsigned v = 0; v < 256; v++)
        s_put(w, 4 * v, (uint32_t)(S_CODE >> 4) << 16 | 16 * v, 4);
}

int s_at(const struct sworld *w)
{
    uint64_t lin = (w->cpu.mode & X86_MODE_64 ? 0 : w->cpu.seg[X86_CS].base) + w->cpu.rip;
    if (lin < S_CODE || lin >= S_CODE + 16 * 256 || lin & 15)
        return -1;
    return (int)((lin - S_CODE) / 16);
}

uint64_t s_top(const struct sworld *w, unsigned i, unsigned size)
{
    uint64_t base = w->cpu.mode & X86_MODE_64 ? 0 : w->cpu.seg[X86_SS].base;
    return s_get(w, (uint32_t)(base + w->cpu.r[X86_RSP] + i * size), size);
}

enum x86_result s_event(struct sworld *w, unsigned vector, enum x86_event_kind kind, int error)
{
    struct x86_event ev = {.vector = (uint8_t)vector, .kind = (uint8_t)kind, .valid = true};
    ev.has_error = error >= 0;
    ev.error = error >= 0 ? (uint32_t)error : 0;
    if (kind == X86_EV_SOFT || kind == X86_EV_SOFT_EXC)
        ev.insn_len = 2;
    return x86_deliver(&w->cpu, &ev);
}
