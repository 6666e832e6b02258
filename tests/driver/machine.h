/*
 * A small user of the driver's interface for the tests that run inside the rig: one VM, one page of
 * guest code in real mode.
 */
#ifndef VTX_TEST_MACHINE_H
#define VTX_TEST_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmlib_vtx.h"

#define CODE_GPA 0x1000u

struct machine {
    int device, vm, vcpu;
    struct vmlib_vtx_info info;
    uint8_t *memory; /* 64 KiB at guest-physical 0 */
    struct vmlib_vtx_run *run;
    uint8_t *fpu, *apic;
};

/* Each returns 0 or -errno. */
int device_info(int device, struct vmlib_vtx_info *info);
int machine_open(struct machine *m);
void machine_close(struct machine *m);
int machine_map(struct machine *m, uint64_t gpa, void *memory, uint64_t bytes, uint32_t prot,
                uint32_t flags);
int machine_range(struct machine *m, unsigned long call, uint64_t gpa, uint64_t bytes,
                  uint32_t prot);
/* The state of real mode in all groups. */
void machine_real_mode(struct machine *m);
/* Real mode at CODE_GPA with this code, stack below it. */
void machine_code(struct machine *m, const void *code, size_t bytes);
/* RUN until it is not interrupted by a signal. */
int machine_run(struct machine *m);
uint64_t ticks(void);

/* Fails the program with a text when the condition does not hold. */
#define CHECK(c) check((c), #c, __FILE__, __LINE__)
void check(bool ok, const char *text, const char *file, int line);
void machine_dump(const struct machine *m);
extern const struct machine *check_machine; /* dumped when a check fails */

#endif
