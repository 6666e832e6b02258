/* Registers by group and by number; guest-virtual addresses. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "core/internal.h"

#define LL(x) ((unsigned long long)(x))

/* Bits of events that core keeps (vmi_vcpu.pending, .intr). */
#define CORE_EVENTS                                                                     \
    (VMLIB_EVENTS_NMI_PENDING | VMLIB_EVENTS_INIT_PENDING | VMLIB_EVENTS_SIPI_PENDING | \
     VMLIB_EVENTS_INTR)
#define KNOWN_EVENTS (2 * VMLIB_EVENTS_INTR - 1)

/* End of each group's member: a caller's struct must reach that far. */
static size_t needed_size(uint32_t groups)
{
#define END(member) \
    (offsetof(struct vmlib_state, member) + sizeof(((struct vmlib_state *)0)->member))
    static const size_t end[8] = {END(gpr),  END(segments), END(control), END(debug),
                                  END(msrs), END(fpu),      END(xsave),   END(events)};
    size_t size = 2 * sizeof(uint32_t);
    for (unsigned i = 0; i < 8; i++) {
        if ((groups >> i & 1) != 0 && end[i] > size) {
            size = end[i];
        }
    }
    return size;
}

static int check(struct vmlib_vcpu *vcpu, uint32_t groups, const struct vmlib_state *state)
{
    VMI_REQUIRE(vcpu);
    VMI_REQUIRE(state);
    if ((groups & ~VMLIB_STATE_ALL) != 0) {
        return vmi_error(VMLIB_E_INVAL, "groups is 0x%x", groups);
    }
    int rc = vmi_args_out(state, needed_size(groups), "state");
    return rc != 0 ? rc : vmi_vcpu_check_thread(vcpu);
}

static int check_writable(const struct vmlib_vcpu *vcpu)
{
    if (vcpu->waiting && vcpu->outstanding.reason != VMLIB_EXIT_HYPERCALL) {
        return vmi_error(VMLIB_E_STATE, "vcpu %u: an exit waits for completion", vcpu->pub.index);
    }
    return 0;
}

/* --- events that other threads latch --- */

static void add_core_events(const struct vmlib_vcpu *vcpu, struct vmlib_events *e)
{
    uint32_t pending = atomic_load(&vcpu->pub.pending);
    e->flags &= ~CORE_EVENTS;
    e->flags |= (pending & VMI_PEND_NMI) ? VMLIB_EVENTS_NMI_PENDING : 0;
    e->flags |= (pending & VMI_PEND_INIT) ? VMLIB_EVENTS_INIT_PENDING : 0;
    e->flags |= (pending & VMI_PEND_SIPI) ? VMLIB_EVENTS_SIPI_PENDING : 0;
    e->flags |= atomic_load(&vcpu->pub.intr) ? VMLIB_EVENTS_INTR : 0;
    e->sipi_vector = (pending & VMI_PEND_SIPI_MASK) >> VMI_PEND_SIPI_SHIFT;
}

static void set_core_events(struct vmlib_vcpu *vcpu, const struct vmlib_events *e)
{
    uint32_t set = (e->flags & VMLIB_EVENTS_NMI_PENDING) ? VMI_PEND_NMI : 0;
    set |= (e->flags & VMLIB_EVENTS_INIT_PENDING) ? VMI_PEND_INIT : 0;
    set |= (e->flags & VMLIB_EVENTS_SIPI_PENDING)
               ? VMI_PEND_SIPI | e->sipi_vector << VMI_PEND_SIPI_SHIFT
               : 0;
    uint32_t old = atomic_load(&vcpu->pub.pending);
    while (!atomic_compare_exchange_weak(&vcpu->pub.pending, &old, (old & VMI_PEND_WINDOW) | set)) {
    }
    atomic_store(&vcpu->pub.intr, (e->flags & VMLIB_EVENTS_INTR) != 0);
    vmi_vcpu_poke(vcpu);
}

static int check_events(const struct vmlib_events *e)
{
    if ((e->flags & ~KNOWN_EVENTS) != 0) {
        return vmi_error(VMLIB_E_INVAL, "state->events.flags is 0x%x", e->flags);
    }
    if (e->sipi_vector > 255) {
        return vmi_error(VMLIB_E_INVAL, "state->events.sipi_vector is %u", e->sipi_vector);
    }
    if (e->flags & (VMLIB_EVENTS_SMM | VMLIB_EVENTS_SMI_PENDING)) {
        return vmi_error(VMLIB_E_UNSUPPORTED, "state->events.flags: no system management mode");
    }
    return e->injected.type == VMLIB_EVENT_NONE
               ? 0
               : vmi_args_event(&e->injected, "state->events.injected");
}

