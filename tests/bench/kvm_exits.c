/*
 * What the library adds to KVM: exit round trips and the life of a VM, beside a program that makes
 * bare ioctls with the same guest in the same run.
 *
 *   kvm_exits [--smoke] [--rounds N] [--exits N]
 *
 * Rounds are interleaved and their order alternates, so that a busy machine slows both sides; the
 * figure is the median of the rounds' ratios. --smoke makes a few exits of each kind, compares how
 * many both sides saw, and times nothing.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <vmlib/vmlib.h>

#define RAM        0x10000u
#define CODE       0x1000u
#define PORT       0x42u
#define HOLE       0x20000u
#define MAX_ROUNDS 101u
#define SKIP       77

/* 16-bit code at CODE, for ever. DS is 0x2000: [0] is the first byte behind the memory. */
static const struct guest {
    const char *name;
    uint8_t code[8];
    bool
        returned; /* the library returns each record from run instead of calling a handler; the bare
                     program asks for the registers that tell what the record's header tells */
} guests[] = {
    {"OUT, handler", {0xe6, PORT, 0xeb, 0xfc}, false},
    {"IN, handler", {0xe4, PORT, 0xeb, 0xfc}, false},
    {"MMIO write, handler", {0xa2, 0x00, 0x00, 0xeb, 0xfb}, false},
    {"MMIO read, handler", {0xa0, 0x00, 0x00, 0xeb, 0xfb}, false},
    {"OUT, returned record", {0xe6, PORT, 0xeb, 0xfc}, true},
};
#define NGUESTS (sizeof(guests) / sizeof(guests[0]))

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, vmlib_last_error());
    exit(1);
}

/* --- bare ioctls --- */

struct bare {
    int kvm, vm, vcpu;
    struct kvm_run *run;
    size_t run_bytes;
    uint8_t *ram;
};

static void must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

/* What any program does: memory, the CPUID leaves that KVM supports, start registers. */
static void bare_open(struct bare *b, const struct guest *g)
{
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[128];
    } cpuid = {.head.nent = 128};
    b->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    must(b->kvm >= 0, "/dev/kvm");
    must(ioctl(b->kvm, KVM_GET_API_VERSION, 0) == 12, "KVM_GET_API_VERSION");
    b->vm = ioctl(b->kvm, KVM_CREATE_VM, 0);
    must(b->vm >= 0, "KVM_CREATE_VM");
    must(ioctl(b->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul) == 0, "KVM_SET_TSS_ADDR");
    b->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(b->ram != MAP_FAILED, "mmap");
    memcpy(b->ram + CODE, g->code, sizeof(g->code));
    struct kvm_userspace_memory_region region = {.memory_size = RAM,
                                                 .userspace_addr = (uintptr_t)b->ram};
    must(ioctl(b->vm, KVM_SET_USER_MEMORY_REGION, &region) == 0, "KVM_SET_USER_MEMORY_REGION");
    b->vcpu = ioctl(b->vm, KVM_CREATE_VCPU, 0);
    must(b->vcpu >= 0, "KVM_CREATE_VCPU");
    must(ioctl(b->kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) == 0, "KVM_GET_SUPPORTED_CPUID");
    must(ioctl(b->vcpu, KVM_SET_CPUID2, &cpuid) == 0, "KVM_SET_CPUID2");
    b->run_bytes = (size_t)ioctl(b->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    b->run = mmap(NULL, b->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->vcpu, 0);
    must(b->run != MAP_FAILED, "mmap of kvm_run");
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = CODE, .rflags = 2};
    must(ioctl(b->vcpu, KVM_GET_SREGS, &sregs) == 0, "KVM_GET_SREGS");
    sregs.cs.selector = 0;
    sregs.cs.base = 0;
    sregs.ds.selector = HOLE >> 4;
    sregs.ds.base = HOLE;
    must(ioctl(b->vcpu, KVM_SET_SREGS, &sregs) == 0, "KVM_SET_SREGS");
    must(ioctl(b->vcpu, KVM_SET_REGS, &regs) == 0, "KVM_SET_REGS");
}

static void bare_close(struct bare *b)
{
    munmap(b->run, b->run_bytes);
    close(b->vcpu);
    close(b->vm);
    close(b->kvm);
    munmap(b->ram, RAM);
}

