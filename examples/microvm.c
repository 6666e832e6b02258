/*
 * A small PC on the terminal: loads a kernel of any known kind, gives it memory, processors, a
 * serial console, an optional disk, and runs it. Try: microvm --help
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <vmlib/boot.h>
#include <vmlib/devices/machine.h>
#include <vmlib/pick.h>
#include <vmlib/handoff.h>
#include <vmlib/vmlib.h>

#define QUIT_KEY 0x1d /* Ctrl-] */

/* Exit status. Odd ones are the guest's: (value written to the debug-exit port << 1) | 1. */
enum status {
    STATUS_POWER_OFF = 0,
    STATUS_USAGE = 2,    /* wrong options, or a file that cannot be loaded */
    STATUS_SHUTDOWN = 4, /* triple fault */
    STATUS_TIMEOUT = 6,
    STATUS_QUIT = 8,     /* the user's key */
    STATUS_RESET = 10,   /* the guest asked for a reset */
    STATUS_INTERNAL = 12 /* the library failed, or returned what this program does not expect */
};

static const char usage[] =
    "Usage: microvm --kernel FILE [OPTION...]\n"
    "  --kernel FILE         Linux bzImage, ELF, multiboot or PVH kernel, or boot sector\n"
    "  --flat ADDRESS        the kernel is raw code for this address (real mode below 1 MiB)\n"
    "  --initrd FILE         initial file system\n"
    "  --append TEXT         kernel command line\n"
    "  --module \"FILE ARGS\"  multiboot or PVH module (repeatable)\n"
    "  --memory SIZE         guest memory: bytes, or with suffix K, M, G (default 256M)\n"
    "  --cpus N              number of virtual CPUs (default 1)\n"
    "  --disk FILE[:ro|:cow] virtio disk; read-only, or with guest writes discarded at the end\n"
    "  --backend NAME        auto (the fastest), vtx, kvm, soft (default: $VMLIB_BACKEND, else "
    "auto)\n"
    "  --hop N[,BACKEND]     after every N exits, move to a second virtual machine, or back\n"
    "  --timeout SECONDS     give up after this time\n"
    "  --stats               at the end, print instructions and exits by reason\n"
    "Ctrl-] quits. Exit status: 0 power-off, (value << 1) | 1 debug exit (port 0xf4), 2 usage,\n"
    "4 guest shutdown (triple fault), 6 timeout, 8 quit, 10 reset, 12 internal error.\n";

#define MAX_MODULES 16

struct options {
    const char *kernel, *initrd, *append, *disk, *backend, *hop;
    const char *module[MAX_MODULES];
    unsigned modules;
    bool stats;
    uint64_t memory, cpus, timeout; /* timeout in seconds */
    uint64_t flat;                  /* load address; UINT64_MAX: no flat binary */
};

/* For calls of both libraries: their own texts name the argument and the reason. */
static void check(int error, enum status status, const char *what)
{
    const char *detail = vmlib_devices_last_error();

    if (error < 0)
        errx(status, "%s: %s (%s)", what, *detail ? detail : vmlib_last_error(),
             vmlib_strerror(error));
}

/* An unsigned number with an optional suffix K, M or G, from `least` to `most`. */
static uint64_t number(const char *option, const char *text, uint64_t least, uint64_t most)
{
    static const char suffix[] = "KMG";
    char *end;
    unsigned shift = 0;
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 0);
    if (end != text && *end && strchr(suffix, *end))
        shift = 10 * (unsigned)(strchr(suffix, *end++) - suffix + 1);
    if (errno || end == text || *end || strchr(text, '-') || value > most >> shift ||
        value << shift < least)
        errx(STATUS_USAGE, "--%s: '%s' is not a number from %" PRIu64 " to %" PRIu64, option, text,
             least, most);
    return value << shift;
}

