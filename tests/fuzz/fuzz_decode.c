/* Fuzz target: the decoder and the lowering to uops, in every mode. */
#include <stdlib.h>
#include <string.h>

#include "x86/insn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned modes[] = {X86_MODE_64 | X86_MODE_LM, X86_MODE_32, X86_MODE_16,
                                     X86_MODE_16 | X86_MODE_REAL, X86_MODE_32 | X86_MODE_V86};
    static struct x86_cpu cpu;
    for (size_t at = 0; at < size; at += 4)
        for (unsigned m = 0; m < sizeof(modes) / sizeof(modes[0]); m++) {
            /* A copy of exactly the bytes offered: one byte more is an error that ASan sees. */
            unsigned n = size - at < 15 ? (unsigned)(size - at) : 15;
            uint64_t features[4] = {0, 0, 0, 0};
            uint8_t *copy = malloc(n);
            struct x86_insn in;
            struct x86_uop u;
            if (!copy)
                return 0;
            memcpy(copy, data + at, n);
            memset(features, data[at] & 1 ? 0xff : data[at], sizeof(features));
            enum x86_decode_result r = x86_decode(copy, n, modes[m], features, &in);
            free(copy);
            check(in.length <= 15 && in.length <= n);
            check(r != X86_DECODE_OK ||
                  (in.row != X86_I_NONE && in.row < X86_NROWS && in.length > 0));
            check(r == X86_DECODE_OK || in.row == X86_I_NONE);
            cpu.mode = (uint16_t)modes[m];
            x86_lower(&cpu, &in, data[at] * 8u, &u);
            check(u.fn != NULL);
        }
    return 0;
}
