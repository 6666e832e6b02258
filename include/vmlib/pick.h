/** @file
 * Choosing a backend for programs that leave it to the library. Part of libvmlib-devices.
 */
#ifndef VMLIB_PICK_H
#define VMLIB_PICK_H

#include <vmlib/vmlib.h>

/** @defgroup pick Choosing a backend
 * @{ */

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Find the fastest backend that has the required features on this machine: VT-x, then KVM, then
 * software. A hardware backend is tried with a short guest in ring 0 and taken only if that runs no
 * slower than on the software engine: a KVM that emulates ring 0 (some nested clouds) is available,
 * but no system boots on it. Takes about a millisecond.
 * @param required Bits 1 << VMLIB_FEATURE_ that must be native or emulated.
 * @param[out] backend VMLIB_BACKEND_ constant for vmlib_vm_config.backends.
 * @param[out] why One line for people: which one, and for each better one why not. May be NULL when
 * bytes is 0.
 * @param bytes Room in `why`; a longer text is cut.
 * @retval VMLIB_E_INVAL backend is NULL, or why is NULL and bytes is not 0.
 * @retval VMLIB_E_UNAVAILABLE no backend of this build has the features; `why` is written.
 * @thread{any}
 */
VMLIB_API int vmlib_backend_pick(uint64_t required, uint32_t *backend, char *why, size_t bytes);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
