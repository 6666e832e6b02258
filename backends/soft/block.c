/*
 * Decoded blocks of one vCPU: building, lookup, linking, invalidation.
 *
 * A block is keyed by the host address of its bytes (that is, by guest memory, wherever it is
 * mapped), linear address and mode; its instructions stay on one guest page, except that a block
 * may consist of a single instruction that crosses into the next. Blocks are private to a vCPU, so
 * links are plain pointers. When code is overwritten each uop of the block becomes x86_op_dead:
 * whoever stands in it, the very store that hit it included, leaves at the next instruction
 * boundary. That is what makes self-modifying code exact. Memory of dead blocks is reused when the
 * whole cache is flushed.
 */
#include <string.h>
#include <sys/mman.h>

#include "soft/soft.h"
#include "x86/branch.h"
#include "x86/fetch.h"
#include "x86/fuse.h"
#include "x86/handlers.h"

#define HASH_BYTES (SOFT_HASH_SIZE * sizeof(struct soft_block *))
#define JC_BYTES   (X86_JC_SIZE * sizeof(struct x86_jump))
#define TLB_BYTES  (X86_NBANKS * X86_TLB_SIZE * sizeof(struct x86_tlb_entry))
#define ALL_BYTES  (SOFT_ARENA_SIZE + 2 * HASH_BYTES + JC_BYTES + TLB_BYTES)

/* --- heads --- */

/* A block was entered through a link but cannot run now: leave at its first instruction. */
static struct x86_uop *head_leave(struct x86_cpu *cpu, uint64_t rip)
{
    if (!cpu->rip_set) /* a device callback of the last instruction may have moved it */
        cpu->rip = rip;
    cpu->rip_set = false;
    cpu->leave = X86_LEAVE_LOOKUP;
    return NULL;
}

/* u[1] of flat code, where rip is the linear address: count, poll, go. */
static struct x86_uop *head_flat(struct x86_cpu *cpu, struct x86_uop *u)
{
    int64_t left = cpu->left - u->disp;
    if (X86_UNLIKELY((left < 0) | (__atomic_load_n(&cpu->poll, __ATOMIC_RELAXED) != 0)))
        return head_leave(cpu, u->imm);
    cpu->left = left;
    cpu->r[X86_RIPBASE] = u->imm;
    X86_NEXT(cpu, u);
}

/* u[1] of code with a segment base: entered by the run loop only, which has set RIPBASE. */
static struct x86_uop *head_segment(struct x86_cpu *cpu, struct x86_uop *u)
{
    int64_t left = cpu->left - u->disp;
    if (X86_UNLIKELY((left < 0) | (__atomic_load_n(&cpu->poll, __ATOMIC_RELAXED) != 0)))
        return head_leave(cpu, cpu->r[X86_RIPBASE]);
    cpu->left = left;
    X86_NEXT(cpu, u);
}

static inline bool leads_to(struct x86_cpu *cpu, uint64_t lin, uintptr_t host)
{
    const struct x86_tlb_entry *e = x86_tlb_slot(cpu, lin);
    return e->ex == x86_tlb_tag(cpu, lin, 1) && e->addend + (uintptr_t)lin == host;
}

/* u[0]: does the linear page still lead to the bytes this block was decoded from? */
static struct x86_uop *head_verify(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint64_t lin = u[1].imm;
    if (X86_UNLIKELY(!leads_to(cpu, lin, (uintptr_t)u->imm)))
        return head_leave(cpu, lin);
    X86_NEXT(cpu, u);
}

static struct x86_uop *head_verify_both(struct x86_cpu *cpu, struct x86_uop *u)
{
    const struct soft_block *b =
        (const struct soft_block *)((const char *)u - offsetof(struct soft_block, u));
    uint64_t lin = u[1].imm, lin2 = ((lin | X86_PAGE_MASK) + 1) & cpu->lin_mask;
    if (!leads_to(cpu, lin, (uintptr_t)u->imm) || !leads_to(cpu, lin2, b->host2))
        return head_leave(cpu, lin);
    X86_NEXT(cpu, u);
}

static struct x86_uop *head_dead(struct x86_cpu *cpu, struct x86_uop *u)
{
    return head_leave(cpu, u->imm);
}

static struct x86_uop *head_verify_dead(struct x86_cpu *cpu, struct x86_uop *u)
{
    return head_leave(cpu, u[1].imm);
}

static struct x86_uop *head_segment_dead(struct x86_cpu *cpu, struct x86_uop *u)
{
    (void)u;
    return head_leave(cpu, cpu->r[X86_RIPBASE]);
}

