/* Looking at a CPU without executing anything: mode, instruction bytes, translation. */
#include <string.h>

#include "backend.h"
#include "state/state.h"
#include "x86/insn.h"
#include "x86/mem.h"
#include "x86/ops.h"

uint32_t vmi_mode(const struct x86_cpu *cpu)
{
    static const uint32_t prot[3] = {VMLIB_MODE_PROT16, VMLIB_MODE_PROT32, VMLIB_MODE_LONG64};
    static const uint32_t compat[3] = {VMLIB_MODE_COMPAT16, VMLIB_MODE_COMPAT32, VMLIB_MODE_LONG64};
    if (cpu->mode & X86_MODE_V86)
        return VMLIB_MODE_V86;
    if (cpu->mode & X86_MODE_REAL)
        return VMLIB_MODE_REAL;
    return (cpu->mode & X86_MODE_LM ? compat : prot)[cpu->mode & X86_MODE_SIZE];
}

/* Instruction bytes without side effects: what memory holds now. */
static unsigned peek_code(struct x86_cpu *cpu, uint64_t lin, uint8_t *buf, unsigned n)
{
    for (unsigned i = 0; i < n;) {
        struct x86_translation t;
        struct x86_page page;
        uint64_t at = (lin + i) & cpu->lin_mask;
        if (x86_translate(cpu, at, X86_ACC_EXEC, cpu->cpl == 3, false, &t) != X86_OK)
            return i;
        cpu->ops->page(cpu, t.gpa, X86_ACC_EXEC, &page);
        if (!page.host)
            return i;
        for (uint64_t in = t.gpa & 0xfff; i < n && in < 0x1000; i++, in++)
            buf[i] = x86_raw_ld8((uintptr_t)page.host + in);
    }
    return n;
}

unsigned vmi_code_at(struct x86_cpu *cpu, uint64_t rip, uint8_t *buf, unsigned n)
{
    uint64_t base = cpu->mode & X86_MODE_64 ? 0 : cpu->seg[X86_CS].base;
    return peek_code(cpu, (base + rip) & cpu->lin_mask, buf, n);
}

void vmi_describe(struct x86_cpu *cpu, struct vmlib_exit *e)
{
    struct x86_insn in;
    uint64_t base = cpu->mode & X86_MODE_64 ? 0 : cpu->seg[X86_CS].base;
    e->rip = cpu->rip;
    e->cpl = cpu->cpl;
    e->mode = (uint8_t)vmi_mode(cpu);
    memset(e->insn, 0, sizeof(e->insn));
    unsigned n = peek_code(cpu, (base + cpu->rip) & cpu->lin_mask, e->insn, 15);
    e->insn_len = 0;
    if (x86_decode(e->insn, n, cpu->mode, cpu->feat, &in) == X86_DECODE_OK)
        e->insn_len = in.length;
    memset(e->insn + e->insn_len, 0, sizeof(e->insn) - e->insn_len);
}

void vmi_translate(struct x86_cpu *cpu, uint64_t gva, uint32_t access, bool user,
                   struct vmlib_translation *t)
{
    struct x86_translation w;
    enum x86_result r = x86_translate(cpu, gva & cpu->lin_mask, access, user, false, &w);
    t->gpa = r == X86_OK ? w.gpa : 0;
    t->error_code = t->page_bits = t->prot = 0;
    if (r == X86_OK) {
        t->fault = VMLIB_TRANSLATE_OK;
        t->page_bits = w.page_bits;
        t->prot = VMLIB_PROT_R | (w.writable ? VMLIB_PROT_W : 0) | (w.exec ? VMLIB_PROT_X : 0);
    } else if (r != X86_EXC) {
        t->fault = VMLIB_TRANSLATE_TABLE;
    } else if (w.error == UINT32_MAX) {
        t->fault = VMLIB_TRANSLATE_NON_CANONICAL;
    } else {
        t->error_code = w.error;
        t->fault = w.error & X86_PF_R   ? VMLIB_TRANSLATE_RESERVED_BIT
                   : w.error & X86_PF_P ? VMLIB_TRANSLATE_PROTECTION
                                        : VMLIB_TRANSLATE_NOT_PRESENT;
    }
}
