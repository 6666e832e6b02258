/* Writes exit streams down; see stream.h. */
#include "stream.h"

#include <inttypes.h>

#define GROUPS                                                                          \
    (VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL | VMLIB_STATE_DEBUG | \
     VMLIB_STATE_EVENTS)

/* --- state: what has changed since the last line --- */

struct field {
    const char *name;
    size_t offset;
};
#define FIELD(name, member)                        \
    {                                              \
        name, offsetof(struct vmlib_state, member) \
    }
static const struct field words[] = {
    FIELD("rip", gpr.rip),
    FIELD("rflags", gpr.rflags),
    FIELD("rax", gpr.rax),
    FIELD("rcx", gpr.rcx),
    FIELD("rdx", gpr.rdx),
    FIELD("rbx", gpr.rbx),
    FIELD("rsp", gpr.rsp),
    FIELD("rbp", gpr.rbp),
    FIELD("rsi", gpr.rsi),
    FIELD("rdi", gpr.rdi),
    FIELD("r8", gpr.r8),
    FIELD("r9", gpr.r9),
    FIELD("r10", gpr.r10),
    FIELD("r11", gpr.r11),
    FIELD("r12", gpr.r12),
    FIELD("r13", gpr.r13),
    FIELD("r14", gpr.r14),
    FIELD("r15", gpr.r15),
    FIELD("cr0", control.cr0),
    FIELD("cr2", control.cr2),
    FIELD("cr3", control.cr3),
    FIELD("cr4", control.cr4),
    FIELD("cr8", control.cr8),
    FIELD("efer", control.efer),
    FIELD("xcr0", control.xcr0),
    FIELD("dr0", debug.dr[0]),
    FIELD("dr6", debug.dr6),
    FIELD("dr7", debug.dr7),
    FIELD("pending_debug", events.pending_debug),
};
static const struct field segments[] = {
    FIELD("es", segments.es), FIELD("cs", segments.cs), FIELD("ss", segments.ss),
    FIELD("ds", segments.ds), FIELD("fs", segments.fs), FIELD("gs", segments.gs),
};

static uint64_t word(const struct vmlib_state *s, size_t offset)
{
    uint64_t value;
    memcpy(&value, (const char *)s + offset, sizeof(value));
    return value;
}

static void event_text(FILE *out, const struct vmlib_event *e)
{
    static const char *const types[] = {"none",         "interrupt",          "nmi",
                                        "exception",    "software-interrupt", "software-exception",
                                        "privileged-sw"};
    fprintf(out, "%s vector=%u", e->type < 7 ? types[e->type] : "?", e->vector);
    if (e->flags & VMLIB_EVENT_HAS_ERROR) {
        fprintf(out, " error=0x%x", e->error_code);
    }
    if (e->flags & VMLIB_EVENT_HAS_ADDRESS) {
        fprintf(out, " address=0x%" PRIx64, e->address);
    }
    if (e->insn_len != 0) {
        fprintf(out, " insn_len=%u", e->insn_len);
    }
}

/* What of a segment register the guest can notice. */
static void segment_text(char *text, size_t size, const struct vmlib_state *state, size_t offset)
{
    struct vmlib_segment seg;
    memcpy(&seg, (const char *)state + offset, sizeof(seg));
    if (state->gpr.rip == 0 && seg.attributes == 0) { /* before the first record: no state yet */
        snprintf(text, size, "none");
    } else if (seg.attributes & VMLIB_SEGMENT_UNUSABLE) { /* the rest says nothing */
        snprintf(text, size, "%04x:unusable", seg.selector);
    } else if ((state->control.cr0 & 1) == 0) { /* no use is made of attributes */
        snprintf(text, size, "%04x:%" PRIx64 "+%x", seg.selector, seg.base, seg.limit);
    } else {
        snprintf(text, size, "%04x:%" PRIx64 "+%x/%x", seg.selector, seg.base, seg.limit,
                 seg.attributes);
    }
}