/* --- groups --- */

int vmlib_vcpu_get_state(vmlib_vcpu *vcpu, uint32_t groups, struct vmlib_state *state)
{
    int rc = check(vcpu, groups, state);
    if (rc == 0) {
        rc = vcpu->vm->pub.backend->get_state(&vcpu->pub, groups, state);
    }
    if (rc == 0 && (groups & VMLIB_STATE_EVENTS)) {
        add_core_events(vcpu, &state->events);
    }
    return rc;
}

int vmlib_vcpu_set_state(vmlib_vcpu *vcpu, uint32_t groups, const struct vmlib_state *state)
{
    int rc = check(vcpu, groups, state);
    if (rc == 0) {
        rc = check_writable(vcpu);
    }
    if (rc == 0 && (groups & VMLIB_STATE_EVENTS)) {
        rc = check_events(&state->events);
    }
    if (rc == 0) {
        rc = vcpu->vm->pub.backend->set_state(&vcpu->pub, groups, state);
    }
    if (rc == 0 && (groups & VMLIB_STATE_EVENTS)) {
        set_core_events(vcpu, &state->events);
    }
    return rc;
}

/* --- single registers --- */

/* Where a register is in struct vmlib_state. */
struct place {
    uint32_t group;
    uint32_t offset, bytes;
};

#define AT(group, member)                                                                      \
    {                                                                                          \
        group, offsetof(struct vmlib_state, member), sizeof(((struct vmlib_state *)0)->member) \
    }
#define GPR(name) AT(VMLIB_STATE_GPR, gpr.name)
#define CTL(name) AT(VMLIB_STATE_CONTROL, control.name)
#define DBG(name) AT(VMLIB_STATE_DEBUG, debug.name)
#define SEG(name) AT(VMLIB_STATE_SEGMENTS, segments.name)

static const struct place registers[VMLIB_REG_COUNT] = {
    GPR(rax),
    GPR(rcx),
    GPR(rdx),
    GPR(rbx),
    GPR(rsp),
    GPR(rbp),
    GPR(rsi),
    GPR(rdi),
    GPR(r8),
    GPR(r9),
    GPR(r10),
    GPR(r11),
    GPR(r12),
    GPR(r13),
    GPR(r14),
    GPR(r15),
    GPR(rip),
    GPR(rflags),
    CTL(cr0),
    CTL(cr2),
    CTL(cr3),
    CTL(cr4),
    CTL(cr8),
    CTL(xcr0),
    CTL(efer),
    CTL(apic_base),
    DBG(dr[0]),
    DBG(dr[1]),
    DBG(dr[2]),
    DBG(dr[3]),
    DBG(dr6),
    DBG(dr7),
    SEG(fs.base),
    SEG(gs.base),
    AT(VMLIB_STATE_MSRS, msrs.kernel_gs_base),
    AT(VMLIB_STATE_MSRS, msrs.tsc),
};

static const struct place wide_registers[] = {
    SEG(es), SEG(cs), SEG(ss), SEG(ds), SEG(fs), SEG(gs), SEG(ldtr), SEG(tr), SEG(gdtr), SEG(idtr),
};

/* XSAVE image, standard format (SDM Vol.1 13.4.1): ST at 32, XMM at 160; upper halves of YMM at
 * 576. */
#define XSAVE_ST  32u
#define XSAVE_XMM 160u
#define XSAVE_YMM 576u

static int check_reg(struct vmlib_vcpu *vcpu, uint32_t reg, const void *value)
{
    VMI_REQUIRE(vcpu);
    VMI_REQUIRE(value);
    if (reg >= VMLIB_REG_COUNT) {
        return vmi_error(VMLIB_E_INVAL, "reg is %u", reg);
    }
    return vmi_vcpu_check_thread(vcpu);
}

int vmlib_vcpu_get_reg(vmlib_vcpu *vcpu, uint32_t reg, uint64_t *value)
{
    int rc = check_reg(vcpu, reg, value);
    if (rc != 0) {
        return rc;
    }
    const struct vmi_backend *b = vcpu->vm->pub.backend;
    if (b->get_reg != NULL) {
        rc = b->get_reg(&vcpu->pub, reg, value);
        if (rc != VMLIB_E_UNSUPPORTED) {
            return rc;
        }
    }
    struct vmlib_state state;
    state.size = sizeof(state);
    rc = b->get_state(&vcpu->pub, registers[reg].group, &state);
    if (rc == 0) {
        memcpy(value, (uint8_t *)&state + registers[reg].offset, sizeof(*value));
    }
    return rc;
}

