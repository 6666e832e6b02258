/* ELF32 and ELF64 executables (System V ABI): headers, loadable segments, the Xen note. */
#include "boot/load.h"

#define MAX_SEGMENTS 64u

#define PT_LOAD   1u
#define PT_NOTE   4u
#define EM_386    3u
#define EM_X86_64 62u

#define NOTE_PHYS32_ENTRY 18u

struct segment {
    uint32_t type;
    uint64_t offset, vaddr, paddr, file_bytes, memory_bytes;
};

bool vmi_elf_is(const struct vmi_boot *b)
{
    return b->bytes >= 4 && !memcmp(b->file, "\177ELF", 4);
}

static int check_header(const struct vmi_boot *b, struct vmi_elf *e)
{
    const uint8_t *h = b->file;

    if (!vmi_elf_is(b) || b->bytes < 52 || h[4] < 1 || h[4] > 2 || h[5] != 1 || h[6] != 1)
        return vmi_dev_error(VMLIB_E_INVAL,
                             "elf: truncated, or not a little-endian ELF file of version 1");
    e->is64 = h[4] == 2;
    if (e->is64 && b->bytes < 64)
        return vmi_dev_error(VMLIB_E_INVAL, "elf: header is truncated");
    e->machine = vmi_get16(h + 18);
    if (e->machine != (e->is64 ? EM_X86_64 : EM_386) && e->machine != EM_386 &&
        e->machine != EM_X86_64)
        return vmi_dev_error(VMLIB_E_UNSUPPORTED, "elf: for machine %u, not x86", e->machine);
    if (vmi_get16(h + 16) != 2)
        return vmi_dev_error(VMLIB_E_UNSUPPORTED, "elf: type %u is not an executable",
                             vmi_get16(h + 16));
    e->entry = e->is64 ? vmi_get64(h + 24) : vmi_get32(h + 24);
    return 0;
}

static int get_segment(const struct vmi_boot *b, const struct vmi_elf *e, unsigned n,
                       struct segment *s)
{
    const uint8_t *h = b->file, *ph;
    uint64_t table = e->is64 ? vmi_get64(h + 32) : vmi_get32(h + 28);
    unsigned entry = vmi_get16(h + (e->is64 ? 54 : 42));

    if (entry < (e->is64 ? 56u : 32u) || table > b->bytes ||
        !vmi_boot_in_file(b, table + (uint64_t)n * entry, entry))
        return vmi_dev_error(VMLIB_E_INVAL, "elf: program header %u lies outside the file", n);
    ph = h + table + (uint64_t)n * entry;
    if (e->is64)
        *s = (struct segment){vmi_get32(ph),      vmi_get64(ph + 8),  vmi_get64(ph + 16),
                              vmi_get64(ph + 24), vmi_get64(ph + 32), vmi_get64(ph + 40)};
    else
        *s = (struct segment){vmi_get32(ph),      vmi_get32(ph + 4),  vmi_get32(ph + 8),
                              vmi_get32(ph + 12), vmi_get32(ph + 16), vmi_get32(ph + 20)};
    return 0;
}

/* Notes: name size, descriptor size, type, name, descriptor; both padded to four bytes. */
static void find_note(const struct vmi_boot *b, const struct segment *s, struct vmi_elf *e)
{
    uint64_t at = s->offset, end;

    if (!vmi_boot_in_file(b, s->offset, s->file_bytes))
        return;
    end = s->offset + s->file_bytes;
    while (end - at >= 12) {
        uint64_t name = vmi_get32(b->file + at), desc = vmi_get32(b->file + at + 4);
        uint32_t type = vmi_get32(b->file + at + 8);
        uint64_t name_at = at + 12, desc_at = name_at + ((name + 3) & ~3ull),
                 next = desc_at + ((desc + 3) & ~3ull);

        if (desc_at > end || desc > end - desc_at)
            return;
        if (type == NOTE_PHYS32_ENTRY && name == 4 && !memcmp(b->file + name_at, "Xen", 4) &&
            (desc == 4 || desc == 8)) {
            e->note_entry = desc == 8 ? vmi_get64(b->file + desc_at) : vmi_get32(b->file + desc_at);
            e->has_note = true;
            return;
        }
        if (next > end)
            return;
        at = next;
    }
}

