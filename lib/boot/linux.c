/* Linux bzImage (Linux documentation, x86 boot protocol 2.06 and later): 64-bit entry where there
 * is one, else 32-bit. */
#include "boot/load.h"

/* Offsets in the setup header, which are those in the zero page. */
#define SETUP_SECTS    0x1f1
#define SYSSIZE        0x1f4 /* of the part behind the setup sectors, in 16 bytes */
#define BOOT_FLAG      0x1fe
#define JUMP           0x200
#define HEADER_MAGIC   0x202
#define VERSION        0x206
#define TYPE_OF_LOADER 0x210
#define LOADFLAGS      0x211
#define RAMDISK_IMAGE  0x218
#define RAMDISK_SIZE   0x21c
#define CMDLINE_PTR    0x228
#define INITRD_MAX     0x22c
#define XLOADFLAGS     0x236
#define CMDLINE_SIZE   0x238
#define PREF_ADDRESS   0x258
#define INIT_SIZE      0x260

/* Zero page. */
#define ZP_RSDP             0x070
#define ZP_EXT_RAMDISK_SIZE 0x0c4
#define ZP_E820_COUNT       0x1e8
#define ZP_E820             0x2d0
#define ZP_BYTES            4096u

#define LOADED_HIGH   0x01u
#define CAN_USE_HEAP  0x80u
#define XLF_KERNEL_64 0x01u

#define DEFAULT_ADDRESS 0x100000u
#define E820_ZEROPAGE   128u

_Static_assert(VMLIB_BOOT_MEMORY_MAX <= E820_ZEROPAGE, "the map fits into the zero page");

struct bzimage {
    unsigned version;
    uint64_t setup_bytes, address, init_bytes;
    bool kernel64;
};

bool vmi_boot_is_linux(const struct vmi_boot *b)
{
    return b->bytes >= 0x268 && vmi_get16(b->file + BOOT_FLAG) == 0xaa55 &&
           !memcmp(b->file + HEADER_MAGIC, "HdrS", 4);
}

static int parse(struct vmi_boot *b, struct bzimage *l)
{
    const uint8_t *h = b->file;
    unsigned sects;

    if (!vmi_boot_is_linux(b))
        return vmi_dev_error(VMLIB_E_INVAL, "linux: truncated, or no bzImage");
    l->version = vmi_get16(h + VERSION);
    if (l->version < 0x206)
        return vmi_dev_error(VMLIB_E_UNSUPPORTED, "linux: boot protocol %u.%02u is older than 2.06",
                             l->version >> 8, l->version & 255);
    if (!(h[LOADFLAGS] & LOADED_HIGH))
        return vmi_dev_error(VMLIB_E_UNSUPPORTED, "linux: a zImage, which is loaded low");
    sects = h[SETUP_SECTS] ? h[SETUP_SECTS] : 4;
    l->setup_bytes = (sects + 1) * 512ull;
    if (l->setup_bytes >= b->bytes)
        return vmi_dev_error(VMLIB_E_INVAL,
                             "linux: truncated, the file ends inside its setup sectors");
    if (b->bytes - l->setup_bytes < vmi_get32(h + SYSSIZE) * 16ull)
        return vmi_dev_error(VMLIB_E_INVAL,
                             "linux: truncated, the file is shorter than its header says");
    l->kernel64 = l->version >= 0x20c && (vmi_get16(h + XLOADFLAGS) & XLF_KERNEL_64);
    l->address = DEFAULT_ADDRESS;
    l->init_bytes = b->bytes - l->setup_bytes;
    if (l->version >= 0x20a) {
        uint32_t init = vmi_get32(h + INIT_SIZE);

        if (init > l->init_bytes)
            l->init_bytes = init;
        l->address = vmi_get64(h + PREF_ADDRESS);
    }
    if (l->kernel64 && b->bytes - l->setup_bytes <= 0x200)
        return vmi_dev_error(VMLIB_E_INVAL, "linux: truncated before its 64-bit entry");
    if (l->address > UINT32_MAX || l->address + l->init_bytes > 1ull << 32)
        return vmi_dev_error(VMLIB_E_INVAL,
                             "linux: preferred address %#llx with %#llx bytes is above 4 GiB",
                             (unsigned long long)l->address, (unsigned long long)l->init_bytes);
    return 0;
}

