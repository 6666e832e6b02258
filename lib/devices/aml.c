/*
 * The differentiated system description table: AML (ACPI specification 6.3, chapter 20) put
 * together by hand.
 *
 *   Name (\_S5, Package () {5, 5, 0, 0})
 *   Scope (\_SB) {
 *       Device (COM1) { _HID PNP0501, _UID, _CRS IO 3f8, IRQ 4 }
 *       Device (RTC0) { _HID PNP0B00, _CRS IO 70, IRQ 8 }
 *       Device (VM00) { _HID "LNRO0005", _UID, _CCA, _CRS memory window, interrupt }     for each
 * virtio device
 *   }
 */
#include "devices/tables.h"

#define OP_ZERO    0x00
#define OP_NAME    0x08
#define OP_BYTE    0x0a
#define OP_DWORD   0x0c
#define OP_STRING  0x0d
#define OP_SCOPE   0x10
#define OP_BUFFER  0x11
#define OP_PACKAGE 0x12
#define OP_EXT     0x5b
#define OP_DEVICE  0x82

/* A package length is written as three bytes, which holds any length, and filled in at the end. */
static size_t open_package(struct vmi_blob *b)
{
    size_t at = b->used;

    vmi_blob_zero(b, 3);
    return at;
}

static void close_package(struct vmi_blob *b, size_t at)
{
    size_t n = b->used - at;

    if (b->overflow)
        return;
    b->data[at] = (uint8_t)(0x80 | (n & 15));
    b->data[at + 1] = (uint8_t)(n >> 4);
    b->data[at + 2] = (uint8_t)(n >> 12);
}

static void name(struct vmi_blob *b, const char four[4])
{
    vmi_blob_u8(b, OP_NAME);
    vmi_blob_bytes(b, four, 4);
}

static void byte_const(struct vmi_blob *b, unsigned v)
{
    vmi_blob_u8(b, OP_BYTE);
    vmi_blob_u8(b, v);
}

/* Compressed EISA ID (19.3.4): "PNP" and four hexadecimal digits. */
static void hid_pnp(struct vmi_blob *b, unsigned product)
{
    unsigned vendor = ('P' - 0x40) << 10 | ('N' - 0x40) << 5 | ('P' - 0x40);

    name(b, "_HID");
    vmi_blob_u8(b, OP_DWORD);
    vmi_blob_u8(b, vendor >> 8);
    vmi_blob_u8(b, vendor & 0xff);
    vmi_blob_u8(b, product >> 8);
    vmi_blob_u8(b, product & 0xff);
}

static void hid_text(struct vmi_blob *b, const char *id)
{
    name(b, "_HID");
    vmi_blob_u8(b, OP_STRING);
    vmi_blob_bytes(b, id, strlen(id) + 1);
}

static size_t open_device(struct vmi_blob *b, const char four[4])
{
    size_t at;

    vmi_blob_u8(b, OP_EXT);
    vmi_blob_u8(b, OP_DEVICE);
    at = open_package(b);
    vmi_blob_bytes(b, four, 4);
    return at;
}

/* Name (_CRS, Buffer () {descriptors, end tag}) */
static void crs(struct vmi_blob *b, const struct vmi_blob *descriptors)
{
    size_t at;

    name(b, "_CRS");
    vmi_blob_u8(b, OP_BUFFER);
    at = open_package(b);
    byte_const(b, (unsigned)descriptors->used + 2);
    vmi_blob_bytes(b, descriptors->data, descriptors->used);
    vmi_blob_u8(b, 0x79); /* end tag, no checksum */
    vmi_blob_u8(b, 0);
    close_package(b, at);
}

static void res_io(struct vmi_blob *r, unsigned port, unsigned count)
{
    vmi_blob_u8(r, 0x47);
    vmi_blob_u8(r, 1); /* decodes 16 bits */
    vmi_blob_u16(r, port);
    vmi_blob_u16(r, port);
    vmi_blob_u8(r, 1);
    vmi_blob_u8(r, count);
}

static void res_irq(struct vmi_blob *r, unsigned irq)
{
    vmi_blob_u8(r, 0x22); /* edge, active high */
    vmi_blob_u16(r, 1u << irq);
}

static void res_memory(struct vmi_blob *r, uint32_t base, uint32_t bytes)
{
    vmi_blob_u8(r, 0x86);
    vmi_blob_u16(r, 9);
    vmi_blob_u8(r, 1); /* writable */
    vmi_blob_u32(r, base);
    vmi_blob_u32(r, bytes);
}

static void res_gsi(struct vmi_blob *r, uint32_t gsi)
{
    vmi_blob_u8(r, 0x89);
    vmi_blob_u16(r, 6);
    vmi_blob_u8(r, 1); /* consumer, level, active high, exclusive */
    vmi_blob_u8(r, 1);
    vmi_blob_u32(r, gsi);
}

static void isa_device(struct vmi_blob *b, const char four[4], unsigned pnp, unsigned port,
                       unsigned ports, unsigned irq)
{
    uint8_t raw[32];
    struct vmi_blob r = {.data = raw, .room = sizeof raw};
    size_t at = open_device(b, four);

    hid_pnp(b, pnp);
    name(b, "_UID");
    byte_const(b, 1);
    res_io(&r, port, ports);
    res_irq(&r, irq);
    crs(b, &r);
    close_package(b, at);
}

static void virtio_device(struct vmi_blob *b, const struct vmi_tables *t, unsigned n)
{
    uint8_t raw[32];
    struct vmi_blob r = {.data = raw, .room = sizeof raw};
    char four[4] = {'V', 'M', '0', (char)('0' + n)};
    size_t at = open_device(b, four);

    hid_text(b, "LNRO0005");
    name(b, "_UID");
    byte_const(b, n);
    name(b, "_CCA");
    vmi_blob_u8(b, 1); /* OneOp: cache coherent */
    res_memory(&r, t->device[n].base, t->device[n].bytes);
    res_gsi(&r, t->device[n].gsi);
    crs(b, &r);
    close_package(b, at);
}

static void sleep_state(struct vmi_blob *b)
{
    size_t at;

    name(b, "_S5_");
    vmi_blob_u8(b, OP_PACKAGE);
    at = open_package(b);
    vmi_blob_u8(b, 4);
    byte_const(b, VMI_S5_TYPE);
    byte_const(b, VMI_S5_TYPE);
    vmi_blob_u8(b, OP_ZERO);
    vmi_blob_u8(b, OP_ZERO);
    close_package(b, at);
}

void vmi_aml_dsdt(struct vmi_blob *b, const struct vmi_tables *t)
{
    size_t at;
    unsigned n;

    sleep_state(b);
    vmi_blob_u8(b, OP_SCOPE);
    at = open_package(b);
    vmi_blob_bytes(b, "\\_SB_", 5);
    isa_device(b, "COM1", 0x0501, 0x3f8, 8, 4);
    isa_device(b, "RTC0", 0x0b00, 0x70, 2, 8);
    for (n = 0; n < t->devices && n < VMI_TABLES_DEVICES; n++)
        virtio_device(b, t, n);
    close_package(b, at);
}