static struct options parse(int argc, char **argv)
{
    struct options o = {.memory = 256 << 20, .cpus = 1, .flat = UINT64_MAX};
    const struct {
        const char *name;
        const char **text; /* or: */
        uint64_t *number, least, most;
    } rules[] = {
        {"kernel", &o.kernel, NULL, 0, 0},
        {"initrd", &o.initrd, NULL, 0, 0},
        {"append", &o.append, NULL, 0, 0},
        {"disk", &o.disk, NULL, 0, 0},
        {"backend", &o.backend, NULL, 0, 0},
        {"hop", &o.hop, NULL, 0, 0},
        {"memory", NULL, &o.memory, 1 << 20, UINT64_C(1) << 38},
        {"cpus", NULL, &o.cpus, 1, VMLIB_MAX_VCPUS},
        {"timeout", NULL, &o.timeout, 1, 1000000000},
        {"flat", NULL, &o.flat, 0, UINT32_MAX},
    };
    enum { RULES = sizeof(rules) / sizeof(rules[0]), MODULE = RULES, STATS, HELP };
    struct option table[RULES + 4] = {[MODULE] = {"module", required_argument, NULL, MODULE},
                                      [STATS] = {"stats", no_argument, NULL, STATS},
                                      [HELP] = {"help", no_argument, NULL, HELP}};

    for (int i = 0; i < RULES; i++)
        table[i] = (struct option){rules[i].name, required_argument, NULL, i};
    o.backend = getenv("VMLIB_BACKEND");
    for (int key; (key = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        if (key == '?') /* getopt has said what is wrong */
            errx(STATUS_USAGE, "try --help");
        if (key == HELP) {
            fputs(usage, stdout);
            exit(STATUS_POWER_OFF);
        } else if (key == STATS) {
            o.stats = true;
        } else if (key == MODULE && o.modules < MAX_MODULES) {
            o.module[o.modules++] = optarg;
        } else if (key == MODULE) {
            errx(STATUS_USAGE, "--module: at most %d", MAX_MODULES);
        } else if (rules[key].text) {
            *rules[key].text = optarg;
        } else {
            *rules[key].number = number(rules[key].name, optarg, rules[key].least, rules[key].most);
        }
    }
    if (optind < argc)
        errx(STATUS_USAGE, "'%s' is not an option; try --help", argv[optind]);
    if (!o.kernel)
        errx(STATUS_USAGE, "--kernel is missing; try --help");
    if (o.hop && o.cpus > 1)
        errx(STATUS_USAGE, "--hop: with one virtual CPU only");
    o.memory &= ~(uint64_t)(VMLIB_PAGE_SIZE - 1);
    return o;
}

static vmlib_machine *machine;
static int ended[2]; /* a pipe: vCPU threads tell the console loop that the machine has ended */

static atomic_int caught;   /* signal number */
static atomic_bool quit;    /* the key */
static uint64_t timeout_at; /* seconds of the monotonic clock; 0: never */

static uint64_t clock_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

/* Whoever reads standard output may have stopped reading. A write that blocks would hold the
 * machine's lock, and with it the timeout and the end. */
static bool wait_for_output(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

    for (;;) {
        bool over = caught || quit || (timeout_at && clock_seconds() > timeout_at);

        if (poll(&out, 1, over ? 0 : 100) > 0)
            return true;
        if (over)
            return false;
    }
}

static void serial_output(void *opaque, const void *data, size_t bytes)
{
    (void)opaque;
    for (const char *p = data; bytes > 0;) {
        ssize_t n;

        if (!wait_for_output())
            return;
        n = write(STDOUT_FILENO, p, bytes < PIPE_BUF ? bytes : PIPE_BUF); /* does not block */
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return; /* nobody reads any more: the guest goes on without its console */
        if (n > 0) {
            p += n;
            bytes -= (size_t)n;
        }
    }
}

/* A backend asked for by name is that one or an error. */
static uint32_t choose_backend(const char *name, const char *option)
{
    uint32_t backend = VMLIB_BACKEND_NONE;
    char why[512];

    if (name && strcmp(name, "auto") != 0) {
        if (vmlib_backend_by_name(name, &backend) < 0)
            errx(STATUS_USAGE, "%s: this build has no backend '%s'", option, name);
        return backend;
    }
    if (vmlib_backend_pick(0, &backend, why, sizeof(why)) < 0)
        errx(STATUS_USAGE, "%s auto: %s", option, why);
    fprintf(stderr, "microvm: backend %s\r\n", why);
    return backend;
}

static vmlib_vm *create_vm(const char *backend, const char *option, uint32_t tsc_khz)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    vmlib_vm *vm;

    config.backends[0] = choose_backend(backend, option);
    config.tsc_khz = tsc_khz;
    config.required = 1u << VMLIB_FEATURE_GUEST_CODE;
    check(vmlib_vm_create(&config, &vm), STATUS_USAGE, "cannot create the virtual machine");
    return vm;
}

