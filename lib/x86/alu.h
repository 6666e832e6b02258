/*
 * Integer arithmetic with x86 flags: uintN_t x86_OPN(a, b, &cc). *cc goes in as the guest's flags
 * and comes out as those after the operation; operations that do not depend on old flags ignore
 * what goes in.
 */
#ifndef X86_ALU_H
#define X86_ALU_H

#include "x86/mem.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(X86_PORTABLE)
#include "x86/alu_host_x86_64.h"
#else
#include "x86/alu_portable.h"
#endif

#endif
