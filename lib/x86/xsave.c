/*
 * FXSAVE, FXRSTOR, the XSAVE family, LDMXCSR, STMXCSR, and state images for the API.
 *
 * The area is built in, or read into, a buffer as a whole and moved with one checked access: a
 * fault leaves everything unchanged. Layouts: SDM Vol.1 10.5.1 (FXSAVE), 13.4 (XSAVE).
 */
#include "x86/simd.h"
#include "x86/sys.h"

#define LEGACY_SIZE   512u
#define HEADER_SIZE   64u
#define AVX_OFFSET    (LEGACY_SIZE + HEADER_SIZE) /* in both formats: no other extended component */
#define AVX_SIZE      256u
#define AREA_SIZE     (AVX_OFFSET + AVX_SIZE)
#define XCOMP_COMPACT (UINT64_C(1) << 63)
#define ALL_STATE     (X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX)

static void put16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, 2);
}
static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
}
static void put64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, 8);
}
static uint16_t get16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}
static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static uint64_t get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

/* --- components --- */
/* wide: with REX.W, 64-bit instruction and data pointers instead of selector and offset */
static void save_x87(const struct x86_cpu *cpu, uint8_t *a, bool wide)
{
    const struct x86_fpu *f = &cpu->fpu;
    put16(a, f->cw);
    put16(a + 2, (uint16_t)((f->sw & ~0x3800u) | (unsigned)f->top << 11));
    a[4] = (uint8_t)f->tagw;
    a[5] = 0;
    put16(a + 6, f->fop);
    if (wide) {
        put64(a + 8, f->fip);
        put64(a + 16, f->fdp);
    } else {
        put32(a + 8, (uint32_t)f->fip);
        put32(a + 12, f->fcs);
        put32(a + 16, (uint32_t)f->fdp);
        put32(a + 20, f->fds);
    }
    for (unsigned i = 0; i < 8; i++) { /* ST0..ST7, not R0..R7 */
        const struct x86_f80 *st = &f->st[(f->top + i) & 7];
        put64(a + 32 + 16 * i, st->mant);
        put64(a + 40 + 16 * i, st->se);
    }
}

static void load_x87(struct x86_cpu *cpu, const uint8_t *a, bool wide)
{
    struct x86_fpu *f = &cpu->fpu;
    uint16_t sw = get16(a + 2);
    f->cw = (get16(a) & 0x1f3f) | 0x40;
    f->top = sw >> 11 & 7;
    /* ES and B follow from the flags and masks, whatever the image says */
    f->sw = sw & ~0xb880u;
    if (sw & ~f->cw & 0x3f)
        f->sw |= 0x8080;
    f->tagw = a[4];
    f->fop = get16(a + 6) & 0x7ff;
    if (wide) {
        f->fip = get64(a + 8);
        f->fdp = get64(a + 16);
        f->fcs = f->fds = 0;
    } else {
        f->fip = get32(a + 8);
        f->fcs = get16(a + 12);
        f->fdp = get32(a + 16);
        f->fds = get16(a + 20);
    }
    for (unsigned i = 0; i < 8; i++) {
        struct x86_f80 *st = &f->st[(f->top + i) & 7];
        st->mant = get64(a + 32 + 16 * i);
        st->se = get16(a + 40 + 16 * i);
    }
}

void x86_fpu_reset(struct x86_cpu *cpu)
{
    struct x86_fpu *f = &cpu->fpu;
    f->cw = 0x37f;
    f->sw = f->tagw = f->fop = f->fcs = f->fds = 0;
    f->fip = f->fdp = 0;
    f->top = 0;
}

static void init_x87(struct x86_cpu *cpu)
{
    x86_fpu_reset(cpu);
    memset(cpu->fpu.st, 0, sizeof(cpu->fpu.st));
}

/* Outside 64-bit mode there are eight vector registers; the others are not touched. */
static unsigned nvec(const struct x86_cpu *cpu)
{
    return x86_in_long64(cpu) ? 16 : 8;
}

