/* Control registers, EFER, MSRs and CPUID. */
#include "x86_sys_world.h"

static int setup(void **state)
{
    *state = s_new();
    return 0;
}
static int teardown(void **state)
{
    s_free(*state);
    return 0;
}

#define OK(call) assert_int_equal(call, X86_OK)
#define GP(call) gp(w, call)

static void gp(struct sworld *w, enum x86_result r)
{
    assert_int_equal(r, X86_EXC);
    assert_int_equal(w->cpu.exc.vector, X86_GP);
    assert_true(w->cpu.exc.has_error);
    assert_int_equal(w->cpu.exc.error, 0);
}

static void cr0(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    GP(x86_write_cr0(cpu, X86_CR0_PG));
    GP(x86_write_cr0(cpu, X86_CR0_PE | X86_CR0_NW));
    GP(x86_write_cr0(cpu, UINT64_C(1) << 32 | X86_CR0_PE));
    OK(x86_write_cr0(cpu, X86_CR0_PE | 0x1000)); /* reserved bits are ignored, ET stays */
    assert_int_equal(cpu->cr0, X86_CR0_PE | X86_CR0_ET);
    OK(x86_write_cr0(cpu, X86_CR0_PE | X86_CR0_CD | X86_CR0_NW | X86_CR0_WP | X86_CR0_TS));
}

static void enter_and_leave_long_mode(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    OK(x86_write_efer(cpu, X86_EFER_LME | X86_EFER_NXE | X86_EFER_SCE));
    GP(x86_write_cr0(cpu, X86_CR0_PE | X86_CR0_PG)); /* PAE is off */
    OK(x86_write_cr4(cpu, X86_CR4_PAE));
    cpu->tr.ar = A_SYS(3, 0);
    GP(x86_write_cr0(cpu, X86_CR0_PE | X86_CR0_PG)); /* 16-bit TSS */
    cpu->tr.ar = A_SYS(11, 0);
    OK(x86_write_cr0(cpu, X86_CR0_PE | X86_CR0_PG));
    assert_true(cpu->efer & X86_EFER_LMA);
    assert_true(cpu->mode & X86_MODE_LM);
    assert_false(cpu->mode & X86_MODE_64); /* compatibility mode until CS says otherwise */
    GP(x86_write_cr4(cpu, 0));             /* PAE must stay */
    GP(x86_write_efer(cpu, 0));            /* LME may not change under paging */
    OK(x86_write_efer(cpu, X86_EFER_LME)); /* LMA is not writable */
    assert_true(cpu->efer & X86_EFER_LMA);
    OK(x86_write_cr0(cpu, X86_CR0_PE));
    assert_false(cpu->efer & X86_EFER_LMA);
    s_long(w, 0);
    GP(x86_write_cr0(cpu, X86_CR0_PE)); /* not from 64-bit mode */
}

static void cr4_and_pcid(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    GP(x86_write_cr4(cpu, X86_CR4_VMXE));
    GP(x86_write_cr4(cpu, X86_CR4_LA57));
    GP(x86_write_cr4(cpu, X86_CR4_PCIDE)); /* not in long mode */
    cpu->feat[X86_FEAT_SMAP >> 6] &= ~(UINT64_C(1) << (X86_FEAT_SMAP & 63));
    GP(x86_write_cr4(cpu, X86_CR4_SMAP)); /* not offered */
    s_long(w, 0);
    cpu->cr3 |= 1;
    GP(x86_write_cr4(cpu, X86_CR4_PAE | X86_CR4_PCIDE)); /* CR3[11:0] not zero */
    cpu->cr3 &= ~UINT64_C(0xfff);
    OK(x86_write_cr4(cpu, X86_CR4_PAE | X86_CR4_PCIDE));
    OK(x86_write_cr3(cpu, UINT64_C(1) << 63 | S_PT | 5));
    assert_int_equal(cpu->cr3, S_PT | 5);
    GP(x86_write_cr0(cpu, X86_CR0_PE));
    GP(x86_write_cr3(cpu, UINT64_C(1) << 60));
}

