/* PVH: direct boot of an ELF file at the 32-bit entry of its Xen note (Xen's documentation, x86/HVM
 * direct boot ABI). */
#include "boot/load.h"

#define MAGIC 0x336ec578u

/* hvm_start_info, version 1. */
#define INFO_MAGIC       0
#define INFO_VERSION     4
#define INFO_NR_MODULES  12
#define INFO_MODULES     16
#define INFO_CMDLINE     24
#define INFO_RSDP        32
#define INFO_MAP         40
#define INFO_MAP_ENTRIES 48
#define INFO_BYTES       56

bool vmi_boot_is_pvh(struct vmi_boot *b)
{
    struct vmi_elf e;

    return vmi_elf_is(b) && !vmi_elf_parse(b, &e) && e.has_note;
}

static int place_modules(struct vmi_boot *b, uint8_t *info)
{
    uint8_t list[32 * (VMLIB_BOOT_MODULES_MAX + 1)] = {0};
    uint32_t n, count = vmi_boot_module_count(b);
    uint64_t at, gpa, text;
    int error;

    if (!count)
        return 0;
    for (n = 0; n < count; n++) {
        error = vmi_boot_place_module(b, n, &gpa, &text);
        if (error)
            return error;
        vmi_put64(list + 32 * n, gpa);
        vmi_put64(list + 32 * n + 8, vmi_boot_module(b, n).bytes);
        vmi_put64(list + 32 * n + 16, text);
        if (n == 0 && b->p->initrd)
            b->r.initrd_gpa = gpa;
    }
    error =
        vmi_boot_find(b, VMI_BOOT_LOW, VMI_BOOT_LOW_END, sizeof list, false, "module list", &at);
    vmi_put32(info + INFO_NR_MODULES, count);
    vmi_put64(info + INFO_MODULES, at);
    return error ? error : vmi_boot_place(b, at, list, sizeof list, 0, "module list");
}

static int place_map(struct vmi_boot *b, uint8_t *info)
{
    uint8_t map[24 * VMLIB_BOOT_MEMORY_MAX] = {0};
    uint64_t at;
    uint32_t n;
    int error;

    for (n = 0; n < b->memory_count; n++) {
        vmi_put64(map + 24 * n, b->memory[n].gpa);
        vmi_put64(map + 24 * n + 8, b->memory[n].bytes);
        vmi_put32(map + 24 * n + 16, b->memory[n].type);
    }
    error = vmi_boot_find(b, VMI_BOOT_LOW, VMI_BOOT_LOW_END, sizeof map, false, "memory map", &at);
    vmi_put64(info + INFO_MAP, at);
    vmi_put32(info + INFO_MAP_ENTRIES, b->memory_count);
    return error ? error : vmi_boot_place(b, at, map, 24ull * b->memory_count, 0, "memory map");
}

int vmi_boot_pvh(struct vmi_boot *b)
{
    uint8_t info[INFO_BYTES] = {0};
    struct vmi_elf e;
    uint64_t text = 0;
    int error = vmi_elf_parse(b, &e);

    if (error)
        return error;
    if (!e.has_note)
        return vmi_dev_error(VMLIB_E_INVAL, "pvh: the file has no Xen note with a 32-bit entry");
    error = vmi_elf_load(b, &e);
    if (!error)
        error = vmi_boot_place_text(b, b->cmdline, &text);
    vmi_put32(info + INFO_MAGIC, MAGIC);
    vmi_put32(info + INFO_VERSION, 1);
    vmi_put64(info + INFO_CMDLINE, text);
    vmi_put64(info + INFO_RSDP, b->p->rsdp);
    if (!error)
        error = place_modules(b, info);
    if (!error)
        error = place_map(b, info);
    if (!error)
        error = vmi_boot_place(b, VMI_BOOT_INFO, info, sizeof info, 0, "hvm_start_info");
    b->r.info_gpa = VMI_BOOT_INFO;
    if (error)
        return error;
    return vmi_boot_enter_flat32(
        b, &(struct vmi_boot_regs){.rip = e.note_entry, .rbx = VMI_BOOT_INFO});
}
