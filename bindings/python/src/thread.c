/* The interpreter lock around calls of the library, and what Ctrl-C ends. */
#include "core.h"
#include "interrupt.h"

/* State of this thread while it is outside the interpreter. */
static _Thread_local PyThreadState *outside;

void core_unlock(void)
{
    outside = PyEval_SaveThread();
}

void core_lock(void)
{
    PyThreadState *thread = outside;

    outside = NULL;
    PyEval_RestoreThread(thread);
}

struct core_gil core_enter(void)
{
    struct core_gil gil = {outside, PyGILState_LOCKED};

    outside = NULL;
    if (gil.thread)
        PyEval_RestoreThread(gil.thread);
    else
        gil.state = PyGILState_Ensure();
    return gil;
}

void core_leave(struct core_gil gil)
{
    if (gil.thread)
        outside = PyEval_SaveThread();
    else
        PyGILState_Release(gil.state);
}

/* --- Ctrl-C --- */

/* Written by the main thread only, read by the signal handler on the main thread only. */
static struct core_target current;
static volatile sig_atomic_t caught;

static void interrupt_now(void)
{
    caught |= current.vcpu || current.machine || current.lockstep;
    if (current.vcpu)
        vmlib_vcpu_cancel_run(current.vcpu, current.generation);
    else if (current.machine)
        vmlib_machine_stop(current.machine);
    else if (current.lockstep)
        vmlib_lockstep_stop(current.lockstep);
}

/* The handler never sees half of each. */
static void aim(const struct core_target *target)
{
    current.vcpu = NULL;
    current.machine = NULL;
    current.lockstep = NULL;
    atomic_signal_fence(memory_order_release);
    current.generation = target->generation;
    atomic_signal_fence(memory_order_release);
    current.vcpu = target->vcpu;
    current.machine = target->machine;
    current.lockstep = target->lockstep;
    atomic_signal_fence(memory_order_release);
}

void core_interrupt_begin(const struct core_target *target, struct core_target *before)
{
    *before = (struct core_target){0};
    if (!interrupt_main_thread())
        return;
    *before = current;
    interrupt_install();
    if (!before->vcpu && !before->machine && !before->lockstep)
        caught = 0;
    aim(target);
}

void core_interrupt_end(const struct core_target *before)
{
    if (!interrupt_main_thread())
        return;
    aim(before);
}

bool core_interrupted(void)
{
    return interrupt_main_thread() && caught;
}
