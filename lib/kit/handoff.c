/*
 * Hand-off: a running guest moves from one VM to another.
 *
 * A vCPU that is outside of run may still have records to return (of an instruction that has
 * already executed), a handler's stop, or an instruction half done. They belong to the source: it
 * is brought to a boundary at which none of them is left before its state is read.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "devices/error.h"

#include <vmlib/handoff.h>

#define PAGE VMLIB_PAGE_SIZE
#define IF   (UINT64_C(1) << 9)

/* Pages are looked at in pieces of this many. */
#define PIECE 65536u

/* --- memory --- */

int vmlib_handoff_share(vmlib_region *region, vmlib_vm *vm, uint32_t prot, uint32_t flags,
                        vmlib_region **shared)
{
    struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
    int error;

    if (!region || !vm || !shared)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL",
                             !region ? "region"
                             : !vm   ? "vm"
                                     : "shared");
    if (flags & ~(VMLIB_REGION_DIRTY_LOG | VMLIB_REGION_ROM))
        return vmi_dev_error(VMLIB_E_INVAL, "flags is %#x", flags);
    config.backing = VMLIB_BACKING_HOST;
    config.prot = prot;
    config.flags = flags;
    error = vmlib_region_range(region, &config.gpa, &config.bytes);
    if (!error)
        error = vmlib_region_host(region, &config.host);
    if (!error)
        error = vmlib_region_create(vm, &config, shared);
    return error ? vmi_dev_error_lib(error, "sharing a region") : 0;
}

struct transfer {
    vmlib_region *from, *to;
    uint8_t *source, *target;
    uint64_t bitmap[PIECE / 64];
};

static bool wanted(const struct transfer *t, uint64_t page, uint64_t offset)
{
    if (!(t->bitmap[page / 64] >> page % 64 & 1))
        return false;
    return t->source == t->target || memcmp(t->target + offset, t->source + offset, PAGE) != 0;
}

/* Runs of pages are told at once: each call stops the vCPUs of the VM. */
static int transfer_piece(struct transfer *t, uint64_t first, uint64_t pages)
{
    for (uint64_t page = 0; page < pages; page++) {
        uint64_t start = page, offset = (first + page) * PAGE;

        while (page < pages && wanted(t, page, (first + page) * PAGE))
            page++;
        if (page == start)
            continue;
        if (t->source != t->target)
            memcpy(t->target + offset, t->source + offset, (page - start) * PAGE);
        int error = vmlib_region_written(t->to, offset, (page - start) * PAGE);
        if (error)
            return error;
    }
    return 0;
}

static int transfer(struct transfer *t, uint64_t bytes)
{
    uint64_t pages = bytes / PAGE;
    int error = 0;

    for (uint64_t first = 0; first < pages && !error; first += PIECE) {
        uint64_t n = pages - first < PIECE ? pages - first : PIECE;

        error = vmlib_region_dirty(t->from, first * PAGE, n * PAGE, t->bitmap, VMLIB_DIRTY_CLEAR);
        if (error == VMLIB_E_STATE) { /* no log: any page may have been written */
            memset(t->bitmap, 0xff, sizeof(t->bitmap));
            error = 0;
        }
        if (!error)
            error = transfer_piece(t, first, n);
    }
    return error ? vmi_dev_error_lib(error, "hand-off of memory") : 0;
}

int vmlib_handoff_memory(vmlib_region *from, vmlib_region *to)
{
    vmlib_gpa gpa[2] = {0, 0};
    uint64_t bytes[2] = {0, 0};
    void *host[2] = {NULL, NULL};
    struct transfer *t;
    int error;

    if (!from || !to)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", from ? "to" : "from");
    vmlib_region_range(from, &gpa[0], &bytes[0]);
    vmlib_region_range(to, &gpa[1], &bytes[1]);
    if (gpa[0] != gpa[1] || bytes[0] != bytes[1])
        return vmi_dev_error(VMLIB_E_INVAL, "from and to have different ranges");
    vmlib_region_host(from, &host[0]);
    vmlib_region_host(to, &host[1]);
    t = malloc(sizeof(*t));
    if (!t)
        return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
    t->from = from;
    t->to = to;
    t->source = host[0];
    t->target = host[1];
    error = transfer(t, bytes[0]);
    free(t);
    return error;
}

/* --- vCPUs --- */

/* No record is answered by 99 bytes: the answer tells whether one waits, and nothing happens. */
static int waits(vmlib_vcpu *vcpu, bool *yes)
{
    static const uint8_t nothing[99];
    int error = vmlib_vcpu_complete(vcpu, nothing, sizeof(nothing));

    *yes = error == VMLIB_E_INVAL;
    return error == VMLIB_E_INVAL || error == VMLIB_E_STATE ? 0 : error;
}

