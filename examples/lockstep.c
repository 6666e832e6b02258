/*
 * Two backends side by side: loads a kernel or a flat image into two virtual machines, runs both in
 * lockstep and prints the first difference. Try: lockstep --help
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmlib/boot.h>
#include <vmlib/devices/machine.h>
#include <vmlib/lockstep.h>

enum status { STATUS_EQUAL, STATUS_DIFFERENT, STATUS_FAILED };

static const char usage[] =
    "Usage: lockstep --kernel FILE [OPTION...]\n"
    "  --kernel FILE    Linux bzImage, ELF, multiboot or PVH kernel, or boot sector\n"
    "  --flat ADDRESS   the kernel is raw code for this address\n"
    "  --a NAME, --b NAME   the backends (default soft)\n"
    "  --grain exit|insn    compare at exits (and find the instruction), or after each "
    "instruction\n"
    "  --interval N     compare registers and memory every N exits (default 16)\n"
    "  --slice N        ... and after N instructions, where both backends count exactly\n"
    "  --limit N        stop after N exits or steps\n"
    "  --memory SIZE    in bytes, or with suffix K, M, G (default 16M; with --machine 256M)\n"
    "  --machine        a PC on each side, in deterministic time (both backends must have it)\n"
    "  --initrd FILE, --append TEXT   for the kernel\n"
    "Without --machine the guest has a serial port (3f8, output only) and the debug-exit port f4;\n"
    "everything else reads as ones. Exit status: 0 no difference, 1 a difference, 2 failed.\n";

struct options {
    const char *kernel, *initrd, *append, *backend[2], *grain;
    uint64_t memory, flat, interval, slice, limit;
    bool machine;
};

static struct options o = {
    .backend = {"soft", "soft"}, .grain = "exit", .flat = UINT64_MAX, .interval = 16};

/* For calls of both libraries: their own texts name the argument and the reason. */
static void check(int error, const char *what)
{
    const char *detail = vmlib_devices_last_error();

    if (error < 0)
        errx(STATUS_FAILED, "%s: %s (%s)", what, *detail ? detail : vmlib_last_error(),
             vmlib_strerror(error));
}

static uint64_t number(const char *option, const char *text)
{
    static const char suffix[] = "KMG";
    char *end;
    unsigned shift = 0;
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 0);
    if (end != text && *end && strchr(suffix, *end))
        shift = 10 * (unsigned)(strchr(suffix, *end++) - suffix + 1);
    if (errno || end == text || *end || strchr(text, '-') || value > UINT64_MAX >> shift)
        errx(STATUS_FAILED, "--%s: '%s' is not a number", option, text);
    return value << shift;
}

static void parse(int argc, char **argv)
{
    const struct {
        const char *name, **text;
        uint64_t *value;
    } rules[] = {
        {"kernel", &o.kernel, NULL}, {"initrd", &o.initrd, NULL}, {"append", &o.append, NULL},
        {"a", &o.backend[0], NULL},  {"b", &o.backend[1], NULL},  {"grain", &o.grain, NULL},
        {"memory", NULL, &o.memory}, {"flat", NULL, &o.flat},     {"interval", NULL, &o.interval},
        {"slice", NULL, &o.slice},   {"limit", NULL, &o.limit},
    };
    enum { RULES = sizeof(rules) / sizeof(rules[0]), MACHINE = RULES, HELP };
    struct option table[RULES + 3] = {[MACHINE] = {"machine", no_argument, NULL, MACHINE},
                                      [HELP] = {"help", no_argument, NULL, HELP}};

    for (int i = 0; i < RULES; i++)
        table[i] = (struct option){rules[i].name, required_argument, NULL, i};
    for (int key; (key = getopt_long_only(argc, argv, "", table, NULL)) != -1;) {
        if (key == '?')
            errx(STATUS_FAILED, "try --help");
        if (key == HELP) {
            fputs(usage, stdout);
            exit(STATUS_EQUAL);
        } else if (key == MACHINE) {
            o.machine = true;
        } else if (rules[key].text) {
            *rules[key].text = optarg;
        } else {
            *rules[key].value = number(rules[key].name, optarg);
        }
    }
    if (optind < argc || !o.kernel)
        errx(STATUS_FAILED, "%s; try --help", o.kernel ? "stray argument" : "--kernel is missing");
    if (strcmp(o.grain, "exit") != 0 && strcmp(o.grain, "insn") != 0)
        errx(STATUS_FAILED, "--grain: exit or insn");
    if (!o.memory)
        o.memory = o.machine ? 256 << 20 : 16 << 20;
    o.memory &= ~(uint64_t)(VMLIB_PAGE_SIZE - 1);
}

