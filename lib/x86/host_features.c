/* Which vector features the host's CPU and operating system offer: what the stubs may use. */
#include "x86/features.h"
#include "x86/sys.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__has_include)
#if __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
#define X86_LIBC_KNOWS_CPU
#endif
#endif

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

#if defined(X86_LIBC_KNOWS_CPU)
/* The C library has asked the CPU at program start. CPUID itself is slow where a hypervisor
 * intercepts it: dearer than everything else that creating a vCPU takes. */
static bool read_leaves(unsigned leaf1[4], unsigned leaf7[4], bool *ymm)
{
    const struct cpuid_feature *l1 = __x86_get_cpuid_feature_leaf(CPUID_INDEX_1);
    const struct cpuid_feature *l7 = __x86_get_cpuid_feature_leaf(CPUID_INDEX_7);
    for (unsigned i = 0; i < 4; i++) {
        leaf1[i] = l1->cpuid_array[i];
        leaf7[i] = l7->cpuid_array[i];
    }
    *ymm = CPU_FEATURE_ACTIVE(AVX);
    return true;
}
#else
static bool read_leaves(unsigned leaf1[4], unsigned leaf7[4], bool *ymm)
{
    uint32_t eax = 0, edx;
    if (!__get_cpuid(1, &leaf1[0], &leaf1[1], &leaf1[2], &leaf1[3]))
        return false;
    __get_cpuid_count(7, 0, &leaf7[0], &leaf7[1], &leaf7[2], &leaf7[3]);
    if (leaf1[2] >> 27 & 1) /* OSXSAVE */
        __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    *ymm = (eax & 6) == 6;
    return true;
}
#endif

void x86_host_features(uint64_t feat[4])
{
    unsigned leaf1[4] = {0}, leaf7[4] = {0};
    for (unsigned i = 0; i < 4; i++)
        feat[i] = 0;
    bool ymm;
    if (!read_leaves(leaf1, leaf7, &ymm))
        return;
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
