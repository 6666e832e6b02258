/* Console with expectations: the machine's threads write, the host program waits for texts. */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vmlib/console.h>

#include "devices/error.h"

#define LEAST_LIMIT 4096u
#define RETRY_NS    1000000u /* how often input is offered again */

struct runner {
    struct vmlib_console *console;
    vmlib_vcpu *vcpu;
    pthread_t thread;
};

struct vmlib_console {
    struct vmlib_console_config config;
    vmlib_machine *machine; /* NULL: not started */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* output, or a thread has ended */
    char *text;
    size_t length; /* of the output that is remembered */
    size_t begin, end,
        from; /* last text found: what came before it, and where the next search starts */
    uint32_t runners, running;
    struct runner runner[VMLIB_MAX_VCPUS];
    struct vmlib_machine_result result;
    int error;
};

/* --- output --- */

static size_t moved(size_t offset, size_t by)
{
    return offset > by ? offset - by : 0;
}

/* Lock held. Room for `bytes`, at most half of the limit. */
static void make_room(struct vmlib_console *c, size_t bytes)
{
    size_t drop = (size_t)c->config.limit / 2;

    if (c->length + bytes <= c->config.limit)
        return;
    if (drop > c->length)
        drop = c->length;
    memmove(c->text, c->text + drop, c->length - drop);
    c->length -= drop;
    c->begin = moved(c->begin, drop);
    c->end = moved(c->end, drop);
    c->from = moved(c->from, drop);
}

void vmlib_console_output(void *console, const void *data, size_t bytes)
{
    struct vmlib_console *c = console;
    const char *p = data;

    if (!c || !data)
        return;
    pthread_mutex_lock(&c->lock);
    for (size_t rest = bytes, n; rest; rest -= n, p += n) {
        n = rest < c->config.limit / 2 ? rest : (size_t)c->config.limit / 2;
        make_room(c, n);
        memcpy(c->text + c->length, p, n);
        c->length += n;
    }
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (c->config.copy)
        c->config.copy(c->config.copy_opaque, data, bytes);
}

/* --- life --- */

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

int vmlib_console_create(const struct vmlib_console_config *config, vmlib_console **console)
{
    const struct vmlib_console_config defaults = VMLIB_CONSOLE_CONFIG_INIT;
    struct vmlib_console *c;

    if (!console)
        return vmi_dev_error(VMLIB_E_INVAL, "console is NULL");
    if (!config)
        config = &defaults;
    if (config->size != sizeof(*config) || (config->flags & ~VMLIB_CONSOLE_VIRTIO) ||
        config->limit < LEAST_LIMIT || config->limit >> 32)
        return vmi_dev_error(VMLIB_E_INVAL, "config: unknown size or flags, or a wrong limit");
    c = calloc(1, sizeof(*c));
    if (c)
        c->text = malloc((size_t)config->limit);
    if (!c || !c->text) {
        free(c);
        return vmi_dev_error(VMLIB_E_NOMEM, "no memory for a console");
    }
    c->config = *config;
    c->result = (struct vmlib_machine_result)VMLIB_MACHINE_RESULT_INIT;
    pthread_mutex_init(&c->lock, NULL);
    init_condition(&c->changed);
    *console = c;
    return 0;
}

void vmlib_console_destroy(vmlib_console *c)
{
    if (!c)
        return;
    if (c->machine)
        vmlib_machine_stop(c->machine);
    for (uint32_t i = 0; i < c->runners; i++) {
        pthread_join(c->runner[i].thread, NULL);
        vmlib_vcpu_unref(c->runner[i].vcpu);
    }
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c->text);
    free(c);
}

static void *run(void *opaque)
{
    struct runner *r = opaque;
    struct vmlib_console *c = r->console;
    struct vmlib_machine_result result = VMLIB_MACHINE_RESULT_INIT;
    int error = vmlib_machine_run_vcpu(c->machine, r->vcpu, &result);

    pthread_mutex_lock(&c->lock);
    if (error < 0)
        c->error = error;
    else
        c->result = result; /* all vCPUs have the same */
    c->running--;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

int vmlib_console_start(vmlib_console *c, vmlib_machine *machine, vmlib_vcpu *const *vcpus,
                        uint32_t count)
{
    int error = 0;

    if (!c || !machine || !vcpus || !count || count > VMLIB_MAX_VCPUS)
        return vmi_dev_error(VMLIB_E_INVAL, "an argument is NULL, or count is wrong");
    for (uint32_t i = 0; i < count; i++)
        if (!vcpus[i])
            return vmi_dev_error(VMLIB_E_INVAL, "vcpus[%u] is NULL", i);
    pthread_mutex_lock(&c->lock);
    if (c->machine)
        error = vmi_dev_error(VMLIB_E_STATE, "the console has been started before");
    else
        c->machine = machine; /* never again: the threads read it without the lock */
    for (uint32_t i = 0; i < count && !error; i++) {
        struct runner *r = &c->runner[i];

        *r = (struct runner){.console = c, .vcpu = vmlib_vcpu_ref(vcpus[i])};
        if (pthread_create(&r->thread, NULL, run, r) != 0) {
            vmlib_vcpu_unref(r->vcpu);
            error = vmi_dev_error(VMLIB_E_NOMEM, "no thread for vCPU %u", i);
        } else {
            c->runners++;
            c->running++;
        }
    }
    if (error == VMLIB_E_NOMEM)
        vmlib_machine_stop(machine);
    pthread_mutex_unlock(&c->lock);
    return error;
}

/* --- waiting --- */

static struct timespec after(uint64_t ns)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    ns = ns < UINT64_C(1) << 60 ? ns : UINT64_C(1) << 60; /* 36 years */
    t.tv_sec += (time_t)(ns / 1000000000u);
    t.tv_nsec += (long)(ns % 1000000000u);
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    return t;
}

