/* The fastest backend that works: asked, then tried with a loop in ring 0. See pick.h. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <vmlib/pick.h>

#include "devices/error.h"

/* --- the trial: 64-bit code in ring 0, the first 2 MiB mapped 1:1 --- */

static const uint8_t loop[] = {
    0xb9, 0x50, 0xc3, 0x00, 0x00, /*        mov ecx, 50000 */
    0xff, 0xc9,                   /* again: dec ecx        */
    0x75, 0xfc,                   /*        jnz again      */
    0xf4,                         /*        hlt            */
};

#define CODE   0x8000u
#define TABLES 0x1000u /* three pages */
#define BYTES  0x10000u

static int set_long_mode(vmlib_vcpu *vcpu)
{
    struct vmlib_state s = {.size = sizeof(s)};
    const uint32_t groups = VMLIB_STATE_GPR | VMLIB_STATE_SEGMENTS | VMLIB_STATE_CONTROL;
    const struct vmlib_segment data = {.limit = UINT32_MAX, .attributes = 0xc093, .selector = 16};
    int rc = vmlib_vcpu_get_state(vcpu, groups, &s);
    if (rc != 0)
        return rc;
    s.control.cr0 = 0x80000031; /* PG, NE, ET, PE */
    s.control.cr3 = TABLES;
    s.control.cr4 = 0x20;   /* PAE */
    s.control.efer = 0x500; /* LMA, LME */
    s.segments.es = s.segments.ss = s.segments.ds = s.segments.fs = s.segments.gs = data;
    s.segments.cs = data;
    s.segments.cs.attributes = 0xa09b;
    s.segments.cs.selector = 8;
    s.gpr.rip = CODE;
    s.gpr.rflags = 2;
    return vmlib_vcpu_set_state(vcpu, groups, &s);
}

static int fill(vmlib_vm *vm)
{
    static const uint64_t entry[3] = {TABLES + 0x1003, TABLES + 0x2003, 0x83};
    int rc = vmlib_vm_write(vm, CODE, loop, sizeof(loop));
    for (unsigned i = 0; rc == 0 && i < 3; i++)
        rc = vmlib_vm_write(vm, TABLES + 0x1000 * i, &entry[i], 8);
    return rc;
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Nanoseconds of the loop, at most `limit`; 0: it did not end as it should. */
static uint64_t timed(vmlib_vcpu *vcpu, uint64_t limit)
{
    struct vmlib_exit exit = VMLIB_EXIT_INIT;
    struct vmlib_run_args args = VMLIB_RUN_ARGS_INIT;
    args.deadline_ns = limit;
    uint64_t begin = now();
    int rc = vmlib_vcpu_run(vcpu, &args, &exit);
    uint64_t spent = now() - begin;
    if (rc == 0 && exit.reason == VMLIB_EXIT_DEADLINE)
        return limit;
    return rc == 0 && exit.reason == VMLIB_EXIT_HLT ? spent + !spent : 0;
}

static uint64_t trial(uint32_t backend, uint64_t limit)
{
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    struct vmlib_region_config ram = VMLIB_REGION_CONFIG_INIT;
    vmlib_vm *vm = NULL;
    vmlib_vcpu *vcpu = NULL;
    vmlib_region *region = NULL;
    uint64_t ns = 0;
    config.backends[0] = backend;
    ram.bytes = BYTES;
    if (vmlib_vm_create(&config, &vm) == 0 && vmlib_region_create(vm, &ram, &region) == 0 &&
        fill(vm) == 0 && vmlib_vcpu_create(vm, NULL, &vcpu) == 0 && set_long_mode(vcpu) == 0)
        ns = timed(vcpu, limit);
    vmlib_vcpu_unref(vcpu);
    vmlib_region_unref(region);
    vmlib_vm_unref(vm);
    return ns;
}

/* --- the choice --- */

struct text {
    char *at;
    size_t room;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->at, t->room, format, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n < t->room ? (size_t)n : t->room - (t->room != 0);
    t->at += t->room != 0 ? used : 0;
    t->room -= used;
}

/* The first required feature that it lacks; NULL: none. */
static const char *lacks(uint32_t backend, uint64_t required)
{
    for (uint32_t f = 0; f < VMLIB_FEATURE_COUNT; f++) {
        uint32_t support = VMLIB_SUPPORT_REFUSED;
        if (required >> f & 1 &&
            (vmlib_backend_feature(backend, f, &support) != 0 || support < VMLIB_SUPPORT_EMULATED))
            return vmlib_feature_name(f);
    }
    return NULL;
}

/* Would this be the one? If not, `t` says why. */
static bool suits(uint32_t backend, uint64_t required, uint64_t soft_ns, struct text *t)
{
    struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;
    if (vmlib_backend_query(backend, &info) != 0)
        return false; /* not part of this build */
    const char *missing = lacks(backend, required);
    if (!info.available) {
        say(t, "; %s is %s", info.name, info.reason);
    } else if (missing != NULL) {
        say(t, "; %s has no %s", info.name, missing);
    } else if (backend != VMLIB_BACKEND_SOFT && soft_ns != 0) {
        uint64_t ns = trial(backend, 4 * soft_ns);
        if (ns == 0)
            say(t, "; %s failed with a guest in ring 0", info.name);
        else if (ns > soft_ns)
            say(t, "; %s runs ring 0 slower than software: it emulates", info.name);
        return ns != 0 && ns <= soft_ns;
    } else {
        return true;
    }
    return false;
}

int vmlib_backend_pick(uint64_t required, uint32_t *backend, char *why, size_t bytes)
{
    static const uint32_t order[] = {VMLIB_BACKEND_VTX, VMLIB_BACKEND_KVM, VMLIB_BACKEND_SOFT};
    char notes[512] = "";
    struct text t = {notes, sizeof(notes)};
    if (backend == NULL || (why == NULL && bytes != 0))
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", backend == NULL ? "backend" : "why");
    required |= UINT64_C(1) << VMLIB_FEATURE_GUEST_CODE;
    /* Twice: the first time also pays for pages and decoding. */
    uint64_t soft_ns = trial(VMLIB_BACKEND_SOFT, 1000000000),
             again = trial(VMLIB_BACKEND_SOFT, 1000000000);
    soft_ns = again < soft_ns ? again : soft_ns;
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        if (!suits(order[i], required, soft_ns, &t))
            continue;
        struct vmlib_backend_info info = VMLIB_BACKEND_INFO_INIT;
        (void)vmlib_backend_query(order[i], &info);
        if (bytes != 0)
            snprintf(why, bytes, "%s%s", info.name, notes);
        *backend = order[i];
        return 0;
    }
    if (bytes != 0)
        snprintf(why, bytes, "none%s", notes);
    return vmi_dev_error(VMLIB_E_UNAVAILABLE, "no backend%s", notes);
}
