/*
 * The driver on (emulated) hardware: entries, exits, memory, events, limits, ends. Runs inside the
 * rig as root; prints one line per case.
 */
#include "machine.h"
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CODE(m, ...)                                  \
    do {                                              \
        static const uint8_t code_[] = {__VA_ARGS__}; \
        machine_code(m, code_, sizeof(code_));        \
    } while (0)

static void expect_exit(struct machine *m, uint32_t reason)
{
    CHECK(machine_run(m) == 0);
    CHECK(m->run->status == VMLIB_VTX_EXITED);
    CHECK(m->run->reason == reason);
}

static void advance(struct machine *m)
{
    m->run->rip += m->run->instruction_length;
    m->run->dirty |= VMLIB_VTX_G_RIP;
}

static void ports_and_hlt(struct machine *m)
{
    CODE(m, 0xb0, 0x2a, 0xe6, 0x10, 0xf4); /* mov al,42; out 16,al; hlt */
    expect_exit(m, 30);
    CHECK(m->run->qualification == 0x100040);
    CHECK((m->run->gpr[0] & 0xff) == 42);
    CHECK(m->run->rip == CODE_GPA + 2 && m->run->instruction_length == 2);
    advance(m);
    expect_exit(m, 12);
    CHECK(m->run->rip == CODE_GPA + 4);
}

/* All general registers travel both ways. */
static void registers(struct machine *m)
{
    unsigned i;

    /* add eax,1 ... for each register but esp; hlt */
    CODE(m, 0x66, 0x40, 0x66, 0x41, 0x66, 0x42, 0x66, 0x43, 0x66, 0x45, 0x66, 0x46, 0x66, 0x47,
         0xf4);
    for (i = 0; i < 16; i++)
        if (i != 4)
            m->run->gpr[i] = 0x1000 + i;
    expect_exit(m, 12);
    for (i = 0; i < 16; i++)
        if (i != 4)
            CHECK(m->run->gpr[i] == 0x1000 + i + (i < 8));
}

static void memory(struct machine *m)
{
    uint8_t *page = m->memory + 0x6000;

    CODE(m, 0xb0, 0x77, 0xa2, 0x00, 0x60, 0xf4); /* mov al,77h; mov [6000h],al; hlt */
    expect_exit(m, 48);
    CHECK(m->run->gpa == 0x6000 && (m->run->qualification & 7) == 2);
    CHECK(machine_map(m, 0x6000, page, 4096, VMLIB_VTX_READ, 0) == 0);
    CHECK(machine_map(m, 0x6000, page, 4096, VMLIB_VTX_READ, 0) == -EEXIST);
    expect_exit(m, 48);
    CHECK((m->run->qualification & 0x3f) == (2 | 8));
    CHECK(machine_range(m, VMLIB_VTX_PROTECT, 0x6000, 4096, 3) == 0);
    expect_exit(m, 12);
    CHECK(page[0] == 0x77);

    CODE(m, 0xa0, 0x00, 0x60, 0xa2, 0x01, 0x60, 0xf4); /* read, write, hlt */
    CHECK(machine_range(m, VMLIB_VTX_PROTECT, 0x6000, 4096, 0) == 0);
    expect_exit(m, 48);
    CHECK((m->run->qualification & 0x3f) == 1);
    CHECK(machine_range(m, VMLIB_VTX_PROTECT, 0x6000, 4096, 3) == 0);
    expect_exit(m, 12);
    CHECK(page[1] == 0x77);
    CHECK(machine_range(m, VMLIB_VTX_UNMAP, 0x6000, 4096, 0) == 0);
    CODE(m, 0xa0, 0x00, 0x60, 0xf4);
    expect_exit(m, 48);
}

