/*
 * The wiring of interrupts.
 *
 *   ISA interrupt n ---+--> 8259 input n ------> INTR of the first vCPU (LINT0 as ExtINT, or APIC
 * off)
 *                      +--> I/O APIC input n (0: input 2) --> message --> local APICs --> INTR
 *   inputs 16 to 23 -----> I/O APIC only
 */
#include "devices/machine.h"

void vmi_machine_update_intr(struct vmlib_machine *m, struct vmi_machine_cpu *c)
{
    bool level =
        vmi_lapic_pending(&c->apic) >= 0 || (m->pic.level && vmi_lapic_takes_pic(&c->apic));
    vmlib_vcpu *vcpu = vmi_machine_vcpu(c);

    if (level == c->intr || !vcpu)
        return;
    c->intr = level;
    vmlib_vcpu_set_intr(vcpu, level);
}

void vmi_machine_irq(void *machine, unsigned irq, bool level)
{
    struct vmlib_machine *m = machine;

    if (irq < 16)
        vmi_pic_set(&m->pic, irq, level);
    vmi_ioapic_set(&m->ioapic, irq == 0 ? 2 : irq, level);
}

/* With legacy replacement the HPET has the inputs of the 8254 and the clock. */
void vmi_machine_pit_irq(void *machine, unsigned irq, bool level)
{
    struct vmlib_machine *m = machine;

    if (!m->hpet_legacy)
        vmi_machine_irq(m, irq, level);
}

void vmi_machine_rtc_irq(void *machine, unsigned irq, bool level)
{
    struct vmlib_machine *m = machine;

    if (!m->hpet_legacy)
        vmi_machine_irq(m, irq, level);
}

void vmi_machine_hpet_irq(void *machine, unsigned input, bool level)
{
    struct vmlib_machine *m = machine;

    vmi_machine_irq(m, input == 2 ? 0 : input, level);
}

void vmi_machine_hpet_legacy(void *machine, bool on)
{
    struct vmlib_machine *m = machine;

    m->hpet_legacy = on;
    vmi_machine_irq(m, 0, !on && m->pit.irq_level);
    vmi_machine_irq(m, 8, false);
}

void vmi_machine_pic_intr(void *machine, unsigned number, bool level)
{
    struct vmlib_machine *m = machine;
    uint32_t n;

    (void)number;
    (void)level;
    for (n = 0; n < m->cpus; n++)
        vmi_machine_update_intr(m, &m->cpu[n]);
}

/* Lowest priority goes to the least busy of the APICs that are meant; NULL: none. */
static struct vmi_lapic *choose(struct vmlib_machine *m, const struct vmi_apic_message *message)
{
    struct vmi_lapic *best = NULL;
    int best_priority = 0;
    uint32_t n;

    for (n = 0; n < m->cpus; n++) {
        struct vmi_lapic *l = &m->cpu[n].apic;
        int priority = vmi_lapic_arbitration(l);

        if (priority < 0 || !vmi_lapic_matches(l, message->dest, message->logical))
            continue;
        if (!best || priority < best_priority) {
            best = l;
            best_priority = priority;
        }
    }
    return best;
}

static void send(struct vmlib_machine *m, const struct vmi_lapic *from,
                 const struct vmi_apic_message *message, unsigned shorthand)
{
    uint32_t n;

    if (message->mode == VMI_APIC_LOWEST && shorthand == 0) {
        struct vmi_lapic *l = choose(m, message);

        if (l)
            vmi_lapic_accept(l, message);
        return;
    }
    for (n = 0; n < m->cpus; n++) {
        struct vmi_lapic *l = &m->cpu[n].apic;

        if (shorthand == 3 && l == from)
            continue;
        if (shorthand == 0 && !vmi_lapic_matches(l, message->dest, message->logical))
            continue;
        vmi_lapic_accept(l, message);
    }
}

void vmi_machine_ioapic_send(void *machine, const struct vmi_apic_message *message)
{
    send(machine, NULL, message, 0);
}

static void lapic_send(void *opaque, struct vmi_lapic *from, const struct vmi_apic_message *message,
                       unsigned shorthand)
{
    send(opaque, from, message, shorthand);
}

static void lapic_eoi(void *opaque, uint8_t vector)
{
    struct vmlib_machine *m = opaque;

    vmi_ioapic_eoi(&m->ioapic, vector);
}

static struct vmi_machine_cpu *cpu_of(struct vmlib_machine *m, const struct vmi_lapic *l)
{
    return &m->cpu[l->index];
}

static void lapic_nmi(void *opaque, struct vmi_lapic *l)
{
    vmlib_vcpu *vcpu = vmi_machine_vcpu(cpu_of(opaque, l));

    if (vcpu)
        vmlib_vcpu_nmi(vcpu);
}

static void lapic_init(void *opaque, struct vmi_lapic *l)
{
    struct vmi_machine_cpu *c = cpu_of(opaque, l);
    vmlib_vcpu *vcpu = vmi_machine_vcpu(c);

    vmi_lapic_reset(l);
    vmi_machine_update_intr(opaque, c);
    if (vcpu)
        vmlib_vcpu_init(vcpu);
}

static void lapic_sipi(void *opaque, struct vmi_lapic *l, uint8_t vector)
{
    vmlib_vcpu *vcpu = vmi_machine_vcpu(cpu_of(opaque, l));

    if (vcpu)
        vmlib_vcpu_sipi(vcpu, vector);
}

static void lapic_changed(void *opaque, struct vmi_lapic *l)
{
    vmi_machine_update_intr(opaque, cpu_of(opaque, l));
}

const struct vmi_lapic_ops vmi_machine_lapic_ops = {
    .send = lapic_send,
    .eoi = lapic_eoi,
    .nmi = lapic_nmi,
    .init = lapic_init,
    .sipi = lapic_sipi,
    .changed = lapic_changed,
};

/*
 * The vCPU is ready to take an interrupt: which one? CR8 is the upper half of the task priority
 * (SDM Vol.3A 10.8.6), and guests change it without an exit; so it is looked at here.
 */
int vmi_machine_intack(void *machine, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct vmlib_machine *m = machine;
    struct vmi_machine_cpu *c = &m->cpu[vmlib_vcpu_index(vcpu)];
    uint64_t cr8 = 0;
    int vector, answer = VMLIB_HANDLED;

    vmi_machine_lock(m);
    if (!vmlib_vcpu_get_reg(vcpu, VMLIB_REG_CR8, &cr8) && cr8 != c->apic.tpr >> 4)
        c->apic.tpr = (uint32_t)cr8 << 4 & 0xf0;
    vector = vmi_lapic_pending(&c->apic);
    if (vector >= 0) {
        vmi_lapic_ack(&c->apic, vector);
    } else if (m->pic.level && vmi_lapic_takes_pic(&c->apic)) {
        vector = vmi_pic_ack(&m->pic);
        c->apic.extint = false;
    } else {
        answer = VMLIB_PASS;
        if (c->apic.highest_irr >= 0) { /* held back by CR8 alone: have the run loop look again */
            c->tpr_blocked = true;
            vmlib_vcpu_cancel(vcpu);
        }
    }
    exit->u.interrupt.vector = vector >= 0 ? (uint32_t)vector : 0;
    if (answer == VMLIB_HANDLED)
        vmi_count(&m->interrupts);
    vmi_machine_update_intr(m, c);
    vmi_machine_unlock(m);
    return answer;
}