/* --- the cache --- */

/* One mapping for everything that is large: pages that are never touched cost nothing. */
int soft_cache_init(struct soft_vcpu *v)
{
    struct soft_cache *c = &v->cache;
    uint8_t *p = mmap(NULL, ALL_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return -1;
    madvise(p, ALL_BYTES, MADV_NOHUGEPAGE); /* an idle vCPU touches few of them */
    c->arena = p;
    c->hash = (struct soft_block **)(void *)(p += SOFT_ARENA_SIZE);
    c->pages = (struct soft_block **)(void *)(p += HASH_BYTES);
    v->e.cpu.jc = (struct x86_jump *)(void *)(p += HASH_BYTES);
    v->e.cpu.tlb_banks = (struct x86_tlb_entry *)(void *)(p + JC_BYTES);
    v->e.cpu.link = soft_link;
    return 0;
}

void soft_cache_free(struct soft_vcpu *v)
{
    if (v->cache.arena)
        munmap(v->cache.arena, ALL_BYTES);
    v->cache.arena = NULL;
}

void soft_cache_flush(struct soft_vcpu *v)
{
    struct soft_cache *c = &v->cache;
    if (c->used) {
        memset(c->hash, 0, HASH_BYTES);
        memset(c->pages, 0, HASH_BYTES);
        memset(v->e.cpu.jc, 0, JC_BYTES);
    }
    c->used = 0;
    c->dead = 0;
    c->generation++;
    v->pending_link = NULL;
}

static unsigned hash_of(uintptr_t host, unsigned mode)
{
    return (unsigned)((host * UINT64_C(0x9e3779b97f4a7c15) + mode) >> 48) & (SOFT_HASH_SIZE - 1);
}

static unsigned page_hash(uintptr_t host)
{
    return (unsigned)((host >> 12) * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (SOFT_HASH_SIZE - 1);
}
/* Blocks that cross pages are rare: they have a list of their own, searched whatever page is
 * written. */
#define CROSSING ((uintptr_t)0)

static struct soft_block *find(const struct soft_cache *c, uintptr_t host, unsigned mode,
                               uint64_t lin)
{
    struct soft_block *b = c->hash[hash_of(host, mode)];
    while (b && (b->host != host || b->mode != mode || b->u[1].imm != lin))
        b = b->next;
    return b;
}

static void kill_block(struct soft_cache *c, struct soft_block *b)
{
    bool flat = b->mode & X86_MODE_FLAT;
    struct soft_block **at = &c->hash[hash_of(b->host, b->mode)];
    while (*at != b)
        at = &(*at)->next;
    *at = b->next; /* code that is patched again and again would grow a long tail of dead ones */
    b->dead = true;
    c->dead++;
    b->u[0].fn = head_verify_dead;
    b->u[1].fn = flat ? head_dead : head_segment_dead;
    for (unsigned i = 2; i < b->nuops; i++)
        b->u[i].fn = x86_op_dead;
}

/* Granules that a block covers on the given page. */
static uint64_t granules_on(const struct soft_block *b, uintptr_t page)
{
    unsigned off = (unsigned)(b->host & 0xfff), end = off + b->bytes - 1;
    if ((b->host & ~(uintptr_t)0xfff) == page) {
        unsigned last = (end > 0xfff ? 0xfff : end) >> 6;
        return (UINT64_MAX >> (63 - last)) & (UINT64_MAX << (off >> 6));
    }
    return b->crosses && b->host2 == page ? 1 : 0; /* at most 14 bytes of the second page */
}

static void kill_on_list(struct soft_cache *c, uintptr_t list, uintptr_t page, uint64_t granules)
{
    struct soft_block **at = &c->pages[page_hash(list)];
    while (*at) {
        struct soft_block *b = *at;
        if (!b->dead && granules_on(b, page) & granules)
            kill_block(c, b);
        if (b->dead)
            *at = b->page_next; /* its memory stays until the flush */
        else
            at = &b->page_next;
    }
}

void soft_cache_overwritten(struct soft_vcpu *v, uintptr_t page, uint64_t granules)
{
    kill_on_list(&v->cache, page, page, granules);
    if (granules &
        (1 | UINT64_C(1) << 63)) /* instructions that cross into this page or out of it */
        kill_on_list(&v->cache, CROSSING, page, granules);
}

/* --- building --- */

static struct soft_block *reserve(struct soft_vcpu *v)
{
    struct soft_cache *c = &v->cache;
    size_t most = sizeof(struct soft_block) + (SOFT_BLOCK_INSNS + 4) * sizeof(struct x86_uop);
    c->used = (c->used + 63) & ~(size_t)63;
    if (c->used + most > SOFT_ARENA_SIZE || c->dead > SOFT_DEAD_MAX)
        soft_cache_flush(v);
    return (struct soft_block *)(void *)(c->arena + c->used);
}

static bool is_jcc(const struct x86_insn *in)
{
    const struct x86_row *r = &x86_rows[in->row];
    return (r->map == X86_M1 && (in->opcode & 0xf0) == 0x70) ||
           (r->map == X86_M0F && (in->opcode & 0xf0) == 0x80);
}

/* Append one decoded instruction; true if it ends the block. */
static bool append(struct soft_vcpu *v, struct soft_block *b, const struct x86_insn *in,
                   enum x86_decode_result decoded, unsigned offset)
{
    struct x86_uop *u = &b->u[b->nuops++];
    x86_lower(&v->e.cpu, in, offset, u);
    if (decoded != X86_DECODE_OK) {
        u->fn = decoded == X86_DECODE_UD ? x86_op_ud : x86_op_too_long;
        return true;
    }
    if (is_jcc(in) && b->nuops > 3) {
        x86_handler *fused = x86_fuse(u - 1, &x86_rows[u[-1].row], in->opcode & 15);
        if (fused)
            u[-1].fn = fused;
    }
    return x86_rows[in->row].attr & X86_A_END;
}

static void copy_code(uint8_t dst[16], const uint8_t *src, unsigned n)
{
    if (n >= 16) {
        uint64_t q[2] = {x86_raw_ld64((uintptr_t)src), x86_raw_ld64((uintptr_t)src + 8)};
        memcpy(dst, q, 16);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        dst[i] = x86_raw_ld8((uintptr_t)src + i);
}

/* Decode on the first page until something ends the block. Returns its length in bytes. */
static unsigned decode_block(struct soft_vcpu *v, struct soft_block *b, const struct x86_fetched *f)
{
    unsigned room = 0x1000 - (unsigned)(f->gpa[0] & 0xfff), off = 0;
    bool ended = append(v, b, &f->in, f->decode, 0);
    off = f->in.length;
    while (!ended && off < room && b->nuops < SOFT_BLOCK_INSNS + 2) {
        struct x86_insn in;
        uint8_t bytes[16];
        unsigned n = room - off < 16 ? room - off : 16;
        if (!soft_cover_code(v, f->gpa[0] + off, n))
            return 0;
        copy_code(bytes, f->host[0] + off, n);
        enum x86_decode_result r =
            x86_decode(bytes, n < 15 ? n : 15, v->e.cpu.mode, v->e.cpu.feat, &in);
        if (r == X86_DECODE_MORE)
            break;
        ended = append(v, b, &in, r, off);
        off += in.length;
    }
    return off;
}

static void finish_block(struct soft_block *b, unsigned bytes, uint64_t lin,
                         const struct x86_fetched *f)
{
    unsigned insns = b->nuops - 2u;
    /* Also behind an instruction that ends the block: some go on to the next uop when nothing
     * special has happened. */
    b->u[b->nuops++] = (struct x86_uop){.fn = x86_op_end, .ip = (uint16_t)bytes};
    for (unsigned i = 0; i < insns; i++)
        b->u[2 + i].rem = (uint8_t)(insns - i);
    bool flat = b->mode & X86_MODE_FLAT;
    b->bytes = (uint16_t)bytes;
    b->u[0] = (struct x86_uop){.fn = b->crosses ? head_verify_both : head_verify,
                               .imm = (uintptr_t)f->host[0],
                               .row = b->mode};
    b->u[1] = (struct x86_uop){
        .fn = flat ? head_flat : head_segment, .imm = lin, .disp = (int32_t)insns, .row = b->mode};
}

static void insert(struct soft_cache *c, struct soft_block *b)
{
    struct soft_block **h = &c->hash[hash_of(b->host, b->mode)];
    struct soft_block **p = &c->pages[page_hash(b->crosses ? CROSSING : b->host)];
    b->next = *h;
    *h = b;
    b->page_next = *p;
    *p = b;
    c->used += sizeof(*b) + b->nuops * sizeof(struct x86_uop);
}

static struct soft_block *build(struct soft_vcpu *v, const struct x86_fetched *f, uint64_t lin)
{
    struct soft_block *b = reserve(v);
    unsigned bytes = f->in.length;

    *b = (struct soft_block){.host = (uintptr_t)f->host[0],
                             .host2 = f->crosses ? (uintptr_t)f->host[1] : 0,
                             .nuops = 2,
                             .mode = v->e.cpu.mode,
                             .crosses = f->crosses};
    if (f->crosses)
        append(v, b, &f->in, f->decode, 0);
    else
        bytes = decode_block(v, b, f);
    if (!bytes)
        return NULL;
    finish_block(b, bytes, lin, f);
    insert(&v->cache, b);
    return b;
}

static struct soft_block *again(struct soft_vcpu *v)
{
    v->e.cpu.leave = X86_LEAVE_LOOKUP;
    return NULL;
}

/* Fetch the first instruction of a new block, its bytes covered before they are read. */
static enum x86_result fetch_covered(struct soft_vcpu *v, uint64_t gpa, struct x86_fetched *f)
{
    unsigned room = 0x1000 - (unsigned)(gpa & 0xfff);
    if (!soft_cover_code(v, gpa, room < 15 ? room : 15))
        return X86_AGAIN;
    enum x86_result r = x86_fetch(&v->e.cpu, f);
    if (r != X86_OK || !f->crosses)
        return r;
    if (!soft_cover_code(v, f->gpa[1], 1))
        return X86_AGAIN;
    return x86_fetch(&v->e.cpu, f);
}

static bool usable(struct x86_cpu *cpu, const struct soft_block *b, uint64_t lin)
{
    return b &&
           (!b->crosses || leads_to(cpu, ((lin | X86_PAGE_MASK) + 1) & cpu->lin_mask, b->host2));
}

static struct soft_block *build_at(struct soft_vcpu *v, uint64_t lin)
{
    struct x86_cpu *cpu = &v->e.cpu;
    struct x86_fetched f;
    const uint8_t *host;
    uint64_t gpa;

    if (x86_fetch_page(cpu, lin, &host, &gpa) != X86_OK)
        return NULL;
    if (!host) { /* code that is not memory: the host sees it */
        cpu->tmp = gpa;
        cpu->leave = X86_LEAVE_EXIT;
        return NULL;
    }
    struct soft_block *b = find(&v->cache, (uintptr_t)host, cpu->mode, lin);
    if (usable(cpu, b, lin))
        return b;
    enum x86_result r = fetch_covered(v, gpa, &f);
    if (r == X86_OK && (b = build(v, &f, lin)))
        return b;
    return r == X86_OK || r == X86_AGAIN ? again(v) : NULL; /* else cpu->leave is set */
}

/* Flat code that a branch has been to before: one look into the jump cache. */
static struct soft_block *recent(struct x86_cpu *cpu)
{
    const struct x86_jump *j = &cpu->jc[x86_jc_hash(cpu->rip)];
    if (j->key != X86_JC_KEY(cpu->rip) || !j->head || j->head->row != cpu->mode ||
        !(cpu->mode & X86_MODE_FLAT))
        return NULL;
    struct soft_block *b = (struct soft_block *)((char *)j->head - offsetof(struct soft_block, u));
    return !b->dead && leads_to(cpu, cpu->rip, b->host) && usable(cpu, b, cpu->rip) ? b : NULL;
}

struct soft_block *soft_block_get(struct soft_vcpu *v)
{
    struct x86_cpu *cpu = &v->e.cpu;
    struct soft_block *b = recent(cpu);
    if (X86_LIKELY(b != NULL))
        return b;
    uint64_t base = cpu->mode & X86_MODE_64 ? 0 : cpu->seg[X86_CS].base;
    uint64_t lin = (base + cpu->rip) & cpu->lin_mask;
    const struct x86_tlb_entry *e = x86_tlb_slot(cpu, lin);

    if (e->ex == x86_tlb_tag(cpu, lin, 1)) {
        b = find(&v->cache, e->addend + (uintptr_t)lin, cpu->mode, lin);
        if (usable(cpu, b, lin))
            return b;
    }
    return build_at(v, lin);
}

struct x86_uop *soft_link(struct x86_cpu *cpu, struct x86_uop *branch)
{
    struct soft_vcpu *v = soft_of(cpu);
    cpu->left += branch->rem - 1;
    uint64_t target = x86_branch_target(cpu, branch);
    if (cpu->mode & X86_MODE_FLAT) {
        v->pending_link = branch;
        v->link_generation = v->cache.generation;
        v->link_rip = target;
        v->link_mode = cpu->mode;
    }
    return x86_jump_lookup(cpu, target);
}
