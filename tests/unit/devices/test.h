/* What every test of this folder needs before cmocka.h. */
#ifndef TEST_DEVICES_H
#define TEST_DEVICES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A line that remembers its level and counts rising edges. */
struct test_line {
    bool level;
    unsigned rises;
    unsigned number; /* of the last change */
};

static inline void test_line_set(void *opaque, unsigned number, bool level)
{
    struct test_line *l = opaque;

    if (level && !l->level)
        l->rises++;
    l->level = level;
    l->number = number;
}

#define TEST_LINE(l) ((struct vmi_line){.set = test_line_set, .opaque = (l)})

#endif
