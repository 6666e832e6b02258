/*
 * Unit tests of the driver's core on the mock: capabilities, register groups, exits, EPT.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mock.h"

struct world {
    struct vtx_caps caps;
    struct vtx_vm vm;
    struct mock_vcpu v;
};

static void open_world(struct world *w, enum mock_model model)
{
    memset(w, 0, sizeof(*w));
    mock_reset(model);
    mock_caps(&w->caps);
    assert_int_equal(w->caps.unavailable, VMLIB_VTX_OK);
    assert_int_equal(vtx_vm_init(&w->vm, &w->caps), 0);
    assert_int_equal(mock_vcpu_open(&w->v, &w->vm, &w->caps), 0);
    w->v.run->rflags = 2;
    w->v.run->control.cr0 = 0x30;
    w->v.run->dirty = VMLIB_VTX_G_ALL & ~VMLIB_VTX_G_INJECT;
    assert_int_equal(vtx_vcpu_load(&w->v.core), 0);
}

static void close_world(struct world *w)
{
    mock_vcpu_close(&w->v);
    vtx_vm_free(&w->vm);
    assert_int_equal(mock_pages(), 0);
    assert_int_equal(mock_pinned(), 0);
}

static int map(struct world *w, u64 gpa, u64 page, u64 pages, u32 prot, u32 flags)
{
    struct vmlib_vtx_map m = {gpa, pages << 12, MOCK_USER + (page << 12), prot, flags};

    return vtx_vm_map(&w->vm, &m);
}

static int range(struct world *w, int (*call)(struct vtx_vm *, const struct vmlib_vtx_range *),
                 u64 gpa, u64 pages, u32 prot)
{
    struct vmlib_vtx_range r = {gpa, pages << 12, prot, 0};

    return call(&w->vm, &r);
}

/* Each refusal has its reason. */
static void test_refusals(void **state)
{
    struct vtx_cpu_facts facts = {40, false, true, true, true, true, 7};
    struct vtx_caps caps;

    (void)state;
    mock_reset(MOCK_FULL);
    vtx_caps_read(&caps, &facts);
    assert_int_equal(caps.unavailable, VMLIB_VTX_NO_VMX);
    facts.vmx = true;
    vtx_caps_read(&caps, &facts);
    assert_int_equal(caps.unavailable, VMLIB_VTX_HOST_FRED);
    facts.fred = false;
    mock_feature_control = 1;
    vtx_caps_read(&caps, &facts);
    assert_int_equal(caps.unavailable, VMLIB_VTX_FIRMWARE_OFF);
    mock_feature_control = 0; /* not locked: the driver may switch VMX on */
    vtx_caps_read(&caps, &facts);
    assert_int_equal(caps.unavailable, VMLIB_VTX_OK);
    facts.fxsr = false;
    vtx_caps_read(&caps, &facts);
    assert_int_equal(caps.unavailable, VMLIB_VTX_NO_CPU_STATE);
    mock_reset(MOCK_NO_EPT);
    facts.fxsr = true;
    vtx_caps_read(&caps, &facts);
    assert_true(caps.unavailable == VMLIB_VTX_NO_EPT ||
                (caps.unavailable == VMLIB_VTX_MISSING_CONTROL && caps.missing == (2 << 8 | 1)));
}

static void test_info(void **state)
{
    struct vmlib_vtx_info info = {0};
    struct world w;

    (void)state;
    open_world(&w, MOCK_OLD);
    vtx_caps_info(&w.caps, &info);
    assert_int_equal(info.api, VMLIB_VTX_API);
    assert_int_equal(
        info.features & (VMLIB_VTX_F_UNRESTRICTED | VMLIB_VTX_F_EPT_AD | VMLIB_VTX_F_TIMER), 0);
    assert_int_equal(info.phys_bits, 40);
    close_world(&w);
    open_world(&w, MOCK_FULL);
    vtx_caps_info(&w.caps, &info);
    assert_int_equal(info.features & 0x7f, 0x7f);
    assert_int_equal(info.may[VMLIB_VTX_PROC] & 0x02000000, 0); /* I/O bitmaps: never */
    close_world(&w);
}

