/*
 * What the instruction semantics need from their owner: guest-physical memory, devices, time,
 * chance. Every function gets the CPU; cpu->host is the owner's pointer. Results are enum
 * x86_result.
 *
 * An op may call back into the host program, which may change state through the API. It then sets
 * cpu->resync (and cpu->rip_set when rip itself changed); handlers that called an op and got X86_OK
 * look at it through X86_NEXT_IO().
 */
#ifndef X86_OPS_H
#define X86_OPS_H

#include "x86/cpu.h"

enum x86_access { X86_ACC_READ, X86_ACC_WRITE, X86_ACC_EXEC };

/* One guest-physical 4 KiB page as memory. */
struct x86_page {
    uint8_t *host;   /* start of the page; NULL: not memory (device or hole) */
    bool writable;   /* false: ROM, read-only region: stores go to ops->write_phys */
    bool write_slow; /* memory, but each store must pass ops->write_phys first (code page, dirty
                        log) */
    bool exec;
};

struct x86_ops {
    /* Look a guest-physical page up. Never fails; unmapped gives host = NULL. `acc` is what it is
     * for. */
    void (*page)(struct x86_cpu *cpu, uint64_t gpa, enum x86_access acc, struct x86_page *out);

    /* Access that does not stay inside plain memory; 1..8 bytes, inside one page. read leaves the
     * value in cpu->tmp. */
    enum x86_result (*read_phys)(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, unsigned size);
    enum x86_result (*write_phys)(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, uint64_t value,
                                  unsigned size);
    /* An atomic read-modify-write is about to store to this page through its host pointer: same
     * preparation as write_phys makes for memory (dirty log, code invalidation). */
    void (*before_rmw)(struct x86_cpu *cpu, uint64_t gpa, unsigned size);

    enum x86_result (*pio_read)(struct x86_cpu *cpu, uint16_t port,
                                unsigned size); /* value in cpu->tmp */
    enum x86_result (*pio_write)(struct x86_cpu *cpu, uint16_t port, uint32_t value, unsigned size);

    /* MSRs that lib/x86 does not keep itself. X86_EXC with #GP already recorded when refused. */
    enum x86_result (*rdmsr)(struct x86_cpu *cpu, uint32_t index); /* value in cpu->tmp */
    enum x86_result (*wrmsr)(struct x86_cpu *cpu, uint32_t index, uint64_t value);
    /* While cpu->msr_watch: asked first, whatever the MSR. X86_OK: answered (reads: value in
     * cpu->tmp); X86_AGAIN: nobody took it, go on as usual. */
    enum x86_result (*msr_first)(struct x86_cpu *cpu, uint32_t index, bool write, uint64_t value);
    /* leaf, subleaf -> cpu->tmpq[0..3] = eax, ebx, ecx, edx */
    enum x86_result (*cpuid)(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf);
    /* VMCALL/VMMCALL. X86_OK: continue after the instruction. */
    enum x86_result (*hypercall)(struct x86_cpu *cpu);

    uint64_t (*tsc)(struct x86_cpu *cpu);
    uint64_t (*random)(struct x86_cpu *cpu);

    /* Guest translations changed (CR3, INVLPG ...): drop owner's derived caches, if any. The TLB
     * itself is handled by lib/x86. */
    void (*tlb_flushed)(struct x86_cpu *cpu);
    /* About to deliver a guest exception whose bit is set in cpu->exc_exits. X86_OK: deliver. */
    enum x86_result (*exception)(struct x86_cpu *cpu, const struct x86_event *ev);
    /* VM-wide lock for atomic operations that cross a page or cannot be done in place. */
    void (*split_lock)(struct x86_cpu *cpu);
    void (*split_unlock)(struct x86_cpu *cpu);
    /* A triple fault, INIT state, etc. need no op: see cpu->shutdown. */
};

/* End of a handler that has called an op which may have run host code. It goes back to
 * x86_run_uops() instead of jumping on: such handlers may let addresses of locals escape, and a
 * jump would become a call that never returns. */
#define X86_NEXT_IO(cpu, u)                \
    do {                                   \
        if (X86_UNLIKELY((cpu)->resync))   \
            return x86_leave_next(cpu, u); \
        return (u) + 1;                    \
    } while (0)
/* The same out of line, for handlers that are made by the hundred (leave.c). */
struct x86_uop *x86_next_io(struct x86_cpu *cpu, struct x86_uop *u);

#endif