static void add_disk(const char *option)
{
    struct vmlib_disk_config disk = VMLIB_DISK_CONFIG_INIT;
    char *path = strdup(option), *colon;

    if (!path)
        errx(STATUS_INTERNAL, "out of memory");
    colon = strrchr(path, ':');
    if (colon && strcmp(colon, ":ro") == 0)
        disk.flags = VMLIB_DISK_READ_ONLY;
    else if (colon && strcmp(colon, ":cow") == 0)
        disk.flags = VMLIB_DISK_OVERLAY;
    if (disk.flags)
        *colon = '\0';
    disk.path = path;
    check(vmlib_machine_add_disk(machine, &disk), STATUS_USAGE, "--disk");
    free(path);
}

/* "FILE ARGS": the module's command line is the whole text, as boot loaders have it. */
static void open_module(const char *text, struct vmlib_boot_module *module,
                        struct vmlib_boot_file *file)
{
    char *path = strndup(text, strcspn(text, " "));

    if (!path)
        errx(STATUS_INTERNAL, "out of memory");
    check(vmlib_boot_file_open(path, file), STATUS_USAGE, "--module");
    module->data = file->data;
    module->bytes = file->bytes;
    module->cmdline = text;
    free(path);
}

static void boot(const struct options *o)
{
    struct vmlib_boot_params params = VMLIB_BOOT_PARAMS_INIT;
    struct vmlib_boot_module module[MAX_MODULES];
    struct vmlib_boot_file kernel, initrd = {0}, file[MAX_MODULES];

    check(vmlib_boot_file_open(o->kernel, &kernel), STATUS_USAGE, "--kernel");
    params.kernel = kernel.data;
    params.kernel_bytes = kernel.bytes;
    if (o->flat != UINT64_MAX) {
        params.format = VMLIB_BOOT_FLAT;
        params.load_address = o->flat;
    }
    if (o->initrd) {
        check(vmlib_boot_file_open(o->initrd, &initrd), STATUS_USAGE, "--initrd");
        params.initrd = initrd.data;
        params.initrd_bytes = initrd.bytes;
    }
    for (unsigned i = 0; i < o->modules; i++)
        open_module(o->module[i], &module[i], &file[i]);
    params.modules = o->modules ? module : NULL;
    params.module_count = o->modules;
    params.cmdline = o->append;
    check(vmlib_machine_boot(machine, &params, NULL), STATUS_USAGE, "cannot load the kernel");

    vmlib_boot_file_close(&kernel);
    vmlib_boot_file_close(&initrd);
    for (unsigned i = 0; i < o->modules; i++)
        vmlib_boot_file_close(&file[i]);
}

/* The other machine of --hop. */
static struct {
    uint64_t exits; /* from one move to the next; 0: none */
    vmlib_vm *vm[2];
    uint64_t moves;
} hop;

/* N[,BACKEND] */
static void parse_hop(const struct options *o, const char **backend)
{
    char *count = strdup(o->hop);

    if (!count)
        errx(STATUS_INTERNAL, "out of memory");
    *backend = strchr(o->hop, ',') ? strchr(o->hop, ',') + 1 : o->backend;
    count[strcspn(count, ",")] = '\0';
    hop.exits = number("hop", count, 1, UINT64_C(1) << 40);
    free(count);
}

/* A virtual CPU as a backend makes it by itself. */
static vmlib_vcpu *natural_cpu(const char *backend, const char *option)
{
    vmlib_vm *vm = create_vm(backend, option, 0);
    vmlib_vcpu *vcpu;

    check(vmlib_vcpu_create(vm, NULL, &vcpu), STATUS_USAGE, option);
    vmlib_vm_unref(vm); /* the vCPU keeps it */
    return vcpu;
}

/* Both virtual machines of --hop, with the CPU features that both have and one frequency of the
 * time-stamp counter: software takes any, hardware has its own. */
