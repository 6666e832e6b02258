/* The run loop: events, controls, entry. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vtx/vtx.h"
#include "vtx/words.h"
#include "x86/flags.h"
#include "x86/mem.h"

/* Pin-based, processor-based and secondary controls, SDM Vol.3C tables 24-5 to 24-7. */
#define PIN_VIRTUAL_NMI       0x20u
#define PIN_TIMER             0x40u
#define PROC_INTERRUPT_WINDOW 0x4u
#define PROC_TSC_OFFSET       0x8u
#define PROC_CR8              0x180000u
#define PROC_NMI_WINDOW       0x400000u
#define PROC2_RDTSCP          0x8u
#define PROC2_UNRESTRICTED    0x80u
#define PROC2_INVPCID         0x1000u

bool vtx_need_all(struct vtx_cpu *v)
{
    return vtx_need(v, VTX_LOOKED_AT) == 0;
}

/* --- controls --- */

static uint32_t windows(const struct vtx_cpu *v)
{
    const struct vmi_vcpu *o = v->e.owner;
    uint32_t pending = atomic_load_explicit(&o->pending, memory_order_relaxed);
    bool wanted = pending & VMI_PEND_WINDOW ||
                  (!v->e.spurious && atomic_load_explicit(&o->intr, memory_order_relaxed));
    return (wanted ? PROC_INTERRUPT_WINDOW : 0) | (pending & VMI_PEND_NMI ? PROC_NMI_WINDOW : 0);
}

/* Guest time runs in ticks of the time-stamp counter. False: the deadline has passed. */
static bool set_timer(struct vtx_cpu *v, uint32_t *timer)
{
    const struct vmlib_vtx_info *info = &v->vm->info;
    uint64_t deadline = v->e.owner->deadline_ns, now;
    if (deadline == UINT64_MAX || !(info->features & VMLIB_VTX_F_TIMER))
        return true;
    now = vmi_now_ns();
    if (now >= deadline)
        return false;
    unsigned __int128 ticks = (unsigned __int128)(deadline - now) * info->tsc_khz / 1000000;
    ticks = (ticks >> info->timer_shift) + 1;
    *timer = ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
    return true;
}

static bool put_controls(struct vtx_cpu *v)
{
    const uint32_t *may = v->vm->info.may;
    const struct x86_cpu *cpu = &v->e.cpu;
    __typeof__(v->run->controls) *c = &v->run->controls;
    uint64_t offset = (uint64_t)cpu->msr.tsc_offset - v->vm->tsc_start;
    uint32_t timer = 0;
    if (!set_timer(v, &timer))
        return false;
    uint32_t pin = (PIN_VIRTUAL_NMI | (timer != 0 ? PIN_TIMER : 0)) & may[0];
    uint32_t proc = (PROC_TSC_OFFSET | PROC_CR8 | windows(v)) & may[1];
    if (timer == 0 && c->word[VMLIB_VTX_PIN] == pin && c->word[VMLIB_VTX_PROC] == proc &&
        c->exceptions == cpu->exc_exits && c->tsc_offset == offset)
        return true;
    c->word[VMLIB_VTX_PIN] = pin;
    c->word[VMLIB_VTX_PROC] = proc;
    c->word[VMLIB_VTX_PROC2] = (PROC2_RDTSCP | PROC2_UNRESTRICTED | PROC2_INVPCID) & may[2];
    c->exceptions = cpu->exc_exits;
    c->tsc_offset = offset;
    c->timer = timer;
    v->run->dirty |= VMLIB_VTX_G_CONTROLS;
    return true;
}

/* --- what the processor cannot do --- */

/* Without unrestricted guest only protected mode with paging can be entered (SDM Vol.3C 26.3.1.1).
 */
static bool enterable(const struct vtx_cpu *v)
{
    /* PE and PG never change without an exit. */
    return v->vm->info.features & VMLIB_VTX_F_UNRESTRICTED ||
           (v->e.cpu.cr0 & 0x80000001u) == 0x80000001u;
}

static bool by_instruction(struct vtx_cpu *v)
{
    const struct x86_cpu *cpu = &v->e.cpu;
    if (v->soft != 0) {
        v->soft--;
        return true;
    }
    /* The processor does not count instructions: with a budget lib/x86 does. */
    return v->e.owner->run_flags & VMLIB_RUN_SINGLE_STEP || v->e.owner->budget != UINT64_MAX ||
           cpu->host_dr7 != 0 || !enterable(v);
}

/* --- entry --- */

static bool refused(struct vtx_cpu *v)
{
    /* A state that no entry accepts, as real mode leaves behind: lib/x86 carries the guest on until
     * it is left. */
    v->tries = v->tries < 10 ? v->tries + 1 : 10;
    v->soft = 1u << v->tries;
    return true;
}

/* Groups that the last exit for this reason needed are read by the driver at the next one: a second
 * call costs as much as the exit. */
static void learn(struct vtx_cpu *v)
{
    if (v->asked)
        v->run->also_for |= v->last;
    else
        v->run->also_for &= ~v->last;
    v->last = 0;
}

