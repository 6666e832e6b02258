/* Checks of arguments that several calls share. */
#include <string.h>

#include "core/internal.h"

/* A struct of another version of the headers is at most this large. */
#define SIZE_LIMIT 65536u

static int check_tail(const uint8_t *p, size_t from, size_t to, const char *name)
{
    for (size_t i = from; i < to; i++) {
        if (p[i] != 0) {
            return vmi_error(VMLIB_E_INVAL,
                             "%s->size: byte %zu is beyond what this version knows and not zero",
                             name, i);
        }
    }
    return 0;
}

int vmi_args_in(void *dst, size_t bytes, const void *src, const char *name)
{
    uint32_t size;
    memcpy(&size, src, sizeof(size));
    if (size < 2 * sizeof(size) || size > SIZE_LIMIT) {
        return vmi_error(VMLIB_E_INVAL, "%s->size is %u", name, size);
    }
    if (size > bytes) {
        int rc = check_tail(src, bytes, size, name);
        if (rc != 0) {
            return rc;
        }
    }
    memcpy(dst, src, size < bytes ? size : bytes);
    return 0;
}

int vmi_args_out(const void *p, size_t bytes, const char *name)
{
    uint32_t size;
    memcpy(&size, p, sizeof(size));
    if (size < bytes || size > SIZE_LIMIT) {
        return vmi_error(VMLIB_E_INVAL, "%s->size is %u, expected %zu", name, size, bytes);
    }
    return 0;
}

int vmi_args_cpuid(const struct vmlib_cpuid_leaf *leaves, uint32_t count)
{
    VMI_REQUIRE(leaves);
    if (count == 0 || count > VMLIB_CPUID_MAX) {
        return vmi_error(VMLIB_E_INVAL, "count is %u", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct vmlib_cpuid_leaf *a = &leaves[i];
        if ((a->flags & ~VMLIB_CPUID_SUBLEAF) != 0 || a->reserved != 0 ||
            (a->flags == 0 && a->subleaf != 0)) {
            return vmi_error(VMLIB_E_INVAL, "leaves[%u] has unknown flags", i);
        }
        for (uint32_t k = 0; k < i; k++) {
            const struct vmlib_cpuid_leaf *b = &leaves[k];
            if (a->leaf == b->leaf && a->subleaf == b->subleaf && a->flags == b->flags) {
                return vmi_error(VMLIB_E_INVAL, "leaves[%u] repeats leaf 0x%x", i, a->leaf);
            }
        }
    }
    return 0;
}

int vmi_args_event(const struct vmlib_event *e, const char *name)
{
    if (e->type == VMLIB_EVENT_NONE || e->type > VMLIB_EVENT_PRIVILEGED_SW) {
        return vmi_error(VMLIB_E_INVAL, "%s: type is %u", name, e->type);
    }
    bool exception = e->type == VMLIB_EVENT_EXCEPTION;
    if (e->vector > (exception ? 31u : 255u) || (e->type == VMLIB_EVENT_NMI && e->vector != 2)) {
        return vmi_error(VMLIB_E_INVAL, "%s: vector is %u", name, e->vector);
    }
    if ((e->flags & ~(VMLIB_EVENT_HAS_ERROR | VMLIB_EVENT_HAS_ADDRESS)) != 0 || e->reserved != 0 ||
        (e->flags != 0 && !exception)) {
        return vmi_error(VMLIB_E_INVAL, "%s: flags is 0x%x", name, e->flags);
    }
    bool software = e->type >= VMLIB_EVENT_SOFTWARE_INT;
    if (e->insn_len > 15 || (software && e->insn_len == 0)) {
        return vmi_error(VMLIB_E_INVAL, "%s: insn_len is %u", name, e->insn_len);
    }
    return 0;
}