static void pdptes(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    OK(x86_write_cr4(cpu, X86_CR4_PAE));
    cpu->cr3 = S_PT + 0x20;
    s_put(w, S_PT + 0x20, (S_PT + 0x1000) | 1, 8);
    s_put(w, S_PT + 0x28, 0x1e6, 8); /* not present: nothing reserved */
    OK(x86_write_cr0(cpu, X86_CR0_PE | X86_CR0_PG));
    assert_int_equal(cpu->pdpte[0], (S_PT + 0x1000) | 1);
    s_put(w, S_PT + 0x28, 3, 8); /* R/W is reserved */
    GP(x86_write_cr3(cpu, S_PT + 0x20));
    assert_int_equal(cpu->pdpte[1], 0x1e6);
}

static void xcr0_and_cr8(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    GP(x86_write_xcr0(cpu, 0));
    GP(x86_write_xcr0(cpu, 5));
    GP(x86_write_xcr0(cpu, 15));
    OK(x86_write_xcr0(cpu, 7));
    OK(x86_write_cr8(cpu, 15));
    GP(x86_write_cr8(cpu, 16));
}

static void msrs(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    static const uint32_t plain[] = {0x174,      0x175,      0x176,      0xc0000081,
                                     0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100,
                                     0xc0000101, 0xc0000102, 0xc0000103};
    for (unsigned i = 0; i < sizeof plain / sizeof *plain; i++) {
        OK(x86_wrmsr(cpu, plain[i], 0x1230 + i));
        OK(x86_rdmsr(cpu, plain[i]));
        assert_int_equal(cpu->tmp, 0x1230 + i);
    }
    GP(x86_wrmsr(cpu, 0xc0000082, UINT64_C(0x800000000000)));
    GP(x86_wrmsr(cpu, 0xc0000084, UINT64_C(1) << 32));
    GP(x86_rdmsr(cpu, 0x12345));
    GP(x86_wrmsr(cpu, 0x277, 2)); /* PAT type 2 */
    OK(x86_wrmsr(cpu, 0x277, UINT64_C(0x0007040600070406)));
    GP(x86_wrmsr(cpu, 0x2ff, 2));
    OK(x86_wrmsr(cpu, 0x2ff, 0xc06));
    GP(x86_wrmsr(cpu, 0x201, 0x100));
    OK(x86_wrmsr(cpu, 0x10, 500));
    OK(x86_rdmsr(cpu, 0x10));
    assert_int_equal(cpu->tmp, 500);
    OK(x86_rdmsr(cpu, 0x3b));
    uint64_t adjust = cpu->tmp;
    OK(x86_wrmsr(cpu, 0x3b, adjust + 7));
    OK(x86_rdmsr(cpu, 0x10));
    assert_int_equal(cpu->tmp, 507);
}

