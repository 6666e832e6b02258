// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Descriptors: the device, VMs, vCPUs; their calls, their memory, their ends.
 */
#include "host.h"

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <asm/tsc.h>

struct vtx_counters vtx_counters;

/* --- memory for the core --- */

void *plat_page_alloc(void)
{
    void *page = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);

    if (page)
        atomic64_inc(&vtx_counters.tables);
    return page;
}

void plat_page_free(void *page)
{
    if (!page)
        return;
    free_page((unsigned long)page);
    atomic64_dec(&vtx_counters.tables);
}

static struct host_vm *host_vm(struct vtx_vm *vm)
{
    return container_of(vm, struct host_vm, core);
}

int plat_pin(struct vtx_vm *core, u64 user, unsigned n, bool write, u64 *pfns)
{
    struct host_vm *vm = host_vm(core);
    unsigned int flags = FOLL_LONGTERM | (write ? FOLL_WRITE : 0);
    int got, i, err = account_locked_vm(vm->mm, n, true);

    if (err)
        return err;
    got = pin_user_pages_fast(user, (int)n, flags, vm->pages);
    if (got == (int)n) {
        for (i = 0; i < got; i++)
            pfns[i] = page_to_pfn(vm->pages[i]);
        atomic64_add(n, &vtx_counters.pinned);
        return 0;
    }
    if (got > 0)
        unpin_user_pages(vm->pages, (unsigned long)got);
    account_locked_vm(vm->mm, n, false);
    return got == -ENOMEM || got == -EINTR ? got : -EFAULT;
}

void plat_unpin(struct vtx_vm *core, const u64 *pfns, unsigned n, bool dirty)
{
    struct host_vm *vm = host_vm(core);
    unsigned i;

    for (i = 0; i < n; i++)
        vm->pages[i] = pfn_to_page(pfns[i]);
    unpin_user_pages_dirty_lock(vm->pages, n, dirty);
    account_locked_vm(vm->mm, n, false);
    atomic64_sub(n, &vtx_counters.pinned);
}

static void nothing(void *unused)
{
}

/* The interrupt makes a guest exit; the next entry sees the new generation. */
void plat_flush(struct vtx_vm *core)
{
    struct host_vm *vm = host_vm(core);
    struct host_vcpu *v;

    smp_mb(); /* with enter_until_user() */
    list_for_each_entry(v, &vm->vcpus, of_vm)
    {
        int cpu = READ_ONCE(v->cpu);

        if (READ_ONCE(v->mode) == IN_GUEST && cpu >= 0)
            smp_call_function_single(cpu, nothing, NULL, 1);
    }
}

/* --- vCPU --- */

static void vm_put(struct host_vm *vm);

static void vcpu_free(struct host_vcpu *v)
{
    unsigned i;

    preempt_disable();
    if (v->vmcs)
        vtx_cpu_clear(v);
    preempt_enable();
    vtx_vpid_put(v->core.vpid);
    for (i = 0; i < VMLIB_VTX_PAGES; i++)
        if (v->pages[i])
            put_page(v->pages[i]);
    plat_page_free(v->core.msr_bitmap);
    plat_page_free(v->vmcs);
    kfree(v);
}

static int vcpu_release(struct inode *inode, struct file *file)
{
    struct host_vcpu *v = file->private_data;
    struct host_vm *vm = v->vm;

    mutex_lock(&vm->lock);
    list_del(&v->of_vm);
    vm->nvcpus--;
    mutex_unlock(&vm->lock);
    vcpu_free(v);
    atomic64_dec(&vtx_counters.vcpus);
    vm_put(vm);
    return 0;
}

static void vcpu_kick(struct host_vcpu *v)
{
    int cpu;

    smp_mb(); /* the caller has written run.request */
    cpu = READ_ONCE(v->cpu);
    if (READ_ONCE(v->mode) == IN_GUEST && cpu >= 0 && cpu_online(cpu))
        compat_reschedule(cpu);
}

static long vcpu_pass_msr(struct host_vcpu *v, void __user *arg)
{
    struct vmlib_vtx_msr msr;
    long err;

    if (copy_from_user(&msr, arg, sizeof(msr)))
        return -EFAULT;
    if (atomic_xchg_acquire(&v->busy, 1))
        return -EBUSY;
    err = vtx_vcpu_pass_msr(&v->core, msr.index, msr.access);
    atomic_set_release(&v->busy, 0);
    return err;
}

static long vcpu_run(struct host_vcpu *v)
{
    long err;

    if (unlikely(current->mm != v->vm->mm))
        return -EPERM;
    if (atomic_xchg_acquire(&v->busy, 1))
        return -EBUSY;
    err = vtx_run(v);
    atomic_set_release(&v->busy, 0);
    return err;
}

/* RUN once more, since an ioctl's way through the kernel (security modules) costs more instructions
 * than the driver's own. msync() of the run page ends here, too: no harm. */
