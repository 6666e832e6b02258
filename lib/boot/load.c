/* Loaders: choice of the format, and placement in guest memory. */
#include <stdlib.h>

#include "boot/load.h"

static const struct {
    const char *name;
    int (*load)(struct vmi_boot *b);
} formats[VMLIB_BOOT_FORMATS] = {
    [VMLIB_BOOT_AUTO] = {"auto", NULL},
    [VMLIB_BOOT_FLAT] = {"flat", vmi_boot_flat},
    [VMLIB_BOOT_SECTOR] = {"boot sector", vmi_boot_sector},
    [VMLIB_BOOT_ELF] = {"elf", vmi_boot_elf},
    [VMLIB_BOOT_MULTIBOOT] = {"multiboot", vmi_boot_multiboot},
    [VMLIB_BOOT_PVH] = {"pvh", vmi_boot_pvh},
    [VMLIB_BOOT_LINUX] = {"linux", vmi_boot_linux},
};

const char *vmlib_boot_format_name(uint32_t format)
{
    return format < VMLIB_BOOT_FORMATS ? formats[format].name : NULL;
}

static uint32_t detect(struct vmi_boot *b)
{
    if (vmi_boot_is_linux(b))
        return VMLIB_BOOT_LINUX;
    if (vmi_boot_is_multiboot(b))
        return VMLIB_BOOT_MULTIBOOT;
    if (vmi_elf_is(b))
        return vmi_boot_is_pvh(b) ? VMLIB_BOOT_PVH : VMLIB_BOOT_ELF;
    if (vmi_boot_is_sector(b))
        return VMLIB_BOOT_SECTOR;
    return VMLIB_BOOT_AUTO;
}

int vmlib_boot_detect(const void *kernel, uint64_t bytes, uint32_t *format)
{
    struct vmi_boot *b;

    if (!kernel || !format)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", kernel ? "format" : "kernel");
    b = calloc(1, sizeof *b);
    if (!b)
        return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
    b->file = kernel;
    b->bytes = bytes;
    *format = detect(b);
    free(b);
    return 0;
}

bool vmi_boot_is_ram(const struct vmi_boot *b, uint64_t gpa, uint64_t bytes)
{
    uint32_t n;

    /* Neighbouring ranges of RAM count as one. */
    for (n = 0; n < b->memory_count && bytes; n++) {
        const struct vmlib_boot_memory *m = &b->memory[n];
        uint64_t part;

        if (m->type != VMLIB_MEMORY_RAM || gpa < m->gpa || gpa - m->gpa >= m->bytes)
            continue;
        part = vmi_min(bytes, m->bytes - (gpa - m->gpa));
        gpa += part;
        bytes -= part;
    }
    return bytes == 0;
}

/* The piece that overlaps, or -1. */
static int overlap(const struct vmi_boot *b, uint64_t gpa, uint64_t bytes)
{
    unsigned n;

    for (n = 0; n < b->placed_count; n++)
        if (gpa < b->placed[n].gpa + b->placed[n].bytes && b->placed[n].gpa < gpa + bytes)
            return (int)n;
    return -1;
}

static int write_zeros(struct vmi_boot *b, uint64_t gpa, uint64_t bytes, const char *what)
{
    static const uint8_t zeros[4096];

    while (bytes) {
        uint64_t part = vmi_min(bytes, sizeof zeros);

        if (vmlib_vm_write(b->vm, gpa, zeros, part))
            return vmi_dev_error_lib(VMLIB_E_RANGE, what);
        gpa += part;
        bytes -= part;
    }
    return 0;
}

