/* Loaders: images of every format made here, and the state in which the vCPU is left. */
#include "image.h"

static void flat_image(void **state)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;

    (void)state;
    p.kernel = "\xf4\xf4\xf4";
    p.kernel_bytes = 3;
    p.format = VMLIB_BOOT_FLAT;
    p.load_address = 0x8000;
    p.entry_offset = 1;
    assert_int_equal(load(&p), 0);
    assert_int_equal(result.bits, 16);
    assert_int_equal(result.entry, 0x8001);
    assert_int_equal(st.segments.cs.base, 0x8000);
    p.entry_bits = 32;
    assert_int_equal(load(&p), 0);
    assert_int_equal(st.control.cr0 & 0x80000001u, 1);
    assert_int_equal(st.gpr.rip, 0x8001);
    p.load_address = RAM_BYTES - 2;
    assert_int_equal(load(&p), VMLIB_E_RANGE);
    p.load_address = UINT64_MAX;
    assert_int_equal(load(&p), VMLIB_E_INVAL);
    p.load_address = 0x8000;
    p.entry_offset = 3;
    assert_int_equal(load(&p), VMLIB_E_INVAL);
}

static void boot_sector(void **state)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;
    uint8_t sector[512] = {0xf4};

    (void)state;
    p.kernel = sector;
    p.kernel_bytes = 512;
    assert_int_equal(load(&p), VMLIB_E_INVAL); /* of no known format */
    sector[510] = 0x55;
    sector[511] = 0xaa;
    assert_int_equal(load(&p), 0);
    assert_int_equal(result.format, VMLIB_BOOT_SECTOR);
    assert_int_equal(result.entry, 0x7c00);
    assert_int_equal(st.segments.cs.selector, 0);
    assert_int_equal(peek8(0x7c00), 0xf4);
}

static void elf32(void **state)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;

    (void)state;
    p.kernel_bytes = make_elf(false, false);
    p.kernel = image;
    assert_int_equal(load(&p), 0);
    assert_int_equal(result.format, VMLIB_BOOT_ELF);
    assert_int_equal(result.bits, 32);
    assert_int_equal(st.gpr.rip, ELF_PADDR + 4); /* through the segment, not the virtual address */
    assert_int_equal(peek8(ELF_PADDR + 4), 0xf4);
    assert_int_equal(peek8(ELF_PADDR + ELF_FILE), 0); /* bss */
    assert_int_equal(result.kernel_bytes, ELF_MEMORY);
}

static void elf64(void **state)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;
    struct vmlib_translation t = VMLIB_TRANSLATION_INIT;

    (void)state;
    p.kernel_bytes = make_elf(true, false);
    p.kernel = image;
    assert_int_equal(load(&p), 0);
    assert_int_equal(result.bits, 64);
    assert_int_equal(st.control.efer & 0x500, 0x500);
    assert_int_equal(vmlib_vcpu_translate(vcpu, 0xfedcba98, VMLIB_ACCESS_READ, &t), 0);
    assert_int_equal(t.fault, 0);
    assert_int_equal(t.gpa, 0xfedcba98);
    assert_int_equal(vmlib_vcpu_translate(vcpu, 1ull << 32, VMLIB_ACCESS_READ, &t), 0);
    assert_int_not_equal(t.fault, 0);
}

static void pvh(void **state)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;
    struct vmlib_boot_module m = {"module!", 7, "its text"};
    uint64_t list;

    (void)state;
    p.kernel_bytes = make_elf(true, true);
    p.kernel = image;
    p.cmdline = "some words";
    p.initrd = "initrd";
    p.initrd_bytes = 6;
    p.modules = &m;
    p.module_count = 1;
    p.rsdp = 0xe0000;
    assert_int_equal(load(&p), 0);
    assert_int_equal(result.format, VMLIB_BOOT_PVH);
    assert_int_equal(result.bits, 32);
    assert_int_equal(st.gpr.rip, ELF_PADDR + 8);
    assert_int_equal(peek32(st.gpr.rbx), 0x336ec578);
    assert_string_equal(peek_text(peek64(st.gpr.rbx + 24)), "some words");
    assert_int_equal(peek64(st.gpr.rbx + 32), 0xe0000);
    assert_int_equal(peek32(st.gpr.rbx + 12), 2);
    list = peek64(st.gpr.rbx + 16);
    assert_int_equal(peek8(peek64(list)), 'i');
    assert_int_equal(peek64(list + 8), 6);
    assert_int_equal(peek8(peek64(list + 32)), 'm');
    assert_string_equal(peek_text(peek64(list + 48)), "its text");
    assert_int_equal(peek32(st.gpr.rbx + 48), 1);
}

