/* Streams of scripts, for the backend that executes no guest code: what core makes of the events
 * that a backend reports. */
#include "stream.h"

#include <vmlib/mock.h>

static struct vmlib_mock_step step(uint32_t reason)
{
    struct vmlib_mock_step s = VMLIB_MOCK_STEP_INIT;
    s.action = VMLIB_MOCK_EXIT;
    s.exit.reason = reason;
    s.exit.insn_len = 2;
    return s;
}

static struct vmlib_mock_step retire(uint64_t count)
{
    struct vmlib_mock_step s = VMLIB_MOCK_STEP_INIT;
    s.action = VMLIB_MOCK_RETIRE;
    s.count = count;
    return s;
}

static struct vmlib_mock_step port(uint16_t number, uint8_t width, uint8_t write, uint32_t value)
{
    struct vmlib_mock_step s = step(VMLIB_EXIT_PIO);
    s.exit.u.pio = (struct vmlib_exit_pio){
        .port = number, .width = width, .write = write, .value = value, .count = 1};
    return s;
}

static struct vmlib_mock_step access(uint64_t gpa, uint8_t width, uint8_t write, uint64_t value)
{
    struct vmlib_mock_step s = step(VMLIB_EXIT_MMIO);
    s.action = VMLIB_MOCK_ACCESS;
    s.exit.u.mmio = (struct vmlib_exit_mmio){
        .gpa = gpa, .gva = gpa, .width = width, .write = write, .value = value};
    return s;
}

static void play(struct stream *s, const struct vmlib_mock_step *steps, uint32_t count)
{
    OK(vmlib_mock_script(s->w->vcpu, steps, count));
}

static void ports(struct stream *s)
{
    const struct vmlib_mock_step steps[] = {
        retire(3), port(0x10, 1, 0, 0), port(0x20, 2, 1, 0x1234), retire(2), port(0x30, 4, 0, 0),
    };
    play(s, steps, 5);
}

static void memory(struct stream *s)
{
    const struct vmlib_mock_step steps[] = {
        access(0x5000, 8, 1, 0x1122334455667788),
        access(0x5004, 4, 0, 0),
        access(HOLE, 8, 0, 0),
        access(HOLE + 8, 2, 1, 0xbeef),
        access(ROM + 0x10, 1, 0, 0),
    };
    play(s, steps, 5);
}

static void rom_write(struct stream *s)
{
    const struct vmlib_mock_step steps[] = {retire(1), access(ROM + 0x10, 4, 1, 7)};
    play(s, steps, 2);
    stream_run(s, NULL);
    stream_run(s, NULL);
}

static void questions(struct stream *s)
{
    struct vmlib_mock_step steps[4] = {step(VMLIB_EXIT_MSR), step(VMLIB_EXIT_MSR),
                                       step(VMLIB_EXIT_CPUID), step(VMLIB_EXIT_HYPERCALL)};
    steps[0].exit.u.msr = (struct vmlib_exit_msr){.index = 0x174, .known = 1};
    steps[1].exit.u.msr =
        (struct vmlib_exit_msr){.index = 0x174, .known = 1, .write = 1, .value = 5};
    steps[2].exit.u.cpuid = (struct vmlib_exit_cpuid){.leaf = 5, .eax = 1, .ebx = 2};
    steps[3].exit.u.hypercall = (struct vmlib_exit_hypercall){.rax = 7, .rbx = 8};
    world_handler(s->w, VMLIB_HANDLER_MSR, 0x174, 0x174, NULL, NULL);
    world_handler(s->w, VMLIB_HANDLER_CPUID, 5, 5, NULL, NULL);
    play(s, steps, 4);
}

static void exceptions(struct stream *s)
{
    struct vmlib_mock_step steps[2] = {step(VMLIB_EXIT_EXCEPTION), step(VMLIB_EXIT_EXCEPTION)};
    for (unsigned i = 0; i < 2; i++) {
        steps[i].exit.u.exception.event = (struct vmlib_event){.type = VMLIB_EVENT_EXCEPTION,
                                                               .vector = 13 + i,
                                                               .flags = VMLIB_EVENT_HAS_ERROR,
                                                               .error_code = 4};
    }
    OK(vmlib_vcpu_set_exception_exits(s->w->vcpu, 1u << 13));
    play(s, steps, 2);
}

static void budgets(struct stream *s)
{
    const struct vmlib_mock_step steps[] = {retire(5), port(0x10, 1, 1, 9), retire(4)};
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    args.budget = 3;
    play(s, steps, 3);
    for (unsigned i = 0; i < 5; i++) {
        stream_run(s, &args);
    }
}

static void cancelled(struct stream *s)
{
    const struct vmlib_mock_step steps[] = {port(0x10, 1, 0, 0), retire(1)};
    play(s, steps, 2);
    OK(vmlib_vcpu_cancel(s->w->vcpu));
    stream_run(s, NULL);
    stream_all(s);
}

#define SCRIPT(name, prepare, drive)                      \
    {                                                     \
        name, W_REAL, NULL, NULL, 0, prepare, drive, NULL \
    }
const struct stream_case streams_mock[] = {
    SCRIPT("mock_ports", ports, NULL),           SCRIPT("mock_memory", memory, NULL),
    SCRIPT("mock_rom_write", NULL, rom_write),   SCRIPT("mock_questions", questions, NULL),
    SCRIPT("mock_exceptions", exceptions, NULL), SCRIPT("mock_budgets", NULL, budgets),
    SCRIPT("mock_cancelled", NULL, cancelled),   {NULL, W_REAL, NULL, NULL, 0, NULL, NULL, NULL},
};
