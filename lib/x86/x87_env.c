/* x87 control instructions, and the environment and state images of FSTENV and FSAVE (SDM
 * Vol.1 8.1.10). */
#include "x86/x87.h"

#define ENV16     14
#define ENV32     28
#define NREGS     8
#define REG_BYTES 10

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}
static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v & 0xffff);
    put16(p + 2, v >> 16);
}
static unsigned get16(const uint8_t *p)
{
    return p[0] | (unsigned)p[1] << 8;
}
static uint32_t get32(const uint8_t *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static unsigned status_word(const struct x86_cpu *cpu)
{
    return (cpu->fpu.sw & ~X87_SW_TOP) | (unsigned)cpu->fpu.top << 11;
}

static void set_status_word(struct x86_cpu *cpu, unsigned sw)
{
    cpu->fpu.top = sw >> 11 & 7;
    cpu->fpu.sw = (uint16_t)(sw & ~X87_SW_TOP);
}

static void set_control_word(struct x86_cpu *cpu, unsigned cw)
{
    cpu->fpu.cw = (uint16_t)((cw & X87_CW_VALID) | X87_CW_ONE);
    x87_update_es(cpu);
}

/* Two bits per register: valid, zero, special, empty. */
static unsigned full_tags(const struct x86_fpu *f)
{
    unsigned tags = 0;
    for (unsigned i = 0; i < NREGS; i++) {
        unsigned exp = f->st[i].se & 0x7fff, tag = 0;
        if (!(f->tagw >> i & 1))
            tag = 3;
        else if (exp == 0 && f->st[i].mant == 0)
            tag = 1;
        else if (exp == 0 || exp == 0x7fff || !(f->st[i].mant >> 63))
            tag = 2;
        tags |= tag << (2 * i);
    }
    return tags;
}

static uint16_t abridged_tags(unsigned tags)
{
    unsigned t = 0;
    for (unsigned i = 0; i < NREGS; i++)
        t |= (unsigned)((tags >> (2 * i) & 3) != 3) << i;
    return (uint16_t)t;
}

static unsigned env_bytes(const struct x86_uop *u)
{
    return (u->aux & X86_AUX_SIZE) == 1 ? ENV16 : ENV32;
}

/* Figures 8-9 to 8-12: protected mode keeps selectors, the other modes linear addresses. */
static void build_env(const struct x86_cpu *cpu, uint8_t *p, unsigned bytes)
{
    const struct x86_fpu *f = &cpu->fpu;
    bool prot = x86_protected(cpu);
    uint32_t ip = (uint32_t)f->fip, dp = (uint32_t)f->fdp;
    if (!prot) {
        ip += (uint32_t)f->fcs << 4;
        dp += (uint32_t)f->fds << 4;
    }
    if (bytes == ENV16) {
        put16(p, f->cw);
        put16(p + 2, status_word(cpu));
        put16(p + 4, full_tags(f));
        put16(p + 6, ip & 0xffff);
        put16(p + 8, prot ? f->fcs : f->fop | (ip >> 4 & 0xf000));
        put16(p + 10, dp & 0xffff);
        put16(p + 12, prot ? f->fds : dp >> 4 & 0xf000);
        return;
    }
    put32(p, 0xffff0000u | f->cw);
    put32(p + 4, 0xffff0000u | status_word(cpu));
    put32(p + 8, 0xffff0000u | full_tags(f));
    if (prot) {
        put32(p + 12, ip);
        put32(p + 16, f->fcs | (uint32_t)f->fop << 16);
        put32(p + 20, dp);
        put32(p + 24, 0xffff0000u | f->fds);
    } else {
        put32(p + 12, 0xffff0000u | (ip & 0xffff));
        put32(p + 16, f->fop | (ip >> 4 & 0x0ffff000));
        put32(p + 20, 0xffff0000u | (dp & 0xffff));
        put32(p + 24, dp >> 4 & 0x0ffff000);
    }
}

static void take_env(struct x86_cpu *cpu, const uint8_t *p, unsigned bytes)
{
    struct x86_fpu *f = &cpu->fpu;
    bool prot = x86_protected(cpu), narrow = bytes == ENV16;
    unsigned step = narrow ? 2 : 4;
    f->tagw = abridged_tags(get16(p + 2 * step));
    set_status_word(cpu, get16(p + step));
    set_control_word(cpu, get16(p));
    f->fcs = f->fds = 0;
    if (prot) {
        f->fip = narrow ? get16(p + 6) : get32(p + 12);
        f->fcs = (uint16_t)get16(p + 4 * step);
        f->fop = narrow ? 0 : get16(p + 18) & 0x7ff;
        f->fdp = narrow ? get16(p + 10) : get32(p + 20);
        f->fds = (uint16_t)get16(p + 6 * step);
    } else {
        uint32_t high_ip = narrow ? get16(p + 8) & 0xf000 : get32(p + 16) & 0x0ffff000;
        uint32_t high_dp = narrow ? get16(p + 12) & 0xf000 : get32(p + 24) & 0x0ffff000;
        f->fop = get16(p + 4 * step) & 0x7ff;
        f->fip = get16(p + 3 * step) | high_ip << 4;
        f->fdp = get16(p + 5 * step) | high_dp << 4;
    }
}

/* Registers are untouched, just empty. */
static void init_fpu(struct x86_cpu *cpu)
{
    struct x86_fpu *f = &cpu->fpu;
    f->cw = 0x037f;
    f->sw = f->tagw = f->top = f->fop = 0;
    f->fip = f->fdp = 0;
    f->fcs = f->fds = 0;
}

X87_WORKER fnstenv(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint8_t buf[ENV32];
    uint64_t lin;
    unsigned n = env_bytes(u);
    if (!x87_available(cpu) || !x86_ea_seg(cpu, u, n, true, &lin))
        return false;
    build_env(cpu, buf, n);
    if (!x86_write_bytes(cpu, u, lin, buf, n))
        return false;
    set_control_word(cpu, cpu->fpu.cw | X87_EXCEPTIONS);
    return true;
}

X87_WORKER fldenv(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint8_t buf[ENV32];
    uint64_t lin;
    unsigned n = env_bytes(u);
    if (!x87_ready(cpu) || !x86_ea_seg(cpu, u, n, false, &lin) ||
        !x86_read_bytes(cpu, u, lin, buf, n))
        return false;
    take_env(cpu, buf, n);
    return true;
}

X87_WORKER fnsave(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint8_t buf[ENV32 + NREGS * REG_BYTES];
    uint64_t lin;
    unsigned n = env_bytes(u), all = n + NREGS * REG_BYTES;
    if (!x87_available(cpu) || !x86_ea_seg(cpu, u, all, true, &lin))
        return false;
    build_env(cpu, buf, n);
    for (unsigned i = 0; i < NREGS; i++) {
        const struct x86_f80 *v = x87_st(cpu, i);
        memcpy(buf + n + i * REG_BYTES, &v->mant, 8);
        put16(buf + n + i * REG_BYTES + 8, v->se);
    }
    if (!x86_write_bytes(cpu, u, lin, buf, all))
        return false;
    init_fpu(cpu);
    return true;
}

X87_WORKER frstor(struct x86_cpu *cpu, struct x86_uop *u)
{
    uint8_t buf[ENV32 + NREGS * REG_BYTES];
    uint64_t lin;
    unsigned n = env_bytes(u), all = n + NREGS * REG_BYTES;
    if (!x87_ready(cpu) || !x86_ea_seg(cpu, u, all, false, &lin) ||
        !x86_read_bytes(cpu, u, lin, buf, all))
        return false;
    take_env(cpu, buf, n);
    for (unsigned i = 0; i < NREGS; i++) {
        struct x86_f80 *v = x87_st(cpu, i);
        memcpy(&v->mant, buf + n + i * REG_BYTES, 8);
        v->se = (uint16_t)get16(buf + n + i * REG_BYTES + 8);
    }
    return true;
}

X87_WORKER fldcw(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!x87_ready(cpu) || !x87_fetch(cpu, u, 2))
        return false;
    set_control_word(cpu, (unsigned)cpu->tmp);
    return true;
}

