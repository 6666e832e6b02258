/* Other CPUs change entries while the MMU marks them: no change may be lost, no mark may be
 * missing. */
#include <pthread.h>
#include <stdatomic.h>

#include "x86_mmu_world.h"

#define T_PML4  0x1000u
#define T_PDPT  0x2000u
#define T_PD    0x3000u
#define T_PT    0x4000u
#define PRESENT (X86_PTE_P | X86_PTE_W | X86_PTE_U)
#define ROUNDS  20000
#define COUNTER 52 /* first of the bits the CPU ignores */

struct race {
    uint64_t *entry;
    atomic_bool stop;
    unsigned changes;
};

/* The guest's other CPU: counts in the ignored bits, and takes A and D away. */
static void *other_cpu(void *arg)
{
    struct race *r = arg;
    while (!atomic_load(&r->stop)) {
        uint64_t old = __atomic_load_n(r->entry, __ATOMIC_RELAXED), want;
        do {
            uint64_t count = ((old >> COUNTER) + 1) & 0x7f;
            want = (old & ~(X86_PTE_A | X86_PTE_D | UINT64_C(0x7f) << COUNTER)) | count << COUNTER;
        } while (!__atomic_compare_exchange_n(r->entry, &old, want, false, __ATOMIC_SEQ_CST,
                                              __ATOMIC_RELAXED));
        r->changes++;
    }
    return NULL;
}

static void no_update_is_lost(void **state)
{
    (void)state;
    struct world *w = w_new();
    struct x86_cpu *cpu = &w->cpu;
    struct x86_uop u = {.seg = X86_DS};
    cpu->paging = cpu->pae = cpu->long_mode = true;
    cpu->lin_mask = UINT64_MAX;
    cpu->cr0 = X86_CR0_PE | X86_CR0_PG;
    cpu->cr4 = X86_CR4_PAE;
    cpu->efer = X86_EFER_NXE;
    cpu->cr3 = T_PML4;
    w_put64(w, T_PML4, T_PDPT | PRESENT);
    w_put64(w, T_PDPT, T_PD | PRESENT);
    w_put64(w, T_PD, T_PT | PRESENT);
    w_put64(w, T_PT + 8, 0x51000 | PRESENT);

    struct race r = {.entry = (uint64_t *)(void *)w_byte(w, T_PT + 8)};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, other_cpu, &r), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        x86_tlb_flush(cpu);
        /* X86_AGAIN after too many lost races is an answer, too; a fault is not. */
        w_clear(w);
        if (!x86_st_slow(cpu, &u, 0x1000, i, 8))
            assert_int_not_equal(cpu->leave, X86_LEAVE_EXC);
    }
    atomic_store(&r.stop, true);
    pthread_join(t, NULL);
    assert_int_equal(*r.entry >> COUNTER & 0x7f, r.changes & 0x7f);
    assert_int_equal(*r.entry & 0xff000, 0x51000);
    x86_tlb_flush(cpu);
    assert_true(x86_st_slow(cpu, &u, 0x1000, 1, 8));
    assert_true(*r.entry & X86_PTE_D);
    w_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_update_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