static void save_sse(const struct x86_cpu *cpu, uint8_t *a, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        memcpy(a + 160 + 16 * i, cpu->v[i].b, 16);
}
static void load_sse(struct x86_cpu *cpu, const uint8_t *a, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        memcpy(cpu->v[i].b, a + 160 + 16 * i, 16);
}
static void save_avx(const struct x86_cpu *cpu, uint8_t *a, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        memcpy(a + 16 * i, cpu->v[i].b + 16, 16);
}
static void load_avx(struct x86_cpu *cpu, const uint8_t *a, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        memcpy(cpu->v[i].b + 16, a + 16 * i, 16);
}
static void save_mxcsr(const struct x86_cpu *cpu, uint8_t *a)
{
    put32(a + 24, cpu->mxcsr);
    put32(a + 28, X86_MXCSR_VALID);
}

/* Components that are not in their initial state (XINUSE, SDM Vol.1 13.6). */
static uint64_t in_use(const struct x86_cpu *cpu)
{
    const struct x86_fpu *f = &cpu->fpu;
    uint64_t use = 0, low = 0, high = 0;
    for (unsigned i = 0; i < nvec(cpu); i++) {
        low |= cpu->v[i].q[0] | cpu->v[i].q[1];
        high |= cpu->v[i].q[2] | cpu->v[i].q[3];
    }
    if (f->cw != 0x37f || f->sw || f->top || f->tagw || f->fop || f->fcs || f->fds || f->fip ||
        f->fdp)
        use |= X86_XCR0_X87;
    for (unsigned i = 0; i < 8; i++) {
        if (f->st[i].mant || f->st[i].se)
            use |= X86_XCR0_X87;
    }
    if (low)
        use |= X86_XCR0_SSE;
    if (high)
        use |= X86_XCR0_AVX;
    return use;
}

/* --- images for the API: 64-bit format, all sixteen registers --- */
void x86_fxsave_image(const struct x86_cpu *cpu, uint8_t img[512])
{
    memset(img, 0, LEGACY_SIZE);
    save_x87(cpu, img, true);
    save_mxcsr(cpu, img);
    save_sse(cpu, img, 16);
}

void x86_fxrstor_image(struct x86_cpu *cpu, const uint8_t img[512])
{
    load_x87(cpu, img, true);
    load_sse(cpu, img, 16);
    cpu->mxcsr = get32(img + 24) & X86_MXCSR_VALID;
}

/* --- instructions --- */
static uint64_t offset_of(const struct x86_cpu *cpu, const struct x86_uop *u)
{
    return x86_ea_offset(cpu, u);
}

/* Linear address of the area; false: leave. Misaligned areas are #GP(0). */
static bool area_lin(struct x86_cpu *cpu, struct x86_uop *u, unsigned size, unsigned align,
                     bool write, uint64_t *lin)
{
    if (!x86_seg_lin(cpu, u->seg, offset_of(cpu, u), size, write, lin))
        return false;
    if (*lin & (align - 1)) {
        x86_fault_err(cpu, X86_GP, 0);
        return false;
    }
    return true;
}

static bool wide(const struct x86_uop *u)
{
    return X86_VIMM_W(u);
}

static struct x86_uop *exec_fxsave(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint8_t area[LEGACY_SIZE];
    uint64_t lin;
    x86_fp_sync(cpu);
    if (cpu->cr0 & (X86_CR0_EM | X86_CR0_TS))
        return x86_raise(cpu, u, X86_NM);
    if (!area_lin(cpu, u, LEGACY_SIZE, 16, true, &lin))
        return x86_leave(cpu, u);
    memset(area, 0, sizeof(area));
    save_x87(cpu, area, wide(u));
    /* Without OSFXSR Intel CPUs may or may not save the vector registers; we do (SDM Vol.2A
     * FXSAVE). */
    save_mxcsr(cpu, area);
    save_sse(cpu, area, nvec(cpu));
    /* Bytes 464:511 are for software and not written. */
    if (!x86_write_bytes(cpu, u, lin, area, x86_in_long64(cpu) ? 416 : 288))
        return x86_leave(cpu, u);
    return x86_leave_next(cpu, u);
}

