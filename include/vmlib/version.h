/** @file
 * Version numbers and the export macro.
 */
#ifndef VMLIB_VERSION_H
#define VMLIB_VERSION_H

#include <stddef.h>
#include <stdint.h>

/** @defgroup version Version
 * @{ */

#define VMLIB_VERSION_MAJOR 0
#define VMLIB_VERSION_MINOR 1
#define VMLIB_VERSION_PATCH 0
/** Version of these headers as one number that compares. */
#define VMLIB_VERSION \
    (VMLIB_VERSION_MAJOR * 1000000 + VMLIB_VERSION_MINOR * 1000 + VMLIB_VERSION_PATCH)

#if defined(__GNUC__)
#define VMLIB_API __attribute__((visibility("default")))
#else
#define VMLIB_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Return the version of the library in use, in the form of #VMLIB_VERSION.
 * @thread{any}
 */
VMLIB_API uint32_t vmlib_version(void);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
