/* See modes.h. */
#include "modes.h"

const char *const world_mode_name[W_MODES] = {
    "real mode",        "protected mode, CPL 0", "protected mode, CPL 3",
    "long mode, CPL 0", "long mode, CPL 3",
};

static bool is_long(enum world_mode mode)
{
    return mode >= W_LONG0;
}

static void put(struct world *w, uint64_t gpa, const void *data, uint64_t bytes)
{
    OK(vmlib_vm_write(w->vm, gpa, data, bytes));
}

static void build_gdt(struct world *w, bool lm)
{
    /* Flat, accessed (SDM Vol.3A 3.4.5); the TSS busy. */
    uint64_t code = lm ? 0x00af9b000000ffff : 0x00cf9b000000ffff;
    uint64_t user = lm ? 0x00affb000000ffff : 0x00cffb000000ffff;
    uint64_t tss = 0x00008b0000000000 | (uint64_t)(TSS & 0xffffff) << 16 | 0x20ff;
    const uint64_t gdt[9] = {
        0, code, 0x00cf93000000ffff, 0x00cff3000000ffff, user, 0x00cffb000000ffff, tss, 0, 0,
    };
    put(w, GDT, gdt, sizeof(gdt));
}

void world_gate(struct world *w, enum world_mode mode, unsigned vector, uint64_t at)
{
    if (mode == W_REAL) {
        world_vector(w, vector, (uint16_t)at);
        return;
    }
    /* Interrupt gates of DPL 3 (SDM Vol.3A 6.11 and 6.14.1) */
    uint64_t low =
        (at & 0xffff) | SEL_CODE0 << 16 | UINT64_C(0xee00) << 32 | (at >> 16 & 0xffff) << 48;
    uint64_t gate[2] = {low, at >> 32};
    unsigned bytes = is_long(mode) ? 16 : 8;
    put(w, IDT + vector * bytes, gate, bytes);
}

static void build_handlers(struct world *w, enum world_mode mode)
{
    for (unsigned v = 0; v < 256; v++) {
        uint8_t stub[] = {0xb0, (uint8_t)v, 0xe6, PORT_VECTOR, 0xf4};
        put(w, STUBS + v * 16, stub, sizeof(stub));
        if (mode == W_REAL) {
            uint16_t entry[2] = {(uint16_t)(v * 16), STUBS >> 4};
            put(w, v * 4u, entry, sizeof(entry));
        } else {
            world_gate(w, mode, v, STUBS + v * 16);
        }
    }
}

static void build_tss(struct world *w, bool lm)
{
    /* Zeros allow all ports; the byte of ones ends the bitmap (SDM Vol.1 18.5.2). */
    static const uint8_t zero[0x20ff];
    uint64_t rsp0 = KSTACK;
    uint32_t stack32[2] = {KSTACK, SEL_DATA0};
    uint16_t bitmap = 0x68;
    uint8_t ones = 0xff;
    put(w, TSS, zero, sizeof(zero));
    put(w, TSS + 4, lm ? (const void *)&rsp0 : stack32, 8);
    put(w, TSS + 0x66, &bitmap, 2);
    put(w, TSS + 0x68 + 0x2000, &ones, 1);
}

void world_pte(struct world *w, uint64_t page, uint64_t entry)
{
    put(w, TABLES + 0x3000 + (page >> 12) * 8, &entry, 8);
}

static void build_paging(struct world *w)
{
    /* Present, writable, user, accessed */
    for (unsigned level = 0; level < 3; level++) {
        uint64_t entry = (TABLES + (level + 1) * 0x1000) | 0x27;
        put(w, TABLES + level * 0x1000, &entry, 8);
    }
    for (uint64_t page = 0; page < 0x200000; page += 0x1000) {
        world_pte(w, page, page | 0x67); /* ... and dirty */
    }
    world_pte(w, SUPER, SUPER | 0x63);
    world_pte(w, ABSENT, 0);
    world_pte(w, RONLY, RONLY | 0x65);
}

static struct vmlib_segment flat(uint16_t selector, uint32_t attributes)
{
    return (struct vmlib_segment){
        .limit = UINT32_MAX, .attributes = attributes, .selector = selector};
}

static void set_segments(struct vmlib_segments *g, bool lm, bool user)
{
    uint32_t dpl = user ? 0x60 : 0;
    struct vmlib_segment data = flat(user ? SEL_DATA3 : SEL_DATA0, 0xc093 | dpl);
    g->es = g->ss = g->ds = g->fs = g->gs = data;
    g->cs = flat(user ? SEL_CODE3 : SEL_CODE0, (lm ? 0xa09b : 0xc09b) | dpl);
    g->ldtr = (struct vmlib_segment){.attributes = VMLIB_SEGMENT_UNUSABLE};
    g->tr = (struct vmlib_segment){
        .base = TSS, .limit = 0x20ff, .attributes = 0x8b, .selector = SEL_TSS};
    g->gdtr = (struct vmlib_table){.base = GDT, .limit = SEL_TSS_TOP - 1};
    g->idtr = (struct vmlib_table){.base = IDT, .limit = 0xfff};
}

static void enter(struct world *w, enum world_mode mode)
{
    const uint32_t groups = VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL;
    struct vmlib_state s;
    s.size = sizeof(s);
    bool lm = is_long(mode), user = mode == W_PROT3 || mode == W_LONG3;
    OK(vmlib_vcpu_get_state(w->vcpu, groups, &s));
    memset(&s.gpr, 0, sizeof(s.gpr));
    s.gpr.rip = CODE;
    s.gpr.rsp = STACK;
    s.gpr.rflags = 2;
    if (mode != W_REAL) {
        set_segments(&s.segments, lm, user);
        s.control.cr0 = 0x10033; /* WP, NE, ET, MP, PE */
        s.control.cr4 = 0x600;   /* OSXMMEXCPT, OSFXSR */
        if (lm) {
            s.control.cr0 |= 0x80000000;
            s.control.cr3 = TABLES;
            s.control.cr4 |= 0x20;
            s.control.efer = 0xd01; /* NXE, LMA, LME, SCE */
        }
    }
    OK(vmlib_vcpu_set_state(w->vcpu, groups, &s));
}

void world_mode(struct world *w, enum world_mode mode, const uint8_t *code, const uint8_t *end)
{
    world_load(w, code, end);
    build_handlers(w, mode);
    if (mode != W_REAL) {
        build_gdt(w, is_long(mode));
        build_tss(w, is_long(mode));
    }
    if (is_long(mode)) {
        build_paging(w);
    }
    enter(w, mode);
}

/* --- what hosts lack --- */

const char *lacks_xsave(enum world_mode mode)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    struct vmlib_cpuid_leaf leaves[VMLIB_CPUID_MAX];
    uint32_t n = VMLIB_CPUID_MAX;
    bool has = false;
    (void)mode;
    struct world *w = world_create(&config);
    OK(vmlib_vcpu_get_cpuid(w->vcpu, leaves, &n));
    for (uint32_t i = 0; i < n; i++) {
        has |= leaves[i].leaf == 1 && leaves[i].ecx >> 26 & 1;
    }
    world_destroy(w);
    return has ? NULL : "this host offers no XSAVE to guests";
}
