/* Hand-off: a CPU model that two vCPUs can both have, so that a guest finds on each what it was
 * told.
 */
#include <stdbool.h>
#include <string.h>

#include "devices/error.h"

#include <vmlib/handoff.h>

#define EAX 1u
#define EBX 2u
#define ECX 4u
#define EDX 8u

/* Leaves whose bits are features: in these registers a bit must be in both (SDM Vol.2A CPUID). */
static const struct {
    uint32_t leaf, subleaf, registers;
} features[] = {
    {0x1, 0, ECX | EDX},         {0x6, 0, EAX | ECX},
    {0x7, 0, EBX | ECX | EDX},   {0x7, 1, EAX | EBX | ECX | EDX},
    {0xd, 0, EAX | EDX}, /* components of XCR0 */
    {0xd, 1, EAX | ECX | EDX},   {0x14, 0, EBX | ECX},
    {0x80000001u, 0, ECX | EDX}, {0x80000007u, 0, EDX},
    {0x80000008u, 0, EBX},
};

struct model {
    struct vmlib_cpuid_leaf leaf[VMLIB_CPUID_MAX];
    uint32_t count;
};

static int read_model(vmlib_vcpu *vcpu, struct model *m)
{
    int error;

    m->count = VMLIB_CPUID_MAX;
    error = vmlib_vcpu_get_cpuid(vcpu, m->leaf, &m->count);
    return error ? vmi_dev_error_lib(error, "CPUID model") : 0;
}

static bool answers(const struct vmlib_cpuid_leaf *l, uint32_t leaf, uint32_t subleaf)
{
    return l->leaf == leaf && (!(l->flags & VMLIB_CPUID_SUBLEAF) || l->subleaf == subleaf);
}

/* What a model says; leaves that it does not have are zero. */
static struct vmlib_cpuid_leaf look_up(const struct model *m, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t n = 0; n < m->count; n++)
        if (answers(&m->leaf[n], leaf, subleaf))
            return m->leaf[n];
    return (struct vmlib_cpuid_leaf){.leaf = leaf};
}

static void intersect(struct model *m, const struct model *other)
{
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        struct vmlib_cpuid_leaf o = look_up(other, features[i].leaf, features[i].subleaf);
        uint32_t r = features[i].registers;

        for (uint32_t n = 0; n < m->count; n++) {
            struct vmlib_cpuid_leaf *l = &m->leaf[n];

            if (!answers(l, features[i].leaf, features[i].subleaf))
                continue;
            l->eax &= r & EAX ? o.eax : UINT32_MAX;
            l->ebx &= r & EBX ? o.ebx : UINT32_MAX;
            l->ecx &= r & ECX ? o.ecx : UINT32_MAX;
            l->edx &= r & EDX ? o.edx : UINT32_MAX;
        }
    }
}

/* The widths of addresses: the smaller of each. */
static void narrow(struct model *m, const struct model *other)
{
    uint32_t b = look_up(other, 0x80000008u, 0).eax;

    for (uint32_t n = 0; n < m->count && b; n++) {
        uint32_t *a = &m->leaf[n].eax;

        if (m->leaf[n].leaf != 0x80000008u)
            continue;
        if ((b & 0xff) < (*a & 0xff))
            *a = (*a & ~0xffu) | (b & 0xff);
        if ((b & 0xff00) < (*a & 0xff00))
            *a = (*a & ~0xff00u) | (b & 0xff00);
    }
}

int vmlib_handoff_cpuid(vmlib_vcpu *a, vmlib_vcpu *b, struct vmlib_cpuid_leaf *leaves,
                        uint32_t *count)
{
    struct model m, other;
    uint32_t room;
    int error;

    if (!a || !b || !count || (!leaves && *count))
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", !a ? "a" : !b ? "b" : "leaves or count");
    error = read_model(a, &m);
    if (!error)
        error = read_model(b, &other);
    if (error)
        return error;
    intersect(&m, &other);
    narrow(&m, &other);
    room = *count;
    *count = m.count;
    if (room < m.count)
        return vmi_dev_error(VMLIB_E_LIMIT, "count: the model has %u leaves", m.count);
    memcpy(leaves, m.leaf, m.count * sizeof(*leaves));
    return 0;
}
