/* What other threads and signal handlers may do to a vCPU, and event injection. */
#include "core/internal.h"

/* Something that the vCPU has to look at has been stored. Signal-safe. */
void vmi_vcpu_poke(struct vmlib_vcpu *vcpu)
{
    vmi_wake_up(&vcpu->wake);
    vcpu->vm->pub.backend->kick(&vcpu->pub);
}

static void request_return(struct vmlib_vcpu *vcpu)
{
    atomic_fetch_or(&vcpu->pub.poll, VMI_POLL_CANCEL);
    vmi_vcpu_poke(vcpu);
}

int vmlib_vcpu_cancel(vmlib_vcpu *vcpu)
{
    if (vcpu == NULL) {
        return vmi_error_text(VMLIB_E_INVAL, "vcpu is NULL");
    }
    atomic_store(&vcpu->cancel_any, 1);
    request_return(vcpu);
    return 0;
}

int vmlib_vcpu_cancel_run(vmlib_vcpu *vcpu, uint64_t generation)
{
    if (vcpu == NULL) {
        return vmi_error_text(VMLIB_E_INVAL, "vcpu is NULL");
    }
    uint64_t current = atomic_load(&vcpu->generation);
    if (generation > current) {
        return vmi_error_text(VMLIB_E_INVAL, "generation is after the next run");
    }
    if (generation < current) {
        return 0; /* over */
    }
    /* Never backwards: a canceller that was held up must not undo a younger one. */
    uint64_t seen = atomic_load(&vcpu->cancel_gen);
    while (seen < generation &&
           !atomic_compare_exchange_weak(&vcpu->cancel_gen, &seen, generation)) {
    }
    request_return(vcpu);
    return 0;
}

uint64_t vmlib_vcpu_generation(const vmlib_vcpu *vcpu)
{
    return vcpu != NULL ? atomic_load(&vcpu->generation) : 0;
}

int vmlib_vcpu_set_intr(vmlib_vcpu *vcpu, uint32_t level)
{
    if (vcpu == NULL || level > 1) {
        return vmi_error_text(VMLIB_E_INVAL, vcpu == NULL ? "vcpu is NULL" : "level is above 1");
    }
    uint32_t old = atomic_exchange(&vcpu->pub.intr, level);
    if (level != 0 && old == 0) {
        vmi_vcpu_poke(vcpu);
    }
    return 0;
}

static int latch(struct vmlib_vcpu *vcpu, uint32_t bits)
{
    atomic_fetch_or(&vcpu->pub.pending, bits);
    vmi_vcpu_poke(vcpu);
    return 0;
}

int vmlib_vcpu_nmi(vmlib_vcpu *vcpu)
{
    if (vcpu == NULL) {
        return vmi_error_text(VMLIB_E_INVAL, "vcpu is NULL");
    }
    if (vcpu->vm->pub.backend->feature(VMLIB_FEATURE_NMI) == VMLIB_SUPPORT_REFUSED) {
        return vmi_error_text(VMLIB_E_UNSUPPORTED, "vcpu: the backend refuses nmi");
    }
    return latch(vcpu, VMI_PEND_NMI);
}

int vmlib_vcpu_init(vmlib_vcpu *vcpu)
{
    return vcpu == NULL ? vmi_error_text(VMLIB_E_INVAL, "vcpu is NULL")
                        : latch(vcpu, VMI_PEND_INIT);
}

int vmlib_vcpu_sipi(vmlib_vcpu *vcpu, uint32_t vector)
{
    if (vcpu == NULL || vector > 255) {
        return vmi_error_text(VMLIB_E_INVAL, vcpu == NULL ? "vcpu is NULL" : "vector is above 255");
    }
    uint32_t old = atomic_load(&vcpu->pub.pending), now;
    do {
        now = (old & ~VMI_PEND_SIPI_MASK) | VMI_PEND_SIPI | vector << VMI_PEND_SIPI_SHIFT;
    } while (!atomic_compare_exchange_weak(&vcpu->pub.pending, &old, now));
    vmi_vcpu_poke(vcpu);
    return 0;
}

int vmlib_vcpu_request_interrupt_window(vmlib_vcpu *vcpu, uint32_t on)
{
    VMI_REQUIRE(vcpu);
    if (on > 1) {
        return vmi_error(VMLIB_E_INVAL, "on is %u", on);
    }
    int rc = vmi_vcpu_check_thread(vcpu);
    if (rc != 0) {
        return rc;
    }
    if (on) {
        return latch(vcpu, VMI_PEND_WINDOW);
    }
    atomic_fetch_and(&vcpu->pub.pending, ~VMI_PEND_WINDOW);
    return 0;
}

int vmlib_vcpu_inject(vmlib_vcpu *vcpu, const struct vmlib_event *event)
{
    VMI_REQUIRE(vcpu);
    VMI_REQUIRE(event);
    int rc = vmi_args_event(event, "event");
    if (rc == 0) {
        rc = vmi_vcpu_check_thread(vcpu);
    }
    if (rc == 0 && vcpu->waiting && vcpu->outstanding.reason != VMLIB_EXIT_HYPERCALL) {
        rc = vmi_error(VMLIB_E_STATE, "vcpu %u: an exit waits for completion", vcpu->pub.index);
    }
    if (rc != 0) {
        return rc;
    }
    rc = vcpu->vm->pub.backend->inject(&vcpu->pub, event);
    if (rc == 0) {
        vmi_wake_up(&vcpu->wake);
    }
    return rc;
}
