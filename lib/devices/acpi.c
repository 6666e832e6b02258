/* ACPI tables (specification 6.3, chapter 5): RSDP, RSDT, XSDT, FADT, FACS, MADT, HPET, DSDT. */
#include "devices/tables.h"

#define HEADER 36u

#define FADT_WBINVD      0x001u
#define FADT_PROC_C1     0x004u
#define FADT_PWR_BUTTON  0x010u /* none, or a control method */
#define FADT_SLP_BUTTON  0x020u
#define FADT_FIX_RTC     0x040u /* no wake status for the clock */
#define FADT_TMR_VAL_EXT 0x100u /* the timer has 32 bits */
#define FADT_RESET_REG   0x400u

#define BOOT_LEGACY_DEVICES 0x01u
#define BOOT_NO_VGA         0x04u
#define BOOT_NO_MSI         0x08u

static void fix_checksum(struct vmi_blob *b, size_t from, size_t bytes, size_t at)
{
    uint8_t sum = 0;
    size_t n;

    for (n = 0; n < bytes; n++)
        sum = (uint8_t)(sum + b->data[from + n]);
    b->data[at] = (uint8_t)(b->data[at] - sum);
}

static size_t open_table(struct vmi_blob *b, const char signature[4], unsigned revision)
{
    size_t at;

    vmi_blob_align(b, 16);
    at = b->used;
    vmi_blob_bytes(b, signature, 4);
    vmi_blob_u32(b, 0); /* length */
    vmi_blob_u8(b, revision);
    vmi_blob_u8(b, 0); /* checksum */
    vmi_blob_bytes(b, "VMLIB ", 6);
    vmi_blob_bytes(b, "VMLIBPC ", 8);
    vmi_blob_u32(b, 1);
    vmi_blob_bytes(b, "VMLB", 4);
    vmi_blob_u32(b, 1);
    return at;
}

/* Returns the table's address. */
static uint64_t close_table(struct vmi_blob *b, size_t at)
{
    if (!b->overflow) {
        vmi_put32(b->data + at + 4, (uint32_t)(b->used - at));
        fix_checksum(b, at, b->used - at, at + 9);
    }
    return b->gpa + at;
}

/* Generic address (5.2.3.2) in I/O space; bits 0: no register. */
static void io_register(struct vmi_blob *b, unsigned bits, unsigned port)
{
    vmi_blob_u8(b, 1);
    vmi_blob_u8(b, bits);
    vmi_blob_u8(b, 0);
    vmi_blob_u8(b, bits == 8 ? 1 : bits == 16 ? 2 : bits == 32 ? 3 : 0);
    vmi_blob_u64(b, port);
}

/* The fields of ACPI 1.0, offsets 36 to 115. */
static void fadt_legacy(struct vmi_blob *b, uint32_t facs, uint32_t dsdt)
{
    vmi_blob_u32(b, facs);
    vmi_blob_u32(b, dsdt);
    vmi_blob_u8(b, 1);
    vmi_blob_u8(b, 1); /* profile: desktop */
    vmi_blob_u16(b, VMI_SCI_IRQ);
    vmi_blob_u32(b, 0); /* no SMI command: always in ACPI mode */
    vmi_blob_u32(b, 0);
    vmi_blob_u32(b, VMI_PM_BASE);
    vmi_blob_u32(b, 0);
    vmi_blob_u32(b, VMI_PM_BASE + 4);
    vmi_blob_u32(b, 0);
    vmi_blob_u32(b, 0);
    vmi_blob_u32(b, VMI_PM_BASE + 8);
    vmi_blob_u32(b, 0);
    vmi_blob_u32(b, 0);
    vmi_blob_u8(b, 4); /* bytes of the event block */
    vmi_blob_u8(b, 2); /* ... control block */
    vmi_blob_u8(b, 0);
    vmi_blob_u8(b, 4); /* ... timer */
    vmi_blob_u32(b, 0);
    vmi_blob_u16(b, 0xffff); /* latencies of C2 and C3: not supported */
    vmi_blob_u16(b, 0xffff);
    vmi_blob_u32(b, 0);
    vmi_blob_u32(b, 0);   /* duty cycle, alarm cells */
    vmi_blob_u8(b, 0x32); /* century cell */
    vmi_blob_u16(b, BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_MSI);
    vmi_blob_u8(b, 0);
    vmi_blob_u32(b, FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_FIX_RTC |
                        FADT_TMR_VAL_EXT | FADT_RESET_REG);
}

static uint64_t build_fadt(struct vmi_blob *b, uint64_t facs, uint64_t dsdt)
{
    size_t at = open_table(b, "FACP", 4);

    fadt_legacy(b, (uint32_t)facs, (uint32_t)dsdt);
    io_register(b, 8, 0xcf9); /* reset */
    vmi_blob_u8(b, 6);
    vmi_blob_zero(b, 3);
    vmi_blob_u64(b, 0); /* the 32-bit address of the FACS counts */
    vmi_blob_u64(b, dsdt);
    io_register(b, 32, VMI_PM_BASE);
    io_register(b, 0, 0);
    io_register(b, 16, VMI_PM_BASE + 4);
    io_register(b, 0, 0);
    io_register(b, 0, 0);
    io_register(b, 32, VMI_PM_BASE + 8);
    io_register(b, 0, 0);
    io_register(b, 0, 0);
    return close_table(b, at);
}