/* A page without X cannot be fetched from; one with X alone can only be fetched from. */
static void execution(struct machine *m)
{
    uint8_t *page = m->memory + 0x7000;

    page[0] = 0xf4;
    CHECK(machine_map(m, 0x7000, page, 4096, 3, 0) == 0);
    CODE(m, 0xea, 0x00, 0x70, 0x00, 0x00); /* jmp 0:7000h */
    expect_exit(m, 48);
    CHECK((m->run->qualification & 7) == 4 && m->run->gpa == 0x7000);
    if (m->info.features & VMLIB_VTX_F_EPT_XONLY) {
        CHECK(machine_range(m, VMLIB_VTX_PROTECT, 0x7000, 4096, 4) == 0);
        expect_exit(m, 12);
        CODE(m, 0xa0, 0x00, 0x70, 0xf4);
        expect_exit(m, 48);
    }
    CHECK(machine_range(m, VMLIB_VTX_UNMAP, 0x7000, 4096, 0) == 0);
}

static void dirty(struct machine *m)
{
    uint64_t bits = 0;
    struct vmlib_vtx_dirty d = {0, 0x5000, (uintptr_t)&bits, VMLIB_VTX_REARM, 0};

    if (!(m->info.features & VMLIB_VTX_F_EPT_AD)) {
        CHECK(ioctl(m->vm, VMLIB_VTX_DIRTY, &d) && errno == EOPNOTSUPP);
        return;
    }
    CHECK(!ioctl(m->vm, VMLIB_VTX_DIRTY, &d));
    CODE(m, 0xa2, 0x00, 0x30, 0xf4); /* mov [3000h],al */
    expect_exit(m, 12);
    bits = 0;
    CHECK(!ioctl(m->vm, VMLIB_VTX_DIRTY, &d));
    CHECK(bits == 1u << 3);
    bits = 0;
    CHECK(!ioctl(m->vm, VMLIB_VTX_DIRTY, &d) && bits == 0);
    CODE(m, 0xa2, 0x00, 0x30, 0xf4);
    expect_exit(m, 12);
    CHECK(!ioctl(m->vm, VMLIB_VTX_DIRTY, &d) && bits == 1u << 3);
}

/* The host's ticks interrupt the guest many times in between, and do not put the deadline off. */
static void timer_over_interrupts(struct machine *m)
{
    uint32_t shift = m->info.timer_shift;
    uint64_t wait = (uint64_t)m->info.tsc_khz * 300, begin = ticks();

    m->run->rip = CODE_GPA;
    m->run->rflags = 0x202;
    m->run->controls.timer = (uint32_t)(wait >> shift);
    m->run->dirty |= VMLIB_VTX_G_CONTROLS | VMLIB_VTX_G_RIP | VMLIB_VTX_G_FLOW;
    expect_exit(m, 52);
    CHECK(ticks() - begin >= wait >> shift << shift);
}

static void timer(struct machine *m)
{
    if (!(m->info.features & VMLIB_VTX_F_TIMER))
        return;
    CODE(m, 0x66, 0x40, 0xeb, 0xfc); /* again: inc eax; jmp again */
    m->run->gpr[0] = 0;
    m->run->controls.word[VMLIB_VTX_PIN] |= 0x40;
    m->run->controls.timer = 1000;
    m->run->dirty |= VMLIB_VTX_G_CONTROLS;
    expect_exit(m, 52);
    CHECK(m->run->gpr[0] > 0);
    timer_over_interrupts(m);
    m->run->controls.word[VMLIB_VTX_PIN] &= ~0x40u;
    m->run->dirty |= VMLIB_VTX_G_CONTROLS;
}

static void single_step(struct machine *m)
{
    CODE(m, 0x90, 0x90, 0xf4);
    m->run->rflags = 0x102;
    expect_exit(m, 0);
    CHECK(m->run->exit_event == 0x80000301 && (m->run->qualification & 0x4000));
    CHECK(m->run->rip == CODE_GPA + 1);
}

