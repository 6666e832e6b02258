/* Layout of the records of the public API, and all its constants. Written by bindings/gen/generate
 * from the public headers: do not edit. */
/* clang-format off */
#ifndef VMLIB_BINDING_RECORDS_H
#define VMLIB_BINDING_RECORDS_H

#include <stddef.h>
#include <stdint.h>

#include <vmlib/version.h>
#include <vmlib/error.h>
#include <vmlib/log.h>
#include <vmlib/caps.h>
#include <vmlib/vm.h>
#include <vmlib/memory.h>
#include <vmlib/exit.h>
#include <vmlib/io.h>
#include <vmlib/state.h>
#include <vmlib/vcpu.h>
#include <vmlib/vmlib.h>
#include <vmlib/boot.h>
#include <vmlib/devices/machine.h>
#include <vmlib/mock.h>

enum record_kind {
    RECORD_U8, RECORD_U16, RECORD_U32, RECORD_U64, RECORD_I32,
    RECORD_BYTES, /* uint8_t array */
    RECORD_TEXT,  /* char array, terminated */
    RECORD_STRUCT
};

struct record_type;
struct record_field {
    const char *name;
    uint32_t offset;
    uint16_t kind;
    uint16_t count; /* array length, 0: not an array */
    const struct record_type *type; /* RECORD_STRUCT */
    const char *values; /* enumeration of the value, or NULL */
};

/* One struct. `sized`: it begins with its own size. */
struct record_type {
    const char *name;
    uint32_t bytes;
    uint16_t sized;
    uint16_t count;
    const struct record_field *fields;
};

/* Numbers in record_types[]. */
enum record_id {
    RECORD_BACKEND_INFO,
    RECORD_CPUID_LEAF,
    RECORD_TRANSLATION,
    RECORD_EVENT,
    RECORD_EXIT_PIO,
    RECORD_EXIT_MMIO,
    RECORD_EXIT_MSR,
    RECORD_EXIT_CPUID,
    RECORD_EXIT_HYPERCALL,
    RECORD_EXIT_EXCEPTION,
    RECORD_EXIT_MEMORY_FAULT,
    RECORD_EXIT_DEBUG,
    RECORD_EXIT_INTERRUPT,
    RECORD_EXIT_INTERNAL,
    RECORD_EXIT,
    RECORD_GPR,
    RECORD_SEGMENT,
    RECORD_TABLE,
    RECORD_SEGMENTS,
    RECORD_CONTROL,
    RECORD_DEBUG,
    RECORD_MSRS,
    RECORD_FPU,
    RECORD_XSAVE,
    RECORD_EVENTS,
    RECORD_STATE,
    RECORD_VCPU_CONFIG,
    RECORD_RUN_ARGS,
    RECORD_BREAKPOINT,
    RECORD_BOOT_MEMORY,
    RECORD_BOOT_RESULT,
    RECORD_MACHINE_RESULT,
    RECORD_MACHINE_STATS,
    RECORD_MOCK_STEP,
    RECORD_MOCK_RESULT,
    RECORD_TYPES
};

static const struct record_type record_types[RECORD_TYPES];

static const struct record_field vmlib_backend_info_fields[] = {
    {"backend", offsetof(struct vmlib_backend_info, backend), RECORD_U32, 0, NULL, "Backend"},
    {"available", offsetof(struct vmlib_backend_info, available), RECORD_U32, 0, NULL, NULL},
    {"phys_bits", offsetof(struct vmlib_backend_info, phys_bits), RECORD_U32, 0, NULL, NULL},
    {"max_vcpus", offsetof(struct vmlib_backend_info, max_vcpus), RECORD_U32, 0, NULL, NULL},
    {"name", offsetof(struct vmlib_backend_info, name), RECORD_TEXT, 32, NULL, NULL},
    {"reason", offsetof(struct vmlib_backend_info, reason), RECORD_TEXT, 224, NULL, NULL},
};

static const struct record_field vmlib_cpuid_leaf_fields[] = {
    {"leaf", offsetof(struct vmlib_cpuid_leaf, leaf), RECORD_U32, 0, NULL, NULL},
    {"subleaf", offsetof(struct vmlib_cpuid_leaf, subleaf), RECORD_U32, 0, NULL, NULL},
    {"flags", offsetof(struct vmlib_cpuid_leaf, flags), RECORD_U32, 0, NULL, NULL},
    {"eax", offsetof(struct vmlib_cpuid_leaf, eax), RECORD_U32, 0, NULL, NULL},
    {"ebx", offsetof(struct vmlib_cpuid_leaf, ebx), RECORD_U32, 0, NULL, NULL},
    {"ecx", offsetof(struct vmlib_cpuid_leaf, ecx), RECORD_U32, 0, NULL, NULL},
    {"edx", offsetof(struct vmlib_cpuid_leaf, edx), RECORD_U32, 0, NULL, NULL},
};

static const struct record_field vmlib_translation_fields[] = {
    {"fault", offsetof(struct vmlib_translation, fault), RECORD_U32, 0, NULL, "Translate"},
    {"gpa", offsetof(struct vmlib_translation, gpa), RECORD_U64, 0, NULL, NULL},
    {"error_code", offsetof(struct vmlib_translation, error_code), RECORD_U32, 0, NULL, NULL},
    {"page_bits", offsetof(struct vmlib_translation, page_bits), RECORD_U32, 0, NULL, NULL},
    {"flags", offsetof(struct vmlib_translation, flags), RECORD_U32, 0, NULL, NULL},
    {"prot", offsetof(struct vmlib_translation, prot), RECORD_U32, 0, NULL, NULL},
};

static const struct record_field vmlib_event_fields[] = {
    {"type", offsetof(struct vmlib_event, type), RECORD_U32, 0, NULL, "EventType"},
    {"vector", offsetof(struct vmlib_event, vector), RECORD_U32, 0, NULL, NULL},
    {"flags", offsetof(struct vmlib_event, flags), RECORD_U32, 0, NULL, NULL},
    {"error_code", offsetof(struct vmlib_event, error_code), RECORD_U32, 0, NULL, NULL},
    {"insn_len", offsetof(struct vmlib_event, insn_len), RECORD_U32, 0, NULL, NULL},
    {"address", offsetof(struct vmlib_event, address), RECORD_U64, 0, NULL, NULL},
};

static const struct record_field vmlib_exit_pio_fields[] = {
    {"port", offsetof(struct vmlib_exit_pio, port), RECORD_U16, 0, NULL, NULL},
    {"width", offsetof(struct vmlib_exit_pio, width), RECORD_U8, 0, NULL, NULL},
    {"write", offsetof(struct vmlib_exit_pio, write), RECORD_U8, 0, NULL, NULL},
    {"string", offsetof(struct vmlib_exit_pio, string), RECORD_U8, 0, NULL, NULL},
    {"rep", offsetof(struct vmlib_exit_pio, rep), RECORD_U8, 0, NULL, NULL},
    {"value", offsetof(struct vmlib_exit_pio, value), RECORD_U32, 0, NULL, NULL},
    {"count", offsetof(struct vmlib_exit_pio, count), RECORD_U64, 0, NULL, NULL},
};

static const struct record_field vmlib_exit_mmio_fields[] = {
    {"gpa", offsetof(struct vmlib_exit_mmio, gpa), RECORD_U64, 0, NULL, NULL},
    {"gva", offsetof(struct vmlib_exit_mmio, gva), RECORD_U64, 0, NULL, NULL},
    {"value", offsetof(struct vmlib_exit_mmio, value), RECORD_U64, 0, NULL, NULL},
    {"width", offsetof(struct vmlib_exit_mmio, width), RECORD_U8, 0, NULL, NULL},
    {"write", offsetof(struct vmlib_exit_mmio, write), RECORD_U8, 0, NULL, NULL},
};

static const struct record_field vmlib_exit_msr_fields[] = {
    {"index", offsetof(struct vmlib_exit_msr, index), RECORD_U32, 0, NULL, NULL},
    {"write", offsetof(struct vmlib_exit_msr, write), RECORD_U8, 0, NULL, NULL},
    {"known", offsetof(struct vmlib_exit_msr, known), RECORD_U8, 0, NULL, NULL},
    {"value", offsetof(struct vmlib_exit_msr, value), RECORD_U64, 0, NULL, NULL},
};

static const struct record_field vmlib_exit_cpuid_fields[] = {
    {"leaf", offsetof(struct vmlib_exit_cpuid, leaf), RECORD_U32, 0, NULL, NULL},
    {"subleaf", offsetof(struct vmlib_exit_cpuid, subleaf), RECORD_U32, 0, NULL, NULL},
    {"eax", offsetof(struct vmlib_exit_cpuid, eax), RECORD_U32, 0, NULL, NULL},
    {"ebx", offsetof(struct vmlib_exit_cpuid, ebx), RECORD_U32, 0, NULL, NULL},
    {"ecx", offsetof(struct vmlib_exit_cpuid, ecx), RECORD_U32, 0, NULL, NULL},
    {"edx", offsetof(struct vmlib_exit_cpuid, edx), RECORD_U32, 0, NULL, NULL},
};

static const struct record_field vmlib_exit_hypercall_fields[] = {
    {"rax", offsetof(struct vmlib_exit_hypercall, rax), RECORD_U64, 0, NULL, NULL},
    {"rbx", offsetof(struct vmlib_exit_hypercall, rbx), RECORD_U64, 0, NULL, NULL},
    {"rcx", offsetof(struct vmlib_exit_hypercall, rcx), RECORD_U64, 0, NULL, NULL},
    {"rdx", offsetof(struct vmlib_exit_hypercall, rdx), RECORD_U64, 0, NULL, NULL},
    {"rsi", offsetof(struct vmlib_exit_hypercall, rsi), RECORD_U64, 0, NULL, NULL},
    {"rdi", offsetof(struct vmlib_exit_hypercall, rdi), RECORD_U64, 0, NULL, NULL},
    {"result", offsetof(struct vmlib_exit_hypercall, result), RECORD_U64, 0, NULL, NULL},
};

