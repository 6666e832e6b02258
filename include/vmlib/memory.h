/** @file
 * Guest memory: regions, access from the host, guest-virtual addresses, dirty pages.
 */
#ifndef VMLIB_MEMORY_H
#define VMLIB_MEMORY_H

#include <vmlib/vm.h>

/** @defgroup memory Memory
 * A region is a range of guest-physical addresses with something behind it. What no region covers
 * is a hole: handlers may claim it, and accesses that no handler takes are #VMLIB_EXIT_MMIO
 * records.
 * @{ */

/** A region. Stays in the memory map until vmlib_region_remove() or the end of the VM, with or
 * without handles. */
typedef struct vmlib_region vmlib_region;

#define VMLIB_PROT_R   1u
#define VMLIB_PROT_W   2u
#define VMLIB_PROT_X   4u
#define VMLIB_PROT_RWX 7u

#define VMLIB_BACKING_ANON 0u /**< zeroed memory that the library owns */
#define VMLIB_BACKING_HOST \
    1u /**< memory of the caller at `host`, page aligned; must outlive the region */
#define VMLIB_BACKING_FD \
    2u /**< file or memfd at `fd_offset`; the descriptor may be closed after the call */
#define VMLIB_BACKING_ALIAS 3u /**< part of region `alias` from `alias_offset` */

#define VMLIB_REGION_DIRTY_LOG 1u /**< remember which pages are written: vmlib_region_dirty() */
#define VMLIB_REGION_ROM       2u /**< no guest writes whatever `prot` says; the host may write */
#define VMLIB_REGION_SHARED \
    4u /**< #VMLIB_BACKING_FD: writes reach the file; without it they stay private */

#define VMLIB_MAX_REGIONS 1024u

/** What a region is created from. */
struct vmlib_region_config {
    uint32_t size;    /**< sizeof of this struct; set by #VMLIB_REGION_CONFIG_INIT */
    uint32_t backing; /**< VMLIB_BACKING_ constant */
    vmlib_gpa gpa;    /**< page aligned */
    uint64_t bytes;   /**< length, a multiple of the page size */
    uint32_t prot;    /**< VMLIB_PROT_ bits */
    uint32_t flags;   /**< VMLIB_REGION_ bits */
    void *host;
    int32_t fd;
    uint32_t reserved;
    uint64_t fd_offset; /**< page aligned */
    vmlib_region *alias;
    uint64_t alias_offset; /**< page aligned */
};
#define VMLIB_REGION_CONFIG_INIT                                                                \
    {                                                                                           \
        sizeof(struct vmlib_region_config), 0, 0, 0, VMLIB_PROT_RWX, 0, NULL, -1, 0, 0, NULL, 0 \
    }

/* Why vmlib_vcpu_translate() found no address: vmlib_translation.fault */
#define VMLIB_TRANSLATE_OK          0u
#define VMLIB_TRANSLATE_NOT_PRESENT 1u
#define VMLIB_TRANSLATE_PROTECTION \
    2u /**< the page tables forbid the access at the current privilege level */
#define VMLIB_TRANSLATE_RESERVED_BIT  3u
#define VMLIB_TRANSLATE_NON_CANONICAL 4u
#define VMLIB_TRANSLATE_TABLE         5u /**< a page table lies outside memory */

#define VMLIB_TRANSLATION_MEMORY 1u /**< a region is behind the address */

/** Answer of vmlib_vcpu_translate(). */
struct vmlib_translation {
    uint32_t size;       /**< sizeof of this struct, set by the caller */
    uint32_t fault;      /**< VMLIB_TRANSLATE_ constant */
    vmlib_gpa gpa;       /**< valid without fault */
    uint32_t error_code; /**< the page-fault error code the guest would see (SDM Vol.3A 4.7) */
    uint32_t page_bits;  /**< log2 of the page size: 12, 21, 22, 30; 12 without paging */
    uint32_t flags;      /**< VMLIB_TRANSLATION_ bits */
    uint32_t prot;       /**< VMLIB_PROT_ bits that the page tables grant at this privilege level */
};
#define VMLIB_TRANSLATION_INIT                             \
    {                                                      \
        sizeof(struct vmlib_translation), 0, 0, 0, 0, 0, 0 \
    }

/* vmlib_region_dirty() */
#define VMLIB_DIRTY_CLEAR 1u /**< start over for the pages that are reported */

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Create a region and put it into the memory map. vCPUs may be running.
 * @param config What and where.
 * @param[out] region One reference. The map holds its own: the handle may be dropped at once.
 * @retval VMLIB_E_INVAL an argument is NULL, unaligned, zero or has unknown bits.
 * @retval VMLIB_E_RANGE gpa + bytes or the backing's offset + bytes leaves the address space or the
 * backing.
 * @retval VMLIB_E_EXISTS the range overlaps another region.
 * @retval VMLIB_E_UNSUPPORTED the backend cannot do this protection or dirty logging.
 * @retval VMLIB_E_LIMIT #VMLIB_MAX_REGIONS regions exist.
 * @retval VMLIB_E_IO the file cannot be mapped.
 * @retval VMLIB_E_NOMEM out of memory.
 * @retval VMLIB_E_FORK see #VMLIB_E_FORK.
 * @thread{any}
 */
VMLIB_API int vmlib_region_create(vmlib_vm *vm, const struct vmlib_region_config *config,
                                  vmlib_region **region);

/**
 * Take one more reference; returns region.
 * @thread{any}
 */
VMLIB_API vmlib_region *vmlib_region_ref(vmlib_region *region);

/**
 * Drop a reference; NULL is allowed. Does not remove the region from the map.
 * @thread{any}
 */
