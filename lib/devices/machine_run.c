/*
 * The PC bundle: the run loop of a vCPU, timers, and the end of the machine.
 *
 * A run has the next timer as its deadline. A handler that makes a timer earlier ends the run with
 * VMLIB_STOP; timers that are not a vCPU's own belong to the first vCPU, which another one wakes by
 * a cancel.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "devices/machine.h"

#define CR8_POLL_NS           100000u   /* while CR8 holds an interrupt back */
#define TIMEOUT_POLL_NS       20000000u /* host time between two looks at its clock, about */
#define TIMEOUT_POLL_LEAST_NS 100000u

static uint64_t host_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * VMI_NS + (uint64_t)t.tv_nsec;
}

const char *vmlib_machine_end_name(uint32_t end)
{
    static const char *const names[] = {NULL,      "power-off", "reset", "debug exit", "shutdown",
                                        "timeout", "stopped",   "exit",  "error"};

    return end < sizeof names / sizeof *names ? names[end] : NULL;
}

static void cancel_all(struct vmlib_machine *m)
{
    unsigned n;

    for (n = 0; n < VMLIB_MAX_VCPUS; n++) {
        vmlib_vcpu *vcpu = vmi_machine_vcpu(&m->cpu[n]);

        if (vcpu)
            vmlib_vcpu_cancel(vcpu);
    }
}

void vmi_machine_end(struct vmlib_machine *m, uint32_t end, uint32_t value, const char *text)
{
    if (atomic_load_explicit(&m->ended, memory_order_relaxed))
        return;
    m->result.size = sizeof m->result;
    m->result.end = end;
    m->result.value = value;
    snprintf(m->result.text, sizeof m->result.text, "%s", text);
    if (m->acting) {
        m->result.vcpu = m->acting->apic.index;
        m->result.exit_reason = m->acting_reason;
        vmlib_vcpu_get_reg(vmi_machine_vcpu(m->acting), VMLIB_REG_RIP, &m->result.rip);
    }
    atomic_store_explicit(&m->ended, true, memory_order_release);
    cancel_all(m);
}

int vmlib_machine_stop(vmlib_machine *machine)
{
    if (!machine)
        return VMLIB_E_INVAL; /* no text: signal-safe */
    atomic_store(&machine->stop, true);
    cancel_all(machine);
    return 0;
}

static uint64_t chips_deadline(const struct vmlib_machine *m)
{
    return vmi_min(vmi_min(vmi_pit_deadline(&m->pit), vmi_rtc_deadline(&m->rtc)),
                   vmi_hpet_deadline(&m->hpet));
}

uint64_t vmi_machine_deadline(const struct vmlib_machine *m, const struct vmi_machine_cpu *c)
{
    uint64_t own = vmi_lapic_deadline(&c->apic);

    return c == &m->cpu[0] ? vmi_min(own, chips_deadline(m)) : own;
}

int vmi_machine_answer(struct vmlib_machine *m, struct vmi_machine_cpu *c)
{
    if (atomic_load_explicit(&m->ended, memory_order_relaxed))
        return VMLIB_STOP;
    if (c != &m->cpu[0] &&
        chips_deadline(m) < atomic_load_explicit(&m->cpu[0].run_until, memory_order_relaxed)) {
        atomic_store_explicit(&m->cpu[0].run_until, 0, memory_order_relaxed); /* once is enough */
        vmlib_vcpu_cancel(vmi_machine_vcpu(&m->cpu[0]));
    }
    if (vmi_machine_deadline(m, c) < atomic_load_explicit(&c->run_until, memory_order_relaxed))
        return VMLIB_STOP;
    return VMLIB_HANDLED;
}

static void tick(struct vmlib_machine *m, struct vmi_machine_cpu *c, uint64_t now)
{
    vmi_lapic_tick(&c->apic, now);
    if (c != &m->cpu[0])
        return;
    vmi_pit_tick(&m->pit, now);
    if (now >= vmi_rtc_deadline(&m->rtc))
        vmi_rtc_tick(&m->rtc, now);
    vmi_hpet_tick(&m->hpet, now);
}

/* Is the time over? *limit: guest time to the next look. In deterministic time an instruction takes
 * a nanosecond of it, and of the host's whatever it takes: the step adapts. */
static bool time_is_over(const struct vmlib_machine *m, struct vmi_machine_cpu *c, uint64_t *limit)
{
    uint64_t host = host_now(), elapsed = host - c->polled_at;

    if (!c->poll_ns || elapsed > 2 * TIMEOUT_POLL_NS)
        c->poll_ns = TIMEOUT_POLL_LEAST_NS;
    else if (elapsed < TIMEOUT_POLL_NS / 2)
        c->poll_ns = vmi_min(2 * c->poll_ns, TIMEOUT_POLL_NS);
    c->polled_at = host;
    *limit = c->poll_ns;
    return host >= m->timeout_at;
}

