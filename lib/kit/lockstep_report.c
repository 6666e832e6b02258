/* Lockstep: the situation as text. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "devices/error.h"
#include "kit/lockstep.h"

#define LL(x) ((unsigned long long)(x))

/* Text that may be longer than its room. */
struct text {
    char *out;
    uint64_t room, used;
};

static void put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *format, ...)
{
    char line[256];
    va_list args;
    size_t n;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    n = strlen(line);
    for (size_t i = 0; i < n && t->used + i + 1 < t->room; i++)
        t->out[t->used + i] = line[i];
    t->used += n;
}

static void put_bytes(struct text *t, const uint8_t *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        put(t, " %02x", bytes[i]);
}

static const char *mode_name(uint32_t mode)
{
    static const char *const name[] = {"real",         "virtual-8086",     "protected 16",
                                       "protected 32", "compatibility 16", "compatibility 32",
                                       "64-bit"};

    return mode < sizeof(name) / sizeof(name[0]) ? name[mode] : "?";
}

static void put_head(struct text *t, const struct vmlib_lockstep *l)
{
    const struct vmi_ls_side *s = l->side;

    put(t,
        "lockstep: a is %s, b is %s; %llu records, %llu comparisons, instructions a %llu b %llu\n",
        s[0].name, s[1].name, LL(l->result.records), LL(l->result.comparisons),
        LL(s[0].instructions), LL(s[1].instructions));
    if (l->result.excused)
        put(t, "  undefined results differed after %llu instructions\n", LL(l->result.excused));
    if (l->differences == 0)
        put(t, "  no difference\n");
}

static void put_place(struct text *t, const struct vmlib_lockstep *l)
{
    const struct vmlib_lockstep_insn *insn = &l->result.insn;

    if (l->differences == 0)
        return;
    if (l->result.located) {
        put(t, "the instruction at rip 0x%llx (%s mode) made the difference:", LL(insn->rip),
            mode_name(insn->mode));
        put_bytes(t, insn->bytes, insn->length);
        put(t, "\n");
        return;
    }
    put(t, "the difference arose after instruction %llu of a", LL(l->result.equal_at));
    if (l->vanished)
        put(t, "; it does not appear in single steps\n");
    else if (l->config.flags & VMLIB_LOCKSTEP_OWN_DEVICES)
        put(t, "; not located: devices cannot go back\n");
    else
        put(t, "; not located: backend %s cannot single-step\n",
            l->side[l->side[0].steps ? 1 : 0].name);
}

static const char *group_name(uint32_t group)
{
    static const char *const name[8] = {"gpr",  "segments", "control", "debug",
                                        "msrs", "fpu",      "xsave",   "events"};

    for (unsigned i = 0; i < 8; i++)
        if (group == 1u << i)
            return name[i];
    return "run";
}

static void put_difference(struct text *t, const struct vmlib_lockstep_difference *d)
{
    if (d->kind == VMLIB_LOCKSTEP_MEMORY) {
        put(t, "  memory at gpa 0x%llx, %u bytes of this page: a", LL(d->gpa), d->bytes);
        put_bytes(t, (const uint8_t *)&d->value[0], 8);
        put(t, "  b");
        put_bytes(t, (const uint8_t *)&d->value[1], 8);
        put(t, "\n");
        return;
    }
    put(t, "  %-8s %-16s a %016llx  b %016llx  xor %llx\n",
        d->kind == VMLIB_LOCKSTEP_RECORD ? "record" : group_name(d->group), d->name,
        LL(d->value[0]), LL(d->value[1]), LL(d->value[0] ^ d->value[1]));
}

static void put_record(struct text *t, uint64_t number, const struct vmlib_exit *e)
{
    const char *name = vmlib_exit_name(e->reason);

    put(t, "  %6llu %-16s rip %llx", LL(number), name ? name : "?", LL(e->rip));
    if (e->reason == VMLIB_EXIT_PIO)
        put(t, " %s port %x width %u", e->u.pio.write ? "out" : "in", e->u.pio.port,
            e->u.pio.width);
    if (e->reason == VMLIB_EXIT_PIO && e->u.pio.write)
        put(t, " value %x", e->u.pio.value);
    if (e->reason == VMLIB_EXIT_MMIO)
        put(t, " %s gpa %llx width %u", e->u.mmio.write ? "write" : "read", LL(e->u.mmio.gpa),
            e->u.mmio.width);
    if (e->reason == VMLIB_EXIT_MMIO && e->u.mmio.write)
        put(t, " value %llx", LL(e->u.mmio.value));
    if (e->reason == VMLIB_EXIT_MSR)
        put(t, " %s %x", e->u.msr.write ? "write" : "read", e->u.msr.index);
    if (e->reason == VMLIB_EXIT_CPUID)
        put(t, " leaf %x.%x", e->u.cpuid.leaf, e->u.cpuid.subleaf);
    if (e->reason == VMLIB_EXIT_EXCEPTION)
        put(t, " vector %u", e->u.exception.event.vector);
    if (e->reason == VMLIB_EXIT_MEMORY_FAULT)
        put(t, " gpa %llx access %u", LL(e->u.memory_fault.gpa), e->u.memory_fault.access);
    if (e->reason == VMLIB_EXIT_INTERNAL)
        put(t, " %.63s", e->u.internal.text);
    put(t, "\n");
}

static void put_history(struct text *t, const struct vmlib_lockstep *l)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct vmi_ls_side *s = &l->side[i];
        uint64_t first = s->records > l->config.history ? s->records - l->config.history : 0;

        put(t, "last records of %c (%s):\n", 'a' + (int)i, s->name);
        for (uint64_t n = first; n < s->records; n++)
            put_record(t, n + 1, &s->history[n % VMI_LS_HISTORY]);
    }
}

int vmlib_lockstep_report(vmlib_lockstep *lockstep, char *text, uint64_t *bytes)
{
    struct text t = {text, bytes ? *bytes : 0, 0};

    if (!lockstep || !text || !bytes)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL",
                             !lockstep ? "lockstep"
                             : !text   ? "text"
                                       : "bytes");
    put_head(&t, lockstep);
    put_place(&t, lockstep);
    for (uint32_t n = 0; n < lockstep->differences; n++)
        put_difference(&t, &lockstep->difference[n]);
    put_history(&t, lockstep);
    if (t.room)
        text[t.used < t.room ? t.used : t.room - 1] = 0;
    *bytes = t.used + 1;
    return t.used + 1 <= t.room
               ? 0
               : vmi_dev_error(VMLIB_E_LIMIT, "bytes: the text has %llu", LL(t.used + 1));
}
