/*
 * VMs and vCPUs: descriptors, the mapping of struct kvm_run, creation and end.
 *
 * Each VM opens /dev/kvm itself: VMs share nothing, and a descriptor that the host program closes
 * by mistake hurts one VM only. Creation and end are the costs of short-lived VMs, so nothing is
 * asked twice (KVM API 4.1 to 4.3).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm/kvm.h"

/* Three pages that VMX without unrestricted guest needs below 4 GiB, and one more for its identity
 * map (KVM API 4.36, 4.54): where firmware has its flash, never RAM or a device of ours. */
#define TSS_ADDRESS          UINT64_C(0xfffbd000)
#define IDENTITY_MAP_ADDRESS UINT64_C(0xfffbc000)

/* --- VM --- */

static int enable(int fd, uint32_t cap, uint64_t arg)
{
    struct kvm_enable_cap e = {.cap = cap, .args = {arg}};
    return kvm_ioctl(fd, KVM_ENABLE_CAP, &e);
}

/* Optional behaviour that makes KVM say more or do less behind our back. Older kernels refuse,
 * which the capability bits have told already. */
static void enable_options(struct kvm_machine *vm)
{
    if (vm->caps.emulation_exits && enable(vm->fd, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1) < 0)
        vm->caps.emulation_exits = false;
    if (vm->caps.exception_payload && enable(vm->fd, KVM_CAP_EXCEPTION_PAYLOAD, 1) < 0)
        vm->caps.exception_payload = false;
#ifdef KVM_CAP_X86_TRIPLE_FAULT_EVENT
    if (vm->caps.triple_fault && enable(vm->fd, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1) < 0)
        vm->caps.triple_fault = false;
#endif
    /* VMCALL is not rewritten in guest memory; a new vCPU has the reset state of the SDM. */
    uint64_t quirks = KVM_X86_QUIRK_LINT0_REENABLED | KVM_X86_QUIRK_CD_NW_CLEARED |
                      KVM_X86_QUIRK_OUT_7E_INC_RIP | KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT |
                      KVM_X86_QUIRK_FIX_HYPERCALL_INSN;
    int known = ioctl(vm->dev, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_DISABLE_QUIRKS2);
    if (known > 0)
        (void)enable(vm->fd, KVM_CAP_DISABLE_QUIRKS2, quirks & (uint64_t)known);
}