static void state_text(struct stream *s)
{
    struct vmlib_state now;
    bool any = false;
    memset(&now, 0, sizeof(now));
    now.size = sizeof(now);
    OK(vmlib_vcpu_get_state(s->w->vcpu, GROUPS, &now));
    now.gpr.rflags &= ~UINT64_C(0x10000); /* RF is not fixed (exit contract, section 8) */
    if (now.events.injected.flags & VMLIB_EVENT_HAS_ADDRESS) { /* nor are these, while it waits */
        now.control.cr2 = s->last.control.cr2;
        now.debug.dr6 = s->last.debug.dr6;
    }
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        uint64_t value = word(&now, words[i].offset);
        if (value != word(&s->last, words[i].offset)) {
            fprintf(s->out, "%s%s=0x%" PRIx64, any ? " " : "    ", words[i].name, value);
            any = true;
        }
    }
    for (unsigned i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
        char text[64], before[64];
        segment_text(text, sizeof(text), &now, segments[i].offset);
        segment_text(before, sizeof(before), &s->last, segments[i].offset);
        if (strcmp(text, before) != 0) {
            fprintf(s->out, "%s%s=%s", any ? " " : "    ", segments[i].name, text);
            any = true;
        }
    }
    const struct vmlib_events *e = &now.events, *was = &s->last.events;
    if (e->flags != was->flags) {
        fprintf(s->out, "%sevents=0x%x", any ? " " : "    ", e->flags);
        any = true;
    }
    if (memcmp(&e->injected, &was->injected, sizeof(e->injected)) != 0) {
        fprintf(s->out, "%sinjected=[", any ? " " : "    ");
        event_text(s->out, &e->injected);
        fprintf(s->out, "]");
        any = true;
    }
    fputs(any ? "\n" : "", s->out);
    s->last = now;
}

/* --- records --- */

static void pio_text(FILE *out, const struct vmlib_exit *e)
{
    const struct vmlib_exit_pio *p = &e->u.pio;
    fprintf(out, " %s port=0x%x width=%u", p->write ? "out" : "in", p->port, p->width);
    if (p->write) {
        fprintf(out, " value=0x%x", p->value);
    }
    if (p->string) {
        fprintf(out, " string%s count=%" PRIu64, p->rep ? " rep" : "", p->count);
    }
}

static void mmio_text(FILE *out, const struct vmlib_exit *e)
{
    const struct vmlib_exit_mmio *m = &e->u.mmio;
    fprintf(out, " %s gpa=0x%" PRIx64 " gva=0x%" PRIx64 " width=%u", m->write ? "write" : "read",
            m->gpa, m->gva, m->width);
    if (m->write) {
        fprintf(out, " value=0x%" PRIx64, m->value);
    }
}

static void msr_text(FILE *out, const struct vmlib_exit *e)
{
    const struct vmlib_exit_msr *m = &e->u.msr;
    fprintf(out, " %s index=0x%x%s", m->write ? "write" : "read", m->index,
            m->known ? " known" : "");
    if (m->write) {
        fprintf(out, " value=0x%" PRIx64, m->value);
    }
}

static void cpuid_text(FILE *out, const struct vmlib_exit *e)
{
    const struct vmlib_exit_cpuid *c = &e->u.cpuid;
    fprintf(out, " leaf=0x%x subleaf=0x%x eax=0x%x ebx=0x%x ecx=0x%x edx=0x%x", c->leaf, c->subleaf,
            c->eax, c->ebx, c->ecx, c->edx);
}

static void hypercall_text(FILE *out, const struct vmlib_exit *e)
{
    const struct vmlib_exit_hypercall *h = &e->u.hypercall;
    fprintf(out,
            " rax=0x%" PRIx64 " rbx=0x%" PRIx64 " rcx=0x%" PRIx64 " rdx=0x%" PRIx64
            " rsi=0x%" PRIx64 " rdi=0x%" PRIx64,
            h->rax, h->rbx, h->rcx, h->rdx, h->rsi, h->rdi);
}

static void exception_text(FILE *out, const struct vmlib_exit *e)
{
    fputc(' ', out);
    event_text(out, &e->u.exception.event);
}

