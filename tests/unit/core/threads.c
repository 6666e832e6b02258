/*
 * The VM changes while vCPUs run: memory appears and disappears under accesses, handlers come and
 * go, other threads read memory and raise lines. Meant for ThreadSanitizer; without it, it still
 * finds hangs and use after free.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "fixture.h"

#define VCPUS 3

struct arena {
    vmlib_vm *vm;
    vmlib_vcpu *vcpu[VCPUS];
    _Atomic int stop;
    _Atomic unsigned long calls;
    pthread_mutex_t big_lock; /* as a device kit has one: handlers and changers both take it */
};

static int device(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    struct arena *a = opaque;
    (void)vcpu;
    pthread_mutex_lock(&a->big_lock);
    atomic_fetch_add(&a->calls, 1);
    pthread_mutex_unlock(&a->big_lock);
    if (!exit->u.mmio.write) {
        exit->u.mmio.value = 1;
    }
    return VMLIB_HANDLED;
}

static void *vcpu_thread(void *arg)
{
    vmlib_vcpu *vcpu = arg;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    for (;;) {
        for (uint64_t i = 0; i < 64; i++) {
            push_access(vcpu, 0x10000 + i * 0x400, 4, i & 1, i);
        }
        do {
            if (vmlib_vcpu_run(vcpu, NULL, &e) != 0 || e.reason == VMLIB_EXIT_CANCELLED) {
                return NULL;
            }
            if (e.flags & VMLIB_EXIT_F_PENDING) {
                uint32_t value = 0;
                if (vmlib_vcpu_complete(vcpu, &value, 4) != 0) {
                    return NULL;
                }
            }
        } while (e.reason != VMLIB_EXIT_HLT);
    }
}

static void *reader_thread(void *arg)
{
    struct arena *a = arg;
    uint8_t buffer[0x1000];
    while (!atomic_load(&a->stop)) {
        if (vmlib_vm_read(a->vm, 0x10000, buffer, sizeof(buffer)) == 0) {
            vmlib_vm_write(a->vm, 0x10000, buffer, 16);
        }
        for (unsigned i = 0; i < VCPUS; i++) {
            vmlib_vcpu_set_intr(a->vcpu[i], buffer[0] & 1);
            vmlib_vcpu_nmi(a->vcpu[i]);
        }
        sched_yield();
    }
    return NULL;
}

static void change_memory(struct arena *a)
{
    uint64_t map[1];
    pthread_mutex_lock(&a->big_lock); /* held while vCPUs are paused: must not deadlock */
    vmlib_region *r = ram(a->vm, 0x10000, 0x8000, VMLIB_PROT_RWX, VMLIB_REGION_DIRTY_LOG);
    OK(vmlib_region_dirty(r, 0, 0x8000, map, VMLIB_DIRTY_CLEAR));
    OK(vmlib_region_protect(r, VMLIB_PROT_RWX));
    pthread_mutex_unlock(&a->big_lock);
    sched_yield();
    pthread_mutex_lock(&a->big_lock);
    OK(vmlib_region_remove(r));
    pthread_mutex_unlock(&a->big_lock);
    vmlib_region_unref(r);
}

static void free_box(void *opaque)
{
    free(opaque);
}

/* The opaque is freed by release: a call after it is a use after free. */
struct box {
    struct arena *arena;
};

static int boxed_device(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    return device(((struct box *)opaque)->arena, vcpu, exit);
}

static void change_handlers(struct arena *a)
{
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    struct box *box = malloc(sizeof(*box));
    vmlib_handler *handler = NULL;
    box->arena = a;
    config.kind = VMLIB_HANDLER_MMIO;
    config.first = 0x10000;
    config.last = 0x1ffff;
    config.fn = boxed_device;
    config.opaque = box;
    config.release = free_box;
    OK(vmlib_handler_add(a->vm, &config, &handler));
    sched_yield();
    OK(vmlib_handler_remove(handler));
    vmlib_handler_unref(handler);
}