static int vcpu_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
    if (current->flags & PF_IO_WORKER) /* io_uring's threads do not return to user space */
        return -EINVAL;
    return (int)vcpu_run(file->private_data);
}

static long vcpu_ioctl(struct file *file, unsigned int call, unsigned long arg)
{
    struct host_vcpu *v = file->private_data;

    if (current->mm != v->vm->mm)
        return -EPERM;
    switch (call) {
    case VMLIB_VTX_RUN:
        return arg ? -EINVAL : vcpu_run(v);
    case VMLIB_VTX_KICK:
        vcpu_kick(v);
        return 0;
    case VMLIB_VTX_PASS_MSR:
        return vcpu_pass_msr(v, (void __user *)arg);
    default:
        return -ENOTTY;
    }
}

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
    struct host_vcpu *v = file->private_data;
    unsigned i;
    int err = 0;

    if (vma->vm_pgoff || vma->vm_end - vma->vm_start != VMLIB_VTX_PAGES * PAGE_SIZE ||
        !(vma->vm_flags & VM_SHARED))
        return -EINVAL;
    compat_vma_flags(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
    for (i = 0; i < VMLIB_VTX_PAGES && !err; i++)
        err = vm_insert_page(vma, vma->vm_start + i * PAGE_SIZE, v->pages[i]);
    return err;
}

static const struct file_operations vcpu_fops = {
    .owner = THIS_MODULE,
    .unlocked_ioctl = vcpu_ioctl,
    .compat_ioctl = compat_ptr_ioctl,
    .fsync = vcpu_fsync,
    .mmap = vcpu_mmap,
    .release = vcpu_release,
};

static int vcpu_alloc(struct host_vcpu *v)
{
    unsigned i;
    u8 *fpu;

    for (i = 0; i < VMLIB_VTX_PAGES; i++) {
        v->pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
        if (!v->pages[i])
            return -ENOMEM;
    }
    v->core.msr_bitmap = plat_page_alloc();
    v->vmcs = plat_page_alloc();
    if (!v->core.msr_bitmap || !v->vmcs)
        return -ENOMEM;
    v->core.run = page_address(v->pages[VMLIB_VTX_PAGE_RUN]);
    v->core.apic_page = page_address(v->pages[VMLIB_VTX_PAGE_APIC]);
    fpu = page_address(v->pages[VMLIB_VTX_PAGE_FPU]);
    *(u16 *)fpu = 0x37f; /* FCW and MXCSR after FNINIT (SDM Vol.1 8.1.5, 10.2.3) */
    *(u32 *)(fpu + 24) = 0x1f80;
    return 0;
}

static long vm_create_vcpu(struct host_vm *vm)
{
    struct host_vcpu *v = kzalloc(sizeof(*v), GFP_KERNEL_ACCOUNT);
    struct file *file;
    int err, fd;

    if (!v)
        return -ENOMEM;
    v->vm = vm;
    v->cpu = -1;
    v->core.vm = &vm->core;
    v->core.caps = &vtx_caps;
    err = vcpu_alloc(v);
    if (!err && vm->nvcpus >= VMLIB_VTX_MAX_VCPUS)
        err = -EMFILE;
    if (!err) {
        v->core.vpid = vtx_vpid_get();
        err = vtx_vmcs_prepare(v);
    }
    if (err) {
        vcpu_free(v);
        return err;
    }
    fd = get_unused_fd_flags(O_CLOEXEC);
    file = fd < 0 ? ERR_PTR(fd)
                  : anon_inode_getfile("vmlib-vtx-vcpu", &vcpu_fops, v, O_RDWR | O_CLOEXEC);
    if (IS_ERR(file)) {
        if (fd >= 0)
            put_unused_fd(fd);
        vcpu_free(v);
        return PTR_ERR(file);
    }
    list_add(&v->of_vm, &vm->vcpus);
    vm->nvcpus++;
    kref_get(&vm->refs);
    atomic64_inc(&vtx_counters.vcpus);
    /* Another thread may close the descriptor as soon as it exists. */
    fd_install(fd, file);
    return fd;
}

/* --- VM --- */

static void vm_free(struct kref *refs)
{
    struct host_vm *vm = container_of(refs, struct host_vm, refs);

    vtx_vm_free(&vm->core);
    kfree(vm->pages);
    mmdrop(vm->mm);
    kfree(vm);
    atomic64_dec(&vtx_counters.vms);
    vtx_cpu_put();
}

static void vm_put(struct host_vm *vm)
{
    kref_put(&vm->refs, vm_free);
}

static int vm_release(struct inode *inode, struct file *file)
{
    vm_put(file->private_data);
    return 0;
}