/* Before a run: due timers, and how long the run may take. false: the machine has ended. */
static bool prepare(struct vmlib_machine *m, struct vmi_machine_cpu *c, struct vmlib_run_args *args)
{
    uint64_t now, until, limit = VMI_NEVER;

    vmi_machine_lock(m);
    m->acting = c;
    m->acting_reason = VMLIB_EXIT_NONE;
    if (atomic_load(&m->stop))
        vmi_machine_end(m, VMLIB_MACHINE_STOPPED, 0, "stopped by the host");
    if (m->timeout_at && time_is_over(m, c, &limit))
        vmi_machine_end(m, VMLIB_MACHINE_TIMEOUT, 0, "timeout");
    now = vmi_machine_now(m);
    tick(m, c, now);
    if (c->tpr_blocked) {
        c->tpr_blocked = false;
        limit = vmi_min(limit, CR8_POLL_NS);
        c->intr = false; /* tell the vCPU again */
        vmlib_vcpu_set_intr(vmi_machine_vcpu(c), 0);
        vmi_machine_update_intr(m, c);
    }
    until = vmi_min(vmi_machine_deadline(m, c), vmi_later(now, limit));
    atomic_store_explicit(&c->run_until, until, memory_order_relaxed);
    args->deadline_ns = until == VMI_NEVER ? 0 : until > now ? until - now : 1;
    vmi_machine_unlock(m);
    return !atomic_load(&m->ended);
}

