/*
 * Usage: mover MILLISECONDS LEAST COMMAND [ARGUMENT...]
 * Runs COMMAND and moves each of its threads, again and again, to a processor drawn by lot. Its
 * status is that of the command; 99 when the driver counts fewer than LEAST arrivals of a VMCS on a
 * processor beyond one for each vCPU (their creation), or still holds something when the command
 * has ended.
 */
#include "machine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TROUBLE 99

static uint64_t moves, lot = 1;
static unsigned most_vcpus;

static unsigned draw(unsigned n)
{
    lot = lot * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(lot >> 33) % n;
}

/* A thread may end while we look at it. */
static void move_threads(pid_t pid, unsigned cpus)
{
    char path[40];
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    folder = opendir(path);
    if (!folder)
        return;
    for (struct dirent *e; (e = readdir(folder)) != NULL;) {
        cpu_set_t set;

        if (e->d_name[0] == '.')
            continue;
        CPU_ZERO(&set);
        CPU_SET(draw(cpus), &set);
        moves += sched_setaffinity(atoi(e->d_name), sizeof(set), &set) == 0;
    }
    closedir(folder);
}

static int move_until_end(pid_t pid, long milliseconds, int device)
{
    const struct timespec period = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    unsigned cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    struct vmlib_vtx_info info;
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        CHECK(device_info(device, &info) == 0);
        if (info.vcpus > most_vcpus)
            most_vcpus = (unsigned)info.vcpus;
        move_threads(pid, cpus);
        nanosleep(&period, NULL);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    struct vmlib_vtx_info before, after;
    unsigned long arrivals, least;
    int device, status;
    pid_t pid;

    if (argc < 4)
        return 2;
    device = open(VMLIB_VTX_DEVICE, O_RDWR | O_CLOEXEC);
    CHECK(device >= 0 && device_info(device, &before) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        execv(argv[3], argv + 3);
        _exit(127);
    }
    status = move_until_end(pid, atol(argv[1]), device);
    CHECK(device_info(device, &after) == 0);
    arrivals = (unsigned long)(after.migrations - before.migrations);
    least = strtoul(argv[2], NULL, 10) + most_vcpus;
    printf(
        "mover: status %d, %lu threads moved, %u vCPUs, their VMCS came to a processor %lu times\n",
        status, (unsigned long)moves, most_vcpus, arrivals);
    if (arrivals < least || after.vms || after.vcpus || after.pinned_pages || after.table_pages) {
        printf(
            "mover: too few, or something is left: VMs %llu, vCPUs %llu, pages %llu, tables %llu\n",
            (unsigned long long)after.vms, (unsigned long long)after.vcpus,
            (unsigned long long)after.pinned_pages, (unsigned long long)after.table_pages);
        return TROUBLE;
    }
    return status;
}
