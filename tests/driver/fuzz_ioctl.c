/*
 * Any sequence of calls against the driver's core on the mock: memory calls, hostile run pages,
 * entries, failing allocations. The mock asserts that no entry endangers the host; at the end
 * nothing may be left.
 */
#include "mock.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct input {
    const uint8_t *p;
    size_t left;
};

static u64 take(struct input *in, unsigned bytes)
{
    u64 v = 0;

    while (bytes-- && in->left) {
        v = v << 8 | *in->p++;
        in->left--;
    }
    return v;
}

/* Mostly plausible addresses, sometimes anything. */
static u64 take_address(struct input *in, u64 base)
{
    u64 v = take(in, 3);

    if ((v & 0xff0000) == 0xff0000)
        return take(in, 8);
    return base + ((v & 0xfff) << 12 << (v >> 12 & 0xf));
}

static u64 take_bytes(struct input *in)
{
    u64 v = take(in, 2);

    return v >= 0xff00 ? take(in, 8) : ((v & 0x7ff) + 1) << 12;
}

static void call_memory(struct vtx_vm *vm, struct input *in, unsigned call)
{
    struct vmlib_vtx_map map = {take_address(in, 0), take_bytes(in), take_address(in, MOCK_USER),
                                (u32)take(in, 1) & 0xf, (u32)take(in, 1) & 3};
    struct vmlib_vtx_range range = {map.gpa, map.bytes, map.prot, 0};
    struct vmlib_vtx_dirty dirty = {map.gpa, map.bytes, map.user, map.flags, 0};

    if (call == 0)
        vtx_vm_map(vm, &map);
    else if (call == 1)
        vtx_vm_protect(vm, &range);
    else if (call == 2)
        vtx_vm_dirty(vm, &dirty);
    else {
        range.prot = 0;
        vtx_vm_unmap(vm, &range);
    }
}

static void enter(struct mock_vcpu *v, struct input *in)
{
    u32 reason = (u32)take(in, 1), turns;

    mock_set(VMCS_EXIT_EVENT, take(in, 4));
    for (turns = 0; turns < 4; turns++) {
        enum vtx_next next;

        mock_enter(&v->core, &v->flush_gen, take_address(in, 0), 1u << take(in, 1) % 3, reason);
        next = vtx_vcpu_exit(&v->core);
        if (next == VTX_USER)
            break;
        if (next == VTX_LOAD_FPU)
            vtx_vcpu_fpu(&v->core, true);
    }
    vtx_vcpu_fpu(&v->core, false);
    vtx_vcpu_fetch(&v->core, READ_ONCE(v->run->fetch));
}

static void call_run(struct mock_vcpu *v, struct input *in)
{
    u32 bad = vtx_vcpu_load(&v->core);

    if (bad)
        return;
    if (take(in, 1) & 1) {
        vtx_vcpu_withdraw(&v->core);
        vtx_vcpu_fetch(&v->core, READ_ONCE(v->run->fetch));
        return;
    }
    enter(v, in);
}

/* Write anything anywhere in the run page. */
static void scribble(struct mock_vcpu *v, struct input *in)
{
    size_t at = take(in, 2) % sizeof(*v->run), n = take(in, 1) % 32;

    while (n-- && at < sizeof(*v->run))
        ((u8 *)v->run)[at++] = (u8)take(in, 1);
    v->run->dirty |= (u32)take(in, 2);
}

/* A page of values that the driver accepts, to reach the entries. */
static void tidy(struct mock_vcpu *v, struct input *in)
{
    struct vmlib_vtx_run *r = v->run;
    u32 i;

    memset(r, 0, sizeof(*r));
    for (i = 0; i < VMLIB_VTX_CONTROLS; i++)
        r->controls.word[i] = (u32)take(in, 4) & v->core.caps->may[i];
    r->controls.exceptions = (u32)take(in, 4);
    r->control.cr0 = take(in, 4);
    r->control.cr4 = take(in, 3) & v->core.caps->cr4_may;
    r->control.efer = take(in, 2) & v->core.caps->efer_may;
    r->control.cr0_mask = take(in, 4);
    r->rflags = 2;
    r->inject.event = (u32)take(in, 4);
    r->dirty = VMLIB_VTX_G_ALL;
}

static void step(struct vtx_vm *vm, struct mock_vcpu *v, struct input *in)
{
    unsigned op = (unsigned)take(in, 1) % 12;

    if (op < 4)
        call_memory(vm, in, op);
    else if (op < 7)
        call_run(v, in);
    else if (op == 7)
        vtx_vcpu_pass_msr(&v->core, (u32)take(in, 1) | (take(in, 1) & 1 ? 0xc0000100 : 0),
                          (u32)take(in, 1) & 7);
    else if (op == 8)
        mock_fail_allocation((unsigned)take(in, 1) % 8);
    else if (op == 9)
        tidy(v, in);
    else
        scribble(v, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct input in = {data, bytes};
    struct vtx_caps caps;
    struct vtx_vm vm = {0};
    struct mock_vcpu v;

    mock_reset(take(&in, 1) & 1 ? MOCK_OLD : MOCK_FULL);
    mock_caps(&caps);
    MOCK_ASSERT(!caps.unavailable);
    MOCK_ASSERT(vtx_vm_init(&vm, &caps) == 0 && mock_vcpu_open(&v, &vm, &caps) == 0);
    while (in.left)
        step(&vm, &v, &in);
    mock_fail_allocation(0);
    mock_vcpu_close(&v);
    vtx_vm_free(&vm);
    MOCK_ASSERT(mock_pages() == 0 && mock_pinned() == 0);
    return 0;
}