/* Fixed-size arguments: copied in, then handed to the core under the lock. */
static long vm_memory(struct host_vm *vm, unsigned int call, void __user *arg)
{
    union {
        struct vmlib_vtx_map map;
        struct vmlib_vtx_range range;
        struct vmlib_vtx_dirty dirty;
    } u;
    long err;

    if (copy_from_user(&u, arg, _IOC_SIZE(call)))
        return -EFAULT;
    if (mutex_lock_killable(&vm->lock))
        return -EINTR;
    switch (call) {
    case VMLIB_VTX_MAP:
        err = vtx_vm_map(&vm->core, &u.map);
        break;
    case VMLIB_VTX_UNMAP:
        err = vtx_vm_unmap(&vm->core, &u.range);
        break;
    case VMLIB_VTX_PROTECT:
        err = vtx_vm_protect(&vm->core, &u.range);
        break;
    default:
        err = vtx_vm_dirty(&vm->core, &u.dirty);
        break;
    }
    mutex_unlock(&vm->lock);
    return err;
}

static long vm_ioctl(struct file *file, unsigned int call, unsigned long arg)
{
    struct host_vm *vm = file->private_data;
    long err;

    if (current->mm != vm->mm)
        return -EPERM;
    switch (call) {
    case VMLIB_VTX_MAP:
    case VMLIB_VTX_UNMAP:
    case VMLIB_VTX_PROTECT:
    case VMLIB_VTX_DIRTY:
        return vm_memory(vm, call, (void __user *)arg);
    case VMLIB_VTX_CREATE_VCPU:
        if (arg)
            return -EINVAL;
        mutex_lock(&vm->lock);
        err = vm_create_vcpu(vm);
        mutex_unlock(&vm->lock);
        return err;
    default:
        return -ENOTTY;
    }
}

static const struct file_operations vm_fops = {
    .owner = THIS_MODULE,
    .unlocked_ioctl = vm_ioctl,
    .compat_ioctl = compat_ptr_ioctl,
    .release = vm_release,
};

static atomic64_t last_id;

static long create_vm(void)
{
    struct host_vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
    int err = -ENOMEM, fd;

    if (!vm)
        return -ENOMEM;
    kref_init(&vm->refs);
    mutex_init(&vm->lock);
    INIT_LIST_HEAD(&vm->vcpus);
    vm->pages = kmalloc_array(VTX_BATCH, sizeof(*vm->pages), GFP_KERNEL_ACCOUNT);
    if (vm->pages)
        err = vtx_cpu_get();
    if (err)
        goto free;
    err = vtx_vm_init(&vm->core, &vtx_caps);
    if (err)
        goto put;
    vm->id = (u64)atomic64_inc_return(&last_id);
    vm->mm = current->mm;
    mmgrab(vm->mm);
    atomic64_inc(&vtx_counters.vms);
    fd = anon_inode_getfd("vmlib-vtx-vm", &vm_fops, vm, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        vm_put(vm);
    return fd;
put:
    vtx_cpu_put();
free:
    kfree(vm->pages);
    kfree(vm);
    return err;
}

/* --- device --- */

static long device_info(void __user *arg)
{
    struct vmlib_vtx_info info = {0};
    u32 size;

    if (get_user(size, (u32 __user *)arg))
        return -EFAULT;
    if (size < 16)
        return -EINVAL;
    vtx_caps_info(&vtx_caps, &info);
    info.size = min_t(u32, size, sizeof(info));
    info.unavailable = vtx_cpu_unavailable();
    info.tsc_khz = tsc_khz;
    info.cpus = vtx_cpu_count();
    info.vms = (u64)atomic64_read(&vtx_counters.vms);
    info.vcpus = (u64)atomic64_read(&vtx_counters.vcpus);
    info.pinned_pages = (u64)atomic64_read(&vtx_counters.pinned);
    info.table_pages = (u64)atomic64_read(&vtx_counters.tables);
    info.migrations = (u64)atomic64_read(&vtx_counters.migrations);
    return copy_to_user(arg, &info, info.size) ? -EFAULT : 0;
}

static long device_ioctl(struct file *file, unsigned int call, unsigned long arg)
{
    switch (call) {
    case VMLIB_VTX_INFO:
        return device_info((void __user *)arg);
    case VMLIB_VTX_CREATE_VM:
        return arg ? -EINVAL : create_vm();
    default:
        return -ENOTTY;
    }
}

static const struct file_operations device_fops = {
    .owner = THIS_MODULE,
    .unlocked_ioctl = device_ioctl,
    .compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice device = {
    .minor = MISC_DYNAMIC_MINOR,
    .name = "vmlib-vtx",
    .fops = &device_fops,
    .mode = 0660,
};

/* Loads also where VT-x cannot be used: the device then says why. */
static int __init vtx_module_init(void)
{
    int err = vtx_cpu_init();

    if (err)
        return err;
    err = misc_register(&device);
    if (err)
        vtx_cpu_exit();
    return err;
}

static void __exit vtx_module_exit(void)
{
    misc_deregister(&device);
    vtx_cpu_exit();
}

module_init(vtx_module_init);
module_exit(vtx_module_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("VT-x for libvmlib");
MODULE_VERSION("1");
