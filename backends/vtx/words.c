/*
 * See words.h.
 */
#include "words.h"

#include <stdio.h>

static const char *const word_names[] = {"pin-based", "primary processor-based",
                                         "secondary processor-based", "VM-exit", "VM-entry"};

void vtx_words_unavailable(const struct vmlib_vtx_info *info, char *text, size_t bytes)
{
    static const char *const texts[VMLIB_VTX_UNAVAILABLE_LAST + 1] = {
        [VMLIB_VTX_OK] = "VT-x can be used",
        [VMLIB_VTX_NO_VMX] = "the processor has no VT-x (CPUID.1:ECX.VMX is 0): not an Intel "
                             "processor, or this is a virtual machine without nested VT-x",
        [VMLIB_VTX_FIRMWARE_OFF] = "VT-x is switched off and locked by the firmware: enable Intel "
                                   "Virtualization Technology in the BIOS setup and power-cycle",
        [VMLIB_VTX_OWNED] = "another hypervisor owns VT-x (CR4.VMXE is set): stop its virtual "
                            "machines; for KVM also `modprobe -r kvm_intel`, or boot with "
                            "kvm.enable_virt_at_load=0 (Linux 6.12 and later)",
        [VMLIB_VTX_NO_EPT] = "the processor's VT-x has no usable EPT (4 levels, write-back)",
        [VMLIB_VTX_VMXON_FAILED] = "VMXON failed on a processor",
        [VMLIB_VTX_NO_CPU_STATE] = "the processor has no FXSAVE",
        [VMLIB_VTX_SHUTTING_DOWN] = "the machine is shutting down",
        [VMLIB_VTX_HOST_FRED] = "the host's kernel takes interrupts by FRED, which the driver does "
                                "not know yet: boot with fred=off",
    };
    uint32_t word = info->missing >> 8;

    if (info->unavailable == VMLIB_VTX_MISSING_CONTROL)
        snprintf(text, bytes, "the processor lacks a required %s control, bit %u (SDM Vol.3C 24.6)",
                 word < 5 ? word_names[word] : "VMX", info->missing & 0xff);
    else if (info->unavailable <= VMLIB_VTX_UNAVAILABLE_LAST && texts[info->unavailable])
        snprintf(text, bytes, "%s", texts[info->unavailable]);
    else
        snprintf(text, bytes, "the driver gives reason %u, unknown to this library",
                 info->unavailable);
}

const char *vtx_words_instruction_error(uint32_t number)
{
    static const char *const texts[] = {
        [0] = "VMX has been switched off",
        [4] = "VMLAUNCH with a VMCS that is not clear",
        [5] = "VMRESUME with a VMCS that is not launched",
        [6] = "VMRESUME after VMXOFF",
        [7] = "VM entry with invalid control fields",
        [8] = "VM entry with invalid host-state fields",
        [12] = "unsupported VMCS component",
        [13] = "write to a read-only VMCS component",
        [20] = "VMCALL with invalid exit-control fields",
        [26] = "VM entry with events blocked by MOV SS",
        [28] = "invalid operand to INVEPT or INVVPID",
    };

    if (number < sizeof(texts) / sizeof(texts[0]) && texts[number])
        return texts[number];
    return "VM-instruction error (SDM Vol.3C 30.4)";
}

const char *vtx_words_invalid(uint32_t invalid)
{
    static const char *const texts[] = {
        [VMLIB_VTX_BAD_CONTROLS] = "an execution control that the driver does not offer",
        [VMLIB_VTX_BAD_CR0] = "CR0 has a bit that VMX does not allow",
        [VMLIB_VTX_BAD_CR4] = "CR4 has a bit that the driver does not switch",
        [VMLIB_VTX_BAD_EFER] = "EFER has an unknown bit, or LMA without paging, PAE and LME",
        [VMLIB_VTX_BAD_XCR0] = "XCR0 is not a combination that the host has",
        [VMLIB_VTX_BAD_MSR] = "an MSR holds an address that is not canonical, or high bits",
        [VMLIB_VTX_BAD_DEBUG] = "DEBUGCTL has more than BTF",
        [VMLIB_VTX_BAD_FPU] = "XRSTOR refuses the vector state",
    };

    if (invalid < sizeof(texts) / sizeof(texts[0]) && texts[invalid])
        return texts[invalid];
    return "refused by the driver";
}

const char *vtx_words_reason(uint32_t reason)
{
    static const char *const names[] = {
        "exception or NMI",
        "external interrupt",
        "triple fault",
        "INIT",
        "SIPI",
        "I/O SMI",
        "SMI",
        "interrupt window",
        "NMI window",
        "task switch",
        "CPUID",
        "GETSEC",
        "HLT",
        "INVD",
        "INVLPG",
        "RDPMC",
        "RDTSC",
        "RSM",
        "VMCALL",
        "VMCLEAR",
        "VMLAUNCH",
        "VMPTRLD",
        "VMPTRST",
        "VMREAD",
        "VMRESUME",
        "VMWRITE",
        "VMXOFF",
        "VMXON",
        "control register",
        "MOV DR",
        "I/O",
        "RDMSR",
        "WRMSR",
        "invalid guest state",
        "MSR loading",
        "",
        "MWAIT",
        "monitor trap",
        "",
        "MONITOR",
        "PAUSE",
        "machine check at entry",
        "",
        "TPR below threshold",
        "APIC access",
        "EOI",
        "GDTR or IDTR",
        "LDTR or TR",
        "EPT violation",
        "EPT misconfiguration",
        "INVEPT",
        "RDTSCP",
        "preemption timer",
        "INVVPID",
        "WBINVD",
        "XSETBV",
        "APIC write",
        "RDRAND",
        "INVPCID",
        "VMFUNC",
        "ENCLS",
        "RDSEED",
        "page modification log full",
        "XSAVES",
        "XRSTORS",
    };

    reason &= 0xffff;
    return reason < sizeof(names) / sizeof(names[0]) && names[reason][0] ? names[reason]
                                                                         : "unknown exit";
}
