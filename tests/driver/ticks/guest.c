/* The guest: 16-bit code that measures one instruction SAMPLES times and ends the batch. */
#include "ticks.h"

#include <string.h>

const struct op op_none = {.name = "nothing"};

const struct op ops[] = {
    {"OUT", {0xe6, PORT}, 2, 0, 33, 50},
    {"IN", {0xe4, PORT}, 2, 0, 33, 50},
    {"MMIO write", {0xa2, HOLE & 0xff, HOLE >> 8}, 3, 0, 20, 70},
    {"MMIO read", {0xa0, HOLE & 0xff, HOLE >> 8}, 3, 0, 20, 70},
    {"store to ROM (memory fault)", {0xa2, ROM & 0xff, ROM >> 8}, 3, 0, 20, 70},
    {"RDMSR, handler", {0x0f, 0x32}, 2, MSR_NOBODY, 33, 50},
    {"WRMSR, handler", {0x0f, 0x30}, 2, MSR_NOBODY, 33, 50},
    {"RDMSR, no handler", {0x0f, 0x32}, 2, MSR_KNOWN, 90, 60}, /* KVM: in the kernel */
    {"CPUID", {0x66, 0x31, 0xc0, 0x0f, 0xa2}, 5, 0, 95, 0},    /* the same. xor eax, eax; cpuid */
    {"HLT, and on", {0xf4}, 1, 0, 40, 60},
};
const unsigned nops = sizeof(ops) / sizeof(ops[0]);

static size_t put(uint8_t *code, size_t at, const void *bytes, size_t n)
{
    memcpy(code + at, bytes, n);
    return at + n;
}

size_t guest_code(const struct op *op, uint8_t *code)
{
    static const uint8_t clear[] = {0x31, 0xff};                   /* xor di, di */
    static const uint8_t begin[] = {0x0f, 0x31, 0x66, 0x89, 0xc6}; /* rdtsc; mov esi, eax */
    static const uint8_t store[] = {0x0f,
                                    0x31,
                                    0x66,
                                    0x29,
                                    0xf0, /* rdtsc; sub eax, esi */
                                    0x66,
                                    0x89,
                                    0x85,
                                    RESULTS & 0xff,
                                    RESULTS >> 8, /* mov [di] */
                                    0x83,
                                    0xc7,
                                    4, /* add di, 4 */
                                    0x81,
                                    0xff,
                                    SAMPLES * 4 & 0xff,
                                    SAMPLES * 4 >> 8}; /* cmp di */
    const uint8_t index[] = {0x66,
                             0xb9,
                             (uint8_t)op->msr,
                             (uint8_t)(op->msr >> 8),
                             (uint8_t)(op->msr >> 16),
                             (uint8_t)(op->msr >> 24)}; /* mov ecx */
    uint8_t jump[] = {0x75, 0}, end[] = {0xe6, END_PORT, 0xeb, 0};
    size_t at = 0, loop;

    if (op->bytes != 0) {
        at = put(code, at, clear, sizeof(clear));
        loop = at;
        at = put(code, at, index, sizeof(index));
        at = put(code, at, begin, sizeof(begin));
        at = put(code, at, op->code, op->bytes);
        at = put(code, at, store, sizeof(store));
        jump[1] = (uint8_t)(loop - (at + sizeof(jump)));
        at = put(code, at, jump, sizeof(jump));
    }
    end[3] = (uint8_t)(0 - (at + sizeof(end)));
    return put(code, at, end, sizeof(end));
}
