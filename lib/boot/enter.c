/* Initial vCPU state: real mode, flat 32-bit protected mode, long mode. Tables go to guest memory.
 */
#include "boot/load.h"

/* Access rights (SDM Vol.3C 24.4.1). */
#define AR_CODE32 0xc09bu
#define AR_CODE64 0xa09bu
#define AR_DATA32 0xc093u
#define AR_CODE16 0x009bu
#define AR_DATA16 0x0093u
#define AR_TSS32  0x008bu
#define AR_LDT    0x0082u

#define CR0_PE   0x1u
#define CR0_ET   0x10u
#define CR0_PG   0x80000000u
#define CR4_PAE  0x20u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u

#define SEL_CODE 0x10u /* as the boot protocol of Linux wants them: __BOOT_CS and __BOOT_DS */
#define SEL_DATA 0x18u

static struct vmlib_segment segment(uint16_t selector, uint64_t base, uint32_t limit,
                                    uint32_t attributes)
{
    return (struct vmlib_segment){base, limit, attributes, selector, {0}};
}

static void set_data(struct vmlib_segments *s, struct vmlib_segment data)
{
    s->ds = s->es = s->ss = s->fs = s->gs = data;
}

static int set(struct vmi_boot *b, struct vmlib_state *state, unsigned bits)
{
    int error = vmlib_vcpu_set_state(
        b->vcpu, VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL, state);

    if (error)
        return vmi_dev_error_lib(error, "initial state of the vCPU");
    b->r.bits = bits;
    b->r.entry = state->segments.cs.base + state->gpr.rip;
    return 0;
}

static int get(struct vmi_boot *b, struct vmlib_state *state)
{
    int error;

    memset(state, 0, sizeof *state);
    state->size = sizeof *state;
    error = vmlib_vcpu_get_state(b->vcpu, VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL, state);
    if (error)
        return vmi_dev_error_lib(error, "state of the vCPU");
    state->gpr.rflags = 2;
    return 0;
}

int vmi_boot_enter_real(struct vmi_boot *b, uint16_t cs, uint16_t ip)
{
    struct vmlib_state state;
    int error = get(b, &state);

    if (error)
        return error;
    state.control.cr0 = CR0_ET;
    state.control.cr3 = state.control.cr4 = state.control.efer = 0;
    state.segments.cs = segment(cs, (uint64_t)cs << 4, 0xffff, AR_CODE16);
    set_data(&state.segments, segment(0, 0, 0xffff, AR_DATA16));
    state.segments.ldtr = segment(0, 0, 0xffff, AR_LDT);
    state.segments.tr = segment(0, 0, 0xffff, AR_TSS32);
    state.segments.gdtr = (struct vmlib_table){0, 0xffff, {0}};
    state.segments.idtr = (struct vmlib_table){0, 0x3ff, {0}};
    state.gpr.rip = ip;
    state.gpr.rsp = 0x7000;
    state.gpr.rdx = 0x80; /* the BIOS passes the drive it has booted from in DL */
    return set(b, &state, 16);
}

/* Code at 10h, data at 18h and the same again at 8 and 20h would be wrong for some; see SEL_. */
static int place_gdt(struct vmi_boot *b, struct vmlib_segments *s, uint64_t code)
{
    uint8_t gdt[32] = {0};

    vmi_put64(gdt + SEL_CODE, code);
    vmi_put64(gdt + SEL_DATA, 0x00cf93000000ffffull);
    s->gdtr = (struct vmlib_table){VMI_BOOT_GDT, sizeof gdt - 1, {0}};
    s->idtr = (struct vmlib_table){0, 0, {0}};
    s->ldtr = segment(0, 0, 0xffff, AR_LDT | VMLIB_SEGMENT_UNUSABLE);
    s->tr = segment(0, 0, 0xffff, AR_TSS32);
    set_data(s, segment(SEL_DATA, 0, 0xffffffffu, AR_DATA32));
    return vmi_boot_place(b, VMI_BOOT_GDT, gdt, sizeof gdt, 0, "descriptor table");
}

static void set_regs(struct vmlib_state *state, const struct vmi_boot_regs *regs)
{
    state->gpr.rip = regs->rip;
    state->gpr.rax = regs->rax;
    state->gpr.rbx = regs->rbx;
    state->gpr.rsi = regs->rsi;
    state->gpr.rsp = regs->rsp;
}

int vmi_boot_enter_flat32(struct vmi_boot *b, const struct vmi_boot_regs *regs)
{
    struct vmlib_state state;
    int error = get(b, &state);

    if (!error)
        error = place_gdt(b, &state.segments, 0x00cf9b000000ffffull);
    if (error)
        return error;
    if (regs->rip > UINT32_MAX)
        return vmi_dev_error(VMLIB_E_RANGE, "entry %#llx is above 4 GiB",
                             (unsigned long long)regs->rip);
    state.segments.cs = segment(SEL_CODE, 0, 0xffffffffu, AR_CODE32);
    state.control.cr0 = CR0_PE | CR0_ET;
    state.control.cr3 = state.control.cr4 = state.control.efer = 0;
    set_regs(&state, regs);
    return set(b, &state, 32);
}

/* One PML4, one directory-pointer table, four directories of 2 MiB pages: the first 4 GiB. */
static int place_page_tables(struct vmi_boot *b)
{
    uint8_t page[4096];
    uint64_t n, d;
    int error;

    memset(page, 0, sizeof page);
    vmi_put64(page, (VMI_BOOT_PML4 + 0x1000) | 7);
    error = vmi_boot_place(b, VMI_BOOT_PML4, page, sizeof page, 0, "page tables");
    memset(page, 0, sizeof page);
    for (d = 0; d < 4; d++)
        vmi_put64(page + 8 * d, (VMI_BOOT_PML4 + 0x2000 + 0x1000 * d) | 7);
    if (!error)
        error = vmi_boot_place(b, VMI_BOOT_PML4 + 0x1000, page, sizeof page, 0, "page tables");
    for (d = 0; d < 4 && !error; d++) {
        for (n = 0; n < 512; n++)
            vmi_put64(page + 8 * n, (d << 30 | n << 21) | 0x83 | 4);
        error = vmi_boot_place(b, VMI_BOOT_PML4 + 0x2000 + 0x1000 * d, page, sizeof page, 0,
                               "page tables");
    }
    return error;
}

int vmi_boot_enter_long(struct vmi_boot *b, const struct vmi_boot_regs *regs)
{
    struct vmlib_state state;
    int error = get(b, &state);

    if (!error)
        error = place_gdt(b, &state.segments, 0x00af9b000000ffffull);
    if (!error)
        error = place_page_tables(b);
    if (error)
        return error;
    state.segments.cs = segment(SEL_CODE, 0, 0xffffffffu, AR_CODE64);
    state.control.cr0 = CR0_PE | CR0_ET | CR0_PG;
    state.control.cr3 = VMI_BOOT_PML4;
    state.control.cr4 = CR4_PAE;
    state.control.efer = EFER_LME | EFER_LMA;
    set_regs(&state, regs);
    return set(b, &state, 64);
}
