/*
 * The PC bundle: moving to another VM. The devices stay; memory is the same bytes in all VMs.
 *
 * The machine's clock goes on without a jump: with real time by itself, in deterministic time,
 * which stands still where no guest runs, from where it was. The time-stamp counters follow it.
 */
#include <string.h>

#include <vmlib/handoff.h>

#include "devices/machine.h"

#define NS_PER_MS 1000000u

static int attach_ram(struct vmlib_machine *m, struct vmi_machine_home *home)
{
    unsigned n;
    int error = 0;

    for (n = 0; n < VMI_MACHINE_RAM && !error; n++)
        if (m->home[0].ram[n])
            error = vmlib_handoff_share(m->home[0].ram[n], home->vm, VMLIB_PROT_RWX,
                                        vmi_machine_ram_flags(m), &home->ram[n]);
    return error; /* the text is there */
}

static int attach_vcpu(struct vmlib_machine *m, struct vmi_machine_home *home, uint32_t index)
{
    struct vmlib_vcpu_config config = VMLIB_VCPU_CONFIG_INIT;
    struct vmlib_cpuid_leaf leaf[VMLIB_CPUID_MAX];
    uint32_t count = VMLIB_CPUID_MAX;
    int error;

    config.index = index;
    config.initial = VMLIB_VCPU_WAIT_SIPI;
    error = vmlib_vcpu_create(home->vm, &config, &home->vcpu[index]);
    if (!error)
        error = vmlib_vcpu_get_cpuid(m->home[0].vcpu[index], leaf, &count);
    if (!error)
        error = vmlib_vcpu_set_cpuid(home->vcpu[index], leaf, count);
    return error ? vmi_dev_error_lib(error, "vCPU of the other VM") : 0;
}

static int attach(struct vmlib_machine *m, struct vmi_machine_home *home)
{
    uint32_t n;
    int error = attach_ram(m, home);

    if (!error)
        error = vmi_machine_add_handlers(m, home);
    for (n = 0; n < m->cpus && !error; n++)
        error = attach_vcpu(m, home, n);
    return error;
}

static unsigned find_home(const struct vmlib_machine *m, const vmlib_vm *vm)
{
    unsigned n = 0;

    while (n < m->homes && m->home[n].vm != vm)
        n++;
    return n;
}

int vmlib_machine_attach(vmlib_machine *machine, vmlib_vm *vm)
{
    struct vmlib_machine *m = machine;
    struct vmi_machine_home *home;
    int error;

    if (!m || !vm)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", m ? "vm" : "machine");
    if (!m->booted)
        return vmi_dev_error(VMLIB_E_STATE, "machine: has not been booted");
    if (find_home(m, vm) < m->homes)
        return vmi_dev_error(VMLIB_E_EXISTS, "vm: is attached already");
    if (m->homes == VMI_MACHINE_HOMES)
        return vmi_dev_error(VMLIB_E_LIMIT, "machine: has %u VMs", VMI_MACHINE_HOMES);
    if (vmlib_vm_tsc_khz(vm) != vmlib_vm_tsc_khz(m->vm))
        return vmi_dev_error(VMLIB_E_INVAL, "vm: another frequency of the time-stamp counter");
    home = &m->home[m->homes];
    home->vm = vmlib_vm_ref(vm);
    error = attach(m, home);
    if (error) {
        vmi_machine_drop_home(m, home);
        return error;
    }
    m->homes++;
    return 0;
}

/* The time that the hand-off of this vCPU took, in ticks of its counter. */
static uint64_t ticks(struct vmlib_machine *m, uint64_t since)
{
    uint64_t khz = vmlib_vm_tsc_khz(m->vm), ns = vmi_machine_now(m) - since;

    return ns / NS_PER_MS * khz + ns % NS_PER_MS * khz / NS_PER_MS;
}

static int move_vcpu(struct vmlib_machine *m, struct vmi_machine_cpu *c, vmlib_vcpu *from,
                     vmlib_vcpu *to)
{
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    uint64_t tsc = 0, since;
    int error;

    for (;;) {
        e.size = sizeof e;
        since = vmi_machine_now(m);
        vmlib_vcpu_get_reg(from, VMLIB_REG_TSC, &tsc);
        error = vmlib_handoff_vcpu(from, to, 0, &e);
        if (error)
            return error;
        if (e.reason == VMLIB_EXIT_NONE || e.reason == VMLIB_EXIT_STOPPED)
            break;
        vmi_machine_account(m, c, &e, 0); /* a record that was left: of the old VM's guest */
    }
    atomic_fetch_add_explicit(&m->instructions, e.instructions, memory_order_relaxed);
    vmlib_vcpu_set_reg(to, VMLIB_REG_TSC, tsc + ticks(m, since));
    return 0;
}

static int move_memory(struct vmi_machine_home *from, struct vmi_machine_home *to)
{
    unsigned n;
    int error = 0;

    for (n = 0; n < VMI_MACHINE_RAM && !error; n++)
        if (from->ram[n])
            error = vmlib_handoff_memory(from->ram[n], to->ram[n]);
    return error;
}

/* From here on the machine is in the other VM: lines are driven there, its clock counts. */
static void settle(struct vmlib_machine *m, unsigned to)
{
    uint64_t before, after = 0;
    uint32_t n;

    vmi_machine_lock(m);
    before = vmi_machine_now(m);
    m->at = to;
    m->vm = m->home[to].vm;
    vmlib_vm_clock(m->vm, &after);
    atomic_store_explicit(&m->clock_offset, before - after, memory_order_relaxed);
    for (n = 0; n < m->cpus; n++)
        atomic_store_explicit(&m->cpu[n].vcpu, m->home[to].vcpu[n], memory_order_release);
    /* What came for the old vCPUs meanwhile: input of a console, for example. */
    for (n = 0; n < m->cpus; n++)
        vmlib_vcpu_set_intr(m->home[to].vcpu[n], m->cpu[n].intr);
    vmi_machine_unlock(m);
}

int vmlib_machine_move(vmlib_machine *machine, vmlib_vm *vm)
{
    struct vmlib_machine *m = machine;
    unsigned to;
    uint32_t moved = 0;
    int error = 0;

    if (!m || !vm)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", m ? "vm" : "machine");
    to = find_home(m, vm);
    if (to == m->homes)
        return vmi_dev_error(VMLIB_E_NOTFOUND, "vm: has not been attached");
    if (to == m->at)
        return 0;
    while (moved < m->cpus && !error) {
        error = move_vcpu(m, &m->cpu[moved], m->home[m->at].vcpu[moved], m->home[to].vcpu[moved]);
        moved += !error;
    }
    if (!error)
        error = move_memory(&m->home[m->at], &m->home[to]);
    if (!error) {
        settle(m, to);
        return 0;
    }
    while (moved-- > 0) { /* back with those that have moved */
        struct vmlib_exit e = VMLIB_EXIT_INIT;

        vmlib_handoff_vcpu(m->home[to].vcpu[moved], m->home[m->at].vcpu[moved], 0, &e);
    }
    return error;
}
