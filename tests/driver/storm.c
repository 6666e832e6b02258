/*
 * Random calls on the real device: states, mappings, rights, entries into random code, descriptors
 * closed at any time, another thread writing into the run page meanwhile. The host must live and
 * nothing may be left. Usage: storm [SEED [STEPS [THREADS [OTHERS]]]]   OTHERS: other processes use
 * the device meanwhile, so what is left cannot be counted.
 *
 * The preemption timer bounds each entry: emulators may not show interrupts to a guest that spins
 * with RFLAGS.IF clear.
 */
#include "machine.h"
#include "words.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t seed;
static struct machine m;
static unsigned long entries[8], refused, lives, unexplained;
static bool threads;
static struct vmlib_vtx_run sent, held;
static int stop = 1;

static uint32_t any(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

static uint64_t any_address(void)
{
    switch (any() % 8) {
    case 0:
        return (uint64_t)any() << 32 | any();
    case 1:
        return (uint64_t)any() << 12;
    default:
        return (uint64_t)(any() % 32) << 12;
    }
}

static void memory_call(void)
{
    uint64_t bits[512] = {0}, bytes = any() % 8 ? (uint64_t)(1 + any() % 16) << 12 : any_address();
    struct vmlib_vtx_map map = {any_address(), bytes,
                                any() % 8 ? (uintptr_t)m.memory : any_address(), any() % 9,
                                any() % 3};
    struct vmlib_vtx_range range = {map.gpa, bytes, map.prot, 0};
    struct vmlib_vtx_dirty dirty = {map.gpa, bytes % (16384ull << 12), (uintptr_t)bits, any() % 2,
                                    0};
    int failed;

    switch (any() % 4) {
    case 0:
        failed = ioctl(m.vm, VMLIB_VTX_MAP, &map);
        break;
    case 1:
        failed = ioctl(m.vm, VMLIB_VTX_PROTECT, &range);
        break;
    case 2:
        failed = ioctl(m.vm, VMLIB_VTX_DIRTY, &dirty);
        break;
    default:
        range.prot = 0;
        failed = ioctl(m.vm, VMLIB_VTX_UNMAP, &range);
        break;
    }
    refused += failed != 0;
}

/* A few words of the run page become something else; sometimes a state that can be entered. */
static void new_state(void)
{
    uint32_t *words = (uint32_t *)m.run, n = any() % 6, i;

    if (any() % 2 == 0) {
        machine_real_mode(&m);
        for (i = 0; i < sizeof(m.memory[0]) * 4096; i++)
            m.memory[CODE_GPA + i] = (uint8_t)any();
        m.run->rip = CODE_GPA;
        m.run->rflags = 2 | (any() & 0x40fd5);
        m.run->control.cr0 = 0x30 | (any() % 4 == 0 ? any() & 0x6005003e : 0);
        m.run->control.cr4 = any() & m.info.cr4_may & ~0x20000u;
        m.run->control.efer = any() % 4 ? 0 : any() & m.info.efer_may & ~0x400u;
        for (i = 0; i < VMLIB_VTX_CONTROLS; i++)
            m.run->controls.word[i] |= any() & any() & m.info.may[i];
        m.run->controls.exceptions = any() & any();
        if (any() % 2)
            return;
    }
    while (n--)
        words[any() % (sizeof(*m.run) / 4)] = any() % 2 ? any() : 1u << any() % 32;
    m.run->dirty = any() & 0xfff;
    m.run->request = any() % 16 == 0;
}

/* What the VMCS held at the last entry in place of what a refused one leaves there: emulators empty
 * these fields. */
static void hold(void)
{
    struct vmlib_vtx_run page = *m.run;

    m.run->dirty = 0;
    m.run->flags = VMLIB_VTX_SYNC;
    m.run->fetch = VMLIB_VTX_G_EVENTS;
    m.run->request = 0;
    CHECK(machine_run(&m) == 0 && m.run->status == VMLIB_VTX_KICKED);
    held.events = m.run->events;
    *m.run = page;
}

/* The library has words for each state that the processor refuses. */
static void explain(void)
{
    m.run->dirty = 0;
    m.run->flags = VMLIB_VTX_SYNC;
    m.run->fetch = VMLIB_VTX_G_ALL;
    m.run->request = 0;
    CHECK(machine_run(&m) == 0 && m.run->status == VMLIB_VTX_KICKED);
    m.run->events = held.events;
    m.run->inject = held.inject;
    if (vtx_words_entry(m.run, &m.info))
        return;
    unexplained++;
    printf("storm: no words for refused state %lu: cr0 %#llx cr3 %#llx cr4 %#llx efer %#llx rflags "
           "%#llx rip %#llx dr7 %#llx debugctl %#llx interruptibility %#x pending %#llx inject %#x "
           "controls %#x %#x %#x cs %#x ss %#x\n",
           entries[VMLIB_VTX_REFUSED], (unsigned long long)m.run->control.cr0,
           (unsigned long long)m.run->control.cr3, (unsigned long long)m.run->control.cr4,
           (unsigned long long)m.run->control.efer, (unsigned long long)m.run->rflags,
           (unsigned long long)m.run->rip, (unsigned long long)m.run->debug.dr7,
           (unsigned long long)m.run->debug.debugctl, m.run->events.interruptibility,
           (unsigned long long)m.run->events.pending_debug, m.run->inject.event,
           m.run->controls.word[0], m.run->controls.word[1], m.run->controls.word[2],
           m.run->segments.s[VMLIB_VTX_CS].attributes, m.run->segments.s[VMLIB_VTX_SS].attributes);
}

/* The state that is about to be entered; nothing that RUN refuses is entered. */
static void remember(void)
{
    memset(&held.inject, 0, sizeof(held.inject));
    if (m.run->dirty & VMLIB_VTX_G_INJECT)
        held.inject = m.run->inject;
    sent = *m.run;
}

static void look(void)
{
    uint32_t status = m.run->status;

    if (status != VMLIB_VTX_INVALID && sent.dirty & VMLIB_VTX_G_EVENTS)
        held.events = sent.events;
    if (status == VMLIB_VTX_REFUSED)
        explain();
    if (status == VMLIB_VTX_EXITED || status == VMLIB_VTX_REFUSED)
        hold();
}

static void run(void)
{
    int r;

    m.run->flags = any() % 8 == 0;
    m.run->fetch = any() & 0xfff;
    m.run->controls.word[VMLIB_VTX_PIN] |= 0x40;
    m.run->controls.timer = 2000;
    if (any() % 4) {
        m.run->controls.word[VMLIB_VTX_PROC] &= m.info.may[VMLIB_VTX_PROC];
        m.run->controls.word[VMLIB_VTX_PROC2] &= m.info.may[VMLIB_VTX_PROC2];
        m.run->controls.word[VMLIB_VTX_PIN] &= m.info.may[VMLIB_VTX_PIN];
        m.run->control.cr0 &= 0xffffffff;
        m.run->control.cr4 &= m.info.cr4_may;
        m.run->control.efer &= m.info.efer_may;
        m.run->control.xcr0 = 0;
        m.run->msrs.lstar = m.run->msrs.cstar = m.run->msrs.kernel_gs_base = m.run->msrs.fmask = 0;
        m.run->msrs.tsc_aux &= 0xffffffff;
        m.run->debug.debugctl = 0;
    }
    m.run->dirty |= VMLIB_VTX_G_CONTROLS;
    remember();
    r = any() % 2 ? ioctl(m.vcpu, VMLIB_VTX_RUN, 0) : fdatasync(m.vcpu);
    if (r == 0) {
        entries[m.run->status & 7]++;
        if (!threads)
            look();
    } else {
        refused++;
        if (!threads)
            hold();
    }
}

static void reopen(void)
{
    lives++;
    if (any() % 2) { /* in another order */
        close(m.device);
        close(m.vm);
        m.device = m.vm = -1;
    }
    machine_close(&m);
    CHECK(machine_open(&m) == 0);
    memset(&held, 0, sizeof(held));
}

static void step(void)
{
    struct vmlib_vtx_msr msr = {any() % 2 ? 0xc0000100 + any() % 3 : any() % 0x300, any() % 4};
    int fd;

    switch (any() % 16) {
    case 0:
    case 1:
    case 2:
        memory_call();
        break;
    case 3:
        refused += ioctl(m.vcpu, VMLIB_VTX_PASS_MSR, &msr) != 0;
        break;
    case 4:
        fd = ioctl(any() % 2 ? m.vm : m.vcpu, _IO(VMLIB_VTX_IOC, any() % 64), 0);
        refused += fd < 0;
        if (fd > 0) /* a second vCPU */
            close(fd);
        break;
    case 5:
        if (any() % 8 == 0 && __atomic_load_n(&stop, __ATOMIC_RELAXED))
            reopen();
        break;
    case 6:
    case 7:
    case 8:
        new_state();
        break;
    default:
        run();
        break;
    }
}

/* Writes where the driver reads. The word that arms the timer stays. */
static void *scribbler(void *arg)
{
    volatile uint32_t *words = (volatile uint32_t *)arg;
    uint32_t n = 1, at;

    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        n = n * 1664525 + 1013904223;
        at = n >> 8 & 1023;
        if (at < offsetof(struct vmlib_vtx_run, controls) / 4)
            words[at] = n;
        words[2] = n >> 4; /* dirty */
    }
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned long steps = argc > 2 ? strtoul(argv[2], NULL, 0) : 3000, i;
    bool others = argc > 4;
    struct vmlib_vtx_info info;
    pthread_t thread;

    threads = argc > 3 && strtoul(argv[3], NULL, 0) > 1;
    seed = 0x9e3779b97f4a7c15 * (1 + (argc > 1 ? strtoul(argv[1], NULL, 0) : 0));
    CHECK(machine_open(&m) == 0);
    for (i = 0; i < steps; i++) {
        if (threads && i % 100 == 0) {
            __atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
            CHECK(pthread_create(&thread, NULL, scribbler, m.run) == 0);
        }
        if (threads && i % 100 == 99) {
            __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
            pthread_join(thread, NULL);
            reopen();
        }
        step();
    }
    if (!__atomic_exchange_n(&stop, 1, __ATOMIC_RELAXED))
        pthread_join(thread, NULL);
    machine_close(&m);
    CHECK(machine_open(&m) == 0);
    CHECK(device_info(m.device, &info) == 0);
    if (!others && (info.vms != 1 || info.vcpus != 1 || info.pinned_pages != 5))
        printf("left: %llu VMs, %llu vCPUs, %llu pages\n", (unsigned long long)info.vms,
               (unsigned long long)info.vcpus, (unsigned long long)info.pinned_pages);
    CHECK(others || (info.vms == 1 && info.vcpus == 1 && info.pinned_pages == 5));
    machine_close(&m);
    printf(
        "storm: %lu steps, %lu lives, exits %lu, kicked %lu, refused by the CPU %lu, VMfail %lu, "
        "by the driver %lu, calls refused %lu\n",
        steps, lives, entries[0], entries[1], entries[2], entries[3], entries[4], refused);
    return unexplained != 0;
}
