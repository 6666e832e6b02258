/* Firmware tables: the buffer they are written to, and the MultiProcessor table (Intel,
 * version 1.4). */
#include "devices/tables.h"

void vmi_blob_bytes(struct vmi_blob *b, const void *data, size_t bytes)
{
    if (bytes > b->room - b->used) {
        b->overflow = true;
        return;
    }
    if (bytes)
        memcpy(b->data + b->used, data, bytes);
    b->used += bytes;
}

void vmi_blob_u8(struct vmi_blob *b, unsigned v)
{
    uint8_t byte = (uint8_t)v;

    vmi_blob_bytes(b, &byte, 1);
}

void vmi_blob_u16(struct vmi_blob *b, unsigned v)
{
    uint8_t raw[2];

    vmi_put16(raw, (uint16_t)v);
    vmi_blob_bytes(b, raw, sizeof raw);
}

void vmi_blob_u32(struct vmi_blob *b, uint32_t v)
{
    uint8_t raw[4];

    vmi_put32(raw, v);
    vmi_blob_bytes(b, raw, sizeof raw);
}

void vmi_blob_u64(struct vmi_blob *b, uint64_t v)
{
    uint8_t raw[8];

    vmi_put64(raw, v);
    vmi_blob_bytes(b, raw, sizeof raw);
}

void vmi_blob_zero(struct vmi_blob *b, size_t bytes)
{
    while (bytes--)
        vmi_blob_u8(b, 0);
}

void vmi_blob_align(struct vmi_blob *b, size_t to)
{
    vmi_blob_zero(b, (to - (b->gpa + b->used) % to) % to);
}

static void checksum(struct vmi_blob *b, size_t from, size_t bytes, size_t at)
{
    uint8_t sum = 0;
    size_t n;

    if (b->overflow)
        return;
    for (n = 0; n < bytes; n++)
        sum = (uint8_t)(sum + b->data[from + n]);
    b->data[at] = (uint8_t)(b->data[at] - sum);
}

/* I/O (type 3) and local (type 4) interrupt assignment. */
static void interrupt(struct vmi_blob *b, unsigned entry, unsigned type, unsigned irq,
                      unsigned dest, unsigned pin)
{
    vmi_blob_u8(b, entry);
    vmi_blob_u8(b, type); /* 0 vectored, 1 NMI, 3 ExtINT */
    vmi_blob_u16(b, 0);   /* polarity and trigger as the bus has them */
    vmi_blob_u8(b, 0);    /* bus */
    vmi_blob_u8(b, irq);
    vmi_blob_u8(b, dest);
    vmi_blob_u8(b, pin);
}

static unsigned mp_entries(struct vmi_blob *b, const struct vmi_tables *t)
{
    unsigned n, count = 0;

    for (n = 0; n < t->cpus; n++, count++) {
        vmi_blob_u8(b, 0);
        vmi_blob_u8(b, n);
        vmi_blob_u8(b, 0x14);
        vmi_blob_u8(b, n ? 1 : 3); /* enabled, boot processor */
        vmi_blob_u32(b, 0x600);    /* signature: family 6 */
        vmi_blob_u32(b, 0x201);    /* FPU, APIC */
        vmi_blob_u64(b, 0);
    }
    vmi_blob_u8(b, 1);
    vmi_blob_u8(b, 0);
    vmi_blob_bytes(b, "ISA   ", 6);
    vmi_blob_u8(b, 2);
    vmi_blob_u8(b, t->cpus); /* ID */
    vmi_blob_u8(b, 0x20);
    vmi_blob_u8(b, 1);
    vmi_blob_u32(b, VMI_IOAPIC_ADDRESS);
    count += 2;
    for (n = 0; n < 16; n++) {
        if (n == 2)
            continue;
        interrupt(b, 3, 0, n, t->cpus, n ? n : 2);
        count++;
    }
    interrupt(b, 4, 3, 0, 0, 0);
    interrupt(b, 4, 1, 0, 0xff, 1);
    return count + 2;
}

void vmi_mp_build(struct vmi_blob *b, const struct vmi_tables *t)
{
    size_t floating, table;
    unsigned count;

    vmi_blob_align(b, 16);
    floating = b->used;
    vmi_blob_bytes(b, "_MP_", 4);
    vmi_blob_u32(b, (uint32_t)(b->gpa + floating + 16));
    vmi_blob_u8(b, 1); /* length in paragraphs */
    vmi_blob_u8(b, 4); /* version 1.4 */
    vmi_blob_zero(b, 6);
    checksum(b, floating, 16, floating + 10);

    table = b->used;
    vmi_blob_bytes(b, "PCMP", 4);
    vmi_blob_u16(b, 0);
    vmi_blob_u8(b, 4);
    vmi_blob_u8(b, 0);
    vmi_blob_bytes(b, "VMLIB   ", 8);
    vmi_blob_bytes(b, "PC          ", 12);
    vmi_blob_zero(b, 6);
    vmi_blob_u16(b, 0); /* entries */
    vmi_blob_u32(b, VMI_LAPIC_ADDRESS);
    vmi_blob_u32(b, 0);
    count = mp_entries(b, t);
    if (b->overflow)
        return;
    vmi_put16(b->data + table + 4, (uint16_t)(b->used - table));
    vmi_put16(b->data + table + 34, (uint16_t)count);
    checksum(b, table, b->used - table, table + 7);
}
