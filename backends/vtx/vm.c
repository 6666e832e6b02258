/* VM and vCPU: descriptors and mappings. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "state/state.h"
#include "vtx/vtx.h"
#include "x86/mem.h"

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
    vm->tsc_start = __builtin_ia32_rdtsc();
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
    const struct vtx_cpu *v = (const struct vtx_cpu *)cpu;
    return __builtin_ia32_rdtsc() - v->vm->tsc_start;
}

static const struct x86_ops ops = {
    VMI_ENGINE_OPS,
    .page = vmi_engine_slot_page,
    .write_phys = vmi_engine_slot_write,
    .before_rmw = vmi_engine_slot_before_rmw,
    .tsc = op_tsc,
    .split_lock = vmi_engine_no_lock,
    .split_unlock = vmi_engine_no_lock,
};

/* Around functions of the host program. */
static void outside(struct vmi_engine *e)
{
    (void)e;
}

/* The map may have changed; nothing but the TLB knows the old one. */
static bool inside(struct vmi_engine *e)
{
    x86_tlb_flush(&e->cpu);
    return false;
}

static const struct vmi_engine_hooks hooks = {.outside = outside, .inside = inside};

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

static int open_vcpu(struct vtx_cpu *v, const struct vmi_vcpu *owner)
{
    v->e.cpu.tlb_banks = calloc(X86_NBANKS * X86_TLB_SIZE, sizeof(v->e.cpu.tlb_banks[0]));
    if (v->e.cpu.tlb_banks == NULL)
        return vmi_error(VMLIB_E_NOMEM, "no memory for vCPU %u", owner->index);
    return map_pages(v);
}

int vtx_vcpu_create(struct vmi_vcpu *owner, bool wait_sipi, const struct vmlib_cpuid_leaf *model,
                    uint32_t n)
{
    struct vtx_cpu *v = calloc(1, sizeof(*v));
    if (v == NULL)
        return vmi_error(VMLIB_E_NOMEM, "no memory for vCPU %u", owner->index);
    v->vm = owner->vm->impl;
    int rc = open_vcpu(v, owner);
    if (rc != 0) {
        free(v->e.cpu.tlb_banks);
        free(v);
        return rc;
    }
    owner->impl = v;
    vmi_engine_init(&v->e, owner, &ops, &hooks);
    if (model != NULL)
        vmi_model_from_api(model, n, &v->e.cpuid);
    else
        vtx_cpuid_default(v, &v->e.cpuid);
    (void)vmi_engine_use_model(&v->e);
    vmi_engine_reset(&v->e, wait_sipi);
    v->fresh = v->have_fpu = true;
    v->have = VMLIB_VTX_G_ALL;
    return 0;
}

void vtx_vcpu_destroy(struct vmi_vcpu *owner)
{
    struct vtx_cpu *v = owner->impl;
    munmap(v->run, (size_t)VMLIB_VTX_PAGES * PAGE);
    close(v->fd);
    free(v->e.cpu.tlb_banks);
    free(v);
}