static void bare_look(struct bare *b)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    must(ioctl(b->vcpu, KVM_GET_REGS, &regs) == 0, "KVM_GET_REGS");
    must(ioctl(b->vcpu, KVM_GET_SREGS, &sregs) == 0, "KVM_GET_SREGS");
}

static uint64_t bare_run(struct bare *b, const struct guest *g, uint64_t exits)
{
    uint64_t seen = 0;
    while (seen < exits) {
        must(ioctl(b->vcpu, KVM_RUN, 0) == 0, "KVM_RUN");
        if (g->returned)
            bare_look(b);
        switch (b->run->exit_reason) {
        case KVM_EXIT_IO:
            must(b->run->io.port == PORT, "port");
            if (b->run->io.direction == KVM_EXIT_IO_IN)
                ((uint8_t *)b->run)[b->run->io.data_offset] = 1;
            break;
        case KVM_EXIT_MMIO:
            must(b->run->mmio.phys_addr == HOLE, "address");
            if (!b->run->mmio.is_write)
                b->run->mmio.data[0] = 1;
            break;
        default:
            fprintf(stderr, "bare: exit reason %u\n", b->run->exit_reason);
            exit(1);
        }
        seen++;
    }
    return seen;
}

/* --- the library --- */

struct library {
    vmlib_vm *vm;
    vmlib_region *ram;
    vmlib_vcpu *vcpu;
    uint64_t seen, until;
};

static int answer(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct library *l = opaque;
    (void)vcpu;
    if (exit->reason == VMLIB_EXIT_PIO)
        exit->u.pio.value = 1;
    else
        exit->u.mmio.value = 1;
    return ++l->seen == l->until ? VMLIB_STOP : VMLIB_HANDLED;
}

static void library_handlers(struct library *l)
{
    struct vmlib_handler_config pio = VMLIB_HANDLER_CONFIG_INIT, mmio = VMLIB_HANDLER_CONFIG_INIT;
    pio.first = pio.last = PORT;
    mmio.kind = VMLIB_HANDLER_MMIO;
    mmio.first = mmio.last = HOLE;
    pio.fn = mmio.fn = answer;
    pio.opaque = mmio.opaque = l;
    if (vmlib_handler_add(l->vm, &pio, NULL) < 0 || vmlib_handler_add(l->vm, &mmio, NULL) < 0)
        die("handlers");
}

static void library_open(struct library *l, const struct guest *g)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;
    struct vmlib_state s;
    memset(l, 0, sizeof(*l));
    config.backends[0] = VMLIB_BACKEND_KVM;
    ram.bytes = RAM;
    s.size = sizeof(s);
    if (vmlib_vm_create(&config, &l->vm) < 0 || vmlib_region_create(l->vm, &ram, &l->ram) < 0 ||
        vmlib_vm_write(l->vm, CODE, g->code, sizeof(g->code)) < 0 ||
        vmlib_vcpu_create(l->vm, NULL, &l->vcpu) < 0 ||
        vmlib_vcpu_get_state(l->vcpu, VMLIB_STATE_SEGMENTS | VMLIB_STATE_GPR, &s) < 0)
        die("create");
    s.segments.cs.selector = 0;
    s.segments.cs.base = 0;
    s.segments.ds.selector = HOLE >> 4;
    s.segments.ds.base = HOLE;
    s.gpr.rip = CODE;
    if (vmlib_vcpu_set_state(l->vcpu, VMLIB_STATE_SEGMENTS | VMLIB_STATE_GPR, &s) < 0)
        die("start state");
    if (!g->returned)
        library_handlers(l);
}

static void library_close(struct library *l)
{
    vmlib_vcpu_unref(l->vcpu);
    vmlib_region_unref(l->ram);
    vmlib_vm_unref(l->vm);
}

static uint64_t library_run(struct library *l, const struct guest *g, uint64_t exits)
{
    struct vmlib_exit exit = {.size = sizeof(exit)};
    l->seen = 0;
    l->until = exits;
    while (l->seen < exits) {
        if (vmlib_vcpu_run(l->vcpu, NULL, &exit) < 0)
            die("run");
        if (g->returned && exit.reason == VMLIB_EXIT_PIO)
            l->seen++;
        else if (exit.reason != VMLIB_EXIT_STOPPED) {
            fprintf(stderr, "library: exit %s\n", vmlib_exit_name(exit.reason));
            abort();
        }
    }
    return l->seen;
}