static int segment_count(const struct vmi_boot *b, const struct vmi_elf *e, unsigned *count)
{
    *count = vmi_get16(b->file + (e->is64 ? 56 : 44));
    if (*count == 0 || *count > MAX_SEGMENTS)
        return vmi_dev_error(VMLIB_E_INVAL, "elf: %u program headers; 1 to %u are possible", *count,
                             MAX_SEGMENTS);
    return 0;
}

int vmi_elf_parse(struct vmi_boot *b, struct vmi_elf *e)
{
    struct segment s;
    unsigned n, count;
    int error;

    memset(e, 0, sizeof *e);
    error = check_header(b, e);
    if (!error)
        error = segment_count(b, e, &count);
    if (error)
        return error;
    for (n = 0; n < count && !e->has_note; n++) {
        error = get_segment(b, e, n, &s);
        if (error)
            return error;
        if (s.type == PT_NOTE)
            find_note(b, &s, e);
    }
    return 0;
}

static int load_segment(struct vmi_boot *b, struct vmi_elf *e, const struct segment *s, unsigned n)
{
    uint64_t end;

    if (!s->memory_bytes)
        return 0;
    if (s->file_bytes > s->memory_bytes || !vmi_boot_in_file(b, s->offset, s->file_bytes))
        return vmi_dev_error(
            VMLIB_E_INVAL, "elf: segment %u is larger in the file than in memory, or truncated", n);
    if (s->paddr > UINT64_MAX - s->memory_bytes)
        return vmi_dev_error(VMLIB_E_INVAL, "elf: segment %u overflows the address space", n);
    if (e->entry >= s->vaddr && e->entry - s->vaddr < s->memory_bytes)
        e->entry_phys = s->paddr + (e->entry - s->vaddr);
    end = b->r.kernel_gpa + b->r.kernel_bytes;
    if (!b->r.kernel_bytes) {
        b->r.kernel_gpa = s->paddr;
        end = s->paddr;
    }
    b->r.kernel_gpa = vmi_min(b->r.kernel_gpa, s->paddr);
    if (end < s->paddr + s->memory_bytes)
        end = s->paddr + s->memory_bytes;
    b->r.kernel_bytes = end - b->r.kernel_gpa;
    return vmi_boot_place(b, s->paddr, b->file + s->offset, s->file_bytes,
                          s->memory_bytes - s->file_bytes, "elf: segment");
}

int vmi_elf_load(struct vmi_boot *b, struct vmi_elf *e)
{
    struct segment s;
    unsigned n, count;
    int error = segment_count(b, e, &count);

    e->entry_phys = e->entry; /* when it lies in no segment */
    for (n = 0; n < count && !error; n++) {
        error = get_segment(b, e, n, &s);
        if (!error && s.type == PT_LOAD)
            error = load_segment(b, e, &s, n);
    }
    if (!error && !b->r.kernel_bytes)
        error = vmi_dev_error(VMLIB_E_INVAL, "elf: nothing to load");
    return error;
}

int vmi_boot_elf(struct vmi_boot *b)
{
    struct vmi_boot_regs regs = {.rsp = 0x7000};
    struct vmi_elf e;
    int error = vmi_elf_parse(b, &e);

    if (!error)
        error = vmi_elf_load(b, &e);
    if (error)
        return error;
    regs.rip = e.entry_phys;
    if (!e.is64)
        return vmi_boot_enter_flat32(b, &regs);
    if (e.entry_phys >> 32)
        return vmi_dev_error(VMLIB_E_RANGE, "elf: entry %#llx is above 4 GiB",
                             (unsigned long long)e.entry_phys);
    return vmi_boot_enter_long(b, &regs);
}
