/*
 * Call a guest function. Its return address is a HLT on the stack, above the arguments: reaching it
 * is how the function returns. Where the stack may not be executed or the guest may not halt, the
 * fault at that address says the same.
 */
#include <stdbool.h>
#include <string.h>

#include <vmlib/call.h>

#include "devices/error.h"

#define CR0_MP          0x2u
#define CR0_EM          0x4u
#define CR0_TS          0x8u
#define CR4_OSFXSR      0x200u
#define CR4_OSXMMEXCPT  0x400u
#define STATE           (VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL | VMLIB_STATE_EVENTS)
#define REGISTER_ARGS   6u
#define REGISTER_FLOATS 8u

struct frame {
    vmlib_vcpu *vcpu;
    const struct vmlib_call_config *config;
    struct vmlib_state state;
    bool long_mode;
    uint64_t top; /* RSP before the call */
    uint64_t sp;
    uint64_t landing;               /* where the function returns to */
    uint64_t place[VMLIB_ARGS_MAX]; /* buffers on the stack */
};

static int failed(int error, const char *what)
{
    return vmi_dev_error_lib(error, what);
}

static bool is_buffer(const struct vmlib_arg *arg)
{
    return arg->type >= VMLIB_ARG_IN;
}

static int check(vmlib_vcpu *vcpu, const struct vmlib_call_config *c, struct vmlib_call_result *r)
{
    if (!vcpu || !c || !r)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", !vcpu ? "vcpu" : c ? "result" : "config");
    if (c->size != sizeof(*c) || r->size != sizeof(*r) || c->reserved)
        return vmi_dev_error(VMLIB_E_INVAL, "config or result has a wrong size");
    if (c->arg_count > VMLIB_ARGS_MAX || (c->arg_count && !c->args))
        return vmi_dev_error(VMLIB_E_INVAL, "config->args: NULL, or more than %u", VMLIB_ARGS_MAX);
    for (uint32_t i = 0; i < c->arg_count; i++) {
        const struct vmlib_arg *arg = &c->args[i];

        if (arg->type > VMLIB_ARG_INOUT || arg->reserved)
            return vmi_dev_error(VMLIB_E_INVAL, "config->args[%u]: unknown type", i);
        if (is_buffer(arg) && ((!arg->data && arg->bytes) || arg->bytes >> 40))
            return vmi_dev_error(VMLIB_E_INVAL, "config->args[%u]: NULL or too long", i);
    }
    return 0;
}

/* --- the frame --- */

static int put(struct frame *f, uint64_t address, const void *data, uint64_t bytes)
{
    int error = bytes ? vmlib_vcpu_write_virt(f->vcpu, address, data, bytes) : 0;

    return error ? failed(error, "call: stack") : 0;
}

static int put_zeros(struct frame *f, uint64_t address, uint64_t bytes)
{
    static const uint8_t zeros[256];
    int error = 0;

    for (uint64_t n; bytes && !error; address += n, bytes -= n) {
        n = bytes < sizeof(zeros) ? bytes : sizeof(zeros);
        error = put(f, address, zeros, n);
    }
    return error;
}

static int place_buffers(struct frame *f)
{
    static const uint8_t landing[16] = {0xf4}; /* HLT */
    int error = 0;

    for (uint32_t i = 0; i < f->config->arg_count && !error; i++) {
        const struct vmlib_arg *arg = &f->config->args[i];

        if (!is_buffer(arg))
            continue;
        f->sp = (f->sp - arg->bytes) & ~UINT64_C(15);
        f->place[i] = f->sp;
        error = arg->type == VMLIB_ARG_OUT ? put_zeros(f, f->sp, arg->bytes)
                                           : put(f, f->sp, arg->data, arg->bytes);
    }
    f->sp -= sizeof(landing);
    f->landing = f->sp;
    return error ? error : put(f, f->landing, landing, sizeof(landing));
}

static uint64_t argument(const struct frame *f, uint32_t i)
{
    return is_buffer(&f->config->args[i]) ? f->place[i] : f->config->args[i].value;
}

