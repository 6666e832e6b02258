/* Firmware tables: ACPI (specification 6.3) and MultiProcessor (Intel, version 1.4). Pure builders:
 * bytes in a buffer. */
#ifndef VMI_DEVICES_TABLES_H
#define VMI_DEVICES_TABLES_H

#include "devices/model.h"

#define VMI_IOAPIC_ADDRESS 0xfec00000u
#define VMI_LAPIC_ADDRESS  0xfee00000u
#define VMI_HPET_ADDRESS   0xfed00000u
#define VMI_PM_BASE        0x600u /* event 600, control 604, timer 608 */
#define VMI_PM_TIMER_HZ    3579545u
#define VMI_SCI_IRQ        9u
#define VMI_S5_TYPE        5u
#define VMI_TABLES_DEVICES 8u

/* What the tables describe. */
struct vmi_tables {
    uint32_t cpus;
    bool hpet;
    uint32_t devices; /* virtio-mmio */
    struct {
        uint32_t base, bytes, gsi;
    } device[VMI_TABLES_DEVICES];
};

/* A buffer that becomes guest memory at gpa. Overflow is remembered, nothing is written outside. */
struct vmi_blob {
    uint8_t *data;
    size_t used, room;
    uint64_t gpa;
    bool overflow;
};

void vmi_blob_bytes(struct vmi_blob *b, const void *data, size_t bytes);
void vmi_blob_u8(struct vmi_blob *b, unsigned v);
void vmi_blob_u16(struct vmi_blob *b, unsigned v);
void vmi_blob_u32(struct vmi_blob *b, uint32_t v);
void vmi_blob_u64(struct vmi_blob *b, uint64_t v);
void vmi_blob_zero(struct vmi_blob *b, size_t bytes);
void vmi_blob_align(struct vmi_blob *b, size_t to);

/* The AML of the DSDT, without the table's header. */
void vmi_aml_dsdt(struct vmi_blob *b, const struct vmi_tables *t);
/* Everything, beginning with the RSDP. The blob's address is below 1 MiB and a multiple of 64. */
void vmi_acpi_build(struct vmi_blob *b, const struct vmi_tables *t);
/* Floating pointer, then the configuration table. */
void vmi_mp_build(struct vmi_blob *b, const struct vmi_tables *t);

#endif
