/*
 * The CPU model: the library's own (lib/x86), cut down to what KVM can run on this host.
 *
 * What a local APIC needs (x2APIC, TSC deadline) is the business of chip models in user space and
 * stays. A model that the host program brings is not cut down but refused when KVM cannot run it: a
 * guest would otherwise meet #UD where CPUID promised an instruction.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvm/kvm.h"
#include "state/state.h"
#include "x86/features.h"
#include "x86/sys.h"

#define SUPPORTED_MAX 256

enum { EAX, EBX, ECX, EDX };
static const char *const reg_names[] = {"EAX", "EBX", "ECX", "EDX"};

/* Registers whose bits say what the CPU can do. own: bits that do not concern KVM. */
static const struct word {
    uint32_t leaf, subleaf;
    uint8_t reg;
    uint32_t own;
} words[] = {
    /* DTES64, MONITOR and so on are KVM's; x2APIC 21, TSC deadline 24, OSXSAVE 27, hypervisor 31 */
    {1, 0, ECX, 1u << 21 | 1u << 24 | 1u << 27 | 1u << 31},
    /* MCE 7, APIC 9, MTRR 12, MCA 14, PAT 16, HTT 28: state that the backend keeps, or topology */
    {1, 0, EDX, 1u << 7 | 1u << 9 | 1u << 12 | 1u << 14 | 1u << 16 | 1u << 28},
    /* FCS and FDS are zero 13: a statement about what is missing */
    {7, 0, EBX, 1u << 13},
    {7, 0, ECX, 0},
    /* ARCH_CAPABILITIES 29: the MSR is the backend's */
    {7, 0, EDX, 1u << 29},
    {7, 1, EAX, 0},
    {0xd, 0, EAX, 0},
    {0xd, 1, EAX, 0},
    /* CMP_LEGACY 1 */
    {0x80000001, 0, ECX, 1u << 1},
    {0x80000001, 0, EDX, 0},
    /* INVLPGB and so on are refused; bits of side-channel controls are KVM's */
    {0x80000008, 0, EBX, 0},
};
#define NWORDS (sizeof(words) / sizeof(words[0]))

/* --- what KVM can run here --- */

static uint32_t *reg_of(struct x86_cpuid_leaf *l, unsigned reg)
{
    return reg == EAX ? &l->eax : reg == EBX ? &l->ebx : reg == ECX ? &l->ecx : &l->edx;
}

static uint32_t entry_reg(const struct kvm_cpuid_entry2 *e, unsigned reg)
{
    return reg == EAX ? e->eax : reg == EBX ? e->ebx : reg == ECX ? e->ecx : e->edx;
}

static int read_supported(int dev, uint32_t supported[KVM_CPUID_WORDS])
{
    struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + SUPPORTED_MAX * sizeof(c->entries[0]));
    if (!c)
        return vmi_error(VMLIB_E_NOMEM, "no memory for the CPUID leaves of KVM");
    c->nent = SUPPORTED_MAX;
    int rc = kvm_ioctl(dev, KVM_GET_SUPPORTED_CPUID, c);
    if (rc < 0)
        rc = kvm_failed("KVM_GET_SUPPORTED_CPUID");
    for (uint32_t i = 0; rc == 0 && i < c->nent; i++)
        for (unsigned w = 0; w < NWORDS; w++) {
            const struct kvm_cpuid_entry2 *e = &c->entries[i];
            bool sub = e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
            if (e->function == words[w].leaf && (sub ? e->index : 0) == words[w].subleaf)
                supported[w] = entry_reg(e, words[w].reg);
        }
    free(c);
    return rc;
}

int kvm_cpuid_vm(struct kvm_machine *vm)
{
    return read_supported(vm->dev, vm->cpuid);
}

/* AVX2, FMA, F16C and BMI, with the XSAVE state that they need: in the words above. */
bool kvm_cpuid_avx2(void)
{
    static const struct {
        uint8_t word;
        uint32_t bits;
    } needs[] = {
        {0, 1u << 12 | 1u << 26 | 1u << 28 | 1u << 29}, /* 1 ECX: FMA, XSAVE, AVX, F16C */
        {2, 1u << 3 | 1u << 5 | 1u << 8},               /* 7 EBX: BMI1, AVX2, BMI2 */
        {6, 7},                                         /* DH EAX: XCR0 */
    };
    uint32_t supported[KVM_CPUID_WORDS] = {0};
    char reason[128];
    int dev = kvm_open_device(reason, sizeof(reason));
    bool all = dev >= 0 && read_supported(dev, supported) == 0;
    for (unsigned i = 0; all && i < sizeof(needs) / sizeof(needs[0]); i++)
        all = (supported[needs[i].word] & needs[i].bits) == needs[i].bits;
    if (dev >= 0)
        close(dev);
    return all;
}
_Static_assert(NWORDS == KVM_CPUID_WORDS, "kvm.h says how many");

/* XCR0 bits that the model's guest may set. */
static uint64_t model_xcr0(const struct x86_cpuid_table *t)
{
    uint64_t feat[4], xcr0 = X86_XCR0_X87 | X86_XCR0_SSE;
    x86_cpuid_features(t, feat);
    if (feat[X86_FEAT_AVX >> 6] >> (X86_FEAT_AVX & 63) & 1)
        xcr0 |= X86_XCR0_AVX;
    return xcr0;
}

/* --- the default model --- */

static struct x86_cpuid_leaf *leaf_of(struct x86_cpuid_table *t, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->leaf[i].leaf == leaf &&
            (t->leaf[i].subleaf == subleaf || (subleaf == 0 && t->leaf[i].subleaf == UINT32_MAX)))
            return &t->leaf[i];
    return NULL;
}