/* A record that no handler took and that the machine can answer. */
static int complete(vmlib_vcpu *vcpu, const struct vmlib_exit *e)
{
    static const uint8_t ones[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint32_t regs[4];

    if (!(e->flags & VMLIB_EXIT_F_PENDING))
        return 0;
    switch (e->reason) {
    case VMLIB_EXIT_PIO:
        return vmlib_vcpu_complete(vcpu, ones, e->u.pio.width);
    case VMLIB_EXIT_MMIO:
        return vmlib_vcpu_complete(vcpu, ones, e->u.mmio.width);
    case VMLIB_EXIT_CPUID:
        regs[0] = e->u.cpuid.eax;
        regs[1] = e->u.cpuid.ebx;
        regs[2] = e->u.cpuid.ecx;
        regs[3] = e->u.cpuid.edx;
        return vmlib_vcpu_complete(vcpu, regs, sizeof regs);
    case VMLIB_EXIT_HYPERCALL: /* #UD: there is no hypervisor interface */
        return vmlib_vcpu_complete_fault(vcpu, 6, 0);
    default: /* MSR */
        return vmlib_vcpu_complete_fault(vcpu, 13, 0);
    }
}

/* End with the exit itself. */
static void end_exit(struct vmlib_machine *m, const struct vmlib_exit *e)
{
    const char *name = vmlib_exit_name(e->reason);
    char text[sizeof m->result.text];

    if (e->reason == VMLIB_EXIT_MEMORY_FAULT)
        snprintf(text, sizeof text, "memory fault at gpa %#llx, access %u",
                 (unsigned long long)e->u.memory_fault.gpa, e->u.memory_fault.access);
    else if (e->reason == VMLIB_EXIT_INTERNAL)
        snprintf(text, sizeof text, "internal: %.63s", e->u.internal.text);
    else if (e->reason == VMLIB_EXIT_MMIO)
        snprintf(text, sizeof text, "mmio: %s of %u bytes at gpa %#llx",
                 e->u.mmio.write ? "write" : "read", e->u.mmio.width,
                 (unsigned long long)e->u.mmio.gpa);
    else if (e->reason == VMLIB_EXIT_PIO)
        snprintf(text, sizeof text, "pio: %s of %u bytes at port %#x",
                 e->u.pio.write ? "write" : "read", e->u.pio.width, e->u.pio.port);
    else
        snprintf(text, sizeof text, "exit: %s", name ? name : "unknown");
    vmi_machine_end(m, VMLIB_MACHINE_EXIT, 0, text);
}

/* What a run returned with. Lock held. True: it wants completion. */
static bool serve(struct vmlib_machine *m, const struct vmlib_exit *e)
{
    bool unclaimed = m->config.flags & VMLIB_MACHINE_UNCLAIMED_EXITS;

    switch (e->reason) {
    case VMLIB_EXIT_SHUTDOWN:
        vmi_machine_end(m, VMLIB_MACHINE_SHUTDOWN, 0, "triple fault");
        return false;
    case VMLIB_EXIT_PIO:
    case VMLIB_EXIT_MMIO:
    case VMLIB_EXIT_HYPERCALL:
    case VMLIB_EXIT_MSR:
        if (!unclaimed)
            return true;
        break;
    case VMLIB_EXIT_CPUID:
        return true;
    case VMLIB_EXIT_MEMORY_FAULT:
    case VMLIB_EXIT_INTERNAL:
    case VMLIB_EXIT_DEBUG:
    case VMLIB_EXIT_EXCEPTION:
        break;
    default: /* deadline, stopped, cancelled, halted, interrupt window, budget: go on */
        return false;
    }
    end_exit(m, e);
    return false;
}

static void end_error(struct vmlib_machine *m, int error)
{
    bool before = atomic_load(&m->ended);

    vmi_machine_end(m, VMLIB_MACHINE_ERROR, 0, vmlib_last_error());
    if (!before)
        m->result.error = error;
}

void vmi_machine_account(struct vmlib_machine *m, struct vmi_machine_cpu *c,
                         const struct vmlib_exit *e, int error)
{
    bool completes = false;

    vmi_machine_lock(m);
    atomic_store_explicit(&c->run_until, 0, memory_order_relaxed);
    m->acting = c;
    m->acting_reason = error ? VMLIB_EXIT_NONE : e->reason;
    if (!error) {
        vmi_count(&m->exits[e->reason & 31]);
        atomic_fetch_add_explicit(&m->instructions, e->instructions, memory_order_relaxed);
        completes = serve(m, e);
    } else {
        end_error(m, error);
    }
    vmi_machine_unlock(m);
    if (!completes)
        return;
    /* Without the lock: the rest of the instruction may come to a device. */
    error = complete(vmi_machine_vcpu(c), e);
    if (error) {
        vmi_machine_lock(m);
        m->acting = c;
        end_error(m, error);
        vmi_machine_unlock(m);
    }
}

static void give_result(struct vmlib_machine *m, struct vmlib_machine_result *result)
{
    vmi_machine_lock(m);
    *result = m->result;
    result->size = sizeof *result;
    vmi_machine_unlock(m);
}

struct vmi_machine_cpu *vmi_machine_cpu_of(struct vmlib_machine *m, vmlib_vcpu *vcpu)
{
    uint32_t index = vmlib_vcpu_index(vcpu);
    unsigned n;

    for (n = 0; n < m->homes && index < VMLIB_MAX_VCPUS; n++)
        if (m->home[n].vcpu[index] == vcpu)
            return &m->cpu[index];
    return NULL;
}

static int check_vcpu(struct vmlib_machine *m, vmlib_vcpu *vcpu, struct vmi_machine_cpu **c)
{
    *c = m && vcpu ? vmi_machine_cpu_of(m, vcpu) : NULL;
    if (*c)
        return 0;
    return vmi_dev_error(VMLIB_E_INVAL, !m      ? "machine is NULL"
                                        : !vcpu ? "vcpu is NULL"
                                                : "vcpu: not one of this machine");
}

static void start_timeout(struct vmlib_machine *m)
{
    vmi_machine_lock(m);
    if (m->config.timeout_ns && !m->timeout_at)
        m->timeout_at = vmi_later(host_now(), m->config.timeout_ns);
    vmi_machine_unlock(m);
}

/* One run. False: the machine has ended before it. */
static bool run_once(struct vmlib_machine *m, struct vmi_machine_cpu *c,
                     struct vmlib_run_args *args, struct vmlib_exit *exit)
{
    int error;

    if (!prepare(m, c, args))
        return false;
    exit->size = sizeof *exit;
    error = vmlib_vcpu_run(vmi_machine_vcpu(c), args, exit);
    vmi_machine_account(m, c, exit, error);
    return true;
}

int vmlib_machine_run_vcpu(vmlib_machine *machine, vmlib_vcpu *vcpu,
                           struct vmlib_machine_result *result)
{
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit exit = VMLIB_EXIT_INIT;
    struct vmi_machine_cpu *c;
    int error = check_vcpu(machine, vcpu, &c);

    if (error)
        return error;
    if (!result || result->size != sizeof *result)
        return vmi_dev_error(VMLIB_E_INVAL, "result: %s",
                             result ? "size is not that of struct vmlib_machine_result"
                                    : "is NULL");
    start_timeout(machine);
    args.flags = VMLIB_RUN_WAIT_IN_HLT;
    while (run_once(machine, c, &args, &exit))
        continue;
    give_result(machine, result);
    return 0;
}

int vmlib_machine_step(vmlib_machine *machine, vmlib_vcpu *vcpu, uint64_t budget,
                       struct vmlib_exit *exit)
{
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmi_machine_cpu *c;
    int error = check_vcpu(machine, vcpu, &c);

    if (error)
        return error;
    if (!exit || exit->size != sizeof *exit)
        return vmi_dev_error(VMLIB_E_INVAL, "exit: %s",
                             exit ? "size is not that of struct vmlib_exit" : "is NULL");
    start_timeout(machine);
    args.flags = VMLIB_RUN_WAIT_IN_HLT;
    args.budget = budget;
    if (!run_once(machine, c, &args, exit)) {
        memset(exit, 0, sizeof *exit);
        exit->size = sizeof *exit;
    }
    return 0;
}
