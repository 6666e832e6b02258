/* The memory map: what may be created where, protection, aliases, dirty log, host access. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fixture.h"

struct world {
    vmlib_vm *vm;
    vmlib_vcpu *vcpu;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    w->vm = mock_vm();
    w->vcpu = mock_vcpu(w->vm, 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    vmlib_vcpu_unref(w->vcpu);
    vmlib_vm_unref(w->vm);
    free(w);
    return 0;
}

static int try_region(vmlib_vm *vm, uint64_t gpa, uint64_t bytes)
{
    struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *region = NULL;
    config.gpa = gpa;
    config.bytes = bytes;
    int rc = vmlib_region_create(vm, &config, &region);
    vmlib_region_unref(region);
    return rc;
}

static void overlap_and_range(void **state)
{
    vmlib_vm *vm = ((struct world *)*state)->vm;
    OK(try_region(vm, 0x10000, 0x4000));
    for (uint64_t gpa = 0xd000; gpa <= 0x15000; gpa += 0x1000) {
        for (uint64_t bytes = 0x1000; bytes <= 0x9000; bytes += 0x1000) {
            if (gpa < 0x14000 && gpa + bytes > 0x10000) {
                FAILS(VMLIB_E_EXISTS, "config->gpa", try_region(vm, gpa, bytes));
            }
        }
    }
    OK(try_region(vm, 0xf000, 0x1000));
    OK(try_region(vm, 0x14000, 0x1000));
    FAILS(VMLIB_E_INVAL, "config->gpa", try_region(vm, 0x100800, 0x1000));
    FAILS(VMLIB_E_INVAL, "config->bytes", try_region(vm, 0x100000, 0x1800));
    FAILS(VMLIB_E_INVAL, "config->bytes", try_region(vm, 0x100000, 0));
    FAILS(VMLIB_E_RANGE, "gpa + bytes", try_region(vm, UINT64_C(1) << 40, 0x1000));
    FAILS(VMLIB_E_RANGE, "gpa + bytes", try_region(vm, (UINT64_C(1) << 40) - 0x1000, 0x2000));
    FAILS(VMLIB_E_RANGE, "gpa + bytes", try_region(vm, UINT64_MAX - 0xfff, 0x1000));
    FAILS(VMLIB_E_RANGE, "gpa + bytes", try_region(vm, 0x1000, UINT64_MAX - 0xfff));
    OK(try_region(vm, (UINT64_C(1) << 40) - 0x1000, 0x1000));
}

static void limit(void **state)
{
    vmlib_vm *vm = ((struct world *)*state)->vm;
    for (uint64_t i = 0; i < VMLIB_MAX_REGIONS; i++) {
        OK(try_region(vm, (i * 37 % VMLIB_MAX_REGIONS) << 13, 0x1000));
    }
    FAILS(VMLIB_E_LIMIT, "regions", try_region(vm, UINT64_C(1) << 30, 0x1000));
    uint8_t byte = 1;
    for (uint64_t i = 0; i < VMLIB_MAX_REGIONS; i++) {
        OK(vmlib_vm_write(vm, i << 13, &byte, 1));
        FAILS(VMLIB_E_FAULT, "gpa", vmlib_vm_write(vm, (i << 13) + 0x1000, &byte, 1));
    }
}

static void host_access(void **state)
{
    vmlib_vm *vm = ((struct world *)*state)->vm;
    vmlib_region *a = ram(vm, 0x1000, 0x2000, VMLIB_PROT_RWX, 0);
    vmlib_region *b = ram(vm, 0x3000, 0x1000, VMLIB_PROT_R, VMLIB_REGION_ROM);
    uint8_t out[0x3000], in[0x3000];
    for (unsigned i = 0; i < sizeof(in); i++) {
        in[i] = (uint8_t)(i * 7 + i / 256);
    }
    OK(vmlib_vm_write(vm, 0x1000, in, sizeof(in))); /* across two regions, into ROM */
    OK(vmlib_vm_read(vm, 0x1000, out, sizeof(out)));
    assert_memory_equal(in, out, sizeof(in));
    memset(out, 0xee, sizeof(out));
    FAILS(VMLIB_E_FAULT, "0x4000", vmlib_vm_read(vm, 0x3ff0, out, 0x20));
    assert_int_equal(out[0], 0xee); /* nothing has been copied */
    FAILS(VMLIB_E_FAULT, "0xff8", vmlib_vm_write(vm, 0xff8, in, 16));
    FAILS(VMLIB_E_RANGE, "gpa", vmlib_vm_read(vm, UINT64_MAX - 3, out, 8));
    OK(vmlib_vm_read(vm, 0x999999, out, 0));
    void *host = NULL;
    OK(vmlib_region_host(b, &host));
    assert_memory_equal(host, in + 0x2000, 0x1000);
    vmlib_region_unref(a);
    vmlib_region_unref(b);
}

