/*
 * What exits cost, at four levels: our driver and KVM by bare system calls, the library on each of
 * them. The guest is the same and measures itself: it reads the time-stamp counter before and after
 * one instruction. In the rig that counts instructions, the host's included.
 */
#ifndef TICKS_H
#define TICKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Guest-physical memory: RAM from 0, a page that cannot be written, nothing. */
#define RAM_BYTES  0x5000u
#define CODE       0x1000u
#define RESULTS    0x2000u
#define ROM        0x6000u
#define ROM_BYTES  0x1000u
#define HOLE       0x8000u
#define PORT       0x42u
#define END_PORT   0x99u
#define MSR_NOBODY 0x12345678u /* exits to the host program */
#define MSR_KNOWN  0x277u      /* PAT: answered below the host program, where that exists */
#define SAMPLES    64u
#define ANSWER     1u

struct op {
    const char *name;
    uint8_t code[6], bytes;
    uint32_t msr; /* ECX */
    /* The most it may cost in percent of KVM: bare calls, through the library. 0: any */
    unsigned bare, library;
};
extern const struct op ops[];
extern const unsigned nops;
/* Nothing but the end of the batch: for the life of a machine. */
extern const struct op op_none;

struct level {
    const char *name;
    bool (*present)(void);
    void (*open)(const struct op *op);
    void (*batch)(void); /* run until the guest writes to END_PORT */
    uint8_t *(*ram)(void);
    void (*close)(void);
};
extern const struct level level_vtx, level_kvm, level_library_vtx, level_library_kvm;

/* Real mode from CODE on. Returns its length. */
size_t guest_code(const struct op *op, uint8_t *code);
void must(bool ok, const char *what);

#endif
