/*
 * Model-specific registers: which ones KVM keeps, which ones this backend keeps, and which accesses
 * of the guest come to user space.
 *
 * KVM keeps the registers that the guest's instructions depend on. The rest of the API's group is
 * state without effect (memory types, machine check, feature control) and lives in kvm_cpu.kept,
 * with the checks of lib/x86, so that the guest sees the same model as on every other backend. The
 * filter denies by default: what is not in `direct` comes to user space, and everything does for
 * which a handler exists (KVM API 4.97, KVM_X86_SET_MSR_FILTER).
 */
#include <string.h>

#include "kvm/kvm.h"
#include "state/state.h"
#include "x86/ops.h"
#include "x86/sys.h"

struct msr {
    uint32_t index;
    uint32_t offset; /* in struct vmlib_msrs */
};
#define MSR(index, name)                         \
    {                                            \
        index, offsetof(struct vmlib_msrs, name) \
    }
static const struct msr msrs[] = {
    MSR(0xc0000081, star),
    MSR(0xc0000082, lstar),
    MSR(0xc0000083, cstar),
    MSR(0xc0000084, fmask),
    MSR(0xc0000102, kernel_gs_base),
    MSR(0xc0000103, tsc_aux),
    MSR(0x174, sysenter_cs),
    MSR(0x175, sysenter_esp),
    MSR(0x176, sysenter_eip),
    MSR(0x277, pat),
    MSR(0x48, spec_ctrl),
    MSR(0x3b, tsc_adjust),
    MSR(0x10, tsc),
};
#define NMSRS (sizeof(msrs) / sizeof(msrs[0]))
_Static_assert(NMSRS <= 32, "kvm_cpu.msrs_known is a bit set");

static uint64_t *field(struct vmlib_msrs *o, unsigned i)
{
    return (uint64_t *)(void *)((uint8_t *)o + msrs[i].offset);
}

struct msr_buffer {
    struct kvm_msrs head;
    struct kvm_msr_entry entry[NMSRS];
};

/* KVM stops at the first register that it does not know and returns how many it has done. */
static unsigned transfer(struct kvm_cpu *v, unsigned long call, struct msr_buffer *b, unsigned n)
{
    b->head.nmsrs = n;
    b->head.pad = 0;
    int done = n ? kvm_ioctl(v->fd, call, b) : 0;
    return done < 0 ? 0 : (unsigned)done;
}

/* Registers of the table that this kernel has for this vCPU. */
static uint32_t find_known(struct kvm_cpu *v)
{
    struct msr_buffer b;
    uint32_t known = 0;
    memset(&b, 0, sizeof(b));
    for (unsigned first = 0; first < NMSRS;) {
        for (unsigned i = first; i < NMSRS; i++)
            b.entry[i - first].index = msrs[i].index;
        unsigned done = transfer(v, KVM_GET_MSRS, &b, NMSRS - first);
        for (unsigned i = 0; i < done; i++)
            known |= 1u << (first + i);
        first += done + 1; /* the one that failed is left out */
    }
    return known;
}

static int read_msrs(struct kvm_cpu *v, struct msr_buffer *b)
{
    unsigned n = 0;
    memset(b, 0, sizeof(*b));
    if (!v->msrs_known)
        v->msrs_known = find_known(v);
    for (unsigned i = 0; i < NMSRS; i++)
        if (v->msrs_known >> i & 1)
            b->entry[n++].index = msrs[i].index;
    if (transfer(v, KVM_GET_MSRS, b, n) != n)
        return kvm_failed("KVM_GET_MSRS");
    return 0;
}

int kvm_get_msrs(struct kvm_cpu *v, struct vmlib_msrs *o)
{
    struct msr_buffer b;
    int r = read_msrs(v, &b);
    if (r)
        return r;
    *o = v->kept;
    for (unsigned i = 0, n = 0; i < NMSRS; i++)
        if (v->msrs_known >> i & 1)
            *field(o, i) = b.entry[n++].data;
    return 0;
}

