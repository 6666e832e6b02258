/** @file
 * Loaders: put a kernel into guest memory and a vCPU at its entry point. Part of libvmlib-devices.
 */
#ifndef VMLIB_BOOT_H
#define VMLIB_BOOT_H

#include <vmlib/vmlib.h>

/** @defgroup boot Loaders
 * A kernel file is hostile data: whatever it holds, a loader answers with an error and its reason
 * (vmlib_devices_last_error()), or leaves a guest that is ready to run. On errors guest memory may
 * have been written.
 * @{ */

#define VMLIB_BOOT_AUTO   0u /**< look at the file; what no other format claims is refused */
#define VMLIB_BOOT_FLAT   1u /**< raw bytes, entered in real mode or 32-bit protected mode */
#define VMLIB_BOOT_SECTOR 2u /**< 512 bytes at 0000:7c00, real mode */
#define VMLIB_BOOT_ELF \
    3u /**< ELF32: flat 32-bit protected mode; ELF64: long mode, first 4 GiB mapped 1:1 */
#define VMLIB_BOOT_MULTIBOOT                                                                   \
    4u                        /**< Multiboot 1 (specification 0.6.96), ELF32 or address fields \
                               */
#define VMLIB_BOOT_PVH     5u /**< ELF with a Xen note that names a 32-bit entry */
#define VMLIB_BOOT_LINUX   6u /**< bzImage, by the 64-bit or else the 32-bit boot protocol */
#define VMLIB_BOOT_FORMATS 7u

/* vmlib_boot_memory.type: as in the table of BIOS call e820 */
#define VMLIB_MEMORY_RAM      1u
#define VMLIB_MEMORY_RESERVED 2u
#define VMLIB_MEMORY_ACPI     3u
#define VMLIB_MEMORY_NVS      4u

/** One range of the memory map that is told to the guest. */
struct vmlib_boot_memory {
    vmlib_gpa gpa;
    uint64_t bytes;
    uint32_t type; /**< VMLIB_MEMORY_ constant */
    uint32_t reserved;
};
#define VMLIB_BOOT_MEMORY_MAX 64u /**< most ranges of a map */

/** A file for the guest beside its kernel. */
struct vmlib_boot_module {
    const void *data;
    uint64_t bytes;
    const char *cmdline; /**< NULL: "" */
};
#define VMLIB_BOOT_MODULES_MAX 64u

/** What to load and how. All pointers are borrowed for the call. */
struct vmlib_boot_params {
    uint32_t size;   /**< sizeof of this struct; set by #VMLIB_BOOT_PARAMS_INIT */
    uint32_t format; /**< VMLIB_BOOT_ constant */
    const void *kernel;
    uint64_t kernel_bytes;
    const void *initrd; /**< Linux; for multiboot and PVH it is the first module. May be NULL */
    uint64_t initrd_bytes;
    const char *cmdline;                     /**< NULL: "" */
    const struct vmlib_boot_module *modules; /**< multiboot and PVH */
    uint32_t module_count;
    uint32_t memory_count;
    /** Sorted, without overlaps. NULL: all memory is one region at 0. */
    const struct vmlib_boot_memory *memory;
    vmlib_gpa rsdp;         /**< ACPI root pointer; 0: none */
    vmlib_gpa load_address; /**< #VMLIB_BOOT_FLAT: where the bytes go */
    /** #VMLIB_BOOT_FLAT: offset of the first instruction. */
    uint64_t entry_offset;
    /** #VMLIB_BOOT_FLAT: 16 or 32, width of the code at the entry; 0: 16 below 1 MiB, else 32. */
    uint32_t entry_bits;
    uint32_t reserved;
};
#define VMLIB_BOOT_PARAMS_INIT                                                                     \
    {                                                                                              \
        sizeof(struct vmlib_boot_params), 0, NULL, 0, NULL, 0, NULL, NULL, 0, 0, NULL, 0, 0, 0, 0, \
            0                                                                                      \
    }

/** What was loaded where. */
struct vmlib_boot_result {
    uint32_t size;   /**< sizeof of this struct, set by the caller */
    uint32_t format; /**< the VMLIB_BOOT_ constant that was taken */
    uint32_t bits;   /**< 16, 32 or 64: width of the code at the entry */
    uint32_t reserved;
    vmlib_gpa entry;       /**< linear address of the first instruction */
    vmlib_gpa kernel_gpa;  /**< lowest address of the kernel */
    uint64_t kernel_bytes; /**< from there to its highest address */
    vmlib_gpa initrd_gpa;  /**< 0: none */
    vmlib_gpa info_gpa;    /**< zero page, multiboot information or hvm_start_info; 0: none */
};
#define VMLIB_BOOT_RESULT_INIT                                   \
    {                                                            \
        sizeof(struct vmlib_boot_result), 0, 0, 0, 0, 0, 0, 0, 0 \
    }

/** A file in memory, read only. */
struct vmlib_boot_file {
    const void *data; /**< never NULL while open */
    uint64_t bytes;
};

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Load a kernel and set the vCPU's registers to its entry.
 * @param vcpu The boot processor, not running.
 * @param[in,out] result Caller sets `size`; may be NULL.
 * @retval VMLIB_E_INVAL an argument is NULL or wrong, or the file is damaged or of no known format.
 * @retval VMLIB_E_RANGE something does not fit into the RAM of the memory map, or no region is
 * there.
 * @retval VMLIB_E_LIMIT the command line is longer than the kernel accepts, or too many modules or
 * ranges.
 * @retval VMLIB_E_UNSUPPORTED the kernel wants something that the format allows and the loader does
 * not have.
 * @retval VMLIB_E_NOMEM out of memory.
 * @return Or what the library answered when the vCPU's state was set.
 * @thread{vcpu thread}
 */
VMLIB_API int vmlib_boot_load(vmlib_vm *vm, vmlib_vcpu *vcpu,
                              const struct vmlib_boot_params *params,
                              struct vmlib_boot_result *result);

/**
 * Tell a kernel's format by its content.
 * @param[out] format VMLIB_BOOT_ constant, #VMLIB_BOOT_AUTO when none matches.
 * @retval VMLIB_E_INVAL an argument is NULL.
 * @thread{any}
 */
VMLIB_API int vmlib_boot_detect(const void *kernel, uint64_t bytes, uint32_t *format);

/**
 * Return the short name of a format ("linux"), or NULL for an unknown number.
 * @thread{any}
 */
VMLIB_API const char *vmlib_boot_format_name(uint32_t format);

/**
 * Map a file into memory, read only.
 * @param[out] file Drop it with vmlib_boot_file_close().
 * @retval VMLIB_E_INVAL an argument is NULL, or the file is empty or not a regular file.
 * @retval VMLIB_E_IO it cannot be opened or mapped.
 * @thread{any}
 */
VMLIB_API int vmlib_boot_file_open(const char *path, struct vmlib_boot_file *file);

/**
 * Give a file's memory back. A zeroed struct or NULL is allowed.
 * @thread{any}
 */
VMLIB_API void vmlib_boot_file_close(struct vmlib_boot_file *file);

/**
 * Return the detail of the last call of this library (loaders and devices) on this thread that
 * failed.
 * @return Text that stays valid until the next failing call on this thread; "" when none has
 * failed.
 * @thread{any}
 */
VMLIB_API const char *vmlib_devices_last_error(void);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
