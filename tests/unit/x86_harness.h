/* One instruction at a time in any mode, on the machine of x86_sys_world.h. */
#ifndef X86_HARNESS_H
#define X86_HARNESS_H

#include "x86_sys_world.h"
#include "x86/flags.h"

#define H_CODE 0x8000u  /* rip of the instruction */
#define H_DATA 0x40000u /* free memory */
/* In long mode: a device (0x100000..0x1fffff) and nothing at all (from 0x200000). */
#define H_DEVICE 0x180000u
#define H_ABSENT 0x200000u

int h_setup(void **state);
int h_teardown(void **state);

/* Long mode, level 0, with the harness's ops. */
struct x86_cpu *h_long(struct sworld *w);

/* How the device answers: X86_EXIT once per access while `exits` is positive, else the value. */
struct h_device {
    unsigned exits;
    uint64_t value;
    unsigned reads, writes, locks;
};
extern struct h_device h_device;

/* Execute one instruction. -1: it completed (or the host is wanted: cpu->leave says so), else the
 * vector of the fault. */
int h_run(struct sworld *w, const void *bytes, unsigned n);
#define H_RUN(w, bytes) h_run(w, bytes, sizeof(bytes) - 1)

/* Did the last instruction complete and move on by its length? */
#define H_OK(w, bytes)                                              \
    do {                                                            \
        assert_int_equal(H_RUN(w, bytes), -1);                      \
        assert_int_equal((w)->cpu.rip, H_CODE + sizeof(bytes) - 1); \
    } while (0)

#endif
