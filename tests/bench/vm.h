/* Engines that the guest runs in; times are measured around run(). */
#ifndef BENCH_VM_H
#define BENCH_VM_H

#include <stdbool.h>
#include <stdint.h>

struct bench_image {
    uint8_t *bytes;
    uint64_t size;
};

struct bench_result {
    uint64_t value;        /* rax at the end */
    uint64_t instructions; /* 0: the engine does not count */
    double ns;
};

struct bench_engine {
    const char *name;
    /* NULL: not available, *why says why */
    void *(*open)(const struct bench_image *image, const char **why);
    bool (*run)(void *engine, uint64_t which, uint64_t n, struct bench_result *r);
    void (*close)(void *engine);
};

extern const struct bench_engine bench_vmlib, bench_unicorn;

double bench_now(void); /* ns */
/* Page tables as guest.h says, into guest memory at GUEST_TABLES */
void bench_tables(uint64_t *tables);

#endif
