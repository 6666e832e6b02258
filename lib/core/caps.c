/* Capability queries. */
#include <stdio.h>
#include <string.h>

#include "core/internal.h"

uint32_t vmlib_version(void)
{
    return VMLIB_VERSION;
}

static int find(uint32_t id, const struct vmi_backend **out)
{
    if (id == VMLIB_BACKEND_NONE || id > VMLIB_BACKEND_LAST) {
        return vmi_error(VMLIB_E_INVAL, "backend is %u", id);
    }
    *out = vmi_registry_find(id);
    if (*out == NULL) {
        return vmi_error(VMLIB_E_NOTFOUND, "backend %u is not part of this build", id);
    }
    return 0;
}

int vmlib_backend_query(uint32_t backend, struct vmlib_backend_info *info)
{
    VMI_REQUIRE(info);
    const struct vmi_backend *b;
    int rc = vmi_args_out(info, sizeof(*info), "info");
    if (rc == 0) {
        rc = find(backend, &b);
    }
    if (rc != 0) {
        return rc;
    }
    info->backend = b->id;
    info->phys_bits = b->phys_bits;
    info->max_vcpus = b->max_vcpus;
    info->reserved = 0;
    memset(info->name, 0, sizeof(info->name));
    snprintf(info->name, sizeof(info->name), "%s", b->name);
    memset(info->reason, 0, sizeof(info->reason));
    info->available = b->probe(info->reason, sizeof(info->reason)) == 0;
    return 0;
}

int vmlib_backend_feature(uint32_t backend, uint32_t feature, uint32_t *support)
{
    VMI_REQUIRE(support);
    const struct vmi_backend *b;
    int rc = find(backend, &b);
    if (rc != 0) {
        return rc;
    }
    if (feature >= VMLIB_FEATURE_COUNT) {
        return vmi_error(VMLIB_E_INVAL, "feature is %u", feature);
    }
    *support = b->feature(feature);
    return 0;
}

const char *vmlib_feature_name(uint32_t feature)
{
    static const char *const names[VMLIB_FEATURE_COUNT] = {
        [VMLIB_FEATURE_GUEST_CODE] = "guest-code",
        [VMLIB_FEATURE_REAL_MODE] = "real-mode",
        [VMLIB_FEATURE_LONG_MODE] = "long-mode",
        [VMLIB_FEATURE_AVX2] = "avx2",
        [VMLIB_FEATURE_SMP] = "smp",
        [VMLIB_FEATURE_DETERMINISTIC] = "deterministic",
        [VMLIB_FEATURE_BUDGET] = "budget",
        [VMLIB_FEATURE_INSN_COUNT] = "insn-count",
        [VMLIB_FEATURE_SINGLE_STEP] = "single-step",
        [VMLIB_FEATURE_BREAKPOINTS] = "breakpoints",
        [VMLIB_FEATURE_EXCEPTION_EXITS] = "exception-exits",
        [VMLIB_FEATURE_MSR_HANDLERS] = "msr-handlers",
        [VMLIB_FEATURE_CPUID_HANDLERS] = "cpuid-handlers",
        [VMLIB_FEATURE_DIRTY_LOG] = "dirty-log",
        [VMLIB_FEATURE_PROT_READ] = "prot-read",
        [VMLIB_FEATURE_PROT_WRITE] = "prot-write",
        [VMLIB_FEATURE_PROT_EXEC] = "prot-exec",
        [VMLIB_FEATURE_NMI] = "nmi",
        [VMLIB_FEATURE_SMM] = "smm",
        [VMLIB_FEATURE_HYPERCALL_HANDLERS] = "hypercall-handlers",
        [VMLIB_FEATURE_DEVICE_TABLES] = "device-tables",
    };
    return feature < VMLIB_FEATURE_COUNT ? names[feature] : NULL;
}

int vmlib_backend_by_name(const char *name, uint32_t *backend)
{
    VMI_REQUIRE(name);
    VMI_REQUIRE(backend);
    const struct vmi_backend *b;
    for (unsigned i = 0; (b = vmi_registry_at(i)) != NULL; i++) {
        if (strcmp(b->name, name) == 0) {
            *backend = b->id;
            return 0;
        }
    }
    return vmi_error(VMLIB_E_NOTFOUND, "name: no backend \"%.64s\" in this build", name);
}

const char *vmlib_exit_name(uint32_t reason)
{
    static const char *const names[VMLIB_EXIT_COUNT] = {
        "none",
        "pio",
        "mmio",
        "msr",
        "cpuid",
        "hypercall",
        "hlt",
        "exception",
        "memory-fault",
        "debug",
        "interrupt-window",
        "shutdown",
        "cancelled",
        "deadline",
        "budget",
        "stopped",
        "internal",
    };
    return reason < VMLIB_EXIT_COUNT ? names[reason] : NULL;
}
