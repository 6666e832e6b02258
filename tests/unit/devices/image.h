/* A VM to load into, and kernel images made byte by byte. */
#ifndef TEST_IMAGE_H
#define TEST_IMAGE_H

#include "test.h"

#include <vmlib/boot.h>

#include "devices/model.h"

#define RAM_BYTES (16u << 20)

static vmlib_vm *vm;
static vmlib_vcpu *vcpu;
static struct vmlib_boot_result result;
static struct vmlib_state st;
static uint8_t image[16384];

static int setup(void **state)
{
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *region;

    (void)state;
    ram.bytes = RAM_BYTES;
    if (vmlib_vm_create(NULL, &vm) || vmlib_region_create(vm, &ram, &region) ||
        vmlib_vcpu_create(vm, NULL, &vcpu))
        return -1;
    vmlib_region_unref(region);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
    return 0;
}

static int load(const struct vmlib_boot_params *p)
{
    int error;

    result = (struct vmlib_boot_result)VMLIB_BOOT_RESULT_INIT;
    error = vmlib_boot_load(vm, vcpu, p, &result);
    st.size = sizeof st;
    vmlib_vcpu_get_state(vcpu, VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL, &st);
    return error;
}

static inline uint64_t peek64(uint64_t gpa)
{
    uint8_t raw[8] = {0};

    vmlib_vm_read(vm, gpa, raw, 8);
    return vmi_get64(raw);
}

static inline uint32_t peek32(uint64_t gpa)
{
    return (uint32_t)peek64(gpa);
}

static inline uint8_t peek8(uint64_t gpa)
{
    return (uint8_t)peek64(gpa);
}

static inline const char *peek_text(uint64_t gpa)
{
    static char text[64];

    vmlib_vm_read(vm, gpa, text, sizeof text - 1);
    return text;
}

#define ELF_PADDR  0x100000u
#define ELF_VADDR  0x40000000u
#define ELF_FILE   0x100u
#define ELF_MEMORY 0x1800u

/* One loadable segment at file offset 1000h, entry 4 bytes into it; the note's entry is 8 bytes
 * into it. */
static inline size_t make_elf(bool is64, bool note)
{
    uint8_t *h = image, *ph = image + (is64 ? 64 : 52), *n = image + 0x800;

    memset(image, 0, sizeof image);
    memcpy(h, "\177ELF", 4);
    h[4] = is64 ? 2 : 1;
    h[5] = h[6] = 1;
    vmi_put16(h + 16, 2);
    vmi_put16(h + 18, is64 ? 62 : 3);
    vmi_put32(h + 20, 1);
    memset(image + 0x1000, 0xf4, ELF_FILE);
    if (is64) {
        vmi_put64(h + 24, ELF_VADDR + 4);
        vmi_put64(h + 32, 64);
        vmi_put16(h + 54, 56);
        vmi_put16(h + 56, note ? 2 : 1);
        vmi_put32(ph, 1);
        vmi_put64(ph + 8, 0x1000);
        vmi_put64(ph + 16, ELF_VADDR);
        vmi_put64(ph + 24, ELF_PADDR);
        vmi_put64(ph + 32, ELF_FILE);
        vmi_put64(ph + 40, ELF_MEMORY);
        ph += 56;
        vmi_put32(ph, 4);
        vmi_put64(ph + 8, 0x800);
        vmi_put64(ph + 32, 20);
    } else {
        vmi_put32(h + 24, ELF_VADDR + 4);
        vmi_put32(h + 28, 52);
        vmi_put16(h + 42, 32);
        vmi_put16(h + 44, 1);
        vmi_put32(ph, 1);
        vmi_put32(ph + 4, 0x1000);
        vmi_put32(ph + 8, ELF_VADDR);
        vmi_put32(ph + 12, ELF_PADDR);
        vmi_put32(ph + 16, ELF_FILE);
        vmi_put32(ph + 20, ELF_MEMORY);
    }
    if (note) {
        vmi_put32(n, 4);
        vmi_put32(n + 4, 4);
        vmi_put32(n + 8, 18);
        memcpy(n + 12, "Xen", 4);
        vmi_put32(n + 16, ELF_PADDR + 8);
    }
    return 0x1000 + ELF_FILE;
}

static unsigned header_at;

/* Change a field of the multiboot header; the checksum follows. */
static inline void poke_header(unsigned field, uint32_t value)
{
    uint8_t *h = image + header_at;

    vmi_put32(h + 4 * field, value);
    vmi_put32(h + 8, 0u - vmi_get32(h) - vmi_get32(h + 4));
}

static inline size_t make_multiboot(bool addresses)
{
    size_t bytes = make_elf(false, false);

    header_at = 0x400;
    if (addresses)
        memset(image, 0, sizeof image);
    vmi_put32(image + header_at, 0x1badb002);
    poke_header(1, addresses ? 0x10003 : 3);
    if (addresses) {
        poke_header(3, 0x200000); /* of the header */
        poke_header(4, 0x200000); /* load */
        poke_header(5, 0);        /* to the end of the file */
        poke_header(6, 0x202000); /* bss end */
        poke_header(7, 0x200020); /* entry */
    }
    return bytes;
}

#define LINUX_ADDRESS 0x400000u
#define LINUX_INIT    0x20000u

static inline size_t make_linux(bool is64)
{
    memset(image, 0, sizeof image);
    image[0x1f1] = 1; /* setup sectors */
    vmi_put16(image + 0x1fe, 0xaa55);
    image[0x200] = 0xeb;
    image[0x201] = 0x66;
    memcpy(image + 0x202, "HdrS", 4);
    vmi_put16(image + 0x206, 0x20f);
    image[0x211] = 1;
    vmi_put32(image + 0x22c, 0x7fffffff);
    vmi_put16(image + 0x236, is64 ? 1 : 0);
    vmi_put32(image + 0x238, 2047);
    vmi_put64(image + 0x258, LINUX_ADDRESS);
    vmi_put32(image + 0x260, LINUX_INIT);
    memset(image + 1024, 0x90, 4096);
    return 1024 + 4096;
}

#endif
