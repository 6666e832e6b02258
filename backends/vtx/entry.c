/*
 * Why the processor refuses a guest state: the checks of SDM Vol.3C 26.3.1, in its order. The
 * processor itself says only "invalid guest state"; this file finds the first check that fails.
 */
#include "words.h"

#include <stdbool.h>

struct state {
    const struct vmlib_vtx_run *run;
    const struct vmlib_vtx_info *info;
    bool unrestricted, long_mode, v86;
};

static bool canonical(uint64_t a)
{
    uint64_t top = a >> 47;

    return top == 0 || top == 0x1ffff;
}

static const struct vmlib_vtx_segment *segment(const struct state *s, unsigned n)
{
    return &s->run->segments.s[n];
}

static bool usable(const struct vmlib_vtx_segment *seg)
{
    return !(seg->attributes & 0x10000);
}

static unsigned dpl(const struct vmlib_vtx_segment *seg)
{
    return seg->attributes >> 5 & 3;
}

static const char *registers(const struct state *s)
{
    uint64_t cr0 = s->run->control.cr0, cr4 = s->run->control.cr4, efer = s->run->control.efer;

    if (cr0 & 0x80000000 && !(cr0 & 1))
        return "CR0.PG without CR0.PE (26.3.1.1)";
    if (cr4 & 0x800000 && !(cr0 & 0x10000))
        return "CR4.CET without CR0.WP (26.3.1.1)";
    if (s->long_mode && !(cr0 & 0x80000000 && cr4 & 0x20))
        return "EFER.LMA without CR0.PG and CR4.PAE (26.3.1.1)";
    if (!s->long_mode && cr4 & 0x20000)
        return "CR4.PCIDE outside IA-32e mode (26.3.1.1)";
    if (s->run->control.cr3 >> 32 && s->run->control.cr3 >> s->info->phys_bits)
        return "CR3 beyond the physical-address width (26.3.1.1)";
    if (s->run->debug.dr7 >> 32)
        return "DR7 has high bits (26.3.1.1)";
    if (!canonical(s->run->msrs.sysenter_esp) || !canonical(s->run->msrs.sysenter_eip))
        return "SYSENTER_ESP or SYSENTER_EIP is not canonical (26.3.1.1)";
    if (cr0 & 0x80000000 && !(efer & 0x400) != !(efer & 0x100))
        return "EFER.LMA differs from EFER.LME with paging on (26.3.1.1)";
    return NULL;
}

static const char *pat(const struct state *s)
{
    unsigned i;

    for (i = 0; i < 8; i++) {
        unsigned type = s->run->msrs.pat >> 8 * i & 0xff;

        if (type > 7 || type == 2 || type == 3)
            return "PAT has a reserved memory type (26.3.1.1)";
    }
    return NULL;
}

/* CS, SS, DS, ES, FS, GS in virtual-8086 mode. */
static const char *v86_segments(const struct state *s)
{
    unsigned i;

    for (i = VMLIB_VTX_ES; i <= VMLIB_VTX_GS; i++) {
        const struct vmlib_vtx_segment *seg = segment(s, i);

        if (seg->base != (uint64_t)seg->selector << 4 || seg->limit != 0xffff ||
            seg->attributes != 0xf3)
            return "a segment is not as virtual-8086 mode wants it: base selector * 16, limit "
                   "ffff, attributes f3 (26.3.1.2)";
    }
    return NULL;
}

static const char *code_segment(const struct state *s)
{
    const struct vmlib_vtx_segment *cs = segment(s, VMLIB_VTX_CS), *ss = segment(s, VMLIB_VTX_SS);
    unsigned type = cs->attributes & 15;

    if (!usable(cs))
        return "CS is unusable (26.3.1.2)";
    if (!(type == 9 || type == 11 || type == 13 || type == 15 || (type == 3 && s->unrestricted)))
        return "CS is not an accessed code segment (26.3.1.2)";
    if (!(cs->attributes & 0x10))
        return "CS is a system segment (26.3.1.2)";
    if (type == 3 && dpl(cs))
        return "CS is a data segment with DPL above 0 (26.3.1.2)";
    if ((type == 9 || type == 11) && dpl(cs) != dpl(ss))
        return "DPL of CS differs from that of SS (26.3.1.2)";
    if ((type == 13 || type == 15) && dpl(cs) > dpl(ss))
        return "DPL of conforming CS is above that of SS (26.3.1.2)";
    if (s->long_mode && (cs->attributes & 0x6000) == 0x6000)
        return "CS has both L and D (26.3.1.2)";
    if (cs->base >> 32)
        return "base of CS is above 4 GiB (26.3.1.2)";
    return NULL;
}