int vmi_boot_place(struct vmi_boot *b, uint64_t gpa, const void *data, uint64_t bytes,
                   uint64_t zero, const char *what)
{
    uint64_t all;

    if (zero > UINT64_MAX - bytes || gpa > UINT64_MAX - bytes - zero)
        return vmi_dev_error(VMLIB_E_RANGE, "%s: address and size overflow", what);
    all = bytes + zero;
    if (!all)
        return 0;
    if (!vmi_boot_is_ram(b, gpa, all))
        return vmi_dev_error(VMLIB_E_RANGE, "%s: %#llx bytes at %#llx are not RAM", what,
                             (unsigned long long)all, (unsigned long long)gpa);
    if (overlap(b, gpa, all) >= 0)
        return vmi_dev_error(VMLIB_E_INVAL,
                             "%s: %#llx bytes at %#llx overlap something that is loaded there",
                             what, (unsigned long long)all, (unsigned long long)gpa);
    if (b->placed_count == VMI_BOOT_PLACED)
        return vmi_dev_error(VMLIB_E_LIMIT, "%s: too many pieces", what);
    b->placed[b->placed_count].gpa = gpa;
    b->placed[b->placed_count++].bytes = all;
    if (bytes && vmlib_vm_write(b->vm, gpa, data, bytes))
        return vmi_dev_error_lib(VMLIB_E_RANGE, what);
    return write_zeros(b, gpa + bytes, zero, what);
}

/* The highest place in one range, or the lowest; 0 bytes left of nothing: false. */
static bool fit(const struct vmi_boot *b, uint64_t low, uint64_t high, uint64_t bytes, bool top,
                uint64_t *gpa)
{
    uint64_t at;
    int hit;

    low = (low + 4095) & ~4095ull;
    high &= ~4095ull;
    for (;;) {
        if (high < low || high - low < bytes)
            return false;
        at = top ? (high - bytes) & ~4095ull : low;
        if (at < low)
            return false;
        hit = overlap(b, at, bytes);
        if (hit < 0)
            break;
        if (top)
            high = b->placed[hit].gpa & ~4095ull;
        else
            low = (b->placed[hit].gpa + b->placed[hit].bytes + 4095) & ~4095ull;
    }
    *gpa = at;
    return true;
}

int vmi_boot_find(struct vmi_boot *b, uint64_t low, uint64_t high, uint64_t bytes, bool top,
                  const char *what, uint64_t *gpa)
{
    uint32_t i;

    for (i = 0; i < b->memory_count; i++) {
        const struct vmlib_boot_memory *m = &b->memory[top ? b->memory_count - 1 - i : i];
        uint64_t from = m->gpa > low ? m->gpa : low, to = vmi_min(m->gpa + m->bytes, high);

        if (m->type == VMLIB_MEMORY_RAM && from < to && fit(b, from, to, bytes, top, gpa))
            return 0;
    }
    return vmi_dev_error(
        VMLIB_E_RANGE, "%s: no room for %#llx bytes in RAM between %#llx and %#llx", what,
        (unsigned long long)bytes, (unsigned long long)low, (unsigned long long)high);
}

int vmi_boot_place_text(struct vmi_boot *b, const char *text, uint64_t *gpa)
{
    uint64_t bytes = strlen(text) + 1;
    int error = vmi_boot_find(b, VMI_BOOT_LOW, VMI_BOOT_LOW_END, bytes, false, "command line", gpa);

    return error ? error : vmi_boot_place(b, *gpa, text, bytes, 0, "command line");
}

uint32_t vmi_boot_module_count(const struct vmi_boot *b)
{
    return b->p->module_count + (b->p->initrd ? 1 : 0);
}

struct vmlib_boot_module vmi_boot_module(const struct vmi_boot *b, uint32_t n)
{
    if (b->p->initrd) {
        if (n == 0)
            return (struct vmlib_boot_module){b->p->initrd, b->p->initrd_bytes, ""};
        n--;
    }
    return b->p->modules[n];
}

int vmi_boot_place_module(struct vmi_boot *b, uint32_t n, uint64_t *gpa, uint64_t *text)
{
    struct vmlib_boot_module m = vmi_boot_module(b, n);
    int error;

    error = vmi_boot_find(b, 0x100000, 0x100000000ull, m.bytes ? m.bytes : 1, false, "module", gpa);
    if (!error)
        error = vmi_boot_place(b, *gpa, m.data, m.bytes, 0, "module");
    if (!error)
        error = vmi_boot_place_text(b, m.cmdline ? m.cmdline : "", text);
    return error;
}