/* Only what changes is written: a register that the CPU model lacks reads as zero and refuses even
 * that. On a refusal everything is put back. */
int kvm_set_msrs(struct kvm_cpu *v, const struct vmlib_msrs *o)
{
    struct msr_buffer old, b;
    struct vmlib_msrs want = *o;
    unsigned n = 0;
    int r = read_msrs(v, &old);
    if (r)
        return r;
    memset(&b, 0, sizeof(b));
    for (unsigned i = 0, at = 0; i < NMSRS; i++) {
        if (!(v->msrs_known >> i & 1))
            continue;
        if (old.entry[at].data != *field(&want, i)) {
            b.entry[n] = old.entry[at];
            old.entry[n] = old.entry[at]; /* compact: what to put back */
            b.entry[n++].data = *field(&want, i);
        }
        at++;
    }
    unsigned done = transfer(v, KVM_SET_MSRS, &b, n);
    if (done != n) {
        uint32_t index = b.entry[done].index;
        unsigned long long value = b.entry[done].data;
        transfer(v, KVM_SET_MSRS, &old, done);
        return vmi_error(VMLIB_E_INVAL,
                         "state->msrs: KVM refuses %#llx in MSR %#x with this CPU model", value,
                         index);
    }
    v->kept = want;
    return 0;
}

/* --- what comes to user space --- */

/* Kept by KVM with the same checks as lib/x86, and frequent. 49H and 10BH are commands without
 * state, which KVM grants to CPU models that have them. */
static const uint32_t direct[] = {0x10,       0x3b,       0x48,       0x49,       0x10b,
                                  0x174,      0x175,      0x176,      0xc0000080, 0xc0000081,
                                  0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101,
                                  0xc0000102, 0xc0000103};
#define NDIRECT (sizeof(direct) / sizeof(direct[0]))

/* The filter has bitmaps over ranges of indices. */
static const struct {
    uint32_t base, count;
} ranges[] = {{0, 0x400}, {0xc0000080, 0x88}};
#define NRANGES     (sizeof(ranges) / sizeof(ranges[0]))
#define RANGE_BYTES (0x400 / 8)

/* Allow what nobody watches. *denies: some direct register is watched. */
static int set_filter(struct kvm_machine *vm, bool *denies)
{
    uint8_t bits[NRANGES][RANGE_BYTES];
    struct kvm_msr_filter f;
    memset(bits, 0, sizeof(bits));
    memset(&f, 0, sizeof(f));
    f.flags = KVM_MSR_FILTER_DEFAULT_DENY;
    *denies = false;
    for (unsigned r = 0; r < NRANGES; r++) {
        for (unsigned i = 0; i < NDIRECT; i++) {
            uint32_t at = direct[i] - ranges[r].base;
            if (at >= ranges[r].count)
                continue;
            if (vmi_handler_covers(vm->owner, VMLIB_HANDLER_MSR, direct[i]))
                *denies = true;
            else
                bits[r][at / 8] |= (uint8_t)(1u << at % 8);
        }
        f.ranges[r] =
            (struct kvm_msr_filter_range){.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
                                          .nmsrs = ranges[r].count,
                                          .base = ranges[r].base,
                                          .bitmap = bits[r]};
    }
    return kvm_ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &f) < 0 ? kvm_failed("KVM_X86_SET_MSR_FILTER")
                                                             : 0;
}

#define WANTED_EXITS \
    (KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER)

/* The filter is set while the VM is still empty: later the kernel waits for readers of what it
 * replaces, which takes longer than all the rest of a VM's creation on a busy machine. */
int kvm_msrs_vm(struct kvm_machine *vm)
{
    struct kvm_enable_cap cap = {.cap = KVM_CAP_X86_USER_SPACE_MSR, .args = {WANTED_EXITS}};
    pthread_mutex_init(&vm->filter_lock, NULL);
    if (vm->caps.msr_exits && kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0)
        return kvm_failed("KVM_CAP_X86_USER_SPACE_MSR");
    vm->filter_epoch = vm->owner->handlers_epoch;
    return vm->caps.msr_filter ? set_filter(vm, &vm->filter_denies) : 0;
}

