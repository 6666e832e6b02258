/*
 * The table in which vCPUs look handlers up: per kind, disjoint intervals in ascending order, each
 * with its handlers from the youngest to the oldest. Overlapping ranges are cut into pieces when
 * the table is built, so that a lookup is one binary search, or one compare when the same range is
 * hit again.
 */
#include <stdlib.h>

#include "core/internal.h"

struct interval {
    uint64_t first, last;
    uint32_t start, count; /* in table->list */
};

struct vmi_table {
    struct interval *intervals[VMLIB_HANDLER_KINDS];
    uint32_t count[VMLIB_HANDLER_KINDS];
    struct vmi_hook **list;
    struct vmi_hook **bells; /* by kind, then address */
    uint32_t nbells;
};

/* Build memory: one pass counts, the second fills. */
struct builder {
    uint64_t *starts; /* where an interval may begin */
    uint32_t nstarts;
    uint32_t nlist;
};

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int compare_bells(const void *a, const void *b)
{
    const struct vmi_hook *x = *(struct vmi_hook *const *)a, *y = *(struct vmi_hook *const *)b;
    if (x->kind != y->kind) {
        return x->kind < y->kind ? -1 : 1;
    }
    return x->first < y->first ? -1 : x->first > y->first;
}

static void collect_starts(struct builder *b, const struct vmi_hook *hooks, uint32_t kind)
{
    b->nstarts = 0;
    for (const struct vmi_hook *h = hooks; h != NULL; h = h->next) {
        if (h->doorbell || h->kind != kind) {
            continue;
        }
        b->starts[b->nstarts++] = h->first;
        if (h->last != UINT64_MAX) {
            b->starts[b->nstarts++] = h->last + 1;
        }
    }
    qsort(b->starts, b->nstarts, sizeof(b->starts[0]), compare_u64);
}

/* Handlers of the interval that begins at `start`; hooks come youngest first. list NULL: only
 * count. */
static uint32_t claims(struct vmi_hook *hooks, uint32_t kind, uint64_t start,
                       struct vmi_hook **list)
{
    uint32_t n = 0;
    for (struct vmi_hook *h = hooks; h != NULL; h = h->next) {
        if (!h->doorbell && h->kind == kind && h->first <= start && start <= h->last) {
            if (list != NULL) {
                list[n] = h;
            }
            n++;
        }
    }
    return n;
}

static bool build_kind(struct vmi_table *t, struct builder *b, struct vmi_hook *hooks,
                       uint32_t kind)
{
    collect_starts(b, hooks, kind);
    if (b->nstarts == 0) {
        return true;
    }
    t->intervals[kind] = calloc(b->nstarts, sizeof(struct interval));
    if (t->intervals[kind] == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < b->nstarts; i++) {
        uint64_t first = b->starts[i];
        uint32_t n = i != 0 && first == b->starts[i - 1] ? 0 : claims(hooks, kind, first, NULL);
        if (n == 0) {
            continue;
        }
        uint32_t next = i + 1;
        while (next < b->nstarts && b->starts[next] == first) {
            next++;
        }
        struct vmi_hook **list = realloc(t->list, (b->nlist + n) * sizeof(t->list[0]));
        if (list == NULL) {
            return false;
        }
        t->list = list;
        uint64_t last = next < b->nstarts ? b->starts[next] - 1 : UINT64_MAX;
        t->intervals[kind][t->count[kind]++] = (struct interval){first, last, b->nlist, n};
        b->nlist += claims(hooks, kind, first, t->list + b->nlist);
    }
    return true;
}

static bool build_bells(struct vmi_table *t, struct vmi_hook *hooks, uint32_t total)
{
    t->bells = calloc(total + 1, sizeof(t->bells[0]));
    if (t->bells == NULL) {
        return false;
    }
    for (struct vmi_hook *h = hooks; h != NULL; h = h->next) {
        if (h->doorbell) {
            t->bells[t->nbells++] = h;
        }
    }
    qsort(t->bells, t->nbells, sizeof(t->bells[0]), compare_bells);
    return true;
}

struct vmi_table *vmi_table_build(struct vmi_hook *hooks)
{
    uint32_t total = 0;
    for (struct vmi_hook *h = hooks; h != NULL; h = h->next) {
        total++;
    }
    struct vmi_table *t = calloc(1, sizeof(*t));
    struct builder b = {calloc(2 * (size_t)total + 1, sizeof(uint64_t)), 0, 0};
    bool ok = t != NULL && b.starts != NULL && build_bells(t, hooks, total);
    for (uint32_t kind = 0; ok && kind < VMLIB_HANDLER_KINDS; kind++) {
        ok = build_kind(t, &b, hooks, kind);
    }
    free(b.starts);
    if (!ok && t != NULL) {
        vmi_table_free(t);
        t = NULL;
    }
    return t;
}

void vmi_table_free(struct vmi_table *t)
{
    if (t == NULL) {
        return;
    }
    for (uint32_t kind = 0; kind < VMLIB_HANDLER_KINDS; kind++) {
        free(t->intervals[kind]);
    }
    free(t->list);
    free(t->bells);
    free(t);
}

static const struct interval *search(const struct vmi_table *t, uint32_t kind, uint64_t addr,
                                     uint32_t *hint)
{
    const struct interval *v = t->intervals[kind];
    uint32_t n = t->count[kind];
    if (*hint < n && v[*hint].first <= addr && addr <= v[*hint].last) {
        return &v[*hint];
    }
    uint32_t lo = 0;
    while (n > lo) {
        uint32_t mid = lo + (n - lo) / 2;
        if (addr > v[mid].last) {
            lo = mid + 1;
        } else {
            n = mid;
        }
    }
    if (lo < t->count[kind] && v[lo].first <= addr) {
        *hint = lo;
        return &v[lo];
    }
    return NULL;
}

struct vmi_hook *vmi_table_find(const struct vmi_table *t, uint32_t kind, uint64_t addr,
                                uint64_t below, uint32_t *hint)
{
    const struct interval *v = t != NULL ? search(t, kind, addr, hint) : NULL;
    for (uint32_t i = 0; v != NULL && i < v->count; i++) {
        struct vmi_hook *h = t->list[v->start + i];
        if (h->seq < below) {
            return h;
        }
    }
    return NULL;
}

struct vmi_hook *vmi_table_doorbell(const struct vmi_table *t, uint32_t kind, uint64_t addr,
                                    unsigned width, uint64_t value)
{
    uint32_t lo = 0, n = t != NULL ? t->nbells : 0;
    while (n > lo) {
        uint32_t mid = lo + (n - lo) / 2;
        const struct vmi_hook *h = t->bells[mid];
        if (h->kind < kind || (h->kind == kind && h->first < addr)) {
            lo = mid + 1;
        } else {
            n = mid;
        }
    }
    for (; t != NULL && lo < t->nbells; lo++) {
        struct vmi_hook *h = t->bells[lo];
        if (h->kind != kind || h->first != addr) {
            break;
        }
        if ((h->width == 0 || h->width == width) &&
            ((h->flags & VMLIB_DOORBELL_MATCH) == 0 || h->value == value)) {
            return h;
        }
    }
    return NULL;
}

bool vmi_handler_covers(const struct vmi_vm *pub, uint32_t kind, uint64_t value)
{
    const struct vmlib_vm *vm = (const struct vmlib_vm *)pub;
    uint32_t hint = 0;
    return vmi_table_find(vm->table, kind, value, UINT64_MAX, &hint) != NULL;
}
