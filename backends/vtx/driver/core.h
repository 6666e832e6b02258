/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The part of the driver that calls no kernel: capabilities, register groups, EPT, checks. It also
 * compiles in user space, where tests run it against a mock of VMX. What it needs from its
 * surroundings is in platform.h (one for the kernel, one for the mock):
 *
 *   u8..u64, READ_ONCE, WRITE_ONCE, errno constants
 *   vmx_read(field), vmx_write(field, value)   of the current VMCS
 *   plat_rdmsr(msr)                            of this processor; 0 when it does not exist
 *   plat_page_alloc(), plat_page_free()        zeroed 4 KiB pages
 *   plat_phys(page), plat_virt(phys)
 *   plat_xchg(u64 *, v), plat_cmpxchg(u64 *, old, v)   atomic against the processor's page walks
 *   plat_pin(vm, user, n, write, pfns)         n <= 512; all or an error
 *   plat_unpin(vm, pfns, n, dirty)
 *   plat_flush(vm)                             every vCPU of the VM in guest mode has left it
 *   plat_pause()                               may sleep; -EINTR when the caller must give up
 *   plat_user_read(to, user, bytes), plat_user_write(user, from, bytes)
 */
#ifndef VTX_CORE_H
#define VTX_CORE_H

#include <platform.h> /* the kernel's or the mock's: the include path decides */
#include "vmcs.h"
#include "vmlib_vtx.h"

/* What this machine's VMX can do; constant after vtx_caps_read(). */
struct vtx_caps {
    u32 unavailable, missing;
    u64 features, basic, ept_vpid, xcr0;
    u32 low[VMLIB_VTX_CONTROLS], high[VMLIB_VTX_CONTROLS]; /* allowed 0- and 1-settings */
    u32 must[VMLIB_VTX_CONTROLS], may[VMLIB_VTX_CONTROLS]; /* ours: forced; offered to user space */
    u32 exit_controls, entry_controls;
    u64 cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
    u64 cr0_owned, cr4_owned, cr4_may, efer_may;
    u64 gpa_limit;
    u32 timer_shift;
};

/* What the platform knows about the processor without VMX. */
struct vtx_cpu_facts {
    u32 phys_bits;
    bool vmx, fxsr, xsave, nx, fred;
    u64 xcr0;
};

void vtx_caps_read(struct vtx_caps *caps, const struct vtx_cpu_facts *cpu);
void vtx_caps_info(const struct vtx_caps *caps, struct vmlib_vtx_info *info);

/* --- EPT (ept.c) --- */

#define EPT_READ     0x001ull
#define EPT_WRITE    0x002ull
#define EPT_EXEC     0x004ull
#define EPT_RIGHTS   0x007ull
#define EPT_WB_IPAT  0x070ull /* write-back whatever the guest's PAT says */
#define EPT_LARGE    0x080ull
#define EPT_ACCESSED 0x100ull
#define EPT_DIRTY    0x200ull
#define EPT_FRAME    0x000ffffffffff000ull
/* Ignored by the processor (SDM Vol.3C table 28-7). A leaf without rights is still mapped. */
#define EPT_MAPPED 0x0010000000000000ull
#define EPT_PIN_W  0x0020000000000000ull

#define EPT_MAX_TABLES 65536u

struct vtx_ept {
    u64 *root;
    u64 tables; /* pages of tables, the root included */
    u64 pages;  /* guest pages mapped */
    bool ad, large;
};

int vtx_ept_init(struct vtx_ept *ept, const struct vtx_caps *caps);
/* Frees the tables; nothing may be mapped any more, no vCPU may walk them. */
void vtx_ept_free(struct vtx_ept *ept);
u64 vtx_ept_pointer(const struct vtx_ept *ept);
/* The leaf that maps gpa, or NULL. shift: log2 of the size of the leaf or of the hole around gpa.
 */