X87_WORKER store16(struct x86_cpu *cpu, struct x86_uop *u, bool status)
{
    uint64_t lin;
    if (!x87_available(cpu) || !x86_ea_seg(cpu, u, 2, true, &lin))
        return false;
    return x86_st16(cpu, u, lin, (uint16_t)(status ? status_word(cpu) : cpu->fpu.cw));
}

X87_WORKER fnstsw_ax(struct x86_cpu *cpu)
{
    if (!x87_available(cpu))
        return false;
    cpu->r[X86_RAX] = (cpu->r[X86_RAX] & ~UINT64_C(0xffff)) | status_word(cpu);
    return true;
}

X87_WORKER fninit(struct x86_cpu *cpu)
{
    if (!x87_available(cpu))
        return false;
    init_fpu(cpu);
    return true;
}

X87_WORKER fnclex(struct x86_cpu *cpu)
{
    if (!x87_available(cpu))
        return false;
    cpu->fpu.sw &= (uint16_t) ~(X87_EXCEPTIONS | X87_SF | X87_ES | X87_B);
    return true;
}

/* CR0.EM does not matter to WAIT, and TS only together with MP: SDM Vol.3A table 2-2. */
X87_WORKER fwait(struct x86_cpu *cpu)
{
    const uint64_t both = X86_CR0_MP | X86_CR0_TS;
    if ((cpu->cr0 & both) == both) {
        x86_fault(cpu, X86_NM);
        return false;
    }
    return x87_nothing_pending(cpu);
}

