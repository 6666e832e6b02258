/* State after power-on, INIT and SIPI: SDM Vol.3A 9.1, table 9-1. */
#include <string.h>

#include "x86/sysint.h"

static void reset_segments(struct x86_cpu *cpu)
{
    for (unsigned i = 0; i < X86_NSEG; i++)
        cpu->seg[i] =
            (struct x86_seg){.limit = 0xffff, .ar = X86_AR_P | X86_AR_S | X86_AR_WR | X86_AR_A};
    cpu->seg[X86_CS].sel = 0xf000;
    cpu->seg[X86_CS].base = 0xffff0000;
    cpu->seg[X86_CS].ar |= X86_AR_CODE;
    cpu->ldtr = (struct x86_seg){.limit = 0xffff, .ar = X86_AR_P | X86_ST_LDT};
    cpu->tr = (struct x86_seg){.limit = 0xffff, .ar = X86_AR_P | X86_ST_TSS32_BUSY};
    cpu->gdtr = cpu->idtr = (struct x86_dtr){.limit = 0xffff};
}

/* What INIT leaves alone. */
static void reset_power_on(struct x86_cpu *cpu)
{
    uint64_t bsp = cpu->apic_base & 0x100;
    cpu->cr0 = X86_CR0_CD | X86_CR0_NW;
    cpu->xcr0 = X86_XCR0_X87;
    cpu->apic_base = UINT64_C(0xfee00000) | 0x800 | bsp;
    memset(&cpu->msr, 0, sizeof cpu->msr);
    cpu->msr.pat = UINT64_C(0x0007040600070406);
    cpu->msr.misc_enable = 1 | 1 << 11 | 1 << 12; /* fast strings; no BTS, no PEBS */
    cpu->msr.feature_control = 1;                 /* locked, VMX off */
    cpu->msr.bios_sign = UINT64_C(1) << 32;
    if (cpu->ops && cpu->ops->tsc)
        cpu->msr.tsc_offset = -(int64_t)cpu->ops->tsc(cpu);
    memset(cpu->v, 0, sizeof cpu->v);
    cpu->mxcsr = 0x1f80;
    memset(&cpu->fpu, 0, sizeof cpu->fpu);
    cpu->fpu.cw = 0x0040;
    cpu->fpu.tagw = 0xff; /* all zero, not empty: full tag word 5555H */
    if (!cpu->phys_mask)
        cpu->phys_mask = (UINT64_C(1) << X86_PHYS_BITS_DEFAULT) - 1;
}

void x86_reset(struct x86_cpu *cpu, bool init)
{
    if (!init)
        reset_power_on(cpu);
    memset(cpu->r, 0, sizeof cpu->r);
    cpu->r[X86_RDX] = X86_CPUID_SIGNATURE;
    cpu->rip = 0xfff0;
    x86_set_flags(cpu, X86_FL_ONE);
    reset_segments(cpu);
    cpu->cr0 = (cpu->cr0 & (X86_CR0_CD | X86_CR0_NW)) | X86_CR0_ET;
    cpu->cr2 = cpu->cr3 = cpu->cr4 = cpu->cr8 = cpu->efer = 0;
    memset(cpu->pdpte, 0, sizeof cpu->pdpte);
    memset(cpu->dr, 0, sizeof cpu->dr);
    cpu->dr6 = X86_DR6_FIXED;
    cpu->dr7 = X86_DR7_FIXED;
    cpu->cpl = 0;
    cpu->injected.valid = cpu->exc.valid = false;
    cpu->shadow = 0;
    cpu->nmi_blocked = cpu->in_smm = cpu->halted = cpu->mwait = false;
    cpu->wait_sipi = cpu->shutdown = false;
    cpu->pending_dr6 = 0;
    cpu->nanswers = cpu->next_answer = 0;
    x86_mode_refresh(cpu);
    x86_tlb_flush(cpu);
}

void x86_sipi(struct x86_cpu *cpu, uint8_t vector)
{
    cpu->seg[X86_CS].sel = (uint16_t)(vector << 8);
    cpu->seg[X86_CS].base = (uint64_t)vector << 12;
    cpu->rip = 0;
    cpu->wait_sipi = cpu->halted = false;
    x86_mode_refresh(cpu);
}
