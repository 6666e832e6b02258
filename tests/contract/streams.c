/*
 * Runs guest programs and compares their exit streams with the golden ones, the same for every
 * backend (stream.h).
 *
 *   contract_streams [BACKEND [DIRECTORY]] [--update] [--only TEXT] [--complete]
 *
 * DIRECTORY holds the golden files; without it, the environment variable VMLIB_GOLDEN or the folder
 * "golden" beside the program. --update writes the files anew, from a backend that counts
 * instructions. --complete makes a skipped case a failure.
 */
#include "stream.h"

#include <libgen.h>
#include <limits.h>
#include <unistd.h>

static const struct stream_case *const guests[] = {streams_real, streams_prot, streams_long,
                                                   streams_event, NULL};
static const struct stream_case *const scripts[] = {streams_mock, NULL};
static char golden[PATH_MAX];
static const char *only;
static bool update, complete;
static unsigned skipped, lacking, compared;

/* --- comparison --- */

/* The next line without its end; NULL after the last. */
static char *next_line(char **text)
{
    char *line = *text;
    if (line == NULL || *line == 0) {
        return NULL;
    }
    char *end = strchr(line, '\n');
    *text = end != NULL ? end + 1 : NULL;
    if (end != NULL) {
        *end = 0;
    }
    return line;
}

/* " n=5" ends a line of a record. */
static void drop_count(char *line)
{
    char *n = strrchr(line, ' ');
    if (n != NULL && strncmp(n, " n=", 3) == 0) {
        *n = 0;
    }
}

/* Tell the first difference. The two texts are taken apart. */
static bool same(const char *name, char *want, char *got, bool counts)
{
    char *before = NULL;
    for (unsigned number = 1;; number++) {
        char *w = next_line(&want), *g = next_line(&got);
        if (w == NULL && g == NULL) {
            return true;
        }
        if (w != NULL && !counts) {
            drop_count(w);
        }
        if (w == NULL || g == NULL || strcmp(w, g) != 0) {
            print_error("%s.txt, line %u differs.\n  before: %s\n  golden: %s\n  here:   %s\n",
                        name, number, before != NULL ? before : "",
                        w != NULL ? w : "(end of the stream)",
                        g != NULL ? g : "(end of the stream)");
            for (unsigned more = 0; more < 4 && (g = next_line(&got)) != NULL; more++) {
                print_error("          %s\n", g);
            }
            return false;
        }
        before = g;
    }
}

static char *load(const char *name)
{
    char path[PATH_MAX + 80];
    snprintf(path, sizeof(path), "%s/%s.txt", golden, name);
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        fail_msg("no golden stream %s", path);
        return NULL;
    }
    size_t size = 1 << 18;
    char *text = calloc(1, size);
    assert_non_null(text);
    assert_true(fread(text, 1, size - 1, f) < size - 1);
    fclose(f);
    return text;
}

static void store(const char *name, const char *text)
{
    char path[PATH_MAX + 80];
    snprintf(path, sizeof(path), "%s/%s.txt", golden, name);
    FILE *f = fopen(path, "w");
    if (f == NULL) {
        fail_msg("cannot write %s", path);
        return;
    }
    fputs(text, f);
    fclose(f);
}

/* --- one case --- */

static const char *missing_feature(const struct stream_case *c)
{
    if (c->code == NULL) {
        return NULL;
    }
    uint64_t need = c->features | F(GUEST_CODE) | (c->mode == W_REAL ? F(REAL_MODE) : 0) |
                    (c->mode >= W_LONG0 ? F(LONG_MODE) : 0);
    for (uint32_t f = 0; f < VMLIB_FEATURE_COUNT; f++) {
        if (need >> f & 1 && world_support(f) == VMLIB_SUPPORT_REFUSED) {
            return vmlib_feature_name(f);
        }
    }
    return NULL;
}