static const struct record_field vmlib_exit_exception_fields[] = {
    {"event", offsetof(struct vmlib_exit_exception, event), RECORD_STRUCT, 0, &record_types[RECORD_EVENT], NULL},
};

static const struct record_field vmlib_exit_memory_fault_fields[] = {
    {"gpa", offsetof(struct vmlib_exit_memory_fault, gpa), RECORD_U64, 0, NULL, NULL},
    {"gva", offsetof(struct vmlib_exit_memory_fault, gva), RECORD_U64, 0, NULL, NULL},
    {"access", offsetof(struct vmlib_exit_memory_fault, access), RECORD_U32, 0, NULL, "Access"},
    {"width", offsetof(struct vmlib_exit_memory_fault, width), RECORD_U32, 0, NULL, NULL},
    {"mapped", offsetof(struct vmlib_exit_memory_fault, mapped), RECORD_U32, 0, NULL, NULL},
    {"prot", offsetof(struct vmlib_exit_memory_fault, prot), RECORD_U32, 0, NULL, NULL},
};

static const struct record_field vmlib_exit_debug_fields[] = {
    {"cause", offsetof(struct vmlib_exit_debug, cause), RECORD_U32, 0, NULL, "DebugCause"},
    {"slots", offsetof(struct vmlib_exit_debug, slots), RECORD_U32, 0, NULL, NULL},
    {"address", offsetof(struct vmlib_exit_debug, address), RECORD_U64, 0, NULL, NULL},
};

static const struct record_field vmlib_exit_interrupt_fields[] = {
    {"requested", offsetof(struct vmlib_exit_interrupt, requested), RECORD_U32, 0, NULL, NULL},
    {"vector", offsetof(struct vmlib_exit_interrupt, vector), RECORD_U32, 0, NULL, NULL},
};

static const struct record_field vmlib_exit_internal_fields[] = {
    {"code", offsetof(struct vmlib_exit_internal, code), RECORD_U32, 0, NULL, NULL},
    {"data", offsetof(struct vmlib_exit_internal, data), RECORD_U64, 4, NULL, NULL},
    {"text", offsetof(struct vmlib_exit_internal, text), RECORD_TEXT, 64, NULL, NULL},
};

static const struct record_field vmlib_exit_fields[] = {
    {"reason", offsetof(struct vmlib_exit, reason), RECORD_U32, 0, NULL, "Reason"},
    {"flags", offsetof(struct vmlib_exit, flags), RECORD_U32, 0, NULL, "ExitFlag"},
    {"mode", offsetof(struct vmlib_exit, mode), RECORD_U8, 0, NULL, "Mode"},
    {"cpl", offsetof(struct vmlib_exit, cpl), RECORD_U8, 0, NULL, NULL},
    {"insn_len", offsetof(struct vmlib_exit, insn_len), RECORD_U8, 0, NULL, NULL},
    {"insn", offsetof(struct vmlib_exit, insn), RECORD_BYTES, 16, NULL, NULL},
    {"rip", offsetof(struct vmlib_exit, rip), RECORD_U64, 0, NULL, NULL},
    {"instructions", offsetof(struct vmlib_exit, instructions), RECORD_U64, 0, NULL, NULL},
    {"generation", offsetof(struct vmlib_exit, generation), RECORD_U64, 0, NULL, NULL},
    {"inject", offsetof(struct vmlib_exit, inject), RECORD_STRUCT, 0, &record_types[RECORD_EVENT], NULL},
    {"pio", offsetof(struct vmlib_exit, u.pio), RECORD_STRUCT, 0, &record_types[RECORD_EXIT_PIO], NULL},
    {"mmio", offsetof(struct vmlib_exit, u.mmio), RECORD_STRUCT, 0, &record_types[RECORD_EXIT_MMIO], NULL},
    {"msr", offsetof(struct vmlib_exit, u.msr), RECORD_STRUCT, 0, &record_types[RECORD_EXIT_MSR], NULL},
    {"cpuid", offsetof(struct vmlib_exit, u.cpuid), RECORD_STRUCT, 0, &record_types[RECORD_EXIT_CPUID], NULL},
    {"hypercall", offsetof(struct vmlib_exit, u.hypercall), RECORD_STRUCT, 0, &record_types[RECORD_EXIT_HYPERCALL], NULL},
    {"exception", offsetof(struct vmlib_exit, u.exception), RECORD_STRUCT, 0, &record_types[RECORD_EXIT_EXCEPTION], NULL},
    {"memory_fault", offsetof(struct vmlib_exit, u.memory_fault), RECORD_STRUCT, 0, &record_types[RECORD_EXIT_MEMORY_FAULT], NULL},
    {"debug", offsetof(struct vmlib_exit, u.debug), RECORD_STRUCT, 0, &record_types[RECORD_EXIT_DEBUG], NULL},
    {"interrupt", offsetof(struct vmlib_exit, u.interrupt), RECORD_STRUCT, 0, &record_types[RECORD_EXIT_INTERRUPT], NULL},
    {"internal", offsetof(struct vmlib_exit, u.internal), RECORD_STRUCT, 0, &record_types[RECORD_EXIT_INTERNAL], NULL},
};

static const struct record_field vmlib_gpr_fields[] = {
    {"rax", offsetof(struct vmlib_gpr, rax), RECORD_U64, 0, NULL, NULL},
    {"rcx", offsetof(struct vmlib_gpr, rcx), RECORD_U64, 0, NULL, NULL},
    {"rdx", offsetof(struct vmlib_gpr, rdx), RECORD_U64, 0, NULL, NULL},
    {"rbx", offsetof(struct vmlib_gpr, rbx), RECORD_U64, 0, NULL, NULL},
    {"rsp", offsetof(struct vmlib_gpr, rsp), RECORD_U64, 0, NULL, NULL},
    {"rbp", offsetof(struct vmlib_gpr, rbp), RECORD_U64, 0, NULL, NULL},
    {"rsi", offsetof(struct vmlib_gpr, rsi), RECORD_U64, 0, NULL, NULL},
    {"rdi", offsetof(struct vmlib_gpr, rdi), RECORD_U64, 0, NULL, NULL},
    {"r8", offsetof(struct vmlib_gpr, r8), RECORD_U64, 0, NULL, NULL},
    {"r9", offsetof(struct vmlib_gpr, r9), RECORD_U64, 0, NULL, NULL},
    {"r10", offsetof(struct vmlib_gpr, r10), RECORD_U64, 0, NULL, NULL},
    {"r11", offsetof(struct vmlib_gpr, r11), RECORD_U64, 0, NULL, NULL},
    {"r12", offsetof(struct vmlib_gpr, r12), RECORD_U64, 0, NULL, NULL},
    {"r13", offsetof(struct vmlib_gpr, r13), RECORD_U64, 0, NULL, NULL},
    {"r14", offsetof(struct vmlib_gpr, r14), RECORD_U64, 0, NULL, NULL},
    {"r15", offsetof(struct vmlib_gpr, r15), RECORD_U64, 0, NULL, NULL},
    {"rip", offsetof(struct vmlib_gpr, rip), RECORD_U64, 0, NULL, NULL},
    {"rflags", offsetof(struct vmlib_gpr, rflags), RECORD_U64, 0, NULL, NULL},
};

static const struct record_field vmlib_segment_fields[] = {
    {"base", offsetof(struct vmlib_segment, base), RECORD_U64, 0, NULL, NULL},
    {"limit", offsetof(struct vmlib_segment, limit), RECORD_U32, 0, NULL, NULL},
    {"attributes", offsetof(struct vmlib_segment, attributes), RECORD_U32, 0, NULL, NULL},
    {"selector", offsetof(struct vmlib_segment, selector), RECORD_U16, 0, NULL, NULL},
};

static const struct record_field vmlib_table_fields[] = {
    {"base", offsetof(struct vmlib_table, base), RECORD_U64, 0, NULL, NULL},
    {"limit", offsetof(struct vmlib_table, limit), RECORD_U16, 0, NULL, NULL},
};

static const struct record_field vmlib_segments_fields[] = {
    {"es", offsetof(struct vmlib_segments, es), RECORD_STRUCT, 0, &record_types[RECORD_SEGMENT], NULL},
    {"cs", offsetof(struct vmlib_segments, cs), RECORD_STRUCT, 0, &record_types[RECORD_SEGMENT], NULL},
    {"ss", offsetof(struct vmlib_segments, ss), RECORD_STRUCT, 0, &record_types[RECORD_SEGMENT], NULL},
    {"ds", offsetof(struct vmlib_segments, ds), RECORD_STRUCT, 0, &record_types[RECORD_SEGMENT], NULL},
    {"fs", offsetof(struct vmlib_segments, fs), RECORD_STRUCT, 0, &record_types[RECORD_SEGMENT], NULL},
    {"gs", offsetof(struct vmlib_segments, gs), RECORD_STRUCT, 0, &record_types[RECORD_SEGMENT], NULL},
    {"ldtr", offsetof(struct vmlib_segments, ldtr), RECORD_STRUCT, 0, &record_types[RECORD_SEGMENT], NULL},
    {"tr", offsetof(struct vmlib_segments, tr), RECORD_STRUCT, 0, &record_types[RECORD_SEGMENT], NULL},
    {"gdtr", offsetof(struct vmlib_segments, gdtr), RECORD_STRUCT, 0, &record_types[RECORD_TABLE], NULL},
    {"idtr", offsetof(struct vmlib_segments, idtr), RECORD_STRUCT, 0, &record_types[RECORD_TABLE], NULL},
};