static uint32_t groups_read(const struct vmlib_vtx_run *run, uint32_t status)
{
    bool also = status == VMLIB_VTX_EXITED && run->reason < 64 && run->also_for >> run->reason & 1;
    return run->fetch | (also ? run->also : 0);
}

/* Not ioctl(): its way through the kernel is longer (doc/vtx.md). */
static int call_run(struct vtx_cpu *v)
{
    return (int)syscall(SYS_fdatasync, v->fd);
}

static bool enter(struct vtx_cpu *v)
{
    struct vmlib_vtx_run *run = v->run;
    if (v->fresh)
        run->dirty = VMLIB_VTX_G_ALL & ~VMLIB_VTX_G_INJECT;
    vtx_push(v); /* bits of run->dirty stay until the driver has taken the groups */
    if (!put_controls(v))
        return false;
    learn(v);
    run->flags = run->fpu_loaded = 0;
    run->fetch = VMLIB_VTX_G_EVENTS;
    run->also = VTX_LOOKED_AT;
    int rc = call_run(v);
    if (rc != 0 && errno != EINTR) {
        v->error = vtx_failed("VMLIB_VTX_RUN");
        return false;
    }
    uint32_t status = rc != 0 ? VMLIB_VTX_KICKED : run->status;
    if (status == VMLIB_VTX_INVALID)
        return vtx_internal(v, run->invalid, vtx_words_invalid(run->invalid));
    if (status == VMLIB_VTX_VMFAIL)
        return vtx_internal(v, run->instruction_error,
                            vtx_words_instruction_error(run->instruction_error));
    if (status == VMLIB_VTX_REFUSED)
        return refused(v); /* nothing has run: the x86_cpu is what it was */
    v->tries = 0;
    vtx_pulled(v, groups_read(run, status));
    return status != VMLIB_VTX_EXITED || vtx_exit(v);
}

/* --- the loop --- */

static bool once(struct vtx_cpu *v)
{
    struct vmi_engine *e = &v->e;
    struct vmi_vcpu *o = e->owner;
    /* Kickers store what they want first and these last. */
    e->cpu.work = 0;
    __atomic_store_n(&e->cpu.poll, 0, __ATOMIC_SEQ_CST);
    if (__atomic_exchange_n(&v->run->request, 0, __ATOMIC_SEQ_CST) != 0)
        e->spurious = false;
    if (atomic_load(&o->poll) != 0 || e->leave_after || v->error != 0)
        return false;
    if (o->deadline_ns != UINT64_MAX && vmi_now_ns() >= o->deadline_ns)
        return false;
    bool steps = by_instruction(v);
    struct x86_cpu *cpu = &e->cpu;
    uint32_t pending = atomic_load_explicit(&o->pending, memory_order_relaxed);
    bool quiet = pending == 0 && atomic_load_explicit(&o->intr, memory_order_relaxed) == 0 &&
                 !cpu->injected.valid && !cpu->pending_dr6 && !cpu->halted && !cpu->wait_sipi &&
                 !cpu->shutdown && !cpu->host_dr6;
    if (!quiet || steps) {
        if (!vtx_need_all(v))
            return false;
        vtx_need_fpu(v);
    }
    if (!quiet && !vmi_engine_events(e))
        return false;
    if (cpu->left <= 0)
        return false;
    if (!steps)
        return enter(v);
    x86_mode_refresh(cpu);
    x86_tlb_flush(cpu);
    return vmi_engine_step(e);
}

/* Only a run with a budget knows how many instructions there were. */
static int end(struct vtx_cpu *v)
{
    struct vmi_vcpu *o = v->e.owner;
    vmi_engine_end(&v->e);
    if (o->budget == UINT64_MAX)
        o->retired = 0;
    return v->error;
}

int vtx_run(struct vmi_vcpu *owner)
{
    struct vtx_cpu *v = owner->impl;
    v->error = 0;
    vmi_engine_begin(&v->e, owner->budget);
    while (once(v))
        continue;
    return end(v);
}

int vtx_complete(struct vmi_vcpu *owner, bool fault)
{
    struct vtx_cpu *v = owner->impl;
    v->error = 0;
    owner->retired = 0;
    if (fault) {
        vmi_engine_complete_fault(&v->e);
        return 0;
    }
    if (!vtx_need_all(v))
        return v->error;
    vtx_need_fpu(v);
    x86_tlb_flush(&v->e.cpu);
    vmi_engine_begin(&v->e, UINT64_MAX);
    vmi_engine_complete(&v->e);
    return end(v);
}

void vtx_kick(struct vmi_vcpu *owner)
{
    struct vtx_cpu *v = owner->impl;
    int error = errno;
    __atomic_store_n(&v->e.cpu.poll, 1, __ATOMIC_SEQ_CST); /* string instructions in lib/x86 */
    __atomic_store_n(&v->run->request, 1, __ATOMIC_SEQ_CST);
    (void)ioctl(v->fd, VMLIB_VTX_KICK, 0);
    errno = error;
}