/* Arguments that are not in registers, in order, above the return address; `stack` has 8 bytes for
 * each. */
static int push_all(struct frame *f, const uint8_t *stack, uint64_t bytes)
{
    unsigned word = f->long_mode ? 8 : 4;
    int error;

    f->sp = (f->sp - bytes) & ~UINT64_C(15);
    error = put(f, f->sp, stack, bytes);
    f->sp -= word;
    return error ? error : put(f, f->sp, &f->landing, word);
}

/* System V ABI for AMD64, 3.2.3: six integers and eight doubles in registers, others on the stack.
 */
static int place_args64(struct frame *f)
{
    struct vmlib_gpr *r = &f->state.gpr;
    uint64_t *const integer[REGISTER_ARGS] = {&r->rdi, &r->rsi, &r->rdx, &r->rcx, &r->r8, &r->r9};
    uint64_t stack[VMLIB_ARGS_MAX], xmm[2] = {0, 0};
    uint32_t integers = 0, floats = 0, words = 0;
    int error = 0;

    for (uint32_t i = 0; i < f->config->arg_count && !error; i++) {
        uint64_t value = argument(f, i);

        if (f->config->args[i].type == VMLIB_ARG_F64 && floats < REGISTER_FLOATS) {
            xmm[0] = value;
            error = vmlib_vcpu_set_reg_wide(f->vcpu, VMLIB_REG_XMM0 + floats++, xmm, sizeof(xmm));
        } else if (f->config->args[i].type != VMLIB_ARG_F64 && integers < REGISTER_ARGS) {
            *integer[integers++] = value;
        } else {
            stack[words++] = value;
        }
    }
    if (error)
        return failed(error, "call: XMM registers");
    r->rax = floats; /* for functions with variable arguments */
    return push_all(f, (const uint8_t *)stack, 8u * words);
}

/* cdecl: everything on the stack, doubles take two words. */
static int place_args32(struct frame *f)
{
    uint8_t stack[8 * VMLIB_ARGS_MAX];
    uint32_t bytes = 0;

    for (uint32_t i = 0; i < f->config->arg_count; i++) {
        uint64_t value = argument(f, i);
        unsigned width = f->config->args[i].type == VMLIB_ARG_F64 ? 8 : 4;

        memcpy(stack + bytes, &value, width);
        bytes += width;
    }
    return push_all(f, stack, bytes);
}

/* What an earlier call has left is over: halted by the landing, or stopped by a fault. */
static void clean(struct frame *f)
{
    struct vmlib_state *s = &f->state;

    memset(&s->events.injected, 0, sizeof(s->events.injected));
    s->events.pending_debug = 0;
    s->events.flags &= ~(VMLIB_EVENTS_HALTED | VMLIB_EVENTS_SHUTDOWN | VMLIB_EVENTS_SHADOW_STI |
                         VMLIB_EVENTS_SHADOW_MOVSS);
    s->control.cr0 = (s->control.cr0 & ~(uint64_t)(CR0_EM | CR0_TS)) | CR0_MP;
    s->control.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
    s->gpr.rflags = 2;
}

static int prepare(struct frame *f)
{
    const uint32_t attributes_l = 1u << 13, attributes_d = 1u << 14;
    const struct vmlib_segment *cs = &f->state.segments.cs;
    int error;

    f->state.size = sizeof(f->state);
    error = vmlib_vcpu_get_state(f->vcpu, STATE, &f->state);
    if (error)
        return failed(error, "call: state");
    f->long_mode = (f->state.control.efer & 0x400) && (cs->attributes & attributes_l);
    if (!(f->state.control.cr0 & 1) || (!f->long_mode && !(cs->attributes & attributes_d)))
        return vmi_dev_error(VMLIB_E_UNSUPPORTED, "call: the vCPU is in a 16-bit mode");
    clean(f);
    /* The registers first: XMM registers may be beyond reach before. */
    error = vmlib_vcpu_set_state(f->vcpu, VMLIB_STATE_CONTROL | VMLIB_STATE_EVENTS, &f->state);
    if (error)
        return failed(error, "call: state");
    f->top = f->config->stack ? f->config->stack : f->state.gpr.rsp;
    f->sp = f->top & ~UINT64_C(15);
    error = place_buffers(f);
    if (!error)
        error = f->long_mode ? place_args64(f) : place_args32(f);
    if (error)
        return error;
    f->state.gpr.rsp = f->sp;
    f->state.gpr.rip = f->config->function;
    error = vmlib_vcpu_set_state(f->vcpu, VMLIB_STATE_GPR, &f->state);
    if (error)
        return failed(error, "call: registers");
    error = vmlib_vcpu_set_exception_exits(f->vcpu, f->config->exceptions);
    return error && error != VMLIB_E_UNSUPPORTED ? failed(error, "call: exceptions") : 0;
}