static void test_bad_groups(void **state)
{
    struct world w;
    struct vmlib_vtx_run *r;

    (void)state;
    open_world(&w, MOCK_FULL);
    r = w.v.run;
#define REFUSED(group, member, value, why)                          \
    do {                                                            \
        __typeof__(r->member) kept = r->member;                     \
        r->member = (value);                                        \
        r->dirty = (group);                                         \
        assert_int_equal(vtx_vcpu_load(&w.v.core), (why));          \
        assert_int_equal(r->dirty, (group)); /* still to be done */ \
        r->member = kept;                                           \
    } while (0)
    REFUSED(VMLIB_VTX_G_CONTROLS, controls.word[0], 0x80, VMLIB_VTX_BAD_CONTROLS);
    REFUSED(VMLIB_VTX_G_CONTROLS, controls.word[2], 1, VMLIB_VTX_BAD_CONTROLS);
    REFUSED(VMLIB_VTX_G_CONTROL, control.cr0, 1ull << 32, VMLIB_VTX_BAD_CR0);
    REFUSED(VMLIB_VTX_G_CONTROL, control.cr4, 0x2000, VMLIB_VTX_BAD_CR4);
    REFUSED(VMLIB_VTX_G_CONTROL, control.cr4, 1u << 22, VMLIB_VTX_BAD_CR4);
    REFUSED(VMLIB_VTX_G_CONTROL, control.efer, 0x1000, VMLIB_VTX_BAD_EFER);
    REFUSED(VMLIB_VTX_G_CONTROL, control.xcr0, 4 | 1, VMLIB_VTX_BAD_XCR0);
    REFUSED(VMLIB_VTX_G_CONTROL, control.xcr0, 0x200 | 7, VMLIB_VTX_BAD_XCR0);
    REFUSED(VMLIB_VTX_G_MSRS, msrs.lstar, 0x0000800000000000, VMLIB_VTX_BAD_MSR);
    REFUSED(VMLIB_VTX_G_MSRS, msrs.kernel_gs_base, 0x8000000000000000, VMLIB_VTX_BAD_MSR);
    REFUSED(VMLIB_VTX_G_DEBUG, debug.debugctl, 1, VMLIB_VTX_BAD_DEBUG);
    assert_int_equal(vtx_vcpu_pass_msr(&w.v.core, 0x1d9, VMLIB_VTX_READ), -EINVAL);
    assert_int_equal(vtx_vcpu_pass_msr(&w.v.core, 0x10, VMLIB_VTX_WRITE), -EINVAL);
    assert_int_equal(vtx_vcpu_pass_msr(&w.v.core, 0xc0000100, 3), 0);
    close_world(&w);
}

static void test_groups_come_back(void **state)
{
    struct world w;
    struct vmlib_vtx_run kept, *r;
    unsigned i;

    (void)state;
    open_world(&w, MOCK_FULL);
    r = w.v.run;
    for (i = 0; i < VMLIB_VTX_SEGMENTS; i++)
        r->segments.s[i] = (struct vmlib_vtx_segment){0x1000 * i, i, 0x93 + i, (u16)(8 * i), {0}};
    r->segments.gdtr_base = 0x123456789;
    r->control =
        (__typeof__(r->control)){0x80000031, 0x1000, 0x2a0, 0xd01, 3, {1, 2, 3, 4}, 0xffff, 0xff};
    r->msrs = (__typeof__(r->msrs)){1, 2, 3, 4, 5, 6, 7, 8, 9, 0x0007040600070406};
    r->events.interruptibility = 1;
    r->debug = (__typeof__(r->debug)){{1, 2, 3, 4}, 0x455, 2};
    r->rip = 0x1234;
    r->gpr[4] = 0x5678;
    r->dirty = VMLIB_VTX_G_ALL & ~(VMLIB_VTX_G_INJECT | VMLIB_VTX_G_CONTROLS);
    kept = *r;
    assert_int_equal(vtx_vcpu_load(&w.v.core), 0);
    memset(r, 0x5a, sizeof(*r));
    memset(&r->segments, 0, sizeof(r->segments)); /* reserved words */
    r->events.reserved = 0;
    vtx_vcpu_fetch(&w.v.core, VMLIB_VTX_G_ALL & ~VMLIB_VTX_G_CONTROLS);
    assert_memory_equal(&r->segments, &kept.segments, sizeof(kept.segments));
    assert_memory_equal(&r->msrs, &kept.msrs, sizeof(kept.msrs));
    assert_memory_equal(&r->debug, &kept.debug, sizeof(kept.debug));
    assert_memory_equal(&r->events, &kept.events, sizeof(kept.events));
    assert_memory_equal(&r->control, &kept.control, offsetof(__typeof__(kept.control), cr0_mask));
    assert_int_equal(r->rip, 0x1234);
    assert_int_equal(r->gpr[4], 0x5678);
    close_world(&w);
}