/* FNV-1a over the memory below the hole. */
static uint64_t memory_digest(struct world *w)
{
    static uint8_t memory[HOLE];
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    OK(vmlib_vm_read(w->vm, 0, memory, sizeof(memory)));
    for (size_t i = 0; i < sizeof(memory); i++) {
        hash = (hash ^ memory[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static char *record_case(struct world *w, const struct stream_case *c, uint64_t slice)
{
    char *text = NULL;
    size_t size = 0;
    struct stream s = {.w = w, .mode = c->mode, .slice = slice};
    s.out = open_memstream(&text, &size);
    assert_non_null(s.out);
    s.counts = world_support(VMLIB_FEATURE_INSN_COUNT) >= VMLIB_SUPPORT_EMULATED;
    if (c->code != NULL) {
        world_mode(w, c->mode, c->code, c->end);
    }
    if (c->prepare != NULL) {
        c->prepare(&s);
    }
    fprintf(s.out, "# %s: %s\n", c->name, c->code != NULL ? world_mode_name[c->mode] : "script");
    stream_note(&s, "begin");
    (c->drive != NULL ? c->drive : stream_all)(&s);
    fprintf(s.out, "end memory=%016llx\n", (unsigned long long)memory_digest(w));
    fclose(s.out);
    return text;
}

static void need(const struct stream_case *c)
{
    const char *missing = missing_feature(c);
    const char *lack = missing == NULL && c->lacks != NULL ? c->lacks(c->mode) : NULL;
    if (missing != NULL || lack != NULL) {
        print_message("SKIP: %s: %s%s\n", c->name, missing != NULL ? "this backend refuses " : lack,
                      missing != NULL ? missing : "");
        skipped += missing != NULL;
        lacking += lack != NULL;
        skip();
    }
    world_machine(c->name);
}

static void compare(const struct stream_case *c, uint64_t slice)
{
    void *w = NULL;
    world_setup(&w);
    char *got = record_case(w, c, slice);
    world_teardown(&w);
    if (update) {
        store(c->name, got);
        free(got);
        return;
    }
    char *want = load(c->name);
    bool counts = world_support(VMLIB_FEATURE_INSN_COUNT) >= VMLIB_SUPPORT_EMULATED;
    bool equal = same(c->name, want, got, counts);
    compared++;
    free(want);
    free(got);
    assert_true(equal);
}

static void run_case(void **state)
{
    need(*state);
    compare(*state, 0);
}

/* Stopped after each instruction, the guest does the same. */
static void run_sliced(void **state)
{
    need(*state);
    compare(*state, 1);
}

/* --- the same program with handlers: it ends in the same state (exit contract, 5.3) --- */

struct end {
    struct vmlib_state state;
    uint64_t memory;
    unsigned reads;
};

static struct end run_to_end(const struct stream_case *c, bool handlers)
{
    const uint32_t groups = VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL |
                            VMLIB_STATE_DEBUG | VMLIB_STATE_EVENTS;
    struct end end;
    void *w = NULL;
    char *text = NULL;
    size_t size = 0;
    world_setup(&w);
    struct stream s = {.w = w, .mode = c->mode};
    s.out = open_memstream(&text, &size);
    assert_non_null(s.out);
    world_mode(w, c->mode, c->code, c->end);
    if (handlers) {
        stream_handle(&s); /* those of the case are younger */
    }
    if (c->prepare != NULL) {
        c->prepare(&s);
    }
    stream_all(&s);
    memset(&end, 0, sizeof(end));
    end.state.size = sizeof(end.state);
    OK(vmlib_vcpu_get_state(s.w->vcpu, groups, &end.state));
    end.state.gpr.rflags &= ~UINT64_C(0x10000);
    end.memory = memory_digest(w);
    end.reads = s.reads;
    fclose(s.out);
    free(text);
    world_teardown(&w);
    return end;
}

static void run_handled(void **state)
{
    const struct stream_case *c = *state;
    need(c);
    struct end records = run_to_end(c, false), handlers = run_to_end(c, true);
    assert_int_equal(records.reads, handlers.reads);
    assert_memory_equal(&records.state.gpr, &handlers.state.gpr, sizeof(records.state.gpr));
    assert_memory_equal(&records.state.segments, &handlers.state.segments,
                        sizeof(records.state.segments));
    assert_memory_equal(&records.state.control, &handlers.state.control,
                        sizeof(records.state.control));
    assert_memory_equal(&records.state.debug, &handlers.state.debug, sizeof(records.state.debug));
    assert_memory_equal(&records.state.events, &handlers.state.events,
                        sizeof(records.state.events));
    assert_true(records.memory == handlers.memory);
}

/* --- the program --- */

static struct CMUnitTest *collect(const struct stream_case *const *tables, bool sliced,
                                  size_t *count)
{
    struct CMUnitTest *tests = calloc(1000, sizeof(*tests));
    assert_non_null(tests);
    *count = 0;
    for (; *tables != NULL; tables++) {
        for (const struct stream_case *c = *tables; c->name != NULL && *count < 997; c++) {
            if (only != NULL && strstr(c->name, only) == NULL) {
                continue;
            }
            void *state;
            memcpy(&state, &c, sizeof(state)); /* cmocka wants it without const */
            tests[(*count)++] = (struct CMUnitTest){c->name, run_case, NULL, NULL, state};
            if (c->code != NULL && c->drive == NULL && !update) {
                static char names[1000][64];
                snprintf(names[*count], sizeof(names[0]), "%s, handlers", c->name);
                tests[*count] = (struct CMUnitTest){names[*count], run_handled, NULL, NULL, state};
                ++*count;
                if (sliced) {
                    snprintf(names[*count], sizeof(names[0]), "%s, sliced", c->name);
                    tests[*count] =
                        (struct CMUnitTest){names[*count], run_sliced, NULL, NULL, state};
                    ++*count;
                }
            }
        }
    }
    return tests;
}

static void find_golden(const char *program, const char *directory)
{
    char copy[PATH_MAX];
    const char *env = getenv("VMLIB_GOLDEN");
    if (directory == NULL && env != NULL) {
        directory = env;
    }
    if (directory != NULL) {
        snprintf(golden, sizeof(golden), "%s", directory);
        return;
    }
    snprintf(copy, sizeof(copy) - 8, "%s", program);
    int n = snprintf(golden, sizeof(golden), "%s", dirname(copy));
    snprintf(golden + n, sizeof(golden) - (size_t)n, "/golden");
}

int main(int argc, char **argv)
{
    char *plain[3] = {argv[0], NULL, NULL};
    int nplain = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--update") == 0) {
            update = true;
        } else if (strcmp(argv[i], "--complete") == 0) {
            complete = true;
        } else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
            only = argv[++i];
        } else if (nplain < 3) {
            plain[nplain++] = argv[i];
        }
    }
    find_golden(argv[0], plain[2]);
    size_t count;
    uint32_t support = VMLIB_SUPPORT_NATIVE, budget = VMLIB_SUPPORT_NATIVE;
    if (plain[1] != NULL && vmlib_backend_by_name(plain[1], &backend_under_test) == 0) {
        support = world_support(VMLIB_FEATURE_GUEST_CODE);
        budget = world_support(VMLIB_FEATURE_BUDGET);
    }
    struct CMUnitTest *tests = collect(support == VMLIB_SUPPORT_REFUSED ? scripts : guests,
                                       budget != VMLIB_SUPPORT_REFUSED, &count);
    world_any_backend = true;
    int rc = world_main(nplain > 1 ? 2 : 1, plain, tests, count);
    if (rc != 77) {
        printf(
            "streams: %u compared, %u skipped for refused features, %u for what this host lacks\n",
            compared, skipped, lacking);
    }
    free(tests);
    if (complete && rc == 0 && skipped + lacking > 0) {
        printf("streams: --complete, but some were skipped\n");
        return 1;
    }
    return rc;
}
