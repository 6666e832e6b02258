/* What the tests of lib/core share: a VM on the mock backend and short ways to write scripts. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <vmlib/mock.h>
#include <vmlib/vmlib.h>

#define OK(call) assert_int_equal((call), 0)
/* The call fails with this code, and the detail text names the argument. */
#define FAILS(code, word, call)                                                     \
    do {                                                                            \
        assert_int_equal((call), (code));                                           \
        if (strstr(vmlib_last_error(), (word)) == NULL) {                           \
            fail_msg("\"%s\" does not mention \"%s\"", vmlib_last_error(), (word)); \
        }                                                                           \
    } while (0)

static inline vmlib_vm *mock_vm(void)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    vmlib_vm *vm = NULL;
    config.backends[0] = VMLIB_BACKEND_MOCK;
    OK(vmlib_vm_create(&config, &vm));
    return vm;
}

static inline vmlib_vcpu *mock_vcpu(vmlib_vm *vm, uint32_t index)
{
    struct vmlib_vcpu_config config = VMLIB_VCPU_CONFIG_INIT;
    vmlib_vcpu *vcpu = NULL;
    config.index = index;
    OK(vmlib_vcpu_create(vm, &config, &vcpu));
    return vcpu;
}

static inline vmlib_region *ram(vmlib_vm *vm, uint64_t gpa, uint64_t bytes, uint32_t prot,
                                uint32_t flags)
{
    struct vmlib_region_config config = VMLIB_REGION_CONFIG_INIT;
    vmlib_region *region = NULL;
    config.gpa = gpa;
    config.bytes = bytes;
    config.prot = prot;
    config.flags = flags;
    OK(vmlib_region_create(vm, &config, &region));
    return region;
}

static inline void push(vmlib_vcpu *vcpu, const struct vmlib_mock_step *step)
{
    OK(vmlib_mock_script(vcpu, step, 1));
}

static inline void push_action(vmlib_vcpu *vcpu, uint32_t action, uint64_t count)
{
    struct vmlib_mock_step step = VMLIB_MOCK_STEP_INIT;
    step.action = action;
    step.count = count;
    push(vcpu, &step);
}

static inline void push_pio(vmlib_vcpu *vcpu, uint16_t port, int write, uint32_t value)
{
    struct vmlib_mock_step step = VMLIB_MOCK_STEP_INIT;
    step.exit.reason = VMLIB_EXIT_PIO;
    step.exit.u.pio.port = port;
    step.exit.u.pio.width = 1;
    step.exit.u.pio.write = (uint8_t)write;
    step.exit.u.pio.value = value;
    step.exit.u.pio.count = 1;
    push(vcpu, &step);
}

static inline void push_access(vmlib_vcpu *vcpu, uint64_t gpa, unsigned width, int write,
                               uint64_t value)
{
    struct vmlib_mock_step step = VMLIB_MOCK_STEP_INIT;
    step.action = VMLIB_MOCK_ACCESS;
    step.exit.reason = VMLIB_EXIT_MMIO;
    step.exit.u.mmio.gpa = gpa;
    step.exit.u.mmio.width = (uint8_t)width;
    step.exit.u.mmio.write = (uint8_t)write;
    step.exit.u.mmio.value = value;
    push(vcpu, &step);
}

static inline struct vmlib_mock_step exit_step(uint32_t reason)
{
    struct vmlib_mock_step step = VMLIB_MOCK_STEP_INIT;
    step.exit.reason = reason;
    return step;
}

/* Run without limits; the record must have this reason. */
static inline struct vmlib_exit run_to(vmlib_vcpu *vcpu, uint32_t reason)
{
    struct vmlib_exit exit = VMLIB_EXIT_INIT;
    OK(vmlib_vcpu_run(vcpu, NULL, &exit));
    if (exit.reason != reason) {
        fail_msg("exit %s, expected %s", vmlib_exit_name(exit.reason), vmlib_exit_name(reason));
    }
    return exit;
}

static inline struct vmlib_mock_result result_of(vmlib_vcpu *vcpu)
{
    struct vmlib_mock_result result = VMLIB_MOCK_RESULT_INIT;
    OK(vmlib_mock_result(vcpu, &result));
    return result;
}

static inline uint64_t reg(vmlib_vcpu *vcpu, uint32_t number)
{
    uint64_t value = 0;
    OK(vmlib_vcpu_get_reg(vcpu, number, &value));
    return value;
}

/* Repetitions of stress tests; the default is the full number. */
static inline unsigned long scaled(unsigned long full)
{
    const char *percent = getenv("VMLIB_TEST_PERCENT");
    unsigned long n = percent != NULL ? full / 100 * strtoul(percent, NULL, 10) : full;
    return n != 0 ? n : 1;
}

#endif
