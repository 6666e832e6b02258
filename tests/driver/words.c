/*
 * Unit tests of what the library says about VT-x: refusals with what to do, exits, refused states.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "words.h"

static const struct vmlib_vtx_info info = {.phys_bits = 40};

/* Real mode, unrestricted guest: a state that a processor accepts. */
static struct vmlib_vtx_run real_mode(void)
{
    struct vmlib_vtx_run r;
    unsigned i;

    memset(&r, 0, sizeof(r));
    for (i = 0; i <= VMLIB_VTX_GS; i++)
        r.segments.s[i] = (struct vmlib_vtx_segment){.limit = 0xffff, .attributes = 0x93};
    r.segments.s[VMLIB_VTX_CS].attributes = 0x9b;
    r.segments.s[VMLIB_VTX_LDTR].attributes = 0x10082;
    r.segments.s[VMLIB_VTX_TR] = (struct vmlib_vtx_segment){.limit = 0xffff, .attributes = 0x8b};
    r.control.cr0 = 0x30;
    r.msrs.pat = 0x0007040600070406;
    r.debug.dr7 = 0x400;
    r.rflags = 2;
    r.controls.word[VMLIB_VTX_PROC2] = 0x80;
    return r;
}

static void says(const struct vmlib_vtx_run *r, const char *part)
{
    const char *text = vtx_words_entry(r, &info);

    assert_non_null(text);
    if (!strstr(text, part))
        fail_msg("\"%s\" says nothing of \"%s\"", text, part);
}

static void test_unavailable(void **state)
{
    struct vmlib_vtx_info why = {0};
    char text[256];

    (void)state;
    for (; why.unavailable <= VMLIB_VTX_UNAVAILABLE_LAST + 1; why.unavailable++) {
        text[0] = 0;
        vtx_words_unavailable(&why, text, sizeof(text));
        assert_true(strlen(text) > 10 && strlen(text) < sizeof(text) - 1);
    }
    why.unavailable = VMLIB_VTX_OWNED;
    vtx_words_unavailable(&why, text, sizeof(text));
    assert_non_null(strstr(text, "modprobe -r kvm_intel"));
    why.unavailable = VMLIB_VTX_MISSING_CONTROL;
    why.missing = 2 << 8 | 1;
    vtx_words_unavailable(&why, text, sizeof(text));
    assert_non_null(strstr(text, "secondary"));
    assert_string_equal(vtx_words_reason(48), "EPT violation");
    assert_string_equal(vtx_words_reason(0x80000021), "invalid guest state");
    assert_string_equal(vtx_words_reason(0xffff), "unknown exit");
    assert_non_null(vtx_words_instruction_error(1000));
    assert_non_null(vtx_words_invalid(1000));
}

static void test_entry(void **state)
{
    struct vmlib_vtx_run r = real_mode();

    (void)state;
    assert_null(vtx_words_entry(&r, &info));
#define WRONG(member, value, part)                \
    do {                                          \
        struct vmlib_vtx_run wrong = real_mode(); \
        wrong.member = (value);                   \
        says(&wrong, part);                       \
    } while (0)
    WRONG(rflags, 0, "RFLAGS");
    WRONG(rflags, 0x8002, "RFLAGS");
    WRONG(control.cr0, 0x80000030, "CR0.PG without CR0.PE");
    WRONG(control.cr3, 1ull << 40, "CR3");
    WRONG(control.cr4, 0x20000, "PCIDE");
    WRONG(control.efer, 0x500, "EFER.LMA");
    WRONG(debug.dr7, 1ull << 32, "DR7");
    WRONG(msrs.pat, 2, "PAT");
    WRONG(msrs.sysenter_eip, 1ull << 60, "SYSENTER");
    WRONG(rip, 1ull << 32, "RIP");
    WRONG(segments.s[VMLIB_VTX_CS].attributes, 0x92, "CS is not");
    WRONG(segments.s[VMLIB_VTX_SS].attributes, 0x91, "SS is not");
    WRONG(segments.s[VMLIB_VTX_DS].limit, 0x100000, "granularity");
    WRONG(segments.s[VMLIB_VTX_GS].base, 1ull << 50, "canonical");
    WRONG(segments.s[VMLIB_VTX_TR].attributes, 0x89, "busy TSS");
    WRONG(segments.s[VMLIB_VTX_LDTR].attributes, 0x83, "LDT");
    WRONG(segments.gdtr_limit, 0x10000, "GDTR");
    WRONG(events.interruptibility, 3, "MOV SS together");
    WRONG(events.interruptibility, 1, "RFLAGS.IF");
    WRONG(events.pending_debug, 0x10, "pending debug");
    WRONG(inject.event, 0x80000020, "RFLAGS.IF is 0");
    r.rflags = 0x20002;
    r.control.cr0 = 0x31;
    says(&r, "virtual-8086");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unavailable),
        cmocka_unit_test(test_entry),
    };

    return cmocka_run_group_tests_name("vtx words", tests, NULL, NULL);
}
