/* Runs a fuzz target over files, and over mutations of each, so that the corpus counts in every
 * test run. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define MAX_BYTES 65536u
#define MUTATIONS 300u

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* An allocation of exactly the input's size: sanitizers see the first byte behind it. */
static void once(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);

    if (!copy)
        abort();
    memcpy(copy, data, bytes);
    LLVMFuzzerTestOneInput(copy, bytes);
    free(copy);
}

static void mutate(const uint8_t *data, size_t bytes)
{
    static const uint8_t hurts[] = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff};
    static uint8_t copy[MAX_BYTES];
    uint32_t seed = (uint32_t)bytes;
    unsigned n, k;

    for (n = 0; n < MUTATIONS && bytes; n++) {
        size_t length = n % 4 ? bytes : next(&seed) % bytes;

        memcpy(copy, data, bytes);
        for (k = 0; k < 1 + n % 5; k++)
            copy[next(&seed) % bytes] =
                n & 1 ? hurts[next(&seed) % sizeof hurts] : (uint8_t)next(&seed);
        once(copy, length);
    }
}

static int replay(const char *name)
{
    static uint8_t data[MAX_BYTES];
    FILE *file = fopen(name, "rb");
    size_t bytes;

    if (!file) {
        perror(name);
        return 1;
    }
    bytes = fread(data, 1, sizeof data, file);
    fclose(file);
    once(data, bytes);
    mutate(data, bytes);
    return 0;
}

int main(int argc, char **argv)
{
    int n, failed = 0;

    for (n = 1; n < argc; n++)
        failed |= replay(argv[n]);
    printf("%d files, each with %u mutations\n", argc - 1, MUTATIONS);
    return failed || argc == 1;
}
