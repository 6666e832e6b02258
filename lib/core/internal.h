/*
 * Objects of core, and who may touch what.
 *
 * Locks, in the order in which they are taken:
 *   vm->lock        serialises changes of the VM: regions, handlers, doorbells, list of vCPUs
 *   vm->map_lock    readers: host access to guest memory; writer: the moment in which the map
 * changes vm->pause_lock  only around pause_cond No lock is held while the host program's functions
 * are called.
 *
 * What vCPUs read without a lock (slots, hook table) changes only between vmi_pause_begin() and
 * vmi_pause_end(): then no vCPU is "in guest". A vCPU inside a handler is not in guest, so handlers
 * may change the VM.
 */
#ifndef VMI_CORE_INTERNAL_H
#define VMI_CORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <vmlib/vmlib.h>

#include "backend.h"
#include "base/ref.h"
#include "base/wake.h"

struct vmi_table;

/* --- VM --- */

#define VMI_ATTN_PAUSE   1u /* vCPUs stay out of the guest */
#define VMI_ATTN_ZOMBIES 2u /* removed hooks wait for their last call to end */

struct vmlib_vm {
    struct vmi_vm pub; /* first: backends see only this */
    vmi_ref refs;
    pid_t pid; /* of the creator */
    uint64_t start_ns;
    vmlib_log_fn log;
    void *log_opaque;

    pthread_mutex_t lock;
    pthread_rwlock_t map_lock;
    pthread_mutex_t pause_lock;
    pthread_cond_t pause_cond;
    _Atomic uint32_t attention; /* VMI_ATTN_ bits */

    struct vmlib_vcpu *vcpus[VMLIB_MAX_VCPUS];
    uint32_t nvcpus;

    struct vmlib_region **regions; /* sorted by gpa */
    uint32_t nregions;
    _Atomic uint32_t naliases; /* mapped */
    struct vmi_slot *slots;

    struct vmi_hook *hooks; /* registered, youngest first */
    struct vmi_hook *zombies;
    uint32_t nhandlers, ndoorbells;
    uint64_t next_seq;
    struct vmi_table *table;

    struct vmlib_cpuid_leaf *cpuid; /* model for new vCPUs; NULL: the backend's */
    uint32_t ncpuid;
};

/* --- handlers and doorbells --- */

struct vmi_hook {
    struct vmlib_vm *vm;
    struct vmi_hook *next; /* in vm->hooks or vm->zombies */
    uint32_t refs;         /* the host's; under vm->lock */
    bool registered, zombie, doorbell;
    uint64_t seq; /* age */
    uint32_t kind, flags;
    uint64_t first, last;
    vmlib_handler_fn fn;
    void *opaque;
    vmlib_release_fn release;
    /* doorbells */
    uint32_t width;
    uint64_t value;
    int fd;
    void (*ring)(void *opaque, uint64_t value);
    int backend_fd;        /* bell.c: the backend answers it, through this descriptor; else -1 */
    bool backend_declines; /* ... or has said that it cannot */
};
struct vmlib_handler {
    struct vmi_hook hook;
};
struct vmlib_doorbell {
    struct vmi_hook hook;
};

/* bell.c: doorbells that the backend answers itself. vm->lock held, after each change of the list;
 * `gone` has been taken out of it, or is NULL. */
void vmi_bells_update(struct vmlib_vm *vm, struct vmi_hook *gone);

/* table.c: what vCPUs search. NULL on lack of memory. */
struct vmi_table *vmi_table_build(struct vmi_hook *hooks);
void vmi_table_free(struct vmi_table *t);
/* Youngest handler for addr older than `below`. *hint speeds repeated questions up; any value is
 * allowed. */
struct vmi_hook *vmi_table_find(const struct vmi_table *t, uint32_t kind, uint64_t addr,
                                uint64_t below, uint32_t *hint);
struct vmi_hook *vmi_table_doorbell(const struct vmi_table *t, uint32_t kind, uint64_t addr,
                                    unsigned width, uint64_t value);
/* hook.c */
void vmi_hook_reap(struct vmlib_vm *vm); /* release zombies that no vCPU is inside any more */
void vmi_hook_destroy_all(struct vmlib_vm *vm); /* end of the VM */

/* --- vCPU --- */

struct vmlib_vcpu {
    struct vmi_vcpu pub; /* first */
    vmi_ref refs;
    struct vmlib_vm *vm; /* a reference */

