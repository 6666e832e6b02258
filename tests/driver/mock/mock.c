/*
 * See mock.h.
 */
#include "mock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS 0x8000u
#define TLB    64u

static u64 vmcs[FIELDS];
static bool written[FIELDS];
static enum mock_model model;
static u64 allocated, pinned;
static unsigned fail_in;
static u32 pins[MOCK_USER_PAGES];
static struct {
    u64 gpa, pfn, gen;
    bool used;
} tlb[TLB];
static u64 user_memory[512];

u64 mock_feature_control;

void mock_insist(bool ok, const char *text, const char *file, int line)
{
    if (ok)
        return;
    fprintf(stderr, "%s:%d: %s\n", file, line, text);
    abort();
}

/* --- VMCS --- */

u64 vmx_read(u32 field)
{
    MOCK_ASSERT(field < FIELDS);
    return vmcs[field];
}

void vmx_write(u32 field, u64 value)
{
    MOCK_ASSERT(field < FIELDS);
    MOCK_ASSERT((field >> 10 & 3) != 1); /* read-only data (SDM Vol.3C 24.11.2) */
    vmcs[field] = (field >> 13 & 3) == 0 ? (u16)value : (field >> 13 & 3) == 2 ? (u32)value : value;
    written[field] = true;
}

void mock_set(u32 field, u64 value)
{
    vmcs[field] = value;
}

u64 mock_get(u32 field)
{
    return vmcs[field];
}

void mock_new_vmcs(void)
{
    memset(vmcs, 0, sizeof(vmcs));
    memset(written, 0, sizeof(written));
}

/* --- capabilities: the values of an emulated Haswell, and less --- */

u64 plat_rdmsr(u32 msr)
{
    bool old = model == MOCK_OLD, bare = model == MOCK_NO_EPT;

    switch (msr) {
    case IA32_FEATURE_CONTROL:
        return mock_feature_control;
    case IA32_VMX_BASIC:
        return 1ull << 55 | 0x2b;
    case IA32_VMX_TRUE_PIN:
        return (u64)(old ? 0x3f : 0x7f) << 32 | 0x16;
    case IA32_VMX_TRUE_PROC:
        return 0xf7f9fffeull << 32 | 0x04006172;
    case IA32_VMX_PROC2:
        return (bare ? 0x01ull : old ? 0x4full : 0x1ffffull) << 32;
    case IA32_VMX_TRUE_EXIT:
        return 0x7fffffull << 32 | 0x36dfb;
    case IA32_VMX_TRUE_ENTRY:
        return 0xffffull << 32 | 0x11fb;
    case IA32_VMX_EPT_VPID:
        return old ? 0x06114041 : 0xf0106334141;
    case IA32_VMX_CR0_FIXED0:
        return 0x80000021;
    case IA32_VMX_CR0_FIXED0 + 1:
        return 0xffffffff;
    case IA32_VMX_CR0_FIXED0 + 2:
        return 0x2000;
    case IA32_VMX_CR0_FIXED0 + 3:
        return 0x1767ff;
    default:
        return 0;
    }
}

void mock_caps(struct vtx_caps *caps)
{
    const struct vtx_cpu_facts facts = {40, true, true, model == MOCK_FULL, true, false, 7};

    vtx_caps_read(caps, &facts);
}

/* --- memory --- */

void mock_reset(enum mock_model m)
{
    model = m;
    mock_feature_control = 5;
    fail_in = 0;
    memset(tlb, 0, sizeof(tlb));
    MOCK_ASSERT(allocated == 0 && pinned == 0);
    mock_new_vmcs();
}

void mock_fail_allocation(unsigned n)
{
    fail_in = n;
}

u64 mock_pages(void)
{
    return allocated;
}

u64 mock_pinned(void)
{
    return pinned;
}

