/* The memory map in KVM's slots: many regions, read-only ones, the dirty log, limits. */
#include "kvm_world.h"

/* Store AL at every page from 1 MiB up to ESI pages, then halt. */
GUEST(store_pages, "mov $0x100000, %edi\n"
                   "1: mov %al, (%edi)\n"
                   "add $0x1000, %edi\n"
                   "dec %si\n"
                   "jnz 1b\n"
                   "hlt");
/* Read the byte at EDI, write it to port 0x10, go on after each answer. */
GUEST(read_forever, "1: mov (%edi), %al\n"
                    "out %al, $0x10\n"
                    "jmp 1b");
GUEST(store_once, "mov %al, (%edi)\n"
                  "hlt");

static void set(struct world *w, uint32_t reg, uint64_t value)
{
    OK(vmlib_vcpu_set_reg(w->vcpu[0], reg, value));
}

/* Regions come and go; the map of the guest is the map of the host. */
static void many_regions(void **state)
{
    (void)state;
    enum { N = 64 };
    struct world w;
    vmlib_region *r[N];
    world_create(&w, 1);
    for (unsigned i = 0; i < N; i++)
        r[i] = world_region(&w, DEVICE + i * 0x1000u, 0x1000, 0, NULL);
    LOAD(&w, store_pages);
    set(&w, VMLIB_REG_RAX, 0x5a);
    set(&w, VMLIB_REG_RSI, N);
    world_expect(&w, VMLIB_EXIT_HLT);
    for (unsigned i = 0; i < N; i++) {
        void *host;
        OK(vmlib_region_host(r[i], &host));
        assert_int_equal(*(uint8_t *)host, 0x5a);
    }
    for (unsigned i = 0; i < N; i += 2)
        OK(vmlib_region_remove(r[i]));
    LOAD(&w, store_pages);
    set(&w, VMLIB_REG_RAX, 0x77);
    set(&w, VMLIB_REG_RSI, N);
    for (unsigned i = 0; i < N; i += 2) {
        struct vmlib_exit e = world_expect(&w, VMLIB_EXIT_MMIO);
        assert_int_equal(e.u.mmio.gpa, DEVICE + i * 0x1000u);
        assert_int_equal(e.u.mmio.value, 0x77);
    }
    world_expect(&w, VMLIB_EXIT_HLT);
    for (unsigned i = 1; i < N; i += 2) {
        void *host;
        OK(vmlib_region_host(r[i], &host));
        assert_int_equal(*(uint8_t *)host, 0x77);
    }
    for (unsigned i = 0; i < N; i++)
        vmlib_region_unref(r[i]);
    world_destroy(&w);
}

static void rom_is_read_only(void **state)
{
    (void)state;
    struct world w;
    const uint8_t old = 0x11;
    world_create(&w, 1);
    vmlib_region *rom = world_region(&w, DEVICE, 0x2000, VMLIB_REGION_ROM, NULL);
    OK(vmlib_vm_write(w.vm, DEVICE + 0x1000, &old, 1));
    LOAD(&w, store_once);
    set(&w, VMLIB_REG_RAX, 0x22);
    set(&w, VMLIB_REG_RDI, DEVICE + 0x1000);
    struct vmlib_exit e = world_expect(&w, VMLIB_EXIT_MEMORY_FAULT);
    assert_int_equal(e.u.memory_fault.gpa, DEVICE + 0x1000);
    assert_int_equal(e.u.memory_fault.access, VMLIB_ACCESS_WRITE);
    assert_int_equal(e.u.memory_fault.mapped, 1);
    assert_int_equal(world_reg(&w, VMLIB_REG_RIP), CODE);
    uint8_t now;
    OK(vmlib_vm_read(w.vm, DEVICE + 0x1000, &now, 1));
    assert_int_equal(now, old);
    /* it may write once the protection allows it */
    OK(vmlib_region_remove(rom));
    vmlib_region_unref(rom);
    vmlib_region *ram = world_region(&w, DEVICE, 0x2000, 0, NULL);
    world_expect(&w, VMLIB_EXIT_HLT);
    OK(vmlib_vm_read(w.vm, DEVICE + 0x1000, &now, 1));
    assert_int_equal(now, 0x22);
    vmlib_region_unref(ram);
    world_destroy(&w);
}

