/*
 * System state: modes, segments, control registers, exceptions. Used by the instruction handlers
 * and by whoever sets state from outside (run loop, API).
 */
#ifndef X86_SYS_H
#define X86_SYS_H

#include "x86/cpu.h"
#include "x86/uop.h"

/* --- reset.c --- */
void x86_reset(struct x86_cpu *cpu,
               bool init); /* power-on, or INIT# (keeps MSRs, caches, FPU: SDM Vol.3A 9.1) */
void x86_sipi(struct x86_cpu *cpu, uint8_t vector);

/* --- mode.c: after any change to CR0, CR3(PCID), CR4, EFER, XCR0, RFLAGS.VM, CS, SS, CPL, DR7 from
 * outside --- */
void x86_mode_refresh(
    struct x86_cpu *cpu); /* mode word, lin_mask, paging, bank, breakpoint flags */
void x86_seg_refresh(struct x86_cpu *cpu, struct x86_seg *s); /* rd_fast, wr_fast */
void x86_set_cpl(struct x86_cpu *cpu, unsigned cpl);

/* --- seg.c --- */
/* Load a data segment register (MOV/POP Sreg, LDS..., task switch) in the current mode with all
 * checks. */
enum x86_result x86_load_seg(struct x86_cpu *cpu, unsigned seg, uint16_t sel);
/* Descriptor for a selector: reads GDT/LDT. X86_EXC: fault recorded with `vector` and the selector.
 */
struct x86_desc {
    uint64_t base;
    uint32_t limit, ar; /* as struct x86_seg */
    uint64_t addr;      /* linear address of the descriptor */
    uint32_t lo, hi;
};
enum x86_result x86_read_desc(struct x86_cpu *cpu, uint16_t sel, unsigned vector,
                              struct x86_desc *d);

/* --- interrupt.c --- */
/* `ev` may be &cpu->injected, which is then used up (its valid bit cleared; set again if the event
 * must be tried again later). X86_AGAIN: the host took the exception for itself, go on at cpu->rip.
 * Deliver an event through the IDT (or IVT), with double-fault and shutdown rules and task gates.
 * On return the CPU stands at the handler's first instruction (X86_OK), or cpu->shutdown is set
 * (X86_EXIT, leave SHUTDOWN), or the host wants to see it first (X86_EXIT). */
enum x86_result x86_deliver(struct x86_cpu *cpu, const struct x86_event *ev);

/* --- control.c --- */
enum x86_result x86_write_cr0(struct x86_cpu *cpu, uint64_t v);
enum x86_result x86_write_cr3(struct x86_cpu *cpu, uint64_t v);
enum x86_result x86_write_cr4(struct x86_cpu *cpu, uint64_t v);
enum x86_result x86_write_cr8(struct x86_cpu *cpu, uint64_t v);
enum x86_result x86_write_efer(struct x86_cpu *cpu, uint64_t v);
enum x86_result x86_write_xcr0(struct x86_cpu *cpu, uint64_t v);
enum x86_result x86_load_pdptes(struct x86_cpu *cpu, uint64_t cr3);

/* --- msr.c --- value in cpu->tmp; unknown indices go to ops */
bool x86_msr_known(struct x86_cpu *cpu, uint32_t index);
enum x86_result x86_rdmsr(struct x86_cpu *cpu, uint32_t index);
enum x86_result x86_wrmsr(struct x86_cpu *cpu, uint32_t index, uint64_t value);

/* --- cpuid.c --- */
struct x86_cpuid_leaf {
    uint32_t leaf, subleaf; /* subleaf ~0: any */
    uint32_t eax, ebx, ecx, edx;
};
#define X86_CPUID_SIGNATURE \
    0x000306c3u /* family 6, model 3CH, stepping 3; in EDX after reset too */
#define X86_PHYS_BITS_DEFAULT 39
#define X86_CPUID_MAX_LEAVES  64
struct x86_cpuid_table {
    uint32_t count;
    struct x86_cpuid_leaf leaf[X86_CPUID_MAX_LEAVES];
};
struct x86_cpuid_config {
    uint32_t apic_id, ncpus, tsc_khz;
    unsigned phys_bits;
    const uint64_t *host_feat; /* features vector thunks may use on this host (x86_host_features) */
};
/* The default CPU model: everything lib/x86 implements and the host can carry out. */
void x86_cpuid_default(const struct x86_cpuid_config *cfg, struct x86_cpuid_table *t);
/* The table the guest sees -> feature bits; fields that follow state (OSXSAVE, APIC) are filled in
 * by lookup. */
void x86_cpuid_features(const struct x86_cpuid_table *t, uint64_t feat[4]);
void x86_cpuid_lookup(const struct x86_cpu *cpu, const struct x86_cpuid_table *t, uint32_t leaf,
                      uint32_t subleaf, uint32_t out[4]);
/* What this host's CPU can execute for us (enum x86_feature bits); empty on other architectures. */
void x86_host_features(uint64_t feat[4]);

/* --- debug.c --- */
/* Breakpoint matches (SDM Vol.3B 17.2). Instruction: returns the DR6 bits to report. */
uint64_t x86_bp_exec(const struct x86_cpu *cpu, uint64_t lin);
/* Data or I/O access: collects bits in cpu->pending_dr6 (reported as a trap after the instruction).
 */
void x86_bp_data(struct x86_cpu *cpu, uint64_t lin, unsigned size, bool write);
void x86_bp_io(struct x86_cpu *cpu, uint16_t port, unsigned size);

/* --- step.c --- decode at cpu->rip and execute exactly one instruction (one element of a REP
 * string at a time is not split: REP runs until its next interruption point). cpu->leave says how
 * it ended; on success cpu->rip is the next instruction. Does not look at pending events. */
void x86_step(struct x86_cpu *cpu);

/* --- simd_stubs_*.c --- Vector floating point runs with the guest's MXCSR in the host's register,
 * where the flags stay (reading it costs more than the operation). To be called when x86_run_uops()
 * has returned, and before code of the host program runs: brings cpu->mxcsr up to date and puts the
 * host's value back. */
void x86_fp_sync_slow(struct x86_cpu *cpu);
static inline void x86_fp_sync(struct x86_cpu *cpu)
{
    if (cpu->fp_live)
        x86_fp_sync_slow(cpu);
}

/* FPU/XSAVE images for the API (xsave.c): standard format, XCR0-enabled components */
void x86_fxsave_image(const struct x86_cpu *cpu, uint8_t img[512]);
void x86_fxrstor_image(struct x86_cpu *cpu, const uint8_t img[512]);
void x86_fpu_reset(struct x86_cpu *cpu); /* FNINIT state */

#endif
