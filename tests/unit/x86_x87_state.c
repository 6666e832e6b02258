/* x87 beside arithmetic: availability, deferred exceptions, environment images of all formats,
 * faulting operands, last-instruction pointers. */
#include "x86_mmu_world.h"

#include "x86/flags.h"
#include "x86/x87.h"

#define RM(id, map, op, pp, c, name, o1, o2, o3, o4, attr, feat, shape, tab) \
    extern x86_handler *const tab[1];
#define RN(id, map, op, pp, c, name, o1, o2, o3, o4, attr, feat, shape, tab) \
    extern x86_handler *const tab[1];
#include "x86/rows_x87.def"
#undef RM
#undef RN

#define OPERAND 0x20100u

static struct x86_uop *stop(struct x86_cpu *cpu, struct x86_uop *u)
{
    (void)cpu, (void)u;
    return NULL;
}

static struct world *start(void)
{
    struct world *w = w_new();
    w->cpu.mode = X86_MODE_64 | X86_MODE_FLAT | X86_MODE_LM;
    w->cpu.cr0 = X86_CR0_PE | X86_CR0_NE | X86_CR0_MP;
    w->cpu.lin_mask = UINT64_MAX;
    w->cpu.seg[X86_CS].sel = 0x33;
    w->cpu.seg[X86_DS].sel = 0x2b;
    w->cpu.r[X86_RIPBASE] = 0x401000;
    return w;
}

/* Run one handler with a memory operand; size is log2 of the operand size. True: completed. */
static bool run_at(struct world *w, x86_handler *const *fn, uint32_t at, unsigned size,
                   unsigned fop)
{
    struct x86_uop u[2] = {{.fn = fn[0],
                            .imm = fop,
                            .disp = (int32_t)at,
                            .ip = 2 << 12 | 0x10,
                            .rem = 1,
                            .base = X86_NOREG,
                            .index = X86_NOREG,
                            .seg = X86_DS,
                            .aux = (uint8_t)(size | X86_AUX_A64 | X86_AUX_MEM)},
                           {.fn = stop}};
    w_clear(w);
    w->cpu.leave = X86_LEAVE_HALT;
    x86_run_uops(&w->cpu, u);
    return w->cpu.leave == X86_LEAVE_HALT;
}
static bool run_mem(struct world *w, x86_handler *const *fn)
{
    return run_at(w, fn, OPERAND, 2, 0);
}
static bool run_reg(struct world *w, x86_handler *const *fn, unsigned sti)
{
    struct x86_uop u[2] = {
        {.fn = fn[0], .ip = 2 << 12, .rem = 1, .rm = (uint8_t)sti, .aux = 2 | X86_AUX_A64},
        {.fn = stop}};
    w_clear(w);
    w->cpu.leave = X86_LEAVE_HALT;
    x86_run_uops(&w->cpu, u);
    return w->cpu.leave == X86_LEAVE_HALT;
}

static void not_available(void **state)
{
    (void)state;
    struct world *w = start();
    static x86_handler *const *const all[] = {x86_t_fadd_st0,  x86_t_fninit,  x86_t_fnstcw,
                                              x86_t_fnstsw_ax, x86_t_fld_m64, x86_t_fnclex,
                                              x86_t_fnop,      x86_t_fnsave};
    static const uint32_t bits[] = {X86_CR0_EM, X86_CR0_TS, X86_CR0_EM | X86_CR0_TS};
    for (unsigned b = 0; b < 3; b++) {
        w->cpu.cr0 = X86_CR0_PE | X86_CR0_NE | bits[b];
        for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
            assert_false(run_mem(w, all[i]));
            assert_int_equal(w->cpu.exc.vector, X86_NM);
        }
        assert_true(run_reg(w, x86_t_fwait, 0));
        w->cpu.cr0 |= X86_CR0_MP;
        assert_int_equal(run_reg(w, x86_t_fwait, 0), bits[b] == X86_CR0_EM);
    }
    w_free(w);
}

