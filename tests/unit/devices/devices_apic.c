/* Local APIC and I/O APIC: registers of both modes, priorities, IPIs, destinations, timer,
 * level-triggered inputs. */
#include "test.h"

#include "devices/lapic.h"

#define CPUS 4u
#define KHZ  1000000u /* one clock is one nanosecond */

enum {
    ID = 2,
    TPR = 8,
    PPR = 10,
    EOI = 11,
    LDR = 13,
    DFR = 14,
    SVR = 15,
    ISR = 16,
    TMR = 24,
    IRR = 32,
    ESR = 40,
    ICR = 48,
    ICR2 = 49,
    TIMER = 50,
    LINT0 = 53,
    LINT1 = 54,
    ERR = 55,
    COUNT = 56,
    NOW = 57,
    DIVIDE = 62,
    SELF = 63
};

static struct vmi_lapic apic[CPUS];
static struct vmi_ioapic ioapic;
static unsigned nmis[CPUS], inits[CPUS], sipis[CPUS];
static uint8_t sipi_vector;

static void send(void *o, struct vmi_lapic *from, const struct vmi_apic_message *m,
                 unsigned shorthand)
{
    unsigned n;

    (void)o;
    for (n = 0; n < CPUS; n++)
        if (shorthand == 2 || (shorthand == 3 && &apic[n] != from) ||
            (shorthand == 0 && vmi_lapic_matches(&apic[n], m->dest, m->logical)))
            vmi_lapic_accept(&apic[n], m);
}

static void io_send(void *o, const struct vmi_apic_message *m)
{
    send(o, NULL, m, 0);
}

static void eoi(void *o, uint8_t vector)
{
    (void)o;
    vmi_ioapic_eoi(&ioapic, vector);
}

static void nmi(void *o, struct vmi_lapic *l)
{
    (void)o;
    nmis[l->index]++;
}

static void init(void *o, struct vmi_lapic *l)
{
    (void)o;
    inits[l->index]++;
}

static void sipi(void *o, struct vmi_lapic *l, uint8_t vector)
{
    (void)o;
    sipis[l->index]++;
    sipi_vector = vector;
}

static void changed(void *o, struct vmi_lapic *l)
{
    (void)o;
    (void)l;
}

static const struct vmi_lapic_ops ops = {send, eoi, nmi, init, sipi, changed};

static uint64_t get(unsigned cpu, unsigned reg, uint64_t now)
{
    uint64_t value;

    assert_true(vmi_lapic_read(&apic[cpu], reg, now, &value));
    return value;
}

static void put(unsigned cpu, unsigned reg, uint64_t now, uint64_t value)
{
    assert_true(vmi_lapic_write(&apic[cpu], reg, now, value));
}

static int setup(void **state)
{
    unsigned n;

    (void)state;
    memset(nmis, 0, sizeof nmis);
    memset(inits, 0, sizeof inits);
    memset(sipis, 0, sizeof sipis);
    vmi_ioapic_init(&ioapic, io_send, NULL);
    for (n = 0; n < CPUS; n++) {
        vmi_lapic_init(&apic[n], &ops, NULL, n, KHZ);
        put(n, SVR, 0, 0x1ff);
    }
    return 0;
}

static void x2(unsigned cpu)
{
    assert_true(vmi_lapic_set_base(&apic[cpu], apic[cpu].base | VMI_APIC_BASE_X2, 40));
}

static void reset_values(void **state)
{
    (void)state;
    vmi_lapic_init(&apic[1], &ops, NULL, 1, KHZ);
    assert_int_equal(get(1, ID, 0), 1u << 24);
    assert_int_equal(get(1, SVR, 0), 0xff);
    assert_int_equal(get(1, DFR, 0), 0xffffffffu);
    assert_int_equal(get(1, LINT0, 0), 0x10000);
    put(1, LINT0, 0, 0x700);
    assert_int_equal(get(1, LINT0, 0), 0x10700); /* disabled: stays masked */
    assert_int_equal(apic[0].base & 0x100, 0x100);
    assert_int_equal(apic[1].base & 0x100, 0);
}

static void priorities(void **state)
{
    (void)state;
    vmi_lapic_accept(&apic[0], &(struct vmi_apic_message){.vector = 0x41});
    vmi_lapic_accept(&apic[0], &(struct vmi_apic_message){.vector = 0x62});
    assert_int_equal(vmi_lapic_pending(&apic[0]), 0x62);
    put(0, TPR, 0, 0x60);
    assert_int_equal(vmi_lapic_pending(&apic[0]), -1);
    put(0, TPR, 0, 0x5f);
    vmi_lapic_ack(&apic[0], 0x62);
    assert_int_equal(get(0, PPR, 0), 0x60);
    assert_int_equal(vmi_lapic_pending(&apic[0]), -1);
    assert_int_equal(get(0, ISR + 3, 0), 4);
    put(0, EOI, 0, 0);
    assert_int_equal(vmi_lapic_pending(&apic[0]), -1);
    put(0, TPR, 0, 0);
    assert_int_equal(vmi_lapic_pending(&apic[0]), 0x41);
}

