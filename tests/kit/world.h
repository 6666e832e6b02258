/*
 * The world of the kit's tests: a VM with 1 MiB of memory (dirty log) and one vCPU at the start of
 * program.S, and a device model that answers its accesses.
 */
#ifndef KIT_WORLD_H
#define KIT_WORLD_H

#include "check_kit.h"

#define CODE   0x10000u
#define DATA   0x40000u
#define MEMORY 0x100000u

extern const uint8_t kit_program[], kit_program_end[];
extern const uint8_t kit_program3[], kit_program3_end[];

/* Where VMs come from: the library, or a copy of it with a bug. */
struct maker {
    int (*vm)(const struct vmlib_vm_config *config, vmlib_vm **vm);
    int (*region)(vmlib_vm *vm, const struct vmlib_region_config *config, vmlib_region **region);
    int (*vcpu)(vmlib_vm *vm, const struct vmlib_vcpu_config *config, vmlib_vcpu **vcpu);
};
extern const struct maker plain;

struct world {
    vmlib_vm *vm;
    vmlib_vcpu *vcpu;
    vmlib_region *ram;
};

/* host: memory of another world to share, or NULL. */
void world_open(struct world *w, const struct maker *maker, uint32_t backend, void *host);
void world_program(struct world *w, uint32_t rounds);
/* program3.S: 64-bit user code. */
void world_program3(struct world *w, uint32_t rounds);
void world_close(struct world *w);

/* Everything that comes in is mixed into `hash`, and answers come out of it. */
struct device {
    uint64_t hash, records;
    bool ended;
};
/* Answer for a record; VMLIB_HANDLED, or VMLIB_PASS for what is no access. */
int device_answer(struct device *d, struct vmlib_exit *exit);

#endif