void *plat_page_alloc(void)
{
    void *page;

    if (fail_in && !--fail_in)
        return NULL;
    page = aligned_alloc(4096, 4096);
    MOCK_ASSERT(page != NULL);
    memset(page, 0, 4096);
    allocated++;
    return page;
}

void plat_page_free(void *page)
{
    if (!page)
        return;
    allocated--;
    free(page);
}

/* Physically the user's memory is contiguous and starts at a multiple of 2 MiB. */
int plat_pin(struct vtx_vm *vm, u64 user, unsigned n, bool write, u64 *pfns)
{
    u64 first = (user - MOCK_USER) >> 12;
    unsigned i;

    (void)vm;
    MOCK_ASSERT(n > 0 && n <= VTX_BATCH);
    if (user < MOCK_USER || first >= MOCK_USER_PAGES || n > MOCK_USER_PAGES - first)
        return -EFAULT;
    if (write && first + n > MOCK_READ_ONLY)
        return -EFAULT;
    for (i = 0; i < n; i++) {
        pins[first + i]++;
        pfns[i] = (MOCK_USER >> 12) + first + i;
    }
    pinned += n;
    return 0;
}

static bool maps(const struct vtx_vm *vm, u64 gpa, u64 pfn)
{
    unsigned shift;
    const u64 *leaf = vtx_ept_leaf(&vm->ept, gpa, &shift);

    return leaf && ((*leaf & EPT_FRAME) >> 12 | (gpa >> 12 & ((1u << (shift - 12)) - 1))) == pfn;
}

void plat_unpin(struct vtx_vm *vm, const u64 *pfns, unsigned n, bool dirty)
{
    unsigned i, t;

    for (i = 0; i < n; i++) {
        u64 page = pfns[i] - (MOCK_USER >> 12);

        MOCK_ASSERT(page < MOCK_USER_PAGES && pins[page] > 0);
        MOCK_ASSERT(!dirty || page < MOCK_READ_ONLY);
        pins[page]--;
        /* No vCPU may still reach it where it is mapped no more. */
        for (t = 0; t < TLB; t++)
            MOCK_ASSERT(!tlb[t].used || tlb[t].pfn != pfns[i] || tlb[t].gen != vm->flush_gen ||
                        maps(vm, tlb[t].gpa, pfns[i]));
    }
    pinned -= n;
}

void plat_flush(struct vtx_vm *vm)
{
    (void)vm;
}

int plat_pause(void)
{
    return 0;
}

static int user_range(u64 user, u32 bytes)
{
    return user < MOCK_USER || user - MOCK_USER > sizeof(user_memory) ||
                   bytes > sizeof(user_memory) - (user - MOCK_USER)
               ? -EFAULT
               : 0;
}

int plat_user_read(void *to, u64 user, u32 bytes)
{
    MOCK_ASSERT(bytes <= 4096);
    if (user_range(user, bytes))
        return -EFAULT;
    memcpy(to, (u8 *)user_memory + (user - MOCK_USER), bytes);
    return 0;
}

int plat_user_write(u64 user, const void *from, u32 bytes)
{
    if (user_range(user, bytes))
        return -EFAULT;
    memcpy((u8 *)user_memory + (user - MOCK_USER), from, bytes);
    return 0;
}

/* --- entry --- */

