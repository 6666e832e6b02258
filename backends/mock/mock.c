/*
 * The mock backend: table of functions, state, and the calls of vmlib/mock.h. script.c executes.
 */
#include "mock/mock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct vmi_backend vmi_backend_mock;

static struct vmi_mock_vcpu *mock_of(const struct vmi_vcpu *vcpu)
{
    return vcpu->impl;
}

int vmi_mock_injected_failure(struct vmi_vm *vm, uint32_t call)
{
    struct vmi_mock_vm *m = vm->impl;
    int32_t code = atomic_load(&m->code[call]);
    if (code == 0) {
        return 0;
    }
    if (atomic_load(&m->after[call]) != 0) {
        atomic_fetch_sub(&m->after[call], 1);
        return 0;
    }
    atomic_store(&m->code[call], 0);
    return vmi_error(code, "failure injected into the mock backend");
}

static int mock_probe(char *reason, size_t bytes)
{
    (void)bytes;
    reason[0] = '\0';
    return 0;
}

static uint32_t mock_feature(uint32_t feature)
{
    switch (feature) {
    case VMLIB_FEATURE_GUEST_CODE:
    case VMLIB_FEATURE_REAL_MODE:
    case VMLIB_FEATURE_LONG_MODE:
    case VMLIB_FEATURE_AVX2:
    case VMLIB_FEATURE_BREAKPOINTS:
    case VMLIB_FEATURE_SMM:
    case VMLIB_FEATURE_DEVICE_TABLES:
        return VMLIB_SUPPORT_REFUSED;
    default:
        return VMLIB_SUPPORT_NATIVE;
    }
}

static int mock_vm_create(struct vmi_vm *vm)
{
    vm->impl = calloc(1, sizeof(struct vmi_mock_vm));
    return vm->impl != NULL ? 0 : vmi_error(VMLIB_E_NOMEM, "no memory for a VM");
}

static void mock_vm_destroy(struct vmi_vm *vm)
{
    free(vm->impl);
}

static int mock_mem_update(struct vmi_vm *vm, const struct vmi_slot *slots, uint32_t n)
{
    (void)slots;
    (void)n;
    return vmi_mock_injected_failure(vm, VMLIB_MOCK_CALL_MEM_UPDATE);
}

static void mock_dirty_sync(struct vmi_vm *vm, const struct vmi_slot *slot, uint64_t first,
                            uint64_t n, bool rearm)
{
    (void)vm, (void)slot, (void)first, (void)n, (void)rearm; /* every store sets its bit */
}

static void mock_host_wrote(struct vmi_vm *vm, uint64_t gpa, uint64_t bytes)
{
    (void)vm, (void)gpa, (void)bytes;
}

static int mock_set_cpuid(struct vmi_vcpu *vcpu, const struct vmlib_cpuid_leaf *model, uint32_t n)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    memcpy(m->cpuid, model, n * sizeof(model[0]));
    m->ncpuid = n;
    return 0;
}

static uint32_t mock_get_cpuid(struct vmi_vcpu *vcpu, struct vmlib_cpuid_leaf *model)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    memcpy(model, m->cpuid, m->ncpuid * sizeof(model[0]));
    return m->ncpuid;
}

static void reset(struct vmi_mock_vcpu *m, bool wait_sipi)
{
    memset(&m->state, 0, sizeof(m->state));
    m->state.gpr.rip = 0xfff0;
    m->state.gpr.rflags = 2;
    m->state.control.cr0 = 0x60000010;
    m->state.events.flags = wait_sipi ? VMLIB_EVENTS_WAIT_SIPI : 0;
}

static int mock_vcpu_create(struct vmi_vcpu *vcpu, bool wait_sipi,
                            const struct vmlib_cpuid_leaf *model, uint32_t n)
{
    static const struct vmlib_cpuid_leaf leaf0 = {.ebx = 0x6b636f6d}; /* "mock" */
    int rc = vmi_mock_injected_failure(vcpu->vm, VMLIB_MOCK_CALL_VCPU_CREATE);
    if (rc != 0) {
        return rc;
    }
    struct vmi_mock_vcpu *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return vmi_error(VMLIB_E_NOMEM, "no memory for a vCPU");
    }
    vcpu->impl = m;
    reset(m, wait_sipi);
    return mock_set_cpuid(vcpu, model != NULL ? model : &leaf0, model != NULL ? n : 1);
}

static void mock_vcpu_destroy(struct vmi_vcpu *vcpu)
{
    struct vmi_mock_vcpu *m = mock_of(vcpu);
    free(m->script);
    free(m);
}