static void inject(struct machine *m)
{
    /* sti; nop; hlt. Vector 32 goes to 0:2000h: iret's place is a hlt */
    m->memory[32 * 4 + 0] = 0x00;
    m->memory[32 * 4 + 1] = 0x20;
    m->memory[0x2000] = 0xf4;
    CODE(m, 0xfb, 0x90, 0xf4);
    m->run->rflags = 0x202;
    m->run->inject.event = 0x80000020;
    m->run->dirty |= VMLIB_VTX_G_INJECT;
    expect_exit(m, 12);
    CHECK(m->run->rip == 0x2000 && m->run->inject.event == 0);
    CHECK(m->run->gpr[4] == CODE_GPA - 6);

    /* Interrupt window: opens after the instruction behind STI. */
    CODE(m, 0xfb, 0x90, 0x90, 0xf4);
    m->run->controls.word[VMLIB_VTX_PROC] |= 4;
    m->run->events.interruptibility = 0;
    m->run->dirty |= VMLIB_VTX_G_CONTROLS | VMLIB_VTX_G_EVENTS;
    expect_exit(m, 7);
    CHECK(m->run->rip == CODE_GPA + 2);
    m->run->controls.word[VMLIB_VTX_PROC] &= ~4u;
    m->run->dirty |= VMLIB_VTX_G_CONTROLS;
}

/* An event that a kick kept from being delivered comes back. */
static void withdrawn(struct machine *m)
{
    CODE(m, 0xf4);
    m->run->request = 1;
    m->run->inject.event = 0x80000020;
    m->run->dirty |= VMLIB_VTX_G_INJECT;
    CHECK(machine_run(m) == 0 && m->run->status == VMLIB_VTX_KICKED);
    CHECK(m->run->inject.event == 0x80000020 && m->run->rip == CODE_GPA);
    m->run->request = 0;
    expect_exit(m, 12);
    CHECK(m->run->rip == CODE_GPA); /* before the HLT at its own address */
}

static void *kicker(void *arg)
{
    struct machine *m = arg;

    while (!__atomic_load_n(&m->memory[0x3000], __ATOMIC_ACQUIRE))
        sched_yield();
    __atomic_store_n(&m->run->request, 1, __ATOMIC_SEQ_CST);
    CHECK(ioctl(m->vcpu, VMLIB_VTX_KICK, 0) == 0);
    return NULL;
}

static void kick(struct machine *m)
{
    pthread_t thread;

    m->memory[0x3000] = 0;
    CHECK(pthread_create(&thread, NULL, kicker, m) == 0);
    CODE(m, 0xb0, 0x01, 0xa2, 0x00, 0x30, 0xfb, 0xeb, 0xfe); /* tell; sti; loop */
    CHECK(machine_run(m) == 0 && m->run->status == VMLIB_VTX_KICKED);
    CHECK(m->run->rip == CODE_GPA + 6);
    pthread_join(thread, NULL);
    m->run->request = 0;
}

static void get_xmm0(uint64_t v[2])
{
    __asm__ volatile("movups %%xmm5, %0" : "=m"(*(uint64_t(*)[2])v));
}

