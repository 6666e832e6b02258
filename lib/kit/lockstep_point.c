/*
 * Lockstep: the last point at which both sides were equal, and the way back to it.
 */
#include <string.h>

#include "devices/error.h"
#include "kit/lockstep.h"

static uint32_t mode_of(const struct vmlib_state *s)
{
    const struct vmlib_segment *cs = &s->segments.cs;
    bool wide = cs->attributes >> 14 & 1;

    if (!(s->control.cr0 & 1))
        return VMLIB_MODE_REAL;
    if (s->gpr.rflags >> 17 & 1)
        return VMLIB_MODE_V86;
    if (s->control.efer >> 10 & 1)
        return cs->attributes >> 13 & 1 ? VMLIB_MODE_LONG64
               : wide                   ? VMLIB_MODE_COMPAT32
                                        : VMLIB_MODE_COMPAT16;
    return wide ? VMLIB_MODE_PROT32 : VMLIB_MODE_PROT16;
}

int vmi_ls_read_insn(struct vmlib_lockstep *l)
{
    struct vmlib_lockstep_insn *insn = &l->insn;
    const struct vmlib_state *s = &l->side[0].point;
    vmlib_gva gva;

    memset(insn, 0, sizeof(*insn));
    insn->rip = s->gpr.rip;
    insn->mode = mode_of(s);
    insn->before = s;
    gva =
        insn->mode == VMLIB_MODE_LONG64 ? s->gpr.rip : (uint32_t)(s->segments.cs.base + s->gpr.rip);
    /* The bytes may end at a page that is not there. */
    for (uint32_t n = 15; n > 0; n = n == 15 ? VMLIB_PAGE_SIZE - gva % VMLIB_PAGE_SIZE : 0) {
        n = n > 15 ? 0 : n;
        if (n && vmlib_vcpu_read_virt(l->side[0].vcpu, gva, insn->bytes, n) == 0) {
            insn->length = n;
            break;
        }
    }
    return 0;
}

int vmi_ls_commit(struct vmlib_lockstep *l)
{
    for (unsigned i = 0; i < 2; i++) {
        struct vmi_ls_side *s = &l->side[i];

        s->point = s->state;
        s->point_instructions = s->instructions;
        s->point_records = s->records;
    }
    vmi_ls_memory_commit(l);
    if (!l->replaying) /* it is still being read then */
        vmi_ls_log_clear(l);
    l->since = 0;
    l->result.equal_at = l->side[0].instructions;
    return 0;
}

/* Whatever instruction is half done is given up: its effects are about to be overwritten. */
static int abandon(struct vmi_ls_side *s)
{
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    int error;

    if (s->pending)
        vmlib_vcpu_complete_fault(s->vcpu, 6, 0);
    s->pending = s->fresh = false;
    /* Records that wait in the queue come before the cancel. */
    do {
        vmlib_vcpu_cancel_run(s->vcpu, vmlib_vcpu_generation(s->vcpu));
        e.size = sizeof(e);
        error = vmlib_vcpu_run(s->vcpu, NULL, &e);
        if (!error && e.flags & VMLIB_EXIT_F_PENDING)
            vmlib_vcpu_complete_fault(s->vcpu, 6, 0);
    } while (!error && e.reason != VMLIB_EXIT_CANCELLED);
    return error;
}

int vmi_ls_rewind(struct vmlib_lockstep *l)
{
    int error = 0;

    for (unsigned i = 0; i < 2 && !error; i++)
        error = abandon(&l->side[i]);
    if (!error)
        error = vmi_ls_memory_rewind(l);
    for (unsigned i = 0; i < 2 && !error; i++) {
        struct vmi_ls_side *s = &l->side[i];

        error = vmlib_vcpu_set_state(s->vcpu, VMLIB_STATE_ALL, &s->point);
        s->instructions = s->point_instructions;
        s->records = s->point_records;
    }
    if (error)
        return vmi_dev_error_lib(error, "lockstep: going back");
    l->replayed = 0;
    l->since = 0;
    return vmi_ls_replay_early(l);
}
