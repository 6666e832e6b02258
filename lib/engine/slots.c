/*
 * Guest memory straight from the VM's slots: for backends whose processor makes most accesses, so
 * that nothing derived from guest memory is kept here.
 */
#include "engine/engine.h"
#include "x86/mem.h"

static const struct vmi_slot *slot_at(struct x86_cpu *cpu, uint64_t gpa)
{
    return vmi_memory_slot(vmi_engine_of(cpu)->owner->vm, gpa);
}

static void mark_dirty(const struct vmi_slot *s, uint64_t at)
{
    if (s->dirty)
        atomic_fetch_or_explicit(&s->dirty[at >> 18], UINT64_C(1) << (at >> 12 & 63),
                                 memory_order_relaxed);
}

/* Memory that may only be executed is shown to fetches alone. */
void vmi_engine_slot_page(struct x86_cpu *cpu, uint64_t gpa, enum x86_access acc,
                          struct x86_page *out)
{
    const struct vmi_slot *s = slot_at(cpu, gpa);
    *out = (struct x86_page){0};
    if (!s || !(s->prot & (VMLIB_PROT_R | VMLIB_PROT_X)))
        return;
    if (s->prot & VMLIB_PROT_R || acc == X86_ACC_EXEC)
        out->host = s->host + ((gpa - s->gpa) & ~X86_PAGE_MASK);
    out->writable = s->prot & VMLIB_PROT_W;
    out->exec = s->prot & VMLIB_PROT_X;
    out->write_slow = s->dirty != NULL;
}

enum x86_result vmi_engine_slot_write(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin,
                                      uint64_t value, unsigned size)
{
    const struct vmi_slot *s = slot_at(cpu, gpa);
    if (!s || !(s->prot & VMLIB_PROT_W))
        return vmi_engine_write_device(vmi_engine_of(cpu), gpa, lin, value, size);
    x86_raw_store(s->host + (gpa - s->gpa), value, size); /* both end at pages */
    mark_dirty(s, gpa - s->gpa);
    return X86_OK;
}

void vmi_engine_slot_before_rmw(struct x86_cpu *cpu, uint64_t gpa, unsigned size)
{
    const struct vmi_slot *s = slot_at(cpu, gpa);
    (void)size;
    if (s)
        mark_dirty(s, gpa - s->gpa);
}

/* Other vCPUs execute on the processor: there is no lock that would hold them off. */
void vmi_engine_no_lock(struct x86_cpu *cpu)
{
    (void)cpu;
}
