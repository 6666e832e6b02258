/* Multiboot 1 (Multiboot Specification 0.6.96). */
#include "boot/load.h"

#define MAGIC      0x1badb002u
#define BOOT_MAGIC 0x2badb002u
#define SEARCH     8192u

#define FLAG_ALIGN   0x1u
#define FLAG_MEMORY  0x2u
#define FLAG_VIDEO   0x4u
#define FLAG_ADDRESS 0x10000u
#define FLAGS_MUST   0xffffu /* bits 0 to 15: refuse what is not known */

/* Multiboot information, section 3.3. */
#define INFO_FLAGS      0
#define INFO_MEM_LOWER  4
#define INFO_MEM_UPPER  8
#define INFO_CMDLINE    16
#define INFO_MODS_COUNT 20
#define INFO_MODS_ADDR  24
#define INFO_MMAP_BYTES 44
#define INFO_MMAP_ADDR  48
#define INFO_LOADER     64
#define INFO_BYTES      120

#define HAS_MEMORY  0x001u
#define HAS_CMDLINE 0x004u
#define HAS_MODS    0x008u
#define HAS_MMAP    0x040u
#define HAS_LOADER  0x200u

/* Offset of the header, or UINT64_MAX. */
static uint64_t find_header(const struct vmi_boot *b)
{
    uint64_t at, end = vmi_min(b->bytes, SEARCH);

    for (at = 0; at + 12 <= end; at += 4) {
        const uint8_t *h = b->file + at;

        if (vmi_get32(h) == MAGIC &&
            (uint32_t)(vmi_get32(h) + vmi_get32(h + 4) + vmi_get32(h + 8)) == 0)
            return at;
    }
    return UINT64_MAX;
}

bool vmi_boot_is_multiboot(const struct vmi_boot *b)
{
    return find_header(b) != UINT64_MAX;
}

/* The address fields of the header replace the ELF headers (section 3.1.3). */
static int load_addresses(struct vmi_boot *b, uint64_t header, uint64_t *entry)
{
    const uint8_t *h = b->file + header;
    uint64_t header_addr, load, load_end, bss_end, offset, bytes, zero = 0;

    if (!vmi_boot_in_file(b, header, 32))
        return vmi_dev_error(VMLIB_E_INVAL, "multiboot: header is truncated");
    header_addr = vmi_get32(h + 12);
    load = vmi_get32(h + 16);
    load_end = vmi_get32(h + 20);
    bss_end = vmi_get32(h + 24);
    *entry = vmi_get32(h + 28);
    if (load > header_addr || header_addr - load > header)
        return vmi_dev_error(VMLIB_E_INVAL,
                             "multiboot: load address does not fit the position of the header");
    offset = header - (header_addr - load);
    bytes = load_end ? load_end - load : b->bytes - offset;
    if ((load_end && load_end < load) || !bytes || !vmi_boot_in_file(b, offset, bytes))
        return vmi_dev_error(VMLIB_E_INVAL, "multiboot: load range leaves the file");
    if (bss_end) {
        if (bss_end < load + bytes)
            return vmi_dev_error(VMLIB_E_INVAL, "multiboot: bss ends before the data");
        zero = bss_end - load - bytes;
    }
    b->r.kernel_gpa = load;
    b->r.kernel_bytes = bytes + zero;
    return vmi_boot_place(b, load, b->file + offset, bytes, zero, "multiboot kernel");
}

static int load_kernel(struct vmi_boot *b, uint64_t *entry)
{
    uint64_t header = find_header(b);
    struct vmi_elf e;
    uint32_t flags;
    int error;

    if (header == UINT64_MAX)
        return vmi_dev_error(VMLIB_E_INVAL, "multiboot: no header in the first 8 KiB");
    flags = vmi_get32(b->file + header + 4);
    if (flags & FLAG_VIDEO)
        return vmi_dev_error(VMLIB_E_UNSUPPORTED,
                             "multiboot: the kernel needs a video mode, and there is no display");
    if (flags & FLAGS_MUST & ~(FLAG_ALIGN | FLAG_MEMORY))
        return vmi_dev_error(VMLIB_E_UNSUPPORTED, "multiboot: unknown requirements %#x",
                             flags & FLAGS_MUST);
    if (flags & FLAG_ADDRESS)
        return load_addresses(b, header, entry);
    error = vmi_elf_parse(b, &e);
    if (!error)
        error = vmi_elf_load(b, &e);
    *entry = e.entry_phys;
    return error;
}