int vmlib_vcpu_set_reg(vmlib_vcpu *vcpu, uint32_t reg, uint64_t value)
{
    int rc = check_reg(vcpu, reg, &value);
    if (rc == 0) {
        rc = check_writable(vcpu);
    }
    if (rc != 0) {
        return rc;
    }
    const struct vmi_backend *b = vcpu->vm->pub.backend;
    if (b->set_reg != NULL) {
        rc = b->set_reg(&vcpu->pub, reg, value);
        if (rc != VMLIB_E_UNSUPPORTED) {
            return rc;
        }
    }
    struct vmlib_state state;
    state.size = sizeof(state);
    rc = b->get_state(&vcpu->pub, registers[reg].group, &state);
    if (rc == 0) {
        memcpy((uint8_t *)&state + registers[reg].offset, &value, sizeof(value));
        rc = b->set_state(&vcpu->pub, registers[reg].group, &state);
    }
    return rc;
}

/* Pieces of a wide register in struct vmlib_state; returns their number, 0 for an unknown one. */
static unsigned wide_pieces(uint32_t reg, struct place piece[2])
{
    const uint32_t image = offsetof(struct vmlib_state, xsave.image);
    if (reg >= VMLIB_REG_ES && reg <= VMLIB_REG_IDTR) {
        piece[0] = wide_registers[reg - VMLIB_REG_ES];
        return 1;
    }
    if (reg >= VMLIB_REG_XMM0 && reg < VMLIB_REG_XMM0 + 16) {
        piece[0] =
            (struct place){VMLIB_STATE_XSAVE, image + XSAVE_XMM + 16 * (reg - VMLIB_REG_XMM0), 16};
        return 1;
    }
    if (reg >= VMLIB_REG_YMM0 && reg < VMLIB_REG_YMM0 + 16) {
        uint32_t n = reg - VMLIB_REG_YMM0;
        piece[0] = (struct place){VMLIB_STATE_XSAVE, image + XSAVE_XMM + 16 * n, 16};
        piece[1] = (struct place){VMLIB_STATE_XSAVE, image + XSAVE_YMM + 16 * n, 16};
        return 2;
    }
    if (reg >= VMLIB_REG_ST0 && reg < VMLIB_REG_ST0 + 8) {
        piece[0] =
            (struct place){VMLIB_STATE_XSAVE, image + XSAVE_ST + 16 * (reg - VMLIB_REG_ST0), 10};
        return 1;
    }
    return 0;
}

/* Components that a vector register needs in xsave.features: x87 1, SSE 2, AVX 4. */
static uint64_t wide_features(uint32_t reg)
{
    return reg >= VMLIB_REG_ST0 ? 1 : reg >= VMLIB_REG_YMM0 ? 6 : 2;
}

static int check_wide(struct vmlib_vcpu *vcpu, uint32_t reg, const void *data, uint32_t bytes,
                      struct place piece[2], unsigned *n)
{
    VMI_REQUIRE(vcpu);
    VMI_REQUIRE(data);
    piece[1].bytes = 0;
    *n = wide_pieces(reg, piece);
    if (*n == 0) {
        return vmi_error(VMLIB_E_INVAL, "reg is %u", reg);
    }
    uint32_t expected = piece[0].bytes + piece[1].bytes;
    if (bytes != expected) {
        return vmi_error(VMLIB_E_INVAL, "bytes is %u, the register has %u", bytes, expected);
    }
    return vmi_vcpu_check_thread(vcpu);
}

int vmlib_vcpu_get_reg_wide(vmlib_vcpu *vcpu, uint32_t reg, void *data, uint32_t bytes)
{
    struct place piece[2];
    unsigned n;
    int rc = check_wide(vcpu, reg, data, bytes, piece, &n);
    if (rc != 0) {
        return rc;
    }
    struct vmlib_state state;
    memset(&state, 0, sizeof(state));
    state.size = sizeof(state);
    rc = vcpu->vm->pub.backend->get_state(&vcpu->pub, piece[0].group, &state);
    for (unsigned i = 0; rc == 0 && i < n; i++) {
        memcpy((uint8_t *)data + i * piece[0].bytes, (uint8_t *)&state + piece[i].offset,
               piece[i].bytes);
    }
    return rc;
}

int vmlib_vcpu_set_reg_wide(vmlib_vcpu *vcpu, uint32_t reg, const void *data, uint32_t bytes)
{
    struct place piece[2];
    unsigned n;
    int rc = check_wide(vcpu, reg, data, bytes, piece, &n);
    if (rc == 0) {
        rc = check_writable(vcpu);
    }
    if (rc != 0) {
        return rc;
    }
    const struct vmi_backend *b = vcpu->vm->pub.backend;
    struct vmlib_state state;
    memset(&state, 0, sizeof(state));
    state.size = sizeof(state);
    rc = b->get_state(&vcpu->pub, piece[0].group, &state);
    if (rc != 0) {
        return rc;
    }
    for (unsigned i = 0; i < n; i++) {
        memcpy((uint8_t *)&state + piece[i].offset, (const uint8_t *)data + i * piece[0].bytes,
               piece[i].bytes);
    }
    if (piece[0].group == VMLIB_STATE_XSAVE) {
        state.xsave.features |= wide_features(reg);
    }
    return b->set_state(&vcpu->pub, piece[0].group, &state);
}

