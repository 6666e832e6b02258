/* tests/check.h for the kit: OK() also prints the error text of its library. */
#ifndef CHECK_KIT_H
#define CHECK_KIT_H

#include <vmlib/boot.h>

#define CHECK_DEVICES vmlib_devices_last_error()
#include "../check.h"

#endif
