/* Guests that do their worst: random code, random state, answers that make no sense. Whatever
 * happens has an answer, the vCPU can be used again, and nothing outside the guest's memory is
 * touched. */
#include "kvm_world.h"

static uint64_t seed;

static uint64_t random64(void)
{
    seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = (seed ^ seed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Instructions that reach devices, strings, segments and system state more often than chance. */
static const uint8_t favourites[][4] = {
    {0xec},
    {0xee},
    {0x6c},
    {0x6e},
    {0xf3, 0x6c},
    {0xf3, 0x6e},
    {0xa4},
    {0xf3, 0xa4},
    {0xf3, 0xab},
    {0xa0, 0x00, 0x00},
    {0xa2, 0x10, 0x00},
    {0x67, 0x88, 0x07},
    {0x67, 0x8a, 0x07},
    {0x67, 0x00, 0x07},
    {0x67, 0x87, 0x07},
    {0x0f, 0x30},
    {0x0f, 0x32},
    {0xfa},
    {0xfb},
    {0xf4},
    {0xcf},
    {0xcd, 0x40},
    {0xcc},
    {0x0f, 0xa2},
    {0x0f, 0x0b},
    {0x8e, 0xd0},
    {0x8e, 0xd8},
    {0x9d},
    {0x0f, 0x01, 0xc1},
    {0x0f, 0x22, 0xc0},
    {0x0f, 0x20, 0xc0},
    {0x67, 0x0f, 0x11},
};
#define NFAVOURITES (sizeof(favourites) / sizeof(favourites[0]))

static void random_code(uint8_t *code, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        if (random64() % 3 == 0) {
            code[i++] = (uint8_t)random64();
            continue;
        }
        const uint8_t *f = favourites[random64() % NFAVOURITES];
        for (unsigned n = 0; n < 4 && (n == 0 || f[n]) && i < bytes; n++)
            code[i++] = f[n];
    }
}

static int answer(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)opaque;
    switch (random64() % 16) {
    case 0:
        return VMLIB_PASS;
    case 1:
        exit->inject =
            (struct vmlib_event){.type = VMLIB_EVENT_EXCEPTION, .vector = random64() % 32};
        return VMLIB_INJECT;
    case 2:
        return VMLIB_STOP;
    case 3:
        return VMLIB_E_USER - 1;
    case 4: {
        uint64_t rip;
        if (vmlib_vcpu_get_reg(vcpu, VMLIB_REG_RIP, &rip) == 0)
            (void)vmlib_vcpu_set_reg(vcpu, VMLIB_REG_RIP, (rip + random64() % 4) & 0xffff);
        break;
    }
    case 5:
        (void)vmlib_vcpu_set_reg(vcpu, (uint32_t)(random64() % 16), random64());
        break;
    case 6:
        (void)vmlib_vcpu_nmi(vcpu);
        break;
    case 7:
        (void)vmlib_vcpu_set_intr(vcpu, random64() & 1);
        break;
    case 8:
        (void)vmlib_vcpu_cancel(vcpu);
        break;
    default:
        break;
    }
    if (exit->reason == VMLIB_EXIT_PIO)
        exit->u.pio.value = (uint32_t)random64();
    else if (exit->reason == VMLIB_EXIT_MMIO)
        exit->u.mmio.value = random64();
    else if (exit->reason == VMLIB_EXIT_MSR && !exit->u.msr.write)
        exit->u.msr.value = random64();
    return VMLIB_HANDLED;
}

static void add(struct world *w, uint32_t kind, uint64_t first, uint64_t last)
{
    struct vmlib_handler_config c = VMLIB_HANDLER_CONFIG_INIT;
    c.kind = kind;
    c.first = first;
    c.last = last;
    c.fn = answer;
    OK(vmlib_handler_add(w->vm, &c, NULL));
}

static void complete(struct world *w, const struct vmlib_exit *e)
{
    uint64_t data[2] = {random64(), random64()};
    if (random64() % 8 == 0) {
        OK(vmlib_vcpu_complete_fault(w->vcpu[0], random64() % 20, 0));
        return;
    }
    uint32_t bytes = e->reason == VMLIB_EXIT_PIO    ? e->u.pio.width
                     : e->reason == VMLIB_EXIT_MMIO ? e->u.mmio.width
                     : e->u.msr.write               ? 0
                                                    : 8;
    (void)vmlib_vcpu_complete(w->vcpu[0], data, bytes);
}

static void one_guest(struct world *w)
{
    static struct vmlib_state s;
    uint8_t code[96];
    struct vmlib_run_args a = VMLIB_RUN_ARGS_INIT;
    random_code(code, sizeof(code));
    for (unsigned i = 0; i < 256; i++) /* handlers somewhere in the code */
        memcpy(w->mem + 4 * i, (uint8_t[4]){(uint8_t)random64() % 96, 0x10, 0, 0}, 4);
    memcpy(w->mem + CODE, code, sizeof(code));
    OK(vmlib_region_written(w->ram, 0, 0x2000));
    world_start(w, 0, CODE);
    for (uint32_t r = VMLIB_REG_RAX; r <= VMLIB_REG_RDI; r++)
        if (r != VMLIB_REG_RSP)
            OK(vmlib_vcpu_set_reg(w->vcpu[0], r,
                                  random64() & 1 ? random64() & 0xffff
                                                 : DEVICE - 8 + random64() % 0x1010));
    for (unsigned runs = 0; runs < 12; runs++) {
        struct vmlib_exit e = VMLIB_EXIT_INIT;
        a.deadline_ns = 200000;
        a.flags = random64() % 8 == 0 ? VMLIB_RUN_SINGLE_STEP : 0;
        int rc = vmlib_vcpu_run(w->vcpu[0], &a, &e);
        if (rc == 0 && e.flags & VMLIB_EXIT_F_PENDING)
            complete(w, &e);
        if (random64() % 4 == 0) {
            s.size = sizeof(s);
            OK(vmlib_vcpu_get_state(w->vcpu[0], VMLIB_STATE_ALL, &s));
            (void)vmlib_vcpu_set_state(w->vcpu[0], VMLIB_STATE_ALL, &s);
        }
        if (rc == 0 && (e.reason == VMLIB_EXIT_SHUTDOWN || e.reason == VMLIB_EXIT_INTERNAL))
            break;
    }
}

static void random_guests(void **state)
{
    (void)state;
    struct world w;
    world_create(&w, 1);
    vmlib_region *behind = world_region(&w, DEVICE + 0x1000, 0x1000, VMLIB_REGION_ROM, NULL);
    add(&w, VMLIB_HANDLER_PIO, 0, 0xffff);
    add(&w, VMLIB_HANDLER_MMIO, DEVICE, DEVICE + 0x1fff);
    add(&w, VMLIB_HANDLER_MSR, 0, 0xffff);
    for (seed = 0; seed < 400; seed++) {
        uint64_t number = seed;
        seed *= UINT64_C(0x100000001);
        one_guest(&w);
        seed = number;
    }
    vmlib_region_unref(behind);
    world_destroy(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(random_guests),
};
MAIN(tests)
