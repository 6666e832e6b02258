/** @file
 * Everything.
 */
#ifndef VMLIB_VMLIB_H
#define VMLIB_VMLIB_H

#include <vmlib/version.h>
#include <vmlib/error.h>
#include <vmlib/log.h>
#include <vmlib/caps.h>
#include <vmlib/vm.h>
#include <vmlib/memory.h>
#include <vmlib/exit.h>
#include <vmlib/io.h>
#include <vmlib/state.h>
#include <vmlib/vcpu.h>

#endif