static void multiboot_elf(void **state)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;
    struct vmlib_boot_module m[2] = {{"abc", 3, "one"}, {NULL, 0, NULL}};
    uint64_t info, list;

    (void)state;
    p.kernel_bytes = make_multiboot(false);
    p.kernel = image;
    p.cmdline = "line";
    p.modules = m;
    p.module_count = 2;
    assert_int_equal(load(&p), 0);
    assert_int_equal(result.format, VMLIB_BOOT_MULTIBOOT);
    assert_int_equal(st.gpr.rax, 0x2badb002);
    info = st.gpr.rbx;
    assert_int_equal(peek32(info) & 0x4d, 0x4d);
    assert_int_equal(peek32(info + 4), 640);
    assert_int_equal(peek32(info + 8), (RAM_BYTES >> 10) - 1024);
    assert_string_equal(peek_text(peek32(info + 16)), "line");
    assert_int_equal(peek32(info + 20), 2);
    list = peek32(info + 24);
    assert_int_equal(peek32(list) & 0xfff, 0);
    assert_int_equal(peek32(list + 4) - peek32(list), 3);
    assert_string_equal(peek_text(peek32(list + 8)), "one");
    assert_string_equal(peek_text(peek32(list + 24)), "");
    assert_int_equal(peek32(info + 44), 24);
}

static void multiboot_addresses(void **state)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;

    (void)state;
    p.kernel_bytes = make_multiboot(true);
    p.kernel = image;
    assert_int_equal(load(&p), 0);
    assert_int_equal(st.gpr.rip, 0x200020);
    assert_int_equal(peek32(0x200000), 0x1badb002);
    assert_int_equal(result.kernel_bytes, 0x2000);
    poke_header(1, 0x10007); /* wants a video mode */
    assert_int_equal(load(&p), VMLIB_E_UNSUPPORTED);
    poke_header(1, 0x10023);
    assert_int_equal(load(&p), VMLIB_E_UNSUPPORTED);
    poke_header(1, 0x10003);
    poke_header(4, 0x200100); /* load address behind the header */
    assert_int_equal(load(&p), VMLIB_E_INVAL);
    poke_header(4, 0x200000);
    poke_header(5, 0x300000); /* longer than the file */
    assert_int_equal(load(&p), VMLIB_E_INVAL);
    poke_header(5, 0);
    poke_header(6, 0x200010); /* bss ends inside the data */
    assert_int_equal(load(&p), VMLIB_E_INVAL);
}

static void linux64(void **state)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;
    uint8_t initrd[5000];
    uint64_t zp;

    (void)state;
    memset(initrd, 0x42, sizeof initrd);
    p.kernel_bytes = make_linux(true);
    p.kernel = image;
    p.initrd = initrd;
    p.initrd_bytes = sizeof initrd;
    p.cmdline = "console=ttyS0";
    p.rsdp = 0xe0000;
    assert_int_equal(load(&p), 0);
    assert_int_equal(result.format, VMLIB_BOOT_LINUX);
    assert_int_equal(result.bits, 64);
    assert_int_equal(st.gpr.rip, LINUX_ADDRESS + 0x200);
    zp = st.gpr.rsi;
    assert_int_equal(peek8(LINUX_ADDRESS), 0x90);
    assert_string_equal(peek_text(peek32(zp + 0x228)), "console=ttyS0");
    assert_int_equal(peek32(zp + 0x21c), sizeof initrd);
    assert_int_equal(peek8(peek32(zp + 0x218)), 0x42);
    assert_true(peek32(zp + 0x218) >= LINUX_ADDRESS + LINUX_INIT);
    assert_int_equal(peek64(zp + 0x70), 0xe0000);
    assert_int_equal(peek8(zp + 0x1e8), 1);
    assert_int_equal(peek64(zp + 0x2d0 + 8), RAM_BYTES);
    assert_int_equal(peek8(zp + 0x210), 0xff);
}

static void linux32(void **state)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;

    (void)state;
    p.kernel_bytes = make_linux(false);
    p.kernel = image;
    assert_int_equal(load(&p), 0);
    assert_int_equal(result.bits, 32);
    assert_int_equal(st.gpr.rip, LINUX_ADDRESS);
    assert_int_equal(st.segments.cs.selector, 0x10);
    assert_int_equal(st.segments.ds.selector, 0x18);
}