static void ipi_physical_and_shorthands(void **state)
{
    (void)state;
    put(0, ICR2, 0, 2u << 24);
    put(0, ICR, 0, 0x4050);
    assert_int_equal(vmi_lapic_pending(&apic[2]), 0x50);
    assert_int_equal(vmi_lapic_pending(&apic[1]), -1);
    put(0, ICR, 0, 0xc4051); /* all but self */
    assert_int_equal(vmi_lapic_pending(&apic[0]), -1);
    assert_int_equal(vmi_lapic_pending(&apic[3]), 0x51);
    put(3, ICR, 0, 0x44099); /* self */
    assert_int_equal(vmi_lapic_pending(&apic[3]), 0x99);
    put(1, ICR2, 0, 0xffu << 24);
    put(1, ICR, 0, 0x40aa); /* broadcast */
    assert_int_equal(vmi_lapic_pending(&apic[0]), 0xaa);
    assert_int_equal(vmi_lapic_pending(&apic[1]), 0xaa);
}

static void start_up(void **state)
{
    (void)state;
    put(0, ICR2, 0, 1u << 24);
    put(0, ICR, 0, 0xc500);
    assert_int_equal(inits[1], 1);
    put(0, ICR, 0, 0x8500); /* de-assert */
    assert_int_equal(inits[1], 1);
    put(0, ICR, 0, 0x469a);
    assert_int_equal(sipis[1], 1);
    assert_int_equal(sipi_vector, 0x9a);
    put(0, ICR, 0, 0xc4400); /* NMI to all but self */
    assert_int_equal(nmis[0] + nmis[1] + nmis[2] + nmis[3], 3);
}

static void logical_flat_and_cluster(void **state)
{
    unsigned n;

    (void)state;
    for (n = 0; n < CPUS; n++)
        put(n, LDR, 0, (1u << n) << 24);
    assert_true(vmi_lapic_matches(&apic[2], 0x06, true));
    assert_false(vmi_lapic_matches(&apic[0], 0x06, true));
    for (n = 0; n < CPUS; n++) {
        put(n, DFR, 0, 0x0fffffff);
        put(n, LDR, 0, ((n / 2) << 4 | 1u << n % 2) << 24);
    }
    assert_true(vmi_lapic_matches(&apic[3], 0x12, true));
    assert_false(vmi_lapic_matches(&apic[1], 0x12, true));
    assert_true(vmi_lapic_matches(&apic[1], 0xff, true));
    x2(3);
    assert_int_equal(get(3, LDR, 0), 8);
    assert_true(vmi_lapic_matches(&apic[3], 0x0008, true));
    assert_false(vmi_lapic_matches(&apic[3], 0x10008, true));
}

static void x2apic_rules(void **state)
{
    uint64_t v;

    (void)state;
    assert_false(vmi_lapic_set_base(&apic[0], (apic[0].base & ~0x800ull) | 0x400,
                                    40)); /* x2APIC without enable */
    x2(0);
    assert_int_equal(get(0, ID, 0), 0);
    assert_false(vmi_lapic_set_base(&apic[0], apic[0].base & ~0x400ull,
                                    40)); /* not straight back to xAPIC */
    assert_false(vmi_lapic_read(&apic[0], ICR2, 0, &v));
    assert_false(vmi_lapic_read(&apic[0], DFR, 0, &v));
    assert_false(vmi_lapic_write(&apic[0], EOI, 0, 1));
    assert_false(vmi_lapic_write(&apic[0], ID, 0, 1));
    assert_false(vmi_lapic_write(&apic[0], TPR, 0, 0x100));
    put(0, ICR, 0, 2ull << 32 | 0x55);
    assert_int_equal(vmi_lapic_pending(&apic[2]), 0x55);
    put(0, SELF, 0, 0x77);
    assert_int_equal(vmi_lapic_pending(&apic[0]), 0x77);
    assert_true(vmi_lapic_set_base(&apic[0], apic[0].base & ~0xc00ull, 40));
    assert_int_equal(vmi_lapic_pending(&apic[0]), -1);
    assert_false(vmi_lapic_set_base(&apic[0], 1ull << 45, 40));
    assert_false(vmi_lapic_set_base(&apic[0], 0xfee00001u, 40));
}

