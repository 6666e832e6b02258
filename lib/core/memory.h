/* Regions and their memory. */
#ifndef VMI_CORE_MEMORY_H
#define VMI_CORE_MEMORY_H

#include "core/internal.h"

struct vmi_backing {
    vmi_ref refs; /* regions */
    uint8_t *host;
    uint64_t bytes;
    bool owned; /* unmap at the end */
};

struct vmlib_region {
    struct vmlib_vm *vm;
    uint32_t refs; /* the host's; under vm->lock */
    bool mapped;   /* under vm->lock */
    bool alias;
    uint64_t gpa, bytes;
    uint32_t prot, flags;
    struct vmi_backing *backing;
    uint64_t offset;         /* in backing */
    _Atomic uint64_t *dirty; /* one bit per page; NULL: no log */
};

#endif