static uint64_t build_facs(struct vmi_blob *b)
{
    uint64_t gpa;

    vmi_blob_align(b, 64);
    gpa = b->gpa + b->used;
    vmi_blob_bytes(b, "FACS", 4);
    vmi_blob_u32(b, 64);
    vmi_blob_zero(b, 24);
    vmi_blob_u8(b, 1); /* version */
    vmi_blob_zero(b, 31);
    return gpa;
}

/* Interrupt source override: ISA irq to input. flags: polarity 1:0, trigger 3:2. */
static void madt_override(struct vmi_blob *b, unsigned irq, unsigned input, unsigned flags)
{
    vmi_blob_u8(b, 2);
    vmi_blob_u8(b, 10);
    vmi_blob_u8(b, 0);
    vmi_blob_u8(b, irq);
    vmi_blob_u32(b, input);
    vmi_blob_u16(b, flags);
}

static uint64_t build_madt(struct vmi_blob *b, const struct vmi_tables *t)
{
    size_t at = open_table(b, "APIC", 3);
    unsigned n;

    vmi_blob_u32(b, VMI_LAPIC_ADDRESS);
    vmi_blob_u32(b, 1); /* there is a pair of 8259 */
    for (n = 0; n < t->cpus; n++) {
        vmi_blob_u8(b, 0);
        vmi_blob_u8(b, 8);
        vmi_blob_u8(b, n);
        vmi_blob_u8(b, n);
        vmi_blob_u32(b, 1);
    }
    vmi_blob_u8(b, 1);
    vmi_blob_u8(b, 12);
    vmi_blob_u8(b, t->cpus);
    vmi_blob_u8(b, 0);
    vmi_blob_u32(b, VMI_IOAPIC_ADDRESS);
    vmi_blob_u32(b, 0);
    madt_override(b, 0, 2, 0);
    madt_override(b, VMI_SCI_IRQ, VMI_SCI_IRQ, 0xd); /* level, active high */
    vmi_blob_u8(b, 4);                               /* NMI: LINT1 of every processor */
    vmi_blob_u8(b, 6);
    vmi_blob_u8(b, 0xff);
    vmi_blob_u16(b, 0);
    vmi_blob_u8(b, 1);
    return close_table(b, at);
}

static uint64_t build_hpet(struct vmi_blob *b)
{
    size_t at = open_table(b, "HPET", 1);

    vmi_blob_u32(b, 0x8086a201);
    vmi_blob_u8(b, 0); /* memory space */
    vmi_blob_u8(b, 64);
    vmi_blob_u8(b, 0);
    vmi_blob_u8(b, 0);
    vmi_blob_u64(b, VMI_HPET_ADDRESS);
    vmi_blob_u8(b, 0);
    vmi_blob_u16(b, 0x80); /* minimum tick */
    vmi_blob_u8(b, 0);
    return close_table(b, at);
}

static void fill_rsdp(struct vmi_blob *b, uint64_t rsdt, uint64_t xsdt)
{
    uint8_t *p = b->data;

    memcpy(p, "RSD PTR ", 8);
    memcpy(p + 9, "VMLIB ", 6);
    p[15] = 2;
    vmi_put32(p + 16, (uint32_t)rsdt);
    vmi_put32(p + 20, HEADER);
    vmi_put64(p + 24, xsdt);
    fix_checksum(b, 0, 20, 8);
    fix_checksum(b, 0, HEADER, 32);
}

void vmi_acpi_build(struct vmi_blob *b, const struct vmi_tables *t)
{
    uint64_t table[4], dsdt, facs, rsdt, xsdt;
    unsigned n = 0, i;
    size_t at;

    vmi_blob_zero(b, HEADER); /* the RSDP is filled in last */
    facs = build_facs(b);
    at = open_table(b, "DSDT", 2);
    vmi_aml_dsdt(b, t);
    dsdt = close_table(b, at);
    table[n++] = build_fadt(b, facs, dsdt);
    table[n++] = build_madt(b, t);
    if (t->hpet)
        table[n++] = build_hpet(b);
    at = open_table(b, "RSDT", 1);
    for (i = 0; i < n; i++)
        vmi_blob_u32(b, (uint32_t)table[i]);
    rsdt = close_table(b, at);
    at = open_table(b, "XSDT", 1);
    for (i = 0; i < n; i++)
        vmi_blob_u64(b, table[i]);
    xsdt = close_table(b, at);
    if (!b->overflow)
        fill_rsdp(b, rsdt, xsdt);
}