static void errors(void **state)
{
    (void)state;
    put(0, ERR, 0, 0xfe);
    put(0, ICR, 0, 0x4404f & ~0x40u); /* vector 15 to self */
    assert_int_equal(vmi_lapic_pending(&apic[0]), 0xfe);
    put(0, ESR, 0, 0);
    assert_int_equal(get(0, ESR, 0), 0x20);
    vmi_lapic_accept(&apic[1], &(struct vmi_apic_message){.vector = 3});
    put(1, ESR, 0, 0);
    assert_int_equal(get(1, ESR, 0), 0x40);
    put(1, ERR, 0, 5); /* the error vector is an error itself */
    vmi_lapic_accept(&apic[1], &(struct vmi_apic_message){.vector = 3});
}

static void timer_one_shot(void **state)
{
    (void)state;
    put(0, TIMER, 0, 0x40);
    put(0, DIVIDE, 0, 3); /* by 16 */
    put(0, COUNT, 100, 1000);
    assert_int_equal(vmi_lapic_deadline(&apic[0]), 16100);
    assert_int_equal(get(0, NOW, 100 + 160), 990);
    vmi_lapic_tick(&apic[0], 16099);
    assert_int_equal(vmi_lapic_pending(&apic[0]), -1);
    vmi_lapic_tick(&apic[0], 16100);
    assert_int_equal(vmi_lapic_pending(&apic[0]), 0x40);
    assert_int_equal(vmi_lapic_deadline(&apic[0]), VMI_NEVER);
    assert_int_equal(get(0, NOW, 20000), 0);
    put(0, DIVIDE, 0, 0xb); /* by 1 */
    put(0, COUNT, 0, 50);
    assert_int_equal(vmi_lapic_deadline(&apic[0]), 50);
    put(0, COUNT, 0, 0);
    assert_int_equal(vmi_lapic_deadline(&apic[0]), VMI_NEVER);
}

static void timer_periodic(void **state)
{
    unsigned n;

    (void)state;
    put(0, TIMER, 0, 0x20040);
    put(0, DIVIDE, 0, 0xb);
    put(0, COUNT, 0, 100000);
    for (n = 1; n < 5; n++) {
        assert_int_equal(vmi_lapic_deadline(&apic[0]), 100000 * n);
        vmi_lapic_tick(&apic[0], 100000 * n + 10); /* a little late: the phase stays */
        assert_int_equal(vmi_lapic_pending(&apic[0]), 0x40);
        vmi_lapic_ack(&apic[0], 0x40);
        put(0, EOI, 0, 0);
    }
    put(0, TIMER, 0, 0x30040); /* masked: it counts on, silently */
    vmi_lapic_tick(&apic[0], 600000);
    assert_int_equal(vmi_lapic_pending(&apic[0]), -1);
    put(0, COUNT, 0, 1); /* absurdly short: bounded */
    vmi_lapic_tick(&apic[0], 600001);
    assert_true(vmi_lapic_deadline(&apic[0]) >= 600001 + 5000);
}

static void timer_tsc_deadline(void **state)
{
    (void)state;
    vmi_lapic_set_tsc_deadline(&apic[0], 5000, 0, 0);
    assert_int_equal(vmi_lapic_deadline(&apic[0]), VMI_NEVER); /* not in this mode */
    put(0, TIMER, 0, 0x40040);
    put(0, COUNT, 0, 77);
    assert_int_equal(vmi_lapic_deadline(&apic[0]), VMI_NEVER);
    vmi_lapic_set_tsc_deadline(&apic[0], 5000, 2000, 100);
    assert_int_equal(vmi_lapic_deadline(&apic[0]), 3100);
    vmi_lapic_tick(&apic[0], 3100);
    assert_int_equal(vmi_lapic_pending(&apic[0]), 0x40);
    assert_int_equal(apic[0].tsc_deadline, 0);
    vmi_lapic_set_tsc_deadline(&apic[0], 10, 2000, 4000); /* past: at once */
    assert_int_equal(vmi_lapic_deadline(&apic[0]), 4000);
    vmi_lapic_set_tsc_deadline(&apic[0], UINT64_MAX, 0, 4000);
    vmi_lapic_set_tsc_deadline(&apic[0], 0, 0, 4000);
    assert_int_equal(vmi_lapic_deadline(&apic[0]), VMI_NEVER);
}

static void route(unsigned pin, uint64_t entry)
{
    vmi_ioapic_write(&ioapic, 0, 0x10 + 2 * pin + 1);
    vmi_ioapic_write(&ioapic, 0x10, (uint32_t)(entry >> 32));
    vmi_ioapic_write(&ioapic, 0, 0x10 + 2 * pin);
    vmi_ioapic_write(&ioapic, 0x10, (uint32_t)entry);
}

