/*
 * Lockstep: inputs of both sides. A record that both have returned is answered once; what was
 * answered, and what the exit function did to the machine meanwhile, is remembered until the next
 * point, so that the stretch can be repeated.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/error.h"
#include "kit/lockstep.h"

static bool ends_record(enum vmi_ls_kind kind)
{
    return kind <= VMI_LS_NOTHING;
}

static int remember(struct vmlib_lockstep *l, const struct vmi_ls_input *input)
{
    struct vmi_ls_input *entry;

    if (l->logged == l->log_room) {
        uint32_t room = l->log_room ? 2 * l->log_room : 64;
        struct vmi_ls_input *log = realloc(l->log, room * sizeof(*log));

        if (!log)
            return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
        l->log = log;
        l->log_room = room;
    }
    entry = &l->log[l->logged];
    *entry = *input;
    entry->early = !l->asking && !ends_record(input->kind);
    if (input->data) {
        entry->data = malloc(input->bytes ? input->bytes : 1);
        if (!entry->data)
            return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
        memcpy(entry->data, input->data, input->bytes);
    }
    l->logged++;
    return 0;
}

void vmi_ls_log_clear(struct vmlib_lockstep *l)
{
    for (uint32_t n = 0; n < l->logged; n++)
        free(l->log[n].data);
    l->logged = l->replayed = 0;
}

static int inject_vector(vmlib_vcpu *vcpu, uint32_t vector)
{
    struct vmlib_event event = {.type = VMLIB_EVENT_INTERRUPT, .vector = vector};

    return vmlib_vcpu_inject(vcpu, &event);
}

static int apply(struct vmi_ls_side *s, const struct vmi_ls_input *in)
{
    switch (in->kind) {
    case VMI_LS_ANSWER:
        return vmlib_vcpu_complete(s->vcpu, in->bytes ? in->value : NULL, in->bytes);
    case VMI_LS_FAULT:
        return vmlib_vcpu_complete_fault(s->vcpu, in->vector, in->error_code);
    case VMI_LS_INTR:
        return vmlib_vcpu_set_intr(s->vcpu, in->vector);
    case VMI_LS_NMI:
        return vmlib_vcpu_nmi(s->vcpu);
    case VMI_LS_VECTOR:
        return inject_vector(s->vcpu, in->vector);
    case VMI_LS_WRITE:
        return vmlib_vm_write(s->vm, in->gpa, in->data, in->bytes);
    default:
        return 0;
    }
}

static int apply_both(struct vmlib_lockstep *l, const struct vmi_ls_input *in)
{
    int error = apply(&l->side[0], in);

    if (!error)
        error = apply(&l->side[1], in);
    return error ? vmi_dev_error_lib(error, "lockstep: an input of a side") : 0;
}

int vmi_ls_input(struct vmlib_lockstep *l, const struct vmi_ls_input *input)
{
    int error = remember(l, input);

    return error ? error : apply_both(l, input);
}

/* --- answers --- */

static uint32_t answer_bytes(const struct vmlib_exit *e)
{
    switch (e->reason) {
    case VMLIB_EXIT_PIO:
        return e->u.pio.width;
    case VMLIB_EXIT_MMIO:
        return e->u.mmio.width;
    case VMLIB_EXIT_MSR:
        return e->u.msr.write ? 0 : 8;
    case VMLIB_EXIT_CPUID:
        return 16;
    default:
        return 8;
    }
}

/* The value that the record holds. */
static void answer_from(const struct vmlib_exit *e, struct vmi_ls_input *in)
{
    uint64_t value = e->reason == VMLIB_EXIT_PIO    ? e->u.pio.value
                     : e->reason == VMLIB_EXIT_MMIO ? e->u.mmio.value
                     : e->reason == VMLIB_EXIT_MSR  ? e->u.msr.value
                                                    : e->u.hypercall.result;

    in->kind = VMI_LS_ANSWER;
    in->bytes = answer_bytes(e);
    if (e->reason == VMLIB_EXIT_CPUID)
        memcpy(in->value, &e->u.cpuid.eax, 16);
    else
        memcpy(in->value, &value, 8);
}

/* Nobody answers: what a machine without devices does. */
static void default_answer(const struct vmlib_exit *e, struct vmi_ls_input *in)
{
    bool unknown =
        e->reason == VMLIB_EXIT_HYPERCALL || (e->reason == VMLIB_EXIT_MSR && !e->u.msr.known);

    answer_from(e, in);
    if (unknown) {
        in->kind = VMI_LS_FAULT;
        in->vector = e->reason == VMLIB_EXIT_MSR ? 13 : 6;
    } else if (e->reason == VMLIB_EXIT_PIO || e->reason == VMLIB_EXIT_MMIO) {
        memset(in->value, 0xff, sizeof(in->value));
    }
}

