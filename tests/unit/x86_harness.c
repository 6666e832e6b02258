/* See x86_harness.h. */
#include "x86_harness.h"

struct h_device h_device;

static enum x86_result read_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, unsigned size)
{
    (void)gpa, (void)lin, (void)size;
    h_device.reads++;
    if (h_device.exits) {
        h_device.exits--;
        cpu->leave = X86_LEAVE_EXIT;
        return X86_EXIT;
    }
    cpu->tmp = h_device.value & (size == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1);
    return X86_OK;
}
static enum x86_result write_phys(struct x86_cpu *cpu, uint64_t gpa, uint64_t lin, uint64_t value,
                                  unsigned size)
{
    (void)gpa, (void)lin, (void)size;
    h_device.writes++;
    if (h_device.exits) {
        h_device.exits--;
        cpu->leave = X86_LEAVE_EXIT;
        return X86_EXIT;
    }
    h_device.value = value;
    return X86_OK;
}
static void split_lock(struct x86_cpu *cpu)
{
    (void)cpu;
    h_device.locks++;
}
static void split_unlock(struct x86_cpu *cpu)
{
    (void)cpu;
    h_device.locks += 100;
}
static uint64_t random_word(struct x86_cpu *cpu)
{
    (void)cpu;
    return UINT64_C(0x0123456789abcdef);
}

static struct x86_ops ops_of_harness(const struct x86_ops *base)
{
    struct x86_ops o = *base;
    o.read_phys = read_phys;
    o.write_phys = write_phys;
    o.split_lock = split_lock;
    o.split_unlock = split_unlock;
    o.random = random_word;
    return o;
}

int h_setup(void **state)
{
    static struct x86_ops ops;
    struct sworld *w = s_new();
    ops = ops_of_harness(w->cpu.ops);
    w->cpu.ops = &ops;
    h_device = (struct h_device){0};
    *state = w;
    return 0;
}

int h_teardown(void **state)
{
    s_free(*state);
    return 0;
}

struct x86_cpu *h_long(struct sworld *w)
{
    s_long(w, 0);
    return &w->cpu;
}

int h_run(struct sworld *w, const void *bytes, unsigned n)
{
    struct x86_cpu *cpu = &w->cpu;
    uint64_t base = cpu->mode & X86_MODE_64 ? 0 : cpu->seg[X86_CS].base;
    memcpy(w->mem + base + H_CODE, bytes, n);
    cpu->rip = H_CODE;
    cpu->left = 100;
    cpu->exc.valid = false;
    x86_step(cpu);
    if (cpu->leave != X86_LEAVE_EXC) {
        assert_int_equal(cpu->left, cpu->leave == X86_LEAVE_EXIT ? 100 : 99);
        return -1;
    }
    assert_int_equal(cpu->rip, H_CODE); /* a fault: rip is the instruction */
    return cpu->exc.vector;
}
