/* The host's clock and chance, by POSIX calls. */
#include "base/clock.h"

#include <sched.h>
#include <time.h>
#include <unistd.h>

uint64_t vmi_clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void vmi_clock_relax(unsigned attempt)
{
    if (attempt < 32) {
        sched_yield();
        return;
    }
    struct timespec ts = {0, 50000};
    nanosleep(&ts, NULL);
}

uint64_t vmi_clock_entropy(void)
{
    uint64_t value = 0;
    if (getentropy(&value, sizeof(value)) != 0 || value == 0) {
        value = vmi_clock_ns() | 1;
    }
    return value;
}
