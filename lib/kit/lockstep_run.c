/*
 * Lockstep: run both sides from record to record, compare, and when they differ go back to the last
 * point and take the stretch again, instruction by instruction.
 */
#include <string.h>

#include "devices/error.h"
#include "kit/lockstep.h"

/* Elements of a string instruction that hardware may step through. */
#define REP_STEPS (UINT64_C(1) << 22)

/* --- one side --- */

static int call_run(struct vmlib_lockstep *l, unsigned side, const struct vmlib_run_args *args)
{
    struct vmi_ls_side *s = &l->side[side];
    int error;

    s->exit.size = sizeof(s->exit);
    error = l->config.run ? l->config.run(l->config.opaque, side, args, &s->exit)
                          : vmlib_vcpu_run(s->vcpu, args, &s->exit);
    if (error)
        return vmi_dev_error_lib(error, s->name);
    s->instructions += s->exit.instructions;
    s->pending = s->exit.flags & VMLIB_EXIT_F_PENDING;
    return 0;
}

/* Instructions of a side that are left of its slice. */
static uint64_t slice_left(const struct vmlib_lockstep *l, const struct vmi_ls_side *s)
{
    uint64_t done = s->instructions - s->point_instructions;

    return done < l->config.slice ? l->config.slice - done : 0;
}

static bool cancelled(const struct vmlib_exit *e)
{
    return e->reason == VMLIB_EXIT_CANCELLED;
}

/* A cancel is no record of the guest: the side goes on, unless vmlib_lockstep_stop() sent it. */
static int run_side(struct vmlib_lockstep *l, unsigned side, bool step)
{
    struct vmi_ls_side *s = &l->side[side];
    int error;

    do {
        struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;

        args.deadline_ns = l->config.deadline_ns;
        if (step)
            args.flags = VMLIB_RUN_SINGLE_STEP;
        else if (l->budgets)
            args.budget = slice_left(l, s) ? slice_left(l, s) : 1;
        error = call_run(l, side, &args);
    } while (!error && cancelled(&s->exit) && (l->replaying || !atomic_load(&l->stop)));
    return error;
}

static bool is_step(const struct vmlib_exit *e)
{
    return e->reason == VMLIB_EXIT_DEBUG && e->u.debug.cause == VMLIB_DEBUG_STEP;
}

/* Records that say nothing about the guest. */
static bool is_limit(const struct vmlib_exit *e)
{
    return is_step(e) || e->reason == VMLIB_EXIT_BUDGET;
}

/* Backends step over a repeated string instruction as a whole, or element by element. */
static int finish_rep(struct vmlib_lockstep *l, unsigned side)
{
    uint64_t rip = l->insn.rip;

    for (uint64_t n = 0; n < REP_STEPS && is_step(&l->side[side].exit); n++) {
        int error = vmlib_vcpu_get_reg(l->side[side].vcpu, VMLIB_REG_RIP, &rip);

        if (error)
            return vmi_dev_error_lib(error, "lockstep");
        if (rip != l->insn.rip)
            return 0;
        error = run_side(l, side, true);
        if (error)
            return error;
    }
    return 0;
}

/* Side `i` has been stopped: what the other one has returned waits for it. */
static uint32_t stopped(struct vmlib_lockstep *l, unsigned i)
{
    struct vmi_ls_side *first = &l->side[0];

    if (i == 1) {
        first->fresh = true;
        first->records -= !is_limit(&first->exit);
    }
    return VMLIB_LOCKSTEP_STOPPED;
}

static int advance(struct vmlib_lockstep *l, bool step, uint32_t *end)
{
    for (unsigned i = 0; i < 2; i++) {
        struct vmi_ls_side *s = &l->side[i];
        int error = 0;

        if (!s->fresh) {
            error = run_side(l, i, step);
            if (!error && step && vmi_ls_is_rep(&l->insn))
                error = finish_rep(l, i);
        }
        if (error)
            return error;
        if (cancelled(&s->exit)) {
            *end = stopped(l, i);
            return 0;
        }
        s->fresh = false;
        if (!is_limit(&s->exit))
            s->history[s->records++ % VMI_LS_HISTORY] = s->exit;
    }
    return 0;
}

