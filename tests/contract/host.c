/*
 * What the machine under a backend cannot execute.
 *
 * Some KVMs run where there is no hardware virtualization: they execute ring 3 of long mode
 * directly and emulate everything else, with gaps that no backend can close. A guest tells them
 * apart: with an IDT of no bytes an exception is a triple fault on every CPU, and something else on
 * an emulator that does not look at the limit. The cases below are then skipped, with the reason.
 */
#include "world.h"

/* The cases that such a machine gets wrong (doc/limits.md). */
static const struct {
    const char *name;
    const char *why;
} gaps[] = {
    {"s4_4_window_and_shadow", "interrupt windows open some instructions late"},
    {"s7_3_interrupt", "interrupt windows open some instructions late"},
    {"s4_4_windows", "interrupt windows open some instructions late"},
    {"s4_4_window_of_intr", "interrupt windows open some instructions late"},
    {"s7_3_real_interrupt", "interrupt windows open some instructions late"},
    {"s7_3_long0_interrupt", "interrupt windows open some instructions late"},
    {"s2_5_long3_xsave", "XSAVE of a device in ring 3 is an invalid opcode"},
    {"s2_5_long3_xrstor", "XRSTOR of a device in ring 3 is an invalid opcode"},
    {"s2_7_long3_cmpxchg16b", "LOCK CMPXCHG16B of a device does not write"},
    {"long0_trap_flag", "RFLAGS.TF in ring 0 traps once for a whole string instruction"},
    {"s4_5_long3_breakpoints", "breakpoints of the host do not fire"},
    {"s4_5_watchpoint", "breakpoints of the host do not fire"},
    {"s7_4_one_nmi_is_remembered", "an NMI that IRET lets in comes some instructions late"},
    {"v86_accesses", "virtual-8086 mode loses its flag"},
    {"v86_software_interrupt", "virtual-8086 mode loses its flag"},
    {"v86_hlt", "virtual-8086 mode loses its flag"},
    {"v86_cli", "virtual-8086 mode loses its flag"},
    {"s3_3_v86_io_bitmap", "virtual-8086 mode loses its flag"},
    {"prot3_software_interrupt", "INT n in ring 3 is an invalid opcode"},
    {"prot3_breakpoint", "INT3 in ring 3 is an invalid opcode"},
    {"long3_software_interrupt", "INT n in ring 3 is an invalid opcode"},
    {"long3_fault_on_the_way", "a fault during a delivery is a double fault"},
    {"inject_for_msr_or_device", "an exception in place of an RDMSR or load is a triple fault"},
};

GUEST(g_no_idt, "lidtl 0x2000; ud2; hlt"); /* memory is zero */

static bool emulated_ring_0(void)
{
    static int known = -1;
    if (known < 0) {
        void *state = NULL;
        world_setup(&state);
        struct world *w = state;
        LOAD(w, g_no_idt);
        known = world_run_with(w, 0, 100000000, 0).reason != VMLIB_EXIT_SHUTDOWN;
        world_teardown(&state);
    }
    return known;
}

const char *world_gap(const char *name)
{
    for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
        if (strcmp(gaps[i].name, name) == 0 && emulated_ring_0()) {
            return gaps[i].why;
        }
    }
    return NULL;
}
