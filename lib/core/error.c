/* Error texts. The thread-local buffer is the library's only writable global. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/internal.h"

static _Thread_local char detail[256];

const char *vmlib_strerror(int code)
{
    static const char *const text[] = {
        [0] = "success",
        [-VMLIB_E_INVAL] = "invalid argument",
        [-VMLIB_E_NOMEM] = "out of memory",
        [-VMLIB_E_STATE] = "not allowed in this state",
        [-VMLIB_E_BUSY] = "object is in use",
        [-VMLIB_E_EXISTS] = "already exists or overlaps",
        [-VMLIB_E_RANGE] = "out of range",
        [-VMLIB_E_NOTFOUND] = "not found",
        [-VMLIB_E_UNSUPPORTED] = "not supported by the backend",
        [-VMLIB_E_UNAVAILABLE] = "no backend is available",
        [-VMLIB_E_FORK] = "virtual machine belongs to the parent process",
        [-VMLIB_E_FAULT] = "guest memory cannot be accessed",
        [-VMLIB_E_IO] = "host system call failed",
        [-VMLIB_E_LIMIT] = "limit reached",
        [-VMLIB_E_INTERNAL] = "internal error",
    };
    if (code <= 0 && code >= VMLIB_E_LAST) {
        return text[-code];
    }
    return code <= VMLIB_E_USER ? "error of the host program" : "unknown error";
}

const char *vmlib_last_error(void)
{
    return detail;
}

int vmi_error(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    return code;
}

int vmi_error_text(int code, const char *text)
{
    memcpy(detail, text, strlen(text) + 1); /* vsnprintf() is not signal-safe */
    return code;
}

/* The address of a thread-local object names a living thread without a system call. */
uintptr_t vmi_thread_token(void)
{
    return (uintptr_t)detail;
}

void vmi_log(struct vmi_vm *pub, uint32_t level, const char *format, ...)
{
    struct vmlib_vm *vm = (struct vmlib_vm *)pub;
    if (vm->log == NULL) {
        return;
    }
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    vm->log(vm->log_opaque, level, text);
}
