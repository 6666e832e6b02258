/* Instruction fetch: bytes at rip through the MMU, and one decoded instruction from them. */
#ifndef X86_FETCH_H
#define X86_FETCH_H

#include "x86/insn.h"
#include "x86/mem.h"

/* Host memory behind the instruction bytes at a linear address: sets the accessed bit and the exec
 * tag. X86_EXC: #PF (or #GP: not canonical) recorded. X86_OK with *host NULL: not memory. `host`
 * points to lin's byte. */
enum x86_result x86_fetch_page(struct x86_cpu *cpu, uint64_t lin, const uint8_t **host,
                               uint64_t *gpa);

struct x86_fetched {
    struct x86_insn in;
    enum x86_decode_result decode; /* OK, UD or TOO_LONG */
    uint8_t bytes[16];
    const uint8_t
        *host[2]; /* of the first byte; of the second page when the instruction crosses into it */
    uint64_t gpa[2];
    bool crosses;
};

/* Fetch and decode the instruction at cpu->rip. X86_EXC: cpu->exc recorded. X86_EXIT: code is not
 * in memory, the address is in cpu->tmp (guest-physical). */
enum x86_result x86_fetch(struct x86_cpu *cpu, struct x86_fetched *f);

#endif