static const char *stack_segment(const struct state *s)
{
    const struct vmlib_vtx_segment *cs = segment(s, VMLIB_VTX_CS), *ss = segment(s, VMLIB_VTX_SS);
    unsigned type = ss->attributes & 15;

    if (!s->unrestricted && (ss->selector & 3) != (cs->selector & 3))
        return "RPL of SS differs from that of CS (26.3.1.2)";
    if (!s->unrestricted && dpl(ss) != (ss->selector & 3u))
        return "DPL of SS differs from its RPL (26.3.1.2)";
    if (((cs->attributes & 15) == 3 || !(s->run->control.cr0 & 1)) && dpl(ss))
        return "DPL of SS is not 0 in real mode (26.3.1.2)";
    if (usable(ss) && ((type != 3 && type != 7) || !(ss->attributes & 0x10)))
        return "SS is not an accessed, writable data segment (26.3.1.2)";
    if (usable(ss) && ss->base >> 32)
        return "base of SS is above 4 GiB (26.3.1.2)";
    return NULL;
}

static const char *data_segments(const struct state *s)
{
    static const unsigned order[] = {VMLIB_VTX_DS, VMLIB_VTX_ES, VMLIB_VTX_FS, VMLIB_VTX_GS};
    unsigned i;

    for (i = 0; i < 4; i++) {
        const struct vmlib_vtx_segment *seg = segment(s, order[i]);
        unsigned type = seg->attributes & 15;

        if (i >= 2 && !canonical(seg->base))
            return "base of FS or GS is not canonical (26.3.1.2)";
        if (!usable(seg))
            continue;
        if (!(type & 1) || (type & 8 && !(type & 2)))
            return "DS, ES, FS or GS is not accessed and readable (26.3.1.2)";
        if (!(seg->attributes & 0x10))
            return "DS, ES, FS or GS is a system segment (26.3.1.2)";
        if (!s->unrestricted && type <= 11 && dpl(seg) < (seg->selector & 3u))
            return "DPL of DS, ES, FS or GS is below its RPL (26.3.1.2)";
        if (i < 2 && seg->base >> 32)
            return "base of DS or ES is above 4 GiB (26.3.1.2)";
    }
    return NULL;
}

/* Present, reserved bits, granularity against limit: all usable segments. */
static const char *attributes(const struct state *s)
{
    unsigned i;

    for (i = 0; i < VMLIB_VTX_SEGMENTS; i++) {
        const struct vmlib_vtx_segment *seg = segment(s, i);

        if (!usable(seg) || (s->v86 && i <= VMLIB_VTX_GS))
            continue;
        if (!(seg->attributes & 0x80))
            return "a usable segment is not present (26.3.1.2)";
        if (seg->attributes & 0xfffe0f00)
            return "reserved attribute bits of a segment (26.3.1.2)";
        if (seg->attributes & 0x8000 ? (seg->limit & 0xfff) != 0xfff : seg->limit >> 20)
            return "limit and granularity of a segment disagree (26.3.1.2)";
    }
    return NULL;
}

static const char *system_segments(const struct state *s)
{
    const struct vmlib_vtx_segment *tr = segment(s, VMLIB_VTX_TR),
                                   *ldtr = segment(s, VMLIB_VTX_LDTR);
    unsigned type = tr->attributes & 15;

    if (!usable(tr) || tr->selector & 4 || tr->attributes & 0x10)
        return "TR is unusable, in the LDT, or no system segment (26.3.1.2)";
    if (type != 11 && (type != 3 || s->long_mode))
        return "TR is not a busy TSS (26.3.1.2)";
    if (!canonical(tr->base))
        return "base of TR is not canonical (26.3.1.2)";
    if (!usable(ldtr))
        return NULL;
    if (ldtr->selector & 4 || (ldtr->attributes & 0x1f) != 2 || !canonical(ldtr->base))
        return "LDTR is not an LDT in the GDT with a canonical base (26.3.1.2)";
    return NULL;
}

