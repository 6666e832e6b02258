/*
 * The runner: the same kernels native and in guests, interleaved, medians; then operations and life
 * cycle.
 *
 *   bench GUEST-IMAGE [--smoke] [--rounds N] [--only NAME]
 *
 * --smoke compares checksums with native ones on small sizes, and never times.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <vmlib/vmlib.h>

#include "guest.h"
#include "kernels.h"
#include "vm.h"

#define MAX_ROUNDS 15u

static const struct bench_engine *const engines[] = {
    &bench_vmlib,
#ifdef BENCH_UNICORN
    &bench_unicorn,
#endif
};
#define NENGINES (sizeof(engines) / sizeof(engines[0]))

static const struct {
    const char *name;
    uint32_t n, each; /* each: divisor for the printed figure */
    double target;    /* ns */
} ops[] = {
    {"int 0x80 + iretq", 200000, 1, 150},
    {"syscall + sysret", 400000, 1, 80},
    {"ud2 + iretq", 200000, 1, 0},
    {"demand fault cycle", 50000, 1, 600},
    {"CR3 + 16 pages", 20000, 1, 1140},
    {"CR3 + 128 pages", 4000, 1, 5620},
    {"SMC patch + call", 50000, 1, 300},
    {"out, callback", 400000, 1, 30},
    {"in, callback", 400000, 1, 30},
    {"MMIO write, callback", 400000, 1, 40},
    {"MMIO read, callback", 400000, 1, 40},
    {"cpuid", 200000, 1, 0},
    {"rdtsc", 400000, 1, 0},
};
#define NOPS (sizeof(ops) / sizeof(ops[0]))

static struct {
    struct bench_image image;
    uint8_t *arena;
    void *engine[NENGINES];
    unsigned rounds;
    const char *only;
} b;

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* the machine may be busy with other things */
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

void bench_tables(uint64_t *t)
{
    memset(t, 0, 4 * 4096);
    t[0] = (GUEST_TABLES + 0x1000) | 7;
    t[512] = (GUEST_TABLES + 0x2000) | 7;
    for (uint64_t i = 0; i < 512; i++)
        t[1024 + i] = i << 21 | 0x87;
    t[1024 + (GUEST_WINDOW >> 21)] = (GUEST_TABLES + 0x3000) | 7;
    for (uint64_t i = 0; i < 512; i++)
        t[1536 + i] = (GUEST_WINDOW_PA + (i << 12)) | 7;
}

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, c = *(const double *)y;
    return (a > c) - (a < c);
}
static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof(*v), by_value);
    return v[n / 2];
}

static struct bench_result native(unsigned k, uint64_t n)
{
    struct bench_result r = {0};
    double t = bench_now();
    r.value = bench_kernels[k].fn(b.arena, n);
    r.ns = bench_now() - t;
    return r;
}

static bool wanted(const char *name)
{
    return !b.only || strstr(name, b.only);
}

static int smoke(void)
{
    int failed = 0;
    for (unsigned k = 0; k < bench_nkernels; k++) {
        const struct bench_kernel *kernel = &bench_kernels[k];
        if (!wanted(kernel->name))
            continue;
        uint64_t want = native(k, kernel->smoke).value;
        struct bench_result r = {0};
        bool ok = engines[0]->run(b.engine[0], k, kernel->smoke, &r);
        if (!ok || r.value != want) {
            printf("%s: %s, %016llx instead of %016llx\n", kernel->name,
                   ok ? "wrong" : "did not end in HLT", (unsigned long long)r.value,
                   (unsigned long long)want);
            failed++;
        }
    }
    for (unsigned k = 0; k < NOPS; k++) {
        struct bench_result r;
        if (wanted(ops[k].name) && !engines[0]->run(b.engine[0], GUEST_OPS + k, 20, &r)) {
            printf("%s: did not end in HLT\n", ops[k].name);
            failed++;
        }
    }
    printf("%u kernels, %u operations: %d failed\n", bench_nkernels, (unsigned)NOPS, failed);
    return failed != 0;
}

/* Code that runs for the first time needs an engine that has not seen it. */
static void start_afresh(void)
{
    const char *why;
    for (unsigned e = 0; e < NENGINES; e++) {
        if (b.engine[e])
            engines[e]->close(b.engine[e]);
        b.engine[e] = engines[e]->open(&b.image, &why);
    }
}

/* One line; returns the instructions per second of libvmlib in millions. */
static double measure_kernel(unsigned k)
{
    const struct bench_kernel *kernel = &bench_kernels[k];
    double host[MAX_ROUNDS], guest[NENGINES][MAX_ROUNDS];
    uint64_t want = 0, instructions = 0;
    bool ok[NENGINES] = {false};
    for (unsigned i = 0; i < b.rounds; i++) {
        if (kernel->group == GROUP_CODE)
            start_afresh();
        struct bench_result r = native(k, kernel->n);
        host[i] = r.ns;
        want = r.value;
        for (unsigned e = 0; e < NENGINES; e++) {
            ok[e] =
                b.engine[e] && engines[e]->run(b.engine[e], k, kernel->n, &r) && r.value == want;
            guest[e][i] = r.ns;
            if (e == 0)
                instructions = r.instructions;
        }
    }
    double base = median(host, b.rounds), mips = 0;
    printf("%-14s %10.2f ns/%-12s", kernel->name, base / kernel->n, kernel->unit);
    for (unsigned e = 0; e < NENGINES; e++) {
        double t = median(guest[e], b.rounds);
        if (!ok[e]) {
            printf("  %9s", "failed");
            continue;
        }
        printf("  %8.2fx", t / base);
        if (e == 0) {
            mips = (double)instructions * 1e3 / t;
            printf(" %7.0f MIPS", mips);
            if (kernel->group == GROUP_CODE)
                printf(" %5.1f ns/insn", t / (double)instructions);
        }
    }
    printf("\n");
    fflush(stdout);
    return mips;
}