/* --- both --- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof(*v), by_value);
    return v[n / 2];
}

struct result {
    double bare[MAX_ROUNDS], library[MAX_ROUNDS], ratio[MAX_ROUNDS];
};

static void print(const char *name, struct result *r, unsigned n, const char *unit, double scale)
{
    for (unsigned i = 0; i < n; i++)
        r->ratio[i] = r->library[i] / r->bare[i];
    double ratio = median(r->ratio, n), bare = median(r->bare, n), lib = median(r->library, n);
    printf("%-34s %9.2f %9.2f %s %7.3f   (%.3f to %.3f)\n", name, bare / scale, lib / scale, unit,
           ratio, r->ratio[n / 10], r->ratio[n - 1 - n / 10]);
}

static void exits(const struct guest *g, unsigned rounds, uint64_t n)
{
    static struct result r;
    struct bare b;
    struct library l;
    bare_open(&b, g);
    library_open(&l, g);
    bare_run(&b, g, n / 4 + 1);
    library_run(&l, g, n / 4 + 1);
    for (unsigned i = 0; i < rounds; i++)
        for (unsigned side = 0; side < 2; side++) {
            double start = now();
            if ((side ^ i) & 1) {
                library_run(&l, g, n);
                r.library[i] = (now() - start) / (double)n;
            } else {
                bare_run(&b, g, n);
                r.bare[i] = (now() - start) / (double)n;
            }
        }
    print(g->name, &r, rounds, "us", 1e3);
    bare_close(&b);
    library_close(&l);
}

static void bare_life(void)
{
    struct bare b;
    bare_open(&b, &guests[0]);
    bare_run(&b, &guests[0], 1);
    bare_close(&b);
}

static void library_life(void)
{
    struct library l;
    library_open(&l, &guests[0]);
    library_run(&l, &guests[0], 1);
    library_close(&l);
}

static void life(unsigned rounds)
{
    static struct result r;
    enum { TIMES = 5 };
    for (unsigned i = 0; i < rounds; i++)
        for (unsigned side = 0; side < 2; side++) {
            bool library = (side ^ i) & 1;
            double start = now();
            for (unsigned n = 0; n < TIMES; n++)
                library ? library_life() : bare_life();
            *(library ? &r.library[i] : &r.bare[i]) = (now() - start) / TIMES;
        }
    print("create, first exit, destroy", &r, rounds, "ms", 1e6);
}

static int smoke(void)
{
    for (unsigned i = 0; i < NGUESTS; i++) {
        struct bare b;
        struct library l;
        bare_open(&b, &guests[i]);
        library_open(&l, &guests[i]);
        uint64_t bare = bare_run(&b, &guests[i], 10), library = library_run(&l, &guests[i], 10);
        printf("%s: %llu and %llu exits\n", guests[i].name, (unsigned long long)bare,
               (unsigned long long)library);
        bare_close(&b);
        library_close(&l);
        if (bare != library)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    unsigned rounds = 31;
    uint64_t n = 500;
    struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;
    if (vmlib_backend_query(VMLIB_BACKEND_KVM, &info) < 0 || !info.available) {
        printf("SKIP: no KVM: %s\n", info.reason[0] ? info.reason : "not part of this build");
        return SKIP;
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--smoke") == 0)
            return smoke();
        if (i + 1 < argc && strcmp(argv[i], "--rounds") == 0)
            rounds = (unsigned)strtoul(argv[++i], NULL, 0);
        else if (i + 1 < argc && strcmp(argv[i], "--exits") == 0)
            n = strtoull(argv[++i], NULL, 0);
    }
    rounds = rounds < 1 ? 1 : rounds < MAX_ROUNDS ? rounds : MAX_ROUNDS;
    printf("%-34s %9s %9s    %7s   (%u rounds, interleaved)\n", "", "bare", "library", "ratio",
           rounds);
    for (unsigned i = 0; i < NGUESTS; i++)
        exits(&guests[i], rounds, n ? n : 1);
    life(rounds);
    return 0;
}
