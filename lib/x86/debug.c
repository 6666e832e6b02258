/* Breakpoint registers: SDM Vol.3B 17.2. The host program has data breakpoints of its own, unseen
 * by the guest. */
#include "x86/sysint.h"

enum bp_kind { BP_EXEC = 0, BP_WRITE = 1, BP_IO = 2, BP_ACCESS = 3 };

struct bp_set {
    const uint64_t *dr;
    uint64_t dr7;
};

/* Bytes a breakpoint covers; its address is rounded down to a multiple. */
static unsigned length_of(uint64_t dr7, unsigned i)
{
    static const uint8_t bytes[4] = {1, 2, 8, 4};
    return bytes[dr7 >> (18 + 4 * i) & 3];
}

static unsigned matches(const struct bp_set *set, unsigned kinds, uint64_t addr, unsigned size)
{
    unsigned hit = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned kind = set->dr7 >> (16 + 4 * i) & 3;
        if (!(set->dr7 >> (2 * i) & 3) || !(kinds >> kind & 1))
            continue;
        unsigned len = kind == BP_EXEC ? 1 : length_of(set->dr7, i);
        uint64_t first = set->dr[i] & ~(uint64_t)(len - 1);
        if (addr <= first + len - 1 && first <= addr + size - 1)
            hit |= 1u << i;
    }
    return hit;
}

uint64_t x86_bp_exec(const struct x86_cpu *cpu, uint64_t lin)
{
    const struct bp_set guest = {cpu->dr, cpu->dr7};
    return matches(&guest, 1u << BP_EXEC, lin, 1);
}

/* Matches are reported after the instruction: the block must end there. */
static void collect(struct x86_cpu *cpu, unsigned kinds, uint64_t addr, unsigned size)
{
    const struct bp_set guest = {cpu->dr, cpu->dr7}, host = {cpu->host_dr, cpu->host_dr7};
    unsigned g = matches(&guest, kinds, addr, size), h = matches(&host, kinds, addr, size);
    if (!(g | h))
        return;
    cpu->pending_dr6 |= g;
    cpu->host_dr6 |= h;
    cpu->resync = true;
    __atomic_store_n(&cpu->poll, 1, __ATOMIC_RELAXED);
}

void x86_bp_data(struct x86_cpu *cpu, uint64_t lin, unsigned size, bool write)
{
    collect(cpu, 1u << BP_ACCESS | (write ? 1u << BP_WRITE : 0), lin, size);
}

/* R/W = 10B means I/O only with CR4.DE; without it, nothing defined. */
void x86_bp_io(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
    if (cpu->cr4 & X86_CR4_DE)
        collect(cpu, 1u << BP_IO, port, size);
}