static bool msr_is_switched(u32 bit)
{
    static const u32 bits[] = {0x10,          0x174,         0x175,        0x176,
                               0x277,         8192 + 0x100,  8192 + 0x101, 8192 + 0x102,
                               16384 + 0x174, 16384 + 0x175, 16384 + 0x176};
    size_t i;

    for (i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
        if (bits[i] == bit)
            return true;
    return bit >= 24576 + 0x100 && bit <= 24576 + 0x102;
}

static void judge_controls(const struct vtx_vcpu *v)
{
    const u32 always[3] = {PIN_EXTERNAL_INTERRUPT | PIN_NMI,
                           PROC_HLT | PROC_MWAIT | PROC_RDPMC | PROC_MOV_DR | PROC_IO |
                               PROC_MSR_BITMAP | PROC_MONITOR | PROC_SECONDARY,
                           PROC2_EPT};
    const u32 fields[3] = {VMCS_PIN, VMCS_PROC, VMCS_PROC2};
    const u32 msrs[3] = {IA32_VMX_TRUE_PIN, IA32_VMX_TRUE_PROC, IA32_VMX_PROC2};
    const u64 *bitmap = plat_virt(vmcs[VMCS_MSR_BITMAP]);
    u32 i, exceptions = (u32)vmcs[VMCS_EXCEPTIONS];

    for (i = 0; i < 3; i++) {
        u64 allowed = plat_rdmsr(msrs[i]), word = vmcs[fields[i]];

        MOCK_ASSERT((word & always[i]) == always[i]);
        MOCK_ASSERT(!(~word & (u32)allowed) && !(word & ~(allowed >> 32)));
    }
    MOCK_ASSERT(!(vmcs[VMCS_PROC] & 0x02000000)); /* I/O bitmaps */
    MOCK_ASSERT(!(vmcs[VMCS_PROC2] &
                  0x166711)); /* APIC virtualization, VMFUNC, shadow VMCS, PML, #VE, XSAVES */
    MOCK_ASSERT(exceptions & 1u << VECTOR_DB && exceptions & 1u << VECTOR_AC &&
                exceptions & 1u << VECTOR_MC);
    MOCK_ASSERT(exceptions & 1u << VECTOR_NM || v->fpu_loaded);
    for (i = 0; i < 32768; i++) {
        if (!(i & 63) && bitmap[i >> 6] == ~0ull)
            i += 63;
        else
            MOCK_ASSERT(bitmap[i >> 6] >> (i & 63) & 1 || msr_is_switched(i));
    }
}

static void judge_state(const struct vtx_vcpu *v)
{
    u64 cr0 = vmcs[VMCS_GUEST_CR0], cr4 = vmcs[VMCS_GUEST_CR4], efer = vmcs[VMCS_GUEST_EFER];

    MOCK_ASSERT(vmcs[VMCS_LINK] == ~0ull && vmcs[VMCS_GUEST_ACTIVITY] == 0);
    MOCK_ASSERT(vmcs[VMCS_EXIT_LOADS] == 0 && vmcs[VMCS_EXIT_STORES] == 0);
    MOCK_ASSERT(vmcs[VMCS_ENTRY_LOADS] == 0);
    MOCK_ASSERT(vmcs[VMCS_EXIT] == v->caps->exit_controls);
    MOCK_ASSERT((vmcs[VMCS_ENTRY] & ~(u64)ENTRY_GUEST_64) == v->caps->entry_controls);
    MOCK_ASSERT(!(vmcs[VMCS_ENTRY] & ENTRY_GUEST_64) == !(efer & GUEST_EFER_LMA));
    MOCK_ASSERT(!(efer & ~0xd01ull) && v->efer == efer);
    MOCK_ASSERT(!(cr0 & (GUEST_CR0_CD | GUEST_CR0_NW)) && cr0 & GUEST_CR0_NE);
    MOCK_ASSERT(cr0 & GUEST_CR0_TS || v->fpu_loaded);
    MOCK_ASSERT((cr4 & 0x2040) == 0x2040 && !(cr4 & ~0x3737ffull));
    MOCK_ASSERT((vmcs[VMCS_CR0_MASK] & v->caps->cr0_owned) == v->caps->cr0_owned);
    MOCK_ASSERT((vmcs[VMCS_CR4_MASK] & v->caps->cr4_owned) == v->caps->cr4_owned);
    MOCK_ASSERT(!(vmcs[VMCS_GUEST_DEBUGCTL] & ~2ull));
    MOCK_ASSERT(vmcs[VMCS_EPTP] == vtx_ept_pointer(&v->vm->ept));
    MOCK_ASSERT((v->xcr0 & ~v->caps->xcr0) == 0);
}

/* Every leaf maps a page that is pinned, with rights that the pin allows. */
static void judge_leaf(u64 leaf, unsigned shift)
{
    u64 first = ((leaf & EPT_FRAME) >> 12) - (MOCK_USER >> 12), i, n = 1ull << (shift - 12);

    MOCK_ASSERT(first < MOCK_USER_PAGES && n <= MOCK_USER_PAGES - first);
    for (i = 0; i < n; i++) {
        MOCK_ASSERT(pins[first + i] > 0);
        MOCK_ASSERT(!(leaf & EPT_WRITE) || first + i < MOCK_READ_ONLY);
    }
    MOCK_ASSERT((leaf & EPT_RIGHTS) != EPT_WRITE && (leaf & EPT_RIGHTS) != 6);
    MOCK_ASSERT(!(leaf & ~(EPT_FRAME | EPT_RIGHTS | EPT_WB_IPAT | EPT_LARGE | EPT_ACCESSED |
                           EPT_DIRTY | EPT_MAPPED | EPT_PIN_W)));
}

static u32 touch(struct vtx_vcpu *v, u64 flush_gen, u64 gpa, u32 access, u32 reason)
{
    static unsigned turn;
    unsigned shift;
    u64 *leaf = vtx_ept_leaf(&v->vm->ept, gpa, &shift);

    if (leaf)
        judge_leaf(*leaf, shift);
    if (!leaf || !(*leaf & access & EPT_RIGHTS)) {
        mock_set(VMCS_GPA, gpa);
        return 48;
    }
    if (v->vm->ept.ad)
        *leaf |= EPT_ACCESSED | (access & EPT_WRITE ? EPT_DIRTY : 0);
    turn = (turn + 1) % TLB;
    tlb[turn].used = true;
    tlb[turn].pfn = (*leaf & EPT_FRAME) >> 12 | (gpa >> 12 & ((1u << (shift - 12)) - 1));
    tlb[turn].gpa = gpa & ~4095ull;
    tlb[turn].gen = flush_gen;
    return reason;
}

u32 mock_enter(struct vtx_vcpu *v, u64 *flush_gen, u64 gpa, u32 access, u32 reason)
{
    judge_controls(v);
    judge_state(v);
    *flush_gen = v->vm->flush_gen; /* run.c: INVEPT when it differs */
    if (!(vmcs[VMCS_GUEST_RFLAGS] & 2)) {
        mock_set(VMCS_REASON, 0x80000021);
        return 0x80000021;
    }
    reason = touch(v, *flush_gen, gpa, access, reason);
    mock_set(VMCS_VECTORING_EVENT, reason == 48 ? vmcs[VMCS_ENTRY_EVENT] : 0);
    mock_set(VMCS_ENTRY_EVENT, vmcs[VMCS_ENTRY_EVENT] & ~(u64)EVENT_VALID);
    mock_set(VMCS_REASON, reason);
    return reason;
}

int mock_vcpu_open(struct mock_vcpu *v, struct vtx_vm *vm, const struct vtx_caps *caps)
{
    memset(v, 0, sizeof(*v));
    v->core.vm = vm;
    v->core.caps = caps;
    v->core.run = v->run = plat_page_alloc();
    v->core.msr_bitmap = plat_page_alloc();
    v->core.apic_page = plat_page_alloc();
    v->core.vpid = caps->features & VMLIB_VTX_F_VPID ? 1 : 0;
    if (!v->run || !v->core.msr_bitmap || !v->core.apic_page) {
        mock_vcpu_close(v);
        return -ENOMEM;
    }
    mock_new_vmcs();
    vtx_vcpu_reset(&v->core);
    return 0;
}

void mock_vcpu_close(struct mock_vcpu *v)
{
    plat_page_free(v->run);
    plat_page_free(v->core.msr_bitmap);
    plat_page_free(v->core.apic_page);
}