VMLIB_API void vmlib_region_unref(vmlib_region *region);

/**
 * Change the protection. When the call returns, no vCPU uses the old one.
 * @param prot VMLIB_PROT_ bits; 0 makes every access a #VMLIB_EXIT_MEMORY_FAULT.
 * @retval VMLIB_E_INVAL region is NULL or prot has unknown bits.
 * @retval VMLIB_E_NOTFOUND the region has been removed.
 * @retval VMLIB_E_UNSUPPORTED the backend cannot do this protection.
 * @retval VMLIB_E_NOMEM out of memory.
 * @thread{any}
 */
VMLIB_API int vmlib_region_protect(vmlib_region *region, uint32_t prot);

/**
 * Take the region out of the memory map. When the call returns, no vCPU uses it. Its memory lives
 * until the last handle and the last alias are gone.
 * @retval VMLIB_E_INVAL region is NULL.
 * @retval VMLIB_E_NOTFOUND the region has already been removed.
 * @retval VMLIB_E_NOMEM out of memory.
 * @thread{any}
 */
VMLIB_API int vmlib_region_remove(vmlib_region *region);

/**
 * Get the host address of the region's first byte. It is valid while the caller holds a reference.
 * Reads and writes through it race with running vCPUs; after a write call vmlib_region_written().
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @thread{any}
 */
VMLIB_API int vmlib_region_host(vmlib_region *region, void **host);

/**
 * Tell the library that the host has written through vmlib_region_host(): the pages become dirty
 * and code that was read from them is read again.
 * @retval VMLIB_E_INVAL region is NULL.
 * @retval VMLIB_E_RANGE offset + bytes is outside the region.
 * @thread{any}
 */
VMLIB_API int vmlib_region_written(vmlib_region *region, uint64_t offset, uint64_t bytes);

/**
 * Get the guest-physical address and the length of a region.
 * @param[out] gpa May be NULL.
 * @param[out] bytes May be NULL.
 * @retval VMLIB_E_INVAL region is NULL.
 * @thread{any}
 */
VMLIB_API int vmlib_region_range(const vmlib_region *region, vmlib_gpa *gpa, uint64_t *bytes);

/**
 * Report which pages have been written since the region was created or last cleared.
 * @param offset,bytes Part of the region, page aligned.
 * @param[out] bitmap One bit per page, bit 0 of word 0 is the page at `offset`; (pages + 63) / 64
 * words.
 * @param flags #VMLIB_DIRTY_CLEAR or 0. A write is in this report or in the next one, never lost.
 * Where #VMLIB_FEATURE_DIRTY_LOG is approximate, pages may be reported that were only read or
 * executed.
 * @retval VMLIB_E_INVAL an argument is NULL, unaligned or has unknown bits.
 * @retval VMLIB_E_RANGE the part is outside the region.
 * @retval VMLIB_E_STATE the region was created without #VMLIB_REGION_DIRTY_LOG.
 * @retval VMLIB_E_NOTFOUND the region has been removed.
 * @thread{any}
 */
VMLIB_API int vmlib_region_dirty(vmlib_region *region, uint64_t offset, uint64_t bytes,
                                 uint64_t *bitmap, uint32_t flags);

/**
 * Copy guest-physical memory to the host. Protection is ignored. Nothing is promised about
 * atomicity against vCPUs, except for naturally aligned 1, 2, 4 and 8 bytes.
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_RANGE gpa + bytes overflows.
 * @retval VMLIB_E_FAULT a part is not covered by a region; nothing has been copied.
 * @thread{any}
 */
VMLIB_API int vmlib_vm_read(vmlib_vm *vm, vmlib_gpa gpa, void *buffer, uint64_t bytes);

/**
 * Copy from the host to guest-physical memory; ROM is written too. As vmlib_vm_read() otherwise.
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_RANGE gpa + bytes overflows.
 * @retval VMLIB_E_FAULT a part is not covered by a region; nothing has been copied.
 * @thread{any}
 */
VMLIB_API int vmlib_vm_write(vmlib_vm *vm, vmlib_gpa gpa, const void *buffer, uint64_t bytes);

/**
 * Translate a linear address as the vCPU would for this access at its current privilege level.
 * Changes nothing, not even accessed bits. A translation that fails is not an error: see
 * vmlib_translation.fault.
 * @param access VMLIB_ACCESS_ constant (exit.h).
 * @param[in,out] translation Caller sets `size`.
 * @retval VMLIB_E_INVAL an argument is NULL or unknown, or translation has a wrong size.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_translate(vmlib_vcpu *vcpu, vmlib_gva gva, uint32_t access,
                                   struct vmlib_translation *translation);

/**
 * Copy guest-virtual memory to the host through the current page tables with supervisor rights.
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_RANGE gva + bytes overflows.
 * @retval VMLIB_E_FAULT an address has no translation or no memory; the detail text has the first
 * one. Nothing has been copied.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_read_virt(vmlib_vcpu *vcpu, vmlib_gva gva, void *buffer, uint64_t bytes);

/**
 * Copy from the host to guest-virtual memory; write protection of the guest's page tables and
 * regions is ignored (a debugger sets breakpoints with this). As vmlib_vcpu_read_virt() otherwise.
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @retval VMLIB_E_RANGE gva + bytes overflows.
 * @retval VMLIB_E_FAULT an address has no translation or no memory; nothing has been written.
 * @retval VMLIB_E_BUSY the vCPU runs on another thread.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_vcpu_write_virt(vmlib_vcpu *vcpu, vmlib_gva gva, const void *buffer,
                                    uint64_t bytes);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
