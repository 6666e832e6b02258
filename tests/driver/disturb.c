/*
 * What the host does while a guest runs: NMIs, processors that go and come, rights and mappings
 * that change, kicks; and an owner that runs out of memory. Usage: disturb [--real]
 *
 * --real adds what emulators do not show: a guest that spins with RFLAGS.IF clear is interrupted,
 * the monitor trap flag traps, the timer of the host goes on.
 */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

static bool real;

/* A guest that counts in memory until it is kicked, on a processor of its own. */
struct runner {
    struct machine m;
    pthread_t thread;
    int cpu;      /* -1: any */
    int stop;     /* set before the kick */
    int errors;   /* other ends of RUN than a kick or a signal */
    uint32_t end; /* the exit that ended it, 0 for the kick */
};

#define COUNTER_GPA 0x3000u

static volatile uint32_t *counter(struct runner *r)
{
    return (volatile uint32_t *)(r->m.memory + COUNTER_GPA);
}

static void pin_to(int cpu)
{
    cpu_set_t set;

    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static void *run_thread(void *arg)
{
    struct runner *r = (struct runner *)arg;

    pin_to(r->cpu);
    while (!__atomic_load_n(&r->stop, __ATOMIC_SEQ_CST)) {
        if (ioctl(r->m.vcpu, VMLIB_VTX_RUN, 0)) {
            r->errors += errno != EINTR;
        } else if (r->m.run->status == VMLIB_VTX_EXITED) {
            r->end = r->m.run->reason;
            return NULL;
        } else {
            r->errors += r->m.run->status != VMLIB_VTX_KICKED;
        }
    }
    return NULL;
}

/* sti (or cli); again: inc dword [3000h]; jmp again */
static void start(struct runner *r, int cpu, bool interrupts)
{
    uint8_t code[] = {interrupts ? 0xfb : 0xfa, 0x66, 0xff, 0x06, 0x00, 0x30, 0xeb, 0xf9};

    memset(r, 0, sizeof(*r));
    CHECK(machine_open(&r->m) == 0);
    machine_code(&r->m, code, sizeof(code));
    r->cpu = cpu;
    CHECK(pthread_create(&r->thread, NULL, run_thread, r) == 0);
    while (!*counter(r))
        sched_yield();
}

/* The guest moves on. */
static void alive(struct runner *r)
{
    uint32_t before = *counter(r);

    while (*counter(r) == before)
        sched_yield();
}

static void finish(struct runner *r, uint32_t end)
{
    if (!end) {
        __atomic_store_n(&r->stop, 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&r->m.run->request, 1, __ATOMIC_SEQ_CST);
        CHECK(ioctl(r->m.vcpu, VMLIB_VTX_KICK, 0) == 0);
    }
    pthread_join(r->thread, NULL);
    CHECK(r->errors == 0 && r->end == end);
}

static bool write_text(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    bool ok;

    if (fd < 0)
        return false;
    ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return ok;
}

static int processors(void)
{
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

/* Kicks that come at any moment; RUN may miss a request that is withdrawn at once, never the last.
 */
static void kicks(void)
{
    struct runner r;
    unsigned i;

    start(&r, processors() - 1, true);
    for (i = 0; i < 200; i++) {
        __atomic_store_n(&r.m.run->request, 1, __ATOMIC_SEQ_CST);
        CHECK(ioctl(r.m.vcpu, VMLIB_VTX_KICK, 0) == 0);
        __atomic_store_n(&r.m.run->request, 0, __ATOMIC_SEQ_CST);
        if (i % 20 == 0)
            alive(&r);
    }
    finish(&r, 0);
    machine_close(&r.m);
}

/* After PROTECT has returned the guest, wherever it runs, does not write once more. */
static void rights(void)
{
    struct runner r;
    uint32_t value;

    start(&r, processors() - 1, true);
    CHECK(machine_range(&r.m, VMLIB_VTX_PROTECT, COUNTER_GPA, 4096, VMLIB_VTX_READ) == 0);
    value = *counter(&r);
    finish(&r, 48);
    CHECK(*counter(&r) == value && r.m.run->gpa == COUNTER_GPA);
    machine_close(&r.m);

    start(&r, processors() - 1, true);
    CHECK(machine_range(&r.m, VMLIB_VTX_UNMAP, COUNTER_GPA, 4096, 0) == 0);
    value = *counter(&r);
    finish(&r, 48);
    CHECK(*counter(&r) == value);
    machine_close(&r.m);
}

/* The kernel asks each processor for its state, by NMI where it is busy. */
static void host_nmi(void)
{
    static char log[1 << 20];
    struct runner r;
    int n, i;

    if (processors() < 2)
        return;
    start(&r, 1, true);
    for (i = 0; i < 3; i++) {
        if (!write_text("/proc/sysrq-trigger", "l"))
            break;
        alive(&r);
    }
    finish(&r, 0);
    machine_close(&r.m);
    n = klogctl(3, log, sizeof(log) - 1);
    CHECK(i < 3 || (n > 0 && strstr(log, "NMI backtrace for cpu 1")));
}

static bool set_online(bool online)
{
    return write_text("/sys/devices/system/cpu/cpu1/online", online ? "1" : "0");
}

/* The processor of a running guest goes away under it. */
static void hotplug(void)
{
    struct runner r, other;
    struct vmlib_vtx_info info;
    unsigned i;

    if (processors() < 2)
        return;
    start(&r, 1, true);
    start(&other, -1, true);
    for (i = 0; i < 3; i++) {
        CHECK(set_online(false));
        CHECK(device_info(r.m.device, &info) == 0 && info.cpus == (uint32_t)processors());
        alive(&r);
        alive(&other);
        CHECK(set_online(true));
        CHECK(device_info(r.m.device, &info) == 0 && info.cpus == (uint32_t)processors());
    }
    finish(&r, 0);
    finish(&other, 0);
    machine_close(&r.m);
    machine_close(&other.m);
}

static void prepare_faults(void)
{
    static const char *const settings[] = {
        "failslab/ignore-gfp-wait",        "failslab/verbose",
        "fail_page_alloc/ignore-gfp-wait", "fail_page_alloc/ignore-gfp-highmem",
        "fail_page_alloc/min-order",       "fail_page_alloc/verbose",
    };
    char name[128];
    size_t i;

    mount("none", "/sys/kernel/debug", "debugfs", 0, NULL);
    for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        snprintf(name, sizeof(name), "/sys/kernel/debug/%s", settings[i]);
        write_text(name, "0");
    }
}

/* Each allocation of each call fails once (kernels with fault injection); nothing is left behind.
 * Returns how many there were. */
static unsigned each_allocation(int (*work)(void), int device)
{
    struct vmlib_vtx_info before, after;
    unsigned nth;
    char text[16];
    ssize_t n;
    int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return 0;
    prepare_faults();
    CHECK(device_info(device, &before) == 0);
    for (nth = 1; nth < 1000; nth++) {
        snprintf(text, sizeof(text), "%u", nth);
        CHECK(write(fd, text, strlen(text)) > 0);
        work();
        memset(text, 0, sizeof(text));
        n = pread(fd, text, sizeof(text) - 1, 0);
        CHECK(write(fd, "0", 1) == 1);
        CHECK(device_info(device, &after) == 0);
        if (after.vms != before.vms || after.vcpus != before.vcpus ||
            after.pinned_pages != before.pinned_pages || after.table_pages != before.table_pages)
            printf("allocation %u: left %lld VMs, %lld vCPUs, %lld pages, %lld tables\n", nth,
                   (long long)(after.vms - before.vms), (long long)(after.vcpus - before.vcpus),
                   (long long)(after.pinned_pages - before.pinned_pages),
                   (long long)(after.table_pages - before.table_pages));
        CHECK(after.vms == before.vms && after.vcpus == before.vcpus);
        CHECK(after.pinned_pages == before.pinned_pages && after.table_pages == before.table_pages);
        if (n > 0 && text[0] != '0')
            break; /* fewer allocations than that */
    }
    close(fd);
    return nth - 1;
}

static int one_life(void)
{
    static const uint8_t code[] = {0xf4};
    struct machine m;
    int err = machine_open(&m);

    if (!err) {
        err = machine_map(&m, 0x40000000, m.memory, 4096, 7, 0);
        machine_code(&m, code, sizeof(code));
        if (!err)
            err = machine_run(&m);
        if (!err)
            err = machine_range(&m, VMLIB_VTX_UNMAP, 0, 4096, 0);
    }
    machine_close(&m);
    return err;
}

static void out_of_memory(void)
{
    struct vmlib_vtx_info info;
    int device = open(VMLIB_VTX_DEVICE, O_RDWR | O_CLOEXEC);
    unsigned n;

    CHECK(device >= 0);
    n = each_allocation(one_life, device);
    CHECK(one_life() == 0);
    CHECK(device_info(device, &info) == 0 && info.vms == 0);
    close(device);
    if (n)
        printf("%u allocations failed in turn\n", n);
}

/* Only hardware lets the host's interrupts through to the exit here. */
static void masked_spin(void)
{
    struct runner r;

    if (!real)
        return;
    start(&r, processors() - 1, false);
    usleep(200000); /* some ticks of the host's timer */
    alive(&r);
    finish(&r, 0);
    CHECK(r.m.run->rflags == 2 || !(r.m.run->rflags & 0x200));
    machine_close(&r.m);
}

static void trap_flag(void)
{
    static const uint8_t code[] = {0x90, 0x90, 0xf4};
    struct machine m;

    CHECK(machine_open(&m) == 0);
    if (real && m.info.features & VMLIB_VTX_F_MTF) {
        machine_code(&m, code, sizeof(code));
        m.run->controls.word[VMLIB_VTX_PROC] |= 1u << 27;
        m.run->dirty |= VMLIB_VTX_G_CONTROLS;
        CHECK(machine_run(&m) == 0 && m.run->reason == 37 && m.run->rip == CODE_GPA + 1);
        CHECK(machine_run(&m) == 0 && m.run->reason == 37 && m.run->rip == CODE_GPA + 2);
    }
    machine_close(&m);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"kicks", kicks},
    {"rights of memory in use", rights},
    {"NMIs of the host", host_nmi},
    {"hotplug below a running guest", hotplug},
    {"out of memory at each allocation", out_of_memory},
    {"a guest that masks interrupts", masked_spin},
    {"monitor trap flag", trap_flag},
};

int main(int argc, char **argv)
{
    size_t i;

    real = argc > 1 && !strcmp(argv[1], "--real");
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cases[i].run();
        printf("ok %s\n", cases[i].name);
        fflush(stdout);
    }
    return 0;
}
