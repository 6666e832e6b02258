/* What native program and guest share: the kernels, by number. */
#ifndef KERNELS_H
#define KERNELS_H

#include <stdint.h>

enum bench_group { GROUP_INTEGER, GROUP_MEMORY, GROUP_FP, GROUP_OTHER, GROUP_CODE };

struct bench_kernel {
    const char *name;
    const char *unit; /* what one of `n` is */
    uint64_t (*fn)(uint8_t *arena, uint64_t n);
    uint32_t n;     /* for about 20 ms native */
    uint32_t smoke; /* for the test of checksums */
    uint8_t group;
};

/* Scratch memory of the kernels, zero at the start. */
#define BENCH_ARENA_SIZE (128u << 20)

extern const struct bench_kernel bench_kernels[];
extern const unsigned bench_nkernels;

/* bigcode.S: calls 10,000 functions, each different, once */
uint64_t bench_bigcode(uint64_t seed);

#endif
