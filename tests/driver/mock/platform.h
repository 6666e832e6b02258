/*
 * What the driver's core needs, from the mock of VMX: see mock.h and backends/vtx/driver/core.h.
 */
#ifndef VTX_MOCK_PLATFORM_H
#define VTX_MOCK_PLATFORM_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define READ_ONCE(x)     (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

struct vtx_vm;

u64 vmx_read(u32 field);
void vmx_write(u32 field, u64 value);
u64 plat_rdmsr(u32 msr);
void *plat_page_alloc(void);
void plat_page_free(void *page);
int plat_pin(struct vtx_vm *vm, u64 user, unsigned n, bool write, u64 *pfns);
void plat_unpin(struct vtx_vm *vm, const u64 *pfns, unsigned n, bool dirty);
void plat_flush(struct vtx_vm *vm);
int plat_pause(void);
int plat_user_read(void *to, u64 user, u32 bytes);
int plat_user_write(u64 user, const void *from, u32 bytes);

static inline u64 plat_phys(const void *page)
{
    return (u64)(uintptr_t)page;
}

static inline void *plat_virt(u64 phys)
{
    return (void *)(uintptr_t)phys;
}

static inline u64 plat_xchg(u64 *p, u64 value)
{
    return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);
}

static inline bool plat_cmpxchg(u64 *p, u64 old, u64 value)
{
    return __atomic_compare_exchange_n(p, &old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

#endif