/* The setup header promises how much room the kernel needs to unpack itself; the initrd must stay
 * out of it. */
static int place_kernel(struct vmi_boot *b, const struct bzimage *l)
{
    uint64_t bytes = b->bytes - l->setup_bytes;

    b->r.kernel_gpa = l->address;
    b->r.kernel_bytes = l->init_bytes;
    return vmi_boot_place(b, l->address, b->file + l->setup_bytes, bytes, l->init_bytes - bytes,
                          "linux kernel (init_size)");
}

static int place_cmdline(struct vmi_boot *b, uint8_t *zp)
{
    uint64_t limit = vmi_get32(b->file + CMDLINE_SIZE), gpa;
    int error;

    if (strlen(b->cmdline) > (limit ? limit : 255))
        return vmi_dev_error(VMLIB_E_LIMIT, "command line: %zu characters; the kernel accepts %llu",
                             strlen(b->cmdline), (unsigned long long)(limit ? limit : 255));
    error = vmi_boot_place_text(b, b->cmdline, &gpa);
    if (!error)
        vmi_put32(zp + CMDLINE_PTR, (uint32_t)gpa);
    return error;
}

static int place_initrd(struct vmi_boot *b, uint8_t *zp)
{
    uint64_t max = (uint64_t)vmi_get32(b->file + INITRD_MAX) + 1, gpa;
    int error;

    if (!b->p->initrd || !b->p->initrd_bytes)
        return 0;
    error = vmi_boot_find(b, 0x100000, max, b->p->initrd_bytes, true, "initrd", &gpa);
    if (!error)
        error = vmi_boot_place(b, gpa, b->p->initrd, b->p->initrd_bytes, 0, "initrd");
    if (error)
        return error;
    vmi_put32(zp + RAMDISK_IMAGE, (uint32_t)gpa);
    vmi_put32(zp + RAMDISK_SIZE, (uint32_t)b->p->initrd_bytes);
    vmi_put32(zp + ZP_EXT_RAMDISK_SIZE, (uint32_t)(b->p->initrd_bytes >> 32));
    b->r.initrd_gpa = gpa;
    return 0;
}

static void fill_zero_page(struct vmi_boot *b, uint8_t *zp)
{
    uint64_t header_end = vmi_min(0x202u + b->file[JUMP + 1], 0x290);
    uint32_t n;

    memcpy(zp + SETUP_SECTS, b->file + SETUP_SECTS, vmi_min(header_end, b->bytes) - SETUP_SECTS);
    zp[TYPE_OF_LOADER] = 0xff; /* unregistered */
    zp[LOADFLAGS] = (uint8_t)((zp[LOADFLAGS] & ~CAN_USE_HEAP) | LOADED_HIGH);
    vmi_put64(zp + ZP_RSDP, b->p->rsdp);
    zp[ZP_E820_COUNT] = (uint8_t)b->memory_count;
    for (n = 0; n < b->memory_count; n++) {
        vmi_put64(zp + ZP_E820 + 20 * n, b->memory[n].gpa);
        vmi_put64(zp + ZP_E820 + 20 * n + 8, b->memory[n].bytes);
        vmi_put32(zp + ZP_E820 + 20 * n + 16, b->memory[n].type);
    }
}

int vmi_boot_linux(struct vmi_boot *b)
{
    struct vmi_boot_regs regs = {.rsi = VMI_BOOT_INFO, .rsp = 0x7000};
    uint8_t zp[ZP_BYTES] = {0};
    struct bzimage l = {0};
    int error = parse(b, &l);

    if (error)
        return error;
    fill_zero_page(b, zp);
    error = place_kernel(b, &l);
    if (!error)
        error = place_cmdline(b, zp);
    if (!error)
        error = place_initrd(b, zp);
    if (!error)
        error = vmi_boot_place(b, VMI_BOOT_INFO, zp, sizeof zp, 0, "zero page");
    b->r.info_gpa = VMI_BOOT_INFO;
    if (error)
        return error;
    regs.rip = l.address + (l.kernel64 ? 0x200 : 0);
    return l.kernel64 ? vmi_boot_enter_long(b, &regs) : vmi_boot_enter_flat32(b, &regs);
}
