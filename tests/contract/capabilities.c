/*
 * The capability tables in the documentation, from the answers of vmlib_backend_feature().
 *
 *   contract_capabilities [--check | --update] FILE...
 *
 * A table stands between two comments in a Markdown file:
 *     <!-- capabilities: NAME... -->     features by name, or "all"
 *     <!-- capabilities end -->
 * --check compares what is there with the backends of this build; columns of others are left alone.
 * Without files, the whole table goes to standard output.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmlib/vmlib.h>

#define TEXT  (1u << 18)
#define BEGIN "<!-- capabilities: "
#define END   "<!-- capabilities end -->"

static const char *const about[VMLIB_FEATURE_COUNT] = {
    [VMLIB_FEATURE_GUEST_CODE] = "executes guest instructions",
    [VMLIB_FEATURE_REAL_MODE] = "real and virtual-8086 mode",
    [VMLIB_FEATURE_LONG_MODE] = "64-bit mode",
    [VMLIB_FEATURE_AVX2] = "AVX2, FMA, F16C and BMI in the guest",
    [VMLIB_FEATURE_SMP] = "several vCPUs, each on its own thread",
    [VMLIB_FEATURE_DETERMINISTIC] = "guest time made of instructions: same start, same run",
    [VMLIB_FEATURE_BUDGET] = "instruction budget",
    [VMLIB_FEATURE_INSN_COUNT] = "records tell the number of instructions",
    [VMLIB_FEATURE_SINGLE_STEP] = "a record after each instruction",
    [VMLIB_FEATURE_BREAKPOINTS] = "breakpoints and watchpoints of the host",
    [VMLIB_FEATURE_EXCEPTION_EXITS] = "exceptions shown before they are delivered",
    [VMLIB_FEATURE_MSR_HANDLERS] = "handlers for any MSR",
    [VMLIB_FEATURE_CPUID_HANDLERS] = "handlers for CPUID leaves",
    [VMLIB_FEATURE_DIRTY_LOG] = "which pages the guest has written",
    [VMLIB_FEATURE_PROT_READ] = "regions that cannot be read",
    [VMLIB_FEATURE_PROT_WRITE] = "regions that cannot be written",
    [VMLIB_FEATURE_PROT_EXEC] = "regions that cannot be executed",
    [VMLIB_FEATURE_NMI] = "non-maskable interrupts",
    [VMLIB_FEATURE_SMM] = "system management mode",
    [VMLIB_FEATURE_HYPERCALL_HANDLERS] = "VMCALL and VMMCALL as records and handlers",
    [VMLIB_FEATURE_DEVICE_TABLES] = "descriptor tables, TSS and stacks of deliveries in holes",
};

static const char *cell(uint32_t backend, uint32_t feature)
{
    static const char *const words[] = {"refused", "approximate", "emulated", "native"};
    uint32_t support = 0, guest = 0;
    vmlib_backend_feature(backend, feature, &support);
    vmlib_backend_feature(backend, VMLIB_FEATURE_GUEST_CODE, &guest);
    if (feature == VMLIB_FEATURE_AVX2 && guest != VMLIB_SUPPORT_REFUSED) {
        return "if the host has it";
    }
    return support < 4 ? words[support] : "?";
}

static bool in_build(uint32_t backend, struct vmlib_backend_info *info)
{
    *info = (struct vmlib_backend_info)VMLIB_BACKEND_INFO_INIT;
    return vmlib_backend_query(backend, info) == 0;
}

/* Is the name one of those in the marker's list? */
static bool wanted(const char *list, const char *name)
{
    size_t n = strlen(name);
    if (strncmp(list, "all", 3) == 0) {
        return true;
    }
    for (const char *p = list; (p = strstr(p, name)) != NULL; p += n) {
        if ((p == list || p[-1] == ' ') && p[n] == ' ') {
            return true;
        }
    }
    return false;
}

static void table(FILE *out, const char *list)
{
    struct vmlib_backend_info info;
    fprintf(out, "| feature | |");
    for (uint32_t b = 1; b <= VMLIB_BACKEND_LAST; b++) {
        if (in_build(b, &info)) {
            fprintf(out, " `%s` |", info.name);
        }
    }
    fprintf(out, "\n|---|---|");
    for (uint32_t b = 1; b <= VMLIB_BACKEND_LAST; b++) {
        fprintf(out, "%s", in_build(b, &info) ? "---|" : "");
    }
    fprintf(out, "\n");
    for (uint32_t f = 0; f < VMLIB_FEATURE_COUNT; f++) {
        if (!wanted(list, vmlib_feature_name(f))) {
            continue;
        }
        fprintf(out, "| `%s` | %s |", vmlib_feature_name(f), about[f] != NULL ? about[f] : "");
        for (uint32_t b = 1; b <= VMLIB_BACKEND_LAST; b++) {
            if (in_build(b, &info)) {
                fprintf(out, " %s |", cell(b, f));
            }
        }
        fprintf(out, "\n");
    }
}

