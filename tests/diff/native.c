/*
 * The host's CPU as the reference.
 *
 * A child process raises one signal, and from then on lives in its handler: each return from it
 * loads the complete state of a case (sigreturn restores all registers, CS and SS included), the
 * instruction runs, and the fault on whatever stands behind it delivers the state after it. A case
 * costs one signal, about 3 microseconds, and needs no assembly: the kernel's signal frame is the
 * trampoline.
 */
#include <cpuid.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "diff.h"

#define XSTATE_BV 512 /* XSAVE image: header, SDM Vol.1 13.4.2 */
#define YMM_HIGH  576 /* standard format, CPUID.0DH.2:EBX */

static struct {
    const struct diff_case *cases;
    struct diff_result *results;
    unsigned n;
    volatile unsigned *at; /* shared with the parent: the case that runs */
    bool running;
    uint64_t fs_base; /* glibc's */
} run;

static uint64_t read_fs_base(void)
{
    uint64_t v;
    __asm__ volatile("rdfsbase %0" : "=r"(v));
    return v;
}
static uint64_t read_gs_base(void)
{
    uint64_t v;
    __asm__ volatile("rdgsbase %0" : "=r"(v));
    return v;
}

/* Everything below until on_signal() may run with the case's FS base: no thread-local data, no
 * stack protector. */

static void load_segments(const struct diff_case *c)
{
    const struct diff_segment *s = diff_segments(c->mode);
    __asm__ volatile("mov %0, %%es" ::"r"((uint32_t)s[X86_ES].sel));
    __asm__ volatile("mov %0, %%ds" ::"r"((uint32_t)s[X86_DS].sel));
    __asm__ volatile("mov %0, %%fs" ::"r"((uint32_t)s[X86_FS].sel));
    __asm__ volatile("mov %0, %%gs" ::"r"((uint32_t)s[X86_GS].sel));
    if (c->mode == DIFF_64) {
        __asm__ volatile("wrfsbase %0" ::"r"(c->in.fs_base));
        __asm__ volatile("wrgsbase %0" ::"r"(c->in.gs_base));
    }
}

static const uint8_t greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                    REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                    REG_R12, REG_R13, REG_R14, REG_R15};

static void load_vectors(uint8_t *img, const struct diff_state *in)
{
    uint64_t bv = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX;
    uint16_t tag = in->tag;
    memcpy(img, &in->cw, 2);
    memcpy(img + 2, &in->sw, 2);
    memcpy(img + 4, &tag, 2);
    memset(img + 6, 0, 18); /* FOP, FIP, FDP */
    memcpy(img + 24, &in->mxcsr, 4);
    for (unsigned i = 0; i < 8; i++)
        memcpy(img + 32 + 16 * i, &in->st[i], 10);
    for (unsigned i = 0; i < 16; i++) {
        memcpy(img + 160 + 16 * i, in->v[i].b, 16);
        memcpy(img + YMM_HIGH + 16 * i, in->v[i].b + 16, 16);
    }
    memcpy(img + XSTATE_BV, &bv, 8);
}

static void save_vectors(const uint8_t *img, struct diff_state *out)
{
    uint64_t bv;
    memcpy(&bv, img + XSTATE_BV, 8);
    memset(out->v, 0, sizeof(out->v));
    memset(out->st, 0, sizeof(out->st));
    out->cw = 0x37f;
    out->sw = 0;
    out->tag = 0;
    memcpy(&out->mxcsr, img + 24, 4);
    if (bv & X86_XCR0_X87) {
        memcpy(&out->cw, img, 2);
        memcpy(&out->sw, img + 2, 2);
        out->tag = img[4];
        for (unsigned i = 0; i < 8; i++)
            memcpy(&out->st[i], img + 32 + 16 * i, 10);
    }
    for (unsigned i = 0; i < 16; i++) {
        if (bv & X86_XCR0_SSE)
            memcpy(out->v[i].b, img + 160 + 16 * i, 16);
        if (bv & X86_XCR0_AVX)
            memcpy(out->v[i].b + 16, img + YMM_HIGH + 16 * i, 16);
    }
}

static void load_memory(const struct diff_case *c)
{
    uint8_t *data = (uint8_t *)(uintptr_t)DIFF_DATA, *code = (uint8_t *)(uintptr_t)DIFF_CODE;
    memcpy(data, diff_background, DIFF_DATA_SIZE);
    for (unsigned i = 0; i < c->npatches; i++)
        memcpy((uint8_t *)(uintptr_t)c->patch[i].addr, c->patch[i].bytes, DIFF_PATCH_BYTES);
    memset(code, 0xcc, DIFF_CODE_SIZE);
    uint64_t lin = c->in.rip + diff_seg_base(c, X86_CS);
    memcpy((uint8_t *)(uintptr_t)lin, c->bytes, c->length);
}

