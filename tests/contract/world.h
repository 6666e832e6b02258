/*
 * The world of the contract tests: one VM on the backend under test, real mode with 4 GiB segments
 * ("unreal"), memory below 0xa0000, a hole from there to 0xc0000, ROM behind it. Test programs are
 * 16-bit code at 0x1000.
 */
#ifndef WORLD_H
#define WORLD_H

#include "../check.h"

/* A program in AT&T syntax, assembled with the test. */
#define GUEST(name, text)                                                 \
    extern const uint8_t name[], name##_end[];                            \
    __asm__(".pushsection .rodata\n.code16\n" #name ":\n" text "\n" #name \
            "_end:\n.code64\n.popsection")

#define CODE  0x1000u
#define STACK 0x8000u
#define HOLE  0xa0000u
#define ROM   0xc0000u

struct world {
    vmlib_vm *vm;
    vmlib_vcpu *vcpu;
    vmlib_region *ram, *rom;
};

extern uint32_t backend_under_test;
extern bool world_any_backend; /* set before world_main(): also one that runs no guest code */

/* The backend list of the config is replaced. */
struct world *world_create(const struct vmlib_vm_config *config);
void world_destroy(struct world *w);
int world_setup(void **state);
int world_teardown(void **state);
/* Skips the program (exit status 77) when the backend cannot run guests here. */
int world_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count);

void world_load(struct world *w, const uint8_t *code, const uint8_t *end);
#define LOAD(w, name) world_load(w, name, name##_end)
/* Real-mode interrupt vector -> offset in segment 0. */
void world_vector(struct world *w, unsigned vector, uint16_t offset);
/* The IVT entry of `vector` leads to `out %al, $port; hlt`. */
void world_vector_to_port(struct world *w, unsigned vector, uint8_t port);

/* VMLIB_SUPPORT_ constant of the backend under test. */
uint32_t world_support(uint32_t feature);
/* Skips the case when the backend refuses the feature; world_main() tells how many were skipped. */
void world_need(uint32_t feature);
/* Skips the case when the machine under the backend is known to get it wrong (host.c). */
void world_machine(const char *name);
const char *world_gap(const char *name); /* why it would; NULL: it does not */
/* The number of instructions in a record, where the backend counts them. */
void world_counted(const struct vmlib_exit *e, uint64_t instructions);

struct vmlib_exit world_run(struct world *w, uint32_t reason);
struct vmlib_exit world_run_with(struct world *w, uint32_t flags, uint64_t deadline_ns,
                                 uint64_t budget);
uint64_t world_reg(struct world *w, uint32_t reg);
void world_set(struct world *w, uint32_t reg, uint64_t value);
struct vmlib_events world_events(struct world *w);
uint32_t world_word(struct world *w, uint64_t gpa, unsigned bytes);

typedef int (*world_fn)(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit);
void world_handler(struct world *w, uint32_t kind, uint64_t first, uint64_t last, world_fn fn,
                   void *opaque);

#define CASE(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define MAIN(tests)                                                             \
    int main(int argc, char **argv)                                             \
    {                                                                           \
        return world_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0])); \
    }

#endif