static struct x86_uop *exec_fxrstor(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint8_t area[LEGACY_SIZE];
    uint64_t lin;
    x86_fp_sync(cpu);
    if (cpu->cr0 & (X86_CR0_EM | X86_CR0_TS))
        return x86_raise(cpu, u, X86_NM);
    if (!area_lin(cpu, u, LEGACY_SIZE, 16, false, &lin) ||
        !x86_read_bytes(cpu, u, lin, area, LEGACY_SIZE))
        return x86_leave(cpu, u);
    if (get32(area + 24) & ~X86_MXCSR_VALID)
        return x86_raise_err(cpu, u, X86_GP, 0);
    load_x87(cpu, area, wide(u));
    cpu->mxcsr = get32(area + 24);
    load_sse(cpu, area, nvec(cpu));
    return x86_leave_next(cpu, u);
}

/* CR4.OSXSAVE and CR0.TS, SDM Vol.1 13.7; NULL: go on. */
static struct x86_uop *xsave_refuse(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!(cpu->cr4 & X86_CR4_OSXSAVE))
        return x86_raise(cpu, u, X86_UD);
    if (cpu->cr0 & X86_CR0_TS)
        return x86_raise(cpu, u, X86_NM);
    return NULL;
}

static bool xsave_off(const struct x86_cpu *cpu)
{
    return !(cpu->cr4 & X86_CR4_OSXSAVE) || cpu->cr0 & X86_CR0_TS;
}

static uint64_t requested(const struct x86_cpu *cpu)
{
    return ((uint32_t)cpu->r[X86_RAX] | cpu->r[X86_RDX] << 32) & cpu->xcr0;
}

/*
 * One range of the area per component, so that XSAVE writes no byte that it must not (XSAVEOPT and
 * software rely on that). x87: 0..23 and 32..159, MXCSR 24..31, SSE 160..415, AVX 576..831.
 */
static bool write_components(struct x86_cpu *cpu, struct x86_uop *u, uint64_t lin,
                             const uint8_t *area, uint64_t set, bool mxcsr)
{
    unsigned n = nvec(cpu);
    if (set & X86_XCR0_X87 && !(x86_write_bytes(cpu, u, lin, area, 24) &&
                                x86_write_bytes(cpu, u, lin + 32, area + 32, 128)))
        return false;
    if (mxcsr && !x86_write_bytes(cpu, u, lin + 24, area + 24, 8))
        return false;
    if (set & X86_XCR0_SSE && !x86_write_bytes(cpu, u, lin + 160, area + 160, 16 * n))
        return false;
    return !(set & X86_XCR0_AVX) ||
           x86_write_bytes(cpu, u, lin + AVX_OFFSET, area + AVX_OFFSET, 16 * n);
}

static void build_area(const struct x86_cpu *cpu, uint8_t *area, bool w)
{
    memset(area, 0, AREA_SIZE);
    save_x87(cpu, area, w);
    save_mxcsr(cpu, area);
    save_sse(cpu, area, nvec(cpu));
    save_avx(cpu, area + AVX_OFFSET, nvec(cpu));
}

static unsigned area_size(uint64_t set)
{
    return set & X86_XCR0_AVX ? AREA_SIZE : LEGACY_SIZE + HEADER_SIZE;
}

/* XSAVE: all requested components; XSAVEOPT: those in use (SDM Vol.1 13.7, 13.9). */
static struct x86_uop *save_standard(struct x86_cpu *cpu, struct x86_uop *u, bool optimised)
{
    x86_fp_sync(cpu);
    uint8_t area[AREA_SIZE], bv[8];
    uint64_t lin, set = requested(cpu), use = in_use(cpu);
    if (xsave_off(cpu))
        return xsave_refuse(cpu, u);
    if (!area_lin(cpu, u, area_size(set), 64, true, &lin) ||
        !x86_probe_write(cpu, u, lin, area_size(set)) ||
        !x86_read_bytes(cpu, u, lin + LEGACY_SIZE, bv, 8))
        return x86_leave(cpu, u);
    build_area(cpu, area, wide(u));
    put64(bv, (get64(bv) & ~set) | (use & set));
    bool mxcsr = set & (X86_XCR0_SSE | X86_XCR0_AVX);
    if (!write_components(cpu, u, lin, area, optimised ? set & use : set, mxcsr) ||
        !x86_write_bytes(cpu, u, lin + LEGACY_SIZE, bv, 8))
        return x86_leave(cpu, u);
    return x86_leave_next(cpu, u);
}