static const struct record_field vmlib_control_fields[] = {
    {"cr0", offsetof(struct vmlib_control, cr0), RECORD_U64, 0, NULL, NULL},
    {"cr2", offsetof(struct vmlib_control, cr2), RECORD_U64, 0, NULL, NULL},
    {"cr3", offsetof(struct vmlib_control, cr3), RECORD_U64, 0, NULL, NULL},
    {"cr4", offsetof(struct vmlib_control, cr4), RECORD_U64, 0, NULL, NULL},
    {"cr8", offsetof(struct vmlib_control, cr8), RECORD_U64, 0, NULL, NULL},
    {"xcr0", offsetof(struct vmlib_control, xcr0), RECORD_U64, 0, NULL, NULL},
    {"efer", offsetof(struct vmlib_control, efer), RECORD_U64, 0, NULL, NULL},
    {"apic_base", offsetof(struct vmlib_control, apic_base), RECORD_U64, 0, NULL, NULL},
    {"pdpte", offsetof(struct vmlib_control, pdpte), RECORD_U64, 4, NULL, NULL},
};

static const struct record_field vmlib_debug_fields[] = {
    {"dr", offsetof(struct vmlib_debug, dr), RECORD_U64, 4, NULL, NULL},
    {"dr6", offsetof(struct vmlib_debug, dr6), RECORD_U64, 0, NULL, NULL},
    {"dr7", offsetof(struct vmlib_debug, dr7), RECORD_U64, 0, NULL, NULL},
};

static const struct record_field vmlib_msrs_fields[] = {
    {"star", offsetof(struct vmlib_msrs, star), RECORD_U64, 0, NULL, NULL},
    {"lstar", offsetof(struct vmlib_msrs, lstar), RECORD_U64, 0, NULL, NULL},
    {"cstar", offsetof(struct vmlib_msrs, cstar), RECORD_U64, 0, NULL, NULL},
    {"fmask", offsetof(struct vmlib_msrs, fmask), RECORD_U64, 0, NULL, NULL},
    {"kernel_gs_base", offsetof(struct vmlib_msrs, kernel_gs_base), RECORD_U64, 0, NULL, NULL},
    {"tsc_aux", offsetof(struct vmlib_msrs, tsc_aux), RECORD_U64, 0, NULL, NULL},
    {"sysenter_cs", offsetof(struct vmlib_msrs, sysenter_cs), RECORD_U64, 0, NULL, NULL},
    {"sysenter_esp", offsetof(struct vmlib_msrs, sysenter_esp), RECORD_U64, 0, NULL, NULL},
    {"sysenter_eip", offsetof(struct vmlib_msrs, sysenter_eip), RECORD_U64, 0, NULL, NULL},
    {"tsc", offsetof(struct vmlib_msrs, tsc), RECORD_U64, 0, NULL, NULL},
    {"tsc_adjust", offsetof(struct vmlib_msrs, tsc_adjust), RECORD_U64, 0, NULL, NULL},
    {"feature_control", offsetof(struct vmlib_msrs, feature_control), RECORD_U64, 0, NULL, NULL},
    {"spec_ctrl", offsetof(struct vmlib_msrs, spec_ctrl), RECORD_U64, 0, NULL, NULL},
    {"misc_enable", offsetof(struct vmlib_msrs, misc_enable), RECORD_U64, 0, NULL, NULL},
    {"debugctl", offsetof(struct vmlib_msrs, debugctl), RECORD_U64, 0, NULL, NULL},
    {"pat", offsetof(struct vmlib_msrs, pat), RECORD_U64, 0, NULL, NULL},
    {"xss", offsetof(struct vmlib_msrs, xss), RECORD_U64, 0, NULL, NULL},
    {"mcg_status", offsetof(struct vmlib_msrs, mcg_status), RECORD_U64, 0, NULL, NULL},
    {"mcg_ctl", offsetof(struct vmlib_msrs, mcg_ctl), RECORD_U64, 0, NULL, NULL},
    {"mtrr_def_type", offsetof(struct vmlib_msrs, mtrr_def_type), RECORD_U64, 0, NULL, NULL},
    {"mtrr_fixed", offsetof(struct vmlib_msrs, mtrr_fixed), RECORD_U64, 11, NULL, NULL},
    {"mtrr_base", offsetof(struct vmlib_msrs, mtrr_base), RECORD_U64, VMLIB_MTRR_VARIABLE, NULL, NULL},
    {"mtrr_mask", offsetof(struct vmlib_msrs, mtrr_mask), RECORD_U64, VMLIB_MTRR_VARIABLE, NULL, NULL},
};

static const struct record_field vmlib_fpu_fields[] = {
    {"image", offsetof(struct vmlib_fpu, image), RECORD_BYTES, 512, NULL, NULL},
};

static const struct record_field vmlib_xsave_fields[] = {
    {"bytes", offsetof(struct vmlib_xsave, bytes), RECORD_U32, 0, NULL, NULL},
    {"features", offsetof(struct vmlib_xsave, features), RECORD_U64, 0, NULL, NULL},
    {"image", offsetof(struct vmlib_xsave, image), RECORD_BYTES, VMLIB_XSAVE_MAX, NULL, NULL},
};

static const struct record_field vmlib_events_fields[] = {
    {"flags", offsetof(struct vmlib_events, flags), RECORD_U32, 0, NULL, NULL},
    {"sipi_vector", offsetof(struct vmlib_events, sipi_vector), RECORD_U32, 0, NULL, NULL},
    {"injected", offsetof(struct vmlib_events, injected), RECORD_STRUCT, 0, &record_types[RECORD_EVENT], NULL},
    {"pending_debug", offsetof(struct vmlib_events, pending_debug), RECORD_U64, 0, NULL, NULL},
};

static const struct record_field vmlib_state_fields[] = {
    {"gpr", offsetof(struct vmlib_state, gpr), RECORD_STRUCT, 0, &record_types[RECORD_GPR], NULL},
    {"segments", offsetof(struct vmlib_state, segments), RECORD_STRUCT, 0, &record_types[RECORD_SEGMENTS], NULL},
    {"control", offsetof(struct vmlib_state, control), RECORD_STRUCT, 0, &record_types[RECORD_CONTROL], NULL},
    {"debug", offsetof(struct vmlib_state, debug), RECORD_STRUCT, 0, &record_types[RECORD_DEBUG], NULL},
    {"msrs", offsetof(struct vmlib_state, msrs), RECORD_STRUCT, 0, &record_types[RECORD_MSRS], NULL},
    {"events", offsetof(struct vmlib_state, events), RECORD_STRUCT, 0, &record_types[RECORD_EVENTS], NULL},
    {"fpu", offsetof(struct vmlib_state, fpu), RECORD_STRUCT, 0, &record_types[RECORD_FPU], NULL},
    {"xsave", offsetof(struct vmlib_state, xsave), RECORD_STRUCT, 0, &record_types[RECORD_XSAVE], NULL},
};

static const struct record_field vmlib_vcpu_config_fields[] = {
    {"index", offsetof(struct vmlib_vcpu_config, index), RECORD_U32, 0, NULL, NULL},
    {"apic_id", offsetof(struct vmlib_vcpu_config, apic_id), RECORD_U32, 0, NULL, NULL},
    {"initial", offsetof(struct vmlib_vcpu_config, initial), RECORD_U32, 0, NULL, NULL},
};

static const struct record_field vmlib_run_args_fields[] = {
    {"flags", offsetof(struct vmlib_run_args, flags), RECORD_U32, 0, NULL, NULL},
    {"deadline_ns", offsetof(struct vmlib_run_args, deadline_ns), RECORD_U64, 0, NULL, NULL},
    {"budget", offsetof(struct vmlib_run_args, budget), RECORD_U64, 0, NULL, NULL},
    {"generation", offsetof(struct vmlib_run_args, generation), RECORD_U64, 0, NULL, NULL},
};

static const struct record_field vmlib_breakpoint_fields[] = {
    {"kind", offsetof(struct vmlib_breakpoint, kind), RECORD_U32, 0, NULL, NULL},
    {"address", offsetof(struct vmlib_breakpoint, address), RECORD_U64, 0, NULL, NULL},
    {"width", offsetof(struct vmlib_breakpoint, width), RECORD_U32, 0, NULL, NULL},
};

static const struct record_field vmlib_boot_memory_fields[] = {
    {"gpa", offsetof(struct vmlib_boot_memory, gpa), RECORD_U64, 0, NULL, NULL},
    {"bytes", offsetof(struct vmlib_boot_memory, bytes), RECORD_U64, 0, NULL, NULL},
    {"type", offsetof(struct vmlib_boot_memory, type), RECORD_U32, 0, NULL, NULL},
};

static const struct record_field vmlib_boot_result_fields[] = {
    {"format", offsetof(struct vmlib_boot_result, format), RECORD_U32, 0, NULL, "BootFormat"},
    {"bits", offsetof(struct vmlib_boot_result, bits), RECORD_U32, 0, NULL, NULL},
    {"entry", offsetof(struct vmlib_boot_result, entry), RECORD_U64, 0, NULL, NULL},
    {"kernel_gpa", offsetof(struct vmlib_boot_result, kernel_gpa), RECORD_U64, 0, NULL, NULL},
    {"kernel_bytes", offsetof(struct vmlib_boot_result, kernel_bytes), RECORD_U64, 0, NULL, NULL},
    {"initrd_gpa", offsetof(struct vmlib_boot_result, initrd_gpa), RECORD_U64, 0, NULL, NULL},
    {"info_gpa", offsetof(struct vmlib_boot_result, info_gpa), RECORD_U64, 0, NULL, NULL},
};

