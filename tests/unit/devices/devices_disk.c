/* virtio disk: requests, limits, read-only, overlay. */
#include <stdio.h>
#include <unistd.h>

#include "vdriver.h"

#include <vmlib/devices/machine.h>

#include "devices/disk.h"

#define SECTORS 20u

static struct vmi_disk disk;
static struct test_line irq;
static FILE *file;

static int open_with(uint32_t flags)
{
    uint8_t sector[VMI_SECTOR];
    unsigned n;

    file = tmpfile();
    assert_non_null(file);
    for (n = 0; n < SECTORS; n++) {
        memset(sector, (int)n + 1, sizeof sector);
        fwrite(sector, 1, sizeof sector, file);
    }
    fwrite("tail", 1, 4, file); /* not a whole sector: invisible */
    fflush(file);
    memset(&irq, 0, sizeof irq);
    assert_int_equal(
        vmi_disk_open(&disk, dup(fileno(file)), flags, "serial0", TEST_LINE(&irq), guest), 0);
    start(&disk.virtio, 1);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return open_with(0);
}

static int setup_overlay(void **state)
{
    (void)state;
    return open_with(VMLIB_DISK_OVERLAY);
}

static int setup_read_only(void **state)
{
    (void)state;
    return open_with(VMLIB_DISK_READ_ONLY);
}

static int teardown(void **state)
{
    (void)state;
    vmi_disk_close(&disk);
    fclose(file);
    return 0;
}

/* One request with its data at 8000 and its status at 7000. */
static uint8_t request(uint32_t type, uint64_t sector, uint32_t bytes)
{
    vmi_put32(ram + 0x6000, type);
    vmi_put64(ram + 0x6008, sector);
    ram[0x7000] = 0xee;
    descriptor(DESC, 0, 0x6000, 16, 1, 1);
    descriptor(DESC, 1, 0x8000, bytes, type == 1 ? 1 : 3, 2);
    descriptor(DESC, 2, 0x7000, 1, 2, 0);
    offer(&disk.virtio, 0, 0);
    return ram[0x7000];
}

static uint8_t file_byte(long at)
{
    uint8_t byte = 0;

    assert_int_equal(pread(fileno(file), &byte, 1, at), 1);
    return byte;
}

static void reads(void **state)
{
    (void)state;
    assert_int_equal(vmi_virtio_read(&disk.virtio, 0x100, 8), SECTORS);
    assert_int_equal(request(0, 3, 2 * VMI_SECTOR), 0);
    assert_int_equal(ram[0x8000], 4);
    assert_int_equal(ram[0x8000 + VMI_SECTOR], 5);
    assert_int_equal(used_bytes(0, 0), 2 * VMI_SECTOR + 1);
    assert_true(irq.level);
}

static void writes(void **state)
{
    (void)state;
    memset(ram + 0x8000, 0x77, VMI_SECTOR);
    assert_int_equal(request(1, 5, VMI_SECTOR), 0);
    assert_int_equal(file_byte(5 * VMI_SECTOR), 0x77);
    assert_int_equal(file_byte(6 * VMI_SECTOR), 7);
    assert_int_equal(request(4, 0, 0), 0);
}

static void limits(void **state)
{
    (void)state;
    assert_int_equal(request(0, SECTORS - 1, VMI_SECTOR), 0);
    assert_int_equal(request(0, SECTORS - 1, 2 * VMI_SECTOR), 1);
    assert_int_equal(request(0, SECTORS, VMI_SECTOR), 1);
    assert_int_equal(request(0, UINT64_MAX, VMI_SECTOR), 1);
    assert_int_equal(request(0, UINT64_MAX / VMI_SECTOR, VMI_SECTOR), 1);
    assert_int_equal(request(0, 0, 100), 1);
    assert_int_equal(request(1, 0, 100), 1);
    assert_int_equal(request(1, SECTORS, VMI_SECTOR), 1);
    assert_int_equal(request(99, 0, VMI_SECTOR), 2);
    assert_int_equal(file_byte(0), 1);
}

static void serial_number(void **state)
{
    (void)state;
    assert_int_equal(request(8, 0, 20), 0);
    assert_memory_equal(ram + 0x8000, "serial0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
}

static void without_header_or_status(void **state)
{
    (void)state;
    descriptor(DESC, 0, 0x6000, 15, 1, 1);
    descriptor(DESC, 1, 0x7000, 1, 2, 0);
    offer(&disk.virtio, 0, 0);
    assert_true(needs_reset(&disk.virtio));
    start(&disk.virtio, 1);
    descriptor(DESC, 0, 0x6000, 16, 0, 0);
    offer(&disk.virtio, 0, 0);
    assert_true(needs_reset(&disk.virtio));
}

static void overlay(void **state)
{
    (void)state;
    memset(ram + 0x8000, 0x55, VMI_SECTOR);
    assert_int_equal(request(1, 17, VMI_SECTOR), 0); /* in the last, short cluster */
    assert_int_equal(request(1, 2, VMI_SECTOR), 0);
    assert_int_equal(file_byte(2 * VMI_SECTOR), 3); /* the file is as it was */
    assert_int_equal(request(0, 0, SECTORS * VMI_SECTOR), 0);
    assert_int_equal(ram[0x8000 + VMI_SECTOR], 2);
    assert_int_equal(ram[0x8000 + 2 * VMI_SECTOR], 0x55);
    assert_int_equal(ram[0x8000 + 3 * VMI_SECTOR], 4);
    assert_int_equal(ram[0x8000 + 17 * VMI_SECTOR + 511], 0x55);
    assert_int_equal(ram[0x8000 + 19 * VMI_SECTOR], 20);
}

static void read_only(void **state)
{
    (void)state;
    vmi_virtio_write(&disk.virtio, 0x14, 4, 0);
    assert_int_equal(vmi_virtio_read(&disk.virtio, 0x10, 4) & 0x20, 0x20);
    assert_int_equal(request(1, 2, VMI_SECTOR), 1);
    assert_int_equal(file_byte(2 * VMI_SECTOR), 3);
    assert_int_equal(request(0, 2, VMI_SECTOR), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads, setup, teardown),
        cmocka_unit_test_setup_teardown(writes, setup, teardown),
        cmocka_unit_test_setup_teardown(limits, setup, teardown),
        cmocka_unit_test_setup_teardown(serial_number, setup, teardown),
        cmocka_unit_test_setup_teardown(without_header_or_status, setup, teardown),
        cmocka_unit_test_setup_teardown(overlay, setup_overlay, teardown),
        cmocka_unit_test_setup_teardown(read_only, setup_read_only, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