static void measure_kernels(void)
{
    double logs[5] = {0};
    unsigned n[5] = {0};
    printf("%-14s %-26s", "kernel", "native");
    for (unsigned e = 0; e < NENGINES; e++)
        printf("  %9s%s", engines[e]->name, e ? "" : "             ");
    printf("\n");
    for (unsigned k = 0; k < bench_nkernels; k++) {
        if (!wanted(bench_kernels[k].name))
            continue;
        double mips = measure_kernel(k);
        if (mips > 0) {
            logs[bench_kernels[k].group] += log(mips);
            n[bench_kernels[k].group]++;
        }
    }
    if (n[GROUP_INTEGER])
        printf("geometric mean of the integer kernels: %.0f MIPS\n",
               exp(logs[GROUP_INTEGER] / n[GROUP_INTEGER]));
}

static void measure_ops(void)
{
    printf("\n%-22s %10s %10s\n", "operation", "ns", "target");
    for (unsigned k = 0; k < NOPS; k++) {
        double t[MAX_ROUNDS];
        struct bench_result r = {0};
        bool ok = true;
        if (!wanted(ops[k].name))
            continue;
        for (unsigned i = 0; i < b.rounds && ok; i++) {
            ok = engines[0]->run(b.engine[0], GUEST_OPS + k, ops[k].n, &r);
            t[i] = r.ns;
        }
        if (!ok)
            printf("%-22s %10s\n", ops[k].name, "failed");
        else if (ops[k].target > 0)
            printf("%-22s %10.1f %10.0f\n", ops[k].name, median(t, b.rounds) / ops[k].n,
                   ops[k].target);
        else
            printf("%-22s %10.1f %10s\n", ops[k].name, median(t, b.rounds) / ops[k].n, "-");
    }
}

static double resident_kib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*d %ld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (double)pages * 4;
}

/* A VM with one page: HLT in real mode. */
static bool tiny(vmlib_vm **vm, vmlib_region **ram, vmlib_vcpu **vcpu)
{
    struct vmlib_region_config c = VMLIB_REGION_CONFIG_INIT;
    struct vmlib_exit exit = {.size = sizeof(exit)};
    c.bytes = 0x1000;
    c.gpa = 0xfffff000;
    return vmlib_vm_create(NULL, vm) == 0 && vmlib_region_create(*vm, &c, ram) == 0 &&
           vmlib_vm_write(*vm, 0xfffffff0, "\xf4", 1) == 0 &&
           vmlib_vcpu_create(*vm, NULL, vcpu) == 0 && vmlib_vcpu_run(*vcpu, NULL, &exit) == 0 &&
           exit.reason == VMLIB_EXIT_HLT;
}

static void measure_life(void)
{
    enum { CYCLES = 200, KEPT = 50 };
    vmlib_vm *vm[KEPT];
    vmlib_region *ram[KEPT];
    vmlib_vcpu *vcpu[KEPT];
    double t[CYCLES];
    for (unsigned i = 0; i < CYCLES; i++) {
        double start = bench_now();
        if (!tiny(&vm[0], &ram[0], &vcpu[0])) {
            printf("life cycle: failed: %s\n", vmlib_last_error());
            return;
        }
        vmlib_vcpu_unref(vcpu[0]);
        vmlib_region_unref(ram[0]);
        vmlib_vm_unref(vm[0]);
        t[i] = bench_now() - start;
    }
    double before = resident_kib();
    for (unsigned i = 0; i < KEPT; i++)
        if (!tiny(&vm[i], &ram[i], &vcpu[i]))
            return;
    double each = (resident_kib() - before) / KEPT;
    for (unsigned i = 0; i < KEPT; i++) {
        vmlib_vcpu_unref(vcpu[i]);
        vmlib_region_unref(ram[i]);
        vmlib_vm_unref(vm[i]);
    }
    printf("\ncreate, first exit, destroy: %.1f us (target 60); memory of an idle VM: %.0f KiB "
           "(target 512)\n",
           median(t, CYCLES) / 1e3, each);
}

static bool load_image(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    fseek(f, 0, SEEK_END);
    b.image.size = (uint64_t)ftell(f);
    rewind(f);
    b.image.bytes = malloc(b.image.size);
    bool ok = b.image.bytes && fread(b.image.bytes, 1, b.image.size, f) == b.image.size;
    fclose(f);
    return ok;
}

int main(int argc, char **argv)
{
    bool smoke_only = false;
    b.rounds = 3;
    if (argc < 2 || !load_image(argv[1])) {
        fprintf(stderr, "usage: bench GUEST-IMAGE [--smoke] [--rounds N] [--only NAME]\n");
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--smoke") == 0)
            smoke_only = true;
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            b.rounds = (unsigned)atoi(argv[++i]) % (MAX_ROUNDS + 1);
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            b.only = argv[++i];
    }
    b.rounds += !b.rounds;
    b.arena =
        mmap(NULL, BENCH_ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b.arena == MAP_FAILED)
        return 2;
    for (unsigned e = 0; e < (smoke_only ? 1 : NENGINES); e++) {
        const char *why = "";
        b.engine[e] = engines[e]->open(&b.image, &why);
        if (!b.engine[e])
            printf("%s: not available: %s\n", engines[e]->name, why);
    }
    if (!b.engine[0])
        return 77;
    if (smoke_only)
        return smoke();
    measure_kernels();
    measure_ops();
    measure_life();
    for (unsigned e = 0; e < NENGINES; e++)
        if (b.engine[e])
            engines[e]->close(b.engine[e]);
    return 0;
}
