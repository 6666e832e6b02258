/* The guest in Unicorn, where its development package is installed; for comparison only. */
#include <stdlib.h>
#include <unicorn/unicorn.h>

#include "guest.h"
#include "vm.h"

static void close_unicorn(void *engine)
{
    uc_close(engine);
}

static void *open_unicorn(const struct bench_image *image, const char **why)
{
    uc_engine *uc;
    uint64_t tables[4 * 512], cr0 = 0x80010033, cr3 = GUEST_TABLES, cr4 = 0x620;
    bench_tables(tables);
    uc_err e = uc_open(UC_ARCH_X86, UC_MODE_64, &uc);
    if (e != UC_ERR_OK) {
        *why = uc_strerror(e);
        return NULL;
    }
    if (uc_mem_map(uc, 0, GUEST_RAM, UC_PROT_ALL) != UC_ERR_OK ||
        uc_mem_write(uc, GUEST_TABLES, tables, sizeof(tables)) != UC_ERR_OK ||
        uc_mem_write(uc, GUEST_CODE, image->bytes, image->size) != UC_ERR_OK ||
        uc_reg_write(uc, UC_X86_REG_CR3, &cr3) != UC_ERR_OK ||
        uc_reg_write(uc, UC_X86_REG_CR4, &cr4) != UC_ERR_OK ||
        uc_reg_write(uc, UC_X86_REG_CR0, &cr0) != UC_ERR_OK) {
        *why = "set-up failed";
        uc_close(uc);
        return NULL;
    }
    return uc;
}

static bool run_unicorn(void *engine, uint64_t which, uint64_t n, struct bench_result *r)
{
    uint64_t rsp = GUEST_STACK, flags = 2;
    uc_reg_write(engine, UC_X86_REG_RSP, &rsp);
    uc_reg_write(engine, UC_X86_REG_RDI, &which);
    uc_reg_write(engine, UC_X86_REG_RSI, &n);
    uc_reg_write(engine, UC_X86_REG_EFLAGS, &flags);
    double t = bench_now();
    uc_err e = uc_emu_start(engine, GUEST_CODE, UINT64_MAX, 0, 0);
    r->ns = bench_now() - t;
    r->instructions = 0;
    return e == UC_ERR_OK && uc_reg_read(engine, UC_X86_REG_RAX, &r->value) == UC_ERR_OK;
}

const struct bench_engine bench_unicorn = {"unicorn", open_unicorn, run_unicorn, close_unicorn};