/* The guest's vector registers and ours do not meet. */
static void vectors(struct machine *m)
{
    static const uint64_t mine[2] = {0x1111222233334444, 0x5555666677778888};
    uint64_t now[2];
    unsigned i;

    m->run->control.cr4 = 0x200; /* OSFXSR */
    m->run->dirty |= VMLIB_VTX_G_CONTROL;
    memset(m->memory + 0x3000, 0xa5, 16);
    for (i = 0; i < 40; i++) {
        /* movups xmm5,[3000h]; hlt; movups [3010h],xmm5; hlt */
        CODE(m, 0x0f, 0x10, 0x2e, 0x00, 0x30, 0xf4, 0x0f, 0x11, 0x2e, 0x10, 0x30, 0xf4);
        __asm__ volatile("movups %0, %%xmm5" : : "m"(mine) : "xmm5");
        CHECK(ioctl(m->vcpu, VMLIB_VTX_RUN, 0) == 0 || errno == EINTR);
        get_xmm0(now);
        CHECK(!memcmp(now, mine, 16));
        while (m->run->reason != 12 || m->run->rip != CODE_GPA + 5)
            expect_exit(m, 12);
        CHECK(m->fpu[160 + 5 * 16] == 0xa5);
        m->run->rip++;
        m->run->dirty |= VMLIB_VTX_G_RIP;
        memset(m->memory + 0x3010, 0, 16);
        expect_exit(m, 12);
        CHECK(!memcmp(m->memory + 0x3000, m->memory + 0x3010, 16));
        memset(m->memory + 0x3000, 0xa5, 16);
    }
    if (m->info.features & VMLIB_VTX_F_XSAVE) {
        memset(m->fpu + 512, 0xff, 64); /* a header that XRSTOR refuses */
        CODE(m, 0x0f, 0x57, 0xc0, 0xf4);
        CHECK(machine_run(m) == 0 && m->run->status == VMLIB_VTX_INVALID &&
              m->run->invalid == VMLIB_VTX_BAD_FPU);
        memset(m->fpu + 512, 0, 64);
        expect_exit(m, 12);
    }
}

static void refused(struct machine *m)
{
    CODE(m, 0xf4);
    m->run->rflags = 0;
    CHECK(machine_run(m) == 0 && m->run->status == VMLIB_VTX_REFUSED);
    CHECK(m->run->reason == 0x80000021);
    CODE(m, 0xf4);
    m->run->control.cr4 = 1ull << 22;
    m->run->dirty |= VMLIB_VTX_G_CONTROL;
    CHECK(machine_run(m) == 0 && m->run->status == VMLIB_VTX_INVALID);
    CHECK(m->run->invalid == VMLIB_VTX_BAD_CR4);
    m->run->control.cr4 = 0x200;
    m->run->controls.word[VMLIB_VTX_PROC] |= 0x02000000; /* I/O bitmaps are not offered */
    m->run->dirty |= VMLIB_VTX_G_CONTROLS;
    CHECK(machine_run(m) == 0 && m->run->invalid == VMLIB_VTX_BAD_CONTROLS);
    m->run->controls.word[VMLIB_VTX_PROC] &= ~0x02000000u;
    expect_exit(m, 12);
}

static void groups(struct machine *m)
{
    struct vmlib_vtx_run *r = m->run;

    CODE(m, 0xf4);
    r->segments.s[VMLIB_VTX_DS].base = 0x4560;
    r->segments.s[VMLIB_VTX_DS].selector = 0x456;
    r->control.cr3 = 0x9000;
    r->debug.dr[2] = 0x1234;
    r->msrs.lstar = 0xffff800000001000;
    r->msrs.sysenter_eip = 0x777;
    r->dirty |= VMLIB_VTX_G_ALL & ~VMLIB_VTX_G_INJECT;
    r->fetch = VMLIB_VTX_G_ALL;
    expect_exit(m, 12);
    memset(&r->segments, 0xee, sizeof(r->segments));
    memset(&r->control, 0xee, 6 * 8);
    memset(&r->msrs, 0xee, sizeof(r->msrs));
    memset(&r->debug, 0xee, sizeof(r->debug));
    r->flags = VMLIB_VTX_SYNC;
    CHECK(machine_run(m) == 0 && r->status == VMLIB_VTX_KICKED);
    r->flags = 0;
    CHECK(r->segments.s[VMLIB_VTX_DS].base == 0x4560);
    CHECK(r->segments.s[VMLIB_VTX_DS].selector == 0x456);
    CHECK(r->segments.s[VMLIB_VTX_SS].attributes == 0x93);
    CHECK(r->control.cr3 == 0x9000 && r->control.cr0 == 0x30 && r->control.cr4 == 0x200);
    CHECK(r->debug.dr[2] == 0x1234 && r->debug.dr7 == 0x400);
    CHECK(r->msrs.lstar == 0xffff800000001000 && r->msrs.sysenter_eip == 0x777);
    r->fetch = 0;
    r->segments.s[VMLIB_VTX_DS].base = 0;
    r->dirty |= VMLIB_VTX_G_SEGMENTS;
}