/* Is there another record before the next instruction begins? Then `fresh` is set. */
static int peek(struct vmlib_lockstep *l)
{
    for (unsigned i = 0; i < 2; i++) {
        struct vmi_ls_side *s = &l->side[i];
        struct vmlib_exit before = s->exit;
        int error;

        vmlib_vcpu_cancel_run(s->vcpu, vmlib_vcpu_generation(s->vcpu));
        error = call_run(l, i, NULL);
        if (error)
            return error;
        s->fresh = !cancelled(&s->exit);
        if (!s->fresh)
            s->exit = before;
    }
    return 0;
}

/* --- comparison --- */

int vmi_ls_read_states(struct vmlib_lockstep *l)
{
    for (unsigned i = 0; i < 2; i++) {
        int error;

        l->side[i].state.size = sizeof(l->side[i].state);
        error = vmlib_vcpu_get_state(l->side[i].vcpu, VMLIB_STATE_ALL, &l->side[i].state);
        if (error)
            return vmi_dev_error_lib(error, "lockstep: reading state");
    }
    return 0;
}

static void ask_mask(struct vmlib_lockstep *l, bool step, struct vmlib_lockstep_mask *mask)
{
    static const struct vmlib_lockstep_insn none = {.length = 0};
    const struct vmlib_lockstep_insn *insn = step ? &l->insn : &none;

    vmi_ls_undefined(insn, mask);
    if (l->config.mask)
        l->config.mask(l->config.opaque, insn, mask);
}

/* Both are between two instructions. Equal: this is the new point. */
static int compare(struct vmlib_lockstep *l, bool step)
{
    struct vmlib_lockstep_mask mask = {0, 0, 0};
    bool changed = false;
    int error = vmi_ls_read_states(l);

    if (!error)
        error = vmi_ls_memory_sync(l);
    if (error)
        return error;
    ask_mask(l, step, &mask);
    l->result.comparisons++;
    vmi_ls_memory_compare(l);
    vmi_ls_compare_states(l, &mask);
    if (l->differences)
        return 0;
    error = vmi_ls_excuse(l, &mask, &changed);
    if (error)
        return vmi_dev_error_lib(error, "lockstep");
    l->result.excused += changed;
    vmi_ls_commit(l);
    return step ? vmi_ls_read_insn(l) : 0;
}

static bool is_due(const struct vmlib_lockstep *l, bool now)
{
    return now || l->since >= l->config.interval || (l->budgets && slice_left(l, &l->side[0]) == 0);
}

/* One record of each side, answered. *end is set when the lockstep is over. */
static int turn(struct vmlib_lockstep *l, bool step, bool last, uint32_t *end)
{
    const struct vmlib_exit *a = &l->side[0].exit, *b = &l->side[1].exit;
    bool limit;
    int error = advance(l, step, end);

    if (error || *end)
        return error;
    if (a->reason == VMLIB_EXIT_DEADLINE || b->reason == VMLIB_EXIT_DEADLINE) {
        if (!l->config.run || a->reason != b->reason) {
            *end = VMLIB_LOCKSTEP_STUCK;
            return 0;
        }
    }
    vmi_ls_compare_records(l);
    if (l->differences)
        return 0;
    limit = is_limit(a);
    if (!limit) {
        l->result.records++;
        l->since++;
        if (!l->config.run)
            error = vmi_ls_answer(l, end);
        else if (a->reason == VMLIB_EXIT_NONE)
            *end = VMLIB_LOCKSTEP_STOPPED;
        l->side[0].pending = l->side[1].pending = false;
    }
    if (error || !is_due(l, limit || step || last || *end))
        return error;
    if (!limit && !l->config.run)
        error = peek(l);
    if (!error && !l->side[0].fresh && !l->side[1].fresh)
        error = compare(l, step || l->config.slice == 1);
    return error;
}

/* --- the difference --- */

/* What is known about a difference before it is located. */
struct coarse {
    struct vmlib_lockstep_difference difference[VMI_LS_DIFFERENCES];
    uint32_t differences;
    uint64_t records, instructions; /* of the stretch; of side 0 */
    uint64_t excused;
};

/* Has the repetition come to where the difference showed? */
static bool passed(const struct vmlib_lockstep *l, const struct coarse *c, uint64_t records)
{
    bool counts = l->side[0].counts;

    if (c->difference[0].kind == VMLIB_LOCKSTEP_RECORD)
        return records > c->records || (counts && l->side[0].instructions > c->instructions + 1);
    return records >= c->records && (!counts || l->side[0].instructions >= c->instructions);
}

/* Take the stretch from the last point again in single steps, with the answers of the first time.
 */