static const struct record_field vmlib_machine_result_fields[] = {
    {"end", offsetof(struct vmlib_machine_result, end), RECORD_U32, 0, NULL, "MachineEnd"},
    {"value", offsetof(struct vmlib_machine_result, value), RECORD_U32, 0, NULL, NULL},
    {"vcpu", offsetof(struct vmlib_machine_result, vcpu), RECORD_U32, 0, NULL, NULL},
    {"error", offsetof(struct vmlib_machine_result, error), RECORD_I32, 0, NULL, NULL},
    {"exit_reason", offsetof(struct vmlib_machine_result, exit_reason), RECORD_U32, 0, NULL, "Reason"},
    {"rip", offsetof(struct vmlib_machine_result, rip), RECORD_U64, 0, NULL, NULL},
    {"text", offsetof(struct vmlib_machine_result, text), RECORD_TEXT, 128, NULL, NULL},
};

static const struct record_field vmlib_machine_stats_fields[] = {
    {"vcpus", offsetof(struct vmlib_machine_stats, vcpus), RECORD_U32, 0, NULL, NULL},
    {"instructions", offsetof(struct vmlib_machine_stats, instructions), RECORD_U64, 0, NULL, NULL},
    {"exits", offsetof(struct vmlib_machine_stats, exits), RECORD_U64, 32, NULL, NULL},
    {"pio", offsetof(struct vmlib_machine_stats, pio), RECORD_U64, 0, NULL, NULL},
    {"mmio", offsetof(struct vmlib_machine_stats, mmio), RECORD_U64, 0, NULL, NULL},
    {"msr", offsetof(struct vmlib_machine_stats, msr), RECORD_U64, 0, NULL, NULL},
    {"interrupts", offsetof(struct vmlib_machine_stats, interrupts), RECORD_U64, 0, NULL, NULL},
    {"unclaimed", offsetof(struct vmlib_machine_stats, unclaimed), RECORD_U64, 0, NULL, NULL},
};

static const struct record_field vmlib_mock_step_fields[] = {
    {"action", offsetof(struct vmlib_mock_step, action), RECORD_U32, 0, NULL, NULL},
    {"count", offsetof(struct vmlib_mock_step, count), RECORD_U64, 0, NULL, NULL},
    {"code", offsetof(struct vmlib_mock_step, code), RECORD_I32, 0, NULL, NULL},
    {"exit", offsetof(struct vmlib_mock_step, exit), RECORD_STRUCT, 0, &record_types[RECORD_EXIT], NULL},
};

static const struct record_field vmlib_mock_result_fields[] = {
    {"outcome", offsetof(struct vmlib_mock_result, outcome), RECORD_U32, 0, NULL, NULL},
    {"steps", offsetof(struct vmlib_mock_result, steps), RECORD_U64, 0, NULL, NULL},
    {"delivered", offsetof(struct vmlib_mock_result, delivered), RECORD_U64, 0, NULL, NULL},
    {"event", offsetof(struct vmlib_mock_result, event), RECORD_STRUCT, 0, &record_types[RECORD_EVENT], NULL},
    {"exit", offsetof(struct vmlib_mock_result, exit), RECORD_STRUCT, 0, &record_types[RECORD_EXIT], NULL},
};

static const struct record_type record_types[RECORD_TYPES] = {
    {"BackendInfo", sizeof(struct vmlib_backend_info), 1,
     sizeof(vmlib_backend_info_fields) / sizeof(vmlib_backend_info_fields[0]), vmlib_backend_info_fields},
    {"CpuidLeaf", sizeof(struct vmlib_cpuid_leaf), 0,
     sizeof(vmlib_cpuid_leaf_fields) / sizeof(vmlib_cpuid_leaf_fields[0]), vmlib_cpuid_leaf_fields},
    {"Translation", sizeof(struct vmlib_translation), 1,
     sizeof(vmlib_translation_fields) / sizeof(vmlib_translation_fields[0]), vmlib_translation_fields},
    {"Event", sizeof(struct vmlib_event), 0,
     sizeof(vmlib_event_fields) / sizeof(vmlib_event_fields[0]), vmlib_event_fields},
    {"ExitPio", sizeof(struct vmlib_exit_pio), 0,
     sizeof(vmlib_exit_pio_fields) / sizeof(vmlib_exit_pio_fields[0]), vmlib_exit_pio_fields},
    {"ExitMmio", sizeof(struct vmlib_exit_mmio), 0,
     sizeof(vmlib_exit_mmio_fields) / sizeof(vmlib_exit_mmio_fields[0]), vmlib_exit_mmio_fields},
    {"ExitMsr", sizeof(struct vmlib_exit_msr), 0,
     sizeof(vmlib_exit_msr_fields) / sizeof(vmlib_exit_msr_fields[0]), vmlib_exit_msr_fields},
    {"ExitCpuid", sizeof(struct vmlib_exit_cpuid), 0,
     sizeof(vmlib_exit_cpuid_fields) / sizeof(vmlib_exit_cpuid_fields[0]), vmlib_exit_cpuid_fields},
    {"ExitHypercall", sizeof(struct vmlib_exit_hypercall), 0,
     sizeof(vmlib_exit_hypercall_fields) / sizeof(vmlib_exit_hypercall_fields[0]), vmlib_exit_hypercall_fields},
    {"ExitException", sizeof(struct vmlib_exit_exception), 0,
     sizeof(vmlib_exit_exception_fields) / sizeof(vmlib_exit_exception_fields[0]), vmlib_exit_exception_fields},
    {"ExitMemoryFault", sizeof(struct vmlib_exit_memory_fault), 0,
     sizeof(vmlib_exit_memory_fault_fields) / sizeof(vmlib_exit_memory_fault_fields[0]), vmlib_exit_memory_fault_fields},
    {"ExitDebug", sizeof(struct vmlib_exit_debug), 0,
     sizeof(vmlib_exit_debug_fields) / sizeof(vmlib_exit_debug_fields[0]), vmlib_exit_debug_fields},
    {"ExitInterrupt", sizeof(struct vmlib_exit_interrupt), 0,
     sizeof(vmlib_exit_interrupt_fields) / sizeof(vmlib_exit_interrupt_fields[0]), vmlib_exit_interrupt_fields},
    {"ExitInternal", sizeof(struct vmlib_exit_internal), 0,
     sizeof(vmlib_exit_internal_fields) / sizeof(vmlib_exit_internal_fields[0]), vmlib_exit_internal_fields},
    {"Exit", sizeof(struct vmlib_exit), 1,
     sizeof(vmlib_exit_fields) / sizeof(vmlib_exit_fields[0]), vmlib_exit_fields},
    {"Gpr", sizeof(struct vmlib_gpr), 0,
     sizeof(vmlib_gpr_fields) / sizeof(vmlib_gpr_fields[0]), vmlib_gpr_fields},
    {"Segment", sizeof(struct vmlib_segment), 0,
     sizeof(vmlib_segment_fields) / sizeof(vmlib_segment_fields[0]), vmlib_segment_fields},
    {"Table", sizeof(struct vmlib_table), 0,
     sizeof(vmlib_table_fields) / sizeof(vmlib_table_fields[0]), vmlib_table_fields},
    {"Segments", sizeof(struct vmlib_segments), 0,
     sizeof(vmlib_segments_fields) / sizeof(vmlib_segments_fields[0]), vmlib_segments_fields},
    {"Control", sizeof(struct vmlib_control), 0,
     sizeof(vmlib_control_fields) / sizeof(vmlib_control_fields[0]), vmlib_control_fields},
    {"Debug", sizeof(struct vmlib_debug), 0,
     sizeof(vmlib_debug_fields) / sizeof(vmlib_debug_fields[0]), vmlib_debug_fields},
    {"Msrs", sizeof(struct vmlib_msrs), 0,
     sizeof(vmlib_msrs_fields) / sizeof(vmlib_msrs_fields[0]), vmlib_msrs_fields},
    {"Fpu", sizeof(struct vmlib_fpu), 0,
     sizeof(vmlib_fpu_fields) / sizeof(vmlib_fpu_fields[0]), vmlib_fpu_fields},
    {"Xsave", sizeof(struct vmlib_xsave), 0,
     sizeof(vmlib_xsave_fields) / sizeof(vmlib_xsave_fields[0]), vmlib_xsave_fields},
    {"Events", sizeof(struct vmlib_events), 0,
     sizeof(vmlib_events_fields) / sizeof(vmlib_events_fields[0]), vmlib_events_fields},
    {"State", sizeof(struct vmlib_state), 1,
     sizeof(vmlib_state_fields) / sizeof(vmlib_state_fields[0]), vmlib_state_fields},
    {"VcpuConfig", sizeof(struct vmlib_vcpu_config), 1,
     sizeof(vmlib_vcpu_config_fields) / sizeof(vmlib_vcpu_config_fields[0]), vmlib_vcpu_config_fields},
    {"RunArgs", sizeof(struct vmlib_run_args), 1,
     sizeof(vmlib_run_args_fields) / sizeof(vmlib_run_args_fields[0]), vmlib_run_args_fields},
    {"Breakpoint", sizeof(struct vmlib_breakpoint), 1,
     sizeof(vmlib_breakpoint_fields) / sizeof(vmlib_breakpoint_fields[0]), vmlib_breakpoint_fields},
    {"BootMemory", sizeof(struct vmlib_boot_memory), 0,
     sizeof(vmlib_boot_memory_fields) / sizeof(vmlib_boot_memory_fields[0]), vmlib_boot_memory_fields},
    {"BootResult", sizeof(struct vmlib_boot_result), 1,
     sizeof(vmlib_boot_result_fields) / sizeof(vmlib_boot_result_fields[0]), vmlib_boot_result_fields},
    {"MachineResult", sizeof(struct vmlib_machine_result), 1,
     sizeof(vmlib_machine_result_fields) / sizeof(vmlib_machine_result_fields[0]), vmlib_machine_result_fields},
    {"MachineStats", sizeof(struct vmlib_machine_stats), 1,
     sizeof(vmlib_machine_stats_fields) / sizeof(vmlib_machine_stats_fields[0]), vmlib_machine_stats_fields},
    {"MockStep", sizeof(struct vmlib_mock_step), 1,
     sizeof(vmlib_mock_step_fields) / sizeof(vmlib_mock_step_fields[0]), vmlib_mock_step_fields},
    {"MockResult", sizeof(struct vmlib_mock_result), 1,
     sizeof(vmlib_mock_result_fields) / sizeof(vmlib_mock_result_fields[0]), vmlib_mock_result_fields},
};

