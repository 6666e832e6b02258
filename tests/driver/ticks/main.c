/*
 * What exits cost, in instructions: `tests/driver/costs` runs this in the emulated machine.
 *
 *   vtx_ticks [--check]      --check: fails when something costs more of KVM's cost than it may
 */
#include "ticks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#define BATCHES 5u
#define LIVES   11u
#define LEVELS  4u

static const struct level *const levels[LEVELS] = {&level_vtx, &level_kvm, &level_library_vtx,
                                                   &level_library_kvm};

#ifdef BARE_ONLY /* built without the library */
static bool absent(void)
{
    return false;
}

const struct level level_library_vtx = {.name = "vtx", .present = absent};
const struct level level_library_kvm = {.name = "kvm", .present = absent};
#endif

void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static uint32_t median(uint32_t *v, size_t n)
{
    qsort(v, n, sizeof(*v), by_value);
    return v[n / 2];
}

/* The first batch maps memory and fills caches; it does not count. */
static uint32_t cost(const struct level *l, const struct op *op)
{
    static uint32_t samples[BATCHES * SAMPLES];

    l->open(op);
    l->batch();
    for (unsigned i = 0; i < BATCHES; i++) {
        l->batch();
        memcpy(samples + (size_t)i * SAMPLES, l->ram() + RESULTS, SAMPLES * sizeof(samples[0]));
    }
    l->close();
    return median(samples, BATCHES * SAMPLES);
}

static uint32_t life(const struct level *l)
{
    uint32_t took[LIVES];

    for (unsigned i = 0; i < LIVES; i++) {
        uint64_t start = __rdtsc();

        l->open(&op_none);
        l->batch();
        l->close();
        took[i] = (uint32_t)(__rdtsc() - start);
    }
    return median(took, LIVES);
}

static bool pair(uint32_t ours, uint32_t kvm, unsigned limit)
{
    bool bad = ours != 0 && kvm != 0 && limit != 0 && (uint64_t)ours * 100 > (uint64_t)kvm * limit;

    printf(" %9u %9u", ours, kvm);
    if (ours != 0 && kvm != 0)
        printf(" %5.2f%s", (double)ours / kvm, bad ? "!" : " ");
    else
        printf("     - ");
    return !bad;
}

static bool line(const char *name, const uint32_t v[LEVELS], unsigned bare, unsigned library)
{
    bool ok;

    printf("%-28s", name);
    ok = pair(v[0], v[1], bare);
    printf("  ");
    ok &= pair(v[2], v[3], library);
    printf("\n");
    return ok;
}

int main(int argc, char **argv)
{
    bool check = argc > 1 && strcmp(argv[1], "--check") == 0, here[LEVELS], ok = true;
    uint32_t v[LEVELS] = {0};

    for (unsigned i = 0; i < LEVELS; i++)
        here[i] = levels[i]->present();
    if (!here[0] || (check && !(here[1] && here[2] && here[3]))) {
        printf("SKIP: it takes the VT-x driver; for --check KVM and both backends, too\n");
        return 77;
    }
    printf("%-28s %9s %9s %6s   %9s %9s\n", "ticks", "driver", "bare KVM", "ratio", "library",
           "on KVM");
    for (unsigned k = 0; k < nops; k++) {
        for (unsigned i = 0; i < LEVELS; i++)
            v[i] = here[i] ? cost(levels[i], &ops[k]) : 0;
        ok &= line(ops[k].name, v, ops[k].bare, ops[k].library);
    }
    for (unsigned i = 0; i < LEVELS; i++)
        v[i] = here[i] ? life(levels[i]) : 0;
    ok &= line("create, first exit, destroy", v, 33, 50);
    return check && !ok;
}