static void fault_text(FILE *out, const struct vmlib_exit *e)
{
    static const char *const access[] = {"read", "write", "exec"};
    const struct vmlib_exit_memory_fault *f = &e->u.memory_fault;
    fprintf(out, " %s gpa=0x%" PRIx64 " gva=0x%" PRIx64 " width=%u mapped=%u prot=%u",
            f->access < 3 ? access[f->access] : "?", f->gpa, f->gva, f->width, f->mapped, f->prot);
}

static void debug_text(FILE *out, const struct vmlib_exit *e)
{
    const struct vmlib_exit_debug *d = &e->u.debug;
    fprintf(out, " cause=%u slots=%u", d->cause, d->slots);
    if (d->cause != VMLIB_DEBUG_STEP) {
        fprintf(out, " address=0x%" PRIx64, d->address);
    }
}

static void window_text(FILE *out, const struct vmlib_exit *e)
{
    fprintf(out, " requested=%u", e->u.interrupt.requested);
}

static void header_text(struct stream *s, const struct vmlib_exit *e)
{
    static const char *const modes[] = {"real",     "v86",      "prot16", "prot32",
                                        "compat16", "compat32", "long64"};
    fprintf(s->out, " | rip=0x%" PRIx64 " insn=", e->rip);
    for (unsigned i = 0; i < e->insn_len && i < sizeof(e->insn); i++) {
        fprintf(s->out, "%02x", e->insn[i]);
    }
    for (unsigned i = e->insn_len; i < sizeof(e->insn); i++) {
        if (e->insn[i] != 0) {
            fprintf(s->out, "(bytes behind its end)");
            break;
        }
    }
    fprintf(s->out, "/%u %s cpl=%u", e->insn_len, e->mode < 7 ? modes[e->mode] : "?", e->cpl);
    if (e->flags & VMLIB_EXIT_F_PENDING) {
        fprintf(s->out, " pending");
    }
    if (s->counts) {
        fprintf(s->out, "%s n=%" PRIu64, e->flags & VMLIB_EXIT_F_OVERSHOT ? " overshot" : "",
                e->instructions);
    }
    fputc('\n', s->out);
}

void stream_record(struct stream *s, const struct vmlib_exit *e)
{
    static void (*const text[VMLIB_EXIT_COUNT])(FILE *, const struct vmlib_exit *) = {
        [VMLIB_EXIT_PIO] = pio_text,
        [VMLIB_EXIT_MMIO] = mmio_text,
        [VMLIB_EXIT_MSR] = msr_text,
        [VMLIB_EXIT_CPUID] = cpuid_text,
        [VMLIB_EXIT_HYPERCALL] = hypercall_text,
        [VMLIB_EXIT_EXCEPTION] = exception_text,
        [VMLIB_EXIT_MEMORY_FAULT] = fault_text,
        [VMLIB_EXIT_DEBUG] = debug_text,
        [VMLIB_EXIT_INTERRUPT_WINDOW] = window_text,
    };
    const char *name = vmlib_exit_name(e->reason);
    fputs(name != NULL ? name : "?", s->out);
    if (name != NULL && text[e->reason] != NULL) {
        text[e->reason](s->out, e);
    }
    header_text(s, e);
    state_text(s);
}

void stream_note(struct stream *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(s->out, format, args);
    va_end(args);
    fputc('\n', s->out);
    state_text(s);
}

/* --- running --- */

/* A stub of the world has been entered: what lies on its stack. */
static void frame_text(struct stream *s)
{
    unsigned width = s->mode == W_REAL ? 2 : s->mode >= W_LONG0 ? 8 : 4;
    uint64_t at = s->last.segments.ss.base + s->last.gpr.rsp;
    fprintf(s->out, "    stack:");
    for (unsigned i = 0; i < 6; i++, at += width) {
        uint64_t value = 0;
        if (vmlib_vm_read(s->w->vm, at, &value, width) == 0) {
            fprintf(s->out, " 0x%" PRIx64, value);
        } else {
            fprintf(s->out, " -");
        }
    }
    fputc('\n', s->out);
}