static int place_modules(struct vmi_boot *b, uint8_t *info)
{
    uint8_t list[16 * (VMLIB_BOOT_MODULES_MAX + 1)] = {0};
    uint32_t n, count = vmi_boot_module_count(b);
    uint64_t at;
    int error;

    for (n = 0; n < count; n++) {
        uint64_t gpa, text;

        error = vmi_boot_place_module(b, n, &gpa, &text);
        if (error)
            return error;
        vmi_put32(list + 16 * n, (uint32_t)gpa);
        vmi_put32(list + 16 * n + 4, (uint32_t)(gpa + vmi_boot_module(b, n).bytes));
        vmi_put32(list + 16 * n + 8, (uint32_t)text);
        if (n == 0 && b->p->initrd)
            b->r.initrd_gpa = gpa;
    }
    error =
        vmi_boot_find(b, VMI_BOOT_LOW, VMI_BOOT_LOW_END, sizeof list, false, "module list", &at);
    if (!error)
        error = vmi_boot_place(b, at, list, sizeof list, 0, "module list");
    vmi_put32(info + INFO_MODS_COUNT, count);
    vmi_put32(info + INFO_MODS_ADDR, (uint32_t)at);
    return error;
}

/* mem_lower, mem_upper and the map. */
static int place_map(struct vmi_boot *b, uint8_t *info)
{
    uint8_t map[24 * VMLIB_BOOT_MEMORY_MAX];
    uint64_t at, upper = 0, lower = 0;
    uint32_t n;
    int error;

    for (n = 0; n < b->memory_count; n++) {
        const struct vmlib_boot_memory *m = &b->memory[n];
        uint64_t end = m->gpa + m->bytes;

        vmi_put32(map + 24 * n, 20);
        vmi_put64(map + 24 * n + 4, m->gpa);
        vmi_put64(map + 24 * n + 12, m->bytes);
        vmi_put32(map + 24 * n + 20, m->type);
        if (m->type != VMLIB_MEMORY_RAM)
            continue;
        if (m->gpa == 0)
            lower = vmi_min(end, 0xa0000);
        if (m->gpa <= 0x100000 && end > 0x100000)
            upper = end - 0x100000;
    }
    vmi_put32(info + INFO_MEM_LOWER, (uint32_t)(lower >> 10));
    vmi_put32(info + INFO_MEM_UPPER, (uint32_t)vmi_min(upper >> 10, UINT32_MAX));
    error = vmi_boot_find(b, VMI_BOOT_LOW, VMI_BOOT_LOW_END, sizeof map, false, "memory map", &at);
    vmi_put32(info + INFO_MMAP_BYTES, 24 * b->memory_count);
    vmi_put32(info + INFO_MMAP_ADDR, (uint32_t)at);
    return error ? error : vmi_boot_place(b, at, map, 24ull * b->memory_count, 0, "memory map");
}

int vmi_boot_multiboot(struct vmi_boot *b)
{
    uint8_t info[INFO_BYTES] = {0};
    uint64_t entry = 0, text = 0;
    int error = load_kernel(b, &entry);

    if (!error)
        error = vmi_boot_place_text(b, b->cmdline, &text);
    vmi_put32(info + INFO_CMDLINE, (uint32_t)text);
    if (!error)
        error = vmi_boot_place_text(b, "libvmlib", &text);
    vmi_put32(info + INFO_LOADER, (uint32_t)text);
    if (!error)
        error = place_modules(b, info);
    if (!error)
        error = place_map(b, info);
    vmi_put32(info + INFO_FLAGS, HAS_MEMORY | HAS_CMDLINE | HAS_MODS | HAS_MMAP | HAS_LOADER);
    if (!error)
        error = vmi_boot_place(b, VMI_BOOT_INFO, info, sizeof info, 0, "multiboot information");
    b->r.info_gpa = VMI_BOOT_INFO;
    if (error)
        return error;
    return vmi_boot_enter_flat32(
        b, &(struct vmi_boot_regs){
               .rip = entry, .rax = BOOT_MAGIC, .rbx = VMI_BOOT_INFO, .rsp = 0x7000});
}
