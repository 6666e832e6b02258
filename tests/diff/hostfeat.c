/* Which of the features that gate rows this host's CPU has, integer ones included. */
#include <cpuid.h>
#include <string.h>
#include <sys/auxv.h>

#include "diff.h"

struct bit {
    uint16_t feature;
    uint8_t reg, bit; /* 0..3: eax, ebx, ecx, edx */
};

static const struct bit leaf1[] = {
    {X86_FEAT_FPU, 3, 0},    {X86_FEAT_CX8, 3, 8},      {X86_FEAT_SEP, 3, 11},
    {X86_FEAT_CMOV, 3, 15},  {X86_FEAT_CLFLUSH, 3, 19}, {X86_FEAT_MMX, 3, 23},
    {X86_FEAT_FXSR, 3, 24},  {X86_FEAT_SSE, 3, 25},     {X86_FEAT_SSE2, 3, 26},
    {X86_FEAT_SSE3, 2, 0},   {X86_FEAT_PCLMUL, 2, 1},   {X86_FEAT_SSSE3, 2, 9},
    {X86_FEAT_FMA, 2, 12},   {X86_FEAT_CX16, 2, 13},    {X86_FEAT_SSE41, 2, 19},
    {X86_FEAT_SSE42, 2, 20}, {X86_FEAT_MOVBE, 2, 22},   {X86_FEAT_POPCNT, 2, 23},
    {X86_FEAT_AES, 2, 25},   {X86_FEAT_XSAVE, 2, 27},   {X86_FEAT_AVX, 2, 28},
    {X86_FEAT_F16C, 2, 29},  {X86_FEAT_RDRAND, 2, 30},  {X86_FEAT_TSC, 3, 4},
};
static const struct bit leaf7[] = {
    {X86_FEAT_FSGSBASE, 1, 0},   {X86_FEAT_BMI1, 1, 3},        {X86_FEAT_AVX2, 1, 5},
    {X86_FEAT_BMI2, 1, 8},       {X86_FEAT_ERMS, 1, 9},        {X86_FEAT_RDSEED, 1, 18},
    {X86_FEAT_ADX, 1, 19},       {X86_FEAT_CLFLUSHOPT, 1, 23}, {X86_FEAT_CLWB, 1, 24},
    {X86_FEAT_SHA, 1, 29},       {X86_FEAT_GFNI, 2, 8},        {X86_FEAT_VAES, 2, 9},
    {X86_FEAT_VPCLMUL, 2, 10},   {X86_FEAT_RDPID, 2, 22},      {X86_FEAT_MOVDIRI, 2, 27},
    {X86_FEAT_SERIALIZE, 3, 14},
};
static const struct bit leaf_d1[] = {
    {X86_FEAT_XSAVEOPT, 0, 0},
    {X86_FEAT_XSAVEC, 0, 1},
    {X86_FEAT_XGETBV1, 0, 2},
};
static const struct bit leaf_ext[] = {
    {X86_FEAT_LAHF, 2, 0},      {X86_FEAT_LZCNT, 2, 5},     {X86_FEAT_SSE4A, 2, 6},
    {X86_FEAT_3DNOWPREF, 2, 8}, {X86_FEAT_PREFETCHW, 2, 8}, {X86_FEAT_SYSCALL, 3, 11},
    {X86_FEAT_RDTSCP, 3, 27},   {X86_FEAT_LM, 3, 29},
};

static void take(uint64_t feat[4], uint32_t leaf, uint32_t sub, const struct bit *b, unsigned n)
{
    uint32_t r[4] = {0};
    if (!__get_cpuid_count(leaf, sub, &r[0], &r[1], &r[2], &r[3]))
        return;
    for (unsigned i = 0; i < n; i++)
        if (r[b[i].reg] >> b[i].bit & 1)
            feat[b[i].feature >> 6] |= UINT64_C(1) << (b[i].feature & 63);
}
#define TAKE(feat, leaf, sub, table) \
    take(feat, leaf, sub, table, sizeof(table) / sizeof((table)[0]))

void diff_host_features(uint64_t feat[4])
{
    memset(feat, 0, 4 * sizeof(*feat));
    feat[0] |= 1u << X86_FEAT_BASE;
    TAKE(feat, 1, 0, leaf1);
    TAKE(feat, 7, 0, leaf7);
    TAKE(feat, 0xd, 1, leaf_d1);
    TAKE(feat, 0x80000001, 0, leaf_ext);
    if (!(getauxval(AT_HWCAP2) & 2)) /* CR4.FSGSBASE */
        feat[X86_FEAT_FSGSBASE >> 6] &= ~(UINT64_C(1) << (X86_FEAT_FSGSBASE & 63));
}