static struct x86_uop *exec_xsave(struct x86_cpu *cpu, struct x86_uop *u)
{
    return save_standard(cpu, u, false);
}
static struct x86_uop *exec_xsaveopt(struct x86_cpu *cpu, struct x86_uop *u)
{
    return save_standard(cpu, u, true);
}

/* XSAVEC, XSAVES: compacted format (SDM Vol.1 13.10, 13.11). There are no supervisor components, so
 * that both write the same; XSAVES is privileged. */
static struct x86_uop *save_compact(struct x86_cpu *cpu, struct x86_uop *u, bool supervisor)
{
    x86_fp_sync(cpu);
    uint8_t area[AREA_SIZE], header[16];
    uint64_t lin, set = requested(cpu), use = in_use(cpu) & set;
    if (xsave_off(cpu))
        return xsave_refuse(cpu, u);
    if (supervisor && cpu->cpl)
        return x86_raise_err(cpu, u, X86_GP, 0);
    /* MXCSR counts as SSE state here. */
    if (set & X86_XCR0_SSE && cpu->mxcsr != X86_MXCSR_INITIAL)
        use |= X86_XCR0_SSE;
    if (!area_lin(cpu, u, area_size(set), 64, true, &lin) ||
        !x86_probe_write(cpu, u, lin, area_size(set)))
        return x86_leave(cpu, u);
    build_area(cpu, area, wide(u));
    put64(header, use);
    put64(header + 8, set | XCOMP_COMPACT);
    if (!write_components(cpu, u, lin, area, use, use & X86_XCR0_SSE) ||
        !x86_write_bytes(cpu, u, lin + LEGACY_SIZE, header, 16))
        return x86_leave(cpu, u);
    return x86_leave_next(cpu, u);
}

static struct x86_uop *exec_xsavec(struct x86_cpu *cpu, struct x86_uop *u)
{
    return save_compact(cpu, u, false);
}
static struct x86_uop *exec_xsaves(struct x86_cpu *cpu, struct x86_uop *u)
{
    return save_compact(cpu, u, true);
}

/* SDM Vol.1 13.8: what makes XRSTOR raise #GP */
static bool header_ok(const struct x86_cpu *cpu, const uint8_t *h, bool supervisor)
{
    uint64_t bv = get64(h), comp = get64(h + 8), rest = 0;
    for (unsigned i = 16; i < HEADER_SIZE; i++)
        rest |= h[i];
    if (comp & XCOMP_COMPACT)
        return !rest && !((comp & ~XCOMP_COMPACT) & ~cpu->xcr0) && !(bv & ~comp);
    if (supervisor)
        return false;
    /* the standard form looks at bytes 8..23 only */
    return !(bv & ~cpu->xcr0) && !comp && !get64(h + 16);
}

static void restore(struct x86_cpu *cpu, const uint8_t *area, uint64_t set, uint64_t bv, bool w)
{
    unsigned n = nvec(cpu);
    if (set & X86_XCR0_X87) {
        if (bv & X86_XCR0_X87)
            load_x87(cpu, area, w);
        else
            init_x87(cpu);
    }
    for (unsigned i = 0; i < n; i++) {
        if (set & ~bv & X86_XCR0_SSE)
            cpu->v[i].q[0] = cpu->v[i].q[1] = 0;
        if (set & ~bv & X86_XCR0_AVX)
            x86_vec_clear_upper(&cpu->v[i]);
    }
    if (set & bv & X86_XCR0_SSE)
        load_sse(cpu, area, n);
    if (set & bv & X86_XCR0_AVX)
        load_avx(cpu, area + AVX_OFFSET, n);
}

