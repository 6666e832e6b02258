/* ACPI and MP tables: checksums, lengths, links, and an AML stream whose packages nest correctly.
 */
#include "test.h"

#include "devices/tables.h"

#define GPA 0xe0000u

static uint8_t memory[0x10000];
static struct vmi_tables config;

static uint8_t sum(const uint8_t *p, size_t bytes)
{
    uint8_t s = 0;

    while (bytes--)
        s = (uint8_t)(s + *p++);
    return s;
}

static struct vmi_blob build(void (*fn)(struct vmi_blob *, const struct vmi_tables *), size_t room)
{
    struct vmi_blob b = {.data = memory, .room = room, .gpa = GPA};

    memset(memory, 0xcc, sizeof memory);
    fn(&b, &config);
    return b;
}

static int setup(void **state)
{
    unsigned n;

    (void)state;
    memset(&config, 0, sizeof config);
    config.cpus = 4;
    config.hpet = true;
    config.devices = VMI_TABLES_DEVICES;
    for (n = 0; n < config.devices; n++) {
        config.device[n].base = 0xd0000000u + 0x200 * n;
        config.device[n].bytes = 0x200;
        config.device[n].gsi = 5 + n;
    }
    return 0;
}

static uint8_t *table(uint64_t gpa, const char *signature)
{
    uint8_t *t = memory + (gpa - GPA);

    assert_memory_equal(t, signature, 4);
    assert_int_equal(sum(t, vmi_get32(t + 4)), 0);
    return t;
}

static void links(void **state)
{
    uint8_t *xsdt, *rsdt, *fadt, *facs;

    (void)state;
    assert_false(build(vmi_acpi_build, sizeof memory).overflow);
    assert_memory_equal(memory, "RSD PTR ", 8);
    assert_int_equal(sum(memory, 20), 0);
    assert_int_equal(sum(memory, 36), 0);
    rsdt = table(vmi_get32(memory + 16), "RSDT");
    xsdt = table(vmi_get64(memory + 24), "XSDT");
    assert_int_equal(vmi_get32(xsdt + 4), 36 + 3 * 8);
    assert_int_equal(vmi_get32(rsdt + 4), 36 + 3 * 4);
    fadt = table(vmi_get64(xsdt + 36), "FACP");
    assert_int_equal(vmi_get32(fadt + 4), 244);
    table(vmi_get64(xsdt + 44), "APIC");
    table(vmi_get64(xsdt + 52), "HPET");
    table(vmi_get64(fadt + 140), "DSDT");
    assert_int_equal(vmi_get32(fadt + 40), vmi_get64(fadt + 140));
    facs = memory + (vmi_get32(fadt + 36) - GPA);
    assert_memory_equal(facs, "FACS", 4);
    assert_int_equal(vmi_get32(fadt + 36) % 64, 0);
    assert_int_equal(fadt[116], 1); /* reset register in I/O space */
    assert_int_equal(vmi_get64(fadt + 120), 0xcf9);
    assert_int_equal(fadt[128], 6);
}

static void madt_entries(void **state)
{
    uint8_t *xsdt, *madt;
    unsigned at, count[5] = {0};

    (void)state;
    build(vmi_acpi_build, sizeof memory);
    xsdt = table(vmi_get64(memory + 24), "XSDT");
    madt = table(vmi_get64(xsdt + 44), "APIC");
    for (at = 44; at < vmi_get32(madt + 4); at += madt[at + 1]) {
        assert_in_range(madt[at], 0, 4);
        assert_true(madt[at + 1] >= 2);
        count[madt[at]]++;
    }
    assert_int_equal(at, vmi_get32(madt + 4));
    assert_int_equal(count[0], 4);
    assert_int_equal(count[1], 1);
    assert_int_equal(count[2], 2);
    assert_int_equal(count[4], 1);
}

static size_t package_bytes(const uint8_t *p)
{
    assert_int_equal(p[0] & 0xf0, 0x80);
    return (p[0] & 15) | (size_t)p[1] << 4 | (size_t)p[2] << 12;
}

/* Scope and devices: every package ends where its parent says. */
static void aml_nests(void **state)
{
    struct vmi_blob b = build(vmi_aml_dsdt, sizeof memory);
    size_t at, end, devices = 0;

    (void)state;
    assert_memory_equal(memory, "\x08_S5_\x12", 6);
    at = 6 + package_bytes(memory + 6);
    assert_int_equal(memory[at++], 0x10);
    end = at + package_bytes(memory + at);
    assert_int_equal(end, b.used);
    at += 3 + 5;
    while (at < end) {
        assert_memory_equal(memory + at, "\x5b\x82", 2);
        at += 2 + package_bytes(memory + at + 2);
        devices++;
    }
    assert_int_equal(at, end);
    assert_int_equal(devices, 2 + VMI_TABLES_DEVICES);
}

static void mp_table(void **state)
{
    struct vmi_blob b = build(vmi_mp_build, sizeof memory);
    uint8_t *t = memory + (vmi_get32(memory + 4) - GPA);
    unsigned n, entries = vmi_get16(t + 34), at = 44;

    (void)state;
    assert_memory_equal(memory, "_MP_", 4);
    assert_int_equal(sum(memory, 16), 0);
    assert_memory_equal(t, "PCMP", 4);
    assert_int_equal(sum(t, vmi_get16(t + 4)), 0);
    for (n = 0; n < entries; n++)
        at += t[at] == 0 ? 20 : 8;
    assert_int_equal(at, vmi_get16(t + 4));
    assert_int_equal((size_t)(t - memory) + at, b.used);
}

static void never_writes_outside(void **state)
{
    size_t room, n;

    (void)state;
    for (room = 0; room < 3000; room++) {
        struct vmi_blob b = build(room & 1 ? vmi_acpi_build : vmi_mp_build, room);

        assert_true(b.used <= room);
        for (n = room; n < room + 64; n++)
            assert_int_equal(memory[n], 0xcc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(links, setup),
        cmocka_unit_test_setup(madt_entries, setup),
        cmocka_unit_test_setup(aml_nests, setup),
        cmocka_unit_test_setup(mp_table, setup),
        cmocka_unit_test_setup(never_writes_outside, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
