/* Detail text of errors of libvmlib-devices: thread-local, read by vmlib_devices_last_error(). */
#ifndef VMI_DEVICES_ERROR_H
#define VMI_DEVICES_ERROR_H

/* Record the text; returns code, so that `return vmi_dev_error(...)` reads well. */
int vmi_dev_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for a call of libvmlib that failed: its own detail text is appended. */
int vmi_dev_error_lib(int code, const char *what);

#endif
