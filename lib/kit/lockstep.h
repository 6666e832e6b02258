/*
 * Inside of lockstep.
 *
 * The last *point* is a boundary at which both sides were equal: `point` of each side and the
 * shadow copy of memory hold it. Inputs since then (answers, interrupts, writes of devices) are in
 * the log, so that the stretch can be repeated instruction by instruction without asking anybody.
 */
#ifndef VMI_KIT_LOCKSTEP_H
#define VMI_KIT_LOCKSTEP_H

#include <stdatomic.h>
#include <stdbool.h>

#include <vmlib/lockstep.h>

#define VMI_LS_DIFFERENCES 64u
#define VMI_LS_HISTORY     256u

/* An input of both sides. */
enum vmi_ls_kind {
    VMI_LS_ANSWER, /* ends what belongs to one record */
    VMI_LS_FAULT,
    VMI_LS_NOTHING,
    VMI_LS_INTR,
    VMI_LS_NMI,
    VMI_LS_VECTOR,
    VMI_LS_WRITE
};

struct vmi_ls_input {
    enum vmi_ls_kind kind;
    uint32_t bytes;
    uint8_t value[16];
    uint32_t vector, error_code;
    bool early; /* given between runs, not while a record was answered */
    uint64_t gpa;
    uint8_t *data;
};

struct vmi_ls_side {
    vmlib_vcpu *vcpu;
    vmlib_vm *vm;
    vmlib_handler *handler[8];
    unsigned handlers;
    char name[32];
    bool steps, counts;
    uint64_t instructions; /* since creation */
    uint64_t point_instructions;
    struct vmlib_exit exit;   /* newest record */
    bool fresh;               /* it has been returned but not yet looked at */
    bool pending;             /* it waits for completion */
    struct vmlib_state state; /* as last read */
    struct vmlib_state point; /* at the last point */
    struct vmlib_exit history[VMI_LS_HISTORY];
    uint64_t records; /* in the history, newest is records - 1 */
    uint64_t point_records;
};

/* One pair of regions. */
struct vmi_ls_memory {
    vmlib_region *region[2];
    uint8_t *host[2], *shadow;
    uint64_t gpa, pages;
    uint64_t *touched, *dirty; /* bitmaps: since the point; scratch */
};

struct vmlib_lockstep {
    struct vmlib_lockstep_config config;
    struct vmi_ls_side side[2];
    struct vmi_ls_memory memory[VMLIB_LOCKSTEP_REGIONS];
    uint32_t memories;

    struct vmi_ls_input *log;
    uint32_t logged, log_room;
    uint32_t replayed; /* entries taken while a stretch is repeated */
    bool replaying, asking, compared;

    uint64_t since;                  /* answered records since the point */
    struct vmlib_lockstep_insn insn; /* at the point; length 0: not read */
    struct vmlib_lockstep_result result;
    struct vmlib_lockstep_difference difference[VMI_LS_DIFFERENCES];
    uint32_t differences;
    bool vanished; /* the difference does not show up in single steps */
    bool budgets;  /* both have exact ones */
    atomic_bool stop;
};

/* lockstep_memory.c */
int vmi_ls_memory_add(struct vmlib_lockstep *l, const struct vmlib_lockstep_region *pair);
void vmi_ls_memory_free(struct vmlib_lockstep *l);
/* Find out what has been written since the point. */
int vmi_ls_memory_sync(struct vmlib_lockstep *l);
void vmi_ls_memory_compare(struct vmlib_lockstep *l); /* after a sync */
void vmi_ls_memory_commit(struct vmlib_lockstep *l);  /* after a sync: now is the point */
int vmi_ls_memory_rewind(struct vmlib_lockstep *l);
int vmi_ls_memory_copy(struct vmlib_lockstep *l); /* side 0 to side 1 */

/* lockstep_compare.c */
void vmi_ls_differ(struct vmlib_lockstep *l, uint32_t kind, uint32_t group, const char *name,
                   uint64_t a, uint64_t b);
void vmi_ls_compare_records(struct vmlib_lockstep *l);
/* side[].state of both; mask may be NULL. */
void vmi_ls_compare_states(struct vmlib_lockstep *l, const struct vmlib_lockstep_mask *mask);
/* Registers that the mask excuses and that differ become side 0's. Sets *changed. */
int vmi_ls_excuse(struct vmlib_lockstep *l, const struct vmlib_lockstep_mask *mask, bool *changed);

/* undefined.c */
void vmi_ls_undefined(const struct vmlib_lockstep_insn *insn, struct vmlib_lockstep_mask *mask);
/* A string instruction with a repeat prefix: hardware steps through its elements. */
bool vmi_ls_is_rep(const struct vmlib_lockstep_insn *insn);

/* lockstep_input.c */
int vmi_ls_input(struct vmlib_lockstep *l, const struct vmi_ls_input *input);
int vmi_ls_replay_early(struct vmlib_lockstep *l);
/* *end: VMLIB_LOCKSTEP_ constant if the record ends the lockstep. */
int vmi_ls_answer(struct vmlib_lockstep *l, uint32_t *end);
void vmi_ls_log_clear(struct vmlib_lockstep *l);

/* lockstep_point.c */
int vmi_ls_commit(struct vmlib_lockstep *l);    /* now is the point; both states have been read */
int vmi_ls_rewind(struct vmlib_lockstep *l);    /* back to it */
int vmi_ls_read_insn(struct vmlib_lockstep *l); /* the instruction at the point */

/* lockstep_run.c */
int vmi_ls_read_states(struct vmlib_lockstep *l);

#endif
