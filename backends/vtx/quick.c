/*
 * VM exits by instructions that the processor has decoded and whose operands are in general
 * registers: port accesses, CPUID, HLT, RDMSR and WRMSR of what is not in the VMCS. They are done
 * with what the run page has, without the other register groups and without lib/x86's decoder; the
 * records and answers are the engine's as ever. Privilege has been checked by the processor (SDM
 * Vol.3C 25.1.1).
 *
 * Whatever is not plain (traps behind the instruction, strings, the end of a 64 KiB stretch) is
 * left to lib/x86.
 */
#include "vtx/vtx.h"
#include "x86/flags.h"

static bool plain(const struct vtx_cpu *v)
{
    const struct vmlib_vtx_run *run = v->run;
    const struct x86_cpu *cpu = &v->e.cpu;
    uint64_t next = cpu->rip + run->instruction_length;
    return !(cpu->eflags & X86_FL_TF) && !(run->debug.dr7 & 0xff) && !((next ^ cpu->rip) >> 16);
}

/* The instruction is done. */
static bool retired(struct vtx_cpu *v)
{
    struct x86_cpu *cpu = &v->e.cpu;
    cpu->rip += v->run->instruction_length;
    cpu->shadow = 0;
    cpu->eflags &= ~X86_FL_RF;
    cpu->left--;
    v->e.skip_exec_bp = false;
    return true;
}

/* Around the call of an op. */
static void begin(struct vtx_cpu *v)
{
    v->e.cpu.cur = NULL;
    v->e.cpu.leave = X86_LEAVE_LOOKUP;
    v->e.in_insn = true;
}

static enum x86_result end(struct vtx_cpu *v, enum x86_result r)
{
    v->e.in_insn = false;
    v->e.cpu.rip_set = v->e.cpu.resync = false;
    return r;
}

/* --- ports --- */

static void put_result(struct x86_cpu *cpu, uint32_t value, unsigned size)
{
    uint64_t *rax = &cpu->r[X86_RAX];
    if (size == 4)
        *rax = value;
    else if (size == 2)
        *rax = (*rax & ~UINT64_C(0xffff)) | (uint16_t)value;
    else
        *rax = (*rax & ~UINT64_C(0xff)) | (uint8_t)value;
}

/* SDM Vol.3C table 27-5. */
bool vtx_quick_io(struct vtx_cpu *v)
{
    struct x86_cpu *cpu = &v->e.cpu;
    uint64_t q = v->run->qualification;
    unsigned size = (unsigned)(q & 7) + 1;
    bool in = q >> 3 & 1;
    if (q & 0x30 || !plain(v))
        return vtx_execute(v);
    uint32_t mask = size == 4 ? UINT32_MAX : (1u << 8 * size) - 1;
    uint32_t value = in ? 0 : (uint32_t)cpu->r[X86_RAX] & mask;
    begin(v);
    if (end(v, vmi_engine_port(&v->e, !in, (uint16_t)(q >> 16), size, &value)) != X86_OK)
        return vtx_after(v);
    if (in)
        put_result(cpu, value, size);
    return retired(v);
}

/* --- CPUID --- */

/* CR4, XCR0 and the APIC base, which some leaves show, never change without an exit. */
bool vtx_quick_cpuid(struct vtx_cpu *v)
{
    struct x86_cpu *cpu = &v->e.cpu;
    if (!plain(v))
        return vtx_execute(v);
    begin(v);
    if (end(v, vmi_engine_cpuid(cpu, (uint32_t)cpu->r[X86_RAX], (uint32_t)cpu->r[X86_RCX])) !=
        X86_OK)
        return vtx_after(v);
    cpu->r[X86_RAX] = (uint32_t)cpu->tmpq[0];
    cpu->r[X86_RBX] = (uint32_t)cpu->tmpq[1];
    cpu->r[X86_RCX] = (uint32_t)cpu->tmpq[2];
    cpu->r[X86_RDX] = (uint32_t)cpu->tmpq[3];
    return retired(v);
}

/* --- HLT --- */

bool vtx_quick_hlt(struct vtx_cpu *v)
{
    if (!plain(v))
        return vtx_execute(v);
    v->e.cpu.halted = true;
    return retired(v);
}

/* --- MSRs --- */

/* Only those that lib/x86 does not know: nearly all others live in the VMCS or are switched. */
static bool plain_msr(struct vtx_cpu *v)
{
    return plain(v) && !x86_msr_known(&v->e.cpu, (uint32_t)v->e.cpu.r[X86_RCX]);
}

bool vtx_quick_rdmsr(struct vtx_cpu *v)
{
    struct x86_cpu *cpu = &v->e.cpu;
    if (!plain_msr(v))
        return vtx_execute(v);
    begin(v);
    if (end(v, vmi_engine_rdmsr(cpu, (uint32_t)cpu->r[X86_RCX])) != X86_OK)
        return vtx_after(v);
    cpu->r[X86_RAX] = (uint32_t)cpu->tmp;
    cpu->r[X86_RDX] = cpu->tmp >> 32;
    return retired(v);
}

bool vtx_quick_wrmsr(struct vtx_cpu *v)
{
    struct x86_cpu *cpu = &v->e.cpu;
    uint64_t value = (uint32_t)cpu->r[X86_RAX] | cpu->r[X86_RDX] << 32;
    if (!plain_msr(v))
        return vtx_execute(v);
    begin(v);
    if (end(v, vmi_engine_wrmsr(cpu, (uint32_t)cpu->r[X86_RCX], value)) != X86_OK)
        return vtx_after(v);
    return retired(v);
}