static void removal(void **state)
{
    struct world *w = *state;
    vmlib_region *r = ram(w->vm, 0x1000, 0x1000, VMLIB_PROT_RWX, 0);
    void *host = NULL;
    OK(vmlib_region_host(r, &host));
    push_access(w->vcpu, 0x1008, 8, 1, 0x1122334455667788);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    OK(vmlib_region_remove(r));
    FAILS(VMLIB_E_NOTFOUND, "region", vmlib_region_remove(r));
    FAILS(VMLIB_E_NOTFOUND, "region", vmlib_region_protect(r, VMLIB_PROT_R));
    uint64_t value = 0;
    memcpy(&value, (uint8_t *)host + 8, 8); /* alive as long as the handle */
    assert_true(value == 0x1122334455667788);
    push_access(w->vcpu, 0x1008, 8, 1, 1);
    run_to(w->vcpu, VMLIB_EXIT_MMIO);
    OK(vmlib_region_written(r, 0, 8));
    vmlib_region *again = ram(w->vm, 0x1000, 0x1000, VMLIB_PROT_RWX, 0);
    OK(vmlib_vm_read(w->vm, 0x1008, &value, 8));
    assert_true(value == 0);
    vmlib_region_unref(again);
    vmlib_region_unref(r);
}

static void failed_update_changes_nothing(void **state)
{
    struct world *w = *state;
    vmlib_region *r = ram(w->vm, 0x1000, 0x1000, VMLIB_PROT_RWX, 0);
    uint8_t byte = 0;
    OK(vmlib_mock_fail(w->vm, VMLIB_MOCK_CALL_MEM_UPDATE, 0, VMLIB_E_NOMEM));
    FAILS(VMLIB_E_NOMEM, "injected", try_region(w->vm, 0x8000, 0x1000));
    FAILS(VMLIB_E_FAULT, "gpa", vmlib_vm_read(w->vm, 0x8000, &byte, 1));
    OK(vmlib_mock_fail(w->vm, VMLIB_MOCK_CALL_MEM_UPDATE, 0, VMLIB_E_NOMEM));
    FAILS(VMLIB_E_NOMEM, "injected", vmlib_region_remove(r));
    OK(vmlib_vm_read(w->vm, 0x1000, &byte, 1));
    OK(vmlib_mock_fail(w->vm, VMLIB_MOCK_CALL_MEM_UPDATE, 0, VMLIB_E_NOMEM));
    FAILS(VMLIB_E_NOMEM, "injected", vmlib_region_protect(r, 0));
    push_access(w->vcpu, 0x1000, 1, 1, 1);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    OK(vmlib_region_remove(r));
    OK(try_region(w->vm, 0x1000, 0x1000));
    vmlib_region_unref(r);
}

