/*
 * Ctrl-C. The interpreters' own SIGINT handlers only set a flag that their loops look at, so a
 * guest that never exits would never be interrupted. A handler of ours in front of it ends what
 * runs on the main thread; it is put there only where the interpreter's is, and only by runs on the
 * main thread. Included by one file of each binding: bindings/gen/generate copies it from
 * bindings/common.
 */
#ifndef VMLIB_BINDING_INTERRUPT_H
#define VMLIB_BINDING_INTERRUPT_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The binding's: end what runs on the main thread. In the signal handler, on that thread. */
static void interrupt_now(void);

static struct sigaction interrupt_previous;

/* Two system calls, and safe in signal handlers. */
static bool interrupt_ask_main_thread(void)
{
    return syscall(SYS_gettid) == getpid();
}

static bool interrupt_main_thread(void)
{
    static _Thread_local enum { UNKNOWN, YES, NO } answer;

    if (answer == UNKNOWN)
        answer = interrupt_ask_main_thread() ? YES : NO;
    return answer == YES;
}

static void interrupt_on_signal(int number, siginfo_t *info, void *context)
{
    if (!interrupt_ask_main_thread()) {
        /* The kernel may choose any thread; the record of who runs belongs to one. */
        syscall(SYS_tgkill, getpid(), getpid(), number);
        return;
    }
    atomic_signal_fence(memory_order_acquire);
    interrupt_now();
    if (interrupt_previous.sa_flags & SA_SIGINFO)
        interrupt_previous.sa_sigaction(number, info, context);
    else if (interrupt_previous.sa_handler != SIG_DFL && interrupt_previous.sa_handler != SIG_IGN)
        interrupt_previous.sa_handler(number);
}

static void interrupt_install(void)
{
    struct sigaction now;

    if (sigaction(SIGINT, NULL, &now) < 0 ||
        ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == interrupt_on_signal))
        return;
    if (!(now.sa_flags & SA_SIGINFO) && (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN))
        return; /* the program does not want it */
    interrupt_previous = now;
    now.sa_sigaction = interrupt_on_signal;
    now.sa_flags |= SA_SIGINFO;
    sigaction(SIGINT, &now, NULL);
}

#endif