static void mock_kick(struct vmi_vcpu *vcpu)
{
    (void)vcpu; /* the script looks at the atomics at each boundary */
}

static void mock_describe(struct vmi_vcpu *vcpu)
{
    const struct vmi_mock_vcpu *m = mock_of(vcpu);
    vcpu->exit.rip = m->state.gpr.rip;
    vcpu->exit.insn_len = m->insn_len;
    memset(vcpu->exit.insn, 0, sizeof(vcpu->exit.insn));
    memset(vcpu->exit.insn, 0x90, m->insn_len);
    vcpu->exit.mode = VMLIB_MODE_REAL;
    vcpu->exit.cpl = 0;
}

static uint64_t mock_instructions(struct vmi_vcpu *vcpu)
{
    return mock_of(vcpu)->instructions;
}

/* Where the groups are. */
struct group {
    size_t offset, bytes;
};
#define GROUP(member)                                                                   \
    {                                                                                   \
        offsetof(struct vmlib_state, member), sizeof(((struct vmlib_state *)0)->member) \
    }
static const struct group groups_of_state[8] = {
    GROUP(gpr),  GROUP(segments), GROUP(control), GROUP(debug),
    GROUP(msrs), GROUP(fpu),      GROUP(xsave),   GROUP(events),
};

static void copy_groups(uint32_t groups, void *to, const void *from)
{
    for (unsigned i = 0; i < 8; i++) {
        if ((groups >> i & 1) != 0) {
            const struct group *g = &groups_of_state[i];
            memcpy((uint8_t *)to + g->offset, (const uint8_t *)from + g->offset, g->bytes);
        }
    }
}

static int mock_get_state(struct vmi_vcpu *vcpu, uint32_t groups, struct vmlib_state *state)
{
    int rc = vmi_mock_injected_failure(vcpu->vm, VMLIB_MOCK_CALL_GET_STATE);
    if (rc == 0) {
        copy_groups(groups, state, &mock_of(vcpu)->state);
    }
    return rc;
}

static int mock_set_state(struct vmi_vcpu *vcpu, uint32_t groups, const struct vmlib_state *state)
{
    int rc = vmi_mock_injected_failure(vcpu->vm, VMLIB_MOCK_CALL_SET_STATE);
    if (rc != 0) {
        return rc;
    }
    if ((groups & VMLIB_STATE_CONTROL) && state->control.cr0 >> 32 != 0) {
        return vmi_error(VMLIB_E_INVAL, "state->control.cr0 has reserved bits");
    }
    if ((groups & VMLIB_STATE_GPR) && (state->gpr.rflags & 2) == 0) {
        return vmi_error(VMLIB_E_INVAL, "state->gpr.rflags has reserved bits");
    }
    copy_groups(groups, &mock_of(vcpu)->state, state);
    return 0;
}

static int mock_inject(struct vmi_vcpu *vcpu, const struct vmlib_event *event)
{
    int rc = vmi_mock_injected_failure(vcpu->vm, VMLIB_MOCK_CALL_INJECT);
    if (rc == 0) {
        mock_of(vcpu)->state.events.injected = *event;
    }
    return rc;
}

static int mock_set_exception_exits(struct vmi_vcpu *vcpu, uint32_t mask)
{
    mock_of(vcpu)->exception_mask = mask;
    return 0;
}

static int mock_set_breakpoints(struct vmi_vcpu *vcpu,
                                const struct vmlib_breakpoint bp[VMLIB_BREAKPOINTS])
{
    (void)vcpu, (void)bp; /* core has refused all but "off" */
    return 0;
}

static void mock_translate(struct vmi_vcpu *vcpu, uint64_t gva, uint32_t access, bool user,
                           struct vmlib_translation *t)
{
    (void)access, (void)user;
    t->page_bits = 12;
    t->prot = VMLIB_PROT_RWX;
    if (gva >> vcpu->vm->phys_bits != 0) {
        t->fault = VMLIB_TRANSLATE_NON_CANONICAL;
    } else {
        t->gpa = gva;
    }
}

static unsigned mock_cpl(struct vmi_vcpu *vcpu)
{
    (void)vcpu;
    return 0;
}

