/* The parts of the KVM backend that need no KVM: conversions, and the reasons why there is none. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvm/convert.h"
#include "kvm/kvm.h"

int vmi_error(int code, const char *format, ...)
{
    (void)format;
    return code;
}

static uint64_t random64(void)
{
    static uint64_t x = 1;
    x += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void fill(void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)p)[i] = (uint8_t)random64();
}

static void general_registers_survive(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 1000; n++) {
        struct vmlib_gpr in, out;
        struct kvm_regs k;
        fill(&in, sizeof(in));
        in.rflags = (in.rflags & 0x3f7fd7) | 2;
        kvm_gpr_from_api(&in, &k);
        assert_int_equal(k.rsp, in.rsp);
        assert_int_equal(k.rbx, in.rbx);
        kvm_gpr_to_api(&k, &out);
        assert_memory_equal(&in, &out, sizeof(in));
    }
}

static struct vmlib_segment random_segment(void)
{
    struct vmlib_segment s = {.base = random64(),
                              .limit = (uint32_t)random64(),
                              .attributes = (uint32_t)random64() & 0x1f0ff,
                              .selector = (uint16_t)random64()};
    if (!(s.attributes & 0x80))
        s.attributes |= VMLIB_SEGMENT_UNUSABLE; /* what is not present cannot be used */
    /* as descriptors have it: the limit in bytes, or in pages */
    if (s.attributes & 0x8000)
        s.limit |= 0xfff;
    else
        s.limit &= 0xfffff;
    return s;
}

static void segments_survive(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 1000; n++) {
        struct vmlib_segments in, out;
        struct kvm_sregs k;
        memset(&in, 0, sizeof(in));
        memset(&out, 0, sizeof(out));
        struct vmlib_segment *seg = &in.es;
        for (unsigned i = 0; i < 8; i++)
            seg[i] = random_segment();
        in.gdtr.base = random64();
        in.gdtr.limit = (uint16_t)random64();
        in.idtr.base = random64();
        memset(&k, 0, sizeof(k));
        kvm_segments_from_api(&in, &k);
        assert_int_equal(k.ldt.selector, in.ldtr.selector);
        kvm_segments_to_api(&k, &out);
        assert_memory_equal(&in, &out, sizeof(in));
    }
}

/* Made-up state: VM entry would refuse a granularity bit that does not fit the limit. */
static void granularity_follows_the_limit(void **state)
{
    (void)state;
    static const struct {
        uint32_t limit, attributes, g;
    } cases[] = {{0xffffffff, 0x93, 1},   {0x12345, 0x8093, 0}, {0xffff, 0x93, 0},
                 {0xffff, 0x8093, 0 + 1}, {0xfffff, 0x93, 0},   {0x100fff, 0x93, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vmlib_segments in;
        struct kvm_sregs k;
        memset(&in, 0, sizeof(in));
        memset(&k, 0, sizeof(k));
        in.ds.limit = cases[i].limit;
        in.ds.attributes = cases[i].attributes;
        kvm_segments_from_api(&in, &k);
        assert_int_equal(k.ds.g, cases[i].g);
    }
}

static void vectors_survive(void **state)
{
    (void)state;
    static struct vmlib_xsave in, out;
    static struct kvm_xsave k;
    for (unsigned n = 0; n < 100; n++) {
        memset(&in, 0, sizeof(in));
        fill(in.image, 416);
        fill(in.image + 576, 256);
        uint32_t mxcsr = (uint32_t)random64() & 0xffff, mask = 0xffff;
        memcpy(in.image + 24, &mxcsr, 4);
        memcpy(in.image + 28, &mask, 4);
        in.image[512] = 7;
        in.bytes = 832;
        in.features = 7;
        kvm_xsave_from_api(&in, 7, &k);
        kvm_xsave_to_api(&k, 7, &out);
        assert_memory_equal(&in, &out, sizeof(in));
    }
}

/* What is left out takes its initial value. */
static void missing_components_are_initial(void **state)
{
    (void)state;
    static struct vmlib_xsave in;
    static struct kvm_xsave k;
    fill(&in, sizeof(in));
    fill(&k, sizeof(k));
    in.features = 0;
    kvm_xsave_from_api(&in, 7, &k);
    const uint8_t *image = (const uint8_t *)k.region;
    assert_int_equal(image[0] | image[1] << 8, 0x37f);
    for (unsigned i = 32; i < 512; i++)
        assert_int_equal(image[i], 0);
    for (unsigned i = 576; i < 832; i++)
        assert_int_equal(image[i], 0);
    assert_int_equal(image[512], 7);
}

static void each_failure_has_its_reason(void **state)
{
    (void)state;
    static const struct {
        int error;
        const char *word;
    } cases[] = {{ENOENT, "absent"},     {ENODEV, "absent"},    {ENXIO, "absent"},
                 {EACCES, "permission"}, {EPERM, "permission"}, {EBUSY, "busy"},
                 {EMFILE, "busy"},       {ENFILE, "busy"},      {EIO, "/dev/kvm"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char reason[224] = "";
        kvm_probe_reason(cases[i].error, reason, sizeof(reason));
        assert_non_null(strstr(reason, cases[i].word));
        assert_true(strlen(reason) < sizeof(reason) - 1);
        kvm_probe_reason(cases[i].error, reason, 8); /* bounded */
        assert_true(strlen(reason) < 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(general_registers_survive),
        cmocka_unit_test(segments_survive),
        cmocka_unit_test(granularity_follows_the_limit),
        cmocka_unit_test(vectors_survive),
        cmocka_unit_test(missing_components_are_initial),
        cmocka_unit_test(each_failure_has_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