static void create_hop(const struct options *o)
{
    struct vmlib_cpuid_leaf model[VMLIB_CPUID_MAX];
    uint32_t count = VMLIB_CPUID_MAX, khz[2];
    const char *backend;
    vmlib_vcpu *vcpu[2];
    bool soft;

    parse_hop(o, &backend);
    vcpu[0] = natural_cpu(o->backend, "--backend");
    vcpu[1] = natural_cpu(backend, "--hop");
    check(vmlib_handoff_cpuid(vcpu[0], vcpu[1], model, &count), STATUS_USAGE, "--hop");
    for (unsigned i = 0; i < 2; i++)
        khz[i] = vmlib_vm_tsc_khz(vmlib_vcpu_vm(vcpu[i]));
    soft = vmlib_vm_backend(vmlib_vcpu_vm(vcpu[0])) == VMLIB_BACKEND_SOFT;
    vmlib_vcpu_unref(vcpu[0]);
    vmlib_vcpu_unref(vcpu[1]);
    hop.vm[0] = create_vm(o->backend, "--backend", khz[soft ? 1 : 0]);
    hop.vm[1] = create_vm(backend, "--hop", khz[soft ? 1 : 0]);
    check(vmlib_vm_set_cpuid(hop.vm[0], model, count), STATUS_USAGE, "--hop");
}

/* Until the machine ends. */
static void run_hopping(vmlib_vcpu *vcpu)
{
    struct vmlib_exit exit = VMLIB_EXIT_INIT;
    uint64_t left = hop.exits;

    do {
        if (left-- == 0) {
            left = hop.exits - 1;
            check(vmlib_machine_move(machine, hop.vm[++hop.moves & 1]), STATUS_INTERNAL, "--hop");
        }
        check(vmlib_machine_step(machine, vcpu, 0, &exit), STATUS_INTERNAL, "run");
    } while (exit.reason != VMLIB_EXIT_NONE);
}

struct cpu {
    vmlib_vcpu *vcpu;
    pthread_t thread;
    struct vmlib_machine_result result;
};

static void *run_cpu(void *opaque)
{
    struct cpu *cpu = opaque;
    int error;

    if (hop.exits)
        run_hopping(cpu->vcpu);
    error = vmlib_machine_run_vcpu(machine, cpu->vcpu, &cpu->result);
    if (error < 0) /* only for wrong arguments */
        errx(STATUS_INTERNAL, "%s", vmlib_devices_last_error());
    if (write(ended[1], "", 1) != 1)
        abort(); /* cannot happen: the pipe has room for a byte from each vCPU */
    return NULL;
}

static struct termios cooked;

static void restore_terminal(void)
{
    tcsetattr(STDIN_FILENO, TCSANOW, &cooked);
}

static bool raw_terminal(void)
{
    struct termios raw;

    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &cooked) < 0)
        return false;
    raw = cooked;
    cfmakeraw(&raw);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    atexit(restore_terminal);
    return true;
}

static void on_signal(int number)
{
    caught = number;
    vmlib_machine_stop(machine);
}

/* Carries keys to the guest until the machine ends. */
static void console_loop(bool terminal)
{
    struct pollfd fds[2] = {{.fd = ended[0], .events = POLLIN},
                            {.fd = STDIN_FILENO, .events = POLLIN}};
    char keys[256];
    size_t count = 0, taken;

    while (!(poll(fds, 2, count ? 5 : -1) > 0 && fds[0].revents)) {
        if (!count && fds[1].revents) {
            ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

            count = n > 0 ? (size_t)n : 0;
            if (n <= 0)
                fds[1].fd = -1; /* end of input */
            if (terminal && memchr(keys, QUIT_KEY, count)) {
                quit = true;
                vmlib_machine_stop(machine);
            }
        }
        if (count && vmlib_machine_serial_input(machine, keys, count, &taken) == 0) {
            memmove(keys, keys + taken, count - taken);
            count -= taken;
        }
        fds[1].events = count ? 0 : POLLIN; /* what the guest has not taken is offered again */
    }
}

