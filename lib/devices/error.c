/* Detail text of errors of libvmlib-devices. */
#include <stdarg.h>
#include <stdio.h>

#include <vmlib/boot.h>

#include "devices/error.h"

static _Thread_local char text[256];

int vmi_dev_error(int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return code;
}

int vmi_dev_error_lib(int code, const char *what)
{
    return vmi_dev_error(code, "%s: %s", what, vmlib_last_error());
}

const char *vmlib_devices_last_error(void)
{
    return text;
}
