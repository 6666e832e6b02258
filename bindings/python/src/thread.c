/*
 * The interpreter lock around calls of the library, and Ctrl-C.
 *
 * Python's own SIGINT handler only sets a flag that bytecode looks at, so a guest that never exits
 * would never be interrupted. A handler of ours in front of it cancels the run in progress; it is
 * put there only where Python's is, and only by runs on the main thread.
 */
#include "core.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

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
static struct sigaction previous;

/* Two system calls, and safe in signal handlers. */
static bool ask_main_thread(void)
{
    return syscall(SYS_gettid) == getpid();
}

static bool main_thread(void)
{
    static _Thread_local enum { UNKNOWN, YES, NO } answer;

    if (answer == UNKNOWN)
        answer = ask_main_thread() ? YES : NO;
    return answer == YES;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    if (!ask_main_thread()) {
        /* The kernel may choose any thread; the record of who runs belongs to one. */
        syscall(SYS_tgkill, getpid(), getpid(), number);
        return;
    }
    atomic_signal_fence(memory_order_acquire);
    if (current.vcpu) {
        caught = 1;
        vmlib_vcpu_cancel_run(current.vcpu, current.generation);
    } else if (current.machine) {
        caught = 1;
        vmlib_machine_stop(current.machine);
    } else if (current.lockstep) {
        caught = 1;
        vmlib_lockstep_stop(current.lockstep);
    }
    if (previous.sa_flags & SA_SIGINFO)
        previous.sa_sigaction(number, info, context);
    else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
        previous.sa_handler(number);
}

static void install(void)
{
    struct sigaction now;

    if (sigaction(SIGINT, NULL, &now) < 0 ||
        ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_signal))
        return;
    if (!(now.sa_flags & SA_SIGINFO) && (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN))
        return; /* the program does not want it */
    previous = now;
    now.sa_sigaction = on_signal;
    now.sa_flags |= SA_SIGINFO;
    sigaction(SIGINT, &now, NULL);
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
    if (!main_thread())
        return;
    *before = current;
    install();
    if (!before->vcpu && !before->machine && !before->lockstep)
        caught = 0;
    aim(target);
}

void core_interrupt_end(const struct core_target *before)
{
    if (!main_thread())
        return;
    aim(before);
}

bool core_interrupted(void)
{
    return main_thread() && caught;
}
