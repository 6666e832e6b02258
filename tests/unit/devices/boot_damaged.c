/*
 * Loaders and damaged files: every length of every image, and every byte of its headers set to
 * values that hurt. Whatever happens, it is an error with a text or a vCPU that is ready;
 * sanitizers watch the rest.
 */
#include "image.h"

static size_t make(unsigned kind)
{
    switch (kind) {
    case 0:
        return make_elf(false, false);
    case 1:
        return make_elf(true, true);
    case 2:
        return make_multiboot(false);
    case 3:
        return make_multiboot(true);
    case 4:
        return make_linux(true);
    default:
        return make_linux(false);
    }
}

static void try(const uint8_t *file, size_t bytes, uint32_t format)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;
    int error;

    p.kernel = file;
    p.kernel_bytes = bytes;
    p.format = format;
    p.initrd = "initrd";
    p.initrd_bytes = 6;
    p.cmdline = "words";
    error = load(&p);
    assert_true(error <= 0 && error >= VMLIB_E_LAST);
    if (error)
        assert_true(vmlib_devices_last_error()[0]);
}

/* The file at the end of an allocation of its size, so that a read behind it is seen. */
static void truncated(void **state)
{
    unsigned kind;
    size_t n, bytes;

    (void)state;
    for (kind = 0; kind < 6; kind++) {
        bytes = make(kind);
        for (n = 1; n <= bytes; n += n < 0x900 ? 1 : 61) {
            uint8_t *exact = malloc(n);

            assert_non_null(exact);
            memcpy(exact, image, n);
            try(exact, n, VMLIB_BOOT_AUTO);
            try(exact, n, n % VMLIB_BOOT_FORMATS);
            free(exact);
        }
    }
}

static void mutated(void **state)
{
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    unsigned kind, v;
    size_t n, bytes;

    (void)state;
    for (kind = 0; kind < 6; kind++) {
        bytes = make(kind);
        for (n = 0; n < 0x820; n++) {
            uint8_t old = image[n];

            if (!old && kind < 2 && n > 0x100 && n < 0x7f0)
                continue; /* padding */
            for (v = 0; v < sizeof values; v++) {
                image[n] = values[v];
                if (image[n] != old)
                    try(image, bytes, VMLIB_BOOT_AUTO);
            }
            image[n] = old;
        }
    }
}

/* Whole words: sizes and addresses near the limits. */
static void mutated_words(void **state)
{
    static const uint64_t values[] = {
        0,           1,           0x7fffffff,          0x80000000u,
        0xfffffff0u, 0xffffffffu, 0x7fffffffffffffffu, 0xfffffffffffff000u,
        UINT64_MAX};
    unsigned kind, v;
    size_t n, bytes;

    (void)state;
    for (kind = 0; kind < 6; kind++) {
        bytes = make(kind);
        for (n = 0; n < 0x820; n += 4) {
            uint8_t old[8];

            memcpy(old, image + n, 8);
            for (v = 0; v < sizeof values / sizeof *values; v++) {
                vmi_put64(image + n, values[v]);
                if (kind == 2 || kind == 3)
                    poke_header(1, vmi_get32(image + header_at + 4));
                try(image, bytes, VMLIB_BOOT_AUTO);
                vmi_put32(image + n + 4, vmi_get32(old + 4));
                try(image, bytes, VMLIB_BOOT_AUTO);
            }
            make(kind);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(truncated, setup, teardown),
        cmocka_unit_test_setup_teardown(mutated, setup, teardown),
        cmocka_unit_test_setup_teardown(mutated_words, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