static struct x86_uop *xrstor(struct x86_cpu *cpu, struct x86_uop *u, bool supervisor)
{
    x86_fp_sync(cpu);
    uint8_t area[AREA_SIZE];
    uint64_t lin, set = requested(cpu);
    if (xsave_off(cpu))
        return xsave_refuse(cpu, u);
    if (supervisor && cpu->cpl)
        return x86_raise_err(cpu, u, X86_GP, 0);
    if (!area_lin(cpu, u, LEGACY_SIZE + HEADER_SIZE, 64, false, &lin) ||
        !x86_read_bytes(cpu, u, lin, area, LEGACY_SIZE + HEADER_SIZE))
        return x86_leave(cpu, u);
    const uint8_t *h = area + LEGACY_SIZE;
    uint64_t bv = get64(h), comp = get64(h + 8);
    if (!header_ok(cpu, h, supervisor))
        return x86_raise_err(cpu, u, X86_GP, 0);
    bool compact = comp & XCOMP_COMPACT;
    if (set & bv & X86_XCR0_AVX) {
        if (!area_lin(cpu, u, AREA_SIZE, 64, false, &lin) ||
            !x86_read_bytes(cpu, u, lin + AVX_OFFSET, area + AVX_OFFSET, 16 * nvec(cpu)))
            return x86_leave(cpu, u);
    }
    /* MXCSR: standard form with SSE or AVX requested, from memory whatever the header says;
     * compacted form with SSE, initial when the component is (SDM Vol.1 13.8.1, 13.8.2). */
    uint32_t mxcsr = cpu->mxcsr;
    if (!compact && set & (X86_XCR0_SSE | X86_XCR0_AVX))
        mxcsr = get32(area + 24);
    else if (compact && set & X86_XCR0_SSE)
        mxcsr = bv & X86_XCR0_SSE ? get32(area + 24) : X86_MXCSR_INITIAL;
    if (mxcsr & ~X86_MXCSR_VALID)
        return x86_raise_err(cpu, u, X86_GP, 0);
    cpu->mxcsr = mxcsr;
    restore(cpu, area, set, bv, wide(u));
    return x86_leave_next(cpu, u);
}

static struct x86_uop *exec_xrstor(struct x86_cpu *cpu, struct x86_uop *u)
{
    return xrstor(cpu, u, false);
}
static struct x86_uop *exec_xrstors(struct x86_cpu *cpu, struct x86_uop *u)
{
    return xrstor(cpu, u, true);
}

static bool mxcsr_off(const struct x86_cpu *cpu, const struct x86_uop *u)
{
    return x86_rows[u->row].map == X86_V0F ? x86_avx_off(cpu) : x86_sse_off(cpu);
}

static struct x86_uop *exec_ldmxcsr(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t lin;
    uint32_t v;
    x86_fp_sync(cpu);
    if (mxcsr_off(cpu, u))
        return x86_simd_refuse(cpu, u);
    if (!x86_seg_lin(cpu, u->seg, offset_of(cpu, u), 4, false, &lin) || !x86_ld32(cpu, u, lin, &v))
        return x86_leave(cpu, u);
    if (v & ~X86_MXCSR_VALID)
        return x86_raise_err(cpu, u, X86_GP, 0);
    cpu->mxcsr = v;
    return x86_leave_next(cpu, u);
}

static struct x86_uop *exec_stmxcsr(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t lin;
    x86_fp_sync(cpu);
    if (mxcsr_off(cpu, u))
        return x86_simd_refuse(cpu, u);
    if (!x86_seg_lin(cpu, u->seg, offset_of(cpu, u), 4, true, &lin) ||
        !x86_st32(cpu, u, lin, cpu->mxcsr))
        return x86_leave(cpu, u);
    X86_NEXT(cpu, u);
}

#define TABLE(name, fn)                \
    extern x86_handler *const name[1]; \
    x86_handler *const name[1] = {fn};
TABLE(x86_t_fxsave, exec_fxsave)
TABLE(x86_t_fxrstor, exec_fxrstor)
TABLE(x86_t_xsave, exec_xsave)
TABLE(x86_t_xsaveopt, exec_xsaveopt)
TABLE(x86_t_xsavec, exec_xsavec)
TABLE(x86_t_xsaves, exec_xsaves)
TABLE(x86_t_xrstor, exec_xrstor)
TABLE(x86_t_xrstors, exec_xrstors)
TABLE(x86_t_ldmxcsr, exec_ldmxcsr)
TABLE(x86_t_stmxcsr, exec_stmxcsr)
TABLE(x86_t_vldmxcsr, exec_ldmxcsr)
TABLE(x86_t_vstmxcsr, exec_stmxcsr)