static void deferred_exception(void **state)
{
    (void)state;
    struct world *w = start();
    assert_true(run_reg(w, x86_t_fninit, 0));
    w->cpu.fpu.cw = 0x037b; /* ZM clear */
    assert_true(run_reg(w, x86_t_fldz, 0) && run_reg(w, x86_t_fld1, 0));
    assert_true(run_reg(w, x86_t_fdiv_st0, 1)); /* 1 / 0: recorded now ... */
    assert_int_equal(w->cpu.fpu.sw & 0x80ff, X87_B | X87_ES | X87_ZE);
    assert_int_equal(x87_st(&w->cpu, 0)->se, 0x3fff); /* ... and ST(0) is still 1 */
    assert_true(run_mem(w, x86_t_fnstsw) && run_mem(w, x86_t_fnstcw));
    assert_false(run_mem(w, x86_t_fld_m32)); /* ... raised by the next waiting instruction */
    assert_int_equal(w->cpu.exc.vector, X86_MF);
    assert_false(w->cpu.exc.has_error);
    assert_false(run_reg(w, x86_t_fwait, 0));
    w->cpu.cr0 &= ~(uint64_t)X86_CR0_NE; /* as if IGNNE# were asserted */
    assert_true(run_reg(w, x86_t_fwait, 0));
    w->cpu.cr0 |= X86_CR0_NE;
    assert_true(run_reg(w, x86_t_fnclex, 0));
    assert_int_equal(w->cpu.fpu.sw & 0x80ff, 0);
    assert_true(run_reg(w, x86_t_fwait, 0));
    /* a control word that unmasks a flagged exception makes it pending */
    assert_true(run_reg(w, x86_t_fninit, 0));
    w->cpu.fpu.sw = X87_PE;
    memcpy(w_byte(w, OPERAND), "\x5f\x03", 2);
    assert_true(run_mem(w, x86_t_fldcw));
    assert_int_equal(w->cpu.fpu.sw, X87_PE | X87_ES | X87_B);
    assert_false(run_mem(w, x86_t_fldcw));
    assert_true(run_mem(w, x86_t_fnstenv)); /* masks everything */
    assert_int_equal(w->cpu.fpu.cw & 0x3f, 0x3f);
    assert_true(run_reg(w, x86_t_fwait, 0));
    w_free(w);
}

static void faults_change_nothing(void **state)
{
    (void)state;
    struct world *w = start();
    assert_true(run_reg(w, x86_t_fninit, 0) && run_reg(w, x86_t_fldpi, 0));
    static x86_handler *const *const all[] = {
        x86_t_fstp_m64,  x86_t_fstp_m80, x86_t_fistp_m16, x86_t_fbstp,   x86_t_fld_m32,
        x86_t_fadd_m64,  x86_t_fld_m80,  x86_t_fnsave,    x86_t_frstor,  x86_t_fnstenv,
        x86_t_fcomp_m32, x86_t_fldcw,    x86_t_fild_m64,  x86_t_fist_m32};
    w->device_result = X86_EXIT;
    struct x86_fpu before = w->cpu.fpu;
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        assert_false(run_at(w, all[i], W_DEVICE + 0x10, 2, 0));
        assert_int_equal(w->cpu.leave, X86_LEAVE_EXIT);
        assert_memory_equal(&before, &w->cpu.fpu, sizeof(before));
    }
    w_free(w);
}

struct env_case {
    unsigned mode, size;
    uint8_t want[28];
};

