/* Vector instructions where state and faults matter: availability, alignment, page splits, devices,
 * unmasked exceptions, gathers that restart, FXSAVE and XSAVE. */
#include <fenv.h>

#include "x86_simd_world.h"

#include "x86/handlers.h"

#define ADDPD_X0_X1     0x66, 0x0f, 0x58, 0xc1
#define MOVAPS_X0_RSI   0x0f, 0x28, 0x06
#define MOVUPS_X0_RSI   0x0f, 0x10, 0x06
#define MOVUPS_RSI_X0   0x0f, 0x11, 0x06
#define VADDPS_Y0_Y1_Y2 0xc5, 0xf4, 0x58, 0xc2
#define VMOVDQU_Y0_RSI  0xc5, 0xfe, 0x6f, 0x06
#define VMOVDQU_RSI_Y0  0xc5, 0xfe, 0x7f, 0x06
#define PADDB_M0_M1     0x0f, 0xfc, 0xc1

static struct simd_world *w;

static int setup(void **state)
{
    (void)state;
    w = s_new();
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    s_free(w);
    return 0;
}
#define NEEDS(feature)                                       \
    do {                                                     \
        if (!x86_has(&w->cpu, X86_FEAT_##feature)) {         \
            print_message("the host has no " #feature "\n"); \
            skip();                                          \
        }                                                    \
    } while (0)

static void set_q(unsigned reg, uint64_t q0, uint64_t q1)
{
    w->cpu.v[reg].q[0] = q0;
    w->cpu.v[reg].q[1] = q1;
}

/* SDM Vol.3A tables 12-1, 13-1; Vol.2A table 2-21 */
static void availability(void **state)
{
    (void)state;
    NEEDS(AVX);
    struct x86_cpu *cpu = &w->cpu;
    cpu->cr0 |= X86_CR0_TS;
    S_RUN(w, ADDPD_X0_X1);
    s_fault(w, X86_NM);
    S_RUN(w, VADDPS_Y0_Y1_Y2);
    s_fault(w, X86_NM);
    S_RUN(w, PADDB_M0_M1);
    s_fault(w, X86_NM);
    cpu->cr0 |= X86_CR0_EM;
    S_RUN(w, ADDPD_X0_X1);
    s_fault(w, X86_UD);
    S_RUN(w, PADDB_M0_M1);
    s_fault(w, X86_UD);
    cpu->cr0 &= ~(uint64_t)X86_CR0_TS;
    S_RUN(w, VADDPS_Y0_Y1_Y2); /* CR0.EM does not concern AVX */
    s_ok(w);
    cpu->cr0 &= ~(uint64_t)X86_CR0_EM;
    cpu->cr4 &= ~(uint64_t)X86_CR4_OSFXSR;
    S_RUN(w, ADDPD_X0_X1);
    s_fault(w, X86_UD);
    S_RUN(w, VADDPS_Y0_Y1_Y2);
    s_ok(w);
    cpu->xcr0 = X86_XCR0_X87 | X86_XCR0_SSE;
    S_RUN(w, VADDPS_Y0_Y1_Y2);
    s_fault(w, X86_UD);
    cpu->xcr0 |= X86_XCR0_AVX;
    cpu->cr4 &= ~(uint64_t)X86_CR4_OSXSAVE;
    S_RUN(w, VADDPS_Y0_Y1_Y2);
    s_fault(w, X86_UD);
    cpu->fpu.sw = 0x8081;
    S_RUN(w, PADDB_M0_M1);
    s_fault(w, X86_MF);
}

static void encodings(void **state)
{
    (void)state;
    NEEDS(AVX2);
    S_RUN(w, 0xc5, 0xf5, 0x58, 0xc2); /* VADDPD ymm0, ymm1, ymm2 */
    s_ok(w);
    S_RUN(w, 0x66, 0xc5, 0xf4, 0x58, 0xc2);
    s_fault(w, X86_UD);
    S_RUN(w, 0xf0, 0xc5, 0xf4, 0x58, 0xc2);
    s_fault(w, X86_UD);
    S_RUN(w, 0x48, 0xc5, 0xf4, 0x58, 0xc2);
    s_fault(w, X86_UD);
    S_RUN(w, 0xc5, 0xf6, 0x6f, 0xc1); /* VMOVDQU with vvvv in use */
    s_fault(w, X86_UD);
    S_RUN(w, 0xc5, 0xfd, 0x6e, 0xc0); /* VMOVD with L = 1 */
    s_fault(w, X86_UD);
    S_RUN(w, 0xf0, 0x0f, 0x58, 0xc1); /* LOCK ADDPS */
    s_fault(w, X86_UD);
    S_RUN(w, 0xc4, 0xe2, 0x71, 0x92, 0x06); /* VGATHERDPS without SIB */
    s_fault(w, X86_UD);
    S_RUN(w, 0xc4, 0xe2, 0x71, 0x92, 0x04, 0x0e); /* mask and index are the same register */
    s_fault(w, X86_UD);
}

static void alignment(void **state)
{
    (void)state;
    NEEDS(AVX);
    struct x86_cpu *cpu = &w->cpu;
    cpu->r[X86_RSI] = S_DATA + 8;
    memset(w->mem + S_DATA, 0x5a, 64);
    S_RUN(w, MOVAPS_X0_RSI);
    s_fault(w, X86_GP);
    assert_true(cpu->exc.has_error && cpu->exc.error == 0);
    S_RUN(w, 0x66, 0x0f, 0xfc, 0x06); /* PADDB xmm0, [rsi] */
    s_fault(w, X86_GP);
    S_RUN(w, 0xc5, 0xf8, 0x28, 0x06); /* VMOVAPS xmm0, [rsi] */
    s_fault(w, X86_GP);
    S_RUN(w, 0xc5, 0xf9, 0xfc, 0x06); /* VPADDB xmm0, xmm0, [rsi] */
    s_ok(w);
    S_RUN(w, MOVUPS_X0_RSI);
    s_ok(w);
    S_RUN(w, 0xf2, 0x0f, 0x58, 0x46, 0x01); /* ADDSD xmm0, [rsi+1] */
    s_ok(w);
    cpu->r[X86_RSI] = S_DATA + 16;
    S_RUN(w, MOVAPS_X0_RSI);
    s_ok(w);
    S_RUN(w, 0xc5, 0xfc, 0x28, 0x06); /* VMOVAPS ymm0, [rsi]: 32 */
    s_fault(w, X86_GP);
}

static void page_splits(void **state)
{
    (void)state;
    NEEDS(AVX);
    struct x86_cpu *cpu = &w->cpu;
    for (unsigned i = 0; i < 64; i++)
        w->mem[S_DATA + 0x1000 - 32 + i] = (uint8_t)(i + 1);
    for (unsigned at = 1; at < 32; at++) {
        cpu->r[X86_RSI] = S_DATA + 0x1000 - at;
        S_RUN(w, VMOVDQU_Y0_RSI);
        s_ok(w);
        assert_memory_equal(cpu->v[0].b, w->mem + S_DATA + 0x1000 - at, 32);
        S_RUN(w, MOVUPS_X0_RSI);
        s_ok(w);
        assert_memory_equal(cpu->v[0].b, w->mem + S_DATA + 0x1000 - at, 32); /* upper half kept */
        memset(cpu->v[0].b, (int)at, 32);
        S_RUN(w, VMOVDQU_RSI_Y0);
        s_ok(w);
        assert_memory_equal(cpu->v[0].b, w->mem + S_DATA + 0x1000 - at, 32);
        for (unsigned i = 0; i < 64; i++)
            w->mem[S_DATA + 0x1000 - 32 + i] = (uint8_t)(i + 1);
    }
}

static void devices(void **state)
{
    (void)state;
    NEEDS(AVX);
    struct x86_cpu *cpu = &w->cpu;
    cpu->r[X86_RSI] = S_DEVICE + 0x100;
    for (unsigned i = 0; i < 32; i++)
        w->mem[S_DEVICE + 0x100 + i] = (uint8_t)(i * 3);
    S_RUN(w, VMOVDQU_Y0_RSI);
    s_ok(w);
    assert_int_equal(w->device_reads, 4);
    assert_memory_equal(cpu->v[0].b, w->mem + S_DEVICE + 0x100, 32);
    cpu->r[X86_RSI] += 64;
    S_RUN(w, VMOVDQU_RSI_Y0);
    s_ok(w);
    assert_int_equal(w->device_writes, 4);
    assert_memory_equal(cpu->v[0].b, w->mem + S_DEVICE + 0x140, 32);
    w->device_waits = true;
    union x86_vec before = cpu->v[0];
    S_RUN(w, 0x66, 0x0f, 0xfc, 0x06); /* PADDB */
    assert_int_equal(cpu->leave, X86_LEAVE_EXIT);
    assert_memory_equal(&before, &cpu->v[0], 32);
}

/* --- SIMD floating-point exceptions --- */
#define ONE    UINT64_C(0x3ff0000000000000)
#define THREE  UINT64_C(0x4008000000000000)
#define SNAN   UINT64_C(0x7ff0000000000001)
#define TINY   UINT64_C(0x0010000000000000)
#define HUGE_F UINT64_C(0x7fefffffffffffff)
#define IE     1u
#define DE     2u
#define ZE     4u
#define OE     8u
#define UE     16u
#define PE     32u

static void unmask(unsigned flags)
{
    w->cpu.mxcsr = X86_MXCSR_INITIAL & ~(flags << 7);
}

static void unmasked_exceptions(void **state)
{
    (void)state;
    NEEDS(SSE2);
    struct x86_cpu *cpu = &w->cpu;
    set_q(0, ONE, SNAN);
    set_q(1, 0, ONE);
    unmask(ZE);
    S_RUN(w, 0x66, 0x0f, 0x5e, 0xc1); /* DIVPD: 1/0 and an SNaN */
    s_fault(w, X86_XM);
    assert_int_equal(cpu->mxcsr & 63, IE | ZE);
    assert_true(cpu->v[0].q[0] == ONE && cpu->v[0].q[1] == SNAN);
    cpu->cr4 &= ~(uint64_t)X86_CR4_OSXMMEXCPT;
    S_RUN(w, 0x66, 0x0f, 0x5e, 0xc1);
    s_fault(w, X86_UD);
    cpu->cr4 |= X86_CR4_OSXMMEXCPT;
    unmask(OE); /* of all raised exceptions none is unmasked: completes */
    S_RUN(w, 0x66, 0x0f, 0x5e, 0xc1);
    s_ok(w);
    assert_int_equal(cpu->mxcsr & 63, IE | ZE);
    assert_true(cpu->v[0].q[0] == UINT64_C(0x7ff0000000000000));
    /* found before the operation: nothing about its result is reported */
    set_q(0, ONE, SNAN);
    set_q(1, THREE, ONE);
    unmask(IE);
    S_RUN(w, 0x66, 0x0f, 0x5e, 0xc1);
    s_fault(w, X86_XM);
    assert_int_equal(cpu->mxcsr & 63, IE);
    unmask(PE);
    set_q(0, ONE, 0);
    S_RUN(w, 0xf2, 0x0f, 0x5e, 0xc1); /* DIVSD 1/3 */
    s_fault(w, X86_XM);
    assert_int_equal(cpu->mxcsr & 63, PE);
    assert_true(cpu->v[0].q[0] == ONE);
    unmask(OE);
    set_q(0, HUGE_F, 0);
    set_q(1, HUGE_F, 0);
    S_RUN(w, 0xf2, 0x0f, 0x58, 0xc1); /* ADDSD */
    s_fault(w, X86_XM);
    assert_true(cpu->mxcsr & OE);
}

/* Tiny and exact: an underflow only when unmasked, SDM Vol.1 4.9.1.5 */
static void exact_underflow(void **state)
{
    (void)state;
    NEEDS(SSE2);
    struct x86_cpu *cpu = &w->cpu;
    set_q(0, TINY, 0);
    set_q(1, UINT64_C(0x3fe0000000000000), 0);
    unmask(0);
    S_RUN(w, 0xf2, 0x0f, 0x59, 0xc1); /* MULSD by 0.5 */
    s_ok(w);
    assert_int_equal(cpu->mxcsr & 63, 0);
    set_q(0, TINY, 0);
    unmask(UE);
    S_RUN(w, 0xf2, 0x0f, 0x59, 0xc1);
    s_fault(w, X86_XM);
    assert_int_equal(cpu->mxcsr & 63, UE);
    assert_true(cpu->v[0].q[0] == TINY);
}

static void comparison_faults(void **state)
{
    (void)state;
    NEEDS(SSE2);
    struct x86_cpu *cpu = &w->cpu;
    set_q(0, SNAN, 0);
    unmask(IE);
    cpu->cc = X86_CC_CF;
    S_RUN(w, 0x66, 0x0f, 0x2f, 0xc1); /* COMISD */
    s_fault(w, X86_XM);
    assert_int_equal(cpu->cc, X86_CC_CF);
    cpu->r[X86_RAX] = 77;
    S_RUN(w, 0xf2, 0x48, 0x0f, 0x2d, 0xc0); /* CVTSD2SI rax, xmm0 */
    s_fault(w, X86_XM);
    assert_int_equal(cpu->r[X86_RAX], 77);
}

static void mxcsr(void **state)
{
    (void)state;
    NEEDS(SSE);
    struct x86_cpu *cpu = &w->cpu;
    uint32_t v = 0x10000;
    cpu->r[X86_RSI] = S_DATA;
    memcpy(w->mem + S_DATA, &v, 4);
    S_RUN(w, 0x0f, 0xae, 0x16); /* LDMXCSR */
    s_fault(w, X86_GP);
    v = 0xffff;
    memcpy(w->mem + S_DATA, &v, 4);
    S_RUN(w, 0x0f, 0xae, 0x16);
    s_ok(w);
    assert_int_equal(cpu->mxcsr, 0xffff);
    cpu->mxcsr = 0x1fa5;
    S_RUN(w, 0x0f, 0xae, 0x1e); /* STMXCSR */
    s_ok(w);
    memcpy(&v, w->mem + S_DATA, 4);
    assert_int_equal(v, 0x1fa5);
}

/* Between instructions of a block the flags stay in the host's register. */
static void flags_accumulate(void **state)
{
    (void)state;
    NEEDS(SSE2);
    struct x86_cpu *cpu = &w->cpu;
    static const uint8_t divsd[] = {0xf2, 0x0f, 0x5e, 0xc1}, movaps[] = {0x0f, 0x28, 0xd0};
    static const uint8_t divpd[] = {0x66, 0x0f, 0x5e, 0xcb};
    static const struct {
        const uint8_t *code;
        unsigned size;
    } block[] = {{divsd, 4}, {movaps, 3}, {divpd, 4}};
    struct x86_uop u[4];
    for (unsigned i = 0; i < 3; i++) {
        struct x86_insn in;
        assert_int_equal(x86_decode(block[i].code, block[i].size, cpu->mode, cpu->feat, &in),
                         X86_DECODE_OK);
        x86_lower(cpu, &in, 0, &u[i]);
    }
    u[3] = (struct x86_uop){.fn = x86_op_end};
    cpu->mxcsr = X86_MXCSR_INITIAL | 0x6000; /* toward zero */
    set_q(0, ONE, 0);
    set_q(1, THREE, ONE);
    set_q(3, 0, ONE);
    feclearexcept(FE_ALL_EXCEPT);
    x86_run_uops(cpu, u);
    x86_fp_sync(cpu);
    assert_int_equal(cpu->mxcsr, X86_MXCSR_INITIAL | 0x6000 | PE | ZE);
    assert_true(cpu->v[2].q[0] == UINT64_C(0x3fd5555555555555));
    assert_int_equal(fetestexcept(FE_ALL_EXCEPT), 0);
    assert_int_equal(fegetround(), FE_TONEAREST);
}

/* --- gather --- */
static void gather_restarts(void **state)
{
    (void)state;
    NEEDS(AVX2);
    struct x86_cpu *cpu = &w->cpu;
    uint32_t data[3] = {11, 22, 33};
    memcpy(w->mem + S_DATA, data, sizeof(data));
    for (unsigned i = 0; i < 4; i++) {
        cpu->v[0].d[i] = 100 + i;
        cpu->v[1].d[i] = 0x80000000u;
        cpu->v[2].d[i] = i;
    }
    cpu->v[1].d[1] = 0; /* not selected */
    cpu->r[X86_RSI] = S_DATA;
    cpu->v[2].d[3] = (S_DEVICE - S_DATA) / 4;
    w->device_waits = true;
    S_RUN(w, 0xc4, 0xe2, 0x71, 0x92, 0x04, 0x96); /* VGATHERDPS xmm0, [rsi+xmm2*4], xmm1 */
    assert_int_equal(cpu->leave, X86_LEAVE_EXIT);
    assert_true(cpu->v[0].d[0] == 100 && cpu->v[1].d[0] == 0x80000000u); /* as if never begun */
    /* a fault keeps the elements before it */
    w->device_waits = false;
    cpu->r[X86_RSI] = UINT64_C(0x0000800000000000) - 4;
    cpu->v[2].d[2] = 4; /* beyond the canonical range */
    cpu->v[1].d[0] = 0; /* not selected any more */
    S_RUN(w, 0xc4, 0xe2, 0x71, 0x92, 0x04, 0x96);
    s_fault(w, X86_GP);
    assert_true(cpu->v[0].d[2] == 102 && cpu->v[1].d[2] == 0x80000000u);
    cpu->r[X86_RSI] = S_DATA;
    cpu->v[2].d[2] = 2;
    cpu->v[2].d[3] = 1;
    cpu->v[1].d[0] = 0x80000000u;
    S_RUN(w, 0xc4, 0xe2, 0x71, 0x92, 0x04, 0x96);
    s_ok(w);
    assert_true(cpu->v[0].d[0] == 11 && cpu->v[0].d[1] == 101 && cpu->v[0].d[2] == 33 &&
                cpu->v[0].d[3] == 22);
    assert_true(!cpu->v[1].q[0] && !cpu->v[1].q[1]);
}

static void masked_moves(void **state)
{
    (void)state;
    NEEDS(AVX);
    struct x86_cpu *cpu = &w->cpu;
    /* the elements that are not selected lie beyond the canonical range */
    cpu->r[X86_RSI] = S_DATA;
    set_q(1, UINT64_C(0x0000000080000000), UINT64_C(0x8000000000000000));
    set_q(0, UINT64_C(0x2222222211111111), UINT64_C(0x4444444433333333));
    S_RUN(w, 0xc4, 0xe2, 0x71, 0x2e, 0x06); /* VMASKMOVPS [rsi], xmm1, xmm0 */
    s_ok(w);
    uint32_t m[4];
    memcpy(m, w->mem + S_DATA, 16);
    assert_true(m[0] == 0x11111111 && !m[1] && !m[2] && m[3] == 0x44444444);
    /* a fault on a later element keeps the earlier ones unwritten */
    cpu->r[X86_RSI] = UINT64_C(0x0000800000000000) - 8;
    S_RUN(w, 0xc4, 0xe2, 0x71, 0x2e, 0x06);
    s_fault(w, X86_GP);
    set_q(1, 0, 0);
    S_RUN(w, 0xc4, 0xe2, 0x71, 0x2e, 0x06);
    s_ok(w);
    S_RUN(w, 0xc4, 0xe2, 0x71, 0x2c, 0x06); /* load with an empty mask */
    s_ok(w);
    assert_true(!cpu->v[0].q[0] && !cpu->v[0].q[1]);
}

/* --- state images --- */
static void scramble(void)
{
    struct x86_cpu *cpu = &w->cpu;
    for (unsigned i = 0; i < 16; i++) {
        for (unsigned j = 0; j < 4; j++)
            cpu->v[i].q[j] = (i + 1) * UINT64_C(0x0123456789abcdef) + j;
    }
    for (unsigned i = 0; i < 8; i++) {
        cpu->fpu.st[i].mant = (i + 1) * UINT64_C(0x8877665544332211);
        cpu->fpu.st[i].se = (uint16_t)(0x3fff + i);
    }
    cpu->fpu.top = 5;
    cpu->fpu.tagw = 0xe3;
    cpu->fpu.cw = 0x27f;
    cpu->fpu.sw = 0x4700;
    cpu->fpu.fop = 0x123;
    cpu->fpu.fip = UINT64_C(0x1122334455);
    cpu->fpu.fdp = UINT64_C(0x6677889900);
    cpu->mxcsr = 0x1fa1;
}

static void init_fpu(void)
{
    x86_fpu_reset(&w->cpu);
    memset(w->cpu.fpu.st, 0, sizeof(w->cpu.fpu.st));
}

#define CPU_STATE_EQUAL(a, b, n)                         \
    (!memcmp((a)->v, (b)->v, (n) * sizeof((a)->v[0])) && \
     !memcmp(&(a)->fpu, &(b)->fpu, sizeof((a)->fpu)) && (a)->mxcsr == (b)->mxcsr)

static void fxsave(void **state)
{
    (void)state;
    NEEDS(SSE);
    struct x86_cpu *cpu = &w->cpu;
    static struct x86_cpu saved;
    scramble();
    saved = *cpu;
    memset(w->mem + S_DATA, 0xcc, 1024);
    cpu->r[X86_RSI] = S_DATA;
    S_RUN(w, 0x48, 0x0f, 0xae, 0x06); /* FXSAVE64 */
    s_ok(w);
    const uint8_t *a = w->mem + S_DATA;
    assert_int_equal(a[2] | a[3] << 8, 0x4700 | 5 << 11);
    assert_int_equal(a[4], 0xe3);
    assert_memory_equal(a + 32, &saved.fpu.st[5].mant, 8); /* ST0 */
    assert_memory_equal(a + 160 + 15 * 16, saved.v[15].b, 16);
    assert_int_equal(a[464], 0xcc);
    uint8_t img[512];
    x86_fxsave_image(cpu, img);
    assert_memory_equal(img, a, 416);
    x86_fpu_reset(cpu);
    memset(cpu->fpu.st, 0, sizeof(cpu->fpu.st));
    for (unsigned i = 0; i < 16; i++)
        set_q(i, 0, 0);
    cpu->mxcsr = X86_MXCSR_INITIAL;
    S_RUN(w, 0x48, 0x0f, 0xae, 0x0e); /* FXRSTOR64 */
    s_ok(w);
    assert_true(CPU_STATE_EQUAL(cpu, &saved, 16));
    w->mem[S_DATA + 26] = 1; /* a reserved bit of MXCSR */
    S_RUN(w, 0x48, 0x0f, 0xae, 0x0e);
    s_fault(w, X86_GP);
    cpu->r[X86_RSI] = S_DATA + 8;
    S_RUN(w, 0x0f, 0xae, 0x06);
    s_fault(w, X86_GP);
}

#define XSAVE64    0x48, 0x0f, 0xae, 0x26
#define XRSTOR64   0x48, 0x0f, 0xae, 0x2e
#define XSAVEOPT64 0x48, 0x0f, 0xae, 0x36
#define XSAVEC64   0x48, 0x0f, 0xc7, 0x26

static uint64_t mem64(unsigned at)
{
    uint64_t v;
    memcpy(&v, w->mem + at, 8);
    return v;
}

static void xsave(void **state)
{
    (void)state;
    NEEDS(AVX);
    struct x86_cpu *cpu = &w->cpu;
    static struct x86_cpu saved;
    scramble();
    saved = *cpu;
    cpu->r[X86_RSI] = S_DATA + 0x1000 - 320; /* across a page */
    cpu->r[X86_RAX] = 7;
    cpu->r[X86_RDX] = 0;
    unsigned at = (unsigned)cpu->r[X86_RSI];
    S_RUN(w, XSAVE64);
    s_ok(w);
    assert_int_equal(mem64(at + 512), 7);
    assert_memory_equal(w->mem + at + 576 + 16 * 15, saved.v[15].b + 16, 16);
    cpu->r[X86_RAX] = 6;
    memset(cpu->v, 0, sizeof(cpu->v));
    S_RUN(
        w,
        XSAVEOPT64); /* SSE and AVX in initial state: bits cleared, x87's kept, data not written */
    s_ok(w);
    assert_int_equal(mem64(at + 512), 1);
    assert_memory_equal(w->mem + at + 160, saved.v[0].b, 16);
    w->mem[at + 512] = 7;
    cpu->r[X86_RAX] = 7;
    x86_fpu_reset(cpu);
    S_RUN(w, XRSTOR64);
    s_ok(w);
    assert_true(CPU_STATE_EQUAL(cpu, &saved, 16));
    w->mem[at + 512] = 1; /* initial state for the others */
    S_RUN(w, XRSTOR64);
    s_ok(w);
    assert_true(!cpu->v[3].q[0] && !cpu->v[3].q[3] && cpu->mxcsr == 0x1fa1);
    /* XSAVEC: only what is in use, compacted format */
    S_RUN(w, XSAVEC64);
    s_ok(w);
    assert_int_equal(mem64(at + 512), 3); /* MXCSR is not initial */
    assert_true(mem64(at + 520) == ((UINT64_C(1) << 63) | 7));
    S_RUN(w, XRSTOR64);
    s_ok(w);
}

static void xrstor_faults(void **state)
{
    (void)state;
    NEEDS(AVX);
    struct x86_cpu *cpu = &w->cpu;
    cpu->r[X86_RSI] = S_DATA;
    cpu->r[X86_RAX] = 7;
    cpu->r[X86_RDX] = 0;
    memset(w->mem + S_DATA, 0, 1024);
    S_RUN(w, XRSTOR64);
    s_ok(w);
    static const struct {
        unsigned at;
        uint8_t value;
    } bad[] = {{512, 8}, {519, 0x80}, {520, 1}, {527, 0x40}, {528, 1}, {535, 1}, {26, 1}};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        w->mem[S_DATA + bad[i].at] = bad[i].value;
        S_RUN(w, XRSTOR64);
        s_fault(w, X86_GP);
        w->mem[S_DATA + bad[i].at] = 0;
    }
    w->mem[S_DATA + 536] = 1; /* the standard form does not look there */
    S_RUN(w, XRSTOR64);
    s_ok(w);
    w->mem[S_DATA + 527] = 0x80;
    S_RUN(w, XRSTOR64); /* the compacted form does */
    s_fault(w, X86_GP);
    w->mem[S_DATA + 536] = 0;
    w->mem[S_DATA + 512] = 1; /* component in the area that XCOMP_BV does not have */
    S_RUN(w, XRSTOR64);
    s_fault(w, X86_GP);
    cpu->r[X86_RSI] = S_DATA + 32;
    S_RUN(w, XSAVE64);
    s_fault(w, X86_GP);
    cpu->cr0 |= X86_CR0_TS;
    S_RUN(w, XSAVE64);
    s_fault(w, X86_NM);
    cpu->cr4 &= ~(uint64_t)X86_CR4_OSXSAVE;
    S_RUN(w, XSAVE64);
    s_fault(w, X86_UD);
}

/* Outside 64-bit mode: eight registers, selectors beside the pointers, segment limits */
static void state_32(void **state)
{
    (void)state;
    NEEDS(AVX);
    struct x86_cpu *cpu = &w->cpu;
    static struct x86_cpu saved;
    cpu->mode = X86_MODE_32 | X86_MODE_SS32;
    cpu->lin_mask = UINT32_MAX;
    for (unsigned i = 0; i < X86_NSEG; i++)
        cpu->seg[i] = (struct x86_seg){.limit = UINT32_MAX, .rd_fast = true, .wr_fast = true};
    x86_tlb_flush(cpu);
    scramble();
    cpu->fpu.fcs = 0x1234;
    cpu->fpu.fds = 0x5678;
    cpu->fpu.fip = 0x22334455;
    cpu->fpu.fdp = 0x77889900;
    saved = *cpu;
    cpu->r[X86_RSI] = S_DATA;
    memset(w->mem + S_DATA, 0xcc, 1024);
    S_RUN(w, 0x0f, 0xae, 0x06); /* FXSAVE */
    s_ok(w);
    const uint8_t *a = w->mem + S_DATA;
    assert_int_equal(a[12] | a[13] << 8, 0x1234);
    assert_memory_equal(a + 160 + 7 * 16, saved.v[7].b, 16);
    assert_int_equal(a[160 + 8 * 16], 0xcc); /* XMM8 is not there */
    memset(cpu->v, 0, sizeof(cpu->v));
    init_fpu();
    S_RUN(w, 0x0f, 0xae, 0x0e); /* FXRSTOR */
    s_ok(w);
    assert_true(!memcmp(&cpu->fpu, &saved.fpu, sizeof(saved.fpu)));
    assert_memory_equal(cpu->v[7].b, saved.v[7].b, 16);
    assert_true(!cpu->v[8].q[0]);

    memcpy(cpu->v, saved.v, sizeof(saved.v));
    cpu->r[X86_RAX] = 7;
    cpu->r[X86_RDX] = 0;
    memset(w->mem + S_DATA, 0, 1024);
    S_RUN(w, 0x0f, 0xae, 0x26); /* XSAVE */
    s_ok(w);
    assert_memory_equal(a + 576 + 7 * 16, saved.v[7].b + 16, 16);
    assert_int_equal(a[576 + 8 * 16], 0);
    memset(cpu->v, 0xee, sizeof(cpu->v));
    S_RUN(w, 0x0f, 0xae, 0x2e); /* XRSTOR */
    s_ok(w);
    assert_memory_equal(cpu->v, saved.v, 8 * sizeof(saved.v[0]));
    assert_int_equal(cpu->v[8].b[0], 0xee);
    S_RUN(w, 0xc5, 0xfc, 0x77); /* VZEROALL */
    s_ok(w);
    assert_true(!cpu->v[7].q[0] && cpu->v[8].b[0] == 0xee);
    cpu->seg[X86_DS].limit = S_DATA + 511;
    S_RUN(w, 0x0f, 0xae, 0x06);
    s_ok(w);
    cpu->seg[X86_DS].limit = S_DATA + 510;
    S_RUN(w, 0x0f, 0xae, 0x06);
    s_fault(w, X86_GP);
}

/* MMX: TOP, tags and exponents */
static void mmx_state(void **state)
{
    (void)state;
    NEEDS(MMX);
    struct x86_cpu *cpu = &w->cpu;
    cpu->fpu.top = 3;
    cpu->fpu.st[0].mant = UINT64_C(0x0102030405060708);
    cpu->fpu.st[1].mant = UINT64_C(0x1010101010101010);
    S_RUN(w, PADDB_M0_M1);
    s_ok(w);
    assert_true(cpu->fpu.st[0].mant == UINT64_C(0x1112131415161718));
    assert_int_equal(cpu->fpu.st[0].se, 0xffff);
    assert_int_equal(cpu->fpu.top, 0);
    assert_int_equal(cpu->fpu.tagw, 0xff);
    S_RUN(w, 0x0f, 0x77); /* EMMS */
    s_ok(w);
    assert_int_equal(cpu->fpu.tagw, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(availability), T(encodings),           T(alignment),       T(page_splits),
        T(devices),      T(unmasked_exceptions), T(exact_underflow), T(comparison_faults),
        T(mxcsr),        T(gather_restarts),     T(masked_moves),    T(fxsave),
        T(xsave),        T(xrstor_faults),       T(mmx_state),       T(flags_accumulate),
        T(state_32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
