/*
 * The instruction table is data that several files contribute to; this checks what its readers rely
 * on: all rows of an opcode agree on whether ModRM follows, the decoder can choose each row (so
 * those of one opcode stand together), handlers exist, attributes fit the operands.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "x86/handlers.h"
#include "x86/insn.h"

static unsigned key(const struct x86_row *r)
{
    return r->map * 256u + r->opcode;
}

static void fail_row(unsigned i, const char *why)
{
    const struct x86_row *r = &x86_rows[i];
    fail_msg("row %u (%s, map %u opcode %02x): %s", i, r->name, r->map, r->opcode, why);
}

/* The decoder can choose every row: decode something that only this row fits, by trying ModRM
 * bytes, prefixes, modes. */
static bool reachable(unsigned wanted)
{
    static const uint8_t prefix[4][2] = {{0, 0}, {0x66, 0}, {0xf3, 0}, {0xf2, 0}};
    const struct x86_row *r = &x86_rows[wanted];
    const unsigned modes[3] = {X86_MODE_64 | X86_MODE_FLAT, X86_MODE_32,
                               X86_MODE_16 | X86_MODE_REAL};
    uint64_t all[4] = {~UINT64_C(0), ~UINT64_C(0), ~UINT64_C(0), ~UINT64_C(0)};
    bool vex = r->map >= X86_V0F;
    for (unsigned m = 0; m < 3; m++) {
        for (unsigned p = 0; p < 8 * 2; p++) {
            for (unsigned modrm = 0; modrm < 256; modrm++) {
                uint8_t b[15] = {0};
                unsigned n = 0, pp = p & 3, w = p >> 2 & 1, l = p >> 3;
                struct x86_insn in;
                if (vex) {
                    b[n++] = 0xc4;
                    b[n++] = (uint8_t)(0xe0 | (r->map - X86_V0F + 1));
                    b[n++] = (uint8_t)(w << 7 | 0x78 | l << 2 | pp);
                } else {
                    if (prefix[pp][0])
                        b[n++] = prefix[pp][0];
                    if (w && m == 0)
                        b[n++] = 0x48;
                    if (r->map != X86_M1)
                        b[n++] = 0x0f;
                    if (r->map == X86_M38 || r->map == X86_M3A)
                        b[n++] = r->map == X86_M38 ? 0x38 : 0x3a;
                }
                b[n++] = r->opcode;
                b[n++] = (uint8_t)modrm;
                if (x86_decode(b, 15, modes[m], all, &in) == X86_DECODE_OK && in.row == wanted)
                    return true;
                if (!(r->attr & X86_A_MODRM) && modrm)
                    break;
            }
        }
    }
    return false;
}

static void test_modrm_agrees(void **state)
{
    static uint8_t seen[X86_NMAPS * 256];
    (void)state;
    for (unsigned i = 1; i < X86_NROWS; i++) {
        uint8_t has = x86_rows[i].attr & X86_A_MODRM ? 2 : 1;
        if (seen[key(&x86_rows[i])] && seen[key(&x86_rows[i])] != has)
            fail_row(i, "rows of this opcode disagree about ModRM");
        seen[key(&x86_rows[i])] = has;
    }
}

static void test_handlers_exist(void **state)
{
    (void)state;
    for (unsigned i = 1; i < X86_NROWS; i++) {
        const struct x86_row *r = &x86_rows[i];
        if (!r->handlers)
            fail_row(i, "no handlers");
        if (!r->name || !r->name[0])
            fail_row(i, "no name");
        if (r->shape == X86_SHAPE_ONE && !r->handlers[0])
            fail_row(i, "its only handler is missing");
        if (r->attr & X86_A_LOCK && !(r->op[0] >= X86_O_Eb && r->op[0] <= X86_O_Ey) &&
            !(r->op[0] >= X86_O_M && r->op[0] <= X86_O_Mx))
            fail_row(i, "LOCK without a memory operand");
    }
}

static void test_every_row_can_be_chosen(void **state)
{
    (void)state;
    for (unsigned i = 1; i < X86_NROWS; i++)
        if (!reachable(i))
            fail_row(i, "the decoder never chooses it");
}

/* Lowering never leaves a uop without handler, whatever the bytes. */
static void test_lowering_is_total(void **state)
{
    static struct x86_cpu cpu;
    uint32_t seed = 1;
    (void)state;
    memset(cpu.feat, 0xff, sizeof(cpu.feat));
    for (unsigned n = 0; n < 2000000; n++) {
        uint8_t b[15];
        struct x86_insn in;
        struct x86_uop u;
        for (unsigned i = 0; i < sizeof(b); i++) {
            seed = seed * 1664525u + 1013904223u;
            b[i] = (uint8_t)(seed >> 24);
        }
        unsigned mode = n % 3;
        if (n & 1)
            b[0] = 0x0f;
        if (x86_decode(b, 15, mode, cpu.feat, &in) != X86_DECODE_OK)
            continue;
        x86_lower(&cpu, &in, 0, &u);
        assert_non_null(u.fn);
        assert_true(in.length >= 1 && in.length <= 15);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modrm_agrees),
        cmocka_unit_test(test_handlers_exist),
        cmocka_unit_test(test_every_row_can_be_chosen),
        cmocka_unit_test(test_lowering_is_total),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