/* The compiler's values, not the generator's. `kind`: the enumeration, or NULL. */
struct record_constant {
    const char *name;
    int64_t value;
    const char *kind;
};

static const struct record_constant record_constants[] = {
    {"VERSION_MAJOR", (int64_t)VMLIB_VERSION_MAJOR, NULL},
    {"VERSION_MINOR", (int64_t)VMLIB_VERSION_MINOR, NULL},
    {"VERSION_PATCH", (int64_t)VMLIB_VERSION_PATCH, NULL},
    {"VERSION", (int64_t)VMLIB_VERSION, NULL},
    {"OK", (int64_t)VMLIB_OK, NULL},
    {"E_INVAL", (int64_t)VMLIB_E_INVAL, "ErrorCode"},
    {"E_NOMEM", (int64_t)VMLIB_E_NOMEM, "ErrorCode"},
    {"E_STATE", (int64_t)VMLIB_E_STATE, "ErrorCode"},
    {"E_BUSY", (int64_t)VMLIB_E_BUSY, "ErrorCode"},
    {"E_EXISTS", (int64_t)VMLIB_E_EXISTS, "ErrorCode"},
    {"E_RANGE", (int64_t)VMLIB_E_RANGE, "ErrorCode"},
    {"E_NOTFOUND", (int64_t)VMLIB_E_NOTFOUND, "ErrorCode"},
    {"E_UNSUPPORTED", (int64_t)VMLIB_E_UNSUPPORTED, "ErrorCode"},
    {"E_UNAVAILABLE", (int64_t)VMLIB_E_UNAVAILABLE, "ErrorCode"},
    {"E_FORK", (int64_t)VMLIB_E_FORK, "ErrorCode"},
    {"E_FAULT", (int64_t)VMLIB_E_FAULT, "ErrorCode"},
    {"E_IO", (int64_t)VMLIB_E_IO, "ErrorCode"},
    {"E_LIMIT", (int64_t)VMLIB_E_LIMIT, "ErrorCode"},
    {"E_INTERNAL", (int64_t)VMLIB_E_INTERNAL, "ErrorCode"},
    {"E_LAST", (int64_t)VMLIB_E_LAST, NULL},
    {"E_USER", (int64_t)VMLIB_E_USER, NULL},
    {"LOG_ERROR", (int64_t)VMLIB_LOG_ERROR, "LogLevel"},
    {"LOG_WARNING", (int64_t)VMLIB_LOG_WARNING, "LogLevel"},
    {"LOG_INFO", (int64_t)VMLIB_LOG_INFO, "LogLevel"},
    {"LOG_DEBUG", (int64_t)VMLIB_LOG_DEBUG, "LogLevel"},
    {"BACKEND_NONE", (int64_t)VMLIB_BACKEND_NONE, "Backend"},
    {"BACKEND_SOFT", (int64_t)VMLIB_BACKEND_SOFT, "Backend"},
    {"BACKEND_MOCK", (int64_t)VMLIB_BACKEND_MOCK, "Backend"},
    {"BACKEND_KVM", (int64_t)VMLIB_BACKEND_KVM, "Backend"},
    {"BACKEND_VTX", (int64_t)VMLIB_BACKEND_VTX, "Backend"},
    {"BACKEND_LAST", (int64_t)VMLIB_BACKEND_LAST, NULL},
    {"FEATURE_GUEST_CODE", (int64_t)VMLIB_FEATURE_GUEST_CODE, "Feature"},
    {"FEATURE_REAL_MODE", (int64_t)VMLIB_FEATURE_REAL_MODE, "Feature"},
    {"FEATURE_LONG_MODE", (int64_t)VMLIB_FEATURE_LONG_MODE, "Feature"},
    {"FEATURE_AVX2", (int64_t)VMLIB_FEATURE_AVX2, "Feature"},
    {"FEATURE_SMP", (int64_t)VMLIB_FEATURE_SMP, "Feature"},
    {"FEATURE_DETERMINISTIC", (int64_t)VMLIB_FEATURE_DETERMINISTIC, "Feature"},
    {"FEATURE_BUDGET", (int64_t)VMLIB_FEATURE_BUDGET, "Feature"},
    {"FEATURE_INSN_COUNT", (int64_t)VMLIB_FEATURE_INSN_COUNT, "Feature"},
    {"FEATURE_SINGLE_STEP", (int64_t)VMLIB_FEATURE_SINGLE_STEP, "Feature"},
    {"FEATURE_BREAKPOINTS", (int64_t)VMLIB_FEATURE_BREAKPOINTS, "Feature"},
    {"FEATURE_EXCEPTION_EXITS", (int64_t)VMLIB_FEATURE_EXCEPTION_EXITS, "Feature"},
    {"FEATURE_MSR_HANDLERS", (int64_t)VMLIB_FEATURE_MSR_HANDLERS, "Feature"},
    {"FEATURE_CPUID_HANDLERS", (int64_t)VMLIB_FEATURE_CPUID_HANDLERS, "Feature"},
    {"FEATURE_DIRTY_LOG", (int64_t)VMLIB_FEATURE_DIRTY_LOG, "Feature"},
    {"FEATURE_PROT_READ", (int64_t)VMLIB_FEATURE_PROT_READ, "Feature"},
    {"FEATURE_PROT_WRITE", (int64_t)VMLIB_FEATURE_PROT_WRITE, "Feature"},
    {"FEATURE_PROT_EXEC", (int64_t)VMLIB_FEATURE_PROT_EXEC, "Feature"},
    {"FEATURE_NMI", (int64_t)VMLIB_FEATURE_NMI, "Feature"},
    {"FEATURE_SMM", (int64_t)VMLIB_FEATURE_SMM, "Feature"},
    {"FEATURE_COUNT", (int64_t)VMLIB_FEATURE_COUNT, NULL},
    {"SUPPORT_REFUSED", (int64_t)VMLIB_SUPPORT_REFUSED, "Support"},
    {"SUPPORT_APPROXIMATE", (int64_t)VMLIB_SUPPORT_APPROXIMATE, "Support"},
    {"SUPPORT_EMULATED", (int64_t)VMLIB_SUPPORT_EMULATED, "Support"},
    {"SUPPORT_NATIVE", (int64_t)VMLIB_SUPPORT_NATIVE, "Support"},
    {"PAGE_SIZE", (int64_t)VMLIB_PAGE_SIZE, NULL},
    {"MAX_VCPUS", (int64_t)VMLIB_MAX_VCPUS, NULL},
    {"TIME_REAL", (int64_t)VMLIB_TIME_REAL, "TimeMode"},
    {"TIME_DETERMINISTIC", (int64_t)VMLIB_TIME_DETERMINISTIC, "TimeMode"},
    {"MSR_FAULT", (int64_t)VMLIB_MSR_FAULT, "MsrPolicy"},
    {"MSR_EXIT", (int64_t)VMLIB_MSR_EXIT, "MsrPolicy"},
    {"CPUID_SUBLEAF", (int64_t)VMLIB_CPUID_SUBLEAF, NULL},
    {"CPUID_MAX", (int64_t)VMLIB_CPUID_MAX, NULL},
    {"VM_BACKENDS", (int64_t)VMLIB_VM_BACKENDS, NULL},
    {"PROT_R", (int64_t)VMLIB_PROT_R, "Prot"},
    {"PROT_W", (int64_t)VMLIB_PROT_W, "Prot"},
    {"PROT_X", (int64_t)VMLIB_PROT_X, "Prot"},
    {"PROT_RWX", (int64_t)VMLIB_PROT_RWX, "Prot"},
    {"BACKING_ANON", (int64_t)VMLIB_BACKING_ANON, "Backing"},
    {"BACKING_HOST", (int64_t)VMLIB_BACKING_HOST, "Backing"},
    {"BACKING_FD", (int64_t)VMLIB_BACKING_FD, "Backing"},
    {"BACKING_ALIAS", (int64_t)VMLIB_BACKING_ALIAS, "Backing"},
    {"REGION_DIRTY_LOG", (int64_t)VMLIB_REGION_DIRTY_LOG, "RegionFlag"},
    {"REGION_ROM", (int64_t)VMLIB_REGION_ROM, "RegionFlag"},
    {"REGION_SHARED", (int64_t)VMLIB_REGION_SHARED, "RegionFlag"},
    {"MAX_REGIONS", (int64_t)VMLIB_MAX_REGIONS, NULL},
    {"TRANSLATE_OK", (int64_t)VMLIB_TRANSLATE_OK, "Translate"},
    {"TRANSLATE_NOT_PRESENT", (int64_t)VMLIB_TRANSLATE_NOT_PRESENT, "Translate"},
    {"TRANSLATE_PROTECTION", (int64_t)VMLIB_TRANSLATE_PROTECTION, "Translate"},
    {"TRANSLATE_RESERVED_BIT", (int64_t)VMLIB_TRANSLATE_RESERVED_BIT, "Translate"},
    {"TRANSLATE_NON_CANONICAL", (int64_t)VMLIB_TRANSLATE_NON_CANONICAL, "Translate"},
    {"TRANSLATE_TABLE", (int64_t)VMLIB_TRANSLATE_TABLE, "Translate"},
    {"TRANSLATION_MEMORY", (int64_t)VMLIB_TRANSLATION_MEMORY, NULL},
    {"DIRTY_CLEAR", (int64_t)VMLIB_DIRTY_CLEAR, NULL},
    {"EXIT_NONE", (int64_t)VMLIB_EXIT_NONE, "Reason"},
    {"EXIT_PIO", (int64_t)VMLIB_EXIT_PIO, "Reason"},
    {"EXIT_MMIO", (int64_t)VMLIB_EXIT_MMIO, "Reason"},
    {"EXIT_MSR", (int64_t)VMLIB_EXIT_MSR, "Reason"},
    {"EXIT_CPUID", (int64_t)VMLIB_EXIT_CPUID, "Reason"},
    {"EXIT_HYPERCALL", (int64_t)VMLIB_EXIT_HYPERCALL, "Reason"},
    {"EXIT_HLT", (int64_t)VMLIB_EXIT_HLT, "Reason"},
    {"EXIT_EXCEPTION", (int64_t)VMLIB_EXIT_EXCEPTION, "Reason"},
    {"EXIT_MEMORY_FAULT", (int64_t)VMLIB_EXIT_MEMORY_FAULT, "Reason"},
    {"EXIT_DEBUG", (int64_t)VMLIB_EXIT_DEBUG, "Reason"},
    {"EXIT_INTERRUPT_WINDOW", (int64_t)VMLIB_EXIT_INTERRUPT_WINDOW, "Reason"},
    {"EXIT_SHUTDOWN", (int64_t)VMLIB_EXIT_SHUTDOWN, "Reason"},
    {"EXIT_CANCELLED", (int64_t)VMLIB_EXIT_CANCELLED, "Reason"},
    {"EXIT_DEADLINE", (int64_t)VMLIB_EXIT_DEADLINE, "Reason"},
    {"EXIT_BUDGET", (int64_t)VMLIB_EXIT_BUDGET, "Reason"},
    {"EXIT_STOPPED", (int64_t)VMLIB_EXIT_STOPPED, "Reason"},
    {"EXIT_INTERNAL", (int64_t)VMLIB_EXIT_INTERNAL, "Reason"},
    {"EXIT_COUNT", (int64_t)VMLIB_EXIT_COUNT, NULL},
    {"EXIT_F_PENDING", (int64_t)VMLIB_EXIT_F_PENDING, "ExitFlag"},
    {"EXIT_F_INEXACT", (int64_t)VMLIB_EXIT_F_INEXACT, "ExitFlag"},
    {"EXIT_F_OVERSHOT", (int64_t)VMLIB_EXIT_F_OVERSHOT, "ExitFlag"},
    {"MODE_REAL", (int64_t)VMLIB_MODE_REAL, "Mode"},
    {"MODE_V86", (int64_t)VMLIB_MODE_V86, "Mode"},
    {"MODE_PROT16", (int64_t)VMLIB_MODE_PROT16, "Mode"},
    {"MODE_PROT32", (int64_t)VMLIB_MODE_PROT32, "Mode"},
    {"MODE_COMPAT16", (int64_t)VMLIB_MODE_COMPAT16, "Mode"},
    {"MODE_COMPAT32", (int64_t)VMLIB_MODE_COMPAT32, "Mode"},
    {"MODE_LONG64", (int64_t)VMLIB_MODE_LONG64, "Mode"},
    {"ACCESS_READ", (int64_t)VMLIB_ACCESS_READ, "Access"},
    {"ACCESS_WRITE", (int64_t)VMLIB_ACCESS_WRITE, "Access"},
    {"ACCESS_EXEC", (int64_t)VMLIB_ACCESS_EXEC, "Access"},
    {"EVENT_NONE", (int64_t)VMLIB_EVENT_NONE, "EventType"},
    {"EVENT_INTERRUPT", (int64_t)VMLIB_EVENT_INTERRUPT, "EventType"},
    {"EVENT_NMI", (int64_t)VMLIB_EVENT_NMI, "EventType"},
    {"EVENT_EXCEPTION", (int64_t)VMLIB_EVENT_EXCEPTION, "EventType"},
    {"EVENT_SOFTWARE_INT", (int64_t)VMLIB_EVENT_SOFTWARE_INT, "EventType"},
    {"EVENT_SOFTWARE_EXC", (int64_t)VMLIB_EVENT_SOFTWARE_EXC, "EventType"},
    {"EVENT_PRIVILEGED_SW", (int64_t)VMLIB_EVENT_PRIVILEGED_SW, "EventType"},
    {"EVENT_HAS_ERROR", (int64_t)VMLIB_EVENT_HAS_ERROR, "EventFlag"},
    {"EVENT_HAS_ADDRESS", (int64_t)VMLIB_EVENT_HAS_ADDRESS, "EventFlag"},
    {"DEBUG_STEP", (int64_t)VMLIB_DEBUG_STEP, "DebugCause"},
    {"DEBUG_BREAKPOINT", (int64_t)VMLIB_DEBUG_BREAKPOINT, "DebugCause"},
    {"DEBUG_WATCHPOINT", (int64_t)VMLIB_DEBUG_WATCHPOINT, "DebugCause"},
    {"HANDLER_PIO", (int64_t)VMLIB_HANDLER_PIO, "HandlerKind"},
    {"HANDLER_MMIO", (int64_t)VMLIB_HANDLER_MMIO, "HandlerKind"},
    {"HANDLER_MSR", (int64_t)VMLIB_HANDLER_MSR, "HandlerKind"},
    {"HANDLER_CPUID", (int64_t)VMLIB_HANDLER_CPUID, "HandlerKind"},
    {"HANDLER_HYPERCALL", (int64_t)VMLIB_HANDLER_HYPERCALL, "HandlerKind"},
    {"HANDLER_EXCEPTION", (int64_t)VMLIB_HANDLER_EXCEPTION, "HandlerKind"},
    {"HANDLER_INTACK", (int64_t)VMLIB_HANDLER_INTACK, "HandlerKind"},
    {"HANDLER_KINDS", (int64_t)VMLIB_HANDLER_KINDS, NULL},
    {"HANDLED", (int64_t)VMLIB_HANDLED, "Answer"},
    {"PASS", (int64_t)VMLIB_PASS, "Answer"},
    {"INJECT", (int64_t)VMLIB_INJECT, "Answer"},
    {"STOP", (int64_t)VMLIB_STOP, "Answer"},
    {"HANDLER_HEADER", (int64_t)VMLIB_HANDLER_HEADER, NULL},
    {"DOORBELL_PIO", (int64_t)VMLIB_DOORBELL_PIO, "DoorbellKind"},
    {"DOORBELL_MMIO", (int64_t)VMLIB_DOORBELL_MMIO, "DoorbellKind"},
    {"DOORBELL_MATCH", (int64_t)VMLIB_DOORBELL_MATCH, NULL},
    {"MAX_HANDLERS", (int64_t)VMLIB_MAX_HANDLERS, NULL},
    {"STATE_GPR", (int64_t)VMLIB_STATE_GPR, "StateGroup"},
    {"STATE_SEGMENTS", (int64_t)VMLIB_STATE_SEGMENTS, "StateGroup"},
    {"STATE_CONTROL", (int64_t)VMLIB_STATE_CONTROL, "StateGroup"},
    {"STATE_DEBUG", (int64_t)VMLIB_STATE_DEBUG, "StateGroup"},
    {"STATE_MSRS", (int64_t)VMLIB_STATE_MSRS, "StateGroup"},
    {"STATE_FPU", (int64_t)VMLIB_STATE_FPU, "StateGroup"},
    {"STATE_XSAVE", (int64_t)VMLIB_STATE_XSAVE, "StateGroup"},
    {"STATE_EVENTS", (int64_t)VMLIB_STATE_EVENTS, "StateGroup"},
    {"STATE_ALL", (int64_t)VMLIB_STATE_ALL, "StateGroup"},
    {"STATE_CORE", (int64_t)VMLIB_STATE_CORE, "StateGroup"},
    {"SEGMENT_UNUSABLE", (int64_t)VMLIB_SEGMENT_UNUSABLE, NULL},
    {"MTRR_VARIABLE", (int64_t)VMLIB_MTRR_VARIABLE, NULL},
    {"XSAVE_MAX", (int64_t)VMLIB_XSAVE_MAX, NULL},
    {"EVENTS_SHADOW_STI", (int64_t)VMLIB_EVENTS_SHADOW_STI, "EventsFlag"},
    {"EVENTS_SHADOW_MOVSS", (int64_t)VMLIB_EVENTS_SHADOW_MOVSS, "EventsFlag"},
    {"EVENTS_NMI_BLOCKED", (int64_t)VMLIB_EVENTS_NMI_BLOCKED, "EventsFlag"},
    {"EVENTS_NMI_PENDING", (int64_t)VMLIB_EVENTS_NMI_PENDING, "EventsFlag"},
    {"EVENTS_HALTED", (int64_t)VMLIB_EVENTS_HALTED, "EventsFlag"},
    {"EVENTS_WAIT_SIPI", (int64_t)VMLIB_EVENTS_WAIT_SIPI, "EventsFlag"},
    {"EVENTS_SHUTDOWN", (int64_t)VMLIB_EVENTS_SHUTDOWN, "EventsFlag"},
    {"EVENTS_SMM", (int64_t)VMLIB_EVENTS_SMM, "EventsFlag"},
    {"EVENTS_SMI_PENDING", (int64_t)VMLIB_EVENTS_SMI_PENDING, "EventsFlag"},
    {"EVENTS_INIT_PENDING", (int64_t)VMLIB_EVENTS_INIT_PENDING, "EventsFlag"},
    {"EVENTS_SIPI_PENDING", (int64_t)VMLIB_EVENTS_SIPI_PENDING, "EventsFlag"},
    {"EVENTS_INTR", (int64_t)VMLIB_EVENTS_INTR, "EventsFlag"},
    {"REG_RAX", (int64_t)VMLIB_REG_RAX, "Reg"},
    {"REG_RCX", (int64_t)VMLIB_REG_RCX, "Reg"},
    {"REG_RDX", (int64_t)VMLIB_REG_RDX, "Reg"},
    {"REG_RBX", (int64_t)VMLIB_REG_RBX, "Reg"},
    {"REG_RSP", (int64_t)VMLIB_REG_RSP, "Reg"},
    {"REG_RBP", (int64_t)VMLIB_REG_RBP, "Reg"},
    {"REG_RSI", (int64_t)VMLIB_REG_RSI, "Reg"},
    {"REG_RDI", (int64_t)VMLIB_REG_RDI, "Reg"},
    {"REG_R8", (int64_t)VMLIB_REG_R8, "Reg"},
    {"REG_R9", (int64_t)VMLIB_REG_R9, "Reg"},
    {"REG_R10", (int64_t)VMLIB_REG_R10, "Reg"},
    {"REG_R11", (int64_t)VMLIB_REG_R11, "Reg"},
    {"REG_R12", (int64_t)VMLIB_REG_R12, "Reg"},
    {"REG_R13", (int64_t)VMLIB_REG_R13, "Reg"},
    {"REG_R14", (int64_t)VMLIB_REG_R14, "Reg"},
    {"REG_R15", (int64_t)VMLIB_REG_R15, "Reg"},
    {"REG_RIP", (int64_t)VMLIB_REG_RIP, "Reg"},
    {"REG_RFLAGS", (int64_t)VMLIB_REG_RFLAGS, "Reg"},
    {"REG_CR0", (int64_t)VMLIB_REG_CR0, "Reg"},
    {"REG_CR2", (int64_t)VMLIB_REG_CR2, "Reg"},
    {"REG_CR3", (int64_t)VMLIB_REG_CR3, "Reg"},
    {"REG_CR4", (int64_t)VMLIB_REG_CR4, "Reg"},
    {"REG_CR8", (int64_t)VMLIB_REG_CR8, "Reg"},
    {"REG_XCR0", (int64_t)VMLIB_REG_XCR0, "Reg"},
    {"REG_EFER", (int64_t)VMLIB_REG_EFER, "Reg"},
    {"REG_APIC_BASE", (int64_t)VMLIB_REG_APIC_BASE, "Reg"},
    {"REG_DR0", (int64_t)VMLIB_REG_DR0, "Reg"},
    {"REG_DR1", (int64_t)VMLIB_REG_DR1, "Reg"},
    {"REG_DR2", (int64_t)VMLIB_REG_DR2, "Reg"},
    {"REG_DR3", (int64_t)VMLIB_REG_DR3, "Reg"},
    {"REG_DR6", (int64_t)VMLIB_REG_DR6, "Reg"},
    {"REG_DR7", (int64_t)VMLIB_REG_DR7, "Reg"},
    {"REG_FS_BASE", (int64_t)VMLIB_REG_FS_BASE, "Reg"},
    {"REG_GS_BASE", (int64_t)VMLIB_REG_GS_BASE, "Reg"},
    {"REG_KERNEL_GS_BASE", (int64_t)VMLIB_REG_KERNEL_GS_BASE, "Reg"},
    {"REG_TSC", (int64_t)VMLIB_REG_TSC, "Reg"},
    {"REG_COUNT", (int64_t)VMLIB_REG_COUNT, NULL},
    {"REG_ES", (int64_t)VMLIB_REG_ES, "Reg"},
    {"REG_CS", (int64_t)VMLIB_REG_CS, "Reg"},
    {"REG_SS", (int64_t)VMLIB_REG_SS, "Reg"},
    {"REG_DS", (int64_t)VMLIB_REG_DS, "Reg"},
    {"REG_FS", (int64_t)VMLIB_REG_FS, "Reg"},
    {"REG_GS", (int64_t)VMLIB_REG_GS, "Reg"},
    {"REG_LDTR", (int64_t)VMLIB_REG_LDTR, "Reg"},
    {"REG_TR", (int64_t)VMLIB_REG_TR, "Reg"},
    {"REG_GDTR", (int64_t)VMLIB_REG_GDTR, "Reg"},
    {"REG_IDTR", (int64_t)VMLIB_REG_IDTR, "Reg"},
    {"REG_XMM0", (int64_t)VMLIB_REG_XMM0, "Reg"},
    {"REG_YMM0", (int64_t)VMLIB_REG_YMM0, "Reg"},
    {"REG_ST0", (int64_t)VMLIB_REG_ST0, "Reg"},
    {"VCPU_RESET", (int64_t)VMLIB_VCPU_RESET, "Initial"},
    {"VCPU_WAIT_SIPI", (int64_t)VMLIB_VCPU_WAIT_SIPI, "Initial"},
    {"APIC_ID_INDEX", (int64_t)VMLIB_APIC_ID_INDEX, NULL},
    {"RUN_WAIT_IN_HLT", (int64_t)VMLIB_RUN_WAIT_IN_HLT, "RunFlag"},
    {"RUN_SINGLE_STEP", (int64_t)VMLIB_RUN_SINGLE_STEP, "RunFlag"},
    {"BREAKPOINT_OFF", (int64_t)VMLIB_BREAKPOINT_OFF, "BreakpointKind"},
    {"BREAKPOINT_EXEC", (int64_t)VMLIB_BREAKPOINT_EXEC, "BreakpointKind"},
    {"BREAKPOINT_WRITE", (int64_t)VMLIB_BREAKPOINT_WRITE, "BreakpointKind"},
    {"BREAKPOINT_ACCESS", (int64_t)VMLIB_BREAKPOINT_ACCESS, "BreakpointKind"},
    {"BREAKPOINTS", (int64_t)VMLIB_BREAKPOINTS, NULL},
    {"BOOT_AUTO", (int64_t)VMLIB_BOOT_AUTO, "BootFormat"},
    {"BOOT_FLAT", (int64_t)VMLIB_BOOT_FLAT, "BootFormat"},
    {"BOOT_SECTOR", (int64_t)VMLIB_BOOT_SECTOR, "BootFormat"},
    {"BOOT_ELF", (int64_t)VMLIB_BOOT_ELF, "BootFormat"},
    {"BOOT_MULTIBOOT", (int64_t)VMLIB_BOOT_MULTIBOOT, "BootFormat"},
    {"BOOT_PVH", (int64_t)VMLIB_BOOT_PVH, "BootFormat"},
    {"BOOT_LINUX", (int64_t)VMLIB_BOOT_LINUX, "BootFormat"},
    {"BOOT_FORMATS", (int64_t)VMLIB_BOOT_FORMATS, NULL},
    {"MEMORY_RAM", (int64_t)VMLIB_MEMORY_RAM, "MemoryType"},
    {"MEMORY_RESERVED", (int64_t)VMLIB_MEMORY_RESERVED, "MemoryType"},
    {"MEMORY_ACPI", (int64_t)VMLIB_MEMORY_ACPI, "MemoryType"},
    {"MEMORY_NVS", (int64_t)VMLIB_MEMORY_NVS, "MemoryType"},
    {"BOOT_MEMORY_MAX", (int64_t)VMLIB_BOOT_MEMORY_MAX, NULL},
    {"BOOT_MODULES_MAX", (int64_t)VMLIB_BOOT_MODULES_MAX, NULL},
    {"MACHINE_NO_HPET", (int64_t)VMLIB_MACHINE_NO_HPET, NULL},
    {"MACHINE_UNCLAIMED_EXITS", (int64_t)VMLIB_MACHINE_UNCLAIMED_EXITS, NULL},
    {"MACHINE_TIME_HOST", (int64_t)VMLIB_MACHINE_TIME_HOST, NULL},
    {"DISK_READ_ONLY", (int64_t)VMLIB_DISK_READ_ONLY, "DiskFlag"},
    {"DISK_OVERLAY", (int64_t)VMLIB_DISK_OVERLAY, "DiskFlag"},
    {"MACHINE_POWER_OFF", (int64_t)VMLIB_MACHINE_POWER_OFF, "MachineEnd"},
    {"MACHINE_RESET", (int64_t)VMLIB_MACHINE_RESET, "MachineEnd"},
    {"MACHINE_DEBUG_EXIT", (int64_t)VMLIB_MACHINE_DEBUG_EXIT, "MachineEnd"},
    {"MACHINE_SHUTDOWN", (int64_t)VMLIB_MACHINE_SHUTDOWN, "MachineEnd"},
    {"MACHINE_TIMEOUT", (int64_t)VMLIB_MACHINE_TIMEOUT, "MachineEnd"},
    {"MACHINE_STOPPED", (int64_t)VMLIB_MACHINE_STOPPED, "MachineEnd"},
    {"MACHINE_EXIT", (int64_t)VMLIB_MACHINE_EXIT, "MachineEnd"},
    {"MACHINE_ERROR", (int64_t)VMLIB_MACHINE_ERROR, "MachineEnd"},
    {"MOCK_EXIT", (int64_t)VMLIB_MOCK_EXIT, NULL},
    {"MOCK_ACCESS", (int64_t)VMLIB_MOCK_ACCESS, NULL},
    {"MOCK_RETIRE", (int64_t)VMLIB_MOCK_RETIRE, NULL},
    {"MOCK_SPIN", (int64_t)VMLIB_MOCK_SPIN, NULL},
    {"MOCK_FAIL", (int64_t)VMLIB_MOCK_FAIL, NULL},
    {"MOCK_NOTHING", (int64_t)VMLIB_MOCK_NOTHING, NULL},
    {"MOCK_COMPLETED", (int64_t)VMLIB_MOCK_COMPLETED, NULL},
    {"MOCK_FAULTED", (int64_t)VMLIB_MOCK_FAULTED, NULL},
    {"MOCK_CALL_MEM_UPDATE", (int64_t)VMLIB_MOCK_CALL_MEM_UPDATE, NULL},
    {"MOCK_CALL_VCPU_CREATE", (int64_t)VMLIB_MOCK_CALL_VCPU_CREATE, NULL},
    {"MOCK_CALL_RUN", (int64_t)VMLIB_MOCK_CALL_RUN, NULL},
    {"MOCK_CALL_COMPLETE", (int64_t)VMLIB_MOCK_CALL_COMPLETE, NULL},
    {"MOCK_CALL_GET_STATE", (int64_t)VMLIB_MOCK_CALL_GET_STATE, NULL},
    {"MOCK_CALL_SET_STATE", (int64_t)VMLIB_MOCK_CALL_SET_STATE, NULL},
    {"MOCK_CALL_INJECT", (int64_t)VMLIB_MOCK_CALL_INJECT, NULL},
    {"MOCK_CALLS", (int64_t)VMLIB_MOCK_CALLS, NULL},
};