u64 *vtx_ept_leaf(const struct vtx_ept *ept, u64 gpa, unsigned *shift);
/* Enter n pages (n <= 512, not over a 2 MiB boundary), none of them mapped. */
int vtx_ept_map(struct vtx_ept *ept, u64 gpa, const u64 *pfns, unsigned n, u64 bits, bool small);
/* Make sure that the leaf at gpa lies inside [first, end). */
int vtx_ept_split(struct vtx_ept *ept, u64 gpa, u64 first, u64 end);
/* Without any page mapped: unlink all tables but the root into a list for vtx_ept_drop(). */
u64 *vtx_ept_detach(struct vtx_ept *ept);
void vtx_ept_drop(struct vtx_ept *ept, u64 *list);

/* --- VM (vm.c); callers hold the VM's lock --- */

#define VTX_BATCH 512u

struct vtx_vm {
    const struct vtx_caps *caps;
    struct vtx_ept ept;
    u64 *batch;    /* one page of work space */
    u64 flush_gen; /* an entry with an older generation needs INVEPT */
};

int vtx_vm_init(struct vtx_vm *vm, const struct vtx_caps *caps);
void vtx_vm_free(struct vtx_vm *vm); /* no vCPU is left */
int vtx_vm_map(struct vtx_vm *vm, const struct vmlib_vtx_map *map);
int vtx_vm_unmap(struct vtx_vm *vm, const struct vmlib_vtx_range *range);
int vtx_vm_protect(struct vtx_vm *vm, const struct vmlib_vtx_range *range);
int vtx_vm_dirty(struct vtx_vm *vm, const struct vmlib_vtx_dirty *dirty);

/* --- vCPU (vcpu.c, groups.c); the VMCS is current --- */

struct vtx_vcpu {
    struct vtx_vm *vm;
    const struct vtx_caps *caps;
    struct vmlib_vtx_run *run; /* shared with user space: read each value once */
    u64 *msr_bitmap;
    u8 *apic_page;
    u32 vpid;
    /* Checked copies of what the host side switches. */
    u64 star, lstar, cstar, fmask, kernel_gs_base, tsc_aux;
    u64 efer, xcr0, dr[4], dr7;
    u32 exceptions; /* as asked for by user space */
    u32 fetch;
    u32 proc2;
    u32 timer; /* preemption timer as asked for; 0: off, or at once */
    bool timer_new;
    bool fpu_loaded;
    bool osxsave;    /* the guest can see XCR0 */
    bool kgs_passed; /* it can see KERNEL_GS_BASE outside of long mode */
    bool flush_vpid; /* control registers changed: INVVPID before entry */
};

/* What is to be done after an exit. */
enum vtx_next {
    VTX_USER, /* return to user space */
    VTX_AGAIN,
    VTX_HOST_NMI, /* deliver the NMI to the host, then again */
    VTX_HOST_MC,  /* the same for a machine check */
    VTX_LOAD_FPU  /* make the guest's vector registers current, then again */
};

void vtx_vcpu_reset(struct vtx_vcpu *v); /* write all constant fields of a fresh VMCS */
/* Write the dirty groups. 0, or a VMLIB_VTX_BAD_ constant: nothing of that group was written. */
u32 vtx_vcpu_load(struct vtx_vcpu *v);
u32 vtx_vcpu_wanted(const struct vtx_vcpu *v); /* after an exit: what user space asks for */
void vtx_vcpu_fetch(struct vtx_vcpu *v, u32 groups);
void vtx_vcpu_fpu(struct vtx_vcpu *v, bool loaded);
enum vtx_next vtx_vcpu_exit(struct vtx_vcpu *v);
/* RUN returns without (another) exit: hand an event that was not delivered back to user space. */
void vtx_vcpu_withdraw(struct vtx_vcpu *v);
int vtx_vcpu_pass_msr(struct vtx_vcpu *v, u32 index, u32 access);
u32 vtx_control_group(struct vtx_vcpu *v);
u32 vtx_controls_group(struct vtx_vcpu *v);

#endif
