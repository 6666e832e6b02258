/* The kernel's register structs from and to the API's: pure functions, see convert.c. */
#ifndef KVM_CONVERT_H
#define KVM_CONVERT_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <vmlib/vmlib.h>

bool kvm_sregs_pae(const struct kvm_sregs *s); /* PAE paging, so that the PDPTEs count */

void kvm_gpr_to_api(const struct kvm_regs *r, struct vmlib_gpr *o);
void kvm_gpr_from_api(const struct vmlib_gpr *g, struct kvm_regs *r);
void kvm_segments_to_api(const struct kvm_sregs *s, struct vmlib_segments *o);
void kvm_segments_from_api(const struct vmlib_segments *o, struct kvm_sregs *s);
/* Without xcr0 and pdpte. */
void kvm_control_to_api(const struct kvm_sregs *s, struct vmlib_control *o);
void kvm_control_from_api(const struct vmlib_control *o, struct kvm_sregs *s);

/* features: XCR0 bits that the guest's CPU model has. */
void kvm_fpu_to_api(const struct kvm_xsave *x, struct vmlib_fpu *o);
void kvm_fpu_from_api(const struct vmlib_fpu *o, struct kvm_xsave *x); /* x: as read before */
void kvm_xsave_to_api(const struct kvm_xsave *x, uint64_t features, struct vmlib_xsave *o);
void kvm_xsave_from_api(const struct vmlib_xsave *o, uint64_t features, struct kvm_xsave *x);

#endif