static unsigned dirty_pages(vmlib_region *r, uint32_t flags, uint64_t bits[2])
{
    bits[0] = bits[1] = 0;
    OK(vmlib_region_dirty(r, 0, 128 * 0x1000, bits, flags));
    return (unsigned)(__builtin_popcountll(bits[0]) + __builtin_popcountll(bits[1]));
}

static void dirty_log_sees_guest_stores(void **state)
{
    (void)state;
    struct world w;
    uint64_t bits[2];
    world_create(&w, 1);
    vmlib_region *r = world_region(&w, DEVICE, 128 * 0x1000, VMLIB_REGION_DIRTY_LOG, NULL);
    assert_int_equal(dirty_pages(r, VMLIB_DIRTY_CLEAR, bits), 0);
    for (unsigned round = 0; round < 3; round++) {
        LOAD(&w, store_pages);
        set(&w, VMLIB_REG_RAX, round);
        set(&w, VMLIB_REG_RSI, 70 + round);
        world_expect(&w, VMLIB_EXIT_HLT);
        assert_int_equal(dirty_pages(r, 0, bits), 70 + round);
        assert_int_equal(dirty_pages(r, 0, bits), 70 + round); /* looking changes nothing */
        assert_int_equal(dirty_pages(r, VMLIB_DIRTY_CLEAR, bits), 70 + round);
        assert_int_equal(dirty_pages(r, 0, bits), 0);
    }
    vmlib_region_unref(r);
    world_destroy(&w);
}

/* Another region over the same place: the log of the old one ends with it. */
static void dirty_log_survives_map_changes(void **state)
{
    (void)state;
    struct world w;
    uint64_t bits[2];
    world_create(&w, 1);
    vmlib_region *r = world_region(&w, DEVICE, 128 * 0x1000, VMLIB_REGION_DIRTY_LOG, NULL);
    LOAD(&w, store_pages);
    set(&w, VMLIB_REG_RSI, 10);
    world_expect(&w, VMLIB_EXIT_HLT);
    OK(vmlib_region_protect(r, VMLIB_PROT_R | VMLIB_PROT_X)); /* another slot of the kernel's */
    vmlib_region *other = world_region(&w, DEVICE + 0x1000000, 0x1000, 0, NULL);
    assert_int_equal(dirty_pages(r, 0, bits), 10);
    OK(vmlib_region_remove(other));
    vmlib_region_unref(other);
    assert_int_equal(dirty_pages(r, VMLIB_DIRTY_CLEAR, bits), 10);
    assert_int_equal(dirty_pages(r, 0, bits), 0);
    vmlib_region_unref(r);
    world_destroy(&w);
}

/* The map changes between two exits of a running guest. */
static void remap_under_the_guest(void **state)
{
    (void)state;
    struct world w;
    world_create(&w, 1);
    LOAD(&w, read_forever);
    set(&w, VMLIB_REG_RDI, DEVICE);
    for (unsigned i = 1; i < 50; i++) {
        vmlib_region *r = world_region(&w, DEVICE, 0x1000, 0, NULL);
        uint8_t value = (uint8_t)i;
        OK(vmlib_vm_write(w.vm, DEVICE, &value, 1));
        struct vmlib_exit e = world_expect(&w, VMLIB_EXIT_PIO);
        assert_int_equal(e.u.pio.value, i);
        OK(vmlib_region_remove(r));
        vmlib_region_unref(r);
        e = world_expect(&w, VMLIB_EXIT_MMIO);
        assert_int_equal(e.u.mmio.gpa, DEVICE);
        value = (uint8_t)~i;
        OK(vmlib_vcpu_complete(w.vcpu[0], &value, 1));
        e = world_expect(&w, VMLIB_EXIT_PIO);
        assert_int_equal(e.u.pio.value, (uint8_t)~i);
    }
    world_destroy(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(many_regions),
    cmocka_unit_test(rom_is_read_only),
    cmocka_unit_test(dirty_log_sees_guest_stores),
    cmocka_unit_test(dirty_log_survives_map_changes),
    cmocka_unit_test(remap_under_the_guest),
};
MAIN(tests)