/* One of the two virtual machines. */
struct side {
    vmlib_vm *vm;
    vmlib_vcpu *vcpu;
    vmlib_machine *machine;
};

static struct side side[2];
static uint64_t printed; /* bytes of the guest's output: a second pass does not repeat them */
static uint64_t sent;

static void output(void *opaque, const void *data, size_t bytes)
{
    (void)opaque;
    for (size_t i = 0; i < bytes; i++)
        if (++sent > printed) {
            putchar(((const char *)data)[i]);
            printed = sent;
        }
}

static void create_vm(unsigned i)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;

    if (vmlib_backend_by_name(o.backend[i], &config.backends[0]) < 0)
        errx(STATUS_FAILED, "--%c: this build has no backend '%s'", 'a' + (int)i, o.backend[i]);
    config.required = 1u << VMLIB_FEATURE_GUEST_CODE;
    if (o.machine) {
        config.time_mode = VMLIB_TIME_DETERMINISTIC;
        config.required |= 1u << VMLIB_FEATURE_DETERMINISTIC;
        config.seed = 1;
    }
    check(vmlib_vm_create(&config, &side[i].vm), "cannot create the virtual machine");
}

static void load(unsigned i)
{
    struct vmlib_boot_params params = VMLIB_BOOT_PARAMS_INIT;
    struct vmlib_boot_file kernel, initrd = {0};

    check(vmlib_boot_file_open(o.kernel, &kernel), "--kernel");
    params.kernel = kernel.data;
    params.kernel_bytes = kernel.bytes;
    params.cmdline = o.append;
    if (o.flat != UINT64_MAX) {
        params.format = VMLIB_BOOT_FLAT;
        params.load_address = o.flat;
    }
    if (o.initrd) {
        check(vmlib_boot_file_open(o.initrd, &initrd), "--initrd");
        params.initrd = initrd.data;
        params.initrd_bytes = initrd.bytes;
    }
    check(o.machine ? vmlib_machine_boot(side[i].machine, &params, NULL)
                    : vmlib_boot_load(side[i].vm, side[i].vcpu, &params, NULL),
          "cannot load the kernel");
    vmlib_boot_file_close(&kernel);
    vmlib_boot_file_close(&initrd);
}

/* --- a PC on each side --- */

static void open_machine(unsigned i)
{
    struct vmlib_machine_config config = VMLIB_MACHINE_CONFIG_INIT;
    struct side *s = &side[i];

    create_vm(i);
    config.flags = VMLIB_MACHINE_DIRTY_LOG;
    config.serial = i == 0 ? output : NULL;
    config.rtc_seconds = 1000000000;
    check(vmlib_machine_create(s->vm, &config, &s->machine), "cannot create the machine");
    check(vmlib_machine_add_ram(s->machine, o.memory), "--memory");
    check(vmlib_machine_add_rng(s->machine, 1), "random numbers");
    check(vmlib_machine_add_vcpu(s->machine, &s->vcpu), "vCPU");
    load(i);
}

static void close_sides(void)
{
    for (unsigned i = 0; i < 2; i++) {
        vmlib_machine_destroy(side[i].machine);
        vmlib_vcpu_unref(side[i].vcpu);
        vmlib_vm_unref(side[i].vm);
        side[i] = (struct side){NULL, NULL, NULL};
    }
}

static int machine_run(void *opaque, unsigned i, const struct vmlib_run_args *args,
                       struct vmlib_exit *exit)
{
    (void)opaque;
    return vmlib_machine_step(side[i].machine, side[i].vcpu, args->budget, exit);
}

/* Bring both to the same instruction. */
static void skip(uint64_t instructions)
{
    for (unsigned i = 0; i < 2; i++)
        for (uint64_t done = 0; done < instructions;) {
            struct vmlib_exit e = VMLIB_EXIT_INIT;

            check(vmlib_machine_step(side[i].machine, side[i].vcpu, instructions - done, &e),
                  "run");
            done += e.instructions;
            if (e.reason == VMLIB_EXIT_NONE)
                errx(STATUS_FAILED, "the second pass ended before the first");
        }
}

static enum status finish(vmlib_lockstep *l, const struct vmlib_lockstep_result *result)
{
    static char text[1 << 17];
    uint64_t bytes = sizeof(text);

