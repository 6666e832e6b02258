/*
 * A coverage-guided fuzzer of a guest's parser. The program tells its basic blocks to a port; an
 * event ring collects them, so that a call costs no exits; inputs that reach new blocks are kept
 * and changed further. Stops at the first fault. Usage: fuzzer PROGRAM (examples/guest/parser.c)
 */
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmlib/boot.h>
#include <vmlib/call.h>
#include <vmlib/ring.h>

#define STACK     0x80000
#define PORT      0x100
#define MAX_INPUT 32u
#define MAX_KEPT  256u
#define BLOCKS    0x10000u

struct input {
    uint8_t data[MAX_INPUT];
    uint32_t bytes;
};

static vmlib_vcpu *vcpu;
static vmlib_ring *ring;
static uint64_t parse;
static bool seen[BLOCKS];
static struct input kept[MAX_KEPT] = {{"VM", 2}};
static uint32_t kept_count = 1;

static void check(int error)
{
    const char *detail = vmlib_devices_last_error();

    if (error < 0)
        errx(1, "%s", *detail ? detail : vmlib_last_error());
}

static void load(const char *path)
{
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;
    struct vmlib_boot_params params = VMLIB_BOOT_PARAMS_INIT;
    struct vmlib_ring_watch watch = VMLIB_RING_WATCH_INIT;
    struct vmlib_boot_file program;
    vmlib_vm *vm;
    vmlib_region *region;

    check(vmlib_boot_file_open(path, &program));
    check(vmlib_vm_create(NULL, &vm));
    ram.bytes = 2 << 20;
    check(vmlib_region_create(vm, &ram, &region));
    vmlib_region_unref(region);
    check(vmlib_vcpu_create(vm, NULL, &vcpu));
    params.kernel = program.data;
    params.kernel_bytes = program.bytes;
    check(vmlib_boot_load(vm, vcpu, &params, NULL));
    check(vmlib_elf_symbol(program.data, program.bytes, "parse", &parse, NULL));
    check(vmlib_ring_create(vm, NULL, &ring));
    watch.first = watch.last = PORT;
    check(vmlib_ring_watch(ring, &watch));
    vmlib_boot_file_close(&program);
    vmlib_vm_unref(vm);
}

/* The same numbers every time: a found fault can be found again. */
static uint32_t random_below(uint32_t limit)
{
    static uint64_t state = 1;

    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % limit;
}

static struct input mutate(const struct input *from)
{
    static const uint8_t interesting[] = {0, 1, 2, 7, 0x7f, 0x80, 0xff};
    struct input input = *from;

    for (uint32_t n = 1 + random_below(3); n; n--) {
        uint32_t at = random_below(MAX_INPUT);

        if (at >= input.bytes)
            input.bytes = at = input.bytes < MAX_INPUT ? input.bytes : MAX_INPUT - 1, input.bytes++;
        input.data[at] = (uint8_t)(random_below(2) ? interesting[random_below(sizeof(interesting))]
                                                   : random_below(256));
    }
    return input;
}

/* Did the last call reach a block for the first time? */
static bool new_blocks(void)
{
    const struct vmlib_ring_event *events;
    uint32_t count;
    bool found = false;

    do {
        check(vmlib_ring_peek(ring, &events, &count));
        for (uint32_t i = 0; i < count; i++) {
            bool *block = &seen[events[i].value % BLOCKS];

            found |= !*block;
            *block = true;
        }
        check(vmlib_ring_consume(ring, count));
    } while (count);
    return found;
}

static bool faults(const struct input *input)
{
    struct vmlib_call_config config = VMLIB_CALL_CONFIG_INIT;
    struct vmlib_call_result result = VMLIB_CALL_RESULT_INIT;
    uint8_t copy[MAX_INPUT];
    struct vmlib_arg args[2] = {{.type = VMLIB_ARG_IN, .data = copy, .bytes = input->bytes},
                                {.value = input->bytes}};

    memcpy(copy, input->data, sizeof(copy));
    config.function = parse;
    config.stack = STACK;
    config.args = args;
    config.arg_count = 2;
    check(vmlib_call(vcpu, &config, &result));
    if (result.end == VMLIB_CALL_FAULT)
        printf("fault: exception %u in parse()\n", result.exit.u.exception.event.vector);
    return result.end == VMLIB_CALL_FAULT;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(2, "usage: fuzzer PROGRAM");
    load(argv[1]);
    for (uint32_t runs = 1; runs <= 2000000; runs++) {
        struct input input = mutate(&kept[random_below(kept_count)]);
        bool found = faults(&input);

        if (found) {
            bool wild = input.data[2] == 2 && input.bytes > 4;

            printf("the packet is of version 2 and has records: %s\n", wild ? "yes" : "no");
            fprintf(stderr, "%u runs, %u inputs kept\n", runs, kept_count);
            vmlib_ring_destroy(ring);
            vmlib_vcpu_unref(vcpu);
            return 0;
        }
        if (new_blocks() && kept_count < MAX_KEPT)
            kept[kept_count++] = input;
    }
    errx(1, "nothing found");
}