static void protection(void **state)
{
    struct world *w = *state;
    vmlib_region *r = ram(w->vm, 0x1000, 0x1000, VMLIB_PROT_R, 0);
    push_access(w->vcpu, 0x1010, 4, 1, 1);
    struct vmlib_exit e = run_to(w->vcpu, VMLIB_EXIT_MEMORY_FAULT);
    assert_int_equal(e.u.memory_fault.gpa, 0x1010);
    assert_int_equal(e.u.memory_fault.access, VMLIB_ACCESS_WRITE);
    assert_int_equal(e.u.memory_fault.mapped, 1);
    assert_int_equal(e.u.memory_fault.prot, VMLIB_PROT_R);
    assert_int_equal(e.flags & VMLIB_EXIT_F_PENDING, 0);
    assert_int_equal(reg(w->vcpu, VMLIB_REG_RIP), 0xfff0);
    OK(vmlib_region_protect(r, VMLIB_PROT_RWX)); /* now the retry works */
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    OK(vmlib_region_protect(r, 0));
    push_access(w->vcpu, 0x1010, 4, 0, 0);
    e = run_to(w->vcpu, VMLIB_EXIT_MEMORY_FAULT);
    assert_int_equal(e.u.memory_fault.access, VMLIB_ACCESS_READ);
    OK(vmlib_region_protect(r, VMLIB_PROT_R));
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(result_of(w->vcpu).exit.u.mmio.value, 1);
    FAILS(VMLIB_E_INVAL, "prot", vmlib_region_protect(r, 8));
    vmlib_region_unref(r);
}

static int count_writes(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)vcpu;
    *(unsigned *)opaque += exit->u.mmio.write;
    return VMLIB_HANDLED;
}

static void rom_writes_reach_a_handler(void **state)
{
    struct world *w = *state;
    unsigned writes = 0;
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    vmlib_region_unref(ram(w->vm, 0x1000, 0x1000, VMLIB_PROT_RWX, VMLIB_REGION_ROM));
    push_access(w->vcpu, 0x1000, 1, 1, 1);
    run_to(w->vcpu, VMLIB_EXIT_MEMORY_FAULT);
    config.kind = VMLIB_HANDLER_MMIO;
    config.first = 0x1000;
    config.last = 0x1fff;
    config.fn = count_writes;
    config.opaque = &writes;
    OK(vmlib_handler_add(w->vm, &config, NULL));
    push_access(w->vcpu, 0x1000, 1, 0, 0); /* reads are memory */
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(writes, 1);
}

static int region_on(vmlib_vm *vm, uint64_t gpa, uint32_t backing, void *host, vmlib_region *alias,
                     uint64_t offset, vmlib_region **out)
{
    struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
    config.backing = backing;
    config.gpa = gpa;
    config.bytes = 0x2000;
    config.host = host;
    config.alias = alias;
    config.alias_offset = offset;
    return vmlib_region_create(vm, &config, out);
}

static void aliases(void **state)
{
    struct world *w = *state;
    vmlib_region *r = ram(w->vm, 0x10000, 0x4000, VMLIB_PROT_RWX, 0), *a = NULL, *b = NULL,
                 *bad = NULL;
    OK(region_on(w->vm, 0x20000, VMLIB_BACKING_ALIAS, NULL, r, 0x2000, &a));
    OK(region_on(w->vm, 0x30000, VMLIB_BACKING_ALIAS, NULL, a, 0, &b)); /* of an alias */
    FAILS(VMLIB_E_RANGE, "alias",
          region_on(w->vm, 0x40000, VMLIB_BACKING_ALIAS, NULL, r, 0x3000, &bad));
    FAILS(VMLIB_E_RANGE, "alias",
          region_on(w->vm, 0x40000, VMLIB_BACKING_ALIAS, NULL, a, 0x1000, &bad));
    FAILS(VMLIB_E_INVAL, "alias", region_on(w->vm, 0x40000, VMLIB_BACKING_ALIAS, NULL, r, 5, &bad));
    FAILS(VMLIB_E_INVAL, "alias",
          region_on(w->vm, 0x40000, VMLIB_BACKING_ALIAS, NULL, NULL, 0, &bad));
    vmlib_vm *other = mock_vm();
    FAILS(VMLIB_E_INVAL, "alias", region_on(other, 0, VMLIB_BACKING_ALIAS, NULL, r, 0, &bad));
    vmlib_vm_unref(other);
    uint32_t word = 0xcafe;
    OK(vmlib_vm_write(w->vm, 0x12010, &word, 4));
    word = 0;
    OK(vmlib_vm_read(w->vm, 0x30010, &word, 4));
    assert_int_equal(word, 0xcafe);
    OK(vmlib_region_remove(r)); /* the memory stays for the aliases */
    vmlib_region_unref(r);
    OK(vmlib_vm_read(w->vm, 0x20010, &word, 4));
    assert_int_equal(word, 0xcafe);
    vmlib_region_unref(a);
    vmlib_region_unref(b);
}