/* Another process each time: the counters come back to nothing however it ends. */
static void sudden_death(struct machine *m)
{
    struct vmlib_vtx_info before, after;
    int how, status, tell[2];

    CHECK(device_info(m->device, &before) == 0);
    for (how = 0; how < 3; how++) {
        pid_t child;
        char c;

        CHECK(pipe(tell) == 0);
        child = fork();
        if (child == 0) {
            struct machine mine;

            prctl(PR_SET_PDEATHSIG, SIGKILL);
            CHECK(ioctl(m->vcpu, VMLIB_VTX_RUN, 0) && errno == EPERM); /* not its VM */
            CHECK(machine_open(&mine) == 0);
            CODE(&mine, 0xfb, 0xeb, 0xfe);
            CHECK(write(tell[1], "x", 1) == 1);
            if (how == 0)
                _exit(0);
            if (how == 1)
                close(mine.vm), close(mine.device);
            for (;;)
                machine_run(&mine);
        }
        CHECK(read(tell[0], &c, 1) == 1);
        if (how)
            kill(child, SIGKILL);
        CHECK(waitpid(child, &status, 0) == child);
        close(tell[0]);
        close(tell[1]);
    }
    CHECK(device_info(m->device, &after) == 0);
    CHECK(after.vms == before.vms && after.vcpus == before.vcpus);
    CHECK(after.pinned_pages == before.pinned_pages && after.table_pages == before.table_pages);
}

/* The thread moves between processors; the guest does not notice. */
static void migrate(struct machine *m)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN), i;
    struct vmlib_vtx_info before, after;

    CHECK(device_info(m->device, &before) == 0);
    CODE(m, 0x66, 0x40, 0xf4, 0xeb, 0xfb); /* again: inc eax; hlt; jmp again */
    m->run->gpr[0] = 0;
    for (i = 0; i < 200; i++) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET((unsigned)(i % cpus), &set);
        CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
        expect_exit(m, 12);
        CHECK(m->run->gpr[0] == (uint64_t)i + 1);
        advance(m);
    }
    CHECK(device_info(m->device, &after) == 0);
    CHECK(cpus == 1 || after.migrations - before.migrations >= 199);
}

static void passed_msrs(struct machine *m)
{
    struct vmlib_vtx_msr tsc = {0x10, VMLIB_VTX_READ}, bad = {0x1d9, VMLIB_VTX_READ},
                         write = {0x10, VMLIB_VTX_WRITE};

    /* mov ecx,10h; rdmsr; hlt */
    CODE(m, 0x66, 0xb9, 0x10, 0, 0, 0, 0x0f, 0x32, 0xf4);
    expect_exit(m, 31);
    CHECK(ioctl(m->vcpu, VMLIB_VTX_PASS_MSR, &bad) && errno == EINVAL);
    CHECK(ioctl(m->vcpu, VMLIB_VTX_PASS_MSR, &write) && errno == EINVAL);
    CHECK(ioctl(m->vcpu, VMLIB_VTX_PASS_MSR, &tsc) == 0);
    expect_exit(m, 12);
}

/* 64-bit mode, 2 MiB of memory mapped one to one; page tables at 2000h. */
static void long_mode(struct machine *m)
{
    struct vmlib_vtx_run *r = m->run;
    unsigned i;

    machine_real_mode(m);
    memset(m->memory + 0x2000, 0, 0x3000);
    ((uint64_t *)(m->memory + 0x2000))[0] = 0x3003;
    ((uint64_t *)(m->memory + 0x3000))[0] = 0x4003;
    ((uint64_t *)(m->memory + 0x4000))[0] = 0x83;
    for (i = VMLIB_VTX_ES; i <= VMLIB_VTX_GS; i++)
        r->segments.s[i] = (struct vmlib_vtx_segment){.limit = 0xffffffff, .attributes = 0xc093};
    r->segments.s[VMLIB_VTX_CS].attributes = 0xa09b;
    r->control.cr0 = 0x80000031;
    r->control.cr3 = 0x2000;
    r->control.cr4 = 0x220;
    r->control.efer = 0x501;
    r->dirty = VMLIB_VTX_G_ALL & ~VMLIB_VTX_G_INJECT;
}

