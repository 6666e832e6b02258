/* The bare guest: descriptor tables, then one kernel or operation per entry. rdi: which, rsi: how
 * often. */
#include "guest.h"
#include "kernels.h"

uint64_t guest_main(uint64_t which, uint64_t n);

extern uint64_t (*const guest_ops[])(uint64_t n);
extern const void *const guest_vectors[][2]; /* vector, handler */
void guest_syscall(void);

struct gate {
    uint16_t low, sel;
    uint8_t ist, type;
    uint16_t mid;
    uint32_t high, zero;
};
static struct gate idt[256];
static uint32_t tss[26];
/* Order as SYSCALL and SYSRET want it: 08 code, 10 data, 20 user data, 28 user code; 30 TSS */
static uint64_t gdt[8] = {
    0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0, 0x00cff3000000ffff, 0x00affb000000ffff, 0, 0};

struct table {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static void wrmsr(uint32_t index, uint64_t v)
{
    __asm__ volatile("wrmsr" ::"c"(index), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

static void setup(void)
{
    uint64_t t = (uintptr_t)tss;
    struct table g = {sizeof(gdt) - 1, (uintptr_t)gdt}, i = {sizeof(idt) - 1, (uintptr_t)idt};
    for (unsigned k = 0; guest_vectors[k][1]; k++) {
        uint64_t a = (uintptr_t)guest_vectors[k][1];
        idt[(uintptr_t)guest_vectors[k][0]] =
            (struct gate){(uint16_t)a, 8, 0, 0xee, (uint16_t)(a >> 16), (uint32_t)(a >> 32), 0};
    }
    tss[1] = GUEST_STACK - 0x4000; /* RSP0 */
    tss[25] = sizeof(tss) << 16;
    gdt[6] =
        (sizeof(tss) - 1) | (t & 0xffffff) << 16 | UINT64_C(0x89) << 40 | (t >> 24 & 0xff) << 56;
    gdt[7] = t >> 32;
    __asm__ volatile("lgdt %0; lidt %1; ltr %w2" ::"m"(g), "m"(i), "r"(0x30));
    __asm__ volatile("mov %0, %%ss" ::"r"(0x10));
    wrmsr(0xc0000080, 0xd01); /* SCE LME LMA NXE */
    wrmsr(0xc0000081, UINT64_C(0x1b) << 48 | UINT64_C(0x08) << 32);
    wrmsr(0xc0000082, (uintptr_t)guest_syscall);
    wrmsr(0xc0000084, 0);
}

uint64_t guest_main(uint64_t which, uint64_t n)
{
    if (which >= GUEST_OPS) {
        setup();
        return guest_ops[which - GUEST_OPS](n);
    }
    __asm__ volatile("fninit"); /* after reset all x87 exceptions are unmasked */
    return bench_kernels[which].fn((uint8_t *)(uintptr_t)GUEST_ARENA, n);
}