const struct vmi_backend vmi_backend_mock = {
    .name = "mock",
    .id = VMLIB_BACKEND_MOCK,
    .max_vcpus = VMLIB_MAX_VCPUS,
    .phys_bits = 52,
    .slice = 100000,
    .probe = mock_probe,
    .feature = mock_feature,
    .vm_create = mock_vm_create,
    .vm_destroy = mock_vm_destroy,
    .mem_update = mock_mem_update,
    .dirty_sync = mock_dirty_sync,
    .host_wrote = mock_host_wrote,
    .vcpu_create = mock_vcpu_create,
    .vcpu_destroy = mock_vcpu_destroy,
    .run = vmi_mock_run,
    .complete = vmi_mock_complete,
    .kick = mock_kick,
    .describe = mock_describe,
    .instructions = mock_instructions,
    .get_state = mock_get_state,
    .set_state = mock_set_state,
    .inject = mock_inject,
    .set_exception_exits = mock_set_exception_exits,
    .set_breakpoints = mock_set_breakpoints,
    .set_cpuid = mock_set_cpuid,
    .get_cpuid = mock_get_cpuid,
    .translate = mock_translate,
    .cpl = mock_cpl,
};

/* --- vmlib/mock.h --- */

/* The host's handle begins with what core and backends share. */
static int mock_vcpu_of(vmlib_vcpu *vcpu, struct vmi_mock_vcpu **out)
{
    struct vmi_vcpu *pub = (struct vmi_vcpu *)vcpu;
    if (pub == NULL || pub->vm->backend != &vmi_backend_mock) {
        return vmi_error(VMLIB_E_INVAL,
                         pub == NULL ? "vcpu is NULL" : "vcpu is not of the mock backend");
    }
    *out = mock_of(pub);
    return 0;
}

static int check_step(const struct vmlib_mock_step *s, uint32_t i)
{
    if (s->size != sizeof(*s) || s->action > VMLIB_MOCK_FAIL ||
        s->exit.reason >= VMLIB_EXIT_COUNT || s->exit.insn_len > 15 ||
        (s->action == VMLIB_MOCK_FAIL && s->code >= 0)) {
        return vmi_error(VMLIB_E_INVAL, "steps[%u] has unknown values", i);
    }
    if (s->action == VMLIB_MOCK_ACCESS && (s->exit.u.mmio.width < 1 || s->exit.u.mmio.width > 8)) {
        return vmi_error(VMLIB_E_INVAL, "steps[%u].exit.u.mmio.width is %u", i,
                         s->exit.u.mmio.width);
    }
    return 0;
}

int vmlib_mock_script(vmlib_vcpu *vcpu, const struct vmlib_mock_step *steps, uint32_t count)
{
    struct vmi_mock_vcpu *m = NULL;
    int rc = mock_vcpu_of(vcpu, &m);
    if (rc == 0 && steps == NULL) {
        rc = vmi_error(VMLIB_E_INVAL, "steps is NULL");
    }
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = check_step(&steps[i], i);
    }
    if (rc != 0) {
        return rc;
    }
    if (m->head == m->count) {
        m->head = m->count = 0;
    }
    if (count > m->room - m->count) {
        uint32_t room = m->count + count;
        struct vmlib_mock_step *script = realloc(m->script, room * sizeof(script[0]));
        if (script == NULL) {
            return vmi_error(VMLIB_E_NOMEM, "no memory for %u steps", room);
        }
        m->script = script;
        m->room = room;
    }
    memcpy(m->script + m->count, steps, count * sizeof(steps[0]));
    m->count += count;
    return 0;
}

int vmlib_mock_result(vmlib_vcpu *vcpu, struct vmlib_mock_result *result)
{
    struct vmi_mock_vcpu *m = NULL;
    int rc = mock_vcpu_of(vcpu, &m);
    if (rc != 0) {
        return rc;
    }
    if (result == NULL || result->size != sizeof(*result)) {
        return vmi_error(VMLIB_E_INVAL,
                         result == NULL ? "result is NULL" : "result->size is wrong");
    }
    *result = m->result;
    result->size = sizeof(*result);
    return 0;
}

int vmlib_mock_fail(vmlib_vm *vm, uint32_t call, uint32_t after, int32_t code)
{
    struct vmi_vm *pub = (struct vmi_vm *)vm;
    if (pub == NULL || pub->backend != &vmi_backend_mock) {
        return vmi_error(VMLIB_E_INVAL,
                         pub == NULL ? "vm is NULL" : "vm is not of the mock backend");
    }
    if (call >= VMLIB_MOCK_CALLS || code > 0) {
        return vmi_error(VMLIB_E_INVAL, "call is %u, code is %d", call, code);
    }
    struct vmi_mock_vm *m = pub->impl;
    atomic_store(&m->after[call], after);
    atomic_store(&m->code[call], code);
    return 0;
}
