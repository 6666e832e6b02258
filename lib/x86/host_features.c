/* Which vector features the host's CPU and operating system offer: what the stubs may use. */
#include "x86/features.h"
#include "x86/sys.h"

#if defined(__x86_64__)
#include <cpuid.h>

struct bit {
    uint8_t leaf; /* 1 or 7 */
    uint8_t reg;  /* 0 eax, 1 ebx, 2 ecx, 3 edx */
    uint8_t bit;
    bool avx; /* needs YMM state enabled by the operating system */
    uint16_t feature;
};

/* SDM Vol.2A CPUID, tables 3-10, 3-11, 3-8 */
static const struct bit bits[] = {
    {1, 3, 0, false, X86_FEAT_FPU},    {1, 3, 23, false, X86_FEAT_MMX},
    {1, 3, 25, false, X86_FEAT_SSE},   {1, 3, 26, false, X86_FEAT_SSE2},
    {1, 2, 0, false, X86_FEAT_SSE3},   {1, 2, 1, false, X86_FEAT_PCLMUL},
    {1, 2, 9, false, X86_FEAT_SSSE3},  {1, 2, 12, true, X86_FEAT_FMA},
    {1, 2, 19, false, X86_FEAT_SSE41}, {1, 2, 20, false, X86_FEAT_SSE42},
    {1, 2, 25, false, X86_FEAT_AES},   {1, 2, 28, true, X86_FEAT_AVX},
    {1, 2, 29, true, X86_FEAT_F16C},   {7, 1, 5, true, X86_FEAT_AVX2},
    {7, 1, 29, false, X86_FEAT_SHA},   {7, 2, 8, false, X86_FEAT_GFNI},
    {7, 2, 9, true, X86_FEAT_VAES},    {7, 2, 10, true, X86_FEAT_VPCLMUL},
};

static void set(uint64_t feat[4], unsigned feature)
{
    feat[feature >> 6] |= UINT64_C(1) << (feature & 63);
}

static bool os_saves_ymm(unsigned ecx1)
{
    uint32_t eax, edx;
    if (!(ecx1 >> 27 & 1)) /* OSXSAVE */
        return false;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return (eax & 6) == 6;
}

void x86_host_features(uint64_t feat[4])
{
    unsigned leaf1[4] = {0}, leaf7[4] = {0};
    for (unsigned i = 0; i < 4; i++)
        feat[i] = 0;
    if (!__get_cpuid(1, &leaf1[0], &leaf1[1], &leaf1[2], &leaf1[3]))
        return;
    __get_cpuid_count(7, 0, &leaf7[0], &leaf7[1], &leaf7[2], &leaf7[3]);
    bool ymm = os_saves_ymm(leaf1[2]);
    for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
        const struct bit *b = &bits[i];
        const unsigned *leaf = b->leaf == 1 ? leaf1 : leaf7;
        if (leaf[b->reg] >> b->bit & 1 && (ymm || !b->avx))
            set(feat, b->feature);
    }
    /* State images are made in C wherever there is vector state to save. */
    static const uint8_t images[] = {X86_FEAT_FXSR,   X86_FEAT_XSAVE,  X86_FEAT_XSAVEOPT,
                                     X86_FEAT_XSAVEC, X86_FEAT_XSAVES, X86_FEAT_XGETBV1};
    for (unsigned i = 0; i < sizeof(images); i++)
        set(feat, images[i]);
}
#else
void x86_host_features(uint64_t feat[4])
{
    for (unsigned i = 0; i < 4; i++)
        feat[i] = 0;
}
#endif