/* --- what a file says --- */

/* Column n of a table's line, without its blanks, into word. */
static void column(const char *line, unsigned n, char *word, size_t size)
{
    word[0] = 0;
    for (; n > 0 && line != NULL; n--) {
        line = strchr(line + 1, '|');
    }
    if (line == NULL || line[0] != '|') {
        return;
    }
    line++;
    size_t length = strcspn(line, "|\n");
    for (; length > 0 && (*line == ' ' || *line == '`'); line++, length--) {
        continue;
    }
    for (; length > 0 && (line[length - 1] == ' ' || line[length - 1] == '`'); length--) {
        continue;
    }
    snprintf(word, size, "%.*s", (int)length, line);
}

static const char *row(const char *text, const char *end, const char *name)
{
    char word[64];
    for (const char *line = text; line != NULL && line < end;) {
        column(line, 0, word, sizeof(word));
        if (line[0] == '|' && strcmp(word, name) == 0) {
            return line;
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return NULL;
}

static int check_backend(const char *file, const char *text, const char *end, const char *list,
                         const struct vmlib_backend_info *info)
{
    char word[64];
    const char *head = row(text, end, "feature");
    unsigned n = 2;
    int bad = 0;
    for (; head != NULL; n++) {
        column(head, n, word, sizeof(word));
        if (word[0] == 0 || strcmp(word, info->name) == 0) {
            break;
        }
    }
    if (head == NULL || word[0] == 0) {
        printf("%s: the table has no column for %s\n", file, info->name);
        return 1;
    }
    for (uint32_t f = 0; f < VMLIB_FEATURE_COUNT; f++) {
        const char *name = vmlib_feature_name(f);
        if (!wanted(list, name)) {
            continue;
        }
        const char *line = row(text, end, name);
        column(line != NULL ? line : "", n, word, sizeof(word));
        if (strcmp(word, cell(info->backend, f)) != 0) {
            printf("%s: %s, %s: the table says \"%s\", the library \"%s\"\n", file, info->name,
                   name, word, cell(info->backend, f));
            bad = 1;
        }
    }
    return bad;
}

static char *load(const char *file)
{
    FILE *f = fopen(file, "r");
    char *text = calloc(1, TEXT);
    if (f == NULL || text == NULL || fread(text, 1, TEXT - 1, f) == TEXT - 1) {
        printf("%s cannot be read\n", file);
        exit(2);
    }
    fclose(f);
    return text;
}

static int each_table(const char *file, bool update)
{
    char *text = load(file), *new = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&new, &size);
    const char *from = text;
    int bad = 0, tables = 0;
    for (const char *p; (p = strstr(from, BEGIN)) != NULL; tables++) {
        const char *list = p + strlen(BEGIN), *start = strchr(p, '\n'), *end = strstr(p, END);
        if (start == NULL || end == NULL || out == NULL) {
            printf("%s: a table does not end\n", file);
            exit(2);
        }
        struct vmlib_backend_info info;
        for (uint32_t b = 1; !update && b <= VMLIB_BACKEND_LAST; b++) {
            bad |= in_build(b, &info) && check_backend(file, start + 1, end, list, &info);
        }
        fprintf(out, "%.*s", (int)(start + 1 - from), from);
        table(out, list);
        from = end;
    }
    fprintf(out, "%s", from);
    fclose(out);
    if (update) {
        FILE *f = fopen(file, "w");
        bad = f == NULL || fputs(new, f) < 0 || fclose(f) != 0;
    }
    if (tables == 0) {
        printf("%s has no table\n", file);
        bad = 1;
    }
    free(new);
    free(text);
    return bad;
}

int main(int argc, char **argv)
{
    bool update = argc > 1 && strcmp(argv[1], "--update") == 0;
    int bad = 0;
    if (argc < 3) {
        table(stdout, "all");
        return 0;
    }
    for (int i = 2; i < argc; i++) {
        bad |= each_table(argv[i], update);
    }
    return bad;
}
