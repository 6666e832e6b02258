/* VM and vCPU: descriptors and mappings. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vtx/vtx.h"

#define PAGE 4096u

/* --- VM --- */

int vtx_vm_create(struct vmi_vm *owner)
{
    char reason[224];
    struct vtx_vm *vm = calloc(1, sizeof(*vm));
    if (vm == NULL)
        return vmi_error(VMLIB_E_NOMEM, "no memory for the VM");
    vm->owner = owner;
    vm->fd = -1;
    vm->dev = vtx_open_device(&vm->info, reason, sizeof(reason));
    if (vm->dev < 0) {
        free(vm);
        return vmi_error(VMLIB_E_UNAVAILABLE, "%s", reason);
    }
    vm->fd = ioctl(vm->dev, VMLIB_VTX_CREATE_VM, 0);
    if (vm->fd < 0) {
        int rc = vtx_failed("VMLIB_VTX_CREATE_VM");
        close(vm->dev);
        free(vm);
        return rc;
    }
    /* The guest reads the host's counter, with an offset. */
    if (vm->info.tsc_khz != 0)
        owner->tsc_khz = vm->info.tsc_khz;
    owner->impl = vm;
    return 0;
}

void vtx_vm_destroy(struct vmi_vm *owner)
{
    struct vtx_vm *vm = owner->impl;
    close(vm->fd);
    close(vm->dev);
    free(vm);
}

/* --- vCPU --- */

static uint64_t op_tsc(struct x86_cpu *cpu)
{
    (void)cpu;
    return __builtin_ia32_rdtsc();
}

static struct x86_ops ops_with_tsc(void)
{
    struct x86_ops ops = vmi_engine_ops;
    ops.tsc = op_tsc;
    return ops;
}

static int map_pages(struct vtx_cpu *v)
{
    v->fd = ioctl(v->vm->fd, VMLIB_VTX_CREATE_VCPU, 0);
    if (v->fd < 0)
        return vtx_failed("VMLIB_VTX_CREATE_VCPU");
    void *pages =
        mmap(NULL, (size_t)VMLIB_VTX_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (pages == MAP_FAILED) {
        int rc = vtx_failed("mmap of the vCPU");
        close(v->fd);
        return rc;
    }
    v->run = pages;
    v->fpu = (uint8_t *)pages + VMLIB_VTX_PAGE_FPU * PAGE;
    return 0;
}

int vtx_vcpu_create(struct vmi_vcpu *owner, bool wait_sipi, const struct vmlib_cpuid_leaf *model,
                    uint32_t n)
{
    struct vtx_cpu *v = calloc(1, sizeof(*v) + sizeof(struct x86_ops));
    if (v == NULL)
        return vmi_error(VMLIB_E_NOMEM, "no memory for vCPU %u", owner->index);
    struct x86_ops *ops = (struct x86_ops *)(v + 1);
    *ops = ops_with_tsc();
    v->vm = owner->vm->impl;
    int rc = map_pages(v);
    if (rc == 0) {
        rc = vmi_engine_init(&v->e, owner, ops, wait_sipi);
        if (rc != 0) {
            munmap(v->run, (size_t)VMLIB_VTX_PAGES * PAGE);
            close(v->fd);
        }
    }
    if (rc != 0) {
        free(v);
        return rc;
    }
    owner->impl = v;
    if (model != NULL)
        vmi_engine_model(&v->e, model, n);
    else
        vtx_cpuid_default(v, &v->e.cpuid);
    x86_cpuid_features(&v->e.cpuid, v->e.cpu.feat);
    x86_reset(&v->e.cpu, false); /* once more: what it may hold depends on the model */
    v->e.cpu.wait_sipi = wait_sipi;
    v->e.cpu.apic_base = 0xfee00800u | (owner->index == 0 ? 0x100u : 0);
    v->fresh = v->have_fpu = true;
    v->have = VMLIB_VTX_G_ALL;
    return 0;
}

void vtx_vcpu_destroy(struct vmi_vcpu *owner)
{
    struct vtx_cpu *v = owner->impl;
    munmap(v->run, (size_t)VMLIB_VTX_PAGES * PAGE);
    close(v->fd);
    vmi_engine_free(&v->e);
    free(v);
}
