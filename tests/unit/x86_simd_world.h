/* One CPU in 64-bit mode over 64 KiB of flat memory, for the tests of the vector instructions. */
#ifndef X86_SIMD_WORLD_H
#define X86_SIMD_WORLD_H

#include <setjmp.h>

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "x86/insn.h"
#include "x86/mem.h"
#include "x86/ops.h"
#include "x86/simd.h"
#include "x86/sys.h"

#define S_SIZE   0x10000u
#define S_CODE   0x1000u
#define S_DATA   0x8000u
#define S_RO     0xa000u /* memory that cannot be written: answered by the device */
#define S_DEVICE 0xc000u /* no memory */

struct simd_world {
    struct x86_cpu cpu;
    struct x86_tlb_entry *banks;
    uint8_t *mem;
    bool device_waits; /* the device's answers are not known yet */
    unsigned device_reads, device_writes;
};

struct simd_world *s_new(void);
void s_free(struct simd_world *w);
/* Execute one instruction given by its bytes; how it ended is in cpu.leave. */
void s_run(struct simd_world *w, const uint8_t *code, unsigned n);
#define S_RUN(w, ...)                                 \
    do {                                              \
        static const uint8_t code_[] = {__VA_ARGS__}; \
        s_run(w, code_, sizeof(code_));               \
    } while (0)
/* Expect success, or a fault with this vector. */
void s_ok(const struct simd_world *w);
void s_fault(const struct simd_world *w, unsigned vector);

#endif
