/* Hosts without x86 vector instructions: no stubs. x86_host_features() is empty there, so that no
 * row that would ask for one is ever chosen. */
#include "x86/simd.h"
#include "x86/sys.h"

static uint64_t none(void *dst, const void *a, const void *b, uintptr_t c)
{
    (void)dst;
    (void)a;
    (void)b;
    (void)c;
    return 0;
}

x86_stub *const x86_stubs[X86_NROWS] = {none};

uint64_t x86_host_fp(x86_stub *stub, void *dst, const void *a, const void *b, uintptr_t c,
                     uint32_t *mxcsr)
{
    (void)mxcsr;
    return stub(dst, a, b, c);
}

bool x86_fp_enter(struct x86_cpu *cpu)
{
    (void)cpu;
    return false;
}

void x86_fp_sync_slow(struct x86_cpu *cpu)
{
    cpu->fp_live = false;
}