static uint64_t host_gs(void)
{
    uint64_t v;

    __asm__ volatile("mov %%gs:0, %0" : "=r"(v));
    return v;
}

static uint32_t host_aux(void)
{
    uint32_t a, d, c;

    __asm__ volatile("rdtscp" : "=a"(a), "=d"(d), "=c"(c));
    return c;
}

static uint64_t host_xcr0(void)
{
    uint32_t a, d;

    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (uint64_t)d << 32 | a;
}

/* What no VMCS field switches: the guest has its own, the host keeps its own. */
static void switched_registers(struct machine *m)
{
    static const uint64_t mark = 0x5ca1ab1e5ca1ab1e;
    struct vmlib_vtx_run *r = m->run;
    uint32_t aux = 0;

    CHECK(syscall(SYS_arch_prctl, 0x1001 /* ARCH_SET_GS */, &mark) == 0);
    long_mode(m);
    /* swapgs; mov rbx,1122334455667788h; syscall */
    CODE(m, 0x0f, 0x01, 0xf8, 0x48, 0xbb, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x0f,
         0x05);
    m->memory[0x1100] = 0xf4;
    r->segments.s[VMLIB_VTX_GS].base = 0x777000;
    r->msrs.star = 0x0008000800000000;
    r->msrs.lstar = 0x1100;
    r->msrs.kernel_gs_base = 0x123456000;
    r->fetch = VMLIB_VTX_G_ALL;
    expect_exit(m, 12);
    r->fetch = 0;
    CHECK(r->rip == 0x1100 && r->gpr[1] == CODE_GPA + 15 && r->gpr[3] == 0x1122334455667788);
    CHECK(r->msrs.kernel_gs_base == 0x777000);
    CHECK(r->segments.s[VMLIB_VTX_GS].base == 0x123456000);
    CHECK(host_gs() == mark && getppid() > 0);

    if (m->info.may[VMLIB_VTX_PROC2] & 8) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET(0, &set);
        CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
        aux = host_aux();
        CODE(m, 0x0f, 0x01, 0xf9, 0xf4); /* rdtscp; hlt */
        r->msrs.tsc_aux = 77;
        r->controls.word[VMLIB_VTX_PROC2] |= 8;
        r->dirty |= VMLIB_VTX_G_MSRS | VMLIB_VTX_G_CONTROLS;
        expect_exit(m, 12);
        CHECK(r->gpr[1] == 77 && host_aux() == aux);
    }
    if ((m->info.xcr0_may & 7) == 7) {
        uint64_t xcr0 = host_xcr0();

        CODE(m, 0x31, 0xc9, 0x0f, 0x01, 0xd0, 0xf4); /* xor ecx,ecx; xgetbv; hlt */
        r->control.cr4 |= 0x40000;
        r->control.xcr0 = 3;
        r->dirty |= VMLIB_VTX_G_CONTROL;
        expect_exit(m, 12);
        CHECK((uint32_t)r->gpr[0] == 3 && host_xcr0() == xcr0);
    }
}

static void breakpoints(struct machine *m)
{
    struct vmlib_vtx_run *r = m->run;

    long_mode(m);
    CODE(m, 0x90, 0x90, 0x90, 0xf4);
    r->debug.dr[1] = CODE_GPA + 2;
    r->debug.dr7 = 0x404; /* L1: execution */
    r->dirty |= VMLIB_VTX_G_DEBUG;
    expect_exit(m, 0);
    CHECK(r->rip == CODE_GPA + 2 && (r->exit_event & 0xff) == 1 && (r->qualification & 0xf) == 2);
    machine_real_mode(m);
}