static void cpuid(void **state)
{
    struct sworld *w = *state;
    uint64_t host[4], feat[4];
    struct x86_cpuid_table t;
    uint32_t out[4];
    memset(host, 0xff, sizeof host);
    const struct x86_cpuid_config cfg = {
        .apic_id = 3, .ncpus = 4, .tsc_khz = 1000000, .phys_bits = 40, .host_feat = host};
    x86_cpuid_default(&cfg, &t);
    assert_true(t.count < X86_CPUID_MAX_LEAVES);
    x86_cpuid_features(&t, feat);
    memcpy(w->cpu.feat, feat, sizeof feat);
    static const unsigned yes[] = {X86_FEAT_BASE,   X86_FEAT_AVX2, X86_FEAT_SYSCALL, X86_FEAT_SMAP,
                                   X86_FEAT_XSAVEC, X86_FEAT_1G,   X86_FEAT_LAHF,    X86_FEAT_FPU};
    static const unsigned no[] = {X86_FEAT_VMX, X86_FEAT_MONITOR, X86_FEAT_SSE4A, X86_FEAT_CLZERO};
    for (unsigned i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_true(x86_has(&w->cpu, yes[i]));
    for (unsigned i = 0; i < sizeof no / sizeof *no; i++)
        assert_false(x86_has(&w->cpu, no[i]));
    /* never AVX-512, TSX, PKU, CET */
    x86_cpuid_lookup(&w->cpu, &t, 7, 0, out);
    assert_int_equal(out[1] & (1u << 16 | 1u << 4 | 1u << 11), 0);
    assert_int_equal(out[2] & (1u << 3 | 1u << 7), 0);
    x86_cpuid_lookup(&w->cpu, &t, 0xd, 0, out);
    assert_int_equal(out[0], 7);
    assert_int_equal(out[2], 832);
    assert_int_equal(out[1], 576); /* AVX not enabled in XCR0 */
    x86_cpuid_lookup(&w->cpu, &t, 1, 0, out);
    assert_int_equal(out[2] >> 27 & 1, 0);
    w->cpu.cr4 |= X86_CR4_OSXSAVE;
    x86_cpuid_lookup(&w->cpu, &t, 1, 0, out);
    assert_int_equal(out[2] >> 27 & 1, 1);
    assert_int_equal(out[1] >> 24, 3);
    x86_cpuid_lookup(&w->cpu, &t, 0x80000008, 0, out);
    assert_int_equal(out[0], 48 << 8 | 40);
    x86_cpuid_lookup(&w->cpu, &t, 0x40000000, 0, out);
    assert_memory_equal(&out[1], "libvmlib\0\0\0", 12);
    x86_cpuid_lookup(&w->cpu, &t, 0xb, 1, out);
    assert_int_equal(out[1], 4);
    assert_int_equal(out[0], 2);
    x86_cpuid_lookup(&w->cpu, &t, 0xb, 7, out);
    assert_int_equal(out[2], 7);
}

static void reset_and_sipi(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    OK(x86_wrmsr(cpu, 0xc0000082, 0x1234));
    cpu->xcr0 = 7;
    x86_reset(cpu, true);
    assert_int_equal(cpu->rip, 0xfff0);
    assert_int_equal(cpu->seg[X86_CS].base, 0xffff0000);
    assert_int_equal(cpu->xcr0, 7);
    assert_int_equal(cpu->msr.lstar, 0x1234);
    x86_sipi(cpu, 0x9a);
    assert_int_equal(cpu->seg[X86_CS].sel, 0x9a00);
    assert_int_equal(cpu->seg[X86_CS].base + cpu->rip, 0x9a000);
    x86_reset(cpu, false);
    assert_int_equal(cpu->cr0, 0x60000010);
    assert_int_equal(cpu->r[X86_RDX], X86_CPUID_SIGNATURE);
    assert_int_equal(cpu->msr.lstar, 0);
    assert_int_equal(cpu->xcr0, 1);
}

static void breakpoints(void **state)
{
    struct sworld *w = *state;
    struct x86_cpu *cpu = &w->cpu;
    cpu->dr[1] = 0x1003;
    cpu->dr7 = X86_DR7_FIXED | 1 << 2 | 0xdu << 20; /* DR1: write, 4 bytes: 1000..1003 */
    x86_mode_refresh(cpu);
    assert_true(cpu->data_bp && !cpu->code_bp);
    x86_bp_data(cpu, 0xffe, 2, true);
    x86_bp_data(cpu, 0x1004, 8, true);
    x86_bp_data(cpu, 0x1000, 4, false);
    assert_int_equal(cpu->pending_dr6, 0);
    x86_bp_data(cpu, 0xffd, 4, true);
    assert_int_equal(cpu->pending_dr6, 2);
    cpu->host_dr[0] = 0x2000;
    cpu->host_dr7 = 1 | 0xfu << 16;
    x86_bp_data(cpu, 0x2001, 1, false);
    assert_int_equal(cpu->host_dr6, 1);
    cpu->dr[2] = 0x3000;
    cpu->dr7 |= 1 << 4;
    x86_mode_refresh(cpu);
    assert_true(cpu->code_bp);
    assert_int_equal(x86_bp_exec(cpu, 0x3000), 4);
    assert_int_equal(x86_bp_exec(cpu, 0x3001), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(cr0),          T(enter_and_leave_long_mode),
        T(cr4_and_pcid), T(pdptes),
        T(xcr0_and_cr8), T(msrs),
        T(cpuid),        T(reset_and_sipi),
        T(breakpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
