/*
 * Lockstep: memory. A shadow copy holds what both sides had at the last point; dirty logs tell
 * which pages to look at.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/error.h"
#include "kit/lockstep.h"

#define PAGE VMLIB_PAGE_SIZE

static uint64_t words(const struct vmi_ls_memory *m)
{
    return (m->pages + 63) / 64;
}

static bool marked(const uint64_t *bitmap, uint64_t page)
{
    return bitmap[page / 64] >> page % 64 & 1;
}

/* Pages that hold only zeros stay untouched in the shadow: calloc() has not given them memory. */
static void fill_shadow(struct vmi_ls_memory *m)
{
    static const uint8_t zero[PAGE];

    for (uint64_t page = 0; page < m->pages; page++)
        if (memcmp(m->host[0] + page * PAGE, zero, PAGE) != 0)
            memcpy(m->shadow + page * PAGE, m->host[0] + page * PAGE, PAGE);
}

static int check_pair(const struct vmlib_lockstep_region *pair, uint64_t *gpa, uint64_t *bytes)
{
    for (unsigned i = 0; i < 2; i++) {
        if (!pair->region[i])
            return vmi_dev_error(VMLIB_E_INVAL, "config->region: a region is NULL");
        if (vmlib_region_range(pair->region[i], &gpa[i], &bytes[i]))
            return vmi_dev_error_lib(VMLIB_E_INVAL, "config->region");
    }
    if (gpa[0] != gpa[1] || bytes[0] != bytes[1])
        return vmi_dev_error(VMLIB_E_INVAL, "config->region: the two sides have different ranges");
    return 0;
}

int vmi_ls_memory_add(struct vmlib_lockstep *l, const struct vmlib_lockstep_region *pair)
{
    struct vmi_ls_memory *m = &l->memory[l->memories];
    uint64_t gpa[2], bytes[2];
    int error = check_pair(pair, gpa, bytes);

    if (error)
        return error;
    m->gpa = gpa[0];
    m->pages = bytes[0] / PAGE;
    l->memories++;
    for (unsigned i = 0; i < 2; i++) {
        void *host = NULL;

        m->region[i] = vmlib_region_ref(pair->region[i]);
        error = vmlib_region_host(m->region[i], &host);
        if (error)
            return vmi_dev_error_lib(error, "config->region");
        m->host[i] = host;
    }
    m->shadow = calloc(m->pages, PAGE);
    m->touched = calloc(words(m), sizeof(*m->touched));
    m->dirty = calloc(words(m), sizeof(*m->dirty));
    if (!m->shadow || !m->touched || !m->dirty)
        return vmi_dev_error(VMLIB_E_NOMEM, "out of memory");
    fill_shadow(m);
    memset(m->touched, 0xff, words(m) * sizeof(*m->touched)); /* the first comparison sees all */
    return 0;
}

void vmi_ls_memory_free(struct vmlib_lockstep *l)
{
    for (uint32_t n = 0; n < l->memories; n++) {
        struct vmi_ls_memory *m = &l->memory[n];

        free(m->shadow);
        free(m->touched);
        free(m->dirty);
        vmlib_region_unref(m->region[0]);
        vmlib_region_unref(m->region[1]);
    }
    l->memories = 0;
}

int vmi_ls_memory_sync(struct vmlib_lockstep *l)
{
    for (uint32_t n = 0; n < l->memories; n++) {
        struct vmi_ls_memory *m = &l->memory[n];

        for (unsigned i = 0; i < 2; i++) {
            int error =
                vmlib_region_dirty(m->region[i], 0, m->pages * PAGE, m->dirty, VMLIB_DIRTY_CLEAR);
            if (error == VMLIB_E_STATE) /* no dirty log: any page may have been written */
                memset(m->dirty, 0xff, words(m) * sizeof(*m->dirty));
            else if (error)
                return vmi_dev_error_lib(error, "lockstep: dirty pages");
            for (uint64_t w = 0; w < words(m); w++)
                m->touched[w] |= m->dirty[w];
        }
    }
    return 0;
}

static void page_differs(struct vmlib_lockstep *l, const uint8_t *a, const uint8_t *b, uint64_t gpa)
{
    struct vmlib_lockstep_difference *d = &l->difference[l->differences];
    uint32_t first = PAGE, count = 0;
    uint64_t value[2] = {0, 0};
    char name[24];

    for (uint32_t i = 0; i < PAGE; i++) {
        if (a[i] == b[i])
            continue;
        first = first == PAGE ? i : first;
        count++;
    }
    uint32_t n = PAGE - first < 8 ? PAGE - first : 8;
    memcpy(&value[0], a + first, n);
    memcpy(&value[1], b + first, n);
    snprintf(name, sizeof(name), "memory");
    if (l->differences == VMI_LS_DIFFERENCES)
        return;
    vmi_ls_differ(l, VMLIB_LOCKSTEP_MEMORY, 0, name, value[0], value[1]);
    d->gpa = gpa + first;
    d->bytes = count;
}

void vmi_ls_memory_compare(struct vmlib_lockstep *l)
{
    for (uint32_t n = 0; n < l->memories; n++) {
        const struct vmi_ls_memory *m = &l->memory[n];

        for (uint64_t page = 0; page < m->pages; page++) {
            const uint8_t *a = m->host[0] + page * PAGE, *b = m->host[1] + page * PAGE;

            if (page % 64 == 0 && m->touched[page / 64] == 0)
                page += 63;
            else if (marked(m->touched, page) && memcmp(a, b, PAGE) != 0)
                page_differs(l, a, b, m->gpa + page * PAGE);
        }
    }
}

/* Copy touched pages of every region; `what` is told the pages. */
static void each_touched(struct vmlib_lockstep *l,
                         void (*what)(struct vmi_ls_memory *m, uint64_t offset))
{
    for (uint32_t n = 0; n < l->memories; n++) {
        struct vmi_ls_memory *m = &l->memory[n];

        for (uint64_t page = 0; page < m->pages; page++) {
            if (page % 64 == 0 && m->touched[page / 64] == 0)
                page += 63;
            else if (marked(m->touched, page))
                what(m, page * PAGE);
        }
        memset(m->touched, 0, words(m) * sizeof(*m->touched));
    }
}

static void to_shadow(struct vmi_ls_memory *m, uint64_t offset)
{
    if (memcmp(m->shadow + offset, m->host[0] + offset, PAGE) != 0)
        memcpy(m->shadow + offset, m->host[0] + offset, PAGE);
}

static void from_shadow(struct vmi_ls_memory *m, uint64_t offset)
{
    for (unsigned i = 0; i < 2; i++) {
        if (memcmp(m->host[i] + offset, m->shadow + offset, PAGE) == 0)
            continue;
        memcpy(m->host[i] + offset, m->shadow + offset, PAGE);
        vmlib_region_written(m->region[i], offset, PAGE);
    }
}

void vmi_ls_memory_commit(struct vmlib_lockstep *l)
{
    each_touched(l, to_shadow);
}

int vmi_ls_memory_rewind(struct vmlib_lockstep *l)
{
    int error = vmi_ls_memory_sync(l);

    if (!error)
        each_touched(l, from_shadow);
    return error;
}

static void across(struct vmi_ls_memory *m, uint64_t offset)
{
    if (memcmp(m->host[1] + offset, m->host[0] + offset, PAGE) == 0)
        return;
    memcpy(m->host[1] + offset, m->host[0] + offset, PAGE);
    vmlib_region_written(m->region[1], offset, PAGE);
}

int vmi_ls_memory_copy(struct vmlib_lockstep *l)
{
    each_touched(l, across);
    return 0;
}