static void caller_memory(void **state)
{
    struct world *w = *state;
    vmlib_region *r = NULL;
    uint8_t *p = mmap(NULL, 0x3000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    FAILS(VMLIB_E_INVAL, "host", region_on(w->vm, 0, VMLIB_BACKING_HOST, NULL, NULL, 0, &r));
    FAILS(VMLIB_E_INVAL, "host", region_on(w->vm, 0, VMLIB_BACKING_HOST, p + 8, NULL, 0, &r));
    FAILS(VMLIB_E_INVAL, "backing", region_on(w->vm, 0, 99, p, NULL, 0, &r));
    OK(region_on(w->vm, 0, VMLIB_BACKING_HOST, p, NULL, 0, &r));
    push_access(w->vcpu, 0x1fff, 1, 1, 0x5a);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    assert_int_equal(p[0x1fff], 0x5a);
    OK(vmlib_region_remove(r));
    vmlib_region_unref(r);
    munmap(p, 0x3000);
}

static void files(void **state)
{
    struct world *w = *state;
    char path[] = "/tmp/vmlib-memory-XXXXXX";
    int fd = mkstemp(path);
    struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *r = NULL;
    uint8_t byte = 0;
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(ftruncate(fd, 0x3000), 0);
    assert_int_equal(pwrite(fd, "x", 1, 0x1000), 1);
    config.backing = VMLIB_BACKING_FD;
    config.fd = fd;
    config.bytes = 0x3000;
    config.fd_offset = 0x1000;
    FAILS(VMLIB_E_RANGE, "fd_offset", vmlib_region_create(w->vm, &config, &r));
    config.fd_offset = 0x800;
    FAILS(VMLIB_E_INVAL, "fd_offset", vmlib_region_create(w->vm, &config, &r));
    config.fd_offset = 0x1000;
    config.bytes = 0x1000;
    OK(vmlib_region_create(w->vm, &config, &r)); /* private */
    config.gpa = 0x8000;
    config.flags = VMLIB_REGION_SHARED;
    vmlib_region *shared = NULL;
    OK(vmlib_region_create(w->vm, &config, &shared));
    OK(vmlib_vm_read(w->vm, 0, &byte, 1));
    assert_int_equal(byte, 'x');
    OK(vmlib_vm_write(w->vm, 0, "p", 1));
    OK(vmlib_vm_write(w->vm, 0x8001, "s", 1));
    char text[2] = "";
    assert_int_equal(pread(fd, text, 2, 0x1000), 2);
    assert_memory_equal(text, "xs", 2);
    config.fd = -1;
    config.gpa = 0x10000;
    FAILS(VMLIB_E_INVAL, "fd", vmlib_region_create(w->vm, &config, &shared));
    config.fd = 9999;
    FAILS(VMLIB_E_INVAL, "fd", vmlib_region_create(w->vm, &config, &shared));
    config.backing = VMLIB_BACKING_ANON;
    FAILS(VMLIB_E_INVAL, "SHARED", vmlib_region_create(w->vm, &config, &shared));
    close(fd);
    vmlib_region_unref(r);
    vmlib_region_unref(shared);
}

static void dirty_log(void **state)
{
    struct world *w = *state;
    vmlib_region *r = ram(w->vm, 0x100000, 130 * 0x1000, VMLIB_PROT_RWX, VMLIB_REGION_DIRTY_LOG);
    vmlib_region *plain = ram(w->vm, 0x400000, 0x1000, VMLIB_PROT_RWX, 0);
    uint64_t map[3];
    OK(vmlib_region_dirty(r, 0, 130 * 0x1000, map, 0));
    assert_true(map[0] == 0 && map[1] == 0 && map[2] == 0);
    push_access(w->vcpu, 0x100000 + 3 * 0x1000, 1, 1, 1);
    push_access(w->vcpu, 0x100000 + 129 * 0x1000 + 0xfff, 1, 1, 1);
    push_access(w->vcpu, 0x100000 + 70 * 0x1000, 4, 0, 0);
    run_to(w->vcpu, VMLIB_EXIT_HLT);
    OK(vmlib_vm_write(w->vm, 0x100000 + 64 * 0x1000 - 1, "ab", 2)); /* host writes count */
    OK(vmlib_region_dirty(r, 0, 130 * 0x1000, map, 0));
    assert_true(map[0] == (UINT64_C(1) << 3 | UINT64_C(1) << 63) && map[1] == 1 && map[2] == 2);
    OK(vmlib_region_dirty(r, 3 * 0x1000, 0x1000, map, VMLIB_DIRTY_CLEAR));
    assert_true(map[0] == 1);
    OK(vmlib_region_dirty(r, 0x1000, 129 * 0x1000, map, VMLIB_DIRTY_CLEAR));
    assert_true(map[0] == (UINT64_C(3) << 62) && map[1] == 0 && map[2] == 1);
    OK(vmlib_region_dirty(r, 0, 130 * 0x1000, map, 0));
    assert_true(map[0] == 0 && map[1] == 0 && map[2] == 0);
    OK(vmlib_region_written(r, 0x1000, 0x1001));
    OK(vmlib_region_dirty(r, 0, 130 * 0x1000, map, 0));
    assert_true(map[0] == 6);
    FAILS(VMLIB_E_STATE, "DIRTY_LOG", vmlib_region_dirty(plain, 0, 0x1000, map, 0));
    FAILS(VMLIB_E_RANGE, "offset", vmlib_region_dirty(r, 0x1000, 130 * 0x1000, map, 0));
    FAILS(VMLIB_E_INVAL, "offset", vmlib_region_dirty(r, 1, 0x1000, map, 0));
    FAILS(VMLIB_E_INVAL, "flags", vmlib_region_dirty(r, 0, 0x1000, map, 2));
    FAILS(VMLIB_E_RANGE, "offset", vmlib_region_written(r, 0, 131 * 0x1000));
    OK(vmlib_region_remove(r));
    FAILS(VMLIB_E_NOTFOUND, "region", vmlib_region_dirty(r, 0, 0x1000, map, 0));
    vmlib_region_unref(r);
    vmlib_region_unref(plain);
}

static void virtual_addresses(void **state)
{
    struct world *w = *state;
    struct vmlib_translation t = VMLIB_TRANSLATION_INIT;
    vmlib_region_unref(ram(w->vm, 0x1000, 0x2000, VMLIB_PROT_RWX, 0));
    OK(vmlib_vcpu_translate(w->vcpu, 0x1234, VMLIB_ACCESS_READ, &t));
    assert_int_equal(t.gpa, 0x1234);
    assert_int_equal(t.flags, VMLIB_TRANSLATION_MEMORY);
    OK(vmlib_vcpu_translate(w->vcpu, 0x9000, VMLIB_ACCESS_READ, &t));
    assert_int_equal(t.flags, 0);
    OK(vmlib_vcpu_translate(w->vcpu, UINT64_C(1) << 63, VMLIB_ACCESS_READ, &t));
    assert_int_equal(t.fault, VMLIB_TRANSLATE_NON_CANONICAL);
    char text[16] = "";
    OK(vmlib_vcpu_write_virt(w->vcpu, 0x1ffc, "crossing", 9));
    OK(vmlib_vcpu_read_virt(w->vcpu, 0x1ffc, text, 9));
    assert_string_equal(text, "crossing");
    FAILS(VMLIB_E_FAULT, "0x3000", vmlib_vcpu_write_virt(w->vcpu, 0x2ffc, "crossing", 9));
    OK(vmlib_vm_read(w->vm, 0x2ffc, text, 1));
    assert_int_equal(text[0], 0);
    FAILS(VMLIB_E_FAULT, "gva", vmlib_vcpu_read_virt(w->vcpu, UINT64_C(1) << 62, text, 1));
    FAILS(VMLIB_E_RANGE, "gva", vmlib_vcpu_read_virt(w->vcpu, UINT64_MAX - 2, text, 8));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(overlap_and_range),
        CASE(limit),
        CASE(host_access),
        CASE(removal),
        CASE(failed_update_changes_nothing),
        CASE(protection),
        CASE(rom_writes_reach_a_handler),
        CASE(aliases),
        CASE(caller_memory),
        CASE(files),
        CASE(dirty_log),
        CASE(virtual_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
