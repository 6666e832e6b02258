/*
 * The world of the tests that attack the software backend: 1 MiB of memory, two device pages right
 * behind it, another page of memory behind those, and vCPUs that start in any mode.
 */
#ifndef SOFT_WORLD_H
#define SOFT_WORLD_H

#include "../check.h"

/* Programs in AT&T syntax, assembled with the test. */
#define GUEST(bits, name, text)                                                            \
    extern const uint8_t name[], name##_end[];                                             \
    __asm__(".pushsection .rodata\n.code" #bits "\n" #name ":\n" text "\n" #name "_end:\n" \
            ".code64\n.popsection")

#define CODE   0x1000u
#define DATA   0x10000u
#define STACK  0x9000u
#define TABLES 0x80000u /* page tables, up to RAM_END */
#define DEVICE 0x100000u
#define BEHIND 0x102000u /* memory behind the device */
#define VCPUS  4

enum world_mode { REAL16, FLAT32, PAGED32, PAE32, LONG64, WORLD_MODES };

struct world {
    vmlib_vm *vm;
    vmlib_vcpu *vcpu[VCPUS];
    vmlib_region *ram, *behind;
    uint8_t *mem;
};

void world_create(struct world *w, unsigned vcpus, uint32_t time_mode);
void world_destroy(struct world *w);
/* All registers zero but rsp = STACK; identity paging of the first GiB where the mode pages. */
void world_start(struct world *w, unsigned vcpu, enum world_mode mode, uint64_t rip);
void world_put(struct world *w, uint64_t gpa, const uint8_t *code, const uint8_t *end);
#define LOAD(w, mode, name)                   \
    do {                                      \
        world_put(w, CODE, name, name##_end); \
        world_start(w, 0, mode, CODE);        \
    } while (0)
struct vmlib_exit world_run(struct world *w, unsigned vcpu, uint64_t deadline_ns, uint64_t budget);
void world_expect(struct world *w, uint32_t reason); /* run vCPU 0 until this exit */
uint64_t world_reg(struct world *w, uint32_t reg);
void world_set(struct world *w, uint32_t reg, uint64_t value);
typedef int (*world_fn)(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit);
vmlib_handler *world_handler(struct world *w, uint32_t kind, uint64_t first, uint64_t last,
                             world_fn fn, void *opaque);

#endif
