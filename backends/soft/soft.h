/*
 * The software backend: shared types.
 *
 *   memory.c   slots, host pages, dirty log, code granules, the rendezvous that removes mappings
 *   block.c    decoded blocks, their lookup, linking and invalidation
 *   run.c      the run loop
 *   ops.c      what lib/x86 asks of its owner and lib/engine does not know
 *   backend.c  the vtable
 *
 * Devices, events, single steps and completion of records: lib/engine.
 */
#ifndef SOFT_H
#define SOFT_H

#include <pthread.h>

#include "engine/engine.h"
#include "x86/flags.h"
#include "x86/insn.h"
#include "x86/mem.h"
#include "x86/sys.h"

struct soft_vm;
struct soft_vcpu;

/* --- memory --- */

/* A word per page of a slot: bit n is set if some vCPU may have decoded bytes of 64-byte granule n
 * (a superset). */
struct soft_code {
    uint64_t *bits;
    /* Per page: stores that have met nothing but marks whose code was overwritten; 0 while there is
     * code. Only a hint. */
    uint8_t *cooling;
    size_t pages;
};
/* So many stores a page without code stays marked. Making it a code page again costs a search for
 * write tags and a rendezvous: what is patched and executed in turn should not pay it each time. */
#define SOFT_COOLING 16

struct soft_vm {
    struct vmi_vm *owner;   /* has the slots */
    struct soft_code *code; /* per slot */
    uint32_t nslots;
    bool aliases;                            /* some host memory is mapped more than once */
    struct soft_vcpu *vcpu[VMLIB_MAX_VCPUS]; /* atomic pointers; see vcpus_lock */
    unsigned nvcpus;                         /* atomic: entries of vcpu that may be set */
    uint32_t covering;           /* atomic: vCPUs that are turning a page into a code page */
    pthread_rwlock_t vcpus_lock; /* read: looks at other vCPUs; write: one of them goes away */
    pthread_mutex_t split_lock;
};

/* Requests that vCPUs make of each other (soft_vcpu.req): served before guest memory is touched
 * again. */
#define SOFT_REQ_FLUSH 1u /* drop all translations and blocks: the memory map has changed */
#define SOFT_REQ_TLB   2u /* drop translations: write tags must go */
#define SOFT_REQ_CODE  4u /* code was overwritten: see the queue */

/* --- blocks --- */

struct soft_block {
    uintptr_t host, host2;        /* first byte; second page when the block crosses into one */
    struct soft_block *next;      /* in the lookup hash */
    struct soft_block *page_next; /* blocks of the same guest page */
    uint16_t bytes, nuops;
    uint16_t mode;
    bool crosses, dead;
    /* u[0] verifies that the block's linear page still leads to its bytes, u[1] counts and polls,
     * then the instructions follow. Links from the same page enter at u[1]. */
    struct x86_uop u[];
};

#define SOFT_BLOCK_INSNS 48 /* at most, per block */
#define SOFT_HASH_BITS   14
#define SOFT_HASH_SIZE   (1u << SOFT_HASH_BITS)
#define SOFT_ARENA_SIZE  (32u << 20) /* address space; touched as needed */
#define SOFT_DEAD_MAX    2048 /* dead blocks before everything is dropped: links to them stay slow */

struct soft_cache {
    uint8_t *arena;
    size_t used;
    struct soft_block **hash;  /* by host address and mode */
    struct soft_block **pages; /* by host page */
    unsigned dead;
    uint64_t generation; /* counts flushes */
};

#define SOFT_CODE_QUEUE 32
struct soft_code_write {
    uintptr_t page; /* host address */
    uint64_t granules;
};

struct soft_vcpu {
    struct vmi_engine e; /* first */
    struct soft_vm *vm;
    struct soft_cache cache;
    /* Branch that led out of the last block, to be linked to the next if that is where it wanted to
     * go. */
    struct x86_uop *pending_link;
    uint64_t link_rip, link_generation;
    uint16_t link_mode;
    uint32_t req;     /* SOFT_REQ_*; atomic */
    uint32_t inside;  /* atomic: may touch guest memory right now */
    uint32_t serving; /* atomic: in soft_serve() */
    uint64_t served;  /* count of servings */

    pthread_mutex_t queue_lock;
    struct soft_code_write queue[SOFT_CODE_QUEUE];
    unsigned nqueue;
    uint64_t rmw_gpa; /* an atomic update of a code page, to be announced again when done */
    unsigned rmw_size;

    uint32_t last_slot; /* of soft_page() */
    bool split_lock;    /* holds the VM's split_lock */
};

static inline struct soft_vcpu *soft_of(struct x86_cpu *cpu)
{
    return (struct soft_vcpu *)cpu;
}

/* --- memory.c --- */
int soft_mem_update(struct soft_vm *vm, const struct vmi_slot *slots, uint32_t n);
void soft_mem_free(struct soft_vm *vm);
void soft_page(struct x86_cpu *cpu, uint64_t gpa, enum x86_access acc, struct x86_page *out);
/* A store to slow memory: write, then dirty log and code bookkeeping. False: no writable memory
 * there. */
bool soft_store(struct soft_vcpu *v, uint64_t gpa, uint64_t value, unsigned size);
void soft_touched(struct soft_vm *vm, struct soft_vcpu *self, uint64_t gpa,
                  uint64_t size); /* after a store */
bool soft_has_code(struct soft_vm *vm, uint64_t gpa, unsigned size);
/* Announce that bytes at gpa are about to be decoded by v. False: requests were served meanwhile,
 * look everything up again. */
bool soft_cover_code(struct soft_vcpu *v, uint64_t gpa, unsigned bytes);
void soft_request(struct soft_vcpu *v, uint32_t bits); /* any thread */
void soft_enter(struct soft_vcpu *v);                  /* may touch guest memory from here on */
void soft_outside(struct soft_vcpu *v);                /* ... no longer */
void soft_serve(struct soft_vcpu *v);                  /* at a safe point */
void soft_request_all(struct soft_vm *vm, uint32_t bits);

/* --- block.c --- */
int soft_cache_init(struct soft_vcpu *v);
void soft_cache_free(struct soft_vcpu *v);
void soft_cache_flush(struct soft_vcpu *v);
void soft_cache_overwritten(struct soft_vcpu *v, uintptr_t page, uint64_t granules);
/* Block at cpu->rip. NULL: cpu->leave says why (fault, not memory), or LOOKUP: try again. */
struct soft_block *soft_block_get(struct soft_vcpu *v);
struct x86_uop *soft_link(struct x86_cpu *cpu, struct x86_uop *branch);

/* --- ops.c --- */
extern const struct x86_ops soft_ops;
extern const struct vmi_engine_hooks soft_hooks;

/* --- run.c --- */
int soft_run(struct vmi_vcpu *vcpu);
int soft_complete(struct vmi_vcpu *vcpu, bool fault);

#endif