/* --- the end --- */

static uint32_t end_of(const struct frame *f, const struct vmlib_exit *exit)
{
    bool at_landing = exit->rip == f->landing;

    switch (exit->reason) {
    case VMLIB_EXIT_HLT:
        return exit->rip == f->landing + 1 ? VMLIB_CALL_RETURNED : VMLIB_CALL_EXIT;
    case VMLIB_EXIT_EXCEPTION:
    case VMLIB_EXIT_MEMORY_FAULT:
        return at_landing ? VMLIB_CALL_RETURNED : VMLIB_CALL_FAULT;
    case VMLIB_EXIT_SHUTDOWN:
        return VMLIB_CALL_FAULT;
    case VMLIB_EXIT_BUDGET:
    case VMLIB_EXIT_DEADLINE:
        return VMLIB_CALL_LIMIT;
    case VMLIB_EXIT_STOPPED:
    case VMLIB_EXIT_CANCELLED:
        return VMLIB_CALL_STOPPED;
    default:
        return VMLIB_CALL_EXIT;
    }
}

static int finish(struct frame *f, struct vmlib_call_result *r)
{
    uint64_t xmm[2] = {0, 0}, rax = 0, rdx = 0;
    int error = vmlib_vcpu_get_reg(f->vcpu, VMLIB_REG_RAX, &rax);

    if (!error)
        error = vmlib_vcpu_get_reg(f->vcpu, VMLIB_REG_RDX, &rdx);
    if (!error)
        error = vmlib_vcpu_get_reg_wide(f->vcpu, VMLIB_REG_XMM0, xmm, sizeof(xmm));
    r->value = f->long_mode ? rax : (rdx << 32 | (rax & UINT32_MAX));
    r->xmm0 = xmm[0];
    for (uint32_t i = 0; i < f->config->arg_count && !error; i++) {
        const struct vmlib_arg *arg = &f->config->args[i];

        if (r->end == VMLIB_CALL_RETURNED && arg->type >= VMLIB_ARG_OUT && arg->bytes)
            error = vmlib_vcpu_read_virt(f->vcpu, f->place[i], arg->data, arg->bytes);
    }
    if (!error && r->end == VMLIB_CALL_RETURNED)
        error = vmlib_vcpu_set_reg(f->vcpu, VMLIB_REG_RSP, f->top);
    return error ? failed(error, "call: result") : 0;
}

int vmlib_call(vmlib_vcpu *vcpu, const struct vmlib_call_config *config,
               struct vmlib_call_result *result)
{
    struct vmlib_run_args limits = VMLIB_RUN_ARGS_INIT;
    struct vmlib_call_result r = VMLIB_CALL_RESULT_INIT;
    struct frame f = {.vcpu = vcpu, .config = config};
    int error = check(vcpu, config, result);

    if (!error)
        error = prepare(&f);
    if (error)
        return error;
    limits.budget = config->budget;
    limits.deadline_ns = config->deadline_ns;
    error = vmlib_vcpu_run(vcpu, &limits, &r.exit);
    if (error)
        return failed(error, "call: run");
    r.end = end_of(&f, &r.exit);
    r.instructions = r.exit.instructions;
    error = finish(&f, &r);
    if (!error)
        *result = r;
    return error;
}
