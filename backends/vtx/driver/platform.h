/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What core.h needs, from the kernel. Instructions of VMX carry exception table entries: when VMX
 * goes away below us (reboot), they do nothing and the next entry reports it.
 */
#ifndef VTX_PLATFORM_H
#define VTX_PLATFORM_H

#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/types.h>
#include <linux/uaccess.h>
#include <asm/asm.h>
#include <asm/msr.h>

static __always_inline u64 vmx_read(u32 field)
{
    u64 value = 0;

    asm volatile("1: vmread %1, %0\n2:\n" _ASM_EXTABLE(1b, 2b)
                 : "+r"(value)
                 : "r"((u64)field)
                 : "cc");
    return value;
}

static __always_inline void vmx_write(u32 field, u64 value)
{
    asm volatile("1: vmwrite %0, %1\n2:\n" _ASM_EXTABLE(1b, 2b)
                 :
                 : "r"(value), "r"((u64)field)
                 : "cc", "memory");
}

static inline u64 plat_rdmsr(u32 msr)
{
    u64 value;

    return rdmsrl_safe(msr, &value) ? 0 : value;
}

void *plat_page_alloc(void);
void plat_page_free(void *page);

static inline u64 plat_phys(const void *page)
{
    return virt_to_phys((void *)page);
}

static inline void *plat_virt(u64 phys)
{
    return phys_to_virt(phys);
}

static inline u64 plat_xchg(u64 *p, u64 value)
{
    return xchg(p, value);
}

static inline bool plat_cmpxchg(u64 *p, u64 old, u64 value)
{
    return cmpxchg(p, old, value) == old;
}

static inline int plat_pause(void)
{
    cond_resched();
    return fatal_signal_pending(current) ? -EINTR : 0;
}

static inline int plat_user_read(void *to, u64 user, u32 bytes)
{
    return copy_from_user(to, u64_to_user_ptr(user), bytes) ? -EFAULT : 0;
}

static inline int plat_user_write(u64 user, const void *from, u32 bytes)
{
    return copy_to_user(u64_to_user_ptr(user), from, bytes) ? -EFAULT : 0;
}

struct vtx_vm;
int plat_pin(struct vtx_vm *vm, u64 user, unsigned n, bool write, u64 *pfns);
void plat_unpin(struct vtx_vm *vm, const u64 *pfns, unsigned n, bool dirty);
void plat_flush(struct vtx_vm *vm);

#endif
