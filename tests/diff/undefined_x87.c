/*
 * x87: what the manual leaves undefined, and where processors of different vendors are known to
 * differ. The guest's CPU model is Intel's, the host may be AMD's: then the manual decides, not the
 * host.
 */
#include "diff.h"

#define IE 0x0001u
#define DE 0x0002u
#define SF 0x0040u
#define ES 0x0080u
#define C0 0x0100u
#define C1 0x0200u
#define C2 0x0400u
#define C3 0x4000u

/* Instruction and operand pointers and FOP are not compared: vendors differ in when they change,
 * and newer processors leave the selectors 0 (SDM Vol.1 8.1.8). In an image they are these bytes:
 */
static void environment(const struct diff_case *c, struct diff_mask *m)
{
    bool wide = c->insn.size >= 2;
    m->skip_at = diff_operand(c) + (wide ? 12 : 6);
    m->skip_size = wide ? 16 : 8;
}

void diff_defined_x87(const struct diff_case *c, const struct diff_result *native,
                      struct diff_mask *m)
{
    const char *name = x86_rows[c->insn.row].name;
    uint16_t raised = native->out.sw & ~c->in.sw;
    bool stopped = raised & ES; /* an unmasked exception */

    /* No result is stored; whether condition codes count as one is not said (SDM Vol.1 8.5.1) */
    if (stopped &&
        diff_listed(name,
                    "fcom fcomp fcompp fcom2 fcomp3 fcomp5 fucom fucomp fucompp ficom ficomp ftst"))
        m->sw &= (uint16_t) ~(C0 | C2 | C3);
    if (stopped && diff_listed(name, "fcomi fcomip fucomi fucomip"))
        m->flags &= ~(X86_FL_ZF | X86_FL_PF | X86_FL_CF | X86_FL_OF | X86_FL_SF | X86_FL_AF);
    /* C1: "set to 0" (SDM); AMD processors leave it alone */
    if (diff_listed(name, "fcomi fcomip fucomi fucomip"))
        m->sw &= (uint16_t)~C1;
    /* "C0, C2, C3 undefined", C1 defined only when the stack underflows */
    if (diff_listed(name, "fcmovb fcmove fcmovbe fcmovu fcmovnb fcmovne fcmovnbe fcmovnu") &&
        !(native->out.sw & SF))
        m->sw &= (uint16_t) ~(C0 | C1 | C2 | C3);
    if (diff_listed(name, "ffree ffreep")) /* "undefined" */
        m->sw &= (uint16_t) ~(C0 | C1 | C2 | C3);
    /* Condition codes say something about a result; here there is none */
    if (native->out.sw & IE && diff_listed(name, "fprem fprem1"))
        m->sw &= (uint16_t) ~(C0 | C2 | C3 | (native->out.sw & SF ? 0 : C1));
    if (diff_listed(name, "fnstenv fnsave"))
        environment(c, m);
    /* FLD of a denormal with the exception unmasked: "TOP and operands unchanged" (SDM
     * Vol.1 8.5.2); AMD processors load it. */
    if (raised & DE && stopped && c->insn.mem && diff_listed(name, "fld")) {
        m->sw = 0;
        m->x87_regs = false;
    }
}