static bool offers(struct x86_cpuid_table *t, uint32_t leaf, unsigned reg, unsigned bit)
{
    struct x86_cpuid_leaf *l = leaf_of(t, leaf, 0);
    return l && *reg_of(l, reg) >> bit & 1;
}

static void withdraw(struct x86_cpuid_table *t, uint32_t leaf, unsigned reg, uint32_t bits)
{
    struct x86_cpuid_leaf *l = leaf_of(t, leaf, 0);
    if (l)
        *reg_of(l, reg) &= ~bits;
}

static void remove_leaf(struct x86_cpuid_table *t, uint32_t leaf)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->count; i++)
        if (t->leaf[i].leaf != leaf)
            t->leaf[n++] = t->leaf[i];
    t->count = n;
}

#define LEAF1_AVX  (1u << 12 | 1u << 28 | 1u << 29) /* FMA, AVX, F16C */
#define LEAF7_AVX  (1u << 5)                        /* AVX2 */
#define LEAF7C_AVX (1u << 9 | 1u << 10)             /* VAES, VPCLMULQDQ */

/* Features that build on one that is missing. */
static void keep_consistent(struct x86_cpuid_table *t)
{
    if (!offers(t, 1, ECX, 26)) {
        remove_leaf(t, 0xd);
        withdraw(t, 1, ECX, LEAF1_AVX);
    }
    if (!offers(t, 1, ECX, 28)) {
        withdraw(t, 1, ECX, LEAF1_AVX);
        withdraw(t, 7, EBX, LEAF7_AVX);
        withdraw(t, 7, ECX, LEAF7C_AVX);
    }
}

static void default_model(struct kvm_cpu *v, struct x86_cpuid_table *t)
{
    uint64_t host[4];
    x86_host_features(host);
    vmi_model_default(v->owner, host, t);
    for (unsigned w = 0; w < NWORDS; w++) {
        struct x86_cpuid_leaf *l = leaf_of(t, words[w].leaf, words[w].subleaf);
        if (l)
            *reg_of(l, words[w].reg) &= v->vm->cpuid[w] | words[w].own;
    }
    keep_consistent(t);
}

/* --- a model from outside --- */

static int check_model(const struct kvm_machine *vm, struct x86_cpuid_table *t)
{
    for (unsigned w = 0; w < NWORDS; w++) {
        struct x86_cpuid_leaf *l = leaf_of(t, words[w].leaf, words[w].subleaf);
        uint32_t more = l ? *reg_of(l, words[w].reg) & ~(vm->cpuid[w] | words[w].own) : 0;
        if (more)
            return vmi_error(VMLIB_E_UNSUPPORTED,
                             "CPUID model: KVM on this host lacks bits %#x of leaf %#x.%u %s", more,
                             words[w].leaf, words[w].subleaf, reg_names[words[w].reg]);
    }
    return 0;
}

/* --- into KVM --- */

/* Entries for one subleaf come first: KVM takes the first that matches. The catch-all entries of
 * topology leaves are left out, as KVM then answers with the subleaf's number (SDM Vol.2A, leaf
 * BH). */
static uint32_t fill(const struct x86_cpuid_table *t, struct kvm_cpuid_entry2 *e)
{
    uint32_t n = 0;
    for (unsigned any = 0; any < 2; any++)
        for (uint32_t i = 0; i < t->count; i++) {
            const struct x86_cpuid_leaf *l = &t->leaf[i];
            bool all = l->subleaf == UINT32_MAX;
            if (all != any || (all && (l->leaf == 4 || l->leaf == 0xb || l->leaf == 0xd)))
                continue;
            e[n++] = (struct kvm_cpuid_entry2){
                .function = l->leaf,
                .index = all ? 0 : l->subleaf,
                .flags = all ? 0 : KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
                .eax = l->eax,
                .ebx = l->ebx,
                .ecx = l->ecx,
                .edx = l->edx,
            };
        }
    return n;
}

static int use(struct kvm_cpu *v, const struct x86_cpuid_table *t)
{
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[X86_CPUID_MAX_LEAVES];
    } c;
    memset(&c, 0, sizeof(c));
    c.head.nent = fill(t, c.entries);
    if (kvm_ioctl(v->fd, KVM_SET_CPUID2, &c) < 0)
        return kvm_failed("KVM_SET_CPUID2");
    *v->cpuid = *t;
    v->xcr0_mask = model_xcr0(t);
    x86_cpuid_features(t, v->feat);
    return 0;
}

int kvm_cpuid_init(struct kvm_cpu *v, const struct vmlib_cpuid_leaf *model, uint32_t n)
{
    struct x86_cpuid_table t;
    v->cpuid = calloc(1, sizeof(*v->cpuid));
    if (!v->cpuid)
        return vmi_error(VMLIB_E_NOMEM, "no memory for the CPU model");
    if (model)
        return kvm_set_cpuid(v->owner, model, n);
    default_model(v, &t);
    return use(v, &t);
}

void kvm_cpuid_destroy(struct kvm_cpu *v)
{
    free(v->cpuid);
}

int kvm_set_cpuid(struct vmi_vcpu *vcpu, const struct vmlib_cpuid_leaf *model, uint32_t n)
{
    struct kvm_cpu *v = kvm_cpu_of(vcpu);
    struct x86_cpuid_table t;
    vmi_model_from_api(model, n, &t);
    int r = check_model(v->vm, &t);
    return r ? r : use(v, &t);
}

uint32_t kvm_get_cpuid(struct vmi_vcpu *vcpu, struct vmlib_cpuid_leaf *model)
{
    return vmi_model_to_api(kvm_cpu_of(vcpu)->cpuid, model);
}