static void linux_limits(void **state)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;
    char *big = calloc(1, RAM_BYTES);
    char line[3000];

    (void)state;
    assert_non_null(big);
    p.kernel_bytes = make_linux(true);
    p.kernel = image;
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = 0;
    p.cmdline = line;
    assert_int_equal(load(&p), VMLIB_E_LIMIT);
    assert_non_null(strstr(vmlib_devices_last_error(), "2047"));
    p.cmdline = NULL;
    p.initrd = big;
    p.initrd_bytes = RAM_BYTES; /* larger than what is left */
    assert_int_equal(load(&p), VMLIB_E_RANGE);
    assert_non_null(strstr(vmlib_devices_last_error(), "initrd"));
    p.initrd_bytes = 4096;
    vmi_put32(image + 0x22c, 0x3fffff); /* initrd_addr_max below the kernel's end */
    assert_int_equal(load(&p), 0);
    assert_true(result.initrd_gpa < LINUX_ADDRESS);
    p.initrd = NULL;
    p.initrd_bytes = 0;
    vmi_put32(image + 0x260, RAM_BYTES); /* init_size */
    assert_int_equal(load(&p), VMLIB_E_RANGE);
    vmi_put64(image + 0x258, 1ull << 40); /* pref_address */
    assert_int_equal(load(&p), VMLIB_E_INVAL);
    vmi_put16(image + 0x206, 0x203);
    assert_int_equal(load(&p), VMLIB_E_UNSUPPORTED);
    free(big);
}

static void misuse(void **state)
{
    struct vmlib_boot_params p = VMLIB_BOOT_PARAMS_INIT;
    struct vmlib_boot_memory map[2] = {{0, 0x2000, VMLIB_MEMORY_RAM, 0},
                                       {0x1000, 0x1000, VMLIB_MEMORY_RAM, 0}};
    uint32_t format;

    (void)state;
    assert_int_equal(vmlib_boot_load(NULL, vcpu, &p, NULL), VMLIB_E_INVAL);
    assert_int_equal(vmlib_boot_load(vm, NULL, &p, NULL), VMLIB_E_INVAL);
    assert_int_equal(vmlib_boot_load(vm, vcpu, NULL, NULL), VMLIB_E_INVAL);
    assert_int_equal(load(&p), VMLIB_E_INVAL); /* no kernel */
    p.kernel_bytes = make_linux(true);
    p.kernel = image;
    p.format = VMLIB_BOOT_FORMATS;
    assert_int_equal(load(&p), VMLIB_E_INVAL);
    p.format = VMLIB_BOOT_PVH; /* the file is something else */
    assert_int_equal(load(&p), VMLIB_E_INVAL);
    p.format = 0;
    p.module_count = 1;
    assert_int_equal(load(&p), VMLIB_E_INVAL);
    p.module_count = VMLIB_BOOT_MODULES_MAX + 1;
    assert_int_equal(load(&p), VMLIB_E_LIMIT);
    p.module_count = 0;
    p.memory = map;
    p.memory_count = 2;
    assert_int_equal(load(&p), VMLIB_E_INVAL);
    p.memory_count = VMLIB_BOOT_MEMORY_MAX + 1;
    assert_int_equal(load(&p), VMLIB_E_LIMIT);
    p.memory = NULL;
    p.memory_count = 0;
    p.size--;
    assert_int_equal(load(&p), VMLIB_E_INVAL);
    assert_int_equal(vmlib_boot_detect(NULL, 1, &format), VMLIB_E_INVAL);
    assert_null(vmlib_boot_format_name(VMLIB_BOOT_FORMATS));
    assert_string_equal(vmlib_boot_format_name(VMLIB_BOOT_LINUX), "linux");
}

static void files(void **state)
{
    struct vmlib_boot_file f = {0};

    (void)state;
    assert_int_equal(vmlib_boot_file_open("/nonexistent/kernel", &f), VMLIB_E_IO);
    assert_non_null(strstr(vmlib_devices_last_error(), "/nonexistent/kernel"));
    assert_int_equal(vmlib_boot_file_open("/dev/null", &f), VMLIB_E_INVAL);
    assert_int_equal(vmlib_boot_file_open(NULL, &f), VMLIB_E_INVAL);
    assert_int_equal(vmlib_boot_file_open("/proc/self/exe", &f), 0);
    assert_memory_equal(f.data, "\177ELF", 4);
    vmlib_boot_file_close(&f);
    vmlib_boot_file_close(&f);
    vmlib_boot_file_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(flat_image, setup, teardown),
        cmocka_unit_test_setup_teardown(boot_sector, setup, teardown),
        cmocka_unit_test_setup_teardown(elf32, setup, teardown),
        cmocka_unit_test_setup_teardown(elf64, setup, teardown),
        cmocka_unit_test_setup_teardown(pvh, setup, teardown),
        cmocka_unit_test_setup_teardown(multiboot_elf, setup, teardown),
        cmocka_unit_test_setup_teardown(multiboot_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(linux64, setup, teardown),
        cmocka_unit_test_setup_teardown(linux32, setup, teardown),
        cmocka_unit_test_setup_teardown(linux_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(misuse, setup, teardown),
        cmocka_unit_test_setup_teardown(files, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
