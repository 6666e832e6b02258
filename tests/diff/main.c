/*
 * Driver: all rows, a number of cases each, and what has not been covered.
 *
 *   x86_diff [--seed N] [--cases N] [--row N|NAME[:INDEX]] [--all]
 *
 * VMLIB_DIFF_CASES=N sets the number of cases per row; --all goes on after a row's first failures.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "diff.h"

#define SKIPPED   77 /* ctest's SKIP_RETURN_CODE */
#define BATCH     256u
#define MAX_SHOWN 3u

struct options {
    uint64_t seed;
    unsigned cases;
    const char *row;
    int64_t index;
    bool all;
};

struct totals {
    uint64_t cases, faults, lost;
    unsigned open, deep, rows, failed_rows, uncovered, not_offered, not_on_host, excluded;
};

static struct {
    struct diff_case *cases;
    struct diff_result *native;
    struct diff_result emulated;
    struct diff_emulator *emulator;
    uint64_t features[4]; /* of both sides */
    uint64_t host[4];
    unsigned modes;
} d;

static bool has_feature(const uint64_t *feat, unsigned f)
{
    return feat[f >> 6] >> (f & 63) & 1;
}

/* Compare one batch; returns the number of failing cases. */
static unsigned check_batch(unsigned n, struct totals *t, unsigned shown, unsigned *same_row)
{
    unsigned failed = 0;
    if (!diff_native(d.cases, d.native, n)) {
        fprintf(stderr, "cannot run instructions natively\n");
        exit(1);
    }
    for (unsigned i = 0; i < n; i++) {
        const struct diff_case *c = &d.cases[i];
        if (!d.native[i].done) {
            printf("LOST: the host killed the process\n");
            diff_print_case(stdout, c);
            t->lost++;
            failed++;
            continue;
        }
        t->cases++;
        t->faults += d.native[i].vector != DIFF_NO_FAULT;
        bool ud =
            x86_rows[c->row].name[0] == 'u' && d.native[i].vector == X86_UD; /* UD0, UD1, UD2 */
        if (c->insn.row == c->row && (ud || d.native[i].vector == DIFF_NO_FAULT))
            ++*same_row;
        bool show = shown + failed < MAX_SHOWN;
        bool cold = true;
        diff_emulate(d.emulator, c, true, &d.emulated);
        if (diff_compare(c, &d.native[i], &d.emulated, NULL) == 0) {
            cold = false;
            diff_emulate(d.emulator, c, false, &d.emulated);
            if (diff_compare(c, &d.native[i], &d.emulated, NULL) == 0)
                continue;
        }
        failed++;
        if (show) {
            printf("FAIL%s ", cold ? "" : " with a warm TLB");
            diff_print_case(stdout, c);
            diff_compare(c, &d.native[i], &d.emulated, stdout);
        }
    }
    return failed;
}

static void run_row(uint32_t row, const struct options *o, struct totals *t)
{
    unsigned failed = 0, covered = 0, n = 0, made = 0;
    uint32_t index = o->index >= 0 ? (uint32_t)o->index : 0;
    uint32_t end = o->index >= 0 ? index + 1 : o->cases * 4;
    for (; index < end && made < o->cases; index++) {
        if (!diff_generate(o->seed, row, index, d.features, d.modes, &d.cases[n]))
            continue;
        made++;
        n++;
        if (n == BATCH) {
            failed += check_batch(n, t, failed, &covered);
            n = 0;
        }
        if (failed && !o->all)
            break;
    }
    if (n)
        failed += check_batch(n, t, failed, &covered);
    t->rows++;
    if (!diff_emulator_stack_ok(d.emulator)) {
        t->deep++;
        printf("row %u (%s): its handler calls the next one instead of jumping to it\n", row,
               x86_rows[row].name);
    }
    if (failed) {
        t->failed_rows++;
        printf("row %u (%s): %u cases differ\n", row, x86_rows[row].name, failed);
    } else if (!covered && o->index < 0) {
        t->uncovered++;
        printf("row %u (%s, map %u opcode %02x) never completed natively\n", row,
               x86_rows[row].name, x86_rows[row].map, x86_rows[row].opcode);
    }
    fflush(stdout);
}

static bool wanted(uint32_t row, const struct options *o)
{
    char *end;
    if (!o->row)
        return true;
    unsigned long n = strtoul(o->row, &end, 0);
    return *end ? strcmp(o->row, x86_rows[row].name) == 0 : n == row;
}

static void run_all(const struct options *o, struct totals *t)
{
    for (uint32_t row = 1; row < X86_NROWS; row++) {
        const struct x86_row *r = &x86_rows[row];
        if (!wanted(row, o))
            continue;
        const char *why = diff_excluded(r);
        if (why) {
            t->excluded++;
            t->open += strncmp(why, "OPEN", 4) == 0;
        } else if (!(r->attr & X86_A_USER)) { /* forgotten: it must not look like an exclusion */
            t->uncovered++;
            printf("row %u (%s) is not marked USER and has no reason for it\n", row, r->name);
        } else if (!has_feature(diff_emulator_features(d.emulator), r->feature))
            t->not_offered++;
        else if (!has_feature(d.host, r->feature) ||
                 (r->constraint & X86_C_NO64 && !(d.modes & ~1u)))
            t->not_on_host++;
        else
            run_row(row, o, t);
    }
}

static struct options parse(int argc, char **argv)
{
    struct options o = {.seed = 1, .cases = 600, .index = -1};
    const char *env = getenv("VMLIB_DIFF_CASES");
    if (env && atoi(env) > 0)
        o.cases = (unsigned)atoi(env);
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(a, "--all") == 0) {
            o.all = true;
            continue;
        }
        i++;
        if (strcmp(a, "--seed") == 0)
            o.seed = strtoull(v, NULL, 0);
        else if (strcmp(a, "--cases") == 0)
            o.cases = (unsigned)strtoul(v, NULL, 0);
        else if (strcmp(a, "--row") == 0)
            o.row = v;
    }
    char *colon = o.row ? strchr(o.row, ':') : NULL;
    if (colon) {
        o.index = strtoll(colon + 1, NULL, 0);
        *colon = 0;
    }
    return o;
}

static bool prepare(void)
{
    diff_world_init();
    d.modes = diff_native_modes();
    d.emulator = diff_emulator_new();
    d.cases = diff_shared(BATCH * sizeof(*d.cases));
    d.native = diff_shared(BATCH * sizeof(*d.native));
    diff_host_features(d.host);
    if (!d.emulator || !d.cases || !d.native || !has_feature(d.host, X86_FEAT_FSGSBASE))
        return false;
    memcpy(d.features, diff_emulator_features(d.emulator), sizeof(d.features));
    return true;
}

int main(int argc, char **argv)
{
    struct options o = parse(argc, argv);
    struct totals t = {0};
    if (!prepare()) {
        printf("skipped: the host cannot run cases (FSGSBASE or shared memory missing)\n");
        return SKIPPED;
    }
    printf("seed %" PRIu64 ", %u cases per row, modes %x\n", o.seed, o.cases, d.modes);
    run_all(&o, &t);
    printf("%u rows, %" PRIu64 " cases (%" PRIu64
           " with faults): %u rows differ, %u not covered; skipped: %u not offered "
           "to guests, %u not on this host, %u excluded (%u of them open)\n",
           t.rows, t.cases, t.faults, t.failed_rows, t.uncovered, t.not_offered, t.not_on_host,
           t.excluded, t.open);
    return t.failed_rows || t.uncovered || t.lost || t.deep;
}
