/* What tests of the library begin with: cmocka, the headers it needs, and OK(). */
#ifndef CHECK_H
#define CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <vmlib/vmlib.h>

/* The text of the other library, where it is used. */
#ifndef CHECK_DEVICES
#define CHECK_DEVICES ""
#endif

/* The call succeeds; else the case fails with the error texts. */
#define OK(call)                                                                       \
    do {                                                                               \
        int rc_ = (call);                                                              \
        if (rc_ != 0)                                                                  \
            fail_msg("%s: %d, %s; %s", #call, rc_, vmlib_last_error(), CHECK_DEVICES); \
    } while (0)

#endif