static void print_stats(vmlib_vm *vm)
{
    struct vmlib_machine_stats stats = VMLIB_MACHINE_STATS_INIT;
    uint64_t ns = 1;

    check(vmlib_vm_clock(vm, &ns), STATUS_INTERNAL, "--stats");
    check(vmlib_machine_stats(machine, &stats), STATUS_INTERNAL, "--stats");
    fprintf(stderr, "microvm: %.3f s, %" PRIu64 " instructions, %.1f MIPS\n", (double)ns / 1e9,
            stats.instructions, (double)stats.instructions * 1e3 / (double)ns);
    fprintf(stderr,
            "microvm: port accesses %" PRIu64 ", memory-mapped %" PRIu64 ", MSR %" PRIu64
            ", interrupts %" PRIu64 ", unclaimed %" PRIu64 "\n",
            stats.pio, stats.mmio, stats.msr, stats.interrupts, stats.unclaimed);
    fprintf(stderr, "microvm: exits:");
    for (uint32_t i = 0; i < VMLIB_EXIT_COUNT; i++)
        if (stats.exits[i])
            fprintf(stderr, " %s %" PRIu64, vmlib_exit_name(i), stats.exits[i]);
    fputc('\n', stderr);
    if (hop.exits)
        fprintf(stderr, "microvm: moved %" PRIu64 " times\n", hop.moves);
}

static int exit_status(const struct vmlib_machine_result *result)
{
    static const enum status status[] = {
        [0] = STATUS_INTERNAL,
        [VMLIB_MACHINE_POWER_OFF] = STATUS_POWER_OFF,
        [VMLIB_MACHINE_RESET] = STATUS_RESET,
        [VMLIB_MACHINE_SHUTDOWN] = STATUS_SHUTDOWN,
        [VMLIB_MACHINE_TIMEOUT] = STATUS_TIMEOUT,
        [VMLIB_MACHINE_STOPPED] = STATUS_QUIT,
        [VMLIB_MACHINE_EXIT] = STATUS_INTERNAL,
        [VMLIB_MACHINE_ERROR] = STATUS_INTERNAL,
    };

    if (result->end == VMLIB_MACHINE_DEBUG_EXIT)
        return (int)(result->value << 1 | 1) & 0xff;
    if (caught)
        fprintf(stderr, "microvm: signal %d\n", (int)caught);
    else if (result->end != VMLIB_MACHINE_POWER_OFF)
        fprintf(stderr, "microvm: %s\n", result->text);
    return (int)status[result->end];
}

int main(int argc, char **argv)
{
    const struct options o = parse(argc, argv);
    struct vmlib_machine_config config = VMLIB_MACHINE_CONFIG_INIT;
    struct cpu cpu[VMLIB_MAX_VCPUS];
    vmlib_vm *vm;
    int status;

    if (o.hop)
        create_hop(&o);
    vm = o.hop ? hop.vm[0] : create_vm(o.backend, "--backend", 0);

    config.serial = serial_output;
    timeout_at = o.timeout ? clock_seconds() + o.timeout : 0;
    config.timeout_ns = o.timeout * UINT64_C(1000000000);
    check(vmlib_machine_create(vm, &config, &machine), STATUS_INTERNAL,
          "cannot create the machine");
    check(vmlib_machine_add_ram(machine, o.memory), STATUS_USAGE, "--memory");
    if (o.disk)
        add_disk(o.disk);
    check(vmlib_machine_add_rng(machine, 0), STATUS_INTERNAL, "random numbers");
    for (unsigned i = 0; i < o.cpus; i++) {
        cpu[i].result = (struct vmlib_machine_result)VMLIB_MACHINE_RESULT_INIT;
        check(vmlib_machine_add_vcpu(machine, &cpu[i].vcpu), STATUS_USAGE, "--cpus");
    }
    boot(&o);
    if (o.hop)
        check(vmlib_machine_attach(machine, hop.vm[1]), STATUS_USAGE, "--hop");

    if (pipe(ended) < 0)
        err(STATUS_INTERNAL, "pipe");
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    signal(SIGHUP, on_signal);
    signal(SIGPIPE, SIG_IGN);
    for (unsigned i = 0; i < o.cpus; i++)
        if (pthread_create(&cpu[i].thread, NULL, run_cpu, &cpu[i]) != 0)
            errx(STATUS_INTERNAL, "no thread for vCPU %u", i);
    console_loop(raw_terminal());
    for (unsigned i = 0; i < o.cpus; i++)
        pthread_join(cpu[i].thread, NULL);

    if (isatty(STDIN_FILENO))
        fputs("\r\n", stderr);
    if (o.stats)
        print_stats(vm);
    status = exit_status(&cpu[0].result);
    vmlib_machine_destroy(machine);
    for (unsigned i = 0; i < o.cpus; i++)
        vmlib_vcpu_unref(cpu[i].vcpu);
    vmlib_vm_unref(hop.vm[1]);
    vmlib_vm_unref(vm);
    return status;
}
