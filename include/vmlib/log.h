/** @file
 * Log messages of a VM.
 */
#ifndef VMLIB_LOG_H
#define VMLIB_LOG_H

#include <vmlib/version.h>

/** @defgroup log Logging
 * The library never writes to a stream; it hands messages to the callback given at VM creation.
 * @{ */

#define VMLIB_LOG_ERROR   1u
#define VMLIB_LOG_WARNING 2u
#define VMLIB_LOG_INFO    3u
#define VMLIB_LOG_DEBUG   4u

/**
 * Receives one message (one line, no newline).
 *
 * Called on the thread that caused the message, possibly several at once. It must not call the
 * library.
 */
typedef void (*vmlib_log_fn)(void *opaque, uint32_t level, const char *text);

/** @} */
#endif
