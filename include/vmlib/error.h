/** @file
 * Error codes.
 *
 * Every call that can fail returns 0 or a negative code. A guest event is never an error: errors
 * say that the host program or the host machine failed. Out parameters are written only on success.
 */
#ifndef VMLIB_ERROR_H
#define VMLIB_ERROR_H

#include <vmlib/version.h>

/** @defgroup error Errors
 * @{ */

#define VMLIB_OK      0
#define VMLIB_E_INVAL (-1) /**< an argument is wrong; vmlib_last_error() names it */
#define VMLIB_E_NOMEM (-2) /**< the host has no memory left */
#define VMLIB_E_STATE \
    (-3) /**< not in this state: an exit waits for completion, the vCPU has run, ... */
#define VMLIB_E_BUSY        (-4)  /**< the object is in use: the vCPU runs on another thread */
#define VMLIB_E_EXISTS      (-5)  /**< overlaps or duplicates something that is already there */
#define VMLIB_E_RANGE       (-6)  /**< address and size leave the allowed range */
#define VMLIB_E_NOTFOUND    (-7)  /**< no such object */
#define VMLIB_E_UNSUPPORTED (-8)  /**< the backend refuses this feature */
#define VMLIB_E_UNAVAILABLE (-9)  /**< no backend of the list can be used on this machine */
#define VMLIB_E_FORK        (-10) /**< the VM was created by the parent of this process */
#define VMLIB_E_FAULT       (-11) /**< guest memory is not mapped or does not allow the access */
#define VMLIB_E_IO          (-12) /**< a host system call failed */
#define VMLIB_E_LIMIT       (-13) /**< a fixed limit of the library or the backend is reached */
#define VMLIB_E_INTERNAL    (-14) /**< a bug in the library */
#define VMLIB_E_LAST        (-14) /**< lowest code in use by the library */
/** Codes from here downwards are never used by the library: handlers may return them. */
#define VMLIB_E_USER (-1000)

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Return the name and meaning of an error code as static text, never NULL.
 * @param code 0 or a VMLIB_E_ code; other values give a generic text.
 * @thread{any}
 */
VMLIB_API const char *vmlib_strerror(int code);

/**
 * Return the detail of the last call on this thread that failed: the argument and the reason.
 * @return Text that stays valid until the next failing call on this thread; "" when none has
 * failed.
 * @thread{any}
 */
VMLIB_API const char *vmlib_last_error(void);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