static int fault_answer(const struct vmlib_exit *e, struct vmi_ls_input *in)
{
    if (!(e->flags & VMLIB_EXIT_F_PENDING) || e->inject.type != VMLIB_EVENT_EXCEPTION ||
        e->inject.vector > 31)
        return vmi_dev_error(VMLIB_E_INVAL, "the exit function: INJECT needs a read and an "
                                            "exception");
    in->kind = VMI_LS_FAULT;
    in->vector = e->inject.vector;
    in->error_code = e->inject.error_code;
    return 0;
}

/* What a record that needs no value leads to. */
static uint32_t plain_end(const struct vmlib_exit *e, bool handled)
{
    if (handled)
        return 0;
    switch (e->reason) {
    case VMLIB_EXIT_HLT:
        return VMLIB_LOCKSTEP_HALTED;
    case VMLIB_EXIT_SHUTDOWN:
        return VMLIB_LOCKSTEP_SHUTDOWN;
    case VMLIB_EXIT_MEMORY_FAULT:
    case VMLIB_EXIT_INTERNAL:
        return VMLIB_LOCKSTEP_STOPPED;
    default:
        return 0;
    }
}

static int translate(int answer, const struct vmlib_exit *e, struct vmi_ls_input *in, uint32_t *end)
{
    bool handled = answer == VMLIB_HANDLED || answer == VMLIB_STOP;

    if (answer == VMLIB_STOP)
        *end = VMLIB_LOCKSTEP_STOPPED;
    if (answer == VMLIB_INJECT)
        return fault_answer(e, in);
    if (e->flags & VMLIB_EXIT_F_PENDING) {
        if (handled)
            answer_from(e, in);
        else
            default_answer(e, in);
        return 0;
    }
    if (e->reason == VMLIB_EXIT_INTERRUPT_WINDOW && !e->u.interrupt.requested) {
        in->kind = handled ? VMI_LS_VECTOR : VMI_LS_INTR;
        in->vector = handled ? e->u.interrupt.vector : 0; /* nobody: withdraw the line */
        return 0;
    }
    *end = *end ? *end : plain_end(e, handled);
    return 0;
}

/* Repeat what the log has up to the next answer. */
static int replay(struct vmlib_lockstep *l)
{
    while (l->replayed < l->logged) {
        const struct vmi_ls_input *in = &l->log[l->replayed++];
        int error = apply_both(l, in);

        if (error || ends_record(in->kind))
            return error;
    }
    return 0;
}

int vmi_ls_replay_early(struct vmlib_lockstep *l)
{
    int error = 0;

    while (!error && l->replayed < l->logged && l->log[l->replayed].early)
        error = apply_both(l, &l->log[l->replayed++]);
    return error;
}

int vmi_ls_answer(struct vmlib_lockstep *l, uint32_t *end)
{
    struct vmlib_exit e = l->side[0].exit;
    struct vmi_ls_input in = {.kind = VMI_LS_NOTHING};
    int answer = VMLIB_PASS, error;

    if (l->replaying && l->replayed < l->logged)
        return replay(l);
    e.size = sizeof(e);
    if (l->config.exit) {
        l->asking = true;
        answer = l->config.exit(l->config.opaque, l, &e);
        l->asking = false;
    }
    if (answer < 0)
        return vmi_dev_error(answer, "the exit function answered %d", answer);
    error = translate(answer, &e, &in, end);
    if (!error)
        error = vmi_ls_input(l, &in);
    if (!error && !ends_record(in.kind)) {
        in = (struct vmi_ls_input){.kind = VMI_LS_NOTHING};
        error = vmi_ls_input(l, &in);
    }
    l->replayed = l->logged;
    return error;
}

/* --- for the exit function --- */

int vmlib_lockstep_intr(vmlib_lockstep *lockstep, uint32_t level)
{
    struct vmi_ls_input in = {.kind = VMI_LS_INTR, .vector = level};

    if (!lockstep || level > 1)
        return vmi_dev_error(VMLIB_E_INVAL, "lockstep is NULL or level is %u", level);
    return vmi_ls_input(lockstep, &in);
}

int vmlib_lockstep_nmi(vmlib_lockstep *lockstep)
{
    struct vmi_ls_input in = {.kind = VMI_LS_NMI};

    if (!lockstep)
        return vmi_dev_error(VMLIB_E_INVAL, "lockstep is NULL");
    return vmi_ls_input(lockstep, &in);
}

int vmlib_lockstep_write(vmlib_lockstep *lockstep, vmlib_gpa gpa, const void *data, uint64_t bytes)
{
    struct vmi_ls_input in = {.kind = VMI_LS_WRITE, .gpa = gpa, .bytes = (uint32_t)bytes};
    uint8_t *copy;
    int error;

    if (!lockstep || !data || bytes > UINT32_MAX)
        return vmi_dev_error(VMLIB_E_INVAL, "lockstep or data is NULL, or bytes is too large");
    copy = malloc(bytes ? bytes : 1);
    if (!copy)
        return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
    memcpy(copy, data, bytes);
    in.data = copy;
    error = vmi_ls_input(lockstep, &in);
    free(copy);
    return error;
}
