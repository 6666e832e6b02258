/* The header of an exit record, and what only the instruction's bytes tell: string I/O. */
#include <string.h>

#include "core/internal.h"

/* Address size in bytes, from the mode and the 67 prefix. */
static uint64_t count_mask(uint32_t mode, bool prefix)
{
    switch (mode) {
    case VMLIB_MODE_LONG64:
        return prefix ? UINT32_MAX : UINT64_MAX;
    case VMLIB_MODE_PROT32:
    case VMLIB_MODE_COMPAT32:
        return prefix ? UINT16_MAX : UINT32_MAX;
    default:
        return prefix ? UINT32_MAX : UINT16_MAX;
    }
}

/* INS and OUTS (6C to 6F), SDM Vol.2A: is it one, and how many elements are left? */
static void describe_string(struct vmi_vcpu *pub)
{
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
                                       0x66, 0x67, 0xf0, 0xf2, 0xf3};
    struct vmlib_exit *e = &pub->exit;
    bool rep = false, address_size = false;
    unsigned i = 0;
    for (; i < e->insn_len; i++) {
        uint8_t b = e->insn[i];
        bool rex = e->mode == VMLIB_MODE_LONG64 && (b & 0xf0) == 0x40;
        if (!rex && memchr(prefixes, b, sizeof(prefixes)) == NULL) {
            break;
        }
        rep |= b == 0xf2 || b == 0xf3;
        address_size |= b == 0x67;
    }
    if (i == e->insn_len || (e->insn[i] & 0xfc) != 0x6c) {
        return;
    }
    uint64_t rcx = 1;
    struct vmlib_state state;
    state.size = sizeof(state);
    const struct vmi_backend *b = pub->vm->backend;
    if (rep && b->get_reg != NULL) {
        (void)b->get_reg(pub, VMLIB_REG_RCX, &rcx);
    } else if (rep && b->get_state(pub, VMLIB_STATE_GPR, &state) == 0) {
        rcx = state.gpr.rcx;
    }
    e->u.pio.string = 1;
    e->u.pio.rep = rep;
    e->u.pio.count = rep ? rcx & count_mask(e->mode, address_size) : 1;
}

void vmi_exit_describe(struct vmi_vcpu *pub)
{
    struct vmlib_exit *e = &pub->exit;
    pub->vm->backend->describe(pub);
    if (e->reason == VMLIB_EXIT_PIO) {
        describe_string(pub);
    } else if (e->reason == VMLIB_EXIT_INTERRUPT_WINDOW || e->reason == VMLIB_EXIT_HLT) {
        e->insn_len = 0; /* a boundary: it is not about the instruction that comes next */
        memset(e->insn, 0, sizeof(e->insn));
    }
}