static bool is_over(const struct timespec *end)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > end->tv_sec || (now.tv_sec == end->tv_sec && now.tv_nsec >= end->tv_nsec);
}

/* Lock held. Which text comes first behind `from`? */
static bool find(struct vmlib_console *c, const char *const *texts, uint32_t count, uint32_t *index)
{
    const char *first = NULL;

    for (uint32_t i = 0; i < count; i++) {
        const char *at = memmem(c->text + c->from, c->length - c->from, texts[i], strlen(texts[i]));

        if (at && (!first || at < first)) {
            first = at;
            *index = i;
        }
    }
    if (!first)
        return false;
    c->begin = c->from;
    c->end = (size_t)(first - c->text);
    c->from = c->end + strlen(texts[*index]);
    return true;
}

/* Lock held. The last bytes of the output tell people more than the time does. */
static int not_found(struct vmlib_console *c, int code, const char *why, const char *text)
{
    size_t n = c->length - c->from < 100 ? c->length - c->from : 100;

    return vmi_dev_error(code, "%s '%.60s'; the output ends with: %.*s", why, text, (int)n,
                         c->text + c->length - n);
}

int vmlib_console_expect(vmlib_console *c, const char *const *texts, uint32_t count,
                         uint64_t timeout_ns, uint32_t *index)
{
    struct timespec end = after(timeout_ns);
    uint32_t which = 0;
    int error = 0;

    if (!c || !texts || !count)
        return vmi_dev_error(VMLIB_E_INVAL, "an argument is NULL or count is 0");
    for (uint32_t i = 0; i < count; i++)
        if (!texts[i] || !*texts[i])
            return vmi_dev_error(VMLIB_E_INVAL, "texts[%u] is NULL or empty", i);
    pthread_mutex_lock(&c->lock);
    while (!find(c, texts, count, &which)) {
        if (c->runners && !c->running) {
            error = not_found(c, VMLIB_E_NOTFOUND, "the machine has ended without", texts[0]);
            break;
        }
        if (is_over(&end)) {
            error = not_found(c, VMLIB_E_LIMIT, "no", texts[0]);
            break;
        }
        pthread_cond_timedwait(&c->changed, &c->lock, &end);
    }
    pthread_mutex_unlock(&c->lock);
    if (!error && index)
        *index = which;
    return error;
}

int vmlib_console_before(vmlib_console *c, void *data, size_t *bytes)
{
    size_t room, length;

    if (!c || !bytes || (!data && *bytes))
        return vmi_dev_error(VMLIB_E_INVAL, "an argument is NULL");
    room = *bytes;
    pthread_mutex_lock(&c->lock);
    length = c->end - c->begin;
    if (length && length <= room)
        memcpy(data, c->text + c->begin, length);
    pthread_mutex_unlock(&c->lock);
    *bytes = length;
    return length <= room ? 0 : vmi_dev_error(VMLIB_E_LIMIT, "bytes: %zu are needed", length);
}

static int offer(struct vmlib_console *c, const void *data, size_t bytes, size_t *taken)
{
    *taken = 0;
    return c->config.flags & VMLIB_CONSOLE_VIRTIO
               ? vmlib_machine_console_input(c->machine, data, bytes, taken)
               : vmlib_machine_serial_input(c->machine, data, bytes, taken);
}

int vmlib_console_send(vmlib_console *c, const void *data, size_t bytes, uint64_t timeout_ns)
{
    struct timespec end = after(timeout_ns), retry;
    const char *p = data;
    size_t taken;
    bool ended;

    if (!c || (!data && bytes))
        return vmi_dev_error(VMLIB_E_INVAL, "%s is NULL", c ? "data" : "console");
    pthread_mutex_lock(&c->lock);
    ended = !c->machine;
    pthread_mutex_unlock(&c->lock);
    if (ended)
        return vmi_dev_error(VMLIB_E_STATE, "the console has not been started");
    for (;;) {
        int error = offer(c, p, bytes, &taken);

        if (error)
            return error;
        p += taken;
        bytes -= taken;
        if (!bytes)
            return 0;
        if (is_over(&end))
            return vmi_dev_error(VMLIB_E_LIMIT, "the guest has left %zu bytes of input", bytes);
        retry = after(RETRY_NS);
        pthread_mutex_lock(&c->lock);
        ended = !c->running;
        if (!ended)
            pthread_cond_timedwait(&c->changed, &c->lock, &retry);
        pthread_mutex_unlock(&c->lock);
        if (ended)
            return vmi_dev_error(VMLIB_E_NOTFOUND, "the machine has ended");
    }
}

int vmlib_console_wait(vmlib_console *c, uint64_t timeout_ns, struct vmlib_machine_result *result)
{
    struct timespec end = after(timeout_ns);
    int error;

    if (!c || !result || result->size != sizeof(*result))
        return vmi_dev_error(VMLIB_E_INVAL, "an argument is NULL or has a wrong size");
    pthread_mutex_lock(&c->lock);
    error = c->runners ? 0 : vmi_dev_error(VMLIB_E_STATE, "the console has not been started");
    while (!error && c->running) {
        if (is_over(&end))
            error = vmi_dev_error(VMLIB_E_LIMIT, "the machine still runs");
        else
            pthread_cond_timedwait(&c->changed, &c->lock, &end);
    }
    if (!error && c->error)
        error = vmi_dev_error(c->error, "a vCPU could not run");
    if (!error)
        *result = c->result;
    pthread_mutex_unlock(&c->lock);
    return error;
}