    check(vmlib_lockstep_report(l, text, &bytes), "report");
    fflush(stdout);
    fputs(text, stderr);
    return result->differences ? STATUS_DIFFERENT : STATUS_EQUAL;
}

/* Coarse slices first; after a difference again from the start, with finer ones from the last
 * equal instruction on. */
static enum status compare_machines(struct vmlib_lockstep_config *config)
{
    struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
    struct vmlib_lockstep_region pair[4];
    uint64_t equal = 0;
    enum status status;

    config->flags = VMLIB_LOCKSTEP_OWN_DEVICES;
    config->run = machine_run;
    config->slice = o.slice ? o.slice : 10000000;
    config->interval = 1000000; /* records of timers and halts say little */
    for (;;) {
        vmlib_lockstep *l;

        sent = 0;
        for (unsigned i = 0; i < 2; i++)
            open_machine(i);
        skip(equal);
        for (unsigned i = 0; i < 2; i++) {
            config->vcpu[i] = side[i].vcpu;
            for (config->regions = 0; config->regions < 4; config->regions++)
                if (vmlib_machine_ram(side[i].machine, config->regions,
                                      &pair[config->regions].region[i]) < 0)
                    break;
        }
        config->region = pair;
        check(vmlib_lockstep_create(config, &l), "lockstep");
        for (uint32_t n = 0; n < config->regions; n++)
            for (unsigned i = 0; i < 2; i++)
                vmlib_region_unref(pair[n].region[i]);
        check(vmlib_lockstep_run(l, o.limit, &r), "run");
        equal += r.equal_at;
        if (!r.differences || config->slice == 1) {
            status = finish(l, &r);
            vmlib_lockstep_destroy(l);
            close_sides();
            return status;
        }
        fprintf(stderr, "lockstep: a difference after instruction %" PRIu64 "; looking closer\n",
                equal);
        vmlib_lockstep_destroy(l);
        close_sides();
        config->slice = config->slice > 100 ? config->slice / 100 : 1;
    }
}

/* --- only memory and a serial port --- */

static int answer(void *opaque, vmlib_lockstep *l, struct vmlib_exit *exit)
{
    (void)opaque;
    (void)l;
    if (exit->reason != VMLIB_EXIT_PIO)
        return VMLIB_PASS;
    if (exit->u.pio.port == 0x3fd && !exit->u.pio.write) {
        exit->u.pio.value = 0x60; /* ready to send */
        return VMLIB_HANDLED;
    }
    if (exit->u.pio.port == 0x3f8 && exit->u.pio.write)
        putchar((int)(exit->u.pio.value & 0xff));
    return exit->u.pio.port == 0xf4 && exit->u.pio.write ? VMLIB_STOP : VMLIB_PASS;
}

static enum status compare_plain(struct vmlib_lockstep_config *config)
{
    struct vmlib_lockstep_result r = VMLIB_LOCKSTEP_RESULT_INIT;
    struct vmlib_lockstep_region pair;
    vmlib_lockstep *l;
    enum status status;

    for (unsigned i = 0; i < 2; i++) {
        struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;

        create_vm(i);
        ram.bytes = o.memory;
        ram.flags = VMLIB_REGION_DIRTY_LOG;
        check(vmlib_region_create(side[i].vm, &ram, &pair.region[i]), "--memory");
        check(vmlib_vcpu_create(side[i].vm, NULL, &side[i].vcpu), "vCPU");
        config->vcpu[i] = side[i].vcpu;
    }
    load(0);
    config->flags = VMLIB_LOCKSTEP_COPY;
    config->region = &pair;
    config->regions = 1;
    config->exit = answer;
    check(vmlib_lockstep_create(config, &l), "lockstep");
    check(vmlib_lockstep_run(l, o.limit, &r), "run");
    status = finish(l, &r);
    vmlib_lockstep_destroy(l);
    for (unsigned i = 0; i < 2; i++)
        vmlib_region_unref(pair.region[i]);
    close_sides();
    return status;
}

int main(int argc, char **argv)
{
    struct vmlib_lockstep_config config = VMLIB_LOCKSTEP_CONFIG_INIT;

    parse(argc, argv);
    config.grain = strcmp(o.grain, "insn") == 0 ? VMLIB_LOCKSTEP_INSN : VMLIB_LOCKSTEP_EXIT;
    config.interval = (uint32_t)o.interval;
    config.slice = o.slice ? o.slice : config.slice;
    return (int)(o.machine ? compare_machines(&config) : compare_plain(&config));
}