/* Single registers of struct size `bytes`; 0: through vmlib_vcpu_get_reg(). */
struct record_register {
    const char *name;
    uint32_t reg;
    uint32_t bytes;
    const struct record_type *type; /* wide ones: a struct, or NULL for bytes */
};

static const struct record_register record_registers[] = {
    {"rax", VMLIB_REG_RAX, 0, NULL},
    {"rcx", VMLIB_REG_RCX, 0, NULL},
    {"rdx", VMLIB_REG_RDX, 0, NULL},
    {"rbx", VMLIB_REG_RBX, 0, NULL},
    {"rsp", VMLIB_REG_RSP, 0, NULL},
    {"rbp", VMLIB_REG_RBP, 0, NULL},
    {"rsi", VMLIB_REG_RSI, 0, NULL},
    {"rdi", VMLIB_REG_RDI, 0, NULL},
    {"r8", VMLIB_REG_R8, 0, NULL},
    {"r9", VMLIB_REG_R9, 0, NULL},
    {"r10", VMLIB_REG_R10, 0, NULL},
    {"r11", VMLIB_REG_R11, 0, NULL},
    {"r12", VMLIB_REG_R12, 0, NULL},
    {"r13", VMLIB_REG_R13, 0, NULL},
    {"r14", VMLIB_REG_R14, 0, NULL},
    {"r15", VMLIB_REG_R15, 0, NULL},
    {"rip", VMLIB_REG_RIP, 0, NULL},
    {"rflags", VMLIB_REG_RFLAGS, 0, NULL},
    {"cr0", VMLIB_REG_CR0, 0, NULL},
    {"cr2", VMLIB_REG_CR2, 0, NULL},
    {"cr3", VMLIB_REG_CR3, 0, NULL},
    {"cr4", VMLIB_REG_CR4, 0, NULL},
    {"cr8", VMLIB_REG_CR8, 0, NULL},
    {"xcr0", VMLIB_REG_XCR0, 0, NULL},
    {"efer", VMLIB_REG_EFER, 0, NULL},
    {"apic_base", VMLIB_REG_APIC_BASE, 0, NULL},
    {"dr0", VMLIB_REG_DR0, 0, NULL},
    {"dr1", VMLIB_REG_DR1, 0, NULL},
    {"dr2", VMLIB_REG_DR2, 0, NULL},
    {"dr3", VMLIB_REG_DR3, 0, NULL},
    {"dr6", VMLIB_REG_DR6, 0, NULL},
    {"dr7", VMLIB_REG_DR7, 0, NULL},
    {"fs_base", VMLIB_REG_FS_BASE, 0, NULL},
    {"gs_base", VMLIB_REG_GS_BASE, 0, NULL},
    {"kernel_gs_base", VMLIB_REG_KERNEL_GS_BASE, 0, NULL},
    {"tsc", VMLIB_REG_TSC, 0, NULL},
    {"es", VMLIB_REG_ES, sizeof(struct vmlib_segment), &record_types[RECORD_SEGMENT]},
    {"cs", VMLIB_REG_CS, sizeof(struct vmlib_segment), &record_types[RECORD_SEGMENT]},
    {"ss", VMLIB_REG_SS, sizeof(struct vmlib_segment), &record_types[RECORD_SEGMENT]},
    {"ds", VMLIB_REG_DS, sizeof(struct vmlib_segment), &record_types[RECORD_SEGMENT]},
    {"fs", VMLIB_REG_FS, sizeof(struct vmlib_segment), &record_types[RECORD_SEGMENT]},
    {"gs", VMLIB_REG_GS, sizeof(struct vmlib_segment), &record_types[RECORD_SEGMENT]},
    {"ldtr", VMLIB_REG_LDTR, sizeof(struct vmlib_segment), &record_types[RECORD_SEGMENT]},
    {"tr", VMLIB_REG_TR, sizeof(struct vmlib_segment), &record_types[RECORD_SEGMENT]},
    {"gdtr", VMLIB_REG_GDTR, sizeof(struct vmlib_table), &record_types[RECORD_TABLE]},
    {"idtr", VMLIB_REG_IDTR, sizeof(struct vmlib_table), &record_types[RECORD_TABLE]},
    {"xmm0", VMLIB_REG_XMM0 + 0, 16, NULL},
    {"xmm1", VMLIB_REG_XMM0 + 1, 16, NULL},
    {"xmm2", VMLIB_REG_XMM0 + 2, 16, NULL},
    {"xmm3", VMLIB_REG_XMM0 + 3, 16, NULL},
    {"xmm4", VMLIB_REG_XMM0 + 4, 16, NULL},
    {"xmm5", VMLIB_REG_XMM0 + 5, 16, NULL},
    {"xmm6", VMLIB_REG_XMM0 + 6, 16, NULL},
    {"xmm7", VMLIB_REG_XMM0 + 7, 16, NULL},
    {"xmm8", VMLIB_REG_XMM0 + 8, 16, NULL},
    {"xmm9", VMLIB_REG_XMM0 + 9, 16, NULL},
    {"xmm10", VMLIB_REG_XMM0 + 10, 16, NULL},
    {"xmm11", VMLIB_REG_XMM0 + 11, 16, NULL},
    {"xmm12", VMLIB_REG_XMM0 + 12, 16, NULL},
    {"xmm13", VMLIB_REG_XMM0 + 13, 16, NULL},
    {"xmm14", VMLIB_REG_XMM0 + 14, 16, NULL},
    {"xmm15", VMLIB_REG_XMM0 + 15, 16, NULL},
    {"ymm0", VMLIB_REG_YMM0 + 0, 32, NULL},
    {"ymm1", VMLIB_REG_YMM0 + 1, 32, NULL},
    {"ymm2", VMLIB_REG_YMM0 + 2, 32, NULL},
    {"ymm3", VMLIB_REG_YMM0 + 3, 32, NULL},
    {"ymm4", VMLIB_REG_YMM0 + 4, 32, NULL},
    {"ymm5", VMLIB_REG_YMM0 + 5, 32, NULL},
    {"ymm6", VMLIB_REG_YMM0 + 6, 32, NULL},
    {"ymm7", VMLIB_REG_YMM0 + 7, 32, NULL},
    {"ymm8", VMLIB_REG_YMM0 + 8, 32, NULL},
    {"ymm9", VMLIB_REG_YMM0 + 9, 32, NULL},
    {"ymm10", VMLIB_REG_YMM0 + 10, 32, NULL},
    {"ymm11", VMLIB_REG_YMM0 + 11, 32, NULL},
    {"ymm12", VMLIB_REG_YMM0 + 12, 32, NULL},
    {"ymm13", VMLIB_REG_YMM0 + 13, 32, NULL},
    {"ymm14", VMLIB_REG_YMM0 + 14, 32, NULL},
    {"ymm15", VMLIB_REG_YMM0 + 15, 32, NULL},
    {"st0", VMLIB_REG_ST0 + 0, 10, NULL},
    {"st1", VMLIB_REG_ST0 + 1, 10, NULL},
    {"st2", VMLIB_REG_ST0 + 2, 10, NULL},
    {"st3", VMLIB_REG_ST0 + 3, 10, NULL},
    {"st4", VMLIB_REG_ST0 + 4, 10, NULL},
    {"st5", VMLIB_REG_ST0 + 5, 10, NULL},
    {"st6", VMLIB_REG_ST0 + 6, 10, NULL},
    {"st7", VMLIB_REG_ST0 + 7, 10, NULL},
};
/* clang-format on */

#endif