static int repeat(struct vmlib_lockstep *l, const struct coarse *c, uint32_t *end)
{
    uint64_t first = l->result.records;
    int error = vmi_ls_rewind(l);

    if (!error)
        error = vmi_ls_read_insn(l);
    l->replaying = true;
    while (!error && !l->differences && !*end && !passed(l, c, l->result.records - first))
        error = turn(l, true, false, end);
    l->replaying = false;
    l->result.records -= c->records;
    return error;
}

static void located(struct vmlib_lockstep *l)
{
    l->result.located = 1;
    l->result.insn = l->insn;
    l->result.insn.before = NULL;
}

static int locate(struct vmlib_lockstep *l)
{
    struct coarse c = {.differences = l->differences,
                       .records = l->since,
                       .instructions = l->side[0].instructions,
                       .excused = l->result.excused};
    uint32_t end = 0;
    int error;

    memcpy(c.difference, l->difference, sizeof(c.difference));
    l->differences = 0;
    error = repeat(l, &c, &end);
    if (error)
        return error;
    if (l->differences) {
        located(l);
    } else if (l->result.excused != c.excused && !end) {
        vmi_ls_log_clear(l); /* only what is excluded differed: go on from here */
    } else {
        memcpy(l->difference, c.difference, sizeof(c.difference));
        l->differences = c.differences;
        l->vanished = true;
    }
    return 0;
}

/* Has one instruction been executed since the point, by budget? */
static bool single(const struct vmlib_lockstep *l)
{
    return l->insn.length && l->budgets && l->config.slice == 1 &&
           l->side[0].instructions <= l->result.equal_at + 1;
}

static bool can_locate(const struct vmlib_lockstep *l)
{
    return l->config.grain == VMLIB_LOCKSTEP_EXIT && l->side[0].steps && l->side[1].steps &&
           !(l->config.flags & VMLIB_LOCKSTEP_OWN_DEVICES);
}

static int differs(struct vmlib_lockstep *l)
{
    int error = 0;

    if (can_locate(l)) {
        error = locate(l);
    } else if (l->config.grain == VMLIB_LOCKSTEP_INSN || single(l)) {
        located(l);
    }
    if (!error && l->differences)
        l->result.end = VMLIB_LOCKSTEP_DIFFERENCE;
    return error;
}

int vmlib_lockstep_run(vmlib_lockstep *lockstep, uint64_t limit,
                       struct vmlib_lockstep_result *result)
{
    struct vmlib_lockstep *l = lockstep;
    bool step;
    int error = 0;

    if (!l || !result || result->size != sizeof(*result))
        return vmi_dev_error(VMLIB_E_INVAL, "lockstep or result is NULL or has a wrong size");
    if (l->result.end == VMLIB_LOCKSTEP_DIFFERENCE)
        return vmi_dev_error(VMLIB_E_STATE, "lockstep: the sides have differed");
    step = l->config.grain == VMLIB_LOCKSTEP_INSN;
    l->result.end = 0;
    if (!l->compared) {
        l->compared = true;
        error = compare(l, step || l->config.slice == 1);
    }
    if (l->differences)
        l->result.end = VMLIB_LOCKSTEP_DIFFERENCE; /* they start with it */
    for (uint64_t n = 1; !error && !l->result.end; n++) {
        uint32_t end = 0;

        if (atomic_load(&l->stop))
            end = VMLIB_LOCKSTEP_STOPPED;
        else
            error = turn(l, step, limit && n >= limit, &end);
        if (!error && l->differences)
            error = differs(l);
        if (!l->result.end)
            l->result.end = end ? end : limit && n >= limit ? VMLIB_LOCKSTEP_LIMIT : 0;
    }
    if (error)
        return error;
    if (l->result.end == VMLIB_LOCKSTEP_STOPPED)
        atomic_store(&l->stop, false);
    l->result.size = sizeof(l->result);
    l->result.differences = l->differences;
    l->result.instructions[0] = l->side[0].instructions;
    l->result.instructions[1] = l->side[1].instructions;
    *result = l->result;
    return 0;
}

int vmlib_lockstep_stop(vmlib_lockstep *lockstep)
{
    if (!lockstep)
        return vmi_dev_error(VMLIB_E_INVAL, "lockstep is NULL");
    atomic_store(&lockstep->stop, true);
    for (unsigned i = 0; i < 2; i++)
        vmlib_vcpu_cancel(lockstep->side[i].vcpu);
    return 0;
}