/* --- guest-virtual addresses --- */

/* Page tables are guest memory: the map may not change during the walk. */
static void walk(struct vmlib_vcpu *vcpu, uint64_t gva, uint32_t access, bool user,
                 struct vmlib_translation *t)
{
    vmi_guest_enter(vcpu);
    vcpu->vm->pub.backend->translate(&vcpu->pub, gva, access, user, t);
    if (t->fault == VMLIB_TRANSLATE_OK && vmi_memory_slot(&vcpu->vm->pub, t->gpa) != NULL) {
        t->flags |= VMLIB_TRANSLATION_MEMORY;
    }
    vmi_guest_leave(vcpu);
}

int vmlib_vcpu_translate(vmlib_vcpu *vcpu, vmlib_gva gva, uint32_t access,
                         struct vmlib_translation *translation)
{
    VMI_REQUIRE(vcpu);
    VMI_REQUIRE(translation);
    if (access > VMLIB_ACCESS_EXEC) {
        return vmi_error(VMLIB_E_INVAL, "access is %u", access);
    }
    int rc = vmi_args_out(translation, sizeof(*translation), "translation");
    if (rc == 0) {
        rc = vmi_vcpu_check_thread(vcpu);
    }
    if (rc != 0) {
        return rc;
    }
    struct vmlib_translation t = VMLIB_TRANSLATION_INIT;
    walk(vcpu, gva, access, vcpu->vm->pub.backend->cpl(&vcpu->pub) == 3, &t);
    t.size = translation->size;
    *translation = t;
    return 0;
}

/* Translate and copy page by page; with neither out nor in, only check. */
static int copy_virt(struct vmlib_vcpu *vcpu, uint64_t gva, uint8_t *out, const uint8_t *in,
                     uint64_t bytes)
{
    for (uint64_t done = 0; done < bytes;) {
        uint64_t at = gva + done;
        uint64_t n = vmi_min64(bytes - done, VMLIB_PAGE_SIZE - at % VMLIB_PAGE_SIZE);
        struct vmlib_translation t = VMLIB_TRANSLATION_INIT;
        walk(vcpu, at, VMLIB_ACCESS_READ, false, &t);
        if (t.fault != VMLIB_TRANSLATE_OK) {
            return vmi_error(VMLIB_E_FAULT, "gva 0x%llx has no translation (reason %u)", LL(at),
                             t.fault);
        }
        if ((t.flags & VMLIB_TRANSLATION_MEMORY) == 0) {
            return vmi_error(VMLIB_E_FAULT, "gva 0x%llx is gpa 0x%llx, which is not memory", LL(at),
                             LL(t.gpa));
        }
        if (out != NULL || in != NULL) {
            int rc = vmi_memory_copy(vcpu->vm, t.gpa, out != NULL ? out + done : NULL,
                                     in != NULL ? in + done : NULL, n);
            if (rc != 0) {
                return rc;
            }
        }
        done += n;
    }
    return 0;
}

static int virt(struct vmlib_vcpu *vcpu, uint64_t gva, void *out, const void *in, uint64_t bytes)
{
    if (gva + bytes < gva && gva + bytes != 0) {
        return vmi_error(VMLIB_E_RANGE, "gva 0x%llx + bytes 0x%llx overflows", LL(gva), LL(bytes));
    }
    int rc = vmi_vcpu_check_thread(vcpu);
    if (rc == 0) {
        rc = copy_virt(vcpu, gva, NULL, NULL, bytes);
    }
    return rc != 0 ? rc : copy_virt(vcpu, gva, out, in, bytes);
}

int vmlib_vcpu_read_virt(vmlib_vcpu *vcpu, vmlib_gva gva, void *buffer, uint64_t bytes)
{
    VMI_REQUIRE(vcpu);
    VMI_REQUIRE(buffer);
    return virt(vcpu, gva, buffer, NULL, bytes);
}

int vmlib_vcpu_write_virt(vmlib_vcpu *vcpu, vmlib_gva gva, const void *buffer, uint64_t bytes)
{
    VMI_REQUIRE(vcpu);
    VMI_REQUIRE(buffer);
    return virt(vcpu, gva, NULL, buffer, bytes);
}