X87_WORKER turn(struct x86_cpu *cpu, struct x86_uop *u, unsigned by)
{
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    cpu->fpu.top = (cpu->fpu.top + by) & 7;
    cpu->fpu.sw &= (uint16_t)~X87_C1;
    return true;
}

X87_WORKER ffree(struct x86_cpu *cpu, struct x86_uop *u, bool pop)
{
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    cpu->fpu.sw &= (uint16_t)~X87_C1;
    x87_free(cpu, u->rm & 7);
    if (pop)
        x87_pop(cpu);
    return true;
}

X87_WORKER fnop(struct x86_cpu *cpu, struct x86_uop *u)
{
    if (!x87_ready(cpu))
        return false;
    x87_track(cpu, u);
    return true;
}

X87_HANDLER(fnstenv, fnstenv(cpu, u))
X87_HANDLER(fldenv, fldenv(cpu, u))
X87_HANDLER(fnsave, fnsave(cpu, u))
X87_HANDLER(frstor, frstor(cpu, u))
X87_HANDLER(fldcw, fldcw(cpu, u))
X87_HANDLER(fnstcw, store16(cpu, u, false))
X87_HANDLER(fnstsw, store16(cpu, u, true))
X87_HANDLER(fnstsw_ax, fnstsw_ax(cpu))
X87_HANDLER(fninit, fninit(cpu))
X87_HANDLER(fnclex, fnclex(cpu))
X87_HANDLER(fwait, fwait(cpu))
X87_HANDLER(fincstp, turn(cpu, u, 1))
X87_HANDLER(fdecstp, turn(cpu, u, 7))
X87_HANDLER(ffree, ffree(cpu, u, false))
X87_HANDLER(ffreep, ffree(cpu, u, true))
X87_HANDLER(fnop, fnop(cpu, u))
/* FENI, FDISI (8087) and FSETPM (80287): nothing since, and not waiting. */
X87_HANDLER(f8087, x87_available(cpu))
