/*
 * The decoder against Zydis, an independent one: for random and for mutated instructions, in all
 * modes, both must agree on whether there is an instruction and on its length.
 *
 *   decode_zydis [--seed N] [--cases N] [--report]     --report counts disagreements by mnemonic
 */
#include <Zydis/Zydis.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "diff/diff.h"
#include "x86/sys.h"

static const struct {
    const char *name;
    unsigned ours, encode; /* X86_MODE_*, enum diff_mode */
    ZydisMachineMode theirs;
    ZydisStackWidth stack;
} modes[] = {
    {"64-bit", X86_MODE_64 | X86_MODE_LM, DIFF_64, ZYDIS_MACHINE_MODE_LONG_64,
     ZYDIS_STACK_WIDTH_64},
    {"32-bit", X86_MODE_32, DIFF_32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
    {"16-bit", X86_MODE_16, DIFF_16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
    {"real", X86_MODE_16 | X86_MODE_REAL, DIFF_16, ZYDIS_MACHINE_MODE_REAL_16,
     ZYDIS_STACK_WIDTH_16},
};
#define NMODES (sizeof(modes) / sizeof(modes[0]))

/* What Zydis knows and the CPU model does not offer, by ISA extension or set. */
static bool not_offered(const ZydisDecodedInstruction *z)
{
    static const char *const sets[] = {
        "AMD3DNOW",   "AVX512",   "XOP",
        "FMA4",       "TBM",      "SSE4A",
        "VTX",        "SVM",      "SMX",
        "SGX",        "RTM",      "TSX",
        "MPX",        "CET",      "PKU",
        "AMX",        "UINTR",    "KNC",
        "KNCE",       "CLDEMOTE", "ENQCMD",
        "WAITPKG",    "PTWRITE",  "PT",
        "MONITOR",    "PCONFIG",  "MOVDIR",
        "SERIALIZE",  "TDX",      "KEYLOCKER",
        "HRESET",     "AVX_VNNI", "AVX2GATHER_",
        "CLZERO",     "MCOMMIT",  "RDPRU",
        "SNP",        "INVLPGB",  "MONITORX",
        "LWP",        "PADLOCK",  "PREFETCHWT1",
        "WBNOINVD",   "RAO_INT",  "CMPCCXADD",
        "MSRLIST",    "WRMSRNS",  "FRED",
        "LKGS",       "AVX_IFMA", "AVX_NE_CONVERT",
        "SHA512",     "SM3",      "SM4",
        "PREFETCHI",  "ICACHE",   "VMFUNC",
        "TSX_LDTRK",  "GFNI",     "VAES",
        "VPCLMULQDQ", "AVXAES",   "CLWB",
        "XSAVES",     "RDPID",    "PBNDKB",
        "PAUSE",
    };
    const char *set = ZydisISASetGetString(z->meta.isa_set),
               *ext = ZydisISAExtGetString(z->meta.isa_ext);
    for (unsigned i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
        if (strstr(set, sets[i]) || strcmp(ext, sets[i]) == 0)
            return true;
    return z->encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW ||
           z->encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
           z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
           z->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX;
}

/* Zydis takes part of an instruction's #UD conditions into account; ours stand in the handlers, or
 * the instruction raises another exception first. The differential test covers them. */
static bool refused_later(unsigned mode, const struct x86_insn *in)
{
    const struct x86_row *row = &x86_rows[in->row];
    uint8_t o1 = row->op[0], o2 = row->op[1];
    if (row->map == X86_V38 && in->opcode >= 0x90 && in->opcode <= 0x93)
        return true; /* gathers: distinct registers, SIB byte */
    if (o1 == X86_O_Sw || o2 == X86_O_Sw || o1 == X86_O_Cy || o2 == X86_O_Cy || o1 == X86_O_Dy ||
        o2 == X86_O_Dy)
        return true; /* registers that do not exist */
    if (row->map == X86_M0F && (in->opcode == 0x1a || in->opcode == 0x1b))
        return true; /* NOP where MPX is not offered */
    return (modes[mode].ours & X86_MODE_REAL) &&
           (in->opcode == 0x34 || in->opcode == 0x35); /* SYSENTER: #GP */
}

/* Intel's CPUs, as which the model presents itself: no SYSCALL outside 64-bit mode; RSM is #UD
 * outside SMM. */
static bool refused_here(unsigned mode, const ZydisDecodedInstruction *z)
{
    bool fast = z->mnemonic == ZYDIS_MNEMONIC_SYSCALL || z->mnemonic == ZYDIS_MNEMONIC_SYSRET;
    return (fast && !(modes[mode].ours & X86_MODE_64)) || z->mnemonic == ZYDIS_MNEMONIC_RSM;
}

struct tally {
    const char *name;
    unsigned n;
};
static struct tally tallies[2][2048];

static void count(unsigned side, const char *name)
{
    struct tally *t = tallies[side];
    while (t->name && strcmp(t->name, name) != 0)
        t++;
    t->name = name;
    t->n++;
}

static unsigned random_bytes(struct diff_rng *r, unsigned mode, uint8_t *b)
{
    static const uint8_t first[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x64,
                                    0x48, 0x41, 0x0f, 0x0f, 0xc4, 0xc5};
    if (diff_below(r, 2)) { /* an instruction, with a byte changed */
        struct diff_encoding e;
        diff_encode(r, &x86_rows[1 + diff_below(r, X86_NROWS - 1)], modes[mode].encode, &e);
        memcpy(b, e.b, 16);
        if (diff_below(r, 2))
            b[diff_below(r, 6)] ^= (uint8_t)(1u << diff_below(r, 8));
        return 16;
    }
    for (unsigned i = 0; i < 16; i++)
        b[i] =
            i < 4 && diff_below(r, 2) ? first[diff_below(r, sizeof(first))] : (uint8_t)diff_next(r);
    return 16;
}

static bool disagree(const uint8_t *b, unsigned mode, const uint64_t *features, ZydisDecoder *z,
                     bool report)
{
    struct x86_insn in;
    ZydisDecodedInstruction theirs;
    bool ours = x86_decode(b, 15, modes[mode].ours, features, &in) == X86_DECODE_OK;
    bool valid = ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(z, NULL, b, 15, &theirs));
    if (valid && not_offered(&theirs))
        return false;
    if ((ours && !valid && refused_later(mode, &in)) ||
        (valid && !ours && refused_here(mode, &theirs)))
        return false;
    if (ours == valid && (!ours || in.length == theirs.length))
        return false;
    const char *name = valid ? ZydisMnemonicGetString(theirs.mnemonic) : x86_rows[in.row].name;
    count(valid, name);
    if (report)
        return true;
    printf("%s:", modes[mode].name);
    for (unsigned i = 0; i < 15; i++)
        printf(" %02x", b[i]);
    printf("  vmlib %s %u, Zydis %s %u\n", ours ? x86_rows[in.row].name : "(bad)", in.length,
           valid ? ZydisMnemonicGetString(theirs.mnemonic) : "(bad)", valid ? theirs.length : 0);
    return true;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, n = 1000000, failed = 0;
    bool report = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--report") == 0)
            report = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--cases") == 0 && i + 1 < argc)
            n = strtoull(argv[++i], NULL, 0);
    }
    struct x86_cpuid_table table;
    uint64_t host[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}, features[4];
    x86_cpuid_default(
        &(struct x86_cpuid_config){
            .ncpus = 1, .tsc_khz = 1000000, .phys_bits = 40, .host_feat = host},
        &table);
    x86_cpuid_features(&table, features);
    ZydisDecoder z[NMODES];
    for (unsigned m = 0; m < NMODES; m++)
        ZydisDecoderInit(&z[m], modes[m].theirs, modes[m].stack);
    struct diff_rng r = {seed};
    for (uint64_t i = 0; i < n && (report || failed < 40); i++) {
        uint8_t b[16];
        unsigned m = diff_below(&r, NMODES);
        random_bytes(&r, m, b);
        failed += disagree(b, m, features, &z[m], report);
    }
    for (unsigned side = 0; report && side < 2; side++)
        for (struct tally *t = tallies[side]; t->name; t++)
            printf("%s: %s %u\n", side ? "Zydis only or length" : "vmlib only", t->name, t->n);
    printf("seed %" PRIu64 ": %" PRIu64 " cases, %" PRIu64 " disagreements\n", seed, n, failed);
    return failed != 0;
}