static void load_case(ucontext_t *uc, const struct diff_case *c)
{
    greg_t *g = uc->uc_mcontext.gregs;
    const struct diff_segment *s = diff_segments(c->mode);
    load_memory(c);
    for (unsigned i = 0; i < 16; i++)
        g[greg_of[i]] = (greg_t)c->in.gpr[i];
    g[REG_RIP] = (greg_t)c->in.rip;
    g[REG_EFL] = (greg_t)c->in.flags;
    g[REG_CSGSFS] = (greg_t)((uint64_t)s[X86_SS].sel << 48 | s[X86_CS].sel);
    load_vectors((uint8_t *)uc->uc_mcontext.fpregs, &c->in);
    load_segments(c);
}

static void save_case(const ucontext_t *uc, const struct diff_case *c, struct diff_result *r,
                      uint64_t fs, uint64_t gs)
{
    const greg_t *g = uc->uc_mcontext.gregs;
    for (unsigned i = 0; i < 16; i++)
        r->out.gpr[i] = (uint64_t)g[greg_of[i]];
    r->out.rip = (uint64_t)g[REG_RIP];
    r->out.flags = (uint32_t)g[REG_EFL];
    r->out.fs_base = fs;
    r->out.gs_base = gs;
    save_vectors((const uint8_t *)uc->uc_mcontext.fpregs, &r->out);
    memcpy(r->data, (const uint8_t *)(uintptr_t)DIFF_DATA, DIFF_DATA_SIZE);
    r->vector = (int32_t)g[REG_TRAPNO];
    r->error = (uint64_t)g[REG_ERR];
    r->cr2 = (uint64_t)g[REG_CR2];
    /* The trap behind the instruction, not one of its own: an INT3 of the filling, or no code at
     * all. */
    bool moved = r->out.rip != c->in.rip;
    if (moved && r->vector == X86_BP)
        r->out.rip--;
    if (moved)
        r->vector = DIFF_NO_FAULT;
    r->done = true;
}

static void on_signal(int sig, siginfo_t *si, void *p)
{
    /* AC, ID and NT are not the kernel's to clear. */
    __asm__ volatile("pushq $0x202; popfq" ::: "cc", "memory");
    uint64_t fs = read_fs_base(), gs = read_gs_base();
    ucontext_t *uc = p;
    (void)sig;
    (void)si;
    __asm__ volatile("wrfsbase %0" ::"r"(run.fs_base));
    unsigned i = *run.at;
    if (run.running) {
        save_case(uc, &run.cases[i], &run.results[i], fs, gs);
        *run.at = ++i;
    }
    if (i == run.n)
        _exit(0);
    run.running = true;
    load_case(uc, &run.cases[i]);
}

static bool map_window(void)
{
    uint8_t *data = (uint8_t *)(uintptr_t)DIFF_DATA, *code = (uint8_t *)(uintptr_t)DIFF_CODE;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (mmap(data, DIFF_DATA_SIZE + 0x1000, PROT_READ | PROT_WRITE, flags, -1, 0) != data)
        return false;
    if (mmap(code, DIFF_CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0) != code)
        return false;
    memcpy(data, diff_background,
           DIFF_DATA_SIZE + 0x1000); /* present: no fault that the kernel would hide */
    memset(code, 0xcc, DIFF_CODE_SIZE);
    return mprotect((uint8_t *)(uintptr_t)DIFF_RO, 0x1000, PROT_READ) == 0;
}

static _Noreturn void child(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    static uint8_t stack[1 << 16];
    stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct sigaction sa = {.sa_sigaction = on_signal,
                           .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    if (!map_window() || sigaltstack(&ss, NULL) != 0)
        _exit(2);
    for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaction(signals[i], &sa, NULL);
    alarm(60); /* an instruction that does not end */
    run.fs_base = read_fs_base();
    __asm__ volatile("int3");
    _exit(3);
}

void *diff_shared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

bool diff_native(const struct diff_case *c, struct diff_result *r, unsigned n)
{
    static volatile unsigned *at;
    if (!at)
        at = diff_shared(4096);
    if (!at)
        return false;
    run.cases = c;
    run.results = r;
    run.n = n;
    run.at = at;
    *at = 0;
    for (unsigned i = 0; i < n; i++)
        r[i].done = false;
    while (*at < n) {
        fflush(NULL);
        pid_t pid = fork();
        int status;
        if (pid == 0)
            child();
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            return false;
        if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
            return false;
        if (*at < n) /* the case killed the child: leave it undone, go on behind it */
            ++*at;
    }
    return true;
}
