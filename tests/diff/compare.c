/* Compare both results under the mask of what is defined; print a failing case so that a person can
 * follow it. */
#include <inttypes.h>
#include <string.h>

#include "diff.h"

static const char *const reg_names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
static const char *const mode_names[DIFF_NMODES] = {"64-bit", "32-bit", "32-bit segmented",
                                                    "16-bit"};

struct report {
    FILE *f;
    unsigned n;
};

static void differs(struct report *r, const char *what, uint64_t native, uint64_t emulated)
{
    if (r->f && r->n < 12)
        fprintf(r->f, "  %-8s native %016" PRIx64 "  vmlib %016" PRIx64 "  xor %" PRIx64 "\n", what,
                native, emulated, native ^ emulated);
    r->n++;
}

static void compare_vectors(struct report *r, const struct diff_state *a,
                            const struct diff_state *b, const struct diff_mask *m)
{
    for (unsigned i = 0; i < 16; i++)
        for (unsigned k = 0; k < 4; k++)
            if (a->v[i].q[k] != b->v[i].q[k]) {
                char name[24];
                snprintf(name, sizeof(name), "v%u.q%u", i, k);
                differs(r, name, a->v[i].q[k], b->v[i].q[k]);
            }
    if ((a->mxcsr ^ b->mxcsr) & m->mxcsr)
        differs(r, "mxcsr", a->mxcsr, b->mxcsr);
}

static void compare_x87(struct report *r, const struct diff_state *a, const struct diff_state *b,
                        const struct diff_mask *m)
{
    if (a->cw != b->cw)
        differs(r, "fcw", a->cw, b->cw);
    if ((a->sw ^ b->sw) & m->sw)
        differs(r, "fsw", a->sw, b->sw);
    if (m->x87_regs && a->tag != b->tag)
        differs(r, "ftw", a->tag, b->tag);
    for (unsigned i = 0; m->x87_regs && i < 8; i++) {
        char name[16];
        snprintf(name, sizeof(name), "st%u", i);
        if (a->st[i].mant != b->st[i].mant)
            differs(r, name, a->st[i].mant, b->st[i].mant);
        if (a->st[i].se != b->st[i].se)
            differs(r, name, a->st[i].se, b->st[i].se);
    }
}

static void compare_data(struct report *r, const struct diff_result *a, const struct diff_result *b,
                         const struct diff_mask *m)
{
    if (m->skip_data || memcmp(a->data, b->data, DIFF_DATA_SIZE) == 0)
        return;
    for (unsigned i = 0; i < DIFF_DATA_SIZE; i++)
        if (a->data[i] != b->data[i] && DIFF_DATA + i - m->skip_at >= m->skip_size &&
            !(m->mask_at && DIFF_DATA + i - m->mask_at < 4)) {
            char name[24];
            snprintf(name, sizeof(name), "[%x]", DIFF_DATA + i);
            differs(r, name, a->data[i], b->data[i]);
        }
}

/* Linux reports every fault on its own half as a protection fault, present or not. */
static uint64_t error_code(const struct diff_result *r)
{
    return r->vector == X86_PF && r->cr2 >> 47 ? r->error | X86_PF_P : r->error;
}

static void compare_fault(struct report *r, const struct diff_result *a,
                          const struct diff_result *b, const struct diff_mask *m)
{
    if (a->vector != b->vector)
        differs(r, "vector", (uint64_t)(int64_t)a->vector, (uint64_t)(int64_t)b->vector);
    if (a->vector == DIFF_NO_FAULT || a->vector != b->vector)
        return;
    if (error_code(a) != error_code(b))
        differs(r, "error", a->error, b->error);
    if (a->vector == X86_PF && (a->cr2 ^ b->cr2) & m->cr2)
        differs(r, "cr2", a->cr2, b->cr2);
}

unsigned diff_compare(const struct diff_case *c, const struct diff_result *native,
                      const struct diff_result *emulated, FILE *f)
{
    struct report r = {.f = f};
    struct diff_mask m;
    const struct diff_state *a = &native->out, *b = &emulated->out;
    diff_defined(c, native, &m);
    if (m.skip_all || diff_fault_order_open(c, native, emulated))
        return 0;
    compare_fault(&r, native, emulated, &m);
    for (unsigned i = 0; i < 16; i++)
        if ((a->gpr[i] ^ b->gpr[i]) & m.gpr[i])
            differs(&r, reg_names[i], a->gpr[i], b->gpr[i]);
    if (a->rip != b->rip)
        differs(&r, "rip", a->rip, b->rip);
    if ((a->flags ^ b->flags) & m.flags)
        differs(&r, "rflags", a->flags, b->flags);
    if (c->mode == DIFF_64 && a->fs_base != b->fs_base)
        differs(&r, "fs.base", a->fs_base, b->fs_base);
    if (c->mode == DIFF_64 && a->gs_base != b->gs_base)
        differs(&r, "gs.base", a->gs_base, b->gs_base);
    compare_vectors(&r, a, b, &m);
    compare_x87(&r, a, b, &m);
    compare_data(&r, native, emulated, &m);
    return r.n;
}

void diff_print_case(FILE *f, const struct diff_case *c)
{
    const struct x86_insn *in = &c->insn;
    const struct diff_state *s = &c->in;
    fprintf(f, "%s row %u:%u, %s, operand size %u:", x86_rows[in->row].name, c->row, c->index,
            mode_names[c->mode], 8u << in->size);
    for (unsigned i = 0; i < c->length; i++)
        fprintf(f, " %02x", c->bytes[i]);
    fprintf(f,
            "\n  rip %" PRIx64 " flags %x mxcsr %x fcw %x fsw %x ftw %x fs %" PRIx64 " gs %" PRIx64,
            s->rip, s->flags, s->mxcsr, s->cw, s->sw, s->tag, s->fs_base, s->gs_base);
    for (unsigned i = 0; i < (c->mode == DIFF_64 ? 16u : 8u); i++)
        fprintf(f, "%s%s %016" PRIx64, i % 4 ? "  " : "\n  ", reg_names[i], s->gpr[i]);
    fprintf(f, "\n");
    if (x86_rows[in->row].attr & X86_A_VEC) {
        unsigned regs[3] = {in->reg, in->vvvv, in->mem ? in->reg : in->rm};
        for (unsigned k = 0; k < 3; k++) {
            const union x86_vec *v = &s->v[regs[k] & 15];
            fprintf(f, "  v%-2u %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 "\n",
                    regs[k] & 15, v->q[3], v->q[2], v->q[1], v->q[0]);
        }
    }
    if (x86_rows[in->row].name[0] == 'f')
        for (unsigned i = 0; i < 8; i++)
            fprintf(f, "  st%u %04x:%016" PRIx64 "%s", i, s->st[i].se, s->st[i].mant,
                    i % 4 == 3 ? "\n" : "");
    for (unsigned i = 0; i < c->npatches; i++) {
        fprintf(f, "  [%x]", c->patch[i].addr);
        for (unsigned k = 0; k < 32; k++)
            fprintf(f, "%s%02x", k % 8 ? "" : " ", c->patch[i].bytes[k]);
        fprintf(f, "\n");
    }
}