/* The map of the caller, checked; or one range as large as the region at 0. */
static int take_memory(struct vmi_boot *b)
{
    const struct vmlib_boot_params *p = b->p;
    uint64_t end = 0;
    uint32_t n;

    if (p->memory_count > VMLIB_BOOT_MEMORY_MAX)
        return vmi_dev_error(VMLIB_E_LIMIT, "memory: more than %u ranges", VMLIB_BOOT_MEMORY_MAX);
    if (!p->memory || !p->memory_count) {
        uint64_t step = 1ull << 40, size = 0;
        uint8_t byte;

        for (; step >= VMLIB_PAGE_SIZE; step >>= 1)
            if (!vmlib_vm_read(b->vm, size + step - 1, &byte, 1))
                size += step;
        b->memory[0] = (struct vmlib_boot_memory){0, size, VMLIB_MEMORY_RAM, 0};
        b->memory_count = 1;
        return size ? 0 : vmi_dev_error(VMLIB_E_RANGE, "memory: there is no region at address 0");
    }
    for (n = 0; n < p->memory_count; n++) {
        const struct vmlib_boot_memory *m = &p->memory[n];

        if (m->gpa < end || m->bytes > UINT64_MAX - m->gpa)
            return vmi_dev_error(VMLIB_E_INVAL,
                                 "memory: range %u is not sorted, overlaps or overflows", n);
        end = m->gpa + m->bytes;
        b->memory[n] = *m;
    }
    b->memory_count = p->memory_count;
    return 0;
}

static int check_params(const struct vmlib_boot_params *p)
{
    uint32_t n;

    if (p->size != sizeof *p)
        return vmi_dev_error(VMLIB_E_INVAL, "params: size is not that of struct vmlib_boot_params");
    if (p->format >= VMLIB_BOOT_FORMATS)
        return vmi_dev_error(VMLIB_E_INVAL, "params: unknown format %u", p->format);
    if (!p->kernel || !p->kernel_bytes)
        return vmi_dev_error(VMLIB_E_INVAL, "params: kernel is NULL or empty");
    if (p->entry_bits != 0 && p->entry_bits != 16 && p->entry_bits != 32)
        return vmi_dev_error(VMLIB_E_INVAL, "params: entry_bits is neither 16 nor 32");
    if (p->module_count > VMLIB_BOOT_MODULES_MAX)
        return vmi_dev_error(VMLIB_E_LIMIT, "params: more than %u modules", VMLIB_BOOT_MODULES_MAX);
    if (p->module_count && !p->modules)
        return vmi_dev_error(VMLIB_E_INVAL, "params: modules is NULL");
    if (!p->initrd && p->initrd_bytes)
        return vmi_dev_error(VMLIB_E_INVAL, "params: initrd is NULL");
    for (n = 0; n < p->module_count; n++)
        if (!p->modules[n].data && p->modules[n].bytes)
            return vmi_dev_error(VMLIB_E_INVAL, "params: data of module %u is NULL", n);
    return 0;
}

static int load(struct vmi_boot *b)
{
    uint32_t format = b->p->format;
    int error = take_memory(b);

    if (error)
        return error;
    if (format == VMLIB_BOOT_AUTO)
        format = detect(b);
    if (format == VMLIB_BOOT_AUTO)
        return vmi_dev_error(
            VMLIB_E_INVAL,
            "kernel: of no known format (bzImage, multiboot, PVH, ELF, boot sector)");
    b->r.format = format;
    return formats[format].load(b);
}

int vmlib_boot_load(vmlib_vm *vm, vmlib_vcpu *vcpu, const struct vmlib_boot_params *params,
                    struct vmlib_boot_result *result)
{
    struct vmi_boot *b;
    int error;

    if (!vm || !vcpu || !params)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", !vm ? "vm" : !vcpu ? "vcpu" : "params");
    if (result && result->size != sizeof *result)
        return vmi_dev_error(VMLIB_E_INVAL, "result: size is not that of struct vmlib_boot_result");
    error = check_params(params);
    if (error)
        return error;
    b = calloc(1, sizeof *b);
    if (!b)
        return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
    *b = (struct vmi_boot){
        .vm = vm, .vcpu = vcpu, .p = params, .file = params->kernel, .bytes = params->kernel_bytes};
    b->cmdline = params->cmdline ? params->cmdline : "";
    b->r.size = sizeof b->r;
    error = load(b);
    if (!error && result)
        *result = b->r;
    free(b);
    return error;
}