/* FIP 0x401010, FCS 33, FDP 20100, FDS 2b, FOP 5d2; ST(0) valid in R7, R6 special, others empty */
static void environment_formats(void **state)
{
    (void)state;
    const struct env_case cases[] = {
        {X86_MODE_64, 2, {0x7f, 0x03, 0xff, 0xff, 0x00, 0x30, 0xff, 0xff, 0xff, 0x2f,
                          0xff, 0xff, 0x10, 0x10, 0x40, 0x00, 0x33, 0x00, 0xd2, 0x05,
                          0x00, 0x01, 0x02, 0x00, 0x2b, 0x00, 0xff, 0xff}},
        {X86_MODE_32,
         1,
         {0x7f, 0x03, 0x00, 0x30, 0xff, 0x2f, 0x10, 0x10, 0x33, 0x00, 0x00, 0x01, 0x2b, 0x00}},
        {X86_MODE_16 | X86_MODE_REAL,
         2,
         {0x7f, 0x03, 0xff, 0xff, 0x00, 0x30, 0xff, 0xff, 0xff, 0x2f, 0xff, 0xff, 0x40, 0x13,
          0xff, 0xff, 0xd2, 0x05, 0x00, 0x00, 0xb0, 0x03, 0xff, 0xff, 0x00, 0x20, 0x00, 0x00}},
        {X86_MODE_16 | X86_MODE_V86,
         1,
         {0x7f, 0x03, 0x00, 0x30, 0xff, 0x2f, 0x40, 0x13, 0xd2, 0x05, 0xb0, 0x03, 0x00, 0x20}},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct env_case *c = &cases[i];
        unsigned n = c->size == 1 ? 14 : 28;
        struct world *w = start();
        static const uint8_t infinity[10] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x7f};
        run_reg(w, x86_t_fninit, 0);
        run_reg(w, x86_t_fld1, 0);
        memcpy(w_byte(w, OPERAND), infinity, sizeof(infinity));
        assert_true(run_at(w, x86_t_fld_m80, OPERAND, 2, 0x5d2));
        assert_int_equal(w->cpu.fpu.fip, 0x401010);
        assert_int_equal(w->cpu.fpu.fdp, OPERAND);
        if (c->mode & (X86_MODE_REAL | X86_MODE_V86))
            w->cpu.fpu.fip = 0x1010;
        w->cpu.mode = (uint16_t)c->mode;
        w->cpu.seg[X86_DS] = (struct x86_seg){.limit = UINT32_MAX,
                                              .ar = X86_AR_P | X86_AR_S | X86_AR_WR,
                                              .rd_fast = true,
                                              .wr_fast = true};
        memset(w_byte(w, OPERAND), 0xaa, 32);
        assert_true(run_at(w, x86_t_fnstenv, OPERAND, c->size, 0));
        assert_memory_equal(w_byte(w, OPERAND), c->want, n);
        assert_int_equal(*w_byte(w, OPERAND + n), 0xaa);
        struct x86_fpu saved = w->cpu.fpu;
        run_reg(w, x86_t_fninit, 0);
        assert_true(run_at(w, x86_t_fldenv, OPERAND, c->size, 0));
        assert_int_equal(w->cpu.fpu.tagw, saved.tagw);
        assert_int_equal(w->cpu.fpu.top, saved.top);
        assert_true(run_at(w, x86_t_fnstenv, OPERAND, c->size, 0)); /* the same image again */
        if (!(c->mode & X86_MODE_32))
            assert_memory_equal(w_byte(w, OPERAND), c->want, n);
        w_free(w);
    }
}

static void segment_of_operand(void **state)
{
    (void)state;
    struct world *w = start();
    w->cpu.mode = X86_MODE_32;
    w->cpu.lin_mask = UINT32_MAX;
    w->cpu.seg[X86_DS] =
        (struct x86_seg){.limit = OPERAND + 8, .ar = X86_AR_P | X86_AR_S | X86_AR_WR};
    assert_true(run_reg(w, x86_t_fninit, 0));
    assert_true(run_at(w, x86_t_fld_m64, OPERAND, 2, 0));
    assert_false(run_at(w, x86_t_fld_m80, OPERAND, 2, 0));
    assert_int_equal(w->cpu.exc.vector, X86_GP);
    assert_false(run_at(w, x86_t_fnsave, OPERAND, 2, 0));
    w_free(w);
}

/* The host program's own x87 state is as it was. */
static void host_state_untouched(void **state)
{
    (void)state;
#if defined(__x86_64__)
    struct world *w = start();
    uint16_t cw = 0x0f7f, now = 0;
    __asm__ volatile("fldcw %0" : : "m"(cw));
    run_reg(w, x86_t_fninit, 0);
    w->cpu.fpu.cw = 0x0040;
    run_reg(w, x86_t_fld1, 0);
    run_reg(w, x86_t_fsqrt, 0);
    run_reg(w, x86_t_fptan, 0);
    struct {
        uint32_t w[7];
    } env;
    __asm__ volatile("fnstcw %0\n\tfnstenv %1" : "=m"(now), "=m"(env));
    assert_int_equal(now, cw);
    assert_int_equal(env.w[2] & 0xffff, 0xffff); /* all registers empty */
    assert_false(env.w[1] & 0x80);
    cw = 0x037f;
    __asm__ volatile("fninit\n\tfldcw %0" : : "m"(cw));
    w_free(w);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_available),         cmocka_unit_test(deferred_exception),
        cmocka_unit_test(faults_change_nothing), cmocka_unit_test(environment_formats),
        cmocka_unit_test(segment_of_operand),    cmocka_unit_test(host_state_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
