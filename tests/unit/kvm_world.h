/*
 * The world of the tests of the KVM backend, through the public API: 1 MiB of memory, a device page
 * behind it, vCPUs in real mode with 4 GiB segments. Programs are 16-bit code at CODE.
 */
#ifndef KVM_WORLD_H
#define KVM_WORLD_H

#include "../check.h"

/* Programs in AT&T syntax, assembled with the test. */
#define GUEST(name, text)                                                                    \
    extern const uint8_t name[], name##_end[];                                               \
    __asm__(".pushsection .rodata\n.code16\n" #name ":\n" text "\n" #name "_end:\n.code64\n" \
            ".popsection")

#define CODE   0x1000u
#define DATA   0x10000u
#define STACK  0x9000u
#define DEVICE 0x100000u
#define VCPUS  4

struct world {
    vmlib_vm *vm;
    vmlib_vcpu *vcpu[VCPUS];
    vmlib_region *ram;
    uint8_t *mem;
};

void world_create(struct world *w, unsigned vcpus);
void world_destroy(struct world *w);
void world_start(struct world *w, unsigned vcpu, uint64_t rip);
#define LOAD(w, name)                                                             \
    do {                                                                          \
        OK(vmlib_vm_write((w)->vm, CODE, name, (uint64_t)(name##_end - (name)))); \
        world_start(w, 0, CODE);                                                  \
    } while (0)
struct vmlib_exit world_run(struct world *w, unsigned vcpu, uint64_t deadline_ns);
struct vmlib_exit world_expect(struct world *w, uint32_t reason);
uint64_t world_reg(struct world *w, uint32_t reg);
vmlib_region *world_region(struct world *w, uint64_t gpa, uint64_t bytes, uint32_t flags,
                           void *host);

/* Skips the program (exit status 77) when KVM cannot be used here. */
int world_main(const struct CMUnitTest *tests, size_t count);
#define MAIN(tests)                                                 \
    int main(void)                                                  \
    {                                                               \
        return world_main(tests, sizeof(tests) / sizeof(tests[0])); \
    }

#endif
