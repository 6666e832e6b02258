/*
 * Shared by the loaders. A loader sees the file as bytes with bounds, guest RAM as ranges of the
 * memory map, and sets the vCPU through one of the entry functions.
 */
#ifndef VMI_BOOT_LOAD_H
#define VMI_BOOT_LOAD_H

#include <stdbool.h>
#include <string.h>

#include <vmlib/boot.h>

#include "devices/error.h"
#include "devices/model.h"

#define VMI_BOOT_PLACED 136u

struct vmi_boot {
    vmlib_vm *vm;
    vmlib_vcpu *vcpu;
    const struct vmlib_boot_params *p;
    const uint8_t *file;
    uint64_t bytes;
    struct vmlib_boot_memory memory[VMLIB_BOOT_MEMORY_MAX];
    uint32_t memory_count;
    const char *cmdline; /* never NULL */
    struct vmlib_boot_result r;
    /* What has been put into guest memory so far. */
    struct {
        uint64_t gpa, bytes;
    } placed[VMI_BOOT_PLACED];
    unsigned placed_count;
};

/* Is [offset, offset + bytes) inside the file? */
static inline bool vmi_boot_in_file(const struct vmi_boot *b, uint64_t offset, uint64_t bytes)
{
    return offset <= b->bytes && bytes <= b->bytes - offset;
}

/* The fixed addresses, below the memory that kernels use: tables and structures of the loaders. */
#define VMI_BOOT_GDT     0x1000u
#define VMI_BOOT_INFO    0x7000u  /* zero page, multiboot information, hvm_start_info */
#define VMI_BOOT_PML4    0x9000u  /* page tables: 6 pages */
#define VMI_BOOT_LOW     0x10000u /* command lines, module lists, ... */
#define VMI_BOOT_LOW_END 0x80000u

/* Is the range RAM of the map? */
bool vmi_boot_is_ram(const struct vmi_boot *b, uint64_t gpa, uint64_t bytes);
/* Copy to a fixed place: must be RAM and free. `what` is for the error text. zero: bytes of zeros
 * that follow. */
int vmi_boot_place(struct vmi_boot *b, uint64_t gpa, const void *data, uint64_t bytes,
                   uint64_t zero, const char *what);
/* Find a free, aligned place in [low, high) from the top downwards (top) or upwards; page aligned.
 */
int vmi_boot_find(struct vmi_boot *b, uint64_t low, uint64_t high, uint64_t bytes, bool top,
                  const char *what, uint64_t *gpa);
/* A text at a free place below 512 KiB. */
int vmi_boot_place_text(struct vmi_boot *b, const char *text, uint64_t *gpa);

/* Entries. */
int vmi_boot_enter_real(struct vmi_boot *b, uint16_t cs, uint16_t ip);
struct vmi_boot_regs {
    uint64_t rip, rax, rbx, rsi, rsp;
};
int vmi_boot_enter_flat32(struct vmi_boot *b, const struct vmi_boot_regs *regs);
int vmi_boot_enter_long(struct vmi_boot *b, const struct vmi_boot_regs *regs);

/* ELF: copy the loadable segments; entry is e_entry as a physical address. */
struct vmi_elf {
    bool is64;
    uint16_t machine;
    uint64_t entry;      /* virtual */
    uint64_t entry_phys; /* through the segment it lies in */
    bool has_note;
    uint64_t note_entry; /* XEN_ELFNOTE_PHYS32_ENTRY */
};
bool vmi_elf_is(const struct vmi_boot *b);
int vmi_elf_parse(struct vmi_boot *b, struct vmi_elf *e);
int vmi_elf_load(struct vmi_boot *b, struct vmi_elf *e);

bool vmi_boot_is_linux(const struct vmi_boot *b);
bool vmi_boot_is_multiboot(const struct vmi_boot *b);
bool vmi_boot_is_pvh(struct vmi_boot *b);
bool vmi_boot_is_sector(const struct vmi_boot *b);

int vmi_boot_linux(struct vmi_boot *b);
int vmi_boot_multiboot(struct vmi_boot *b);
int vmi_boot_pvh(struct vmi_boot *b);
int vmi_boot_elf(struct vmi_boot *b);
int vmi_boot_flat(struct vmi_boot *b);
int vmi_boot_sector(struct vmi_boot *b);

/* Modules of multiboot and PVH: the initrd, if any, comes first. */
uint32_t vmi_boot_module_count(const struct vmi_boot *b);
struct vmlib_boot_module vmi_boot_module(const struct vmi_boot *b, uint32_t n);
/* Place module n: data and command line. */
int vmi_boot_place_module(struct vmi_boot *b, uint32_t n, uint64_t *gpa, uint64_t *text);

#endif