/* The guest changes a CR0 bit that is its own; owned bits keep the shadow. */
static void test_control_registers(void **state)
{
    struct world w;
    struct vmlib_vtx_run *r;

    (void)state;
    open_world(&w, MOCK_FULL);
    r = w.v.run;
    assert_int_equal(mock_get(VMCS_GUEST_CR0), 0x30 | 0x80000021 | GUEST_CR0_TS);
    r->controls.word[VMLIB_VTX_PROC2] = PROC2_UNRESTRICTED;
    r->dirty = VMLIB_VTX_G_CONTROLS | VMLIB_VTX_G_CONTROL;
    assert_int_equal(vtx_vcpu_load(&w.v.core), 0);
    assert_int_equal(mock_get(VMCS_GUEST_CR0), 0x30 | GUEST_CR0_TS);
    mock_set(VMCS_GUEST_CR0, mock_get(VMCS_GUEST_CR0) | GUEST_CR0_PE);
    vtx_vcpu_fetch(&w.v.core, VMLIB_VTX_G_CONTROL);
    assert_int_equal(r->control.cr0, 0x31);
    assert_int_equal(mock_get(VMCS_GUEST_CR4) & 0x2040, 0x2040);
    assert_int_equal(r->control.cr4, 0);
    close_world(&w);
}

static enum vtx_next exit_with(struct world *w, u32 reason, u32 event)
{
    mock_set(VMCS_REASON, reason);
    mock_set(VMCS_EXIT_EVENT, event);
    return vtx_vcpu_exit(&w->v.core);
}

static void test_exits(void **state)
{
    struct world w;

    (void)state;
    open_world(&w, MOCK_FULL);
    assert_int_equal(exit_with(&w, 1, 0), VTX_AGAIN);
    assert_int_equal(exit_with(&w, 0, 0x80000202), VTX_HOST_NMI);
    assert_int_equal(exit_with(&w, 0, 0x80000312), VTX_HOST_MC);
    assert_int_equal(exit_with(&w, 0, 0x80000307), VTX_LOAD_FPU);
    assert_int_equal(exit_with(&w, 0, 0x80000301), VTX_USER);
    assert_int_equal(exit_with(&w, 0, 0x80000603), VTX_USER);

    /* The guest's own CR0.TS: its #NM is its own affair. */
    mock_set(VMCS_CR0_SHADOW, GUEST_CR0_TS);
    assert_int_equal(exit_with(&w, 0, 0x80000307), VTX_USER);
    assert_int_equal(w.v.run->exit_event, 0x80000307);
    vtx_vcpu_fpu(&w.v.core, true);
    assert_true(mock_get(VMCS_GUEST_CR0) & GUEST_CR0_TS);
    vtx_vcpu_fpu(&w.v.core, false);
    mock_set(VMCS_CR0_SHADOW, 0);
    vtx_vcpu_fpu(&w.v.core, true);
    assert_false(mock_get(VMCS_GUEST_CR0) & GUEST_CR0_TS);
    assert_false(mock_get(VMCS_EXCEPTIONS) & 1u << VECTOR_NM);
    vtx_vcpu_fpu(&w.v.core, false);
    assert_true(mock_get(VMCS_EXCEPTIONS) & 1u << VECTOR_NM);

    mock_set(VMCS_GPA, 0x1234000);
    mock_set(VMCS_QUALIFICATION, 0x182);
    assert_int_equal(exit_with(&w, 48, 0), VTX_USER);
    assert_int_equal(w.v.run->gpa, 0x1234000);
    assert_int_equal(w.v.run->qualification, 0x182);
    assert_int_equal(exit_with(&w, 0x80000021, 0), VTX_USER);
    assert_int_equal(w.v.run->status, VMLIB_VTX_REFUSED);
    close_world(&w);
}