static void changes_under_running_vcpus(void **state)
{
    (void)state;
    struct arena a = {.big_lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[VCPUS], reader;
    struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
    a.vm = mock_vm();
    config.kind = VMLIB_HANDLER_MMIO;
    config.first = 0x1a000;
    config.last = 0x1ffff;
    config.fn = device;
    config.opaque = &a;
    OK(vmlib_handler_add(a.vm, &config, NULL));
    for (uint32_t i = 0; i < VCPUS; i++) {
        a.vcpu[i] = mock_vcpu(a.vm, i);
        assert_int_equal(pthread_create(&threads[i], NULL, vcpu_thread, a.vcpu[i]), 0);
    }
    assert_int_equal(pthread_create(&reader, NULL, reader_thread, &a), 0);
    for (unsigned long i = 0; i < scaled(1000); i++) {
        change_memory(&a);
        change_handlers(&a);
    }
    atomic_store(&a.stop, 1);
    pthread_join(reader, NULL);
    for (unsigned i = 0; i < VCPUS; i++) {
        OK(vmlib_vcpu_cancel(a.vcpu[i]));
        pthread_join(threads[i], NULL);
        vmlib_vcpu_unref(a.vcpu[i]);
    }
    assert_true(atomic_load(&a.calls) > 0);
    vmlib_vm_unref(a.vm);
}

/* Handlers of two vCPUs change the VM at the same time, while a third vCPU runs. */
static int changer(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit)
{
    (void)exit;
    vmlib_vm *vm = opaque;
    vmlib_region_unref(
        ram(vm, 0x100000 + vmlib_vcpu_index(vcpu) * 0x1000, 0x1000, VMLIB_PROT_RWX, 0));
    vmlib_region *r =
        ram(vm, 0x200000 + vmlib_vcpu_index(vcpu) * 0x1000, 0x1000, VMLIB_PROT_RWX, 0);
    OK(vmlib_region_remove(r));
    vmlib_region_unref(r);
    return VMLIB_STOP;
}

static void *stopping_thread(void *arg)
{
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    OK(vmlib_vcpu_run(arg, NULL, &e));
    assert_int_equal(e.reason, VMLIB_EXIT_STOPPED);
    return NULL;
}

static void *spinning_thread(void *arg)
{
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    OK(vmlib_vcpu_run(arg, NULL, &e));
    assert_int_equal(e.reason, VMLIB_EXIT_CANCELLED);
    return NULL;
}

static void handlers_change_the_vm(void **state)
{
    (void)state;
    for (unsigned long round = 0; round < scaled(500); round++) {
        vmlib_vm *vm = mock_vm();
        vmlib_vcpu *vcpu[3];
        pthread_t threads[3];
        struct vmlib_handler_config config = VMLIB_HANDLER_CONFIG_INIT;
        config.fn = changer;
        config.opaque = vm;
        OK(vmlib_handler_add(vm, &config, NULL));
        for (uint32_t i = 0; i < 3; i++) {
            vcpu[i] = mock_vcpu(vm, i);
            if (i < 2) {
                push_pio(vcpu[i], 0, 1, 0);
            } else {
                push_action(vcpu[i], VMLIB_MOCK_SPIN, 0);
            }
            pthread_create(&threads[i], NULL, i < 2 ? stopping_thread : spinning_thread, vcpu[i]);
        }
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        OK(vmlib_vcpu_cancel(vcpu[2]));
        pthread_join(threads[2], NULL);
        for (unsigned i = 0; i < 3; i++) {
            vmlib_vcpu_unref(vcpu[i]);
        }
        vmlib_vm_unref(vm);
    }
}

/* Calls that belong to the vCPU's thread are refused while another thread runs it. */
static void wrong_thread(void **state)
{
    (void)state;
    vmlib_vm *vm = mock_vm();
    vmlib_vcpu *vcpu = mock_vcpu(vm, 0);
    struct vmlib_state s;
    struct vmlib_exit e = VMLIB_EXIT_INIT;
    struct vmlib_event event = {.type = VMLIB_EVENT_NMI, .vector = 2};
    struct vmlib_translation t = VMLIB_TRANSLATION_INIT;
    struct vmlib_cpuid_leaf leaf = {0, 0, 0, 0, 0, 0, 0, 0};
    uint64_t value = 0;
    uint32_t n = 0;
    pthread_t thread;
    s.size = sizeof(s);
    push_action(vcpu, VMLIB_MOCK_SPIN, 0);
    assert_int_equal(pthread_create(&thread, NULL, spinning_thread, vcpu), 0);
    while (vmlib_vcpu_get_reg(vcpu, VMLIB_REG_RIP, &value) == 0) {
        sched_yield(); /* until the run has begun */
    }
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_run(vcpu, NULL, &e));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_complete(vcpu, NULL, 0));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_complete_fault(vcpu, 6, 0));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_get_state(vcpu, VMLIB_STATE_GPR, &s));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_set_state(vcpu, VMLIB_STATE_GPR, &s));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_set_reg(vcpu, 0, 0));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_get_reg_wide(vcpu, VMLIB_REG_XMM0, &s, 16));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_set_reg_wide(vcpu, VMLIB_REG_XMM0, &s, 16));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_inject(vcpu, &event));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_request_interrupt_window(vcpu, 1));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_set_exception_exits(vcpu, 1));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_set_breakpoint(vcpu, 0, NULL));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_set_cpuid(vcpu, &leaf, 1));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_get_cpuid(vcpu, NULL, &n));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_translate(vcpu, 0, 0, &t));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_read_virt(vcpu, 0, &value, 8));
    FAILS(VMLIB_E_BUSY, "vcpu", vmlib_vcpu_write_virt(vcpu, 0, &value, 8));
    OK(vmlib_vcpu_cancel(vcpu));
    pthread_join(thread, NULL);
    vmlib_vcpu_unref(vcpu);
    vmlib_vm_unref(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_under_running_vcpus),
        cmocka_unit_test(handlers_change_the_vm),
        cmocka_unit_test(wrong_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