static void ioapic_edge(void **state)
{
    (void)state;
    vmi_ioapic_set(&ioapic, 4, true); /* masked: lost */
    vmi_ioapic_set(&ioapic, 4, false);
    route(4, 1ull << 56 | 0x34);
    assert_int_equal(vmi_lapic_pending(&apic[1]), -1);
    vmi_ioapic_set(&ioapic, 4, true);
    assert_int_equal(vmi_lapic_pending(&apic[1]), 0x34);
    vmi_lapic_ack(&apic[1], 0x34);
    put(1, EOI, 0, 0);
    vmi_ioapic_set(&ioapic, 4, true);
    assert_int_equal(vmi_lapic_pending(&apic[1]), -1);
    vmi_ioapic_set(&ioapic, 99, true); /* no such input */
}

static void ioapic_level(void **state)
{
    (void)state;
    route(16, 0x8000 | 0x61);
    vmi_ioapic_set(&ioapic, 16, true);
    assert_int_equal(vmi_lapic_pending(&apic[0]), 0x61);
    vmi_ioapic_write(&ioapic, 0, 0x10 + 32);
    assert_int_equal(vmi_ioapic_read(&ioapic, 0x10) & 0x4000, 0x4000); /* remote IRR */
    vmi_lapic_ack(&apic[0], 0x61);
    assert_int_equal(get(0, TMR + 3, 0), 2);
    put(0, EOI, 0, 0);
    assert_int_equal(vmi_lapic_pending(&apic[0]), 0x61); /* still asserted: again */
    vmi_lapic_ack(&apic[0], 0x61);
    vmi_ioapic_set(&ioapic, 16, false);
    put(0, EOI, 0, 0);
    assert_int_equal(vmi_lapic_pending(&apic[0]), -1);
    assert_int_equal(vmi_ioapic_read(&ioapic, 0x10) & 0x4000, 0);
}

static void ioapic_registers(void **state)
{
    (void)state;
    vmi_ioapic_write(&ioapic, 0, 1);
    assert_int_equal(vmi_ioapic_read(&ioapic, 0x10), 0x00170020);
    vmi_ioapic_write(&ioapic, 0, 0);
    vmi_ioapic_write(&ioapic, 0x10, 0x0f000000);
    assert_int_equal(vmi_ioapic_read(&ioapic, 0x10), 0x0f000000);
    vmi_ioapic_write(&ioapic, 0, 0xff);
    vmi_ioapic_write(&ioapic, 0x10, 1);
    assert_int_equal(vmi_ioapic_read(&ioapic, 0x10), 0);
    assert_int_equal(vmi_ioapic_read(&ioapic, 0x14), 0);
}

static void pic_route(void **state)
{
    (void)state;
    assert_false(vmi_lapic_takes_pic(&apic[0]));
    vmi_lapic_virtual_wire(&apic[0]);
    assert_true(vmi_lapic_takes_pic(&apic[0]));
    vmi_lapic_lint(&apic[0], 1, true);
    assert_int_equal(nmis[0], 1);
    assert_true(
        vmi_lapic_set_base(&apic[0], 0xfee00100, 40)); /* off: pins go straight to the processor */
    assert_true(vmi_lapic_takes_pic(&apic[0]));
    assert_false(vmi_lapic_takes_pic(&apic[1]));
}

static void any_writes(void **state)
{
    uint32_t seed = 5, n;
    uint64_t now = 0, v;

    (void)state;
    for (n = 0; n < 300000; n++) {
        struct vmi_lapic *l = &apic[seed >> 30];
        int pending;

        seed = seed * 1103515245 + 12345;
        now += seed >> 16;
        vmi_lapic_write(l, seed >> 24 & 63, now, (uint64_t)seed << (seed & 15));
        vmi_lapic_read(l, seed >> 18 & 63, now, &v);
        vmi_lapic_tick(l, now);
        vmi_ioapic_write(&ioapic, seed & 0x10, seed >> 7);
        vmi_ioapic_set(&ioapic, seed >> 11 & 31, seed >> 20 & 1);
        pending = vmi_lapic_pending(l);
        if (pending >= 0)
            vmi_lapic_ack(l, pending);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(reset_values, setup),
        cmocka_unit_test_setup(priorities, setup),
        cmocka_unit_test_setup(ipi_physical_and_shorthands, setup),
        cmocka_unit_test_setup(start_up, setup),
        cmocka_unit_test_setup(logical_flat_and_cluster, setup),
        cmocka_unit_test_setup(x2apic_rules, setup),
        cmocka_unit_test_setup(errors, setup),
        cmocka_unit_test_setup(timer_one_shot, setup),
        cmocka_unit_test_setup(timer_periodic, setup),
        cmocka_unit_test_setup(timer_tsc_deadline, setup),
        cmocka_unit_test_setup(ioapic_edge, setup),
        cmocka_unit_test_setup(ioapic_level, setup),
        cmocka_unit_test_setup(ioapic_registers, setup),
        cmocka_unit_test_setup(pic_route, setup),
        cmocka_unit_test_setup(any_writes, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