/* Only what the reason defines is read; groups that user space wants after this reason are. */
static void test_what_exits_read(void **state)
{
    struct world w;

    (void)state;
    open_world(&w, MOCK_FULL);
    mock_set(VMCS_VECTORING_EVENT, 0x80000b0e);
    mock_set(VMCS_EXIT_INFO, 0x1234);
    mock_set(VMCS_QUALIFICATION, 0x420008); /* IN */
    w.v.run->instruction_info = 0;
    assert_int_equal(exit_with(&w, 30, 0), VTX_USER);
    assert_int_equal(w.v.run->vectoring_event, 0); /* an instruction: the field is not valid */
    assert_int_equal(w.v.run->instruction_info, 0);
    mock_set(VMCS_QUALIFICATION, 0x420018); /* INS */
    assert_int_equal(exit_with(&w, 30, 0), VTX_USER);
    assert_int_equal(w.v.run->instruction_info, 0x1234);
    w.v.run->fetch = VMLIB_VTX_G_EVENTS;
    w.v.run->also = VMLIB_VTX_G_SEGMENTS;
    w.v.run->also_for = 1ull << 48;
    assert_int_equal(vtx_vcpu_wanted(&w.v.core), VMLIB_VTX_G_EVENTS);
    assert_int_equal(exit_with(&w, 48, 0), VTX_USER);
    assert_int_equal(w.v.run->vectoring_event, 0x80000b0e);
    assert_int_equal(vtx_vcpu_wanted(&w.v.core), VMLIB_VTX_G_EVENTS | VMLIB_VTX_G_SEGMENTS);
    w.v.run->reason = 0x80000030; /* beyond the word */
    assert_int_equal(vtx_vcpu_wanted(&w.v.core), VMLIB_VTX_G_EVENTS);
    mock_set(VMCS_GUEST_ES + 2 * VMLIB_VTX_TR, 0x58);
    vtx_vcpu_fetch(&w.v.core, VMLIB_VTX_G_SEGMENTS);
    assert_int_equal(w.v.run->segments.s[VMLIB_VTX_TR].selector, 0x58);
    close_world(&w);
}

/* An event whose delivery the host's interrupt broke off is delivered again; a kick gives it back.
 */
static void test_vectoring(void **state)
{
    struct world w;

    (void)state;
    open_world(&w, MOCK_FULL);
    mock_set(VMCS_VECTORING_EVENT, 0x80000b0e);
    mock_set(VMCS_VECTORING_ERROR, 6);
    assert_int_equal(exit_with(&w, 1, 0), VTX_AGAIN);
    assert_int_equal(mock_get(VMCS_ENTRY_EVENT), 0x80000b0e);
    assert_int_equal(mock_get(VMCS_ENTRY_ERROR), 6);
    mock_set(VMCS_VECTORING_EVENT, 0x80000480); /* INT n: needs its length */
    mock_set(VMCS_EXIT_LENGTH, 2);
    assert_int_equal(exit_with(&w, 1, 0), VTX_AGAIN);
    assert_int_equal(mock_get(VMCS_ENTRY_LENGTH), 2);
    mock_set(VMCS_VECTORING_EVENT, 0x80000202);
    mock_set(VMCS_GUEST_INTERRUPTIBILITY, BLOCKING_BY_NMI);
    assert_int_equal(exit_with(&w, 1, 0), VTX_AGAIN);
    assert_int_equal(mock_get(VMCS_GUEST_INTERRUPTIBILITY), 0);
    vtx_vcpu_withdraw(&w.v.core);
    assert_int_equal(w.v.run->inject.event, 0x80000202);
    assert_int_equal(mock_get(VMCS_ENTRY_EVENT), 0);
    close_world(&w);
}

static void test_memory_arguments(void **state)
{
    struct world w;
    struct vmlib_vtx_map m = {0, 4096, MOCK_USER, 7, 0};

    (void)state;
    open_world(&w, MOCK_FULL);
    assert_int_equal(map(&w, 0, 0, 0, 7, 0), -EINVAL);
    assert_int_equal(map(&w, 1, 0, 1, 7, 0), -EINVAL);
    assert_int_equal(map(&w, 0, 0, 1, 2, 0), -EINVAL); /* W without R */
    assert_int_equal(map(&w, 0, 0, 1, 8, 0), -EINVAL);
    assert_int_equal(map(&w, 0, 0, 1, 7, 2), -EINVAL);
    assert_int_equal(map(&w, 1ull << 40, 0, 1, 7, 0), -ERANGE);
    assert_int_equal(map(&w, (1ull << 40) - 4096, 0, 2, 7, 0), -ERANGE);
    m.user = ~0xfffull;
    m.bytes = 8192;
    assert_int_equal(vtx_vm_map(&w.vm, &m), -EINVAL);
    assert_int_equal(map(&w, 0, MOCK_USER_PAGES - 1, 2, 1, 0), -EFAULT);
    assert_int_equal(map(&w, 0, MOCK_READ_ONLY, 1, 3, 0), -EACCES);
    assert_int_equal(map(&w, 0, MOCK_READ_ONLY, 1, 1, 0), 0);
    assert_int_equal(map(&w, 0, 0, 1, 7, 0), -EEXIST);
    assert_int_equal(range(&w, vtx_vm_protect, 0, 1, 3), -EACCES);
    assert_int_equal(range(&w, vtx_vm_unmap, 0, 1, 1), -EINVAL);
    assert_int_equal(range(&w, vtx_vm_unmap, 0, 4, 0), 0);
    assert_int_equal(w.vm.ept.tables, 1); /* the tables went, too */
    close_world(&w);
}

