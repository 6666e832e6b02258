/* Symbols of ELF files (System V ABI, "Symbol Table"). The file is hostile: each access is checked.
 */
#include <stdbool.h>
#include <string.h>

#include <vmlib/call.h>

#include "devices/error.h"

#define SHT_SYMTAB 2u
#define SHN_UNDEF  0u

struct file {
    const uint8_t *data;
    uint64_t bytes;
    bool is64;
};

struct section {
    uint32_t type, link;
    uint64_t offset, bytes, entry;
};

static uint64_t get(const uint8_t *p, unsigned width)
{
    uint64_t value = 0;

    memcpy(&value, p, width); /* little-endian hosts only */
    return value;
}

static bool inside(const struct file *f, uint64_t offset, uint64_t bytes)
{
    return offset <= f->bytes && bytes <= f->bytes - offset;
}

static bool get_section(const struct file *f, uint64_t n, struct section *s)
{
    uint64_t table = f->is64 ? get(f->data + 40, 8) : get(f->data + 32, 4);
    uint64_t entry = get(f->data + (f->is64 ? 58 : 46), 2);
    uint64_t count = get(f->data + (f->is64 ? 60 : 48), 2);
    const uint8_t *h;

    if (n >= count || entry < (f->is64 ? 64u : 40u) || table > f->bytes ||
        !inside(f, table + n * entry, entry))
        return false;
    h = f->data + table + n * entry;
    if (f->is64)
        *s = (struct section){(uint32_t)get(h + 4, 4), (uint32_t)get(h + 40, 4), get(h + 24, 8),
                              get(h + 32, 8), get(h + 56, 8)};
    else
        *s = (struct section){(uint32_t)get(h + 4, 4), (uint32_t)get(h + 24, 4), get(h + 16, 4),
                              get(h + 20, 4), get(h + 36, 4)};
    return inside(f, s->offset, s->bytes) || s->type == 8; /* SHT_NOBITS has no bytes */
}

static bool named(const struct file *f, const struct section *strings, uint64_t at,
                  const char *name)
{
    size_t length = strlen(name) + 1;

    return at < strings->bytes && length <= strings->bytes - at &&
           memcmp(f->data + strings->offset + at, name, length) == 0;
}

/* 0 when found. */
static int search(const struct file *f, const struct section *table, const char *name,
                  uint64_t *address, uint64_t *length)
{
    uint64_t entry = f->is64 ? 24 : 16;
    struct section strings;

    if (table->entry != entry || !get_section(f, table->link, &strings) || strings.type == 8)
        return vmi_dev_error(VMLIB_E_INVAL, "elf: the symbol table is damaged");
    for (uint64_t at = 0; at + entry <= table->bytes; at += entry) {
        const uint8_t *s = f->data + table->offset + at;

        if (get(s + (f->is64 ? 6 : 14), 2) == SHN_UNDEF || !named(f, &strings, get(s, 4), name))
            continue;
        if (address)
            *address = f->is64 ? get(s + 8, 8) : get(s + 4, 4);
        if (length)
            *length = f->is64 ? get(s + 16, 8) : get(s + 8, 4);
        return 0;
    }
    return vmi_dev_error(VMLIB_E_NOTFOUND, "elf: there is no symbol '%s'", name);
}

int vmlib_elf_symbol(const void *elf, uint64_t bytes, const char *name, uint64_t *address,
                     uint64_t *length)
{
    struct file f = {elf, bytes, false};
    struct section s;

    if (!elf || !name || !*name)
        return vmi_dev_error(VMLIB_E_INVAL, "%s is %s", elf ? "name" : "elf",
                             elf && name ? "empty" : "NULL");
    if (bytes < 64 || memcmp(elf, "\177ELF", 4) || f.data[4] < 1 || f.data[4] > 2 || f.data[5] != 1)
        return vmi_dev_error(VMLIB_E_INVAL, "elf: truncated, or not a little-endian ELF file");
    f.is64 = f.data[4] == 2;
    for (uint64_t n = 0; get_section(&f, n, &s); n++)
        if (s.type == SHT_SYMTAB)
            return search(&f, &s, name, address, length);
    return vmi_dev_error(VMLIB_E_NOTFOUND, "elf: it has no symbols");
}
