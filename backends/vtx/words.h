/*
 * VT-x in words: why there is none, why an entry failed, what an exit is called.
 */
#ifndef VTX_WORDS_H
#define VTX_WORDS_H

#include <stddef.h>
#include <stdint.h>

#include "vmlib_vtx.h"

/* Why no VM can be created, and what to do about it. */
void vtx_words_unavailable(const struct vmlib_vtx_info *info, char *text, size_t bytes);
/* VM-instruction error numbers (SDM Vol.3C 30.4); never NULL. */
const char *vtx_words_instruction_error(uint32_t number);
/* What the driver refuses (VMLIB_VTX_BAD_ constant); never NULL. */
const char *vtx_words_invalid(uint32_t invalid);
/* Basic exit reasons (SDM Vol.3D appendix C); never NULL. */
const char *vtx_words_reason(uint32_t reason);
/* The first check of SDM Vol.3C 26.3.1 that the guest state in *run fails (all groups current),
 * with its section; NULL: none found. */
const char *vtx_words_entry(const struct vmlib_vtx_run *run, const struct vmlib_vtx_info *info);

#endif
