/*
 * Is there a KVM that can be used, and if not, why: absent, permission, busy, too old, incomplete.
 *
 * Every capability that the backend cannot do without stands in one table with its reason, and all
 * are looked at before anything is created (KVM API 4.4, KVM_CHECK_EXTENSION).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm/kvm.h"

#define DEVICE "/dev/kvm"

int kvm_ioctl(int fd, unsigned long request, const void *arg)
{
    int rc;
    do {
        rc = ioctl(fd, request, arg);
    } while (rc < 0 && errno == EINTR);
    return rc;
}

int kvm_failed(const char *what)
{
    int error = errno;
    if (error == ENOMEM)
        return vmi_error(VMLIB_E_NOMEM, "%s: the kernel has no memory left", what);
    if (error == EBADF || error == ENOTTY || error == ENODEV)
        return vmi_error(VMLIB_E_IO, "%s: the descriptor of the VM has been closed or revoked: %s",
                         what, strerror(error));
    if (error == EIO)
        return vmi_error(VMLIB_E_IO, "%s: this process did not create the VM, or the VM is dead",
                         what);
    return vmi_error(VMLIB_E_IO, "%s: %s", what, strerror(error));
}

void kvm_probe_reason(int error, char *reason, size_t bytes)
{
    switch (error) {
    case ENOENT:
    case ENXIO:
    case ENODEV:
        snprintf(reason, bytes,
                 "absent: no " DEVICE ": kvm_intel or kvm_amd is not loaded, virtualization is off "
                 "in the firmware, or this container has not been given the device");
        return;
    case EACCES:
    case EPERM:
        snprintf(reason, bytes,
                 "permission: " DEVICE " may not be opened for reading and writing: add this user "
                 "to the group that owns it (often kvm), or allow the device in the container");
        return;
    case EBUSY:
        snprintf(reason, bytes,
                 "busy: another hypervisor on this machine owns the virtualization extensions");
        return;
    case EMFILE:
    case ENFILE:
        snprintf(reason, bytes, "busy: too many open files");
        return;
    default:
        snprintf(reason, bytes, DEVICE ": %s", strerror(error));
        return;
    }
}

int kvm_open_device(char *reason, size_t bytes)
{
    int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        kvm_probe_reason(errno, reason, bytes);
    return fd;
}

/* --- capabilities --- */

struct need {
    uint32_t cap;
    const char *name;
    const char *why;
};

static const struct need needs[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "guest memory"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "the CPU model"},
    {KVM_CAP_NR_MEMSLOTS, "KVM_CAP_NR_MEMSLOTS", "guest memory"},
    {KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM", "ROM"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "cancel and completion"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "injection"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS", "debug registers"},
    {KVM_CAP_XSAVE, "KVM_CAP_XSAVE", "vector registers"},
    {KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR", "MSR handlers"},
    {KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER", "MSR handlers"},
    {KVM_CAP_INTERNAL_ERROR_DATA, "KVM_CAP_INTERNAL_ERROR_DATA", "failed emulation"},
};

static uint32_t cap(int dev, uint32_t number)
{
    int n = ioctl(dev, KVM_CHECK_EXTENSION, (unsigned long)number);
    return n > 0 ? (uint32_t)n : 0;
}

static void optional_caps(int dev, struct kvm_caps *c)
{
    c->slots = cap(dev, KVM_CAP_NR_MEMSLOTS);
    c->vcpus = cap(dev, KVM_CAP_MAX_VCPUS);
    if (c->vcpus == 0)
        c->vcpus = cap(dev, KVM_CAP_NR_VCPUS);
    c->sync_regs = cap(dev, KVM_CAP_SYNC_REGS);
    /* The answer is 1, not the set of reasons; these three came together. */
    c->msr_exits =
        cap(dev, KVM_CAP_X86_USER_SPACE_MSR) == 0
            ? 0
            : KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER;
    c->msr_filter = cap(dev, KVM_CAP_X86_MSR_FILTER) != 0;
    c->debug = cap(dev, KVM_CAP_SET_GUEST_DEBUG2);
    c->emulation_exits = cap(dev, KVM_CAP_EXIT_ON_EMULATION_FAILURE) != 0;
    c->exception_payload = cap(dev, KVM_CAP_EXCEPTION_PAYLOAD) != 0;
    c->ioeventfd = cap(dev, KVM_CAP_IOEVENTFD) != 0;
    c->irqfd = cap(dev, KVM_CAP_IRQFD) != 0;
    c->irqchip = cap(dev, KVM_CAP_IRQCHIP) != 0;
    c->split_irqchip = cap(dev, KVM_CAP_SPLIT_IRQCHIP) != 0;
    c->xcrs = cap(dev, KVM_CAP_XCRS) != 0; /* not on CPUs without XSAVE */
    c->tsc_control = cap(dev, KVM_CAP_TSC_CONTROL) != 0;
#ifdef KVM_CAP_XSAVE2
    c->xsave_bytes = cap(dev, KVM_CAP_XSAVE2);
#endif
#ifdef KVM_CAP_X86_TRIPLE_FAULT_EVENT
    c->triple_fault = cap(dev, KVM_CAP_X86_TRIPLE_FAULT_EVENT) != 0;
#endif
}

int kvm_read_caps(int dev, struct kvm_caps *c, char *reason, size_t bytes)
{
    int version = ioctl(dev, KVM_GET_API_VERSION, 0ul);
    if (version != KVM_API_VERSION) {
        snprintf(reason, bytes, "too old: API version %d, not %d", version, KVM_API_VERSION);
        return -1;
    }
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
        if (cap(dev, needs[i].cap) == 0) {
            snprintf(reason, bytes, "too old: this kernel lacks %s (%s)", needs[i].name,
                     needs[i].why);
            return -1;
        }
    }
    int size = ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0ul);
    if (size < (int)sizeof(struct kvm_run)) {
        snprintf(reason, bytes, "incompatible: struct kvm_run has %d bytes", size);
        return -1;
    }
    *c = (struct kvm_caps){.run_bytes = (uint32_t)size};
    optional_caps(dev, c);
    return 0;
}

int kvm_probe(char *reason, size_t bytes)
{
    struct kvm_caps caps;
    int dev = kvm_open_device(reason, bytes);
    if (dev < 0)
        return VMLIB_E_UNAVAILABLE;
    int rc = kvm_read_caps(dev, &caps, reason, bytes);
    /* The module may be there although the CPU is taken: only creating a VM tells. */
    if (rc == 0) {
        int vm = ioctl(dev, KVM_CREATE_VM, 0ul);
        if (vm < 0) {
            kvm_probe_reason(errno, reason, bytes);
            rc = -1;
        } else {
            close(vm);
        }
    }
    close(dev);
    if (rc == 0)
        reason[0] = 0;
    return rc == 0 ? 0 : VMLIB_E_UNAVAILABLE;
}