    _Atomic uintptr_t owner;           /* token of the thread inside run or complete; 0: none */
    _Atomic uint32_t in_guest;         /* may use slots and table */
    _Atomic(struct vmi_hook *) active; /* whose function runs now */

    struct vmi_wake wake;
    _Atomic uint64_t generation; /* of the run in progress, else of the next */
    _Atomic uint64_t cancel_gen; /* newest run to be cancelled */
    _Atomic uint32_t cancel_any; /* a cancel waits for its answer */

    /* vCPU thread only */
    bool has_run;
    bool waiting;        /* for completion of `outstanding` */
    bool stopped;        /* a handler answered STOP */
    int error;           /* a handler's negative answer, or a lack of memory */
    uint64_t done;       /* instructions since the last run returned */
    uint64_t skipped_ns; /* deterministic time: spent in HLT */
    struct vmlib_exit outstanding;
    struct vmlib_exit *queue; /* records not yet returned */
    uint32_t queue_head, queue_count, queue_room;
    uint32_t hint[VMLIB_HANDLER_KINDS];
    struct vmlib_breakpoint breakpoints[VMLIB_BREAKPOINTS];
};

/* The longest instruction (XSAVE of all components to a device) makes fewer records. */
#define VMI_QUEUE_MAX 1024u

/* exit.c: records that run has to return */
struct vmlib_exit *vmi_exit_queue(struct vmlib_vcpu *vcpu); /* NULL: vcpu->error is set */

/* describe.c: complete the header of vcpu->exit, inside dispatch */
void vmi_exit_describe(struct vmi_vcpu *vcpu);

/* pause.c */
void vmi_pause_begin(struct vmlib_vm *vm); /* vm->lock held */
void vmi_pause_end(struct vmlib_vm *vm);
void vmi_guest_enter_slow(struct vmlib_vcpu *vcpu);
static inline void vmi_guest_enter(struct vmlib_vcpu *vcpu)
{
    /* Either the pauser sees in_guest, or we see its request: both sides store, then load. */
    atomic_store(&vcpu->in_guest, 1);
    if (__builtin_expect(atomic_load(&vcpu->vm->attention) != 0, 0)) {
        vmi_guest_enter_slow(vcpu);
    }
}
static inline void vmi_guest_leave(struct vmlib_vcpu *vcpu)
{
    atomic_store_explicit(&vcpu->in_guest, 0, memory_order_release);
}

/* error.c: as vmi_error() for fixed texts; signal-safe */
int vmi_error_text(int code, const char *text);

/* vcpu.c */
uintptr_t vmi_thread_token(void);
/* Is this the vCPU's thread, or does nobody run it? 0 or VMLIB_E_BUSY. */
int vmi_vcpu_check_thread(struct vmlib_vcpu *vcpu);
void vmi_vcpu_poke(struct vmlib_vcpu *vcpu); /* something has changed: wake and kick. Signal-safe */
/* Handlers run on the vCPU's thread: is this call made by one? */
static inline bool vmi_vcpu_in_run(struct vmlib_vcpu *vcpu)
{
    return atomic_load_explicit(&vcpu->owner, memory_order_relaxed) != 0;
}

/* vm.c */
int vmi_vm_check_fork(const struct vmlib_vm *vm);

/* memory.c */
void vmi_memory_destroy_all(struct vmlib_vm *vm);
/* map.c: takes vm->lock itself. Bytes must have been checked for overflow. */
int vmi_memory_copy(struct vmlib_vm *vm, uint64_t gpa, void *out, const void *in, uint64_t bytes);

/* registry.c */
const struct vmi_backend *vmi_registry_find(uint32_t id);
const struct vmi_backend *vmi_registry_at(unsigned i); /* NULL: end */

/* args.c */
/* Copy a caller's struct whose first field is its size over *dst, which holds the defaults. */
int vmi_args_in(void *dst, size_t bytes, const void *src, const char *name);
/* Check the size of a struct that the library fills. */
int vmi_args_out(const void *p, size_t bytes, const char *name);
int vmi_args_cpuid(const struct vmlib_cpuid_leaf *leaves, uint32_t count);
int vmi_args_event(const struct vmlib_event *e, const char *name);
#define VMI_REQUIRE(pointer)                                         \
    do {                                                             \
        if ((pointer) == NULL) {                                     \
            return vmi_error(VMLIB_E_INVAL, "%s is NULL", #pointer); \
        }                                                            \
    } while (0)

#endif