/* Return the next record that the vCPU has; CANCELLED: none. The guest does not move. */
static int next_record(vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    exit->size = sizeof(*exit);
    vmlib_vcpu_cancel_run(vcpu, vmlib_vcpu_generation(vcpu));
    return vmlib_vcpu_run(vcpu, NULL, exit);
}

/*
 * Leave the source without a guest: halted, nothing pending. With RFLAGS.IF set it shows at once
 * whether a stop or a requested interrupt window is left.
 */
static int park(vmlib_vcpu *vcpu, struct vmlib_state *scratch, bool *stopped, bool *window)
{
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    int error;

    memset(&scratch->events, 0, sizeof(scratch->events));
    scratch->events.flags = VMLIB_EVENTS_HALTED;
    scratch->gpr.rflags |= IF;
    scratch->gpr.rflags &= ~(UINT64_C(1) << 8); /* no trap after nothing */
    error = vmlib_vcpu_set_state(vcpu, VMLIB_STATE_GPR | VMLIB_STATE_EVENTS, scratch);
    for (unsigned n = 0; n < 3 && !error && e.reason != VMLIB_EXIT_HLT; n++) {
        error = vmlib_vcpu_run(vcpu, NULL, &e);
        *stopped |= !error && e.reason == VMLIB_EXIT_STOPPED;
        *window |= !error && e.reason == VMLIB_EXIT_INTERRUPT_WINDOW;
    }
    return error;
}

/* The source is at a boundary and its state has been read. */
static int move(vmlib_vcpu *from, vmlib_vcpu *to, const struct vmlib_state *state, bool *stopped)
{
    struct vmlib_state scratch = *state;
    bool window = false;
    int error = park(from, &scratch, stopped, &window);

    if (!error)
        error = vmlib_vcpu_set_state(to, VMLIB_STATE_ALL, state);
    if (!error && window)
        error = vmlib_vcpu_request_interrupt_window(to, 1);
    if (error) {
        vmi_dev_error_lib(error, "hand-off of a vCPU");
        vmlib_vcpu_set_state(from, VMLIB_STATE_ALL, state);
    }
    return error;
}

/* A record that is given up: the instruction has had no effect but on devices that were asked. */
static int give_up(vmlib_vcpu *vcpu)
{
    return vmlib_vcpu_complete_fault(vcpu, 6, 0);
}

static int hand_over(vmlib_vcpu *from, vmlib_vcpu *to, bool pending, struct vmlib_exit *exit)
{
    struct vmlib_state *state = calloc(1, sizeof(*state));
    bool stopped = false;
    int error = 0;

    if (!state)
        return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
    state->size = sizeof(*state);
    if (pending) {
        error = vmlib_vcpu_get_state(from, VMLIB_STATE_ALL, state);
        if (!error)
            error = give_up(from);
    }
    if (!error)
        error = next_record(from, exit);
    if (error)
        vmi_dev_error_lib(error, "hand-off: the source");
    if (!error && exit->reason == VMLIB_EXIT_CANCELLED) {
        uint64_t instructions = exit->instructions;

        if (!pending)
            error = vmlib_vcpu_get_state(from, VMLIB_STATE_ALL, state);
        if (!error)
            error = move(from, to, state, &stopped);
        memset(exit, 0, sizeof(*exit));
        exit->size = sizeof(*exit);
        exit->reason = stopped ? VMLIB_EXIT_STOPPED : VMLIB_EXIT_NONE;
        exit->instructions = instructions;
    }
    free(state);
    return error;
}

int vmlib_handoff_vcpu(vmlib_vcpu *from, vmlib_vcpu *to, uint32_t flags, struct vmlib_exit *exit)
{
    bool pending = false;
    int error;

    if (!from || !to || !exit)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", !from ? "from" : !to ? "to" : "exit");
    if (from == to || (flags & ~VMLIB_HANDOFF_REPEAT) || exit->size != sizeof(*exit))
        return vmi_dev_error(VMLIB_E_INVAL, "from is to, flags is %#x, or exit has a wrong size",
                             flags);
    error = waits(to, &pending);
    if (!error && pending)
        return vmi_dev_error(VMLIB_E_STATE, "to: an exit waits for completion");
    if (!error)
        error = waits(from, &pending);
    if (error)
        return vmi_dev_error_lib(error, "hand-off");
    if (pending && !(flags & VMLIB_HANDOFF_REPEAT))
        return vmi_dev_error(VMLIB_E_STATE, "from: an exit waits for completion");
    return hand_over(from, to, pending, exit);
}