/* Large leaves where they fit; split when only a part changes. */
static void test_large_pages(void **state)
{
    struct world w;
    unsigned shift;

    (void)state;
    open_world(&w, MOCK_FULL);
    assert_int_equal(map(&w, 0x200000, 0, 1024, 7, 0), 0);
    assert_non_null(vtx_ept_leaf(&w.vm.ept, 0x200000, &shift));
    assert_int_equal(shift, 21);
    assert_int_equal(range(&w, vtx_vm_protect, 0x201000, 1, 1), 0);
    assert_int_equal(*vtx_ept_leaf(&w.vm.ept, 0x201000, &shift) & 7, 1);
    assert_int_equal(shift, 12);
    assert_int_equal(*vtx_ept_leaf(&w.vm.ept, 0x202000, &shift) & 7, 7);
    assert_non_null(vtx_ept_leaf(&w.vm.ept, 0x400000, &shift));
    assert_int_equal(shift, 21);
    assert_int_equal(range(&w, vtx_vm_unmap, 0x5ff000, 1, 0), 0);
    assert_int_equal(mock_pinned(), 1023);
    assert_null(vtx_ept_leaf(&w.vm.ept, 0x5ff000, &shift));
    assert_int_equal(map(&w, 0x800000, 0, 512, 7, VMLIB_VTX_MAP_SMALL), 0);
    assert_non_null(vtx_ept_leaf(&w.vm.ept, 0x800000, &shift));
    assert_int_equal(shift, 12);
    close_world(&w);
}

static void test_dirty(void **state)
{
    struct world w;
    struct vmlib_vtx_dirty d = {0x201000, 600 << 12, MOCK_USER, VMLIB_VTX_REARM, 0};
    u64 words[10], gen;
    unsigned shift;

    (void)state;
    open_world(&w, MOCK_FULL);
    assert_int_equal(map(&w, 0x200000, 0, 1024, 7, 0), 0);
    *vtx_ept_leaf(&w.vm.ept, 0x400000, &shift) |= EPT_DIRTY; /* a large leaf */
    memset(words, 0, sizeof(words));
    assert_int_equal(plat_user_write(MOCK_USER, words, sizeof(words)), 0);
    gen = w.vm.flush_gen;
    assert_int_equal(vtx_vm_dirty(&w.vm, &d), 0);
    assert_true(w.vm.flush_gen > gen);
    assert_int_equal(plat_user_read(words, MOCK_USER, sizeof(words)), 0);
    assert_int_equal(words[7], ~0ull << 63); /* page 511 of the range is the first of that leaf */
    assert_int_equal(words[8], ~0ull);
    assert_int_equal(words[9], (1ull << 24) - 1);
    /* The part of the leaf outside the range has kept its bit. */
    assert_true(*vtx_ept_leaf(&w.vm.ept, 0x5ff000, &shift) & EPT_DIRTY);
    assert_false(*vtx_ept_leaf(&w.vm.ept, 0x400000, &shift) & EPT_DIRTY);
    close_world(&w);
    open_world(&w, MOCK_OLD);
    assert_int_equal(vtx_vm_dirty(&w.vm, &d), -EOPNOTSUPP);
    close_world(&w);
}

/* Each allocation fails once: no pin, no page is left behind. */
static void test_out_of_memory(void **state)
{
    unsigned n;

    (void)state;
    for (n = 1; n < 8; n++) {
        struct world w;

        open_world(&w, MOCK_FULL);
        mock_fail_allocation(n);
        if (map(&w, 0x3ff000, 0, 600, 7, 0))
            assert_int_equal(mock_pinned(), 0);
        mock_fail_allocation(n);
        range(&w, vtx_vm_unmap, 0x400000, 3, 0);
        mock_fail_allocation(0);
        close_world(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_bad_groups),
        cmocka_unit_test(test_groups_come_back),
        cmocka_unit_test(test_control_registers),
        cmocka_unit_test(test_exits),
        cmocka_unit_test(test_vectoring),
        cmocka_unit_test(test_what_exits_read),
        cmocka_unit_test(test_memory_arguments),
        cmocka_unit_test(test_large_pages),
        cmocka_unit_test(test_dirty),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests_name("vtx core", tests, NULL, NULL);
}
