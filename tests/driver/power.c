/*
 * Sleep with a running guest: the processors lose VMX and get it back, the guest goes on. Uses the
 * kernel's test mode (/sys/power/pm_test), which goes as far as "all other processors offline,
 * interrupts off" and returns; `power --sleep` sleeps in earnest until somebody wakes the machine.
 * `power --hold` only runs a guest until it is killed.
 */
#include "machine.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static struct machine m;
static int stop;
static int errors;

static void *run_thread(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST))
        if (ioctl(m.vcpu, VMLIB_VTX_RUN, 0) ? errno != EINTR : m.run->status != VMLIB_VTX_KICKED)
            errors++;
    return NULL;
}

static void alive(void)
{
    volatile uint32_t *counter = (volatile uint32_t *)(m.memory + 0x3000);
    uint32_t before = *counter;

    while (*counter == before)
        sched_yield();
}

static bool put(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    bool ok = file && fputs(text, file) >= 0;

    return (!file || fclose(file) == 0) && ok;
}

static void sleep_once(const char *level)
{
    struct vmlib_vtx_info info;

    CHECK(put("/sys/power/pm_test", level));
    CHECK(put("/sys/power/state", "mem"));
    CHECK(put("/sys/power/pm_test", "none"));
    CHECK(device_info(m.device, &info) == 0);
    CHECK(info.unavailable == 0 && info.cpus == (uint32_t)sysconf(_SC_NPROCESSORS_ONLN));
    alive();
    printf("ok sleep, test level %s\n", level);
}

int main(int argc, char **argv)
{
    /* sti; again: inc dword [3000h]; jmp again */
    static const uint8_t code[] = {0xfb, 0x66, 0xff, 0x06, 0x00, 0x30, 0xeb, 0xf9};
    bool earnest = argc > 1 && !strcmp(argv[1], "--sleep");
    pthread_t thread;

    if (argc < 2 && (access("/sys/power/pm_test", W_OK) || access("/sys/power/mem_sleep", R_OK))) {
        printf("ok the kernel has no test mode for sleep\n");
        return 0;
    }
    CHECK(machine_open(&m) == 0);
    machine_code(&m, code, sizeof(code));
    CHECK(pthread_create(&thread, NULL, run_thread, NULL) == 0);
    alive();
    if (argc > 1 && !strcmp(argv[1], "--hold")) {
        printf("holding\n");
        fflush(stdout);
        pthread_join(thread, NULL);
    }
    put("/sys/module/suspend/parameters/pm_test_delay", "0");
    put("/sys/power/mem_sleep", "deep"); /* without it only "freezer" and "devices" can be tested */
    if (earnest) {
        CHECK(put("/sys/power/state", "mem"));
        alive();
        printf("ok sleep and resume\n");
    } else {
        sleep_once("freezer");
        sleep_once("processors");
        sleep_once("core");
    }
    stop = 1;
    __atomic_store_n(&m.run->request, 1, __ATOMIC_SEQ_CST);
    CHECK(ioctl(m.vcpu, VMLIB_VTX_KICK, 0) == 0);
    pthread_join(thread, NULL);
    CHECK(errors == 0);
    machine_close(&m);
    return 0;
}
