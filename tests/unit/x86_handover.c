/*
 * Handlers hand over by jumps (uop.h): a chain of thousands of the same instruction must not take
 * stack. A handler that gives the address of a local away makes the compiler emit a call instead.
 */
#include "x86_simd_world.h"

#include "x86/handlers.h"

#define LENGTH 1000

static uintptr_t depth_at_end;

static struct x86_uop *take_depth(struct x86_cpu *cpu, struct x86_uop *u)
{
    (void)cpu;
    (void)u;
    depth_at_end = (uintptr_t)__builtin_frame_address(0);
    return NULL;
}

struct form {
    const char *name;
    uint8_t size;
    uint8_t code[11];
    uint16_t crossing; /* memory operand across a page */
};

/* rsi (and rdi) point to memory; the slow paths are what gives addresses away. */
static const struct form forms[] = {
    {"add [rsi], eax", 2, {0x01, 0x06}, 1},
    {"lock add [rsi], eax", 3, {0xf0, 0x01, 0x06}, 0},
    {"lock inc [rsi]", 3, {0xf0, 0xff, 0x06}, 0},
    {"shl [rsi], 1", 2, {0xd1, 0x26}, 1},
    {"xchg [rsi], eax", 2, {0x87, 0x06}, 0},
    {"xchg [rsi], eax", 2, {0x87, 0x06}, 1},
    {"lock cmpxchg [rsi], ecx", 4, {0xf0, 0x0f, 0xb1, 0x0e}, 0},
    {"lock xadd [rsi], ecx", 4, {0xf0, 0x0f, 0xc1, 0x0e}, 0},
    {"lock cmpxchg8b [rsi]", 4, {0xf0, 0x0f, 0xc7, 0x0e}, 0},
    {"lock cmpxchg16b [rsi]", 5, {0xf0, 0x48, 0x0f, 0xc7, 0x0e}, 0},
    {"lock bts [rsi], edx", 4, {0xf0, 0x0f, 0xab, 0x16}, 0},
    {"bts [rsi], edx", 3, {0x0f, 0xab, 0x16}, 1},
    {"mov eax, [rsi]", 2, {0x8b, 0x06}, 1},
    {"mov [rsi], eax", 2, {0x89, 0x06}, 1},
    {"movups xmm0, [rsi]", 3, {0x0f, 0x10, 0x06}, 1},
    {"movups [rsi], xmm0", 3, {0x0f, 0x11, 0x06}, 1},
    {"addsd xmm0, [rsi]", 4, {0xf2, 0x0f, 0x58, 0x06}, 1},
    {"maskmovdqu xmm0, xmm1", 4, {0x66, 0x0f, 0xf7, 0xc1}, 1},
    {"pinsrw xmm0, [rsi], 1", 5, {0x66, 0x0f, 0xc4, 0x06, 0x01}, 1},
    {"pextrd [rsi], xmm0, 1", 6, {0x66, 0x0f, 0x3a, 0x16, 0x06, 0x01}, 1},
    {"pcmpistri xmm0, xmm1, 0", 6, {0x66, 0x0f, 0x3a, 0x63, 0xc1, 0x00}, 0},
    {"fld qword [rsi]", 2, {0xdd, 0x06}, 1},
    {"stosd", 1, {0xab}, 0},
    {"push rsi", 1, {0x56}, 0},
};

static void chains_take_no_stack(void **state)
{
    (void)state;
    if (!X86_THREADED) {
        print_message("this build runs handlers from a loop\n");
        skip();
    }
    struct simd_world *w = s_new();
    struct x86_cpu *cpu = &w->cpu;
    static struct x86_uop u[LENGTH + 1];
    for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        const struct form *f = &forms[i];
        struct x86_insn in;
        if (x86_decode(f->code, f->size, cpu->mode, cpu->feat, &in) != X86_DECODE_OK) {
            print_message("%s: not offered on this host\n", f->name);
            continue;
        }
        for (unsigned k = 0; k < LENGTH; k++)
            x86_lower(cpu, &in, 0, &u[k]);
        u[LENGTH] = (struct x86_uop){.fn = take_depth};
        cpu->r[X86_RSI] = cpu->r[X86_RDI] = f->crossing ? S_DATA + 0x1000 - 3 : S_DATA;
        cpu->r[X86_RSP] = S_DATA + 0x4000 - 0x200;
        memset(&cpu->v[1], 0xff, sizeof(cpu->v[1]));
        depth_at_end = 0;
        x86_run_uops(cpu, u);
        x86_fp_sync(cpu);
        if (!depth_at_end)
            fail_msg("%s: did not run through, leave %u vector %u", f->name, cpu->leave,
                     cpu->exc.vector);
        uintptr_t here = (uintptr_t)__builtin_frame_address(0);
        if (here - depth_at_end > 4096)
            fail_msg("%s: %lu bytes of stack after %u instructions", f->name,
                     (unsigned long)(here - depth_at_end), LENGTH);
    }
    s_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(chains_take_no_stack)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