static const char *tables(const struct state *s)
{
    if (!canonical(s->run->segments.gdtr_base) || !canonical(s->run->segments.idtr_base))
        return "base of GDTR or IDTR is not canonical (26.3.1.3)";
    if (s->run->segments.gdtr_limit >> 16 || s->run->segments.idtr_limit >> 16)
        return "limit of GDTR or IDTR has high bits (26.3.1.3)";
    return NULL;
}

static const char *instruction(const struct state *s)
{
    bool code64 = s->long_mode && segment(s, VMLIB_VTX_CS)->attributes & 0x2000;
    uint64_t flags = s->run->rflags;

    if (!code64 && s->run->rip >> 32)
        return "RIP has high bits outside 64-bit mode (26.3.1.4)";
    if (code64 && !canonical(s->run->rip))
        return "RIP is not canonical (26.3.1.4)";
    if (flags >> 22 || flags & 0x8028 || !(flags & 2))
        return "reserved bits of RFLAGS (26.3.1.4)";
    if (flags & 0x20000 && (s->long_mode || !(s->run->control.cr0 & 1)))
        return "RFLAGS.VM in IA-32e mode or without CR0.PE (26.3.1.4)";
    if ((s->run->inject.event & 0x80000700) == 0x80000000 && !(flags & 0x200))
        return "an external interrupt is injected while RFLAGS.IF is 0 (26.3.1.4)";
    return NULL;
}

static const char *interruptibility(const struct state *s)
{
    uint32_t i = s->run->events.interruptibility, event = s->run->inject.event;
    uint64_t pending = s->run->events.pending_debug;

    if (i & ~0xfu)
        return "reserved bits of the interruptibility state (26.3.1.5)";
    if ((i & 3) == 3)
        return "blocking by STI and by MOV SS together (26.3.1.5)";
    if (i & 1 && !(s->run->rflags & 0x200))
        return "blocking by STI while RFLAGS.IF is 0 (26.3.1.5)";
    if ((event & 0x80000700) == 0x80000000 && i & 3)
        return "an external interrupt is injected while blocked (26.3.1.5)";
    if ((event & 0x80000700) == 0x80000200 && i & 0xa)
        return "an NMI is injected while blocked (26.3.1.5)";
    if (i & 4)
        return "blocking by SMI outside SMM (26.3.1.5)";
    if (pending & ~0x500full)
        return "reserved bits of the pending debug exceptions, or RTM without TSX (26.3.1.5)";
    if (i & 3 &&
        !(pending & 0x4000) != !((s->run->rflags & 0x100) && !(s->run->debug.debugctl & 2)))
        return "pending debug exceptions: BS does not follow RFLAGS.TF (26.3.1.5)";
    return NULL;
}

static const char *pdptes(const struct state *s)
{
    uint64_t cr0 = s->run->control.cr0;
    unsigned i;

    if (!(cr0 & 0x80000000) || !(s->run->control.cr4 & 0x20) || s->long_mode)
        return NULL;
    for (i = 0; i < 4; i++) {
        uint64_t e = s->run->control.pdpte[i];

        if (e & 1 && (e & 0x1e6 || e >> s->info->phys_bits))
            return "reserved bits of a page-directory-pointer entry (26.3.1.6)";
    }
    return NULL;
}

const char *vtx_words_entry(const struct vmlib_vtx_run *run, const struct vmlib_vtx_info *info)
{
    static const char *(*const checks[])(const struct state *) = {
        registers,       pat,    code_segment, stack_segment,    data_segments, attributes,
        system_segments, tables, instruction,  interruptibility, pdptes,
    };
    const struct state s = {run, info, (run->controls.word[VMLIB_VTX_PROC2] & 0x80) != 0,
                            (run->control.efer & 0x400) != 0, (run->rflags & 0x20000) != 0};
    const char *text;
    unsigned i;

    for (i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        bool descriptors = i >= 2 && i <= 4;

        if (s.v86 && descriptors)
            text = i == 2 ? v86_segments(&s) : NULL;
        else
            text = checks[i](&s);
        if (text)
            return text;
    }
    return NULL;
}