static bool set_online(unsigned cpu, int online)
{
    char name[64];
    FILE *file;
    bool ok;

    snprintf(name, sizeof(name), "/sys/devices/system/cpu/cpu%u/online", cpu);
    file = fopen(name, "w");
    if (!file)
        return false;
    ok = fprintf(file, "%d", online) > 0;
    return fclose(file) == 0 && ok;
}

/* The processor that has the VMCS goes away, comes back, and has VMX on again. */
static void hotplug(struct machine *m)
{
    struct vmlib_vtx_info info;
    cpu_set_t set;

    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        return;
    CPU_ZERO(&set);
    CPU_SET(1, &set);
    CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
    CODE(m, 0x66, 0x40, 0xf4, 0xeb, 0xfb);
    m->run->gpr[0] = 0;
    expect_exit(m, 12);
    CHECK(m->run->cpu == 1);
    advance(m);
    CHECK(set_online(1, 0));
    CHECK(device_info(m->device, &info) == 0 &&
          info.cpus == (uint32_t)sysconf(_SC_NPROCESSORS_ONLN));
    expect_exit(m, 12);
    CHECK(m->run->cpu != 1 && m->run->gpr[0] == 2);
    advance(m);
    CHECK(set_online(1, 1));
    CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
    expect_exit(m, 12);
    CHECK(m->run->cpu == 1 && m->run->gpr[0] == 3);
}

static void unloading(struct machine *m)
{
    (void)m;
    CHECK(syscall(SYS_delete_module, "vmlib_vtx", O_NONBLOCK) < 0);
    CHECK(errno == EAGAIN || errno == EBUSY);
}

static const struct {
    const char *name;
    void (*run)(struct machine *);
} cases[] = {
    {"ports and HLT", ports_and_hlt},
    {"registers", registers},
    {"memory", memory},
    {"execution rights", execution},
    {"dirty bits", dirty},
    {"preemption timer", timer},
    {"single step", single_step},
    {"injection and window", inject},
    {"withdrawn event", withdrawn},
    {"kick", kick},
    {"vector registers", vectors},
    {"refused states", refused},
    {"register groups", groups},
    {"MSRs", passed_msrs},
    {"migration", migrate},
    {"switched registers", switched_registers},
    {"breakpoints", breakpoints},
    {"sudden death", sudden_death},
    {"unloading while in use", unloading},
    {"CPU hotplug", hotplug},
};

int main(void)
{
    struct machine m;
    char text[256];
    size_t i;
    int err = machine_open(&m);

    vtx_words_unavailable(&m.info, text, sizeof(text));
    printf("vtx: %s; basic %#llx EPT and VPID %#llx features %#llx\n", text,
           (unsigned long long)m.info.vmx_basic, (unsigned long long)m.info.ept_vpid_cap,
           (unsigned long long)m.info.features);
    if (err == -ENODEV && m.info.unavailable) { /* this processor cannot, and says why */
        CHECK(m.info.unavailable != VMLIB_VTX_OWNED && m.info.vms == 0);
        printf("ok refused\n");
        machine_close(&m);
        return 77;
    }
    if (err) {
        printf("machine_open: %s\n", strerror(-err));
        return 1;
    }
    if (!(m.info.features & VMLIB_VTX_F_UNRESTRICTED)) {
        CODE(&m, 0xf4);
        CHECK(machine_run(&m) == 0 && m.run->status == VMLIB_VTX_INVALID);
        CHECK(m.run->invalid == VMLIB_VTX_BAD_CONTROLS);
        printf("ok no unrestricted guest\n");
        machine_close(&m);
        return 77;
    }
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cases[i].run(&m);
        printf("ok %s\n", cases[i].name);
        fflush(stdout);
    }
    machine_close(&m);
    return 0;
}