/* Only VMX without unrestricted guest uses these pages, and only it needs the calls to work. */
static int place_helper_pages(struct kvm_machine *vm)
{
    uint64_t identity = IDENTITY_MAP_ADDRESS;
    if (ioctl(vm->dev, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_SET_IDENTITY_MAP_ADDR) > 0 &&
        kvm_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
        return kvm_failed("KVM_SET_IDENTITY_MAP_ADDR");
    if (ioctl(vm->dev, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_SET_TSS_ADDR) > 0 &&
        ioctl(vm->fd, KVM_SET_TSS_ADDR, (unsigned long)TSS_ADDRESS) < 0)
        return kvm_failed("KVM_SET_TSS_ADDR");
    return 0;
}

static int open_machine(struct kvm_machine *vm)
{
    char reason[200];
    vm->dev = kvm_open_device(reason, sizeof(reason));
    if (vm->dev < 0 || kvm_read_caps(vm->dev, &vm->caps, reason, sizeof(reason)) != 0)
        return vmi_error(VMLIB_E_UNAVAILABLE, "%s", reason);
    do {
        vm->fd = ioctl(vm->dev, KVM_CREATE_VM, 0ul);
    } while (vm->fd < 0 && errno == EINTR);
    if (vm->fd < 0) {
        kvm_probe_reason(errno, reason, sizeof(reason));
        return vmi_error(VMLIB_E_UNAVAILABLE, "KVM_CREATE_VM: %s", reason);
    }
    enable_options(vm);
    int rc = place_helper_pages(vm);
    if (rc == 0)
        rc = kvm_cpuid_vm(vm);
    return rc != 0 ? rc : kvm_msrs_vm(vm);
}

void kvm_vm_destroy(struct vmi_vm *owner)
{
    struct kvm_machine *vm = owner->impl;
    kvm_msrs_vm_destroy(vm);
    if (vm->fd >= 0)
        close(vm->fd);
    if (vm->dev >= 0)
        close(vm->dev);
    free(vm->slot);
    free(vm);
}

int kvm_vm_create(struct vmi_vm *owner)
{
    struct kvm_machine *vm = calloc(1, sizeof(*vm));
    if (vm == NULL)
        return vmi_error(VMLIB_E_NOMEM, "no memory for the VM");
    vm->owner = owner;
    vm->dev = vm->fd = -1;
    owner->impl = vm;
    vm->host_tsc = owner->tsc_khz == 0;
    int rc = open_machine(vm);
    if (rc != 0)
        kvm_vm_destroy(owner);
    return rc;
}

/* --- vCPU --- */

/* The guest's clock: KVM scales it if the CPU can (KVM API 4.55, 4.56). */
static int set_tsc(struct kvm_cpu *v)
{
    uint32_t want = v->owner->vm->tsc_khz;
    int host = ioctl(v->fd, KVM_GET_TSC_KHZ, 0ul);
    if (host <= 0)
        return 0; /* it does not say, so it cannot be asked for another either */
    if (v->vm->host_tsc)
        v->owner->vm->tsc_khz = want = (uint32_t)host;
    if ((uint32_t)host == want)
        return 0;
    if (ioctl(v->fd, KVM_SET_TSC_KHZ, (unsigned long)want) == 0)
        return 0;
    return vmi_error(VMLIB_E_UNSUPPORTED,
                     "config->tsc_khz is %u, this host's %d, and its CPU cannot scale it", want,
                     host);
}

static int open_cpu(struct kvm_cpu *v)
{
    struct kvm_machine *vm = v->vm;
    do {
        v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)v->owner->index);
    } while (v->fd < 0 && errno == EINTR);
    if (v->fd < 0)
        return errno == EINVAL || errno == E2BIG
                   ? vmi_error(VMLIB_E_LIMIT, "vCPU %u: this kernel takes %u", v->owner->index,
                               vm->caps.vcpus)
                   : kvm_failed("KVM_CREATE_VCPU");
    v->run = mmap(NULL, vm->caps.run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (v->run == MAP_FAILED) {
        v->run = NULL;
        return kvm_failed("mmap of the vCPU");
    }
    v->run->kvm_valid_regs = vm->caps.sync_regs & KVM_SYNC_X86_REGS;
    return 0;
}

static void free_cpu(struct kvm_cpu *v)
{
    kvm_kick_destroy(v);
    kvm_emulate_destroy(v);
    kvm_cpuid_destroy(v);
    if (v->run != NULL)
        munmap(v->run, v->vm->caps.run_bytes);
    if (v->fd >= 0)
        close(v->fd);
    free(v);
}

int kvm_vcpu_create(struct vmi_vcpu *owner, bool wait_sipi, const struct vmlib_cpuid_leaf *model,
                    uint32_t n)
{
    struct kvm_cpu *v = calloc(1, sizeof(*v));
    if (v == NULL)
        return vmi_error(VMLIB_E_NOMEM, "no memory for vCPU %u", owner->index);
    v->owner = owner;
    v->vm = owner->vm->impl;
    v->fd = -1;
    v->timer_ns = UINT64_MAX;
    owner->impl = v;
    int rc = open_cpu(v);
    if (rc == 0)
        rc = set_tsc(v);
    if (rc == 0)
        rc = kvm_cpuid_init(v, model, n);
    if (rc == 0)
        rc = kvm_reset(v, false);
    if (rc != 0) {
        free_cpu(v);
        return rc;
    }
    v->wait_sipi = wait_sipi;
    return 0;
}

void kvm_vcpu_destroy(struct vmi_vcpu *owner)
{
    free_cpu(owner->impl);
}