void kvm_msrs_vm_destroy(struct kvm_machine *vm)
{
    pthread_mutex_destroy(&vm->filter_lock);
}

int kvm_msrs_enter(struct kvm_cpu *v)
{
    struct kvm_machine *vm = v->vm;
    uint32_t epoch = atomic_load_explicit(&vm->owner->handlers_epoch, memory_order_relaxed);
    int r = 0;
    if (atomic_load_explicit(&vm->filter_epoch, memory_order_acquire) == epoch ||
        !vm->caps.msr_filter)
        return 0;
    pthread_mutex_lock(&vm->filter_lock);
    if (vm->filter_epoch != epoch) {
        bool any = false;
        for (unsigned i = 0; i < NDIRECT; i++)
            any |= vmi_handler_covers(vm->owner, VMLIB_HANDLER_MSR, direct[i]);
        if (any || vm->filter_denies)
            r = set_filter(vm, &vm->filter_denies);
        if (!r)
            atomic_store_explicit(&vm->filter_epoch, epoch, memory_order_release);
    }
    pthread_mutex_unlock(&vm->filter_lock);
    return r;
}

/* --- accesses that came to user space and that nobody else took --- */

static enum x86_result not_mine_rd(struct x86_cpu *cpu, uint32_t index)
{
    (void)cpu, (void)index;
    return X86_EXIT;
}

static enum x86_result not_mine_wr(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
    (void)cpu, (void)index, (void)value;
    return X86_EXIT;
}

/* lib/x86's rules on a copy of the state, with nobody to ask about other registers. */
static struct x86_cpu *copy_of(struct kvm_cpu *v, uint32_t groups, struct x86_ops *ops)
{
    struct x86_cpu *cpu = kvm_shadow(v, groups);
    if (!cpu)
        return NULL;
    *ops = *cpu->ops;
    ops->rdmsr = not_mine_rd;
    ops->wrmsr = not_mine_wr;
    return cpu;
}

static uint32_t group_of(uint32_t index)
{
    if (index == 0xc0000080)
        return VMLIB_STATE_CONTROL;
    return index == 0xc0000100 || index == 0xc0000101 ? VMLIB_STATE_SEGMENTS : VMLIB_STATE_MSRS;
}

bool kvm_msr_known(struct kvm_cpu *v, uint32_t index)
{
    struct x86_ops ops;
    struct x86_cpu *cpu = copy_of(v, 0, &ops);
    if (!cpu)
        return false;
    const struct x86_ops *own = cpu->ops;
    cpu->ops = &ops;
    bool known = x86_rdmsr(cpu, index) != X86_EXIT;
    cpu->ops = own;
    return known;
}

int kvm_msr_read(struct kvm_cpu *v, uint32_t index, uint64_t *value)
{
    struct x86_ops ops;
    struct x86_cpu *cpu = copy_of(v, group_of(index), &ops);
    if (!cpu)
        return -1;
    const struct x86_ops *own = cpu->ops;
    cpu->ops = &ops;
    enum x86_result r = x86_rdmsr(cpu, index);
    cpu->ops = own;
    *value = cpu->tmp;
    return r == X86_OK ? 0 : -1;
}

int kvm_msr_write(struct kvm_cpu *v, uint32_t index, uint64_t value)
{
    struct vmlib_state s;
    struct x86_ops ops;
    uint32_t groups = group_of(index) | (index == 0xc0000080 ? VMLIB_STATE_SEGMENTS : 0);
    struct x86_cpu *cpu = copy_of(v, groups, &ops);
    if (!cpu)
        return -1;
    const struct x86_ops *own = cpu->ops;
    cpu->ops = &ops;
    enum x86_result r = x86_wrmsr(cpu, index, value);
    cpu->ops = own;
    if (r != X86_OK)
        return -1;
    vmi_state_get(cpu, group_of(index), &s);
    return kvm_set_state(v->owner, group_of(index), &s) ? -1 : 0;
}