static uint64_t pattern(struct stream *s)
{
    return UINT64_C(0x8877665544332211) + UINT64_C(0x0101010101010101) * s->reads;
}

static uint64_t next_value(struct stream *s, const struct vmlib_exit *e)
{
    uint64_t value = s->answer != NULL ? s->answer(s, e) : pattern(s);
    s->reads++;
    return value;
}

static int handle(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct stream *s = opaque;
    (void)vcpu;
    s->handled++;
    if (exit->reason == VMLIB_EXIT_MMIO && !exit->u.mmio.write) {
        exit->u.mmio.value = next_value(s, exit);
    } else if (exit->reason == VMLIB_EXIT_PIO && !exit->u.pio.write) {
        exit->u.pio.value = (uint32_t)next_value(s, exit);
    } else if (exit->reason == VMLIB_EXIT_PIO && exit->u.pio.port == PORT_END) {
        return VMLIB_STOP;
    }
    return VMLIB_HANDLED;
}

void stream_handle(struct stream *s)
{
    world_handler(s->w, VMLIB_HANDLER_PIO, 0, 0xffff, handle, s);
    world_handler(s->w, VMLIB_HANDLER_MMIO, HOLE, ROM - 1, handle, s);
}

static void complete(struct stream *s, const struct vmlib_exit *e)
{
    static const uint8_t zero[16];
    uint64_t value = next_value(s, e);
    uint32_t bytes = 8;
    const void *data = &value;
    switch (e->reason) {
    case VMLIB_EXIT_PIO:
        bytes = e->u.pio.width;
        break;
    case VMLIB_EXIT_MMIO:
        bytes = e->u.mmio.width;
        break;
    case VMLIB_EXIT_MSR:
        bytes = e->u.msr.write ? 0 : 8;
        break;
    case VMLIB_EXIT_CPUID:
        bytes = 16;
        data = zero;
        break;
    default:
        break;
    }
    if (bytes < 8) {
        value &= (UINT64_C(1) << 8 * bytes) - 1;
    }
    OK(vmlib_vcpu_complete(s->w->vcpu, data, bytes));
    if (bytes <= 8 && bytes > 0) {
        stream_note(s, "complete 0x%" PRIx64, value);
    } else {
        stream_note(s, "complete");
    }
}

struct vmlib_exit stream_run(struct stream *s, const struct vmlib_run_args *args)
{
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    int rc = vmlib_vcpu_run(s->w->vcpu, args, &e);
    while (rc == 0 && s->slice != 0 && e.reason == VMLIB_EXIT_BUDGET) {
        s->carried += e.instructions;
        rc = vmlib_vcpu_run(s->w->vcpu, args, &e);
    }
    e.instructions += s->carried;
    s->carried = 0;
    if (rc != 0) {
        e.reason = VMLIB_EXIT_NONE;
        stream_note(s, "error %d", rc);
        return e;
    }
    stream_record(s, &e);
    if (e.reason == VMLIB_EXIT_PIO && e.u.pio.write && e.u.pio.port == PORT_VECTOR) {
        frame_text(s);
    }
    if (e.flags & VMLIB_EXIT_F_PENDING) {
        complete(s, &e);
    }
    return e;
}

static bool is_end(const struct vmlib_exit *e)
{
    switch (e->reason) {
    case VMLIB_EXIT_HLT:
    case VMLIB_EXIT_SHUTDOWN:
    case VMLIB_EXIT_INTERNAL:
    case VMLIB_EXIT_NONE:
    case VMLIB_EXIT_DEADLINE:
    case VMLIB_EXIT_STOPPED:
        return true;
    default:
        return e->reason == VMLIB_EXIT_PIO && e->u.pio.write && e->u.pio.port == PORT_END;
    }
}

void stream_all(struct stream *s)
{
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    struct vmlib_exit e;
    unsigned records = 0;
    args.deadline_ns = 20000000000u;
    args.budget = s->slice;
    do {
        e = stream_run(s, &args);
    } while (!is_end(&e) && ++records < 300);
}
