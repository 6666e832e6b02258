/* What lib/x86 asks of its owner that is particular to this backend: memory, time, the lock of
 * accesses that cross cache lines. */
#include "soft/soft.h"

static enum x86_result op_write_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin,
                                     uint64_t value, unsigned size)
{
    struct soft_vcpu *v = soft_of(cpu);
    if (X86_LIKELY(soft_store(v, gpa, value, size)))
        return X86_OK;
    return vmi_engine_write_device(&v->e, gpa, lin, value, size);
}

/* The update happens after this call: announce it now, so that this vCPU's own blocks are gone, and
 * once more when it is done, for other vCPUs that decode in between. */
static void op_before_rmw(struct x86_cpu *cpu, uint64_t gpa, unsigned size)
{
    struct soft_vcpu *v = soft_of(cpu);
    if (soft_has_code(v->vm, gpa, size)) {
        v->rmw_gpa = gpa;
        v->rmw_size = size;
        soft_request(v, SOFT_REQ_CODE);
    }
    soft_touched(v->vm, v, gpa, size);
}

static uint64_t op_tsc(struct x86_cpu *cpu)
{
    struct soft_vcpu *v = soft_of(cpu);
    unsigned __int128 ns = vmi_vcpu_time_ns(v->e.owner);
    return (uint64_t)(ns * v->vm->owner->tsc_khz / 1000000);
}

static void op_split_lock(struct x86_cpu *cpu)
{
    struct soft_vcpu *v = soft_of(cpu);
    pthread_mutex_lock(&v->vm->split_lock);
    v->split_lock = true;
}

static void op_split_unlock(struct x86_cpu *cpu)
{
    struct soft_vcpu *v = soft_of(cpu);
    v->split_lock = false;
    pthread_mutex_unlock(&v->vm->split_lock);
}

const struct x86_ops soft_ops = {
    VMI_ENGINE_OPS,
    .page = soft_page,
    .write_phys = op_write_phys,
    .before_rmw = op_before_rmw,
    .tsc = op_tsc,
    .split_lock = op_split_lock,
    .split_unlock = op_split_unlock,
};

/* Around functions of the host program. The VM's lock is not held there: a handler may wait for all
 * vCPUs to leave the guest (by changing the map), and one that waits for the lock cannot. */
static void outside(struct vmi_engine *e)
{
    struct soft_vcpu *v = soft_of(&e->cpu);
    if (X86_UNLIKELY(v->split_lock))
        pthread_mutex_unlock(&v->vm->split_lock);
    soft_outside(v);
}

/* A request that came meanwhile: the rest of the block is of the old map or code. */
static bool inside(struct vmi_engine *e)
{
    struct soft_vcpu *v = soft_of(&e->cpu);
    bool stale = __atomic_load_n(&v->req, __ATOMIC_SEQ_CST) != 0;
    soft_enter(v);
    if (X86_UNLIKELY(v->split_lock))
        pthread_mutex_lock(&v->vm->split_lock);
    return stale;
}

const struct vmi_engine_hooks soft_hooks = {.outside = outside, .inside = inside};
